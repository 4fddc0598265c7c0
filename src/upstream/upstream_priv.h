/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_SRC_UPSTREAM_PRIV_H
#define PENSTOCK_SRC_UPSTREAM_PRIV_H

#include "penstock/base/buf.h"
#include "penstock/base/list.h"
#include "penstock/net/loop.h"
#include "penstock/upstream/upstream.h"

#include <curl/curl.h>
#include <openssl/x509.h>
#include <uv.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Shared by the files of this room.
 *
 *   upstream  owns muxes, idle lanes and slots of its loop
 *   mux       one CURLM; at most PS_MUX_CALLS calls at once, because curl walks a host's
 * connections one by one (1,000 calls at once: 30 us each in one CURLM, 23 us in four) lane      an
 * easy handle with all that lives as long as it: options that never change, the buffer of a
 * response head. Serves one call after another slot      a poll handle, as long as its socket lives
 *   call      one request; has a lane while it is in a mux
 */

#define PS_MUX_CALLS  256
#define PS_LANES_KEPT 256
/* Bodies below this leave in one send with the head; curl's own limit for it is 64 KiB. */
#define PS_BODY_INLINE  65535
#define PS_PORT_BUCKETS 256
#define PS_HEAD_FIELDS  100
#define PS_HEAD_BYTES   65536

struct ps_upstream_ca {
    atomic_uint refs;
    X509_STORE *store; /* owned; read by many threads, written by none */
};

struct ps_upstream_shared {
    atomic_uint refs;
    CURLU *url;                /* owned: scheme, host and port; never written after creation */
    char *target_prefix;       /* owned: what stands before a call's path in the request line */
    size_t root_len;           /* of it: what stands before the path of the base URL */
    char *host;                /* owned: value of the Host header */
    char *proxy;               /* owned, NULL: none */
    struct ps_upstream_ca *ca; /* one reference, NULL: plain http only */
    uint32_t max_connections;
    uint32_t max_background; /* of max_connections, for calls in the background */
    uint32_t max_queue;
    int64_t connect_timeout_us;
    int64_t idle_timeout_us;
    bool public_only;

    atomic_uint active;  /* places taken */
    atomic_uint waiting; /* calls in `queue` */
    atomic_uint waiting_background;
    uv_mutex_t lock;
    struct ps_link queue; /* under lock: calls of all loops that wait for a place, oldest first */
    struct ps_link background; /* under lock: likewise those in the background */

    atomic_uint_fast64_t connections;
    atomic_uint_fast64_t opened;
    atomic_uint_fast64_t reuse_deaths;
    atomic_uint_fast64_t stray_closed;
};

struct ps_upstream {
    struct ps_loop *loop;              /* borrowed: outlives us */
    struct ps_upstream_shared *shared; /* one reference */
    CURLSH *share;          /* owned: TLS sessions and resolved names, for all muxes and lanes */
    CURLU *url;             /* owned: this thread's own copy */
    struct ps_link muxes;   /* owned */
    struct ps_lane *lanes;  /* owned, idle */
    size_t lane_count;      /* of idle lanes */
    struct ps_slot **slots; /* owned, by descriptor number */
    size_t slot_count;      /* size of that array */
    struct ps_link by_port[PS_PORT_BUCKETS]; /* slots that were idle once, by local port */
    struct ps_link connecting; /* slots whose connection has not carried a request yet */
    struct ps_task work;
    uv_async_t wake;         /* another loop gave one of our calls a place */
    size_t handles;          /* libuv handles whose close callback has not come */
    struct ps_link calls;    /* all calls that still owe an on_end, by `all` */
    struct ps_link granted;  /* under shared->lock: got a place from a release anywhere */
    struct ps_link ready;    /* have a place, are to be started */
    struct ps_link ended;    /* never ran: owe an on_end */
    struct ps_link dead;     /* cancelled, still in a mux */
    struct ps_link resuming; /* by `act` */
    atomic_bool has_grants;  /* `granted` is worth taking the lock */
    bool has_stranded;       /* some lane is */
    bool closing;
};

struct ps_mux {
    struct ps_link link;
    struct ps_upstream *upstream; /* borrowed: owns us */
    CURLM *multi;                 /* owned */
    struct ps_timer timer;        /* what curl asks for */
    struct ps_timer idle;         /* when nothing ran for long: everything pooled is too old */
    int64_t used_us;              /* when the last call left */
    size_t active;                /* calls in it */
    struct ps_link sent;          /* calls that owe an on_sent, by `sent` */
    bool kick;                    /* curl wants to run now */
    bool broken;                  /* curl gave it up: no new calls */
};

