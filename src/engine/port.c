/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "penstock/base/mem.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <string.h>

/*
 * The happy path: submit copies the request into a job and prepares it, at once or, when it is
 * long, on the offload pool; admitted, it is the engine thread's. Results are staged there during a
 * step, moved to `ready` under the port's lock at its end, and one message wakes the loop, which
 * takes all of them.
 *
 * How it fails: what is wrong with a request that is prepared here is submit's answer; else it is a
 * FAULT result, from here or from the engine thread. A cancelled ticket's slot is free at once and
 * has another generation: what is still on its way for it is dropped. When memory is too short to
 * keep results, all requests of the port end with NO_MEMORY.
 *
 * Closing: tickets go, a flag tells the engine thread, which answers with gone_mail when no step
 * refers to the port any more; jobs on the offload pool come home; then the mailbox closes and the
 * memory goes.
 */

#define PREPARE_ON_LOOP 4096 /* bytes; tokenising so much takes well under a millisecond */
#define SLOTS_MAX       65536

#define TICKET_SLOT(ticket) ((uint32_t)((ticket)&0xffff))

enum slot_state {
    SLOT_FREE,
    SLOT_LOADING,
    SLOT_LENT,
    SLOT_ADMITTED
};

struct ps_port_slot {
    enum slot_state state;
    uint32_t generation;
    uint32_t next_free;
    struct ps_job *job; /* LOADING and LENT */
    void *arg;
};

/* generation (32 bits), port (16), slot (16): unique within the engine. */
static ps_engine_ticket ticket_of(const struct ps_engine_port *port, uint32_t slot)
{
    return ((uint64_t)port->slots[slot].generation << 32) |
           ((uint64_t)(port->number & 0xffff) << 16) | slot;
}

static struct ps_port_slot *find_slot(struct ps_engine_port *port, ps_engine_ticket ticket)
{
    uint32_t slot = TICKET_SLOT(ticket);
    if (ticket == 0 || slot >= port->slot_count || port->slots[slot].state == SLOT_FREE ||
        ticket_of(port, slot) != ticket) {
        return NULL;
    }
    return &port->slots[slot];
}

static struct ps_port_slot *take_slot(struct ps_engine_port *port)
{
    if (port->free_slot == UINT32_MAX) {
        if (port->slot_count == port->slot_max) {
            uint32_t max = port->slot_max * 2 + 16;
            max = max > SLOTS_MAX ? SLOTS_MAX : max;
            struct ps_port_slot *more =
                max > port->slot_max ? ps_realloc(port->slots, max * sizeof(*more)) : NULL;
            if (more == NULL) {
                return NULL;
            }
            port->slots = more;
            port->slot_max = max;
        }
        port->slots[port->slot_count] =
            (struct ps_port_slot){.generation = 1, .next_free = UINT32_MAX};
        port->free_slot = port->slot_count++;
    }
    struct ps_port_slot *slot = &port->slots[port->free_slot];
    port->free_slot = slot->next_free;
    return slot;
}

static void free_slot(struct ps_engine_port *port, struct ps_port_slot *slot)
{
    slot->state = SLOT_FREE;
    slot->job = NULL;
    slot->arg = NULL;
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
    slot->next_free = port->free_slot;
    port->free_slot = (uint32_t)(slot - port->slots);
}

/* ---- results on the loop ---- */

static void give_fault(struct ps_engine_port *port, ps_engine_ticket ticket,
                       const struct ps_fault *fault)
{
    struct ps_port_slot *slot = find_slot(port, ticket);
    if (slot != NULL) {
        struct ps_engine_result result = {
            .kind = PS_ENGINE_FAULT, .ticket = ticket, .fault = fault, .stop_index = -1};
        void *arg = slot->arg;
        free_slot(port, slot);
        port->ops->on_result(arg, &result);
    }
}

