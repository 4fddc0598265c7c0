/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/json_scan.h"

/* Reading and deleting files: list, one, its content. */

#define LIST_LIMIT 10000
#define LIST_PAGE  1000 /* rows in one answer at most: the rest is behind has_more */
#define LIST_BYTES (8u << 20)

/* ---- GET /v1/files ---- */

static void on_list(struct ps_conn *conn, struct ps_store_command *command)
{
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "file");
        return;
    }
    const struct ps_store_out *found = &command->out;
    struct ps_buf out;
    ps_buf_init(&out, LIST_BYTES);
    ps_buf_cstr(&out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < found->file_count; i++) {
        ps_buf_cstr(&out, i > 0 ? "," : "");
        ps_file_write(&out, &found->files[i]);
    }
    ps_side_list_end(&out, found->file_count > 0 ? found->files[0].id.text : NULL,
                     found->file_count > 0 ? found->files[found->file_count - 1].id.text : NULL,
                     found->more);
    ps_side_json(conn, &out);
}

static int read_order(struct ps_conn *conn, struct ps_store_page *page, struct ps_fault *fault)
{
    struct ps_slice order;
    if (ps_query_find(conn, "order", &order, fault) != 0) {
        return -1;
    }
    page->ascending = ps_slice_eq_cstr(order, "asc");
    if (order.ptr != NULL && !page->ascending && !ps_slice_eq_cstr(order, "desc")) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "order", "order must be asc or desc.");
    }
    return 0;
}

static void run_list(struct ps_conn *conn)
{
    struct ps_side *side = conn->request.side;
    struct ps_store_page page = {.ascending = false};
    struct ps_slice purpose;
    struct ps_fault fault;
    if (ps_query_page(conn, "file-", LIST_LIMIT, LIST_LIMIT, &page, &fault) != 0 ||
        read_order(conn, &page, &fault) != 0 ||
        ps_query_find(conn, "purpose", &purpose, &fault) != 0) {
        ps_reply_fault(conn, &fault);
        return;
    }
    page.limit = page.limit < LIST_PAGE ? page.limit : LIST_PAGE;
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_FILE_LIST);
    if (command == NULL) {
        return;
    }
    page.purpose = ps_store_command_copy(command, purpose);
    if (page.purpose.ptr == NULL) {
        ps_store_command_free(command);
        ps_side_refuse(conn, PS_STORE_NO_MEMORY, "file");
        return;
    }
    command->in.list = page;
    ps_store_call(&side->call, conn, command, on_list);
}

const struct ps_side_ops ps_files_list_ops = {ps_side_open, ps_side_ignore, run_list, NULL,
                                              ps_side_close};

/* ---- GET, DELETE /v1/files/{id} ---- */

static void on_one(struct ps_conn *conn, struct ps_store_command *command)
{
    bool deleted = conn->request.head->method == PS_HTTP_DELETE;
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "file");
        return;
    }
    if (!deleted && (command->out.file_count == 0 || ps_file_is_over(&command->out.files[0]))) {
        ps_side_no_such(conn, "file");
        return;
    }
    struct ps_buf out;
    ps_buf_init(&out, 65536);
    if (deleted) {
        ps_buf_cstr(&out, "{\"id\":");
        ps_buf_json(&out, ps_slice_cstr(command->in.id.text));
        ps_buf_cstr(&out, ",\"object\":\"file\",\"deleted\":true}");
    } else {
        ps_file_write(&out, &command->out.files[0]);
    }
    ps_side_json(conn, &out);
}

static void run_one(struct ps_conn *conn)
{
    struct ps_side *side = conn->request.side;
    bool deletes = conn->request.head->method == PS_HTTP_DELETE;
    struct ps_id id;
    if (!ps_side_id(conn, "/v1/files/", "file-", "file", &id)) {
        return;
    }
    struct ps_store_command *command =
        ps_store_call_new(conn, deletes ? PS_STORE_FILE_DELETE : PS_STORE_FILE_GET);
    if (command != NULL) {
        command->in.id = id;
        ps_store_call(&side->call, conn, command, on_one);
    }
}

const struct ps_side_ops ps_files_one_ops = {ps_side_open, ps_side_ignore, run_one, NULL,
                                             ps_side_close};

/* ---- GET /v1/files/{id}/content ---- */

struct content_door {
    struct ps_side side; /* first: closed as one */
    struct ps_stored stored;
    struct ps_call_header headers[3];
    size_t header_count;
    struct ps_body_head head;
};

static void add_header(struct content_door *door, struct ps_slice name, const char *value)
{
    if (value != NULL) {
        door->headers[door->header_count++] = (struct ps_call_header){name, ps_slice_cstr(value)};
    }
}

/*
 * The part that `Range` asks for (RFC 9110 section 14.2): "bytes=first-last", "first-" or "-last".
 * Several, or what we do not understand: all of it. -1: outside the file.
 */
