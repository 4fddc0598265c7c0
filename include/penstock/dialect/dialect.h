/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_DIALECT_H
#define PENSTOCK_DIALECT_DIALECT_H

#include "penstock/base/arena.h"
#include "penstock/base/buf.h"
#include "penstock/base/fault.h"
#include "penstock/base/id.h"
#include "penstock/base/slice.h"
#include "penstock/dialect/event.h"
#include "penstock/dialect/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A dialect translates between bytes and requests or events: pure functions and small state
 * machines, no I/O, no clock, no globals but constants. Any thread, one object one thread. Memory
 * comes from the arena of the exchange, growing buffers are bounded.
 *
 *   front side    reader: body bytes → request;   writer: events → body bytes;   fault → body bytes
 *   back side     encode: request → upstream request;   decoder: body bytes → events;   error body
 * → fault
 */

struct ps_dialect;

/* Once, before threads: compiles the tables of paths. 0, or -1 when memory is short. */
int ps_dialect_global_init(void) __attribute__((warn_unused_result));
void ps_dialect_global_deinit(void);
/* By the name of the configuration ("openai"); NULL: unknown. */
const struct ps_dialect *ps_dialect_find(const char *name);
/* The names a provider may have, NULL-terminated: each a row that has an upstream. */
const char *const *ps_dialect_names(void);
const struct ps_dialect *ps_dialect_of_family(enum ps_family family);
enum ps_family ps_dialect_family(const struct ps_dialect *dialect);
/*
 * What the configuration says about a provider, for its dialect: texts lie in the snapshot, which
 * outlives every call. len 0 and zero: not given, the dialect has a default. A dialect reads what
 * concerns it.
 */
struct ps_dialect_settings {
    struct ps_slice api_version; /* azure: of the dated API; anthropic: instead of the default */
    bool native_responses; /* openai, azure: it has /responses, so that door passes as it is */
    bool self_hosted;      /* takes members that we do not know (vLLM, SGLang, llama-server …) */
    bool old_max_tokens;   /* openai: does not know max_completion_tokens */
    int64_t max_tokens;    /* anthropic: where the client gives none and it needs one */
    struct ps_slice thinking; /* anthropic, gemini: "effort" or "budget", whichever the model has */
    struct ps_slice input_type; /* cohere: of embeddings */
    /* triton, http: what the model calls things */
    struct ps_slice shape;       /* triton: "vllm", "trtllm", "llmapi", "tensor", "tensor-batch" */
    struct ps_slice path;        /* http: behind the base URL; triton: instead of the usual */
    struct ps_slice stream_path; /* http: for streams, when it is another */
    struct ps_slice stream_mode; /* http: "none", "ndjson", "sse" or "raw" */
    struct ps_slice body_template; /* http: a JSON object to start from */
    /* http: RFC 6901 pointers into the request and the answer; triton: tensors, by name */
    struct ps_slice prompt_at;     /* request: the prompt as text */
    struct ps_slice messages_at;   /* request: messages in OpenAI's shape, instead of it */
    struct ps_slice model_at;      /* request */
    struct ps_slice max_tokens_at; /* request; likewise temperature, stop and stream */
    struct ps_slice temperature_at;
    struct ps_slice stop_at;
    struct ps_slice stream_at;
    struct ps_slice text_at;   /* answer: the text, or the piece of it in one event of a stream */
    struct ps_slice vector_at; /* answer: an embedding, or an array of them */
    struct ps_slice error_at;  /* answer: what an error says */
    struct ps_slice finish_at; /* answer: the reason for its end */
};

/* What a dialect's row has as its own defaults: where the configuration starts from. */
struct ps_dialect_settings ps_dialect_defaults(const struct ps_dialect *dialect);

/* What is wrong with settings: which member, by its name in the configuration ("request.prompt"),
 * what should be there, and what is. */
struct ps_dialect_flaw {
    const char *key;
    const char *expected;
    struct ps_slice found;
};
/* Whether a dialect can work with them; false with the first flaw. */
bool ps_dialect_check_settings(const struct ps_dialect *dialect,
                               const struct ps_dialect_settings *settings,
                               struct ps_dialect_flaw *ret_flaw);

/* Whether it can be asked (back side) for an operation that came in by a family: as it is, or
 * through the neutral form. */
