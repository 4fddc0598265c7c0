/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"
#include "penstock/base/sha256.h"

#include <stdio.h>
#include <string.h>

/*
 * POST /v1/messages/batches: the requests are checked as they come and go to disk as lines, in the
 * form that the runner reads; at the end of the body the batch is added, and when that is on disk
 * the client is told.
 *
 * How it fails: what is wrong with one request refuses them all, at once, and names it; nothing of
 * the upload stays. What only a model's provider can judge is the result of its request, later.
 */

#define REQUESTS_MAX 50000
#define ID_MAX       64
#define WINDOW_MS    INT64_C(86400000)
#define FIRST_SLOTS  1024

struct create_door {
    struct ps_store_call call;
    struct ps_conn *conn;
    struct ps_split split;
    size_t charged;           /* of the request that is held: drawn on the buffers' budget */
    struct ps_upload *upload; /* owned; NULL: none runs */
    struct ps_sha256 hash;    /* of the body */
    uint64_t *slots;          /* owned: hashes of the ids so far, 0 where there is none */
    size_t slot_count;
    bool answering;        /* the body is complete */
    struct ps_fault fault; /* of the upload, to be told with the next bytes */
};

static void drop_upload(struct create_door *door)
{
    if (door->upload != NULL) {
        ps_upload_cancel(door->upload);
        door->upload = NULL;
    }
}

static int out_of_memory(struct ps_fault *fault)
{
    return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                        "The gateway is short of memory; try again later.");
}

/* ---- memory ---- */

static struct ps_budget *budget_of(const struct create_door *door)
{
    return door->conn->server->gl->loop->pool.budget;
}

/* A request is held until it is whole: so much is drawn as its buffer has. */
static int charge(struct create_door *door, struct ps_fault *fault)
{
    size_t size = door->split.item.cap;
    if (size > door->charged && !ps_budget_reserve(budget_of(door), size - door->charged)) {
        ps_buf_deinit(&door->split.item); /* the answer needs a buffer, too */
        ps_budget_release(budget_of(door), door->charged);
        door->charged = 0;
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway's buffer memory is used up; try again later.");
    }
    if (size < door->charged) {
        ps_budget_release(budget_of(door), door->charged - size);
    }
    door->charged = size;
    return 0;
}

/* ---- ids that were used ---- */

static bool put_hash(uint64_t *slots, size_t count, uint64_t hash)
{
    size_t at = (size_t)hash & (count - 1);
    while (slots[at] != 0) {
        if (slots[at] == hash) {
            return false;
        }
        at = (at + 1) & (count - 1);
    }
    slots[at] = hash;
    return true;
}

static int grow_slots(struct create_door *door)
{
    size_t count = door->slot_count > 0 ? door->slot_count * 2 : FIRST_SLOTS;
    uint64_t *slots = ps_calloc(count, sizeof(*slots));
    if (slots == NULL) {
        return -1;
    }
    for (size_t i = 0; i < door->slot_count; i++) {
        if (door->slots[i] != 0) {
            (void)put_hash(slots, count, door->slots[i]);
        }
    }
    ps_free(door->slots);
    door->slots = slots;
    door->slot_count = count;
    return 0;
}

/* 1: new; 0: it was there before; -1: no memory. */
static int note_id(struct create_door *door, uint64_t used, struct ps_slice id)
{
    unsigned char digest[PS_SHA256_SIZE];
    uint64_t hash = 0;
    if (used * 2 >= door->slot_count && grow_slots(door) != 0) {
        return -1;
    }
    ps_sha256(id.ptr, id.len, digest);
    memcpy(&hash, digest, sizeof(hash));
    return put_hash(door->slots, door->slot_count, hash | 1) ? 1 : 0;
}

/* ---- one request ---- */

static int bad_item(struct ps_fault *fault, uint64_t index, const char *member,
                    const char *sentence)
{
    char param[PS_FAULT_PARAM];
    (void)snprintf(param, sizeof(param), "requests.%llu%s%s", (unsigned long long)index,
                   member[0] != '\0' ? "." : "", member);
    return ps_fault_set(fault, PS_FAULT_BAD_FIELD, param, "%s: %s", param, sentence);
}

