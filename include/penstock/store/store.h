/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_STORE_STORE_H
#define PENSTOCK_STORE_STORE_H

#include "penstock/base/arena.h"
#include "penstock/base/id.h"
#include "penstock/base/slice.h"
#include "penstock/net/mailbox.h"
#include "penstock/store/blob.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What outlives the process: files, batches, jobs, their results and leases, and small objects with
 * a life of their own. A command is one whole transaction: submitted from any loop, executed on the
 * store's thread together with whatever else waits (one commit for all of them), answered by
 * mailbox when it is on disk. Nothing of the engine behind shows here: no SQL, no row ids.
 * Everything a command takes and gives lies in the command itself, so that a store elsewhere
 * (PostgreSQL, with SKIP LOCKED) fits behind the same calls.
 *
 *   ps_store_command_new → fill `in` → ps_store_submit → done(command): status, `out`
 *   → ps_store_command_free
 *
 * Accepted means kept: PS_STORE_OK of a command that writes means it survives kill -9 and a power
 * cut. Any other status means nothing of it was kept, except that after PS_STORE_BROKEN and
 * PS_STORE_DISK_FULL it may be there all the same (the commit failed half way): whoever tries again
 * must bear a CONFLICT or STALE, and blobs given along must be left to the sweep. With other
 * statuses they are still the submitter's, who removes them (SETTLE: the store does).
 *
 * The store is opened by the first command that comes, on its own thread: one that cannot be opened
 * (no permission, locked by another process, damaged) fails commands with PS_STORE_BROKEN and tries
 * again with a later command, at most once a second. Only its own doors notice.
 *
 * Times are ms UTC. Every row belongs to a tenant; lookups of another tenant's rows give NOT_FOUND.
 */
struct ps_store;

struct ps_store_options {
    const char *url;          /* "sqlite:jobs.db", relative to `folder` */
    const char *folder;       /* data_dir; made (0700) when first needed */
    uint32_t queue;           /* commands that may wait; 0: 16384 */
    uint64_t queue_bytes;     /* and their bytes in all; 0: 64 MiB */
    uint64_t reserve_bytes;   /* below so much free disk new work is refused; 0: 64 MiB */
    unsigned reserve_percent; /* or below this part of the disk; 0: 5 (101: off) */
};

/* Whether `url` is one that this build can open. False with a sentence. Touches no disk. */
bool ps_store_check(const char *url, char *ret_error, size_t error_size);
/* Starts the threads; touches no disk. NULL when memory is short or the url is wrong. */
struct ps_store *ps_store_new(const struct ps_store_options *options)
    __attribute__((warn_unused_result));
/* Executes what waits, checkpoints, closes. No command may be submitted any more; the `done` of
 * those that were are posted. Blocks: not on a loop. NULL is allowed. */
void ps_store_free(struct ps_store *store);
/* Whether there is anything on disk from before (a run that must be taken up again). Blocks for one
 * stat: at the start of the process. */
bool ps_store_exists(const struct ps_store *store);

enum ps_store_status {
    PS_STORE_OK,
    PS_STORE_NOT_FOUND,
    PS_STORE_CONFLICT, /* the row's state does not allow it; `out` shows the row */
    PS_STORE_STALE,    /* the lease is another's by now, or the work is over */
    PS_STORE_REPEATED, /* the idempotency key was used before, with the same body: `out` shows it */
    PS_STORE_REUSED,   /* the idempotency key was used before, with another body */
    PS_STORE_DISK_FULL, /* too little disk space is left: new work is refused */
    PS_STORE_BUSY,      /* the queue of commands is full */
    PS_STORE_BROKEN,    /* the store cannot be opened or written: ps_store_problem says why */
    PS_STORE_NO_MEMORY,
};
const char *ps_store_status_name(enum ps_store_status status);

/* ---- rows ---- */

/* A purpose that FILE_LIST never shows: what came out of a batch of messages, whose clients know
 * no files. */
#define PS_STORE_UNLISTED "message_batch_output"

struct ps_store_file {
    struct ps_id id;
    struct ps_slice tenant;
    struct ps_slice purpose;
    struct ps_slice filename; /* the client's, for showing only */
    uint64_t bytes;
    int64_t created_ms;
    int64_t expires_ms; /* 0: never */
    struct ps_blob_name blob;
};

