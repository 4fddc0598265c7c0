/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "signature.h"

#include <inttypes.h>

/*
 * Answers of Anthropic's API out of events: for models that do not speak it themselves. There is
 * one answer: what other choices say is left out.
 *
 * A stream: message_start at the first event; each run of text, thinking or arguments is a block of
 * content with its start, deltas and stop, one after the other; message_delta, with the reason and
 * the usage, waits for the end, since usage may come behind the reason. A whole answer is held
 * until the end, its blocks as JSON. A fragment of a call that is closed ends the answer
 * with a fault (call_order.h: calls come one after the other).
 */

#define REFUSAL_TEXT UINT32_MAX /* number of the block that a refusal's words make */

/* Where a model gave none: Anthropic's own API would refuse "". */
static const struct ps_slice unsigned_thought = PS_SLICE_INIT(PS_SIGNATURE_NONE);

static bool is_stream(const struct ps_anthropic_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_STREAM;
}

int ps_anthropic_writer_init(struct ps_writer *base)
{
    struct ps_anthropic_writer *writer = (struct ps_anthropic_writer *)base;
    size_t max = base->options.max_bytes;

    if (base->options.operation != PS_OP_CHAT || base->options.mode != PS_WRITER_STREAM) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    writer->usage = PS_USAGE_NONE;
    ps_buf_init(&writer->content, max);
    ps_buf_init(&writer->input, max);
    ps_buf_init(&writer->tail, max);
    ps_buf_init(&writer->stop, max);
    return 0;
}

void ps_anthropic_writer_deinit(struct ps_writer *base)
{
    struct ps_anthropic_writer *writer = (struct ps_anthropic_writer *)base;

    ps_buf_deinit(&writer->content);
    ps_buf_deinit(&writer->input);
    ps_buf_deinit(&writer->tail);
    ps_buf_deinit(&writer->stop);
}

/* ---- the message around the blocks ---- */

static void write_head(const struct ps_anthropic_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"id\":");
    ps_writer_write_id(&writer->base, "msg_", -1, out);
    ps_buf_cstr(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    ps_buf_json(out, writer->base.options.model);
    ps_buf_cstr(out, ",\"content\":[");
}

static void write_count(struct ps_buf *out, const char *key, int64_t count)
{
    if (count >= 0) {
        ps_buf_cstr(out, key);
        ps_buf_int(out, count);
    }
}

/* Tokens of the prompt that were neither read from a cache nor put into one. */
static int64_t fresh_input(const struct ps_usage *usage)
{
    int64_t fresh = usage->input;

    fresh -= usage->cached > 0 ? usage->cached : 0;
    fresh -= usage->cache_write > 0 ? usage->cache_write : 0;
    return fresh > 0 ? fresh : 0;
}

static void write_usage(const struct ps_usage *usage, struct ps_buf *out)
{
    ps_buf_cstr(out, "\"usage\":{\"input_tokens\":");
    ps_buf_int(out, fresh_input(usage));
    write_count(out, ",\"cache_creation_input_tokens\":", usage->cache_write);
    write_count(out, ",\"cache_read_input_tokens\":", usage->cached);
    ps_buf_cstr(out, ",\"output_tokens\":");
    ps_buf_int(out, usage->output > 0 ? usage->output : 0);
    if (usage->reasoning >= 0) {
        write_count(out, ",\"output_tokens_details\":{\"thinking_tokens\":", usage->reasoning);
        ps_buf_byte(out, '}');
    }
    ps_buf_byte(out, '}');
}

static const char *reason_of(const struct ps_anthropic_writer *writer)
{
    switch (writer->finish) {
    case PS_FINISH_LENGTH:
        return "max_tokens";
    case PS_FINISH_TOOL_CALLS:
        return "tool_use";
    case PS_FINISH_CONTENT_FILTER:
        return "refusal";
    case PS_FINISH_STOP:
    case PS_FINISH_OTHER:
        /* Some servers say no more than "stop" behind a call that they were told to make. */
        return writer->called ? "tool_use" : writer->stop.len > 0 ? "stop_sequence" : "end_turn";
    case PS_FINISH_NONE:
    default:
        return NULL;
    }
}

