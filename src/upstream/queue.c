/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

/*
 * Places: one per call in flight, max_connections of them over all loops.
 *
 * Who asks takes a place with one atomic step while nobody waits. Else it goes to the end of the
 * one queue of all loops, under the lock. Who gives a place back hands it to the head of that
 * queue, whichever loop that call lives on, and wakes that loop.
 *
 * Calls in the background have a queue of their own: its head gets a place when nobody waits in the
 * other one, and only while fewer than max_background are taken, by whomever.
 *
 * No wake-up is lost: a giver lowers `active` and then reads both counts of waiting ones; an asker
 * raises its count and then tries `active` once more. Both are sequentially consistent, so at least
 * one of the two sees the other.
 */

static bool take_place(struct ps_upstream_shared *shared, unsigned limit)
{
    unsigned active = atomic_load(&shared->active);
    while (active < limit) {
        if (atomic_compare_exchange_weak(&shared->active, &active, active + 1)) {
            return true;
        }
    }
    return false;
}

/* Under the lock: takes the call out of its queue. `here`: the upstream whose loop is running. */
static void hand_over(struct ps_call *call, struct ps_upstream *here)
{
    struct ps_upstream_shared *shared = here->shared;

    ps_list_remove(&call->link);
    call->granted = true;
    (void)atomic_fetch_sub(call->background ? &shared->waiting_background : &shared->waiting, 1);
    ps_list_push_back(&call->upstream->granted, &call->link);
    atomic_store(&call->upstream->has_grants, true);
    if (call->upstream == here) {
        ps_upstream_defer(here);
    } else {
        /* Cannot be closed meanwhile: to close, it first takes its calls out under this lock. */
        (void)uv_async_send(&call->upstream->wake);
    }
}

/* Under the lock. */
static void grant(struct ps_upstream_shared *shared, struct ps_upstream *here)
{
    while (!ps_list_empty(&shared->queue) && take_place(shared, shared->max_connections)) {
        hand_over(PS_CONTAINER_OF(shared->queue.next, struct ps_call, link), here);
    }
    while (ps_list_empty(&shared->queue) && !ps_list_empty(&shared->background) &&
           take_place(shared, shared->max_background)) {
        hand_over(PS_CONTAINER_OF(shared->background.next, struct ps_call, link), here);
    }
}

/* Whether a place could be taken without passing by anybody who waits. */
static bool take_at_once(struct ps_upstream_shared *shared, const struct ps_call *call)
{
    if (atomic_load(&shared->waiting) != 0) {
        return false;
    }
    if (call->background) {
        return atomic_load(&shared->waiting_background) == 0 &&
               take_place(shared, shared->max_background);
    }
    return take_place(shared, shared->max_connections);
}

enum ps_place ps_place_ask(struct ps_call *call)
{
    struct ps_upstream_shared *shared = call->upstream->shared;
    atomic_uint *waiting = call->background ? &shared->waiting_background : &shared->waiting;
    enum ps_place place = PS_PLACE_WAIT;

    if (take_at_once(shared, call)) {
        return PS_PLACE_TAKEN;
    }
    uv_mutex_lock(&shared->lock);
    if (atomic_load(waiting) >= shared->max_queue) {
        /* With no queue at all, a place that came free since the first look still counts. */
        place = take_at_once(shared, call) ? PS_PLACE_TAKEN : PS_PLACE_FULL;
    } else {
        ps_list_push_back(call->background ? &shared->background : &shared->queue, &call->link);
        (void)atomic_fetch_add(waiting, 1);
        grant(shared, call->upstream);
    }
    uv_mutex_unlock(&shared->lock);
    return place;
}

static bool anybody_waits(const struct ps_upstream_shared *shared)
{
    return atomic_load(&shared->waiting) > 0 || atomic_load(&shared->waiting_background) > 0;
}

void ps_place_release(struct ps_upstream *upstream)
{
    struct ps_upstream_shared *shared = upstream->shared;

    (void)atomic_fetch_sub(&shared->active, 1);
    if (anybody_waits(shared)) {
        uv_mutex_lock(&shared->lock);
        grant(shared, upstream);
        uv_mutex_unlock(&shared->lock);
    }
}

bool ps_place_leave(struct ps_call *call)
{
    struct ps_upstream_shared *shared = call->upstream->shared;

    uv_mutex_lock(&shared->lock);
    bool granted = call->granted;
    ps_list_remove(&call->link);
    if (!granted) {
        (void)atomic_fetch_sub(call->background ? &shared->waiting_background : &shared->waiting,
                               1);
        /* The last live one that leaves may have been all that kept the background waiting. */
        grant(shared, call->upstream);
    }
    uv_mutex_unlock(&shared->lock);
    return granted;
}

bool ps_place_granted(struct ps_call *call)
{
    struct ps_upstream_shared *shared = call->upstream->shared;

    uv_mutex_lock(&shared->lock);
    bool granted = call->granted;
    uv_mutex_unlock(&shared->lock);
    return granted;
}

void ps_place_collect(struct ps_upstream *upstream)
{
    struct ps_link taken;
    struct ps_link *link;

    if (!atomic_load(&upstream->has_grants)) {
        return;
    }
    ps_list_init(&taken);
    uv_mutex_lock(&upstream->shared->lock);
    atomic_store(&upstream->has_grants, false);
    ps_list_move(&upstream->granted, &taken);
    uv_mutex_unlock(&upstream->shared->lock);
    while ((link = ps_list_pop(&taken)) != NULL) {
        PS_CONTAINER_OF(link, struct ps_call, link)->state = PS_CALL_READY;
        ps_list_push_back(&upstream->ready, link);
    }
}
