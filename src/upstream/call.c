/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

#include <stdio.h>

/*
 * One call, from start to end.
 *
 * Happy path: ps_call_start asks for a place and defers; the upstream's work dispatches it to a
 * mux; curl sends (on_sent), brings the head (on_head) and the body (on_data) and reports it done;
 * ps_mux_collect ends it: out of the mux, lane and place back, on_end, freed.
 *
 * Other ends:
 *   refused before it ran (bad request, full queue, no memory)   upstream->ended, on_end from the
 * work a time-out                                                   our timer finishes it, queued
 * or running curl reports an error                                        as the happy end, with
 * classify's verdict cancelled while queued or before it ran                      freed at once
 *   cancelled while running                                      GONE at once: no callback comes,
 * no byte of the body is read; the work takes it out of the mux, where curl may be entered
 */

const char *ps_call_end_name(enum ps_call_end end)
{
    static const char *const names[PS_CALL_END_COUNT] = {
        [PS_CALL_DONE] = "done",
        [PS_CALL_CANCELLED] = "cancelled",
        [PS_CALL_QUEUE_FULL] = "queue_full",
        [PS_CALL_QUEUE_TIMEOUT] = "queue_timeout",
        [PS_CALL_RESOLVE] = "resolve",
        [PS_CALL_CONNECT] = "connect",
        [PS_CALL_TLS] = "tls",
        [PS_CALL_REUSE_DIED] = "reuse_died",
        [PS_CALL_SEND] = "send",
        [PS_CALL_CUT] = "cut",
        [PS_CALL_PROTOCOL] = "protocol",
        [PS_CALL_FIRST_BYTE_TIMEOUT] = "first_byte_timeout",
        [PS_CALL_IDLE_TIMEOUT] = "idle_timeout",
        [PS_CALL_TOTAL_TIMEOUT] = "total_timeout",
        [PS_CALL_NO_MEMORY] = "no_memory",
    };
    return (unsigned)end < PS_CALL_END_COUNT ? names[end] : "unknown";
}

static int64_t now_of(const struct ps_call *call)
{
    return call->upstream->loop->now_us;
}

static void doom(struct ps_call *call, enum ps_call_end end, const char *detail)
{
    call->verdict = true;
    call->end = end;
    call->detail = detail;
}

/* Without its timer a call might never end. */
static void fail_later(struct ps_call *call)
{
    if (call->state == PS_CALL_QUEUED && ps_place_leave(call)) {
        ps_place_release(call->upstream);
    } else if (call->state == PS_CALL_READY) {
        ps_list_remove(&call->link);
        ps_place_release(call->upstream);
    }
    if (call->state != PS_CALL_RUNNING) {
        call->state = PS_CALL_ENDED;
    }
    doom(call, PS_CALL_NO_MEMORY, "memory for a timer is short");
    if (ps_list_empty(&call->link)) {
        ps_list_push_back(&call->upstream->ended, &call->link);
    }
    ps_upstream_defer(call->upstream);
}

/* The one timer of a call stands at the nearest of the times that count in its state. */
void ps_call_arm(struct ps_call *call)
{
    int64_t due_us = call->total_due_us;
    int64_t other_us = INT64_MAX;

    if (call->state == PS_CALL_QUEUED) {
        other_us = call->queue_due_us;
    } else if (!call->head_seen) {
        other_us = call->first_due_us;
    } else if (!call->paused) {
        other_us = call->idle_due_us;
    }
    due_us = other_us < due_us ? other_us : due_us;
    if (due_us == INT64_MAX) {
        ps_timer_cancel(&call->timer);
        return;
    }
    int64_t after_us = due_us - now_of(call);
    if (ps_timer_set(&call->timer, after_us > 0 ? after_us : 0) != 0) {
        fail_later(call);
    }
}

/* A byte of the response came. */
void ps_call_touch(struct ps_call *call)
{
    int64_t due_us = now_of(call) + call->idle_timeout_us;

    if (call->idle_timeout_us > 0 && due_us != call->idle_due_us) {
        call->idle_due_us = due_us;
        ps_call_arm(call);
    }
}

