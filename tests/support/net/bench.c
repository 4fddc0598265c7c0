/* SPDX-License-Identifier: Apache-2.0 */
#include "net/bench.h"

#include "testing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_tick(struct ps_timer *timer)
{
    (void)timer;
}

void bench_init(struct bench *bench)
{
    bench->budget = (struct ps_budget){0};
    bench->busy = false;
    atomic_store(&bench->budget.limit, (size_t)256 << 20);
    assert_int_equal(ps_loop_init(&bench->loop, 0, &bench->budget), 0);
    ps_timer_init(&bench->tick, &bench->loop, on_tick);
}

void bench_deinit(struct bench *bench)
{
    ps_timer_cancel(&bench->tick);
    ps_loop_deinit(&bench->loop);
    assert_int_equal(atomic_load(&bench->budget.used), 0);
}

void bench_turn(struct bench *bench)
{
    if (bench->busy) {
        (void)ps_loop_turn(&bench->loop, false);
        return;
    }
    assert_int_equal(ps_timer_set(&bench->tick, 1000), 0);
    (void)ps_loop_turn(&bench->loop, true);
}

static void set_nonblocking(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    /* Small pieces leave as they are cut. */
    const int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    set_nonblocking(fd);
    return fd;
}

struct pair pair_open(bool is_unix)
{
    int fds[2];
    char error[200];

    if (is_unix) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        set_nonblocking(fds[0]);
        set_nonblocking(fds[1]);
        return (struct pair){.server = fds[0], .client = fds[1]};
    }
    int listening = ps_listen_tcp("127.0.0.1", 0, error, sizeof(error));
    assert_true(listening >= 0);
    int client = connect_to(ps_listen_port(listening));
    int server = accept(listening, NULL, NULL);
    assert_true(server >= 0);
    set_nonblocking(server);
    assert_int_equal(close(listening), 0);
    return (struct pair){.server = server, .client = client};
}

const struct ps_stream_options default_options = {.high_bytes = 262144, .low_bytes = 65536};

static void enter(struct recorder *recorder)
{
    assert_false(recorder->inside);
    assert_int_equal(recorder->closes, 0);
    recorder->inside = true;
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct recorder *recorder = arg;
    enter(recorder);
    assert_true(len > 0);
    assert_int_equal(recorder->eofs, 0);
    ps_buf_append(&recorder->received, ptr, len);
    if (recorder->on_data != NULL) {
        recorder->on_data(recorder, ptr, len);
    }
    recorder->inside = false;
}

static void on_eof(void *arg)
{
    struct recorder *recorder = arg;
    enter(recorder);
    recorder->eofs++;
    if (recorder->on_eof != NULL) {
        recorder->on_eof(recorder);
    }
    recorder->inside = false;
}

static void on_drain(void *arg)
{
    struct recorder *recorder = arg;
    enter(recorder);
    recorder->drains++;
    if (recorder->on_drain != NULL) {
        recorder->on_drain(recorder);
    }
    recorder->inside = false;
}

static void on_closed(void *arg, enum ps_stream_end end)
{
    struct recorder *recorder = arg;
    enter(recorder);
    recorder->closes++;
    recorder->end = end;
    recorder->stream = NULL;
    recorder->inside = false;
}

const struct ps_stream_ops recorder_ops = {
    .on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed};

void recorder_init(struct recorder *recorder, struct bench *bench)
{
    *recorder = (struct recorder){.bench = bench};
    ps_buf_init(&recorder->received, (size_t)128 << 20);
}

void recorder_deinit(struct recorder *recorder)
{
    assert_false(recorder->received.failed);
    ps_buf_deinit(&recorder->received);
}

void client_init(struct client *client, int fd)
{
    *client = (struct client){.fd = fd};
    ps_buf_init(&client->received, (size_t)128 << 20);
}

void client_deinit(struct client *client)
{
    if (client->fd >= 0) {
        assert_int_equal(close(client->fd), 0);
    }
    ps_buf_deinit(&client->received);
}

static void send_some(struct client *client)
{
    while (client->out_len > 0) {
        ssize_t sent = send(client->fd, client->out, client->out_len, MSG_NOSIGNAL);
        if (sent <= 0) {
            if (errno != EAGAIN) {
                client->send_error = errno;
                client->out_len = 0;
            }
            return;
        }
        client->out += sent;
        client->out_len -= (size_t)sent;
    }
}

void client_step(struct client *client)
{
    char bytes[65536];
    size_t most = client->read_max > 0 ? client->read_max : SIZE_MAX;

    if (client->fd < 0) {
        return;
    }
    send_some(client);
    while (!client->eof && client->error == 0 && most > 0) {
        ssize_t count = recv(client->fd, bytes, most < sizeof(bytes) ? most : sizeof(bytes), 0);
        if (count == 0) {
            client->eof = true;
        } else if (count > 0) {
            ps_buf_append(&client->received, bytes, (size_t)count);
            most -= (size_t)count;
        } else if (errno == EAGAIN) {
            return;
        } else {
            client->error = errno;
        }
    }
}

/* A period that is no power of two, so that no block or record size hides a shift. */
static char pattern_at(size_t place)
{
    return (char)((place % 251) ^ ((place / 251) % 241));
}

void fill_pattern(char *bytes, size_t len, size_t offset)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = pattern_at(offset + i);
    }
}

bool is_pattern(const char *bytes, size_t len, size_t offset)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != pattern_at(offset + i)) {
            return false;
        }
    }
    return true;
}
