/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"

/* Requests that came in this family go out byte for byte, but for the model's name. */

static const char *path_of(const struct ps_request *request)
{
    if (request->operation == PS_OP_MODELS) {
        return "/api/tags";
    }
    switch (ps_ollama_shape_of(request)) {
    case PS_OLLAMA_GENERATE:
        return "/api/generate";
    case PS_OLLAMA_EMBED:
        return "/api/embed";
    case PS_OLLAMA_EMBEDDINGS:
        return "/api/embeddings";
    case PS_OLLAMA_SHOW:
        return "/api/show";
    case PS_OLLAMA_CHAT:
    default:
        return "/api/chat";
    }
}

int ps_ollama_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    static const struct ps_slice end = PS_SLICE_INIT("/api");
    struct ps_slice base = options->base_path;
    bool has_end =
        base.len >= end.len && ps_slice_eq(ps_slice(base.ptr + base.len - end.len, end.len), end);

    *ret = (struct ps_encoded){
        .method = "GET",
        .path = ps_slice_cstr(path_of(request) + (has_end ? end.len : 0)),
        .accept = PS_SLICE_LIT("application/json"),
    };
    if (request->operation == PS_OP_MODELS) {
        return 0;
    }
    ret->method = "POST";
    ret->content_type = PS_SLICE_LIT("application/json");
    ret->has_body = true;
    ret->stream = request->stream;
    if (request->stream) {
        ret->accept = PS_SLICE_LIT("application/x-ndjson");
    }
    return ps_own_body(request, options->model, arena, ret, ret_fault);
}
