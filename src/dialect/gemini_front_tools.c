/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/* Functions that may be called, and which of them. Tools that run at Google (search, code, maps …)
 * are refused by name: leaving one out would change the answer. */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int read_parameters(struct ps_neutral_build *build, const struct ps_build_member *google,
                           const struct ps_build_member *plain, struct ps_neutral_tool *tool)
{
    struct ps_slice schema = PS_SLICE_NONE;

    if (google->raw.len > 0 && plain->raw.len > 0) {
        return ps_build_bad(build, &tool->at, plain->name, "must not be given beside parameters.");
    }
    if (ps_build_object(build, &tool->at, plain->name, plain->raw, &tool->parameters) != 0 ||
        ps_build_object(build, &tool->at, google->name, google->raw, &schema) != 0) {
        return -1;
    }
    if (schema.len == 0) {
        return 0;
    }
    tool->parameters = ps_gemini_schema(build, schema);
    return tool->parameters.ptr != NULL ? 0 : -1;
}

static int read_function(struct ps_neutral_build *build, struct ps_slice raw,
                         struct ps_neutral_tool *tool)
{
    struct ps_build_member members[] = {
        {"name", PS_SLICE_NONE},
        {"description", PS_SLICE_NONE},
        {"parameters", PS_SLICE_NONE},
        {"parametersJsonSchema", PS_SLICE_NONE},
    };

    tool->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &tool->at, NULL, "an object");
    }
    if (ps_gemini_members(build, &tool->at, raw, members, COUNT(members)) != 0 ||
        ps_build_string(build, &tool->at, "name", members[0].raw, &tool->name) != 0 ||
        ps_build_string(build, &tool->at, "description", members[1].raw, &tool->description) != 0 ||
        read_parameters(build, &members[2], &members[3], tool) != 0) {
        return -1;
    }
    if (tool->name.len == 0) {
        return ps_build_missing(build, &tool->at, "name");
    }
    return ps_raw_says(tool->name)
               ? 0
               : ps_build_expected(build, &tool->at, "name", "a string that is not empty");
}

/* {"functionDeclarations":[…]}; *ret is that array, or none. Any other member is a tool that runs
 * there. */
static int read_tool(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice raw, struct ps_slice *ret)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, at, NULL, "an object");
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (!ps_raw_given(value)) {
            continue;
        }
        if (!ps_gemini_key_is(key, "functionDeclarations")) {
            struct ps_slice name =
                ps_raw_plain(key.len < PS_FAULT_PARAM ? key : PS_SLICE_LIT("\"\""), build->arena);
            const char *text = name.ptr != NULL ? ps_arena_strdup(build->arena, name) : NULL;

            return text != NULL ? ps_build_unsupported(build, at, text) : ps_build_no_memory(build);
        }
        if (!ps_raw_begins(value, '[')) {
            return ps_build_expected(build, at, "functionDeclarations", "an array");
        }
        *ret = value;
    }
    return 0;
}

/* One element of "tools". */
struct entry {
    struct ps_neutral_at at;
    struct ps_slice functions; /* RAW array, or none */
};

static int read_functions(struct ps_neutral_build *build, const struct entry *entry,
                          struct ps_neutral_tool *tools)
{
    struct ps_neutral *neutral = build->neutral;
    struct ps_json_walk walk;
    struct ps_slice raw;

    if (entry->functions.len == 0) {
        return 0;
    }
    ps_json_walk_init(&walk, entry->functions);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        struct ps_neutral_tool *tool = &tools[neutral->tool_count];

        tool->at = (struct ps_neutral_at){&entry->at, "functionDeclarations", i};
        if (read_function(build, raw, tool) != 0) {
            return -1;
        }
        neutral->tool_count++;
    }
    return 0;
}

/* *ret: how many functions they have. */
static int read_entries(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                        struct ps_slice raw, struct entry *entries, size_t *ret)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    *ret = 0;
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct entry *entry = &entries[i];

        entry->at = (struct ps_neutral_at){top, "tools", i};
        if (read_tool(build, &entry->at, element, &entry->functions) != 0) {
            return -1;
        }
        *ret += entry->functions.len > 0 ? ps_build_count(entry->functions) : 0;
        if (*ret > PS_NEUTRAL_TOOLS) {
            return ps_build_bad(build, &entry->at, NULL,
                                "holds more functions than the gateway translates.");
        }
    }
    return 0;
}

