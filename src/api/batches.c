/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/json_scan.h"
#include "penstock/base/sha256.h"

/*
 * POST /v1/batches: the body is read whole and checked, the file it names is looked up, the batch
 * is added: when that is on disk the client is told, and the runner is woken. What is in the file
 * is looked at later, by the runner.
 *
 * How it fails: what is wrong with the request is a 400 that names the field; a file that is not
 * there, not the caller's or not meant for batches likewise. With an Idempotency-Key a batch that
 * was made before is shown even when its file is gone.
 */

#define BODY_BYTES     (1u << 20)
#define OBJECT_BYTES   (2u << 20)
#define LIST_BYTES     (16u << 20)
#define WINDOW_MS      INT64_C(86400000)
#define METADATA_PAIRS 16
#define METADATA_KEY   64
#define METADATA_VALUE 512

struct batch_door {
    struct ps_side side; /* first: opened and closed as one */
    struct ps_id input_file;
    struct ps_slice endpoint; /* static */
    struct ps_slice metadata; /* in side.body */
    struct ps_slice webhook;  /* in the connection's arena */
    int64_t output_life_ms;
    unsigned char hash[PS_SHA256_SIZE];
};

/* ---- the fields ---- */

static int bad(struct ps_fault *fault, const char *param, const char *sentence)
{
    return ps_fault_set(fault, PS_FAULT_BAD_FIELD, param, "%s", sentence);
}

/* A string member that must be there, unescaped. */
static int take_text(struct ps_conn *conn, struct ps_slice raw, const char *name,
                     struct ps_slice *ret, struct ps_fault *fault)
{
    if (raw.len == 0) {
        return ps_fault_set(fault, PS_FAULT_MISSING_FIELD, name, "%s is required.", name);
    }
    if (raw.ptr[0] != '"') {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, name, "%s must be a string.", name);
    }
    *ret = ps_object_text(raw, &conn->arena);
    if (ret->ptr == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL, "The request is too large.");
    }
    return 0;
}

static int check_endpoint(struct batch_door *door, struct ps_slice path, struct ps_fault *fault)
{
    const struct ps_jobs_endpoint *endpoint = ps_jobs_endpoint(path);
    if (endpoint == NULL || !endpoint->batches) {
        return bad(fault, "endpoint",
                   "endpoint must be /v1/chat/completions, /v1/completions, /v1/embeddings, "
                   "/v1/images/generations, /v1/responses or /generate.");
    }
    door->endpoint = ps_slice_cstr(endpoint->path);
    return 0;
}

static int check_metadata(struct ps_conn *conn, struct ps_slice raw, struct ps_fault *fault)
{
    struct ps_members members;
    struct ps_slice key;
    struct ps_slice value;
    unsigned pairs = 0;
    if (raw.len == 0) {
        return 0;
    }
    if (raw.ptr[0] != '{') {
        return bad(fault, "metadata", "metadata must be an object.");
    }
    ps_members_begin(&members, raw);
    while (ps_members_next(&members, &key, &value)) {
        struct ps_slice name = ps_object_text(key, &conn->arena);
        struct ps_slice text =
            value.ptr[0] == '"' ? ps_object_text(value, &conn->arena) : PS_SLICE_NONE;
        if (++pairs > METADATA_PAIRS) {
            return bad(fault, "metadata", "metadata must have at most 16 members.");
        }
        if (name.ptr == NULL || ps_text_length(name) > METADATA_KEY) {
            return bad(fault, "metadata", "Names in metadata must have at most 64 characters.");
        }
        if (text.ptr == NULL || ps_text_length(text) > METADATA_VALUE) {
            return bad(fault, "metadata",
                       "Values in metadata must be strings of at most 512 characters.");
        }
    }
    return 0;
}

static int check_output_life(struct ps_conn *conn, struct ps_slice raw, int64_t *ret_ms,
                             struct ps_fault *fault)
{
    struct ps_slice anchor_raw;
    struct ps_slice seconds_raw;
    struct ps_slice anchor;
    const struct ps_object_want wants[] = {{"anchor", &anchor_raw}, {"seconds", &seconds_raw}};
    int64_t seconds = 0;
    *ret_ms = 0;
    if (raw.len == 0) {
        return 0;
    }
    if (raw.ptr[0] != '{') {
        return bad(fault, "output_expires_after", "output_expires_after must be an object.");
    }
    if (ps_object_take(raw, wants, 2, fault) != 0) {
        return -1;
    }
    if (take_text(conn, anchor_raw, "output_expires_after.anchor", &anchor, fault) != 0) {
        return -1;
    }
    if (!ps_slice_eq_cstr(anchor, "created_at")) {
        return bad(fault, "output_expires_after.anchor",
                   "output_expires_after.anchor must be created_at.");
    }
    if (seconds_raw.len == 0 || !ps_json_int(seconds_raw, &seconds) || seconds < 3600 ||
        seconds > 2592000) {
        return bad(fault, "output_expires_after.seconds",
                   "output_expires_after.seconds must be 3600 to 2592000.");
    }
    *ret_ms = seconds * 1000;
    return 0;
}

