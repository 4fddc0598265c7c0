/* SPDX-License-Identifier: Apache-2.0 */
#include "run_priv.h"

#include "penstock/base/clock.h"

#include <string.h>

/*
 * One step: a token of every request that generates, and a bounded slice of prompt of those that do
 * not yet; one decode; a new token for each whose prompt is through.
 *
 * How it fails: aborted (everybody in the batch has been cancelled, or the engine stops): what was
 * computed stays, each sequence goes on from what the model holds. No room: cannot happen while
 * each sequence keeps to its part of the context; then the youngest gives way. Any other failure
 * ends those in the batch.
 */

/* It has work to do now: not paused, and its port takes results. */
static bool is_active(const struct ps_sequence *sequence)
{
    return sequence->job != NULL && !sequence->paused &&
           atomic_load_explicit(&sequence->job->port->backlog, memory_order_relaxed) <
               PS_PORT_BACKLOG_MAX;
}

static bool is_prompt(const struct ps_sequence *sequence)
{
    return sequence->past < sequence->job->token_count;
}

bool ps_step_ready(const struct ps_run *run)
{
    for (uint32_t i = 0; i < run->slots; i++) {
        if (is_active(&run->sequences[i])) {
            return true;
        }
    }
    return false;
}

static void add(struct ps_batch *batch, int32_t token, uint32_t position, uint32_t slot,
                bool output)
{
    batch->token[batch->count] = token;
    batch->position[batch->count] = (int32_t)position;
    batch->sequence[batch->count] = (int32_t)slot;
    batch->output[batch->count] = output ? 1 : 0;
    batch->count++;
}

static void add_prompt(struct ps_run *run, uint32_t slot, uint32_t count)
{
    struct ps_sequence *sequence = &run->sequences[slot];
    const struct ps_job *job = sequence->job;
    uint32_t left = job->token_count - sequence->past - sequence->in_batch;
    count = count < left ? count : left;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = sequence->past + sequence->in_batch++;
        bool last = at + 1 == job->token_count;
        if (last) {
            sequence->output = run->batch.count;
        }
        add(&run->batch, job->tokens[at], at, slot, last);
    }
}

/* Those that generate; how many. */
static uint32_t add_tokens(struct ps_run *run)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < run->slots; i++) {
        struct ps_sequence *sequence = &run->sequences[i];
        sequence->in_batch = 0;
        sequence->output = UINT32_MAX;
        if (is_active(sequence) && !is_prompt(sequence)) {
            sequence->output = run->batch.count;
            sequence->in_batch = 1;
            add(&run->batch, sequence->pending, sequence->past, i, true);
            count++;
        }
    }
    return count;
}

/* Equal shares, then what is left to the first; another one is the first in each step. */
static void add_prompts(struct ps_run *run, uint32_t generating)
{
    uint32_t budget = run->batch.max - run->batch.count;
    if (generating > 0 && budget > PS_RUN_PREFILL_SHARED) {
        budget = PS_RUN_PREFILL_SHARED;
    }
    uint32_t end = run->batch.count + budget;
    uint32_t prompts = 0;
    for (uint32_t i = 0; i < run->slots; i++) {
        prompts += is_active(&run->sequences[i]) && is_prompt(&run->sequences[i]) ? 1 : 0;
    }
    run->turn++;
    for (int round = 0; prompts > 0 && round < 2; round++) {
        uint32_t share = round == 0 ? (budget + prompts - 1) / prompts : budget;
        for (uint32_t i = 0; i < run->slots && run->batch.count < end; i++) {
            uint32_t slot = (i + run->turn) % run->slots;
            if (is_active(&run->sequences[slot]) && is_prompt(&run->sequences[slot])) {
                uint32_t room = end - run->batch.count;
                add_prompt(run, slot, share < room ? share : room);
            }
        }
    }
}

void ps_step_publish(struct ps_run *run, const ps_engine_ticket *tickets, uint32_t count)
{
    struct ps_engine *engine = run->engine;
    (void)pthread_mutex_lock(&engine->lock);
    memcpy(engine->batch, tickets, count * sizeof(*tickets));
    engine->batch_count = count;
    engine->batch_live = count;
    engine->decoding = true;
    atomic_store(&engine->abort, atomic_load(&engine->stopping));
    /* Cancelled since the inbox was taken: */
    for (size_t i = 0; i < engine->command_count; i++) {
        for (uint32_t k = 0; engine->commands[i].kind == PS_COMMAND_CANCEL && k < count; k++) {
            if (engine->batch[k] == engine->commands[i].ticket) {
                engine->batch[k] = 0;
                engine->batch_live--;
            }
        }
    }
    if (engine->batch_live == 0) {
        atomic_store(&engine->abort, true);
    }
    (void)pthread_mutex_unlock(&engine->lock);
}

