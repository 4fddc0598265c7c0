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
    PS_FIELDS_FORBIDDEN(ALL),
};

static struct ps_field_table table = PS_FIELD_TABLE(rules);

int ps_ollama_reader_global_init(void)
{
    return ps_field_table_compile(&table);
}

void ps_ollama_reader_global_deinit(void)
{
    ps_field_table_free(&table);
}

int ps_ollama_reader_init(struct ps_reader *base)
{
    return ps_fields_reader_init(base, &table);
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
    const struct ps_field *found = ps_fields_reader_found(base);
    struct ps_request *request = base->request;
    const struct ps_field *model = &found[MODEL];
    const struct ps_field *stream = &found[STREAM];

    if (ps_fields_reader_end(base, ret_fault) != 0) {
        return -1;
    }
    if (request->operation == PS_OP_PASS && model->span.end == 0) {
        model = &found[NAME];
    }
    if (ps_fields_take_model(model, request, base->arena, ret_fault) != 0) {
        return -1;
    }
    /* Its answers are streams unless the client says otherwise. */
    request->stream =
        request->operation == PS_OP_CHAT && (!ps_field_has(stream) || ps_field_true(stream));
    request->include_usage = true;
    request->shape = shape_of(request);
    note_idle(found, request);
    return 0;
}
