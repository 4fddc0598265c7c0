/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_EVENT_H
#define PENSTOCK_DIALECT_EVENT_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a model's answer consists of, whoever gives it. A backend yields events; a front relays
 * their raw bytes (same family) or encodes their fields (another family). Values only: every slice
 * lives until the callback that got the event returns.
 *
 * `raw` holds the exact upstream bytes. One piece of upstream bytes may mean several events: the
 * first of them carries the raw, the others none; so the concatenation of all raws is the
 * upstream's body, less what is withheld.
 */
enum ps_event_kind {
    PS_EVENT_START, /* the answer begins (role chunk, message_start) */
    PS_EVENT_BLOCK_START,
    PS_EVENT_BLOCK_STOP,
    PS_EVENT_TEXT,      /* commits */
    PS_EVENT_REASONING, /* commits */
    PS_EVENT_REFUSAL,   /* commits */
    PS_EVENT_TOOL_CALL, /* commits */
    PS_EVENT_CITATION,
    PS_EVENT_LOGPROBS,  /* of one token, before the TEXT that has its last byte: commits */
    PS_EVENT_EMBEDDING, /* one vector: commits */
    PS_EVENT_MEDIA,     /* commits */
    PS_EVENT_RESULT,    /* a whole answer is complete and valid: commits */
    PS_EVENT_USAGE,
    PS_EVENT_FINISH, /* commits */
    PS_EVENT_PING,   /* comment, keep-alive */
    PS_EVENT_OPAQUE, /* bytes to pass on; pieces of a whole answer, unknown events */
    PS_EVENT_FAULT,  /* the upstream reports an error in the body */
    PS_EVENT_DONE,   /* terminal marker: [DONE], message_stop; or the end of a whole answer */
};
/* Whether the first such event decides the status line (the commit rule). */
bool ps_event_commits(enum ps_event_kind kind);

enum ps_finish {
    PS_FINISH_NONE,
    PS_FINISH_STOP,
    PS_FINISH_LENGTH,
    PS_FINISH_TOOL_CALLS,
    PS_FINISH_CONTENT_FILTER,
    PS_FINISH_OTHER,
};

/* Token counts; -1: not told. */
struct ps_usage {
    int64_t input;
    int64_t output;
    int64_t total;
    int64_t cached;    /* part of input */
    int64_t reasoning; /* part of output */
};
#define PS_USAGE_NONE ((struct ps_usage){-1, -1, -1, -1, -1})

/* A token as the model has it: raw bytes, maybe part of a character. */
struct ps_event_logprob {
    struct ps_slice token;
    float logprob;
};

struct ps_event {
    enum ps_event_kind kind;
    uint32_t choice; /* index among n answers */
    uint32_t block;  /* index of the content block or tool call */
    struct ps_slice raw;
    bool withheld; /* raw is not for the client (a usage chunk it did not ask for) */
    struct ps_slice
        text; /* TEXT, REASONING, REFUSAL: unescaped UTF-8; only when fields were asked for */
    enum ps_finish finish;           /* FINISH */
    struct ps_slice finish_text;     /* FINISH: the upstream's own word, unescaped */
    struct ps_usage usage;           /* USAGE */
    const struct ps_fault *fault;    /* FAULT */
    struct ps_event_logprob logprob; /* LOGPROBS: the chosen token; from models in this process */
    const struct ps_event_logprob
        *top; /* LOGPROBS: the likeliest, best first; may have the chosen */
    size_t top_count;
    uint32_t index;      /* EMBEDDING: of the input */
    const float *vector; /* EMBEDDING */
    size_t dimensions;
};

/* Return false to stop: the decoder's feed then returns PS_DECODE_STOPPED and must not be fed
 * again. */
typedef bool (*ps_event_fn)(void *arg, const struct ps_event *event);

#endif
