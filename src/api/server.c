/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "penstock/base/mem.h"

#include <string.h>
#include <sys/socket.h>

#define BACKLOG_MAX 4096

/* Connections come from listeners and count themselves off in ps_server_conn_closed; draining ends
 * when none is left. */

static void drained(struct ps_task *task)
{
    struct ps_server *server = PS_CONTAINER_OF(task, struct ps_server, drained);
    if (server->on_drained != NULL) {
        void (*fn)(void *arg) = server->on_drained;
        server->on_drained = NULL;
        fn(server->on_drained_arg);
    }
}

struct ps_server *ps_server_new(struct ps_gateway_loop *gl, struct ps_server_shared *shared)
{
    struct ps_server *server = ps_calloc(1, sizeof(*server));
    if (server == NULL) {
        return NULL;
    }
    server->gl = gl;
    server->shared = shared;
    ps_list_init(&server->listeners);
    ps_list_init(&server->conns);
    ps_buf_init(&server->scratch, 0); /* whoever uses it says how large it may be */
    ps_task_init(&server->drained, drained);
    return server;
}

static void free_listener(struct ps_server_listener *listener)
{
    if (listener->listener != NULL) {
        ps_listener_close(listener->listener);
    }
    ps_list_remove(&listener->link);
    ps_tls_server_unref(listener->tls);
    ps_free(listener->address);
    ps_free(listener);
}

int ps_server_listen(struct ps_server *server, int fd, const struct ps_config_listener *config,
                     struct ps_tls_server *tls)
{
    struct ps_server_listener *listener = ps_calloc(1, sizeof(*listener));
    if (listener == NULL) {
        return -1;
    }
    ps_list_push_back(&server->listeners, &listener->link);
    listener->server = server;
    listener->fd = fd;
    listener->is_unix = config->is_unix;
    listener->is_loopback = config->is_loopback;
    listener->tls = tls != NULL ? ps_tls_server_ref(tls) : NULL;
    listener->address = ps_strndup(config->address, strlen(config->address));
    if (listener->address != NULL) {
        listener->listener = ps_listener_new(server->gl->loop, fd, ps_conn_accept, listener);
    }
    if (listener->listener == NULL) {
        free_listener(listener);
        return -1;
    }
    return 0;
}

void ps_server_set_tls(struct ps_server *server, const char *address, struct ps_tls_server *tls)
{
    for (struct ps_link *link = server->listeners.next; link != &server->listeners;
         link = link->next) {
        struct ps_server_listener *listener =
            PS_CONTAINER_OF(link, struct ps_server_listener, link);
        if (strcmp(listener->address, address) == 0 && (listener->tls != NULL) == (tls != NULL)) {
            ps_tls_server_unref(listener->tls);
            listener->tls = tls != NULL ? ps_tls_server_ref(tls) : NULL;
        }
    }
}

void ps_server_conn_closed(struct ps_server *server)
{
    server->conn_count--;
    atomic_fetch_sub(&server->shared->connections, 1);
    if (server->draining && server->conn_count == 0) {
        ps_loop_defer(server->gl->loop, &server->drained, PS_PHASE_WORK);
    }
}

/* Who stands in the backlog has been promised a connection by the kernel: served, not reset. */
static void accept_waiting(struct ps_server_listener *listener)
{
    for (int i = 0; i < BACKLOG_MAX; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            break;
        }
        ps_conn_accept(listener, fd);
    }
}

void ps_server_drain(struct ps_server *server, void (*on_drained)(void *arg), void *arg)
{
    server->draining = true;
    server->on_drained = on_drained;
    server->on_drained_arg = arg;
    for (struct ps_link *link = server->listeners.next; link != &server->listeners;
         link = link->next) {
        struct ps_server_listener *listener =
            PS_CONTAINER_OF(link, struct ps_server_listener, link);
        if (listener->listener != NULL) {
            accept_waiting(listener);
            ps_listener_close(listener->listener);
            listener->listener = NULL;
        }
    }
    for (struct ps_link *link = server->conns.next; link != &server->conns; link = link->next) {
        ps_conn_drain(PS_CONTAINER_OF(link, struct ps_conn, link));
    }
    if (server->conn_count == 0) {
        ps_loop_defer(server->gl->loop, &server->drained, PS_PHASE_WORK);
    }
}

void ps_server_abort(struct ps_server *server)
{
    for (struct ps_link *link = server->conns.next; link != &server->conns; link = link->next) {
        ps_conn_abort(PS_CONTAINER_OF(link, struct ps_conn, link));
    }
}

void ps_server_free(struct ps_server *server)
{
    ps_task_cancel(&server->drained);
    while (!ps_list_empty(&server->listeners)) {
        free_listener(PS_CONTAINER_OF(server->listeners.next, struct ps_server_listener, link));
    }
    ps_buf_deinit(&server->scratch);
    ps_free(server);
}
