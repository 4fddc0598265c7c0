/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_JSON_SCAN_H
#define PENSTOCK_BASE_JSON_SCAN_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One strict pass over JSON text as its bytes arrive, cut anywhere, without allocation: accepts
 * exactly RFC 8259 in valid UTF-8 without BOM, within bounds on depth and number of values, and
 * reports where the values we act on lie. It never builds a tree and never changes a byte. Lone
 * surrogate escapes
 * (\ud800) are legal JSON and pass. How the text was cut changes nothing: not what is reported, not
 * the error and not its offset.
 *
 * What is watched is a set of paths, compiled once: "model", "stream_options.include_usage",
 * "choices.*.delta.content" ('*' is any element of an array and never a member of an object; a name
 * is never an element). "" is the whole text. Keys are compared after unescaping.
 */

#define PS_JSON_MAX_DEPTH 64
#define PS_JSON_MAX_PATHS 48
#define PS_JSON_MAX_STEPS 16 /* names and stars in one path */
#define PS_JSON_MAX_KEY   48 /* unescaped bytes of one watched key */

enum ps_json_type {
    PS_JSON_NULL,
    PS_JSON_FALSE,
    PS_JSON_TRUE,
    PS_JSON_NUMBER,
    PS_JSON_STRING,
    PS_JSON_ARRAY,
    PS_JSON_OBJECT,
};

struct ps_json_path {
    const char *path; /* static: the compiled paths point into it */
    /*
     * This value is acted on: a second one is an error, also when it comes about by repeating a
     * name on the way to it ("a.b" refuses {"a":{"b":1},"a":{"b":2}}). Same names in different
     * objects are fine.
     */
    bool unique;
};

/* Compiled paths; immutable afterwards, shared by any number of scans and threads. */
struct ps_json_paths;
/*
 * `paths` is an array of `count` (≤ PS_JSON_MAX_PATHS); NULL when memory is short or a path is
 * malformed: an empty step, too many or too long ones, or the same path twice.
 */
struct ps_json_paths *ps_json_paths_new(const struct ps_json_path *paths, size_t count);
void ps_json_paths_free(struct ps_json_paths *paths); /* NULL is allowed */

/*
 * A watched value, reported when its last byte has been seen; a number when the byte after it has,
 * or at the end of the text. An object or array comes after what is watched inside it.
 */
struct ps_json_value {
    int path; /* index in the array given to ps_json_paths_new */
    enum ps_json_type type;
    uint32_t element; /* index of the element at the innermost '*' on the path, else 0 */
    uint64_t start;   /* offset of the first byte, quotes and brackets included */
    uint64_t end;     /* one past the last byte */
    bool escaped;     /* a string that holds a backslash */
};
/* Return false to stop the scan with PS_JSON_STOPPED. It may not touch the scan. */
typedef bool (*ps_json_value_fn)(void *arg, const struct ps_json_value *value);

#define PS_JSON_ERRORS(X)                                                                          \
    X(OK, "")                                                                                      \
    X(SYNTAX, "is not valid JSON")                                                                 \
    X(UTF8, "is not valid UTF-8")                                                                  \
    X(CONTROL, "has a control character inside a string")                                          \
    X(BAD_NUMBER, "has a malformed number")                                                        \
    X(ESCAPE, "has an invalid escape in a string")                                                 \
    X(DEPTH, "is nested too deeply")                                                               \
    X(NODES, "has too many values")                                                                \
    X(DUPLICATE, "has a duplicate key")                                                            \
    X(TRAILING, "has text after the JSON value")                                                   \
    X(INCOMPLETE, "ends too early")                                                                \
    X(STOPPED, "was stopped")

enum ps_json_error {
#define X(name, text) PS_JSON_##name,
    PS_JSON_ERRORS(X)
#undef X
};
const char *ps_json_error_text(enum ps_json_error error);

struct ps_json_limits {
    uint32_t depth; /* of objects and arrays; what is above PS_JSON_MAX_DEPTH is cut to it */
    uint64_t nodes; /* values of any type */
};

/*
 * Where a scan stands. Only ps_json_scan_* look inside. What belongs to a depth is set when that
 * depth is entered, so that a scan starts in a few stores: one lives in every exchange and starts
 * at every event.
 */