enum ps_batch_status {
    PS_BATCH_VALIDATING,
    PS_BATCH_IN_PROGRESS,
    PS_BATCH_FINALIZING, /* all lines are settled; its files are being made */
    PS_BATCH_CANCELLING, /* no line starts any more; those in flight may end */
    PS_BATCH_EXPIRING,   /* the same, since its time is over */
    PS_BATCH_COMPLETED,
    PS_BATCH_FAILED,
    PS_BATCH_EXPIRED,
    PS_BATCH_CANCELLED,
    PS_BATCH_STATUS_COUNT
};

/* Which API it came by: how it is shown, and how its results look. */
enum ps_batch_api {
    PS_BATCH_OPENAI,
    PS_BATCH_ANTHROPIC
};

struct ps_store_batch {
    struct ps_id id;
    enum ps_batch_api api;
    struct ps_slice tenant;
    struct ps_slice key; /* name of the key that made it, for the log */
    struct ps_slice endpoint;
    struct ps_id input_file;
    struct ps_blob_name input; /* kept until the batch ends, even when the file is deleted */
    enum ps_batch_status status;
    bool ended;                   /* every line has its outcome: its files can be made */
    enum ps_batch_status becomes; /* what BATCH_FINISH will make of one that has ended */
    int priority;                 /* higher first; 0; at most 100 either way */
    struct ps_slice webhook;      /* URL or empty */
    struct ps_slice metadata;     /* JSON object as it came, or empty */
    struct ps_slice errors;       /* JSON array of errors, or empty */
    struct ps_slice model;        /* of the first line, or empty */
    int64_t output_life_ms;       /* of the output files; 0: for ever */
    int64_t created_ms;
    int64_t started_ms; /* in_progress; this and the following 0: not yet */
    int64_t expires_ms;
    int64_t finalizing_ms;
    int64_t completed_ms;
    int64_t failed_ms;
    int64_t expired_ms;
    int64_t cancelling_ms;
    int64_t cancelled_ms;
    uint64_t total;
    uint64_t completed; /* lines with a 2xx answer */
    uint64_t failed;    /* lines that ended otherwise */
    uint64_t canceled;  /* of `failed`: never run, since it was cancelled */
    uint64_t expired;   /* of `failed`: never run, since its time was over */
    uint64_t input_tokens;
    uint64_t output_tokens;
    uint64_t cached_tokens;
    uint64_t reasoning_tokens;
    struct ps_id output_file; /* empty text: none */
    struct ps_id error_file;
};

enum ps_job_status {
    PS_JOB_QUEUED,
    PS_JOB_RUNNING,
    PS_JOB_COMPLETED,
    PS_JOB_FAILED,
    PS_JOB_CANCELLED,
    PS_JOB_EXPIRED,
    PS_JOB_STATUS_COUNT
};

/* A body that may be small (in the row) or large (a blob, or part of one). */
struct ps_store_body {
    struct ps_slice bytes; /* when blob.text is empty */
    struct ps_blob_name blob;
    uint64_t offset;
    uint64_t length; /* of the part */
};
#define PS_STORE_INLINE_BYTES 65536 /* above it, a blob */

struct ps_store_job {
    struct ps_id id;
    struct ps_slice tenant;
    struct ps_slice key;
    struct ps_slice endpoint; /* "/generate" */
    enum ps_job_status status;
    int priority;
    unsigned attempts; /* calls that were made and counted */
    int64_t created_ms;
    int64_t started_ms;
    int64_t ended_ms;
    int64_t expires_ms;      /* not started or finished by then: expired */
    struct ps_slice webhook; /* URL or empty */
    struct ps_store_body request;
    int http_status;             /* of the answer; 0: none */
    struct ps_slice request_id;  /* of the call that answered */
    struct ps_store_body result; /* the answer's body, a success or an error */
    struct ps_slice error;       /* failed without an answer: JSON {"code","message"} */
};

/* One line of a batch, as validation found it. */
struct ps_store_line {
    uint64_t line; /* 0-based among the requests */
    struct ps_slice custom_id;
    uint64_t offset; /* of the request's body (the JSON object) in the batch's input */
    uint64_t length;
};

/* Work that was handed out: a single job, or a line of a batch. */
struct ps_store_claim {
    struct ps_id id;  /* of the job, or of the batch */
    int64_t line;     /* -1: a single job */
    uint64_t fence;   /* what proves the claim; higher with every one */
    unsigned attempt; /* 1: the first counted one */
    unsigned lost;    /* claims before this one that ran out, or whose process died */
    struct ps_slice tenant;
    struct ps_slice key;
    struct ps_slice endpoint;
    struct ps_slice custom_id; /* lines */
    enum ps_batch_api api;
    struct ps_store_body body;
    int64_t expires_ms;
    int64_t created_ms;
    struct ps_slice webhook; /* single jobs */
};

