/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"

/* Tools in OpenAI's shape, which other families have taken over. */

static int read_body(struct ps_neutral_build *build, struct ps_neutral_tool *tool, const char *name,
                     struct ps_slice raw)
{
    struct ps_build_member members[] = {{"name", PS_SLICE_NONE},
                                        {"description", PS_SLICE_NONE},
                                        {"parameters", PS_SLICE_NONE},
                                        {"strict", PS_SLICE_NONE},
                                        {"format", PS_SLICE_NONE}};
    struct ps_neutral_at *at = ps_build_array(build, 1, sizeof(*at));

    if (at == NULL) {
        return -1;
    }
    *at = (struct ps_neutral_at){&tool->at, name, PS_NEUTRAL_NO_INDEX};
    if (raw.len == 0) {
        return ps_build_missing(build, &tool->at, name);
    }
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &tool->at, name, "an object");
    }
    if (ps_build_members(build, at, raw, members, 5) != 0 ||
        ps_build_name(build, at, "name", members[0].raw, &tool->name) != 0 ||
        ps_build_string(build, at, "description", members[1].raw, &tool->description) != 0 ||
        ps_build_schema(build, at, "parameters", members[2].raw, true, &tool->parameters) != 0 ||
        ps_build_tri(build, at, "strict", members[3].raw, &tool->strict) != 0 ||
        ps_build_object(build, at, "format", members[4].raw, &tool->format) != 0) {
        return -1;
    }
    return 0;
}

static int read_tool(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                     struct ps_slice raw)
{
    struct ps_build_member members[] = {{"type", PS_SLICE_NONE},
                                        {"function", PS_SLICE_NONE},
                                        {"custom", PS_SLICE_NONE},
                                        {"cache_control", PS_SLICE_NONE}};

    tool->raw = raw;
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &tool->at, NULL, "an object");
    }
    if (ps_build_members(build, &tool->at, raw, members, 4) != 0 ||
        ps_build_object(build, &tool->at, "cache_control", members[3].raw, &tool->cache_control) !=
            0) {
        return -1;
    }
    if (!ps_raw_begins(members[0].raw, '"')) {
        return ps_build_expected(build, &tool->at, "type", "a string");
    }
    if (ps_raw_word(members[0].raw, "function")) {
        return read_body(build, tool, "function", members[1].raw);
    }
    if (ps_raw_word(members[0].raw, "custom")) {
        tool->kind = PS_TOOL_CUSTOM;
        return read_body(build, tool, "custom", members[2].raw);
    }
    tool->kind = PS_TOOL_OPAQUE;
    return 0;
}

int ps_build_openai_tools(struct ps_neutral_build *build, struct ps_slice raw)
{
    return ps_build_tools(build, raw, read_tool);
}
