/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "engine/station.h"
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/net/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Everything an engine does with requests, on the test double: its answer is a text over and over.
 */

#define DIGITS "text=0123456789"

static void answers(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    (void)state;
    station_open_double(&station, "length=7," DIGITS);
    struct ps_engine_request request = station_prompt("hello", 0);
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->fault.kind, PS_FAULT_NONE);
    assert_int_equal(outcome->len, 7);
    assert_int_equal(outcome->done.finish, PS_ENGINE_FINISH_STOP);
    assert_int_equal(outcome->done.stop_index, -1);
    assert_int_equal(outcome->done.usage.prompt_tokens, 5);
    assert_int_equal(outcome->done.usage.completion_tokens, 7);
    for (size_t i = 1; i < outcome->len; i++) {
        assert_int_equal((outcome->text[i] - outcome->text[i - 1] + 10) % 10, 1);
    }
    /* The limit comes first. */
    request.sampling.max_tokens = 4;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->len, 4);
    assert_int_equal(outcome->done.finish, PS_ENGINE_FINISH_LENGTH);
    station_close(&station);
    free(outcome);
}

static void same_seed_same_answer(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(3, sizeof(*outcomes));
    (void)state;
    station_open_double(&station, "length=60," DIGITS);
    struct ps_engine_request request = station_prompt("seeds", 0);
    request.sampling.temperature = 1.5;
    request.sampling.has_seed = true;
    for (unsigned i = 0; i < 3; i++) {
        request.sampling.seed = i < 2 ? 7 : 8;
        station_submit(&station, &request, &outcomes[i]);
        station_run(&station, &outcomes[i]);
    }
    assert_string_equal(outcomes[0].text, outcomes[1].text);
    assert_string_not_equal(outcomes[0].text, outcomes[2].text);
    station_close(&station);
    free(outcomes);
}

static void stops_before_its_stop_string(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    const struct ps_slice stops[] = {PS_SLICE_INIT("no such"), PS_SLICE_INIT("567")};
    (void)state;
    station_open_double(&station, "length=100," DIGITS);
    struct ps_engine_request request = station_prompt("stop", 0);
    request.stops = stops;
    request.stop_count = 2;
    request.sampling.logprobs = true;
    request.sampling.top_logprobs = 3;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->done.finish, PS_ENGINE_FINISH_STOP);
    assert_int_equal(outcome->done.stop_index, 1);
    assert_null(strchr(outcome->text, '5'));
    assert_true(outcome->len == 0 || outcome->text[outcome->len - 1] == '4');
    /* Nor is it leaked through the logprobs. */
    assert_int_equal(outcome->logprob_len, outcome->len);
    assert_memory_equal(outcome->logprob_text, outcome->text, outcome->len);
    assert_int_equal(outcome->tops, outcome->len > 0 ? 3 : 0);
    station_close(&station);
    free(outcome);
}

static void characters_are_whole(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    (void)state;
    station_open_double(&station, "length=50,text=a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xff");
    for (int i = 0; i < 12; i++) {
        char prompt[2] = {(char)('a' + i), '\0'};
        struct ps_engine_request request = station_prompt(prompt, 0);
        station_submit(&station, &request, outcome);
        station_run(&station, outcome);
        assert_false(outcome->broken_text);
        assert_true(outcome->texts > 1);
        assert_non_null(strstr(outcome->text,
                               "\xf0\x9f\x98\x80\xef\xbf\xbd")); /* the stray byte became U+FFFD */
        assert_int_equal(outcome->done.usage.completion_tokens, 50);
    }
    station_close(&station);
    free(outcome);
}

/* ---- the queue ---- */

static void full_queue_refuses(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=5000,length=10," DIGITS);
    struct outcome *outcomes = calloc(6, sizeof(*outcomes));
    (void)state;
    host.queue = 2;
    options.slots = 1;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt("full", 0);
    for (int i = 0; i < 6; i++) {
        station_submit(&station, &request, &outcomes[i]);
    }
    for (int i = 0; i < 6; i++) {
        if (i < 3) { /* one runs, two wait */
            station_run(&station, &outcomes[i]);
            assert_int_equal(outcomes[i].fault.kind, PS_FAULT_NONE);
        } else {
            assert_int_equal(outcomes[i].ticket, 0);
            assert_int_equal(outcomes[i].refused.kind, PS_FAULT_QUEUE_FULL);
            assert_true(outcomes[i].refused.retry_after_ms >= 1000);
        }
    }
    /* The places are free again. */
    station_submit(&station, &request, &outcomes[0]);
    station_run(&station, &outcomes[0]);
    station_close(&station);
    free(outcomes);
}

