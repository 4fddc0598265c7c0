/* SPDX-License-Identifier: Apache-2.0 */
#include "hook_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"
#include "penstock/upstream/upstream.h"

#include <stdio.h>
#include <string.h>

/*
 * The sender of webhooks.
 *
 * Happy path: a wake, or the timer, takes what is due out of the store (HOOK_TAKE, a lease of a
 * minute), receivers by turns and of each so many at once; each message becomes a delivery: a
 * signed POST through the upstream of its host; a 2xx settles it for good (HOOK_SETTLE).
 *
 * Other ends:
 *   410                                        given up: the receiver does not want it any more
 *   any other answer, 3xx too; no connection;  settled to be tried again, after the schedule of
 *   an address that is not public; 15 s over   hook_message.c; given up when that is at its end
 *   no memory, no settlement kept              the lease runs out, and it is taken again
 *   the gateway dies                           the same: a message may arrive twice, with one id
 *   ps_hooks_abort                             tried again by the next run
 *
 * Nothing of an answer but its status counts; a body is thrown away, and not read to its end when
 * it is large.
 */

#define MOST_AT_ONCE  32
#define MOST_PER_HOST 8
#define MOST_HOSTS    64 /* above MOST_AT_ONCE: one is always idle */
#define LEASE_MS      60000
#define TIMEOUT_US    (15 * 1000000LL)
#define HOST_IDLE_US  (60 * 1000000LL)
#define MOST_BODY     65536
#define LOOK_AGAIN_MS 30000 /* without a reason to; and when the store is broken */
#define NUDGE_MS      500
#define BUSY_MS       1000
#define MOST_PAYLOAD  65536
#define MOST_RETRY_S  86400
#define SHORTEST_MS   10

/* An upstream for one "scheme://host:port". */
struct host {
    struct ps_link link; /* in hooks->hosts */
    struct ps_upstream *upstream;
    char *base;                      /* owned */
    const struct ps_upstream_ca *ca; /* the upstream's; NULL: plain http */
    bool public_only;
    unsigned users;
    int64_t used_us;
};

struct delivery {
    struct ps_link link; /* in hooks->running or ->waiting, or in none: being settled */
    struct ps_hooks *hooks;
    struct host *host;
    struct ps_call *call;
    struct ps_id id;
    uint64_t fence;
    unsigned attempt;
    struct ps_hook_url url; /* into url_text */
    char *url_text;         /* owned */
    char *path;             /* owned */
    struct ps_buf payload;
    struct ps_slice body; /* what the call borrows */
    char type[24];
    bool fresh;
    bool hopeless;
    int status; /* 0: no answer yet */
    int64_t retry_after_ms;
    size_t received;
};

struct certificates {
    struct ps_work work;
    struct ps_hooks *hooks;
    unsigned adoptions;
    struct ps_upstream_ca *ca;
    char error[160];
};

struct ps_hooks {
    struct ps_store *store;     /* borrowed */
    struct ps_pool *pool;       /* borrowed */
    struct ps_gateway_loop *gl; /* borrowed; NULL: not started */
    struct ps_mailbox *mailbox; /* borrowed */
    struct ps_timer look;       /* when something may be due */
    struct ps_timer sweep;      /* closes idle hosts */
    struct ps_task stopped;
    struct ps_link running; /* deliveries with a call */
    struct ps_link waiting; /* for certificates */
    struct ps_link hosts;
    size_t host_count;
    size_t in_flight;          /* deliveries, until they are settled */
    size_t pending;            /* commands and work that owe an answer */
    struct ps_upstream_ca *ca; /* owned */
    unsigned ca_adoptions;     /* the loop's when it was read: a reload makes it old */
    bool loading;              /* certificates */
    bool taking;
    bool again; /* a wake came meanwhile */
    bool more;  /* is due, but there was no room */
    bool stopping;
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
    void (*on_moved)(void *arg);
    void *on_moved_arg;
};

static void take(struct ps_hooks *hooks);
static void begin(struct delivery *delivery);

