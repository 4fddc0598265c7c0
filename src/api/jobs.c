/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"
#include "penstock/jobs/hook.h"

/*
 * GET /jobs, GET and DELETE /jobs/{id}. Batches of either API have lists of their own and can be
 * seen, watched and cancelled here all the same.
 *
 * A result goes out between the two halves of its job's object, as it is stored; for somebody who
 * wants plain text it is taken out of the stored JSON, which then has to be in memory as a whole.
 */

#define LIST_BYTES (16u << 20)
#define PART_BYTES (1u << 20)
#define TEXT_EXTRA 65536

struct job_door {
    struct ps_side side; /* first: opened and closed as one */
    struct ps_stored stored;
    struct ps_body_head head;
    struct ps_download *download; /* of a result that becomes plain text; NULL: none runs */
    struct ps_conn *conn;
};

/* ---- GET /jobs ---- */

static void on_list(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "job");
        return;
    }
    const struct ps_store_out *found = &command->out;
    struct ps_buf out;
    ps_buf_init(&out, LIST_BYTES);
    ps_buf_cstr(&out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < found->job_count; i++) {
        ps_buf_cstr(&out, i > 0 ? "," : "");
        ps_job_write_brief(&out, &found->jobs[i]);
    }
    ps_side_list_end(&out, found->job_count > 0 ? found->jobs[0].id.text : NULL,
                     found->job_count > 0 ? found->jobs[found->job_count - 1].id.text : NULL,
                     found->more);
    ps_side_json(conn, &out);
}

static int read_status(struct ps_conn *conn, struct ps_store_page *page, struct ps_fault *fault)
{
    struct ps_slice word;
    if (ps_query_find(conn, "status", &word, fault) != 0) {
        return -1;
    }
    page->by_status = word.ptr != NULL;
    for (int i = 0; page->by_status && i < PS_JOB_STATUS_COUNT; i++) {
        if (ps_slice_eq_cstr(word, ps_job_status_word((enum ps_job_status)i))) {
            page->status = (enum ps_job_status)i;
            return 0;
        }
    }
    return page->by_status ? ps_fault_set(fault, PS_FAULT_BAD_FIELD, "status",
                                          "status must be queued, running, completed, failed, "
                                          "cancelled or expired.")
                           : 0;
}

static void run_list(struct ps_conn *conn)
{
    struct ps_side *side = conn->request.side;
    struct ps_store_page page = {.by_status = false};
    struct ps_fault fault;
    if (ps_query_page(conn, "job_", 20, 100, &page, &fault) != 0 ||
        read_status(conn, &page, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_JOB_LIST);
    if (command != NULL) {
        command->in.list = page;
        ps_store_call(&side->call, conn, command, on_list);
    }
}

const struct ps_side_ops ps_jobs_list_ops = {ps_side_open, ps_side_ignore, run_list, NULL,
                                             ps_side_close};

/* ---- plain text ---- */

static void send_text(struct ps_conn *conn, struct ps_slice json)
{
    struct ps_fault fault;
    struct ps_slice raw = PS_SLICE_NONE;
    if (ps_object_check(json, &fault) == 0) {
        raw = ps_object_member(json, "text");
    }
    char *text = raw.len > 0 && raw.ptr[0] == '"' ? ps_malloc(raw.len) : NULL;
    if (text == NULL) {
        (void)ps_fault_set(&fault, PS_FAULT_INTERNAL, NULL,
                           "The job's result has no text: ask for it as JSON.");
        ps_reply_fault(conn, &fault);
        return;
    }
    ps_reply(conn, 200, "text/plain; charset=utf-8", ps_slice(text, ps_json_unescape(raw, text)));
    ps_free(text);
}

static void on_text_data(void *arg, const char *ptr, size_t len)
{
    struct job_door *door = arg;
    ps_buf_append(&door->side.body, ptr, len);
}

static void on_text_end(void *arg, int error)
{
    struct job_door *door = arg;
    struct ps_fault fault;
    door->download = NULL;
    if (error == 0 && !door->side.body.failed) {
        send_text(door->conn, ps_buf_view(&door->side.body));
        return;
    }
    if (error != 0) {
        ps_side_errno(error, &fault);
    } else {
        ps_store_fault(PS_STORE_NO_MEMORY, "job", &fault);
    }
    ps_reply_fault(door->conn, &fault);
}

static const struct ps_download_ops text_ops = {on_text_data, on_text_end};

static void show_text(struct ps_conn *conn, const struct ps_store_body *result)
{
    struct job_door *door = conn->request.side;
    if (result->blob.text[0] == '\0') {
        send_text(conn, result->bytes);
        return;
    }
    door->conn = conn;
    ps_buf_deinit(&door->side.body);
    ps_buf_init(&door->side.body,
                (size_t)ps_conn_config(conn)->limits.event_bytes * 6 + TEXT_EXTRA);
    door->download = ps_download_new(ps_store_blobs(ps_jobs_store(ps_side_jobs(conn))),
                                     conn->server->gl->mailbox, &result->blob, result->offset,
                                     result->length, &text_ops, door);
    if (door->download == NULL) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "job");
    }
}

/* ---- one job ---- */

