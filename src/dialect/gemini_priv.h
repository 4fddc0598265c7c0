/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_GEMINI_PRIV_H
#define PENSTOCK_DIALECT_GEMINI_PRIV_H

#include "dialect_priv.h"
#include "encode.h"
#include "fields_reader.h"
#include "json_walk.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/sse.h"

/*
 * Google's Gemini API (generateContent and its like): a back for every front, by the neutral form,
 * and a door of its own, whose requests are relayed byte for byte to a back of the family.
 */

/* ps_encoded.memo: what the decoder has to know */
#define PS_GEMINI_SERIAL    1U /* only the first tool call of an answer was asked for */
#define PS_GEMINI_NORMALISE 2U /* vectors were shortened: to be made of length 1 */

/* ---- gemini_encode.c, gemini_config.c, gemini_turns.c ---- */

int ps_gemini_encode_neutral(struct ps_encode *encode);
/* What is relayed, and the gateway's own question for the list of models. */
int ps_gemini_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
/* "/v1beta", unless the base URL has a version. */
const char *ps_gemini_version(struct ps_slice base_path);
/* A model's name as it stands in a path, "models/x"; ptr NULL when memory is short. */
struct ps_slice ps_gemini_resource(struct ps_slice name, struct ps_arena *arena);
/* Members "systemInstruction" and "contents". */
int ps_gemini_encode_turns(struct ps_encode *encode);
/* Member "generationConfig", and what of a request has no place at all. */
int ps_gemini_encode_config(struct ps_encode *encode);
/*
 * Whether the model thinks by levels and wants signatures back (Gemini 3 and later), not by a
 * budget: settings.thinking says so ("effort"), or else its name.
 */
bool ps_gemini_has_levels(const struct ps_encode *encode);

/* ---- gemini_decoder.c ---- */

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

/* A whole answer that passes, looked at on its way. */
#define PS_GEMINI_TAIL   512 /* bytes of a value at most, should it be cut */
#define PS_GEMINI_NUMBER 24
struct ps_gemini_tap {
    struct ps_json_scan scan;
    struct ps_slice piece; /* at hand */
    uint64_t start;        /* offset of it */
    char tail[PS_GEMINI_TAIL];
    size_t tail_len;
    char numbers[PS_GEMINI_COUNTS + 1][PS_GEMINI_NUMBER]; /* raw; the last is countTokens' */
    struct ps_slice told[PS_GEMINI_COUNTS + 1];
    char error[2 * PS_GEMINI_TAIL]; /* its members as they came, JSON */
    bool is_error;
    bool said; /* a part has come in this piece */
};

struct ps_gemini_decoder {
    struct ps_decoder base;
    struct ps_gemini_tap tap;
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

/* ---- gemini_tap.c ---- */

int ps_gemini_tap_global_init(void);
void ps_gemini_tap_global_deinit(void);
void ps_gemini_tap_init(struct ps_gemini_decoder *decoder);
enum ps_decode ps_gemini_tap_feed(struct ps_gemini_decoder *decoder, const char *ptr, size_t len);
enum ps_decode ps_gemini_tap_finish(struct ps_gemini_decoder *decoder);

/* ---- gemini_said.c ---- */

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

/* ---- the door: gemini_reader.c ---- */

/* ps_request.shape */
#define PS_GEMINI_ARRAY 1U /* a stream is one JSON array, not events */
#define PS_GEMINI_BATCH 2U /* vectors of several requests at once */

int ps_gemini_reader_global_init(void);
void ps_gemini_reader_global_deinit(void);
int ps_gemini_reader_init(struct ps_reader *reader);
int ps_gemini_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

/* ---- the door: gemini_own.c ---- */

/* A request of the family to a target of the family: byte for byte, but for the model's name. */
int ps_gemini_own(const struct ps_request *request, const struct ps_encode_options *options,
                  struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);

/* ---- the door: gemini_front*.c ---- */

int ps_gemini_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault);

/* Whether a raw key means this name, in camelCase or with underscores: both are taken. */
bool ps_gemini_key_is(struct ps_slice key, const char *name);
/* As ps_build_members; names are given in camelCase. */
int ps_gemini_members(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice object, struct ps_build_member *members, size_t count);
/* Likewise ps_build_word: words of enumerations are taken in any case. */
int ps_gemini_word(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                   struct ps_slice raw, const char *const *words, int *ret);
/* Likewise ps_build_int: clients write integers with a point, or as strings; *ret is plain. */
int ps_gemini_int(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, int64_t low, int64_t high, struct ps_slice *ret);
/* "contents" and "systemInstruction"; `top`: what they stand in, NULL at the top of the body. */
int ps_gemini_contents(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                       struct ps_slice system, struct ps_slice contents);

/* A part of a turn, as the API has it: which of its kinds, and what is said with it. */
enum ps_gemini_kind {
    PS_GEMINI_TEXT,
    PS_GEMINI_BLOB,
    PS_GEMINI_FILE,
    PS_GEMINI_CALL,
    PS_GEMINI_RESPONSE,
};
struct ps_gemini_part {
    enum ps_gemini_kind kind;
    struct ps_slice value;     /* raw; TEXT: a string, or nothing but its signature */
    struct ps_slice signature; /* RAW string */
    bool thought;
};
/* What runs at the provider is refused by name. */
int ps_gemini_read_part(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                        struct ps_slice raw, struct ps_gemini_part *ret);
/* A BLOB or FILE as a part of the neutral form. */
int ps_gemini_read_media(struct ps_neutral_build *build, const struct ps_gemini_part *from,
                         struct ps_neutral_part *part);
