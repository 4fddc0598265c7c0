/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/gateway/models.h"

#include "models_priv.h"
#include "snapshot_priv.h"

#include "penstock/base/arena.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <pthread.h>
#include <string.h>

/*
 * The happy path: a timer of loop 0 asks the providers of the current snapshot one after the other,
 * GET /models by an ordinary call; a whole list that parses replaces the provider's older one. A
 * provider that fails keeps what it had; the next round tries again. Stopping cancels the call that
 * runs.
 */

#define REFRESH_US      INT64_C(300000000)
#define RETRY_US        INT64_C(5000000) /* until a provider has answered once */
#define LIST_BYTES      (4u << 20)
#define LIST_MODELS     4096
#define LIST_TIMEOUT_US INT64_C(30000000)
#define ASK_BYTES       65536 /* of one question */
#define ASK_HEADERS     32

/* One provider's models. Never changes once it is in the gateway's list; replaced as a whole under
 * its lock. */
struct ps_model_list {
    struct ps_model_list *next;
    struct ps_arena arena; /* holds the names too */
    struct ps_slice provider;
    struct ps_slice *ids; /* LIST_MODELS at most */
    size_t count;
};

struct ps_models_refresh {
    struct ps_gateway_loop *gl;
    struct ps_timer timer;
    struct ps_task task;          /* asks the next provider */
    struct ps_arena arena;        /* of the question that is asked */
    struct ps_snapshot *snapshot; /* owned; of the round that runs, else NULL */
    size_t index;                 /* provider being asked */
    struct ps_call *call;
    bool taken; /* an upstream is held for the call */
    int status;
    struct ps_buf body;
    bool missing; /* some provider has not answered yet */
};

static void free_list(struct ps_model_list *list)
{
    ps_arena_deinit(&list->arena);
    ps_free(list);
}

void ps_models_free_lists(struct ps_gateway *gateway)
{
    while (gateway->models != NULL) {
        struct ps_model_list *list = gateway->models;
        gateway->models = list->next;
        free_list(list);
    }
}

/* ---- refreshing ---- */

static void add_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    struct ps_model_list *list = arg;
    (void)object;
    if (list->count == LIST_MODELS || id.len == 0 || id.len > 256) {
        return;
    }
    struct ps_slice copy = ps_arena_copy(&list->arena, id);
    if (copy.ptr != NULL) {
        list->ids[list->count++] = copy;
    }
}

static struct ps_model_list *parse_list(const struct ps_provider *provider, struct ps_slice body)
{
    struct ps_model_list *list = ps_calloc(1, sizeof(*list));
    if (list == NULL) {
        return NULL;
    }
    ps_arena_init(&list->arena, 2 * LIST_BYTES);
    list->provider = ps_arena_copy(&list->arena, provider->name);
    list->ids = ps_arena_calloc(&list->arena, LIST_MODELS * sizeof(*list->ids));
    if (list->provider.ptr == NULL || list->ids == NULL ||
        ps_dialect_models(provider->dialect, body, add_model, list) != 0) {
        free_list(list);
        return NULL;
    }
    return list;
}

static void replace_list(struct ps_gateway *gateway, struct ps_model_list *list)
{
    struct ps_model_list *old = NULL;
    (void)pthread_mutex_lock(&gateway->lock);
    struct ps_model_list **link = &gateway->models;
    while (*link != NULL && !ps_slice_eq((*link)->provider, list->provider)) {
        link = &(*link)->next;
    }
    old = *link;
    list->next = old != NULL ? old->next : NULL;
    *link = list;
    (void)pthread_mutex_unlock(&gateway->lock);
    if (old != NULL) {
        free_list(old);
    }
}

static void end_call(struct ps_models_refresh *refresh)
{
    if (refresh->call != NULL) {
        ps_call_cancel(refresh->call);
        refresh->call = NULL;
    }
    if (refresh->taken) {
        ps_gateway_upstream_give(refresh->gl,
                                 refresh->snapshot->providers[refresh->index].endpoints[0]);
        refresh->taken = false;
    }
}

static void end_round(struct ps_models_refresh *refresh)
{
    ps_snapshot_unref(refresh->snapshot);
    refresh->snapshot = NULL;
    ps_buf_deinit(&refresh->body);
    (void)ps_timer_set(&refresh->timer, refresh->missing ? RETRY_US : REFRESH_US);
}

