/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_HOOK_PRIV_H
#define PENSTOCK_JOBS_HOOK_PRIV_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"
#include "penstock/gateway/gateway.h"
#include "penstock/jobs/hook.h"
#include "penstock/net/mailbox.h"
#include "penstock/net/pool.h"
#include "penstock/store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The sender of webhooks, a part of the runner: it takes them from the store, delivers them, and
 * settles them. One per process, on loop 0. The runner starts and stops it:
 *
 *   ps_hooks_new → ps_hooks_start → … ps_hooks_wake … → ps_hooks_stop → on_stopped → ps_hooks_free
 */
struct ps_hooks;

/* `store` and `pool` (certificates are read there) outlive it. NULL when memory is short. */
struct ps_hooks *ps_hooks_new(struct ps_store *store, struct ps_pool *pool)
    __attribute__((warn_unused_result));
/* `fn` is called whenever the number of those that wait has changed. NULL: nobody is. */
void ps_hooks_on_moved(struct ps_hooks *hooks, void (*fn)(void *arg), void *arg);
/* Loop 0: begins, with what the last run left. `gl` and `mailbox` are of this loop. Touches the
 * store only when it exists already. -1 when memory is short. */
int ps_hooks_start(struct ps_hooks *hooks, struct ps_gateway_loop *gl, struct ps_mailbox *mailbox)
    __attribute__((warn_unused_result));
/* Loop 0: a command that enqueued a webhook has been answered (SETTLE, BATCH_FINISH, JOB_CANCEL
 * with a hook_type). Coalesced. */
void ps_hooks_wake(struct ps_hooks *hooks);
/* The same, within a second: somebody may have enqueued one (a door that cancelled, DUE). */
void ps_hooks_nudge(struct ps_hooks *hooks);
/* Loop 0: takes no more. What is in flight may end (15 s at the most); on_stopped comes, deferred,
 * when nothing is. */
void ps_hooks_stop(struct ps_hooks *hooks, void (*on_stopped)(void *arg), void *arg);
/* Loop 0, after ps_hooks_stop: ends what is in flight, which is tried again by the next run. */
void ps_hooks_abort(struct ps_hooks *hooks);
/* After on_stopped, or when it was never started. NULL is allowed. */
void ps_hooks_free(struct ps_hooks *hooks);

/* ---- hook_message.c ---- */

/* A URL taken apart; the slices lie in the URL. */
struct ps_hook_url {
    bool https;
    struct ps_slice base; /* "https://host:port" */
    struct ps_slice host; /* without brackets */
    struct ps_slice rest; /* path and query as they stand; may be empty, or begin with '?' */
};
/* NULL, or what is wrong with it, as the end of a sentence. */
const char *ps_hook_url_parse(struct ps_slice url, struct ps_hook_url *ret);

#define PS_HOOK_SIGNATURE 48 /* "v1," and 44 characters, and a NUL */

/* `secret` as configured ("whsec_" + base64). False when it is malformed. */
bool ps_hook_sign(const char *secret, struct ps_slice id, int64_t timestamp_s,
                  struct ps_slice payload, char ret[PS_HOOK_SIGNATURE]);
/* The payload with nothing but id and status, of a message that was enqueued without one. */
void ps_hook_bare_payload(struct ps_buf *out, struct ps_slice type, const struct ps_id *id,
                          int64_t now_ms);
/* How long to wait after the try number `attempt` (from 1) failed, without jitter; -1: no more. */
int64_t ps_hook_delay_ms(unsigned attempt);

#endif
