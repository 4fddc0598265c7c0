/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_SQL_PRIV_H
#define PENSTOCK_STORE_SQL_PRIV_H

#include "sql_statements.h"
#include "store_priv.h"

#include <sqlite3.h>

/*
 * The SQLite engine, inside. A handler (ps_sql_file_add …) is a command's whole work on one
 * connection. Errors stick: once something failed, every further query of the command does nothing,
 * gives zeros and no rows, so handlers are written straight on and the dispatcher looks at the end.
 * Only what a handler decides by an absent row it may decide wrongly then; the dispatcher overrules
 * it.
 */

#define PS_SQL_LINE_BITS 24 /* of a line's key; above them its batch's base */
#define PS_SQL_LINES_MAX ((uint64_t)1 << PS_SQL_LINE_BITS)
#define PS_SQL_SLICE     256 /* rows that one command or one slice of housekeeping handles */

struct ps_sql_lock;

struct ps_store_session {
    sqlite3 *db;
    sqlite3_stmt *statements[PS_SQL_NAMES]; /* prepared when first used */
    bool writes;
    struct ps_blobs *blobs;

    /* Of the command that runs. */
    struct ps_arena *arena;
    int error;       /* SQLite's; the transaction is lost */
    bool constraint; /* a row was there already */
    bool no_memory;  /* the command's arena is full */

    /* Blobs that no row names when the transaction is committed. */
    struct ps_blob_name *dropped;
    size_t dropped_count;
    size_t dropped_room;

    /* The writer's only. */
    char *path;               /* owned */
    struct ps_sql_lock *lock; /* owned */
    int64_t looked_us;        /* when the file was last seen in its place */
    uint64_t file[2];         /* its device and inode */
    int failure;              /* what lost the last transaction; 0: nothing, or mended */
    uint64_t log_frames;      /* in the write-ahead log; 0: all are in the database */
    int64_t turn;             /* of the batches: the higher the later served */
    char *tenant;             /* owned: the last one served; NULL: none */
    bool took_line[256];      /* by hash of a tenant: what it got last */
    char hook_host[300];      /* receiver of webhooks, or how it begins: the last one served */
    unsigned bucket;          /* of blobs, the next to be swept */
    int64_t sweep_ms;         /* when that sweep was asked for */
    char problem[200];
};

/* ---- sql_query.c: one statement from begin to end ---- */

struct ps_query {
    struct ps_store_session *sql;
    sqlite3_stmt *stmt; /* NULL: something failed before */
    int put;            /* parameters bound */
    int got;            /* columns read of this row */
};

void ps_query_begin(struct ps_query *query, struct ps_store_session *sql, enum ps_sql_name name);
/* Parameters, in order. Slices must live until the query ends. */
void ps_put_int(struct ps_query *query, int64_t value);
void ps_put_count(struct ps_query *query, uint64_t value);
void ps_put_text(struct ps_query *query, struct ps_slice text);
void ps_put_bytes(struct ps_query *query, const void *ptr, size_t len);
void ps_put_id(struct ps_query *query, const struct ps_id *id);
void ps_put_blob(struct ps_query *query, const struct ps_blob_name *name);  /* NULL when none */
void ps_put_body(struct ps_query *query, const struct ps_store_body *body); /* four of them */
/* True: a row; its columns come in order. False: no more, or an error. */
bool ps_query_row(struct ps_query *query);
int64_t ps_get_int(struct ps_query *query);
uint64_t ps_get_count(struct ps_query *query);
struct ps_slice ps_get_text(struct ps_query *query); /* in the command's arena */
void ps_get_id(struct ps_query *query, struct ps_id *ret);
void ps_get_blob(struct ps_query *query, struct ps_blob_name *ret);
void ps_get_body(struct ps_query *query, struct ps_store_body *ret); /* four of them */
void ps_query_end(struct ps_query *query);
/* For statements that give no rows: how many rows they changed. Ends the query. */
int ps_query_run(struct ps_query *query);
/* The first column of the only row, or `otherwise`. Ends the query. */
int64_t ps_query_value(struct ps_query *query, int64_t otherwise);
/* A statement without parameters. */
int ps_sql_run(struct ps_store_session *sql, enum ps_sql_name name);
bool ps_sql_ok(const struct ps_store_session *sql); /* nothing has failed in this command */

