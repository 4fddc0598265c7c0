/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_PLAIN_PRIV_H
#define PENSTOCK_DIALECT_PLAIN_PRIV_H

#include "dialect_priv.h"
#include "encode.h"
#include "json_walk.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/sse.h"

/*
 * What models have in common that take a text and give one: no messages, no tools, one answer
 * (Triton, TGI, plain HTTP). Where an answer is relayed, a whole one is still held to its end.
 */

/* ---- back: plain_encode.c ---- */

/* For CHAT and COMPLETE, all but the prompt itself and extras; `takes` as in encode.h. */
int ps_plain_check(struct ps_encode *encode, unsigned takes);
/* The prompt as one JSON string. */
int ps_plain_prompt(struct ps_encode *encode);
/* What an EMBED has beside them. */
int ps_plain_check_embed(struct ps_encode *encode);
/* A path from the configuration, "{model}" replaced; ptr NULL with a fault. */
struct ps_slice ps_plain_path(struct ps_encode *encode, struct ps_slice path);

/* ---- back: plain_decoder.c ---- */

enum ps_plain_mode {
    PS_PLAIN_WHOLE,  /* one JSON text */
    PS_PLAIN_SSE,    /* one in each event */
    PS_PLAIN_NDJSON, /* one in each line */
    PS_PLAIN_BYTES,  /* no JSON: the body is the text */
};

struct ps_plain_decoder;
/* One JSON text, scanned: a whole answer or one event. False: stop (broken, or told to). */
typedef bool (*ps_plain_json_fn)(struct ps_plain_decoder *decoder, struct ps_slice json);

struct ps_plain_decoder {
    struct ps_decoder base;
    enum ps_plain_mode mode;
    ps_plain_json_fn on_json;
    bool needs_finish; /* a stream that does not tell why it ended was cut */
    bool has_finish;
    bool said;      /* text, or a vector */
    bool finishing; /* the framing has ended */
    uint32_t vectors;
    enum ps_finish finish;
    char finish_text[40];
    size_t finish_len;
    struct ps_usage usage;
    struct ps_sse sse;
    struct ps_buf body; /* WHOLE: all of it; BYTES: the beginning of a character */
    struct ps_buf text; /* unescaped, for the event at hand */
};

int ps_plain_init(struct ps_plain_decoder *decoder, enum ps_plain_mode mode,
                  ps_plain_json_fn on_json);
void ps_plain_decoder_deinit(struct ps_decoder *decoder);
enum ps_decode ps_plain_decoder_feed(struct ps_decoder *decoder, const char *ptr, size_t len);
enum ps_decode ps_plain_decoder_finish(struct ps_decoder *decoder);

/* A piece of text, raw string; nothing when it is "". */
bool ps_plain_say(struct ps_plain_decoder *decoder, struct ps_slice raw);
/* One vector, a raw array. Broken when it is none. */
bool ps_plain_vector(struct ps_plain_decoder *decoder, struct ps_slice raw);
/* An array of numbers, or of arrays of them. */
bool ps_plain_vectors(struct ps_plain_decoder *decoder, struct ps_slice raw);
/* Why it ended, a raw string: told at the end. Nothing when it says nothing. */
void ps_plain_note_finish(struct ps_plain_decoder *decoder, struct ps_slice raw);
/* A count; *ret is unchanged when it is none. */
bool ps_plain_count(struct ps_slice raw, int64_t *ret);
/* Usage, the reason, DONE: nothing follows. */
bool ps_plain_end(struct ps_plain_decoder *decoder);
/* An error in the answer; false. `type` and `message` are raw; `status` 0: not known. */
bool ps_plain_error(struct ps_plain_decoder *decoder, int status, struct ps_slice type,
                    struct ps_slice message);
bool ps_plain_broken(struct ps_plain_decoder *decoder, const char *why);

/* Whether an "error" says that there is one. */
static inline bool ps_plain_is_truthy(struct ps_slice raw)
{
    return raw.len > 0 && raw.ptr[0] != 'f' && raw.ptr[0] != 'n' &&
           !ps_slice_eq(raw, PS_SLICE_LIT("\"\"")) && !ps_slice_eq(raw, PS_SLICE_LIT("{}"));
}

#endif
