/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "jobs/world.h"
#include "testing.h"

#include "penstock/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Single jobs: from the store through the gateway and back, and all that can come between. */

#define ERROR_BODY                                                                                 \
    "{\"error\":{\"message\":\"no\",\"type\":\"server_error\",\"param\":null,\"code\":null}}"

static const struct world_script scripts[] = {
    {"good", {{200, NULL, NULL, false}}},
    {"late",
     {{429, "Retry-After: 0.05\r\n", ERROR_BODY, false},
      {503, NULL, ERROR_BODY, false},
      {200, NULL, NULL, false}}},
    {"flaky",
     {{500, NULL, ERROR_BODY, false},
      {200, NULL, "{\"choices\":[", true},
      {502, NULL, "", false},
      {200, NULL, NULL, false}}},
    {"ill", {{500, NULL, ERROR_BODY, false}}},
    {"wrong", {{400, NULL, ERROR_BODY, false}}},
    {"slow", {{0, NULL, NULL, false}}},
    {"slow-first", {{0, NULL, NULL, false}, {200, NULL, NULL, false}}},
    {NULL, {{0, NULL, NULL, false}}},
};

#define CHAT(model) "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"

static void expect_result(struct world *w, const char *id, int status, const char *part)
{
    const struct ps_store_job *job = world_see_job(w, id);
    char *text = world_body(w, &job->result);
    assert_int_equal(job->http_status, status);
    if (strstr(text, part) == NULL) {
        fail_msg("%s is not in %s", part, text);
    }
    free(text);
}

/* A gateway that never had a job touches no disk. */
static void nothing_is_touched_before_it_is_needed(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    for (int i = 0; i < 20; i++) {
        world_turn(&w);
    }
    assert_false(ps_store_exists(w.depot.store));
    world_job(&w, "job_1", "/generate", "{\"prompt\":\"x\"}", 0);
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    world_close(&w);
}

static void a_job_is_run(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_job(&w, "job_1", "/generate",
              "{\"prompt\":\"x\",\"model\":\"good/m\",\"background\":true,"
              "\"webhook\":\"https://example.com/\"}",
              0);
    world_job(&w, "job_2", "/v1/chat/completions", CHAT("good/m"), 0);
    world_job(&w, "job_3", "/v1/nothing", CHAT("good/m"), 0);
    world_start(&w);
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    WORLD_UNTIL(&w, world_job_is(&w, "job_2", PS_JOB_COMPLETED));
    WORLD_UNTIL(&w, world_job_is(&w, "job_3", PS_JOB_FAILED));
    expect_result(&w, "job_1", 200, "\"text\":\"hello\"");
    expect_result(&w, "job_1", 200, "\"total_tokens\":5");
    expect_result(&w, "job_2", 200, world_good); /* byte for byte */
    assert_non_null(strstr(world_see_job(&w, "job_3")->error.ptr, "unsupported_operation"));
    assert_int_equal(world_calls("good"), 2);
    world_close(&w);
}

static void a_model_in_the_process(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    for (int i = 0; i < 6; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%d", i);
        world_job(&w, id, "/generate", "{\"prompt\":\"x\",\"model\":\"own/m\"}", 0);
    }
    for (int i = 0; i < 6; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%d", i);
        WORLD_UNTIL(&w, world_job_is(&w, id, PS_JOB_COMPLETED));
        expect_result(&w, id, 200, "\"provider\":\"own\"");
        expect_result(&w, id, 200, "\"completion_tokens\":4");
    }
    world_close(&w);
}

