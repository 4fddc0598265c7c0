/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

/*
 * The body of an answer that comes in pieces: its head, its framing, its end. The client sees a
 * complete answer only when all of it was sent: a promised length that was not reached, or a body
 * in chunks that was cut, ends without its end.
 */

#define HEAD_BYTES 65536
#define SILENCE_US                                                                                 \
    INT64_C(15000000) /* after so long without a byte an event stream gets a comment */

static int out_of_memory(struct ps_conn *conn)
{
    struct ps_fault *fault = &conn->request.fault;
    (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL, "The gateway's buffer memory is used up.");
    ps_conn_cut(conn, PS_END_CUT, fault, false);
    return -1;
}

int ps_body_begin(struct ps_conn *conn, const struct ps_body_head *head)
{
    struct ps_conn_request *request = &conn->request;
    struct ps_buf out;
    ps_buf_init(&out, HEAD_BYTES);
    ps_reply_begin(conn, &out, head->status);
    if (head->content_type.len > 0) {
        ps_http_write_header(&out, PS_SLICE_LIT("content-type"), head->content_type);
    }
    if (head->live) {
        ps_http_write_header_cstr(&out, "cache-control", "no-cache");
        ps_http_write_header_cstr(&out, "x-accel-buffering", "no");
    }
    for (size_t i = 0; i < head->header_count; i++) {
        ps_http_write_header(&out, head->headers[i].name, head->headers[i].value);
    }
    request->framing = PS_HTTP_CHUNKED;
    if (head->length >= 0) {
        request->framing = PS_HTTP_LENGTH;
        request->length = (uint64_t)head->length;
    } else if (request->head->minor == 0) {
        request->framing = PS_HTTP_UNTIL_CLOSE;
        request->keep_alive = false;
    }
    ps_http_write_end(&out, request->framing, request->length, request->keep_alive,
                      request->head->minor);
    struct ps_slice bytes = ps_buf_view(&out);
    bool failed = out.failed || ps_stream_write(conn->stream, bytes.ptr, bytes.len) != 0;
    ps_buf_deinit(&out);
    return failed ? out_of_memory(conn) : 0;
}

int ps_body_write(struct ps_conn *conn, struct ps_slice bytes)
{
    struct ps_conn_request *request = &conn->request;
    if (bytes.len == 0 || request->status == 0) {
        return 0;
    }
    int result;
    if (request->framing == PS_HTTP_CHUNKED) {
        char head[20];
        struct ps_slice parts[] = {ps_slice(head, ps_http_chunk_head(head, bytes.len)), bytes,
                                   PS_SLICE_LIT("\r\n")};
        result = ps_stream_writev(conn->stream, parts, 3);
    } else {
        result = ps_stream_write(conn->stream, bytes.ptr, bytes.len);
    }
    if (result != 0) {
        return out_of_memory(conn);
    }
    request->sent += bytes.len;
    if (request->sse) {
        (void)ps_timer_set(&conn->timer, SILENCE_US);
    }
    return 0;
}

void ps_body_end(struct ps_conn *conn)
{
    struct ps_conn_request *request = &conn->request;
    if (request->framing == PS_HTTP_CHUNKED &&
        ps_stream_write(conn->stream, ps_http_last_chunk.ptr, ps_http_last_chunk.len) != 0) {
        (void)out_of_memory(conn);
        return;
    }
    if (request->framing == PS_HTTP_LENGTH && request->sent != request->length) {
        ps_conn_cut(conn, PS_END_CUT, &request->fault, true);
        return;
    }
    ps_conn_answered(conn, PS_END_DONE, NULL);
}

void ps_body_cut(struct ps_conn *conn, const struct ps_fault *fault)
{
    struct ps_conn_request *request = &conn->request;
    /* Without a last chunk or the promised length an end of the connection is not the end of the
     * answer; where the connection's end is the only mark there is, it has to be a reset. */
    ps_conn_cut(conn, PS_END_CUT, fault, request->framing != PS_HTTP_UNTIL_CLOSE || request->sse);
}

void ps_body_silence(struct ps_conn *conn)
{
    if (conn->request.sse && !conn->request.answered) {
        /* events are written whole, so this stands between two */
        enum ps_family family = ps_inference_family(conn);
        (void)ps_body_write(conn, ps_dialect_ping(ps_dialect_of_family(family)));
    }
}
