/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/probe.h"
#include "testing.h"

#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* A name server that does not answer: whoever waits for it, the loop does not. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool answering;
static atomic_uint entered;
static atomic_uint left;

/* Stands in for libc's in this program, curl's resolver threads included. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    (void)node;
    (void)service;
    (void)hints;
    (void)ret;
    (void)atomic_fetch_add(&entered, 1);
    (void)pthread_mutex_lock(&lock);
    while (!answering) {
        (void)pthread_cond_wait(&changed, &lock);
    }
    (void)pthread_mutex_unlock(&lock);
    (void)atomic_fetch_add(&left, 1);
    return EAI_NONAME;
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

/* Were the loop to wait for the resolver, these would hang: it answers only after the bench is closed. */
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
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
