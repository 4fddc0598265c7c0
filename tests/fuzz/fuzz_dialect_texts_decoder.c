/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder_rig.h"

/*
 * Answers of the dialects that read JSON texts. First byte: which one, what was asked and how the
 * answer is framed; second: the size of pieces; the rest: the answer. Fed whole and in pieces;
 * outcome and events must be the same. The events become an answer of OpenAI's door, which must be
 * JSON when it is whole. Or they only go by: then what goes by is what came. The same bytes as an
 * error and as a list of models do no harm.
 */

static const char *const names[] = {"cohere", "ollama"};
static const char *const streams[] = {"text/event-stream", "application/x-ndjson"};
static const enum ps_operation operations[] = {PS_OP_CHAT, PS_OP_EMBED, PS_OP_RERANK,
                                               PS_OP_COMPLETE};

struct outcome {
    struct rig_told told;
    bool failed;              /* the writer has refused */
    struct ps_writer *writer; /* NULL: the answer goes by */
    struct ps_slice body;
    size_t passed; /* of it */
    struct ps_buf out;
};

static void pass(struct outcome *out, struct ps_slice raw)
{
    if (raw.len > out->body.len - out->passed ||
        (raw.len > 0 && memcmp(raw.ptr, out->body.ptr + out->passed, raw.len) != 0)) {
        abort();
    }
    out->passed += raw.len;
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    struct ps_fault fault;

    if (out->writer == NULL) {
        pass(out, event->raw);
    }
    if (event->kind == PS_EVENT_OPAQUE || event->kind == PS_EVENT_PING) {
        return true; /* their number depends on the cuts */
    }
    if (out->told.ended) {
        abort();
    }
    out->told.done = event->kind == PS_EVENT_DONE;
    out->told.ended = out->told.done || event->kind == PS_EVENT_FAULT;
    if (out->writer != NULL && !out->failed) {
        out->failed = ps_writer_event(out->writer, event, &out->out, &fault) != 0;
    }
    rig_mix_event(&out->told, event);
    return true;
}

static struct rig_told run(uint8_t how, const char *ptr, size_t len, size_t step)
{
    const struct ps_decoder_options options = {
        .operation = operations[how >> 2 & 3],
        .stream = (how & 2) != 0,
        .fields = (how & 16) == 0,
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
    struct outcome out = {.body = ps_slice(ptr, len)};
    struct ps_arena arena;

    ps_arena_init(&arena, 65536);
    ps_buf_init(&out.out, (size_t)16 << 20);
    if (options.fields) {
        out.writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_OPENAI), &writer, &arena);
        if (out.writer == NULL) {
            abort();
        }
    }
    rig_feed(ps_decoder_new(ps_dialect_find(names[how & 1]), &options, &arena, on_event, &out), ptr,
             len, step, &out.told);
    if (out.told.done && !options.fields && (how & 2) == 0 && out.passed != len) {
        abort();
    }
    if (out.told.done && options.fields && !out.failed) {
        ps_writer_end(out.writer, &info, &out.out);
        rig_expect_json(&out.out);
    }
    ps_writer_free(out.writer);
    ps_buf_deinit(&out.out);
    ps_arena_deinit(&arena);
    return out.told;
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
    if (!rig_fuzz(data, size, run)) {
        return 0;
    }
    check_others(data[0], ps_slice((const char *)data + 2, size - 2));
    return 0;
}
