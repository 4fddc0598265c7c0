/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_priv.h"
#include "store_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

/*
 * Two threads, each with a queue and a session of its own. The writer takes whatever waits, at most
 * GROUP_MAX commands, makes one transaction of it, commits, and only then answers; while one commit
 * waits for the disk, the next group gathers. The reader does the same for commands that only read,
 * so that they never wait for the disk. Until the store is open, reads go to the writer too, since
 * it is the one that opens.
 *
 * Gathering: a writer that is faster than its clients would commit one command alone, then the rest
 * of them. So it waits, LINGER_US at most, until as many have come as the last two groups held; one
 * client alone is never waited for.
 *
 * Failures: a store that does not open, or a transaction that is lost, costs every command of the
 * group (BROKEN, or what the engine says); whether its writes are on disk is unknown then. The next
 * attempt comes with a later command, RETRY_US later at the earliest.
 */
#define GROUP_MAX           256
#define READ_GROUP_MAX      64
#define LINGER_US           2000
#define RETRY_US            1000000
#define IDLE_US             1000000 /* without a command, before tidying up */
#define TEND_EVERY          32      /* groups, under constant load */
#define LOG_BYTES           ((uint64_t)4 << 20)
#define DEFAULT_QUEUE       16384
#define DEFAULT_QUEUE_BYTES ((uint64_t)64 << 20)
#define DEFAULT_RESERVE     ((uint64_t)64 << 20)
#define DEFAULT_PERCENT     5
#define SENTENCE            256

struct queue {
    struct ps_link list; /* under the store's lock, as all of this */
    size_t count;
    size_t wanted; /* a gathering thread wakes at so many; else at 1 */
    pthread_cond_t wake;
};

struct ps_store {
    const struct ps_store_engine *engine;
    struct ps_store_setup setup;
    uint32_t queue_max;
    uint64_t queue_bytes_max;

    pthread_mutex_t lock;
    struct queue writes;
    struct queue reads;
    uint64_t queue_bytes;    /* of both */
    bool readable;           /* the reader may open a session */
    uint64_t opened;         /* how often the writer has */
    bool stopping;           /* no command comes any more */
    char problem[SENTENCE];  /* "": none */
    pthread_cond_t answered; /* for ps_store_do */

    pthread_t writer;
    pthread_t reader;
    unsigned threads; /* that run */

    /* The writer's. */
    struct ps_store_session *session;
    bool failed;      /* its last transaction was lost */
    int64_t retry_us; /* not opened or mended before */
    size_t last_groups[2];
    unsigned untended; /* groups since the last slice of housekeeping */
    bool restless;     /* there is more of it to do */
    struct ps_store_space space;

    /* The reader's. */
    struct ps_store_session *read_session;
    uint64_t read_opened; /* `opened` when it was */

    atomic_uint_fast64_t commands;
    atomic_uint_fast64_t commits;
    atomic_uint_fast64_t failures;
    atomic_uint_fast64_t log_bytes;
};

struct group {
    struct ps_link list;
    size_t count;
};

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

/* ---- the queues ---- */

static struct ps_store_command *command_of(struct ps_link *link)
{
    return PS_CONTAINER_OF(link, struct ps_store_command, message.link);
}

static uint64_t weigh(const struct ps_store_command *command)
{
    return sizeof(*command) + command->arena.used;
}

static void deliver(struct ps_message *message)
{
    struct ps_store_command *command = PS_CONTAINER_OF(message, struct ps_store_command, message);
    command->done(command);
}

static void answer(struct ps_store *store, struct ps_store_command *command)
{
    if (command->mailbox != NULL) {
        bool posted = ps_mailbox_post(command->mailbox, &command->message);
        assert(posted); /* see the header: the mailbox stays open */
        (void)posted;
        return;
    }
    (void)pthread_mutex_lock(&store->lock);
    command->answered = true;
    (void)pthread_cond_broadcast(&store->answered);
    (void)pthread_mutex_unlock(&store->lock);
}

