/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"

#include <stdlib.h>
#include <string.h>

/*
 * The happy path: the router names a target, the dialect encodes the request for it, a call is started
 * (STARTING); the response head makes a decoder (HOLDING); its bytes become events, held back until one of
 * them commits (WON: the exchange tells the front); after the terminal marker and the end of the upstream's
 * body the exchange is complete.
 *
 * How it fails, before the commit: the call ends badly, the status is none of 2xx, the bytes are not what the
 * dialect says, the body reports an error, or time is up. Then the target's health is told, and when another
 * target may be tried it is, at the end of the turn; else the exchange fails with what the last one said. A
 * reused connection that died before a response byte earns one more call to the same target on a fresh one.
 * After the commit all of these end the answer as incomplete.
 *
 * Nothing here ends the exchange or starts a call inside a callback from below: steps are deferred.
 */

#define HOLD_BYTES 65536u          /* an answer that has not committed within so many bytes commits */
#define HOLD_JSON (1u << 20)       /* likewise one that is a single JSON text */
#define HOLD_ERROR 65536u          /* of an error's body */
#define CLOSE_WAIT_US INT64_C(250000) /* for the end of the body behind the terminal marker */

static int64_t timeout_us(int64_t own_ms, int64_t common_ms)
{
    return (own_ms >= 0 ? own_ms : common_ms) * 1000;
}

/* ---- the end of an attempt ---- */

