/* SPDX-License-Identifier: Apache-2.0 */
#include "triton_priv.h"

/*
 * Answers of generate (one object), generate_stream (one in each event; the stream just ends) and
 * infer (a list of tensors). A stream repeats the count of input tokens and counts output tokens
 * per event.
 */

#define ROWS 65536

/* ---- generate ---- */

static void take_counts(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    int64_t more;

    (void)ps_plain_count(ps_raw_member(json, "num_input_tokens"), &decoder->usage.input);
    if (ps_plain_count(ps_raw_member(json, "num_output_tokens"), &more)) {
        int64_t sum = decoder->usage.output < 0 ? 0 : decoder->usage.output;

        decoder->usage.output = more < INT64_MAX - sum ? sum + more : INT64_MAX;
    }
}

/* Where no reason is told, as many tokens as were allowed are one. */
static void guess_finish(struct ps_plain_decoder *decoder)
{
    uint32_t limit = decoder->base.options.memo;

    if (limit > 0 && decoder->usage.output >= limit) {
        ps_plain_note_finish(decoder, PS_SLICE_LIT("\"length\""));
    }
}

static bool on_generated(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    const struct ps_dialect_settings *settings = decoder->base.options.settings;
    struct ps_slice text =
        ps_raw_first(ps_raw_member_of(json, ps_triton_name(settings->text_at, "text_output")));
    struct ps_slice reason = ps_raw_member(json, "finish_reason");

    take_counts(decoder, json);
    if (reason.len == 0) {
        reason = ps_raw_member(ps_raw_member(json, "details"), "finish_reason");
    }
    guess_finish(decoder);
    ps_plain_note_finish(decoder, reason);
    if (ps_raw_begins(text, '"')) {
        return ps_plain_say(decoder, text);
    }
    return true; /* an empty last one, or a model that says other things */
}

/* ---- infer ---- */

static struct ps_slice tensor_named(struct ps_slice json, struct ps_slice name)
{
    struct ps_slice outputs = ps_raw_member(json, "outputs");
    struct ps_json_walk walk;
    struct ps_slice tensor;

    if (!ps_raw_begins(outputs, '[')) {
        return PS_SLICE_NONE;
    }
    ps_json_walk_init(&walk, outputs);
    while (ps_json_walk_element(&walk, &tensor)) {
        struct ps_slice raw = ps_raw_member(tensor, "name");

        if (ps_raw_begins(raw, '"') && ps_json_key_is(raw, name)) {
            return tensor;
        }
    }
    return PS_SLICE_NONE;
}

/* How many vectors a tensor of this shape has: its first dimension, unless that is the only one. */
static int64_t rows_of(struct ps_slice shape)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    int64_t rows = 1;
    size_t dimensions = 0;

    if (!ps_raw_begins(shape, '[')) {
        return 1;
    }
    ps_json_walk_init(&walk, shape);
    while (ps_json_walk_element(&walk, &element)) {
        if (dimensions++ == 0 && (!ps_json_int(element, &rows) || rows < 1 || rows > ROWS)) {
            return -1;
        }
    }
    return dimensions > 1 ? rows : 1;
}

/* Rows of numbers that lie one behind the other: each goes out as an array of its own. */
static bool on_flat(struct ps_plain_decoder *decoder, struct ps_slice data, int64_t rows)
{
    struct ps_json_walk walk;
    struct ps_slice number;
    size_t count = ps_build_count(data);
    size_t per_row = count / (size_t)rows;
    size_t at = 0;

    if (per_row == 0 || count % (size_t)rows != 0) {
        return ps_plain_broken(decoder, "The provider's tensor does not have the shape it says.");
    }
    ps_json_walk_init(&walk, data);
    while (ps_json_walk_element(&walk, &number)) {
        if (at++ % per_row == 0) {
            ps_buf_reset(&decoder->text);
        }
        ps_buf_byte(&decoder->text, decoder->text.len == 0 ? '[' : ',');
        ps_buf_slice(&decoder->text, number);
        if (at % per_row == 0) {
            ps_buf_byte(&decoder->text, ']');
            if (decoder->text.failed) {
                (void)ps_decoder_break(&decoder->base, PS_FAULT_NO_MEMORY,
                                       "The gateway is short of memory for this answer.");
                return false;
            }
            if (!ps_plain_vector(decoder, ps_buf_view(&decoder->text))) {
                return false;
            }
        }
    }
    return true;
}

static bool on_embedded(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    const struct ps_dialect_settings *settings = decoder->base.options.settings;
    struct ps_slice tensor = tensor_named(json, ps_triton_name(settings->vector_at, "embedding"));
    struct ps_slice data = ps_raw_member(tensor, "data");
    int64_t rows = rows_of(ps_raw_member(tensor, "shape"));
    bool nested = ps_raw_begins(ps_raw_first(data), '[');
    uint32_t wanted = decoder->base.options.memo;

    if (!ps_raw_begins(data, '[')) {
        return ps_plain_broken(decoder, "The provider's answer has no tensor of embeddings.");
    }
    if (rows < 1) {
        return ps_plain_broken(decoder, "The provider's tensor does not have the shape it says.");
    }
    if (wanted > 0 && wanted != (nested ? ps_build_count(data) : (size_t)rows)) {
        return ps_plain_broken(decoder, "The provider's answer has another number of embeddings "
                                        "than was asked for.");
    }
    return nested ? ps_plain_vectors(decoder, data) : on_flat(decoder, data, rows);
}

static bool on_inferred(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    const struct ps_dialect_settings *settings = decoder->base.options.settings;
    struct ps_slice tensor = tensor_named(json, ps_triton_name(settings->text_at, "text_output"));
    struct ps_slice text = ps_raw_first(ps_raw_member(tensor, "data"));

    text = ps_raw_first(text); /* [1,1] may come nested */
    return ps_raw_begins(text, '"') ? ps_plain_say(decoder, text) : true;
}

/* ---- both ---- */

static bool on_json(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    struct ps_slice error = ps_raw_member(json, "error");

    if (!ps_raw_begins(json, '{')) {
        return ps_plain_broken(decoder, "The provider's answer is not a JSON object.");
    }
    if (ps_plain_is_truthy(error)) {
        return ps_plain_error(decoder, 0, PS_SLICE_NONE, error);
    }
    if (decoder->base.options.operation == PS_OP_EMBED) {
        return on_embedded(decoder, json);
    }
    return ps_raw_member(json, "outputs").len > 0 ? on_inferred(decoder, json)
                                                  : on_generated(decoder, json);
}

int ps_triton_decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    struct ps_slice type = ps_dialect_media_type(content_type);
    bool is_stream = ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream")) ||
                     (base->options.stream && !ps_dialect_is_json(type));

    return ps_plain_init((struct ps_plain_decoder *)base, is_stream ? PS_PLAIN_SSE : PS_PLAIN_WHOLE,
                         on_json);
}
