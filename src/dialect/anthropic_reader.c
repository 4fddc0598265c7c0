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
    {"base_url", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
    {"api_base", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
    {"api_key", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
    {"custom_llm_provider", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

static struct ps_json_paths *paths;

int ps_anthropic_reader_global_init(void)
{
    paths = ps_fields_compile(rules, RULE_COUNT);
    return paths != NULL ? 0 : -1;
}

void ps_anthropic_reader_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

int ps_anthropic_reader_init(struct ps_reader *base)
{
    struct ps_anthropic_reader *reader = (struct ps_anthropic_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    return ps_fields_init(&reader->fields, rules, RULE_COUNT, paths, &limits, base->arena);
}

int ps_anthropic_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                             struct ps_fault *ret_fault)
{
    struct ps_anthropic_reader *reader = (struct ps_anthropic_reader *)base;

    return ps_fields_feed(&reader->fields, ptr, len, ret_fault);
}

int ps_anthropic_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_anthropic_reader *reader = (struct ps_anthropic_reader *)base;
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
    request->stream = request->operation == PS_OP_CHAT && ps_field_true(&found[STREAM]);
    request->include_usage = true; /* its streams always tell it */
    return 0;
}
