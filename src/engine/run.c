/* SPDX-License-Identifier: Apache-2.0 */
#include "run_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/*
 * The engine thread. It loads the model, tells the ports, then goes round: take what the loops have
 * left (jobs, commands, ports that close), let what has waited too long go, fill free slots from
 * the queue, compute one step, post its results. With nothing to compute it sleeps.
 *
 * How it ends: the load fails, or the engine is stopped; then everything that waits or runs gets a
 * fault, and the thread serves only the closing of ports until the last one is gone and the engine
 * is being unloaded.
 */

#define ENGINE_NICE       5
#define PROGRESS_EVERY_US INT64_C(2000000) /* a line in the log, while a model loads */

/* ---- the ends of jobs ---- */

void ps_run_end_job(struct ps_run *run, struct ps_job *job)
{
    struct ps_engine *engine = run->engine;
    ps_engine_discharge(engine, job);
    run->stats.requests++;
    (void)pthread_mutex_lock(&engine->lock);
    engine->in_flight--;
    (void)pthread_mutex_unlock(&engine->lock);
    ps_job_free(job);
}

void ps_run_fail_job(struct ps_run *run, struct ps_job *job, const struct ps_fault *fault)
{
    run->stats.faults++;
    ps_port_stage_fault(job->port, job->ticket, fault);
    ps_run_end_job(run, job);
}

static struct ps_job *job_of(struct ps_queued *queued)
{
    return PS_CONTAINER_OF(queued, struct ps_job, queued);
}

static void flush_ports(struct ps_engine *engine)
{
    /* Ports come and go under the lock, but only this thread takes one out. */
    (void)pthread_mutex_lock(&engine->lock);
    struct ps_link *at = engine->ports.next;
    (void)pthread_mutex_unlock(&engine->lock);
    while (at != &engine->ports) {
        ps_port_flush(PS_CONTAINER_OF(at, struct ps_engine_port, link));
        (void)pthread_mutex_lock(&engine->lock);
        at = at->next;
        (void)pthread_mutex_unlock(&engine->lock);
    }
}

/* ---- what the loops have left ---- */

static void push_job(struct ps_run *run, struct ps_job *job)
{
    ps_queue_push(job->task == PS_ENGINE_EMBED ? &run->embed : &run->generate, &job->queued);
}

static int has_ticket(struct ps_queued *queued, void *arg)
{
    return job_of(queued)->ticket == *(const ps_engine_ticket *)arg;
}

static struct ps_job *find_queued(struct ps_run *run, ps_engine_ticket ticket,
                                  struct ps_queue **ret_queue)
{
    struct ps_queue *const queues[] = {&run->generate, &run->embed};
    for (size_t i = 0; i < 2; i++) {
        struct ps_queued *queued = ps_queue_find(queues[i], has_ticket, &ticket);
        if (queued != NULL) {
            *ret_queue = queues[i];
            return job_of(queued);
        }
    }
    return NULL;
}

static void cancel(struct ps_run *run, ps_engine_ticket ticket)
{
    struct ps_queue *queue = NULL;
    for (uint32_t i = 0; i < run->slots; i++) {
        if (run->sequences[i].job != NULL && run->sequences[i].job->ticket == ticket) {
            run->stats.cancelled++;
            ps_sequence_drop(run, i);
            return;
        }
    }
    if (run->embedding != NULL && run->embedding->ticket == ticket) {
        run->stats.cancelled++;
        ps_embed_drop(run);
        return;
    }
    struct ps_job *job = find_queued(run, ticket, &queue);
    if (job != NULL) {
        run->stats.cancelled++;
        ps_queue_remove(queue, &job->queued);
        ps_run_end_job(run, job);
    }
}

static void set_paused(struct ps_run *run, ps_engine_ticket ticket, bool paused)
{
    struct ps_queue *queue = NULL;
    for (uint32_t i = 0; i < run->slots; i++) {
        struct ps_sequence *sequence = &run->sequences[i];
        if (sequence->job != NULL && sequence->job->ticket == ticket &&
            sequence->paused != paused) {
            sequence->paused = paused;
            sequence->paused_us = ps_clock_us();
            return;
        }
    }
    struct ps_job *job = find_queued(run, ticket, &queue);
    if (job != NULL) {
        job->paused = paused;
    }
}

