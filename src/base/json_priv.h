/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_JSON_PRIV_H
#define PENSTOCK_BASE_JSON_PRIV_H

#include "penstock/base/json_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What the files of the scanner share: the compiled paths, and the machine. */

#define PS_JSON_NODE_NONE 0 /* nodes[0] watches nothing */
#define PS_JSON_NODE_ROOT 1

/* One step of the watched paths: a tree in which paths with the same beginning share it. */
struct ps_json_node {
    const char *key;     /* borrowed from the caller's path, not terminated */
    uint64_t lengths;    /* bit n: one of the children by name has n bytes */
    uint16_t child;      /* first child by name */
    uint16_t sibling;    /* next child by name of the same parent */
    uint16_t star;       /* child for the elements of an array */
    int16_t path;        /* reported as this path, -1: only a step on the way */
    int16_t unique_path; /* first unique path that comes through here, -1: none */
    uint8_t key_len;
    uint8_t ordinal;    /* among the children by name: its bit in `seen` */
    uint8_t star_depth; /* depth of the array of the innermost '*' up to here, 0: none */
};

struct ps_json_paths {
    struct ps_json_node *nodes; /* the tail of the same allocation */
};

/* The child of `parent` with this name, or PS_JSON_NODE_NONE. */
static inline uint16_t ps_json_paths_child(const struct ps_json_node *nodes, uint16_t parent,
                                           const char *key, size_t len)
{
    if (len >= 64 || (nodes[parent].lengths >> len & 1) == 0) {
        return PS_JSON_NODE_NONE;
    }
    uint16_t id = nodes[parent].child;
    while (id != PS_JSON_NODE_NONE &&
           (nodes[id].key_len != len || memcmp(nodes[id].key, key, len) != 0)) {
        id = nodes[id].sibling;
    }
    return id;
}

enum ps_json_mode {
    PS_JSON_MODE_STRUCTURE, /* between tokens */
    PS_JSON_MODE_STRING,
    PS_JSON_MODE_ESCAPE, /* behind a backslash */
    PS_JSON_MODE_HEX,    /* behind \u; sub = digits still due */
    PS_JSON_MODE_UTF8,   /* inside a character */
    PS_JSON_MODE_NUMBER, /* sub = enum ps_json_place */
    PS_JSON_MODE_LITERAL /* sub = bytes seen */
};

/* What may come between tokens; 0: nothing, the text is whole. */
enum ps_json_expect {
    PS_JSON_EXPECT_VALUE = 1,
    PS_JSON_EXPECT_KEY = 2,
    PS_JSON_EXPECT_COLON = 4,
    PS_JSON_EXPECT_COMMA = 8,
    PS_JSON_EXPECT_CLOSE = 16,
};

/* Inside a number: what the last byte was. */
enum ps_json_place {
    PS_JSON_AT_MINUS,
    PS_JSON_AT_ZERO,
    PS_JSON_AT_INT,
    PS_JSON_AT_DOT,
    PS_JSON_AT_FRACTION,
    PS_JSON_AT_E,
    PS_JSON_AT_SIGN,
    PS_JSON_AT_EXPONENT
};

/* One call of ps_json_scan_feed. */
struct ps_json_cursor {
    struct ps_json_scan *scan;
    const char *chunk;
    const char *at;
    const char *end;
    const char *run; /* watched key: its bytes from here to `at` are not in s.key yet */
};

static inline uint64_t ps_json_offset(const struct ps_json_cursor *c, const char *at)
{
    return c->scan->offset + (uint64_t)(at - c->chunk);
}

static inline bool ps_json_fail(struct ps_json_scan *scan, enum ps_json_error error,
                                uint64_t offset)
{
    scan->error = error;
    scan->offset = offset;
    return false;
}

static inline bool ps_json_fail_at(const struct ps_json_cursor *c, enum ps_json_error error,
                                   const char *at)
{
    return ps_json_fail(c->scan, error, ps_json_offset(c, at));
}

/*
 * json_scan.c: values as the paths see them. All return false when the scan has ended.
 */
bool ps_json_begin_value(struct ps_json_cursor *c, const char *at, enum ps_json_type type);
bool ps_json_end_scalar(struct ps_json_scan *scan, enum ps_json_type type, uint64_t end);

/*
 * json_token.c: begin_* takes the first byte of a token, at `at`; walk_* goes on in it until it or
 * the feed ends.
 */
bool ps_json_begin_string(struct ps_json_cursor *c, const char *at);
bool ps_json_begin_number(struct ps_json_cursor *c, const char *at);
bool ps_json_begin_literal(struct ps_json_cursor *c, const char *at);
bool ps_json_walk_string(struct ps_json_cursor *c);
bool ps_json_walk_escape(struct ps_json_cursor *c);
bool ps_json_walk_hex(struct ps_json_cursor *c);
bool ps_json_walk_utf8(struct ps_json_cursor *c);
bool ps_json_walk_number(struct ps_json_cursor *c);
bool ps_json_walk_literal(struct ps_json_cursor *c);
/* The feed has ended: keeps what it has of a watched key. */
void ps_json_hold_key(struct ps_json_cursor *c);
/* Whether a number may end where it stands. */
bool ps_json_number_is_whole(const struct ps_json_state *s);

#endif
