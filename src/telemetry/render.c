/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics_priv.h"

#include "penstock/base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Series of one metric, of all shards. */
struct gathered {
    struct ps_series **list; /* owned */
    size_t count;
    size_t room;
};

static bool gather(struct gathered *all, struct ps_series *series)
{
    if (all->count == all->room) {
        size_t room = all->room != 0 ? all->room * 2 : 64;
        struct ps_series **list = ps_realloc(all->list, room * sizeof(struct ps_series *));

        if (list == NULL) {
            return false;
        }
        all->list = list;
        all->room = room;
    }
    all->list[all->count++] = series;
    return true;
}

static bool gather_metric(struct gathered *all, const struct ps_metrics *metrics,
                          enum ps_metric metric)
{
    all->count = 0;
    for (struct ps_metrics_shard *shard = metrics->shards; shard != NULL; shard = shard->next) {
        struct ps_series *series =
            atomic_load_explicit(&shard->series[metric], memory_order_acquire);

        for (; series != NULL; series = series->next) {
            if (atomic_load_explicit(&series->shown, memory_order_relaxed) &&
                !gather(all, series)) {
                return false;
            }
        }
    }
    return true;
}

static int compare_text(const struct ps_series *a, const struct ps_series *b)
{
    size_t len = a->text_len < b->text_len ? a->text_len : b->text_len;
    int order = len > 0 ? memcmp(a->text, b->text, len) : 0;

    return order != 0 ? order : (a->text_len > b->text_len) - (a->text_len < b->text_len);
}

static int compare(const void *a, const void *b)
{
    return compare_text(*(struct ps_series *const *)a, *(struct ps_series *const *)b);
}

/* µs as seconds, without zeros at the end. */
static void append_seconds(struct ps_buf *ret, uint64_t us)
{
    uint64_t part = us % 1000000;
    char digits[7] = ".";
    size_t len = 7;

    ps_buf_uint(ret, us / 1000000);
    if (part == 0) {
        return;
    }
    for (size_t i = 6; i > 0; i--) {
        digits[i] = (char)('0' + part % 10);
        part /= 10;
    }
    while (digits[len - 1] == '0') {
        len--;
    }
    ps_buf_append(ret, digits, len);
}

static void append_name(struct ps_buf *ret, const struct ps_series *series, const char *suffix)
{
    ps_buf_cstr(ret, ps_metric_table[series->metric].name);
    ps_buf_cstr(ret, suffix);
    if (series->text_len > 0) {
        ps_buf_byte(ret, '{');
        ps_buf_append(ret, series->text, series->text_len);
        ps_buf_byte(ret, '}');
    }
    ps_buf_byte(ret, ' ');
}

static void render_value(struct ps_buf *ret, struct ps_series *const *group, size_t count)
{
    uint64_t whole = 0;
    double real = 0;

    for (size_t i = 0; i < count; i++) {
        whole += atomic_load_explicit(&group[i]->whole, memory_order_relaxed);
        real += atomic_load_explicit(&group[i]->real, memory_order_relaxed);
    }
    append_name(ret, group[0], "");
    if (real < 0 || real > 0) {
        ps_buf_printf(ret, "%.15g", (double)(int64_t)whole + real);
    } else if (ps_metric_table[group[0]->metric].type == GAUGE) {
        ps_buf_int(ret, (int64_t)whole);
    } else {
        ps_buf_uint(ret, whole);
    }
    ps_buf_byte(ret, '\n');
}

static void append_bucket_name(struct ps_buf *ret, const struct ps_series *series)
{
    ps_buf_cstr(ret, ps_metric_table[series->metric].name);
    ps_buf_cstr(ret, "_bucket{");
    ps_buf_append(ret, series->text, series->text_len);
    ps_buf_cstr(ret, series->text_len > 0 ? ",le=\"" : "le=\"");
}

static uint64_t sum_cell(struct ps_series *const *group, size_t count, size_t cell)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += atomic_load_explicit(&group[i]->cells[cell], memory_order_relaxed);
    }
    return sum;
}