struct ps_slot {
    uv_poll_t poll;
    struct ps_upstream *upstream; /* borrowed: outlives the handle */
    struct ps_mux *mux;           /* borrowed: outlives the socket */
    struct ps_link connecting;    /* in upstream->connecting, or in none */
    struct ps_lane *lane;         /* who opened it; only compared */
    ino_t inode;                  /* tells the socket from another one under the same number */
    struct ps_link port_link;     /* in upstream->by_port, or in none */
    int fd;
    int port;             /* local; 0: not looked up yet */
    int wanted;           /* events it is to wait for */
    int armed;            /* events it waits for, 0: stopped */
    uint64_t received;    /* bytes, by the kernel's count, when it was claimed */
    struct ps_lane *user; /* whose request went out on it from the pool, or NULL */
    bool idle;            /* pooled: whatever arrives is unasked for */
    bool foreign;         /* not opened by us (curl's resolver) */
    bool closing;
};

struct ps_head_field {
    uint32_t name;
    uint32_t name_len;
    uint32_t value;
    uint32_t value_len;
};

struct ps_lane {
    CURL *easy;                   /* owned */
    struct ps_upstream *upstream; /* borrowed: owns us, or our call does */
    struct ps_mux *mux;           /* where it runs, else NULL */
    struct ps_call *call;         /* borrowed; NULL: idle */
    struct ps_slot *slot;         /* the pooled connection it claimed, or NULL */
    struct ps_lane *next;         /* in the list of idle ones */
    struct ps_buf head;           /* lines of the response head, without line ends */
    struct ps_head_field fields[PS_HEAD_FIELDS];
    size_t field_count;
    size_t head_bytes; /* of head and trailers together */
    int status;
    unsigned requests; /* times curl was about to send this call's request */
    bool resend_refused;
    bool stale;     /* the pooled connection had unasked-for bytes or was closed */
    bool got_bytes; /* of an answer that ended before its first line */
    bool got_line;  /* a line of a response has come */
    bool stranded;  /* curl gave an address up and may have forgotten to try the next */
    bool held;      /* curl holds bytes back because we said so */
    bool forbidden; /* an address was refused, since it is not public */
    /* what the easy handle stands at, so that it need not be told again */
    bool headless; /* NOBODY is set */
    bool custom_method;
    bool fresh;
    bool no_reuse;
    long upload_buffer; /* 0: curl's own */
    char error[CURL_ERROR_SIZE];
};

enum ps_call_state {
    PS_CALL_QUEUED,  /* in shared->queue or upstream->granted, by `link` */
    PS_CALL_READY,   /* in upstream->ready */
    PS_CALL_RUNNING, /* in a mux */
    PS_CALL_ENDED,   /* in upstream->ended */
    PS_CALL_GONE,    /* cancelled, or its on_end is being called */
};

struct ps_call {
    struct ps_upstream *upstream; /* borrowed: closes us before it goes */
    const struct ps_call_ops *ops;
    void *arg;
    struct ps_lane *lane; /* owned while running */
    struct ps_link link;
    struct ps_link all;
    struct ps_link act;
    struct ps_link sent;
    enum ps_call_state state;
    bool granted; /* under shared->lock */
    bool background;
    bool paused;
    bool head_seen;
    bool sent_told;
    bool fresh;
    bool verdict; /* `end` and `detail` say how it ends, whatever curl says */
    enum ps_call_end end;
    const char *detail; /* static */
    struct ps_timer timer;
    int64_t queue_due_us; /* INT64_MAX: none, as the others */
    int64_t first_due_us;
    int64_t idle_due_us;
    int64_t total_due_us;
    int64_t first_byte_timeout_us;
    int64_t idle_timeout_us;
    int64_t born_us;
    struct ps_call_timing timing;
    const char *method;     /* static */
    char *target;           /* the request head, see request.c */
    struct ps_slice *parts; /* the bytes are borrowed until on_sent */
    size_t part_count;
    size_t part; /* the first that curl has not read to its end */
    size_t part_offset;
    size_t body_len;
    bool has_body;
    struct ps_slice small; /* borrowed: a small body of one part */
    char *gathered;        /* owned: a small body of several parts */
};

