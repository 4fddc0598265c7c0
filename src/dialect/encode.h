/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_ENCODE_H
#define PENSTOCK_DIALECT_ENCODE_H

#include "dialect_priv.h"
#include "json_out.h"

#include "penstock/dialect/neutral.h"

/*
 * A body for a target of another family, in the making. ps_dialect_encode fills all of this, `ret`
 * with what most targets want: POST, JSON in and (stream: events) out, has_body, stream as the
 * client asked. The dialect's encode_neutral sets the path, writes into `out`, and returns 0 or -1
 * with a fault.
 */
struct ps_encode {
    const struct ps_dialect *dialect;
    const struct ps_request *request;
    const struct ps_neutral *neutral;
    const struct ps_encode_options *options;
    const struct ps_dialect_settings *settings; /* never NULL */
    struct ps_slice model;                      /* PLAIN, may be empty: what the target calls it */
    struct ps_arena *arena;
    struct ps_encoded *ret;
    struct ps_fault *fault;
    struct ps_json_out out; /* the body */
    struct ps_buf dropped;  /* names so far */
};

/* What ps_dialect_encode does when the families differ; for tests also when they do not. */
int ps_encode_translate(const struct ps_dialect *dialect, struct ps_request *request,
                        const struct ps_encode_options *options, struct ps_arena *arena,
                        struct ps_encoded *ret, struct ps_fault *ret_fault);

/* own.c: whether a few bytes (PS_OWN_WORD at most) stand anywhere in a body. */
#define PS_OWN_WORD 16
bool ps_own_holds(const struct ps_chain *body, struct ps_slice word);
/* The body of a request that is relayed (a JSON object): the client's own, with the model's name in
 * it replaced, or put in where there is none; `model` len 0: as it is. own.c */
int ps_own_body(const struct ps_request *request, struct ps_slice model, struct ps_arena *arena,
                struct ps_encoded *ret, struct ps_fault *ret_fault);
/* The same, with more edits of it, in order, none of them about the model's name. */
int ps_own_body_edited(const struct ps_request *request, struct ps_slice model,
                       const struct ps_edit *edits, size_t count, struct ps_arena *arena,
                       struct ps_encoded *ret, struct ps_fault *ret_fault);

/* Whether a client's query can stand in a URL as it is. */
bool ps_query_is_sane(struct ps_slice query);
/*
 * The path behind the base URL: `version` ("/v1") is left out when the base URL ends with it.
 * `rest` is whole ("/messages"). Then query parameters, first without '?' ("alt=sse"), or empty.
 */
int ps_encode_path(struct ps_encode *encode, const char *version, struct ps_slice rest,
                   struct ps_slice query);
/* A name as one segment of a path: what is not unreserved is percent-escaped, '/' too unless
 * `slashes`. ptr NULL when memory is short. */
struct ps_slice ps_encode_segment(struct ps_arena *arena, struct ps_slice name, bool slashes);
/* One more header for ps_encoded.headers; both texts are static or in the arena. */
int ps_encode_header(struct ps_encode *encode, struct ps_slice name, struct ps_slice value);

/*
 * Leaves a field out that does not change the meaning. 0; -1 with a fault when the operator wants
 * that refused. `name` is the client's name of it.
 */
int ps_drop(struct ps_encode *encode, const char *name);
/* Names may come from the client: nothing that does not look like one gets into a header. */
bool ps_drop_is_name(struct ps_slice name);
int ps_drop_at(struct ps_encode *encode, const struct ps_neutral_at *at, const char *member);
/* The same if `raw` was given. */
int ps_drop_raw(struct ps_encode *encode, const char *name, struct ps_slice raw);
/* All extras of the neutral form. */
int ps_drop_extras(struct ps_encode *encode);
/* Writes the top ones as members of the body (for targets with settings.self_hosted), drops the
 * nested. */
int ps_encode_extras(struct ps_encode *encode);

/* Faults of what would change the meaning; all return -1. */
int ps_encode_unsupported(struct ps_encode *encode, const char *name);
int ps_encode_unsupported_at(struct ps_encode *encode, const struct ps_neutral_at *at,
                             const char *member);
int ps_encode_bad_at(struct ps_encode *encode, const struct ps_neutral_at *at, const char *member,
                     const char *what); /* "… must …" */
