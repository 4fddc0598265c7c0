/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_ENGINE_H
#define PENSTOCK_ENGINE_ENGINE_H

#include "penstock/base/fault.h"
#include "penstock/base/slice.h"
#include "penstock/net/loop.h"
#include "penstock/net/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Inference inside the process. Three things:
 *
 *   host    one per process: what all models share (compute threads and their turns, the limits of
 *           what may wait, the cap on memory, the pool that tokenises long prompts)
 *   engine  one loaded model; a thread of its own runs all its requests together, one batch a step
 *   port    one per engine and event loop: requests go in here, results come out here
 *
 * A request is a ticket at its port. It ends with exactly one DONE or FAULT result, or with
 * ps_engine_cancel, after which nothing more is said about it. Everything a request refers to is
 * copied at submit; results carry values and bytes that live until the callback returns. No pointer
 * is shared between an engine and a loop, so that an engine may live in another process.
 *
 * This room knows nothing of HTTP and of anybody's JSON: it takes messages and gives text.
 */
struct ps_engine_host;
struct ps_engine;
struct ps_engine_port;

struct ps_engine_host_options {
    unsigned
        compute_threads;   /* of all engines together, the engine thread at work counted; 0: auto */
    unsigned event_loops;  /* for auto: usable cores − event_loops, at least 1 */
    uint32_t queue;        /* requests that may wait, of all engines together */
    uint32_t queue_tokens; /* and their prompt tokens */
    uint64_t model_memory; /* cap on weights, KV and buffers of all engines; 0: none */
    struct ps_pool
        *offload; /* borrowed, outlives the host; NULL: prompts are prepared on the loop */
};
/* NULL when memory is short. */
struct ps_engine_host *ps_engine_host_new(const struct ps_engine_host_options *options)
    __attribute__((warn_unused_result));
/* After the last engine has been unloaded. NULL is allowed. */
void ps_engine_host_free(struct ps_engine_host *host);
/* As in force, 0 resolved. */
unsigned ps_engine_host_threads(const struct ps_engine_host *host);

/* Whether this build has an engine of that kind ("llama", "double"). */
bool ps_engine_has(const char *kind);
/* "llama.cpp 0.5.0 (x64 haswell icelake)", "none": for `penstock version`. */
const char *ps_engine_library(void);

struct ps_engine_options {
    const char *name;        /* of the provider; for the log and messages */
    const char *kind;        /* "llama" or "double" */
    const char *model_path;  /* "builtin" (embedded in the binary) or a GGUF file */
    uint32_t context_tokens; /* one request may use: prompt and answer */
    uint32_t slots;          /* requests that run at once, 1-256 */
    int32_t gpu_layers;      /* handed on; -1: all */
    const char
        *chat_template; /* NULL: the model's own. A template's text, or the name of a known one */
    bool embeddings;    /* make room for a second context that embeds */
};

enum ps_engine_state {
    PS_ENGINE_LOADING,
    PS_ENGINE_READY,
    PS_ENGINE_FAILED, /* for good: ps_engine_failure says why */
    PS_ENGINE_STOPPING,
};

/*
 * Starts the engine's thread, which loads the model; returns at once, in state LOADING. What can be
 * seen without loading (kind, ranges, whether the file is there and a GGUF of a version we know) is
 * checked before: NULL then, with a sentence in `fault` and the name of the option at fault in
 * fault->param ("model_path", "slots", …). Reads a few bytes of a file: not on a loop.
 */
struct ps_engine *ps_engine_load(struct ps_engine_host *host,
                                 const struct ps_engine_options *options, struct ps_fault *fault)
    __attribute__((warn_unused_result));
/* Any thread; returns at once: the load is aborted, what waits or runs ends with PS_FAULT_DRAINING.
 */
void ps_engine_stop(struct ps_engine *engine);
/* Stops it, waits for its thread (a step, at most) and frees everything. All ports are closed; not
 * on a loop. NULL is allowed. */
void ps_engine_unload(struct ps_engine *engine);

/* Any thread, for the three. */
enum ps_engine_state ps_engine_state(const struct ps_engine *engine);
/* Of the load, 0-100. */
unsigned ps_engine_progress(const struct ps_engine *engine);
/* In state FAILED: why, one sentence that names no secret; fault->param as above. Else kind is
 * NONE. */
void ps_engine_failure(const struct ps_engine *engine, struct ps_fault *ret_fault);
/* Waits for LOADING to be over, at most so long. For start-up and tests: not on a loop. */
enum ps_engine_state ps_engine_wait(struct ps_engine *engine, int64_t timeout_us);

