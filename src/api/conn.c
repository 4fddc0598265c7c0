/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"
#include "penstock/base/mem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * A client connection: requests come in one after the other, each is answered before the next is
 * read.
 *
 * The happy path: IDLE until a byte comes (HEAD); the complete head is checked, cheapest first, and
 * its door opens; the body goes to the door as it comes (BODY); at its end the door answers
 * (ANSWERING); when the answer is queued the request ends, at the end of the turn, and the
 * connection is IDLE again, or closes.
 *
 * How it fails: framing that is wrong or over a limit is answered and closed, since where the next
 * request begins is not known any more. A request that is refused for another reason is answered
 * after its body has been read and dropped, so that the connection stays usable, unless that is
 * long: then answered at once and closed. A client that ends its side while an answer is due is
 * gone: the exchange is cancelled. Slow heads and bodies are answered 408. Every way out leads
 * through CLOSING to the stream's last callback, which frees the connection.
 */

#define LINE_BYTES    8192
#define ARENA_EXTRA   (4u << 20)
#define HIGH_BYTES    (256u << 10)
#define LOW_BYTES     (64u << 10)
#define PENDING_EXTRA (64u << 10) /* input kept while an answer is due, beside one head */
#define DISCARD_BYTES                                                                              \
    (1u << 20) /* of a refused request's body that is read to keep the connection */
#define DRAIN_IDLE_US                                                                              \
    INT64_C(1000000) /* a request may be on its way to an idle connection when the drain begins */
#define SLOW_BYTES_PER_S 1024 /* a body may take body_timeout and a second for each of these */

static int64_t ms(int64_t value)
{
    return value * 1000;
}

/* ---- the end of a request ---- */

/* Requests that never became an exchange are told here; the others tell of themselves. */
static void record_own(const struct ps_conn *conn)
{
    const struct ps_conn_request *request = &conn->request;
    const char *door = request->door != NULL ? request->door->label : "none";
    char status[8];
    int len = snprintf(status, sizeof(status), "%d", request->status);
    struct ps_slice labels[] = {ps_slice_cstr(door), PS_SLICE_LIT("none"), PS_SLICE_LIT("none"),
                                ps_slice(status, (size_t)len)};
    ps_series_add(ps_metrics_series(conn->server->gl->shard, PS_METRIC_REQUESTS, labels), 1);

    bool quiet = request->door != NULL && request->door->open && request->status < 400;
    struct ps_log_line line;
    ps_log_begin(&line, quiet ? PS_LOG_DEBUG : PS_LOG_INFO, "request");
    ps_log_cstr(&line, "request_id", request->id.text);
    if (request->client_id.len > 0) {
        ps_log_str(&line, "client_request_id", request->client_id);
    }
    ps_log_cstr(&line, "client", request->client);
    if (request->identity.key.len > 0) {
        ps_log_str(&line, "key", request->identity.key);
    }
    if (request->identity.tenant.len > 0) {
        ps_log_str(&line, "tenant", request->identity.tenant);
    }
    ps_log_cstr(&line, "door", door);
    if (request->head != NULL) {
        ps_log_str(&line, "method", request->head->method_text);
        ps_log_str(&line, "path", request->head->path);
    }
    ps_log_int(&line, "status", request->status);
    ps_log_cstr(&line, "end", ps_end_reason_word(request->reason));
    if (request->fault.kind != PS_FAULT_NONE) {
        ps_log_cstr(&line, "fault", ps_fault_name(request->fault.kind));
        ps_log_cstr(&line, "fault_message", request->fault.message);
    }
    ps_log_ms(&line, "total_ms", ps_clock_us() - request->received_us);
    ps_log_end(&line);
}

