/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_NEUTRAL_H
#define PENSTOCK_DIALECT_NEUTRAL_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"
#include "penstock/dialect/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The neutral form: what a request asks for, whatever family it came in. A front builds it out of
 * the body when the target speaks another family, and at no other time; a back makes its own body
 * of it.
 *
 * RAW means: JSON text exactly as the client wrote it, checked to be of the type that is named.
 * A raw string has its quotes and its escapes and is copied between quotes of another body as it
 * is, never unescaped and escaped again; a raw number keeps its digits; a raw object keeps its
 * order and its unknown members. PLAIN means unescaped bytes. Every slice with len 0 was not given
 * (a JSON null counts as not given). Slices live as long as the exchange's arena.
 *
 * What a front could not place is not lost: see `extras`.
 */

#define PS_NEUTRAL_MESSAGES 100000 /* messages, and parts in all */
#define PS_NEUTRAL_TOOLS    512
#define PS_NEUTRAL_STOPS    64
#define PS_NEUTRAL_INPUTS   4096
#define PS_NEUTRAL_EXTRAS   64

/*
 * Where in the client's body a thing stood, as a chain of steps from the outside: "messages" [2]
 * "content" [0]. Costs nothing until somebody has to name it (ps_neutral_path).
 */
struct ps_neutral_at {
    const struct ps_neutral_at *parent; /* NULL: the top of the body */
    const char *name;                   /* static, without dots; NULL: only an index */
    uint32_t index;                     /* PS_NEUTRAL_NO_INDEX: none */
};
#define PS_NEUTRAL_NO_INDEX UINT32_MAX
/* "messages[2].content[0].image_url" into PS_FAULT_PARAM bytes; `member` may be NULL. What is too
 * long is cut. */
void ps_neutral_path(char *ret, const struct ps_neutral_at *at, const char *member);

/* What may be yes, no or not said. */
enum ps_tri {
    PS_TRI_NONE,
    PS_TRI_NO,
    PS_TRI_YES,
};

/* ---- messages ---- */

enum ps_role {
    PS_ROLE_SYSTEM,
    PS_ROLE_DEVELOPER, /* to be taken for SYSTEM by those that do not know it */
    PS_ROLE_USER,
    PS_ROLE_ASSISTANT,
    PS_ROLE_TOOL, /* only TOOL_RESULT parts, at least one; neighbours belong to one round */
};
static inline bool ps_role_is_system(enum ps_role role)
{
    return role == PS_ROLE_SYSTEM || role == PS_ROLE_DEVELOPER;
}

enum ps_part_kind {
    PS_PART_TEXT,
    PS_PART_IMAGE,
    PS_PART_DOCUMENT, /* PDF, text and the like */
    PS_PART_AUDIO,
    PS_PART_VIDEO,
    PS_PART_TOOL_CALL,   /* of an assistant */
    PS_PART_TOOL_RESULT, /* of a TOOL message */
    PS_PART_REASONING,   /* of an assistant */
    PS_PART_REFUSAL,     /* of an assistant */
    PS_PART_OPAQUE,      /* of a kind that only its own family knows: `raw` says it all */
};

enum ps_media_source {
    PS_MEDIA_BASE64, /* `data` */
    PS_MEDIA_URL,    /* `url`: passed on, never fetched */
    PS_MEDIA_FILE,   /* `file_id`: of the provider's file store */
    PS_MEDIA_TEXT,   /* `text`: a document that is its text */
};
struct ps_neutral_media {
    enum ps_media_source source;
    struct ps_slice media_type; /* PLAIN, "image/png"; may be missing with a URL */
    struct ps_slice data;       /* PLAIN base64, checked, no quotes; has nothing to escape */
    struct ps_slice url;        /* RAW string */
    struct ps_slice file_id;    /* RAW string */
    struct ps_slice text;       /* RAW string */
    struct ps_slice detail;     /* RAW string: "auto", "low", "high" */
    struct ps_slice filename;   /* RAW string; a document's title, too */
    struct ps_slice format;     /* RAW string: "wav" */
    struct ps_slice context;    /* RAW string */
    struct ps_slice citations;  /* RAW object: {"enabled":true} */
};