static bool enqueue(struct ps_store *store, struct ps_store_command *command)
{
    uint64_t bytes = weigh(command);

    (void)pthread_mutex_lock(&store->lock);
    bool room = store->writes.count + store->reads.count < store->queue_max &&
                store->queue_bytes + bytes <= store->queue_bytes_max;
    if (room) {
        bool reads = store->readable && !ps_store_verb_writes(command->verb);
        struct queue *queue = reads ? &store->reads : &store->writes;
        ps_list_push_back(&queue->list, &command->message.link);
        queue->count++;
        store->queue_bytes += bytes;
        if (queue->count >= queue->wanted) {
            (void)pthread_cond_signal(&queue->wake);
        }
    }
    (void)pthread_mutex_unlock(&store->lock);
    return room;
}

static void submit(struct ps_store *store, struct ps_store_command *command)
{
    command->message.deliver = deliver;
    command->answered = false;
    (void)atomic_fetch_add(&store->commands, 1);
    if (!enqueue(store, command)) {
        command->status = PS_STORE_BUSY;
        answer(store, command);
    }
}

void ps_store_submit(struct ps_store *store, struct ps_store_command *command,
                     struct ps_mailbox *mailbox, void (*done)(struct ps_store_command *command))
{
    command->mailbox = mailbox;
    command->done = done;
    submit(store, command);
}

enum ps_store_status ps_store_do(struct ps_store *store, struct ps_store_command *command)
{
    command->mailbox = NULL;
    command->done = NULL;
    submit(store, command);
    (void)pthread_mutex_lock(&store->lock);
    while (!command->answered) {
        (void)pthread_cond_wait(&store->answered, &store->lock);
    }
    (void)pthread_mutex_unlock(&store->lock);
    return command->status;
}

/* Takes at most `max` commands out. The lock is held. */
static void take(struct ps_store *store, struct queue *queue, size_t max, struct group *group)
{
    struct ps_link *link;

    while (group->count < max && (link = ps_list_pop(&queue->list)) != NULL) {
        ps_list_push_back(&group->list, link);
        group->count++;
        queue->count--;
        store->queue_bytes -= weigh(command_of(link));
    }
}

static struct timespec in_us(int64_t us)
{
    struct timespec when;
    (void)clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_nsec += (long)(us % 1000000) * 1000;
    when.tv_sec += (time_t)(us / 1000000) + when.tv_nsec / 1000000000;
    when.tv_nsec %= 1000000000;
    return when;
}

/* Waits until the queue holds `wanted` commands, the store stops, or time is up. Lock held. */
static void wait_for(struct ps_store *store, struct queue *queue, size_t wanted, int64_t us)
{
    struct timespec until = in_us(us);
    int rc = 0;

    queue->wanted = wanted;
    while (queue->count < wanted && !store->stopping && rc == 0) {
        rc = us < 0 ? pthread_cond_wait(&queue->wake, &store->lock)
                    : pthread_cond_timedwait(&queue->wake, &store->lock, &until);
    }
    queue->wanted = 1;
}

static void answer_group(struct ps_store *store, struct group *group)
{
    struct ps_link *link;
    while ((link = ps_list_pop(&group->list)) != NULL) {
        answer(store, command_of(link));
    }
    group->count = 0;
}

static void fail_group(struct group *group, enum ps_store_status status)
{
    for (struct ps_link *link = group->list.next; link != &group->list; link = link->next) {
        struct ps_store_command *command = command_of(link);
        command->out = (struct ps_store_out){0};
        command->status = status;
    }
}

static void set_problem(struct ps_store *store, const char *text)
{
    (void)pthread_mutex_lock(&store->lock);
    (void)snprintf(store->problem, sizeof(store->problem), "%s", text);
    (void)pthread_mutex_unlock(&store->lock);
}

