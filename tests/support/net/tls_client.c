/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_client.h"

#include "testing.h"

#include <openssl/err.h>

#include <errno.h>
#include <sys/socket.h>

static void on_message(const SSL *ssl, int where, int value)
{
    struct tls_client *client = SSL_get_app_data(ssl);
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && client->error == 0 &&
        (value >> 8) == SSL3_AL_FATAL) {
        client->error = (unsigned long)(SSL_AD_REASON_OFFSET + (value & 0xff));
    }
}

void tls_client_init(struct tls_client *client, int fd, const struct tls_wants *wants)
{
    *client = (struct tls_client){.held_at = SIZE_MAX};
    client_init(&client->raw, fd);
    ps_buf_init(&client->to_send, (size_t)64 << 20);
    ps_buf_init(&client->received, (size_t)64 << 20);
    client->context = SSL_CTX_new(TLS_client_method());
    assert_non_null(client->context);
    SSL_CTX_set_security_level(client->context, 0);
    if (wants->max_version != 0) {
        SSL_CTX_set_min_proto_version(client->context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(client->context, wants->max_version);
    }
    if (wants->ciphers != NULL) {
        assert_int_equal(SSL_CTX_set_cipher_list(client->context, wants->ciphers), 1);
    }
    client->ssl = SSL_new(client->context);
    assert_non_null(client->ssl);
    SSL_set_app_data(client->ssl, client);
    SSL_set_info_callback(client->ssl, on_message);
    if (wants->host != NULL) {
        SSL_set_tlsext_host_name(client->ssl, wants->host);
    }
    if (wants->alpn != NULL) {
        assert_int_equal(SSL_set_alpn_protos(client->ssl, wants->alpn, wants->alpn_len), 0);
    }
    SSL_set_bio(client->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client->ssl);
}

void tls_client_deinit(struct tls_client *client)
{
    client_deinit(&client->raw);
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    ps_buf_deinit(&client->to_send);
    ps_buf_deinit(&client->received);
}

static void note_error(struct tls_client *client, int rc)
{
    int error = SSL_get_error(client->ssl, rc);
    if (error == SSL_ERROR_ZERO_RETURN) {
        client->notified = true;
    } else if (error == SSL_ERROR_SSL && client->error == 0) {
        client->error = (unsigned long)ERR_GET_REASON(ERR_peek_error());
    }
    ERR_clear_error();
}

void tls_client_exchange(struct tls_client *client)
{
    char bytes[16384];
    int count;

    while ((count = BIO_read(SSL_get_wbio(client->ssl), bytes, sizeof(bytes))) > 0) {
        ps_buf_append(&client->to_send, bytes, (size_t)count);
    }
    size_t len = client->to_send.len;
    len = client->split > 0 && len > client->split ? client->split : len;
    size_t allowed = client->held_at - client->sent;
    len = len < allowed ? len : allowed;
    if (len > 0 && client->raw.fd >= 0) {
        ssize_t sent = send(client->raw.fd, client->to_send.ptr, len, MSG_NOSIGNAL);
        if (sent > 0) {
            client->sent += (size_t)sent;
            ps_buf_drop(&client->to_send, (size_t)sent);
        } else if (errno != EAGAIN) {
            client->raw.send_error = errno;
        }
    }
    if (!client->deaf) {
        client_step(&client->raw);
    }
    if (client->raw.received.len > 0) {
        (void)BIO_write(SSL_get_rbio(client->ssl), client->raw.received.ptr,
                        (int)client->raw.received.len);
        ps_buf_reset(&client->raw.received);
    }
}

void tls_client_step(struct tls_client *client)
{
    char bytes[16384];
    int rc;

    ERR_clear_error();
    tls_client_exchange(client);
    if (!client->ready) {
        rc = SSL_do_handshake(client->ssl);
        client->ready = rc == 1;
        if (!client->ready) {
            note_error(client, rc);
            tls_client_exchange(client);
            return;
        }
    }
    if (client->out_len > 0) {
        rc = SSL_write(client->ssl, client->out,
                       client->out_len > 20000 ? 20000 : (int)client->out_len);
        if (rc > 0) {
            client->out += rc;
            client->out_len -= (size_t)rc;
        } else {
            note_error(client, rc);
        }
    }
    size_t most = client->plain_max > 0 ? client->plain_max : SIZE_MAX;
    while (!client->deaf && !client->notified && client->error == 0 && most > 0) {
        rc = SSL_read(client->ssl, bytes, most < sizeof(bytes) ? (int)most : (int)sizeof(bytes));
        if (rc <= 0) {
            note_error(client, rc);
            break;
        }
        ps_buf_append(&client->received, bytes, (size_t)rc);
        most -= (size_t)rc;
    }
    tls_client_exchange(client);
}
