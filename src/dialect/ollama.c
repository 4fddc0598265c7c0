/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"
#include "openai_priv.h"

/*
 * Ollama's own API. It has no door here: every answer is translated. Its errors, {"error":"…"}, are
 * read as those of OpenAI's family, which have the same words.
 */

static const struct ps_dialect_settings defaults = {.self_hosted = true};

const struct ps_dialect ps_dialect_ollama = {
    .name = "ollama",
    .family = PS_FAMILY_OLLAMA,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
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