static int64_t now_us(const struct ps_hooks *hooks)
{
    return hooks->gl->loop->now_us;
}

static const struct ps_config *config_of(const struct ps_hooks *hooks)
{
    return hooks->gl->snapshot->config;
}

/* ---- hosts ---- */

static void close_host(struct ps_hooks *hooks, struct host *host)
{
    ps_list_remove(&host->link);
    hooks->host_count--;
    ps_upstream_close(host->upstream);
    ps_free(host->base);
    ps_free(host);
}

static void close_hosts(struct ps_hooks *hooks)
{
    while (!ps_list_empty(&hooks->hosts)) {
        close_host(hooks, PS_CONTAINER_OF(hooks->hosts.next, struct host, link));
    }
}

static void on_sweep(struct ps_timer *timer)
{
    struct ps_hooks *hooks = PS_CONTAINER_OF(timer, struct ps_hooks, sweep);

    for (struct ps_link *link = hooks->hosts.next; link != &hooks->hosts;) {
        struct host *host = PS_CONTAINER_OF(link, struct host, link);
        link = link->next;
        if (host->users == 0 && now_us(hooks) - host->used_us >= HOST_IDLE_US) {
            close_host(hooks, host);
        }
    }
    if (!ps_list_empty(&hooks->hosts)) {
        (void)ps_timer_set(timer, HOST_IDLE_US);
    }
}

static void make_room(struct ps_hooks *hooks)
{
    struct host *oldest = NULL;

    if (hooks->host_count < MOST_HOSTS) {
        return;
    }
    for (struct ps_link *link = hooks->hosts.next; link != &hooks->hosts; link = link->next) {
        struct host *host = PS_CONTAINER_OF(link, struct host, link);
        if (host->users == 0 && (oldest == NULL || host->used_us < oldest->used_us)) {
            oldest = host;
        }
    }
    if (oldest != NULL) {
        close_host(hooks, oldest);
    }
}

/* One with certificates of before a reload is not used again. */
static struct host *find_host(struct ps_hooks *hooks, struct ps_slice base, bool https,
                              bool public_only)
{
    const struct ps_upstream_ca *ca = https ? hooks->ca : NULL;

    for (struct ps_link *link = hooks->hosts.next; link != &hooks->hosts; link = link->next) {
        struct host *host = PS_CONTAINER_OF(link, struct host, link);
        if (ps_slice_eq_cstr(base, host->base) && host->ca == ca &&
            host->public_only == public_only) {
            return host;
        }
    }
    return NULL;
}

static struct host *new_host(struct ps_hooks *hooks, struct ps_slice base, bool https,
                             bool public_only, char *ret_error, size_t error_size)
{
    struct host *host = ps_calloc(1, sizeof(*host));
    struct ps_upstream_shared *shared = NULL;

    (void)snprintf(ret_error, error_size, "memory is short");
    if (host == NULL) {
        return NULL;
    }
    host->base = ps_strndup(base.ptr, base.len);
    if (host->base != NULL) {
        struct ps_upstream_options options = {
            .base_url = host->base,
            .ca = https ? hooks->ca : NULL,
            .max_connections = MOST_PER_HOST,
            .max_queue = MOST_AT_ONCE,
            .public_only = public_only,
        };
        shared = ps_upstream_shared_new(&options, ret_error, error_size);
    }
    if (shared != NULL) {
        host->upstream = ps_upstream_new(hooks->gl->loop, shared);
        ps_upstream_shared_unref(shared);
    }
    if (host->upstream == NULL) {
        ps_free(host->base);
        ps_free(host);
        return NULL;
    }
    host->ca = https ? hooks->ca : NULL;
    host->public_only = public_only;
    make_room(hooks);
    ps_list_push_back(&hooks->hosts, &host->link);
    hooks->host_count++;
    if (!ps_timer_is_set(&hooks->sweep)) {
        (void)ps_timer_set(&hooks->sweep, HOST_IDLE_US);
    }
    return host;
}

/* ---- the end of a delivery ---- */

