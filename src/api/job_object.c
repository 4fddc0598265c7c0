/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

/* How a job looks: our own shape. Batches can be seen in it, too. */

const char *ps_job_status_word(enum ps_job_status status)
{
    static const char *const words[PS_JOB_STATUS_COUNT] = {
        [PS_JOB_QUEUED] = "queued",       [PS_JOB_RUNNING] = "running",
        [PS_JOB_COMPLETED] = "completed", [PS_JOB_FAILED] = "failed",
        [PS_JOB_CANCELLED] = "cancelled", [PS_JOB_EXPIRED] = "expired",
    };
    return words[status];
}

bool ps_job_is_over(enum ps_job_status status)
{
    return status != PS_JOB_QUEUED && status != PS_JOB_RUNNING;
}

static void write_begin(struct ps_buf *out, const char *id, enum ps_job_status status)
{
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_json(out, ps_slice_cstr(id));
    ps_buf_cstr(out, ",\"status\":\"");
    ps_buf_cstr(out, ps_job_status_word(status));
    ps_buf_byte(out, '"');
}

static void write_progress(struct ps_buf *out, uint64_t total, uint64_t completed, uint64_t failed)
{
    ps_buf_cstr(out, ",\"progress\":{\"total\":");
    ps_buf_uint(out, total);
    ps_buf_cstr(out, ",\"completed\":");
    ps_buf_uint(out, completed);
    ps_buf_cstr(out, ",\"failed\":");
    ps_buf_uint(out, failed);
}

static void write_job_begin(struct ps_buf *out, const struct ps_store_job *job,
                            const struct ps_jobs_progress *progress)
{
    bool failed = ps_job_is_over(job->status) && job->status != PS_JOB_COMPLETED;
    write_begin(out, job->id.text, job->status);
    write_progress(out, 1, job->status == PS_JOB_COMPLETED ? 1 : 0, failed ? 1 : 0);
    if (progress != NULL) {
        ps_buf_cstr(out, ",\"tokens\":");
        ps_buf_uint(out, progress->tokens);
    }
    ps_buf_byte(out, '}');
}

void ps_job_write_head(struct ps_buf *out, const struct ps_store_job *job,
                       const struct ps_jobs_progress *progress)
{
    write_job_begin(out, job, progress);
    ps_buf_cstr(out, ",\"result\":");
}

/* The error member of an answer that was kept because the call failed, or nothing. */
static struct ps_slice answered_error(const struct ps_store_job *job)
{
    struct ps_fault ignored;
    struct ps_slice body = job->result.bytes;
    if (job->result.blob.text[0] != '\0' || body.len == 0 || ps_object_check(body, &ignored) != 0) {
        return PS_SLICE_NONE;
    }
    return ps_object_member(body, "error");
}

static void write_error(struct ps_buf *out, const struct ps_store_job *job)
{
    ps_buf_cstr(out, ",\"error\":");
    if (!ps_job_is_over(job->status) || job->status == PS_JOB_COMPLETED) {
        ps_buf_cstr(out, "null");
        return;
    }
    struct ps_slice error = job->error.len > 0 ? job->error : answered_error(job);
    if (error.len > 0) {
        ps_buf_slice(out, error);
    } else if (job->status == PS_JOB_CANCELLED) {
        ps_buf_cstr(out, "{\"code\":\"job_cancelled\",\"message\":\"The job was cancelled.\"}");
    } else if (job->status == PS_JOB_EXPIRED) {
        ps_buf_cstr(out, "{\"code\":\"job_expired\",\"message\":\"The job could not be done within "
                         "its time.\"}");
    } else {
        ps_buf_printf(out,
                      "{\"code\":\"upstream_error\",\"message\":\"The model was asked and answered "
                      "with status %d.\"}",
                      job->http_status);
    }
}

void ps_job_write_tail(struct ps_buf *out, const struct ps_store_job *job)
{
    write_error(out, job);
    ps_side_time(out, "created_at", job->created_ms);
    ps_side_time(out, "started_at", job->started_ms);
    ps_side_time(out, "ended_at", job->ended_ms);
    ps_buf_cstr(out, ",\"endpoint\":");
    ps_buf_json(out, job->endpoint);
    ps_buf_cstr(out, ",\"attempts\":");
    ps_buf_uint(out, job->attempts);
    ps_buf_byte(out, '}');
}

void ps_job_write_brief(struct ps_buf *out, const struct ps_store_job *job)
{
    write_job_begin(out, job, NULL);
    ps_job_write_tail(out, job);
}

/* ---- batches ---- */

enum ps_job_status ps_job_of_batch(enum ps_batch_status status)
{
    switch (status) {
    case PS_BATCH_VALIDATING:
        return PS_JOB_QUEUED;
    case PS_BATCH_COMPLETED:
        return PS_JOB_COMPLETED;
    case PS_BATCH_FAILED:
        return PS_JOB_FAILED;
    case PS_BATCH_EXPIRED:
        return PS_JOB_EXPIRED;
    case PS_BATCH_CANCELLED:
        return PS_JOB_CANCELLED;
    case PS_BATCH_IN_PROGRESS:
    case PS_BATCH_FINALIZING:
    case PS_BATCH_CANCELLING:
    case PS_BATCH_EXPIRING:
    case PS_BATCH_STATUS_COUNT:
    default:
        return PS_JOB_RUNNING;
    }
}

static void write_file_id(struct ps_buf *out, const char *name, const struct ps_id *id)
{
    ps_buf_cstr(out, name);
    if (id->text[0] != '\0') {
        ps_buf_json(out, ps_slice_cstr(id->text));
    } else {
        ps_buf_cstr(out, "null");
    }
}

static void write_batch_result(struct ps_buf *out, const struct ps_store_batch *batch)
{
    ps_buf_cstr(out, ",\"result\":");
    if (!ps_batch_is_over(batch->status)) {
        ps_buf_cstr(out, "null");
    } else if (batch->api == PS_BATCH_ANTHROPIC) {
        ps_buf_printf(out, "{\"results_url\":\"/v1/messages/batches/%s/results\"}", batch->id.text);
    } else {
        write_file_id(out, "{\"output_file_id\":", &batch->output_file);
        write_file_id(out, ",\"error_file_id\":", &batch->error_file);
        ps_buf_byte(out, '}');
    }
    ps_buf_cstr(out, ",\"error\":");
    if (batch->status == PS_BATCH_FAILED) {
        ps_buf_cstr(out, "{\"code\":\"invalid_batch\",\"message\":\"The batch's file is not valid: "
                         "no line was run.\",\"errors\":");
        ps_buf_slice(out, batch->errors.len > 0 ? batch->errors : PS_SLICE_LIT("[]"));
        ps_buf_byte(out, '}');
    } else {
        ps_buf_cstr(out, "null");
    }
}

void ps_job_write_batch(struct ps_buf *out, const struct ps_store_batch *batch)
{
    write_begin(out, batch->id.text, ps_job_of_batch(batch->status));
    write_progress(out, batch->total, batch->completed, batch->failed);
    ps_buf_byte(out, '}');
    write_batch_result(out, batch);
    ps_side_time(out, "created_at", batch->created_ms);
    ps_side_time(out, "started_at", batch->started_ms);
    ps_side_time(out, "ended_at", ps_batch_ended(batch));
    ps_buf_cstr(out, ",\"endpoint\":");
    ps_buf_json(out, batch->endpoint);
    ps_buf_cstr(out, ",\"attempts\":null}");
}
