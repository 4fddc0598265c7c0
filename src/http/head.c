/* SPDX-License-Identifier: Apache-2.0 */
#include "head.h"

#include "chars.h"

/* What the header lines said about framing and the like, before it is judged as a whole. */
struct facts {
    size_t hosts;
    size_t lengths;
    struct ps_slice length;
    size_t codings;    /* elements of all Transfer-Encoding lines */
    size_t chunked;    /* how many of them are "chunked" */
    bool chunked_last; /* the last one is */
    bool codings_bad;  /* they are no list of codings at all */
    bool tab;          /* in one of those lines or in Content-Length */
    bool close;        /* Connection: close */
    bool keep;         /* Connection: keep-alive */
    bool expect_continue;
    bool expect_other;
};

static int read_port(struct ps_slice port)
{
    int value = 0;

    if (port.len == 0 || port.len > 5) {
        return -1;
    }
    for (size_t i = 0; i < port.len; i++) {
        if (port.ptr[i] < '0' || port.ptr[i] > '9') {
            return -1;
        }
        value = value * 10 + (port.ptr[i] - '0');
    }
    return value <= 65535 ? value : -1;
}

/* Bytes of the host before the port: "[…]" of hexadecimal digits, ':' and '.', or a name. 0 when it
 * is neither. */
static size_t host_span(struct ps_slice host)
{
    size_t i = 1;

    if (host.len == 0 || host.ptr[0] != '[') {
        return ps_char_span(host.ptr, host.len, PS_CHAR_HOST);
    }
    while (i < host.len &&
           (ps_char_is(host.ptr[i], PS_CHAR_HEX) || host.ptr[i] == ':' || host.ptr[i] == '.')) {
        i++;
    }
    return i < host.len && i > 2 && host.ptr[i] == ']' ? i + 1 : 0;
}

int ps_http_check_host(struct ps_slice host, struct ps_fault *fault)
{
    size_t len = host_span(host);
    struct ps_slice port;

    if (len > 0 && len == host.len) {
        return 0;
    }
    if (len > 0 && host.ptr[len] == ':') {
        port = ps_slice(host.ptr + len + 1, host.len - len - 1);
        if (read_port(port) >= 0) {
            return 0;
        }
    }
    return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                        "The host of the request is malformed: expected a name or address, and "
                        "maybe ':' and a port.");
}

/* Takes the next element of a comma-separated list, trimmed; false at the end. */
static bool next_element(struct ps_slice *rest, struct ps_slice *ret_element)
{
    const char *comma;

    if (rest->ptr == NULL) {
        return false;
    }
    comma = rest->len > 0 ? memchr(rest->ptr, ',', rest->len) : NULL;
    if (comma == NULL) {
        *ret_element = ps_slice_trim(*rest);
        *rest = PS_SLICE_NONE;
        return true;
    }
    *ret_element = ps_slice_trim(ps_slice(rest->ptr, (size_t)(comma - rest->ptr)));
    *rest = ps_slice(comma + 1, rest->len - (size_t)(comma - rest->ptr) - 1);
    return true;
}

static void note_connection(struct facts *facts, struct ps_slice value)
{
    struct ps_slice element;

    while (next_element(&value, &element)) {
        facts->close |= ps_slice_ieq(element, PS_SLICE_LIT("close"));
        facts->keep |= ps_slice_ieq(element, PS_SLICE_LIT("keep-alive"));
    }
}

static void note_codings(struct facts *facts, struct ps_slice value)
{
    struct ps_slice element;

    while (next_element(&value, &element)) {
        size_t token = ps_char_span(element.ptr, element.len, PS_CHAR_TOKEN);
        bool chunked = ps_slice_ieq(ps_slice(element.ptr, token), PS_SLICE_LIT("chunked"));
        struct ps_slice params = ps_slice_trim(ps_slice(element.ptr + token, element.len - token));

        facts->codings++;
        facts->chunked += chunked;
        facts->chunked_last = chunked;
        facts->codings_bad |= token == 0 || (params.len > 0 && params.ptr[0] != ';');
        facts->codings_bad |=
            chunked && params.len > 0; /* RFC 9112 section 7.1: none are defined */
    }
}

/* White space around a value may be a tab, but around these readers differ. */
static bool has_tab(const struct ps_http_header *header)
{
    const char *value = header->name.ptr + header->name.len + 1;

    while (*value != '\r' && *value != '\t') {
        value++;
    }
    return *value == '\t';
}

