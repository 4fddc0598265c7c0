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
    PS_EVENT_SCORE,     /* one document of a rerank: commits */
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

/*
 * Token counts; -1: not told. `input` is the whole prompt: a decoder whose upstream counts cached
 * tokens apart adds them. Of several USAGE events the last holds; each has all that is known by
 * then.
 */
struct ps_usage {
    int64_t input;
    int64_t output;
    int64_t total;
    int64_t cached;      /* part of input: read from a cache */
    int64_t reasoning;   /* part of output */
    int64_t cache_write; /* part of input: put into a cache */
};
#define PS_USAGE_NONE ((struct ps_usage){-1, -1, -1, -1, -1, -1})

/* A token as the model has it: raw bytes, maybe part of a character. */
struct ps_event_logprob {
    struct ps_slice token;
    float logprob;
};

/* START: what the upstream calls the answer; members may be empty. PLAIN text. */
struct ps_event_start {
    struct ps_slice id;
    struct ps_slice model;
};

/*
 * TOOL_CALL: the first event of a call has id and name (an upstream without ids: the decoder makes
 * them, ps_decoder_call_id), later ones of the same `block` have them empty. `text` of the event is
 * the next fragment of the arguments: JSON text, in all one object. A call that comes whole is one
 * event. No fragment at all means {}: writers say so.
 */
struct ps_event_tool {
    struct ps_slice id;
    struct ps_slice name;
    struct ps_slice signature; /* the model's own, to be handed back with the call */
    bool custom;               /* the arguments are free text */
};

/* REASONING: what comes with or instead of its text. */
struct ps_event_thought {
    struct ps_slice signature; /* over the block so far; comes last */
    struct ps_slice redacted;  /* the block has no text, but this */
    bool is_summary;           /* the text is a summary of what was thought */
};

/* CITATION: a source for text of this choice. Offsets are characters of the whole text; -1: not
 * told. */
struct ps_event_citation {
    int64_t start;
    int64_t end;
    struct ps_slice url;
    struct ps_slice title;
    struct ps_slice quote; /* the cited text of the source */
    struct ps_slice raw;   /* JSON of the upstream: for fronts of its family */
};

/* MEDIA: an image (or sound) that the model made; data or url. */
struct ps_event_media {
    struct ps_slice media_type;
    struct ps_slice data; /* base64 */
    struct ps_slice url;
    struct ps_slice prompt; /* as the model has reworded it */
};

/* SCORE: of document `index`. */
struct ps_event_score {
    double relevance;
    struct ps_slice number;   /* the same as the upstream wrote it, or empty */
    struct ps_slice document; /* raw JSON, or empty */
};

/*
 * Only decoders asked for fields fill more than kind, choice, raw, finish, usage and fault. Texts
 * are unescaped UTF-8.
 */
struct ps_event {
    enum ps_event_kind kind;
    const char *maker; /* family of the model, for what it has signed; NULL: the client's own */
    uint32_t choice;   /* index among n answers */
    /* TOOL_CALL: index of the call among the calls of its choice, from 0. TEXT, REASONING: another
     * number than the event of that kind before means another block of content. */
    uint32_t block;
    uint32_t index; /* EMBEDDING, SCORE: of the input; MEDIA: of the image */
    struct ps_slice raw;
    bool withheld; /* raw is not for the client (a usage chunk it did not ask for) */
    /* TEXT, REASONING, REFUSAL; TOOL_CALL: a fragment of the arguments; FINISH: the stop sequence
     * that was met, where that is told; EMBEDDING without `vector`: the vector as raw JSON array */
    struct ps_slice text;
    enum ps_finish finish;           /* FINISH */
    struct ps_slice finish_text;     /* FINISH: the upstream's own word, unescaped */
    struct ps_usage usage;           /* USAGE */
    const struct ps_fault *fault;    /* FAULT */
    struct ps_event_logprob logprob; /* LOGPROBS: the chosen token */
    /* One by kind. NULL: nothing to tell, or no fields were asked for. */
    union {
        const struct ps_event_logprob *top; /* LOGPROBS: the likeliest, best first, `top_count`;
                                               may have the chosen */
        const float *vector;                /* EMBEDDING: of `dimensions` */
        const struct ps_event_start *start;
        const struct ps_event_tool *tool;
        const struct ps_event_thought *thought; /* REASONING */
        const struct ps_event_citation *citation;
        const struct ps_event_media *media;
        const struct ps_event_score *score;
    };
    size_t top_count;
    size_t dimensions;
};

/* Return false to stop: the decoder's feed then returns PS_DECODE_STOPPED and must not be fed
 * again. */
typedef bool (*ps_event_fn)(void *arg, const struct ps_event *event);

#endif
