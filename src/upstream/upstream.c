/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

/*
 * An upstream on one loop. All that may not happen inside curl's callbacks happens in its work,
 * deferred to the end of the turn: starting, resuming, taking cancelled calls out, serving curl's
 * wish to run.
 *
 * Closing: every call gets its on_end at once, whoever called; the work then takes the calls out of
 * their muxes, frees what curl has (which closes the sockets, and with each its slot), and closes
 * the handle that wakes us. The last close callback frees the upstream.
 */

void ps_upstream_defer(struct ps_upstream *upstream)
{
    ps_loop_defer(upstream->loop, &upstream->work, PS_PHASE_WORK);
}

static void free_upstream(struct ps_upstream *upstream)
{
    if (upstream->share != NULL) {
        (void)curl_share_cleanup(upstream->share);
    }
    curl_url_cleanup(upstream->url);
    ps_upstream_shared_unref(upstream->shared);
    ps_free(upstream->slots);
    ps_free(upstream);
}

void ps_upstream_handle_closed(struct ps_upstream *upstream)
{
    upstream->handles--;
    if (upstream->handles == 0) {
        free_upstream(upstream);
    }
}

static void reap_dead(struct ps_upstream *upstream)
{
    while (!ps_list_empty(&upstream->dead)) {
        ps_call_reap(PS_CONTAINER_OF(upstream->dead.next, struct ps_call, link));
    }
}

static void end_failed(struct ps_upstream *upstream)
{
    while (!ps_list_empty(&upstream->ended)) {
        struct ps_call *call = PS_CONTAINER_OF(upstream->ended.next, struct ps_call, link);
        ps_call_finish(call, call->end, call->detail);
    }
}

static void start_ready(struct ps_upstream *upstream)
{
    struct ps_link *link;

    ps_place_collect(upstream);
    while ((link = ps_list_pop(&upstream->ready)) != NULL) {
        ps_call_dispatch(PS_CONTAINER_OF(link, struct ps_call, link));
    }
}

static void resume_held(struct ps_upstream *upstream)
{
    struct ps_link held;
    struct ps_link *link;

    ps_list_init(&held);
    ps_list_move(&upstream->resuming, &held);
    while ((link = ps_list_pop(&held)) != NULL) {
        ps_call_continue(PS_CONTAINER_OF(link, struct ps_call, act));
    }
}

/*
 * When an address fails or takes too long, curl 7.88 closes that attempt, but goes on to the next
 * address only when something makes the transfer run; it sets no timer for that. Pausing and
 * continuing the transfer sets one.
 */
static void move_stranded(struct ps_upstream *upstream)
{
    if (!upstream->has_stranded) {
        return;
    }
    upstream->has_stranded = false;
    for (struct ps_link *link = upstream->calls.next; link != &upstream->calls; link = link->next) {
        struct ps_lane *lane = PS_CONTAINER_OF(link, struct ps_call, all)->lane;
        if (lane != NULL && lane->stranded && lane->requests == 0) {
            lane->stranded = false;
            (void)curl_easy_pause(lane->easy, CURLPAUSE_SEND);
            (void)curl_easy_pause(lane->easy, CURLPAUSE_CONT);
        }
    }
}

/* A mux that curl gave up moves none of its calls any more. */
static void fail_calls(struct ps_mux *mux)
{
    struct ps_link *calls = &mux->upstream->calls;
    struct ps_link *link = calls->next;

    while (link != calls) {
        struct ps_call *call = PS_CONTAINER_OF(link, struct ps_call, all);
        link = link->next;
        if (call->lane != NULL && call->lane->mux == mux) {
            ps_call_finish(call, PS_CALL_NO_MEMORY,
                           "the sockets of the upstream cannot be watched");
            link = calls->next; /* the callback may have changed the list */
        }
    }
}

