/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"

#include <string.h>

/*
 * Where other loops meet the runner: they wake it, watch what moves, ask how far a job is. One lock
 * for all of it, held for a walk over those who watch; those are people, so they are few.
 *
 * A watch that is told has its message in its loop's mailbox; until it is delivered it is told no
 * more. Unwatched meanwhile, it is gone with the delivery.
 */

static void on_wake(struct ps_message *message)
{
    struct ps_jobs *jobs = PS_CONTAINER_OF(message, struct ps_jobs, hub.wake);
    (void)pthread_mutex_lock(&jobs->hub.lock);
    jobs->hub.posted = false;
    (void)pthread_mutex_unlock(&jobs->hub.lock);
    int64_t now = ps_clock_us();
    jobs->dormant = false;
    ps_jobs_take_in(jobs, 0);
    ps_jobs_due_in(jobs, 0);
    ps_hooks_nudge(jobs->hooks);
    if (jobs->look_us == INT64_MAX) {
        int64_t next = jobs->looked_us + jobs->times.look_us;
        jobs->look_us = next > now ? next : now;
    }
    ps_hub_touch(jobs, NULL, false);
    ps_jobs_poke(jobs);
}

int ps_hub_init(struct ps_jobs *jobs)
{
    struct ps_jobs_hub *hub = &jobs->hub;
    ps_list_init(&hub->watches);
    ps_list_init(&hub->live);
    hub->wake.deliver = on_wake;
    ps_list_init(&hub->wake.link);
    return pthread_mutex_init(&hub->lock, NULL) == 0 ? 0 : -1;
}

void ps_hub_deinit(struct ps_jobs *jobs)
{
    (void)pthread_mutex_destroy(&jobs->hub.lock);
}

void ps_hub_open(struct ps_jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->hub.lock);
    jobs->hub.mailbox = jobs->mailbox;
    (void)pthread_mutex_unlock(&jobs->hub.lock);
}

bool ps_hub_close(struct ps_jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->hub.lock);
    bool closed = !jobs->hub.posted;
    jobs->hub.mailbox = NULL;
    (void)pthread_mutex_unlock(&jobs->hub.lock);
    return closed;
}

void ps_jobs_wake(struct ps_jobs *jobs)
{
    struct ps_jobs_hub *hub = &jobs->hub;
    (void)pthread_mutex_lock(&hub->lock);
    if (hub->mailbox != NULL && !hub->posted) {
        hub->posted = ps_mailbox_post(hub->mailbox, &hub->wake);
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

/* ---- watching ---- */

static void on_told(struct ps_message *message)
{
    struct ps_jobs_watch *watch = PS_CONTAINER_OF(message, struct ps_jobs_watch, message);
    struct ps_jobs_hub *hub = &watch->jobs->hub;
    (void)pthread_mutex_lock(&hub->lock);
    watch->posted = false;
    bool over = watch->over;
    (void)pthread_mutex_unlock(&hub->lock);
    if (over) {
        watch->gone(watch);
    } else {
        watch->fn(watch);
    }
}

/* Under the lock. */
static void tell(struct ps_jobs_watch *watch)
{
    if (watch->moved && !watch->posted) {
        watch->moved = false;
        watch->posted = ps_mailbox_post(watch->mailbox, &watch->message);
    }
}

void ps_jobs_watch(struct ps_jobs *jobs, struct ps_jobs_watch *watch)
{
    ps_list_init(&watch->message.link);
    watch->message.deliver = on_told;
    watch->jobs = jobs;
    watch->posted = false;
    watch->moved = false;
    watch->over = false;
    (void)pthread_mutex_lock(&jobs->hub.lock);
    ps_list_push_back(&jobs->hub.watches, &watch->link);
    (void)pthread_mutex_unlock(&jobs->hub.lock);
}

void ps_jobs_unwatch(struct ps_jobs *jobs, struct ps_jobs_watch *watch)
{
    (void)pthread_mutex_lock(&jobs->hub.lock);
    ps_list_remove(&watch->link);
    bool posted = watch->posted;
    watch->over = true;
    (void)pthread_mutex_unlock(&jobs->hub.lock);
    if (!posted) {
        watch->gone(watch);
    }
}

void ps_hub_touch(struct ps_jobs *jobs, const struct ps_id *id, bool now)
{
    struct ps_jobs_hub *hub = &jobs->hub;
    bool moved = false;
    (void)pthread_mutex_lock(&hub->lock);
    for (struct ps_link *link = hub->watches.next; link != &hub->watches; link = link->next) {
        struct ps_jobs_watch *watch = PS_CONTAINER_OF(link, struct ps_jobs_watch, link);
        if (id == NULL || strcmp(watch->id.text, id->text) == 0) {
            watch->moved = true;
            moved = true;
            if (now) {
                tell(watch);
            }
        }
    }
    (void)pthread_mutex_unlock(&hub->lock);
    if (moved && !now && !ps_timer_is_set(&jobs->poke) && jobs->state == PS_JOBS_RUNNING) {
        (void)ps_timer_set(&jobs->poke, jobs->times.poke_us);
    }
}

void ps_hub_tell(struct ps_timer *timer)
{
    struct ps_jobs *jobs = PS_CONTAINER_OF(timer, struct ps_jobs, poke);
    struct ps_jobs_hub *hub = &jobs->hub;
    (void)pthread_mutex_lock(&hub->lock);
    for (struct ps_link *link = hub->watches.next; link != &hub->watches; link = link->next) {
        tell(PS_CONTAINER_OF(link, struct ps_jobs_watch, link));
    }
    (void)pthread_mutex_unlock(&hub->lock);
}

/* ---- progress ---- */

void ps_hub_enter(struct ps_run *run)
{
    if (run->claim.line < 0) {
        (void)pthread_mutex_lock(&run->jobs->hub.lock);
        ps_list_push_back(&run->jobs->hub.live, &run->live);
        (void)pthread_mutex_unlock(&run->jobs->hub.lock);
    }
}

void ps_hub_leave(struct ps_run *run)
{
    if (run->claim.line < 0) {
        (void)pthread_mutex_lock(&run->jobs->hub.lock);
        ps_list_remove(&run->live);
        (void)pthread_mutex_unlock(&run->jobs->hub.lock);
    }
}

bool ps_jobs_progress(struct ps_jobs *jobs, const struct ps_id *id, struct ps_jobs_progress *ret)
{
    struct ps_jobs_hub *hub = &jobs->hub;
    bool found = false;
    (void)pthread_mutex_lock(&hub->lock);
    for (struct ps_link *link = hub->live.next; link != &hub->live && !found; link = link->next) {
        struct ps_run *run = PS_CONTAINER_OF(link, struct ps_run, live);
        if (strcmp(run->claim.id.text, id->text) == 0) {
            found = true;
            ret->tokens = atomic_load_explicit(&run->tokens, memory_order_relaxed);
            ret->running_us = ps_clock_us() - run->asked_us;
        }
    }
    (void)pthread_mutex_unlock(&hub->lock);
    return found;
}
