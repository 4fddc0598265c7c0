/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"
#include "openai_priv.h"

/*
 * Requests to an upstream that speaks OpenAI's API. A request that came in this family goes out
 * byte for byte, but for the model's name and the wish for the usage chunk.
 */

#define MEMBER_BYTES 2048 /* a model's name, escaped */

/* `"model":"…"` or only the string, in the arena; ptr NULL when that is exhausted. */
static struct ps_slice model_text(struct ps_slice model, bool with_key, struct ps_arena *arena)
{
    struct ps_buf buf;
    struct ps_slice text = PS_SLICE_NONE;

    ps_buf_init(&buf, MEMBER_BYTES);
    if (with_key) {
        ps_buf_cstr(&buf, "\"model\":");
    }
    ps_buf_json(&buf, model);
    if (!buf.failed) {
        text = ps_arena_copy(arena, ps_buf_view(&buf));
    }
    ps_buf_deinit(&buf);
    return text;
}

static struct ps_slice join(struct ps_slice a, struct ps_slice b, struct ps_slice c,
                            struct ps_arena *arena)
{
    char *text = ps_arena_alloc(arena, a.len + b.len + c.len + 1);

    if (text == NULL) {
        return PS_SLICE_NONE;
    }
    if (a.len > 0) {
        memcpy(text, a.ptr, a.len);
    }
    if (b.len > 0) {
        memcpy(text + a.len, b.ptr, b.len);
    }
    if (c.len > 0) {
        memcpy(text + a.len + b.len, c.ptr, c.len);
    }
    return ps_slice(text, a.len + b.len + c.len);
}

/* ---- edits ---- */

#define EDITS 8 /* beside those of items that are named by their ids */

struct edits {
    struct ps_edit own[EDITS];
    struct ps_edit *list; /* `own`, or in the arena */
    size_t count;
    struct ps_slice model;   /* a member to insert, or len 0 */
    struct ps_slice options; /* likewise */
};

static void add_edit(struct edits *edits, uint64_t start, uint64_t end, struct ps_slice text)
{
    size_t i = edits->count++;

    /* In order of the body. */
    for (; i > 0 && edits->list[i - 1].start > start; i--) {
        edits->list[i] = edits->list[i - 1];
    }
    edits->list[i] = (struct ps_edit){start, end, text};
}

/* Whether the reader has taken the body for JSON, given that it begins like an object. */
static bool is_json_type(const struct ps_request *request)
{
    struct ps_slice type = ps_dialect_media_type(request->content_type);

    return type.len == 0 || ps_dialect_is_json(type) ||
           ps_slice_ieq(type, PS_SLICE_LIT("application/x-www-form-urlencoded"));
}

/* Whether an upstream needs the name even where the client gave none. */
static bool needs_model(const struct ps_request *request)
{
    if (request->operation == PS_OP_PASS) {
        return is_json_type(request) && ps_slice_eq(request->path, PS_SLICE_LIT("/responses"));
    }
    return true;
}

static int edit_model(const struct ps_request *request, struct ps_slice model,
                      struct ps_arena *arena, struct edits *edits)
{
    bool given = request->model_span.end != 0;
    struct ps_slice text;

    if (model.len == 0 || (given && ps_slice_eq(model, request->model)) ||
        (!given && !needs_model(request))) {
        return 0;
    }
    text = request->multipart ? model : model_text(model, !given, arena);
    if (text.ptr == NULL) {
        return -1;
    }
    if (given) {
        add_edit(edits, request->model_span.start, request->model_span.end, text);
    } else {
        edits->model = text;
    }
    return 0;
}

static void edit_usage(const struct ps_request *request, struct edits *edits)
{
    struct ps_span span = request->stream_options_span;
    uint64_t at = span.start;

    if (request->include_usage_span.end != 0) {
        add_edit(edits, request->include_usage_span.start, request->include_usage_span.end,
                 PS_SLICE_LIT("true"));
    } else if (span.end == 0) {
        edits->options = PS_SLICE_LIT("\"stream_options\":{\"include_usage\":true}");
    } else if (ps_body_next(request->body, &at) == '{') {
        add_edit(edits, span.start + 1, span.start + 1,
                 request->stream_options_empty ? PS_SLICE_LIT("\"include_usage\":true")
                                               : PS_SLICE_LIT("\"include_usage\":true,"));
    } else {
        add_edit(edits, span.start, span.end, PS_SLICE_LIT("{\"include_usage\":true}"));
    }
}

/*
 * A response that is kept here is nothing to an upstream: its items go in front of the request's
 * own, and its id is taken out.
 */
