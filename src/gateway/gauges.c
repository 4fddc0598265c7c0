/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/gateway.h"

#include "penstock/base/clock.h"

#include <pthread.h>
#include <string.h>

/* Values that are read off when metrics are asked for. */

static void set2(struct ps_metrics_shard *shard, enum ps_metric metric, const char *a, const char *b, double value)
{
    struct ps_slice labels[] = {ps_slice_cstr(a), ps_slice_cstr(b)};
    ps_series_set(ps_metrics_series(shard, metric, labels), value);
}

/* A provider's endpoints together; told with the first of them. */
static void set_provider(struct ps_metrics_shard *shard, const struct ps_gateway *gateway,
                         const struct ps_endpoint_state *first)
{
    double connections = 0;
    double queued = 0;
    for (const struct ps_endpoint_state *e = gateway->endpoints; e != first; e = e->next) {
        if (strcmp(e->provider, first->provider) == 0) {
            return;
        }
    }
    for (const struct ps_endpoint_state *e = first; e != NULL; e = e->next) {
        if (strcmp(e->provider, first->provider) == 0) {
            struct ps_upstream_stats stats;
            ps_upstream_shared_stats(e->shared, &stats);
            connections += (double)stats.connections;
            queued += (double)stats.queued;
        }
    }
    struct ps_slice label = ps_slice_cstr(first->provider);
    ps_series_set(ps_metrics_series(shard, PS_METRIC_UPSTREAM_CONNECTIONS, &label), connections);
    ps_series_set(ps_metrics_series(shard, PS_METRIC_UPSTREAM_QUEUE, &label), queued);
}

void ps_gateway_gauges(void *arg, struct ps_metrics_shard *shard)
{
    struct ps_gateway *gateway = arg;
    int64_t now = ps_clock_us();
    ps_series_set(ps_metrics_series(shard, PS_METRIC_BUFFER_MEMORY, NULL),
                  (double)atomic_load_explicit(&gateway->budget.used, memory_order_relaxed));
    ps_series_set(ps_metrics_series(shard, PS_METRIC_BUFFER_MEMORY_LIMIT, NULL),
                  (double)atomic_load_explicit(&gateway->budget.limit, memory_order_relaxed));
    (void)pthread_mutex_lock(&gateway->lock);
    for (const struct ps_endpoint_state *e = gateway->endpoints; e != NULL; e = e->next) {
        int64_t not_before = atomic_load_explicit(&e->health.not_before, memory_order_relaxed);
        set2(shard, PS_METRIC_TARGET_AVAILABLE, e->provider, e->url, not_before > now ? 0 : 1);
        set_provider(shard, gateway, e);
    }
    (void)pthread_mutex_unlock(&gateway->lock);
}