/* The raw string's text, when it is an id; else empty. */
static struct ps_slice read_id(struct ps_slice raw)
{
    struct ps_slice id = raw.len > 2 ? ps_slice(raw.ptr + 1, raw.len - 2) : PS_SLICE_NONE;
    bool sane = id.len > 0 && id.len <= ID_MAX && raw.ptr[0] == '"';
    for (size_t i = 0; sane && i < id.len; i++) {
        char byte = id.ptr[i];
        sane = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
               (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
    }
    return sane ? id : PS_SLICE_NONE;
}

static int check_params(struct ps_slice params, uint64_t index, struct ps_fault *fault)
{
    if (params.len == 0 || params.ptr[0] != '{') {
        return bad_item(fault, index, "params", "must be an object.");
    }
    if (ps_slice_eq_cstr(ps_object_member(params, "stream"), "true")) {
        return bad_item(fault, index, "params.stream", "must not be true in a batch.");
    }
    if (ps_slice_eq_cstr(ps_object_member(params, "max_tokens"), "0")) {
        return bad_item(fault, index, "params.max_tokens", "must not be 0 in a batch.");
    }
    return 0;
}

static int check_item(struct create_door *door, uint64_t index, struct ps_slice item,
                      struct ps_fault *fault)
{
    struct ps_slice raw_id;
    struct ps_slice params;
    const struct ps_object_want wants[] = {{"custom_id", &raw_id}, {"params", &params}};
    if (index >= REQUESTS_MAX) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "requests",
                            "requests must hold at most %d requests.", REQUESTS_MAX);
    }
    if (item.ptr[0] != '{') {
        return bad_item(fault, index, "", "must be an object.");
    }
    if (ps_object_take(item, wants, 2, fault) != 0) {
        return -1;
    }
    struct ps_slice id = read_id(raw_id);
    if (id.len == 0) {
        return bad_item(fault, index, "custom_id",
                        "must be 1 to 64 letters, digits, underscores and dashes.");
    }
    if (check_params(params, index, fault) != 0) {
        return -1;
    }
    int noted = note_id(door, index, id);
    return noted > 0    ? 0
           : noted == 0 ? bad_item(fault, index, "custom_id", "was used before in this batch.")
                        : out_of_memory(fault);
}

static void on_room(void *arg)
{
    struct create_door *door = arg;
    ps_conn_pause_body(door->conn, false);
}

static void on_upload_end(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                          const unsigned char *sha256);
static const struct ps_upload_ops upload_ops = {on_room, on_upload_end};

static int on_item(void *arg, uint64_t index, struct ps_slice item, struct ps_fault *fault)
{
    struct create_door *door = arg;
    if (check_item(door, index, item, fault) != 0) {
        return -1;
    }
    if (door->upload == NULL) {
        door->upload = ps_upload_new(ps_store_blobs(ps_jobs_store(ps_side_jobs(door->conn))),
                                     door->conn->server->gl->mailbox, &upload_ops, door);
    }
    if (door->upload == NULL || ps_upload_write(door->upload, item.ptr, item.len) != 0 ||
        ps_upload_write(door->upload, "\n", 1) != 0) {
        return out_of_memory(fault);
    }
    return 0;
}

static const struct ps_split_ops split_ops = {on_item};

/* ---- the row ---- */

static void on_added(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK && command->status != PS_STORE_REPEATED) {
        ps_side_refuse(conn, command->status, "batch");
        return;
    }
    ps_jobs_wake(ps_side_jobs(conn));
    ps_message_batch_show(conn, command->out.batch_count > 0 ? &command->out.batches[0]
                                                             : &command->in.batch);
}

static int fill_batch(struct create_door *door, struct ps_store_command *command,
                      const struct ps_blob_name *input, struct ps_fault *fault)
{
    unsigned char digest[PS_SHA256_SIZE];
    struct ps_store_batch *batch = &command->in.batch;
    ps_id_make(&batch->id, "msgbatch_");
    command->in.id = batch->id;
    batch->api = PS_BATCH_ANTHROPIC;
    batch->tenant = command->in.tenant;
    batch->key = ps_store_command_copy(command, door->conn->request.identity.key);
    batch->endpoint = PS_SLICE_LIT("/v1/messages");
    batch->input = *input;
    batch->status = PS_BATCH_VALIDATING;
    batch->metadata = ps_slice_cstr(ps_arena_printf(&command->arena, "{\"requests\":%llu}",
                                                    (unsigned long long)door->split.count));
    batch->output_life_ms = PS_MESSAGE_BATCH_LIFE_MS;
    batch->created_ms = command->in.now_ms;
    batch->expires_ms = batch->created_ms + WINDOW_MS;
    if (batch->key.ptr == NULL || batch->metadata.ptr == NULL) {
        return out_of_memory(fault);
    }
    ps_sha256_final(&door->hash, digest);
    return ps_side_idempotency(door->conn, command, digest, fault);
}

