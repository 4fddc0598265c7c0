/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"
#include "openai_priv.h"

#include <stdio.h>

/*
 * Requests of OpenAI's API as neutral ones. The reader has looked at what we act on; here every
 * field is held to its type, and what has no place in the neutral form is noted, so that whoever
 * makes a body of it can pass it on or say that it was dropped.
 */

#define NUMBER_MAX       1e6
#define TOP_LOGPROBS_MAX 20

enum field {
    MODEL,
    STREAM,
    STREAM_OPTIONS,
    MESSAGES,
    PROMPT,
    INPUT,
    QUERY,
    DOCUMENTS,
    TOP_N,
    RETURN_DOCUMENTS,
    DIMENSIONS,
    ENCODING_FORMAT,
    INPUT_TYPE,
    SUFFIX,
    ECHO,
    BEST_OF,
    MAX_TOKENS,
    MAX_COMPLETION_TOKENS,
    TEMPERATURE,
    TOP_P,
    TOP_K,
    MIN_P,
    SEED,
    PRESENCE_PENALTY,
    FREQUENCY_PENALTY,
    REPETITION_PENALTY,
    N,
    LOGPROBS,
    TOP_LOGPROBS,
    LOGIT_BIAS,
    STOP,
    TOOLS,
    TOOL_CHOICE,
    PARALLEL_TOOL_CALLS,
    FUNCTIONS,
    FUNCTION_CALL,
    RESPONSE_FORMAT,
    REASONING_EFFORT,
    REASONING,
    THINKING,
    MODALITIES,
    AUDIO,
    USER,
    SAFETY_IDENTIFIER,
    METADATA,
    SERVICE_TIER,
    VERBOSITY,
    PROMPT_CACHE_KEY,
    CACHE_CONTROL,
    WEB_SEARCH_OPTIONS,
    STORE,
    FIELDS,
};

static const char *const names[FIELDS] = {
    [MODEL] = "model",
    [STREAM] = "stream",
    [STREAM_OPTIONS] = "stream_options",
    [MESSAGES] = "messages",
    [PROMPT] = "prompt",
    [INPUT] = "input",
    [QUERY] = "query",
    [DOCUMENTS] = "documents",
    [TOP_N] = "top_n",
    [RETURN_DOCUMENTS] = "return_documents",
    [DIMENSIONS] = "dimensions",
    [ENCODING_FORMAT] = "encoding_format",
    [INPUT_TYPE] = "input_type",
    [SUFFIX] = "suffix",
    [ECHO] = "echo",
    [BEST_OF] = "best_of",
    [MAX_TOKENS] = "max_tokens",
    [MAX_COMPLETION_TOKENS] = "max_completion_tokens",
    [TEMPERATURE] = "temperature",
    [TOP_P] = "top_p",
    [TOP_K] = "top_k",
    [MIN_P] = "min_p",
    [SEED] = "seed",
    [PRESENCE_PENALTY] = "presence_penalty",
    [FREQUENCY_PENALTY] = "frequency_penalty",
    [REPETITION_PENALTY] = "repetition_penalty",
    [N] = "n",
    [LOGPROBS] = "logprobs",
    [TOP_LOGPROBS] = "top_logprobs",
    [LOGIT_BIAS] = "logit_bias",
    [STOP] = "stop",
    [TOOLS] = "tools",
    [TOOL_CHOICE] = "tool_choice",
    [PARALLEL_TOOL_CALLS] = "parallel_tool_calls",
    [FUNCTIONS] = "functions",
    [FUNCTION_CALL] = "function_call",
    [RESPONSE_FORMAT] = "response_format",
    [REASONING_EFFORT] = "reasoning_effort",
    [REASONING] = "reasoning",
    [THINKING] = "thinking",
    [MODALITIES] = "modalities",
    [AUDIO] = "audio",
    [USER] = "user",
    [SAFETY_IDENTIFIER] = "safety_identifier",
    [METADATA] = "metadata",
    [SERVICE_TIER] = "service_tier",
    [VERBOSITY] = "verbosity",
    [PROMPT_CACHE_KEY] = "prompt_cache_key",
    [CACHE_CONTROL] = "cache_control",
    [WEB_SEARCH_OPTIONS] = "web_search_options",
    [STORE] = "store",
};
_Static_assert(FIELDS <= 64, "ps_build_members counts in 64 bits");

#define NOBODY "\xff" /* a name that no member has: it is not UTF-8 */

