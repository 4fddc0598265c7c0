/* SPDX-License-Identifier: Apache-2.0 */
#include "net/bench.h"
#include "stream_priv.h"
#include "testing.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Every test runs over TCP and over a Unix socket pair; *state says which. */
static const bool over_tcp = false;
static const bool over_unix = true;

#define is_unix_test(state) (*(const bool *)*(state))

_Static_assert(sizeof(struct ps_stream) < 1024, "thousands of idle streams are cheap");

struct rig {
    struct bench bench;
    struct recorder server;
    struct client client;
};

static void rig_open(struct rig *rig, bool is_unix, const struct ps_stream_options *options)
{
    bench_init(&rig->bench);
    recorder_init(&rig->server, &rig->bench);
    struct pair pair = pair_open(is_unix);
    client_init(&rig->client, pair.client);
    rig->server.stream = ps_stream_new(&rig->bench.loop, pair.server, is_unix, NULL, options,
                                       &recorder_ops, &rig->server);
    assert_non_null(rig->server.stream);
}

static void rig_close(struct rig *rig)
{
    if (rig->server.stream != NULL) {
        ps_stream_abort(rig->server.stream);
    }
    client_deinit(&rig->client);
    bench_deinit(&rig->bench);
    assert_int_equal(rig->server.closes, 1);
    recorder_deinit(&rig->server);
}

#define STEP(rig)            client_step(&(rig)->client)
#define WAIT(rig, condition) WAIT_FOR(&(rig)->bench, STEP(rig), condition)

static void write_back(struct recorder *recorder, const char *ptr, size_t len)
{
    assert_int_equal(ps_stream_write(recorder->stream, ptr, len), 0);
}

static void echoes_what_it_gets(void **state)
{
    struct rig rig;
    rig_open(&rig, is_unix_test(state), &default_options);
    rig.server.on_data = write_back;
    rig.client.out = "hello";
    rig.client.out_len = 5;
    for (unsigned i = 0; i < 20; i++) {
        STEP(&rig);
        bench_turn(&rig.bench);
    }
    /* Nothing is read before it is asked for. */
    assert_int_equal(rig.server.received.len, 0);
    ps_stream_read(rig.server.stream, true);
    WAIT(&rig, rig.client.received.len == 5);
    assert_memory_equal(rig.client.received.ptr, "hello", 5);
    assert_int_equal(ps_stream_queued(rig.server.stream), 0);
    assert_null(rig.server.stream->out.head); /* an idle stream holds no block */
    rig_close(&rig);
    assert_int_equal(rig.server.end, PS_STREAM_ABORTED);
}

