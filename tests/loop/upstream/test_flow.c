/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"
#include "upstream_priv.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Connections over several calls, flow in both directions, time-outs, places and queues. */

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define OK      OK_HEAD "Content-Length: 2\r\n\r\nok"
#define BIG     (10U * 1024 * 1024)

static const struct fake_step ok[] = {{FAKE_SEND, OK, 0}, {FAKE_END, NULL, 0}};

static const struct fake_step *always_ok(void *arg, enum fake_moment moment, unsigned connection,
                                         unsigned request, const char *head)
{
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? ok : NULL;
}

static void test_keep_alive(void **state)
{
    struct fake_http *server = fake_http_start(always_ok, NULL);
    struct ps_upstream_stats stats;
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    for (int i = 0; i < 50; i++) {
        probe_run(&probe, &bench, NULL);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_string_equal(probe.body, "ok");
        assert_int_equal(probe.timing.reused, i > 0);
    }
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.opened, 1);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.active, 0);
    assert_int_equal(stats.stray_closed, 0);
    assert_int_equal(fake_http_accepted(server), 1);
    /* Asked for a fresh connection it opens one, and keeps the old. */
    struct ps_call_request request;
    probe_request(&request);
    request.fresh_connection = true;
    probe_run(&probe, &bench, &request);
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_false(probe.timing.reused);
    assert_int_equal(fake_http_accepted(server), 2);
    probe_run(&probe, &bench, NULL);
    assert_true(probe.timing.reused);
    bench_close(&bench);
    fake_http_stop(server);
}

/* An answer nobody asked for, on an idle connection. */
static const struct fake_step *stray(void *arg, enum fake_moment moment, unsigned connection,
                                     unsigned request, const char *head)
{
    static const struct fake_step steps[] = {
        {FAKE_SEND, OK, 0},
        {FAKE_GATE, NULL, 1},
        {FAKE_SEND, OK_HEAD "Content-Length: 5\r\n\r\nSTRAY", 0},
        {FAKE_MARK, NULL, 0},
        {FAKE_END, NULL, 0}};
    (void)head;
    (void)arg;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    return connection == 0 && request == 0 ? steps : ok;
}

static void test_stray_bytes_seen_while_idle(void **state)
{
    struct fake_http *server = fake_http_start(stray, NULL);
    struct ps_upstream_stats stats = {0};
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    probe_run(&probe, &bench, NULL);
    assert_string_equal(probe.body, "ok");
    fake_http_open(server, 1);
    while (stats.stray_closed == 0) {
        (void)ps_loop_turn(&bench.loop, true);
        ps_upstream_shared_stats(bench.shared, &stats);
    }
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_string_equal(probe.body, "ok");
    assert_false(probe.timing.reused);
    assert_int_equal(fake_http_requests(server), 2);
    assert_int_equal(fake_http_accepted(server), 2);
    bench_close(&bench);
    fake_http_stop(server);
}

/* The bytes lie in the socket when the next call starts, and the loop has had no chance to see
 * them. */
static void test_stray_bytes_at_the_last_moment(void **state)
{
    struct fake_http *server = fake_http_start(stray, NULL);
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    probe_run(&probe, &bench, NULL);
    fake_http_open(server, 1);
    while (fake_http_marks(server) == 0) {
        (void)sched_yield();
    }
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_REUSE_DIED);
    assert_int_equal(probe.heads, 0);
    assert_int_equal(fake_http_requests(server), 1);
    probe_request(&request);
    request.fresh_connection = true;
    probe_run(&probe, &bench, &request);
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_string_equal(probe.body, "ok");
    bench_close(&bench);
    fake_http_stop(server);
}

