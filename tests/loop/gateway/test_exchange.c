/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/fake_http.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/gateway/exchange.h"
#include "penstock/gateway/models.h"

#include <uv.h>

#include <stdio.h>
#include <string.h>

/*
 * Exchanges against a scripted upstream: the commit rule, what is tried again, what the front gets,
 * and ending an exchange after every number of turns.
 */

/* ---- an upstream that answers by the model's name ---- */

struct answer {
    const char *model;
    struct fake_step steps[6];
};

#define HEAD_SSE                                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define ROLE                                                                                       \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define TEXT   "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
#define FINISH "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE                                                                                      \
    "data: "                                                                                       \
    "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4}}"  \
    "\n\n"
#define DONE "data: [DONE]\n\n"
#define WHOLE                                                                                      \
    "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}],"    \
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4}}"
#define ERROR_BODY                                                                                 \
    "{\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,\"code\":null}}"

static char texts[32][4096];
static struct answer answers[32];
static size_t answer_count;
static struct fake_http *server;

/* Bytes of a chunked answer, so that scripts read like the stream. */
static void script_stream(const char *model, const char *body, bool whole, bool reset)
{
    struct answer *a = &answers[answer_count];
    (void)snprintf(texts[answer_count], sizeof(texts[0]), "%s%zx\r\n%s\r\n%s", HEAD_SSE,
                   strlen(body), body, whole ? "0\r\n\r\n" : "");
    a->model = model;
    a->steps[0] = (struct fake_step){FAKE_SEND, texts[answer_count], 0};
    a->steps[1] = (struct fake_step){whole ? FAKE_END : reset ? FAKE_RESET : FAKE_CLOSE, NULL, 0};
    answer_count++;
}

static void script_whole(const char *model, int status, const char *headers, const char *body)
{
    struct answer *a = &answers[answer_count];
    (void)snprintf(
        texts[answer_count], sizeof(texts[0]),
        "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
        status, headers, strlen(body), body);
    a->model = model;
    a->steps[0] = (struct fake_step){FAKE_SEND, texts[answer_count], 0};
    a->steps[1] = (struct fake_step){FAKE_END, NULL, 0};
    answer_count++;
}

static void script_step(const char *model, enum fake_op op)
{
    answers[answer_count].model = model;
    answers[answer_count].steps[0] = (struct fake_step){op, NULL, 1u << 30};
    answer_count++;
}

/* The model is found by the header each provider adds: the fake sees heads only. */
static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    (void)arg;
    (void)connection;
    (void)request;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    for (size_t i = 0; i < answer_count; i++) {
        char marker[64];
        (void)snprintf(marker, sizeof(marker), "x-script: %s\r\n", answers[i].model);
        if (strstr(head, marker) != NULL) {
            return answers[i].steps;
        }
    }
    return NULL;
}

/* ---- the gateway, and a front that writes down what it gets ---- */

struct front {
    unsigned commits;
    unsigned ends;
    int status;
    bool stream;
    int64_t length;
    char body[8192];
    size_t body_len;
    char text[256]; /* of TEXT events, when fields come */
    size_t text_len;
    struct ps_outcome outcome;
    char error_body[1024];
    struct ps_exchange *exchange;
};

struct world {
    struct ps_metrics *metrics;
    struct ps_gateway gateway;
    struct ps_loop loop;
    struct ps_gateway_loop gl;
    struct ps_arena arena;
    struct front front;
    uv_timer_t tick;
};

static void on_commit(void *arg, const struct ps_answer *answer)
{
    struct front *front = arg;
    assert_int_equal(front->ends, 0);
    front->commits++;
    front->status = answer->status;
    front->stream = answer->stream;
    front->length = answer->length;
}

