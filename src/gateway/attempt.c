/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/clock.h"

/*
 * What all backends have in common: one target is asked at a time, its events are held back until
 * one of them commits, its failure before that lets the next target have a try.
 *
 * The happy path: the router names a target, its backend translates the request, on the offload
 * pool when the body is large, and starts (STARTING), then yields events (HOLDING) until one
 * commits (WON: the exchange tells the front); after the terminal marker the exchange is complete.
 *
 * How it fails, before the commit: the backend reports a fault, or time is up. Then the target's
 * health is told, and when another target may be tried it is, at the end of the turn; else the
 * exchange fails with what the last one said. After the commit a fault ends the answer as
 * incomplete.
 *
 * Nothing here ends the exchange or starts a backend inside a callback from below: steps are
 * deferred.
 */

#define HOLD_BYTES 65536u     /* an answer that has not committed within so many bytes commits */
#define HOLD_JSON  (1u << 20) /* likewise one that is a single JSON text */

int64_t ps_timeout_us(int64_t own_ms, int64_t common_ms)
{
    return (own_ms >= 0 ? own_ms : common_ms) * 1000;
}

/* ---- the end of an attempt ---- */

static void release(struct ps_exchange *ex)
{
    if (ex->attempt.backend != NULL) {
        ex->attempt.backend->release(ex);
    }
}

/* The attempt is over: its health verdict, its line in the records. */
static void conclude(struct ps_exchange *ex, enum ps_verdict verdict, enum ps_fault_kind fault)
{
    struct ps_attempt *at = &ex->attempt;
    int64_t now = ps_clock_us();
    struct ps_attempt_record record = {at->target, fault, at->status, now - at->started_us};
    if (ex->attempts <= PS_ATTEMPT_RECORDS) {
        ex->records[ex->attempts - 1] = record;
    }
    ps_attempt_record(ex, &record);
    ps_target_end(at->target, verdict, now, at->retry_after_us);
    if (at->state != PS_ATTEMPT_WON) {
        ex->waited_us += now - at->started_us;
    }
    at->state = PS_ATTEMPT_IDLE;
}

void ps_attempt_drop(struct ps_exchange *ex)
{
    if (ex->attempt.state != PS_ATTEMPT_IDLE) {
        conclude(ex, PS_VERDICT_NEUTRAL, PS_FAULT_CLIENT_GONE);
    }
    ps_offload_leave(ex);
    release(ex);
}

static void fail_step(struct ps_exchange *ex)
{
    release(ex);
    struct ps_fault fault = ex->attempt.fault;
    ps_exchange_fail(ex, &fault);
}

static bool may_try_another(const struct ps_exchange *ex, const struct ps_fault *fault)
{
    return ex->state == PS_EXCHANGE_ATTEMPTING && ps_fault_retryable(fault->kind);
}

static void start_target(struct ps_exchange *ex, const struct ps_target *target);

static void next_step(struct ps_exchange *ex)
{
    release(ex);
    start_target(ex, ex->next);
}

static const struct ps_target *choose(struct ps_exchange *ex)
{
    struct ps_gateway_loop *gl = ex->gl;
    /* xorshift32: ties between targets need no better */
    gl->random ^= gl->random << 13;
    gl->random ^= gl->random >> 17;
    gl->random ^= gl->random << 5;
    return ps_routing_next(&ex->routing, ps_clock_us(), gl->random);
}

/*
 * Ends the attempt with `fault`, from whatever callback. The step that follows runs at the end of
 * the turn.
 */
void ps_attempt_failed(struct ps_exchange *ex, enum ps_verdict verdict,
                       const struct ps_fault *fault)
{
    struct ps_attempt *at = &ex->attempt;
    if (fault != &at->fault) {
        at->fault = *fault;
    }
    conclude(ex, verdict, fault->kind);
    ps_timer_cancel(&ex->timer);
    if (may_try_another(ex, fault)) {
        ex->next = choose(ex);
        if (ex->next != NULL) {
            ps_retry_record(ex, fault->kind, false);
            ps_exchange_defer(ex, next_step);
            return;
        }
    }
    ps_exchange_defer(ex, fail_step);
}

/* ---- events from the backend ---- */

