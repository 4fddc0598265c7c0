/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/*
 * Answers of the Gemini API.
 *
 * A stream: ps_sse cuts it into events, and each of them is an answer of its own shape with the
 * next piece (gemini_said.c). There is no terminal marker: it ends where its framing ends, and is
 * whole when every candidate has said why it ended. Ways to fail: an error instead of a piece
 * (FAULT), an event that is no JSON or above the limit, or an end before that (BROKEN). A whole
 * answer is gathered, and told when it has proved whole; one that is an array is a stream of an
 * upstream that was asked for none, and is told piece by piece. What the front relays is not
 * gathered, but looked at as it passes (gemini_tap.c).
 */

static const struct ps_json_path list[PS_GEMINI_VALUES] = {
    [PS_GEMINI_V_ERROR] = {"error", false},
    [PS_GEMINI_V_CANDIDATES] = {"candidates", false},
    [PS_GEMINI_V_BLOCK_REASON] = {"promptFeedback.blockReason", false},
    [PS_GEMINI_V_MODEL] = {"modelVersion", false},
    [PS_GEMINI_V_ID] = {"responseId", false},
    [PS_GEMINI_V_PROMPT] = {"usageMetadata.promptTokenCount", false},
    [PS_GEMINI_V_CACHED] = {"usageMetadata.cachedContentTokenCount", false},
    [PS_GEMINI_V_OUTPUT] = {"usageMetadata.candidatesTokenCount", false},
    [PS_GEMINI_V_THOUGHTS] = {"usageMetadata.thoughtsTokenCount", false},
    [PS_GEMINI_V_TOOL_PROMPT] = {"usageMetadata.toolUsePromptTokenCount", false},
    [PS_GEMINI_V_TOTAL] = {"usageMetadata.totalTokenCount", false},
    [PS_GEMINI_V_TOTAL_TOKENS] = {"totalTokens", false},
    [PS_GEMINI_V_VECTOR] = {"embedding.values", false},
    [PS_GEMINI_V_VECTORS] = {"embeddings", false},
};

static struct ps_json_paths *paths;

int ps_gemini_decoder_global_init(void)
{
    paths = ps_json_paths_new(list, PS_GEMINI_VALUES);
    return paths != NULL ? 0 : -1;
}

void ps_gemini_decoder_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

static bool on_sse(void *arg, const struct ps_sse_event *event);

static bool is_stream(const struct ps_decoder_options *options, struct ps_slice content_type)
{
    struct ps_slice type = ps_dialect_media_type(content_type);

    if (ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream"))) {
        return true;
    }
    return options->stream && !ps_dialect_is_json(type);
}

int ps_gemini_decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    struct ps_gemini_decoder *decoder = (struct ps_gemini_decoder *)base;

    decoder->is_stream = is_stream(&base->options, content_type);
    for (size_t i = 0; i < PS_GEMINI_COUNTS; i++) {
        decoder->counts[i] = -1;
    }
    ps_sse_init(&decoder->sse, base->options.event_bytes, false, on_sse, decoder);
    ps_buf_init(&decoder->text, base->options.event_bytes);
    ps_buf_init(&decoder->body, base->options.event_bytes);
    ps_gemini_tap_init(decoder);
    return 0;
}

void ps_gemini_decoder_deinit(struct ps_decoder *base)
{
    struct ps_gemini_decoder *decoder = (struct ps_gemini_decoder *)base;

    ps_sse_deinit(&decoder->sse);
    ps_buf_deinit(&decoder->text);
    ps_buf_deinit(&decoder->body);
}

enum ps_decode ps_gemini_out_of_memory(struct ps_gemini_decoder *decoder)
{
    return ps_decoder_break(&decoder->base, PS_FAULT_NO_MEMORY,
                            "The gateway is short of memory for this answer.");
}

static enum ps_decode broken(struct ps_gemini_decoder *decoder, const char *why)
{
    return ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, why);
}

/* ---- texts ---- */

bool ps_gemini_text_begin(struct ps_gemini_decoder *decoder, size_t len)
{
    ps_buf_reset(&decoder->text);
    if (len > 0 && ps_buf_reserve(&decoder->text, len) == NULL) {
        (void)ps_gemini_out_of_memory(decoder);
        return false;
    }
    return true;
}

struct ps_slice ps_gemini_text(struct ps_gemini_decoder *decoder, struct ps_slice raw)
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

