/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_JOBS_PRIV_H
#define PENSTOCK_JOBS_PRIV_H

#include "hook_priv.h"
#include "pace.h"

#include "penstock/base/arena.h"
#include "penstock/base/buf.h"
#include "penstock/base/json_scan.h"
#include "penstock/gateway/exchange.h"
#include "penstock/jobs/jobs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Shared by the files of this room.
 *
 *   runner.c    struct ps_jobs: the pump, which decides; start and end
 *   asks.c      what the store is asked
 *   run.c       struct ps_run: one claim, from the store and back to it
 *   front.c     its exchange and the answer
 *   policy.c    what an answer means for the job; pace.c: how many at once a model bears
 *   desk.c      struct ps_desk: a batch that is validated or finished on the pool
 *   validate.c, finish.c
 *   hub.c       who watches a job or batch
 *   report.c    log and metrics
 *
 * All on loop 0 but for the steps of desks, which run on the pool, and the hub.
 */

#define PS_JOBS_INLINE     PS_STORE_INLINE_BYTES
#define PS_JOBS_CLAIMS_MAX 512 /* claimed and not started */
#define PS_JOBS_BUCKETS    256
#define PS_JOBS_SEEN       64
#define PS_JOBS_DESKS      2 /* of each kind */

/* Tests make them short. */
struct ps_jobs_times {
    int64_t lease_ms;
    int64_t renew_us;       /* between two renewals of all leases */
    int64_t tick_us;        /* the store is asked at least so often */
    int64_t look_us;        /* between two looks for what was cancelled */
    int64_t retry_us;       /* until the store is told again what it did not take */
    int64_t backoff_ms;     /* after a first failure, doubling */
    int64_t backoff_cap_ms; /* at most */
    int64_t count_us;       /* between two counts for the metrics */
    int64_t poke_us;        /* between two words to those who watch */
    int64_t sweep_us;
};
extern const struct ps_jobs_times ps_jobs_usual_times;

enum ps_jobs_state {
    PS_JOBS_NEW,
    PS_JOBS_RUNNING,
    PS_JOBS_STOPPING,
    PS_JOBS_STOPPED
};

/* A batch whose lines were handed out lately, and what paces them. */
struct ps_jobs_seen {
    struct ps_id id;
    struct ps_pace *pace; /* NULL: an empty place */
};

struct ps_jobs_hub {
    pthread_mutex_t lock;
    struct ps_link watches;     /* under lock */
    struct ps_link live;        /* under lock: single jobs that run (ps_run.live) */
    struct ps_message wake;     /* in the mailbox while `posted` */
    struct ps_mailbox *mailbox; /* under lock; NULL: nobody listens */
    bool posted;                /* under lock */
};

struct ps_jobs {
    struct ps_store *store;     /* borrowed */
    struct ps_pool *pool;       /* borrowed */
    struct ps_gateway_loop *gl; /* borrowed */
    struct ps_mailbox *mailbox; /* borrowed */
    struct ps_hooks *hooks;     /* owned */
    struct ps_jobs_times times;
    enum ps_jobs_state state;
    void (*on_stopped)(void *arg);
    void *on_stopped_arg;
    bool hooks_stopped;

    unsigned concurrency;
    bool dormant;   /* there is no store on disk, and nobody has asked for one */
    bool recovered; /* what the last run left is back in the queue */
    bool recovering;
    bool taking; /* a command of this kind is on its way; likewise the following */
    bool due_asked;
    bool renewing;
    bool sweeping;
    bool counting;
    bool uncounted;   /* something has moved since the last count */
    int64_t ask_us;   /* RECOVER: not before; monotonic, as the following */
    int64_t take_us;  /* INT64_MAX: when something happens, as the following */
    int64_t due_us;   /* the next DUE */
    int64_t renew_us; /* the next RENEW */
    int64_t look_us;  /* the next look for what was cancelled */
    int64_t looked_us;
    int64_t sweep_us;
    int64_t count_us;
    int64_t breath_us; /* nothing is started before, since the loop is short of breath */
    bool hungry;       /* a turn was too short for all that could be started */
    int64_t started_us;
    int64_t second_us; /* since when `starts` counts */
    unsigned starts;
    unsigned rate; /* starts in the last second */

    struct ps_link loading; /* ps_run.link, by state */
    struct ps_link ready;
    struct ps_link asking;
    struct ps_link telling;
    unsigned waiting_count; /* loading and ready */
    unsigned asking_count;
    unsigned telling_count;
    size_t waiting_bytes; /* of bodies */
    size_t asking_bytes;
    struct ps_link buckets[PS_JOBS_BUCKETS];
    struct ps_paces paces;
    struct ps_jobs_seen seen[PS_JOBS_SEEN];
    unsigned seen_next;

