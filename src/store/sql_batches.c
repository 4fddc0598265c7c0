/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

/* Batches as rows: what shows them, makes them and takes them away. Their lives are in
 * sql_lives.c. */

#define PAGE_MAX     1000
#define PRIORITY_MAX 100

int64_t ps_sql_base_of(int64_t key)
{
    return key >> PS_SQL_LINE_BITS;
}

int64_t ps_sql_key_of(int64_t base, uint64_t line)
{
    return (int64_t)(((uint64_t)base << PS_SQL_LINE_BITS) | line);
}

bool ps_sql_batch_is_over(enum ps_batch_status status)
{
    return status == PS_BATCH_COMPLETED || status == PS_BATCH_FAILED ||
           status == PS_BATCH_EXPIRED || status == PS_BATCH_CANCELLED;
}

bool ps_sql_find_batch(struct ps_store_session *sql, const struct ps_id *id,
                       struct ps_sql_batch *ret)
{
    struct ps_query query;

    *ret = (struct ps_sql_batch){0};
    ps_query_begin(&query, sql, PS_SQL_BATCH_FIND);
    ps_put_id(&query, id);
    if (ps_query_row(&query)) {
        ret->base = ps_get_int(&query);
        ret->status = (enum ps_batch_status)ps_get_int(&query);
        ret->validated = ps_get_int(&query) != 0;
        ret->ended = ps_get_int(&query) != 0;
        ps_get_blob(&query, &ret->input);
        ret->tenant = ps_get_text(&query);
    }
    ps_query_end(&query);
    return ret->base != 0;
}

void ps_sql_read_batch(struct ps_query *query, struct ps_store_batch *batch)
{
    ps_get_id(query, &batch->id);
    batch->api = (enum ps_batch_api)ps_get_int(query);
    batch->tenant = ps_get_text(query);
    batch->key = ps_get_text(query);
    batch->endpoint = ps_get_text(query);
    ps_get_id(query, &batch->input_file);
    ps_get_blob(query, &batch->input);
    batch->status = (enum ps_batch_status)ps_get_int(query);
    batch->ended = ps_get_int(query) != 0;
    batch->becomes = (enum ps_batch_status)ps_get_int(query);
    batch->priority = (int)ps_get_int(query);
    batch->webhook = ps_get_text(query);
    batch->metadata = ps_get_text(query);
    batch->errors = ps_get_text(query);
    batch->model = ps_get_text(query);
    batch->output_life_ms = ps_get_int(query);
    batch->created_ms = ps_get_int(query);
    batch->started_ms = ps_get_int(query);
    batch->expires_ms = ps_get_int(query);
    batch->finalizing_ms = ps_get_int(query);
    batch->completed_ms = ps_get_int(query);
    batch->failed_ms = ps_get_int(query);
    batch->expired_ms = ps_get_int(query);
    batch->cancelling_ms = ps_get_int(query);
    batch->cancelled_ms = ps_get_int(query);
    batch->total = ps_get_count(query);
    batch->completed = ps_get_count(query);
    batch->failed = ps_get_count(query);
    batch->canceled = ps_get_count(query);
    batch->expired = ps_get_count(query);
    batch->input_tokens = ps_get_count(query);
    batch->output_tokens = ps_get_count(query);
    batch->cached_tokens = ps_get_count(query);
    batch->reasoning_tokens = ps_get_count(query);
    ps_get_id(query, &batch->output_file);
    ps_get_id(query, &batch->error_file);
}

/* What `query` gives, one row at the most. Ends it. */
static bool show_row(struct ps_query *query, struct ps_store_out *out)
{
    struct ps_rows rows = PS_ROWS(query->sql, struct ps_store_batch);

    if (ps_query_row(query)) {
        struct ps_store_batch *batch = ps_rows_add(&rows);
        if (batch != NULL) {
            ps_sql_read_batch(query, batch);
        }
    }
    ps_query_end(query);
    out->batches = rows.ptr;
    out->batch_count = rows.count;
    return rows.count > 0;
}

void ps_sql_show_batch(struct ps_store_session *sql, struct ps_store_out *out,
                       const struct ps_id *id)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_GET);
    ps_put_id(&query, id);
    (void)show_row(&query, out);
}

