/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"
#include "openai_priv.h"
#include "prompt_priv.h"

#include "penstock/base/mem.h"

#include <float.h>

/*
 * A request of OpenAI's API for a model inside the gateway. Three kinds of fields: those that are
 * read, those that would change the answer's meaning and are refused, and hints that are left out.
 * What is not in the table means nothing to anybody here.
 */

#define CHAT     PS_FOR(PS_OP_CHAT)
#define COMPLETE PS_FOR(PS_OP_COMPLETE)
#define EMBED    PS_FOR(PS_OP_EMBED)
#define TEXT     (CHAT | COMPLETE)
#define ALL      (CHAT | COMPLETE | EMBED)

#define TEMPERATURE_MAX     100 /* as the reader has it */
#define LEGACY_LOGPROBS_MAX 5
#define BELOW_ONE           (1 - DBL_EPSILON)

enum field {
    /* read */
    MESSAGES,
    PROMPT,
    INPUT,
    MAX_TOKENS,
    MAX_COMPLETION_TOKENS,
    TEMPERATURE,
    TOP_P,
    TOP_K,
    MIN_P,
    SEED,
    FREQUENCY_PENALTY,
    PRESENCE_PENALTY,
    STOP,
    N,
    LOGPROBS,
    TOP_LOGPROBS,
    RESPONSE_FORMAT,
    ENCODING_FORMAT,
    ECHO,
    BEST_OF,
    TOOLS,
    TOOL_CHOICE,
    FUNCTIONS,
    FUNCTION_CALL,
    MODALITIES,
    /* refused when they say anything */
    FIRST_REFUSED,
    DIMENSIONS = FIRST_REFUSED,
    SUFFIX,
    LOGIT_BIAS,
    AUDIO,
    WEB_SEARCH,
    MODERATION,
    /* left out */
    FIRST_DROPPED,
    REASONING_EFFORT = FIRST_DROPPED,
    VERBOSITY,
    USER,
    SAFETY_IDENTIFIER,
    METADATA,
    STORE,
    SERVICE_TIER,
    PREDICTION,
    PROMPT_CACHE_KEY,
    PARALLEL_TOOL_CALLS,
    FIELD_COUNT,
};
_Static_assert(FIELD_COUNT - FIRST_DROPPED <= PS_PROMPT_DROPPED, "room for all that is dropped");

