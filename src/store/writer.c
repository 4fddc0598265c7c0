/* SPDX-License-Identifier: Apache-2.0 */
#include "threads_priv.h"

#include "penstock/base/clock.h"

#define GROUP_MAX  256
#define LINGER_US  2000
#define RETRY_US   1000000
#define IDLE_US    1000000 /* without a command, before tidying up */
#define TEND_EVERY 32      /* groups, under constant load */
#define LOG_BYTES  ((uint64_t)4 << 20)

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
    char problem[PS_STORE_SENTENCE] = "";

    store->session = store->engine->open(&store->setup, true, problem, sizeof(problem));
    if (store->session == NULL) {
        ps_store_set_problem(store, problem);
        return false;
    }
    store->restless = true;
    ps_store_set_problem(store, "");
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
        ps_store_set_problem(store, store->engine->problem(store->session));
        return false;
    }
    store->failed = false;
    ps_store_set_problem(store, "");
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

enum ps_store_status ps_store_transact(struct ps_store *store, struct ps_store_session *session,
                                       struct ps_store_group *group)
{
    const struct ps_store_engine *engine = store->engine;
    enum ps_store_status status = engine->begin(session);

    if (status != PS_STORE_OK) {
        return status;
    }
    for (struct ps_link *link = group->list.next; link != &group->list; link = link->next) {
        struct ps_store_command *command = ps_store_command_of(link);
        if (ps_store_verb_adds(command->verb) && ps_store_space_low(&store->space)) {
            command->status = PS_STORE_DISK_FULL;
        } else if (!engine->execute(session, command)) {
            return command->status;
        }
    }
    return engine->commit(session);
}

static void write_group(struct ps_store *store, struct ps_store_group *group)
{
    if (!make_ready(store)) {
        ps_store_fail_group(group, PS_STORE_BROKEN);
        return;
    }
    enum ps_store_status status = ps_store_transact(store, store->session, group);
    if (status == PS_STORE_OK) {
        (void)atomic_fetch_add(&store->commits, 1);
    } else {
        (void)atomic_fetch_add(&store->failures, 1);
        ps_store_set_problem(store, store->engine->problem(store->session));
        store->engine->rollback(store->session);
        store->failed = true;
        ps_store_fail_group(group, status);
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
static bool gather(struct ps_store *store, struct ps_store_group *group)
{
    struct ps_store_queue *queue = &store->writes;
    size_t *last = store->last_groups;

    (void)pthread_mutex_lock(&store->lock);
    if (queue->count == 0 && !store->restless) {
        ps_store_wait_for(store, queue, 1, store->untended > 0 ? IDLE_US : -1);
    }
    size_t wanted = last[0] > last[1] ? last[0] : last[1];
    if (queue->count > 0 && queue->count < wanted) {
        ps_store_wait_for(store, queue, wanted, LINGER_US);
    }
    ps_store_take(store, queue, GROUP_MAX, group);
    bool over = store->stopping && group->count == 0;
    (void)pthread_mutex_unlock(&store->lock);
    if (group->count > 0) {
        last[1] = last[0];
        last[0] = group->count;
    }
    return !over;
}

void *ps_store_run_writer(void *arg)
{
    struct ps_store *store = arg;
    struct ps_store_group group = {.count = 0};

    ps_list_init(&group.list);
    while (gather(store, &group)) {
        if (group.count == 0) {
            tend(store, true);
            continue;
        }
        write_group(store, &group);
        ps_store_answer(store, &group.list);
        group.count = 0;
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