static void write_reason(const struct ps_anthropic_writer *writer, struct ps_buf *out)
{
    const char *reason = reason_of(writer);

    ps_buf_cstr(out, "\"stop_reason\":");
    if (reason != NULL) {
        ps_buf_json(out, ps_slice_cstr(reason));
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_cstr(out, ",\"stop_sequence\":");
    if (reason != NULL && writer->stop.len > 0) {
        ps_buf_json(out, ps_buf_view(&writer->stop));
    } else {
        ps_buf_cstr(out, "null");
    }
}

/* ---- events of a stream ---- */

static void begin_event(struct ps_buf *out, const char *name)
{
    ps_buf_cstr(out, "event: ");
    ps_buf_cstr(out, name);
    ps_buf_cstr(out, "\ndata: {\"type\":\"");
    ps_buf_cstr(out, name);
    ps_buf_byte(out, '"');
}

static void begin_block_event(const struct ps_anthropic_writer *writer, struct ps_buf *out,
                              const char *name)
{
    begin_event(out, name);
    ps_buf_cstr(out, ",\"index\":");
    ps_buf_uint(out, writer->index);
}

static void end_event(struct ps_buf *out)
{
    ps_buf_cstr(out, "}\n\n");
}

/* What an answer consists of mostly: in few pieces. */
#define DELTA(type, key) PS_SLICE_LIT(",\"delta\":{\"type\":\"" type "\",\"" key "\":")

static void write_delta(const struct ps_anthropic_writer *writer, struct ps_buf *out,
                        struct ps_slice delta, struct ps_slice text)
{
    ps_buf_slice(out, PS_SLICE_LIT("event: content_block_delta\ndata: "
                                   "{\"type\":\"content_block_delta\",\"index\":"));
    ps_buf_uint(out, writer->index);
    ps_buf_slice(out, delta);
    ps_buf_json(out, text);
    ps_buf_slice(out, PS_SLICE_LIT("}}\n\n"));
}

static void start_message(struct ps_anthropic_writer *writer, struct ps_buf *out)
{
    if (writer->started || !is_stream(writer)) {
        return;
    }
    writer->started = true;
    begin_event(out, "message_start");
    ps_buf_cstr(out, ",\"message\":");
    write_head(writer, out);
    ps_buf_cstr(out, "],\"stop_reason\":null,\"stop_sequence\":null,");
    write_usage(&writer->usage, out);
    ps_buf_byte(out, '}');
    end_event(out);
}

/* ---- blocks ---- */

static void close_held(struct ps_anthropic_writer *writer)
{
    struct ps_json_out out;

    switch (writer->open) {
    case PS_ANTHROPIC_TEXT:
        ps_buf_byte(&writer->content, '"');
        if (writer->tail.len > 0) {
            ps_buf_cstr(&writer->content, ",\"citations\":[");
            ps_buf_slice(&writer->content, ps_buf_view(&writer->tail));
            ps_buf_byte(&writer->content, ']');
        }
        break;
    case PS_ANTHROPIC_THINKING:
        ps_buf_cstr(&writer->content, "\",\"signature\":");
        ps_buf_json(&writer->content,
                    writer->tail.len > 0 ? ps_buf_view(&writer->tail) : unsigned_thought);
        break;
    case PS_ANTHROPIC_TOOL:
        out = ps_json_out(&writer->content);
        ps_out_arguments(&out, ps_buf_view(&writer->input));
        break;
    case PS_ANTHROPIC_NO_BLOCK:
    case PS_ANTHROPIC_OTHER:
    default:
        break;
    }
    ps_buf_byte(&writer->content, '}');
}

static void close_block(struct ps_anthropic_writer *writer, struct ps_buf *out)
{
    if (writer->open == PS_ANTHROPIC_NO_BLOCK) {
        return;
    }
    if (is_stream(writer)) {
        if (writer->open == PS_ANTHROPIC_TOOL && !writer->has_arguments) {
            write_delta(writer, out, DELTA("input_json_delta", "partial_json"), PS_SLICE_LIT("{}"));
        } else if (writer->open == PS_ANTHROPIC_THINKING && !writer->has_signature) {
            write_delta(writer, out, DELTA("signature_delta", "signature"), unsigned_thought);
        }
        begin_block_event(writer, out, "content_block_stop");
        end_event(out);
    } else {
        close_held(writer);
    }
    writer->open = PS_ANTHROPIC_NO_BLOCK;
    writer->index++;
}

/* The beginning of a block; `first` and `second` are the texts of a call. */
static void open_block(struct ps_anthropic_writer *writer, enum ps_anthropic_block_kind kind,
                       uint32_t block, struct ps_slice id, struct ps_slice name, struct ps_buf *out)
{
    struct ps_buf *to = is_stream(writer) ? out : &writer->content;

    start_message(writer, out);
    close_block(writer, out);
    writer->open = kind;
    writer->block = block;
    writer->has_arguments = false;
    writer->has_signature = false;
    writer->input.len = 0;
    writer->tail.len = 0;
    if (is_stream(writer)) {
        begin_block_event(writer, out, "content_block_start");
        ps_buf_cstr(out, ",\"content_block\":");
    } else if (writer->index > 0) {
        ps_buf_byte(to, ',');
    }
    switch (kind) {
    case PS_ANTHROPIC_TEXT:
        ps_buf_cstr(to, "{\"type\":\"text\",\"text\":\"");
        break;
    case PS_ANTHROPIC_THINKING:
        ps_buf_cstr(to, "{\"type\":\"thinking\",\"thinking\":\"");
        break;
    case PS_ANTHROPIC_TOOL:
        ps_buf_cstr(to, "{\"type\":\"tool_use\",\"id\":");
        ps_buf_json(to, id);
        ps_buf_cstr(to, ",\"name\":");
        ps_buf_json(to, name);
        ps_buf_cstr(to, ",\"input\":");
        break;
    case PS_ANTHROPIC_NO_BLOCK:
    case PS_ANTHROPIC_OTHER: /* redacted thinking, which is whole at once */
    default:
        ps_buf_cstr(to, "{\"type\":\"redacted_thinking\",\"data\":");
        ps_buf_json(to, id);
        break;
    }
    if (is_stream(writer)) {
        ps_buf_cstr(out, kind == PS_ANTHROPIC_TEXT       ? "\"}"
                         : kind == PS_ANTHROPIC_THINKING ? "\",\"signature\":\"\"}"
                         : kind == PS_ANTHROPIC_TOOL     ? "{}}"
                                                         : "}");
        end_event(out);
    }
}

static void hold_text(struct ps_anthropic_writer *writer, struct ps_slice text)
{
    struct ps_json_out out = ps_json_out(&writer->content);

    ps_out_string_text(&out, text);
}

static void say_text(struct ps_anthropic_writer *writer, uint32_t block, struct ps_slice text,
                     struct ps_buf *out)
{
    if (text.len == 0) {
        return;
    }
    if (writer->open != PS_ANTHROPIC_TEXT || writer->block != block) {
        open_block(writer, PS_ANTHROPIC_TEXT, block, PS_SLICE_NONE, PS_SLICE_NONE, out);
    }
    if (is_stream(writer)) {
        write_delta(writer, out, DELTA("text_delta", "text"), text);
    } else {
        hold_text(writer, text);
    }
}

static void say_reasoning(struct ps_anthropic_writer *writer, const struct ps_event *event,
                          struct ps_buf *out)
{
    const struct ps_event_thought *thought = event->thought;

    if (thought != NULL && thought->redacted.len > 0) {
        open_block(writer, PS_ANTHROPIC_OTHER, 0, thought->redacted, PS_SLICE_NONE, out);
        close_block(writer, out);
        return;
    }
    if (event->text.len == 0 && (thought == NULL || thought->signature.len == 0)) {
        return;
    }
    if (writer->open != PS_ANTHROPIC_THINKING || writer->block != event->block) {
        open_block(writer, PS_ANTHROPIC_THINKING, event->block, PS_SLICE_NONE, PS_SLICE_NONE, out);
    }
    if (is_stream(writer)) {
        if (event->text.len > 0) {
            write_delta(writer, out, DELTA("thinking_delta", "thinking"), event->text);
        }
        if (thought != NULL && thought->signature.len > 0) {
            writer->has_signature = true;
            write_delta(writer, out, DELTA("signature_delta", "signature"), thought->signature);
        }
        return;
    }
    hold_text(writer, event->text);
    if (thought != NULL) {
        ps_buf_slice(&writer->tail, thought->signature);
    }
}

static int say_call(struct ps_anthropic_writer *writer, const struct ps_event *event,
                    struct ps_buf *out, struct ps_fault *ret_fault)
{
    static const struct ps_event_tool nameless;
    const struct ps_event_tool *tool = event->tool != NULL ? event->tool : &nameless;
    bool is_open = writer->open == PS_ANTHROPIC_TOOL && writer->block == event->block;

    if (!is_open && writer->called && event->block <= writer->last_call) {
        return event->text.len == 0
                   ? 0
                   : ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                                  "The model's calls of tools are mixed with each other.");
    }
    if (!is_open) {
        writer->called = true;
        writer->last_call = event->block;
        open_block(writer, PS_ANTHROPIC_TOOL, event->block, tool->id, tool->name, out);
    }
    if (event->text.len == 0) {
        return 0;
    }
    writer->has_arguments = true;
    if (is_stream(writer)) {
        write_delta(writer, out, DELTA("input_json_delta", "partial_json"), event->text);
    } else {
        ps_buf_slice(&writer->input, event->text);
    }
    return 0;
}

