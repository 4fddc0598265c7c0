/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"
#include "tgi_priv.h"

/*
 * Hugging Face's text-generation-inference, its own API: a text in, a text out, no chat template.
 * (It speaks OpenAI's too: dialect openai with base_url …/v1.) Errors are
 * {"error":"…","error_type":"…"}. As a door: "/", /generate_stream, and /generate where the body
 * is of its shape; its own clients reach it byte for byte.
 */

/* What each kind of error would be as a status, where it comes in the body of a success. */
static int status_of(struct ps_slice type)
{
    static const struct {
        const char *type;
        int status;
    } types[] = {
        {"validation", 422}, {"generation", 500},     {"incomplete_generation", 500},
        {"overloaded", 503}, {"template_error", 422}, {"tool_error", 422},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ps_raw_word(type, types[i].type)) {
            return types[i].status;
        }
    }
    return 0;
}

/* A prompt that leaves no room for the answer is told as a sum of tokens that is too large. */
static bool is_too_long(struct ps_slice message)
{
    static const char *const phrases[] = {"tokens + `max_new_tokens` must be",
                                          "`inputs` must have less than"};

    for (size_t i = 0; message.len > 0 && i < sizeof(phrases) / sizeof(phrases[0]); i++) {
        if (memmem(message.ptr, message.len, phrases[i], strlen(phrases[i])) != NULL) {
            return true;
        }
    }
    return false;
}

static struct ps_openai_error error_of(struct ps_slice type, struct ps_slice message)
{
    return (struct ps_openai_error){
        .type = type,
        .message = message,
        .code = is_too_long(message) ? PS_SLICE_LIT("\"context_length_exceeded\"") : PS_SLICE_NONE,
    };
}

static void fault(int status, struct ps_slice body, struct ps_fault *ret_fault)
{
    const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 100000};
    struct ps_slice type = PS_SLICE_NONE;
    struct ps_slice message = PS_SLICE_NONE;
    struct ps_openai_error error;

    if (ps_json_scan_text(body, NULL, &limits, NULL, NULL) == PS_JSON_OK) {
        body = ps_raw_first(ps_raw_trimmed(body));
        type = ps_raw_member(body, "error_type");
        message = ps_raw_member(body, "error");
    }
    if (!ps_raw_begins(message, '"')) {
        ps_openai_fault(status, body, ret_fault); /* another server stands before it */
        return;
    }
    error = error_of(type, message);
    ps_openai_fault_of(status_of(type) != 0 ? status_of(type) : status, &error, ret_fault);
}

/* ---- answers ---- */

static bool on_error(struct ps_plain_decoder *decoder, struct ps_slice json, struct ps_slice said)
{
    struct ps_slice type = ps_raw_member(json, "error_type");
    struct ps_openai_error error = error_of(type, said);
    struct ps_event event = {.kind = PS_EVENT_FAULT, .usage = PS_USAGE_NONE};
    int status = status_of(type);

    ps_openai_fault_of(status != 0 ? status : 500, &error, &decoder->base.fault);
    event.fault = &decoder->base.fault;
    (void)ps_decoder_emit(&decoder->base, &event);
    return false;
}

static void take_details(struct ps_plain_decoder *decoder, struct ps_slice details)
{
    struct ps_slice prefill = ps_raw_member(details, "prefill");

    ps_plain_note_finish(decoder, ps_raw_member(details, "finish_reason"));
    (void)ps_plain_count(ps_raw_member(details, "generated_tokens"), &decoder->usage.output);
    if (!ps_plain_count(ps_raw_member(details, "input_length"), &decoder->usage.input) &&
        ps_raw_begins(prefill, '[') && ps_build_count(prefill) > 0) {
        decoder->usage.input = (int64_t)ps_build_count(prefill);
    }
}

/* A token, or the last one with the whole text beside it: what the tokens said is not said again.
 */
static bool on_token(struct ps_plain_decoder *decoder, struct ps_slice json, struct ps_slice token)
{
    struct ps_slice special = ps_raw_member(token, "special");
    struct ps_slice whole = ps_raw_member(json, "generated_text");
    struct ps_slice details = ps_raw_member(json, "details");

    if (!ps_raw_begins(special, 't') && !ps_plain_say(decoder, ps_raw_member(token, "text"))) {
        return false;
    }
    decoder->said = true;
    take_details(decoder, details);
    if (ps_raw_begins(whole, '"') || decoder->has_finish) {
        return ps_plain_end(decoder);
    }
    return true;
}

static bool on_json(struct ps_plain_decoder *decoder, struct ps_slice json)
{
    struct ps_slice object = ps_raw_first(json); /* "/" gives an array of one */
    struct ps_slice error = ps_raw_member(object, "error");
    struct ps_slice token = ps_raw_member(object, "token");
    struct ps_slice text = ps_raw_member(object, "generated_text");

    if (ps_plain_is_truthy(error)) {
        return on_error(decoder, object, error);
    }
    if (ps_raw_begins(token, '{')) {
        return on_token(decoder, object, token);
    }
    if (!ps_raw_begins(text, '"')) {
        return ps_plain_broken(decoder, "The provider's answer has no generated_text.");
    }
    take_details(decoder, ps_raw_member(object, "details"));
    return ps_plain_say(decoder, text);
}

static int decoder_init(struct ps_decoder *base, struct ps_slice content_type)
{
    struct ps_plain_decoder *decoder = (struct ps_plain_decoder *)base;
    struct ps_slice type = ps_dialect_media_type(content_type);
    bool is_stream = ps_slice_ieq(type, PS_SLICE_LIT("text/event-stream")) ||
                     (base->options.stream && !ps_dialect_is_json(type));

    decoder->needs_finish = true;
    return ps_plain_init(decoder, is_stream ? PS_PLAIN_SSE : PS_PLAIN_WHOLE, on_json);
}

static const struct ps_dialect_settings defaults = {.self_hosted = true};

const struct ps_dialect ps_dialect_tgi = {
    .name = "tgi",
    .family = PS_FAMILY_TGI,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .global_init = ps_tgi_reader_global_init,
    .global_deinit = ps_tgi_reader_global_deinit,
    .reader_size = sizeof(struct ps_fields_reader),
    .reader_init = ps_tgi_reader_init,
    .reader_feed = ps_fields_reader_feed,
    .reader_finish = ps_tgi_reader_finish,
    .reads = PS_FOR(PS_OP_CHAT),
    .neutral = ps_tgi_neutral,
    .writes = PS_FOR(PS_OP_CHAT),
    .writer_size = sizeof(struct ps_tgi_writer),
    .writer_init = ps_tgi_writer_init,
    .writer_deinit = ps_tgi_writer_deinit,
    .writer_event = ps_tgi_writer_event,
    .writer_end = ps_tgi_writer_end,
    .write_fault = ps_tgi_write_fault,
    .write_fault_event = ps_tgi_write_fault_event,
    .own = PS_FOR(PS_OP_CHAT),
    .translates = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE),
    .health_path = "/health",
    .defaults = &defaults,
    .encode = ps_tgi_encode,
    .encode_neutral = ps_tgi_encode_neutral,
    .decoder_size = sizeof(struct ps_plain_decoder),
    .decoder_init = decoder_init,
    .decoder_deinit = ps_plain_decoder_deinit,
    .decoder_feed = ps_plain_decoder_feed,
    .decoder_finish = ps_plain_decoder_finish,
    .fault = fault,
};