static void free_delivery(struct delivery *delivery)
{
    ps_list_remove(&delivery->link);
    ps_buf_deinit(&delivery->payload);
    ps_free(delivery->url_text);
    ps_free(delivery->path);
    ps_free(delivery);
}

static void on_stopped(struct ps_task *task)
{
    struct ps_hooks *hooks = PS_CONTAINER_OF(task, struct ps_hooks, stopped);
    hooks->on_stopped(hooks->on_stopped_arg);
}

static void may_be_stopped(struct ps_hooks *hooks)
{
    if (hooks->stopping && hooks->pending == 0 && hooks->in_flight == 0) {
        ps_timer_cancel(&hooks->look);
        ps_timer_cancel(&hooks->sweep);
        close_hosts(hooks);
        ps_loop_defer(hooks->gl->loop, &hooks->stopped, PS_PHASE_WORK);
    }
}

/* The earliest that was asked for holds. */
static void look_in(struct ps_hooks *hooks, int64_t after_ms)
{
    int64_t after_us = (after_ms > SHORTEST_MS ? after_ms : SHORTEST_MS) * 1000;

    if (!hooks->stopping &&
        (!ps_timer_is_set(&hooks->look) || hooks->look.due_us > now_us(hooks) + after_us)) {
        (void)ps_timer_set(&hooks->look, after_us);
    }
}

static void left(struct ps_hooks *hooks)
{
    hooks->in_flight--;
    if (hooks->more && !hooks->stopping) {
        take(hooks);
    }
    may_be_stopped(hooks);
}

static void on_settled(struct ps_store_command *command)
{
    struct ps_hooks *hooks = command->user;
    int64_t run_at_ms = command->in.run_at_ms;

    /* Not kept: its lease runs out, then it is taken again. */
    if (command->status != PS_STORE_OK && command->status != PS_STORE_STALE) {
        look_in(hooks, LEASE_MS);
    } else if (run_at_ms > 0) {
        look_in(hooks, run_at_ms - ps_clock_wall_ms());
    }
    ps_store_command_free(command);
    hooks->pending--;
    if (hooks->on_moved != NULL) {
        hooks->on_moved(hooks->on_moved_arg);
    }
    left(hooks);
}

/* The delivery ends here. */
static void settle(struct delivery *delivery, int64_t run_at_ms)
{
    struct ps_hooks *hooks = delivery->hooks;
    struct ps_store_command *command = ps_store_command_new(PS_STORE_HOOK_SETTLE);

    if (command != NULL) {
        command->user = hooks;
        command->in.now_ms = ps_clock_wall_ms();
        command->in.run_at_ms = run_at_ms;
        command->in.ref.id = delivery->id;
        command->in.ref.line = -1;
        command->in.ref.fence = delivery->fence;
    }
    free_delivery(delivery);
    if (command == NULL) {
        look_in(hooks, LEASE_MS);
        left(hooks);
        return;
    }
    hooks->pending++;
    ps_store_submit(hooks->store, command, hooks->mailbox, on_settled);
}

/* A line in the log, and the metric. */
static void report_end(const struct delivery *delivery, const char *detail, int64_t delay_ms)
{
    static const struct {
        const char *label;
        const char *line;
    } words[] = {{"delivered", "webhook delivered"},
                 {"failed", "webhook failed"},
                 {"given_up", "webhook given up"}};
    int outcome = delay_ms != 0 ? 1 : delivery->status / 100 == 2 ? 0 : 2;
    struct ps_slice label = ps_slice_cstr(words[outcome].label);
    struct ps_log_line line;

    ps_series_add(ps_metrics_series(delivery->hooks->gl->shard, PS_METRIC_WEBHOOKS, &label), 1);
    ps_log_begin(&line, outcome == 0 ? PS_LOG_DEBUG : PS_LOG_WARN, words[outcome].line);
    ps_log_cstr(&line, "id", delivery->id.text);
    ps_log_cstr(&line, "type", delivery->type);
    ps_log_str(&line, "host", delivery->url.host); /* the rest of a URL may hold a secret */
    ps_log_int(&line, "attempt", delivery->attempt);
    if (delivery->status != 0) {
        ps_log_int(&line, "status", delivery->status);
    } else {
        ps_log_cstr(&line, "error", detail);
    }
    if (delay_ms != 0) {
        ps_log_int(&line, "again_in_s", delay_ms / 1000);
    }
    ps_log_end(&line);
}

