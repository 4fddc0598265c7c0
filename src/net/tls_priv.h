/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_TLS_PRIV_H
#define PENSTOCK_NET_TLS_PRIV_H

#include "penstock/base/chain.h"
#include "penstock/net/tls.h"

#include <openssl/ssl.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * TLS of one connection, between a stream's chains; no sockets, no callbacks. What came from the
 * socket is lent by feed for the calls that follow; what is for the socket is appended to the chain
 * `out` as records.
 */
struct ps_tls_session;

enum ps_tls_result {
    PS_TLS_OK,
    PS_TLS_WANTS, /* more bytes from the socket */
    PS_TLS_EOF,   /* close_notify */
    PS_TLS_FAILED /* an alert may be in `out`; memory may be short */
};

/* NULL when memory is short. `out` outlives the session. */
struct ps_tls_session *ps_tls_session_new(struct ps_tls_server *tls, struct ps_chain *out)
    __attribute__((warn_unused_result));
void ps_tls_session_free(struct ps_tls_session *session); /* NULL is allowed */

/* Lends bytes from the socket; they follow what is kept. */
void ps_tls_session_feed(struct ps_tls_session *session, const char *ptr, size_t len);
/* Copies what of the lent bytes was not used. 0, or -1 when memory is short. */
int ps_tls_session_keep(struct ps_tls_session *session) __attribute__((warn_unused_result));
/* Whether reading may give something without more bytes from the socket. */
bool ps_tls_session_has_input(const struct ps_tls_session *session);

enum ps_tls_result ps_tls_session_handshake(struct ps_tls_session *session);
/* The handshake is done and nothing failed since. */
bool ps_tls_session_is_ready(const struct ps_tls_session *session);
enum ps_tls_result ps_tls_session_read(struct ps_tls_session *session, char *ret_bytes, size_t size,
                                       size_t *ret_len);
/* Whether anything was appended to `out` since the last call: reading may answer (key update,
 * alert). */
bool ps_tls_session_wrote(struct ps_tls_session *session);

/* Plain text that waits to be encrypted: append here. */
struct ps_chain *ps_tls_session_plain(struct ps_tls_session *session);
size_t ps_tls_session_unsent(const struct ps_tls_session *session);
/* Makes records until `out` holds `ahead` bytes or no plain text is left; nothing before the
 * handshake. */
enum ps_tls_result ps_tls_session_encrypt(struct ps_tls_session *session, size_t ahead);
/* close_notify, once; nothing when not ready. */
void ps_tls_session_shutdown(struct ps_tls_session *session);
/* After a failure: drops the plain text, and nothing is read or written any more. */
void ps_tls_session_break(struct ps_tls_session *session);
bool ps_tls_session_is_broken(const struct ps_tls_session *session);

/* tls.c: a new SSL of the default certificate. NULL when memory is short. */
SSL *ps_tls_server_ssl(struct ps_tls_server *tls);
/* tls_session.c: how SSL reaches the session. */
BIO_METHOD *ps_tls_session_method_new(void);
BIO_METHOD *ps_tls_server_method(struct ps_tls_server *tls);

#endif
