/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Durable enqueues beside a bare group-commit program, in one run on one disk:
 *
 *     bench_durable [FOLDER [SECONDS [ROUNDS [BYTES]]]]
 *
 * The store: JOB_ADD from a loop, so many in flight, the next when one is answered. The bare
 * program: one thread that inserts as many rows into one table as there are clients and commits,
 * with the same settings of SQLite and nothing else: what is left when every client asks at the
 * very moment the disk is free. Both run in turns, in several rounds, so that a noisy moment meets
 * both; what counts is the ratio. Last, the disk itself: one write and one fdatasync after the
 * other.
 */

#include "penstock/base/clock.h"
#include "penstock/net/loop.h"
#include "penstock/net/mailbox.h"
#include "penstock/store/store.h"

#include <sqlite3.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_BYTES   ((4 << 20) / 4096) /* pages of the log before it is checkpointed */
#define ROUNDS_MAX  64
#define SAMPLES_MAX 4000000

static const unsigned clients[] = {1, 8, 64};
#define CLIENT_CASES (sizeof(clients) / sizeof(clients[0]))

static char payload[1 << 20];
static size_t payload_len = 1024;
static double seconds = 2;
static const char *folder = ".";
static unsigned turn; /* names a fresh folder for each */

static void die(const char *what, const char *why)
{
    (void)fprintf(stderr, "bench_durable: %s: %s\n", what, why);
    exit(1);
}

static void fresh_folder(char *ret, size_t size)
{
    (void)snprintf(ret, size, "%s/bench-durable-%d-%u", folder, (int)getpid(), turn++);
    if (mkdir(ret, 0700) != 0) {
        die(ret, "cannot be made");
    }
}

static void remove_folder(const char *path)
{
    static const char *const names[] = {"jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db-lock",
                                        "jobs.db.lock"};
    char name[512];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(name, sizeof name, "%s/%s", path, names[i]);
        (void)unlink(name);
    }
    if (rmdir(path) != 0) {
        (void)fprintf(stderr, "bench_durable: %s is left\n", path);
    }
}

/* ---- the store ---- */

struct bench {
    struct ps_loop loop;
    struct ps_mailbox mailbox;
    struct ps_store *store;
    int64_t end_us;
    unsigned flying;
    uint64_t done;
    int64_t *took; /* µs */
    size_t took_count;
};

static struct bench bench;

static void on_done(struct ps_store_command *command);

static void enqueue(void)
{
    struct ps_store_command *command = ps_store_command_new(PS_STORE_JOB_ADD);
    if (command == NULL) {
        die("memory", "short");
    }
    struct ps_store_job *job = &command->in.job;
    command->in.now_ms = ps_clock_wall_ms();
    command->in.tenant = PS_SLICE_LIT("default");
    ps_id_make(&job->id, "job_");
    job->tenant = PS_SLICE_LIT("default");
    job->key = PS_SLICE_LIT("default");
    job->endpoint = PS_SLICE_LIT("/generate");
    job->created_ms = command->in.now_ms;
    job->expires_ms = command->in.now_ms + 86400000;
    job->request.bytes = ps_store_command_copy(command, ps_slice(payload, payload_len));
    job->request.length = payload_len;
    command->in.run_at_ms = ps_clock_us(); /* not looked at by JOB_ADD: when it was submitted */
    bench.flying++;
    ps_store_submit(bench.store, command, &bench.mailbox, on_done);
}

static void on_done(struct ps_store_command *command)
{
    int64_t now = ps_clock_us();
    if (command->status != PS_STORE_OK) {
        die("JOB_ADD", ps_store_status_name(command->status));
    }
    if (bench.took_count < SAMPLES_MAX) {
        bench.took[bench.took_count++] = now - command->in.run_at_ms;
    }
    ps_store_command_free(command);
    bench.done++;
    bench.flying--;
    if (now < bench.end_us) {
        enqueue();
    } else if (bench.flying == 0) {
        ps_loop_stop(&bench.loop);
    }
}

static double run_store(unsigned count)
{
    char path[256];
    fresh_folder(path, sizeof path);
    bench.store = ps_store_new(&(struct ps_store_options){
        .url = "sqlite:jobs.db", .folder = path, .reserve_percent = 101});
    struct ps_store_command *command = ps_store_command_new(PS_STORE_COUNT);
    if (bench.store == NULL || command == NULL ||
        ps_store_do(bench.store, command) != PS_STORE_OK) {
        die("store", "cannot be opened");
    }
    ps_store_command_free(command);
    int64_t begin = ps_clock_us();
    bench.done = 0;
    bench.end_us = begin + (int64_t)(seconds * 1e6);
    for (unsigned i = 0; i < count; i++) {
        enqueue();
    }
    ps_loop_run(&bench.loop);
    double rate = (double)bench.done * 1e6 / (double)(ps_clock_us() - begin);
    ps_store_free(bench.store);
    remove_folder(path);
    return rate;
}

/* ---- the bare program ---- */

static void execute(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        die(text, sqlite3_errmsg(db));
    }
}

static sqlite3 *open_bare(const char *path)
{
    char name[512];
    sqlite3 *db = NULL;
    (void)snprintf(name, sizeof name, "%s/jobs.db", path);
    if (sqlite3_open(name, &db) != SQLITE_OK) {
        die(name, sqlite3_errmsg(db));
    }
    execute(db, "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;"
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;"
                "CREATE TABLE job(num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
                " state INTEGER NOT NULL, run_at INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;"
                "CREATE INDEX job_ready ON job(run_at, num) WHERE state = 0;");
    return db;
}

