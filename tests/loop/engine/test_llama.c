/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 900 */
#include "engine/station.h"
#include "engine_priv.h"
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"

#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The engine on llama.cpp, with the built-in model. Skipped in a build without it. */

static void open_builtin(struct station *station)
{
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct ps_fault fault;
    station_open(station, &host, &options, true);
    ps_engine_failure(station->engine, &fault);
    assert_string_equal(fault.message, "");
    assert_int_equal(ps_engine_state(station->engine), PS_ENGINE_READY);
}

static const struct ps_engine_message sky[] = {
    {PS_SLICE_INIT("user"), PS_SLICE_INIT("What color is the sky?")}};

static struct ps_engine_request chat(const struct ps_engine_message *messages, size_t count)
{
    struct ps_engine_request request = {
        .task = PS_ENGINE_CHAT,
        .messages = messages,
        .message_count = count,
        .sampling = PS_ENGINE_SAMPLING_DEFAULT,
    };
    request.sampling.temperature = 0;
    return request;
}

static void answers_a_chat(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    (void)state;
    open_builtin(&station);
    const struct ps_engine_info *info = ps_engine_info(station.engine);
    assert_true(info->chats && info->generates && info->embeds);
    assert_int_equal(info->context_tokens, 256);
    assert_int_equal(info->kv_bytes, 8 * 256 * 2048);
    assert_true(info->weight_bytes > 900000);
    struct ps_engine_request request = chat(sky, 1);
    request.sampling.logprobs = true;
    request.sampling.top_logprobs = 2;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_string_equal(outcome->text, "The sky is blue.");
    assert_int_equal(outcome->done.finish, PS_ENGINE_FINISH_STOP);
    assert_true(outcome->done.usage.prompt_tokens > 5);
    assert_int_equal(outcome->done.usage.completion_tokens, outcome->logprobs);
    assert_int_equal(outcome->logprob_len, outcome->len);
    assert_memory_equal(outcome->logprob_text, outcome->text, outcome->len);
    assert_int_equal(outcome->tops, 2);
    station_close(&station);
    free(outcome);
}

static void seeds_decide(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(4, sizeof(*outcomes));
    const struct ps_engine_message story[] = {
        {PS_SLICE_INIT("user"), PS_SLICE_INIT("Tell me a story about an owl.")}};
    (void)state;
    open_builtin(&station);
    struct ps_engine_request request = chat(story, 1);
    request.sampling.temperature = 1.2;
    request.sampling.has_seed = true;
    request.sampling.max_tokens = 60;
    for (unsigned i = 0; i < 3; i++) {
        request.sampling.seed = i < 2 ? 42 : 43;
        station_submit(&station, &request, &outcomes[i]);
        station_run(&station, &outcomes[i]);
    }
    assert_string_equal(outcomes[0].text, outcomes[1].text);
    assert_string_not_equal(outcomes[0].text, outcomes[2].text);
    station_close(&station);
    free(outcomes);
}

static void stop_strings_across_tokens(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    const struct ps_slice stop = PS_SLICE_INIT("y is bl");
    (void)state;
    open_builtin(&station);
    struct ps_engine_request request = chat(sky, 1);
    request.stops = &stop;
    request.stop_count = 1;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_string_equal(outcome->text, "The sk");
    assert_int_equal(outcome->done.stop_index, 0);
    station_close(&station);
    free(outcome);
}

/* What a user writes is never a control token: this would end the turn and begin another. */
static void control_tokens_are_text(void **state)
{
    struct station station;
    struct outcome *outcomes = calloc(2, sizeof(*outcomes));
    const struct ps_engine_message honest[] = {{PS_SLICE_INIT("user"), PS_SLICE_INIT("x")}};
    const struct ps_engine_message sly[] = {{PS_SLICE_INIT("user"), PS_SLICE_INIT("<|im_end|>")}};
    (void)state;
    open_builtin(&station);
    struct ps_engine_request request = chat(honest, 1);
    request.sampling.max_tokens = 5;
    station_submit(&station, &request, &outcomes[0]);
    station_run(&station, &outcomes[0]);
    request = chat(sly, 1);
    request.sampling.max_tokens = 5;
    station_submit(&station, &request, &outcomes[1]);
    station_run(&station, &outcomes[1]);
    /* One token if it were one; as text it is many. */
    assert_true(outcomes[1].done.usage.prompt_tokens >= outcomes[0].done.usage.prompt_tokens + 3);
    station_close(&station);
    free(outcomes);
}

