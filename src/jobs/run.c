/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <stdio.h>
#include <string.h>

/*
 * One claim: a single job or a line of a batch, from the store and back to it.
 *
 * The happy path: taken in, the first bytes of its body are read (LOADING), it waits for a slot
 * (READY), its exchange runs (ASKING, front.c), a large answer goes to a blob (KEEPING), the store
 * is told (TELLING).
 *
 * How it fails: what the upstream does is judged in front.c and ends here as settled or deferred.
 * When the store does not take it, it is told again later (LATER), for as long as it takes: the
 * answer has been paid for. A claim that has become void, since the job was cancelled or the lease
 * is another's, is dropped in whatever state it is; in TELLING the store itself says so. Its time
 * runs out: it is settled as expired.
 */

#define ARENA_BYTES ((size_t)5 << 20)
/* Taken so often by processes that died: it is what kills them. */
#define LOST_MAX 40

static struct ps_link *list_of(struct ps_jobs *jobs, enum ps_run_state state)
{
    switch (state) {
    case PS_RUN_LOADING:
        return &jobs->loading;
    case PS_RUN_READY:
        return &jobs->ready;
    case PS_RUN_ASKING:
        return &jobs->asking;
    case PS_RUN_KEEPING:
    case PS_RUN_TELLING:
    case PS_RUN_LATER:
    default:
        return &jobs->telling;
    }
}

static void count(struct ps_run *run, int change)
{
    struct ps_jobs *jobs = run->jobs;
    size_t bytes = run->claim.body.length;
    switch (run->state) {
    case PS_RUN_LOADING:
    case PS_RUN_READY:
        jobs->waiting_count += (unsigned)change;
        jobs->waiting_bytes += change > 0 ? run->body_len : -run->body_len;
        break;
    case PS_RUN_ASKING:
        jobs->asking_count += (unsigned)change;
        jobs->asking_bytes += change > 0 ? bytes : -bytes;
        break;
    case PS_RUN_KEEPING:
    case PS_RUN_TELLING:
    case PS_RUN_LATER:
    default:
        jobs->telling_count += (unsigned)change;
        break;
    }
}

void ps_run_enter(struct ps_run *run, enum ps_run_state state)
{
    count(run, -1);
    ps_list_remove(&run->link);
    run->state = state;
    count(run, 1);
    ps_list_push_back(list_of(run->jobs, state), &run->link);
}

static struct ps_link *bucket_of(struct ps_jobs *jobs, const struct ps_id *id, int64_t line)
{
    uint32_t hash = 2166136261u;
    for (const char *p = id->text; *p != '\0'; p++) {
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    }
    hash = (hash ^ (uint32_t)line) * 16777619u;
    return &jobs->buckets[hash % PS_JOBS_BUCKETS];
}

struct ps_run *ps_run_find(struct ps_jobs *jobs, const struct ps_store_ref *ref)
{
    struct ps_link *bucket = bucket_of(jobs, &ref->id, ref->line);
    for (struct ps_link *link = bucket->next; link != bucket; link = link->next) {
        struct ps_run *run = PS_CONTAINER_OF(link, struct ps_run, bucket);
        if (run->claim.line == ref->line && run->claim.fence == ref->fence &&
            strcmp(run->claim.id.text, ref->id.text) == 0) {
            return run;
        }
    }
    return NULL;
}

void ps_run_free(struct ps_run *run)
{
    struct ps_jobs *jobs = run->jobs;
    ps_timer_cancel(&run->timer);
    ps_task_cancel(&run->task);
    if (run->download != NULL) {
        ps_download_cancel(run->download);
    }
    if (run->upload != NULL) {
        ps_upload_cancel(run->upload);
    }
    if (run->pace != NULL) {
        ps_pace_unref(run->pace);
    }
    count(run, -1);
    ps_list_remove(&run->link);
    ps_list_remove(&run->bucket);
    ps_buf_deinit(&run->answer);
    ps_free(run->body);
    ps_arena_deinit(&run->arena);
    ps_free(run);
    ps_jobs_poke(jobs);
}

