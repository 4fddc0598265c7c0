/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include <string.h>

/*
 * The front of an exchange on an HTTP connection.
 *
 * The happy path: the head opens the exchange; its commit brings the status line; events bring
 * bytes, the upstream's own (same family) or what the door's writer makes of them; the end brings
 * the last chunk. A door whose answer is one JSON object of ours writes nothing before the end, so
 * that until then a fault is still a status.
 *
 * How it fails: a fault before the status line is an error answer in the door's shape, or the
 * upstream's own. After it, an event stream gets one error event and the connection ends without
 * its last chunk; anything else just ends. When the client reads too slowly the exchange is paused
 * at the stream's high watermark and resumed below the low one.
 */

#define HEAD_BYTES   65536
#define SCRATCH_KEPT 65536

/* ---- the request ---- */

#define MAX_UP_HEADERS 16

static struct ps_call_header *headers_up(struct ps_conn *conn, struct ps_slice trace,
                                         size_t *ret_count)
{
    const struct ps_http_head *head = conn->request.head;
    struct ps_call_header kept[MAX_UP_HEADERS + 2];
    size_t count = 0;
    for (size_t i = 0; i < head->header_count && count < MAX_UP_HEADERS; i++) {
        if (ps_header_goes_up(head->headers[i].name)) {
            kept[count++] = (struct ps_call_header){head->headers[i].name, head->headers[i].value};
        }
    }
    if (trace.len > 0) {
        kept[count++] = (struct ps_call_header){PS_SLICE_LIT("traceparent"), trace};
        struct ps_slice vendor = ps_http_value(head, "tracestate", NULL);
        if (vendor.len > 0) {
            kept[count++] = (struct ps_call_header){PS_SLICE_LIT("tracestate"), vendor};
        }
    }
    *ret_count = count;
    if (count == 0) {
        return NULL;
    }
    struct ps_call_header *copy = ps_arena_alloc(&conn->arena, count * sizeof(*copy));
    if (copy == NULL) {
        *ret_count = 0;
        return NULL;
    }
    memcpy(copy, kept, count * sizeof(*copy));
    return copy;
}

