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
 * Opening: the lock file, the database, a check after an unclean end, the tables. Whatever fails
 * leaves a sentence in session.problem; a database that is damaged or not ours is left as it is.
 */
#define BUSY_MS        5000
#define LOG_LIMIT      "67108864"
#define VALUE_MAX      (32 << 20)   /* bytes of one value or row */
#define APPLICATION_ID "1347638353" /* "PSTQ" */

static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct ps_store_session *sql = arg;

    (void)db;
    (void)name;
    sql->log_frames = (uint64_t)frames;
    return SQLITE_OK;
}

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
        while (rc == SQLITE_ROW) {
            rc = sqlite3_step(stmt); /* what it changes is committed by the last one */
        }
        sql->error = rc == SQLITE_DONE ? SQLITE_OK : rc;
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
    ps_sql_explain(sql, "opening the database");
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
    sql->error = ps_sql_checkpoint(sql, SQLITE_CHECKPOINT_TRUNCATE);
    return sql->error == SQLITE_OK || fail(sql);
}

static bool prepare_writer(struct ps_store_session *sql)
{
    int version = 0;
    struct stat file;

    if (!check_owner(sql, &version) || (ps_sql_lock_was_unclean(sql->lock) && !check_damage(sql))) {
        return false;
    }
    /* Marked first: a migration whose sync fails is an unclean end too. */
    bool marked = ps_sql_lock_mark(sql->lock);
    if (marked && version < PS_SQL_VERSION && !migrate(sql, version)) {
        return false;
    }
    /* The journal's end and the log's name: SQLite syncs the folder too, and takes no notice of a
     * failure. */
    if (!marked || !ps_sql_sync_names(sql->path) || stat(sql->path, &file) != 0) {
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

void ps_sql_close_session(struct ps_store_session *sql)
{
    bool clean = sql->db != NULL && sql->failure == 0;

    for (size_t i = 0; i < PS_SQL_NAMES; i++) {
        (void)sqlite3_finalize(sql->statements[i]);
    }
    if (sql->writes && clean) {
        clean = ps_sql_checkpoint(sql, SQLITE_CHECKPOINT_TRUNCATE) == SQLITE_OK;
    }
    (void)sqlite3_close(sql->db);
    ps_sql_lock_give(sql->lock, clean);
    ps_free(sql->dropped);
    ps_free(sql->tenant);
    ps_free(sql->path);
    ps_free(sql);
}

struct ps_store_session *ps_sql_open_session(const struct ps_store_setup *setup, bool writes,
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
        ps_sql_close_session(sql);
        return NULL;
    }
    return sql;
}

bool ps_sql_check(const char *rest, char *ret_error, size_t error_size)
{
    size_t len = strlen(rest);

    if (len == 0 || rest[len - 1] == '/' || rest[0] == ':') {
        (void)snprintf(ret_error, error_size, "expected sqlite:PATH with a file's path, found '%s'",
                       rest);
        return false;
    }
    return true;
}

bool ps_sql_exists(const struct ps_store_setup *setup)
{
    struct stat file;
    char *path = path_of(setup);
    bool found = path != NULL && stat(path, &file) == 0;

    ps_free(path);
    return found;
}
