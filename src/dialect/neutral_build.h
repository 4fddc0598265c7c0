/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_NEUTRAL_BUILD_H
#define PENSTOCK_DIALECT_NEUTRAL_BUILD_H

#include "dialect_priv.h"
#include "json_walk.h"

#include "penstock/dialect/neutral.h"

/*
 * A neutral form in the making: what a front's `neutral` function is built from. Every function
 * that can fail returns 0, or -1 with a fault whose param is the path of the value. A null counts
 * as not given everywhere.
 */
struct ps_neutral_build {
    const struct ps_request *request;
    struct ps_arena *arena;
    struct ps_fault *fault;
    struct ps_neutral *neutral; /* zeros but for operation, stream, include_usage, budget */
    struct ps_slice body;       /* the body's object in one piece; lives as long as the arena */
    struct ps_neutral_extra *extras;
    size_t part_count; /* in all, against PS_NEUTRAL_MESSAGES */
    /* calls of the last assistant message that had some, for the results that follow */
    const struct ps_neutral_call **calls; /* sorted by id; NULL: not yet */
    size_t call_count;
};

/* Puts the body into one piece. It has been scanned by the reader. */
int ps_build_begin(struct ps_neutral_build *build, const struct ps_request *request,
                   struct ps_arena *arena, struct ps_neutral *ret, struct ps_fault *fault);
/* Takes over what was gathered: extras, operation. */
void ps_build_end(struct ps_neutral_build *build);

/* ---- values ---- */

struct ps_build_member {
    const char *name;
    struct ps_slice raw; /* len 0: not given, or null */
};
/*
 * Finds members of an object by name. One of them twice is a fault; others are noted as extras,
 * nested when `at` is not NULL. `object` must begin with '{'.
 */
int ps_build_members(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     struct ps_slice object, struct ps_build_member *members, size_t count);
/* A value that is known but has no place: an extra. */
void ps_build_extra(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice value);

/* Each checks the type (and range) of `raw` and hands it on; not given: 0, and *ret is unchanged.
 * `at` and `name` say where it stood; `at` NULL: at the top. */
int ps_build_string(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret);
int ps_build_object(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret);
int ps_build_number(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, double low, double high,
                    struct ps_slice *ret);
int ps_build_int(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 struct ps_slice raw, int64_t low, int64_t high, struct ps_slice *ret);
int ps_build_tri(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 struct ps_slice raw, enum ps_tri *ret);
int ps_build_bool(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, bool *ret);
/* A string, or an array of strings, none empty: `single` allows the bare string. */
int ps_build_stops(struct ps_neutral_build *build, const char *name, struct ps_slice raw,
                   bool single);
/* A string that must be given; one that must say something, too. */
int ps_build_needed(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret);
int ps_build_name(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, struct ps_slice *ret);
/* One word out of a NULL-terminated list: *ret is its index. */
int ps_build_word(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                  struct ps_slice raw, const char *const *words, int *ret);
/* reasoning_effort and its like. */
int ps_build_effort(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, enum ps_effort *ret);

/* How many elements. */
size_t ps_build_count(struct ps_slice array);
/* An array that lives with the arena: zeros. NULL and a fault when memory is short. */
void *ps_build_array(struct ps_neutral_build *build, size_t count, size_t size);
/* `count` more parts; a fault when there are too many in all. */
struct ps_neutral_part *ps_build_parts(struct ps_neutral_build *build,
                                       const struct ps_neutral_at *at, size_t count);

/* Parts on their way into an array that was made long enough. */
struct ps_parts {
    struct ps_neutral_part *list;
    size_t count;
};
/* The next one, which stands at `name`, of an array's `index` unless that is none. */
struct ps_neutral_part *ps_parts_next(struct ps_parts *parts, enum ps_part_kind kind,
                                      const struct ps_neutral_at *parent, const char *name,
                                      uint32_t index);

static inline bool ps_raw_given(struct ps_slice raw)
{
    return raw.len > 0 && raw.ptr[0] != 'n';
}
static inline bool ps_raw_begins(struct ps_slice raw, char first)
{
    return raw.len > 0 && raw.ptr[0] == first;
}
/* A raw string that is not "". */
static inline bool ps_raw_says(struct ps_slice raw)
{
    return raw.len > 2 && raw.ptr[0] == '"';
}
/* Whether it is a raw string that means this. */
static inline bool ps_raw_word(struct ps_slice raw, const char *word)
{
    return ps_raw_begins(raw, '"') && ps_json_key_is(raw, ps_slice_cstr(word));
}
/* The first member of an object with this name, null too; nothing behind it is looked at. Empty
 * when it has none, or this is no object. */
struct ps_slice ps_raw_find(struct ps_slice object, const char *name);
/* The last member of an object with this name; empty when it has none, it is null, or this is no
 * object. */
