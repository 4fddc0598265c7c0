/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"

/*
 * Requests as Anthropic's clients send them. What we act on is checked; everything else passes,
 * known or not, since the upstream knows its own fields best. A request for another family is read
 * to its last field later, in anthropic_request.c.
 */

#define CHAT  PS_FOR(PS_OP_CHAT)
#define COUNT PS_FOR(PS_OP_COUNT_TOKENS)
#define ALL   (CHAT | COUNT)

enum {
    MODEL,
    STREAM,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [MODEL] = {"model", PS_FIELD_MODEL, true, ALL, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [OTHERS] = {"messages", PS_FIELD_MESSAGES, true, ALL, ALL, 0, 0},
    {"messages.*", PS_FIELD_MESSAGE, false, 0, 0, 0, 0},
    {"messages.*.role", PS_FIELD_ROLE, false, 0, 0, 0, 0},
    /* none at all warms the provider's cache: only an upstream of the family can */
    {"max_tokens", PS_FIELD_INT, true, CHAT, CHAT, 0, INT32_MAX},
    {"temperature", PS_FIELD_NUMBER, true, CHAT, 0, 0, 100},
    {"top_p", PS_FIELD_NUMBER, true, CHAT, 0, 0, 1},
    PS_FIELDS_FORBIDDEN(ALL),
};

static struct ps_field_table table = PS_FIELD_TABLE(rules);

int ps_anthropic_reader_global_init(void)
{
    return ps_field_table_compile(&table);
}

void ps_anthropic_reader_global_deinit(void)
{
    ps_field_table_free(&table);
}

int ps_anthropic_reader_init(struct ps_reader *base)
{
    return ps_fields_reader_init(base, &table);
}

int ps_anthropic_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    const struct ps_field *found = ps_fields_reader_found(base);
    struct ps_request *request = base->request;

    if (ps_fields_reader_end(base, ret_fault) != 0 ||
        ps_fields_take_model(&found[MODEL], request, base->arena, ret_fault) != 0) {
        return -1;
    }
    request->stream = request->operation == PS_OP_CHAT && ps_field_true(&found[STREAM]);
    request->include_usage = true; /* its streams always tell it */
    return 0;
}
