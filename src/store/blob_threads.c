/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_io.h"

#include "penstock/base/mem.h"

#include <pthread.h>
#include <signal.h>

struct ps_blob_threads {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct ps_link queue; /* under lock */
    unsigned running;     /* under lock: tasks that may still submit others */
    bool stopping;        /* under lock */
    unsigned count;
    pthread_t threads[];
};

/* The next task, waiting for one; NULL: the threads end. */
static struct ps_blob_task *take(struct ps_blob_threads *threads, bool first)
{
    (void)pthread_mutex_lock(&threads->lock);
    if (!first) {
        threads->running--;
        if (threads->stopping && threads->running == 0) {
            (void)pthread_cond_broadcast(&threads->wake);
        }
    }
    while (ps_list_empty(&threads->queue) && !(threads->stopping && threads->running == 0)) {
        (void)pthread_cond_wait(&threads->wake, &threads->lock);
    }
    struct ps_link *link = ps_list_pop(&threads->queue);
    if (link != NULL) {
        threads->running++;
    }
    (void)pthread_mutex_unlock(&threads->lock);
    return link == NULL ? NULL : PS_CONTAINER_OF(link, struct ps_blob_task, link);
}

static void *run_thread(void *arg)
{
    struct ps_blob_threads *threads = arg;
    struct ps_blob_task *task = take(threads, true);

    while (task != NULL) {
        task->run(task);
        task = take(threads, false);
    }
    return NULL;
}

/* Signals are for the main thread, so these block all. */
static void start_threads(struct ps_blob_threads *threads, unsigned count)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (threads->count < count &&
           pthread_create(&threads->threads[threads->count], NULL, run_thread, threads) == 0) {
        threads->count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct ps_blob_threads *ps_blob_threads_new(unsigned count)
{
    struct ps_blob_threads *threads =
        ps_calloc(1, sizeof(*threads) + count * sizeof(threads->threads[0]));
    if (threads == NULL) {
        return NULL;
    }
    ps_list_init(&threads->queue);
    /* Neither fails with default attributes. */
    (void)pthread_mutex_init(&threads->lock, NULL);
    (void)pthread_cond_init(&threads->wake, NULL);
    start_threads(threads, count);
    if (threads->count == 0) {
        ps_blob_threads_free(threads);
        return NULL;
    }
    return threads;
}

void ps_blob_threads_submit(struct ps_blob_threads *threads, struct ps_blob_task *task)
{
    (void)pthread_mutex_lock(&threads->lock);
    ps_list_push_back(&threads->queue, &task->link);
    (void)pthread_cond_signal(&threads->wake);
    (void)pthread_mutex_unlock(&threads->lock);
}

void ps_blob_threads_free(struct ps_blob_threads *threads)
{
    if (threads == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&threads->lock);
    threads->stopping = true;
    (void)pthread_cond_broadcast(&threads->wake);
    (void)pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->count; i++) {
        (void)pthread_join(threads->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&threads->wake);
    (void)pthread_mutex_destroy(&threads->lock);
    ps_free(threads);
}
