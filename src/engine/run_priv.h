/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_RUN_PRIV_H
#define PENSTOCK_ENGINE_RUN_PRIV_H

#include "engine_priv.h"
#include "sampler.h"
#include "text_out.h"

/* What the engine thread alone sees: the requests that run, and those that wait. */

/* One request in its slot; the slot's number is the sequence's in the model. */
struct ps_sequence {
    struct ps_job *job; /* owned; NULL: the slot is free */
    uint32_t past;      /* tokens the model holds of it */
    int32_t pending;    /* behind the prompt: sampled, not computed yet */
    uint32_t generated;
    bool paused;
    int64_t paused_us; /* since when */
    uint32_t in_batch; /* tokens of it in this step */
    uint32_t output;   /* index in the batch whose logits are its next token's; UINT32_MAX: none */
    int64_t start_us;
    int64_t first_us; /* when its first token came; 0: not yet */
    struct ps_sampler sampler;
    struct ps_text_out out;
    struct ps_buf logprobs; /* records that wait for their text, each behind a struct ps_waiting */
    void *grammar;          /* owned; may be NULL */
};

struct ps_waiting {
    uint64_t until; /* bytes of text that must be out */
    uint32_t size;
};

struct ps_run {
    struct ps_engine *engine;
    struct ps_model *model;
    struct ps_sequence *sequences; /* owned: options.slots */
    uint32_t slots;
    uint32_t running;
    struct ps_queue generate; /* jobs that wait for a slot */
    struct ps_queue embed;
    struct ps_job *embedding; /* the one that is computed; owned */
    size_t embedded;          /* of its inputs, done */
    int64_t embed_start_us;
    struct ps_batch batch;
    struct ps_candidate *candidates; /* owned: the vocabulary */
    int32_t *mask_tokens;            /* owned: the vocabulary, for grammars */
    float *mask_logits;
    struct ps_buf text;  /* what came out of one token */
    uint32_t turn;       /* where the next step's prompts begin */
    double speed_tokens; /* decaying sums: tokens, and the time they took */
    double speed_us;
    struct ps_engine_stats stats; /* published under the lock after each step */
};

#define PS_RUN_PREFILL_SHARED 128 /* prompt tokens of a step while others generate */
#define PS_RUN_BATCH          512 /* tokens of a step at most, or more with many slots */

/* sequence.c */
/* Puts a job into a free slot. It ends at once when it cannot begin. */
void ps_sequence_start(struct ps_run *run, uint32_t slot, struct ps_job *job);
/* The next token, from its logits; may end it. */
void ps_sequence_take(struct ps_run *run, uint32_t slot, const float *logits);
/* Ends it without a word: cancelled. */
void ps_sequence_drop(struct ps_run *run, uint32_t slot);
void ps_sequence_fail(struct ps_run *run, uint32_t slot, const struct ps_fault *fault);

/* step.c */
/* Whether there is something to compute now. */
bool ps_step_ready(const struct ps_run *run);
void ps_step(struct ps_run *run);
/* Between the two the batch's tickets may be cancelled under way. */
void ps_step_publish(struct ps_run *run, const ps_engine_ticket *tickets, uint32_t count);
void ps_step_withdraw(struct ps_run *run, uint32_t tokens, int64_t began_us);

/* embed.c */
void ps_embed_step(struct ps_run *run);
void ps_embed_drop(struct ps_run *run);
void ps_embed_fail(struct ps_run *run, const struct ps_fault *fault);

/* run.c */
/* A job is over: what it counted for is given back, its memory freed. */
void ps_run_end_job(struct ps_run *run, struct ps_job *job);
/* The same, with a fault told to its port. */
void ps_run_fail_job(struct ps_run *run, struct ps_job *job, const struct ps_fault *fault);

#endif
