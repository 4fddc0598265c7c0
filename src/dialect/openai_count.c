/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "neutral_build.h"
#include "openai_priv.h"

/*
 * How long the prompt of a chat is, asked of servers of OpenAI's family that can tell: vLLM by
 * /tokenize and llama-server by its /input_tokens, which take a chat as it is, OpenAI itself by
 * /responses/input_tokens, which takes the items of a response. All apply the model's own template.
 */

/* ---- chats ---- */

/* What is about the answer has no tokens in the prompt, or none that could be told. */
static int drop_rest(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    if ((neutral->thinking != PS_THINKING_NONE_GIVEN && ps_drop(encode, "thinking") != 0) ||
        (neutral->format > PS_FORMAT_TEXT && ps_drop(encode, "output_config") != 0) ||
        ps_drop_raw(encode, "cache_control", neutral->cache_control) != 0) {
        return -1;
    }
    return ps_drop_extras(encode);
}

static int write_chat(struct ps_encode *encode)
{
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_text(out, "model", encode->model);
    if (ps_openai_write_messages(encode) != 0 || ps_openai_write_tools(encode) != 0 ||
        drop_rest(encode) != 0) {
        return -1;
    }
    if (encode->dialect == &ps_dialect_vllm) {
        ps_out_member_bool(out, "add_generation_prompt", true);
    }
    ps_out_close(out, '}');
    return 0;
}

/* Beside the API's own version, not below it. */
static int set_tokenize(struct ps_encode *encode)
{
    static const struct ps_slice version = PS_SLICE_INIT("/v1");
    struct ps_slice base = encode->options->base_path;
    char *path;

    if (base.len >= version.len &&
        ps_slice_eq(ps_slice(base.ptr + base.len - version.len, version.len), version)) {
        base.len -= version.len;
    }
    path = ps_arena_printf(encode->arena, "%.*s/tokenize", (int)base.len,
                           base.len > 0 ? base.ptr : "");
    if (path == NULL) {
        return ps_encode_no_memory(encode);
    }
    encode->ret->path = ps_slice_cstr(path);
    encode->ret->from_root = true;
    return 0;
}

/* ---- items of a response ---- */

static void open_item(struct ps_json_out *out, const char *type)
{
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "type", type);
}

static void write_text(struct ps_json_out *out, struct ps_slice text)
{
    open_item(out, "input_text");
    ps_out_member(out, "text", text);
    ps_out_close(out, '}');
}

