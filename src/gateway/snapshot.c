/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/snapshot.h"

#include "snapshot_priv.h"

#include "penstock/base/mem.h"

#include <stdio.h>
#include <string.h>

/* A snapshot is built in one arena: providers first, then the routes that name them. Half a
 * snapshot is released as a whole one is. */

#define SNAPSHOT_BYTES (64u << 20)

int ps_snapshot_no_memory(struct ps_snapshot_builder *b)
{
    (void)snprintf(b->error, b->error_size, "out of memory");
    return -1;
}

static int build_credentials(struct ps_snapshot_builder *b, struct ps_provider *provider)
{
    const struct ps_config_provider *p = provider->config;
    const char *header = NULL;
    const char *prefix = NULL;
    if (provider->dialect != NULL) {
        ps_dialect_credential(provider->dialect, &header, &prefix);
    }
    size_t count = p->api_key_count > 0 ? p->api_key_count : 1;
    provider->credentials = ps_arena_calloc(b->arena, count * sizeof(*provider->credentials));
    if (provider->credentials == NULL) {
        return ps_snapshot_no_memory(b);
    }
    for (size_t i = 0; i < count; i++) {
        struct ps_credential *credential = &provider->credentials[i];
        const char *secret = p->api_key_count > 0 ? p->api_keys[i].value : NULL;
        credential->state = ps_key_acquire(b, p->name, secret != NULL ? secret : "");
        if (credential->state == NULL) {
            return -1;
        }
        provider->credential_count++;
        if (secret != NULL || p->auth_client) {
            credential->header = header;
        }
        if (secret != NULL) {
            credential->value = ps_arena_printf(b->arena, "%s%s", prefix, secret);
            if (credential->value == NULL) {
                return ps_snapshot_no_memory(b);
            }
        }
    }
    return 0;
}

static int build_provider(struct ps_snapshot_builder *b, const struct ps_config_provider *config,
                          struct ps_provider *provider)
{
    provider->config = config;
    provider->name = ps_slice_cstr(config->name);
    size_t count = config->engine != NULL ? 1 : config->endpoint_count;
    if (config->engine == NULL && (provider->dialect = ps_dialect_find(config->dialect)) == NULL) {
        (void)snprintf(b->error, b->error_size,
                       "provider %s has a dialect this build does not know", config->name);
        return -1;
    }
    if (provider->dialect != NULL) {
        provider->settings =
            ps_provider_settings(provider->dialect, &config->settings, config->endpoints[0]);
    }
    provider->endpoints = ps_arena_calloc(b->arena, count * sizeof(struct ps_endpoint_state *));
    if (provider->endpoints == NULL) {
        return ps_snapshot_no_memory(b);
    }
    for (size_t i = 0; i < count; i++) {
        provider->endpoints[i] =
            ps_endpoint_acquire(b, config, config->engine != NULL ? NULL : config->endpoints[i]);
        if (provider->endpoints[i] == NULL) {
            return -1;
        }
        provider->endpoint_count++;
    }
    return build_credentials(b, provider);
}

static size_t expansion(const struct ps_provider *provider)
{
    return provider->endpoint_count * provider->credential_count;
}

/* One group of a route: a provider's endpoints times its credentials. */
static void expand(struct ps_route *route, const struct ps_provider *provider,
                   struct ps_slice model, uint32_t weight)
{
    for (size_t e = 0; e < provider->endpoint_count; e++) {
        for (size_t c = 0; c < provider->credential_count && route->target_count < PS_ROUTE_TARGETS;
             c++) {
            route->targets[route->target_count++] = (struct ps_target){
                .provider = provider,
                .credential = &provider->credentials[c],
                .endpoint = provider->endpoints[e],
                .endpoint_url = ps_slice_cstr(provider->endpoints[e]->url),
                .base_path = ps_base_path(ps_slice_cstr(provider->endpoints[e]->url)),
                .model = model,
                .weight = weight,
                .group = route->group_count,
            };
        }
    }
    route->group_count++;
}

static int build_route(struct ps_snapshot_builder *b, const struct ps_config_model *model,
                       struct ps_route *route)
{
    size_t count = 0;
    for (size_t i = 0; i < model->target_count; i++) {
        count +=
            expansion(ps_snapshot_provider(b->snapshot, ps_slice_cstr(model->targets[i].provider)));
    }
    route->name = ps_slice_cstr(model->name);
    route->strategy = model->strategy;
    route->targets = ps_arena_calloc(b->arena, count * sizeof(*route->targets));
    if (route->targets == NULL) {
        return ps_snapshot_no_memory(b);
    }
    for (size_t i = 0; i < model->target_count; i++) {
        const struct ps_config_target *target = &model->targets[i];
        expand(route, ps_snapshot_provider(b->snapshot, ps_slice_cstr(target->provider)),
               ps_slice_cstr(target->model != NULL ? target->model : model->name), target->weight);
    }
    return 0;
}

