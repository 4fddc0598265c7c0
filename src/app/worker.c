/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/gateway/models.h"
#include "penstock/gateway/probe.h"

#include <stdio.h>

/*
 * A worker: an event loop with its share of the gateway and its HTTP server. It is told what to do
 * by orders from the first loop (its own mailbox serves worker 0 too, so that there is one way).
 * Drained, it is taken down: the server, the gateway's share, the mailbox; then nothing is alive on
 * the loop and it ends.
 */

static void on_turn(void *arg, int64_t busy_us)
{
    ps_series_observe_us(((struct ps_worker *)arg)->lag, busy_us);
}

static int listen_all(struct ps_worker *worker)
{
    struct ps_app *app = worker->app;
    for (size_t i = 0; i < app->listener_count; i++) {
        struct ps_app_listener *listener = &app->listeners[i];
        if (ps_server_listen(worker->server, listener->fds[worker->index], listener->config,
                             listener->tls) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_worker_init(struct ps_worker *worker, struct ps_app *app, unsigned index)
{
    worker->app = app;
    worker->index = index;
    if (ps_loop_init(&worker->loop, index, &app->gateway.budget) != 0) {
        return -1;
    }
    struct ps_metrics_shard *shard = ps_metrics_shard_new(app->metrics);
    if (shard == NULL || ps_mailbox_init(&worker->mailbox, &worker->loop) != 0 ||
        ps_gateway_loop_init(&worker->gl, &app->gateway, &worker->loop, shard, app->snapshot) !=
            0) {
        return -1;
    }
    worker->gl.mailbox = &worker->mailbox;
    char text[12];
    int len = snprintf(text, sizeof(text), "%u", index);
    struct ps_slice label = ps_slice(text, (size_t)len);
    worker->lag = ps_metrics_series(shard, PS_METRIC_LOOP_LAG, &label);
    worker->loop.on_turn = on_turn;
    worker->loop.on_turn_arg = worker;
    worker->server = ps_server_new(&worker->gl, &app->shared);
    if (worker->server == NULL || listen_all(worker) != 0) {
        return -1;
    }
    if (index != 0) {
        return 0;
    }
    worker->probes = ps_probes_start(&worker->gl);
    if (worker->probes == NULL || ps_models_start(&worker->gl) != 0) {
        return -1;
    }
    return ps_jobs_start(app->jobs, &worker->gl, &worker->mailbox);
}

void ps_worker_take_down(struct ps_worker *worker)
{
    worker->over = true;
    ps_models_stop(&worker->gl);
    ps_probes_stop(worker->probes);
    ps_server_free(worker->server);
    worker->server = NULL;
    ps_gateway_loop_deinit(&worker->gl);
    ps_mailbox_close(&worker->mailbox, NULL);
}

/* The first loop is the last to go: signals, the drain's time limit and a reload that runs live on
 * it. */
static void on_drained(void *arg)
{
    struct ps_worker *worker = arg;
    if (--worker->busy > 0) {
        return;
    }
    if (worker->index == 0) {
        ps_app_worker_drained(worker->app);
        return;
    }
    ps_worker_take_down(worker);
    (void)ps_worker_order(&worker->app->workers[0], PS_ORDER_ONE_LESS, NULL, NULL);
}

void ps_worker_run(struct ps_worker *worker)
{
    ps_loop_run(&worker->loop);
    ps_loop_deinit(&worker->loop);
}

static void adopt(struct ps_worker *worker, struct ps_app_order *order)
{
    ps_gateway_loop_adopt(&worker->gl, order->snapshot);
    for (size_t i = 0; i < worker->app->listener_count; i++) {
        ps_server_set_tls(worker->server, worker->app->listeners[i].config->address, order->tls[i]);
    }
    ps_models_restart(&worker->gl);
}

static void free_order(struct ps_app_order *order)
{
    ps_snapshot_unref(order->snapshot);
    ps_app_tls_free(order->tls, order->tls != NULL ? order->worker->app->listener_count : 0);
    ps_free(order);
}

static void deliver(struct ps_message *message)
{
    struct ps_app_order *order = PS_CONTAINER_OF(message, struct ps_app_order, message);
    struct ps_worker *worker = order->worker;
    if (!worker->over) {
        switch (order->order) {
        case PS_ORDER_ADOPT:
            adopt(worker, order);
            break;
        case PS_ORDER_DRAIN:
            worker->busy = worker->index == 0 ? 2 : 1;
            if (worker->index == 0) {
                ps_jobs_stop(worker->app->jobs, on_drained, worker);
            }
            ps_server_drain(worker->server, on_drained, worker);
            ps_app_close_sockets(worker->app, worker->index);
            break;
        case PS_ORDER_ABORT:
            ps_server_abort(worker->server);
            if (worker->index == 0) {
                ps_jobs_abort(worker->app->jobs);
            }
            break;
        case PS_ORDER_ONE_LESS:
            ps_app_worker_drained(worker->app);
            break;
        }
    }
    free_order(order);
}

int ps_worker_order(struct ps_worker *worker, enum ps_order kind, struct ps_snapshot *snapshot,
                    struct ps_tls_server *const *tls)
{
    struct ps_app_order *order = ps_calloc(1, sizeof(*order));
    if (order == NULL) {
        return -1;
    }
    order->message.deliver = deliver;
    order->worker = worker;
    order->order = kind;
    order->snapshot = snapshot != NULL ? ps_snapshot_ref(snapshot) : NULL;
    if (tls != NULL) {
        size_t count = worker->app->listener_count;
        order->tls = ps_calloc(count + 1, sizeof(struct ps_tls_server *));
        if (order->tls == NULL) {
            free_order(order);
            return -1;
        }
        for (size_t i = 0; i < count; i++) {
            order->tls[i] = tls[i] != NULL ? ps_tls_server_ref(tls[i]) : NULL;
        }
    }
    if (!ps_mailbox_post(&worker->mailbox, &order->message)) {
        free_order(order); /* it has taken itself down already */
    }
    return 0;
}