/* A tenth more or less, so that those which failed together do not come back together. */
static int64_t jitter(int64_t delay_ms)
{
    uint32_t random;

    ps_random_bytes(&random, sizeof(random));
    return delay_ms * 9 / 10 + (int64_t)(random % (uint64_t)(delay_ms / 5 + 1));
}

static void let_host_go(struct delivery *delivery)
{
    if (delivery->host != NULL) {
        delivery->host->users--;
        delivery->host->used_us = now_us(delivery->hooks);
        delivery->host = NULL;
    }
}

/* By its status, or without any. */
static void finish(struct delivery *delivery, const char *detail)
{
    int64_t delay_ms = 0;

    let_host_go(delivery);
    if (delivery->status / 100 != 2 && delivery->status != 410 && !delivery->hopeless) {
        delay_ms = ps_hook_delay_ms(delivery->attempt);
        delay_ms = delay_ms > 0 ? jitter(delay_ms) : 0;
        if (delay_ms > 0 && delivery->retry_after_ms > delay_ms) {
            delay_ms = delivery->retry_after_ms;
        }
    }
    report_end(delivery, detail, delay_ms);
    settle(delivery, delay_ms > 0 ? ps_clock_wall_ms() + delay_ms : 0);
}

/* ---- a delivery ---- */

static void on_head(void *arg, const struct ps_call_head *head)
{
    struct delivery *delivery = arg;
    struct ps_slice after = ps_call_header_value(head, "retry-after");
    int64_t seconds = 0;

    delivery->status = head->status;
    for (size_t i = 0; i < after.len && seconds <= MOST_RETRY_S; i++) {
        if (after.ptr[i] < '0' || after.ptr[i] > '9') {
            return; /* a date is not worth the trouble here */
        }
        seconds = seconds * 10 + (after.ptr[i] - '0');
    }
    delivery->retry_after_ms = (seconds < MOST_RETRY_S ? seconds : MOST_RETRY_S) * 1000;
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct delivery *delivery = arg;

    (void)ptr;
    delivery->received += len;
    if (delivery->received > MOST_BODY) {
        ps_call_cancel(delivery->call);
        delivery->call = NULL;
        finish(delivery, "");
    }
}

static void on_end(void *arg, enum ps_call_end end, const char *detail)
{
    struct delivery *delivery = arg;

    delivery->call = NULL;
    if (end == PS_CALL_REUSE_DIED && !delivery->fresh && !delivery->hooks->stopping) {
        delivery->fresh = true;
        let_host_go(delivery);
        begin(delivery);
        return;
    }
    finish(delivery, detail);
}

static const struct ps_call_ops call_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end};

/* False with a sentence. */
static bool start_call(struct delivery *delivery, const char *secret)
{
    char signature[PS_HOOK_SIGNATURE];
    char stamp[32];
    int64_t now_s = ps_clock_wall_ms() / 1000;

    if (!ps_hook_sign(secret, ps_slice_cstr(delivery->id.text), now_s, delivery->body, signature)) {
        return false;
    }
    (void)snprintf(stamp, sizeof(stamp), "%lld", (long long)now_s);
    const struct ps_call_header headers[] = {
        {PS_SLICE_LIT("content-type"), PS_SLICE_LIT("application/json")},
        {PS_SLICE_LIT("webhook-id"), ps_slice_cstr(delivery->id.text)},
        {PS_SLICE_LIT("webhook-timestamp"), ps_slice_cstr(stamp)},
        {PS_SLICE_LIT("webhook-signature"), ps_slice_cstr(signature)},
    };
    struct ps_call_request request = {
        .method = "POST",
        .path = ps_slice_cstr(delivery->path),
        .headers = headers,
        .header_count = sizeof(headers) / sizeof(headers[0]),
        .body = &delivery->body,
        .body_count = 1,
        .has_body = true,
        .fresh_connection = delivery->fresh,
        .total_timeout_us = TIMEOUT_US,
    };
    delivery->call = ps_call_start(delivery->host->upstream, &request, &call_ops, delivery);
    return delivery->call != NULL;
}

