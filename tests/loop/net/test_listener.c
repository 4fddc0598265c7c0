/* SPDX-License-Identifier: Apache-2.0 */
#include "net/bench.h"
#include "testing.h"

#include "penstock/base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_FDS 256

struct gate {
    struct bench bench;
    struct ps_listener *listener;
    int fds[MAX_FDS];
    size_t count;
    size_t this_turn;
    size_t close_at; /* the listener is closed in this accept; 0: never */
    size_t pause_at;
};

static void on_accept(void *arg, int fd)
{
    struct gate *gate = arg;
    assert_true(gate->count < MAX_FDS);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    gate->fds[gate->count++] = fd;
    gate->this_turn++;
    if (gate->count == gate->close_at) {
        ps_listener_close(gate->listener);
        ps_listener_close(gate->listener);
    }
    if (gate->count == gate->pause_at) {
        ps_listener_pause(gate->listener, true);
    }
}

static void gate_open(struct gate *gate, int fd)
{
    *gate = (struct gate){.count = 0};
    bench_init(&gate->bench);
    gate->listener = ps_listener_new(&gate->bench.loop, fd, on_accept, gate);
    assert_non_null(gate->listener);
}

static void gate_close(struct gate *gate)
{
    if (gate->close_at == 0) {
        ps_listener_close(gate->listener);
    }
    bench_deinit(&gate->bench);
    for (size_t i = 0; i < gate->count; i++) {
        close(gate->fds[i]);
    }
}

static int listen_any(void)
{
    char error[200];
    int fd = ps_listen_tcp("127.0.0.1", 0, error, sizeof(error));
    assert_true(fd >= 0);
    return fd;
}

static void accepts_at_most_sixteen_a_turn(void **state)
{
    struct gate gate;
    int clients[50];
    int fd = listen_any();
    (void)state;
    gate_open(&gate, fd);
    for (size_t i = 0; i < 50; i++) {
        clients[i] = connect_to(ps_listen_port(fd));
    }
    while (gate.count < 50) {
        gate.this_turn = 0;
        bench_turn(&gate.bench);
        assert_true(gate.this_turn <= 16);
    }
    gate_close(&gate);
    for (size_t i = 0; i < 50; i++) {
        close(clients[i]);
    }
    close(fd);
}

static void pause_holds_connections_back(void **state)
{
    struct gate gate;
    int fd = listen_any();
    int clients[5];
    (void)state;
    gate_open(&gate, fd);
    gate.pause_at = 2; /* inside the callback */
    for (size_t i = 0; i < 5; i++) {
        clients[i] = connect_to(ps_listen_port(fd));
    }
    WAIT_FOR(&gate.bench, (void)0, gate.count == 2);
    for (unsigned i = 0; i < 20; i++) {
        bench_turn(&gate.bench);
    }
    assert_int_equal(gate.count, 2);
    ps_listener_pause(gate.listener, false);
    WAIT_FOR(&gate.bench, (void)0, gate.count == 5);
    gate_close(&gate);
    for (size_t i = 0; i < 5; i++) {
        close(clients[i]);
    }
    close(fd);
}

static void closing_inside_accept_is_legal(void **state)
{
    struct gate gate;
    int fd = listen_any();
    int clients[5];
    (void)state;
    gate_open(&gate, fd);
    gate.close_at = 2;
    for (size_t i = 0; i < 5; i++) {
        clients[i] = connect_to(ps_listen_port(fd));
    }
    WAIT_FOR(&gate.bench, (void)0, gate.count == 2);
    for (unsigned i = 0; i < 20; i++) {
        bench_turn(&gate.bench);
    }
    assert_int_equal(gate.count, 2);
    gate_close(&gate);
    for (size_t i = 0; i < 5; i++) {
        close(clients[i]);
    }
    close(fd);
}

