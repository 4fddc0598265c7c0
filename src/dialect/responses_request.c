/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

#include "penstock/base/mem.h"

/*
 * A request of the Responses API in the neutral form. What only says how the answer is kept and
 * shown (store, metadata, the id of the response before) is not the target's: the gateway itself
 * does that, and the answer repeats it.
 */

static const char *const names[PS_RESPONSES_MEMBERS] = {
    [PS_RESPONSES_MODEL] = "model",
    [PS_RESPONSES_STREAM] = "stream",
    [PS_RESPONSES_STREAM_OPTIONS] = "stream_options",
    [PS_RESPONSES_INPUT] = "input",
    [PS_RESPONSES_INSTRUCTIONS] = "instructions",
    [PS_RESPONSES_PREVIOUS] = "previous_response_id",
    [PS_RESPONSES_CONVERSATION] = "conversation",
    [PS_RESPONSES_PROMPT] = "prompt",
    [PS_RESPONSES_INCLUDE] = "include",
    [PS_RESPONSES_MAX_OUTPUT_TOKENS] = "max_output_tokens",
    [PS_RESPONSES_MAX_TOOL_CALLS] = "max_tool_calls",
    [PS_RESPONSES_TOOLS] = "tools",
    [PS_RESPONSES_TOOL_CHOICE] = "tool_choice",
    [PS_RESPONSES_PARALLEL] = "parallel_tool_calls",
    [PS_RESPONSES_STORE] = "store",
    [PS_RESPONSES_BACKGROUND] = "background",
    [PS_RESPONSES_TEXT] = "text",
    [PS_RESPONSES_REASONING] = "reasoning",
    [PS_RESPONSES_TRUNCATION] = "truncation",
    [PS_RESPONSES_TEMPERATURE] = "temperature",
    [PS_RESPONSES_TOP_P] = "top_p",
    [PS_RESPONSES_TOP_LOGPROBS] = "top_logprobs",
    [PS_RESPONSES_SERVICE_TIER] = "service_tier",
    [PS_RESPONSES_METADATA] = "metadata",
    [PS_RESPONSES_USER] = "user",
    [PS_RESPONSES_SAFETY_ID] = "safety_identifier",
    [PS_RESPONSES_CACHE_KEY] = "prompt_cache_key",
};

const char *ps_responses_name(enum ps_responses_member member)
{
    return names[member];
}

struct in {
    struct ps_neutral_build build;
    struct ps_neutral *neutral;
    struct ps_build_member members[PS_RESPONSES_MEMBERS];
};

static struct ps_slice raw_of(const struct in *in, enum ps_responses_member member)
{
    return in->members[member].raw;
}

/* ---- the shape of the answer ---- */

static int read_schema(struct in *in, const struct ps_neutral_at *at,
                       const struct ps_build_member *members)
{
    struct ps_neutral *neutral = in->neutral;
    struct ps_neutral_build *build = &in->build;

    neutral->format = PS_FORMAT_JSON_SCHEMA;
    if (ps_build_string(build, at, "name", members[1].raw, &neutral->schema_name) != 0 ||
        ps_build_string(build, at, "description", members[2].raw, &neutral->schema_description) !=
            0 ||
        ps_build_schema(build, at, "schema", members[3].raw, false, &neutral->schema) != 0 ||
        ps_build_tri(build, at, "strict", members[4].raw, &neutral->schema_strict) != 0) {
        return -1;
    }
    return neutral->schema.len > 0 ? 0 : ps_build_missing(build, at, "schema");
}

static int read_format(struct in *in, const struct ps_neutral_at *at, struct ps_slice raw)
{
    static const char *const types[] = {"text", "json_object", "json_schema", NULL};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"name", PS_SLICE_NONE},
                                        {"description", PS_SLICE_NONE},
                                        {"schema", PS_SLICE_NONE},
                                        {"strict", PS_SLICE_NONE}};
    struct ps_neutral_build *build = &in->build;
    int type = -1;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_build_members(build, at, raw, members, 5) != 0 ||
        ps_build_word(build, at, "type", members[0].raw, types, &type) != 0) {
        return -1;
    }
    if (type < 0) {
        return ps_build_missing(build, at, "type");
    }
    if (type == 2) {
        return read_schema(in, at, members);
    }
    in->neutral->format = type == 0 ? PS_FORMAT_TEXT : PS_FORMAT_JSON_OBJECT;
    return 0;
}

