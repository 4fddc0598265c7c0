/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/* Google's Gemini API: generateContent and its like. */

#define ID_BYTES 512

static int init(void)
{
    if (ps_gemini_decoder_global_init() != 0 || ps_gemini_tap_global_init() != 0 ||
        ps_gemini_fault_global_init() != 0 || ps_gemini_reader_global_init() != 0) {
        return -1; /* the caller undoes */
    }
    return 0;
}

static void deinit(void)
{
    ps_gemini_decoder_global_deinit();
    ps_gemini_tap_global_deinit();
    ps_gemini_fault_global_deinit();
    ps_gemini_reader_global_deinit();
}

/* {"models":[{"name":"models/gemini-…",…}]}: the collection is no part of what clients call it. */
static void tell_model(struct ps_slice object,
                       void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg)
{
    static const struct ps_slice prefix = PS_SLICE_INIT("models/");
    struct ps_slice raw = ps_raw_member(object, "name");
    struct ps_slice id;
    char text[ID_BYTES];

    if (!ps_raw_says(raw) || raw.len > sizeof(text)) {
        return;
    }
    id = ps_slice(text, ps_json_unescape(raw, text));
    if (ps_slice_starts(id, prefix)) {
        id = ps_slice(id.ptr + prefix.len, id.len - prefix.len);
    }
    fn(arg, id, object);
}

int ps_gemini_models(struct ps_slice body,
                     void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};
    struct ps_json_walk walk;
    struct ps_slice models;
    struct ps_slice object;

    if (ps_json_scan_text(body, NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        return -1;
    }
    models = ps_raw_member(ps_raw_trimmed(body), "models");
    if (!ps_raw_begins(models, '[')) {
        return -1;
    }
    ps_json_walk_init(&walk, models);
    while (ps_json_walk_element(&walk, &object)) {
        tell_model(object, fn, arg);
    }
    return 0;
}

/* What a model can do is not known: clients that look at the list leave none out. */
static void write_model(const struct ps_model_info *model, struct ps_buf *out)
{
    struct ps_json_out json = ps_json_out(out);

    ps_out_open(&json, '{');
    ps_out_key(&json, "name");
    ps_out_string_begin(&json);
    ps_out_string_plain(&json, PS_SLICE_LIT("models/"));
    ps_out_string_text(&json, model->id);
    ps_out_string_end(&json);
    ps_out_member_text(&json, "displayName", model->id);
    ps_out_member(&json, "supportedGenerationMethods",
                  PS_SLICE_LIT("[\"generateContent\",\"streamGenerateContent\",\"countTokens\","
                               "\"embedContent\",\"batchEmbedContents\"]"));
    ps_out_close(&json, '}');
}

#define OPERATIONS (PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COUNT_TOKENS) | PS_FOR(PS_OP_EMBED))

const struct ps_dialect ps_dialect_gemini = {
    .name = "gemini",
    .family = PS_FAMILY_GEMINI,
    .credential_header = "x-goog-api-key",
    .credential_prefix = "",
    .global_init = init,
    .global_deinit = deinit,
    .reader_size = sizeof(struct ps_fields_reader),
    .reader_init = ps_gemini_reader_init,
    .reader_feed = ps_fields_reader_feed,
    .reader_finish = ps_gemini_reader_finish,
    .reads = OPERATIONS,
    .neutral = ps_gemini_neutral,
    .writer_size = sizeof(struct ps_gemini_writer),
    .writes = OPERATIONS,
    .writer_init = ps_gemini_writer_init,
    .writer_deinit = ps_gemini_writer_deinit,
    .writer_event = ps_gemini_writer_event,
    .writer_end = ps_gemini_writer_end,
    .writer_fail = ps_gemini_writer_fail,
    .writer_type = ps_gemini_writer_type,
    .write_fault = ps_gemini_write_fault,
    .write_fault_event = ps_gemini_write_fault_event,
    .ping = "", /* its clients take a comment for an answer */
    .models_begin = "{\"models\":[",
    .write_model = write_model,
    .own = OPERATIONS,
    .translates = OPERATIONS,
    .encode = ps_gemini_encode,
    .encode_neutral = ps_gemini_encode_neutral,
    .decoder_size = sizeof(struct ps_gemini_decoder),
    .decoder_init = ps_gemini_decoder_init,
    .decoder_deinit = ps_gemini_decoder_deinit,
    .decoder_feed = ps_gemini_decoder_feed,
    .decoder_finish = ps_gemini_decoder_finish,
    .fault = ps_gemini_fault,
    .models = ps_gemini_models,
};
