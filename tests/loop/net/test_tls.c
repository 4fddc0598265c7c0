/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 300 */
#include "net/bench.h"
#include "net/certs.h"
#include "net/tls_client.h"
#include "stream_priv.h"
#include "testing.h"

#include "penstock/base/mem.h"

#include <openssl/err.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two certificates: alpha is the default, beta has more names. */
static struct cert alpha;
static struct cert beta;
static struct ps_tls_server *server_tls;

struct rig {
    struct bench bench;
    struct recorder server;
    struct tls_client client;
};

static const struct tls_wants no_wishes = {0};

static void rig_open_with(struct rig *rig, bool is_unix, const struct tls_wants *wants,
                          const struct ps_stream_options *options, struct ps_tls_server *tls)
{
    bench_init(&rig->bench);
    recorder_init(&rig->server, &rig->bench);
    struct pair pair = pair_open(is_unix);
    tls_client_init(&rig->client, pair.client, wants);
    rig->server.stream = ps_stream_new(&rig->bench.loop, pair.server, is_unix, tls, options,
                                       &recorder_ops, &rig->server);
    assert_non_null(rig->server.stream);
    assert_true(ps_stream_is_tls(rig->server.stream));
}

static void rig_open(struct rig *rig, const struct tls_wants *wants)
{
    rig_open_with(rig, false, wants, &default_options, server_tls);
}

static void rig_close(struct rig *rig)
{
    if (rig->server.stream != NULL) {
        ps_stream_abort(rig->server.stream);
    }
    tls_client_deinit(&rig->client);
    bench_deinit(&rig->bench);
    assert_int_equal(rig->server.closes, 1);
    recorder_deinit(&rig->server);
}

#define STEP(rig)            tls_client_step(&(rig)->client)
#define WAIT(rig, condition) WAIT_FOR(&(rig)->bench, STEP(rig), condition)

static void write_back(struct recorder *recorder, const char *ptr, size_t len)
{
    assert_int_equal(ps_stream_write(recorder->stream, ptr, len), 0);
}

static void echoes(struct rig *rig)
{
    rig->server.on_data = write_back;
    ps_stream_read(rig->server.stream, true);
    rig->client.out = "hello";
    rig->client.out_len = 5;
    WAIT(rig, rig->client.received.len == 5 || rig->client.error != 0);
    assert_int_equal(rig->client.error, 0);
    assert_memory_equal(rig->client.received.ptr, "hello", 5);
}

static void both_versions_work(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (unsigned is_unix = 0; is_unix < 2; is_unix++) {
            const struct tls_wants wants = {.max_version = versions[i]};
            struct rig rig;
            rig_open_with(&rig, is_unix == 1, &wants, &default_options, server_tls);
            echoes(&rig);
            assert_int_equal(SSL_version(rig.client.ssl), versions[i]);
            assert_int_equal(ps_stream_queued(rig.server.stream), 0);
            assert_null(rig.server.stream->out.head);
            rig_close(&rig);
        }
    }
}

/* Every cipher of 1.2 that is no ECDHE with AEAD, and every version before it, fails with an alert.
 */