static void release(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    if (at->call != NULL) {
        ps_call_cancel(at->call);
        at->call = NULL;
    }
    if (at->upstream_taken) {
        ps_gateway_upstream_give(ex->gl, at->target->endpoint);
        at->upstream_taken = false;
    }
    ps_decoder_free(at->decoder);
    at->decoder = NULL;
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

void ps_attempt_drop(struct ps_exchange *ex, enum ps_verdict verdict)
{
    if (ex->attempt.state != PS_ATTEMPT_IDLE) {
        conclude(ex, verdict, PS_FAULT_CLIENT_GONE);
    }
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
 * Ends the attempt with `fault`, from whatever callback. The step that follows runs at the end of the turn.
 */
static void attempt_failed(struct ps_exchange *ex, enum ps_verdict verdict, const struct ps_fault *fault)
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

/* ---- events from the decoder ---- */

static enum ps_verdict verdict_of(const struct ps_fault *fault)
{
    enum ps_fault_kind kind = fault->kind;
    if (kind == PS_FAULT_RATE_LIMITED || kind == PS_FAULT_QUOTA || kind == PS_FAULT_UPSTREAM_AUTH) {
        return PS_VERDICT_CREDENTIAL;
    }
    if (kind == PS_FAULT_NO_MEMORY) {
        return PS_VERDICT_NEUTRAL;
    }
    return ps_fault_retryable(kind) ? PS_VERDICT_ENDPOINT : PS_VERDICT_OK;
}

static void note_usage(struct ps_usage *sum, const struct ps_usage *usage)
{
    const int64_t *from[] = {&usage->input, &usage->output, &usage->total, &usage->cached, &usage->reasoning};
    int64_t *to[] = {&sum->input, &sum->output, &sum->total, &sum->cached, &sum->reasoning};
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

/* Before the commit: true when the event is to be passed on now, because it or the full hold decided. */
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

static bool on_event(void *arg, const struct ps_event *event)
{
    struct ps_exchange *ex = arg;
    struct ps_attempt *at = &ex->attempt;
    if (event->kind == PS_EVENT_USAGE) {
        note_usage(&ex->usage, &event->usage);
    } else if (event->kind == PS_EVENT_FINISH) {
        ex->finish = event->finish;
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

/* The decoder stopped, by on_event (which has set the fault) or because the bytes are wrong. */
static void decoder_failed(struct ps_exchange *ex, enum ps_decode result)
{
    struct ps_attempt *at = &ex->attempt;
    if (at->call != NULL) {
        ps_call_cancel(at->call);
        at->call = NULL;
    }
    if (result == PS_DECODE_BROKEN) {
        at->fault = *ps_decoder_fault(at->decoder);
        if (ex->state == PS_EXCHANGE_COMMITTED) {
            at->fault.kind = PS_FAULT_STREAM_INCOMPLETE;
        }
    }
    attempt_failed(ex, verdict_of(&at->fault), &at->fault);
}

/* ---- the upstream's callbacks ---- */

static void on_sent(void *arg)
{
    struct ps_exchange *ex = arg;
    ex->attempt.sent = true;
    if (ex->attempt.state == PS_ATTEMPT_WON) {
        ps_chain_clear(&ex->body);
    }
}

static int64_t retry_after_us(const struct ps_call_head *head)
{
    char text[24];
    struct ps_slice value = ps_call_header_value(head, "retry-after-ms");
    double unit = 1e3;
    if (value.len == 0) {
        value = ps_call_header_value(head, "retry-after");
        unit = 1e6;
    }
    if (value.len == 0 || value.len >= sizeof(text)) {
        return 0;
    }
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    char *end = NULL;
    double wait = strtod(text, &end);
    if (end == text || *end != '\0' || !(wait > 0) || wait > 1e6) {
        return 0; /* an HTTP-date, or nonsense: the cool-down's own time holds */
    }
    return (int64_t)(wait * unit);
}

static int keep_headers(struct ps_exchange *ex, const struct ps_call_head *head)
{
    struct ps_attempt *at = &ex->attempt;
    at->headers = ps_arena_alloc(ex->arena, PS_ANSWER_HEADERS * sizeof(*at->headers));
    at->header_count = 0;
    if (at->headers == NULL) {
        return -1;
    }
    for (size_t i = 0; i < head->header_count && at->header_count < PS_ANSWER_HEADERS; i++) {
        if (ps_header_comes_down(head->headers[i].name)) {
            struct ps_call_header *kept = &at->headers[at->header_count++];
            kept->name = ps_arena_copy(ex->arena, head->headers[i].name);
            kept->value = ps_arena_copy(ex->arena, head->headers[i].value);
            if (kept->name.ptr == NULL || kept->value.ptr == NULL) {
                return -1;
            }
        }
    }
    struct ps_slice id = ps_call_header_value(head, "x-request-id");
    if (id.len == 0) {
        id = ps_call_header_value(head, "request-id");
    }
    ex->upstream_id = ps_id_is_sane(id) ? ps_arena_copy(ex->arena, id) : PS_SLICE_NONE;
    at->content_type = ps_arena_copy(ex->arena, ps_call_header_value(head, "content-type"));
    return at->content_type.ptr != NULL ? 0 : -1;
}

static bool begins_with(struct ps_slice content_type, struct ps_slice media)
{
    return content_type.len >= media.len && ps_slice_ieq(ps_slice(content_type.ptr, media.len), media);
}

static struct ps_decoder *make_decoder(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_decoder_options options = {
        .operation = ex->spec.operation,
        .stream = at->encoded.stream,
        .fields = !ex->answer.raw,
        .withhold_usage = at->encoded.withhold_usage,
        .content_type = at->content_type,
        .event_bytes = (size_t)ex->snapshot->config->limits.event_bytes,
        .json_depth = PS_JSON_MAX_DEPTH,
        .json_nodes = UINT64_MAX,
    };
    return ps_decoder_new(at->target->provider->dialect, &options, ex->arena, on_event, ex);
}

static void on_head(void *arg, const struct ps_call_head *head)
{
    struct ps_exchange *ex = arg;
    struct ps_attempt *at = &ex->attempt;
    at->state = PS_ATTEMPT_HOLDING;
    at->status = head->status;
    at->length = head->content_length;
    at->retry_after_us = retry_after_us(head);
    bool ok = keep_headers(ex, head) == 0;
    at->event_stream = begins_with(at->content_type, PS_SLICE_LIT("text/event-stream"));
    at->json = begins_with(at->content_type, PS_SLICE_LIT("application/json"));
    if (ok && head->status >= 200 && head->status < 300) {
        at->decoder = make_decoder(ex);
        ok = at->decoder != NULL;
    }
    if (!ok) {
        ps_call_cancel(at->call);
        at->call = NULL;
        (void)ps_fault_set(&at->fault, PS_FAULT_NO_MEMORY, NULL, "The gateway is short of memory; try again later.");
        attempt_failed(ex, PS_VERDICT_NEUTRAL, &at->fault);
    }
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct ps_exchange *ex = arg;
    struct ps_attempt *at = &ex->attempt;
    if (at->decoder != NULL) {
        enum ps_decode result = ps_decoder_feed(at->decoder, ptr, len);
        if (result != PS_DECODE_OK) {
            decoder_failed(ex, result);
        } else if (at->done && !ps_timer_is_set(&ex->timer)) {
            (void)ps_timer_set(&ex->timer, CLOSE_WAIT_US);
        }
        return;
    }
    if (at->hold_cut || at->hold.len + len > HOLD_ERROR || ps_chain_append(&at->hold, ptr, len) != 0) {
        at->hold_cut = true;
    }
}

/* The upstream answered with an error status. */
static void refused(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_fault fault = {0};
    char *body = ps_arena_alloc(ex->arena, at->hold.len + 1);
    size_t len = body != NULL ? at->hold.len : 0;
    if (body != NULL) {
        ps_chain_copy(&at->hold, 0, len, body);
    }
    ps_dialect_fault(at->target->provider->dialect, at->status, ps_slice(body, len), &fault);
    fault.retry_after_ms = at->retry_after_us / 1000;
    bool about_key = at->status == 401 || at->status == 403;
    bool our_key = about_key && !at->target->provider->config->auth_client;
    if (about_key && !our_key) {
        fault.kind = at->status == 401 ? PS_FAULT_UNAUTHORIZED : PS_FAULT_FORBIDDEN;
    }
    ex->outcome.verbatim = ex->answer.raw && !our_key && !at->hold_cut && at->status >= 400;
    if (ex->outcome.verbatim) {
        fault.status = at->status;
        ex->outcome.content_type = at->content_type;
        ex->outcome.body = &at->hold;
        ex->outcome.headers = at->headers;
        ex->outcome.header_count = at->header_count;
    }
    attempt_failed(ex, verdict_of(&fault), &fault);
}

static const struct {
    enum ps_fault_kind fault;
    enum ps_verdict verdict;
    const char *sentence;
} call_ends[PS_CALL_END_COUNT] = {
    [PS_CALL_DONE] = {PS_FAULT_NONE, PS_VERDICT_OK, ""},
    [PS_CALL_CANCELLED] = {PS_FAULT_DRAINING, PS_VERDICT_NEUTRAL, "The gateway is shutting down."},
    [PS_CALL_QUEUE_FULL] = {PS_FAULT_QUEUE_FULL, PS_VERDICT_NEUTRAL, "Too many requests wait for the upstream"},
    [PS_CALL_QUEUE_TIMEOUT] = {PS_FAULT_QUEUE_FULL, PS_VERDICT_NEUTRAL, "Waited too long for a place at the upstream"},
    [PS_CALL_RESOLVE] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT, "The upstream's name could not be resolved"},
    [PS_CALL_CONNECT] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT, "The upstream could not be reached"},
    [PS_CALL_TLS] = {PS_FAULT_UPSTREAM_TLS, PS_VERDICT_ENDPOINT, "No trusted TLS connection to the upstream"},
    [PS_CALL_REUSE_DIED] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT, "The upstream closed the connection"},
    [PS_CALL_SEND] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT,
                      "The upstream closed the connection before it answered"},
    [PS_CALL_CUT] = {PS_FAULT_STREAM_INCOMPLETE, PS_VERDICT_ENDPOINT, "The upstream's answer was cut off"},
    [PS_CALL_PROTOCOL] = {PS_FAULT_UPSTREAM_BROKEN, PS_VERDICT_ENDPOINT, "The upstream's answer is not valid HTTP"},
    [PS_CALL_FIRST_BYTE_TIMEOUT] = {PS_FAULT_UPSTREAM_TIMEOUT, PS_VERDICT_ENDPOINT, "The upstream did not answer in time"},
    [PS_CALL_IDLE_TIMEOUT] = {PS_FAULT_UPSTREAM_TIMEOUT, PS_VERDICT_ENDPOINT, "The upstream fell silent"},
    [PS_CALL_TOTAL_TIMEOUT] = {PS_FAULT_UPSTREAM_TIMEOUT, PS_VERDICT_ENDPOINT, "The answer took too long"},
    [PS_CALL_NO_MEMORY] = {PS_FAULT_NO_MEMORY, PS_VERDICT_NEUTRAL, "The gateway is short of memory"},
};

static void call_failed(struct ps_exchange *ex, enum ps_call_end end)
{
    struct ps_fault fault = {0};
    enum ps_fault_kind kind = call_ends[end].fault;
    if (ex->state == PS_EXCHANGE_COMMITTED) {
        kind = PS_FAULT_STREAM_INCOMPLETE;
    }
    (void)ps_fault_set(&fault, kind, NULL, "%s (provider %s).", call_ends[end].sentence,
                       ex->attempt.target->provider->config->name);
    if (kind == PS_FAULT_QUEUE_FULL) {
        fault.retry_after_ms = 1000;
    }
    attempt_failed(ex, call_ends[end].verdict, &fault);
}

static void completed_step(struct ps_exchange *ex)
{
    release(ex);
    ps_exchange_complete(ex);
}

static void won(struct ps_exchange *ex)
{
    conclude(ex, PS_VERDICT_OK, PS_FAULT_NONE);
    ps_timer_cancel(&ex->timer);
    ps_exchange_defer(ex, completed_step);
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    struct ps_exchange *ex = arg;
    struct ps_attempt *at = &ex->attempt;
    struct ps_call_timing timing;
    (void)detail;
    ps_call_timing(at->call, &timing);
    ex->queue_us = timing.queued_us;
    at->call = NULL;
    at->sent = true;
    if (at->done) {
        won(ex); /* the terminal marker was seen: how the connection went afterwards does not matter */
    } else if (end == PS_CALL_REUSE_DIED && !at->fresh) {
        conclude(ex, PS_VERDICT_NEUTRAL, PS_FAULT_UPSTREAM_CONNECT);
        ps_retry_record(ex, PS_FAULT_UPSTREAM_CONNECT, true);
        ps_timer_cancel(&ex->timer);
        at->fresh = true;
        ex->next = at->target;
        ps_exchange_defer(ex, next_step);
    } else if (end != PS_CALL_DONE) {
        call_failed(ex, end);
    } else if (at->decoder == NULL) {
        refused(ex);
    } else {
        enum ps_decode result = ps_decoder_finish(at->decoder);
        if (result == PS_DECODE_OK) {
            won(ex);
        } else {
            decoder_failed(ex, result);
        }
    }
}

static const struct ps_call_ops call_ops = {on_sent, on_head, on_data, on_end};

/* ---- starting ---- */

static void add_header(struct ps_call_header *headers, size_t *count, struct ps_slice name, struct ps_slice value)
{
    headers[(*count)++] = (struct ps_call_header){name, value};
}

/* Few and short: every byte of a request header costs. */
static struct ps_call_header *build_headers(struct ps_exchange *ex, size_t *ret_count)
{
    const struct ps_attempt *at = &ex->attempt;
    const struct ps_config_provider *config = at->target->provider->config;
    size_t count = 0;
    struct ps_call_header *headers =
        ps_arena_alloc(ex->arena, (ex->spec.header_count + config->header_count + 3) * sizeof(*headers));
    if (headers == NULL) {
        return NULL;
    }
    const struct ps_credential *credential = at->target->credential;
    if (credential->value != NULL) {
        add_header(headers, &count, ps_slice_cstr(credential->header), ps_slice_cstr(credential->value));
    } else if (config->auth_client && ex->spec.credential.len > 0) {
        const char *name = NULL;
        const char *prefix = NULL;
        ps_dialect_credential(at->target->provider->dialect, &name, &prefix);
        char *value = ps_arena_printf(ex->arena, "%s%.*s", prefix, (int)ex->spec.credential.len, ex->spec.credential.ptr);
        if (value == NULL) {
            return NULL;
        }
        add_header(headers, &count, ps_slice_cstr(name), ps_slice_cstr(value));
    }
    if (at->encoded.content_type.len > 0) {
        add_header(headers, &count, PS_SLICE_LIT("content-type"), at->encoded.content_type);
    }
    if (at->encoded.accept.len > 0) {
        add_header(headers, &count, PS_SLICE_LIT("accept"), at->encoded.accept);
    }
    for (size_t i = 0; i < ex->spec.header_count; i++) {
        add_header(headers, &count, ex->spec.headers[i].name, ex->spec.headers[i].value);
    }
    for (size_t i = 0; i < config->header_count; i++) {
        add_header(headers, &count, ps_slice_cstr(config->headers[i].name), ps_slice_cstr(config->headers[i].value));
    }
    *ret_count = count;
    return headers;
}

static int encode(struct ps_exchange *ex, struct ps_fault *fault)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_encode_options options = {
        .model = at->target->model.len > 0 ? at->target->model : ex->rest,
        .active_accounting = at->target->provider->config->accounting == PS_ACCOUNTING_ACTIVE,
    };
    if (ex->spec.operation == PS_OP_PASS && ex->request.model.len == 0) {
        options.model = PS_SLICE_NONE; /* a path that names no model is not given one */
    }
    ex->answer.raw = ps_dialect_family(at->target->provider->dialect) == ex->spec.family;
    return ps_dialect_encode(at->target->provider->dialect, &ex->request, &options, ex->arena, &at->encoded, fault);
}