static void tells_who_the_peer_is(void **state)
{
    struct rig rig;
    bool is_unix = is_unix_test(state);
    rig_open(&rig, is_unix, &default_options);
    const struct ps_peer *peer = ps_stream_peer(rig.server.stream);
    assert_int_equal(peer->is_unix, is_unix);
    assert_string_equal(peer->text, is_unix ? "unix" : "127.0.0.1");
    assert_false(ps_stream_is_tls(rig.server.stream));
    if (!is_unix) {
        static const uint8_t loopback[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
        assert_memory_equal(peer->address, loopback, 16);
        assert_int_equal(peer->port, ps_listen_port(rig.client.fd));
    }
    rig_close(&rig);
}

/* A writer that fills the queue up to its mark and goes on when it is drained. */
#define FLOOD_BYTES ((size_t)12 << 20)
#define FLOOD_PIECE 5000

static void flood(struct recorder *recorder)
{
    char piece[FLOOD_PIECE];
    while (recorder->number < FLOOD_BYTES && !ps_stream_is_full(recorder->stream)) {
        size_t len = FLOOD_BYTES - recorder->number;
        len = len < sizeof(piece) ? len : sizeof(piece);
        fill_pattern(piece, len, recorder->number);
        assert_int_equal(ps_stream_write(recorder->stream, piece, len), 0);
        recorder->number += len;
        assert_true(ps_stream_queued(recorder->stream) <= default_options.high_bytes + FLOOD_PIECE);
    }
    if (recorder->number == FLOOD_BYTES) {
        ps_stream_close(recorder->stream);
    }
}

static void a_slow_reader_gets_every_byte_within_the_watermarks(void **state)
{
    struct rig rig;
    rig_open(&rig, is_unix_test(state), &default_options);
    rig.server.on_drain = flood;
    rig.client.read_max = 100000;
    flood(&rig.server);
    WAIT(&rig, rig.client.eof || rig.client.error != 0);
    assert_int_equal(rig.client.error, 0);
    assert_int_equal(rig.client.received.len, FLOOD_BYTES);
    assert_true(is_pattern(rig.client.received.ptr, FLOOD_BYTES, 0));
    assert_true(rig.server.drains > 5);
    assert_int_equal(close(rig.client.fd), 0);
    rig.client.fd = -1;
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    rig_close(&rig);
}

/* Both directions at once, in pieces that fit nothing. */
static void floods_both_ways(void **state)
{
    enum {
        BYTES = 3000017
    };
    struct rig rig;
    char *sent = malloc(BYTES);
    assert_non_null(sent);
    fill_pattern(sent, BYTES, 0);
    rig_open(&rig, is_unix_test(state), &default_options);
    rig.server.on_data = write_back;
    rig.client.out = sent;
    rig.client.out_len = BYTES;
    ps_stream_read(rig.server.stream, true);
    WAIT(&rig, rig.client.received.len == BYTES);
    assert_memory_equal(rig.client.received.ptr, sent, BYTES);
    rig_close(&rig);
    free(sent);
}

static void close_sends_all_and_lingers_for_the_peer(void **state)
{
    enum {
        BYTES = 1000000,
        REQUEST = 100000
    };
    struct rig rig;
    char *answer = malloc(BYTES);
    char *request = malloc(REQUEST);
    assert_true(answer != NULL && request != NULL);
    fill_pattern(answer, BYTES, 0);
    fill_pattern(request, REQUEST, 7);
    rig_open(&rig, is_unix_test(state), &default_options);
    /* An error answer while the peer still sends its body, of which nothing is read. */
    rig.client.out = request;
    rig.client.out_len = REQUEST;
    rig.client.read_max = 20000;
    assert_int_equal(ps_stream_write(rig.server.stream, answer, BYTES), 0);
    ps_stream_close(rig.server.stream);
    ps_stream_close(rig.server.stream);
    assert_int_equal(ps_stream_write(rig.server.stream, "more", 4), 0);
    WAIT(&rig, rig.client.eof || rig.client.error != 0);
    assert_int_equal(rig.client.error, 0);
    assert_int_equal(rig.client.received.len, BYTES);
    assert_memory_equal(rig.client.received.ptr, answer, BYTES);
    assert_int_equal(rig.client.out_len, 0);
    assert_int_equal(rig.server.closes, 0); /* lingers: the client has not closed */
    assert_int_equal(shutdown(rig.client.fd, SHUT_WR), 0);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    assert_int_equal(rig.server.received.len, 0);
    assert_int_equal(rig.server.eofs, 0);
    rig_close(&rig);
    free(answer);
    free(request);
}

static void lingering_ends_when_the_peer_does_nothing(void **state)
{
    struct rig rig;
    rig_open(&rig, is_unix_test(state), &default_options);
    ps_stream_close(rig.server.stream);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    rig_close(&rig);
}

static void lingering_ends_when_the_peer_sends_too_much(void **state)
{
    enum {
        BYTES = 8 << 20
    };
    struct rig rig;
    char *sent = calloc(1, BYTES);
    assert_non_null(sent);
    rig_open(&rig, is_unix_test(state), &default_options);
    rig.client.out = sent;
    rig.client.out_len = BYTES;
    ps_stream_close(rig.server.stream);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    rig_close(&rig);
    free(sent);
}

static void close_after_eof_does_not_linger(void **state)
{
    struct rig rig;
    rig_open(&rig, is_unix_test(state), &default_options);
    ps_stream_read(rig.server.stream, true);
    assert_int_equal(shutdown(rig.client.fd, SHUT_WR), 0);
    WAIT(&rig, rig.server.eofs == 1);
    /* Writing is still possible. */
    assert_int_equal(ps_stream_write(rig.server.stream, "late", 4), 0);
    ps_stream_close(rig.server.stream);
    for (unsigned i = 0; i < 3; i++) {
        (void)ps_loop_turn(&rig.bench.loop, false);
    }
    assert_int_equal(rig.server.closes, 1);
    assert_int_equal(rig.server.end, PS_STREAM_CLOSED);
    WAIT(&rig, rig.client.eof);
    assert_int_equal(rig.client.received.len, 4);
    rig_close(&rig);
}

static void abort_resets(void **state)
{
    struct rig rig;
    char *bytes = calloc(1, 4 << 20);
    assert_non_null(bytes);
    rig_open(&rig, is_unix_test(state), &default_options);
    assert_int_equal(ps_stream_write(rig.server.stream, bytes, 4 << 20), 0);
    bench_turn(&rig.bench); /* some is with the kernel, some in flight, some queued */
    ps_stream_abort(rig.server.stream);
    ps_stream_abort(rig.server.stream);
    ps_stream_close(rig.server.stream);
    assert_int_equal(rig.server.closes, 0); /* never inside the call */
    assert_int_equal(ps_stream_write(rig.server.stream, "x", 1), 0);
    ps_stream_read(rig.server.stream, true);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_ABORTED);
    WAIT(&rig, rig.client.eof || rig.client.error != 0);
    if (!is_unix_test(state)) {
        assert_int_equal(rig.client.error, ECONNRESET);
    }
    assert_true(rig.client.received.len < 4 << 20);
    rig_close(&rig);
    free(bytes);
}