static int no_such_file(struct ps_fault *fault)
{
    return bad(fault, "input_file_id",
               "input_file_id names no file: it does not exist, or no more.");
}

static int read_body(struct ps_conn *conn, struct ps_fault *fault)
{
    struct batch_door *door = conn->request.side;
    struct ps_slice file;
    struct ps_slice endpoint;
    struct ps_slice window;
    struct ps_slice life;
    struct ps_slice webhook;
    const struct ps_object_want wants[] = {
        {"input_file_id", &file},        {"endpoint", &endpoint},
        {"completion_window", &window},  {"metadata", &door->metadata},
        {"output_expires_after", &life}, {"webhook", &webhook}};
    struct ps_slice body = ps_buf_view(&door->side.body);
    ps_sha256(body.ptr, body.len, door->hash);
    if (ps_object_check(body, fault) != 0 ||
        ps_object_take(body, wants, sizeof(wants) / sizeof(wants[0]), fault) != 0 ||
        take_text(conn, file, "input_file_id", &file, fault) != 0 ||
        take_text(conn, endpoint, "endpoint", &endpoint, fault) != 0 ||
        check_endpoint(door, endpoint, fault) != 0 ||
        take_text(conn, window, "completion_window", &window, fault) != 0) {
        return -1;
    }
    if (!ps_slice_eq_cstr(window, "24h")) {
        return bad(fault, "completion_window", "completion_window must be 24h.");
    }
    if (check_metadata(conn, door->metadata, fault) != 0 ||
        check_output_life(conn, life, &door->output_life_ms, fault) != 0 ||
        ps_side_webhook(conn, webhook, &door->webhook, fault) != 0) {
        return -1;
    }
    return ps_id_read(&door->input_file, "file-", file) ? 0 : no_such_file(fault);
}

/* ---- POST /v1/batches ---- */

static void show(struct ps_conn *conn, const struct ps_store_batch *batch)
{
    struct ps_buf out;
    ps_buf_init(&out, OBJECT_BYTES);
    ps_batch_write(&out, batch);
    ps_side_json(conn, &out);
}

static void on_added(struct ps_conn *conn, struct ps_store_command *command)
{
    struct ps_fault fault;
    if (command->status == PS_STORE_NOT_FOUND) {
        (void)no_such_file(&fault);
        ps_reply_fault(conn, &fault);
    } else if (command->status != PS_STORE_OK && command->status != PS_STORE_REPEATED) {
        ps_side_refuse(conn, command->status, "batch");
    } else {
        ps_jobs_wake(ps_side_jobs(conn));
        show(conn, command->out.batch_count > 0 ? &command->out.batches[0] : &command->in.batch);
    }
}

static int fill_batch(struct ps_conn *conn, struct ps_store_command *command,
                      const struct ps_store_file *file, struct ps_fault *fault)
{
    struct batch_door *door = conn->request.side;
    struct ps_store_batch *batch = &command->in.batch;
    ps_id_make(&batch->id, "batch_");
    command->in.id = batch->id;
    batch->api = PS_BATCH_OPENAI;
    batch->tenant = command->in.tenant;
    batch->key = ps_store_command_copy(command, conn->request.identity.key);
    batch->endpoint = door->endpoint;
    batch->input_file = door->input_file;
    if (file != NULL) {
        batch->input = file->blob;
    }
    batch->status = PS_BATCH_VALIDATING;
    batch->metadata = ps_store_command_copy(command, door->metadata);
    batch->webhook = ps_store_command_copy(command, door->webhook);
    batch->output_life_ms = door->output_life_ms;
    batch->created_ms = command->in.now_ms;
    batch->expires_ms = batch->created_ms + WINDOW_MS;
    if (batch->key.ptr == NULL || batch->metadata.ptr == NULL || batch->webhook.ptr == NULL) {
        ps_store_fault(PS_STORE_NO_MEMORY, "batch", fault);
        return -1;
    }
    return ps_side_idempotency(conn, command, door->hash, fault);
}

static void add_batch(struct ps_conn *conn, const struct ps_store_file *file)
{
    struct batch_door *door = conn->request.side;
    struct ps_fault fault;
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_BATCH_ADD);
    if (command == NULL) {
        return;
    }
    if (fill_batch(conn, command, file, &fault) != 0) {
        ps_store_command_free(command);
        ps_reply_fault(conn, &fault);
        return;
    }
    ps_store_call(&door->side.call, conn, command, on_added);
}

static void on_file(struct ps_conn *conn, struct ps_store_command *command)
{
    const struct ps_store_file *file = command->out.file_count > 0 ? command->out.files : NULL;
    struct ps_fault fault;
    bool known = command->status == PS_STORE_OK && file != NULL && !ps_file_is_over(file);
    if (command->status != PS_STORE_OK && command->status != PS_STORE_NOT_FOUND) {
        ps_side_refuse(conn, command->status, "file");
    } else if (known && !ps_slice_eq_cstr(file->purpose, "batch")) {
        (void)bad(&fault, "input_file_id", "The file was not uploaded with the purpose batch.");
        ps_reply_fault(conn, &fault);
    } else if (!known && ps_http_find(conn->request.head, "idempotency-key") == NULL) {
        (void)no_such_file(&fault);
        ps_reply_fault(conn, &fault);
    } else {
        add_batch(conn, known ? file : NULL);
    }
}