static void on_head(void *arg, const struct ps_call_head *head)
{
    ((struct ps_models_refresh *)arg)->status = head->status;
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    ps_buf_append(&((struct ps_models_refresh *)arg)->body, ptr, len);
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    struct ps_models_refresh *refresh = arg;
    const struct ps_provider *provider = &refresh->snapshot->providers[refresh->index];
    struct ps_model_list *list = NULL;
    refresh->call = NULL;
    if (end == PS_CALL_DONE && refresh->status == 200 && !refresh->body.failed) {
        list = parse_list(provider, ps_buf_view(&refresh->body));
    }
    if (list != NULL) {
        replace_list(refresh->gl->gateway, list);
    } else {
        refresh->missing = true;
        ps_log(PS_LOG_DEBUG, "models of provider %s could not be listed: %s, status %d",
               provider->config->name, end == PS_CALL_DONE ? "answered" : detail, refresh->status);
    }
    ps_loop_defer(refresh->gl->loop, &refresh->task, PS_PHASE_WORK);
}

static const struct ps_call_ops call_ops = {NULL, on_head, on_data, on_end};

/* How this provider is asked for its models; in `arena`. */
static bool encode(const struct ps_provider *provider, struct ps_arena *arena,
                   struct ps_encoded *ret)
{
    struct ps_fault fault;
    struct ps_request request = {
        .family = ps_dialect_family(provider->dialect),
        .operation = PS_OP_MODELS,
        .method = PS_SLICE_LIT("GET"),
    };
    struct ps_encode_options options = {
        .base_path = ps_base_path(ps_slice_cstr(provider->endpoints[0]->url)),
        .settings = &provider->settings,
    };
    return ps_dialect_encode(provider->dialect, &request, &options, arena, ret, &fault) == 0;
}

static bool ask(struct ps_models_refresh *refresh, const struct ps_provider *provider)
{
    struct ps_endpoint_state *endpoint = provider->endpoints[0];
    struct ps_encoded encoded;
    ps_arena_reset(&refresh->arena);
    if (!encode(provider, &refresh->arena, &encoded)) {
        return false;
    }
    struct ps_upstream *upstream = ps_gateway_upstream_take(refresh->gl, endpoint);
    if (upstream == NULL) {
        return false;
    }
    refresh->taken = true;
    struct ps_call_header headers[ASK_HEADERS];
    size_t count = 0;
    for (size_t i = 0; i < encoded.header_count && i < 4; i++) {
        headers[count++] =
            (struct ps_call_header){encoded.headers[i].name, encoded.headers[i].value};
    }
    count += ps_provider_headers(provider, headers + count, ASK_HEADERS - count);
    struct ps_call_request request = {
        .method = encoded.method,
        .path = encoded.path,
        .headers = headers,
        .header_count = count,
        .total_timeout_us = LIST_TIMEOUT_US,
        .queue_timeout_us = LIST_TIMEOUT_US,
    };
    refresh->status = 0;
    ps_buf_reset(&refresh->body);
    refresh->call = ps_call_start(upstream, &request, &call_ops, refresh);
    return refresh->call != NULL;
}

/* Goes on with the next provider that lists its models, or ends the round. */
static void ask_next(struct ps_task *task)
{
    struct ps_models_refresh *refresh = PS_CONTAINER_OF(task, struct ps_models_refresh, task);
    end_call(refresh);
    while (++refresh->index < refresh->snapshot->provider_count) {
        const struct ps_provider *provider = &refresh->snapshot->providers[refresh->index];
        if (provider->dialect != NULL && provider->config->list_models &&
            ps_dialect_speaks(provider->dialect, ps_dialect_family(provider->dialect),
                              PS_OP_MODELS)) {
            if (ask(refresh, provider)) {
                return;
            }
            end_call(refresh);
        }
    }
    end_round(refresh);
}

static void begin_round(struct ps_timer *timer)
{
    struct ps_models_refresh *refresh = PS_CONTAINER_OF(timer, struct ps_models_refresh, timer);
    refresh->snapshot = ps_snapshot_ref(refresh->gl->snapshot);
    refresh->index = SIZE_MAX;
    refresh->missing = false;
    ps_buf_init(&refresh->body, LIST_BYTES);
    ps_loop_defer(refresh->gl->loop, &refresh->task, PS_PHASE_WORK);
}

int ps_models_start(struct ps_gateway_loop *gl)
{
    struct ps_models_refresh *refresh = ps_calloc(1, sizeof(*refresh));
    if (refresh == NULL) {
        return -1;
    }
    refresh->gl = gl;
    ps_arena_init(&refresh->arena, ASK_BYTES);
    ps_timer_init(&refresh->timer, gl->loop, begin_round);
    ps_task_init(&refresh->task, ask_next);
    if (ps_timer_set(&refresh->timer, 0) != 0) {
        ps_free(refresh);
        return -1;
    }
    gl->refresh = refresh;
    return 0;
}

void ps_models_restart(struct ps_gateway_loop *gl)
{
    if (gl->refresh != NULL && gl->refresh->snapshot == NULL) {
        (void)ps_timer_set(&gl->refresh->timer, 0);
    }
}

