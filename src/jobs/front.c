/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"

#include <errno.h>

/*
 * A claim as the front of an exchange, as src/api/inference.c is for a connection.
 *
 * The happy path: the exchange is opened in the name of whoever asked for the job, the body goes in
 * (its first bytes are at hand, the rest is read off the loop), the answer is collected: raw where
 * the families agree, else made by the writer. Up to 64 KiB stay in memory, more goes to a blob as
 * it comes, and the exchange is paused while the disk is slower. At the end the exchange is ended,
 * which frees the slot; then the answer is kept and settled.
 *
 * How it fails: the answer's status decides (policy.c). A refusal (429, 503) slows the model's pace
 * and is no try; other failures are tried again, so many times; what came last is the result then:
 * the upstream's own error, or ours in the door's shape. An answer that breaks off, or that the
 * disk does not take, is a failure like these.
 */

#define CHUNK 262144

/* ---- the answer ---- */

static void on_room(void *arg);
static void on_kept(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                    const unsigned char *sha256);
static const struct ps_upload_ops upload_ops = {on_room, on_kept};

static void drop_upload(struct ps_run *run, int error)
{
    if (run->upload != NULL) {
        ps_upload_cancel(run->upload);
        run->upload = NULL;
    }
    run->upload_error = error;
}

static void write_upload(struct ps_run *run, const char *ptr, size_t len)
{
    if (run->upload_error == 0 && len > 0 && ps_upload_write(run->upload, ptr, len) != 0) {
        drop_upload(run, ENOMEM);
    }
}

/* What is collected moves from memory to a blob. */
static void begin_upload(struct ps_run *run)
{
    struct ps_jobs *jobs = run->jobs;
    run->upload = ps_upload_new(ps_store_blobs(jobs->store), jobs->mailbox, &upload_ops, run);
    if (run->upload == NULL) {
        run->upload_error = ENOMEM;
        return;
    }
    write_upload(run, run->answer.ptr, run->answer.len);
    ps_buf_reset(&run->answer);
}

static void collect(struct ps_run *run, struct ps_slice bytes)
{
    run->answer_bytes += bytes.len;
    if (run->upload == NULL && run->upload_error == 0) {
        if (bytes.len <= PS_JOBS_INLINE - run->answer.len) {
            ps_buf_slice(&run->answer, bytes);
            run->upload_error = run->answer.failed ? ENOMEM : 0;
            return;
        }
        begin_upload(run);
    }
    write_upload(run, bytes.ptr, bytes.len);
    if (run->upload != NULL && ps_upload_full(run->upload)) {
        ps_exchange_pause(run->ex);
    }
}

static void on_commit(void *arg, const struct ps_answer *answer)
{
    struct ps_run *run = arg;
    run->committed = true;
    run->raw = answer->raw;
    run->status = answer->status;
    if (!run->raw) {
        run->writer = ps_exchange_writer(run->ex, PS_WRITER_WHOLE);
        if (run->writer == NULL) {
            (void)ps_fault_set(&run->fault, PS_FAULT_NO_MEMORY, NULL,
                               "The gateway is short of memory.");
        }
    }
}

static void note_progress(struct ps_run *run, const struct ps_event *event)
{
    if (event->kind == PS_EVENT_TEXT || event->kind == PS_EVENT_REASONING) {
        (void)atomic_fetch_add_explicit(&run->tokens, 1, memory_order_relaxed);
    } else if (event->kind == PS_EVENT_USAGE && event->usage.output > 0) {
        atomic_store_explicit(&run->tokens, (uint64_t)event->usage.output, memory_order_relaxed);
    } else {
        return;
    }
    if (run->claim.line < 0) {
        ps_hub_touch(run->jobs, &run->claim.id, false);
    }
}

static void on_event(void *arg, const struct ps_event *event)
{
    struct ps_run *run = arg;
    note_progress(run, event);
    if (run->raw) {
        collect(run, event->raw);
        return;
    }
    if (run->writer == NULL || run->fault.kind != PS_FAULT_NONE) {
        return;
    }
    struct ps_buf out;
    ps_buf_init(&out, (size_t)run->jobs->gl->snapshot->config->limits.event_bytes * 2 + 1024);
    if (ps_writer_event(run->writer, event, &out, &run->fault) == 0) {
        collect(run, ps_buf_view(&out));
    }
    ps_buf_deinit(&out);
}

