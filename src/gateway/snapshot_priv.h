/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_SNAPSHOT_PRIV_H
#define PENSTOCK_GATEWAY_SNAPSHOT_PRIV_H

#include "penstock/base/arena.h"
#include "penstock/gateway/gateway.h"

/* A snapshot being built. What fails leaves a sentence in `error`. */
struct ps_ca_entry {
    struct ps_ca_entry *next;
    const char *file; /* NULL: the system's */
    struct ps_upstream_ca *ca;
};

struct ps_snapshot_builder {
    struct ps_gateway *gateway;
    struct ps_snapshot *snapshot;
    struct ps_arena *arena;
    char *error;
    size_t error_size;
    struct ps_ca_entry *cas; /* files read so far, so that providers share their store */
};

int ps_snapshot_no_memory(struct ps_snapshot_builder *b); /* -1 */

/* registry.c: found by their settings or made, with a reference; NULL after a word in `error`. */
struct ps_endpoint_state *ps_endpoint_acquire(struct ps_snapshot_builder *b,
                                              const struct ps_config_provider *p, const char *url);
struct ps_key_state *ps_key_acquire(struct ps_snapshot_builder *b, const char *provider,
                                    const char *secret);
/* settings.c */
struct ps_dialect_settings ps_provider_settings(const struct ps_dialect *dialect,
                                                const struct ps_config_settings *config,
                                                const char *url);
/* What every question of our own to a provider carries, its first key and its headers: how many
 * were put into `ret`. */
size_t ps_provider_headers(const struct ps_provider *provider, struct ps_call_header *ret,
                           size_t room);
/* "/v1" of "https://host/v1". */
struct ps_slice ps_base_path(struct ps_slice url);

/* Any thread. */
void ps_endpoint_release(struct ps_gateway *gateway, struct ps_endpoint_state *state);
void ps_key_release(struct ps_gateway *gateway, struct ps_key_state *state);

#endif
