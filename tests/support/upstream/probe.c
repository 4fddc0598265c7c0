/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include "testing.h"

#include "penstock/base/clock.h"

#include <stdio.h>
#include <string.h>

static const struct ps_slice small_body = {"{\"model\":\"m\"}", 13};

int64_t bench_now(void)
{
    return ps_clock_us();
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void bench_options(struct ps_upstream_options *options, char *url, size_t url_size, int port)
{
    *options = (struct ps_upstream_options){
        .base_url = url,
        .max_connections = 100,
        .max_queue = 100,
        .connect_timeout_us = 5000000,
        .idle_timeout_us = 30000000,
    };
    (void)snprintf(url, url_size, "http://127.0.0.1:%d", port);
}

void bench_open(struct bench *bench, struct fake_http *server,
                const struct ps_upstream_options *options)
{
    struct ps_upstream_options usual;
    char url[64];
    char error[256] = "";

    memset(bench, 0, sizeof(*bench));
    atomic_init(&bench->budget.limit, SIZE_MAX);
    assert_int_equal(ps_loop_init(&bench->loop, 0, &bench->budget), 0);
    assert_int_equal(uv_timer_init(&bench->loop.uv, &bench->tick), 0);
    assert_int_equal(uv_timer_start(&bench->tick, on_tick, 2, 2), 0);
    bench->server = server;
    if (options == NULL) {
        bench_options(&usual, url, sizeof(url), fake_http_port(server));
        options = &usual;
    }
    bench->shared = ps_upstream_shared_new(options, error, sizeof(error));
    if (bench->shared == NULL) {
        fail_msg("%s", error);
    }
    bench->upstream = ps_upstream_new(&bench->loop, bench->shared);
    assert_non_null(bench->upstream);
}

void bench_close(struct bench *bench)
{
    struct ps_upstream_stats stats;

    if (bench->upstream != NULL) {
        ps_upstream_close(bench->upstream);
    }
    uv_close((uv_handle_t *)&bench->tick, NULL);
    ps_loop_deinit(&bench->loop);
    ps_upstream_shared_stats(bench->shared, &stats);
    assert_int_equal(stats.active, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.connections, 0);
    ps_upstream_shared_unref(bench->shared);
    ps_upstream_ca_unref(bench->ca);
    assert_int_equal(atomic_load(&bench->budget.used), 0);
}

static void tell(struct probe *probe, const char *what)
{
    if (probe->on_event != NULL) {
        probe->on_event(probe, what);
    }
}

static void on_sent(void *arg)
{
    struct probe *probe = arg;
    probe->sent++;
    tell(probe, "sent");
}

static void on_head(void *arg, const struct ps_call_head *head)
{
    struct probe *probe = arg;
    struct ps_slice marker = ps_call_header_value(head, "X-Marker");

    probe->heads++;
    probe->status = head->status;
    probe->header_count = head->header_count;
    probe->content_length = head->content_length;
    (void)snprintf(probe->marker, sizeof(probe->marker), "%.*s", (int)marker.len,
                   marker.ptr != NULL ? marker.ptr : "");
    tell(probe, "head");
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct probe *probe = arg;

    probe->data_calls++;
    if (probe->paused) {
        probe->callbacks_when_paused++;
    }
    for (size_t i = 0; i < len; i++) {
        size_t at = (size_t)probe->body_len + i;
        if (at + 1 < sizeof(probe->body)) {
            probe->body[at] = ptr[i];
            probe->body[at + 1] = '\0';
        }
        if (ptr[i] != fake_pattern(at)) {
            probe->pattern_ok = false;
        }
    }
    probe->body_hash = fake_hash(probe->body_hash, ptr, len);
    probe->body_len += len;
    tell(probe, "data");
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    struct probe *probe = arg;

    probe->ends++;
    probe->end = end;
    assert_non_null(detail);
    assert_true(detail[0] != '\0');
    (void)snprintf(probe->detail, sizeof(probe->detail), "%s", detail);
    ps_call_timing(probe->call, &probe->timing);
    tell(probe, "end");
    probe->call = NULL;
}

const struct ps_call_ops probe_ops = {on_sent, on_head, on_data, on_end};

void probe_init(struct probe *probe, struct bench *bench)
{
    memset(probe, 0, sizeof(*probe));
    probe->bench = bench;
    probe->pattern_ok = true;
    probe->body_hash = FAKE_HASH_START;
    probe->end = PS_CALL_END_COUNT;
}

void probe_request(struct ps_call_request *request)
{
    static const struct ps_call_header headers[] = {
        {{"content-type", 12}, {"application/json", 16}},
        {{"authorization", 13}, {"Bearer test", 11}},
    };
    *request = (struct ps_call_request){
        .method = "POST",
        .path = {"/v1/x", 5},
        .headers = headers,
        .header_count = 2,
        .body = &small_body,
        .body_count = 1,
        .has_body = true,
    };
}

void probe_start(struct probe *probe, const struct ps_call_request *request)
{
    struct ps_call_request usual;

    if (request == NULL) {
        probe_request(&usual);
        request = &usual;
    }
    probe->call = ps_call_start(probe->bench->upstream, request, &probe_ops, probe);
    assert_non_null(probe->call);
}

void probe_run(struct probe *probe, struct bench *bench, const struct ps_call_request *request)
{
    probe_init(probe, bench);
    probe_start(probe, request);
    bench_until(bench, probe->ends > 0);
}
