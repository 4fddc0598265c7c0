/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* Cohere's API, version 2: chat, embed, rerank. It has no door here: every answer is translated. */

static const struct ps_dialect_settings defaults = {
    .input_type = PS_SLICE_INIT("search_document"),
};

const struct ps_dialect ps_dialect_cohere = {
    .name = "cohere",
    .family = PS_FAMILY_COHERE,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .translates = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_EMBED) | PS_FOR(PS_OP_RERANK),
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