/* An array in the command's arena that grows row by row. */
struct ps_rows {
    struct ps_store_session *sql;
    size_t size;
    size_t count;
    size_t room;
    void *ptr;
};
#define PS_ROWS(sql, type) ((struct ps_rows){(sql), sizeof(type), 0, 0, NULL})
void *ps_rows_add(struct ps_rows *rows); /* zeroed; NULL when memory is short */
void ps_rows_reverse(struct ps_rows *rows);

/* ---- sql_blobs.c ---- */

/* Call after the row that named it is gone: the blob goes after the commit unless another row names
 * it. */
void ps_sql_drop_blob(struct ps_store_session *sql, const struct ps_blob_name *name);
/* Removes what was dropped; after the commit. */
void ps_sql_remove_dropped(struct ps_store_session *sql);
/* From now on housekeeping looks for blobs that no row names and that are an hour old. */
void ps_sql_start_sweep(struct ps_store_session *sql, int64_t now_ms);
/* One bucket of them. True: there are more buckets. */
bool ps_sql_sweep_blobs(struct ps_store_session *sql);

/* ---- sql_pages.c ---- */

/* A page's bounds: rows limit + 1, to see whether there are more. */
struct ps_page {
    struct ps_id border; /* rows beyond it */
    bool ascending;      /* how the statement reads */
    bool reverse;        /* turn what it read */
    uint32_t limit;
};
struct ps_page ps_sql_page(const struct ps_store_page *list, uint32_t max);
/* The end of a list: binds border and limit, reads the page by `read`, ends the query. True: there
 * are more. */
bool ps_sql_read_page(struct ps_query *query, const struct ps_page *page, struct ps_rows *rows,
                      void (*read)(struct ps_query *query, void *row));

/* ---- shared between areas ---- */

/* Of a batch: what decides what may be done with it. */
struct ps_sql_batch {
    int64_t base; /* 0: there is no such batch */
    enum ps_batch_status status;
    bool validated;
    bool ended;
    struct ps_blob_name input;
    struct ps_slice tenant;
};
bool ps_sql_find_batch(struct ps_store_session *sql, const struct ps_id *id,
                       struct ps_sql_batch *ret);
bool ps_sql_batch_is_over(enum ps_batch_status status);
/* → out.batches[0] */
void ps_sql_show_batch(struct ps_store_session *sql, struct ps_store_out *out,
                       const struct ps_id *id);
bool ps_sql_show_own_batch(struct ps_store_session *sql, struct ps_store_out *out,
                           struct ps_slice tenant, const struct ps_id *id);
void ps_sql_put_batch_text(struct ps_store_session *sql, const struct ps_id *id,
                           struct ps_slice metadata, struct ps_slice errors);
int ps_sql_priority(int priority); /* bounded: TAKE looks at each that is in use */
void ps_sql_read_batch(struct ps_query *query, struct ps_store_batch *batch);
/* When every line has its outcome, or none is in flight and none may start: the batch has ended.
 * True: just now. */
bool ps_sql_end_batch(struct ps_store_session *sql, int64_t base, int64_t now_ms);
/* A line in flight is back in the queue: the batch's side of it. */
void ps_sql_batch_back(struct ps_store_session *sql, int64_t base, int64_t run_at_ms);
int64_t ps_sql_base_of(int64_t key);
int64_t ps_sql_key_of(int64_t base, uint64_t line);

void ps_sql_insert_file(struct ps_store_session *sql, const struct ps_store_file *file,
                        struct ps_slice tenant);
/* Deletes it with its blob; false when there is none. */
bool ps_sql_remove_file(struct ps_store_session *sql, const struct ps_id *id);

/* → out.jobs[0] */
bool ps_sql_show_job(struct ps_store_session *sql, struct ps_store_out *out, struct ps_slice tenant,
                     const struct ps_id *id);
/* Ends a queued job whose time is over. */
void ps_sql_expire_job(struct ps_store_session *sql, int64_t num, int64_t now_ms);

/* Claims that ran out before `until` go back into the queue, PS_SQL_SLICE at most. True: that many,
 * there may be more. */
bool ps_sql_return_claims(struct ps_store_session *sql, int64_t until_ms, int64_t now_ms);
/* When the next work becomes ready after now; 0: nothing waits. */
int64_t ps_sql_next_ready(struct ps_store_session *sql, int64_t now_ms);

/* When there is an URL. */
void ps_sql_add_hook(struct ps_store_session *sql, const struct ps_id *id, struct ps_slice url,
                     struct ps_slice type, struct ps_slice payload, int64_t now_ms);