void ps_step_withdraw(struct ps_run *run, uint32_t tokens, int64_t began_us)
{
    struct ps_engine *engine = run->engine;
    int64_t took = ps_clock_us() - began_us;
    (void)pthread_mutex_lock(&engine->lock);
    engine->decoding = false;
    engine->batch_count = 0;
    (void)pthread_mutex_unlock(&engine->lock);
    run->stats.steps++;
    run->stats.busy_us += (uint64_t)took;
    run->speed_tokens = run->speed_tokens * 0.98 + tokens;
    run->speed_us = run->speed_us * 0.98 + (double)took;
}

/* Goes on from what the model holds. */
static void resync(struct ps_run *run)
{
    for (uint32_t i = 0; i < run->slots; i++) {
        struct ps_sequence *sequence = &run->sequences[i];
        if (sequence->job == NULL || sequence->in_batch == 0) {
            continue;
        }
        uint32_t all = sequence->past + sequence->in_batch;
        uint32_t held = (uint32_t)run->model->ops->next(run->model, (int32_t)i);
        if (held >= all && sequence->output != UINT32_MAX) {
            held = all - 1; /* its logits are lost: the last token once more */
        }
        sequence->past = held;
        run->model->ops->forget(run->model, (int32_t)i, (int32_t)held);
    }
}

static void fail_batch(struct ps_run *run, bool youngest_only)
{
    struct ps_fault fault;
    uint32_t youngest = UINT32_MAX;
    (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL,
                       "The local model failed to compute the answer.");
    for (uint32_t i = 0; i < run->slots; i++) {
        struct ps_sequence *sequence = &run->sequences[i];
        if (sequence->job == NULL || sequence->in_batch == 0) {
            continue;
        }
        if (!youngest_only) {
            ps_sequence_fail(run, i, &fault);
        } else if (youngest == UINT32_MAX ||
                   sequence->start_us > run->sequences[youngest].start_us) {
            youngest = i;
        }
    }
    if (youngest != UINT32_MAX) {
        ps_sequence_fail(run, youngest, &fault);
    }
}

static void take_results(struct ps_run *run)
{
    for (uint32_t i = 0; i < run->slots; i++) {
        struct ps_sequence *sequence = &run->sequences[i];
        if (sequence->job == NULL || sequence->in_batch == 0) {
            continue;
        }
        if (is_prompt(sequence)) {
            run->stats.prompt_tokens += sequence->in_batch;
        }
        sequence->past += sequence->in_batch;
        if (sequence->output != UINT32_MAX) {
            const float *logits = run->model->ops->logits(run->model, sequence->output);
            if (logits != NULL) {
                ps_sequence_take(run, i, logits);
            } else {
                struct ps_fault fault;
                (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL,
                                   "The local model gave no usable answer.");
                ps_sequence_fail(run, i, &fault);
            }
        }
    }
}

void ps_step(struct ps_run *run)
{
    ps_engine_ticket tickets[PS_ENGINE_MAX_SLOTS];
    uint32_t count = 0;
    run->batch.count = 0;
    add_prompts(run, add_tokens(run));
    for (uint32_t i = 0; i < run->slots; i++) {
        if (run->sequences[i].job != NULL && run->sequences[i].in_batch > 0) {
            tickets[count++] = run->sequences[i].job->ticket;
        }
    }
    if (run->batch.count == 0) {
        return; /* the last active one has become inactive just now */
    }
    ps_host_take_turn(run->engine->host);
    int64_t began = ps_clock_us();
    ps_step_publish(run, tickets, count);
    int rc = run->model->ops->decode(run->model, &run->batch);
    ps_step_withdraw(run, run->batch.count, began);
    ps_host_give_turn(run->engine->host);
    if (rc == PS_DECODED) {
        take_results(run);
    } else if (rc == PS_DECODE_ABORTED) {
        resync(run);
    } else {
        fail_batch(run, rc == PS_DECODE_FULL);
    }
}
