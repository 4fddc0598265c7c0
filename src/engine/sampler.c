/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler.h"

#include "penstock/base/mem.h"

#include <math.h>
#include <stdlib.h>

/* Below the best by so much, a token has less than 1e-11 of its probability: not worth sorting. */
#define FAR_BELOW 25.0F

static uint64_t rotate(uint64_t value, int by)
{
    return (value << by) | (value >> (64 - by));
}

void ps_random_seed(struct ps_random *random, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) { /* splitmix64, so that near seeds give far states */
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        random->state[i] = z ^ (z >> 31);
    }
}

double ps_random_next(struct ps_random *random) /* xoshiro256+ */
{
    uint64_t *s = random->state;
    uint64_t result = s[0] + s[3];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return (double)(result >> 11) * 0x1.0p-53;
}

int ps_sampler_init(struct ps_sampler *sampler, const struct ps_engine_sampling *settings,
                    uint32_t vocabulary)
{
    *sampler = (struct ps_sampler){.settings = *settings, .vocabulary = vocabulary};
    ps_random_seed(&sampler->random, settings->seed);
    if (settings->frequency_penalty != 0 || settings->presence_penalty != 0) {
        sampler->counts = ps_calloc(vocabulary, sizeof(*sampler->counts));
        return sampler->counts != NULL ? 0 : -1;
    }
    return 0;
}

void ps_sampler_deinit(struct ps_sampler *sampler)
{
    ps_free(sampler->counts);
    sampler->counts = NULL;
}

void ps_sampler_load(const struct ps_sampler *sampler, const float *logits,
                     struct ps_candidate *candidates)
{
    float frequency = (float)sampler->settings.frequency_penalty;
    float presence = (float)sampler->settings.presence_penalty;
    for (uint32_t i = 0; i < sampler->vocabulary; i++) {
        float logit = isnan(logits[i]) ? -INFINITY : logits[i];
        if (sampler->counts != NULL && sampler->counts[i] > 0) {
            logit -= (float)sampler->counts[i] * frequency + presence;
        }
        candidates[i] = (struct ps_candidate){(int32_t)i, logit};
    }
}

static bool better(const struct ps_candidate *a, const struct ps_candidate *b)
{
    return a->logit > b->logit || (a->logit >= b->logit && a->token < b->token);
}

static int by_logit(const void *left, const void *right)
{
    const struct ps_candidate *a = left;
    const struct ps_candidate *b = right;
    return better(a, b) ? -1 : better(b, a) ? 1 : 0;
}

static size_t best_of(const struct ps_candidate *candidates, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        if (better(&candidates[i], &candidates[best])) {
            best = i;
        }
    }
    return best;
}

static void swap(struct ps_candidate *a, struct ps_candidate *b)
{
    struct ps_candidate other = *a;
    *a = *b;
    *b = other;
}

/* Restores the heap of the `count` worst-at-the-root candidates below `at`. */
static void sink(struct ps_candidate *heap, size_t count, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && better(&heap[child], &heap[child + 1])) {
            child++;
        }
        if (better(&heap[child], &heap[at])) {
            return;
        }
        swap(&heap[child], &heap[at]);
        at = child;
    }
}

/* Moves the k best to the front: one pass with a heap of k, whose root is the worst of them. */
static void keep_best(struct ps_candidate *candidates, size_t count, size_t k)
{
    for (size_t i = k / 2; i-- > 0;) {
        sink(candidates, k, i);
    }
    for (size_t i = k; i < count; i++) {
        if (better(&candidates[i], &candidates[0])) {
            swap(&candidates[i], &candidates[0]);
            sink(candidates, k, 0);
        }
    }
}

/* Those that are not hopeless, at the front; how many. */
static size_t drop_hopeless(struct ps_candidate *candidates, size_t count, float best)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (candidates[i].logit >= best - FAR_BELOW) {
            candidates[kept++] = candidates[i];
        }
    }
    return kept;
}

/* Of sorted candidates: how many are needed for top_p of the probability, and are above min_p of
 * the best's. */
static size_t cut(const struct ps_engine_sampling *settings, const struct ps_candidate *sorted,
                  size_t count)
{
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        total += exp((double)(sorted[i].logit - sorted[0].logit));
    }
    double sum = 0;
    size_t kept = 0;
    while (kept < count) {
        double weight = exp((double)(sorted[kept].logit - sorted[0].logit));
        if (kept > 0 && (sum >= settings->top_p * total || weight < settings->min_p)) {
            break;
        }
        sum += weight;
        kept++;
    }
    return kept;
}

static int32_t draw(struct ps_sampler *sampler, const struct ps_candidate *sorted, size_t count)
{
    double temperature = sampler->settings.temperature;
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        total += exp((double)(sorted[i].logit - sorted[0].logit) / temperature);
    }
    double mark = ps_random_next(&sampler->random) * total;
    for (size_t i = 0; i < count; i++) {
        mark -= exp((double)(sorted[i].logit - sorted[0].logit) / temperature);
        if (mark < 0) {
            return sorted[i].token;
        }
    }
    return sorted[count - 1].token;
}

int32_t ps_sampler_pick(struct ps_sampler *sampler, struct ps_candidate *candidates, size_t count)
{
    const struct ps_engine_sampling *settings = &sampler->settings;
    if (count == 0) {
        return -1;
    }
    size_t best = best_of(candidates, count);
    if (isinf(candidates[best].logit) && candidates[best].logit < 0) {
        return -1;
    }
    if (settings->temperature <= 0) {
        return candidates[best].token;
    }
    count = drop_hopeless(candidates, count, candidates[best].logit);
    if (settings->top_k > 0 && settings->top_k < count) {
        keep_best(candidates, count, settings->top_k);
        count = settings->top_k;
    }
    qsort(candidates, count, sizeof(*candidates), by_logit);
    count = cut(settings, candidates, count);
    return draw(sampler, candidates, count);
}

void ps_sampler_accept(struct ps_sampler *sampler, int32_t token)
{
    if (sampler->counts != NULL && sampler->counts[token] < UINT16_MAX) {
        sampler->counts[token]++;
    }
}

float ps_log_sum(const float *logits, size_t count)
{
    float best = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        best = logits[i] > best ? logits[i] : best;
    }
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isnan(logits[i])) {
            sum += exp((double)(logits[i] - best));
        }
    }
    return best + (float)log(sum);
}

size_t ps_likeliest(const float *logits, size_t count, struct ps_candidate *ret, size_t max)
{
    size_t kept = 0;
    for (size_t i = 0; i < count && max > 0; i++) {
        struct ps_candidate next = {(int32_t)i, logits[i]};
        if (isnan(next.logit) || (kept == max && !better(&next, &ret[kept - 1]))) {
            continue;
        }
        size_t at = kept < max ? kept++ : kept - 1;
        while (at > 0 && better(&next, &ret[at - 1])) {
            ret[at] = ret[at - 1];
            at--;
        }
        ret[at] = next;
    }
    return kept;
}