static const struct fake_step *close_idle(void *arg, enum fake_moment moment, unsigned connection,
                                          unsigned request, const char *head)
{
    static const struct fake_step steps[] = {{FAKE_SEND, OK, 0}, {FAKE_CLOSE, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? steps : NULL;
}

static void test_server_closes_idle(void **state)
{
    struct fake_http *server = fake_http_start(close_idle, NULL);
    struct bench bench;
    struct probe probe;
    unsigned done = 0;

    (void)state;
    bench_open(&bench, server, NULL);
    for (int i = 0; i < 20; i++) {
        probe_run(&probe, &bench, NULL);
        if (probe.end == PS_CALL_DONE) {
            assert_false(probe.timing.reused);
            done++;
        } else {
            assert_int_equal(probe.end, PS_CALL_REUSE_DIED);
        }
        for (int turn = 0; i % 2 == 0 && turn < 3; turn++) {
            (void)ps_loop_turn(&bench.loop, true);
        }
    }
    assert_int_equal(fake_http_requests(server), done);
    assert_true(done >= 10);
    bench_close(&bench);
    fake_http_stop(server);
}

/* The second request on a connection is read, and then the connection dies. */
static const struct fake_step *die_at_second(void *arg, enum fake_moment moment,
                                             unsigned connection, unsigned request,
                                             const char *head)
{
    static const struct fake_step die[] = {{FAKE_CLOSE, NULL, 0}};
    static const struct fake_step reset[] = {{FAKE_RESET, NULL, 0}};
    static const struct fake_step half[] = {{FAKE_SEND, OK_HEAD "Content-Length: 2\r\n\r\no", 0},
                                            {FAKE_CLOSE, NULL, 0}};
    const char *how = arg;
    (void)connection;
    (void)head;
    if (request != 1) {
        return moment == FAKE_REQUEST ? ok : NULL;
    }
    if (how[0] == 'h') {
        return moment == FAKE_HEAD ? reset : NULL;
    }
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    return how[0] == 'c' ? die : how[0] == 'p' ? half : reset;
}

static void check_reuse_death(const char *how, size_t body_len, enum ps_call_end end)
{
    char script[8];
    struct fake_http *server;
    struct ps_call_request request;
    struct ps_upstream_stats stats;
    struct bench bench;
    struct probe probe;
    char *body = calloc(1, body_len);
    struct ps_slice part = {body, body_len};

    assert_non_null(body);
    (void)snprintf(script, sizeof(script), "%s", how);
    server = fake_http_start(die_at_second, script);
    bench_open(&bench, server, NULL);
    probe_run(&probe, &bench, NULL);
    probe_request(&request);
    request.body = &part;
    probe_run(&probe, &bench, &request);
    if (probe.end != end) {
        fail_msg("%s: %s", how, ps_call_end_name(probe.end));
    }
    assert_int_equal(probe.heads, end == PS_CALL_CUT ? 1 : 0);
    assert_true(probe.timing.reused);
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.reuse_deaths, end == PS_CALL_REUSE_DIED ? 1 : 0);
    /* Never sent again: the server has seen two heads, on one connection. */
    assert_int_equal(fake_http_heads(server), 2);
    assert_int_equal(fake_http_accepted(server), 1);
    request.fresh_connection = true;
    probe_run(&probe, &bench, &request);
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_int_equal(fake_http_heads(server), 3);
    bench_close(&bench);
    fake_http_stop(server);
    free(body);
}

static void test_reuse_death(void **state)
{
    (void)state;
    check_reuse_death("close", 10, PS_CALL_REUSE_DIED);
    check_reuse_death("reset", 10, PS_CALL_REUSE_DIED);
    check_reuse_death("partial", 10, PS_CALL_CUT);
    check_reuse_death("close", 300000, PS_CALL_REUSE_DIED);
    check_reuse_death("reset", 300000, PS_CALL_REUSE_DIED);
    check_reuse_death("head", 3000000, PS_CALL_REUSE_DIED);
}

/* Ten pooled connections die together while another one lives: no re-send over the living one
 * either. */
static const struct fake_step *die_if_told(void *arg, enum fake_moment moment, unsigned connection,
                                           unsigned request, const char *head)
{
    static const struct fake_step held[] = {
        {FAKE_GATE, NULL, 1}, {FAKE_SEND, OK, 0}, {FAKE_END, NULL, 0}};
    static const struct fake_step die[] = {{FAKE_CLOSE, NULL, 0}};
    (void)arg;
    (void)connection;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    if (strstr(head, "/die") != NULL) {
        return die;
    }
    return request == 0 ? held : ok;
}

static void test_no_resend_over_another(void **state)
{
    struct fake_http *server = fake_http_start(die_if_told, NULL);
    struct ps_call_request request;
    struct bench bench;
    struct probe probes[10];

    (void)state;
    bench_open(&bench, server, NULL);
    for (int i = 0; i < 10; i++) {
        probe_init(&probes[i], &bench);
        probe_start(&probes[i], NULL);
    }
    bench_until(&bench, fake_http_requests(server) == 10);
    fake_http_open(server, 1);
    for (int i = 0; i < 10; i++) {
        bench_until(&bench, probes[i].ends == 1);
    }
    assert_int_equal(fake_http_accepted(server), 10);
    probe_request(&request);
    request.path = ps_slice_cstr("/die");
    probe_run(&probes[0], &bench, &request);
    assert_int_equal(probes[0].end, PS_CALL_REUSE_DIED);
    assert_int_equal(fake_http_requests(server), 11);
    probe_run(&probes[0], &bench, NULL);
    assert_int_equal(probes[0].end, PS_CALL_DONE);
    assert_int_equal(fake_http_accepted(server), 10);
    bench_close(&bench);
    fake_http_stop(server);
}

static const struct fake_step *big_answer(void *arg, enum fake_moment moment, unsigned connection,
                                          unsigned request, const char *head)
{
    static const struct fake_step plain[] = {
        {FAKE_SEND, OK_HEAD "Content-Length: 10485760\r\n\r\n", 0},
        {FAKE_PATTERN, NULL, BIG},
        {FAKE_END, NULL, 0}};
    static const struct fake_step until_close[] = {
        {FAKE_SEND, OK_HEAD "Connection: close\r\n\r\n", 0},
        {FAKE_PATTERN, NULL, BIG},
        {FAKE_CLOSE, NULL, 0}};
    (void)connection;
    (void)request;
    (void)head;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    return arg == NULL ? plain : until_close;
}

static void pause_now_and_then(struct probe *probe, const char *what)
{
    if (strcmp(what, "data") == 0 && probe->data_calls % 3 == 0) {
        probe->paused = true;
        ps_call_pause(probe->call);
    }
}

static void check_pausing(void *how, bool pause_at_head)
{
    struct fake_http *server = fake_http_start(big_answer, how);
    struct bench bench;
    struct probe probe;
    unsigned pauses = 0;

    bench_open(&bench, server, NULL);
    probe_init(&probe, &bench);
    probe.on_event = pause_now_and_then;
    probe_start(&probe, NULL);
    if (pause_at_head) {
        ps_call_pause(probe.call);
        probe.paused = true;
    }
    int64_t deadline = bench_now() + 60000000;
    while (probe.ends == 0) {
        assert_true(bench_now() < deadline);
        (void)ps_loop_turn(&bench.loop, true);
        if (probe.paused && probe.ends == 0) {
            uint64_t at = probe.body_len;
            for (int turn = 0; turn < (pauses % 50 == 0 ? 5 : 0); turn++) {
                (void)ps_loop_turn(&bench.loop, true);
            }
            assert_int_equal(probe.body_len, at);
            pauses++;
            if (probe.ends == 0) {
                probe.paused = false;
                ps_call_resume(probe.call);
                /* Nothing comes from inside resume. */
                assert_int_equal(probe.body_len, at);
            }
        }
    }
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_int_equal(probe.body_len, BIG);
    assert_true(probe.pattern_ok);
    assert_int_equal(probe.callbacks_when_paused, 0);
    assert_true(pauses > 50);
    bench_close(&bench);
    fake_http_stop(server);
}

static void test_pausing(void **state)
{
    char close[] = "close";
    (void)state;
    check_pausing(NULL, false);
    check_pausing(close, true);
}

static void test_pause_resume_in_one_turn(void **state)
{
    struct fake_http *server = fake_http_start(big_answer, NULL);
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    probe_init(&probe, &bench);
    probe_start(&probe, NULL);
    while (probe.ends == 0) {
        ps_call_pause(probe.call);
        ps_call_pause(probe.call);
        (void)ps_loop_turn(&bench.loop, true);
        if (probe.ends == 0) {
            ps_call_resume(probe.call);
            ps_call_pause(probe.call);
            ps_call_resume(probe.call);
            ps_call_resume(probe.call);
            (void)ps_loop_turn(&bench.loop, false);
        }
    }
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_int_equal(probe.body_len, BIG);
    assert_true(probe.pattern_ok);
    bench_close(&bench);
    fake_http_stop(server);
}

/* Bodies around the size from which they are no longer sent in one run. */
static void test_uploads(void **state)
{
    static const size_t sizes[] = {0, 1, 65534, 65535, 65536, 65537, 200000, 3000000};
    struct fake_http *server = fake_http_start(always_ok, NULL);
    struct bench bench;
    struct probe probe;
    uint64_t total = 0;
    uint64_t hash = FAKE_HASH_START;
    char *bytes = malloc(3000000);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < 3000000; i++) {
        bytes[i] = fake_pattern(i);
    }
    bench_open(&bench, server, NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t size = sizes[i];
        const struct ps_slice splits[] = {{bytes, size / 3},
                                          {NULL, 0},
                                          {bytes + size / 3, size / 2 - size / 3},
                                          {bytes + size / 2, size - size / 2},
                                          {bytes, 0}};
        for (int parts = 0; parts < 2; parts++) {
            const struct ps_slice whole = {bytes, size};
            struct ps_call_request request;
            probe_request(&request);
            request.body = parts ? splits : &whole;
            request.body_count = parts ? 5 : 1;
            probe_run(&probe, &bench, &request);
            assert_int_equal(probe.end, PS_CALL_DONE);
            assert_int_equal(probe.sent, 1);
            total += size;
            hash = fake_hash(hash, bytes, size);
            assert_int_equal(fake_http_body_bytes(server), total);
            assert_int_equal(fake_http_body_hash(server), hash);
        }
    }
    assert_int_equal(fake_http_accepted(server), 1);
    bench_close(&bench);
    fake_http_stop(server);
    free(bytes);
}