struct ps_json_state {
    uint64_t nodes;       /* values so far */
    uint64_t kinds;       /* bit per depth: 1 = object */
    uint64_t token_start; /* offset of the current scalar or key */
    uint32_t depth;       /* open objects and arrays */
    uint32_t live;        /* how many of them, counted from the outside, lie on a watched path */
    uint16_t node;        /* of the current key or value in the compiled paths; 0 = not watched */
    uint8_t mode;         /* what the next byte belongs to */
    uint8_t expect;       /* between tokens: what may come */
    uint8_t sub;          /* place inside a number, literal or \u escape */
    uint8_t literal;      /* which one */
    uint8_t utf8_left;    /* continuation bytes still due */
    uint8_t utf8_low;     /* bounds of the next one */
    uint8_t utf8_high;
    uint8_t key_len;
    bool in_key;
    bool key_watched; /* the key is compared */
    bool key_never;   /* it equals none */
    bool escaped;
    uint16_t unicode;                      /* of the \u escape so far */
    uint16_t high;                         /* a high surrogate that wants its low one */
    uint16_t match[PS_JSON_MAX_STEPS + 2]; /* by depth: node of a live object or array */
    uint32_t index[PS_JSON_MAX_STEPS + 2]; /* of the current element */
    uint64_t start[PS_JSON_MAX_STEPS + 2]; /* offset of the bracket */
    uint64_t seen[PS_JSON_MAX_STEPS + 2];  /* bit per watched key that has come */
    char key[PS_JSON_MAX_KEY];             /* unescaped, when the key has escapes or was cut */
};

struct ps_json_scan {
    const struct ps_json_paths *paths; /* borrowed, may be NULL */
    ps_json_value_fn on_value;         /* may be NULL */
    void *arg;
    struct ps_json_limits limits;
    uint64_t offset; /* bytes fed; at an error: offset of the byte at fault */
    enum ps_json_error error;
    int duplicate;          /* index of the path at fault, for PS_JSON_DUPLICATE */
    enum ps_json_type root; /* type of the top value, once it has begun */
    bool began;
    struct ps_json_state s;
};

void ps_json_scan_init(struct ps_json_scan *scan, const struct ps_json_paths *paths,
                       const struct ps_json_limits *limits, ps_json_value_fn on_value, void *arg);
/*
 * Takes the next bytes. PS_JSON_OK, or the error, which then stays. At fault is the second key of a
 * duplicate (its opening quote), the bracket that goes too deep, the first byte of the value too
 * many; after PS_JSON_STOPPED the offset is the end of the value that was reported.
 */
enum ps_json_error ps_json_scan_feed(struct ps_json_scan *scan, const char *ptr, size_t len);
/* End of text: PS_JSON_OK only when one whole value was seen. */
enum ps_json_error ps_json_scan_finish(struct ps_json_scan *scan);
/*
 * Whether one whole value has been seen and only white space may follow. A number at the top is
 * whole only after white space or ps_json_scan_finish: more digits may come.
 */
bool ps_json_scan_complete(const struct ps_json_scan *scan);

/* Scan of text that is at hand as a whole. */
enum ps_json_error ps_json_scan_text(struct ps_slice text, const struct ps_json_paths *paths,
                                     const struct ps_json_limits *limits, ps_json_value_fn on_value,
                                     void *arg);

/*
 * Unescapes a scanned JSON string (`raw` with its quotes) into `ret` (room for raw.len bytes);
 * returns the length. A surrogate pair becomes one character, a lone surrogate U+FFFD, \u0000 a NUL
 * byte.
 */
size_t ps_json_unescape(struct ps_slice raw, char *ret);

/*
 * The quote that ends a JSON string whose insides begin at `at`. NULL: they are no valid JSON, or
 * end too near to `end` to tell; a scan tells then.
 */
const char *ps_json_string_close(const char *at, const char *end);

/*
 * A JSON number as an integer: true and *ret_value when it is one exactly (1e3 and 1.0 are; 0.5,
 * 1e400, what int64 cannot hold and what is no JSON number are not). *ret_value is untouched on
 * false.
 */
bool ps_json_int(struct ps_slice raw, int64_t *ret_value);
/* The nearest double, whatever the locale; false on overflow and on what is no JSON number. */
bool ps_json_double(struct ps_slice raw, double *ret_value);

#endif