static int start_call(struct ps_exchange *ex, struct ps_fault *fault)
{
    struct ps_attempt *at = &ex->attempt;
    const struct ps_config_limits *limits = &ex->snapshot->config->limits;
    const struct ps_config_timeouts *own = &at->target->provider->config->timeouts;
    struct ps_call_request request = {
        .method = at->encoded.method,
        .path = at->encoded.path,
        .body = at->encoded.parts,
        .body_count = at->encoded.part_count,
        .has_body = at->encoded.has_body,
        .idle_timeout_us = timeout_us(own->stream_idle, limits->stream_idle_timeout),
        .total_timeout_us = timeout_us(own->stream, limits->stream_timeout),
        .fresh_connection = at->fresh,
    };
    request.headers = build_headers(ex, &request.header_count);
    struct ps_upstream *upstream = ps_gateway_upstream_take(ex->gl, at->target->endpoint);
    at->upstream_taken = upstream != NULL;
    at->call = upstream != NULL && request.headers != NULL ? ps_call_start(upstream, &request, &call_ops, ex) : NULL;
    if (at->call == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL, "The gateway is short of memory; try again later.");
    }
    if (ex->paused) {
        ps_call_pause(at->call);
    }
    return 0;
}

/* Until the commit: the attempt's own time, but never past the time of the whole request. */
static int set_deadline(struct ps_exchange *ex)
{
    const struct ps_config_limits *limits = &ex->snapshot->config->limits;
    const struct ps_config_timeouts *own = &ex->attempt.target->provider->config->timeouts;
    int64_t wait = timeout_us(own->request, limits->request_timeout);
    if (ex->attempt.encoded.stream) {
        int64_t first = timeout_us(own->first_token, limits->first_token_timeout);
        wait = first < wait ? first : wait;
    }
    int64_t left = ex->run_us + limits->request_timeout * 1000 - ps_clock_us();
    return ps_timer_set(&ex->timer, wait < left ? wait : left);
}

