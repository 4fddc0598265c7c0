/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"

#include <string.h>

/*
 * What the store is asked, one command of a kind at a time. Each `ps_ask` looks itself whether it
 * is time; each answer says when it will be time again. A store that is ill is asked again after a
 * while.
 */

#define LEAST_AHEAD 4
#define TAKE_MAX    256 /* the store's */
/* Bodies at hand, of work that waits. */
#define AHEAD_BYTES ((size_t)16 << 20)
#define SWEEP_MORE  INT64_C(1000000)
#define LOOKED_AT   8 /* batches */
#define PER_RENEWAL 4096

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

void ps_ask_recover(struct ps_jobs *jobs, int64_t now)
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
unsigned ps_ask_ahead(const struct ps_jobs *jobs)
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
            ps_jobs_earlier(&jobs->take_us, pace->not_before_us);
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
            ps_jobs_earlier(&jobs->take_us, now);
        } else if (command->out.next_ms != 0) {
            ps_jobs_earlier(&jobs->take_us, now + ps_jobs_until(jobs, command->out.next_ms));
        }
        come_back_for_skipped(jobs, now);
        for (size_t i = 0; i < command->out.claim_count; i++) {
            ps_run_new(jobs, &command->out.claims[i]);
        }
        jobs->uncounted = jobs->uncounted || command->out.claim_count > 0;
    } else {
        ps_jobs_earlier(&jobs->take_us, now + jobs->times.retry_us);
    }
    ps_store_command_free(command);
    ps_jobs_answered(jobs);
}

void ps_ask_take(struct ps_jobs *jobs, int64_t now)
{
    unsigned most = ps_ask_ahead(jobs);
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
        ps_jobs_earlier(&jobs->due_us, now + jobs->times.retry_us);
    } else {
        if (command->out.more) {
            ps_jobs_earlier(&jobs->due_us, now);
        } else if (command->out.next_ms != 0) {
            ps_jobs_earlier(&jobs->due_us, now + ps_jobs_until(jobs, command->out.next_ms));
        }
        for (size_t i = 0; i < command->out.batch_count && jobs->state == PS_JOBS_RUNNING; i++) {
            ps_desk_take(jobs, &command->out.batches[i]);
        }
    }
    ps_store_command_free(command);
    ps_jobs_answered(jobs);
}

void ps_ask_due(struct ps_jobs *jobs, int64_t now)
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

void ps_ask_renew(struct ps_jobs *jobs, int64_t now)
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
void ps_ask_look(struct ps_jobs *jobs, int64_t now)
{
    const struct ps_id *ids[LOOKED_AT];
    size_t count = 0;
    if (now < jobs->look_us) {
        return;
    }
    jobs->look_us = INT64_MAX;
    jobs->looked_us = now;
    ps_ask_renew(jobs, now);
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

void ps_ask_sweep(struct ps_jobs *jobs, int64_t now)
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
        jobs->running = jobs->asking_count + jobs->telling_count;
        jobs->has_counts = true;
    }
    (void)pthread_mutex_unlock(&jobs->hub.lock);
    ps_store_command_free(command);
    jobs->counting = false;
    ps_jobs_answered(jobs);
}

void ps_ask_count(struct ps_jobs *jobs, int64_t now)
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
