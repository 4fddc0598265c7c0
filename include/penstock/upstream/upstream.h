/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_UPSTREAM_UPSTREAM_H
#define PENSTOCK_UPSTREAM_UPSTREAM_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"
#include "penstock/net/loop.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Outbound HTTP/1.1 by libcurl's multi interface on an event loop: the only room that knows curl.
 *
 *   ps_upstream_ca       trusted certificates, parsed once, off the loop, shared by all
 *   ps_upstream_shared   one per (provider, endpoint) and process: its settings, its connection
 * limit ps_upstream          its share on one loop: CURLMs, idle connections, its bounded queue
 *   ps_call              one request and its answer
 *
 * curl re-sends nothing by itself, resolves nothing on the loop, follows nothing, decodes nothing.
 * All functions on a loop's thread unless said otherwise.
 */

/* Once per process, before threads / after them. `ret_version`: "7.88.1 OpenSSL/3.0…", static. */
int ps_upstream_global_init(void) __attribute__((warn_unused_result));
void ps_upstream_global_deinit(void);
const char *ps_upstream_version(void);

/* Trusted CAs. `file` NULL: the system's bundle. Blocks (tens of ms): not on a loop. Counted, any
 * thread. */
struct ps_upstream_ca;
struct ps_upstream_ca *ps_upstream_ca_new(const char *file, char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
struct ps_upstream_ca *ps_upstream_ca_ref(struct ps_upstream_ca *ca);
void ps_upstream_ca_unref(struct ps_upstream_ca *ca);

struct ps_upstream_options {
    const char *base_url;      /* "https://host/v1", no trailing slash; copied */
    const char *proxy;         /* NULL: none */
    struct ps_upstream_ca *ca; /* a reference is taken; NULL: plain http only */
    uint32_t
        max_connections; /* calls in flight, over all loops; what idles in a pool is not counted */
    uint32_t max_queue;  /* calls waiting, over all loops */
    int64_t connect_timeout_us; /* name, TCP, proxy, TLS */
    int64_t
        idle_timeout_us; /* a pooled connection idle for longer is not used again (default 50 s) */
    bool public_only; /* connects to public addresses only (net/address.h), whatever a name resolves
                         to: for URLs that others choose. Not together with a proxy */
};

/* Counted, any thread; immutable but for its atomics. NULL with a sentence for a bad URL. */
struct ps_upstream_shared;
struct ps_upstream_shared *ps_upstream_shared_new(const struct ps_upstream_options *options,
                                                  char *ret_error, size_t error_size)
    __attribute__((warn_unused_result));
struct ps_upstream_shared *ps_upstream_shared_ref(struct ps_upstream_shared *shared);
void ps_upstream_shared_unref(struct ps_upstream_shared *shared);

/* For metrics, router and tests. Any thread. */
struct ps_upstream_stats {
    uint64_t active; /* calls with a connection */
    uint64_t queued;
    uint64_t connections;  /* open sockets, idle ones included */
    uint64_t opened;       /* connections ever opened */
    uint64_t reuse_deaths; /* reused connections that died before a response byte */
    uint64_t stray_closed; /* idle connections closed because the peer sent bytes or closed */
};
void ps_upstream_shared_stats(const struct ps_upstream_shared *shared,
                              struct ps_upstream_stats *ret);

struct ps_upstream;
struct ps_upstream *ps_upstream_new(struct ps_loop *loop, struct ps_upstream_shared *shared)
    __attribute__((warn_unused_result));
/* Cancels what runs (their on_end is called with PS_CALL_CANCELLED before it returns), then frees,
 * asynchronously. */
void ps_upstream_close(struct ps_upstream *upstream);

struct ps_call_header {
    struct ps_slice name;
    struct ps_slice value;
};

struct ps_call_request {
    const char *method;   /* "POST"; static */
    struct ps_slice path; /* behind base_url, with its '/', already encoded, may hold a query */
    bool from_root;       /* the path stands for itself, without that of the base URL */
    const struct ps_call_header
        *headers; /* copied; checked again for CR, LF, NUL, and for headers that frame
                     the message, which are ours: such a request ends PS_CALL_PROTOCOL */
    size_t header_count;
    const struct ps_slice *body; /* parts, in order; the array is copied, the bytes are borrowed
                                    until on_sent or on_end, whichever comes first */
    size_t body_count;
    bool has_body;
    bool fresh_connection; /* not on a pooled one: the new attempt after PS_CALL_REUSE_DIED */
    bool background; /* waits behind all others, in a queue of its own (max_queue holds for either),
                        and leaves a quarter of max_connections, at least one of several, to them */
    int64_t first_byte_timeout_us; /* from the start (queueing excluded) to the final response head;
                                      0: none */
    int64_t idle_timeout_us;       /* between response bytes, not while paused; 0: none */
    int64_t total_timeout_us;      /* from ps_call_start, queueing included; 0: none */
    int64_t queue_timeout_us;      /* waiting for a connection; 0: none */
};

enum ps_call_end {
    PS_CALL_DONE, /* the response is complete by its framing */
    PS_CALL_CANCELLED,
    PS_CALL_QUEUE_FULL,
    PS_CALL_QUEUE_TIMEOUT,
    PS_CALL_RESOLVE,    /* the name has no address */
    PS_CALL_CONNECT,    /* refused, unreachable, connect timeout, proxy */
    PS_CALL_TLS,        /* handshake or verification */
    PS_CALL_REUSE_DIED, /* a reused connection died before any response byte: one new attempt is
                           earned */
    PS_CALL_SEND,       /* the connection broke while sending or before the first response byte */
    PS_CALL_CUT,        /* the response ended before its framing said so */
    PS_CALL_PROTOCOL,   /* not HTTP, or a head above the limits */
    PS_CALL_FIRST_BYTE_TIMEOUT,
    PS_CALL_IDLE_TIMEOUT,
    PS_CALL_TOTAL_TIMEOUT,
    PS_CALL_NO_MEMORY,
    PS_CALL_END_COUNT
};
const char *ps_call_end_name(enum ps_call_end end);

/* Final response head (1xx are swallowed, trailers dropped). Slices live until on_head returns. */
struct ps_call_head {
    int status;
    const struct ps_call_header *headers; /* at most 100, 64 KiB in all, else PS_CALL_PROTOCOL */
    size_t header_count;
    int64_t content_length; /* -1: unknown */
};
struct ps_slice ps_call_header_value(const struct ps_call_head *head, const char *name);

/*
 * Callbacks come from the loop, never from inside ps_call_start, _pause, _resume or _cancel. In
 * them any function on the call is legal. After on_end the call is gone.
 */
struct ps_call_ops {
    void (*on_sent)(void *arg); /* may be NULL: the request bytes are no longer needed */
    void (*on_head)(void *arg, const struct ps_call_head *head);
    /* Bytes valid until it returns; all are taken. After ps_call_pause no more come until resume
     * (at most what curl has at hand, ≤ 16 KiB, may still come in the same turn). */
    void (*on_data)(void *arg, const char *ptr, size_t len);
    void (*on_end)(void *arg, enum ps_call_end end,
                   const char *detail); /* detail: a sentence, never NULL, no secrets */
};

struct ps_call_timing {
    int64_t queued_us;  /* waited for a place */
    int64_t started_us; /* monotonic; 0: never started */
    int64_t sent_us;
    int64_t head_us;
    bool reused; /* on a pooled connection */
};

struct ps_call;
/* NULL when memory is short. Everything else, a full queue too, comes through on_end. */
struct ps_call *ps_call_start(struct ps_upstream *upstream, const struct ps_call_request *request,
                              const struct ps_call_ops *ops, void *arg)
    __attribute__((warn_unused_result));
void ps_call_pause(struct ps_call *call);
void ps_call_resume(struct ps_call *call);
/*
 * Legal in every state until on_end. No callback comes after it, on_end neither; the borrowed body
 * is free to go when it returns. The connection is closed unless the response was already complete.
 */
void ps_call_cancel(struct ps_call *call);
void ps_call_timing(const struct ps_call *call, struct ps_call_timing *ret);

#endif
