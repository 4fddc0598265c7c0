/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 180 */
#include "blob_priv.h"
#include "store/depot.h"
#include "store_priv.h"
#include "testing.h"

#include <sqlite3.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * SQLite on files that fail: the Nth write, sync, truncation or look at the size, once or from then
 * on. Whatever was committed is there afterwards, the session heals when the files do, and the
 * database is never damaged. tests/e2e/test_store_faults.py does the same to whole processes.
 */

/* ---- files that fail ---- */

enum call {
    CALL_WRITE,
    CALL_SYNC,
    CALL_TRUNCATE,
    CALL_SIZE,
    CALLS
};

static struct {
    enum call call;
    int countdown; /* calls of it that go well; < 0: all do */
    bool lasts;
    int error;
    unsigned failed;
} fault;

struct file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_file *real(sqlite3_file *file)
{
    return ((struct file *)(void *)file)->real;
}

static bool fails(enum call call)
{
    if (fault.countdown < 0 || call != fault.call) {
        return false;
    }
    if (fault.countdown > 0) {
        fault.countdown--;
        return false;
    }
    fault.failed++;
    fault.countdown = fault.lasts ? 0 : -1;
    return true;
}

#define REAL(method, ...) real(file)->pMethods->method(real(file), __VA_ARGS__)

static int close_file(sqlite3_file *file)
{
    int rc = real(file)->pMethods->xClose(real(file));
    free(real(file));
    return rc;
}

static int read_file(sqlite3_file *file, void *to, int len, sqlite3_int64 at)
{
    return REAL(xRead, to, len, at);
}

/* Half of it is written: what a full disk or a broken one leaves. */
static int write_file(sqlite3_file *file, const void *from, int len, sqlite3_int64 at)
{
    if (fails(CALL_WRITE)) {
        (void)REAL(xWrite, from, len / 2, at);
        return fault.error;
    }
    return REAL(xWrite, from, len, at);
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size)
{
    return fails(CALL_TRUNCATE) ? SQLITE_IOERR_TRUNCATE : REAL(xTruncate, size);
}