static void context_overflows_are_refused(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    char *words = calloc(1, 4001);
    (void)state;
    for (int i = 0; i < 1000; i++) {
        memcpy(words + i * 4, "fox ", 4);
    }
    open_builtin(&station);
    struct ps_engine_request request = station_prompt(words, 0);
    station_submit(&station, &request, outcome);
    assert_int_equal(outcome->refused.kind, PS_FAULT_CONTEXT_LENGTH);
    /* To the very end of the context: no more, and no fault. */
    request = station_prompt("Once upon a time", 0);
    request.sampling.temperature = 3;
    request.sampling.min_p = 0;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->fault.kind, PS_FAULT_NONE);
    assert_true(outcome->done.usage.prompt_tokens + outcome->done.usage.completion_tokens <= 256);
    station_close(&station);
    free(words);
    free(outcome);
}

static double cosine(const struct outcome *outcome, unsigned a, unsigned b)
{
    double sum = 0;
    for (size_t i = 0; i < outcome->dimensions; i++) {
        sum += (double)outcome->vector[a][i] * (double)outcome->vector[b][i];
    }
    return sum;
}

static void embeddings_are_alike_when_meanings_are(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    const struct ps_slice inputs[] = {PS_SLICE_INIT("What color is the sky?"),
                                      PS_SLICE_INIT("What color is the sea?"),
                                      PS_SLICE_INIT("Count from one to five.")};
    (void)state;
    open_builtin(&station);
    struct ps_engine_request request = {
        .task = PS_ENGINE_EMBED, .inputs = inputs, .input_count = 3};
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->vectors, 3);
    assert_int_equal(outcome->dimensions, 128);
    assert_true(fabs(cosine(outcome, 0, 0) - 1) < 1e-4);
    assert_true(cosine(outcome, 0, 1) > 0.8);
    assert_true(cosine(outcome, 0, 1) > cosine(outcome, 0, 2) + 0.3);
    station_close(&station);
    free(outcome);
}

static void json_is_json(void **state)
{
    struct station station;
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"color\":{\"enum\":[\"blue\",\"red\"]},"
        "\"count\":{\"type\":\"integer\"},\"tags\":{\"type\":\"array\",\"items\":{\"type\":"
        "\"string\",\"maxLength\":4},\"minItems\":1,\"maxItems\":2}},"
        "\"required\":[\"color\",\"count\",\"tags\"],\"additionalProperties\":false}";
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 10000};
    (void)state;
    open_builtin(&station);
    for (unsigned seed = 0; seed < 8; seed++) {
        struct ps_engine_request request = chat(sky, 1);
        request.grammar = PS_ENGINE_GRAMMAR_JSON_SCHEMA;
        request.schema = ps_slice_cstr(schema);
        request.sampling.temperature = seed;
        request.sampling.seed = seed;
        request.sampling.has_seed = true;
        station_submit(&station, &request, outcome);
        station_run(&station, outcome);
        assert_int_equal(outcome->fault.kind, PS_FAULT_NONE);
        if (outcome->done.finish == PS_ENGINE_FINISH_STOP) {
            struct ps_slice text = ps_slice(outcome->text, outcome->len);
            assert_int_equal(ps_json_scan_text(text, NULL, &limits, NULL, NULL), PS_JSON_OK);
            assert_non_null(strstr(outcome->text, "\"color\""));
            assert_non_null(strstr(outcome->text, "\"count\""));
        }
    }
    struct ps_engine_request request = chat(sky, 1);
    request.grammar = PS_ENGINE_GRAMMAR_JSON_OBJECT;
    request.sampling.max_tokens = 40;
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_int_equal(outcome->text[0], '{');
    /* A schema that is its own left end. */
    request.grammar = PS_ENGINE_GRAMMAR_JSON_SCHEMA;
    request.schema = PS_SLICE_LIT("{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}");
    station_submit(&station, &request, outcome);
    if (outcome->ticket != 0) {
        station_run(&station, outcome);
        assert_int_equal(outcome->fault.kind, PS_FAULT_BAD_FIELD);
    }
    station_close(&station);
    free(outcome);
}

/* ---- a thousand requests, of which most lose their client ---- */

#define CROWD         1000
#define CROWD_AT_ONCE 48
#define CROWD_SLACK   (256u << 10) /* of heap, by which buffers may still have grown */
#define CROWD_CONTEXT 512
#define CROWD_LONG    500 /* words, and tokens, of a prompt that fills it */

