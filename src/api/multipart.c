/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"

#include "penstock/http/writer.h"

#include <string.h>

static int refuse(struct ps_fault *ret_fault, const char *why)
{
    return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, NULL, "The multipart body %s.", why);
}

/* ---- parameters of a header value: name=token or name="quoted" ---- */

struct parameters {
    const char *at;
    const char *end;
    bool broken;
};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_token(char byte)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != '\0' && strchr(others, byte) != NULL);
}

/*
 * A quoted text into `ret`. A backslash stands for itself unless a quote or another one follows:
 * browsers of old sent whole paths of Windows.
 */
static bool read_quoted(struct parameters *rest, char *ret, size_t size, size_t *ret_len)
{
    size_t len = 0;
    const char *at = rest->at + 1;
    for (; at < rest->end && *at != '"'; at++) {
        if (*at == '\\' && at + 1 < rest->end && (at[1] == '"' || at[1] == '\\')) {
            at++;
        }
        if (len == size) {
            return false;
        }
        ret[len++] = *at;
    }
    *ret_len = len;
    rest->at = at + 1;
    return at < rest->end;
}

static bool read_token(struct parameters *rest, char *ret, size_t size, size_t *ret_len)
{
    size_t len = 0;
    while (rest->at < rest->end && *rest->at != ';' && !is_blank(*rest->at)) {
        if (len == size) {
            return false;
        }
        ret[len++] = *rest->at++;
    }
    *ret_len = len;
    return true;
}

/* Steps over one `; name=value`. False at the end, or where it is malformed (`broken`). */
static bool next_parameter(struct parameters *rest, struct ps_slice *ret_name, char *ret,
                           size_t size, size_t *ret_len)
{
    while (rest->at < rest->end && (*rest->at == ';' || is_blank(*rest->at))) {
        rest->at++;
    }
    if (rest->at == rest->end) {
        return false;
    }
    ret_name->ptr = rest->at;
    while (rest->at < rest->end && is_token(*rest->at)) {
        rest->at++;
    }
    ret_name->len = (size_t)(rest->at - ret_name->ptr);
    rest->broken = ret_name->len == 0 || rest->at == rest->end || *rest->at != '=';
    if (rest->broken) {
        return false;
    }
    rest->at++;
    rest->broken = rest->at < rest->end && *rest->at == '"' ? !read_quoted(rest, ret, size, ret_len)
                                                            : !read_token(rest, ret, size, ret_len);
    return !rest->broken;
}

/* Sets `rest` behind the value's first word; that word. */
static struct ps_slice first_word(struct ps_slice value, struct parameters *rest)
{
    const char *semicolon = value.len > 0 ? memchr(value.ptr, ';', value.len) : NULL;
    size_t len = semicolon != NULL ? (size_t)(semicolon - value.ptr) : value.len;
    *rest = (struct parameters){value.ptr + len, value.ptr + value.len, false};
    return ps_slice_trim(ps_slice(value.ptr, len));
}

/* ---- the beginning ---- */

int ps_form_init(struct ps_form *form, struct ps_slice content_type, const struct ps_form_ops *ops,
                 void *arg, struct ps_fault *ret_fault)
{
    struct parameters rest;
    struct ps_slice name;
    char value[PS_FORM_BOUNDARY];
    size_t len = 0;
    size_t boundary = 0;

    form->state = PS_FORM_PREAMBLE;
    form->ops = ops;
    form->arg = arg;
    form->parts = 0;
    form->matched = 2; /* the body begins as if behind a line end */
    form->phantom = 2;
    form->head_len = 0;
    if (!ps_slice_ieq(first_word(content_type, &rest), PS_SLICE_LIT("multipart/form-data"))) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "Content-Type",
                            "The body must be multipart/form-data, with the fields file and "
                            "purpose.");
    }
    while (next_parameter(&rest, &name, value, sizeof(value), &len)) {
        if (ps_slice_ieq(name, PS_SLICE_LIT("boundary")) && boundary == 0) {
            memcpy(form->delimiter + 4, value, len);
            boundary = len;
        }
    }
    for (size_t i = 0; i < boundary; i++) {
        rest.broken = rest.broken || form->delimiter[4 + i] < 0x20 || form->delimiter[4 + i] > 0x7e;
    }
    if (rest.broken || boundary == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_FIELD, "Content-Type",
                            "Content-Type names no usable boundary of 1 to %d characters.",
                            PS_FORM_BOUNDARY);
    }
    memcpy(form->delimiter, "\r\n--", 4);
    form->delimiter_len = 4 + boundary;
    return 0;
}

