/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_PRIV_H
#define PENSTOCK_ENGINE_PRIV_H

#include "queue.h"

#include "penstock/base/buf.h"
#include "penstock/base/list.h"
#include "penstock/engine/engine.h"
#include "penstock/net/mailbox.h"

#include <pthread.h>
#include <stdatomic.h>

/*
 * Inside the room. A job is a request on its way: it belongs to its port while it is prepared (on
 * the loop, or lent to the offload pool) or waits for the load, then to the engine thread, until
 * its end is in the port's mail. What crosses between the two threads: jobs and commands through
 * the engine's inbox, results through the port's outbox; both under short locks that are never held
 * while something is computed.
 */

#define PS_ENGINE_MAX_SLOTS 256

/* ---- the model behind an engine: llama.cpp's, or the double's ---- */

struct ps_batch {
    uint32_t count;
    uint32_t max;
    int32_t *token;
    int32_t *position;
    int32_t *sequence;
    int8_t *output; /* its logits are wanted */
    int32_t *ones;  /* for llama.cpp: as many 1s, and pointers into sequence */
    int32_t **sequences;
};

enum ps_decode_rc {
    PS_DECODED = 0,
    PS_DECODE_FULL = 1,
    PS_DECODE_ABORTED = 2
}; /* negative: failed */

struct ps_model;

struct ps_model_options {
    const struct ps_engine_options *engine;
    struct ps_engine_host *host;
    uint32_t batch;                          /* tokens of a step at most */
    bool (*progress)(float part, void *arg); /* false: give up */
    bool (*aborted)(void *arg);              /* asked while it computes */
    void *arg;
};

struct ps_model_ops {
    const char *kind;
    /* What can be seen at once; 0, or -1 with the fault. May be NULL. */
    int (*check)(const struct ps_engine_options *options, struct ps_fault *fault);
    /* On the engine's thread. Fills `info`. NULL with the fault. */
    struct ps_model *(*load)(const struct ps_model_options *options, struct ps_engine_info *info,
                             struct ps_fault *fault);
    void (*free)(struct ps_model *model);

    /* Any thread. */
    /* Tokens needed, at most `max` are written; -1 on failure. `trusted`: control tokens are
     * recognised. */
    int64_t (*tokenise)(struct ps_model *model, struct ps_slice text, bool begin, bool trusted,
                        int32_t *ret, size_t max);
    /* Whether the text holds what a trusted tokenisation would take for a control token. */
    bool (*has_control)(struct ps_model *model, struct ps_slice text);
    /* The conversation as text, up to where the assistant begins. 0, or -1 (no template knows it).
     * NUL-free. */
    int (*render)(struct ps_model *model, const char *const *roles, const char *const *contents,
                  size_t count, struct ps_buf *ret);

    /* The engine's thread. */
    size_t (*piece)(struct ps_model *model, int32_t token, char *ret, size_t max);
    bool (*ends)(struct ps_model *model, int32_t token);
    int (*decode)(struct ps_model *model, const struct ps_batch *batch);
    const float *(*logits)(struct ps_model *model, uint32_t index);
    void (*forget)(struct ps_model *model, int32_t sequence, int32_t from);
    int32_t (*next)(struct ps_model *model, int32_t sequence);
    /* One batch of whole inputs, each its own sequence from 0, position 0; the memory is fresh each
     * time. */
    int (*embed)(struct ps_model *model, const struct ps_batch *batch);
    const float *(*vector)(struct ps_model *model, int32_t sequence);
    uint32_t (*embed_batch)(struct ps_model *model,
                            uint32_t *ret_sequences); /* tokens of one such batch */

    /* Grammars; NULL members: none. */
    void *(*grammar_new)(struct ps_model *model, const char *gbnf);
    void (*grammar_free)(void *grammar);
    int (*grammar_accept)(void *grammar, int32_t token);
    int (*grammar_mask)(void *grammar, int32_t *tokens, float *logits, size_t count);
};

struct ps_model {
    const struct ps_model_ops *ops;
};

extern const struct ps_model_ops ps_model_double;
extern const struct ps_model_ops ps_model_llama; /* only where PENSTOCK_HAVE_LLAMA */

/* ---- the host ---- */

