/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/chain.h"

#include "penstock/base/mem.h"

_Static_assert(sizeof(struct ps_block) == PS_BLOCK_SIZE, "a block is its heap size");

void ps_block_pool_init(struct ps_block_pool *pool, struct ps_budget *budget, size_t free_max)
{
    *pool = (struct ps_block_pool){.budget = budget, .free_max = free_max};
}

void ps_block_pool_deinit(struct ps_block_pool *pool)
{
    while (pool->free != NULL) {
        struct ps_block *block = pool->free;

        pool->free = block->next;
        ps_free(block);
    }
    pool->free_count = 0;
}

/*
 * Two threads that reserve at once may both be refused when only one would have fitted; never may
 * both be served above the limit.
 */
bool ps_budget_reserve(struct ps_budget *budget, size_t bytes)
{
    size_t limit = atomic_load_explicit(&budget->limit, memory_order_relaxed);
    size_t before;

    if (bytes > limit) {
        return false;
    }
    before = atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
    if (before > limit - bytes) {
        (void)atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
        return false;
    }
    return true;
}

void ps_budget_release(struct ps_budget *budget, size_t bytes)
{
    (void)atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

/* A block whose bytes the budget has already been charged for. */
static struct ps_block *take(struct ps_block_pool *pool)
{
    struct ps_block *block = pool->free;

    if (block != NULL) {
        pool->free = block->next;
        pool->free_count--;
    } else {
        block = ps_malloc(sizeof(*block));
        if (block == NULL) {
            return NULL;
        }
    }
    block->next = NULL;
    block->start = 0;
    block->end = 0;
    return block;
}

/* Gives back without touching the budget. */
static void give(struct ps_block_pool *pool, struct ps_block *block)
{
    if (pool->free_count >= pool->free_max) {
        ps_free(block);
        return;
    }
    block->next = pool->free;
    pool->free = block;
    pool->free_count++;
}

void ps_chain_init(struct ps_chain *chain, struct ps_block_pool *pool)
{
    *chain = (struct ps_chain){.pool = pool};
}

static void give_list(struct ps_block_pool *pool, struct ps_block *block)
{
    size_t count = 0;

    while (block != NULL) {
        struct ps_block *next = block->next;

        give(pool, block);
        block = next;
        count++;
    }
    if (count > 0) {
        ps_budget_release(pool->budget, count * PS_BLOCK_SIZE);
    }
}

void ps_chain_clear(struct ps_chain *chain)
{
    give_list(chain->pool, chain->head);
    chain->head = NULL;
    chain->tail = NULL;
    chain->len = 0;
}

static size_t tail_room(const struct ps_chain *chain)
{
    return chain->tail != NULL ? PS_BLOCK_BYTES - chain->tail->end : 0;
}

/* `count` empty blocks at the end of the chain, or none. Returns the first. */
static struct ps_block *extend(struct ps_chain *chain, size_t count)
{
    struct ps_block_pool *pool = chain->pool;
    struct ps_block *first = NULL;
    struct ps_block *last = NULL;

    if (count > SIZE_MAX / PS_BLOCK_SIZE ||
        !ps_budget_reserve(pool->budget, count * PS_BLOCK_SIZE)) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        struct ps_block *block = take(pool);

        if (block == NULL) {
            ps_budget_release(pool->budget, (count - i) * PS_BLOCK_SIZE);
            give_list(pool, first); /* releases the other i */
            return NULL;
        }
        if (last != NULL) {
            last->next = block;
        } else {
            first = block;
        }
        last = block;
    }
    if (chain->tail != NULL) {
        chain->tail->next = first;
    } else {
        chain->head = first;
    }
    chain->tail = last;
    return first;
}

static void fill(struct ps_block *block, const char *ptr, size_t len)
{
    memcpy(block->data + block->end, ptr, len);
    block->end += (uint32_t)len;
}

int ps_chain_append(struct ps_chain *chain, const void *ptr, size_t len)
{
    const char *from = ptr;
    struct ps_block *block = chain->tail;
    size_t room = tail_room(chain);
    size_t part = len < room ? len : room;

    if (len == 0) {
        return 0;
    }
    if (len > part) {
        size_t rest = len - part;
        struct ps_block *fresh =
            extend(chain, rest / PS_BLOCK_BYTES + (rest % PS_BLOCK_BYTES != 0));

        if (fresh == NULL) {
            return -1;
        }
        if (block == NULL) {
            block = fresh;
            part = len < PS_BLOCK_BYTES ? len : PS_BLOCK_BYTES;
        }
    }
    chain->len += len;
    for (;;) {
        fill(block, from, part);
        from += part;
        len -= part;
        if (len == 0) {
            return 0;
        }
        block = block->next;
        part = len < PS_BLOCK_BYTES ? len : PS_BLOCK_BYTES;
    }
}

void ps_chain_drop(struct ps_chain *chain, size_t len)
{
    if (len >= chain->len) {
        ps_chain_clear(chain);
        return;
    }
    chain->len -= len;
    while (len > 0) {
        struct ps_block *block = chain->head;
        size_t here = block->end - block->start;

        if (len < here) {
            block->start += (uint32_t)len;
            return;
        }
        chain->head = block->next;
        give(chain->pool, block);
        ps_budget_release(chain->pool->budget, PS_BLOCK_SIZE);
        len -= here;
    }
}

void ps_chain_move(struct ps_chain *from, struct ps_chain *to)
{
    if (from->head == NULL) {
        return;
    }
    if (to->tail != NULL) {
        to->tail->next = from->head;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    to->len += from->len;
    from->head = NULL;
    from->tail = NULL;
    from->len = 0;
}

/* The block that holds byte *offset; *offset becomes relative to its first live byte. */
static const struct ps_block *find(const struct ps_chain *chain, size_t *offset)
{
    const struct ps_block *block = chain->head;
    size_t last = chain->tail != NULL ? chain->tail->end - chain->tail->start : 0;

    /* Many values that are looked at again stand near the end of a long body. */
    if (*offset < chain->len && *offset >= chain->len - last) {
        *offset -= chain->len - last;
        return chain->tail;
    }
    while (block != NULL && *offset >= (size_t)(block->end - block->start)) {
        *offset -= block->end - block->start;
        block = block->next;
    }
    return block;
}

static struct ps_slice run_in(const struct ps_block *block, size_t offset, size_t len)
{
    size_t here = block->end - block->start - offset;

    return ps_slice(block->data + block->start + offset, len < here ? len : here);
}

void ps_chain_copy(const struct ps_chain *chain, size_t offset, size_t len, char *ret_bytes)
{
    const struct ps_block *block = find(chain, &offset);

    while (len > 0 && block != NULL) {
        struct ps_slice run = run_in(block, offset, len);

        memcpy(ret_bytes, run.ptr, run.len);
        ret_bytes += run.len;
        len -= run.len;
        offset = 0;
        block = block->next;
    }
}

struct ps_slice ps_chain_run(const struct ps_chain *chain, size_t offset, size_t len)
{
    const struct ps_block *block = find(chain, &offset);

    return block != NULL ? run_in(block, offset, len) : PS_SLICE_NONE;
}

size_t ps_chain_parts(const struct ps_chain *chain, size_t offset, size_t len,
                      struct ps_slice *ret_parts, size_t max)
{
    const struct ps_block *block = find(chain, &offset);
    size_t count = 0;

    while (len > 0 && block != NULL) {
        struct ps_slice run = run_in(block, offset, len);

        if (count < max) {
            ret_parts[count] = run;
        }
        count++;
        len -= run.len;
        offset = 0;
        block = block->next;
    }
    return count;
}
