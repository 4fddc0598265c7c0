/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"
#include "penstock/base/log.h"

/*
 * The happy path: opened at the head (HEAD), body bytes are scanned and kept as they come (BODY),
 * at the end of the body the fields are checked and the model is looked up (PREPARING), targets are
 * asked one after the other (ATTEMPTING, see attempt.c) until one of them commits (COMMITTED); its
 * events go to the front, then on_end (FLUSHING); the front delivers and ends the exchange (ENDED).
 *
 * How it fails: a body that is refused is answered by the front, which then ends. A fault before
 * the commit becomes on_end with a fault: a real status line. A fault after the commit becomes
 * on_end with a fault that the front can only show as a cut. A client that leaves makes the front
 * end the exchange in whatever state it is in: what runs is cancelled there, synchronously.
 */

#define JSON_NODES       1000000
#define STATE_BIT(state) (1u << PS_EXCHANGE_##state)

/* Which states may follow a state. */
static const unsigned follows[] = {
    [PS_EXCHANGE_HEAD] = STATE_BIT(BODY) | STATE_BIT(PREPARING) | STATE_BIT(ENDED),
    [PS_EXCHANGE_BODY] = STATE_BIT(PREPARING) | STATE_BIT(ENDED),
    [PS_EXCHANGE_PREPARING] = STATE_BIT(ATTEMPTING) | STATE_BIT(FLUSHING) | STATE_BIT(ENDED),
    [PS_EXCHANGE_ATTEMPTING] = STATE_BIT(COMMITTED) | STATE_BIT(FLUSHING) | STATE_BIT(ENDED),
    [PS_EXCHANGE_COMMITTED] = STATE_BIT(FLUSHING) | STATE_BIT(ENDED),
    [PS_EXCHANGE_FLUSHING] = STATE_BIT(ENDED),
    [PS_EXCHANGE_ENDED] = 0,
};

static const char *const state_names[] = {
#define X(name) #name,
    PS_EXCHANGE_STATES(X)
#undef X
};

const char *ps_end_reason_word(enum ps_end_reason reason)
{
    static const char *const words[] = {
#define X(name, word, is_error) word,
        PS_END_REASONS(X)
#undef X
    };
    return words[reason];
}

void ps_exchange_enter(struct ps_exchange *ex, enum ps_exchange_state state)
{
    if ((follows[ex->state] & (1u << state)) == 0) {
        ps_log(PS_LOG_ERROR, "exchange %s: no way from %s to %s", ex->spec.request_id.text,
               state_names[ex->state], state_names[state]);
    }
    ex->state = state;
}

static void take_step(struct ps_task *task)
{
    struct ps_exchange *ex = PS_CONTAINER_OF(task, struct ps_exchange, task);
    ex->step(ex);
}

void ps_exchange_defer(struct ps_exchange *ex, void (*step)(struct ps_exchange *ex))
{
    ex->step = step;
    ps_loop_defer(ex->gl->loop, &ex->task, PS_PHASE_WORK);
}

static void on_timer(struct ps_timer *timer)
{
    ps_attempt_timeout(PS_CONTAINER_OF(timer, struct ps_exchange, timer));
}

/* ---- open, body, run ---- */

static void fill_request(struct ps_exchange *ex)
{
    const struct ps_exchange_spec *spec = &ex->spec;
    ex->request = (struct ps_request){
        .family = spec->family,
        .operation = spec->operation,
        .method = spec->method,
        .path = spec->path,
        .query = spec->query,
        .content_type = spec->content_type,
        .accept = spec->accept,
        .body = &ex->body,
        .keeps_responses = spec->keeps_responses,
    };
}

