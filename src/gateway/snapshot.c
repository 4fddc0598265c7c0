/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/snapshot.h"

#include "penstock/base/arena.h"
#include "penstock/base/mem.h"
#include "penstock/gateway/gateway.h"

#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define SNAPSHOT_BYTES (64u << 20)
#define CONNECT_TIMEOUT_MS 10000

/* Fails the whole build: memory, as in any function here that returns NULL without a word of its own. */
struct builder {
    struct ps_gateway *gateway;
    struct ps_snapshot *snapshot;
    struct ps_arena *arena;
    char *error;
    size_t error_size;
    struct ca_entry *cas; /* files read so far, so that providers share their store */
};

struct ca_entry {
    struct ca_entry *next;
    const char *file; /* NULL: the system's */
    struct ps_upstream_ca *ca;
};

static int out_of_memory(struct builder *b)
{
    (void)snprintf(b->error, b->error_size, "out of memory");
    return -1;
}

/* ---- states that outlive a snapshot ---- */

static struct ps_endpoint_state *find_endpoint(struct ps_gateway *gateway, const char *key)
{
    struct ps_endpoint_state *state = gateway->endpoints;
    while (state != NULL && strcmp(state->key, key) != 0) {
        state = state->next;
    }
    return state;
}

static void free_endpoint(struct ps_endpoint_state *state)
{
    if (state != NULL) {
        ps_free(state->provider);
        ps_free(state->url);
        ps_free(state->key);
        ps_free(state);
    }
}

static void release_endpoint(struct ps_gateway *gateway, struct ps_endpoint_state *state)
{
    (void)pthread_mutex_lock(&gateway->lock);
    if (--state->refs == 0) {
        struct ps_endpoint_state **link = &gateway->endpoints;
        while (*link != state) {
            link = &(*link)->next;
        }
        *link = state->next;
    } else {
        state = NULL;
    }
    (void)pthread_mutex_unlock(&gateway->lock);
    if (state != NULL) {
        ps_upstream_shared_unref(state->shared);
        free_endpoint(state);
    }
}

static void release_key(struct ps_gateway *gateway, struct ps_key_state *state)
{
    (void)pthread_mutex_lock(&gateway->lock);
    if (--state->refs == 0) {
        struct ps_key_state **link = &gateway->keys;
        while (*link != state) {
            link = &(*link)->next;
        }
        *link = state->next;
    } else {
        state = NULL;
    }
    (void)pthread_mutex_unlock(&gateway->lock);
    if (state != NULL) {
        ps_free(state->key);
        ps_free(state);
    }
}

static struct ps_upstream_ca *ca_for(struct builder *b, const char *file)
{
    for (struct ca_entry *entry = b->cas; entry != NULL; entry = entry->next) {
        if (entry->file == file || (entry->file != NULL && file != NULL && strcmp(entry->file, file) == 0)) {
            return entry->ca;
        }
    }
    struct ca_entry *entry = ps_arena_calloc(b->arena, sizeof(*entry));
    if (entry == NULL) {
        (void)out_of_memory(b);
        return NULL;
    }
    entry->file = file;
    entry->ca = ps_upstream_ca_new(file, b->error, b->error_size);
    if (entry->ca == NULL) {
        return NULL;
    }
    entry->next = b->cas;
    b->cas = entry;
    return entry->ca;
}

