/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#include "penstock/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

/*
 * SQLite as an engine: WAL with synchronous FULL, so that COMMIT returns when the log is on disk.
 * The writing session is the only one that commits and the only one that checkpoints (SQLite before
 * 3.51.3 can damage a database where one connection commits while another checkpoints).
 *
 * A commit that failed: its pages may be in the log, and a later fsync that succeeds would say
 * nothing about them. This session still knows where the good part of the log ends, so it is not
 * closed: mend() moves that part into the database and empties the log; only when that has
 * succeeded is anything accepted again. A full disk needs no such care: nothing failed to be
 * synced.
 */
#define LOG_BYTES      ((uint64_t)4 << 20)
#define FRAME_BYTES    ((uint64_t)4096 + 24)
#define LOOK_US        1000000
#define FREE_PAGES_MIN 4096

#define GONE (-1) /* as session.failure: the file is not in its place any more */

typedef enum ps_store_status handler(struct ps_store_session *sql, const struct ps_store_in *in,
                                     struct ps_store_out *out);

static handler *const handlers[PS_STORE_VERB_COUNT] = {
#define X(verb, name) [PS_STORE_##verb] = ps_sql_##name,
    PS_SQL_HANDLERS(X)
#undef X
};

/* ---- failures ---- */

void ps_sql_explain(struct ps_store_session *sql, const char *doing)
{
    char text[64];
    int number = sqlite3_system_errno(sql->db);
    const char *reason = number != 0 ? strerror_r(number, text, sizeof(text)) : "";

    (void)snprintf(sql->problem, sizeof(sql->problem), "%s: %s%s%s (SQLite %d)", doing,
                   sqlite3_errstr(sql->failure), number != 0 ? ", " : "", reason, sql->failure);
}

static enum ps_store_status lose(struct ps_store_session *sql, const char *doing)
{
    sql->failure = sql->error != SQLITE_OK ? sql->error : SQLITE_ERROR;
    ps_sql_explain(sql, doing);
    switch (sql->failure & 0xff) {
    case SQLITE_FULL:
        return PS_STORE_DISK_FULL;
    case SQLITE_NOMEM:
        return PS_STORE_NO_MEMORY;
    default:
        return sqlite3_system_errno(sql->db) == ENOSPC ? PS_STORE_DISK_FULL : PS_STORE_BROKEN;
    }
}

static const char *problem_of(const struct ps_store_session *sql)
{
    return sql->problem;
}

static void forget_errors(struct ps_store_session *sql)
{
    sql->error = SQLITE_OK;
    sql->constraint = false;
    sql->no_memory = false;
}

/* Writes that go to a file which nobody can find again are not kept. */
static bool in_place(struct ps_store_session *sql)
{
    struct stat file;
    int64_t now = ps_clock_us();

    if (now - sql->looked_us < LOOK_US) {
        return true;
    }
    sql->looked_us = now;
    if (stat(sql->path, &file) == 0 && sql->file[0] == (uint64_t)file.st_dev &&
        sql->file[1] == (uint64_t)file.st_ino) {
        return true;
    }
    sql->failure = GONE;
    (void)snprintf(sql->problem, sizeof(sql->problem), "%.150s was removed", sql->path);
    return false;
}

int ps_sql_checkpoint(struct ps_store_session *sql, int mode)
{
    int in_log = 0;
    int moved = 0;
    int rc = sqlite3_wal_checkpoint_v2(sql->db, "main", mode, &in_log, &moved);

    if (rc == SQLITE_OK && in_log == moved) {
        sql->log_frames = 0;
    }
    return rc;
}

static enum ps_store_mended mend(struct ps_store_session *sql)
{
    int primary = sql->failure & 0xff;
    bool lasting = sql->failure == GONE || primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;

    if (lasting) {
        return PS_STORE_MEND_REOPEN;
    }
    if (primary != SQLITE_FULL && primary != SQLITE_NOMEM && primary != SQLITE_BUSY) {
        sql->looked_us = 0;
        if (!in_place(sql)) {
            return PS_STORE_MEND_REOPEN;
        }
        int rc = ps_sql_checkpoint(sql, SQLITE_CHECKPOINT_TRUNCATE);
        if (rc != SQLITE_OK) {
            sql->failure = rc;
            ps_sql_explain(sql, "writing the database");
            primary = rc & 0xff;
            lasting = primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
            return lasting ? PS_STORE_MEND_REOPEN : PS_STORE_MEND_LATER;
        }
    }
    sql->failure = 0;
    sql->problem[0] = '\0';
    return PS_STORE_MENDED;
}

/* ---- transactions ---- */

static enum ps_store_status begin(struct ps_store_session *sql)
{
    /* Housekeeping may have failed between the groups. */
    if (sql->failure != 0 && mend(sql) != PS_STORE_MENDED) {
        return PS_STORE_BROKEN;
    }
    if (sql->writes && !in_place(sql)) {
        return PS_STORE_BROKEN;
    }
    forget_errors(sql);
    (void)ps_sql_run(sql, sql->writes ? PS_SQL_BEGIN_WRITE : PS_SQL_BEGIN_READ);
    return ps_sql_ok(sql) ? PS_STORE_OK : lose(sql, "beginning");
}

