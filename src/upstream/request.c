/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"
#include "penstock/version.h"

#include <stdio.h>
#include <string.h>

/*
 * A call is one block of memory: the struct, the array of body parts and the request head as text.
 *
 * curl prints every header it is given byte by byte through its own printf, 90 instructions for
 * each byte: a third of all that a call costs. The request target it copies as it stands. So the
 * whole head is passed as the target, from the path to the last header, and curl is told to add
 * none of its own (lane.c):
 *
 *     POST /v1/chat/completions HTTP/1.1 CRLF host: … CRLF … CRLF user-agent: penstock/0.1 HTTP/1.1
 * CRLF CRLF
 *          '----------------------------- ours ------------------------------------------'
 *
 * The " HTTP/1.1" that curl puts behind what it takes for the target falls to the last header,
 * which therefore is one where it does no harm: a second product token.
 *
 * Nobody else checks this text, so what the caller passes is checked here once more: no CR or LF,
 * no header that frames the message.
 */

#define SENDER "penstock/" PENSTOCK_VERSION

static bool is_token(struct ps_slice text)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\0' || strchr(allowed, text.ptr[i]) == NULL) {
            return false;
        }
    }
    return text.len > 0;
}

static bool has_line_break(struct ps_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\r' || text.ptr[i] == '\n' || text.ptr[i] == '\0') {
            return true;
        }
    }
    return false;
}