/* What an operation does not have counts as unknown there. */
static const unsigned operations[FIELDS] = {
    [MESSAGES] = PS_FOR(PS_OP_CHAT),
    [PROMPT] = PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_IMAGE),
    [INPUT] = PS_FOR(PS_OP_EMBED),
    [QUERY] = PS_FOR(PS_OP_RERANK),
    [DOCUMENTS] = PS_FOR(PS_OP_RERANK),
    [TOP_N] = PS_FOR(PS_OP_RERANK),
    [RETURN_DOCUMENTS] = PS_FOR(PS_OP_RERANK),
    [DIMENSIONS] = PS_FOR(PS_OP_EMBED),
    [ENCODING_FORMAT] = PS_FOR(PS_OP_EMBED),
    [INPUT_TYPE] = PS_FOR(PS_OP_EMBED),
    [SUFFIX] = PS_FOR(PS_OP_COMPLETE),
    [ECHO] = PS_FOR(PS_OP_COMPLETE),
    [BEST_OF] = PS_FOR(PS_OP_COMPLETE),
};

struct in {
    struct ps_neutral_build build;
    struct ps_neutral *neutral;
    struct ps_build_member members[FIELDS];
};

static struct ps_slice raw_of(const struct in *in, enum field field)
{
    return in->members[field].raw;
}

/* ---- numbers ---- */

static int number(struct in *in, enum field field, double low, double high, struct ps_slice *ret)
{
    return ps_build_number(&in->build, NULL, names[field], raw_of(in, field), low, high, ret);
}

static int integer(struct in *in, enum field field, int64_t low, int64_t high, struct ps_slice *ret)
{
    return ps_build_int(&in->build, NULL, names[field], raw_of(in, field), low, high, ret);
}

static int string(struct in *in, enum field field, struct ps_slice *ret)
{
    return ps_build_string(&in->build, NULL, names[field], raw_of(in, field), ret);
}

static int object(struct in *in, enum field field, struct ps_slice *ret)
{
    return ps_build_object(&in->build, NULL, names[field], raw_of(in, field), ret);
}

static int inputs(struct in *in, enum field field)
{
    return ps_build_inputs(&in->build, names[field], raw_of(in, field));
}

static int read_max_tokens(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;
    bool newer = raw_of(in, MAX_COMPLETION_TOKENS).len > 0;

    if (newer && raw_of(in, MAX_TOKENS).len > 0) {
        return ps_build_bad(&in->build, NULL, "max_tokens",
                            "must not be given together with max_completion_tokens.");
    }
    neutral->max_tokens_name = names[newer ? MAX_COMPLETION_TOKENS : MAX_TOKENS];
    return newer ? integer(in, MAX_COMPLETION_TOKENS, 1, INT32_MAX, &neutral->max_tokens)
                 : integer(in, MAX_TOKENS, neutral->operation == PS_OP_COMPLETE ? 0 : 1, INT32_MAX,
                           &neutral->max_tokens);
}

static int read_logprobs(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;

    if (neutral->operation == PS_OP_COMPLETE) {
        neutral->logprobs = raw_of(in, LOGPROBS).len > 0;
        return integer(in, LOGPROBS, 0, TOP_LOGPROBS_MAX, &neutral->top_logprobs);
    }
    if (ps_build_bool(&in->build, NULL, "logprobs", raw_of(in, LOGPROBS), &neutral->logprobs) !=
            0 ||
        integer(in, TOP_LOGPROBS, 0, TOP_LOGPROBS_MAX, &neutral->top_logprobs) != 0) {
        return -1;
    }
    return neutral->top_logprobs.len == 0 || neutral->logprobs
               ? 0
               : ps_build_bad(&in->build, NULL, "top_logprobs",
                              "is only allowed when logprobs is true.");
}

static int read_sampling(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;

    if (read_max_tokens(in) != 0 || number(in, TEMPERATURE, 0, 100, &neutral->temperature) != 0 ||
        number(in, TOP_P, 0, 1, &neutral->top_p) != 0 ||
        integer(in, TOP_K, -1, INT32_MAX, &neutral->top_k) != 0 ||
        number(in, MIN_P, 0, 1, &neutral->min_p) != 0 ||
        integer(in, SEED, INT64_MIN, INT64_MAX, &neutral->seed) != 0 ||
        number(in, PRESENCE_PENALTY, -2, 2, &neutral->presence_penalty) != 0 ||
        number(in, FREQUENCY_PENALTY, -2, 2, &neutral->frequency_penalty) != 0 ||
        number(in, REPETITION_PENALTY, 0, NUMBER_MAX, &neutral->repetition_penalty) != 0 ||
        integer(in, N, 1, 128, &neutral->n) != 0 ||
        integer(in, BEST_OF, 1, 128, &neutral->best_of) != 0 || read_logprobs(in) != 0 ||
        object(in, LOGIT_BIAS, &neutral->logit_bias) != 0) {
        return -1;
    }
    return ps_build_stops(&in->build, "stop", raw_of(in, STOP), true);
}

