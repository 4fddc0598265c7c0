/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"

/* The conversation in Ollama's shape: a content is one string, images stand beside it. */

/* ---- parts ---- */

/* Whether it is said in the content, or beside it. */
static int check_part(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    bool fine = true;

    switch (part->kind) {
    case PS_PART_TEXT:
    case PS_PART_REFUSAL:
    case PS_PART_TOOL_RESULT:
        break;
    case PS_PART_IMAGE: /* never fetched, here or there */
        fine = part->media->source == PS_MEDIA_BASE64;
        break;
    case PS_PART_DOCUMENT:
        fine = part->media->source == PS_MEDIA_TEXT;
        if (ps_drop_raw(encode, "citations", part->media->citations) != 0) {
            return -1;
        }
        break;
    case PS_PART_TOOL_CALL:
        fine = !part->call->custom;
        break;
    case PS_PART_REASONING:
        if (part->text.len == 0 && ps_drop(encode, "reasoning") != 0) {
            return -1; /* only its own provider can read it */
        }
        break;
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
    case PS_PART_OPAQUE:
    default:
        fine = false;
        break;
    }
    if (!fine) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    return ps_drop_raw(encode, "cache_control", part->cache_control) != 0
               ? -1
               : ps_drop_raw(encode, "citations", part->citations);
}

static int check_parts(struct ps_encode *encode, const struct ps_neutral_part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (check_part(encode, &parts[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

static void separate(struct ps_json_out *out, bool *any)
{
    if (*any) {
        ps_out_string_plain(out, PS_SLICE_LIT("\\n"));
    }
    *any = true;
}

static void write_content(struct ps_json_out *out, const struct ps_neutral_part *parts,
                          size_t count)
{
    bool any = false;

    ps_out_key(out, "content");
    ps_out_string_begin(out);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].kind == PS_PART_TEXT || parts[i].kind == PS_PART_REFUSAL) {
            separate(out, &any);
            ps_out_string_raw(out, parts[i].text);
        } else if (parts[i].kind == PS_PART_DOCUMENT) {
            separate(out, &any);
            if (parts[i].media->filename.len > 0) {
                ps_out_string_raw(out, parts[i].media->filename);
                ps_out_string_plain(out, PS_SLICE_LIT("\\n\\n"));
            }
            ps_out_string_raw(out, parts[i].media->text);
        }
    }
    ps_out_string_end(out);
}

static void write_images(struct ps_json_out *out, const struct ps_neutral_part *parts, size_t count)
{
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].kind != PS_PART_IMAGE) {
            continue;
        }
        if (!any) {
            ps_out_key(out, "images");
            ps_out_open(out, '[');
        }
        any = true;
        ps_out_string_begin(out);
        ps_out_string_plain(out, parts[i].media->data);
        ps_out_string_end(out);
    }
    if (any) {
        ps_out_close(out, ']');
    }
}

/* ---- assistants ---- */

static void write_calls(struct ps_json_out *out, const struct ps_neutral_message *message)
{
    bool any = false;

    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (part->kind != PS_PART_TOOL_CALL) {
            continue;
        }
        if (!any) {
            ps_out_key(out, "tool_calls");
            ps_out_open(out, '[');
        }
        any = true;
        ps_out_open(out, '{');
        ps_out_member(out, "id", part->call->id);
        ps_out_key(out, "function");
        ps_out_open(out, '{');
        ps_out_member(out, "name", part->call->name);
        ps_out_member(out, "arguments", part->call->arguments);
        ps_out_close(out, '}');
        ps_out_close(out, '}');
    }
    if (any) {
        ps_out_close(out, ']');
    }
}

/* ---- all of them ---- */

static int write_result(struct ps_encode *encode, const struct ps_neutral_result *result)
{
    struct ps_json_out *out = &encode->out;

    if (check_parts(encode, result->parts, result->part_count) != 0) {
        return -1;
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", "tool");
    write_content(out, result->parts, result->part_count);
    write_images(out, result->parts, result->part_count);
    ps_out_member(out, "tool_name", result->call->name);
    ps_out_member(out, "tool_call_id", result->id);
    ps_out_close(out, '}');
    return result->is_error ? ps_drop(encode, "is_error") : 0;
}

static int write_message(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;

    if (check_parts(encode, message->parts, message->part_count) != 0) {
        return -1;
    }
    if (message->role == PS_ROLE_TOOL) {
        for (size_t i = 0; i < message->part_count; i++) {
            if (write_result(encode, message->parts[i].result) != 0) {
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
    write_content(out, message->parts, message->part_count);
    write_images(out, message->parts, message->part_count);
    if (message->role == PS_ROLE_ASSISTANT) {
        ps_encode_joined_kind(out, "thinking", message, PS_PART_REASONING);
        write_calls(out, message);
    }
    ps_out_close(out, '}');
    return ps_drop_raw(encode, "name", message->name);
}

int ps_ollama_encode_messages(struct ps_encode *encode)
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