static void start_target(struct ps_exchange *ex, const struct ps_target *target)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_fault fault = {0};
    bool fresh = at->fresh && at->target == target;
    ps_chain_clear(&at->hold);
    *at = (struct ps_attempt){.target = target, .hold = at->hold, .fresh = fresh, .length = -1};
    ex->outcome = (struct ps_outcome){0};
    ex->upstream_id = PS_SLICE_NONE;
    ex->attempts++;
    ps_target_begin(target);
    at->state = PS_ATTEMPT_STARTING;
    at->started_us = ps_clock_us();
    if (encode(ex, &fault) != 0 || start_call(ex, &fault) != 0) {
        attempt_failed(ex, PS_VERDICT_NEUTRAL, &fault);
        return;
    }
    if (set_deadline(ex) != 0) {
        ps_call_cancel(at->call);
        at->call = NULL;
        (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL, "The gateway is short of memory; try again later.");
        attempt_failed(ex, PS_VERDICT_NEUTRAL, &fault);
    }
}

void ps_attempt_first(struct ps_exchange *ex)
{
    start_target(ex, choose(ex)); /* an untried route always has one */
}

void ps_attempt_timeout(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_fault fault = {0};
    if (at->done) {
        won(ex); /* the answer is whole, the upstream only does not close it; its connection is not used again */
        return;
    }
    ps_call_cancel(at->call);
    at->call = NULL;
    (void)ps_fault_set(&fault, PS_FAULT_UPSTREAM_TIMEOUT, NULL, "The upstream did not answer in time (provider %s).",
                       at->target->provider->config->name);
    attempt_failed(ex, PS_VERDICT_ENDPOINT, &fault);
}
