/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_EXCHANGE_PRIV_H
#define PENSTOCK_GATEWAY_EXCHANGE_PRIV_H

#include "penstock/base/chain.h"
#include "penstock/gateway/exchange.h"
#include "penstock/gateway/router.h"

/* Attempts of one exchange that are told apart in the log; more are only counted. */
#define PS_ATTEMPT_RECORDS 8

#define PS_ATTEMPT_STATES(X)                                                                       \
    X(IDLE)     /* none runs */                                                                    \
    X(STARTING) /* sent or queued, no response head yet */                                         \
    X(HOLDING)  /* response bytes are held back: the commit rule has not decided */                \
    X(WON)      /* its bytes go to the front */

enum ps_attempt_state {
#define X(name) PS_ATTEMPT_##name,
    PS_ATTEMPT_STATES(X)
#undef X
};

struct ps_attempt_record {
    const struct ps_target *target;
    enum ps_fault_kind fault;
    int status;
    int64_t us; /* start to verdict */
};

/*
 * One target being asked. There is one at a time, embedded in its exchange; what it allocates lies in the
 * exchange's arena.
 */
struct ps_attempt {
    enum ps_attempt_state state;
    const struct ps_target *target;
    struct ps_encoded encoded;
    struct ps_call *call;         /* NULL when none runs */
    bool upstream_taken;
    struct ps_decoder *decoder;   /* owned; NULL for error answers */
    struct ps_chain hold;         /* bytes before the commit; the body of an error answer */
    bool hold_cut;                /* an error body that did not fit */
    int status;                   /* of the answer; 0: none yet */
    struct ps_slice content_type;
    int64_t length;
    bool event_stream;
    bool json;                    /* one JSON text */
    struct ps_call_header *headers;
    size_t header_count;
    int64_t retry_after_us;
    int64_t started_us;
    bool fresh;                   /* on a new connection, after a reused one had died */
    bool sent;
    bool done;                    /* the terminal marker was seen */
    struct ps_fault fault;        /* set inside the decoder's callback, handled when it has returned */
};

struct ps_exchange {
    enum ps_exchange_state state;
    struct ps_link link;          /* in gl->exchanges */
    struct ps_gateway_loop *gl;   /* borrowed */
    struct ps_arena *arena;       /* borrowed from the front */
    struct ps_snapshot *snapshot; /* owned reference */
    struct ps_exchange_spec spec;
    const struct ps_front_ops *front;
    void *front_arg;
    struct ps_id id;              /* gen_… */

    const struct ps_dialect *dialect; /* the front's */
    struct ps_reader *reader;
    struct ps_request request;
    struct ps_chain body;         /* owned */
    uint64_t received;            /* body bytes */

    const struct ps_route *route;
    struct ps_slice rest;         /* model behind "provider/" */
    struct ps_routing routing;
    const struct ps_target *next; /* chosen, to be started by the next step */
    struct ps_attempt attempt;
    struct ps_attempt_record records[PS_ATTEMPT_RECORDS];
    unsigned attempts;
    struct ps_slice upstream_id;

    struct ps_task task;          /* the next step, never taken inside a callback from below */
    void (*step)(struct ps_exchange *ex);
    struct ps_timer timer;        /* ATTEMPTING: this attempt's commit; COMMITTED: the upstream's end after [DONE] */
    bool paused;

    struct ps_answer answer;
    struct ps_outcome outcome;
    struct ps_usage usage;
    enum ps_finish finish;

    int64_t run_us;               /* body complete */
    int64_t waited_us;            /* sum of waiting for upstreams until the commit */
    int64_t commit_us;
    int64_t overhead_us;          /* receipt to status line, less waiting; -1: no status line yet */
    int64_t queue_us;             /* waiting for a connection, of the last attempt */
};

/* attempt.c */

/* Asks the first target of the route. */
void ps_attempt_first(struct ps_exchange *ex);
/* Cancels what runs; nothing is reported. Legal when nothing runs. */
void ps_attempt_drop(struct ps_exchange *ex, enum ps_verdict verdict);
/* The timer of the exchange came up. */
void ps_attempt_timeout(struct ps_exchange *ex);

/* exchange.c */

void ps_exchange_enter(struct ps_exchange *ex, enum ps_exchange_state state);
/* Takes `step` at the end of this turn. */
void ps_exchange_defer(struct ps_exchange *ex, void (*step)(struct ps_exchange *ex));
/* The attempt decided the status line: tells the front and hands over what was held. */
void ps_exchange_commit(struct ps_exchange *ex, int64_t arrival_us);
/* Ends the answer towards the front: complete, or with a fault. */
void ps_exchange_complete(struct ps_exchange *ex);
void ps_exchange_fail(struct ps_exchange *ex, const struct ps_fault *fault);

/* record.c */

/* The log line and the metrics of an exchange that ends. */
void ps_exchange_record(const struct ps_exchange *ex, enum ps_end_reason reason, int status, uint64_t sent,
                        const struct ps_fault *fault);
/* One exchange more (+1) or less (-1) in flight. */
void ps_inflight_record(const struct ps_exchange *ex, int change);
/* Metrics of one attempt. */
void ps_attempt_record(const struct ps_exchange *ex, const struct ps_attempt_record *record);
/* One retry: because of a fault, or of a reused connection that had died. */
void ps_retry_record(const struct ps_exchange *ex, enum ps_fault_kind reason, bool reuse_died);

#endif
