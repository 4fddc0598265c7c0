/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_TRITON_PRIV_H
#define PENSTOCK_DIALECT_TRITON_PRIV_H

#include "plain_priv.h"

/* How a model calls its tensors, and whether it is asked with text or with tensors. */
enum ps_triton_shape {
    PS_TRITON_VLLM,   /* vLLM's backend */
    PS_TRITON_TRTLLM, /* TensorRT-LLM's ensemble or its BLS model */
    PS_TRITON_LLMAPI, /* TensorRT-LLM's LLM API */
    PS_TRITON_TENSOR, /* any model: tensors by name, shape [n] */
    PS_TRITON_BATCH,  /* likewise, shape [n,1], for models with a batch dimension */
};
enum ps_triton_shape ps_triton_shape_of(const struct ps_dialect_settings *settings);

/* A tensor's name out of the configuration, or the usual one. */
static inline struct ps_slice ps_triton_name(struct ps_slice name, const char *usual)
{
    return name.len > 0 ? name : ps_slice_cstr(usual);
}

int ps_triton_encode_neutral(struct ps_encode *encode);

int ps_triton_decoder_init(struct ps_decoder *decoder, struct ps_slice content_type);

#endif
