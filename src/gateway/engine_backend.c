/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange_priv.h"

#include "penstock/base/clock.h"

#include <string.h>

/*
 * The backend that computes in this process: the front's dialect reads the request as a prompt, the
 * engine's port of this loop takes it, its results come back as events. Bytes are always made by
 * the front's writer.
 *
 * How it fails: the request asks for what an engine cannot do, or its queue is full (at once), or
 * the engine gives up (a FAULT result). Releasing cancels the ticket: its place is free after the
 * engine's current step.
 */

static struct ps_engine_sampling sampling_of(const struct ps_prompt *prompt)
{
    struct ps_engine_sampling sampling = PS_ENGINE_SAMPLING_DEFAULT;
    if (prompt->temperature >= 0) {
        sampling.temperature = prompt->temperature;
    }
    if (prompt->top_p > 0) {
        sampling.top_p = prompt->top_p;
    }
    if (prompt->top_k >= 0) {
        sampling.top_k = (uint32_t)prompt->top_k;
    }
    if (prompt->min_p >= 0) {
        sampling.min_p = prompt->min_p;
    }
    sampling.frequency_penalty = prompt->frequency_penalty;
    sampling.presence_penalty = prompt->presence_penalty;
    sampling.seed = (uint64_t)prompt->seed;
    sampling.has_seed = prompt->has_seed;
    sampling.max_tokens = prompt->max_tokens > 0 ? (uint32_t)prompt->max_tokens : 0;
    sampling.logprobs = prompt->logprobs;
    sampling.top_logprobs = (uint32_t)prompt->top_logprobs;
    return sampling;
}

