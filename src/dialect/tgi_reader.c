/* SPDX-License-Identifier: Apache-2.0 */
#include "json_out.h"
#include "tgi_priv.h"

/*
 * Requests as clients of TGI send them: {"inputs":"…","parameters":{…}}, at "/" and our /generate
 * with "stream" beside. What we act on is checked; a TGI knows its parameters best, and for others
 * tgi_request.c reads them. (At /generate the reader of our own shape finds `inputs`.)
 */

#define CHAT PS_FOR(PS_OP_CHAT)

enum {
    INPUTS,
    MODEL,
    STREAM,
    SEED,
    DETAILS,
    FULL_TEXT,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [INPUTS] = {"inputs", PS_FIELD_FILLED, true, CHAT, CHAT, 0, 0},
    [MODEL] = {"model", PS_FIELD_MODEL, true, CHAT, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [SEED] = {"parameters.seed", PS_FIELD_INT, true, 0, 0, 0, 0},
    [DETAILS] = {"parameters.details", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [FULL_TEXT] = {"parameters.return_full_text", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [OTHERS] = {"parameters", PS_FIELD_OBJECT, true, CHAT, 0, 0, 0},
    {"base_url", PS_FIELD_FORBIDDEN, false, CHAT, 0, 0, 0},
    {"api_base", PS_FIELD_FORBIDDEN, false, CHAT, 0, 0, 0},
    {"api_key", PS_FIELD_FORBIDDEN, false, CHAT, 0, 0, 0},
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

static struct ps_json_paths *paths;

int ps_tgi_reader_global_init(void)
{
    paths = ps_fields_compile(rules, RULE_COUNT);
    return paths != NULL ? 0 : -1;
}

void ps_tgi_reader_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

int ps_tgi_reader_init(struct ps_reader *base)
{
    struct ps_tgi_reader *reader = (struct ps_tgi_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    return ps_fields_init(&reader->fields, rules, RULE_COUNT, paths, &limits, base->arena);
}

int ps_tgi_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                       struct ps_fault *ret_fault)
{
    struct ps_tgi_reader *reader = (struct ps_tgi_reader *)base;

    return ps_fields_feed(&reader->fields, ptr, len, ret_fault);
}

/* A copy that lives as long as the arena; ptr NULL when memory is short. */
static struct ps_slice keep(const struct ps_chain *body, struct ps_span span,
                            struct ps_arena *arena)
{
    size_t len = (size_t)(span.end - span.start);
    char *copy = ps_arena_side(arena, len, 1);

    if (copy == NULL) {
        return PS_SLICE_NONE;
    }
    ps_chain_copy(body, span.start, len, copy);
    return ps_slice(copy, len);
}

int ps_tgi_take(struct ps_request *request, const struct ps_tgi_found *found,
                struct ps_arena *arena, struct ps_fault *ret_fault)
{
    struct ps_generate_values *values = ps_arena_calloc(arena, sizeof(*values));
    bool full_text = ps_field_true(found->full_text);
    bool seeded = found->seed->span.end != 0 && found->seed->type == PS_JSON_NUMBER;

    if (values == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    if (full_text) {
        values->prompt = keep(request->body, found->inputs->span, arena);
    }
    if (seeded) {
        values->seed = keep(request->body, found->seed->span, arena);
    }
    if ((full_text && values->prompt.ptr == NULL) || (seeded && values->seed.ptr == NULL)) {
        return ps_body_out_of_memory(ret_fault);
    }
    request->family = PS_FAMILY_TGI;
    request->generate = values;
    request->include_usage = true;
    request->shape = (ps_slice_eq_cstr(request->path, "/") ? PS_TGI_COMPAT : 0U) |
                     (ps_field_true(found->details) ? PS_TGI_DETAILS : 0U);
    return 0;
}

int ps_tgi_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_tgi_reader *reader = (struct ps_tgi_reader *)base;
    struct ps_request *request = base->request;
    const struct ps_field *found = reader->fields.found;

    if (ps_fields_end(&reader->fields, ret_fault) != 0 ||
        ps_fields_check(&reader->fields, request->body, request->operation, ret_fault) != 0) {
        return -1;
    }
    if (found[MODEL].span.end != 0) {
        request->model_span = found[MODEL].span;
        request->model = ps_fields_model(&found[MODEL], request->body, base->arena);
        if (request->model.ptr == NULL) {
            return ps_body_out_of_memory(ret_fault);
        }
    }
    request->stream =
        ps_slice_eq_cstr(request->path, "/generate_stream") || ps_field_true(&found[STREAM]);
    return ps_tgi_take(
        request,
        &(struct ps_tgi_found){&found[INPUTS], &found[SEED], &found[DETAILS], &found[FULL_TEXT]},
        base->arena, ret_fault);
}
