/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A peer that never completes the handshake: its backlog is full, so that SYNs are dropped.
 * curl 7.88 closes the socket of an attempt it gives up without telling; its poll handle must go
 * with it.
 */

#define FILL 8

struct blackhole {
    int listener;
    int port;
    int fillers[FILL];
};

static void blackhole_open(struct blackhole *hole)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    hole->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(hole->listener >= 0);
    assert_int_equal(bind(hole->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(hole->listener, 0), 0);
    assert_int_equal(getsockname(hole->listener, (struct sockaddr *)&address, &size), 0);
    hole->port = ntohs(address.sin_port);
    for (int i = 0; i < FILL; i++) {
        hole->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(hole->fillers[i] >= 0);
        (void)connect(hole->fillers[i], (struct sockaddr *)&address, sizeof(address));
    }
}

static void blackhole_close(struct blackhole *hole)
{
    for (int i = 0; i < FILL; i++) {
        (void)close(hole->fillers[i]);
    }
    (void)close(hole->listener);
}

static void open_towards(struct bench *bench, const struct blackhole *hole,
                         int64_t connect_timeout_us)
{
    struct ps_upstream_options options;
    char url[64];
    bench_options(&options, url, sizeof(url), hole->port);
    options.connect_timeout_us = connect_timeout_us;
    bench_open(bench, NULL, &options);
}

/* Descriptor numbers are reused at once: whoever still watches an old one is found out. */
static void reuse_descriptors(struct bench *bench)
{
    int pair[2];
    assert_int_equal(pipe(pair), 0);
    for (int i = 0; i < 5; i++) {
        (void)ps_loop_turn(&bench->loop, true);
    }
    (void)close(pair[0]);
    (void)close(pair[1]);
    for (int i = 0; i < 5; i++) {
        (void)ps_loop_turn(&bench->loop, true);
    }
}

static void cancelled_while_connecting(void **state)
{
    (void)state;
    struct blackhole hole;
    blackhole_open(&hole);
    for (int turns = 0; turns < 6; turns++) {
        struct bench bench;
        struct probe probe;
        open_towards(&bench, &hole, 20000000);
        probe_init(&probe, &bench);
        probe_start(&probe, NULL);
        for (int i = 0; i < turns; i++) {
            (void)ps_loop_turn(&bench.loop, true);
        }
        assert_int_equal(probe.ends, 0);
        ps_call_cancel(probe.call);
        reuse_descriptors(&bench);
        assert_int_equal(probe.ends, 0);
        bench_close(&bench);
    }
    blackhole_close(&hole);
}

static void out_of_time_while_connecting(void **state)
{
    (void)state;
    struct blackhole hole;
    struct bench bench;
    struct probe probe;
    blackhole_open(&hole);
    open_towards(&bench, &hole, 60000);
    probe_init(&probe, &bench);
    probe_start(&probe, NULL);
    bench_until(&bench, probe.ends > 0);
    assert_int_equal(probe.end, PS_CALL_CONNECT);
    reuse_descriptors(&bench);
    bench_close(&bench);
    blackhole_close(&hole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_while_connecting),
        cmocka_unit_test(out_of_time_while_connecting),
    };
    if (ps_upstream_global_init() != 0) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ps_upstream_global_deinit();
    return failed;
}
