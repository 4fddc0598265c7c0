/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/*
 * An engine from any thread's view: begun, asked, stopped. What it does is in run.c, how requests
 * reach it in port.c.
 */

static const struct ps_model_ops *const kinds[] = {
    &ps_model_double,
#if PENSTOCK_HAVE_LLAMA
    &ps_model_llama,
#endif
};

static const struct ps_model_ops *find_kind(const char *kind)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i]->kind, kind) == 0) {
            return kinds[i];
        }
    }
    return NULL;
}

bool ps_engine_has(const char *kind)
{
    return find_kind(kind) != NULL;
}

static int check_options(const struct ps_engine_options *options, struct ps_fault *fault)
{
    const struct ps_model_ops *ops = find_kind(options->kind);
    if (ops == NULL) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "engine",
                            "This build has no engine \"%.40s\".", options->kind);
    }
    if (options->slots < 1 || options->slots > PS_ENGINE_MAX_SLOTS) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "slots", "Expected 1 to %d slots, found %u.",
                            PS_ENGINE_MAX_SLOTS, options->slots);
    }
    if (options->context_tokens < 8 || options->context_tokens > (1u << 24)) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "context_tokens",
                            "Expected 8 to 16777216 tokens, found %u.", options->context_tokens);
    }
    return ops->check != NULL ? ops->check(options, fault) : 0;
}

static void free_engine(struct ps_engine *engine)
{
    ps_free((void *)(uintptr_t)engine->options.name);
    ps_free((void *)(uintptr_t)engine->options.kind);
    ps_free((void *)(uintptr_t)engine->options.model_path);
    ps_free((void *)(uintptr_t)engine->options.chat_template);
    ps_free(engine->commands);
    ps_free(engine);
}

static const char *copy_string(const char *text, bool *ok)
{
    char *copy = text != NULL ? ps_strndup(text, strlen(text)) : NULL;
    *ok = *ok && (text == NULL || copy != NULL);
    return copy;
}

static struct ps_engine *new_engine(struct ps_engine_host *host,
                                    const struct ps_engine_options *options)
{
    struct ps_engine *engine = ps_calloc(1, sizeof(*engine));
    bool ok = engine != NULL;
    if (!ok) {
        return NULL;
    }
    engine->host = host;
    engine->model_ops = find_kind(options->kind);
    engine->options = *options;
    engine->options.name = copy_string(options->name, &ok);
    engine->options.kind = copy_string(options->kind, &ok);
    engine->options.model_path = copy_string(options->model_path, &ok);
    engine->options.chat_template = copy_string(options->chat_template, &ok);
    if (!ok) {
        free_engine(engine);
        return NULL;
    }
    ps_list_init(&engine->inbox);
    ps_list_init(&engine->ports);
    return engine;
}

static int start_thread(struct ps_engine *engine)
{
    pthread_condattr_t attributes;
    sigset_t all;
    sigset_t before;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&engine->lock, NULL);
    (void)pthread_cond_init(&engine->wake, &attributes);
    (void)pthread_cond_init(&engine->loaded, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    /* Signals are for the main thread. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)pthread_mutex_lock(&engine->host->loading);
    engine->load_turn = engine->host->next_load;
    int rc = pthread_create(&engine->thread, NULL, ps_engine_run, engine);
    engine->host->next_load += rc == 0 ? 1 : 0;
    (void)pthread_mutex_unlock(&engine->host->loading);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static void destroy_locks(struct ps_engine *engine)
{
    (void)pthread_cond_destroy(&engine->loaded);
    (void)pthread_cond_destroy(&engine->wake);
    (void)pthread_mutex_destroy(&engine->lock);
}

struct ps_engine *ps_engine_load(struct ps_engine_host *host,
                                 const struct ps_engine_options *options, struct ps_fault *fault)
{
    if (check_options(options, fault) != 0) {
        return NULL;
    }
    struct ps_engine *engine = new_engine(host, options);
    if (engine == NULL) {
        (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL, "Not enough memory to begin the load.");
        return NULL;
    }
    if (start_thread(engine) != 0) {
        (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                           "The engine's thread could not be started.");
        destroy_locks(engine);
        free_engine(engine);
        return NULL;
    }
    return engine;
}

void ps_engine_stop(struct ps_engine *engine)
{
    atomic_store(&engine->stopping, true);
    atomic_store(&engine->abort, true);
    (void)pthread_mutex_lock(&engine->lock);
    (void)pthread_cond_broadcast(&engine->wake);
    (void)pthread_mutex_unlock(&engine->lock);
}

void ps_engine_unload(struct ps_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    ps_engine_stop(engine);
    (void)pthread_join(engine->thread, NULL);
    destroy_locks(engine);
    free_engine(engine);
}

enum ps_engine_state ps_engine_state(const struct ps_engine *engine)
{
    return (enum ps_engine_state)atomic_load(&engine->state);
}

unsigned ps_engine_progress(const struct ps_engine *engine)
{
    return atomic_load(&engine->progress);
}

const struct ps_engine_info *ps_engine_info(const struct ps_engine *engine)
{
    static const struct ps_engine_info nothing;
    enum ps_engine_state state = ps_engine_state(engine);
    return state == PS_ENGINE_LOADING || state == PS_ENGINE_FAILED ? &nothing : &engine->info;
}

/* The locks are in the engine: these two look at a const engine and lock it all the same. */
static struct ps_engine *lockable(const struct ps_engine *engine)
{
    return (struct ps_engine *)(uintptr_t)engine;
}

void ps_engine_failure(const struct ps_engine *engine, struct ps_fault *ret_fault)
{
    struct ps_engine *own = lockable(engine);
    (void)pthread_mutex_lock(&own->lock);
    *ret_fault = own->failure;
    (void)pthread_mutex_unlock(&own->lock);
}

void ps_engine_stats(const struct ps_engine *engine, struct ps_engine_stats *ret_stats)
{
    struct ps_engine *own = lockable(engine);
    (void)pthread_mutex_lock(&own->lock);
    *ret_stats = own->stats;
    (void)pthread_mutex_unlock(&own->lock);
}

enum ps_engine_state ps_engine_wait(struct ps_engine *engine, int64_t timeout_us)
{
    int64_t until = ps_clock_us() + timeout_us;
    struct timespec end = {.tv_sec = (time_t)(until / 1000000),
                           .tv_nsec = (long)(until % 1000000) * 1000};
    (void)pthread_mutex_lock(&engine->lock);
    while (ps_engine_state(engine) == PS_ENGINE_LOADING) {
        if (pthread_cond_timedwait(&engine->loaded, &engine->lock, &end) == ETIMEDOUT) {
            break;
        }
    }
    (void)pthread_mutex_unlock(&engine->lock);
    return ps_engine_state(engine);
}

int64_t ps_engine_count_tokens(struct ps_engine *engine, struct ps_slice text,
                               struct ps_fault *fault)
{
    if (ps_engine_state(engine) != PS_ENGINE_READY) {
        return ps_fault_set(fault, PS_FAULT_LOADING, NULL, "The model is still loading.");
    }
    int64_t count = engine->model_ops->tokenise(engine->model, text, false, false, NULL, 0);
    return count >= 0
               ? count
               : ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL, "The gateway is short of memory.");
}

