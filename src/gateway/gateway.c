/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/gateway.h"

#include "exchange_priv.h"
#include "models_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/id.h"
#include "penstock/base/mem.h"

#include <uv.h>

#include <string.h>

int ps_gateway_init(struct ps_gateway *gateway, struct ps_metrics *metrics)
{
    memset(gateway, 0, sizeof(*gateway));
    gateway->metrics = metrics;
    gateway->started_ms = ps_clock_wall_ms();
    atomic_store(&gateway->budget.limit, SIZE_MAX);
    return pthread_mutex_init(&gateway->lock, NULL) == 0 ? 0 : UV_ENOMEM;
}

void ps_gateway_deinit(struct ps_gateway *gateway)
{
    ps_gateway_unload_retired(gateway);
    ps_models_free_lists(gateway);
    (void)pthread_mutex_destroy(&gateway->lock);
}

int ps_gateway_loop_init(struct ps_gateway_loop *gl, struct ps_gateway *gateway,
                         struct ps_loop *loop, struct ps_metrics_shard *shard,
                         struct ps_snapshot *snapshot)
{
    memset(gl, 0, sizeof(*gl));
    gl->gateway = gateway;
    gl->loop = loop;
    gl->shard = shard;
    gl->snapshot = ps_snapshot_ref(snapshot);
    ps_random_bytes(&gl->random, sizeof(gl->random));
    gl->random |= 1;
    return 0;
}

static bool snapshot_uses(const struct ps_snapshot *snapshot, size_t slot)
{
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        for (size_t k = 0; k < snapshot->providers[i].endpoint_count; k++) {
            if (snapshot->providers[i].endpoints[k]->slot == slot) {
                return true;
            }
        }
    }
    return false;
}

static void on_port_closed(void *arg)
{
    struct ps_endpoint_state *endpoint = arg;
    atomic_fetch_sub(&endpoint->ports, 1);
}

static void close_entry(struct ps_gateway_upstream *entry)
{
    if (entry->upstream != NULL) {
        ps_upstream_close(entry->upstream);
        entry->upstream = NULL;
    }
    if (entry->port != NULL) {
        ps_engine_port_close(entry->port, on_port_closed, entry->endpoint);
        entry->port = NULL;
    }
}

static void close_when_unused(struct ps_gateway_upstream *entry)
{
    if (entry->stale && entry->users == 0) {
        close_entry(entry);
    }
}

void ps_gateway_loop_adopt(struct ps_gateway_loop *gl, struct ps_snapshot *snapshot)
{
    struct ps_snapshot *old = gl->snapshot;
    gl->snapshot = ps_snapshot_ref(snapshot);
    gl->adoptions++;
    ps_snapshot_unref(old);
    for (size_t i = 0; i < gl->upstream_count; i++) {
        gl->upstreams[i].stale = !snapshot_uses(snapshot, i);
        close_when_unused(&gl->upstreams[i]);
    }
}

void ps_gateway_loop_deinit(struct ps_gateway_loop *gl)
{
    for (size_t i = 0; i < gl->upstream_count; i++) {
        close_entry(&gl->upstreams[i]);
    }
    ps_free(gl->upstreams);
    gl->upstreams = NULL;
    gl->upstream_count = 0;
    ps_snapshot_unref(gl->snapshot);
    gl->snapshot = NULL;
}

static struct ps_gateway_upstream *entry_of(struct ps_gateway_loop *gl,
                                            const struct ps_endpoint_state *endpoint)
{
    size_t slot = endpoint->slot;
    if (slot >= gl->upstream_count) {
        size_t count = slot + 8;
        struct ps_gateway_upstream *grown = ps_realloc(gl->upstreams, count * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        memset(grown + gl->upstream_count, 0, (count - gl->upstream_count) * sizeof(*grown));
        gl->upstreams = grown;
        gl->upstream_count = count;
    }
    struct ps_gateway_upstream *entry = &gl->upstreams[slot];
    if (entry->upstream == NULL && entry->port == NULL) {
        /* An exchange that began before a reload may open what the new snapshot no longer names. */
        entry->stale = !snapshot_uses(gl->snapshot, slot);
    }
    return entry;
}

struct ps_upstream *ps_gateway_upstream_take(struct ps_gateway_loop *gl,
                                             struct ps_endpoint_state *endpoint)
{
    struct ps_gateway_upstream *entry = entry_of(gl, endpoint);
    if (entry == NULL) {
        return NULL;
    }
    if (entry->upstream == NULL) {
        entry->upstream = ps_upstream_new(gl->loop, endpoint->shared);
    }
    if (entry->upstream != NULL) {
        entry->users++;
    }
    return entry->upstream;
}

void ps_gateway_upstream_give(struct ps_gateway_loop *gl, struct ps_endpoint_state *endpoint)
{
    struct ps_gateway_upstream *entry = &gl->upstreams[endpoint->slot];
    entry->users--;
    close_when_unused(entry);
}

struct ps_engine_port *ps_gateway_port(struct ps_gateway_loop *gl,
                                       struct ps_endpoint_state *endpoint)
{
    struct ps_gateway_upstream *entry = entry_of(gl, endpoint);
    if (entry == NULL) {
        return NULL;
    }
    if (entry->port == NULL) {
        entry->port = ps_engine_port_open(endpoint->engine, gl->loop, &ps_engine_backend_ops, NULL);
        if (entry->port == NULL) {
            return NULL;
        }
        entry->endpoint = endpoint;
        atomic_fetch_add(&endpoint->ports, 1);
    }
    entry->users++;
    return entry->port;
}

enum ps_readiness ps_gateway_readiness(const struct ps_snapshot *snapshot)
{
    size_t failed = 0;
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        const struct ps_provider *provider = &snapshot->providers[i];
        enum ps_engine_state state = provider->dialect == NULL
                                         ? ps_engine_state(provider->endpoints[0]->engine)
                                         : PS_ENGINE_READY;
        if (state == PS_ENGINE_LOADING) {
            return PS_READINESS_LOADING;
        }
        failed += state == PS_ENGINE_FAILED ? 1 : 0;
    }
    if (failed == 0) {
        return PS_READINESS_READY;
    }
    return failed == snapshot->provider_count ? PS_READINESS_FAILED : PS_READINESS_DEGRADED;
}