/* ---- the head of a part ---- */

/* name and filename of a Content-Disposition. */
static int read_disposition(struct ps_slice value, char *name, char *filename,
                            struct ps_form_part *part, struct ps_fault *ret_fault)
{
    struct parameters rest;
    struct ps_slice key;
    char text[PS_FORM_FILENAME];
    size_t len = 0;

    if (!ps_slice_ieq(first_word(value, &rest), PS_SLICE_LIT("form-data"))) {
        return refuse(ret_fault, "has a part that is no form-data");
    }
    while (next_parameter(&rest, &key, text, sizeof(text), &len)) {
        bool is_name = ps_slice_ieq(key, PS_SLICE_LIT("name"));
        bool is_filename = ps_slice_ieq(key, PS_SLICE_LIT("filename"));
        if ((is_name && part->name.ptr != NULL) || (is_filename && part->has_filename)) {
            return refuse(ret_fault, "has a part with two names");
        }
        if (is_name) {
            if (len == 0 || len > PS_FORM_NAME) {
                return refuse(ret_fault, "has a part whose name is empty or too long");
            }
            memcpy(name, text, len);
            part->name = ps_slice(name, len);
        } else if (is_filename) {
            memcpy(filename, text, len);
            part->filename = ps_slice(filename, len);
            part->has_filename = true;
        }
    }
    return rest.broken ? refuse(ret_fault, "has a malformed Content-Disposition") : 0;
}

static int read_header(struct ps_slice line, struct ps_slice *disposition,
                       struct ps_fault *ret_fault)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    struct ps_slice name = ps_slice(line.ptr, colon != NULL ? (size_t)(colon - line.ptr) : 0);
    if (!ps_http_is_token(name)) {
        return refuse(ret_fault, "has a part with a malformed header line");
    }
    struct ps_slice value = ps_slice_trim(ps_slice(colon + 1, line.len - name.len - 1));
    if (ps_slice_ieq(name, PS_SLICE_LIT("content-disposition"))) {
        if (disposition->ptr != NULL) {
            return refuse(ret_fault, "has a part with two Content-Disposition lines");
        }
        *disposition = value;
    } else if (ps_slice_ieq(name, PS_SLICE_LIT("content-transfer-encoding")) &&
               !ps_slice_ieq(value, PS_SLICE_LIT("binary")) &&
               !ps_slice_ieq(value, PS_SLICE_LIT("8bit")) &&
               !ps_slice_ieq(value, PS_SLICE_LIT("7bit"))) {
        return refuse(ret_fault, "has a part with a Content-Transfer-Encoding other than binary");
    }
    return 0;
}

/* The head is complete, its empty line included. */
static int read_head(struct ps_form *form, struct ps_fault *ret_fault)
{
    struct ps_form_part part = {.has_filename = false};
    struct ps_slice disposition = PS_SLICE_NONE;
    char name[PS_FORM_NAME];
    char filename[PS_FORM_FILENAME];
    const char *at = form->head;
    const char *end = at + form->head_len - 2;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (read_header(ps_slice(at, (size_t)(stop - at) - 1), &disposition, ret_fault) != 0) {
            return -1;
        }
        at = stop + 1;
    }
    if (disposition.ptr == NULL) {
        return refuse(ret_fault, "has a part without Content-Disposition");
    }
    if (read_disposition(disposition, name, filename, &part, ret_fault) != 0) {
        return -1;
    }
    if (part.name.ptr == NULL) {
        return refuse(ret_fault, "has a part without a name");
    }
    return form->ops->part(form->arg, &part, ret_fault);
}

/* One byte of a head. */
static int take_head(struct ps_form *form, char byte, struct ps_fault *ret_fault)
{
    char *head = form->head;
    size_t len = form->head_len;

    if (len == PS_FORM_HEAD) {
        return refuse(ret_fault, "has a part whose headers are too long");
    }
    if (byte == '\0' || (byte == '\n' && (len == 0 || head[len - 1] != '\r')) ||
        (byte != '\n' && len > 0 && head[len - 1] == '\r')) {
        return refuse(ret_fault, "has a header line that does not end with CRLF");
    }
    head[len] = byte;
    form->head_len = ++len;
    if (byte != '\n' || (len != 2 && (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0))) {
        return 0;
    }
    form->state = PS_FORM_CONTENT;
    form->matched = 2; /* an empty content: the boundary may follow at once */
    form->phantom = 2;
    return read_head(form, ret_fault);
}

