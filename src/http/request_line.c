/* SPDX-License-Identifier: Apache-2.0 */
#include "chars.h"
#include "head.h"

static const struct {
    struct ps_slice text;
    enum ps_http_method method;
} methods[] = {
    {{"GET", 3}, PS_HTTP_GET},         {{"POST", 4}, PS_HTTP_POST},
    {{"HEAD", 4}, PS_HTTP_HEAD},       {{"PUT", 3}, PS_HTTP_PUT},
    {{"PATCH", 5}, PS_HTTP_PATCH},     {{"DELETE", 6}, PS_HTTP_DELETE},
    {{"OPTIONS", 7}, PS_HTTP_OPTIONS},
};

static enum ps_http_method method_of(struct ps_slice text)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (ps_slice_eq(text, methods[i].text)) {
            return methods[i].method;
        }
    }
    return PS_HTTP_OTHER;
}

const char *ps_http_method_name(enum ps_http_method method)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (methods[i].method == method) {
            return methods[i].text.ptr;
        }
    }
    return "OTHER";
}

static int check_control(const char *ptr, size_t len, struct ps_fault *fault)
{
    size_t at = ps_http_find_control(ptr, len);

    if (at == len) {
        return 0;
    }
    if (ptr[at] == '\r') {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request head holds a carriage return that no line feed follows.");
    }
    if (ptr[at] == '\0') {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL, "The request head holds a NUL byte.");
    }
    return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                        "The request head holds the control byte 0x%02x.", (unsigned)ptr[at]);
}

int ps_http_check_line(const char *ptr, size_t len, bool first, struct ps_fault *fault)
{
    if (len < 2 || ptr[len - 2] != '\r') {
        /* RFC 9112 section 2.2 would let us take it; a proxy before us may read it otherwise. */
        return ps_fault_set(
            fault, PS_FAULT_BAD_HTTP, NULL,
            "A line of the request head ends in a line feed without a carriage return.");
    }
    if (!first && (ptr[0] == ' ' || ptr[0] == '\t')) {
        return ps_fault_set(
            fault, PS_FAULT_BAD_HTTP, NULL,
            "A header line begins with white space; folded headers are not accepted.");
    }
    return check_control(ptr, len - 2, fault);
}

static int read_version(struct ps_slice text, int *ret_minor, struct ps_fault *fault)
{
    if (ps_slice_eq(text, PS_SLICE_LIT("HTTP/1.1"))) {
        *ret_minor = 1;
        return 0;
    }
    if (ps_slice_eq(text, PS_SLICE_LIT("HTTP/1.0"))) {
        *ret_minor = 0;
        return 0;
    }
    if (memchr(text.ptr, ' ', text.len) != NULL) {
        return ps_fault_set(
            fault, PS_FAULT_BAD_HTTP, NULL,
            "The request line has too many spaces: expected method, target and version.");
    }
    return ps_fault_set(
        fault, PS_FAULT_BAD_HTTP, NULL,
        "The HTTP version of the request line is not one spoken here; use HTTP/1.1.");
}

static bool starts_with_scheme(struct ps_slice target)
{
    static const struct ps_slice schemes[] = {{"http://", 7}, {"https://", 8}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (target.len > schemes[i].len &&
            ps_slice_ieq(ps_slice(target.ptr, schemes[i].len), schemes[i])) {
            return true;
        }
    }
    return false;
}

/* The four forms of RFC 9112 section 3.2. The authority in an absolute one is checked with the
 * headers. */
static int check_target_form(struct ps_slice method, struct ps_slice target, struct ps_fault *fault)
{
    if (ps_slice_eq(method, PS_SLICE_LIT("CONNECT"))) {
        return ps_http_check_host(target, fault);
    }
    if (target.ptr[0] == '/' || starts_with_scheme(target)) {
        return 0;
    }
    if (ps_slice_eq(target, PS_SLICE_LIT("*"))) {
        if (ps_slice_eq(method, PS_SLICE_LIT("OPTIONS"))) {
            return 0;
        }
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request target '*' is for OPTIONS only.");
    }
    return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                        "The request target must be a path that begins with '/'.");
}

static int check_target(struct ps_slice method, struct ps_slice target, struct ps_fault *fault)
{
    size_t good = ps_char_span(target.ptr, target.len, PS_CHAR_TARGET);

    if (target.len == 0) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request line has two spaces in a row, or no target.");
    }
    if (good < target.len && target.ptr[good] == '#') {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request target has a fragment; '#' must be percent-encoded.");
    }
    if (good < target.len) {
        return ps_fault_set(
            fault, PS_FAULT_BAD_HTTP, NULL,
            "The request target holds the byte 0x%02x, which must be percent-encoded.",
            (unsigned)(unsigned char)target.ptr[good]);
    }
    return check_target_form(method, target, fault);
}

int ps_http_read_request_line(struct ps_slice line, struct ps_http_request_line *ret_line,
                              struct ps_fault *fault)
{
    struct ps_slice method = {line.ptr, ps_char_span(line.ptr, line.len, PS_CHAR_TOKEN)};
    struct ps_slice target;
    struct ps_slice version;
    const char *space;
    int minor = 0;

    if (method.len == line.len || method.len == 0 || line.ptr[method.len] != ' ') {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request line is not an HTTP method, a target and a version.");
    }
    target.ptr = line.ptr + method.len + 1;
    target.len = line.len - method.len - 1;
    space = target.len > 0 ? memchr(target.ptr, ' ', target.len) : NULL;
    if (space == NULL) {
        return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                            "The request line names no HTTP version; HTTP/0.9 is not spoken here.");
    }
    version.ptr = space + 1;
    version.len = target.len - (size_t)(space - target.ptr) - 1;
    target.len = (size_t)(space - target.ptr);
    if (ps_slice_eq(method, PS_SLICE_LIT("PRI"))) {
        return ps_fault_set(
            fault, PS_FAULT_BAD_HTTP, NULL,
            "This is the preface of HTTP/2, which is not spoken here; use HTTP/1.1.");
    }
    if (target.len > 0 && read_version(version, &minor, fault) < 0) {
        return -1;
    }
    if (check_target(method, target, fault) < 0) {
        return -1;
    }
    *ret_line = (struct ps_http_request_line){
        .method_len = method.len,
        .target_len = target.len,
        .method = method_of(method),
        .minor = minor,
    };
    return 0;
}
