/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"

#include <time.h>

/*
 * How a batch looks to Anthropic's clients. All that happens to a batch ends as "ended"; the counts
 * stay with `processing` until then and always add up. The number of requests is known before the
 * lines are: it is kept as the batch's metadata.
 */

#define OBJECT_BYTES 65536

static void write_time(struct ps_buf *out, const char *name, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char at[40];
    ps_buf_cstr(out, ",\"");
    ps_buf_cstr(out, name);
    if (ms == 0 || gmtime_r(&seconds, &utc) == NULL ||
        strftime(at, sizeof(at), "\":\"%Y-%m-%dT%H:%M:%SZ\"", &utc) == 0) {
        ps_buf_cstr(out, "\":null");
    } else {
        ps_buf_cstr(out, at);
    }
}

static void write_count(struct ps_buf *out, const char *name, uint64_t count)
{
    ps_buf_cstr(out, name);
    ps_buf_uint(out, count);
}

static uint64_t total_of(const struct ps_store_batch *batch)
{
    int64_t told = 0;
    struct ps_slice raw =
        batch->metadata.len > 0 ? ps_object_member(batch->metadata, "requests") : PS_SLICE_NONE;
    if (raw.len > 0 && ps_json_int(raw, &told) && told > 0 && (uint64_t)told > batch->total) {
        return (uint64_t)told;
    }
    return batch->total;
}

static void write_counts(struct ps_buf *out, const struct ps_store_batch *batch, bool ended)
{
    uint64_t total = total_of(batch);
    uint64_t completed = ended ? batch->completed : 0;
    uint64_t canceled = ended ? batch->canceled : 0;
    uint64_t expired = ended ? batch->expired : 0;
    uint64_t known = completed + canceled + expired;
    uint64_t rest = total > known ? total - known : 0;
    write_count(out, ",\"request_counts\":{\"processing\":", ended ? 0 : total);
    write_count(out, ",\"succeeded\":", completed);
    write_count(out, ",\"errored\":", ended ? rest : 0);
    write_count(out, ",\"canceled\":", canceled);
    write_count(out, ",\"expired\":", expired);
    ps_buf_byte(out, '}');
}

/* Whole, as clients go to it without knowing where they are: by the name they used for us. */
static void write_results_url(struct ps_conn *conn, struct ps_buf *out,
                              const struct ps_store_batch *batch)
{
    struct ps_slice host = conn->request.head->host;
    struct ps_buf url;
    ps_buf_init(&url, 4096);
    if (host.len > 0) {
        ps_buf_cstr(&url, ps_access_is_https(conn) ? "https://" : "http://");
        ps_buf_slice(&url, host);
    }
    ps_buf_cstr(&url, "/v1/messages/batches/");
    ps_buf_cstr(&url, batch->id.text);
    ps_buf_cstr(&url, "/results");
    ps_buf_json(out, ps_buf_view(&url));
    out->failed = out->failed || url.failed;
    ps_buf_deinit(&url);
}

void ps_message_batch_write(struct ps_conn *conn, struct ps_buf *out,
                            const struct ps_store_batch *batch)
{
    int64_t ended = ps_batch_ended(batch);
    int64_t archived = ended > 0 ? ended + PS_MESSAGE_BATCH_LIFE_MS : 0;
    bool is_archived = archived > 0 && archived <= ps_clock_wall_ms();
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_json(out, ps_slice_cstr(batch->id.text));
    ps_buf_cstr(out, ",\"type\":\"message_batch\",\"processing_status\":");
    ps_buf_cstr(out, ended > 0                              ? "\"ended\""
                     : batch->status == PS_BATCH_CANCELLING ? "\"canceling\""
                                                            : "\"in_progress\"");
    write_counts(out, batch, ended > 0);
    write_time(out, "created_at", batch->created_ms);
    write_time(out, "expires_at", batch->expires_ms);
    write_time(out, "ended_at", ended);
    write_time(out, "cancel_initiated_at", batch->cancelling_ms);
    write_time(out, "archived_at", is_archived ? archived : 0);
    ps_buf_cstr(out, ",\"results_url\":");
    if (ended > 0 && !is_archived) {
        write_results_url(conn, out, batch);
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_byte(out, '}');
}

void ps_message_batch_show(struct ps_conn *conn, const struct ps_store_batch *batch)
{
    struct ps_buf out;
    ps_buf_init(&out, OBJECT_BYTES);
    ps_message_batch_write(conn, &out, batch);
    ps_side_json(conn, &out);
}
