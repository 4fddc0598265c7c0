/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/world.h"

#include "jobs_priv.h"
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/config/config.h"
#include "penstock/engine/engine.h"
#include "penstock/upstream/upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPTS 32

const char world_good[] =
    "{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":"
    "{\"role\":\"assistant\",\"content\":\"hello\"},\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}";

struct program {
    const struct world_script *script;
    atomic_uint calls;
    char *texts[WORLD_ANSWERS];
    struct fake_step steps[WORLD_ANSWERS][4];
    unsigned count;
};

static struct program programs[SCRIPTS];
static unsigned program_count;
static struct fake_http *server;
static unsigned gates;

static void compile_answer(struct program *p, const struct world_answer *answer)
{
    const char *body = answer->body != NULL ? answer->body : world_good;
    size_t size = strlen(body) + 512;
    unsigned n = p->count++;
    struct fake_step *step = p->steps[n];
    p->texts[n] = malloc(size);
    assert_non_null(p->texts[n]);
    (void)snprintf(p->texts[n], size,
                   "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: "
                   "%zu\r\n\r\n%s",
                   answer->status == 0 ? 200 : answer->status,
                   answer->headers != NULL ? answer->headers : "",
                   strlen(body) + (answer->cut ? 10 : 0), body);
    if (answer->status == 0) {
        *step++ = (struct fake_step){FAKE_GATE, NULL, 1};
    }
    *step++ = (struct fake_step){FAKE_SEND, p->texts[n], 0};
    *step = (struct fake_step){answer->cut ? FAKE_CLOSE : FAKE_END, NULL, 0};
}

/* Each provider adds a header with its name: the fake sees heads only. */
static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    (void)arg;
    (void)connection;
    (void)request;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    for (unsigned i = 0; i < program_count; i++) {
        char marker[64];
        (void)snprintf(marker, sizeof(marker), "x-script: %s\r\n", programs[i].script->name);
        if (strstr(head, marker) != NULL) {
            unsigned n = atomic_fetch_add(&programs[i].calls, 1);
            return programs[i].steps[n < programs[i].count ? n : programs[i].count - 1];
        }
    }
    return NULL;
}

static struct program *find(const char *name)
{
    for (unsigned i = 0; i < program_count; i++) {
        if (strcmp(programs[i].script->name, name) == 0) {
            return &programs[i];
        }
    }
    fail_msg("no script %s", name);
    return NULL;
}

void world_set_up(const struct world_script *scripts)
{
    ps_log_configure(PS_LOG_ERROR, PS_LOG_JSON);
    assert_int_equal(ps_upstream_global_init(), 0);
    assert_int_equal(ps_dialect_global_init(), 0);
    for (; scripts->name != NULL; scripts++) {
        struct program *p = &programs[program_count++];
        assert_true(program_count < SCRIPTS);
        p->script = scripts;
        for (unsigned k = 0; k < WORLD_ANSWERS; k++) {
            const struct world_answer *answer = &scripts->answers[k];
            if (k == 0 || answer->status != 0 || answer->body != NULL) {
                compile_answer(p, answer);
            }
        }
    }
}

void world_tear_down(void)
{
    for (unsigned i = 0; i < program_count; i++) {
        for (unsigned k = 0; k < programs[i].count; k++) {
            free(programs[i].texts[k]);
        }
    }
    ps_dialect_global_deinit();
    ps_upstream_global_deinit();
}

unsigned world_calls(const char *name)
{
    return atomic_load(&find(name)->calls);
}

void world_gate(void)
{
    fake_http_open(server, ++gates);
}

/* ---- the world ---- */

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
    ps_buf_cstr(&yaml, "workers: { job_concurrency: 4 }\nproviders:\n"
                       "  own: { engine: double, model_path: \"length=4,text=word\", "
                       "context_tokens: 512, slots: 2, while_loading: wait }\n");
    for (unsigned i = 0; i < program_count; i++) {
        ps_buf_printf(&yaml,
                      "  %s: { dialect: openai, base_url: \"http://127.0.0.1:%d/v1\", headers: { "
                      "x-script: %s }, list_models: false }\n",
                      programs[i].script->name, fake_http_port(server), programs[i].script->name);
    }
    ps_buf_cstr(&yaml, "  refused: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\" }\n"
                       "models:\n  - { name: plain, targets: [ { provider: good } ] }\n"
                       "default_model: plain\n");
    struct ps_config *config = ps_config_parse("test", ps_buf_view(&yaml), NULL, NULL, 0, &errors);
    if (config == NULL) {
        fail_msg("%.*s", (int)errors.text.len, errors.text.ptr);
    }
    ps_config_errors_deinit(&errors);
    ps_buf_deinit(&yaml);
    return config;
}