static void two_loops_share_a_descriptor(void **state)
{
    struct gate first;
    struct gate second;
    int clients[40];
    int fd = listen_any();
    (void)state;
    gate_open(&first, fd);
    gate_open(&second, fd);
    for (size_t i = 0; i < 40; i++) {
        clients[i] = connect_to(ps_listen_port(fd));
    }
    WAIT_FOR(&first.bench, bench_turn(&second.bench), first.count + second.count == 40);
    assert_true(first.count > 0 && second.count > 0);
    gate_close(&first);
    gate_close(&second);
    for (size_t i = 0; i < 40; i++) {
        close(clients[i]);
    }
    close(fd);
}

static void two_sockets_share_a_port(void **state)
{
    char error[200];
    int first = listen_any();
    uint16_t port = ps_listen_port(first);
    (void)state;
    assert_true(port != 0);
    int second = ps_listen_tcp("127.0.0.1", port, error, sizeof(error));
    assert_true(second >= 0);
    assert_int_equal(ps_listen_port(second), port);
    /* But one who asks is told. */
    error[0] = '\0';
    assert_int_equal(ps_listen_check_tcp("127.0.0.1", port, error, sizeof(error)), -EADDRINUSE);
    assert_non_null(strstr(error, "127.0.0.1"));
    close(first);
    close(second);
    assert_int_equal(ps_listen_check_tcp("127.0.0.1", port, error, sizeof(error)), 0);
}

static void names_and_addresses(void **state)
{
    char error[200];
    struct sockaddr_in address = {0};
    socklen_t len = sizeof(address);
    (void)state;
    int fd = ps_listen_tcp("localhost", 0, error, sizeof(error));
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(address.sin_family, AF_INET);
    assert_int_equal(ntohl(address.sin_addr.s_addr), INADDR_LOOPBACK);
    close(fd);
    error[0] = '\0';
    assert_true(ps_listen_tcp("no such host", 80, error, sizeof(error)) < 0);
    assert_non_null(strstr(error, "no such host"));
    error[0] = '\0';
    assert_int_equal(ps_listen_tcp("192.0.2.1", 0, error, sizeof(error)), -EADDRNOTAVAIL);
    assert_true(strlen(error) > 0);
}

static void any_address_takes_both_families(void **state)
{
    char error[200];
    struct recorder recorder;
    struct gate gate;
    (void)state;
    int fd = ps_listen_tcp("::", 0, error, sizeof(error));
    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
        skip(); /* no IPv6 here */
    }
    assert_true(fd >= 0);
    gate_open(&gate, fd);
    int client = connect_to(ps_listen_port(fd));
    WAIT_FOR(&gate.bench, (void)0, gate.count == 1);
    /* And the peer is shown as the IPv4 address it is. */
    recorder_init(&recorder, &gate.bench);
    gate.count = 0;
    recorder.stream = ps_stream_new(&gate.bench.loop, gate.fds[0], false, NULL, &default_options,
                                    &recorder_ops, &recorder);
    assert_non_null(recorder.stream);
    assert_string_equal(ps_stream_peer(recorder.stream)->text, "127.0.0.1");
    ps_stream_abort(recorder.stream);
    gate_close(&gate);
    recorder_deinit(&recorder);
    close(client);
    close(fd);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void a_unix_socket_replaces_only_the_dead(void **state)
{
    char folder[] = "/tmp/net-listen-XXXXXX";
    char path[64];
    char error[200];
    struct stat status;
    struct gate gate;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/s", folder);

    int fd = ps_listen_unix(path, error, sizeof(error));
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
    gate_open(&gate, fd);
    int client = connect_unix(path);
    WAIT_FOR(&gate.bench, (void)0, gate.count == 1);
    gate_close(&gate);
    close(client);

    /* It answers: refused, and still there. */
    error[0] = '\0';
    assert_int_equal(ps_listen_unix(path, error, sizeof(error)), -EADDRINUSE);
    assert_non_null(strstr(error, path));
    client = connect_unix(path);
    assert_true(client >= 0);
    close(client);

    /* Left behind: replaced. */
    close(fd);
    assert_int_equal(connect_unix(path), -1);
    fd = ps_listen_unix(path, error, sizeof(error));
    assert_true(fd >= 0);
    client = connect_unix(path);
    assert_true(client >= 0);
    close(client);
    close(fd);
    assert_int_equal(unlink(path), 0);

    /* A file is nobody's socket. */
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(ps_listen_unix(path, error, sizeof(error)), -EEXIST);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);

    char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(ps_listen_unix(longest, error, sizeof(error)), -ENAMETOOLONG);
    assert_int_equal(ps_listen_unix("", error, sizeof(error)), -ENAMETOOLONG);
}

