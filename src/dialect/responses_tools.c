/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

/* Tools of the Responses API: a function's members lie flat in it. Tools that run at OpenAI are
 * kept as they came, and no other provider takes them. */

/* Chat's way of saying a grammar has one object more around it. */
static int read_custom_format(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                              struct ps_slice raw)
{
    struct ps_neutral_at at = {&tool->at, "format", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE}, {"syntax", PS_SLICE_NONE}, {"definition", PS_SLICE_NONE}};
    struct ps_slice syntax = PS_SLICE_NONE;
    struct ps_slice definition = PS_SLICE_NONE;
    static const char form[] = "{\"type\":\"grammar\",\"grammar\":{\"syntax\":,\"definition\":}}";
    char *text;

    if (ps_build_object(build, &tool->at, "format", raw, &tool->format) != 0) {
        return -1;
    }
    if (tool->format.len == 0) {
        return 0;
    }
    if (ps_build_members(build, &at, raw, members, 3) != 0 ||
        ps_build_string(build, &at, "syntax", members[1].raw, &syntax) != 0 ||
        ps_build_string(build, &at, "definition", members[2].raw, &definition) != 0) {
        return -1;
    }
    if (!ps_raw_word(members[0].raw, "grammar") || syntax.len == 0 || definition.len == 0) {
        return 0;
    }
    text = ps_arena_side(build->arena, sizeof(form) + syntax.len + definition.len, 1);
    if (text == NULL) {
        return ps_build_no_memory(build);
    }
    struct ps_slice pieces[] = {PS_SLICE_LIT("{\"type\":\"grammar\",\"grammar\":{\"syntax\":"),
                                syntax, PS_SLICE_LIT(",\"definition\":"), definition,
                                PS_SLICE_LIT("}}")};
    size_t len = 0;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        memcpy(text + len, pieces[i].ptr, pieces[i].len);
        len += pieces[i].len;
    }
    tool->format = ps_slice(text, len);
    return 0;
}

static int read_known(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                      struct ps_slice raw)
{
    struct ps_build_member members[] = {
        {"type", PS_SLICE_NONE},       {"name", PS_SLICE_NONE},   {"description", PS_SLICE_NONE},
        {"parameters", PS_SLICE_NONE}, {"strict", PS_SLICE_NONE}, {"format", PS_SLICE_NONE}};
    const struct ps_neutral_at *at = &tool->at;

    if (ps_build_members(build, at, raw, members, 6) != 0 ||
        ps_build_name(build, at, "name", members[1].raw, &tool->name) != 0 ||
        ps_build_string(build, at, "description", members[2].raw, &tool->description) != 0 ||
        ps_build_schema(build, at, "parameters", members[3].raw, true, &tool->parameters) != 0 ||
        ps_build_tri(build, at, "strict", members[4].raw, &tool->strict) != 0 ||
        read_custom_format(build, tool, members[5].raw) != 0) {
        return -1;
    }
    return 0;
}

static int read_tool(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                     struct ps_slice raw)
{
    struct ps_slice type = ps_raw_find(raw, "type");

    tool->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &tool->at, NULL, "an object");
    }
    if (!ps_raw_says(type)) {
        return ps_build_expected(build, &tool->at, "type", "a string that is not empty");
    }
    tool->kind = ps_raw_word(type, "function") ? PS_TOOL_FUNCTION
                 : ps_raw_word(type, "custom") ? PS_TOOL_CUSTOM
                                               : PS_TOOL_OPAQUE;
    return tool->kind == PS_TOOL_OPAQUE ? 0 : read_known(build, tool, raw);
}

/* ---- the choice ---- */

static const struct ps_neutral_at choice_at = {NULL, "tool_choice", PS_NEUTRAL_NO_INDEX};

static int find_named(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice raw, struct ps_slice *ret_name, size_t *ret_index)
{
    struct ps_slice type = ps_raw_find(raw, "type");

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    if (!ps_raw_word(type, "function") && !ps_raw_word(type, "custom")) {
        return ps_build_unsupported(build, at, "type"); /* one that runs at the provider */
    }
    *ret_name = ps_raw_find(raw, "name");
    if (!ps_raw_says(*ret_name)) {
        return ps_build_expected(build, at, "name", "the name of a tool");
    }
    return ps_build_find_tool(build, at, "name", *ret_name, ret_index);
}

static int read_allowed(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const char *const modes[] = {"auto", "required", NULL};
    struct ps_neutral_tool *tools = (struct ps_neutral_tool *)(uintptr_t)build->neutral->tools;
    struct ps_slice list = ps_raw_find(raw, "tools");
    struct ps_neutral_at each = {&choice_at, "tools", 0};
    struct ps_json_walk walk;
    struct ps_slice element;
    struct ps_slice name;
    size_t index;
    int mode = 0;

    if (ps_build_word(build, &choice_at, "mode", ps_raw_find(raw, "mode"), modes, &mode) != 0) {
        return -1;
    }
    if (!ps_raw_begins(list, '[') || ps_build_count(list) > build->neutral->tool_count) {
        return ps_build_expected(build, &choice_at, "tools", "an array of tools of this request");
    }
    build->neutral->tool_choice = mode == 0 ? PS_CHOICE_AUTO : PS_CHOICE_ANY;
    build->neutral->tools_restricted = true;
    for (size_t i = 0; i < build->neutral->tool_count; i++) {
        tools[i].excluded = true;
    }
    ps_json_walk_init(&walk, list);
    for (; ps_json_walk_element(&walk, &element); each.index++) {
        if (find_named(build, &each, element, &name, &index) != 0) {
            return -1;
        }
        tools[index].excluded = false;
    }
    return 0;
}

static int read_choice(struct ps_neutral_build *build, struct ps_slice raw)
{
    static const char *const words[] = {"auto", "none", "required", NULL};
    static const enum ps_tool_choice choices[] = {PS_CHOICE_AUTO, PS_CHOICE_NONE, PS_CHOICE_ANY};
    struct ps_neutral *neutral = build->neutral;
    size_t index;
    int word = -1;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_raw_begins(raw, '{')) {
        if (ps_raw_word(ps_raw_find(raw, "type"), "allowed_tools")) {
            return read_allowed(build, raw);
        }
        neutral->tool_choice = PS_CHOICE_NAMED;
        return find_named(build, &choice_at, raw, &neutral->tool_name, &index);
    }
    if (ps_build_word(build, NULL, "tool_choice", raw, words, &word) != 0) {
        return -1;
    }
    neutral->tool_choice = choices[word];
    return choices[word] == PS_CHOICE_ANY && neutral->tool_count == 0
               ? ps_build_bad(build, NULL, "tool_choice", "needs tools.")
               : 0;
}

int ps_responses_tools(struct ps_neutral_build *build, struct ps_slice tools,
                       struct ps_slice choice)
{
    return ps_build_tools(build, tools, read_tool) != 0 ? -1 : read_choice(build, choice);
}
