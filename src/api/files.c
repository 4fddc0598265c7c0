/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"
#include "side.h"

#include "penstock/base/clock.h"
#include "penstock/base/json_scan.h"
#include "penstock/base/mem.h"

#include <errno.h>

/*
 * POST /v1/files: the parts of a form, in any order, the file's bytes going to disk as they come.
 *
 * The happy path: the part `file` opens an upload and is written into it; an upload that is full
 * pauses the connection. At the end of the body the fields are checked and the upload is committed;
 * when it is on disk the row is added, and when that is on disk the client is told.
 *
 * How it fails: what is wrong with the form ends the upload at once, nothing stays on disk. A disk
 * error is told with the next bytes of the body, or at its end. A client that leaves cancels the
 * upload; a blob whose row could not be added is swept by the store.
 */

#define FORM_EXTRA    (512u << 10) /* of the body, beside the file */
#define FIELD_BYTES   256
#define FILENAME_KEPT 255
#define DAY_MS        INT64_C(86400000)
#define BATCH_LIFE_MS (30 * DAY_MS)

#define FIELDS(X)                                                                                  \
    X(FILE, "file")                                                                                \
    X(PURPOSE, "purpose")                                                                          \
    X(ANCHOR, "expires_after[anchor]")                                                             \
    X(SECONDS, "expires_after[seconds]")

enum field {
#define X(name, text) FIELD_##name,
    FIELDS(X)
#undef X
    FIELD_COUNT,
    FIELD_NONE
};

static const char *const field_names[] = {
#define X(name, text) text,
    FIELDS(X)
#undef X
};

struct upload_door {
    struct ps_store_call call;
    struct ps_conn *conn;
    struct ps_form form;
    struct ps_upload *upload; /* owned; NULL: none runs */
    bool given[FIELD_COUNT];
    enum field current;
    char values[FIELD_COUNT][FIELD_BYTES];
    size_t lengths[FIELD_COUNT];
    char filename[FILENAME_KEPT + 1];
    uint64_t bytes;
    uint64_t max_bytes;
    bool answering;        /* the body is complete */
    struct ps_fault fault; /* of the upload, to be told with the next bytes */
};

static const char *const purposes[] = {"batch",  "fine-tune", "assistants",
                                       "vision", "user_data", "evals"};

static void drop_upload(struct upload_door *door)
{
    if (door->upload != NULL) {
        ps_upload_cancel(door->upload);
        door->upload = NULL;
    }
}

static void refuse(struct upload_door *door, const struct ps_fault *fault)
{
    drop_upload(door);
    ps_reply_fault(door->conn, fault);
}

/* ---- what is asked for ---- */

struct wish {
    struct ps_slice purpose;
    int64_t life_ms; /* 0: for ever */
};

static int missing(struct ps_fault *fault, const char *name)
{
    return ps_fault_set(fault, PS_FAULT_MISSING_FIELD, name, "The field %s is missing.", name);
}

static struct ps_slice value_of(const struct upload_door *door, enum field field)
{
    return ps_slice(door->values[field], door->lengths[field]);
}

static int check_purpose(const struct upload_door *door, struct wish *wish, struct ps_fault *fault)
{
    struct ps_slice purpose = value_of(door, FIELD_PURPOSE);
    if (!door->given[FIELD_PURPOSE]) {
        return missing(fault, "purpose");
    }
    for (size_t i = 0; i < sizeof(purposes) / sizeof(purposes[0]); i++) {
        if (ps_slice_eq_cstr(purpose, purposes[i])) {
            wish->purpose = ps_slice_cstr(purposes[i]);
            wish->life_ms = i == 0 ? BATCH_LIFE_MS : 0;
            return 0;
        }
    }
    return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "purpose",
                        "purpose must be batch, fine-tune, assistants, vision, user_data or "
                        "evals.");
}