/* What stands before and behind the result, in the arena. */
static int write_parts(struct ps_conn *conn, const struct ps_store_job *job,
                       struct ps_slice *ret_before, struct ps_slice *ret_behind)
{
    struct ps_jobs_progress progress;
    bool running =
        !ps_job_is_over(job->status) && ps_jobs_progress(ps_side_jobs(conn), &job->id, &progress);
    struct ps_buf out;
    ps_buf_init(&out, PART_BYTES);
    ps_job_write_head(&out, job, running ? &progress : NULL);
    *ret_before = ps_arena_copy(&conn->arena, ps_buf_view(&out));
    out.len = 0;
    ps_job_write_tail(&out, job);
    *ret_behind = ps_arena_copy(&conn->arena, ps_buf_view(&out));
    bool failed = out.failed || ret_before->ptr == NULL || ret_behind->ptr == NULL;
    ps_buf_deinit(&out);
    return failed ? -1 : 0;
}

static void show_job(struct ps_conn *conn, const struct ps_store_job *job)
{
    struct job_door *door = conn->request.side;
    static const struct ps_store_body nothing = {.bytes = PS_SLICE_INIT("null")};
    bool has_result = job->status == PS_JOB_COMPLETED &&
                      (job->result.blob.text[0] != '\0' || job->result.bytes.len > 0);
    struct ps_slice before;
    struct ps_slice behind;
    if (has_result && ps_slice_eq_cstr(job->endpoint, "/generate") &&
        ps_http_accepts(ps_http_value(conn->request.head, "accept", NULL), "text/plain")) {
        show_text(conn, &job->result);
        return;
    }
    if (write_parts(conn, job, &before, &behind) != 0) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "job");
        return;
    }
    door->head.status = 200;
    door->head.content_type = PS_SLICE_LIT("application/json");
    ps_stored_send(&door->stored, conn, &door->head, before, has_result ? &job->result : &nothing,
                   behind);
}

static void show_batch(struct ps_conn *conn, const struct ps_store_batch *batch)
{
    struct ps_buf out;
    ps_buf_init(&out, PART_BYTES * 2);
    ps_job_write_batch(&out, batch);
    ps_side_json(conn, &out);
}

static void refuse_cancel(struct ps_conn *conn, const struct ps_store_out *out)
{
    struct ps_fault fault;
    enum ps_job_status status = out->job_count > 0     ? out->jobs[0].status
                                : out->batch_count > 0 ? ps_job_of_batch(out->batches[0].status)
                                                       : PS_JOB_COMPLETED;
    (void)ps_fault_set(&fault, PS_FAULT_CONFLICT, NULL,
                       "The job is over (%s): there is nothing to cancel.",
                       ps_job_status_word(status));
    fault.no_retry = true;
    ps_reply_fault(conn, &fault);
}

static void on_one(struct ps_conn *conn, struct ps_store_command *command)
{
    bool cancels = conn->request.head->method == PS_HTTP_DELETE;
    if (command->status == PS_STORE_CONFLICT) {
        refuse_cancel(conn, &command->out);
        return;
    }
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "job");
        return;
    }
    if (cancels) {
        ps_jobs_wake(ps_side_jobs(conn));
    }
    if (command->out.job_count > 0) {
        show_job(conn, &command->out.jobs[0]);
    } else if (command->out.batch_count > 0) {
        show_batch(conn, &command->out.batches[0]);
    } else {
        ps_side_no_such(conn, "job");
    }
}

static int open_one(struct ps_conn *conn, struct ps_fault *fault)
{
    return ps_side_open_sized(conn, sizeof(struct job_door), fault);
}

static void run_one(struct ps_conn *conn)
{
    struct job_door *door = conn->request.side;
    bool cancels = conn->request.head->method == PS_HTTP_DELETE;
    struct ps_id id;
    bool batch = false;
    if (!ps_job_id(conn, &id, &batch)) {
        return;
    }
    enum ps_store_verb verb = batch ? (cancels ? PS_STORE_BATCH_CANCEL : PS_STORE_BATCH_GET)
                                    : (cancels ? PS_STORE_JOB_CANCEL : PS_STORE_JOB_GET);
    struct ps_store_command *command = ps_store_call_new(conn, verb);
    if (command == NULL) {
        return;
    }
    command->in.id = id;
    if (verb == PS_STORE_JOB_CANCEL && ps_hooks_fill_cancel(command) != 0) {
        ps_store_command_free(command);
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "job");
        return;
    }
    ps_store_call(&door->side.call, conn, command, on_one);
}

static void drain_one(struct ps_conn *conn)
{
    struct job_door *door = conn->request.side;
    ps_stored_drain(&door->stored);
}

static void close_one(struct ps_conn *conn)
{
    struct job_door *door = conn->request.side;
    ps_stored_cancel(&door->stored);
    if (door->download != NULL) {
        ps_download_cancel(door->download);
    }
    ps_side_close(conn);
}

const struct ps_side_ops ps_jobs_one_ops = {open_one, ps_side_ignore, run_one, drain_one,
                                            close_one};

bool ps_job_id(struct ps_conn *conn, struct ps_id *ret, bool *ret_batch)
{
    static const char *const batches[] = {"batch_", "msgbatch_"};
    struct ps_slice path = conn->request.head->path;
    struct ps_slice door = PS_SLICE_LIT("/jobs/");
    struct ps_slice rest = ps_slice(path.ptr + door.len, path.len - door.len);
    const char *prefix = "job_";
    *ret_batch = false;
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        if (ps_slice_starts(rest, ps_slice_cstr(batches[i]))) {
            *ret_batch = true;
            prefix = batches[i];
        }
    }
    return ps_side_id(conn, "/jobs/", prefix, "job", ret);
}