static void add_batch(struct create_door *door, const struct ps_blob_name *input)
{
    struct ps_fault fault;
    struct ps_store_command *command = ps_store_call_new(door->conn, PS_STORE_BATCH_ADD);
    if (command == NULL) {
        return;
    }
    if (fill_batch(door, command, input, &fault) != 0) {
        ps_store_command_free(command);
        ps_reply_fault(door->conn, &fault);
        return;
    }
    ps_store_call(&door->call, door->conn, command, on_added);
}

static void on_upload_end(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                          const unsigned char *sha256)
{
    struct create_door *door = arg;
    (void)length;
    (void)sha256;
    door->upload = NULL;
    if (error == 0) {
        add_batch(door, name);
        return;
    }
    ps_side_errno(error, &door->fault);
    if (door->answering) {
        ps_reply_fault(door->conn, &door->fault);
    } else {
        ps_conn_pause_body(door->conn, false);
    }
}

/* ---- the door ---- */

static int check_head(struct ps_conn *conn, struct ps_fault *fault)
{
    uint64_t most = ps_conn_config(conn)->limits.file_bytes;
    struct ps_slice type = ps_http_value(conn->request.head, "content-type", NULL);
    if (type.len > 0 && !ps_http_media_is(type, "application/json") &&
        !ps_http_media_is(type, "application/x-www-form-urlencoded")) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_MEDIA, NULL,
                            "Content-Type must be application/json.");
    }
    if (!conn->request.head->chunked && conn->request.head->content_length > most) {
        return ps_fault_set(fault, PS_FAULT_BODY_TOO_LARGE, NULL,
                            "The body is larger than the limit of %llu bytes.",
                            (unsigned long long)most);
    }
    ps_http_parser_limit_body(conn->parser, most);
    return ps_side_check(conn, fault);
}

static int open_create(struct ps_conn *conn, struct ps_fault *fault)
{
    if (check_head(conn, fault) != 0) {
        return -1;
    }
    struct create_door *door = ps_calloc(1, sizeof(*door));
    if (door == NULL) {
        return out_of_memory(fault);
    }
    door->conn = conn;
    ps_split_init(&door->split, (size_t)ps_conn_config(conn)->limits.body_bytes, &split_ops, door);
    ps_sha256_init(&door->hash);
    conn->request.side = door;
    return 0;
}

static int take_create(struct ps_conn *conn, const char *ptr, size_t len, struct ps_fault *fault)
{
    struct create_door *door = conn->request.side;
    int result = -1;
    if (door->fault.kind == PS_FAULT_NONE) {
        ps_sha256_update(&door->hash, ptr, len);
        result = ps_split_feed(&door->split, ptr, len, fault);
        result = result == 0 ? charge(door, fault) : result;
    }
    if (door->fault.kind != PS_FAULT_NONE) {
        *fault = door->fault; /* the disk's, whatever else there is */
    }
    if (result != 0) {
        drop_upload(door);
        ps_conn_pause_body(conn, false);
    } else if (door->upload != NULL && ps_upload_full(door->upload)) {
        ps_conn_pause_body(conn, true);
    }
    return result;
}

static void run_create(struct ps_conn *conn)
{
    struct create_door *door = conn->request.side;
    struct ps_fault fault;
    door->answering = true;
    if (door->fault.kind != PS_FAULT_NONE) {
        fault = door->fault;
    } else if (ps_split_finish(&door->split, &fault) == 0) {
        ps_upload_finish(door->upload);
        return;
    }
    drop_upload(door);
    ps_reply_fault(conn, &fault);
}

static void close_create(struct ps_conn *conn)
{
    struct create_door *door = conn->request.side;
    drop_upload(door);
    ps_store_call_drop(&door->call);
    ps_split_deinit(&door->split);
    ps_budget_release(budget_of(door), door->charged);
    ps_free(door->slots);
    ps_free(door);
}

const struct ps_side_ops ps_message_batches_ops = {open_create, take_create, run_create, NULL,
                                                   close_create};
