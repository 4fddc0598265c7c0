/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"

#include "penstock/base/json_scan.h"

/*
 * Batches of messages that exist: list, one, cancel, delete, and the results, which are the lines
 * that the runner has written.
 */

#define LIST_BYTES (16u << 20)
#define PREFIX     "msgbatch_"
#define PATH       "/v1/messages/batches/"

/* ---- GET /v1/messages/batches ---- */

static void on_list(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "batch");
        return;
    }
    const struct ps_store_out *found = &command->out;
    struct ps_buf out;
    ps_buf_init(&out, LIST_BYTES);
    ps_buf_cstr(&out, "{\"data\":[");
    for (size_t i = 0; i < found->batch_count; i++) {
        ps_buf_cstr(&out, i > 0 ? "," : "");
        ps_message_batch_write(conn, &out, &found->batches[i]);
    }
    ps_side_list_end(&out, found->batch_count > 0 ? found->batches[0].id.text : NULL,
                     found->batch_count > 0 ? found->batches[found->batch_count - 1].id.text : NULL,
                     found->more);
    ps_side_json(conn, &out);
}

static int read_border(struct ps_conn *conn, const char *name, struct ps_id *ret,
                       struct ps_fault *fault)
{
    struct ps_slice text;
    if (ps_query_find(conn, name, &text, fault) != 0) {
        return -1;
    }
    if (text.len > 0 && !ps_id_read(ret, PREFIX, text)) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, name, "%s must be an id of this list.",
                            name);
    }
    return 0;
}

static int read_page(struct ps_conn *conn, struct ps_store_page *page, struct ps_fault *fault)
{
    struct ps_slice limit;
    int64_t number = 20;
    if (read_border(conn, "after_id", &page->after, fault) != 0 ||
        read_border(conn, "before_id", &page->before, fault) != 0 ||
        ps_query_find(conn, "limit", &limit, fault) != 0) {
        return -1;
    }
    if (page->after.text[0] != '\0' && page->before.text[0] != '\0') {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "before_id",
                            "before_id and after_id do not go together.");
    }
    if (limit.ptr != NULL && (!ps_json_int(limit, &number) || number < 1 || number > 1000)) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "limit", "limit must be 1 to 1000.");
    }
    page->limit = (uint32_t)number;
    return 0;
}

static void run_list(struct ps_conn *conn)
{
    struct ps_side *side = conn->request.side;
    struct ps_store_page page = {.api = PS_BATCH_ANTHROPIC};
    struct ps_fault fault;
    if (read_page(conn, &page, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_BATCH_LIST);
    if (command != NULL) {
        command->in.list = page;
        ps_store_call(&side->call, conn, command, on_list);
    }
}

const struct ps_side_ops ps_message_batches_list_ops = {ps_side_open, ps_side_ignore, run_list,
                                                        NULL, ps_side_close};

/* ---- one of them ---- */

static void ask_for_one(struct ps_conn *conn, enum ps_store_verb verb,
                        void (*done)(struct ps_conn *conn, struct ps_store_command *command))
{
    struct ps_side *side = conn->request.side;
    struct ps_id id;
    if (!ps_side_id(conn, PATH, PREFIX, "batch", &id)) {
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, verb);
    if (command != NULL) {
        command->in.id = id;
        ps_store_call(&side->call, conn, command, done);
    }
}

static void refuse_state(struct ps_conn *conn, const char *sentence)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "message_batch_id", "%s", sentence);
    ps_reply_fault(conn, &fault);
}

static void on_one(struct ps_conn *conn, struct ps_store_command *command)
{
    bool cancels = command->verb == PS_STORE_BATCH_CANCEL;
    if (command->status == PS_STORE_CONFLICT) {
        refuse_state(conn, "The batch has ended: it cannot be canceled.");
    } else if (command->status != PS_STORE_OK || command->out.batch_count == 0) {
        ps_side_refuse(conn, command->status, "batch");
    } else {
        if (cancels) {
            ps_jobs_wake(ps_side_jobs(conn));
        }
        ps_message_batch_show(conn, &command->out.batches[0]);
    }
}