/* What a function gave back, without the call it belongs to. */
int ps_gemini_read_response(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                            struct ps_slice raw, struct ps_neutral_result *result,
                            struct ps_slice *ret_name);

#define PS_GEMINI_CALLS 1024 /* in one turn */

/* A turn as it stands in the body. */
struct ps_gemini_content {
    struct ps_neutral_at at;
    bool is_model;
    struct ps_slice parts; /* RAW array, or none */
    size_t count;
};

/* A conversation in the making. */
struct ps_gemini_contents {
    struct ps_neutral_build *build;
    struct ps_neutral_message *list; /* room for the system, and for two for each content */
    size_t count;
    uint32_t made_ids;
    /* calls of the model's last turn, in their order */
    const struct ps_neutral_call *calls[PS_GEMINI_CALLS];
    bool answered[PS_GEMINI_CALLS];
    size_t call_count;
};

/* Makes one message of all turns of the model from `first` on; *ret: how many they are. */
int ps_gemini_read_model(struct ps_gemini_contents *contents, const struct ps_gemini_content *first,
                         size_t left, size_t *ret);

int ps_gemini_tools(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                    struct ps_slice tools, struct ps_slice config);
int ps_gemini_config(struct ps_neutral_build *build, const struct ps_neutral_at *top,
                     struct ps_slice raw);
/* Google's subset of OpenAPI as JSON Schema, a raw object; ptr NULL with a fault. */
struct ps_slice ps_gemini_schema(struct ps_neutral_build *build, struct ps_slice raw);
int ps_gemini_inputs(struct ps_neutral_build *build);

/* ---- the door: gemini_writer.c ---- */

struct ps_gemini_answer;
struct ps_gemini_writer {
    struct ps_writer base;
    bool is_array;
    bool started; /* the first piece of a stream has gone out */
    size_t held;  /* bytes of all choices */
    struct ps_gemini_answer *choices[PS_GEMINI_CHOICES]; /* owned; NULL: it has said nothing */
    struct ps_usage usage;
    struct ps_buf vectors; /* their JSON, one after the other */
    struct ps_buf places;  /* where in it each lies */
};

int ps_gemini_writer_init(struct ps_writer *writer);
void ps_gemini_writer_deinit(struct ps_writer *writer);
int ps_gemini_writer_event(struct ps_writer *writer, const struct ps_event *event,
                           struct ps_buf *out, struct ps_fault *ret_fault);
void ps_gemini_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                          struct ps_buf *out);
void ps_gemini_writer_fail(struct ps_writer *writer, const struct ps_fault *fault,
                           struct ps_buf *out);
const char *ps_gemini_writer_type(const struct ps_writer *writer);

/* ---- the door: gemini_answer.c ---- */

/* One choice's answer in the making: what waits until it can be written. */
struct ps_gemini_answer {
    struct ps_buf parts; /* JSON, commas between; the last may still grow */
    struct ps_buf tail;  /* of the open thought: its signature */
    struct ps_buf calls; /* that wait, in the order they began */
    size_t call_bytes;
    uint32_t told_calls;  /* calls of a lower number have been written: nothing may be added */
    struct ps_buf chunks; /* sources, JSON */
    struct ps_buf chosen; /* log probabilities, JSON */
    struct ps_buf top;
    double logprobs; /* their sum */
    uint32_t logprob_count;
    enum {
        PS_GEMINI_NONE_OPEN,
        PS_GEMINI_TEXT_OPEN,
        PS_GEMINI_THOUGHT_OPEN,
    } open;
    uint32_t block; /* of the open thought */
    bool said;      /* anything but an end */
    bool refused;   /* in words of a refusal */
    enum ps_finish finish;
};

struct ps_gemini_answer *ps_gemini_answer_new(size_t max); /* NULL: memory */
void ps_gemini_answer_free(struct ps_gemini_answer *answer);
/* What it holds, and whether memory was short for that. */
size_t ps_gemini_answer_bytes(const struct ps_gemini_answer *answer);
bool ps_gemini_answer_failed(const struct ps_gemini_answer *answer);
/* Adds what an event of this choice says; -1 with a fault. */
int ps_gemini_answer_add(struct ps_gemini_answer *answer, const struct ps_event *event,
                         struct ps_fault *ret_fault);
/* Calls wait until something else comes, since their fragments may be mixed: now they are parts. */
void ps_gemini_answer_settle(struct ps_gemini_answer *answer);
/* A candidate with all parts so far, which are then forgotten; `ends`: with the reason. */
void ps_gemini_answer_write(struct ps_gemini_answer *answer, uint32_t index, bool ends,
                            struct ps_json_out *out);

void ps_gemini_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                           struct ps_buf *out);
void ps_gemini_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                                 struct ps_buf *out);

/* ---- gemini.c ---- */

int ps_gemini_models(struct ps_slice body,
                     void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg);

#endif