static void note_header(struct facts *facts, struct ps_http_head *head,
                        const struct ps_http_header *header)
{
    switch (header->name.len) {
    case 4:
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("host"))) {
            facts->hosts++;
            head->host = header->value;
        }
        break;
    case 6:
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("expect"))) {
            if (ps_slice_ieq(header->value, PS_SLICE_LIT("100-continue"))) {
                facts->expect_continue = true;
            } else {
                facts->expect_other = true;
            }
        }
        break;
    case 10:
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("connection"))) {
            note_connection(facts, header->value);
        }
        break;
    case 14:
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("content-length"))) {
            facts->lengths++;
            facts->tab |= has_tab(header);
            facts->length = header->value;
        }
        break;
    case 17:
        if (ps_slice_ieq(header->name, PS_SLICE_LIT("transfer-encoding"))) {
            note_codings(facts, header->value);
            facts->tab |= has_tab(header);
        }
        break;
    default:
        break;
    }
}

/* The header line at `ptr`, which ends in CRLF. Its length with the CRLF, or 0. */
static size_t read_header(const char *ptr, size_t len, struct ps_http_header *ret_header,
                          struct ps_fault *fault)
{
    size_t name_len = ps_char_span(ptr, len, PS_CHAR_TOKEN);
    const char *end =
        memchr(ptr, '\r', len); /* the line checks have seen to it that an LF follows */
    const char *value = ptr + name_len + 1;

    if (end == NULL || name_len == 0 || ptr[name_len] != ':') {
        if (ptr[0] == ':') {
            ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                         "A header line has no name before the colon.");
        } else if (ptr[name_len] == ' ' || ptr[name_len] == '\t') {
            ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                         "A header line has white space in its name or before the colon.");
        } else {
            ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                         "A header line is malformed: expected a name, a colon and a value.");
        }
        return 0;
    }
    ret_header->name = ps_slice(ptr, name_len);
    ret_header->value = ps_slice_trim(ps_slice(value, (size_t)(end - value)));
    return (size_t)(end - ptr) + 2;
}

static int judge_host(const struct facts *facts, struct ps_http_head *head, struct ps_fault *fault)
{
    if (facts->hosts > 1) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request has more than one Host header.");
    }
    if (facts->hosts == 1) {
        return ps_http_check_host(head->host, fault);
    }
    if (head->minor == 1) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request has no Host header, which HTTP/1.1 demands.");
    }
    return 0;
}

static int judge_tab(const struct facts *facts, struct ps_fault *fault)
{
    return facts->tab ? ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                                     "The Content-Length or Transfer-Encoding header holds a tab.")
                      : 0;
}

static int judge_codings(const struct facts *facts, struct ps_http_head *head,
                         struct ps_fault *fault)
{
    if (facts->codings == 0) {
        return 0;
    }
    if (head->minor == 0) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "HTTP/1.0 has no Transfer-Encoding; where the body ends is ambiguous.");
    }
    if (facts->lengths > 0) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request has both Content-Length and Transfer-Encoding; where the "
                            "body ends is ambiguous.");
    }
    if (facts->codings_bad) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The Transfer-Encoding header is malformed.");
    }
    if (facts->chunked != 1 || !facts->chunked_last) {
        /* RFC 9112 section 6.3: without chunked at the end nobody knows where the body ends. */
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "Transfer-Encoding must end in 'chunked', and have it once.");
    }
    if (facts->codings > 1) {
        return ps_fault_set(fault, PS_FAULT_NOT_IMPLEMENTED, NULL,
                            "Of all transfer codings only 'chunked' is implemented.");
    }
    head->chunked = true;
    head->has_body = true;
    return 0;
}

static int judge_length(const struct facts *facts, struct ps_http_head *head,
                        struct ps_fault *fault)
{
    uint64_t value = 0;

    if (facts->lengths == 0) {
        return 0;
    }
    if (facts->lengths > 1) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request has more than one Content-Length header.");
    }
    for (size_t i = 0; i < facts->length.len; i++) {
        unsigned digit = (unsigned)(unsigned char)facts->length.ptr[i] - '0';

        if (digit > 9) {
            return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                                "Content-Length is not a decimal number.");
        }
        if (value > (UINT64_MAX - digit) / 10) {
            return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                                "Content-Length is too large a number.");
        }
        value = value * 10 + digit;
    }
    if (facts->length.len == 0) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL, "Content-Length is empty.");
    }
    head->content_length = value;
    head->has_body = value > 0;
    return 0;
}