/* slot.c */
/* `lane` NULL: curl opened it for itself. */
struct ps_slot *ps_slot_open(struct ps_mux *mux, int fd, struct ps_lane *lane);
struct ps_slot *ps_slot_find(struct ps_upstream *upstream, int fd);
/* 0, or a libuv error. `events` 0 stops it. */
int ps_slot_arm(struct ps_slot *slot, int events);
/* Its transfer is over and the connection is pooled: watch for bytes nobody asked for. */
void ps_slot_idle(struct ps_slot *slot);
/*
 * The lane's request is about to leave on a pooled connection, which curl names by its local port:
 * from here on what arrives is asked for. false: bytes, or the end, wait on it already.
 */
bool ps_slot_claim(struct ps_lane *lane, int port);
/* The socket is about to be closed: whether any byte came for the call that claimed it. curl shows
 * whole lines only. */
void ps_slot_look_back(struct ps_slot *slot);
/* The lane's call is over; `pooled`: its connection is kept. */
void ps_slot_unclaim(struct ps_lane *lane, bool pooled);
/* The lane's connection stands. */
void ps_slot_settle(struct ps_lane *lane);
/* After curl was entered: lets go of sockets that it closed without telling. */
void ps_slot_sweep(struct ps_upstream *upstream);
/* Before the socket is closed. */
void ps_slot_close(struct ps_slot *slot);

/* tcp.c: bytes the peer has sent on the connection so far, its FIN as one of them; 0 when the
 * kernel does not say. */
uint64_t ps_tcp_received(int fd);

/* mux.c */
struct ps_mux *ps_mux_new(struct ps_upstream *upstream);
void ps_mux_free(struct ps_mux *mux);
/* One with room for a call; NULL when memory is short. */
struct ps_mux *ps_mux_pick(struct ps_upstream *upstream);
/* Lets curl act on a socket (or CURL_SOCKET_TIMEOUT), then ends the calls that are done. */
void ps_mux_action(struct ps_mux *mux, curl_socket_t fd, int flags);
/* Ends the calls that are done, tells those that were sent. */
void ps_mux_collect(struct ps_mux *mux);

/* lane.c */
struct ps_lane *ps_lane_take(struct ps_upstream *upstream);
/* `clean`: its call ended well, so that it may serve another. */
void ps_lane_give(struct ps_lane *lane, bool clean);
void ps_lane_free(struct ps_lane *lane);
/* 0, or -1 when memory is short. */
int ps_lane_prepare(struct ps_lane *lane, struct ps_call *call);

/* head.c */
void ps_head_reset(struct ps_lane *lane);
/* One line as curl hands it over. false: the transfer is to be given up. */
bool ps_head_line(struct ps_lane *lane, const char *line, size_t len);

/* request.c */
/* Everything copied into one block; a bad request comes back as a call with its verdict. */
struct ps_call *ps_call_new(struct ps_upstream *upstream, const struct ps_call_request *request);
/* Makes a small body one run of bytes; `part` then stands at the end. 0, or -1 when memory is
 * short. */
int ps_call_gather(struct ps_call *call);
void ps_call_free(struct ps_call *call);

/* call.c */
void ps_call_dispatch(struct ps_call *call);
/* curl is done with it. */
void ps_call_done(struct ps_call *call, CURLcode code);
/* Takes it out of its mux, gives lane and place back, calls on_end, frees it. Not inside a curl
 * callback. */
void ps_call_finish(struct ps_call *call, enum ps_call_end end, const char *detail);
/* Of a cancelled one: the same without on_end. */
void ps_call_reap(struct ps_call *call);
/* Cancels it, but with an on_end at once. Anywhere. */
void ps_call_abandon(struct ps_call *call);
void ps_call_tell_sent(struct ps_call *call);
void ps_call_touch(struct ps_call *call);
void ps_call_continue(struct ps_call *call);
void ps_call_arm(struct ps_call *call);

/* queue.c */
enum ps_place {
    PS_PLACE_TAKEN,
    PS_PLACE_WAIT,
    PS_PLACE_FULL
};
enum ps_place ps_place_ask(struct ps_call *call);
/* A place is free again; a waiting call of any loop may get it. */
void ps_place_release(struct ps_upstream *upstream);
/* Leaves the queue; true: it had been given a place meanwhile, which is now the caller's to
 * release. */
bool ps_place_leave(struct ps_call *call);
bool ps_place_granted(struct ps_call *call);
/* The calls that got a place, moved to upstream->ready. */
void ps_place_collect(struct ps_upstream *upstream);

/* upstream.c */
void ps_upstream_defer(struct ps_upstream *upstream);
/* A libuv handle's close callback has come. */
void ps_upstream_handle_closed(struct ps_upstream *upstream);

#endif