static void what_an_answer_means(void **state)
{
    static const struct {
        const char *model;
        enum ps_job_status status;
        int http_status;
        unsigned calls;
        unsigned attempts;
        const char *part;
    } rows[] = {
        {"late/m", PS_JOB_COMPLETED, 200, 3, 0, "hello"}, /* waiting is no attempt */
        {"flaky/m", PS_JOB_COMPLETED, 200, 4, 3, "hello"},
        {"ill/m", PS_JOB_FAILED, 500, 5, 4, ERROR_BODY},
        {"wrong/m", PS_JOB_FAILED, 400, 1, 0, ERROR_BODY},
        {"refused/m", PS_JOB_FAILED, 502, 0, 4, "upstream_connection_failed"},
        {"nobody/m", PS_JOB_FAILED, 404, 0, 0, "model_not_found"},
    };
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char body[128];
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%zu", i);
        (void)snprintf(body, sizeof(body),
                       "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
                       rows[i].model);
        world_job(&w, id, "/v1/chat/completions", body, 0);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%zu", i);
        WORLD_UNTIL(&w, world_job_is(&w, id, rows[i].status));
        expect_result(&w, id, rows[i].http_status, rows[i].part);
        assert_true(world_see_job(&w, id)->attempts >= rows[i].attempts);
    }
    assert_int_equal(world_calls("late"), 3);
    assert_int_equal(world_calls("flaky"), 4);
    assert_int_equal(world_calls("ill"), 5);
    assert_int_equal(world_calls("wrong"), 1);
    world_close(&w);
}

/* Bodies above what is read ahead, and answers above what a row holds. */
static void large_bodies(void **state)
{
    enum {
        LARGE = 300000
    };
    struct world w;
    char *body = malloc(LARGE + 200);
    (void)state;
    assert_non_null(body);
    int len = snprintf(body, 200,
                       "{\"model\":\"good/m\",\"messages\":[{\"role\":\"user\","
                       "\"content\":\"");
    memset(body + len, 'x', LARGE);
    memcpy(body + len + LARGE, "\"}]}", 5);
    world_open(&w);
    world_start(&w);
    world_job(&w, "job_1", "/v1/chat/completions", body, 0);
    memcpy(body + len + LARGE, "\"}} ", 5); /* a mistake at its end */
    world_job(&w, "job_2", "/v1/chat/completions", body, 0);
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    WORLD_UNTIL(&w, world_job_is(&w, "job_2", PS_JOB_FAILED));
    expect_result(&w, "job_1", 200, "hello");
    expect_result(&w, "job_2", 400, "invalid_json");
    assert_int_equal(world_calls("good"), 1);
    world_close(&w);
    free(body);
}

static void a_running_job_is_cancelled(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_job(&w, "job_1", "/v1/chat/completions", CHAT("slow/m"), 0);
    WORLD_UNTIL(&w, world_calls("slow") == 1);
    assert_int_equal(w.gl.exchange_count, 1);
    world_cancel(&w, PS_STORE_JOB_CANCEL, "job_1");
    WORLD_UNTIL(&w, w.gl.exchange_count == 0);
    assert_true(world_job_is(&w, "job_1", PS_JOB_CANCELLED));
    world_close(&w);
}

static void time_runs_out(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_job(&w, "job_1", "/v1/chat/completions", CHAT("slow/m"), 150);
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_EXPIRED));
    WORLD_UNTIL(&w, w.gl.exchange_count == 0);
    world_close(&w);
}

static void an_aborted_job_is_taken_up_again(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_job(&w, "job_1", "/v1/chat/completions", CHAT("slow-first/m"), 0);
    for (int i = 2; i < 40; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%d", i);
        world_job(&w, id, "/v1/chat/completions", CHAT("slow/m"), 0);
    }
    WORLD_UNTIL(&w, world_calls("slow-first") == 1 && world_calls("slow") == 3);
    world_stop(&w, true);
    assert_true(world_job_is(&w, "job_1", PS_JOB_QUEUED));
    world_gate();
    world_start(&w);
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    for (int i = 2; i < 40; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%d", i);
        WORLD_UNTIL(&w, world_job_is(&w, id, PS_JOB_COMPLETED));
    }
    assert_int_equal(world_calls("slow-first"), 2);
    assert_int_equal(world_calls("slow"), 3 + 38);
    world_close(&w);
}