static bool is_framing(struct ps_slice name)
{
    static const char *const ours[] = {
        "content-length", "transfer-encoding", "connection",       "expect", "upgrade", "te",
        "trailer",        "keep-alive",        "proxy-connection",
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (ps_slice_ieq(name, ps_slice_cstr(ours[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_target(struct ps_slice path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] <= 0x20 || path.ptr[i] >= 0x7f || path.ptr[i] == '#') {
            return false;
        }
    }
    return path.len > 0 && path.ptr[0] == '/';
}

/* NULL, or what is wrong. */
static const char *check(const struct ps_call_request *request)
{
    if (!is_token(ps_slice_cstr(request->method))) {
        return "the request's method is malformed";
    }
    if (!is_target(request->path)) {
        return "the request's path is malformed";
    }
    for (size_t i = 0; i < request->header_count; i++) {
        const struct ps_call_header *header = &request->headers[i];
        if (!is_token(header->name) || has_line_break(header->value)) {
            return "a header of the request is malformed";
        }
        if (is_framing(header->name)) {
            return "a header of the request belongs to the connection";
        }
    }
    return NULL;
}

static char *put(char *to, struct ps_slice text)
{
    if (text.len > 0) {
        memcpy(to, text.ptr, text.len);
    }
    return to + text.len;
}

static char *put_text(char *to, const char *text)
{
    return put(to, ps_slice_cstr(text));
}

static char *put_header(char *to, struct ps_slice name, struct ps_slice value)
{
    to = put(to, name);
    *to++ = ':';
    *to++ = ' ';
    to = put(to, ps_slice_trim(value));
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

#define HEAD_EXTRA 128 /* for what put_head adds by itself; the longest is 110 */

static size_t head_size(const struct ps_upstream_shared *shared,
                        const struct ps_call_request *request)
{
    size_t size =
        strlen(shared->target_prefix) + request->path.len + strlen(shared->host) + HEAD_EXTRA;

    for (size_t i = 0; i < request->header_count; i++) {
        size += request->headers[i].name.len + request->headers[i].value.len + 4;
    }
    return size;
}

static void put_head(char *to, const struct ps_call *call, const struct ps_call_request *request)
{
    const struct ps_upstream_shared *shared = call->upstream->shared;
    const char *last = "user-agent: " SENDER;
    char length[24];
    bool has_host = false;

    to = put(to, ps_slice(shared->target_prefix,
                          request->from_root ? shared->root_len : strlen(shared->target_prefix)));
    to = put(to, request->path);
    to = put_text(to, " HTTP/1.1\r\n");
    for (size_t i = 0; i < request->header_count; i++) {
        const struct ps_call_header *header = &request->headers[i];
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("user-agent"))) {
            last = "x-gateway: " SENDER;
        }
        has_host = has_host || ps_slice_ieq(header->name, PS_SLICE_LIT("host"));
        to = put_header(to, header->name, header->value);
    }
    if (!has_host) {
        to = put_header(to, PS_SLICE_LIT("host"), ps_slice_cstr(shared->host));
    }
    if (call->has_body) {
        (void)snprintf(length, sizeof(length), "%zu", call->body_len);
        to = put_header(to, PS_SLICE_LIT("content-length"), ps_slice_cstr(length));
    }
    to = put_text(to, last);
    *to = '\0';
}

static void copy_body(struct ps_call *call, const struct ps_call_request *request,
                      struct ps_slice *parts)
{
    call->parts = parts;
    call->part_count = request->body_count;
    for (size_t i = 0; i < request->body_count; i++) {
        parts[i] = request->body[i];
        call->body_len += request->body[i].len;
    }
}

static void init_call(struct ps_call *call, struct ps_upstream *upstream,
                      const struct ps_call_request *request)
{
    call->upstream = upstream;
    call->born_us = upstream->loop->now_us;
    ps_list_init(&call->link);
    ps_list_init(&call->all);
    ps_list_init(&call->act);
    ps_list_init(&call->sent);
    call->method = request->method;
    call->fresh = request->fresh_connection;
    call->background = request->background;
    /* Of these methods a server expects a length even when there is no body. */
    call->has_body = request->has_body || strcmp(request->method, "POST") == 0 ||
                     strcmp(request->method, "PUT") == 0 || strcmp(request->method, "PATCH") == 0;
    call->first_byte_timeout_us = request->first_byte_timeout_us;
    call->idle_timeout_us = request->idle_timeout_us;
    call->first_due_us = INT64_MAX;
    call->idle_due_us = INT64_MAX;
    call->queue_due_us =
        request->queue_timeout_us > 0 ? call->born_us + request->queue_timeout_us : INT64_MAX;
    call->total_due_us =
        request->total_timeout_us > 0 ? call->born_us + request->total_timeout_us : INT64_MAX;
}

struct ps_call *ps_call_new(struct ps_upstream *upstream, const struct ps_call_request *request)
{
    const char *wrong = check(request);
    size_t parts_size = request->has_body ? request->body_count * sizeof(struct ps_slice) : 0;
    size_t text_size = wrong == NULL ? head_size(upstream->shared, request) : 0;
    struct ps_call *call = ps_malloc(sizeof(*call) + parts_size + text_size);

    if (call == NULL) {
        return NULL;
    }
    *call = (struct ps_call){.state = PS_CALL_ENDED};
    init_call(call, upstream, request);
    if (wrong != NULL) {
        call->verdict = true;
        call->end = PS_CALL_PROTOCOL;
        call->detail = wrong;
        return call;
    }
    struct ps_slice *parts = (void *)(call + 1);
    if (request->has_body) {
        copy_body(call, request, parts);
    }
    call->target = (char *)parts + parts_size;
    put_head(call->target, call, request);
    return call;
}

int ps_call_gather(struct ps_call *call)
{
    char *to;

    if (!call->has_body || call->body_len > PS_BODY_INLINE) {
        return 0;
    }
    call->small = PS_SLICE_LIT("");
    if (call->part_count == 1 && call->body_len > 0) {
        call->small = call->parts[0];
    } else if (call->body_len > 0) {
        call->gathered = ps_malloc(call->body_len);
        if (call->gathered == NULL) {
            return -1;
        }
        to = call->gathered;
        for (size_t i = 0; i < call->part_count; i++) {
            to = put(to, call->parts[i]);
        }
    }
    call->part = call->part_count;
    return 0;
}

void ps_call_free(struct ps_call *call)
{
    ps_free(call->gathered);
    ps_free(call);
}
