/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/probe.h"

#include "snapshot_priv.h"

#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/gateway/router.h"

/*
 * The happy path: a timer walks the endpoints of the current snapshot that tell their health and
 * asks one after the other, GET by an ordinary call on the endpoint's own connections; a 2xx makes
 * it healthy, anything else, or no answer in time, puts it aside as a failed request would. A round
 * follows every five seconds, and every second while one of them is down.
 *
 * How it fails: a probe that cannot start is left out of its round. Stopping cancels the call that
 * runs. A 404 or 405 says that the path is wrong, not that the server is ill: it is told in the log
 * and changes nothing.
 */

#define ROUND_US      INT64_C(5000000)
#define DOWN_ROUND_US INT64_C(1000000)
#define TIMEOUT_US    INT64_C(3000000)
#define HEADERS       32

struct ps_probes {
    struct ps_gateway_loop *gl;
    struct ps_timer timer;
    struct ps_task task;          /* asks the next endpoint */
    struct ps_snapshot *snapshot; /* owned; of the round that runs, else NULL */
    size_t provider;
    size_t endpoint; /* of that provider: the one asked, or to be asked next */
    struct ps_call *call;
    bool taken; /* of the endpoint's upstream */
    bool down;  /* somebody is, this round */
    int status;
};

static const char *health_path(const struct ps_provider *provider)
{
    if (provider->dialect == NULL) {
        return NULL;
    }
    const char *path = provider->config->settings.health_path;
    if (path == NULL) {
        path = ps_dialect_health_path(provider->dialect);
    }
    return path != NULL && path[0] == '/' ? path : NULL;
}

static struct ps_endpoint_state *asked(const struct ps_probes *probes)
{
    return probes->snapshot->providers[probes->provider].endpoints[probes->endpoint];
}

static void end_call(struct ps_probes *probes)
{
    if (probes->call != NULL) {
        ps_call_cancel(probes->call);
        probes->call = NULL;
    }
    if (probes->taken) {
        ps_gateway_upstream_give(probes->gl, asked(probes));
        probes->taken = false;
    }
}

static void on_head(void *arg, const struct ps_call_head *head)
{
    ((struct ps_probes *)arg)->status = head->status;
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    (void)arg; /* the status says it all */
    (void)ptr;
    (void)len;
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    struct ps_probes *probes = arg;
    struct ps_endpoint_state *endpoint = asked(probes);
    probes->call = NULL;
    if (end == PS_CALL_DONE && (probes->status == 404 || probes->status == 405)) {
        ps_log(PS_LOG_WARN, "%s %s tells no health there: status %d", endpoint->provider,
               endpoint->url, probes->status);
    } else if (end == PS_CALL_DONE && probes->status >= 200 && probes->status < 300) {
        if (ps_health_heard(&endpoint->health, true, probes->gl->loop->now_us)) {
            ps_log(PS_LOG_INFO, "%s %s is healthy again", endpoint->provider, endpoint->url);
        }
    } else if (end != PS_CALL_QUEUE_FULL && end != PS_CALL_QUEUE_TIMEOUT) { /* busy is not ill */
        probes->down = true;
        if (ps_health_heard(&endpoint->health, false, probes->gl->loop->now_us)) {
            ps_log(PS_LOG_WARN, "%s %s is not healthy: %s, status %d", endpoint->provider,
                   endpoint->url, end == PS_CALL_DONE ? "answered" : detail, probes->status);
        }
    }
    ps_loop_defer(probes->gl->loop, &probes->task, PS_PHASE_WORK);
}

static const struct ps_call_ops call_ops = {NULL, on_head, on_data, on_end};

static bool ask(struct ps_probes *probes, const struct ps_provider *provider, const char *path)
{
    struct ps_upstream *upstream = ps_gateway_upstream_take(probes->gl, asked(probes));
    if (upstream == NULL) {
        return false;
    }
    probes->taken = true;
    struct ps_call_header headers[HEADERS];
    struct ps_call_request request = {
        .method = "GET",
        .path = ps_slice_cstr(path),
        .from_root = true,
        .headers = headers,
        .header_count = ps_provider_headers(provider, headers, HEADERS),
        .total_timeout_us = TIMEOUT_US,
        .queue_timeout_us = TIMEOUT_US,
    };
    probes->status = 0;
    probes->call = ps_call_start(upstream, &request, &call_ops, probes);
    return probes->call != NULL;
}

static void end_round(struct ps_probes *probes)
{
    ps_snapshot_unref(probes->snapshot);
    probes->snapshot = NULL;
    (void)ps_timer_set(&probes->timer, probes->down ? DOWN_ROUND_US : ROUND_US);
}

/* Goes on with the next endpoint that tells its health, or ends the round. */
static void ask_next(struct ps_task *task)
{
    struct ps_probes *probes = PS_CONTAINER_OF(task, struct ps_probes, task);
    end_call(probes);
    probes->endpoint++; /* from SIZE_MAX to the first at the beginning of a round */
    while (probes->provider < probes->snapshot->provider_count) {
        const struct ps_provider *provider = &probes->snapshot->providers[probes->provider];
        const char *path = health_path(provider);
        if (path == NULL || probes->endpoint >= provider->endpoint_count) {
            probes->provider++;
            probes->endpoint = 0;
        } else if (ask(probes, provider, path)) {
            return;
        } else {
            end_call(probes);
            probes->endpoint++;
        }
    }
    end_round(probes);
}

static void begin_round(struct ps_timer *timer)
{
    struct ps_probes *probes = PS_CONTAINER_OF(timer, struct ps_probes, timer);
    probes->snapshot = ps_snapshot_ref(probes->gl->snapshot);
    probes->provider = 0;
    probes->endpoint = SIZE_MAX;
    probes->down = false;
    ps_loop_defer(probes->gl->loop, &probes->task, PS_PHASE_WORK);
}

struct ps_probes *ps_probes_start(struct ps_gateway_loop *gl)
{
    struct ps_probes *probes = ps_calloc(1, sizeof(*probes));
    if (probes == NULL) {
        return NULL;
    }
    probes->gl = gl;
    ps_timer_init(&probes->timer, gl->loop, begin_round);
    ps_task_init(&probes->task, ask_next);
    if (ps_timer_set(&probes->timer, 0) != 0) {
        ps_free(probes);
        return NULL;
    }
    return probes;
}

void ps_probes_stop(struct ps_probes *probes)
{
    if (probes == NULL) {
        return;
    }
    ps_timer_cancel(&probes->timer);
    ps_task_cancel(&probes->task);
    if (probes->snapshot != NULL) {
        end_call(probes);
        ps_snapshot_unref(probes->snapshot);
    }
    ps_free(probes);
}
