/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_PACE_H
#define PENSTOCK_JOBS_PACE_H

#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How much of the work in the background a model bears at once: learnt from its answers. A 429 or
 * 503 halves what was in flight, at most once a second, and nothing starts before the time it names
 * (or a pause that doubles with refusals in a row); each round of successes allows one more. Pure:
 * the clock is the caller's.
 */

#define PS_PACES          64
#define PS_PACE_NAME      128
#define PS_PACE_PAUSE_US  INT64_C(1000000)  /* the first, where no time is named */
#define PS_PACE_PAUSE_MAX INT64_C(60000000) /* of those */

struct ps_pace {
    char model[PS_PACE_NAME]; /* as asked for; cut */
    size_t model_len;
    bool used;
    unsigned refs;      /* runs that know it */
    unsigned in_flight; /* of them: asking */
    double limit;
    unsigned refusals; /* in a row */
    int64_t not_before_us;
    int64_t cut_us;  /* when the limit was last halved; 0: never */
    int64_t seen_us; /* last used: the oldest idle one makes room */
};

struct ps_paces {
    struct ps_pace paces[PS_PACES];
    struct ps_pace crowd; /* what found no place */
    unsigned most;        /* no limit is above */
};

enum ps_pace_end {
    PS_PACE_OK,
    PS_PACE_REFUSED,
    PS_PACE_OTHER /* says nothing about pace */
};

void ps_paces_init(struct ps_paces *paces, unsigned most);
/* The model's, one reference more. Never NULL. */
struct ps_pace *ps_pace_ref(struct ps_paces *paces, struct ps_slice model, int64_t now_us);
void ps_pace_unref(struct ps_pace *pace);
/* Whether one more may start now. */
bool ps_pace_open(const struct ps_pace *pace, int64_t now_us);
void ps_pace_begin(struct ps_pace *pace);
/* `after_us`: what a refusal named; 0: nothing. */
void ps_pace_end(struct ps_paces *paces, struct ps_pace *pace, enum ps_pace_end end,
                 int64_t after_us, int64_t now_us);

#endif
