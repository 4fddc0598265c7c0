/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/clock.h"
#include "penstock/gateway/gateway.h"

#include <pthread.h>
#include <string.h>

/* Values that are read off when metrics are asked for. */

static void set2(struct ps_metrics_shard *shard, enum ps_metric metric, const char *a,
                 const char *b, double value)
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
        if (e->shared != NULL && strcmp(e->provider, first->provider) == 0) {
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

static void set_engine(struct ps_metrics_shard *shard, const struct ps_endpoint_state *endpoint)
{
    struct ps_engine_stats stats;
    ps_engine_stats(endpoint->engine, &stats);
    const struct {
        enum ps_metric metric;
        double value;
    } values[] = {
        {PS_METRIC_ENGINE_QUEUED, stats.queued},
        {PS_METRIC_ENGINE_RUNNING, stats.running},
        {PS_METRIC_ENGINE_PROMPT_TOKENS, (double)stats.prompt_tokens},
        {PS_METRIC_ENGINE_GENERATED_TOKENS, (double)stats.generated_tokens},
        {PS_METRIC_ENGINE_BUSY, (double)stats.busy_us / 1e6},
    };
    struct ps_slice label = ps_slice_cstr(endpoint->provider);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        ps_series_set(ps_metrics_series(shard, values[i].metric, &label), values[i].value);
    }
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
        bool failed = e->engine != NULL && ps_engine_state(e->engine) == PS_ENGINE_FAILED;
        set2(shard, PS_METRIC_TARGET_AVAILABLE, e->provider, e->url,
             not_before > now || failed ? 0 : 1);
        if (e->engine != NULL) {
            set_engine(shard, e);
        } else {
            set_provider(shard, gateway, e);
        }
    }
    (void)pthread_mutex_unlock(&gateway->lock);
}