static void weak_handshakes_are_refused(void **state)
{
    static const struct {
        struct tls_wants wants;
        unsigned long alert;
    } cases[] = {
        {{.max_version = TLS1_VERSION}, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION},
        {{.max_version = TLS1_1_VERSION}, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION},
        {{.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA"},
         SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE},
        {{.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES256-SHA384"},
         SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE},
        {{.max_version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256"},
         SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE},
        {{.max_version = TLS1_2_VERSION, .ciphers = "AECDH-AES128-SHA:ADH-AES128-GCM-SHA256"},
         SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rig rig;
        rig_open(&rig, &cases[i].wants);
        ps_stream_read(rig.server.stream, true);
        WAIT(&rig, rig.client.raw.eof || rig.client.raw.error != 0);
        assert_int_equal(rig.client.error, cases[i].alert);
        close(rig.client.raw.fd);
        rig.client.raw.fd = -1;
        WAIT(&rig, rig.server.closes == 1);
        assert_int_equal(rig.server.end, PS_STREAM_TLS_ERROR);
        assert_int_equal(rig.server.eofs, 0);
        rig_close(&rig);
    }
}

static void strong_ciphers_are_taken(void **state)
{
    static const char *const ciphers[] = {"ECDHE-ECDSA-AES128-GCM-SHA256",
                                          "ECDHE-ECDSA-AES256-GCM-SHA384",
                                          "ECDHE-ECDSA-CHACHA20-POLY1305"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct tls_wants wants = {.max_version = TLS1_2_VERSION, .ciphers = ciphers[i]};
        struct rig rig;
        rig_open(&rig, &wants);
        echoes(&rig);
        assert_string_equal(SSL_get_cipher(rig.client.ssl), ciphers[i]);
        rig_close(&rig);
    }
}

#define WIRE(text) (const unsigned char *)(text), sizeof(text) - 1

static void alpn_is_http_1_1_or_nothing(void **state)
{
    static const struct {
        const unsigned char *offer;
        unsigned offer_len;
        const char *chosen; /* NULL: refused */
    } cases[] = {
        {NULL, 0, ""},
        {WIRE("\x08http/1.1"), "http/1.1"},
        {WIRE("\x02h2\x08http/1.1"), "http/1.1"},
        {WIRE("\x02h2"), NULL},
        {WIRE("\x08http/1.0\x08HTTP/1.1"), NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct tls_wants wants = {.alpn = cases[i].offer, .alpn_len = cases[i].offer_len};
        struct rig rig;
        rig_open(&rig, &wants);
        if (cases[i].chosen == NULL) {
            WAIT(&rig, rig.client.error != 0);
            assert_int_equal(rig.client.error, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
        } else {
            const unsigned char *name = NULL;
            unsigned len = 0;
            echoes(&rig);
            SSL_get0_alpn_selected(rig.client.ssl, &name, &len);
            assert_int_equal(len, strlen(cases[i].chosen));
            assert_memory_equal(len > 0 ? (const char *)name : "", cases[i].chosen, len);
        }
        rig_close(&rig);
    }
}

static void the_host_picks_the_certificate(void **state)
{
    static const struct {
        const char *host;
        const char *name;
    } cases[] = {
        {NULL, "alpha.example"},
        {"alpha.example", "alpha.example"},
        {"beta.example", "beta"},
        {"BETA.Example", "beta"},
        {"one.wild.example", "beta"},
        {"two.one.wild.example", "alpha.example"}, /* a wildcard is one label */
        {"wild.example", "alpha.example"},
        {"exact.mixed.example", "beta"}, /* before alpha's wildcard */
        {"other.mixed.example", "alpha.example"},
        {"unknown.example", "alpha.example"},
        {".wild.example", "alpha.example"},
        {"beta", "alpha.example"}, /* a common name does not count beside other names */
    };
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            const struct tls_wants wants = {.host = cases[i].host, .max_version = versions[v]};
            struct rig rig;
            char name[100];
            rig_open(&rig, &wants);
            echoes(&rig);
            cert_peer_name(rig.client.ssl, name, sizeof(name));
            assert_string_equal(name, cases[i].name);
            rig_close(&rig);
        }
    }
}

/* The client's bytes come one by one, and in two pieces cut at every place. */
static void a_cut_anywhere_changes_nothing(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;
    for (size_t v = 0; v < 2; v++) {
        const struct tls_wants wants = {.max_version = versions[v], .host = "beta.example"};
        struct rig rig;
        rig_open(&rig, &wants);
        rig.client.split = 1;
        echoes(&rig);
        size_t total = rig.client.sent;
        rig_close(&rig);
        assert_true(total > 200);
        for (size_t cut = 1; cut < total; cut++) {
            rig_open(&rig, &wants);
            rig.bench.busy = true;
            rig.client.held_at = cut;
            rig.client.out = "hello";
            rig.client.out_len = 5;
            rig.server.on_data = write_back;
            ps_stream_read(rig.server.stream, true);
            WAIT(&rig, rig.client.sent == cut);
            bench_turn(&rig.bench);
            rig.client.held_at = SIZE_MAX;
            WAIT(&rig, rig.client.received.len == 5);
            assert_memory_equal(rig.client.received.ptr, "hello", 5);
            rig_close(&rig);
        }
    }
}

#define FLOOD_BYTES ((size_t)8 << 20)
#define FLOOD_PIECE 5000

static void flood(struct recorder *recorder)
{
    char piece[FLOOD_PIECE];
    while (recorder->number < FLOOD_BYTES && !ps_stream_is_full(recorder->stream)) {
        size_t len = FLOOD_BYTES - recorder->number;
        len = len < sizeof(piece) ? len : sizeof(piece);
        fill_pattern(piece, len, recorder->number);
        assert_int_equal(ps_stream_write(recorder->stream, piece, len), 0);
        recorder->number += len;
    }
    if (recorder->number == FLOOD_BYTES) {
        ps_stream_close(recorder->stream);
    }
}

static void a_slow_reader_gets_every_byte_within_the_watermarks(void **state)
{
    struct rig rig;
    size_t most = 0;
    (void)state;
    rig_open(&rig, &no_wishes);
    rig.server.on_drain = flood;
    rig.client.raw.read_max = 100000;
    flood(&rig.server); /* before the handshake: it waits */
    while (!rig.client.notified) {
        STEP(&rig);
        bench_turn(&rig.bench);
        if (rig.server.stream != NULL) {
            size_t queued = ps_stream_queued(rig.server.stream);
            most = queued > most ? queued : most;
        }
        assert_int_equal(rig.client.error, 0);
        assert_int_equal(rig.client.raw.error, 0);
    }
    /* Encryption adds 22 bytes to each block. */
    assert_true(most <=
                default_options.high_bytes + FLOOD_PIECE + default_options.high_bytes / 100);
    assert_int_equal(rig.client.received.len, FLOOD_BYTES);
    assert_true(is_pattern(rig.client.received.ptr, FLOOD_BYTES, 0));
    assert_true(rig.server.drains > 5);
    close(rig.client.raw.fd);
    rig.client.raw.fd = -1;
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    rig_close(&rig);
}

static void floods_both_ways(void **state)
{
    enum {
        BYTES = 3000017
    };
    struct rig rig;
    char *sent = malloc(BYTES);
    (void)state;
    assert_non_null(sent);
    fill_pattern(sent, BYTES, 0);
    rig_open(&rig, &no_wishes);
    rig.server.on_data = write_back;
    rig.client.out = sent;
    rig.client.out_len = BYTES;
    ps_stream_read(rig.server.stream, true);
    WAIT(&rig, rig.client.received.len == BYTES);
    assert_memory_equal(rig.client.received.ptr, sent, BYTES);
    rig_close(&rig);
    free(sent);
}

static void stop_after_data(struct recorder *recorder, const char *ptr, size_t len)
{
    (void)ptr;
    (void)len;
    ps_stream_read(recorder->stream, false);
    recorder->number++;
}

/* What was read from the socket and not taken is kept, and bounded by one read. */
static void reading_may_stop_in_the_middle(void **state)
{
    enum {
        BYTES = 1500000
    };
    struct rig rig;
    char *sent = malloc(BYTES);
    bool kept = false;
    (void)state;
    assert_non_null(sent);
    fill_pattern(sent, BYTES, 3);
    rig_open(&rig, &no_wishes);
    rig.server.on_data = stop_after_data;
    rig.client.out = sent;
    rig.client.out_len = BYTES;
    while (rig.server.received.len < BYTES) {
        size_t calls = rig.server.number;
        ps_stream_read(rig.server.stream, true);
        WAIT(&rig, rig.server.number > calls);
        STEP(&rig);
        bench_turn(&rig.bench);
        assert_int_equal(rig.server.number, calls + 1);
        kept = kept || ps_tls_session_has_input(rig.server.stream->tls);
        assert_true(atomic_load(&rig.bench.budget.used) <= (size_t)PS_READ_BUFFER * 3 / 2);
    }
    assert_true(kept);
    assert_memory_equal(rig.server.received.ptr, sent, BYTES);
    rig_close(&rig);
    free(sent);
}

/* The end of input behind bytes that were kept comes after them. */
static void eof_waits_for_what_was_kept(void **state)
{
    enum {
        BYTES = 40000
    };
    static char sent[BYTES];
    (void)state;
    for (unsigned notify = 0; notify < 2; notify++) {
        struct rig rig;
        fill_pattern(sent, BYTES, 5);
        rig_open(&rig, &no_wishes);
        WAIT(&rig, rig.client.ready && ps_tls_session_is_ready(rig.server.stream->tls));
        assert_int_equal(SSL_write(rig.client.ssl, sent, 20000), 20000);
        assert_int_equal(SSL_write(rig.client.ssl, sent + 20000, 20000), 20000);
        if (notify == 1) {
            (void)SSL_shutdown(rig.client.ssl);
        }
        tls_client_exchange(&rig.client);
        assert_int_equal(rig.client.to_send.len, 0);
        assert_int_equal(shutdown(rig.client.raw.fd, SHUT_WR), 0);
        rig.server.on_data = stop_after_data;
        while (rig.server.received.len < BYTES) {
            assert_int_equal(rig.server.eofs, 0);
            ps_stream_read(rig.server.stream, true);
            bench_turn(&rig.bench);
        }
        ps_stream_read(rig.server.stream, true);
        WAIT_FOR(&rig.bench, ps_stream_read(rig.server.stream, true), rig.server.eofs == 1);
        assert_memory_equal(rig.server.received.ptr, sent, BYTES);
        /* Writing is still possible, with or without close_notify (RFC 8446 section 6.1). */
        assert_int_equal(ps_stream_write(rig.server.stream, "late", 4), 0);
        ps_stream_close(rig.server.stream);
        WAIT(&rig, rig.client.notified);
        assert_int_equal(rig.client.received.len, 4);
        WAIT(&rig, rig.server.closes == 1);
        assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
        rig_close(&rig);
    }
}

static void output_before_the_handshake_arrives_also_after_close(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, &no_wishes);
    assert_int_equal(ps_stream_write(rig.server.stream, "early", 5), 0);
    ps_stream_close(rig.server.stream);
    WAIT(&rig, rig.client.notified || rig.client.error != 0);
    assert_int_equal(rig.client.error, 0);
    assert_int_equal(rig.client.received.len, 5);
    shutdown(rig.client.raw.fd, SHUT_WR);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    rig_close(&rig);
}

static void output_that_the_handshake_never_frees_is_no_clean_end(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, &no_wishes);
    assert_int_equal(ps_stream_write(rig.server.stream, "early", 5), 0);
    ps_stream_close(rig.server.stream);
    bench_turn(&rig.bench);
    shutdown(rig.client.raw.fd, SHUT_WR);
    WAIT_FOR(&rig.bench, (void)0, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_TLS_ERROR);
    rig_close(&rig);
}

static void abort_is_no_close_notify(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, &no_wishes);
    echoes(&rig);
    assert_int_equal(ps_stream_write(rig.server.stream, "never", 5), 0);
    ps_stream_abort(rig.server.stream);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_ABORTED);
    WAIT(&rig, rig.client.raw.eof || rig.client.raw.error != 0);
    assert_int_equal(rig.client.raw.error, ECONNRESET);
    assert_false(rig.client.notified);
    assert_int_equal(rig.client.received.len, 5);
    rig_close(&rig);
}