/* ---- one answer, or one piece of a stream ---- */

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct ps_gemini_found *found = arg;

    found->values[value->path] =
        value->type == PS_JSON_NULL
            ? PS_SLICE_NONE
            : ps_slice(found->text.ptr + value->start, (size_t)(value->end - value->start));
    return true;
}

static enum ps_json_error find(struct ps_gemini_decoder *decoder, struct ps_slice text)
{
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};
    enum ps_json_error error;

    decoder->found = (struct ps_gemini_found){.text = text};
    error = ps_json_scan_text(text, paths, &limits, on_value, &decoder->found);
    if (error != PS_JSON_OK) {
        decoder->found = (struct ps_gemini_found){.text = text};
    }
    return error;
}

/* False, when it is one. */
static bool say_error(struct ps_gemini_decoder *decoder)
{
    struct ps_slice error = decoder->found.values[PS_GEMINI_V_ERROR];
    struct ps_event event = {.kind = PS_EVENT_FAULT, .usage = PS_USAGE_NONE};

    if (error.len == 0) {
        return true;
    }
    ps_gemini_fault_of(0, error, &decoder->base.fault);
    event.fault = &decoder->base.fault;
    (void)ps_decoder_emit(&decoder->base, &event);
    return false;
}

/* ---- streams ---- */

static bool on_data(struct ps_gemini_decoder *decoder, struct ps_slice data)
{
    if (find(decoder, data) != PS_JSON_OK) {
        (void)broken(decoder, "The provider sent an event that is not valid JSON.");
        return false;
    }
    return say_error(decoder) && ps_gemini_say(decoder);
}

static bool on_sse(void *arg, const struct ps_sse_event *event)
{
    struct ps_gemini_decoder *decoder = arg;

    decoder->base.raw = event->raw;
    if (!event->has_data) {
        return ps_decoder_emit_kind(&decoder->base, PS_EVENT_PING);
    }
    if (decoder->finishing && find(decoder, event->data) != PS_JSON_OK) {
        decoder->base.raw = PS_SLICE_NONE;
        /* A piece that was cut: whatever was said before, it is not all. */
        decoder->choice_count = 0;
        return false;
    }
    if (!on_data(decoder, event->data)) {
        return false;
    }
    /* What says nothing passes as well. */
    return decoder->base.options.fields || decoder->base.raw.len == 0 ||
           ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
}

static enum ps_decode finish_stream(struct ps_gemini_decoder *decoder)
{
    struct ps_decoder *base = &decoder->base;
    bool partial;

    decoder->finishing = true;
    if (ps_sse_finish(&decoder->sse, &partial) == PS_SSE_NO_MEMORY) {
        return ps_gemini_out_of_memory(decoder);
    }
    if (base->broken || base->stopped || base->ended) {
        return ps_decoder_result(base);
    }
    if (!ps_gemini_is_finished(decoder)) {
        return ps_decoder_break(base, PS_FAULT_STREAM_INCOMPLETE,
                                "The provider's stream ended before the answer was finished.");
    }
    if (ps_gemini_say_ends(decoder)) {
        (void)ps_decoder_emit_kind(base, PS_EVENT_DONE);
    }
    return ps_decoder_result(base);
}

/* ---- whole answers ---- */

static void say_result(struct ps_gemini_decoder *decoder)
{
    if (ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT)) {
        (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    }
}

static void finish_chat(struct ps_gemini_decoder *decoder)
{
    if (!ps_gemini_is_finished(decoder)) {
        (void)broken(decoder, "The provider's answer has no candidate that was finished.");
        return;
    }
    if (ps_gemini_say_ends(decoder)) {
        say_result(decoder);
    }
}

static void finish_count(struct ps_gemini_decoder *decoder)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    struct ps_slice raw = decoder->found.values[PS_GEMINI_V_TOTAL_TOKENS];

    if (raw.len == 0 || !ps_json_int(raw, &event.usage.input) || event.usage.input < 0) {
        (void)broken(decoder, "The provider's answer has no count of tokens.");
        return;
    }
    if (ps_decoder_emit(&decoder->base, &event)) {
        say_result(decoder);
    }
}

