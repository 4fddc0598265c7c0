/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama_priv.h"

/*
 * Requests as Ollama's clients send them. What we act on is checked; everything else passes, since
 * an upstream of the family knows its own fields best. A request for another family is read to its
 * last field later, in ollama_front.c.
 */

#define CHAT PS_FOR(PS_OP_CHAT)
#define SHOW PS_FOR(PS_OP_PASS)
#define ALL  (CHAT | SHOW | PS_FOR(PS_OP_EMBED))

enum {
    MODEL,
    NAME,
    STREAM,
    PROMPT,
    MESSAGES,
    KEEP_ALIVE,
};

static const struct ps_field_rule rules[] = {
    [MODEL] = {"model", PS_FIELD_MODEL, true, ALL, 0, 0, 0},
    [NAME] = {"name", PS_FIELD_MODEL, false, SHOW, 0, 0, 0}, /* what older clients call it */
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [PROMPT] = {"prompt", PS_FIELD_TEXT, true, CHAT, 0, 0, 0},
    [MESSAGES] = {"messages", PS_FIELD_MESSAGES, true, 0, 0, 0, 0},
    [KEEP_ALIVE] = {"keep_alive", PS_FIELD_TEXT, false, 0, 0, 0, 0},
    {"base_url", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
    {"api_base", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
    {"api_key", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
    {"custom_llm_provider", PS_FIELD_FORBIDDEN, false, ALL, 0, 0, 0},
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

static struct ps_json_paths *paths;

int ps_ollama_reader_global_init(void)
{
    paths = ps_fields_compile(rules, RULE_COUNT);
    return paths != NULL ? 0 : -1;
}

void ps_ollama_reader_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

int ps_ollama_reader_init(struct ps_reader *base)
{
    struct ps_ollama_reader *reader = (struct ps_ollama_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    return ps_fields_init(&reader->fields, rules, RULE_COUNT, paths, &limits, base->arena);
}

int ps_ollama_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                          struct ps_fault *ret_fault)
{
    struct ps_ollama_reader *reader = (struct ps_ollama_reader *)base;

    return ps_fields_feed(&reader->fields, ptr, len, ret_fault);
}

/* ---- which door ---- */

static bool ends_with(struct ps_slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len >= len && memcmp(text.ptr + text.len - len, end, len) == 0;
}

static enum ps_ollama_shape shape_of(const struct ps_request *request)
{
    if (request->operation == PS_OP_PASS) {
        return PS_OLLAMA_SHOW;
    }
    if (request->operation == PS_OP_EMBED) {
        return ends_with(request->path, "/embeddings") ? PS_OLLAMA_EMBEDDINGS : PS_OLLAMA_EMBED;
    }
    return ends_with(request->path, "/generate") ? PS_OLLAMA_GENERATE : PS_OLLAMA_CHAT;
}

/* ---- requests that ask a model for nothing ---- */

static bool is_empty(const struct ps_field *field, const struct ps_chain *body)
{
    if (!ps_field_has(field)) {
        return true;
    }
    return field->type == PS_JSON_ARRAY ? ps_body_is_empty(body, field->span)
                                        : field->span.end - field->span.start == 2;
}

/* 0, "0", "0s" and so on. */
static bool is_zero(const struct ps_field *field, const struct ps_chain *body)
{
    uint64_t at = field->span.start;
    bool zero = ps_field_has(field);

    while (zero && at < field->span.end) {
        char byte = ps_body_next(body, &at);

        zero = byte < '1' || byte > '9';
        at++;
    }
    return zero;
}

/* A model that is asked for nothing is to be loaded, or to go. */
static void note_idle(const struct ps_field *found, struct ps_request *request)
{
    enum ps_ollama_shape shape = ps_ollama_shape_of(request);
    bool chat = shape == PS_OLLAMA_CHAT;

    if (shape == PS_OLLAMA_SHOW) {
        request->own_answer = true;
    } else if ((chat || shape == PS_OLLAMA_GENERATE) &&
               is_empty(&found[chat ? MESSAGES : PROMPT], request->body)) {
        request->own_answer = true;
        request->shape |= is_zero(&found[KEEP_ALIVE], request->body) ? PS_OLLAMA_UNLOADS : 0;
    }
}

int ps_ollama_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_ollama_reader *reader = (struct ps_ollama_reader *)base;
    struct ps_request *request = base->request;
    const struct ps_field *found = reader->fields.found;
    const struct ps_field *model = &found[MODEL];
    const struct ps_field *stream = &found[STREAM];

    if (ps_fields_end(&reader->fields, ret_fault) != 0 ||
        ps_fields_check(&reader->fields, request->body, request->operation, ret_fault) != 0) {
        return -1;
    }
    if (request->operation == PS_OP_PASS && model->span.end == 0) {
        model = &found[NAME];
    }
    if (model->span.end != 0) {
        request->model_span = model->span;
        request->model = ps_fields_model(model, request->body, base->arena);
        if (request->model.ptr == NULL) {
            return ps_body_out_of_memory(ret_fault);
        }
    }
    /* Its answers are streams unless the client says otherwise. */
    request->stream =
        request->operation == PS_OP_CHAT && (!ps_field_has(stream) || ps_field_true(stream));
    request->include_usage = true;
    request->shape = shape_of(request);
    note_idle(found, request);
    return 0;
}
