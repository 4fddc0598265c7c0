/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* A request as Anthropic's clients send it, in the neutral form. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define BUDGET_LEAST 1024

enum {
    MODEL,
    STREAM,
    MESSAGES,
    SYSTEM,
    MAX_TOKENS,
    TEMPERATURE,
    TOP_P,
    TOP_K,
    STOP_SEQUENCES,
    TOOLS,
    TOOL_CHOICE,
    THINKING,
    OUTPUT_CONFIG,
    OUTPUT_FORMAT,
    METADATA,
    SERVICE_TIER,
    CACHE_CONTROL,
    MCP_SERVERS,
    FIELDS,
};

/* ---- tools ---- */

static int read_function(struct ps_neutral_build *build, struct ps_slice raw,
                         struct ps_neutral_tool *tool)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},        {"name", PS_SLICE_NONE},
        {"description", PS_SLICE_NONE}, {"input_schema", PS_SLICE_NONE},
        {"strict", PS_SLICE_NONE},      {"cache_control", PS_SLICE_NONE},
    };

    if (ps_build_members(build, &tool->at, raw, members, COUNT(members)) != 0) {
        return -1;
    }
    if (!ps_raw_given(members[3].raw)) {
        return ps_build_missing(build, &tool->at, "input_schema");
    }
    if (ps_build_name(build, &tool->at, "name", members[1].raw, &tool->name) != 0 ||
        ps_build_string(build, &tool->at, "description", members[2].raw, &tool->description) != 0 ||
        ps_build_object(build, &tool->at, "input_schema", members[3].raw, &tool->parameters) != 0 ||
        ps_build_tri(build, &tool->at, "strict", members[4].raw, &tool->strict) != 0 ||
        ps_build_object(build, &tool->at, "cache_control", members[5].raw, &tool->cache_control) !=
            0) {
        return -1;
    }
    return 0;
}

static int read_tool(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                     struct ps_slice raw)
{
    struct ps_slice type = ps_raw_find(raw, "type");
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    tool->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &tool->at, NULL, "an object");
    }
    if (!ps_raw_given(type) || ps_raw_word(type, "custom")) {
        return read_function(build, raw, tool);
    }
    if (!ps_raw_says(type)) {
        return ps_build_expected(build, &tool->at, "type", "a string that is not empty");
    }
    tool->kind = PS_TOOL_OPAQUE; /* "web_search_20250305" and its like */
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_json_key_is(key, PS_SLICE_LIT("name")) && ps_raw_says(value)) {
            tool->name = value;
        }
    }
    return 0;
}

static int read_named(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice name)
{
    size_t index;

    if (!ps_raw_given(name)) {
        return ps_build_missing(build, at, "name");
    }
    if (ps_build_string(build, at, "name", name, &build->neutral->tool_name) != 0) {
        return -1;
    }
    return ps_build_find_tool(build, at, "name", name, &index);
}