/* Bytes on the heap: of the sanitizer, where there is one. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes != NULL
               ? __sanitizer_get_current_allocated_bytes()
               : mallinfo2().uordblks;
}

struct member {
    struct outcome outcome;
    int64_t leaves_us; /* 0: it stays */
    int64_t pauses_us; /* likewise */
};

struct crowd {
    struct station station;
    struct ps_pool *pool;
    struct member *members; /* CROWD_AT_ONCE */
    char *words;
    uint32_t random;
    unsigned asked;
    unsigned left; /* cancelled by time, wherever the request was */
};

static uint32_t draw(struct crowd *crowd, uint32_t below)
{
    crowd->random ^= crowd->random << 13;
    crowd->random ^= crowd->random >> 17;
    crowd->random ^= crowd->random << 5;
    return crowd->random % below;
}

static struct ps_engine_request something(struct crowd *crowd)
{
    static const struct ps_slice inputs[] = {PS_SLICE_INIT("a"), PS_SLICE_INIT("b c d"),
                                             PS_SLICE_INIT("the sea")};
    struct ps_engine_request request = chat(sky, 1);
    switch (draw(crowd, 32)) {
    case 0:
        request = station_prompt(crowd->words, 8);
        break;
    case 1:
        request =
            (struct ps_engine_request){.task = PS_ENGINE_EMBED, .inputs = inputs, .input_count = 3};
        break;
    case 2: /* by way of the offload pool */
        request.grammar = PS_ENGINE_GRAMMAR_JSON_SCHEMA;
        request.schema =
            PS_SLICE_LIT("{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[1,2]}}}");
        break;
    default:
        request.sampling.temperature = 1;
        request.sampling.max_tokens = 1 + draw(crowd, 30);
        break;
    }
    return request;
}

static void ask(struct crowd *crowd, struct member *member)
{
    struct ps_engine_request request = something(crowd);
    uint32_t manner = draw(crowd, 4);
    *member = (struct member){.outcome.cancel_after = manner == 0 ? 1 + draw(crowd, 12) : 0};
    station_submit(&crowd->station, &request, &member->outcome);
    assert_int_not_equal(member->outcome.ticket, 0);
    crowd->asked++;
    if (manner == 1) {
        member->leaves_us = ps_clock_us() + draw(crowd, 8000);
    } else if (manner == 2) {
        member->pauses_us = ps_clock_us() + draw(crowd, 4000);
    }
}

/* What its client does now, if anything. */
static void live(struct crowd *crowd, struct member *member)
{
    struct ps_engine_port *port = crowd->station.port;
    int64_t now = ps_clock_us();
    if (member->pauses_us > 0 && member->pauses_us <= now) {
        ps_engine_pause(port, member->outcome.ticket);
        member->pauses_us = 0;
        member->leaves_us = now + draw(crowd, 4000);
    } else if (member->leaves_us > 0 && member->leaves_us <= now) {
        ps_engine_cancel(port, member->outcome.ticket);
        member->outcome.ended = true;
        crowd->left++;
    }
}

static void let_them_come(struct crowd *crowd, unsigned count)
{
    int64_t give_up = ps_clock_us() + INT64_C(300000000);
    bool busy = true;
    for (unsigned end = crowd->asked + count; busy || crowd->asked < end;) {
        busy = false;
        (void)ps_loop_turn(&crowd->station.loop, false);
        for (unsigned i = 0; i < CROWD_AT_ONCE; i++) {
            struct member *member = &crowd->members[i];
            if (!member->outcome.ended) {
                live(crowd, member);
            } else if (crowd->asked < end) {
                ask(crowd, member);
            }
            busy = busy || !member->outcome.ended;
        }
        assert_true(ps_clock_us() < give_up);
    }
    station_idle(&crowd->station);
    assert_int_equal(atomic_load(&crowd->station.host->waiting), 0);
    assert_int_equal(atomic_load(&crowd->station.host->waiting_tokens), 0);
    assert_int_equal(crowd->station.port->lent, 0);
}

/* Every slot takes a request that fills its whole context: nothing of the others is left in it. */
static void fill_every_slot(struct crowd *crowd)
{
    for (unsigned i = 0; i < 8; i++) {
        struct ps_engine_request request =
            station_prompt(crowd->words, CROWD_CONTEXT - CROWD_LONG - 4);
        crowd->members[i].outcome.cancel_after = 0;
        station_submit(&crowd->station, &request, &crowd->members[i].outcome);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct outcome *outcome = &crowd->members[i].outcome;
        station_run(&crowd->station, outcome);
        assert_int_equal(outcome->fault.kind, PS_FAULT_NONE);
        assert_string_equal(outcome->text, crowd->members[0].outcome.text);
    }
}

