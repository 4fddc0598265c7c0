/* SPDX-License-Identifier: Apache-2.0 */
#include "run_priv.h"

#include "penstock/base/clock.h"

#include <math.h>
#include <string.h>

/*
 * One request while it runs: begun when a slot is free, given a token per step, ended by the model,
 * a stop string, a limit, a fault or a cancel. Whatever ends it, the model forgets it and the slot
 * is free.
 */

#define PIECE_MAX    512
#define LOGPROBS_MAX (1u << 20)

static void release(struct ps_run *run, uint32_t slot)
{
    struct ps_sequence *sequence = &run->sequences[slot];
    struct ps_job *job = sequence->job;
    if (sequence->grammar != NULL) {
        run->model->ops->grammar_free(sequence->grammar);
    }
    ps_sampler_deinit(&sequence->sampler);
    ps_text_out_deinit(&sequence->out);
    ps_buf_deinit(&sequence->logprobs);
    run->model->ops->forget(run->model, (int32_t)slot, 0);
    *sequence = (struct ps_sequence){0};
    run->running--;
    ps_run_end_job(run, job);
}

void ps_sequence_drop(struct ps_run *run, uint32_t slot)
{
    release(run, slot);
}

void ps_sequence_fail(struct ps_run *run, uint32_t slot, const struct ps_fault *fault)
{
    struct ps_job *job = run->sequences[slot].job;
    run->stats.faults++;
    ps_port_stage_fault(job->port, job->ticket, fault);
    release(run, slot);
}

static void fail_for_memory(struct ps_run *run, uint32_t slot)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL,
                       "The gateway is short of memory; try again later.");
    ps_sequence_fail(run, slot, &fault);
}

void ps_sequence_start(struct ps_run *run, uint32_t slot, struct ps_job *job)
{
    struct ps_sequence *sequence = &run->sequences[slot];
    *sequence = (struct ps_sequence){.job = job, .start_us = ps_clock_us(), .paused = job->paused};
    sequence->paused_us = sequence->start_us;
    sequence->output = UINT32_MAX;
    run->running++;
    ps_engine_discharge(run->engine, job);
    ps_text_out_init(&sequence->out, job->stops, job->stop_count);
    ps_buf_init(&sequence->logprobs, LOGPROBS_MAX);
    if (ps_sampler_init(&sequence->sampler, &job->sampling, run->engine->info.vocabulary) != 0) {
        fail_for_memory(run, slot);
        return;
    }
    if (job->gbnf != NULL) {
        sequence->grammar = run->model->ops->grammar_new(run->model, job->gbnf);
        if (sequence->grammar == NULL) {
            struct ps_fault fault;
            (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "response_format",
                               "The JSON schema cannot be made into a grammar.");
            ps_sequence_fail(run, slot, &fault);
            return;
        }
    }
    struct ps_record record = {
        .kind = PS_ENGINE_STARTED,
        .ticket = job->ticket,
        .stop_index = -1,
        .usage = {job->token_count, 0},
        .queue_us = sequence->start_us - job->submit_us,
    };
    ps_port_stage(job->port, &record, PS_SLICE_NONE);
}

/* ---- the next token ---- */

/* Only what the grammar allows, among all tokens. */
static int32_t pick_masked(struct ps_run *run, struct ps_sequence *sequence, const float *logits)
{
    uint32_t count = run->engine->info.vocabulary;
    ps_sampler_load(&sequence->sampler, logits, run->candidates);
    for (uint32_t i = 0; i < count; i++) {
        run->mask_tokens[i] = run->candidates[i].token;
        run->mask_logits[i] = run->candidates[i].logit;
    }
    if (run->model->ops->grammar_mask(sequence->grammar, run->mask_tokens, run->mask_logits,
                                      count) != 0) {
        return -1;
    }
    for (uint32_t i = 0; i < count; i++) {
        run->candidates[i].logit = run->mask_logits[i];
    }
    return ps_sampler_pick(&sequence->sampler, run->candidates, count);
}

/*
 * Asking the grammar about one token is cheap, about all of them dear; and a model that was told to
 * write JSON mostly does. The generator is wound back for the second draw, so that the answer does
 * not depend on it.
 */
static int32_t pick(struct ps_run *run, struct ps_sequence *sequence, const float *logits)
{
    struct ps_random before = sequence->sampler.random;
    ps_sampler_load(&sequence->sampler, logits, run->candidates);
    int32_t token =
        ps_sampler_pick(&sequence->sampler, run->candidates, run->engine->info.vocabulary);
    if (token < 0 || sequence->grammar == NULL) {
        return token;
    }
    float logit = 0;
    int32_t asked = token;
    if (run->model->ops->grammar_mask(sequence->grammar, &asked, &logit, 1) == 0 && !isinf(logit)) {
        return token;
    }
    sequence->sampler.random = before;
    return pick_masked(run, sequence, logits);
}

/* ---- logprobs wait for their text, so that a stop string is not leaked through them ---- */

static void put_top(struct ps_run *run, struct ps_buf *body, const struct ps_candidate *top,
                    float log_sum)
{
    char piece[PIECE_MAX];
    size_t len = run->model->ops->piece(run->model, top->token, piece, sizeof(piece));
    struct ps_record_top head = {(uint32_t)len, top->logit - log_sum};
    ps_buf_append(body, &head, sizeof(head));
    ps_buf_append(body, piece, len);
}

