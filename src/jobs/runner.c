/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <string.h>

/*
 * When the store is asked for what.
 *
 * The happy path: at the start RECOVER brings back what the last run left; then TAKE fetches work
 * in bulk, a little ahead of what runs, so that the time of a commit limits nothing; slots are
 * filled while the loop has breath; DUE shows batches that want to be validated or finished; RENEW
 * keeps the leases. Everything is decided in one place, the pump, which runs at the end of a turn
 * in which something has happened, and when the earliest time comes.
 *
 * How it fails: a store that is broken is asked again after a while; nothing of it is noticed but
 * by its own doors. A process whose store has never been used does not touch it before somebody
 * wakes it.
 *
 * The end: ps_jobs_stop gives back what is claimed and has not started, waits for exchanges, for
 * commands under way and for the steps of desks; with the last of them it is told.
 */

#define LEAST_AHEAD 4
/* So long may a turn have kept the loop when work is started, and so much may starting add. */
#define BREATH_US INT64_C(5000)
#define BITE_US   INT64_C(1500)
#define PAUSE_US  INT64_C(4000)
/* Even then something is started so often. */
#define LEAST_US    INT64_C(250000)
#define PATIENCE_US INT64_C(500000) /* work whose model pauses for longer goes back */
#define CONCURRENCY 4096
#define FIRST_SWEEP INT64_C(60000000)

const struct ps_jobs_times ps_jobs_usual_times = {
    .lease_ms = 60000,
    .renew_us = 20000000,
    .tick_us = 30000000,
    .look_us = 200000,
    .retry_us = 1000000,
    .backoff_ms = 1000,
    .backoff_cap_ms = 600000,
    .count_us = 5000000,
    .poke_us = 300000,
    .sweep_us = INT64_C(3600000000),
};

void ps_jobs_poke(struct ps_jobs *jobs)
{
    if (jobs->state == PS_JOBS_RUNNING || jobs->state == PS_JOBS_STOPPING) {
        ps_loop_defer(jobs->gl->loop, &jobs->pump, PS_PHASE_WORK);
    }
}

void ps_jobs_take_in(struct ps_jobs *jobs, int64_t us)
{
    ps_jobs_earlier(&jobs->take_us, ps_clock_us() + us);
    ps_jobs_poke(jobs);
}

void ps_jobs_due_in(struct ps_jobs *jobs, int64_t us)
{
    ps_jobs_earlier(&jobs->due_us, ps_clock_us() + us);
    ps_jobs_poke(jobs);
}

int64_t ps_jobs_until(const struct ps_jobs *jobs, int64_t wall_ms)
{
    int64_t left_ms = wall_ms - ps_clock_wall_ms();
    if (left_ms <= 0) {
        return 0;
    }
    return left_ms < jobs->times.tick_us / 1000 ? left_ms * 1000 : jobs->times.tick_us;
}

/* ---- commands ---- */

struct ps_store_command *ps_jobs_command(enum ps_store_verb verb, void *user)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    if (command != NULL) {
        command->user = user;
        command->in.now_ms = ps_clock_wall_ms();
    }
    return command;
}

void ps_jobs_submit(struct ps_jobs *jobs, struct ps_store_command *command,
                    void (*done)(struct ps_store_command *command))
{
    jobs->commands++;
    ps_store_submit(jobs->store, command, jobs->mailbox, done);
}

void ps_jobs_answered(struct ps_jobs *jobs)
{
    jobs->commands--;
    ps_jobs_poke(jobs);
}

/* ---- starting ---- */

/* Half of the buffers, at most, belong to bodies of jobs. */
static bool has_memory(const struct ps_jobs *jobs, const struct ps_run *run)
{
    size_t limit = atomic_load_explicit(&jobs->gl->gateway->budget.limit, memory_order_relaxed);
    return jobs->asking_count == 0 || jobs->asking_bytes + run->claim.body.length <= limit / 4;
}

static void note_start(struct ps_jobs *jobs, int64_t now)
{
    jobs->started_us = now;
    jobs->starts++;
    jobs->uncounted = true;
}

static void note_second(struct ps_jobs *jobs, int64_t now)
{
    if (now - jobs->second_us >= 1000000) {
        jobs->rate = jobs->starts;
        jobs->starts = 0;
        jobs->second_us = now;
    } else if (jobs->starts > jobs->rate) {
        jobs->rate = jobs->starts;
    }
}

/* Live requests have the loop to themselves while its turns are long. */
static bool is_breathless(struct ps_jobs *jobs, int64_t now)
{
    if (now < jobs->breath_us) {
        return true;
    }
    ps_loop_enter(jobs->gl->loop);
    if (now - jobs->gl->loop->busy_since_us > BREATH_US && now - jobs->started_us < LEAST_US) {
        jobs->breath_us = now + PAUSE_US;
        return true;
    }
    return false;
}

