/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_API_SIDE_H
#define PENSTOCK_API_SIDE_H

#include "conn.h"
#include "json.h"

#include "penstock/jobs/jobs.h"
#include "penstock/store/store.h"

/* What the doors of files, batches and jobs share: all of them wait for the store. */

/* ---- store_call.c: one command at a time for one request ---- */

struct ps_store_call {
    struct ps_conn *conn;
    struct ps_store_command *command; /* under way; NULL: none */
    void (*done)(struct ps_conn *conn, struct ps_store_command *command);
};

/* NULL where nothing is kept; otherwise it has a store, and the loop a mailbox. */
struct ps_jobs *ps_side_jobs(const struct ps_conn *conn);
/* 0, or -1 with a fault: for a door's `open`. */
int ps_side_check(const struct ps_conn *conn, struct ps_fault *fault);

/* A command for the caller's tenant, now. NULL: memory is short, and the request has been answered
 * so. */
struct ps_store_command *ps_store_call_new(struct ps_conn *conn, enum ps_store_verb verb);
/*
 * `done` comes with the command, which is freed behind it, unless the request has ended by then:
 * what a command does is done all the same.
 */
void ps_store_call(struct ps_store_call *call, struct ps_conn *conn,
                   struct ps_store_command *command,
                   void (*done)(struct ps_conn *conn, struct ps_store_command *command));
/* The request ends: nobody waits any more. */
void ps_store_call_drop(struct ps_store_call *call);
/* What a status that is no success means for the client. `what`: "file", "batch", "job". */
void ps_store_fault(enum ps_store_status status, const char *what, struct ps_fault *ret_fault);
/* Answers with it. */
void ps_side_refuse(struct ps_conn *conn, enum ps_store_status status, const char *what);
/* Disk errors of uploads and downloads. */
void ps_side_errno(int error, struct ps_fault *ret_fault);
/* The caller's Idempotency-Key into the command, with the hash of the body; -1 with a fault. */
int ps_side_idempotency(struct ps_conn *conn, struct ps_store_command *command,
                        const unsigned char hash[32], struct ps_fault *fault);
/* "webhook": a URL, or an object with one, as it stands in the body; len 0: none. The URL goes into
 * the arena. -1 with a fault when it may not be told. */
int ps_side_webhook(struct ps_conn *conn, struct ps_slice raw, struct ps_slice *ret,
                    struct ps_fault *fault);

/* ---- side.c: doors without a body, paths, queries, answers ---- */

/* Where a door needs no more than one command and what it shows. */
struct ps_side {
    struct ps_store_call call;
    struct ps_buf body; /* of POSTs that are read whole */
};
int ps_side_open(struct ps_conn *conn, struct ps_fault *fault);
/* The same for an object of `size` bytes that begins with one; the rest of it is zero. */
int ps_side_open_sized(struct ps_conn *conn, size_t size, struct ps_fault *fault);
/* Takes no notice of a small body, which some clients send with everything. */
int ps_side_ignore(struct ps_conn *conn, const char *ptr, size_t len, struct ps_fault *fault);
void ps_side_close(struct ps_conn *conn);

/* The segment of the path behind `prefix`, as an id of ours. False: answered 404. */
bool ps_side_id(struct ps_conn *conn, const char *path_prefix, const char *id_prefix,
                const char *what, struct ps_id *ret);
void ps_side_no_such(struct ps_conn *conn, const char *what);

/* One parameter of the query, decoded into the arena; ptr NULL: not given. -1 with a fault when it
 * is malformed or stands there twice. */
int ps_query_find(struct ps_conn *conn, const char *name, struct ps_slice *ret,
                  struct ps_fault *fault);
/* `limit` and `after` of a list. -1 with a fault. */
int ps_query_page(struct ps_conn *conn, const char *id_prefix, uint32_t standard, uint32_t most,
                  struct ps_store_page *ret, struct ps_fault *fault);

/* Answers 200 with the JSON in `out`, or 503 when it did not fit, and frees it. */
void ps_side_json(struct ps_conn *conn, struct ps_buf *out);
/* The members that end every list: first_id, last_id, has_more, and the closing brace. */
void ps_side_list_end(struct ps_buf *out, const char *first, const char *last, bool more);
/* `"name":` and a time in seconds, or null for 0 ms; a comma before it. */
void ps_side_time(struct ps_buf *out, const char *name, int64_t ms);

/* ---- stored.c: an answer around a stored body ---- */

