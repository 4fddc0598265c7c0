/* SPDX-License-Identifier: Apache-2.0 */
#include "threads_priv.h"

#define GROUP_MAX 64

static void close_read_session(struct ps_store *store)
{
    if (store->read_session != NULL) {
        store->engine->close(store->read_session);
        store->read_session = NULL;
    }
}

static bool make_read_ready(struct ps_store *store)
{
    char problem[PS_STORE_SENTENCE] = "";

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
        ps_store_set_problem(store, problem);
    }
    return store->read_session != NULL;
}

static void read_group(struct ps_store *store, struct ps_store_group *group)
{
    enum ps_store_status status = PS_STORE_BROKEN;
    bool opened = make_read_ready(store);

    if (opened) {
        status = ps_store_transact(store, store->read_session, group);
    }
    if (opened && status != PS_STORE_OK) {
        ps_store_set_problem(store, store->engine->problem(store->read_session));
        store->engine->rollback(store->read_session);
        close_read_session(store);
    }
    if (status != PS_STORE_OK) {
        ps_store_fail_group(group, status);
    } else if (store->read_failed) {
        ps_store_set_problem(store, "");
    }
    store->read_failed = status != PS_STORE_OK;
}

void *ps_store_run_reader(void *arg)
{
    struct ps_store *store = arg;
    struct ps_store_group group = {.count = 0};
    bool over = false;

    ps_list_init(&group.list);
    while (!over) {
        (void)pthread_mutex_lock(&store->lock);
        ps_store_wait_for(store, &store->reads, 1, -1);
        ps_store_take(store, &store->reads, GROUP_MAX, &group);
        over = store->stopping && group.count == 0;
        (void)pthread_mutex_unlock(&store->lock);
        if (group.count > 0) {
            read_group(store, &group);
            ps_store_answer(store, &group.list);
            group.count = 0;
        }
    }
    close_read_session(store);
    return NULL;
}
