/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_SNAPSHOT_H
#define PENSTOCK_GATEWAY_SNAPSHOT_H

#include "penstock/base/slice.h"
#include "penstock/config/config.h"
#include "penstock/dialect/dialect.h"
#include "penstock/engine/engine.h"
#include "penstock/upstream/upstream.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A configuration made ready to work with: dialects found, targets expanded, credentials formatted.
 * Never changes, held by reference count; an exchange keeps the one it began with. What must
 * survive a reload (health, connections, counters) lies in endpoint and key states that snapshots
 * share, found by name.
 */

struct ps_gateway;

/* Health of one thing that answers: an endpoint, or one key of a provider. Process-wide; any
 * thread. */
struct ps_health {
    atomic_int in_flight;           /* attempts running */
    atomic_int failures;            /* in a row */
    atomic_int_fast64_t not_before; /* monotonic µs; not to be tried earlier. 0: healthy */
};

/* One base URL of a provider. Counted by the snapshots that use it. */
struct ps_endpoint_state {
    struct ps_endpoint_state *next; /* in the gateway's registry */
    int refs;                       /* under the gateway's lock */
    char *provider;                 /* owned: names for metrics */
    char *url;                      /* owned */
    char *key;     /* owned: provider, URL and all settings that need new connections */
    unsigned slot; /* index of this endpoint's ps_upstream on every loop; unique in the process */
    struct ps_upstream_shared *shared; /* owned reference; NULL: an engine */
    struct ps_engine *engine;          /* owned; NULL: an upstream */
    atomic_int ports;                  /* of the engine, open on any loop */
    struct ps_health health;
};

/* One credential of a provider. */
struct ps_key_state {
    struct ps_key_state *next;
    int refs;
    char *key; /* owned: provider and a hash of the credential */
    struct ps_health health;
};

struct ps_credential {
    const char *header; /* "authorization"; NULL: the provider has no key */
    char *value; /* "Bearer …": secret, wiped with the snapshot. NULL: none, or the client's own */
    struct ps_key_state *state;
};

struct ps_provider {
    const struct ps_config_provider *config;
    const struct ps_dialect *dialect; /* NULL: an engine */
    struct ps_slice name;
    struct ps_dialect_settings settings;
    struct ps_endpoint_state **endpoints;
    size_t endpoint_count;
    struct ps_credential *credentials; /* at least one */
    size_t credential_count;
};

/* (provider, endpoint, credential, upstream model): what one attempt asks. */
struct ps_target {
    const struct ps_provider *provider;
    const struct ps_credential *credential;
    struct ps_endpoint_state *endpoint;
    struct ps_slice endpoint_url;
    struct ps_slice base_path; /* of the URL: "/v1" */
    struct ps_slice model;     /* len 0: as the client says (provider/rest) */
    uint32_t weight;
    uint32_t group; /* which of the model's targets in the configuration it comes from */
};

#define PS_ROUTE_TARGETS 64 /* after expansion by endpoints and keys */

/* A name that clients may ask for, and who answers. */
struct ps_route {
    struct ps_slice name;
    enum ps_config_strategy strategy;
    struct ps_target *targets;
    size_t target_count;
    uint32_t group_count;
};

struct ps_snapshot {
    atomic_int refs;
    struct ps_gateway *gateway;
    struct ps_config *config; /* owned reference */
    struct ps_provider *providers;
    size_t provider_count;
    struct ps_route *routes; /* aliases, in the configuration's order */
    size_t route_count;
    struct ps_route *provider_routes; /* one per provider, for "provider/model" */
    void *memory;                     /* owned: a ps_arena with all of the above */
};

/* The values that this room understands, for ps_config_load: dialects, engines, targets. */
void ps_gateway_check(const struct ps_config *config, struct ps_config_errors *errors);

/*
 * Takes a reference to `config`. Reads CA files: blocks, not on a loop. NULL with a sentence on
 * failure.
 */
struct ps_snapshot *ps_snapshot_new(struct ps_gateway *gateway, struct ps_config *config,
                                    char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
/* "file:line: providers.name.key: reason": why a provider's model did not load. */
void ps_engine_mistake(const struct ps_config_provider *provider, const struct ps_fault *fault,
                       char *ret, size_t size);
struct ps_snapshot *ps_snapshot_ref(struct ps_snapshot *snapshot);
void ps_snapshot_unref(struct ps_snapshot *snapshot);

/* Exact alias, else `provider/rest` split at the first '/' (then *ret_rest is the rest), else NULL.
 * An empty name means default_model. */
const struct ps_route *ps_snapshot_route(const struct ps_snapshot *snapshot, struct ps_slice model,
                                         struct ps_slice *ret_rest);
const struct ps_provider *ps_snapshot_provider(const struct ps_snapshot *snapshot,
                                               struct ps_slice name);
/* A provider of the route that is asked with the client's own key (auth: client): nobody has that
 * one in the background. NULL: there is none. */
const struct ps_provider *ps_route_of_client_key(const struct ps_route *route);

#endif
