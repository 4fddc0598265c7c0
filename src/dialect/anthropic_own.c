/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/* Requests that came in this family go out byte for byte, but for the model's name. */

#define MEMBER_BYTES 2048 /* a model's name, escaped */

struct ps_slice ps_anthropic_version(const struct ps_dialect_settings *settings)
{
    return settings->api_version.len > 0 ? settings->api_version : PS_SLICE_LIT("2023-06-01");
}

/* `"model":"…",` or only the string. */
static struct ps_slice model_text(struct ps_slice model, const char *before, const char *behind,
                                  struct ps_arena *arena)
{
    struct ps_slice text = PS_SLICE_NONE;
    struct ps_buf buf;

    ps_buf_init(&buf, MEMBER_BYTES);
    ps_buf_cstr(&buf, before);
    ps_buf_json(&buf, model);
    ps_buf_cstr(&buf, behind);
    if (!buf.failed) {
        text = ps_arena_copy(arena, ps_buf_view(&buf));
    }
    ps_buf_deinit(&buf);
    return text;
}

static int encode_body(const struct ps_request *request, struct ps_slice model,
                       struct ps_arena *arena, struct ps_encoded *ret)
{
    bool given = request->model_span.end != 0;
    struct ps_edit edit = {.text = PS_SLICE_NONE};
    uint64_t brace = 0;

    if (model.len == 0 || (given && ps_slice_eq(model, request->model))) {
        return ps_request_parts(request->body, NULL, 0, arena, &ret->parts, &ret->part_count,
                                &ret->length);
    }
    if (given) {
        edit = (struct ps_edit){request->model_span.start, request->model_span.end,
                                model_text(model, "", "", arena)};
    } else {
        /* New members go to the front; messages follow, so there is always a comma. */
        (void)ps_body_next(request->body, &brace);
        edit = (struct ps_edit){brace + 1, brace + 1, model_text(model, "\"model\":", ",", arena)};
    }
    if (edit.text.ptr == NULL) {
        return -1;
    }
    return ps_request_parts(request->body, &edit, 1, arena, &ret->parts, &ret->part_count,
                            &ret->length);
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
    return encode_body(request, options->model, arena, ret) == 0 ? 0
                                                                 : ps_body_out_of_memory(ret_fault);
}