static bool is_hex(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!((text.ptr[i] >= '0' && text.ptr[i] <= '9') ||
              (text.ptr[i] >= 'a' && text.ptr[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

static bool is_id(struct ps_slice text)
{
    size_t zeros = 0;
    while (zeros < text.len && text.ptr[zeros] == '0') {
        zeros++;
    }
    return zeros < text.len && is_hex(text);
}

/* W3C Trace Context, section 3.2.2: version 00, lower-case hex, ids not all zero. What is invalid
 * is as good as none. */
static struct ps_slice traceparent(const struct ps_http_head *head)
{
    size_t count = 0;
    struct ps_slice value = ps_http_value(head, "traceparent", &count);
    bool valid = count == 1 && value.len == 55 && memcmp(value.ptr, "00-", 3) == 0 &&
                 value.ptr[35] == '-' && value.ptr[52] == '-' &&
                 is_id(ps_slice(value.ptr + 3, 32)) && is_id(ps_slice(value.ptr + 36, 16)) &&
                 is_hex(ps_slice(value.ptr + 53, 2));
    return valid ? value : PS_SLICE_NONE;
}

/*
 * What the body may be. /generate takes JSON, bare text, and under the type `curl -d` sends by
 * itself either; the /v1 doors take JSON, also under that type. Relayed paths take what the
 * upstream takes.
 */
static int check_media(struct ps_conn *conn, struct ps_reader_options *reader,
                       struct ps_fault *fault)
{
    const struct ps_door *door = conn->request.door;
    const struct ps_http_head *head = conn->request.head;
    struct ps_slice type = ps_http_value(head, "content-type", NULL);
    size_t encodings = 0;
    struct ps_slice encoding = ps_http_value(head, "content-encoding", &encodings);
    if (encodings > 1 || (encoding.len > 0 && !ps_slice_ieq(encoding, PS_SLICE_LIT("identity")))) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_MEDIA, NULL,
                            "Content-Encoding is not supported: send the body uncompressed.");
    }
    bool json = type.len == 0 || ps_http_media_is(type, "application/json");
    bool form = ps_http_media_is(type, "application/x-www-form-urlencoded");
    if (door->operation == PS_OP_PASS || json) {
        reader->text_or_json = door->family == PS_FAMILY_GENERATE && type.len == 0;
        return 0;
    }
    if (door->family == PS_FAMILY_GENERATE) {
        reader->text_or_json = form;
        reader->bare_text = ps_http_media_is(type, "text/plain");
    }
    if (form || reader->bare_text) {
        return 0;
    }
    return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_MEDIA, NULL,
                        "Content-Type must be application/json%s.",
                        door->family == PS_FAMILY_GENERATE ? " or text/plain" : "");
}

enum ps_family ps_inference_family(const struct ps_conn *conn)
{
    const struct ps_conn_request *request = &conn->request;
    if (request->exchange != NULL) {
        return ps_exchange_request(request->exchange)->family;
    }
    if (request->door != NULL && request->door->kind == PS_DOOR_MODELS) {
        return ps_own_family(conn);
    }
    return request->door != NULL ? request->door->family : PS_FAMILY_OPENAI;
}

static const struct ps_front_ops front_ops;

static void on_background(void *arg)
{
    struct ps_conn *conn = arg;
    if (conn->state != PS_CONN_CLOSING) {
        ps_background_accept(conn);
    }
}

static void on_own_answer(void *arg)
{
    struct ps_conn *conn = arg;
    if (conn->state != PS_CONN_CLOSING) {
        ps_ollama_idle(conn);
    }
}

static void on_previous(void *arg)
{
    struct ps_conn *conn = arg;
    if (conn->state != PS_CONN_CLOSING) {
        ps_responses_previous(conn);
    }
}

/* What is relayed stands behind the provider's own "/v1". */
static struct ps_slice path_of(const struct ps_door *door, struct ps_slice path)
{
    static const struct ps_slice version = PS_SLICE_INIT("/v1");
    bool versioned = door->operation == PS_OP_PASS && ps_slice_starts(path, version);
    return versioned ? ps_slice(path.ptr + version.len, path.len - version.len) : path;
}

int ps_inference_open(struct ps_conn *conn, struct ps_fault *fault)
{
    struct ps_conn_request *request = &conn->request;
    const struct ps_http_head *head = request->head;
    struct ps_exchange_spec spec = {
        .door = request->door->label,
        .family = request->door->family,
        .operation = request->door->operation,
        .identity = request->identity,
        .method = head->method_text,
        .path = path_of(request->door, head->path),
        .query = head->query,
        .content_type = ps_http_value(head, "content-type", NULL),
        .accept = ps_http_value(head, "accept", NULL),
        .provider = ps_http_value(head, "x-penstock-provider", NULL),
        .credential = ps_access_credential(conn),
        .client_request_id = request->client_id,
        .traceparent = traceparent(head),
        .client = request->client,
        .request_id = request->id,
        .received_us = request->received_us,
    };
    if (check_media(conn, &spec.reader, fault) != 0) {
        return -1;
    }
    request->want_text =
        request->door->family == PS_FAMILY_GENERATE && ps_http_accepts(spec.accept, "text/plain");
    if (request->door->side == &ps_background_ops) {
        spec.on_background = on_background;
        spec.prefer_background = ps_side_jobs(conn) != NULL && ps_background_preferred(head);
    }
    if (request->door->family == PS_FAMILY_OLLAMA) {
        spec.on_own_answer = on_own_answer;
    }
    if (request->door->side == &ps_responses_ops) {
        spec.on_previous = on_previous;
        spec.keeps_responses = ps_side_jobs(conn) != NULL;
    }
    /* who would rather have a job than text at once asks for no stream by asking for text */
    spec.reader.want_text = request->want_text && !spec.prefer_background;
    spec.headers = headers_up(conn, spec.traceparent, &spec.header_count);
    request->exchange = ps_exchange_open(conn->server->gl, &conn->arena, &spec, &front_ops, conn);
    if (request->exchange == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                            "The gateway is short of memory; try again later.");
    }
    return 0;
}

