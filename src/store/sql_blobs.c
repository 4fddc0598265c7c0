/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_priv.h"
#include "sql_priv.h"

#include "penstock/base/mem.h"

/*
 * Which blobs go. A row goes first, in a transaction; its blob only when that is on disk, so that
 * there is never a row without its blob. A crash between the two leaves an orphan: a blob that no
 * row names. Those are swept when they are an hour old; younger ones may still get their row.
 */
#define ORPHAN_MS ((int64_t)3600 * 1000)
#define DROPS_MAX ((size_t)65536)

static bool is_used(struct ps_store_session *sql, const struct ps_blob_name *name)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BLOB_USED);
    ps_put_blob(&query, name);
    return ps_query_value(&query, 1) != 0;
}

void ps_sql_drop_blob(struct ps_store_session *sql, const struct ps_blob_name *name)
{
    if (name->text[0] == '\0' || is_used(sql, name)) {
        return;
    }
    if (sql->dropped_count == DROPS_MAX) {
        return; /* an orphan then */
    }
    if (sql->dropped_count == sql->dropped_room) {
        size_t room = sql->dropped_room > 0 ? 2 * sql->dropped_room : 16;
        struct ps_blob_name *more = ps_realloc(sql->dropped, room * sizeof(*more));
        if (more == NULL) {
            sql->no_memory = true;
            return;
        }
        sql->dropped = more;
        sql->dropped_room = room;
    }
    sql->dropped[sql->dropped_count++] = *name;
}

void ps_sql_remove_dropped(struct ps_store_session *sql)
{
    for (size_t i = 0; i < sql->dropped_count; i++) {
        ps_blob_remove(sql->blobs, &sql->dropped[i]);
    }
    sql->dropped_count = 0;
}

static void look_at(void *arg, const struct ps_blob_name *name)
{
    struct ps_store_session *sql = arg;

    if (!is_used(sql, name) && ps_sql_ok(sql)) {
        ps_blob_remove(sql->blobs, name);
    }
}

void ps_sql_start_sweep(struct ps_store_session *sql, int64_t now_ms)
{
    sql->bucket = 0;
    sql->sweep_ms = now_ms;
}

bool ps_sql_sweep_blobs(struct ps_store_session *sql)
{
    if (sql->bucket >= PS_BLOB_BUCKETS) {
        return false;
    }
    /* A folder that cannot be read is left for the next sweep. */
    if (ps_blobs_walk(sql->blobs, sql->bucket, sql->sweep_ms - ORPHAN_MS, look_at, sql) != 0) {
        sql->bucket = PS_BLOB_BUCKETS;
        return false;
    }
    sql->bucket++;
    return true;
}
