/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/net/listener.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Accepting. A listening descriptor may be polled by several loops: those that come late find
 * EAGAIN.
 *
 * Failures: a connection that died in the queue is skipped. Out of descriptors: the spare one is
 * closed, the oldest connection accepted on its place and closed at once, so that its client learns
 * of it; then, as after any other error, accepting rests.
 */

#define ACCEPTS_A_TURN 16
#define REST_US        100000

struct ps_listener {
    uv_poll_t poll;
    struct ps_timer rest;
    struct ps_loop *loop; /* borrowed */
    ps_accept_fn on_accept;
    void *arg;
    int fd;    /* borrowed */
    int spare; /* owned; -1: could not be opened again */
    bool paused;
    bool resting;
    bool closing;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void take_rest(struct ps_listener *listener)
{
    /* Without memory for the timer it goes on at once: slow is better than deaf. */
    if (ps_timer_set(&listener->rest, REST_US) == 0) {
        listener->resting = true;
        (void)uv_poll_stop(&listener->poll);
    }
}

static void watch(struct ps_listener *listener)
{
    if (listener->closing || listener->paused || listener->resting) {
        return;
    }
    if (uv_poll_start(&listener->poll, UV_READABLE, on_readable) != 0) {
        take_rest(listener);
    }
}

static void on_rested(struct ps_timer *timer)
{
    struct ps_listener *listener = PS_CONTAINER_OF(timer, struct ps_listener, rest);
    listener->resting = false;
    if (listener->spare < 0) {
        listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    watch(listener);
}

static int accept_one(const struct ps_listener *listener)
{
    return accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Turns one connection away, so that its client does not wait for what cannot come. */
static void turn_away(struct ps_listener *listener)
{
    if (listener->spare < 0) {
        return;
    }
    (void)close(listener->spare);
    int fd = accept_one(listener);
    if (fd >= 0) {
        (void)close(fd);
    }
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Whether accepting goes on in this turn. */
static bool recover(struct ps_listener *listener, int error)
{
    switch (error) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
        return true;
    case EMFILE:
    case ENFILE:
        turn_away(listener);
        break;
    default:
        break;
    }
    take_rest(listener);
    return false;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct ps_listener *listener = poll->data;
    (void)events;
    ps_loop_enter(listener->loop);
    if (status != 0) {
        take_rest(listener);
        return;
    }
    for (int i = 0; i < ACCEPTS_A_TURN && !listener->paused && !listener->closing; i++) {
        int fd = accept_one(listener);
        if (fd >= 0) {
            listener->on_accept(listener->arg, fd);
        } else if (!recover(listener, errno)) {
            return;
        }
    }
}

struct ps_listener *ps_listener_new(struct ps_loop *loop, int fd, ps_accept_fn on_accept, void *arg)
{
    struct ps_listener *listener = ps_calloc(1, sizeof(*listener));
    if (listener == NULL) {
        return NULL;
    }
    listener->loop = loop;
    listener->fd = fd;
    listener->on_accept = on_accept;
    listener->arg = arg;
    listener->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ps_timer_init(&listener->rest, loop, on_rested);
    if (listener->spare < 0 || uv_poll_init(&loop->uv, &listener->poll, fd) != 0) {
        if (listener->spare >= 0) {
            (void)close(listener->spare);
        }
        ps_free(listener);
        return NULL;
    }
    listener->poll.data = listener;
    watch(listener);
    return listener;
}

void ps_listener_pause(struct ps_listener *listener, bool paused)
{
    if (listener->closing || listener->paused == paused) {
        return;
    }
    listener->paused = paused;
    if (paused) {
        (void)uv_poll_stop(&listener->poll);
    } else {
        watch(listener);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct ps_listener *listener = handle->data;
    if (listener->spare >= 0) {
        (void)close(listener->spare);
    }
    ps_free(listener);
}

void ps_listener_close(struct ps_listener *listener)
{
    if (listener->closing) {
        return;
    }
    listener->closing = true;
    ps_timer_cancel(&listener->rest);
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
}
