/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>
#include <string.h>

/*
 * Answers of the dialects that read JSON texts. First byte: which one, what was asked and how the
 * answer is framed; second: the size of pieces; the rest: the answer. Fed whole and in pieces;
 * outcome and events must be the same. The events become an answer of OpenAI's door, which must be
 * JSON when it is whole. The same bytes as an error and as a list of models do no harm.
 */

static const char *const names[] = {"cohere", "ollama"};
static const char *const streams[] = {"text/event-stream", "application/x-ndjson"};
static const enum ps_operation operations[] = {PS_OP_CHAT, PS_OP_EMBED, PS_OP_RERANK,
                                               PS_OP_COMPLETE};

struct outcome {
    enum ps_decode result;
    enum ps_fault_kind fault;
    uint64_t events; /* a hash of what was told */
    size_t count;
    bool ended;
    bool done;
    bool failed; /* the writer has refused */
    struct ps_writer *writer;
    struct ps_buf out;
};

static void mix(struct outcome *out, const void *ptr, size_t len)
{
    const unsigned char *bytes = ptr;

    for (size_t i = 0; i < len; i++) {
        out->events = (out->events ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

static void mix_slice(struct outcome *out, struct ps_slice text)
{
    mix(out, &text.len, sizeof(text.len));
    mix(out, text.ptr, text.len);
}

static void mix_event(struct outcome *out, const struct ps_event *event)
{
    mix(out, &event->kind, sizeof(event->kind));
    mix(out, &event->block, sizeof(event->block));
    mix(out, &event->index, sizeof(event->index));
    mix_slice(out, event->text);
    mix_slice(out, event->finish_text);
    mix(out, &event->usage, sizeof(event->usage));
    if (event->kind == PS_EVENT_TOOL_CALL && event->tool != NULL) {
        mix_slice(out, event->tool->id);
        mix_slice(out, event->tool->name);
    } else if (event->kind == PS_EVENT_CITATION) {
        mix_slice(out, event->citation->url);
        mix_slice(out, event->citation->title);
        mix_slice(out, event->citation->quote);
    } else if (event->kind == PS_EVENT_SCORE) {
        mix_slice(out, event->score->number);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        mix_slice(out, event->logprob.token);
        for (size_t i = 0; i < event->top_count; i++) {
            mix_slice(out, event->top[i].token);
        }
    } else if (event->kind == PS_EVENT_FAULT) {
        mix(out, event->fault->message, strlen(event->fault->message));
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    struct ps_fault fault;

    if (event->kind == PS_EVENT_OPAQUE || event->kind == PS_EVENT_PING) {
        return true; /* their number depends on the cuts */
    }
    if (out->ended) {
        abort();
    }
    out->done = event->kind == PS_EVENT_DONE;
    out->ended = out->done || event->kind == PS_EVENT_FAULT;
    if (out->writer != NULL && !out->failed) {
        out->failed = ps_writer_event(out->writer, event, &out->out, &fault) != 0;
    }
    out->count++;
    mix_event(out, event);
    return true;
}

static void check_answer(const struct outcome *out)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};
    enum ps_json_error error = ps_json_scan_text(ps_buf_view(&out->out), NULL, &limits, NULL, NULL);

    /* What nests as deep as is allowed stands inside an answer. */
    if (out->out.failed || (error != PS_JSON_OK && error != PS_JSON_DEPTH)) {
        abort();
    }
}

static void run(uint8_t how, const char *ptr, size_t len, size_t step, struct outcome *out)
{
    const struct ps_decoder_options options = {
        .operation = operations[how >> 2 & 3],
        .stream = (how & 2) != 0,
        .fields = true,
        .content_type = ps_slice_cstr((how & 2) != 0 ? streams[how & 1] : "application/json"),
        .event_bytes = 16384,
    };
    const struct ps_writer_options writer = {
        .operation = options.operation,
        .mode = PS_WRITER_WHOLE,
        .max_bytes = 1u << 20,
        .id = PS_SLICE_LIT("gen_1"),
        .model = PS_SLICE_LIT("m"),
    };
    static const struct ps_answer_info info;
    struct ps_arena arena;
    struct ps_decoder *decoder;

    *out = (struct outcome){.result = PS_DECODE_OK};
    ps_arena_init(&arena, 65536);
    ps_buf_init(&out->out, (size_t)16 << 20);
    out->writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &writer, &arena);
    decoder = ps_decoder_new(ps_dialect_find(names[how & 1]), &options, &arena, on_event, out);
    if (decoder == NULL || out->writer == NULL) {
        abort();
    }
    for (size_t at = 0; at < len && out->result == PS_DECODE_OK; at += step) {
        out->result = ps_decoder_feed(decoder, ptr + at, step < len - at ? step : len - at);
    }
    if (out->result == PS_DECODE_OK) {
        out->result = ps_decoder_finish(decoder);
    }
    if (out->result == PS_DECODE_BROKEN) {
        out->fault = ps_decoder_fault(decoder)->kind;
        if (out->fault == PS_FAULT_NONE || ps_decoder_fault(decoder)->message[0] == '\0') {
            abort();
        }
    } else if (!out->ended) {
        abort(); /* a good answer has an end */
    }
    ps_decoder_free(decoder);
    if (out->done && !out->failed) {
        ps_writer_end(out->writer, &info, &out->out);
        check_answer(out);
    }
    ps_writer_free(out->writer);
    ps_buf_deinit(&out->out);
    ps_arena_deinit(&arena);
}

static void on_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    (void)arg;
    if (id.len == 0 || object.len == 0) {
        abort();
    }
}

static void check_others(uint8_t how, struct ps_slice body)
{
    const struct ps_dialect *dialect = ps_dialect_find(names[how & 1]);
    struct ps_fault fault = {.kind = PS_FAULT_NONE};

    ps_dialect_fault(dialect, 400 + how, body, &fault);
    if (fault.kind == PS_FAULT_NONE || fault.message[0] == '\0') {
        abort();
    }
    (void)ps_dialect_models(dialect, body, on_model, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct outcome whole;
    struct outcome pieces;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    if (size < 2) {
        return 0;
    }
    run(data[0], (const char *)data + 2, size - 2, SIZE_MAX / 2, &whole);
    run(data[0], (const char *)data + 2, size - 2, (size_t)data[1] % 64 + 1, &pieces);
    if (whole.result != pieces.result || whole.fault != pieces.fault ||
        whole.count != pieces.count || whole.events != pieces.events) {
        abort();
    }
    check_others(data[0], ps_slice((const char *)data + 2, size - 2));
    return 0;
}
