/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_priv.h"

#include "penstock/base/mem.h"

#include <openssl/sha.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/*
 * What outlives a snapshot: endpoints with their connections or engines, and credentials, each with
 * its health. Snapshots share them by a name that holds whatever needs a new one when it changes.
 * Snapshots are built one at a time, so only the lists themselves are under the gateway's lock.
 */

#define CONNECT_TIMEOUT_MS 10000

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

void ps_endpoint_release(struct ps_gateway *gateway, struct ps_endpoint_state *state)
{
    (void)pthread_mutex_lock(&gateway->lock);
    if (--state->refs == 0) {
        struct ps_endpoint_state **link = &gateway->endpoints;
        while (*link != state) {
            link = &(*link)->next;
        }
        *link = state->next;
        if (state->engine != NULL) {
            /* Its thread may be in a step, its ports may still be closing: not to be waited for
             * here. */
            ps_engine_stop(state->engine);
            state->next = gateway->retired;
            gateway->retired = state;
            state = NULL;
        }
    } else {
        state = NULL;
    }
    (void)pthread_mutex_unlock(&gateway->lock);
    if (state != NULL) {
        ps_upstream_shared_unref(state->shared);
        free_endpoint(state);
    }
}

void ps_gateway_unload_retired(struct ps_gateway *gateway)
{
    struct ps_endpoint_state *idle = NULL;
    (void)pthread_mutex_lock(&gateway->lock);
    for (struct ps_endpoint_state **link = &gateway->retired; *link != NULL;) {
        struct ps_endpoint_state *state = *link;
        if (atomic_load(&state->ports) == 0) {
            *link = state->next;
            state->next = idle;
            idle = state;
        } else {
            link = &state->next;
        }
    }
    (void)pthread_mutex_unlock(&gateway->lock);
    while (idle != NULL) {
        struct ps_endpoint_state *state = idle;
        idle = state->next;
        ps_engine_unload(state->engine);
        free_endpoint(state);
    }
}

void ps_key_release(struct ps_gateway *gateway, struct ps_key_state *state)
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

