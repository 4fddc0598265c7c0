/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_REQUEST_H
#define PENSTOCK_DIALECT_REQUEST_H

#include "penstock/base/arena.h"
#include "penstock/base/chain.h"
#include "penstock/base/fault.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One request to a model, as its front dialect has read it. The body's bytes stay where they are
 * (an immutable chain, owned by the exchange); what we act on is known by its span, what we change
 * is an edit of a span. All slices lie in the exchange's arena unless said otherwise.
 */

/* Several dialects may share a family: then bytes pass between them as they are. */
enum ps_family {
    PS_FAMILY_OPENAI,
    PS_FAMILY_GENERATE, /* our own door; a front only */
    PS_FAMILY_ANTHROPIC,
    PS_FAMILY_RESPONSES, /* OpenAI's Responses API; a front only, some of OPENAI can be asked so */
    PS_FAMILY_GEMINI,
    PS_FAMILY_COHERE,
    PS_FAMILY_OLLAMA,
    PS_FAMILY_TGI,
    PS_FAMILY_TRITON,
    PS_FAMILY_HTTP, /* plain JSON over HTTP, described by the configuration */
    PS_FAMILY_COUNT
};

enum ps_operation {
    PS_OP_CHAT,
    PS_OP_COMPLETE,
    PS_OP_EMBED,
    PS_OP_RERANK,
    PS_OP_IMAGE,        /* images out of text */
    PS_OP_COUNT_TOKENS, /* how long the prompt of a chat is */
    PS_OP_PASS,         /* any other path of the family, relayed as it is */
    PS_OP_MODELS,       /* list of models: the gateway's own question to a provider */
    PS_OP_COUNT
};
const char *ps_operation_name(enum ps_operation operation);

/* Bytes [start, end) of the body; none when end is 0. */
struct ps_span {
    uint64_t start;
    uint64_t end;
};

struct ps_neutral;          /* neutral.h */
struct ps_responses_values; /* the Responses API's own */

/* What /generate was asked for: raw JSON, checked; len 0: not given. */
struct ps_generate_values {
    struct ps_slice system;     /* a string */
    struct ps_slice prompt;     /* a string: one user message */
    struct ps_slice messages;   /* an array in OpenAI's shape; exactly one of prompt and messages */
    struct ps_slice max_tokens; /* numbers */
    struct ps_slice temperature;
    struct ps_slice top_p;
    struct ps_slice seed;
    struct ps_slice stop;    /* a string or an array of strings */
    struct ps_slice webhook; /* a string or an object: whom a job tells its end */
    bool bare;               /* the body was not JSON: all of it is the prompt */
};

/*
 * RESPONSES: an element of the input that only names an item which a response kept by this gateway
 * holds. Whoever keeps responses fills `item` in.
 */
#define PS_REFERENCES   1024 /* in one request; further ones are not looked for */
#define PS_REFERENCE_ID 48
struct ps_reference {
    struct ps_span span;  /* of the element */
    uint32_t index;       /* of it in the input */
    uint32_t id_len;      /* of `id` */
    struct ps_slice item; /* RAW object that stands for it; empty: not found (yet); lives as long as
                             the arena */
    char id[PS_REFERENCE_ID];
};

struct ps_request {
    enum ps_family family; /* a reader may find the body to be of another than its own */
    enum ps_operation operation;
    struct ps_slice method;       /* "POST" */
    struct ps_slice path;         /* as sent; PS_OP_PASS: behind /v1, with its '/' */
    struct ps_slice query;        /* without '?', as sent; empty: none */
    struct ps_slice content_type; /* as sent */
    struct ps_slice accept;       /* as sent */

    const struct ps_chain *body; /* borrowed from the exchange; may be empty */
    struct ps_slice model;       /* unescaped; len 0: none given */
    bool stream;                 /* the client wants a stream */
    bool background;             /* /generate: as a job */
    struct ps_span model_span;   /* the value, quotes included (JSON), or its bytes (multipart) */
    struct ps_span stream_options_span; /* the object, or null */
    struct ps_span include_usage_span;  /* its include_usage value */
    bool stream_options_empty;          /* {} */
    bool include_usage;                 /* the client asked for the usage chunk */
    bool base64;                        /* embeddings: the client wants them as bytes */
    bool multipart;                     /* model_span is bytes of a form field */
    unsigned shape;  /* the front's own, for its writer: which of its shapes was used */
    bool own_answer; /* asks a model for nothing: whoever asks can answer it, where no provider of
                        the family does */
    const struct ps_neutral *neutral;          /* NULL: not built yet, see ps_dialect_neutral */
    const struct ps_generate_values *generate; /* GENERATE; TGI: what its answer repeats */

    /* RESPONSES */
    struct ps_slice previous_id;  /* PLAIN: of the response that this one goes on from; or empty */
    struct ps_slice previous;     /* RAW array of the items before its own input, when whoever keeps
                                     responses has found them; lives as long as the arena */
    struct ps_span previous_span; /* of that id */
    struct ps_span input_span;
    struct ps_reference *references; /* in the order of the input; of ids of ours only */
    size_t reference_count;
    size_t reference_bytes; /* of their items in all */
    bool keeps_responses;   /* whoever asks keeps the answer, unless it says store: false */
    struct ps_responses_values *responses; /* what the answer repeats; the dialect's own */
};

/* Bytes that a translation has to read: the body, and what is kept of the conversation. */
static inline size_t ps_request_bytes(const struct ps_request *request)
{
    return (request->body != NULL ? request->body->len : 0) + request->previous.len +
           request->reference_bytes;
}

/* A replacement of a span; start == end: an insertion there. Edits are in order and do not overlap.
 */
struct ps_edit {
    uint64_t start;
    uint64_t end;
    struct ps_slice text;
};
/*
 * The body with edits applied, as parts that point into the chain and the edits; no byte is copied.
 * The array lies in the arena. *ret_length = bytes in all. 0, or -1 when the arena is exhausted.
 */
int ps_request_parts(const struct ps_chain *body, const struct ps_edit *edits, size_t edit_count,
                     struct ps_arena *arena, struct ps_slice **ret_parts, size_t *ret_count,
                     uint64_t *ret_length) __attribute__((warn_unused_result));

#endif
