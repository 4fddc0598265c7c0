/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"
#include "openai_priv.h"

/*
 * Requests as OpenAI's clients send them. What we act on is checked; everything else passes, known
 * or not, since the upstream knows its own fields best.
 */

#define CHAT     PS_FOR(PS_OP_CHAT)
#define COMPLETE PS_FOR(PS_OP_COMPLETE)
#define EMBED    PS_FOR(PS_OP_EMBED)
#define RERANK   PS_FOR(PS_OP_RERANK)
#define TEXT     (CHAT | COMPLETE)
#define ALL      (CHAT | COMPLETE | EMBED | RERANK)

enum {
    MODEL,
    STREAM,
    STREAM_OPTIONS,
    INCLUDE_USAGE,
    ENCODING_FORMAT,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [MODEL] = {"model", PS_FIELD_MODEL, true, ALL, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, ALL, 0, 0, 0},
    [STREAM_OPTIONS] = {"stream_options", PS_FIELD_OBJECT, true, TEXT, 0, 0, 0},
    [INCLUDE_USAGE] = {"stream_options.include_usage", PS_FIELD_BOOL, true, TEXT, 0, 0, 0},
    /* only noted: an upstream knows what it offers */
    [ENCODING_FORMAT] = {"encoding_format", PS_FIELD_TEXT, false, 0, 0, 0, 0},
    [OTHERS] = {"messages", PS_FIELD_MESSAGES, true, CHAT, CHAT, 0, 0},
    {"messages.*", PS_FIELD_MESSAGE, false, 0, 0, 0, 0},
    {"messages.*.role", PS_FIELD_ROLE, false, 0, 0, 0, 0},
    {"prompt", PS_FIELD_INPUT, true, COMPLETE, COMPLETE, 0, 0},
    {"input", PS_FIELD_INPUT, true, EMBED, EMBED, 0, 0},
    {"max_tokens", PS_FIELD_TOKENS, true, TEXT, 0, 0, 0},
    {"max_completion_tokens", PS_FIELD_TOKENS, true, CHAT, 0, 0, 0},
    {"temperature", PS_FIELD_NUMBER, true, TEXT, 0, 0, 100},
    {"top_p", PS_FIELD_NUMBER, true, TEXT, 0, 0, 1},
    {"n", PS_FIELD_INT, true, TEXT, 0, 1, 128},
    {"seed", PS_FIELD_INT, true, TEXT, 0, 0, 0},
    {"stop", PS_FIELD_STOP, true, TEXT, 0, 0, 0},
    {"stop.*", PS_FIELD_STOP_ITEM, false, 0, 0, 0, 0},
    PS_FIELDS_FORBIDDEN(ALL),
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

/* Paths of the family that we only relay. */
static const struct ps_field_rule pass_rules[] = {
    [MODEL] = {"model", PS_FIELD_MODEL, true, PS_FOR(PS_OP_PASS), 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, 0, 0, 0, 0},
};
#define PASS_RULE_COUNT (sizeof(pass_rules) / sizeof(pass_rules[0]))

static struct ps_json_paths *paths;
static struct ps_json_paths *pass_paths;

int ps_openai_reader_global_init(void)
{
    paths = ps_fields_compile(rules, RULE_COUNT);
    pass_paths = ps_fields_compile(pass_rules, PASS_RULE_COUNT);
    return paths != NULL && pass_paths != NULL ? 0 : -1;
}

void ps_openai_reader_global_deinit(void)
{
    ps_json_paths_free(paths);
    ps_json_paths_free(pass_paths);
    paths = NULL;
    pass_paths = NULL;
}

static enum ps_openai_body body_of(const struct ps_request *request)
{
    struct ps_slice type = ps_dialect_media_type(request->content_type);

    if (request->operation != PS_OP_PASS) {
        return PS_OPENAI_BODY_JSON;
    }
    if (ps_dialect_is_json(type)) {
        return PS_OPENAI_BODY_JSON;
    }
    if (ps_slice_ieq(type, PS_SLICE_LIT("multipart/form-data"))) {
        return PS_OPENAI_BODY_MULTIPART;
    }
    if (type.len == 0 || ps_slice_ieq(type, PS_SLICE_LIT("application/x-www-form-urlencoded"))) {
        return PS_OPENAI_BODY_SNIFF;
    }
    return PS_OPENAI_BODY_OTHER;
}

static int init_multipart(struct ps_openai_reader *reader)
{
    reader->multipart = ps_arena_alloc(reader->base.arena, sizeof(*reader->multipart));
    if (reader->multipart == NULL) {
        return -1;
    }
    reader->form[PS_OPENAI_FORM_MODEL].name = "model";
    reader->form[PS_OPENAI_FORM_STREAM].name = "stream";
    if (ps_multipart_init(reader->multipart, reader->base.request->content_type, reader->form,
                          PS_OPENAI_FORM_FIELDS, &reader->form_fault) != 0) {
        reader->multipart = NULL; /* nothing can be told from here: the first byte is refused */
    }
    return 0;
}

int ps_openai_reader_init(struct ps_reader *base)
{
    struct ps_openai_reader *reader = (struct ps_openai_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};
    bool pass = base->request->operation == PS_OP_PASS;

    reader->body = body_of(base->request);
    if (reader->body == PS_OPENAI_BODY_MULTIPART) {
        return init_multipart(reader);
    }
    return ps_fields_init(&reader->fields, pass ? pass_rules : rules,
                          pass ? PASS_RULE_COUNT : RULE_COUNT, pass ? pass_paths : paths, &limits,
                          base->arena);
}

static void sniff(struct ps_openai_reader *reader, const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] != ' ' && ptr[i] != '\t' && ptr[i] != '\r' && ptr[i] != '\n') {
            reader->body = ptr[i] == '{' ? PS_OPENAI_BODY_JSON : PS_OPENAI_BODY_OTHER;
            return;
        }
    }
}

