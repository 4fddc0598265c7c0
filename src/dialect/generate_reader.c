/* SPDX-License-Identifier: Apache-2.0 */
#include "generate_priv.h"
#include "tgi_priv.h"

#include "penstock/base/mem.h"

/*
 * Requests to /generate: a JSON object of exactly our fields, or text that is the prompt. There is
 * no upstream that speaks this, so all values are taken at once. An object with `text` is of
 * SGLang's shape (generate_sglang.c), which only this door has. An object with `inputs` is of
 * TGI's family, which has a door at the same path: it goes on as one of those.
 */

#define CHAT     PS_FOR_ALL
#define TEXT_MAX ((size_t)1 << 28) /* of a text prompt, escaped */

enum {
    PROMPT,
    MESSAGES,
    SYSTEM,
    MODEL,
    MAX_TOKENS,
    TEMPERATURE,
    TOP_P,
    STOP,
    SEED,
    STREAM,
    BACKGROUND,
    WEBHOOK,
    TEXT,
    INPUTS,
    TGI_SEED,
    DETAILS,
    FULL_TEXT,
    OTHERS,
};

static const struct ps_field_rule rules[] = {
    [PROMPT] = {"prompt", PS_FIELD_FILLED, true, CHAT, 0, 0, 0},
    [MESSAGES] = {"messages", PS_FIELD_MESSAGES, true, CHAT, 0, 0, 0},
    [SYSTEM] = {"system", PS_FIELD_TEXT, true, CHAT, 0, 0, 0},
    [MODEL] = {"model", PS_FIELD_MODEL, true, CHAT, 0, 0, 0},
    [MAX_TOKENS] = {"max_tokens", PS_FIELD_TOKENS, true, CHAT, 0, 0, 0},
    [TEMPERATURE] = {"temperature", PS_FIELD_NUMBER, true, CHAT, 0, 0, 100},
    [TOP_P] = {"top_p", PS_FIELD_NUMBER, true, CHAT, 0, 0, 1},
    [STOP] = {"stop", PS_FIELD_STOP, true, CHAT, 0, 0, 0},
    [SEED] = {"seed", PS_FIELD_INT, true, CHAT, 0, 0, 0},
    [STREAM] = {"stream", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [BACKGROUND] = {"background", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [WEBHOOK] = {"webhook", PS_FIELD_WEBHOOK, true, CHAT, 0, 0, 0},
    [TEXT] = {"text", PS_FIELD_FILLED, true, CHAT, 0, 0, 0},
    [INPUTS] = {"inputs", PS_FIELD_FILLED, true, CHAT, 0, 0, 0},
    [TGI_SEED] = {"parameters.seed", PS_FIELD_INT, true, 0, 0, 0, 0},
    [DETAILS] = {"parameters.details", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [FULL_TEXT] = {"parameters.return_full_text", PS_FIELD_BOOL, true, CHAT, 0, 0, 0},
    [OTHERS] = {"messages.*", PS_FIELD_MESSAGE, false, 0, 0, 0, 0},
    {"messages.*.role", PS_FIELD_ROLE, false, 0, 0, 0, 0},
    {"stop.*", PS_FIELD_STOP_ITEM, false, 0, 0, 0, 0},
    PS_FIELDS_FORBIDDEN(CHAT),
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

static struct ps_json_paths *paths;

int ps_generate_reader_global_init(void)
{
    paths = ps_fields_compile(rules, RULE_COUNT);
    return paths != NULL ? 0 : -1;
}

void ps_generate_reader_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

static void free_text(void *arg)
{
    struct ps_generate_reader *reader = arg;

    ps_buf_deinit(&reader->text);
}

int ps_generate_reader_init(struct ps_reader *base)
{
    struct ps_generate_reader *reader = (struct ps_generate_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    reader->body = base->options.bare_text      ? PS_GENERATE_TEXT
                   : base->options.text_or_json ? PS_GENERATE_SNIFF
                                                : PS_GENERATE_JSON;
    reader->walk = (struct ps_key_walk){.rules = rules, .rule_count = RULE_COUNT};
    ps_buf_init(&reader->text, TEXT_MAX);
    if (ps_arena_defer(base->arena, free_text, reader) != 0) {
        return -1;
    }
    return ps_fields_init(&reader->fields, rules, RULE_COUNT, paths, &limits, base->arena);
}

/* ---- text ---- */

static void escape_byte(struct ps_buf *buf, char byte)
{
    static const char digits[] = "0123456789abcdef";
    char hex[6] = {
        '\\', 'u', '0', '0', digits[(unsigned char)byte >> 4], digits[(unsigned char)byte & 15]};

    switch (byte) {
    case '"':
        ps_buf_cstr(buf, "\\\"");
        break;
    case '\\':
        ps_buf_cstr(buf, "\\\\");
        break;
    case '\n':
        ps_buf_cstr(buf, "\\n");
        break;
    case '\r':
        ps_buf_cstr(buf, "\\r");
        break;
    case '\t':
        ps_buf_cstr(buf, "\\t");
        break;
    default:
        ps_buf_append(buf, hex, sizeof(hex));
        break;
    }
}

static int feed_text(struct ps_generate_reader *reader, const char *ptr, size_t len,
                     struct ps_fault *ret_fault)
{
    struct ps_buf *text = &reader->text;
    const char *nul = memchr(ptr, '\0', len);
    size_t run = 0;

    /* Whichever comes first, so that cuts change nothing. */
    if (!ps_utf8_feed(&reader->utf8, ptr, nul != NULL ? (size_t)(nul - ptr) : len)) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "prompt",
                            "The prompt is not valid UTF-8.");
    }
    if (nul != NULL) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "prompt",
                            "The prompt must not hold a NUL byte.");
    }
    if (text->len == 0) {
        ps_buf_byte(text, '"');
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)ptr[i];

        if (byte < 0x20 || byte == '"' || byte == '\\') {
            ps_buf_append(text, ptr + run, i - run);
            escape_byte(text, ptr[i]);
            run = i + 1;
        }
    }
    ps_buf_append(text, ptr + run, len - run);
    return text->failed ? ps_body_out_of_memory(ret_fault) : 0;
}

