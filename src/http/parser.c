/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/http/parser.h"

#include "chars.h"
#include "chunked.h"
#include "head.h"
#include "witness.h"

#include "penstock/base/mem.h"

/*
 * START skips empty lines; HEAD takes line after line, checking each, until the empty one, then
 * reads the head as a whole; LENGTH and CHUNKED pass the body on; END waits for
 * ps_http_parser_next. Whatever is wrong ends in DEAD with a fault, a callback that returns false
 * in STOPPED; there is no way back from either but _next.
 *
 * How the bytes were cut into feeds makes no difference to what comes out: every check is made at a
 * place in the stream, on a whole line or a whole head, or on a count of bytes.
 */
enum phase {
    START,
    HEAD,
    LENGTH,
    CHUNKED,
    END,
    STOPPED,
    DEAD,
};

#define EMPTY_LINES_MAX 2 /* before a request: RFC 9112 section 2.2 asks to ignore at least one */
#define HELD_FIRST      2048 /* room for a head that comes in pieces, to begin with */

struct ps_http_parser {
    const struct ps_http_limits *limits;  /* borrowed: outlives the parser */
    const struct ps_http_parser_ops *ops; /* the same */
    void *arg;
    struct ps_arena *arena; /* borrowed; from _next */
    enum phase phase;
    unsigned empty_lines;
    bool after_cr; /* START: of an empty line */

    /* HEAD; line by line */
    char *held; /* in the arena: the head so far, when it did not come in one piece */
    size_t held_cap;
    size_t head_len;   /* bytes of it seen */
    size_t line_start; /* where the line at hand begins */
    size_t lines;      /* whole ones seen */
    struct ps_http_request_line line;

    uint64_t body_limit;
    uint64_t left; /* LENGTH: bytes still to come */
    uint64_t body; /* CHUNKED: bytes of body framed so far */
    struct ps_chunked chunked;
    struct ps_http_witness witness;
    struct ps_fault fault;
};

struct ps_http_parser *ps_http_parser_new(const struct ps_http_limits *limits,
                                          const struct ps_http_parser_ops *ops, void *arg)
{
    struct ps_http_parser *parser = ps_calloc(1, sizeof(*parser));

    if (parser != NULL) {
        parser->limits = limits;
        parser->ops = ops;
        parser->arg = arg;
        parser->phase = END; /* until _next brings an arena */
    }
    return parser;
}

void ps_http_parser_free(struct ps_http_parser *parser)
{
    ps_free(parser);
}

void ps_http_parser_next(struct ps_http_parser *parser, struct ps_arena *arena)
{
    parser->arena = arena;
    parser->phase = START;
    parser->empty_lines = 0;
    parser->after_cr = false;
    parser->held = NULL;
    parser->held_cap = 0;
    parser->head_len = 0;
    parser->line_start = 0;
    parser->lines = 0;
    parser->body_limit = parser->limits->body_bytes;
    parser->fault.kind = PS_FAULT_NONE;
}

void ps_http_parser_limit_body(struct ps_http_parser *parser, uint64_t body_bytes)
{
    parser->body_limit = body_bytes;
}

bool ps_http_parser_began(const struct ps_http_parser *parser)
{
    return parser->phase != START;
}

const struct ps_fault *ps_http_parser_fault(const struct ps_http_parser *parser)
{
    return &parser->fault;
}

static enum ps_http_result die(struct ps_http_parser *parser)
{
    parser->phase = DEAD;
    return PS_HTTP_ERROR;
}

static enum ps_http_result stop(struct ps_http_parser *parser)
{
    parser->phase = STOPPED;
    return PS_HTTP_STOPPED;
}

static enum ps_http_result end(struct ps_http_parser *parser)
{
    parser->phase = END;
    parser->ops->on_end(parser->arg);
    return PS_HTTP_PAUSED;
}

/* Takes empty lines; goes to HEAD at the first byte of a request. -1 when there is a fault. */
static int skip_empty_lines(struct ps_http_parser *parser, const char *ptr, size_t len,
                            size_t *ret_used)
{
    struct ps_fault *fault = &parser->fault;

    for (size_t i = 0; i < len; i++) {
        *ret_used = i;
        if (parser->after_cr) {
            if (ptr[i] != '\n') {
                return ps_fault_set(
                    fault, PS_FAULT_BAD_HTTP, NULL,
                    "A carriage return before the request has no line feed behind it.");
            }
            parser->after_cr = false;
        } else if (ptr[i] == '\r') {
            if (++parser->empty_lines > EMPTY_LINES_MAX) {
                return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                                    "More than %d empty lines come before the request.",
                                    EMPTY_LINES_MAX);
            }
            parser->after_cr = true;
        } else if (ptr[i] == 0x16) {
            return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                                "This looks like a TLS handshake, but the port speaks plain HTTP.");
        } else if (!ps_char_is(ptr[i], PS_CHAR_TOKEN)) {
            return ps_fault_set(fault, PS_FAULT_BAD_HTTP, NULL,
                                "The request does not begin with an HTTP method.");
        } else {
            parser->phase = HEAD;
            return 0;
        }
    }
    *ret_used = len;
    return 0;
}

