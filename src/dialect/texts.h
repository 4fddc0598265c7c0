/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_TEXTS_H
#define PENSTOCK_DIALECT_TEXTS_H

#include "dialect_priv.h"
#include "json_walk.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/sse.h"

/*
 * What decoders share whose answers are a number of JSON texts, the events or lines of a stream or
 * one whole: each is checked and handed over in one piece. Where an answer is relayed, its bytes go
 * along.
 *
 * A stream's last text is said by on_text, with DONE or a FAULT; an end without one of them is
 * broken off. A whole answer is gathered, scanned as it comes and handed to on_whole, which says
 * all but RESULT and DONE. Nothing is above options.event_bytes.
 */

struct ps_texts;
struct ps_texts_ops {
    bool ndjson; /* streams are lines; otherwise server-sent events */
    /* `text` is valid JSON; `name` that of an event, or empty. False: stop. */
    bool (*on_text)(struct ps_texts *texts, struct ps_slice name, struct ps_slice text);
    bool (*on_whole)(struct ps_texts *texts, struct ps_slice text);
};

struct ps_texts {
    struct ps_decoder base;
    const struct ps_texts_ops *ops;
    bool is_stream;
    bool finishing; /* the stream's framing has ended */
    struct ps_sse sse;
    struct ps_json_scan scan;
    struct ps_buf body;  /* the whole answer */
    struct ps_buf plain; /* unescaped, for the event at hand */
};

int ps_texts_init(struct ps_texts *texts, const struct ps_texts_ops *ops,
                  struct ps_slice content_type);
void ps_texts_deinit(struct ps_decoder *base);
enum ps_decode ps_texts_feed(struct ps_decoder *base, const char *ptr, size_t len);
enum ps_decode ps_texts_finish(struct ps_decoder *base);

/* Whether it is one whole JSON text: walks read no other. */
bool ps_texts_is_json(struct ps_slice text);
/* An integer from 0 on; -1: it is none. */
int64_t ps_texts_count(struct ps_slice raw);

/*
 * Texts of one event: room for `len` raw bytes in all, then each raw string unescaped (empty when
 * it is none). False: memory is short, the decoder is broken.
 */
bool ps_texts_begin(struct ps_texts *texts, size_t len);
struct ps_slice ps_texts_plain(struct ps_texts *texts, struct ps_slice raw);

/* Each returns false to stop. A text that is empty or no string is no event. */
bool ps_texts_emit_start(struct ps_texts *texts, struct ps_slice id, struct ps_slice model);
bool ps_texts_emit_text(struct ps_texts *texts, enum ps_event_kind kind, uint32_t block,
                        struct ps_slice raw);
bool ps_texts_emit_usage(struct ps_texts *texts, const struct ps_usage *usage);
bool ps_texts_emit_finish(struct ps_texts *texts, enum ps_finish finish, struct ps_slice word);
/* A call that comes whole: {"id":…,"function":{"name":…,"arguments":…}}, the arguments an object or
 * a string, the id perhaps missing. `number`: which of the answer's it is. */
bool ps_texts_emit_call(struct ps_texts *texts, uint32_t number, struct ps_slice call);
/* Vectors of an array, from the first input on. */
bool ps_texts_emit_vectors(struct ps_texts *texts, struct ps_slice array);
/* With decoder->base.fault set; returns false. */
bool ps_texts_emit_fault(struct ps_texts *texts);
/* The bytes are not what they should be; returns false. */
bool ps_texts_break(struct ps_texts *texts, const char *why);

/* Models of {"models":[{"name":…}, …]}. */
int ps_texts_models(struct ps_slice body,
                    void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg);

#endif
