/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"
#include "utf8.h"

/*
 * Requests as Google's clients send them: the model and what is wanted of it stand in the path
 * ("/v1beta/models/x:streamGenerateContent"), how a stream is wanted in the query. Of the body next
 * to nothing is looked at; a request for another family is read to its last field later, in
 * gemini_front.c.
 */

#define CHAT  PS_FOR(PS_OP_CHAT)
#define COUNT PS_FOR(PS_OP_COUNT_TOKENS)
#define EMBED PS_FOR(PS_OP_EMBED)
#define ALL   (CHAT | COUNT | EMBED)

enum {
    MODEL,
    INNER_MODEL,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [MODEL] = {"model", PS_FIELD_TEXT, true, 0, 0, 0, 0},
    [INNER_MODEL] = {"generateContentRequest.model", PS_FIELD_TEXT, true, 0, 0, 0, 0},
    [OTHERS] = {"contents", PS_FIELD_OBJECT, true, 0, CHAT, 0, 0},
    PS_FIELDS_FORBIDDEN(ALL),
};

static struct ps_field_table table = PS_FIELD_TABLE(rules);

int ps_gemini_reader_global_init(void)
{
    return ps_field_table_compile(&table);
}

void ps_gemini_reader_global_deinit(void)
{
    ps_field_table_free(&table);
}

int ps_gemini_reader_init(struct ps_reader *base)
{
    return ps_fields_reader_init(base, &table);
}

/* ---- the path ---- */

static int digit(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* ptr NULL: memory was short, unless *ret_bad. */
static struct ps_slice unescape(struct ps_slice text, struct ps_arena *arena, bool *ret_bad)
{
    struct ps_utf8 utf8 = {0};
    char *plain = ps_arena_alloc(arena, text.len + 1);
    size_t len = 0;

    for (size_t i = 0; plain != NULL && i < text.len; i++) {
        char byte = text.ptr[i];

        if (byte == '%') {
            int high = i + 2 < text.len ? digit(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? digit(text.ptr[i + 2]) : -1;

            if (high < 0 || low < 0) {
                *ret_bad = true;
                return PS_SLICE_NONE;
            }
            byte = (char)(high << 4 | low);
            i += 2;
        }
        plain[len++] = byte;
    }
    *ret_bad = plain != NULL && (!ps_utf8_feed(&utf8, plain, len) || !ps_utf8_whole(&utf8));
    return plain != NULL ? ps_slice(plain, len) : PS_SLICE_NONE;
}

/* "/<version>/<model>:<method>"; false where it is no such path. */
static bool split(struct ps_slice path, struct ps_slice *ret_model, struct ps_slice *ret_method)
{
    const char *model = path.len > 1 ? memchr(path.ptr + 1, '/', path.len - 1) : NULL;
    const char *colon = path.len > 0 ? memrchr(path.ptr, ':', path.len) : NULL;

    if (model == NULL || colon == NULL || colon <= model) {
        return false;
    }
    *ret_model = ps_slice(model + 1, (size_t)(colon - model - 1));
    *ret_method = ps_slice(colon + 1, path.len - (size_t)(colon + 1 - path.ptr));
    return true;
}

static int read_path(struct ps_request *request, struct ps_arena *arena,
                     struct ps_slice *ret_method, struct ps_fault *ret_fault)
{
    static const struct ps_slice collection = PS_SLICE_INIT("models/");
    struct ps_slice name = PS_SLICE_NONE;
    bool bad = false;

    if (!split(request->path, &name, ret_method)) {
        return 0; /* no door's: whoever asks so names a model in another way */
    }
    name = unescape(name, arena, &bad);
    if (bad) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "model",
                            "The model's name in the path is not valid UTF-8, percent-encoded.");
    }
    if (name.ptr == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    /* Tuned models are a collection beside it, and keep their prefix. */
    if (ps_slice_starts(name, collection)) {
        name = ps_slice(name.ptr + collection.len, name.len - collection.len);
    }
    if (ps_body_check_model(name, ret_fault) != 0) {
        return -1;
    }
    request->model = name;
    return 0;
}

/* A parameter "alt=sse", which may be written "$alt=sse". */
static bool wants_events(struct ps_slice query)
{
    static const char *const spellings[] = {"alt=sse", "$alt=sse", "%24alt=sse"};
    size_t start = 0;

    for (size_t i = 0; i <= query.len; i++) {
        if (i < query.len && query.ptr[i] != '&') {
            continue;
        }
        for (size_t j = 0; j < sizeof(spellings) / sizeof(spellings[0]); j++) {
            if (i > start &&
                ps_slice_ieq(ps_slice(query.ptr + start, i - start), ps_slice_cstr(spellings[j]))) {
                return true;
            }
        }
        start = i + 1;
    }
    return false;
}

int ps_gemini_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    const struct ps_field *found = ps_fields_reader_found(base);
    struct ps_request *request = base->request;
    const struct ps_field *model = found[MODEL].span.end != 0 ? &found[MODEL] : &found[INNER_MODEL];
    struct ps_slice method = PS_SLICE_NONE;

    if (ps_fields_reader_end(base, ret_fault) != 0 ||
        read_path(request, base->arena, &method, ret_fault) != 0) {
        return -1;
    }
    if (model->type == PS_JSON_STRING) {
        request->model_span = model->span; /* says once more what the path says */
    }
    request->stream = request->operation == PS_OP_CHAT &&
                      ps_slice_eq(method, PS_SLICE_LIT("streamGenerateContent"));
    if (request->stream && !wants_events(request->query)) {
        request->shape = PS_GEMINI_ARRAY;
    } else if (ps_slice_eq(method, PS_SLICE_LIT("batchEmbedContents"))) {
        request->shape = PS_GEMINI_BATCH;
    }
    request->include_usage = true; /* its streams always tell it */
    return 0;
}
