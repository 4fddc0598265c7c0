/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

/*
 * Answers of an upstream that speaks OpenAI's API.
 *
 * A stream: ps_sse cuts it into events, openai_stream.c reads each one's JSON and hands up what it
 * says, the first of those with the raw bytes; [DONE] ends it. Ways to fail: an error in an event
 * (FAULT), an event above the limit or the stream's end without its marker or without a finish
 * (BROKEN). A whole answer (openai_whole.c): the bytes are handed up as they come and scanned on
 * the way; what they say is told at the end, when the JSON has proved whole. Where the front
 * translates, the bytes are gathered instead. Bytes that are neither are handed up as they come.
 */

static bool is_family_operation(enum ps_operation operation)
{
    return operation != PS_OP_PASS;
}

/* The operations whose answers are always JSON or events are held to it, whatever the header says.
 */
static enum ps_openai_mode mode_of(const struct ps_decoder_options *options,
                                   struct ps_slice content_type)
{
    struct ps_slice type = ps_dialect_media_type(content_type);

    if (ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream"))) {
        return PS_OPENAI_STREAM;
    }
    if (ps_dialect_is_json(type)) {
        return PS_OPENAI_WHOLE;
    }
    if (!is_family_operation(options->operation)) {
        return PS_OPENAI_BYTES;
    }
    return options->stream ? PS_OPENAI_STREAM : PS_OPENAI_WHOLE;
}

int ps_openai_decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    struct ps_openai_decoder *decoder = (struct ps_openai_decoder *)base;
    enum ps_operation operation = base->options.operation;
    bool responses = base->options.front == PS_FAMILY_RESPONSES && !base->options.fields;
    bool answers = (operation == PS_OP_CHAT && !responses) || operation == PS_OP_COMPLETE;

    decoder->mode = mode_of(&base->options, content_type);
    decoder->has_finish = answers;
    ps_sse_init(&decoder->sse, base->options.event_bytes, false, ps_openai_on_sse, decoder);
    ps_buf_init(&decoder->text, base->options.event_bytes);
    ps_buf_init(&decoder->body, base->options.event_bytes);
    ps_buf_init(&decoder->calls, PS_OPENAI_CALL_BYTES);
    ps_openai_repeat_init(&decoder->repeat);
    if (ps_openai_found_init(&decoder->found, answers,
                             decoder->mode == PS_OPENAI_WHOLE && !base->options.fields) != 0) {
        return -1;
    }
    return decoder->mode == PS_OPENAI_WHOLE ? ps_openai_whole_init(decoder) : 0;
}

void ps_openai_decoder_deinit(struct ps_decoder *base)
{
    struct ps_openai_decoder *decoder = (struct ps_openai_decoder *)base;

    ps_openai_found_deinit(&decoder->found);
    ps_openai_repeat_deinit(&decoder->repeat);
    ps_sse_deinit(&decoder->sse);
    ps_buf_deinit(&decoder->text);
    ps_buf_deinit(&decoder->body);
    ps_buf_deinit(&decoder->calls);
}

enum ps_decode ps_openai_out_of_memory(struct ps_openai_decoder *decoder)
{
    return ps_decoder_break(&decoder->base, PS_FAULT_NO_MEMORY,
                            "The gateway is short of memory for this answer.");
}

static enum ps_decode feed_stream(struct ps_openai_decoder *decoder, const char *ptr, size_t len)
{
    struct ps_decoder *base = &decoder->base;

    switch (ps_sse_feed(&decoder->sse, ptr, len)) {
    case PS_SSE_TOO_LARGE:
        return ps_decoder_break(base, PS_FAULT_UPSTREAM_BROKEN,
                                "The provider sent an event above the limit.");
    case PS_SSE_NO_MEMORY:
        return ps_openai_out_of_memory(decoder);
    case PS_SSE_OK:
    case PS_SSE_STOPPED:
    default:
        return ps_decoder_result(base);
    }
}

enum ps_decode ps_openai_decoder_feed(struct ps_decoder *base, const char *ptr, size_t len)
{
    struct ps_openai_decoder *decoder = (struct ps_openai_decoder *)base;

