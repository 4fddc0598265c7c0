/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

#include <math.h>

/*
 * Answers of OpenAI's API out of events: for models that do not speak it themselves. There is one
 * answer: what other choices say is left out.
 *
 * A stream: a chunk with the role, a chunk per text, a chunk with the reason for the end; at the
 * end the chunk with the usage, when the client asked for it, and [DONE]. A whole answer is held
 * until the end. Log probabilities go out with the next chunk that has a choice.
 */

#define HEAD_BYTES 65536 /* of id and model, escaped */

static bool is_chat(const struct ps_openai_writer *writer)
{
    return writer->base.options.operation == PS_OP_CHAT;
}

static bool is_stream(const struct ps_openai_writer *writer)
{
    return writer->base.options.mode == PS_WRITER_SSE;
}

/* ---- the members around the choices ---- */

static void write_id(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    struct ps_slice id = writer->base.options.id;
    struct ps_slice ours = PS_SLICE_LIT("gen_");
    struct ps_buf whole;

    ps_buf_init(&whole, HEAD_BYTES);
    if (ps_slice_starts(id, ours)) {
        ps_buf_cstr(&whole, is_chat(writer) ? "chatcmpl-" : "cmpl-");
        id = ps_slice(id.ptr + ours.len, id.len - ours.len);
    }
    ps_buf_slice(&whole, id);
    ps_buf_json(out, ps_buf_view(&whole));
    out->failed = out->failed || whole.failed;
    ps_buf_deinit(&whole);
}

static void write_head(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    const char *object = !is_chat(writer)    ? "text_completion"
                         : is_stream(writer) ? "chat.completion.chunk"
                                             : "chat.completion";

    ps_buf_cstr(out, "{\"id\":");
    write_id(writer, out);
    ps_buf_cstr(out, ",\"object\":\"");
    ps_buf_cstr(out, object);
    ps_buf_cstr(out, "\",\"created\":");
    ps_buf_int(out, writer->base.options.created_s);
    ps_buf_cstr(out, ",\"model\":");
    ps_buf_json(out, writer->base.options.model);
    ps_buf_cstr(out, ",\"system_fingerprint\":\"penstock\",\"choices\":[");
}

int ps_openai_writer_init(struct ps_writer *base)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;
    size_t max = base->options.max_bytes;

    writer->usage = PS_USAGE_NONE;
    if (base->options.operation == PS_OP_EMBED) {
        base->options.mode = PS_WRITER_WHOLE;
    }
    for (int i = 0; i < PS_OPENAI_SAID; i++) {
        ps_buf_init(&writer->said[i], max);
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        ps_buf_init(&writer->logprobs[i], max);
    }
    ps_buf_init(&writer->data, max);
    ps_buf_init(&writer->head, HEAD_BYTES);
    if (is_stream(writer)) {
        write_head(writer, &writer->head);
    }
    return writer->head.failed ? -1 : 0;
}

void ps_openai_writer_deinit(struct ps_writer *base)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;

    for (int i = 0; i < PS_OPENAI_SAID; i++) {
        ps_buf_deinit(&writer->said[i]);
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        ps_buf_deinit(&writer->logprobs[i]);
    }
    ps_buf_deinit(&writer->data);
    ps_buf_deinit(&writer->head);
}

static void write_count(struct ps_buf *out, const char *key, int64_t count)
{
    ps_buf_cstr(out, key);
    if (count >= 0) {
        ps_buf_int(out, count);
    } else {
        ps_buf_cstr(out, "null");
    }
}

static void write_usage(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    struct ps_usage usage = writer->usage;
    bool embeds = writer->base.options.operation == PS_OP_EMBED;

    ps_buf_cstr(out, ",\"usage\":");
    if (!writer->has_usage) {
        ps_buf_cstr(out, "null");
        return;
    }
    if (usage.total < 0 && embeds) {
        usage.total = usage.input;
    } else if (usage.total < 0 && usage.input >= 0 && usage.output >= 0 &&
               usage.input <= INT64_MAX - usage.output) {
        usage.total = usage.input + usage.output;
    }
    write_count(out, "{\"prompt_tokens\":", usage.input);
    if (!embeds) {
        write_count(out, ",\"completion_tokens\":", usage.output);
    }
    write_count(out, ",\"total_tokens\":", usage.total);
    if (usage.cached >= 0) {
        write_count(out, ",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached);
        ps_buf_byte(out, '}');
    }
    if (usage.reasoning >= 0) {
        write_count(out, ",\"completion_tokens_details\":{\"reasoning_tokens\":", usage.reasoning);
        ps_buf_byte(out, '}');
    }
    ps_buf_byte(out, '}');
}

static void write_finish(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, ",\"finish_reason\":");
    if (writer->finish != NULL) {
        ps_buf_byte(out, '"');
        ps_buf_cstr(out, writer->finish);
        ps_buf_byte(out, '"');
    } else {
        ps_buf_cstr(out, "null");
    }
}