/* ---- the answer ---- */

/* Body bytes of the answer; a client that reads slowly pauses what makes them. */
static void write_body(struct ps_conn *conn, struct ps_slice bytes)
{
    if (ps_body_write(conn, bytes) == 0 && ps_stream_is_full(conn->stream)) {
        ps_exchange_pause(conn->request.exchange);
    }
}

static void begin_body(struct ps_conn *conn, const struct ps_answer *answer,
                       struct ps_slice content_type, int64_t length)
{
    struct ps_body_head head = {
        .status = answer->status,
        .content_type = content_type,
        .length = length,
        .live = answer->stream || conn->request.want_text,
        .headers = answer->headers,
        .header_count = answer->header_count,
    };
    (void)ps_body_begin(conn, &head);
}

/* The door's own form of the answer. -1: no memory. */
static int make_writer(struct ps_conn *conn, const struct ps_answer *answer)
{
    struct ps_conn_request *request = &conn->request;
    enum ps_writer_mode mode = request->want_text ? PS_WRITER_TEXT
                               : answer->stream   ? PS_WRITER_STREAM
                                                  : PS_WRITER_WHOLE;
    request->writer = ps_exchange_writer(request->exchange, mode);
    request->whole = mode == PS_WRITER_WHOLE;
    request->sse = mode == PS_WRITER_STREAM;
    return request->writer != NULL ? 0 : -1;
}

static void on_commit(void *arg, const struct ps_answer *answer)
{
    struct ps_conn *conn = arg;
    struct ps_conn_request *request = &conn->request;
    request->answer = answer;
    if (ps_inference_family(conn) != request->door->family) {
        request->want_text = false; /* only our own shape has bare text */
    }
    if (answer->raw) {
        request->sse = answer->stream;
        begin_body(conn, answer, answer->content_type, answer->length);
        return;
    }
    if (make_writer(conn, answer) != 0) {
        (void)ps_fault_set(&request->fault, PS_FAULT_NO_MEMORY, NULL,
                           "The gateway is short of memory.");
        return;
    }
    if (!request->whole) {
        begin_body(conn, answer, ps_slice_cstr(ps_writer_content_type(request->writer)), -1);
    }
}

/* What one event may become: a text that ends is told three times by the Responses API, escaped,
 * and its first events repeat the request. */
static size_t out_bytes(const struct ps_conn *conn)
{
    uint64_t asked = conn->request.body_bytes;
    return (size_t)ps_conn_config(conn)->limits.event_bytes * 24 + (size_t)asked * 3 + 65536;
}

static void on_event(void *arg, const struct ps_event *event)
{
    struct ps_conn *conn = arg;
    struct ps_conn_request *request = &conn->request;
    if (request->answer->raw) {
        write_body(conn, event->raw);
        return;
    }
    if (request->writer == NULL || request->fault.kind != PS_FAULT_NONE) {
        return;
    }
    struct ps_buf *out = &conn->server->scratch;
    ps_buf_reset(out);
    out->max = out_bytes(conn);
    if (ps_writer_event(request->writer, event, out, &request->fault) == 0) {
        if (out->failed) {
            (void)ps_fault_set(&request->fault, PS_FAULT_NO_MEMORY, NULL,
                               "The gateway is short of memory for this answer.");
        } else if (out->len > 0) {
            write_body(conn, ps_buf_view(out));
        }
    }
    if (out->cap > SCRATCH_KEPT) {
        ps_buf_deinit(out);
    }
}

static void end_whole(struct ps_conn *conn, struct ps_slice body)
{
    const struct ps_answer *answer = conn->request.answer;
    struct ps_buf out;
    ps_buf_init(&out, HEAD_BYTES);
    ps_reply_begin(conn, &out, 200);
    ps_http_write_header_cstr(&out, "content-type", "application/json");
    for (size_t i = 0; i < answer->header_count; i++) {
        /* limits and the like; what describes the provider's bytes does not describe ours */
        if (!ps_slice_starts(answer->headers[i].name, PS_SLICE_LIT("content-"))) {
            ps_http_write_header(&out, answer->headers[i].name, answer->headers[i].value);
        }
    }
    ps_reply_send(conn, &out, body);
    ps_buf_deinit(&out);
}