/* How one piece of work ended: exactly one row per line or job, whoever tells it twice. */
struct ps_store_settlement {
    struct ps_id id;
    int64_t line;
    uint64_t fence;
    enum ps_job_status status; /* COMPLETED (2xx), FAILED, CANCELLED, EXPIRED */
    int http_status;           /* 0: no answer; then `error` */
    struct ps_slice request_id;
    struct ps_store_body body; /* a blob's ownership goes to the row */
    struct ps_slice error;     /* JSON {"code","message"} */
    uint64_t input_tokens;
    uint64_t output_tokens;
    uint64_t cached_tokens;
    uint64_t reasoning_tokens;
};

/* A settled line, for making the files. */
struct ps_store_outcome {
    uint64_t line;
    struct ps_slice custom_id;
    enum ps_job_status status;
    int http_status;
    struct ps_slice request_id;
    struct ps_store_body body;
    struct ps_slice error;
};

/* ---- commands ---- */

/* clang-format off */
#define PS_STORE_VERBS(X)                                                                          \
    X(FILE_ADD)    /* in.file, its blob committed */                                               \
    X(FILE_GET)    /* in.tenant, in.id → out.files[0] */                                           \
    X(FILE_LIST)   /* in.tenant, in.list (purpose, after, limit, ascending) → out.files, more */   \
    X(FILE_DELETE) /* in.tenant, in.id; the blob goes when no batch needs it → out.files[0] */     \
    X(BATCH_ADD)   /* in.batch, in.idempotency: NOT_FOUND when the input file is not the           \
                      tenant's. Without input_file the batch owns in.batch.input → out.batches[0]  \
                      */                                                                           \
    X(BATCH_GET)   /* in.tenant, in.id → out.batches[0] */                                         \
    X(BATCH_LIST)  /* in.tenant, in.list (api, after or before, limit) → out.batches, more */      \
    X(BATCH_CANCEL) /* in.tenant, in.id, in.now_ms → out.batches[0]; CONFLICT: is over. From       \
                      FINALIZING and EXPIRING on it changes nothing */                             \
    X(BATCH_DELETE) /* in.tenant, in.id; CONFLICT: not over. Its output files go too */            \
    X(BATCH_LINES) /* in.id, in.lines: more lines of a batch in validation (also of one that was   \
                      cancelled meanwhile). Telling a line again replaces it */                    \
    X(BATCH_START) /* in.id, in.now_ms, in.batch.model: all lines are in; VALIDATING →             \
                      IN_PROGRESS, or straight to FINALIZING when empty; cancelled meanwhile: it   \
                      stays CANCELLING and has ended. CONFLICT: not in validation                  \
                      → out.batches[0] */                                                          \
    X(BATCH_FAIL)  /* in.id, in.now_ms, in.batch.errors: validation found faults; its lines go     \
                      → out.batches[0] FAILED, or CANCELLED when it was cancelled meanwhile */     \
    X(BATCH_FINISH) /* in.id, in.now_ms, in.files (0-2, ids as in in.batch.output_file /           \
                      error_file; they become the batch's tenant's): files appear, lines go, the   \
                      terminal status comes, all at once → out.batches[0]. CONFLICT: not ended,    \
                      or over */                                                                   \
    X(JOB_ADD)     /* in.job, in.idempotency → out.jobs[0] */                                      \
    X(JOB_GET)     /* in.tenant, in.id → out.jobs[0] */                                            \
    X(JOB_LIST)    /* in.tenant, in.list (status, after, limit) → out.jobs without bodies, more */ \
    X(JOB_CANCEL)  /* in.tenant, in.id, in.now_ms → out.jobs[0]; a running one's claim is stale    \
                      from now on; CONFLICT: is over */                                            \
    X(TAKE)        /* in.now_ms, in.lease_ms, in.limit (at most 256), in.skip → out.claims,        \
                      out.next_ms. Tenants by turns, then priority, then jobs and batches by turns \
                      */                                                                           \
    X(RENEW)       /* in.now_ms, in.lease_ms, in.refs → out.stale: claims that are void */         \
    X(SETTLE)      /* in.now_ms, in.settlement; STALE: not yours any more, nothing was kept (a     \
                      blob is removed) → out.finished: it was the last of its batch */             \
    X(DEFER)       /* in.now_ms, in.ref, in.run_at_ms, in.counts, in.error: back into the queue    \
                      → out.finished: its batch was only waiting for this line */                  \
    X(DUE)         /* in.now_ms → out.batches that wait for somebody: those that have ended want   \
                      their files, the others validation (VALIDATING; CANCELLING too); out.next_ms \
                      as TAKE. Gives lost claims back, ends jobs and batches whose time is over;   \
                      out.more: there is more to do, ask again */                                  \
    X(OUTCOMES)    /* in.id, in.after_line, in.limit → out.outcomes in the order of lines, more.   \
                      Until the batch has ended only lines that are settled; then all */           \
    X(RECOVER)     /* in.now_ms: a new run begins: leases of the last one return at once, half     \
                      validations begin again, orphaned blobs are swept in the background */       \
    X(SWEEP)       /* in.now_ms, in.keep_ms: files that expired, jobs and batches that ended so    \
                      long ago (0: all of them stay; a batch stays as long as its files live, if   \
                      they expire), old idempotency keys and objects go, orphaned blobs in the     \
                      background; out.more: there is more to do, ask again */                      \
    X(COUNT)       /* → out.counts: for the metrics */                                             \
    X(HOOK_TAKE)   /* in.now_ms, in.lease_ms, in.limit, in.per_host (leased at a time of one       \
                      receiver; 0: no bound) → out.hooks: webhooks to be delivered, receivers by   \
                      turns; out.more: others are due, too; out.next_ms: when the next will be */  \
    X(HOOK_SETTLE) /* in.ref (id, fence), in.run_at_ms: 0 delivered or given up, else try again    \
                      then; STALE */                                                               \
    X(OBJECT_PUT)  /* in.object; replaces one of the same tenant, kind and id */                   \
    X(OBJECT_GET)  /* in.tenant, in.object (kind, id), in.now_ms (0: also expired) → out.object */ \
    X(OBJECT_DELETE) /* in.tenant, in.object (kind, id) */
