/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"
#include "signature.h"

/*
 * The conversation as the Gemini API has it: a system instruction, then turns of "user" and
 * "model". Neighbouring messages of one kind make one turn. Results of tools are a user's turn of
 * their own: it must answer the calls before it, and nothing but them.
 */

enum side {
    SIDE_USER,
    SIDE_MODEL,
    SIDE_TOOLS,
};

/* A signature of text that came without a thought of its own waits for that text. */
struct turn {
    struct ps_encode *encode;
    struct ps_slice signature; /* RAW string */
    bool any;                  /* a part has been written */
    bool called;               /* a call has been written, in this message */
};

static enum side side_of(const struct ps_neutral_message *message)
{
    return message->role == PS_ROLE_ASSISTANT ? SIDE_MODEL
           : message->role == PS_ROLE_TOOL    ? SIDE_TOOLS
                                              : SIDE_USER;
}

/* ---- parts ---- */

static void write_text(struct turn *turn, struct ps_slice text)
{
    struct ps_json_out *out = &turn->encode->out;

    if (!ps_raw_says(text)) {
        return; /* an empty part is refused there, and says nothing */
    }
    ps_out_open(out, '{');
    ps_out_member(out, "text", text);
    ps_out_member(out, "thoughtSignature", turn->signature);
    ps_out_close(out, '}');
    turn->signature = PS_SLICE_NONE;
    turn->any = true;
}

static int write_data(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    if (media->media_type.len == 0) {
        return ps_encode_bad_at(encode, &part->at, NULL, "of a media type that is named");
    }
    ps_out_open(out, '{');
    ps_out_key(out, "inlineData");
    ps_out_open(out, '{');
    ps_out_member_text(out, "mimeType", media->media_type);
    ps_out_key(out, "data");
    ps_out_string_begin(out);
    ps_out_string_plain(out, media->data);
    ps_out_string_end(out);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return 0;
}

static void write_uri(struct ps_encode *encode, const struct ps_neutral_media *media)
{
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_key(out, "fileData");
    ps_out_open(out, '{');
    if (media->media_type.len > 0) {
        ps_out_member_text(out, "mimeType", media->media_type);
    }
    ps_out_member(out, "fileUri", media->url);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
}

static int drop_about(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;

    if (media->detail.len > 0 && !ps_raw_word(media->detail, "auto") &&
        ps_drop_at(encode, &part->at, "detail") != 0) {
        return -1;
    }
    if ((media->filename.len > 0 && ps_drop_at(encode, &part->at, "filename") != 0) ||
        (media->context.len > 0 && ps_drop_at(encode, &part->at, "context") != 0)) {
        return -1;
    }
    return media->citations.len > 0 ? ps_drop_at(encode, &part->at, "citations") : 0;
}

static int write_media(struct turn *turn, const struct ps_neutral_part *part)
{
    struct ps_encode *encode = turn->encode;

    switch (part->media->source) {
    case PS_MEDIA_URL:
        write_uri(encode, part->media);
        break;
    case PS_MEDIA_TEXT:
        write_text(turn, part->media->text);
        break;
    case PS_MEDIA_FILE: /* it lies at another provider */
        return ps_encode_unsupported_at(encode, &part->at, "file_id");
    case PS_MEDIA_BASE64:
    default:
        if (write_data(encode, part) != 0) {
            return -1;
        }
        break;
    }
    turn->any = true;
    return drop_about(encode, part);
}

/*
 * Newer models refuse a call in the history that has lost its signature, unless the first of its
 * turn says so in the word that the API has for calls of other models.
 */
static int write_call(struct turn *turn, const struct ps_neutral_part *part)
{
    const struct ps_neutral_call *call = part->call;
    struct ps_encode *encode = turn->encode;
    struct ps_json_out *out = &encode->out;
    struct ps_slice signature = ps_encode_call_signature(encode, call);

    if (call->custom) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    ps_out_open(out, '{');
    ps_out_key(out, "functionCall");
    ps_out_open(out, '{');
    ps_out_member(out, "id", call->id);
    ps_out_member(out, "name", call->name);
    ps_out_member(out, "args", call->arguments);
    ps_out_close(out, '}');
    if (signature.len > 0) {
        ps_out_member(out, "thoughtSignature", signature);
    } else if (!turn->called && ps_gemini_has_levels(encode)) {
        ps_out_member_cstr(out, "thoughtSignature", "skip_thought_signature_validator");
    }
    ps_out_close(out, '}');
    turn->called = true;
    turn->any = true;
    return 0;
}

