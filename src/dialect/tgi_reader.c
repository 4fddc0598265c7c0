/* SPDX-License-Identifier: Apache-2.0 */
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
    DETAILS,
    FULL_TEXT,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [INPUTS] = {"inputs", PS_FIELD_FILLED, true, CHAT, CHAT, 0, 0},
    [MODEL] = {"model", PS_FIELD_MODEL, true, CHAT, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
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
    request->shape = (ps_slice_eq_cstr(request->path, "/") ? PS_TGI_COMPAT : 0U) |
                     (ps_field_true(&found[DETAILS]) ? PS_TGI_DETAILS : 0U) |
                     (ps_field_true(&found[FULL_TEXT]) ? PS_TGI_FULL_TEXT : 0U);
    request->stream =
        ps_slice_eq_cstr(request->path, "/generate_stream") || ps_field_true(&found[STREAM]);
    request->include_usage = true;
    return 0;
}