static void load_certificates(struct ps_hooks *hooks);

/* Nothing has been sent yet. Ends in a call, in the list of those that wait, or in a failure. */
static void begin(struct delivery *delivery)
{
    struct ps_hooks *hooks = delivery->hooks;
    const struct ps_config *config = config_of(hooks);
    bool public_only = !config->webhook_private;
    char error[160];

    ps_list_remove(&delivery->link);
    if (config->webhook_secret.value == NULL) {
        finish(delivery, "there is no secret to sign it with");
        return;
    }
    if (delivery->url.https && (hooks->ca == NULL || hooks->ca_adoptions != hooks->gl->adoptions)) {
        ps_list_push_back(&hooks->waiting, &delivery->link);
        load_certificates(hooks);
        return;
    }
    delivery->host = find_host(hooks, delivery->url.base, delivery->url.https, public_only);
    if (delivery->host == NULL) {
        delivery->host = new_host(hooks, delivery->url.base, delivery->url.https, public_only,
                                  error, sizeof(error));
    }
    if (delivery->host == NULL) {
        finish(delivery, error);
        return;
    }
    delivery->host->users++;
    ps_list_push_back(&hooks->running, &delivery->link);
    if (!start_call(delivery, config->webhook_secret.value)) {
        finish(delivery, "memory is short");
    }
}

/* ---- certificates: when they are first needed, and anew after a reload ---- */

static void read_certificates(struct ps_work *work)
{
    struct certificates *job = PS_CONTAINER_OF(work, struct certificates, work);
    job->ca = ps_upstream_ca_new(NULL, job->error, sizeof(job->error));
}

static void end_waiting(struct ps_hooks *hooks, const char *error)
{
    struct ps_link waiting;
    struct ps_link *link;

    ps_list_init(&waiting);
    ps_list_move(&hooks->waiting, &waiting);
    while ((link = ps_list_pop(&waiting)) != NULL) {
        struct delivery *delivery = PS_CONTAINER_OF(link, struct delivery, link);
        if (error == NULL) {
            begin(delivery);
        } else {
            finish(delivery, error);
        }
    }
}

/* When there are no new ones, the old ones stay in use until the next reload. */
static void take_certificates(struct ps_hooks *hooks, struct ps_upstream_ca *ca, unsigned adoptions,
                              const char *error)
{
    if (ca != NULL) {
        ps_upstream_ca_unref(hooks->ca);
        hooks->ca = ca;
    } else if (hooks->ca != NULL) {
        ps_log(PS_LOG_WARN, "webhooks: the certificates of before the reload stay in use: %s",
               error);
    }
    hooks->ca_adoptions = adoptions;
    end_waiting(hooks, hooks->ca != NULL ? NULL : error);
}

static void on_certificates(struct ps_work *work)
{
    struct certificates *job = PS_CONTAINER_OF(work, struct certificates, work);
    struct ps_hooks *hooks = job->hooks;

    hooks->pending--;
    hooks->loading = false;
    take_certificates(hooks, job->ca, job->adoptions, job->error);
    ps_free(job);
    may_be_stopped(hooks);
}

static void load_certificates(struct ps_hooks *hooks)
{
    if (hooks->loading) {
        return;
    }
    struct certificates *job = ps_calloc(1, sizeof(*job));
    if (job != NULL) {
        job->hooks = hooks;
        job->adoptions = hooks->gl->adoptions;
        job->work.mailbox = hooks->mailbox;
        job->work.run = read_certificates;
        job->work.done = on_certificates;
    }
    if (job == NULL || !ps_pool_submit(hooks->pool, &job->work)) {
        ps_free(job);
        take_certificates(hooks, NULL, hooks->gl->adoptions, "they cannot be read now");
        return;
    }
    hooks->loading = true;
    hooks->pending++;
}