static void on_event(void *arg, const struct ps_event *event)
{
    struct front *front = arg;
    assert_int_equal(front->commits, 1);
    assert_int_equal(front->ends, 0);
    if (event->raw.len > 0 && front->body_len + event->raw.len < sizeof(front->body)) {
        memcpy(front->body + front->body_len, event->raw.ptr, event->raw.len);
        front->body_len += event->raw.len;
    }
    if (event->text.len > 0 && front->text_len + event->text.len < sizeof(front->text)) {
        memcpy(front->text + front->text_len, event->text.ptr, event->text.len);
        front->text_len += event->text.len;
    }
}

static void on_end(void *arg, const struct ps_outcome *outcome)
{
    struct front *front = arg;
    front->ends++;
    front->outcome = *outcome;
    if (outcome->body != NULL && outcome->body->len < sizeof(front->error_body)) {
        ps_chain_copy(outcome->body, 0, outcome->body->len, front->error_body);
    }
}

static const struct ps_front_ops front_ops = {on_commit, on_event, on_end};

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* only bounds how long a turn sleeps */
}

static struct ps_config *configure(void)
{
    struct ps_buf yaml;
    struct ps_config_errors errors;
    ps_buf_init(&yaml, 65536);
    ps_config_errors_init(&errors);
    ps_buf_cstr(&yaml, "providers:\n");
    for (size_t i = 0; i < answer_count; i++) {
        ps_buf_printf(&yaml,
                      "  %s: { dialect: openai, base_url: \"http://127.0.0.1:%d/v1\", headers: { "
                      "x-script: %s }, "
                      "list_models: false }\n",
                      answers[i].model, fake_http_port(server), answers[i].model);
    }
    ps_buf_printf(&yaml, "  refused: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\" }\n");
    ps_buf_cstr(
        &yaml,
        "models:\n"
        "  - { name: over-500, targets: [ { provider: e500 }, { provider: good } ] }\n"
        "  - { name: over-429, targets: [ { provider: e429 }, { provider: good } ] }\n"
        "  - { name: over-401, targets: [ { provider: e401 }, { provider: good } ] }\n"
        "  - { name: over-400, targets: [ { provider: e400 }, { provider: good } ] }\n"
        "  - { name: over-refused, targets: [ { provider: refused }, { provider: good } ] }\n"
        "  - { name: over-empty, targets: [ { provider: empty }, { provider: good } ] }\n"
        "  - { name: over-error, targets: [ { provider: error-event }, { provider: good } ] }\n"
        "  - { name: over-cut, targets: [ { provider: cut }, { provider: good } ] }\n"
        "  - { name: all-bad, targets: [ { provider: e429 }, { provider: e500 } ] }\n");
    struct ps_config *config = ps_config_parse("test", ps_buf_view(&yaml), NULL, NULL, 0, &errors);
    if (config == NULL) {
        fail_msg("%.*s", (int)errors.text.len, errors.text.ptr);
    }
    ps_config_errors_deinit(&errors);
    ps_buf_deinit(&yaml);
    return config;
}

static void world_open(struct world *w)
{
    char error[256];
    memset(w, 0, sizeof(*w));
    w->metrics = ps_metrics_new();
    assert_non_null(w->metrics);
    assert_int_equal(ps_gateway_init(&w->gateway, w->metrics), 0);
    assert_int_equal(ps_loop_init(&w->loop, 0, &w->gateway.budget), 0);
    struct ps_config *config = configure();
    struct ps_snapshot *snapshot = ps_snapshot_new(&w->gateway, config, error, sizeof(error));
    assert_non_null(snapshot);
    ps_config_unref(config);
    assert_int_equal(ps_gateway_loop_init(&w->gl, &w->gateway, &w->loop,
                                          ps_metrics_shard_new(w->metrics), snapshot),
                     0);
    ps_snapshot_unref(snapshot);
    ps_arena_init(&w->arena, 1u << 20);
    assert_int_equal(uv_timer_init(&w->loop.uv, &w->tick), 0);
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 5, 5), 0);
}