/* What it is. Valid in state READY and after; zeros before. Lives as long as the engine. */
struct ps_engine_info {
    char name[96];        /* the model's own name, or its file's */
    char description[96]; /* architecture, size, type of weights */
    uint64_t parameters;
    uint64_t weight_bytes;
    uint64_t kv_bytes;       /* of all slots */
    uint64_t compute_bytes;  /* scratch buffers, estimated */
    uint32_t context_tokens; /* as in force: never more than the model was trained for */
    uint32_t slots;
    uint32_t vocabulary;
    uint32_t dimensions; /* of an embedding */
    bool chats;          /* a chat template is known */
    bool generates;
    bool embeds;
};
const struct ps_engine_info *ps_engine_info(const struct ps_engine *engine);

struct ps_engine_stats {
    uint64_t requests; /* ended, in any way */
    uint64_t cancelled;
    uint64_t faults;
    uint64_t prompt_tokens; /* computed */
    uint64_t generated_tokens;
    uint64_t steps;
    uint64_t busy_us; /* time in decode */
    uint32_t queued;
    uint32_t queued_tokens;
    uint32_t running; /* paused ones among them */
    uint32_t paused;
    uint32_t tokens_per_second; /* measured over the last seconds of work; 0: not known yet */
};
void ps_engine_stats(const struct ps_engine *engine, struct ps_engine_stats *ret_stats);

/* How many tokens `text` is, for count_tokens. Any thread; READY only. -1 with a fault. */
int64_t ps_engine_count_tokens(struct ps_engine *engine, struct ps_slice text,
                               struct ps_fault *fault);

/* ---- requests ---- */

enum ps_engine_task {
    PS_ENGINE_CHAT,     /* messages, through the chat template */
    PS_ENGINE_COMPLETE, /* prompt as it is */
    PS_ENGINE_EMBED,    /* inputs, one vector each */
    PS_ENGINE_COUNT,    /* messages as with CHAT, but nothing is computed: DONE alone comes, with
                           usage.prompt_tokens; waits in no queue */
};

struct ps_engine_message {
    struct ps_slice role; /* "system", "user", "assistant", …; the template decides */
    struct ps_slice content;
};

enum ps_engine_grammar {
    PS_ENGINE_GRAMMAR_NONE,
    PS_ENGINE_GRAMMAR_JSON_OBJECT,
    /* a JSON schema; the subset is in docs/local-models.md, what is outside it is BAD_FIELD */
    PS_ENGINE_GRAMMAR_JSON_SCHEMA,
};

#define PS_ENGINE_STOPS        16  /* stop strings */
#define PS_ENGINE_STOP_BYTES   256 /* of one */
#define PS_ENGINE_TOP_LOGPROBS 20
#define PS_ENGINE_INPUTS       256 /* to embed in one request */

struct ps_engine_sampling {
    double temperature;       /* 0: the likeliest token */
    double top_p;             /* (0, 1] */
    uint32_t top_k;           /* 0: off */
    double min_p;             /* [0, 1) */
    double frequency_penalty; /* -2 … 2 */
    double presence_penalty;
    uint64_t seed;
    bool has_seed;       /* else drawn at random */
    uint32_t max_tokens; /* 0: as many as the context has room for */
    bool logprobs;
    uint32_t top_logprobs; /* 0 … PS_ENGINE_TOP_LOGPROBS */
};
#define PS_ENGINE_SAMPLING_DEFAULT                                                                 \
    ((struct ps_engine_sampling){.temperature = 0.8, .top_p = 0.95, .top_k = 40})

enum ps_engine_priority {
    PS_ENGINE_INTERACTIVE,
    PS_ENGINE_BATCH
};

struct ps_engine_request {
    enum ps_engine_task task;
    const struct ps_engine_message *messages; /* CHAT */
    size_t message_count;
    struct ps_slice prompt;        /* COMPLETE */
    const struct ps_slice *inputs; /* EMBED */
    size_t input_count;
    struct ps_engine_sampling sampling;
    const struct ps_slice *stops; /* at most PS_ENGINE_STOPS, none empty */
    size_t stop_count;
    enum ps_engine_grammar grammar;
    struct ps_slice schema;           /* JSON text, for JSON_SCHEMA */
    struct ps_slice tenant;           /* whose turn it is; "" is one too */
    enum ps_engine_priority priority; /* batch requests run when no interactive one waits */
    int64_t deadline_us; /* ps_clock_us; still waiting then: PS_FAULT_QUEUE_FULL. 0: none */
    bool wait_loading;   /* in state LOADING: wait; else PS_FAULT_LOADING */
    void *arg;           /* comes back in every result; the engine never looks at it */
};