/* Keeps bytes of a head that is not whole yet. */
static int hold(struct ps_http_parser *parser, const char *ptr, size_t len)
{
    size_t need = parser->head_len + len;

    if (parser->held == NULL || need > parser->held_cap) {
        size_t cap = parser->held_cap > 0 ? parser->held_cap * 4 : HELD_FIRST;
        char *bigger;

        cap = cap < parser->limits->header_bytes ? cap : parser->limits->header_bytes;
        cap = cap > need ? cap : need;
        bigger = ps_arena_alloc(parser->arena, cap);
        if (bigger == NULL) {
            return ps_fault_set(&parser->fault, PS_FAULT_NO_MEMORY, NULL,
                                "There is no memory for the request head.");
        }
        if (parser->held != NULL) {
            memcpy(bigger, parser->held, parser->head_len);
        }
        parser->held = bigger;
        parser->held_cap = cap;
    }
    memcpy(parser->held + parser->head_len, ptr, len);
    return 0;
}

/* `len` bytes of the line at hand are there, its LF among them or not. */
static int check_sizes(struct ps_http_parser *parser, size_t len, bool whole)
{
    const struct ps_http_limits *limits = parser->limits;
    size_t line_max =
        limits->line_bytes < limits->header_bytes ? limits->line_bytes : limits->header_bytes;

    if (parser->lines == 0) {
        size_t least = len + !whole; /* bytes of the line with its CRLF, at the least */

        if (least > 2 && least - 2 > line_max) {
            return ps_fault_set(&parser->fault, PS_FAULT_URI_TOO_LONG, NULL,
                                "The request line is longer than the limit of %zu bytes.",
                                line_max);
        }
    }
    if ((whole || parser->lines > 0) && parser->line_start + len > limits->header_bytes) {
        return ps_fault_set(&parser->fault, PS_FAULT_HEADERS_TOO_LARGE, NULL,
                            "The request head is larger than the limit of %zu bytes.",
                            limits->header_bytes);
    }
    return 0;
}

/* A whole line with its LF. *ret_last: it was the empty one. */
static int take_line(struct ps_http_parser *parser, const char *ptr, size_t len, bool *ret_last)
{
    struct ps_fault *fault = &parser->fault;

    if (ps_http_check_line(ptr, len, parser->lines == 0, fault) < 0) {
        return -1;
    }
    *ret_last = false;
    if (parser->lines == 0) {
        if (ps_http_read_request_line(ps_slice(ptr, len - 2), &parser->line, fault) < 0) {
            return -1;
        }
    } else if (len == 2) {
        *ret_last = true;
        return 0;
    } else if (parser->lines > PS_HTTP_MAX_HEADERS) {
        return ps_fault_set(fault, PS_FAULT_HEADERS_TOO_LARGE, NULL,
                            "The request has more than %d header lines.", PS_HTTP_MAX_HEADERS);
    }
    parser->lines++;
    parser->line_start += len;
    return 0;
}

/* All of the head is there: at `ptr`, or held. */
static const struct ps_http_head *read_head(struct ps_http_parser *parser, const char *ptr)
{
    size_t headers = parser->lines - 1;
    char *raw = parser->held;
    struct ps_http_head *head;

    if (raw == NULL) {
        raw = ps_arena_alloc(parser->arena, parser->head_len);
    }
    head = ps_arena_alloc(parser->arena, sizeof(*head) + headers * sizeof(head->headers[0]));
    if (raw == NULL || head == NULL) {
        ps_fault_set(&parser->fault, PS_FAULT_NO_MEMORY, NULL,
                     "There is no memory for the request head.");
        return NULL;
    }
    if (raw != parser->held) {
        memcpy(raw, ptr, parser->head_len);
    }
    if (ps_http_read_head(ps_slice(raw, parser->head_len), &parser->line,
                          (struct ps_http_header *)(void *)(head + 1), head, &parser->fault) < 0 ||
        ps_http_witness_head(&parser->witness, ps_slice(raw, parser->head_len), head,
                             &parser->fault) < 0) {
        return NULL;
    }
    return head;
}

static enum ps_http_result begin_body(struct ps_http_parser *parser, const char *ptr)
{
    const struct ps_http_head *head = read_head(parser, ptr);

    if (head == NULL) {
        return die(parser);
    }
    if (!parser->ops->on_head(parser->arg, head)) {
        return stop(parser);
    }
    if (head->chunked) {
        ps_chunked_init(&parser->chunked);
        parser->body = 0;
        parser->witness.on_body = parser->ops->on_body;
        parser->witness.arg = parser->arg;
        parser->phase = CHUNKED;
        return PS_HTTP_OK;
    }
    if (head->content_length > parser->body_limit) {
        ps_fault_set(&parser->fault, PS_FAULT_BODY_TOO_LARGE, NULL,
                     "The request body of %llu bytes is larger than the limit of %llu bytes.",
                     (unsigned long long)head->content_length,
                     (unsigned long long)parser->body_limit);
        return die(parser);
    }
    parser->left = head->content_length;
    parser->phase = LENGTH;
    return parser->left > 0 ? PS_HTTP_OK : end(parser);
}

