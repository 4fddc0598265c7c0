/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_SERVER_H
#define PENSTOCK_API_SERVER_H

#include "penstock/config/config.h"
#include "penstock/gateway/gateway.h"
#include "penstock/jobs/jobs.h"
#include "penstock/net/tls.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The HTTP doors of one event loop: its listeners, its connections, what each path means. Loop
 * thread only, but for what is said to be shared.
 */

/* Shared by the servers of all loops. */
struct ps_server_shared {
    struct ps_jobs *jobs; /* borrowed; NULL: nothing is kept and nothing runs in the background */
    atomic_int_fast64_t
        connections; /* open, of all loops: limits.connections is one limit per process */
};

struct ps_server;
/* `gl` and `shared` outlive the server. NULL when memory is short. */
struct ps_server *ps_server_new(struct ps_gateway_loop *gl, struct ps_server_shared *shared)
    __attribute__((warn_unused_result));
/*
 * Accepts on `fd` (borrowed, listening). `listener` is copied where it is needed; `tls` NULL: plain
 * (a reference is taken). 0, or -1 when memory is short.
 */
int ps_server_listen(struct ps_server *server, int fd, const struct ps_config_listener *listener,
                     struct ps_tls_server *tls) __attribute__((warn_unused_result));
/* New connections of the listener with this address use `tls` from now on. */
void ps_server_set_tls(struct ps_server *server, const char *address, struct ps_tls_server *tls);

/*
 * Accepts who already waits, then no more (the listening descriptors may be closed when it
 * returns), closes idle connections after a second, lets every request finish with `connection:
 * close`. `on_drained` comes once, deferred, when no connection is left.
 */
void ps_server_drain(struct ps_server *server, void (*on_drained)(void *arg), void *arg);
/* Aborts what is left of the connections (their on_drained comes as well). */
void ps_server_abort(struct ps_server *server);
/* After on_drained. */
void ps_server_free(struct ps_server *server);

#endif