static void full_of_tokens_refuses(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=5000,length=10," DIGITS);
    struct outcome *outcomes = calloc(3, sizeof(*outcomes));
    (void)state;
    host.queue_tokens = 10;
    options.slots = 1;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt("eight by", 0);
    for (int i = 0; i < 3; i++) {
        station_submit(&station, &request, &outcomes[i]);
    }
    assert_int_not_equal(outcomes[1].ticket, 0);
    assert_int_equal(outcomes[2].refused.kind, PS_FAULT_QUEUE_FULL);
    station_run(&station, &outcomes[1]);
    station_close(&station);
    free(outcomes);
}

static void waits_no_longer_than_its_deadline(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=4000,length=60," DIGITS);
    struct outcome *outcomes = calloc(2, sizeof(*outcomes));
    (void)state;
    options.slots = 1;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt("deadline", 0);
    station_submit(&station, &request, &outcomes[0]);
    request.deadline_us = ps_clock_us() + 20000;
    station_submit(&station, &request, &outcomes[1]);
    station_run(&station, &outcomes[1]);
    assert_int_equal(outcomes[1].fault.kind, PS_FAULT_QUEUE_FULL);
    assert_false(outcomes[1].started);
    assert_false(outcomes[0].ended); /* the one that runs is not touched */
    station_run(&station, &outcomes[0]);
    assert_int_equal(outcomes[0].fault.kind, PS_FAULT_NONE);
    station_close(&station);
    free(outcomes);
}

static bool has_text(void *arg)
{
    return ((struct outcome *)arg)->len >= 3;
}

static bool is_paused(void *arg)
{
    struct station *station = arg;
    struct ps_engine_stats stats;
    ps_engine_stats(station->engine, &stats);
    return stats.paused == 1;
}

static void tenants_take_turns(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=3000,length=40," DIGITS);
    struct outcome *outcomes = calloc(12, sizeof(*outcomes));
    (void)state;
    options.slots = 1;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt("turns", 0);
    request.tenant = PS_SLICE_LIT("greedy");
    /* The first keeps the only slot until all have come. */
    station_submit(&station, &request, &outcomes[0]);
    station_until(&station, has_text, &outcomes[0]);
    ps_engine_pause(station.port, outcomes[0].ticket);
    station_until(&station, is_paused, &station);
    request.sampling.max_tokens = 2;
    for (int i = 1; i < 9; i++) {
        station_submit(&station, &request, &outcomes[i]);
    }
    request.priority = PS_ENGINE_BATCH;
    request.tenant = PS_SLICE_LIT("batch");
    station_submit(&station, &request, &outcomes[9]);
    request.priority = PS_ENGINE_INTERACTIVE;
    request.tenant = PS_SLICE_LIT("modest");
    station_submit(&station, &request, &outcomes[10]);
    request.tenant = PS_SLICE_LIT("third");
    station_submit(&station, &request, &outcomes[11]);
    ps_engine_resume(station.port, outcomes[0].ticket);
    for (int i = 0; i < 12; i++) {
        station_run(&station, &outcomes[i]);
    }
    assert_int_equal(outcomes[0].order, 0);
    assert_int_equal(outcomes[10].order, 2); /* not behind the nine */
    assert_int_equal(outcomes[11].order, 3);
    assert_int_equal(outcomes[9].order, 11); /* behind everybody */
    station_close(&station);
    free(outcomes);
}

/* ---- cancel, pause ---- */