/* ---- what the store is told ---- */

static int64_t count_of(int64_t tokens)
{
    return tokens > 0 ? tokens : 0;
}

static int fill_settlement(struct ps_run *run, struct ps_store_command *command)
{
    const struct ps_run_ending *ending = &run->ending;
    struct ps_store_settlement *s = &command->in.settlement;
    s->id = run->claim.id;
    s->line = run->claim.line;
    s->fence = run->claim.fence;
    s->status = ending->status;
    s->http_status = ending->http_status;
    s->request_id = ps_store_command_copy(command, ps_slice_cstr(run->request_id.text));
    s->error = ps_store_command_copy(command, ending->error);
    s->input_tokens = (uint64_t)count_of(run->usage.input);
    s->output_tokens = (uint64_t)count_of(run->usage.output);
    s->cached_tokens = (uint64_t)count_of(run->usage.cached);
    s->reasoning_tokens = (uint64_t)count_of(run->usage.reasoning);
    if (run->blob.text[0] != '\0') {
        s->body.blob = run->blob;
        s->body.length = run->answer_bytes;
    } else if (ending->http_status != 0) {
        s->body.bytes = ps_store_command_copy(command, ps_buf_view(&run->answer));
        s->body.length = s->body.bytes.len;
        if (s->body.bytes.ptr == NULL) {
            return -1;
        }
    }
    return s->request_id.ptr != NULL && s->error.ptr != NULL ? 0 : -1;
}

/* The message to the webhook goes into the store with what it tells of. */
static int fill_hook(struct ps_run *run, struct ps_store_command *command)
{
    struct ps_buf payload;
    if (run->claim.webhook.len == 0) {
        return 0;
    }
    ps_buf_init(&payload, PS_JOBS_INLINE);
    ps_hooks_job_payload(&payload, &run->claim.id, run->ending.status, run->ending.error,
                         command->in.now_ms);
    command->in.hook_type = ps_hooks_job_type(run->ending.status);
    command->in.hook_payload = ps_store_command_copy(command, ps_buf_view(&payload));
    int result = payload.failed || command->in.hook_payload.ptr == NULL ? -1 : 0;
    ps_buf_deinit(&payload);
    return result;
}

static int fill_back(struct ps_run *run, struct ps_store_command *command)
{
    command->in.ref = (struct ps_store_ref){run->claim.id, run->claim.line, run->claim.fence};
    command->in.run_at_ms = run->ending.run_at_ms;
    command->in.counts = run->ending.counts;
    command->in.error = ps_store_command_copy(command, run->ending.error);
    return command->in.error.ptr != NULL ? 0 : -1;
}

static void tell(struct ps_run *run);

static void tell_again(struct ps_timer *timer)
{
    tell(PS_CONTAINER_OF(timer, struct ps_run, timer));
}

/* Its lease may run out meanwhile; then the next word from the store is STALE. */
static void tell_later(struct ps_run *run)
{
    struct ps_jobs *jobs = run->jobs;
    ps_run_enter(run, PS_RUN_LATER);
    run->timer.fn = tell_again;
    if (jobs->state != PS_JOBS_RUNNING || ps_timer_set(&run->timer, jobs->times.retry_us) != 0) {
        ps_run_free(run); /* the next run takes it up */
    }
}

