/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What one outbound call costs: small POSTs against a fake upstream.
 *
 *     bench_upstream_calls [calls [concurrency]]
 *     valgrind --tool=callgrind --toggle-collect=on_turns bench_upstream_calls 2000 1
 *     strace -c -f bench_upstream_calls 20000 8
 *
 * The fake upstream is a child process, so that counters of this one are of the caller alone.
 */
#include "penstock/base/clock.h"
#include "penstock/net/loop.h"
#include "penstock/upstream/upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CONCURRENCY 1024

static struct {
    struct ps_upstream *upstream;
    unsigned started;
    unsigned ended;
    unsigned failed;
    unsigned calls;
} run;

static char body[1024];

/* Every request of this bench arrives in one piece, so an answer per read is all there is to it. */
static void serve(int listener)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: 200\r\n\r\n";
    char answer[sizeof(head) - 1 + 200];
    char sink[8192];
    struct epoll_event events[64];
    int epoll = epoll_create1(0);

    memcpy(answer, head, sizeof(head) - 1);
    memset(answer + sizeof(head) - 1, 'x', 200);
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = listener}};
    (void)epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int on = 1;
                fd = accept(listener, NULL, NULL);
                (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                event = (struct epoll_event){.events = EPOLLIN, .data = {.fd = fd}};
                (void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            ssize_t got = recv(fd, sink, sizeof(sink), 0);
            if (got <= 0) {
                (void)close(fd);
            } else {
                (void)send(fd, answer, sizeof(answer), MSG_NOSIGNAL);
            }
        }
    }
}

static void start_call(void);

static void on_head(void *arg, const struct ps_call_head *head)
{
    (void)arg;
    run.failed += head->status == 200 ? 0 : 1;
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    (void)arg;
    (void)ptr;
    (void)len;
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    (void)arg;
    (void)detail;
    run.failed += end == PS_CALL_DONE ? 0 : 1;
    run.ended++;
    if (run.started < run.calls) {
        start_call();
    }
}

static const struct ps_call_ops ops = {NULL, on_head, on_data, on_end};

static void start_call(void)
{
    static const struct ps_call_header headers[] = {
        {{"content-type", 12}, {"application/json", 16}},
        {{"authorization", 13}, {"Bearer sk-0123456789012345678901234567890123456789", 50}},
        {{"accept", 6}, {"application/json", 16}},
    };
    const struct ps_slice part = {body, sizeof(body)};
    const struct ps_call_request request = {
        .method = "POST",
        .path = {"/chat/completions", 17},
        .headers = headers,
        .header_count = 3,
        .body = &part,
        .body_count = 1,
        .has_body = true,
        .first_byte_timeout_us = 60000000,
        .idle_timeout_us = 60000000,
        .total_timeout_us = 600000000,
    };
    run.started++;
    if (ps_call_start(run.upstream, &request, &ops, NULL) == NULL) {
        abort();
    }
}

/* Its own function, for --toggle-collect. */
__attribute__((noinline)) static void on_turns(struct ps_loop *loop)
{
    while (run.ended < run.calls) {
        (void)ps_loop_turn(loop, true);
    }
}

static int listen_here(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listener, 1024) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0) {
        abort();
    }
    *ret_port = ntohs(address.sin_port);
    return listener;
}

static void measure(struct ps_loop *loop, unsigned calls, unsigned concurrency)
{
    run.started = 0;
    run.ended = 0;
    run.calls = calls;
    int64_t cpu_us = ps_clock_thread_cpu_us();
    int64_t start_us = ps_clock_us();
    for (unsigned i = 0; i < concurrency && i < calls; i++) {
        start_call();
    }
    on_turns(loop);
    cpu_us = ps_clock_thread_cpu_us() - cpu_us;
    (void)printf("%u calls, %u at once: %.2f us CPU and %.2f us of time per call, %u failed\n",
                 calls, concurrency, (double)cpu_us / calls,
                 (double)(ps_clock_us() - start_us) / calls, run.failed);
}

int main(int argc, char **argv)
{
    unsigned calls = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20000;
    unsigned concurrency = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    struct ps_budget budget;
    struct ps_loop loop;
    char url[64];
    char error[256];
    int port;
    int listener = listen_here(&port);

    pid_t child = fork();
    if (child == 0) {
        serve(listener);
    }
    (void)close(listener);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/v1", port);
    memset(body, 'b', sizeof(body));
    atomic_init(&budget.used, 0);
    atomic_init(&budget.limit, SIZE_MAX);
    struct ps_upstream_options options = {
        .base_url = url, .max_connections = MAX_CONCURRENCY, .max_queue = MAX_CONCURRENCY};
    if (calls == 0 || concurrency > MAX_CONCURRENCY || ps_upstream_global_init() != 0 ||
        ps_loop_init(&loop, 0, &budget) != 0) {
        return 1;
    }
    struct ps_upstream_shared *shared = ps_upstream_shared_new(&options, error, sizeof(error));
    run.upstream = shared != NULL ? ps_upstream_new(&loop, shared) : NULL;
    if (run.upstream == NULL) {
        return 1;
    }
    if (concurrency > 0) {
        measure(&loop, calls, concurrency);
    } else {
        measure(&loop, calls, 1);
        measure(&loop, calls, 8);
        measure(&loop, calls, 64);
        measure(&loop, calls, 512);
    }
    ps_upstream_close(run.upstream);
    ps_loop_deinit(&loop);
    ps_upstream_shared_unref(shared);
    ps_upstream_global_deinit();
    (void)kill(child, SIGTERM);
    (void)waitpid(child, NULL, 0);
    return run.failed == 0 ? 0 : 1;
}
