/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TELEMETRY_METRICS_H
#define PENSTOCK_TELEMETRY_METRICS_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Counters, gauges and histograms, told to Prometheus.
 *
 * Every thread that counts has a shard and is the only one to write it: an addition is a plain load
 * and store. Any thread may render; it sums what the shards have under the same labels. Label
 * values come from the snapshot or from a table, never from a client: a shard holds
 * PS_METRICS_MAX_SERIES series, and what comes after those is counted under labels that all say
 * "other".
 */

/*
 * One line per metric:
 *   X(id, type, buckets, name, help, label names…)   a metric without labels: NULL
 */
#define PS_METRIC_TABLE(X)                                                                         \
    X(REQUESTS, COUNTER, NONE, "requests_total", "Requests that have ended, by the status sent.",  \
      "door", "model", "provider", "status")                                                       \
    X(REQUESTS_IN_FLIGHT, GAUGE, NONE, "requests_in_flight", "Requests that have not ended.",      \
      "door")                                                                                      \
    X(REQUEST_DURATION, HISTOGRAM, REQUEST, "request_duration_seconds",                            \
      "Time from the request's head to the end of the answer.", "door", "model", "provider") \
    X(TIME_TO_FIRST_BYTE, HISTOGRAM, REQUEST, "time_to_first_byte_seconds",                        \
      "Time from the request's head to the first content event.", "door", "model",           \
      "provider")                                                                                  \
    X(OVERHEAD, HISTOGRAM, OVERHEAD, "overhead_seconds",                                           \
      "Time from the request's receipt to the status line, less waiting for others.", "door")      \
    X(TOKENS, COUNTER, NONE, "tokens_total", "Tokens, as the upstream counts them.", "model",      \
      "provider", "kind")                                                                          \
    X(UPSTREAM_ERRORS, COUNTER, NONE, "upstream_errors_total",                                     \
      "Attempts that have failed, by the class of the failure.", "provider", "class")              \
    X(UPSTREAM_ATTEMPTS, COUNTER, NONE, "upstream_attempts_total",                                 \
      "Attempts that have ended, by outcome.", "provider", "outcome")                              \
    X(RETRIES, COUNTER, NONE, "retries_total", "Attempts made after another had failed.",          \
      "provider", "reason")                                                                        \
    X(INCOMPLETE_STREAMS, COUNTER, NONE, "incomplete_streams_total",                               \
      "Streams that ended without their terminal marker.", "provider")                             \
    X(UPSTREAM_CONNECTIONS, GAUGE, NONE, "upstream_connections",                                   \
      "Open connections to upstreams, idle ones included.", "provider")                                              \
    X(UPSTREAM_QUEUE, GAUGE, NONE, "upstream_queue",                                               \
      "Requests waiting for an upstream connection.", "provider")                                  \
    X(UPSTREAM_REUSE_DEATHS, COUNTER, NONE, "upstream_reuse_deaths_total",                         \
      "Kept connections that died before the first byte of a response.", "provider")               \
    X(CONNECTIONS, GAUGE, NONE, "connections", "Open client connections.", "listener")             \
    X(CONNECTIONS_ACCEPTED, COUNTER, NONE, "connections_total", "Client connections accepted.",    \
      "listener")                                                                                  \
    X(CONNECTIONS_REFUSED, COUNTER, NONE, "connections_refused_total",                             \
      "Client connections closed at once.", "reason")                                              \
    X(LOOP_LAG, HISTOGRAM, LAG, "event_loop_lag_seconds",                                          \
      "How long each turn kept the event loop from the next.", "loop")                                            \
    X(BUFFER_MEMORY, GAUGE, NONE, "buffer_memory_bytes", "Bytes of all buffers together.", NULL)   \
    X(BUFFER_MEMORY_LIMIT, GAUGE, NONE, "buffer_memory_limit_bytes",                               \
      "What all buffers together may take.", NULL)                                                 \
    X(LOG_DROPPED, COUNTER, NONE, "log_lines_dropped_total",                                       \
      "Log lines lost because their sink did not take them.", NULL)                                \
    X(CONFIG_RELOADS, COUNTER, NONE, "config_reloads_total", "Reloads of the configuration.",      \
      "result")                                                                                    \
    X(TARGET_AVAILABLE, GAUGE, NONE, "target_available", "Whether a target may be tried: 1 or 0.", \
      "provider", "endpoint")                                                                      \
    X(ENGINE_QUEUED, GAUGE, NONE, "engine_requests_queued",                                        \
      "Requests waiting for a model in this process.", "provider")                                 \
    X(ENGINE_RUNNING, GAUGE, NONE, "engine_requests_running",                                      \
      "Requests that a model in this process computes together.", "provider")                      \
    X(ENGINE_PROMPT_TOKENS, COUNTER, NONE, "engine_prompt_tokens_total",                           \
      "Prompt tokens computed in this process.", "provider")                                       \
    X(ENGINE_GENERATED_TOKENS, COUNTER, NONE, "engine_generated_tokens_total",                     \
      "Tokens generated in this process.", "provider")                                             \
    X(ENGINE_BUSY, COUNTER, NONE, "engine_busy_seconds_total",                                     \
      "Time in which a model in this process computed.", "provider")                               \
    X(JOBS, GAUGE, NONE, "jobs",                                                                   \
      "Jobs and lines of batches that wait or run.", "state")                                      \
    X(JOBS_OLDEST, GAUGE, NONE, "jobs_oldest_waiting_seconds",                                     \
      "Age of the oldest work that waits and may run.", NULL)                                      \
    X(JOB_RESULTS, COUNTER, NONE, "job_results_total",                                             \
      "Jobs and lines of batches that have ended.", "endpoint", "outcome")                         \
    X(JOB_CALLS, COUNTER, NONE, "job_calls_total",                                                 \
      "Requests made for jobs, by what their answer meant.", "endpoint", "verdict")                \
    X(BATCHES, GAUGE, NONE, "batches",                                                             \
      "Batches that have not ended.", "status")                                                    \
    X(BATCHES_ENDED, COUNTER, NONE, "batches_ended_total",                                         \
      "Batches that have ended.", "status")                                                        \
    X(WEBHOOKS, COUNTER, NONE, "webhooks_total",                                                   \
      "Tries to deliver a webhook, by what came of them.", "outcome")                              \
    X(WEBHOOKS_PENDING, GAUGE, NONE, "webhooks_pending",                                           \
      "Webhooks that are to be delivered.", NULL)                                                  \
    X(STORE_COMMANDS, COUNTER, NONE, "store_commands_total",                                       \
      "Commands to the store.", NULL)                                                              \
    X(STORE_COMMITS, COUNTER, NONE, "store_commits_total",                                         \
      "Transactions of the store, several commands each.", NULL)                                   \
    X(STORE_FAILURES, COUNTER, NONE, "store_failures_total",                                       \
      "Transactions that could not be committed.", NULL)                                           \
    X(STORE_QUEUE, GAUGE, NONE, "store_queue",                                                     \
      "Commands that wait for the store.", NULL)                                                   \
    X(STORE_LOG, GAUGE, NONE, "store_log_bytes",                                                   \
      "Size of the write-ahead log.", NULL)                                                        \
    X(STORE_FILE_BYTES, GAUGE, NONE, "store_file_bytes",                                           \
      "Bytes of the uploaded files and of results.", NULL)                                         \
    X(PROCESS_MEMORY, GAUGE, NONE, "process_resident_memory_bytes", "Resident memory.", NULL)      \
    X(PROCESS_CPU, COUNTER, NONE, "process_cpu_seconds_total", "User and system CPU time.", NULL)  \
    X(PROCESS_FDS, GAUGE, NONE, "process_open_fds", "Open file descriptors.", NULL)                \
    X(PROCESS_START, GAUGE, NONE, "process_start_time_seconds",                                    \
      "Start of the process, seconds since the epoch.", NULL)                                      \
    X(BUILD_INFO, GAUGE, NONE, "build_info", "1, and the versions as labels.", "version",          \
      "libcurl", "libuv", "openssl", "llhttp", "sqlite")

