/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* Requests that came in this family go out byte for byte, but for the model's name, and for what
 * other models have signed. */

struct ps_slice ps_anthropic_version(const struct ps_dialect_settings *settings)
{
    return settings->api_version.len > 0 ? settings->api_version : PS_SLICE_LIT("2023-06-01");
}

/* Behind the base URL, whose own "/v1" is not said twice. Clients of beta features ask for
 * /v1/messages?beta=true. */
static struct ps_slice path_of(const struct ps_request *request,
                               const struct ps_encode_options *options, struct ps_arena *arena)
{
    static const struct ps_slice version = PS_SLICE_INIT("/v1");
    struct ps_slice base = options->base_path;
    bool has_version =
        base.len >= version.len &&
        ps_slice_eq(ps_slice(base.ptr + base.len - version.len, version.len), version);
    bool models = request->operation == PS_OP_MODELS;
    struct ps_slice query = models ? PS_SLICE_LIT("limit=1000") : request->query;
    const char *path = models                                     ? "/models"
                       : request->operation == PS_OP_COUNT_TOKENS ? "/messages/count_tokens"
                                                                  : "/messages";

    return ps_slice_cstr(ps_arena_printf(arena, "%s%s%s%.*s", has_version ? "" : "/v1", path,
                                         query.len > 0 ? "?" : "", (int)query.len,
                                         query.len > 0 ? query.ptr : ""));
}

int ps_anthropic_encode(const struct ps_request *request, const struct ps_encode_options *options,
                        struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    struct ps_dialect_header *header = ps_arena_alloc(arena, sizeof(*header));
    struct ps_edit *edits;
    size_t count;

    *ret = (struct ps_encoded){.method = "GET", .path = path_of(request, options, arena)};
    if (header == NULL || ret->path.ptr == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    if (!ps_query_is_sane(request->query)) {
        return ps_fault_set(ret_fault, PS_FAULT_NOT_FOUND, NULL, "There is nothing at this path.");
    }
    *header = (struct ps_dialect_header){
        PS_SLICE_LIT("anthropic-version"),
        ps_anthropic_version(ps_dialect_settings_of(&ps_dialect_anthropic, options->settings))};
    ret->headers = header;
    ret->header_count = 1;
    ret->accept =
        request->stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json");
    if (request->operation == PS_OP_MODELS) {
        return 0;
    }
    ret->method = "POST";
    ret->content_type = PS_SLICE_LIT("application/json");
    ret->has_body = true;
    ret->stream = request->stream;
    if (ps_anthropic_foreign(request, arena, &edits, &count) != 0) {
        return ps_body_out_of_memory(ret_fault);
    }
    return ps_own_body_edited(request, options->model, edits, count, arena, ret, ret_fault);
}