static void eof_in_the_handshake_is_an_error(void **state)
{
    struct rig rig;
    (void)state;
    for (unsigned half = 0; half < 2; half++) {
        rig_open(&rig, &no_wishes);
        if (half == 1) {
            rig.client.held_at = 50;
            WAIT(&rig, rig.client.sent == 50);
        }
        shutdown(rig.client.raw.fd, SHUT_WR);
        WAIT_FOR(&rig.bench, (void)0, rig.server.closes == 1);
        assert_int_equal(rig.server.end, PS_STREAM_TLS_ERROR);
        assert_int_equal(rig.server.eofs, 0);
        rig_close(&rig);
    }
}

static void a_handshake_may_not_take_for_ever(void **state)
{
    struct ps_stream_options options = default_options;
    (void)state;
    options.handshake_timeout_us = 50000;
    options.write_timeout_us = 50000;
    for (unsigned drips = 0; drips < 2; drips++) {
        struct rig rig;
        rig_open_with(&rig, false, &no_wishes, &options, server_tls);
        ps_stream_read(rig.server.stream, true);
        rig.client.held_at = 0;
        int64_t start = ps_clock_us();
        while (rig.server.closes == 0) {
            rig.client.held_at += drips == 1 && rig.client.held_at < 100 ? 1 : 0;
            STEP(&rig);
            bench_turn(&rig.bench);
            assert_true(ps_clock_us() - start < BENCH_WAIT_US);
        }
        assert_true(ps_clock_us() - start >= 50000);
        assert_int_equal(rig.server.end, PS_STREAM_TLS_ERROR);
        rig_close(&rig);

        /* One that succeeds turns the timer off. */
        rig_open_with(&rig, false, &no_wishes, &options, server_tls);
        echoes(&rig);
        assert_false(ps_timer_is_set(&rig.server.stream->timer));
        rig_close(&rig);
    }
}

