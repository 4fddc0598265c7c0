/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

/* One statement from begin to end. See sql_priv.h for how errors stick. */

const char *const ps_sql_texts[] = {
#define X(name, text) text,
    PS_SQL_STATEMENTS(X)
#undef X
};

bool ps_sql_ok(const struct ps_store_session *sql)
{
    return sql->error == SQLITE_OK && !sql->constraint && !sql->no_memory;
}

static void note(struct ps_store_session *sql, int rc)
{
    if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) {
        return;
    }
    if ((rc & 0xff) == SQLITE_CONSTRAINT) {
        sql->constraint = true;
    } else if (sql->error == SQLITE_OK) {
        sql->error = sqlite3_extended_errcode(sql->db);
        if ((sql->error & 0xff) != (rc & 0xff)) {
            sql->error = rc;
        }
    }
}

void ps_query_begin(struct ps_query *query, struct ps_store_session *sql, enum ps_sql_name name)
{
    *query = (struct ps_query){.sql = sql};
    if (!ps_sql_ok(sql)) {
        return;
    }
    if (sql->statements[name] == NULL) {
        note(sql, sqlite3_prepare_v3(sql->db, ps_sql_texts[name], -1, SQLITE_PREPARE_PERSISTENT,
                                     &sql->statements[name], NULL));
    }
    query->stmt = sql->statements[name];
}

void ps_put_int(struct ps_query *query, int64_t value)
{
    if (query->stmt != NULL) {
        note(query->sql, sqlite3_bind_int64(query->stmt, ++query->put, value));
    }
}