/* The request's one exit. Not inside callbacks of its exchange. */
static void end_request(struct ps_conn *conn)
{
    struct ps_conn_request *request = &conn->request;
    if (request->exchange != NULL) {
        ps_exchange_end(request->exchange, request->reason, request->status, request->sent,
                        &request->fault);
        request->exchange = NULL;
    } else if (request->status != 0) {
        record_own(conn);
    }
    if (request->side != NULL) {
        request->door->side->close(conn);
    }
    ps_writer_free(request->writer);
    memset(request, 0, sizeof(*request));
    ps_arena_reset(&conn->arena);
}

static void close_conn(struct ps_conn *conn, bool flush)
{
    conn->state = PS_CONN_CLOSING;
    ps_timer_cancel(&conn->timer);
    if (flush) {
        ps_stream_close(conn->stream);
    } else {
        ps_stream_abort(conn->stream);
    }
}

void ps_conn_answered(struct ps_conn *conn, enum ps_end_reason reason, const struct ps_fault *fault)
{
    if (fault != NULL && fault != &conn->request.fault) {
        conn->request.fault = *fault;
    }
    conn->request.reason = reason;
    conn->request.answered = true;
    if (conn->state != PS_CONN_CLOSING) {
        conn->state = PS_CONN_ANSWERING;
        ps_timer_cancel(&conn->timer);
    }
    ps_loop_defer(conn->server->gl->loop, &conn->next, PS_PHASE_WORK);
}

void ps_conn_cut(struct ps_conn *conn, enum ps_end_reason reason, const struct ps_fault *fault,
                 bool flush)
{
    if (fault != NULL && fault != &conn->request.fault) {
        conn->request.fault = *fault;
    }
    conn->request.reason = reason;
    conn->request.answered = true;
    close_conn(conn, flush);
    ps_loop_defer(conn->server->gl->loop, &conn->next, PS_PHASE_WORK);
}

/* ---- a request comes in ---- */

/* Remembers the fault; the answer comes when the rest of the request has been read. */
static bool refuse_later(struct ps_conn *conn, const struct ps_fault *fault)
{
    struct ps_conn_request *request = &conn->request;
    const struct ps_http_head *head = request->head;
    request->fault = *fault;
    request->discard_body = true;
    /* A client that waits for 100 Continue may never send the body; a long one is not worth
     * reading. */
    bool worth_reading =
        !head->has_body ||
        (!head->expect_continue && (head->chunked || head->content_length <= DISCARD_BYTES));
    if (!worth_reading) {
        request->keep_alive = false;
        ps_reply_fault(conn, fault);
    }
    return worth_reading;
}

static int check_method(const struct ps_conn *conn, struct ps_fault *fault)
{
    const struct ps_conn_request *request = &conn->request;
    if ((request->door->methods >> request->head->method & 1) != 0) {
        return 0;
    }
    char allow[64];
    ps_door_allow(request->door, allow, sizeof(allow));
    return ps_fault_set(fault, PS_FAULT_METHOD_NOT_ALLOWED, NULL, "This path takes %s.", allow);
}

/* Cheapest check first; nothing costs memory before the caller is known. */
static int admit(struct ps_conn *conn, struct ps_fault *fault)
{
    struct ps_conn_request *request = &conn->request;
    const struct ps_http_head *head = request->head;
    if (conn->refuse) {
        request->keep_alive = false;
        return ps_fault_set(fault, PS_FAULT_OVERLOADED, NULL,
                            "Too many connections are open; try again later.");
    }
    if (ps_access_check(conn, fault) != 0) {
        return -1;
    }
    if (head->method == PS_HTTP_OPTIONS && ps_slice_eq_cstr(head->target, "*")) {
        return 0;
    }
    request->door = ps_door_find(head->path);
    if (request->door == NULL) {
        return ps_fault_set(fault, PS_FAULT_NOT_FOUND, NULL, "There is nothing at this path.");
    }
    if (head->method == PS_HTTP_OPTIONS) {
        return 0;
    }
    request->door = ps_door_taking(request->door, head->method);
    if (check_method(conn, fault) != 0 ||
        (!request->door->open && ps_access_identify(conn, fault) != 0)) {
        return -1;
    }
    if (request->door->kind == PS_DOOR_SIDE) {
        return request->door->side->open(conn, fault);
    }
    return request->door->kind == PS_DOOR_EXCHANGE ? ps_inference_open(conn, fault) : 0;
}

