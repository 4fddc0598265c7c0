/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_GATEWAY_EXCHANGE_H
#define PENSTOCK_GATEWAY_EXCHANGE_H

#include "penstock/base/arena.h"
#include "penstock/base/fault.h"
#include "penstock/base/id.h"
#include "penstock/base/slice.h"
#include "penstock/dialect/dialect.h"
#include "penstock/gateway/gateway.h"
#include "penstock/gateway/identity.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * One request and its answer, from the head to the log line. A front (an HTTP connection, later a
 * line of a batch) owns it: opens it when the head is known, feeds the body, gets the answer by
 * callbacks, and ends it, exactly once, when the last byte is delivered or nobody wants it any
 * more. Ending cancels whatever runs; it is the one cancel, legal in every state but inside the
 * exchange's own callbacks.
 *
 *   ps_exchange_open → ps_exchange_body* → ps_exchange_run → on_commit → on_event* → on_end →
 * ps_exchange_end └────────── on_end (a fault) ──┘
 */

#define PS_EXCHANGE_STATES(X)                                                                      \
    X(HEAD)       /* opened */                                                                     \
    X(BODY)       /* body bytes come in */                                                         \
    X(PREPARING)  /* body complete: fields checked, model looked up */                             \
    X(ATTEMPTING) /* a target is being asked, nothing was promised to the client */                \
    X(COMMITTED)  /* status line decided: no other target any more */                              \
    X(FLUSHING)   /* on_end was called; the front delivers what it has */                          \
    X(ENDED)

enum ps_exchange_state {
#define X(name) PS_EXCHANGE_##name,
    PS_EXCHANGE_STATES(X)
#undef X
};

/* Why an exchange ended: one row, one word in the log. */
#define PS_END_REASONS(X)                                                                          \
    X(DONE, "done", false)                                                                         \
    X(FAULT, "fault", true) /* answered with an error */                                           \
    X(CUT, "cut", true)     /* the committed answer could not be finished */                       \
    X(CLIENT_GONE, "client_gone", true)                                                            \
    X(CLIENT_SLOW, "client_slow", true)                                                            \
    X(BAD_BODY, "bad_body", true) /* framing error or timeout while the body came */               \
    X(SHUTDOWN, "shutdown", true)

enum ps_end_reason {
#define X(name, word, is_error) PS_END_##name,
    PS_END_REASONS(X)
#undef X
};
const char *ps_end_reason_word(enum ps_end_reason reason);

#define PS_ANSWER_HEADERS 24

/* The head of an answer, at the commit. Slices live as long as the exchange. */
struct ps_answer {
    int status;                   /* the upstream's 2xx */
    struct ps_slice content_type; /* empty: none */
    int64_t length;               /* of the raw body; -1: not known yet */
    bool stream;                  /* an event stream */
    bool raw;                     /* events carry raw bytes for the client; else fields to encode */
    const struct ps_call_header *headers; /* what the allow-list lets through */
    size_t header_count;
};

/* The end of an answer. */
struct ps_outcome {
    bool committed;        /* on_commit was called before */
    struct ps_fault fault; /* kind NONE: the answer is complete */
    bool told;             /* the upstream's own error event has been relayed: say no more */
    /* The upstream's own error, to be passed on unchanged instead of `fault` in words; status in
     * fault. */
    bool verbatim;
    struct ps_slice content_type;
    const struct ps_chain *body; /* borrowed until ps_exchange_end */
    const struct ps_call_header *headers;
    size_t header_count;
};

/* Callbacks come from the loop, never from inside a ps_exchange_ function. They must not call
 * ps_exchange_end. */
struct ps_front_ops {
    void (*on_commit)(void *arg, const struct ps_answer *answer);
    void (*on_event)(void *arg, const struct ps_event *event);
    void (*on_end)(void *arg, const struct ps_outcome *outcome);
};

