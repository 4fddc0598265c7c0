/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* Requests as Cohere's clients send them, in the neutral form. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- chat: tools ---- */

/* The tools are the build's own until it has ended. */
static void make_strict(struct ps_neutral *neutral)
{
    struct ps_neutral_tool *tools = (struct ps_neutral_tool *)(uintptr_t)neutral->tools;

    for (size_t i = 0; i < neutral->tool_count; i++) {
        tools[i].strict = PS_TRI_YES;
    }
}

static int read_tools(struct ps_neutral_build *build, struct ps_slice tools, struct ps_slice strict,
                      struct ps_slice choice)
{
    static const char *const words[] = {"REQUIRED", "NONE", NULL};
    struct ps_neutral *neutral = build->neutral;
    bool all_strict = false;
    int word = -1;

    if (ps_build_openai_tools(build, tools) != 0 ||
        ps_build_bool(build, NULL, "strict_tools", strict, &all_strict) != 0 ||
        ps_build_word(build, NULL, "tool_choice", choice, words, &word) != 0) {
        return -1;
    }
    if (all_strict) {
        make_strict(neutral);
    }
    if (word == 0 && neutral->tool_count == 0) {
        return ps_build_bad(build, NULL, "tool_choice", "asks for a tool, but tools has none.");
    }
    if (word >= 0) {
        neutral->tool_choice = word == 0 ? PS_CHOICE_ANY : PS_CHOICE_NONE;
    }
    return 0;
}

/* ---- chat: how to answer ---- */