/* Upper bounds in µs, the last bucket having none. */
#define PS_METRIC_BUCKETS(X)                                                                       \
    X(REQUEST, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000,       \
      10000000, 30000000, 60000000, 120000000, 300000000, 600000000)                               \
    X(OVERHEAD, 25, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000, 5000, 10000, 25000, 50000,   \
      100000)                                                                                      \
    X(LAG, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,       \
      500000, 1000000)

enum ps_metric {
#define X(id, type, buckets, name, help, ...) PS_METRIC_##id,
    PS_METRIC_TABLE(X)
#undef X
    PS_METRIC_COUNT
};

#define PS_METRIC_MAX_LABELS  6
#define PS_METRICS_MAX_SERIES 4096 /* a shard */
#define PS_METRICS_MAX_VALUE  128  /* bytes of a label value; the rest is cut */

/* One per process. NULL when memory is short. */
struct ps_metrics;
struct ps_metrics *ps_metrics_new(void);
/* The shards and their series with it. */
void ps_metrics_free(struct ps_metrics *metrics);

/* One per thread that counts; lives as long as `metrics`, so that counters outlive their thread. */
struct ps_metrics_shard;
struct ps_metrics_shard *ps_metrics_shard_new(struct ps_metrics *metrics);

/*
 * The series of `metric` with these label values (as many as the metric has labels; NULL when it
 * has none), found or made. Never NULL: when memory is short, one that counts for nobody. Lives as
 * long as the shard: keep the pointer where the labels do not change. Only the shard's thread may
 * call this and the four below.
 */
