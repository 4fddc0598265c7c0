/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/*
 * The conversation of a body: its turns, and those of the user (the model's: gemini_front_model.c).
 * Results of functions stand in a user's turn there; in the neutral form they make a message of
 * their own, before what is left of the user's. Calls may have no id there: then results belong to
 * them by name, in their order.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a turn of the user ---- */

static bool is_answer(const struct ps_gemini_contents *contents, size_t i, struct ps_slice id,
                      struct ps_slice name)
{
    const struct ps_neutral_call *call = contents->calls[i];

    return id.len > 0 ? ps_raw_same(call->id, id)
                      : !contents->answered[i] && ps_raw_same(call->name, name);
}

static const struct ps_neutral_call *find_call(struct ps_gemini_contents *contents,
                                               struct ps_slice id, struct ps_slice name)
{
    for (size_t i = 0; i < contents->call_count; i++) {
        if (is_answer(contents, i, id, name)) {
            contents->answered[i] = true;
            return contents->calls[i];
        }
    }
    return NULL;
}

static int read_result(struct ps_gemini_contents *contents, struct ps_slice raw,
                       struct ps_neutral_part *part)
{
    struct ps_neutral_build *build = contents->build;
    struct ps_neutral_result *result = ps_build_array(build, 1, sizeof(*result));
    struct ps_slice name = PS_SLICE_NONE;

    if (result == NULL) {
        return -1;
    }
    part->kind = PS_PART_TOOL_RESULT;
    part->result = result;
    if (ps_gemini_read_response(build, &part->at, raw, result, &name) != 0) {
        return -1;
    }
    if (ps_raw_says(result->id)) {
        result->call = find_call(contents, result->id, PS_SLICE_NONE);
    }
    if (result->call == NULL && ps_raw_says(name)) { /* the call may have had no id */
        result->call = find_call(contents, PS_SLICE_NONE, name);
    }
    if (result->call == NULL) {
        return ps_build_bad(build, &part->at, "functionResponse",
                            "answers no function call of the model's turn before it.");
    }
    result->id = result->call->id;
    return 0;
}

static int read_user_part(struct ps_gemini_contents *contents, const struct ps_gemini_part *from,
                          struct ps_neutral_part *part)
{
    switch (from->kind) {
    case PS_GEMINI_TEXT:
        part->kind = PS_PART_TEXT;
        part->text = from->value.len > 0 ? from->value : PS_SLICE_LIT("\"\"");
        return 0;
    case PS_GEMINI_BLOB:
    case PS_GEMINI_FILE:
        return ps_gemini_read_media(contents->build, from, part);
    case PS_GEMINI_RESPONSE:
        return read_result(contents, from->value, part);
    case PS_GEMINI_CALL:
    default:
        return ps_build_bad(contents->build, &part->at, "functionCall",
                            "is no content that a turn of the user may hold.");
    }
}

static bool holds_response(struct ps_slice part)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(part, '{')) {
        return false;
    }
    ps_json_walk_init(&walk, part);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_gemini_key_is(key, "functionResponse") && ps_raw_given(value)) {
            return true;
        }
    }
    return false;
}

static size_t count_results(const struct ps_gemini_content *content)
{
    struct ps_json_walk walk;
    struct ps_slice raw;
    size_t count = 0;

    ps_json_walk_init(&walk, content->parts);
    while (ps_json_walk_element(&walk, &raw)) {
        count += holds_response(raw);
    }
    return count;
}

/* Results first, then the rest, both in their order. */
static int read_user_parts(struct ps_gemini_contents *contents,
                           const struct ps_gemini_content *content, struct ps_neutral_part *parts,
                           size_t results)
{
    struct ps_json_walk walk;
    struct ps_slice raw;
    size_t result = 0;
    size_t other = results;

    ps_json_walk_init(&walk, content->parts);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        const struct ps_neutral_at at = {&content->at, "parts", i};
        struct ps_gemini_part from;
        struct ps_neutral_part *part;

        if (ps_gemini_read_part(contents->build, &at, raw, &from) != 0) {
            return -1;
        }
        part = &parts[from.kind == PS_GEMINI_RESPONSE ? result++ : other++];
        part->at = at;
        if (read_user_part(contents, &from, part) != 0) {
            return -1;
        }
    }
    return 0;
}

static int read_user(struct ps_gemini_contents *contents, const struct ps_gemini_content *content)
{
    struct ps_neutral_build *build = contents->build;
    struct ps_neutral_part *parts;
    size_t results;

    if (content->count == 0) {
        return ps_build_expected(build, &content->at, "parts", "an array that is not empty");
    }
    parts = ps_build_parts(build, &content->at, content->count);
    results = count_results(content);
    if (parts == NULL || read_user_parts(contents, content, parts, results) != 0) {
        return -1;
    }
    if (results > 0) {
        contents->list[contents->count++] = (struct ps_neutral_message){
            .role = PS_ROLE_TOOL, .at = content->at, .parts = parts, .part_count = results};
    }
    if (results < content->count) {
        contents->list[contents->count++] =
            (struct ps_neutral_message){.role = PS_ROLE_USER,
                                        .at = content->at,
                                        .parts = parts + results,
                                        .part_count = content->count - results};
    }
    return 0;
}

