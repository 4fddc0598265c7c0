/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_priv.h"
#include "sql_priv.h"
#include "sql_schema.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * SQLite as an engine: WAL with synchronous FULL, so that COMMIT returns when the log is on disk.
 * The writing session is the only one that commits and the only one that checkpoints (SQLite before
 * 3.51.3 can damage a database where one connection commits while another checkpoints).
 *
 * Opening: lock file, database, check after an unclean end, tables. A database that is damaged or
 * not ours is left as it is.
 *
 * A commit that failed: its pages may be in the log, and a later fsync that succeeds would say
 * nothing about them. This session still knows where the good part of the log ends, so it is not
 * closed: mend() moves that part into the database and empties the log; only when that has
 * succeeded is anything accepted again. A full disk needs no such care: nothing failed to be
 * synced.
 */
#define BUSY_MS        5000
#define LOG_LIMIT      "67108864"
#define LOG_BYTES      ((uint64_t)4 << 20)
#define FRAME_BYTES    ((uint64_t)4096 + 24)
#define VALUE_MAX      (32 << 20)   /* bytes of one value or row */
#define APPLICATION_ID "1347638353" /* "PSTQ" */
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

static void explain(struct ps_store_session *sql, const char *doing)
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
    explain(sql, doing);
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

static int checkpoint(struct ps_store_session *sql, int mode)
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
        int rc = checkpoint(sql, SQLITE_CHECKPOINT_TRUNCATE);
        if (rc != SQLITE_OK) {
            sql->failure = rc;
            explain(sql, "writing the database");
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
        rollback(sql);
        return false;
    }
    if (commit(sql) != PS_STORE_OK) {
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
        int rc = checkpoint(sql, SQLITE_CHECKPOINT_PASSIVE);
        if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY) {
            sql->failure = rc;
            explain(sql, "writing the database");
        }
    }
    return more && sql->failure == 0;
}

static uint64_t log_bytes(const struct ps_store_session *sql)
{
    return sql->log_frames * FRAME_BYTES;
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct ps_store_session *sql = arg;

    (void)db;
    (void)name;
    sql->log_frames = (uint64_t)frames;
    return SQLITE_OK;
}

/* ---- open and close ---- */

static char *path_of(const struct ps_store_setup *setup)
{
    size_t size = strlen(setup->folder) + strlen(setup->rest) + 2;
    char *path = ps_malloc(size);

    if (path != NULL && setup->rest[0] == '/') {
        (void)snprintf(path, size, "%s", setup->rest);
    } else if (path != NULL) {
        (void)snprintf(path, size, "%s/%s", setup->folder, setup->rest);
    }
    return path;
}

static bool run_text(struct ps_store_session *sql, const char *text)
{
    sql->error = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
    return sql->error == SQLITE_OK;
}

/* The first column of the first row, as text; "" when there is none. */
static void ask_text(struct ps_store_session *sql, const char *text, char *ret, size_t size)
{
    sqlite3_stmt *stmt = NULL;

    ret[0] = '\0';
    sql->error = sqlite3_prepare_v2(sql->db, text, -1, &stmt, NULL);
    if (sql->error == SQLITE_OK) {
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) {
            const unsigned char *found = sqlite3_column_text(stmt, 0);
            (void)snprintf(ret, size, "%s", found != NULL ? (const char *)found : "");
        }
        sql->error = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
    }
    (void)sqlite3_finalize(stmt);
}

static bool refuse(struct ps_store_session *sql, const char *why)
{
    (void)snprintf(sql->problem, sizeof(sql->problem), "%.120s %s; it was left as it is", sql->path,
                   why);
    return false;
}

/* Says why the last step of opening failed. */
static bool fail(struct ps_store_session *sql)
{
    int primary = sql->error & 0xff;

    if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT) {
        return refuse(sql, "is damaged, or no database");
    }
    sql->failure = sql->error;
    explain(sql, "opening the database");
    return false;
}

