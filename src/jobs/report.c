/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"

/* What is told about jobs and batches: a line each, and the metrics. Lines of batches have the log
 * lines of their requests. */

static const char *const job_words[PS_JOB_STATUS_COUNT] = {
    [PS_JOB_QUEUED] = "queued", [PS_JOB_RUNNING] = "running",     [PS_JOB_COMPLETED] = "completed",
    [PS_JOB_FAILED] = "failed", [PS_JOB_CANCELLED] = "cancelled", [PS_JOB_EXPIRED] = "expired",
};

static const char *const batch_words[PS_BATCH_STATUS_COUNT] = {
    [PS_BATCH_VALIDATING] = "validating", [PS_BATCH_IN_PROGRESS] = "in_progress",
    [PS_BATCH_FINALIZING] = "finalizing", [PS_BATCH_CANCELLING] = "cancelling",
    [PS_BATCH_EXPIRING] = "expiring",     [PS_BATCH_COMPLETED] = "completed",
    [PS_BATCH_FAILED] = "failed",         [PS_BATCH_EXPIRED] = "expired",
    [PS_BATCH_CANCELLED] = "cancelled",
};

static const char *const verdict_words[] = {
    [PS_JOBS_FINAL] = "final",
    [PS_JOBS_REFUSED] = "refused",
    [PS_JOBS_FAILED] = "failed",
};

static struct ps_slice label_of(const struct ps_run *run)
{
    return ps_slice_cstr(run->endpoint != NULL ? run->endpoint->label : "other");
}

void ps_report_call(struct ps_jobs *jobs, const struct ps_run *run, enum ps_jobs_verdict verdict)
{
    struct ps_slice labels[] = {label_of(run), ps_slice_cstr(verdict_words[verdict])};
    ps_series_add(ps_metrics_series(jobs->gl->shard, PS_METRIC_JOB_CALLS, labels), 1);
}

void ps_report_end(struct ps_jobs *jobs, const struct ps_run *run)
{
    const struct ps_run_ending *ending = &run->ending;
    struct ps_slice labels[] = {label_of(run), ps_slice_cstr(job_words[ending->status])};
    struct ps_log_line line;
    ps_series_add(ps_metrics_series(jobs->gl->shard, PS_METRIC_JOB_RESULTS, labels), 1);
    if (run->claim.line >= 0) {
        return;
    }
    ps_log_begin(&line, PS_LOG_INFO, "job ended");
    ps_log_cstr(&line, "job", run->claim.id.text);
    ps_log_str(&line, "tenant", run->claim.tenant);
    if (run->claim.key.len > 0) {
        ps_log_str(&line, "key", run->claim.key);
    }
    ps_log_str(&line, "endpoint", run->claim.endpoint);
    ps_log_cstr(&line, "status", job_words[ending->status]);
    ps_log_int(&line, "http_status", ending->http_status);
    ps_log_int(&line, "attempts", run->claim.attempt);
    ps_log_cstr(&line, "request_id", run->request_id.text);
    ps_log_ms(&line, "total_ms", (ps_clock_wall_ms() - run->claim.created_ms) * 1000);
    ps_log_end(&line);
}

static void count_batch(struct ps_jobs *jobs, enum ps_batch_status status)
{
    struct ps_slice label = ps_slice_cstr(batch_words[status]);
    ps_series_add(ps_metrics_series(jobs->gl->shard, PS_METRIC_BATCHES_ENDED, &label), 1);
}

void ps_report_desk(struct ps_jobs *jobs, const struct ps_desk *desk)
{
    struct ps_log_line line;
    ps_log_begin(&line, PS_LOG_INFO, desk->finishing ? "batch finished" : "batch validated");
    ps_log_cstr(&line, "batch", desk->batch.id.text);
    ps_log_str(&line, "tenant", desk->batch.tenant);
    ps_log_str(&line, "endpoint", desk->batch.endpoint);
    ps_log_cstr(&line, "status", batch_words[desk->status]);
    ps_log_int(&line, "lines", (int64_t)desk->lines);
    if (desk->finishing) {
        ps_log_int(&line, "completed", (int64_t)desk->batch.completed);
        ps_log_int(&line, "failed", (int64_t)desk->batch.failed);
        ps_log_int(&line, "input_tokens", (int64_t)desk->batch.input_tokens);
        ps_log_int(&line, "output_tokens", (int64_t)desk->batch.output_tokens);
        ps_log_ms(&line, "total_ms", (ps_clock_wall_ms() - desk->batch.created_ms) * 1000);
    } else {
        ps_log_int(&line, "faults", (int64_t)desk->faults);
    }
    ps_log_ms(&line, "took_ms", ps_clock_us() - desk->begun_us);
    ps_log_end(&line);
    if (desk->status >= PS_BATCH_COMPLETED) {
        count_batch(jobs, desk->status);
    }
}

/* ---- gauges ---- */

static void set(struct ps_metrics_shard *shard, enum ps_metric metric, const char *label,
                double value)
{
    struct ps_slice labels[] = {ps_slice_cstr(label)};
    ps_series_set(ps_metrics_series(shard, metric, label != NULL ? labels : NULL), value);
}

void ps_report_gauges(void *arg, struct ps_metrics_shard *shard)
{
    struct ps_jobs *jobs = arg;
    struct ps_store_stats stats;
    (void)pthread_mutex_lock(&jobs->hub.lock);
    struct ps_store_counts counts = jobs->counts;
    uint64_t running = jobs->running;
    bool known = jobs->has_counts;
    (void)pthread_mutex_unlock(&jobs->hub.lock);
    ps_store_stats(jobs->store, &stats);
    set(shard, PS_METRIC_STORE_COMMANDS, NULL, (double)stats.commands);
    set(shard, PS_METRIC_STORE_COMMITS, NULL, (double)stats.commits);
    set(shard, PS_METRIC_STORE_FAILURES, NULL, (double)stats.failures);
    set(shard, PS_METRIC_STORE_QUEUE, NULL, (double)stats.queued);
    set(shard, PS_METRIC_STORE_LOG, NULL, (double)stats.log_bytes);
    if (!known) {
        return;
    }
    /* The store knows what is left, the runner how much of it runs: it claims ahead of that. */
    uint64_t left = counts.jobs[PS_JOB_QUEUED] + counts.lines_waiting +
                    counts.jobs[PS_JOB_RUNNING] + counts.lines_running;
    set(shard, PS_METRIC_JOBS, "waiting", left > running ? (double)(left - running) : 0);
    set(shard, PS_METRIC_JOBS, "running", (double)(left < running ? left : running));
    int64_t age_ms = counts.oldest_ready_ms != 0 ? ps_clock_wall_ms() - counts.oldest_ready_ms : 0;
    set(shard, PS_METRIC_JOBS_OLDEST, NULL, age_ms > 0 ? (double)age_ms / 1000 : 0);
    set(shard, PS_METRIC_WEBHOOKS_PENDING, NULL, (double)counts.hooks);
    set(shard, PS_METRIC_STORE_FILE_BYTES, NULL, (double)counts.file_bytes);
    for (int status = 0; status < PS_BATCH_COMPLETED; status++) {
        set(shard, PS_METRIC_BATCHES, batch_words[status], (double)counts.batches[status]);
    }
}