static void on_end(void *arg, const struct ps_outcome *outcome)
{
    struct ps_run *run = arg;
    run->outcome = outcome;
    ps_loop_defer(run->jobs->gl->loop, &run->task, PS_PHASE_WORK);
}

static const struct ps_front_ops front_ops = {on_commit, on_event, on_end};

/* ---- keeping a large answer ---- */

/* The answer is in memory as far as the upload has not taken it. */
static void keep_more(struct ps_run *run)
{
    const struct ps_buf *answer = &run->answer;
    while (run->upload_error == 0 && run->answer_taken < answer->len &&
           !ps_upload_full(run->upload)) {
        size_t left = answer->len - run->answer_taken;
        size_t len = left < CHUNK ? left : CHUNK;
        write_upload(run, answer->ptr + run->answer_taken, len);
        run->answer_taken += len;
    }
    if (run->upload_error != 0) {
        ps_run_lose(run, "storage_error", "The answer could not be kept.");
    } else if (run->answer_taken == answer->len) {
        ps_upload_finish(run->upload);
    }
}

static void on_room(void *arg)
{
    struct ps_run *run = arg;
    if (run->state == PS_RUN_ASKING) {
        ps_exchange_resume(run->ex);
    } else if (run->state == PS_RUN_KEEPING && run->answer_taken < run->answer.len) {
        keep_more(run);
    }
}

static void on_kept(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                    const unsigned char *sha256)
{
    struct ps_run *run = arg;
    (void)sha256;
    run->upload = NULL;
    if (run->state == PS_RUN_ASKING) {
        run->upload_error = error != 0 ? error : EIO; /* nobody has finished it */
        ps_exchange_resume(run->ex);
        return;
    }
    if (error != 0) {
        run->upload_error = error;
        ps_run_lose(run, "storage_error", "The answer could not be kept.");
        return;
    }
    run->blob = *name;
    run->answer_bytes = length;
    ps_run_settle(run, run->status < 300 ? PS_JOB_COMPLETED : PS_JOB_FAILED);
}

static void keep(struct ps_run *run)
{
    if (run->upload == NULL && run->answer.len <= PS_JOBS_INLINE) {
        ps_run_settle(run, run->status < 300 ? PS_JOB_COMPLETED : PS_JOB_FAILED);
        return;
    }
    ps_run_enter(run, PS_RUN_KEEPING);
    if (run->upload == NULL) {
        struct ps_jobs *jobs = run->jobs;
        run->upload = ps_upload_new(ps_store_blobs(jobs->store), jobs->mailbox, &upload_ops, run);
        run->upload_error = run->upload == NULL ? ENOMEM : 0;
    }
    keep_more(run);
}

/* ---- the end of the exchange ---- */

/* An error's body is small: the upstream's is cut at 64 KiB before, ours is a sentence. */
static void write_error(struct ps_run *run)
{
    const struct ps_outcome *outcome = run->outcome;
    drop_upload(run, 0);
    ps_buf_reset(&run->answer);
    if (outcome != NULL && outcome->verbatim && outcome->body != NULL) {
        run->fault = outcome->fault;
        run->status = outcome->fault.status;
        size_t len = outcome->body->len;
        char *bytes = len > 0 ? ps_buf_reserve(&run->answer, len) : NULL;
        if (bytes != NULL) {
            ps_chain_copy(outcome->body, 0, len, bytes);
            ps_buf_commit(&run->answer, len);
        }
    } else {
        if (outcome != NULL && outcome->fault.kind != PS_FAULT_NONE) {
            run->fault = outcome->fault;
        }
        run->status = ps_fault_status(&run->fault);
        ps_dialect_write_fault(ps_dialect_of_family(run->endpoint->family), &run->fault,
                               ps_slice_cstr(run->request_id.text), &run->answer);
    }
    run->answer_bytes = run->answer.len;
}