struct ps_exchange *ps_exchange_open(struct ps_gateway_loop *gl, struct ps_arena *arena,
                                     const struct ps_exchange_spec *spec,
                                     const struct ps_front_ops *ops, void *arg)
{
    struct ps_exchange *ex = ps_arena_calloc(arena, sizeof(*ex));
    if (ex == NULL) {
        return NULL;
    }
    ex->state = PS_EXCHANGE_HEAD;
    ex->gl = gl;
    ex->arena = arena;
    ex->spec = *spec;
    ex->front = ops;
    ex->front_arg = arg;
    ex->dialect = ps_dialect_of_family(spec->family);
    ex->usage = PS_USAGE_NONE;
    ex->overhead_us = -1;
    ex->receipt_us = spec->received_us;
    ps_chain_init(&ex->body, &gl->loop->pool);
    ps_chain_init(&ex->attempt.hold, &gl->loop->pool);
    ps_task_init(&ex->task, take_step);
    ps_timer_init(&ex->timer, gl->loop, on_timer);
    fill_request(ex);

    ex->spec.reader.operation = spec->operation;
    ex->spec.reader.json_depth = PS_JSON_MAX_DEPTH;
    ex->spec.reader.json_nodes = JSON_NODES;
    ex->reader = ps_reader_new(ex->dialect, &ex->spec.reader, &ex->request, arena);
    if (ex->reader == NULL) {
        return NULL;
    }
    ex->snapshot = ps_snapshot_ref(gl->snapshot);
    gl->exchange_count++;
    ps_inflight_record(ex, 1);
    return ex;
}

int ps_exchange_body(struct ps_exchange *ex, const char *ptr, size_t len,
                     struct ps_fault *ret_fault)
{
    if (ex->state == PS_EXCHANGE_HEAD) {
        ps_exchange_enter(ex, PS_EXCHANGE_BODY);
    }
    ex->received += len;
    ex->receipt_us = ps_clock_us();
    int result = ps_reader_feed(ex->reader, ptr, len, ret_fault);
    if (result == 0 && ps_chain_append(&ex->body, ptr, len) != 0) {
        result = ps_fault_set(ret_fault, PS_FAULT_NO_MEMORY, NULL,
                              "The gateway's buffer memory is used up; try again later.");
    }
    if (result != 0) {
        ps_chain_clear(&ex->body); /* nobody will read it, and the answer needs a buffer, too */
    }
    return result;
}

/* Clients of Ollama say "name:latest" where there is only a name. */
static const struct ps_route *find_untagged(struct ps_exchange *ex)
{
    static const struct ps_slice tag = PS_SLICE_INIT(":latest");
    struct ps_slice model = ex->request.model;
    if (ex->spec.family != PS_FAMILY_OLLAMA || model.len <= tag.len) {
        return NULL;
    }
    model.len -= tag.len;
    return ps_slice_eq(ps_slice(model.ptr + model.len, tag.len), tag)
               ? ps_snapshot_route(ex->snapshot, model, &ex->rest)
               : NULL;
}

static int find_route(struct ps_exchange *ex, struct ps_fault *fault)
{
    struct ps_slice model = ex->request.model;
    if (ex->spec.provider.len > 0) {
        const struct ps_provider *provider = ps_snapshot_provider(ex->snapshot, ex->spec.provider);
        if (provider == NULL) {
            return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "x-penstock-provider",
                                "x-penstock-provider names no provider of this gateway: \"%.*s\".",
                                ps_utf8_quoted(ex->spec.provider, 64), ex->spec.provider.ptr);
        }
        ex->route = &ex->snapshot->provider_routes[provider - ex->snapshot->providers];
        ex->rest = model;
        return 0;
    }
    ex->route = ps_snapshot_route(ex->snapshot, model, &ex->rest);
    if (ex->route == NULL) {
        ex->route = find_untagged(ex);
    }
    if (ex->route != NULL) {
        return 0;
    }
    if (model.len == 0) {
        return ps_fault_set(fault, PS_FAULT_MISSING_FIELD, "model",
                            "No model was named, and this gateway has no default_model.");
    }
    return ps_fault_set(fault, PS_FAULT_MODEL_NOT_FOUND, "model",
                        "The model \"%.*s\" does not exist: it is neither an alias nor "
                        "provider/model of this gateway "
                        "(GET /v1/models lists them).",
                        ps_utf8_quoted(model, 80), model.ptr);
}

