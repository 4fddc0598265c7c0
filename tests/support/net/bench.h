/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_NET_BENCH_H
#define PENSTOCK_TESTS_NET_BENCH_H

#include "penstock/base/buf.h"
#include "penstock/base/clock.h"
#include "penstock/net/listener.h"
#include "penstock/net/stream.h"
#include "penstock/net/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * What tests of streams stand on: a loop, a recorder for one stream, and clients on non-blocking
 * sockets that the same thread moves on between turns. Nothing here waits for time: only for
 * conditions, with a bound after which the test fails.
 */

struct bench {
    struct ps_budget budget;
    struct ps_loop loop;
    struct ps_timer tick; /* ends a turn's sleep, so that the client is moved on */
    bool busy;            /* turns do not sleep: for tests of many short steps */
};

void bench_init(struct bench *bench);
/* Also checks that every block went back to the budget. */
void bench_deinit(struct bench *bench);
/* One turn, at most a few ms of sleep. */
void bench_turn(struct bench *bench);

#define BENCH_WAIT_US 30000000
/* Turns the loop (and runs `step`) until `condition` holds; fails the test after half a minute. */
#define WAIT_FOR(bench, step, condition)                                                           \
    do {                                                                                           \
        int64_t wait_end = ps_clock_us() + BENCH_WAIT_US;                                          \
        while (!(condition)) {                                                                     \
            if (ps_clock_us() > wait_end) {                                                        \
                fail_msg("%s:%d: waited in vain for %s", __FILE__, __LINE__, #condition);          \
            }                                                                                      \
            step;                                                                                  \
            bench_turn(bench);                                                                     \
        }                                                                                          \
    } while (0)

/* The ends of a connected pair; TCP over loopback or a Unix socket pair. Both non-blocking. */
struct pair {
    int server;
    int client;
};
struct pair pair_open(bool is_unix);
int connect_to(uint16_t port);

/* Records what a stream says. */
struct recorder {
    struct bench *bench;
    struct ps_stream *stream; /* NULL once closed */
    struct ps_buf received;
    unsigned eofs;
    unsigned drains;
    unsigned closes;
    enum ps_stream_end end;
    bool inside; /* a callback runs: another one would be re-entry */
    /* Called inside the callbacks when set. */
    void (*on_data)(struct recorder *recorder, const char *ptr, size_t len);
    void (*on_eof)(struct recorder *recorder);
    void (*on_drain)(struct recorder *recorder);
    size_t number; /* for the test's own use */
};

extern const struct ps_stream_ops recorder_ops;
extern const struct ps_stream_options default_options;
void recorder_init(struct recorder *recorder, struct bench *bench);
void recorder_deinit(struct recorder *recorder);

/* A plain client. */
struct client {
    int fd;
    struct ps_buf received;
    const char *out; /* borrowed */
    size_t out_len;
    bool eof;
    int error;       /* errno of the read that failed */
    int send_error;  /* errno of the write that failed: a reset may show only here */
    size_t read_max; /* bytes taken per step; 0: no bound */
};

void client_init(struct client *client, int fd);
void client_deinit(struct client *client);
/* Sends what the socket takes and reads what is there. */
void client_step(struct client *client);

/* Bytes that tell their place: a lost, repeated or moved piece shows. */
void fill_pattern(char *bytes, size_t len, size_t offset);
bool is_pattern(const char *bytes, size_t len, size_t offset);

#endif
