/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#define PAGE_MAX 10000

static void read_file(struct ps_query *query, void *row)
{
    struct ps_store_file *file = row;

    ps_get_id(query, &file->id);
    file->tenant = ps_get_text(query);
    file->purpose = ps_get_text(query);
    file->filename = ps_get_text(query);
    file->bytes = ps_get_count(query);
    file->created_ms = ps_get_int(query);
    file->expires_ms = ps_get_int(query);
    ps_get_blob(query, &file->blob);
}

void ps_sql_insert_file(struct ps_store_session *sql, const struct ps_store_file *file,
                        struct ps_slice tenant)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_FILE_ADD);
    ps_put_id(&query, &file->id);
    ps_put_text(&query, tenant);
    ps_put_text(&query, file->purpose);
    ps_put_text(&query, file->filename);
    ps_put_count(&query, file->bytes);
    ps_put_int(&query, file->created_ms);
    ps_put_int(&query, file->expires_ms);
    ps_put_blob(&query, &file->blob);
    (void)ps_query_run(&query);
}

bool ps_sql_remove_file(struct ps_store_session *sql, const struct ps_id *id)
{
    struct ps_blob_name blob = {""};
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_FILE_BLOB);
    ps_put_id(&query, id);
    bool found = ps_query_row(&query);
    if (found) {
        ps_get_blob(&query, &blob);
    }
    ps_query_end(&query);
    if (found) {
        ps_query_begin(&query, sql, PS_SQL_FILE_DELETE);
        ps_put_id(&query, id);
        (void)ps_query_run(&query);
        ps_sql_drop_blob(sql, &blob);
    }
    return found;
}

/* → out.files[0] */
static bool show(struct ps_store_session *sql, const struct ps_store_in *in,
                 struct ps_store_out *out)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_file);
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_FILE_GET);
    ps_put_id(&query, &in->id);
    ps_put_text(&query, in->tenant);
    if (ps_query_row(&query)) {
        struct ps_store_file *file = ps_rows_add(&rows);
        if (file != NULL) {
            read_file(&query, file);
        }
    }
    ps_query_end(&query);
    out->files = rows.ptr;
    out->file_count = rows.count;
    return rows.count > 0;
}

enum ps_store_status ps_sql_file_add(struct ps_store_session *sql, const struct ps_store_in *in,
                                     struct ps_store_out *out)
{
    ps_sql_insert_file(sql, &in->file, in->file.tenant);
    out->files = &in->file;
    out->file_count = 1;
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_file_get(struct ps_store_session *sql, const struct ps_store_in *in,
                                     struct ps_store_out *out)
{
    return show(sql, in, out) ? PS_STORE_OK : PS_STORE_NOT_FOUND;
}

enum ps_store_status ps_sql_file_list(struct ps_store_session *sql, const struct ps_store_in *in,
                                      struct ps_store_out *out)
{
    struct ps_page page = ps_sql_page(&in->list, PAGE_MAX);
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_file);
    bool all = in->list.purpose.len == 0;
    struct ps_query query;

    if (ps_slice_eq_cstr(in->list.purpose, PS_STORE_UNLISTED)) {
        return PS_STORE_OK;
    }
    if (all) {
        ps_query_begin(&query, sql, page.ascending ? PS_SQL_FILE_UP : PS_SQL_FILE_DOWN);
    } else {
        ps_query_begin(&query, sql,
                       page.ascending ? PS_SQL_FILE_PURPOSE_UP : PS_SQL_FILE_PURPOSE_DOWN);
    }
    ps_put_text(&query, in->tenant);
    if (!all) {
        ps_put_text(&query, in->list.purpose);
    }
    out->more = ps_sql_read_page(&query, &page, &rows, read_file);
    out->files = rows.ptr;
    out->file_count = rows.count;
    return PS_STORE_OK;
}

enum ps_store_status ps_sql_file_delete(struct ps_store_session *sql, const struct ps_store_in *in,
                                        struct ps_store_out *out)
{
    if (!show(sql, in, out)) {
        return PS_STORE_NOT_FOUND;
    }
    (void)ps_sql_remove_file(sql, &in->id);
    return PS_STORE_OK;
}
