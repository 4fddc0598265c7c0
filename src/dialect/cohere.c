/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* Cohere's API, version 2: chat, embed, rerank. */

static const struct ps_dialect_settings defaults = {
    .input_type = PS_SLICE_INIT("search_document"),
};

static void write_model(const struct ps_model_info *model, struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"name\":");
    ps_buf_json(out, model->id);
    ps_buf_byte(out, '}');
}

#define OPERATIONS (PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_EMBED) | PS_FOR(PS_OP_RERANK))

const struct ps_dialect ps_dialect_cohere = {
    .name = "cohere",
    .family = PS_FAMILY_COHERE,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .global_init = ps_cohere_reader_global_init,
    .global_deinit = ps_cohere_reader_global_deinit,
    .reader_size = sizeof(struct ps_fields_reader),
    .reader_init = ps_cohere_reader_init,
    .reader_feed = ps_fields_reader_feed,
    .reader_finish = ps_cohere_reader_finish,
    .reads = OPERATIONS,
    .neutral = ps_cohere_neutral,
    .writer_size = sizeof(struct ps_cohere_writer),
    .writes = OPERATIONS,
    .writer_init = ps_cohere_writer_init,
    .writer_deinit = ps_cohere_writer_deinit,
    .writer_event = ps_cohere_writer_event,
    .writer_end = ps_cohere_writer_end,
    .write_fault = ps_cohere_write_fault,
    .write_fault_event = ps_cohere_write_fault_event,
    .models_begin = "{\"models\":[",
    .write_model = write_model,
    .own = OPERATIONS,
    .translates = OPERATIONS,
    .defaults = &defaults,
    .encode = ps_cohere_encode,
    .encode_neutral = ps_cohere_encode_neutral,
    .decoder_size = sizeof(struct ps_cohere_decoder),
    .decoder_init = ps_cohere_decoder_init,
    .decoder_deinit = ps_texts_deinit,
    .decoder_feed = ps_texts_feed,
    .decoder_finish = ps_texts_finish,
    .fault = ps_cohere_fault,
    .models = ps_texts_models,
};
