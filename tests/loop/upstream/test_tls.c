/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Certificates made here; a server that takes one connection after another, several requests on
 * each. */

struct authority {
    EVP_PKEY *key;
    X509 *cert;
    char file[64];
};

struct tls_server {
    SSL_CTX *ctx;
    int listener;
    int port;
    pthread_t thread;
    atomic_uint handshakes;
    atomic_uint resumed;
    atomic_uint requests;
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make_cert(const char *name, EVP_PKEY *key, const struct authority *issuer,
                       const char *alt)
{
    static long serial = 1;
    X509 *cert = X509_new();
    X509_NAME *subject = X509_NAME_new();

    assert_non_null(cert);
    assert_int_equal(X509_set_version(cert, 2), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_subject_name(cert, subject);
    X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer->cert) : subject);
    X509_set_pubkey(cert, key);
    add_extension(cert, issuer != NULL ? issuer->cert : cert, NID_basic_constraints,
                  issuer != NULL ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (alt != NULL) {
        add_extension(cert, issuer != NULL ? issuer->cert : cert, NID_subject_alt_name, alt);
    }
    assert_true(X509_sign(cert, issuer != NULL ? issuer->key : key, EVP_sha256()) > 0);
    X509_NAME_free(subject);
    return cert;
}

static void make_authority(struct authority *authority, const char *name)
{
    authority->key = EVP_EC_gen("P-256");
    assert_non_null(authority->key);
    authority->cert = make_cert(name, authority->key, NULL, NULL);
    (void)snprintf(authority->file, sizeof(authority->file), "/tmp/penstock_test_ca_XXXXXX");
    int fd = mkstemp(authority->file);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, authority->cert), 1);
    assert_int_equal(fclose(file), 0);
}

static void free_authority(struct authority *authority)
{
    (void)unlink(authority->file);
    X509_free(authority->cert);
    EVP_PKEY_free(authority->key);
}

static bool read_request(SSL *ssl)
{
    char bytes[8192];
    size_t len = 0;

    while (len + 1 < sizeof(bytes)) {
        int got = SSL_read(ssl, bytes + len, (int)(sizeof(bytes) - 1 - len));
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        bytes[len] = '\0';
        const char *end = strstr(bytes, "\r\n\r\n");
        const char *length = strstr(bytes, "content-length: ");
        size_t body = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
        if (end != NULL && len >= (size_t)(end - bytes) + 4 + body) {
            return true;
        }
    }
    return false;
}

static void *serve(void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct tls_server *server = arg;
    int fd;

    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        SSL *ssl = SSL_new(server->ctx);
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1) {
            (void)atomic_fetch_add(&server->handshakes, 1);
            if (SSL_session_reused(ssl)) {
                (void)atomic_fetch_add(&server->resumed, 1);
            }
            while (read_request(ssl)) {
                unsigned count = atomic_fetch_add(&server->requests, 1) + 1;
                (void)SSL_write(ssl, answer, sizeof(answer) - 1);
                if (count % 2 == 0) {
                    break; /* every second one ends its connection */
                }
            }
            (void)SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        (void)close(fd);
    }
    return NULL;
}

