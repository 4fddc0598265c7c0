/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "testing.h"
#include "upstream/probe.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* Several loops share the places of one upstream: never more than the limit at once, none left
 * waiting. */

#define LOOPS  3
#define CALLS  120
#define PLACES 2

struct worker {
    pthread_t thread;
    struct ps_upstream_shared *shared;
    struct ps_budget budget;
    struct ps_loop loop;
    struct ps_upstream *upstream;
    unsigned number;
    unsigned ended;
    unsigned done;
    unsigned cancelled;
    struct item {
        struct worker *worker;
        struct ps_call *call;
    } items[CALLS];
};

static atomic_int inside;
static atomic_int most;

static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    static const struct fake_step ok[] = {
        {FAKE_SEND, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0}, {FAKE_END, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? ok : NULL;
}

static void on_sent(void *arg)
{
    int now = atomic_fetch_add(&inside, 1) + 1;
    int before = atomic_load(&most);
    (void)arg;
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) {
    }
}

static void on_head(void *arg, const struct ps_call_head *head)
{
    (void)arg;
    (void)head;
    (void)atomic_fetch_sub(&inside, 1);
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    (void)arg;
    (void)ptr;
    (void)len;
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    struct item *item = arg;
    struct worker *worker = item->worker;

    (void)detail;
    item->call = NULL;
    worker->ended++;
    worker->done += end == PS_CALL_DONE ? 1 : 0;
    /* Now and then one that waits goes away, granted or not. */
    if (worker->ended % 5 == 0) {
        for (size_t i = 0; i < CALLS; i++) {
            if (worker->items[i].call != NULL) {
                struct ps_call_timing timing;
                ps_call_timing(worker->items[i].call, &timing);
                if (timing.started_us == 0) {
                    ps_call_cancel(worker->items[i].call);
                    worker->items[i].call = NULL;
                    worker->cancelled++;
                    break;
                }
            }
        }
    }
    if (worker->ended + worker->cancelled == CALLS) {
        ps_upstream_close(worker->upstream);
    }
}

static const struct ps_call_ops ops = {on_sent, on_head, on_data, on_end};

static void *run(void *arg)
{
    struct worker *worker = arg;
    struct ps_call_request request = {.method = "POST", .path = {"/x", 2}};

    for (size_t i = 0; i < CALLS; i++) {
        worker->items[i].worker = worker;
        worker->items[i].call = ps_call_start(worker->upstream, &request, &ops, &worker->items[i]);
    }
    ps_loop_run(&worker->loop);
    return NULL;
}

static void test_places_over_loops(void **state)
{
    static struct worker workers[LOOPS];
    struct fake_http *server = fake_http_start(script, NULL);
    struct ps_upstream_options options;
    struct ps_upstream_shared *shared;
    struct ps_upstream_stats stats;
    char url[64];
    char error[256];

    (void)state;
    bench_options(&options, url, sizeof(url), fake_http_port(server));
    options.max_connections = PLACES;
    options.max_queue = LOOPS * CALLS;
    shared = ps_upstream_shared_new(&options, error, sizeof(error));
    assert_non_null(shared);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct worker *worker = &workers[i];
        memset(worker, 0, sizeof(*worker));
        atomic_init(&worker->budget.limit, SIZE_MAX);
        worker->number = i;
        assert_int_equal(ps_loop_init(&worker->loop, i, &worker->budget), 0);
        worker->upstream = ps_upstream_new(&worker->loop, shared);
        assert_non_null(worker->upstream);
    }
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < LOOPS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        ps_loop_deinit(&workers[i].loop);
        assert_int_equal(workers[i].ended + workers[i].cancelled, CALLS);
        assert_int_equal(workers[i].done, workers[i].ended);
        assert_true(workers[i].cancelled > 0);
    }
    assert_true(atomic_load(&most) <= PLACES);
    ps_upstream_shared_stats(shared, &stats);
    assert_int_equal(stats.active, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.connections, 0);
    ps_upstream_shared_unref(shared);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_places_over_loops)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
