/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_BUF_H
#define PENSTOCK_BASE_BUF_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Growable contiguous buffer with a hard maximum and a sticky error: a failed append (maximum
 * reached or memory short) sets `failed`, later appends do nothing, and the caller checks once at
 * the end. One thread at a time. Zero bytes of heap until the first append.
 */
struct ps_buf {
    char *ptr; /* owned; may move at every append */
    size_t len;
    size_t cap;
    size_t max;  /* never more bytes than this */
    bool failed; /* sticky until ps_buf_reset */
};

void ps_buf_init(struct ps_buf *buf, size_t max);
void ps_buf_deinit(struct ps_buf *buf);
/* Empties, clears the error, keeps the memory. */
void ps_buf_reset(struct ps_buf *buf);

static inline void ps_buf_append(struct ps_buf *buf, const void *ptr, size_t len);
static inline void ps_buf_slice(struct ps_buf *buf, struct ps_slice slice);
static inline void ps_buf_cstr(struct ps_buf *buf, const char *text);
static inline void ps_buf_byte(struct ps_buf *buf, char byte);
void ps_buf_uint(struct ps_buf *buf, uint64_t value);
void ps_buf_int(struct ps_buf *buf, int64_t value);
void ps_buf_printf(struct ps_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/*
 * A JSON string, quotes included (RFC 8259 section 7). Control characters (DEL and U+0080 to U+009F
 * too), U+2028 and U+2029 are escaped; bytes that are no UTF-8 become U+FFFD, so the output is
 * always valid JSON.
 */
void ps_buf_json(struct ps_buf *buf, struct ps_slice text);
/* The same without the quotes around it, and '"' stays: for people's eyes. */
void ps_buf_printable(struct ps_buf *buf, struct ps_slice text);
/* Room for `len` more bytes at the returned address, valid until the next call; NULL on failure.
 * Commit with ps_buf_commit. */
static inline char *ps_buf_reserve(struct ps_buf *buf, size_t len);
void ps_buf_commit(struct ps_buf *buf, size_t len);
/* Drops the first `len` bytes. */
void ps_buf_drop(struct ps_buf *buf, size_t len);

/* Length of the UTF-8 character at `ptr`, 0 when the `left` bytes do not begin with one. */
size_t ps_utf8_length(const char *ptr, size_t left);
/* How much of a text a message quotes, for "%.*s": at most `most` bytes, and no half character at
 * the end. */
int ps_utf8_quoted(struct ps_slice text, size_t most);

/* What ps_buf_reserve does when the memory at hand is too small, or must not be used. */
char *ps_buf_reserve_slow(struct ps_buf *buf, size_t len);

/* A log line or a head is a hundred small appends: those that fit are done in place. */
static inline char *ps_buf_reserve(struct ps_buf *buf, size_t len)
{
    if (buf->failed || buf->ptr == NULL || len > buf->cap - buf->len || len > buf->max - buf->len) {
        return ps_buf_reserve_slow(buf, len);
    }
    return buf->ptr + buf->len;
}

static inline void ps_buf_append(struct ps_buf *buf, const void *ptr, size_t len)
{
    char *to = len > 0 ? ps_buf_reserve(buf, len) : NULL;

    if (to != NULL) {
        memcpy(to, ptr, len);
        buf->len += len;
    }
}

static inline void ps_buf_slice(struct ps_buf *buf, struct ps_slice slice)
{
    ps_buf_append(buf, slice.ptr, slice.len);
}

static inline void ps_buf_cstr(struct ps_buf *buf, const char *text)
{
    ps_buf_append(buf, text, strlen(text));
}

static inline void ps_buf_byte(struct ps_buf *buf, char byte)
{
    ps_buf_append(buf, &byte, 1);
}

static inline struct ps_slice ps_buf_view(const struct ps_buf *buf)
{
    return (struct ps_slice){buf->ptr, buf->len};
}

#endif