/* clang-format on */

enum ps_store_verb {
#define X(name) PS_STORE_##name,
    PS_STORE_VERBS(X)
#undef X
    PS_STORE_VERB_COUNT
};

struct ps_store_ref {
    struct ps_id id;
    int64_t line;
    uint64_t fence;
};

/* Pages: rows newest first unless ascending; `after` / `before` are ids of rows at the border. */
struct ps_store_page {
    struct ps_id after; /* empty text: from the beginning */
    struct ps_id before;
    uint32_t limit;
    bool ascending;
    struct ps_slice purpose; /* FILE_LIST; empty: all */
    enum ps_batch_api api;   /* BATCH_LIST */
    bool by_status;          /* JOB_LIST */
    enum ps_job_status status;
};

/* Repeating a POST with the same key and the same body gives the first one's answer, for 24 h. */
struct ps_store_idempotency {
    struct ps_slice key;    /* empty: none */
    unsigned char hash[32]; /* SHA-256 of the body */
};

/* Small JSON documents that belong to a tenant: kept responses (issue 5). */
struct ps_store_object {
    struct ps_slice kind; /* "response" */
    struct ps_slice tenant;
    struct ps_id id;
    struct ps_slice value; /* at most a few MiB */
    int64_t created_ms;
    int64_t expires_ms;
};

struct ps_store_hook {
    struct ps_id id; /* of the job or batch; also the message's id */
    uint64_t fence;
    unsigned attempt;
    struct ps_slice url;
    struct ps_slice type;    /* "job.completed" … */
    struct ps_slice payload; /* empty: DUE ended the job; whoever delivers makes it of the row */
    int64_t created_ms;
};

struct ps_store_counts {
    uint64_t jobs[PS_JOB_STATUS_COUNT];
    uint64_t lines_waiting;
    uint64_t lines_running;
    uint64_t batches[PS_BATCH_STATUS_COUNT];
    uint64_t files;
    uint64_t file_bytes;
    uint64_t hooks;          /* webhooks that are to be delivered */
    int64_t oldest_ready_ms; /* creation of the oldest work that waits; 0: none */
};

