/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* Whole answers: a message, or a count of tokens. */

static enum ps_decode broken(struct ps_anthropic_decoder *decoder, const char *why)
{
    return ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, why);
}

static enum ps_decode broken_json(struct ps_anthropic_decoder *decoder)
{
    (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, "");
    (void)ps_fault_set(&decoder->base.fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                       "The provider's answer %s.", ps_json_error_text(decoder->scan.error));
    return PS_DECODE_BROKEN;
}

enum ps_decode ps_anthropic_whole_feed(struct ps_anthropic_decoder *decoder, const char *ptr,
                                       size_t len)
{
    bool fields = decoder->base.options.fields;

    if (fields) {
        ps_buf_append(&decoder->body, ptr, len);
        if (decoder->body.failed) {
            return broken(decoder,
                          "The provider's answer is larger than the gateway can translate.");
        }
    } else {
        ps_anthropic_found_enter(&decoder->found, ps_slice(ptr, len), decoder->scan.offset);
    }
    if (ps_json_scan_feed(&decoder->scan, ptr, len) != PS_JSON_OK) {
        return broken_json(decoder);
    }
    if (!fields) {
        ps_anthropic_found_leave(&decoder->found);
        decoder->base.raw = ps_slice(ptr, len);
        (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
    }
    return ps_decoder_result(&decoder->base);
}

/* ---- what was said ---- */

static int64_t characters(struct ps_slice text)
{
    int64_t count = 0;

    for (size_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return count;
}

struct said {
    struct ps_anthropic_decoder *decoder;
    uint32_t block;
    int64_t characters; /* of text so far */
};

static bool say_text(struct said *said, struct ps_slice block)
{
    struct ps_anthropic_decoder *decoder = said->decoder;
    struct ps_slice raw = ps_raw_member(block, "text");
    struct ps_slice citations = ps_raw_member(block, "citations");
    struct ps_event event = {.kind = PS_EVENT_TEXT, .block = said->block, .usage = PS_USAGE_NONE};
    struct ps_json_walk walk;
    struct ps_slice citation;
    int64_t start = said->characters;

    if (!ps_anthropic_text_begin(decoder, raw.len)) {
        return false;
    }
    event.text = ps_anthropic_text(decoder, raw);
    said->characters += characters(event.text);
    if (!ps_decoder_emit(&decoder->base, &event)) {
        return false;
    }
    if (!ps_raw_begins(citations, '[')) {
        return true;
    }
    ps_json_walk_init(&walk, citations);
    while (ps_json_walk_element(&walk, &citation)) {
        if (!ps_anthropic_emit_citation(decoder, citation, start, said->characters)) {
            return false;
        }
    }
    return true;
}

static bool say_thinking(struct said *said, struct ps_slice block)
{
    struct ps_anthropic_decoder *decoder = said->decoder;
    struct ps_event_thought thought = {.is_summary = false};
    struct ps_event event = {
        .kind = PS_EVENT_REASONING, .block = said->block, .usage = PS_USAGE_NONE};

    if (!ps_anthropic_text_begin(decoder, block.len)) {
        return false;
    }
    event.text = ps_anthropic_text(decoder, ps_raw_member(block, "thinking"));
    thought.signature = ps_anthropic_text(decoder, ps_raw_member(block, "signature"));
    thought.redacted = ps_anthropic_text(decoder, ps_raw_member(block, "data"));
    event.thought = &thought;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool say_call(struct said *said, struct ps_slice block)
{
    struct ps_anthropic_decoder *decoder = said->decoder;
    struct ps_event_tool tool = {.custom = false};
    struct ps_event event = {
        .kind = PS_EVENT_TOOL_CALL, .block = decoder->calls++, .usage = PS_USAGE_NONE};

    if (!ps_anthropic_text_begin(decoder, block.len)) {
        return false;
    }
    tool.id = ps_anthropic_text(decoder, ps_raw_member(block, "id"));
    tool.name = ps_anthropic_text(decoder, ps_raw_member(block, "name"));
    event.text = ps_raw_member(block, "input");
    if (!ps_raw_begins(event.text, '{')) {
        event.text = PS_SLICE_LIT("{}");
    }
    event.tool = &tool;
    return ps_decoder_emit(&decoder->base, &event);
}

static bool say_block(struct said *said, struct ps_slice block)
{
    struct ps_slice type = ps_raw_member(block, "type");

    if (ps_raw_word(type, "text")) {
        return say_text(said, block);
    }
    if (ps_raw_word(type, "thinking") || ps_raw_word(type, "redacted_thinking")) {
        return say_thinking(said, block);
    }
    if (ps_raw_word(type, "tool_use")) {
        return say_call(said, block);
    }
    return true; /* what a tool at the provider did: no other door has words for it */
}

static bool say_all(struct ps_anthropic_decoder *decoder)
{
    const struct ps_anthropic_found *found = &decoder->found;
    struct ps_slice id = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_ID);
    struct ps_slice model = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_MODEL);
    struct said said = {.decoder = decoder};
    struct ps_event_start start;
    struct ps_event event = {.kind = PS_EVENT_START, .start = &start, .usage = PS_USAGE_NONE};
    struct ps_json_walk walk;
    struct ps_slice block;

    if (!ps_anthropic_text_begin(decoder, id.len + model.len)) {
        return false;
    }
    start.id = ps_anthropic_text(decoder, id);
    start.model = ps_anthropic_text(decoder, model);
    if (!ps_decoder_emit(&decoder->base, &event)) {
        return false;
    }
    ps_json_walk_init(&walk, ps_anthropic_found_raw(found, PS_ANTHROPIC_V_CONTENT));
    for (; ps_json_walk_element(&walk, &block); said.block++) {
        if (!say_block(&said, block)) {
            return false;
        }
    }
    return true;
}

/* ---- the answer is complete ---- */

static bool emit_count(struct ps_anthropic_decoder *decoder)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    struct ps_slice raw = ps_anthropic_found_raw(&decoder->found, PS_ANTHROPIC_V_COUNT_TOKENS);

    if (raw.len == 0 || !ps_json_int(raw, &event.usage.input) || event.usage.input < 0) {
        return true;
    }
    return ps_decoder_emit(&decoder->base, &event);
}

