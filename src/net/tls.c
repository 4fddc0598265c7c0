/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_priv.h"

#include "penstock/base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/*
 * The certificates of a listener: one SSL_CTX each, set up alike. A connection starts with the
 * first; the server name callback moves it to the one that names what the client asked for.
 */

struct ps_tls_server {
    atomic_size_t refs;
    BIO_METHOD *method; /* owned */
    size_t count;
    SSL_CTX *contexts[]; /* owned; the first is the default */
};

static const unsigned char protocols[] = "\x08http/1.1";

/* Ephemeral ECDH, authenticated, with AEAD: all that is left of TLS 1.2. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK";

static void explain(char *ret_error, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void explain(char *ret_error, size_t size, const char *format, ...)
{
    va_list args;
    if (size > 0) {
        va_start(args, format);
        (void)vsnprintf(ret_error, size, format, args);
        va_end(args);
    }
}

/* OpenSSL's reasons name functions and formats, never key material. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "no reason given";
}

static int choose_protocol(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    unsigned char *name = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&name, ret_len, protocols, sizeof(protocols) - 1, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol, RFC 7301 section 3.2 */
    }
    *ret_name = name;
    return SSL_TLSEXT_ERR_OK;
}

/* The first certificate that names the host; an exact name goes before a wildcard. NULL: none. */
static SSL_CTX *find_context(const struct ps_tls_server *tls, const char *host)
{
    static const unsigned flags[] = {X509_CHECK_FLAG_NO_WILDCARDS,
                                     X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS};

    /* To X509_check_host a leading dot means "any host below". */
    if (host[0] == '.') {
        return NULL;
    }
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < tls->count; i++) {
            X509 *certificate = SSL_CTX_get0_certificate(tls->contexts[i]);
            if (X509_check_host(certificate, host, strlen(host), flags[pass], NULL) == 1) {
                return tls->contexts[i];
            }
        }
    }
    return NULL;
}

static int choose_certificate(SSL *ssl, int *ret_alert, void *arg)
{
    const struct ps_tls_server *tls = arg;
    const char *host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)ret_alert;

    SSL_CTX *context = host != NULL ? find_context(tls, host) : NULL;
    if (context == NULL) {
        return SSL_TLSEXT_ERR_NOACK; /* the default certificate; the client judges it */
    }
    if (context != SSL_get_SSL_CTX(ssl) && SSL_set_SSL_CTX(ssl, context) == NULL) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* 0, or -1: OpenSSL is out of memory or built without what we need. */
static int set_up(SSL_CTX *context, struct ps_tls_server *tls)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    /* Sessions resume by tickets, which cost us no memory. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (SSL_CTX_set_tlsext_servername_callback(context, choose_certificate) != 1 ||
        SSL_CTX_set_tlsext_servername_arg(context, tls) != 1) {
        return -1;
    }
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, ciphers) != 1) {
        return -1;
    }
    return 0;
}

/* A key with a passphrase is refused instead of asking for it on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static int load(SSL_CTX *context, const struct ps_tls_certificate *from, char *ret_error,
                size_t error_size)
{
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, from->certificate) != 1) {
        explain(ret_error, error_size, "cannot use certificate %s: %s", from->certificate,
                reason());
        return -1;
    }
    if (SSL_CTX_use_PrivateKey_file(context, from->key, SSL_FILETYPE_PEM) != 1) {
        explain(ret_error, error_size, "cannot use key %s: %s", from->key, reason());
        return -1;
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        explain(ret_error, error_size, "key %s does not belong to certificate %s", from->key,
                from->certificate);
        return -1;
    }
    return 0;
}

struct ps_tls_server *ps_tls_server_new(const struct ps_tls_certificate *certificates, size_t count,
                                        char *ret_error, size_t error_size)
{
    struct ps_tls_server *tls = NULL;

    if (count == 0) {
        explain(ret_error, error_size, "no certificate given");
        return NULL;
    }
    tls = ps_calloc(1, sizeof(*tls) + count * sizeof(SSL_CTX *));
    if (tls == NULL) {
        explain(ret_error, error_size, "memory is short");
        return NULL;
    }
    atomic_init(&tls->refs, 1);
    tls->count = count;
    tls->method = ps_tls_session_method_new();
    for (size_t i = 0; i < count; i++) {
        tls->contexts[i] = SSL_CTX_new(TLS_server_method());
        if (tls->method == NULL || tls->contexts[i] == NULL || set_up(tls->contexts[i], tls) != 0) {
            explain(ret_error, error_size, "OpenSSL: %s", reason());
            goto fail;
        }
        if (load(tls->contexts[i], &certificates[i], ret_error, error_size) != 0) {
            goto fail;
        }
    }
    return tls;

fail:
    ERR_clear_error();
    ps_tls_server_unref(tls);
    return NULL;
}

struct ps_tls_server *ps_tls_server_ref(struct ps_tls_server *tls)
{
    (void)atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void ps_tls_server_unref(struct ps_tls_server *tls)
{
    if (tls == NULL || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < tls->count; i++) {
        SSL_CTX_free(tls->contexts[i]);
    }
    BIO_meth_free(tls->method);
    ps_free(tls);
}

SSL *ps_tls_server_ssl(struct ps_tls_server *tls)
{
    return SSL_new(tls->contexts[0]);
}

BIO_METHOD *ps_tls_server_method(struct ps_tls_server *tls)
{
    return tls->method;
}