enum ps_verdict ps_attempt_verdict(const struct ps_fault *fault)
{
    enum ps_fault_kind kind = fault->kind;
    if (kind == PS_FAULT_RATE_LIMITED || kind == PS_FAULT_QUOTA || kind == PS_FAULT_UPSTREAM_AUTH) {
        return PS_VERDICT_CREDENTIAL;
    }
    if (kind == PS_FAULT_NO_MEMORY || kind == PS_FAULT_QUEUE_FULL || kind == PS_FAULT_LOADING) {
        return PS_VERDICT_NEUTRAL; /* busy is not ill */
    }
    return ps_fault_retryable(kind) ? PS_VERDICT_ENDPOINT : PS_VERDICT_OK;
}

static void note_usage(struct ps_usage *sum, const struct ps_usage *usage)
{
    const int64_t *from[] = {&usage->input,  &usage->output,    &usage->total,
                             &usage->cached, &usage->reasoning, &usage->cache_write};
    int64_t *to[] = {&sum->input,  &sum->output,    &sum->total,
                     &sum->cached, &sum->reasoning, &sum->cache_write};
    for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
        if (*from[i] >= 0) {
            *to[i] = *from[i]; /* counts are cumulative in every dialect: the last one told holds */
        }
    }
}

static bool hold_bytes(struct ps_exchange *ex, struct ps_slice raw)
{
    struct ps_attempt *at = &ex->attempt;
    if (!ex->answer.raw || raw.len == 0) {
        return true;
    }
    if (ps_chain_append(&at->hold, raw.ptr, raw.len) != 0) {
        (void)ps_fault_set(&at->fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway's buffer memory is used up; try again later.");
        return false;
    }
    return true;
}

/* Before the commit: true when the event is to be passed on now, because it or the full hold
 * decided. */
static bool decide(struct ps_exchange *ex, const struct ps_event *event, int64_t arrival_us)
{
    struct ps_attempt *at = &ex->attempt;
    if (ps_event_commits(event->kind)) {
        if (event->kind == PS_EVENT_RESULT && ex->answer.raw) {
            at->length = (int64_t)(at->hold.len + event->raw.len);
        }
        ps_exchange_commit(ex, arrival_us);
        return true;
    }
    size_t limit = at->json ? HOLD_JSON : HOLD_BYTES;
    if (ex->answer.raw && at->hold.len + event->raw.len > limit) {
        ps_exchange_commit(ex, arrival_us);
        return true;
    }
    return false;
}

bool ps_attempt_event(struct ps_exchange *ex, const struct ps_event *event)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_event whole;
    if (event->kind == PS_EVENT_USAGE) {
        note_usage(&ex->usage, &event->usage);
        whole = *event;
        whole.usage = ex->usage; /* with what was told before the commit */
        event = &whole;
    } else if (event->kind == PS_EVENT_DONE) {
        at->done = true;
    }
    if (event->kind == PS_EVENT_FAULT) {
        at->fault = *event->fault;
        if (ex->state == PS_EXCHANGE_COMMITTED && ex->answer.raw && event->raw.len > 0) {
            ex->front->on_event(ex->front_arg, event);
            ex->outcome.told = true;
        }
        return false;
    }
    if (ex->state == PS_EXCHANGE_ATTEMPTING && !decide(ex, event, ps_clock_us())) {
        return event->withheld || hold_bytes(ex, event->raw);
    }
    if (!event->withheld || !ex->answer.raw) {
        ex->front->on_event(ex->front_arg, event);
    }
    return true;
}

static void completed_step(struct ps_exchange *ex)
{
    release(ex);
    ps_exchange_complete(ex);
}

void ps_attempt_won(struct ps_exchange *ex)
{
    if (ex->overhead_us < 0 && ex->state == PS_EXCHANGE_COMMITTED) {
        /* The front sends nothing before the end: until now it was waiting, too. */
        ex->waited_us += ps_clock_us() - ex->commit_us;
    }
    conclude(ex, PS_VERDICT_OK, PS_FAULT_NONE);
    ps_timer_cancel(&ex->timer);
    ps_exchange_defer(ex, completed_step);
}