    decoder->any = true;
    switch (decoder->mode) {
    case PS_OPENAI_STREAM:
        return feed_stream(decoder, ptr, len);
    case PS_OPENAI_WHOLE:
        return ps_openai_whole_feed(decoder, ptr, len);
    case PS_OPENAI_BYTES:
    default:
        base->raw = ps_slice(ptr, len);
        (void)ps_decoder_emit_kind(base, PS_EVENT_OPAQUE);
        return ps_decoder_result(base);
    }
}

enum ps_decode ps_openai_decoder_finish(struct ps_decoder *base)
{
    struct ps_openai_decoder *decoder = (struct ps_openai_decoder *)base;

    switch (decoder->mode) {
    case PS_OPENAI_STREAM:
        return ps_openai_stream_finish(decoder);
    case PS_OPENAI_WHOLE:
        return ps_openai_whole_finish(decoder);
    case PS_OPENAI_BYTES:
    default:
        if (ps_decoder_emit_kind(base, PS_EVENT_RESULT)) {
            (void)ps_decoder_emit_kind(base, PS_EVENT_DONE);
        }
        return ps_decoder_result(base);
    }
}

/* ---- events ---- */

/* Unescaped; empty when it is no string or memory is short (then text.failed). */
static struct ps_slice unescape(struct ps_openai_decoder *decoder, struct ps_slice raw)
{
    char *room;

    if (raw.len < 2 || raw.ptr[0] != '"') {
        return PS_SLICE_NONE;
    }
    ps_buf_reset(&decoder->text);
    room = ps_buf_reserve(&decoder->text, raw.len);
    if (room == NULL) {
        return PS_SLICE_NONE;
    }
    ps_buf_commit(&decoder->text, ps_json_unescape(raw, room));
    return ps_buf_view(&decoder->text);
}

bool ps_openai_emit_text(struct ps_openai_decoder *decoder, enum ps_event_kind kind,
                         uint32_t choice, struct ps_slice raw)
{
    struct ps_event event = {.kind = kind, .choice = choice, .usage = PS_USAGE_NONE};

    if (decoder->base.options.fields) {
        event.text = unescape(decoder, raw);
        if (decoder->text.failed) {
            /* Text left out would be a lie. */
            (void)ps_openai_out_of_memory(decoder);
            return false;
        }
    }
    return ps_decoder_emit(&decoder->base, &event);
}

static enum ps_finish finish_of(struct ps_slice word)
{
    static const struct {
        struct ps_slice word;
        enum ps_finish finish;
    } words[] = {
        {{"stop", 4}, PS_FINISH_STOP},
        {{"length", 6}, PS_FINISH_LENGTH},
        {{"tool_calls", 10}, PS_FINISH_TOOL_CALLS},
        {{"content_filter", 14}, PS_FINISH_CONTENT_FILTER},
        {{"function_call", 13}, PS_FINISH_TOOL_CALLS},
        {{"eos", 3}, PS_FINISH_STOP},
        {{"stop_sequence", 13}, PS_FINISH_STOP},
        {{"max_tokens", 10}, PS_FINISH_LENGTH},
        {{"model_length", 12}, PS_FINISH_LENGTH},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ps_slice_eq(word, words[i].word)) {
            return words[i].finish;
        }
    }
    return PS_FINISH_OTHER;
}

bool ps_openai_emit_finish(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice word,
                           struct ps_slice stop)
{
    struct ps_event event = {
        .kind = PS_EVENT_FINISH,
        .choice = choice,
        .usage = PS_USAGE_NONE,
        .finish = finish_of(word),
        .finish_text = word,
        .text = stop,
    };

    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_openai_emit_usage(struct ps_openai_decoder *decoder, const struct ps_usage *usage)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = *usage};

    if (decoder->base.options.fields) {
        ps_openai_more_usage(&decoder->found, &event.usage);
    }
    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_openai_emit_fault(struct ps_openai_decoder *decoder, const struct ps_openai_error *error)
{
    struct ps_event event = {.kind = PS_EVENT_FAULT, .usage = PS_USAGE_NONE};

    ps_openai_fault_of(0, error, &decoder->base.fault);
    event.fault = &decoder->base.fault;
    return ps_decoder_emit(&decoder->base, &event);
}