static void read_tops(const struct ps_record *record, const char *body,
                      struct ps_engine_result *result, struct ps_engine_top *tops)
{
    /* The chosen token's text, then for each of the likeliest its head and text. */
    result->token = (struct ps_engine_top){ps_slice(body, record->text_len), record->logprob};
    body += record->text_len;
    for (uint32_t i = 0; i < record->count; i++) {
        struct ps_record_top head;
        memcpy(&head, body, sizeof(head));
        body += sizeof(head);
        tops[i] = (struct ps_engine_top){ps_slice(body, head.len), head.logprob};
        body += head.len;
    }
    result->top = tops;
    result->top_count = record->count;
}

static void give_record(struct ps_engine_port *port, const struct ps_record *record,
                        const char *body)
{
    struct ps_port_slot *slot = find_slot(port, record->ticket);
    if (slot == NULL) {
        return; /* cancelled meanwhile */
    }
    struct ps_engine_top tops[PS_ENGINE_TOP_LOGPROBS];
    struct ps_engine_result result = {
        .kind = (enum ps_engine_result_kind)record->kind,
        .ticket = record->ticket,
        .index = record->index,
        .finish = (enum ps_engine_finish)record->finish,
        .stop_index = record->stop_index,
        .usage = record->usage,
        .queue_us = record->queue_us,
        .prompt_us = record->prompt_us,
    };
    void *arg = slot->arg;
    if (result.kind == PS_ENGINE_FAULT) {
        struct ps_fault fault;
        memcpy(&fault, body, sizeof(fault));
        give_fault(port, record->ticket, &fault);
        return;
    }
    if (result.kind == PS_ENGINE_DONE) {
        free_slot(port, slot);
    } else if (result.kind == PS_ENGINE_TEXT) {
        result.text = ps_slice(body, record->text_len);
    } else if (result.kind == PS_ENGINE_LOGPROB) {
        read_tops(record, body, &result, tops);
    } else if (result.kind == PS_ENGINE_EMBEDDING) {
        result.vector = (const float *)(const void *)body; /* records are padded: aligned */
        result.dimensions = record->count;
    }
    port->ops->on_result(arg, &result);
}

static void fault_all(struct ps_engine_port *port)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_NO_MEMORY, NULL,
                       "The gateway is short of memory; try again later.");
    for (uint32_t i = 0; i < port->slot_count && !port->closing; i++) {
        if (port->slots[i].state == SLOT_ADMITTED) {
            ps_engine_ticket ticket = ticket_of(port, i);
            (void)ps_engine_command(port->engine, &(struct ps_command){PS_COMMAND_CANCEL, ticket});
            give_fault(port, ticket, &fault);
        }
    }
}

static void deliver_results(struct ps_message *message)
{
    struct ps_engine_port *port = PS_CONTAINER_OF(message, struct ps_engine_port, mail);
    struct ps_buf batch;
    (void)pthread_mutex_lock(&port->lock);
    batch = port->ready;
    ps_buf_init(&port->ready, PS_PORT_READY_MAX);
    bool lost = port->lost;
    port->lost = false;
    port->posted = false;
    (void)pthread_mutex_unlock(&port->lock);
    atomic_store(&port->backlog, 0);
    for (size_t at = 0; at < batch.len && !port->closing;) {
        struct ps_record record;
        memcpy(&record, batch.ptr + at, sizeof(record));
        give_record(port, &record, batch.ptr + at + sizeof(record));
        at += record.size;
    }
    /* The memory is kept for the next turn, unless the engine thread has taken new in the meantime.
     */
    ps_buf_reset(&batch);
    (void)pthread_mutex_lock(&port->lock);
    bool keep = port->ready.ptr == NULL && batch.cap <= 65536;
    if (keep) {
        port->ready = batch;
    }
    (void)pthread_mutex_unlock(&port->lock);
    if (!keep) {
        ps_buf_deinit(&batch);
    }
    if (lost) {
        fault_all(port);
    }
    /* The engine may have held the port's requests back for the backlog. */
    (void)pthread_mutex_lock(&port->engine->lock);
    (void)pthread_cond_signal(&port->engine->wake);
    (void)pthread_mutex_unlock(&port->engine->lock);
}

