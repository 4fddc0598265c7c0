/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

/* How a batch looks to OpenAI's clients: every member is there, null where there is nothing. */

const char *ps_batch_status_word(enum ps_batch_status status)
{
    static const char *const words[PS_BATCH_STATUS_COUNT] = {
        [PS_BATCH_VALIDATING] = "validating", [PS_BATCH_IN_PROGRESS] = "in_progress",
        [PS_BATCH_FINALIZING] = "finalizing", [PS_BATCH_CANCELLING] = "cancelling",
        [PS_BATCH_EXPIRING] = "finalizing",   [PS_BATCH_COMPLETED] = "completed",
        [PS_BATCH_FAILED] = "failed",         [PS_BATCH_EXPIRED] = "expired",
        [PS_BATCH_CANCELLED] = "cancelled",
    };
    return words[status];
}

bool ps_batch_is_over(enum ps_batch_status status)
{
    return status == PS_BATCH_COMPLETED || status == PS_BATCH_FAILED ||
           status == PS_BATCH_EXPIRED || status == PS_BATCH_CANCELLED;
}

int64_t ps_batch_ended(const struct ps_store_batch *batch)
{
    switch (batch->status) {
    case PS_BATCH_COMPLETED:
        return batch->completed_ms;
    case PS_BATCH_FAILED:
        return batch->failed_ms;
    case PS_BATCH_EXPIRED:
        return batch->expired_ms;
    case PS_BATCH_CANCELLED:
        return batch->cancelled_ms;
    case PS_BATCH_VALIDATING:
    case PS_BATCH_IN_PROGRESS:
    case PS_BATCH_FINALIZING:
    case PS_BATCH_CANCELLING:
    case PS_BATCH_EXPIRING:
    case PS_BATCH_STATUS_COUNT:
    default:
        return 0;
    }
}

static void write_text(struct ps_buf *out, const char *name, struct ps_slice text)
{
    ps_buf_cstr(out, ",\"");
    ps_buf_cstr(out, name);
    ps_buf_cstr(out, "\":");
    if (text.len > 0) {
        ps_buf_json(out, text);
    } else {
        ps_buf_cstr(out, "null");
    }
}

static void write_counts(struct ps_buf *out, const struct ps_store_batch *batch)
{
    ps_buf_cstr(out, ",\"request_counts\":{\"total\":");
    ps_buf_uint(out, batch->total);
    ps_buf_cstr(out, ",\"completed\":");
    ps_buf_uint(out, batch->completed);
    ps_buf_cstr(out, ",\"failed\":");
    ps_buf_uint(out, batch->failed);
    ps_buf_cstr(out, "},\"usage\":{\"input_tokens\":");
    ps_buf_uint(out, batch->input_tokens);
    ps_buf_cstr(out, ",\"input_tokens_details\":{\"cached_tokens\":");
    ps_buf_uint(out, batch->cached_tokens);
    ps_buf_cstr(out, "},\"output_tokens\":");
    ps_buf_uint(out, batch->output_tokens);
    ps_buf_cstr(out, ",\"output_tokens_details\":{\"reasoning_tokens\":");
    ps_buf_uint(out, batch->reasoning_tokens);
    ps_buf_cstr(out, "},\"total_tokens\":");
    ps_buf_uint(out, batch->input_tokens + batch->output_tokens);
    ps_buf_byte(out, '}');
}

void ps_batch_write(struct ps_buf *out, const struct ps_store_batch *batch)
{
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_json(out, ps_slice_cstr(batch->id.text));
    ps_buf_cstr(out, ",\"object\":\"batch\"");
    write_text(out, "endpoint", batch->endpoint);
    write_text(out, "model", batch->model);
    ps_buf_cstr(out, ",\"errors\":");
    if (batch->errors.len > 0) {
        ps_buf_cstr(out, "{\"object\":\"list\",\"data\":");
        ps_buf_slice(out, batch->errors);
        ps_buf_byte(out, '}');
    } else {
        ps_buf_cstr(out, "null");
    }
    write_text(out, "input_file_id", ps_slice_cstr(batch->input_file.text));
    ps_buf_cstr(out, ",\"completion_window\":\"24h\"");
    write_text(out, "status", ps_slice_cstr(ps_batch_status_word(batch->status)));
    write_text(out, "output_file_id", ps_slice_cstr(batch->output_file.text));
    write_text(out, "error_file_id", ps_slice_cstr(batch->error_file.text));
    ps_side_time(out, "created_at", batch->created_ms);
    ps_side_time(out, "in_progress_at", batch->started_ms);
    ps_side_time(out, "expires_at", batch->expires_ms);
    ps_side_time(out, "finalizing_at", batch->finalizing_ms);
    ps_side_time(out, "completed_at", batch->completed_ms);
    ps_side_time(out, "failed_at", batch->failed_ms);
    ps_side_time(out, "expired_at", batch->expired_ms);
    ps_side_time(out, "cancelling_at", batch->cancelling_ms);
    ps_side_time(out, "cancelled_at", batch->cancelled_ms);
    write_counts(out, batch);
    ps_buf_cstr(out, ",\"metadata\":");
    ps_buf_slice(out, batch->metadata.len > 0 ? batch->metadata : PS_SLICE_LIT("null"));
    ps_buf_byte(out, '}');
}
