/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How long small requests take, one here and one there, while something else loads the server.
 *
 *   bench_probe SECONDS EVERY_US NAME PORT REQUEST_FILE [NAME PORT REQUEST_FILE]…
 *
 * Every target gets one request about every EVERY_US microseconds, whether the one before was
 * answered or not: a server that stands still for a second is then met by all the requests of that
 * second, as it would be by its users, and not by one. Connections are kept alive; each carries one
 * request at a time. CONNS_FIRST are opened and tried before anything is measured, since a busy
 * server may be slow to accept, which would be another matter; more are opened only when all wait.
 * The time of a sample runs from the send to the last byte of the answer.
 *
 * It says "ready" when the connections are open, and begins with a line on stdin. At the end it
 * prints one object of JSON: for each name the times in microseconds, and how many went wrong: an
 * answer other than 200, a connection that ended, no answer within PATIENCE_US of the end.
 */

#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX    ((size_t)8 * 1024)
#define REQUEST_MAX ((size_t)64 * 1024)
#define TARGETS_MAX 8
#define CONNS_FIRST 128
#define CONNS_MAX   4096U
#define SAMPLES_MAX ((size_t)1024 * 1024)
#define PATIENCE_US INT64_C(30000000)

struct target {
    const char *name;
    struct sockaddr_in address;
    char request[REQUEST_MAX];
    size_t request_size;
    int64_t due;
    struct conn *idle; /* owned */
    unsigned conns;
    unsigned waiting;
    unsigned bad;
    uint32_t *samples; /* owned */
    size_t count;
};

struct conn {
    int fd;
    struct target *target;
    bool waits;
    int64_t began;
    char head[HEAD_MAX];
    size_t head_size;
    bool in_body;
    size_t body_left;
    struct conn *next;
};

static int poller;
static struct target targets[TARGETS_MAX];
static size_t target_count;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* From half to one and a half times `every`, so that no rhythm of the server is met in step. */
static int64_t vary(int64_t every)
{
    static uint64_t state = UINT64_C(88172645463325252);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return every / 2 + (int64_t)(state % (uint64_t)(every + 1));
}

static struct conn *open_conn(struct target *target)
{
    int one = 1;
    struct conn *conn = wire_alloc(sizeof(*conn));
    conn->target = target;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* To loopback: done at once, or refused. */
    if (conn->fd < 0 ||
        connect(conn->fd, (struct sockaddr *)&target->address, sizeof(target->address)) != 0) {
        fail(target->name);
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        fail("epoll_ctl");
    }
    target->conns++;
    return conn;
}

static void drop(struct conn *conn)
{
    struct target *target = conn->target;
    if (conn->waits) {
        target->waiting--;
        target->bad++;
    } else {
        struct conn **at = &target->idle;
        while (*at != conn) {
            at = &(*at)->next;
        }
        *at = conn->next;
    }
    target->conns--;
    close(conn->fd);
    free(conn);
}

static void ask(struct target *target)
{
    int64_t began = now_us();
    struct conn *conn = target->idle;
    if (conn != NULL) {
        target->idle = conn->next;
    } else if (target->conns < CONNS_MAX) {
        conn = open_conn(target);
    } else {
        target->bad++;
        return;
    }
    conn->began = began;
    conn->waits = true;
    conn->head_size = 0;
    conn->in_body = false;
    target->waiting++;
    ssize_t sent = send(conn->fd, target->request, target->request_size, MSG_NOSIGNAL);
    if (sent != (ssize_t)target->request_size) {
        drop(conn);
    }
}

static void finish(struct conn *conn)
{
    struct target *target = conn->target;
    int64_t took = now_us() - conn->began;
    if (target->count < SAMPLES_MAX) {
        target->samples[target->count++] = (uint32_t)took;
    }
    target->waiting--;
    conn->waits = false;
    conn->next = target->idle;
    target->idle = conn;
}

/* The body's length, from a complete head. False: not an answer we want. */
static bool read_head(struct conn *conn, const char *end)
{
    if (strncmp(conn->head, "HTTP/1.1 200 ", 13) != 0) {
        return false;
    }
    const char *line = conn->head;
    while (line < end) {
        line = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        line += 2;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            conn->body_left = strtoul(line + 15, NULL, 10);
            return true;
        }
    }
    fprintf(stderr, "%s: an answer without Content-Length\n", conn->target->name);
    return false;
}

