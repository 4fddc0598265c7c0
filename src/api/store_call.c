/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/clock.h"
#include "penstock/jobs/hook.h"

#include <errno.h>

/*
 * The happy path: a command is made for the caller's tenant, filled, submitted; it comes home by
 * the loop's mailbox and its request goes on with what it brings.
 *
 * How it fails: every status that is no success is one row of the fault table, told to the client.
 * A request that ends first lets go of its command, which frees itself when it comes home; whether
 * it was executed does not depend on that.
 */

#define KEY_BYTES 255 /* of an Idempotency-Key */

struct ps_jobs *ps_side_jobs(const struct ps_conn *conn)
{
    return conn->server->gl->mailbox != NULL ? conn->server->shared->jobs : NULL;
}

int ps_side_check(const struct ps_conn *conn, struct ps_fault *fault)
{
    if (ps_side_jobs(conn) == NULL) {
        return ps_fault_set(fault, PS_FAULT_STORE_FAILED, NULL, "The job store is not available.");
    }
    return 0;
}

static void answer_no_memory(struct ps_conn *conn)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL,
                       "The gateway is short of memory; try again later.");
    ps_reply_fault(conn, &fault);
}

struct ps_store_command *ps_store_call_new(struct ps_conn *conn, enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    if (command == NULL) {
        answer_no_memory(conn);
        return NULL;
    }
    command->in.tenant = ps_store_command_copy(command, conn->request.identity.tenant);
    command->in.now_ms = ps_clock_wall_ms();
    if (command->in.tenant.ptr == NULL) {
        ps_store_command_free(command);
        answer_no_memory(conn);
        return NULL;
    }
    return command;
}

static void came_home(struct ps_store_command *command)
{
    struct ps_store_call *call = command->user;
    if (call != NULL) {
        call->command = NULL;
        call->done(call->conn, command);
    }
    ps_store_command_free(command);
}

void ps_store_call(struct ps_store_call *call, struct ps_conn *conn,
                   struct ps_store_command *command,
                   void (*done)(struct ps_conn *conn, struct ps_store_command *command))
{
    call->conn = conn;
    call->command = command;
    call->done = done;
    command->user = call;
    ps_store_submit(ps_jobs_store(ps_side_jobs(conn)), command, conn->server->gl->mailbox,
                    came_home);
}

void ps_store_call_drop(struct ps_store_call *call)
{
    if (call->command != NULL) {
        call->command->user = NULL;
        call->command = NULL;
    }
}

/* ---- faults ---- */

void ps_store_fault(enum ps_store_status status, const char *what, struct ps_fault *ret_fault)
{
    switch (status) {
    case PS_STORE_NOT_FOUND:
        (void)ps_fault_set(ret_fault, PS_FAULT_NOT_FOUND, NULL, "No such %s.", what);
        break;
    case PS_STORE_CONFLICT:
        (void)ps_fault_set(ret_fault, PS_FAULT_CONFLICT, NULL,
                           "The state of this %s does not allow it.", what);
        ret_fault->no_retry = true;
        break;
    case PS_STORE_REUSED:
        (void)ps_fault_set(ret_fault, PS_FAULT_IDEMPOTENCY, "Idempotency-Key",
                           "This Idempotency-Key was used before with another request.");
        ret_fault->no_retry = true;
        break;
    case PS_STORE_DISK_FULL:
        (void)ps_fault_set(ret_fault, PS_FAULT_DISK_FULL, NULL,
                           "The gateway's disk is nearly full: new work is refused.");
        break;
    case PS_STORE_BUSY:
        (void)ps_fault_set(ret_fault, PS_FAULT_OVERLOADED, NULL,
                           "Too many requests wait for the job store; try again later.");
        break;
    case PS_STORE_NO_MEMORY:
        (void)ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                           "The job store is short of memory; try again later.");
        break;
    case PS_STORE_OK:
    case PS_STORE_REPEATED:
    case PS_STORE_STALE:
    case PS_STORE_BROKEN:
    default:
        /* why it is broken, the log says: paths of ours are not the client's */
        (void)ps_fault_set(ret_fault, PS_FAULT_STORE_FAILED, NULL,
                           "The job store is not available; try again later.");
        break;
    }
}

void ps_side_refuse(struct ps_conn *conn, enum ps_store_status status, const char *what)
{
    struct ps_fault fault;
    ps_store_fault(status, what, &fault);
    ps_reply_fault(conn, &fault);
}

void ps_side_errno(int error, struct ps_fault *ret_fault)
{
    enum ps_store_status status = error == ENOSPC || error == EDQUOT ? PS_STORE_DISK_FULL
                                  : error == ENOMEM                  ? PS_STORE_NO_MEMORY
                                                                     : PS_STORE_BROKEN;
    ps_store_fault(status, "file", ret_fault);
}

int ps_side_idempotency(struct ps_conn *conn, struct ps_store_command *command,
                        const unsigned char hash[32], struct ps_fault *fault)
{
    size_t count = 0;
    struct ps_slice key = ps_http_value(conn->request.head, "idempotency-key", &count);
    if (count == 0) {
        return 0;
    }
    bool sane = count == 1 && key.len > 0 && key.len <= KEY_BYTES;
    for (size_t i = 0; sane && i < key.len; i++) {
        sane = key.ptr[i] > 0x20 && key.ptr[i] < 0x7f;
    }
    if (!sane) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "Idempotency-Key",
                            "Idempotency-Key must be given once, with 1 to %d visible ASCII "
                            "characters.",
                            KEY_BYTES);
    }
    command->in.idempotency.key = ps_store_command_copy(command, key);
    memcpy(command->in.idempotency.hash, hash, sizeof(command->in.idempotency.hash));
    if (command->in.idempotency.key.ptr == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    return 0;
}

int ps_side_webhook(struct ps_conn *conn, struct ps_slice raw, struct ps_slice *ret,
                    struct ps_fault *fault)
{
    *ret = PS_SLICE_NONE;
    if (raw.len == 0) {
        return 0;
    }
    if (raw.ptr[0] == '{') {
        raw = ps_object_member(raw, "url");
    }
    if (raw.len == 0 || raw.ptr[0] != '"' || raw.len > 6 * PS_HOOK_URL_MAX) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "webhook",
                            "webhook must be a URL, or an object whose url is one.");
    }
    *ret = ps_object_text(raw, &conn->arena);
    if (ret->ptr == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    return ps_hooks_accept(ps_conn_config(conn), *ret, fault) ? 0 : -1;
}