/* Lane and place go back. The call is in no list of the mux afterwards. */
static void detach(struct ps_call *call, bool clean)
{
    struct ps_lane *lane = call->lane;
    struct ps_mux *mux = lane->mux;

    /* Closes the connection unless the response was complete. */
    (void)curl_multi_remove_handle(mux->multi, lane->easy);
    lane->call = NULL;
    ps_slot_settle(lane);
    ps_slot_unclaim(lane, !lane->upstream->closing);
    mux->active--;
    mux->used_us = now_of(call);
    call->lane = NULL;
    ps_list_remove(&call->sent);
    ps_list_remove(&call->act);
    ps_lane_give(lane, clean);
    ps_place_release(call->upstream);
}

static void tell_end(struct ps_call *call, enum ps_call_end end, const char *detail)
{
    ps_timer_cancel(&call->timer);
    ps_list_remove(&call->all);
    ps_list_remove(&call->link);
    call->state = PS_CALL_GONE;
    call->ops->on_end(call->arg, end, detail);
    ps_call_free(call);
}

void ps_call_finish(struct ps_call *call, enum ps_call_end end, const char *detail)
{
    if (call->lane != NULL) {
        detach(call, end == PS_CALL_DONE);
    }
    tell_end(call, end, detail);
}

void ps_call_reap(struct ps_call *call)
{
    ps_list_remove(&call->link);
    detach(call, false);
    ps_call_free(call);
}

static bool is_tls(CURLcode code)
{
    return code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CIPHER || code == CURLE_SSL_CERTPROBLEM ||
           code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR ||
           code == CURLE_SSL_INVALIDCERTSTATUS || code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
}

/* It broke before curl was about to send. */
static enum ps_call_end classify_unsent(CURLcode code)
{
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY) {
        return PS_CALL_RESOLVE;
    }
    if (code == CURLE_OUT_OF_MEMORY) {
        return PS_CALL_NO_MEMORY;
    }
    return is_tls(code) ? PS_CALL_TLS : PS_CALL_CONNECT;
}

static enum ps_call_end classify(const struct ps_call *call, CURLcode code)
{
    const struct ps_lane *lane = call->lane;

    if (lane->stale || lane->resend_refused) {
        return lane->got_bytes ? PS_CALL_CUT : PS_CALL_REUSE_DIED;
    }
    if (code == CURLE_OK && call->head_seen) {
        return PS_CALL_DONE;
    }
    if (lane->requests == 0) {
        return classify_unsent(code);
    }
    if (call->head_seen) {
        return code == CURLE_OUT_OF_MEMORY ? PS_CALL_NO_MEMORY : PS_CALL_CUT;
    }
    if (code == CURLE_OK || code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
        code == CURLE_GOT_NOTHING || code == CURLE_PARTIAL_FILE) {
        if (lane->got_line || lane->got_bytes) {
            return PS_CALL_CUT;
        }
        return call->timing.reused ? PS_CALL_REUSE_DIED : PS_CALL_SEND;
    }
    if (code == CURLE_OUT_OF_MEMORY && !lane->got_line) {
        return PS_CALL_NO_MEMORY;
    }
    /* Also what curl calls memory: a header line above its own limit of 100 KiB. */
    return PS_CALL_PROTOCOL;
}

