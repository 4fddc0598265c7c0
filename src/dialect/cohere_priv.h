/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_COHERE_PRIV_H
#define PENSTOCK_DIALECT_COHERE_PRIV_H

#include "encode.h"
#include "fields_reader.h"
#include "texts.h"

/* ---- front: cohere_reader.c ---- */

/* request->shape of EMBED: which vectors the client wants; none of them: floats. */
#define PS_COHERE_FLOAT  1U
#define PS_COHERE_BASE64 2U

int ps_cohere_reader_global_init(void);
void ps_cohere_reader_global_deinit(void);
int ps_cohere_reader_init(struct ps_reader *reader); /* -1: memory */
int ps_cohere_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

/* ---- front: cohere_front.c, cohere_front_documents.c ---- */

int ps_cohere_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault);
/* What the model is to answer from, in front of the last that the user says. */
int ps_cohere_read_documents(struct ps_neutral_build *build, struct ps_slice documents,
                             struct ps_slice citation_options);

/* ---- front: cohere_writer.c, cohere_writer_blocks.c ---- */

enum ps_cohere_block {
    PS_COHERE_NO_BLOCK,
    PS_COHERE_TEXT,
    PS_COHERE_THINKING,
    PS_COHERE_CALL,
};

struct ps_cohere_writer {
    struct ps_writer base;
    struct ps_usage usage;
    enum ps_finish finish;
    bool stop_met;      /* FINISH named a stop sequence */
    bool started;       /* stream: message-start is out */
    bool has_arguments; /* of the call that is open */
    bool sealed;        /* the thought that is open has ended with what its model signed */
    bool cites;         /* the request has what an answer can cite */
    enum ps_cohere_block open;
    uint32_t block; /* the events' number of what is open */
    uint32_t contents;
    uint32_t calls;
    uint32_t last_call; /* the events' number of the last call */
    uint32_t citations;
    uint32_t vectors;
    int64_t characters;    /* of text so far */
    int64_t block_at;      /* where in it the block at hand begins */
    struct ps_buf said;    /* `cites`: the text of the block at hand, as far as it is held */
    struct ps_buf content; /* whole: elements of the content; RERANK: results; EMBED: vectors */
    struct ps_buf tools;   /* whole: elements of tool_calls; EMBED: vectors in base64 */
    struct ps_buf cited;   /* whole: elements of citations */
    struct ps_buf tokens;  /* whole: elements of logprobs; stream: text of the next one */
    struct ps_buf chances; /* stream: its numbers */
};

int ps_cohere_writer_init(struct ps_writer *writer);
void ps_cohere_writer_deinit(struct ps_writer *writer);
int ps_cohere_writer_event(struct ps_writer *writer, const struct ps_event *event,
                           struct ps_buf *out, struct ps_fault *ret_fault);
void ps_cohere_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                          struct ps_buf *out);

/* cohere_writer_blocks.c: an event of a stream, `{"type":…` and what the caller adds; its end. */
struct ps_json_out ps_cohere_begin_event(struct ps_buf *out, const char *type);
void ps_cohere_end_event(struct ps_json_out *json);
/* The stream's first event, and the end of the block that is open, where these are due. */
void ps_cohere_start(struct ps_cohere_writer *writer, struct ps_buf *out);
void ps_cohere_close(struct ps_cohere_writer *writer, struct ps_buf *out);
void ps_cohere_write_text(struct ps_cohere_writer *writer, uint32_t block, struct ps_slice text,
                          struct ps_buf *out);
void ps_cohere_write_thought(struct ps_cohere_writer *writer, const struct ps_event *event,
                             struct ps_buf *out);
int ps_cohere_write_call(struct ps_cohere_writer *writer, const struct ps_event *event,
                         struct ps_buf *out, struct ps_fault *ret_fault);
void ps_cohere_write_citation(struct ps_cohere_writer *writer,
                              const struct ps_event_citation *citation, struct ps_buf *out);
void ps_cohere_note_logprob(struct ps_cohere_writer *writer,
                            const struct ps_event_logprob *logprob);

void ps_cohere_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                           struct ps_buf *out);
void ps_cohere_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                                 struct ps_buf *out);

/* ---- back: cohere_own.c, cohere_encode.c, cohere_messages.c ---- */

/* Its own family, byte for byte, and PS_OP_MODELS. */
int ps_cohere_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
int ps_cohere_encode_neutral(struct ps_encode *encode);
/* The member "messages". */
int ps_cohere_encode_messages(struct ps_encode *encode);

/* ---- back: cohere_decoder.c, cohere_said.c ---- */

struct ps_cohere_decoder {
    struct ps_texts texts;
    uint32_t calls;     /* tool calls that have begun */
    uint32_t block;     /* of content, as it is numbered */
    int64_t characters; /* of text so far */
    int64_t block_at;   /* where in it the block at hand begins */
};

int ps_cohere_decoder_init(struct ps_decoder *base, struct ps_slice content_type);

/* What events and whole answers have in common; each returns false to stop. Raw values. */
bool ps_cohere_say_content(struct ps_cohere_decoder *decoder, struct ps_slice content);
/* What the model says about the tools it is going to call. */
bool ps_cohere_say_plan(struct ps_cohere_decoder *decoder, struct ps_slice plan);
/* `call`: one object, or the first of an array. */
bool ps_cohere_say_call(struct ps_cohere_decoder *decoder, struct ps_slice call);
/* One object, or an array of them. */
bool ps_cohere_say_citations(struct ps_cohere_decoder *decoder, struct ps_slice citations);
/* How many tokens, and why it ended: `end` has "finish_reason" and "usage". */
bool ps_cohere_say_end(struct ps_cohere_decoder *decoder, struct ps_slice end);

/* ---- back: cohere_fault.c ---- */

/* `status` 0: it came in the body of a success. */
void ps_cohere_fault_of(int status, struct ps_slice message, struct ps_fault *ret_fault);
void ps_cohere_fault(int status, struct ps_slice body, struct ps_fault *ret_fault);

#endif
