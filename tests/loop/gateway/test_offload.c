/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "testing.h"
#include "upstream/fake_http.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/gateway/exchange.h"
#include "penstock/net/pool.h"

#include <uv.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/*
 * Requests whose translation is made by the offload pool: towards an upstream of another family and
 * towards a model of this process. The pool's one thread can be held up, so that a test knows where
 * the work is.
 */

#define ARENA (4u << 20) /* as a connection's */
#define SMALL 1000
#define LARGE (200u << 10)
#define HUGE_ (3u << 19) /* more than the loop does itself when the pool is busy */

/* ---- an upstream that says the same to all ---- */

#define EVENTS                                                                                     \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"                       \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"              \
    "data: [DONE]\n\n"

static const struct fake_step answer[] = {
    {FAKE_SEND,
     "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" EVENTS, 0},
    {FAKE_CLOSE, NULL, 0},
};

static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? answer : NULL;
}

/* ---- work that keeps the pool's thread until it is let go ---- */

struct gate {
    struct ps_work work;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool entered;
    bool open;
    bool done;
};

static void wait_at(struct ps_work *work)
{
    struct gate *gate = PS_CONTAINER_OF(work, struct gate, work);
    (void)pthread_mutex_lock(&gate->lock);
    gate->entered = true;
    (void)pthread_cond_broadcast(&gate->changed);
    while (!gate->open) {
        (void)pthread_cond_wait(&gate->changed, &gate->lock);
    }
    (void)pthread_mutex_unlock(&gate->lock);
}

static void passed(struct ps_work *work)
{
    PS_CONTAINER_OF(work, struct gate, work)->done = true;
}

static void gate_open(struct gate *gate)
{
    (void)pthread_mutex_lock(&gate->lock);
    gate->open = true;
    (void)pthread_cond_broadcast(&gate->changed);
    (void)pthread_mutex_unlock(&gate->lock);
}

/* ---- a gateway, and a front that writes down what it gets ---- */

struct front {
    unsigned commits;
    unsigned ends;
    char text[256];
    size_t text_len;
    struct ps_outcome outcome;
};

struct world {
    struct fake_http *server;
    struct ps_metrics *metrics;
    struct ps_gateway gateway;
    struct ps_engine_host *engines;
    struct ps_pool *pool;
    struct ps_loop loop;
    struct ps_gateway_loop gl;
    struct ps_mailbox mailbox;
    struct ps_arena arena;
    struct front front;
    struct gate gate;
    struct gate second;
    uv_timer_t tick;
};

static void on_commit(void *arg, const struct ps_answer *commit)
{
    struct front *front = arg;
    (void)commit;
    front->commits++;
}

static void on_event(void *arg, const struct ps_event *event)
{
    struct front *front = arg;
    if (front->text_len + event->text.len < sizeof(front->text) && event->kind == PS_EVENT_TEXT) {
        memcpy(front->text + front->text_len, event->text.ptr, event->text.len);
        front->text_len += event->text.len;
    }
}

static void on_end(void *arg, const struct ps_outcome *outcome)
{
    struct front *front = arg;
    front->ends++;
    front->outcome = *outcome;
}

static const struct ps_front_ops front_ops = {on_commit, on_event, on_end};

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* only bounds how long a turn sleeps */
}

static struct ps_config *configure(const struct world *w)
{
    char yaml[512];
    struct ps_config_errors errors;
    ps_config_errors_init(&errors);
    int len = snprintf(yaml, sizeof(yaml),
                       "providers:\n"
                       "  up: { dialect: openai, base_url: \"http://127.0.0.1:%d/v1\", "
                       "list_models: false }\n"
                       "  own: { engine: double, model_path: \"length=4,text=word\", "
                       "context_tokens: 4194304, slots: 2 }\n",
                       fake_http_port(w->server));
    struct ps_config *config =
        ps_config_parse("test", ps_slice(yaml, (size_t)len), NULL, NULL, 0, &errors);
    if (config == NULL) {
        fail_msg("%.*s", (int)errors.text.len, errors.text.ptr);
    }
    ps_config_errors_deinit(&errors);
    return config;
}