/* ---- preparing ---- */

static void drop_job(struct ps_engine_port *port, struct ps_job *job)
{
    ps_engine_discharge(port->engine, job);
    ps_job_free(job);
}

static int admit(struct ps_engine_port *port, struct ps_port_slot *slot, struct ps_job *job,
                 struct ps_fault *fault)
{
    slot->state = SLOT_ADMITTED;
    slot->job = NULL;
    if (ps_engine_admit(port->engine, job, fault) != 0) {
        drop_job(port, job);
        return -1;
    }
    return 0;
}

static void close_when_alone(struct ps_engine_port *port);

static void run_prepare(struct ps_work *work)
{
    struct ps_job *job = PS_CONTAINER_OF(work, struct ps_job, work);
    job->fault.kind = PS_FAULT_NONE;
    (void)ps_job_prepare(job, &job->fault);
}

/* The tokens are counted, and that is all: the job goes. */
static void give_count(struct ps_engine_port *port, struct ps_port_slot *slot, struct ps_job *job)
{
    struct ps_engine_result result = {
        .kind = PS_ENGINE_DONE,
        .ticket = job->ticket,
        .stop_index = -1,
        .usage = {.prompt_tokens = job->token_count},
    };
    void *arg = slot->arg;
    drop_job(port, job);
    free_slot(port, slot);
    port->ops->on_result(arg, &result);
}

static void done_prepare(struct ps_work *work)
{
    struct ps_job *job = PS_CONTAINER_OF(work, struct ps_job, work);
    struct ps_engine_port *port = job->port;
    struct ps_fault fault = job->fault;
    ps_engine_ticket ticket = job->ticket;
    port->lent--;
    if (job->dropped) {
        drop_job(port, job);
        close_when_alone(port);
        return;
    }
    struct ps_port_slot *slot = find_slot(port, ticket);
    assert(slot != NULL && slot->state == SLOT_LENT);
    if (fault.kind != PS_FAULT_NONE) {
        slot->job = NULL;
        drop_job(port, job);
    } else if (job->task == PS_ENGINE_COUNT) {
        give_count(port, slot, job);
        return;
    } else if (admit(port, slot, job, &fault) == 0) {
        return;
    }
    give_fault(port, ticket, &fault);
}

/* On the loop, or lent out when it is long. -1: the job is gone and the fault says why. */
static int begin(struct ps_engine_port *port, struct ps_port_slot *slot, struct ps_job *job,
                 struct ps_fault *fault)
{
    struct ps_pool *pool = port->engine->host->options.offload;
    bool counts = job->task == PS_ENGINE_COUNT; /* its result is the end of the work: never here */
    if (pool == NULL && counts) {
        drop_job(port, job);
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "This engine counts no tokens.");
    }
    if (pool != NULL &&
        (counts || job->bytes > PREPARE_ON_LOOP || job->grammar == PS_ENGINE_GRAMMAR_JSON_SCHEMA)) {
        job->work =
            (struct ps_work){.mailbox = &port->mailbox, .run = run_prepare, .done = done_prepare};
        slot->state = SLOT_LENT;
        slot->job = job;
        if (ps_pool_submit(pool, &job->work)) {
            port->lent++;
            return 0;
        }
        drop_job(port, job);
        (void)ps_fault_set(fault, PS_FAULT_QUEUE_FULL, NULL,
                           "Too many long prompts wait to be read; try again later.");
        fault->retry_after_ms = 1000;
        return -1;
    }
    if (ps_job_prepare(job, fault) != 0) {
        drop_job(port, job);
        return -1;
    }
    return admit(port, slot, job, fault);
}

/* ---- the state of the engine ---- */

static int check_state(struct ps_engine *engine, struct ps_fault *fault)
{
    enum ps_engine_state state = ps_engine_state(engine);
    if (state == PS_ENGINE_STOPPING || atomic_load(&engine->stopping)) {
        return ps_fault_set(fault, PS_FAULT_DRAINING, NULL, "The gateway is shutting down.");
    }
    if (state == PS_ENGINE_FAILED) {
        return ps_fault_set(fault, PS_FAULT_INTERNAL, NULL, "The local model could not be loaded.");
    }
    return 0;
}

