/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* The conversation in Cohere's shape. */

/* ---- parts ---- */

static void write_text(struct ps_json_out *out, const char *type, struct ps_slice text)
{
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", type);
    ps_out_member(out, type, text);
    ps_out_close(out, '}');
}

static int write_image(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    if (media->source != PS_MEDIA_URL && media->source != PS_MEDIA_BASE64) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "image_url");
    ps_out_key(out, "image_url");
    ps_out_open(out, '{');
    ps_out_key(out, "url");
    if (media->source == PS_MEDIA_URL) {
        ps_out_raw(out, media->url);
    } else {
        ps_out_string_begin(out);
        ps_out_string_plain(out, PS_SLICE_LIT("data:"));
        ps_out_string_plain(out, media->media_type);
        ps_out_string_plain(out, PS_SLICE_LIT(";base64,"));
        ps_out_string_plain(out, media->data);
        ps_out_string_end(out);
    }
    ps_out_member(out, "detail", media->detail);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return 0;
}

static int write_document(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    if (media->source != PS_MEDIA_TEXT) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", "text");
    ps_out_key(out, "text");
    ps_out_string_begin(out);
    if (media->filename.len > 0) {
        ps_out_string_raw(out, media->filename);
        ps_out_string_plain(out, PS_SLICE_LIT("\\n\\n"));
    }
    ps_out_string_raw(out, media->text);
    ps_out_string_end(out);
    ps_out_close(out, '}');
    return 0;
}

static int drop_marks(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    return ps_drop_raw(encode, "cache_control", part->cache_control) != 0
               ? -1
               : ps_drop_raw(encode, "citations", part->citations);
}

/* One that stands in a content; calls and thoughts of an assistant are skipped. */
static int write_part(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    if (drop_marks(encode, part) != 0) {
        return -1;
    }
    switch (part->kind) {
    case PS_PART_TEXT:
    case PS_PART_REFUSAL:
        write_text(&encode->out, "text", part->text);
        return 0;
    case PS_PART_IMAGE:
        return write_image(encode, part);
    case PS_PART_DOCUMENT:
        return write_document(encode, part);
    case PS_PART_TOOL_CALL:
    case PS_PART_REASONING:
        return 0;
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
    case PS_PART_TOOL_RESULT:
    case PS_PART_OPAQUE:
    default:
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
}

static bool is_content(const struct ps_neutral_part *part)
{
    return part->kind != PS_PART_TOOL_CALL && part->kind != PS_PART_REASONING;
}

/* `thoughts`: they stand in the content, too. */
static int write_content(struct ps_encode *encode, const struct ps_neutral_message *message,
                         bool thoughts)
{
    struct ps_json_out *out = &encode->out;

    ps_out_key(out, "content");
    if (message->part_count == 0) {
        ps_out_cstr(out, "");
        return 0;
    }
    if (message->part_count == 1 && message->parts[0].kind == PS_PART_TEXT) {
        ps_out_raw(out, message->parts[0].text);
        return drop_marks(encode, &message->parts[0]);
    }
    ps_out_open(out, '[');
    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (thoughts && part->kind == PS_PART_REASONING && part->text.len > 0) {
            write_text(out, "thinking", part->text);
        } else if (write_part(encode, part) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    return 0;
}

/* ---- assistants ---- */

static void write_call(struct ps_json_out *out, const struct ps_neutral_call *call)
{
    ps_out_open(out, '{');
    ps_out_member(out, "id", call->id);
    ps_out_member_cstr(out, "type", "function");
    ps_out_key(out, "function");
    ps_out_open(out, '{');
    ps_out_member(out, "name", call->name);
    ps_out_member_text(out, "arguments", call->arguments);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
}

static int write_calls(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;

    ps_out_key(out, "tool_calls");
    ps_out_open(out, '[');
    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (part->kind != PS_PART_TOOL_CALL) {
            continue;
        }
        if (part->call->custom) {
            return ps_encode_unsupported_at(encode, &part->at, NULL);
        }
        write_call(out, part->call);
    }
    ps_out_close(out, ']');
    return 0;
}

static int write_assistant(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    bool calls = false;
    bool content = message->part_count == 0;

    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        calls = calls || part->kind == PS_PART_TOOL_CALL;
        content = content || is_content(part);
        if (part->kind == PS_PART_REASONING && part->text.len == 0 &&
            ps_drop(encode, "reasoning") != 0) {
            return -1; /* only its own provider can read it */
        }
    }
    if ((content || !calls) && write_content(encode, message, !calls) != 0) {
        return -1;
    }
    if (!calls) {
        return 0;
    }
    /* what was thought before tools were called */
    ps_encode_joined_kind(&encode->out, "tool_plan", message, PS_PART_REASONING);
    return write_calls(encode, message);
}

/* ---- results ---- */

static int write_result(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_result *result = part->result;
    struct ps_json_out *out = &encode->out;

    for (size_t i = 0; i < result->part_count; i++) {
        if (result->parts[i].kind != PS_PART_TEXT) {
            return ps_encode_unsupported_at(encode, &result->parts[i].at, NULL);
        }
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", "tool");
    ps_out_member(out, "tool_call_id", result->id);
    ps_out_key(out, "content");
    ps_encode_joined_text(out, result->parts, result->part_count);
    ps_out_close(out, '}');
    if (result->is_error && ps_drop(encode, "is_error") != 0) {
        return -1;
    }
    return drop_marks(encode, part);
}

/* ---- all of them ---- */

static int write_message(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;
    int rc;

    if (message->role == PS_ROLE_TOOL) {
        for (size_t i = 0; i < message->part_count; i++) {
            if (write_result(encode, &message->parts[i]) != 0) {
                return -1;
            }
        }
        return 0;
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role",
                       ps_role_is_system(message->role)     ? "system"
                       : message->role == PS_ROLE_ASSISTANT ? "assistant"
                                                            : "user");
    rc = message->role == PS_ROLE_ASSISTANT ? write_assistant(encode, message)
                                            : write_content(encode, message, false);
    ps_out_close(out, '}');
    return rc != 0 ? -1 : ps_drop_raw(encode, "name", message->name);
}

int ps_cohere_encode_messages(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    ps_out_key(&encode->out, "messages");
    ps_out_open(&encode->out, '[');
    for (size_t i = 0; i < neutral->message_count; i++) {
        if (write_message(encode, &neutral->messages[i]) != 0) {
            return -1;
        }
    }
    ps_out_close(&encode->out, ']');
    return 0;
}
