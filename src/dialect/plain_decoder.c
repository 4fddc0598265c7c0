/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"
#include "plain_priv.h"

/*
 * Answers of models that give a text: a stream (events or lines of JSON, or bare bytes), or one
 * JSON text. Each JSON is scanned, then the row's own function says what it means. These streams
 * have no terminal marker: the end of the framing is the end, when something was said (and, where
 * the row needs that, a reason was told). Ways to fail: an error in the answer (FAULT), what is no
 * JSON, what is above the limit, or nothing said at all (BROKEN).
 */

static bool on_sse(void *arg, const struct ps_sse_event *event);

int ps_plain_init(struct ps_plain_decoder *decoder, enum ps_plain_mode mode,
                  ps_plain_json_fn on_json)
{
    size_t max = decoder->base.options.event_bytes;

    decoder->mode = mode;
    decoder->on_json = on_json;
    decoder->usage = PS_USAGE_NONE;
    ps_sse_init(&decoder->sse, max, mode == PS_PLAIN_NDJSON, on_sse, decoder);
    ps_buf_init(&decoder->body, max);
    ps_buf_init(&decoder->text, max);
    return 0;
}

void ps_plain_decoder_deinit(struct ps_decoder *base)
{
    struct ps_plain_decoder *decoder = (struct ps_plain_decoder *)base;

    ps_sse_deinit(&decoder->sse);
    ps_buf_deinit(&decoder->body);
    ps_buf_deinit(&decoder->text);
}

bool ps_plain_broken(struct ps_plain_decoder *decoder, const char *why)
{
    (void)ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN, why);
    return false;
}

static bool out_of_memory(struct ps_plain_decoder *decoder)
{
    (void)ps_decoder_break(&decoder->base, PS_FAULT_NO_MEMORY,
                           "The gateway is short of memory for this answer.");
    return false;
}

/* ---- JSON ---- */

bool ps_plain_count(struct ps_slice raw, int64_t *ret)
{
    int64_t count;

    raw = ps_raw_first(raw);
    if (raw.len == 0 || !ps_json_int(raw, &count) || count < 0) {
        return false;
    }
    *ret = count;
    return true;
}

static bool take_json(struct ps_plain_decoder *decoder, struct ps_slice text)
{
    const struct ps_json_limits limits = {decoder->base.options.json_depth,
                                          decoder->base.options.json_nodes};
    enum ps_json_error error = ps_json_scan_text(text, NULL, &limits, NULL, NULL);

    if (error != PS_JSON_OK) {
        (void)ps_fault_set(&decoder->base.fault,
                           decoder->finishing && decoder->mode != PS_PLAIN_WHOLE
                               ? PS_FAULT_STREAM_INCOMPLETE
                               : PS_FAULT_UPSTREAM_BROKEN,
                           NULL, "The provider's answer %s.", ps_json_error_text(error));
        decoder->base.broken = true;
        return false;
    }
    return decoder->on_json(decoder, ps_raw_trimmed(text));
}

/* ---- what was said ---- */

static bool emit_text(struct ps_plain_decoder *decoder, struct ps_slice text)
{
    struct ps_event event = {.kind = PS_EVENT_TEXT, .usage = PS_USAGE_NONE, .text = text};

    decoder->said = true;
    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_plain_say(struct ps_plain_decoder *decoder, struct ps_slice raw)
{
    char *room;

    decoder->said = true; /* also when it is nothing */
    if (!ps_raw_says(raw)) {
        return true;
    }
    ps_buf_reset(&decoder->text);
    room = ps_buf_reserve(&decoder->text, raw.len);
    if (room == NULL) {
        return out_of_memory(decoder); /* text left out would be a lie */
    }
    ps_buf_commit(&decoder->text, ps_json_unescape(raw, room));
    return emit_text(decoder, ps_buf_view(&decoder->text));
}

bool ps_plain_vector(struct ps_plain_decoder *decoder, struct ps_slice raw)
{
    struct ps_event event = {.kind = PS_EVENT_EMBEDDING, .usage = PS_USAGE_NONE, .text = raw};
    struct ps_json_walk walk;
    struct ps_slice number;

    if (!ps_raw_begins(raw, '[')) {
        return ps_plain_broken(decoder, "The provider's answer has an embedding that is none.");
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &number)) {
        if (number.ptr[0] != '-' && (number.ptr[0] < '0' || number.ptr[0] > '9')) {
            return ps_plain_broken(decoder, "The provider's answer has an embedding that is none.");
        }
    }
    decoder->said = true;
    event.index = decoder->vectors++;
    return ps_decoder_emit(&decoder->base, &event);
}