/* What the model can do is known when it is loaded. */
static int check_ability(struct ps_engine *engine, enum ps_engine_task task, struct ps_fault *fault)
{
    if (task == PS_ENGINE_EMBED ? !engine->info.embeds : !engine->info.generates) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL, "This model does not %s.",
                            task == PS_ENGINE_EMBED ? "make embeddings" : "generate text");
    }
    if (ps_task_chats(task) && !engine->info.chats) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "This model has no chat template that is known; set chat_template in "
                            "the configuration.");
    }
    return 0;
}

static void begin_waiting(struct ps_engine_port *port)
{
    struct ps_link waiting;
    struct ps_link *link;
    ps_list_init(&waiting);
    ps_list_move(&port->loading, &waiting);
    /* A callback may cancel one that is still in the list: it unlinks itself. */
    while (!port->closing && (link = ps_list_pop(&waiting)) != NULL) {
        struct ps_job *job = PS_CONTAINER_OF(link, struct ps_job, link);
        ps_engine_ticket ticket = job->ticket;
        struct ps_port_slot *slot = find_slot(port, ticket);
        struct ps_fault fault;
        int rc = check_state(port->engine, &fault);
        if (rc == 0) {
            rc = check_ability(port->engine, job->task, &fault);
        }
        ps_engine_discharge(port->engine, job);
        if (rc != 0) {
            slot->job = NULL;
            ps_job_free(job);
        } else {
            rc = begin(port, slot, job, &fault);
        }
        if (rc != 0) {
            give_fault(port, ticket, &fault);
        }
    }
}

static void deliver_state(struct ps_message *message)
{
    struct ps_engine_port *port = PS_CONTAINER_OF(message, struct ps_engine_port, state_mail);
    (void)pthread_mutex_lock(&port->lock);
    port->state_posted = false;
    (void)pthread_mutex_unlock(&port->lock);
    if (port->closing) {
        return;
    }
    if (ps_engine_state(port->engine) != PS_ENGINE_LOADING) {
        begin_waiting(port);
    }
    if (!port->closing && port->ops->on_state != NULL) {
        port->ops->on_state(port->arg, ps_engine_state(port->engine));
    }
}

/* ---- opening and closing ---- */

static void deliver_gone(struct ps_message *message)
{
    struct ps_engine_port *port = PS_CONTAINER_OF(message, struct ps_engine_port, gone_mail);
    port->gone = true;
    close_when_alone(port);
}

struct ps_engine_port *ps_engine_port_open(struct ps_engine *engine, struct ps_loop *loop,
                                           const struct ps_engine_port_ops *ops, void *arg)
{
    struct ps_engine_port *port = ps_calloc(1, sizeof(*port));
    if (port == NULL || ps_mailbox_init(&port->mailbox, loop) != 0) {
        ps_free(port);
        return NULL;
    }
    port->engine = engine;
    port->loop = loop;
    port->ops = ops;
    port->arg = arg;
    port->free_slot = UINT32_MAX;
    ps_list_init(&port->loading);
    (void)pthread_mutex_init(&port->lock, NULL);
    ps_buf_init(&port->ready, PS_PORT_READY_MAX);
    ps_buf_init(&port->staged, PS_PORT_STAGED_MAX);
    port->mail.deliver = deliver_results;
    port->state_mail.deliver = deliver_state;
    port->gone_mail.deliver = deliver_gone;
    (void)pthread_mutex_lock(&engine->lock);
    port->number = engine->port_count++;
    ps_list_push_back(&engine->ports, &port->link);
    (void)pthread_mutex_unlock(&engine->lock);
    return port;
}

