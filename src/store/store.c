/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_priv.h"
#include "threads_priv.h"

#include "penstock/base/mem.h"

#include <signal.h>
#include <stdio.h>

#define DEFAULT_QUEUE       16384
#define DEFAULT_QUEUE_BYTES ((uint64_t)64 << 20)
#define DEFAULT_RESERVE     ((uint64_t)64 << 20)
#define DEFAULT_PERCENT     5

static const struct ps_store_engine *const engines[] = {&ps_store_sqlite};

/* The engine of a url, and what follows its scheme. */
static const struct ps_store_engine *find_engine(const char *url, const char **ret_rest)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        size_t len = strlen(engines[i]->scheme);
        if (strncmp(url, engines[i]->scheme, len) == 0 && url[len] == ':') {
            *ret_rest = url + len + 1;
            return engines[i];
        }
    }
    return NULL;
}

bool ps_store_check(const char *url, char *ret_error, size_t error_size)
{
    const char *rest;
    const struct ps_store_engine *engine = find_engine(url, &rest);

    if (engine == NULL) {
        (void)snprintf(ret_error, error_size, "expected sqlite:PATH, found '%.100s'", url);
        return false;
    }
    return engine->check(rest, ret_error, error_size);
}

static void init_queue(struct ps_store_queue *queue, const pthread_condattr_t *attr)
{
    ps_list_init(&queue->list);
    queue->wanted = 1;
    (void)pthread_cond_init(&queue->wake, attr);
}

/* None of these fails with the attributes given. */
static void init_locks(struct ps_store *store)
{
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&store->lock, NULL);
    (void)pthread_cond_init(&store->answered, &attr);
    init_queue(&store->writes, &attr);
    init_queue(&store->reads, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static void set_limits(struct ps_store *store, const struct ps_store_options *options)
{
    store->queue_max = options->queue != 0 ? options->queue : DEFAULT_QUEUE;
    store->queue_bytes_max = options->queue_bytes != 0 ? options->queue_bytes : DEFAULT_QUEUE_BYTES;
    store->space = (struct ps_store_space){
        .folder = store->setup.folder,
        .reserve_bytes = options->reserve_bytes != 0 ? options->reserve_bytes : DEFAULT_RESERVE,
        .reserve_percent =
            options->reserve_percent != 0 ? options->reserve_percent : DEFAULT_PERCENT,
    };
}

static struct ps_blobs *make_blobs(const struct ps_store *store)
{
    size_t size = strlen(store->setup.folder) + sizeof("/blobs");
    char *folder = ps_malloc(size);
    struct ps_blobs *blobs = NULL;

    if (folder != NULL) {
        (void)snprintf(folder, size, "%s/blobs", store->setup.folder);
        blobs = ps_blobs_new(&(struct ps_blobs_options){
            .folder = folder,
            .reserve_bytes = store->space.reserve_bytes,
            .reserve_percent = store->space.reserve_percent,
        });
        ps_free(folder);
    }
    return blobs;
}

/* Signals are for the main thread, so the new ones block all. */
static int start_threads(struct ps_store *store)
{
    sigset_t all;
    sigset_t before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&store->writer, NULL, ps_store_run_writer, store);
    if (rc == 0) {
        store->threads++;
        rc = pthread_create(&store->reader, NULL, ps_store_run_reader, store);
        store->threads += rc == 0 ? 1 : 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct ps_store *ps_store_new(const struct ps_store_options *options)
{
    const char *rest;
    char error[PS_STORE_SENTENCE];

    if (!ps_store_check(options->url, error, sizeof(error))) {
        return NULL;
    }
    struct ps_store *store = ps_calloc(1, sizeof(*store));
    if (store == NULL) {
        return NULL;
    }
    init_locks(store);
    store->engine = find_engine(options->url, &rest);
    store->setup.folder = ps_strndup(options->folder, strlen(options->folder));
    store->setup.rest = ps_strndup(rest, strlen(rest));
    if (store->setup.folder != NULL && store->setup.rest != NULL) {
        set_limits(store, options);
        store->setup.blobs = make_blobs(store);
    }
    if (store->setup.blobs == NULL || start_threads(store) != 0) {
        ps_store_free(store);
        return NULL;
    }
    return store;
}

/* The reader first: what it holds open would keep the writer from emptying the log. */
static void stop_threads(struct ps_store *store)
{
    (void)pthread_mutex_lock(&store->lock);
    store->stopping = true;
    (void)pthread_cond_broadcast(&store->reads.wake);
    (void)pthread_mutex_unlock(&store->lock);
    if (store->threads > 1) {
        (void)pthread_join(store->reader, NULL);
    }
    (void)pthread_mutex_lock(&store->lock);
    (void)pthread_cond_broadcast(&store->writes.wake);
    (void)pthread_mutex_unlock(&store->lock);
    if (store->threads > 0) {
        (void)pthread_join(store->writer, NULL);
    }
}

void ps_store_free(struct ps_store *store)
{
    if (store == NULL) {
        return;
    }
    stop_threads(store);
    ps_blobs_free(store->setup.blobs);
    (void)pthread_cond_destroy(&store->writes.wake);
    (void)pthread_cond_destroy(&store->reads.wake);
    (void)pthread_cond_destroy(&store->answered);
    (void)pthread_mutex_destroy(&store->lock);
    ps_free(store->setup.folder);
    ps_free(store->setup.rest);
    ps_free(store);
}

bool ps_store_exists(const struct ps_store *store)
{
    return store->engine->exists(&store->setup);
}

struct ps_blobs *ps_store_blobs(struct ps_store *store)
{
    return store->setup.blobs;
}

void ps_store_stats(const struct ps_store *store, struct ps_store_stats *ret)
{
    /* The lock is no part of what a reader may not change. */
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&store->lock;

    (void)pthread_mutex_lock(lock);
    *ret = (struct ps_store_stats){
        .queued = store->writes.count + store->reads.count,
        .queued_bytes = store->queue_bytes,
    };
    (void)pthread_mutex_unlock(lock);
    ret->commands = atomic_load(&store->commands);
    ret->commits = atomic_load(&store->commits);
    ret->failures = atomic_load(&store->failures);
    ret->log_bytes = atomic_load(&store->log_bytes);
}
