/* SPDX-License-Identifier: Apache-2.0 */
#include "http_priv.h"
#include "openai_priv.h"

/*
 * A model behind a plain HTTP deployment (Ray Serve, a function, a script): JSON in at one path,
 * JSON or text out. The configuration says where in them things stand. A stream is events or lines
 * of JSON, each with a piece of the text, or the text itself; it ends where its framing ends, or at
 * "[DONE]", and is incomplete when a reason was expected and none came.
 */

enum ps_http_stream ps_http_stream_of(const struct ps_dialect_settings *settings)
{
    static const char *const names[] = {"none", "ndjson", "sse", "raw"};

    for (int i = 0; i < 4; i++) {
        if (ps_slice_eq_cstr(settings->stream_mode, names[i])) {
            return (enum ps_http_stream)i;
        }
    }
    return PS_HTTP_NONE;
}

/* A JSON string is the text; so is the usual member of an object. */
static struct ps_slice text_of(const struct ps_dialect_settings *settings, struct ps_slice json)
{
    if (settings->text_at.len > 0) {
        return ps_pointer_get(json, settings->text_at);
    }
    return ps_raw_begins(json, '"') ? json : ps_raw_member(json, "text");
}

static bool on_embedded(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    const struct ps_dialect_settings *settings = decoder->base.options.settings;
    struct ps_slice vectors = settings->vector_at.len > 0
                                  ? ps_pointer_get(json, settings->vector_at)
                              : ps_raw_begins(json, '[') ? json
                                                         : ps_raw_member(json, "embedding");

    if (!ps_raw_begins(vectors, '[')) {
        return ps_plain_broken(decoder,
                               "The provider's answer has no embedding where it should be.");
    }
    return ps_plain_vectors(decoder, vectors);
}

static bool on_json(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    const struct ps_dialect_settings *settings = decoder->base.options.settings;
    struct ps_slice error = settings->error_at.len > 0 ? ps_pointer_get(json, settings->error_at)
                                                       : ps_raw_member(json, "error");
    struct ps_slice text;

    if (ps_plain_is_truthy(error)) {
        struct ps_slice message =
            ps_raw_begins(error, '{') ? ps_raw_member(error, "message") : error;

        return ps_plain_error(decoder, 0, ps_raw_member(error, "type"), message);
    }
    if (decoder->base.options.operation == PS_OP_EMBED) {
        return on_embedded(decoder, json);
    }
    if (settings->finish_at.len > 0) {
        ps_plain_note_finish(decoder, ps_pointer_get(json, settings->finish_at));
    }
    text = text_of(settings, json);
    if (ps_raw_begins(text, '"')) {
        return ps_plain_say(decoder, text);
    }
    return true; /* an event about other things; a whole answer without text is found out later */
}

static enum ps_plain_mode mode_of(const struct ps_decoder_options *options, struct ps_slice type)
{
    enum ps_http_stream stream = ps_http_stream_of(options->settings);
    bool is_lines =
        !ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream")) && ps_dialect_is_stream(type);

    if (ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream"))) {
        return stream == PS_HTTP_RAW && options->stream ? PS_PLAIN_BYTES : PS_PLAIN_SSE;
    }
    if (is_lines || (options->stream && stream == PS_HTTP_NDJSON)) {
        return PS_PLAIN_NDJSON;
    }
    if (options->stream && stream == PS_HTTP_RAW) {
        return PS_PLAIN_BYTES;
    }
    if (ps_dialect_is_json(type) || type.len == 0) {
        return PS_PLAIN_WHOLE;
    }
    if (options->operation == PS_OP_EMBED) {
        return PS_PLAIN_WHOLE;
    }
    return options->stream ? PS_PLAIN_SSE : PS_PLAIN_BYTES;
}

static int decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    struct ps_plain_decoder *decoder = (struct ps_plain_decoder *)base;
    enum ps_plain_mode mode = mode_of(&base->options, ps_dialect_media_type(content_type));

    decoder->needs_finish = base->options.settings->finish_at.len > 0 && mode != PS_PLAIN_BYTES;
    return ps_plain_init(decoder, mode, on_json);
}

const struct ps_dialect ps_dialect_http = {
    .name = "http",
    .family = PS_FAMILY_HTTP,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .translates = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED),
    .encode_neutral = ps_http_encode_neutral,
    .decoder_size = sizeof(struct ps_plain_decoder),
    .decoder_init = decoder_init,
    .decoder_deinit = ps_plain_decoder_deinit,
    .decoder_feed = ps_plain_decoder_feed,
    .decoder_finish = ps_plain_decoder_finish,
    .fault = ps_openai_fault,
};