/* ---- taking ---- */

/* Copies what the store gave. NULL when memory is short. */
static struct delivery *new_delivery(struct ps_hooks *hooks, const struct ps_store_hook *hook)
{
    struct delivery *delivery = ps_calloc(1, sizeof(*delivery));

    if (delivery == NULL) {
        return NULL;
    }
    ps_list_init(&delivery->link);
    ps_buf_init(&delivery->payload, MOST_PAYLOAD);
    delivery->hooks = hooks;
    delivery->id = hook->id;
    delivery->fence = hook->fence;
    delivery->attempt = hook->attempt;
    (void)snprintf(delivery->type, sizeof(delivery->type), "%.*s", (int)hook->type.len,
                   hook->type.len > 0 ? hook->type.ptr : "");
    if (hook->payload.len > 0) {
        ps_buf_slice(&delivery->payload, hook->payload);
    } else {
        ps_hook_bare_payload(&delivery->payload, hook->type, &hook->id, hook->created_ms);
    }
    delivery->body = ps_buf_view(&delivery->payload);
    delivery->url_text = ps_strndup(hook->url.ptr, hook->url.len);
    delivery->path = ps_malloc(hook->url.len + 2);
    if (delivery->payload.failed || delivery->url_text == NULL || delivery->path == NULL) {
        free_delivery(delivery);
        return NULL;
    }
    return delivery;
}

static void deliver(struct ps_hooks *hooks, const struct ps_store_hook *hook)
{
    struct delivery *delivery = new_delivery(hooks, hook);
    char *path;

    if (delivery == NULL) {
        look_in(hooks, LEASE_MS);
        return;
    }
    hooks->in_flight++;
    if (hooks->stopping) {
        settle(delivery, ps_clock_wall_ms());
        return;
    }
    const char *wrong = ps_hook_url_parse(ps_slice_cstr(delivery->url_text), &delivery->url);
    if (wrong != NULL) { /* it was looked at when it came */
        delivery->hopeless = true;
        finish(delivery, wrong);
        return;
    }
    path = delivery->path;
    if (delivery->url.rest.len == 0 || delivery->url.rest.ptr[0] != '/') {
        *path++ = '/';
    }
    (void)snprintf(path, delivery->url.rest.len + 1, "%s", delivery->url.rest.ptr);
    begin(delivery);
}

static void on_taken(struct ps_store_command *command)
{
    struct ps_hooks *hooks = command->user;
    bool full = false;

    hooks->taking = false;
    if (command->status == PS_STORE_OK) {
        for (size_t i = 0; i < command->out.hook_count; i++) {
            deliver(hooks, &command->out.hooks[i]);
        }
        hooks->more = command->out.more;
        full = command->out.hook_count < command->in.limit; /* the bounds of what else is due */
        if (command->out.next_ms > 0) {
            look_in(hooks, command->out.next_ms - ps_clock_wall_ms());
        }
        if (hooks->more && hooks->in_flight == 0) {
            look_in(hooks, BUSY_MS);
        }
    } else if (command->status == PS_STORE_BUSY) {
        look_in(hooks, BUSY_MS);
    }
    look_in(hooks, LOOK_AGAIN_MS);
    ps_store_command_free(command);
    hooks->pending--;
    if (hooks->again || (hooks->more && !full && hooks->in_flight < MOST_AT_ONCE)) {
        take(hooks);
    }
    may_be_stopped(hooks);
}

