/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "signature.h"

#include "penstock/base/base64.h"

/*
 * The conversation as Anthropic's API has it: a system text, then turns of user and assistant.
 * Neighbouring messages of one side make one turn; results of tools come first in the user's.
 */

#define ID_BYTES 256

static bool is_own(const struct ps_encode *encode)
{
    return encode->request->family == PS_FAMILY_ANTHROPIC;
}

/* ---- media ---- */

static void open_source(struct ps_json_out *out, const char *type)
{
    ps_out_key(out, "source");
    ps_out_open(out, '{');
    ps_out_key(out, "type");
    ps_out_cstr(out, type);
}

static void write_data(struct ps_json_out *out, const struct ps_neutral_media *media)
{
    open_source(out, "base64");
    ps_out_member_text(out, "media_type", media->media_type);
    ps_out_key(out, "data");
    ps_out_string_begin(out);
    ps_out_string_plain(out, media->data);
    ps_out_string_end(out);
    ps_out_close(out, '}');
}

static bool is_image_type(struct ps_slice type)
{
    static const char *const types[] = {"image/jpeg", "image/png", "image/gif", "image/webp"};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ps_slice_ieq(type, ps_slice_cstr(types[i]))) {
            return true;
        }
    }
    return false;
}

/* A text that came as base64 goes out as a text. */
static int write_plain_document(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;
    uint8_t *text = ps_arena_side(encode->arena, media->data.len + 1, 1);
    size_t len = 0;

    if (text == NULL) {
        return ps_encode_no_memory(encode);
    }
    if (!ps_base64_decode(media->data, text, &len)) {
        return ps_encode_bad_at(encode, &part->at, NULL, "valid base64");
    }
    for (size_t i = 0, step; i < len; i += step) {
        step = ps_utf8_length((const char *)text + i, len - i);
        if (step == 0) {
            return ps_encode_bad_at(encode, &part->at, NULL, "a PDF or a text in UTF-8");
        }
    }
    open_source(out, "text");
    ps_out_member_cstr(out, "media_type", "text/plain");
    ps_out_key(out, "data");
    ps_out_text(out, ps_slice((const char *)text, len));
    ps_out_close(out, '}');
    return 0;
}

static int write_base64(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;

    if (part->kind == PS_PART_IMAGE) {
        if (!is_image_type(media->media_type)) {
            return ps_encode_bad_at(encode, &part->at, NULL,
                                    "an image of the type jpeg, png, gif or webp");
        }
        write_data(&encode->out, media);
        return 0;
    }
    if (ps_slice_ieq(media->media_type, PS_SLICE_LIT("application/pdf"))) {
        write_data(&encode->out, media);
        return 0;
    }
    if (media->media_type.len > 5 &&
        ps_slice_ieq(ps_slice(media->media_type.ptr, 5), PS_SLICE_LIT("text/"))) {
        return write_plain_document(encode, part);
    }
    return ps_encode_bad_at(encode, &part->at, NULL, "a PDF or a text");
}

static int write_source(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    switch (media->source) {
    case PS_MEDIA_URL:
        open_source(out, "url");
        ps_out_member(out, "url", media->url);
        break;
    case PS_MEDIA_TEXT:
        open_source(out, "text");
        ps_out_member_cstr(out, "media_type", "text/plain");
        ps_out_member(out, "data", media->text);
        break;
    case PS_MEDIA_FILE:
        if (!is_own(encode)) {
            /* it lies at another provider */
            return ps_encode_unsupported_at(encode, &part->at, "file_id");
        }
        open_source(out, "file");
        ps_out_member(out, "file_id", media->file_id);
        break;
    case PS_MEDIA_BASE64:
    default:
        return write_base64(encode, part);
    }
    ps_out_close(out, '}');
    return 0;
}

static int write_media(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;
    bool is_image = part->kind == PS_PART_IMAGE;

    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", is_image ? "image" : "document");
    if (write_source(encode, part) != 0) {
        return -1;
    }
    if (!is_image) {
        ps_out_member(out, "title", media->filename);
        ps_out_member(out, "context", media->context);
        ps_out_member(out, "citations", media->citations);
    }
    ps_out_member(out, "cache_control", part->cache_control);
    ps_out_close(out, '}');
    return media->detail.len > 0 && !ps_raw_word(media->detail, "auto")
               ? ps_drop_at(encode, &part->at, "detail")
               : 0;
}

/* ---- text ---- */

static int write_text(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    struct ps_json_out *out = &encode->out;

    if (!ps_raw_says(part->text)) {
        return 0; /* an empty block is refused there, and says nothing */
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "text");
    ps_out_member(out, "text", part->text);
    ps_out_member(out, "cache_control", part->cache_control);
    if (is_own(encode)) {
        ps_out_member(out, "citations", part->citations);
    }
    ps_out_close(out, '}');
    return 0;
}

/* System text in the middle of a conversation has no place but a user's turn: marked, so that the
 * model can tell. */