static bool on_head(void *arg, const struct ps_http_head *head)
{
    struct ps_conn *conn = arg;
    struct ps_conn_request *request = &conn->request;
    struct ps_fault fault = {0};
    request->head = head;
    request->received_us = ps_clock_us();
    request->body_since_us = request->received_us;
    request->keep_alive = head->keep_alive && !conn->server->draining;
    ps_id_make(&request->id, "req_");
    struct ps_slice client_id = ps_http_value(head, "x-request-id", NULL);
    if (ps_id_is_sane(client_id)) {
        request->client_id = client_id;
    }
    ps_access_client(conn);
    conn->state = PS_CONN_BODY;
    if (admit(conn, &fault) != 0) {
        return refuse_later(conn, &fault);
    }
    if (head->has_body) {
        (void)ps_timer_set(&conn->timer, ms(ps_conn_config(conn)->limits.body_timeout));
    }
    request->continue_due = head->expect_continue;
    return true;
}

/* The head is admitted and its body within the limit, which the parser checks after on_head; none
 * of it came along. */
static void send_continue(struct ps_conn *conn)
{
    conn->request.continue_due = false;
    if (conn->request.body_bytes == 0 &&
        ps_stream_write(conn->stream, ps_http_continue.ptr, ps_http_continue.len) != 0) {
        ps_conn_cut(conn, PS_END_CUT, NULL, false);
    }
}

/* Time for the next piece of the body: body_timeout from now, but the whole body must not trickle.
 */
static void push_body_timer(struct ps_conn *conn)
{
    const struct ps_conn_request *request = &conn->request;
    int64_t wait = ms(ps_conn_config(conn)->limits.body_timeout);
    int64_t whole = wait + (int64_t)(request->body_bytes / SLOW_BYTES_PER_S) * 1000000;
    int64_t left = request->body_since_us + whole - ps_clock_us();
    (void)ps_timer_set(&conn->timer, left < wait ? (left > 0 ? left : 0) : wait);
}

static bool on_body(void *arg, const char *ptr, size_t len)
{
    struct ps_conn *conn = arg;
    struct ps_conn_request *request = &conn->request;
    struct ps_fault fault = {0};
    request->body_bytes += len;
    if (request->body_paused_us == 0) {
        push_body_timer(conn);
    }
    if (request->discard_body) {
        if (request->body_bytes > DISCARD_BYTES) {
            request->keep_alive = false;
            ps_reply_fault(conn, &request->fault);
            return false;
        }
        return true;
    }
    int result = 0;
    if (request->exchange != NULL) {
        result = ps_exchange_body(request->exchange, ptr, len, &fault);
    } else if (request->side != NULL) {
        result = request->door->side->body(conn, ptr, len, &fault);
    }
    return result == 0 || refuse_later(conn, &fault);
}

void ps_conn_pause_body(struct ps_conn *conn, bool paused)
{
    struct ps_conn_request *request = &conn->request;
    if (conn->state != PS_CONN_BODY || paused == (request->body_paused_us != 0)) {
        return;
    }
    ps_stream_read(conn->stream, !paused);
    if (paused) {
        request->body_paused_us = ps_clock_us();
        ps_timer_cancel(&conn->timer);
    } else {
        request->body_since_us +=
            ps_clock_us() - request->body_paused_us; /* it was us who waited */
        request->body_paused_us = 0;
        push_body_timer(conn);
    }
}