static void cancelled_at_every_result(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(2, sizeof(*outcomes));
    (void)state;
    station_open_double(&station, "pace=20,length=12," DIGITS);
    for (unsigned after = 1; after <= 13; after++) {
        struct ps_engine_request request = station_prompt("cancel me", 0);
        outcomes[0].cancel_after = after;
        outcomes[1].cancel_after = 0;
        station_submit(&station, &request, &outcomes[0]);
        station_submit(&station, &request, &outcomes[1]);
        station_run(&station, &outcomes[0]);
        station_run(&station, &outcomes[1]); /* the neighbour is none the wiser */
        assert_int_equal(outcomes[1].len, 12);
        station_idle(&station);
    }
    station_close(&station);
    free(outcomes);
}

struct steps {
    struct station *station;
    uint64_t cancelled;
};

static bool has_cancelled(void *arg)
{
    struct steps *steps = arg;
    struct ps_engine_stats stats;
    ps_engine_stats(steps->station->engine, &stats);
    return stats.cancelled >= steps->cancelled;
}

static void prefill_alone_is_aborted(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    /* The prompt takes 200 s if it is not. */
    struct ps_engine_options options = station_options("double", "pace=1000000,length=5," DIGITS);
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    char prompt[201];
    (void)state;
    memset(prompt, 'p', 200);
    prompt[200] = '\0';
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt(prompt, 5);
    outcome->cancel_after = 1; /* as soon as it has started */
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    struct steps steps = {&station, 1};
    station_until(&station, has_cancelled, &steps);
    station_idle(&station);
    station_close(&station);
    free(outcome);
}

static void cancelled_while_it_waits(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=3000,length=20," DIGITS);
    struct outcome *outcomes = calloc(3, sizeof(*outcomes));
    (void)state;
    options.slots = 1;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt("waiting", 0);
    for (int i = 0; i < 3; i++) {
        station_submit(&station, &request, &outcomes[i]);
    }
    ps_engine_cancel(station.port, outcomes[1].ticket);
    ps_engine_cancel(station.port, outcomes[1].ticket); /* twice is once */
    outcomes[1].ended = true;
    station_run(&station, &outcomes[2]);
    assert_true(outcomes[0].ended);
    assert_false(outcomes[1].started);
    station_close(&station);
    free(outcomes);
}

static bool other_ended(void *arg)
{
    return ((struct outcome *)arg)->ended;
}

static void paused_until_resumed(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(2, sizeof(*outcomes));
    (void)state;
    station_open_double(&station, "pace=3000,length=40," DIGITS);
    struct ps_engine_request request = station_prompt("pause", 0);
    station_submit(&station, &request, &outcomes[0]);
    station_until(&station, has_text, &outcomes[0]);
    ps_engine_pause(station.port, outcomes[0].ticket);
    /* A whole other answer comes meanwhile. */
    station_submit(&station, &request, &outcomes[1]);
    station_until(&station, other_ended, &outcomes[1]);
    assert_false(outcomes[0].ended);
    size_t held = outcomes[0].len;
    struct ps_engine_stats stats;
    ps_engine_stats(station.engine, &stats);
    assert_int_equal(stats.paused, 1);
    assert_true(held < 40);
    ps_engine_resume(station.port, outcomes[0].ticket);
    station_run(&station, &outcomes[0]);
    assert_string_equal(outcomes[0].text, outcomes[1].text);
    station_close(&station);
    free(outcomes);
}

static void closing_ends_all(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(12, sizeof(*outcomes));
    (void)state;
    station_open_double(&station, "pace=300,length=200," DIGITS);
    struct ps_engine_request request = station_prompt("closing", 0);
    for (int i = 0; i < 12; i++) {
        station_submit(&station, &request, &outcomes[i]);
    }
    station_until(&station, has_text, &outcomes[0]);
    station_close(&station);
    for (int i = 0; i < 12; i++) {
        assert_false(outcomes[i].ended);
    }
    free(outcomes);
}

static void stopping_faults_all(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(12, sizeof(*outcomes));
    (void)state;
    station_open_double(&station, "pace=300,length=200," DIGITS);
    struct ps_engine_request request = station_prompt("stopping", 0);
    for (int i = 0; i < 12; i++) {
        station_submit(&station, &request, &outcomes[i]);
    }
    ps_engine_stop(station.engine);
    for (int i = 0; i < 12; i++) {
        station_run(&station, &outcomes[i]);
        assert_int_equal(outcomes[i].fault.kind, PS_FAULT_DRAINING);
    }
    station_submit(&station, &request, &outcomes[0]);
    assert_int_equal(outcomes[0].refused.kind, PS_FAULT_DRAINING);
    station_close(&station);
    free(outcomes);
}