struct ps_engine_host {
    struct ps_engine_host_options options; /* resolved */
    atomic_uint waiting;
    atomic_uint_fast64_t waiting_tokens;
    atomic_uint_fast64_t memory;
    pthread_mutex_t lock;
    /* Engines load one at a time, in the order they were made: a later one cannot take the memory
     * that an earlier one counts on. */
    pthread_mutex_t loading; /* guards the three below, never held during a load */
    pthread_cond_t load_over;
    uint64_t next_load;  /* under loading */
    uint64_t loads_over; /* under loading */
    pthread_cond_t turn_over;
    uint64_t next_turn;    /* under lock */
    uint64_t current_turn; /* under lock */
    void *pool;            /* under lock; ggml's threads, made by the first llama engine */
    void (*pool_free)(void *pool);
};
/* One decode at a time, in the order asked. */
void ps_host_take_turn(struct ps_engine_host *host);
void ps_host_give_turn(struct ps_engine_host *host);
/* True when the memory fits under the cap; then it counts until given back. */
bool ps_host_take_memory(struct ps_engine_host *host, uint64_t bytes);
void ps_host_give_memory(struct ps_engine_host *host, uint64_t bytes);

/* ---- jobs ---- */

enum ps_job_place {
    PS_JOB_WAITS_LOAD, /* in port->loading */
    PS_JOB_PREPARING,  /* lent to the offload pool */
    PS_JOB_ADMITTED,   /* the engine thread's */
};

struct ps_input {
    uint32_t start; /* in job->tokens */
    uint32_t count;
};

struct ps_job {
    struct ps_queued queued;     /* in the engine's queue: tenant, deadline, priority, tokens */
    struct ps_link link;         /* in a port's `loading`, or in the inbox */
    struct ps_engine_port *port; /* borrowed: stays until it is closed on both sides */
    struct ps_engine *engine;    /* borrowed */
    ps_engine_ticket ticket;
    enum ps_engine_task task;
    struct ps_engine_sampling sampling;
    enum ps_engine_grammar grammar;
    int64_t submit_us;
    bool charged; /* counted in the host's waiting */
    uint32_t charged_tokens;
    bool paused;  /* while it waits: engine thread */
    bool dropped; /* cancelled while it was lent out: loop thread */
    /* as submitted; all slices point into `memory` */
    void *memory; /* owned */
    const char **roles;
    const char **contents;
    size_t message_count;
    struct ps_slice *texts; /* the prompt, or the inputs */
    size_t text_count;
    struct ps_slice *stops;
    size_t stop_count;
    struct ps_slice schema;
    size_t bytes; /* of all texts */
    /* prepared */
    int32_t *tokens; /* owned */
    uint32_t token_count;
    struct ps_input *inputs; /* owned; EMBED: one per text */
    char *gbnf;              /* owned; NULL: no grammar */
    /* on the offload pool */
    struct ps_work work;
    struct ps_fault fault; /* what preparing said */
};
/* Whether it can fit at all, by its bytes; in state READY. 0 or -1 with the fault. */
int ps_job_check_size(struct ps_engine *engine, const struct ps_engine_request *request,
                      struct ps_fault *fault);
/* Whether it has messages, for the model's template. */
static inline bool ps_task_chats(enum ps_engine_task task)
{
    return task == PS_ENGINE_CHAT || task == PS_ENGINE_COUNT;
}

/* Copies the request. NULL when memory is short. */
struct ps_job *ps_job_new(struct ps_engine_port *port, const struct ps_engine_request *request)
    __attribute__((warn_unused_result));
void ps_job_free(struct ps_job *job);
/* Template, tokens, grammar. Any one thread. 0 or -1 with the fault. */
int ps_job_prepare(struct ps_job *job, struct ps_fault *fault);

/* ---- an engine ---- */

enum ps_command_kind {
    PS_COMMAND_CANCEL,
    PS_COMMAND_PAUSE,
    PS_COMMAND_RESUME
};

struct ps_command {
    enum ps_command_kind kind;
    ps_engine_ticket ticket;
};

struct ps_engine {
    struct ps_engine_host *host; /* borrowed */
    const struct ps_model_ops *model_ops;
    struct ps_engine_options options; /* strings owned */
    struct ps_model *model;           /* owned; set before READY */
    struct ps_engine_info info;
    atomic_int state;
    atomic_uint progress; /* 0-100 */
    atomic_bool stopping;
    atomic_bool abort; /* nobody wants what is being computed */
    uint64_t load_turn;
    pthread_t thread;
    int64_t next_progress_us; /* engine thread: of a line in the log */