static int read_text(struct in *in)
{
    static const struct ps_neutral_at at = {NULL, "text", PS_NEUTRAL_NO_INDEX};
    static const struct ps_neutral_at format_at = {&at, "format", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"format", PS_SLICE_NONE}, {"verbosity", PS_SLICE_NONE}};
    struct ps_slice raw = raw_of(in, PS_RESPONSES_TEXT);

    if (ps_build_object(&in->build, NULL, "text", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_build_members(&in->build, &at, raw, members, 2) != 0 ||
        ps_build_string(&in->build, &at, "verbosity", members[1].raw, &in->neutral->verbosity) !=
            0) {
        return -1;
    }
    return read_format(in, &format_at, members[0].raw);
}

static int read_reasoning(struct in *in)
{
    static const struct ps_neutral_at at = {NULL, "reasoning", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {
        {"effort", PS_SLICE_NONE}, {"summary", PS_SLICE_NONE}, {"generate_summary", PS_SLICE_NONE}};
    struct ps_slice raw = raw_of(in, PS_RESPONSES_REASONING);
    struct ps_slice summary = PS_SLICE_NONE;

    if (ps_build_object(&in->build, NULL, "reasoning", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_build_members(&in->build, &at, raw, members, 3) != 0 ||
        ps_build_effort(&in->build, &at, "effort", members[0].raw, &in->neutral->effort) != 0 ||
        ps_build_string(&in->build, &at, "summary", members[1].raw, &summary) != 0 ||
        ps_build_string(&in->build, &at, "generate_summary", members[2].raw, &summary) != 0) {
        return -1;
    }
    in->neutral->show_reasoning = summary.len > 0 ? PS_TRI_YES : PS_TRI_NONE;
    return 0;
}

/* ---- the rest ---- */

static int refuse_others(struct in *in)
{
    static const enum ps_responses_member members[] = {PS_RESPONSES_CONVERSATION,
                                                       PS_RESPONSES_PROMPT};

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (ps_raw_given(raw_of(in, members[i]))) {
            return ps_build_unsupported(&in->build, NULL, names[members[i]]);
        }
    }
    return ps_raw_begins(raw_of(in, PS_RESPONSES_BACKGROUND), 't')
               ? ps_build_unsupported(&in->build, NULL, "background")
               : 0;
}

static int read_sampling(struct in *in)
{
    struct ps_neutral *neutral = in->neutral;
    struct ps_neutral_build *build = &in->build;

    neutral->max_tokens_name = names[PS_RESPONSES_MAX_OUTPUT_TOKENS];
    if (ps_build_int(build, NULL, neutral->max_tokens_name,
                     raw_of(in, PS_RESPONSES_MAX_OUTPUT_TOKENS), 1, INT32_MAX,
                     &neutral->max_tokens) != 0 ||
        ps_build_number(build, NULL, "temperature", raw_of(in, PS_RESPONSES_TEMPERATURE), 0, 100,
                        &neutral->temperature) != 0) {
        return -1;
    }
    return ps_build_number(build, NULL, "top_p", raw_of(in, PS_RESPONSES_TOP_P), 0, 1,
                           &neutral->top_p);
}

/* What the answer shall have beside the usual: a model's signed thoughts are always there. */
static int read_include(struct in *in)
{
    static const struct ps_neutral_at top = {NULL, NULL, PS_NEUTRAL_NO_INDEX};
    struct ps_slice raw = raw_of(in, PS_RESPONSES_INCLUDE);
    struct ps_json_walk walk;
    struct ps_slice wish;
    bool dropped = false;

    in->neutral->logprobs_name = "include";
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(&in->build, NULL, "include", "an array of strings");
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &wish)) {
        if (!ps_raw_begins(wish, '"')) {
            return ps_build_expected(&in->build, NULL, "include", "an array of strings");
        }
        if (ps_raw_word(wish, "message.output_text.logprobs")) {
            in->neutral->logprobs = true;
        } else if (!ps_raw_word(wish, "reasoning.encrypted_content")) {
            dropped = true;
        }
    }
    if (dropped) {
        ps_build_extra(&in->build, &top, "include", raw);
    }
    return 0;
}

