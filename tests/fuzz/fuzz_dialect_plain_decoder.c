/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder_rig.h"

/*
 * Answers of Triton, TGI and plain HTTP. First byte: how it is read; second: how the answer is cut;
 * third: whose answer it is; the rest: the answer. Fed whole and in pieces, outcome and events must
 * be the same (text may be cut elsewhere), and what is written of them for OpenAI's door must be
 * JSON.
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
    struct rig_told told;
    bool failed; /* the writer has refused */
    struct ps_writer *writer;
    struct ps_buf out;
};

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    struct ps_fault fault;

    if (out->told.ended) {
        if (event->kind != PS_EVENT_OPAQUE || event->raw.len != 1) {
            abort(); /* nothing follows the end but the LF of a CRLF that was cut */
        }
        return true;
    }
    out->told.done = event->kind == PS_EVENT_DONE;
    out->told.ended = out->told.done || event->kind == PS_EVENT_FAULT;
    if (!out->failed) {
        out->failed = ps_writer_event(out->writer, event, &out->out, &fault) != 0;
    }
    if (event->kind == PS_EVENT_TEXT) {
        rig_mix(&out->told.events, event->text.ptr, event->text.len);
    } else if (event->kind != PS_EVENT_OPAQUE && event->kind != PS_EVENT_PING) {
        rig_mix_event(&out->told, event);
    }
    return true;
}

static struct rig_told run(uint8_t how, const char *ptr, size_t len, size_t step)
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
    size_t head = len > 0 ? 1 : 0;
    const char *name = names[head > 0 ? (unsigned char)ptr[0] & 3 : 0];
    struct outcome out = {.failed = false};
    struct ps_arena arena;

    ps_arena_init(&arena, 65536);
    ps_buf_init(&out.out, (size_t)16 << 20);
    out.writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &writing, &arena);
    if (out.writer == NULL) {
        abort();
    }
    rig_feed(ps_decoder_new(ps_dialect_find(name), &options, &arena, on_event, &out), ptr + head,
             len - head, step, &out.told);
    if (out.told.done && !out.failed) {
        ps_writer_end(out.writer, &info, &out.out);
        rig_expect_json(&out.out);
    }
    ps_writer_free(out.writer);
    ps_buf_deinit(&out.out);
    ps_arena_deinit(&arena);
    return out.told;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)rig_fuzz(data, size, run);
    return 0;
}