/* Whatever needs new connections when it changes is part of the name under which an endpoint is found again. */
static char *endpoint_key(struct builder *b, const struct ps_config_provider *p, const char *url)
{
    struct stat st = {0};
    if (p->ca_file != NULL) {
        (void)stat(p->ca_file, &st);
    }
    return ps_arena_printf(b->arena, "%s\n%s\n%s\n%s\n%lld.%09ld %lld\n%u %u %lld", p->name, url,
                           p->proxy != NULL ? p->proxy : "", p->ca_file != NULL ? p->ca_file : "",
                           (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size, p->max_connections,
                           p->max_queue, (long long)p->timeouts.connect);
}

static struct ps_endpoint_state *make_endpoint(struct builder *b, const struct ps_config_provider *p, const char *url,
                                               const char *key)
{
    bool tls = strncmp(url, "https:", 6) == 0 || (p->proxy != NULL && strncmp(p->proxy, "https:", 6) == 0);
    struct ps_upstream_ca *ca = NULL;
    if (tls && (ca = ca_for(b, p->ca_file)) == NULL) {
        return NULL;
    }
    struct ps_upstream_options options = {
        .base_url = url,
        .proxy = p->proxy,
        .ca = ca,
        .max_connections = p->max_connections,
        .max_queue = p->max_queue,
        .connect_timeout_us = (p->timeouts.connect >= 0 ? p->timeouts.connect : CONNECT_TIMEOUT_MS) * 1000,
    };
    struct ps_endpoint_state *state = ps_calloc(1, sizeof(*state));
    if (state != NULL) {
        state->key = ps_strndup(key, strlen(key));
        state->provider = ps_strndup(p->name, strlen(p->name));
        state->url = ps_strndup(url, strlen(url));
    }
    if (state == NULL || state->key == NULL || state->provider == NULL || state->url == NULL) {
        (void)out_of_memory(b);
    } else {
        state->shared = ps_upstream_shared_new(&options, b->error, b->error_size);
    }
    if (state == NULL || state->shared == NULL) {
        free_endpoint(state);
        return NULL;
    }
    return state;
}

static struct ps_endpoint_state *endpoint_state(struct builder *b, const struct ps_config_provider *p, const char *url)
{
    const char *key = endpoint_key(b, p, url);
    if (key == NULL) {
        (void)out_of_memory(b);
        return NULL;
    }
    (void)pthread_mutex_lock(&b->gateway->lock);
    struct ps_endpoint_state *state = find_endpoint(b->gateway, key);
    if (state != NULL) {
        state->refs++;
    }
    (void)pthread_mutex_unlock(&b->gateway->lock);
    if (state != NULL) {
        return state;
    }
    /* Snapshots are built one at a time, so nobody else adds this key meanwhile. */
    state = make_endpoint(b, p, url, key);
    if (state != NULL) {
        (void)pthread_mutex_lock(&b->gateway->lock);
        state->refs = 1;
        state->slot = b->gateway->next_slot++;
        state->next = b->gateway->endpoints;
        b->gateway->endpoints = state;
        (void)pthread_mutex_unlock(&b->gateway->lock);
    }
    return state;
}

static struct ps_key_state *key_state(struct builder *b, const char *provider, const char *secret)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)secret, strlen(secret), hash);
    char *key = ps_arena_printf(b->arena, "%s %02x%02x%02x%02x%02x%02x%02x%02x", provider, hash[0], hash[1], hash[2],
                                hash[3], hash[4], hash[5], hash[6], hash[7]);
    if (key == NULL) {
        (void)out_of_memory(b);
        return NULL;
    }
    (void)pthread_mutex_lock(&b->gateway->lock);
    struct ps_key_state *state = b->gateway->keys;
    while (state != NULL && strcmp(state->key, key) != 0) {
        state = state->next;
    }
    if (state != NULL) {
        state->refs++;
    } else if ((state = ps_calloc(1, sizeof(*state))) != NULL) {
        state->key = ps_strndup(key, strlen(key));
        if (state->key == NULL) {
            ps_free(state);
            state = NULL;
        } else {
            state->refs = 1;
            state->next = b->gateway->keys;
            b->gateway->keys = state;
        }
    }
    (void)pthread_mutex_unlock(&b->gateway->lock);
    if (state == NULL) {
        (void)out_of_memory(b);
    }
    return state;
}

/* ---- providers and routes ---- */

static int build_credentials(struct builder *b, struct ps_provider *provider)
{
    const struct ps_config_provider *p = provider->config;
    const char *header = NULL;
    const char *prefix = NULL;
    ps_dialect_credential(provider->dialect, &header, &prefix);
    size_t count = p->api_key_count > 0 ? p->api_key_count : 1;
    provider->credentials = ps_arena_calloc(b->arena, count * sizeof(*provider->credentials));
    if (provider->credentials == NULL) {
        return out_of_memory(b);
    }
    for (size_t i = 0; i < count; i++) {
        struct ps_credential *credential = &provider->credentials[i];
        const char *secret = p->api_key_count > 0 ? p->api_keys[i].value : NULL;
        credential->state = key_state(b, p->name, secret != NULL ? secret : "");
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
                return out_of_memory(b);
            }
        }
    }
    return 0;
}