void ps_call_done(struct ps_call *call, CURLcode code)
{
    struct ps_upstream_shared *shared = call->upstream->shared;
    char detail[CURL_ERROR_SIZE];

    if (call->state == PS_CALL_GONE) {
        ps_call_reap(call);
        return;
    }
    if (call->verdict) {
        ps_call_finish(call, call->end, call->detail);
        return;
    }
    enum ps_call_end end = classify(call, code);
    if (end == PS_CALL_REUSE_DIED) {
        (void)atomic_fetch_add_explicit(&shared->reuse_deaths, 1, memory_order_relaxed);
        (void)snprintf(detail, sizeof(detail), "%s",
                       "the pooled connection died before the response began");
    } else if (end == PS_CALL_DONE) {
        (void)snprintf(detail, sizeof(detail), "%s", "the response is complete");
    } else if (code == CURLE_OK) {
        (void)snprintf(detail, sizeof(detail), "%s", "the connection ended within the head");
    } else {
        const char *text = end == PS_CALL_CONNECT && call->lane->forbidden
                               ? "the address is not a public one"
                               : call->lane->error;
        (void)snprintf(detail, sizeof(detail), "%s",
                       text[0] != '\0' ? text : curl_easy_strerror(code));
    }
    ps_call_finish(call, end, detail);
}

void ps_call_tell_sent(struct ps_call *call)
{
    ps_list_remove(&call->sent);
    if (call->sent_told || call->state != PS_CALL_RUNNING) {
        return;
    }
    call->sent_told = true;
    call->timing.sent_us = now_of(call);
    call->small = PS_SLICE_NONE;
    ps_free(call->gathered);
    call->gathered = NULL;
    if (call->ops->on_sent != NULL) {
        call->ops->on_sent(call->arg);
    }
}

static void on_deadline(struct ps_timer *timer)
{
    struct ps_call *call = PS_CONTAINER_OF(timer, struct ps_call, timer);
    int64_t now_us = now_of(call);
    bool queued = call->state == PS_CALL_QUEUED;

    if (queued && ps_place_granted(call)) {
        return; /* on its way: the work starts it, and arms the timer again */
    }
    if (now_us >= call->total_due_us) {
        doom(call, PS_CALL_TOTAL_TIMEOUT, "the call took longer than it may");
    } else if (queued && now_us >= call->queue_due_us) {
        doom(call, PS_CALL_QUEUE_TIMEOUT, "no connection came free in time");
    } else if (!queued && !call->head_seen && now_us >= call->first_due_us) {
        doom(call, PS_CALL_FIRST_BYTE_TIMEOUT, "the upstream did not answer in time");
    } else if (!queued && call->head_seen && !call->paused && now_us >= call->idle_due_us) {
        doom(call, PS_CALL_IDLE_TIMEOUT, "the upstream fell silent within its response");
    } else {
        ps_call_arm(call);
        return;
    }
    if (queued && ps_place_leave(call)) {
        ps_place_release(call->upstream);
    } else if (call->state == PS_CALL_READY) {
        ps_list_remove(&call->link);
        ps_place_release(call->upstream);
    }
    ps_call_finish(call, call->end, call->detail);
}

/* It has a place but could not be started. */
static void give_up(struct ps_call *call)
{
    ps_place_release(call->upstream);
    tell_end(call, PS_CALL_NO_MEMORY, "memory for the call is short");
}

void ps_call_dispatch(struct ps_call *call)
{
    struct ps_upstream *upstream = call->upstream;
    int64_t now_us = now_of(call);

    call->timing.queued_us = now_us - call->born_us;
    call->timing.started_us = now_us;
    struct ps_mux *mux = ps_mux_pick(upstream);
    struct ps_lane *lane = mux != NULL ? ps_lane_take(upstream) : NULL;
    if (lane == NULL) {
        give_up(call);
        return;
    }
    call->state = PS_CALL_RUNNING;
    lane->mux = mux;
    if (ps_call_gather(call) != 0 || ps_lane_prepare(lane, call) != 0 ||
        curl_multi_add_handle(mux->multi, lane->easy) != CURLM_OK) {
        ps_lane_give(lane, false);
        give_up(call);
        return;
    }
    call->lane = lane;
    mux->active++;
    mux->kick = true;
    if (call->first_byte_timeout_us > 0) {
        call->first_due_us = now_us + call->first_byte_timeout_us;
    }
    ps_call_arm(call);
}

