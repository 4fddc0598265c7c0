/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_PROMPT_H
#define PENSTOCK_DIALECT_PROMPT_H

#include "penstock/dialect/dialect.h"

/*
 * A request read to its last field, for a model that takes text and not JSON: one inside this
 * process. What such a model cannot do is refused and named when it would change the answer's
 * meaning; hints that change nothing are left out.
 *
 * All text is unescaped, valid UTF-8 and holds no NUL byte.
 */

#define PS_PROMPT_STOPS        16
#define PS_PROMPT_INPUTS       256
#define PS_PROMPT_MESSAGES     16384
#define PS_PROMPT_TOP_LOGPROBS 20
#define PS_PROMPT_DROPPED      16

struct ps_prompt_message {
    struct ps_slice role; /* "system", "user" or "assistant"; static */
    struct ps_slice content;
};

enum ps_prompt_format {
    PS_PROMPT_TEXT,
    PS_PROMPT_JSON_OBJECT,
    PS_PROMPT_JSON_SCHEMA,
};

struct ps_prompt {
    enum ps_operation operation; /* which of the next three is filled */

    const struct ps_prompt_message *messages; /* PS_OP_CHAT; at least one */
    size_t message_count;
    struct ps_slice text;          /* PS_OP_COMPLETE */
    const struct ps_slice *inputs; /* PS_OP_EMBED; at least one, none empty */
    size_t input_count;
    bool base64; /* PS_OP_EMBED: vectors are wanted as bytes */

    /* What was not given is below zero where zero means something: the caller has defaults. */
    int64_t max_tokens; /* -1, or at least 1 */
    double temperature; /* -1, or at least 0 */
    double top_p;       /* -1, or (0, 1]: a 0 becomes so little that only the likeliest is left */
    int64_t top_k;      /* -1; 0: off */
    double min_p;       /* -1, or [0, 1) */
    double frequency_penalty; /* -2 … 2; 0 when not given */
    double presence_penalty;
    int64_t seed;
    bool has_seed;
    bool logprobs;
    int64_t top_logprobs;         /* 0 … PS_PROMPT_TOP_LOGPROBS */
    const struct ps_slice *stops; /* at most PS_PROMPT_STOPS, none empty */
    size_t stop_count;
    enum ps_prompt_format format;
    struct ps_slice schema; /* PS_PROMPT_JSON_SCHEMA: the schema as raw JSON */

    /* Hints that were given and mean nothing here; names are static. */
    struct ps_slice dropped[PS_PROMPT_DROPPED];
    size_t dropped_count;
};

/*
 * `request` has been through ps_reader_finish of the same front, and its body is whole in its
 * chain. What `ret` points to lives as long as the arena; nothing points into the chain. 0, or -1
 * with a fault, whose param names the field.
 */
int ps_dialect_prompt(const struct ps_dialect *front, const struct ps_request *request,
                      struct ps_arena *arena, struct ps_prompt *ret, struct ps_fault *fault)
    __attribute__((warn_unused_result));

#endif