/* Only sources on the web have a form that does not point into the request. */
static void say_citation(struct ps_anthropic_writer *writer,
                         const struct ps_event_citation *citation, struct ps_buf *out)
{
    struct ps_buf *to = is_stream(writer) ? out : &writer->tail;

    if (citation == NULL || citation->url.len == 0 || writer->open != PS_ANTHROPIC_TEXT) {
        return;
    }
    if (is_stream(writer)) {
        begin_block_event(writer, out, "content_block_delta");
        ps_buf_cstr(out, ",\"delta\":{\"type\":\"citations_delta\",\"citation\":");
    } else if (writer->tail.len > 0) {
        ps_buf_byte(to, ',');
    }
    ps_buf_cstr(to, "{\"type\":\"web_search_result_location\",\"url\":");
    ps_buf_json(to, citation->url);
    ps_buf_cstr(to, ",\"title\":");
    ps_buf_json(to, citation->title);
    ps_buf_cstr(to, ",\"cited_text\":");
    ps_buf_json(to, citation->quote);
    ps_buf_cstr(to, ",\"encrypted_index\":\"\"}");
    if (is_stream(writer)) {
        ps_buf_byte(out, '}');
        end_event(out);
    }
}

/* ---- events ---- */

static int check_held(const struct ps_anthropic_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    size_t max = writer->base.options.max_bytes;
    size_t held = writer->content.len + writer->input.len + writer->tail.len + writer->stop.len;
    bool failed = writer->content.failed || writer->input.failed || writer->tail.failed ||
                  writer->stop.failed;

    if (!failed && held <= max) {
        return 0;
    }
    if (held <= max && event->text.len <= max - held && event->text.len > 0) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The model's answer is larger than the gateway can hold.");
}