static void answer_options(struct ps_conn *conn)
{
    struct ps_buf out;
    ps_buf_init(&out, 65536);
    ps_reply_begin(conn, &out, 204);
    char allow[64] = "GET, HEAD, POST, OPTIONS";
    if (conn->request.door != NULL) {
        ps_door_allow(conn->request.door, allow, sizeof(allow));
    }
    ps_http_write_header_cstr(&out, "allow", allow);
    struct ps_slice headers =
        ps_http_value(conn->request.head, "access-control-request-headers", NULL);
    if (conn->request.origin.len > 0) {
        ps_http_write_header_cstr(&out, "access-control-allow-methods", allow);
        if (headers.len > 0) {
            ps_http_write_header(&out, PS_SLICE_LIT("access-control-allow-headers"), headers);
        }
        ps_http_write_header_cstr(&out, "access-control-max-age", "600");
    }
    ps_reply_send(conn, &out, PS_SLICE_NONE);
    ps_buf_deinit(&out);
}

static void on_end(void *arg)
{
    struct ps_conn *conn = arg;
    struct ps_conn_request *request = &conn->request;
    ps_conn_pause_body(conn, false); /* the rest of it was in the bytes at hand */
    conn->state = PS_CONN_ANSWERING;
    ps_timer_cancel(&conn->timer);
    if (request->fault.kind != PS_FAULT_NONE) {
        struct ps_fault fault = request->fault;
        ps_reply_fault(conn, &fault);
    } else if (request->head->method == PS_HTTP_OPTIONS) {
        answer_options(conn);
    } else if (request->exchange != NULL) {
        ps_exchange_run(request->exchange);
    } else if (request->side != NULL) {
        request->door->side->run(conn);
    } else {
        ps_own_answer(conn);
    }
}

static const struct ps_http_parser_ops parser_ops = {on_head, on_body, on_end};

/* ---- bytes ---- */

/* Framing is lost, or there was never a request: answers what can be answered, then closes. */
static void refuse_framing(struct ps_conn *conn, const struct ps_fault *fault)
{
    struct ps_conn_request *request = &conn->request;
    if (request->received_us == 0) {
        request->received_us = ps_clock_us();
        ps_id_make(&request->id, "req_");
        (void)snprintf(request->client, sizeof(request->client), "%s",
                       ps_stream_peer(conn->stream)->text);
    }
    request->keep_alive = false;
    conn->state = PS_CONN_ANSWERING;
    ps_reply_fault(conn, fault);
}

/*
 * Reading goes on while an answer is due, or its client could not be seen to leave. Who pipelines
 * more than we keep gets this answer and a closed connection (RFC 9112, section 9.3.2: such
 * requests may go unanswered).
 */
static void keep_pending(struct ps_conn *conn, const char *ptr, size_t len)
{
    if (len == 0 || conn->close_after) {
        return;
    }
    ps_buf_append(&conn->pending, ptr, len);
    if (conn->pending.failed) {
        conn->close_after = true;
        ps_buf_deinit(&conn->pending);
    }
}

static void feed(struct ps_conn *conn, const char *ptr, size_t len)
{
    size_t used = 0;
    enum ps_http_result result = ps_http_parser_feed(conn->parser, ptr, len, &used);
    switch (result) {
    case PS_HTTP_OK:
        if (conn->state == PS_CONN_IDLE && ps_http_parser_began(conn->parser)) {
            conn->state = PS_CONN_HEAD;
            (void)ps_timer_set(&conn->timer, ms(ps_conn_config(conn)->limits.header_timeout));
        } else if (conn->request.continue_due) {
            send_continue(conn);
        }
        break;
    case PS_HTTP_PAUSED:
        keep_pending(conn, ptr + used, len - used);
        break;
    case PS_HTTP_STOPPED:
        break; /* answered by the callback; what follows belongs to a request we do not read */
    case PS_HTTP_ERROR:
        refuse_framing(conn, ps_http_parser_fault(conn->parser));
        break;
    }
}

static void on_data(void *arg, const char *ptr, size_t len)
{
    struct ps_conn *conn = arg;
    switch (conn->state) {
    case PS_CONN_IDLE:
    case PS_CONN_HEAD:
    case PS_CONN_BODY:
        feed(conn, ptr, len);
        break;
    case PS_CONN_ANSWERING:
        if (conn->request.keep_alive) {
            keep_pending(conn, ptr, len);
        }
        break;
    case PS_CONN_CLOSING:
        break;
    }
}

