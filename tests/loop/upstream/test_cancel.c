/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include "penstock/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cancelling and closing at every turn and in every callback, and every allocation failing once. */

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

enum kind {
    SMALL,
    UPLOAD,
    STREAM,
    QUEUED,
    RESOLVING,
    PAUSED,
    KINDS
};

static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    static const struct fake_step small[] = {{FAKE_SEND, OK_HEAD "Content-Length: 2\r\n\r\nok", 0},
                                             {FAKE_END, NULL, 0}};
    static const struct fake_step stream[] = {
        {FAKE_SEND, "HTTP/1.1 103 Early\r\n\r\n", 0},
        {FAKE_SEND, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n20000\r\n", 0},
        {FAKE_PATTERN, NULL, 131072},
        {FAKE_SEND, "\r\n100000\r\n", 0},
        {FAKE_PATTERN, NULL, 1048576},
        {FAKE_SEND, "\r\n0\r\nT: x\r\n\r\n", 0},
        {FAKE_END, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    return strstr(head, "/stream") != NULL ? stream : small;
}

static const char *path_of(enum kind kind)
{
    return kind == STREAM || kind == PAUSED ? "/stream" : "/small";
}

static void open_for(struct bench *bench, struct fake_http *server, enum kind kind)
{
    struct ps_upstream_options options;
    char url[64];

    bench_options(&options, url, sizeof(url), fake_http_port(server));
    if (kind == RESOLVING) {
        (void)snprintf(url, sizeof(url), "http://nonexistent.invalid:1");
    }
    if (kind == QUEUED) {
        options.max_connections = 1;
    }
    bench_open(bench, server, &options);
}

static void cancel_after(enum kind kind, int turns, bool by_closing, bool warm)
{
    size_t size = kind == UPLOAD ? 3000000 : 100;
    char *body = calloc(1, size);
    struct ps_slice parts[2] = {{body, size / 2}, {body + size / 2, size - size / 2}};
    struct fake_http *server = fake_http_start(script, NULL);
    struct ps_call_request request;
    struct bench bench;
    struct probe first;
    struct probe probe;

    assert_non_null(body);
    open_for(&bench, server, kind);
    if (warm && kind != RESOLVING) {
        probe_run(&first, &bench, NULL);
        assert_int_equal(first.end, PS_CALL_DONE);
    }
    probe_request(&request);
    request.path = ps_slice_cstr(path_of(kind));
    request.first_byte_timeout_us = 20000000;
    request.total_timeout_us = 20000000;
    request.idle_timeout_us = 20000000;
    request.queue_timeout_us = 20000000;
    probe_init(&first, &bench);
    if (kind == QUEUED) {
        struct ps_call_request other = request;
        static char other_body[1];
        static const struct ps_slice other_part = {other_body, 1};
        other.body = &other_part;
        other.body_count = 1;
        probe_start(&first, &other);
    }
    request.body = parts;
    request.body_count = 2;
    probe_init(&probe, &bench);
    probe_start(&probe, &request);
    for (int turn = 0; turn < turns && probe.ends == 0; turn++) {
        (void)ps_loop_turn(&bench.loop, turn % 3 == 0);
        if (kind == PAUSED && probe.ends == 0) {
            if (turn % 4 == 3) {
                ps_call_resume(probe.call);
            } else {
                ps_call_pause(probe.call);
            }
        }
    }
    struct probe before = probe;
    if (by_closing) {
        ps_upstream_close(bench.upstream);
        bench.upstream = NULL;
        if (before.ends == 0) {
            assert_int_equal(probe.end, PS_CALL_CANCELLED);
        }
        assert_int_equal(probe.ends, 1);
    } else if (before.ends == 0) {
        ps_call_cancel(probe.call);
        assert_int_equal(probe.ends, 0);
    }
    free(body); /* from here on nobody may read it */
    struct probe after = probe;
    if (!by_closing && kind == QUEUED) {
        bench_until(&bench, first.ends == 1);
        assert_int_equal(first.end, PS_CALL_DONE);
    }
    /* The upstream goes on as if nothing had been. */
    if (!by_closing && kind != RESOLVING) {
        struct probe next;
        probe_run(&next, &bench, NULL);
        assert_int_equal(next.end, PS_CALL_DONE);
        assert_string_equal(next.body, "ok");
    }
    bench_close(&bench);
    assert_int_equal(probe.ends, after.ends);
    assert_int_equal(probe.heads, after.heads);
    assert_int_equal(probe.data_calls, after.data_calls);
    assert_int_equal(probe.sent, after.sent);
    fake_http_stop(server);
}

static void test_cancel_after_turns(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        for (int turns = 0; turns <= 60; turns += kind == RESOLVING && turns > 5 ? 11 : 1) {
            cancel_after((enum kind)kind, turns, false, turns % 2 == 0);
            cancel_after((enum kind)kind, turns, true, turns % 2 == 1);
        }
    }
}

static const char *cancel_at;
static bool cancel_by_closing;
static struct ps_upstream *to_close;

static void cancel_inside(struct probe *probe, const char *what)
{
    if (strcmp(what, cancel_at) != 0) {
        return;
    }
    if (cancel_by_closing) {
        struct ps_upstream *upstream = to_close;
        to_close = NULL;
        if (upstream != NULL) {
            ps_upstream_close(upstream);
        }
    } else if (probe->call != NULL) {
        ps_call_cancel(probe->call);
    }
}

static void cancel_in_callback(const char *at, bool by_closing, const char *path)
{
    struct fake_http *server = fake_http_start(script, NULL);
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;
    struct probe other;
    bool in_end = strcmp(at, "end") == 0;

    bench_open(&bench, server, NULL);
    cancel_at = at;
    cancel_by_closing = by_closing;
    to_close = bench.upstream;
    probe_request(&request);
    request.path = ps_slice_cstr(path);
    probe_init(&probe, &bench);
    probe.on_event = cancel_inside;
    probe_start(&probe, &request);
    probe_init(&other, &bench);
    probe_start(&other, &request);
    for (int turn = 0; turn < 400 && other.ends == 0; turn++) {
        (void)ps_loop_turn(&bench.loop, true);
    }
    if (by_closing) {
        assert_null(to_close);
        bench.upstream = NULL;
        assert_int_equal(probe.ends, 1);
        assert_int_equal(probe.end, in_end ? PS_CALL_DONE : PS_CALL_CANCELLED);
    } else {
        assert_int_equal(probe.ends, in_end ? 1 : 0);
        assert_int_equal(other.end, PS_CALL_DONE);
    }
    if (!in_end) {
        assert_int_equal(probe.data_calls, strcmp(at, "data") == 0 ? 1 : 0);
    }
    assert_int_equal(other.ends, 1);
    bench_close(&bench);
    fake_http_stop(server);
}

static void test_cancel_in_callbacks(void **state)
{
    static const char *const events[] = {"sent", "head", "data", "end"};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (int closing = 0; closing < 2; closing++) {
            cancel_in_callback(events[i], closing != 0, "/small");
            cancel_in_callback(events[i], closing != 0, "/stream");
        }
    }
}