static int sync_file(sqlite3_file *file, int flags)
{
    return fails(CALL_SYNC) ? SQLITE_IOERR_FSYNC : REAL(xSync, flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    return fails(CALL_SIZE) ? SQLITE_IOERR_FSTAT : REAL(xFileSize, ret);
}

static int lock_file(sqlite3_file *file, int level)
{
    return REAL(xLock, level);
}

static int unlock_file(sqlite3_file *file, int level)
{
    return REAL(xUnlock, level);
}

static int check_lock(sqlite3_file *file, int *ret)
{
    return REAL(xCheckReservedLock, ret);
}

static int control_file(sqlite3_file *file, int operation, void *arg)
{
    return REAL(xFileControl, operation, arg);
}

static int sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int map_shared(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
    return REAL(xShmMap, page, size, extend, ret);
}

static int lock_shared(sqlite3_file *file, int offset, int count, int flags)
{
    return REAL(xShmLock, offset, count, flags);
}

static void barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int unmap_shared(sqlite3_file *file, int remove)
{
    return REAL(xShmUnmap, remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = check_lock,
    .xFileControl = control_file,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = map_shared,
    .xShmLock = lock_shared,
    .xShmBarrier = barrier,
    .xShmUnmap = unmap_shared,
};

static sqlite3_vfs *below;
static sqlite3_vfs faulty;

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret)
{
    (void)vfs;
    sqlite3_file *inner = calloc(1, (size_t)below->szOsFile);
    if (inner == NULL) {
        return SQLITE_NOMEM;
    }
    int rc = below->xOpen(below, name, inner, flags, ret);
    if (rc != SQLITE_OK) {
        free(inner);
        file->pMethods = NULL;
        return rc;
    }
    ((struct file *)(void *)file)->real = inner;
    file->pMethods = &methods;
    return SQLITE_OK;
}

static void register_faulty(void)
{
    below = sqlite3_vfs_find(NULL);
    faulty = *below;
    faulty.zName = "faulty";
    faulty.szOsFile = sizeof(struct file);
    faulty.xOpen = open_file;
    faulty.pNext = NULL;
    assert_int_equal(sqlite3_vfs_register(&faulty, 1), SQLITE_OK);
}

/* ---- a run on them ---- */

#define GROUPS 12
#define EACH   3

static struct depot depot;
static struct ps_store_setup setup;
static struct ps_store_session *session;
static bool kept[GROUPS * EACH];
static const struct ps_store_engine *const engine = &ps_store_sqlite;

static void job_name(char *ret, size_t size, int number)
{
    (void)snprintf(ret, size, "job_%05d", number);
}

/* One transaction; what it was answered. */
static enum ps_store_status write_group(int group)
{
    enum ps_store_status status = engine->begin(session);
    for (int i = 0; i < EACH && status == PS_STORE_OK; i++) {
        char id[16];
        job_name(id, sizeof(id), group * EACH + i);
        struct ps_store_command *add = depot_job_add("t", id, 1);
        char *body = ps_arena_calloc(&add->arena, 9000); /* several pages */
        assert_non_null(body);
        add->in.job.request.bytes = ps_slice(body, 9000);
        status = engine->execute(session, add) ? PS_STORE_OK : add->status;
        if (status == PS_STORE_OK && add->status != PS_STORE_CONFLICT) {
            assert_int_equal(add->status, PS_STORE_OK);
        }
        ps_store_command_free(add);
    }
    return status == PS_STORE_OK ? engine->commit(session) : status;
}

static bool is_there(int number)
{
    char id[16];
    job_name(id, sizeof(id), number);
    struct ps_store_command *get = depot_on(PS_STORE_JOB_GET, "t", id, 0);
    assert_true(engine->execute(session, get));
    bool found = get->status == PS_STORE_OK;
    if (found) {
        assert_int_equal(get->out.jobs[0].request.bytes.len, 9000);
    }
    ps_store_command_free(get);
    return found;
}

static void check_kept(void)
{
    assert_int_equal(engine->begin(session), PS_STORE_OK);
    for (int i = 0; i < GROUPS * EACH; i++) {
        if (kept[i]) {
            assert_true(is_there(i));
        }
    }
    assert_int_equal(engine->commit(session), PS_STORE_OK);
}

static bool open_session(void)
{
    char problem[200];
    session = engine->open(&setup, true, problem, sizeof(problem));
    return session != NULL;
}

/* As store.c does it. */
static bool heal(void)
{
    enum ps_store_mended mended = session == NULL ? PS_STORE_MEND_REOPEN : engine->mend(session);
    if (mended == PS_STORE_MEND_REOPEN) {
        if (session != NULL) {
            engine->close(session);
        }
        return open_session();
    }
    return mended == PS_STORE_MENDED;
}

static void run_groups(void)
{
    bool well = true;
    for (int group = 0; group < GROUPS; group++) {
        well = well || heal();
        if (!well) {
            continue;
        }
        enum ps_store_status status = write_group(group);
        for (int i = 0; i < EACH; i++) {
            kept[group * EACH + i] = status == PS_STORE_OK;
        }
        if (status != PS_STORE_OK) {
            engine->rollback(session);
            assert_true(engine->problem(session)[0] != '\0');
            assert_true(status == PS_STORE_BROKEN || status == PS_STORE_DISK_FULL);
            well = false;
        } else if (group % 4 == 3) {
            (void)engine->tend(session, true); /* checkpoints */
        }
    }
}

static void check_damage(void)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(depot_path(&depot, "jobs.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(db);
}

static void set_up_run(void)
{
    static char rest[] = "jobs.db";
    static char blobs[sizeof(depot.folder) + 8];
    depot_make(&depot);
    memset(kept, 0, sizeof(kept));
    (void)snprintf(blobs, sizeof(blobs), "%s/blobs", depot.folder);
    setup = (struct ps_store_setup){.folder = depot.folder, .rest = rest};
    setup.blobs = ps_blobs_new(&(struct ps_blobs_options){.folder = blobs, .reserve_percent = 101});
    assert_non_null(setup.blobs);
}

/* The run with a fault at the Nth call. False: it was never reached. */
static bool run_once(enum call call, int countdown, bool lasts, int error)
{
    set_up_run();
    fault.countdown = -1;
    assert_true(open_session());
    fault.call = call;
    fault.countdown = countdown;
    fault.lasts = lasts;
    fault.error = error;
    fault.failed = 0;
    run_groups();
    bool reached = fault.failed > 0;
    fault.countdown = -1;
    if (reached) {
        /* It is well again, and everything that was kept is there; so it is after a restart. */
        assert_true(heal());
        check_kept();
        assert_int_equal(write_group(0), PS_STORE_OK);
    }
    engine->close(session);
    check_damage();
    assert_true(open_session());
    check_kept();
    engine->close(session);
    session = NULL;
    ps_blobs_free(setup.blobs);
    depot_remove(&depot);
    return reached;
}

static void run_all(enum call call, bool lasts, int error, int step)
{
    int n = 0;
    while (run_once(call, n, lasts, error)) {
        n += 1 + n / step;
    }
    assert_true(n > 4);
}

static void a_write_fails(void **state)
{
    (void)state;
    run_all(CALL_WRITE, false, SQLITE_IOERR_WRITE, 6);
}

static void writes_fail_for_a_while(void **state)
{
    (void)state;
    run_all(CALL_WRITE, true, SQLITE_IOERR_WRITE, 6);
}

static void the_disk_is_full(void **state)
{
    (void)state;
    run_all(CALL_WRITE, true, SQLITE_FULL, 6);
}

static void a_sync_fails(void **state)
{
    (void)state;
    run_all(CALL_SYNC, false, 0, 100);
}

static void syncs_fail_for_a_while(void **state)
{
    (void)state;
    run_all(CALL_SYNC, true, 0, 100);
}

static void sizes_and_truncations_fail(void **state)
{
    (void)state;
    (void)run_once(CALL_TRUNCATE, 0, false, 0);
    (void)run_once(CALL_TRUNCATE, 0, true, 0);
    run_all(CALL_SIZE, false, 0, 100);
}

static int start(void **state)
{
    (void)state;
    register_faulty();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_fails),          cmocka_unit_test(writes_fail_for_a_while),
        cmocka_unit_test(the_disk_is_full),       cmocka_unit_test(a_sync_fails),
        cmocka_unit_test(syncs_fail_for_a_while), cmocka_unit_test(sizes_and_truncations_fail),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
