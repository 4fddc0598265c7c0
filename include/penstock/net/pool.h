/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_POOL_H
#define PENSTOCK_NET_POOL_H

#include "penstock/net/mailbox.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A bounded pool of threads for work that would hold a loop: reading files, parsing certificates,
 * CPU-heavy translation. Never libuv's own pool, which name lookups need.
 */
struct ps_pool;

struct ps_work {
    struct ps_message message;         /* in the pool's queue, then in the mailbox */
    struct ps_mailbox *mailbox;        /* where `done` is delivered; stays open until then */
    void (*run)(struct ps_work *work); /* on a thread of the pool */
    void (*done)(
        struct ps_work *work); /* on the mailbox's loop, exactly once per accepted submit */
};

/* NULL when threads or memory are short. `queue` = how many may wait. */
struct ps_pool *ps_pool_new(unsigned threads, size_t queue) __attribute__((warn_unused_result));
/* Any thread. false when the queue is full: nothing will be called. */
bool ps_pool_submit(struct ps_pool *pool, struct ps_work *work) __attribute__((warn_unused_result));
/* Waits for running and queued work; their `done` are posted. */
void ps_pool_free(struct ps_pool *pool);

#endif