static void hold_logprob(struct ps_run *run, struct ps_sequence *sequence, int32_t token,
                         struct ps_slice piece, const float *logits)
{
    struct ps_candidate tops[PS_ENGINE_TOP_LOGPROBS];
    uint32_t vocabulary = run->engine->info.vocabulary;
    float log_sum = ps_log_sum(logits, vocabulary);
    size_t count = ps_likeliest(logits, vocabulary, tops, sequence->job->sampling.top_logprobs);
    struct ps_record record = {
        .kind = PS_ENGINE_LOGPROB,
        .ticket = sequence->job->ticket,
        .text_len = (uint32_t)piece.len,
        .count = (uint32_t)count,
        .logprob = logits[token] - log_sum,
        .stop_index = -1,
    };
    struct ps_waiting waiting = {.until = sequence->out.taken};
    size_t at = sequence->logprobs.len;
    ps_buf_append(&sequence->logprobs, &waiting, sizeof(waiting));
    ps_buf_append(&sequence->logprobs, &record, sizeof(record));
    ps_buf_slice(&sequence->logprobs, piece);
    for (size_t i = 0; i < count; i++) {
        put_top(run, &sequence->logprobs, &tops[i], log_sum);
    }
    if (!sequence->logprobs.failed) {
        waiting.size = (uint32_t)(sequence->logprobs.len - at - sizeof(waiting));
        memcpy(sequence->logprobs.ptr + at, &waiting, sizeof(waiting));
    }
}

static void release_logprobs(struct ps_sequence *sequence)
{
    struct ps_buf *held = &sequence->logprobs;
    while (held->len >= sizeof(struct ps_waiting)) {
        struct ps_waiting waiting;
        struct ps_record record;
        memcpy(&waiting, held->ptr, sizeof(waiting));
        if (waiting.until > sequence->out.released) {
            return;
        }
        memcpy(&record, held->ptr + sizeof(waiting), sizeof(record));
        ps_port_stage(
            sequence->job->port, &record,
            ps_slice(held->ptr + sizeof(waiting) + sizeof(record), waiting.size - sizeof(record)));
        ps_buf_drop(held, sizeof(waiting) + waiting.size);
    }
}

/* ---- results ---- */

static void say_text(struct ps_run *run, struct ps_sequence *sequence)
{
    if (sequence->job->sampling.logprobs) {
        release_logprobs(sequence);
    }
    if (run->text.len > 0) {
        struct ps_record record = {
            .kind = PS_ENGINE_TEXT,
            .ticket = sequence->job->ticket,
            .text_len = (uint32_t)run->text.len,
            .stop_index = -1,
        };
        ps_port_stage(sequence->job->port, &record, ps_buf_view(&run->text));
        ps_buf_reset(&run->text);
    }
}

static void finish(struct ps_run *run, uint32_t slot, enum ps_engine_finish how)
{
    struct ps_sequence *sequence = &run->sequences[slot];
    struct ps_job *job = sequence->job;
    if (ps_text_out_finish(&sequence->out, &run->text) != 0 || sequence->logprobs.failed) {
        fail_for_memory(run, slot);
        return;
    }
    say_text(run, sequence);
    struct ps_record record = {
        .kind = PS_ENGINE_DONE,
        .ticket = job->ticket,
        .finish = (int32_t)how,
        .stop_index = sequence->out.stopped,
        .usage = {job->token_count, sequence->generated},
        .queue_us = sequence->start_us - job->submit_us,
        .prompt_us =
            (sequence->first_us > 0 ? sequence->first_us : ps_clock_us()) - sequence->start_us,
    };
    ps_port_stage(job->port, &record, PS_SLICE_NONE);
    release(run, slot);
}

void ps_sequence_take(struct ps_run *run, uint32_t slot, const float *logits)
{
    struct ps_sequence *sequence = &run->sequences[slot];
    char bytes[PIECE_MAX];
    ps_buf_reset(&run->text);
    int32_t token = pick(run, sequence, logits);
    if (sequence->first_us == 0) {
        sequence->first_us = ps_clock_us();
    }
    /* Nothing possible: with a grammar that is its end, else the model's numbers are broken. */
    if (token < 0 && sequence->grammar == NULL) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL,
                           "The local model gave no usable answer.");
        ps_sequence_fail(run, slot, &fault);
        return;
    }
    if (token < 0 || run->model->ops->ends(run->model, token)) {
        finish(run, slot, PS_ENGINE_FINISH_STOP);
        return;
    }
    ps_sampler_accept(&sequence->sampler, token);
    if (sequence->grammar != NULL &&
        run->model->ops->grammar_accept(sequence->grammar, token) != 0) {
        fail_for_memory(run, slot);
        return;
    }
    sequence->pending = token;
    sequence->generated++;
    run->stats.generated_tokens++;
    struct ps_slice piece =
        ps_slice(bytes, run->model->ops->piece(run->model, token, bytes, sizeof(bytes)));
    int pushed = ps_text_out_push(&sequence->out, piece, &run->text);
    if (sequence->job->sampling.logprobs && pushed == 0) {
        hold_logprob(run, sequence, token, piece, logits);
    }
    if (pushed < 0 || sequence->logprobs.failed) {
        fail_for_memory(run, slot);
    } else if (pushed > 0) {
        finish(run, slot, PS_ENGINE_FINISH_STOP);
    } else if (sequence->generated == sequence->job->sampling.max_tokens) {
        finish(run, slot, PS_ENGINE_FINISH_LENGTH);
    } else {
        say_text(run, sequence);
    }
}
