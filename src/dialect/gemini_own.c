/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"

/*
 * Requests that came in this family go out byte for byte. The model stands in the path, and some
 * bodies say it once more: there it must be the same.
 */

#define MEMBER_BYTES 2048 /* a model's name, escaped */
#define MODEL_BYTES  256

struct own {
    const struct ps_request *request;
    struct ps_arena *arena;
    struct ps_fault *fault;
    struct ps_slice name; /* the target's, as JSON: "models/x" */
    struct ps_edit *edits;
    size_t edit_count;
};

static int out_of_memory(struct own *own)
{
    return ps_body_out_of_memory(own->fault);
}

static int quote_name(struct own *own, struct ps_slice model)
{
    bool has_prefix = ps_slice_starts(model, PS_SLICE_LIT("models/")) ||
                      ps_slice_starts(model, PS_SLICE_LIT("tunedModels/"));
    struct ps_json_out out;
    struct ps_buf buf;

    ps_buf_init(&buf, MEMBER_BYTES);
    out = ps_json_out(&buf);
    ps_out_string_begin(&out);
    ps_out_string_plain(&out, has_prefix ? PS_SLICE_NONE : PS_SLICE_LIT("models/"));
    ps_out_string_text(&out, model);
    ps_out_string_end(&out);
    if (!buf.failed) {
        own->name = ps_arena_copy(own->arena, ps_buf_view(&buf));
    }
    ps_buf_deinit(&buf);
    return own->name.ptr != NULL ? 0 : out_of_memory(own);
}

/* ---- the body ---- */

static int edit_one(struct own *own)
{
    struct ps_span span = own->request->model_span;
    struct ps_slice raw;

    if (span.end == 0) {
        return 0;
    }
    raw = ps_body_piece(own->request->body, span, own->arena);
    own->edits = ps_arena_alloc(own->arena, sizeof(*own->edits));
    if (raw.ptr == NULL || own->edits == NULL) {
        return out_of_memory(own);
    }
    if (!ps_slice_eq(raw, own->name)) {
        own->edits[own->edit_count++] = (struct ps_edit){span.start, span.end, own->name};
    }
    return 0;
}

/* Each request of a batch has the name. */
static int edit_batch(struct own *own)
{
    uint64_t len = own->request->body->len;
    struct ps_slice body = ps_body_piece(own->request->body, (struct ps_span){0, len}, own->arena);
    struct ps_slice requests;
    struct ps_json_walk walk;
    struct ps_slice element;
    size_t count;

    if (body.ptr == NULL) {
        return out_of_memory(own);
    }
    requests = ps_raw_member(ps_raw_trimmed(body), "requests");
    count = ps_raw_begins(requests, '[') ? ps_build_count(requests) : 0;
    if (count == 0) {
        return 0;
    }
    if (count > PS_NEUTRAL_INPUTS) {
        return ps_fault_set(own->fault, PS_FAULT_BAD_FIELD, "requests",
                            "requests holds more texts than the gateway takes at once.");
    }
    own->edits = ps_arena_side(own->arena, count, sizeof(*own->edits));
    if (own->edits == NULL) {
        return out_of_memory(own);
    }
    ps_json_walk_init(&walk, requests);
    while (ps_json_walk_element(&walk, &element)) {
        struct ps_slice raw = ps_raw_member(element, "model");

        if (ps_raw_begins(raw, '"') && !ps_slice_eq(raw, own->name)) {
            uint64_t start = (uint64_t)(raw.ptr - body.ptr);

            own->edits[own->edit_count++] = (struct ps_edit){start, start + raw.len, own->name};
        }
    }
    return 0;
}

/* ---- the path ---- */

static const char *method_of(const struct ps_request *request)
{
    if (request->operation == PS_OP_COUNT_TOKENS) {
        return "countTokens";
    }
    if (request->operation == PS_OP_EMBED) {
        return (request->shape & PS_GEMINI_BATCH) != 0 ? "batchEmbedContents" : "embedContent";
    }
    return request->stream ? "streamGenerateContent" : "generateContent";
}

/* Of the query only the form of a stream goes up: it may hold the client's key. */
static int set_path(struct own *own, const struct ps_encode_options *options, struct ps_slice model,
                    bool events, struct ps_encoded *ret)
{
    struct ps_slice resource = ps_gemini_resource(model, own->arena);
    char *path;

    if (resource.ptr == NULL) {
        return out_of_memory(own);
    }
    path = ps_arena_printf(own->arena, "%s/%.*s:%s%s", ps_gemini_version(options->base_path),
                           (int)resource.len, resource.ptr, method_of(own->request),
                           events ? "?alt=sse" : "");
    if (path == NULL) {
        return out_of_memory(own);
    }
    ret->path = ps_slice_cstr(path);
    return 0;
}

int ps_gemini_own(const struct ps_request *request, const struct ps_encode_options *options,
                  struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    struct ps_slice model = options->model.len > 0 ? options->model : request->model;
    struct own own = {.request = request, .arena = arena, .fault = ret_fault};
    bool events = request->stream && (request->shape & PS_GEMINI_ARRAY) == 0;

    *ret = (struct ps_encoded){
        .method = "POST",
        .content_type = PS_SLICE_LIT("application/json"),
        .accept = events ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json"),
        .has_body = true,
        .stream = request->stream,
    };
    if (model.len == 0 || model.len > MODEL_BYTES) {
        return ps_fault_set(ret_fault, PS_FAULT_MISSING_FIELD, "model",
                            "The provider of this model needs its name.");
    }
    if (set_path(&own, options, model, events, ret) != 0 || quote_name(&own, model) != 0 ||
        ((request->shape & PS_GEMINI_BATCH) != 0 ? edit_batch(&own) : edit_one(&own)) != 0) {
        return -1;
    }
    return ps_request_parts(request->body, own.edits, own.edit_count, arena, &ret->parts,
                            &ret->part_count, &ret->length) == 0
               ? 0
               : out_of_memory(&own);
}