int ps_openai_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                          struct ps_fault *ret_fault)
{
    struct ps_openai_reader *reader = (struct ps_openai_reader *)base;

    reader->fed = true;
    if (reader->body == PS_OPENAI_BODY_SNIFF) {
        sniff(reader, ptr, len);
    }
    switch (reader->body) {
    case PS_OPENAI_BODY_JSON:
    case PS_OPENAI_BODY_SNIFF: /* white space so far, and JSON may begin with that */
        return ps_fields_feed(&reader->fields, ptr, len, ret_fault);
    case PS_OPENAI_BODY_MULTIPART:
        if (reader->multipart == NULL) {
            *ret_fault = reader->form_fault;
            return -1;
        }
        return ps_multipart_feed(reader->multipart, ptr, len, ret_fault);
    case PS_OPENAI_BODY_OTHER:
    default:
        return 0;
    }
}

/* ---- the body is whole ---- */

#define BASE64_RAW 64 /* escaped at the longest */

static bool wants_base64(const struct ps_openai_reader *reader)
{
    const struct ps_field *field = &reader->fields.found[ENCODING_FORMAT];
    size_t len = (size_t)(field->span.end - field->span.start);
    char raw[BASE64_RAW];

    if (len < 2 || len > sizeof(raw) || field->type != PS_JSON_STRING) {
        return false;
    }
    ps_chain_copy(reader->base.request->body, (size_t)field->span.start, len, raw);
    return ps_json_key_is(ps_slice(raw, len), PS_SLICE_LIT("base64"));
}

static int fill_stream_options(struct ps_openai_reader *reader, struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;
    const struct ps_field *options = &reader->fields.found[STREAM_OPTIONS];
    const struct ps_field *include = &reader->fields.found[INCLUDE_USAGE];

    if (ps_field_has(options) && !request->stream && request->operation != PS_OP_EMBED &&
        request->operation != PS_OP_RERANK) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "stream_options",
                            "stream_options is only allowed when stream is true.");
    }
    request->stream_options_span = options->span;
    request->include_usage_span = include->span;
    request->include_usage = ps_field_true(include);
    request->base64 = request->operation == PS_OP_EMBED && wants_base64(reader);
    request->stream_options_empty =
        ps_field_has(options) && ps_body_is_empty(request->body, options->span);
    return 0;
}

static int finish_json(struct ps_openai_reader *reader, struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;
    const struct ps_field *found = reader->fields.found;

    if (ps_fields_end(&reader->fields, ret_fault) != 0 ||
        ps_fields_check(&reader->fields, request->body, request->operation, ret_fault) != 0) {
        return -1;
    }
    if (found[MODEL].span.end != 0) {
        request->model_span = found[MODEL].span;
        request->model = ps_fields_model(&found[MODEL], request->body, reader->base.arena);
        if (request->model.ptr == NULL) {
            return ps_body_out_of_memory(ret_fault);
        }
    }
    request->stream = ps_field_true(&found[STREAM]);
    return request->operation != PS_OP_PASS ? fill_stream_options(reader, ret_fault) : 0;
}

static int finish_form(struct ps_openai_reader *reader, struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;
    const struct ps_multipart_field *model = &reader->form[PS_OPENAI_FORM_MODEL];
    const struct ps_multipart_field *stream = &reader->form[PS_OPENAI_FORM_STREAM];
    size_t model_len = (size_t)(model->span.end - model->span.start);
    size_t stream_len = (size_t)(stream->span.end - stream->span.start);
    char text[PS_MODEL_BYTES] = "";

    if (reader->multipart == NULL) {
        *ret_fault = reader->form_fault;
        return -1;
    }
    if (ps_multipart_finish(reader->multipart, ret_fault) != 0) {
        return -1;
    }
    request->multipart = true;
    if (stream->given && stream_len == 4) {
        ps_chain_copy(request->body, (size_t)stream->span.start, stream_len, text);
        request->stream = ps_slice_eq(ps_slice(text, stream_len), PS_SLICE_LIT("true"));
    }
    if (!model->given) {
        return 0;
    }
    if (model_len <= sizeof(text)) {
        ps_chain_copy(request->body, (size_t)model->span.start, model_len, text);
    }
    if (ps_body_check_model(ps_slice(text, model_len), ret_fault) != 0) {
        return -1;
    }
    request->model_span = model->span;
    request->model = ps_arena_copy(reader->base.arena, ps_slice(text, model_len));
    return request->model.ptr != NULL ? 0 : ps_body_out_of_memory(ret_fault);
}

int ps_openai_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_openai_reader *reader = (struct ps_openai_reader *)base;

    if (base->request->operation == PS_OP_PASS && !reader->fed) {
        return 0; /* a GET, a DELETE: no body, whatever its type says */
    }
    switch (reader->body) {
    case PS_OPENAI_BODY_JSON:
        return finish_json(reader, ret_fault);
    case PS_OPENAI_BODY_MULTIPART:
        return finish_form(reader, ret_fault);
    case PS_OPENAI_BODY_SNIFF:
    case PS_OPENAI_BODY_OTHER:
    default:
        return 0;
    }
}
