/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* Test code: out of memory and broken sockets simply abort. */
#define MAX_CONNECTIONS 4096
#define HEAD_MAX        70000

struct connection {
    int fd;
    unsigned number;
    unsigned requests;
    char *head;
    size_t head_len;
    bool in_body;
    uint64_t body_left;
    bool deaf;
    const struct fake_step *step; /* NULL: none under way */
    size_t done;                  /* bytes of the step */
};

struct fake_http {
    fake_script_fn script;
    void *arg;
    int listener;
    int port;
    int wake[2];
    pthread_t thread;
    pthread_mutex_t lock;
    char last_head[HEAD_MAX];
    atomic_uint gate;
    atomic_uint requests;
    atomic_uint heads;
    atomic_uint accepted;
    atomic_uint marks;
    atomic_uint_fast64_t body_bytes;
    atomic_uint_fast64_t body_hash;
    atomic_bool stop;
    struct connection *connections[MAX_CONNECTIONS];
    size_t count;
    struct pollfd fds[MAX_CONNECTIONS + 2];
    struct connection *polled[MAX_CONNECTIONS];
};

static void must(bool ok)
{
    if (!ok) {
        perror("fake_http");
        abort();
    }
}

uint64_t fake_hash(uint64_t hash, const char *ptr, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)ptr[i]) * 1099511628211ULL;
    }
    return hash;
}

