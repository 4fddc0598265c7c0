/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_QUEUE_H
#define PENSTOCK_ENGINE_QUEUE_H

#include "penstock/base/list.h"
#include "penstock/base/slice.h"

#include <stddef.h>
#include <stdint.h>

/*
 * What waits for a slot: a list per tenant, tenants in a ring, each gets one turn in its round.
 * Interactive requests go before batch ones. One thread, no allocation: tenants are made of the
 * jobs that wait.
 */
struct ps_queued {
    struct ps_link link;    /* in its tenant's list, behind its head; or in none */
    struct ps_link ring;    /* the head of a tenant: in the ring of tenants */
    struct ps_slice tenant; /* lives as long as this */
    int64_t deadline_us;    /* 0: none */
    uint32_t tokens;
    unsigned priority; /* 0 first, then 1 */
};

#define PS_QUEUE_PRIORITIES 2

struct ps_queue {
    struct ps_link
        rings[PS_QUEUE_PRIORITIES]; /* of the first of each tenant, whose turn is next in front */
    uint32_t count;
    uint64_t tokens;
};

void ps_queue_init(struct ps_queue *queue);
void ps_queue_push(struct ps_queue *queue, struct ps_queued *queued);
/* The next one whose turn it is, taken out; NULL when empty. */
struct ps_queued *ps_queue_pop(struct ps_queue *queue);
void ps_queue_remove(struct ps_queue *queue, struct ps_queued *queued);
/* Walks all, in no special order; `fn` may not change the queue and returns true to stop, with that
 * one returned. */
struct ps_queued *ps_queue_find(struct ps_queue *queue,
                                int (*fn)(struct ps_queued *queued, void *arg), void *arg);
/* Any whose deadline is not after now; NULL: none. *ret_next: the earliest of the others,
 * INT64_MAX: none. */
struct ps_queued *ps_queue_expired(struct ps_queue *queue, int64_t now_us, int64_t *ret_next);

#endif
