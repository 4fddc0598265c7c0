/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* ---- blocks of content ---- */

struct block {
    struct ps_slice type;
    struct ps_slice id;
    struct ps_slice name;
    struct ps_slice input;
    struct ps_slice text;
    struct ps_slice thinking;
    struct ps_slice signature;
    struct ps_slice data;
};

static void read_block(struct ps_slice raw, struct block *ret)
{
    const struct {
        struct ps_slice name;
        struct ps_slice *value;
    } members[] = {
        {PS_SLICE_INIT("type"), &ret->type},           {PS_SLICE_INIT("id"), &ret->id},
        {PS_SLICE_INIT("name"), &ret->name},           {PS_SLICE_INIT("input"), &ret->input},
        {PS_SLICE_INIT("text"), &ret->text},           {PS_SLICE_INIT("thinking"), &ret->thinking},
        {PS_SLICE_INIT("signature"), &ret->signature}, {PS_SLICE_INIT("data"), &ret->data},
    };
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    *ret = (struct block){.type = PS_SLICE_NONE};
    if (!ps_raw_begins(raw, '{')) {
        return;
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_member(&walk, &key, &value)) {
        for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
            if (ps_json_key_is(key, members[i].name)) {
                *members[i].value = value;
                break;
            }
        }
    }
}

static bool has_members(struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(raw, '{')) {
        return false;
    }
    ps_json_walk_init(&walk, raw);
    return ps_json_walk_member(&walk, &key, &value);
}

static bool emit_text(struct ps_anthropic_decoder *decoder, struct ps_slice raw)
{
    struct ps_event event = {
        .kind = PS_EVENT_TEXT, .block = decoder->index, .usage = PS_USAGE_NONE};

    if (decoder->base.options.fields) {
        if (!ps_anthropic_text_begin(decoder, raw.len)) {
            return false;
        }
        event.text = ps_anthropic_text(decoder, raw);
    }
    return ps_decoder_emit(&decoder->base, &event);
}

static bool emit_reasoning(struct ps_anthropic_decoder *decoder, struct ps_slice text,
                           struct ps_slice signature, struct ps_slice redacted)
{
    struct ps_event_thought thought = {.is_summary = false};
    struct ps_event event = {
        .kind = PS_EVENT_REASONING, .block = decoder->index, .usage = PS_USAGE_NONE};

    if (!decoder->base.options.fields) {
        return ps_decoder_emit(&decoder->base, &event);
    }
    if (!ps_anthropic_text_begin(decoder, text.len + signature.len + redacted.len)) {
        return false;
    }
    event.text = ps_anthropic_text(decoder, text);
    thought.signature = ps_anthropic_text(decoder, signature);
    thought.redacted = ps_anthropic_text(decoder, redacted);
    if (thought.signature.len > 0 || thought.redacted.len > 0) {
        event.thought = &thought;
    }
    return ps_decoder_emit(&decoder->base, &event);
}