static void drop(struct fake_http *server, struct connection *conn, bool reset)
{
    if (reset) {
        struct linger now = {1, 0};
        (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    (void)close(conn->fd);
    for (size_t i = 0; i < server->count; i++) {
        if (server->connections[i] == conn) {
            server->connections[i] = server->connections[--server->count];
            break;
        }
    }
    free(conn->head);
    free(conn);
}

static void ask(struct fake_http *server, struct connection *conn, enum fake_moment moment)
{
    const struct fake_step *steps =
        server->script(server->arg, moment, conn->number, conn->requests,
                       moment == FAKE_ACCEPTED ? "" : conn->head);
    if (steps != NULL && conn->step == NULL) {
        conn->step = steps;
        conn->done = 0;
    }
}

static bool send_some(struct connection *conn, bool *blocked)
{
    char chunk[16384];
    const char *ptr = chunk;
    size_t total = conn->step->len;

    if (conn->step->op == FAKE_SEND) {
        total = total > 0 ? total : strlen(conn->step->text);
        ptr = conn->step->text + conn->done;
    }
    size_t len = total - conn->done;
    if (conn->step->op == FAKE_PATTERN) {
        len = len < sizeof(chunk) ? len : sizeof(chunk);
        for (size_t i = 0; i < len; i++) {
            chunk[i] = fake_pattern(conn->done + i);
        }
    }
    ssize_t sent = send(conn->fd, ptr, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        *blocked = errno == EAGAIN;
        return errno == EAGAIN || errno == EINTR;
    }
    conn->done += (size_t)sent;
    if (conn->done == total) {
        conn->step++;
        conn->done = 0;
    }
    return true;
}

/* false: the connection is gone. */
static bool advance(struct fake_http *server, struct connection *conn)
{
    bool blocked = false;

    while (conn->step != NULL && !blocked) {
        switch (conn->step->op) {
        case FAKE_END:
            conn->step = NULL;
            break;
        case FAKE_SEND:
        case FAKE_PATTERN:
            if (!send_some(conn, &blocked)) {
                drop(server, conn, false);
                return false;
            }
            break;
        case FAKE_GATE:
            if (atomic_load(&server->gate) < conn->step->len) {
                return true;
            }
            conn->step++;
            break;
        case FAKE_MARK:
            (void)atomic_fetch_add(&server->marks, 1);
            conn->step++;
            break;
        case FAKE_DEAF:
            conn->deaf = true;
            conn->step++;
            break;
        case FAKE_CLOSE:
        case FAKE_RESET:
            drop(server, conn, conn->step->op == FAKE_RESET);
            return false;
        }
    }
    return true;
}

static uint64_t content_length(const char *head)
{
    for (const char *line = head; line != NULL && *line != '\0';) {
        if (strncasecmp(line, "content-length:", 15) == 0) {
            return strtoull(line + 15, NULL, 10);
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return 0;
}

/* Takes bytes of one request; returns how many. */
static size_t take(struct fake_http *server, struct connection *conn, const char *ptr, size_t len)
{
    size_t used = 0;

    while (!conn->in_body && used < len) {
        must(conn->head_len + 1 < HEAD_MAX);
        conn->head[conn->head_len++] = ptr[used++];
        conn->head[conn->head_len] = '\0';
        if (conn->head_len >= 4 && memcmp(conn->head + conn->head_len - 4, "\r\n\r\n", 4) == 0) {
            conn->in_body = true;
            conn->body_left = content_length(conn->head);
            (void)pthread_mutex_lock(&server->lock);
            memcpy(server->last_head, conn->head, conn->head_len + 1);
            (void)pthread_mutex_unlock(&server->lock);
            (void)atomic_fetch_add(&server->heads, 1);
            ask(server, conn, FAKE_HEAD);
        }
    }
    if (conn->in_body) {
        size_t body = len - used < conn->body_left ? len - used : (size_t)conn->body_left;
        conn->body_left -= body;
        (void)atomic_fetch_add(&server->body_bytes, body);
        atomic_store(&server->body_hash,
                     fake_hash(atomic_load(&server->body_hash), ptr + used, body));
        used += body;
        if (conn->body_left == 0) {
            (void)atomic_fetch_add(&server->requests, 1);
            ask(server, conn, FAKE_REQUEST);
            conn->requests++;
            conn->in_body = false;
            conn->head_len = 0;
        }
    }
    return used;
}

static void on_readable(struct fake_http *server, struct connection *conn)
{
    char bytes[65536];
    ssize_t got = recv(conn->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        drop(server, conn, false);
        return;
    }
    for (size_t used = 0; used < (size_t)got;) {
        used += take(server, conn, bytes + used, (size_t)got - used);
    }
    (void)advance(server, conn);
}

static void on_accept(struct fake_http *server)
{
    int fd;
    int on = 1;

    while ((fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *conn = calloc(1, sizeof(*conn));
        must(conn != NULL && server->count < MAX_CONNECTIONS);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conn->fd = fd;
        conn->head = malloc(HEAD_MAX);
        must(conn->head != NULL);
        conn->number = atomic_fetch_add(&server->accepted, 1);
        server->connections[server->count++] = conn;
        ask(server, conn, FAKE_ACCEPTED);
        (void)advance(server, conn);
    }
}

static short wanted_events(struct fake_http *server, struct connection *conn)
{
    short events = conn->deaf ? 0 : POLLIN;

    (void)server;
    if (conn->step != NULL && (conn->step->op == FAKE_SEND || conn->step->op == FAKE_PATTERN)) {
        events |= POLLOUT;
    }
    return events;
}

static void *serve(void *arg)
{
    struct fake_http *server = arg;
    struct pollfd *fds = server->fds;
    struct connection **polled = server->polled;
    char byte;

    while (!atomic_load(&server->stop)) {
        size_t count = server->count;
        fds[0] = (struct pollfd){server->wake[0], POLLIN, 0};
        fds[1] = (struct pollfd){server->listener, POLLIN, 0};
        for (size_t i = 0; i < count; i++) {
            polled[i] = server->connections[i];
            fds[i + 2] = (struct pollfd){polled[i]->fd, wanted_events(server, polled[i]), 0};
        }
        (void)poll(fds, count + 2, -1);
        bool woken = (fds[0].revents & POLLIN) != 0;
        while (woken && read(server->wake[0], &byte, 1) == 1) {
        }
        for (size_t i = 0; i < count; i++) {
            short events = fds[i + 2].revents;
            if ((woken || (events & POLLOUT) != 0) && !advance(server, polled[i])) {
                continue;
            }
            if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) {
                if (polled[i]->deaf) {
                    drop(server, polled[i], false);
                } else {
                    on_readable(server, polled[i]);
                }
            }
        }
        if ((fds[1].revents & POLLIN) != 0) {
            on_accept(server);
        }
    }
    return NULL;
}

struct fake_http *fake_http_start(fake_script_fn script, void *arg)
{
    return fake_http_start_on(script, arg, 1);
}

struct fake_http *fake_http_start_on(fake_script_fn script, void *arg, unsigned last)
{
    struct fake_http *server = calloc(1, sizeof(*server));
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);

    must(server != NULL);
    server->script = script;
    server->arg = arg;
    atomic_init(&server->body_hash, FAKE_HASH_START);
    address.sin_addr.s_addr = htonl((INADDR_LOOPBACK & ~0xffU) | last);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(server->listener >= 0 &&
         bind(server->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
         listen(server->listener, 4096) == 0 &&
         getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    server->port = ntohs(address.sin_port);
    must(pipe2(server->wake, O_NONBLOCK | O_CLOEXEC) == 0);
    must(pthread_mutex_init(&server->lock, NULL) == 0);
    must(pthread_create(&server->thread, NULL, serve, server) == 0);
    return server;
}

static void wake(struct fake_http *server)
{
    must(write(server->wake[1], "w", 1) == 1 || errno == EAGAIN);
}

void fake_http_stop(struct fake_http *server)
{
    atomic_store(&server->stop, true);
    wake(server);
    (void)pthread_join(server->thread, NULL);
    while (server->count > 0) {
        drop(server, server->connections[0], false);
    }
    (void)close(server->listener);
    (void)close(server->wake[0]);
    (void)close(server->wake[1]);
    (void)pthread_mutex_destroy(&server->lock);
    free(server);
}

int fake_http_port(const struct fake_http *server)
{
    return server->port;
}

void fake_http_open(struct fake_http *server, unsigned gate)
{
    atomic_store(&server->gate, gate);
    wake(server);
}

unsigned fake_http_requests(struct fake_http *server)
{
    return atomic_load(&server->requests);
}

unsigned fake_http_heads(struct fake_http *server)
{
    return atomic_load(&server->heads);
}

unsigned fake_http_marks(struct fake_http *server)
{
    return atomic_load(&server->marks);
}

unsigned fake_http_accepted(struct fake_http *server)
{
    return atomic_load(&server->accepted);
}

uint64_t fake_http_body_bytes(struct fake_http *server)
{
    return atomic_load(&server->body_bytes);
}

uint64_t fake_http_body_hash(struct fake_http *server)
{
    return atomic_load(&server->body_hash);
}

void fake_http_last_head(struct fake_http *server, char *ret, size_t size)
{
    (void)pthread_mutex_lock(&server->lock);
    (void)snprintf(ret, size, "%s", server->last_head);
    (void)pthread_mutex_unlock(&server->lock);
}
