/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_TLS_H
#define PENSTOCK_NET_TLS_H

#include <stddef.h>

/*
 * Server side of TLS by OpenSSL: 1.2 (ECDHE with AEAD only) and 1.3, no renegotiation, no
 * compression, SNI picks among the certificates (RFC 6066 section 3), ALPN http/1.1 (RFC 7301; no
 * overlap: the handshake fails with no_application_protocol). Immutable once made, counted, shared
 * by all loops.
 */
struct ps_tls_server;

struct ps_tls_certificate {
    const char *certificate; /* path of a PEM chain */
    const char *key;         /* path of the private key */
};

/*
 * Reads the files (blocks: not on a loop). The first certificate is the default. NULL with a
 * sentence in `ret_error` (no key material in it).
 */
struct ps_tls_server *ps_tls_server_new(const struct ps_tls_certificate *certificates, size_t count,
                                        char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
struct ps_tls_server *ps_tls_server_ref(struct ps_tls_server *tls);
void ps_tls_server_unref(struct ps_tls_server *tls); /* NULL is allowed */

#endif
