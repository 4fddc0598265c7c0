/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A fake OpenAI-compatible upstream that costs as little as possible: one thread, epoll,
 * keep-alive, answers made once and sent from memory. The model's name says what comes back:
 *
 *   answer-1024            one JSON answer of 1024 bytes (any size up to 4 MiB)
 *   stream-100             100 pieces of text as SSE events, each its own HTTP chunk and write
 *   …-wait-20              20 ms before the first byte
 *   stream-100-every-5     5 ms between events
 *
 * GET /v1/models lists a few, GET /stats tells what was served since the start.
 *
 * Each answer is a script of steps; a connection plays it, step by step, and waits between steps in
 * a queue of its delay. All waits in one queue are equally long, so each queue is sorted by itself.
 */

#include "wire.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KEPT_MAX    ((size_t)8 * 1024) /* head and the beginning of the body */
#define ANSWER_MAX  ((unsigned)4 * 1024 * 1024)
#define PIECES_MAX  10000U
#define SCRIPTS_MAX 64
#define DELAYS_MAX  16

struct script {
    unsigned size;   /* of the answer, or 0 */
    unsigned pieces; /* of the stream */
    unsigned wait;
    unsigned every;
    bool usage;
    char *bytes;
    size_t *ends; /* of each step in bytes */
    unsigned steps;
};

struct conn {
    int fd;
    SSL *ssl; /* NULL: plain */
    char kept[KEPT_MAX];
    size_t kept_size;
    size_t body_start;           /* in kept; 0: the head is not complete */
    size_t body_left;            /* bytes that are not kept */
    const struct script *script; /* NULL: no answer is due */
    unsigned step;
    size_t offset;       /* of what was sent, in the script's bytes */
    bool blocked;        /* waits for the socket to take more */
    struct delay *delay; /* the queue it waits in, or NULL */
    int64_t due;
    struct conn *previous;
    struct conn *next;
};

struct delay {
    unsigned ms;
    struct conn *first;
    struct conn *last;
};

struct listener {
    int fd;
    SSL_CTX *tls; /* NULL: plain */
};

static int poller;
static struct script scripts[SCRIPTS_MAX];
static size_t script_count;
static struct delay delays[DELAYS_MAX];
static size_t delay_count;
static char scratch[256 * 1024];
static struct {
    unsigned long long requests, body_bytes, pieces, connections, open;
} stats;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Scripts */

static void add_step(struct script *script, size_t *room, const char *data, size_t size, bool chunk)
{
    size_t end = script->steps > 0 ? script->ends[script->steps - 1] : 0;
    char frame[32];
    size_t frame_size = chunk ? (size_t)snprintf(frame, sizeof(frame), "%zx\r\n", size) : 0;
    size_t needed = end + frame_size + size + 2;
    if (needed > *room) {
        *room = needed * 2;
        script->bytes = realloc(script->bytes, *room);
        if (script->bytes == NULL) {
            fail("realloc");
        }
    }
    memcpy(script->bytes + end, frame, frame_size);
    memcpy(script->bytes + end + frame_size, data, size);
    end += frame_size + size;
    if (chunk) {
        memcpy(script->bytes + end, "\r\n", 2);
        end += 2;
    }
    script->ends[script->steps] = end;
    script->steps++;
}

#define COMMON_HEADERS                                                                             \
    "server: bench\r\n"                                                                            \
    "x-request-id: req_7f3a9c51e2\r\n"                                                             \
    "openai-processing-ms: 12\r\n"                                                                 \
    "x-ratelimit-remaining-requests: 9999\r\n"

static void make_answer(struct script *script)
{
    static const char before[] =
        "{\"id\":\"chatcmpl-8kMqZr3aVbY\",\"object\":\"chat.completion\",\"created\":1760000000,"
        "\"model\":\"bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"";
    static const char after[] =
        "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":"
        "{\"prompt_tokens\":20,\"completion_tokens\":100,\"total_tokens\":120},"
        "\"system_fingerprint\":\"fp_44709d6fcb\"}\n";
    static const char words[] = "The loop is never blocked.\\nThat is \\\"the\\\" whole idea. ";
    size_t body_size = script->size;
    size_t least = sizeof(before) + sizeof(after) - 2;
    if (body_size < least) {
        body_size = least;
    }
    char head[512];
    size_t head_size =
        (size_t)snprintf(head, sizeof(head),
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" COMMON_HEADERS
                         "Content-Length: %zu\r\n\r\n",
                         body_size);
    char *made = wire_alloc(head_size + body_size);
    memcpy(made, head, head_size);
    char *body = made + head_size;
    size_t text_end = body_size - (sizeof(after) - 1);
    size_t at = sizeof(before) - 1;
    memcpy(body, before, at);
    while (at + sizeof(words) - 1 <= text_end) {
        memcpy(body + at, words, sizeof(words) - 1);
        at += sizeof(words) - 1;
    }
    memset(body + at, 'x', text_end - at);
    memcpy(body + text_end, after, sizeof(after) - 1);
    script->ends = wire_alloc(sizeof(*script->ends));
    size_t room = 0;
    add_step(script, &room, made, head_size + body_size, false);
    free(made);
}

