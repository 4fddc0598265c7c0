/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_PRIV_H
#define PENSTOCK_DIALECT_PRIV_H

#include "call_order.h"

#include "penstock/base/id.h"
#include "penstock/dialect/dialect.h"
#include "penstock/dialect/neutral.h"

/*
 * A dialect is one row of functions; dialect.c lists the rows. A family that can only be asked, or
 * only be answered in, leaves the functions of the other side NULL. What a family keeps per reader,
 * writer or decoder begins with the struct below, and `…_size` says how long it is; it starts as
 * zeros.
 */

struct ps_prompt_build;
struct ps_encode;

struct ps_reader {
    const struct ps_dialect *dialect;
    struct ps_reader_options options;
    struct ps_request *request; /* borrowed */
    struct ps_arena *arena;     /* borrowed; the reader itself lies in it */
};

struct ps_decoder {
    const struct ps_dialect *dialect;
    const char *maker;                 /* of its events: the name of its family's first row */
    struct ps_decoder_options options; /* content_type is not kept; `id` is copied to id_text */
    char id_text[40];
    uint32_t made_ids; /* so far */
    ps_event_fn on_event;
    void *arg;
    struct ps_fault fault; /* for PS_DECODE_BROKEN */
    struct ps_slice raw;   /* of the bytes at hand, until an event has carried it */
    uint64_t fed;          /* bytes of the answer so far */
    uint64_t told;         /* and those that events have carried */
    bool withheld;         /* about raw */
    bool stopped;          /* on_event has returned false */
    bool broken;
    bool ended;  /* DONE or FAULT was told: what follows is dropped */
    bool lf_due; /* but for an LF, where the terminal marker ended with a CR */
};

struct ps_writer {
    const struct ps_dialect *dialect;
    struct ps_writer_options options; /* id and model are in the arena */
    struct ps_call_order order;
};

struct ps_dialect {
    const char *name;
    enum ps_family family;
    const char *credential_header;
    const char *credential_prefix;

    int (*global_init)(void);
    void (*global_deinit)(void);

    size_t reader_size;
    int (*reader_init)(struct ps_reader *reader); /* -1: memory */
    int (*reader_feed)(struct ps_reader *reader, const char *ptr, size_t len,
                       struct ps_fault *ret_fault);
    int (*reader_finish)(struct ps_reader *reader, struct ps_fault *ret_fault);

    /* Neutral forms of this family's requests; bit per operation. 0 and NULL: only relayed. */
    unsigned reads;
    int (*neutral)(const struct ps_request *request, struct ps_arena *arena, struct ps_neutral *ret,
                   struct ps_fault *ret_fault);
    /* For models in this process; NULL: made of the neutral form */
    int (*prompt)(struct ps_prompt_build *build, const struct ps_request *request);

    size_t writer_size; /* 0: answers of this family are only relayed */
    unsigned writes;    /* bit per operation */
    int (*writer_init)(struct ps_writer *writer);
    void (*writer_deinit)(struct ps_writer *writer);
    int (*writer_event)(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                        struct ps_fault *ret_fault);
    void (*writer_end)(struct ps_writer *writer, const struct ps_answer_info *info,
                       struct ps_buf *out);
    /* Instead of write_fault_event, once it has begun: the stream's own last event. NULL: none. */
    void (*writer_fail)(struct ps_writer *writer, const struct ps_fault *fault, struct ps_buf *out);
    bool (*writer_kept)(const struct ps_writer *writer, struct ps_id *ret_id,
                        struct ps_buf *out); /* NULL: nothing is */
    void (*write_fault)(const struct ps_fault *fault, struct ps_slice request_id,
                        struct ps_buf *out);
    void (*write_fault_event)(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out);
    const char *ping;        /* keeps its streams alive; "": nothing can; NULL: a comment of SSE */
    const char *stream_type; /* content type of its streams; NULL: text/event-stream */
    /* Where that hangs on the request; returns NULL: as stream_type says */
    const char *(*writer_type)(const struct ps_writer *writer);
    /* Lists of models. NULL: in OpenAI's shape */
    const char *models_begin;
    void (*write_model)(const struct ps_model_info *model, struct ps_buf *out);
    void (*write_models_end)(struct ps_slice first, struct ps_slice last,
                             struct ps_buf *out); /* NULL: "]}" */

