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
#define TAKE_MAX    256 /* the store's, also of batches to skip */
/* Bodies at hand, of work that waits. */
#define AHEAD_BYTES ((size_t)16 << 20)
/* So long may a turn have kept the loop when work is started, and so much may starting add. */
#define BREATH_US INT64_C(5000)
#define BITE_US   INT64_C(1500)
#define PAUSE_US  INT64_C(4000)
/* Even then something is started so often. */
#define LEAST_US    INT64_C(250000)
#define PATIENCE_US INT64_C(500000) /* work whose model pauses for longer goes back */
#define CONCURRENCY 4096
#define FIRST_SWEEP INT64_C(60000000)
#define SWEEP_MORE  INT64_C(1000000)
#define LOOKED_AT   8 /* batches */
#define PER_RENEWAL 4096

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

static void earlier(int64_t *at, int64_t us)
{
    *at = us < *at ? us : *at;
}

void ps_jobs_take_in(struct ps_jobs *jobs, int64_t us)
{
    earlier(&jobs->take_us, ps_clock_us() + us);
    ps_jobs_poke(jobs);
}

void ps_jobs_due_in(struct ps_jobs *jobs, int64_t us)
{
    earlier(&jobs->due_us, ps_clock_us() + us);
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

/* ---- RECOVER ---- */

static void on_recovered(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    bool ok = command->status == PS_STORE_OK;
    if (!ok && !jobs->recovered) {
        ps_log(PS_LOG_WARN, "jobs: what the last run left cannot be taken up yet: %s",
               ps_store_status_name(command->status));
    }
    ps_store_command_free(command);
    jobs->recovering = false;
    jobs->recovered = ok;
    jobs->uncounted = true;
    jobs->ask_us = ps_clock_us() + jobs->times.retry_us;
    ps_jobs_answered(jobs);
}

static void recover(struct ps_jobs *jobs, int64_t now)
{
    struct ps_store_command *command;
    if (jobs->recovering || now < jobs->ask_us) {
        return;
    }
    command = ps_jobs_command(PS_STORE_RECOVER, jobs);
    if (command == NULL) {
        jobs->ask_us = now + jobs->times.retry_us;
        return;
    }
    jobs->recovering = true;
    ps_jobs_submit(jobs, command, on_recovered);
}

/* ---- TAKE ---- */

/* How much may be claimed and not started: what is started in a quarter of a second, so that work
 * which comes later and is more urgent has not far to go. */
static unsigned ahead(const struct ps_jobs *jobs)
{
    unsigned want = jobs->rate / 4;
    unsigned least = jobs->concurrency > LEAST_AHEAD ? LEAST_AHEAD : jobs->concurrency;
    unsigned slots =
        jobs->concurrency > jobs->asking_count ? jobs->concurrency - jobs->asking_count : 0;
    want = (want > least ? want : least) + slots;
    return want < PS_JOBS_CLAIMS_MAX ? want : PS_JOBS_CLAIMS_MAX;
}

static unsigned waiting_of(const struct ps_jobs *jobs, const struct ps_pace *pace)
{
    unsigned count = 0;
    for (struct ps_link *l = jobs->ready.next; l != &jobs->ready; l = l->next) {
        count += PS_CONTAINER_OF(l, struct ps_run, link)->pace == pace;
    }
    return count;
}

/* A batch whose model bears no more than is at hand. */
static bool is_paced(const struct ps_jobs *jobs, const struct ps_pace *pace, int64_t now)
{
    if (pace->not_before_us > now) {
        return true;
    }
    return pace->limit < jobs->concurrency && waiting_of(jobs, pace) >= (unsigned)pace->limit;
}

static int fill_skip(struct ps_jobs *jobs, struct ps_store_command *command, int64_t now)
{
    struct ps_id *skip = ps_arena_alloc(&command->arena, PS_JOBS_SEEN * sizeof(*skip));
    size_t count = 0;
    if (skip == NULL) {
        return -1;
    }
    for (size_t i = 0; i < PS_JOBS_SEEN; i++) {
        const struct ps_pace *pace = jobs->seen[i].pace;
        if (pace != NULL && is_paced(jobs, pace, now)) {
            skip[count++] = jobs->seen[i].id;
        }
    }
    command->in.skip = skip;
    command->in.skip_count = count;
    return 0;
}

/* What was skipped is looked at again when its pause is over, or, when there is no pause, with the
 * next end of a run. */
static void come_back_for_skipped(struct ps_jobs *jobs, int64_t now)
{
    for (size_t i = 0; i < PS_JOBS_SEEN; i++) {
        const struct ps_pace *pace = jobs->seen[i].pace;
        if (pace != NULL && pace->not_before_us > now) {
            earlier(&jobs->take_us, pace->not_before_us);
        }
    }
}

static void on_taken(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    int64_t now = ps_clock_us();
    jobs->taking = false;
    if (command->status == PS_STORE_OK) {
        if (command->out.claim_count == command->in.limit) {
            earlier(&jobs->take_us, now);
        } else if (command->out.next_ms != 0) {
            earlier(&jobs->take_us, now + ps_jobs_until(jobs, command->out.next_ms));
        }
        come_back_for_skipped(jobs, now);
        for (size_t i = 0; i < command->out.claim_count; i++) {
            ps_run_new(jobs, &command->out.claims[i]);
        }
        jobs->uncounted = jobs->uncounted || command->out.claim_count > 0;
    } else {
        earlier(&jobs->take_us, now + jobs->times.retry_us);
    }
    ps_store_command_free(command);
    ps_jobs_answered(jobs);
}

static void take(struct ps_jobs *jobs, int64_t now)
{
    unsigned most = ahead(jobs);
    if (jobs->taking || now < jobs->take_us || jobs->waiting_count >= most ||
        jobs->waiting_bytes >= AHEAD_BYTES || jobs->telling_count >= 4 * jobs->concurrency) {
        return;
    }
    unsigned room = most - jobs->waiting_count;
    struct ps_store_command *command = ps_jobs_command(PS_STORE_TAKE, jobs);
    if (command == NULL || fill_skip(jobs, command, now) != 0) {
        ps_store_command_free(command);
        jobs->take_us = now + jobs->times.retry_us;
        return;
    }
    command->in.limit = room < TAKE_MAX ? room : TAKE_MAX;
    command->in.lease_ms = jobs->times.lease_ms;
    jobs->taking = true;
    jobs->take_us = now + jobs->times.tick_us;
    ps_jobs_submit(jobs, command, on_taken);
}

/* ---- DUE ---- */

static void on_due(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    int64_t now = ps_clock_us();
    jobs->due_asked = false;
    if (command->status != PS_STORE_OK) {
        earlier(&jobs->due_us, now + jobs->times.retry_us);
    } else {
        if (command->out.more) {
            earlier(&jobs->due_us, now);
        } else if (command->out.next_ms != 0) {
            earlier(&jobs->due_us, now + ps_jobs_until(jobs, command->out.next_ms));
        }
        for (size_t i = 0; i < command->out.batch_count && jobs->state == PS_JOBS_RUNNING; i++) {
            ps_desk_take(jobs, &command->out.batches[i]);
        }
    }
    ps_store_command_free(command);
    ps_jobs_answered(jobs);
}

static void ask_due(struct ps_jobs *jobs, int64_t now)
{
    if (jobs->due_asked || now < jobs->due_us) {
        return;
    }
    struct ps_store_command *command = ps_jobs_command(PS_STORE_DUE, jobs);
    if (command == NULL) {
        jobs->due_us = now + jobs->times.retry_us;
        return;
    }
    jobs->due_asked = true;
    jobs->due_us = now + jobs->times.tick_us;
    ps_jobs_submit(jobs, command, on_due);
}

/* ---- RENEW, and what was cancelled ---- */

static void on_renewed(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    for (size_t i = 0; i < command->out.stale_count && command->status == PS_STORE_OK; i++) {
        struct ps_run *run = ps_run_find(jobs, &command->out.stale[i]);
        /* What the store is being told it will answer itself. */
        if (run != NULL && (run->state == PS_RUN_LOADING || run->state == PS_RUN_READY ||
                            run->state == PS_RUN_ASKING || run->state == PS_RUN_KEEPING)) {
            ps_run_void(run);
        }
    }
    ps_store_command_free(command);
    jobs->renewing = false;
    ps_jobs_answered(jobs);
}

static size_t add_refs(const struct ps_link *list, struct ps_store_ref *refs, size_t count)
{
    for (struct ps_link *l = list->next; l != list && count < PER_RENEWAL; l = l->next) {
        const struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
        refs[count++] = (struct ps_store_ref){run->claim.id, run->claim.line, run->claim.fence};
    }
    return count;
}

static void renew(struct ps_jobs *jobs, int64_t now)
{
    size_t most = (size_t)jobs->waiting_count + jobs->asking_count + jobs->telling_count;
    if (jobs->renewing || most == 0) {
        return;
    }
    most = most < PER_RENEWAL ? most : PER_RENEWAL;
    struct ps_store_command *command = ps_jobs_command(PS_STORE_RENEW, jobs);
    struct ps_store_ref *refs =
        command != NULL ? ps_arena_alloc(&command->arena, most * sizeof(*refs)) : NULL;
    if (refs == NULL) {
        ps_store_command_free(command);
        jobs->renew_us = now + jobs->times.retry_us;
        return;
    }
    size_t count = add_refs(&jobs->asking, refs, 0);
    count = add_refs(&jobs->telling, refs, count);
    count = add_refs(&jobs->ready, refs, count);
    count = add_refs(&jobs->loading, refs, count);
    command->in.refs = refs;
    command->in.ref_count = count;
    command->in.lease_ms = jobs->times.lease_ms;
    jobs->renewing = true;
    jobs->renew_us = now + jobs->times.renew_us;
    ps_jobs_submit(jobs, command, on_renewed);
}

/* Lines of a batch that starts none any more, and that have not started, go back. */
static void on_looked(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    bool over = command->status == PS_STORE_NOT_FOUND ||
                (command->status == PS_STORE_OK && command->out.batch_count > 0 &&
                 command->out.batches[0].status != PS_BATCH_IN_PROGRESS);
    struct ps_id id = command->in.id;
    ps_store_command_free(command);
    ps_jobs_answered(jobs);
    struct ps_link *next;
    for (struct ps_link *l = jobs->ready.next; over && l != &jobs->ready; l = next) {
        struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
        next = l->next;
        if (run->claim.line >= 0 && strcmp(run->claim.id.text, id.text) == 0) {
            ps_run_give_back(run, 0);
        }
    }
}

static bool is_among(const struct ps_id *const *ids, size_t count, const struct ps_id *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ids[i]->text, id->text) == 0) {
            return true;
        }
    }
    return false;
}