static void on_mailbox_closed(struct ps_mailbox *mailbox)
{
    struct ps_engine_port *port = PS_CONTAINER_OF(mailbox, struct ps_engine_port, mailbox);
    void (*on_closed)(void *arg) = port->on_closed;
    void *arg = port->closed_arg;
    (void)pthread_mutex_destroy(&port->lock);
    ps_buf_deinit(&port->ready);
    ps_buf_deinit(&port->staged);
    ps_free(port->slots);
    ps_free(port);
    if (on_closed != NULL) {
        on_closed(arg);
    }
}

static void close_when_alone(struct ps_engine_port *port)
{
    if (port->closing && port->gone && port->lent == 0) {
        ps_mailbox_close(&port->mailbox, on_mailbox_closed);
    }
}

void ps_engine_port_close(struct ps_engine_port *port, void (*on_closed)(void *arg), void *arg)
{
    if (port->closing) {
        return;
    }
    for (uint32_t i = 0; i < port->slot_count; i++) {
        if (port->slots[i].state != SLOT_FREE) {
            ps_engine_cancel(port, ticket_of(port, i));
        }
    }
    port->closing = true;
    port->on_closed = on_closed;
    port->closed_arg = arg;
    struct ps_engine *engine = port->engine;
    (void)pthread_mutex_lock(&engine->lock);
    port->close_wanted = true;
    engine->close_wanted = true;
    (void)pthread_cond_signal(&engine->wake);
    (void)pthread_mutex_unlock(&engine->lock);
}

/* ---- requests ---- */

static int bad(struct ps_fault *fault, const char *param, const char *expected)
{
    return ps_fault_set(fault, PS_FAULT_BAD_FIELD, param, "%s must be %s.", param, expected);
}

static int check_sampling(const struct ps_engine_sampling *s, struct ps_fault *fault)
{
    if (!(s->temperature >= 0 && s->temperature <= 100)) {
        return bad(fault, "temperature", "between 0 and 100");
    }
    if (!(s->top_p > 0 && s->top_p <= 1)) {
        return bad(fault, "top_p", "above 0 and at most 1");
    }
    if (!(s->min_p >= 0 && s->min_p < 1)) {
        return bad(fault, "min_p", "at least 0 and below 1");
    }
    if (!(fabs(s->frequency_penalty) <= 2)) {
        return bad(fault, "frequency_penalty", "between -2 and 2");
    }
    if (!(fabs(s->presence_penalty) <= 2)) {
        return bad(fault, "presence_penalty", "between -2 and 2");
    }
    if (s->top_logprobs > PS_ENGINE_TOP_LOGPROBS) {
        return bad(fault, "top_logprobs", "at most 20");
    }
    return 0;
}

static bool is_role(struct ps_slice role)
{
    for (size_t i = 0; i < role.len; i++) {
        if (!isalnum((unsigned char)role.ptr[i]) && role.ptr[i] != '_' && role.ptr[i] != '-') {
            return false;
        }
    }
    return role.len > 0 && role.len <= 32;
}

static int check_texts(const struct ps_engine_request *request, struct ps_fault *fault)
{
    if (ps_task_chats(request->task) && request->message_count == 0) {
        return bad(fault, "messages", "at least one message");
    }
    for (size_t i = 0; ps_task_chats(request->task) && i < request->message_count; i++) {
        struct ps_slice content = request->messages[i].content;
        if (!is_role(request->messages[i].role)) {
            return bad(fault, "role", "a word of letters");
        }
        if (content.len > 0 && memchr(content.ptr, '\0', content.len) != NULL) {
            return bad(fault, "messages", "without NUL characters");
        }
    }
    if (request->task == PS_ENGINE_EMBED &&
        (request->input_count == 0 || request->input_count > PS_ENGINE_INPUTS)) {
        return bad(fault, "input", "1 to 256 texts");
    }
    return 0;
}

static int check_request(const struct ps_engine_request *request, struct ps_fault *fault)
{
    if (request->stop_count > PS_ENGINE_STOPS) {
        return bad(fault, "stop", "at most 16 texts");
    }
    for (size_t i = 0; i < request->stop_count; i++) {
        if (request->stops[i].len == 0 || request->stops[i].len > PS_ENGINE_STOP_BYTES) {
            return bad(fault, "stop", "texts of 1 to 256 bytes");
        }
    }
    if (check_texts(request, fault) != 0) {
        return -1;
    }
    return request->task == PS_ENGINE_EMBED ? 0 : check_sampling(&request->sampling, fault);
}