static int is_of_port(struct ps_queued *queued, void *port)
{
    return job_of(queued)->port == port;
}

/* Its tickets have been cancelled; a cancel that was lost for want of memory is made up for here.
 */
static void forget_port(struct ps_run *run, struct ps_engine_port *port)
{
    struct ps_queue *const queues[] = {&run->generate, &run->embed};
    for (uint32_t i = 0; i < run->slots; i++) {
        if (run->sequences[i].job != NULL && run->sequences[i].job->port == port) {
            ps_sequence_drop(run, i);
        }
    }
    if (run->embedding != NULL && run->embedding->port == port) {
        ps_embed_drop(run);
    }
    for (size_t i = 0; i < 2; i++) {
        struct ps_queued *queued;
        while ((queued = ps_queue_find(queues[i], is_of_port, port)) != NULL) {
            ps_queue_remove(queues[i], queued);
            ps_run_end_job(run, job_of(queued));
        }
    }
}

/* One port that wants to close, taken out of the list; NULL: none. */
static struct ps_engine_port *take_closing(struct ps_engine *engine)
{
    struct ps_engine_port *found = NULL;
    (void)pthread_mutex_lock(&engine->lock);
    for (struct ps_link *at = engine->ports.next; engine->close_wanted && at != &engine->ports;
         at = at->next) {
        struct ps_engine_port *port = PS_CONTAINER_OF(at, struct ps_engine_port, link);
        if (port->close_wanted) {
            ps_list_remove(&port->link);
            found = port;
            break;
        }
    }
    engine->close_wanted = found != NULL;
    (void)pthread_mutex_unlock(&engine->lock);
    return found;
}

static void take_inbox(struct ps_run *run)
{
    struct ps_engine *engine = run->engine;
    struct ps_link jobs;
    struct ps_link *link;
    ps_list_init(&jobs);
    (void)pthread_mutex_lock(&engine->lock);
    ps_list_move(&engine->inbox, &jobs);
    struct ps_command *commands = engine->commands;
    size_t count = engine->command_count;
    engine->commands = NULL;
    engine->command_count = 0;
    engine->command_max = 0;
    (void)pthread_mutex_unlock(&engine->lock);
    /* A job was left before the commands about it. */
    while ((link = ps_list_pop(&jobs)) != NULL) {
        push_job(run, PS_CONTAINER_OF(link, struct ps_job, link));
    }
    for (size_t i = 0; i < count; i++) {
        if (commands[i].kind == PS_COMMAND_CANCEL) {
            cancel(run, commands[i].ticket);
        } else {
            set_paused(run, commands[i].ticket, commands[i].kind == PS_COMMAND_PAUSE);
        }
    }
    ps_free(commands);
    struct ps_engine_port *port;
    while ((port = take_closing(engine)) != NULL) {
        forget_port(run, port);
        ps_port_tell_gone(port); /* from here on its memory may go */
    }
}

/* ---- time ---- */

/* Ends what has waited or paused too long; when the next one will have. */
static int64_t expire(struct ps_run *run)
{
    int64_t now = ps_clock_us();
    int64_t wake = INT64_MAX;
    struct ps_queue *const queues[] = {&run->generate, &run->embed};
    for (size_t i = 0; i < 2; i++) {
        struct ps_queued *queued;
        int64_t next;
        while ((queued = ps_queue_expired(queues[i], now, &next)) != NULL) {
            struct ps_fault fault;
            (void)ps_fault_set(&fault, PS_FAULT_QUEUE_FULL, NULL,
                               "Waited too long for a place at the local model.");
            fault.retry_after_ms = ps_engine_retry_after_ms(run->engine);
            ps_queue_remove(queues[i], queued);
            ps_run_fail_job(run, job_of(queued), &fault);
        }
        wake = next < wake ? next : wake;
    }
    for (uint32_t i = 0; i < run->slots; i++) {
        struct ps_sequence *sequence = &run->sequences[i];
        if (sequence->job == NULL || !sequence->paused) {
            continue;
        }
        int64_t end = sequence->paused_us + PS_ENGINE_PAUSE_MAX_US;
        if (end <= now) {
            struct ps_fault fault;
            (void)ps_fault_set(&fault, PS_FAULT_CLIENT_SLOW, NULL,
                               "The answer was not read for too long.");
            ps_sequence_fail(run, i, &fault);
        } else {
            wake = end < wake ? end : wake;
        }
    }
    return wake;
}

