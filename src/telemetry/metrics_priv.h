/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TELEMETRY_METRICS_PRIV_H
#define PENSTOCK_TELEMETRY_METRICS_PRIV_H

#include "penstock/telemetry/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum metric_type {
    COUNTER,
    GAUGE,
    HISTOGRAM
};

struct buckets {
    const int64_t *bounds; /* static, rising, µs */
    size_t count;
};

struct metric {
    const char *name; /* with its prefix */
    const char *help;
    enum metric_type type;
    const struct buckets *buckets;                /* NULL but for histograms */
    const char *labels[PS_METRIC_MAX_LABELS + 1]; /* NULL-terminated */
};

extern const struct metric ps_metric_table[PS_METRIC_COUNT];

/*
 * Written by the shard's thread alone, read by any: relaxed atomics. A counter's or gauge's value
 * is `whole` + `real`: what was added and what was set. A histogram's count is the sum of its
 * buckets, so that a reader never sees the two disagree.
 */
struct ps_series {
    struct ps_series *next; /* of the same metric in this shard; written before it is published */
    atomic_uint_fast64_t whole;
    _Atomic(double) real;
    atomic_bool shown; /* false: a value of an earlier render */
    const struct buckets *buckets;
    atomic_uint_fast64_t
        *cells; /* buckets->count + 1, then the sum in µs; in the same allocation */
    uint64_t hash;
    enum ps_metric metric;
    uint32_t key_len;
    uint32_t text_len;
    const char *key;  /* raw label values, each behind its length; in the same allocation */
    const char *text; /* a="…",b="…" escaped; in the same allocation */
};

#define TABLE_SLOTS ((size_t)2 * PS_METRICS_MAX_SERIES)

struct ps_metrics_shard {
    struct ps_metrics_shard *next; /* guarded by the metrics' lock */
    _Atomic(struct ps_series *)
        series[PS_METRIC_COUNT]; /* owned; newest first, published by release */
    size_t count;
    bool for_render;
    struct ps_series *table[TABLE_SLOTS]; /* open addressing; the shard's thread only */
};

struct render_hook {
    struct render_hook *next;
    ps_metrics_render_fn fn;
    void *arg;
};

struct ps_metrics {
    pthread_mutex_t lock;            /* shards, hooks, and one render at a time */
    struct ps_metrics_shard *shards; /* owned */
    struct ps_metrics_shard *own;    /* one of them: written by render hooks */
    struct render_hook *hooks;       /* owned, in the order of registration */
};

#endif
