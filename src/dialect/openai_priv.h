/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_OPENAI_PRIV_H
#define PENSTOCK_DIALECT_OPENAI_PRIV_H

#include "dialect_priv.h"
#include "fields.h"
#include "json_out.h"
#include "multipart.h"
#include "openai_found.h"
#include "openai_repeat.h"

#include "penstock/base/sse.h"

/* ---- front: openai_reader.c ---- */

enum ps_openai_body {
    PS_OPENAI_BODY_JSON,
    PS_OPENAI_BODY_SNIFF, /* JSON when it begins like an object */
    PS_OPENAI_BODY_MULTIPART,
    PS_OPENAI_BODY_OTHER,
};

#define PS_OPENAI_FORM_MODEL  0
#define PS_OPENAI_FORM_STREAM 1
#define PS_OPENAI_FORM_FIELDS 2

struct ps_openai_reader {
    struct ps_reader base;
    enum ps_openai_body body;
    bool fed;
    struct ps_fields fields;
    struct ps_multipart *multipart; /* in the arena; NULL: no such body, or no boundary */
    struct ps_multipart_field form[PS_OPENAI_FORM_FIELDS];
    struct ps_fault form_fault; /* of the boundary; told at the first byte */
};

int ps_openai_reader_global_init(void);
void ps_openai_reader_global_deinit(void);
int ps_openai_reader_init(struct ps_reader *reader);
int ps_openai_reader_feed(struct ps_reader *reader, const char *ptr, size_t len,
                          struct ps_fault *ret_fault);
int ps_openai_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

/* ---- front: openai_prompt.c ---- */

int ps_openai_prompt(struct ps_prompt_build *build, const struct ps_request *request);

/* ---- front: openai_writer.c ---- */

enum {
    PS_OPENAI_TEXT,
    PS_OPENAI_REASONING,
    PS_OPENAI_REFUSAL,
    PS_OPENAI_SAID
};

/* Log probabilities that wait for the chunk they go out with, or for the end. Chat has one list of
 * tokens; completions have four lists side by side. */
enum {
    PS_LOGPROB_TOKENS, /* chat: whole entries */
    PS_LOGPROB_VALUES,
    PS_LOGPROB_TOP,
    PS_LOGPROB_OFFSETS,
    PS_LOGPROB_LISTS,
};

#define PS_OPENAI_CHOICES 128
#define PS_OPENAI_CALLS   1024 /* of one choice */

/* WHOLE: a tool call so far, as it will stand in its list. */
struct ps_openai_call {
    uint32_t block;
    bool custom;
    struct ps_buf head;      /* up to its arguments */
    struct ps_buf arguments; /* unescaped */
    struct ps_buf tail;      /* members behind the function */
};

/* One answer among n. */
struct ps_openai_answer {
    uint32_t index;
    bool started;                          /* the role has gone out */
    const char *finish;                    /* static; NULL: none yet */
    uint64_t chars;                        /* in the text so far */
    struct ps_buf said[PS_OPENAI_SAID];    /* WHOLE; SSE: the thought at hand, for its signature */
    uint32_t thought;                      /* SSE: its block */
    bool thought_lost;                     /* SSE: it was too long to hold */
    size_t thought_at;                     /* WHOLE: where the block that is being thought begins */
    struct ps_buf thoughts;                /* WHOLE: blocks with a signature, elements of a list */
    struct ps_buf citations;               /* WHOLE: elements */
    struct ps_buf images;                  /* WHOLE: elements */
    struct ps_buf calls;                   /* WHOLE: struct ps_openai_call */
    uint32_t call_count;                   /* blocks up to here have been begun */
    uint64_t argued[PS_OPENAI_CALLS / 64]; /* SSE: bit per block that has arguments */
    struct ps_buf logprobs[PS_LOGPROB_LISTS];
    uint64_t offset; /* completions: characters in the tokens so far */
};

struct ps_openai_writer {
    struct ps_writer base;
    struct ps_buf head;                                  /* of every chunk, up to its choices */
    struct ps_openai_answer *answers[PS_OPENAI_CHOICES]; /* owned; NULL: has said nothing */
    size_t held;                                         /* bytes in all buffers of answers */
    struct ps_buf data; /* embeddings, scores, images: elements of their list */
    bool has_usage;
    struct ps_usage usage;
};

int ps_openai_writer_init(struct ps_writer *writer);
void ps_openai_writer_deinit(struct ps_writer *writer);
int ps_openai_writer_event(struct ps_writer *writer, const struct ps_event *event,
                           struct ps_buf *out, struct ps_fault *ret_fault);