static bool emit_ending(struct ps_anthropic_decoder *decoder)
{
    const struct ps_anthropic_found *found = &decoder->found;

    if (decoder->base.options.operation == PS_OP_COUNT_TOKENS) {
        return emit_count(decoder);
    }
    return ps_anthropic_emit_usage(decoder, PS_ANTHROPIC_V_INPUT) &&
           ps_anthropic_emit_finish(decoder,
                                    ps_anthropic_found_raw(found, PS_ANTHROPIC_V_STOP_REASON),
                                    ps_anthropic_found_raw(found, PS_ANTHROPIC_V_STOP_SEQUENCE),
                                    ps_anthropic_found_raw(found, PS_ANTHROPIC_V_EXPLANATION));
}

/*
 * RESULT comes first where the front relays: it commits an answer of which the gateway may still
 * hold every byte, and so knows the length. A front that translates wants what was said before it.
 */
static void emit_result(struct ps_anthropic_decoder *decoder)
{
    bool fields = decoder->base.options.fields;
    bool says = fields && decoder->base.options.operation == PS_OP_CHAT;

    if (!fields && !ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT)) {
        return;
    }
    if ((says && !say_all(decoder)) || !emit_ending(decoder)) {
        return;
    }
    if (!fields || ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT)) {
        (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    }
}

static bool has_count(const struct ps_anthropic_found *found)
{
    struct ps_slice raw = ps_anthropic_found_raw(found, PS_ANTHROPIC_V_COUNT_TOKENS);
    int64_t count;

    return raw.len > 0 && ps_json_int(raw, &count);
}

static const char *flaw_of(const struct ps_anthropic_decoder *decoder)
{
    const struct ps_anthropic_found *found = &decoder->found;

    if (decoder->scan.root != PS_JSON_OBJECT) {
        return "The provider's answer is not a JSON object.";
    }
    if (!decoder->base.options.fields) {
        return NULL;
    }
    if (decoder->base.options.operation == PS_OP_COUNT_TOKENS) {
        return has_count(found) ? NULL : "The provider's answer has no count of tokens.";
    }
    return ps_raw_begins(ps_anthropic_found_raw(found, PS_ANTHROPIC_V_CONTENT), '[')
               ? NULL
               : "The provider's answer has no content.";
}

enum ps_decode ps_anthropic_whole_finish(struct ps_anthropic_decoder *decoder)
{
    struct ps_anthropic_found *found = &decoder->found;
    const char *flaw;

    if (ps_json_scan_finish(&decoder->scan) != PS_JSON_OK) {
        return broken_json(decoder);
    }
    if (decoder->base.options.fields) {
        found->text = ps_buf_view(&decoder->body);
    }
    if (decoder->scan.root == PS_JSON_OBJECT &&
        (ps_raw_word(ps_anthropic_found_raw(found, PS_ANTHROPIC_V_TYPE), "error") ||
         ps_anthropic_found_has(found, PS_ANTHROPIC_V_ERROR))) {
        (void)ps_anthropic_emit_fault(decoder);
        return ps_decoder_result(&decoder->base);
    }
    flaw = flaw_of(decoder);
    if (flaw != NULL) {
        return broken(decoder, flaw);
    }
    emit_result(decoder);
    return ps_decoder_result(&decoder->base);
}
