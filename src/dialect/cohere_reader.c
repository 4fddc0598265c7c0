/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"

/*
 * Requests as Cohere's clients send them. What we act on is checked; everything else passes, known
 * or not, since the upstream knows its own fields best. A request for another family is read to its
 * last field later, in cohere_front.c.
 */

#define CHAT   PS_FOR(PS_OP_CHAT)
#define EMBED  PS_FOR(PS_OP_EMBED)
#define RERANK PS_FOR(PS_OP_RERANK)
#define ALL    (CHAT | EMBED | RERANK)

enum {
    MODEL,
    STREAM,
    EMBEDDING_TYPES,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [MODEL] = {"model", PS_FIELD_MODEL, true, ALL, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [EMBEDDING_TYPES] = {"embedding_types", PS_FIELD_INPUT, true, 0, 0, 0, 0},
    [OTHERS] = {"messages", PS_FIELD_MESSAGES, true, CHAT, CHAT, 0, 0},
    {"messages.*", PS_FIELD_MESSAGE, false, 0, 0, 0, 0},
    {"messages.*.role", PS_FIELD_ROLE, false, 0, 0, 0, 0},
    {"query", PS_FIELD_TEXT, true, RERANK, RERANK, 0, 0},
    {"documents", PS_FIELD_INPUT, true, RERANK, RERANK, 0, 0},
    {"max_tokens", PS_FIELD_TOKENS, true, CHAT, 0, 0, 0},
    {"temperature", PS_FIELD_NUMBER, true, CHAT, 0, 0, 100},
    {"p", PS_FIELD_NUMBER, true, CHAT, 0, 0, 1},
    {"k", PS_FIELD_INT, true, CHAT, 0, 0, INT32_MAX},
    {"stop_sequences", PS_FIELD_STOP, true, CHAT, 0, 0, 0},
    {"stop_sequences.*", PS_FIELD_STOP_ITEM, false, 0, 0, 0, 0},
    PS_FIELDS_FORBIDDEN(ALL),
};

static struct ps_field_table table = PS_FIELD_TABLE(rules);

int ps_cohere_reader_global_init(void)
{
    return ps_field_table_compile(&table);
}

void ps_cohere_reader_global_deinit(void)
{
    ps_field_table_free(&table);
}

int ps_cohere_reader_init(struct ps_reader *base)
{
    return ps_fields_reader_init(base, &table);
}

/* Which vectors are wanted, of those that can be made of floats. */
static int note_types(struct ps_reader *base, const struct ps_field *field)
{
    struct ps_request *request = base->request;
    struct ps_json_walk walk;
    struct ps_slice type;
    struct ps_slice raw;

    if (request->operation != PS_OP_EMBED || field->span.end == 0) {
        return 0;
    }
    raw = ps_body_piece(request->body, field->span, base->arena);
    if (raw.ptr == NULL) {
        return -1;
    }
    ps_json_walk_init(&walk, raw);
    while (ps_raw_begins(raw, '[') && ps_json_walk_element(&walk, &type)) {
        request->shape |= ps_raw_word(type, "float")    ? PS_COHERE_FLOAT
                          : ps_raw_word(type, "base64") ? PS_COHERE_BASE64
                                                        : 0;
    }
    return 0;
}

int ps_cohere_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    const struct ps_field *found = ps_fields_reader_found(base);
    struct ps_request *request = base->request;

    if (ps_fields_reader_end(base, ret_fault) != 0 ||
        ps_fields_take_model(&found[MODEL], request, base->arena, ret_fault) != 0) {
        return -1;
    }
    if (note_types(base, &found[EMBEDDING_TYPES]) != 0) {
        return ps_body_out_of_memory(ret_fault);
    }
    request->stream = request->operation == PS_OP_CHAT && ps_field_true(&found[STREAM]);
    request->include_usage = true; /* its answers always tell it */
    return 0;
}
