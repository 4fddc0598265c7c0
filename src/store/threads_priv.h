/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_THREADS_PRIV_H
#define PENSTOCK_STORE_THREADS_PRIV_H

#include "store_priv.h"

#include <pthread.h>
#include <stdatomic.h>

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

#define PS_STORE_SENTENCE 256

struct ps_store_queue {
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
    struct ps_store_queue writes;
    struct ps_store_queue reads;
    uint64_t queue_bytes;            /* of both */
    bool readable;                   /* the reader may open a session */
    uint64_t opened;                 /* how often the writer has */
    bool stopping;                   /* no command comes any more */
    char problem[PS_STORE_SENTENCE]; /* "": none */
    pthread_cond_t answered;         /* for ps_store_do */

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
    bool read_failed;     /* its last group */

    atomic_uint_fast64_t commands;
    atomic_uint_fast64_t commits;
    atomic_uint_fast64_t failures;
    atomic_uint_fast64_t log_bytes;
};

struct ps_store_group {
    struct ps_link list;
    size_t count;
};

static inline struct ps_store_command *ps_store_command_of(struct ps_link *link)
{
    return PS_CONTAINER_OF(link, struct ps_store_command, message.link);
}

/* ---- queue.c ---- */

/* Takes at most `max` commands out. The lock is held. */
void ps_store_take(struct ps_store *store, struct ps_store_queue *queue, size_t max,
                   struct ps_store_group *group);
/* Waits until the queue holds `wanted` commands, the store stops, or time is up (< 0: never). Lock
 * held. */
void ps_store_wait_for(struct ps_store *store, struct ps_store_queue *queue, size_t wanted,
                       int64_t us);
/* Takes the commands out of the list and answers each. */
void ps_store_answer(struct ps_store *store, struct ps_link *commands);
void ps_store_fail_group(struct ps_store_group *group, enum ps_store_status status);
void ps_store_set_problem(struct ps_store *store, const char *text);

/* ---- writer.c, reader.c ---- */

void *ps_store_run_writer(void *store);
void *ps_store_run_reader(void *store);
/* OK when the group is on disk, or read; else nothing of it is. */
enum ps_store_status ps_store_transact(struct ps_store *store, struct ps_store_session *session,
                                       struct ps_store_group *group);

#endif
