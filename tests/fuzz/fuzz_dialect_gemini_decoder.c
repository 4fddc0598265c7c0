/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder_rig.h"

/*
 * First byte: how the answer is read; second: the size of pieces; the rest: the answer. Fed whole
 * and in pieces; outcome and events must be the same, and raw bytes never more than came. The
 * events become an answer of each door: a whole one must be JSON. Where the answer passes as it is,
 * all bytes of a good whole one must. The same bytes as the body of an error are a fault that says
 * something.
 */

static const char *const types[] = {"text/event-stream", "application/json"};
static const enum ps_family doors[] = {PS_FAMILY_ANTHROPIC, PS_FAMILY_OPENAI, PS_FAMILY_GEMINI};
#define DOORS (sizeof(doors) / sizeof(doors[0]))

struct outcome {
    struct rig_told told;
    size_t raw_len;
    bool relayed;
    struct ps_writer *writers[DOORS];
    bool failed[DOORS]; /* its writer has refused */
    struct ps_buf out[DOORS];
};

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    struct ps_fault fault;

    if (out->told.ended) {
        abort(); /* nothing follows the end */
    }
    out->raw_len += event->raw.len;
    out->told.done = event->kind == PS_EVENT_DONE;
    out->told.ended = out->told.done || event->kind == PS_EVENT_FAULT;
    if (out->relayed && (event->kind == PS_EVENT_OPAQUE || event->kind == PS_EVENT_TEXT)) {
        return true; /* so does that of pieces */
    }
    for (size_t i = 0; i < DOORS; i++) {
        if (out->writers[i] != NULL && !out->failed[i]) {
            out->failed[i] = ps_writer_event(out->writers[i], event, &out->out[i], &fault) != 0;
        }
    }
    if (event->kind == PS_EVENT_PING) {
        return true; /* their number depends on the cuts */
    }
    rig_mix_event(&out->told, event);
    return true;
}

static void open_writers(struct outcome *out, const struct ps_decoder_options *decoding,
                         uint8_t how, struct ps_arena *arena)
{
    const struct ps_writer_options options = {
        .operation = decoding->operation,
        .mode = (how & 8) != 0 ? PS_WRITER_WHOLE : PS_WRITER_STREAM,
        .max_bytes = 1u << 20,
        .include_usage = true,
        .base64 = (how & 16) != 0,
        .id = PS_SLICE_LIT("gen_1"),
        .model = PS_SLICE_LIT("m"),
    };

    for (size_t i = 0; i < DOORS; i++) {
        const struct ps_dialect *door = ps_dialect_of_family(doors[i]);

        ps_buf_init(&out->out[i], (size_t)16 << 20);
        if (!ps_dialect_has_writer(door, options.operation)) {
            continue;
        }
        out->writers[i] = ps_writer_new(door, &options, arena);
        if (out->writers[i] == NULL) {
            abort();
        }
    }
}

static void close_writers(struct outcome *out, bool whole)
{
    static const struct ps_answer_info info;

    for (size_t i = 0; i < DOORS; i++) {
        if (out->writers[i] != NULL && out->told.done && !out->failed[i]) {
            ps_writer_end(out->writers[i], &info, &out->out[i]);
            if (whole) {
                rig_expect_json(&out->out[i]);
            } else if (out->out[i].failed) {
                abort();
            }
        }
        if (out->writers[i] != NULL) {
            ps_writer_free(out->writers[i]);
        }
        ps_buf_deinit(&out->out[i]);
    }
}

static struct rig_told run(uint8_t how, const char *ptr, size_t len, size_t step)
{
    static const enum ps_operation operations[] = {PS_OP_CHAT, PS_OP_EMBED, PS_OP_COUNT_TOKENS,
                                                   PS_OP_CHAT};
    struct ps_decoder_options options = {
        .operation = operations[how >> 1 & 3],
        .front = (how & 16) != 0 ? PS_FAMILY_ANTHROPIC : PS_FAMILY_OPENAI,
        .stream = (how & 1) == 0,
        .fields = (how & 128) == 0,
        .memo = how >> 5 & 3,
        .id = PS_SLICE_LIT("gen_1"),
        .content_type = ps_slice_cstr(types[how & 1]),
        .event_bytes = 16384,
    };
    struct outcome out = {.relayed = (how & 128) != 0};
    struct ps_arena arena;

    ps_arena_init(&arena, 65536);
    if (!out.relayed) {
        open_writers(&out, &options, how, &arena);
    }
    rig_feed(ps_decoder_new(ps_dialect_find("gemini"), &options, &arena, on_event, &out), ptr, len,
             step, &out.told);
    if (out.raw_len > len ||
        (out.relayed && out.told.done && (how & 1) != 0 && out.raw_len != len)) {
        abort();
    }
    close_writers(&out, (how & 8) != 0 || options.operation != PS_OP_CHAT);
    ps_arena_deinit(&arena);
    return out.told;
}

static void read_fault(const char *ptr, size_t len)
{
    static const int statuses[] = {400, 401, 404, 429, 500, 503};
    struct ps_fault fault = {0};

    ps_dialect_fault(ps_dialect_find("gemini"),
                     statuses[len % (sizeof(statuses) / sizeof(statuses[0]))], ps_slice(ptr, len),
                     &fault);
    if (fault.kind == PS_FAULT_NONE || fault.message[0] == '\0' || fault.retry_after_ms < 0) {
        abort();
    }
}

static void on_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    size_t *len = arg;

    *len += id.len + object.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len = 0;

    if (!rig_fuzz(data, size, run)) {
        return 0;
    }
    read_fault((const char *)data + 2, size - 2);
    (void)ps_dialect_models(ps_dialect_find("gemini"), ps_slice((const char *)data + 2, size - 2),
                            on_model, &len);
    return 0;
}
