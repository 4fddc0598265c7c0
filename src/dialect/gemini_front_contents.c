/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

#include <stdio.h>

/*
 * The conversation of a body. Turns of the model that follow each other are one message, and texts
 * that follow each other in it one text: a client that keeps a stream's pieces hands them back as
 * they came. Results of functions stand in a user's turn there; in the neutral form they make a
 * message of their own, before what is left of the user's. Calls may have no id there: then results
 * belong to them by name, in their order.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CALLS 1024 /* in one turn */

struct content {
    struct ps_neutral_at at;
    bool is_model;
    struct ps_slice parts; /* RAW array, or none */
    size_t count;
};

struct contents {
    struct ps_neutral_build *build;
    struct ps_neutral_message *list; /* room for the system, and for two for each content */
    size_t count;
    uint32_t made_ids;
    /* calls of the model's last turn, in their order */
    const struct ps_neutral_call *calls[CALLS];
    bool answered[CALLS];
    size_t call_count;
};

/* ---- a turn of the model ---- */

/* The parts of one message in the making; the last may still grow. */
struct turn {
    struct contents *contents;
    struct ps_neutral_part *parts;
    size_t count;
    bool open;
    bool joined;        /* its text is in `text`, without the quotes */
    bool has_signature; /* the open text has one, told before it */
    struct ps_buf text;
};

static int close_text(struct turn *turn)
{
    struct ps_neutral_part *part = turn->open ? &turn->parts[turn->count - 1] : NULL;
    struct ps_buf *text = &turn->text;
    bool joined = turn->joined;
    char *copy;

    turn->open = false;
    turn->joined = false;
    turn->has_signature = false;
    if (!joined) {
        return 0;
    }
    copy = text->failed ? NULL : ps_arena_side(turn->contents->build->arena, text->len + 2, 1);
    if (copy == NULL) {
        return ps_build_no_memory(turn->contents->build);
    }
    copy[0] = '"';
    memcpy(copy + 1, text->ptr, text->len);
    copy[text->len + 1] = '"';
    part->text = ps_slice(copy, text->len + 2);
    return 0;
}

static void add_inside(struct ps_buf *text, struct ps_slice raw)
{
    if (ps_raw_says(raw)) {
        ps_buf_append(text, raw.ptr + 1, raw.len - 2);
    }
}

static struct ps_neutral_part *add_part(struct turn *turn, const struct ps_neutral_at *at,
                                        enum ps_part_kind kind)
{
    struct ps_neutral_part *part = &turn->parts[turn->count++];

    part->at = *at;
    part->kind = kind;
    return part;
}

static int set_signature(struct turn *turn, struct ps_neutral_part *part, struct ps_slice signature)
{
    struct ps_neutral_reasoning *reasoning =
        ps_build_array(turn->contents->build, 1, sizeof(*reasoning));

    if (reasoning == NULL) {
        return -1;
    }
    reasoning->signature = signature;
    part->reasoning = reasoning;
    return 0;
}

/* Thoughts up to a signature are one. */
static int add_thought(struct turn *turn, const struct ps_neutral_at *at,
                       const struct ps_gemini_part *from)
{
    struct ps_neutral_part *part;

    if (turn->open && turn->parts[turn->count - 1].kind == PS_PART_REASONING) {
        part = &turn->parts[turn->count - 1];
        if (!turn->joined) {
            ps_buf_reset(&turn->text);
            add_inside(&turn->text, part->text);
            turn->joined = true;
        }
        add_inside(&turn->text, from->value);
    } else {
        if (close_text(turn) != 0) {
            return -1;
        }
        part = add_part(turn, at, PS_PART_REASONING);
        part->text = from->value;
        turn->open = true;
    }
    if (from->signature.len == 0) {
        return 0;
    }
    return set_signature(turn, part, from->signature) != 0 ? -1 : close_text(turn);
}

