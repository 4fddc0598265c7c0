/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#include "penstock/base/json_scan.h"
#include "penstock/dialect/prompt.h"

#include <stdlib.h>

/*
 * First byte: door and operation; second: how far into a block of the chain the body begins; the
 * rest: the body. Cuts change nothing; what comes out is text, within its bounds, and goes back to
 * the client as it is.
 */

struct outcome {
    int rc;
    struct ps_fault fault;
    struct ps_request request;
    struct ps_prompt prompt;
    struct ps_arena arena;
    struct ps_block_pool pool;
    struct ps_budget budget;
    struct ps_chain body;
};

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* The reader is told one space at a time, and the chain gets them all. */
static int feed(struct outcome *out, struct ps_reader *reader, struct ps_slice bytes)
{
    if (ps_reader_feed(reader, bytes.ptr, bytes.len, &out->fault) != 0) {
        return -1;
    }
    require(ps_chain_append(&out->body, bytes.ptr, bytes.len) == 0);
    return 0;
}

static void run(enum ps_family family, enum ps_operation operation, struct ps_slice body,
                size_t spaces, struct outcome *out)
{
    static char space[PS_BLOCK_BYTES];
    struct ps_reader_options options = {.operation = operation};
    struct ps_reader *reader;

    memset(out, 0, sizeof(*out));
    memset(space, ' ', sizeof(space));
    atomic_init(&out->budget.limit, (size_t)64 << 20);
    ps_block_pool_init(&out->pool, &out->budget, 0);
    ps_chain_init(&out->body, &out->pool);
    ps_arena_init(&out->arena, (size_t)4 << 20);
    out->request.family = family;
    out->request.operation = operation;
    out->request.body = &out->body;
    reader = ps_reader_new(ps_dialect_of_family(family), &options, &out->request, &out->arena);
    require(reader != NULL);
    out->rc = spaces > 0 ? feed(out, reader, ps_slice(space, spaces)) : 0;
    if (out->rc == 0) {
        out->rc = feed(out, reader, body);
    }
    if (out->rc == 0) {
        out->rc = ps_reader_finish(reader, &out->fault);
    }
    if (out->rc == 0) {
        out->rc = ps_dialect_prompt(ps_dialect_of_family(family), &out->request, &out->arena,
                                    &out->prompt, &out->fault);
    }
    require(out->rc == 0 || (out->fault.kind != PS_FAULT_NONE && out->fault.message[0] != '\0'));
    ps_chain_clear(&out->body); /* nothing may point into it */
}

static void end(struct outcome *out)
{
    ps_arena_deinit(&out->arena);
    ps_block_pool_deinit(&out->pool);
}

static void check_text(struct ps_slice text)
{
    struct ps_utf8 utf8 = {0};

    require(text.len == 0 || memchr(text.ptr, '\0', text.len) == NULL);
    require(ps_utf8_feed(&utf8, text.ptr, text.len) && ps_utf8_whole(&utf8));
}

static void check_prompt(const struct ps_prompt *prompt)
{
    bool chat = prompt->operation == PS_OP_CHAT;

    require(chat == (prompt->message_count > 0));
    require((prompt->operation == PS_OP_COMPLETE) == (prompt->text.len > 0));
    require((prompt->operation == PS_OP_EMBED) == (prompt->input_count > 0));
    require(prompt->input_count <= PS_PROMPT_INPUTS && prompt->stop_count <= PS_PROMPT_STOPS);
    for (size_t i = 0; i < prompt->message_count; i++) {
        check_text(prompt->messages[i].content);
        require(prompt->messages[i].role.len > 0);
    }
    check_text(prompt->text);
    for (size_t i = 0; i < prompt->input_count; i++) {
        check_text(prompt->inputs[i]);
        require(prompt->inputs[i].len > 0);
    }
    for (size_t i = 0; i < prompt->stop_count; i++) {
        check_text(prompt->stops[i]);
        require(prompt->stops[i].len > 0);
    }
    require(prompt->max_tokens == -1 || prompt->max_tokens > 0);
    require(prompt->temperature == -1 || prompt->temperature >= 0);
    require(prompt->top_p == -1 || (prompt->top_p > 0 && prompt->top_p <= 1));
    require(prompt->min_p == -1 || (prompt->min_p >= 0 && prompt->min_p < 1));
    require(prompt->top_k >= -1 && prompt->top_logprobs >= 0);
    require(prompt->top_logprobs <= PS_PROMPT_TOP_LOGPROBS);
    require((prompt->format == PS_PROMPT_JSON_SCHEMA) == (prompt->schema.len > 0));
    if (prompt->schema.len > 0) {
        const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};

        require(ps_json_scan_text(prompt->schema, NULL, &limits, NULL, NULL) == PS_JSON_OK);
    }
}

