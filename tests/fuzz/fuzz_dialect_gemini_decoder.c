/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>

/*
 * First byte: how the answer is read; second: the size of pieces; the rest: the answer. Fed whole
 * and in pieces; outcome and events must be the same, and raw bytes never more than came. The
 * events become an answer of each door: a whole one must be JSON. The same bytes as the body of an
 * error are a fault that says something.
 */

static const char *const types[] = {"text/event-stream", "application/json"};
static const enum ps_family doors[] = {PS_FAMILY_ANTHROPIC, PS_FAMILY_OPENAI};
#define DOORS (sizeof(doors) / sizeof(doors[0]))

struct outcome {
    enum ps_decode result;
    enum ps_fault_kind fault;
    uint64_t events; /* a hash of what was told */
    size_t count;
    size_t raw_len;
    bool ended;
    bool done;
    struct ps_writer *writers[DOORS];
    bool failed[DOORS]; /* its writer has refused */
    struct ps_buf out[DOORS];
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
    mix(out, &event->choice, sizeof(event->choice));
    mix(out, &event->block, sizeof(event->block));
    mix_slice(out, event->text);
    mix_slice(out, event->finish_text);
    mix(out, &event->usage, sizeof(event->usage));
    if (event->kind == PS_EVENT_TOOL_CALL) {
        mix_slice(out, event->tool->id);
        mix_slice(out, event->tool->name);
        mix_slice(out, event->tool->signature);
    } else if (event->kind == PS_EVENT_REASONING) {
        mix_slice(out, event->thought->signature);
    } else if (event->kind == PS_EVENT_CITATION) {
        mix_slice(out, event->citation->url);
        mix_slice(out, event->citation->title);
    } else if (event->kind == PS_EVENT_MEDIA) {
        mix_slice(out, event->media->media_type);
        mix_slice(out, event->media->data);
    } else if (event->kind == PS_EVENT_EMBEDDING && event->vector != NULL) {
        mix(out, event->vector, event->dimensions * sizeof(*event->vector));
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        mix_slice(out, event->logprob.token);
        for (size_t i = 0; i < event->top_count; i++) {
            mix_slice(out, event->top[i].token);
        }
    }
    if (event->fault != NULL) {
        mix(out, event->fault->message, strlen(event->fault->message));
    }
}

static bool on_event(void *arg, const struct ps_event *event)
{
    struct outcome *out = arg;
    struct ps_fault fault;

    if (out->ended) {
        abort(); /* nothing follows the end */
    }
    out->raw_len += event->raw.len;
    out->done = event->kind == PS_EVENT_DONE;
    out->ended = out->done || event->kind == PS_EVENT_FAULT;
    for (size_t i = 0; i < DOORS; i++) {
        if (out->writers[i] != NULL && !out->failed[i]) {
            out->failed[i] = ps_writer_event(out->writers[i], event, &out->out[i], &fault) != 0;
        }
    }
    if (event->kind == PS_EVENT_PING) {
        return true; /* their number depends on the cuts */
    }
    out->count++;
    mix_event(out, event);
    return true;
}

static void open_writers(struct outcome *out, const struct ps_decoder_options *decoding,
                         uint8_t how, struct ps_arena *arena)
{
    const struct ps_writer_options options = {
        .operation = decoding->operation,
        .mode = (how & 8) != 0 ? PS_WRITER_WHOLE : PS_WRITER_SSE,
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

/* Arguments may nest as deep as is allowed, and then stand inside an answer. */
static bool is_json(struct ps_slice text)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};
    enum ps_json_error error = ps_json_scan_text(text, NULL, &limits, NULL, NULL);

    return error == PS_JSON_OK || error == PS_JSON_DEPTH;
}

static void close_writers(struct outcome *out, bool whole)
{
    static const struct ps_answer_info info;

    for (size_t i = 0; i < DOORS; i++) {
        if (out->writers[i] != NULL && out->done && !out->failed[i]) {
            ps_writer_end(out->writers[i], &info, &out->out[i]);
            if (out->out[i].failed || (whole && !is_json(ps_buf_view(&out->out[i])))) {
                abort();
            }
        }
        if (out->writers[i] != NULL) {
            ps_writer_free(out->writers[i]);
        }
        ps_buf_deinit(&out->out[i]);
    }
}

static void run(uint8_t how, const char *ptr, size_t len, size_t step, struct outcome *out)
{
    static const enum ps_operation operations[] = {PS_OP_CHAT, PS_OP_EMBED, PS_OP_COUNT_TOKENS,
                                                   PS_OP_CHAT};
    struct ps_decoder_options options = {
        .operation = operations[how >> 1 & 3],
        .front = (how & 16) != 0 ? PS_FAMILY_ANTHROPIC : PS_FAMILY_OPENAI,
        .stream = (how & 1) == 0,
        .fields = true,
        .memo = how >> 5 & 3,
        .id = PS_SLICE_LIT("gen_1"),
        .content_type = ps_slice_cstr(types[how & 1]),
        .event_bytes = 16384,
    };
    struct ps_arena arena;
    struct ps_decoder *decoder;

    *out = (struct outcome){.raw_len = 0};
    ps_arena_init(&arena, 65536);
    open_writers(out, &options, how, &arena);
    decoder = ps_decoder_new(ps_dialect_find("gemini"), &options, &arena, on_event, out);
    if (decoder == NULL) {
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
    if (out->raw_len > len) {
        abort();
    }
    ps_decoder_free(decoder);
    close_writers(out, (how & 8) != 0 || options.operation != PS_OP_CHAT);
    ps_arena_deinit(&arena);
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
    static bool ready;
    struct outcome whole;
    struct outcome pieces;
    size_t len = 0;

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
    read_fault((const char *)data + 2, size - 2);
    (void)ps_dialect_models(ps_dialect_find("gemini"), ps_slice((const char *)data + 2, size - 2),
                            on_model, &len);
    return 0;
}
