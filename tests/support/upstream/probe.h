/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_PROBE_H
#define PENSTOCK_TESTS_PROBE_H

#include "fake_http.h"

#include "penstock/base/chain.h"
#include "penstock/net/loop.h"
#include "penstock/upstream/upstream.h"

#include <uv.h>

#include <stdbool.h>
#include <stdint.h>

/* A loop with an upstream on it, and a tick that bounds how long a turn may sleep. */
struct bench {
    struct ps_budget budget;
    struct ps_loop loop;
    uv_timer_t tick;
    struct fake_http *server;
    struct ps_upstream_ca *ca;
    struct ps_upstream_shared *shared;
    struct ps_upstream *upstream;
};

/* What a call went through. */
struct probe {
    struct ps_call *call;
    struct bench *bench;
    unsigned sent;
    unsigned heads;
    unsigned ends;
    int status;
    size_t header_count;
    int64_t content_length;
    char marker[64]; /* value of x-marker */
    char body[256];  /* its first bytes, NUL-terminated */
    uint64_t body_len;
    uint64_t body_hash;
    bool pattern_ok; /* every byte as fake_pattern has it */
    unsigned data_calls;
    enum ps_call_end end;
    char detail[256];
    struct ps_call_timing timing;
    unsigned callbacks_when_paused;
    bool paused;
    void (*on_event)(struct probe *probe, const char *what); /* may be NULL */
    void *user;
};

/* `options` NULL: plain http to `server`, 100 connections, a queue of 100. */
void bench_open(struct bench *bench, struct fake_http *server,
                const struct ps_upstream_options *options);
/* Closes all; fails the test when a place, a socket or a waiting call is left over. */
void bench_close(struct bench *bench);
void bench_options(struct ps_upstream_options *options, char *url, size_t url_size, int port);
/* Turns the loop until *flag is nonzero; fails the test after 30 s. */
#define bench_until(bench, condition)                                                              \
    do {                                                                                           \
        int64_t bench_deadline_ = bench_now() + 30000000;                                          \
        while (!(condition)) {                                                                     \
            if (bench_now() > bench_deadline_) {                                                   \
                fail_msg("%s:%d: timed out: %s", __FILE__, __LINE__, #condition);                  \
            }                                                                                      \
            (void)ps_loop_turn(&(bench)->loop, true);                                              \
        }                                                                                          \
    } while (0)
int64_t bench_now(void);

extern const struct ps_call_ops probe_ops;
void probe_init(struct probe *probe, struct bench *bench);
/* Starts `request` (NULL: a small POST to /v1/x). */
void probe_start(struct probe *probe, const struct ps_call_request *request);
/* A small POST. */
void probe_request(struct ps_call_request *request);
void probe_run(struct probe *probe, struct bench *bench, const struct ps_call_request *request);

#endif