/* ---- tools ---- */

/* {"type":"function","function":{"name"}}, also flat. */
static int read_choice_name(struct in *in, const struct ps_neutral_at *at, struct ps_slice raw,
                            struct ps_slice *ret)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"function", PS_SLICE_NONE},
                                        {"custom", PS_SLICE_NONE},
                                        {"name", PS_SLICE_NONE}};
    struct ps_build_member name = {"name", PS_SLICE_NONE};
    struct ps_neutral_build *build = &in->build;
    struct ps_slice inner;
    size_t index;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_build_members(build, at, raw, members, 4) != 0) {
        return -1;
    }
    inner = members[1].raw.len > 0 ? members[1].raw : members[2].raw;
    if (ps_raw_begins(inner, '{') && ps_build_members(build, at, inner, &name, 1) != 0) {
        return -1;
    }
    *ret = name.raw.len > 0 ? name.raw : members[3].raw;
    if (!ps_raw_says(*ret)) {
        return ps_build_expected(build, at, NULL, "a choice that names a tool");
    }
    return ps_build_find_tool(build, at, NULL, *ret, &index);
}

static int read_allowed(struct in *in, const struct ps_neutral_at *at, struct ps_slice raw)
{
    static const char *const modes[] = {"auto", "required", NULL};
    struct ps_build_member members[] = {{"mode", PS_SLICE_NONE}, {"tools", PS_SLICE_NONE}};
    struct ps_neutral_tool *tools = (struct ps_neutral_tool *)(uintptr_t)in->neutral->tools;
    struct ps_neutral_build *build = &in->build;
    struct ps_neutral_at each = {at, "tools", 0};
    struct ps_json_walk walk;
    struct ps_slice element;
    struct ps_slice name;
    size_t index;
    int mode = 0;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_build_members(build, at, raw, members, 2) != 0 ||
        ps_build_word(build, at, "mode", members[0].raw, modes, &mode) != 0) {
        return -1;
    }
    if (!ps_raw_begins(members[1].raw, '[') ||
        ps_build_count(members[1].raw) > in->neutral->tool_count) {
        return ps_build_expected(build, at, "tools", "an array of tools of this request");
    }
    in->neutral->tool_choice = mode == 0 ? PS_CHOICE_AUTO : PS_CHOICE_ANY;
    in->neutral->tools_restricted = true;
    for (size_t i = 0; i < in->neutral->tool_count; i++) {
        tools[i].excluded = true;
    }
    ps_json_walk_init(&walk, members[1].raw);
    for (; ps_json_walk_element(&walk, &element); each.index++) {
        if (read_choice_name(in, &each, element, &name) != 0 ||
            ps_build_find_tool(build, &each, NULL, name, &index) != 0) {
            return -1;
        }
        tools[index].excluded = false;
    }
    return 0;
}

static int read_choice_object(struct in *in, struct ps_slice raw)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"allowed_tools", PS_SLICE_NONE},
                                        {"function", PS_SLICE_NONE},
                                        {"custom", PS_SLICE_NONE},
                                        {"name", PS_SLICE_NONE}};
    struct ps_neutral_at *at = ps_build_array(&in->build, 2, sizeof(*at));

    if (at == NULL) {
        return -1;
    }
    at[0] = (struct ps_neutral_at){NULL, "tool_choice", PS_NEUTRAL_NO_INDEX};
    at[1] = (struct ps_neutral_at){at, "allowed_tools", PS_NEUTRAL_NO_INDEX};
    if (ps_build_members(&in->build, at, raw, members, 5) != 0) {
        return -1;
    }
    if (ps_raw_word(members[0].raw, "allowed_tools")) {
        return read_allowed(in, &at[1], members[1].raw);
    }
    in->neutral->tool_choice = PS_CHOICE_NAMED;
    return read_choice_name(in, at, raw, &in->neutral->tool_name);
}