static int read_tools(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                      struct ps_slice raw)
{
    size_t count = ps_raw_begins(raw, '[') ? ps_build_count(raw) : 0;
    struct ps_neutral_tool *tools;
    struct entry *entries;
    size_t functions;

    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (!ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, top, "tools", "an array");
    }
    if (count > PS_NEUTRAL_TOOLS) {
        return ps_build_bad(build, top, "tools", "holds more tools than the gateway translates.");
    }
    entries = ps_build_array(build, count, sizeof(*entries));
    if (entries == NULL || read_entries(build, top, raw, entries, &functions) != 0) {
        return -1;
    }
    tools = ps_build_array(build, functions, sizeof(*tools));
    if (tools == NULL) {
        return -1;
    }
    build->neutral->tools = tools;
    for (size_t i = 0; i < count; i++) {
        if (read_functions(build, &entries[i], tools) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- which of them ---- */

/* One that must be called is named, the others are still told; of several the others are left out.
 * An empty list allows all. */
static int restrict_to(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       struct ps_slice names)
{
    struct ps_neutral *neutral = build->neutral;
    struct ps_neutral_tool *tools = (struct ps_neutral_tool *)(uintptr_t)neutral->tools;
    size_t count = ps_raw_begins(names, '[') ? ps_build_count(names) : 0;
    bool is_named = count == 1 && neutral->tool_choice == PS_CHOICE_ANY;
    struct ps_json_walk walk;
    struct ps_slice name;
    size_t found;

    if (!ps_raw_begins(names, '[') || count > PS_NEUTRAL_TOOLS) {
        return ps_build_expected(build, at, "allowedFunctionNames", "an array of functions' names");
    }
    for (size_t i = 0; count > 0 && !is_named && i < neutral->tool_count; i++) {
        tools[i].excluded = true;
    }
    neutral->tools_restricted = count > 0 && !is_named;
    ps_json_walk_init(&walk, names);
    while (ps_json_walk_element(&walk, &name)) {
        if (!ps_raw_says(name)) {
            return ps_build_expected(build, at, "allowedFunctionNames",
                                     "an array of functions' names");
        }
        if (ps_build_find_tool(build, at, "allowedFunctionNames", name, &found) != 0) {
            return -1;
        }
        tools[found].excluded = false;
        neutral->tool_name = is_named ? name : PS_SLICE_NONE;
    }
    neutral->tool_choice = is_named ? PS_CHOICE_NAMED : neutral->tool_choice;
    return 0;
}

static int read_choice(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       struct ps_slice raw)
{
    static const char *const modes[] = {"MODE_UNSPECIFIED", "AUTO", "ANY", "NONE",
                                        "VALIDATED",        NULL};
    static const enum ps_tool_choice choices[] = {PS_CHOICE_NONE_GIVEN, PS_CHOICE_AUTO,
                                                  PS_CHOICE_ANY, PS_CHOICE_NONE, PS_CHOICE_AUTO};
    struct ps_build_member members[] = {{"mode", PS_SLICE_NONE},
                                        {"allowedFunctionNames", PS_SLICE_NONE}};
    struct ps_neutral *neutral = build->neutral;
    int mode = 0;

    if (ps_gemini_members(build, at, raw, members, COUNT(members)) != 0 ||
        ps_gemini_word(build, at, "mode", members[0].raw, modes, &mode) != 0) {
        return -1;
    }
    neutral->tool_choice = choices[mode];
    if (mode == 4) { /* no other family checks calls while it lets the model choose */
        ps_build_extra(build, at, "mode", members[0].raw);
    }
    if (neutral->tool_choice == PS_CHOICE_ANY && neutral->tool_count == 0) {
        return ps_build_bad(build, at, "mode", "asks for a call, but tools has no function.");
    }
    return members[1].raw.len > 0 ? restrict_to(build, at, members[1].raw) : 0;
}

static int read_config(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                       struct ps_slice raw)
{
    const struct ps_neutral_at at = {top, "toolConfig", PS_NEUTRAL_NO_INDEX};
    const struct ps_neutral_at choice_at = {&at, "functionCallingConfig", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member choice = {"functionCallingConfig", PS_SLICE_NONE};

    if (ps_build_object(build, top, "toolConfig", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_gemini_members(build, &at, raw, &choice, 1) != 0 ||
        ps_build_object(build, &at, choice.name, choice.raw, &choice.raw) != 0) {
        return -1;
    }
    return choice.raw.len > 0 ? read_choice(build, &choice_at, choice.raw) : 0;
}

int ps_gemini_tools(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                    struct ps_slice tools, struct ps_slice config)
{
    return read_tools(build, top, tools) != 0 ? -1 : read_config(build, top, config);
}