static void fill_slots(struct ps_run *run)
{
    for (uint32_t i = 0; i < run->slots && run->generate.count > 0; i++) {
        while (run->sequences[i].job == NULL && run->generate.count > 0) {
            ps_sequence_start(run, i, job_of(ps_queue_pop(&run->generate)));
        }
    }
}

/* Sleeps until something is left, `until_us`, or the end. Not at all when `until_us` is past. */
static void sleep_until(struct ps_engine *engine, int64_t until_us)
{
    struct timespec end = {.tv_sec = (time_t)(until_us / 1000000),
                           .tv_nsec = (long)(until_us % 1000000) * 1000};
    (void)pthread_mutex_lock(&engine->lock);
    while (ps_list_empty(&engine->inbox) && engine->command_count == 0 && !engine->close_wanted &&
           !atomic_load(&engine->stopping)) {
        if (until_us == INT64_MAX) {
            (void)pthread_cond_wait(&engine->wake, &engine->lock);
        } else if (pthread_cond_timedwait(&engine->wake, &engine->lock, &end) == ETIMEDOUT) {
            break;
        }
    }
    (void)pthread_mutex_unlock(&engine->lock);
}

/* ---- beginning and end ---- */

static void set_state(struct ps_engine *engine, enum ps_engine_state state,
                      const struct ps_fault *failure)
{
    (void)pthread_mutex_lock(&engine->lock);
    if (failure != NULL) {
        engine->failure = *failure;
    }
    atomic_store(&engine->state, (int)state);
    (void)pthread_cond_broadcast(&engine->loaded);
    for (struct ps_link *at = engine->ports.next; at != &engine->ports; at = at->next) {
        ps_port_tell_state(PS_CONTAINER_OF(at, struct ps_engine_port, link));
    }
    (void)pthread_mutex_unlock(&engine->lock);
}

static void publish_stats(struct ps_run *run)
{
    struct ps_engine *engine = run->engine;
    run->stats.queued = run->generate.count + run->embed.count;
    run->stats.queued_tokens = (uint32_t)(run->generate.tokens + run->embed.tokens);
    run->stats.running = run->running + (run->embedding != NULL ? 1 : 0);
    run->stats.paused = 0;
    for (uint32_t i = 0; i < run->slots; i++) {
        run->stats.paused += run->sequences[i].job != NULL && run->sequences[i].paused ? 1 : 0;
    }
    run->stats.tokens_per_second =
        run->speed_us > 0 ? (uint32_t)(run->speed_tokens * 1e6 / run->speed_us) : 0;
    (void)pthread_mutex_lock(&engine->lock);
    engine->stats = run->stats;
    (void)pthread_mutex_unlock(&engine->lock);
}

/* Everything that waits or runs ends with `fault`. */
static void fail_all(struct ps_run *run, const struct ps_fault *fault)
{
    struct ps_queue *const queues[] = {&run->generate, &run->embed};
    for (uint32_t i = 0; i < run->slots; i++) {
        if (run->sequences[i].job != NULL) {
            ps_sequence_fail(run, i, fault);
        }
    }
    if (run->embedding != NULL) {
        ps_embed_fail(run, fault);
    }
    for (size_t i = 0; i < 2; i++) {
        struct ps_queued *queued;
        while ((queued = ps_queue_pop(queues[i])) != NULL) {
            ps_run_fail_job(run, job_of(queued), fault);
        }
    }
}

static void work(struct ps_run *run)
{
    struct ps_engine *engine = run->engine;
    while (!atomic_load(&engine->stopping)) {
        take_inbox(run);
        int64_t wake = expire(run);
        fill_slots(run);
        flush_ports(engine); /* who has begun is told so before a long step */
        bool ready = ps_step_ready(run);
        bool embeds = run->embedding != NULL || run->embed.count > 0;
        if (ready) {
            ps_step(run);
        }
        if (embeds) {
            ps_embed_step(run);
        }
        publish_stats(run);
        flush_ports(engine);
        if (!ready && !embeds) {
            /* Requests held back for their port's backlog are looked at again soon. */
            int64_t soon = run->running > run->stats.paused ? ps_clock_us() + 20000 : INT64_MAX;
            sleep_until(engine, wake < soon ? wake : soon);
        }
    }
}