void ps_models_stop(struct ps_gateway_loop *gl)
{
    struct ps_models_refresh *refresh = gl->refresh;
    if (refresh == NULL) {
        return;
    }
    ps_timer_cancel(&refresh->timer);
    ps_task_cancel(&refresh->task);
    if (refresh->snapshot != NULL) {
        end_call(refresh);
        ps_snapshot_unref(refresh->snapshot);
        ps_buf_deinit(&refresh->body);
    }
    ps_arena_deinit(&refresh->arena);
    ps_free(refresh);
    gl->refresh = NULL;
}

/* ---- answering ---- */

/* A name is escaped as one string, so it is put together first; both halves are bounded. */
struct full_name {
    char text[512];
    size_t len;
};

/* `provider` empty: an alias. */
static struct ps_slice join_name(struct full_name *name, struct ps_slice provider,
                                 struct ps_slice id)
{
    name->len = 0;
    if (provider.len > 0 && provider.len < 200) {
        memcpy(name->text, provider.ptr, provider.len);
        name->text[provider.len] = '/';
        name->len = provider.len + 1;
    }
    size_t rest = id.len < sizeof(name->text) - name->len ? id.len : sizeof(name->text) - name->len;
    memcpy(name->text + name->len, id.ptr, rest);
    name->len += rest;
    return ps_slice(name->text, name->len);
}

static void print_model(const struct ps_gateway *gateway, enum ps_family shape,
                        struct ps_slice name, struct ps_slice owner, struct ps_buf *out)
{
    struct ps_model_info model = {name, owner, gateway->started_ms / 1000};
    ps_dialect_write_model(ps_dialect_of_family(shape), &model, out);
}

static const struct ps_model_list *list_of(const struct ps_gateway *gateway,
                                           struct ps_slice provider)
{
    const struct ps_model_list *list = gateway->models;
    while (list != NULL && !ps_slice_eq(list->provider, provider)) {
        list = list->next;
    }
    return list;
}

/* A list being printed. */
struct printed {
    struct ps_gateway *gateway;
    enum ps_family shape;
    struct ps_buf *out;
    size_t count;
    struct full_name first;
    struct full_name last;
};

static void print_one(struct printed *printed, struct ps_slice provider, struct ps_slice id,
                      struct ps_slice owner)
{
    struct ps_slice name = join_name(&printed->last, provider, id);
    if (printed->count++ == 0) {
        printed->first = printed->last;
    } else {
        ps_buf_byte(printed->out, ',');
    }
    print_model(printed->gateway, printed->shape, name, owner, printed->out);
}

void ps_models_list(struct ps_gateway_loop *gl, enum ps_family shape, struct ps_buf *out)
{
    const struct ps_snapshot *snapshot = gl->snapshot;
    struct printed printed = {.gateway = gl->gateway, .shape = shape, .out = out};
    ps_dialect_write_models_begin(ps_dialect_of_family(shape), out);
    for (size_t i = 0; i < snapshot->route_count; i++) {
        print_one(&printed, PS_SLICE_NONE, snapshot->routes[i].name, PS_SLICE_LIT("penstock"));
    }
    (void)pthread_mutex_lock(&gl->gateway->lock);
    for (size_t i = 0; i < snapshot->provider_count; i++) {
        struct ps_slice provider = snapshot->providers[i].name;
        const struct ps_model_list *list = list_of(gl->gateway, provider);
        for (size_t k = 0; list != NULL && k < list->count; k++) {
            print_one(&printed, provider, list->ids[k], provider);
        }
    }
    (void)pthread_mutex_unlock(&gl->gateway->lock);
    ps_dialect_write_models_end(ps_dialect_of_family(shape),
                                ps_slice(printed.first.text, printed.first.len),
                                ps_slice(printed.last.text, printed.last.len), out);
}

bool ps_models_get(struct ps_gateway_loop *gl, enum ps_family shape, struct ps_slice id,
                   struct ps_buf *out)
{
    struct ps_slice rest;
    const struct ps_route *route = id.len > 0 ? ps_snapshot_route(gl->snapshot, id, &rest) : NULL;
    if (route == NULL) {
        return false;
    }
    if (rest.len == 0) {
        print_model(gl->gateway, shape, id, PS_SLICE_LIT("penstock"), out);
        return true;
    }
    (void)pthread_mutex_lock(&gl->gateway->lock);
    const struct ps_model_list *list = list_of(gl->gateway, route->name);
    bool engine =
        route->targets[0].provider->dialect == NULL; /* has one model, which its aliases name */
    bool known = list == NULL && !engine; /* a provider that does not tell may have any model */
    for (size_t i = 0; list != NULL && i < list->count && !known; i++) {
        known = ps_slice_eq(list->ids[i], rest);
    }
    (void)pthread_mutex_unlock(&gl->gateway->lock);
    if (known) {
        struct full_name name;
        print_model(gl->gateway, shape, join_name(&name, route->name, rest), route->name, out);
    }
    return known;
}
