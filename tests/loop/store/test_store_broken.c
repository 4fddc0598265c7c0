/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "store/depot.h"
#include "testing.h"

#include <sqlite3.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A store that cannot be opened or written says so, and works when the cause is gone. */

#define NOW 1000000

static struct depot depot;

static int set_up(void **state)
{
    (void)state;
    depot_make(&depot);
    depot_open(&depot);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    depot_close(&depot);
    depot_remove(&depot);
    return 0;
}

static void expect_broken(const char *why)
{
    char problem[256];
    depot_run(&depot, depot_job_add("t", "job_x", NOW), PS_STORE_BROKEN);
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_x", NOW), PS_STORE_BROKEN);
    ps_store_problem(depot.store, problem, sizeof(problem));
    if (strstr(problem, why) == NULL) {
        fail_msg("expected '… %s …', found '%s'", why, problem);
    }
}

/* It tries again once a second at the most. */
static void wait_until_well(const char *id)
{
    char problem[256];
    enum ps_store_status status = PS_STORE_BROKEN;
    for (int i = 0; i < 3000 && status == PS_STORE_BROKEN; i++) {
        struct ps_store_command *add = depot_job_add("t", id, NOW);
        status = ps_store_do(depot.store, add);
        ps_store_command_free(add);
        (void)poll(NULL, 0, status == PS_STORE_BROKEN ? 10 : 0);
    }
    assert_int_equal(status, PS_STORE_OK);
    ps_store_problem(depot.store, problem, sizeof(problem));
    assert_string_equal(problem, "");
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(depot_path(&depot, name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void run_sql(const char *text)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(depot_path(&depot, "jobs.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_file_in_the_folders_place(void **state)
{
    (void)state;
    assert_int_equal(rmdir(depot.folder), 0);
    FILE *file = fopen(depot.folder, "w");
    assert_non_null(file);
    (void)fclose(file);
    expect_broken("cannot");
    assert_int_equal(unlink(depot.folder), 0);
    wait_until_well("job_1");
    /* What it makes is for its user only. */
    static const char *const names[] = {"jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock"};
    struct stat info;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(stat(depot_path(&depot, names[i]), &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
    }
    assert_int_equal(stat(depot.folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
}

static void a_file_that_is_no_database(void **state)
{
    char found[64] = "";
    (void)state;
    write_file("jobs.db", "This is somebody's letter, and quite long enough to be one.");
    expect_broken("no database");
    FILE *file = fopen(depot_path(&depot, "jobs.db"), "r");
    assert_non_null(file);
    assert_non_null(fgets(found, sizeof(found), file));
    (void)fclose(file);
    assert_memory_equal(found, "This is somebody's letter", 25);
    assert_int_equal(unlink(depot_path(&depot, "jobs.db")), 0);
    wait_until_well("job_1");
}

static void a_database_of_another_program(void **state)
{
    (void)state;
    run_sql("CREATE TABLE letters(text)");
    expect_broken("another program");
}

static void a_database_of_a_later_version(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    depot_close(&depot);
    run_sql("PRAGMA user_version = 999");
    depot_open(&depot);
    expect_broken("later version");
    run_sql("PRAGMA user_version = 2");
    wait_until_well("job_2");
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_1", NOW), PS_STORE_OK);
}

/* As version 1 made it: what had come out of a batch of messages was a file like any other. */
static void a_database_of_an_earlier_version(void **state)
{
    (void)state;
    depot_run(&depot, depot_file_add("t", "file-1", ""), PS_STORE_OK);
    depot_run(&depot, depot_file_add("t", "file-2", ""), PS_STORE_OK);
    depot_run(&depot, depot_batch_add("t", "batch_1", "", NOW), PS_STORE_OK);
    depot_close(&depot);
    run_sql("DROP INDEX batch_ended; DROP INDEX file_tenant;"
            "CREATE INDEX file_tenant ON file(tenant, id); PRAGMA user_version = 1;"
            "DROP INDEX hook_host; DROP INDEX hook_leased; ALTER TABLE hook DROP COLUMN host;"
            "INSERT INTO hook(id, url, type, payload, created, run_at)"
            " VALUES('job_1', 'http://h?x=/', '', x'', 1, 1);"
            "UPDATE file SET purpose = 'batch_output' WHERE id = 'file-1';"
            "UPDATE batch SET api = 1, output_file = 'file-1', status = 5, completed_at = 7");
    depot_open(&depot);
    struct ps_store_command *list = depot_on(PS_STORE_FILE_LIST, "t", "", NOW);
    list->in.list.limit = 10;
    depot_ask(&depot, list, PS_STORE_OK);
    assert_int_equal(list->out.file_count, 1);
    assert_string_equal(list->out.files[0].id.text, "file-2");
    ps_store_command_free(list);
    struct ps_store_command *sweep = depot_on(PS_STORE_SWEEP, "", "", NOW);
    sweep->in.keep_ms = 1;
    depot_run(&depot, sweep, PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_BATCH_GET, "t", "batch_1", 0), PS_STORE_NOT_FOUND);
    struct ps_store_command *hooks = depot_on(PS_STORE_HOOK_TAKE, "", "", NOW);
    hooks->in.limit = 10;
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 1);
    ps_store_command_free(hooks);
}

/* After an end out of order the database is checked. */
static void a_database_that_was_damaged(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%03d", i);
        depot_run(&depot, depot_job_add("t", id, NOW), PS_STORE_OK);
    }
    depot_close(&depot);
    int fd = open(depot_path(&depot, "jobs.db"), O_RDWR);
    assert_true(fd >= 0);
    static const char junk[3 * 4096] = {1, 2, 3};
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(pwrite(fd, junk, sizeof(junk), info.st_size / 8192 * 4096), sizeof(junk));
    (void)close(fd);
    write_file("jobs.db.lock", "o");
    depot_open(&depot);
    expect_broken("damaged");
}

static void another_owner(void **state)
{
    (void)state;
    int fd = open(depot_path(&depot, "jobs.db.lock"), O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    expect_broken("another process");
    assert_int_equal(close(fd), 0);
    wait_until_well("job_1");
}

/* What would be written could never be found again. */
static void a_database_that_is_taken_away(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    assert_int_equal(unlink(depot_path(&depot, "jobs.db")), 0);
    enum ps_store_status status = PS_STORE_OK;
    for (int i = 0; i < 3000 && status != PS_STORE_BROKEN; i++) {
        struct ps_store_command *take = depot_take(NOW - 1, 1);
        status = ps_store_do(depot.store, take);
        ps_store_command_free(take);
        (void)poll(NULL, 0, 2);
    }
    assert_int_equal(status, PS_STORE_BROKEN);
    wait_until_well("job_2");
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_1", NOW), PS_STORE_NOT_FOUND);
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_2", NOW), PS_STORE_OK);
}

/* New work is refused; what is there can be finished. */
static void little_disk_space_is_left(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_file_add("t", "file-1", ""), PS_STORE_OK);
    depot_run(&depot, depot_batch_add("t", "batch_2", "file-1", NOW), PS_STORE_OK);
    depot_close(&depot);
    depot.store = ps_store_new(&(struct ps_store_options){
        .url = "sqlite:jobs.db",
        .folder = depot.folder,
        .reserve_bytes = UINT64_MAX,
    });
    assert_non_null(depot.store);
    depot_run(&depot, depot_job_add("t", "job_2", NOW), PS_STORE_DISK_FULL);
    depot_run(&depot, depot_file_add("t", "file-2", ""), PS_STORE_DISK_FULL);
    depot_run(&depot, depot_batch_add("t", "batch_3", "file-1", NOW), PS_STORE_DISK_FULL);
    depot_run(&depot, depot_batch_lines("batch_2", 0, 1), PS_STORE_DISK_FULL);
    struct ps_store_command *put = depot_command(PS_STORE_OBJECT_PUT);
    depot_run(&depot, put, PS_STORE_DISK_FULL);
    struct ps_store_command *take = depot_take(NOW, 2);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, 2);
    for (size_t i = 0; i < 2; i++) {
        depot_run(&depot, depot_settle(&take->out.claims[i], PS_JOB_COMPLETED, NOW), PS_STORE_OK);
    }
    ps_store_command_free(take);
    depot_run(&depot, depot_on(PS_STORE_BATCH_FINISH, "", "batch_1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_FILE_DELETE, "t", "file-1", NOW), PS_STORE_OK);
}

/* ---- killed ---- */

/* Adds jobs for ever; says each one's number as soon as it was answered. */
static void add_for_ever(int to, int number)
{
    depot_open(&depot);
    for (;; number++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%06d", number);
        depot_run(&depot, depot_job_add("t", id, NOW), PS_STORE_OK);
        if (write(to, &number, sizeof(number)) != sizeof(number)) {
            _exit(1);
        }
    }
}

/* Killed at an arbitrary moment after `least` answers. Returns the last number that was said. */
static int run_and_kill(int number, int least)
{
    int ends[2];
    int last = -1;
    int next;
    int said = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ends[0]);
        add_for_ever(ends[1], number);
    }
    (void)close(ends[1]);
    while (said < least && read(ends[0], &next, sizeof(next)) == sizeof(next)) {
        last = next;
        said++;
    }
    assert_int_equal(said, least);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(ends[0], &next, sizeof(next)) == sizeof(next)) {
        last = next;
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ends[0]);
    return last;
}

/* tests/e2e/test_store_faults.py does this for long, and with power cuts. */
static void what_was_answered_survives_a_kill(void **state)
{
    int last = -1;
    (void)state;
    depot_close(&depot);
    for (int round = 0; round < 8; round++) {
        /* The next one may be there unanswered: its number is left out. */
        int first = last + 2;
        last = run_and_kill(first, 1 + round * 3);
        depot_open(&depot);
        for (int i = first; i <= last; i++) {
            char id[16];
            (void)snprintf(id, sizeof(id), "job_%06d", i);
            depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", id, NOW), PS_STORE_OK);
        }
        depot_close(&depot);
    }
    depot_open(&depot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(what_was_answered_survives_a_kill), TEST(a_file_in_the_folders_place),
        TEST(a_file_that_is_no_database),        TEST(a_database_of_another_program),
        TEST(a_database_of_a_later_version),     TEST(a_database_of_an_earlier_version),
        TEST(a_database_that_was_damaged),       TEST(another_owner),
        TEST(a_database_that_is_taken_away),     TEST(little_disk_space_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