struct ps_series;
struct ps_series *ps_metrics_series(struct ps_metrics_shard *shard, enum ps_metric metric,
                                    const struct ps_slice *label_values);

void ps_series_add(struct ps_series *series, uint64_t count);      /* counters */
void ps_series_gauge_add(struct ps_series *series, int64_t delta); /* gauges */
void ps_series_observe_us(struct ps_series *series, int64_t us);   /* histograms */
/*
 * Replaces the value. Gauges; and counters that others count (ps_metrics_on_render). Of a gauge
 * that is the same seen from every loop, one shard alone must say it: shards are summed.
 */
void ps_series_set(struct ps_series *series, double value);

/*
 * Appends everything in Prometheus' text format 0.0.4. Any thread; one at a time, others wait.
 * ret->failed says when memory was short or the text too long.
 */
#define PS_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
void ps_metrics_render(struct ps_metrics *metrics, struct ps_buf *ret);

/*
 * For values that are read off when somebody asks: `fn` runs in each render, on its thread, with a
 * shard of the render's own, and sets its series there. What it does not set this time does not
 * appear this time. It must not render or register. Returns 0, or -1 when memory is short.
 */
typedef void (*ps_metrics_render_fn)(void *arg, struct ps_metrics_shard *shard);
int ps_metrics_on_render(struct ps_metrics *metrics, ps_metrics_render_fn fn, void *arg)
    __attribute__((warn_unused_result));
/* After it returns `fn` does not run any more with this `arg`. */
void ps_metrics_off_render(struct ps_metrics *metrics, ps_metrics_render_fn fn, void *arg);

/* Registers the process_* metrics and log_lines_dropped_total. Returns 0 or -1. */
int ps_metrics_add_process(struct ps_metrics *metrics) __attribute__((warn_unused_result));

/*
 * The q-quantile (0 to 1) of a histogram over all labels and shards, interpolated within its
 * bucket; the highest bound when it lies above that; -1 when nothing has been observed. Any thread.
 */
int64_t ps_metrics_quantile_us(struct ps_metrics *metrics, enum ps_metric metric, double q);

#endif