static int read_format(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const struct ps_neutral_at at = {NULL, "response_format", PS_NEUTRAL_NO_INDEX};
    static const char *const types[] = {"text", "json_object", NULL};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE}, {"json_schema", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;
    int type = -1;

    if (ps_build_object(build, NULL, "response_format", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_build_members(build, &at, raw, members, COUNT(members)) != 0 ||
        ps_build_word(build, &at, "type", members[0].raw, types, &type) != 0 ||
        ps_build_schema(build, &at, "json_schema", members[1].raw, false, &neutral->schema) != 0) {
        return -1;
    }
    if (type < 0) {
        return ps_build_missing(build, &at, "type");
    }
    if (type == 0 && neutral->schema.len > 0) {
        return ps_build_bad(build, &at, "json_schema", "needs the type json_object.");
    }
    neutral->format = type == 0                 ? PS_FORMAT_TEXT
                      : neutral->schema.len > 0 ? PS_FORMAT_JSON_SCHEMA
                                                : PS_FORMAT_JSON_OBJECT;
    return 0;
}

static int read_thinking(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const struct ps_neutral_at at = {NULL, "thinking", PS_NEUTRAL_NO_INDEX};
    static const char *const types[] = {"disabled", "enabled", NULL};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE}, {"token_budget", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice budget = PS_SLICE_NONE;
    int type = -1;

    if (ps_build_object(build, NULL, "thinking", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_build_members(build, &at, raw, members, COUNT(members)) != 0 ||
        ps_build_word(build, &at, "type", members[0].raw, types, &type) != 0 ||
        ps_build_int(build, &at, "token_budget", members[1].raw, 1, INT32_MAX, &budget) != 0) {
        return -1;
    }
    if (type < 0) {
        return ps_build_missing(build, &at, "type");
    }
    neutral->thinking = type == 0 ? PS_THINKING_OFF : PS_THINKING_ON;
    if (type == 0) {
        return 0;
    }
    neutral->show_reasoning = PS_TRI_YES;
    if (budget.len > 0) {
        (void)ps_json_int(budget, &neutral->thinking_budget);
    }
    return 0;
}

enum {
    MODEL,
    STREAM,
    MESSAGES,
    TOOLS,
    STRICT_TOOLS,
    TOOL_CHOICE,
    DOCUMENTS,
    CITATION_OPTIONS,
    RESPONSE_FORMAT,
    MAX_TOKENS,
    STOP_SEQUENCES,
    TEMPERATURE,
    SEED,
    FREQUENCY_PENALTY,
    PRESENCE_PENALTY,
    K,
    P,
    LOGPROBS,
    THINKING,
    CHAT_FIELDS,
};

static int read_sampling(struct ps_neutral_build *build, const struct ps_build_member *fields)
{
    struct ps_neutral *neutral = build->neutral;
    int64_t k = 0;

    neutral->max_tokens_name = "max_tokens";
    if (ps_build_int(build, NULL, "max_tokens", fields[MAX_TOKENS].raw, 1, INT32_MAX,
                     &neutral->max_tokens) != 0 ||
        ps_build_number(build, NULL, "temperature", fields[TEMPERATURE].raw, 0, 1,
                        &neutral->temperature) != 0 ||
        ps_build_int(build, NULL, "seed", fields[SEED].raw, 0, INT64_MAX, &neutral->seed) != 0 ||
        ps_build_number(build, NULL, "frequency_penalty", fields[FREQUENCY_PENALTY].raw, 0, 1,
                        &neutral->frequency_penalty) != 0 ||
        ps_build_number(build, NULL, "presence_penalty", fields[PRESENCE_PENALTY].raw, 0, 1,
                        &neutral->presence_penalty) != 0 ||
        ps_build_int(build, NULL, "k", fields[K].raw, 0, 500, &neutral->top_k) != 0 ||
        ps_build_number(build, NULL, "p", fields[P].raw, 0, 1, &neutral->top_p) != 0 ||
        ps_build_bool(build, NULL, "logprobs", fields[LOGPROBS].raw, &neutral->logprobs) != 0) {
        return -1;
    }
    if (neutral->top_k.len > 0 && ps_json_int(neutral->top_k, &k) && k == 0) {
        neutral->top_k = PS_SLICE_NONE; /* off, as when it is not given */
    }
    return ps_build_stops(build, "stop_sequences", fields[STOP_SEQUENCES].raw, false);
}

static int read_chat(struct ps_neutral_build *build)
{
    struct ps_build_member fields[CHAT_FIELDS] = {
        [MODEL] = {"model", PS_SLICE_NONE},
        [STREAM] = {"stream", PS_SLICE_NONE},
        [MESSAGES] = {"messages", PS_SLICE_NONE},
        [TOOLS] = {"tools", PS_SLICE_NONE},
        [STRICT_TOOLS] = {"strict_tools", PS_SLICE_NONE},
        [TOOL_CHOICE] = {"tool_choice", PS_SLICE_NONE},
        [DOCUMENTS] = {"documents", PS_SLICE_NONE},
        [CITATION_OPTIONS] = {"citation_options", PS_SLICE_NONE},
        [RESPONSE_FORMAT] = {"response_format", PS_SLICE_NONE},
        [MAX_TOKENS] = {"max_tokens", PS_SLICE_NONE},
        [STOP_SEQUENCES] = {"stop_sequences", PS_SLICE_NONE},
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [SEED] = {"seed", PS_SLICE_NONE},
        [FREQUENCY_PENALTY] = {"frequency_penalty", PS_SLICE_NONE},
        [PRESENCE_PENALTY] = {"presence_penalty", PS_SLICE_NONE},
        [K] = {"k", PS_SLICE_NONE},
        [P] = {"p", PS_SLICE_NONE},
        [LOGPROBS] = {"logprobs", PS_SLICE_NONE},
        [THINKING] = {"thinking", PS_SLICE_NONE},
    };

    if (ps_build_members(build, NULL, build->body, fields, CHAT_FIELDS) != 0 ||
        ps_build_openai_messages(build, PS_SLICE_NONE, fields[MESSAGES].raw) != 0 ||
        ps_cohere_read_documents(build, fields[DOCUMENTS].raw, fields[CITATION_OPTIONS].raw) != 0 ||
        read_tools(build, fields[TOOLS].raw, fields[STRICT_TOOLS].raw, fields[TOOL_CHOICE].raw) !=
            0 ||
        read_sampling(build, fields) != 0) {
        return -1;
    }
    return read_format(build, fields[RESPONSE_FORMAT].raw) != 0
               ? -1
               : read_thinking(build, fields[THINKING].raw);
}

/* ---- embed ---- */

enum {
    EMBED_MODEL,
    TEXTS,
    IMAGES,
    INPUTS,
    INPUT_TYPE,
    EMBEDDING_TYPES,
    OUTPUT_DIMENSION,
    EMBED_FIELDS,
};

/* One of the mixed inputs, when it is a single text: {"content":[{"type":"text","text":…}]}. */
static int read_mixed(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice raw, struct ps_slice *ret)
{
    struct ps_build_member content = {"content", PS_SLICE_NONE};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE}, {"text", PS_SLICE_NONE}};
    struct ps_slice part;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_build_members(build, at, raw, &content, 1) != 0) {
        return -1;
    }
    part = ps_raw_first(content.raw);
    if (!ps_raw_begins(content.raw, '[') || !ps_raw_begins(part, '{')) {
        return ps_build_expected(build, at, "content", "an array of objects that is not empty");
    }
    if (ps_build_count(content.raw) > 1 || !ps_raw_word(ps_raw_member(part, "type"), "text")) {
        return ps_build_unsupported(build, at, "content"); /* images, or both in one vector */
    }
    if (ps_build_members(build, at, part, members, COUNT(members)) != 0) {
        return -1;
    }
    *ret = members[1].raw;
    return ps_raw_says(*ret) ? 0
                             : ps_build_expected(build, at, "text",
                                                 "a string that says "
                                                 "something");
}

static int read_inputs(struct ps_neutral_build *build, struct ps_slice raw)
{
    size_t count = ps_raw_begins(raw, '[') ? ps_build_count(raw) : 0;
    struct ps_neutral_at at = {NULL, "inputs", 0};
    struct ps_slice *texts;
    struct ps_json_walk walk;
    struct ps_slice element;

    if (count == 0 || count > PS_NEUTRAL_INPUTS) {
        return ps_build_expected(build, NULL, "inputs", "an array of 1 to 4096 objects");
    }
    texts = ps_build_array(build, count, sizeof(*texts));
    if (texts == NULL) {
        return -1;
    }
    ps_json_walk_init(&walk, raw);
    for (; ps_json_walk_element(&walk, &element); at.index++) {
        if (read_mixed(build, &at, element, &texts[at.index]) != 0) {
            return -1;
        }
    }
    build->neutral->inputs = texts;
    build->neutral->input_count = count;
    build->neutral->input_name = "inputs";
    return 0;
}