void ps_store_problem(struct ps_store *store, char *ret, size_t size)
{
    (void)pthread_mutex_lock(&store->lock);
    (void)snprintf(ret, size, "%s", store->problem);
    (void)pthread_mutex_unlock(&store->lock);
}

/* ---- the writer ---- */

static void set_readable(struct ps_store *store, bool readable)
{
    (void)pthread_mutex_lock(&store->lock);
    store->readable = readable;
    store->opened += readable ? 1 : 0;
    (void)pthread_mutex_unlock(&store->lock);
}

static void close_session(struct ps_store *store)
{
    set_readable(store, false);
    store->engine->close(store->session);
    store->session = NULL;
    store->failed = false;
}

static bool open_session(struct ps_store *store)
{
    char problem[SENTENCE] = "";

    store->session = store->engine->open(&store->setup, true, problem, sizeof(problem));
    if (store->session == NULL) {
        set_problem(store, problem);
        return false;
    }
    store->restless = true;
    set_problem(store, "");
    set_readable(store, true);
    return true;
}

static bool mend_session(struct ps_store *store)
{
    enum ps_store_mended mended = store->engine->mend(store->session);

    if (mended == PS_STORE_MEND_REOPEN) {
        close_session(store);
        return open_session(store);
    }
    if (mended == PS_STORE_MEND_LATER) {
        set_problem(store, store->engine->problem(store->session));
        return false;
    }
    store->failed = false;
    set_problem(store, "");
    return true;
}

/* Whether a transaction can begin; opens or mends when it is time to. */
static bool make_ready(struct ps_store *store)
{
    if (store->session != NULL && !store->failed) {
        return true;
    }
    if (store->retry_us != 0 && ps_clock_us() < store->retry_us) {
        return false;
    }
    bool ready = store->session == NULL ? open_session(store) : mend_session(store);
    store->retry_us = ready ? 0 : ps_clock_us() + RETRY_US;
    return ready;
}

/* OK when the group is on disk. */
static enum ps_store_status transact(struct ps_store *store, struct group *group)
{
    const struct ps_store_engine *engine = store->engine;
    enum ps_store_status status = engine->begin(store->session);

    if (status != PS_STORE_OK) {
        return status;
    }
    for (struct ps_link *link = group->list.next; link != &group->list; link = link->next) {
        struct ps_store_command *command = command_of(link);
        if (ps_store_verb_adds(command->verb) && ps_store_space_low(&store->space)) {
            command->status = PS_STORE_DISK_FULL;
        } else if (!engine->execute(store->session, command)) {
            return command->status;
        }
    }
    return engine->commit(store->session);
}

static void write_group(struct ps_store *store, struct group *group)
{
    if (!make_ready(store)) {
        fail_group(group, PS_STORE_BROKEN);
        return;
    }
    enum ps_store_status status = transact(store, group);
    if (status == PS_STORE_OK) {
        (void)atomic_fetch_add(&store->commits, 1);
    } else {
        (void)atomic_fetch_add(&store->failures, 1);
        set_problem(store, store->engine->problem(store->session));
        store->engine->rollback(store->session);
        store->failed = true;
        fail_group(group, status);
    }
    atomic_store(&store->log_bytes, store->engine->log_bytes(store->session));
}

static void tend(struct ps_store *store, bool idle)
{
    if (store->session == NULL || store->failed) {
        store->restless = false;
        return;
    }
    store->restless = store->engine->tend(store->session, idle);
    store->untended = 0;
    atomic_store(&store->log_bytes, store->engine->log_bytes(store->session));
}

/* The next group; an empty one: nothing came for a while, or there is housekeeping to do. False:
 * the store ends, and its queue is empty. */