static void rollback(struct ps_store_session *sql)
{
    forget_errors(sql);
    sql->dropped_count = 0;
    /* Many errors have rolled back already. */
    if (sqlite3_get_autocommit(sql->db) == 0) {
        (void)ps_sql_run(sql, PS_SQL_ROLLBACK);
    }
}

static enum ps_store_status commit(struct ps_store_session *sql)
{
    forget_errors(sql);
    (void)ps_sql_run(sql, PS_SQL_COMMIT);
    if (!ps_sql_ok(sql)) {
        return lose(sql, sql->writes ? "committing" : "reading");
    }
    ps_sql_remove_dropped(sql);
    return PS_STORE_OK;
}

/* What the handler decided, unless something failed beneath it. */
static enum ps_store_status judge(const struct ps_store_session *sql,
                                  struct ps_store_command *command, enum ps_store_status status)
{
    if (sql->constraint) {
        status = PS_STORE_CONFLICT;
    }
    if (sql->no_memory) {
        status = PS_STORE_NO_MEMORY;
    }
    if (sql->constraint || sql->no_memory) {
        command->out = (struct ps_store_out){0};
    }
    return status;
}

static bool execute(struct ps_store_session *sql, struct ps_store_command *command)
{
    bool writes = ps_store_verb_writes(command->verb);
    size_t dropped = sql->dropped_count;

    forget_errors(sql);
    sql->arena = &command->arena;
    if (writes) {
        (void)ps_sql_run(sql, PS_SQL_SAVE);
    }
    enum ps_store_status status = handlers[command->verb](sql, &command->in, &command->out);
    if (sql->error == SQLITE_OK) {
        status = judge(sql, command, status);
        forget_errors(sql);
        if (writes && status != PS_STORE_OK) {
            (void)ps_sql_run(sql, PS_SQL_UNDO);
            /* A stale result's blob goes all the same. */
            sql->dropped_count = status == PS_STORE_STALE ? sql->dropped_count : dropped;
        }
        if (writes) {
            (void)ps_sql_run(sql, PS_SQL_RELEASE);
        }
    }
    sql->arena = NULL;
    if (sql->error != SQLITE_OK) {
        status = lose(sql, sql->writes ? "writing" : "reading");
    }
    command->status = status;
    return sql->error == SQLITE_OK;
}

/* ---- housekeeping ---- */

/* Gives pages back to the file system when much of the file is free. */
static bool shrink(struct ps_store_session *sql)
{
    struct ps_query query;

    ps_query_begin(&query, sql, PS_SQL_FREE_PAGES);
    int64_t unused = ps_query_value(&query, 0);
    ps_query_begin(&query, sql, PS_SQL_ALL_PAGES);
    int64_t all = ps_query_value(&query, 0);
    if (unused < FREE_PAGES_MIN || unused < all / 2) {
        return false;
    }
    return ps_sql_run(sql, PS_SQL_SHRINK) >= 0 && ps_sql_ok(sql);
}

static bool tend_rows(struct ps_store_session *sql, bool idle)
{
    if (begin(sql) != PS_STORE_OK) {
        rollback(sql);
        return false;
    }
    struct ps_arena arena;
    ps_arena_init(&arena, 65536);
    sql->arena = &arena;
    bool more = ps_sql_purge_lines(sql) || ps_sql_sweep_blobs(sql) || (idle && shrink(sql));
    sql->arena = NULL;
    ps_arena_deinit(&arena);
    if (sql->error != SQLITE_OK) {
        (void)lose(sql, "tidying up");
    }
    if (!ps_sql_ok(sql) || commit(sql) != PS_STORE_OK) {
        rollback(sql);
        return false;
    }
    return more;
}

static bool tend(struct ps_store_session *sql, bool idle)
{
    if (sql->failure != 0) {
        return false;
    }
    bool more = tend_rows(sql, idle);
    bool big = sql->log_frames * FRAME_BYTES > LOG_BYTES;
    if (sql->failure == 0 && sql->log_frames > 0 && (big || (idle && !more))) {
        int rc = ps_sql_checkpoint(sql, SQLITE_CHECKPOINT_PASSIVE);
        if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
            sql->failure = rc;
            ps_sql_explain(sql, "writing the database");
        }
    }
    return more && sql->failure == 0;
}

static uint64_t log_bytes(const struct ps_store_session *sql)
{
    return sql->log_frames * FRAME_BYTES;
}

const struct ps_store_engine ps_store_sqlite = {
    .scheme = "sqlite",
    .check = ps_sql_check,
    .exists = ps_sql_exists,
    .open = ps_sql_open_session,
    .close = ps_sql_close_session,
    .begin = begin,
    .execute = execute,
    .commit = commit,
    .rollback = rollback,
    .mend = mend,
    .problem = problem_of,
    .tend = tend,
    .log_bytes = log_bytes,
};