struct ps_call *ps_call_start(struct ps_upstream *upstream, const struct ps_call_request *request,
                              const struct ps_call_ops *ops, void *arg)
{
    struct ps_call *call = ps_call_new(upstream, request);

    if (call == NULL) {
        return NULL;
    }
    call->ops = ops;
    call->arg = arg;
    ps_timer_init(&call->timer, upstream->loop, on_deadline);
    ps_list_push_back(&upstream->calls, &call->all);
    if (upstream->closing) {
        doom(call, PS_CALL_CANCELLED, "the upstream is closing");
    }
    if (!call->verdict) {
        call->state = PS_CALL_QUEUED;
        switch (ps_place_ask(call)) {
        case PS_PLACE_TAKEN:
            call->state = PS_CALL_READY;
            ps_list_push_back(&upstream->ready, &call->link);
            break;
        case PS_PLACE_WAIT:
            ps_call_arm(call);
            return call;
        case PS_PLACE_FULL:
            call->state = PS_CALL_ENDED;
            doom(call, PS_CALL_QUEUE_FULL, "too many calls wait for this upstream");
            break;
        }
    }
    if (call->verdict) {
        ps_list_push_back(&upstream->ended, &call->link);
    }
    ps_upstream_defer(upstream);
    return call;
}

void ps_call_pause(struct ps_call *call)
{
    if (call->state == PS_CALL_GONE || call->paused) {
        return;
    }
    call->paused = true;
    if (call->head_seen) {
        ps_call_arm(call);
    }
}

void ps_call_resume(struct ps_call *call)
{
    if (call->state == PS_CALL_GONE || !call->paused) {
        return;
    }
    call->paused = false;
    if (call->head_seen) {
        ps_call_touch(call);
        ps_call_arm(call);
    }
    if (call->lane != NULL && call->lane->held && ps_list_empty(&call->act)) {
        ps_list_push_back(&call->upstream->resuming, &call->act);
        ps_upstream_defer(call->upstream);
    }
}

/* From the work. curl brings what it held from inside curl_easy_pause, and reports an error only
 * there. */
void ps_call_continue(struct ps_call *call)
{
    struct ps_lane *lane = call->lane;

    if (call->paused || !lane->held || call->state != PS_CALL_RUNNING) {
        return;
    }
    lane->held = false;
    lane->mux->kick = true;
    CURLcode code = curl_easy_pause(lane->easy, CURLPAUSE_CONT);
    if (code != CURLE_OK && call->state == PS_CALL_RUNNING) {
        ps_call_done(call, code);
    }
}

/* GONE: nothing is called any more. true: it runs, and stays in memory until the work has reaped
 * it. */
static bool withdraw(struct ps_call *call)
{
    struct ps_upstream *upstream = call->upstream;
    enum ps_call_state was = call->state;

    ps_timer_cancel(&call->timer);
    ps_list_remove(&call->all);
    if (was == PS_CALL_QUEUED) {
        if (ps_place_leave(call)) {
            ps_place_release(upstream);
        }
    } else {
        ps_list_remove(&call->link);
    }
    if (was == PS_CALL_READY) {
        ps_place_release(upstream);
    }
    call->state = PS_CALL_GONE;
    if (was != PS_CALL_RUNNING) {
        return false;
    }
    ps_list_remove(&call->sent);
    ps_list_remove(&call->act);
    ps_list_push_back(&upstream->dead, &call->link);
    ps_upstream_defer(upstream);
    return true;
}

void ps_call_cancel(struct ps_call *call)
{
    if (call->state != PS_CALL_GONE && !withdraw(call)) {
        ps_call_free(call);
    }
}

void ps_call_abandon(struct ps_call *call)
{
    bool running = withdraw(call);

    call->ops->on_end(call->arg, PS_CALL_CANCELLED, "the upstream is closing");
    if (!running) {
        ps_call_free(call);
    }
}

void ps_call_timing(const struct ps_call *call, struct ps_call_timing *ret)
{
    *ret = call->timing;
}