static bool speaks(const struct ps_exchange *ex, const struct ps_target *target)
{
    const struct ps_dialect *dialect = target->provider->dialect;
    return dialect != NULL ? ps_dialect_speaks(dialect, ex->spec.family, ex->spec.operation)
                           : ps_dialect_has_writer(ex->dialect, ex->spec.operation);
}

/* Whether the front answers: a provider of its family would know better. */
static bool wants_own_answer(const struct ps_exchange *ex)
{
    bool relayed = true;
    if (!ex->request.own_answer || ex->spec.on_own_answer == NULL) {
        return false;
    }
    for (size_t i = 0; i < ex->route->target_count; i++) {
        const struct ps_provider *provider = ex->route->targets[i].provider;
        relayed = relayed && provider->dialect != NULL &&
                  ps_dialect_relays(provider->dialect, &provider->settings, ex->spec.family,
                                    ex->spec.operation);
    }
    return !relayed;
}

static bool wants_background(const struct ps_exchange *ex)
{
    return ex->spec.on_background != NULL &&
           (ex->request.background || (ex->spec.prefer_background && !ex->request.stream));
}

static void ask(struct ps_exchange *ex)
{
    ps_routing_init(&ex->routing, ex->route);
    ps_exchange_enter(ex, PS_EXCHANGE_ATTEMPTING);
    ps_attempt_first(ex);
}

/* Whether something of a response before this one is to be looked for here. An id that is not of
 * our making is for the provider, where that has such an API itself. */
static bool wants_previous(const struct ps_exchange *ex)
{
    struct ps_id id;
    if (ex->request.reference_count > 0) {
        return true;
    }
    if (ex->request.previous_id.len == 0) {
        return false;
    }
    for (size_t i = 0; i < ex->route->target_count; i++) {
        const struct ps_provider *provider = ex->route->targets[i].provider;
        if (provider->dialect != NULL && ps_dialect_relays(provider->dialect, &provider->settings,
                                                           ex->spec.family, ex->spec.operation)) {
            return ps_id_read(&id, "resp_", ex->request.previous_id);
        }
    }
    return true;
}

static int no_previous(const struct ps_exchange *ex, struct ps_fault *fault)
{
    return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION,
                        ex->request.previous_id.len > 0 ? "previous_response_id" : "input",
                        "This request cannot go on from responses that are kept: send the whole "
                        "conversation as input.");
}

static void fail_previous(struct ps_exchange *ex)
{
    struct ps_fault fault = ex->outcome.fault;
    ps_exchange_fail(ex, &fault);
}

void ps_exchange_previous(struct ps_exchange *ex, struct ps_slice items,
                          const struct ps_fault *fault)
{
    ex->request.previous = items;
    for (size_t i = 0; i < ex->request.reference_count; i++) {
        ex->request.reference_bytes += ex->request.references[i].item.len;
    }
    if (fault != NULL) {
        ex->outcome.fault = *fault;
        ps_exchange_defer(ex, fail_previous);
    } else {
        ps_exchange_defer(ex, ask);
    }
}

/* What is to run later runs without its client, and without the client's key. */
static int check_background(const struct ps_exchange *ex, struct ps_fault *fault)
{
    bool background = ex->spec.background || wants_background(ex);
    const struct ps_provider *provider = background ? ps_route_of_client_key(ex->route) : NULL;
    if (provider != NULL) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, "model",
                            "The provider \"%s\" behind this model is asked with the client's own "
                            "key, which is not there in the background.",
                            provider->config->name);
    }
    if (!background && ex->request.generate != NULL && ex->request.generate->webhook.len > 0) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "webhook",
                            "webhook goes with \"background\": true only.");
    }
    return 0;
}