    struct ps_link desks;
    size_t commands; /* on their way */
    struct ps_task pump;
    struct ps_timer timer;
    struct ps_timer poke;
    struct ps_json_paths *model_path; /* owned */
    struct ps_jobs_hub hub;

    /* for the metrics; under the hub's lock */
    struct ps_store_counts counts;
    unsigned running; /* what is claimed has not always begun */
    bool has_counts;
};

/* ---- runner.c ---- */

/* The pump runs at the end of this turn. */
void ps_jobs_poke(struct ps_jobs *jobs);
/* A command whose `user` is the jobs or what `user` says. NULL when memory is short. */
struct ps_store_command *ps_jobs_command(enum ps_store_verb verb, void *user);
void ps_jobs_submit(struct ps_jobs *jobs, struct ps_store_command *command,
                    void (*done)(struct ps_store_command *command));
/* Every `done` begins so. */
void ps_jobs_answered(struct ps_jobs *jobs);
/* µs until a time of the store (wall clock): 0 when it is past, at most a tick. */
int64_t ps_jobs_until(const struct ps_jobs *jobs, int64_t wall_ms);
static inline void ps_jobs_earlier(int64_t *at, int64_t us)
{
    *at = us < *at ? us : *at;
}
/* Work is ready, or may be, in so long. */
void ps_jobs_take_in(struct ps_jobs *jobs, int64_t us);
void ps_jobs_due_in(struct ps_jobs *jobs, int64_t us);
void ps_jobs_tune(struct ps_jobs *jobs, const struct ps_jobs_times *times);

/* ---- asks.c ---- */

void ps_ask_recover(struct ps_jobs *jobs, int64_t now);
void ps_ask_take(struct ps_jobs *jobs, int64_t now);
/* How much may be claimed and not started. */
unsigned ps_ask_ahead(const struct ps_jobs *jobs);
void ps_ask_due(struct ps_jobs *jobs, int64_t now);
/* At once: whether it is time is the caller's to know. */
void ps_ask_renew(struct ps_jobs *jobs, int64_t now);
void ps_ask_look(struct ps_jobs *jobs, int64_t now);
void ps_ask_sweep(struct ps_jobs *jobs, int64_t now);
void ps_ask_count(struct ps_jobs *jobs, int64_t now);

/* ---- run.c ---- */

enum ps_run_state {
    PS_RUN_LOADING, /* its body is read */
    PS_RUN_READY,   /* waits for a slot */
    PS_RUN_ASKING,  /* its exchange runs */
    PS_RUN_KEEPING, /* the answer is whole and goes to a blob */
    PS_RUN_TELLING, /* the store is told */
    PS_RUN_LATER,   /* the store did not take it: told again after a while */
};

/* What the store is to be told of a claim. */
struct ps_run_ending {
    bool back; /* into the queue; else settled */
    bool counts;
    int64_t run_at_ms;
    enum ps_job_status status;
    int http_status;
    struct ps_slice error; /* JSON, in the arena */
};

struct ps_run {
    struct ps_link link;
    struct ps_link bucket;
    struct ps_link live; /* in the hub, under its lock */
    struct ps_jobs *jobs;
    enum ps_run_state state;
    struct ps_arena arena; /* of all of it, the exchange too */
    struct ps_store_claim claim;
    const struct ps_jobs_endpoint *endpoint;
    struct ps_pace *pace; /* referred to; NULL: not known yet */
    struct ps_timer timer;
    struct ps_task task;

    char *body; /* owned: the first bytes of the request, or all of it */
    size_t body_len;
    struct ps_download *download; /* of the first bytes, or of the rest into the exchange */

    /* front.c */
    struct ps_exchange *ex;
    struct ps_id request_id;
    struct ps_writer *writer; /* NULL: raw */
    const struct ps_outcome *outcome;
    bool raw;
    bool committed;
    bool pacing;           /* counted by its pace */
    struct ps_fault fault; /* ours, or the outcome's */
    int status;            /* of the answer */
    struct ps_buf answer;  /* in memory, or what the upload has not taken yet */
    size_t answer_taken;
    uint64_t answer_bytes;
    struct ps_upload *upload;
    int upload_error;
    struct ps_blob_name blob; /* of the answer, committed */
    struct ps_usage usage;
    int64_t asked_us;
    atomic_uint_fast64_t tokens;

    struct ps_run_ending ending;
};

