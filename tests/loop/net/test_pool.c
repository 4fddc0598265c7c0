/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "net/bench.h"
#include "testing.h"

#include "penstock/base/mem.h"
#include "penstock/net/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct site {
    struct bench bench;
    struct ps_mailbox mailbox;
    pthread_t thread; /* the loop's */
    unsigned done;
    unsigned closes;
};

static struct site site;

struct job {
    struct ps_work work;
    unsigned runs;
    unsigned dones;
    uint64_t value;
};

/* Holds the threads of a pool until it is opened. */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static unsigned gate_inside;

static void run_job(struct ps_work *work)
{
    struct job *job = PS_CONTAINER_OF(work, struct job, work);
    sigset_t blocked;
    assert_false(pthread_equal(site.thread, pthread_self()));
    /* Signals are for the main thread. */
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    assert_int_equal(sigismember(&blocked, SIGTERM), 1);
    job->runs++;
    job->value = job->value * 2 + 1;
}

static void run_gated(struct ps_work *work)
{
    pthread_mutex_lock(&gate_lock);
    gate_inside++;
    pthread_cond_broadcast(&gate_moved);
    while (!gate_open) {
        pthread_cond_wait(&gate_moved, &gate_lock);
    }
    pthread_mutex_unlock(&gate_lock);
    run_job(work);
}

static void wait_for_gate(unsigned count)
{
    pthread_mutex_lock(&gate_lock);
    while (gate_inside < count) {
        pthread_cond_wait(&gate_moved, &gate_lock);
    }
    pthread_mutex_unlock(&gate_lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = true;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

static void on_done(struct ps_work *work)
{
    struct job *job = PS_CONTAINER_OF(work, struct job, work);
    assert_true(pthread_equal(site.thread, pthread_self()));
    assert_int_equal(job->runs, job->dones + 1);
    job->dones++;
    site.done++;
}

static void job_init(struct job *job, uint64_t value, void (*run)(struct ps_work *work))
{
    *job = (struct job){.work = {.mailbox = &site.mailbox, .run = run, .done = on_done},
                        .value = value};
}

static void on_closed(struct ps_mailbox *mailbox)
{
    (void)mailbox;
    site.closes++;
}

static int open_site(void **state)
{
    (void)state;
    site = (struct site){.thread = pthread_self()};
    gate_open = false;
    gate_inside = 0;
    bench_init(&site.bench);
    return ps_mailbox_init(&site.mailbox, &site.bench.loop);
}

static int close_site(void **state)
{
    (void)state;
    ps_mailbox_close(&site.mailbox, on_closed);
    bench_deinit(&site.bench);
    assert_int_equal(site.closes, 1);
    return 0;
}

static void every_job_runs_once(void **state)
{
    enum {
        JOBS = 5000
    };
    struct job *jobs = calloc(JOBS, sizeof(*jobs));
    struct ps_pool *pool = ps_pool_new(3, 64);
    size_t submitted = 0;
    (void)state;
    assert_true(jobs != NULL && pool != NULL);
    for (size_t i = 0; i < JOBS; i++) {
        job_init(&jobs[i], i, run_job);
    }
    /* The queue is often full: then the loop turns and it is tried again. */
    while (site.done < JOBS) {
        while (submitted < JOBS && ps_pool_submit(pool, &jobs[submitted].work)) {
            submitted++;
        }
        bench_turn(&site.bench);
    }
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].dones, 1);
        assert_int_equal(jobs[i].value, i * 2 + 1);
    }
    /* A work may be used again once it is done. */
    assert_true(ps_pool_submit(pool, &jobs[0].work));
    WAIT_FOR(&site.bench, (void)0, jobs[0].dones == 2);
    ps_pool_free(pool);
    free(jobs);
}

static void a_full_queue_refuses(void **state)
{
    struct job jobs[6];
    struct ps_pool *pool = ps_pool_new(2, 3);
    (void)state;
    assert_non_null(pool);
    for (size_t i = 0; i < 6; i++) {
        job_init(&jobs[i], i, run_gated);
    }
    assert_true(ps_pool_submit(pool, &jobs[0].work));
    assert_true(ps_pool_submit(pool, &jobs[1].work));
    wait_for_gate(2); /* both run and wait no more */
    assert_true(ps_pool_submit(pool, &jobs[2].work));
    assert_true(ps_pool_submit(pool, &jobs[3].work));
    assert_true(ps_pool_submit(pool, &jobs[4].work));
    assert_false(ps_pool_submit(pool, &jobs[5].work));
    open_gate();
    WAIT_FOR(&site.bench, (void)0, site.done == 5);
    assert_int_equal(jobs[5].runs, 0);
    ps_pool_free(pool);
}

static void *open_gate_later(void *arg)
{
    (void)arg;
    open_gate();
    return NULL;
}

/* Freeing waits for what was accepted, and its `done` still come. */
static void freeing_waits_for_all_work(void **state)
{
    struct job jobs[8];
    struct ps_pool *pool = ps_pool_new(2, 8);
    pthread_t thread;
    (void)state;
    assert_non_null(pool);
    for (size_t i = 0; i < 8; i++) {
        job_init(&jobs[i], i, run_gated);
        assert_true(ps_pool_submit(pool, &jobs[i].work));
    }
    assert_int_equal(pthread_create(&thread, NULL, open_gate_later, NULL), 0);
    ps_pool_free(pool);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(jobs[i].runs, 1);
        assert_int_equal(jobs[i].dones, 0);
    }
    WAIT_FOR(&site.bench, (void)0, site.done == 8);
}

/* The loop turns while every thread of the pool is busy. */
static void the_loop_does_not_wait_for_the_pool(void **state)
{
    struct job job;
    struct ps_pool *pool = ps_pool_new(1, 1);
    (void)state;
    assert_non_null(pool);
    job_init(&job, 1, run_gated);
    assert_true(ps_pool_submit(pool, &job.work));
    wait_for_gate(1);
    for (unsigned i = 0; i < 10; i++) {
        bench_turn(&site.bench);
    }
    assert_int_equal(site.done, 0);
    open_gate();
    WAIT_FOR(&site.bench, (void)0, site.done == 1);
    ps_pool_free(pool);
}

static void an_unused_pool_goes_quietly(void **state)
{
    (void)state;
    struct ps_pool *pool = ps_pool_new(4, 1);
    assert_non_null(pool);
    ps_pool_free(pool);
    ps_pool_free(NULL);
    (void)ps_mem_fail_after(0);
    assert_null(ps_pool_new(4, 1));
    (void)ps_mem_fail_after(-1);
}

#define SITE_TEST(name) cmocka_unit_test_setup_teardown(name, open_site, close_site)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(every_job_runs_once),         SITE_TEST(a_full_queue_refuses),
        SITE_TEST(freeing_waits_for_all_work),  SITE_TEST(the_loop_does_not_wait_for_the_pool),
        SITE_TEST(an_unused_pool_goes_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