/* Waits for the load in the port's list, within the same limits as in the queue. */
static int wait_for_load(struct ps_engine_port *port, struct ps_port_slot *slot, struct ps_job *job,
                         bool may_wait, struct ps_fault *fault)
{
    struct ps_engine_host *host = port->engine->host;
    if (!may_wait) {
        ps_job_free(job);
        (void)ps_fault_set(fault, PS_FAULT_LOADING, NULL,
                           "The model is still loading; try again in a moment.");
        fault->retry_after_ms = 1000;
        return -1;
    }
    unsigned waiting = atomic_fetch_add(&host->waiting, 1);
    job->charged = true;
    if (waiting >= host->options.queue) {
        drop_job(port, job);
        (void)ps_fault_set(fault, PS_FAULT_QUEUE_FULL, NULL,
                           "The queue of the local model is full; try again later.");
        fault->retry_after_ms = 1000;
        return -1;
    }
    slot->state = SLOT_LOADING;
    slot->job = job;
    ps_list_push_back(&port->loading, &job->link);
    return 0;
}

ps_engine_ticket ps_engine_submit(struct ps_engine_port *port,
                                  const struct ps_engine_request *request, struct ps_fault *fault)
{
    enum ps_engine_state state = ps_engine_state(port->engine);
    if (check_state(port->engine, fault) != 0 || check_request(request, fault) != 0 ||
        (state == PS_ENGINE_READY && (check_ability(port->engine, request->task, fault) != 0 ||
                                      ps_job_check_size(port->engine, request, fault) != 0))) {
        return 0;
    }
    struct ps_port_slot *slot = port->closing ? NULL : take_slot(port);
    struct ps_job *job = slot != NULL ? ps_job_new(port, request) : NULL;
    if (job == NULL) {
        if (slot != NULL) {
            free_slot(port, slot);
        }
        (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory; try again later.");
        return 0;
    }
    slot->state = SLOT_ADMITTED;
    slot->arg = request->arg;
    ps_engine_ticket ticket = ticket_of(port, (uint32_t)(slot - port->slots));
    job->ticket = ticket;
    int rc = state == PS_ENGINE_LOADING
                 ? wait_for_load(port, slot, job, request->wait_loading, fault)
                 : begin(port, slot, job, fault);
    if (rc != 0) {
        free_slot(port, slot);
        return 0;
    }
    return ticket;
}

void ps_engine_cancel(struct ps_engine_port *port, ps_engine_ticket ticket)
{
    struct ps_port_slot *slot = find_slot(port, ticket);
    if (slot == NULL) {
        return;
    }
    if (slot->state == SLOT_LOADING) {
        ps_list_remove(&slot->job->link);
        drop_job(port, slot->job);
    } else if (slot->state == SLOT_LENT) {
        slot->job->dropped = true;
    } else {
        /* When memory is too short for the command the request runs on, and what it says is
         * dropped. */
        (void)ps_engine_command(port->engine, &(struct ps_command){PS_COMMAND_CANCEL, ticket});
    }
    free_slot(port, slot);
}

static void command_admitted(struct ps_engine_port *port, ps_engine_ticket ticket,
                             enum ps_command_kind kind)
{
    struct ps_port_slot *slot = find_slot(port, ticket);
    if (slot != NULL && slot->state == SLOT_ADMITTED) {
        (void)ps_engine_command(port->engine, &(struct ps_command){kind, ticket});
    }
}

void ps_engine_pause(struct ps_engine_port *port, ps_engine_ticket ticket)
{
    command_admitted(port, ticket, PS_COMMAND_PAUSE);
}

void ps_engine_resume(struct ps_engine_port *port, ps_engine_ticket ticket)
{
    command_admitted(port, ticket, PS_COMMAND_RESUME);
}
