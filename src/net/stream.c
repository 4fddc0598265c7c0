/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_priv.h"

#include "penstock/base/mem.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Life and reading of a stream; its output is in stream_out.c.
 *
 * libuv reads into the loop's one read buffer. Plain bytes go up as they are; TLS bytes go through
 * the session, whose plain text takes the first part of the same buffer. What a user who stopped
 * reading in the middle has not taken of a TLS read is kept in the session (at most one read), and
 * `pump` delivers it when reading goes on.
 *
 * Ends: a read error is RESET; a handshake that fails, ends early or takes too long is TLS_ERROR;
 * end of input goes up as on_eof once everything before it was delivered.
 */

/* TLS: plain text in front, what came from the socket behind it. */
#define PLAIN_BYTES 16384
/* One stream reads so much, then the others of this turn have their go. */
#define READ_QUANTUM 262144
/* What a peer may go on sending after our last byte. Reading it costs little, and a reset would take our answer to
 * a refused upload with it before the peer has looked. */
#define DROP_MAX 67108864

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct ps_stream *stream = handle->data;
    size_t offset = stream->tls != NULL ? PLAIN_BYTES : 0;
    (void)suggested;
    *ret_buf = uv_buf_init(stream->loop->read_buffer + offset, (unsigned)(PS_READ_BUFFER - offset));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ps_stream *stream = handle->data;
    ps_loop_enter(stream->loop);
    ps_chain_clear(&stream->out);
    ps_tls_session_free(stream->tls);
    stream->tls = NULL;
    if (!stream->silent) {
        stream->ops->on_closed(stream->arg, stream->end);
    }
    ps_free(stream);
}

void ps_stream_finish(struct ps_stream *stream, enum ps_stream_end end, bool reset)
{
    if (stream->state == PS_STREAM_STATE_DEAD) {
        return;
    }
    stream->state = PS_STREAM_STATE_DEAD;
    stream->end = end;
    stream->armed = false;
    ps_task_cancel(&stream->flush);
    ps_task_cancel(&stream->pump);
    ps_timer_cancel(&stream->timer);
    if (!reset || stream->is_unix || uv_tcp_close_reset(&stream->uv.tcp, on_handle_closed) != 0) {
        uv_close(&stream->uv.handle, on_handle_closed);
    }
}

void ps_stream_fail_tls(struct ps_stream *stream)
{
    ps_tls_session_break(stream->tls);
    stream->state = PS_STREAM_STATE_FLUSHING;
    stream->end = PS_STREAM_TLS_ERROR;
    stream->reading = false;
    ps_stream_out_defer(stream);
}

/* Bytes are of use (or to be dropped), and the peer may still send some. */
static bool wants_bytes(const struct ps_stream *stream)
{
    if (stream->raw_eof || stream->resting) {
        return false;
    }
    switch (stream->state) {
    case PS_STREAM_STATE_OPEN:
        return (stream->reading && !stream->eof) ||
               (stream->tls != NULL && !ps_tls_session_is_ready(stream->tls));
    case PS_STREAM_STATE_FLUSHING:
    case PS_STREAM_STATE_LINGERING:
        return stream->dropped <= DROP_MAX;
    case PS_STREAM_STATE_DEAD:
        break;
    }
    return false;
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf);

void ps_stream_arm(struct ps_stream *stream)
{
    if (stream->state == PS_STREAM_STATE_DEAD) {
        return;
    }
    bool wanted = wants_bytes(stream);
    if (wanted == stream->armed) {
        return;
    }
    stream->armed = wanted;
    if (!wanted) {
        uv_read_stop(&stream->uv.stream);
    } else if (uv_read_start(&stream->uv.stream, on_alloc, on_read) != 0) {
        ps_stream_finish(stream, PS_STREAM_RESET, false);
    }
}

/* Moves the handshake on. Whether bytes may be read now. */
static bool shake_hands(struct ps_stream *stream)
{
    if (ps_tls_session_is_ready(stream->tls)) {
        return true;
    }
    enum ps_tls_result result = ps_tls_session_handshake(stream->tls);
    ps_stream_out_defer(stream);
    if (result == PS_TLS_FAILED) {
        ps_stream_fail_tls(stream);
        return false;
    }
    if (result == PS_TLS_OK) {
        ps_timer_cancel(&stream->timer);
        return true;
    }
    return false;
}

