/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_PROMPT_PRIV_H
#define PENSTOCK_DIALECT_PROMPT_PRIV_H

#include "dialect_priv.h"

#include "penstock/dialect/prompt.h"

/*
 * A prompt in the making. All its text goes into one piece of memory as large as the raw JSON it
 * comes from: unescaped text is never longer than its raw string, and the quotes leave room for
 * what stands between joined parts.
 */
struct ps_prompt_build {
    struct ps_prompt *prompt;
    struct ps_arena *arena;
    struct ps_fault *fault;
    char *text; /* freed with the arena */
    size_t text_len;
    size_t text_size;
};

/* What a front without a `prompt` of its own says in the neutral form, made here or at hand. */
int ps_prompt_translate(struct ps_prompt_build *build, const struct ps_request *request);
int ps_prompt_of_neutral(struct ps_prompt_build *build, const struct ps_request *request,
                         const struct ps_neutral *neutral);

/* 0, or -1 with a fault; `raw_bytes` as above. */
int ps_prompt_begin(struct ps_prompt_build *build, size_t raw_bytes);

/* path.member and path[index], into PS_FAULT_PARAM bytes. */
void ps_prompt_path(char *ret, const char *path, const char *member);
void ps_prompt_element(char *ret, const char *path, size_t index);

/* Faults; all return -1. The first two say what `path` must be and that models inside cannot do it.
 */
int ps_prompt_expected(struct ps_prompt_build *build, const char *path, const char *what);
int ps_prompt_unsupported(struct ps_prompt_build *build, const char *path);
int ps_prompt_twice(struct ps_prompt_build *build, const char *path);
int ps_prompt_no_memory(struct ps_prompt_build *build);

static inline bool ps_raw_has(struct ps_slice raw)
{
    return raw.len > 0 && raw.ptr[0] != 'n';
}
static inline bool ps_raw_is_string(struct ps_slice raw)
{
    return raw.len >= 2 && raw.ptr[0] == '"';
}
static inline bool ps_raw_is(struct ps_slice raw, char first)
{
    return raw.len > 0 && raw.ptr[0] == first;
}
/* An object or array with something in it. */
bool ps_raw_filled(struct ps_slice raw);
/* Whether a raw string means this text. */
bool ps_raw_means(struct ps_slice raw, const char *text);

/* Values of fields; `raw` may be absent or null: then 0, and nothing is set. */
int ps_prompt_text(struct ps_prompt_build *build, const char *path, struct ps_slice raw,
                   struct ps_slice *ret);
int ps_prompt_bool(struct ps_prompt_build *build, const char *path, struct ps_slice raw, bool *ret);
int ps_prompt_int(struct ps_prompt_build *build, const char *path, struct ps_slice raw, int64_t low,
                  int64_t high, int64_t *ret);
int ps_prompt_number(struct ps_prompt_build *build, const char *path, struct ps_slice raw,
                     double low, double high, double *ret);
/* A copy of raw JSON. */
struct ps_slice ps_prompt_keep(struct ps_prompt_build *build, struct ps_slice raw);
/* How many elements. */
size_t ps_prompt_count(struct ps_slice array);

/* Fields that several fronts have. */
int ps_prompt_top_p(struct ps_prompt_build *build, struct ps_slice raw);
int ps_prompt_seed(struct ps_prompt_build *build, struct ps_slice raw);
int ps_prompt_stop(struct ps_prompt_build *build, struct ps_slice raw);
/* Messages in OpenAI's shape: prompt_messages.c. `system` (a raw string, may be absent) comes
 * first. */
int ps_prompt_messages(struct ps_prompt_build *build, struct ps_slice system,
                       struct ps_slice array);

/* A member of an object that is acted on: more than one is refused. */
struct ps_prompt_member {
    const char *name;
    struct ps_slice raw;
};
/* Fills the raws of the members that `object` has. 0, or -1 with a fault that names `path`.member.
 */
int ps_prompt_members(struct ps_prompt_build *build, const char *path, struct ps_slice object,
                      struct ps_prompt_member *members, size_t count);

#endif
