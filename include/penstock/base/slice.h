/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_SLICE_H
#define PENSTOCK_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/*
 * Bytes that somebody else owns: not NUL-terminated, may hold NUL. A slice handed to a callback
 * lives until the callback returns unless its header says otherwise.
 */
struct ps_slice {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

#define PS_SLICE_NONE ((struct ps_slice){NULL, 0})
/* For static tables, where a compound literal is no constant. */
#define PS_SLICE_INIT(literal)                                                                     \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }
#define PS_SLICE_LIT(literal) ((struct ps_slice){(literal), sizeof(literal) - 1})

static inline struct ps_slice ps_slice(const char *ptr, size_t len)
{
    return (struct ps_slice){ptr, len};
}

static inline struct ps_slice ps_slice_cstr(const char *text)
{
    return (struct ps_slice){text, text != NULL ? strlen(text) : 0};
}

static inline bool ps_slice_eq(struct ps_slice a, struct ps_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool ps_slice_eq_cstr(struct ps_slice a, const char *text)
{
    return ps_slice_eq(a, ps_slice_cstr(text));
}

/* ASCII case-insensitive, for header names and the like. */
static inline bool ps_slice_ieq(struct ps_slice a, struct ps_slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool ps_slice_starts(struct ps_slice a, struct ps_slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

/* Without spaces and tabs at either end (RFC 9110 OWS). */
static inline struct ps_slice ps_slice_trim(struct ps_slice a)
{
    while (a.len > 0 && (a.ptr[0] == ' ' || a.ptr[0] == '\t')) {
        a.ptr++;
        a.len--;
    }
    while (a.len > 0 && (a.ptr[a.len - 1] == ' ' || a.ptr[a.len - 1] == '\t')) {
        a.len--;
    }
    return a;
}

#endif
