/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_SAMPLER_H
#define PENSTOCK_ENGINE_SAMPLER_H

#include "penstock/engine/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * From logits to a token. Pure: the same logits, settings and state of the generator give the same
 * token on any machine. Order: penalties, then temperature 0 takes the likeliest; else top_k,
 * top_p, min_p, temperature, a draw (what llama.cpp's own chain does).
 */
struct ps_random {
    uint64_t state[4];
};
void ps_random_seed(struct ps_random *random, uint64_t seed);
/* [0, 1) */
double ps_random_next(struct ps_random *random);

struct ps_candidate {
    int32_t token;
    float logit;
};

/* How often each token has been given, for the penalties; owned, NULL when there are none. */
struct ps_sampler {
    struct ps_engine_sampling settings;
    struct ps_random random;
    uint16_t *counts; /* by token */
    uint32_t vocabulary;
};
/* 0, or -1 when memory is short. The seed is in settings->seed, whatever has_seed says. */
int ps_sampler_init(struct ps_sampler *sampler, const struct ps_engine_sampling *settings,
                    uint32_t vocabulary) __attribute__((warn_unused_result));
void ps_sampler_deinit(struct ps_sampler *sampler);

/*
 * All tokens with their penalised logits, into `candidates` (room for the vocabulary). NaN counts
 * as impossible.
 */
void ps_sampler_load(const struct ps_sampler *sampler, const float *logits,
                     struct ps_candidate *candidates);
/* Chooses; reorders the candidates. -1: none is possible. */
int32_t ps_sampler_pick(struct ps_sampler *sampler, struct ps_candidate *candidates, size_t count);
/* The token was taken. */
void ps_sampler_accept(struct ps_sampler *sampler, int32_t token);

/* log of the softmax's denominator, so that a token's log-probability is its logit less this. */
float ps_log_sum(const float *logits, size_t count);
/* The `max` likeliest, best first (ties: the lower token); how many there are. */
size_t ps_likeliest(const float *logits, size_t count, struct ps_candidate *ret, size_t max);

#endif
