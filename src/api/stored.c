/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

/*
 * An answer around a body that is stored. A small one came with its row: everything is written at
 * once. A big one lies in a blob and is read in pieces, as fast as the client takes them; the head
 * goes out with the first piece, so that a blob that cannot be read is still an error.
 *
 * A read that fails behind the head cuts the answer.
 */

static void begin(struct ps_stored *stored)
{
    if (stored->begun) {
        return;
    }
    stored->begun = true;
    if (ps_body_begin(stored->conn, &stored->head) == 0) {
        (void)ps_body_write(stored->conn, stored->before);
    }
}

/* Line ends inside JSON stand between tokens: a space is as good. */
static void write_lines_as_one(struct ps_conn *conn, const char *ptr, size_t len)
{
    size_t run = 0;
    for (size_t i = 0; i < len; i++) {
        if (ptr[i] == '\n' || ptr[i] == '\r') {
            if (ps_body_write(conn, ps_slice(ptr + run, i - run)) != 0 ||
                ps_body_write(conn, PS_SLICE_LIT(" ")) != 0) {
                return;
            }
            run = i + 1;
        }
    }
    (void)ps_body_write(conn, ps_slice(ptr + run, len - run));
}

static void write_piece(struct ps_stored *stored, const char *ptr, size_t len)
{
    if (stored->one_line) {
        write_lines_as_one(stored->conn, ptr, len);
    } else {
        (void)ps_body_write(stored->conn, ps_slice(ptr, len));
    }
}

static void finish(struct ps_stored *stored)
{
    if (!stored->conn->request.answered && ps_body_write(stored->conn, stored->behind) == 0) {
        ps_body_end(stored->conn);
    }
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct ps_stored *stored = arg;
    begin(stored);
    if (stored->conn->request.answered) {
        return; /* it was cut; the end of the request, this turn, cancels the rest */
    }
    write_piece(stored, ptr, len);
    if (ps_stream_is_full(stored->conn->stream)) {
        ps_download_pause(stored->download);
    }
}

static void on_end(void *arg, int error)
{
    struct ps_stored *stored = arg;
    struct ps_fault fault;
    stored->download = NULL;
    if (stored->conn->request.answered) {
        return;
    }
    if (error == 0) {
        begin(stored);
        finish(stored);
        return;
    }
    ps_side_errno(error, &fault);
    if (stored->begun) {
        ps_body_cut(stored->conn, &fault);
    } else {
        ps_reply_fault(stored->conn, &fault);
    }
}

static const struct ps_download_ops download_ops = {on_data, on_end};

static void send_head_alone(struct ps_conn *conn, const struct ps_body_head *head)
{
    struct ps_buf out;
    ps_buf_init(&out, 65536);
    ps_reply_begin(conn, &out, head->status);
    if (head->content_type.len > 0) {
        ps_http_write_header(&out, PS_SLICE_LIT("content-type"), head->content_type);
    }
    for (size_t i = 0; i < head->header_count; i++) {
        ps_http_write_header(&out, head->headers[i].name, head->headers[i].value);
    }
    ps_http_write_end(&out, PS_HTTP_NO_BODY, head->length > 0 ? (uint64_t)head->length : 0,
                      conn->request.keep_alive, conn->request.head->minor);
    struct ps_slice bytes = ps_buf_view(&out);
    if (out.failed || ps_stream_write(conn->stream, bytes.ptr, bytes.len) != 0) {
        ps_conn_cut(conn, PS_END_CUT, NULL, false);
    } else {
        ps_conn_answered(conn, PS_END_DONE, NULL);
    }
    ps_buf_deinit(&out);
}

void ps_stored_send(struct ps_stored *stored, struct ps_conn *conn, const struct ps_body_head *head,
                    struct ps_slice before, const struct ps_store_body *body,
                    struct ps_slice behind)
{
    bool blob = body->blob.text[0] != '\0';
    uint64_t length = blob ? body->length : body->bytes.len;
    stored->conn = conn;
    stored->before = before;
    stored->behind = behind;
    if (!stored->begun) {
        stored->head = *head;
        stored->head.length = (int64_t)(before.len + length + behind.len);
        if (conn->request.head->method == PS_HTTP_HEAD) {
            send_head_alone(conn, &stored->head);
            return;
        }
    } else if (ps_body_write(conn, before) != 0) {
        return;
    }
    if (!blob) {
        begin(stored);
        write_piece(stored, body->bytes.ptr, body->bytes.len);
        finish(stored);
        return;
    }
    stored->download = ps_download_new(ps_store_blobs(ps_jobs_store(ps_side_jobs(conn))),
                                       conn->server->gl->mailbox, &body->blob, body->offset,
                                       body->length, &download_ops, stored);
    if (stored->download == NULL) {
        struct ps_fault fault;
        ps_store_fault(PS_STORE_NO_MEMORY, "file", &fault);
        if (stored->begun) {
            ps_body_cut(conn, &fault);
        } else {
            ps_reply_fault(conn, &fault);
        }
    }
}

void ps_stored_drain(struct ps_stored *stored)
{
    if (stored->download != NULL) {
        ps_download_resume(stored->download);
    }
}

void ps_stored_cancel(struct ps_stored *stored)
{
    if (stored->download != NULL) {
        ps_download_cancel(stored->download);
        stored->download = NULL;
    }
}
