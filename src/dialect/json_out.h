/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_JSON_OUT_H
#define PENSTOCK_DIALECT_JSON_OUT_H

#include "penstock/base/arena.h"
#include "penstock/base/buf.h"

/*
 * Writes JSON into a buffer, commas by itself. Names are literals that need no escape. Errors
 * stick in the buffer: the caller looks once at the end.
 *
 * With a `body`, raw values of PS_BODY_REFERENCE bytes and more are not copied but pointed at: they
 * must live as long as the arena, as all slices of the neutral form do.
 */
#define PS_BODY_REFERENCE 1024

struct ps_body_out;
struct ps_json_out {
    struct ps_buf *buf;       /* borrowed */
    struct ps_body_out *body; /* NULL: everything is copied */
    bool comma;               /* something stands before */
};

static inline struct ps_json_out ps_json_out(struct ps_buf *buf)
{
    return (struct ps_json_out){buf, NULL, false};
}

void ps_out_open(struct ps_json_out *out, char bracket);
void ps_out_close(struct ps_json_out *out, char bracket);
void ps_out_key(struct ps_json_out *out, const char *name);
void ps_out_raw(struct ps_json_out *out, struct ps_slice raw);   /* any JSON; len 0: null */
void ps_out_text(struct ps_json_out *out, struct ps_slice text); /* bytes, escaped here */
void ps_out_cstr(struct ps_json_out *out, const char *text);
void ps_out_int(struct ps_json_out *out, int64_t value);
void ps_out_bool(struct ps_json_out *out, bool value);
void ps_out_null(struct ps_json_out *out);

/* An array of raw values. */
void ps_out_array(struct ps_json_out *out, const struct ps_slice *raws, size_t count);

/* A whole member; nothing at all when the value has len 0 (or is NULL). */
void ps_out_member(struct ps_json_out *out, const char *name, struct ps_slice raw);
void ps_out_member_text(struct ps_json_out *out, const char *name, struct ps_slice text);
void ps_out_member_cstr(struct ps_json_out *out, const char *name, const char *text);
void ps_out_member_int(struct ps_json_out *out, const char *name, int64_t value);
void ps_out_member_bool(struct ps_json_out *out, const char *name, bool value);

/* The arguments of a call, all of them, as the object that they must be, in one line; what a model
 * wrote instead is told as Anthropic's documentation has it, so that a client can hand it back. Not
 * for a body, which may point at them. */
void ps_out_arguments(struct ps_json_out *out, struct ps_slice text);

/* One string made of pieces: begin, then any of the three between, then end. */
void ps_out_string_begin(struct ps_json_out *out);
void ps_out_string_raw(struct ps_json_out *out, struct ps_slice raw);    /* a raw string's inside */
void ps_out_string_text(struct ps_json_out *out, struct ps_slice text);  /* escaped here */
void ps_out_string_plain(struct ps_json_out *out, struct ps_slice text); /* has nothing to escape */
void ps_out_string_end(struct ps_json_out *out);

/* ---- a body as parts ---- */

struct ps_body_out {
    struct ps_arena *arena;
    struct ps_buf text;
    struct ps_buf pieces; /* where in `text` a value that is only pointed at belongs */
};
/* In the arena, and freed with it; `max` bytes of what is copied. NULL when memory is short. */
struct ps_body_out *ps_body_out_new(struct ps_arena *arena, size_t max)
    __attribute__((warn_unused_result));
struct ps_json_out ps_body_out_json(struct ps_body_out *body);
/* 0, or -1 when memory was short. The parts live as long as the arena. */
int ps_body_out_finish(struct ps_body_out *body, struct ps_slice **ret_parts, size_t *ret_count,
                       uint64_t *ret_length) __attribute__((warn_unused_result));

/* Memory that lives as long as the arena but is not held against its limit: for arrays whose length
 * a client chooses. Zeros; NULL when memory is short. */
void *ps_arena_side(struct ps_arena *arena, size_t count, size_t size)
    __attribute__((warn_unused_result));

#endif