void ps_openai_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                          struct ps_buf *out);

/* openai_writer_stream.c: what one event of a choice means in a stream. */
void ps_openai_stream_event(struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                            const struct ps_event *event, struct ps_buf *out);
void ps_openai_stream_end(struct ps_openai_writer *writer, struct ps_buf *out);
/* openai_writer_whole.c: notes it for the end, and the end. */
void ps_openai_whole_event(struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                           const struct ps_event *event);
void ps_openai_whole_end(struct ps_openai_writer *writer, struct ps_buf *out);
void ps_openai_answer_free(struct ps_openai_answer *answer);

/* Shared by both: members around the choices, and elements of lists. */
void ps_openai_write_head(const struct ps_openai_writer *writer, struct ps_buf *out);
void ps_openai_write_usage(const struct ps_openai_writer *writer, struct ps_buf *out);
/* Whether the client knows calls as `function_call`. */
bool ps_openai_is_legacy(const struct ps_openai_writer *writer);
void ps_openai_write_finish(const struct ps_openai_answer *answer, struct ps_buf *out);
/* False: nothing to show. */
bool ps_openai_write_citation(const struct ps_openai_answer *answer,
                              const struct ps_event_citation *citation, struct ps_json_out *out);
void ps_openai_write_image(const struct ps_event_media *media, struct ps_json_out *out);
void ps_openai_write_signature(struct ps_slice signature, struct ps_json_out *out);
static inline bool ps_openai_is_chat(const struct ps_openai_writer *writer)
{
    return writer->base.options.operation == PS_OP_CHAT;
}

/* openai_logprobs.c: notes one token; writes what was noted (null when that is nothing) and forgets
 * it. */
void ps_openai_note_logprobs(const struct ps_openai_writer *writer, struct ps_openai_answer *answer,
                             const struct ps_event *event);
void ps_openai_write_logprobs(const struct ps_openai_writer *writer,
                              struct ps_openai_answer *answer, struct ps_buf *out);

/* One token as an element of chat's list; other families have the same. */
void ps_openai_note_logprob(struct ps_buf *list, const struct ps_event *event);

/* openai_embedding.c: one element of a list of embeddings, and its vector alone; false: it holds
 * what is no number. */
bool ps_openai_write_vector(const struct ps_event *event, bool base64, struct ps_buf *out);
bool ps_openai_write_embedding(const struct ps_event *event, bool base64, struct ps_buf *out);

/* ---- front: openai_request.c ---- */

int ps_openai_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault);

/* ---- back: openai_encode.c, openai_neutral.c, openai_neutral_messages.c ---- */

bool ps_openai_relays(const struct ps_dialect_settings *settings, enum ps_family front,
                      enum ps_operation operation);
int ps_openai_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
const char *ps_openai_path_of(enum ps_operation operation);
/* Out of the neutral form: the path and body; `"messages":[…]` of it; that array alone. */
int ps_openai_encode_neutral(struct ps_encode *encode);
int ps_openai_write_messages(struct ps_encode *encode);
/* Members "tools", "tool_choice", "parallel_tool_calls". */
int ps_openai_write_tools(struct ps_encode *encode);
/* A URL as it came, or one of the data. */
void ps_openai_write_url(struct ps_json_out *out, const struct ps_neutral_media *media);
/* openai_count.c: how long the prompt of a chat is. */
int ps_openai_encode_count(struct ps_encode *encode);
int ps_openai_write_message_list(struct ps_encode *encode);

/* ---- back: openai_decoder.c, openai_stream.c, openai_whole.c ---- */

enum ps_openai_mode {
    PS_OPENAI_STREAM, /* server-sent events */
    PS_OPENAI_WHOLE,  /* one JSON text */
    PS_OPENAI_BYTES,  /* anything else */
};

#define PS_OPENAI_CALL_BYTES 12288

struct ps_openai_decoder {
    struct ps_decoder base;
    enum ps_openai_mode mode;
    bool has_finish; /* the operation's streams tell how they finished */
    struct ps_openai_found found;
    struct ps_openai_repeat repeat; /* streams of answers */
    struct ps_buf text;             /* unescaped, for the event at hand */
    struct ps_buf calls;            /* fields: tool calls so far */

    struct ps_sse sse;
    bool finishing;       /* the stream's framing has ended */
    bool started;         /* START was told */
    bool responses;       /* the Responses API, which has a terminal event */
    uint64_t begun[2];    /* bit per choice that has said something */
    uint64_t finished[2]; /* bit per choice that has finished */