/* ---- the way in, for ports ---- */

int64_t ps_engine_retry_after_ms(struct ps_engine *engine)
{
    struct ps_engine_stats stats;
    ps_engine_stats(engine, &stats);
    uint64_t ended = stats.requests > 0 ? stats.requests : 1;
    uint64_t each = stats.requests > 0 ? stats.generated_tokens / ended : 128;
    uint64_t work = stats.queued_tokens + (stats.queued + stats.running / 2) * each;
    uint64_t speed = stats.tokens_per_second > 0 ? stats.tokens_per_second : 50;
    /* Until one place is free, not until all are: the work ahead, shared by those who wait for it.
     */
    uint64_t ms = work * 1000 / speed / (stats.queued > 0 ? stats.queued : 1);
    return ms < 1000 ? 1000 : ms > 60000 ? 60000 : (int64_t)ms;
}

static bool charge(struct ps_engine_host *host, struct ps_job *job)
{
    uint32_t tokens = job->queued.tokens;
    unsigned waiting = atomic_fetch_add(&host->waiting, 1);
    uint64_t waiting_tokens = atomic_fetch_add(&host->waiting_tokens, tokens);
    job->charged = true;
    job->charged_tokens = tokens;
    return waiting < host->options.queue && waiting_tokens + tokens <= host->options.queue_tokens;
}

static void uncharge(struct ps_engine_host *host, struct ps_job *job)
{
    if (job->charged) {
        atomic_fetch_sub(&host->waiting, 1);
        atomic_fetch_sub(&host->waiting_tokens, job->charged_tokens);
        job->charged = false;
    }
}

void ps_engine_discharge(struct ps_engine *engine, struct ps_job *job)
{
    uncharge(engine->host, job);
}

int ps_engine_admit(struct ps_engine *engine, struct ps_job *job, struct ps_fault *fault)
{
    (void)pthread_mutex_lock(&engine->lock);
    /* What finds a free slot does not wait. */
    bool admitted = engine->in_flight < engine->options.slots || charge(engine->host, job);
    if (admitted) {
        engine->in_flight++;
        ps_list_push_back(&engine->inbox, &job->link);
        (void)pthread_cond_signal(&engine->wake);
    }
    (void)pthread_mutex_unlock(&engine->lock);
    if (admitted) {
        return 0;
    }
    uncharge(engine->host, job);
    (void)ps_fault_set(fault, PS_FAULT_QUEUE_FULL, NULL,
                       "The queue of the local model is full; try again later.");
    fault->retry_after_ms = ps_engine_retry_after_ms(engine);
    return -1;
}

/* A cancelled ticket is wanted no more in the decode that runs; when all are, it is aborted. */
static void leave_batch(struct ps_engine *engine, ps_engine_ticket ticket)
{
    for (uint32_t i = 0; i < engine->batch_count; i++) {
        if (engine->batch[i] == ticket) {
            engine->batch[i] = 0;
            engine->batch_live--;
        }
    }
    if (engine->decoding && engine->batch_live == 0) {
        atomic_store(&engine->abort, true);
    }
}

bool ps_engine_command(struct ps_engine *engine, const struct ps_command *command)
{
    (void)pthread_mutex_lock(&engine->lock);
    bool ok = true;
    if (engine->command_count == engine->command_max) {
        size_t max = engine->command_max * 2 + 16;
        struct ps_command *more = ps_realloc(engine->commands, max * sizeof(*more));
        ok = more != NULL;
        if (ok) {
            engine->commands = more;
            engine->command_max = max;
        }
    }
    if (ok) {
        engine->commands[engine->command_count++] = *command;
        if (command->kind == PS_COMMAND_CANCEL) {
            leave_batch(engine, command->ticket);
        }
        (void)pthread_cond_signal(&engine->wake);
    }
    (void)pthread_mutex_unlock(&engine->lock);
    return ok;
}