static bool gather(struct ps_store *store, struct group *group)
{
    struct queue *queue = &store->writes;
    size_t *last = store->last_groups;

    (void)pthread_mutex_lock(&store->lock);
    if (queue->count == 0 && !store->restless) {
        wait_for(store, queue, 1, store->untended > 0 ? IDLE_US : -1);
    }
    size_t wanted = last[0] > last[1] ? last[0] : last[1];
    if (queue->count > 0 && queue->count < wanted) {
        wait_for(store, queue, wanted, LINGER_US);
    }
    take(store, queue, GROUP_MAX, group);
    bool over = store->stopping && group->count == 0;
    (void)pthread_mutex_unlock(&store->lock);
    if (group->count > 0) {
        last[1] = last[0];
        last[0] = group->count;
    }
    return !over;
}

static void *run_writer(void *arg)
{
    struct ps_store *store = arg;
    struct group group = {.count = 0};

    ps_list_init(&group.list);
    while (gather(store, &group)) {
        if (group.count == 0) {
            tend(store, true);
            continue;
        }
        write_group(store, &group);
        answer_group(store, &group);
        store->untended++;
        if (store->untended % TEND_EVERY == 0 || atomic_load(&store->log_bytes) > LOG_BYTES) {
            tend(store, false);
        }
    }
    if (store->session != NULL) {
        store->engine->close(store->session);
    }
    return NULL;
}

/* ---- the reader ---- */

static void close_read_session(struct ps_store *store)
{
    if (store->read_session != NULL) {
        store->engine->close(store->read_session);
        store->read_session = NULL;
    }
}

static bool make_read_ready(struct ps_store *store)
{
    char problem[SENTENCE] = "";

    (void)pthread_mutex_lock(&store->lock);
    uint64_t opened = store->opened;
    (void)pthread_mutex_unlock(&store->lock);
    if (store->read_session != NULL && store->read_opened == opened) {
        return true;
    }
    close_read_session(store);
    store->read_opened = opened;
    store->read_session = store->engine->open(&store->setup, false, problem, sizeof(problem));
    if (store->read_session == NULL) {
        set_problem(store, problem);
    }
    return store->read_session != NULL;
}

static enum ps_store_status read_all(struct ps_store *store, struct group *group)
{
    const struct ps_store_engine *engine = store->engine;
    enum ps_store_status status = engine->begin(store->read_session);

    if (status != PS_STORE_OK) {
        return status;
    }
    for (struct ps_link *link = group->list.next; link != &group->list; link = link->next) {
        struct ps_store_command *command = command_of(link);
        if (!engine->execute(store->read_session, command)) {
            return command->status;
        }
    }
    return engine->commit(store->read_session);
}

static void read_group(struct ps_store *store, struct group *group)
{
    enum ps_store_status status = PS_STORE_BROKEN;

    if (make_read_ready(store)) {
        status = read_all(store, group);
        if (status != PS_STORE_OK) {
            set_problem(store, store->engine->problem(store->read_session));
            store->engine->rollback(store->read_session);
            close_read_session(store);
        }
    }
    if (status != PS_STORE_OK) {
        fail_group(group, status);
    }
}

static void *run_reader(void *arg)
{
    struct ps_store *store = arg;
    struct group group = {.count = 0};
    bool over = false;

    ps_list_init(&group.list);
    while (!over) {
        (void)pthread_mutex_lock(&store->lock);
        wait_for(store, &store->reads, 1, -1);
        take(store, &store->reads, READ_GROUP_MAX, &group);
        over = store->stopping && group.count == 0;
        (void)pthread_mutex_unlock(&store->lock);
        if (group.count > 0) {
            read_group(store, &group);
            answer_group(store, &group);
        }
    }
    close_read_session(store);
    return NULL;
}

/* ---- the store ---- */

static void init_queue(struct queue *queue, const pthread_condattr_t *attr)
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
    int rc = pthread_create(&store->writer, NULL, run_writer, store);
    if (rc == 0) {
        store->threads++;
        rc = pthread_create(&store->reader, NULL, run_reader, store);
        store->threads += rc == 0 ? 1 : 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

struct ps_store *ps_store_new(const struct ps_store_options *options)
{
    const char *rest;
    char error[SENTENCE];

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