/* Takes a claim in. */
void ps_run_new(struct ps_jobs *jobs, const struct ps_store_claim *claim);
struct ps_run *ps_run_find(struct ps_jobs *jobs, const struct ps_store_ref *ref);
void ps_run_enter(struct ps_run *run, enum ps_run_state state);
/* The claim is void: whatever runs is cancelled, nothing is told. Not in LATER or TELLING. */
void ps_run_void(struct ps_run *run);
/* Back into the queue as if it had not been taken; ASKING: its exchange is ended. */
void ps_run_give_back(struct ps_run *run, int64_t after_ms);
/* Ends of a run; what is left of its answer has been kept. */
void ps_run_settle(struct ps_run *run, enum ps_job_status status);
void ps_run_fail(struct ps_run *run, const char *code, const char *message);
void ps_run_defer(struct ps_run *run, int64_t after_ms, bool counts);
/* Failed once more: back into the queue, or `code` is final. */
void ps_run_lose(struct ps_run *run, const char *code, const char *message);
void ps_run_free(struct ps_run *run);

/* ---- front.c ---- */

/* READY → ASKING. */
void ps_run_ask(struct ps_run *run);
/* What run->task does: the exchange has said all it has to say. */
void ps_run_asked(struct ps_task *task);
/* Ends the exchange and drops the answer. */
void ps_run_hang_up(struct ps_run *run, enum ps_end_reason reason);

/* ---- policy.c ---- */

enum ps_jobs_verdict {
    PS_JOBS_FINAL,
    PS_JOBS_REFUSED, /* not now: the try does not count */
    PS_JOBS_FAILED,  /* tried again, so many times */
};
enum ps_jobs_verdict ps_jobs_judge(int status);
/* Full jitter: `random` is any number. `attempt` 1: the first has failed. */
int64_t ps_jobs_backoff_ms(unsigned attempt, int64_t base_ms, int64_t cap_ms, uint64_t random);
uint64_t ps_jobs_random(void);

/* ---- desk.c ---- */

enum ps_desk_step {
    PS_DESK_AGAIN, /* another step at once */
    PS_DESK_LATER, /* the same again after a while: the store or the disk is ill */
    PS_DESK_OVER
};

struct ps_validation;
struct ps_finishing;

struct ps_desk {
    struct ps_link link;
    struct ps_work work;
    struct ps_timer timer;
    struct ps_jobs *jobs;
    struct ps_arena arena;
    struct ps_store_batch batch; /* slices in the arena */
    bool finishing;
    bool on_pool;
    struct ps_snapshot *snapshot; /* owned reference */
    enum ps_desk_step step;
    int64_t begun_us;
    /* one of them, owned */
    struct ps_validation *validation;
    struct ps_finishing *files;
    /* told in the log when it is over */
    bool changed; /* the batch has moved on */
    enum ps_batch_status status;
    uint64_t lines;
    uint64_t faults;
};

/* A batch that DUE showed: unless it is on a desk already, or none is free. */
void ps_desk_take(struct ps_jobs *jobs, const struct ps_store_batch *batch);
/* Those that wait for a while are given up; the others after their step. */
void ps_desks_stop(struct ps_jobs *jobs);

/* validate.c, on the pool */
enum ps_desk_step ps_validate_step(struct ps_desk *desk);
void ps_validation_free(struct ps_validation *validation);
int ps_validate_global_init(void) __attribute__((warn_unused_result));
/* finish.c, on the pool */
enum ps_desk_step ps_finish_step(struct ps_desk *desk);
void ps_finishing_free(struct ps_finishing *files);

/* ---- hub.c ---- */

int ps_hub_init(struct ps_jobs *jobs) __attribute__((warn_unused_result));
void ps_hub_deinit(struct ps_jobs *jobs);
void ps_hub_open(struct ps_jobs *jobs);
/* No wake-up comes after true; false: one is on its way. */
bool ps_hub_close(struct ps_jobs *jobs);
/* It has moved: those who watch hear of it soon; `now`: at once. NULL: all of them. */
void ps_hub_touch(struct ps_jobs *jobs, const struct ps_id *id, bool now);
/* What jobs->poke runs. */
void ps_hub_tell(struct ps_timer *timer);
/* A single job begins to run, and ends. */
void ps_hub_enter(struct ps_run *run);
void ps_hub_leave(struct ps_run *run);

/* ---- report.c ---- */

void ps_report_call(struct ps_jobs *jobs, const struct ps_run *run, enum ps_jobs_verdict verdict);
void ps_report_end(struct ps_jobs *jobs, const struct ps_run *run);
void ps_report_desk(struct ps_jobs *jobs, const struct ps_desk *desk);
/* For ps_metrics_on_render, with the jobs as `arg`. */
void ps_report_gauges(void *arg, struct ps_metrics_shard *shard);

#endif