bool ps_sql_show_own_batch(struct ps_store_session *sql, struct ps_store_out *out,
                           struct ps_slice tenant, const struct ps_id *id)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_GET_OWN);
    ps_put_id(&query, id);
    ps_put_text(&query, tenant);
    return show_row(&query, out);
}

enum ps_store_status ps_sql_batch_get(struct ps_store_session *sql, const struct ps_store_in *in,
                                      struct ps_store_out *out)
{
    return ps_sql_show_own_batch(sql, out, in->tenant, &in->id) ? PS_STORE_OK : PS_STORE_NOT_FOUND;
}

static void read_row(struct ps_query *query, void *row)
{
    ps_sql_read_batch(query, row);
}

enum ps_store_status ps_sql_batch_list(struct ps_store_session *sql, const struct ps_store_in *in,
                                       struct ps_store_out *out)
{
    struct ps_page page = ps_sql_page(&in->list, PAGE_MAX);
    struct ps_rows rows = PS_ROWS(sql, struct ps_store_batch);
    struct ps_query query;

    ps_query_begin(&query, sql, page.ascending ? PS_SQL_BATCH_UP : PS_SQL_BATCH_DOWN);
    ps_put_text(&query, in->tenant);
    ps_put_int(&query, in->list.api);
    out->more = ps_sql_read_page(&query, &page, &rows, read_row);
    out->batches = rows.ptr;
    out->batch_count = rows.count;
    return PS_STORE_OK;
}

int ps_sql_priority(int priority)
{
    if (priority > PRIORITY_MAX) {
        return PRIORITY_MAX;
    }
    return priority < -PRIORITY_MAX ? -PRIORITY_MAX : priority;
}

/* The blob of the input file; false: there is no such file. */
static bool find_input(struct ps_store_session *sql, const struct ps_store_batch *batch,
                       struct ps_blob_name *ret_blob)
{
    struct ps_query query;

    if (batch->input_file.text[0] == '\0') {
        *ret_blob = batch->input;
        return true;
    }
    ps_query_begin(&query, sql, PS_SQL_FILE_INPUT);
    ps_put_id(&query, &batch->input_file);
    ps_put_text(&query, batch->tenant);
    ps_put_int(&query, batch->created_ms);
    bool found = ps_query_row(&query);
    if (found) {
        ps_get_blob(&query, ret_blob);
    }
    ps_query_end(&query);
    return found;
}

void ps_sql_put_batch_text(struct ps_store_session *sql, const struct ps_id *id,
                           struct ps_slice metadata, struct ps_slice errors)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_TEXT);
    ps_put_id(&query, id);
    ps_put_text(&query, metadata);
    ps_put_text(&query, errors);
    (void)ps_query_run(&query);
}

static void insert(struct ps_store_session *sql, const struct ps_store_batch *batch,
                   const struct ps_blob_name *input)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_BATCH_ADD);
    ps_put_id(&query, &batch->id);
    ps_put_int(&query, batch->api);
    ps_put_text(&query, batch->tenant);
    ps_put_text(&query, batch->key);
    ps_put_text(&query, batch->endpoint);
    ps_put_id(&query, &batch->input_file);
    ps_put_blob(&query, input);
    ps_put_int(&query, ps_sql_priority(batch->priority));
    ps_put_text(&query, batch->webhook);
    ps_put_text(&query, batch->model);
    ps_put_int(&query, batch->output_life_ms);
    ps_put_int(&query, batch->created_ms);
    ps_put_int(&query, batch->expires_ms);
    (void)ps_query_run(&query);
    ps_sql_put_batch_text(sql, &batch->id, batch->metadata, PS_SLICE_NONE);
}

enum ps_store_status ps_sql_batch_add(struct ps_store_session *sql, const struct ps_store_in *in,
                                      struct ps_store_out *out)
{
    const struct ps_store_batch *batch = &in->batch;
    struct ps_blob_name input = {""};
    struct ps_id earlier;

    enum ps_sql_repeat repeat = ps_sql_look_up_key(sql, PS_SQL_OF_BATCHES, batch->tenant,
                                                   &in->idempotency, batch->created_ms, &earlier);
    if (repeat == PS_SQL_REPEATED) {
        ps_sql_show_batch(sql, out, &earlier);
        return PS_STORE_REPEATED;
    }
    if (repeat == PS_SQL_REUSED) {
        return PS_STORE_REUSED;
    }
    if (!find_input(sql, batch, &input)) {
        return PS_STORE_NOT_FOUND;
    }
    insert(sql, batch, &input);
    ps_sql_keep_key(sql, PS_SQL_OF_BATCHES, batch->tenant, &in->idempotency, batch->created_ms,
                    &batch->id);
    ps_sql_show_batch(sql, out, &batch->id);
    return PS_STORE_OK;
}