static void start(struct ps_jobs *jobs, int64_t begun)
{
    struct ps_link *next;
    if (is_breathless(jobs, begun)) {
        return;
    }
    for (struct ps_link *l = jobs->ready.next; l != &jobs->ready; l = next) {
        struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
        int64_t now = ps_clock_us();
        next = l->next;
        if (jobs->asking_count >= jobs->concurrency ||
            jobs->telling_count >= 4 * jobs->concurrency) {
            return;
        }
        if (now - begun > BITE_US) {
            jobs->hungry = true; /* the rest in the next turn */
            return;
        }
        if (run->pace->not_before_us > now + PATIENCE_US) {
            ps_run_give_back(run, (run->pace->not_before_us - now) / 1000);
        } else if (ps_pace_open(run->pace, now) && has_memory(jobs, run)) {
            note_start(jobs, now);
            ps_run_ask(run);
        }
    }
}

/* All that waits is waiting for a model that bears no more, and nothing else can be taken: the last
 * of it go back, so that others have room. */
static void make_room(struct ps_jobs *jobs)
{
    if (jobs->asking_count >= jobs->concurrency || jobs->waiting_count < ps_ask_ahead(jobs)) {
        return;
    }
    struct ps_link *next;
    unsigned kept = 0;
    int64_t now = ps_clock_us();
    for (struct ps_link *l = jobs->ready.next; l != &jobs->ready; l = next) {
        struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
        next = l->next;
        if (!ps_pace_open(run->pace, now) && run->pace->limit < jobs->concurrency &&
            kept++ >= LEAST_AHEAD) {
            ps_run_give_back(run, jobs->times.retry_us / 1000);
        }
    }
}

/* ---- the pump ---- */

static void arm(struct ps_jobs *jobs)
{
    int64_t now = ps_clock_us();
    int64_t next = now + jobs->times.tick_us;
    if (!jobs->recovered) {
        ps_jobs_earlier(&next, jobs->ask_us);
    } else {
        const int64_t times[] = {jobs->taking ? INT64_MAX : jobs->take_us,
                                 jobs->due_asked ? INT64_MAX : jobs->due_us,
                                 jobs->renewing ? INT64_MAX : jobs->renew_us,
                                 jobs->look_us,
                                 jobs->sweep_us,
                                 jobs->uncounted && !jobs->counting ? jobs->count_us : INT64_MAX,
                                 jobs->breath_us > now ? jobs->breath_us : INT64_MAX};
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
            if (times[i] > now) {
                ps_jobs_earlier(
                    &next, times[i]); /* what is due already waits for room, or for an answer */
            }
        }
        for (struct ps_link *l = jobs->ready.next; l != &jobs->ready; l = l->next) {
            const struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
            if (run->pace->not_before_us > now) {
                ps_jobs_earlier(&next, run->pace->not_before_us);
            }
        }
    }
    (void)ps_timer_set(&jobs->timer, next - now);
}

static void check_stopped(struct ps_jobs *jobs)
{
    if (jobs->waiting_count + jobs->asking_count + jobs->telling_count > 0 || jobs->commands > 0 ||
        !ps_list_empty(&jobs->desks) || !jobs->hooks_stopped || !ps_hub_close(jobs)) {
        return;
    }
    jobs->state = PS_JOBS_STOPPED;
    ps_metrics_off_render(jobs->gl->gateway->metrics, ps_report_gauges, jobs);
    ps_timer_cancel(&jobs->timer);
    ps_timer_cancel(&jobs->poke);
    if (jobs->on_stopped != NULL) {
        jobs->on_stopped(jobs->on_stopped_arg);
    }
}

static void on_pump(struct ps_task *task)
{
    struct ps_jobs *jobs = PS_CONTAINER_OF(task, struct ps_jobs, pump);
    int64_t now = ps_clock_us();
    if (jobs->state == PS_JOBS_STOPPING) {
        if (jobs->asking_count > 0 && now >= jobs->renew_us) {
            ps_ask_renew(jobs, now);
        }
        check_stopped(jobs);
        return;
    }
    if (jobs->state != PS_JOBS_RUNNING || jobs->dormant) {
        return;
    }
    if (!jobs->recovered) {
        ps_ask_recover(jobs, now);
        arm(jobs);
        return;
    }
    note_second(jobs, now);
    start(jobs, now);
    make_room(jobs);
    ps_ask_take(jobs, now);
    ps_ask_due(jobs, now);
    ps_ask_look(jobs, now);
    if (now >= jobs->renew_us) {
        ps_ask_renew(jobs, now);
    }
    ps_ask_sweep(jobs, now);
    ps_ask_count(jobs, now);
    arm(jobs);
    if (jobs->hungry) {
        jobs->hungry = false;
        ps_jobs_poke(jobs);
    }
}

static void on_timer(struct ps_timer *timer)
{
    struct ps_jobs *jobs = PS_CONTAINER_OF(timer, struct ps_jobs, timer);
    ps_jobs_poke(jobs);
    if (jobs->state == PS_JOBS_STOPPING) {
        (void)ps_timer_set(timer, jobs->times.renew_us);
    }
}

/* ---- life ---- */

