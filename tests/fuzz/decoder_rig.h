/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_FUZZ_DECODER_RIG_H
#define PENSTOCK_TESTS_FUZZ_DECODER_RIG_H

#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>
#include <string.h>

/*
 * What the fuzz targets of decoders share: an answer is fed whole and in pieces, and what comes of
 * it must be the same. First byte: how it is read; second: the size of pieces; the rest: the
 * answer.
 */

/* What a decoder made of an answer, however it was cut. */
struct rig_told {
    enum ps_decode result;
    enum ps_fault_kind fault;
    uint64_t events; /* a hash of what was told */
    size_t count;
    bool ended;
    bool done;
};

static inline void rig_mix(uint64_t *hash, const void *ptr, size_t len)
{
    const unsigned char *bytes = ptr;

    for (size_t i = 0; i < len; i++) {
        *hash = (*hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

static inline void rig_mix_slice(struct rig_told *told, struct ps_slice text)
{
    rig_mix(&told->events, &text.len, sizeof(text.len));
    rig_mix(&told->events, text.ptr, text.len);
}

static inline void rig_mix_parts(struct rig_told *told, const struct ps_event *event)
{
    if (event->kind == PS_EVENT_TOOL_CALL && event->tool != NULL) {
        rig_mix_slice(told, event->tool->id);
        rig_mix_slice(told, event->tool->name);
        rig_mix_slice(told, event->tool->signature);
    } else if (event->kind == PS_EVENT_REASONING && event->thought != NULL) {
        rig_mix_slice(told, event->thought->signature);
        rig_mix_slice(told, event->thought->redacted);
    } else if (event->kind == PS_EVENT_CITATION && event->citation != NULL) {
        rig_mix_slice(told, event->citation->url);
        rig_mix_slice(told, event->citation->title);
        rig_mix_slice(told, event->citation->quote);
    } else if (event->kind == PS_EVENT_MEDIA && event->media != NULL) {
        rig_mix_slice(told, event->media->media_type);
        rig_mix_slice(told, event->media->data);
    } else if (event->kind == PS_EVENT_EMBEDDING && event->vector != NULL) {
        rig_mix(&told->events, event->vector, event->dimensions * sizeof(*event->vector));
    } else if (event->kind == PS_EVENT_SCORE && event->score != NULL) {
        rig_mix_slice(told, event->score->number);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        rig_mix_slice(told, event->logprob.token);
        for (size_t i = 0; i < event->top_count; i++) {
            rig_mix_slice(told, event->top[i].token);
        }
    }
}

static inline void rig_mix_event(struct rig_told *told, const struct ps_event *event)
{
    told->count++;
    rig_mix(&told->events, &event->kind, sizeof(event->kind));
    rig_mix(&told->events, &event->choice, sizeof(event->choice));
    rig_mix(&told->events, &event->block, sizeof(event->block));
    rig_mix(&told->events, &event->index, sizeof(event->index));
    rig_mix_slice(told, event->text);
    rig_mix_slice(told, event->finish_text);
    rig_mix(&told->events, &event->usage, sizeof(event->usage));
    rig_mix_parts(told, event);
    if (event->fault != NULL) {
        rig_mix(&told->events, event->fault->message, strlen(event->fault->message));
    }
}

/* Feeds all of it; a broken answer must have a fault that says something, a good one an end. Frees
 * the decoder. */
static inline void rig_feed(struct ps_decoder *decoder, const char *ptr, size_t len, size_t step,
                            struct rig_told *told)
{
    if (decoder == NULL) {
        abort();
    }
    for (size_t at = 0; at < len && told->result == PS_DECODE_OK; at += step) {
        told->result = ps_decoder_feed(decoder, ptr + at, step < len - at ? step : len - at);
    }
    if (told->result == PS_DECODE_OK) {
        told->result = ps_decoder_finish(decoder);
    }
    if (told->result == PS_DECODE_BROKEN) {
        told->fault = ps_decoder_fault(decoder)->kind;
        if (told->fault == PS_FAULT_NONE || ps_decoder_fault(decoder)->message[0] == '\0') {
            abort();
        }
    } else if (!told->ended) {
        abort();
    }
    ps_decoder_free(decoder);
}

/* Arguments may nest as deep as is allowed, and then stand inside an answer. */
static inline void rig_expect_json(const struct ps_buf *out)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 1000000};
    enum ps_json_error error = ps_json_scan_text(ps_buf_view(out), NULL, &limits, NULL, NULL);

    if (out->failed || (error != PS_JSON_OK && error != PS_JSON_DEPTH)) {
        abort();
    }
}

typedef struct rig_told (*rig_run_fn)(uint8_t how, const char *ptr, size_t len, size_t step);

/* Whether the input was long enough to be run. */
static inline bool rig_fuzz(const uint8_t *data, size_t size, rig_run_fn run)
{
    static bool ready;
    struct rig_told whole;
    struct rig_told pieces;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    if (size < 2) {
        return false;
    }
    whole = run(data[0], (const char *)data + 2, size - 2, SIZE_MAX / 2);
    pieces = run(data[0], (const char *)data + 2, size - 2, (size_t)data[1] % 64 + 1);
    if (whole.result != pieces.result || whole.fault != pieces.fault ||
        whole.count != pieces.count || whole.events != pieces.events) {
        abort();
    }
    return true;
}

#endif