/* Delivers plain text as long as the user takes it and there is some. */
static void pump_tls(struct ps_stream *stream)
{
    struct ps_tls_session *tls = stream->tls;
    char *plain = stream->loop->read_buffer;

    if (!shake_hands(stream)) {
        return;
    }
    while (stream->state == PS_STREAM_STATE_OPEN && stream->reading && !stream->eof) {
        size_t len = 0;
        enum ps_tls_result result = ps_tls_session_read(tls, plain, PLAIN_BYTES, &len);
        if (ps_tls_session_wrote(tls)) {
            ps_stream_out_defer(stream);
        }
        if (result == PS_TLS_OK) {
            stream->ops->on_data(stream->arg, plain, len);
        } else if (result == PS_TLS_EOF) {
            stream->eof = true;
            stream->ops->on_eof(stream->arg);
        } else if (result == PS_TLS_FAILED) {
            ps_stream_fail_tls(stream);
        } else {
            break;
        }
    }
}

/* FIN has come and the user has all that was before it. */
static void deliver_eof(struct ps_stream *stream)
{
    if (!stream->raw_eof || stream->eof || stream->state != PS_STREAM_STATE_OPEN) {
        return;
    }
    if (stream->tls != NULL && !ps_tls_session_is_ready(stream->tls)) {
        ps_stream_finish(stream, PS_STREAM_TLS_ERROR, false);
        return;
    }
    if (stream->reading) {
        stream->eof = true;
        stream->ops->on_eof(stream->arg);
    }
}

static void on_pump(struct ps_task *task)
{
    struct ps_stream *stream = PS_CONTAINER_OF(task, struct ps_stream, pump);
    stream->resting = false;
    stream->read_since_pause = 0;
    if (stream->tls != NULL && stream->state == PS_STREAM_STATE_OPEN) {
        pump_tls(stream);
    }
    deliver_eof(stream);
    ps_stream_arm(stream);
}

/* After close: a handshake that queued output still waits for goes on, all else is dropped. */
static void drop(struct ps_stream *stream, const char *ptr, size_t len)
{
    stream->dropped += len;
    if (stream->state == PS_STREAM_STATE_FLUSHING && stream->tls != NULL &&
        ps_tls_session_unsent(stream->tls) > 0 && !ps_tls_session_is_ready(stream->tls)) {
        ps_tls_session_feed(stream->tls, ptr, len);
        (void)shake_hands(stream);
        ps_tls_session_feed(stream->tls, NULL, 0);
    }
    if (stream->state == PS_STREAM_STATE_LINGERING && stream->dropped > DROP_MAX) {
        ps_stream_finish(stream, stream->end, false);
    }
}

static void take_tls(struct ps_stream *stream, const char *ptr, size_t len)
{
    ps_tls_session_feed(stream->tls, ptr, len);
    pump_tls(stream);
    if (stream->state == PS_STREAM_STATE_OPEN && !stream->eof &&
        ps_tls_session_keep(stream->tls) != 0) {
        ps_stream_finish(stream, PS_STREAM_RESET, true);
    }
    ps_tls_session_feed(stream->tls, NULL, 0);
}

static void on_bytes(struct ps_stream *stream, const char *ptr, size_t len)
{
    if (stream->state != PS_STREAM_STATE_OPEN) {
        drop(stream, ptr, len);
    } else if (stream->tls != NULL) {
        take_tls(stream, ptr, len);
    } else {
        stream->ops->on_data(stream->arg, ptr, len);
    }
    stream->read_since_pause += len;
    if (stream->read_since_pause >= READ_QUANTUM && stream->state != PS_STREAM_STATE_DEAD) {
        stream->resting = true;
        ps_loop_defer(stream->loop, &stream->pump, PS_PHASE_WORK);
    }
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf)
{
    struct ps_stream *stream = handle->data;
    ps_loop_enter(stream->loop);
    if (count == 0 || stream->state == PS_STREAM_STATE_DEAD) {
        return;
    }
    if (count > 0) {
        on_bytes(stream, buf->base, (size_t)count);
    } else if (stream->state == PS_STREAM_STATE_LINGERING) {
        /* FIN or not, everything of ours was taken: what the caller asked for has been done. */
        ps_stream_finish(stream, stream->end, false);
    } else if (count != UV_EOF) {
        ps_stream_finish(stream, PS_STREAM_RESET, false);
    } else {
        stream->raw_eof = true;
        if (stream->state == PS_STREAM_STATE_FLUSHING) {
            ps_stream_out_defer(stream);
        }
        if (stream->tls != NULL && stream->state == PS_STREAM_STATE_OPEN) {
            pump_tls(stream);
        }
        deliver_eof(stream);
    }
    ps_stream_arm(stream);
}