/* False: the connection is of no use any more. */
static bool take_in(struct conn *conn)
{
    static char scratch[64 * 1024];
    char *to = conn->in_body ? scratch : conn->head + conn->head_size;
    size_t room = conn->in_body ? sizeof(scratch) : HEAD_MAX - 1 - conn->head_size;
    ssize_t got = recv(conn->fd, to, room, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (got <= 0 || !conn->waits) {
        return false;
    }
    size_t body = (size_t)got;
    if (!conn->in_body) {
        conn->head_size += (size_t)got;
        conn->head[conn->head_size] = '\0';
        const char *end = memmem(conn->head, conn->head_size, "\r\n\r\n", 4);
        if (end == NULL) {
            return conn->head_size < HEAD_MAX - 1;
        }
        if (!read_head(conn, end)) {
            return false;
        }
        conn->in_body = true;
        body = conn->head_size - (size_t)(end + 4 - conn->head);
    }
    if (body > conn->body_left) {
        return false;
    }
    conn->body_left -= body;
    if (conn->body_left == 0) {
        finish(conn);
    }
    return true;
}

static void ask_due(int64_t every)
{
    for (size_t i = 0; i < target_count; i++) {
        if (targets[i].due <= now_us()) {
            ask(&targets[i]);
            targets[i].due += vary(every);
        }
    }
}

static bool all_answered(void)
{
    for (size_t i = 0; i < target_count; i++) {
        if (targets[i].waiting > 0) {
            return false;
        }
    }
    return true;
}

/* Takes what has come, after waiting a millisecond for it. */
static void take_turn(void)
{
    struct epoll_event events[64];
    int ready = epoll_wait(poller, events, 64, 1);
    for (int i = 0; i < ready; i++) {
        struct conn *conn = events[i].data.ptr;
        if (!take_in(conn)) {
            drop(conn);
        }
    }
}

/* One request on each connection, right after it was opened. */
static void warm_up(struct target *target)
{
    for (unsigned i = 0; i < CONNS_FIRST; i++) {
        struct conn *conn = open_conn(target);
        conn->next = target->idle;
        target->idle = conn;
        ask(target);
        while (target->waiting > 0) {
            take_turn();
        }
    }
    if (target->bad > 0) {
        fprintf(stderr, "%s: no proper answer\n", target->name);
        exit(1);
    }
    target->count = 0;
}

static void run(int64_t seconds, int64_t every)
{
    int64_t start = now_us();
    int64_t end = start + seconds * 1000000;
    for (size_t i = 0; i < target_count; i++) {
        targets[i].due = start + vary(every);
    }
    for (;;) {
        int64_t now = now_us();
        if (now < end) {
            ask_due(every);
        } else if (all_answered() || now > end + PATIENCE_US) {
            return;
        }
        take_turn();
    }
}

static void print(void)
{
    for (size_t i = 0; i < target_count; i++) {
        const struct target *target = &targets[i];
        printf("%s\"%s\":{\"bad\":%u,\"us\":[", i == 0 ? "{" : ",", target->name,
               target->bad + target->waiting);
        for (size_t j = 0; j < target->count; j++) {
            printf("%s%u", j == 0 ? "" : ",", target->samples[j]);
        }
        fputs("]}", stdout);
    }
    puts("}");
}

static void add_target(const char *name, const char *port, const char *path)
{
    struct target *target = &targets[target_count++];
    target->name = name;
    target->address = (struct sockaddr_in){.sin_family = AF_INET,
                                           .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(path);
    }
    target->request_size = fread(target->request, 1, REQUEST_MAX, file);
    fclose(file);
    target->samples = wire_alloc(SAMPLES_MAX * sizeof(*target->samples));
    warm_up(target);
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc % 3 != 0 || argc > 3 + 3 * TARGETS_MAX) {
        fputs("usage: bench_probe SECONDS EVERY_US NAME PORT REQUEST_FILE…\n", stderr);
        return 2;
    }
    wire_raise_files();
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 3; i < argc; i += 3) {
        add_target(argv[i], argv[i + 1], argv[i + 2]);
    }
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) {
        return 1;
    }
    run(strtol(argv[1], NULL, 10), strtol(argv[2], NULL, 10));
    print();
    return 0;
}