/* The head goes with the first event and the last chunk with the finish, as servers do. */
static void make_stream(struct script *script)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        "Cache-Control: no-cache\r\n" COMMON_HEADERS "Transfer-Encoding: chunked\r\n\r\n";
    script->ends = wire_alloc((script->pieces + 3) * sizeof(*script->ends));
    size_t room = 0;
    char event[WIRE_EVENT_MAX];
    add_step(script, &room, head, sizeof(head) - 1, false);
    for (unsigned i = 0; i <= script->pieces + 1; i++) {
        add_step(script, &room, event, wire_event(event, i, script->pieces), true);
        if (i == 0) {
            script->steps--;
            script->ends[0] = script->ends[1];
        }
    }
    unsigned finish = script->steps - 1;
    if (script->usage) {
        add_step(script, &room, WIRE_USAGE, sizeof(WIRE_USAGE) - 1, true);
        script->steps--;
        script->ends[finish] = script->ends[finish + 1];
    }
    add_step(script, &room, WIRE_DONE, sizeof(WIRE_DONE) - 1, true);
    script->steps--;
    script->ends[finish] = script->ends[finish + 1];
    add_step(script, &room, "0\r\n\r\n", 5, false);
    script->steps--;
    script->ends[finish] = script->ends[finish + 1];
}

static const struct script *find_script(const struct script *wanted)
{
    for (size_t i = 0; i < script_count; i++) {
        const struct script *script = &scripts[i];
        if (script->size == wanted->size && script->pieces == wanted->pieces &&
            script->wait == wanted->wait && script->every == wanted->every &&
            script->usage == wanted->usage) {
            return script;
        }
    }
    if (script_count == SCRIPTS_MAX) {
        return NULL;
    }
    struct script *script = &scripts[script_count++];
    *script = *wanted;
    if (script->pieces > 0) {
        make_stream(script);
    } else {
        make_answer(script);
    }
    return script;
}

/* A number after `word` in the model's name, `otherwise` when it is not there. */
static unsigned read_option(const char *name, const char *word, unsigned max, unsigned otherwise)
{
    const char *at = strstr(name, word);
    if (at == NULL) {
        return otherwise;
    }
    unsigned long value = strtoul(at + strlen(word), NULL, 10);
    return value > max ? max : (unsigned)value;
}

static const struct script *choose(const char *body, size_t size)
{
    static const char key[] = "\"model\"";
    char name[128] = "";
    const char *at = memmem(body, size, key, sizeof(key) - 1);
    const char *end = body + size;
    if (at != NULL) {
        at = memchr(at + sizeof(key) - 1, '"', (size_t)(end - at) - (sizeof(key) - 1));
    }
    if (at != NULL) {
        at++;
        const char *close = memchr(at, '"', (size_t)(end - at));
        if (close != NULL && (size_t)(close - at) < sizeof(name)) {
            memcpy(name, at, (size_t)(close - at));
        }
    }
    struct script wanted = {
        .pieces = read_option(name, "stream-", PIECES_MAX, 0),
        .wait = read_option(name, "-wait-", 600000, 0),
        .every = read_option(name, "-every-", 600000, 0),
    };
    if (wanted.pieces > 0) {
        wanted.usage = memmem(body, size, "include_usage", 13) != NULL;
    } else {
        wanted.size = read_option(name, "answer-", ANSWER_MAX, 1024);
    }
    return find_script(&wanted);
}

/* Waiting */

static void stop_waiting(struct conn *conn)
{
    struct delay *delay = conn->delay;
    if (delay == NULL) {
        return;
    }
    *(conn->previous != NULL ? &conn->previous->next : &delay->first) = conn->next;
    *(conn->next != NULL ? &conn->next->previous : &delay->last) = conn->previous;
    conn->delay = NULL;
}

static void start_waiting(struct conn *conn, unsigned ms)
{
    size_t i = 0;
    while (i < delay_count && delays[i].ms != ms) {
        i++;
    }
    if (i == delay_count) {
        if (i == DELAYS_MAX) {
            fputs("too many different delays\n", stderr);
            exit(1);
        }
        delays[delay_count++].ms = ms;
    }
    struct delay *delay = &delays[i];
    conn->delay = delay;
    conn->due = now_ms() + ms;
    conn->previous = delay->last;
    conn->next = NULL;
    *(delay->last != NULL ? &delay->last->next : &delay->first) = conn;
    delay->last = conn;
}