static int check_count(const struct ps_anthropic_writer *writer, struct ps_fault *ret_fault)
{
    if (writer->base.options.operation != PS_OP_COUNT_TOKENS || writer->usage.input >= 0) {
        return 0;
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The provider's answer has no count of tokens.");
}

int ps_anthropic_writer_event(struct ps_writer *base, const struct ps_event *event,
                              struct ps_buf *out, struct ps_fault *ret_fault)
{
    struct ps_anthropic_writer *writer = (struct ps_anthropic_writer *)base;

    if (event->kind == PS_EVENT_USAGE) {
        writer->usage = event->usage;
    } else if (event->kind == PS_EVENT_DONE) {
        return check_count(writer, ret_fault);
    } else if (event->choice != 0 || base->options.operation != PS_OP_CHAT) {
        return 0;
    } else if (event->kind == PS_EVENT_START) {
        start_message(writer, out);
    } else if (event->kind == PS_EVENT_TEXT) {
        say_text(writer, event->block, event->text, out);
    } else if (event->kind == PS_EVENT_REASONING) {
        say_reasoning(writer, event, out);
    } else if (event->kind == PS_EVENT_REFUSAL) {
        say_text(writer, REFUSAL_TEXT, event->text, out);
    } else if (event->kind == PS_EVENT_TOOL_CALL) {
        if (say_call(writer, event, out, ret_fault) != 0) {
            return -1;
        }
    } else if (event->kind == PS_EVENT_CITATION) {
        say_citation(writer, event->citation, out);
    } else if (event->kind == PS_EVENT_FINISH && writer->finish == PS_FINISH_NONE) {
        start_message(writer, out);
        close_block(writer, out);
        writer->finish = event->finish;
        ps_buf_slice(&writer->stop, event->text);
    }
    return check_held(writer, event, ret_fault);
}

void ps_anthropic_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                             struct ps_buf *out)
{
    struct ps_anthropic_writer *writer = (struct ps_anthropic_writer *)base;

    (void)info; /* the API has no place for it */
    if (base->options.operation == PS_OP_COUNT_TOKENS) {
        ps_buf_cstr(out, "{\"input_tokens\":");
        ps_buf_int(out, writer->usage.input);
        ps_buf_byte(out, '}');
        return;
    }
    start_message(writer, out);
    close_block(writer, out);
    if (is_stream(writer)) {
        begin_event(out, "message_delta");
        ps_buf_cstr(out, ",\"delta\":{");
        write_reason(writer, out);
        ps_buf_cstr(out, "},");
        write_usage(&writer->usage, out);
        end_event(out);
        begin_event(out, "message_stop");
        end_event(out);
        return;
    }
    write_head(writer, out);
    ps_buf_slice(out, ps_buf_view(&writer->content));
    ps_buf_cstr(out, "],");
    write_reason(writer, out);
    ps_buf_byte(out, ',');
    write_usage(&writer->usage, out);
    ps_buf_byte(out, '}');
}