static int finish_text(struct ps_generate_reader *reader, struct ps_generate_values *values,
                       struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;

    if (!ps_utf8_whole(&reader->utf8)) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "prompt",
                            "The prompt is not valid UTF-8.");
    }
    if (reader->text.len == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "prompt",
                            "The prompt must not be empty.");
    }
    ps_buf_byte(&reader->text, '"');
    if (reader->text.failed) {
        return ps_body_out_of_memory(ret_fault);
    }
    values->prompt = ps_buf_view(&reader->text);
    values->bare = true;
    request->stream = reader->base.options.want_text;
    return 0;
}

static int feed_text_of_chain(struct ps_generate_reader *reader, struct ps_fault *ret_fault)
{
    const struct ps_chain *body = reader->base.request->body;

    for (size_t at = 0; at < body->len;) {
        struct ps_slice run = ps_chain_run(body, at, body->len - at);

        if (feed_text(reader, run.ptr, run.len, ret_fault) != 0) {
            return -1;
        }
        at += run.len;
    }
    return 0;
}

/* ---- JSON ---- */

/*
 * Whether the mistake means that the text was never meant as JSON. A name twice, or too much of it,
 * is a mistake in what was.
 */
static bool is_no_json(const struct ps_json_scan *scan)
{
    return scan->error != PS_JSON_DUPLICATE && scan->error != PS_JSON_DEPTH &&
           scan->error != PS_JSON_NODES;
}

static int feed_json(struct ps_generate_reader *reader, const char *ptr, size_t len,
                     struct ps_fault *ret_fault)
{
    if (ps_fields_feed(&reader->fields, ptr, len, ret_fault) != 0) {
        if (reader->body == PS_GENERATE_EITHER && is_no_json(&reader->fields.scan)) {
            reader->body = PS_GENERATE_LATER;
            return 0;
        }
        return -1;
    }
    ps_key_walk_feed(&reader->walk, ptr, len);
    return 0;
}

static int check_together(const struct ps_generate_reader *reader, struct ps_fault *ret_fault)
{
    const struct ps_field *found = reader->fields.found;

    if (!ps_field_has(&found[PROMPT]) && !ps_field_has(&found[MESSAGES])) {
        return ps_fault_set(ret_fault, PS_FAULT_MISSING_FIELD, "prompt",
                            "prompt or messages is required.");
    }
    if (ps_field_has(&found[PROMPT]) && ps_field_has(&found[MESSAGES])) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "messages",
                            "prompt and messages must not be given together.");
    }
    if (ps_field_true(&found[BACKGROUND]) && ps_field_true(&found[STREAM])) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "background",
                            "background and stream must not be true together.");
    }
    return 0;
}

static int take_pieces(const struct ps_generate_reader *reader, struct ps_generate_values *values,
                       struct ps_fault *ret_fault)
{
    const struct ps_field *found = reader->fields.found;
    const struct {
        int field;
        struct ps_slice *slice;
    } pieces[] = {
        {SYSTEM, &values->system},
        {PROMPT, &values->prompt},
        {MESSAGES, &values->messages},
        {MAX_TOKENS, &values->max_tokens},
        {TOP_P, &values->top_p},
        {SEED, &values->seed},
        {TEMPERATURE, &values->temperature},
        {STOP, &values->stop},
        {WEBHOOK, &values->webhook},
    };

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        if (ps_field_has(&found[pieces[i].field])) {
            *pieces[i].slice = ps_body_piece(reader->base.request->body,
                                             found[pieces[i].field].span, reader->base.arena);
            if (pieces[i].slice->ptr == NULL) {
                return ps_body_out_of_memory(ret_fault);
            }
        }
    }
    return 0;
}

static int take_model(const struct ps_generate_reader *reader, struct ps_fault *ret_fault)
{
    return ps_fields_take_model(&reader->fields.found[MODEL], reader->base.request,
                                reader->base.arena, ret_fault);
}