    /* Bits per operation; both 0: a front only. */
    unsigned own;        /* asked byte for byte by its own family */
    unsigned translates; /* asked by others through the neutral form */
    const char *health_path;
    const struct ps_dialect_settings *defaults; /* of this row; NULL: none */
    /* NULL: its own family, as `own` says */
    bool (*relays)(const struct ps_dialect_settings *settings, enum ps_family front,
                   enum ps_operation operation);
    /* What is relayed, and PS_OP_MODELS of any front */
    int (*encode)(const struct ps_request *request, const struct ps_encode_options *options,
                  struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
    int (*encode_neutral)(struct ps_encode *encode); /* encode.h */
    size_t decoder_size;
    int (*decoder_init)(struct ps_decoder *decoder, struct ps_slice content_type);
    void (*decoder_deinit)(struct ps_decoder *decoder);
    enum ps_decode (*decoder_feed)(struct ps_decoder *decoder, const char *ptr, size_t len);
    enum ps_decode (*decoder_finish)(struct ps_decoder *decoder);
    void (*fault)(int status, struct ps_slice body, struct ps_fault *ret_fault);
    int (*models)(struct ps_slice body,
                  void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg);
};

/* PS_FOR(operation) of fields.h makes the bits. */

/* What was configured, or the row's defaults; never NULL. */
const struct ps_dialect_settings *
ps_dialect_settings_of(const struct ps_dialect *dialect,
                       const struct ps_dialect_settings *settings);

extern const struct ps_dialect ps_dialect_openai;
extern const struct ps_dialect ps_dialect_responses;
extern const struct ps_dialect ps_dialect_vllm;
extern const struct ps_dialect ps_dialect_sglang;
extern const struct ps_dialect ps_dialect_llama_server;
extern const struct ps_dialect ps_dialect_ray;
extern const struct ps_dialect ps_dialect_azure;
extern const struct ps_dialect ps_dialect_http;
extern const struct ps_dialect ps_dialect_tgi;
extern const struct ps_dialect ps_dialect_triton;
extern const struct ps_dialect ps_dialect_generate;
extern const struct ps_dialect ps_dialect_anthropic;
extern const struct ps_dialect ps_dialect_ollama;
extern const struct ps_dialect ps_dialect_cohere;
extern const struct ps_dialect ps_dialect_gemini;

/* Hands one event up, with the raw bytes at hand when no event has carried them yet. False: stop.
 */
bool ps_decoder_emit(struct ps_decoder *decoder, struct ps_event *event);
/* The same for an event that is nothing but its kind. */
bool ps_decoder_emit_kind(struct ps_decoder *decoder, enum ps_event_kind kind);
/* Notes why the bytes are not what they should be; returns PS_DECODE_BROKEN. */
enum ps_decode ps_decoder_break(struct ps_decoder *decoder, enum ps_fault_kind kind,
                                const char *why);
/* An id for a tool call that the upstream gives none: "call_<26 characters>_<n>", in `ret`. */
struct ps_slice ps_decoder_call_id(struct ps_decoder *decoder, char ret[64]);
/* OK, STOPPED or BROKEN, as the flags say. */
enum ps_decode ps_decoder_result(const struct ps_decoder *decoder);

/* The answer's id as its front writes it, quoted: "<prefix>" instead of "gen_" (an id that begins
 * otherwise stays as it is), then "_<number>" unless that is below 0. */
void ps_writer_write_id(const struct ps_writer *writer, const char *prefix, int64_t number,
                        struct ps_buf *out);

/* {"message":…,"type":…,"param":…,"code":…}, which OpenAI's family and our own share. */
void ps_dialect_write_error_object(const struct ps_fault *fault, struct ps_buf *out);

/* The media type alone, without parameters and white space around it. */
struct ps_slice ps_dialect_media_type(struct ps_slice content_type);
bool ps_dialect_is_json(struct ps_slice media_type); /* application/json, …+json */

#endif