/* What the front knows at the head. Slices live as long as the arena. */
struct ps_exchange_spec {
    const char *door; /* label: "chat", "generate" …; static */
    enum ps_family family;
    enum ps_operation operation;
    struct ps_reader_options reader; /* its operation is set from the above */
    struct ps_identity identity;
    struct ps_slice method; /* as in ps_request */
    struct ps_slice path;
    struct ps_slice query;
    struct ps_slice content_type;
    struct ps_slice accept;
    const struct ps_call_header
        *headers; /* client headers the allow-list lets through to the upstream */
    size_t header_count;
    struct ps_slice provider;          /* x-penstock-provider; empty: by model */
    struct ps_slice credential;        /* the client's own key, for providers with auth: client */
    struct ps_slice client_request_id; /* sane x-request-id, or empty */
    struct ps_slice traceparent;       /* valid one, or empty */
    const char *client;                /* address for the log */
    struct ps_id request_id;
    int64_t received_us; /* when the head was complete */
    bool background;     /* a job, which waits behind live requests wherever there is a queue */
    /*
     * The request asks to be a job, and its fields and model were found fit: the exchange does no
     * more, the front takes the body (ps_exchange_request) and ends it. Called as the others are,
     * instead of them. NULL: such a request is refused, unless it is a job already.
     */
    void (*on_background)(void *arg);
    bool prefer_background; /* the head asks for it too, where no stream is wanted */
    /*
     * The request is one that the front can answer itself (request.own_answer), its model exists,
     * and not all of its targets would be asked as it is: the front answers and ends the exchange.
     * Called as the others are, instead of them. NULL: a target is asked all the same.
     */
    void (*on_own_answer)(void *arg);
    /*
     * The request goes on from a response that this gateway may keep (request.previous_id), or
     * names items of some (request.references), and was found fit otherwise: the exchange waits for
     * ps_exchange_previous. Called as the others are. NULL: nothing is kept, and such a request is
     * refused.
     */
    void (*on_previous)(void *arg);
    bool keeps_responses; /* the front keeps the answer, where the request allows it */
};

struct ps_exchange;

/* Everything, the exchange too, comes from `arena`, which must live until after ps_exchange_end.
 * NULL when memory is short. */
struct ps_exchange *ps_exchange_open(struct ps_gateway_loop *gl, struct ps_arena *arena,
                                     const struct ps_exchange_spec *spec,
                                     const struct ps_front_ops *ops, void *arg)
    __attribute__((warn_unused_result));
/* Body bytes, copied. -1: refused with a fault; the front answers it and ends. */
int ps_exchange_body(struct ps_exchange *ex, const char *ptr, size_t len,
                     struct ps_fault *ret_fault) __attribute__((warn_unused_result));
/* The body is complete. on_end or on_commit will come. */
void ps_exchange_run(struct ps_exchange *ex);
/*
 * Behind on_previous: the items before the request's own (RAW array in the arena, or empty), or a
 * fault. The request's references have their items by then, as far as these were found.
 * on_end or on_commit will come.
 */
void ps_exchange_previous(struct ps_exchange *ex, struct ps_slice items,
                          const struct ps_fault *fault);
/* Backpressure: the front's queue is full / has room again. Legal in every state. */
void ps_exchange_pause(struct ps_exchange *ex);
void ps_exchange_resume(struct ps_exchange *ex);
/*
 * The one exit: cancels what runs, writes the log line and the metrics. `status` and `sent` = what
 * the client got.
 */
void ps_exchange_end(struct ps_exchange *ex, enum ps_end_reason reason, int status, uint64_t sent,
                     const struct ps_fault *fault);

const struct ps_request *ps_exchange_request(const struct ps_exchange *ex);
/* From on_own_answer on: whose targets would have been asked. */
const struct ps_route *ps_exchange_route(const struct ps_exchange *ex);
/* The answering target, or the last one tried; empty slices when none was. */
struct ps_slice ps_exchange_provider(const struct ps_exchange *ex);
struct ps_slice ps_exchange_model(const struct ps_exchange *ex);
unsigned ps_exchange_attempts(const struct ps_exchange *ex);
struct ps_slice ps_exchange_upstream_id(const struct ps_exchange *ex);
/* "user, metadata": fields of the request that mean nothing to the target and change nothing;
 * empty: none. */
struct ps_slice ps_exchange_dropped(const struct ps_exchange *ex);
/* Receipt to status line, less waiting for the upstream: taken when first asked for. */
int64_t ps_exchange_overhead_us(struct ps_exchange *ex);
/* Counts as told so far; -1: not told. */
struct ps_usage ps_exchange_usage(const struct ps_exchange *ex);
/*
 * From on_commit on, where the events are not raw: what makes the answer in the family of the front
 * out of them. It lies in the exchange's arena; ps_writer_free before that goes. NULL when memory
 * is short.
 */
struct ps_writer *ps_exchange_writer(struct ps_exchange *ex, enum ps_writer_mode mode)
    __attribute__((warn_unused_result));
void ps_exchange_info(const struct ps_exchange *ex, struct ps_answer_info *ret);

/* Whether a client's header may go to the upstream / an upstream's to the client: the allow-list.
 * Names in any case. */
bool ps_header_goes_up(struct ps_slice name);
bool ps_header_comes_down(struct ps_slice name);
/* How a client of this family calls a rate-limit header of another: static, or empty when it has no
 * name for it. What is no rate-limit header keeps its own name. */
struct ps_slice ps_header_called(enum ps_family client, struct ps_slice name);

#endif