static const struct {
    struct ps_slice name;
    unsigned operations; /* elsewhere the field is not known */
} fields[FIELD_COUNT] = {
    [MESSAGES] = {PS_SLICE_INIT("messages"), CHAT},
    [PROMPT] = {PS_SLICE_INIT("prompt"), COMPLETE},
    [INPUT] = {PS_SLICE_INIT("input"), EMBED},
    [MAX_TOKENS] = {PS_SLICE_INIT("max_tokens"), TEXT},
    [MAX_COMPLETION_TOKENS] = {PS_SLICE_INIT("max_completion_tokens"), CHAT},
    [TEMPERATURE] = {PS_SLICE_INIT("temperature"), TEXT},
    [TOP_P] = {PS_SLICE_INIT("top_p"), TEXT},
    [TOP_K] = {PS_SLICE_INIT("top_k"), TEXT},
    [MIN_P] = {PS_SLICE_INIT("min_p"), TEXT},
    [SEED] = {PS_SLICE_INIT("seed"), TEXT},
    [FREQUENCY_PENALTY] = {PS_SLICE_INIT("frequency_penalty"), TEXT},
    [PRESENCE_PENALTY] = {PS_SLICE_INIT("presence_penalty"), TEXT},
    [STOP] = {PS_SLICE_INIT("stop"), TEXT},
    [N] = {PS_SLICE_INIT("n"), TEXT},
    [LOGPROBS] = {PS_SLICE_INIT("logprobs"), TEXT},
    [TOP_LOGPROBS] = {PS_SLICE_INIT("top_logprobs"), CHAT},
    [RESPONSE_FORMAT] = {PS_SLICE_INIT("response_format"), TEXT},
    [ENCODING_FORMAT] = {PS_SLICE_INIT("encoding_format"), EMBED},
    [ECHO] = {PS_SLICE_INIT("echo"), COMPLETE},
    [BEST_OF] = {PS_SLICE_INIT("best_of"), COMPLETE},
    [TOOLS] = {PS_SLICE_INIT("tools"), CHAT},
    [TOOL_CHOICE] = {PS_SLICE_INIT("tool_choice"), CHAT},
    [FUNCTIONS] = {PS_SLICE_INIT("functions"), CHAT},
    [FUNCTION_CALL] = {PS_SLICE_INIT("function_call"), CHAT},
    [MODALITIES] = {PS_SLICE_INIT("modalities"), CHAT},
    [DIMENSIONS] = {PS_SLICE_INIT("dimensions"), EMBED},
    [SUFFIX] = {PS_SLICE_INIT("suffix"), COMPLETE},
    [LOGIT_BIAS] = {PS_SLICE_INIT("logit_bias"), TEXT},
    [AUDIO] = {PS_SLICE_INIT("audio"), CHAT},
    [WEB_SEARCH] = {PS_SLICE_INIT("web_search_options"), CHAT},
    [MODERATION] = {PS_SLICE_INIT("moderation"), CHAT},
    [REASONING_EFFORT] = {PS_SLICE_INIT("reasoning_effort"), CHAT},
    [VERBOSITY] = {PS_SLICE_INIT("verbosity"), CHAT},
    [USER] = {PS_SLICE_INIT("user"), ALL},
    [SAFETY_IDENTIFIER] = {PS_SLICE_INIT("safety_identifier"), CHAT},
    [METADATA] = {PS_SLICE_INIT("metadata"), CHAT},
    [STORE] = {PS_SLICE_INIT("store"), CHAT},
    [SERVICE_TIER] = {PS_SLICE_INIT("service_tier"), CHAT},
    [PREDICTION] = {PS_SLICE_INIT("prediction"), CHAT},
    [PROMPT_CACHE_KEY] = {PS_SLICE_INIT("prompt_cache_key"), CHAT},
    [PARALLEL_TOOL_CALLS] = {PS_SLICE_INIT("parallel_tool_calls"), CHAT},
};

struct openai_prompt {
    struct ps_prompt_build *build;
    struct ps_prompt *prompt;
    unsigned operation;
    struct ps_slice raw[FIELD_COUNT]; /* len 0: not given */
};

/* ---- the fields of the body ---- */

static int find_fields(struct openai_prompt *in, struct ps_slice body)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    ps_json_walk_init(&walk, body);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (int i = 0; i < FIELD_COUNT; i++) {
            if ((fields[i].operations & in->operation) == 0 ||
                !ps_json_key_is(key, fields[i].name)) {
                continue;
            }
            if (in->raw[i].len > 0 && i < FIRST_DROPPED) {
                return ps_prompt_twice(in->build, fields[i].name.ptr);
            }
            in->raw[i] = value;
            break;
        }
    }
    return 0;
}

static const char *name_of(enum field field)
{
    return fields[field].name.ptr; /* a literal */
}

/* Something that would have an effect: not null, false, "" or empty. */
static bool says_something(struct ps_slice raw)
{
    if (ps_raw_is(raw, '{') || ps_raw_is(raw, '[')) {
        return ps_raw_filled(raw);
    }
    return ps_raw_has(raw) && !ps_raw_is(raw, 'f') && !ps_raw_means(raw, "");
}

static int refuse(struct openai_prompt *in, enum field field)
{
    return ps_prompt_unsupported(in->build, name_of(field));
}

static int number(struct openai_prompt *in, enum field field, double low, double high, double *ret)
{
    return ps_prompt_number(in->build, name_of(field), in->raw[field], low, high, ret);
}

static int integer(struct openai_prompt *in, enum field field, int64_t low, int64_t high,
                   int64_t *ret)
{
    return ps_prompt_int(in->build, name_of(field), in->raw[field], low, high, ret);
}

/* ---- what cannot be done ---- */

/* A list of tools is harmless when none may be called. */
static int check_tools(struct openai_prompt *in, enum field list, enum field choice)
{
    bool none = ps_raw_means(in->raw[choice], "none");

    if (says_something(in->raw[list]) && !none) {
        return refuse(in, list);
    }
    if (says_something(in->raw[choice]) && !none && !ps_raw_means(in->raw[choice], "auto")) {
        return refuse(in, choice);
    }
    return 0;
}

