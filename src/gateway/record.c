/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/telemetry/metrics.h"

#include <stdio.h>

/*
 * What is told about a request when it ends: one log line with all attempts, and the metrics.
 * Labels come from the snapshot: a model asked for as "provider/model" is counted as "other".
 */

static struct ps_slice route_label(const struct ps_exchange *ex)
{
    if (ex->route == NULL) {
        return PS_SLICE_LIT("none");
    }
    return ex->rest.len == 0 && ex->spec.provider.len == 0 ? ex->route->name
                                                           : PS_SLICE_LIT("other");
}

static struct ps_slice provider_label(const struct ps_exchange *ex)
{
    struct ps_slice name = ps_exchange_provider(ex);
    return name.len > 0 ? name : PS_SLICE_LIT("none");
}

static struct ps_series *series3(const struct ps_exchange *ex, enum ps_metric metric,
                                 struct ps_slice a, struct ps_slice b, struct ps_slice c)
{
    struct ps_slice labels[] = {a, b, c};
    return ps_metrics_series(ex->gl->shard, metric, labels);
}

static struct ps_series *series2(const struct ps_exchange *ex, enum ps_metric metric,
                                 struct ps_slice a, const char *b)
{
    struct ps_slice labels[] = {a, ps_slice_cstr(b)};
    return ps_metrics_series(ex->gl->shard, metric, labels);
}

void ps_inflight_record(const struct ps_exchange *ex, int change)
{
    struct ps_slice door = ps_slice_cstr(ex->spec.door);
    ps_series_gauge_add(ps_metrics_series(ex->gl->shard, PS_METRIC_REQUESTS_IN_FLIGHT, &door),
                        change);
}

void ps_attempt_record(const struct ps_exchange *ex, const struct ps_attempt_record *record)
{
    struct ps_slice provider = record->target->provider->name;
    const char *outcome = record->fault == PS_FAULT_NONE          ? "ok"
                          : record->fault == PS_FAULT_CLIENT_GONE ? "cancelled"
                                                                  : "failed";
    ps_series_add(series2(ex, PS_METRIC_UPSTREAM_ATTEMPTS, provider, outcome), 1);
    if (record->fault != PS_FAULT_NONE && record->fault != PS_FAULT_CLIENT_GONE) {
        ps_series_add(
            series2(ex, PS_METRIC_UPSTREAM_ERRORS, provider, ps_fault_name(record->fault)), 1);
    }
}

void ps_retry_record(const struct ps_exchange *ex, enum ps_fault_kind reason, bool reuse_died)
{
    struct ps_slice provider = ex->attempt.target->provider->name;
    ps_series_add(
        series2(ex, PS_METRIC_RETRIES, provider, reuse_died ? "reuse_died" : ps_fault_name(reason)),
        1);
    if (reuse_died) {
        ps_series_add(ps_metrics_series(ex->gl->shard, PS_METRIC_UPSTREAM_REUSE_DEATHS, &provider),
                      1);
    }
}

static void count_tokens(const struct ps_exchange *ex, struct ps_slice model,
                         struct ps_slice provider)
{
    const struct {
        const char *kind;
        int64_t count;
    } kinds[] = {{"input", ex->usage.input},
                 {"output", ex->usage.output},
                 {"cached", ex->usage.cached},
                 {"reasoning", ex->usage.reasoning}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].count > 0) {
            ps_series_add(
                series3(ex, PS_METRIC_TOKENS, model, provider, ps_slice_cstr(kinds[i].kind)),
                (uint64_t)kinds[i].count);
        }
    }
}

static void count(const struct ps_exchange *ex, enum ps_end_reason reason, int status,
                  int64_t total_us)
{
    struct ps_slice door = ps_slice_cstr(ex->spec.door);
    struct ps_slice model = route_label(ex);
    struct ps_slice provider = provider_label(ex);
    char text[8];
    int len = snprintf(text, sizeof(text), "%d", status);
    struct ps_slice labels[] = {door, model, provider, ps_slice(text, (size_t)len)};
    ps_series_add(ps_metrics_series(ex->gl->shard, PS_METRIC_REQUESTS, labels), 1);
    ps_series_observe_us(ps_metrics_series(ex->gl->shard, PS_METRIC_REQUEST_DURATION, labels),
                         total_us);
    if (ex->commit_us != 0) {
        ps_series_observe_us(ps_metrics_series(ex->gl->shard, PS_METRIC_TIME_TO_FIRST_BYTE, labels),
                             ex->commit_us - ex->spec.received_us);
    }
    if (ex->overhead_us >= 0) {
        ps_series_observe_us(ps_metrics_series(ex->gl->shard, PS_METRIC_OVERHEAD, &door),
                             ex->overhead_us);
    }
    count_tokens(ex, model, provider);
    if (reason == PS_END_CUT && ex->answer.stream) {
        ps_series_add(ps_metrics_series(ex->gl->shard, PS_METRIC_INCOMPLETE_STREAMS, &provider), 1);
    }
    ps_inflight_record(ex, -1);
}

