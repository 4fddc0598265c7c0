/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "openai_priv.h"
#include "signature.h"

/* Neutral messages in OpenAI's shape. */

/* ---- parts ---- */

static void open_part(struct ps_json_out *out, const char *type)
{
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", type);
}

static void write_text_part(struct ps_json_out *out, struct ps_slice text)
{
    open_part(out, "text");
    ps_out_member(out, "text", text);
    ps_out_close(out, '}');
}

void ps_openai_write_url(struct ps_json_out *out, const struct ps_neutral_media *media)
{
    if (media->source == PS_MEDIA_URL) {
        ps_out_raw(out, media->url);
        return;
    }
    ps_out_string_begin(out);
    ps_out_string_plain(out, PS_SLICE_LIT("data:"));
    ps_out_string_plain(out, media->media_type);
    ps_out_string_plain(out, PS_SLICE_LIT(";base64,"));
    ps_out_string_plain(out, media->data);
    ps_out_string_end(out);
}

static int write_url_part(struct ps_encode *encode, const struct ps_neutral_part *part,
                          const char *name)
{
    struct ps_json_out *out = &encode->out;

    if (part->media->source != PS_MEDIA_URL && part->media->source != PS_MEDIA_BASE64) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    open_part(out, name);
    ps_out_key(out, name);
    ps_out_open(out, '{');
    ps_out_key(out, "url");
    ps_openai_write_url(out, part->media);
    ps_out_member(out, "detail", part->media->detail);
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return 0;
}

static void write_document_text(struct ps_json_out *out, const struct ps_neutral_media *media)
{
    ps_out_string_begin(out);
    if (media->filename.len > 0) {
        ps_out_string_raw(out, media->filename);
        ps_out_string_plain(out, PS_SLICE_LIT("\\n\\n"));
    }
    ps_out_string_raw(out, media->text);
    ps_out_string_end(out);
}

static int write_document(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    if (media->source == PS_MEDIA_TEXT) {
        open_part(out, "text");
        ps_out_key(out, "text");
        write_document_text(out, media);
        ps_out_close(out, '}');
        return ps_drop_raw(encode, "citations", media->citations);
    }
    if (media->source == PS_MEDIA_URL) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    open_part(out, "file");
    ps_out_key(out, "file");
    ps_out_open(out, '{');
    if (media->source == PS_MEDIA_FILE) {
        ps_out_member(out, "file_id", media->file_id);
    } else {
        ps_out_member(out, "filename",
                      media->filename.len > 0 ? media->filename : PS_SLICE_LIT("\"document.pdf\""));
        ps_out_key(out, "file_data");
        ps_openai_write_url(out, media);
    }
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return 0;
}

