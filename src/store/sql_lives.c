/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

/*
 * The life of a batch. VALIDATING until BATCH_START or BATCH_FAIL, then IN_PROGRESS until
 *
 *   every line is settled                          → it has ended, FINALIZING → COMPLETED
 *   BATCH_CANCEL: CANCELLING until none is in flight → it has ended, CANCELLING → CANCELLED
 *   its time is over: EXPIRING until none is in flight → it has ended, FINALIZING → EXPIRED
 *
 * the last step by BATCH_FINISH, when its files are made. `becomes` keeps which it is. Lines that
 * wait when a batch has ended are not touched: they count as cancelled or expired, and OUTCOMES
 * tells them so. After the end the lines are deleted, a slice at a time.
 */

bool ps_sql_end_batch(struct ps_store_session *sql, int64_t base, int64_t now_ms)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_END);
    ps_put_int(&query, base);
    ps_put_int(&query, now_ms);
    return ps_query_run(&query) > 0;
}

void ps_sql_batch_back(struct ps_store_session *sql, int64_t base, int64_t run_at_ms)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_BACK);
    ps_put_int(&query, base);
    ps_put_int(&query, run_at_ms);
    (void)ps_query_run(&query);
}

enum ps_store_status ps_sql_batch_cancel(struct ps_store_session *sql, const struct ps_store_in *in,
                                         struct ps_store_out *out)
{
    struct ps_sql_batch batch;
    struct ps_query query;

    if (!ps_sql_show_own_batch(sql, out, in->tenant, &in->id) ||
        !ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    if (ps_sql_batch_is_over(batch.status)) {
        return PS_STORE_CONFLICT;
    }
    if (batch.status == PS_BATCH_VALIDATING || batch.status == PS_BATCH_IN_PROGRESS) {
        ps_query_begin(&query, sql, PS_SQL_BATCH_CANCEL);
        ps_put_int(&query, batch.base);
        ps_put_int(&query, in->now_ms);
        (void)ps_query_run(&query);
        (void)ps_sql_end_batch(sql, batch.base, in->now_ms);
        ps_sql_show_batch(sql, out, &in->id);
    }
    return PS_STORE_OK;
}

/* ---- validation ---- */

static bool in_validation(const struct ps_sql_batch *batch)
{
    return !batch->validated &&
           (batch->status == PS_BATCH_VALIDATING || batch->status == PS_BATCH_CANCELLING);
}

static void insert_line(struct ps_store_session *sql, int64_t base,
                        const struct ps_store_line *line)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_LINE);
    ps_put_int(&query, ps_sql_key_of(base, line->line));
    ps_put_int(&query, base);
    ps_put_text(&query, line->custom_id);
    ps_put_count(&query, line->offset);
    ps_put_count(&query, line->length);
    (void)ps_query_run(&query);
}

enum ps_store_status ps_sql_batch_lines(struct ps_store_session *sql, const struct ps_store_in *in,
                                        struct ps_store_out *out)
{
    struct ps_sql_batch batch;
    struct ps_query query;
    uint64_t total = 0;

    if (!ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    if (!in_validation(&batch)) {
        ps_sql_show_batch(sql, out, &in->id);
        return PS_STORE_CONFLICT;
    }
    for (size_t i = 0; i < in->line_count && ps_sql_ok(sql); i++) {
        const struct ps_store_line *line = &in->lines[i];
        if (line->line >= PS_SQL_LINES_MAX) {
            return PS_STORE_CONFLICT;
        }
        insert_line(sql, batch.base, line);
        total = line->line + 1 > total ? line->line + 1 : total;
    }
    ps_query_begin(&query, sql, PS_SQL_BATCH_GROW);
    ps_put_int(&query, batch.base);
    ps_put_count(&query, total);
    (void)ps_query_run(&query);
    return PS_STORE_OK;
}

/* A validation that died may have told lines that the next one did not come to. */
static void cut_lines(struct ps_store_session *sql, int64_t base)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_TOTAL);
    ps_put_int(&query, base);
    int64_t total = ps_query_value(&query, 0);
    ps_query_begin(&query, sql, PS_SQL_PURGE_LINES);
    ps_put_int(&query, ps_sql_key_of(base, (uint64_t)total));
    ps_put_int(&query, ps_sql_key_of(base + 1, 0) - 1);
    (void)ps_query_run(&query);
}

enum ps_store_status ps_sql_batch_start(struct ps_store_session *sql, const struct ps_store_in *in,
                                        struct ps_store_out *out)
{
    struct ps_sql_batch batch;
    struct ps_query query;

    if (!ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    bool starts = in_validation(&batch);
    if (starts) {
        cut_lines(sql, batch.base);
        ps_query_begin(&query, sql, PS_SQL_BATCH_START);
        ps_put_int(&query, batch.base);
        ps_put_text(&query, in->batch.model);
        ps_put_int(&query, in->now_ms);
        (void)ps_query_run(&query);
        (void)ps_sql_end_batch(sql, batch.base, in->now_ms);
    }
    ps_sql_show_batch(sql, out, &in->id);
    return starts ? PS_STORE_OK : PS_STORE_CONFLICT;
}

/* A webhook of the batch, if it has one. What `in` tells of is an end that the batch may have
 * escaped: cancelled meanwhile, it says so, and whoever delivers makes the payload. */
static void enqueue_hook(struct ps_store_session *sql, const struct ps_store_in *in,
                         const struct ps_store_out *out, bool cancelled)
{
    if (out->batch_count > 0 && in->hook_payload.len > 0) {
        ps_sql_add_hook(sql, &in->id, out->batches[0].webhook,
                        cancelled ? PS_SLICE_LIT("batch.cancelled") : in->hook_type,
                        cancelled ? PS_SLICE_NONE : in->hook_payload, in->now_ms);
    }
}

/* Its lines go; so does its input, when nothing else needs it. */
static void let_go(struct ps_store_session *sql, const struct ps_sql_batch *batch)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_PURGE_ADD);
    ps_put_int(&query, batch->base);
    (void)ps_query_run(&query);
    ps_sql_drop_blob(sql, &batch->input);
}

