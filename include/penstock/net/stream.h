/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_NET_STREAM_H
#define PENSTOCK_NET_STREAM_H

#include "penstock/base/chain.h"
#include "penstock/base/slice.h"
#include "penstock/net/loop.h"

#include <uv.h>

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A byte stream over TCP, a Unix socket or TLS on either, accepted by a listener. Loop thread only.
 *
 * Output is appended to a chain and leaves in one write per loop turn (PS_PHASE_FLUSH). What the
 * socket does not take stays queued; `queued` bytes above the high watermark are the sender's
 * signal to pause its source, on_drain (below the low watermark) to resume it.
 *
 * Ends: ps_stream_close flushes, then closes lingering (the peer may still be sending: reads and
 * drops up to 2 s or 64 MiB, so that an error answer is not lost to a reset); ps_stream_abort
 * drops the queue and resets the connection, so that the peer cannot take a cut answer for a whole
 * one. Both are legal in every state, also inside callbacks, also twice. After either on_closed is
 * the only callback that still comes, always deferred, never inside one of these calls; then the
 * stream is gone. How long close waits for a peer that reads nothing is up to write_timeout.
 */

struct ps_stream;
struct ps_tls_server;

enum ps_stream_end {
    PS_STREAM_CLOSED,    /* we closed, all was written */
    PS_STREAM_ABORTED,   /* we aborted */
    PS_STREAM_RESET,     /* the peer reset, or a write failed */
    PS_STREAM_TLS_ERROR, /* handshake or record failure */
    PS_STREAM_STALLED,   /* the peer took nothing for write_timeout */
};

struct ps_stream_ops {
    /* Bytes, valid until it returns. */
    void (*on_data)(void *arg, const char *ptr, size_t len);
    /* The peer will send no more (FIN, close_notify). Writing is still possible. */
    void (*on_eof)(void *arg);
    /* The queue, which had been above high, is below low. */
    void (*on_drain)(void *arg);
    /* Last one; the stream pointer is dead when it returns. */
    void (*on_closed)(void *arg, enum ps_stream_end end);
};

struct ps_stream_options {
    size_t high_bytes; /* watermarks of the output queue */
    size_t low_bytes;
    int64_t write_timeout_us;     /* no progress of queued output for so long: abort. 0: none */
    int64_t handshake_timeout_us; /* TLS; 0: none */
};

/* Who is at the other end. */
struct ps_peer {
    bool is_unix;
    uint8_t address[16]; /* IPv6, or IPv4-mapped */
    uint16_t port;
    char text[INET6_ADDRSTRLEN]; /* "127.0.0.1", "::1", "unix"; "unknown": it has gone already */
};

/*
 * Takes over the accepted socket `fd` (closed on failure too). `is_unix` tells the family; tls
 * NULL: plain. `ops` and `arg` must outlive the stream. Reading begins with ps_stream_read. NULL
 * when memory is short.
 */
struct ps_stream *ps_stream_new(struct ps_loop *loop, uv_os_sock_t fd, bool is_unix,
                                struct ps_tls_server *tls, const struct ps_stream_options *options,
                                const struct ps_stream_ops *ops, void *arg)
    __attribute__((warn_unused_result));
const struct ps_peer *ps_stream_peer(const struct ps_stream *stream);
bool ps_stream_is_tls(const struct ps_stream *stream);

/* Starts or stops reading. While stopped the peer is held back by TCP. EOF is seen only while
 * reading. */
void ps_stream_read(struct ps_stream *stream, bool on);

/*
 * Appends a copy. 0; -1 when the buffer budget is used up (nothing was appended; the caller
 * aborts). After close or abort it does nothing and returns 0.
 */
int ps_stream_write(struct ps_stream *stream, const void *ptr, size_t len)
    __attribute__((warn_unused_result));
/* Several pieces as one; all or nothing. */
int ps_stream_writev(struct ps_stream *stream, const struct ps_slice *parts, size_t count)
    __attribute__((warn_unused_result));
/* Bytes not yet taken by the socket. */
size_t ps_stream_queued(const struct ps_stream *stream);
/* Queue above high: pause the source. */
bool ps_stream_is_full(const struct ps_stream *stream);

void ps_stream_close(struct ps_stream *stream);
void ps_stream_abort(struct ps_stream *stream);

#endif