static int check_modalities(struct openai_prompt *in)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_raw_has(in->raw[MODALITIES])) {
        return 0;
    }
    if (!ps_raw_is(in->raw[MODALITIES], '[')) {
        return ps_prompt_expected(in->build, "modalities", "an array of strings");
    }
    ps_json_walk_init(&walk, in->raw[MODALITIES]);
    while (ps_json_walk_element(&walk, &element)) {
        if (!ps_raw_means(element, "text")) {
            return refuse(in, MODALITIES);
        }
    }
    return 0;
}

static int check_one(struct openai_prompt *in, enum field field)
{
    int64_t count = 1;

    if (integer(in, field, 1, INT32_MAX, &count) != 0) {
        return -1;
    }
    if (count == 1) {
        return 0;
    }
    return ps_fault_set(in->build->fault, PS_FAULT_UNSUPPORTED_OPERATION, name_of(field),
                        "The model runs inside the gateway and gives one answer: %s must be 1.",
                        name_of(field));
}

static int check_supported(struct openai_prompt *in)
{
    bool echo = false;

    for (enum field i = FIRST_REFUSED; i < FIRST_DROPPED; i++) {
        if (says_something(in->raw[i])) {
            return refuse(in, i);
        }
    }
    if (check_tools(in, TOOLS, TOOL_CHOICE) != 0 ||
        check_tools(in, FUNCTIONS, FUNCTION_CALL) != 0 || check_modalities(in) != 0 ||
        check_one(in, N) != 0 || check_one(in, BEST_OF) != 0 ||
        ps_prompt_bool(in->build, "echo", in->raw[ECHO], &echo) != 0) {
        return -1;
    }
    return echo ? refuse(in, ECHO) : 0;
}

static void note_dropped(struct openai_prompt *in)
{
    for (int i = FIRST_DROPPED; i < FIELD_COUNT; i++) {
        if (says_something(in->raw[i])) {
            in->prompt->dropped[in->prompt->dropped_count++] = fields[i].name;
        }
    }
}

/* ---- how to answer ---- */

static int read_max_tokens(struct openai_prompt *in)
{
    int64_t *max_tokens = &in->prompt->max_tokens;
    int64_t old = -1;

    if (integer(in, MAX_TOKENS, 0, INT32_MAX, &old) != 0 ||
        integer(in, MAX_COMPLETION_TOKENS, 1, INT32_MAX, max_tokens) != 0) {
        return -1;
    }
    if (old == 0) { /* to score the prompt, which only makes sense with its echo */
        return ps_fault_set(in->build->fault, PS_FAULT_UNSUPPORTED_OPERATION, "max_tokens",
                            "The model runs inside the gateway, where max_tokens must be at "
                            "least 1.");
    }
    if (*max_tokens >= 0 && old >= 0 && *max_tokens != old) {
        return ps_fault_set(in->build->fault, PS_FAULT_BAD_FIELD, "max_tokens",
                            "max_tokens and max_completion_tokens must not differ.");
    }
    if (*max_tokens < 0) {
        *max_tokens = old;
    }
    return 0;
}

static int read_logprobs(struct openai_prompt *in)
{
    struct ps_prompt *prompt = in->prompt;

    if (in->operation == COMPLETE) {
        prompt->logprobs = ps_raw_has(in->raw[LOGPROBS]);
        return integer(in, LOGPROBS, 0, LEGACY_LOGPROBS_MAX, &prompt->top_logprobs);
    }
    if (ps_prompt_bool(in->build, "logprobs", in->raw[LOGPROBS], &prompt->logprobs) != 0 ||
        integer(in, TOP_LOGPROBS, 0, PS_PROMPT_TOP_LOGPROBS, &prompt->top_logprobs) != 0) {
        return -1;
    }
    if (prompt->top_logprobs > 0 && !prompt->logprobs) {
        return ps_fault_set(in->build->fault, PS_FAULT_BAD_FIELD, "top_logprobs",
                            "top_logprobs is only allowed when logprobs is true.");
    }
    return 0;
}