static void prepare(struct ps_exchange *ex)
{
    struct ps_fault fault;
    int result = ps_reader_finish(ex->reader, &fault);
    ex->spec.family = ex->request.family; /* a path may have several, told by their bodies */
    ex->dialect = ps_dialect_of_family(ex->spec.family);
    if (result != 0 || find_route(ex, &fault) != 0) {
        ps_exchange_fail(ex, &fault);
        return;
    }
    if (ex->request.background && !ex->spec.background && ex->spec.on_background == NULL) {
        /* The door queues such requests; this one came by another way. */
        (void)ps_fault_set(&fault, PS_FAULT_UNSUPPORTED_OPERATION, "background",
                           "Background generation needs the job queue, which is not at hand.");
        ps_exchange_fail(ex, &fault);
        return;
    }
    if (wants_own_answer(ex)) {
        ps_exchange_enter(ex, PS_EXCHANGE_FLUSHING);
        ex->spec.on_own_answer(ex->front_arg);
        return;
    }
    for (size_t i = 0; i < ex->route->target_count; i++) {
        if (!speaks(ex, &ex->route->targets[i])) {
            (void)ps_fault_set(
                &fault, PS_FAULT_UNSUPPORTED_OPERATION, "model",
                "The provider \"%s\" behind this model cannot do this operation (%s).",
                ex->route->targets[i].provider->config->name,
                ps_operation_name(ex->spec.operation));
            ps_exchange_fail(ex, &fault);
            return;
        }
    }
    if (check_background(ex, &fault) != 0) {
        ps_exchange_fail(ex, &fault);
        return;
    }
    if (wants_background(ex)) {
        ps_exchange_enter(ex, PS_EXCHANGE_FLUSHING);
        ex->spec.on_background(ex->front_arg);
        return;
    }
    if (!wants_previous(ex)) {
        ask(ex);
    } else if (ex->spec.on_previous != NULL) {
        ex->spec.on_previous(ex->front_arg);
    } else {
        (void)no_previous(ex, &fault);
        ps_exchange_fail(ex, &fault);
    }
}

void ps_exchange_run(struct ps_exchange *ex)
{
    ps_exchange_enter(ex, PS_EXCHANGE_PREPARING);
    ex->run_us = ps_clock_us();
    ps_id_make(&ex->id, "gen_");
    ps_exchange_defer(ex, prepare);
}

/* ---- towards the front ---- */

/* What an upstream told of its tokens before the commit: the writers of some doors begin with it.
 */
static void tell_usage(struct ps_exchange *ex)
{
    struct ps_event event = {.kind = PS_EVENT_USAGE, .usage = ex->usage};
    const struct ps_usage *usage = &ex->usage;
    if (!ex->answer.raw && (usage->input >= 0 || usage->output >= 0 || usage->total >= 0)) {
        ex->front->on_event(ex->front_arg, &event);
    }
}

static bool may_stream(const struct ps_exchange *ex)
{
    return ex->spec.operation == PS_OP_CHAT || ex->spec.operation == PS_OP_COMPLETE;
}

void ps_exchange_commit(struct ps_exchange *ex, int64_t arrival_us)
{
    struct ps_attempt *at = &ex->attempt;
    ps_timer_cancel(&ex->timer);
    at->state = PS_ATTEMPT_WON;
    ps_exchange_enter(ex, PS_EXCHANGE_COMMITTED);
    ex->commit_us = arrival_us;
    ex->waited_us += arrival_us - at->waiting_us;
    ex->answer.status = at->status;
    ex->answer.content_type = at->content_type;
    ex->answer.length = at->length;
    /* What is relayed is what the upstream makes it; what is translated is what the client asked
     * for, also where the target cannot stream. */
    ex->answer.stream = ex->answer.raw ? at->event_stream : ex->request.stream && may_stream(ex);
    ex->answer.headers = at->headers;
    ex->answer.header_count = at->header_count;
    ex->front->on_commit(ex->front_arg, &ex->answer);
    tell_usage(ex);
    while (at->hold.len > 0) {
        struct ps_event event = {.kind = PS_EVENT_OPAQUE,
                                 .raw = ps_chain_run(&at->hold, 0, at->hold.len)};
        ex->front->on_event(ex->front_arg, &event);
        ps_chain_drop(&at->hold, event.raw.len);
    }
    if (at->sent) {
        ps_chain_clear(&ex->body);
    }
}

static void tell_end(struct ps_exchange *ex)
{
    ex->outcome.committed = ex->state == PS_EXCHANGE_COMMITTED;
    ps_timer_cancel(&ex->timer);
    ps_exchange_enter(ex, PS_EXCHANGE_FLUSHING);
    ex->front->on_end(ex->front_arg, &ex->outcome);
}