static void world_close(struct world *w)
{
    assert_int_equal(w->gl.exchange_count, 0);
    uv_close((uv_handle_t *)&w->tick, NULL);
    ps_gateway_loop_deinit(&w->gl);
    ps_loop_deinit(&w->loop);
    assert_int_equal(atomic_load(&w->gateway.budget.used), 0);
    assert_null(w->gateway.endpoints);
    assert_null(w->gateway.keys);
    ps_gateway_deinit(&w->gateway);
    ps_metrics_free(w->metrics);
    ps_arena_deinit(&w->arena);
}

/* Opens an exchange and hands it the whole request; NULL when memory was short. */
static struct ps_exchange *begin(struct world *w, const char *model, bool stream,
                                 enum ps_family family)
{
    struct ps_exchange_spec spec = {
        .door = "test",
        .family = family,
        .operation = PS_OP_CHAT,
        .identity = {PS_SLICE_LIT("default"), PS_SLICE_NONE},
        .method = PS_SLICE_LIT("POST"),
        .content_type = PS_SLICE_LIT("application/json"),
        .client = "127.0.0.1",
        .received_us = ps_clock_us(),
    };
    struct ps_fault fault;
    char body[256];
    int len = snprintf(
        body, sizeof(body), "{\"model\":\"%s\",\"stream\":%s,%s}", model, stream ? "true" : "false",
        family == PS_FAMILY_OPENAI ? "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
                                   : "\"prompt\":\"x\"");
    memset(&w->front, 0, sizeof(w->front));
    struct ps_exchange *ex = ps_exchange_open(&w->gl, &w->arena, &spec, &front_ops, &w->front);
    if (ex == NULL) {
        return NULL;
    }
    if (ps_exchange_body(ex, body, (size_t)len, &fault) != 0) {
        ps_exchange_end(ex, PS_END_FAULT, 400, 0, &fault);
        return NULL;
    }
    ps_exchange_run(ex);
    return ex;
}

static void turn_until_end(struct world *w)
{
    int64_t deadline = ps_clock_us() + 20000000;
    while (w->front.ends == 0) {
        (void)ps_loop_turn(&w->loop, true);
        assert_true(ps_clock_us() < deadline);
    }
    assert_int_equal(w->front.ends, 1);
}

static void finish(struct world *w, struct ps_exchange *ex)
{
    ps_exchange_end(ex, PS_END_DONE, w->front.status, w->front.body_len, &w->front.outcome.fault);
    ps_arena_reset(&w->arena);
}

static unsigned ask(struct world *w, const char *model, bool stream, enum ps_family family)
{
    struct ps_exchange *ex = begin(w, model, stream, family);
    assert_non_null(ex);
    turn_until_end(w);
    unsigned attempts = ps_exchange_attempts(ex);
    finish(w, ex);
    return attempts;
}

static int set_up(void **state)
{
    (void)state;
    ps_log_configure(PS_LOG_ERROR, PS_LOG_JSON);
    assert_int_equal(ps_upstream_global_init(), 0);
    assert_int_equal(ps_dialect_global_init(), 0);
    script_stream("good", ROLE TEXT FINISH USAGE DONE, true, false);
    script_whole("whole", 200, "", WHOLE);
    script_stream("empty", "", true, false);
    script_stream("role-only", ROLE, true, false);
    script_stream("error-event", ROLE "data: " ERROR_BODY "\n\n", true, false);
    script_stream("error-late", ROLE TEXT "data: " ERROR_BODY "\n\n", true, false);
    script_stream("cut", ROLE, false, false);
    script_stream("cut-late", ROLE TEXT, false, false);
    script_stream("reset-late", ROLE TEXT, false, true);
    script_stream("no-done", ROLE TEXT FINISH, true, false);
    script_stream("done-no-finish", ROLE TEXT DONE, true, false);
    script_stream("broken-json", ROLE TEXT "data: {oops\n\n" TEXT FINISH DONE, true, false);
    script_whole("e500", 500, "", ERROR_BODY);
    script_whole("e429", 429, "Retry-After: 7\r\n", ERROR_BODY);
    script_whole("e401", 401, "", "{\"error\":{\"message\":\"bad key sk-123\"}}");
    script_whole("e400", 400, "", ERROR_BODY);
    script_whole("e302", 302, "Location: http://elsewhere/\r\n", "");
    script_whole("no-json", 200, "", "{\"choices\":[");
    script_whole("error-200", 200, "", ERROR_BODY);
    script_step("silent", FAKE_GATE);
    server = fake_http_start(script, NULL);
    return server != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fake_http_stop(server);
    ps_dialect_global_deinit();
    ps_upstream_global_deinit();
    return 0;
}

