/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_ANTHROPIC_PRIV_H
#define PENSTOCK_DIALECT_ANTHROPIC_PRIV_H

#include "dialect_priv.h"
#include "encode.h"
#include "fields_reader.h"
#include "neutral_build.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/sse.h"

/* ---- front: anthropic_reader.c, anthropic_request.c, anthropic_blocks.c ---- */

int ps_anthropic_reader_global_init(void);
void ps_anthropic_reader_global_deinit(void);
int ps_anthropic_reader_init(struct ps_reader *reader);
int ps_anthropic_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

int ps_anthropic_neutral(const struct ps_request *request, struct ps_arena *arena,
                         struct ps_neutral *ret, struct ps_fault *ret_fault);
/* The messages of a body; `system` is its member of that name. */
int ps_anthropic_messages(struct ps_neutral_build *build, struct ps_slice system,
                          struct ps_slice array);
/* A block of content that stands in a message of `role`, or in a tool's result (PS_ROLE_TOOL). */
int ps_anthropic_block(struct ps_neutral_build *build, enum ps_role role, struct ps_slice raw,
                       struct ps_neutral_part *part);
/* A string or an array of blocks; `at` is the string's or array's own place: the blocks get
 * elements of it. */
int ps_anthropic_content(struct ps_neutral_build *build, enum ps_role role,
                         const struct ps_neutral_at *at, struct ps_slice raw,
                         struct ps_neutral_part **ret, size_t *ret_count);

/* ---- front: anthropic_writer.c ---- */

enum ps_anthropic_block_kind {
    PS_ANTHROPIC_NO_BLOCK,
    PS_ANTHROPIC_TEXT,
    PS_ANTHROPIC_THINKING,
    PS_ANTHROPIC_TOOL,
    PS_ANTHROPIC_OTHER, /* decoder: one that says nothing to us */
};

struct ps_anthropic_writer {
    struct ps_writer base;
    enum ps_anthropic_block_kind open;
    bool started;          /* message_start has gone out */
    bool has_arguments;    /* the open call has some */
    bool has_signature;    /* the open thought has one, in a stream */
    bool called;           /* a tool was called */
    uint32_t block;        /* the events' number of the open block */
    uint32_t last_call;    /* that of the last call */
    uint32_t index;        /* of the open block, or of the next when none is open */
    struct ps_buf content; /* WHOLE: the blocks so far, as JSON */
    struct ps_buf input;   /* WHOLE: arguments of the open call */
    struct ps_buf tail;    /* WHOLE: what comes last in the open block: signature, citations */
    struct ps_buf stop;    /* the stop sequence that was met */
    enum ps_finish finish;
    struct ps_usage usage;
};

int ps_anthropic_writer_init(struct ps_writer *writer);
void ps_anthropic_writer_deinit(struct ps_writer *writer);
int ps_anthropic_writer_event(struct ps_writer *writer, const struct ps_event *event,
                              struct ps_buf *out, struct ps_fault *ret_fault);
void ps_anthropic_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                             struct ps_buf *out);

/* ---- back: anthropic_encode.c, anthropic_own.c, anthropic_thinking.c ---- */