static void run_create(struct ps_conn *conn)
{
    struct batch_door *door = conn->request.side;
    struct ps_fault fault;
    if (door->side.body.failed) {
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "batch");
        return;
    }
    if (read_body(conn, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_FILE_GET);
    if (command != NULL) {
        command->in.id = door->input_file;
        ps_store_call(&door->side.call, conn, command, on_file);
    }
}

static int check_media(struct ps_conn *conn, struct ps_fault *fault)
{
    struct ps_slice type = ps_http_value(conn->request.head, "content-type", NULL);
    if (type.len == 0 || ps_http_media_is(type, "application/json") ||
        ps_http_media_is(type, "application/x-www-form-urlencoded")) {
        return 0;
    }
    return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_MEDIA, NULL,
                        "Content-Type must be application/json.");
}

static int open_create(struct ps_conn *conn, struct ps_fault *fault)
{
    if (check_media(conn, fault) != 0 ||
        ps_side_open_sized(conn, sizeof(struct batch_door), fault) != 0) {
        return -1;
    }
    struct batch_door *door = conn->request.side;
    ps_buf_init(&door->side.body, BODY_BYTES);
    ps_http_parser_limit_body(conn->parser, BODY_BYTES);
    return 0;
}

static int take_body(struct ps_conn *conn, const char *ptr, size_t len, struct ps_fault *fault)
{
    struct batch_door *door = conn->request.side;
    (void)fault;
    ps_buf_append(&door->side.body, ptr, len);
    return 0;
}

const struct ps_side_ops ps_batches_ops = {open_create, take_body, run_create, NULL, ps_side_close};

/* ---- GET /v1/batches ---- */

static void on_list(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "batch");
        return;
    }
    const struct ps_store_out *found = &command->out;
    struct ps_buf out;
    ps_buf_init(&out, LIST_BYTES);
    ps_buf_cstr(&out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < found->batch_count; i++) {
        ps_buf_cstr(&out, i > 0 ? "," : "");
        ps_batch_write(&out, &found->batches[i]);
    }
    ps_side_list_end(&out, found->batch_count > 0 ? found->batches[0].id.text : NULL,
                     found->batch_count > 0 ? found->batches[found->batch_count - 1].id.text : NULL,
                     found->more);
    ps_side_json(conn, &out);
}

static void run_list(struct ps_conn *conn)
{
    struct ps_side *side = conn->request.side;
    struct ps_store_page page = {.api = PS_BATCH_OPENAI};
    struct ps_fault fault;
    if (ps_query_page(conn, "batch_", 20, 100, &page, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_BATCH_LIST);
    if (command != NULL) {
        command->in.list = page;
        ps_store_call(&side->call, conn, command, on_list);
    }
}

const struct ps_side_ops ps_batches_list_ops = {ps_side_open, ps_side_ignore, run_list, NULL,
                                                ps_side_close};

/* ---- GET /v1/batches/{id}, POST /v1/batches/{id}/cancel ---- */

static void on_one(struct ps_conn *conn, struct ps_store_command *command)
{
    const struct ps_store_batch *batch = command->out.batch_count > 0 ? command->out.batches : NULL;
    bool cancels = command->verb == PS_STORE_BATCH_CANCEL;
    if (command->status == PS_STORE_CONFLICT && batch != NULL) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_CONFLICT, NULL,
                           "Cannot cancel a batch with status '%s'.",
                           ps_batch_status_word(batch->status));
        fault.no_retry = true;
        ps_reply_fault(conn, &fault);
    } else if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "batch");
    } else if (batch == NULL || batch->api != PS_BATCH_OPENAI) {
        ps_side_no_such(conn, "batch");
    } else {
        if (cancels) {
            ps_jobs_wake(ps_side_jobs(conn));
        }
        show(conn, batch);
    }
}

static void ask_for_one(struct ps_conn *conn, enum ps_store_verb verb)
{
    struct ps_side *side = conn->request.side;
    struct ps_id id;
    if (!ps_side_id(conn, "/v1/batches/", "batch_", "batch", &id)) {
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, verb);
    if (command != NULL) {
        command->in.id = id;
        ps_store_call(&side->call, conn, command, on_one);
    }
}

static void run_one(struct ps_conn *conn)
{
    ask_for_one(conn, PS_STORE_BATCH_GET);
}

static void run_cancel(struct ps_conn *conn)
{
    ask_for_one(conn, PS_STORE_BATCH_CANCEL);
}

const struct ps_side_ops ps_batches_one_ops = {ps_side_open, ps_side_ignore, run_one, NULL,
                                               ps_side_close};
const struct ps_side_ops ps_batches_cancel_ops = {ps_side_open, ps_side_ignore, run_cancel, NULL,
                                                  ps_side_close};