static const struct fake_step *early(void *arg, enum fake_moment moment, unsigned connection,
                                     unsigned request, const char *head)
{
    static const struct fake_step steps[] = {
        {FAKE_SEND, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch", 0},
        {FAKE_END, NULL, 0}};
    static const struct fake_step deaf[] = {
        {FAKE_DEAF, NULL, 0},
        {FAKE_SEND, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch",
         0},
        {FAKE_END, NULL, 0}};
    (void)connection;
    (void)request;
    (void)head;
    if (moment != FAKE_HEAD) {
        return NULL;
    }
    return arg == NULL ? steps : deaf;
}

static void test_early_answer(void **state)
{
    char deaf[] = "deaf";
    size_t size = 20000000;
    char *bytes = calloc(1, size);
    struct ps_slice part = {bytes, size};

    (void)state;
    assert_non_null(bytes);
    for (int i = 0; i < 2; i++) {
        struct fake_http *server = fake_http_start(early, i == 0 ? NULL : deaf);
        struct ps_call_request request;
        struct bench bench;
        struct probe probe;
        bench_open(&bench, server, NULL);
        probe_request(&request);
        request.body = &part;
        probe_run(&probe, &bench, &request);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_int_equal(probe.status, 413);
        assert_string_equal(probe.body, "much");
        assert_true(fake_http_body_bytes(server) < size);
        bench_close(&bench);
        fake_http_stop(server);
    }
    free(bytes);
}

static const struct fake_step *silent(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    static const struct fake_step nothing[] = {{FAKE_GATE, NULL, 99}, {FAKE_END, NULL, 0}};
    static const struct fake_step half[] = {{FAKE_SEND, OK_HEAD "Content-Length: 9\r\n\r\nhalf", 0},
                                            {FAKE_GATE, NULL, 99},
                                            {FAKE_END, NULL, 0}};
    static const struct fake_step interim[] = {
        {FAKE_SEND, "HTTP/1.1 102 Wait\r\n\r\n", 0}, {FAKE_GATE, NULL, 99}, {FAKE_END, NULL, 0}};
    const char *how = arg;
    (void)connection;
    (void)request;
    (void)head;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    return how[0] == 'h' ? half : how[0] == 'i' ? interim : nothing;
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *how;
        int64_t first_us;
        int64_t idle_us;
        int64_t total_us;
        enum ps_call_end end;
    } rows[] = {
        {"none", 50000, 0, 0, PS_CALL_FIRST_BYTE_TIMEOUT},
        {"none", 50000, 10000, 5000000, PS_CALL_FIRST_BYTE_TIMEOUT},
        {"interim", 50000, 0, 0, PS_CALL_FIRST_BYTE_TIMEOUT},
        {"none", 0, 10000, 50000, PS_CALL_TOTAL_TIMEOUT},
        {"half", 5000000, 50000, 0, PS_CALL_IDLE_TIMEOUT},
        {"half", 20000000, 0, 100000, PS_CALL_TOTAL_TIMEOUT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char how[8];
        struct ps_call_request request;
        struct fake_http *server;
        struct bench bench;
        struct probe probe;
        (void)snprintf(how, sizeof(how), "%s", rows[i].how);
        server = fake_http_start(silent, how);
        bench_open(&bench, server, NULL);
        probe_request(&request);
        request.first_byte_timeout_us = rows[i].first_us;
        request.idle_timeout_us = rows[i].idle_us;
        request.total_timeout_us = rows[i].total_us;
        int64_t start = bench_now();
        probe_run(&probe, &bench, &request);
        assert_int_equal(probe.end, rows[i].end);
        assert_true(bench_now() - start >= 45000);
        assert_int_equal(probe.ends, 1);
        bench_close(&bench);
        fake_http_stop(server);
    }
}

static void pause_at_data(struct probe *probe, const char *what)
{
    if (strcmp(what, "data") == 0) {
        ps_call_pause(probe->call);
    }
}

/* Paused, silence is ours; resumed, it is the upstream's again. */
static void test_no_idle_timeout_while_paused(void **state)
{
    char how[] = "half";
    struct fake_http *server = fake_http_start(silent, how);
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    probe_request(&request);
    request.idle_timeout_us = 20000;
    probe_init(&probe, &bench);
    probe.on_event = pause_at_data;
    probe_start(&probe, &request);
    bench_until(&bench, probe.data_calls == 1);
    int64_t until = bench_now() + 100000;
    while (bench_now() < until) {
        (void)ps_loop_turn(&bench.loop, true);
    }
    assert_int_equal(probe.ends, 0);
    ps_call_resume(probe.call);
    bench_until(&bench, probe.ends == 1);
    assert_int_equal(probe.end, PS_CALL_IDLE_TIMEOUT);
    bench_close(&bench);
    fake_http_stop(server);
}

static void test_connect_refused(void **state)
{
    struct fake_http *server = fake_http_start(always_ok, NULL);
    struct ps_upstream_options options;
    struct bench bench;
    struct probe probe;
    char url[64];

    (void)state;
    bench_options(&options, url, sizeof(url), fake_http_port(server));
    fake_http_stop(server);
    bench_open(&bench, NULL, &options);
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_CONNECT);
    assert_int_equal(probe.sent, 0);
    bench_close(&bench);
}

