/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>

/*
 * Answers of Triton, TGI and plain HTTP. First byte: which of them and what for; second: how the
 * answer is cut; the rest: the answer. Fed whole and in pieces, outcome and events must be the same
 * (text may be cut elsewhere), and what is written of them for OpenAI's door must be JSON.
 */

#define SETTING(literal) PS_SLICE_INIT(literal)

static const struct ps_dialect_settings settings[] = {
    {.stream_mode = SETTING("none")},
    {.stream_mode = SETTING("sse"), .text_at = SETTING("/a/0"), .finish_at = SETTING("/b")},
    {.stream_mode = SETTING("ndjson"), .vector_at = SETTING("/v"), .error_at = SETTING("/e~1")},
    {.stream_mode = SETTING("raw")},
};
static const char *const names[] = {"triton", "tgi", "http", "http"};
static const char *const types[] = {"application/json", "text/event-stream", "text/plain",
                                    "application/x-ndjson"};

struct outcome {
    enum ps_decode result;
    enum ps_fault_kind fault;
    uint64_t events; /* a hash of what was told */
    uint64_t said;   /* a hash of the text, however it was cut */
    bool ended;
    bool done;
    bool failed; /* the writer has refused */
    struct ps_writer *writer;
    struct ps_buf out;
};

static void mix(uint64_t *hash, const void *ptr, size_t len)
{
    const unsigned char *bytes = ptr;

    for (size_t i = 0; i < len; i++) {
        *hash = (*hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    struct ps_fault fault;

    if (out->ended) {
        if (event->kind != PS_EVENT_OPAQUE || event->raw.len != 1) {
            abort(); /* nothing follows the end but the LF of a CRLF that was cut */
        }
        return true;
    }
    out->done = event->kind == PS_EVENT_DONE;
    out->ended = out->done || event->kind == PS_EVENT_FAULT;
    if (!out->failed) {
        out->failed = ps_writer_event(out->writer, event, &out->out, &fault) != 0;
    }
    if (event->kind == PS_EVENT_TEXT) {
        mix(&out->said, event->text.ptr, event->text.len);
    } else if (event->kind != PS_EVENT_OPAQUE && event->kind != PS_EVENT_PING) {
        mix(&out->events, &event->kind, sizeof(event->kind));
        mix(&out->events, event->text.ptr, event->text.len);
        mix(&out->events, event->finish_text.ptr, event->finish_text.len);
        mix(&out->events, &event->usage, sizeof(event->usage));
        if (event->fault != NULL) {
            mix(&out->events, event->fault->message, strlen(event->fault->message));
        }
    }
    return true;
}

static bool is_json(struct ps_slice text)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};

    return ps_json_scan_text(text, NULL, &limits, NULL, NULL) == PS_JSON_OK;
}

static void run(uint8_t how, const char *ptr, size_t len, size_t step, struct outcome *out)
{
    static const struct ps_answer_info info;
    const struct ps_decoder_options options = {
        .operation = (how & 32) != 0 ? PS_OP_EMBED : PS_OP_CHAT,
        .stream = (how & 16) != 0,
        .fields = true,
        .memo = (how & 64) != 0 ? 2 : 0,
        .settings = &settings[how & 3],
        .content_type = ps_slice_cstr(types[how >> 2 & 3]),
        .event_bytes = 16384,
    };
    const struct ps_writer_options writing = {
        .operation = options.operation,
        .mode = PS_WRITER_WHOLE,
        .max_bytes = 1u << 20,
        .id = PS_SLICE_LIT("gen_1"),
        .model = PS_SLICE_LIT("m"),
    };
    struct ps_arena arena;
    struct ps_decoder *decoder;

    *out = (struct outcome){.result = PS_DECODE_OK};
    ps_arena_init(&arena, 65536);
    ps_buf_init(&out->out, (size_t)16 << 20);
    out->writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &writing, &arena);
    decoder = ps_decoder_new(ps_dialect_find(names[len > 0 ? (unsigned char)ptr[0] & 3 : 0]),
                             &options, &arena, on_event, out);
    if (decoder == NULL || out->writer == NULL) {
        abort();
    }
    for (size_t at = 1; at < len && out->result == PS_DECODE_OK; at += step) {
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
        if (out->out.failed || !is_json(ps_buf_view(&out->out))) {
            abort();
        }
    }
    ps_writer_free(out->writer);
    ps_buf_deinit(&out->out);
    ps_arena_deinit(&arena);
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
    if (size < 3) {
        return 0;
    }
    run(data[0], (const char *)data + 2, size - 2, SIZE_MAX / 2, &whole);
    run(data[0], (const char *)data + 2, size - 2, (size_t)data[1] % 64 + 1, &pieces);
    if (whole.result != pieces.result || whole.fault != pieces.fault ||
        whole.events != pieces.events || whole.said != pieces.said) {
        abort();
    }
    return 0;
}