    pthread_mutex_t lock;
    pthread_cond_t wake;         /* the engine thread sleeps here */
    pthread_cond_t loaded;       /* state is no longer LOADING */
    struct ps_link inbox;        /* under lock: jobs */
    struct ps_command *commands; /* under lock; owned */
    size_t command_count;
    size_t command_max;
    struct ps_link ports; /* under lock */
    uint32_t port_count;  /* under lock; numbers ports */
    bool close_wanted;    /* under lock: by some port */
    uint32_t in_flight;   /* under lock: admitted, not ended */
    ps_engine_ticket
        batch[PS_ENGINE_MAX_SLOTS]; /* under lock: in the decode that runs; 0: wanted no more */
    uint32_t batch_count;
    uint32_t batch_live;
    bool decoding;                /* under lock */
    struct ps_fault failure;      /* under lock; kind NONE unless FAILED */
    struct ps_engine_stats stats; /* under lock */
};

/* The engine thread (run.c). */
void *ps_engine_run(void *engine);

/* ---- ports ---- */

struct ps_engine_port {
    struct ps_link link;      /* in engine->ports, under the engine's lock */
    struct ps_engine *engine; /* borrowed */
    struct ps_loop *loop;     /* borrowed */
    const struct ps_engine_port_ops *ops;
    void *arg;
    struct ps_mailbox mailbox;
    uint32_t number;
    bool close_wanted; /* under the engine's lock */
    /* loop thread */
    struct ps_port_slot *slots; /* owned */
    uint32_t slot_count;
    uint32_t slot_max;
    uint32_t free_slot;     /* head of the free list; UINT32_MAX: none */
    struct ps_link loading; /* jobs that wait for the load */
    uint32_t lent;          /* jobs on the offload pool */
    bool closing;
    bool gone; /* the engine has let go */
    void (*on_closed)(void *arg);
    void *closed_arg;
    /* both threads */
    pthread_mutex_t lock;
    struct ps_buf ready; /* under lock: results that wait for the loop */
    bool posted;         /* under lock: `mail` is on its way */
    bool lost;           /* under lock: results could not be kept, memory was short */
    struct ps_message mail;
    struct ps_message state_mail; /* posted by the engine thread */
    bool state_posted;            /* under lock */
    struct ps_message gone_mail;
    /* engine thread */
    struct ps_buf staged;  /* results of this step */
    atomic_size_t backlog; /* bytes in `ready` */
};

#define PS_PORT_STAGED_MAX  (64u << 20)
#define PS_PORT_READY_MAX   (64u << 20)
#define PS_PORT_BACKLOG_MAX (4u << 20) /* above this its requests are not computed further */

/* A result as it travels; behind it the text, the vector, or the tops with their texts; padded to 8
 * bytes. */
struct ps_record {
    uint32_t size; /* all of it */
    uint32_t kind; /* enum ps_engine_result_kind */
    ps_engine_ticket ticket;
    uint32_t text_len;
    uint32_t count; /* of tops or of floats */
    uint32_t index;
    int32_t finish;
    int32_t stop_index;
    float logprob;
    struct ps_engine_usage usage;
    int64_t queue_us;
    int64_t prompt_us;
};
struct ps_record_top {
    uint32_t len;
    float logprob;
};

/* The engine thread: results are staged, and posted together at the end of a step. */
void ps_port_stage(struct ps_engine_port *port, const struct ps_record *head, struct ps_slice body);
void ps_port_stage_fault(struct ps_engine_port *port, ps_engine_ticket ticket,
                         const struct ps_fault *fault);
void ps_port_flush(struct ps_engine_port *port);
void ps_port_tell_state(struct ps_engine_port *port);
void ps_port_tell_gone(struct ps_engine_port *port);
/* Loop thread: takes a prepared job's charge, or gives it back. */
int ps_engine_admit(struct ps_engine *engine, struct ps_job *job, struct ps_fault *fault);
void ps_engine_discharge(struct ps_engine *engine, struct ps_job *job);
/* Any thread. false when memory is short. */
bool ps_engine_command(struct ps_engine *engine, const struct ps_command *command);
/* How long until a place in the queue may be free. */
int64_t ps_engine_retry_after_ms(struct ps_engine *engine);

#endif
