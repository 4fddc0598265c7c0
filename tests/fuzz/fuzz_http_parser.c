/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bytes of a connection into the request parser. However they are cut, the outcome is the same;
 * what is taken keeps the promises of penstock/http/parser.h; and llhttp never differs from our own
 * reading, so that a refusal does not depend on its version.
 */

#include "http/outcome.h"

#include "penstock/http/writer.h"

/* Small, so that the limits are met. */
static const struct ps_http_limits limits = {
    .line_bytes = 128, .header_bytes = 700, .body_bytes = 1024};

struct checked {
    struct ps_http_parser *parser;
    bool in_body;
    bool chunked;
    uint64_t wanted; /* with a length */
    uint64_t body;
};

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "broken promise: %s\n", what);
        abort();
    }
}

static void check_target(const struct ps_http_head *head)
{
    for (size_t i = 0; i < head->target.len; i++) {
        char c = head->target.ptr[i];

        require(c > ' ' && c < 0x7f && c != '#' && c != '\\', "bytes of a target");
    }
    if (ps_slice_eq_cstr(head->method_text, "CONNECT")) {
        require(head->path.len == 0, "CONNECT has no path");
        return;
    }
    require(head->path.len > 0, "a path");
    require(head->path.ptr[0] == '/' ||
                (ps_slice_eq_cstr(head->path, "*") && head->method == PS_HTTP_OPTIONS),
            "a path begins with '/'");
    require(memchr(head->path.ptr, '?', head->path.len) == NULL, "no query in a path");
}

static bool check_head(void *arg, const struct ps_http_head *head)
{
    struct checked *checked = arg;
    size_t hosts = 0;
    size_t lengths = 0;
    size_t codings = 0;

    require(!checked->in_body, "one request at a time");
    require(head->minor == 0 || head->minor == 1, "HTTP/1.0 or 1.1");
    require(ps_http_is_token(head->method_text), "a method");
    require(head->header_count <= PS_HTTP_MAX_HEADERS, "number of headers");
    for (size_t i = 0; i < head->header_count; i++) {
        require(ps_http_is_token(head->headers[i].name), "a header name");
        require(ps_http_is_field_value(head->headers[i].value), "a header value");
    }
    check_target(head);
    (void)ps_http_value(head, "host", &hosts);
    (void)ps_http_value(head, "content-length", &lengths);
    (void)ps_http_value(head, "transfer-encoding", &codings);
    require(hosts <= 1 && (hosts == 1 || head->minor == 0), "one Host");
    require(hosts == 0 || head->host.len > 0, "a host");
    require(lengths <= 1 && codings <= 1 && lengths + codings <= 1, "one framing");
    require(head->chunked == (codings == 1), "chunked");
    require(!head->chunked || head->minor == 1, "chunks in HTTP/1.1 only");
    require(head->has_body == (head->chunked || head->content_length > 0), "a body");
    require(!head->expect_continue || head->has_body, "100-continue for a body");
    checked->in_body = true;
    checked->chunked = head->chunked;
    checked->wanted = head->content_length;
    checked->body = 0;
    return true;
}

static bool check_body(void *arg, const char *ptr, size_t len)
{
    struct checked *checked = arg;

    require(checked->in_body && ptr != NULL && len > 0, "bytes of a body");
    checked->body += len;
    require(checked->body <= limits.body_bytes, "the body limit");
    require(checked->chunked || checked->body <= checked->wanted, "the length");
    return true;
}

static void check_end(void *arg)
{
    struct checked *checked = arg;

    require(checked->in_body, "an end has a beginning");
    require(checked->chunked || checked->body == checked->wanted, "a whole body");
    checked->in_body = false;
}

static void check_promises(const char *ptr, size_t len)
{
    static const struct ps_http_parser_ops ops = {
        .on_head = check_head, .on_body = check_body, .on_end = check_end};
    struct checked checked = {.in_body = false};
    struct ps_arena arena;
    enum ps_http_result result = PS_HTTP_OK;
    size_t at = 0;

    ps_arena_init(&arena, 1 << 16);
    checked.parser = ps_http_parser_new(&limits, &ops, &checked);
    require(checked.parser != NULL, "memory");
    ps_http_parser_next(checked.parser, &arena);
    while (at < len && result == PS_HTTP_OK) {
        size_t used = 0;

        result = ps_http_parser_feed(checked.parser, ptr + at, len - at, &used);
        require(used <= len - at, "no more bytes than given");
        at += used;
        if (result == PS_HTTP_PAUSED) {
            require(!checked.in_body, "paused between requests");
            ps_arena_reset(&arena);
            ps_http_parser_next(checked.parser, &arena);
            result = PS_HTTP_OK;
        }
    }
    require(result == PS_HTTP_ERROR || at == len, "all bytes taken");
    if (result == PS_HTTP_ERROR) {
        const struct ps_fault *fault = ps_http_parser_fault(checked.parser);

        require(fault->message[0] != '\0', "a sentence");
        require(ps_fault_status(fault) >= 400, "a status");
        require(fault->kind != PS_FAULT_INTERNAL && fault->kind != PS_FAULT_NO_MEMORY,
                "the caller's fault");
        require(strstr(fault->message, "more than one way") == NULL, "two readers agree");
    }
    ps_http_parser_free(checked.parser);
    ps_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ps_slice input = {(const char *)data, size};
    struct outcome whole;

    if (size > 8192) {
        return 0;
    }
    check_promises(input.ptr, input.len);
    outcome_init(&whole);
    outcome_run(&whole, &limits, input, 0, 0);
    require(outcome_same(&whole, &limits, input, 0, 1), "cut at every byte");
    require(outcome_same(&whole, &limits, input, 0, 7), "cut at every seventh byte");
    require(outcome_same(&whole, &limits, input, size / 2, 0), "cut in the middle");
    require(outcome_same(&whole, &limits, input, size / 3, 0), "cut at a third");
    outcome_deinit(&whole);
    return 0;
}
