/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_NET_TLS_CLIENT_H
#define PENSTOCK_TESTS_NET_TLS_CLIENT_H

#include "net/bench.h"

#include <openssl/ssl.h>

/* How the client behaves. */
struct tls_wants {
    int max_version; /* 0: whatever OpenSSL likes */
    const char *ciphers;
    const char *host;          /* SNI; NULL: none */
    const unsigned char *alpn; /* in wire format */
    unsigned alpn_len;
};

/* A TLS client whose records pass through our hands. */
struct tls_client {
    struct client raw; /* the socket; `received` is ciphertext not yet given to OpenSSL */
    SSL_CTX *context;
    SSL *ssl;
    struct ps_buf to_send;  /* ciphertext for the socket */
    struct ps_buf received; /* plain text */
    const char *out;        /* plain text to be sent */
    size_t out_len;
    size_t split;     /* most bytes sent in one step; 0: no bound */
    size_t held_at;   /* no byte from this place on is sent; SIZE_MAX: no bound */
    size_t sent;      /* ciphertext, in all */
    size_t plain_max; /* plain text read in one step; 0: no bound */
    bool deaf;        /* does not read the socket */
    bool ready;
    bool notified;       /* close_notify came */
    unsigned long error; /* OpenSSL's, when something failed */
};

void tls_client_init(struct tls_client *client, int fd, const struct tls_wants *wants);
void tls_client_deinit(struct tls_client *client);
/* Moves everything on: handshake, output, input. */
void tls_client_step(struct tls_client *client);
/* Only ciphertext, between OpenSSL and the socket. */
void tls_client_exchange(struct tls_client *client);

#endif