bool ps_plain_vectors(struct ps_plain_decoder *decoder, struct ps_slice raw)
{
    struct ps_json_walk walk;
    struct ps_slice vector;

    if (!ps_raw_begins(ps_raw_first(raw), '[')) {
        return ps_plain_vector(decoder, raw);
    }
    ps_json_walk_init(&walk, raw);
    while (ps_json_walk_element(&walk, &vector)) {
        if (!ps_plain_vector(decoder, vector)) {
            return false;
        }
    }
    return true;
}

/* ---- how it ended ---- */

static enum ps_finish finish_of(struct ps_slice word)
{
    static const struct {
        const char *word;
        enum ps_finish finish;
    } words[] = {
        {"stop", PS_FINISH_STOP},
        {"eos_token", PS_FINISH_STOP},
        {"eos", PS_FINISH_STOP},
        {"stop_sequence", PS_FINISH_STOP},
        {"end_turn", PS_FINISH_STOP},
        {"length", PS_FINISH_LENGTH},
        {"max_tokens", PS_FINISH_LENGTH},
        {"content_filter", PS_FINISH_CONTENT_FILTER},
        {"", PS_FINISH_STOP},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (ps_slice_eq_cstr(word, words[i].word)) {
            return words[i].finish;
        }
    }
    return PS_FINISH_OTHER;
}

void ps_plain_note_finish(struct ps_plain_decoder *decoder, struct ps_slice raw)
{
    char word[6 * sizeof(decoder->finish_text)];
    size_t len;

    raw = ps_raw_first(raw);
    if (!ps_raw_says(raw) || raw.len > sizeof(word)) {
        return;
    }
    len = ps_json_unescape(raw, word);
    if (len == 0 || len > sizeof(decoder->finish_text) ||
        ps_slice_eq(ps_slice(word, len), PS_SLICE_LIT("None"))) {
        return;
    }
    memcpy(decoder->finish_text, word, len);
    decoder->finish_len = len;
    decoder->finish = finish_of(ps_slice(word, len));
    decoder->has_finish = true;
}

bool ps_plain_end(struct ps_plain_decoder *decoder)
{
    struct ps_usage *usage = &decoder->usage;
    struct ps_event told = {.kind = PS_EVENT_USAGE, .usage = *usage};
    struct ps_event finish = {
        .kind = PS_EVENT_FINISH,
        .usage = PS_USAGE_NONE,
        .finish = decoder->has_finish ? decoder->finish : PS_FINISH_STOP,
        .finish_text = ps_slice(decoder->finish_text, decoder->finish_len),
    };
    bool generates = decoder->base.options.operation != PS_OP_EMBED;
    bool whole = decoder->mode == PS_PLAIN_WHOLE ||
                 (decoder->mode == PS_PLAIN_BYTES && !decoder->base.options.stream);

    if ((usage->input >= 0 || usage->output >= 0) && !ps_decoder_emit(&decoder->base, &told)) {
        return false;
    }
    if (generates && !ps_decoder_emit(&decoder->base, &finish)) {
        return false;
    }
    if (whole && !ps_decoder_emit_kind(&decoder->base, PS_EVENT_RESULT)) {
        return false;
    }
    (void)ps_decoder_emit_kind(&decoder->base, PS_EVENT_DONE);
    return false;
}

bool ps_plain_error(struct ps_plain_decoder *decoder, int status, struct ps_slice type,
                    struct ps_slice message)
{
    const struct ps_openai_error error = {.message = message, .type = type};
    struct ps_event event = {.kind = PS_EVENT_FAULT, .usage = PS_USAGE_NONE};

    ps_openai_fault_of(status, &error, &decoder->base.fault);
    event.fault = &decoder->base.fault;
    (void)ps_decoder_emit(&decoder->base, &event);
    return false;
}

/* ---- the bytes ---- */

static bool on_sse(void *arg, const struct ps_sse_event *event)
{
    struct ps_plain_decoder *decoder = arg;
    bool goes_on = true;

    decoder->base.raw = event->raw;
    if (!event->has_data || ps_raw_trimmed(event->data).len == 0) {
        goes_on = ps_decoder_emit_kind(&decoder->base, PS_EVENT_PING);
    } else if (ps_slice_eq(ps_raw_trimmed(event->data), PS_SLICE_LIT("[DONE]"))) {
        decoder->needs_finish = false;
        if (!decoder->said) {
            return ps_plain_broken(decoder, "The provider's stream ended without an answer.");
        }
        return ps_plain_end(decoder);
    } else {
        goes_on = take_json(decoder, event->data);
    }
    if (goes_on && decoder->base.raw.len > 0) {
        goes_on = ps_decoder_emit_kind(&decoder->base, PS_EVENT_OPAQUE);
    }
    return goes_on && !decoder->base.ended;
}