void world_open(struct world *w)
{
    char error[256];
    memset(w, 0, sizeof(*w));
    gates = 0;
    for (unsigned i = 0; i < program_count; i++) {
        atomic_store(&programs[i].calls, 0);
    }
    server = fake_http_start(script, NULL);
    assert_non_null(server);
    depot_make(&w->depot);
    depot_open(&w->depot);
    w->pool = ps_pool_new(2, 64);
    assert_non_null(w->pool);
    struct ps_engine_host_options host = {
        .compute_threads = 1, .event_loops = 1, .queue = 64, .queue_tokens = 65536};
    w->engines = ps_engine_host_new(&host);
    assert_non_null(w->engines);
    w->metrics = ps_metrics_new();
    assert_non_null(w->metrics);
    assert_int_equal(ps_gateway_init(&w->gateway, w->metrics), 0);
    w->gateway.engines = w->engines;
    w->gateway.offload = w->pool;
    assert_int_equal(ps_loop_init(&w->loop, 0, &w->gateway.budget), 0);
    struct ps_config *config = configure();
    atomic_store(&w->gateway.budget.limit, (size_t)config->limits.buffer_memory);
    struct ps_snapshot *snapshot = ps_snapshot_new(&w->gateway, config, error, sizeof(error));
    if (snapshot == NULL) {
        fail_msg("%s", error);
    }
    ps_config_unref(config);
    assert_int_equal(ps_mailbox_init(&w->mailbox, &w->loop), 0);
    assert_int_equal(ps_gateway_loop_init(&w->gl, &w->gateway, &w->loop,
                                          ps_metrics_shard_new(w->metrics), snapshot),
                     0);
    w->gl.mailbox = &w->mailbox;
    ps_snapshot_unref(snapshot);
    assert_int_equal(uv_timer_init(&w->loop.uv, &w->tick), 0);
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 2, 2), 0);
}

void world_turn(struct world *w)
{
    (void)ps_loop_turn(&w->loop, true);
}

void world_start(struct world *w)
{
    struct ps_jobs_times times = ps_jobs_usual_times;
    times.retry_us = 20000;
    times.look_us = 5000;
    times.backoff_ms = 10;
    times.backoff_cap_ms = 40;
    times.count_us = 10000;
    times.poke_us = 5000;
    w->jobs = ps_jobs_new(w->depot.store, w->pool);
    assert_non_null(w->jobs);
    ps_jobs_tune(w->jobs, &times);
    assert_int_equal(ps_jobs_start(w->jobs, &w->gl, &w->mailbox), 0);
}

static void on_stopped(void *arg)
{
    struct world *w = arg;
    w->stopped = true;
}

void world_stop(struct world *w, bool abort)
{
    w->stopped = false;
    ps_jobs_stop(w->jobs, on_stopped, w);
    if (abort) {
        ps_jobs_abort(w->jobs);
    }
    WORLD_UNTIL(w, w->stopped);
    assert_int_equal(w->gl.exchange_count, 0);
    ps_jobs_free(w->jobs);
    w->jobs = NULL;
}

void world_close(struct world *w)
{
    if (w->jobs != NULL) {
        world_stop(w, true);
    }
    uv_close((uv_handle_t *)&w->tick, NULL);
    ps_gateway_loop_deinit(&w->gl);
    ps_mailbox_close(&w->mailbox, NULL);
    ps_loop_deinit(&w->loop);
    ps_pool_free(w->pool);
    assert_int_equal(atomic_load(&w->gateway.budget.used), 0);
    ps_gateway_deinit(&w->gateway);
    ps_engine_host_free(w->engines);
    ps_metrics_free(w->metrics);
    depot_close(&w->depot);
    depot_remove(&w->depot);
    fake_http_stop(server);
}

/* ---- work ---- */

static void put(struct world *w, const char *text, struct ps_store_body *body)
{
    body->blob = depot_blob(&w->depot, text);
    body->length = strlen(text);
}

