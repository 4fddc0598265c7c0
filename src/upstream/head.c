/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream_priv.h"

#include <string.h>
#include <strings.h>

/*
 * The response head. curl hands over one line at a time: those of 1xx answers, of the final answer,
 * and of trailers, all alike. A status line starts over; the empty line after a final status hands
 * the head up; what comes later are trailers, dropped. Our limits count all of them together.
 */

void ps_head_reset(struct ps_lane *lane)
{
    ps_buf_reset(&lane->head);
    lane->field_count = 0;
    lane->status = 0;
}

static bool refuse(struct ps_lane *lane, const char *why)
{
    lane->call->verdict = true;
    lane->call->end = PS_CALL_PROTOCOL;
    lane->call->detail = why;
    return false;
}

/* "HTTP/1.1 200 Fine", "HTTP/1.0 200". curl takes other versions, too. */
static bool status_line(struct ps_lane *lane, struct ps_slice line)
{
    int status = 0;

    ps_head_reset(lane);
    const char *space = line.ptr + 8;
    if (line.len < 12 || memcmp(line.ptr, "HTTP/1.", 7) != 0 ||
        (line.ptr[7] != '0' && line.ptr[7] != '1') || *space != ' ' ||
        (line.len > 12 && space[4] != ' ')) {
        return refuse(lane, "the status line of the response is malformed");
    }
    for (int i = 1; i <= 3; i++) {
        if (space[i] < '0' || space[i] > '9') {
            return refuse(lane, "the status line of the response is malformed");
        }
        status = status * 10 + (space[i] - '0');
    }
    if (status < 100 || status == 101) {
        return refuse(lane, "the response has a status that does not answer the request");
    }
    lane->status = status;
    return true;
}

static bool field_line(struct ps_lane *lane, struct ps_slice line)
{
    const char *colon = memchr(line.ptr, ':', line.len);

    if (colon == NULL || colon == line.ptr || line.ptr[0] == ' ' || line.ptr[0] == '\t' ||
        memchr(line.ptr, '\0', line.len) != NULL || memchr(line.ptr, '\r', line.len) != NULL) {
        return refuse(lane, "a header of the response is malformed");
    }
    if (lane->field_count == PS_HEAD_FIELDS) {
        return refuse(lane, "the response has more than 100 headers");
    }
    size_t name_len = (size_t)(colon - line.ptr);
    struct ps_slice value = ps_slice_trim(ps_slice(colon + 1, line.len - name_len - 1));
    struct ps_head_field *field = &lane->fields[lane->field_count++];
    field->name = (uint32_t)lane->head.len;
    field->name_len = (uint32_t)name_len;
    ps_buf_append(&lane->head, line.ptr, name_len);
    field->value = (uint32_t)lane->head.len;
    field->value_len = (uint32_t)value.len;
    ps_buf_slice(&lane->head, value);
    if (lane->head.failed) {
        lane->call->verdict = true;
        lane->call->end = PS_CALL_NO_MEMORY;
        lane->call->detail = "memory for the response head is short";
        return false;
    }
    return true;
}

static int64_t parse_length(struct ps_slice text)
{
    int64_t value = 0;

    if (text.len == 0 || text.len > 18) {
        return -1;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return -1;
        }
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value;
}

/*
 * Content-Length twice with two values, or in a form that curl reads more kindly than we do, would
 * let us and the upstream disagree on where the next response begins (RFC 9112 section 6.3).
 */
static bool frame(struct ps_lane *lane, struct ps_call_head *head)
{
    bool chunked = false;

    head->content_length = -1;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct ps_call_header *header = &head->headers[i];
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("transfer-encoding"))) {
            chunked = true;
        } else if (ps_slice_ieq(header->name, PS_SLICE_LIT("content-length"))) {
            int64_t length = parse_length(header->value);
            if (length < 0 || (head->content_length >= 0 && length != head->content_length)) {
                return refuse(lane, "the response has a bad or contradictory Content-Length");
            }
            head->content_length = length;
        }
    }
    if (chunked && head->content_length >= 0) {
        /* The coding wins, but the peer is not to be trusted with another request on this
         * connection. */
        head->content_length = -1;
        lane->no_reuse = true;
        (void)curl_easy_setopt(lane->easy, CURLOPT_FORBID_REUSE, 1L);
    }
    return true;
}

static bool end_of_head(struct ps_lane *lane)
{
    struct ps_call *call = lane->call;
    struct ps_call_header headers[PS_HEAD_FIELDS];
    struct ps_call_head head = {.status = lane->status, .headers = headers};

    if (lane->status < 200) {
        ps_head_reset(lane); /* interim: another status line follows */
        return true;
    }
    for (size_t i = 0; i < lane->field_count; i++) {
        const struct ps_head_field *field = &lane->fields[i];
        headers[i].name = ps_slice(lane->head.ptr + field->name, field->name_len);
        headers[i].value = ps_slice(lane->head.ptr + field->value, field->value_len);
    }
    head.header_count = lane->field_count;
    if (!frame(lane, &head)) {
        return false;
    }
    call->head_seen = true;
    call->timing.head_us = call->upstream->loop->now_us;
    ps_call_touch(call);
    ps_call_arm(call);
    call->ops->on_head(call->arg, &head);
    return call->state == PS_CALL_RUNNING;
}

bool ps_head_line(struct ps_lane *lane, const char *line, size_t len)
{
    struct ps_call *call = lane->call;

    if (!lane->got_line) {
        lane->got_line = true;
        /* An answer to a small body says that it went out; who waits for on_sent hears it first. */
        if (call->part == call->part_count) {
            ps_call_tell_sent(call);
            if (call->state != PS_CALL_RUNNING) {
                return false;
            }
        }
    }
    lane->head_bytes += len;
    if (lane->head_bytes > PS_HEAD_BYTES) {
        return refuse(lane, "the head of the response is larger than 64 KiB");
    }
    if (call->head_seen) {
        return true;
    }
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
        len--;
    }
    if (len == 0) {
        return end_of_head(lane);
    }
    if (lane->status == 0) {
        return status_line(lane, ps_slice(line, len));
    }
    return field_line(lane, ps_slice(line, len));
}

struct ps_slice ps_call_header_value(const struct ps_call_head *head, const char *name)
{
    struct ps_slice wanted = ps_slice_cstr(name);

    for (size_t i = 0; i < head->header_count; i++) {
        if (ps_slice_ieq(head->headers[i].name, wanted)) {
            return head->headers[i].value;
        }
    }
    return PS_SLICE_NONE;
}
