/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/api/server.h"
#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/net/listener.h"
#include "penstock/upstream/upstream.h"

#include <uv.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server on a real socket with no upstream behind it: connections that leave at every moment,
 * drain, and every allocation failing once. */

struct world {
    struct ps_metrics *metrics;
    struct ps_gateway gateway;
    struct ps_loop loop;
    struct ps_gateway_loop gl;
    struct ps_server_shared shared;
    struct ps_server *server;
    int fd;
    uint16_t port;
    bool drained;
    uv_timer_t tick;
};

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* only bounds how long a turn sleeps */
}

static void on_drained(void *arg)
{
    ((struct world *)arg)->drained = true;
}

static void world_open(struct world *w)
{
    static const char yaml[] =
        "providers: { nobody: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\", "
        "list_models: false } }\n"
        "default_model: nobody/m\n"
        "auth: none\n"
        "limits: { body_bytes: 65536 }\n";
    char error[256];
    struct ps_config_errors errors;
    memset(w, 0, sizeof(*w));
    w->metrics = ps_metrics_new();
    assert_non_null(w->metrics);
    assert_int_equal(ps_gateway_init(&w->gateway, w->metrics), 0);
    assert_int_equal(ps_loop_init(&w->loop, 0, &w->gateway.budget), 0);
    ps_config_errors_init(&errors);
    struct ps_config *config = ps_config_parse("test", PS_SLICE_LIT(yaml), NULL, NULL, 0, &errors);
    if (config == NULL) {
        fail_msg("%.*s", (int)errors.text.len, errors.text.ptr);
    }
    ps_config_errors_deinit(&errors);
    struct ps_snapshot *snapshot = ps_snapshot_new(&w->gateway, config, error, sizeof(error));
    assert_non_null(snapshot);
    assert_int_equal(ps_gateway_loop_init(&w->gl, &w->gateway, &w->loop,
                                          ps_metrics_shard_new(w->metrics), snapshot),
                     0);
    w->server = ps_server_new(&w->gl, &w->shared);
    assert_non_null(w->server);
    w->fd = ps_listen_tcp("127.0.0.1", 0, error, sizeof(error));
    assert_true(w->fd >= 0);
    w->port = ps_listen_port(w->fd);
    assert_int_equal(ps_server_listen(w->server, w->fd, &config->listeners[0], NULL), 0);
    ps_snapshot_unref(snapshot);
    ps_config_unref(config);
    assert_int_equal(uv_timer_init(&w->loop.uv, &w->tick), 0);
    assert_int_equal(uv_timer_start(&w->tick, on_tick, 2, 2), 0);
}

static void drain(struct world *w)
{
    int64_t deadline = ps_clock_us() + 20000000;
    ps_server_drain(w->server, on_drained, w);
    while (!w->drained) {
        (void)ps_loop_turn(&w->loop, true);
        assert_true(ps_clock_us() < deadline);
    }
}

static void world_close(struct world *w)
{
    if (!w->drained) {
        ps_server_abort(w->server);
        drain(w);
    }
    assert_int_equal(atomic_load(&w->shared.connections), 0);
    ps_server_free(w->server);
    uv_close((uv_handle_t *)&w->tick, NULL);
    ps_gateway_loop_deinit(&w->gl);
    ps_loop_deinit(&w->loop);
    assert_int_equal(atomic_load(&w->gateway.budget.used), 0);
    ps_gateway_deinit(&w->gateway);
    ps_metrics_free(w->metrics);
    assert_int_equal(close(w->fd), 0);
}