static int fill_request(struct ps_exchange *ex, const struct ps_prompt *prompt,
                        struct ps_engine_request *request, struct ps_fault *fault)
{
    const struct ps_config *config = ex->snapshot->config;
    *request = (struct ps_engine_request){
        .task = ex->spec.operation == PS_OP_EMBED          ? PS_ENGINE_EMBED
                : ex->spec.operation == PS_OP_COMPLETE     ? PS_ENGINE_COMPLETE
                : ex->spec.operation == PS_OP_COUNT_TOKENS ? PS_ENGINE_COUNT
                                                           : PS_ENGINE_CHAT,
        .message_count = prompt->message_count,
        .prompt = prompt->text,
        .inputs = prompt->inputs,
        .input_count = prompt->input_count,
        .sampling = sampling_of(prompt),
        .stops = prompt->stops,
        .stop_count = prompt->stop_count,
        .schema = prompt->schema,
        .tenant = ex->spec.identity.tenant,
        .priority = ex->spec.background ? PS_ENGINE_BATCH : PS_ENGINE_INTERACTIVE,
        .deadline_us = ex->run_us + config->limits.request_timeout * 1000,
        .wait_loading =
            ex->attempt.target->provider->config->while_loading == PS_WHILE_LOADING_WAIT,
        .arg = ex,
    };
    switch (prompt->format) {
    case PS_PROMPT_TEXT:
        request->grammar = PS_ENGINE_GRAMMAR_NONE;
        break;
    case PS_PROMPT_JSON_OBJECT:
        request->grammar = PS_ENGINE_GRAMMAR_JSON_OBJECT;
        break;
    case PS_PROMPT_JSON_SCHEMA:
        request->grammar = PS_ENGINE_GRAMMAR_JSON_SCHEMA;
        break;
    }
    struct ps_engine_message *messages =
        ps_arena_alloc(ex->arena, (prompt->message_count + 1) * sizeof(*messages));
    if (messages == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    for (size_t i = 0; i < prompt->message_count; i++) {
        messages[i] =
            (struct ps_engine_message){prompt->messages[i].role, prompt->messages[i].content};
    }
    request->messages = messages;
    return 0;
}

/* Only names from a table: nothing of the client's gets into a header. */
static struct ps_slice join_dropped(struct ps_exchange *ex, const struct ps_prompt *prompt)
{
    char text[512];
    size_t len = 0;
    for (size_t i = 0; i < prompt->dropped_count; i++) {
        struct ps_slice name = prompt->dropped[i];
        if (len + name.len + 2 <= sizeof(text)) {
            memcpy(text + len, ", ", len > 0 ? 2 : 0);
            len += len > 0 ? 2 : 0;
            memcpy(text + len, name.ptr, name.len);
            len += name.len;
        }
    }
    return len > 0 ? ps_arena_copy(ex->arena, ps_slice(text, len)) : PS_SLICE_NONE;
}

static bool plan(struct ps_exchange *ex, struct ps_translation *t)
{
    t->dialect = ex->dialect;
    return true;
}

static int translate(struct ps_translation *t)
{
    return ps_dialect_prompt(t->dialect, t->request, t->arena, &t->prompt, &t->fault);
}

static int start(struct ps_exchange *ex, const struct ps_translation *t, struct ps_fault *fault)
{
    struct ps_attempt *at = &ex->attempt;
    struct ps_engine_request request;
    ex->answer.raw = false;
    at->event_stream = ex->request.stream && ex->spec.operation != PS_OP_EMBED;
    if (fill_request(ex, &t->prompt, &request, fault) != 0) {
        return -1;
    }
    ex->dropped = join_dropped(ex, &t->prompt);
    at->port = ps_gateway_port(ex->gl, at->target->endpoint);
    if (at->port == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    at->ticket = ps_engine_submit(at->port, &request, fault);
    return at->ticket != 0 ? 0 : -1;
}

static void pause_ticket(struct ps_exchange *ex, bool paused)
{
    struct ps_attempt *at = &ex->attempt;
    if (at->ticket == 0) {
        return;
    }
    if (paused) {
        ps_engine_pause(at->port, at->ticket);
    } else {
        ps_engine_resume(at->port, at->ticket);
    }
}

static void release(struct ps_exchange *ex)
{
    struct ps_attempt *at = &ex->attempt;
    if (at->ticket != 0) {
        ps_engine_cancel(at->port, at->ticket);
        at->ticket = 0;
    }
    if (at->port != NULL) {
        ps_gateway_upstream_give(ex->gl, at->target->endpoint);
        at->port = NULL;
    }
}

const struct ps_backend ps_engine_backend = {
    .plan = plan,
    .translate = translate,
    .start = start,
    .transient = true, /* the engine has copied what it needs */
    .pause = pause_ticket,
    .release = release,
};

/* ---- results ---- */

static bool tell(struct ps_exchange *ex, const struct ps_event *event)
{
    return ps_attempt_event(ex, event);
}

static bool tell_logprob(struct ps_exchange *ex, const struct ps_engine_result *result)
{
    struct ps_event_logprob top[PS_ENGINE_TOP_LOGPROBS];
    struct ps_event event = {.kind = PS_EVENT_LOGPROBS};
    size_t count =
        result->top_count < PS_ENGINE_TOP_LOGPROBS ? result->top_count : PS_ENGINE_TOP_LOGPROBS;
    for (size_t i = 0; i < count; i++) {
        top[i] = (struct ps_event_logprob){result->top[i].token, result->top[i].logprob};
    }
    event.logprob = (struct ps_event_logprob){result->token.token, result->token.logprob};
    event.top = top;
    event.top_count = count;
    return tell(ex, &event);
}

static void tell_done(struct ps_exchange *ex, const struct ps_engine_result *result)
{
    bool stopped = result->finish == PS_ENGINE_FINISH_STOP;
    struct ps_event usage = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    usage.usage.input = result->usage.prompt_tokens;
    usage.usage.output = result->usage.completion_tokens;
    usage.usage.total = usage.usage.input + usage.usage.output;
    struct ps_event finish = {.kind = PS_EVENT_FINISH,
                              .finish = stopped ? PS_FINISH_STOP : PS_FINISH_LENGTH,
                              .finish_text =
                                  stopped ? PS_SLICE_LIT("stop") : PS_SLICE_LIT("length")};
    struct ps_event done = {.kind = PS_EVENT_DONE};
    bool embeds = ex->spec.operation == PS_OP_EMBED;
    if ((embeds || tell(ex, &finish)) && tell(ex, &usage) && tell(ex, &done)) {
        ps_attempt_won(ex);
    } else {
        ps_attempt_failed(ex, PS_VERDICT_NEUTRAL, &ex->attempt.fault);
    }
}

/* Nothing was generated: the count is all there is. */
static void tell_count(struct ps_exchange *ex, const struct ps_engine_result *result)
{
    struct ps_event usage = {.kind = PS_EVENT_USAGE, .usage = PS_USAGE_NONE};
    struct ps_event whole = {.kind = PS_EVENT_RESULT};
    struct ps_event done = {.kind = PS_EVENT_DONE};
    ex->attempt.state = PS_ATTEMPT_HOLDING;
    ex->attempt.status = 200;
    usage.usage.input = result->usage.prompt_tokens;
    if (tell(ex, &usage) && tell(ex, &whole) && tell(ex, &done)) {
        ps_attempt_won(ex);
    } else {
        ps_attempt_failed(ex, PS_VERDICT_NEUTRAL, &ex->attempt.fault);
    }
}

static void on_result(void *arg, const struct ps_engine_result *result)
{
    struct ps_exchange *ex = arg;
    struct ps_attempt *at = &ex->attempt;
    struct ps_event event = {.kind = PS_EVENT_START};
    bool ok = true;
    switch (result->kind) {
    case PS_ENGINE_STARTED:
        at->state = PS_ATTEMPT_HOLDING;
        at->status = 200;
        ex->queue_us = result->queue_us;
        ok = tell(ex, &event);
        break;
    case PS_ENGINE_TEXT:
        event.kind = PS_EVENT_TEXT;
        event.text = result->text;
        ok = tell(ex, &event);
        break;
    case PS_ENGINE_LOGPROB:
        ok = tell_logprob(ex, result);
        break;
    case PS_ENGINE_EMBEDDING:
        event.kind = PS_EVENT_EMBEDDING;
        event.index = result->index;
        event.vector = result->vector;
        event.dimensions = result->dimensions;
        ok = tell(ex, &event);
        break;
    case PS_ENGINE_DONE:
        at->ticket = 0;
        if (ex->spec.operation == PS_OP_COUNT_TOKENS) {
            tell_count(ex, result);
        } else {
            tell_done(ex, result);
        }
        break;
    case PS_ENGINE_FAULT: {
        struct ps_fault fault = *result->fault;
        at->ticket = 0;
        if (ex->state == PS_EXCHANGE_COMMITTED) {
            fault.kind = PS_FAULT_STREAM_INCOMPLETE;
        }
        ps_attempt_failed(ex, ps_attempt_verdict(&fault), &fault);
        break;
    }
    }
    if (!ok) {
        ps_engine_cancel(at->port, at->ticket);
        at->ticket = 0;
        ps_attempt_failed(ex, PS_VERDICT_NEUTRAL, &at->fault);
    }
}

const struct ps_engine_port_ops ps_engine_backend_ops = {on_result, NULL};
