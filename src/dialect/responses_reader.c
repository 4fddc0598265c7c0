/* SPDX-License-Identifier: Apache-2.0 */
#include "fields_reader.h"
#include "responses_priv.h"

#include "penstock/base/mem.h"

/*
 * Requests of OpenAI's Responses API. What we act on is checked; everything else passes, known or
 * not, since an upstream that has this API itself knows its own fields best. A request for any
 * other is read to its last field later, in responses_request.c.
 */

#define CHAT PS_FOR(PS_OP_CHAT)

enum {
    MODEL,
    STREAM,
    PREVIOUS,
    INPUT,
    ELEMENT,
    ELEMENT_TYPE,
    ELEMENT_ID,
    ELEMENT_ROLE,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [MODEL] = {"model", PS_FIELD_MODEL, true, CHAT, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [PREVIOUS] = {"previous_response_id", PS_FIELD_FILLED, true, CHAT, 0, 0, 0},
    /* only noted: what the response before said may go in front of it */
    [INPUT] = {"input", PS_FIELD_TEXT, true, 0, 0, 0, 0},
    /* some of them may only name items that are kept */
    [ELEMENT] = {"input.*", PS_FIELD_EACH, false, 0, 0, 0, 0},
    [ELEMENT_TYPE] = {"input.*.type", PS_FIELD_EACH, false, 0, 0, 0, 0},
    [ELEMENT_ID] = {"input.*.id", PS_FIELD_EACH, false, 0, 0, 0, 0},
    [ELEMENT_ROLE] = {"input.*.role", PS_FIELD_EACH, false, 0, 0, 0, 0},
    [OTHERS] = {"store", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    {"background", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    {"max_output_tokens", PS_FIELD_TOKENS, true, CHAT, 0, 0, 0},
    {"temperature", PS_FIELD_NUMBER, true, CHAT, 0, 0, 100},
    {"top_p", PS_FIELD_NUMBER, true, CHAT, 0, 0, 1},
    PS_FIELDS_FORBIDDEN(CHAT),
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

#define ID_RAW 512 /* of a previous response: a longer one names none */

static struct ps_json_paths *paths;

int ps_responses_reader_global_init(void)
{
    paths = ps_fields_compile(rules, RULE_COUNT);
    return paths != NULL ? 0 : -1;
}

void ps_responses_reader_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

static void free_values(void *arg)
{
    struct ps_responses_values *values = arg;

    ps_free(values->body);
}

static void on_element(void *arg, const struct ps_json_value *value)
{
    struct ps_responses_reader *reader = arg;

    ps_responses_note(&reader->candidates,
                      (enum ps_responses_element)(value->path - ELEMENT + PS_RESPONSES_ELEMENT),
                      value, reader->base.arena);
}

int ps_responses_reader_init(struct ps_reader *base)
{
    struct ps_responses_reader *reader = (struct ps_responses_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    base->request->responses = ps_arena_calloc(base->arena, sizeof(*base->request->responses));
    if (base->request->responses == NULL ||
        ps_arena_defer(base->arena, free_values, base->request->responses) != 0) {
        return -1;
    }
    reader->fields.each = on_element;
    reader->fields.each_arg = reader;
    return ps_fields_init(&reader->fields, rules, RULE_COUNT, paths, &limits, base->arena);
}

int ps_responses_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                             struct ps_fault *ret_fault)
{
    struct ps_responses_reader *reader = (struct ps_responses_reader *)base;

    return ps_fields_feed(&reader->fields, ptr, len, ret_fault);
}

static int read_previous(struct ps_responses_reader *reader, struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;
    const struct ps_field *field = &reader->fields.found[PREVIOUS];
    struct ps_slice raw;

    request->input_span = reader->fields.found[INPUT].span;
    request->previous_span = field->span;
    if (!ps_field_has(field)) {
        return 0;
    }
    if (field->span.end - field->span.start > ID_RAW) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "previous_response_id",
                            "previous_response_id must be the id of a response.");
    }
    raw = ps_body_piece(request->body, field->span, reader->base.arena);
    request->previous_id = raw.ptr != NULL ? ps_raw_plain(raw, reader->base.arena) : PS_SLICE_NONE;
    return request->previous_id.ptr != NULL ? 0 : ps_body_out_of_memory(ret_fault);
}

int ps_responses_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_responses_reader *reader = (struct ps_responses_reader *)base;
    struct ps_request *request = base->request;
    const struct ps_field *found = reader->fields.found;

    if (ps_fields_end(&reader->fields, ret_fault) != 0 ||
        ps_fields_check(&reader->fields, request->body, request->operation, ret_fault) != 0) {
        return -1;
    }
    if (ps_fields_take_model(&found[MODEL], request, base->arena, ret_fault) != 0) {
        return -1;
    }
    request->stream = ps_field_true(&found[STREAM]);
    request->include_usage = true; /* its answers always tell it */
    if (ps_responses_find_references(&reader->candidates, request, base->arena) != 0) {
        return ps_body_out_of_memory(ret_fault);
    }
    return read_previous(reader, ret_fault);
}