void world_job(struct world *w, const char *id, const char *endpoint, const char *body,
               int64_t life_ms)
{
    int64_t now = ps_clock_wall_ms();
    struct ps_store_command *command = depot_job_add("t", id, now);
    struct ps_store_job *job = &command->in.job;
    job->expires_ms = now + (life_ms > 0 ? life_ms : 86400000);
    job->endpoint = ps_slice_cstr(endpoint);
    job->request = (struct ps_store_body){.bytes = ps_slice_cstr(body), .length = strlen(body)};
    if (strlen(body) > PS_STORE_INLINE_BYTES) {
        job->request.bytes = PS_SLICE_NONE;
        put(w, body, &job->request);
    }
    depot_run(&w->depot, command, PS_STORE_OK);
    if (w->jobs != NULL) {
        ps_jobs_wake(w->jobs);
    }
}

void world_batch(struct world *w, const char *id, const char *endpoint, const char *input,
                 int64_t life_ms)
{
    char file[48];
    struct ps_store_body body = {0};
    int64_t now = ps_clock_wall_ms();
    put(w, input, &body);
    (void)snprintf(file, sizeof(file), "f%.38s", id);
    depot_run(&w->depot, depot_file_add("t", file, body.blob.text), PS_STORE_OK);
    struct ps_store_command *command = depot_batch_add("t", id, file, now);
    command->in.batch.endpoint = ps_slice_cstr(endpoint);
    command->in.batch.expires_ms = now + (life_ms > 0 ? life_ms : 86400000);
    depot_run(&w->depot, command, PS_STORE_OK);
    if (w->jobs != NULL) {
        ps_jobs_wake(w->jobs);
    }
}

void world_cancel(struct world *w, enum ps_store_verb verb, const char *id)
{
    depot_run(&w->depot, depot_on(verb, "t", id, ps_clock_wall_ms()), PS_STORE_OK);
    ps_jobs_wake(w->jobs);
}

static struct ps_store_command *seen;

static struct ps_store_command *see(struct world *w, enum ps_store_verb verb, const char *id)
{
    ps_store_command_free(seen);
    seen = depot_on(verb, "t", id, ps_clock_wall_ms());
    depot_ask(&w->depot, seen, PS_STORE_OK);
    return seen;
}

const struct ps_store_job *world_see_job(struct world *w, const char *id)
{
    return &see(w, PS_STORE_JOB_GET, id)->out.jobs[0];
}

const struct ps_store_batch *world_see_batch(struct world *w, const char *id)
{
    return &see(w, PS_STORE_BATCH_GET, id)->out.batches[0];
}

bool world_job_is(struct world *w, const char *id, enum ps_job_status status)
{
    enum ps_job_status now = world_see_job(w, id)->status;
    if (now >= PS_JOB_COMPLETED && status != now) {
        fail_msg("%s has status %d, expected %d", id, (int)now, (int)status);
    }
    return now == status;
}

bool world_batch_is(struct world *w, const char *id, enum ps_batch_status status)
{
    enum ps_batch_status now = world_see_batch(w, id)->status;
    if (now >= PS_BATCH_COMPLETED && status != now) {
        fail_msg("%s has status %d, expected %d", id, (int)now, (int)status);
    }
    return now == status;
}

char *world_body(struct world *w, const struct ps_store_body *body)
{
    size_t len = body->blob.text[0] != '\0' ? (size_t)body->length : body->bytes.len;
    char *text = calloc(1, len + 1);
    assert_non_null(text);
    if (body->blob.text[0] != '\0') {
        assert_int_equal(
            ps_blob_read(ps_store_blobs(w->depot.store), &body->blob, body->offset, text, len), 0);
    } else if (len > 0) {
        memcpy(text, body->bytes.ptr, len);
    }
    return text;
}

char *world_file(struct world *w, const struct ps_id *id)
{
    if (id->text[0] == '\0') {
        return calloc(1, 1);
    }
    struct ps_store_command *command =
        depot_on(PS_STORE_FILE_GET, "t", id->text, ps_clock_wall_ms());
    depot_ask(&w->depot, command, PS_STORE_OK);
    const struct ps_store_file *file = &command->out.files[0];
    struct ps_store_body body = {.blob = file->blob, .length = file->bytes};
    char *text = world_body(w, &body);
    ps_store_command_free(command);
    return text;
}