static void abort_while_lingering(void **state)
{
    struct rig rig;
    rig_open(&rig, is_unix_test(state), &default_options);
    assert_int_equal(ps_stream_write(rig.server.stream, "bye", 3), 0);
    ps_stream_close(rig.server.stream);
    WAIT(&rig, rig.client.eof);
    assert_int_equal(rig.server.closes, 0);
    ps_stream_abort(rig.server.stream);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_ABORTED);
    rig_close(&rig);
}

static void reset_by_peer(struct client *client)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    assert_int_equal(close(client->fd), 0);
    client->fd = -1;
}

static void a_reset_is_seen_while_reading(void **state)
{
    struct rig rig;
    if (is_unix_test(state)) {
        return; /* a Unix socket has no reset of this kind */
    }
    rig_open(&rig, false, &default_options);
    ps_stream_read(rig.server.stream, true);
    reset_by_peer(&rig.client);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_RESET);
    assert_int_equal(rig.server.eofs, 0);
    rig_close(&rig);
}

static void a_reset_is_seen_while_writing(void **state)
{
    struct rig rig;
    char *bytes = calloc(1, 1 << 20);
    assert_non_null(bytes);
    rig_open(&rig, is_unix_test(state), &default_options);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(ps_stream_write(rig.server.stream, bytes, 1 << 20), 0);
    }
    bench_turn(&rig.bench);
    reset_by_peer(&rig.client);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_RESET);
    rig_close(&rig);
    free(bytes);
}

static void a_reset_while_closing_is_no_clean_end(void **state)
{
    struct rig rig;
    char *bytes = calloc(1, 8 << 20);
    assert_non_null(bytes);
    rig_open(&rig, is_unix_test(state), &default_options);
    assert_int_equal(ps_stream_write(rig.server.stream, bytes, 8 << 20), 0);
    ps_stream_close(rig.server.stream);
    bench_turn(&rig.bench);
    reset_by_peer(&rig.client);
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, PS_STREAM_RESET);
    rig_close(&rig);
    free(bytes);
}

static void stop_after_data(struct recorder *recorder, const char *ptr, size_t len)
{
    (void)ptr;
    (void)len;
    ps_stream_read(recorder->stream, false);
    recorder->number++;
}

