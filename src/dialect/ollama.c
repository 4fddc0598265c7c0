/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"
#include "openai_priv.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * Ollama's own API. Its errors, {"error":"…"}, are read as those of OpenAI's family, which have the
 * same words.
 */

static const struct ps_dialect_settings defaults = {.self_hosted = true};

/* ---- lists of models ---- */

/* 64 digits, as clients want them (they show the first ones), the same for the same name (they keep
 * models apart by them): FNV-1a, four times over. There are no files here to take a digest of. */
static void write_digest(struct ps_slice name, struct ps_json_out *out)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    char digits[17];

    ps_out_string_begin(out);
    for (int i = 0; i < 4; i++) {
        for (size_t j = 0; j < name.len; j++) {
            hash = (hash ^ (unsigned char)name.ptr[j]) * UINT64_C(0x100000001b3);
        }
        (void)snprintf(digits, sizeof(digits), "%016" PRIx64, hash);
        ps_out_string_plain(out, ps_slice_cstr(digits));
    }
    ps_out_string_end(out);
}

static void write_model(const struct ps_model_info *model, struct ps_buf *buf)
{
    struct ps_json_out out = ps_json_out(buf);

    ps_out_open(&out, '{');
    ps_out_member_text(&out, "name", model->id);
    ps_out_member_text(&out, "model", model->id);
    ps_out_key(&out, "modified_at");
    ps_ollama_write_time(model->created_s, &out);
    ps_out_member_int(&out, "size", 0);
    ps_out_key(&out, "digest");
    write_digest(model->id, &out);
    ps_out_key(&out, "details");
    ps_out_raw(&out, PS_SLICE_LIT("{\"parent_model\":\"\",\"format\":\"\",\"family\":\"\","
                                  "\"families\":[],\"parameter_size\":\"\","
                                  "\"quantization_level\":\"\"}"));
    ps_out_close(&out, '}');
}

/* ---- faults ---- */

static void write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *buf)
{
    struct ps_json_out out = ps_json_out(buf);

    (void)request_id; /* has no place there; the header tells it */
    ps_out_open(&out, '{');
    ps_out_key(&out, "error");
    ps_out_cstr(&out, fault->message);
    ps_out_close(&out, '}');
}

static void write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *buf)
{
    write_fault(fault, request_id, buf);
    ps_buf_byte(buf, '\n');
}

#define FRONT (PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_EMBED))

const struct ps_dialect ps_dialect_ollama = {
    .name = "ollama",
    .family = PS_FAMILY_OLLAMA,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .global_init = ps_ollama_reader_global_init,
    .global_deinit = ps_ollama_reader_global_deinit,
    .reader_size = sizeof(struct ps_fields_reader),
    .reader_init = ps_ollama_reader_init,
    .reader_feed = ps_fields_reader_feed,
    .reader_finish = ps_ollama_reader_finish,
    .reads = FRONT,
    .neutral = ps_ollama_neutral,
    .writer_size = sizeof(struct ps_ollama_writer),
    .writes = FRONT,
    .writer_init = ps_ollama_writer_init,
    .writer_deinit = ps_ollama_writer_deinit,
    .writer_event = ps_ollama_writer_event,
    .writer_end = ps_ollama_writer_end,
    .write_fault = write_fault,
    .write_fault_event = write_fault_event,
    .ping = "", /* its clients take every line for a piece of the answer */
    .stream_type = "application/x-ndjson",
    .models_begin = "{\"models\":[",
    .write_model = write_model,
    .own = FRONT | PS_FOR(PS_OP_PASS), /* /api/show */
    .translates = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED),
    .health_path = "/",
    .defaults = &defaults,
    .encode = ps_ollama_encode,
    .encode_neutral = ps_ollama_encode_neutral,
    .decoder_size = sizeof(struct ps_ollama_decoder),
    .decoder_init = ps_ollama_decoder_init,
    .decoder_deinit = ps_texts_deinit,
    .decoder_feed = ps_texts_feed,
    .decoder_finish = ps_texts_finish,
    .fault = ps_openai_fault,
    .models = ps_texts_models,
};