static int check_wish(const struct upload_door *door, struct wish *wish, struct ps_fault *fault)
{
    if (check_purpose(door, wish, fault) != 0) {
        return -1;
    }
    if (!door->given[FIELD_FILE]) {
        return missing(fault, "file");
    }
    if (!door->given[FIELD_ANCHOR] && !door->given[FIELD_SECONDS]) {
        return 0;
    }
    if (!door->given[FIELD_ANCHOR] || !door->given[FIELD_SECONDS]) {
        return missing(fault,
                       field_names[door->given[FIELD_ANCHOR] ? FIELD_SECONDS : FIELD_ANCHOR]);
    }
    int64_t seconds = 0;
    if (!ps_slice_eq_cstr(value_of(door, FIELD_ANCHOR), "created_at")) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, field_names[FIELD_ANCHOR],
                            "expires_after[anchor] must be created_at.");
    }
    if (!ps_json_int(value_of(door, FIELD_SECONDS), &seconds) || seconds < 3600 ||
        seconds > 2592000) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, field_names[FIELD_SECONDS],
                            "expires_after[seconds] must be 3600 to 2592000.");
    }
    wish->life_ms = seconds * 1000;
    return 0;
}

/* What is shown of the client's name for it: the last part of a path, no control characters. */
static void keep_filename(struct upload_door *door, struct ps_slice name)
{
    size_t len = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '/' || name.ptr[i] == '\\') {
            name = ps_slice(name.ptr + i + 1, name.len - i - 1);
            i = (size_t)-1;
        }
    }
    while (name.len > 0) {
        size_t step = ps_utf8_length(name.ptr, name.len);
        bool bad = step == 0 || (unsigned char)name.ptr[0] < 0x20 || name.ptr[0] == 0x7f;
        size_t take = step == 0 ? 1 : step;
        if (len + take > FILENAME_KEPT) {
            break;
        }
        memcpy(door->filename + len, bad ? "_" : name.ptr, bad ? 1 : take);
        len += bad ? 1 : take;
        name = ps_slice(name.ptr + take, name.len - take);
    }
    if (len == 0) {
        memcpy(door->filename, "upload", 7);
        len = 6;
    }
    door->filename[len] = '\0';
}

/* ---- the row ---- */

static void on_added(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "file");
        return;
    }
    struct ps_buf out;
    ps_buf_init(&out, 65536);
    ps_file_write(&out, &command->in.file);
    ps_side_json(conn, &out);
}

static void add_row(struct upload_door *door, const struct ps_blob_name *name, uint64_t length)
{
    struct wish wish;
    struct ps_fault fault;
    if (check_wish(door, &wish, &fault) != 0) {
        ps_reply_fault(door->conn, &fault); /* was checked before */
        return;
    }
    struct ps_store_command *command = ps_store_call_new(door->conn, PS_STORE_FILE_ADD);
    if (command == NULL) {
        return;
    }
    struct ps_store_file *file = &command->in.file;
    ps_id_make(&file->id, "file-");
    file->tenant = command->in.tenant;
    file->purpose = wish.purpose;
    file->filename = ps_store_command_copy(command, ps_slice_cstr(door->filename));
    file->bytes = length;
    file->created_ms = command->in.now_ms;
    file->expires_ms = wish.life_ms != 0 ? file->created_ms + wish.life_ms : 0;
    file->blob = *name;
    command->in.id = file->id;
    if (file->filename.ptr == NULL) {
        ps_store_command_free(command);
        ps_side_refuse(door->conn, PS_STORE_NO_MEMORY, "file");
        return;
    }
    ps_store_call(&door->call, door->conn, command, on_added);
}

/* ---- the upload ---- */

static void on_room(void *arg)
{
    struct upload_door *door = arg;
    ps_conn_pause_body(door->conn, false);
}

static void on_upload_end(void *arg, int error, const struct ps_blob_name *name, uint64_t length,
                          const unsigned char *sha256)
{
    struct upload_door *door = arg;
    (void)sha256;
    door->upload = NULL;
    if (error != 0) {
        ps_side_errno(error, &door->fault);
        if (door->answering) {
            ps_reply_fault(door->conn, &door->fault);
        } else {
            ps_conn_pause_body(door->conn, false);
        }
    } else {
        add_row(door, name, length);
    }
}

static const struct ps_upload_ops upload_ops = {on_room, on_upload_end};

static int begin_file(struct upload_door *door, const struct ps_form_part *part,
                      struct ps_fault *fault)
{
    struct ps_blobs *blobs = ps_store_blobs(ps_jobs_store(ps_side_jobs(door->conn)));
    keep_filename(door, part->filename);
    door->upload = ps_upload_new(blobs, door->conn->server->gl->mailbox, &upload_ops, door);
    if (door->upload == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    return 0;
}

static int write_file(struct upload_door *door, const char *ptr, size_t len, struct ps_fault *fault)
{
    if (len > door->max_bytes - door->bytes) {
        return ps_fault_set(fault, PS_FAULT_FILE_TOO_LARGE, "file",
                            "The file is larger than the limit of %llu bytes.",
                            (unsigned long long)door->max_bytes);
    }
    if (door->fault.kind != PS_FAULT_NONE) {
        *fault = door->fault;
        return -1;
    }
    door->bytes += len;
    if (ps_upload_write(door->upload, ptr, len) != 0) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway's buffer memory is used up; try again later.");
    }
    return 0;
}