static void test_resolve_failure(void **state)
{
    struct ps_upstream_options options;
    struct bench bench;
    struct probe probe;
    char url[64];

    (void)state;
    bench_options(&options, url, sizeof(url), 1);
    (void)snprintf(url, sizeof(url), "http://nonexistent.invalid:1");
    bench_open(&bench, NULL, &options);
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_RESOLVE);
    bench_close(&bench);
}

static const struct fake_step *gated(void *arg, enum fake_moment moment, unsigned connection,
                                     unsigned request, const char *head)
{
    static const struct fake_step steps[] = {
        {FAKE_GATE, NULL, 1}, {FAKE_SEND, OK, 0}, {FAKE_END, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? steps : NULL;
}

static unsigned finished;

static void note_order(struct probe *probe, const char *what)
{
    if (strcmp(what, "end") == 0) {
        *(unsigned *)probe->user = finished++;
    }
}

static void test_queue(void **state)
{
    struct fake_http *server = fake_http_start(gated, NULL);
    struct ps_upstream_options options;
    struct ps_upstream_stats stats;
    struct ps_call_request request;
    struct probe probes[9];
    unsigned order[9];
    struct bench bench;
    char url[64];

    (void)state;
    finished = 0;
    bench_options(&options, url, sizeof(url), fake_http_port(server));
    options.max_connections = 1;
    options.max_queue = 6;
    bench_open(&bench, server, &options);
    for (int i = 0; i < 9; i++) {
        probe_request(&request);
        request.queue_timeout_us = i == 3 ? 30000 : 0;
        request.total_timeout_us = i == 4 ? 30000 : 0;
        probe_init(&probes[i], &bench);
        probes[i].on_event = note_order;
        probes[i].user = &order[i];
        probe_start(&probes[i], &request);
        assert_int_equal(probes[i].ends, 0); /* never from inside start */
    }
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.active, 1);
    assert_int_equal(stats.queued, 6);
    bench_until(&bench, probes[7].ends + probes[8].ends == 2);
    assert_int_equal(probes[7].end, PS_CALL_QUEUE_FULL);
    assert_int_equal(probes[8].end, PS_CALL_QUEUE_FULL);
    assert_int_equal(probes[8].timing.started_us, 0);
    bench_until(&bench, probes[3].ends + probes[4].ends == 2);
    assert_int_equal(probes[3].end, PS_CALL_QUEUE_TIMEOUT);
    assert_int_equal(probes[4].end, PS_CALL_TOTAL_TIMEOUT);
    ps_call_cancel(probes[5].call);
    assert_int_equal(fake_http_requests(server), 1);
    fake_http_open(server, 1);
    bench_until(&bench, probes[6].ends == 1);
    assert_true(order[0] < order[1] && order[1] < order[2] && order[2] < order[6]);
    assert_int_equal(probes[5].ends, 0);
    assert_int_equal(fake_http_requests(server), 4);
    assert_int_equal(fake_http_accepted(server), 1);
    assert_true(probes[6].timing.queued_us > 0);
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.active, 0);
    bench_close(&bench);
    fake_http_stop(server);
}