static bool emit_call(struct ps_anthropic_decoder *decoder, const struct block *block)
{
    struct ps_event_tool tool = {.custom = false};
    struct ps_event event = {
        .kind = PS_EVENT_TOOL_CALL, .block = decoder->calls++, .usage = PS_USAGE_NONE};

    if (!decoder->base.options.fields) {
        return ps_decoder_emit(&decoder->base, &event);
    }
    if (!ps_anthropic_text_begin(decoder, block->id.len + block->name.len)) {
        return false;
    }
    tool.id = ps_anthropic_text(decoder, block->id);
    tool.name = ps_anthropic_text(decoder, block->name);
    /* Only servers that are not Anthropic's own give arguments here, and then all of them. */
    decoder->whole_input = has_members(block->input);
    if (decoder->whole_input) {
        event.text = block->input;
    }
    event.tool = &tool;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool on_block_start(struct ps_anthropic_decoder *decoder)
{
    struct block block;
    bool fields = decoder->base.options.fields;

    read_block(ps_anthropic_found_raw(&decoder->found, PS_ANTHROPIC_V_BLOCK), &block);
    decoder->kind = PS_ANTHROPIC_OTHER;
    decoder->whole_input = false;
    if (ps_raw_word(block.type, "text")) {
        decoder->kind = PS_ANTHROPIC_TEXT;
        if (ps_anthropic_says(block.text)) {
            return emit_text(decoder, block.text);
        }
    } else if (ps_raw_word(block.type, "thinking")) {
        decoder->kind = PS_ANTHROPIC_THINKING;
        if (ps_anthropic_says(block.thinking) || ps_anthropic_says(block.signature)) {
            return emit_reasoning(decoder, block.thinking, block.signature, PS_SLICE_NONE);
        }
    } else if (ps_raw_word(block.type, "redacted_thinking")) {
        return emit_reasoning(decoder, PS_SLICE_NONE, PS_SLICE_NONE, block.data);
    } else if (ps_raw_word(block.type, "tool_use")) {
        decoder->kind = PS_ANTHROPIC_TOOL;
        return emit_call(decoder, &block);
    } else if (!fields) {
        /* What a tool at the provider does counts as an answer, too. */
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_TOOL_CALL);
    }
    return ps_decoder_emit_kind(&decoder->base, PS_EVENT_BLOCK_START);
}

static bool on_arguments(struct ps_anthropic_decoder *decoder, struct ps_slice raw)
{
    struct ps_event event = {.kind = PS_EVENT_TOOL_CALL, .usage = PS_USAGE_NONE};

    if (!decoder->base.options.fields) {
        return ps_decoder_emit(&decoder->base, &event);
    }
    if (decoder->kind != PS_ANTHROPIC_TOOL || decoder->whole_input || decoder->calls == 0 ||
        !ps_anthropic_says(raw)) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
    }
    if (!ps_anthropic_text_begin(decoder, raw.len)) {
        return false;
    }
    event.block = decoder->calls - 1;
    event.text = ps_anthropic_text(decoder, raw);
    return ps_decoder_emit(&decoder->base, &event);
}

static bool on_delta(struct ps_anthropic_decoder *decoder)
{
    const struct ps_anthropic_found *found = &decoder->found;
    struct ps_slice type = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_TYPE);
    struct ps_slice raw;

    if (ps_raw_word(type, "text_delta")) {
        raw = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_TEXT);
        if (ps_anthropic_says(raw)) {
            return emit_text(decoder, raw);
        }
    } else if (ps_raw_word(type, "input_json_delta")) {
        return on_arguments(decoder, ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_JSON));
    } else if (ps_raw_word(type, "thinking_delta")) {
        raw = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_THINKING);
        if (ps_anthropic_says(raw)) {
            return emit_reasoning(decoder, raw, PS_SLICE_NONE, PS_SLICE_NONE);
        }
    } else if (ps_raw_word(type, "signature_delta")) {
        raw = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_SIGNATURE);
        if (ps_anthropic_says(raw)) {
            return emit_reasoning(decoder, PS_SLICE_NONE, raw, PS_SLICE_NONE);
        }
    } else if (ps_raw_word(type, "citations_delta")) {
        return ps_anthropic_emit_citation(
            decoder, ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_CITATION), -1, -1);
    }
    return ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
}

/* ---- the message around them ---- */

static bool on_message_start(struct ps_anthropic_decoder *decoder)
{
    const struct ps_anthropic_found *found = &decoder->found;
    struct ps_slice id = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_MESSAGE_ID);
    struct ps_slice model = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_MESSAGE_MODEL);
    struct ps_event event = {.kind = PS_EVENT_START, .usage = PS_USAGE_NONE};
    struct ps_event_start start;

    if (decoder->base.options.fields) {
        if (!ps_anthropic_text_begin(decoder, id.len + model.len)) {
            return false;
        }
        start.id = ps_anthropic_text(decoder, id);
        start.model = ps_anthropic_text(decoder, model);
        event.start = &start;
    }
    return ps_decoder_emit(&decoder->base, &event) &&
           ps_anthropic_emit_usage(decoder, PS_ANTHROPIC_V_START_INPUT);
}

