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
    PS_FIELDS_FORBIDDEN(CHAT),
};

static struct ps_field_table table = PS_FIELD_TABLE(rules);

int ps_tgi_reader_global_init(void)
{
    return ps_field_table_compile(&table);
}

void ps_tgi_reader_global_deinit(void)
{
    ps_field_table_free(&table);
}

int ps_tgi_reader_init(struct ps_reader *base)
{
    return ps_fields_reader_init(base, &table);
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
    const struct ps_field *found = ps_fields_reader_found(base);
    struct ps_request *request = base->request;

    if (ps_fields_reader_end(base, ret_fault) != 0 ||
        ps_fields_take_model(&found[MODEL], request, base->arena, ret_fault) != 0) {
        return -1;
    }
    request->stream =
        ps_slice_eq_cstr(request->path, "/generate_stream") || ps_field_true(&found[STREAM]);
    return ps_tgi_take(
        request,
        &(struct ps_tgi_found){&found[INPUTS], &found[SEED], &found[DETAILS], &found[FULL_TEXT]},
        base->arena, ret_fault);
}
