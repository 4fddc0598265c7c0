/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/*
 * Answers of an upstream that speaks Anthropic's messages API.
 *
 * A stream (anthropic_stream.c): ps_sse cuts it into events, each event's JSON says what it is and
 * becomes one of ours, the first with the raw bytes; message_stop ends it. Ways to fail: an error
 * event (FAULT), an event above the limit, or the stream's end without message_stop or without a
 * reason (BROKEN). A whole answer (anthropic_whole.c): the bytes are handed up as they come and
 * scanned on the way; what they say is told at the end, when the JSON has proved whole. Where the
 * front translates, the bytes are gathered instead.
 */

static bool is_stream(const struct ps_decoder_options *options, struct ps_slice content_type)
{
    struct ps_slice type = ps_dialect_media_type(content_type);

    if (ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream"))) {
        return true;
    }
    return options->stream && !ps_dialect_is_json(type);
}

int ps_anthropic_decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    struct ps_anthropic_decoder *decoder = (struct ps_anthropic_decoder *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    decoder->is_stream = is_stream(&base->options, content_type);
    for (size_t i = 0; i < sizeof(decoder->counts) / sizeof(decoder->counts[0]); i++) {
        decoder->counts[i] = -1;
    }
    ps_sse_init(&decoder->sse, base->options.event_bytes, false, ps_anthropic_on_sse, decoder);
    ps_buf_init(&decoder->text, base->options.event_bytes);
    ps_buf_init(&decoder->body, base->options.event_bytes);
    ps_json_scan_init(&decoder->scan, ps_anthropic_found_paths(), &limits,
                      ps_anthropic_found_on_value, &decoder->found);
    return ps_anthropic_found_init(&decoder->found, !decoder->is_stream && !base->options.fields);
}

void ps_anthropic_decoder_deinit(struct ps_decoder *base)
{
    struct ps_anthropic_decoder *decoder = (struct ps_anthropic_decoder *)base;

    ps_anthropic_found_deinit(&decoder->found);
    ps_sse_deinit(&decoder->sse);
    ps_buf_deinit(&decoder->text);
    ps_buf_deinit(&decoder->body);
}

enum ps_decode ps_anthropic_out_of_memory(struct ps_anthropic_decoder *decoder)
{
    return ps_decoder_break(&decoder->base, PS_FAULT_NO_MEMORY,
                            "The gateway is short of memory for this answer.");
}

enum ps_decode ps_anthropic_decoder_feed(struct ps_decoder *base, const char *ptr, size_t len)
{
    struct ps_anthropic_decoder *decoder = (struct ps_anthropic_decoder *)base;

    decoder->any = true;
    if (!decoder->is_stream) {
        return ps_anthropic_whole_feed(decoder, ptr, len);
    }
    switch (ps_sse_feed(&decoder->sse, ptr, len)) {
    case PS_SSE_TOO_LARGE:
        return ps_decoder_break(base, PS_FAULT_UPSTREAM_BROKEN,
                                "The provider sent an event above the limit.");
    case PS_SSE_NO_MEMORY:
        return ps_anthropic_out_of_memory(decoder);
    case PS_SSE_OK:
    case PS_SSE_STOPPED:
    default:
        return ps_decoder_result(base);
    }
}

enum ps_decode ps_anthropic_decoder_finish(struct ps_decoder *base)
{
    struct ps_anthropic_decoder *decoder = (struct ps_anthropic_decoder *)base;

    return decoder->is_stream ? ps_anthropic_stream_finish(decoder)
                              : ps_anthropic_whole_finish(decoder);
}

/* ---- texts ---- */

bool ps_anthropic_text_begin(struct ps_anthropic_decoder *decoder, size_t len)
{
    ps_buf_reset(&decoder->text);
    if (len > 0 && ps_buf_reserve(&decoder->text, len) == NULL) {
        /* Text left out would be a lie. */
        (void)ps_anthropic_out_of_memory(decoder);
        return false;
    }
    return true;
}

struct ps_slice ps_anthropic_text(struct ps_anthropic_decoder *decoder, struct ps_slice raw)
{
    size_t start = decoder->text.len;
    char *room;

    if (raw.len <= 2 || raw.ptr[0] != '"') {
        return PS_SLICE_NONE;
    }
    if (memchr(raw.ptr, '\\', raw.len) == NULL) {
        return ps_slice(raw.ptr + 1, raw.len - 2);
    }
    room = ps_buf_reserve(&decoder->text, raw.len); /* room was made: it does not move */
    if (room == NULL) {
        return PS_SLICE_NONE;
    }
    ps_buf_commit(&decoder->text, ps_json_unescape(raw, room));
    return ps_slice(decoder->text.ptr + start, decoder->text.len - start);
}

/* ---- events ---- */

