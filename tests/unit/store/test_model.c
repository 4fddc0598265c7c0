/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
#include "blob_priv.h"
#include "store/depot.h"
#include "store_priv.h"
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Random commands on an engine, and the same on a model that fits on a page. After each command the
 * answers are compared, now and then every row; groups are rolled back at random (the model then
 * goes back too), the session is closed and opened again, and at the end exactly the blobs are on
 * disk that some row names.
 */
#define STEPS   12000
#define BATCHES 12
#define LINES   12
#define JOBS    24
#define FILES   24
#define TENANTS 3
#define LEASE   5000

struct work {
    enum ps_job_status status;
    int64_t run_at;
    int64_t lease;
    uint64_t fence;
    unsigned attempts;
    unsigned lost;
    struct ps_blob_name result;
};

struct batch {
    bool used;
    unsigned number; /* order of creation */
    struct ps_id id;
    int tenant;
    int priority;
    enum ps_batch_status status;
    enum ps_batch_status becomes;
    bool validated;
    bool ended;
    int64_t expires;
    int64_t over; /* since when; 0: it is not */
    int64_t output_life;
    struct ps_blob_name input;
    unsigned total;
    unsigned canceled; /* at the end */
    unsigned expired;
    struct work lines[LINES];
};

struct job {
    bool used;
    unsigned number;
    struct ps_id id;
    int tenant;
    int priority;
    int64_t created;
    int64_t expires;
    int64_t ended;
    struct work work;
};

struct file {
    bool used;
    unsigned number;
    struct ps_id id;
    int tenant;
    int64_t expires;
    struct ps_blob_name blob;
};

struct model {
    int64_t now;
    unsigned number;
    struct batch batches[BATCHES];
    struct job jobs[JOBS];
    struct file files[FILES];
};

static struct model model;
static struct model saved; /* when the group began */
static struct ps_store_session *session;
static struct ps_store_setup setup;
static uint64_t seed;
static int last_served = TENANTS - 1; /* the session's memory: no rollback touches it */

static const struct ps_store_engine *const engine = &ps_store_sqlite;

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 20) % below);
}

static const char *tenant_name(int tenant)
{
    static const char *const names[TENANTS] = {"a", "bb", "c"};
    return names[tenant];
}

static struct ps_id make_id(const char *prefix)
{
    struct ps_id id = {""};
    (void)snprintf(id.text, sizeof(id.text), "%s%08u", prefix, ++model.number);
    return id;
}

static size_t blobs_made; /* in this group */

static struct ps_blob_name make_blob(void)
{
    struct ps_blob_name name = {""};
    struct ps_blob_file *file = ps_blob_create(setup.blobs);
    assert_non_null(file);
    assert_int_equal(ps_blob_append(file, "x", 1), 0);
    assert_int_equal(ps_blob_commit(file, &name, NULL), 0);
    blobs_made++;
    return name;
}

/* ---- the engine's side ---- */

static struct ps_store_command *command_of(enum ps_store_verb verb)
{
    struct ps_store_command *command = ps_store_command_new(verb);
    assert_non_null(command);
    command->in.now_ms = model.now;
    return command;
}

static unsigned short_of_memory; /* commands that were */

/* Now and then with an allocation that fails: then nothing has happened, and it works again. */
static void execute(struct ps_store_command *command)
{
    (void)ps_mem_fail_after(draw(4) == 0 ? (int64_t)draw(12) : -1);
    assert_true(engine->execute(session, command));
    (void)ps_mem_fail_after(-1);
    if (command->status == PS_STORE_NO_MEMORY) {
        assert_int_equal(command->out.claim_count, 0);
        short_of_memory++;
        assert_true(engine->execute(session, command));
    }
}

static void expect(struct ps_store_command *command, enum ps_store_status status)
{
    execute(command);
    if (command->status != status) {
        fail_msg("verb %d: expected '%s', found '%s'", command->verb, ps_store_status_name(status),
                 ps_store_status_name(command->status));
    }
}

static void finish(struct ps_store_command *command, enum ps_store_status status)
{
    expect(command, status);
    ps_store_command_free(command);
}

/* ---- the model's rules ---- */

static bool is_over(enum ps_batch_status status)
{
    return status >= PS_BATCH_COMPLETED;
}

static unsigned count_lines(const struct batch *batch, enum ps_job_status status)
{
    unsigned count = 0;
    for (unsigned i = 0; i < batch->total; i++) {
        count += batch->lines[i].status == status ? 1 : 0;
    }
    return count;
}

static bool end_batch(struct batch *batch)
{
    unsigned waiting = count_lines(batch, PS_JOB_QUEUED);
    unsigned running = count_lines(batch, PS_JOB_RUNNING);

    if (batch->ended || !batch->validated) {
        return false;
    }
    if (batch->status == PS_BATCH_IN_PROGRESS && waiting + running == 0) {
        batch->status = PS_BATCH_FINALIZING;
    } else if (batch->status == PS_BATCH_CANCELLING && running == 0) {
        batch->canceled = waiting;
    } else if (batch->status == PS_BATCH_EXPIRING && running == 0) {
        batch->status = PS_BATCH_FINALIZING;
        batch->expired = waiting;
    } else {
        return false;
    }
    batch->ended = true;
    return true;
}