/* SQLite counts to 2^63. */
void ps_put_count(struct ps_query *query, uint64_t value)
{
    ps_put_int(query, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

void ps_put_text(struct ps_query *query, struct ps_slice text)
{
    if (query->stmt != NULL) {
        note(query->sql,
             sqlite3_bind_text64(query->stmt, ++query->put, text.len > 0 ? text.ptr : "", text.len,
                                 SQLITE_STATIC, SQLITE_UTF8));
    }
}

void ps_put_bytes(struct ps_query *query, const void *ptr, size_t len)
{
    if (query->stmt != NULL) {
        note(query->sql, sqlite3_bind_blob64(query->stmt, ++query->put, len > 0 ? ptr : "", len,
                                             SQLITE_STATIC));
    }
}

static void put_null(struct ps_query *query)
{
    if (query->stmt != NULL) {
        note(query->sql, sqlite3_bind_null(query->stmt, ++query->put));
    }
}

void ps_put_id(struct ps_query *query, const struct ps_id *id)
{
    ps_put_text(query, ps_slice_cstr(id->text));
}

void ps_put_blob(struct ps_query *query, const struct ps_blob_name *name)
{
    if (name->text[0] == '\0') {
        put_null(query);
    } else {
        ps_put_text(query, ps_slice_cstr(name->text));
    }
}

void ps_put_body(struct ps_query *query, const struct ps_store_body *body)
{
    bool inside = body->blob.text[0] == '\0';

    if (inside && body->bytes.len > 0) {
        ps_put_bytes(query, body->bytes.ptr, body->bytes.len);
    } else {
        put_null(query);
    }
    ps_put_blob(query, &body->blob);
    ps_put_count(query, inside ? 0 : body->offset);
    ps_put_count(query, inside ? body->bytes.len : body->length);
}

bool ps_query_row(struct ps_query *query)
{
    if (query->stmt == NULL || !ps_sql_ok(query->sql)) {
        return false;
    }
    int rc = sqlite3_step(query->stmt);
    note(query->sql, rc);
    query->got = 0;
    return rc == SQLITE_ROW;
}

int64_t ps_get_int(struct ps_query *query)
{
    return sqlite3_column_int64(query->stmt, query->got++);
}

uint64_t ps_get_count(struct ps_query *query)
{
    int64_t value = ps_get_int(query);
    return value > 0 ? (uint64_t)value : 0;
}

/* The bytes of a column, valid until the next step. */
static struct ps_slice look(struct ps_query *query)
{
    int column = query->got++;
    const void *ptr = sqlite3_column_blob(query->stmt, column);
    int len = sqlite3_column_bytes(query->stmt, column);

    /* NULL with bytes to come: memory was short. */
    if (ptr == NULL && sqlite3_errcode(query->sql->db) == SQLITE_NOMEM) {
        note(query->sql, SQLITE_NOMEM);
        return PS_SLICE_NONE;
    }
    return ps_slice(ptr, ptr != NULL ? (size_t)len : 0);
}

struct ps_slice ps_get_text(struct ps_query *query)
{
    struct ps_slice text = look(query);

    if (text.len == 0) {
        return PS_SLICE_NONE;
    }
    text = ps_arena_copy(query->sql->arena, text);
    if (text.ptr == NULL) {
        query->sql->no_memory = true;
    }
    return text;
}

static void get_name(struct ps_query *query, char *ret, size_t size)
{
    struct ps_slice text = look(query);
    size_t len = text.len < size ? text.len : size - 1;

    memset(ret, 0, size);
    if (len > 0) {
        memcpy(ret, text.ptr, len);
    }
}

void ps_get_id(struct ps_query *query, struct ps_id *ret)
{
    get_name(query, ret->text, sizeof(ret->text));
}

void ps_get_blob(struct ps_query *query, struct ps_blob_name *ret)
{
    get_name(query, ret->text, sizeof(ret->text));
}

void ps_get_body(struct ps_query *query, struct ps_store_body *ret)
{
    ret->bytes = ps_get_text(query);
    ps_get_blob(query, &ret->blob);
    ret->offset = ps_get_count(query);
    ret->length = ps_get_count(query);
}

void ps_query_end(struct ps_query *query)
{
    if (query->stmt != NULL) {
        /* What it says was said by the step that failed. */
        (void)sqlite3_reset(query->stmt);
        (void)sqlite3_clear_bindings(query->stmt);
        query->stmt = NULL;
    }
}

int ps_query_run(struct ps_query *query)
{
    while (ps_query_row(query)) {
    }
    int changes = ps_sql_ok(query->sql) ? sqlite3_changes(query->sql->db) : 0;
    ps_query_end(query);
    return changes;
}

int64_t ps_query_value(struct ps_query *query, int64_t otherwise)
{
    if (ps_query_row(query) && sqlite3_column_type(query->stmt, 0) != SQLITE_NULL) {
        otherwise = ps_get_int(query);
    }
    ps_query_end(query);
    return otherwise;
}

int ps_sql_run(struct ps_store_session *sql, enum ps_sql_name name)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    return ps_query_run(&query);
}

/* ---- rows of an answer ---- */

void *ps_rows_add(struct ps_rows *rows)
{
    if (rows->count == rows->room) {
        size_t room = rows->room > 0 ? 2 * rows->room : 4;
        void *ptr = ps_arena_alloc(rows->sql->arena, room * rows->size);
        if (ptr == NULL) {
            rows->sql->no_memory = true;
            return NULL;
        }
        if (rows->count > 0) {
            memcpy(ptr, rows->ptr, rows->count * rows->size);
        }
        rows->ptr = ptr;
        rows->room = room;
    }
    void *row = (char *)rows->ptr + rows->count * rows->size;
    memset(row, 0, rows->size);
    rows->count++;
    return row;
}

void ps_rows_reverse(struct ps_rows *rows)
{
    char *first = rows->ptr;
    char *last = rows->count > 0 ? first + (rows->count - 1) * rows->size : first;

    for (; first < last; first += rows->size, last -= rows->size) {
        for (size_t i = 0; i < rows->size; i++) {
            char byte = first[i];
            first[i] = last[i];
            last[i] = byte;
        }
    }
}