static int edit_previous(const struct ps_request *request, struct ps_arena *arena,
                         struct edits *edits)
{
    struct ps_span span = request->input_span;
    uint64_t at = span.start;
    struct ps_slice items;
    char first;

    if (request->previous.len == 0) {
        return 0;
    }
    add_edit(edits, request->previous_span.start, request->previous_span.end, PS_SLICE_LIT("null"));
    if (request->previous.len <= 2) {
        return 0;
    }
    if (span.end == 0) {
        edits->options = join(PS_SLICE_LIT("\"input\":"), request->previous, PS_SLICE_NONE, arena);
        return edits->options.ptr != NULL ? 0 : -1;
    }
    items = ps_slice(request->previous.ptr + 1, request->previous.len - 2);
    first = ps_body_next(request->body, &at);
    if (first == '[') {
        add_edit(edits, span.start + 1, span.start + 1, items);
        if (!ps_body_is_empty(request->body, span)) {
            add_edit(edits, span.start + 1, span.start + 1, PS_SLICE_LIT(","));
        }
    } else if (first == '"') {
        add_edit(edits, span.start, span.start, PS_SLICE_LIT("["));
        add_edit(edits, span.start, span.start, items);
        add_edit(edits, span.start, span.start, PS_SLICE_LIT(",{\"role\":\"user\",\"content\":"));
        add_edit(edits, span.end, span.end, PS_SLICE_LIT("}]"));
    } else {
        add_edit(edits, span.start, span.end, request->previous);
    }
    return 0;
}

/* Nor are the ids of items that are kept here: they themselves stand there. */
static void edit_references(const struct ps_request *request, struct edits *edits)
{
    for (size_t i = 0; i < request->reference_count; i++) {
        const struct ps_reference *reference = &request->references[i];

        if (reference->item.len > 0) {
            add_edit(edits, reference->span.start, reference->span.end, reference->item);
        }
    }
}

/* New members go to the front: what stands there is known without another look at the body. */
static int insert_members(const struct ps_request *request, struct ps_arena *arena,
                          struct edits *edits)
{
    bool both = edits->model.len > 0 && edits->options.len > 0;
    uint64_t brace = 0;
    uint64_t inside;
    struct ps_slice text;

    if (edits->model.len == 0 && edits->options.len == 0) {
        return 0;
    }
    if (ps_body_next(request->body, &brace) != '{') {
        return 0; /* not JSON: nothing to insert into */
    }
    inside = brace + 1;
    text = join(edits->model, both ? PS_SLICE_LIT(",") : PS_SLICE_NONE, edits->options, arena);
    if (text.ptr != NULL && ps_body_next(request->body, &inside) != '}') {
        text = join(text, PS_SLICE_LIT(","), PS_SLICE_NONE, arena);
    }
    if (text.ptr == NULL) {
        return -1;
    }
    add_edit(edits, brace + 1, brace + 1, text);
    return 0;
}

static int encode_body(const struct ps_request *request, const struct ps_encode_options *options,
                       struct ps_arena *arena, struct ps_encoded *ret)
{
    struct edits edits = {.count = 0};
    size_t named = request->reference_count;
    bool streams = (request->operation == PS_OP_CHAT || request->operation == PS_OP_COMPLETE) &&
                   request->family == PS_FAMILY_OPENAI; /* the Responses API always tells */

    if (request->body == NULL || request->body->len == 0) {
        return 0;
    }
    edits.list = named == 0 ? edits.own : ps_arena_side(arena, named + EDITS, sizeof(*edits.list));
    if (edits.list == NULL || edit_model(request, options->model, arena, &edits) != 0 ||
        edit_previous(request, arena, &edits) != 0) {
        return -1;
    }
    edit_references(request, &edits);
    if (streams && request->stream && options->active_accounting && !request->include_usage) {
        edit_usage(request, &edits);
        ret->withhold_usage = true;
    }
    if (insert_members(request, arena, &edits) != 0) {
        return -1;
    }
    return ps_request_parts(request->body, edits.list, edits.count, arena, &ret->parts,
                            &ret->part_count, &ret->length);
}

/* ---- any other path ---- */

