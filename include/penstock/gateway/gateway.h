/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_GATEWAY_H
#define PENSTOCK_GATEWAY_GATEWAY_H

#include "penstock/base/chain.h"
#include "penstock/engine/engine.h"
#include "penstock/gateway/snapshot.h"
#include "penstock/net/loop.h"
#include "penstock/telemetry/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the exchanges of a process share (struct ps_gateway), and what those of one event loop do
 * (struct ps_gateway_loop).
 */

struct ps_model_list;
struct ps_pool;

struct ps_gateway {
    struct ps_metrics *metrics;     /* borrowed */
    struct ps_engine_host *engines; /* borrowed; NULL: no models in this process */
    struct ps_pool *offload;        /* borrowed; NULL: everything is done on the loops */
    struct ps_budget budget;        /* limits.buffer_memory */
    atomic_bool draining;
    pthread_mutex_t lock; /* registry and model lists */
    struct ps_endpoint_state *endpoints;
    struct ps_key_state *keys;
    struct ps_endpoint_state
        *retired; /* engines no snapshot names any more, to be unloaded off the loops */
    unsigned next_slot;
    struct ps_model_list *models;
    int64_t started_ms; /* wall clock */
};

int ps_gateway_init(struct ps_gateway *gateway, struct ps_metrics *metrics)
    __attribute__((warn_unused_result));
/* After the last snapshot and loop are gone. */
void ps_gateway_deinit(struct ps_gateway *gateway);

/* For ps_metrics_on_render, with the gateway as `arg`: buffers, upstream connections and queues,
 * health. */
void ps_gateway_gauges(void *arg, struct ps_metrics_shard *shard);

struct ps_gateway_upstream {
    struct ps_upstream *upstream;       /* owned; NULL: not opened yet */
    struct ps_engine_port *port;        /* owned; likewise, where the endpoint is an engine */
    struct ps_endpoint_state *endpoint; /* of the port */
    unsigned users;                     /* calls running */
    bool stale; /* the current snapshot does not use it: closed with its last user */
};

struct ps_gateway_loop {
    struct ps_gateway *gateway;
    struct ps_loop *loop;
    struct ps_mailbox *mailbox; /* borrowed, of this loop; NULL: nothing is handed to threads */
    struct ps_metrics_shard *shard;
    struct ps_snapshot *snapshot;          /* owned reference: what new requests use */
    unsigned adoptions; /* snapshots since the first: what was made with an older one is old */
    struct ps_gateway_upstream *upstreams; /* owned, by ps_endpoint_state.slot */
    size_t upstream_count;
    size_t exchange_count;             /* that have not ended */
    uint32_t random;                   /* for ties between targets */
    struct ps_models_refresh *refresh; /* owned; on loop 0 only */
};

/* `snapshot`: a reference is taken. */
int ps_gateway_loop_init(struct ps_gateway_loop *gl, struct ps_gateway *gateway,
                         struct ps_loop *loop, struct ps_metrics_shard *shard,
                         struct ps_snapshot *snapshot) __attribute__((warn_unused_result));
/* New requests use this snapshot from now on. Loop thread. */
void ps_gateway_loop_adopt(struct ps_gateway_loop *gl, struct ps_snapshot *snapshot);
/* No exchange may be left. */
void ps_gateway_loop_deinit(struct ps_gateway_loop *gl);

/* The loop's upstream for an endpoint, opened when needed; NULL when memory is short. Each _take is
 * followed by one _give. */
struct ps_upstream *ps_gateway_upstream_take(struct ps_gateway_loop *gl,
                                             struct ps_endpoint_state *endpoint);
void ps_gateway_upstream_give(struct ps_gateway_loop *gl, struct ps_endpoint_state *endpoint);
/* The loop's port to an engine, opened when needed; NULL when memory is short. Likewise followed by
 * one _give. */
struct ps_engine_port *ps_gateway_port(struct ps_gateway_loop *gl,
                                       struct ps_endpoint_state *endpoint);
/* Unloads engines that nothing uses any more. Blocks for a step of theirs: not on a loop. */
void ps_gateway_unload_retired(struct ps_gateway *gateway);
/* What the models in this process make of a snapshot, as a load balancer wants to know. */
enum ps_readiness {
    PS_READINESS_READY,
    PS_READINESS_DEGRADED, /* a model could not be loaded (after a reload); other providers answer */
    PS_READINESS_LOADING,  /* a model is still being loaded */
    PS_READINESS_FAILED,   /* no provider is left that could answer */
};
/* Any thread. */
enum ps_readiness ps_gateway_readiness(const struct ps_snapshot *snapshot);

#endif
