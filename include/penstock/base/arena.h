/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_ARENA_H
#define PENSTOCK_BASE_ARENA_H

#include "penstock/base/slice.h"

#include <stddef.h>

/*
 * Memory that ends together: what a request allocates dies with its exchange. Bounded by `limit`
 * bytes. Under AddressSanitizer every allocation is a malloc of its own, so that the arena hides no
 * overflow. The first PS_ARENA_FIRST bytes come from one block that ps_arena_reset keeps. One
 * thread at a time.
 */
#define PS_ARENA_FIRST 4000

struct ps_arena_block;
struct ps_arena {
    struct ps_arena_block *blocks;     /* owned, newest first */
    struct ps_arena_cleanup *cleanups; /* in the arena, newest first */
    size_t left;                       /* bytes free in the newest block */
    size_t used;                       /* bytes taken from the heap in all */
    size_t limit;
};

void ps_arena_init(struct ps_arena *arena, size_t limit);
/* Runs the cleanups, newest first, then frees everything. */
void ps_arena_deinit(struct ps_arena *arena);
/* The same, but keeps the first block for the next use. */
void ps_arena_reset(struct ps_arena *arena);

/* Everything moves to `to`, which is empty, cleanups too; addresses stay. Legal in a cleanup of
 * `from`: then what ends is only those newer than it. */
void ps_arena_move(struct ps_arena *from, struct ps_arena *to);

/* Aligned for any type, uninitialised; NULL when the limit is reached or memory is short. */
void *ps_arena_alloc(struct ps_arena *arena, size_t size) __attribute__((warn_unused_result));
void *ps_arena_calloc(struct ps_arena *arena, size_t size) __attribute__((warn_unused_result));
/* NUL-terminated copy. */
char *ps_arena_strdup(struct ps_arena *arena, struct ps_slice text)
    __attribute__((warn_unused_result));
/* A slice of a NUL-terminated copy; ptr is NULL on failure. */
struct ps_slice ps_arena_copy(struct ps_arena *arena, struct ps_slice text)
    __attribute__((warn_unused_result));
char *ps_arena_printf(struct ps_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

/* `fn(arg)` runs at reset or deinit. Returns 0, or -1 when memory is short (then fn has not run).
 */
int ps_arena_defer(struct ps_arena *arena, void (*fn)(void *arg), void *arg)
    __attribute__((warn_unused_result));

#endif