static bool set_up(struct ps_store_session *sql)
{
    static const char common[] = "PRAGMA mmap_size = 0;"
                                 "PRAGMA cell_size_check = ON;"
                                 "PRAGMA trusted_schema = OFF;"
                                 "PRAGMA temp_store = MEMORY;";
    static const char writing[] = "PRAGMA synchronous = FULL;"
                                  "PRAGMA wal_autocheckpoint = 0;"
                                  "PRAGMA journal_size_limit = " LOG_LIMIT ";";
    char mode[16];

    (void)sqlite3_extended_result_codes(sql->db, 1);
    (void)sqlite3_busy_timeout(sql->db, BUSY_MS);
    (void)sqlite3_limit(sql->db, SQLITE_LIMIT_LENGTH, VALUE_MAX);
    (void)sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(sql->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (!run_text(sql, common)) {
        return fail(sql);
    }
    if (!sql->writes) {
        return run_text(sql, "PRAGMA query_only = ON") || fail(sql);
    }
    /* Takes effect only before the first table. */
    if (!run_text(sql, "PRAGMA auto_vacuum = INCREMENTAL")) {
        return fail(sql);
    }
    ask_text(sql, "PRAGMA journal_mode = WAL", mode, sizeof(mode));
    if (sql->error != SQLITE_OK || !run_text(sql, writing)) {
        return fail(sql);
    }
    if (strcmp(mode, "wal") != 0) {
        return refuse(sql, "cannot have a write-ahead log there");
    }
    (void)sqlite3_wal_hook(sql->db, on_commit, sql);
    return true;
}

static bool check_owner(struct ps_store_session *sql, int *ret_version)
{
    char id[16];
    char tables[16];
    char version[16];

    ask_text(sql, "PRAGMA application_id", id, sizeof(id));
    if (sql->error == SQLITE_OK) {
        ask_text(sql, "SELECT count(*) FROM sqlite_schema", tables, sizeof(tables));
    }
    if (sql->error == SQLITE_OK) {
        ask_text(sql, "PRAGMA user_version", version, sizeof(version));
    }
    if (sql->error != SQLITE_OK) {
        return fail(sql);
    }
    if (strcmp(id, APPLICATION_ID) != 0 && strcmp(tables, "0") != 0) {
        return refuse(sql, "belongs to another program");
    }
    *ret_version = (int)strtol(version, NULL, 10);
    if (*ret_version > PS_SQL_VERSION) {
        return refuse(sql, "was made by a later version of penstock");
    }
    return true;
}

static bool migrate(struct ps_store_session *sql, int version)
{
    char text[64];
    bool ok = run_text(sql, "BEGIN IMMEDIATE; PRAGMA application_id = " APPLICATION_ID);

    for (size_t i = 0; ok && i < sizeof(ps_sql_schema) / sizeof(ps_sql_schema[0]); i++) {
        ok = ps_sql_schema[i].version <= version || run_text(sql, ps_sql_schema[i].text);
    }
    (void)snprintf(text, sizeof(text), "PRAGMA user_version = %d; COMMIT", PS_SQL_VERSION);
    return (ok && run_text(sql, text)) || fail(sql);
}

/* After an unclean end. The log's last pages may be in the page cache only, whatever its last owner
 * was told: they are moved into the database, and synced, before anything is built on them. */
static bool check_damage(struct ps_store_session *sql)
{
    char found[128];

    ask_text(sql, "PRAGMA quick_check(1)", found, sizeof(found));
    if (sql->error != SQLITE_OK) {
        return fail(sql);
    }
    if (strcmp(found, "ok") != 0) {
        return refuse(sql, "is damaged");
    }
    sql->error = checkpoint(sql, SQLITE_CHECKPOINT_TRUNCATE);
    return sql->error == SQLITE_OK || fail(sql);
}

static bool prepare_writer(struct ps_store_session *sql)
{
    int version = 0;
    struct stat file;

    if (!check_owner(sql, &version) || (ps_sql_lock_was_unclean(sql->lock) && !check_damage(sql)) ||
        (version < PS_SQL_VERSION && !migrate(sql, version))) {
        return false;
    }
    if (stat(sql->path, &file) != 0 || !ps_sql_lock_mark(sql->lock)) {
        (void)snprintf(sql->problem, sizeof(sql->problem), "cannot write beside %.150s", sql->path);
        return false;
    }
    sql->file[0] = (uint64_t)file.st_dev;
    sql->file[1] = (uint64_t)file.st_ino;
    sql->looked_us = ps_clock_us();
    struct ps_query query;
    ps_query_begin(&query, sql, PS_SQL_BATCH_TURN);
    sql->turn = ps_query_value(&query, 0);
    return ps_sql_ok(sql) || fail(sql);
}

/* SQLite would make it readable for all. */
static bool make_file(struct ps_store_session *sql)
{
    int fd = open(sql->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        char text[64];
        (void)snprintf(sql->problem, sizeof(sql->problem), "cannot open %.120s: %s", sql->path,
                       strerror_r(errno, text, sizeof(text)));
        return false;
    }
    (void)close(fd);
    return true;
}

static bool open_database(struct ps_store_session *sql)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

    if (sql->writes) {
        sql->lock = ps_sql_lock_take(sql->path, sql->problem, sizeof(sql->problem));
        if (sql->lock == NULL || !make_file(sql)) {
            return false;
        }
    }
    flags |= sql->writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    sql->error = sqlite3_open_v2(sql->path, &sql->db, flags, NULL);
    if (sql->db == NULL) {
        (void)snprintf(sql->problem, sizeof(sql->problem), "memory is short");
        return false;
    }
    if (sql->error != SQLITE_OK) {
        return fail(sql);
    }
    return set_up(sql) && (!sql->writes || prepare_writer(sql));
}