static void run_muxes(struct ps_upstream *upstream)
{
    struct ps_link *link = upstream->muxes.next;

    while (link != &upstream->muxes) {
        struct ps_mux *mux = PS_CONTAINER_OF(link, struct ps_mux, link);
        if (mux->kick) {
            mux->kick = false;
            ps_mux_action(mux, CURL_SOCKET_TIMEOUT, 0);
        }
        if (mux->broken) {
            fail_calls(mux);
        }
        link = link->next;
        if (mux->broken && mux->active == 0) {
            ps_mux_free(mux);
        }
    }
}

static void on_wake_closed(uv_handle_t *handle)
{
    ps_upstream_handle_closed(handle->data);
}

static void tear_down(struct ps_upstream *upstream)
{
    while (!ps_list_empty(&upstream->muxes)) {
        ps_mux_free(PS_CONTAINER_OF(upstream->muxes.next, struct ps_mux, link));
    }
    while (upstream->lanes != NULL) {
        ps_lane_free(ps_lane_take(upstream));
    }
    for (size_t i = 0; i < upstream->slot_count; i++) {
        if (upstream->slots[i] != NULL) {
            ps_slot_close(upstream->slots[i]);
        }
    }
    ps_task_cancel(&upstream->work); /* curl's last callbacks may have asked for it */
    uv_close((uv_handle_t *)&upstream->wake, on_wake_closed);
}

static void on_work(struct ps_task *task)
{
    struct ps_upstream *upstream = PS_CONTAINER_OF(task, struct ps_upstream, work);

    reap_dead(upstream);
    end_failed(upstream);
    if (!upstream->closing) {
        start_ready(upstream);
        resume_held(upstream);
        move_stranded(upstream);
        run_muxes(upstream);
    }
    if (upstream->closing && uv_is_closing((uv_handle_t *)&upstream->wake) == 0) {
        /* Callbacks above may have closed us: then calls may be dead again. */
        reap_dead(upstream);
        end_failed(upstream);
        tear_down(upstream);
    }
}

static void on_wake(uv_async_t *async)
{
    struct ps_upstream *upstream = async->data;

    ps_loop_enter(upstream->loop);
    ps_upstream_defer(upstream);
}

static int init_curl(struct ps_upstream *upstream)
{
    upstream->url = curl_url_dup(upstream->shared->url);
    if (upstream->url == NULL) {
        return -1;
    }
    /* Without it names would be looked up for each mux, and a TLS session die with its lane. */
    upstream->share = curl_share_init();
    if (upstream->share == NULL ||
        curl_share_setopt(upstream->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) != CURLSHE_OK ||
        curl_share_setopt(upstream->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) !=
            CURLSHE_OK) {
        return -1;
    }
    return 0;
}

struct ps_upstream *ps_upstream_new(struct ps_loop *loop, struct ps_upstream_shared *shared)
{
    struct ps_upstream *upstream = ps_calloc(1, sizeof(*upstream));

    if (upstream == NULL) {
        return NULL;
    }
    upstream->loop = loop;
    upstream->shared = ps_upstream_shared_ref(shared);
    ps_list_init(&upstream->muxes);
    ps_list_init(&upstream->connecting);
    ps_list_init(&upstream->calls);
    ps_list_init(&upstream->granted);
    ps_list_init(&upstream->ready);
    ps_list_init(&upstream->ended);
    ps_list_init(&upstream->dead);
    ps_list_init(&upstream->resuming);
    for (size_t i = 0; i < PS_PORT_BUCKETS; i++) {
        ps_list_init(&upstream->by_port[i]);
    }
    ps_task_init(&upstream->work, on_work);
    if (init_curl(upstream) != 0 || uv_async_init(&loop->uv, &upstream->wake, on_wake) != 0) {
        free_upstream(upstream);
        return NULL;
    }
    upstream->wake.data = upstream;
    upstream->handles = 1;
    return upstream;
}

void ps_upstream_close(struct ps_upstream *upstream)
{
    if (upstream->closing) {
        return;
    }
    upstream->closing = true;
    while (!ps_list_empty(&upstream->calls)) {
        ps_call_abandon(PS_CONTAINER_OF(upstream->calls.next, struct ps_call, all));
    }
    ps_upstream_defer(upstream);
}