bool ps_dialect_speaks(const struct ps_dialect *dialect, enum ps_family front,
                       enum ps_operation operation);
/* Whether such a request goes out, and its answer comes back, byte for byte. `settings` may be
 * NULL. */
bool ps_dialect_relays(const struct ps_dialect *dialect, const struct ps_dialect_settings *settings,
                       enum ps_family front, enum ps_operation operation);
/* Where a self-hosted engine of this dialect tells its health (GET, absolute on the host:
 * "/health"); NULL: nowhere. */
const char *ps_dialect_health_path(const struct ps_dialect *dialect);

/* ---- front: reading a request ---- */

struct ps_reader_options {
    enum ps_operation operation;
    uint32_t json_depth; /* 64 */
    uint64_t json_nodes; /* 1,000,000 */
    bool bare_text;      /* /generate with text/plain: the body is the prompt */
    bool text_or_json; /* /generate with the form type of `curl -d`: JSON when it scans as an object
                        */
    bool want_text;    /* /generate with Accept: text/plain: streamed, bare */
};
struct ps_reader;
/*
 * `request` is filled by ps_reader_finish; its family, operation, method, path, query, content_type
 * and body chain are set by the caller before. The chain gets the same bytes that the reader is fed
 * (the caller appends them). NULL when the arena is exhausted.
 */
struct ps_reader *ps_reader_new(const struct ps_dialect *dialect,
                                const struct ps_reader_options *options, struct ps_request *request,
                                struct ps_arena *arena) __attribute__((warn_unused_result));
/* 0, or -1 with `ret_fault` (bad JSON, bad UTF-8, too deep, duplicate …): refuse at once, read no
 * more. */
int ps_reader_feed(struct ps_reader *reader, const char *ptr, size_t len,
                   struct ps_fault *ret_fault) __attribute__((warn_unused_result));
/* The body is complete and in the chain: checks fields, fills the request, builds the neutral form
 * of families that have no upstream of their own. */
int ps_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));

/*
 * The neutral form of a request that ps_reader_finish has filled, built at the first call (*ret is
 * request->neutral). 0, or -1 with a fault whose param is the path of the field: what the front
 * only relays otherwise is checked here to its last field.
 */
int ps_dialect_neutral(struct ps_request *request, struct ps_arena *arena,
                       const struct ps_neutral **ret, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));

/* ---- back: asking an upstream ---- */

/* What happens to fields that a target cannot express and that do not change the meaning. */
enum ps_drop_policy {
    PS_DROP_NAME,   /* left out, and named in ps_encoded.dropped */
    PS_DROP_SILENT, /* left out */
    PS_DROP_REFUSE, /* a fault that names the field */
};

struct ps_encode_options {
    struct ps_slice model;  /* the target's name for the model; len 0: leave as it is */
    bool active_accounting; /* ask for the usage chunk of streams */
    enum ps_drop_policy drop;
    struct ps_slice base_path; /* of the base URL, without '/' at its end ("/v1"): a dialect whose
                                  paths begin so leaves that out */
    const struct ps_dialect_settings *settings; /* NULL: the row's defaults */
};
struct ps_dialect_header {
    struct ps_slice name; /* lower case */
    struct ps_slice value;
};
struct ps_encoded {
    const char *method;           /* static or in the arena */
    struct ps_slice path;         /* behind the base URL, with '/' and query */
    bool from_root;               /* behind the host alone: the base URL's own path is in it */
    struct ps_slice content_type; /* empty: none */
    struct ps_slice accept;       /* empty: none */
    /* What the dialect needs beside them (anthropic-version); where the client's own header of that
     * name is forwarded, that one goes. At most 4. */
    const struct ps_dialect_header *headers;
    size_t header_count;
    struct ps_slice *parts; /* into the body chain, the edits and the arena */
    size_t part_count;
    uint64_t length;
    bool has_body;
    bool stream;             /* an event stream is expected */
    bool withhold_usage;     /* the client did not ask for the usage chunk that we ask for */
    bool relayed;            /* the answer goes to the client as it comes: decode without fields */
    struct ps_slice dropped; /* names of fields left out, "seed, logit_bias"; safe for a header */
    uint32_t memo;           /* what the decoder has to know: goes into its options */
};
/*
 * 0, or -1 with a fault (what the target cannot express; memory). Builds the neutral form when the
 * families differ. `request` may be asked of several targets, one after the other.
 */