static void on_told(struct ps_store_command *command)
{
    struct ps_run *run = command->user;
    struct ps_jobs *jobs = run->jobs;
    enum ps_store_status status = command->status;
    bool finished = command->out.finished;
    bool hooked = command->in.hook_payload.len > 0;
    ps_store_command_free(command);
    ps_jobs_answered(jobs);
    if (status == PS_STORE_BROKEN || status == PS_STORE_DISK_FULL || status == PS_STORE_BUSY ||
        status == PS_STORE_NO_MEMORY) {
        tell_later(run);
        return;
    }
    if (status == PS_STORE_OK) {
        jobs->uncounted = true;
        if (run->ending.back) {
            ps_jobs_take_in(jobs, ps_jobs_until(jobs, run->ending.run_at_ms));
        } else {
            ps_report_end(jobs, run);
        }
        if (finished) {
            ps_jobs_due_in(jobs, 0);
        }
        if (hooked) {
            ps_hooks_wake(jobs->hooks);
        }
        ps_hub_touch(jobs, &run->claim.id, run->claim.line < 0);
    } else {
        ps_jobs_due_in(jobs, 0); /* told twice, it may have been the last of its batch */
    }
    ps_run_free(run);
}

static void tell(struct ps_run *run)
{
    enum ps_store_verb verb = run->ending.back ? PS_STORE_DEFER : PS_STORE_SETTLE;
    struct ps_store_command *command = ps_jobs_command(verb, run);
    ps_timer_cancel(&run->timer);
    if (command != NULL) {
        command->in.now_ms = ps_clock_wall_ms();
    }
    if (command == NULL ||
        (run->ending.back ? fill_back(run, command) != 0
                          : fill_settlement(run, command) != 0 || fill_hook(run, command) != 0)) {
        ps_store_command_free(command);
        tell_later(run);
        return;
    }
    ps_run_enter(run, PS_RUN_TELLING);
    ps_jobs_submit(run->jobs, command, on_told);
}

/* ---- ends ---- */

static struct ps_slice error_json(struct ps_run *run, const char *code, const char *message)
{
    struct ps_buf json;
    ps_buf_init(&json, 4096);
    ps_buf_cstr(&json, "{\"code\":");
    ps_buf_json(&json, ps_slice_cstr(code));
    ps_buf_cstr(&json, ",\"message\":");
    ps_buf_json(&json, ps_slice_cstr(message));
    ps_buf_byte(&json, '}');
    struct ps_slice copy = ps_arena_copy(&run->arena, ps_buf_view(&json));
    bool ok = !json.failed && copy.ptr != NULL;
    ps_buf_deinit(&json);
    return ok ? copy : PS_SLICE_LIT("{\"code\":\"error\",\"message\":\"\"}");
}

void ps_run_settle(struct ps_run *run, enum ps_job_status status)
{
    run->ending = (struct ps_run_ending){.status = status, .http_status = run->status};
    tell(run);
}

void ps_run_fail(struct ps_run *run, const char *code, const char *message)
{
    ps_buf_reset(&run->answer);
    run->ending =
        (struct ps_run_ending){.status = PS_JOB_FAILED, .error = error_json(run, code, message)};
    tell(run);
}

void ps_run_defer(struct ps_run *run, int64_t after_ms, bool counts)
{
    char code[32] = "interrupted";
    char message[PS_FAULT_TEXT] = "";
    if (run->fault.kind != PS_FAULT_NONE) {
        (void)snprintf(code, sizeof(code), "%s", ps_fault_code(run->fault.kind));
        memcpy(message, run->fault.message, sizeof(message));
    } else if (run->status != 0) {
        (void)snprintf(code, sizeof(code), "status_%d", run->status);
    }
    run->ending = (struct ps_run_ending){.back = true,
                                         .counts = counts,
                                         .run_at_ms = ps_clock_wall_ms() + after_ms,
                                         .error = error_json(run, code, message)};
    tell(run);
}

void ps_run_lose(struct ps_run *run, const char *code, const char *message)
{
    struct ps_jobs *jobs = run->jobs;
    if (run->claim.attempt >= jobs->gl->snapshot->config->jobs_max_attempts) {
        ps_run_fail(run, code, message);
        return;
    }
    ps_run_defer(run,
                 ps_jobs_backoff_ms(run->claim.attempt, jobs->times.backoff_ms,
                                    jobs->times.backoff_cap_ms, ps_jobs_random()),
                 true);
}