static void log_attempts(struct ps_log_line *line, const struct ps_exchange *ex)
{
    unsigned kept = ex->attempts < PS_ATTEMPT_RECORDS ? ex->attempts : PS_ATTEMPT_RECORDS;
    ps_log_int(line, "attempts", ex->attempts);
    ps_log_array_begin(line, "tried");
    for (unsigned i = 0; i < kept; i++) {
        const struct ps_attempt_record *record = &ex->records[i];
        ps_log_object_begin(line);
        ps_log_str(line, "provider", record->target->provider->name);
        ps_log_str(line, "endpoint", record->target->endpoint_url);
        ps_log_int(line, "status", record->status);
        ps_log_cstr(line, "outcome",
                    record->fault == PS_FAULT_NONE ? "ok" : ps_fault_name(record->fault));
        ps_log_ms(line, "ms", record->us);
        ps_log_object_end(line);
    }
    ps_log_array_end(line);
}

static void log_some(struct ps_log_line *line, const char *key, struct ps_slice value)
{
    if (value.len > 0) {
        ps_log_str(line, key, value);
    }
}

static void log_count(struct ps_log_line *line, const char *key, int64_t value)
{
    if (value >= 0) {
        ps_log_int(line, key, value);
    }
}

static void write_line(const struct ps_exchange *ex, enum ps_end_reason reason, int status,
                       uint64_t sent, const struct ps_fault *fault, int64_t total_us)
{
    struct ps_log_line line;
    ps_log_begin(&line, PS_LOG_INFO, "request");
    ps_log_cstr(&line, "request_id", ex->spec.request_id.text);
    log_some(&line, "client_request_id", ex->spec.client_request_id);
    if (ex->spec.traceparent.len >= 35) {
        ps_log_str(&line, "trace_id", ps_slice(ex->spec.traceparent.ptr + 3, 32));
    }
    ps_log_cstr(&line, "client", ex->spec.client);
    log_some(&line, "key", ex->spec.identity.key);
    ps_log_str(&line, "tenant", ex->spec.identity.tenant);
    ps_log_cstr(&line, "door", ex->spec.door);
    log_some(&line, "requested_model", ex->request.model);
    log_some(&line, "provider", ps_exchange_provider(ex));
    log_some(&line, "model", ps_exchange_model(ex));
    log_some(&line, "upstream_id", ex->upstream_id);
    ps_log_int(&line, "status", status);
    ps_log_cstr(&line, "end", ps_end_reason_word(reason));
    if (fault != NULL && fault->kind != PS_FAULT_NONE) {
        ps_log_cstr(&line, "fault", ps_fault_name(fault->kind));
        ps_log_cstr(&line, "fault_message", fault->message);
    }
    ps_log_bool(&line, "stream", ex->answer.stream);
    ps_log_int(&line, "bytes_in", (int64_t)ex->received);
    ps_log_int(&line, "bytes_out", (int64_t)sent);
    log_count(&line, "input_tokens", ex->usage.input);
    log_count(&line, "output_tokens", ex->usage.output);
    ps_log_ms(&line, "total_ms", total_us);
    if (ex->commit_us != 0) {
        ps_log_ms(&line, "first_token_ms", ex->commit_us - ex->spec.received_us);
    }
    if (ex->overhead_us >= 0) {
        ps_log_ms(&line, "overhead_ms", ex->overhead_us);
    }
    log_attempts(&line, ex);
    ps_log_end(&line);
}

void ps_exchange_record(const struct ps_exchange *ex, enum ps_end_reason reason, int status,
                        uint64_t sent, const struct ps_fault *fault)
{
    int64_t total_us = ps_clock_us() - ex->spec.received_us;
    count(ex, reason, status, total_us);
    if (ps_log_enabled(PS_LOG_INFO)) {
        write_line(ex, reason, status, sent, fault, total_us);
    }
}
