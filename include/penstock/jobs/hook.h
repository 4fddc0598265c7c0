/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_HOOK_H
#define PENSTOCK_JOBS_HOOK_H

#include "penstock/base/buf.h"
#include "penstock/base/fault.h"
#include "penstock/base/id.h"
#include "penstock/base/slice.h"
#include "penstock/config/config.h"
#include "penstock/store/store.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Webhooks: whoever asks for a job may name a URL that is told, once, how it ended. Signed as
 * Standard Webhooks says, tried again for three days, kept in the store: the transaction that ends
 * the work also enqueues the message (ps_store_in.hook_type and hook_payload).
 */

#define PS_HOOK_URL_MAX 2048

/*
 * Whether a request may name this URL: http or https with a host, no user name, no fragment; no
 * address of this machine or of a private network, unless `jobs.webhook_private` allows them; and
 * there is a secret to sign with. False with a fault (400) whose param is "webhook". What a name
 * resolves to is looked at when the connection is made.
 */
bool ps_hooks_accept(const struct ps_config *config, struct ps_slice url,
                     struct ps_fault *ret_fault);

/* "job.completed" and its like, static; empty for a status that is no end. */
struct ps_slice ps_hooks_job_type(enum ps_job_status status);
struct ps_slice ps_hooks_batch_type(enum ps_batch_status status);
/* Appends the payload: {"type","timestamp","data":{"id","status",…}}. `error` is JSON or empty. */
void ps_hooks_job_payload(struct ps_buf *out, const struct ps_id *id, enum ps_job_status status,
                          struct ps_slice error, int64_t now_ms);
/* `status` is the one that the batch is about to have; counts and file ids come from `batch`. */
void ps_hooks_batch_payload(struct ps_buf *out, const struct ps_store_batch *batch,
                            enum ps_batch_status status, int64_t now_ms);

/* Before JOB_CANCEL is submitted: the webhook that tells of it goes in with it. 0, or -1 when
 * memory is short. */
int ps_hooks_fill_cancel(struct ps_store_command *command) __attribute__((warn_unused_result));

#endif