struct ps_store_in {
    struct ps_slice tenant;
    struct ps_id id;
    int64_t now_ms;
    int64_t lease_ms;
    int64_t run_at_ms;
    int64_t keep_ms;
    uint32_t limit;
    uint32_t per_host;     /* HOOK_TAKE */
    uint64_t after_line;   /* lines from this one on */
    bool counts;           /* DEFER: the try counts as an attempt */
    struct ps_slice error; /* DEFER: JSON, why */
    struct ps_store_page list;
    struct ps_store_idempotency idempotency;
    struct ps_store_file file;
    const struct ps_store_file *files;
    size_t file_count;
    struct ps_store_batch batch;
    struct ps_store_job job;
    const struct ps_store_line *lines;
    size_t line_count;
    struct ps_store_ref ref;
    const struct ps_store_ref *refs;
    size_t ref_count;
    const struct ps_id *skip; /* TAKE: batches whose targets cannot take work now; at most 256 */
    size_t skip_count;
    struct ps_store_settlement settlement;
    struct ps_store_object object;
    /* SETTLE, JOB_CANCEL, BATCH_FAIL, BATCH_FINISH of a row with a webhook: enqueued in the same
     * transaction, when there is a payload. */
    struct ps_slice hook_type;
    struct ps_slice hook_payload;
};

struct ps_store_out {
    const struct ps_store_file *files;
    size_t file_count;
    const struct ps_store_batch *batches;
    size_t batch_count;
    const struct ps_store_job *jobs;
    size_t job_count;
    const struct ps_store_claim *claims;
    size_t claim_count;
    const struct ps_store_outcome *outcomes;
    size_t outcome_count;
    const struct ps_store_ref *stale;
    size_t stale_count;
    const struct ps_store_hook *hooks;
    size_t hook_count;
    struct ps_store_object object;
    struct ps_store_counts counts;
    bool more;     /* the page is not the last */
    bool finished; /* SETTLE */
    /* TAKE, DUE: when more becomes ready (in.now_ms: at once); 0: nothing waits. Batches that were
     * skipped do not count, nor do claims that may run out: DUE looks after those. */
    int64_t next_ms;
};

/*
 * A command. `in` is filled by whoever submits it: slices must lie in `arena`
 * (ps_store_command_copy) or be static, since the submitter's memory may be gone before it is
 * executed. `out` lies in `arena`. Whoever got it by `done` frees it.
 */
struct ps_store_command {
    struct ps_message message; /* in the store's queue, then in the mailbox */
    struct ps_mailbox *mailbox;
    void (*done)(struct ps_store_command *command); /* on the mailbox's loop */
    void *user;    /* the submitter's; a submitter that goes away clears it */
    bool answered; /* the store's: ps_store_do */
    enum ps_store_verb verb;
    enum ps_store_status status;
    struct ps_arena arena;
    struct ps_store_in in;
    struct ps_store_out out;
};

/* NULL when memory is short. */
struct ps_store_command *ps_store_command_new(enum ps_store_verb verb)
    __attribute__((warn_unused_result));
void ps_store_command_free(struct ps_store_command *command); /* NULL is allowed */
/* A copy in the command's arena. ptr is NULL when memory is short. */
struct ps_slice ps_store_command_copy(struct ps_store_command *command, struct ps_slice text)
    __attribute__((warn_unused_result));
/*
 * Any thread; never blocks. `done` is called exactly once, by mailbox; also when the queue is full
 * (PS_STORE_BUSY). A mailbox that was closed meanwhile is a loop that has ended: the command is
 * executed all the same, and freed by the store; the mailbox's memory stays until ps_store_free.
 */
void ps_store_submit(struct ps_store *store, struct ps_store_command *command,
                     struct ps_mailbox *mailbox, void (*done)(struct ps_store_command *command));
/* The same, waiting for the answer: threads that are no loop (making output files, tests). */
enum ps_store_status ps_store_do(struct ps_store *store, struct ps_store_command *command);

/* Why the store is BROKEN, one sentence without secrets; "" when it is not. Any thread. */
void ps_store_problem(struct ps_store *store, char *ret, size_t size);
/* The folder of big payloads, which belongs to the store. */
struct ps_blobs *ps_store_blobs(struct ps_store *store);

/* For metrics. Any thread. */
struct ps_store_stats {
    uint64_t commands;
    uint64_t commits;
    uint64_t failures; /* transactions that could not be committed */
    uint64_t queued;
    uint64_t queued_bytes;
    uint64_t log_bytes; /* of the write-ahead log, at the last look */
};
void ps_store_stats(const struct ps_store *store, struct ps_store_stats *ret);

#endif