/* A text's own signature is told as a thought of nothing before it. */
static int sign_text(struct turn *turn, const struct ps_neutral_at *at, struct ps_slice signature)
{
    struct ps_neutral_part *part = &turn->parts[turn->count - 1];

    if (signature.len == 0 || turn->has_signature) {
        return 0;
    }
    turn->parts[turn->count++] = *part;
    *part = (struct ps_neutral_part){.kind = PS_PART_REASONING, .at = *at};
    turn->has_signature = true;
    return set_signature(turn, part, signature);
}

static int add_text(struct turn *turn, const struct ps_neutral_at *at,
                    const struct ps_gemini_part *from)
{
    struct ps_neutral_part *part;

    if (turn->open && turn->parts[turn->count - 1].kind == PS_PART_TEXT) {
        if (!turn->joined && ps_raw_says(from->value)) {
            ps_buf_reset(&turn->text);
            add_inside(&turn->text, turn->parts[turn->count - 1].text);
            turn->joined = true;
        }
        add_inside(&turn->text, from->value);
        return sign_text(turn, at, from->signature);
    }
    if (close_text(turn) != 0) {
        return -1;
    }
    if (!ps_raw_says(from->value)) {
        if (from->signature.len == 0) {
            return 0;
        }
        part = add_part(turn, at, PS_PART_REASONING);
        return set_signature(turn, part, from->signature);
    }
    part = add_part(turn, at, PS_PART_TEXT);
    part->text = from->value;
    turn->open = true;
    return sign_text(turn, at, from->signature);
}

static int make_id(struct contents *contents, struct ps_slice *ret)
{
    char *text = ps_arena_printf(contents->build->arena, "\"call_%u\"", contents->made_ids++);

    if (text == NULL) {
        return ps_build_no_memory(contents->build);
    }
    *ret = ps_slice_cstr(text);
    return 0;
}

static int read_call(struct contents *contents, struct ps_slice raw, struct ps_neutral_part *part)
{
    const struct ps_neutral_at at = {&part->at, "functionCall", PS_NEUTRAL_NO_INDEX};
    struct ps_build_member members[] = {
        {"id", PS_SLICE_NONE}, {"name", PS_SLICE_NONE}, {"args", PS_SLICE_NONE}};
    struct ps_neutral_build *build = contents->build;
    struct ps_neutral_call *call = ps_build_array(build, 1, sizeof(*call));

    if (call == NULL) {
        return -1;
    }
    call->arguments = PS_SLICE_LIT("{}");
    part->call = call;
    if (ps_gemini_members(build, &at, raw, members, COUNT(members)) != 0 ||
        ps_build_string(build, &at, "id", members[0].raw, &call->id) != 0 ||
        ps_build_string(build, &at, "name", members[1].raw, &call->name) != 0 ||
        ps_build_object(build, &at, "args", members[2].raw, &call->arguments) != 0) {
        return -1;
    }
    if (!ps_raw_says(call->name)) {
        return call->name.len == 0
                   ? ps_build_missing(build, &at, "name")
                   : ps_build_expected(build, &at, "name", "a string that is not empty");
    }
    if (contents->call_count == CALLS) {
        return ps_build_bad(build, &part->at, NULL,
                            "is one call more than the gateway translates in a turn.");
    }
    contents->answered[contents->call_count] = false;
    contents->calls[contents->call_count++] = call;
    return ps_raw_says(call->id) ? 0 : make_id(contents, &call->id);
}

static int add_call(struct turn *turn, const struct ps_neutral_at *at,
                    const struct ps_gemini_part *from)
{
    struct ps_neutral_part *part;

    if (close_text(turn) != 0) {
        return -1;
    }
    part = add_part(turn, at, PS_PART_TOOL_CALL);
    if (read_call(turn->contents, from->value, part) != 0) {
        return -1;
    }
    ((struct ps_neutral_call *)(uintptr_t)part->call)->signature = from->signature;
    return 0;
}

