/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_COHERE_PRIV_H
#define PENSTOCK_DIALECT_COHERE_PRIV_H

#include "encode.h"
#include "fields.h"
#include "texts.h"

/* ---- cohere_encode.c, cohere_messages.c ---- */

/* Only PS_OP_MODELS: nothing of another family is relayed. */
int ps_cohere_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
int ps_cohere_encode_neutral(struct ps_encode *encode);
/* The member "messages". */
int ps_cohere_encode_messages(struct ps_encode *encode);

/* ---- cohere_decoder.c, cohere_said.c ---- */

struct ps_cohere_decoder {
    struct ps_texts texts;
    uint32_t calls;     /* tool calls that have begun */
    uint32_t block;     /* of content, as it is numbered */
    int64_t characters; /* of text so far */
    int64_t block_at;   /* where in it the block at hand begins */
};

int ps_cohere_decoder_init(struct ps_decoder *base, struct ps_slice content_type);

/* What events and whole answers have in common; each returns false to stop. Raw values. */
bool ps_cohere_say_content(struct ps_cohere_decoder *decoder, struct ps_slice content);
/* What the model says about the tools it is going to call. */
bool ps_cohere_say_plan(struct ps_cohere_decoder *decoder, struct ps_slice plan);
/* `call`: one object, or the first of an array. */
bool ps_cohere_say_call(struct ps_cohere_decoder *decoder, struct ps_slice call);
/* One object, or an array of them. */
bool ps_cohere_say_citations(struct ps_cohere_decoder *decoder, struct ps_slice citations);
/* How many tokens, and why it ended: `end` has "finish_reason" and "usage". */
bool ps_cohere_say_end(struct ps_cohere_decoder *decoder, struct ps_slice end);

/* ---- cohere_fault.c ---- */

/* `status` 0: it came in the body of a success. */
void ps_cohere_fault_of(int status, struct ps_slice message, struct ps_fault *ret_fault);
void ps_cohere_fault(int status, struct ps_slice body, struct ps_fault *ret_fault);

#endif