static int read_tool_choice(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const struct ps_neutral_at at = {NULL, "tool_choice", PS_NEUTRAL_NO_INDEX};
    static const char *const words[] = {"auto", "any", "tool", "none", NULL};
    static const enum ps_tool_choice choices[] = {PS_CHOICE_AUTO, PS_CHOICE_ANY, PS_CHOICE_NAMED,
                                                  PS_CHOICE_NONE};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"name", PS_SLICE_NONE},
                                        {"disable_parallel_tool_use", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;
    enum ps_tri serial = PS_TRI_NONE;
    int word = -1;

    if (ps_build_object(build, NULL, "tool_choice", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_build_members(build, &at, raw, members, COUNT(members)) != 0 ||
        ps_build_word(build, &at, "type", members[0].raw, words, &word) != 0 ||
        ps_build_tri(build, &at, "disable_parallel_tool_use", members[2].raw, &serial) != 0) {
        return -1;
    }
    if (word < 0) {
        return ps_build_missing(build, &at, "type");
    }
    neutral->tool_choice = choices[word];
    neutral->parallel_calls = serial == PS_TRI_YES ? PS_TRI_NO : PS_TRI_NONE;
    if (neutral->tool_choice == PS_CHOICE_ANY && neutral->tool_count == 0) {
        return ps_build_bad(build, NULL, "tool_choice", "asks for a tool, but tools has none.");
    }
    return neutral->tool_choice == PS_CHOICE_NAMED ? read_named(build, &at, members[1].raw) : 0;
}

/* ---- how to answer ---- */

static int read_thinking(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const struct ps_neutral_at at = {NULL, "thinking", PS_NEUTRAL_NO_INDEX};
    static const char *const words[] = {"disabled", "enabled", "adaptive", NULL};
    static const char *const displays[] = {"omitted", "summarized", NULL};
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE}, {"budget_tokens", PS_SLICE_NONE}, {"display", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice budget = PS_SLICE_NONE;
    int word = -1;
    int display = -1;

    if (ps_build_object(build, NULL, "thinking", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_build_members(build, &at, raw, members, COUNT(members)) != 0 ||
        ps_build_word(build, &at, "type", members[0].raw, words, &word) != 0 ||
        ps_build_int(build, &at, "budget_tokens", members[1].raw, BUDGET_LEAST, INT32_MAX,
                     &budget) != 0 ||
        ps_build_word(build, &at, "display", members[2].raw, displays, &display) != 0) {
        return -1;
    }
    if (word < 0) {
        return ps_build_missing(build, &at, "type");
    }
    neutral->thinking = (enum ps_thinking)((int)PS_THINKING_OFF + word);
    if (neutral->thinking == PS_THINKING_ON && budget.len == 0) {
        return ps_build_missing(build, &at, "budget_tokens");
    }
    if (neutral->thinking == PS_THINKING_ON) {
        (void)ps_json_int(budget, &neutral->thinking_budget);
    }
    if (neutral->thinking != PS_THINKING_OFF) {
        neutral->show_reasoning = display == 0 ? PS_TRI_NO : PS_TRI_YES;
    }
    return 0;
}

/* {"type":"json_schema","schema":{…}} */
static int read_format(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       struct ps_slice raw)
{
    static const char *const words[] = {"json_schema", NULL};
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE}, {"schema", PS_SLICE_NONE}};
    int word = -1;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_build_members(build, at, raw, members, COUNT(members)) != 0 ||
        ps_build_word(build, at, "type", members[0].raw, words, &word) != 0) {
        return -1;
    }
    if (word < 0 || !ps_raw_given(members[1].raw)) {
        return ps_build_missing(build, at, word < 0 ? "type" : "schema");
    }
    build->neutral->format = PS_FORMAT_JSON_SCHEMA;
    return ps_build_object(build, at, "schema", members[1].raw, &build->neutral->schema);
}