struct ps_neutral_call {
    struct ps_slice id;        /* RAW string */
    struct ps_slice name;      /* RAW string */
    struct ps_slice arguments; /* RAW object, checked; "{}" where the client had none */
    bool custom;               /* `arguments` is a RAW string: free text for a custom tool */
    struct ps_slice signature; /* RAW string: the model's, to be handed back as it came */
};

struct ps_neutral_part;
struct ps_neutral_result {
    struct ps_slice id;                  /* RAW string: of the call */
    const struct ps_neutral_call *call;  /* that call, in an earlier message; never NULL */
    const struct ps_neutral_part *parts; /* TEXT, IMAGE, DOCUMENT, OPAQUE */
    size_t part_count;
    bool is_error;
};

struct ps_neutral_reasoning {
    struct ps_slice signature; /* RAW string; over the text, the model's own */
    struct ps_slice redacted;  /* RAW string: no text, but this */
    struct ps_slice id;        /* RAW string */
};

struct ps_neutral_part {
    enum ps_part_kind kind;
    struct ps_neutral_at at;
    struct ps_slice text;          /* RAW string; TEXT, REFUSAL, REASONING */
    struct ps_slice cache_control; /* RAW object; wherever a client marks what is to be cached */
    struct ps_slice citations;     /* RAW array or object; TEXT */
    struct ps_slice raw;           /* RAW: the whole part as it came; OPAQUE always */
    union {
        const struct ps_neutral_media *media; /* IMAGE, DOCUMENT, AUDIO, VIDEO */
        const struct ps_neutral_call *call;
        const struct ps_neutral_result *result;
        const struct ps_neutral_reasoning *reasoning; /* NULL: only text */
    };
};

struct ps_neutral_message {
    enum ps_role role;
    struct ps_neutral_at at;
    struct ps_slice name; /* RAW string: of the speaker */
    const struct ps_neutral_part *parts;
    size_t part_count; /* 0: an empty text; only where the front allows it */
};

/* ---- tools ---- */

enum ps_tool_kind {
    PS_TOOL_FUNCTION,
    PS_TOOL_CUSTOM, /* takes free text */
    PS_TOOL_OPAQUE, /* runs at the provider; `raw` says it all */
};
struct ps_neutral_tool {
    enum ps_tool_kind kind;
    struct ps_neutral_at at;
    struct ps_slice name;        /* RAW string; FUNCTION and CUSTOM */
    struct ps_slice description; /* RAW string */
    struct ps_slice parameters;  /* RAW object: a JSON schema */
    struct ps_slice format;      /* RAW object; CUSTOM */
    enum ps_tri strict;
    bool excluded;                 /* a list of allowed tools leaves it out */
    struct ps_slice cache_control; /* RAW object */
    struct ps_slice raw;           /* RAW: the whole tool as it came */
};

enum ps_tool_choice {
    PS_CHOICE_NONE_GIVEN,
    PS_CHOICE_AUTO,
    PS_CHOICE_NONE, /* no tool may be called */
    PS_CHOICE_ANY,  /* one must be */
    PS_CHOICE_NAMED,
};

/* ---- the request ---- */

enum ps_format {
    PS_FORMAT_NONE_GIVEN,
    PS_FORMAT_TEXT,
    PS_FORMAT_JSON_OBJECT,
    PS_FORMAT_JSON_SCHEMA,
};

enum ps_effort {
    PS_EFFORT_NONE_GIVEN,
    PS_EFFORT_OFF, /* OpenAI's "none" */
    PS_EFFORT_MINIMAL,
    PS_EFFORT_LOW,
    PS_EFFORT_MEDIUM,
    PS_EFFORT_HIGH,
    PS_EFFORT_XHIGH,
    PS_EFFORT_MAX,
};
const char *ps_effort_name(enum ps_effort effort); /* "low" …; NULL for NONE_GIVEN */

enum ps_thinking {
    PS_THINKING_NONE_GIVEN,
    PS_THINKING_OFF,
    PS_THINKING_ON,
    PS_THINKING_ADAPTIVE, /* as much as the model likes */
};

