/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/net/pool.h"

#include "penstock/base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>

/*
 * Threads wait on one condition for a queue of works under one lock. A work that has run becomes a
 * message whose delivery calls `done`. Freeing lets the threads empty the queue first.
 */

struct ps_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct ps_link queue; /* under lock */
    size_t waiting;       /* under lock */
    size_t max;
    bool stopping; /* under lock */
    unsigned count;
    pthread_t threads[];
};

static void deliver_done(struct ps_message *message)
{
    struct ps_work *work = PS_CONTAINER_OF(message, struct ps_work, message);
    work->done(work);
}

/* The next work, waiting for one; NULL: the pool ends. */
static struct ps_work *take(struct ps_pool *pool)
{
    struct ps_link *link;

    (void)pthread_mutex_lock(&pool->lock);
    while (ps_list_empty(&pool->queue) && !pool->stopping) {
        (void)pthread_cond_wait(&pool->wake, &pool->lock);
    }
    link = ps_list_pop(&pool->queue);
    if (link != NULL) {
        pool->waiting--;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return link == NULL ? NULL : PS_CONTAINER_OF(link, struct ps_work, message.link);
}

static void *run_thread(void *arg)
{
    struct ps_pool *pool = arg;
    struct ps_work *work;

    while ((work = take(pool)) != NULL) {
        work->run(work);
        bool posted = ps_mailbox_post(work->mailbox, &work->message);
        assert(posted); /* see the header: the mailbox stays open */
        (void)posted;
    }
    return NULL;
}

static void stop_threads(struct ps_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->wake);
    (void)pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->count; i++) {
        (void)pthread_join(pool->threads[i], NULL);
    }
}

/* Signals are for the main thread, so the new ones block all. */
static int start_threads(struct ps_pool *pool, unsigned threads)
{
    sigset_t all;
    sigset_t before;
    int rc = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (rc == 0 && pool->count < threads) {
        rc = pthread_create(&pool->threads[pool->count], NULL, run_thread, pool);
        if (rc == 0) {
            pool->count++;
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct ps_pool *ps_pool_new(unsigned threads, size_t queue)
{
    struct ps_pool *pool = ps_calloc(1, sizeof(*pool) + threads * sizeof(pthread_t));
    if (pool == NULL) {
        return NULL;
    }
    ps_list_init(&pool->queue);
    pool->max = queue;
    /* Neither fails with default attributes. */
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    if (start_threads(pool, threads) != 0) {
        ps_pool_free(pool);
        return NULL;
    }
    return pool;
}

bool ps_pool_submit(struct ps_pool *pool, struct ps_work *work)
{
    work->message.deliver = deliver_done;
    (void)pthread_mutex_lock(&pool->lock);
    bool accepted = pool->waiting < pool->max && !pool->stopping;
    if (accepted) {
        ps_list_push_back(&pool->queue, &work->message.link);
        pool->waiting++;
        (void)pthread_cond_signal(&pool->wake);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return accepted;
}

void ps_pool_free(struct ps_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    stop_threads(pool);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    ps_free(pool);
}