static void rubbish_is_refused(void **state)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: plain.example\r\n\r\n";
    struct rig rig;
    (void)state;
    rig_open(&rig, &no_wishes);
    ps_stream_read(rig.server.stream, true);
    assert_int_equal(send(rig.client.raw.fd, http, sizeof(http) - 1, 0), sizeof(http) - 1);
    shutdown(rig.client.raw.fd, SHUT_WR);
    WAIT_FOR(&rig.bench, (void)0, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_TLS_ERROR);
    assert_int_equal(rig.server.received.len, 0);
    rig_close(&rig);
}

static void a_changed_record_is_refused(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, &no_wishes);
    echoes(&rig);
    size_t had = rig.server.received.len;
    assert_int_equal(SSL_write(rig.client.ssl, "account 17", 10), 10);
    char record[200];
    int len = BIO_read(SSL_get_wbio(rig.client.ssl), record, sizeof(record));
    assert_true(len > 20);
    record[len - 18] = (char)(record[len - 18] ^ 1);
    assert_int_equal(send(rig.client.raw.fd, record, (size_t)len, 0), len);
    WAIT(&rig, rig.client.error != 0);
    assert_int_equal(rig.client.error, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    shutdown(rig.client.raw.fd, SHUT_WR);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_TLS_ERROR);
    assert_int_equal(rig.server.received.len, had);
    rig_close(&rig);
}

