/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* ---- text, thoughts ---- */

static int64_t characters(struct ps_slice text)
{
    int64_t count = 0;

    for (size_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return count;
}

bool ps_cohere_say_content(struct ps_cohere_decoder *decoder, struct ps_slice content)
{
    struct ps_texts *texts = &decoder->texts;
    struct ps_slice text = ps_raw_member(content, "text");
    struct ps_event event = {
        .kind = PS_EVENT_TEXT, .block = decoder->block, .usage = PS_USAGE_NONE};

    if (!ps_texts_emit_text(texts, PS_EVENT_REASONING, decoder->block,
                            ps_raw_member(content, "thinking"))) {
        return false;
    }
    if (!ps_raw_says(text)) {
        return true;
    }
    if (!ps_texts_begin(texts, text.len)) {
        return false;
    }
    event.text = ps_texts_plain(texts, text);
    decoder->characters += characters(event.text);
    return ps_decoder_emit(&texts->base, &event);
}

bool ps_cohere_say_plan(struct ps_cohere_decoder *decoder, struct ps_slice plan)
{
    return ps_texts_emit_text(&decoder->texts, PS_EVENT_REASONING, 0, plan);
}

/* ---- tools ---- */

bool ps_cohere_say_call(struct ps_cohere_decoder *decoder, struct ps_slice call)
{
    return ps_texts_emit_call(&decoder->texts, decoder->calls++, ps_raw_first(call));
}

/* ---- citations ---- */

/* Where a source says what it is: a document of the client's, or what a tool gave. */
static struct ps_slice source_of(struct ps_slice source, const char *name)
{
    struct ps_slice value = ps_raw_member(ps_raw_member(source, "document"), name);

    return value.len > 0 ? value : ps_raw_member(ps_raw_member(source, "tool_output"), name);
}

static bool say_source(struct ps_cohere_decoder *decoder, struct ps_slice raw,
                       struct ps_slice source)
{
    struct ps_texts *texts = &decoder->texts;
    struct ps_event_citation citation = {.start = -1, .end = -1, .raw = raw};
    struct ps_event event = {
        .kind = PS_EVENT_CITATION, .usage = PS_USAGE_NONE, .citation = &citation};
    int64_t start = ps_texts_count(ps_raw_member(raw, "start"));
    int64_t end = ps_texts_count(ps_raw_member(raw, "end"));

    if (!ps_texts_begin(texts, source.len)) {
        return false;
    }
    if (start >= 0 && end >= start && end <= INT32_MAX) {
        citation.start = decoder->block_at + start;
        citation.end = decoder->block_at + end;
    }
    citation.url = ps_texts_plain(texts, source_of(source, "url"));
    citation.title = ps_texts_plain(texts, source_of(source, "title"));
    citation.quote = ps_texts_plain(texts, source_of(source, "snippet"));
    return ps_decoder_emit(&texts->base, &event);
}

static bool say_citation(struct ps_cohere_decoder *decoder, struct ps_slice raw)
{
    struct ps_slice sources = ps_raw_member(raw, "sources");
    struct ps_json_walk walk;
    struct ps_slice source;
    bool any = false;

    if (ps_raw_begins(sources, '[')) {
        ps_json_walk_init(&walk, sources);
        for (; ps_json_walk_element(&walk, &source); any = true) {
            if (!say_source(decoder, raw, source)) {
                return false;
            }
        }
    }
    return any || say_source(decoder, raw, PS_SLICE_NONE);
}

bool ps_cohere_say_citations(struct ps_cohere_decoder *decoder, struct ps_slice citations)
{
    struct ps_json_walk walk;
    struct ps_slice citation;

    if (ps_raw_begins(citations, '{')) {
        return say_citation(decoder, citations);
    }
    if (!ps_raw_begins(citations, '[')) {
        return true;
    }
    ps_json_walk_init(&walk, citations);
    while (ps_json_walk_element(&walk, &citation)) {
        if (ps_raw_begins(citation, '{') && !say_citation(decoder, citation)) {
            return false;
        }
    }
    return true;
}

/* ---- the end ---- */

static bool say_usage(struct ps_cohere_decoder *decoder, struct ps_slice raw)
{
    struct ps_slice tokens = ps_raw_member(raw, "tokens");
    struct ps_usage usage = PS_USAGE_NONE;

    if (tokens.len == 0) {
        tokens = ps_raw_member(raw, "billed_units");
    }
    usage.input = ps_texts_count(ps_raw_member(tokens, "input_tokens"));
    usage.output = ps_texts_count(ps_raw_member(tokens, "output_tokens"));
    usage.cached = ps_texts_count(ps_raw_member(raw, "cached_tokens"));
    return ps_texts_emit_usage(&decoder->texts, &usage);
}

static enum ps_finish finish_of(struct ps_slice word)
{
    static const struct {
        const char *word;
        enum ps_finish finish;
    } words[] = {
        {"COMPLETE", PS_FINISH_STOP},      {"STOP_SEQUENCE", PS_FINISH_STOP},
        {"MAX_TOKENS", PS_FINISH_LENGTH},  {"TOOL_CALL", PS_FINISH_TOOL_CALLS},
        {"ERROR_LIMIT", PS_FINISH_LENGTH}, {"ERROR_TOXIC", PS_FINISH_CONTENT_FILTER},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ps_raw_word(word, words[i].word)) {
            return words[i].finish;
        }
    }
    return PS_FINISH_OTHER;
}

bool ps_cohere_say_end(struct ps_cohere_decoder *decoder, struct ps_slice end)
{
    struct ps_texts *texts = &decoder->texts;
    struct ps_slice reason = ps_raw_member(end, "finish_reason");
    struct ps_slice error = ps_raw_member(end, "error");

    if (!say_usage(decoder, ps_raw_member(end, "usage"))) {
        return false;
    }
    if (ps_raw_says(error) || ps_raw_word(reason, "ERROR") || ps_raw_word(reason, "TIMEOUT")) {
        ps_cohere_fault_of(ps_raw_word(reason, "TIMEOUT") ? 504 : 0, error, &texts->base.fault);
        return ps_texts_emit_fault(texts);
    }
    if (!ps_raw_says(reason)) {
        return ps_texts_break(texts, "The provider's answer does not say why it ended.");
    }
    return ps_texts_emit_finish(texts, finish_of(reason), reason);
}