static int build_provider_route(struct ps_snapshot_builder *b, const struct ps_provider *provider,
                                struct ps_route *route)
{
    route->name = provider->name;
    route->strategy = PS_STRATEGY_LEAST_BUSY;
    route->targets = ps_arena_calloc(b->arena, expansion(provider) * sizeof(*route->targets));
    if (route->targets == NULL) {
        return ps_snapshot_no_memory(b);
    }
    expand(route, provider, PS_SLICE_NONE, 1);
    return 0;
}

static int build(struct ps_snapshot_builder *b)
{
    struct ps_snapshot *s = b->snapshot;
    const struct ps_config *config = s->config;
    s->providers = ps_arena_calloc(b->arena, (config->provider_count + 1) * sizeof(*s->providers));
    s->provider_routes =
        ps_arena_calloc(b->arena, (config->provider_count + 1) * sizeof(*s->provider_routes));
    s->routes = ps_arena_calloc(b->arena, (config->model_count + 1) * sizeof(*s->routes));
    if (s->providers == NULL || s->provider_routes == NULL || s->routes == NULL) {
        return ps_snapshot_no_memory(b);
    }
    for (size_t i = 0; i < config->provider_count; i++) {
        s->provider_count++; /* counted first: a half-built provider is released too */
        if (build_provider(b, &config->providers[i], &s->providers[i]) != 0 ||
            build_provider_route(b, &s->providers[i], &s->provider_routes[i]) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < config->model_count; i++) {
        if (build_route(b, &config->models[i], &s->routes[i]) != 0) {
            return -1;
        }
        s->route_count++;
    }
    return 0;
}

struct ps_snapshot *ps_snapshot_new(struct ps_gateway *gateway, struct ps_config *config,
                                    char *ret_error, size_t error_size)
{
    struct ps_snapshot *snapshot = ps_calloc(1, sizeof(*snapshot));
    struct ps_arena *arena = ps_calloc(1, sizeof(*arena));
    if (snapshot == NULL || arena == NULL) {
        ps_free(snapshot);
        ps_free(arena);
        (void)snprintf(ret_error, error_size, "out of memory");
        return NULL;
    }
    ps_gateway_unload_retired(gateway); /* a good moment: we may block here */
    ps_arena_init(arena, SNAPSHOT_BYTES);
    atomic_init(&snapshot->refs, 1);
    snapshot->gateway = gateway;
    snapshot->config = ps_config_ref(config);
    snapshot->memory = arena;

    struct ps_snapshot_builder b = {gateway, snapshot, arena, ret_error, error_size, NULL};
    int result = build(&b);
    for (struct ps_ca_entry *entry = b.cas; entry != NULL; entry = entry->next) {
        ps_upstream_ca_unref(entry->ca);
    }
    if (result != 0) {
        ps_snapshot_unref(snapshot);
        return NULL;
    }
    return snapshot;
}

struct ps_snapshot *ps_snapshot_ref(struct ps_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

void ps_snapshot_unref(struct ps_snapshot *snapshot)
{
    if (snapshot == NULL ||
        atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        struct ps_provider *provider = &snapshot->providers[i];
        for (size_t k = 0; k < provider->endpoint_count; k++) {
            ps_endpoint_release(snapshot->gateway, provider->endpoints[k]);
        }
        for (size_t k = 0; k < provider->credential_count; k++) {
            ps_key_release(snapshot->gateway, provider->credentials[k].state);
            if (provider->credentials[k].value != NULL) {
                explicit_bzero(provider->credentials[k].value,
                               strlen(provider->credentials[k].value));
            }
        }
    }
    ps_config_unref(snapshot->config);
    ps_arena_deinit(snapshot->memory);
    ps_free(snapshot->memory);
    ps_free(snapshot);
}

/* ---- lookup ---- */

const struct ps_provider *ps_snapshot_provider(const struct ps_snapshot *snapshot,
                                               struct ps_slice name)
{
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        if (ps_slice_eq(snapshot->providers[i].name, name)) {
            return &snapshot->providers[i];
        }
    }
    return NULL;
}

const struct ps_route *ps_snapshot_route(const struct ps_snapshot *snapshot, struct ps_slice model,
                                         struct ps_slice *ret_rest)
{
    *ret_rest = PS_SLICE_NONE;
    if (model.len == 0) {
        model = ps_slice_cstr(snapshot->config->default_model);
    }
    for (size_t i = 0; i < snapshot->route_count; i++) {
        if (ps_slice_eq(snapshot->routes[i].name, model)) {
            return &snapshot->routes[i];
        }
    }
    const char *slash = model.len > 0 ? memchr(model.ptr, '/', model.len) : NULL;
    if (slash == NULL) {
        return NULL;
    }
    size_t split = (size_t)(slash - model.ptr);
    const struct ps_provider *provider = ps_snapshot_provider(snapshot, ps_slice(model.ptr, split));
    if (provider == NULL || split + 1 == model.len) {
        return NULL;
    }
    *ret_rest = ps_slice(slash + 1, model.len - split - 1);
    return &snapshot->provider_routes[provider - snapshot->providers];
}

const struct ps_provider *ps_route_of_client_key(const struct ps_route *route)
{
    for (size_t i = 0; i < route->target_count; i++) {
        if (route->targets[i].provider->config->auth_client) {
            return route->targets[i].provider;
        }
    }
    return NULL;
}