/* ---- the parts ---- */

static int on_part(void *arg, const struct ps_form_part *part, struct ps_fault *fault)
{
    struct upload_door *door = arg;
    door->current = FIELD_NONE;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (!ps_slice_eq_cstr(part->name, field_names[i])) {
            continue;
        }
        if (door->given[i]) {
            return ps_fault_set(fault, PS_FAULT_BAD_FIELD, field_names[i],
                                "The form has the field %s more than once.", field_names[i]);
        }
        door->given[i] = true;
        door->current = (enum field)i;
        return i == FIELD_FILE ? begin_file(door, part, fault) : 0;
    }
    return 0; /* what we do not know is passed over */
}

static int on_part_data(void *arg, const char *ptr, size_t len, struct ps_fault *fault)
{
    struct upload_door *door = arg;
    if (door->current == FIELD_FILE) {
        return write_file(door, ptr, len, fault);
    }
    if (door->current == FIELD_NONE) {
        return 0;
    }
    size_t have = door->lengths[door->current];
    if (len > FIELD_BYTES - have) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, field_names[door->current],
                            "The field %s is too long.", field_names[door->current]);
    }
    memcpy(door->values[door->current] + have, ptr, len);
    door->lengths[door->current] += len;
    return 0;
}

static int on_part_end(void *arg, struct ps_fault *fault)
{
    (void)arg;
    (void)fault;
    return 0;
}

static const struct ps_form_ops form_ops = {on_part, on_part_data, on_part_end};

/* ---- the door ---- */

static int check_length(struct ps_conn *conn, uint64_t max, struct ps_fault *fault)
{
    uint64_t most = max > UINT64_MAX - FORM_EXTRA ? UINT64_MAX : max + FORM_EXTRA;
    if (!conn->request.head->chunked && conn->request.head->content_length > most) {
        return ps_fault_set(fault, PS_FAULT_FILE_TOO_LARGE, "file",
                            "The file is larger than the limit of %llu bytes.",
                            (unsigned long long)max);
    }
    ps_http_parser_limit_body(conn->parser, most);
    return 0;
}

static int open_upload(struct ps_conn *conn, struct ps_fault *fault)
{
    if (ps_side_check(conn, fault) != 0) {
        return -1;
    }
    struct upload_door *door = ps_calloc(1, sizeof(*door));
    if (door == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    door->conn = conn;
    door->max_bytes = ps_conn_config(conn)->limits.file_bytes;
    door->current = FIELD_NONE;
    struct ps_slice type = ps_http_value(conn->request.head, "content-type", NULL);
    if (check_length(conn, door->max_bytes, fault) != 0 ||
        ps_form_init(&door->form, type, &form_ops, door, fault) != 0) {
        ps_free(door);
        return -1;
    }
    conn->request.side = door;
    return 0;
}

static int take_body(struct ps_conn *conn, const char *ptr, size_t len, struct ps_fault *fault)
{
    struct upload_door *door = conn->request.side;
    int result =
        door->fault.kind == PS_FAULT_NONE ? ps_form_feed(&door->form, ptr, len, fault) : -1;
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

static void run_upload(struct ps_conn *conn)
{
    struct upload_door *door = conn->request.side;
    struct wish wish;
    struct ps_fault fault;
    door->answering = true;
    if (door->fault.kind != PS_FAULT_NONE) {
        fault = door->fault;
        refuse(door, &fault);
    } else if (ps_form_finish(&door->form, &fault) != 0 || check_wish(door, &wish, &fault) != 0) {
        refuse(door, &fault);
    } else {
        ps_upload_finish(door->upload);
    }
}

static void close_upload(struct ps_conn *conn)
{
    struct upload_door *door = conn->request.side;
    drop_upload(door);
    ps_store_call_drop(&door->call);
    ps_free(door);
}

const struct ps_side_ops ps_files_ops = {open_upload, take_body, run_upload, NULL, close_upload};