/* ---- the conversation ---- */

/* A turn without a role is the user's. "function" is an old word for a user's turn of results. */
static int read_content(struct ps_neutral_build *build, struct ps_slice raw,
                        struct ps_gemini_content *content)
{
    static const char *const roles[] = {"user", "model", "function", NULL};
    struct ps_build_member members[] = {{"role", PS_SLICE_NONE}, {"parts", PS_SLICE_NONE}};
    int role = 0;

    if (!ps_raw_begins(raw, '{')) {
        return ps_build_expected(build, &content->at, NULL, "an object");
    }
    if (ps_gemini_members(build, &content->at, raw, members, COUNT(members)) != 0 ||
        (ps_raw_says(members[0].raw) &&
         ps_build_word(build, &content->at, "role", members[0].raw, roles, &role) != 0)) {
        return -1;
    }
    if (members[1].raw.len > 0 && !ps_raw_begins(members[1].raw, '[')) {
        return ps_build_expected(build, &content->at, "parts", "an array");
    }
    content->is_model = role == 1;
    content->parts = members[1].raw;
    content->count = members[1].raw.len > 0 ? ps_build_count(members[1].raw) : 0;
    return 0;
}

static int read_system(struct ps_gemini_contents *contents, const struct ps_neutral_at *top,
                       struct ps_slice raw)
{
    struct ps_neutral_build *build = contents->build;
    struct ps_neutral_message *message = &contents->list[0];
    struct ps_build_member members[] = {{"role", PS_SLICE_NONE}, {"parts", PS_SLICE_NONE}};
    struct ps_neutral_part *parts;
    struct ps_json_walk walk;
    struct ps_slice element;

    message->role = PS_ROLE_SYSTEM;
    message->at = (struct ps_neutral_at){top, "systemInstruction", PS_NEUTRAL_NO_INDEX};
    if (ps_build_object(build, top, "systemInstruction", raw, &raw) != 0) {
        return -1;
    }
    if (!ps_raw_given(raw)) {
        return 0;
    }
    if (ps_gemini_members(build, &message->at, raw, members, COUNT(members)) != 0) {
        return -1;
    }
    raw = members[1].raw;
    if (raw.len > 0 && !ps_raw_begins(raw, '[')) {
        return ps_build_expected(build, &message->at, "parts", "an array");
    }
    message->part_count = raw.len > 0 ? ps_build_count(raw) : 0;
    if (message->part_count == 0) {
        return 0;
    }
    parts = ps_build_parts(build, &message->at, message->part_count);
    if (parts == NULL) {
        return -1;
    }
    message->parts = parts;
    contents->count = 1;
    ps_json_walk_init(&walk, raw);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        struct ps_gemini_part from;

        parts[i].at = (struct ps_neutral_at){&message->at, "parts", i};
        if (ps_gemini_read_part(build, &parts[i].at, element, &from) != 0) {
            return -1;
        }
        if (from.kind != PS_GEMINI_TEXT) {
            return ps_build_unsupported(build, &parts[i].at, NULL);
        }
        (void)read_user_part(contents, &from, &parts[i]);
    }
    return 0;
}

static int read_all(struct ps_gemini_contents *contents, const struct ps_gemini_content *list,
                    size_t count)
{
    size_t step;

    for (size_t i = 0; i < count; i += step) {
        step = 1;
        if (list[i].is_model ? ps_gemini_read_model(contents, &list[i], count - i, &step) != 0
                             : read_user(contents, &list[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_gemini_contents(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                       struct ps_slice system, struct ps_slice array)
{
    size_t count = ps_raw_begins(array, '[') ? ps_build_count(array) : 0;
    struct ps_gemini_contents *contents = ps_build_array(build, 1, sizeof(*contents));
    struct ps_neutral *neutral = build->neutral;
    struct ps_gemini_content *list;
    struct ps_json_walk walk;
    struct ps_slice raw;

    if (contents == NULL) {
        return -1;
    }
    if (count == 0) {
        return ps_build_expected(build, top, "contents", "an array that is not empty");
    }
    if (count > PS_NEUTRAL_MESSAGES) {
        return ps_build_bad(build, top, "contents",
                            "holds more turns than the gateway translates.");
    }
    contents->build = build;
    contents->list = ps_build_array(build, 2 * count + 1, sizeof(*contents->list));
    list = ps_build_array(build, count, sizeof(*list));
    if (contents->list == NULL || list == NULL || read_system(contents, top, system) != 0) {
        return -1;
    }
    ps_json_walk_init(&walk, array);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        list[i].at = (struct ps_neutral_at){top, "contents", i};
        if (read_content(build, raw, &list[i]) != 0) {
            return -1;
        }
    }
    if (read_all(contents, list, count) != 0) {
        return -1;
    }
    neutral->messages = contents->list;
    neutral->message_count = contents->count;
    neutral->system_count = contents->count > 0 && contents->list[0].role == PS_ROLE_SYSTEM ? 1 : 0;
    return 0;
}
