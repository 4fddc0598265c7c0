/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "net/bench.h"
#include "store/depot.h"
#include "testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Queue, groups and answers: many submitters, one loop. */

#define NOW     1000000
#define MANY    2000
#define THREADS 4

static struct depot depot;
static struct bench bench;
static struct ps_mailbox mailbox;
static pthread_t loop_thread;
static unsigned answered;
static unsigned statuses[PS_STORE_NO_MEMORY + 1];
static unsigned closes;

static int set_up(void **state)
{
    (void)state;
    depot_make(&depot);
    bench_init(&bench);
    answered = 0;
    closes = 0;
    memset(statuses, 0, sizeof(statuses));
    loop_thread = pthread_self();
    return ps_mailbox_init(&mailbox, &bench.loop);
}

static void on_closed(struct ps_mailbox *closed)
{
    (void)closed;
    closes++;
}

static int tear_down(void **state)
{
    (void)state;
    depot_close(&depot);
    ps_mailbox_close(&mailbox, on_closed);
    WAIT_FOR(&bench, (void)0, closes == 1);
    bench_deinit(&bench);
    depot_remove(&depot);
    return 0;
}

static void on_done(struct ps_store_command *command)
{
    assert_true(pthread_equal(loop_thread, pthread_self()));
    answered++;
    statuses[command->status]++;
    ps_store_command_free(command);
}

static void submit_job(unsigned number)
{
    char id[16];
    (void)snprintf(id, sizeof(id), "job_%05u", number);
    ps_store_submit(depot.store, depot_job_add("t", id, NOW), &mailbox, on_done);
}

static uint64_t count_queued(void)
{
    struct ps_store_command *count = depot_command(PS_STORE_COUNT);
    depot_ask(&depot, count, PS_STORE_OK);
    uint64_t queued = count->out.counts.jobs[PS_JOB_QUEUED];
    ps_store_command_free(count);
    return queued;
}

static void what_waits_together_is_committed_together(void **state)
{
    struct ps_store_stats stats;
    (void)state;
    depot_open(&depot);
    for (unsigned i = 0; i < MANY; i++) {
        submit_job(i);
    }
    WAIT_FOR(&bench, (void)0, answered == MANY);
    assert_int_equal(statuses[PS_STORE_OK], MANY);
    ps_store_stats(depot.store, &stats);
    assert_int_equal(stats.commands, MANY);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.queued_bytes, 0);
    assert_true(stats.commits <= MANY / 10);
    assert_int_equal(count_queued(), MANY);
}

static void *submit_some(void *arg)
{
    unsigned first = *(unsigned *)arg;
    for (unsigned i = 0; i < MANY / THREADS; i++) {
        submit_job(first + i);
    }
    return NULL;
}

