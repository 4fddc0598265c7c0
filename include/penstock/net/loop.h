/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_LOOP_H
#define PENSTOCK_NET_LOOP_H

#include "penstock/base/chain.h"
#include "penstock/base/list.h"

#include <uv.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * One event loop = one thread. It owns a uv_loop_t, a clock that stands still within a turn,
 * timers, a list of deferred tasks and the pool of blocks that all buffers of this loop come from.
 *
 * The rule that keeps lifetimes simple: nobody frees an object or calls upward inside a callback of
 * the object below; it defers. Deferred tasks run once per turn, after the I/O of the turn and
 * before the loop sleeps, in two phases: PS_PHASE_WORK first (exchanges move on, transfers are
 * resumed), then PS_PHASE_FLUSH (each connection's output leaves in one write). What FLUSH defers
 * runs in the next turn, without sleeping in between.
 */

struct ps_timer;
struct ps_loop;

enum ps_phase {
    PS_PHASE_WORK,
    PS_PHASE_FLUSH
};

/* Something to be done at the end of this turn; embedded in its owner. */
struct ps_task {
    struct ps_link link; /* in the loop's list of its phase, or in none */
    void (*fn)(struct ps_task *task);
    uint64_t
        ran; /* the last pass that ran it, so that one which defers itself waits for the next */
};

#define PS_READ_BUFFER 65536

struct ps_loop {
    uv_loop_t uv;
    unsigned index; /* 0 … event_loops-1 */
    int64_t now_us; /* monotonic, taken when the turn began; see ps_loop_enter */
    struct ps_block_pool pool;
    struct ps_link tasks[2]; /* by phase */
    uv_prepare_t prepare;    /* runs tasks before the loop sleeps */
    uv_check_t check;        /* runs tasks after I/O, updates now_us */
    uv_idle_t idle;          /* keeps the loop from sleeping while tasks wait */
    uv_timer_t wake;         /* the next due timer */
    struct ps_timer **heap;  /* owned */
    size_t heap_len;
    size_t heap_cap;
    int64_t wake_due_us;   /* what `wake` is set to; INT64_MAX: stopped */
    int64_t busy_since_us; /* start of the current turn's work */
    bool in_turn;          /* now_us and busy_since_us are this turn's */
    bool stopping;
    uint64_t pass; /* counts runs of the task lists */
    void (*on_turn)(void *arg,
                    int64_t busy_us); /* may be NULL: told how long each turn kept the loop */
    void *on_turn_arg;
    char *read_buffer; /* owned, PS_READ_BUFFER bytes, lent to one read callback at a time */
    void *user;        /* what upper rooms keep per loop */
};

/* 0 or a negative libuv error. `budget` outlives the loop. From then on the process ignores
 * SIGPIPE. */
int ps_loop_init(struct ps_loop *loop, unsigned index, struct ps_budget *budget)
    __attribute__((warn_unused_result));
/* All handles of upper rooms must be closed or closing; runs the loop until they are gone. */
void ps_loop_deinit(struct ps_loop *loop);
/* Runs until ps_loop_stop, or until no active handle of upper rooms is left. */
void ps_loop_run(struct ps_loop *loop);
void ps_loop_stop(struct ps_loop *loop);
/* One turn, without waiting when `wait` is false. For tests. Returns whether anything is still
 * alive. */
bool ps_loop_turn(struct ps_loop *loop, bool wait);

/*
 * Brings now_us up to date when the loop has just slept. The first line of every libuv callback
 * (poll, async, getaddrinfo, …): libuv tells nobody between the end of its sleep and the first
 * callback.
 */
void ps_loop_begin_turn(struct ps_loop *loop);
static inline void ps_loop_enter(struct ps_loop *loop)
{
    if (!loop->in_turn) {
        ps_loop_begin_turn(loop);
    }
}

void ps_task_init(struct ps_task *task, void (*fn)(struct ps_task *task));
/* Legal again and again; a task is queued once. Loop thread. */
void ps_loop_defer(struct ps_loop *loop, struct ps_task *task, enum ps_phase phase);
/* Legal when it is not queued. */
void ps_task_cancel(struct ps_task *task);

/*
 * Timers. Setting one later than it stands is O(1) (it moves when it comes up), so an idle timer
 * may be pushed on at every byte. Cancelling is synchronous: afterwards fn does not run. Never
 * early; late by up to 1 ms and the length of a turn.
 */
struct ps_timer {
    struct ps_loop *loop;
    void (*fn)(struct ps_timer *timer);
    int64_t due_us; /* when it is to run; INT64_MAX: not set */
    int64_t key_us; /* where it stands in the heap, ≤ due_us */
    size_t slot;    /* in the heap; SIZE_MAX: in none */
};

void ps_timer_init(struct ps_timer *timer, struct ps_loop *loop,
                   void (*fn)(struct ps_timer *timer));
/* Runs fn once, `after_us` from the loop's now. 0, or UV_ENOMEM (then it is not set). */
int ps_timer_set(struct ps_timer *timer, int64_t after_us);
void ps_timer_cancel(struct ps_timer *timer);
static inline bool ps_timer_is_set(const struct ps_timer *timer)
{
    return timer->due_us != INT64_MAX;
}

#endif
