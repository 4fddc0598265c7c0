/* SPDX-License-Identifier: Apache-2.0 */
#include "timer_priv.h"

#include "penstock/base/mem.h"

/*
 * A binary heap of pointers by key_us. A timer that is set later than it stands only changes
 * due_us; when its old key comes up it sinks to the new place. So the heap may say "look now" when
 * nothing is due, and never the other way round.
 */

#define FIRST_CAPACITY 64

static void place(struct ps_loop *loop, struct ps_timer *timer, size_t slot)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(struct ps_loop *loop, struct ps_timer *timer, size_t slot)
{
    while (slot > 0) {
        size_t parent = (slot - 1) / 2;
        if (loop->heap[parent]->key_us <= timer->key_us) {
            break;
        }
        place(loop, loop->heap[parent], slot);
        slot = parent;
    }
    place(loop, timer, slot);
}

static void sift_down(struct ps_loop *loop, struct ps_timer *timer, size_t slot)
{
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child >= loop->heap_len) {
            break;
        }
        if (child + 1 < loop->heap_len &&
            loop->heap[child + 1]->key_us < loop->heap[child]->key_us) {
            child++;
        }
        if (loop->heap[child]->key_us >= timer->key_us) {
            break;
        }
        place(loop, loop->heap[child], slot);
        slot = child;
    }
    place(loop, timer, slot);
}

static void take_out(struct ps_loop *loop, struct ps_timer *timer)
{
    size_t slot = timer->slot;
    struct ps_timer *last = loop->heap[--loop->heap_len];
    timer->slot = SIZE_MAX;
    if (last == timer) {
        return;
    }
    if (slot > 0 && last->key_us < loop->heap[(slot - 1) / 2]->key_us) {
        sift_up(loop, last, slot);
    } else {
        sift_down(loop, last, slot);
    }
}

static int make_room(struct ps_loop *loop)
{
    if (loop->heap_len < loop->heap_cap) {
        return 0;
    }
    size_t cap = loop->heap_cap == 0 ? FIRST_CAPACITY : loop->heap_cap * 2;
    struct ps_timer **heap = ps_realloc(loop->heap, cap * sizeof(heap[0]));
    if (heap == NULL) {
        return UV_ENOMEM;
    }
    loop->heap = heap;
    loop->heap_cap = cap;
    return 0;
}

void ps_timer_init(struct ps_timer *timer, struct ps_loop *loop, void (*fn)(struct ps_timer *timer))
{
    *timer = (struct ps_timer){
        .loop = loop, .fn = fn, .due_us = INT64_MAX, .key_us = INT64_MAX, .slot = SIZE_MAX};
}

int ps_timer_set(struct ps_timer *timer, int64_t after_us)
{
    struct ps_loop *loop = timer->loop;
    ps_loop_enter(loop);
    /* Later than now, so that a timer which sets itself runs in the next pass; below the "not set"
     * mark. */
    if (after_us < 1) {
        after_us = 1;
    }
    int64_t due_us =
        after_us < INT64_MAX - 1 - loop->now_us ? loop->now_us + after_us : INT64_MAX - 1;

    if (timer->slot != SIZE_MAX) {
        timer->due_us = due_us;
        if (due_us < timer->key_us) {
            timer->key_us = due_us;
            sift_up(loop, timer, timer->slot);
        }
        return 0;
    }
    if (make_room(loop) != 0) {
        return UV_ENOMEM;
    }
    timer->due_us = due_us;
    timer->key_us = due_us;
    sift_up(loop, timer, loop->heap_len++);
    return 0;
}

void ps_timer_cancel(struct ps_timer *timer)
{
    if (timer->slot != SIZE_MAX) {
        take_out(timer->loop, timer);
    }
    timer->due_us = INT64_MAX;
}

void ps_timers_run(struct ps_loop *loop)
{
    while (loop->heap_len > 0 && loop->heap[0]->key_us <= loop->now_us) {
        struct ps_timer *timer = loop->heap[0];
        if (timer->due_us > loop->now_us) {
            timer->key_us = timer->due_us;
            sift_down(loop, timer, 0);
            continue;
        }
        ps_timer_cancel(timer);
        timer->fn(timer); /* may free the timer, set it again, change any other */
    }
}

int64_t ps_timers_next(const struct ps_loop *loop)
{
    return loop->heap_len == 0 ? INT64_MAX : loop->heap[0]->key_us;
}

void ps_timers_deinit(struct ps_loop *loop)
{
    ps_free(loop->heap);
    loop->heap = NULL;
    loop->heap_len = 0;
    loop->heap_cap = 0;
}