/* From several threads, and the store ends before they are answered: what was accepted is kept. */
static void ending_executes_what_waits(void **state)
{
    pthread_t threads[THREADS];
    unsigned firsts[THREADS];
    (void)state;
    depot_open(&depot);
    for (unsigned i = 0; i < THREADS; i++) {
        firsts[i] = i * (MANY / THREADS);
        assert_int_equal(pthread_create(&threads[i], NULL, submit_some, &firsts[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    depot_close(&depot);
    WAIT_FOR(&bench, (void)0, answered == MANY);
    assert_int_equal(statuses[PS_STORE_OK], MANY);
    depot_open(&depot);
    assert_int_equal(count_queued(), MANY);
}

/* A process that is told twice to end does not wait for what its clients asked. */
static void a_loop_that_ends_leaves_its_commands_to_the_store(void **state)
{
    (void)state;
    depot_open(&depot);
    for (unsigned i = 0; i < MANY; i++) {
        submit_job(i);
    }
    ps_mailbox_close(&mailbox, on_closed);
    WAIT_FOR(&bench, (void)0, closes == 1);
    depot_close(&depot); /* executes them all, and frees them */
    assert_true(answered < MANY);
    depot_open(&depot);
    assert_int_equal(count_queued(), MANY);
    closes = 0;
    assert_int_equal(ps_mailbox_init(&mailbox, &bench.loop), 0); /* for the end of the test */
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    depot.store = ps_store_new(&(struct ps_store_options){
        .url = "sqlite:jobs.db",
        .folder = depot.folder,
        .queue = 10,
        .reserve_bytes = 1,
        .reserve_percent = 101,
    });
    assert_non_null(depot.store);
    for (unsigned i = 0; i < MANY; i++) {
        submit_job(i);
    }
    WAIT_FOR(&bench, (void)0, answered == MANY);
    assert_true(statuses[PS_STORE_BUSY] > 0);
    assert_int_equal(statuses[PS_STORE_OK] + statuses[PS_STORE_BUSY], MANY);
    assert_int_equal(count_queued(), statuses[PS_STORE_OK]);
}

static void a_queue_has_room_for_so_many_bytes(void **state)
{
    (void)state;
    depot.store = ps_store_new(&(struct ps_store_options){
        .url = "sqlite:jobs.db",
        .folder = depot.folder,
        .queue_bytes = 100000,
        .reserve_bytes = 1,
        .reserve_percent = 101,
    });
    assert_non_null(depot.store);
    struct ps_store_command *add = depot_job_add("t", "job_big", NOW);
    char *body = ps_arena_calloc(&add->arena, 100000);
    assert_non_null(body);
    depot_run(&depot, add, PS_STORE_BUSY);
    depot_run(&depot, depot_job_add("t", "job_small", NOW), PS_STORE_OK);
}

/* A reader that comes after the answer sees what was answered; on whatever thread. */
static void reads_see_what_was_answered(void **state)
{
    (void)state;
    depot_open(&depot);
    for (unsigned i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%05u", i);
        depot_run(&depot, depot_job_add("t", id, NOW), PS_STORE_OK);
        depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", id, NOW), PS_STORE_OK);
    }
}

struct worker {
    unsigned number;
    atomic_bool *stop;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    for (unsigned i = 0; !atomic_load(worker->stop); i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), "job_%u_%05u", worker->number, i);
        depot_run(&depot, depot_job_add("t", id, NOW), PS_STORE_OK);
        struct ps_store_command *take = depot_take(NOW, 2);
        depot_ask(&depot, take, PS_STORE_OK);
        for (size_t j = 0; j < take->out.claim_count; j++) {
            depot_run(&depot, depot_settle(&take->out.claims[j], PS_JOB_COMPLETED, NOW),
                      PS_STORE_OK);
        }
        ps_store_command_free(take);
        depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", id, NOW), PS_STORE_OK);
        depot_run(&depot, depot_on(PS_STORE_JOB_LIST, "t", "", NOW), PS_STORE_OK);
    }
    return NULL;
}

/* Nobody is handed what another one has: every claim can be settled, exactly once. */
static void many_clients_share_the_work(void **state)
{
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    atomic_bool stop = false;
    struct ps_store_stats stats = {0};
    (void)state;
    depot_open(&depot);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){i, &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    while (stats.commands < 1500) {
        ps_store_stats(depot.store, &stats);
        bench_turn(&bench);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void a_store_that_nobody_uses_touches_nothing(void **state)
{
    char error[200];
    (void)state;
    depot_open(&depot);
    assert_false(ps_store_exists(depot.store));
    depot_close(&depot);
    depot_open(&depot);
    assert_false(ps_store_exists(depot.store));
    assert_true(ps_store_check("sqlite:jobs.db", error, sizeof(error)));
    assert_true(ps_store_check("sqlite:/var/lib/jobs.db", error, sizeof(error)));
    static const char *const wrong[] = {
        "", "sqlite", "sqlite:", "sqlite:a/", "sqlite::memory:", "postgres://x", "jobs.db"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        error[0] = '\0';
        assert_false(ps_store_check(wrong[i], error, sizeof(error)));
        assert_true(error[0] != '\0');
        assert_null(ps_store_new(&(struct ps_store_options){.url = wrong[i], .folder = "x"}));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(what_waits_together_is_committed_together),
        TEST(ending_executes_what_waits),
        TEST(a_loop_that_ends_leaves_its_commands_to_the_store),
        TEST(a_full_queue_refuses),
        TEST(a_queue_has_room_for_so_many_bytes),
        TEST(reads_see_what_was_answered),
        TEST(many_clients_share_the_work),
        TEST(a_store_that_nobody_uses_touches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