static void take(struct ps_hooks *hooks)
{
    hooks->again = hooks->taking;
    if (hooks->taking || hooks->stopping) {
        return;
    }
    hooks->more = hooks->in_flight >= MOST_AT_ONCE;
    if (hooks->more) {
        return;
    }
    if (config_of(hooks)->webhook_secret.value == NULL) {
        look_in(hooks, LOOK_AGAIN_MS); /* a reload may bring one */
        return;
    }
    struct ps_store_command *command = ps_store_command_new(PS_STORE_HOOK_TAKE);
    if (command == NULL) {
        look_in(hooks, BUSY_MS);
        return;
    }
    command->user = hooks;
    command->in.now_ms = ps_clock_wall_ms();
    command->in.lease_ms = LEASE_MS;
    command->in.limit = (uint32_t)(MOST_AT_ONCE - hooks->in_flight);
    command->in.per_host = MOST_PER_HOST;
    hooks->taking = true;
    hooks->pending++;
    ps_store_submit(hooks->store, command, hooks->mailbox, on_taken);
}

/* The timer also finds what nobody woke us for: a job that the store ended by itself. A store that
 * has never been used is left alone, for asking would make it. */
static void on_look(struct ps_timer *timer)
{
    struct ps_hooks *hooks = PS_CONTAINER_OF(timer, struct ps_hooks, look);
    struct ps_store_stats stats;

    ps_store_stats(hooks->store, &stats);
    if (stats.commands > 0) {
        take(hooks);
    } else {
        look_in(hooks, LOOK_AGAIN_MS);
    }
}

/* ---- the door ---- */

struct ps_hooks *ps_hooks_new(struct ps_store *store, struct ps_pool *pool)
{
    struct ps_hooks *hooks = ps_calloc(1, sizeof(*hooks));

    if (hooks == NULL) {
        return NULL;
    }
    hooks->store = store;
    hooks->pool = pool;
    ps_list_init(&hooks->running);
    ps_list_init(&hooks->waiting);
    ps_list_init(&hooks->hosts);
    ps_task_init(&hooks->stopped, on_stopped);
    return hooks;
}

void ps_hooks_on_moved(struct ps_hooks *hooks, void (*fn)(void *arg), void *arg)
{
    hooks->on_moved = fn;
    hooks->on_moved_arg = arg;
}

int ps_hooks_start(struct ps_hooks *hooks, struct ps_gateway_loop *gl, struct ps_mailbox *mailbox)
{
    hooks->gl = gl;
    hooks->mailbox = mailbox;
    ps_timer_init(&hooks->look, gl->loop, on_look);
    ps_timer_init(&hooks->sweep, gl->loop, on_sweep);
    look_in(hooks, LOOK_AGAIN_MS);
    if (ps_store_exists(hooks->store)) {
        take(hooks);
    }
    return 0;
}

void ps_hooks_wake(struct ps_hooks *hooks)
{
    if (hooks->gl != NULL) {
        take(hooks);
    }
}

void ps_hooks_nudge(struct ps_hooks *hooks)
{
    if (hooks->gl != NULL) {
        look_in(hooks, NUDGE_MS);
    }
}

void ps_hooks_stop(struct ps_hooks *hooks, void (*on_stopped_fn)(void *arg), void *arg)
{
    hooks->stopping = true;
    hooks->on_stopped = on_stopped_fn;
    hooks->on_stopped_arg = arg;
    ps_timer_cancel(&hooks->look);
    may_be_stopped(hooks);
}

void ps_hooks_abort(struct ps_hooks *hooks)
{
    struct ps_link *lists[] = {&hooks->running, &hooks->waiting};

    for (size_t i = 0; i < 2; i++) {
        while (!ps_list_empty(lists[i])) {
            struct delivery *delivery = PS_CONTAINER_OF(lists[i]->next, struct delivery, link);
            if (delivery->call != NULL) {
                ps_call_cancel(delivery->call);
                delivery->call = NULL;
            }
            let_host_go(delivery);
            settle(delivery, ps_clock_wall_ms());
        }
    }
}

void ps_hooks_free(struct ps_hooks *hooks)
{
    if (hooks != NULL) {
        ps_upstream_ca_unref(hooks->ca);
        ps_free(hooks);
    }
}