static int write_result_media(struct turn *turn, const struct ps_neutral_result *result)
{
    struct ps_encode *encode = turn->encode;
    struct ps_json_out *out = &encode->out;
    bool opened = false;

    for (size_t i = 0; i < result->part_count; i++) {
        const struct ps_neutral_part *part = &result->parts[i];

        if (part->kind == PS_PART_TEXT) {
            continue;
        }
        if (part->kind != PS_PART_IMAGE && part->kind != PS_PART_DOCUMENT) {
            return ps_encode_unsupported_at(encode, &part->at, NULL);
        }
        if (!opened) {
            ps_out_key(out, "parts");
            ps_out_open(out, '[');
            opened = true;
        }
        if (write_media(turn, part) != 0) {
            return -1;
        }
    }
    if (opened) {
        ps_out_close(out, ']');
    }
    return 0;
}

static int write_result(struct turn *turn, const struct ps_neutral_part *part)
{
    const struct ps_neutral_result *result = part->result;
    struct ps_json_out *out = &turn->encode->out;

    ps_out_open(out, '{');
    ps_out_key(out, "functionResponse");
    ps_out_open(out, '{');
    ps_out_member(out, "id", result->call->id);
    ps_out_member(out, "name", result->call->name);
    ps_out_key(out, "response");
    ps_out_open(out, '{');
    ps_out_key(out, result->is_error ? "error" : "output");
    ps_encode_joined_text(out, result->parts, result->part_count);
    ps_out_close(out, '}');
    if (write_result_media(turn, result) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    turn->any = true;
    return 0;
}

/* Only what the model has signed may be handed back to it. */
static int write_reasoning(struct turn *turn, const struct ps_neutral_part *part)
{
    struct ps_signed thought = ps_encode_thought(turn->encode, part->reasoning);
    struct ps_json_out *out = &turn->encode->out;

    if (thought.signature.len == 0) {
        return ps_drop_at(turn->encode, &part->at, NULL);
    }
    if (!ps_raw_says(part->text)) {
        turn->signature = thought.signature;
        return 0;
    }
    ps_out_open(out, '{');
    ps_out_member(out, "text", part->text);
    ps_out_member_bool(out, "thought", true);
    ps_out_member(out, "thoughtSignature", thought.signature);
    ps_out_close(out, '}');
    turn->any = true;
    return 0;
}

static int write_part(struct turn *turn, const struct ps_neutral_part *part)
{
    if (part->cache_control.len > 0 && ps_drop(turn->encode, "cache_control") != 0) {
        return -1;
    }
    switch (part->kind) {
    case PS_PART_TEXT:
    case PS_PART_REFUSAL:
        write_text(turn, part->text);
        return 0;
    case PS_PART_IMAGE:
    case PS_PART_DOCUMENT:
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
        return write_media(turn, part);
    case PS_PART_TOOL_CALL:
        return write_call(turn, part);
    case PS_PART_TOOL_RESULT:
        return write_result(turn, part);
    case PS_PART_REASONING:
        return write_reasoning(turn, part);
    case PS_PART_OPAQUE:
    default:
        return ps_encode_unsupported_at(turn->encode, &part->at, NULL);
    }
}

/* System text in the middle has no place but a user's turn: marked, so that the model can tell. */
static void write_marked(struct turn *turn, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &turn->encode->out;
    bool any = false;

    for (size_t i = 0; i < message->part_count; i++) {
        if (!ps_raw_says(message->parts[i].text)) {
            continue;
        }
        if (!any) {
            ps_out_open(out, '{');
            ps_out_key(out, "text");
            ps_out_string_begin(out);
        }
        ps_out_string_plain(out, any ? PS_SLICE_LIT("\\n") : PS_SLICE_LIT("<system>\\n"));
        ps_out_string_raw(out, message->parts[i].text);
        any = true;
    }
    if (any) {
        ps_out_string_plain(out, PS_SLICE_LIT("\\n</system>"));
        ps_out_string_end(out);
        ps_out_close(out, '}');
        turn->any = true;
    }
}

/* ---- turns ---- */

static bool part_says(const struct ps_encode *encode, const struct ps_neutral_part *part)
{
    switch (part->kind) {
    case PS_PART_TEXT:
    case PS_PART_REFUSAL:
        return ps_raw_says(part->text);
    case PS_PART_REASONING:
        return ps_raw_says(part->text) && ps_encode_is_signed(encode, part->reasoning);
    case PS_PART_IMAGE:
    case PS_PART_DOCUMENT:
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
        return part->media->source != PS_MEDIA_TEXT || ps_raw_says(part->media->text);
    case PS_PART_TOOL_CALL:
    case PS_PART_TOOL_RESULT:
    case PS_PART_OPAQUE:
    default:
        return true;
    }
}

static bool message_says(const struct ps_encode *encode, const struct ps_neutral_message *message)
{
    for (size_t i = 0; i < message->part_count; i++) {
        if (part_says(encode, &message->parts[i])) {
            return true;
        }
    }
    return false;
}

static int write_message(struct turn *turn, const struct ps_neutral_message *message)
{
    if (ps_role_is_system(message->role)) {
        write_marked(turn, message);
        return 0;
    }
    turn->called = false;
    turn->signature = PS_SLICE_NONE;
    for (size_t i = 0; i < message->part_count; i++) {
        if (write_part(turn, &message->parts[i]) != 0) {
            return -1;
        }
    }
    return message->name.len > 0 ? ps_drop_at(turn->encode, &message->at, "name") : 0;
}

/* Names what a message that says nothing would have had. */
static int skip_message(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    for (size_t i = 0; i < message->part_count; i++) {
        if (message->parts[i].kind == PS_PART_REASONING &&
            ps_drop_at(encode, &message->parts[i].at, NULL) != 0) {
            return -1;
        }
    }
    return 0;
}

static void open_turn(struct ps_json_out *out, enum side side)
{
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", side == SIDE_MODEL ? "model" : "user");
    ps_out_key(out, "parts");
    ps_out_open(out, '[');
}

static void close_turn(struct ps_json_out *out)
{
    ps_out_close(out, ']');
    ps_out_close(out, '}');
}

static int write_turns(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    struct turn turn = {.encode = encode};
    enum side open = SIDE_USER;
    bool is_open = false;

    ps_out_key(out, "contents");
    ps_out_open(out, '[');
    for (size_t i = neutral->system_count; i < neutral->message_count; i++) {
        const struct ps_neutral_message *message = &neutral->messages[i];

        if (!message_says(encode, message)) {
            if (skip_message(encode, message) != 0) {
                return -1;
            }
            continue;
        }
        if (is_open && open != side_of(message)) {
            close_turn(out);
            is_open = false;
        }
        if (!is_open) {
            open = side_of(message);
            open_turn(out, open);
            is_open = true;
        }
        if (write_message(&turn, message) != 0) {
            return -1;
        }
    }
    if (is_open) {
        close_turn(out);
    }
    ps_out_close(out, ']');
    return turn.any ? 0
                    : ps_fault_set(encode->fault, PS_FAULT_BAD_FIELD, "messages",
                                   "For the provider of this model messages must hold a message "
                                   "of a user that is not empty.");
}

static int write_system(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    struct turn turn = {.encode = encode};

    if (!ps_encode_has_system(neutral)) {
        return 0;
    }
    ps_out_key(out, "systemInstruction");
    ps_out_open(out, '{');
    ps_out_key(out, "parts");
    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->system_count; i++) {
        const struct ps_neutral_message *message = &neutral->messages[i];

        for (size_t j = 0; j < message->part_count; j++) {
            if (write_part(&turn, &message->parts[j]) != 0) {
                return -1;
            }
        }
        if (message->name.len > 0 && ps_drop_at(encode, &message->at, "name") != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    return 0;
}

int ps_gemini_encode_turns(struct ps_encode *encode)
{
    return write_system(encode) != 0 ? -1 : write_turns(encode);
}