static int connect_to(const struct world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* Turns the loop until `until` has come, or the connection has ended; what came stands in `ret`. */
static bool receive(struct world *w, int fd, const char *until, char *ret, size_t size)
{
    size_t len = 0;
    int64_t deadline = ps_clock_us() + 20000000;
    for (;;) {
        (void)ps_loop_turn(&w->loop, true);
        ssize_t got = recv(fd, ret + len, size - 1 - len, 0);
        if (got > 0) {
            len += (size_t)got;
            ret[len] = '\0';
            if (until != NULL && strstr(ret, until) != NULL) {
                return true;
            }
        } else if (got == 0 || errno != EAGAIN) {
            ret[len] = '\0';
            return false;
        }
        assert_true(ps_clock_us() < deadline);
    }
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

#define HOST "Host: 127.0.0.1\r\n"

static const char *const requests[] = {
    "GET /health/live HTTP/1.1\r\n" HOST "\r\n",
    "GET /nothing HTTP/1.1\r\n" HOST "\r\n",
    "POST /generate HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nwhy",
    "POST /v1/chat/completions HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n{bad}",
    "GET /v1/models HTTP/1.1\r\n" HOST "\r\n",
    "OPTIONS /generate HTTP/1.1\r\n" HOST "\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "POST /generate HTTP/1.1\r\n" HOST "Content-Length: 70000\r\n\r\n",
    "GET /metrics HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
};
static const char *const statuses[] = {"200", "404", "502", "400", "200",
                                       "204", "400", "413", "200"};
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

static void each_request_gets_its_status(void **state)
{
    (void)state;
    struct world w;
    world_open(&w);
    for (size_t i = 0; i < REQUESTS; i++) {
        char text[65536];
        char expected[32];
        int fd = connect_to(&w);
        send_text(fd, requests[i]);
        assert_true(receive(&w, fd, "\r\n\r\n", text, sizeof(text)));
        (void)snprintf(expected, sizeof(expected), "HTTP/1.1 %s ", statuses[i]);
        if (strncmp(text, expected, strlen(expected)) != 0) {
            fail_msg("request %zu: %s", i, text);
        }
        (void)close(fd);
    }
    world_close(&w);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct world w;
    char text[65536];
    world_open(&w);
    int fd = connect_to(&w);
    send_text(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n"
                  "POST /generate HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nwhy"
                  "GET /none HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    assert_false(receive(&w, fd, NULL, text, sizeof(text)));
    const char *first = strstr(text, "HTTP/1.1 200");
    const char *second = strstr(text, "HTTP/1.1 502");
    const char *third = strstr(text, "HTTP/1.1 404");
    assert_true(first != NULL && second > first && third > second);
    (void)close(fd);
    world_close(&w);
}

static void a_client_may_leave_after_any_number_of_turns(void **state)
{
    (void)state;
    for (size_t i = 0; i < REQUESTS; i++) {
        for (int turns = 0; turns < 8; turns++) {
            struct world w;
            world_open(&w);
            int fd = connect_to(&w);
            send_text(fd, requests[i]);
            for (int k = 0; k < turns; k++) {
                (void)ps_loop_turn(&w.loop, true);
            }
            if (turns % 2 == 0) {
                struct linger reset = {1, 0};
                (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            }
            (void)close(fd);
            if (turns % 3 == 0) {
                drain(&w);
            }
            world_close(&w);
        }
    }
}

static void a_cut_request_line_by_line_is_still_one(void **state)
{
    (void)state;
    struct world w;
    char text[4096];
    world_open(&w);
    int fd = connect_to(&w);
    for (const char *c = requests[2]; *c != '\0'; c++) {
        char one[2] = {*c, '\0'};
        send_text(fd, one);
        (void)ps_loop_turn(&w.loop, false);
    }
    assert_true(receive(&w, fd, "upstream_connection_failed", text, sizeof(text)));
    (void)close(fd);
    world_close(&w);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < REQUESTS; i++) {
        bool failed = true;
        for (int64_t n = 0; failed && n < 400; n++) {
            struct world w;
            char text[65536];
            world_open(&w);
            int fd = connect_to(&w);
            send_text(fd, requests[i]);
            (void)ps_mem_fail_after(n);
            bool answered = receive(&w, fd, "\r\n\r\n", text, sizeof(text));
            failed = ps_mem_fail_after(-1) > n;
            assert_true(answered || failed);
            (void)close(fd);
            world_close(&w);
        }
        assert_false(failed);
    }
}

static int set_up(void **state)
{
    (void)state;
    ps_log_configure(PS_LOG_ERROR, PS_LOG_JSON);
    return ps_upstream_global_init() == 0 && ps_dialect_global_init() == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ps_dialect_global_deinit();
    ps_upstream_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_request_gets_its_status),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_client_may_leave_after_any_number_of_turns),
        cmocka_unit_test(a_cut_request_line_by_line_is_still_one),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