static struct probe chained[3];

static void start_next(struct probe *probe, const char *what)
{
    size_t i = (size_t)(probe - chained);
    if (strcmp(what, i == 0 ? "head" : "end") == 0 && i + 1 < 3) {
        probe_start(&chained[i + 1], NULL);
        ps_call_pause(chained[i + 1].call);
        ps_call_resume(chained[i + 1].call);
    }
}

/* A call may be started from inside any callback of another, curl's own stack below it. */
static void test_start_in_callbacks(void **state)
{
    struct fake_http *server = fake_http_start(script, NULL);
    struct bench bench;

    (void)state;
    bench_open(&bench, server, NULL);
    for (size_t i = 0; i < 3; i++) {
        probe_init(&chained[i], &bench);
        chained[i].on_event = start_next;
    }
    probe_start(&chained[0], NULL);
    bench_until(&bench, chained[2].ends == 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chained[i].end, PS_CALL_DONE);
        assert_string_equal(chained[i].body, "ok");
    }
    bench_close(&bench);
    fake_http_stop(server);
}

/* false: no allocation was left to fail. */
static bool fail_one(int64_t after, const char *path, size_t body_size, bool warm)
{
    struct fake_http *server = fake_http_start(script, NULL);
    char *bytes = calloc(1, body_size);
    const struct ps_slice parts[] = {{bytes, body_size / 2},
                                     {bytes + body_size / 2, body_size - body_size / 2}};
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;

    assert_non_null(bytes);
    bench_open(&bench, server, NULL);
    if (warm) {
        probe_run(&probe, &bench, NULL);
    }
    probe_request(&request);
    request.path = ps_slice_cstr(path);
    request.body = parts;
    request.body_count = 2;
    request.total_timeout_us = 20000000;
    probe_init(&probe, &bench);
    (void)ps_mem_fail_after(after);
    probe.call = ps_call_start(bench.upstream, &request, &probe_ops, &probe);
    if (probe.call != NULL) {
        bench_until(&bench, probe.ends == 1);
    }
    bool failed = ps_mem_fail_after(-1) > after;
    if (!failed) {
        assert_int_equal(probe.end, PS_CALL_DONE);
    }
    if (probe.end == PS_CALL_DONE) {
        assert_int_equal(probe.status, 200);
        assert_int_equal(probe.body_len, strcmp(path, "/small") == 0 ? 2 : 131072 + 1048576);
    }
    assert_int_not_equal(probe.end, PS_CALL_TOTAL_TIMEOUT);
    probe_run(&probe, &bench, NULL);
    if (probe.end != PS_CALL_DONE) {
        fail_msg("after allocation %d: %s: %s", (int)after, ps_call_end_name(probe.end),
                 probe.detail);
    }
    bench_close(&bench);
    fake_http_stop(server);
    free(bytes);
    return failed;
}