/* What goes on in another shape: names that we do not know are no mistake there. */
static int check_theirs(const struct ps_generate_reader *reader, const char *prompt,
                        struct ps_fault *ret_fault)
{
    static const int ours[] = {PROMPT, MESSAGES, BACKGROUND, WEBHOOK};
    const struct ps_request *request = reader->base.request;
    const struct ps_field *found = reader->fields.found;

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (ps_field_has(&found[ours[i]])) {
            return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, rules[ours[i]].path,
                                "%s and %s must not be given together.", rules[ours[i]].path,
                                prompt);
        }
    }
    return ps_fields_check(&reader->fields, request->body, request->operation, ret_fault);
}

static int finish_sglang(struct ps_generate_reader *reader, struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;

    if (check_theirs(reader, "text", ret_fault) != 0 || take_model(reader, ret_fault) != 0) {
        return -1;
    }
    request->shape = PS_GENERATE_SGLANG;
    request->include_usage = true;
    request->stream =
        reader->base.options.want_text || ps_field_true(&reader->fields.found[STREAM]);
    return 0;
}

static int finish_tgi(struct ps_generate_reader *reader, struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;
    const struct ps_field *found = reader->fields.found;

    if (check_theirs(reader, "inputs", ret_fault) != 0 || take_model(reader, ret_fault) != 0) {
        return -1;
    }
    request->stream = ps_field_true(&found[STREAM]);
    return ps_tgi_take(request,
                       &(struct ps_tgi_found){&found[INPUTS], &found[TGI_SEED], &found[DETAILS],
                                              &found[FULL_TEXT]},
                       reader->base.arena, ret_fault);
}

static int finish_json(struct ps_generate_reader *reader, struct ps_generate_values *values,
                       struct ps_fault *ret_fault)
{
    struct ps_request *request = reader->base.request;
    const struct ps_field *found = reader->fields.found;

    if (ps_field_has(&found[INPUTS])) {
        return finish_tgi(reader, ret_fault);
    }
    if (ps_field_has(&found[TEXT])) {
        return finish_sglang(reader, ret_fault);
    }
    if (reader->walk.found) {
        return ps_key_walk_fault(&reader->walk, ret_fault);
    }
    if (ps_fields_check(&reader->fields, request->body, request->operation, ret_fault) != 0) {
        return -1;
    }
    if (check_together(reader, ret_fault) != 0 || take_pieces(reader, values, ret_fault) != 0 ||
        take_model(reader, ret_fault) != 0) {
        return -1;
    }
    request->background = ps_field_true(&found[BACKGROUND]);
    request->stream =
        !request->background && (reader->base.options.want_text || ps_field_true(&found[STREAM]));
    return 0;
}

/* ---- the door ---- */

/* White space may stand before either, and is part of a text. */
static int sniff(struct ps_generate_reader *reader, const char *ptr, size_t len,
                 struct ps_fault *ret_fault)
{
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] == '{') {
            reader->body = PS_GENERATE_EITHER;
            break;
        }
        if (ptr[i] != ' ' && ptr[i] != '\t' && ptr[i] != '\r' && ptr[i] != '\n') {
            reader->body = PS_GENERATE_TEXT;
            break;
        }
    }
    if (reader->body == PS_GENERATE_EITHER) {
        ps_buf_reset(&reader->text);
        return feed_json(reader, ptr, len, ret_fault);
    }
    if (reader->body == PS_GENERATE_SNIFF && feed_json(reader, ptr, len, ret_fault) != 0) {
        return -1; /* cannot be: white space only */
    }
    return feed_text(reader, ptr, len, ret_fault);
}

int ps_generate_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                            struct ps_fault *ret_fault)
{
    struct ps_generate_reader *reader = (struct ps_generate_reader *)base;

    switch (reader->body) {
    case PS_GENERATE_TEXT:
        return feed_text(reader, ptr, len, ret_fault);
    case PS_GENERATE_SNIFF:
        return sniff(reader, ptr, len, ret_fault);
    case PS_GENERATE_JSON:
    case PS_GENERATE_EITHER:
        return feed_json(reader, ptr, len, ret_fault);
    case PS_GENERATE_LATER:
    default:
        return 0;
    }
}

int ps_generate_reader_finish(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_generate_reader *reader = (struct ps_generate_reader *)base;
    struct ps_generate_values *values = ps_arena_calloc(base->arena, sizeof(*values));
    bool json = reader->body == PS_GENERATE_JSON || reader->body == PS_GENERATE_EITHER;

    if (values == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    base->request->generate = values;
    if (json && ps_fields_end(&reader->fields, ret_fault) != 0) {
        if (reader->body == PS_GENERATE_JSON) {
            return -1;
        }
        reader->body = PS_GENERATE_LATER; /* an object that never ends */
        json = false;
    }
    if (json) {
        return finish_json(reader, values, ret_fault);
    }
    if (reader->body == PS_GENERATE_LATER && feed_text_of_chain(reader, ret_fault) != 0) {
        return -1;
    }
    return finish_text(reader, values, ret_fault);
}