static void world_open(struct world *w, size_t queue)
{
    struct ps_engine_host_options host = {
        .compute_threads = 1, .event_loops = 1, .queue = 64, .queue_tokens = 1u << 30};
    char error[256];
    memset(w, 0, sizeof(*w));
    w->server = fake_http_start(script, NULL);
    w->metrics = ps_metrics_new();
    assert_true(w->server != NULL && w->metrics != NULL);
    assert_int_equal(ps_gateway_init(&w->gateway, w->metrics), 0);
    if (queue > 0) {
        w->pool = ps_pool_new(1, queue);
        assert_non_null(w->pool);
    }
    w->gateway.offload = w->pool;
    w->engines = ps_engine_host_new(&host);
    w->gateway.engines = w->engines;
    assert_int_equal(ps_loop_init(&w->loop, 0, &w->gateway.budget), 0);
    assert_int_equal(ps_mailbox_init(&w->mailbox, &w->loop), 0);
    struct ps_config *config = configure(w);
    struct ps_snapshot *snapshot = ps_snapshot_new(&w->gateway, config, error, sizeof(error));
    if (snapshot == NULL) {
        fail_msg("%s", error);
    }
    ps_config_unref(config);
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        if (snapshot->providers[i].dialect == NULL) {
            assert_int_equal(ps_engine_wait(snapshot->providers[i].endpoints[0]->engine, 20000000),
                             PS_ENGINE_READY);
        }
    }
    assert_int_equal(ps_gateway_loop_init(&w->gl, &w->gateway, &w->loop,
                                          ps_metrics_shard_new(w->metrics), snapshot),
                     0);
    ps_snapshot_unref(snapshot);
    ps_arena_init(&w->arena, ARENA);
    assert_int_equal(uv_timer_init(&w->loop.uv, &w->tick), 0);
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 5, 5), 0);
}

static void world_close(struct world *w)
{
    assert_int_equal(w->gl.exchange_count, 0);
    uv_close((uv_handle_t *)&w->tick, NULL);
    ps_gateway_loop_deinit(&w->gl);
    ps_mailbox_close(&w->mailbox, NULL);
    ps_loop_deinit(&w->loop); /* not before the pool has given everything back */
    assert_int_equal(atomic_load(&w->gateway.budget.used), 0);
    ps_gateway_deinit(&w->gateway);
    ps_engine_host_free(w->engines);
    ps_pool_free(w->pool);
    ps_metrics_free(w->metrics);
    ps_arena_deinit(&w->arena);
    fake_http_stop(w->server);
}

/* The pool's thread stands in it from here on. */
static void close_gate(struct world *w, struct gate *gate, bool enter)
{
    *gate = (struct gate){.work = {.mailbox = &w->mailbox, .run = wait_at, .done = passed}};
    assert_int_equal(pthread_mutex_init(&gate->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&gate->changed, NULL), 0);
    assert_true(ps_pool_submit(w->pool, &gate->work));
    (void)pthread_mutex_lock(&gate->lock);
    while (enter && !gate->entered) {
        (void)pthread_cond_wait(&gate->changed, &gate->lock);
    }
    (void)pthread_mutex_unlock(&gate->lock);
}

static void pass_gate(struct world *w, struct gate *gate)
{
    gate_open(gate);
    while (!gate->done) {
        (void)ps_loop_turn(&w->loop, true);
    }
    (void)pthread_mutex_destroy(&gate->lock);
    (void)pthread_cond_destroy(&gate->changed);
}