static void two_hundred_random_cancels(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=5,length=30," DIGITS);
    const int count = 200;
    struct outcome *outcomes = calloc((size_t)count, sizeof(*outcomes));
    uint32_t random = 12345;
    (void)state;
    host.queue = 1000;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt("a crowd of them", 0);
    for (int i = 0; i < count; i++) {
        random = random * 1664525 + 1013904223;
        outcomes[i].cancel_after = (random >> 24) % 40; /* 0: never; above 32: it ends first */
        station_submit(&station, &request, &outcomes[i]);
        (void)ps_loop_turn(&station.loop, false);
        if ((random >> 16) % 16 == 0) {
            ps_engine_cancel(station.port, outcomes[i].ticket);
            outcomes[i].ended = true;
        }
    }
    for (int i = 0; i < count; i++) {
        station_until(&station, other_ended, &outcomes[i]);
    }
    station_idle(&station);
    struct ps_engine_stats stats;
    ps_engine_stats(station.engine, &stats);
    assert_int_equal(stats.requests, count);
    assert_int_equal(stats.running + stats.queued, 0);
    station_close(&station);
    free(outcomes);
}

/* ---- loading ---- */

static void waits_for_the_load_or_not(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "load=200,length=5," DIGITS);
    struct outcome *outcomes = calloc(3, sizeof(*outcomes));
    (void)state;
    station_open(&station, &host, &options, false);
    struct ps_engine_request request = station_prompt("load", 0);
    station_submit(&station, &request, &outcomes[0]);
    assert_int_equal(outcomes[0].refused.kind, PS_FAULT_LOADING);
    assert_true(outcomes[0].refused.retry_after_ms > 0);
    request.wait_loading = true;
    station_submit(&station, &request, &outcomes[1]);
    station_submit(&station, &request, &outcomes[2]);
    ps_engine_cancel(station.port, outcomes[2].ticket);
    station_run(&station, &outcomes[1]);
    assert_int_equal(outcomes[1].len, 5);
    assert_true(station.state_calls > 0);
    assert_int_equal(ps_engine_progress(station.engine), 100);
    station_close(&station);
    free(outcomes);
}

static void a_failed_load_faults(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "load=300,fail=1,text=x");
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    struct ps_fault fault;
    (void)state;
    station_open(&station, &host, &options, false);
    struct ps_engine_request request = station_prompt("load", 0);
    request.wait_loading = true;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->fault.kind, PS_FAULT_INTERNAL);
    assert_int_equal(ps_engine_state(station.engine), PS_ENGINE_FAILED);
    ps_engine_failure(station.engine, &fault);
    assert_string_equal(fault.param, "model_path");
    station_submit(&station, &request, outcome);
    assert_int_equal(outcome->refused.kind, PS_FAULT_INTERNAL);
    station_close(&station);
    free(outcome);
}

static void stopped_while_it_loads(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "load=100000,text=x");
    (void)state;
    station_open(&station, &host, &options, false);
    station_close(&station); /* would take 100 s otherwise */
}

/* ---- what is wrong with a request ---- */

