/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_OLLAMA_PRIV_H
#define PENSTOCK_DIALECT_OLLAMA_PRIV_H

#include "encode.h"
#include "fields.h"
#include "texts.h"

/* ---- ollama_encode.c, ollama_messages.c ---- */

/* Only PS_OP_MODELS: nothing of another family is relayed. */
int ps_ollama_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
int ps_ollama_encode_neutral(struct ps_encode *encode);
/* The member "messages". */
int ps_ollama_encode_messages(struct ps_encode *encode);

/* ---- ollama_decoder.c ---- */

struct ps_ollama_decoder {
    struct ps_texts texts;
    bool started;   /* START was told */
    uint32_t calls; /* tool calls so far */
};

int ps_ollama_decoder_init(struct ps_decoder *base, struct ps_slice content_type);

#endif
