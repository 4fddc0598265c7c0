/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Before a connection stands: names that are slow, addresses that do not answer. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool answering;
static unsigned address_count; /* 127.0.0.1, 127.0.0.2, … */
static atomic_uint entered;
static atomic_uint left;

/* Stands in for libc's in this program, curl's resolver threads included. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    (void)node;
    (void)hints;
    (void)atomic_fetch_add(&entered, 1);
    (void)pthread_mutex_lock(&lock);
    while (!answering) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    (void)pthread_mutex_unlock(&lock);
    (void)atomic_fetch_add(&left, 1);
    if (address_count == 0) {
        return EAI_NONAME;
    }
    *ret = NULL;
    for (unsigned i = address_count; i > 0; i--) {
        struct addrinfo *info = calloc(1, sizeof(*info) + sizeof(struct sockaddr_in));
        struct sockaddr_in *address = (void *)(info + 1);
        address->sin_family = AF_INET;
        address->sin_port = htons((uint16_t)strtoul(service, NULL, 10));
        address->sin_addr.s_addr = htonl((INADDR_LOOPBACK & ~0xffU) | i);
        info->ai_family = AF_INET;
        info->ai_socktype = SOCK_STREAM;
        info->ai_protocol = IPPROTO_TCP;
        info->ai_addrlen = sizeof(*address);
        info->ai_addr = (void *)address;
        info->ai_next = *ret;
        *ret = info;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info);
        info = next;
    }
}

static void set_answering(bool now)
{
    (void)pthread_mutex_lock(&lock);
    answering = now;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void open_named(struct bench *bench, int64_t connect_timeout_us)
{
    struct ps_upstream_options options;
    char url[64];

    bench_options(&options, url, sizeof(url), 1);
    (void)snprintf(url, sizeof(url), "http://slow.example:1/v1");
    options.connect_timeout_us = connect_timeout_us;
    bench_open(bench, NULL, &options);
}

/* Were the loop to wait for the resolver, these would hang: it answers only after the bench is
 * closed. */
static void check_unanswered(const char *how)
{
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;

    set_answering(false);
    atomic_store(&entered, 0);
    atomic_store(&left, 0);
    open_named(&bench, how[0] == 'c' ? 30000 : 20000000);
    probe_request(&request);
    request.total_timeout_us = how[0] == 't' ? 30000 : 0;
    probe_init(&probe, &bench);
    probe_start(&probe, &request);
    bench_until(&bench, atomic_load(&entered) == 1);
    if (how[0] == 'x') {
        ps_call_cancel(probe.call);
        for (int turn = 0; turn < 10; turn++) {
            (void)ps_loop_turn(&bench.loop, true);
        }
        assert_int_equal(probe.ends, 0);
    } else if (how[0] != 'b') {
        bench_until(&bench, probe.ends == 1);
        assert_int_equal(probe.end, how[0] == 'c' ? PS_CALL_CONNECT : PS_CALL_TOTAL_TIMEOUT);
    }
    bench_close(&bench);
    assert_int_equal(atomic_load(&left), 0);
    set_answering(true);
    while (atomic_load(&left) != atomic_load(&entered)) {
        (void)sched_yield();
    }
}

static void test_nobody_waits(void **state)
{
    (void)state;
    check_unanswered("x: cancelled");
    check_unanswered("connect timeout");
    check_unanswered("total timeout");
    check_unanswered("bench closed");
}

static void test_no_such_name(void **state)
{
    struct bench bench;
    struct probe probe;

    (void)state;
    set_answering(true);
    open_named(&bench, 20000000);
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_RESOLVE);
    assert_int_equal(probe.sent, 0);
    bench_close(&bench);
}

/* A port of 127.0.0.1 where connecting never comes to an end: its queue is full. */
struct full {
    int listener;
    int clients[3];
};