/* A member of the client's body that its front gives no meaning. */
struct ps_neutral_extra {
    struct ps_neutral_at at; /* names it */
    struct ps_slice key;     /* RAW string */
    struct ps_slice value;   /* RAW */
    bool nested;             /* not at the top: can only be dropped */
};

struct ps_neutral {
    enum ps_operation operation;

    /* CHAT, COUNT_TOKENS. The first `system_count` are the system messages before all others;
     * later ones stand where the client had them. */
    const struct ps_neutral_message *messages;
    size_t message_count;
    size_t system_count;
    bool has_media; /* some part is an image, document, audio or video */

    /* COMPLETE: prompts. EMBED: inputs. RERANK: documents. IMAGE: its prompt. */
    const struct ps_slice *inputs; /* RAW strings; RERANK: RAW strings or objects with a "text" */
    size_t input_count;
    const char *input_name;       /* of the member, for paths: "input" */
    bool input_single;            /* it was given bare, not in an array */
    struct ps_slice query;        /* RAW string; RERANK */
    struct ps_slice top_n;        /* RAW number; RERANK */
    enum ps_tri return_documents; /* RERANK */
    struct ps_slice dimensions;   /* RAW number; EMBED */
    struct ps_slice input_type;   /* RAW string; EMBED: what the vectors are for */
    bool base64;                  /* EMBED: the client wants bytes */
    struct ps_slice suffix;       /* RAW string; COMPLETE */
    bool echo;                    /* COMPLETE */

    const struct ps_neutral_tool *tools;
    size_t tool_count;
    enum ps_tool_choice tool_choice;
    struct ps_slice tool_name; /* RAW string; CHOICE_NAMED */
    bool tools_restricted;     /* a list of allowed tools was given: see `excluded` */
    enum ps_tri parallel_calls;
    bool legacy_calls; /* OPENAI: the client knows calls as `function_call`, one in a message */

    enum ps_format format;
    struct ps_slice schema;             /* RAW object; FORMAT_JSON_SCHEMA */
    struct ps_slice schema_name;        /* RAW string */
    struct ps_slice schema_description; /* RAW string */
    enum ps_tri schema_strict;

    /* RAW numbers, in the range the front allows */
    struct ps_slice max_tokens;  /* of the answer, reasoning included */
    const char *max_tokens_name; /* as the client called it */
    struct ps_slice temperature;
    struct ps_slice top_p;
    struct ps_slice top_k;
    struct ps_slice min_p;
    struct ps_slice seed;
    struct ps_slice presence_penalty;
    struct ps_slice frequency_penalty;
    struct ps_slice repetition_penalty;
    struct ps_slice n;
    struct ps_slice best_of;
    bool logprobs;
    const char *logprobs_name; /* as the client called it; NULL: "logprobs" */
    struct ps_slice top_logprobs;
    struct ps_slice logit_bias; /* RAW object */

    const struct ps_slice *stops; /* RAW strings, none empty */
    size_t stop_count;
    const char *stop_name; /* "stop", "stop_sequences" */

    enum ps_effort effort;
    enum ps_thinking thinking;
    int64_t thinking_budget;    /* tokens; -1: none given */
    enum ps_tri show_reasoning; /* the client wants to see it (a summary of it) */

    struct ps_slice user;          /* RAW string: who the end user is */
    struct ps_slice metadata;      /* RAW object */
    struct ps_slice service_tier;  /* RAW string */
    struct ps_slice verbosity;     /* RAW string */
    struct ps_slice cache_key;     /* RAW string */
    struct ps_slice cache_control; /* RAW object; at the top */
    struct ps_slice web_search;    /* RAW object */
    enum ps_tri store;

    bool stream;
    bool include_usage;

    /*
     * Members that the front gives no meaning, top ones first. A target of the self-hosted kind
     * gets the top ones as they are; any other encoder names them as dropped (ps_drop_extras).
     * Members that were seen after PS_NEUTRAL_EXTRAS are not listed but counted.
     */
    const struct ps_neutral_extra *extras;
    size_t extra_count;
    size_t extras_left_out;
};

#endif
