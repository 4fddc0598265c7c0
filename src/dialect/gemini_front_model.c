/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/*
 * Turns of the model. Those that follow each other are one message, and texts that follow each
 * other in it one text: a client that keeps a stream's pieces hands them back as they came.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The parts of one message in the making; the last may still grow. */
struct turn {
    struct ps_gemini_contents *contents;
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

static int make_id(struct ps_gemini_contents *contents, struct ps_slice *ret)
{
    char *text = ps_arena_printf(contents->build->arena, "\"call_%u\"", contents->made_ids++);

    if (text == NULL) {
        return ps_build_no_memory(contents->build);
    }
    *ret = ps_slice_cstr(text);
    return 0;
}

static int read_call(struct ps_gemini_contents *contents, struct ps_slice raw,
                     struct ps_neutral_part *part)
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
    if (contents->call_count == PS_GEMINI_CALLS) {
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

static int add_model_parts(struct turn *turn, const struct ps_gemini_content *content)
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

int ps_gemini_read_model(struct ps_gemini_contents *contents, const struct ps_gemini_content *first,
                         size_t left, size_t *ret)
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
