/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#define PAGE_MAX 1000

static void read_job(struct ps_query *query, void *row)
{
    struct ps_store_job *job = row;

    ps_get_id(query, &job->id);
    job->tenant = ps_get_text(query);
    job->key = ps_get_text(query);
    job->endpoint = ps_get_text(query);
    job->status = (enum ps_job_status)ps_get_int(query);
    job->priority = (int)ps_get_int(query);
    job->attempts = (unsigned)ps_get_int(query);
    job->created_ms = ps_get_int(query);
    job->started_ms = ps_get_int(query);
    job->ended_ms = ps_get_int(query);
    job->expires_ms = ps_get_int(query);
    job->webhook = ps_get_text(query);
    job->http_status = (int)ps_get_int(query);
    job->request_id = ps_get_text(query);
    job->error = ps_get_text(query);
}

static void read_body(struct ps_store_session *sql, enum ps_sql_name name, int64_t num,
                      struct ps_store_body *ret)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    ps_put_int(&query, num);
    if (ps_query_row(&query)) {
        ps_get_body(&query, ret);
    }
    ps_query_end(&query);
}

static int64_t find_num(struct ps_store_session *sql, const struct ps_id *id)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_JOB_NUM);
    ps_put_id(&query, id);
    return ps_query_value(&query, 0);
}

bool ps_sql_show_job(struct ps_store_session *sql, struct ps_store_out *out, struct ps_slice tenant,
                     const struct ps_id *id)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_job);
    struct ps_store_job *job = NULL;
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_JOB_GET);
    ps_put_id(&query, id);
    ps_put_text(&query, tenant);
    if (ps_query_row(&query)) {
        job = ps_rows_add(&rows);
        if (job != NULL) {
            read_job(&query, job);
        }
    }
    ps_query_end(&query);
    if (job != NULL) {
        int64_t num = find_num(sql, id);
        read_body(sql, PS_SQL_JOB_REQUEST_GET, num, &job->request);
        read_body(sql, PS_SQL_JOB_RESULT_GET, num, &job->result);
    }
    out->jobs = rows.ptr;
    out->job_count = rows.count;
    return rows.count > 0;
}

static void insert(struct ps_store_session *sql, const struct ps_store_job *job)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_JOB_ADD);
    ps_put_id(&query, &job->id);
    ps_put_text(&query, job->tenant);
    ps_put_text(&query, job->key);
    ps_put_text(&query, job->endpoint);
    ps_put_int(&query, ps_sql_priority(job->priority));
    ps_put_int(&query, job->created_ms);
    ps_put_int(&query, job->expires_ms);
    ps_put_int(&query, job->created_ms); /* first come, first served */
    ps_put_text(&query, job->webhook);
    (void)ps_query_run(&query);
    ps_query_begin(&query, sql, PS_SQL_JOB_REQUEST);
    ps_put_id(&query, &job->id);
    ps_put_body(&query, &job->request);
    (void)ps_query_run(&query);
}

enum ps_store_status ps_sql_job_add(struct ps_store_session *sql, const struct ps_store_in *in,
                                    struct ps_store_out *out)
{
    const struct ps_store_job *job = &in->job;
    struct ps_id earlier;

    enum ps_sql_repeat repeat = ps_sql_look_up_key(sql, PS_SQL_OF_JOBS, job->tenant,
                                                   &in->idempotency, job->created_ms, &earlier);
    if (repeat == PS_SQL_REPEATED) {
        (void)ps_sql_show_job(sql, out, job->tenant, &earlier);
        return PS_STORE_REPEATED;
    }
    if (repeat == PS_SQL_REUSED) {
        return PS_STORE_REUSED;
    }
    insert(sql, job);
    ps_sql_keep_key(sql, PS_SQL_OF_JOBS, job->tenant, &in->idempotency, job->created_ms, &job->id);
    (void)ps_sql_show_job(sql, out, job->tenant, &job->id);
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_job_get(struct ps_store_session *sql, const struct ps_store_in *in,
                                    struct ps_store_out *out)
{
    return ps_sql_show_job(sql, out, in->tenant, &in->id) ? PS_STORE_OK : PS_STORE_NOT_FOUND;
}

enum ps_store_status ps_sql_job_list(struct ps_store_session *sql, const struct ps_store_in *in,
                                     struct ps_store_out *out)
{
    struct ps_page page = ps_sql_page(&in->list, PAGE_MAX);
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_job);
    struct ps_query query;

    if (in->list.by_status) {
        ps_query_begin(&query, sql, page.ascending ? PS_SQL_JOB_STATUS_UP : PS_SQL_JOB_STATUS_DOWN);
    } else {
        ps_query_begin(&query, sql, page.ascending ? PS_SQL_JOB_UP : PS_SQL_JOB_DOWN);
    }
    ps_put_text(&query, in->tenant);
    if (in->list.by_status) {
        ps_put_int(&query, in->list.status);
    }
    out->more = ps_sql_read_page(&query, &page, &rows, read_job);
    out->jobs = rows.ptr;
    out->job_count = rows.count;
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_job_cancel(struct ps_store_session *sql, const struct ps_store_in *in,
                                       struct ps_store_out *out)
{
    struct ps_query query;

    if (!ps_sql_show_job(sql, out, in->tenant, &in->id) || out->jobs == NULL) {
        return PS_STORE_NOT_FOUND;
    }
    enum ps_job_status status = out->jobs[0].status;
    if (status != PS_JOB_QUEUED && status != PS_JOB_RUNNING) {
        return PS_STORE_CONFLICT;
    }
    int64_t num = find_num(sql, &in->id);
    ps_query_begin(&query, sql, PS_SQL_JOB_CANCEL);
    ps_put_int(&query, num);
    ps_put_int(&query, in->now_ms);
    (void)ps_query_run(&query);
    (void)ps_sql_show_job(sql, out, in->tenant, &in->id);
    if (out->job_count > 0 && in->hook_payload.len > 0) {
        ps_sql_add_hook(sql, &in->id, out->jobs[0].webhook, in->hook_type, in->hook_payload,
                        in->now_ms);
    }
    return PS_STORE_OK;
}

void ps_sql_expire_job(struct ps_store_session *sql, int64_t num, int64_t now_ms)
{
    struct ps_slice webhook = PS_SLICE_NONE;
    struct ps_id id = {""};
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_JOB_EXPIRE);
    ps_put_int(&query, num);
    ps_put_int(&query, now_ms);
    (void)ps_query_run(&query);
    ps_query_begin(&query, sql, PS_SQL_JOB_HOOK);
    ps_put_int(&query, num);
    if (ps_query_row(&query)) {
        ps_get_id(&query, &id);
        webhook = ps_get_text(&query);
    }
    ps_query_end(&query);
    /* The payload is made by whoever delivers it: nobody else is there to make it. */
    ps_sql_add_hook(sql, &id, webhook, PS_SLICE_LIT("job.expired"), PS_SLICE_NONE, now_ms);
}
