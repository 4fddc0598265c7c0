/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_RESPONSES_PRIV_H
#define PENSTOCK_DIALECT_RESPONSES_PRIV_H

#include "dialect_priv.h"
#include "fields.h"
#include "json_out.h"
#include "neutral_build.h"

/* Members of a request that have a meaning here. */
enum ps_responses_member {
    PS_RESPONSES_MODEL,
    PS_RESPONSES_STREAM,
    PS_RESPONSES_STREAM_OPTIONS,
    PS_RESPONSES_INPUT,
    PS_RESPONSES_INSTRUCTIONS,
    PS_RESPONSES_PREVIOUS,
    PS_RESPONSES_CONVERSATION,
    PS_RESPONSES_PROMPT,
    PS_RESPONSES_INCLUDE,
    PS_RESPONSES_MAX_OUTPUT_TOKENS,
    PS_RESPONSES_MAX_TOOL_CALLS,
    PS_RESPONSES_TOOLS,
    PS_RESPONSES_TOOL_CHOICE,
    PS_RESPONSES_PARALLEL,
    PS_RESPONSES_STORE,
    PS_RESPONSES_BACKGROUND,
    PS_RESPONSES_TEXT,
    PS_RESPONSES_REASONING,
    PS_RESPONSES_TRUNCATION,
    PS_RESPONSES_TEMPERATURE,
    PS_RESPONSES_TOP_P,
    PS_RESPONSES_TOP_LOGPROBS,
    PS_RESPONSES_SERVICE_TIER,
    PS_RESPONSES_METADATA,
    PS_RESPONSES_USER,
    PS_RESPONSES_SAFETY_ID,
    PS_RESPONSES_CACHE_KEY,
    PS_RESPONSES_MEMBERS,
};
const char *ps_responses_name(enum ps_responses_member member);

/*
 * What the answer repeats of its request, and what is kept of it: RAW, null or not given: len 0.
 * The reader makes it, empty; the neutral form fills it, and from then on it lives as long as the
 * reader's arena: the body may go, and so may the arena that the neutral form was made in.
 */
struct ps_responses_values {
    char *body; /* owned: a copy, which `raw` points into; freed with the reader's arena */
    struct ps_slice raw[PS_RESPONSES_MEMBERS];
};

/* ---- responses_reader.c ---- */

/* An element of the input that may be a reference: its bytes are not at hand yet. */
struct ps_responses_candidate {
    struct ps_span element;
    struct ps_span type; /* end 0: none */
    struct ps_span id;
    uint32_t index;
};
struct ps_responses_candidates {
    struct ps_responses_candidate *list; /* lives as long as the arena */
    size_t count;
    size_t room;
    bool failed;                        /* memory is short */
    bool named;                         /* the element has a role */
    bool typed;                         /* it has a type that is none of a reference */
    struct ps_responses_candidate next; /* the element at hand */
};

struct ps_responses_reader {
    struct ps_reader base;
    struct ps_fields fields;
    struct ps_responses_candidates candidates;
};

int ps_responses_reader_global_init(void);
void ps_responses_reader_global_deinit(void);
int ps_responses_reader_init(struct ps_reader *reader);
int ps_responses_reader_feed(struct ps_reader *reader, const char *ptr, size_t len,
                             struct ps_fault *ret_fault);
int ps_responses_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

/* ---- responses_references.c ---- */

enum ps_responses_element {
    PS_RESPONSES_ELEMENT,
    PS_RESPONSES_ELEMENT_TYPE,
    PS_RESPONSES_ELEMENT_ID,
    PS_RESPONSES_ELEMENT_ROLE,
};
/* A value of the input's elements has come. */
void ps_responses_note(struct ps_responses_candidates *candidates, enum ps_responses_element which,
                       const struct ps_json_value *value, struct ps_arena *arena);
/* The body is complete: those of them that are references go to the request. -1: no memory. */
int ps_responses_find_references(const struct ps_responses_candidates *candidates,
                                 struct ps_request *request, struct ps_arena *arena);
