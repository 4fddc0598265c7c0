/* SPDX-License-Identifier: Apache-2.0 */
#include "run_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <math.h>

/*
 * Embeddings: one request at a time, as many of its inputs in one decode as fit, a decode per step,
 * so that those who generate go on in between.
 */

static void end(struct ps_run *run)
{
    struct ps_job *job = run->embedding;
    run->embedding = NULL;
    run->embedded = 0;
    ps_run_end_job(run, job);
}

void ps_embed_drop(struct ps_run *run)
{
    end(run);
}

void ps_embed_fail(struct ps_run *run, const struct ps_fault *fault)
{
    run->stats.faults++;
    ps_port_stage_fault(run->embedding->port, run->embedding->ticket, fault);
    end(run);
}

static void begin(struct ps_run *run)
{
    struct ps_job *job = PS_CONTAINER_OF(ps_queue_pop(&run->embed), struct ps_job, queued);
    ps_engine_discharge(run->engine, job);
    run->embedding = job;
    run->embedded = 0;
    run->embed_start_us = ps_clock_us();
    struct ps_record record = {
        .kind = PS_ENGINE_STARTED,
        .ticket = job->ticket,
        .stop_index = -1,
        .usage = {job->token_count, 0},
        .queue_us = run->embed_start_us - job->submit_us,
    };
    ps_port_stage(job->port, &record, PS_SLICE_NONE);
}

/* Whole inputs from `embedded` on; how many. */
static uint32_t fill(struct ps_run *run)
{
    const struct ps_job *job = run->embedding;
    struct ps_batch *batch = &run->batch;
    uint32_t sequences = 0;
    uint32_t room = run->model->ops->embed_batch(run->model, &sequences);
    uint32_t count = 0;
    batch->count = 0;
    while (run->embedded + count < job->text_count && count < sequences) {
        struct ps_input input = job->inputs[run->embedded + count];
        if (input.count > room - batch->count) {
            break;
        }
        for (uint32_t i = 0; i < input.count; i++) {
            batch->token[batch->count] = job->tokens[input.start + i];
            batch->position[batch->count] = (int32_t)i;
            batch->sequence[batch->count] = (int32_t)count;
            batch->output[batch->count++] = 1;
        }
        count++;
    }
    return count;
}

static void say(struct ps_run *run, float *vector, size_t index)
{
    uint32_t dimensions = run->engine->info.dimensions;
    double length = 0;
    for (uint32_t i = 0; i < dimensions; i++) {
        length += (double)vector[i] * (double)vector[i];
    }
    length = length > 0 ? sqrt(length) : 1;
    for (uint32_t i = 0; i < dimensions; i++) {
        vector[i] = (float)((double)vector[i] / length);
    }
    struct ps_record record = {
        .kind = PS_ENGINE_EMBEDDING,
        .ticket = run->embedding->ticket,
        .count = dimensions,
        .index = (uint32_t)index,
        .stop_index = -1,
    };
    ps_port_stage(run->embedding->port, &record,
                  ps_slice((const char *)vector, dimensions * sizeof(*vector)));
}

/* 0, or -1 when the model has no vector for one of them, or memory is short. */
static int take(struct ps_run *run, uint32_t count)
{
    uint32_t dimensions = run->engine->info.dimensions;
    float *copy = ps_malloc(dimensions * sizeof(*copy));
    int rc = copy != NULL ? 0 : -1;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const float *vector = run->model->ops->vector(run->model, (int32_t)i);
        if (vector == NULL) {
            rc = -1;
            break;
        }
        for (uint32_t k = 0; k < dimensions; k++) {
            copy[k] = isfinite(vector[k]) ? vector[k] : 0;
        }
        say(run, copy, run->embedded + i);
    }
    ps_free(copy);
    run->embedded += count;
    return rc;
}

static void finish(struct ps_run *run)
{
    const struct ps_job *job = run->embedding;
    struct ps_record record = {
        .kind = PS_ENGINE_DONE,
        .ticket = job->ticket,
        .finish = PS_ENGINE_FINISH_STOP,
        .stop_index = -1,
        .usage = {job->token_count, 0},
        .queue_us = run->embed_start_us - job->submit_us,
        .prompt_us = ps_clock_us() - run->embed_start_us,
    };
    ps_port_stage(job->port, &record, PS_SLICE_NONE);
    end(run);
}

void ps_embed_step(struct ps_run *run)
{
    if (run->embedding == NULL) {
        begin(run);
    }
    uint32_t count = fill(run);
    ps_host_take_turn(run->engine->host);
    int64_t began = ps_clock_us();
    ps_step_publish(run, &run->embedding->ticket, 1);
    int rc = run->model->ops->embed(run->model, &run->batch);
    ps_step_withdraw(run, run->batch.count, began);
    ps_host_give_turn(run->engine->host);
    if (rc == PS_DECODE_ABORTED) {
        return; /* cancelled, or the engine stops: seen at the next round, else done again */
    }
    if (rc == PS_DECODED) {
        run->stats.prompt_tokens += run->batch.count;
        rc = take(run, count);
    }
    if (rc != 0) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL,
                           "The local model failed to compute the embeddings.");
        ps_embed_fail(run, &fault);
    } else if (run->embedded == run->embedding->text_count) {
        finish(run);
    }
}
