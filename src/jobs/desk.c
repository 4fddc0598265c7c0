/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <string.h>

/*
 * A batch that somebody has to see to: validate its input, or make its files. The work is done on
 * the pool, in steps, so that other work of the pool gets its turn between them.
 *
 * The happy path: DUE shows the batch, a desk is made for it, its step runs on the pool again and
 * again until it says OVER; then the store knows, and so do the log and those who watch.
 *
 * How it fails: when the store or the disk is ill the step says LATER and is repeated after a
 * while; it begins where it was. A process that ends gives up desks after their step: what the
 * store knows already is enough to begin again.
 */

static void submit(struct ps_desk *desk);

static void close_desk(struct ps_desk *desk)
{
    struct ps_jobs *jobs = desk->jobs;
    ps_timer_cancel(&desk->timer);
    ps_list_remove(&desk->link);
    ps_validation_free(desk->validation);
    ps_finishing_free(desk->files);
    ps_snapshot_unref(desk->snapshot);
    ps_arena_deinit(&desk->arena);
    ps_free(desk);
    ps_jobs_poke(jobs);
}

static void run(struct ps_work *work)
{
    struct ps_desk *desk = PS_CONTAINER_OF(work, struct ps_desk, work);
    desk->step = desk->finishing ? ps_finish_step(desk) : ps_validate_step(desk);
}

static void on_timer(struct ps_timer *timer)
{
    submit(PS_CONTAINER_OF(timer, struct ps_desk, timer));
}

static void later(struct ps_desk *desk)
{
    if (ps_timer_set(&desk->timer, desk->jobs->times.retry_us) != 0) {
        close_desk(desk); /* DUE shows it again */
    }
}

static void tell_over(struct ps_desk *desk)
{
    struct ps_jobs *jobs = desk->jobs;
    jobs->uncounted = true;
    if (desk->changed) {
        ps_report_desk(jobs, desk);
        if (desk->batch.webhook.len > 0 && desk->status >= PS_BATCH_COMPLETED) {
            ps_hooks_wake(jobs->hooks);
        }
    }
    ps_hub_touch(jobs, &desk->batch.id, true);
    ps_jobs_take_in(jobs, 0);
}

static void done(struct ps_work *work)
{
    struct ps_desk *desk = PS_CONTAINER_OF(work, struct ps_desk, work);
    struct ps_jobs *jobs = desk->jobs;
    desk->on_pool = false;
    if (desk->step == PS_DESK_OVER) {
        tell_over(desk);
        close_desk(desk);
        ps_jobs_due_in(jobs, 0); /* another may be waiting for the desk */
    } else if (jobs->state != PS_JOBS_RUNNING) {
        close_desk(desk);
    } else if (desk->step == PS_DESK_LATER) {
        later(desk);
    } else {
        submit(desk);
    }
}

static void submit(struct ps_desk *desk)
{
    desk->work = (struct ps_work){.mailbox = desk->jobs->mailbox, .run = run, .done = done};
    ps_list_init(&desk->work.message.link);
    desk->on_pool = ps_pool_submit(desk->jobs->pool, &desk->work);
    if (!desk->on_pool) {
        later(desk);
    }
}

static int copy_batch(struct ps_desk *desk, const struct ps_store_batch *batch)
{
    desk->batch = *batch;
    struct ps_slice *slices[] = {&desk->batch.tenant,  &desk->batch.key,      &desk->batch.endpoint,
                                 &desk->batch.webhook, &desk->batch.metadata, &desk->batch.errors,
                                 &desk->batch.model};
    for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
        *slices[i] = ps_arena_copy(&desk->arena, *slices[i]);
        if (slices[i]->ptr == NULL) {
            return -1;
        }
    }
    return 0;
}

void ps_desk_take(struct ps_jobs *jobs, const struct ps_store_batch *batch)
{
    unsigned busy = 0;
    for (struct ps_link *l = jobs->desks.next; l != &jobs->desks; l = l->next) {
        const struct ps_desk *other = PS_CONTAINER_OF(l, struct ps_desk, link);
        busy += other->finishing == batch->ended;
        if (strcmp(other->batch.id.text, batch->id.text) == 0) {
            return;
        }
    }
    struct ps_desk *desk = busy < PS_JOBS_DESKS ? ps_calloc(1, sizeof(*desk)) : NULL;
    if (desk == NULL) {
        return;
    }
    ps_arena_init(&desk->arena, (size_t)1 << 20);
    if (copy_batch(desk, batch) != 0) {
        ps_arena_deinit(&desk->arena);
        ps_free(desk);
        return;
    }
    desk->jobs = jobs;
    desk->finishing = batch->ended;
    desk->snapshot = ps_snapshot_ref(jobs->gl->snapshot);
    desk->begun_us = ps_clock_us();
    ps_timer_init(&desk->timer, jobs->gl->loop, on_timer);
    ps_list_push_back(&jobs->desks, &desk->link);
    submit(desk);
}

void ps_desks_stop(struct ps_jobs *jobs)
{
    struct ps_link *next;
    for (struct ps_link *l = jobs->desks.next; l != &jobs->desks; l = next) {
        struct ps_desk *desk = PS_CONTAINER_OF(l, struct ps_desk, link);
        next = l->next;
        if (!desk->on_pool) {
            close_desk(desk);
        }
    }
}