static void stop_asking(struct ps_run *run, enum ps_end_reason reason)
{
    if (run->ex != NULL) {
        ps_run_hang_up(run, reason);
    }
    if (run->download != NULL) {
        ps_download_cancel(run->download);
        run->download = NULL;
    }
}

void ps_run_give_back(struct ps_run *run, int64_t after_ms)
{
    stop_asking(run, PS_END_SHUTDOWN);
    ps_run_defer(run, after_ms, false);
}

void ps_run_void(struct ps_run *run)
{
    stop_asking(run, PS_END_CLIENT_GONE);
    ps_hub_touch(run->jobs, &run->claim.id, run->claim.line < 0);
    ps_run_free(run);
}

/* A job is settled; a line goes back, and DUE ends its batch with all that are left. */
static void on_expired(struct ps_timer *timer)
{
    struct ps_run *run = PS_CONTAINER_OF(timer, struct ps_run, timer);
    struct ps_jobs *jobs = run->jobs;
    stop_asking(run, PS_END_CLIENT_GONE);
    if (run->claim.line >= 0) {
        ps_run_give_back(run, 0);
        ps_jobs_due_in(jobs, 0);
        return;
    }
    run->status = 0;
    ps_buf_reset(&run->answer);
    run->ending = (struct ps_run_ending){
        .status = PS_JOB_EXPIRED,
        .error = error_json(run, "job_expired",
                            "The job could not be finished before its time was over.")};
    tell(run);
}

/* ---- taken in ---- */

struct model_search {
    const char *text;
    char model[PS_PACE_NAME * 6 + 16];
    size_t len;
};

static bool on_model(void *arg, const struct ps_json_value *value)
{
    struct model_search *search = arg;
    size_t len = value->end - value->start;
    if (value->type == PS_JSON_STRING && len <= sizeof(search->model)) {
        search->len = ps_json_unescape(ps_slice(search->text + value->start, len), search->model);
    }
    return false;
}

/* The body goes on, or is whole: either way its model stands in what is here, but for odd ones. */
static void find_pace(struct ps_run *run)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    struct ps_jobs *jobs = run->jobs;
    struct model_search search = {.text = run->body};
    (void)ps_json_scan_text(ps_slice(run->body, run->body_len), jobs->model_path, &limits, on_model,
                            &search);
    run->pace = ps_pace_ref(&jobs->paces, ps_slice(search.model, search.len), ps_clock_us());
    if (run->claim.line < 0) {
        return;
    }
    for (size_t i = 0; i < PS_JOBS_SEEN; i++) {
        if (jobs->seen[i].pace != NULL && strcmp(jobs->seen[i].id.text, run->claim.id.text) == 0) {
            ps_pace_unref(jobs->seen[i].pace);
            jobs->seen[i].pace = run->pace;
            run->pace->refs++;
            return;
        }
    }
    struct ps_jobs_seen *seen = &jobs->seen[jobs->seen_next++ % PS_JOBS_SEEN];
    if (seen->pace != NULL) {
        ps_pace_unref(seen->pace);
    }
    *seen = (struct ps_jobs_seen){run->claim.id, run->pace};
    run->pace->refs++;
}

static void be_ready(struct ps_run *run)
{
    find_pace(run);
    ps_run_enter(run, PS_RUN_READY);
    ps_jobs_poke(run->jobs);
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct ps_run *run = arg;
    size_t room = PS_JOBS_INLINE - run->body_len;
    len = len < room ? len : room; /* it is asked for no more */
    memcpy(run->body + run->body_len, ptr, len);
    run->body_len += len;
    run->jobs->waiting_bytes += len;
}

static void on_loaded(void *arg, int error)
{
    struct ps_run *run = arg;
    run->download = NULL;
    if (error != 0) {
        ps_run_lose(run, "storage_error", "The request could not be read from the disk.");
        return;
    }
    be_ready(run);
}

