/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_GEMINI_PRIV_H
#define PENSTOCK_DIALECT_GEMINI_PRIV_H

#include "dialect_priv.h"
#include "encode.h"
#include "fields.h"
#include "json_walk.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/sse.h"

/* Google's Gemini API (generateContent and its like). A back only: every request comes through the
 * neutral form. */

/* ps_encoded.memo: what the decoder has to know */
#define PS_GEMINI_SERIAL    1U /* only the first tool call of an answer was asked for */
#define PS_GEMINI_NORMALISE 2U /* vectors were shortened: to be made of length 1 */

/* ---- gemini_encode.c, gemini_config.c, gemini_turns.c ---- */

int ps_gemini_encode_neutral(struct ps_encode *encode);
/* The gateway's own question for the list of models. */
int ps_gemini_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
/* Members "systemInstruction" and "contents". */
int ps_gemini_encode_turns(struct ps_encode *encode);
/* Member "generationConfig", and what of a request has no place at all. */
int ps_gemini_encode_config(struct ps_encode *encode);
/*
 * Whether the model thinks by levels and wants signatures back (Gemini 3 and later), not by a
 * budget: settings.thinking says so ("effort"), or else its name.
 */
bool ps_gemini_has_levels(const struct ps_encode *encode);

/* ---- gemini_decoder.c, gemini_said.c ---- */

/* What we look for in an answer, or in one event of a stream, which is an answer as well. */
enum ps_gemini_value {
    PS_GEMINI_V_ERROR,
    PS_GEMINI_V_CANDIDATES,
    PS_GEMINI_V_BLOCK_REASON,
    PS_GEMINI_V_MODEL,
    PS_GEMINI_V_ID,
    PS_GEMINI_V_PROMPT, /* counts, in the order of ps_gemini_decoder.counts */
    PS_GEMINI_V_CACHED,
    PS_GEMINI_V_OUTPUT,
    PS_GEMINI_V_THOUGHTS,
    PS_GEMINI_V_TOOL_PROMPT,
    PS_GEMINI_V_TOTAL,
    PS_GEMINI_V_TOTAL_TOKENS, /* countTokens */
    PS_GEMINI_V_VECTOR,       /* embedContent */
    PS_GEMINI_V_VECTORS,      /* batchEmbedContents */
    PS_GEMINI_VALUES,
};
#define PS_GEMINI_COUNTS  (PS_GEMINI_V_TOTAL - PS_GEMINI_V_PROMPT + 1)
#define PS_GEMINI_CHOICES 8 /* candidates of one answer: the API gives no more */
#define PS_GEMINI_WORD    48

struct ps_gemini_found {
    struct ps_slice text;
    struct ps_slice values[PS_GEMINI_VALUES]; /* raw; len 0: not there, or null */
};

struct ps_gemini_choice {
    uint32_t calls;            /* that have been told */
    bool signed_text;          /* the signature of its text has been told */
    bool blocked;              /* the prompt was refused, and `word` says why */
    char word[PS_GEMINI_WORD]; /* the reason for its end, "" until it is known */
};

struct ps_gemini_decoder {
    struct ps_decoder base;
    bool is_stream;
    bool finishing; /* the stream's framing has ended */
    bool started;
    int64_t counts[PS_GEMINI_COUNTS]; /* -1: not told */
    struct ps_gemini_choice choices[PS_GEMINI_CHOICES];
    uint32_t choice_count; /* one past the last that was seen */
    uint32_t images;       /* that have been told */
    struct ps_gemini_found found;
    struct ps_buf text; /* unescaped, for the event at hand */
    struct ps_sse sse;
    struct ps_buf body; /* the whole answer */
};

int ps_gemini_decoder_global_init(void);
void ps_gemini_decoder_global_deinit(void);
int ps_gemini_decoder_init(struct ps_decoder *decoder, struct ps_slice content_type);
void ps_gemini_decoder_deinit(struct ps_decoder *decoder);
enum ps_decode ps_gemini_decoder_feed(struct ps_decoder *decoder, const char *ptr, size_t len);
enum ps_decode ps_gemini_decoder_finish(struct ps_decoder *decoder);

enum ps_decode ps_gemini_out_of_memory(struct ps_gemini_decoder *decoder);
/* Room for texts of one event of `len` raw bytes in all; false: broken for want of memory. */
bool ps_gemini_text_begin(struct ps_gemini_decoder *decoder, size_t len);
/* A raw string unescaped, until the next ps_gemini_text_begin; empty when it is none. */
struct ps_slice ps_gemini_text(struct ps_gemini_decoder *decoder, struct ps_slice raw);
/* Tells what decoder->found has of a conversation. False: stop. */
bool ps_gemini_say(struct ps_gemini_decoder *decoder);
/* Whether every choice so far has an end; there is at least one. */
bool ps_gemini_is_finished(const struct ps_gemini_decoder *decoder);
/* The ends of all choices. */
bool ps_gemini_say_ends(struct ps_gemini_decoder *decoder);
bool ps_gemini_say_usage(struct ps_gemini_decoder *decoder);
/* One vector, raw. */
bool ps_gemini_say_vector(struct ps_gemini_decoder *decoder, uint32_t index, struct ps_slice raw);

/* ---- gemini_fault.c ---- */

/* A google.rpc.Status as raw JSON object; `status` 0: it came in the body of a success. */
void ps_gemini_fault_of(int status, struct ps_slice error, struct ps_fault *ret_fault);
void ps_gemini_fault(int status, struct ps_slice body, struct ps_fault *ret_fault);
int ps_gemini_fault_global_init(void);
void ps_gemini_fault_global_deinit(void);

/* ---- gemini.c ---- */

int ps_gemini_models(struct ps_slice body,
                     void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg);

#endif