static void begin_next(struct ps_conn *conn)
{
    ps_http_parser_next(conn->parser, &conn->arena);
    conn->state = PS_CONN_IDLE;
    (void)ps_timer_set(&conn->timer, ms(ps_conn_config(conn)->limits.idle_timeout));
    if (conn->pending.len > 0) {
        struct ps_buf pending = conn->pending;
        ps_buf_init(&conn->pending, pending.max);
        feed(conn, pending.ptr, pending.len);
        ps_buf_deinit(&pending);
    }
}

/* The deferred end of an answered request. */
static void on_next(struct ps_task *task)
{
    struct ps_conn *conn = PS_CONTAINER_OF(task, struct ps_conn, next);
    bool again = conn->request.keep_alive && !conn->close_after && !conn->server->draining;
    end_request(conn);
    if (conn->state == PS_CONN_CLOSING) {
        return;
    }
    if (again) {
        begin_next(conn);
    } else {
        close_conn(conn, true);
    }
}

/* ---- ends ---- */

static void on_eof(void *arg)
{
    struct ps_conn *conn = arg;
    switch (conn->state) {
    case PS_CONN_IDLE:
    case PS_CONN_HEAD:
        close_conn(conn, true);
        break;
    case PS_CONN_BODY:
        conn->request.reason = PS_END_BAD_BODY;
        end_request(conn);
        close_conn(conn, true);
        break;
    case PS_CONN_ANSWERING:
        if (conn->request.answered) {
            conn->close_after = true;
        } else {
            conn->request.reason = PS_END_CLIENT_GONE;
            end_request(conn);
            close_conn(conn, false);
        }
        break;
    case PS_CONN_CLOSING:
        break;
    }
}

static void on_drain(void *arg)
{
    struct ps_conn *conn = arg;
    if (conn->request.exchange != NULL) {
        ps_exchange_resume(conn->request.exchange);
    } else if (conn->request.side != NULL && conn->request.door->side->drain != NULL) {
        conn->request.door->side->drain(conn);
    }
}

static void on_closed(void *arg, enum ps_stream_end end)
{
    struct ps_conn *conn = arg;
    struct ps_server *server = conn->server;
    conn->state = PS_CONN_CLOSING;
    ps_task_cancel(&conn->next);
    ps_timer_cancel(&conn->timer);
    if (!conn->request.answered) {
        conn->request.reason = end == PS_STREAM_STALLED ? PS_END_CLIENT_SLOW : PS_END_CLIENT_GONE;
    }
    end_request(conn);
    ps_http_parser_free(conn->parser);
    ps_buf_deinit(&conn->pending);
    ps_arena_deinit(&conn->arena);
    ps_series_gauge_add(conn->open_series, -1);
    ps_list_remove(&conn->link);
    ps_free(conn);
    ps_server_conn_closed(server);
}

static const struct ps_stream_ops stream_ops = {on_data, on_eof, on_drain, on_closed};

static void on_timer(struct ps_timer *timer)
{
    struct ps_conn *conn = PS_CONTAINER_OF(timer, struct ps_conn, timer);
    if (conn->state == PS_CONN_IDLE) {
        close_conn(conn, true);
    } else if (conn->state == PS_CONN_HEAD || conn->state == PS_CONN_BODY) {
        struct ps_fault fault;
        (void)ps_fault_set(&fault, PS_FAULT_REQUEST_TIMEOUT, NULL,
                           "The request %s did not come in time.",
                           conn->state == PS_CONN_HEAD ? "head" : "body");
        refuse_framing(conn, &fault);
    } else if (conn->state == PS_CONN_ANSWERING) {
        ps_body_silence(conn);
    }
}

void ps_conn_drain(struct ps_conn *conn)
{
    conn->request.keep_alive = false;
    if (conn->state == PS_CONN_IDLE) {
        (void)ps_timer_set(&conn->timer, DRAIN_IDLE_US);
    }
}

