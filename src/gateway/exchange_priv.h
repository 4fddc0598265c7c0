/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_EXCHANGE_PRIV_H
#define PENSTOCK_GATEWAY_EXCHANGE_PRIV_H

#include "penstock/base/chain.h"
#include "penstock/dialect/prompt.h"
#include "penstock/engine/engine.h"
#include "penstock/gateway/exchange.h"
#include "penstock/gateway/router.h"

/* Attempts of one exchange that are told apart in the log; more are only counted. */
#define PS_ATTEMPT_RECORDS 8

#define PS_ATTEMPT_STATES(X)                                                                       \
    X(IDLE)     /* none runs */                                                                    \
    X(STARTING) /* translated, sent or queued: no response head yet */                             \
    X(HOLDING)  /* response bytes are held back: the commit rule has not decided */                \
    X(WON)      /* its bytes go to the front */

enum ps_attempt_state {
#define X(name) PS_ATTEMPT_##name,
    PS_ATTEMPT_STATES(X)
#undef X
};

/* What a backend makes of the request before it can ask: no more than what is named here is read
 * and written, so that any thread may do it. */
struct ps_translation {
    struct ps_request *request; /* the exchange's, or a copy */
    struct ps_arena *arena;     /* for what is made */
    const struct ps_dialect *dialect;
    /* the upstream backend's */
    struct ps_encode_options options;
    struct ps_encoded encoded;
    /* the engine backend's */
    struct ps_prompt prompt;
    /* kind NONE: it is made */
    struct ps_fault fault;
};

/* Who answers. In callbacks from the backend the attempt is driven by ps_attempt_event, _failed and
 * _won. */
struct ps_backend {
    /* Fills what translate needs; true: its work grows with the body. */
    bool (*plan)(struct ps_exchange *ex, struct ps_translation *t);
    /* Any thread. 0, or -1 with t->fault. */
    int (*translate)(struct ps_translation *t);
    /* 0, or -1 with a fault: then nothing runs. */
    int (*start)(struct ps_exchange *ex, const struct ps_translation *t, struct ps_fault *fault);
    bool transient; /* nothing of the translation is needed when start has returned */
    void (*pause)(struct ps_exchange *ex, bool paused);
    /* Cancels what runs and frees what the attempt holds of the backend. Not inside the backend's
     * callbacks. Legal twice, and after a failed start. */
    void (*release)(struct ps_exchange *ex);
};
extern const struct ps_backend ps_upstream_backend;           /* upstream_backend.c */
extern const struct ps_backend ps_engine_backend;             /* engine_backend.c */
extern const struct ps_engine_port_ops ps_engine_backend_ops; /* of the ports that it asks */

struct ps_attempt_record {
    const struct ps_target *target;
    enum ps_fault_kind fault;
    int status;
    int64_t us; /* start to verdict */
};

/*
 * One target being asked. There is one at a time, embedded in its exchange; what it allocates lies
 * in the exchange's arena.
 */
struct ps_attempt {
    enum ps_attempt_state state;
    const struct ps_target *target;
    const struct ps_backend *backend;
    struct ps_offload *offload; /* the translation, on its way; NULL: there is none */
    /* the upstream backend's */
    struct ps_encoded encoded;
    struct ps_call *call; /* NULL when none runs */
    bool upstream_taken;
    bool fresh; /* on a new connection, after a reused one had died */
    bool sent;
    struct ps_decoder *decoder; /* owned; NULL for error answers */
    /* the engine backend's */
    ps_engine_ticket ticket;     /* 0 when none runs */
    struct ps_engine_port *port; /* borrowed from the loop */
    /* both's */
    struct ps_chain hold; /* bytes before the commit; the body of an error answer */
    bool hold_cut;        /* an error body that did not fit */
    int status;           /* of the answer; 0: none yet */
    struct ps_slice content_type;
    int64_t length;
    bool event_stream;
    bool json; /* one JSON text */
    struct ps_call_header *headers;
    size_t header_count;
    int64_t retry_after_us;
    int64_t started_us;
    int64_t waiting_us;    /* from here on others work: the request is sent */
    bool done;             /* the terminal marker was seen */
    struct ps_fault fault; /* set inside the decoder's callback, handled when it has returned */
};

