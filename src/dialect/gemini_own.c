/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"
#include "signature.h"

/*
 * Requests that came in this family go out byte for byte. The model stands in the path, and some
 * bodies say it once more: there it must be the same. What other models have signed is taken out.
 */

#define MEMBER_BYTES 2048 /* a model's name, escaped */
#define MODEL_BYTES  256

struct own {
    const struct ps_request *request;
    struct ps_arena *arena;
    struct ps_fault *fault;
    struct ps_slice model; /* the target's */
    struct ps_slice name;  /* as JSON, "models/x"; only where a body says it */
    struct ps_buf edits;   /* struct ps_edit, in order */
};

static int out_of_memory(struct own *own)
{
    return ps_body_out_of_memory(own->fault);
}

static int quote_name(struct own *own)
{
    bool has_prefix = ps_slice_starts(own->model, PS_SLICE_LIT("models/")) ||
                      ps_slice_starts(own->model, PS_SLICE_LIT("tunedModels/"));
    struct ps_json_out out;
    struct ps_buf buf;

    ps_buf_init(&buf, MEMBER_BYTES);
    out = ps_json_out(&buf);
    ps_out_string_begin(&out);
    ps_out_string_plain(&out, has_prefix ? PS_SLICE_NONE : PS_SLICE_LIT("models/"));
    ps_out_string_text(&out, own->model);
    ps_out_string_end(&out);
    if (!buf.failed) {
        own->name = ps_arena_copy(own->arena, ps_buf_view(&buf));
    }
    ps_buf_deinit(&buf);
    return own->name.ptr != NULL ? 0 : out_of_memory(own);
}

/* ---- the body ---- */

/* In order, wherever in the body the model's name stands. */
static void add_edit(struct own *own, uint64_t start, uint64_t len, struct ps_slice text)
{
    const struct ps_edit edit = {start, start + len, text};
    struct ps_edit *list;
    size_t i;

    ps_buf_append(&own->edits, &edit, sizeof(edit));
    if (own->edits.failed) {
        return;
    }
    list = (struct ps_edit *)(void *)own->edits.ptr;
    for (i = own->edits.len / sizeof(edit) - 1; i > 0 && list[i - 1].start > start; i--) {
        list[i] = list[i - 1];
    }
    list[i] = edit;
}

/* A name that stands where the target's should. */
static void edit_name(struct own *own, struct ps_slice raw, uint64_t start)
{
    if (ps_raw_begins(raw, '"') && !ps_slice_eq(raw, own->name)) {
        add_edit(own, start, raw.len, own->name);
    }
}

static int edit_one(struct own *own)
{
    struct ps_span span = own->request->model_span;
    struct ps_slice raw;

    if (span.end == 0) {
        return 0;
    }
    raw = ps_body_piece(own->request->body, span, own->arena);
    if (raw.ptr == NULL || quote_name(own) != 0) {
        return out_of_memory(own);
    }
    edit_name(own, raw, span.start);
    return 0;
}

/* Each request of a batch has the name. */
static void edit_batch(struct own *own, struct ps_slice body)
{
    struct ps_slice requests = ps_raw_member(ps_raw_trimmed(body), "requests");
    struct ps_json_walk walk;
    struct ps_slice element;

    if (!ps_raw_begins(requests, '[')) {
        return;
    }
    ps_json_walk_init(&walk, requests);
    while (ps_json_walk_element(&walk, &element)) {
        struct ps_slice raw = ps_raw_member(element, "model");

        if (raw.len > 0) {
            edit_name(own, raw, (uint64_t)(raw.ptr - body.ptr));
        }
    }
}

static void edit_part(struct own *own, struct ps_slice body, struct ps_slice part)
{
    struct ps_json_walk walk;
    struct ps_slice key;
    struct ps_slice value;

    if (!ps_raw_begins(part, '{')) {
        return;
    }
    ps_json_walk_init(&walk, part);
    while (ps_json_walk_member(&walk, &key, &value)) {
        if (ps_gemini_key_is(key, "thoughtSignature") &&
            ps_signature_is_foreign(value, PS_FAMILY_GEMINI)) {
            add_edit(own, (uint64_t)(value.ptr - body.ptr), value.len,
                     PS_SLICE_LIT("\"skip_thought_signature_validator\""));
        }
    }
}

/* What other models have signed in this conversation before: the API has a word for that. */
static void edit_signatures(struct own *own, struct ps_slice body)
{
    struct ps_slice contents = ps_raw_member(ps_raw_trimmed(body), "contents");
    struct ps_json_walk walk;
    struct ps_slice content;

    if (!ps_raw_begins(contents, '[')) {
        return;
    }
    ps_json_walk_init(&walk, contents);
    while (ps_json_walk_element(&walk, &content)) {
        struct ps_slice parts = ps_raw_member(content, "parts");
        struct ps_json_walk inner;
        struct ps_slice part;

        if (ps_raw_begins(parts, '[')) {
            ps_json_walk_init(&inner, parts);
            while (ps_json_walk_element(&inner, &part)) {
                edit_part(own, body, part);
            }
        }
    }
}

/* Only a body that needs it is looked into. */
static int edit(struct own *own)
{
    static const struct ps_slice tag = PS_SLICE_INIT("\"cGVuc3RvY2su"); /* "penstock.", as base64 */
    const struct ps_chain *chain = own->request->body;
    bool batch = (own->request->shape & PS_GEMINI_BATCH) != 0;
    struct ps_slice body;

    if (batch ? quote_name(own) != 0 : edit_one(own) != 0) {
        return -1;
    }
    if (!batch && !ps_own_holds(chain, tag)) {
        return 0;
    }
    body = ps_body_piece(chain, (struct ps_span){0, chain->len}, own->arena);
    if (body.ptr == NULL) {
        return out_of_memory(own);
    }
    if (batch) {
        edit_batch(own, body);
    } else {
        edit_signatures(own, body);
    }
    return 0;
}

static int write_body(struct own *own, struct ps_encoded *ret)
{
    size_t count;
    struct ps_edit *edits;

    if (edit(own) != 0) {
        return -1;
    }
    count = own->edits.len / sizeof(*edits);
    edits = ps_arena_side(own->arena, count + 1, sizeof(*edits));
    if (own->edits.failed || edits == NULL) {
        return out_of_memory(own);
    }
    if (count > 0) {
        memcpy(edits, own->edits.ptr, own->edits.len);
    }
    return ps_request_parts(own->request->body, edits, count, own->arena, &ret->parts,
                            &ret->part_count, &ret->length) == 0
               ? 0
               : out_of_memory(own);
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
static int set_path(struct own *own, const struct ps_encode_options *options, bool events,
                    struct ps_encoded *ret)
{
    struct ps_slice resource = ps_gemini_resource(own->model, own->arena);
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
    struct own own = {.request = request, .arena = arena, .fault = ret_fault, .model = model};
    bool events = request->stream && (request->shape & PS_GEMINI_ARRAY) == 0;
    int rc;

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
    ps_buf_init(&own.edits, PS_NEUTRAL_MESSAGES * sizeof(struct ps_edit));
    rc = set_path(&own, options, events, ret) != 0 ? -1 : write_body(&own, ret);
    ps_buf_deinit(&own.edits);
    return rc;
}