void ps_exchange_complete(struct ps_exchange *ex)
{
    ex->outcome.fault.kind = PS_FAULT_NONE;
    tell_end(ex);
}

void ps_exchange_fail(struct ps_exchange *ex, const struct ps_fault *fault)
{
    ex->outcome.fault = *fault;
    tell_end(ex);
}

void ps_exchange_pause(struct ps_exchange *ex)
{
    ex->paused = true;
    ps_attempt_pause(ex, true);
}

void ps_exchange_resume(struct ps_exchange *ex)
{
    ex->paused = false;
    ps_attempt_pause(ex, false);
}

void ps_exchange_end(struct ps_exchange *ex, enum ps_end_reason reason, int status, uint64_t sent,
                     const struct ps_fault *fault)
{
    if (ex->state == PS_EXCHANGE_ENDED) {
        return;
    }
    ps_task_cancel(&ex->task);
    ps_timer_cancel(&ex->timer);
    ps_attempt_drop(ex);
    ps_exchange_record(ex, reason, status, sent, fault);
    ps_exchange_enter(ex, PS_EXCHANGE_ENDED);
    ps_chain_clear(&ex->body);
    ps_chain_clear(&ex->attempt.hold);
    ex->gl->exchange_count--;
    ps_snapshot_unref(ex->snapshot);
    ex->snapshot = NULL;
}

/* ---- what the front may ask ---- */

const struct ps_request *ps_exchange_request(const struct ps_exchange *ex)
{
    return &ex->request;
}

const struct ps_route *ps_exchange_route(const struct ps_exchange *ex)
{
    return ex->route;
}

struct ps_slice ps_exchange_provider(const struct ps_exchange *ex)
{
    return ex->attempt.target != NULL ? ex->attempt.target->provider->name : PS_SLICE_NONE;
}

struct ps_slice ps_exchange_model(const struct ps_exchange *ex)
{
    if (ex->attempt.target == NULL) {
        return PS_SLICE_NONE;
    }
    return ex->attempt.target->model.len > 0 ? ex->attempt.target->model : ex->rest;
}

unsigned ps_exchange_attempts(const struct ps_exchange *ex)
{
    return ex->attempts;
}

struct ps_slice ps_exchange_upstream_id(const struct ps_exchange *ex)
{
    return ex->upstream_id;
}

struct ps_slice ps_exchange_dropped(const struct ps_exchange *ex)
{
    return ex->dropped;
}

int64_t ps_exchange_overhead_us(struct ps_exchange *ex)
{
    if (ex->overhead_us < 0) {
        int64_t overhead = ps_clock_us() - ex->receipt_us - ex->waited_us;
        ex->overhead_us = overhead > 0 ? overhead : 0;
    }
    return ex->overhead_us;
}

struct ps_usage ps_exchange_usage(const struct ps_exchange *ex)
{
    return ex->usage;
}

struct ps_writer *ps_exchange_writer(struct ps_exchange *ex, enum ps_writer_mode mode)
{
    struct ps_answer_info info;
    ps_exchange_info(ex, &info);
    struct ps_writer_options options = {
        .operation = ex->request.operation,
        .mode = mode,
        .max_bytes = (size_t)ex->snapshot->config->limits.event_bytes,
        .include_usage = ex->request.include_usage,
        .base64 = ex->request.base64,
        .request = &ex->request,
        .id = info.id,
        .model = info.model,
        .created_s = ps_clock_wall_ms() / 1000,
    };
    return ps_writer_new(ex->dialect, &options, ex->arena);
}

void ps_exchange_info(const struct ps_exchange *ex, struct ps_answer_info *ret)
{
    *ret = (struct ps_answer_info){
        .id = ps_slice_cstr(ex->id.text),
        .model = ps_exchange_model(ex),
        .provider = ps_exchange_provider(ex),
        .queue_us = ex->queue_us,
        .first_token_us =
            ex->commit_us > ex->spec.received_us ? ex->commit_us - ex->spec.received_us : 0,
        .total_us = ps_clock_us() - ex->spec.received_us,
    };
}