static void close_session(struct ps_store_session *sql)
{
    bool clean = sql->db != NULL && sql->failure == 0;

    for (size_t i = 0; i < PS_SQL_NAMES; i++) {
        (void)sqlite3_finalize(sql->statements[i]);
    }
    if (sql->writes && clean) {
        clean = checkpoint(sql, SQLITE_CHECKPOINT_TRUNCATE) == SQLITE_OK;
    }
    (void)sqlite3_close(sql->db);
    ps_sql_lock_give(sql->lock, clean);
    ps_free(sql->dropped);
    ps_free(sql->tenant);
    ps_free(sql->path);
    ps_free(sql);
}

static struct ps_store_session *open_session(const struct ps_store_setup *setup, bool writes,
                                             char *ret_problem, size_t problem_size)
{
    struct ps_store_session *sql = ps_calloc(1, sizeof(*sql));
    char *path = path_of(setup);

    if (sql == NULL || path == NULL) {
        (void)snprintf(ret_problem, problem_size, "memory is short");
        ps_free(sql);
        ps_free(path);
        return NULL;
    }
    sql->writes = writes;
    sql->blobs = setup->blobs;
    sql->path = path;
    sql->bucket = PS_BLOB_BUCKETS;
    if (!open_database(sql)) {
        (void)snprintf(ret_problem, problem_size, "%s", sql->problem);
        sql->failure = SQLITE_ERROR; /* nothing to be tidied up */
        close_session(sql);
        return NULL;
    }
    return sql;
}

static bool check(const char *rest, char *ret_error, size_t error_size)
{
    size_t len = strlen(rest);

    if (len == 0 || rest[len - 1] == '/' || rest[0] == ':') {
        (void)snprintf(ret_error, error_size, "expected sqlite:PATH with a file's path, found '%s'",
                       rest);
        return false;
    }
    return true;
}

static bool exists(const struct ps_store_setup *setup)
{
    struct stat file;
    char *path = path_of(setup);
    bool found = path != NULL && stat(path, &file) == 0;

    ps_free(path);
    return found;
}

const struct ps_store_engine ps_store_sqlite = {
    .scheme = "sqlite",
    .check = check,
    .exists = exists,
    .open = open_session,
    .close = close_session,
    .begin = begin,
    .execute = execute,
    .commit = commit,
    .rollback = rollback,
    .mend = mend,
    .problem = problem_of,
    .tend = tend,
    .log_bytes = log_bytes,
};