void ps_attempt_renew(struct ps_exchange *ex)
{
    conclude(ex, PS_VERDICT_NEUTRAL, PS_FAULT_UPSTREAM_CONNECT);
    ps_retry_record(ex, PS_FAULT_UPSTREAM_CONNECT, true);
    ps_timer_cancel(&ex->timer);
    ex->attempt.fresh = true;
    ex->next = ex->attempt.target;
    ps_exchange_defer(ex, next_step);
}

/* ---- starting ---- */

/* Until the commit: the attempt's own time, but never past the time of the whole request. */
static int set_deadline(struct ps_exchange *ex)
{
    const struct ps_config_limits *limits = &ex->snapshot->config->limits;
    const struct ps_config_timeouts *own = &ex->attempt.target->provider->config->timeouts;
    int64_t wait = ps_timeout_us(own->request, limits->request_timeout);
    if (ex->request.stream) {
        int64_t first = ps_timeout_us(own->first_token, limits->first_token_timeout);
        wait = first < wait ? first : wait;
    }
    int64_t left = ex->run_us + limits->request_timeout * 1000 - ps_clock_us();
    return ps_timer_set(&ex->timer, wait < left ? wait : left);
}

static void start_failed(struct ps_exchange *ex, const struct ps_fault *fault)
{
    enum ps_verdict verdict = ps_attempt_verdict(fault);
    ps_attempt_failed(ex, verdict == PS_VERDICT_OK ? PS_VERDICT_NEUTRAL : verdict, fault);
}

void ps_attempt_begin(struct ps_exchange *ex, const struct ps_translation *t)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_fault fault = t->fault;
    if (fault.kind != PS_FAULT_NONE || at->backend->start(ex, t, &fault) != 0) {
        start_failed(ex, &fault);
        return;
    }
    at->started_us = ps_clock_us();
    at->waiting_us = at->started_us;
    if (set_deadline(ex) != 0) {
        (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory; try again later.");
        ps_attempt_failed(ex, PS_VERDICT_NEUTRAL, &fault);
    } else if (ex->paused) {
        at->backend->pause(ex, true);
    }
}

static void translate(struct ps_exchange *ex)
{
    const struct ps_backend *backend = ex->attempt.backend;
    struct ps_translation t = {.request = &ex->request, .arena = ex->arena};
    struct ps_fault fault;
    if (backend->plan(ex, &t) && ps_offload_pays(ex)) {
        if (ps_offload_start(ex, backend, &t, &fault) == 0) {
            return;
        }
        if (!ps_offload_bears(ex)) {
            start_failed(ex, &fault);
            return;
        }
    }
    (void)backend->translate(&t);
    ps_attempt_begin(ex, &t);
}

static void start_target(struct ps_exchange *ex, const struct ps_target *target)
{
    struct ps_attempt *at = &ex->attempt;
    bool fresh = at->fresh && at->target == target;
    ps_chain_clear(&at->hold);
    *at = (struct ps_attempt){.target = target, .hold = at->hold, .fresh = fresh, .length = -1};
    at->backend =
        target->provider->config->engine != NULL ? &ps_engine_backend : &ps_upstream_backend;
    ex->outcome = (struct ps_outcome){0};
    ex->usage = PS_USAGE_NONE;
    ex->upstream_id = PS_SLICE_NONE;
    ex->dropped = PS_SLICE_NONE;
    ex->attempts++;
    ps_target_begin(target);
    at->state = PS_ATTEMPT_STARTING;
    at->started_us = ps_clock_us();
    translate(ex);
}

void ps_attempt_first(struct ps_exchange *ex)
{
    start_target(ex, choose(ex)); /* an untried route always has one */
}

void ps_attempt_pause(struct ps_exchange *ex, bool paused)
{
    if (ex->attempt.state != PS_ATTEMPT_IDLE) {
        ex->attempt.backend->pause(ex, paused);
    }
}

void ps_attempt_timeout(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_fault fault = {0};
    if (at->done) {
        ps_attempt_won(ex); /* the answer is whole, the upstream only does not close it */
        return;
    }
    (void)ps_fault_set(&fault, PS_FAULT_UPSTREAM_TIMEOUT, NULL,
                       "The upstream did not answer in time (provider %s).",
                       at->target->provider->config->name);
    ps_attempt_failed(ex, PS_VERDICT_ENDPOINT, &fault);
}