static bool say_vectors(struct ps_gemini_decoder *decoder)
{
    struct ps_slice single = decoder->found.values[PS_GEMINI_V_VECTOR];
    struct ps_slice many = decoder->found.values[PS_GEMINI_V_VECTORS];
    struct ps_json_walk walk;
    struct ps_slice element;
    uint32_t index = 0;

    if (!ps_raw_begins(many, '[')) {
        return ps_gemini_say_vector(decoder, 0, single);
    }
    ps_json_walk_init(&walk, many);
    while (ps_json_walk_element(&walk, &element)) {
        if (!ps_gemini_say_vector(decoder, index++, ps_raw_member(element, "values"))) {
            return false;
        }
    }
    if (index == 0) {
        (void)broken(decoder, "The provider's answer has no vector.");
    }
    return index > 0;
}

static void finish_whole(struct ps_gemini_decoder *decoder)
{
    switch (decoder->base.options.operation) {
    case PS_OP_EMBED:
        if (say_vectors(decoder) && ps_gemini_say_usage(decoder)) {
            say_result(decoder);
        }
        break;
    case PS_OP_COUNT_TOKENS:
        finish_count(decoder);
        break;
    case PS_OP_CHAT:
    case PS_OP_COMPLETE:
    case PS_OP_RERANK:
    case PS_OP_IMAGE:
    case PS_OP_PASS:
    case PS_OP_MODELS:
    case PS_OP_COUNT:
    default:
        if (ps_gemini_say(decoder)) {
            finish_chat(decoder);
        }
        break;
    }
}

static bool broken_json(struct ps_gemini_decoder *decoder, enum ps_json_error error)
{
    (void)broken(decoder, "");
    (void)ps_fault_set(&decoder->base.fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
                       "The provider's answer %s.", ps_json_error_text(error));
    return false;
}

/* The pieces of an array: each has been scanned, and is again for what lies where. */
static void finish_array(struct ps_gemini_decoder *decoder, struct ps_slice text)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_json_walk_init(&walk, text);
    while (ps_json_walk_element(&walk, &element)) {
        if (!ps_raw_begins(element, '{') || find(decoder, element) != PS_JSON_OK) {
            (void)broken(decoder, "The provider's answer is not a JSON object.");
            return;
        }
        if (!say_error(decoder) || !ps_gemini_say(decoder)) {
            return;
        }
    }
    finish_chat(decoder);
}

static enum ps_decode finish_body(struct ps_gemini_decoder *decoder)
{
    struct ps_slice text = ps_raw_trimmed(ps_buf_view(&decoder->body));
    enum ps_json_error error = find(decoder, text);

    if (error != PS_JSON_OK) {
        (void)broken_json(decoder, error);
    } else if (ps_raw_begins(text, '[') && decoder->base.options.operation == PS_OP_CHAT) {
        finish_array(decoder, text);
    } else if (!ps_raw_begins(text, '{')) {
        (void)broken(decoder, "The provider's answer is not a JSON object.");
    } else if (say_error(decoder)) {
        finish_whole(decoder);
    }
    return ps_decoder_result(&decoder->base);
}

/* ---- both ---- */

enum ps_decode ps_gemini_decoder_feed(struct ps_decoder *base, const char *ptr, size_t len)
{
    struct ps_gemini_decoder *decoder = (struct ps_gemini_decoder *)base;

    if (!decoder->is_stream && !base->options.fields) {
        return ps_gemini_tap_feed(decoder, ptr, len);
    }
    if (!decoder->is_stream) {
        ps_buf_append(&decoder->body, ptr, len);
        return decoder->body.failed
                   ? broken(decoder,
                            "The provider's answer is larger than the gateway can translate.")
                   : PS_DECODE_OK;
    }
    switch (ps_sse_feed(&decoder->sse, ptr, len)) {
    case PS_SSE_TOO_LARGE:
        return broken(decoder, "The provider sent an event above the limit.");
    case PS_SSE_NO_MEMORY:
        return ps_gemini_out_of_memory(decoder);
    case PS_SSE_OK:
    case PS_SSE_STOPPED:
    default:
        return ps_decoder_result(base);
    }
}

enum ps_decode ps_gemini_decoder_finish(struct ps_decoder *base)
{
    struct ps_gemini_decoder *decoder = (struct ps_gemini_decoder *)base;

    return decoder->is_stream     ? finish_stream(decoder)
           : base->options.fields ? finish_body(decoder)
                                  : ps_gemini_tap_finish(decoder);
}