/* What others give is floats: of them only the same bytes can be made. */
static int check_types(struct ps_neutral_build *build, struct ps_slice raw)
{
    struct ps_neutral_at at = {NULL, "embedding_types", 0};
    struct ps_json_walk walk;
    struct ps_slice type;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, NULL, "embedding_types", "an array of strings");
    }
    ps_json_walk_init(&walk, raw);
    for (; ps_json_walk_element(&walk, &type); at.index++) {
        if (!ps_raw_begins(type, '"')) {
            return ps_build_expected(build, &at, NULL, "a string");
        }
        if (!ps_raw_word(type, "float") && !ps_raw_word(type, "base64")) {
            return ps_build_unsupported(build, &at, NULL);
        }
    }
    return 0;
}

static int read_embed(struct ps_neutral_build *build)
{
    struct ps_build_member fields[EMBED_FIELDS] = {
        [EMBED_MODEL] = {"model", PS_SLICE_NONE},
        [TEXTS] = {"texts", PS_SLICE_NONE},
        [IMAGES] = {"images", PS_SLICE_NONE},
        [INPUTS] = {"inputs", PS_SLICE_NONE},
        [INPUT_TYPE] = {"input_type", PS_SLICE_NONE},
        [EMBEDDING_TYPES] = {"embedding_types", PS_SLICE_NONE},
        [OUTPUT_DIMENSION] = {"output_dimension", PS_SLICE_NONE},
    };
    struct ps_neutral *neutral = build->neutral;

    if (ps_build_members(build, NULL, build->body, fields, EMBED_FIELDS) != 0) {
        return -1;
    }
    if (ps_raw_given(fields[IMAGES].raw)) {
        return ps_build_unsupported(build, NULL, "images");
    }
    if (ps_raw_given(fields[INPUTS].raw) && ps_raw_given(fields[TEXTS].raw)) {
        return ps_build_bad(build, NULL, "inputs", "must not be given together with texts.");
    }
    if (ps_raw_begins(fields[TEXTS].raw, '"')) {
        return ps_build_expected(build, NULL, "texts", "an array of strings");
    }
    if ((ps_raw_given(fields[INPUTS].raw)
             ? read_inputs(build, fields[INPUTS].raw)
             : ps_build_inputs(build, "texts", fields[TEXTS].raw)) != 0 ||
        ps_build_string(build, NULL, "input_type", fields[INPUT_TYPE].raw, &neutral->input_type) !=
            0 ||
        ps_build_int(build, NULL, "output_dimension", fields[OUTPUT_DIMENSION].raw, 1, INT32_MAX,
                     &neutral->dimensions) != 0) {
        return -1;
    }
    return check_types(build, fields[EMBEDDING_TYPES].raw);
}

/* ---- rerank ---- */

static int read_rerank(struct ps_neutral_build *build)
{
    struct ps_build_member fields[] = {{"model", PS_SLICE_NONE},
                                       {"query", PS_SLICE_NONE},
                                       {"documents", PS_SLICE_NONE},
                                       {"top_n", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;

    if (ps_build_members(build, NULL, build->body, fields, COUNT(fields)) != 0 ||
        ps_build_string(build, NULL, "query", fields[1].raw, &neutral->query) != 0 ||
        ps_build_int(build, NULL, "top_n", fields[3].raw, 1, INT32_MAX, &neutral->top_n) != 0) {
        return -1;
    }
    if (neutral->query.len == 0) {
        return ps_build_missing(build, NULL, "query");
    }
    if (!ps_raw_begins(fields[2].raw, '[')) {
        return ps_build_expected(build, NULL, "documents", "an array of documents");
    }
    return ps_build_inputs(build, "documents", fields[2].raw);
}

/* ---- the whole ---- */

static int read_operation(struct ps_neutral_build *build)
{
    switch (build->request->operation) {
    case PS_OP_CHAT:
        return read_chat(build);
    case PS_OP_EMBED:
        return read_embed(build);
    case PS_OP_RERANK:
        return read_rerank(build);
    case PS_OP_COMPLETE:
    case PS_OP_IMAGE:
    case PS_OP_COUNT_TOKENS:
    case PS_OP_PASS:
    case PS_OP_MODELS:
    case PS_OP_COUNT:
    default:
        return ps_build_unsupported(build, NULL, NULL);
    }
}

int ps_cohere_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    struct ps_neutral_build build;

    if (ps_build_begin(&build, request, arena, ret, ret_fault) != 0 ||
        read_operation(&build) != 0) {
        return -1;
    }
    ps_build_end(&build);
    return 0;
}