static void reading_may_stop_in_the_middle(void **state)
{
    enum {
        BYTES = 1500000
    };
    struct rig rig;
    char *sent = malloc(BYTES);
    assert_non_null(sent);
    fill_pattern(sent, BYTES, 3);
    rig_open(&rig, is_unix_test(state), &default_options);
    rig.server.on_data = stop_after_data;
    rig.client.out = sent;
    rig.client.out_len = BYTES;
    while (rig.server.received.len < BYTES) {
        size_t calls = rig.server.number;
        ps_stream_read(rig.server.stream, true);
        WAIT(&rig, rig.server.number > calls);
        STEP(&rig);
        bench_turn(&rig.bench);
        assert_int_equal(rig.server.number, calls + 1);
    }
    assert_memory_equal(rig.server.received.ptr, sent, BYTES);
    /* The end of input waits until it is asked for. */
    assert_int_equal(shutdown(rig.client.fd, SHUT_WR), 0);
    bench_turn(&rig.bench);
    assert_int_equal(rig.server.eofs, 0);
    ps_stream_read(rig.server.stream, true);
    WAIT(&rig, rig.server.eofs == 1);
    ps_stream_read(rig.server.stream, false);
    ps_stream_read(rig.server.stream, true);
    bench_turn(&rig.bench);
    assert_int_equal(rig.server.eofs, 1);
    rig_close(&rig);
    free(sent);
}

static void a_peer_that_takes_nothing_is_cut_off(void **state)
{
    struct ps_stream_options options = default_options;
    struct rig rig;
    char *bytes = calloc(1, 8 << 20);
    assert_non_null(bytes);
    options.write_timeout_us = 60000;
    for (unsigned closing = 0; closing < 2; closing++) {
        rig_open(&rig, is_unix_test(state), &options);
        assert_int_equal(ps_stream_write(rig.server.stream, bytes, 8 << 20), 0);
        if (closing == 1) {
            ps_stream_close(rig.server.stream);
        }
        int64_t start = ps_clock_us();
        WAIT_FOR(&rig.bench, (void)0, rig.server.closes == 1);
        assert_true(ps_clock_us() - start >= options.write_timeout_us);
        assert_int_equal(rig.server.end, PS_STREAM_STALLED);
        rig_close(&rig);
    }
    free(bytes);
}

/* Progress inside one uv_write counts: its callback would come too late. */
static void a_peer_that_takes_little_is_not_cut_off(void **state)
{
    struct ps_stream_options options = default_options;
    struct rig rig;
    char *bytes = calloc(1, 8 << 20);
    assert_non_null(bytes);
    options.write_timeout_us = 400000;
    rig_open(&rig, is_unix_test(state), &options);
    rig.client.read_max = 16000;
    assert_int_equal(ps_stream_write(rig.server.stream, bytes, 8 << 20), 0);
    WAIT(&rig, rig.server.closes == 1 || rig.client.received.len == 8 << 20);
    assert_int_equal(rig.server.closes, 0);
    /* With the queue empty the timer is off. */
    assert_false(ps_timer_is_set(&rig.server.stream->timer));
    rig_close(&rig);
    free(bytes);
}

static void a_write_beyond_the_budget_leaves_nothing_behind(void **state)
{
    struct rig rig;
    char *bytes = malloc(200000);
    assert_non_null(bytes);
    fill_pattern(bytes, 200000, 0);
    for (size_t first = 0; first <= PS_BLOCK_BYTES; first += PS_BLOCK_BYTES / 2) {
        rig_open(&rig, is_unix_test(state), &default_options);
        atomic_store(&rig.bench.budget.limit, (size_t)4 * PS_BLOCK_SIZE);
        const struct ps_slice parts[] = {{bytes + first, 100}, {bytes, 200000}};
        assert_int_equal(ps_stream_write(rig.server.stream, bytes, first), 0);
        assert_int_equal(ps_stream_queued(rig.server.stream), first);
        assert_int_equal(ps_stream_writev(rig.server.stream, parts, 2), -1);
        assert_int_equal(ps_stream_queued(rig.server.stream), first);
        assert_int_equal(ps_stream_write(rig.server.stream, bytes + first, 10000), 0);
        WAIT(&rig, rig.client.received.len >= first + 10000);
        assert_int_equal(rig.client.received.len, first + 10000);
        assert_true(is_pattern(rig.client.received.ptr, first + 10000, 0));
        rig_close(&rig);
    }
    free(bytes);
}