static int read_schema(struct openai_prompt *in, struct ps_slice raw)
{
    struct ps_prompt_member schema = {"schema", PS_SLICE_NONE};

    if (!ps_raw_is(raw, '{')) {
        return ps_prompt_expected(in->build, "response_format.json_schema", "an object");
    }
    if (ps_prompt_members(in->build, "response_format.json_schema", raw, &schema, 1) != 0) {
        return -1;
    }
    if (!ps_raw_is(schema.raw, '{')) {
        return ps_prompt_expected(in->build, "response_format.json_schema.schema", "an object");
    }
    in->prompt->format = PS_PROMPT_JSON_SCHEMA;
    in->prompt->schema = ps_prompt_keep(in->build, schema.raw);
    return in->prompt->schema.ptr != NULL ? 0 : ps_prompt_no_memory(in->build);
}

static int read_format(struct openai_prompt *in)
{
    struct ps_prompt_member members[] = {{"type", PS_SLICE_NONE}, {"json_schema", PS_SLICE_NONE}};

    if (!ps_raw_has(in->raw[RESPONSE_FORMAT])) {
        return 0;
    }
    if (!ps_raw_is(in->raw[RESPONSE_FORMAT], '{')) {
        return ps_prompt_expected(in->build, "response_format", "an object");
    }
    if (ps_prompt_members(in->build, "response_format", in->raw[RESPONSE_FORMAT], members, 2) !=
        0) {
        return -1;
    }
    if (ps_raw_means(members[0].raw, "json_schema")) {
        return read_schema(in, members[1].raw);
    }
    if (ps_raw_means(members[0].raw, "json_object")) {
        in->prompt->format = PS_PROMPT_JSON_OBJECT;
        return 0;
    }
    return ps_raw_means(members[0].raw, "text")
               ? 0
               : ps_prompt_expected(in->build, "response_format.type",
                                    "text, json_object or json_schema");
}

static int read_sampling(struct openai_prompt *in)
{
    struct ps_prompt *prompt = in->prompt;

    if (read_max_tokens(in) != 0 ||
        number(in, TEMPERATURE, 0, TEMPERATURE_MAX, &prompt->temperature) != 0 ||
        ps_prompt_top_p(in->build, in->raw[TOP_P]) != 0 ||
        integer(in, TOP_K, -1, INT32_MAX, &prompt->top_k) != 0 ||
        number(in, MIN_P, 0, 1, &prompt->min_p) != 0 ||
        number(in, FREQUENCY_PENALTY, -2, 2, &prompt->frequency_penalty) != 0 ||
        number(in, PRESENCE_PENALTY, -2, 2, &prompt->presence_penalty) != 0 ||
        ps_prompt_seed(in->build, in->raw[SEED]) != 0 ||
        ps_prompt_stop(in->build, in->raw[STOP]) != 0 || read_logprobs(in) != 0) {
        return -1;
    }
    if (prompt->top_k < 0 && ps_raw_has(in->raw[TOP_K])) {
        prompt->top_k = 0; /* other servers' way to turn it off */
    }
    if (prompt->min_p > BELOW_ONE) {
        prompt->min_p = BELOW_ONE; /* the same: only the likeliest is left */
    }
    return read_format(in);
}

/* ---- what to answer ---- */

static int read_text(struct openai_prompt *in)
{
    struct ps_slice raw = in->raw[PROMPT];
    struct ps_json_walk walk;
    size_t count = ps_raw_is(raw, '[') ? ps_prompt_count(raw) : 0;

    if (count > 0) {
        ps_json_walk_init(&walk, raw);
        (void)ps_json_walk_element(&walk, &raw);
        if (!ps_raw_is_string(raw)) {
            return ps_fault_set(in->build->fault, PS_FAULT_UNSUPPORTED_OPERATION, "prompt",
                                "The model runs inside the gateway and takes a prompt as text, "
                                "not as tokens.");
        }
        if (count > 1) {
            return ps_fault_set(in->build->fault, PS_FAULT_UNSUPPORTED_OPERATION, "prompt",
                                "The model runs inside the gateway and takes one prompt at a "
                                "time.");
        }
    }
    if (!ps_raw_is_string(raw)) {
        return ps_prompt_expected(in->build, "prompt", "a string");
    }
    if (ps_prompt_text(in->build, "prompt", raw, &in->prompt->text) != 0) {
        return -1;
    }
    return in->prompt->text.len > 0
               ? 0
               : ps_prompt_expected(in->build, "prompt", "a string that is not empty");
}

