/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/* Requests that came in this family go out byte for byte, but for the model's name. */

static bool ends_with(struct ps_slice text, struct ps_slice end)
{
    return text.len >= end.len &&
           ps_slice_eq(ps_slice(text.ptr + text.len - end.len, end.len), end);
}

static const char *path_of(enum ps_operation operation, struct ps_slice base)
{
    bool version = ends_with(base, PS_SLICE_LIT("/v2"));

    switch (operation) {
    case PS_OP_CHAT:
        return version ? "/chat" : "/v2/chat";
    case PS_OP_EMBED:
        return version ? "/embed" : "/v2/embed";
    case PS_OP_RERANK:
        return version ? "/rerank" : "/v2/rerank";
    case PS_OP_MODELS: /* of version 1 only, and left to a base URL that names a version */
        return version || ends_with(base, PS_SLICE_LIT("/v1")) ? "/models?page_size=1000"
                                                               : "/v1/models?page_size=1000";
    case PS_OP_COMPLETE:
    case PS_OP_IMAGE:
    case PS_OP_COUNT_TOKENS:
    case PS_OP_PASS:
    case PS_OP_COUNT:
    default:
        return NULL;
    }
}

int ps_cohere_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    const char *path = path_of(request->operation, options->base_path);

    if (path == NULL) {
        return ps_fault_set(ret_fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "The provider of this model does not offer this operation (%s).",
                            ps_operation_name(request->operation));
    }
    *ret = (struct ps_encoded){
        .method = "GET",
        .path = ps_slice_cstr(path),
        .accept =
            request->stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
    };
    if (request->operation == PS_OP_MODELS) {
        ret->accept = PS_SLICE_LIT("application/json");
        return 0;
    }
    ret->method = "POST";
    ret->content_type = PS_SLICE_LIT("application/json");
    ret->has_body = true;
    ret->stream = request->stream;
    return ps_own_body(request, options->model, arena, ret, ret_fault);
}
