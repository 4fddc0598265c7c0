/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_HTTP_PARSER_H
#define PENSTOCK_HTTP_PARSER_H

#include "penstock/base/arena.h"
#include "penstock/base/fault.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * HTTP/1.1 and 1.0 requests out of bytes (RFC 9112), strictly. Bytes in, callbacks out, no sockets.
 * Our own reading of the raw bytes gives the verdict, the limits and the sentence of a refusal;
 * llhttp, in strict mode, must then read the same out of the same bytes, or the request is refused
 * too. Every framing ambiguity is an error, after which the parser is dead and the connection must
 * be closed behind the answer; never resynchronise.
 *
 * One request at a time: after on_end the parser stops taking bytes until ps_http_parser_next. How
 * the bytes are cut into feeds changes nothing but the cuts of on_body.
 */

enum ps_http_method {
    PS_HTTP_GET,
    PS_HTTP_HEAD,
    PS_HTTP_POST,
    PS_HTTP_PUT,
    PS_HTTP_PATCH,
    PS_HTTP_DELETE,
    PS_HTTP_OPTIONS,
    PS_HTTP_OTHER, /* any other token: 405 or 501 by the caller */
};
const char *ps_http_method_name(enum ps_http_method method);

/* Names in the case they came in; look up with ps_http_find. */
struct ps_http_header {
    struct ps_slice name;
    struct ps_slice value; /* without OWS at the ends */
};

#define PS_HTTP_MAX_HEADERS 100

/* A request head. All slices lie in the arena given to ps_http_parser_next and live as long as it.
 */
struct ps_http_head {
    enum ps_http_method method;
    struct ps_slice method_text;
    struct ps_slice target; /* as sent: a path; "*" with OPTIONS; "http://host/path"; "host:port"
                               with CONNECT */
    struct ps_slice path;   /* of target, before '?'; still percent-encoded; empty with CONNECT */
    struct ps_slice query;  /* after '?', empty when none */
    struct ps_slice host;   /* host or host:port, checked; empty only in HTTP/1.0 without one */
    int minor;              /* HTTP/1.minor: 0 or 1 */
    const struct ps_http_header *headers;
    size_t header_count;
    bool has_body; /* Content-Length above 0, or chunked */
    bool chunked;
    uint64_t content_length; /* 0 with chunked */
    bool keep_alive;         /* what the client wants (RFC 9112 section 9.3) */
    bool expect_continue;    /* Expect: 100-continue, from HTTP/1.1 and before a body */
};

/* First header of that name, ASCII case ignored; NULL when there is none. */
const struct ps_http_header *ps_http_find(const struct ps_http_head *head, const char *name);
/* Its value, or PS_SLICE_NONE. *ret_count (may be NULL) = how many there are. */
struct ps_slice ps_http_value(const struct ps_http_head *head, const char *name, size_t *ret_count);

struct ps_http_limits {
    size_t line_bytes;   /* request line: above it 414 */
    size_t header_bytes; /* whole head: above it 431; also bounds trailers and chunk extensions (4
                            KiB: 400) */
    uint64_t
        body_bytes; /* above it 413: by Content-Length when on_head returns, else at the size of the
                     * chunk that passes it. So send no 100 Continue before feed has returned. */
};

struct ps_http_parser_ops {
    /* The head is complete. `head` lives in the arena. Return false to stop (the caller will answer
     * and close): feed then returns PS_HTTP_STOPPED, as it does from then on. */
    bool (*on_head)(void *arg, const struct ps_http_head *head);
    /* Body bytes, chunk framing removed; valid until it returns. false: stop, as above. */
    bool (*on_body)(void *arg, const char *ptr, size_t len);
    /* The request is complete. The parser now takes nothing until ps_http_parser_next. */
    void (*on_end)(void *arg);
};

enum ps_http_result {
    PS_HTTP_OK,      /* all bytes taken, more wanted */
    PS_HTTP_PAUSED,  /* a request ended; *ret_used says how many bytes belong to it */
    PS_HTTP_STOPPED, /* a callback returned false */
    PS_HTTP_ERROR,   /* see ps_http_parser_fault; the parser is dead */
};

struct ps_http_parser;
/* `limits`, `ops` and `arg` outlive the parser. NULL when memory is short. */
struct ps_http_parser *ps_http_parser_new(const struct ps_http_limits *limits,
                                          const struct ps_http_parser_ops *ops, void *arg)
    __attribute__((warn_unused_result));
void ps_http_parser_free(
    struct ps_http_parser *parser); /* NULL is allowed; not inside a callback */

/* Gets ready for the next request, whose head goes into `arena` (must live until the request is
 * done). The body limit may be raised or lowered for this request inside on_head by
 * ps_http_parser_limit_body. */
void ps_http_parser_next(struct ps_http_parser *parser, struct ps_arena *arena);
void ps_http_parser_limit_body(struct ps_http_parser *parser, uint64_t body_bytes);

enum ps_http_result ps_http_parser_feed(struct ps_http_parser *parser, const char *ptr, size_t len,
                                        size_t *ret_used) __attribute__((warn_unused_result));
/* The peer will send no more. PS_HTTP_OK when that is between requests, else PS_HTTP_ERROR. */
enum ps_http_result ps_http_parser_eof(struct ps_http_parser *parser);
/* Whether any byte of a request has come since _next (an empty line before it does not count). */
bool ps_http_parser_began(const struct ps_http_parser *parser);
/* What was wrong, after PS_HTTP_ERROR, with a sentence. ps_fault_status of it is 400, 413, 414,
 * 417, 431, 501, or 503 when memory is short. */
const struct ps_fault *ps_http_parser_fault(const struct ps_http_parser *parser);

/* Percent-decodes `path` into `ret` (room for path.len); the length, or -1 for a bad escape, an
 * escaped control byte or, unless `keep_slash`, an escaped '/' or '\\'. */
ptrdiff_t ps_http_unescape(struct ps_slice path, bool keep_slash, char *ret);
/* Media type without parameters, lower case compare: "application/json; charset=utf-8" is
 * "application/json". */
bool ps_http_media_is(struct ps_slice content_type, const char *media);
/* Whether an Accept value asks for `media` explicitly (that type with q > 0, other parameters
 * ignored; no wildcards). */
bool ps_http_accepts(struct ps_slice accept, const char *media);

#endif