/* The byte at `i`, one percent-escape taken off; *ret_len: how many bytes it is written with. */
static char plain_byte(struct ps_slice path, size_t i, size_t *ret_len)
{
    static const char digits[] = "0123456789abcdef";

    *ret_len = 1;
    if (path.ptr[i] == '%' && i + 2 < path.len) {
        char low[2] = {(char)(path.ptr[i + 1] | 0x20), (char)(path.ptr[i + 2] | 0x20)};
        const char *first = low[0] != '\0' ? strchr(digits, low[0]) : NULL;
        const char *second = low[1] != '\0' ? strchr(digits, low[1]) : NULL;

        if (first != NULL && second != NULL) {
            *ret_len = 3;
            return (char)((first - digits) * 16 + (second - digits));
        }
    }
    return path.ptr[i];
}

/*
 * A path behind the base URL that stays behind it: "." and ".." segments, also escaped, would climb
 * out of it once the URL is put together, and what is no path character would change what the URL
 * means.
 */
static bool is_sane_path(struct ps_slice path)
{
    size_t dots = 0;
    size_t others = 0;
    size_t len;

    if (path.len == 0 || path.ptr[0] != '/') {
        return false;
    }
    for (size_t i = 0; i < path.len; i += len) {
        unsigned char raw = (unsigned char)path.ptr[i];
        char byte = plain_byte(path, i, &len);

        if (raw <= 0x20 || raw >= 0x7f || raw == '?' || raw == '#' || raw == '\\') {
            return false;
        }
        if (byte == '/' || byte == '\\') {
            if (others == 0 && (dots == 1 || dots == 2)) {
                return false;
            }
            dots = 0;
            others = 0;
        } else if (byte == '.') {
            dots++;
        } else {
            others++;
        }
    }
    return others > 0 || (dots != 1 && dots != 2);
}

static int encode_pass(const struct ps_request *request, const struct ps_encode_options *options,
                       struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    bool has_bytes = request->body != NULL && request->body->len > 0;
    uint64_t start = 0;

    if (!is_sane_path(request->path) || !ps_query_is_sane(request->query)) {
        return ps_fault_set(ret_fault, PS_FAULT_NOT_FOUND, NULL, "There is nothing at this path.");
    }
    ret->method = ps_arena_strdup(arena, request->method);
    ret->path = request->query.len > 0
                    ? join(request->path, PS_SLICE_LIT("?"), request->query, arena)
                    : request->path;
    if (ret->method == NULL || ret->path.ptr == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    ret->accept = request->accept;
    ret->content_type = request->content_type;
    ret->stream = request->stream;
    ret->has_body = has_bytes || ps_slice_eq(request->method, PS_SLICE_LIT("POST")) ||
                    ps_slice_eq(request->method, PS_SLICE_LIT("PUT")) ||
                    ps_slice_eq(request->method, PS_SLICE_LIT("PATCH"));
    if (has_bytes &&
        ps_slice_ieq(ps_dialect_media_type(request->content_type),
                     PS_SLICE_LIT("application/x-www-form-urlencoded")) &&
        ps_body_next(request->body, &start) == '{') {
        ret->content_type = PS_SLICE_LIT("application/json"); /* `curl -d` and nothing else */
    }
    return encode_body(request, options, arena, ret) == 0 ? 0 : ps_body_out_of_memory(ret_fault);
}

/* ---- the door ---- */

const char *ps_openai_path_of(enum ps_operation operation)
{
    switch (operation) {
    case PS_OP_CHAT:
        return "/chat/completions";
    case PS_OP_COMPLETE:
        return "/completions";
    case PS_OP_EMBED:
        return "/embeddings";
    case PS_OP_RERANK:
        return "/rerank";
    case PS_OP_IMAGE:
        return "/images/generations";
    case PS_OP_MODELS:
        return "/models";
    case PS_OP_COUNT_TOKENS:
    case PS_OP_PASS:
    case PS_OP_COUNT:
    default:
        return "/";
    }
}

static bool streams(enum ps_operation operation)
{
    return operation != PS_OP_EMBED && operation != PS_OP_RERANK;
}

int ps_openai_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    *ret = (struct ps_encoded){.method = "GET",
                               .path = ps_slice_cstr(ps_openai_path_of(request->operation))};
    if (request->operation == PS_OP_PASS) {
        return encode_pass(request, options, arena, ret, ret_fault);
    }
    ret->accept =
        request->stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json");
    if (request->operation == PS_OP_MODELS) {
        return 0;
    }
    if (request->family == PS_FAMILY_RESPONSES) {
        ret->path = PS_SLICE_LIT("/responses");
    }
    ret->method = "POST";
    ret->content_type = PS_SLICE_LIT("application/json");
    ret->has_body = true;
    ret->stream = request->stream && streams(request->operation);
    return encode_body(request, options, arena, ret) == 0 ? 0 : ps_body_out_of_memory(ret_fault);
}