static int build_provider(struct builder *b, const struct ps_config_provider *config, struct ps_provider *provider)
{
    provider->config = config;
    provider->name = ps_slice_cstr(config->name);
    provider->dialect = ps_dialect_find(config->dialect);
    if (provider->dialect == NULL) {
        (void)snprintf(b->error, b->error_size, "provider %s has a dialect this build does not know", config->name);
        return -1;
    }
    provider->endpoints = ps_arena_calloc(b->arena, config->endpoint_count * sizeof(struct ps_endpoint_state *));
    if (provider->endpoints == NULL) {
        return out_of_memory(b);
    }
    for (size_t i = 0; i < config->endpoint_count; i++) {
        provider->endpoints[i] = endpoint_state(b, config, config->endpoints[i]);
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
static void expand(struct ps_route *route, const struct ps_provider *provider, struct ps_slice model, uint32_t weight)
{
    for (size_t e = 0; e < provider->endpoint_count; e++) {
        for (size_t c = 0; c < provider->credential_count && route->target_count < PS_ROUTE_TARGETS; c++) {
            route->targets[route->target_count++] = (struct ps_target){
                .provider = provider,
                .credential = &provider->credentials[c],
                .endpoint = provider->endpoints[e],
                .endpoint_url = ps_slice_cstr(provider->config->endpoints[e]),
                .model = model,
                .weight = weight,
                .group = route->group_count,
            };
        }
    }
    route->group_count++;
}

static int build_route(struct builder *b, const struct ps_config_model *model, struct ps_route *route)
{
    size_t count = 0;
    for (size_t i = 0; i < model->target_count; i++) {
        count += expansion(ps_snapshot_provider(b->snapshot, ps_slice_cstr(model->targets[i].provider)));
    }
    route->name = ps_slice_cstr(model->name);
    route->strategy = model->strategy;
    route->targets = ps_arena_calloc(b->arena, count * sizeof(*route->targets));
    if (route->targets == NULL) {
        return out_of_memory(b);
    }
    for (size_t i = 0; i < model->target_count; i++) {
        const struct ps_config_target *target = &model->targets[i];
        expand(route, ps_snapshot_provider(b->snapshot, ps_slice_cstr(target->provider)),
               ps_slice_cstr(target->model != NULL ? target->model : model->name), target->weight);
    }
    return 0;
}

static int build_provider_route(struct builder *b, const struct ps_provider *provider, struct ps_route *route)
{
    route->name = provider->name;
    route->strategy = PS_STRATEGY_LEAST_BUSY;
    route->targets = ps_arena_calloc(b->arena, expansion(provider) * sizeof(*route->targets));
    if (route->targets == NULL) {
        return out_of_memory(b);
    }
    expand(route, provider, PS_SLICE_NONE, 1);
    return 0;
}

static int build(struct builder *b)
{
    struct ps_snapshot *s = b->snapshot;
    const struct ps_config *config = s->config;
    s->providers = ps_arena_calloc(b->arena, (config->provider_count + 1) * sizeof(*s->providers));
    s->provider_routes = ps_arena_calloc(b->arena, (config->provider_count + 1) * sizeof(*s->provider_routes));
    s->routes = ps_arena_calloc(b->arena, (config->model_count + 1) * sizeof(*s->routes));
    if (s->providers == NULL || s->provider_routes == NULL || s->routes == NULL) {
        return out_of_memory(b);
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

struct ps_snapshot *ps_snapshot_new(struct ps_gateway *gateway, struct ps_config *config, char *ret_error,
                                    size_t error_size)
{
    struct ps_snapshot *snapshot = ps_calloc(1, sizeof(*snapshot));
    struct ps_arena *arena = ps_calloc(1, sizeof(*arena));
    if (snapshot == NULL || arena == NULL) {
        ps_free(snapshot);
        ps_free(arena);
        (void)snprintf(ret_error, error_size, "out of memory");
        return NULL;
    }
    ps_arena_init(arena, SNAPSHOT_BYTES);
    atomic_init(&snapshot->refs, 1);
    snapshot->gateway = gateway;
    snapshot->config = ps_config_ref(config);
    snapshot->memory = arena;

    struct builder b = {gateway, snapshot, arena, ret_error, error_size, NULL};
    int result = build(&b);
    for (struct ca_entry *entry = b.cas; entry != NULL; entry = entry->next) {
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
    if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        struct ps_provider *provider = &snapshot->providers[i];
        for (size_t k = 0; k < provider->endpoint_count; k++) {
            release_endpoint(snapshot->gateway, provider->endpoints[k]);
        }
        for (size_t k = 0; k < provider->credential_count; k++) {
            release_key(snapshot->gateway, provider->credentials[k].state);
            if (provider->credentials[k].value != NULL) {
                explicit_bzero(provider->credentials[k].value, strlen(provider->credentials[k].value));
            }
        }
    }
    ps_config_unref(snapshot->config);
    ps_arena_deinit(snapshot->memory);
    ps_free(snapshot->memory);
    ps_free(snapshot);
}

/* ---- lookup ---- */

const struct ps_provider *ps_snapshot_provider(const struct ps_snapshot *snapshot, struct ps_slice name)
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

/* ---- checks ---- */

void ps_gateway_check(const struct ps_config *config, struct ps_config_errors *errors)
{
    for (size_t i = 0; i < config->provider_count; i++) {
        const struct ps_config_provider *p = &config->providers[i];
        char key[160];
        if (p->engine != NULL) {
            (void)snprintf(key, sizeof(key), "providers.%s.engine", p->name);
            ps_config_error(errors, p->kind_at, key, "expected a provider with a dialect, found engine \"%s\": this build "
                            "has no engines", p->engine);
        } else if (p->dialect != NULL && ps_dialect_find(p->dialect) == NULL) {
            (void)snprintf(key, sizeof(key), "providers.%s.dialect", p->name);
            ps_config_error(errors, p->kind_at, key, "expected a dialect this build knows (openai), found \"%s\"",
                            p->dialect);
        }
    }
    for (size_t i = 0; i < config->model_count; i++) {
        size_t expanded = 0;
        for (size_t k = 0; k < config->models[i].target_count; k++) {
            const struct ps_config_provider *p =
                ps_config_provider(config, ps_slice_cstr(config->models[i].targets[k].provider));
            if (p != NULL) {
                expanded += p->endpoint_count * (p->api_key_count > 0 ? p->api_key_count : 1);
            }
        }
        if (expanded > PS_ROUTE_TARGETS) {
            ps_config_error(errors, config->models[i].at, "models.targets",
                            "expected at most %d targets times endpoints times keys, found %zu", PS_ROUTE_TARGETS,
                            expanded);
        }
    }
}
