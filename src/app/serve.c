/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"
#include "jobs_cli.h"

#include "penstock/app/app.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/dialect/dialect.h"
#include "penstock/engine/engine.h"
#include "penstock/upstream/upstream.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/*
 * The happy path: configuration, snapshot, sockets, workers; "listening on …"; the first loop runs
 * on the main thread and hears signals. SIGTERM or SIGINT drains: all workers stop accepting and
 * finish what runs; when the last one is drained the first loop is taken down and the process ends
 * with 0.
 *
 * How it fails: whatever is wrong before "listening on …" is said in one line and ends the start
 * with 1. A drain that takes longer than drain_timeout, or a second signal, aborts the connections
 * that are left.
 */

#define LOAD_LOOK_US INT64_C(20000)

/* ---- signals ---- */

static void order_all(struct ps_app *app, enum ps_order order)
{
    for (unsigned i = 0; i < app->worker_count; i++) {
        if (ps_worker_order(&app->workers[i], order, NULL, NULL) != 0) {
            ps_log(PS_LOG_ERROR, "out of memory: loop %u does not hear of it", i);
        }
    }
}

static void on_drain_timeout(struct ps_timer *timer)
{
    struct ps_app *app = PS_CONTAINER_OF(timer, struct ps_app, drain_timer);
    ps_log(PS_LOG_WARN, "drain_timeout: ending the requests that still run");
    order_all(app, PS_ORDER_ABORT);
}

static void begin_drain(struct ps_app *app)
{
    if (app->draining) {
        ps_log(PS_LOG_WARN, "second signal: ending at once");
        order_all(app, PS_ORDER_ABORT);
        return;
    }
    app->draining = true;
    atomic_store(&app->gateway.draining, true);
    ps_log(PS_LOG_INFO, "draining");
    (void)ps_timer_set(&app->drain_timer, app->config->limits.drain_timeout * 1000);
    order_all(app, PS_ORDER_DRAIN);
}

/*
 * A model that turns out not to load ends the start, as a wrong key of the configuration does.
 * After a reload it is only told: what answered before goes on.
 */
static bool tell_failed(const struct ps_app *app)
{
    bool failed = false;
    for (size_t i = 0; i < app->snapshot->provider_count; i++) {
        const struct ps_provider *provider = &app->snapshot->providers[i];
        struct ps_fault fault;
        char line[640];
        if (provider->dialect != NULL ||
            ps_engine_state(provider->endpoints[0]->engine) != PS_ENGINE_FAILED) {
            continue;
        }
        ps_engine_failure(provider->endpoints[0]->engine, &fault);
        ps_engine_mistake(provider->config, &fault, line, sizeof(line));
        if (app->reloaded) {
            ps_log(PS_LOG_ERROR, "%s", line);
        } else {
            (void)fprintf(stderr, "%s\n", line);
        }
        failed = true;
    }
    return failed;
}

