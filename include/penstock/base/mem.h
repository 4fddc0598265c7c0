/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_MEM_H
#define PENSTOCK_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/*
 * The one door to the heap. Everything that a request can cause to be allocated goes through here,
 * so that a test can make the Nth allocation fail. Any thread.
 */

/* Bytes uninitialised, NULL when memory is short. Freed with ps_free. */
void *ps_malloc(size_t size) __attribute__((warn_unused_result));
void *ps_calloc(size_t count, size_t size) __attribute__((warn_unused_result));
void *ps_realloc(void *ptr, size_t size) __attribute__((warn_unused_result));
void ps_free(void *ptr); /* NULL is allowed */

/* A NUL-terminated copy of len bytes; NULL when memory is short. */
char *ps_strndup(const char *ptr, size_t len) __attribute__((warn_unused_result));

/*
 * Tests only: of the calling thread's next allocations the one after `after` others fails, once
 * (`after` < 0: none fails). Returns how many allocations were made since the last call.
 */
int64_t ps_mem_fail_after(int64_t after);

#endif
