/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

/*
 * What becomes of work that was handed out: settled, put back, or kept for longer. A claim is good
 * while its row is running under the same fence; a job's and a line's differ in their statements
 * only.
 */

enum kind {
    JOB,
    LINE
};

struct work {
    enum kind kind;
    int64_t row;  /* job.num or line.key; 0: there is none */
    int64_t base; /* of a line's batch */
    struct ps_slice webhook;
};

static void find_work(struct ps_store_session *sql, const struct ps_id *id, int64_t line,
                      struct work *ret)
{
    struct ps_query query;

    *ret = (struct work){.kind = line < 0 ? JOB : LINE};
    ps_query_begin(&query, sql, ret->kind == JOB ? PS_SQL_JOB_NUM : PS_SQL_BATCH_BASE);
    ps_put_id(&query, id);
    if (ps_query_row(&query)) {
        ret->row = ps_get_int(&query);
        if (ret->kind == JOB) {
            ret->webhook = ps_get_text(&query);
        }
    }
    ps_query_end(&query);
    if (ret->kind == LINE && ret->row != 0) {
        ret->base = ret->row;
        ret->row = (uint64_t)line < PS_SQL_LINES_MAX ? ps_sql_key_of(ret->base, (uint64_t)line) : 0;
    }
}

/* ---- renew ---- */

static bool renew_one(struct ps_store_session *sql, const struct ps_store_in *in,
                      const struct ps_store_ref *ref)
{
    struct ps_query query;
    struct work work;

    find_work(sql, &ref->id, ref->line, &work);
    ps_query_begin(&query, sql, work.kind == JOB ? PS_SQL_JOB_RENEW : PS_SQL_LINE_RENEW);
    ps_put_int(&query, work.row);
    ps_put_count(&query, ref->fence);
    ps_put_int(&query, in->now_ms + in->lease_ms);
    return ps_query_run(&query) > 0;
}

enum ps_store_status ps_sql_renew(struct ps_store_session *sql, const struct ps_store_in *in,
                                  struct ps_store_out *out)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_ref);

    for (size_t i = 0; i < in->ref_count && ps_sql_ok(sql); i++) {
        if (!renew_one(sql, in, &in->refs[i])) {
            struct ps_store_ref *stale = ps_rows_add(&rows);
            if (stale != NULL) {
                *stale = in->refs[i];
            }
        }
    }
    out->stale = rows.ptr;
    out->stale_count = rows.count;
    return PS_STORE_OK;
}

/* ---- settle ---- */

static bool settle_row(struct ps_store_session *sql, const struct work *work,
                       const struct ps_store_in *in)
{
    struct ps_query query;

    ps_query_begin(&query, sql, work->kind == JOB ? PS_SQL_JOB_SETTLE : PS_SQL_LINE_SETTLE);
    ps_put_int(&query, work->row);
    ps_put_count(&query, in->settlement.fence);
    ps_put_int(&query, in->settlement.status);
    if (work->kind == JOB) {
        ps_put_int(&query, in->now_ms);
    }
    return ps_query_run(&query) > 0;
}

static void insert_result(struct ps_store_session *sql, const struct work *work,
                          const struct ps_store_settlement *settlement)
{
    struct ps_query query;

    ps_query_begin(&query, sql, work->kind == JOB ? PS_SQL_JOB_RESULT : PS_SQL_LINE_RESULT);
    ps_put_int(&query, work->row);
    ps_put_int(&query, settlement->http_status);
    ps_put_text(&query, settlement->request_id);
    ps_put_body(&query, &settlement->body);
    ps_put_text(&query, settlement->error);
    (void)ps_query_run(&query);
}

static void count_line(struct ps_store_session *sql, int64_t base,
                       const struct ps_store_settlement *settlement)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_SETTLE);
    ps_put_int(&query, base);
    ps_put_int(&query, settlement->status);
    ps_put_count(&query, settlement->input_tokens);
    ps_put_count(&query, settlement->output_tokens);
    ps_put_count(&query, settlement->cached_tokens);
    ps_put_count(&query, settlement->reasoning_tokens);
    (void)ps_query_run(&query);
}

enum ps_store_status ps_sql_settle(struct ps_store_session *sql, const struct ps_store_in *in,
                                   struct ps_store_out *out)
{
    const struct ps_store_settlement *settlement = &in->settlement;
    struct work work;

    find_work(sql, &settlement->id, settlement->line, &work);
    if (!settle_row(sql, &work, in)) {
        /* Told twice, the row may name this very blob: then it stays. */
        ps_sql_drop_blob(sql, &settlement->body.blob);
        return PS_STORE_STALE;
    }
    insert_result(sql, &work, settlement);
    if (work.kind == LINE) {
        count_line(sql, work.base, settlement);
        out->finished = ps_sql_end_batch(sql, work.base, in->now_ms);
    } else if (in->hook_payload.len > 0) {
        ps_sql_add_hook(sql, &settlement->id, work.webhook, in->hook_type, in->hook_payload,
                        in->now_ms);
    }
    return PS_STORE_OK;
}

/* ---- defer ---- */

enum ps_store_status ps_sql_defer(struct ps_store_session *sql, const struct ps_store_in *in,
                                  struct ps_store_out *out)
{
    struct ps_query query;
    struct work work;

    find_work(sql, &in->ref.id, in->ref.line, &work);
    ps_query_begin(&query, sql, work.kind == JOB ? PS_SQL_JOB_DEFER : PS_SQL_LINE_DEFER);
    ps_put_int(&query, work.row);
    ps_put_count(&query, in->ref.fence);
    ps_put_int(&query, in->run_at_ms);
    ps_put_int(&query, in->counts ? 1 : 0);
    ps_put_text(&query, in->error);
    if (ps_query_run(&query) == 0) {
        return PS_STORE_STALE;
    }
    if (work.kind == LINE) {
        ps_sql_batch_back(sql, work.base, in->run_at_ms);
        out->finished = ps_sql_end_batch(sql, work.base, in->now_ms);
    }
    return PS_STORE_OK;
}