static int judge_expect(const struct facts *facts, struct ps_http_head *head,
                        struct ps_fault *fault)
{
    if (facts->expect_other) {
        return ps_fault_set(fault, PS_FAULT_EXPECTATION_FAILED, NULL,
                            "Of all expectations only '100-continue' is known here.");
    }
    /* RFC 9110 section 10.1.1: from HTTP/1.0 it is ignored, and without a body it asks for nothing.
     */
    head->expect_continue = facts->expect_continue && head->minor == 1 && head->has_body;
    return 0;
}

/* Splits "http://host:port/path?query", whose host must be the one that Host names. */
static int read_absolute_target(const struct facts *facts, struct ps_http_head *head,
                                struct ps_fault *fault)
{
    size_t scheme = head->target.ptr[4] == ':' ? 7 : 8;
    struct ps_slice rest = {head->target.ptr + scheme, head->target.len - scheme};
    struct ps_slice authority = {rest.ptr, 0};

    while (authority.len < rest.len && rest.ptr[authority.len] != '/' &&
           rest.ptr[authority.len] != '?') {
        authority.len++;
    }
    if (ps_http_check_host(authority, fault) < 0) {
        return -1;
    }
    if (facts->hosts > 0 && !ps_slice_ieq(authority, head->host)) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request target names another host than the Host header.");
    }
    head->host = authority;
    head->path = ps_slice(rest.ptr + authority.len, rest.len - authority.len);
    return 0;
}

static int read_target(const struct facts *facts, struct ps_http_head *head, struct ps_fault *fault)
{
    char first = head->target.ptr[0];
    const char *mark;

    if (ps_slice_eq(head->method_text, PS_SLICE_LIT("CONNECT"))) {
        return 0; /* an authority: no path to route by */
    }
    head->path = head->target;
    if (first != '/' && first != '*' && read_absolute_target(facts, head, fault) < 0) {
        return -1;
    }
    mark = head->path.len > 0 ? memchr(head->path.ptr, '?', head->path.len) : NULL;
    if (mark != NULL) {
        head->query.ptr = mark + 1;
        head->query.len = head->path.len - (size_t)(mark - head->path.ptr) - 1;
        head->path.len = (size_t)(mark - head->path.ptr);
    }
    if (head->path.len == 0) {
        head->path = PS_SLICE_LIT("/"); /* "http://host" */
    }
    return 0;
}

int ps_http_read_head(struct ps_slice raw, const struct ps_http_request_line *line,
                      struct ps_http_header *headers, struct ps_http_head *ret_head,
                      struct ps_fault *fault)
{
    struct ps_http_head head = {.method = line->method, .minor = line->minor, .headers = headers};
    struct facts facts = {.hosts = 0};
    size_t at = line->method_len + line->target_len + sizeof("  HTTP/1.1\r\n") - 1;

    head.method_text = ps_slice(raw.ptr, line->method_len);
    head.target = ps_slice(raw.ptr + line->method_len + 1, line->target_len);
    while (raw.len - at > 2) {
        struct ps_http_header *header = &headers[head.header_count];
        size_t used = read_header(raw.ptr + at, raw.len - at, header, fault);

        if (used == 0) {
            return -1;
        }
        note_header(&facts, &head, header);
        head.header_count++;
        at += used;
    }
    head.keep_alive = !facts.close && (head.minor == 1 || facts.keep);
    if (judge_host(&facts, &head, fault) < 0 || judge_tab(&facts, fault) < 0 ||
        judge_codings(&facts, &head, fault) < 0 || judge_length(&facts, &head, fault) < 0 ||
        judge_expect(&facts, &head, fault) < 0 || read_target(&facts, &head, fault) < 0) {
        return -1;
    }
    *ret_head = head;
    return 0;
}

const struct ps_http_header *ps_http_find(const struct ps_http_head *head, const char *name)
{
    struct ps_slice wanted = ps_slice_cstr(name);

    for (size_t i = 0; i < head->header_count; i++) {
        if (ps_slice_ieq(head->headers[i].name, wanted)) {
            return &head->headers[i];
        }
    }
    return NULL;
}

struct ps_slice ps_http_value(const struct ps_http_head *head, const char *name, size_t *ret_count)
{
    struct ps_slice wanted = ps_slice_cstr(name);
    struct ps_slice value = PS_SLICE_NONE;
    size_t count = 0;

    for (size_t i = 0; i < head->header_count; i++) {
        if (ps_slice_ieq(head->headers[i].name, wanted)) {
            if (count == 0) {
                value = head->headers[i].value;
            }
            count++;
        }
    }
    if (ret_count != NULL) {
        *ret_count = count;
    }
    return value;
}
