/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder_rig.h"

/*
 * First byte: how the answer is read; the rest: the answer. Fed whole and in pieces of the size
 * that the second byte says; outcome and events must be the same but for pieces, and the raw bytes
 * the answer's own, in order. Where fields are asked for, OpenAI's writer makes an answer of the
 * events again, whole and streamed, which must be valid JSON whatever the events said.
 */

#define WRITERS 2

static const char *const types[] = {"text/event-stream", "application/json", "audio/mpeg", ""};

struct outcome {
    struct rig_told told;
    const char *body;
    size_t body_len;
    size_t raw_len; /* bytes of the body that were in raws */
    bool fields;
    struct ps_writer *writers[WRITERS]; /* NULL: none for this operation */
    struct ps_buf written[WRITERS];
};

static const enum ps_writer_mode modes[WRITERS] = {PS_WRITER_WHOLE, PS_WRITER_STREAM};

static void check_json(struct ps_slice text)
{
    const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};

    if (ps_json_scan_text(text, NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        abort();
    }
}

/* Every event of a stream that is no [DONE]. */
static void check_stream(struct ps_slice text)
{
    while (text.len > 0) {
        const char *end = memmem(text.ptr, text.len, "\n\n", 2);
        size_t len;

        if (end == NULL || memcmp(text.ptr, "data: ", 6) != 0) {
            abort();
        }
        len = (size_t)(end - text.ptr);
        if (!ps_slice_eq(ps_slice(text.ptr + 6, len - 6), PS_SLICE_LIT("[DONE]"))) {
            check_json(ps_slice(text.ptr + 6, len - 6));
        }
        text = ps_slice(end + 2, text.len - len - 2);
    }
}

static void begin_writers(struct outcome *out, enum ps_operation operation, struct ps_arena *arena)
{
    const struct ps_dialect *openai = ps_dialect_find("openai");

    for (int i = 0; i < WRITERS && out->fields; i++) {
        const struct ps_writer_options options = {
            .operation = operation, .mode = modes[i], .max_bytes = 1 << 20, .include_usage = true};

        ps_buf_init(&out->written[i], 16 << 20);
        if (ps_dialect_has_writer(openai, operation)) {
            out->writers[i] = ps_writer_new(openai, &options, arena);
        }
    }
}

static void end_writers(struct outcome *out, enum ps_operation operation)
{
    static const struct ps_answer_info info;
    bool lists = operation != PS_OP_CHAT && operation != PS_OP_COMPLETE;

    for (int i = 0; i < WRITERS; i++) {
        if (out->writers[i] != NULL) {
            ps_writer_end(out->writers[i], &info, &out->written[i]);
            if (out->written[i].failed) {
                abort();
            }
            if (modes[i] == PS_WRITER_WHOLE || lists) {
                check_json(ps_buf_view(&out->written[i]));
            } else {
                check_stream(ps_buf_view(&out->written[i]));
            }
            ps_writer_free(out->writers[i]);
        }
        if (out->fields) {
            ps_buf_deinit(&out->written[i]);
        }
    }
}

static void write_event(struct outcome *out, const struct ps_event *event)
{
    struct ps_fault fault;

    for (int i = 0; i < WRITERS; i++) {
        if (out->writers[i] != NULL &&
            ps_writer_event(out->writers[i], event, &out->written[i], &fault) != 0) {
            ps_writer_free(out->writers[i]); /* vectors may hold no numbers */
            out->writers[i] = NULL;
        }
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    bool half = event->kind == PS_EVENT_OPAQUE && ps_slice_eq(event->raw, PS_SLICE_LIT("\n"));

    if (out->told.ended && !half) {
        abort(); /* nothing follows the end but the rest of a CRLF that was cut */
    }
    if (!out->fields && event->raw.len > 0) {
        if (event->raw.len > out->body_len - out->raw_len ||
            memcmp(out->body + out->raw_len, event->raw.ptr, event->raw.len) != 0) {
            abort();
        }
        out->raw_len += event->raw.len;
    }
    out->told.ended =
        out->told.ended || event->kind == PS_EVENT_DONE || event->kind == PS_EVENT_FAULT;
    if (event->kind == PS_EVENT_OPAQUE || event->kind == PS_EVENT_PING) {
        return true; /* their number depends on the cuts */
    }
    write_event(out, event);
    rig_mix_event(&out->told, event);
    return true;
}

static struct rig_told run(uint8_t how, const char *ptr, size_t len, size_t step)
{
    struct ps_decoder_options options = {
        .operation = (enum ps_operation)(how % PS_OP_COUNT),
        .stream = (how & 8) != 0,
        .fields = (how & 16) != 0,
        .withhold_usage = (how & 32) != 0,
        .content_type = ps_slice_cstr(types[how >> 6]),
        .event_bytes = 16384,
    };
    struct outcome out = {.body = ptr, .body_len = len, .fields = options.fields};
    struct ps_arena arena;

    ps_arena_init(&arena, 65536);
    begin_writers(&out, options.operation, &arena);
    rig_feed(ps_decoder_new(ps_dialect_find("openai"), &options, &arena, on_event, &out), ptr, len,
             step, &out.told);
    end_writers(&out, options.operation);
    ps_arena_deinit(&arena);
    return out.told;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)rig_fuzz(data, size, run);
    return 0;
}