static size_t count_muxes(const struct ps_upstream *upstream)
{
    size_t count = 0;
    for (const struct ps_link *link = upstream->muxes.next; link != &upstream->muxes;
         link = link->next) {
        count++;
    }
    return count;
}

static void test_many_calls(void **state)
{
    enum {
        MANY = 1200
    };
    struct fake_http *server = fake_http_start(gated, NULL);
    struct ps_upstream_options options;
    struct bench bench;
    struct probe *probes = calloc(MANY, sizeof(*probes));
    struct rlimit limit;
    char url[64];

    (void)state;
    assert_non_null(probes);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    bench_options(&options, url, sizeof(url), fake_http_port(server));
    options.max_connections = 5000;
    bench_open(&bench, server, &options);
    for (int i = 0; i < MANY; i++) {
        probe_init(&probes[i], &bench);
        probe_start(&probes[i], NULL);
    }
    bench_until(&bench, fake_http_requests(server) == MANY);
    assert_int_equal(count_muxes(bench.upstream), (MANY + PS_MUX_CALLS - 1) / PS_MUX_CALLS);
    fake_http_open(server, 1);
    for (int i = 0; i < MANY; i++) {
        bench_until(&bench, probes[i].ends == 1);
        assert_int_equal(probes[i].end, PS_CALL_DONE);
        assert_string_equal(probes[i].body, "ok");
    }
    /* And again, on the pooled connections of the first. */
    unsigned accepted = fake_http_accepted(server);
    for (int i = 0; i < 500; i++) {
        probe_init(&probes[i], &bench);
        probe_start(&probes[i], NULL);
    }
    for (int i = 0; i < 500; i++) {
        bench_until(&bench, probes[i].ends == 1);
        assert_int_equal(probes[i].end, PS_CALL_DONE);
    }
    assert_int_equal(fake_http_accepted(server), accepted);
    bench_close(&bench);
    fake_http_stop(server);
    free(probes);
}