/* ---- contents and boundaries ---- */

static int give(const struct ps_form *form, const char *ptr, size_t len, struct ps_fault *ret_fault)
{
    if (form->state != PS_FORM_CONTENT || len == 0) {
        return 0;
    }
    return form->ops->data(form->arg, ptr, len, ret_fault);
}

static int end_content(struct ps_form *form, struct ps_fault *ret_fault)
{
    bool content = form->state == PS_FORM_CONTENT;
    form->state = PS_FORM_DELIMITER;
    form->matched = 0;
    form->phantom = 0;
    if (content && form->ops->end(form->arg, ret_fault) != 0) {
        return -1;
    }
    return 0;
}

/*
 * Runs over content up to the end of a delimiter. CR stands nowhere in a delimiter but at its
 * start, so after a mismatch only that can match. What had matched before this feed and then does
 * not is handed on from the delimiter itself.
 */
static int run_content(struct ps_form *form, const char **at, const char *end,
                       struct ps_fault *ret_fault)
{
    const char *p = *at;
    const char *run = p;           /* content not handed on yet begins here … */
    size_t before = form->matched; /* … but for these bytes, which matched in the last feed */

    while (p < end) {
        if (form->matched == 0) {
            const char *cr = memchr(p, '\r', (size_t)(end - p));
            p = cr != NULL ? cr + 1 : end;
            form->matched = cr != NULL ? 1 : 0;
            continue;
        }
        if (*p == form->delimiter[form->matched]) {
            form->matched++;
            p++;
            if (form->matched == form->delimiter_len) {
                size_t inside = form->delimiter_len - before; /* of it, in this feed */
                *at = p;
                if (give(form, run, (size_t)(p - run) - inside, ret_fault) != 0) {
                    return -1;
                }
                return end_content(form, ret_fault);
            }
            continue;
        }
        if (before > 0 &&
            give(form, form->delimiter + form->phantom, before - form->phantom, ret_fault) != 0) {
            return -1;
        }
        before = 0;
        form->phantom = 0;
        form->matched = *p == '\r' ? 1 : 0;
        p++;
    }
    *at = p;
    return give(form, run, (size_t)(p - run) - (form->matched - before), ret_fault);
}

/* One byte between a boundary and the head that follows it. */
static int take_delimiter(struct ps_form *form, char byte, struct ps_fault *ret_fault)
{
    enum ps_form_state state = form->state;
    bool line_may_end = state == PS_FORM_DELIMITER || state == PS_FORM_PADDING;

    if (state == PS_FORM_DELIMITER && byte == '-') {
        form->state = PS_FORM_END_DASH;
    } else if (state == PS_FORM_END_DASH && byte == '-') {
        form->state = PS_FORM_EPILOGUE;
    } else if (line_may_end && byte == '\r') {
        form->state = PS_FORM_LINE_FEED;
    } else if (line_may_end && is_blank(byte)) {
        form->state = PS_FORM_PADDING;
    } else if (state == PS_FORM_LINE_FEED && byte == '\n') {
        if (++form->parts > PS_FORM_PARTS) {
            return refuse(ret_fault, "has too many parts");
        }
        form->state = PS_FORM_HEADERS;
        form->head_len = 0;
    } else {
        return refuse(ret_fault, "has text behind a boundary");
    }
    return 0;
}

int ps_form_feed(struct ps_form *form, const char *ptr, size_t len, struct ps_fault *ret_fault)
{
    const char *at = ptr;
    const char *end = ptr + len;

    while (at < end) {
        int rc = 0;
        if (form->state == PS_FORM_EPILOGUE) {
            return 0;
        }
        if (form->state == PS_FORM_PREAMBLE || form->state == PS_FORM_CONTENT) {
            rc = run_content(form, &at, end, ret_fault);
        } else if (form->state == PS_FORM_HEADERS) {
            rc = take_head(form, *at++, ret_fault);
        } else {
            rc = take_delimiter(form, *at++, ret_fault);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int ps_form_finish(const struct ps_form *form, struct ps_fault *ret_fault)
{
    if (form->state != PS_FORM_EPILOGUE) {
        return refuse(ret_fault, "ends before its closing boundary");
    }
    return 0;
}