static int read_range(struct ps_slice value, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
    struct ps_slice unit = PS_SLICE_LIT("bytes=");
    const char *dash;
    int64_t first = -1;
    int64_t last = -1;
    if (!ps_slice_starts(value, unit)) {
        return 0;
    }
    value = ps_slice(value.ptr + unit.len, value.len - unit.len);
    dash = value.len > 0 ? memchr(value.ptr, '-', value.len) : NULL;
    if (dash == NULL) {
        return 0;
    }
    struct ps_slice left = ps_slice(value.ptr, (size_t)(dash - value.ptr));
    struct ps_slice right = ps_slice(dash + 1, value.len - left.len - 1);
    if ((left.len > 0 && (!ps_json_int(left, &first) || first < 0)) ||
        (right.len > 0 && (!ps_json_int(right, &last) || last < 0)) ||
        (left.len == 0 && right.len == 0) || (left.len > 0 && right.len > 0 && last < first)) {
        return 0;
    }
    uint64_t from = (uint64_t)first;
    uint64_t to = right.len > 0 && (uint64_t)last < size ? (uint64_t)last + 1 : size;
    if (left.len == 0) { /* the last so many */
        from = (uint64_t)last < size ? size - (uint64_t)last : 0;
        to = size;
        if (last == 0) {
            return -1;
        }
    }
    if (from >= size) {
        return -1;
    }
    *ret_first = from;
    *ret_len = to - from;
    return 1;
}

static void refuse_range(struct ps_conn *conn)
{
    struct ps_fault fault;
    (void)ps_fault_set(&fault, PS_FAULT_RANGE, "Range", "The file has no such range.");
    ps_reply_fault(conn, &fault);
}

static bool is_plain(unsigned char byte)
{
    static const char others[] = "!#$&+-.^_`|~";
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != 0 && strchr(others, byte) != NULL);
}

/* A name that cannot break the header: in quotes when it is plain, else as RFC 8187 has it. */
static const char *disposition(struct ps_conn *conn, struct ps_slice filename)
{
    static const char digits[] = "0123456789ABCDEF";
    struct ps_slice head = PS_SLICE_LIT("attachment; filename*=UTF-8''");
    char *text = ps_arena_alloc(&conn->arena, head.len + 3 * filename.len + 1);
    size_t plain = 0;
    if (text == NULL) {
        return NULL;
    }
    while (plain < filename.len && is_plain((unsigned char)filename.ptr[plain])) {
        plain++;
    }
    if (plain == filename.len) {
        return ps_arena_printf(&conn->arena, "attachment; filename=\"%.*s\"", (int)filename.len,
                               filename.ptr);
    }
    memcpy(text, head.ptr, head.len);
    char *at = text + head.len;
    for (size_t i = 0; i < filename.len; i++) {
        unsigned char byte = (unsigned char)filename.ptr[i];
        if (is_plain(byte)) {
            *at++ = (char)byte;
        } else {
            *at++ = '%';
            *at++ = digits[byte >> 4];
            *at++ = digits[byte & 15];
        }
    }
    *at = '\0';
    return text;
}

static void on_content(struct ps_conn *conn, struct ps_store_command *command)
{
    struct content_door *door = conn->request.side;
    if (command->status == PS_STORE_OK &&
        (command->out.file_count == 0 || ps_file_is_over(&command->out.files[0]))) {
        command->status = PS_STORE_NOT_FOUND;
    }
    if (command->status != PS_STORE_OK) {
        ps_side_refuse(conn, command->status, "file");
        return;
    }
    const struct ps_store_file *file = &command->out.files[0];
    struct ps_store_body body = {.blob = file->blob, .length = file->bytes};
    int ranged = read_range(ps_http_value(conn->request.head, "range", NULL), file->bytes,
                            &body.offset, &body.length);
    if (ranged < 0) {
        refuse_range(conn);
        return;
    }
    door->head.status = 200;
    if (ranged > 0) {
        door->head.status = 206;
        add_header(door, PS_SLICE_LIT("content-range"),
                   ps_arena_printf(&conn->arena, "bytes %llu-%llu/%llu",
                                   (unsigned long long)body.offset,
                                   (unsigned long long)(body.offset + body.length - 1),
                                   (unsigned long long)file->bytes));
    }
    add_header(door, PS_SLICE_LIT("accept-ranges"), "bytes");
    add_header(door, PS_SLICE_LIT("content-disposition"), disposition(conn, file->filename));
    door->head.content_type = PS_SLICE_LIT("application/octet-stream");
    door->head.headers = door->headers;
    door->head.header_count = door->header_count;
    if (body.length == 0) {
        body.blob.text[0] = '\0'; /* nothing to read */
    }
    ps_stored_send(&door->stored, conn, &door->head, PS_SLICE_NONE, &body, PS_SLICE_NONE);
}

static int open_content(struct ps_conn *conn, struct ps_fault *fault)
{
    return ps_side_open_sized(conn, sizeof(struct content_door), fault);
}

static void run_content(struct ps_conn *conn)
{
    struct content_door *door = conn->request.side;
    struct ps_id id;
    if (!ps_side_id(conn, "/v1/files/", "file-", "file", &id)) {
        return;
    }
    struct ps_store_command *command = ps_store_call_new(conn, PS_STORE_FILE_GET);
    if (command != NULL) {
        command->in.id = id;
        ps_store_call(&door->side.call, conn, command, on_content);
    }
}

static void drain_content(struct ps_conn *conn)
{
    struct content_door *door = conn->request.side;
    ps_stored_drain(&door->stored);
}

static void close_content(struct ps_conn *conn)
{
    struct content_door *door = conn->request.side;
    ps_stored_cancel(&door->stored);
    ps_side_close(conn);
}

const struct ps_side_ops ps_files_content_ops = {open_content, ps_side_ignore, run_content,
                                                 drain_content, close_content};