/* Somebody may have cancelled: a job's claim is void then, a batch says so itself. */
static void look(struct ps_jobs *jobs, int64_t now)
{
    const struct ps_id *ids[LOOKED_AT];
    size_t count = 0;
    if (now < jobs->look_us) {
        return;
    }
    jobs->look_us = INT64_MAX;
    jobs->looked_us = now;
    renew(jobs, now);
    for (struct ps_link *l = jobs->ready.next; l != &jobs->ready && count < LOOKED_AT;
         l = l->next) {
        const struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
        if (run->claim.line < 0 || is_among(ids, count, &run->claim.id)) {
            continue;
        }
        struct ps_store_command *command = ps_jobs_command(PS_STORE_BATCH_GET, jobs);
        if (command == NULL) {
            return;
        }
        ids[count++] = &run->claim.id;
        command->in.id = run->claim.id;
        command->in.tenant = ps_store_command_copy(command, run->claim.tenant);
        ps_jobs_submit(jobs, command, on_looked);
    }
}

/* ---- SWEEP, COUNT ---- */

static void on_swept(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    bool more = command->status == PS_STORE_OK && command->out.more;
    ps_store_command_free(command);
    jobs->sweeping = false;
    jobs->uncounted = true;
    jobs->sweep_us = ps_clock_us() + (more ? SWEEP_MORE : jobs->times.sweep_us);
    ps_jobs_answered(jobs);
}