static bool on_message_delta(struct ps_anthropic_decoder *decoder)
{
    const struct ps_anthropic_found *found = &decoder->found;

    if (!ps_anthropic_emit_usage(decoder, PS_ANTHROPIC_V_INPUT) ||
        !ps_anthropic_emit_finish(
            decoder, ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_STOP_REASON),
            ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_STOP_SEQUENCE),
            ps_anthropic_found_raw(found, PS_ANTHROPIC_V_DELTA_EXPLANATION))) {
        return false;
    }
    return decoder->base.raw.len == 0 || ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
}

static bool on_message_stop(struct ps_anthropic_decoder *decoder)
{
    const struct ps_slice raw = decoder->base.raw;

    if (!decoder->finished) {
        (void)ps_decoder_break(&decoder->base, PS_FAULT_STREAM_INCOMPLETE,
                               "The provider's stream ended before the answer was finished.");
        return false;
    }
    decoder->base.lf_due = raw.len > 0 && raw.ptr[raw.len - 1] == '\r';
    (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    return false; /* what follows is dropped */
}

static void note_index(struct ps_anthropic_decoder *decoder)
{
    struct ps_slice raw = ps_anthropic_found_raw(&decoder->found, PS_ANTHROPIC_V_INDEX);
    int64_t index;

    if (raw.len > 0 && ps_json_int(raw, &index) && index >= 0 && index <= INT32_MAX) {
        decoder->index = (uint32_t)index;
    }
}

static bool on_typed(struct ps_anthropic_decoder *decoder, struct ps_slice type)
{
    if (ps_raw_word(type, "content_block_delta")) {
        note_index(decoder);
        return on_delta(decoder);
    }
    if (ps_raw_word(type, "content_block_start")) {
        note_index(decoder);
        return on_block_start(decoder);
    }
    if (ps_raw_word(type, "content_block_stop")) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_BLOCK_STOP);
    }
    if (ps_raw_word(type, "message_start")) {
        return on_message_start(decoder);
    }
    if (ps_raw_word(type, "message_delta")) {
        return on_message_delta(decoder);
    }
    if (ps_raw_word(type, "message_stop")) {
        return on_message_stop(decoder);
    }
    if (ps_raw_word(type, "error")) {
        (void)ps_anthropic_emit_fault(decoder);
        return false;
    }
    return ps_decoder_emit_kind(&decoder->base,
                                ps_raw_word(type, "ping") ? PS_EVENT_PING : PS_EVENT_OPAQUE);
}

/* ---- one event ---- */

/*
 * Where bytes only go by, the beginning of a delta says all: most events of a stream are deltas,
 * and what they hold is the client's to read. True when it was one; *ret as from on_typed.
 */
static bool passes_by(struct ps_anthropic_decoder *decoder, const struct ps_sse_event *event,
                      bool *ret)
{
    static const struct {
        struct ps_slice begin;
        enum ps_event_kind kind;
    } deltas[] = {
        {PS_SLICE_INIT("\"delta\":{\"type\":\"text_delta\",\"text\":\""), PS_EVENT_TEXT},
        {PS_SLICE_INIT("\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\""),
         PS_EVENT_TOOL_CALL},
        {PS_SLICE_INIT("\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\""),
         PS_EVENT_REASONING},
    };
    static const struct ps_slice head =
        PS_SLICE_INIT("{\"type\":\"content_block_delta\",\"index\":");
    struct ps_slice at = event->data;

    if (!ps_slice_starts(at, head) || at.ptr[at.len - 1] != '}') {
        return false;
    }
    at = ps_slice(at.ptr + head.len, at.len - head.len);
    while (at.len > 0 && at.ptr[0] >= '0' && at.ptr[0] <= '9') {
        at = ps_slice(at.ptr + 1, at.len - 1);
    }
    if (at.len == 0 || at.ptr[0] != ',') {
        return false;
    }
    at = ps_slice(at.ptr + 1, at.len - 1);
    for (size_t i = 0; i < sizeof(deltas) / sizeof(deltas[0]); i++) {
        if (ps_slice_starts(at, deltas[i].begin) && at.ptr[deltas[i].begin.len] != '"') {
            *ret = ps_decoder_emit_kind(&decoder->base, deltas[i].kind);
            return true;
        }
    }
    return false;
}

