/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "penstock/base/clock.h"

#include <stdio.h>

/* Answers, from the status line to the last byte queued. Writing to a stream that is gone does
 * nothing. */

static void write_exchange_headers(struct ps_conn *conn, struct ps_buf *out)
{
    struct ps_exchange *ex = conn->request.exchange;
    struct ps_slice provider = ps_exchange_provider(ex);
    if (provider.len > 0) {
        ps_http_write_header(out, PS_SLICE_LIT("x-penstock-provider"), provider);
    }
    struct ps_slice model = ps_exchange_model(ex);
    if (model.len > 0) {
        ps_http_write_header(out, PS_SLICE_LIT("x-penstock-model"), model);
    }
    ps_http_write_header_uint(out, "x-penstock-attempts", ps_exchange_attempts(ex));
    ps_http_write_header_uint(out, "x-penstock-overhead-us", (uint64_t)ps_exchange_overhead_us(ex));
    struct ps_slice dropped = ps_exchange_dropped(ex);
    if (dropped.len > 0) {
        ps_http_write_header(out, PS_SLICE_LIT("x-penstock-dropped"), dropped);
    }
    struct ps_slice upstream_id = ps_exchange_upstream_id(ex);
    if (upstream_id.len > 0) {
        ps_http_write_header(out, PS_SLICE_LIT("x-penstock-upstream-id"), upstream_id);
    }
}

void ps_reply_begin(struct ps_conn *conn, struct ps_buf *out, int status)
{
    struct ps_conn_request *request = &conn->request;
    request->status = status;
    ps_http_write_status(out, status, ps_clock_wall_ms());
    struct ps_slice id =
        request->client_id.len > 0 ? request->client_id : ps_slice_cstr(request->id.text);
    if (id.len > 0) {
        ps_http_write_header(out, PS_SLICE_LIT("x-request-id"), id);
        if (request->door != NULL && request->door->family == PS_FAMILY_ANTHROPIC) {
            ps_http_write_header(out, PS_SLICE_LIT("request-id"), id);
        }
    }
    if (request->exchange != NULL) {
        write_exchange_headers(conn, out);
    }
    if (request->origin.len > 0) {
        ps_http_write_header(out, PS_SLICE_LIT("access-control-allow-origin"), request->origin);
        ps_http_write_header_cstr(
            out, "access-control-expose-headers",
            "x-request-id, location, x-penstock-provider, x-penstock-model, x-penstock-attempts, "
            "x-penstock-overhead-us, x-penstock-upstream-id, retry-after, retry-after-ms");
        ps_http_write_header_cstr(out, "vary", "Origin");
    }
}

static bool is_head(const struct ps_conn *conn)
{
    return conn->request.head != NULL && conn->request.head->method == PS_HTTP_HEAD;
}

static int minor(const struct ps_conn *conn)
{
    return conn->request.head != NULL ? conn->request.head->minor : 1;
}

void ps_reply_send(struct ps_conn *conn, struct ps_buf *out, struct ps_slice body)
{
    struct ps_conn_request *request = &conn->request;
    bool bare = is_head(conn) || request->status == 204 || request->status == 304;
    ps_http_write_end(out, bare ? PS_HTTP_NO_BODY : PS_HTTP_LENGTH, body.len, request->keep_alive,
                      minor(conn));
    struct ps_slice parts[] = {ps_buf_view(out), body};
    if (out->failed || ps_stream_writev(conn->stream, parts, bare ? 1 : 2) != 0) {
        ps_conn_cut(conn, PS_END_CUT, NULL, false);
        return;
    }
    request->sent = bare ? 0 : body.len;
    ps_conn_answered(conn, request->fault.kind == PS_FAULT_NONE ? PS_END_DONE : PS_END_FAULT,
                     &request->fault);
}

#define HEAD_BYTES 65536

void ps_reply(struct ps_conn *conn, int status, const char *content_type, struct ps_slice body)
{
    struct ps_buf out;
    ps_buf_init(&out, HEAD_BYTES);
    ps_reply_begin(conn, &out, status);
    if (content_type != NULL) {
        ps_http_write_header_cstr(&out, "content-type", content_type);
    }
    ps_reply_send(conn, &out, body);
    ps_buf_deinit(&out);
}

static void write_retry_headers(const struct ps_fault *fault, struct ps_buf *out)
{
    int status = ps_fault_status(fault);
    int64_t wait_ms = fault->retry_after_ms;
    if (wait_ms <= 0 && status == 503) {
        wait_ms = 1000;
    }
    if (wait_ms > 0 && (status == 429 || status == 503)) {
        ps_http_write_header_uint(out, "retry-after", (uint64_t)(wait_ms + 999) / 1000);
        ps_http_write_header_uint(out, "retry-after-ms", (uint64_t)wait_ms);
    }
    if (fault->no_retry) {
        ps_http_write_header_cstr(out, "x-should-retry", "false");
    }
}

void ps_reply_fault(struct ps_conn *conn, const struct ps_fault *fault)
{
    struct ps_buf out;
    struct ps_buf body;
    struct ps_conn_request *request = &conn->request;
    request->fault = *fault;
    ps_buf_init(&out, HEAD_BYTES);
    ps_buf_init(&body, HEAD_BYTES);
    ps_dialect_write_fault(ps_dialect_of_family(ps_inference_family(conn)), fault,
                           ps_slice_cstr(request->id.text), &body);
    ps_reply_begin(conn, &out, ps_fault_status(fault));
    ps_http_write_header_cstr(&out, "content-type", "application/json");
    write_retry_headers(fault, &out);
    if (fault->kind == PS_FAULT_METHOD_NOT_ALLOWED && request->door != NULL) {
        char allow[64];
        ps_door_allow(request->door, allow, sizeof(allow));
        ps_http_write_header_cstr(&out, "allow", allow);
    }
    if (fault->kind == PS_FAULT_UNAUTHORIZED) {
        ps_http_write_header_cstr(&out, "www-authenticate", "Bearer");
    }
    ps_reply_send(conn, &out, ps_buf_view(&body));
    ps_buf_deinit(&out);
    ps_buf_deinit(&body);
}
