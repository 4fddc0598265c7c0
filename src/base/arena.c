/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/arena.h"

#include "penstock/base/mem.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __SANITIZE_ADDRESS__
#define SEPARATE true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEPARATE true
#endif
#endif
#ifndef SEPARATE
#define SEPARATE false
#endif

#define ALIGN     _Alignof(max_align_t)
#define BLOCK_MAX 65536

struct ps_arena_block {
    struct ps_arena_block *next;
    size_t size; /* heap bytes, header included; 0: holds one allocation alone */
    _Alignas(max_align_t) char data[];
};

struct ps_arena_cleanup {
    struct ps_arena_cleanup *next;
    void (*fn)(void *arg);
    void *arg;
};

void ps_arena_init(struct ps_arena *arena, size_t limit)
{
    *arena = (struct ps_arena){.limit = limit};
}

/* A cleanup may allocate and defer again; hence one at a time. */
static void run_cleanups(struct ps_arena *arena)
{
    while (arena->cleanups != NULL) {
        struct ps_arena_cleanup *cleanup = arena->cleanups;

        arena->cleanups = cleanup->next;
        cleanup->fn(cleanup->arg);
    }
}

void ps_arena_reset(struct ps_arena *arena)
{
    struct ps_arena_block *kept = NULL;

    run_cleanups(arena);
    while (arena->blocks != NULL) {
        struct ps_arena_block *block = arena->blocks;

        arena->blocks = block->next;
        if (!SEPARATE && kept == NULL && block->size == PS_ARENA_FIRST) {
            kept = block;
        } else {
            ps_free(block);
        }
    }
    arena->left = 0;
    arena->used = 0;
    if (kept != NULL) {
        kept->next = NULL;
        arena->blocks = kept;
        arena->left = kept->size - sizeof(*kept);
        arena->used = kept->size;
    }
}

void ps_arena_deinit(struct ps_arena *arena)
{
    run_cleanups(arena);
    while (arena->blocks != NULL) {
        struct ps_arena_block *block = arena->blocks;

        arena->blocks = block->next;
        ps_free(block);
    }
    arena->left = 0;
    arena->used = 0;
}

void ps_arena_move(struct ps_arena *from, struct ps_arena *to)
{
    size_t limit = from->limit;

    *to = *from;
    *from = (struct ps_arena){.limit = limit};
}

static struct ps_arena_block *take_block(struct ps_arena *arena, size_t size)
{
    struct ps_arena_block *block;

    if (size > arena->limit - arena->used) {
        return NULL;
    }
    block = ps_malloc(size);
    if (block != NULL) {
        block->size = size;
        arena->used += size;
    }
    return block;
}

/* A block for this allocation alone, behind the newest, whose free bytes stay in use. */
static void *alloc_alone(struct ps_arena *arena, size_t size)
{
    struct ps_arena_block *block = take_block(arena, sizeof(*block) + size);

    if (block == NULL) {
        return NULL;
    }
    block->size = 0;
    if (arena->blocks == NULL) {
        block->next = NULL;
        arena->blocks = block;
        arena->left = 0;
    } else {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    }
    return block->data;
}

/* Heap bytes of the next shared block: the first is small, then each doubles what is in use. */
static size_t next_size(const struct ps_arena *arena)
{
    size_t size = PS_ARENA_FIRST;

    /* A newest block that stands alone: there is no shared one yet. */
    if (arena->blocks != NULL && arena->blocks->size != 0) {
        size = arena->used < BLOCK_MAX ? arena->used & ~(ALIGN - 1) : BLOCK_MAX;
        size = size > PS_ARENA_FIRST ? size : PS_ARENA_FIRST;
    }
    return size;
}

static void *alloc_slow(struct ps_arena *arena, size_t size)
{
    size_t block_size = next_size(arena);
    struct ps_arena_block *block;

    if (SEPARATE || size > block_size / 4) {
        return alloc_alone(arena, size);
    }
    block = take_block(arena, block_size);
    if (block == NULL) {
        return alloc_alone(arena, size); /* near the limit there may be room for just this */
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->left = block_size - sizeof(*block) - size;
    return block->data;
}

void *ps_arena_alloc(struct ps_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    if (!SEPARATE) {
        size = size != 0 ? (size + ALIGN - 1) & ~(ALIGN - 1) : ALIGN;
        if (size <= arena->left) {
            struct ps_arena_block *block = arena->blocks;
            char *ptr = (char *)block + block->size - arena->left;

            arena->left -= size;
            return ptr;
        }
    }
    return alloc_slow(arena, size);
}

void *ps_arena_calloc(struct ps_arena *arena, size_t size)
{
    void *ptr = ps_arena_alloc(arena, size);

    if (ptr != NULL) {
        memset(ptr, 0, size);
    }
    return ptr;
}

char *ps_arena_strdup(struct ps_arena *arena, struct ps_slice text)
{
    char *copy = text.len < SIZE_MAX ? ps_arena_alloc(arena, text.len + 1) : NULL;

    if (copy != NULL) {
        if (text.len > 0) {
            memcpy(copy, text.ptr, text.len);
        }
        copy[text.len] = '\0';
    }
    return copy;
}

struct ps_slice ps_arena_copy(struct ps_arena *arena, struct ps_slice text)
{
    char *copy = ps_arena_strdup(arena, text);

    return ps_slice(copy, copy != NULL ? text.len : 0);
}

char *ps_arena_printf(struct ps_arena *arena, const char *format, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0) {
        return NULL;
    }
    text = ps_arena_alloc(arena, (size_t)len + 1);
    if (text == NULL) {
        return NULL;
    }
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

int ps_arena_defer(struct ps_arena *arena, void (*fn)(void *arg), void *arg)
{
    struct ps_arena_cleanup *cleanup = ps_arena_alloc(arena, sizeof(*cleanup));

    if (cleanup == NULL) {
        return -1;
    }
    *cleanup = (struct ps_arena_cleanup){arena->cleanups, fn, arg};
    arena->cleanups = cleanup;
    return 0;
}
