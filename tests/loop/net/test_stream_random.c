/* SPDX-License-Identifier: Apache-2.0 */
#include "net/bench.h"
#include "net/certs.h"
#include "net/tls_client.h"
#include "stream_priv.h"
#include "testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Random dialogues: both sides do what comes, in any order, also inside callbacks. Whatever
 * happens, bytes arrive as a prefix of what was sent, a clean end means that all of them did, and
 * on_closed comes once.
 */

enum kind {
    KIND_TCP,
    KIND_UNIX,
    KIND_TLS,
    KIND_TLS_UNIX
};

static struct cert certificate;
static struct ps_tls_server *server_tls;
static char *pattern; /* what either side sends, from its start */
#define PATTERN_BYTES ((size_t)4 << 20)

struct play {
    struct bench bench;
    struct recorder server;
    struct tls_client tls;
    struct client plain;
    enum kind kind;
    uint32_t random;
    size_t server_sent;
    size_t client_sent;
    bool closed; /* the server closed, all before it must arrive */
    bool aborted;
    bool client_left; /* closed or reset its end */
    bool client_shut;
};

static uint32_t roll(struct play *play, uint32_t sides)
{
    play->random = play->random * 1664525 + 1013904223;
    return (play->random >> 10) % sides;
}

static size_t roll_size(struct play *play)
{
    static const uint32_t most[] = {10, 3000, 70000, 400000};
    return 1 + roll(play, most[roll(play, 4)]);
}

static bool is_tls(const struct play *play)
{
    return play->kind >= KIND_TLS;
}

static struct client *raw(struct play *play)
{
    return is_tls(play) ? &play->tls.raw : &play->plain;
}

static const struct ps_buf *client_received(const struct play *play)
{
    return is_tls(play) ? &play->tls.received : &play->plain.received;
}

static void server_act(struct play *play)
{
    struct ps_stream *stream = play->server.stream;
    if (stream == NULL) {
        return;
    }
    switch (roll(play, 24)) {
    case 0:
        ps_stream_close(stream);
        play->closed = play->closed || !play->aborted;
        break;
    case 1:
        if (roll(play, 3) == 0) {
            ps_stream_abort(stream);
            play->aborted = true;
        }
        break;
    case 2:
    case 3:
        ps_stream_read(stream, false);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        ps_stream_read(stream, true);
        break;
    default:
        if (!play->closed && !play->aborted && !ps_stream_is_full(stream) &&
            stream->state == PS_STREAM_STATE_OPEN) {
            size_t len = roll_size(play);
            len = len < PATTERN_BYTES - play->server_sent ? len : PATTERN_BYTES - play->server_sent;
            assert_int_equal(ps_stream_write(stream, pattern + play->server_sent, len), 0);
            play->server_sent += len;
        }
        break;
    }
}

static void client_send(struct play *play)
{
    const char **out = is_tls(play) ? &play->tls.out : &play->plain.out;
    size_t *out_len = is_tls(play) ? &play->tls.out_len : &play->plain.out_len;
    size_t len = roll_size(play);

    if (*out_len > 0 || play->client_shut) {
        return;
    }
    len = len < PATTERN_BYTES - play->client_sent ? len : PATTERN_BYTES - play->client_sent;
    *out = pattern + play->client_sent;
    *out_len = len;
    play->client_sent += len;
}