/* A citation's place in the answer is not told; the block it belongs to is. */
bool ps_anthropic_emit_citation(struct ps_anthropic_decoder *decoder, struct ps_slice raw,
                                int64_t start, int64_t end)
{
    struct ps_event_citation citation = {.start = start, .end = end, .raw = raw};
    struct ps_event event = {.kind = PS_EVENT_CITATION, .usage = PS_USAGE_NONE};
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!decoder->base.options.fields || !ps_raw_begins(raw, '{')) {
        return ps_decoder_emit(&decoder->base, &event);
    }
    if (!ps_anthropic_text_begin(decoder, raw.len)) {
        return false;
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_json_key_is(key, PS_SLICE_LIT("url"))) {
            citation.url = ps_anthropic_text(decoder, value);
        } else if (ps_json_key_is(key, PS_SLICE_LIT("title")) ||
                   ps_json_key_is(key, PS_SLICE_LIT("document_title"))) {
            citation.title = ps_anthropic_text(decoder, value);
        } else if (ps_json_key_is(key, PS_SLICE_LIT("cited_text"))) {
            citation.quote = ps_anthropic_text(decoder, value);
        }
    }
    event.citation = &citation;
    return ps_decoder_emit(&decoder->base, &event);
}

static int64_t sum(int64_t a, int64_t b)
{
    return b <= 0 ? a : a > INT64_MAX - b ? INT64_MAX : a + b;
}

bool ps_anthropic_emit_usage(struct ps_anthropic_decoder *decoder, enum ps_anthropic_value first)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    int64_t *counts = decoder->counts;
    bool any = false;

    for (int i = 0; i <= PS_ANTHROPIC_V_THINKING - PS_ANTHROPIC_V_INPUT; i++) {
        struct ps_slice raw =
            ps_anthropic_found_raw(&decoder->found, (enum ps_anthropic_value)((int)first + i));
        int64_t count = -1;

        if (raw.len > 0 && ps_json_int(raw, &count) && count >= 0) {
            counts[i] = count;
            any = true;
        }
    }
    if (!any) {
        return true;
    }
    event.usage.input = counts[0];
    event.usage.cache_write = counts[PS_ANTHROPIC_V_WRITE - PS_ANTHROPIC_V_INPUT];
    event.usage.cached = counts[PS_ANTHROPIC_V_READ - PS_ANTHROPIC_V_INPUT];
    event.usage.output = counts[PS_ANTHROPIC_V_OUTPUT - PS_ANTHROPIC_V_INPUT];
    event.usage.reasoning = counts[PS_ANTHROPIC_V_THINKING - PS_ANTHROPIC_V_INPUT];
    if (event.usage.input >= 0) {
        /* What was read from the cache or put into it is counted apart. */
        event.usage.input =
            sum(sum(event.usage.input, event.usage.cache_write), event.usage.cached);
    }
    return ps_decoder_emit(&decoder->base, &event);
}

static enum ps_finish finish_of(struct ps_slice word)
{
    static const struct {
        struct ps_slice word;
        enum ps_finish finish;
    } words[] = {
        {PS_SLICE_INIT("end_turn"), PS_FINISH_STOP},
        {PS_SLICE_INIT("stop_sequence"), PS_FINISH_STOP},
        {PS_SLICE_INIT("max_tokens"), PS_FINISH_LENGTH},
        {PS_SLICE_INIT("tool_use"), PS_FINISH_TOOL_CALLS},
        {PS_SLICE_INIT("refusal"), PS_FINISH_CONTENT_FILTER},
        {PS_SLICE_INIT("model_context_window_exceeded"), PS_FINISH_LENGTH},
        /* only with tools that run at the provider: more is to come if asked again */
        {PS_SLICE_INIT("pause_turn"), PS_FINISH_STOP},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ps_slice_eq(word, words[i].word)) {
            return words[i].finish;
        }
    }
    return PS_FINISH_OTHER;
}

bool ps_anthropic_emit_finish(struct ps_anthropic_decoder *decoder, struct ps_slice reason,
                              struct ps_slice sequence, struct ps_slice explanation)
{
    bool fields = decoder->base.options.fields;
    struct ps_event refusal = {.kind = PS_EVENT_REFUSAL, .usage = PS_USAGE_NONE};
    struct ps_event event = {.kind = PS_EVENT_FINISH, .usage = PS_USAGE_NONE};

    if (!ps_anthropic_says(reason)) {
        return true;
    }
    if (!ps_anthropic_text_begin(decoder, reason.len + sequence.len + explanation.len)) {
        return false;
    }
    decoder->finished = true;
    event.finish_text = ps_anthropic_text(decoder, reason);
    event.finish = finish_of(event.finish_text);
    if (fields && ps_anthropic_says(explanation)) {
        refusal.text = ps_anthropic_text(decoder, explanation);
        if (!ps_decoder_emit(&decoder->base, &refusal)) {
            return false;
        }
    }
    if (fields) {
        event.text = ps_anthropic_text(decoder, sequence);
    }
    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_anthropic_emit_fault(struct ps_anthropic_decoder *decoder)
{
    struct ps_event event = {.kind = PS_EVENT_FAULT, .usage = PS_USAGE_NONE};
    const struct ps_anthropic_found *found = &decoder->found;

    ps_anthropic_fault_of(0, ps_anthropic_found_raw(found, PS_ANTHROPIC_V_ERROR_TYPE),
                          ps_anthropic_found_raw(found, PS_ANTHROPIC_V_ERROR_MESSAGE),
                          &decoder->base.fault);
    event.fault = &decoder->base.fault;
    return ps_decoder_emit(&decoder->base, &event);
}