static void render_histogram(struct ps_buf *ret, struct ps_series *const *group, size_t count)
{
    const struct buckets *buckets = group[0]->buckets;
    uint64_t total = 0;

    for (size_t i = 0; i <= buckets->count; i++) {
        total += sum_cell(group, count, i);
        append_bucket_name(ret, group[0]);
        if (i < buckets->count) {
            append_seconds(ret, (uint64_t)buckets->bounds[i]);
        } else {
            ps_buf_cstr(ret, "+Inf");
        }
        ps_buf_cstr(ret, "\"} ");
        ps_buf_uint(ret, total);
        ps_buf_byte(ret, '\n');
    }
    append_name(ret, group[0], "_sum");
    append_seconds(ret, sum_cell(group, count, buckets->count + 1));
    ps_buf_byte(ret, '\n');
    append_name(ret, group[0], "_count");
    ps_buf_uint(ret, total);
    ps_buf_byte(ret, '\n');
}

static void render_metric(struct ps_buf *ret, struct gathered *all, enum ps_metric metric)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const struct metric *about = &ps_metric_table[metric];
    size_t end;

    if (all->count == 0) {
        return;
    }
    qsort(all->list, all->count, sizeof(struct ps_series *), compare);
    ps_buf_printf(ret, "# HELP %s %s\n# TYPE %s %s\n", about->name, about->help, about->name,
                  types[about->type]);
    for (size_t start = 0; start < all->count; start = end) {
        for (end = start + 1;
             end < all->count && compare_text(all->list[start], all->list[end]) == 0;) {
            end++;
        }
        if (about->type == HISTOGRAM) {
            render_histogram(ret, all->list + start, end - start);
        } else {
            render_value(ret, all->list + start, end - start);
        }
    }
}

/* What the hooks have set in an earlier render is forgotten, then they set it anew. */
static void run_hooks(struct ps_metrics *metrics)
{
    struct ps_metrics_shard *own = metrics->own;

    for (int metric = 0; metric < PS_METRIC_COUNT; metric++) {
        struct ps_series *series = atomic_load_explicit(&own->series[metric], memory_order_relaxed);

        for (; series != NULL; series = series->next) {
            atomic_store_explicit(&series->shown, false, memory_order_relaxed);
        }
    }
    for (const struct render_hook *hook = metrics->hooks; hook != NULL; hook = hook->next) {
        hook->fn(hook->arg, own);
    }
}

void ps_metrics_render(struct ps_metrics *metrics, struct ps_buf *ret)
{
    struct gathered all = {0};

    (void)pthread_mutex_lock(&metrics->lock);
    run_hooks(metrics);
    for (int metric = 0; metric < PS_METRIC_COUNT && !ret->failed; metric++) {
        if (gather_metric(&all, metrics, (enum ps_metric)metric)) {
            render_metric(ret, &all, (enum ps_metric)metric);
        } else {
            ret->failed = true;
        }
    }
    (void)pthread_mutex_unlock(&metrics->lock);
    ps_free(all.list);
}

/* Where in its bucket the `rank`-th of all observations lies, if they are spread evenly there. */
static int64_t interpolate(const struct buckets *buckets, const uint64_t *counts, double rank)
{
    double below = 0;

    for (size_t i = 0; i < buckets->count; i++) {
        int64_t low = i > 0 ? buckets->bounds[i - 1] : 0;

        if (counts[i] > 0 && below + (double)counts[i] >= rank) {
            double part = (rank - below) / (double)counts[i];

            return low + (int64_t)(part * (double)(buckets->bounds[i] - low));
        }
        below += (double)counts[i];
    }
    return buckets->bounds[buckets->count - 1];
}

#define MAX_BUCKETS 32

int64_t ps_metrics_quantile_us(struct ps_metrics *metrics, enum ps_metric metric, double q)
{
    const struct buckets *buckets = ps_metric_table[metric].buckets;
    uint64_t counts[MAX_BUCKETS + 1] = {0};
    uint64_t total = 0;

    if (buckets == NULL || buckets->count > MAX_BUCKETS) {
        return -1;
    }
    (void)pthread_mutex_lock(&metrics->lock);
    for (struct ps_metrics_shard *shard = metrics->shards; shard != NULL; shard = shard->next) {
        struct ps_series *series =
            atomic_load_explicit(&shard->series[metric], memory_order_acquire);

        for (; series != NULL; series = series->next) {
            for (size_t i = 0; i <= buckets->count; i++) {
                counts[i] += atomic_load_explicit(&series->cells[i], memory_order_relaxed);
            }
        }
    }
    (void)pthread_mutex_unlock(&metrics->lock);
    for (size_t i = 0; i <= buckets->count; i++) {
        total += counts[i];
    }
    return total > 0 ? interpolate(buckets, counts, q * (double)total) : -1;
}