static void watch_loading(struct ps_timer *timer)
{
    struct ps_app *app = PS_CONTAINER_OF(timer, struct ps_app, load_timer);
    if (app->draining) {
        return;
    }
    if (ps_gateway_readiness(app->snapshot) == PS_READINESS_LOADING) {
        (void)ps_timer_set(timer, LOAD_LOOK_US);
    } else if (tell_failed(app) && !app->reloaded) {
        app->failed = true;
        begin_drain(app);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct ps_app *app = handle->data;
    if (number == SIGHUP) {
        ps_app_reload(app);
    } else if (number == SIGUSR1) {
        ps_log_reopen();
    } else {
        begin_drain(app);
    }
}

static int watch_signals(struct ps_app *app)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        uv_signal_t *handle = &app->signals[i];
        if (uv_signal_init(&app->workers[0].loop.uv, handle) != 0) {
            return -1;
        }
        handle->data = app;
        app->signal_count++;
        if (uv_signal_start(handle, on_signal, numbers[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

static void unwatch_signals(struct ps_app *app)
{
    for (size_t i = 0; i < app->signal_count; i++) {
        uv_close((uv_handle_t *)&app->signals[i], NULL);
    }
    app->signal_count = 0;
}

void ps_app_may_end(struct ps_app *app)
{
    if (app->drained == app->worker_count && app->reload == NULL && !app->workers[0].over) {
        ps_timer_cancel(&app->drain_timer);
        ps_timer_cancel(&app->load_timer);
        unwatch_signals(app);
        ps_worker_take_down(&app->workers[0]);
    }
}

void ps_app_worker_drained(struct ps_app *app)
{
    app->drained++;
    ps_app_may_end(app);
}

/* ---- start and end ---- */

static void set_build_info(void *arg, struct ps_metrics_shard *shard)
{
    struct ps_slice labels[PS_METRIC_MAX_LABELS];
    (void)arg;
    ps_version_labels(labels);
    ps_series_set(ps_metrics_series(shard, PS_METRIC_BUILD_INFO, labels), 1);
}

static int complain(const char *sentence)
{
    (void)fprintf(stderr, "penstock: %s\n", sentence);
    return -1;
}

/* Thousands of connections need as many descriptors as we may have. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void check_store(const struct ps_config *config, struct ps_config_errors *errors)
{
    char why[160];
    if (!ps_store_check(config->jobs_store, why, sizeof(why))) {
        ps_config_error(errors, config->jobs_store_at, "jobs.store", "%s", why);
    }
}

struct ps_config *ps_app_load(const struct ps_arguments *arguments, struct ps_config_errors *errors)
{
    static const ps_config_check_fn checks[] = {ps_gateway_check, check_store};
    return ps_config_load(arguments->config, &arguments->overrides, checks,
                          sizeof(checks) / sizeof(checks[0]), errors);
}

static struct ps_config *load_or_complain(const struct ps_arguments *arguments)
{
    struct ps_config_errors errors;
    ps_config_errors_init(&errors);
    struct ps_config *config = ps_app_load(arguments, &errors);
    if (config == NULL) {
        (void)fwrite(errors.text.ptr, 1, errors.text.len, stderr);
    }
    ps_config_errors_deinit(&errors);
    return config;
}

/* Touches no disk before there is something to keep. */
static int open_store(struct ps_app *app)
{
    struct ps_store_options options = {.url = app->config->jobs_store,
                                       .folder = app->config->data_dir};
    app->store = ps_store_new(&options);
    app->jobs = app->store != NULL ? ps_jobs_new(app->store, app->pool) : NULL;
    app->shared.jobs = app->jobs;
    return app->jobs != NULL ? 0 : -1;
}

static int prepare(struct ps_app *app)
{
    char error[640];
    const struct ps_config *config = app->config;
    struct ps_log_options log = {config->log_level, config->log_format, config->log_file};
    if (ps_log_start(&log) != 0) {
        return complain("the log file cannot be opened");
    }
    app->metrics = ps_metrics_new();
    if (app->metrics == NULL || ps_gateway_init(&app->gateway, app->metrics) != 0) {
        return complain("out of memory");
    }
    atomic_store(&app->gateway.budget.limit, (size_t)config->limits.buffer_memory);
    app->pool = ps_pool_new(config->workers.offload_threads, 64);
    struct ps_engine_host_options host = {
        .compute_threads = config->workers.compute_threads,
        .event_loops = config->workers.event_loops,
        .queue = config->workers.compute_queue,
        .queue_tokens = config->workers.compute_queue_tokens,
        .model_memory = config->limits.model_memory,
        .offload = app->pool,
    };
    app->engines = app->pool != NULL ? ps_engine_host_new(&host) : NULL;
    if (app->engines == NULL) {
        return complain("out of memory");
    }
    if (open_store(app) != 0) {
        return complain("out of memory");
    }
    app->gateway.engines = app->engines;
    app->gateway.offload = app->pool;
    app->snapshot = ps_snapshot_new(&app->gateway, app->config, error, sizeof(error));
    if (app->snapshot == NULL) {
        (void)fprintf(stderr, "%s\n", error);
        return -1;
    }
    app->worker_count = config->workers.event_loops;
    app->workers = ps_calloc(app->worker_count, sizeof(*app->workers));
    if (app->workers == NULL || ps_metrics_add_process(app->metrics) != 0 ||
        ps_metrics_on_render(app->metrics, ps_gateway_gauges, &app->gateway) != 0 ||
        ps_metrics_on_render(app->metrics, set_build_info, NULL) != 0) {
        return complain("out of memory");
    }
    return ps_app_listen(app);
}

static void *run_worker(void *arg)
{
    ps_worker_run(arg);
    return NULL;
}

static int start_workers(struct ps_app *app)
{
    for (unsigned i = 0; i < app->worker_count; i++) {
        if (ps_worker_init(&app->workers[i], app, i) != 0) {
            return complain("an event loop could not be started");
        }
    }
    ps_timer_init(&app->drain_timer, &app->workers[0].loop, on_drain_timeout);
    ps_timer_init(&app->load_timer, &app->workers[0].loop, watch_loading);
    if (ps_timer_set(&app->load_timer, 0) != 0 || watch_signals(app) != 0) {
        return complain("signals cannot be watched");
    }
    for (unsigned i = 1; i < app->worker_count; i++) {
        struct ps_worker *worker = &app->workers[i];
        worker->started = pthread_create(&worker->thread, NULL, run_worker, worker) == 0;
        if (!worker->started) {
            return complain("a thread could not be started");
        }
    }
    return 0;
}

static void run(struct ps_app *app)
{
    ps_app_announce(app);
    ps_worker_run(&app->workers[0]);
    for (unsigned i = 1; i < app->worker_count; i++) {
        (void)pthread_join(app->workers[i].thread, NULL);
    }
}

static void clean_up(struct ps_app *app)
{
    ps_app_unlisten(app);
    ps_jobs_free(app->jobs);
    ps_store_free(app->store);
    ps_snapshot_unref(app->snapshot);
    ps_free(app->workers);
    if (app->metrics != NULL) {
        ps_gateway_deinit(&app->gateway);
        ps_metrics_free(app->metrics);
    }
    ps_engine_host_free(app->engines);
    if (app->pool != NULL) {
        ps_pool_free(app->pool);
    }
    ps_config_unref(app->config);
    ps_config_unref(app->first);
    ps_log_stop();
}

int ps_app_serve(const struct ps_arguments *arguments)
{
    struct ps_app app = {.arguments = arguments};
    app.config = load_or_complain(arguments);
    if (app.config == NULL) {
        return 1;
    }
    app.first = ps_config_ref(app.config);
    raise_descriptor_limit();
    (void)signal(SIGPIPE, SIG_IGN);
    int result = prepare(&app);
    if (result == 0) {
        result = start_workers(&app);
        if (result != 0) {
            /* Half a start cannot be taken down in order, and nothing was promised yet. */
            ps_log_stop();
            return 1;
        }
        run(&app);
    }
    clean_up(&app);
    return result == 0 && !app.failed ? 0 : 1;
}

static int check(const struct ps_arguments *arguments)
{
    struct ps_config *config = load_or_complain(arguments);
    if (config == NULL) {
        return 1;
    }
    struct ps_buf out;
    ps_buf_init(&out, 16u << 20);
    ps_config_print(config, &out);
    size_t written = fwrite(out.ptr, 1, out.len, stdout);
    int result = !out.failed && written == out.len && fflush(stdout) == 0 ? 0 : 1;
    ps_buf_deinit(&out);
    ps_config_unref(config);
    return result;
}

int ps_app_main(int argc, char **argv)
{
    struct ps_arguments arguments;
    if (ps_arguments_read(argc, argv, &arguments) != 0) {
        return 2;
    }
    if (arguments.command == PS_COMMAND_HELP) {
        ps_arguments_help();
        return 0;
    }
    if (arguments.command == PS_COMMAND_JOBS) {
        return ps_cli_main(argc - 1, argv + 1);
    }
    if (ps_upstream_global_init() != 0 || ps_dialect_global_init() != 0) {
        (void)complain("out of memory");
        return 1;
    }
    int result = 0;
    switch (arguments.command) {
    case PS_COMMAND_VERSION:
        ps_version_print();
        break;
    case PS_COMMAND_CHECK:
        result = check(&arguments);
        break;
    case PS_COMMAND_SERVE:
        result = ps_app_serve(&arguments);
        break;
    case PS_COMMAND_JOBS:
    case PS_COMMAND_HELP:
        break;
    }
    ps_dialect_global_deinit();
    ps_upstream_global_deinit();
    return result;
}