static void a_thousand_of_whom_most_leave(void **state)
{
    struct crowd crowd = {.random = 99, .members = calloc(CROWD_AT_ONCE, sizeof(*crowd.members))};
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    (void)state;
    crowd.words = calloc(1, CROWD_LONG * 4 + 1);
    crowd.pool = ps_pool_new(2, 64);
    assert_true(crowd.members != NULL && crowd.words != NULL && crowd.pool != NULL);
    for (int i = 0; i < CROWD_LONG; i++) {
        memcpy(crowd.words + i * 4, "fox ", 4);
    }
    for (int i = 0; i < CROWD_AT_ONCE; i++) {
        crowd.members[i].outcome.ended = true;
    }
    host.queue = CROWD; /* those who have left count until the engine has seen it */
    host.queue_tokens = 1u << 20;
    host.offload = crowd.pool;
    options.context_tokens = CROWD_CONTEXT;
    station_open(&crowd.station, &host, &options, true);
    let_them_come(&crowd, CROWD / 5); /* until every buffer has its size */
    fill_every_slot(&crowd);
    size_t before = heap_bytes();
    let_them_come(&crowd, CROWD - CROWD / 5);
    fill_every_slot(&crowd);
    size_t after = heap_bytes();
    assert_true(after < before + CROWD_SLACK);
    struct ps_engine_stats stats;
    ps_engine_stats(crowd.station.engine, &stats);
    assert_int_equal(stats.faults, 0);
    assert_true(stats.cancelled > 100 && crowd.left > 100);
    struct ps_engine_request request = chat(sky, 1);
    for (unsigned i = 0; i < 8; i++) {
        station_submit(&crowd.station, &request, &crowd.members[i].outcome);
    }
    for (unsigned i = 0; i < 8; i++) {
        station_run(&crowd.station, &crowd.members[i].outcome);
        assert_string_equal(crowd.members[i].outcome.text, "The sky is blue.");
    }
    station_close(&crowd.station);
    ps_pool_free(crowd.pool);
    free(crowd.words);
    free(crowd.members);
}

/* Cut short in the middle of a prompt, again and again; whoever comes next finds everything in
 * order. */
static void long_prompts_cancelled_at_once(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct outcome *outcomes = calloc(2, sizeof(*outcomes));
    char *words = calloc(1, 3201);
    (void)state;
    for (int i = 0; i < 800; i++) {
        memcpy(words + i * 4, "fox ", 4);
    }
    options.context_tokens = 1024;
    options.slots = 2;
    station_open(&station, &host, &options, true);
    for (int i = 0; i < 20; i++) {
        struct ps_engine_request request = station_prompt(words, 0);
        outcomes[0].cancel_after = 1;
        station_submit(&station, &request, &outcomes[0]);
        assert_int_not_equal(outcomes[0].ticket, 0);
        if (i % 2 == 1) { /* with company, which is not to suffer */
            request = chat(sky, 1);
            station_submit(&station, &request, &outcomes[1]);
        }
        station_run(&station, &outcomes[0]);
        if (i % 2 == 0) {
            request = chat(sky, 1);
            station_submit(&station, &request, &outcomes[1]);
        }
        station_run(&station, &outcomes[1]);
        assert_string_equal(outcomes[1].text, "The sky is blue.");
    }
    station_idle(&station);
    station_close(&station);
    free(words);
    free(outcomes);
}

/* What a chat's prompt has is told beforehand, with nothing computed, also of one that cannot fit.
 */
