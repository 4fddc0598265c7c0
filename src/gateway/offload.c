/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/mem.h"
#include "penstock/net/pool.h"

/*
 * Translating a large body takes longer than a loop may be held, so a thread of the offload pool
 * does it.
 *
 * The happy path: the exchange's request is copied, the copy's body points to the same blocks; the
 * thread reads both and makes what it makes in an arena of its own; back on the loop the attempt
 * goes on. What was made goes with the exchange's arena.
 *
 * How it fails: the pool's queue is full (then ps_offload_start says so), or the translation fails
 * (then it comes back with a fault). The exchange may end at any time: then it leaves its body, and
 * when its arena is reset the arena's memory, to the work, which frees them when the thread has
 * done. The loop lives at least as long: each work has a mailbox of its own.
 */

/*
 * Measured on one core of a server: handing over and taking back costs 29 µs of CPU, 16 of them on
 * the loop. A KiB of a body takes 3 µs where messages are short (100 bytes), 0.5 where they are
 * longer, 0.2 where there are few. So for ordinary messages the loop gains from 32 KiB on and the
 * process loses nothing from about 64; below that a loop is held for 0.2 ms at the worst.
 */
#define PAYS_BYTES (64u << 10)
/* With the pool busy, so much is still translated on the loop: 3 ms at the worst. */
#define BEARS_BYTES (1u << 20)

struct ps_offload {
    struct ps_work work;
    struct ps_mailbox mailbox;
    struct ps_exchange *ex; /* NULL: it has ended */
    const struct ps_backend *backend;
    struct ps_snapshot *snapshot; /* owned reference */
    unsigned holders;             /* the mailbox; the arena of the exchange */
    bool running;                 /* the thread may be reading */
    /* the thread's */
    struct ps_translation t;
    struct ps_request request;
    struct ps_chain view;  /* blocks of the exchange's body, or of `body`; owns nothing */
    struct ps_arena arena; /* owned */
    /* left by an exchange that ended meanwhile; owned */
    struct ps_chain body;
    struct ps_arena rest;
};

/* In the arena of the exchange. */
struct ps_offload_hold {
    struct ps_offload *offload;
    struct ps_arena *arena;
};

static void let_go(struct ps_offload *offload)
{
    if (--offload->holders > 0) {
        return;
    }
    ps_chain_clear(&offload->body);
    ps_arena_deinit(&offload->arena);
    ps_arena_deinit(&offload->rest);
    ps_snapshot_unref(offload->snapshot);
    ps_free(offload);
}

static void on_arena_end(void *arg)
{
    const struct ps_offload_hold *hold = arg;
    struct ps_offload *offload = hold->offload;
    if (offload->running) {
        ps_arena_move(hold->arena, &offload->rest);
    }
    let_go(offload);
}

static void on_mailbox_closed(struct ps_mailbox *mailbox)
{
    let_go(PS_CONTAINER_OF(mailbox, struct ps_offload, mailbox));
}

static void run(struct ps_work *work)
{
    struct ps_offload *offload = PS_CONTAINER_OF(work, struct ps_offload, work);
    (void)offload->backend->translate(&offload->t);
}

static void begin_step(struct ps_exchange *ex)
{
    struct ps_offload *offload = ex->attempt.offload;
    ex->attempt.offload = NULL;
    if (!offload->backend->transient) {
        /* Another target may be asked later: what has been found out about the request stays. */
        const struct ps_chain *body = ex->request.body;
        ex->request = offload->request;
        ex->request.body = body;
    }
    ps_attempt_begin(ex, &offload->t);
    if (offload->backend->transient) {
        ps_arena_deinit(&offload->arena);
    }
}

static void done(struct ps_work *work)
{
    struct ps_offload *offload = PS_CONTAINER_OF(work, struct ps_offload, work);
    offload->running = false;
    if (offload->ex != NULL) {
        ps_exchange_defer(offload->ex, begin_step);
    }
    ps_mailbox_close(&offload->mailbox, on_mailbox_closed);
}

static uint64_t asked_bytes(const struct ps_exchange *ex)
{
    return ps_request_bytes(&ex->request);
}

bool ps_offload_pays(const struct ps_exchange *ex)
{
    return ex->gl->gateway->offload != NULL && asked_bytes(ex) >= PAYS_BYTES;
}

bool ps_offload_bears(const struct ps_exchange *ex)
{
    return asked_bytes(ex) <= BEARS_BYTES;
}

/* A hold in the exchange's arena; -1 when memory is short. */
static int hold_on(struct ps_exchange *ex, struct ps_offload *offload)
{
    struct ps_offload_hold *hold = ps_arena_alloc(ex->arena, sizeof(*hold));
    if (hold == NULL) {
        return -1;
    }
    *hold = (struct ps_offload_hold){offload, ex->arena};
    return ps_arena_defer(ex->arena, on_arena_end, hold);
}

static struct ps_offload *new_offload(struct ps_exchange *ex, const struct ps_backend *backend,
                                      const struct ps_translation *t)
{
    struct ps_offload *offload = ps_calloc(1, sizeof(*offload));
    if (offload == NULL || ps_mailbox_init(&offload->mailbox, ex->gl->loop) != 0) {
        ps_free(offload);
        return NULL;
    }
    offload->work = (struct ps_work){.mailbox = &offload->mailbox, .run = run, .done = done};
    offload->ex = ex;
    offload->backend = backend;
    offload->snapshot = ps_snapshot_ref(ex->snapshot);
    offload->holders = 1;
    offload->view = ex->body;
    offload->request = *t->request;
    offload->request.body = &offload->view;
    offload->t = *t;
    offload->t.request = &offload->request;
    offload->t.arena = &offload->arena;
    /* The neutral form of many short messages is larger than they are. */
    ps_arena_init(&offload->arena, ex->arena->limit + 2 * (size_t)asked_bytes(ex));
    ps_chain_init(&offload->body, ex->body.pool);
    return offload;
}

int ps_offload_start(struct ps_exchange *ex, const struct ps_backend *backend,
                     const struct ps_translation *t, struct ps_fault *fault)
{
    struct ps_offload *offload = new_offload(ex, backend, t);
    if (offload == NULL || hold_on(ex, offload) != 0) {
        if (offload != NULL) {
            ps_mailbox_close(&offload->mailbox, on_mailbox_closed);
        }
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    offload->holders++;
    offload->running = true;
    if (!ps_pool_submit(ex->gl->gateway->offload, &offload->work)) {
        offload->running = false;
        ps_mailbox_close(&offload->mailbox, on_mailbox_closed);
        (void)ps_fault_set(fault, PS_FAULT_QUEUE_FULL, NULL,
                           "Too many long requests wait to be read; try again later.");
        fault->retry_after_ms = 1000;
        return -1;
    }
    ex->attempt.offload = offload;
    return 0;
}

void ps_offload_leave(struct ps_exchange *ex)
{
    struct ps_offload *offload = ex->attempt.offload;
    if (offload != NULL) {
        offload->ex = NULL;
        ex->attempt.offload = NULL;
        if (offload->running) {
            ps_chain_move(&ex->body, &offload->body);
        }
    }
}