static struct ps_upstream_ca *ca_for(struct ps_snapshot_builder *b, const char *file)
{
    for (struct ps_ca_entry *entry = b->cas; entry != NULL; entry = entry->next) {
        if (entry->file == file ||
            (entry->file != NULL && file != NULL && strcmp(entry->file, file) == 0)) {
            return entry->ca;
        }
    }
    struct ps_ca_entry *entry = ps_arena_calloc(b->arena, sizeof(*entry));
    if (entry == NULL) {
        (void)ps_snapshot_no_memory(b);
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

/* Whatever needs new connections when it changes is part of the name under which an endpoint is
 * found again. */
static char *endpoint_key(struct ps_snapshot_builder *b, const struct ps_config_provider *p,
                          const char *url)
{
    struct stat st = {0};
    if (p->ca_file != NULL) {
        (void)stat(p->ca_file, &st);
    }
    return ps_arena_printf(b->arena, "%s\n%s\n%s\n%s\n%lld.%09ld %lld\n%u %u %lld", p->name, url,
                           p->proxy != NULL ? p->proxy : "", p->ca_file != NULL ? p->ca_file : "",
                           (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (long long)st.st_size,
                           p->max_connections, p->max_queue, (long long)p->timeouts.connect);
}

static struct ps_endpoint_state *named_endpoint(struct ps_snapshot_builder *b,
                                                const struct ps_config_provider *p, const char *url,
                                                const char *key)
{
    struct ps_endpoint_state *state = ps_calloc(1, sizeof(*state));
    if (state != NULL) {
        state->key = ps_strndup(key, strlen(key));
        state->provider = ps_strndup(p->name, strlen(p->name));
        state->url = ps_strndup(url, strlen(url));
    }
    if (state == NULL || state->key == NULL || state->provider == NULL || state->url == NULL) {
        free_endpoint(state);
        (void)ps_snapshot_no_memory(b);
        return NULL;
    }
    return state;
}

static struct ps_endpoint_state *make_endpoint(struct ps_snapshot_builder *b,
                                               const struct ps_config_provider *p, const char *url,
                                               const char *key)
{
    bool tls =
        strncmp(url, "https:", 6) == 0 || (p->proxy != NULL && strncmp(p->proxy, "https:", 6) == 0);
    struct ps_upstream_ca *ca = NULL;
    if (tls && (ca = ca_for(b, p->ca_file)) == NULL) {
        char why[160];
        (void)snprintf(why, sizeof(why), "%s", b->error);
        (void)snprintf(b->error, b->error_size, "%s:%d: providers.%s.ca_file: %s",
                       p->ca_file_at.file != NULL ? p->ca_file_at.file : "default",
                       p->ca_file_at.line, p->name, why);
        return NULL;
    }
    struct ps_upstream_options options = {
        .base_url = url,
        .proxy = p->proxy,
        .ca = ca,
        .max_connections = p->max_connections,
        .max_queue = p->max_queue,
        .connect_timeout_us =
            (p->timeouts.connect >= 0 ? p->timeouts.connect : CONNECT_TIMEOUT_MS) * 1000,
    };
    struct ps_endpoint_state *state = named_endpoint(b, p, url, key);
    if (state == NULL) {
        return NULL;
    }
    state->shared = ps_upstream_shared_new(&options, b->error, b->error_size);
    if (state->shared == NULL) {
        free_endpoint(state);
        return NULL;
    }
    return state;
}

void ps_engine_mistake(const struct ps_config_provider *p, const struct ps_fault *fault, char *ret,
                       size_t size)
{
    const struct ps_config_at *at = &p->kind_at;
    const char *key = fault->param[0] != '\0' ? fault->param : "engine";
    if (strcmp(key, "model_path") == 0 && p->model_path_at.line > 0) {
        at = &p->model_path_at;
    } else if (strcmp(key, "chat_template") == 0 && p->chat_template_at.line > 0) {
        at = &p->chat_template_at;
    }
    (void)snprintf(ret, size, "%s:%d: providers.%s.%s: %s", at->file != NULL ? at->file : "default",
                   at->line, p->name, key, fault->message);
}

static void report(struct ps_snapshot_builder *b, const struct ps_config_provider *p,
                   const struct ps_fault *fault)
{
    ps_engine_mistake(p, fault, b->error, b->error_size);
}

/* A model file that was replaced is another engine. */
static char *engine_key(struct ps_snapshot_builder *b, const struct ps_config_provider *p)
{
    struct stat st = {0};
    if (strcmp(p->model_path, "builtin") != 0) {
        (void)stat(p->model_path, &st);
    }
    return ps_arena_printf(b->arena, "%s\n%s %s\n%lld.%09ld %lld\n%u %u %d %s", p->name, p->engine,
                           p->model_path, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                           (long long)st.st_size, p->context_tokens, p->slots, p->gpu_layers,
                           p->chat_template != NULL ? p->chat_template : "");
}

static struct ps_endpoint_state *make_engine(struct ps_snapshot_builder *b,
                                             const struct ps_config_provider *p, const char *key)
{
    struct ps_engine_options options = {
        .name = p->name,
        .kind = p->engine,
        .model_path = p->model_path,
        .context_tokens = p->context_tokens,
        .slots = p->slots,
        .gpu_layers = p->gpu_layers,
        .chat_template = p->chat_template,
        .embeddings = true,
    };
    struct ps_fault fault = {0};
    struct ps_endpoint_state *state = named_endpoint(b, p, "engine", key);
    if (state == NULL) {
        return NULL;
    }
    state->engine = ps_engine_load(b->gateway->engines, &options, &fault);
    if (state->engine == NULL) {
        report(b, p, &fault);
        free_endpoint(state);
        return NULL;
    }
    return state;
}

struct ps_endpoint_state *ps_endpoint_acquire(struct ps_snapshot_builder *b,
                                              const struct ps_config_provider *p, const char *url)
{
    const char *key = p->engine != NULL ? engine_key(b, p) : endpoint_key(b, p, url);
    if (key == NULL) {
        (void)ps_snapshot_no_memory(b);
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
    state = p->engine != NULL ? make_engine(b, p, key) : make_endpoint(b, p, url, key);
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

struct ps_key_state *ps_key_acquire(struct ps_snapshot_builder *b, const char *provider,
                                    const char *secret)
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)secret, strlen(secret), hash);
    char *key = ps_arena_printf(b->arena, "%s %02x%02x%02x%02x%02x%02x%02x%02x", provider, hash[0],
                                hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]);
    if (key == NULL) {
        (void)ps_snapshot_no_memory(b);
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
        (void)ps_snapshot_no_memory(b);
    }
    return state;
}