/* Takes every descriptor there is; returns how many. */
static size_t exhaust(int *fds, size_t max)
{
    size_t count = 0;
    while (count < max && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        count++;
    }
    assert_true(count < max);
    return count;
}

static void out_of_descriptors_it_turns_away_and_rests(void **state)
{
    enum {
        LIMIT = 128
    };
    struct rlimit before;
    struct rlimit limit;
    struct gate gate;
    int fds[LIMIT];
    int clients[3];
    int fd = listen_any();
    char byte;
    (void)state;
    gate_open(&gate, fd);
    for (size_t i = 0; i < 3; i++) {
        clients[i] = connect_to(ps_listen_port(fd));
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = LIMIT;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    size_t count = exhaust(fds, LIMIT);

    /* The oldest is turned away, then nothing happens for a while: no spinning. */
    int64_t start = ps_clock_us();
    WAIT_FOR(&gate.bench, (void)0, recv(clients[0], &byte, 1, 0) == 0);
    unsigned turns = 0;
    while (recv(clients[1], &byte, 1, 0) != 0) {
        bench_turn(&gate.bench);
        turns++;
    }
    assert_true(ps_clock_us() - start >= 100000);
    assert_int_equal(gate.count, 0);
    assert_true(turns > 0);

    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    WAIT_FOR(&gate.bench, (void)0, gate.count == 1);
    assert_int_equal(recv(clients[2], &byte, 1, 0), -1);
    gate_close(&gate);
    for (size_t i = 0; i < 3; i++) {
        close(clients[i]);
    }
    close(fd);
}

/* Without its spare it cannot turn away, and still does not spin; it gets a new one when it can. */
static void closing_while_it_rests_is_legal(void **state)
{
    enum {
        LIMIT = 128
    };
    struct rlimit before;
    struct rlimit limit;
    struct gate gate;
    int fds[LIMIT];
    char byte;
    int fd = listen_any();
    (void)state;
    gate_open(&gate, fd);
    int client = connect_to(ps_listen_port(fd));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = LIMIT;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    size_t count = exhaust(fds, LIMIT);
    WAIT_FOR(&gate.bench, (void)0, recv(client, &byte, 1, 0) == 0);
    ps_listener_pause(gate.listener, true);
    ps_listener_pause(gate.listener, false); /* a pause does not cut the rest short */
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    gate_close(&gate);
    close(client);
    close(fd);
}

static void short_memory_is_reported(void **state)
{
    struct bench bench;
    int fd = listen_any();
    (void)state;
    bench_init(&bench);
    (void)ps_mem_fail_after(0);
    assert_null(ps_listener_new(&bench.loop, fd, on_accept, NULL));
    (void)ps_mem_fail_after(-1);
    bench_deinit(&bench);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC); /* still the opener's */
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_at_most_sixteen_a_turn),
        cmocka_unit_test(pause_holds_connections_back),
        cmocka_unit_test(closing_inside_accept_is_legal),
        cmocka_unit_test(two_loops_share_a_descriptor),
        cmocka_unit_test(two_sockets_share_a_port),
        cmocka_unit_test(names_and_addresses),
        cmocka_unit_test(any_address_takes_both_families),
        cmocka_unit_test(a_unix_socket_replaces_only_the_dead),
        cmocka_unit_test(out_of_descriptors_it_turns_away_and_rests),
        cmocka_unit_test(closing_while_it_rests_is_legal),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