static int write_audio(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;
    bool mp3 = ps_slice_ieq(media->media_type, PS_SLICE_LIT("audio/mpeg")) ||
               ps_slice_ieq(media->media_type, PS_SLICE_LIT("audio/mp3"));

    if (media->source != PS_MEDIA_BASE64) {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    open_part(out, "input_audio");
    ps_out_key(out, "input_audio");
    ps_out_open(out, '{');
    ps_out_member_text(out, "data", media->data);
    if (media->format.len > 0) {
        ps_out_member(out, "format", media->format);
    } else {
        ps_out_member_cstr(out, "format", mp3 ? "mp3" : "wav");
    }
    ps_out_close(out, '}');
    ps_out_close(out, '}');
    return 0;
}

static int drop_about(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    return (part->cache_control.len > 0 && ps_drop(encode, "cache_control") != 0) ||
                   (part->citations.len > 0 && ps_drop(encode, "citations") != 0)
               ? -1
               : 0;
}

/* One that stands in a content: what does not is written elsewhere. */
static int write_part(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    if (drop_about(encode, part) != 0) {
        return -1;
    }
    switch (part->kind) {
    case PS_PART_TEXT:
        write_text_part(&encode->out, part->text);
        return 0;
    case PS_PART_IMAGE:
        return write_url_part(encode, part, "image_url");
    case PS_PART_VIDEO:
        return write_url_part(encode, part, "video_url");
    case PS_PART_DOCUMENT:
        return write_document(encode, part);
    case PS_PART_AUDIO:
        return write_audio(encode, part);
    case PS_PART_OPAQUE:
    case PS_PART_TOOL_CALL:
    case PS_PART_TOOL_RESULT:
    case PS_PART_REASONING:
    case PS_PART_REFUSAL:
    default:
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
}

static bool stands_beside(enum ps_part_kind kind)
{
    return kind == PS_PART_TOOL_CALL || kind == PS_PART_REASONING || kind == PS_PART_REFUSAL;
}

static bool is_media(enum ps_part_kind kind)
{
    return kind == PS_PART_IMAGE || kind == PS_PART_DOCUMENT || kind == PS_PART_AUDIO ||
           kind == PS_PART_VIDEO;
}

/* The parts of a content. Media of a tool's result are left for a message of their own. */
static int write_content(struct ps_encode *encode, const struct ps_neutral_part *parts,
                         size_t count, bool of_tool)
{
    struct ps_json_out *out = &encode->out;
    const struct ps_neutral_part *only = NULL;
    size_t inside = 0;

    for (size_t i = 0; i < count; i++) {
        if (!stands_beside(parts[i].kind) && !(of_tool && is_media(parts[i].kind))) {
            only = &parts[i];
            inside++;
        }
    }
    if (inside == 0 || (inside == 1 && only->kind == PS_PART_TEXT)) {
        ps_out_raw(out, inside == 1 ? only->text : PS_SLICE_LIT("\"\""));
        return inside == 1 ? drop_about(encode, only) : 0;
    }
    if (inside == 1 && only->kind == PS_PART_DOCUMENT && only->media->source == PS_MEDIA_TEXT) {
        write_document_text(out, only->media); /* as every server of the family understands it */
        return drop_about(encode, only) != 0
                   ? -1
                   : ps_drop_raw(encode, "citations", only->media->citations);
    }
    ps_out_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (!stands_beside(parts[i].kind) && !(of_tool && is_media(parts[i].kind)) &&
            write_part(encode, &parts[i]) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    return 0;
}

/* ---- assistants ---- */

static void write_call(struct ps_encode *encode, const struct ps_neutral_call *call)
{
    struct ps_slice signature = ps_encode_call_signature(encode, call);
    struct ps_json_out *out = &encode->out;
    const char *kind = call->custom ? "custom" : "function";

    ps_out_open(out, '{');
    ps_out_member(out, "id", call->id);
    ps_out_member_cstr(out, "type", kind);
    ps_out_key(out, kind);
    ps_out_open(out, '{');
    ps_out_member(out, "name", call->name);
    if (call->custom) {
        ps_out_member(out, "input", call->arguments);
    } else {
        ps_out_member_text(out, "arguments", call->arguments);
    }
    ps_out_close(out, '}');
    if (signature.len > 0) {
        ps_out_key(out, "extra_content");
        ps_out_open(out, '{');
        ps_out_key(out, "google");
        ps_out_open(out, '{');
        ps_out_member(out, "thought_signature", signature);
        ps_out_close(out, '}');
        ps_out_close(out, '}');
    }
    ps_out_close(out, '}');
}

struct tally {
    size_t content;
    size_t reasoning;
    size_t refusals;
    size_t calls;
};

static struct tally count_parts(const struct ps_neutral_message *message)
{
    struct tally tally = {0, 0, 0, 0};

    for (size_t i = 0; i < message->part_count; i++) {
        switch (message->parts[i].kind) {
        case PS_PART_TOOL_CALL:
            tally.calls++;
            break;
        case PS_PART_REASONING:
            tally.reasoning++;
            break;
        case PS_PART_REFUSAL:
            tally.refusals++;
            break;
        case PS_PART_TEXT:
        case PS_PART_IMAGE:
        case PS_PART_DOCUMENT:
        case PS_PART_AUDIO:
        case PS_PART_VIDEO:
        case PS_PART_TOOL_RESULT:
        case PS_PART_OPAQUE:
        default:
            tally.content++;
            break;
        }
    }
    return tally;
}

static int write_assistant(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;
    struct tally tally = count_parts(message);

    ps_out_key(out, "content");
    if (tally.content == 0 && tally.calls + tally.refusals > 0) {
        ps_out_null(out);
    } else if (write_content(encode, message->parts, message->part_count, false) != 0) {
        return -1;
    }
    if (encode->settings->self_hosted) {
        ps_encode_joined_kind(out, "reasoning_content", message, PS_PART_REASONING);
    } else if (tally.reasoning > 0 && ps_drop(encode, "reasoning") != 0) {
        return -1;
    }
    ps_encode_joined_kind(out, "refusal", message, PS_PART_REFUSAL);
    if (tally.calls > 0) {
        ps_out_key(out, "tool_calls");
        ps_out_open(out, '[');
        for (size_t i = 0; i < message->part_count; i++) {
            if (message->parts[i].kind == PS_PART_TOOL_CALL) {
                write_call(encode, message->parts[i].call);
            }
        }
        ps_out_close(out, ']');
    }
    return 0;
}

/* ---- results ---- */

static int write_result(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_result *result = part->result;
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", "tool");
    ps_out_member(out, "tool_call_id", result->id);
    ps_out_key(out, "content");
    if (write_content(encode, result->parts, result->part_count, true) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    if ((result->is_error && ps_drop(encode, "is_error") != 0) ||
        (part->cache_control.len > 0 && ps_drop(encode, "cache_control") != 0)) {
        return -1;
    }
    return 0;
}

static int write_media_of(struct ps_encode *encode, const struct ps_neutral_message *message,
                          bool *open)
{
    struct ps_json_out *out = &encode->out;

    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_result *result = message->parts[i].result;

        for (size_t j = 0; j < result->part_count; j++) {
            if (!is_media(result->parts[j].kind)) {
                continue;
            }
            if (!*open) {
                ps_out_open(out, '{');
                ps_out_member_cstr(out, "role", "user");
                ps_out_key(out, "content");
                ps_out_open(out, '[');
                *open = true;
            }
            if (write_part(encode, &result->parts[j]) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

/* A round of results, from message `at` on. A tool's message has only text, so what else the tools
 * gave follows as one of the user. *ret: the message after the round. */
static int write_round(struct ps_encode *encode, size_t at, size_t *ret)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    size_t end = at;
    bool open = false;

    for (; end < neutral->message_count && neutral->messages[end].role == PS_ROLE_TOOL; end++) {
        for (size_t i = 0; i < neutral->messages[end].part_count; i++) {
            if (write_result(encode, &neutral->messages[end].parts[i]) != 0) {
                return -1;
            }
        }
    }
    for (size_t i = at; i < end; i++) {
        if (write_media_of(encode, &neutral->messages[i], &open) != 0) {
            return -1;
        }
    }
    if (open) {
        ps_out_close(out, ']');
        ps_out_close(out, '}');
    }
    *ret = end;
    return 0;
}

/* ---- all of them ---- */

static const char *role_of(const struct ps_encode *encode, enum ps_role role)
{
    switch (role) {
    case PS_ROLE_DEVELOPER:
        return encode->settings->self_hosted || encode->settings->old_max_tokens ? "system"
                                                                                 : "developer";
    case PS_ROLE_SYSTEM:
        return "system";
    case PS_ROLE_ASSISTANT:
        return "assistant";
    case PS_ROLE_USER:
    case PS_ROLE_TOOL:
    default:
        return "user";
    }
}

static int write_message(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_cstr(out, "role", role_of(encode, message->role));
    ps_out_member(out, "name", message->name);
    if (message->role == PS_ROLE_ASSISTANT) {
        if (write_assistant(encode, message) != 0) {
            return -1;
        }
    } else {
        ps_out_key(out, "content");
        if (write_content(encode, message->parts, message->part_count, false) != 0) {
            return -1;
        }
    }
    ps_out_close(out, '}');
    return 0;
}

int ps_openai_write_messages(struct ps_encode *encode)
{
    ps_out_key(&encode->out, "messages");
    return ps_openai_write_message_list(encode);
}

int ps_openai_write_message_list(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    size_t i = 0;

    ps_out_open(out, '[');
    while (i < neutral->message_count) {
        if (neutral->messages[i].role == PS_ROLE_TOOL) {
            if (write_round(encode, i, &i) != 0) {
                return -1;
            }
        } else if (write_message(encode, &neutral->messages[i++]) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    return 0;
}
