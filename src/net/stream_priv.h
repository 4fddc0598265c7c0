/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_STREAM_PRIV_H
#define PENSTOCK_NET_STREAM_PRIV_H

#include "tls_priv.h"

#include "penstock/net/stream.h"

/*
 * OPEN → FLUSHING (closed by us, or a TLS failure: what is queued leaves) → LINGERING (our side is
 * shut, the peer's bytes are dropped) → DEAD (uv_close was called, on_closed comes). Abort, reset,
 * stall and a failed write go to DEAD from anywhere.
 */
enum ps_stream_state {
    PS_STREAM_STATE_OPEN,
    PS_STREAM_STATE_FLUSHING,
    PS_STREAM_STATE_LINGERING,
    PS_STREAM_STATE_DEAD,
};

struct ps_stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_write_t write;
    struct ps_loop *loop;            /* borrowed */
    const struct ps_stream_ops *ops; /* borrowed */
    void *arg;
    struct ps_stream_options options;
    struct ps_peer peer;
    struct ps_tls_session *tls; /* owned; NULL: plain */

    struct ps_chain
        out; /* for the socket as it is; blocks do not move, so the front may be in flight */
    size_t in_flight;        /* bytes at the front of `out` that uv_write holds */
    uint64_t taken;          /* bytes the socket has taken out of `out`, in all */
    uint64_t taken_seen;     /* `taken` when the stall timer last looked */
    int64_t progress_us;     /* when the stall timer last saw progress */
    size_t read_since_pause; /* bytes read since the loop's other work had its turn */
    size_t dropped;          /* bytes read and dropped after close */

    struct ps_task flush;  /* PS_PHASE_FLUSH: write what is queued */
    struct ps_task pump;   /* PS_PHASE_WORK: go on reading */
    struct ps_timer timer; /* handshake, then stalled output, then lingering */

    enum ps_stream_state state;
    enum ps_stream_end end; /* what on_closed will say, once FLUSHING */
    bool is_unix;
    bool reading;  /* the user wants bytes */
    bool armed;    /* libuv reads */
    bool resting;  /* not armed until `pump` ran */
    bool raw_eof;  /* FIN was read */
    bool eof;      /* on_eof was called */
    bool was_full; /* on_drain is owed */
    bool silent;   /* never came to life: no on_closed */
};

/* stream.c */
/* The one way to DEAD. `reset`: the peer is to see a reset, not an end. */
void ps_stream_finish(struct ps_stream *stream, enum ps_stream_end end, bool reset);
/* Starts or stops libuv's reading as the state asks. */
void ps_stream_arm(struct ps_stream *stream);
/* A TLS failure: what OpenSSL left in `out` (an alert) is sent, then the connection ends. */
void ps_stream_fail_tls(struct ps_stream *stream);

/* stream_out.c */
void ps_stream_out_init(struct ps_stream *stream);
/* Has `flush` run at the end of this turn. */
void ps_stream_out_defer(struct ps_stream *stream);
void ps_stream_on_timer(struct ps_timer *timer);

#endif