static void test_every_allocation_fails(void **state)
{
    static const struct {
        const char *path;
        size_t body;
        bool warm;
    } rows[] = {{"/small", 100, false}, {"/small", 100, true}, {"/stream", 100000, false}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t after = 0;
        while (fail_one(after, rows[i].path, rows[i].body, rows[i].warm)) {
            after++;
            assert_true(after < 5000);
        }
        assert_true(after > 5);
    }
}

static void test_no_memory_for_an_upstream(void **state)
{
    struct ps_upstream_options options;
    char url[64];
    char error[256];
    struct ps_budget budget;
    struct ps_loop loop;

    (void)state;
    atomic_init(&budget.used, 0);
    atomic_init(&budget.limit, SIZE_MAX);
    assert_int_equal(ps_loop_init(&loop, 0, &budget), 0);
    bench_options(&options, url, sizeof(url), 1);
    for (int64_t after = 0;; after++) {
        struct ps_upstream *upstream = NULL;
        (void)ps_mem_fail_after(after);
        struct ps_upstream_shared *shared = ps_upstream_shared_new(&options, error, sizeof(error));
        if (shared != NULL) {
            upstream = ps_upstream_new(&loop, shared);
        }
        bool failed = ps_mem_fail_after(-1) > after;
        assert_true(failed || upstream != NULL);
        if (upstream != NULL) {
            ps_upstream_close(upstream);
        }
        ps_upstream_shared_unref(shared);
        if (!failed) {
            break;
        }
    }
    ps_loop_deinit(&loop);
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
        cmocka_unit_test(test_cancel_after_turns),
        cmocka_unit_test(test_cancel_in_callbacks),
        cmocka_unit_test(test_start_in_callbacks),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_no_memory_for_an_upstream),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
