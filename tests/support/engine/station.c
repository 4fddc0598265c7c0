/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/station.h"

#include "testing.h"

#include "penstock/base/buf.h"
#include "penstock/base/clock.h"

#include <math.h>
#include <string.h>

static void note_text(struct outcome *outcome, struct ps_slice text)
{
    outcome->texts++;
    for (size_t at = 0; at < text.len;) {
        size_t length = ps_utf8_length(text.ptr + at, text.len - at);
        outcome->broken_text = outcome->broken_text || length == 0;
        at += length > 0 ? length : 1;
    }
    assert_true(outcome->len + text.len < sizeof(outcome->text));
    memcpy(outcome->text + outcome->len, text.ptr, text.len);
    outcome->len += text.len;
    outcome->text[outcome->len] = '\0';
}

static void note_logprob(struct outcome *outcome, const struct ps_engine_result *result)
{
    outcome->logprobs++;
    outcome->logprob_sum += (double)result->token.logprob;
    outcome->tops = (unsigned)result->top_count;
    assert_true(result->token.logprob <= 0.0001F);
    for (size_t i = 1; i < result->top_count; i++) {
        assert_true(result->top[i - 1].logprob >= result->top[i].logprob);
    }
    if (outcome->logprob_len + result->token.token.len < sizeof(outcome->logprob_text)) {
        memcpy(outcome->logprob_text + outcome->logprob_len, result->token.token.ptr,
               result->token.token.len);
        outcome->logprob_len += result->token.token.len;
    }
}

static void note_vector(struct outcome *outcome, const struct ps_engine_result *result)
{
    assert_int_equal(result->index, outcome->vectors);
    outcome->vectors++;
    outcome->dimensions = result->dimensions;
    if (result->index < STATION_VECTORS && result->dimensions <= STATION_WIDTH) {
        memcpy(outcome->vector[result->index], result->vector, result->dimensions * sizeof(float));
    }
}

static void on_result(void *arg, const struct ps_engine_result *result)
{
    struct outcome *outcome = arg;
    struct station *station = outcome->station;
    assert_false(outcome->ended); /* nothing after the end, nothing after a cancel */
    outcome->results++;
    switch (result->kind) {
    case PS_ENGINE_STARTED:
        assert_false(outcome->started);
        outcome->started = true;
        break;
    case PS_ENGINE_TEXT:
        assert_true(outcome->started);
        note_text(outcome, result->text);
        break;
    case PS_ENGINE_LOGPROB:
        note_logprob(outcome, result);
        break;
    case PS_ENGINE_EMBEDDING:
        note_vector(outcome, result);
        break;
    case PS_ENGINE_DONE:
        outcome->done = *result;
        outcome->ended = true;
        outcome->order = station->ended++;
        break;
    case PS_ENGINE_FAULT:
        outcome->fault = *result->fault;
        outcome->ended = true;
        outcome->order = station->ended++;
        break;
    }
    if (!outcome->ended && outcome->cancel_after > 0 && outcome->results >= outcome->cancel_after) {
        ps_engine_cancel(station->port, outcome->ticket);
        outcome->ended = true;
        outcome->order = station->ended++;
    }
}

static void on_state(void *arg, enum ps_engine_state state)
{
    struct station *station = arg;
    (void)state;
    station->state_calls++;
}

static const struct ps_engine_port_ops ops = {on_result, on_state};

struct ps_engine_host_options station_host_options(void)
{
    return (struct ps_engine_host_options){
        .compute_threads = 1, .event_loops = 1, .queue = 64, .queue_tokens = 65536};
}

struct ps_engine_options station_options(const char *kind, const char *model_path)
{
    return (struct ps_engine_options){.name = "test",
                                      .kind = kind,
                                      .model_path = model_path,
                                      .context_tokens = 256,
                                      .slots = 8,
                                      .embeddings = true};
}

void station_open(struct station *station, const struct ps_engine_host_options *host,
                  const struct ps_engine_options *options, bool wait)
{
    struct ps_fault fault = {0};
    *station = (struct station){0};
    atomic_store(&station->budget.limit, (size_t)1 << 24);
    assert_int_equal(ps_loop_init(&station->loop, 0, &station->budget), 0);
    station->host = ps_engine_host_new(host);
    assert_non_null(station->host);
    station->engine = ps_engine_load(station->host, options, &fault);
    if (station->engine == NULL) {
        fail_msg("%s", fault.message);
    }
    station->port = ps_engine_port_open(station->engine, &station->loop, &ops, station);
    assert_non_null(station->port);
    if (wait) {
        assert_int_not_equal(ps_engine_wait(station->engine, INT64_C(60000000)), PS_ENGINE_LOADING);
    }
}

void station_open_double(struct station *station, const char *model_path)
{
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", model_path);
    station_open(station, &host, &options, true);
    assert_int_equal(ps_engine_state(station->engine), PS_ENGINE_READY);
}

void station_join(struct station *station, struct ps_engine *engine)
{
    *station = (struct station){.engine = engine};
    atomic_store(&station->budget.limit, (size_t)1 << 24);
    assert_int_equal(ps_loop_init(&station->loop, 1, &station->budget), 0);
    station->port = ps_engine_port_open(engine, &station->loop, &ops, station);
    assert_non_null(station->port);
}

static void on_closed(void *arg)
{
    struct station *station = arg;
    station->closed = true;
}

static bool is_closed(void *arg)
{
    return ((struct station *)arg)->closed;
}

void station_close(struct station *station)
{
    ps_engine_port_close(station->port, on_closed, station);
    station_until(station, is_closed, station);
    if (station->host != NULL) {
        ps_engine_unload(station->engine);
        ps_engine_host_free(station->host);
    }
    ps_loop_deinit(&station->loop);
    assert_int_equal(atomic_load(&station->budget.used), 0);
}

struct ps_engine_request station_prompt(const char *prompt, uint32_t max_tokens)
{
    struct ps_engine_request request = {
        .task = PS_ENGINE_COMPLETE,
        .prompt = ps_slice_cstr(prompt),
        .sampling = PS_ENGINE_SAMPLING_DEFAULT,
    };
    request.sampling.temperature = 0;
    request.sampling.max_tokens = max_tokens;
    return request;
}

void station_submit(struct station *station, const struct ps_engine_request *request,
                    struct outcome *outcome)
{
    struct ps_engine_request own = *request;
    unsigned cancel_after = outcome->cancel_after;
    *outcome = (struct outcome){.station = station, .cancel_after = cancel_after};
    own.arg = outcome;
    outcome->ticket = ps_engine_submit(station->port, &own, &outcome->refused);
    if (outcome->ticket == 0) {
        assert_int_not_equal(outcome->refused.kind, PS_FAULT_NONE);
        assert_true(outcome->refused.message[0] != '\0');
    }
}

void station_until(struct station *station, bool (*done)(void *arg), void *arg)
{
    int64_t end = ps_clock_us() + INT64_C(60000000);
    while (!done(arg)) {
        assert_true(ps_clock_us() < end);
        (void)ps_loop_turn(&station->loop, false);
    }
}

static bool has_ended(void *arg)
{
    return ((struct outcome *)arg)->ended;
}

void station_run(struct station *station, const struct outcome *outcome)
{
    assert_int_not_equal(outcome->ticket, 0);
    station_until(station, has_ended, (void *)(uintptr_t)outcome);
}

static bool is_idle(void *arg)
{
    struct station *station = arg;
    struct ps_engine_stats stats;
    ps_engine_stats(station->engine, &stats);
    return stats.running == 0 && stats.queued == 0;
}

void station_idle(struct station *station)
{
    station_until(station, is_idle, station);
}