static void renegotiation_is_refused(void **state)
{
    const struct tls_wants wants = {.max_version = TLS1_2_VERSION};
    struct rig rig;
    (void)state;
    rig_open(&rig, &wants);
    echoes(&rig);
    assert_int_equal(SSL_renegotiate(rig.client.ssl), 1);
    (void)SSL_do_handshake(rig.client.ssl);
    for (unsigned i = 0; i < 200 && rig.client.error == 0; i++) {
        STEP(&rig);
        bench_turn(&rig.bench);
    }
    assert_int_equal(rig.client.error, SSL_R_NO_RENEGOTIATION);
    rig_close(&rig);
}

/* A peer that asks for answers and does not read them is cut off before they are many. */
static void unread_answers_are_bounded(void **state)
{
    const struct tls_wants wants = {.max_version = TLS1_3_VERSION};
    struct rig rig;
    (void)state;
    /* Few small messages fit into a Unix socket. */
    rig_open_with(&rig, true, &wants, &default_options, server_tls);
    echoes(&rig);
    rig.client.deaf = true;
    rig.bench.busy = true;
    for (unsigned i = 0; rig.server.stream->state == PS_STREAM_STATE_OPEN; i++) {
        assert_true(i < 1000000);
        if (rig.client.to_send.len < 100000) {
            assert_int_equal(SSL_key_update(rig.client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            (void)SSL_do_handshake(rig.client.ssl);
        }
        if (i % 50 == 0) {
            tls_client_exchange(&rig.client);
            bench_turn(&rig.bench);
        }
    }
    assert_true(ps_stream_queued(rig.server.stream) < 600000);
    assert_int_equal(rig.server.closes, 0);
    rig_close(&rig);
}

static void tickets_resume_sessions(void **state)
{
    struct rig rig;
    SSL_SESSION *session;
    (void)state;
    const struct tls_wants wants = {.host = "beta.example"};
    rig_open(&rig, &wants);
    echoes(&rig);
    session = SSL_get1_session(rig.client.ssl);
    /* To OpenSSL a connection that was not shut down is no good to resume. */
    SSL_set_shutdown(rig.client.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    rig_close(&rig);
    rig_open(&rig, &wants);
    assert_int_equal(SSL_set_session(rig.client.ssl, session), 1);
    echoes(&rig);
    assert_int_equal(SSL_session_reused(rig.client.ssl), 1);
    rig_close(&rig);
    SSL_SESSION_free(session);
}

enum deed {
    DEED_CLOSE,
    DEED_ABORT,
    DEED_COUNT
};

static bool run_dialogue(unsigned turns, enum deed deed)
{
    enum {
        BYTES = 100000
    };
    static char request[BYTES];
    struct rig rig;
    bool whole = false;

    rig_open(&rig, &no_wishes);
    rig.server.on_data = write_back;
    rig.client.out = request;
    rig.client.out_len = BYTES;
    rig.client.split = 700;
    rig.bench.busy = true;
    ps_stream_read(rig.server.stream, true);
    for (unsigned i = 0; i < turns && !whole; i++) {
        STEP(&rig);
        bench_turn(&rig.bench);
        whole = rig.client.received.len == BYTES;
    }
    if (deed == DEED_CLOSE) {
        ps_stream_close(rig.server.stream);
    } else {
        ps_stream_abort(rig.server.stream);
    }
    (void)shutdown(rig.client.raw.fd, SHUT_WR);
    WAIT_FOR(&rig.bench, client_step(&rig.client.raw), rig.server.closes == 1);
    assert_int_equal(rig.server.end, deed == DEED_CLOSE ? PS_STREAM_CLOSED : PS_STREAM_ABORTED);
    rig_close(&rig);
    return whole;
}

static void ending_is_legal_after_every_turn(void **state)
{
    (void)state;
    for (enum deed deed = 0; deed < DEED_COUNT; deed++) {
        unsigned turns = 0;
        while (!run_dialogue(turns, deed)) {
            turns++;
            assert_true(turns < 10000);
        }
        assert_true(turns > 20);
    }
}

static enum deed deed_inside;

static void deed_on_data(struct recorder *recorder, const char *ptr, size_t len)
{
    (void)ptr;
    (void)len;
    if (deed_inside == DEED_CLOSE) {
        ps_stream_close(recorder->stream);
    } else {
        ps_stream_abort(recorder->stream);
    }
}

/* With more records behind the one whose delivery ends the stream. */
static void ending_inside_on_data_is_legal(void **state)
{
    static char bytes[100000];
    (void)state;
    for (deed_inside = 0; deed_inside < DEED_COUNT; deed_inside++) {
        struct rig rig;
        rig_open(&rig, &no_wishes);
        rig.server.on_data = deed_on_data;
        rig.client.out = bytes;
        rig.client.out_len = sizeof(bytes);
        ps_stream_read(rig.server.stream, true);
        WAIT(&rig, rig.server.stream == NULL || rig.client.notified);
        shutdown(rig.client.raw.fd, SHUT_WR);
        WAIT(&rig, rig.server.closes == 1);
        assert_int_equal(rig.server.end,
                         deed_inside == DEED_CLOSE ? PS_STREAM_CLOSED : PS_STREAM_ABORTED);
        assert_true(rig.server.received.len <= 20000);
        rig_close(&rig);
    }
}

/* Whether no allocation of ours was left to fail. */
static bool run_short_of_memory(int64_t n)
{
    enum {
        BYTES = 60000
    };
    static char bytes[BYTES];
    struct bench bench;
    struct recorder server;
    struct tls_client client;
    struct pair pair = pair_open(false);

    bench_init(&bench);
    recorder_init(&server, &bench);
    tls_client_init(&client, pair.client, &no_wishes);
    client.out = bytes;
    client.out_len = BYTES;
    struct ps_stream_options options = default_options;
    options.handshake_timeout_us = 10000000;
    ps_timer_cancel(&bench.tick);
    (void)ps_mem_fail_after(n);
    server.stream = ps_stream_new(&bench.loop, pair.server, false, server_tls, &options,
                                  &recorder_ops, &server);
    int64_t made = ps_mem_fail_after(-1);
    int64_t end = ps_clock_us() + BENCH_WAIT_US;
    bool wrote = false;
    while (server.stream != NULL && !client.notified && !client.raw.eof && client.raw.error == 0) {
        assert_true(ps_clock_us() < end);
        tls_client_step(&client);
        (void)ps_mem_fail_after(made <= n ? n - made : -1);
        if (!wrote && ps_tls_session_is_ready(server.stream->tls)) {
            wrote = true;
            if (ps_stream_write(server.stream, bytes, BYTES) != 0) {
                ps_stream_abort(server.stream);
            } else {
                ps_stream_close(server.stream);
            }
        }
        (void)ps_loop_turn(&bench.loop, false);
        made += ps_mem_fail_after(-1);
    }
    if (server.stream != NULL) {
        ps_stream_abort(server.stream);
    }
    tls_client_deinit(&client);
    bench_deinit(&bench);
    recorder_deinit(&server);
    return made <= n;
}

static void every_allocation_may_fail(void **state)
{
    int64_t n = 0;
    (void)state;
    while (!run_short_of_memory(n)) {
        n++;
        assert_true(n < 1000);
    }
    assert_true(n >= 6);
}

static void bad_files_are_named(void **state)
{
    struct cert missing = alpha;
    struct cert locked = cert_make("locked.example", NULL, "secret");
    struct cert crossed = alpha;
    struct cert rubbish = alpha;
    char error[300];
    (void)state;
    (void)snprintf(missing.certificate, sizeof(missing.certificate), "%s", "/nonexistent/cert.pem");
    memcpy(crossed.key, beta.key, sizeof(crossed.key));
    cert_write_file("this is no key", rubbish.key);
    const struct {
        const struct cert *cert;
        const char *expect;
    } cases[] = {
        {&missing, "/nonexistent/cert.pem"},
        {&locked, locked.key},
        {&crossed, crossed.key},
        {&rubbish, rubbish.key},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ps_tls_certificate list[] = {{alpha.certificate, alpha.key},
                                                  {cases[i].cert->certificate, cases[i].cert->key}};
        error[0] = '\0';
        assert_null(ps_tls_server_new(list, 2, error, sizeof(error)));
        assert_non_null(strstr(error, cases[i].expect));
    }
    assert_null(ps_tls_server_new(NULL, 0, error, sizeof(error)));
    (void)ps_mem_fail_after(0);
    const struct ps_tls_certificate list[] = {{alpha.certificate, alpha.key}};
    assert_null(ps_tls_server_new(list, 1, error, sizeof(error)));
    (void)ps_mem_fail_after(-1);
    ps_tls_server_unref(NULL);
}

/* A reload lets go of the certificates while connections still use them. */
static void a_stream_keeps_its_server(void **state)
{
    const struct ps_tls_certificate list[] = {{beta.certificate, beta.key}};
    char error[300];
    struct rig rig;
    (void)state;
    struct ps_tls_server *tls = ps_tls_server_new(list, 1, error, sizeof(error));
    assert_non_null(tls);
    rig_open_with(&rig, false, &no_wishes, &default_options, tls);
    ps_tls_server_unref(tls);
    echoes(&rig);
    rig_close(&rig);
}

static int make_server(void **state)
{
    char error[300];
    (void)state;
    alpha = cert_make("alpha.example", "DNS:alpha.example,DNS:*.mixed.example", NULL);
    beta = cert_make("beta", "DNS:beta.example,DNS:*.wild.example,DNS:exact.mixed.example", NULL);
    const struct ps_tls_certificate list[] = {{alpha.certificate, alpha.key},
                                              {beta.certificate, beta.key}};
    server_tls = ps_tls_server_new(list, 2, error, sizeof(error));
    return server_tls == NULL ? -1 : 0;
}

static int free_server(void **state)
{
    (void)state;
    ps_tls_server_unref(server_tls);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_work),
        cmocka_unit_test(weak_handshakes_are_refused),
        cmocka_unit_test(strong_ciphers_are_taken),
        cmocka_unit_test(alpn_is_http_1_1_or_nothing),
        cmocka_unit_test(the_host_picks_the_certificate),
        cmocka_unit_test(a_cut_anywhere_changes_nothing),
        cmocka_unit_test(a_slow_reader_gets_every_byte_within_the_watermarks),
        cmocka_unit_test(floods_both_ways),
        cmocka_unit_test(reading_may_stop_in_the_middle),
        cmocka_unit_test(eof_waits_for_what_was_kept),
        cmocka_unit_test(output_before_the_handshake_arrives_also_after_close),
        cmocka_unit_test(output_that_the_handshake_never_frees_is_no_clean_end),
        cmocka_unit_test(abort_is_no_close_notify),
        cmocka_unit_test(eof_in_the_handshake_is_an_error),
        cmocka_unit_test(a_handshake_may_not_take_for_ever),
        cmocka_unit_test(rubbish_is_refused),
        cmocka_unit_test(a_changed_record_is_refused),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(unread_answers_are_bounded),
        cmocka_unit_test(tickets_resume_sessions),
        cmocka_unit_test(ending_is_legal_after_every_turn),
        cmocka_unit_test(ending_inside_on_data_is_legal),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(bad_files_are_named),
        cmocka_unit_test(a_stream_keeps_its_server),
    };
    return cmocka_run_group_tests(tests, make_server, free_server);
}