static int add_input(struct openai_prompt *in, struct ps_slice raw, struct ps_slice *ret)
{
    if (ps_raw_is(raw, '[') || (ps_raw_has(raw) && ps_json_int(raw, &(int64_t){0}))) {
        return ps_fault_set(in->build->fault, PS_FAULT_UNSUPPORTED_OPERATION, "input",
                            "The model runs inside the gateway and takes input as text, not as "
                            "tokens.");
    }
    if (!ps_raw_is_string(raw)) {
        return ps_prompt_expected(in->build, "input", "a string or an array of strings");
    }
    if (ps_prompt_text(in->build, "input", raw, ret) != 0) {
        return -1;
    }
    return ret->len > 0 ? 0
                        : ps_prompt_expected(in->build, "input",
                                             "a string or an array of strings, none empty");
}

static int read_encoding(struct openai_prompt *in)
{
    struct ps_slice raw = in->raw[ENCODING_FORMAT];

    in->prompt->base64 = ps_raw_means(raw, "base64");
    return !ps_raw_has(raw) || in->prompt->base64 || ps_raw_means(raw, "float")
               ? 0
               : ps_prompt_expected(in->build, "encoding_format", "float or base64");
}

static int read_inputs(struct openai_prompt *in)
{
    struct ps_slice raw = in->raw[INPUT];
    bool list = ps_raw_is(raw, '[');
    size_t count = list ? ps_prompt_count(raw) : 1;
    struct ps_json_walk walk;
    struct ps_slice element;
    struct ps_slice *inputs;

    ps_json_walk_init(&walk, list ? raw : PS_SLICE_NONE);
    if (count > PS_PROMPT_INPUTS) {
        /* A list of numbers is one text's tokens, however many. */
        return ps_json_walk_element(&walk, &element) && !ps_raw_is_string(element)
                   ? add_input(in, element, &element)
                   : ps_fault_set(in->build->fault, PS_FAULT_BAD_FIELD, "input",
                                  "input must hold no more than %d strings.", PS_PROMPT_INPUTS);
    }
    inputs = ps_arena_calloc(in->build->arena, (count + 1) * sizeof(*inputs));
    if (inputs == NULL) {
        return ps_prompt_no_memory(in->build);
    }
    in->prompt->inputs = inputs;
    if (!list || count == 0) {
        in->prompt->input_count = 1;
        return add_input(in, count == 0 ? PS_SLICE_NONE : raw, &inputs[0]);
    }
    while (ps_json_walk_element(&walk, &element)) {
        if (add_input(in, element, &inputs[in->prompt->input_count++]) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_body(struct openai_prompt *in, struct ps_slice body)
{
    if (find_fields(in, body) != 0 || check_supported(in) != 0) {
        return -1;
    }
    note_dropped(in);
    if (in->operation == EMBED) {
        return read_encoding(in) != 0 ? -1 : read_inputs(in);
    }
    if (read_sampling(in) != 0) {
        return -1;
    }
    return in->operation == CHAT ? ps_prompt_messages(in->build, PS_SLICE_NONE, in->raw[MESSAGES])
                                 : read_text(in);
}

/* ---- the body in one piece ---- */

/* Without the white space around the object; empty when there is none. */
static struct ps_slice trim(struct ps_slice body)
{
    while (body.len > 0 && body.ptr[0] != '{') {
        body.ptr++;
        body.len--;
    }
    while (body.len > 0 && body.ptr[body.len - 1] != '}') {
        body.len--;
    }
    return body;
}

int ps_openai_prompt(struct ps_prompt_build *build, const struct ps_request *request)
{
    struct openai_prompt in = {
        .build = build,
        .prompt = build->prompt,
        .operation = PS_FOR(request->operation),
    };
    size_t len = request->body->len;
    struct ps_slice body = ps_chain_run(request->body, 0, len);
    char *copy = NULL;
    int rc;

    if (ps_prompt_begin(build, len) != 0) {
        return -1;
    }
    if (body.len < len) {
        copy = ps_malloc(len);
        if (copy == NULL) {
            return ps_prompt_no_memory(build);
        }
        ps_chain_copy(request->body, 0, len, copy);
        body = ps_slice(copy, len);
    }
    rc = read_body(&in, trim(body));
    ps_free(copy);
    return rc;
}