static void bad_requests(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    char *longer = calloc(1, 301);
    (void)state;
    memset(longer, 'x', 300);
    station_open_double(&station, "length=5," DIGITS);

    struct ps_engine_request request = station_prompt(longer, 0);
    station_submit(&station, &request, outcome);
    assert_int_equal(outcome->refused.kind, PS_FAULT_CONTEXT_LENGTH);

    request = station_prompt("x", 1000);
    station_submit(&station, &request, outcome);
    assert_int_equal(outcome->refused.kind, PS_FAULT_CONTEXT_LENGTH);
    assert_string_equal(outcome->refused.param, "max_tokens");

    request = station_prompt("", 0);
    station_submit(&station, &request, outcome);
    assert_int_equal(outcome->refused.kind, PS_FAULT_BAD_FIELD);

    request = station_prompt("x", 0);
    request.sampling.top_p = 0;
    station_submit(&station, &request, outcome);
    assert_string_equal(outcome->refused.param, "top_p");

    request = station_prompt("x", 0);
    request.grammar = PS_ENGINE_GRAMMAR_JSON_OBJECT;
    station_submit(&station, &request, outcome);
    assert_int_equal(outcome->refused.kind, PS_FAULT_UNSUPPORTED_OPERATION);

    const struct ps_slice empty = PS_SLICE_INIT("");
    request = station_prompt("x", 0);
    request.stops = &empty;
    request.stop_count = 1;
    station_submit(&station, &request, outcome);
    assert_string_equal(outcome->refused.param, "stop");

    /* And none of them has taken a place. */
    request = station_prompt("x", 0);
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->len, 5);
    station_close(&station);
    free(longer);
    free(outcome);
}

static void chats_and_embeds(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    const struct ps_engine_message messages[] = {
        {PS_SLICE_INIT("system"), PS_SLICE_INIT("be brief")},
        {PS_SLICE_INIT("user"), PS_SLICE_INIT("a <|b|> c")}, /* looks like a control token */
    };
    const struct ps_slice inputs[] = {PS_SLICE_INIT("abc"), PS_SLICE_INIT("cba"),
                                      PS_SLICE_INIT("zzz")};
    (void)state;
    station_open_double(&station, "length=5," DIGITS);
    struct ps_engine_request request = station_prompt("", 0);
    request.task = PS_ENGINE_CHAT;
    request.messages = messages;
    request.message_count = 2;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->len, 5);
    /* "system: be brief\nuser: a <|b|> c\nassistant: " */
    assert_int_equal(outcome->done.usage.prompt_tokens, 17 + 16 + 11);

    request =
        (struct ps_engine_request){.task = PS_ENGINE_EMBED, .inputs = inputs, .input_count = 3};
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->vectors, 3);
    assert_int_equal(outcome->dimensions, 32);
    assert_memory_equal(outcome->vector[0], outcome->vector[1], 32 * sizeof(float));
    assert_memory_not_equal(outcome->vector[0], outcome->vector[2], 32 * sizeof(float));
    assert_int_equal(outcome->done.usage.prompt_tokens, 9);
    station_close(&station);
    free(outcome);
}

static void long_prompts_are_read_on_the_pool(void **state)
{
    struct station station;
    struct ps_pool *pool = ps_pool_new(2, 16);
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "length=5," DIGITS);
    struct outcome *outcomes = calloc(4, sizeof(*outcomes));
    char *prompt = calloc(1, 9001);
    (void)state;
    memset(prompt, 'x', 9000);
    host.offload = pool;
    options.context_tokens = 8192;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = station_prompt(prompt, 0);
    station_submit(&station, &request, &outcomes[0]); /* 9000 do not fit: told by a result */
    request.prompt.len = 8000;
    station_submit(&station, &request, &outcomes[1]);
    station_submit(&station, &request, &outcomes[2]);
    ps_engine_cancel(station.port, outcomes[2].ticket);
    station_run(&station, &outcomes[0]);
    assert_int_equal(outcomes[0].fault.kind, PS_FAULT_CONTEXT_LENGTH);
    station_run(&station, &outcomes[1]);
    assert_int_equal(outcomes[1].len, 5);
    station_submit(&station, &request, &outcomes[3]);
    station_close(&station); /* with one on the pool */
    ps_pool_free(pool);
    free(prompt);
    free(outcomes);
}

static void two_engines_take_turns(void **state)
{
    struct station first;
    struct station second;
    struct outcome *outcomes = calloc(8, sizeof(*outcomes));
    struct ps_engine_options options = station_options("double", "pace=100,length=30,text=abc");
    struct ps_fault fault;
    (void)state;
    station_open_double(&first, "pace=100,length=30," DIGITS);
    struct ps_engine *other = ps_engine_load(first.host, &options, &fault);
    assert_non_null(other);
    assert_int_equal(ps_engine_wait(other, 10000000), PS_ENGINE_READY);
    station_join(&second, other);
    struct ps_engine_request request = station_prompt("both", 0);
    for (int i = 0; i < 8; i++) {
        station_submit(i % 2 == 0 ? &first : &second, &request, &outcomes[i]);
    }
    for (int i = 0; i < 8; i++) {
        station_run(i % 2 == 0 ? &first : &second, &outcomes[i]);
        assert_int_equal(outcomes[i].len, 30);
        assert_int_equal(strspn(outcomes[i].text, i % 2 == 0 ? "0123456789" : "abc"), 30);
    }
    station_close(&second);
    ps_engine_unload(other);
    station_close(&first);
    free(outcomes);
}