static void return_work(struct work *work, int64_t run_at)
{
    work->status = PS_JOB_QUEUED;
    work->run_at = run_at;
    work->lost++;
}

static void return_claims(int64_t until)
{
    for (int i = 0; i < JOBS; i++) {
        struct job *job = &model.jobs[i];
        if (job->used && job->work.status == PS_JOB_RUNNING && job->work.lease <= until) {
            return_work(&job->work, job->created);
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        struct batch *batch = &model.batches[i];
        for (unsigned j = 0; batch->used && j < batch->total; j++) {
            if (batch->lines[j].status == PS_JOB_RUNNING && batch->lines[j].lease <= until) {
                return_work(&batch->lines[j], 0);
            }
        }
        if (batch->used) {
            (void)end_batch(batch);
        }
    }
}

static void expire(void)
{
    for (int i = 0; i < JOBS; i++) {
        struct job *job = &model.jobs[i];
        if (job->used && job->work.status == PS_JOB_QUEUED && job->expires <= model.now) {
            job->work.status = PS_JOB_EXPIRED;
            job->ended = model.now;
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        struct batch *batch = &model.batches[i];
        if (batch->used && batch->status == PS_BATCH_IN_PROGRESS && batch->expires <= model.now) {
            batch->status = PS_BATCH_EXPIRING;
            batch->becomes = PS_BATCH_EXPIRED;
            (void)end_batch(batch);
        }
    }
}

static struct batch *any_batch(void)
{
    struct batch *batch = &model.batches[draw(BATCHES)];
    return batch->used ? batch : NULL;
}

static struct job *any_job(void)
{
    struct job *job = &model.jobs[draw(JOBS)];
    return job->used ? job : NULL;
}

static struct file *any_file(void)
{
    struct file *file = &model.files[draw(FILES)];
    return file->used ? file : NULL;
}

/* ---- commands: files ---- */

static void add_file(void)
{
    struct file *file = &model.files[draw(FILES)];
    if (file->used) {
        return;
    }
    *file = (struct file){
        .used = true,
        .id = make_id("file-"),
        .tenant = (int)draw(TENANTS),
        .expires = draw(3) == 0 ? model.now + draw(20000) + 1 : 0,
        .blob = make_blob(),
    };
    file->number = model.number;
    struct ps_store_command *command =
        depot_file_add(tenant_name(file->tenant), file->id.text, file->blob.text);
    command->in.file.expires_ms = file->expires;
    finish(command, PS_STORE_OK);
}

static void delete_file(void)
{
    struct file *file = any_file();
    if (file == NULL) {
        return;
    }
    bool own = draw(4) != 0;
    int tenant = own ? file->tenant : (file->tenant + 1) % TENANTS;
    finish(depot_on(PS_STORE_FILE_DELETE, tenant_name(tenant), file->id.text, model.now),
           own ? PS_STORE_OK : PS_STORE_NOT_FOUND);
    file->used = !own;
}

static void list_files(void)
{
    int tenant = (int)draw(TENANTS);
    struct ps_store_command *command = depot_on(PS_STORE_FILE_LIST, tenant_name(tenant), "", 0);
    command->in.list.limit = 1 + draw(6);
    command->in.list.ascending = draw(2) == 0;
    if (draw(2) == 0) {
        (void)snprintf(command->in.list.after.text, sizeof(command->in.list.after.text),
                       "file-%08u", draw(model.number + 2));
    }
    const char *after = command->in.list.after.text;
    expect(command, PS_STORE_OK);
    unsigned beyond = 0;
    for (int i = 0; i < FILES; i++) {
        const struct file *file = &model.files[i];
        int order = strcmp(file->id.text, after);
        order = command->in.list.ascending ? order : -order;
        beyond += file->used && file->tenant == tenant && (after[0] == '\0' || order > 0) ? 1 : 0;
    }
    unsigned limit = command->in.list.limit;
    assert_int_equal(command->out.file_count, beyond < limit ? beyond : limit);
    assert_int_equal(command->out.more, beyond > limit);
    for (size_t i = 1; i < command->out.file_count; i++) {
        int order = strcmp(command->out.files[i - 1].id.text, command->out.files[i].id.text);
        assert_true(command->in.list.ascending ? order < 0 : order > 0);
    }
    ps_store_command_free(command);
}

/* ---- commands: batches ---- */

static void add_batch(void)
{
    struct batch *batch = &model.batches[draw(BATCHES)];
    const struct file *file = any_file();
    if (batch->used || file == NULL) {
        return;
    }
    bool own = draw(5) != 0;
    int tenant = own ? file->tenant : (file->tenant + 1) % TENANTS;
    bool found = own && (file->expires == 0 || file->expires > model.now);
    struct ps_id id = make_id("batch_");
    struct ps_store_command *command =
        depot_batch_add(tenant_name(tenant), id.text, file->id.text, model.now);
    int priority = (int)draw(3) - 1;
    command->in.batch.priority = priority;
    command->in.batch.expires_ms = model.now + 2000 + draw(60000);
    command->in.batch.output_life_ms = draw(2) == 0 ? draw(90000) : 0;
    if (found) {
        *batch = (struct batch){
            .used = true,
            .number = model.number,
            .id = id,
            .tenant = tenant,
            .priority = priority,
            .status = PS_BATCH_VALIDATING,
            .becomes = PS_BATCH_COMPLETED,
            .expires = command->in.batch.expires_ms,
            .output_life = command->in.batch.output_life_ms,
            .input = file->blob,
        };
    }
    finish(command, found ? PS_STORE_OK : PS_STORE_NOT_FOUND);
}

static bool in_validation(const struct batch *batch)
{
    return !batch->validated &&
           (batch->status == PS_BATCH_VALIDATING || batch->status == PS_BATCH_CANCELLING);
}

static void add_lines(void)
{
    struct batch *batch = any_batch();
    if (batch == NULL) {
        return;
    }
    bool legal = in_validation(batch);
    unsigned first = draw(4) == 0 ? 0 : batch->total;
    unsigned count = draw(LINES - first + 1);
    finish(depot_batch_lines(batch->id.text, first, count),
           legal ? PS_STORE_OK : PS_STORE_CONFLICT);
    if (legal && count > 0) {
        memset(&batch->lines[first], 0, count * sizeof(batch->lines[0]));
        batch->total = first + count > batch->total ? first + count : batch->total;
    }
}

static void start_batch(void)
{
    struct batch *batch = any_batch();
    if (batch == NULL) {
        return;
    }
    bool legal = in_validation(batch);
    finish(depot_on(PS_STORE_BATCH_START, "", batch->id.text, model.now),
           legal ? PS_STORE_OK : PS_STORE_CONFLICT);
    if (legal) {
        batch->validated = true;
        if (batch->status == PS_BATCH_VALIDATING) {
            batch->status = PS_BATCH_IN_PROGRESS;
        }
        (void)end_batch(batch);
    }
}

static void fail_batch(void)
{
    struct batch *batch = any_batch();
    if (batch == NULL || draw(4) != 0) {
        return;
    }
    bool legal = in_validation(batch);
    finish(depot_on(PS_STORE_BATCH_FAIL, "", batch->id.text, model.now),
           legal ? PS_STORE_OK : PS_STORE_CONFLICT);
    if (legal) {
        batch->status = batch->status == PS_BATCH_CANCELLING ? PS_BATCH_CANCELLED : PS_BATCH_FAILED;
        batch->validated = true;
        batch->ended = true;
        batch->over = model.now;
        batch->total = 0;
        batch->input.text[0] = '\0';
    }
}

static void cancel_batch(void)
{
    struct batch *batch = any_batch();
    if (batch == NULL || draw(3) != 0) {
        return;
    }
    bool own = draw(4) != 0;
    int tenant = own ? batch->tenant : (batch->tenant + 1) % TENANTS;
    enum ps_store_status status = own ? PS_STORE_OK : PS_STORE_NOT_FOUND;
    if (own && is_over(batch->status)) {
        status = PS_STORE_CONFLICT;
    } else if (own &&
               (batch->status == PS_BATCH_VALIDATING || batch->status == PS_BATCH_IN_PROGRESS)) {
        batch->status = PS_BATCH_CANCELLING;
        batch->becomes = PS_BATCH_CANCELLED;
        (void)end_batch(batch);
    }
    finish(depot_on(PS_STORE_BATCH_CANCEL, tenant_name(tenant), batch->id.text, model.now), status);
}

static void finish_batch(void)
{
    struct batch *batch = any_batch();
    struct file *file = &model.files[draw(FILES)];
    if (batch == NULL) {
        return;
    }
    bool legal = batch->ended && !is_over(batch->status);
    struct ps_store_command *command =
        depot_on(PS_STORE_BATCH_FINISH, "", batch->id.text, model.now);
    struct ps_store_file row = {.id = make_id("file-"), .purpose = PS_SLICE_LIT("batch_output")};
    if (legal && !file->used && draw(2) == 0) {
        row.blob = make_blob();
        command->in.files = &row;
        command->in.file_count = 1;
        command->in.batch.output_file = row.id;
        *file = (struct file){
            .used = true,
            .number = model.number,
            .id = row.id,
            .tenant = batch->tenant,
            .blob = row.blob,
        };
    }
    finish(command, legal ? PS_STORE_OK : PS_STORE_CONFLICT);
    if (legal) {
        batch->status = batch->becomes;
        batch->over = model.now;
        batch->input.text[0] = '\0';
        memset(batch->lines, 0, sizeof(batch->lines)); /* with their results */
    }
}

static struct file *file_of(const struct ps_id *id)
{
    for (int i = 0; i < FILES; i++) {
        if (model.files[i].used && strcmp(model.files[i].id.text, id->text) == 0) {
            return &model.files[i];
        }
    }
    return NULL;
}

static void delete_batch(void)
{
    struct batch *batch = any_batch();
    if (batch == NULL) {
        return;
    }
    struct ps_store_command *command =
        depot_on(PS_STORE_BATCH_DELETE, tenant_name(batch->tenant), batch->id.text, 0);
    bool legal = is_over(batch->status);
    expect(command, legal ? PS_STORE_OK : PS_STORE_CONFLICT);
    if (legal) {
        struct file *file = file_of(&command->out.batches[0].output_file);
        if (file != NULL) {
            file->used = false;
        }
        batch->used = false;
    }
    ps_store_command_free(command);
}

/* ---- commands: jobs ---- */

static void add_job(void)
{
    struct job *job = &model.jobs[draw(JOBS)];
    if (job->used) {
        return;
    }
    *job = (struct job){
        .used = true,
        .id = make_id("job_"),
        .tenant = (int)draw(TENANTS),
        .priority = (int)draw(3) - 1,
        .created = model.now,
        .expires = model.now + 2000 + draw(60000),
        .work = {.run_at = model.now},
    };
    job->number = model.number;
    struct ps_store_command *command =
        depot_job_add(tenant_name(job->tenant), job->id.text, model.now);
    command->in.job.priority = job->priority;
    command->in.job.expires_ms = job->expires;
    finish(command, PS_STORE_OK);
}

static void cancel_job(void)
{
    struct job *job = any_job();
    if (job == NULL || draw(4) != 0) {
        return;
    }
    bool legal = job->work.status == PS_JOB_QUEUED || job->work.status == PS_JOB_RUNNING;
    finish(depot_on(PS_STORE_JOB_CANCEL, tenant_name(job->tenant), job->id.text, model.now),
           legal ? PS_STORE_OK : PS_STORE_CONFLICT);
    if (legal) {
        job->work.status = PS_JOB_CANCELLED;
        job->work.fence++;
        job->ended = model.now;
    }
}

/* ---- commands: work ---- */

/* What a claim is of; its batch too, when it is a line's. */
static struct work *work_of(const struct ps_id *id, int64_t line, struct batch **ret_batch,
                            struct job **ret_job)
{
    *ret_batch = NULL;
    *ret_job = NULL;
    for (int i = 0; line < 0 && i < JOBS; i++) {
        if (model.jobs[i].used && strcmp(model.jobs[i].id.text, id->text) == 0) {
            *ret_job = &model.jobs[i];
            return &model.jobs[i].work;
        }
    }
    for (int i = 0; line >= 0 && i < BATCHES; i++) {
        if (model.batches[i].used && strcmp(model.batches[i].id.text, id->text) == 0) {
            *ret_batch = &model.batches[i];
            return line < (int64_t)model.batches[i].total ? &model.batches[i].lines[line] : NULL;
        }
    }
    return NULL;
}

static bool job_ready(const struct job *job)
{
    return job->used && job->work.status == PS_JOB_QUEUED && job->work.run_at <= model.now;
}

static bool batch_ready(const struct batch *batch, const struct ps_id *skip)
{
    if (!batch->used || batch->status != PS_BATCH_IN_PROGRESS || batch->expires <= model.now ||
        strcmp(batch->id.text, skip->text) == 0) {
        return false;
    }
    for (unsigned i = 0; i < batch->total; i++) {
        if (batch->lines[i].status == PS_JOB_QUEUED && batch->lines[i].run_at <= model.now) {
            return true;
        }
    }
    return false;
}

/* The highest priority at which a tenant has something ready; INT32_MIN: nothing. */
static int best_of(int tenant, const struct ps_id *skip)
{
    int best = INT32_MIN;
    for (int i = 0; i < JOBS; i++) {
        const struct job *job = &model.jobs[i];
        if (job->tenant == tenant && job_ready(job) && job->priority > best) {
            best = job->priority;
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &model.batches[i];
        if (batch->tenant == tenant && batch_ready(batch, skip) && batch->priority > best) {
            best = batch->priority;
        }
    }
    return best;
}

/* The first one after the last that has something. */
static void check_turn(int tenant, const struct ps_id *skip)
{
    int next = (last_served + 1) % TENANTS;
    while (best_of(next, skip) == INT32_MIN) {
        next = (next + 1) % TENANTS;
    }
    assert_int_equal(tenant, next);
    last_served = tenant;
}

static void check_claim(const struct ps_store_claim *claim, const struct ps_id *skip)
{
    struct batch *batch;
    struct job *job;
    struct work *work = work_of(&claim->id, claim->line, &batch, &job);

    assert_non_null(work);
    assert_int_equal(work->status, PS_JOB_QUEUED);
    assert_true(work->run_at <= model.now);
    assert_int_equal(claim->fence, work->fence + 1);
    assert_int_equal(claim->attempt, work->attempts + 1);
    assert_int_equal(claim->lost, work->lost);
    int tenant = batch != NULL ? batch->tenant : job->tenant;
    assert_true(ps_slice_eq_cstr(claim->tenant, tenant_name(tenant)));
    assert_int_equal(batch != NULL ? batch->priority : job->priority, best_of(tenant, skip));
    if (batch != NULL) {
        assert_true(batch_ready(batch, skip));
        assert_string_equal(claim->body.blob.text, batch->input.text);
        assert_int_equal(claim->body.offset, 10 * claim->line);
    } else {
        assert_true(claim->body.bytes.len > 0);
    }
    check_turn(tenant, skip);
    work->status = PS_JOB_RUNNING;
    work->fence++;
    work->lease = model.now + LEASE;
}

static int64_t next_after(int64_t now)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < JOBS; i++) {
        const struct work *work = &model.jobs[i].work;
        if (model.jobs[i].used && work->status == PS_JOB_QUEUED && work->run_at > now) {
            next = work->run_at < next ? work->run_at : next;
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &model.batches[i];
        int64_t ready = INT64_MAX;
        for (unsigned j = 0;
             batch->used && batch->status == PS_BATCH_IN_PROGRESS && j < batch->total; j++) {
            const struct work *work = &batch->lines[j];
            ready = work->status == PS_JOB_QUEUED && work->run_at < ready ? work->run_at : ready;
        }
        next = ready > now && ready < next ? ready : next;
    }
    return next == INT64_MAX ? 0 : next;
}

static void check_due(const struct ps_store_command *command)
{
    size_t expected = 0;
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &model.batches[i];
        bool due = batch->used && !is_over(batch->status) &&
                   batch->status != PS_BATCH_IN_PROGRESS && batch->status != PS_BATCH_EXPIRING &&
                   (batch->ended || !batch->validated);
        bool found = false;
        for (size_t j = 0; j < command->out.batch_count; j++) {
            found = found || strcmp(command->out.batches[j].id.text, batch->id.text) == 0;
        }
        if (batch->used) {
            assert_int_equal(found, due);
        }
        expected += due ? 1 : 0;
    }
    assert_int_equal(command->out.batch_count, expected);
    assert_int_equal(command->out.next_ms, next_after(model.now - 1));
}

static void due(void)
{
    struct ps_store_command *command = command_of(PS_STORE_DUE);
    expect(command, PS_STORE_OK);
    assert_false(command->out.more);
    return_claims(model.now);
    expire();
    check_due(command);
    ps_store_command_free(command);
}

/* DUE first: which of the jobs that are late TAKE comes across is its own affair. */
static void take(void)
{
    due();
    struct ps_store_command *command = depot_take(model.now, 1 + draw(5));
    struct ps_id skip = {""};
    const struct batch *skipped = any_batch();

    command->in.lease_ms = LEASE;
    if (skipped != NULL && draw(3) == 0) {
        skip = skipped->id;
        command->in.skip = &skip;
        command->in.skip_count = 1;
    }
    expect(command, PS_STORE_OK);
    for (size_t i = 0; i < command->out.claim_count; i++) {
        check_claim(&command->out.claims[i], &skip);
    }
    if (command->out.claim_count < command->in.limit) {
        for (int i = 0; i < TENANTS; i++) {
            assert_int_equal(best_of(i, &skip), INT32_MIN);
        }
        assert_int_equal(command->out.next_ms, next_after(model.now));
    } else {
        assert_int_equal(command->out.next_ms, model.now);
    }
    ps_store_command_free(command);
}

/* A claim that is good, or was once, or never. */
static bool any_claim(struct ps_store_claim *ret)
{
    struct batch *batch = any_batch();
    struct job *job = any_job();

    *ret = (struct ps_store_claim){.line = -1};
    if (draw(2) == 0 && batch != NULL && batch->total > 0) {
        ret->id = batch->id;
        ret->line = draw(batch->total);
        ret->fence = batch->lines[ret->line].fence;
    } else if (job != NULL) {
        ret->id = job->id;
        ret->fence = job->work.fence;
    } else {
        return false;
    }
    if (draw(10) == 0) {
        ret->fence += draw(2) == 0 ? 1 : UINT64_MAX;
    }
    return true;
}

static bool is_good(const struct ps_store_claim *claim, const struct work *work)
{
    return work != NULL && work->status == PS_JOB_RUNNING && work->fence == claim->fence;
}

static void settle(void)
{
    static const enum ps_job_status ends[] = {PS_JOB_COMPLETED, PS_JOB_COMPLETED, PS_JOB_FAILED,
                                              PS_JOB_CANCELLED, PS_JOB_EXPIRED};
    struct ps_store_claim claim;
    struct batch *batch;
    struct job *job;
    if (!any_claim(&claim)) {
        return;
    }
    struct work *work = work_of(&claim.id, claim.line, &batch, &job);
    bool good = is_good(&claim, work);
    struct ps_store_command *command = depot_settle(&claim, ends[draw(5)], model.now);
    struct ps_store_body *body = &command->in.settlement.body;
    if (draw(4) == 0) {
        body->blob = make_blob();
        body->length = 1;
    } else if (!good && work != NULL && draw(2) == 0) {
        body->blob = work->result; /* told twice */
        body->length = 1;
    }
    expect(command, good ? PS_STORE_OK : PS_STORE_STALE);
    if (good) {
        work->status = command->in.settlement.status;
        work->attempts++;
        work->result = body->blob;
        if (batch != NULL) {
            assert_int_equal(command->out.finished, end_batch(batch));
        } else {
            job->ended = model.now;
        }
    }
    ps_store_command_free(command);
}

static void defer(void)
{
    struct ps_store_claim claim;
    struct batch *batch;
    struct job *job;
    if (!any_claim(&claim)) {
        return;
    }
    struct work *work = work_of(&claim.id, claim.line, &batch, &job);
    bool good = is_good(&claim, work);
    struct ps_store_command *command = command_of(PS_STORE_DEFER);
    command->in.ref = (struct ps_store_ref){claim.id, claim.line, claim.fence};
    command->in.run_at_ms = model.now + draw(4000);
    command->in.counts = draw(2) == 0;
    expect(command, good ? PS_STORE_OK : PS_STORE_STALE);
    if (good) {
        work->status = PS_JOB_QUEUED;
        work->run_at = command->in.run_at_ms;
        work->attempts += command->in.counts ? 1 : 0;
        assert_int_equal(command->out.finished, batch != NULL && end_batch(batch));
    }
    ps_store_command_free(command);
}

static void renew(void)
{
    struct ps_store_claim claim;
    struct batch *batch;
    struct job *job;
    if (!any_claim(&claim)) {
        return;
    }
    struct work *work = work_of(&claim.id, claim.line, &batch, &job);
    bool good = is_good(&claim, work);
    struct ps_store_ref ref = {claim.id, claim.line, claim.fence};
    struct ps_store_command *command = command_of(PS_STORE_RENEW);
    command->in.lease_ms = 2 * LEASE;
    command->in.refs = &ref;
    command->in.ref_count = 1;
    expect(command, PS_STORE_OK);
    assert_int_equal(command->out.stale_count, good ? 0 : 1);
    if (good) {
        work->lease = model.now + 2 * LEASE;
    }
    ps_store_command_free(command);
}

/* ---- commands: time ---- */

static void pass_time(void)
{
    model.now += draw(3) == 0 ? draw(8000) : draw(300);
    due();
}

static void recover(void)
{
    finish(command_of(PS_STORE_RECOVER), PS_STORE_OK);
    return_claims(INT64_MAX);
    for (int i = 0; i < BATCHES; i++) {
        if (model.batches[i].used && in_validation(&model.batches[i])) {
            model.batches[i].total = 0;
        }
    }
}

static void sweep(void)
{
    struct ps_store_command *command = command_of(PS_STORE_SWEEP);
    command->in.keep_ms = 30000;
    expect(command, PS_STORE_OK);
    assert_false(command->out.more);
    ps_store_command_free(command);
    for (int i = 0; i < JOBS; i++) {
        struct job *job = &model.jobs[i];
        if (job->used && job->ended > 0 && job->ended <= model.now - 30000) {
            job->used = false;
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        struct batch *batch = &model.batches[i];
        int64_t life = batch->output_life > 30000 ? batch->output_life : 30000;
        if (batch->used && batch->over > 0 && batch->over + life <= model.now) {
            batch->used = false;
        }
    }
    for (int i = 0; i < FILES; i++) {
        struct file *file = &model.files[i];
        if (file->used && file->expires > 0 && file->expires <= model.now) {
            file->used = false;
        }
    }
}

/* ---- comparing everything ---- */

static void compare_outcomes(const struct batch *batch)
{
    struct ps_store_command *command = depot_on(PS_STORE_OUTCOMES, "", batch->id.text, 0);
    size_t at = 0;

    expect(command, PS_STORE_OK);
    for (unsigned i = 0; i < batch->total; i++) {
        enum ps_job_status status = batch->lines[i].status;
        bool settled = status > PS_JOB_RUNNING;
        if (!settled && !batch->ended) {
            continue;
        }
        if (!settled) {
            status = batch->becomes == PS_BATCH_EXPIRED ? PS_JOB_EXPIRED : PS_JOB_CANCELLED;
        }
        assert_true(at < command->out.outcome_count);
        const struct ps_store_outcome *outcome = &command->out.outcomes[at++];
        assert_int_equal(outcome->line, i);
        assert_int_equal(outcome->status, status);
        assert_string_equal(outcome->body.blob.text, batch->lines[i].result.text);
    }
    assert_int_equal(at, command->out.outcome_count);
    ps_store_command_free(command);
}

static void compare_batch(const struct batch *batch)
{
    struct ps_store_command *command =
        depot_on(PS_STORE_BATCH_GET, tenant_name(batch->tenant), batch->id.text, 0);

    expect(command, PS_STORE_OK);
    const struct ps_store_batch *row = &command->out.batches[0];
    assert_int_equal(row->status, batch->status);
    assert_int_equal(row->ended, batch->ended);
    assert_int_equal(row->total, batch->total);
    assert_string_equal(row->input.text, batch->input.text);
    if (!is_over(batch->status)) {
        unsigned done = count_lines(batch, PS_JOB_COMPLETED);
        unsigned ran = count_lines(batch, PS_JOB_FAILED) + count_lines(batch, PS_JOB_CANCELLED) +
                       count_lines(batch, PS_JOB_EXPIRED);
        assert_int_equal(row->completed, done);
        assert_int_equal(row->failed, ran + batch->canceled + batch->expired);
        assert_int_equal(row->canceled, count_lines(batch, PS_JOB_CANCELLED) + batch->canceled);
        assert_int_equal(row->expired, count_lines(batch, PS_JOB_EXPIRED) + batch->expired);
        compare_outcomes(batch);
    }
    ps_store_command_free(command);
}

static void compare_job(const struct job *job)
{
    struct ps_store_command *command =
        depot_on(PS_STORE_JOB_GET, tenant_name(job->tenant), job->id.text, 0);

    expect(command, PS_STORE_OK);
    const struct ps_store_job *row = &command->out.jobs[0];
    assert_int_equal(row->status, job->work.status);
    assert_int_equal(row->attempts, job->work.attempts);
    assert_int_equal(row->ended_ms, job->ended);
    assert_string_equal(row->result.blob.text, job->work.result.text);
    ps_store_command_free(command);
}

static void compare_counts(void)
{
    struct ps_store_command *command = command_of(PS_STORE_COUNT);
    uint64_t waiting = 0;
    uint64_t running = 0;
    uint64_t jobs = 0;
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &model.batches[i];
        if (batch->used && !batch->ended && batch->validated) {
            waiting += count_lines(batch, PS_JOB_QUEUED);
            running += count_lines(batch, PS_JOB_RUNNING);
        }
    }
    for (int i = 0; i < JOBS; i++) {
        jobs += model.jobs[i].used && model.jobs[i].work.status == PS_JOB_QUEUED ? 1 : 0;
    }
    expect(command, PS_STORE_OK);
    assert_int_equal(command->out.counts.lines_waiting, waiting);
    assert_int_equal(command->out.counts.lines_running, running);
    assert_int_equal(command->out.counts.jobs[PS_JOB_QUEUED], jobs);
    ps_store_command_free(command);
}

static void compare_all(void)
{
    for (int i = 0; i < BATCHES; i++) {
        if (model.batches[i].used) {
            compare_batch(&model.batches[i]);
        }
    }
    for (int i = 0; i < JOBS; i++) {
        if (model.jobs[i].used) {
            compare_job(&model.jobs[i]);
        }
    }
    compare_counts();
}

/* ---- blobs ---- */

static bool is_named(const struct ps_blob_name *name)
{
    for (int i = 0; i < FILES; i++) {
        if (model.files[i].used && strcmp(model.files[i].blob.text, name->text) == 0) {
            return true;
        }
    }
    for (int i = 0; i < JOBS; i++) {
        if (model.jobs[i].used && strcmp(model.jobs[i].work.result.text, name->text) == 0) {
            return true;
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &model.batches[i];
        for (unsigned j = 0; batch->used && j < batch->total; j++) {
            if (strcmp(batch->lines[j].result.text, name->text) == 0) {
                return true;
            }
        }
        if (batch->used && strcmp(batch->input.text, name->text) == 0) {
            return true;
        }
    }
    return false;
}

static size_t found;
static size_t orphans;
static size_t expected_orphans;

static void on_blob(void *arg, const struct ps_blob_name *name)
{
    (void)arg;
    if (is_named(name)) {
        found++;
    } else {
        orphans++;
    }
}

static size_t count_named(void)
{
    size_t count = 0;
    for (int i = 0; i < FILES; i++) {
        count += model.files[i].used ? 1 : 0;
    }
    for (int i = 0; i < JOBS; i++) {
        count += model.jobs[i].used && model.jobs[i].work.result.text[0] != '\0' ? 1 : 0;
    }
    for (int i = 0; i < BATCHES; i++) {
        const struct batch *batch = &model.batches[i];
        for (unsigned j = 0; batch->used && j < batch->total; j++) {
            count += batch->lines[j].result.text[0] != '\0' ? 1 : 0;
        }
        /* Its file may be gone, or there: then it is one blob. */
        bool shared = false;
        for (int j = 0; j < FILES; j++) {
            shared = shared || (model.files[j].used &&
                                strcmp(model.files[j].blob.text, batch->input.text) == 0);
        }
        for (int j = 0; j < i; j++) {
            shared = shared || (model.batches[j].used &&
                                strcmp(model.batches[j].input.text, batch->input.text) == 0);
        }
        count += batch->used && batch->input.text[0] != '\0' && !shared ? 1 : 0;
    }
    return count;
}

/* Every blob that a row names is there, and no other but those of groups that were rolled back. */
static void check_blobs(void)
{
    while (engine->tend(session, true)) {
    }
    found = 0;
    orphans = 0;
    for (unsigned i = 0; i < PS_BLOB_BUCKETS; i++) {
        assert_int_equal(ps_blobs_walk(setup.blobs, i, INT64_MAX, on_blob, NULL), 0);
    }
    assert_int_equal(found, count_named());
    assert_int_equal(orphans, expected_orphans);
}

/* ---- the run ---- */

static void open_session(void)
{
    char problem[200];
    session = engine->open(&setup, true, problem, sizeof(problem));
    if (session == NULL) {
        fail_msg("%s", problem);
    }
}

static void begin(void)
{
    saved = model;
    blobs_made = 0;
    assert_int_equal(engine->begin(session), PS_STORE_OK);
}

static void end_group(void)
{
    if (draw(6) == 0) {
        engine->rollback(session);
        unsigned number = model.number; /* ids are not used again */
        model = saved;
        model.number = number;
        expected_orphans += blobs_made;
    } else {
        assert_int_equal(engine->commit(session), PS_STORE_OK);
    }
    (void)engine->tend(session, draw(2) == 0);
    if (draw(30) == 0) {
        check_blobs();
    }
    if (draw(40) == 0) {
        engine->close(session);
        open_session();
        last_served = TENANTS - 1;
    }
}

static void step(void)
{
    static void (*const steps[])(void) = {
        take,         take,       take,         settle,    settle,     settle,    settle,
        settle,       settle,     defer,        renew,     add_job,    add_job,   cancel_job,
        add_lines,    add_lines,  start_batch,  add_batch, fail_batch, add_file,  delete_file,
        cancel_batch, list_files, finish_batch, pass_time, pass_time,  pass_time, delete_batch,
    };
    unsigned which = draw(sizeof(steps) / sizeof(steps[0]) * 20);
    if (which == 0) {
        recover();
    } else if (which == 1) {
        sweep();
    } else if (which == 2) {
        compare_all();
    } else {
        steps[which % (sizeof(steps) / sizeof(steps[0]))]();
    }
}

static void random_commands_do_what_the_model_does(void **state)
{
    (void)state;
    for (int i = 0; i < STEPS;) {
        begin();
        for (unsigned j = 1 + draw(30); j > 0; j--, i++) {
            step();
        }
        end_group();
    }
    begin();
    compare_all();
    assert_int_equal(engine->commit(session), PS_STORE_OK);
    check_blobs();
    assert_true(short_of_memory > 100);
}

/* Since its row may be on the way, a blob that no row names stays for an hour. */
static void orphans_go_when_they_are_old(void **state)
{
    (void)state;
    (void)make_blob();
    model.now = ps_clock_wall_ms() + 3500000;
    for (expected_orphans = 1;; expected_orphans = 0, model.now += 200000) {
        begin();
        finish(command_of(PS_STORE_RECOVER), PS_STORE_OK);
        assert_int_equal(engine->commit(session), PS_STORE_OK);
        check_blobs();
        if (expected_orphans == 0) {
            break;
        }
    }
}

static struct depot depot;

static int set_up(void **state)
{
    const char *given = getenv("PENSTOCK_SEED");
    static char folder[sizeof(depot.folder)];
    static char rest[] = "jobs.db";
    static char blobs[sizeof(depot.folder) + 8];

    (void)state;
    seed = given != NULL ? strtoull(given, NULL, 10) : 20261123;
    model = (struct model){.now = 1000000};
    expected_orphans = 0;
    depot_make(&depot);
    (void)snprintf(folder, sizeof(folder), "%s", depot.folder);
    (void)snprintf(blobs, sizeof(blobs), "%s/blobs", depot.folder);
    setup = (struct ps_store_setup){.folder = folder, .rest = rest};
    setup.blobs = ps_blobs_new(&(struct ps_blobs_options){.folder = blobs, .reserve_percent = 101});
    assert_non_null(setup.blobs);
    open_session();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine->close(session);
    ps_blobs_free(setup.blobs);
    depot_remove(&depot);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_commands_do_what_the_model_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orphans_go_when_they_are_old, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
