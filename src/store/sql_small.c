/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

/* Idempotency keys, small objects, counts. */

#define KEY_LIFE_MS ((int64_t)24 * 3600 * 1000)

/* ---- idempotency keys ---- */

/* A key whose row has been deleted is as good as none. */
static bool row_exists(struct ps_store_session *sql, const char *kind, const struct ps_id *id)
{
    struct ps_query query;

    ps_query_begin(&query, sql,
                   strcmp(kind, PS_SQL_OF_JOBS) == 0 ? PS_SQL_JOB_EXISTS : PS_SQL_BATCH_EXISTS);
    ps_put_id(&query, id);
    return ps_query_value(&query, 0) != 0;
}

enum ps_sql_repeat ps_sql_look_up_key(struct ps_store_session *sql, const char *kind,
                                      struct ps_slice tenant,
                                      const struct ps_store_idempotency *idempotency,
                                      int64_t now_ms, struct ps_id *ret_id)
{
    struct ps_query query;

    if (idempotency->key.len == 0) {
        return PS_SQL_NEW;
    }
    ps_query_begin(&query, sql, PS_SQL_KEY_GET);
    ps_put_text(&query, tenant);
    ps_put_text(&query, ps_slice_cstr(kind));
    ps_put_text(&query, idempotency->key);
    bool found = ps_query_row(&query);
    bool same = false;
    bool over = false;
    if (found) {
        struct ps_slice hash = ps_get_text(&query);
        same =
            ps_slice_eq(hash, ps_slice((const char *)idempotency->hash, sizeof(idempotency->hash)));
        ps_get_id(&query, ret_id);
        over = ps_get_int(&query) <= now_ms;
    }
    ps_query_end(&query);
    if (!found || over || !row_exists(sql, kind, ret_id)) {
        return PS_SQL_NEW;
    }
    return same ? PS_SQL_REPEATED : PS_SQL_REUSED;
}

void ps_sql_keep_key(struct ps_store_session *sql, const char *kind, struct ps_slice tenant,
                     const struct ps_store_idempotency *idempotency, int64_t now_ms,
                     const struct ps_id *id)
{
    struct ps_query query;

    if (idempotency->key.len == 0) {
        return;
    }
    ps_query_begin(&query, sql, PS_SQL_KEY_PUT);
    ps_put_text(&query, tenant);
    ps_put_text(&query, ps_slice_cstr(kind));
    ps_put_text(&query, idempotency->key);
    ps_put_bytes(&query, idempotency->hash, sizeof(idempotency->hash));
    ps_put_id(&query, id);
    ps_put_int(&query, now_ms + KEY_LIFE_MS);
    (void)ps_query_run(&query);
}

/* ---- objects ---- */

enum ps_store_status ps_sql_object_put(struct ps_store_session *sql, const struct ps_store_in *in,
                                       struct ps_store_out *out)
{
    struct ps_query query;

    (void)out;
    ps_query_begin(&query, sql, PS_SQL_OBJECT_PUT);
    ps_put_text(&query, in->object.tenant);
    ps_put_text(&query, in->object.kind);
    ps_put_id(&query, &in->object.id);
    ps_put_int(&query, in->object.created_ms);
    ps_put_int(&query, in->object.expires_ms);
    ps_put_bytes(&query, in->object.value.ptr, in->object.value.len);
    (void)ps_query_run(&query);
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_object_get(struct ps_store_session *sql, const struct ps_store_in *in,
                                       struct ps_store_out *out)
{
    struct ps_store_object *object = &out->object;
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_OBJECT_GET);
    ps_put_text(&query, in->tenant);
    ps_put_text(&query, in->object.kind);
    ps_put_id(&query, &in->object.id);
    bool found = ps_query_row(&query);
    if (found) {
        object->kind = in->object.kind;
        object->tenant = in->tenant;
        object->id = in->object.id;
        object->created_ms = ps_get_int(&query);
        object->expires_ms = ps_get_int(&query);
        found = object->expires_ms == 0 || in->now_ms == 0 || object->expires_ms > in->now_ms;
    }
    if (found) {
        object->value = ps_get_text(&query);
    }
    ps_query_end(&query);
    return found ? PS_STORE_OK : PS_STORE_NOT_FOUND;
}

enum ps_store_status ps_sql_object_delete(struct ps_store_session *sql,
                                          const struct ps_store_in *in, struct ps_store_out *out)
{
    struct ps_query query;

    (void)out;
    ps_query_begin(&query, sql, PS_SQL_OBJECT_DELETE);
    ps_put_text(&query, in->tenant);
    ps_put_text(&query, in->object.kind);
    ps_put_id(&query, &in->object.id);
    return ps_query_run(&query) > 0 ? PS_STORE_OK : PS_STORE_NOT_FOUND;
}

/* ---- counts ---- */

static void count_by_status(struct ps_store_session *sql, enum ps_sql_name name, uint64_t *ret,
                            int64_t statuses)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    while (ps_query_row(&query)) {
        int64_t status = ps_get_int(&query);
        if (status >= 0 && status < statuses) {
            ret[status] = ps_get_count(&query);
        }
    }
    ps_query_end(&query);
}

static void count_pair(struct ps_store_session *sql, enum ps_sql_name name, uint64_t *ret_first,
                       uint64_t *ret_second)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    if (ps_query_row(&query)) {
        *ret_first = ps_get_count(&query);
        *ret_second = ps_get_count(&query);
    }
    ps_query_end(&query);
}

enum ps_store_status ps_sql_count(struct ps_store_session *sql, const struct ps_store_in *in,
                                  struct ps_store_out *out)
{
    struct ps_store_counts *counts = &out->counts;
    struct ps_query query;

    (void)in;
    count_by_status(sql, PS_SQL_COUNT_JOBS, counts->jobs, PS_JOB_STATUS_COUNT);
    count_by_status(sql, PS_SQL_COUNT_BATCHES, counts->batches, PS_BATCH_STATUS_COUNT);
    count_pair(sql, PS_SQL_COUNT_LINES, &counts->lines_waiting, &counts->lines_running);
    count_pair(sql, PS_SQL_COUNT_FILES, &counts->files, &counts->file_bytes);
    ps_query_begin(&query, sql, PS_SQL_COUNT_HOOKS);
    counts->hooks = (uint64_t)ps_query_value(&query, 0);
    ps_query_begin(&query, sql, PS_SQL_OLDEST_JOB);
    int64_t job = ps_query_value(&query, INT64_MAX);
    ps_query_begin(&query, sql, PS_SQL_OLDEST_BATCH);
    int64_t batch = ps_query_value(&query, INT64_MAX);
    int64_t oldest = job < batch ? job : batch;
    counts->oldest_ready_ms = oldest == INT64_MAX ? 0 : oldest;
    return PS_STORE_OK;
}