#define LOOPS    3
#define PER_LOOP 60

static void *run_loop(void *arg)
{
    struct station station;
    struct outcome *outcomes = calloc(PER_LOOP, sizeof(*outcomes));
    uint32_t random = 7;
    station_join(&station, arg);
    struct ps_engine_request request = station_prompt("from one of several loops", 0);
    for (unsigned i = 0; i < PER_LOOP; i++) {
        random = random * 1664525 + 1013904223;
        outcomes[i].cancel_after = (random >> 24) % 30;
        station_submit(&station, &request, &outcomes[i]);
        assert_int_not_equal(outcomes[i].ticket, 0);
        if (i % 5 == 0) {
            ps_engine_pause(station.port, outcomes[i].ticket);
            (void)ps_loop_turn(&station.loop, false);
            ps_engine_resume(station.port, outcomes[i].ticket);
        }
    }
    for (unsigned i = 0; i < PER_LOOP; i += 2) { /* half of them are left to the closing */
        station_run(&station, &outcomes[i]);
        if (outcomes[i].cancel_after == 0) {
            assert_int_equal(outcomes[i].len, 20);
        }
    }
    station_close(&station);
    free(outcomes);
    return NULL;
}

static void several_loops_share_an_engine(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("double", "pace=5,length=20," DIGITS);
    pthread_t threads[LOOPS];
    (void)state;
    host.queue = LOOPS * PER_LOOP;
    station_open(&station, &host, &options, true);
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_loop, station.engine), 0);
    }
    for (int i = 0; i < LOOPS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    struct ps_engine_stats stats;
    station_idle(&station);
    ps_engine_stats(station.engine, &stats);
    assert_int_equal(stats.requests, LOOPS * PER_LOOP);
    station_close(&station);
}

static void wrong_options(void **state)
{
    struct ps_engine_host_options host_options = station_host_options();
    struct ps_engine_host *host = ps_engine_host_new(&host_options);
    struct ps_engine_options options = station_options("nonsense", "x");
    struct ps_fault fault;
    (void)state;
    assert_null(ps_engine_load(host, &options, &fault));
    assert_string_equal(fault.param, "engine");
    options = station_options("double", "text=x");
    options.slots = 0;
    assert_null(ps_engine_load(host, &options, &fault));
    assert_string_equal(fault.param, "slots");
    options.slots = 1;
    options.context_tokens = 1;
    assert_null(ps_engine_load(host, &options, &fault));
    assert_string_equal(fault.param, "context_tokens");
    ps_engine_host_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(same_seed_same_answer),
        cmocka_unit_test(stops_before_its_stop_string),
        cmocka_unit_test(characters_are_whole),
        cmocka_unit_test(full_queue_refuses),
        cmocka_unit_test(full_of_tokens_refuses),
        cmocka_unit_test(waits_no_longer_than_its_deadline),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(cancelled_at_every_result),
        cmocka_unit_test(prefill_alone_is_aborted),
        cmocka_unit_test(cancelled_while_it_waits),
        cmocka_unit_test(paused_until_resumed),
        cmocka_unit_test(closing_ends_all),
        cmocka_unit_test(stopping_faults_all),
        cmocka_unit_test(two_hundred_random_cancels),
        cmocka_unit_test(waits_for_the_load_or_not),
        cmocka_unit_test(a_failed_load_faults),
        cmocka_unit_test(stopped_while_it_loads),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(chats_and_embeds),
        cmocka_unit_test(long_prompts_are_read_on_the_pool),
        cmocka_unit_test(two_engines_take_turns),
        cmocka_unit_test(several_loops_share_an_engine),
        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
