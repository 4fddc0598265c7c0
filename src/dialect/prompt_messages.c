/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"
#include "prompt_priv.h"

/* Messages in OpenAI's shape as text: one role and one run of text each. */

enum {
    ROLE,
    CONTENT,
    REFUSAL,
    TOOL_CALLS,
    FUNCTION_CALL,
    MEMBERS
};

static const struct {
    const char *name;
    struct ps_slice means; /* len 0: known, but not to models inside */
} roles[] = {
    {"user", PS_SLICE_INIT("user")},
    {"assistant", PS_SLICE_INIT("assistant")},
    {"system", PS_SLICE_INIT("system")},
    {"developer", PS_SLICE_INIT("system")},
    {"tool", {NULL, 0}},
    {"function", {NULL, 0}},
};

static int read_role(struct ps_prompt_build *build, const char *path, struct ps_slice raw,
                     struct ps_slice *ret)
{
    char full[PS_FAULT_PARAM];

    ps_prompt_path(full, path, "role");
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (ps_raw_means(raw, roles[i].name)) {
            *ret = roles[i].means;
            return ret->len > 0
                       ? 0
                       : ps_fault_set(build->fault, PS_FAULT_UNSUPPORTED_OPERATION, full,
                                      "The model runs inside the gateway, where messages of the "
                                      "role %s are not supported.",
                                      roles[i].name);
        }
    }
    return ps_prompt_expected(build, full, "system, developer, user or assistant");
}

static int read_part(struct ps_prompt_build *build, const char *path, struct ps_slice part,
                     struct ps_slice *ret)
{
    struct ps_prompt_member members[] = {
        {"type", PS_SLICE_NONE}, {"text", PS_SLICE_NONE}, {"refusal", PS_SLICE_NONE}};
    char full[PS_FAULT_PARAM];
    const struct ps_prompt_member *said = &members[1];

    if (!ps_raw_is(part, '{')) {
        return ps_prompt_expected(build, path, "an object");
    }
    if (ps_prompt_members(build, path, part, members, sizeof(members) / sizeof(members[0])) != 0) {
        return -1;
    }
    if (!ps_raw_is_string(members[0].raw)) {
        ps_prompt_path(full, path, "type");
        return ps_prompt_expected(build, full, "a string");
    }
    if (ps_raw_means(members[0].raw, "refusal")) {
        said = &members[2];
    } else if (!ps_raw_means(members[0].raw, "text")) {
        return ps_fault_set(build->fault, PS_FAULT_UNSUPPORTED_OPERATION, path,
                            "%s is not text; the model runs inside the gateway and reads only "
                            "text.",
                            path);
    }
    ps_prompt_path(full, path, said->name);
    if (!ps_raw_is_string(said->raw)) {
        return ps_prompt_expected(build, full, "a string");
    }
    return ps_prompt_text(build, full, said->raw, ret);
}

/* Parts follow each other in the build's text; a line break keeps their last and first words
 * apart. */
static int join_parts(struct ps_prompt_build *build, const char *path, struct ps_slice array,
                      struct ps_slice *ret)
{
    struct ps_json_walk walk;
    struct ps_slice part;
    char full[PS_FAULT_PARAM];
    char *start = build->text + build->text_len;
    size_t count = 0;

    ps_json_walk_init(&walk, array);
    for (; ps_json_walk_element(&walk, &part); count++) {
        struct ps_slice text = PS_SLICE_NONE;

        ps_prompt_element(full, path, count);
        if (count > 0) {
            build->text[build->text_len++] = '\n';
        }
        if (read_part(build, full, part, &text) != 0) {
            return -1;
        }
    }
    if (count == 0) {
        return ps_prompt_expected(build, path, "a string or an array that is not empty");
    }
    *ret = ps_slice(start, (size_t)(build->text + build->text_len - start));
    return 0;
}

static int read_content(struct ps_prompt_build *build, const char *path,
                        const struct ps_prompt_member *members, bool assistant,
                        struct ps_slice *ret)
{
    struct ps_slice raw = members[CONTENT].raw;
    char full[PS_FAULT_PARAM];

    ps_prompt_path(full, path, "content");
    if (!ps_raw_has(raw) && assistant) {
        raw = members[REFUSAL].raw; /* what it said instead */
    }
    if (!ps_raw_has(raw)) {
        return ps_fault_set(build->fault, PS_FAULT_MISSING_FIELD, full, "%s is required.", full);
    }
    if (ps_raw_is(raw, '[')) {
        return join_parts(build, full, raw, ret);
    }
    if (!ps_raw_is_string(raw)) {
        return ps_prompt_expected(build, full, "a string or an array of parts");
    }
    return ps_prompt_text(build, full, raw, ret);
}

static int read_message(struct ps_prompt_build *build, size_t index, struct ps_slice raw,
                        struct ps_prompt_message *ret)
{
    struct ps_prompt_member members[MEMBERS] = {
        [ROLE] = {"role", PS_SLICE_NONE},
        [CONTENT] = {"content", PS_SLICE_NONE},
        [REFUSAL] = {"refusal", PS_SLICE_NONE},
        [TOOL_CALLS] = {"tool_calls", PS_SLICE_NONE},
        [FUNCTION_CALL] = {"function_call", PS_SLICE_NONE},
    };
    char path[PS_FAULT_PARAM];
    char full[PS_FAULT_PARAM];

    ps_prompt_element(path, "messages", index);
    if (!ps_raw_is(raw, '{')) {
        return ps_prompt_expected(build, path, "an object");
    }
    if (ps_prompt_members(build, path, raw, members, MEMBERS) != 0 ||
        read_role(build, path, members[ROLE].raw, &ret->role) != 0) {
        return -1;
    }
    for (int i = TOOL_CALLS; i <= FUNCTION_CALL; i++) {
        if (ps_raw_has(members[i].raw) &&
            (!ps_raw_is(members[i].raw, '[') || ps_raw_filled(members[i].raw))) {
            ps_prompt_path(full, path, members[i].name);
            return ps_prompt_unsupported(build, full);
        }
    }
    return read_content(build, path, members, ps_slice_eq(ret->role, PS_SLICE_LIT("assistant")),
                        &ret->content);
}

int ps_prompt_messages(struct ps_prompt_build *build, struct ps_slice system, struct ps_slice array)
{
    struct ps_prompt *prompt = build->prompt;
    size_t count = ps_raw_is(array, '[') ? ps_prompt_count(array) : 0;
    struct ps_prompt_message *messages;
    struct ps_json_walk walk;
    struct ps_slice raw;
    size_t index = 0;

    if (count == 0) {
        return ps_prompt_expected(build, "messages", "an array of messages that is not empty");
    }
    if (count > PS_PROMPT_MESSAGES) {
        return ps_fault_set(build->fault, PS_FAULT_BAD_FIELD, "messages",
                            "messages must hold no more than %d messages.", PS_PROMPT_MESSAGES);
    }
    messages = ps_arena_calloc(build->arena, (count + 1) * sizeof(*messages));
    if (messages == NULL) {
        return ps_prompt_no_memory(build);
    }
    prompt->messages = messages;
    if (ps_raw_has(system)) {
        struct ps_prompt_message *message = &messages[prompt->message_count++];

        message->role = PS_SLICE_LIT("system");
        if (ps_prompt_text(build, "system", system, &message->content) != 0) {
            return -1;
        }
    }
    ps_json_walk_init(&walk, array);
    while (ps_json_walk_element(&walk, &raw)) {
        if (read_message(build, index++, raw, &messages[prompt->message_count++]) != 0) {
            return -1;
        }
    }
    return 0;
}