/* Names a request at its port. Never 0; not used again for a long time. */
typedef uint64_t ps_engine_ticket;

enum ps_engine_result_kind {
    PS_ENGINE_STARTED,   /* left the queue: queue_us, usage.prompt_tokens */
    PS_ENGINE_TEXT,      /* text: whole characters of valid UTF-8 */
    PS_ENGINE_LOGPROB,   /* one token of the answer; before the TEXT that has its last byte */
    PS_ENGINE_EMBEDDING, /* index, vector: one per input, in order */
    PS_ENGINE_DONE,      /* finish, usage */
    PS_ENGINE_FAULT,     /* fault */
};

enum ps_engine_finish {
    PS_ENGINE_FINISH_STOP,   /* the model ended, or a stop string came */
    PS_ENGINE_FINISH_LENGTH, /* max_tokens, or no room in the context */
};

struct ps_engine_top {
    struct ps_slice token; /* raw bytes, may be part of a character */
    float logprob;
};

struct ps_engine_usage {
    uint32_t prompt_tokens;
    uint32_t completion_tokens;
};

struct ps_engine_result {
    enum ps_engine_result_kind kind;
    ps_engine_ticket ticket;
    struct ps_slice text;            /* TEXT */
    struct ps_engine_top token;      /* LOGPROB: the chosen one */
    const struct ps_engine_top *top; /* LOGPROB: the likeliest, best first */
    size_t top_count;
    uint32_t index;      /* EMBEDDING */
    const float *vector; /* EMBEDDING: of length one */
    size_t dimensions;
    enum ps_engine_finish finish; /* DONE */
    int stop_index;               /* DONE: which stop string it was; -1: none */
    struct ps_engine_usage usage; /* STARTED, DONE */
    int64_t queue_us;             /* STARTED, DONE: from submit until it ran */
    int64_t prompt_us;            /* DONE: from then until its first token */
    const struct ps_fault *fault; /* FAULT: what the client may be told */
};

struct ps_engine_port_ops {
    /* In order, on the loop's thread, all that came since the last wake-up; `arg` is the request's.
     * May submit, cancel, pause, resume and close the port. */
    void (*on_result)(void *arg, const struct ps_engine_result *result);
    /* The engine's state has changed; `arg` is the port's. May be NULL. */
    void (*on_state)(void *arg, enum ps_engine_state state);
};

/* Loop thread, all below. NULL when memory is short. An open port keeps its loop running. */
struct ps_engine_port *ps_engine_port_open(struct ps_engine *engine, struct ps_loop *loop,
                                           const struct ps_engine_port_ops *ops, void *arg)
    __attribute__((warn_unused_result));
/*
 * Cancels all its requests; no ops afterwards. The memory goes when the engine has let go of it (a
 * step at most): then on_closed (may be NULL) runs on the loop, and the engine may be unloaded.
 */
void ps_engine_port_close(struct ps_engine_port *port, void (*on_closed)(void *arg), void *arg);

/*
 * Hands a request in. Its ticket, or 0 with the reason in `fault`: LOADING, QUEUE_FULL
 * (retry_after_ms from the measured speed), CONTEXT_LENGTH, BAD_FIELD (param says which),
 * UNSUPPORTED_OPERATION (no chat template, no embeddings), NO_MEMORY, INTERNAL (the model failed to
 * load), DRAINING. Never calls back. A long prompt is tokenised on the offload pool: what is wrong
 * with it then comes as a FAULT result.
 */
ps_engine_ticket ps_engine_submit(struct ps_engine_port *port,
                                  const struct ps_engine_request *request, struct ps_fault *fault)
    __attribute__((warn_unused_result));
/* No result of it comes any more. Its place is free after the current step. Legal at any time, also
 * for a ticket that has ended. */
void ps_engine_cancel(struct ps_engine_port *port, ps_engine_ticket ticket);
/*
 * Its reader is slow: no more tokens are computed for it until it is resumed; what is on its way
 * still comes. It keeps its slot; after PS_ENGINE_PAUSE_MAX_US it ends with PS_FAULT_CLIENT_SLOW.
 */
#define PS_ENGINE_PAUSE_MAX_US INT64_C(60000000)
void ps_engine_pause(struct ps_engine_port *port, ps_engine_ticket ticket);
void ps_engine_resume(struct ps_engine_port *port, ps_engine_ticket ticket);

#endif
