/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics_priv.h"

#include "penstock/base/mem.h"

#include <assert.h>
#include <string.h>

#define X(id, ...)                                                                                 \
    static const int64_t bounds_##id[] = {__VA_ARGS__};                                            \
    static const struct buckets buckets_##id = {bounds_##id,                                       \
                                                sizeof(bounds_##id) / sizeof(bounds_##id[0])};
PS_METRIC_BUCKETS(X)
#undef X

#define BUCKETS_NONE     NULL
#define BUCKETS_REQUEST  &buckets_REQUEST
#define BUCKETS_OVERHEAD &buckets_OVERHEAD
#define BUCKETS_LAG      &buckets_LAG

const struct metric ps_metric_table[PS_METRIC_COUNT] = {
#define X(id, type, buckets, name, help, ...)                                                      \
    [PS_METRIC_##id] = {"penstock_" name, help, type, BUCKETS_##buckets, {__VA_ARGS__}},
    PS_METRIC_TABLE(X)
#undef X
};

/* For want of memory: written by several threads at once, read by none. */
static atomic_uint_fast64_t nobodys_cells[2];
static const struct buckets nobodys_buckets = {NULL, 0};
static struct ps_series nobody = {.buckets = &nobodys_buckets, .cells = nobodys_cells};

struct ps_metrics *ps_metrics_new(void)
{
    struct ps_metrics *metrics = ps_calloc(1, sizeof(*metrics));

    if (metrics == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&metrics->lock, NULL) != 0) {
        ps_free(metrics);
        return NULL;
    }
    metrics->own = ps_metrics_shard_new(metrics);
    if (metrics->own == NULL) {
        ps_metrics_free(metrics);
        return NULL;
    }
    metrics->own->for_render = true;
    return metrics;
}

static void free_shard(struct ps_metrics_shard *shard)
{
    for (int metric = 0; metric < PS_METRIC_COUNT; metric++) {
        struct ps_series *series = atomic_load(&shard->series[metric]);

        while (series != NULL) {
            struct ps_series *next = series->next;

            ps_free(series);
            series = next;
        }
    }
    ps_free(shard);
}

void ps_metrics_free(struct ps_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    while (metrics->shards != NULL) {
        struct ps_metrics_shard *shard = metrics->shards;

        metrics->shards = shard->next;
        free_shard(shard);
    }
    while (metrics->hooks != NULL) {
        struct render_hook *hook = metrics->hooks;

        metrics->hooks = hook->next;
        ps_free(hook);
    }
    (void)pthread_mutex_destroy(&metrics->lock);
    ps_free(metrics);
}

struct ps_metrics_shard *ps_metrics_shard_new(struct ps_metrics *metrics)
{
    struct ps_metrics_shard *shard = ps_calloc(1, sizeof(*shard));

    if (shard != NULL) {
        (void)pthread_mutex_lock(&metrics->lock);
        shard->next = metrics->shards;
        metrics->shards = shard;
        (void)pthread_mutex_unlock(&metrics->lock);
    }
    return shard;
}

/* Label values of one lookup, cut to length. */
struct labels {
    struct ps_slice values[PS_METRIC_MAX_LABELS];
    size_t count;
    size_t bytes; /* of the key: each value behind one byte of length */
    uint64_t hash;
};

_Static_assert(PS_METRICS_MAX_VALUE <= UINT8_MAX, "a value's length is one byte of the key");

/* FNV-1a. */
static uint64_t hash_byte(uint64_t hash, unsigned char byte)
{
    return (hash ^ byte) * 0x100000001b3ULL;
}

static void take_labels(struct labels *labels, enum ps_metric metric, const struct ps_slice *values)
{
    const char *const *names = ps_metric_table[metric].labels;
    uint64_t hash = hash_byte(0xcbf29ce484222325ULL, (unsigned char)metric);

    labels->bytes = 0;
    for (labels->count = 0; names[labels->count] != NULL; labels->count++) {
        struct ps_slice value = values[labels->count];

        if (value.len > PS_METRICS_MAX_VALUE) {
            value.len = PS_METRICS_MAX_VALUE;
        }
        hash = hash_byte(hash, (unsigned char)value.len);
        for (size_t i = 0; i < value.len; i++) {
            hash = hash_byte(hash, (unsigned char)value.ptr[i]);
        }
        labels->values[labels->count] = value;
        labels->bytes += 1 + value.len;
    }
    labels->hash = hash ^ hash >> 32;
}

static bool has_labels(const struct ps_series *series, const struct labels *labels)
{
    const char *key = series->key;

    if (series->key_len != labels->bytes) {
        return false;
    }
    for (size_t i = 0; i < labels->count; i++) {
        struct ps_slice value = labels->values[i];

        if ((unsigned char)*key != value.len ||
            (value.len > 0 && memcmp(key + 1, value.ptr, value.len) != 0)) {
            return false;
        }
        key += 1 + value.len;
    }
    return true;
}

/* Its slot in the table, or the empty slot where it belongs: the table is never full. */
static struct ps_series **find_slot(struct ps_metrics_shard *shard, enum ps_metric metric,
                                    const struct labels *labels)
{
    size_t at = labels->hash % TABLE_SLOTS;

    for (;;) {
        struct ps_series *series = shard->table[at];

        if (series == NULL || (series->hash == labels->hash && series->metric == metric &&
                               has_labels(series, labels))) {
            return &shard->table[at];
        }
        at = (at + 1) % TABLE_SLOTS;
    }
}

/* Bytes that would break the text, or the whole scrape, become '?'. */
static void append_escaped(struct ps_buf *text, struct ps_slice value)
{
    while (value.len > 0) {
        size_t len = ps_utf8_length(value.ptr, value.len);

        if (*value.ptr == '\n') {
            ps_buf_append(text, "\\n", 2);
        } else if (*value.ptr == '"' || *value.ptr == '\\') {
            ps_buf_byte(text, '\\');
            ps_buf_byte(text, *value.ptr);
        } else if (len == 0 || (len == 1 && (unsigned char)*value.ptr < 0x20)) {
            ps_buf_byte(text, '?');
        } else {
            ps_buf_append(text, value.ptr, len);
        }
        len = len != 0 ? len : 1;
        value.ptr += len;
        value.len -= len;
    }
}

static void append_labels(struct ps_buf *text, enum ps_metric metric, const struct labels *labels)
{
    for (size_t i = 0; i < labels->count; i++) {
        if (i > 0) {
            ps_buf_byte(text, ',');
        }
        ps_buf_cstr(text, ps_metric_table[metric].labels[i]);
        ps_buf_append(text, "=\"", 2);
        append_escaped(text, labels->values[i]);
        ps_buf_byte(text, '"');
    }
}

static struct ps_series *new_series(enum ps_metric metric, const struct labels *labels,
                                    struct ps_slice text)
{
    const struct buckets *buckets = ps_metric_table[metric].buckets;
    size_t cells = buckets != NULL ? buckets->count + 2 : 0;
    size_t cells_size = cells * sizeof(atomic_uint_fast64_t);
    struct ps_series *series =
        ps_calloc(1, sizeof(*series) + cells_size + labels->bytes + text.len);
    char *tail;

    if (series == NULL) {
        return NULL;
    }
    series->buckets = buckets;
    series->cells = cells != 0 ? (atomic_uint_fast64_t *)(void *)(series + 1) : NULL;
    series->hash = labels->hash;
    series->metric = metric;
    series->key_len = (uint32_t)labels->bytes;
    series->text_len = (uint32_t)text.len;
    tail = (char *)(series + 1) + cells_size;
    series->key = tail;
    for (size_t i = 0; i < labels->count; i++) {
        struct ps_slice value = labels->values[i];

        *tail++ = (char)value.len;
        if (value.len > 0) {
            memcpy(tail, value.ptr, value.len);
        }
        tail += value.len;
    }
    series->text = tail;
    if (text.len > 0) {
        memcpy(tail, text.ptr, text.len);
    }
    return series;
}

static struct ps_series *add_series(struct ps_metrics_shard *shard, struct ps_series **slot,
                                    enum ps_metric metric, const struct labels *labels)
{
    struct ps_series *series = NULL;
    struct ps_buf text;

    ps_buf_init(&text, 4096);
    append_labels(&text, metric, labels);
    if (!text.failed) {
        series = new_series(metric, labels, ps_buf_view(&text));
    }
    ps_buf_deinit(&text);
    if (series == NULL) {
        return &nobody;
    }
    *slot = series;
    shard->count++;
    atomic_init(&series->shown, !shard->for_render);
    series->next = atomic_load_explicit(&shard->series[metric], memory_order_relaxed);
    atomic_store_explicit(&shard->series[metric], series, memory_order_release);
    return series;
}

struct ps_series *ps_metrics_series(struct ps_metrics_shard *shard, enum ps_metric metric,
                                    const struct ps_slice *label_values)
{
    static const struct ps_slice other[PS_METRIC_MAX_LABELS] = {
        {"other", 5}, {"other", 5}, {"other", 5}, {"other", 5}, {"other", 5}, {"other", 5}};
    struct labels labels;
    struct ps_series **slot;

    take_labels(&labels, metric, label_values);
    slot = find_slot(shard, metric, &labels);
    if (*slot == NULL && shard->count >= PS_METRICS_MAX_SERIES) {
        take_labels(&labels, metric, other);
        slot = find_slot(shard, metric, &labels);
    }
    return *slot != NULL ? *slot : add_series(shard, slot, metric, &labels);
}

static inline void add_to(atomic_uint_fast64_t *cell, uint64_t count)
{
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + count,
                          memory_order_relaxed);
}

