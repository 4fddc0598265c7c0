/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * An upstream that connects to public addresses only. Names lead where a test says; the way to the
 * one public address that is used, 8.8.8.8, leads to the server of the test.
 */

static const char *const *answers; /* what every name resolves to, NULL-terminated */
static atomic_uint lookups;
static int server_port;
static atomic_uint redirected;

static void add_answer(struct addrinfo **list, const char *text, int port)
{
    struct addrinfo *info = calloc(1, sizeof(*info) + sizeof(struct sockaddr_in6));
    struct sockaddr_in *v4 = (void *)(info + 1);
    struct sockaddr_in6 *v6 = (void *)(info + 1);
    bool six = strchr(text, ':') != NULL;

    if (six) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
    } else {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        assert_int_equal(inet_pton(AF_INET, text, &v4->sin_addr), 1);
    }
    info->ai_family = six ? AF_INET6 : AF_INET;
    info->ai_socktype = SOCK_STREAM;
    info->ai_protocol = IPPROTO_TCP;
    info->ai_addrlen = six ? sizeof(*v6) : sizeof(*v4);
    info->ai_addr = (void *)(info + 1);
    while (*list != NULL) {
        list = &(*list)->ai_next;
    }
    *list = info;
}

/* Stands in for libc's in this program, curl's resolver threads included. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    (void)node;
    (void)hints;
    (void)atomic_fetch_add(&lookups, 1);
    *ret = NULL;
    for (size_t i = 0; answers[i] != NULL; i++) {
        add_answer(ret, answers[i], (int)strtoul(service, NULL, 10));
    }
    return *ret != NULL ? 0 : EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;
        free(info);
        info = next;
    }
}

/* As glibc declares it for _GNU_SOURCE: the address is a union of pointers. */
int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t len)
{
    const struct sockaddr *address = to.__sockaddr__;
    struct sockaddr_in v4 = {.sin_family = AF_UNSPEC};

    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        if (v4.sin_addr.s_addr == htonl(0x08080808)) {
            (void)atomic_fetch_add(&redirected, 1);
            v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            v4.sin_port = htons((uint16_t)server_port);
            address = (const struct sockaddr *)&v4;
            len = sizeof(v4);
        }
    }
    return (int)syscall(SYS_connect, fd, address, len);
}

static const struct fake_step *script(void *arg, enum fake_moment moment, unsigned connection,
                                      unsigned request, const char *head)
{
    static const struct fake_step answer[] = {
        {FAKE_SEND, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 0},
        {FAKE_END, NULL, 0},
    };
    (void)arg;
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? answer : NULL;
}

/* A call to that host, whose name (if it is one) resolves to `to`. Returns how many connections the
 * server has seen. */
static unsigned call_host(const char *host, const char *const *to, bool public_only,
                          struct probe *ret)
{
    struct fake_http *server = fake_http_start(script, NULL);
    struct ps_upstream_options options;
    struct bench bench;
    char url[128];

    answers = to;
    server_port = fake_http_port(server);
    bench_options(&options, url, sizeof(url), server_port);
    (void)snprintf(url, sizeof(url), "http://%s:%d", host, server_port);
    options.public_only = public_only;
    bench_open(&bench, server, &options);
    probe_run(ret, &bench, NULL);
    unsigned accepted = fake_http_accepted(server);
    bench_close(&bench);
    return accepted;
}

static void refused(const char *host, const char *const *to)
{
    struct probe probe;

    assert_int_equal(call_host(host, to, true, &probe), 0);
    assert_int_equal(probe.end, PS_CALL_CONNECT);
    assert_string_equal(probe.detail, "the address is not a public one");
}

static void names_that_lead_inside(void **state)
{
    static const char *const cases[][3] = {
        {"127.0.0.1"}, {"10.1.2.3"},         {"169.254.169.254"}, {"0.0.0.0"},
        {"::1"},       {"::ffff:127.0.0.1"}, {"fe80::1"},         {"127.0.0.1", "::1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        refused("rebind.example", cases[i]);
    }
}

static void addresses_in_the_url(void **state)
{
    static const char *const hosts[] = {"127.0.0.1",  "[::1]",     "[::ffff:127.0.0.1]",
                                        "0x7f000001", "127.1",     "2130706433",
                                        "0",          "0177.0.0.1"};
    static const char *const to[] = {"127.0.0.1", NULL};
    (void)state;
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        refused(hosts[i], to);
    }
}

static void public_ones_are_reached(void **state)
{
    static const char *const alone[] = {"8.8.8.8", NULL};
    static const char *const second[] = {"127.0.0.1", "8.8.8.8", NULL};
    static const char *const *const both[] = {alone, second};
    struct probe probe;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        atomic_store(&redirected, 0);
        assert_int_equal(call_host("public.example", both[i], true, &probe), 1);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_int_equal(probe.status, 200);
        assert_int_equal(atomic_load(&redirected), 1);
    }
}

static void others_may_lead_anywhere(void **state)
{
    static const char *const to[] = {"127.0.0.1", NULL};
    struct probe probe;

    (void)state;
    assert_int_equal(call_host("inside.example", to, false, &probe), 1);
    assert_int_equal(probe.end, PS_CALL_DONE);
}

static void not_together_with_a_proxy(void **state)
{
    struct ps_upstream_options options;
    char url[64];
    char error[160];

    (void)state;
    bench_options(&options, url, sizeof(url), 1);
    options.public_only = true;
    options.proxy = "http://127.0.0.1:3128";
    assert_null(ps_upstream_shared_new(&options, error, sizeof(error)));
    assert_non_null(strstr(error, "proxy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_lead_inside),    cmocka_unit_test(addresses_in_the_url),
        cmocka_unit_test(public_ones_are_reached),   cmocka_unit_test(others_may_lead_anywhere),
        cmocka_unit_test(not_together_with_a_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