static void write_marked(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;
    bool any = false;

    for (size_t i = 0; i < message->part_count; i++) {
        if (!ps_raw_says(message->parts[i].text)) {
            continue;
        }
        if (!any) {
            ps_out_open(out, '{');
            ps_out_member_cstr(out, "type", "text");
            ps_out_key(out, "text");
            ps_out_string_begin(out);
            ps_out_string_plain(out, PS_SLICE_LIT("<system>\\n"));
        } else {
            ps_out_string_plain(out, PS_SLICE_LIT("\\n"));
        }
        ps_out_string_raw(out, message->parts[i].text);
        any = true;
    }
    if (any) {
        ps_out_string_plain(out, PS_SLICE_LIT("\\n</system>"));
        ps_out_string_end(out);
        ps_out_close(out, '}');
    }
}

/* ---- tools ---- */

/*
 * An id as it was, when it is made of letters, digits, '_' and '-', which is all that is taken
 * there; else with '_' for the rest, and a number made of all of it, so that different ids stay
 * different. The same id always becomes the same: a result finds its call again.
 */
static void write_id(struct ps_json_out *out, const char *name, struct ps_slice raw)
{
    char text[ID_BYTES + 16];
    size_t len = raw.len < ID_BYTES ? raw.len : ID_BYTES;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    bool plain = raw.len > 2 && raw.len <= ID_BYTES;

    for (size_t i = 1; i + 1 < raw.len; i++) {
        char byte = raw.ptr[i];
        bool good = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                    (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';

        hash = (hash ^ (unsigned char)byte) * UINT64_C(0x100000001b3);
        plain = plain && good;
        if (i <= len) {
            text[i - 1] = good ? byte : '_';
        }
    }
    ps_out_key(out, name);
    if (plain) {
        ps_out_raw(out, raw);
        return;
    }
    len = len > 2 ? len - 2 : 0;
    text[len++] = '_';
    for (int i = 0; i < 12; i++) {
        text[len++] = "0123456789abcdef"[hash >> (4 * i) & 15];
    }
    ps_out_text(out, ps_slice(text, len));
}

static int write_call(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    struct ps_json_out *out = &encode->out;

    if (part->call->custom) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "tool_use");
    write_id(out, "id", part->call->id);
    ps_out_member(out, "name", part->call->name);
    ps_out_member(out, "input", part->call->arguments);
    ps_out_member(out, "cache_control", part->cache_control);
    ps_out_close(out, '}');
    return 0;
}

static int write_part(struct ps_encode *encode, const struct ps_neutral_part *part);

static int write_result(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_result *result = part->result;
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "tool_result");
    write_id(out, "tool_use_id", result->call->id);
    if (result->part_count == 1 && result->parts[0].kind == PS_PART_TEXT &&
        result->parts[0].cache_control.len == 0) {
        ps_out_member(out, "content", result->parts[0].text);
    } else if (result->part_count > 0) {
        ps_out_key(out, "content");
        ps_out_open(out, '[');
        for (size_t i = 0; i < result->part_count; i++) {
            if (write_part(encode, &result->parts[i]) != 0) {
                return -1;
            }
        }
        ps_out_close(out, ']');
    }
    if (result->is_error) {
        ps_out_member_bool(out, "is_error", true);
    }
    ps_out_member(out, "cache_control", part->cache_control);
    ps_out_close(out, '}');
    return 0;
}

/* ---- thinking ---- */

/* Only what the model has signed may be handed back to it. */
static int write_reasoning(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    struct ps_signed thought = ps_encode_thought(encode, part->reasoning);
    struct ps_json_out *out = &encode->out;

    if (thought.redacted.len > 0) {
        ps_out_open(out, '{');
        ps_out_member_cstr(out, "type", "redacted_thinking");
        ps_out_member(out, "data", thought.redacted);
        ps_out_close(out, '}');
        return 0;
    }
    if (thought.signature.len == 0) {
        return ps_drop_at(encode, &part->at, NULL);
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "thinking");
    ps_out_key(out, "thinking");
    ps_out_raw(out, part->text.len > 0 ? part->text : PS_SLICE_LIT("\"\""));
    ps_out_member(out, "signature", thought.signature);
    ps_out_close(out, '}');
    return 0;
}

/* ---- parts ---- */

