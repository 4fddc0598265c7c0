/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 300 */
#include "testing.h"

#include "engine/station.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"

#include <fcntl.h>
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

static const struct ps_engine_message sky[] = {{PS_SLICE_INIT("user"), PS_SLICE_INIT("What color is the sky?")}};

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
    const struct ps_engine_message story[] = {{PS_SLICE_INIT("user"), PS_SLICE_INIT("Tell me a story about an owl.")}};
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
    const struct ps_slice inputs[] = {PS_SLICE_INIT("What color is the sky?"), PS_SLICE_INIT("What color is the sea?"),
                                      PS_SLICE_INIT("Count from one to five.")};
    (void)state;
    open_builtin(&station);
    struct ps_engine_request request = {.task = PS_ENGINE_EMBED, .inputs = inputs, .input_count = 3};
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
    static const char schema[] = "{\"type\":\"object\",\"properties\":{\"color\":{\"enum\":[\"blue\",\"red\"]},"
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

static bool all_ended(void *arg)
{
    struct station *station = arg;
    return station->ended >= 200;
}

static void a_crowd_with_random_cancels(void **state)
{
    struct station station;
    struct ps_engine_host_options host = station_host_options();
    struct ps_engine_options options = station_options("llama", "builtin");
    struct outcome *outcomes = calloc(200, sizeof(*outcomes));
    uint32_t random = 99;
    (void)state;
    host.queue = 200;
    station_open(&station, &host, &options, true);
    for (unsigned i = 0; i < 200; i++) {
        random = random * 1664525 + 1013904223;
        struct ps_engine_request request = chat(sky, 1);
        request.sampling.temperature = 1;
        request.sampling.max_tokens = 1 + random % 30;
        outcomes[i].cancel_after = (random >> 16) % 12;
        station_submit(&station, &request, &outcomes[i]);
        assert_int_not_equal(outcomes[i].ticket, 0);
    }
    station_until(&station, all_ended, &station);
    station_idle(&station);
    struct ps_engine_stats stats;
    ps_engine_stats(station.engine, &stats);
    assert_int_equal(stats.requests, 200);
    assert_int_equal(stats.faults, 0);
    /* And the sequences are clean: an answer is what it was. */
    struct ps_engine_request request = chat(sky, 1);
    for (unsigned i = 0; i < 8; i++) {
        outcomes[i].cancel_after = 0;
        station_submit(&station, &request, &outcomes[i]);
    }
    for (unsigned i = 0; i < 8; i++) {
        station_run(&station, &outcomes[i]);
        assert_string_equal(outcomes[i].text, "The sky is blue.");
    }
    station_close(&station);
    free(outcomes);
}

/* Cut short in the middle of a prompt, again and again; whoever comes next finds everything in order. */
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
        cmocka_unit_test(a_crowd_with_random_cancels),
        cmocka_unit_test(long_prompts_cancelled_at_once),
        cmocka_unit_test(two_models_side_by_side),
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
