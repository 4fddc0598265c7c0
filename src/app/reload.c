/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <stdio.h>
#include <string.h>

/*
 * The happy path: SIGHUP hands a job to the pool; there the file, the CA bundles and the
 * certificates are read; back on loop 0 the new snapshot is sent to every worker. Requests that run
 * keep the one they began with.
 *
 * How it fails: any mistake keeps all of the old and is logged. A SIGHUP while a reload runs makes
 * one more run after it.
 */

struct ps_reload {
    struct ps_work work;
    struct ps_app *app;
    struct ps_config_errors errors;
    struct ps_config *config;     /* owned until adopted */
    struct ps_snapshot *snapshot; /* likewise */
    struct ps_tls_server **tls;   /* owned, a reference per listener of the first configuration */
    char error[640];
};

/* Certificates for the addresses we listen on, whatever order the new file has them in. */
static int read_certificates(struct ps_reload *reload)
{
    struct ps_app *app = reload->app;
    const struct ps_config *config = reload->config;
    struct ps_tls_server **fresh = ps_app_tls(config, reload->error, sizeof(reload->error));
    reload->tls = ps_calloc(app->first->listener_count + 1, sizeof(struct ps_tls_server *));
    if (fresh == NULL || reload->tls == NULL) {
        ps_app_tls_free(fresh, config->listener_count);
        return -1;
    }
    for (size_t i = 0; i < app->first->listener_count; i++) {
        for (size_t k = 0; k < config->listener_count && reload->tls[i] == NULL; k++) {
            if (ps_slice_eq_cstr(ps_slice_cstr(config->listeners[k].address),
                                 app->first->listeners[i].address)) {
                reload->tls[i] = fresh[k];
                fresh[k] = NULL;
            }
        }
    }
    ps_app_tls_free(fresh, config->listener_count);
    return 0;
}

static void run(struct ps_work *work)
{
    struct ps_reload *reload = PS_CONTAINER_OF(work, struct ps_reload, work);
    reload->config = ps_app_load(reload->app->arguments, &reload->errors);
    if (reload->config != NULL && read_certificates(reload) == 0) {
        reload->snapshot = ps_snapshot_new(&reload->app->gateway, reload->config, reload->error,
                                           sizeof(reload->error));
    }
}

static void count(struct ps_app *app, const char *result)
{
    struct ps_slice label = ps_slice_cstr(result);
    ps_series_add(ps_metrics_series(app->workers[0].gl.shard, PS_METRIC_CONFIG_RELOADS, &label), 1);
}

static void adopt(struct ps_app *app, struct ps_reload *reload)
{
    struct ps_buf keys;
    ps_buf_init(&keys, 1024);
    if (ps_config_restart_keys(app->first, reload->config, &keys) > 0) {
        ps_log(PS_LOG_WARN, "configuration: needs restart: %.*s", (int)keys.len, keys.ptr);
    }
    ps_buf_deinit(&keys);

    ps_snapshot_unref(app->snapshot);
    app->snapshot = reload->snapshot;
    ps_config_unref(app->config);
    app->config = reload->config;
    reload->snapshot = NULL;
    reload->config = NULL;
    atomic_store(&app->gateway.budget.limit, (size_t)app->config->limits.buffer_memory);
    ps_log_configure(app->config->log_level, app->config->log_format);
    for (unsigned i = 0; i < app->worker_count; i++) {
        if (ps_worker_order(&app->workers[i], PS_ORDER_ADOPT, app->snapshot, reload->tls) != 0) {
            ps_log(PS_LOG_ERROR, "configuration: loop %u keeps the old one: out of memory", i);
        }
    }
    app->reloaded = true;
    (void)ps_timer_set(&app->load_timer, 0); /* new models may be loading */
    ps_log(PS_LOG_INFO, "configuration reloaded");
    count(app, "ok");
}

static void log_failure(const struct ps_reload *reload)
{
    if (reload->errors.count == 0) {
        ps_log(PS_LOG_ERROR, "configuration kept as it was: %s", reload->error);
        return;
    }
    struct ps_slice text = ps_buf_view(&reload->errors.text);
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;
        ps_log(PS_LOG_ERROR, "configuration kept as it was: %.*s", (int)len, text.ptr);
        size_t used = end != NULL ? len + 1 : len;
        text = ps_slice(text.ptr + used, text.len - used);
    }
}

static void done(struct ps_work *work)
{
    struct ps_reload *reload = PS_CONTAINER_OF(work, struct ps_reload, work);
    struct ps_app *app = reload->app;
    if (app->draining) {
        /* nothing to adopt it any more */
    } else if (reload->snapshot != NULL) {
        adopt(app, reload);
    } else {
        log_failure(reload);
        count(app, "failed");
    }
    ps_snapshot_unref(reload->snapshot);
    ps_config_unref(reload->config);
    ps_app_tls_free(reload->tls, reload->tls != NULL ? app->first->listener_count : 0);
    ps_config_errors_deinit(&reload->errors);
    ps_free(reload);
    app->reload = NULL;
    ps_app_may_end(app);
    if (app->reload_again) {
        app->reload_again = false;
        ps_app_reload(app);
    }
}

void ps_app_reload(struct ps_app *app)
{
    if (app->draining) {
        return;
    }
    if (app->reload != NULL) {
        app->reload_again = true;
        return;
    }
    struct ps_reload *reload = ps_calloc(1, sizeof(*reload));
    if (reload == NULL) {
        ps_log(PS_LOG_ERROR, "configuration kept as it was: out of memory");
        return;
    }
    reload->app = app;
    reload->work.mailbox = &app->workers[0].mailbox;
    reload->work.run = run;
    reload->work.done = done;
    ps_config_errors_init(&reload->errors);
    if (!ps_pool_submit(app->pool, &reload->work)) {
        ps_log(PS_LOG_ERROR, "configuration kept as it was: the offload pool is busy");
        ps_config_errors_deinit(&reload->errors);
        ps_free(reload);
        return;
    }
    app->reload = reload;
}