void ps_conn_abort(struct ps_conn *conn)
{
    if (!conn->request.answered) {
        ps_conn_cut(conn, PS_END_SHUTDOWN, NULL, false);
    } else {
        ps_stream_abort(conn->stream);
    }
}

/* ---- the beginning ---- */

static void destroy(struct ps_conn *conn)
{
    ps_http_parser_free(conn->parser);
    ps_arena_deinit(&conn->arena);
    ps_free(conn);
}

static struct ps_conn *make(struct ps_server_listener *listener)
{
    struct ps_server *server = listener->server;
    const struct ps_config_limits *limits = &server->gl->snapshot->config->limits;
    struct ps_conn *conn = ps_calloc(1, sizeof(*conn));
    if (conn == NULL) {
        return NULL;
    }
    conn->server = server;
    conn->listener_loopback = listener->is_loopback;
    conn->listener_unix = listener->is_unix;
    conn->limits =
        (struct ps_http_limits){LINE_BYTES, (size_t)limits->header_bytes, limits->body_bytes};
    ps_arena_init(&conn->arena, (size_t)limits->header_bytes + ARENA_EXTRA);
    ps_buf_init(&conn->pending, (size_t)limits->header_bytes + PENDING_EXTRA + PS_READ_BUFFER);
    ps_timer_init(&conn->timer, server->gl->loop, on_timer);
    ps_task_init(&conn->next, on_next);
    conn->parser = ps_http_parser_new(&conn->limits, &parser_ops, conn);
    if (conn->parser == NULL) {
        destroy(conn);
        return NULL;
    }
    return conn;
}

/* Beyond the limit a few more are let in to be told so; beyond those, closed at once. */
#define REFUSALS 64

void ps_conn_accept(void *arg, int fd)
{
    struct ps_server_listener *listener = arg;
    struct ps_server *server = listener->server;
    const struct ps_config_limits *limits = &server->gl->snapshot->config->limits;
    int64_t others = atomic_fetch_add(&server->shared->connections, 1);
    bool refuse = others >= (int64_t)limits->connections;
    struct ps_conn *conn = others < (int64_t)limits->connections + REFUSALS ? make(listener) : NULL;
    if (conn != NULL) {
        struct ps_stream_options options = {
            .high_bytes = HIGH_BYTES,
            .low_bytes = LOW_BYTES,
            .write_timeout_us = ms(limits->write_timeout),
            .handshake_timeout_us = ms(limits->header_timeout),
        };
        conn->refuse = refuse;
        conn->stream = ps_stream_new(server->gl->loop, fd, listener->is_unix, listener->tls,
                                     &options, &stream_ops, conn);
        if (conn->stream == NULL) {
            destroy(conn);
            conn = NULL;
        }
    } else {
        (void)close(fd);
    }
    struct ps_slice reason = refuse ? PS_SLICE_LIT("limit") : PS_SLICE_LIT("memory");
    if (refuse || conn == NULL) {
        ps_series_add(ps_metrics_series(server->gl->shard, PS_METRIC_CONNECTIONS_REFUSED, &reason),
                      1);
    }
    if (conn == NULL) {
        atomic_fetch_sub(&server->shared->connections, 1);
        return;
    }
    struct ps_slice label = ps_slice_cstr(listener->address);
    conn->open_series = ps_metrics_series(server->gl->shard, PS_METRIC_CONNECTIONS, &label);
    ps_series_gauge_add(conn->open_series, 1);
    ps_series_add(ps_metrics_series(server->gl->shard, PS_METRIC_CONNECTIONS_ACCEPTED, &label), 1);
    ps_list_push_back(&server->conns, &conn->link);
    server->conn_count++;
    ps_http_parser_next(conn->parser, &conn->arena);
    (void)ps_timer_set(&conn->timer, ms(limits->header_timeout));
    ps_stream_read(conn->stream, true);
}
