/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_priv.h"

#include "penstock/base/mem.h"

#include <openssl/bio.h>
#include <openssl/err.h>

#include <limits.h>

/*
 * OpenSSL reads and writes through a BIO of ours: reads come from what is kept and then from what
 * is lent, writes go straight into the stream's chain, so no byte waits in a buffer of the BIO. A
 * read that finds nothing says "retry", which OpenSSL reports as WANT_READ.
 *
 * The error queue of OpenSSL belongs to the thread, so it is cleared before each call.
 */

/*
 * Most that may wait in `out`. Encrypting stops far below; a peer that makes us answer (key
 * updates, refused renegotiations) without reading the answers is cut off here.
 */
#define OUT_MAX 524288
/* Of a TLS record (RFC 8446 section 5.1). */
#define RECORD_MAX 16384

struct ps_tls_session {
    struct ps_tls_server *tls; /* a reference */
    SSL *ssl;                  /* owned */
    struct ps_chain *out;      /* borrowed */
    struct ps_chain plain;     /* waits to be encrypted */
    struct ps_chain kept;      /* came from the socket, not yet read */
    const char *ptr;           /* lent */
    size_t len;
    bool ready;
    bool wrote;
    bool shut; /* close_notify was sent */
    bool broken;
};

static int bio_read(BIO *bio, char *bytes, int size)
{
    struct ps_tls_session *session = BIO_get_data(bio);
    size_t len = size > 0 ? (size_t)size : 0;

    BIO_clear_retry_flags(bio);
    if (session->kept.len > 0) {
        len = len < session->kept.len ? len : session->kept.len;
        ps_chain_copy(&session->kept, 0, len, bytes);
        ps_chain_drop(&session->kept, len);
        return (int)len;
    }
    if (session->len > 0) {
        len = len < session->len ? len : session->len;
        memcpy(bytes, session->ptr, len);
        session->ptr += len;
        session->len -= len;
        return (int)len;
    }
    BIO_set_retry_read(bio);
    return -1;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct ps_tls_session *session = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len <= 0 || session->out->len > OUT_MAX ||
        ps_chain_append(session->out, bytes, (size_t)len) != 0) {
        return -1;
    }
    session->wrote = true;
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    (void)bio;
    (void)number;
    (void)ptr;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *ps_tls_session_method_new(void)
{
    BIO_METHOD *method =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "penstock stream");

    if (method == NULL || BIO_meth_set_read(method, bio_read) != 1 ||
        BIO_meth_set_write(method, bio_write) != 1 || BIO_meth_set_ctrl(method, bio_ctrl) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}

struct ps_tls_session *ps_tls_session_new(struct ps_tls_server *tls, struct ps_chain *out)
{
    struct ps_tls_session *session = ps_calloc(1, sizeof(*session));
    BIO *bio = NULL;

    if (session == NULL) {
        return NULL;
    }
    session->out = out;
    ps_chain_init(&session->plain, out->pool);
    ps_chain_init(&session->kept, out->pool);
    ERR_clear_error();
    session->ssl = ps_tls_server_ssl(tls);
    bio = BIO_new(ps_tls_server_method(tls));
    if (session->ssl == NULL || bio == NULL) {
        SSL_free(session->ssl);
        BIO_free(bio);
        ps_free(session);
        return NULL;
    }
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio); /* owns it */
    SSL_set_accept_state(session->ssl);
    session->tls = ps_tls_server_ref(tls);
    return session;
}

void ps_tls_session_free(struct ps_tls_session *session)
{
    if (session == NULL) {
        return;
    }
    SSL_free(session->ssl);
    ps_chain_clear(&session->plain);
    ps_chain_clear(&session->kept);
    ps_tls_server_unref(session->tls);
    ps_free(session);
}

void ps_tls_session_feed(struct ps_tls_session *session, const char *ptr, size_t len)
{
    session->ptr = ptr;
    session->len = len;
}

int ps_tls_session_keep(struct ps_tls_session *session)
{
    if (session->len == 0) {
        return 0;
    }
    int rc = ps_chain_append(&session->kept, session->ptr, session->len);
    session->len = 0;
    return rc;
}

bool ps_tls_session_has_input(const struct ps_tls_session *session)
{
    return !session->broken && (session->kept.len > 0 || SSL_has_pending(session->ssl) == 1);
}

/* What a call that did not succeed means. */
static enum ps_tls_result judge(struct ps_tls_session *session, int rc)
{
    switch (SSL_get_error(session->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return PS_TLS_WANTS;
    case SSL_ERROR_ZERO_RETURN:
        return PS_TLS_EOF;
    default:
        return PS_TLS_FAILED;
    }
}

enum ps_tls_result ps_tls_session_handshake(struct ps_tls_session *session)
{
    if (session->broken) {
        return PS_TLS_FAILED;
    }
    ERR_clear_error();
    int rc = SSL_do_handshake(session->ssl);
    if (rc == 1) {
        session->ready = true;
        return PS_TLS_OK;
    }
    enum ps_tls_result result = judge(session, rc);
    return result == PS_TLS_WANTS ? PS_TLS_WANTS : PS_TLS_FAILED;
}

bool ps_tls_session_is_ready(const struct ps_tls_session *session)
{
    return session->ready;
}

enum ps_tls_result ps_tls_session_read(struct ps_tls_session *session, char *ret_bytes, size_t size,
                                       size_t *ret_len)
{
    if (session->broken) {
        return PS_TLS_FAILED;
    }
    ERR_clear_error();
    int rc = SSL_read(session->ssl, ret_bytes, size > INT_MAX ? INT_MAX : (int)size);
    if (rc <= 0) {
        return judge(session, rc);
    }
    *ret_len = (size_t)rc;
    return PS_TLS_OK;
}

bool ps_tls_session_wrote(struct ps_tls_session *session)
{
    bool wrote = session->wrote;
    session->wrote = false;
    return wrote;
}

struct ps_chain *ps_tls_session_plain(struct ps_tls_session *session)
{
    return &session->plain;
}

size_t ps_tls_session_unsent(const struct ps_tls_session *session)
{
    return session->plain.len;
}

enum ps_tls_result ps_tls_session_encrypt(struct ps_tls_session *session, size_t ahead)
{
    if (!session->ready || session->broken) {
        return PS_TLS_OK;
    }
    while (session->plain.len > 0 && session->out->len < ahead) {
        struct ps_slice run = ps_chain_run(&session->plain, 0, RECORD_MAX);
        ERR_clear_error();
        int rc = SSL_write(session->ssl, run.ptr, (int)run.len);
        if (rc <= 0) {
            return PS_TLS_FAILED;
        }
        ps_chain_drop(&session->plain, (size_t)rc);
    }
    return PS_TLS_OK;
}

void ps_tls_session_shutdown(struct ps_tls_session *session)
{
    if (!session->ready || session->broken || session->shut) {
        return;
    }
    session->shut = true;
    ERR_clear_error();
    (void)SSL_shutdown(session->ssl);
}

void ps_tls_session_break(struct ps_tls_session *session)
{
    session->broken = true;
    ps_chain_clear(&session->plain);
    ps_chain_clear(&session->kept);
}

bool ps_tls_session_is_broken(const struct ps_tls_session *session)
{
    return session->broken;
}