/* Connections */

static void drop(struct conn *conn)
{
    stop_waiting(conn);
    if (conn->ssl != NULL) {
        SSL_free(conn->ssl);
    }
    close(conn->fd);
    free(conn);
    stats.open--;
}

static void listen_for(struct conn *conn, bool writable)
{
    if (conn->blocked == writable) {
        return;
    }
    conn->blocked = writable;
    struct epoll_event event = {.events = writable ? EPOLLIN | EPOLLOUT : EPOLLIN,
                                .data.ptr = conn};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, conn->fd, &event) != 0) {
        fail("epoll_ctl");
    }
}

/* > 0: bytes; 0: not now; -1: the connection is over. */
static ssize_t receive(struct conn *conn, char *to, size_t room)
{
    if (conn->ssl == NULL) {
        ssize_t got = recv(conn->fd, to, room, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 0;
        }
        return got > 0 ? got : -1;
    }
    ERR_clear_error();
    int got = SSL_read(conn->ssl, to, (int)room);
    if (got > 0) {
        return got;
    }
    int why = SSL_get_error(conn->ssl, got);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t transmit(struct conn *conn, const char *data, size_t size)
{
    if (conn->ssl == NULL) {
        ssize_t sent = send(conn->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            return 0;
        }
        return sent > 0 ? sent : -1;
    }
    ERR_clear_error();
    int sent = SSL_write(conn->ssl, data, (int)size);
    if (sent > 0) {
        return sent;
    }
    int why = SSL_get_error(conn->ssl, sent);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static bool send_text(struct conn *conn, const char *status, const char *text)
{
    char answer[2048];
    int size = snprintf(answer, sizeof(answer),
                        "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        status, strlen(text), text);
    return transmit(conn, answer, (size_t)size) == size;
}

static bool send_stats(struct conn *conn)
{
    char text[256];
    snprintf(text, sizeof(text),
             "{\"requests\":%llu,\"body_bytes\":%llu,\"pieces\":%llu,\"connections\":%llu,"
             "\"open\":%llu}\n",
             stats.requests, stats.body_bytes, stats.pieces, stats.connections, stats.open);
    return send_text(conn, "200 OK", text);
}

/* Plays the script until it waits, blocks or ends. False: the connection is over. */
static bool play(struct conn *conn)
{
    const struct script *script = conn->script;
    while (conn->step < script->steps) {
        size_t end = script->ends[conn->step];
        ssize_t sent = transmit(conn, script->bytes + conn->offset, end - conn->offset);
        if (sent < 0) {
            return false;
        }
        conn->offset += (size_t)sent;
        if (conn->offset < end) {
            listen_for(conn, true);
            return true;
        }
        conn->step++;
        stats.pieces += script->pieces > 0;
        if (script->every > 0 && conn->step < script->steps) {
            listen_for(conn, false);
            start_waiting(conn, script->every);
            return true;
        }
    }
    listen_for(conn, false);
    conn->script = NULL;
    return true;
}

static bool answer(struct conn *conn, const char *body, size_t body_size)
{
    const char *head = conn->kept;
    if (strncmp(head, "GET /stats ", 11) == 0) {
        return send_stats(conn);
    }
    stats.requests++;
    if (strncmp(head, "GET /v1/models ", 15) == 0) {
        return send_text(conn, "200 OK",
                         "{\"object\":\"list\",\"data\":[{\"id\":\"answer-1024\",\"object\":"
                         "\"model\",\"created\":1,\"owned_by\":\"bench\"},{\"id\":\"stream-100\","
                         "\"object\":\"model\",\"created\":1,\"owned_by\":\"bench\"}]}\n");
    }
    if (strncmp(head, "POST /v1/chat/completions ", 26) != 0) {
        return send_text(conn, "404 Not Found", "{\"error\":{\"message\":\"unknown path\"}}\n");
    }
    conn->script = choose(body, body_size);
    if (conn->script == NULL) {
        return send_text(conn, "400 Bad Request",
                         "{\"error\":{\"message\":\"too many models\"}}\n");
    }
    conn->step = 0;
    conn->offset = 0;
    if (conn->script->wait > 0) {
        start_waiting(conn, conn->script->wait);
        return true;
    }
    return play(conn);
}

/* Finds the end of the head and the length of the body. False: not a request that we understand. */
static bool read_head(struct conn *conn)
{
    const char *end = memmem(conn->kept, conn->kept_size, "\r\n\r\n", 4);
    if (end == NULL) {
        return conn->kept_size < KEPT_MAX;
    }
    conn->body_start = (size_t)(end - conn->kept) + 4;
    conn->body_left = 0;
    for (const char *line = conn->kept; line < end;) {
        line = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        line += 2;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            conn->body_left = strtoul(line + 15, NULL, 10);
        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            fputs("a chunked request body: bench_upstream wants a Content-Length\n", stderr);
            return false;
        }
    }
    stats.body_bytes += conn->body_left;
    return true;
}

/* Takes what has come to `kept` and, of a long body, what follows to nowhere. */
static bool take_in(struct conn *conn, bool *ret_more)
{
    bool keeps = conn->kept_size < KEPT_MAX;
    char *to = keeps ? conn->kept + conn->kept_size : scratch;
    size_t room = keeps ? KEPT_MAX - conn->kept_size : sizeof(scratch);
    ssize_t got = receive(conn, to, room);
    *ret_more = (size_t)got == room || (conn->ssl != NULL && got > 0);
    if (got <= 0) {
        return got == 0;
    }
    size_t body_got = (size_t)got;
    if (keeps) {
        conn->kept_size += (size_t)got;
        if (conn->body_start == 0) {
            if (!read_head(conn)) {
                return false;
            }
            if (conn->body_start == 0) {
                return true;
            }
            body_got = conn->kept_size - conn->body_start;
        }
    }
    if (body_got > conn->body_left) {
        return false; /* a pipelined request: no proxy sends one */
    }
    conn->body_left -= body_got;
    return true;
}

static bool on_readable(struct conn *conn)
{
    bool more = true;
    while (more) {
        if (!take_in(conn, &more)) {
            return false;
        }
        if (conn->body_start > 0 && conn->body_left == 0) {
            if (conn->script != NULL) {
                return false;
            }
            size_t start = conn->body_start;
            size_t size = conn->kept_size - start;
            conn->body_start = 0;
            conn->kept_size = 0;
            if (!answer(conn, conn->kept + start, size)) {
                return false;
            }
        }
    }
    return true;
}

static void accept_all(const struct listener *listener)
{
    int one = 1;
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct conn *conn = wire_alloc(sizeof(*conn));
        conn->fd = fd;
        if (listener->tls != NULL) {
            conn->ssl = SSL_new(listener->tls);
            SSL_set_fd(conn->ssl, fd);
            SSL_set_accept_state(conn->ssl);
        }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) {
            fail("epoll_ctl");
        }
        stats.connections++;
        stats.open++;
    }
}

