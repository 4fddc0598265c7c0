/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Allocations since the last ps_mem_fail_after, and how many may still succeed (below 0: all). */
static _Thread_local int64_t allocations;
static _Thread_local int64_t fail_after = -1;

static inline bool may_allocate(void)
{
    allocations++;
    if (__builtin_expect(fail_after >= 0, 0)) {
        return fail_after-- != 0;
    }
    return true;
}

/* A size of 0 gets a byte, so that NULL always means that memory is short. */
void *ps_malloc(size_t size)
{
    return may_allocate() ? malloc(size != 0 ? size : 1) : NULL;
}

void *ps_calloc(size_t count, size_t size)
{
    if (!may_allocate()) {
        return NULL;
    }
    return count != 0 && size != 0 ? calloc(count, size) : calloc(1, 1);
}

void *ps_realloc(void *ptr, size_t size)
{
    return may_allocate() ? realloc(ptr, size != 0 ? size : 1) : NULL;
}

void ps_free(void *ptr)
{
    free(ptr);
}

char *ps_strndup(const char *ptr, size_t len)
{
    char *copy = len < SIZE_MAX ? ps_malloc(len + 1) : NULL;

    if (copy == NULL) {
        return NULL;
    }
    if (len > 0) {
        memcpy(copy, ptr, len);
    }
    copy[len] = '\0';
    return copy;
}

int64_t ps_mem_fail_after(int64_t after)
{
    int64_t made = allocations;

    allocations = 0;
    fail_after = after;
    return made;
}