enum ps_sql_repeat {
    PS_SQL_NEW,
    PS_SQL_REPEATED,
    PS_SQL_REUSED
};
/* Of an idempotency key; `kind` keeps those of jobs and batches apart. */
#define PS_SQL_OF_BATCHES "batch"
#define PS_SQL_OF_JOBS    "job"
enum ps_sql_repeat ps_sql_look_up_key(struct ps_store_session *sql, const char *kind,
                                      struct ps_slice tenant,
                                      const struct ps_store_idempotency *idempotency,
                                      int64_t now_ms, struct ps_id *ret_id);
void ps_sql_keep_key(struct ps_store_session *sql, const char *kind, struct ps_slice tenant,
                     const struct ps_store_idempotency *idempotency, int64_t now_ms,
                     const struct ps_id *id);

/* The rows of batches that ended before `until_ms`, and whose files have had their time; the files
 * themselves are not touched. PS_SQL_SLICE at most. True: that many, there may be more. */
bool ps_sql_sweep_batches(struct ps_store_session *sql, int64_t until_ms, int64_t now_ms);
/* One slice of rows whose batch is gone. True: there is more. */
bool ps_sql_purge_lines(struct ps_store_session *sql);

/* ---- sqlite.c, sqlite_open.c ---- */

/* Puts session.failure into session.problem. */
void ps_sql_explain(struct ps_store_session *sql, const char *doing);
int ps_sql_checkpoint(struct ps_store_session *sql, int mode);
bool ps_sql_check(const char *rest, char *ret_error, size_t error_size);
bool ps_sql_exists(const struct ps_store_setup *setup);
struct ps_store_session *ps_sql_open_session(const struct ps_store_setup *setup, bool writes,
                                             char *ret_problem, size_t problem_size);
void ps_sql_close_session(struct ps_store_session *sql);

/* ---- sqlite_lock.c ---- */

/* Makes the folder of `path` when `make`; holds the lock file beside it. NULL with a sentence. */
struct ps_sql_lock *ps_sql_lock_take(const char *path, char *ret_problem, size_t problem_size);
/* Whether the last owner did not end in order. */
bool ps_sql_lock_was_unclean(const struct ps_sql_lock *lock);
/* Written to disk: from now on an end without ps_sql_lock_give(clean) counts as unclean. */
bool ps_sql_lock_mark(struct ps_sql_lock *lock);
void ps_sql_lock_give(struct ps_sql_lock *lock, bool clean); /* NULL is allowed */
/* Syncs the folder of this file: names made and removed there are on disk. */
bool ps_sql_sync_names(const char *path);

/* ---- handlers ---- */

#define PS_SQL_HANDLERS(X)                                                                         \
    X(FILE_ADD, file_add)                                                                          \
    X(FILE_GET, file_get)                                                                          \
    X(FILE_LIST, file_list)                                                                        \
    X(FILE_DELETE, file_delete)                                                                    \
    X(BATCH_ADD, batch_add)                                                                        \
    X(BATCH_GET, batch_get)                                                                        \
    X(BATCH_LIST, batch_list)                                                                      \
    X(BATCH_CANCEL, batch_cancel)                                                                  \
    X(BATCH_DELETE, batch_delete)                                                                  \
    X(BATCH_LINES, batch_lines)                                                                    \
    X(BATCH_START, batch_start)                                                                    \
    X(BATCH_FAIL, batch_fail)                                                                      \
    X(BATCH_FINISH, batch_finish)                                                                  \
    X(JOB_ADD, job_add)                                                                            \
    X(JOB_GET, job_get)                                                                            \
    X(JOB_LIST, job_list)                                                                          \
    X(JOB_CANCEL, job_cancel)                                                                      \
    X(TAKE, take)                                                                                  \
    X(RENEW, renew)                                                                                \
    X(SETTLE, settle)                                                                              \
    X(DEFER, defer)                                                                                \
    X(DUE, due)                                                                                    \
    X(OUTCOMES, outcomes)                                                                          \
    X(RECOVER, recover)                                                                            \
    X(SWEEP, sweep)                                                                                \
    X(COUNT, count)                                                                                \
    X(HOOK_TAKE, hook_take)                                                                        \
    X(HOOK_SETTLE, hook_settle)                                                                    \
    X(OBJECT_PUT, object_put)                                                                      \
    X(OBJECT_GET, object_get)                                                                      \
    X(OBJECT_DELETE, object_delete)

#define X(verb, name)                                                                              \
    enum ps_store_status ps_sql_##name(struct ps_store_session *sql, const struct ps_store_in *in, \
                                       struct ps_store_out *out);
PS_SQL_HANDLERS(X)
#undef X

#endif
