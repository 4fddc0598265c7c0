/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include "penstock/base/mem.h"
#include "penstock/net/listener.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All listening sockets of the process are opened and closed here. */

void ps_app_tls_free(struct ps_tls_server **tls, size_t count)
{
    for (size_t i = 0; tls != NULL && i < count; i++) {
        ps_tls_server_unref(tls[i]);
    }
    ps_free(tls);
}

struct ps_tls_server **ps_app_tls(const struct ps_config *config, char *ret_error,
                                  size_t error_size)
{
    struct ps_tls_server **tls =
        ps_calloc(config->listener_count + 1, sizeof(struct ps_tls_server *));
    if (tls == NULL) {
        (void)snprintf(ret_error, error_size, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct ps_config_listener *listener = &config->listeners[i];
        if (listener->tls_count == 0) {
            continue;
        }
        struct ps_tls_certificate *files = ps_calloc(listener->tls_count, sizeof(*files));
        for (size_t k = 0; files != NULL && k < listener->tls_count; k++) {
            files[k] =
                (struct ps_tls_certificate){listener->tls[k].certificate, listener->tls[k].key};
        }
        if (files == NULL) {
            (void)snprintf(ret_error, error_size, "out of memory");
        } else {
            tls[i] = ps_tls_server_new(files, listener->tls_count, ret_error, error_size);
        }
        ps_free(files);
        if (tls[i] == NULL) {
            ps_app_tls_free(tls, config->listener_count);
            return NULL;
        }
    }
    return tls;
}

static int open_sockets(struct ps_app_listener *listener, unsigned loops, char *error,
                        size_t error_size)
{
    const struct ps_config_listener *config = listener->config;
    uint16_t port = config->port;
    if (!config->is_unix && port != 0 &&
        ps_listen_check_tcp(config->host, port, error, error_size) != 0) {
        return -1;
    }
    for (unsigned i = 0; i < loops; i++) {
        if (config->is_unix) {
            listener->fds[i] =
                i == 0 ? ps_listen_unix(config->path, error, error_size) : listener->fds[0];
        } else {
            listener->fds[i] = ps_listen_tcp(config->host, port, error, error_size);
        }
        if (listener->fds[i] < 0) {
            return -1;
        }
        atomic_fetch_add(&listener->users, 1);
        if (port == 0 && !config->is_unix) {
            port = ps_listen_port(
                listener->fds[i]); /* the other loops share the port this one was given */
        }
    }
    struct stat st;
    if (config->is_unix && stat(config->path, &st) == 0) {
        listener->inode = st.st_ino;
    }
    return 0;
}

int ps_app_listen(struct ps_app *app)
{
    const struct ps_config *config = app->first;
    char error[256] = "out of memory";
    struct ps_tls_server **tls = ps_app_tls(config, error, sizeof(error));
    app->listeners = ps_calloc(config->listener_count + 1, sizeof(*app->listeners));
    if (tls == NULL || app->listeners == NULL) {
        (void)fprintf(stderr, "penstock: %s\n", error);
        ps_app_tls_free(tls, config->listener_count);
        return -1;
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        struct ps_app_listener *listener = &app->listeners[i];
        listener->config = &config->listeners[i];
        listener->tls = tls[i];
        listener->fds = ps_calloc(app->worker_count, sizeof(*listener->fds));
        for (unsigned k = 0; listener->fds != NULL && k < app->worker_count; k++) {
            listener->fds[k] = -1;
        }
        app->listener_count++;
        if (listener->fds == NULL ||
            open_sockets(listener, app->worker_count, error, sizeof(error)) != 0) {
            (void)fprintf(stderr, "%s:%d: listen: cannot listen on %s: %s\n",
                          listener->config->at.file != NULL ? listener->config->at.file
                                                            : "penstock",
                          listener->config->at.line, listener->config->address, error);
            for (size_t k = i + 1; k < config->listener_count; k++) {
                ps_tls_server_unref(tls[k]);
            }
            ps_free(tls);
            return -1;
        }
    }
    ps_free(tls);
    return 0;
}

void ps_app_announce(const struct ps_app *app)
{
    for (size_t i = 0; i < app->listener_count; i++) {
        const struct ps_app_listener *listener = &app->listeners[i];
        const struct ps_config_listener *config = listener->config;
        if (config->is_unix) {
            (void)printf("listening on unix:%s\n", config->path);
        } else {
            bool v6 = strchr(config->host, ':') != NULL;
            (void)printf("listening on %s://%s%s%s:%u\n", listener->tls != NULL ? "https" : "http",
                         v6 ? "[" : "", config->host, v6 ? "]" : "",
                         (unsigned)ps_listen_port(listener->fds[0]));
        }
    }
    (void)fflush(stdout);
}

static void remove_file(const struct ps_app_listener *listener)
{
    struct stat st;
    if (stat(listener->config->path, &st) == 0 && st.st_ino == listener->inode) {
        (void)unlink(listener->config->path);
    }
}

static void close_socket(struct ps_app_listener *listener, unsigned loop)
{
    bool last = listener->users > 0 && atomic_fetch_sub(&listener->users, 1) == 1;
    if (listener->fds[loop] < 0 || (listener->config->is_unix && !last)) {
        return;
    }
    if (listener->config->is_unix) {
        remove_file(listener);
    }
    (void)close(listener->fds[loop]);
    listener->fds[loop] = -1;
}

void ps_app_close_sockets(struct ps_app *app, unsigned loop)
{
    for (size_t i = 0; i < app->listener_count; i++) {
        close_socket(&app->listeners[i], loop);
    }
}

void ps_app_unlisten(struct ps_app *app)
{
    for (size_t i = 0; i < app->listener_count; i++) {
        struct ps_app_listener *listener = &app->listeners[i];
        while (listener->users > 0) {
            close_socket(listener, listener->users - 1);
        }
        ps_free(listener->fds);
        ps_tls_server_unref(listener->tls);
    }
    ps_free(app->listeners);
    app->listeners = NULL;
    app->listener_count = 0;
}