int ps_dialect_encode(const struct ps_dialect *dialect, struct ps_request *request,
                      const struct ps_encode_options *options, struct ps_arena *arena,
                      struct ps_encoded *ret, struct ps_fault *ret_fault)
    __attribute__((warn_unused_result));
/* How a provider's key is sent: header name and what stands before the key ("authorization",
 * "Bearer "). */
void ps_dialect_credential(const struct ps_dialect *dialect, const char **ret_header,
                           const char **ret_prefix);

/* Whether an answer of this content type is a stream of events or lines. */
bool ps_dialect_is_stream(struct ps_slice content_type);

struct ps_decoder_options {
    enum ps_operation operation;
    enum ps_family front; /* of the request */
    bool stream;          /* as encoded */
    bool fields; /* the front translates: fill text and so on. Else only tap usage, finish, fault,
                    end */
    bool withhold_usage;
    uint32_t memo;      /* as encoded */
    struct ps_slice id; /* gen_… : ids that the upstream does not give are made from it */
    const struct ps_dialect_settings *settings; /* as for the encoder */
    struct ps_slice
        content_type;   /* of the answer: decides between event stream, JSON and other bytes */
    size_t event_bytes; /* one event at most; a whole answer at most when fields are wanted */
    uint32_t json_depth;
    uint64_t json_nodes;
};
enum ps_decode {
    PS_DECODE_OK,
    PS_DECODE_STOPPED, /* on_event returned false */
    PS_DECODE_BROKEN,  /* the bytes are not what the dialect says: ps_decoder_fault tells */
};
struct ps_decoder;
/*
 * For an answer of status 2xx. NULL when memory is short. Ends with ps_decoder_free (also
 * registered nowhere else: the caller owns it).
 *
 * A stream: one or more events per SSE event, the first with its raw. A whole answer (JSON): OPAQUE
 * pieces as the bytes come; at finish, when the JSON was whole and valid, RESULT, USAGE and FINISH
 * as found, DONE. With fields there are no pieces: at finish what was said, USAGE, FINISH, RESULT,
 * DONE. JSON that holds a truthy top-level "error" is a FAULT. Other content types (audio, images,
 * text): OPAQUE pieces, at finish RESULT and DONE. A client that asked for a stream and got JSON
 * gets the JSON.
 */
struct ps_decoder *ps_decoder_new(const struct ps_dialect *dialect,
                                  const struct ps_decoder_options *options, struct ps_arena *arena,
                                  ps_event_fn on_event, void *arg)
    __attribute__((warn_unused_result));
void ps_decoder_free(struct ps_decoder *decoder); /* NULL is allowed; not inside on_event */
enum ps_decode ps_decoder_feed(struct ps_decoder *decoder, const char *ptr, size_t len)
    __attribute__((warn_unused_result));
/*
 * The upstream's body ended by its framing. A stream without a terminal marker or without a finish
 * where the operation has one: PS_DECODE_BROKEN with STREAM_INCOMPLETE; a whole answer cut or
 * invalid: likewise UPSTREAM_BROKEN.
 */
enum ps_decode ps_decoder_finish(struct ps_decoder *decoder) __attribute__((warn_unused_result));
const struct ps_fault *ps_decoder_fault(const struct ps_decoder *decoder);

/* What an answer of status ≥ 300 with this body (possibly cut at 64 KiB) means. Fills kind, status,
 * message (the upstream's own, bounded, control bytes removed), param; retry_after_ms only
 * where the body itself tells it (Gemini): headers are the caller's. */
void ps_dialect_fault(const struct ps_dialect *dialect, int status, struct ps_slice body,
                      struct ps_fault *ret_fault);

/* List of model ids out of a whole answer to PS_OP_MODELS; fn per unescaped id. 0, or -1 when it is
 * no list. */
int ps_dialect_models(const struct ps_dialect *dialect, struct ps_slice body,
                      void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg);

/* ---- front: lists of models ---- */