/* ---- back to the client ---- */

static bool hear(void *arg, const struct ps_event *event)
{
    if (event->kind == PS_EVENT_TEXT) {
        ps_buf_slice(arg, event->text);
    }
    return true;
}

static void echo(struct outcome *out, struct ps_slice text, enum ps_writer_mode mode)
{
    const struct ps_writer_options options = {
        .operation = out->prompt.operation, .mode = mode, .max_bytes = (size_t)8 << 20};
    const struct ps_decoder_options back = {
        .operation = out->prompt.operation,
        .stream = mode == PS_WRITER_STREAM,
        .fields = true,
        .content_type =
            ps_slice_cstr(mode == PS_WRITER_STREAM ? "text/event-stream" : "application/json"),
        .event_bytes = (size_t)32 << 20,
    };
    const struct ps_event events[] = {
        {.kind = PS_EVENT_LOGPROBS, .logprob = {text, -1.5F}},
        {.kind = PS_EVENT_TEXT, .text = text},
        {.kind = PS_EVENT_FINISH, .finish = PS_FINISH_STOP},
    };
    const struct ps_dialect *dialect = ps_dialect_of_family(PS_FAMILY_OPENAI);
    struct ps_writer *writer = ps_writer_new(dialect, &options, &out->arena);
    struct ps_answer_info info = {0};
    struct ps_buf bytes;
    struct ps_buf heard;
    struct ps_decoder *decoder;

    require(writer != NULL);
    ps_buf_init(&bytes, (size_t)32 << 20);
    ps_buf_init(&heard, (size_t)8 << 20);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        require(ps_writer_event(writer, &events[i], &bytes, &out->fault) == 0);
    }
    ps_writer_end(writer, &info, &bytes);
    decoder = ps_decoder_new(dialect, &back, &out->arena, hear, &heard);
    require(decoder != NULL && !bytes.failed);
    require(ps_decoder_feed(decoder, bytes.ptr, bytes.len) == PS_DECODE_OK);
    require(ps_decoder_finish(decoder) == PS_DECODE_OK);
    require(ps_slice_eq(ps_buf_view(&heard), text));
    ps_decoder_free(decoder);
    ps_writer_free(writer);
    ps_buf_deinit(&heard);
    ps_buf_deinit(&bytes);
}

static bool same(const struct ps_prompt *a, const struct ps_prompt *b)
{
    if (a->message_count != b->message_count || a->stop_count != b->stop_count ||
        a->input_count != b->input_count || a->seed != b->seed || a->max_tokens != b->max_tokens ||
        !ps_slice_eq(a->schema, b->schema) || !ps_slice_eq(a->text, b->text)) {
        return false;
    }
    for (size_t i = 0; i < a->message_count; i++) {
        if (!ps_slice_eq(a->messages[i].content, b->messages[i].content)) {
            return false;
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    static struct outcome whole;
    static struct outcome apart;
    enum ps_family family;
    enum ps_operation operation;
    struct ps_slice body;

    require(ready || ps_dialect_global_init() == 0);
    ready = true;
    if (size < 3) {
        return 0;
    }
    family = data[0] % 4 == 3 ? PS_FAMILY_GENERATE : PS_FAMILY_OPENAI;
    operation = family == PS_FAMILY_GENERATE ? PS_OP_CHAT : (enum ps_operation)(data[0] % 4);
    body = ps_slice((const char *)data + 2, size - 2);
    run(family, operation, body, 0, &whole);
    run(family, operation, body, PS_BLOCK_BYTES - 1 - data[1] % (body.len < 255 ? body.len : 255),
        &apart);
    /* The place of a mistake in the text differs; what is told about a field does not. */
    require(whole.rc == apart.rc && whole.fault.kind == apart.fault.kind);
    require(strcmp(whole.fault.param, apart.fault.param) == 0);
    if (whole.rc == 0) {
        check_prompt(&whole.prompt);
        require(same(&whole.prompt, &apart.prompt));
        if (whole.prompt.operation != PS_OP_EMBED) {
            struct ps_slice text =
                whole.prompt.text.len > 0 ? whole.prompt.text : whole.prompt.messages[0].content;

            echo(&whole, text, PS_WRITER_WHOLE);
            echo(&whole, text, PS_WRITER_STREAM);
        }
    }
    end(&whole);
    end(&apart);
    return 0;
}