static int add_model_part(struct turn *turn, const struct ps_neutral_at *at, struct ps_slice raw)
{
    struct ps_neutral_build *build = turn->contents->build;
    struct ps_gemini_part from;

    if (ps_gemini_read_part(build, at, raw, &from) != 0) {
        return -1;
    }
    switch (from.kind) {
    case PS_GEMINI_TEXT:
        return from.thought ? add_thought(turn, at, &from) : add_text(turn, at, &from);
    case PS_GEMINI_CALL:
        return add_call(turn, at, &from);
    case PS_GEMINI_RESPONSE:
        return ps_build_bad(build, at, "functionResponse",
                            "is no content that a turn of the model may hold.");
    case PS_GEMINI_BLOB:
    case PS_GEMINI_FILE:
    default:
        return close_text(turn) != 0
                   ? -1
                   : ps_gemini_read_media(build, &from, add_part(turn, at, PS_PART_IMAGE));
    }
}

static int add_model_parts(struct turn *turn, const struct content *content)
{
    struct ps_json_walk walk;
    struct ps_slice raw;

    if (content->count == 0) {
        return 0;
    }
    ps_json_walk_init(&walk, content->parts);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &raw); i++) {
        const struct ps_neutral_at at = {&content->at, "parts", i};

        if (add_model_part(turn, &at, raw) != 0) {
            return -1;
        }
    }
    return 0;
}

/* One message of all contents from `first` on; *ret: how many they are. */
static int read_model(struct contents *contents, const struct content *first, size_t left,
                      size_t *ret)
{
    struct ps_neutral_message *message = &contents->list[contents->count];
    struct ps_neutral_build *build = contents->build;
    struct turn turn = {.contents = contents};
    size_t room = 0;
    int rc = 0;

    *ret = 0;
    while (*ret < left && first[*ret].is_model) {
        room += first[(*ret)++].count;
    }
    contents->call_count = 0;
    if (room == 0) {
        return 0;
    }
    turn.parts = ps_build_parts(build, &first->at, 2 * room);
    if (turn.parts == NULL) {
        return -1;
    }
    ps_buf_init(&turn.text, build->body.len);
    for (size_t i = 0; rc == 0 && i < *ret; i++) {
        rc = add_model_parts(&turn, &first[i]);
    }
    rc = rc == 0 ? close_text(&turn) : rc;
    ps_buf_deinit(&turn.text);
    if (rc != 0 || turn.count == 0) {
        return rc; /* a turn that says nothing is none */
    }
    *message = (struct ps_neutral_message){
        .role = PS_ROLE_ASSISTANT, .at = first->at, .parts = turn.parts, .part_count = turn.count};
    contents->count++;
    return ps_build_note_calls(build, message);
}

/* ---- a turn of the user ---- */

static bool is_answer(const struct contents *contents, size_t i, struct ps_slice id,
                      struct ps_slice name)
{
    const struct ps_neutral_call *call = contents->calls[i];

    return id.len > 0 ? ps_raw_same(call->id, id)
                      : !contents->answered[i] && ps_raw_same(call->name, name);
}

static const struct ps_neutral_call *find_call(struct contents *contents, struct ps_slice id,
                                               struct ps_slice name)
{
    for (size_t i = 0; i < contents->call_count; i++) {
        if (is_answer(contents, i, id, name)) {
            contents->answered[i] = true;
            return contents->calls[i];
        }
    }
    return NULL;
}

static int read_result(struct contents *contents, struct ps_slice raw, struct ps_neutral_part *part)
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

static int read_user_part(struct contents *contents, const struct ps_gemini_part *from,
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

static size_t count_results(const struct content *content)
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
static int read_user_parts(struct contents *contents, const struct content *content,
                           struct ps_neutral_part *parts, size_t results)
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

static int read_user(struct contents *contents, const struct content *content)
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
                        struct content *content)
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

static int read_system(struct contents *contents, const struct ps_neutral_at *top,
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

static int read_all(struct contents *contents, const struct content *list, size_t count)
{
    size_t step;

    for (size_t i = 0; i < count; i += step) {
        step = 1;
        if (list[i].is_model ? read_model(contents, &list[i], count - i, &step) != 0
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
    struct contents *contents = ps_build_array(build, 1, sizeof(*contents));
    struct ps_neutral *neutral = build->neutral;
    struct content *list;
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