struct ps_stored {
    struct ps_conn *conn;
    struct ps_download *download; /* NULL: none runs */
    struct ps_body_head head;
    struct ps_slice before; /* in the connection's arena */
    struct ps_slice behind;
    bool begun;
    bool one_line; /* line ends inside become spaces: the data of an event */
};
/*
 * Sends head, `before`, the body, `behind` (both in the arena, as is what the head names), and ends
 * the answer; `body` may go afterwards. `stored` is zeroed but for `begun` and `one_line`; with
 * `begun` the head is out already, and `head` may be NULL. HEAD gets the head alone.
 */
void ps_stored_send(struct ps_stored *stored, struct ps_conn *conn, const struct ps_body_head *head,
                    struct ps_slice before, const struct ps_store_body *body,
                    struct ps_slice behind);
void ps_stored_drain(struct ps_stored *stored);
void ps_stored_cancel(struct ps_stored *stored);

/* ---- the doors ---- */

extern const struct ps_side_ops ps_files_ops;         /* POST /v1/files */
extern const struct ps_side_ops ps_files_list_ops;    /* GET /v1/files */
extern const struct ps_side_ops ps_files_one_ops;     /* GET, DELETE /v1/files/{id} */
extern const struct ps_side_ops ps_files_content_ops; /* GET /v1/files/{id}/content */
extern const struct ps_side_ops ps_batches_ops;       /* POST /v1/batches */
extern const struct ps_side_ops ps_batches_list_ops;  /* GET /v1/batches */
extern const struct ps_side_ops ps_batches_one_ops;   /* GET /v1/batches/{id} */
extern const struct ps_side_ops ps_batches_cancel_ops;
extern const struct ps_side_ops ps_jobs_list_ops;   /* GET /jobs */
extern const struct ps_side_ops ps_jobs_one_ops;    /* GET, DELETE /jobs/{id} */
extern const struct ps_side_ops ps_jobs_events_ops; /* GET /jobs/{id}/events */
extern const struct ps_side_ops ps_background_ops;  /* POST /generate, once it is a job */

extern const struct ps_side_ops ps_responses_ops;     /* POST /v1/responses, beside its exchange */
extern const struct ps_side_ops ps_responses_one_ops; /* GET, DELETE /v1/responses/{id} */
extern const struct ps_side_ops ps_responses_items_ops; /* GET /v1/responses/{id}/input_items */
extern const struct ps_side_ops ps_ollama_ops;          /* /api/pull and its like */

/* responses_lookup.c: the exchange waits for the response before, and for items it refers to. */
void ps_responses_previous(struct ps_conn *conn);
/* responses.c: whether an answer has to be kept before its end, which is in `out` and is taken, may
 * go out: ps_inference_finish or _fail will come. */
bool ps_responses_keep(struct ps_conn *conn, struct ps_buf *out);

/* background.c: the front's exchange has read a request that is to be a job. */
void ps_background_accept(struct ps_conn *conn);
/* Whether the client would rather have a job (RFC 7240: respond-async). */
bool ps_background_preferred(const struct ps_http_head *head);

/* file_object.c, batch_object.c, job_object.c: how rows look. */
void ps_file_write(struct ps_buf *out, const struct ps_store_file *file);
/* What has expired is gone, though the store may sweep it later. */
bool ps_file_is_over(const struct ps_store_file *file);
void ps_batch_write(struct ps_buf *out, const struct ps_store_batch *batch);
const char *ps_batch_status_word(enum ps_batch_status status); /* as OpenAI says it */
bool ps_batch_is_over(enum ps_batch_status status);
/* When it ended, in ms; 0: not yet. */
int64_t ps_batch_ended(const struct ps_store_batch *batch);

const char *ps_job_status_word(enum ps_job_status status);
bool ps_job_is_over(enum ps_job_status status);
/* A job's object up to where its result stands (result: a JSON value), and from there on. */
void ps_job_write_head(struct ps_buf *out, const struct ps_store_job *job,
                       const struct ps_jobs_progress *progress);
void ps_job_write_tail(struct ps_buf *out, const struct ps_store_job *job);
/* For lists: the same without the result. */
void ps_job_write_brief(struct ps_buf *out, const struct ps_store_job *job);
/* A batch as a job, whole. */
void ps_job_write_batch(struct ps_buf *out, const struct ps_store_batch *batch);
enum ps_job_status ps_job_of_batch(enum ps_batch_status status);
/* jobs.c: the id in /jobs/{id}, a job's or a batch's. False: answered 404. */
bool ps_job_id(struct ps_conn *conn, struct ps_id *ret, bool *ret_batch);

#endif
