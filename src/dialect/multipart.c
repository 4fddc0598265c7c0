/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"

static int refuse(struct ps_fault *ret_fault, const char *why)
{
    return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, NULL, "The multipart body %s.", why);
}

/* ---- parameters of a header value: name=token or name="quoted" ---- */

static bool is_token(char byte)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != '\0' && strchr(others, byte) != NULL);
}

/* Steps over one ';' parameter. False at the end of the value, or where it is malformed. */
static bool next_parameter(struct ps_slice *rest, struct ps_slice *ret_name, char *ret_value,
                           size_t size, size_t *ret_len)
{
    const char *at = rest->ptr;
    const char *end = at + rest->len;
    size_t len = 0;

    while (at < end && (*at == ';' || *at == ' ' || *at == '\t')) {
        at++;
    }
    ret_name->ptr = at;
    while (at < end && is_token(*at)) {
        at++;
    }
    ret_name->len = (size_t)(at - ret_name->ptr);
    if (ret_name->len == 0 || at == end || *at != '=') {
        return false;
    }
    at++;
    if (at < end && *at == '"') {
        for (at++; at < end && *at != '"'; at++) {
            if (*at == '\\' && at + 1 < end) {
                at++;
            }
            if (len < size) {
                ret_value[len] = *at;
            }
            len++;
        }
        if (at == end) {
            return false;
        }
        at++;
    } else {
        for (; at < end && *at != ';' && *at != ' ' && *at != '\t'; at++) {
            if (len < size) {
                ret_value[len] = *at;
            }
            len++;
        }
    }
    *rest = ps_slice(at, (size_t)(end - at));
    *ret_len = len;
    return true;
}

/* The value of one parameter into `ret_value`; false when it is missing, or longer than `size`. */
static bool find_parameter(struct ps_slice value, const char *name, char *ret_value, size_t size,
                           size_t *ret_len)
{
    const char *start = value.len > 0 ? memchr(value.ptr, ';', value.len) : NULL;
    struct ps_slice rest;
    struct ps_slice found;

    if (start == NULL) {
        return false;
    }
    rest = ps_slice(start, value.len - (size_t)(start - value.ptr));
    while (next_parameter(&rest, &found, ret_value, size, ret_len)) {
        if (ps_slice_ieq(found, ps_slice_cstr(name))) {
            return *ret_len <= size;
        }
    }
    return false;
}

int ps_multipart_init(struct ps_multipart *multipart, struct ps_slice content_type,
                      struct ps_multipart_field *fields, size_t field_count,
                      struct ps_fault *ret_fault)
{
    size_t len = 0;
    char *boundary = multipart->delimiter + 4;

    multipart->state = PS_MULTIPART_PREAMBLE;
    multipart->fields = fields;
    multipart->field_count = field_count;
    multipart->current = -1;
    multipart->parts = 0;
    multipart->offset = 0;
    multipart->matched = 2; /* the body begins as if behind a line end */
    multipart->head_len = 0;
    memcpy(multipart->delimiter, "\r\n--", 4);
    if (!find_parameter(content_type, "boundary", boundary, PS_MULTIPART_BOUNDARY, &len) ||
        len == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, NULL,
                            "The content type names no boundary of 1 to %d characters.",
                            PS_MULTIPART_BOUNDARY);
    }
    for (size_t i = 0; i < len; i++) {
        if (boundary[i] < 0x20 || boundary[i] > 0x7e) {
            return ps_fault_set(
                ret_fault, PS_FAULT_BAD_FIELD, NULL,
                "The boundary in the content type holds a character that it must not.");
        }
    }
    multipart->delimiter_len = 4 + len;
    return 0;
}

/* ---- the head of a part ---- */

static int name_part(struct ps_multipart *multipart, struct ps_slice disposition,
                     struct ps_fault *ret_fault)
{
    char name[64];
    size_t len;

    if (!find_parameter(disposition, "name", name, sizeof(name), &len)) {
        return 0;
    }
    for (size_t i = 0; i < multipart->field_count; i++) {
        struct ps_multipart_field *field = &multipart->fields[i];

        if (!ps_slice_eq_cstr(ps_slice(name, len), field->name)) {
            continue;
        }
        if (field->given) {
            return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, field->name,
                                "The multipart body has the field %s more than once.", field->name);
        }
        field->given = true;
        field->span.start = multipart->offset;
        multipart->current = (int)i;
    }
    return 0;
}

/* The head is complete, its empty line included. */
static int read_head(struct ps_multipart *multipart, struct ps_fault *ret_fault)
{
    static const struct ps_slice wanted = {"content-disposition", 19};
    const char *at = multipart->head;
    const char *end = at + multipart->head_len;

    multipart->current = -1;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct ps_slice line = ps_slice(at, (size_t)(stop - at) - 1);
        const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;

        if (colon != NULL) {
            size_t name_len = (size_t)(colon - line.ptr);

            if (ps_slice_ieq(ps_slice(line.ptr, name_len), wanted)) {
                return name_part(multipart, ps_slice(colon + 1, line.len - name_len - 1),
                                 ret_fault);
            }
        } else if (line.len > 0) {
            return refuse(ret_fault, "has a header line without a colon");
        }
        at = stop + 1;
    }
    return 0;
}

