/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/*
 * Answers of Cohere's API. Events of a stream say what they are in "type"; message-end is the last
 * of them and tells the reason, the counts, or an error. Whole answers say the same at once.
 */

static bool is(struct ps_slice raw, const char *word)
{
    return ps_raw_word(raw, word);
}

/* ---- streams ---- */

static bool on_content_start(struct ps_cohere_decoder *decoder, struct ps_slice content)
{
    decoder->block++;
    decoder->block_at = decoder->characters;
    return ps_cohere_say_content(decoder, content);
}

static bool on_call_delta(struct ps_cohere_decoder *decoder, struct ps_slice calls)
{
    struct ps_texts *texts = &decoder->texts;

    if (decoder->calls == 0) {
        return ps_texts_break(texts, "The provider sent arguments of a call that had not begun.");
    }
    return ps_texts_emit_text(texts, PS_EVENT_TOOL_CALL, decoder->calls - 1,
                              ps_raw_member(ps_raw_member(calls, "function"), "arguments"));
}

static bool on_end(struct ps_cohere_decoder *decoder, struct ps_slice delta)
{
    if (!ps_cohere_say_end(decoder, delta)) {
        return false;
    }
    (void)ps_decoder_emit_kind(&decoder->texts.base, PS_EVENT_DONE);
    return false;
}

static bool on_text(struct ps_texts *texts, struct ps_slice name, struct ps_slice text)
{
    struct ps_cohere_decoder *decoder = (struct ps_cohere_decoder *)texts;
    struct ps_slice type = ps_raw_member(text, "type");
    struct ps_slice delta = ps_raw_member(text, "delta");
    struct ps_slice message = ps_raw_member(delta, "message");

    (void)name; /* says the same as the type */
    if (is(type, "content-delta")) {
        return ps_cohere_say_content(decoder, ps_raw_member(message, "content"));
    }
    if (is(type, "content-start")) {
        return on_content_start(decoder, ps_raw_member(message, "content"));
    }
    if (is(type, "message-start")) {
        return ps_texts_emit_start(texts, ps_raw_member(text, "id"), PS_SLICE_NONE);
    }
    if (is(type, "message-end")) {
        return on_end(decoder, delta);
    }
    if (is(type, "tool-plan-delta")) {
        return ps_cohere_say_plan(decoder, ps_raw_member(message, "tool_plan"));
    }
    if (is(type, "tool-call-start")) {
        return ps_cohere_say_call(decoder, ps_raw_member(message, "tool_calls"));
    }
    if (is(type, "tool-call-delta")) {
        return on_call_delta(decoder, ps_raw_member(message, "tool_calls"));
    }
    if (is(type, "citation-start")) {
        return ps_cohere_say_citations(decoder, ps_raw_member(message, "citations"));
    }
    if (type.len == 0 && ps_raw_says(ps_raw_member(text, "message"))) {
        ps_cohere_fault_of(0, ps_raw_member(text, "message"), &texts->base.fault);
        return ps_texts_emit_fault(texts);
    }
    return true;
}

/* ---- whole answers ---- */

static bool say_message(struct ps_cohere_decoder *decoder, struct ps_slice message)
{
    struct ps_slice content = ps_raw_member(message, "content");
    struct ps_slice calls = ps_raw_member(message, "tool_calls");
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_cohere_say_plan(decoder, ps_raw_member(message, "tool_plan"))) {
        return false;
    }
    if (ps_raw_begins(content, '[')) {
        ps_json_walk_init(&walk, content);
        while (ps_json_walk_element(&walk, &element)) {
            if (!on_content_start(decoder, element)) {
                return false;
            }
        }
    }
    if (ps_raw_begins(calls, '[')) {
        ps_json_walk_init(&walk, calls);
        while (ps_json_walk_element(&walk, &element)) {
            if (!ps_cohere_say_call(decoder, element)) {
                return false;
            }
        }
    }
    decoder->block_at = 0;
    return ps_cohere_say_citations(decoder, ps_raw_member(message, "citations"));
}

static bool whole_chat(struct ps_cohere_decoder *decoder, struct ps_slice text)
{
    struct ps_slice message = ps_raw_member(text, "message");

    if (!ps_raw_begins(message, '{')) {
        return ps_texts_break(&decoder->texts, "The provider's answer has no message.");
    }
    return ps_texts_emit_start(&decoder->texts, ps_raw_member(text, "id"), PS_SLICE_NONE) &&
           say_message(decoder, message) && ps_cohere_say_end(decoder, text);
}

static bool whole_embedding(struct ps_texts *texts, struct ps_slice text)
{
    struct ps_slice billed = ps_raw_member(ps_raw_member(text, "meta"), "billed_units");
    struct ps_usage usage = PS_USAGE_NONE;

    usage.input = ps_texts_count(ps_raw_member(billed, "input_tokens"));
    /* its own clients may have asked for other vectors than floats, and get what there is */
    return (!texts->base.options.fields ||
            ps_texts_emit_vectors(texts,
                                  ps_raw_member(ps_raw_member(text, "embeddings"), "float"))) &&
           ps_texts_emit_usage(texts, &usage);
}

static bool say_score(struct ps_texts *texts, struct ps_slice result)
{
    struct ps_event_score score = {.relevance = 0};
    struct ps_event event = {.kind = PS_EVENT_SCORE, .usage = PS_USAGE_NONE, .score = &score};
    int64_t index = ps_texts_count(ps_raw_member(result, "index"));

    score.number = ps_raw_member(result, "relevance_score");
    if (index < 0 || index > INT32_MAX || score.number.len == 0 ||
        !ps_json_double(score.number, &score.relevance)) {
        return ps_texts_break(texts, "The provider's answer has a result without index or score.");
    }
    score.document = ps_raw_member(result, "document");
    event.index = (uint32_t)index;
    return ps_decoder_emit(&texts->base, &event);
}

static bool whole_ranking(struct ps_texts *texts, struct ps_slice text)
{
    struct ps_slice results = ps_raw_member(text, "results");
    struct ps_json_walk walk;
    struct ps_slice result;

    if (!ps_raw_begins(results, '[')) {
        return ps_texts_break(texts, "The provider's answer has no results.");
    }
    if (!ps_texts_emit_start(texts, ps_raw_member(text, "id"), PS_SLICE_NONE)) {
        return false;
    }
    ps_json_walk_init(&walk, results);
    while (ps_json_walk_element(&walk, &result)) {
        if (!say_score(texts, result)) {
            return false;
        }
    }
    return true;
}

static bool on_whole(struct ps_texts *texts, struct ps_slice text)
{
    switch (texts->base.options.operation) {
    case PS_OP_EMBED:
        return whole_embedding(texts, text);
    case PS_OP_RERANK:
        return whole_ranking(texts, text);
    case PS_OP_CHAT:
    case PS_OP_COMPLETE:
    case PS_OP_IMAGE:
    case PS_OP_COUNT_TOKENS:
    case PS_OP_PASS:
    case PS_OP_MODELS:
    case PS_OP_COUNT:
    default:
        return whole_chat((struct ps_cohere_decoder *)texts, text);
    }
}

int ps_cohere_decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    static const struct ps_texts_ops ops = {false, on_text, on_whole};

    return ps_texts_init((struct ps_texts *)base, &ops, content_type);
}
