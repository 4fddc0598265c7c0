/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"
#include "openai_priv.h"

/*
 * What OpenAI's chats had before tools: `functions`, of which a message calls one in
 * `function_call`, and its answer in a message of the role "function". Calls have no ids there:
 * they get one that is made of their message, and an answer finds its call by the function's name.
 */

static int read_body(struct ps_neutral_build *build, struct ps_neutral_tool *tool)
{
    struct ps_build_member members[] = {
        {"name", PS_SLICE_NONE}, {"description", PS_SLICE_NONE}, {"parameters", PS_SLICE_NONE}};
    const struct ps_neutral_at *at = &tool->at;

    if (!ps_raw_begins(tool->raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (ps_build_members(build, at, tool->raw, members, 3) != 0 ||
        ps_build_string(build, at, "name", members[0].raw, &tool->name) != 0 ||
        ps_build_string(build, at, "description", members[1].raw, &tool->description) != 0) {
        return -1;
    }
    if (tool->name.len == 0) {
        return ps_build_missing(build, at, "name");
    }
    if (!ps_raw_says(tool->name)) {
        return ps_build_expected(build, at, "name", "a string that is not empty");
    }
    return ps_build_schema(build, at, "parameters", members[2].raw, true, &tool->parameters);
}

static int read_functions(struct ps_neutral_build *build, struct ps_slice raw)
{
    size_t count = ps_raw_begins(raw, '[') ? ps_build_count(raw) : 0;
    struct ps_neutral_tool *tools;
    struct ps_json_walk walk;
    struct ps_slice element;

    if (count == 0) {
        return ps_build_expected(build, NULL, "functions", "an array that is not empty");
    }
    if (count > PS_NEUTRAL_TOOLS) {
        return ps_build_bad(build, NULL, "functions", "holds more than can be translated.");
    }
    tools = ps_build_array(build, count, sizeof(*tools));
    if (tools == NULL) {
        return -1;
    }
    build->neutral->tools = tools;
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        tools[i].at = (struct ps_neutral_at){NULL, "functions", i};
        tools[i].raw = element;
        build->neutral->tool_count++;
        if (read_body(build, &tools[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

/* "none", "auto", or {"name"}. */
static int read_choice(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const char *const words[] = {"auto", "none", NULL};
    static const struct ps_neutral_at at = {NULL, "function_call", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member name = {"name", PS_SLICE_NONE};
    struct ps_neutral *neutral = build->neutral;
    size_t index;
    int word = -1;

    if (!ps_raw_begins(raw, '{')) {
        if (ps_build_word(build, NULL, "function_call", raw, words, &word) != 0) {
            return -1;
        }
        neutral->tool_choice = word == 0   ? PS_CHOICE_AUTO
                               : word == 1 ? PS_CHOICE_NONE
                                           : PS_CHOICE_NONE_GIVEN;
        return 0;
    }
    if (ps_build_members(build, &at, raw, &name, 1) != 0) {
        return -1;
    }
    if (!ps_raw_says(name.raw)) {
        return ps_build_expected(build, &at, "name", "the name of a function");
    }
    neutral->tool_choice = PS_CHOICE_NAMED;
    neutral->tool_name = name.raw;
    return ps_build_find_tool(build, &at, "name", name.raw, &index);
}

int ps_build_openai_functions(struct ps_neutral_build *build, struct ps_slice functions,
                              struct ps_slice choice)
{
    if (functions.len == 0) {
        return choice.len == 0 ? 0 : ps_build_bad(build, NULL, "function_call", "needs functions.");
    }
    build->neutral->legacy_calls = true;
    build->neutral->parallel_calls = PS_TRI_NO; /* a message has room for one */
    return read_functions(build, functions) != 0 ? -1 : read_choice(build, choice);
}

int ps_build_openai_function_call(struct ps_neutral_build *build, struct ps_neutral_part *part,
                                  uint32_t message, struct ps_slice raw)
{
    struct ps_build_member members[] = {{"name", PS_SLICE_NONE}, {"arguments", PS_SLICE_NONE}};
    struct ps_neutral_call *call = ps_build_array(build, 1, sizeof(*call));
    char *id = ps_arena_printf(build->arena, "\"call_function_%u\"", message);

    if (call == NULL) {
        return -1;
    }
    if (id == NULL) {
        return ps_build_no_memory(build);
    }
    part->call = call;
    part->raw = raw;
    call->id = ps_slice_cstr(id);
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &part->at, NULL, "an object");
    }
    if (ps_build_members(build, &part->at, raw, members, 2) != 0 ||
        ps_build_string(build, &part->at, "name", members[0].raw, &call->name) != 0) {
        return -1;
    }
    if (call->name.len == 0) {
        return ps_build_missing(build, &part->at, "name");
    }
    if (!ps_raw_says(call->name)) {
        return ps_build_expected(build, &part->at, "name", "a string that is not empty");
    }
    return ps_build_arguments(build, &part->at, "arguments", members[1].raw, &call->arguments);
}

int ps_build_find_function(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                           struct ps_slice name, const struct ps_neutral_call **ret)
{
    if (name.len == 0) {
        return ps_build_missing(build, at, "name");
    }
    for (size_t i = 0; i < build->call_count; i++) {
        if (ps_raw_same(build->calls[i]->name, name)) {
            *ret = build->calls[i];
            return 0;
        }
    }
    return ps_build_bad(build, at, "name",
                        "answers no function call of the assistant message before it.");
}