/* Whether an element of the input only names an item. */
bool ps_responses_is_reference(struct ps_slice element);
/*
 * What stands for element `index` of the input, a reference; `*next` is the first of the request's
 * references that may be it, and is moved on. NULL: nobody looked for it.
 */
const struct ps_reference *ps_responses_reference(const struct ps_request *request, uint32_t index,
                                                  size_t *next);

/* ---- responses_request.c, responses_tools.c, responses_items.c ---- */

int ps_responses_neutral(const struct ps_request *request, struct ps_arena *arena,
                         struct ps_neutral *ret, struct ps_fault *ret_fault);
int ps_responses_tools(struct ps_neutral_build *build, struct ps_slice tools,
                       struct ps_slice choice);
/* The conversation: `instructions`, what came before (a RAW array of items, or empty), `input`. */
int ps_responses_items(struct ps_neutral_build *build, struct ps_slice instructions,
                       struct ps_slice previous, struct ps_slice input);

/* ---- responses_writer.c, responses_logprobs.c, responses_object.c ---- */

enum ps_responses_item {
    PS_RESPONSES_NO_ITEM,
    PS_RESPONSES_MESSAGE,
    PS_RESPONSES_REASONING_ITEM,
    PS_RESPONSES_CALL,
    PS_RESPONSES_CUSTOM_CALL,
};
enum ps_responses_part {
    PS_RESPONSES_NO_PART,
    PS_RESPONSES_OUTPUT_TEXT,
    PS_RESPONSES_REFUSAL,
    PS_RESPONSES_REASONING_TEXT,
    PS_RESPONSES_SUMMARY_TEXT,
};

struct ps_responses_writer {
    struct ps_writer base;
    bool started;
    bool called; /* some tool was called */
    bool ended;
    uint64_t sequence;  /* of the next event */
    uint64_t told;      /* what it was before the end, which may not have gone out */
    struct ps_buf done; /* items that are complete, as JSON */
    uint32_t index;     /* of the open item, or of the next */
    enum ps_responses_item open;
    uint32_t block;              /* the events' number of the open item's block */
    uint32_t last_call;          /* that of the last call */
    struct ps_buf parts;         /* complete parts of the open item; reasoning: its text */
    struct ps_buf summary;       /* reasoning: its summary */
    uint32_t part_count;         /* in `parts` */
    uint32_t summary_count;      /* in `summary` */
    enum ps_responses_part part; /* the open part */
    struct ps_buf text;          /* of the open part, or arguments; plain */
    struct ps_buf annotations;   /* of the open part */
    uint32_t annotation_count;
    struct ps_buf tokens;  /* of the open part: their log probabilities, as JSON */
    struct ps_buf waiting; /* the same of tokens whose text is still to come */
    struct ps_buf call_id;
    struct ps_buf name;
    struct ps_buf signature;
    enum ps_finish finish;
    struct ps_usage usage;
};

int ps_responses_writer_init(struct ps_writer *writer);
void ps_responses_writer_deinit(struct ps_writer *writer);
int ps_responses_writer_event(struct ps_writer *writer, const struct ps_event *event,
                              struct ps_buf *out, struct ps_fault *ret_fault);
void ps_responses_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                             struct ps_buf *out);
void ps_responses_writer_fail(struct ps_writer *writer, const struct ps_fault *fault,
                              struct ps_buf *out);
bool ps_responses_writer_kept(const struct ps_writer *writer, struct ps_id *ret_id,
                              struct ps_buf *out);

/* responses_logprobs.c: notes one token; its text has come; a list of them as events have it. */
void ps_responses_note_logprob(struct ps_responses_writer *writer, const struct ps_event *event);
void ps_responses_take_logprobs(struct ps_responses_writer *writer);
void ps_responses_write_logprobs(const struct ps_buf *list, struct ps_buf *out);

/* The whole response object; `status` "in_progress" leaves the output out. `fault` may be NULL. */
void ps_responses_write_object(const struct ps_responses_writer *writer, const char *status,
                               const struct ps_fault *fault, struct ps_buf *out);
/* The status that the end has: "completed" or "incomplete". */
const char *ps_responses_status(const struct ps_responses_writer *writer);

#endif