enum ps_store_status ps_sql_batch_fail(struct ps_store_session *sql, const struct ps_store_in *in,
                                       struct ps_store_out *out)
{
    struct ps_sql_batch batch;
    struct ps_query query;

    if (!ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    if (!in_validation(&batch)) {
        ps_sql_show_batch(sql, out, &in->id);
        return PS_STORE_CONFLICT;
    }
    bool cancelled = batch.status == PS_BATCH_CANCELLING;
    ps_query_begin(&query, sql, PS_SQL_BATCH_FAIL);
    ps_put_int(&query, batch.base);
    ps_put_int(&query, cancelled ? PS_BATCH_CANCELLED : PS_BATCH_FAILED);
    ps_put_int(&query, cancelled ? 0 : in->now_ms);
    ps_put_int(&query, cancelled ? in->now_ms : 0);
    (void)ps_query_run(&query);
    ps_query_begin(&query, sql, PS_SQL_BATCH_ERRORS);
    ps_put_int(&query, batch.base);
    ps_put_text(&query, in->batch.errors);
    (void)ps_query_run(&query);
    let_go(sql, &batch);
    ps_sql_show_batch(sql, out, &in->id);
    enqueue_hook(sql, in, out, cancelled);
    return PS_STORE_OK;
}

/* ---- the end ---- */

enum ps_store_status ps_sql_batch_finish(struct ps_store_session *sql, const struct ps_store_in *in,
                                         struct ps_store_out *out)
{
    struct ps_sql_batch batch;
    struct ps_query query;

    if (!ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    if (!batch.ended || ps_sql_batch_is_over(batch.status)) {
        ps_sql_show_batch(sql, out, &in->id);
        return PS_STORE_CONFLICT;
    }
    for (size_t i = 0; i < in->file_count; i++) {
        ps_sql_insert_file(sql, &in->files[i], batch.tenant);
    }
    ps_query_begin(&query, sql, PS_SQL_BATCH_FINISH);
    ps_put_int(&query, batch.base);
    ps_put_id(&query, &in->batch.output_file);
    ps_put_id(&query, &in->batch.error_file);
    ps_put_int(&query, in->now_ms);
    (void)ps_query_run(&query);
    let_go(sql, &batch);
    ps_sql_show_batch(sql, out, &in->id);
    enqueue_hook(sql, in, out, false);
    return PS_STORE_OK;
}

/* ---- outcomes ---- */

#define PAGE_ROWS  1000
#define PAGE_BYTES ((size_t)4 << 20) /* of the bodies of one page */

static void read_outcome(struct ps_query *query, enum ps_job_status rest,
                         struct ps_store_outcome *outcome)
{
    outcome->line = (uint64_t)ps_get_int(query) & (PS_SQL_LINES_MAX - 1);
    outcome->custom_id = ps_get_text(query);
    outcome->status = (enum ps_job_status)ps_get_int(query);
    if (outcome->status == PS_JOB_QUEUED || outcome->status == PS_JOB_RUNNING) {
        outcome->status = rest;
    }
    outcome->http_status = (int)ps_get_int(query);
    outcome->request_id = ps_get_text(query);
    ps_get_body(query, &outcome->body);
    outcome->error = ps_get_text(query);
}

/* What a line is that never ran. */
static enum ps_job_status rest_of(struct ps_store_session *sql, int64_t base)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_BECOMES);
    ps_put_int(&query, base);
    int64_t becomes = ps_query_value(&query, PS_BATCH_CANCELLED);
    return becomes == PS_BATCH_EXPIRED ? PS_JOB_EXPIRED : PS_JOB_CANCELLED;
}

enum ps_store_status ps_sql_outcomes(struct ps_store_session *sql, const struct ps_store_in *in,
                                     struct ps_store_out *out)
{
    uint32_t limit = in->limit > 0 && in->limit < PAGE_ROWS ? in->limit : PAGE_ROWS;
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_outcome);
    struct ps_sql_batch batch;
    struct ps_query query;
    size_t bytes = 0;

    if (!ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    if (ps_sql_batch_is_over(batch.status)) {
        return PS_STORE_CONFLICT;
    }
    if (in->after_line >= PS_SQL_LINES_MAX) {
        return PS_STORE_OK;
    }
    enum ps_job_status rest = rest_of(sql, batch.base);
    ps_query_begin(&query, sql, PS_SQL_OUTCOMES);
    ps_put_int(&query, ps_sql_key_of(batch.base, in->after_line));
    ps_put_int(&query, ps_sql_key_of(batch.base + 1, 0));
    ps_put_int(&query, batch.ended ? PS_JOB_QUEUED : PS_JOB_COMPLETED);
    ps_put_int(&query, (int64_t)limit + 1);
    while (ps_query_row(&query)) {
        if (rows.count == limit || bytes > PAGE_BYTES) {
            out->more = true;
            break;
        }
        struct ps_store_outcome *outcome = ps_rows_add(&rows);
        if (outcome == NULL) {
            break;
        }
        read_outcome(&query, rest, outcome);
        bytes += outcome->body.bytes.len;
    }
    ps_query_end(&query);
    out->outcomes = rows.ptr;
    out->outcome_count = rows.count;
    return PS_STORE_OK;
}