/* What a target cannot be told: hints, and bounds of what happens at the provider. */
static int note_rest(struct in *in)
{
    static const struct ps_neutral_at top = {NULL, NULL, PS_NEUTRAL_NO_INDEX};
    static const char *const truncations[] = {"disabled", "auto", NULL};
    struct ps_neutral *neutral = in->neutral;
    struct ps_neutral_build *build = &in->build;
    struct ps_slice ignored = PS_SLICE_NONE;
    struct ps_slice likeliest = PS_SLICE_NONE;
    int truncation = 0;

    if (ps_build_word(build, NULL, "truncation", raw_of(in, PS_RESPONSES_TRUNCATION), truncations,
                      &truncation) != 0 ||
        ps_build_int(build, NULL, "max_tool_calls", raw_of(in, PS_RESPONSES_MAX_TOOL_CALLS), 0,
                     INT32_MAX, &ignored) != 0 ||
        ps_build_int(build, NULL, "top_logprobs", raw_of(in, PS_RESPONSES_TOP_LOGPROBS), 0, 20,
                     &likeliest) != 0 ||
        ps_build_object(build, NULL, "stream_options", raw_of(in, PS_RESPONSES_STREAM_OPTIONS),
                        &ignored) != 0 ||
        ps_build_object(build, NULL, "metadata", raw_of(in, PS_RESPONSES_METADATA), &ignored) !=
            0 ||
        ps_build_string(build, NULL, "user", raw_of(in, PS_RESPONSES_USER), &neutral->user) != 0 ||
        ps_build_string(build, NULL, "safety_identifier", raw_of(in, PS_RESPONSES_SAFETY_ID),
                        &neutral->user) != 0 ||
        ps_build_string(build, NULL, "service_tier", raw_of(in, PS_RESPONSES_SERVICE_TIER),
                        &neutral->service_tier) != 0 ||
        ps_build_string(build, NULL, "prompt_cache_key", raw_of(in, PS_RESPONSES_CACHE_KEY),
                        &neutral->cache_key) != 0 ||
        ps_build_tri(build, NULL, "parallel_tool_calls", raw_of(in, PS_RESPONSES_PARALLEL),
                     &neutral->parallel_calls) != 0) {
        return -1;
    }
    if (truncation == 1) {
        ps_build_extra(build, &top, "truncation", raw_of(in, PS_RESPONSES_TRUNCATION));
    }
    ps_build_extra(build, &top, "max_tool_calls", raw_of(in, PS_RESPONSES_MAX_TOOL_CALLS));
    if (neutral->logprobs) { /* else the number is of nothing */
        neutral->top_logprobs = likeliest;
    }
    return 0;
}

/* The body in one piece that outlives the chain, and this arena: the answer repeats parts of it. */
static int keep_body(struct ps_neutral_build *build, struct ps_responses_values *values)
{
    if (values->body == NULL) {
        values->body = ps_malloc(build->body.len + 1);
        if (values->body == NULL) {
            return ps_build_no_memory(build);
        }
        if (build->body.len > 0) {
            memcpy(values->body, build->body.ptr, build->body.len);
        }
    }
    build->body.ptr = values->body;
    return 0;
}

static int read_conversation(struct in *in, const struct ps_request *request)
{
    if (request->previous_id.len > 0 && request->previous.len == 0) {
        return ps_fault_set(in->build.fault, PS_FAULT_PREVIOUS_NOT_FOUND, "previous_response_id",
                            "Previous response with id '%.*s' not found.",
                            (int)(request->previous_id.len < 80 ? request->previous_id.len : 80),
                            request->previous_id.ptr);
    }
    return ps_responses_items(&in->build, raw_of(in, PS_RESPONSES_INSTRUCTIONS), request->previous,
                              raw_of(in, PS_RESPONSES_INPUT));
}

int ps_responses_neutral(const struct ps_request *request, struct ps_arena *arena,
                         struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    struct in in = {.neutral = ret};

    for (size_t i = 0; i < PS_RESPONSES_MEMBERS; i++) {
        in.members[i].name = names[i];
    }
    if (ps_build_begin(&in.build, request, arena, ret, ret_fault) != 0 ||
        keep_body(&in.build, request->responses) != 0 ||
        ps_build_members(&in.build, NULL, in.build.body, in.members, PS_RESPONSES_MEMBERS) != 0 ||
        refuse_others(&in) != 0 || read_conversation(&in, request) != 0 ||
        ps_responses_tools(&in.build, raw_of(&in, PS_RESPONSES_TOOLS),
                           raw_of(&in, PS_RESPONSES_TOOL_CHOICE)) != 0 ||
        read_sampling(&in) != 0 || read_text(&in) != 0 || read_reasoning(&in) != 0 ||
        read_include(&in) != 0 || note_rest(&in) != 0) {
        return -1;
    }
    ps_build_end(&in.build);
    for (size_t i = 0; i < PS_RESPONSES_MEMBERS; i++) {
        request->responses->raw[i] = in.members[i].raw;
    }
    return 0;
}
