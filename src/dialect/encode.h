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

/*
 * A member that is a number with limits of the target's: outside of them the limit goes out, and
 * the field is named as one that was not taken as it is. Nothing when `raw` was not given.
 */
int ps_encode_clamped(struct ps_encode *encode, const char *name, struct ps_slice raw, double low,
                      double high, const char *client_name);

/* The tools that may be called: not excluded ones, none where the choice is none and `none_drops`.
 */
size_t ps_encode_tool_count(const struct ps_encode *encode);

/* Text parts of a message as one JSON string, a line break between them; other parts are skipped.
 */
void ps_encode_joined_text(struct ps_json_out *out, const struct ps_neutral_part *parts,
                           size_t count);
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
