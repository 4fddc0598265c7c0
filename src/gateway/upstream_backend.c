/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"

#include <stdlib.h>
#include <string.h>

/*
 * The backend that asks another server: the dialect encodes the request, a call carries it, the
 * response head makes a decoder, the body's bytes become events.
 *
 * How it fails: the call ends badly, the status is none of 2xx, or the bytes are not what the
 * dialect says. A reused connection that died before a response byte earns one more call to the
 * same target on a fresh one.
 */

#define HOLD_ERROR    65536u          /* of an error's body */
#define CLOSE_WAIT_US INT64_C(250000) /* for the end of the body behind the terminal marker */

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
    ps_attempt_failed(ex, ps_attempt_verdict(&at->fault), &at->fault);
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
        struct ps_slice name = ps_header_comes_down(head->headers[i].name)
                                   ? ps_header_called(ex->spec.family, head->headers[i].name)
                                   : PS_SLICE_NONE;
        if (name.len > 0) {
            struct ps_call_header *kept = &at->headers[at->header_count++];
            kept->name = ps_arena_copy(ex->arena, name);
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
    return content_type.len >= media.len &&
           ps_slice_ieq(ps_slice(content_type.ptr, media.len), media);
}

static bool on_event(void *arg, const struct ps_event *event)
{
    return ps_attempt_event(arg, event);
}

static struct ps_decoder *make_decoder(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_decoder_options options = {
        .operation = ex->spec.operation,
        .front = ex->spec.family,
        .stream = at->encoded.stream,
        .fields = !ex->answer.raw,
        .memo = at->encoded.memo,
        .id = ps_slice_cstr(ex->id.text),
        .settings = &at->target->provider->settings,
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
    struct ps_call_timing timing;
    ps_call_timing(at->call, &timing);
    if (timing.sent_us > 0) {
        /* Sending was ours; waiting for a place before it was not. */
        at->waiting_us = timing.sent_us - timing.queued_us;
    }
    at->state = PS_ATTEMPT_HOLDING;
    at->status = head->status;
    at->length = head->content_length;
    at->retry_after_us = retry_after_us(head);
    bool ok = keep_headers(ex, head) == 0;
    at->event_stream = ps_dialect_is_stream(at->content_type);
    at->json = begins_with(at->content_type, PS_SLICE_LIT("application/json"));
    if (ok && head->status >= 200 && head->status < 300) {
        at->decoder = make_decoder(ex);
        ok = at->decoder != NULL;
    }
    if (!ok) {
        ps_call_cancel(at->call);
        at->call = NULL;
        (void)ps_fault_set(&at->fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory; try again later.");
        ps_attempt_failed(ex, PS_VERDICT_NEUTRAL, &at->fault);
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
    if (at->hold_cut || at->hold.len + len > HOLD_ERROR ||
        ps_chain_append(&at->hold, ptr, len) != 0) {
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
    if (at->retry_after_us == 0) {
        at->retry_after_us = fault.retry_after_ms * 1000; /* some say it in the body */
    }
    fault.retry_after_ms = at->retry_after_us / 1000;
    bool is_error = at->status >= 400 && at->status <= 599;
    if (!is_error) {
        (void)ps_fault_set(
            &fault, PS_FAULT_UPSTREAM_BROKEN, NULL,
            "The upstream answered with status %d, which is no answer (provider %s).", at->status,
            at->target->provider->config->name);
    }
    bool about_key = at->status == 401 || at->status == 403;
    /* Some say 400 of a bad key, and show part of it. */
    bool our_key = (about_key || fault.kind == PS_FAULT_UPSTREAM_AUTH) &&
                   !at->target->provider->config->auth_client;
    if (about_key && !our_key) {
        fault.kind = at->status == 401 ? PS_FAULT_UNAUTHORIZED : PS_FAULT_FORBIDDEN;
    }
    ex->outcome.verbatim = ex->answer.raw && !our_key && !at->hold_cut && is_error;
    if (ex->outcome.verbatim) {
        fault.status = at->status;
        ex->outcome.content_type = at->content_type;
        ex->outcome.body = &at->hold;
        ex->outcome.headers = at->headers;
        ex->outcome.header_count = at->header_count;
    }
    ps_attempt_failed(ex, ps_attempt_verdict(&fault), &fault);
}

static const struct {
    enum ps_fault_kind fault;
    enum ps_verdict verdict;
    const char *sentence;
} call_ends[PS_CALL_END_COUNT] = {
    [PS_CALL_DONE] = {PS_FAULT_NONE, PS_VERDICT_OK, ""},
    [PS_CALL_CANCELLED] = {PS_FAULT_DRAINING, PS_VERDICT_NEUTRAL, "The gateway is shutting down."},
    [PS_CALL_QUEUE_FULL] = {PS_FAULT_QUEUE_FULL, PS_VERDICT_NEUTRAL,
                            "Too many requests wait for the upstream"},
    [PS_CALL_QUEUE_TIMEOUT] = {PS_FAULT_QUEUE_FULL, PS_VERDICT_NEUTRAL,
                               "Waited too long for a place at the upstream"},
    [PS_CALL_RESOLVE] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT,
                         "The upstream's name could not be resolved"},
    [PS_CALL_CONNECT] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT,
                         "The upstream could not be reached"},
    [PS_CALL_TLS] = {PS_FAULT_UPSTREAM_TLS, PS_VERDICT_ENDPOINT,
                     "No trusted TLS connection to the upstream"},
    [PS_CALL_REUSE_DIED] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT,
                            "The upstream closed the connection"},
    [PS_CALL_SEND] = {PS_FAULT_UPSTREAM_CONNECT, PS_VERDICT_ENDPOINT,
                      "The upstream closed the connection before it answered"},
    [PS_CALL_CUT] = {PS_FAULT_STREAM_INCOMPLETE, PS_VERDICT_ENDPOINT,
                     "The upstream's answer was cut off"},
    [PS_CALL_PROTOCOL] = {PS_FAULT_UPSTREAM_BROKEN, PS_VERDICT_ENDPOINT,
                          "The upstream's answer is not valid HTTP"},
    [PS_CALL_FIRST_BYTE_TIMEOUT] = {PS_FAULT_UPSTREAM_TIMEOUT, PS_VERDICT_ENDPOINT,
                                    "The upstream did not answer in time"},
    [PS_CALL_IDLE_TIMEOUT] = {PS_FAULT_UPSTREAM_TIMEOUT, PS_VERDICT_ENDPOINT,
                              "The upstream fell silent"},
    [PS_CALL_TOTAL_TIMEOUT] = {PS_FAULT_UPSTREAM_TIMEOUT, PS_VERDICT_ENDPOINT,
                               "The answer took too long"},
    [PS_CALL_NO_MEMORY] = {PS_FAULT_NO_MEMORY, PS_VERDICT_NEUTRAL,
                           "The gateway is short of memory"},
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
    ps_attempt_failed(ex, call_ends[end].verdict, &fault);
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
        ps_attempt_won(ex); /* the terminal marker was seen: how the connection went afterwards does
                               not matter */
    } else if (end == PS_CALL_REUSE_DIED && !at->fresh) {
        ps_attempt_renew(ex);
    } else if (end != PS_CALL_DONE) {
        call_failed(ex, end);
    } else if (at->decoder == NULL) {
        refused(ex);
    } else {
        enum ps_decode result = ps_decoder_finish(at->decoder);
        if (result == PS_DECODE_OK) {
            ps_attempt_won(ex);
        } else {
            decoder_failed(ex, result);
        }
    }
}