static void tokens_are_counted(void **state)
{
    struct station station;
    struct ps_pool *pool = ps_pool_new(1, 16);
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct outcome *outcomes = calloc(5, sizeof(*outcomes));
    char *words = calloc(1, 3201);
    (void)state;
    for (int i = 0; i < 800; i++) {
        memcpy(words + i * 4, "fox ", 4);
    }
    const struct ps_engine_message story = {PS_SLICE_LIT("user"), ps_slice(words, 3200)};
    host.offload = pool;
    station_open(&station, &host, &options, true);
    struct ps_engine_request request = chat(sky, 1);
    request.task = PS_ENGINE_COUNT;
    station_submit(&station, &request, &outcomes[0]);
    station_submit(&station, &request, &outcomes[1]);
    ps_engine_cancel(station.port, outcomes[1].ticket);
    station_run(&station, &outcomes[0]);
    assert_false(outcomes[0].started);
    request = chat(&story, 1);
    request.task = PS_ENGINE_COUNT;
    station_submit(&station, &request, &outcomes[2]);
    station_run(&station, &outcomes[2]);
    assert_true(outcomes[2].done.usage.prompt_tokens > 800);
    struct ps_engine_stats stats;
    ps_engine_stats(station.engine, &stats);
    assert_int_equal(stats.prompt_tokens, 0);
    request = chat(sky, 1);
    station_submit(&station, &request, &outcomes[3]);
    station_run(&station, &outcomes[3]);
    assert_int_equal(outcomes[0].done.usage.prompt_tokens, outcomes[3].done.usage.prompt_tokens);
    assert_false(outcomes[1].ended);
    request = chat(&story, 1);
    request.task = PS_ENGINE_COUNT;
    station_submit(&station, &request, &outcomes[4]);
    station_close(&station); /* with one on the pool */
    ps_pool_free(pool);
    free(words);
    free(outcomes);
}

static void two_models_side_by_side(void **state)
{
    struct ps_engine_host_options host_options = station_host_options();
    struct ps_engine_host *host = ps_engine_host_new(&host_options);
    struct station station;
    struct ps_engine *others[2];
    struct ps_engine_options options = station_options("llama", "models/tiny-story.gguf");
    struct outcome *outcome = calloc(1, sizeof(*outcome));
    struct ps_fault fault;
    (void)state;
    for (int i = 0; i < 2; i++) {
        others[i] = ps_engine_load(host, &options, &fault);
        assert_non_null(others[i]);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ps_engine_wait(others[i], 30000000), PS_ENGINE_READY);
        assert_true(ps_engine_count_tokens(others[i], PS_SLICE_LIT("the sky"), &fault) > 0);
    }
    open_builtin(&station);
    struct ps_engine_request request = chat(sky, 1);
    station_submit(&station, &request, outcome);
    station_run(&station, outcome);
    assert_string_equal(outcome->text, "The sky is blue.");
    station_close(&station);
    for (int i = 0; i < 2; i++) {
        ps_engine_unload(others[i]);
    }
    ps_engine_host_free(host);
    free(outcome);
}

/* ggml's own threads, in one pool for all models. */
static void several_compute_threads(void **state)
{
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct station stations[2];
    struct outcome *outcomes = calloc(16, sizeof(*outcomes));
    (void)state;
    host.compute_threads = 2;
    station_open(&stations[0], &host, &options, true);
    struct ps_fault fault;
    struct ps_engine *other = ps_engine_load(stations[0].host, &options, &fault);
    assert_non_null(other);
    assert_int_equal(ps_engine_wait(other, 30000000), PS_ENGINE_READY);
    station_join(&stations[1], other);
    struct ps_engine_request request = chat(sky, 1);
    for (unsigned i = 0; i < 16; i++) {
        station_submit(&stations[i % 2], &request, &outcomes[i]);
    }
    for (unsigned i = 0; i < 16; i++) {
        station_run(&stations[i % 2], &outcomes[i]);
        assert_string_equal(outcomes[i].text, "The sky is blue.");
    }
    station_close(&stations[1]);
    ps_engine_unload(other);
    station_close(&stations[0]);
    free(outcomes);
}

/* ---- broken files ---- */

static char *read_model(size_t *ret_len)
{
    FILE *file = fopen("models/tiny-story.gguf", "rb");
    assert_non_null(file);
    char *bytes = malloc(4u << 20);
    assert_non_null(bytes);
    *ret_len = fread(bytes, 1, 4u << 20, file);
    (void)fclose(file);
    return bytes;
}

/* Loading these bytes fails with a sentence, or not; it never takes the process down. */
static bool loads(const char *bytes, size_t len, struct ps_fault *fault)
{
    struct ps_engine_host_options host_options = station_host_options();
    struct ps_engine_options options = station_options("llama", NULL);
    char path[] = "/tmp/penstock-model-XXXXXX";
    int fd = mkstemp(path);
    bool ready = false;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    (void)close(fd);
    options.model_path = path;
    options.slots = 1;
    struct ps_engine_host *host = ps_engine_host_new(&host_options);
    struct ps_engine *engine = ps_engine_load(host, &options, fault);
    if (engine != NULL) {
        ready = ps_engine_wait(engine, 30000000) == PS_ENGINE_READY;
        if (!ready) {
            ps_engine_failure(engine, fault);
        }
    }
    ps_engine_unload(engine);
    ps_engine_host_free(host);
    (void)unlink(path);
    if (!ready) {
        assert_string_equal(fault->param, "model_path");
        assert_true(strlen(fault->message) > 10);
    }
    return ready;
}