static bool scan_event(struct ps_anthropic_decoder *decoder, const struct ps_sse_event *event)
{
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};

    ps_anthropic_found_reset(&decoder->found, event->data);
    if (ps_json_scan_text(event->data, ps_anthropic_found_paths(), &limits,
                          ps_anthropic_found_on_value, &decoder->found) == PS_JSON_OK) {
        return true;
    }
    ps_anthropic_found_reset(&decoder->found, event->data);
    return false;
}

static bool is_error(const struct ps_anthropic_decoder *decoder, const struct ps_sse_event *event)
{
    return ps_slice_eq(event->name, PS_SLICE_LIT("error")) ||
           ps_raw_word(ps_anthropic_found_raw(&decoder->found, PS_ANTHROPIC_V_TYPE), "error") ||
           (!ps_anthropic_found_has(&decoder->found, PS_ANTHROPIC_V_TYPE) &&
            ps_anthropic_found_has(&decoder->found, PS_ANTHROPIC_V_ERROR));
}

static bool on_data(struct ps_anthropic_decoder *decoder, const struct ps_sse_event *event)
{
    bool scanned;
    bool goes_on;

    if (!decoder->base.options.fields && passes_by(decoder, event, &goes_on)) {
        return goes_on;
    }
    scanned = scan_event(decoder, event);
    if (is_error(decoder, event)) {
        (void)ps_anthropic_emit_fault(decoder);
        return false;
    }
    if (scanned) {
        return on_typed(decoder, ps_anthropic_found_raw(&decoder->found, PS_ANTHROPIC_V_TYPE));
    }
    if (decoder->base.options.fields) {
        (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                               "The provider sent an event that is not valid JSON.");
        return false;
    }
    /* One bad event does not end an otherwise good stream: the client sees what we saw. */
    return ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
}

/*
 * A last event without its empty line. The end of the message is taken, as clients take it, and an
 * error is one; any other is left out of an answer that is broken off anyway, so that the error
 * event which ends it can be read.
 */
static bool on_partial(struct ps_anthropic_decoder *decoder, const struct ps_sse_event *event)
{
    if (!event->has_data || !scan_event(decoder, event)) {
        decoder->base.raw = PS_SLICE_NONE;
        return false;
    }
    if (is_error(decoder, event)) {
        decoder->base.raw = PS_SLICE_NONE;
        (void)ps_anthropic_emit_fault(decoder);
    } else if (decoder->finished &&
               ps_raw_word(ps_anthropic_found_raw(&decoder->found, PS_ANTHROPIC_V_TYPE),
                           "message_stop")) {
        (void)on_message_stop(decoder);
    }
    return false;
}

bool ps_anthropic_on_sse(void *arg, const struct ps_sse_event *event)
{
    struct ps_anthropic_decoder *decoder = arg;

    decoder->base.raw = event->raw;
    decoder->base.withheld = false;
    if (decoder->finishing) {
        return on_partial(decoder, event);
    }
    if (!event->has_data) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_PING);
    }
    return on_data(decoder, event);
}

enum ps_decode ps_anthropic_stream_finish(struct ps_anthropic_decoder *decoder)
{
    struct ps_decoder *base = &decoder->base;
    bool partial;

    decoder->finishing = true;
    if (ps_sse_finish(&decoder->sse, &partial) == PS_SSE_NO_MEMORY) {
        return ps_anthropic_out_of_memory(decoder);
    }
    if (base->broken || base->stopped || base->ended) {
        return ps_decoder_result(base);
    }
    return ps_decoder_break(base, PS_FAULT_STREAM_INCOMPLETE,
                            "The provider's stream ended before the answer was finished.");
}
