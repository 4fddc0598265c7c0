/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_CHAIN_H
#define PENSTOCK_BASE_CHAIN_H

#include "penstock/base/slice.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bulk bytes: request bodies, held responses, output queues. Blocks of one size come from a pool
 * that belongs to one thread and draws on a budget that belongs to the process
 * (limits.buffer_memory). Blocks never move, so a slice into a chain lives until its bytes are
 * dropped.
 */

/* Bytes of all buffers of the process together. Any thread. */
struct ps_budget {
    atomic_size_t used;
    atomic_size_t limit; /* may be changed by a reload */
};

/* For buffers that are no chains. False when it would pass the limit: nothing was reserved. */
bool ps_budget_reserve(struct ps_budget *budget, size_t bytes) __attribute__((warn_unused_result));
void ps_budget_release(struct ps_budget *budget, size_t bytes);

/* Heap bytes of a block, header included. Small: of thousands of waiting streams each holds one or
 * two with a few hundred bytes in them. */
#define PS_BLOCK_SIZE 4096

struct ps_block {
    struct ps_block *next;
    uint32_t start; /* first live byte in data */
    uint32_t end;   /* one past the last */
    char data[PS_BLOCK_SIZE - sizeof(void *) - 2 * sizeof(uint32_t)];
};

#define PS_BLOCK_BYTES sizeof(((struct ps_block *)0)->data)

struct ps_block_pool {
    struct ps_budget *budget; /* borrowed: outlives the pool */
    struct ps_block *free;    /* owned; kept for reuse, not counted in the budget */
    size_t free_count;
    size_t free_max; /* what is given back above this goes to the heap */
};

void ps_block_pool_init(struct ps_block_pool *pool, struct ps_budget *budget, size_t free_max);
void ps_block_pool_deinit(struct ps_block_pool *pool);

/* Bytes in order, owned. Freed through the pool they came from, on its thread. */
struct ps_chain {
    struct ps_block_pool *pool; /* borrowed */
    struct ps_block *head;
    struct ps_block *tail;
    size_t len; /* live bytes */
};

void ps_chain_init(struct ps_chain *chain, struct ps_block_pool *pool);
/* Gives all blocks back; the chain is empty and usable afterwards. */
void ps_chain_clear(struct ps_chain *chain);

/* Copies. 0, or -1 when the budget or memory is short: then nothing was appended. */
int ps_chain_append(struct ps_chain *chain, const void *ptr, size_t len)
    __attribute__((warn_unused_result));
/* Drops the first `len` bytes (len ≤ chain->len). */
void ps_chain_drop(struct ps_chain *chain, size_t len);
/* Moves all bytes of `from` behind those of `to` without copying (same pool). */
void ps_chain_move(struct ps_chain *from, struct ps_chain *to);
/* Copies [offset, offset+len) out; the range must be inside the chain. */
void ps_chain_copy(const struct ps_chain *chain, size_t offset, size_t len, char *ret_bytes);
/* The longest contiguous run at `offset`, at most `len` bytes. */
struct ps_slice ps_chain_run(const struct ps_chain *chain, size_t offset, size_t len);
/*
 * Fills `ret_parts` with the contiguous runs of [offset, offset+len), at most `max` of them;
 * returns how many the range has (may be more than max; call with max 0 to count).
 */
size_t ps_chain_parts(const struct ps_chain *chain, size_t offset, size_t len,
                      struct ps_slice *ret_parts, size_t max);

#endif