struct ps_jobs *ps_jobs_new(struct ps_store *store, struct ps_pool *pool)
{
    static const struct ps_json_path model[] = {{"model", false}};
    struct ps_jobs *jobs = ps_calloc(1, sizeof(*jobs));
    if (jobs == NULL) {
        return NULL;
    }
    if (ps_hub_init(jobs) != 0) {
        ps_free(jobs);
        return NULL;
    }
    jobs->store = store;
    jobs->pool = pool;
    jobs->times = ps_jobs_usual_times;
    jobs->model_path = ps_json_paths_new(model, 1);
    jobs->hooks = ps_hooks_new(store, pool);
    struct ps_link *lists[] = {&jobs->loading, &jobs->ready, &jobs->asking, &jobs->telling,
                               &jobs->desks};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        ps_list_init(lists[i]);
    }
    for (size_t i = 0; i < PS_JOBS_BUCKETS; i++) {
        ps_list_init(&jobs->buckets[i]);
    }
    ps_task_init(&jobs->pump, on_pump);
    if (jobs->model_path == NULL || jobs->hooks == NULL || ps_validate_global_init() != 0) {
        ps_jobs_free(jobs);
        return NULL;
    }
    return jobs;
}

void ps_jobs_tune(struct ps_jobs *jobs, const struct ps_jobs_times *times)
{
    jobs->times = *times;
}

static void on_hooks_moved(void *arg)
{
    struct ps_jobs *jobs = arg;
    jobs->uncounted = true;
    ps_jobs_poke(jobs);
}

int ps_jobs_start(struct ps_jobs *jobs, struct ps_gateway_loop *gl, struct ps_mailbox *mailbox)
{
    int64_t now = ps_clock_us();
    jobs->gl = gl;
    jobs->mailbox = mailbox;
    jobs->concurrency = gl->snapshot->config->workers.job_concurrency;
    jobs->concurrency = jobs->concurrency < CONCURRENCY ? jobs->concurrency : CONCURRENCY;
    ps_paces_init(&jobs->paces, jobs->concurrency);
    ps_timer_init(&jobs->timer, gl->loop, on_timer);
    ps_timer_init(&jobs->poke, gl->loop, ps_hub_tell);
    jobs->take_us = now;
    jobs->due_us = now;
    jobs->look_us = INT64_MAX;
    jobs->renew_us = now + jobs->times.renew_us;
    jobs->sweep_us =
        now + (jobs->times.sweep_us < FIRST_SWEEP ? jobs->times.sweep_us : FIRST_SWEEP);
    jobs->count_us = now;
    jobs->dormant = !ps_store_exists(jobs->store);
    jobs->recovered = jobs->dormant; /* nothing is left of a last run */
    if (ps_metrics_on_render(gl->gateway->metrics, ps_report_gauges, jobs) != 0) {
        return -1;
    }
    ps_hooks_on_moved(jobs->hooks, on_hooks_moved, jobs);
    if (ps_hooks_start(jobs->hooks, gl, mailbox) != 0) {
        ps_metrics_off_render(gl->gateway->metrics, ps_report_gauges, jobs);
        return -1;
    }
    jobs->state = PS_JOBS_RUNNING;
    ps_hub_open(jobs);
    ps_jobs_poke(jobs);
    return 0;
}

static void on_hooks_stopped(void *arg)
{
    struct ps_jobs *jobs = arg;
    jobs->hooks_stopped = true;
    ps_jobs_poke(jobs);
}

static void give_back_waiting(struct ps_jobs *jobs)
{
    while (!ps_list_empty(&jobs->ready)) {
        ps_run_give_back(PS_CONTAINER_OF(jobs->ready.next, struct ps_run, link), 0);
    }
    while (!ps_list_empty(&jobs->loading)) {
        ps_run_give_back(PS_CONTAINER_OF(jobs->loading.next, struct ps_run, link), 0);
    }
    struct ps_link *next;
    for (struct ps_link *l = jobs->telling.next; l != &jobs->telling; l = next) {
        struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
        next = l->next;
        if (run->state == PS_RUN_LATER) {
            ps_run_free(
                run); /* the store is ill: what it cannot be told now, the next run repeats */
        }
    }
}

void ps_jobs_stop(struct ps_jobs *jobs, void (*on_stopped)(void *arg), void *arg)
{
    jobs->on_stopped = on_stopped;
    jobs->on_stopped_arg = arg;
    jobs->state = PS_JOBS_STOPPING;
    give_back_waiting(jobs);
    ps_desks_stop(jobs);
    ps_hooks_stop(jobs->hooks, on_hooks_stopped, jobs);
    (void)ps_timer_set(&jobs->timer, jobs->times.renew_us);
    ps_jobs_poke(jobs);
}

void ps_jobs_abort(struct ps_jobs *jobs)
{
    while (!ps_list_empty(&jobs->asking)) {
        ps_run_give_back(PS_CONTAINER_OF(jobs->asking.next, struct ps_run, link), 0);
    }
    ps_hooks_abort(jobs->hooks);
}

void ps_jobs_free(struct ps_jobs *jobs)
{
    if (jobs != NULL) {
        ps_hooks_free(jobs->hooks);
        ps_json_paths_free(jobs->model_path);
        ps_hub_deinit(jobs);
        ps_free(jobs);
    }
}

struct ps_store *ps_jobs_store(const struct ps_jobs *jobs)
{
    return jobs->store;
}