/* A question of so many bytes, in many messages; NULL when memory was short. */
static struct ps_exchange *begin(struct world *w, const char *provider, size_t bytes)
{
    static const char digits[] = "0123456789012345678901234567890123456789";
    char message[256];
    struct ps_exchange_spec spec = {
        .door = "test",
        .family = PS_FAMILY_GENERATE,
        .operation = PS_OP_CHAT,
        .identity = {PS_SLICE_LIT("default"), PS_SLICE_NONE},
        .method = PS_SLICE_LIT("POST"),
        .content_type = PS_SLICE_LIT("application/json"),
        .client = "127.0.0.1",
        .received_us = ps_clock_us(),
    };
    struct ps_buf body;
    struct ps_fault fault;
    memset(&w->front, 0, sizeof(w->front));
    ps_buf_init(&body, bytes + 4096);
    char *whole = ps_buf_reserve(&body, bytes + 4096);
    if (whole == NULL) {
        return NULL;
    }
    (void)snprintf(message, sizeof(message),
                   "{\"role\":\"user\",\"content\":\"sch\\u00f6n \\\"und\\\" gut %s%s%s\"}", digits,
                   digits, digits);
    ps_buf_printf(&body, "{\"model\":\"%s/m\",\"stream\":true,\"temperature\":0,\"messages\":[",
                  provider);
    while (body.len < bytes) {
        ps_buf_cstr(&body, message);
        ps_buf_byte(&body, ',');
    }
    ps_buf_printf(&body, "%s]}", message);
    struct ps_exchange *ex = ps_exchange_open(&w->gl, &w->arena, &spec, &front_ops, &w->front);
    if (ex != NULL && ps_exchange_body(ex, body.ptr, body.len, &fault) != 0) {
        ps_exchange_end(ex, PS_END_FAULT, 503, 0, &fault);
        ex = NULL;
    }
    ps_buf_deinit(&body);
    if (ex != NULL) {
        ps_exchange_run(ex);
    }
    return ex;
}

static void turn(struct world *w, int turns)
{
    for (int i = 0; i < turns; i++) {
        (void)ps_loop_turn(&w->loop, true);
    }
}

static void turn_until_end(struct world *w)
{
    int64_t deadline = ps_clock_us() + 20000000;
    while (w->front.ends == 0) {
        turn(w, 1);
        assert_true(ps_clock_us() < deadline);
    }
}

static void finish(struct world *w, struct ps_exchange *ex)
{
    ps_exchange_end(ex, PS_END_DONE, 200, 0, &w->front.outcome.fault);
    ps_arena_reset(&w->arena);
}

static void ask(struct world *w, const char *provider, size_t bytes)
{
    struct ps_exchange *ex = begin(w, provider, bytes);
    assert_non_null(ex);
    turn_until_end(w);
    finish(w, ex);
}

/* ---- */

static const char *const providers[] = {"up", "own"};

static void the_pool_makes_what_the_loop_would(void **state)
{
    static const size_t sizes[] = {SMALL, LARGE, HUGE_};
    (void)state;
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t p = 0; p < 2; p++) {
            uint64_t hashes[2];
            char texts[2][64] = {{0}};
            for (size_t with = 0; with < 2; with++) {
                struct world w;
                world_open(&w, with * 4);
                ask(&w, providers[p], sizes[s]);
                assert_string_equal(w.front.outcome.fault.message, "");
                hashes[with] = fake_http_body_hash(w.server);
                memcpy(texts[with], w.front.text, w.front.text_len);
                assert_true(w.front.text_len > 0);
                world_close(&w);
            }
            assert_true(hashes[0] == hashes[1]);
            assert_string_equal(texts[0], texts[1]);
        }
    }
}

static void the_loop_goes_on_meanwhile(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct world w;
        world_open(&w, 4);
        close_gate(&w, &w.gate, true);
        struct ps_exchange *ex = begin(&w, providers[p], LARGE);
        turn(&w, 20);
        assert_int_equal(ps_exchange_attempts(ex), 1);
        assert_int_equal(w.front.commits + w.front.ends, 0);
        assert_int_equal(fake_http_requests(w.server), 0);
        ps_exchange_pause(ex); /* legal here as everywhere */
        ps_exchange_resume(ex);
        /* Another one, small, does not wait for the pool. */
        struct front waiting = w.front;
        struct ps_arena arena = w.arena;
        ps_arena_init(&w.arena, ARENA);
        ask(&w, providers[p], SMALL);
        assert_int_equal(w.front.outcome.fault.kind, PS_FAULT_NONE);
        ps_arena_deinit(&w.arena);
        w.arena = arena;
        w.front = waiting;
        pass_gate(&w, &w.gate);
        turn_until_end(&w);
        assert_string_equal(w.front.outcome.fault.message, "");
        finish(&w, ex);
        world_close(&w);
    }
}

/* While it waits for the thread, while the thread reads, when the result is on its way, and after
 * any number of turns from there. */