static enum ps_decode feed_stream(struct ps_plain_decoder *decoder, const char *ptr, size_t len)
{
    switch (ps_sse_feed(&decoder->sse, ptr, len)) {
    case PS_SSE_TOO_LARGE:
        return ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                                "The provider sent an event above the limit.");
    case PS_SSE_NO_MEMORY:
        (void)out_of_memory(decoder);
        break;
    case PS_SSE_OK:
    case PS_SSE_STOPPED:
    default:
        break;
    }
    return ps_decoder_result(&decoder->base);
}

/* How many of the last bytes begin a character that does not end there. */
static size_t unfinished(const char *ptr, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char byte = (unsigned char)ptr[len - back];
        size_t needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;

        if ((byte & 0xc0) != 0x80) {
            return needs > back ? back : 0;
        }
    }
    return 0;
}

/* Text as it comes, never cut inside of a character. */
static enum ps_decode feed_bytes(struct ps_plain_decoder *decoder, const char *ptr, size_t len)
{
    size_t keep;
    struct ps_slice all = ps_slice(ptr, len);

    if (decoder->body.len > 0) {
        ps_buf_reset(&decoder->text);
        ps_buf_slice(&decoder->text, ps_buf_view(&decoder->body));
        ps_buf_append(&decoder->text, ptr, len);
        all = ps_buf_view(&decoder->text);
        if (decoder->text.failed) {
            return ps_decoder_break(&decoder->base, PS_FAULT_UPSTREAM_BROKEN,
                                    "The provider sent a piece above the limit.");
        }
    }
    keep = unfinished(all.ptr, all.len);
    decoder->base.raw = ps_slice(ptr, len);
    if (all.len == keep) {
        decoder->base.raw = PS_SLICE_NONE;
    } else if (!emit_text(decoder, ps_slice(all.ptr, all.len - keep))) {
        return ps_decoder_result(&decoder->base);
    }
    ps_buf_reset(&decoder->body);
    ps_buf_append(&decoder->body, all.ptr + all.len - keep, keep);
    if (decoder->body.failed) {
        (void)out_of_memory(decoder);
    }
    return ps_decoder_result(&decoder->base);
}

enum ps_decode ps_plain_decoder_feed(struct ps_decoder *base, const char *ptr, size_t len)
{
    struct ps_plain_decoder *decoder = (struct ps_plain_decoder *)base;

    switch (decoder->mode) {
    case PS_PLAIN_SSE:
    case PS_PLAIN_NDJSON:
        return feed_stream(decoder, ptr, len);
    case PS_PLAIN_BYTES:
        return feed_bytes(decoder, ptr, len);
    case PS_PLAIN_WHOLE:
    default:
        ps_buf_append(&decoder->body, ptr, len);
        if (decoder->body.failed) {
            return ps_decoder_break(
                base, PS_FAULT_UPSTREAM_BROKEN,
                "The provider's answer is larger than the gateway can translate.");
        }
        return PS_DECODE_OK;
    }
}

/* What the last bytes still said, before the end. False: nothing more to do. */
static bool last_bytes(struct ps_plain_decoder *decoder)
{
    bool partial;

    switch (decoder->mode) {
    case PS_PLAIN_SSE:
    case PS_PLAIN_NDJSON:
        if (ps_sse_finish(&decoder->sse, &partial) == PS_SSE_NO_MEMORY) {
            return out_of_memory(decoder);
        }
        return !decoder->base.stopped && !decoder->base.broken && !decoder->base.ended;
    case PS_PLAIN_BYTES:
        return decoder->body.len == 0 || emit_text(decoder, ps_buf_view(&decoder->body));
    case PS_PLAIN_WHOLE:
    default:
        if (!decoder->base.options.fields) {
            decoder->base.raw = ps_buf_view(&decoder->body);
        }
        return take_json(decoder, ps_buf_view(&decoder->body));
    }
}

enum ps_decode ps_plain_decoder_finish(struct ps_decoder *base)
{
    struct ps_plain_decoder *decoder = (struct ps_plain_decoder *)base;
    bool whole = decoder->mode == PS_PLAIN_WHOLE;

    decoder->finishing = true;
    if (!last_bytes(decoder)) {
        return ps_decoder_result(base);
    }
    if (decoder->mode == PS_PLAIN_BYTES) {
        decoder->said = true; /* an empty text is one */
    }
    if (!decoder->said) {
        return ps_decoder_break(base, whole ? PS_FAULT_UPSTREAM_BROKEN : PS_FAULT_STREAM_INCOMPLETE,
                                whole ? "The provider's answer has no text where it should be."
                                      : "The provider's stream ended without an answer.");
    }
    if (!whole && decoder->needs_finish && !decoder->has_finish) {
        return ps_decoder_break(base, PS_FAULT_STREAM_INCOMPLETE,
                                "The provider's stream ended too early.");
    }
    (void)ps_plain_end(decoder);
    return ps_decoder_result(base);
}