static int read_choice(struct in *in)
{
    static const char *const words[] = {"auto", "none", "required", "any", NULL};
    static const enum ps_tool_choice choices[] = {PS_CHOICE_AUTO, PS_CHOICE_NONE, PS_CHOICE_ANY,
                                                  PS_CHOICE_ANY};
    struct ps_slice raw = raw_of(in, TOOL_CHOICE);
    int word = -1;

    if (raw.len == 0) {
        return 0;
    }
    if (ps_raw_begins(raw, '{')) {
        return read_choice_object(in, raw);
    }
    if (ps_build_word(&in->build, NULL, "tool_choice", raw, words, &word) != 0) {
        return -1;
    }
    in->neutral->tool_choice = choices[word];
    if (choices[word] == PS_CHOICE_ANY && in->neutral->tool_count == 0) {
        return ps_build_bad(&in->build, NULL, "tool_choice", "needs tools.");
    }
    return 0;
}

/* ---- the shape of the answer ---- */

static int read_schema(struct in *in, struct ps_slice raw)
{
    static const struct ps_neutral_at outer = {NULL, "response_format", PS_NEUTRAL_NO_INDEX};
    static const struct ps_neutral_at at = {&outer, "json_schema", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"name", PS_SLICE_NONE},
                                        {"description", PS_SLICE_NONE},
                                        {"schema", PS_SLICE_NONE},
                                        {"strict", PS_SLICE_NONE}};
    struct ps_neutral *neutral = in->neutral;
    struct ps_neutral_build *build = &in->build;

    if (raw.len == 0) {
        return ps_build_missing(build, &outer, "json_schema");
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &outer, "json_schema", "an object");
    }
    neutral->format = PS_FORMAT_JSON_SCHEMA;
    if (ps_build_members(build, &at, raw, members, 4) != 0 ||
        ps_build_string(build, &at, "name", members[0].raw, &neutral->schema_name) != 0 ||
        ps_build_string(build, &at, "description", members[1].raw, &neutral->schema_description) !=
            0 ||
        ps_build_schema(build, &at, "schema", members[2].raw, false, &neutral->schema) != 0 ||
        ps_build_tri(build, &at, "strict", members[3].raw, &neutral->schema_strict) != 0) {
        return -1;
    }
    return neutral->schema.len > 0 ? 0 : ps_build_missing(build, &at, "schema");
}

static int read_format(struct in *in)
{
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    static const struct ps_neutral_at at = {NULL, "response_format", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE}, {"json_schema", PS_SLICE_NONE}, {"schema", PS_SLICE_NONE}};
    struct ps_slice raw = raw_of(in, RESPONSE_FORMAT);
    struct ps_neutral_build *build = &in->build;
    int type = -1;

    if (raw.len == 0) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, NULL, "response_format", "an object");
    }
    if (ps_build_members(build, &at, raw, members, 3) != 0 ||
        ps_build_word(build, &at, "type", members[0].raw, types, &type) != 0) {
        return -1;
    }
    if (type < 0) {
        return ps_build_missing(build, &at, "type");
    }
    if (type == 2) {
        return read_schema(in, members[1].raw);
    }
    if (members[1].raw.len > 0) {
        return ps_build_bad(build, &at, "json_schema", "needs the type json_schema.");
    }
    in->neutral->format = type == 0 ? PS_FORMAT_TEXT : PS_FORMAT_JSON_OBJECT;
    if (type == 1 && members[2].raw.len > 0) { /* as llama.cpp and others take it */
        in->neutral->format = PS_FORMAT_JSON_SCHEMA;
        return ps_build_schema(build, &at, "schema", members[2].raw, false, &in->neutral->schema);
    }
    return 0;
}

/* ---- reasoning ---- */

static int read_budget(struct in *in, const struct ps_neutral_at *at, const char *name,
                       struct ps_slice raw)
{
    struct ps_slice number = PS_SLICE_NONE;

    if (ps_build_int(&in->build, at, name, raw, 0, INT32_MAX, &number) != 0) {
        return -1;
    }
    if (number.len > 0) {
        (void)ps_json_int(number, &in->neutral->thinking_budget);
    }
    return 0;
}