static void delete_row(struct ps_store_session *sql, enum ps_sql_name name, int64_t base)
{
    struct ps_query query;

    ps_query_begin(&query, sql, name);
    ps_put_int(&query, base);
    (void)ps_query_run(&query);
}

/* Of a batch that is over: its lines go by themselves. */
static void delete_rows(struct ps_store_session *sql, int64_t base)
{
    delete_row(sql, PS_SQL_BATCH_TEXT_DELETE, base);
    delete_row(sql, PS_SQL_BATCH_DELETE, base);
}

enum ps_store_status ps_sql_batch_delete(struct ps_store_session *sql, const struct ps_store_in *in,
                                         struct ps_store_out *out)
{
    struct ps_sql_batch batch;

    if (!ps_sql_show_own_batch(sql, out, in->tenant, &in->id) ||
        !ps_sql_find_batch(sql, &in->id, &batch)) {
        return PS_STORE_NOT_FOUND;
    }
    if (!ps_sql_batch_is_over(batch.status)) {
        return PS_STORE_CONFLICT;
    }
    (void)ps_sql_remove_file(sql, &out->batches[0].output_file);
    (void)ps_sql_remove_file(sql, &out->batches[0].error_file);
    delete_rows(sql, batch.base);
    return PS_STORE_OK;
}

bool ps_sql_sweep_batches(struct ps_store_session *sql, int64_t until_ms, int64_t now_ms)
{
    int64_t bases[PS_SQL_SLICE];
    struct ps_query query;
    size_t count = 0;

    ps_query_begin(&query, sql, PS_SQL_BATCH_OLD);
    ps_put_int(&query, until_ms);
    ps_put_int(&query, now_ms);
    ps_put_int(&query, PS_SQL_SLICE);
    while (count < PS_SQL_SLICE && ps_query_row(&query)) {
        bases[count++] = ps_get_int(&query);
    }
    ps_query_end(&query);
    for (size_t i = 0; i < count; i++) {
        delete_rows(sql, bases[i]);
    }
    return count == PS_SQL_SLICE;
}

/* ---- deleting lines, a slice at a time ---- */

static void drop_results(struct ps_store_session *sql, int64_t first, int64_t last)
{
    struct ps_rows rows = PS_ROWS(sql, struct ps_blob_name);
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_PURGE_BLOBS);
    ps_put_int(&query, first);
    ps_put_int(&query, last);
    while (ps_query_row(&query)) {
        struct ps_blob_name *blob = ps_rows_add(&rows);
        if (blob == NULL) {
            break;
        }
        ps_get_blob(&query, blob);
    }
    ps_query_end(&query);
    ps_query_begin(&query, sql, PS_SQL_PURGE_RESULTS);
    ps_put_int(&query, first);
    ps_put_int(&query, last);
    (void)ps_query_run(&query);
    const struct ps_blob_name *blobs = rows.ptr;
    for (size_t i = 0; i < rows.count; i++) {
        ps_sql_drop_blob(sql, &blobs[i]);
    }
}

bool ps_sql_purge_lines(struct ps_store_session *sql)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_PURGE_NEXT);
    int64_t base = ps_query_value(&query, 0);
    if (base == 0) {
        return false;
    }
    int64_t first = ps_sql_key_of(base, 0);
    ps_query_begin(&query, sql, PS_SQL_PURGE_LAST);
    ps_put_int(&query, first);
    ps_put_int(&query, ps_sql_key_of(base + 1, 0));
    ps_put_int(&query, PS_SQL_SLICE);
    int64_t last = ps_query_value(&query, 0);
    if (last == 0) {
        delete_row(sql, PS_SQL_PURGE_DONE, base);
        return true;
    }
    drop_results(sql, first, last);
    ps_query_begin(&query, sql, PS_SQL_PURGE_LINES);
    ps_put_int(&query, first);
    ps_put_int(&query, last);
    (void)ps_query_run(&query);
    return true;
}