struct ps_model_info {
    struct ps_slice id;
    struct ps_slice owner;
    int64_t created_s; /* UTC */
};
/* One model as this family shows it; a list is begin, models with ',' between, and end, which is
 * told the first and the last id (empty: there was none). OpenAI's shape where the family has no
 * lists. */
void ps_dialect_write_model(const struct ps_dialect *dialect, const struct ps_model_info *model,
                            struct ps_buf *out);
void ps_dialect_write_models_begin(const struct ps_dialect *dialect, struct ps_buf *out);
void ps_dialect_write_models_end(const struct ps_dialect *dialect, struct ps_slice first,
                                 struct ps_slice last, struct ps_buf *out);

/* ---- front: writing an answer ---- */

/* What the gateway knows of an answer, for fronts that say so in the body. */
struct ps_answer_info {
    struct ps_slice id;    /* gen_… */
    struct ps_slice model; /* the target's */
    struct ps_slice provider;
    int64_t queue_us;
    int64_t first_token_us; /* from receipt */
    int64_t total_us;
};
enum ps_writer_mode {
    PS_WRITER_WHOLE,  /* one JSON object at the end */
    PS_WRITER_STREAM, /* server-sent events, or what else the family streams */
    PS_WRITER_TEXT,   /* bare text as it comes */
};
struct ps_writer_options {
    enum ps_operation operation;
    enum ps_writer_mode mode;
    size_t max_bytes;   /* of what is held until the end: a whole answer; -1 with a fault above */
    bool include_usage; /* OpenAI's streams: the client asked for the usage chunk */
    bool base64;        /* embeddings as bytes */
    const struct ps_request *request; /* what is answered; outlives the writer. NULL in tests */
    struct ps_slice id; /* gen_… : OpenAI's door makes its own prefix from it; others as they are */
    struct ps_slice model; /* the name to show */
    int64_t created_s;     /* UTC */
};
struct ps_writer;
/* Whether answers to this operation can be written for this front from events without raw bytes. */
bool ps_dialect_has_writer(const struct ps_dialect *dialect, enum ps_operation operation);
/* Copies what it keeps of the options. NULL when memory is short, or it has no such writer. */
struct ps_writer *ps_writer_new(const struct ps_dialect *dialect,
                                const struct ps_writer_options *options, struct ps_arena *arena)
    __attribute__((warn_unused_result));
void ps_writer_free(struct ps_writer *writer);
const char *ps_writer_content_type(const struct ps_writer *writer);
/* Appends what this event means for the client to `out` (which may stay empty; a FAULT is nothing
 * here: an event stream ends with ps_dialect_write_fault_event, bare text just ends). -1 with a
 * fault when a whole answer grows above max_bytes. */
int ps_writer_event(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                    struct ps_fault *ret_fault) __attribute__((warn_unused_result));
/* After DONE: the rest. */
void ps_writer_end(struct ps_writer *writer, const struct ps_answer_info *info, struct ps_buf *out);

/* The answer broke off: a stream's last events. False: it has none of its own, and ends with
 * ps_dialect_write_fault_event. */
bool ps_writer_fail(struct ps_writer *writer, const struct ps_fault *fault, struct ps_buf *out);
/* Whether an item's id is one that these writers make ("msg_…_0"), or that their lists show: then
 * the response which holds it is in *ret. */
bool ps_dialect_item_holder(struct ps_slice item, struct ps_id *ret_response);
/*
 * After ps_writer_end, where request->keeps_responses: what is to be kept of request and answer,
 * {"input":[items],"response":{…}}, and the id that the client has for it. False: nothing is.
 */
bool ps_writer_kept(const struct ps_writer *writer, struct ps_id *ret_id, struct ps_buf *out);

/* What keeps a stream of this front alive while it waits; a whole event or comment, static; empty
 * where its clients would stumble over any. */
struct ps_slice ps_dialect_ping(const struct ps_dialect *dialect);

/* An error as this family's whole body (JSON), and as the one event that ends a broken stream. */
void ps_dialect_write_fault(const struct ps_dialect *dialect, const struct ps_fault *fault,
                            struct ps_slice request_id, struct ps_buf *out);
void ps_dialect_write_fault_event(const struct ps_dialect *dialect, const struct ps_fault *fault,
                                  struct ps_slice request_id, struct ps_buf *out);

#endif