struct ps_exchange {
    enum ps_exchange_state state;
    struct ps_gateway_loop *gl;   /* borrowed */
    struct ps_arena *arena;       /* borrowed from the front */
    struct ps_snapshot *snapshot; /* owned reference */
    struct ps_exchange_spec spec;
    const struct ps_front_ops *front;
    void *front_arg;
    struct ps_id id; /* gen_… */

    const struct ps_dialect *dialect; /* the front's */
    struct ps_reader *reader;
    struct ps_request request;
    struct ps_chain body; /* owned */
    uint64_t received;    /* body bytes */

    const struct ps_route *route;
    struct ps_slice rest; /* model behind "provider/" */
    struct ps_routing routing;
    const struct ps_target *next; /* chosen, to be started by the next step */
    struct ps_attempt attempt;
    struct ps_attempt_record records[PS_ATTEMPT_RECORDS];
    unsigned attempts;
    struct ps_slice upstream_id;
    struct ps_slice dropped; /* see ps_exchange_dropped */

    struct ps_task task; /* the next step, never taken inside a callback from below */
    void (*step)(struct ps_exchange *ex);
    struct ps_timer
        timer; /* ATTEMPTING: this attempt's commit; COMMITTED: the upstream's end after [DONE] */
    bool paused;

    struct ps_answer answer;
    struct ps_outcome outcome;
    struct ps_usage usage;

    int64_t receipt_us; /* the last bytes of the request came */
    int64_t run_us;     /* body complete and taken in */
    int64_t waited_us;  /* sum of waiting for upstreams until the commit */
    int64_t commit_us;
    int64_t overhead_us; /* receipt to status line, less waiting; -1: no status line yet */
    int64_t queue_us;    /* waiting for a connection, of the last attempt */
};

/* attempt.c */

/* Asks the first target of the route. */
void ps_attempt_first(struct ps_exchange *ex);
/* Cancels what runs; nothing is reported. Legal when nothing runs. */
void ps_attempt_drop(struct ps_exchange *ex);
/* The timer of the exchange came up. */
void ps_attempt_timeout(struct ps_exchange *ex);
void ps_attempt_pause(struct ps_exchange *ex, bool paused);

/* The translation is made, or has failed: asks. */
void ps_attempt_begin(struct ps_exchange *ex, const struct ps_translation *t);

/* For backends, also inside their callbacks. */
/* One event; false: stop, the attempt's fault is set (and has still to be reported by _failed). */
bool ps_attempt_event(struct ps_exchange *ex, const struct ps_event *event);
/* The attempt ends badly; what follows is deferred. */
void ps_attempt_failed(struct ps_exchange *ex, enum ps_verdict verdict,
                       const struct ps_fault *fault);
/* The answer is whole. */
void ps_attempt_won(struct ps_exchange *ex);
/* The same target again, on a fresh connection. */
void ps_attempt_renew(struct ps_exchange *ex);
/* What a fault says of its target's health. */
enum ps_verdict ps_attempt_verdict(const struct ps_fault *fault);
/* A provider's own time in ms (-1: none given) or the common one, in µs. */
int64_t ps_timeout_us(int64_t own_ms, int64_t common_ms);

/* offload.c: translations that would hold the loop are made by the offload pool. */

/* Whether the exchange's body is so large that handing over pays. */
bool ps_offload_pays(const struct ps_exchange *ex);
/*
 * Hands `t` over: ps_attempt_begin comes in a later turn. -1 with a fault when the pool is busy or
 * memory is short; what then is still done on the loop, ps_offload_bears says.
 */
int ps_offload_start(struct ps_exchange *ex, const struct ps_backend *backend,
                     const struct ps_translation *t, struct ps_fault *fault);
bool ps_offload_bears(const struct ps_exchange *ex);
/* The exchange ends: what a thread still reads of it is kept until it has done. */
void ps_offload_leave(struct ps_exchange *ex);

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
void ps_exchange_record(const struct ps_exchange *ex, enum ps_end_reason reason, int status,
                        uint64_t sent, const struct ps_fault *fault);
/* One exchange more (+1) or less (-1) in flight. */
void ps_inflight_record(const struct ps_exchange *ex, int change);
/* Metrics of one attempt. */
void ps_attempt_record(const struct ps_exchange *ex, const struct ps_attempt_record *record);
/* One retry: because of a fault, or of a reused connection that had died. */
void ps_retry_record(const struct ps_exchange *ex, enum ps_fault_kind reason, bool reuse_died);

#endif
