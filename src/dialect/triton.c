/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"
#include "triton_priv.h"

/*
 * NVIDIA Triton, and other servers with KServe's v2 protocol: generate and generate_stream for
 * models that give text, infer for embeddings and for models that know nothing but tensors. Prompts
 * go as they are: no chat template is applied there.
 */

enum ps_triton_shape ps_triton_shape_of(const struct ps_dialect_settings *settings)
{
    static const struct {
        const char *name;
        enum ps_triton_shape shape;
    } shapes[] = {
        {"trtllm", PS_TRITON_TRTLLM},
        {"llmapi", PS_TRITON_LLMAPI},
        {"tensor", PS_TRITON_TENSOR},
        {"tensor-batch", PS_TRITON_BATCH},
    };

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (ps_slice_eq_cstr(settings->shape, shapes[i].name)) {
            return shapes[i].shape;
        }
    }
    return PS_TRITON_VLLM;
}

/* Where a stream was asked for, the error comes as its one event: data: {"error":…}. */
static struct ps_slice without_framing(struct ps_slice body)
{
    struct ps_slice field = PS_SLICE_LIT("data:");
    if (ps_slice_starts(body, field)) {
        body = ps_slice(body.ptr + field.len, body.len - field.len);
    }
    while (body.len > 0 && (body.ptr[body.len - 1] == '\n' || body.ptr[body.len - 1] == '\r')) {
        body.len--;
    }
    return ps_slice_trim(body);
}

static void fault(int status, struct ps_slice body, struct ps_fault *ret_fault)
{
    ps_openai_fault(status, without_framing(body), ret_fault);
    if (status == 501) {
        ret_fault->kind = PS_FAULT_UNSUPPORTED_OPERATION;
    }
}

const struct ps_dialect ps_dialect_triton = {
    .name = "triton",
    .family = PS_FAMILY_TRITON,
    .credential_header = "authorization",
    .credential_prefix = "Bearer ",
    .translates = PS_FOR(PS_OP_CHAT) | PS_FOR(PS_OP_COMPLETE) | PS_FOR(PS_OP_EMBED),
    .health_path = "/v2/health/ready",
    .encode_neutral = ps_triton_encode_neutral,
    .decoder_size = sizeof(struct ps_plain_decoder),
    .decoder_init = ps_triton_decoder_init,
    .decoder_deinit = ps_plain_decoder_deinit,
    .decoder_feed = ps_plain_decoder_feed,
    .decoder_finish = ps_plain_decoder_finish,
    .fault = fault,
};