/* The writer's last word, which for most of them is all of it. Some repeat the request in it. */
static void write_rest(struct ps_run *run)
{
    struct ps_answer_info info;
    struct ps_buf out;
    ps_exchange_info(run->ex, &info);
    ps_buf_init(&out, (size_t)run->jobs->gl->snapshot->config->limits.event_bytes * 6 +
                          (size_t)run->claim.body.length + PS_JOBS_INLINE);
    ps_writer_end(run->writer, &info, &out);
    if (out.failed) {
        (void)ps_fault_set(&run->fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory for this answer.");
        ps_buf_deinit(&out);
        return;
    }
    run->answer_bytes += out.len;
    if (run->upload == NULL && run->answer.len == 0) {
        ps_buf_deinit(&run->answer);
        run->answer = out; /* however long: it goes to the upload in pieces */
        return;
    }
    collect(run, ps_buf_view(&out));
    run->answer_bytes -= out.len;
    ps_buf_deinit(&out);
}

static void leave(struct ps_run *run)
{
    struct ps_jobs *jobs = run->jobs;
    ps_timer_cancel(&run->timer);
    ps_task_cancel(&run->task);
    ps_writer_free(run->writer);
    run->writer = NULL;
    run->ex = NULL;
    run->outcome = NULL;
    ps_hub_leave(run);
    ps_jobs_poke(jobs);
}

static void end_pace(struct ps_run *run, enum ps_pace_end end)
{
    if (run->pacing) {
        ps_pace_end(&run->jobs->paces, run->pace, end, run->fault.retry_after_ms * 1000,
                    ps_clock_us());
        run->pacing = false;
        if (run->pace->limit < run->jobs->concurrency) {
            ps_jobs_take_in(run->jobs, 0); /* its batch was skipped while it was full */
        }
    }
}

/* What we lack ourselves says nothing about the model. */
static bool is_ours(const struct ps_fault *fault)
{
    return fault->kind == PS_FAULT_NO_MEMORY || fault->kind == PS_FAULT_OVERLOADED ||
           fault->kind == PS_FAULT_DRAINING;
}

static void wait_for_it(struct ps_run *run)
{
    struct ps_jobs *jobs = run->jobs;
    int64_t after_ms = jobs->times.retry_us / 1000;
    if (is_ours(&run->fault)) {
        end_pace(run, PS_PACE_OTHER);
    } else {
        end_pace(run, PS_PACE_REFUSED);
        after_ms = (run->pace->not_before_us - ps_clock_us()) / 1000;
    }
    after_ms = after_ms > run->fault.retry_after_ms ? after_ms : run->fault.retry_after_ms;
    /* Not all at the same moment. */
    after_ms += (int64_t)(ps_jobs_random() % (uint64_t)(jobs->times.backoff_ms / 4 + 1));
    ps_run_defer(run, after_ms > 0 ? after_ms : 0, false);
}

static void act(struct ps_run *run, enum ps_jobs_verdict verdict)
{
    switch (verdict) {
    case PS_JOBS_FINAL:
        end_pace(run, run->status < 300 ? PS_PACE_OK : PS_PACE_OTHER);
        keep(run);
        return;
    case PS_JOBS_REFUSED:
        wait_for_it(run);
        return;
    case PS_JOBS_FAILED:
    default:
        end_pace(run, PS_PACE_OTHER);
        if (run->claim.attempt >= run->jobs->gl->snapshot->config->jobs_max_attempts) {
            keep(run); /* what came last is the result */
        } else {
            ps_run_lose(run, "failed", "");
        }
    }
}

/* The exchange has said all it has to say, or its body was refused. */
static void finish(struct ps_run *run)
{
    if (run->fault.kind == PS_FAULT_NONE && run->outcome != NULL) {
        run->fault = run->outcome->fault;
    }
    if (run->fault.kind == PS_FAULT_NONE && run->writer != NULL) {
        write_rest(run);
    }
    bool lost = run->upload_error != 0 && run->fault.kind == PS_FAULT_NONE;
    enum ps_end_reason reason = run->fault.kind == PS_FAULT_NONE ? PS_END_DONE
                                : run->committed                 ? PS_END_CUT
                                                                 : PS_END_FAULT;
    if (run->fault.kind != PS_FAULT_NONE) {
        write_error(run);
    }
    run->usage = ps_exchange_usage(run->ex);
    ps_exchange_end(run->ex, reason, run->status, run->answer_bytes, &run->fault);
    leave(run);
    enum ps_jobs_verdict verdict = lost ? PS_JOBS_FAILED : ps_jobs_judge(run->status);
    ps_report_call(run->jobs, run, verdict);
    if (lost) {
        end_pace(run, PS_PACE_OTHER);
        ps_run_lose(run, "storage_error", "The answer could not be kept.");
    } else {
        act(run, verdict);
    }
}

void ps_run_asked(struct ps_task *task)
{
    finish(PS_CONTAINER_OF(task, struct ps_run, task));
}

void ps_run_hang_up(struct ps_run *run, enum ps_end_reason reason)
{
    if (run->download != NULL) {
        ps_download_cancel(run->download);
        run->download = NULL;
    }
    run->usage = ps_exchange_usage(run->ex);
    ps_exchange_end(run->ex, reason, 0, 0, &run->fault);
    drop_upload(run, 0);
    ps_buf_reset(&run->answer);
    run->answer_bytes = 0;
    end_pace(run, PS_PACE_OTHER);
    leave(run);
}

/* ---- asking ---- */

static void on_body(void *arg, const char *ptr, size_t len)
{
    struct ps_run *run = arg;
    if (run->fault.kind == PS_FAULT_NONE && ps_exchange_body(run->ex, ptr, len, &run->fault) != 0) {
        ps_download_cancel(run->download);
        run->download = NULL;
        ps_loop_defer(run->jobs->gl->loop, &run->task, PS_PHASE_WORK);
    }
}

static void on_body_end(void *arg, int error)
{
    struct ps_run *run = arg;
    run->download = NULL;
    if (error != 0) {
        (void)ps_fault_set(&run->fault, PS_FAULT_INTERNAL, NULL,
                           "The request could not be read from the disk.");
        ps_loop_defer(run->jobs->gl->loop, &run->task, PS_PHASE_WORK);
        return;
    }
    ps_exchange_run(run->ex);
}

static void send_body(struct ps_run *run)
{
    static const struct ps_download_ops ops = {on_body, on_body_end};
    const struct ps_store_body *body = &run->claim.body;
    struct ps_jobs *jobs = run->jobs;
    if (ps_exchange_body(run->ex, run->body, run->body_len, &run->fault) != 0) {
        ps_loop_defer(jobs->gl->loop, &run->task, PS_PHASE_WORK);
        return;
    }
    if (run->body_len == body->length) {
        ps_exchange_run(run->ex);
        return;
    }
    run->download =
        ps_download_new(ps_store_blobs(jobs->store), jobs->mailbox, &body->blob,
                        body->offset + run->body_len, body->length - run->body_len, &ops, run);
    if (run->download == NULL) {
        (void)ps_fault_set(&run->fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory; try again later.");
        ps_loop_defer(jobs->gl->loop, &run->task, PS_PHASE_WORK);
    }
}

void ps_run_ask(struct ps_run *run)
{
    struct ps_jobs *jobs = run->jobs;
    struct ps_exchange_spec spec = {
        .door = run->endpoint->label,
        .family = run->endpoint->family,
        .operation = run->endpoint->operation,
        .identity = {run->claim.tenant, run->claim.key},
        .method = PS_SLICE_LIT("POST"),
        .path = run->claim.endpoint,
        .content_type = PS_SLICE_LIT("application/json"),
        .client = run->claim.line < 0 ? "job" : "batch",
        .client_request_id = ps_slice_cstr(run->claim.id.text),
        .request_id = run->request_id,
        .received_us = ps_clock_us(),
        .background = true,
    };
    run->asked_us = spec.received_us;
    run->ex = ps_exchange_open(jobs->gl, &run->arena, &spec, &front_ops, run);
    if (run->ex == NULL) {
        ps_run_defer(run, jobs->times.retry_us / 1000, false);
        return;
    }
    ps_run_enter(run, PS_RUN_ASKING);
    ps_pace_begin(run->pace);
    run->pacing = true;
    ps_hub_enter(run);
    if (run->claim.line < 0) {
        ps_hub_touch(jobs, &run->claim.id, false);
    }
    send_body(run);
}