static void complete(struct ps_conn *conn)
{
    struct ps_conn_request *request = &conn->request;
    if (request->answer->raw) {
        ps_body_end(conn);
        return;
    }
    struct ps_answer_info info;
    struct ps_buf out;
    ps_exchange_info(request->exchange, &info);
    ps_buf_init(&out, out_bytes(conn));
    ps_writer_end(request->writer, &info, &out);
    if (!ps_responses_keep(conn, &out)) {
        ps_inference_finish(conn, ps_buf_view(&out));
    }
    ps_buf_deinit(&out);
}

void ps_inference_finish(struct ps_conn *conn, struct ps_slice rest)
{
    if (conn->request.whole) {
        end_whole(conn, rest);
        return;
    }
    write_body(conn, rest);
    if (conn->state != PS_CONN_CLOSING) {
        ps_body_end(conn);
    }
}

/* The upstream's own error, byte for byte. */
static void relay_error(struct ps_conn *conn, const struct ps_outcome *outcome)
{
    struct ps_conn_request *request = &conn->request;
    struct ps_buf out;
    struct ps_buf body;
    request->fault = outcome->fault;
    ps_buf_init(&out, HEAD_BYTES);
    ps_buf_init(&body, outcome->body->len + 1);
    char *bytes = ps_buf_reserve(&body, outcome->body->len + 1);
    if (bytes != NULL) {
        ps_chain_copy(outcome->body, 0, outcome->body->len, bytes);
        ps_buf_commit(&body, outcome->body->len);
    }
    ps_reply_begin(conn, &out, outcome->fault.status);
    if (outcome->content_type.len > 0) {
        ps_http_write_header(&out, PS_SLICE_LIT("content-type"), outcome->content_type);
    }
    for (size_t i = 0; i < outcome->header_count; i++) {
        ps_http_write_header(&out, outcome->headers[i].name, outcome->headers[i].value);
    }
    ps_reply_send(conn, &out, ps_buf_view(&body));
    ps_buf_deinit(&out);
    ps_buf_deinit(&body);
}

/* After the status line: one error event where the client can understand one, then the cut. */
static void cut(struct ps_conn *conn, const struct ps_fault *fault, bool told)
{
    struct ps_conn_request *request = &conn->request;
    if (request->sse && !told) {
        struct ps_buf out;
        ps_buf_init(&out, out_bytes(conn));
        if (request->writer == NULL || !ps_writer_fail(request->writer, fault, &out)) {
            ps_dialect_write_fault_event(ps_dialect_of_family(ps_inference_family(conn)), fault,
                                         ps_slice_cstr(request->id.text), &out);
        }
        write_body(conn, ps_buf_view(&out));
        ps_buf_deinit(&out);
    }
    ps_body_cut(conn, fault);
}

void ps_inference_fail(struct ps_conn *conn, const struct ps_fault *fault)
{
    if (conn->state == PS_CONN_CLOSING) {
        return;
    }
    conn->request.fault = *fault;
    if (conn->request.status != 0) {
        cut(conn, fault, false);
    } else {
        ps_reply_fault(conn, fault);
    }
}

static void on_end(void *arg, const struct ps_outcome *outcome)
{
    struct ps_conn *conn = arg;
    struct ps_conn_request *request = &conn->request;
    const struct ps_fault *fault =
        outcome->fault.kind != PS_FAULT_NONE ? &outcome->fault : &request->fault;
    if (conn->state == PS_CONN_CLOSING) {
        return;
    }
    if (fault->kind == PS_FAULT_NONE) {
        complete(conn);
    } else if (request->status != 0) {
        cut(conn, fault, outcome->told);
    } else if (outcome->verbatim && outcome->body != NULL) {
        relay_error(conn, outcome);
    } else {
        ps_reply_fault(conn, fault);
    }
}

static const struct ps_front_ops front_ops = {on_commit, on_event, on_end};
