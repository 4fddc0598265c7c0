/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

/*
 * One CURLM on the loop. Everything that makes curl run goes through ps_mux_action, which
 * afterwards always looks for calls that are done: curl tells of them only when asked.
 *
 * curl's own wish to run at once (a time-out of 0) becomes a kick, served by the upstream's
 * deferred work: curl must not be entered from its callbacks.
 */

static void forget_poll(struct ps_upstream *upstream, CURL *easy, struct ps_slot *slot)
{
    struct ps_lane *lane = NULL;
    int fd = slot->fd;

    if (slot->foreign) {
        ps_slot_close(slot);
        return;
    }
    if (!ps_list_empty(&slot->connecting)) {
        ps_slot_sweep(upstream); /* it may be closed already: then it must not be polled */
        slot = ps_slot_find(upstream, fd);
        if (slot != NULL) {
            (void)ps_slot_arm(slot, 0);
        }
        return;
    }
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &lane);
    if (upstream->closing || lane == NULL || lane->held) {
        /* A paused transfer is taken off the poll, too; its bytes are asked for. */
        (void)ps_slot_arm(slot, 0);
    } else {
        ps_slot_idle(slot);
    }
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct ps_mux *mux = arg;
    struct ps_slot *slot = ps_slot_find(mux->upstream, fd);

    (void)unused;
    if (what == CURL_POLL_REMOVE) {
        if (slot != NULL) {
            forget_poll(mux->upstream, easy, slot);
        }
        return 0;
    }
    if (slot == NULL) {
        slot = ps_slot_open(mux, fd, NULL);
    }
    int events = ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) |
                 ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
    if (slot == NULL || ps_slot_arm(slot, events) != 0) {
        mux->broken = true; /* curl fails every transfer of the mux for it */
        ps_upstream_defer(mux->upstream);
        return -1;
    }
    slot->idle = false;
    return 0;
}

static void kick(struct ps_mux *mux)
{
    mux->kick = true;
    ps_upstream_defer(mux->upstream);
}

static int on_timeout_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    struct ps_mux *mux = arg;

    (void)multi;
    if (timeout_ms < 0) {
        ps_timer_cancel(&mux->timer);
    } else if (timeout_ms == 0) {
        ps_timer_cancel(&mux->timer);
        kick(mux);
    } else if (ps_timer_set(&mux->timer, (int64_t)timeout_ms * 1000 + 1000) != 0) {
        kick(mux);
    }
    return 0;
}

static void on_timer(struct ps_timer *timer)
{
    struct ps_mux *mux = PS_CONTAINER_OF(timer, struct ps_mux, timer);
    ps_mux_action(mux, CURL_SOCKET_TIMEOUT, 0);
}

/* Lets the pool go when all in it is too old to be used again; curl would keep the sockets. */
static void on_idle_timer(struct ps_timer *timer)
{
    struct ps_mux *mux = PS_CONTAINER_OF(timer, struct ps_mux, idle);
    struct ps_upstream *upstream = mux->upstream;
    int64_t keep_us = upstream->shared->idle_timeout_us + 1000000;
    int64_t idle_us = upstream->loop->now_us - mux->used_us;

    if (mux->active == 0 && idle_us >= keep_us) {
        ps_mux_free(mux);
        return;
    }
    (void)ps_timer_set(timer, mux->active == 0 ? keep_us - idle_us : keep_us);
}

struct ps_mux *ps_mux_new(struct ps_upstream *upstream)
{
    struct ps_mux *mux = ps_calloc(1, sizeof(*mux));
    uint32_t most = upstream->shared->max_connections;

    if (mux == NULL) {
        return NULL;
    }
    mux->multi = curl_multi_init();
    if (mux->multi == NULL) {
        ps_free(mux);
        return NULL;
    }
    mux->upstream = upstream;
    mux->used_us = upstream->loop->now_us;
    ps_list_init(&mux->sent);
    ps_timer_init(&mux->timer, upstream->loop, on_timer);
    ps_timer_init(&mux->idle, upstream->loop, on_idle_timer);
    (void)curl_multi_setopt(mux->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(mux->multi, CURLMOPT_SOCKETDATA, mux);
    (void)curl_multi_setopt(mux->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    (void)curl_multi_setopt(mux->multi, CURLMOPT_TIMERDATA, mux);
    /* The default follows the transfers of the moment: a burst would throw the pool away. */
    (void)curl_multi_setopt(mux->multi, CURLMOPT_MAXCONNECTS,
                            (long)(most < PS_MUX_CALLS ? most : PS_MUX_CALLS));
    (void)curl_multi_setopt(mux->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    if (ps_timer_set(&mux->idle, upstream->shared->idle_timeout_us + 1000000) != 0) {
        (void)curl_multi_cleanup(mux->multi);
        ps_free(mux);
        return NULL;
    }
    ps_list_push_back(&upstream->muxes, &mux->link);
    return mux;
}

/* No call is in it. curl closes what it has pooled, through the callbacks above. */
void ps_mux_free(struct ps_mux *mux)
{
    ps_list_remove(&mux->link);
    (void)curl_multi_cleanup(mux->multi);
    ps_slot_sweep(mux->upstream);
    ps_timer_cancel(&mux->timer);
    ps_timer_cancel(&mux->idle);
    ps_free(mux);
}

struct ps_mux *ps_mux_pick(struct ps_upstream *upstream)
{
    for (struct ps_link *link = upstream->muxes.next; link != &upstream->muxes; link = link->next) {
        struct ps_mux *mux = PS_CONTAINER_OF(link, struct ps_mux, link);
        if (!mux->broken && mux->active < PS_MUX_CALLS) {
            return mux;
        }
    }
    return ps_mux_new(upstream);
}

void ps_mux_action(struct ps_mux *mux, curl_socket_t fd, int flags)
{
    int running = 0;

    if (curl_multi_socket_action(mux->multi, fd, flags, &running) != CURLM_OK) {
        mux->broken = true;
        ps_upstream_defer(mux->upstream);
    }
    ps_slot_sweep(mux->upstream);
    ps_mux_collect(mux);
}

void ps_mux_collect(struct ps_mux *mux)
{
    CURLMsg *message;
    int left = 0;

    while ((message = curl_multi_info_read(mux->multi, &left)) != NULL) {
        struct ps_lane *lane = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &lane);
        ps_call_done(lane->call, code);
    }
    struct ps_link *link;
    while ((link = ps_list_pop(&mux->sent)) != NULL) {
        ps_call_tell_sent(PS_CONTAINER_OF(link, struct ps_call, sent));
    }
}