enum deed {
    DEED_CLOSE,
    DEED_ABORT,
    DEED_COUNT
};

static void do_deed(struct recorder *recorder, enum deed deed)
{
    if (recorder->stream == NULL) {
        return;
    }
    if (deed == DEED_CLOSE) {
        ps_stream_close(recorder->stream);
    } else {
        ps_stream_abort(recorder->stream);
    }
}

static enum deed deed_inside;

static void deed_on_data(struct recorder *recorder, const char *ptr, size_t len)
{
    write_back(recorder, ptr, len);
    do_deed(recorder, deed_inside);
}

static void deed_on_event(struct recorder *recorder)
{
    do_deed(recorder, deed_inside);
}

static void ending_inside_callbacks_is_legal(void **state)
{
    char *bytes = calloc(1, 2 << 20);
    assert_non_null(bytes);
    for (unsigned place = 0; place < 3; place++) {
        for (deed_inside = 0; deed_inside < DEED_COUNT; deed_inside++) {
            struct rig rig;
            rig_open(&rig, is_unix_test(state), &default_options);
            rig.server.on_data = place == 0 ? deed_on_data : NULL;
            rig.server.on_eof = place == 1 ? deed_on_event : NULL;
            rig.server.on_drain = place == 2 ? deed_on_event : NULL;
            ps_stream_read(rig.server.stream, true);
            if (place == 2) {
                assert_int_equal(ps_stream_write(rig.server.stream, bytes, 2 << 20), 0);
            } else {
                rig.client.out = bytes;
                rig.client.out_len = 1000;
                STEP(&rig);
            }
            if (place == 1) {
                assert_int_equal(shutdown(rig.client.fd, SHUT_WR), 0);
            }
            WAIT(&rig, rig.server.closes == 1);
            assert_int_equal(rig.server.end,
                             deed_inside == DEED_CLOSE ? PS_STREAM_CLOSED : PS_STREAM_ABORTED);
            rig_close(&rig);
        }
    }
    free(bytes);
}

/* A dialogue with a big answer, ended after every turn that it has. */
static bool run_dialogue(bool is_unix, unsigned turns, enum deed deed)
{
    enum {
        BYTES = 600000
    };
    static char request[BYTES];
    struct rig rig;
    bool whole = false;

    rig_open(&rig, is_unix, &default_options);
    rig.server.on_data = write_back;
    rig.client.out = request;
    rig.client.out_len = BYTES;
    ps_stream_read(rig.server.stream, true);
    for (unsigned i = 0; i < turns && !whole; i++) {
        STEP(&rig);
        bench_turn(&rig.bench);
        whole = rig.client.received.len == BYTES;
    }
    do_deed(&rig.server, deed);
    rig.client.out_len = 0;
    (void)shutdown(rig.client.fd, SHUT_WR); /* fails where the reset has come already */
    WAIT(&rig, rig.server.closes == 1);
    assert_int_equal(rig.server.end, deed == DEED_CLOSE ? PS_STREAM_CLOSED : PS_STREAM_ABORTED);
    rig_close(&rig);
    return whole;
}

static void ending_is_legal_after_every_turn(void **state)
{
    for (enum deed deed = 0; deed < DEED_COUNT; deed++) {
        unsigned turns = 0;
        while (!run_dialogue(is_unix_test(state), turns, deed)) {
            turns++;
            assert_true(turns < 10000);
        }
    }
}

/* Whether the dialogue went through although allocation `n` failed. */
static bool run_short_of_memory(bool is_unix, int64_t n)
{
    enum {
        BYTES = 100000
    };
    static char bytes[BYTES];
    struct bench bench;
    struct recorder server;
    struct client client;
    struct pair pair = pair_open(is_unix);
    bool failed = false;

    bench_init(&bench);
    recorder_init(&server, &bench);
    client_init(&client, pair.client);
    ps_timer_cancel(&bench.tick);
    (void)ps_mem_fail_after(n);
    server.stream = ps_stream_new(&bench.loop, pair.server, is_unix, NULL, &default_options,
                                  &recorder_ops, &server);
    if (server.stream == NULL) {
        failed = true;
    } else if (ps_stream_write(server.stream, bytes, BYTES) != 0) {
        failed = true;
        ps_stream_abort(server.stream);
    } else {
        ps_stream_close(server.stream);
    }
    for (unsigned i = 0; i < 5; i++) {
        (void)ps_loop_turn(&bench.loop, false); /* linger's timer is set in here */
    }
    bool armed = ps_mem_fail_after(-1) <= n;
    WAIT_FOR(&bench, client_step(&client), client.eof || client.error != 0);
    if (server.stream != NULL) {
        ps_stream_abort(server.stream);
    }
    assert_true(failed || client.received.len == BYTES);
    client_deinit(&client);
    bench_deinit(&bench);
    recorder_deinit(&server);
    return armed;
}

