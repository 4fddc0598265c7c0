/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder_rig.h"

/*
 * First byte: how the answer is read; the rest: the answer. Fed whole and in pieces of the size
 * that the second byte says; outcome and events must be the same but for pieces, and the raw bytes
 * the answer's own, in order. Where fields are read, their events become an answer of each door: a
 * whole one must be JSON.
 */

static const char *const types[] = {"text/event-stream", "application/json"};
static const enum ps_family doors[] = {PS_FAMILY_ANTHROPIC, PS_FAMILY_OPENAI};
#define DOORS (sizeof(doors) / sizeof(doors[0]))

struct outcome {
    struct rig_told told;
    const char *body;
    size_t body_len;
    size_t raw_len; /* bytes of the body that were in raws */
    bool fields;
    struct ps_writer *writers[DOORS];
    bool failed[DOORS]; /* its writer has refused */
    struct ps_buf out[DOORS];
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
    if (!out->fields && event->raw.len > 0) {
        if (event->raw.len > out->body_len - out->raw_len ||
            memcmp(out->body + out->raw_len, event->raw.ptr, event->raw.len) != 0) {
            abort();
        }
        out->raw_len += event->raw.len;
    }
    out->told.done = event->kind == PS_EVENT_DONE;
    out->told.ended = out->told.done || event->kind == PS_EVENT_FAULT;
    for (size_t i = 0; i < DOORS; i++) {
        if (out->writers[i] != NULL && !out->failed[i]) {
            out->failed[i] = ps_writer_event(out->writers[i], event, &out->out[i], &fault) != 0;
        }
    }
    if (event->kind == PS_EVENT_OPAQUE || event->kind == PS_EVENT_PING) {
        return true; /* their number depends on the cuts */
    }
    rig_mix_event(&out->told, event);
    return true;
}

static void open_writers(struct outcome *out, uint8_t how, struct ps_arena *arena)
{
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT,
        .mode = (how & 8) != 0 ? PS_WRITER_WHOLE : PS_WRITER_STREAM,
        .max_bytes = 1u << 20,
        .include_usage = true,
        .id = PS_SLICE_LIT("gen_1"),
        .model = PS_SLICE_LIT("m"),
    };

    for (size_t i = 0; i < DOORS; i++) {
        out->writers[i] = ps_writer_new(ps_dialect_of_family(doors[i]), &options, arena);
        ps_buf_init(&out->out[i], (size_t)16 << 20);
        if (out->writers[i] == NULL) {
            abort();
        }
    }
}

static void close_writers(struct outcome *out, uint8_t how)
{
    static const struct ps_answer_info info;
    bool whole = (how & 8) != 0;

    for (size_t i = 0; i < DOORS; i++) {
        if (out->told.done && !out->failed[i]) {
            ps_writer_end(out->writers[i], &info, &out->out[i]);
            if (whole) {
                rig_expect_json(&out->out[i]);
            } else if (out->out[i].failed) {
                abort();
            }
        }
        ps_writer_free(out->writers[i]);
        ps_buf_deinit(&out->out[i]);
    }
}

static struct rig_told run(uint8_t how, const char *ptr, size_t len, size_t step)
{
    struct ps_decoder_options options = {
        .operation = (how & 2) != 0 ? PS_OP_COUNT_TOKENS : PS_OP_CHAT,
        .stream = (how & 1) == 0,
        .fields = (how & 4) != 0,
        .content_type = ps_slice_cstr(types[how & 1]),
        .event_bytes = 16384,
    };
    bool writes = options.fields && options.operation == PS_OP_CHAT;
    struct outcome out = {.body = ptr, .body_len = len, .fields = options.fields};
    struct ps_arena arena;

    ps_arena_init(&arena, 65536);
    if (writes) {
        open_writers(&out, how, &arena);
    }
    rig_feed(ps_decoder_new(ps_dialect_find("anthropic"), &options, &arena, on_event, &out), ptr,
             len, step, &out.told);
    if (writes) {
        close_writers(&out, how);
    }
    ps_arena_deinit(&arena);
    return out.told;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)rig_fuzz(data, size, run);
    return 0;
}