void ps_series_add(struct ps_series *series, uint64_t count)
{
    add_to(&series->whole, count);
}

void ps_series_gauge_add(struct ps_series *series, int64_t delta)
{
    add_to(&series->whole, (uint64_t)delta);
}

void ps_series_set(struct ps_series *series, double value)
{
    atomic_store_explicit(&series->whole, 0, memory_order_relaxed);
    atomic_store_explicit(&series->real, value, memory_order_relaxed);
    atomic_store_explicit(&series->shown, true, memory_order_relaxed);
}

void ps_series_observe_us(struct ps_series *series, int64_t us)
{
    const struct buckets *buckets = series->buckets;
    size_t at = 0;

    assert(buckets != NULL);
    us = us > 0 ? us : 0;
    while (at < buckets->count && us > buckets->bounds[at]) {
        at++;
    }
    add_to(&series->cells[at], 1);
    add_to(&series->cells[buckets->count + 1], (uint64_t)us);
}

int ps_metrics_on_render(struct ps_metrics *metrics, ps_metrics_render_fn fn, void *arg)
{
    struct render_hook *hook = ps_malloc(sizeof(*hook));
    struct render_hook **end = &metrics->hooks;

    if (hook == NULL) {
        return -1;
    }
    *hook = (struct render_hook){.fn = fn, .arg = arg};
    (void)pthread_mutex_lock(&metrics->lock);
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = hook;
    (void)pthread_mutex_unlock(&metrics->lock);
    return 0;
}

void ps_metrics_off_render(struct ps_metrics *metrics, ps_metrics_render_fn fn, void *arg)
{
    struct render_hook **at = &metrics->hooks;
    struct render_hook *found = NULL;

    (void)pthread_mutex_lock(&metrics->lock);
    while (*at != NULL && ((*at)->fn != fn || (*at)->arg != arg)) {
        at = &(*at)->next;
    }
    found = *at;
    if (found != NULL) {
        *at = found->next;
    }
    (void)pthread_mutex_unlock(&metrics->lock);
    ps_free(found);
}
