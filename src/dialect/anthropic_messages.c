/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/*
 * The conversation of a body. Results of tools stand in a user's message there; in the neutral form
 * they make a message of their own, before what is left of the user's.
 */

struct messages {
    struct ps_neutral_build *build;
    struct ps_neutral_message *list; /* room for the system, and for two for each of the body */
    size_t count;
};

static bool is_result(const struct ps_neutral_part *part)
{
    return part->kind == PS_PART_TOOL_RESULT;
}

/* Results first, both kinds in their order. `parts` stays as it is: other places point into it. */
static int split(struct messages *messages, struct ps_neutral_at at, struct ps_neutral_part *parts,
                 size_t count)
{
    struct ps_neutral_message *list = &messages->list[messages->count];
    struct ps_neutral_part *sorted = parts;
    size_t results = 0;
    size_t leading = 0;

    for (size_t i = 0; i < count; i++) {
        results += is_result(&parts[i]);
        leading += i == leading && is_result(&parts[i]);
    }
    if (results == 0) {
        return 0;
    }
    if (results != leading) {
        size_t result = 0;
        size_t other = results;

        sorted = ps_build_array(messages->build, count, sizeof(*sorted));
        if (sorted == NULL) {
            return -1;
        }
        for (size_t i = 0; i < count; i++) {
            sorted[is_result(&parts[i]) ? result++ : other++] = parts[i];
        }
    }
    list[0] = (struct ps_neutral_message){
        .role = PS_ROLE_TOOL, .at = at, .parts = sorted, .part_count = results};
    if (results < count) {
        list[1] = (struct ps_neutral_message){.role = PS_ROLE_USER,
                                              .at = at,
                                              .parts = sorted + results,
                                              .part_count = count - results};
        messages->count++;
    }
    return 0;
}

static int read_role(struct messages *messages, const struct ps_neutral_at *at, struct ps_slice raw,
                     enum ps_role *ret)
{
    static const char *const words[] = {"user", "assistant", "system", NULL};
    static const enum ps_role roles[] = {PS_ROLE_USER, PS_ROLE_ASSISTANT, PS_ROLE_SYSTEM};
    int word = -1;

    if (!ps_raw_given(raw)) {
        return ps_build_missing(messages->build, at, "role");
    }
    if (ps_build_word(messages->build, at, "role", raw, words, &word) != 0) {
        return -1;
    }
    *ret = roles[word];
    return 0;
}

/* An assistant may have said nothing. */
static int check_empty(struct messages *messages, const struct ps_neutral_message *message)
{
    const struct ps_neutral_part *only = message->part_count == 1 ? message->parts : NULL;
    bool empty = message->part_count == 0 || (only != NULL && only->kind == PS_PART_TEXT &&
                                              !ps_raw_says(only->text) && only->raw.len == 0);

    return !empty || message->role == PS_ROLE_ASSISTANT
               ? 0
               : ps_build_expected(messages->build, &message->at, "content",
                                   "a string or an array of blocks that is not empty");
}

static int read_message(struct messages *messages, uint32_t index, struct ps_slice raw)
{
    struct ps_build_member members[] = {{"role", PS_SLICE_NONE}, {"content", PS_SLICE_NONE}};
    struct ps_neutral_message *message = &messages->list[messages->count];
    struct ps_neutral_part *parts = NULL;

    message->at = (struct ps_neutral_at){NULL, "messages", index};
    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(messages->build, &message->at, NULL, "an object");
    }
    if (ps_build_members(messages->build, &message->at, raw, members, 2) != 0 ||
        read_role(messages, &message->at, members[0].raw, &message->role) != 0) {
        return -1;
    }
    if (!ps_raw_given(members[1].raw)) {
        return ps_build_missing(messages->build, &message->at, "content");
    }
    if (ps_anthropic_content(messages->build, message->role, &message->at, members[1].raw, &parts,
                             &message->part_count) != 0) {
        return -1;
    }
    message->parts = parts;
    if (check_empty(messages, message) != 0 ||
        (message->role == PS_ROLE_ASSISTANT &&
         ps_build_note_calls(messages->build, message) != 0) ||
        (message->role == PS_ROLE_USER &&
         split(messages, message->at, parts, message->part_count) != 0)) {
        return -1;
    }
    messages->count++;
    return 0;
}

static int read_system(struct messages *messages, struct ps_slice raw)
{
    struct ps_neutral_message *message = &messages->list[0];
    struct ps_neutral_build *build = messages->build;
    bool list = ps_raw_begins(raw, '[');
    size_t count = list ? ps_build_count(raw) : 1;
    struct ps_neutral_part *parts;
    struct ps_json_walk walk;
    struct ps_slice block;

    message->role = PS_ROLE_SYSTEM;
    message->at = (struct ps_neutral_at){NULL, "system", PS_NEUTRAL_NO_INDEX};
    if (!ps_raw_given(raw) || (!list && ps_raw_begins(raw, '"') && !ps_raw_says(raw)) ||
        count == 0) {
        return 0;
    }
    if (!list && !ps_raw_begins(raw, '"')) {
        return ps_build_expected(build, NULL, "system", "a string or an array of text blocks");
    }
    parts = ps_build_parts(build, &message->at, count);
    if (parts == NULL) {
        return -1;
    }
    message->parts = parts;
    message->part_count = count;
    messages->count = 1;
    if (!list) {
        parts[0].at = message->at;
        parts[0].kind = PS_PART_TEXT;
        parts[0].text = raw;
        return 0;
    }
    ps_json_walk_init(&walk, raw);
    for (size_t i = 0; i < count && ps_json_walk_element(&walk, &block); i++) {
        parts[i].at = (struct ps_neutral_at){NULL, "system", (uint32_t)i};
        if (ps_anthropic_block(build, PS_ROLE_SYSTEM, block, &parts[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_anthropic_messages(struct ps_neutral_build *build, struct ps_slice system,
                          struct ps_slice array)
{
    size_t count = ps_raw_begins(array, '[') ? ps_build_count(array) : 0;
    struct messages messages = {.build = build};
    struct ps_neutral *neutral = build->neutral;
    struct ps_json_walk walk;
    struct ps_slice raw;

    if (count == 0) {
        return ps_build_expected(build, NULL, "messages", "an array of messages that is not empty");
    }
    if (count > PS_NEUTRAL_MESSAGES) {
        return ps_build_bad(build, NULL, "messages",
                            "holds more messages than the gateway translates.");
    }
    messages.list = ps_build_array(build, 2 * count + 1, sizeof(*messages.list));
    if (messages.list == NULL || read_system(&messages, system) != 0) {
        return -1;
    }
    ps_json_walk_init(&walk, array);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        if (read_message(&messages, i, raw) != 0) {
            return -1;
        }
    }
    neutral->messages = messages.list;
    neutral->message_count = messages.count;
    while (neutral->system_count < messages.count &&
           ps_role_is_system(messages.list[neutral->system_count].role)) {
        neutral->system_count++;
    }
    return 0;
}