static void insert(sqlite3_stmt *statement)
{
    struct ps_id id;
    ps_id_make(&id, "job_");
    (void)sqlite3_bind_text(statement, 1, id.text, -1, SQLITE_STATIC);
    (void)sqlite3_bind_int64(statement, 2, ps_clock_wall_ms());
    (void)sqlite3_bind_blob(statement, 3, payload, (int)payload_len, SQLITE_STATIC);
    if (sqlite3_step(statement) != SQLITE_DONE) {
        die("insert", sqlite3_errmsg(sqlite3_db_handle(statement)));
    }
    (void)sqlite3_reset(statement);
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    *(int *)arg = pages;
    return SQLITE_OK;
}

static double run_bare(unsigned count)
{
    char path[256];
    sqlite3_stmt *statement = NULL;
    uint64_t done = 0;
    int pages = 0;
    fresh_folder(path, sizeof path);
    sqlite3 *db = open_bare(path);
    if (sqlite3_prepare_v2(db, "INSERT INTO job(id, state, run_at, payload) VALUES(?, 0, ?, ?)", -1,
                           &statement, NULL) != SQLITE_OK) {
        die("prepare", sqlite3_errmsg(db));
    }
    (void)sqlite3_wal_hook(db, on_commit, &pages);
    int64_t begin = ps_clock_us();
    int64_t end = begin + (int64_t)(seconds * 1e6);
    while (ps_clock_us() < end) {
        execute(db, "BEGIN IMMEDIATE");
        for (unsigned i = 0; i < count; i++) {
            insert(statement);
        }
        execute(db, "COMMIT");
        done += count;
        if (pages >= LOG_BYTES) {
            (void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
            pages = 0;
        }
    }
    double rate = (double)done * 1e6 / (double)(ps_clock_us() - begin);
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(db);
    remove_folder(path);
    return rate;
}

static double run_disk(void)
{
    char path[256];
    char name[512];
    uint64_t done = 0;
    fresh_folder(path, sizeof path);
    (void)snprintf(name, sizeof name, "%s/jobs.db", path);
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int64_t begin = ps_clock_us();
    int64_t end = begin + (int64_t)(seconds * 1e6);
    while (ps_clock_us() < end) {
        if (fd < 0 || write(fd, payload, 4096) != 4096 || fdatasync(fd) != 0) {
            die(name, "cannot be written");
        }
        done++;
    }
    (void)close(fd);
    double rate = (double)done * 1e6 / (double)(ps_clock_us() - begin);
    remove_folder(path);
    return rate;
}

/* ---- the table ---- */

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static int compare_times(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof values[0], compare_doubles);
    return values[count / 2];
}

static double percentile_ms(unsigned percent)
{
    if (bench.took_count == 0) {
        return 0;
    }
    return (double)bench.took[(bench.took_count - 1) * percent / 100] / 1000;
}

static void measure(unsigned count, unsigned rounds)
{
    double bare[ROUNDS_MAX];
    double store[ROUNDS_MAX];
    double ratio[ROUNDS_MAX];
    bench.took_count = 0;
    for (unsigned i = 0; i < rounds; i++) {
        bare[i] = run_bare(count);
        store[i] = run_store(count);
        ratio[i] = store[i] / bare[i];
    }
    qsort(bench.took, bench.took_count, sizeof bench.took[0], compare_times);
    double bare_rate = median(bare, rounds);
    double store_rate = median(store, rounds);
    double middle = median(ratio, rounds);
    printf("| %7u | %12.0f | %12.0f | %5.2f | %5.2f - %-5.2f | %6.2f | %6.2f |\n", count, bare_rate,
           store_rate, middle, ratio[0], ratio[rounds - 1], percentile_ms(50), percentile_ms(99));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct ps_budget budget = {.limit = SIZE_MAX};
    unsigned rounds = 5;

    folder = argc > 1 ? argv[1] : folder;
    seconds = argc > 2 ? strtod(argv[2], NULL) : seconds;
    rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : rounds;
    payload_len = argc > 4 ? (size_t)strtoul(argv[4], NULL, 10) : payload_len;
    if (rounds < 1 || rounds > ROUNDS_MAX || payload_len > PS_STORE_INLINE_BYTES || seconds <= 0) {
        die("arguments", "[FOLDER [SECONDS [ROUNDS (1-64) [BYTES (0-65536)]]]]");
    }
    memset(payload, 'x', sizeof payload);
    bench.took = malloc(SAMPLES_MAX * sizeof bench.took[0]);
    if (bench.took == NULL || ps_loop_init(&bench.loop, 0, &budget) != 0 ||
        ps_mailbox_init(&bench.mailbox, &bench.loop) != 0) {
        die("loop", "cannot be made");
    }
    printf("durable enqueues of %zu bytes; medians of %u rounds of %.1f s each\n\n", payload_len,
           rounds, seconds);
    printf("| clients | bare, 1/s    | store, 1/s   | ratio | of all rounds | p50 ms | p99 ms |\n");
    printf("| ------: | -----------: | -----------: | ----: | ------------- | -----: | -----: |\n");
    for (size_t i = 0; i < CLIENT_CASES; i++) {
        measure(clients[i], rounds);
    }
    printf("\nthe disk: %.0f writes of 4 KiB with fdatasync a second\n", run_disk());
    ps_mailbox_close(&bench.mailbox, NULL);
    ps_loop_deinit(&bench.loop);
    free(bench.took);
    return 0;
}
