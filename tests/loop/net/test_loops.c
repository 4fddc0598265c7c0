/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "net/bench.h"
#include "net/certs.h"
#include "net/tls_client.h"
#include "testing.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Several loops, each on its thread, share what the process shares: listening descriptor,
 * certificates. The asserts of cmocka are for its own thread, so the others count and are judged at
 * the end.
 */

#define THREADS     3
#define CONNECTIONS 60

static struct ps_tls_server *server_tls;
static int listening;

struct worker {
    struct bench bench;
    struct ps_listener *listener;
    struct recorder recorders[THREADS * CONNECTIONS];
    size_t accepted;
    size_t served;
    pthread_t thread;
};

static void write_back(struct recorder *recorder, const char *ptr, size_t len)
{
    if (ps_stream_write(recorder->stream, ptr, len) != 0) {
        abort();
    }
    ps_stream_close(recorder->stream);
}

static void on_accept(void *arg, int fd)
{
    struct worker *worker = arg;
    struct recorder *recorder = &worker->recorders[worker->accepted++];
    recorder_init(recorder, &worker->bench);
    recorder->on_data = write_back;
    recorder->stream = ps_stream_new(&worker->bench.loop, fd, false, server_tls, &default_options,
                                     &recorder_ops, recorder);
    if (recorder->stream == NULL) {
        abort();
    }
    ps_stream_read(recorder->stream, true);
}

/* One connection after another, served by whichever loop takes it. */
static bool ask(struct worker *worker)
{
    static const struct tls_wants no_wishes = {0};
    struct tls_client client;
    int64_t end = ps_clock_us() + BENCH_WAIT_US;
    tls_client_init(&client, connect_to(ps_listen_port(listening)), &no_wishes);
    client.out = "hello";
    client.out_len = 5;
    while (!client.notified && client.error == 0 && ps_clock_us() < end) {
        tls_client_step(&client);
        bench_turn(&worker->bench);
    }
    bool served = client.notified && client.received.len == 5;
    tls_client_deinit(&client);
    return served;
}

static atomic_uint asking = THREADS;

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        worker->served += ask(worker) ? 1 : 0;
    }
    (void)atomic_fetch_sub(&asking, 1);
    while (atomic_load(&asking) > 0) {
        bench_turn(&worker->bench); /* others may still be served here */
    }
    ps_listener_close(worker->listener);
    for (size_t i = 0; i < worker->accepted; i++) {
        if (worker->recorders[i].stream != NULL) {
            ps_stream_abort(worker->recorders[i].stream);
        }
    }
    ps_timer_cancel(&worker->bench.tick);
    ps_loop_deinit(&worker->bench.loop);
    return NULL;
}

static void loops_share_certificates_and_listener(void **state)
{
    struct worker *workers = calloc(THREADS, sizeof(*workers));
    size_t accepted = 0;
    (void)state;
    assert_non_null(workers);
    for (size_t i = 0; i < THREADS; i++) {
        bench_init(&workers[i].bench);
        workers[i].listener =
            ps_listener_new(&workers[i].bench.loop, listening, on_accept, &workers[i]);
        assert_non_null(workers[i].listener);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].served, CONNECTIONS);
        assert_int_equal(atomic_load(&workers[i].bench.budget.used), 0);
        accepted += workers[i].accepted;
        for (size_t k = 0; k < workers[i].accepted; k++) {
            assert_int_equal(workers[i].recorders[k].closes, 1);
            recorder_deinit(&workers[i].recorders[k]);
        }
    }
    assert_int_equal(accepted, THREADS * CONNECTIONS);
    free(workers);
}

static int set_up(void **state)
{
    char error[300];
    (void)state;
    struct cert cert = cert_make("loops.example", NULL, NULL);
    const struct ps_tls_certificate list[] = {{cert.certificate, cert.key}};
    server_tls = ps_tls_server_new(list, 1, error, sizeof(error));
    listening = ps_listen_tcp("127.0.0.1", 0, error, sizeof(error));
    return server_tls != NULL && listening >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ps_tls_server_unref(server_tls);
    return close(listening);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_share_certificates_and_listener),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