static int write_part(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    switch (part->kind) {
    case PS_PART_TEXT:
    case PS_PART_REFUSAL:
        return write_text(encode, part);
    case PS_PART_IMAGE:
    case PS_PART_DOCUMENT:
        return write_media(encode, part);
    case PS_PART_TOOL_CALL:
        return write_call(encode, part);
    case PS_PART_TOOL_RESULT:
        return write_result(encode, part);
    case PS_PART_REASONING:
        return write_reasoning(encode, part);
    case PS_PART_OPAQUE:
        if (is_own(encode)) {
            ps_out_raw(&encode->out, part->raw);
            return 0;
        }
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
    default:
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
}

static int write_parts(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    for (size_t i = 0; i < message->part_count; i++) {
        if (write_part(encode, &message->parts[i]) != 0) {
            return -1;
        }
    }
    return message->name.len > 0 ? ps_drop_at(encode, &message->at, "name") : 0;
}

/* ---- turns ---- */

static bool part_says(const struct ps_encode *encode, const struct ps_neutral_part *part)
{
    if (part->kind == PS_PART_TEXT || part->kind == PS_PART_REFUSAL) {
        return ps_raw_says(part->text);
    }
    if (part->kind == PS_PART_REASONING) {
        return ps_encode_is_signed(encode, part->reasoning);
    }
    return true;
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

static bool is_assistant(const struct ps_neutral_message *message)
{
    return message->role == PS_ROLE_ASSISTANT;
}

/* Messages [from, to) are of one side. */
static int write_turn(struct ps_encode *encode, size_t from, size_t to)
{
    const struct ps_neutral_message *messages = encode->neutral->messages;
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", is_assistant(&messages[from]) ? "assistant" : "user");
    ps_out_key(out, "content");
    if (to == from + 1 && messages[from].part_count == 1 &&
        messages[from].parts[0].kind == PS_PART_TEXT &&
        messages[from].parts[0].cache_control.len == 0 &&
        messages[from].parts[0].citations.len == 0 && !ps_role_is_system(messages[from].role)) {
        ps_out_raw(out, messages[from].parts[0].text);
        ps_out_close(out, '}');
        return messages[from].name.len > 0 ? ps_drop_at(encode, &messages[from].at, "name") : 0;
    }
    ps_out_open(out, '[');
    for (int results = 1; results >= 0; results--) {
        for (size_t i = from; i < to; i++) {
            if ((messages[i].role == PS_ROLE_TOOL) != results) {
                continue;
            }
            if (ps_role_is_system(messages[i].role)) {
                write_marked(encode, &messages[i]);
            } else if (write_parts(encode, &messages[i]) != 0) {
                return -1;
            }
        }
    }
    ps_out_close(out, ']');
    ps_out_close(out, '}');
    return 0;
}

/* Names what a turn that says nothing would have had. */
static int skip_turn(struct ps_encode *encode, size_t from, size_t to)
{
    const struct ps_neutral_message *messages = encode->neutral->messages;

    for (size_t i = from; i < to; i++) {
        for (size_t j = 0; j < messages[i].part_count; j++) {
            if (messages[i].parts[j].kind == PS_PART_REASONING &&
                ps_drop_at(encode, &messages[i].parts[j].at, NULL) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int write_messages(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    const struct ps_neutral_message *messages = neutral->messages;
    struct ps_json_out *out = &encode->out;
    size_t turns = 0;
    size_t to;

    ps_out_key(out, "messages");
    ps_out_open(out, '[');
    for (size_t from = neutral->system_count; from < neutral->message_count; from = to) {
        bool says = message_says(encode, &messages[from]);

        /* What says nothing in between belongs to the turn, too. */
        for (to = from + 1; to < neutral->message_count; to++) {
            if (message_says(encode, &messages[to])) {
                if (says && is_assistant(&messages[to]) != is_assistant(&messages[from])) {
                    break;
                }
                if (!says) {
                    break;
                }
            }
        }
        if (!says) {
            if (skip_turn(encode, from, to) != 0) {
                return -1;
            }
            continue;
        }
        if (write_turn(encode, from, to) != 0) {
            return -1;
        }
        turns++;
    }
    ps_out_close(out, ']');
    return turns > 0 ? 0
                     : ps_fault_set(encode->fault, PS_FAULT_BAD_FIELD, "messages",
                                    "For the provider of this model messages must hold a message "
                                    "of a user that is not empty.");
}

/* ---- the system text ---- */

static bool has_marks(const struct ps_neutral *neutral)
{
    for (size_t i = 0; i < neutral->system_count; i++) {
        for (size_t j = 0; j < neutral->messages[i].part_count; j++) {
            if (neutral->messages[i].parts[j].cache_control.len > 0) {
                return true;
            }
        }
    }
    return false;
}

static const char json_hint[] = "Answer with one valid JSON object and nothing else.";

static int write_system_blocks(struct ps_encode *encode, bool hint)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->system_count; i++) {
        if (write_parts(encode, &neutral->messages[i]) != 0) {
            return -1;
        }
    }
    if (hint) {
        ps_out_open(out, '{');
        ps_out_member_cstr(out, "type", "text");
        ps_out_member_cstr(out, "text", json_hint);
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
    return 0;
}

/* "Any JSON object" cannot be asked for: the model is told in words, and the field is named as one
 * that was not taken as it is. */
static int write_system(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool hint = neutral->format == PS_FORMAT_JSON_OBJECT;
    bool has_system = ps_encode_has_system(neutral);

    if (has_system || hint) {
        ps_out_key(out, "system");
        if ((has_system && hint) || has_marks(neutral)) {
            if (write_system_blocks(encode, hint) != 0) {
                return -1;
            }
        } else if (hint) {
            ps_out_cstr(out, json_hint);
        } else {
            ps_encode_system_text(out, neutral);
        }
    }
    return hint ? ps_drop(encode, "response_format") : 0;
}

int ps_anthropic_encode_messages(struct ps_encode *encode)
{
    return write_system(encode) != 0 ? -1 : write_messages(encode);
}
