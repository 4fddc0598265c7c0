/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_APP_PRIV_H
#define PENSTOCK_APP_PRIV_H

#include "penstock/api/server.h"
#include "penstock/config/config.h"
#include "penstock/engine/engine.h"
#include "penstock/gateway/gateway.h"
#include "penstock/jobs/jobs.h"
#include "penstock/net/loop.h"
#include "penstock/net/mailbox.h"
#include "penstock/net/pool.h"
#include "penstock/net/tls.h"
#include "penstock/store/store.h"
#include "penstock/telemetry/metrics.h"

#include <uv.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* What the files of this room share: the command line, the process, one worker per event loop. */

enum ps_command {
    PS_COMMAND_SERVE,
    PS_COMMAND_CHECK,
    PS_COMMAND_VERSION,
    PS_COMMAND_JOBS,
    PS_COMMAND_HELP
};

struct ps_arguments {
    enum ps_command command;
    const char *config; /* -c */
    struct ps_config_overrides overrides;
};

/* 0, or -1 with a sentence on stderr. */
int ps_arguments_read(int argc, char **argv, struct ps_arguments *ret);
void ps_arguments_help(void);

/* Own version and every library's, a line each. */
void ps_version_print(void);
/* The labels of build_info, in the table's order: version, libcurl, libuv, openssl, llhttp, sqlite.
 */
void ps_version_labels(struct ps_slice *ret);

/* NULL, with all mistakes on stderr. */
struct ps_config *ps_app_load(const struct ps_arguments *arguments,
                              struct ps_config_errors *errors);

/* One listening address: a TCP socket per loop, or one Unix socket for all. */
struct ps_app_listener {
    const struct ps_config_listener
        *config;               /* in the first snapshot's configuration, which the app keeps */
    int *fds;                  /* owned: one per loop; the same descriptor for Unix sockets */
    atomic_uint users;         /* loops that accept on it */
    ino_t inode;               /* of a Unix socket's file: ours, or somebody's who came after us */
    struct ps_tls_server *tls; /* owned reference or NULL */
};

struct ps_app;

/* ONE_LESS goes to worker 0: another worker has ended. */
enum ps_order {
    PS_ORDER_ADOPT,
    PS_ORDER_DRAIN,
    PS_ORDER_ABORT,
    PS_ORDER_ONE_LESS
};

/* What the first loop tells another; owned by the receiver once posted. */
struct ps_app_order {
    struct ps_message message;
    struct ps_worker *worker;
    enum ps_order order;
    struct ps_snapshot *snapshot; /* ADOPT: owned reference */
    struct ps_tls_server **tls;   /* ADOPT: owned, a reference per listener */
};

/* One event loop and what lives on it. */
struct ps_worker {
    struct ps_app *app;
    unsigned index;
    pthread_t thread; /* not of worker 0, which is the main thread */
    bool started;     /* its thread runs */
    struct ps_loop loop;
    struct ps_mailbox mailbox;
    struct ps_gateway_loop gl;
    struct ps_server *server;
    struct ps_probes *probes; /* owned; on loop 0 only */
    struct ps_series *lag;
    unsigned busy; /* while draining: what has still to end, the server and, on loop 0, the jobs */
    bool over;     /* taken down */
};

struct ps_app {
    const struct ps_arguments *arguments;
    struct ps_config *config; /* owned reference: what is in force */
    struct ps_config *first;  /* owned reference: what we started with */
    struct ps_metrics *metrics;
    struct ps_gateway gateway;
    struct ps_snapshot *snapshot; /* owned reference: what is in force */
    struct ps_server_shared shared;
    struct ps_pool *pool;
    struct ps_engine_host *engines;
    struct ps_store *store;
    struct ps_jobs *jobs;
    struct ps_timer load_timer; /* on loop 0: looks how the models' loading goes until it is over */
    bool reloaded;              /* another configuration than the first is in force */
    bool failed;                /* a model of the start did not load: the process ends with 1 */
    struct ps_app_listener *listeners;
    size_t listener_count;
    struct ps_worker *workers;
    unsigned worker_count;
    uv_signal_t signals[5];
    size_t signal_count;
    struct ps_timer drain_timer; /* on loop 0 */
    bool draining;
    unsigned drained;         /* workers whose servers are drained */
    struct ps_reload *reload; /* the one that runs, or NULL */
    bool reload_again;        /* another SIGHUP came meanwhile */
};

/* sockets.c */
int ps_app_listen(struct ps_app *app);          /* opens all; -1 with a sentence on stderr */
void ps_app_announce(const struct ps_app *app); /* "listening on …" lines on stdout */
/* A loop accepts no more: closes its descriptors, the shared ones with the last loop. That loop's
 * thread. */
void ps_app_close_sockets(struct ps_app *app, unsigned loop);
void ps_app_unlisten(struct ps_app *app);
/* Certificates of all listeners of `config`, an array as long as its listeners; NULL with a
 * sentence. Blocks. */
struct ps_tls_server **ps_app_tls(const struct ps_config *config, char *ret_error,
                                  size_t error_size);
void ps_app_tls_free(struct ps_tls_server **tls, size_t count);

/* worker.c */
int ps_worker_init(struct ps_worker *worker, struct ps_app *app, unsigned index);
/* What lives on the worker's loop goes; then nothing is left to run. Its own thread, or before it
 * began. */
void ps_worker_take_down(struct ps_worker *worker);
/* Runs the loop until the worker has been taken down. */
void ps_worker_run(struct ps_worker *worker);
/* From loop 0 to any worker. `snapshot`, `tls`: for ADOPT. -1 when memory is short. */
int ps_worker_order(struct ps_worker *worker, enum ps_order order, struct ps_snapshot *snapshot,
                    struct ps_tls_server *const *tls);

/* reload.c */
/* Reads the configuration again off the loop and adopts it when it is good. Loop 0. */
void ps_app_reload(struct ps_app *app);

/* serve.c */
int ps_app_serve(const struct ps_arguments *arguments);
/* One worker more is drained, or the reload that ran is over: ends the first loop when it was the
 * last. Loop 0. */
void ps_app_worker_drained(struct ps_app *app);
void ps_app_may_end(struct ps_app *app);

#endif