static void on_deleted(struct ps_conn *conn, struct ps_store_command *command)
{
    struct ps_buf out;
    if (command->status == PS_STORE_CONFLICT) {
        refuse_state(conn, "The batch has not ended: cancel it first.");
        return;
    }
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "batch");
        return;
    }
    ps_buf_init(&out, 1024);
    ps_buf_cstr(&out, "{\"id\":");
    ps_buf_json(&out, ps_slice_cstr(command->in.id.text));
    ps_buf_cstr(&out, ",\"type\":\"message_batch_deleted\"}");
    ps_side_json(conn, &out);
}

static void run_one(struct ps_conn *conn)
{
    if (conn->request.head->method == PS_HTTP_DELETE) {
        ask_for_one(conn, PS_STORE_BATCH_DELETE, on_deleted);
    } else {
        ask_for_one(conn, PS_STORE_BATCH_GET, on_one);
    }
}

static void run_cancel(struct ps_conn *conn)
{
    ask_for_one(conn, PS_STORE_BATCH_CANCEL, on_one);
}

const struct ps_side_ops ps_message_batches_one_ops = {ps_side_open, ps_side_ignore, run_one, NULL,
                                                       ps_side_close};
const struct ps_side_ops ps_message_batches_cancel_ops = {ps_side_open, ps_side_ignore, run_cancel,
                                                          NULL, ps_side_close};

/* ---- GET /v1/messages/batches/{id}/results ---- */

struct results_door {
    struct ps_side side; /* first: closed as one */
    struct ps_stored stored;
    struct ps_body_head head;
};

static void send_lines(struct ps_conn *conn, struct ps_store_body body)
{
    struct results_door *door = conn->request.side;
    door->head.status = 200;
    door->head.content_type = PS_SLICE_LIT("application/x-jsonl");
    if (body.length == 0) {
        body.blob.text[0] = '\0'; /* nothing to read */
    }
    ps_stored_send(&door->stored, conn, &door->head, PS_SLICE_NONE, &body, PS_SLICE_NONE);
}

static void on_file(struct ps_conn *conn, struct ps_store_command *command)
{
    const struct ps_store_file *file = command->out.file_count > 0 ? command->out.files : NULL;
    if (command->status != PS_STORE_OK && command->status != PS_STORE_NOT_FOUND) {
        ps_side_refuse(conn, command->status, "batch");
    } else if (command->status == PS_STORE_NOT_FOUND || file == NULL || ps_file_is_over(file)) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_NOT_FOUND, NULL,
                           "The results of this batch are not kept any more.");
        ps_reply_fault(conn, &fault);
    } else {
        send_lines(conn, (struct ps_store_body){.blob = file->blob, .length = file->bytes});
    }
}

static void on_batch(struct ps_conn *conn, struct ps_store_command *command)
{
    struct results_door *door = conn->request.side;
    const struct ps_store_batch *batch = command->out.batch_count > 0 ? command->out.batches : NULL;
    if (command->status != PS_STORE_OK || batch == NULL) {
        ps_side_refuse(conn, command->status, "batch");
        return;
    }
    if (ps_batch_ended(batch) == 0) {
        refuse_state(conn, "The batch has not ended: there are no results yet.");
        return;
    }
    if (batch->output_file.text[0] == '\0') {
        send_lines(conn, (struct ps_store_body){.length = 0});
        return;
    }
    struct ps_store_command *next = ps_store_call_new(conn, PS_STORE_FILE_GET);
    if (next != NULL) {
        next->in.id = batch->output_file;
        ps_store_call(&door->side.call, conn, next, on_file);
    }
}

static int open_results(struct ps_conn *conn, struct ps_fault *fault)
{
    return ps_side_open_sized(conn, sizeof(struct results_door), fault);
}

static void run_results(struct ps_conn *conn)
{
    ask_for_one(conn, PS_STORE_BATCH_GET, on_batch);
}

static void drain_results(struct ps_conn *conn)
{
    struct results_door *door = conn->request.side;
    ps_stored_drain(&door->stored);
}

static void close_results(struct ps_conn *conn)
{
    struct results_door *door = conn->request.side;
    ps_stored_cancel(&door->stored);
    ps_side_close(conn);
}

const struct ps_side_ops ps_message_batches_results_ops = {
    open_results, ps_side_ignore, run_results, drain_results, close_results};
