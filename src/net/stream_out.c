/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_priv.h"

#include <sys/socket.h>

/*
 * Output of a stream. Writers append to a chain; the flush task, once per turn, offers it to the
 * socket directly. Of what the socket does not take, the front goes into uv_write, whose callback
 * is how we learn that the socket takes bytes again; the rest waits in the chain. With TLS the
 * chain holds records, made from the session's plain text no faster than the socket takes them.
 *
 * A write error ends the stream as RESET. Output that does not move for write_timeout ends it as
 * STALLED.
 */

#define TRY_PARTS 64
/* As many as a uv_write_t holds without a malloc of its own. */
#define WAIT_PARTS 4
/* One stream writes so much, then the others of this turn have their go. */
#define FLUSH_QUANTUM 1048576
/* Records made ahead of the socket. */
#define CIPHER_AHEAD 131072
#define LINGER_US    2000000

/* Bytes of `out` that the socket has not taken. */
static size_t unsent(const struct ps_stream *stream)
{
    return stream->out.len - stream->in_flight +
           (stream->in_flight > 0 ? uv_stream_get_write_queue_size(&stream->uv.stream) : 0);
}

size_t ps_stream_queued(const struct ps_stream *stream)
{
    return unsent(stream) + (stream->tls != NULL ? ps_tls_session_unsent(stream->tls) : 0);
}

bool ps_stream_is_full(const struct ps_stream *stream)
{
    return ps_stream_queued(stream) > stream->options.high_bytes;
}

static void on_written(uv_write_t *write, int status);

/* The front of `out`, block by block. Returns how many buffers were filled. */
static unsigned gather(const struct ps_stream *stream, uv_buf_t *ret_bufs, unsigned max,
                       size_t *ret_len)
{
    unsigned count = 0;
    *ret_len = 0;
    for (struct ps_block *block = stream->out.head; block != NULL && count < max;
         block = block->next) {
        ret_bufs[count] = uv_buf_init(block->data + block->start, block->end - block->start);
        *ret_len += ret_bufs[count].len;
        count++;
    }
    return count;
}

/* Waits until the socket takes bytes again. 0, or -1: the stream is dead. */
static int wait_writable(struct ps_stream *stream)
{
    uv_buf_t bufs[WAIT_PARTS];
    size_t len;
    unsigned count = gather(stream, bufs, WAIT_PARTS, &len);

    stream->in_flight = len;
    if (uv_write(&stream->write, &stream->uv.stream, bufs, count, on_written) != 0) {
        stream->in_flight = 0;
        ps_stream_finish(stream, PS_STREAM_RESET, false);
        return -1;
    }
    return 0;
}

/* Offers the front of `out` once. Bytes taken, or -1: the stream is dead. */
static ssize_t try_write(struct ps_stream *stream)
{
    uv_buf_t bufs[TRY_PARTS];
    size_t offered;
    unsigned count = gather(stream, bufs, TRY_PARTS, &offered);
    int rc = uv_try_write(&stream->uv.stream, bufs, count);
    size_t taken = rc > 0 ? (size_t)rc : 0;

    if (rc < 0 && rc != UV_EAGAIN) {
        ps_stream_finish(stream, PS_STREAM_RESET, false);
        return -1;
    }
    stream->taken += taken;
    ps_chain_drop(&stream->out, taken);
    if (taken < offered && wait_writable(stream) != 0) {
        return -1;
    }
    return (ssize_t)taken;
}

/* Makes records of plain text, and the last alert when that is all. 0, or -1 when the stream
 * failed. */
static int encrypt(struct ps_stream *stream)
{
    if (ps_tls_session_encrypt(stream->tls, CIPHER_AHEAD) != PS_TLS_OK) {
        /* Memory is short: there is no whole record to send. */
        ps_stream_finish(stream, PS_STREAM_RESET, true);
        return -1;
    }
    if (stream->state == PS_STREAM_STATE_FLUSHING && ps_tls_session_unsent(stream->tls) == 0) {
        ps_tls_session_shutdown(stream->tls);
    }
    return 0;
}

static void write_queue(struct ps_stream *stream)
{
    size_t budget = FLUSH_QUANTUM;

    while (stream->in_flight == 0) {
        if (stream->tls != NULL && encrypt(stream) != 0) {
            return;
        }
        if (stream->out.len == 0) {
            return;
        }
        ssize_t taken = try_write(stream);
        if (taken < 0) {
            return;
        }
        if ((size_t)taken >= budget) {
            ps_loop_defer(stream->loop, &stream->flush, PS_PHASE_FLUSH);
            return;
        }
        budget -= (size_t)taken;
    }
}

static bool is_shaking_hands(const struct ps_stream *stream)
{
    return stream->tls != NULL && !ps_tls_session_is_ready(stream->tls) &&
           stream->options.handshake_timeout_us > 0 && !ps_tls_session_is_broken(stream->tls);
}

/* The stall timer looks four times per write_timeout, since uv_write tells of progress only at its
 * end. */
static void set_stall_timer(struct ps_stream *stream)
{
    if (stream->options.write_timeout_us > 0 &&
        ps_timer_set(&stream->timer, stream->options.write_timeout_us / 4) != 0) {
        ps_stream_finish(stream, PS_STREAM_RESET, true);
    }
}

static uint64_t taken_so_far(const struct ps_stream *stream)
{
    size_t waiting = stream->in_flight > 0 ? uv_stream_get_write_queue_size(&stream->uv.stream) : 0;
    return stream->taken + (stream->in_flight - waiting);
}