/* After the end of its work the thread stays for the ports. */
static void serve_ports(struct ps_run *run, const struct ps_fault *fault)
{
    struct ps_engine *engine = run->engine;
    for (;;) {
        take_inbox(run);
        fail_all(run, fault);
        publish_stats(run);
        flush_ports(engine);
        (void)pthread_mutex_lock(&engine->lock);
        while (ps_list_empty(&engine->inbox) && engine->command_count == 0 &&
               !engine->close_wanted &&
               !(atomic_load(&engine->stopping) && ps_list_empty(&engine->ports))) {
            (void)pthread_cond_wait(&engine->wake, &engine->lock);
        }
        bool over = atomic_load(&engine->stopping) && ps_list_empty(&engine->ports) &&
                    ps_list_empty(&engine->inbox);
        (void)pthread_mutex_unlock(&engine->lock);
        if (over) {
            return;
        }
    }
}

static bool on_progress(float part, void *arg)
{
    struct ps_engine *engine = arg;
    unsigned percent = part >= 1 ? 100 : part > 0 ? (unsigned)(part * 100) : 0;
    int64_t now = ps_clock_us();
    atomic_store(&engine->progress, percent);
    if (now >= engine->next_progress_us && percent < 100) {
        engine->next_progress_us = now + PROGRESS_EVERY_US;
        struct ps_log_line line;
        ps_log_begin(&line, PS_LOG_INFO, "model loading");
        ps_log_cstr(&line, "provider", engine->options.name);
        ps_log_int(&line, "percent", (int64_t)percent);
        ps_log_end(&line);
    }
    /* Nothing of theirs can be here yet: requests wait for the load at their port. */
    struct ps_engine_port *port;
    while ((port = take_closing(engine)) != NULL) {
        ps_port_tell_gone(port);
    }
    return !atomic_load(&engine->stopping);
}

static bool on_aborted(void *arg)
{
    struct ps_engine *engine = arg;
    return atomic_load_explicit(&engine->abort, memory_order_relaxed);
}

static void free_batch(struct ps_batch *batch)
{
    ps_free(batch->token);
    ps_free(batch->position);
    ps_free(batch->sequence);
    ps_free(batch->output);
    ps_free(batch->ones);
    ps_free(batch->sequences);
}

static int new_batch(struct ps_batch *batch, uint32_t max)
{
    *batch = (struct ps_batch){.max = max};
    batch->token = ps_malloc(max * sizeof(*batch->token));
    batch->position = ps_malloc(max * sizeof(*batch->position));
    batch->sequence = ps_malloc(max * sizeof(*batch->sequence));
    batch->output = ps_malloc(max * sizeof(*batch->output));
    batch->ones = ps_malloc(max * sizeof(*batch->ones));
    batch->sequences = ps_malloc(max * sizeof(*batch->sequences));
    if (batch->token == NULL || batch->position == NULL || batch->sequence == NULL ||
        batch->output == NULL || batch->ones == NULL || batch->sequences == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < max; i++) {
        batch->ones[i] = 1;
        batch->sequences[i] = &batch->sequence[i];
    }
    return 0;
}

static int new_buffers(struct ps_run *run, struct ps_fault *fault)
{
    const struct ps_engine_info *info = &run->engine->info;
    uint32_t sequences = 0;
    uint32_t embed = run->model->ops->embed_batch(run->model, &sequences);
    uint32_t batch = run->slots * 2 > PS_RUN_BATCH ? run->slots * 2 : PS_RUN_BATCH;
    run->sequences = ps_calloc(run->slots, sizeof(*run->sequences));
    run->candidates = ps_malloc(info->vocabulary * sizeof(*run->candidates));
    run->mask_tokens = ps_malloc(info->vocabulary * sizeof(*run->mask_tokens));
    run->mask_logits = ps_malloc(info->vocabulary * sizeof(*run->mask_logits));
    ps_buf_init(&run->text, 1u << 20);
    if (new_batch(&run->batch, embed > batch ? embed : batch) != 0 || run->sequences == NULL ||
        run->candidates == NULL || run->mask_tokens == NULL || run->mask_logits == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, "model_path",
                            "Not enough memory for the model's buffers.");
    }
    run->batch.max = batch; /* what a step of generation may use */
    return 0;
}