/* ---- the commit rule ---- */

static const struct {
    const char *model;
    bool stream;
    unsigned commits;
    enum ps_fault_kind fault; /* at the end */
    const char *raw;          /* what the front got; NULL: nothing */
    unsigned attempts;
} cases[] = {
    {"good/m", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 1},
    {"whole/m", false, 1, PS_FAULT_NONE, WHOLE, 1},
    {"empty/m", true, 0, PS_FAULT_STREAM_INCOMPLETE, NULL, 1},
    {"role-only/m", true, 0, PS_FAULT_STREAM_INCOMPLETE, NULL, 1},
    {"error-event/m", true, 0, PS_FAULT_UPSTREAM_ERROR, NULL, 1},
    {"error-late/m", true, 1, PS_FAULT_UPSTREAM_ERROR, ROLE TEXT "data: " ERROR_BODY "\n\n", 1},
    {"cut/m", true, 0, PS_FAULT_STREAM_INCOMPLETE, NULL, 1},
    {"cut-late/m", true, 1, PS_FAULT_STREAM_INCOMPLETE, ROLE TEXT, 1},
    {"no-done/m", true, 1, PS_FAULT_STREAM_INCOMPLETE, ROLE TEXT FINISH, 1},
    {"done-no-finish/m", true, 1, PS_FAULT_STREAM_INCOMPLETE, NULL, 1},
    {"broken-json/m", true, 1, PS_FAULT_NONE, ROLE TEXT "data: {oops\n\n" TEXT FINISH DONE, 1},
    {"e500/m", false, 0, PS_FAULT_UPSTREAM_ERROR, NULL, 1},
    {"e429/m", false, 0, PS_FAULT_RATE_LIMITED, NULL, 1},
    {"e401/m", false, 0, PS_FAULT_UPSTREAM_AUTH, NULL, 1},
    {"e302/m", false, 0, PS_FAULT_UPSTREAM_BROKEN, NULL, 1},
    {"no-json/m", false, 0, PS_FAULT_UPSTREAM_BROKEN, NULL, 1},
    {"error-200/m", false, 0, PS_FAULT_UPSTREAM_ERROR, NULL, 1},
    {"refused/m", false, 0, PS_FAULT_UPSTREAM_CONNECT, NULL, 1},
    {"nowhere/m", false, 0, PS_FAULT_MODEL_NOT_FOUND, NULL, 0},
    {"over-500", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-429", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-401", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-refused", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-empty", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-error", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-cut", true, 1, PS_FAULT_NONE, ROLE TEXT FINISH DONE, 2},
    {"over-400", true, 0, PS_FAULT_BAD_FIELD, NULL, 1},
    {"all-bad", true, 0, PS_FAULT_UPSTREAM_ERROR, NULL, 2},
};

static void the_status_line_follows_the_commit_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        world_open(&w);
        unsigned attempts = ask(&w, cases[i].model, cases[i].stream, PS_FAMILY_OPENAI);
        if (w.front.commits != cases[i].commits || w.front.outcome.fault.kind != cases[i].fault ||
            attempts != cases[i].attempts) {
            fail_msg("%s: %u commits, fault %s (%s), %u attempts", cases[i].model, w.front.commits,
                     ps_fault_name(w.front.outcome.fault.kind), w.front.outcome.fault.message,
                     attempts);
        }
        if (cases[i].raw != NULL) {
            w.front.body[w.front.body_len] = '\0';
            assert_string_equal(w.front.body, cases[i].raw);
        }
        world_close(&w);
    }
}