static void watch_progress(struct ps_stream *stream)
{
    if (is_shaking_hands(stream)) {
        return; /* the timer is the handshake's */
    }
    if (stream->out.len == 0) {
        ps_timer_cancel(&stream->timer);
    } else if (!ps_timer_is_set(&stream->timer)) {
        stream->progress_us = stream->loop->now_us;
        stream->taken_seen = taken_so_far(stream);
        set_stall_timer(stream);
    }
}

static void check_progress(struct ps_stream *stream)
{
    uint64_t taken = taken_so_far(stream);
    if (taken != stream->taken_seen) {
        stream->taken_seen = taken;
        stream->progress_us = stream->loop->now_us;
    } else if (stream->loop->now_us - stream->progress_us >= stream->options.write_timeout_us) {
        ps_stream_finish(stream, PS_STREAM_STALLED, true);
        return;
    }
    set_stall_timer(stream);
}

void ps_stream_on_timer(struct ps_timer *timer)
{
    struct ps_stream *stream = PS_CONTAINER_OF(timer, struct ps_stream, timer);
    if (stream->state == PS_STREAM_STATE_LINGERING) {
        ps_stream_finish(stream, stream->end, false);
    } else if (is_shaking_hands(stream)) {
        ps_stream_finish(stream, PS_STREAM_TLS_ERROR, true);
    } else {
        check_progress(stream);
    }
}

/* Everything of ours was taken: shut our side, wait for the peer's end within bounds (RFC
 * 9112, 9.6). */
static void linger(struct ps_stream *stream)
{
    uv_os_fd_t fd;

    if (stream->raw_eof || uv_fileno(&stream->uv.handle, &fd) != 0 || shutdown(fd, SHUT_WR) != 0 ||
        ps_timer_set(&stream->timer, LINGER_US) != 0) {
        ps_stream_finish(stream, stream->end, false);
        return;
    }
    stream->state = PS_STREAM_STATE_LINGERING;
    ps_stream_arm(stream);
    if (!stream->armed && !stream->resting) {
        ps_stream_finish(stream, stream->end, false); /* it has sent too much already */
    }
}

static void end_flushing(struct ps_stream *stream)
{
    if (stream->out.len > 0) {
        return;
    }
    if (stream->tls != NULL && ps_tls_session_unsent(stream->tls) > 0) {
        /* Waits for the handshake, unless the peer cannot finish it any more. */
        if (!ps_tls_session_is_ready(stream->tls) && !stream->armed && !stream->resting) {
            ps_stream_finish(stream, PS_STREAM_TLS_ERROR, true);
        }
        return;
    }
    linger(stream);
}

static void flush(struct ps_stream *stream)
{
    write_queue(stream);
    if (stream->state == PS_STREAM_STATE_DEAD || stream->state == PS_STREAM_STATE_LINGERING) {
        return;
    }
    watch_progress(stream);
    if (stream->was_full && stream->state == PS_STREAM_STATE_OPEN &&
        ps_stream_queued(stream) <= stream->options.low_bytes) {
        stream->was_full = false;
        stream->ops->on_drain(stream->arg);
    }
    if (stream->state == PS_STREAM_STATE_FLUSHING) {
        end_flushing(stream);
    }
}

static void on_flush(struct ps_task *task)
{
    flush(PS_CONTAINER_OF(task, struct ps_stream, flush));
}

static void on_written(uv_write_t *write, int status)
{
    struct ps_stream *stream = PS_CONTAINER_OF(write, struct ps_stream, write);
    ps_loop_enter(stream->loop);
    stream->taken += stream->in_flight;
    ps_chain_drop(&stream->out, stream->in_flight);
    stream->in_flight = 0;
    if (stream->state == PS_STREAM_STATE_DEAD) {
        return; /* cancelled by uv_close */
    }
    if (status != 0) {
        ps_stream_finish(stream, PS_STREAM_RESET, false);
        return;
    }
    flush(stream);
}

void ps_stream_out_init(struct ps_stream *stream)
{
    ps_task_init(&stream->flush, on_flush);
}

void ps_stream_out_defer(struct ps_stream *stream)
{
    if (stream->state != PS_STREAM_STATE_DEAD) {
        ps_loop_defer(stream->loop, &stream->flush, PS_PHASE_FLUSH);
    }
}

/* Takes the bytes behind `len` off again: those of an append that failed half way. */
static void cut(struct ps_chain *chain, const struct ps_chain *before)
{
    struct ps_chain rest = {.pool = chain->pool, .len = chain->len - before->len};

    if (before->tail == NULL) {
        ps_chain_clear(chain);
        return;
    }
    rest.head = before->tail->next;
    rest.tail = rest.head != NULL ? chain->tail : NULL;
    before->tail->next = NULL;
    ps_chain_clear(&rest);
    chain->tail = before->tail;
    chain->len = before->len;
}

int ps_stream_writev(struct ps_stream *stream, const struct ps_slice *parts, size_t count)
{
    if (stream->state != PS_STREAM_STATE_OPEN) {
        return 0;
    }
    struct ps_chain *chain = stream->tls != NULL ? ps_tls_session_plain(stream->tls) : &stream->out;
    struct ps_chain before = *chain;
    uint32_t tail_end = chain->tail != NULL ? chain->tail->end : 0;

    for (size_t i = 0; i < count; i++) {
        if (ps_chain_append(chain, parts[i].ptr, parts[i].len) != 0) {
            cut(chain, &before);
            if (before.tail != NULL) {
                before.tail->end = tail_end;
            }
            return -1;
        }
    }
    if (ps_stream_is_full(stream)) {
        stream->was_full = true;
    }
    ps_stream_out_defer(stream);
    return 0;
}

int ps_stream_write(struct ps_stream *stream, const void *ptr, size_t len)
{
    struct ps_slice part = ps_slice(ptr, len);
    return ps_stream_writev(stream, &part, 1);
}