static int load(struct ps_run *run, struct ps_fault *fault)
{
    struct ps_engine *engine = run->engine;
    uint32_t slots = engine->options.slots;
    struct ps_model_options options = {
        .engine = &engine->options,
        .host = engine->host,
        .batch = slots * 2 > PS_RUN_BATCH ? slots * 2 : PS_RUN_BATCH,
        .progress = on_progress,
        .aborted = on_aborted,
        .arg = engine,
    };
    struct ps_engine_host *host = engine->host;
    (void)pthread_mutex_lock(&host->loading);
    while (host->loads_over != engine->load_turn) {
        (void)pthread_cond_wait(&host->load_over, &host->loading);
    }
    (void)pthread_mutex_unlock(&host->loading);
    if (!atomic_load(&engine->stopping)) {
        run->model = engine->model_ops->load(&options, &engine->info, fault);
    }
    (void)pthread_mutex_lock(&host->loading);
    host->loads_over++;
    (void)pthread_cond_broadcast(&host->load_over);
    (void)pthread_mutex_unlock(&host->loading);
    if (run->model == NULL) {
        return -1;
    }
    run->slots = slots;
    engine->model = run->model;
    return new_buffers(run, fault);
}

static void log_loaded(struct ps_engine *engine, int64_t took_us)
{
    struct ps_log_line line;
    const struct ps_engine_info *info = &engine->info;
    ps_log_begin(&line, PS_LOG_INFO, "model loaded");
    ps_log_cstr(&line, "provider", engine->options.name);
    ps_log_cstr(&line, "model", info->name);
    ps_log_cstr(&line, "description", info->description);
    ps_log_int(&line, "parameters", (int64_t)info->parameters);
    ps_log_int(&line, "context_tokens", (int64_t)info->context_tokens);
    ps_log_int(&line, "slots", (int64_t)info->slots);
    ps_log_int(&line, "weight_bytes", (int64_t)info->weight_bytes);
    ps_log_int(&line, "kv_bytes", (int64_t)info->kv_bytes);
    ps_log_int(&line, "compute_bytes", (int64_t)info->compute_bytes);
    ps_log_int(&line, "compute_threads", (int64_t)ps_engine_host_threads(engine->host));
    ps_log_bool(&line, "chats", info->chats);
    ps_log_ms(&line, "took_ms", took_us);
    ps_log_end(&line);
}

static void free_run(struct ps_run *run)
{
    if (run->model != NULL) {
        run->model->ops->free(run->model);
    }
    free_batch(&run->batch);
    ps_buf_deinit(&run->text);
    ps_free(run->sequences);
    ps_free(run->candidates);
    ps_free(run->mask_tokens);
    ps_free(run->mask_logits);
}

void *ps_engine_run(void *arg)
{
    struct ps_engine *engine = arg;
    struct ps_run run = {.engine = engine};
    struct ps_fault fault = {0};
    int64_t began = ps_clock_us();
    engine->next_progress_us = began + PROGRESS_EVERY_US;
    (void)pthread_setname_np(pthread_self(), "engine");
    /* Where cores are short the event loops go first: they work little, and everybody waits for
     * them. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), ENGINE_NICE);
    ps_queue_init(&run.generate);
    ps_queue_init(&run.embed);
    if (load(&run, &fault) == 0) {
        atomic_store(&engine->progress, 100);
        log_loaded(engine, ps_clock_us() - began);
        set_state(engine, PS_ENGINE_READY, NULL);
        work(&run);
    } else if (!atomic_load(&engine->stopping)) {
        run.slots = run.sequences != NULL ? run.slots : 0;
        set_state(engine, PS_ENGINE_FAILED, &fault);
        (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL, "The local model could not be loaded.");
        serve_ports(&run, &fault); /* until it is stopped and the ports are closed */
        free_run(&run);
        return NULL;
    }
    run.slots = run.sequences != NULL ? run.slots : 0;
    set_state(engine, PS_ENGINE_STOPPING, NULL);
    (void)ps_fault_set(&fault, PS_FAULT_DRAINING, NULL, "The gateway is shutting down.");
    serve_ports(&run, &fault);
    free_run(&run);
    return NULL;
}