static void every_allocation_may_fail(void **state)
{
    int64_t n = 0;
    while (!run_short_of_memory(is_unix_test(state), n)) {
        n++;
        assert_true(n < 1000);
    }
    assert_true(n >= 7); /* the stream and seven blocks at the least */
}

static void a_descriptor_that_libuv_refuses_is_closed(void **state)
{
    static uv_poll_t poll;
    struct bench bench;
    struct recorder server;
    bool is_unix = is_unix_test(state);
    struct pair pair = pair_open(is_unix);

    bench_init(&bench);
    recorder_init(&server, &bench);
    /* It refuses a TCP socket that another handle watches, and as a pipe what is open for nothing.
     */
    int watched = is_unix ? open("/", O_PATH | O_CLOEXEC) : pair.server;
    int copy = fcntl(watched, F_DUPFD_CLOEXEC, 0);
    if (!is_unix) {
        assert_int_equal(uv_poll_init(&bench.loop.uv, &poll, watched), 0);
        assert_int_equal(uv_poll_start(&poll, UV_READABLE, NULL), 0);
    }
    server.stream = ps_stream_new(&bench.loop, watched, is_unix, NULL, &default_options,
                                  &recorder_ops, &server);
    assert_null(server.stream);
    assert_int_equal(fcntl(watched, F_GETFD), -1);
    if (!is_unix) {
        assert_int_equal(dup2(copy, watched), watched);
        uv_close((uv_handle_t *)&poll, NULL);
    } else {
        close(pair.server);
    }
    bench_deinit(&bench);
    assert_int_equal(server.closes, 0);
    recorder_deinit(&server);
    close(copy);
    close(pair.client);
    if (!is_unix) {
        close(watched);
    }
}

/* Deferred output of one turn leaves in one write. */
static void pieces_of_a_turn_leave_together(void **state)
{
    struct rig rig;
    char bytes[4096];
    rig_open(&rig, is_unix_test(state), &default_options);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(ps_stream_write(rig.server.stream, "0123456789", 10), 0);
    }
    assert_int_equal(recv(rig.client.fd, bytes, sizeof(bytes), 0), -1);
    (void)ps_loop_turn(&rig.bench.loop, false);
    assert_int_equal(recv(rig.client.fd, bytes, sizeof(bytes), 0), 1000);
    assert_int_equal(rig.server.stream->taken, 1000);
    rig_close(&rig);
}

struct crowd {
    struct bench bench;
    struct recorder *recorders;
    size_t accepted;
};

static void on_crowd_accept(void *arg, int fd)
{
    struct crowd *crowd = arg;
    struct recorder *recorder = &crowd->recorders[crowd->accepted++];
    recorder_init(recorder, &crowd->bench);
    recorder->on_data = write_back;
    recorder->stream = ps_stream_new(&crowd->bench.loop, fd, false, NULL, &default_options,
                                     &recorder_ops, recorder);
    assert_non_null(recorder->stream);
    ps_stream_read(recorder->stream, true);
}

