/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_JOBS_H
#define PENSTOCK_JOBS_JOBS_H

#include "penstock/base/fault.h"
#include "penstock/dialect/request.h"
#include "penstock/gateway/gateway.h"
#include "penstock/net/mailbox.h"
#include "penstock/net/pool.h"
#include "penstock/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The runner of the durable queue: takes work out of the store, runs each piece as an exchange like
 * any client's (with priority below theirs), settles it, makes the files of batches. One per
 * process; it lives on the first event loop, doors of all loops talk to the store and wake it.
 *
 *   ps_jobs_new → ps_jobs_start → … ps_jobs_wake … → ps_jobs_stop → on_stopped → ps_jobs_free
 *
 * What runs when the process dies is taken up by the next one: calls to models may repeat, results
 * do not.
 */
struct ps_jobs;

/* `store` and `pool` (validation of uploads, making of files) outlive it. NULL when memory is
 * short. */
struct ps_jobs *ps_jobs_new(struct ps_store *store, struct ps_pool *pool)
    __attribute__((warn_unused_result));
/* Loop 0: begins, with what the last run left first. `gl` and `mailbox` are of this loop. -1 when
 * memory is short. */
int ps_jobs_start(struct ps_jobs *jobs, struct ps_gateway_loop *gl, struct ps_mailbox *mailbox)
    __attribute__((warn_unused_result));
/* Any thread: there is new work, or something was cancelled. Cheap, coalesced. */
void ps_jobs_wake(struct ps_jobs *jobs);
/* Loop 0: takes no more. What is in flight may end; on_stopped comes, deferred, when nothing is. */
void ps_jobs_stop(struct ps_jobs *jobs, void (*on_stopped)(void *arg), void *arg);
/* Loop 0, after ps_jobs_stop: ends what is in flight; it returns to the queue and counts as no
 * attempt. */
void ps_jobs_abort(struct ps_jobs *jobs);
/* After on_stopped, or before ps_jobs_start. NULL is allowed. */
void ps_jobs_free(struct ps_jobs *jobs);

struct ps_store *ps_jobs_store(const struct ps_jobs *jobs);

/* What work may be asked of: the path that lines name, and how the gateway reads it. NULL: it
 * cannot run in the background. */
struct ps_jobs_endpoint {
    const char *path;  /* "/v1/chat/completions" */
    const char *label; /* door, for metrics and the log: "batch.chat" */
    enum ps_family family;
    enum ps_operation operation;
    bool batches; /* may be a batch's endpoint */
};
const struct ps_jobs_endpoint *ps_jobs_endpoint(struct ps_slice path);

/* ---- watching ---- */

/*
 * Tells a loop that a job or batch has moved: embedded in whoever watches, on that loop. `fn` is
 * called at most a few times a second, and at the end; what there is to see is read from the store.
 */
struct ps_jobs_watch {
    struct ps_link link; /* the hub's, under its lock, as the next four */
    struct ps_message message;
    struct ps_jobs *jobs;
    bool posted;
    bool moved;
    bool over;
    /* filled by the watcher */
    struct ps_mailbox *mailbox; /* of its loop; stays open until `gone` */
    struct ps_id id;
    void (*fn)(struct ps_jobs_watch *watch);
    void (*gone)(struct ps_jobs_watch *watch); /* after _unwatch: the memory is free to go */
};
void ps_jobs_watch(struct ps_jobs *jobs, struct ps_jobs_watch *watch);
/* On the watcher's loop. No fn after it; `gone` comes, perhaps at once, when no message is under
 * way any more. */
void ps_jobs_unwatch(struct ps_jobs *jobs, struct ps_jobs_watch *watch);

/* Of a single job that runs now: what has been generated so far. Any thread. False: it does not
 * run. */
struct ps_jobs_progress {
    uint64_t tokens; /* or pieces of text, where the upstream tells no count until the end */
    int64_t running_us;
};
bool ps_jobs_progress(struct ps_jobs *jobs, const struct ps_id *id, struct ps_jobs_progress *ret);

#endif