static void an_upstream_s_error_is_handed_on_as_it_came_but_not_about_our_key(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    (void)ask(&w, "e429/m", false, PS_FAMILY_OPENAI);
    assert_true(w.front.outcome.verbatim);
    assert_int_equal(w.front.outcome.fault.status, 429);
    assert_int_equal(w.front.outcome.fault.retry_after_ms, 7000);
    assert_string_equal(w.front.error_body, ERROR_BODY);

    (void)ask(&w, "e401/m", false, PS_FAMILY_OPENAI);
    assert_false(w.front.outcome.verbatim);
    assert_int_equal(ps_fault_status(&w.front.outcome.fault), 502);
    assert_null(strstr(w.front.outcome.fault.message, "sk-123"));

    (void)ask(&w, "e429/m", false, PS_FAMILY_GENERATE);
    assert_false(w.front.outcome.verbatim);
    assert_int_equal(ps_fault_status(&w.front.outcome.fault), 429);
    world_close(&w);
}

static void another_family_gets_fields(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    (void)ask(&w, "good/m", true, PS_FAMILY_GENERATE);
    assert_int_equal(w.front.outcome.fault.kind, PS_FAULT_NONE);
    assert_int_equal(w.front.text_len, 2);
    assert_memory_equal(w.front.text, "hi", 2);
    (void)ask(&w, "whole/m", false, PS_FAMILY_GENERATE);
    assert_int_equal(w.front.outcome.fault.kind, PS_FAULT_NONE);
    assert_memory_equal(w.front.text, "hi", 2);
    world_close(&w);
}

/* ---- ending at any time ---- */

static void ending_is_legal_after_any_number_of_turns(void **state)
{
    (void)state;
    const char *models[] = {"good/m",   "whole/m",      "silent/m",
                            "over-500", "reset-late/m", "nowhere/m"};
    for (size_t m = 0; m < sizeof(models) / sizeof(models[0]); m++) {
        for (int turns = 0; turns < 14; turns++) {
            struct world w;
            world_open(&w);
            struct ps_exchange *ex = begin(&w, models[m], m != 1, PS_FAMILY_OPENAI);
            assert_non_null(ex);
            for (int i = 0; i < turns; i++) {
                if (i % 3 == 1) {
                    ps_exchange_pause(ex);
                } else if (i % 3 == 2) {
                    ps_exchange_resume(ex);
                }
                (void)ps_loop_turn(&w.loop, true);
            }
            unsigned ends = w.front.ends;
            ps_exchange_end(ex, PS_END_CLIENT_GONE, 0, 0, NULL);
            ps_exchange_end(ex, PS_END_CLIENT_GONE, 0, 0, NULL);
            for (int i = 0; i < 4; i++) {
                (void)ps_loop_turn(&w.loop, true);
            }
            assert_int_equal(w.front.ends, ends);
            world_close(&w);
        }
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const char *models[] = {"good/m", "whole/m", "over-500"};
    for (size_t m = 0; m < sizeof(models) / sizeof(models[0]); m++) {
        bool failed = true;
        for (int64_t n = 0; failed && n < 400; n++) {
            struct world w;
            world_open(&w);
            (void)ps_mem_fail_after(n);
            struct ps_exchange *ex = begin(&w, models[m], m != 1, PS_FAMILY_OPENAI);
            if (ex != NULL) {
                turn_until_end(&w);
            }
            failed = ps_mem_fail_after(-1) > n;
            if (ex != NULL) {
                if (!failed) {
                    assert_int_equal(w.front.outcome.fault.kind, PS_FAULT_NONE);
                }
                finish(&w, ex);
            }
            world_close(&w);
        }
        assert_false(failed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_line_follows_the_commit_rule),
        cmocka_unit_test(an_upstream_s_error_is_handed_on_as_it_came_but_not_about_our_key),
        cmocka_unit_test(another_family_gets_fields),
        cmocka_unit_test(ending_is_legal_after_any_number_of_turns),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