/* {"effort","max_tokens","exclude","enabled"}, as aggregators have it. */
static int read_reasoning(struct in *in)
{
    static const struct ps_neutral_at at = {NULL, "reasoning", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"effort", PS_SLICE_NONE},
                                        {"max_tokens", PS_SLICE_NONE},
                                        {"exclude", PS_SLICE_NONE},
                                        {"enabled", PS_SLICE_NONE},
                                        {"summary", PS_SLICE_NONE}};
    struct ps_neutral *neutral = in->neutral;
    struct ps_neutral_build *build = &in->build;
    enum ps_tri exclude = PS_TRI_NONE;
    enum ps_tri enabled = PS_TRI_NONE;

    if (!ps_raw_begins(raw_of(in, REASONING), '{')) {
        return ps_build_expected(build, NULL, "reasoning", "an object");
    }
    if (ps_build_members(build, &at, raw_of(in, REASONING), members, 5) != 0 ||
        ps_build_effort(build, &at, "effort", members[0].raw, &neutral->effort) != 0 ||
        read_budget(in, &at, "max_tokens", members[1].raw) != 0 ||
        ps_build_tri(build, &at, "exclude", members[2].raw, &exclude) != 0 ||
        ps_build_tri(build, &at, "enabled", members[3].raw, &enabled) != 0) {
        return -1;
    }
    if (exclude != PS_TRI_NONE) {
        neutral->show_reasoning = exclude == PS_TRI_YES ? PS_TRI_NO : PS_TRI_YES;
    }
    if (enabled != PS_TRI_NONE) {
        neutral->thinking = enabled == PS_TRI_YES ? PS_THINKING_ON : PS_THINKING_OFF;
    }
    return 0;
}

/* {"type":"enabled","budget_tokens"}, as several providers have it. */
static int read_thinking(struct in *in)
{
    static const char *const types[] = {"enabled", "disabled", "adaptive", "auto", NULL};
    static const enum ps_thinking means[] = {PS_THINKING_ON, PS_THINKING_OFF, PS_THINKING_ADAPTIVE,
                                             PS_THINKING_ADAPTIVE};
    static const struct ps_neutral_at at = {NULL, "thinking", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE}, {"budget_tokens", PS_SLICE_NONE}};
    int type = -1;

    if (!ps_raw_begins(raw_of(in, THINKING), '{')) {
        return ps_build_expected(&in->build, NULL, "thinking", "an object");
    }
    if (ps_build_members(&in->build, &at, raw_of(in, THINKING), members, 2) != 0 ||
        ps_build_word(&in->build, &at, "type", members[0].raw, types, &type) != 0 ||
        read_budget(in, &at, "budget_tokens", members[1].raw) != 0) {
        return -1;
    }
    in->neutral->thinking = type >= 0 ? means[type] : PS_THINKING_NONE_GIVEN;
    return 0;
}

static int read_thoughts(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;

    if (ps_build_effort(&in->build, NULL, "reasoning_effort", raw_of(in, REASONING_EFFORT),
                        &neutral->effort) != 0) {
        return -1;
    }
    if (raw_of(in, REASONING).len > 0 && raw_of(in, REASONING_EFFORT).len > 0) {
        return ps_build_bad(&in->build, NULL, "reasoning",
                            "must not be given together with reasoning_effort.");
    }
    if (raw_of(in, REASONING).len > 0 && read_reasoning(in) != 0) {
        return -1;
    }
    return raw_of(in, THINKING).len > 0 ? read_thinking(in) : 0;
}

/* ---- the rest of a chat ---- */

static int check_modalities(struct in *in)
{
    struct ps_slice raw = raw_of(in, MODALITIES);
    struct ps_json_walk walk;
    struct ps_slice element;

    if (raw_of(in, AUDIO).len > 0) {
        return ps_build_unsupported(&in->build, NULL, "audio");
    }
    if (raw.len == 0) {
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(&in->build, NULL, "modalities", "an array of strings");
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &element)) {
        if (!ps_raw_word(element, "text")) {
            return ps_build_unsupported(&in->build, NULL, "modalities");
        }
    }
    return 0;
}

/* Either what there was before tools, or tools. */
static int check_legacy(struct in *in)
{
    static const enum field newer[] = {TOOLS, TOOL_CHOICE, PARALLEL_TOOL_CALLS};
    enum field older = raw_of(in, FUNCTIONS).len > 0 ? FUNCTIONS : FUNCTION_CALL;
    char why[64];

    if (raw_of(in, older).len == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
        if (raw_of(in, newer[i]).len > 0) {
            (void)snprintf(why, sizeof(why), "must not be given together with %s.",
                           names[newer[i]]);
            return ps_build_bad(&in->build, NULL, names[older], why);
        }
    }
    return ps_build_openai_functions(&in->build, raw_of(in, FUNCTIONS), raw_of(in, FUNCTION_CALL));
}