int ps_encode_no_memory(struct ps_encode *encode);

/* ---- what a target takes of a request: encode_rest.c ---- */

enum ps_takes {
    PS_TAKES_MAX_TOKENS = 1 << 0,
    PS_TAKES_TEMPERATURE = 1 << 1,
    PS_TAKES_TOP_P = 1 << 2,
    PS_TAKES_TOP_K = 1 << 3,
    PS_TAKES_MIN_P = 1 << 4,
    PS_TAKES_SEED = 1 << 5,
    PS_TAKES_PRESENCE = 1 << 6,
    PS_TAKES_FREQUENCY = 1 << 7,
    PS_TAKES_REPETITION = 1 << 8,
    PS_TAKES_USER = 1 << 9,
    PS_TAKES_SERVICE_TIER = 1 << 10,
    PS_TAKES_CACHE_CONTROL = 1 << 11, /* at the top */
    PS_TAKES_INPUT_TYPE = 1 << 12,
    /* would change the answer */
    PS_TAKES_N = 1 << 13,
    PS_TAKES_BEST_OF = 1 << 14,
    PS_TAKES_LOGPROBS = 1 << 15,
    PS_TAKES_WEB_SEARCH = 1 << 16,
    PS_TAKES_SUFFIX = 1 << 17,
    PS_TAKES_ECHO = 1 << 18,
    /* for ps_plain_check only */
    PS_TAKES_STOP = 1 << 19,
    PS_TAKES_FORMAT = 1 << 20,
};
/* What most take. */
#define PS_TAKES_USUAL                                                                             \
    (PS_TAKES_MAX_TOKENS | PS_TAKES_TEMPERATURE | PS_TAKES_TOP_P | PS_TAKES_TOP_K)
/* A fault for what was given, is not taken, and would change the answer. */
int ps_encode_refuse_rest(struct ps_encode *encode, unsigned takes);
/* Drops what was given, is not taken, and would not. */
int ps_encode_drop_rest(struct ps_encode *encode, unsigned takes);
/* The top extras for a server that takes them; else all are dropped. */
int ps_encode_all_extras(struct ps_encode *encode);

/* The body of one operation, and its path. */
struct ps_encode_operation {
    const char *path;
    int (*write)(struct ps_encode *encode); /* NULL: the target has none such */
};
/* Writes that of the request: `operations` has PS_OP_COUNT. *ret_path may be NULL. */
int ps_encode_operation(struct ps_encode *encode, const struct ps_encode_operation *operations,
                        const char **ret_path);

/*
 * A member that is a number with limits of the target's: outside of them the limit goes out, and
 * the field is named as one that was not taken as it is. Nothing when `raw` was not given.
 */
int ps_encode_clamped(struct ps_encode *encode, const char *name, struct ps_slice raw, double low,
                      double high, const char *client_name);

/* The tools that may be called: not excluded ones, none where the choice is none and `none_drops`.
 */
size_t ps_encode_tool_count(const struct ps_encode *encode);

/* A tool as {"type":"function","function":{…}}, all but `strict`; encode_rest.c. */
int ps_encode_function(struct ps_encode *encode, const struct ps_neutral_tool *tool);

/* Text parts of a message as one JSON string, a line break between them; other parts are skipped.
 */
void ps_encode_joined_text(struct ps_json_out *out, const struct ps_neutral_part *parts,
                           size_t count);
/* Texts of a message's parts of one kind as one member, a line break between them; nothing when
 * there are none. */
void ps_encode_joined_kind(struct ps_json_out *out, const char *name,
                           const struct ps_neutral_message *message, enum ps_part_kind kind);
/* All leading system messages as one JSON string, an empty line between them. */
void ps_encode_system_text(struct ps_json_out *out, const struct ps_neutral *neutral);
/* Whether the leading system messages say anything. */
bool ps_encode_has_system(const struct ps_neutral *neutral);

/*
 * The conversation as one text for models that take no messages: a single user message is its text
 * alone; else one "role: text" paragraph each, and "assistant:" at the end. -1 with a fault for
 * what is no text.
 */
int ps_encode_prompt_text(struct ps_encode *encode);

#endif