static void play_due(void)
{
    int64_t now = now_ms();
    for (size_t i = 0; i < delay_count; i++) {
        while (delays[i].first != NULL && delays[i].first->due <= now) {
            struct conn *conn = delays[i].first;
            stop_waiting(conn);
            if (!play(conn)) {
                drop(conn);
            }
        }
    }
}

static int next_wait(void)
{
    int64_t now = now_ms();
    int64_t wait = -1;
    for (size_t i = 0; i < delay_count; i++) {
        if (delays[i].first != NULL) {
            int64_t left = delays[i].first->due > now ? delays[i].first->due - now : 0;
            wait = wait < 0 || left < wait ? left : wait;
        }
    }
    return (int)wait;
}

static struct listener open_listener(const char *port, SSL_CTX *tls)
{
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 4096) != 0) {
        fail(port);
    }
    return (struct listener){.fd = fd, .tls = tls};
}

static SSL_CTX *open_tls(const char *certificate, const char *key)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
    if (tls == NULL || SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    return tls;
}

static void run(struct listener *listeners, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[i]};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, listeners[i].fd, &event) != 0) {
            fail("epoll_ctl");
        }
    }
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(poller, events, 256, next_wait());
        for (int i = 0; i < ready; i++) {
            void *who = events[i].data.ptr;
            if (who == &listeners[0] || who == &listeners[1]) {
                accept_all(who);
                continue;
            }
            struct conn *conn = who;
            bool alive = true;
            if ((events[i].events & EPOLLOUT) != 0 && conn->script != NULL && conn->blocked) {
                alive = play(conn);
            }
            if (alive && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                alive = on_readable(conn);
            }
            if (!alive) {
                drop(conn);
            }
        }
        play_due();
    }
}

static int usage_error(void)
{
    fputs("usage: bench_upstream PORT [--tls TLS_PORT CERTIFICATE KEY]\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    if (argc != 2 && !(argc == 6 && strcmp(argv[2], "--tls") == 0)) {
        return usage_error();
    }
    wire_raise_files();
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct listener listeners[2] = {open_listener(argv[1], NULL)};
    if (argc == 6) {
        listeners[1] = open_listener(argv[3], open_tls(argv[4], argv[5]));
    }
    run(listeners, argc == 6 ? 2 : 1);
    return 0;
}