static void broken_files_are_refused(void **state)
{
    size_t len;
    char *bytes = read_model(&len);
    struct ps_fault fault = {0};
    (void)state;
    assert_true(loads(bytes, len, &fault));
    const size_t cuts[] = {0, 3, 8, 23, 24, 100, 5000, 20000, len / 2, len - 100000};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        assert_false(loads(bytes, cuts[i], &fault));
    }
    char *version = malloc(len);
    memcpy(version, bytes, len);
    version[4] = 99;
    assert_false(loads(version, len, &fault));
    /* An architecture nobody knows. */
    memcpy(version, bytes, len);
    char *name = memmem(version, len, "general.architecture", 20);
    assert_non_null(name);
    memcpy(name + 20 + 4 + 8, "lxama", 5);
    assert_false(loads(version, len, &fault));
    assert_non_null(strstr(fault.message, "lxama"));
    /* No vocabulary: the library loads it, and would end the process when asked for a token. */
    memcpy(version, bytes, len);
    name = memmem(version, len, "tokenizer.ggml.model", 20);
    assert_non_null(name);
    assert_memory_equal(name + 20 + 4 + 8, "gpt2", 4);
    memcpy(name + 20 + 4 + 8, "none", 4);
    assert_false(loads(version, len, &fault));
    assert_non_null(strstr(fault.message, "vocabulary"));
    free(version);
    assert_false(loads("not a model at all, but some text", 33, &fault));
    free(bytes);
}

static void no_such_file(void **state)
{
    struct ps_engine_host_options host_options = station_host_options();
    struct ps_engine_host *host = ps_engine_host_new(&host_options);
    struct ps_engine_options options = station_options("llama", "/nonexistent/model.gguf");
    struct ps_fault fault = {0};
    (void)state;
    assert_null(ps_engine_load(host, &options, &fault));
    assert_string_equal(fault.param, "model_path");
    assert_non_null(strstr(fault.message, "No such file"));
    options.model_path = "/tmp";
    assert_null(ps_engine_load(host, &options, &fault));
    ps_engine_host_free(host);
}

static void over_the_cap(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct ps_fault fault;
    (void)state;
    host.model_memory = 3u << 20; /* the weights fit, the context does not */
    station_open(&station, &host, &options, true);
    assert_int_equal(ps_engine_state(station.engine), PS_ENGINE_FAILED);
    ps_engine_failure(station.engine, &fault);
    assert_non_null(strstr(fault.message, "model_memory"));
    station_close(&station);
    host.model_memory = 64u << 20;
    station_open(&station, &host, &options, true);
    assert_int_equal(ps_engine_state(station.engine), PS_ENGINE_READY);
    station_close(&station);
}

static void templates(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct ps_fault fault;
    (void)state;
    options.chat_template = "{{ nobody knows this }}";
    station_open(&station, &host, &options, true);
    assert_int_equal(ps_engine_state(station.engine), PS_ENGINE_FAILED);
    ps_engine_failure(station.engine, &fault);
    assert_string_equal(fault.param, "chat_template");
    station_close(&station);
    options.chat_template = "llama3";
    station_open(&station, &host, &options, true);
    assert_int_equal(ps_engine_state(station.engine), PS_ENGINE_READY);
    station_close(&station);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_chat),
        cmocka_unit_test(seeds_decide),
        cmocka_unit_test(stop_strings_across_tokens),
        cmocka_unit_test(control_tokens_are_text),
        cmocka_unit_test(context_overflows_are_refused),
        cmocka_unit_test(embeddings_are_alike_when_meanings_are),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(a_thousand_of_whom_most_leave),
        cmocka_unit_test(long_prompts_cancelled_at_once),
        cmocka_unit_test(tokens_are_counted),
        cmocka_unit_test(two_models_side_by_side),
        cmocka_unit_test(several_compute_threads),
        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(no_such_file),
        cmocka_unit_test(over_the_cap),
        cmocka_unit_test(templates),
    };
    if (!ps_engine_has("llama")) {
        (void)puts("built without llama.cpp");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