/* What is too old to be used again is closed even if no call comes any more. */
static void test_pool_goes_when_idle(void **state)
{
    struct fake_http *server = fake_http_start(always_ok, NULL);
    struct ps_upstream_options options;
    struct ps_upstream_stats stats;
    struct bench bench;
    struct probe probe;
    char url[64];

    (void)state;
    bench_options(&options, url, sizeof(url), fake_http_port(server));
    options.idle_timeout_us = 1;
    bench_open(&bench, server, &options);
    probe_run(&probe, &bench, NULL);
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.connections, 1);
    int64_t deadline = bench_now() + 30000000;
    while (stats.connections > 0 && bench_now() < deadline) {
        (void)ps_loop_turn(&bench.loop, true);
        ps_upstream_shared_stats(bench.shared, &stats);
    }
    assert_int_equal(stats.connections, 0);
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_DONE);
    bench_close(&bench);
    fake_http_stop(server);
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
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_stray_bytes_seen_while_idle),
        cmocka_unit_test(test_stray_bytes_at_the_last_moment),
        cmocka_unit_test(test_server_closes_idle),
        cmocka_unit_test(test_reuse_death),
        cmocka_unit_test(test_no_resend_over_another),
        cmocka_unit_test(test_pausing),
        cmocka_unit_test(test_pause_resume_in_one_turn),
        cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_no_idle_timeout_while_paused),
        cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_resolve_failure),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_many_calls),
        cmocka_unit_test(test_pool_goes_when_idle),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