static void a_thousand_connections(void **state)
{
    enum {
        COUNT = 1000
    };
    static const char hello[] = "are you there?";
    struct crowd crowd = {.accepted = 0};
    struct client *clients = calloc(COUNT, sizeof(*clients));
    struct rlimit limit;
    char error[200];

    if (is_unix_test(state)) {
        free(clients);
        return;
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    crowd.recorders = calloc(COUNT, sizeof(*crowd.recorders));
    assert_true(clients != NULL && crowd.recorders != NULL);
    bench_init(&crowd.bench);
    int fd = ps_listen_tcp("127.0.0.1", 0, error, sizeof(error));
    assert_true(fd >= 0);
    struct ps_listener *listener = ps_listener_new(&crowd.bench.loop, fd, on_crowd_accept, &crowd);
    assert_non_null(listener);
    for (size_t i = 0; i < COUNT; i++) {
        client_init(&clients[i], connect_to(ps_listen_port(fd)));
        clients[i].out = hello;
        clients[i].out_len = sizeof(hello);
        client_step(&clients[i]);
    }
    WAIT_FOR(&crowd.bench, (void)0, crowd.accepted == COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        WAIT_FOR(&crowd.bench, client_step(&clients[i]), clients[i].received.len == sizeof(hello));
        assert_memory_equal(clients[i].received.ptr, hello, sizeof(hello));
    }
    /* Idle connections hold nothing of the budget. */
    assert_int_equal(atomic_load(&crowd.bench.budget.used), 0);
    for (size_t i = 0; i < COUNT; i++) {
        ps_stream_close(crowd.recorders[i].stream);
        client_deinit(&clients[i]);
    }
    ps_listener_close(listener);
    for (size_t i = 0; i < COUNT; i++) {
        WAIT_FOR(&crowd.bench, (void)0, crowd.recorders[i].closes == 1);
        recorder_deinit(&crowd.recorders[i]);
    }
    bench_deinit(&crowd.bench);
    close(fd);
    free(clients);
    free(crowd.recorders);
}

/* One stream that never stops sending does not keep another from its turn. */
static void a_flood_of_input_leaves_room_for_others(void **state)
{
    enum {
        BYTES = 24 << 20
    };
    struct rig rig;
    char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    fill_pattern(bytes, BYTES, 0);
    rig_open(&rig, is_unix_test(state), &default_options);
    rig.client.out = bytes;
    rig.client.out_len = BYTES;
    ps_stream_read(rig.server.stream, true);
    size_t most = 0;
    while (rig.server.received.len < BYTES) {
        size_t before = rig.server.received.len;
        STEP(&rig);
        bench_turn(&rig.bench);
        size_t taken = rig.server.received.len - before;
        most = taken > most ? taken : most;
    }
    assert_true(most <= 262144 + PS_READ_BUFFER);
    assert_memory_equal(rig.server.received.ptr, bytes, BYTES);
    rig_close(&rig);
    free(bytes);
}

#define BOTH(test)                                                                                 \
    {"tcp: " #test, test, NULL, NULL, (void *)(uintptr_t)&over_tcp},                               \
    {                                                                                              \
        "unix: " #test, test, NULL, NULL, (void *)(uintptr_t)&over_unix                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(echoes_what_it_gets),
        BOTH(tells_who_the_peer_is),
        BOTH(a_slow_reader_gets_every_byte_within_the_watermarks),
        BOTH(floods_both_ways),
        BOTH(close_sends_all_and_lingers_for_the_peer),
        BOTH(lingering_ends_when_the_peer_does_nothing),
        BOTH(lingering_ends_when_the_peer_sends_too_much),
        BOTH(close_after_eof_does_not_linger),
        BOTH(abort_resets),
        BOTH(abort_while_lingering),
        BOTH(a_reset_is_seen_while_reading),
        BOTH(a_reset_is_seen_while_writing),
        BOTH(a_reset_while_closing_is_no_clean_end),
        BOTH(reading_may_stop_in_the_middle),
        BOTH(a_peer_that_takes_nothing_is_cut_off),
        BOTH(a_peer_that_takes_little_is_not_cut_off),
        BOTH(a_write_beyond_the_budget_leaves_nothing_behind),
        BOTH(ending_inside_callbacks_is_legal),
        BOTH(ending_is_legal_after_every_turn),
        BOTH(every_allocation_may_fail),
        BOTH(a_descriptor_that_libuv_refuses_is_closed),
        BOTH(pieces_of_a_turn_leave_together),
        BOTH(a_thousand_connections),
        BOTH(a_flood_of_input_leaves_room_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