static void client_act(struct play *play)
{
    struct client *client = raw(play);
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (client->fd < 0) {
        return;
    }
    switch (roll(play, 40)) {
    case 0:
        if (roll(play, 3) == 0) {
            (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        }
        (void)close(client->fd);
        client->fd = -1;
        play->client_left = true;
        break;
    case 1:
        if (!is_tls(play) || play->tls.to_send.len == 0) {
            (void)shutdown(client->fd, SHUT_WR);
            play->client_shut = true;
        }
        break;
    case 2:
        if (is_tls(play) && play->tls.ready && play->tls.out_len == 0 && !play->client_shut) {
            (void)SSL_shutdown(play->tls.ssl);
            play->client_shut = true;
        }
        break;
    case 3:
    case 4:
    case 5:
        client->read_max = roll_size(play);
        break;
    case 6:
        play->tls.split = roll_size(play);
        break;
    default:
        client_send(play);
        break;
    }
}

static void step(struct play *play)
{
    if (is_tls(play)) {
        tls_client_step(&play->tls);
    } else {
        client_step(&play->plain);
    }
}

static void act_inside(struct recorder *recorder)
{
    struct play *play = PS_CONTAINER_OF(recorder, struct play, server);
    if (roll(play, 3) == 0) {
        server_act(play);
    }
}

static void act_on_data(struct recorder *recorder, const char *ptr, size_t len)
{
    struct play *play = PS_CONTAINER_OF(recorder, struct play, server);
    (void)ptr;
    (void)len;
    assert_false(play->closed);
    assert_false(play->aborted);
    act_inside(recorder);
}

static void open_play(struct play *play, enum kind kind, uint32_t seed)
{
    static const struct tls_wants no_wishes = {0};
    struct ps_stream_options options = {.high_bytes = 100000,
                                        .low_bytes = 30000,
                                        .write_timeout_us = 20000000,
                                        .handshake_timeout_us = 20000000};
    *play = (struct play){.kind = kind, .random = seed * 2654435761U + 1};
    bench_init(&play->bench);
    play->bench.busy = true;
    recorder_init(&play->server, &play->bench);
    play->server.on_data = act_on_data;
    play->server.on_eof = act_inside;
    play->server.on_drain = act_inside;
    bool is_unix = kind == KIND_UNIX || kind == KIND_TLS_UNIX;
    struct pair pair = pair_open(is_unix);
    client_init(&play->plain, -1);
    if (is_tls(play)) {
        tls_client_init(&play->tls, pair.client, &no_wishes);
    } else {
        play->plain.fd = pair.client;
    }
    play->server.stream =
        ps_stream_new(&play->bench.loop, pair.server, is_unix, is_tls(play) ? server_tls : NULL,
                      &options, &recorder_ops, &play->server);
    assert_non_null(play->server.stream);
}

static void check(struct play *play)
{
    const struct ps_buf *received = client_received(play);
    assert_int_equal(play->server.closes, 1);
    assert_true(play->server.eofs <= 1);
    assert_true(play->server.received.len <= play->client_sent);
    assert_memory_equal(play->server.received.ptr != NULL ? play->server.received.ptr : "", pattern,
                        play->server.received.len);
    assert_true(received->len <= play->server_sent);
    assert_memory_equal(received->ptr != NULL ? received->ptr : "", pattern, received->len);
    if (play->server.end == PS_STREAM_CLOSED) {
        assert_true(play->closed);
        assert_false(play->aborted);
    } else if (play->server.end == PS_STREAM_ABORTED) {
        assert_true(play->aborted);
    } else if (play->server.end == PS_STREAM_TLS_ERROR) {
        /* Only a handshake that the client left can fail. */
        assert_true(play->client_left || play->client_shut);
        assert_int_equal(play->server.received.len, 0);
    } else {
        assert_int_equal(play->server.end, PS_STREAM_RESET);
        assert_true(play->client_left);
    }
    /* A peer that stayed, and did not send more than lingering drops, has got it all. */
    if (play->server.end == PS_STREAM_CLOSED && !play->client_left && raw(play)->error == 0 &&
        raw(play)->send_error == 0) {
        assert_int_equal(received->len, play->server_sent);
    }
}

static void play_once(enum kind kind, uint32_t seed)
{
    struct play play;
    open_play(&play, kind, seed);
    unsigned length = 1 + roll(&play, 200);
    for (unsigned i = 0; i < length && play.server.stream != NULL; i++) {
        server_act(&play);
        client_act(&play);
        step(&play);
        if (roll(&play, 2) == 0) {
            bench_turn(&play.bench);
        }
    }
    /* Then the server closes and the client reads to the end. */
    if (play.server.stream != NULL) {
        ps_stream_close(play.server.stream);
        play.closed = play.closed || !play.aborted;
    }
    raw(&play)->read_max = 0;
    play.tls.split = 0;
    int64_t end = ps_clock_us() + BENCH_WAIT_US;
    while (play.server.closes == 0 ||
           (raw(&play)->fd >= 0 && !raw(&play)->eof && raw(&play)->error == 0)) {
        assert_true(ps_clock_us() < end);
        step(&play);
        if (raw(&play)->eof && raw(&play)->fd >= 0) {
            (void)shutdown(raw(&play)->fd, SHUT_WR); /* what lingers may go */
        }
        bench_turn(&play.bench);
    }
    step(&play); /* what came together with the end */
    check(&play);
    client_deinit(&play.plain);
    if (is_tls(&play)) {
        tls_client_deinit(&play.tls);
    }
    bench_deinit(&play.bench);
    recorder_deinit(&play.server);
}

static void plays(void **state)
{
    enum kind kind = *(const enum kind *)*state;
    uint32_t most = 150;
    const char *more = getenv("PENSTOCK_TEST_PLAYS"); /* for a long run by hand */
    if (more != NULL) {
        most = (uint32_t)strtoul(more, NULL, 10);
    }
    for (uint32_t seed = 0; seed < most; seed++) {
        play_once(kind, seed);
    }
}

static int set_up(void **state)
{
    char error[300];
    (void)state;
    certificate = cert_make("random.example", NULL, NULL);
    const struct ps_tls_certificate list[] = {{certificate.certificate, certificate.key}};
    server_tls = ps_tls_server_new(list, 1, error, sizeof(error));
    pattern = malloc(PATTERN_BYTES);
    if (server_tls == NULL || pattern == NULL) {
        return -1;
    }
    fill_pattern(pattern, PATTERN_BYTES, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ps_tls_server_unref(server_tls);
    free(pattern);
    return 0;
}

static enum kind kinds[] = {KIND_TCP, KIND_UNIX, KIND_TLS, KIND_TLS_UNIX};

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"tcp", plays, NULL, NULL, &kinds[0]},
        {"unix", plays, NULL, NULL, &kinds[1]},
        {"tls", plays, NULL, NULL, &kinds[2]},
        {"tls over unix", plays, NULL, NULL, &kinds[3]},
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