static int write_image(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    open_item(out, "input_image");
    if (media->source == PS_MEDIA_URL || media->source == PS_MEDIA_BASE64) {
        ps_out_key(out, "image_url");
        ps_openai_write_url(out, media);
    } else {
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
    ps_out_member(out, "detail", media->detail.len > 0 ? media->detail : PS_SLICE_LIT("\"auto\""));
    ps_out_close(out, '}');
    return 0;
}

static int write_document(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    const struct ps_neutral_media *media = part->media;
    struct ps_json_out *out = &encode->out;

    if (media->source == PS_MEDIA_TEXT) {
        write_text(out, media->text);
        return 0;
    }
    if (media->source == PS_MEDIA_FILE) { /* it lies at another provider */
        return ps_encode_unsupported_at(encode, &part->at, "file_id");
    }
    open_item(out, "input_file");
    if (media->source == PS_MEDIA_URL) {
        ps_out_member(out, "file_url", media->url);
    } else {
        ps_out_member(out, "filename",
                      media->filename.len > 0 ? media->filename : PS_SLICE_LIT("\"document.pdf\""));
        ps_out_key(out, "file_data");
        ps_openai_write_url(out, media);
    }
    ps_out_close(out, '}');
    return 0;
}

/* "content" or "output": a text alone is one, everything else an array of parts. */
static int write_content(struct ps_encode *encode, const char *name,
                         const struct ps_neutral_part *parts, size_t count)
{
    struct ps_json_out *out = &encode->out;

    ps_out_key(out, name);
    if (count == 0 || (count == 1 && parts[0].kind == PS_PART_TEXT)) {
        ps_out_raw(out, count == 1 ? parts[0].text : PS_SLICE_LIT("\"\""));
        return 0;
    }
    ps_out_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        int rc = 0;

        if (parts[i].kind == PS_PART_TEXT) {
            write_text(out, parts[i].text);
        } else if (parts[i].kind == PS_PART_IMAGE) {
            rc = write_image(encode, &parts[i]);
        } else if (parts[i].kind == PS_PART_DOCUMENT) {
            rc = write_document(encode, &parts[i]);
        } else {
            rc = ps_encode_unsupported_at(encode, &parts[i].at, NULL);
        }
        if (rc != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    return 0;
}

static void write_call(struct ps_json_out *out, const struct ps_neutral_call *call)
{
    open_item(out, call->custom ? "custom_tool_call" : "function_call");
    ps_out_member(out, "call_id", call->id);
    ps_out_member(out, "name", call->name);
    if (call->custom) {
        ps_out_member(out, "input", call->arguments);
    } else {
        ps_out_member_text(out, "arguments", call->arguments);
    }
    ps_out_close(out, '}');
}

/* What was thought before is not among what is asked again. */
static int write_said(struct ps_encode *encode, const struct ps_neutral_part *part)
{
    struct ps_json_out *out = &encode->out;

    switch (part->kind) {
    case PS_PART_TEXT:
    case PS_PART_REFUSAL:
        ps_out_open(out, '{');
        ps_out_member_cstr(out, "role", "assistant");
        ps_out_member(out, "content", part->text);
        ps_out_close(out, '}');
        return 0;
    case PS_PART_TOOL_CALL:
        write_call(out, part->call);
        return 0;
    case PS_PART_REASONING:
        return ps_drop_at(encode, &part->at, NULL);
    case PS_PART_IMAGE:
    case PS_PART_DOCUMENT:
    case PS_PART_AUDIO:
    case PS_PART_VIDEO:
    case PS_PART_TOOL_RESULT:
    case PS_PART_OPAQUE:
    default:
        return ps_encode_unsupported_at(encode, &part->at, NULL);
    }
}

static int write_result(struct ps_encode *encode, const struct ps_neutral_result *result)
{
    struct ps_json_out *out = &encode->out;

    open_item(out, result->call->custom ? "custom_tool_call_output" : "function_call_output");
    ps_out_member(out, "call_id", result->call->id);
    if (write_content(encode, "output", result->parts, result->part_count) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    return 0;
}

static int write_message(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    struct ps_json_out *out = &encode->out;

    if (message->role != PS_ROLE_ASSISTANT && message->role != PS_ROLE_TOOL) {
        ps_out_open(out, '{');
        ps_out_member_cstr(out, "role", ps_role_is_system(message->role) ? "developer" : "user");
        if (write_content(encode, "content", message->parts, message->part_count) != 0) {
            return -1;
        }
        ps_out_close(out, '}');
        return 0;
    }
    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (part->kind == PS_PART_TOOL_RESULT ? write_result(encode, part->result) != 0
                                              : write_said(encode, part) != 0) {
            return -1;
        }
    }
    return 0;
}

static int write_tools(struct ps_encode *encode)
{
    static const struct ps_slice nothing = PS_SLICE_INIT("{\"type\":\"object\",\"properties\":{}}");
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    if (ps_encode_tool_count(encode) == 0) {
        return 0;
    }
    ps_out_key(out, "tools");
    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->tool_count; i++) {
        const struct ps_neutral_tool *tool = &neutral->tools[i];

        if (tool->excluded) {
            continue;
        }
        if (tool->kind != PS_TOOL_FUNCTION) {
            return ps_encode_unsupported_at(encode, &tool->at, NULL);
        }
        open_item(out, "function");
        ps_out_member(out, "name", tool->name);
        ps_out_member(out, "description", tool->description);
        ps_out_member(out, "parameters", tool->parameters.len > 0 ? tool->parameters : nothing);
        ps_out_member_bool(out, "strict", tool->strict == PS_TRI_YES);
        ps_out_close(out, '}');
    }
    ps_out_close(out, ']');
    return 0;
}

static int write_items(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;

    ps_out_open(out, '{');
    ps_out_member_text(out, "model", encode->model);
    ps_out_key(out, "input");
    ps_out_open(out, '[');
    for (size_t i = 0; i < neutral->message_count; i++) {
        if (write_message(encode, &neutral->messages[i]) != 0) {
            return -1;
        }
    }
    ps_out_close(out, ']');
    if (write_tools(encode) != 0 || drop_rest(encode) != 0) {
        return -1;
    }
    ps_out_close(out, '}');
    return 0;
}

/* ---- the whole ---- */

int ps_openai_encode_count(struct ps_encode *encode)
{
    encode->ret->stream = false;
    if (encode->dialect == &ps_dialect_vllm) {
        return set_tokenize(encode) != 0 ? -1 : write_chat(encode);
    }
    if (encode->dialect == &ps_dialect_llama_server) {
        encode->ret->path = PS_SLICE_LIT("/chat/completions/input_tokens");
        return write_chat(encode);
    }
    if (encode->settings->native_responses) {
        encode->ret->path = PS_SLICE_LIT("/responses/input_tokens");
        return write_items(encode);
    }
    return ps_fault_set(encode->fault, PS_FAULT_UNSUPPORTED_OPERATION, "model",
                        "The provider of this model cannot count tokens.");
}

bool ps_openai_emit_count(struct ps_openai_decoder *decoder)
{
    static const char *const names[] = {"input_tokens", "count"};
    struct ps_slice body = ps_raw_trimmed(decoder->found.text);
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};

    for (int i = 0; i < 2; i++) {
        struct ps_slice raw = ps_raw_member(body, names[i]);

        if (raw.len > 0 && ps_json_int(raw, &event.usage.input) && event.usage.input >= 0) {
            return ps_decoder_emit(&decoder->base, &event);
        }
    }
    (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                           "The provider's answer has no count of tokens.");
    return false;
}