static int read_about(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;

    if (string(in, USER, &neutral->user) != 0 ||
        string(in, SAFETY_IDENTIFIER, &neutral->user) != 0 ||
        object(in, METADATA, &neutral->metadata) != 0 ||
        string(in, SERVICE_TIER, &neutral->service_tier) != 0 ||
        string(in, VERBOSITY, &neutral->verbosity) != 0 ||
        string(in, PROMPT_CACHE_KEY, &neutral->cache_key) != 0 ||
        object(in, CACHE_CONTROL, &neutral->cache_control) != 0 ||
        object(in, WEB_SEARCH_OPTIONS, &neutral->web_search) != 0) {
        return -1;
    }
    return ps_build_tri(&in->build, NULL, "store", raw_of(in, STORE), &neutral->store);
}

static int read_chat(struct in *in)
{
    if (check_legacy(in) != 0 || check_modalities(in) != 0 ||
        ps_build_openai_messages(&in->build, PS_SLICE_NONE, raw_of(in, MESSAGES)) != 0 ||
        ps_build_openai_tools(&in->build, raw_of(in, TOOLS)) != 0 || read_choice(in) != 0) {
        return -1;
    }
    return ps_build_tri(&in->build, NULL, "parallel_tool_calls", raw_of(in, PARALLEL_TOOL_CALLS),
                        &in->neutral->parallel_calls);
}

/* ---- texts ---- */

static int read_completion(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;

    if (inputs(in, PROMPT) != 0 || string(in, SUFFIX, &neutral->suffix) != 0) {
        return -1;
    }
    return ps_build_bool(&in->build, NULL, "echo", raw_of(in, ECHO), &neutral->echo);
}

static int read_embedding(struct in *in)
{
    static const char *const formats[] = {"float", "base64", NULL};
    struct ps_neutral *neutral = in->neutral;
    int format = 0;

    if (inputs(in, INPUT) != 0 ||
        integer(in, DIMENSIONS, 1, INT32_MAX, &neutral->dimensions) != 0 ||
        string(in, INPUT_TYPE, &neutral->input_type) != 0 ||
        ps_build_word(&in->build, NULL, "encoding_format", raw_of(in, ENCODING_FORMAT), formats,
                      &format) != 0) {
        return -1;
    }
    neutral->base64 = format == 1;
    return 0;
}

static int read_rerank(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;

    if (raw_of(in, QUERY).len == 0) {
        return ps_build_missing(&in->build, NULL, "query");
    }
    if (!ps_raw_begins(raw_of(in, DOCUMENTS), '[')) {
        return ps_build_expected(&in->build, NULL, "documents", "an array of documents");
    }
    if (string(in, QUERY, &neutral->query) != 0 || inputs(in, DOCUMENTS) != 0 ||
        integer(in, TOP_N, 1, INT32_MAX, &neutral->top_n) != 0) {
        return -1;
    }
    return ps_build_tri(&in->build, NULL, "return_documents", raw_of(in, RETURN_DOCUMENTS),
                        &neutral->return_documents);
}

/* ---- the whole ---- */

static int read_operation(struct in *in)
{
    switch (in->neutral->operation) {
    case PS_OP_CHAT:
        return read_chat(in);
    case PS_OP_COMPLETE:
        return read_completion(in);
    case PS_OP_EMBED:
        return read_embedding(in);
    case PS_OP_RERANK:
        return read_rerank(in);
    case PS_OP_IMAGE:
        return inputs(in, PROMPT) != 0 ? -1 : integer(in, N, 1, 10, &in->neutral->n);
    case PS_OP_COUNT_TOKENS:
    case PS_OP_PASS:
    case PS_OP_MODELS:
    case PS_OP_COUNT:
    default:
        return ps_build_unsupported(&in->build, NULL, NULL);
    }
}

int ps_openai_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    struct in in = {.neutral = ret};
    bool answers = request->operation == PS_OP_CHAT || request->operation == PS_OP_COMPLETE;

    for (int i = 0; i < FIELDS; i++) {
        in.members[i].name = operations[i] == 0 || (operations[i] & PS_FOR(request->operation)) != 0
                                 ? names[i]
                                 : NOBODY;
    }
    if (ps_build_begin(&in.build, request, arena, ret, ret_fault) != 0 ||
        ps_build_members(&in.build, NULL, in.build.body, in.members, FIELDS) != 0 ||
        read_operation(&in) != 0 || read_about(&in) != 0) {
        return -1;
    }
    if (answers && (read_sampling(&in) != 0 || read_format(&in) != 0 || read_thoughts(&in) != 0)) {
        return -1;
    }
    ps_build_end(&in.build);
    return 0;
}