static void load(struct ps_run *run)
{
    static const struct ps_download_ops ops = {on_data, on_loaded};
    const struct ps_store_body *body = &run->claim.body;
    struct ps_jobs *jobs = run->jobs;
    if (body->blob.text[0] == '\0') {
        run->body_len = body->bytes.len;
        run->claim.body.length = body->bytes.len;
        run->body = ps_malloc(run->body_len + 1);
        if (run->body == NULL) {
            run->body_len = 0;
            ps_run_defer(run, jobs->times.retry_us / 1000, false);
            return;
        }
        if (run->body_len > 0) {
            memcpy(run->body, body->bytes.ptr, run->body_len);
        }
        jobs->waiting_bytes += run->body_len;
        be_ready(run);
        return;
    }
    uint64_t first = body->length < PS_JOBS_INLINE ? body->length : PS_JOBS_INLINE;
    run->body = ps_malloc((size_t)first + 1);
    if (run->body != NULL) {
        run->download = ps_download_new(ps_store_blobs(jobs->store), jobs->mailbox, &body->blob,
                                        body->offset, first, &ops, run);
    }
    if (run->download == NULL) {
        ps_run_defer(run, jobs->times.retry_us / 1000, false);
    }
}

/* But for the body's bytes, which are copied by load. */
static int copy_claim(struct ps_run *run, const struct ps_store_claim *claim)
{
    struct ps_slice *slices[] = {&run->claim.tenant, &run->claim.key, &run->claim.endpoint,
                                 &run->claim.custom_id, &run->claim.webhook};
    run->claim = *claim;
    for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
        *slices[i] = ps_arena_copy(&run->arena, *slices[i]);
        if (slices[i]->ptr == NULL) {
            return -1;
        }
    }
    return 0;
}

static struct ps_run *make(struct ps_jobs *jobs, const struct ps_store_claim *claim)
{
    struct ps_run *run = ps_calloc(1, sizeof(*run));
    if (run == NULL) {
        return NULL; /* its lease runs out */
    }
    ps_arena_init(&run->arena, ARENA_BYTES);
    if (copy_claim(run, claim) != 0) {
        ps_arena_deinit(&run->arena);
        ps_free(run);
        return NULL;
    }
    run->jobs = jobs;
    run->state = PS_RUN_LOADING;
    run->usage = PS_USAGE_NONE;
    ps_list_init(&run->live);
    ps_list_push_back(&jobs->loading, &run->link);
    ps_list_push_back(bucket_of(jobs, &claim->id, claim->line), &run->bucket);
    count(run, 1);
    ps_buf_init(&run->answer, PS_JOBS_INLINE);
    ps_timer_init(&run->timer, jobs->gl->loop, on_expired);
    ps_task_init(&run->task, ps_run_asked);
    ps_id_make(&run->request_id, "req_");
    run->endpoint = ps_jobs_endpoint(run->claim.endpoint);
    return run;
}

void ps_run_new(struct ps_jobs *jobs, const struct ps_store_claim *claim)
{
    struct ps_run *run = make(jobs, claim);
    if (run == NULL) {
        return;
    }
    int64_t left_ms = claim->expires_ms - ps_clock_wall_ms();
    if (jobs->state != PS_JOBS_RUNNING) {
        ps_run_give_back(run, 0);
    } else if (run->endpoint == NULL) {
        ps_run_fail(run, "unsupported_operation", "This build cannot run such requests.");
    } else if (claim->lost > LOST_MAX) {
        ps_run_fail(run, "interrupted",
                    "The gateway died too often while this request was running.");
    } else if (claim->expires_ms != 0 && left_ms <= 0) {
        on_expired(&run->timer);
    } else {
        if (claim->expires_ms != 0) {
            (void)ps_timer_set(&run->timer, left_ms * 1000);
        }
        load(run);
    }
}