static enum ps_http_result feed_head(struct ps_http_parser *parser, const char *ptr, size_t len,
                                     size_t *ret_used)
{
    bool pieces = parser->held != NULL;
    size_t used = 0;

    while (used < len) {
        const char *lf = memchr(ptr + used, '\n', len - used);
        size_t part = lf != NULL ? (size_t)(lf - ptr) + 1 - used : len - used;
        size_t line_len = parser->head_len + part - parser->line_start;
        bool last = false;

        if (check_sizes(parser, line_len, lf != NULL) < 0 ||
            (pieces && hold(parser, ptr + used, part) < 0)) {
            return die(parser);
        }
        parser->head_len += part;
        used += part;
        *ret_used = used;
        if (lf == NULL) {
            break;
        }
        if (take_line(parser, (pieces ? parser->held : ptr) + parser->line_start, line_len, &last) <
            0) {
            return die(parser);
        }
        if (last) {
            return begin_body(parser, ptr);
        }
    }
    if (!pieces) {
        parser->head_len = 0;
        if (hold(parser, ptr, len) < 0) {
            return die(parser);
        }
        parser->head_len = len;
    }
    return PS_HTTP_OK;
}

static enum ps_http_result feed_length(struct ps_http_parser *parser, const char *ptr, size_t len,
                                       size_t *ret_used)
{
    size_t part = len < parser->left ? len : (size_t)parser->left;

    *ret_used = part;
    parser->left -= part;
    if (!parser->ops->on_body(parser->arg, ptr, part)) {
        return stop(parser);
    }
    return parser->left > 0 ? PS_HTTP_OK : end(parser);
}

static enum ps_http_result feed_chunked(struct ps_http_parser *parser, const char *ptr, size_t len,
                                        size_t *ret_used)
{
    struct ps_chunked_limits limits = {
        .body_bytes = parser->body_limit,
        .trailer_bytes = parser->limits->header_bytes,
        .trailers = PS_HTTP_MAX_HEADERS,
    };
    struct ps_http_witness *witness = &parser->witness;
    struct ps_chunked_part part;
    struct ps_fault fault; /* what came before a fault is passed on first */
    enum ps_chunked_result result =
        ps_chunked_scan(&parser->chunked, &limits, ptr, len, &part, &fault);

    *ret_used = part.used;
    parser->body += part.data;
    /* Extensions are not shown: llhttp 8.1 knows no quoted pair in them, and nobody looks at them.
     */
    if (part.shown > 0 && ps_http_witness_chunked(witness, ptr, part.shown, &parser->fault) < 0) {
        return witness->stopped ? stop(parser) : die(parser);
    }
    if (witness->body != parser->body || witness->complete != (result == PS_CHUNKED_END)) {
        ps_fault_set(&parser->fault, PS_FAULT_BAD_HTTP, NULL,
                     "The chunks of the request body can be read in more than one way.");
        return die(parser);
    }
    if (result == PS_CHUNKED_ERROR) {
        parser->fault = fault;
        return die(parser);
    }
    return result == PS_CHUNKED_END ? end(parser) : PS_HTTP_OK;
}

static enum ps_http_result feed_phase(struct ps_http_parser *parser, const char *ptr, size_t len,
                                      size_t *ret_used)
{
    switch (parser->phase) {
    case START:
        return skip_empty_lines(parser, ptr, len, ret_used) < 0 ? die(parser) : PS_HTTP_OK;
    case HEAD:
        return feed_head(parser, ptr, len, ret_used);
    case LENGTH:
        return feed_length(parser, ptr, len, ret_used);
    case CHUNKED:
        return feed_chunked(parser, ptr, len, ret_used);
    case END:
        return PS_HTTP_PAUSED;
    case STOPPED:
        return PS_HTTP_STOPPED;
    case DEAD:
        break;
    }
    return PS_HTTP_ERROR;
}

enum ps_http_result ps_http_parser_feed(struct ps_http_parser *parser, const char *ptr, size_t len,
                                        size_t *ret_used)
{
    enum ps_http_result result = PS_HTTP_OK;
    size_t used = 0;

    while (used < len && result == PS_HTTP_OK) {
        size_t part = 0;

        result = feed_phase(parser, ptr + used, len - used, &part);
        used += part;
    }
    *ret_used = used;
    return result;
}

enum ps_http_result ps_http_parser_eof(struct ps_http_parser *parser)
{
    switch (parser->phase) {
    case START:
    case END:
        return PS_HTTP_OK;
    case STOPPED:
        return PS_HTTP_STOPPED;
    case DEAD:
        return PS_HTTP_ERROR;
    case HEAD:
        ps_fault_set(&parser->fault, PS_FAULT_BAD_HTTP, NULL,
                     "The connection ended inside the request head.");
        break;
    case LENGTH:
    case CHUNKED:
        ps_fault_set(&parser->fault, PS_FAULT_BAD_HTTP, NULL,
                     "The connection ended inside the request body.");
        break;
    }
    return die(parser);
}
