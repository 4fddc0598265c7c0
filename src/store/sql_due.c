/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#include "penstock/base/mem.h"

/* What happens because time goes by, or because a process died. All of it in slices. */

#define DUE_BATCHES 256 /* shown by one DUE */

struct slice {
    int64_t rows[PS_SQL_SLICE];
    size_t count;
};

/* Row numbers that `name` finds up to `until`. */
static void find_rows(struct ps_store_session *sql, enum ps_sql_name name, int64_t until,
                      struct slice *ret)
{
    struct ps_query query;

    ret->count = 0;
    ps_query_begin(&query, sql, name);
    ps_put_int(&query, until);
    ps_put_int(&query, PS_SQL_SLICE);
    while (ret->count < PS_SQL_SLICE && ps_query_row(&query)) {
        ret->rows[ret->count++] = ps_get_int(&query);
    }
    ps_query_end(&query);
}

static void run_on(struct ps_store_session *sql, enum ps_sql_name name, int64_t row)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    ps_put_int(&query, row);
    (void)ps_query_run(&query);
}

bool ps_sql_return_claims(struct ps_store_session *sql, int64_t until_ms, int64_t now_ms)
{
    struct slice slice;

    find_rows(sql, PS_SQL_JOB_LOST, until_ms, &slice);
    for (size_t i = 0; i < slice.count; i++) {
        run_on(sql, PS_SQL_JOB_RETURN, slice.rows[i]);
    }
    bool more = slice.count == PS_SQL_SLICE;
    find_rows(sql, PS_SQL_LINE_LOST, until_ms, &slice);
    for (size_t i = 0; i < slice.count; i++) {
        int64_t base = ps_sql_base_of(slice.rows[i]);
        run_on(sql, PS_SQL_LINE_RETURN, slice.rows[i]);
        ps_sql_batch_back(sql, base, 0);
        (void)ps_sql_end_batch(sql, base, now_ms);
    }
    return more || slice.count == PS_SQL_SLICE;
}

static bool expire_jobs(struct ps_store_session *sql, int64_t now_ms)
{
    struct slice slice;

    find_rows(sql, PS_SQL_JOB_EXPIRED, now_ms, &slice);
    for (size_t i = 0; i < slice.count; i++) {
        ps_sql_expire_job(sql, slice.rows[i], now_ms);
    }
    return slice.count == PS_SQL_SLICE;
}

static bool expire_batches(struct ps_store_session *sql, int64_t now_ms)
{
    struct ps_query query;
    struct slice slice;

    find_rows(sql, PS_SQL_BATCH_EXPIRED, now_ms, &slice);
    for (size_t i = 0; i < slice.count; i++) {
        ps_query_begin(&query, sql, PS_SQL_BATCH_EXPIRE);
        ps_put_int(&query, slice.rows[i]);
        ps_put_int(&query, PS_BATCH_EXPIRED);
        (void)ps_query_run(&query);
        (void)ps_sql_end_batch(sql, slice.rows[i], now_ms);
    }
    return slice.count == PS_SQL_SLICE;
}

static bool list_due(struct ps_store_session *sql, struct ps_store_out *out)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_batch);
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_DUE);
    ps_put_int(&query, DUE_BATCHES);
    while (ps_query_row(&query)) {
        struct ps_store_batch *batch = ps_rows_add(&rows);
        if (batch == NULL) {
            break;
        }
        ps_sql_read_batch(&query, batch);
    }
    ps_query_end(&query);
    out->batches = rows.ptr;
    out->batch_count = rows.count;
    return rows.count == DUE_BATCHES;
}

enum ps_store_status ps_sql_due(struct ps_store_session *sql, const struct ps_store_in *in,
                                struct ps_store_out *out)
{
    bool claims = ps_sql_return_claims(sql, in->now_ms, in->now_ms);
    bool jobs = expire_jobs(sql, in->now_ms);
    bool batches = expire_batches(sql, in->now_ms);
    bool shown = list_due(sql, out);

    out->more = claims || jobs || batches || shown;
    out->next_ms = ps_sql_next_ready(sql, in->now_ms - 1);
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_recover(struct ps_store_session *sql, const struct ps_store_in *in,
                                    struct ps_store_out *out)
{
    struct ps_query query;

    (void)out;
    /* As many as were in flight. */
    while (ps_sql_ok(sql) && ps_sql_return_claims(sql, INT64_MAX, in->now_ms)) {
    }
    (void)ps_sql_run(sql, PS_SQL_BATCH_RESTART);
    ps_query_begin(&query, sql, PS_SQL_HOOK_RETURN);
    ps_put_int(&query, in->now_ms);
    (void)ps_query_run(&query);
    ps_sql_start_sweep(sql, in->now_ms);
    return PS_STORE_OK;
}

/* ---- what has become old ---- */

static void drop_body(struct ps_store_session *sql, enum ps_sql_name name, int64_t num)
{
    struct ps_blob_name blob = {""};
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    ps_put_int(&query, num);
    while (ps_query_row(&query)) {
        ps_get_blob(&query, &blob);
    }
    ps_query_end(&query);
    ps_sql_drop_blob(sql, &blob);
}

static bool sweep_jobs(struct ps_store_session *sql, int64_t until_ms)
{
    struct slice slice;

    find_rows(sql, PS_SQL_JOB_OLD, until_ms, &slice);
    for (size_t i = 0; i < slice.count; i++) {
        drop_body(sql, PS_SQL_JOB_REQUEST_DELETE, slice.rows[i]);
        drop_body(sql, PS_SQL_JOB_RESULT_DELETE, slice.rows[i]);
        run_on(sql, PS_SQL_JOB_DELETE, slice.rows[i]);
    }
    return slice.count == PS_SQL_SLICE;
}

static bool sweep_files(struct ps_store_session *sql, int64_t now_ms)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_id);
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_FILE_EXPIRED);
    ps_put_int(&query, now_ms);
    ps_put_int(&query, PS_SQL_SLICE);
    while (ps_query_row(&query)) {
        struct ps_id *id = ps_rows_add(&rows);
        if (id == NULL) {
            break;
        }
        ps_get_id(&query, id);
    }
    ps_query_end(&query);
    const struct ps_id *ids = rows.ptr;
    for (size_t i = 0; i < rows.count; i++) {
        (void)ps_sql_remove_file(sql, &ids[i]);
    }
    return rows.count == PS_SQL_SLICE;
}

static bool sweep_rows(struct ps_store_session *sql, enum ps_sql_name name, int64_t now_ms)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    ps_put_int(&query, now_ms);
    ps_put_int(&query, PS_SQL_SLICE);
    return ps_query_run(&query) == PS_SQL_SLICE;
}

enum ps_store_status ps_sql_sweep(struct ps_store_session *sql, const struct ps_store_in *in,
                                  struct ps_store_out *out)
{
    bool files = sweep_files(sql, in->now_ms);
    bool jobs = in->keep_ms > 0 && sweep_jobs(sql, in->now_ms - in->keep_ms);
    bool batches =
        in->keep_ms > 0 && ps_sql_sweep_batches(sql, in->now_ms - in->keep_ms, in->now_ms);
    bool keys = sweep_rows(sql, PS_SQL_KEY_SWEEP, in->now_ms);
    bool objects = sweep_rows(sql, PS_SQL_OBJECT_SWEEP, in->now_ms);

    out->more = files || jobs || batches || keys || objects;
    if (!out->more) {
        ps_sql_start_sweep(sql, in->now_ms);
    }
    return PS_STORE_OK;
}