    struct ps_json_scan scan;
    struct ps_buf body; /* fields: the whole answer */
    bool any;           /* bytes have come */
};

int ps_openai_decoder_init(struct ps_decoder *decoder, struct ps_slice content_type);
void ps_openai_decoder_deinit(struct ps_decoder *decoder);
enum ps_decode ps_openai_decoder_feed(struct ps_decoder *decoder, const char *ptr, size_t len);
enum ps_decode ps_openai_decoder_finish(struct ps_decoder *decoder);

enum ps_decode ps_openai_out_of_memory(struct ps_openai_decoder *decoder);

bool ps_openai_on_sse(void *arg, const struct ps_sse_event *event);
enum ps_decode ps_openai_stream_finish(struct ps_openai_decoder *decoder);

int ps_openai_whole_init(struct ps_openai_decoder *decoder);
enum ps_decode ps_openai_whole_feed(struct ps_openai_decoder *decoder, const char *ptr, size_t len);
enum ps_decode ps_openai_whole_finish(struct ps_openai_decoder *decoder);

/* What both do with what one answer among several says. Each returns false to stop. */
bool ps_openai_emit_text(struct ps_openai_decoder *decoder, enum ps_event_kind kind,
                         uint32_t choice, struct ps_slice raw);
bool ps_openai_emit_finish(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice word,
                           struct ps_slice stop);
bool ps_openai_emit_usage(struct ps_openai_decoder *decoder, const struct ps_usage *usage);
bool ps_openai_emit_fault(struct ps_openai_decoder *decoder, const struct ps_openai_error *error);

/* openai_said.c: with fields. Raw values of the event at hand; the first three as they stand at the
 * paths that are looked for, the others from `object`, the choice that ps_openai_choice_at gives.
 */
bool ps_openai_emit_content(struct ps_openai_decoder *decoder, enum ps_event_kind kind,
                            uint32_t choice, struct ps_slice raw);
bool ps_openai_emit_tools(struct ps_openai_decoder *decoder, uint32_t choice, struct ps_slice raw);
/* One after the other, the array is walked once. */
struct ps_slice ps_openai_choice_at(struct ps_openai_found *found, uint32_t position);
bool ps_openai_emit_annotations(struct ps_openai_decoder *decoder, uint32_t choice,
                                struct ps_slice object);
/* The stop string that was met; lives until the next event. */
struct ps_slice ps_openai_stop_of(struct ps_openai_decoder *decoder, struct ps_slice object);
void ps_openai_more_usage(const struct ps_openai_found *found, struct ps_usage *usage);
/* Embeddings or scores of a whole answer. */
bool ps_openai_emit_list(struct ps_openai_decoder *decoder);
/* openai_count.c: what an answer about a prompt's length says. */
bool ps_openai_emit_count(struct ps_openai_decoder *decoder);

/* ---- back: openai_tokens.c ---- */

#define PS_OPENAI_TOP 32 /* log probabilities told beside the chosen one */

/* ps_encoded.memo: they were asked for. Nobody pays for looking who has not. */
#define PS_OPENAI_LOGPROBS 1U

/* One token, {"token","logprob","bytes","top_logprobs"}, as an event; false: it is none. `plain`
 * has room for twice the raw's bytes. */
bool ps_openai_read_logprob(struct ps_buf *plain, struct ps_slice raw,
                            struct ps_event_logprob top[PS_OPENAI_TOP], struct ps_event *ret);
bool ps_openai_wants_logprobs(const struct ps_openai_decoder *decoder);
/* Those of one choice, before its text. */
bool ps_openai_emit_logprobs(struct ps_openai_decoder *decoder, uint32_t choice, uint32_t position);

/* ---- openai_fault.c ---- */

/* Whether a finish reason is an error in disguise. */
bool ps_openai_finish_is_fault(struct ps_slice word);
/* `status` 0: the error came in the body of a success. */
void ps_openai_fault_of(int status, const struct ps_openai_error *error,
                        struct ps_fault *ret_fault);
void ps_openai_fault(int status, struct ps_slice body, struct ps_fault *ret_fault);
int ps_openai_models(struct ps_slice body,
                     void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg);
void ps_openai_write_model(const struct ps_model_info *model, struct ps_buf *out);
int ps_openai_models_global_init(void);
void ps_openai_models_global_deinit(void);

#endif