/* One byte of a head. */
static int take_head(struct ps_multipart *multipart, char byte, struct ps_fault *ret_fault)
{
    char *head = multipart->head;
    size_t len = multipart->head_len;

    if (len == PS_MULTIPART_HEADER) {
        return refuse(ret_fault, "has a part whose headers are too long");
    }
    if (byte == '\n' && (len == 0 || head[len - 1] != '\r')) {
        return refuse(ret_fault, "has a header line that does not end with CRLF");
    }
    head[len] = byte;
    multipart->head_len = ++len;
    if (byte != '\n' || (len != 2 && (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0))) {
        return 0;
    }
    multipart->offset++; /* the content begins behind this byte */
    if (read_head(multipart, ret_fault) != 0) {
        return -1;
    }
    multipart->offset--;
    multipart->state = PS_MULTIPART_CONTENT;
    multipart->matched = 2; /* an empty content: the boundary follows at once */
    return 0;
}

/* ---- boundaries ---- */

static int end_content(struct ps_multipart *multipart, struct ps_fault *ret_fault)
{
    if (multipart->current >= 0) {
        struct ps_span *span = &multipart->fields[multipart->current].span;
        uint64_t before = multipart->offset + 1 - multipart->delimiter_len;

        /* The line end before the boundary may be the one that ends the head. */
        span->end = before > span->start ? before : span->start;
        multipart->current = -1;
    }
    multipart->state = PS_MULTIPART_DELIMITER;
    multipart->matched = 0;
    if (++multipart->parts > PS_MULTIPART_PARTS + 1) {
        return refuse(ret_fault, "has too many parts");
    }
    return 0;
}

/*
 * Runs over content up to the end of a delimiter. CR stands nowhere in a delimiter but at its
 * start, so after a mismatch only that can match.
 */
static int skip_content(struct ps_multipart *multipart, const char **at, const char *end,
                        struct ps_fault *ret_fault)
{
    const char *p = *at;
    const char *begin = p;

    while (p < end) {
        if (multipart->matched == 0) {
            const char *cr = memchr(p, '\r', (size_t)(end - p));

            p = cr != NULL ? cr + 1 : end;
            multipart->matched = cr != NULL ? 1 : 0;
            continue;
        }
        if (*p == multipart->delimiter[multipart->matched]) {
            multipart->matched++;
            if (multipart->matched == multipart->delimiter_len) {
                multipart->offset += (uint64_t)(p - begin);
                *at = p;
                return end_content(multipart, ret_fault);
            }
        } else {
            multipart->matched = *p == '\r' ? 1 : 0;
        }
        p++;
    }
    multipart->offset += (uint64_t)(p - begin);
    *at = p;
    return 0;
}

/* One byte between a boundary and the head that follows it. */
static int take_delimiter(struct ps_multipart *multipart, char byte, struct ps_fault *ret_fault)
{
    enum ps_multipart_state state = multipart->state;

    if (state == PS_MULTIPART_DELIMITER && byte == '-') {
        multipart->state = PS_MULTIPART_END_DASH;
    } else if (state == PS_MULTIPART_END_DASH && byte == '-') {
        multipart->state = PS_MULTIPART_EPILOGUE;
    } else if ((state == PS_MULTIPART_DELIMITER || state == PS_MULTIPART_PADDING) && byte == '\r') {
        multipart->state = PS_MULTIPART_LINE_FEED;
    } else if ((state == PS_MULTIPART_DELIMITER || state == PS_MULTIPART_PADDING) &&
               (byte == ' ' || byte == '\t')) {
        multipart->state = PS_MULTIPART_PADDING;
    } else if (state == PS_MULTIPART_LINE_FEED && byte == '\n') {
        if (multipart->parts > PS_MULTIPART_PARTS) {
            return refuse(ret_fault, "has too many parts");
        }
        multipart->state = PS_MULTIPART_HEAD;
        multipart->head_len = 0;
    } else {
        return refuse(ret_fault, "has text behind a boundary");
    }
    return 0;
}

int ps_multipart_feed(struct ps_multipart *multipart, const char *ptr, size_t len,
                      struct ps_fault *ret_fault)
{
    const char *at = ptr;
    const char *end = ptr + len;

    while (at < end) {
        enum ps_multipart_state state = multipart->state;
        int rc = 0;

        if (state == PS_MULTIPART_EPILOGUE) {
            return 0;
        }
        if (state == PS_MULTIPART_PREAMBLE || state == PS_MULTIPART_CONTENT) {
            rc = skip_content(multipart, &at, end, ret_fault);
            if (at == end) {
                return rc;
            }
        } else if (state == PS_MULTIPART_HEAD) {
            rc = take_head(multipart, *at, ret_fault);
        } else {
            rc = take_delimiter(multipart, *at, ret_fault);
        }
        if (rc != 0) {
            return rc;
        }
        at++;
        multipart->offset++;
    }
    return 0;
}

int ps_multipart_finish(struct ps_multipart *multipart, struct ps_fault *ret_fault)
{
    if (multipart->state != PS_MULTIPART_EPILOGUE) {
        return refuse(ret_fault, "ends before its closing boundary");
    }
    return 0;
}