static void set_peer(struct ps_peer *peer, uv_os_sock_t fd, bool is_unix)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    *peer = (struct ps_peer){.is_unix = is_unix, .text = "unix"};
    if (is_unix) {
        return;
    }
    (void)snprintf(peer->text, sizeof(peer->text), "unknown");
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
        return; /* reset before we looked: the first read says so */
    }
    if (address.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &address, sizeof(v4));
        memcpy(peer->address, mapped, sizeof(mapped));
        memcpy(peer->address + sizeof(mapped), &v4.sin_addr, 4);
        peer->port = ntohs(v4.sin_port);
    } else if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &address, sizeof(v6));
        memcpy(peer->address, &v6.sin6_addr, 16);
        peer->port = ntohs(v6.sin6_port);
    } else {
        return;
    }
    if (memcmp(peer->address, mapped, sizeof(mapped)) == 0) {
        (void)inet_ntop(AF_INET, peer->address + sizeof(mapped), peer->text, sizeof(peer->text));
    } else {
        (void)inet_ntop(AF_INET6, peer->address, peer->text, sizeof(peer->text));
    }
}

/* Gives the socket to libuv. On failure the handle still has to be closed, the fd is the caller's.
 */
static int adopt(struct ps_stream *stream, uv_os_sock_t fd)
{
    if (stream->is_unix) {
        (void)uv_pipe_init(&stream->loop->uv, &stream->uv.pipe, 0);
    } else {
        (void)uv_tcp_init(&stream->loop->uv, &stream->uv.tcp);
    }
    stream->uv.handle.data = stream;
    int rc =
        stream->is_unix ? uv_pipe_open(&stream->uv.pipe, fd) : uv_tcp_open(&stream->uv.tcp, fd);
    if (rc == 0 && !stream->is_unix) {
        (void)uv_tcp_nodelay(&stream->uv.tcp, 1);
    }
    return rc;
}

static struct ps_stream *new_stream(struct ps_loop *loop, const struct ps_stream_options *options,
                                    const struct ps_stream_ops *ops, void *arg)
{
    struct ps_stream *stream = ps_calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    stream->loop = loop;
    stream->ops = ops;
    stream->arg = arg;
    stream->options = *options;
    ps_chain_init(&stream->out, &loop->pool);
    ps_task_init(&stream->pump, on_pump);
    ps_timer_init(&stream->timer, loop, ps_stream_on_timer);
    ps_stream_out_init(stream);
    return stream;
}

struct ps_stream *ps_stream_new(struct ps_loop *loop, uv_os_sock_t fd, bool is_unix,
                                struct ps_tls_server *tls, const struct ps_stream_options *options,
                                const struct ps_stream_ops *ops, void *arg)
{
    struct ps_stream *stream = new_stream(loop, options, ops, arg);
    if (stream == NULL) {
        goto fail_fd;
    }
    stream->is_unix = is_unix;
    set_peer(&stream->peer, fd, is_unix);
    if (tls != NULL) {
        stream->tls = ps_tls_session_new(tls, &stream->out);
        if (stream->tls == NULL ||
            (options->handshake_timeout_us > 0 &&
             ps_timer_set(&stream->timer, options->handshake_timeout_us) != 0)) {
            goto fail_stream;
        }
    }
    if (adopt(stream, fd) != 0) {
        stream->silent = true;
        ps_stream_finish(stream, PS_STREAM_ABORTED, false);
        goto fail_fd;
    }
    ps_stream_arm(stream);
    return stream;

fail_stream:
    ps_tls_session_free(stream->tls);
    ps_free(stream);
fail_fd:
    (void)close(fd);
    return NULL;
}

const struct ps_peer *ps_stream_peer(const struct ps_stream *stream)
{
    return &stream->peer;
}

bool ps_stream_is_tls(const struct ps_stream *stream)
{
    return stream->tls != NULL;
}

void ps_stream_read(struct ps_stream *stream, bool on)
{
    if (stream->state != PS_STREAM_STATE_OPEN || stream->reading == on) {
        return;
    }
    stream->reading = on;
    if (on && (stream->raw_eof || (stream->tls != NULL && ps_tls_session_has_input(stream->tls)))) {
        ps_loop_defer(stream->loop, &stream->pump, PS_PHASE_WORK);
    }
    ps_stream_arm(stream);
}

void ps_stream_close(struct ps_stream *stream)
{
    if (stream->state != PS_STREAM_STATE_OPEN) {
        return;
    }
    stream->state = PS_STREAM_STATE_FLUSHING;
    stream->end = PS_STREAM_CLOSED;
    stream->reading = false;
    ps_stream_arm(stream);
    ps_stream_out_defer(stream);
}

void ps_stream_abort(struct ps_stream *stream)
{
    ps_stream_finish(stream, PS_STREAM_ABORTED, true);
}