struct ps_slice ps_raw_member_of(struct ps_slice object, struct ps_slice name);
static inline struct ps_slice ps_raw_member(struct ps_slice object, const char *name)
{
    return ps_raw_member_of(object, ps_slice_cstr(name));
}
/* The first element of an array, and what is no array as it is. */
struct ps_slice ps_raw_first(struct ps_slice raw);
/* Without the white space around it: walks want a value to begin with itself. */
struct ps_slice ps_raw_trimmed(struct ps_slice text);
/* Whether two raw strings mean the same, escapes or not. */
bool ps_raw_same(struct ps_slice a, struct ps_slice b);
/* A raw string unescaped into the arena; ptr NULL when memory is short. */
struct ps_slice ps_raw_plain(struct ps_slice raw, struct ps_arena *arena);
/* PLAIN text as a raw string in the arena. */
struct ps_slice ps_raw_quote(struct ps_slice text, struct ps_arena *arena);

/* ---- media ---- */

/* Whether it is a type and a subtype, without parameters, of characters that no body has to escape.
 */
bool ps_media_type_is(struct ps_slice text);
/* Whether it is base64 (RFC 4648, padded or not, no line breaks) and not empty. */
bool ps_base64_is(struct ps_slice text);
/* A raw string of base64 as plain `data`. */
int ps_build_base64(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret);
/* A raw string that is a data: URL (then BASE64 with its media type) or another URL. */
int ps_build_url(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 struct ps_slice raw, struct ps_neutral_media *ret);

/* Makes a part one of this kind, its media yet to be read. */
int ps_build_media(struct ps_neutral_build *build, struct ps_neutral_part *part,
                   enum ps_part_kind kind, struct ps_neutral_media **ret);

/* ---- tools ---- */

/* The array "tools", each with its `at`, by `fn`; not given: none. */
int ps_build_tools(struct ps_neutral_build *build, struct ps_slice raw,
                   int (*fn)(struct ps_neutral_build *build, struct ps_neutral_tool *tool,
                             struct ps_slice raw));

/*
 * A JSON schema as far as it can be told at its top: an object, whose type (when given) is a word
 * or an array of words, properties an object, required an array of strings. `root`: parameters of a
 * tool, which must be of the type object.
 */
int ps_build_schema(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, bool root, struct ps_slice *ret);
/* Arguments that came as a JSON string holding JSON text: that text, checked to be an object. */
int ps_build_arguments(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice raw, struct ps_slice *ret);
/* The calls of an assistant message, when its parts are complete. */
int ps_build_note_calls(struct ps_neutral_build *build, const struct ps_neutral_message *message);
/* The call that a result answers; a fault naming the path when there is none. */
int ps_build_find_call(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice id, const struct ps_neutral_call **ret);
/* Which tools a list of allowed names leaves out; a fault for a name that is no tool. */
int ps_build_find_tool(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                       const char *name, struct ps_slice raw, size_t *ret);

/* ---- faults; all return -1 ---- */

int ps_build_expected(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      const char *name, const char *what);
int ps_build_missing(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     const char *name);
/* `why` is a sentence that the path is put before: "%s …". */
int ps_build_bad(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 const char *why);
int ps_build_unsupported(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                         const char *name);
int ps_build_no_memory(struct ps_neutral_build *build);

/* ---- messages in OpenAI's shape, which several doors take: openai_messages.c ---- */

int ps_build_openai_messages(struct ps_neutral_build *build, struct ps_slice system,
                             struct ps_slice array);

/* ---- what that shape had before tools: openai_legacy.c ---- */

/* `functions` and `function_call` of a request; raw, or not given. */
int ps_build_openai_functions(struct ps_neutral_build *build, struct ps_slice functions,
                              struct ps_slice choice);
/* `function_call` of an assistant's message, the call of `part`. */
int ps_build_openai_function_call(struct ps_neutral_build *build, struct ps_neutral_part *part,
                                  uint32_t message, struct ps_slice raw);
/* The call that a message of the role "function" answers, by its name. */
int ps_build_find_function(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                           struct ps_slice name, const struct ps_neutral_call **ret);
/* Likewise the array of tools: openai_tools.c. */
int ps_build_openai_tools(struct ps_neutral_build *build, struct ps_slice raw);

/* ---- neutral_inputs.c ---- */

/* The inputs: a string or an array of strings, none empty; for RERANK objects, too. They must be
 * given. */
int ps_build_inputs(struct ps_neutral_build *build, const char *name, struct ps_slice raw);

/* ---- cohere_front_documents.c ---- */

/* {"id","data":{…}}, as Cohere has it: its id, when it has one, and its text, as raw strings. */
int ps_build_document(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                      struct ps_slice raw, struct ps_slice *ret_id, struct ps_slice *ret_text);

#endif