static void open_full(struct full *full, int port, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof(address);
    int on = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    full->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(full->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(full->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(full->listener, 0), 0);
    assert_int_equal(getsockname(full->listener, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    for (size_t i = 0; i < 3; i++) {
        full->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(full->clients[i], (struct sockaddr *)&address, sizeof(address));
    }
}

static void close_full(struct full *full)
{
    for (size_t i = 0; i < 3; i++) {
        (void)close(full->clients[i]);
    }
    (void)close(full->listener);
}

static unsigned stranger_heard;

static void on_stranger(uv_poll_t *poll, int status, int events)
{
    char byte;
    int fd;

    assert_int_equal(status, 0);
    assert_true((events & UV_READABLE) != 0);
    assert_int_equal(uv_fileno((uv_handle_t *)poll, &fd), 0);
    assert_int_equal(read(fd, &byte, 1), 1);
    stranger_heard++;
}

static void hear_stranger(struct bench *bench, int other_end)
{
    unsigned before = stranger_heard;
    assert_int_equal(write(other_end, "x", 1), 1);
    bench_until(bench, stranger_heard == before + 1);
}

static void open_literal(struct bench *bench, int port, int64_t connect_timeout_us)
{
    struct ps_upstream_options options;
    char url[64];

    bench_options(&options, url, sizeof(url), port);
    options.connect_timeout_us = connect_timeout_us;
    bench_open(bench, NULL, &options);
}

/*
 * curl closes a socket that is still connecting without a word. Whoever gets its number next must
 * not suffer: neither now, nor when the call or the upstream is cleared away.
 */
static void check_connecting(const char *how)
{
    struct full full;
    struct bench bench;
    struct probe probe;
    struct ps_call_request request;
    struct ps_upstream_stats stats;
    uv_poll_t strangers[4];
    int ends[4][2];
    int port = 0;

    open_full(&full, 0, &port);
    open_literal(&bench, port, how[0] == 'c' ? 50000 : 20000000);
    probe_request(&request);
    request.total_timeout_us = how[0] == 't' ? 50000 : 0;
    probe_init(&probe, &bench);
    probe_start(&probe, &request);
    for (int turn = 0; turn < 5; turn++) {
        (void)ps_loop_turn(&bench.loop, true);
    }
    assert_int_equal(probe.ends, 0);
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.connections, 1);
    if (how[0] == 'x') {
        ps_call_cancel(probe.call);
        for (int turn = 0; turn < 3; turn++) {
            (void)ps_loop_turn(&bench.loop, true);
        }
    } else {
        bench_until(&bench, probe.ends == 1);
        assert_int_equal(probe.end, how[0] == 'c' ? PS_CALL_CONNECT : PS_CALL_TOTAL_TIMEOUT);
    }
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.connections, 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends[i]), 0);
        assert_int_equal(uv_poll_init(&bench.loop.uv, &strangers[i], ends[i][0]), 0);
        assert_int_equal(uv_poll_start(&strangers[i], UV_READABLE, on_stranger), 0);
        hear_stranger(&bench, ends[i][1]);
    }
    ps_upstream_close(bench.upstream);
    bench.upstream = NULL;
    for (int turn = 0; turn < 5; turn++) {
        (void)ps_loop_turn(&bench.loop, true);
    }
    for (size_t i = 0; i < 4; i++) {
        hear_stranger(&bench, ends[i][1]);
        uv_close((uv_handle_t *)&strangers[i], NULL);
    }
    bench_close(&bench);
    for (size_t i = 0; i < 4; i++) {
        (void)close(ends[i][0]);
        (void)close(ends[i][1]);
    }
    close_full(&full);
}

static void test_given_up_while_connecting(void **state)
{
    (void)state;
    check_connecting("x: cancelled");
    check_connecting("connect timeout");
    check_connecting("total timeout");
}

static const struct fake_step *always_ok(void *arg, enum fake_moment moment, unsigned connection,
                                         unsigned request, const char *head)
{
    static const struct fake_step ok[] = {
        {FAKE_SEND, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0}, {FAKE_END, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? ok : NULL;
}

/* The first address takes no connection; the attempt for the second gets the same descriptor
 * number. */
static void test_second_address(void **state)
{
    struct fake_http *server = fake_http_start_on(always_ok, NULL, 2);
    struct ps_upstream_options options;
    struct ps_upstream_stats stats;
    struct full full;
    struct bench bench;
    struct probe probe;
    char url[64];
    int port = fake_http_port(server);

    (void)state;
    set_answering(true);
    address_count = 2;
    open_full(&full, port, &port);
    bench_options(&options, url, sizeof(url), 1);
    (void)snprintf(url, sizeof(url), "http://two.example:%d", port);
    options.connect_timeout_us = 2000000;
    bench_open(&bench, server, &options);
    for (int i = 0; i < 2; i++) {
        probe_run(&probe, &bench, NULL);
        if (probe.end != PS_CALL_DONE) {
            fail_msg("%s: %s", ps_call_end_name(probe.end), probe.detail);
        }
        assert_string_equal(probe.body, "ok");
        assert_int_equal(probe.timing.reused, i);
    }
    ps_upstream_shared_stats(bench.shared, &stats);
    assert_int_equal(stats.connections, 1);
    address_count = 0;
    bench_close(&bench);
    close_full(&full);
    fake_http_stop(server);
}

/*
 * The first address is being connected to, then refuses. curl closes that socket and opens the next
 * one under the same number within one call, and takes it for one that is watched already.
 */
static void test_second_address_after_refusal(void **state)
{
    struct fake_http *server = fake_http_start_on(always_ok, NULL, 2);
    struct ps_upstream_options options;
    struct ps_upstream_stats stats = {0};
    struct full full;
    struct bench bench;
    struct probe probe;
    char url[64];
    int port = fake_http_port(server);

    (void)state;
    set_answering(true);
    address_count = 2;
    open_full(&full, port, &port);
    bench_options(&options, url, sizeof(url), 1);
    (void)snprintf(url, sizeof(url), "http://two.example:%d", port);
    options.connect_timeout_us = 25000000;
    bench_open(&bench, server, &options);
    probe_init(&probe, &bench);
    probe_start(&probe, NULL);
    while (stats.connections == 0) {
        (void)ps_loop_turn(&bench.loop, true);
        ps_upstream_shared_stats(bench.shared, &stats);
    }
    (void)ps_loop_turn(&bench.loop, true);
    close_full(&full); /* the next SYN, a second after the first, is answered with a reset */
    int64_t start_us = bench_now();
    bench_until(&bench, probe.ends == 1);
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_true(bench_now() - start_us < 10000000);
    address_count = 0;
    bench_close(&bench);
    fake_http_stop(server);
}

static int setup(void **state)
{
    (void)state;
    return ps_upstream_global_init();
}

static int teardown(void **state)
{
    (void)state;
    ps_upstream_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_waits),
        cmocka_unit_test(test_no_such_name),
        cmocka_unit_test(test_given_up_while_connecting),
        cmocka_unit_test(test_second_address),
        cmocka_unit_test(test_second_address_after_refusal),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