static void start_server(struct tls_server *server, const struct authority *authority,
                         const char *alt)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_cert("server", key, authority, alt);

    server->ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(server->ctx);
    assert_int_equal(SSL_CTX_use_certificate(server->ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop_server(struct tls_server *server)
{
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listener);
    SSL_CTX_free(server->ctx);
}

static void open_tls(struct bench *bench, const struct authority *trusted, const char *host,
                     int port)
{
    struct ps_upstream_options options;
    char url[64];
    char error[256] = "";
    struct ps_upstream_ca *ca = ps_upstream_ca_new(trusted->file, error, sizeof(error));

    if (ca == NULL) {
        fail_msg("%s", error);
    }
    bench_options(&options, url, sizeof(url), port);
    (void)snprintf(url, sizeof(url), "https://%s:%d", host, port);
    options.ca = ca;
    bench_open(bench, NULL, &options);
    bench->ca = ca;
}

static void test_trusted(void **state)
{
    struct authority authority;
    struct tls_server server = {0};
    struct bench bench;
    struct probe probe;
    unsigned done = 0;

    (void)state;
    make_authority(&authority, "right");
    start_server(&server, &authority, "DNS:localhost,IP:127.0.0.1");
    open_tls(&bench, &authority, "127.0.0.1", server.port);
    while (done < 9) {
        probe_run(&probe, &bench, NULL);
        if (probe.end == PS_CALL_REUSE_DIED) {
            continue; /* a session ticket or close_notify in the way: refused, not sent */
        }
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_string_equal(probe.body, "ok");
        done++;
    }
    assert_int_equal(atomic_load(&server.requests), 9);
    /* A new connection takes up the session of an earlier one. */
    assert_true(atomic_load(&server.resumed) > 0);
    bench_close(&bench);
    stop_server(&server);
    free_authority(&authority);
}

static void check_refused(const char *host, const char *alt, bool right_ca)
{
    struct authority authority;
    struct authority other;
    struct tls_server server = {0};
    struct bench bench;
    struct probe probe;

    make_authority(&authority, "right");
    make_authority(&other, "wrong");
    start_server(&server, &authority, alt);
    open_tls(&bench, right_ca ? &authority : &other, host, server.port);
    for (int i = 0; i < 3; i++) {
        probe_run(&probe, &bench, NULL);
        assert_int_equal(probe.end, PS_CALL_TLS);
        assert_int_equal(probe.sent, 0);
    }
    assert_int_equal(atomic_load(&server.requests), 0);
    bench_close(&bench);
    stop_server(&server);
    free_authority(&authority);
    free_authority(&other);
}

static void test_refused(void **state)
{
    (void)state;
    check_refused("127.0.0.1", "IP:127.0.0.1", false);
    check_refused("127.0.0.1", "IP:127.0.0.2", true);
    check_refused("127.0.0.1", "DNS:127.0.0.1", true);
    check_refused("localhost", "DNS:example.com", true);
}

static const struct fake_step *plain_http(void *arg, enum fake_moment moment, unsigned connection,
                                          unsigned request, const char *head)
{
    static const struct fake_step steps[] = {
        {FAKE_SEND, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 0},
        {FAKE_CLOSE, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_ACCEPTED ? steps : NULL;
}

static void test_not_tls(void **state)
{
    struct fake_http *server = fake_http_start(plain_http, NULL);
    struct authority authority;
    struct bench bench;
    struct probe probe;

    (void)state;
    make_authority(&authority, "right");
    open_tls(&bench, &authority, "127.0.0.1", fake_http_port(server));
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_TLS);
    bench_close(&bench);
    fake_http_stop(server);
    free_authority(&authority);
}

static void test_bad_bundles(void **state)
{
    char file[] = "/tmp/penstock_test_ca_XXXXXX";
    char error[256] = "";
    int fd = mkstemp(file);

    (void)state;
    assert_true(fd >= 0);
    assert_null(ps_upstream_ca_new(file, error, sizeof(error)));
    assert_non_null(strstr(error, file));
    assert_int_equal(write(fd, "-----BEGIN CERTIFICATE-----\nnonsense\n", 37), 37);
    assert_null(ps_upstream_ca_new(file, error, sizeof(error)));
    (void)close(fd);
    (void)unlink(file);
    error[0] = '\0';
    assert_null(ps_upstream_ca_new(file, error, sizeof(error)));
    assert_non_null(strstr(error, file));
}

static int setup(void **state)
{
    (void)state;
    return ps_upstream_global_init();
}

static int teardown(void **state)
{
    (void)state;
    ps_upstream_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trusted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_bad_bundles),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
