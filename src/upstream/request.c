/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include "penstock/base/mem.h"

#include <string.h>

/*
 * A call is one block of memory: the struct, its list of headers as curl wants it, the array of body parts,
 * the request target and the header lines. What the caller passes is checked here once more, because a CR
 * or LF that got this far would let a body field write headers, and headers that frame the message are not
 * the caller's to set.
 */

/* curl adds these for a body unless told otherwise. */
static char no_content_type[] = "Content-Type:";
static char no_expect[] = "Expect:";

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
        "content-length", "transfer-encoding", "connection", "expect",           "upgrade",
        "te",             "trailer",           "keep-alive", "proxy-connection",
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

/* "Name: value", and curl's way to say that a value is empty: "Name;". */
static char *put_header(char *to, const struct ps_call_header *header)
{
    struct ps_slice value = ps_slice_trim(header->value);

    to = put(to, header->name);
    if (value.len == 0) {
        *to++ = ';';
    } else {
        *to++ = ':';
        *to++ = ' ';
        to = put(to, value);
    }
    *to++ = '\0';
    return to;
}

static size_t text_size(const struct ps_upstream *upstream, const struct ps_call_request *request)
{
    size_t size = strlen(upstream->shared->target_prefix) + request->path.len + 1;

    for (size_t i = 0; i < request->header_count; i++) {
        size += request->headers[i].name.len + request->headers[i].value.len + 3;
    }
    return size;
}

static void add_node(struct ps_call *call, struct curl_slist *nodes, size_t *count, char *line)
{
    struct curl_slist *node = &nodes[*count];

    node->data = line;
    node->next = NULL;
    if (*count > 0) {
        nodes[*count - 1].next = node;
    }
    (*count)++;
    call->headers = nodes;
}

static char *copy_headers(struct ps_call *call, const struct ps_call_request *request,
                          struct curl_slist *nodes, char *text)
{
    size_t count = 0;
    bool typed = false;

    for (size_t i = 0; i < request->header_count; i++) {
        char *line = text;
        text = put_header(text, &request->headers[i]);
        add_node(call, nodes, &count, line);
        typed = typed || ps_slice_ieq(request->headers[i].name, PS_SLICE_LIT("content-type"));
    }
    if (call->has_body && !typed) {
        add_node(call, nodes, &count, no_content_type);
    }
    if (call->body_len > PS_BODY_INLINE) {
        add_node(call, nodes, &count, no_expect);
    }
    return text;
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
    size_t nodes_size = (request->header_count + 2) * sizeof(struct curl_slist);
    size_t parts_size = request->has_body ? request->body_count * sizeof(struct ps_slice) : 0;
    struct ps_call *call = ps_malloc(sizeof(*call) + nodes_size + parts_size +
                                     (wrong == NULL ? text_size(upstream, request) : 0));

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
    struct curl_slist *nodes = (void *)(call + 1);
    struct ps_slice *parts = (void *)((char *)nodes + nodes_size);
    char *text = (char *)parts + parts_size;
    if (request->has_body) {
        copy_body(call, request, parts);
    }
    text = copy_headers(call, request, nodes, text);
    call->target = text;
    text = put(text, ps_slice_cstr(upstream->shared->target_prefix));
    text = put(text, request->path);
    *text = '\0';
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