/* What ends in good order waits for what runs. */
static void a_stop_waits(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_start(&w);
    world_job(&w, "job_1", "/v1/chat/completions", CHAT("slow/m"), 0);
    WORLD_UNTIL(&w, world_calls("slow") == 1);
    world_gate();
    world_stop(&w, false);
    assert_true(world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    world_close(&w);
}

/* The process died with the claim in its hand. */
static void what_a_dead_run_had_claimed(void **state)
{
    struct world w;
    (void)state;
    world_open(&w);
    world_job(&w, "job_1", "/v1/chat/completions", CHAT("good/m"), 0);
    struct ps_store_command *take = depot_take(ps_clock_wall_ms(), 1);
    depot_ask(&w.depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, 1);
    ps_store_command_free(take);
    world_start(&w);
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    assert_int_equal(world_calls("good"), 1);
    world_close(&w);
}

/* ---- watching ---- */

struct watcher {
    struct ps_jobs_watch watch;
    unsigned told;
    unsigned gone;
};

static void on_moved(struct ps_jobs_watch *watch)
{
    PS_CONTAINER_OF(watch, struct watcher, watch)->told++;
}

static void on_gone(struct ps_jobs_watch *watch)
{
    PS_CONTAINER_OF(watch, struct watcher, watch)->gone++;
}

static void who_watches_is_told(void **state)
{
    struct world w;
    struct watcher one = {.watch = {.fn = on_moved, .gone = on_gone, .id = depot_id("job_1")}};
    struct watcher other = {.watch = {.fn = on_moved, .gone = on_gone, .id = depot_id("job_2")}};
    struct ps_jobs_progress progress;
    struct ps_id id = depot_id("job_1");
    (void)state;
    world_open(&w);
    world_job(&w, "job_1", "/v1/chat/completions", CHAT("slow/m"), 0);
    world_start(&w);
    one.watch.mailbox = &w.mailbox;
    other.watch.mailbox = &w.mailbox;
    ps_jobs_watch(w.jobs, &one.watch);
    ps_jobs_watch(w.jobs, &other.watch);
    assert_false(ps_jobs_progress(w.jobs, &id, &progress));
    WORLD_UNTIL(&w, world_calls("slow") == 1);
    assert_true(ps_jobs_progress(w.jobs, &id, &progress));
    assert_true(progress.running_us >= 0);
    WORLD_UNTIL(&w, one.told > 0);
    unsigned before = one.told;
    world_gate();
    WORLD_UNTIL(&w, world_job_is(&w, "job_1", PS_JOB_COMPLETED));
    WORLD_UNTIL(&w, one.told > before);
    assert_false(ps_jobs_progress(w.jobs, &id, &progress));
    assert_int_equal(other.told, 0);
    ps_jobs_wake(w.jobs); /* anything may have moved */
    WORLD_UNTIL(&w, other.told > 0);
    ps_jobs_unwatch(w.jobs, &one.watch);
    ps_jobs_unwatch(w.jobs, &other.watch);
    WORLD_UNTIL(&w, one.gone == 1 && other.gone == 1);
    world_close(&w);
}

static int set_up(void **state)
{
    (void)state;
    world_set_up(scripts);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_tear_down();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_touched_before_it_is_needed),
        cmocka_unit_test(a_job_is_run),
        cmocka_unit_test(a_model_in_the_process),
        cmocka_unit_test(what_an_answer_means),
        cmocka_unit_test(large_bodies),
        cmocka_unit_test(a_running_job_is_cancelled),
        cmocka_unit_test(time_runs_out),
        cmocka_unit_test(an_aborted_job_is_taken_up_again),
        cmocka_unit_test(a_stop_waits),
        cmocka_unit_test(what_a_dead_run_had_claimed),
        cmocka_unit_test(who_watches_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
