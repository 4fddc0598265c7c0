/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_NET_CERTS_H
#define PENSTOCK_TESTS_NET_CERTS_H

#include <openssl/ssl.h>

#define CERT_PATH 256

/* Self-signed certificates in a folder that is removed at the end of the test program. */
struct cert {
    char certificate[CERT_PATH];
    char key[CERT_PATH];
};

/*
 * Makes a P-256 key and a certificate with `common_name`; `names` is what goes into subjectAltName
 * in OpenSSL's notation ("DNS:a.example,DNS:*.b.example"), NULL: none. `passphrase` encrypts the
 * key; NULL: not.
 */
struct cert cert_make(const char *common_name, const char *names, const char *passphrase);
/* Another file in the same folder. */
void cert_write_file(const char *text, char ret_path[static CERT_PATH]);
/* The common name of the certificate that the peer of `ssl` showed. */
void cert_peer_name(const SSL *ssl, char *ret_name, int size);

#endif