/* ---- streams ---- */

/* The members of a delta by what is said. */
static const char *const said_names[PS_OPENAI_SAID] = {
    [PS_OPENAI_TEXT] = "\"content\":",
    [PS_OPENAI_REASONING] = "\"reasoning_content\":",
    [PS_OPENAI_REFUSAL] = "\"refusal\":",
};

static void begin_chunk(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, "data: ");
    ps_buf_slice(out, ps_buf_view(&writer->head));
}

static void end_chunk(struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, ",\"logprobs\":");
    ps_openai_write_logprobs(writer, out);
    write_finish(writer, out);
    ps_buf_cstr(out, writer->base.options.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void start_stream(struct ps_openai_writer *writer, struct ps_buf *out)
{
    if (writer->started || !is_chat(writer)) {
        return;
    }
    writer->started = true;
    begin_chunk(writer, out);
    ps_buf_cstr(out, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                     "\"logprobs\":null,\"finish_reason\":null");
    ps_buf_cstr(out, writer->base.options.include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void stream_said(struct ps_openai_writer *writer, int what, struct ps_slice text,
                        struct ps_buf *out)
{
    start_stream(writer, out);
    begin_chunk(writer, out);
    if (is_chat(writer)) {
        ps_buf_cstr(out, "{\"index\":0,\"delta\":{");
        ps_buf_cstr(out, said_names[what]);
        ps_buf_json(out, text);
        ps_buf_byte(out, '}');
    } else {
        ps_buf_cstr(out, "{\"index\":0,\"text\":");
        ps_buf_json(out, text);
    }
    end_chunk(writer, out);
}

static void stream_finish(struct ps_openai_writer *writer, struct ps_buf *out)
{
    start_stream(writer, out);
    begin_chunk(writer, out);
    ps_buf_cstr(out, is_chat(writer) ? "{\"index\":0,\"delta\":{}" : "{\"index\":0,\"text\":\"\"");
    end_chunk(writer, out);
}

/* ---- events ---- */

static void say(struct ps_openai_writer *writer, int what, struct ps_slice text, struct ps_buf *out)
{
    if (text.len == 0 || (what != PS_OPENAI_TEXT && !is_chat(writer))) {
        return;
    }
    switch (writer->base.options.mode) {
    case PS_WRITER_SSE:
        stream_said(writer, what, text, out);
        break;
    case PS_WRITER_TEXT:
        if (what == PS_OPENAI_TEXT) {
            ps_buf_slice(out, text);
        }
        break;
    case PS_WRITER_WHOLE:
    default:
        ps_buf_slice(&writer->said[what], text);
        break;
    }
}

static const char *word_of(enum ps_finish finish)
{
    switch (finish) {
    case PS_FINISH_LENGTH:
        return "length";
    case PS_FINISH_TOOL_CALLS:
        return "tool_calls";
    case PS_FINISH_CONTENT_FILTER:
        return "content_filter";
    case PS_FINISH_NONE:
    case PS_FINISH_STOP:
    case PS_FINISH_OTHER:
    default:
        return "stop";
    }
}

static void finish(struct ps_openai_writer *writer, const struct ps_event *event,
                   struct ps_buf *out)
{
    bool again = writer->finish != NULL;

    writer->finish = word_of(event->finish);
    if (is_stream(writer) && !again) {
        stream_finish(writer, out);
    }
}

static int add_embedding(struct ps_openai_writer *writer, const struct ps_event *event,
                         struct ps_fault *ret_fault)
{
    for (size_t i = 0; i < event->dimensions; i++) {
        if (!isfinite(event->vector[i])) {
            return ps_fault_set(ret_fault, PS_FAULT_INTERNAL, NULL,
                                "The model gave a vector that holds no number.");
        }
    }
    ps_openai_write_embedding(event, writer->base.options.base64, &writer->data);
    return 0;
}

/* What is held must not grow above the bound, all of it together. */
static int check_held(const struct ps_openai_writer *writer, const struct ps_event *event,
                      struct ps_fault *ret_fault)
{
    size_t max = writer->base.options.max_bytes;
    size_t held = writer->data.len;
    bool failed = writer->data.failed;

    for (int i = 0; i < PS_OPENAI_SAID; i++) {
        held += writer->said[i].len;
        failed = failed || writer->said[i].failed;
    }
    for (int i = 0; i < PS_LOGPROB_LISTS; i++) {
        held += writer->logprobs[i].len;
        failed = failed || writer->logprobs[i].failed;
    }
    if (!failed && held <= max) {
        return 0;
    }
    if (event->text.len > 0 && held <= max && event->text.len <= max - held) {
        return ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory for this answer.");
    }
    return ps_fault_set(ret_fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                        "The model's answer is larger than the gateway can hold.");
}

int ps_openai_writer_event(struct ps_writer *base, const struct ps_event *event, struct ps_buf *out,
                           struct ps_fault *ret_fault)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;
    bool embeds = base->options.operation == PS_OP_EMBED;

    if (event->kind == PS_EVENT_USAGE) {
        writer->has_usage = true;
        writer->usage = event->usage;
    } else if (event->choice != 0) {
        return 0;
    } else if (embeds) {
        if (event->kind == PS_EVENT_EMBEDDING && add_embedding(writer, event, ret_fault) != 0) {
            return -1;
        }
    } else if (event->kind == PS_EVENT_START) {
        if (is_stream(writer)) {
            start_stream(writer, out);
        }
    } else if (event->kind == PS_EVENT_TEXT) {
        say(writer, PS_OPENAI_TEXT, event->text, out);
    } else if (event->kind == PS_EVENT_REASONING) {
        say(writer, PS_OPENAI_REASONING, event->text, out);
    } else if (event->kind == PS_EVENT_REFUSAL) {
        say(writer, PS_OPENAI_REFUSAL, event->text, out);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        if (base->options.mode != PS_WRITER_TEXT) {
            ps_openai_note_logprobs(writer, event);
        }
    } else if (event->kind == PS_EVENT_FINISH) {
        finish(writer, event, out);
    }
    return check_held(writer, event, ret_fault);
}

/* ---- the end ---- */

static void write_message(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    const struct ps_buf *said = writer->said;

    ps_buf_cstr(out, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (said[PS_OPENAI_TEXT].len == 0 && said[PS_OPENAI_REFUSAL].len > 0) {
        ps_buf_cstr(out, "null");
    } else {
        ps_buf_json(out, ps_buf_view(&said[PS_OPENAI_TEXT]));
    }
    if (said[PS_OPENAI_REASONING].len > 0) {
        ps_buf_cstr(out, ",\"reasoning_content\":");
        ps_buf_json(out, ps_buf_view(&said[PS_OPENAI_REASONING]));
    }
    ps_buf_cstr(out, ",\"refusal\":");
    if (said[PS_OPENAI_REFUSAL].len > 0) {
        ps_buf_json(out, ps_buf_view(&said[PS_OPENAI_REFUSAL]));
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_byte(out, '}');
}

static void write_whole(struct ps_openai_writer *writer, struct ps_buf *out)
{
    write_head(writer, out);
    ps_buf_cstr(out, "{\"index\":0,");
    if (is_chat(writer)) {
        write_message(writer, out);
    } else {
        ps_buf_cstr(out, "\"text\":");
        ps_buf_json(out, ps_buf_view(&writer->said[PS_OPENAI_TEXT]));
    }
    ps_buf_cstr(out, ",\"logprobs\":");
    ps_openai_write_logprobs(writer, out);
    write_finish(writer, out);
    ps_buf_cstr(out, "}]");
    write_usage(writer, out);
    ps_buf_cstr(out, "}\n");
}

static void write_list(const struct ps_openai_writer *writer, struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"object\":\"list\",\"data\":[");
    ps_buf_slice(out, ps_buf_view(&writer->data));
    ps_buf_cstr(out, "],\"model\":");
    ps_buf_json(out, writer->base.options.model);
    write_usage(writer, out);
    ps_buf_cstr(out, "}\n");
}

void ps_openai_writer_end(struct ps_writer *base, const struct ps_answer_info *info,
                          struct ps_buf *out)
{
    struct ps_openai_writer *writer = (struct ps_openai_writer *)base;

    (void)info; /* the API has no place for it */
    if (base->options.operation == PS_OP_EMBED) {
        write_list(writer, out);
    } else if (base->options.mode == PS_WRITER_WHOLE) {
        write_whole(writer, out);
    } else if (base->options.mode == PS_WRITER_SSE) {
        if (base->options.include_usage && writer->has_usage) {
            begin_chunk(writer, out);
            ps_buf_byte(out, ']');
            write_usage(writer, out);
            ps_buf_cstr(out, "}\n\n");
        }
        ps_buf_cstr(out, "data: [DONE]\n\n");
    }
}