static void ended_in_every_state(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        for (int stage = 0; stage < 12; stage++) {
            struct world w;
            world_open(&w, 4);
            close_gate(&w, &w.gate, true);
            struct ps_exchange *ex = begin(&w, providers[p], LARGE);
            turn(&w, 3);
            if (stage >= 2) {
                gate_open(&w.gate);
                turn(&w, stage - 2);
            }
            unsigned ends = w.front.ends;
            ps_exchange_end(ex, PS_END_CLIENT_GONE, 0, 0, NULL);
            if (stage % 2 == 0) {
                ps_arena_reset(&w.arena); /* else it stays for a while, as it may */
            }
            pass_gate(&w, &w.gate);
            turn(&w, 3);
            assert_int_equal(w.front.ends, ends);
            ps_arena_reset(&w.arena);
            world_close(&w);
        }
    }
}

static void ended_at_any_time(void **state)
{
    struct world w;
    uint32_t random = 7;
    (void)state;
    world_open(&w, 100);
    for (int i = 0; i < 150; i++) {
        random = random * 1664525 + 1013904223;
        struct ps_exchange *ex = begin(&w, providers[i % 2], LARGE);
        int64_t until = ps_clock_us() + (int64_t)((random >> 16) % 4000);
        do {
            (void)ps_loop_turn(&w.loop, false);
        } while (ps_clock_us() < until && w.front.ends == 0);
        finish(&w, ex);
    }
    world_close(&w);
}

/* The loop is taken down while the thread is still at work for it. */
static void the_loop_waits_for_the_pool(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, 4);
    for (int i = 0; i < 3; i++) {
        struct ps_exchange *ex = begin(&w, providers[i % 2], HUGE_);
        turn(&w, 1);
        ps_exchange_end(ex, PS_END_SHUTDOWN, 0, 0, NULL);
        ps_arena_reset(&w.arena);
    }
    world_close(&w);
}

static void a_busy_pool(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct world w;
        world_open(&w, 1);
        close_gate(&w, &w.gate, true);
        close_gate(&w, &w.second, false); /* waits: the queue is full */
        ask(&w, providers[p], LARGE);     /* done on the loop */
        assert_string_equal(w.front.outcome.fault.message, "");
        ask(&w, providers[p], HUGE_);
        assert_int_equal(w.front.commits, 0);
        assert_int_equal(w.front.outcome.fault.kind, PS_FAULT_QUEUE_FULL);
        assert_int_equal(w.front.outcome.fault.retry_after_ms, 1000);
        pass_gate(&w, &w.gate);
        pass_gate(&w, &w.second);
        ask(&w, providers[p], HUGE_); /* and nobody is ill for it */
        assert_string_equal(w.front.outcome.fault.message, "");
        world_close(&w);
    }
}

#ifndef __SANITIZE_THREAD__
static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        bool failed = true;
        for (int64_t n = 0; failed && n < 400; n++) {
            struct world w;
            world_open(&w, 4);
            /* The body's blocks are many, and not what this is about. */
            struct ps_exchange *ex = begin(&w, providers[p], LARGE);
            assert_non_null(ex);
            (void)ps_mem_fail_after(n);
            turn_until_end(&w);
            failed = ps_mem_fail_after(-1) > n;
            if (!failed) {
                assert_int_equal(w.front.outcome.fault.kind, PS_FAULT_NONE);
            }
            finish(&w, ex);
            world_close(&w);
        }
        assert_false(failed);
    }
}
#endif

static int set_up(void **state)
{
    (void)state;
    ps_log_configure(PS_LOG_ERROR, PS_LOG_JSON);
    assert_int_equal(ps_upstream_global_init(), 0);
    return ps_dialect_global_init();
}

static int tear_down(void **state)
{
    (void)state;
    ps_dialect_global_deinit();
    ps_upstream_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_makes_what_the_loop_would),
        cmocka_unit_test(the_loop_goes_on_meanwhile),
        cmocka_unit_test(ended_in_every_state),
        cmocka_unit_test(ended_at_any_time),
        cmocka_unit_test(the_loop_waits_for_the_pool),
        cmocka_unit_test(a_busy_pool),
#ifndef __SANITIZE_THREAD__ /* curl closes a socket early; its number is then the fake upstream's  \
                             */
        cmocka_unit_test(every_allocation_may_fail),
#endif
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