static int read_output(struct ps_neutral_build *build, struct ps_slice config,
                       struct ps_slice format)
{
    static const struct ps_neutral_at at = {NULL, "output_config", PS_NEUTRAL_NO_INDEX};
    static const struct ps_neutral_at format_at = {&at, "format", PS_NEUTRAL_NO_INDEX};
    static const struct ps_neutral_at old_at = {NULL, "output_format", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {{"effort", PS_SLICE_NONE}, {"format", PS_SLICE_NONE}};

    if (ps_build_object(build, NULL, "output_config", config, &config) != 0) {
        return -1;
    }
    if (ps_raw_given(config) &&
        (ps_build_members(build, &at, config, members, COUNT(members)) != 0 ||
         ps_build_effort(build, &at, "effort", members[0].raw, &build->neutral->effort) != 0)) {
        return -1;
    }
    if (ps_raw_given(members[1].raw) && ps_raw_given(format)) {
        return ps_build_bad(build, NULL, "output_format",
                            "must not be given beside output_config.format.");
    }
    if (ps_raw_given(members[1].raw)) {
        return read_format(build, &format_at, members[1].raw);
    }
    return ps_raw_given(format) ? read_format(build, &old_at, format) : 0;
}

static int read_metadata(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const struct ps_neutral_at at = {NULL, "metadata", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member user = {"user_id", PS_SLICE_NONE};

    if (ps_build_object(build, NULL, "metadata", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    return ps_build_members(build, &at, raw, &user, 1) != 0
               ? -1
               : ps_build_string(build, &at, "user_id", user.raw, &build->neutral->user);
}

static int read_sampling(struct ps_neutral_build *build, const struct ps_build_member *fields)
{
    struct ps_neutral *neutral = build->neutral;

    neutral->max_tokens_name = "max_tokens";
    if (ps_build_int(build, NULL, "max_tokens", fields[MAX_TOKENS].raw, 1, INT32_MAX,
                     &neutral->max_tokens) != 0 ||
        ps_build_number(build, NULL, "temperature", fields[TEMPERATURE].raw, 0, 1,
                        &neutral->temperature) != 0 ||
        ps_build_number(build, NULL, "top_p", fields[TOP_P].raw, 0, 1, &neutral->top_p) != 0 ||
        ps_build_int(build, NULL, "top_k", fields[TOP_K].raw, 0, INT32_MAX, &neutral->top_k) != 0) {
        return -1;
    }
    return ps_build_stops(build, "stop_sequences", fields[STOP_SEQUENCES].raw, false);
}

static int read_rest(struct ps_neutral_build *build, const struct ps_build_member *fields)
{
    struct ps_neutral *neutral = build->neutral;
    struct ps_slice servers = fields[MCP_SERVERS].raw;

    /* Tools of servers that the provider itself would ask. */
    if (ps_raw_given(servers) && (!ps_raw_begins(servers, '[') || ps_build_count(servers) > 0)) {
        return ps_build_unsupported(build, NULL, "mcp_servers");
    }
    if (read_metadata(build, fields[METADATA].raw) != 0 ||
        ps_build_string(build, NULL, "service_tier", fields[SERVICE_TIER].raw,
                        &neutral->service_tier) != 0) {
        return -1;
    }
    return ps_build_object(build, NULL, "cache_control", fields[CACHE_CONTROL].raw,
                           &neutral->cache_control);
}

int ps_anthropic_neutral(const struct ps_request *request, struct ps_arena *arena,
                         struct ps_neutral *ret, struct ps_fault *ret_fault)
{
    struct ps_build_member fields[FIELDS] = {
        [MODEL] = {"model", PS_SLICE_NONE},
        [STREAM] = {"stream", PS_SLICE_NONE},
        [MESSAGES] = {"messages", PS_SLICE_NONE},
        [SYSTEM] = {"system", PS_SLICE_NONE},
        [MAX_TOKENS] = {"max_tokens", PS_SLICE_NONE},
        [TEMPERATURE] = {"temperature", PS_SLICE_NONE},
        [TOP_P] = {"top_p", PS_SLICE_NONE},
        [TOP_K] = {"top_k", PS_SLICE_NONE},
        [STOP_SEQUENCES] = {"stop_sequences", PS_SLICE_NONE},
        [TOOLS] = {"tools", PS_SLICE_NONE},
        [TOOL_CHOICE] = {"tool_choice", PS_SLICE_NONE},
        [THINKING] = {"thinking", PS_SLICE_NONE},
        [OUTPUT_CONFIG] = {"output_config", PS_SLICE_NONE},
        [OUTPUT_FORMAT] = {"output_format", PS_SLICE_NONE},
        [METADATA] = {"metadata", PS_SLICE_NONE},
        [SERVICE_TIER] = {"service_tier", PS_SLICE_NONE},
        [CACHE_CONTROL] = {"cache_control", PS_SLICE_NONE},
        [MCP_SERVERS] = {"mcp_servers", PS_SLICE_NONE},
    };
    struct ps_neutral_build build;

    if (ps_build_begin(&build, request, arena, ret, ret_fault) != 0 ||
        ps_build_members(&build, NULL, build.body, fields, FIELDS) != 0 ||
        ps_anthropic_messages(&build, fields[SYSTEM].raw, fields[MESSAGES].raw) != 0 ||
        ps_build_tools(&build, fields[TOOLS].raw, read_tool) != 0 ||
        read_tool_choice(&build, fields[TOOL_CHOICE].raw) != 0 ||
        read_sampling(&build, fields) != 0 || read_thinking(&build, fields[THINKING].raw) != 0 ||
        read_output(&build, fields[OUTPUT_CONFIG].raw, fields[OUTPUT_FORMAT].raw) != 0 ||
        read_rest(&build, fields) != 0) {
        return -1;
    }
    ps_build_end(&build);
    return 0;
}