static void sweep(struct ps_jobs *jobs, int64_t now)
{
    if (jobs->sweeping || now < jobs->sweep_us) {
        return;
    }
    struct ps_store_command *command = ps_jobs_command(PS_STORE_SWEEP, jobs);
    jobs->sweep_us = now + jobs->times.retry_us;
    if (command != NULL) {
        command->in.keep_ms = jobs->gl->snapshot->config->jobs_keep;
        jobs->sweeping = true;
        jobs->sweep_us = INT64_MAX;
        ps_jobs_submit(jobs, command, on_swept);
    }
}

static void on_counted(struct ps_store_command *command)
{
    struct ps_jobs *jobs = command->user;
    (void)pthread_mutex_lock(&jobs->hub.lock);
    if (command->status == PS_STORE_OK) {
        jobs->counts = command->out.counts;
        jobs->has_counts = true;
    }
    (void)pthread_mutex_unlock(&jobs->hub.lock);
    ps_store_command_free(command);
    jobs->counting = false;
    ps_jobs_answered(jobs);
}

static void count_all(struct ps_jobs *jobs, int64_t now)
{
    if (jobs->counting || !jobs->uncounted || now < jobs->count_us) {
        return;
    }
    struct ps_store_command *command = ps_jobs_command(PS_STORE_COUNT, jobs);
    jobs->count_us = now + jobs->times.count_us;
    if (command != NULL) {
        jobs->counting = true;
        jobs->uncounted = false;
        ps_jobs_submit(jobs, command, on_counted);
    }
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
    if (jobs->asking_count >= jobs->concurrency || jobs->waiting_count < ahead(jobs)) {
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
        earlier(&next, jobs->ask_us);
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
                earlier(&next, times[i]); /* what is due already waits for room, or for an answer */
            }
        }
        for (struct ps_link *l = jobs->ready.next; l != &jobs->ready; l = l->next) {
            const struct ps_run *run = PS_CONTAINER_OF(l, struct ps_run, link);
            if (run->pace->not_before_us > now) {
                earlier(&next, run->pace->not_before_us);
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
            renew(jobs, now);
        }
        check_stopped(jobs);
        return;
    }
    if (jobs->state != PS_JOBS_RUNNING || jobs->dormant) {
        return;
    }
    if (!jobs->recovered) {
        recover(jobs, now);
        arm(jobs);
        return;
    }
    note_second(jobs, now);
    start(jobs, now);
    make_room(jobs);
    take(jobs, now);
    ask_due(jobs, now);
    look(jobs, now);
    if (now >= jobs->renew_us) {
        renew(jobs, now);
    }
    sweep(jobs, now);
    count_all(jobs, now);
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