static const struct ps_call_ops call_ops = {on_sent, on_head, on_data, on_end};

/* ---- starting ---- */

static void add_header(struct ps_call_header *headers, size_t *count, struct ps_slice name,
                       struct ps_slice value)
{
    headers[(*count)++] = (struct ps_call_header){name, value};
}

static bool is_forwarded(const struct ps_exchange *ex, struct ps_slice name)
{
    for (size_t i = 0; i < ex->spec.header_count; i++) {
        if (ps_slice_ieq(ex->spec.headers[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Few and short: every byte of a request header costs. */
static struct ps_call_header *build_headers(struct ps_exchange *ex, size_t *ret_count)
{
    const struct ps_attempt *at = &ex->attempt;
    const struct ps_config_provider *config = at->target->provider->config;
    size_t count = 0;
    struct ps_call_header *headers = ps_arena_alloc(
        ex->arena, (ex->spec.header_count + config->header_count + at->encoded.header_count + 3) *
                       sizeof(*headers));
    if (headers == NULL) {
        return NULL;
    }
    const struct ps_credential *credential = at->target->credential;
    if (credential->value != NULL) {
        add_header(headers, &count, ps_slice_cstr(credential->header),
                   ps_slice_cstr(credential->value));
    } else if (config->auth_client && ex->spec.credential.len > 0) {
        const char *name = NULL;
        const char *prefix = NULL;
        ps_dialect_credential(at->target->provider->dialect, &name, &prefix);
        char *value = ps_arena_printf(ex->arena, "%s%.*s", prefix, (int)ex->spec.credential.len,
                                      ex->spec.credential.ptr);
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
    for (size_t i = 0; i < at->encoded.header_count; i++) {
        if (!is_forwarded(ex, at->encoded.headers[i].name)) {
            add_header(headers, &count, at->encoded.headers[i].name, at->encoded.headers[i].value);
        }
    }
    for (size_t i = 0; i < ex->spec.header_count; i++) {
        add_header(headers, &count, ex->spec.headers[i].name, ex->spec.headers[i].value);
    }
    for (size_t i = 0; i < config->header_count; i++) {
        add_header(headers, &count, ps_slice_cstr(config->headers[i].name),
                   ps_slice_cstr(config->headers[i].value));
    }
    *ret_count = count;
    return headers;
}

static enum ps_drop_policy drop_policy(enum ps_config_drop drop)
{
    switch (drop) {
    case PS_CONFIG_DROP_SILENT:
        return PS_DROP_SILENT;
    case PS_CONFIG_DROP_REFUSE:
        return PS_DROP_REFUSE;
    case PS_CONFIG_DROP_NAME:
        break;
    }
    return PS_DROP_NAME;
}

static bool plan(struct ps_exchange *ex, struct ps_translation *t)
{
    struct ps_attempt *at = &ex->attempt;
    t->dialect = at->target->provider->dialect;
    t->options = (struct ps_encode_options){
        .model = at->target->model.len > 0 ? at->target->model : ex->rest,
        .active_accounting = at->target->provider->config->accounting == PS_ACCOUNTING_ACTIVE,
        .drop = drop_policy(at->target->provider->config->settings.drop),
        .base_path = at->target->base_path,
        .settings = &at->target->provider->settings,
    };
    if (ex->spec.operation == PS_OP_PASS && ex->request.model.len == 0) {
        t->options.model = PS_SLICE_NONE; /* a path that names no model is not given one */
    }
    /* What passes as it is is only pointed at. */
    return !ps_dialect_relays(t->dialect, t->options.settings, ex->spec.family, ex->spec.operation);
}

static int translate(struct ps_translation *t)
{
    return ps_dialect_encode(t->dialect, t->request, &t->options, t->arena, &t->encoded, &t->fault);
}

static int start_call(struct ps_exchange *ex, struct ps_fault *fault)
{
    struct ps_attempt *at = &ex->attempt;
    const struct ps_config_limits *limits = &ex->snapshot->config->limits;
    const struct ps_config_timeouts *own = &at->target->provider->config->timeouts;
    struct ps_call_request request = {
        .method = at->encoded.method,
        .path = at->encoded.path,
        .from_root = at->encoded.from_root,
        .body = at->encoded.parts,
        .body_count = at->encoded.part_count,
        .has_body = at->encoded.has_body,
        .idle_timeout_us = ps_timeout_us(own->stream_idle, limits->stream_idle_timeout),
        .total_timeout_us = ps_timeout_us(own->stream, limits->stream_timeout),
        .fresh_connection = at->fresh,
        .background = ex->spec.background,
    };
    if (request.background) {
        /* Waiting behind live calls is no failure of the upstream: it ends as QUEUE_FULL does. */
        request.queue_timeout_us = ps_timeout_us(own->request, limits->request_timeout) / 2;
    }
    request.headers = build_headers(ex, &request.header_count);
    struct ps_upstream *upstream = ps_gateway_upstream_take(ex->gl, at->target->endpoint);
    at->upstream_taken = upstream != NULL;
    at->call = upstream != NULL && request.headers != NULL
                   ? ps_call_start(upstream, &request, &call_ops, ex)
                   : NULL;
    if (at->call == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    return 0;
}

static int start(struct ps_exchange *ex, const struct ps_translation *t, struct ps_fault *fault)
{
    ex->attempt.encoded = t->encoded;
    ex->answer.raw = t->encoded.relayed;
    ex->dropped = t->encoded.dropped;
    return start_call(ex, fault);
}

static void pause_call(struct ps_exchange *ex, bool paused)
{
    if (ex->attempt.call == NULL) {
        return;
    }
    if (paused) {
        ps_call_pause(ex->attempt.call);
    } else {
        ps_call_resume(ex->attempt.call);
    }
}

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

const struct ps_backend ps_upstream_backend = {
    .plan = plan,
    .translate = translate,
    .start = start,
    .pause = pause_call,
    .release = release,
};