int ps_anthropic_encode(const struct ps_request *request, const struct ps_encode_options *options,
                        struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
/* anthropic_foreign.c: what cuts the thoughts of other models out of a body. 0, or -1: memory. */
int ps_anthropic_foreign(const struct ps_request *request, struct ps_arena *arena,
                         struct ps_edit **ret_edits, size_t *ret_count);
int ps_anthropic_encode_neutral(struct ps_encode *encode);
/* "anthropic-version" as configured, or the default. */
struct ps_slice ps_anthropic_version(const struct ps_dialect_settings *settings);

/* How much to think, once it has been decided for a request. */
struct ps_anthropic_plan {
    const char *thinking;       /* "enabled", "adaptive", "disabled"; NULL: not a word about it */
    int64_t budget;             /* with "enabled" */
    const char *display;        /* NULL: as the model does */
    const char *effort;         /* NULL: none */
    struct ps_slice max_tokens; /* RAW, as the client gave it; or empty */
    int64_t max_tokens_value;   /* otherwise this one */
};
int ps_anthropic_plan(struct ps_encode *encode, struct ps_anthropic_plan *ret);

/* The conversation: the members "system" and "messages". */
int ps_anthropic_encode_messages(struct ps_encode *encode);

/* ---- back: anthropic_decoder.c, anthropic_stream.c, anthropic_whole.c ---- */

/* What we look for in an event of a stream and in a whole answer, all at once. */
enum ps_anthropic_value {
    PS_ANTHROPIC_V_TYPE,
    PS_ANTHROPIC_V_INDEX,
    PS_ANTHROPIC_V_DELTA_TYPE,
    PS_ANTHROPIC_V_DELTA_TEXT,
    PS_ANTHROPIC_V_DELTA_JSON,
    PS_ANTHROPIC_V_DELTA_THINKING,
    PS_ANTHROPIC_V_DELTA_SIGNATURE,
    PS_ANTHROPIC_V_DELTA_CITATION,
    PS_ANTHROPIC_V_DELTA_STOP_REASON,
    PS_ANTHROPIC_V_DELTA_STOP_SEQUENCE,
    PS_ANTHROPIC_V_DELTA_EXPLANATION,
    PS_ANTHROPIC_V_BLOCK,
    PS_ANTHROPIC_V_MESSAGE_ID,
    PS_ANTHROPIC_V_MESSAGE_MODEL,
    /* twice the same counts */
    PS_ANTHROPIC_V_START_INPUT,
    PS_ANTHROPIC_V_START_WRITE,
    PS_ANTHROPIC_V_START_READ,
    PS_ANTHROPIC_V_START_OUTPUT,
    PS_ANTHROPIC_V_START_THINKING,
    PS_ANTHROPIC_V_INPUT,
    PS_ANTHROPIC_V_WRITE,
    PS_ANTHROPIC_V_READ,
    PS_ANTHROPIC_V_OUTPUT,
    PS_ANTHROPIC_V_THINKING,
    PS_ANTHROPIC_V_ERROR,
    PS_ANTHROPIC_V_ERROR_TYPE,
    PS_ANTHROPIC_V_ERROR_MESSAGE,
    /* whole answers */
    PS_ANTHROPIC_V_ID,
    PS_ANTHROPIC_V_MODEL,
    PS_ANTHROPIC_V_CONTENT,
    PS_ANTHROPIC_V_STOP_REASON,
    PS_ANTHROPIC_V_STOP_SEQUENCE,
    PS_ANTHROPIC_V_EXPLANATION,
    PS_ANTHROPIC_V_COUNT_TOKENS,
    PS_ANTHROPIC_VALUES,
};

/*
 * One pass notes where the values lie. Of a whole answer that only goes by, short values are copied
 * as they pass: the text is gone by the time they are looked at.
 */
#define PS_ANTHROPIC_TAIL 1024

struct ps_anthropic_piece {
    size_t at; /* in the text, or in `kept` */
    size_t len;
};

struct ps_anthropic_found {
    uint64_t given; /* bit per value */
    struct ps_anthropic_piece pieces[PS_ANTHROPIC_VALUES];
    struct ps_slice text; /* the whole text, when it is at hand */
    bool passing;         /* it is not */
    struct ps_slice window;
    uint64_t window_at;
    char *tail; /* passing: owned, the last bytes before the window */
    size_t tail_len;
    struct ps_buf kept;
};

int ps_anthropic_found_global_init(void);
void ps_anthropic_found_global_deinit(void);
const struct ps_json_paths *ps_anthropic_found_paths(void);
int ps_anthropic_found_init(struct ps_anthropic_found *found, bool passing); /* -1: memory */
void ps_anthropic_found_deinit(struct ps_anthropic_found *found);
void ps_anthropic_found_reset(struct ps_anthropic_found *found, struct ps_slice text);
bool ps_anthropic_found_on_value(void *arg, const struct ps_json_value *value);
/* Passing: before and after the scan of a piece. */
void ps_anthropic_found_enter(struct ps_anthropic_found *found, struct ps_slice piece,
                              uint64_t offset);
void ps_anthropic_found_leave(struct ps_anthropic_found *found);
/* Whether it is there and not null. */
static inline bool ps_anthropic_found_has(const struct ps_anthropic_found *found,
                                          enum ps_anthropic_value value)
{
    return (found->given & (UINT64_C(1) << value)) != 0;
}
/* The raw value; len 0: it is not there, or null, or too long to have been kept. */
struct ps_slice ps_anthropic_found_raw(const struct ps_anthropic_found *found,
                                       enum ps_anthropic_value value);

struct ps_anthropic_decoder {
    struct ps_decoder base;
    bool is_stream;
    bool any;       /* bytes have come */
    bool finishing; /* the stream's framing has ended */
    bool finished;  /* a reason for the end was told */
    struct ps_anthropic_found found;
    int64_t counts[5];  /* from PS_ANTHROPIC_V_INPUT on; -1: not told */
    struct ps_buf text; /* unescaped, for the event at hand */

    struct ps_sse sse;
    enum ps_anthropic_block_kind kind; /* of the block at hand */
    bool whole_input;                  /* its arguments came with its start */
    uint32_t index;                    /* its number */
    uint32_t calls;                    /* tool calls that have begun */

    struct ps_json_scan scan;
    struct ps_buf body; /* fields: the whole answer */
};

int ps_anthropic_decoder_init(struct ps_decoder *decoder, struct ps_slice content_type);
void ps_anthropic_decoder_deinit(struct ps_decoder *decoder);
enum ps_decode ps_anthropic_decoder_feed(struct ps_decoder *decoder, const char *ptr, size_t len);
enum ps_decode ps_anthropic_decoder_finish(struct ps_decoder *decoder);

bool ps_anthropic_on_sse(void *arg, const struct ps_sse_event *event);
enum ps_decode ps_anthropic_stream_finish(struct ps_anthropic_decoder *decoder);
enum ps_decode ps_anthropic_whole_feed(struct ps_anthropic_decoder *decoder, const char *ptr,
                                       size_t len);
enum ps_decode ps_anthropic_whole_finish(struct ps_anthropic_decoder *decoder);

enum ps_decode ps_anthropic_out_of_memory(struct ps_anthropic_decoder *decoder);

/*
 * Texts of one event: room for `len` raw bytes in all, then each raw string unescaped (empty when
 * it is none). False: memory is short, the decoder is broken.
 */
bool ps_anthropic_text_begin(struct ps_anthropic_decoder *decoder, size_t len);
struct ps_slice ps_anthropic_text(struct ps_anthropic_decoder *decoder, struct ps_slice raw);

/* What both do with what they find. Each returns false to stop. */
bool ps_anthropic_emit_citation(struct ps_anthropic_decoder *decoder, struct ps_slice raw,
                                int64_t start, int64_t end);
/* Takes counts up from `first` on and tells them when there are any; `START_INPUT` or `INPUT`. */
bool ps_anthropic_emit_usage(struct ps_anthropic_decoder *decoder, enum ps_anthropic_value first);
/* How it ended: a refusal's explanation, then the reason. All raw. */
bool ps_anthropic_emit_finish(struct ps_anthropic_decoder *decoder, struct ps_slice reason,
                              struct ps_slice sequence, struct ps_slice explanation);
bool ps_anthropic_emit_fault(struct ps_anthropic_decoder *decoder);
/* A string that is not "". */
static inline bool ps_anthropic_says(struct ps_slice raw)
{
    return ps_raw_says(raw);
}

/* ---- anthropic_fault.c ---- */

/* Raw type and message of an error; `status` 0: it came in the body of a success. */
void ps_anthropic_fault_of(int status, struct ps_slice type, struct ps_slice message,
                           struct ps_fault *ret_fault);
void ps_anthropic_fault(int status, struct ps_slice body, struct ps_fault *ret_fault);
void ps_anthropic_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out);
void ps_anthropic_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                                    struct ps_buf *out);

#endif
