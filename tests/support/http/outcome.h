/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_HTTP_OUTCOME_H
#define PENSTOCK_TESTS_HTTP_OUTCOME_H

#include "penstock/base/arena.h"
#include "penstock/base/buf.h"
#include "penstock/http/parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * All that a parser made of some bytes, as text, so that two ways of feeding them can be compared.
 * Every piece is fed from memory of exactly its size that is gone afterwards: a sanitizer sees what
 * is read past its end or kept past its time.
 */
struct outcome {
    struct ps_buf text; /* heads, bodies, ends and how it ended */
    size_t heads;
    size_t ends;
    enum ps_http_result result;
    struct ps_fault fault;    /* with PS_HTTP_ERROR */
    struct ps_http_head head; /* the last one, of use within on_head only */
};

static inline bool outcome_on_head(void *arg, const struct ps_http_head *head)
{
    struct outcome *outcome = arg;
    struct ps_buf *text = &outcome->text;

    outcome->heads++;
    outcome->head = *head;
    ps_buf_printf(text, "%s %.*s %.*s HTTP/1.%d path=%.*s query=%.*s host=%.*s",
                  ps_http_method_name(head->method), (int)head->method_text.len,
                  head->method_text.ptr, (int)head->target.len, head->target.ptr, head->minor,
                  (int)head->path.len, head->path.len > 0 ? head->path.ptr : "",
                  (int)head->query.len, head->query.len > 0 ? head->query.ptr : "",
                  (int)head->host.len, head->host.len > 0 ? head->host.ptr : "");
    ps_buf_printf(text, " body=%d chunked=%d length=%llu keep=%d expect=%d\n", head->has_body,
                  head->chunked, (unsigned long long)head->content_length, head->keep_alive,
                  head->expect_continue);
    for (size_t i = 0; i < head->header_count; i++) {
        ps_buf_slice(text, head->headers[i].name);
        ps_buf_cstr(text, "=[");
        ps_buf_slice(text, head->headers[i].value);
        ps_buf_cstr(text, "]\n");
    }
    ps_buf_cstr(text, "<");
    return true;
}

static inline bool outcome_on_body(void *arg, const char *ptr, size_t len)
{
    ps_buf_append(&((struct outcome *)arg)->text, ptr, len);
    return true;
}

static inline void outcome_on_end(void *arg)
{
    struct outcome *outcome = arg;

    outcome->ends++;
    ps_buf_cstr(&outcome->text, ">\n");
}

/* Feeds one piece, request after request. False when the parser takes no more. */
static inline bool outcome_feed(struct outcome *outcome, struct ps_http_parser *parser,
                                struct ps_arena *arena, const char *ptr, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    size_t at = 0;

    if (copy == NULL) {
        abort();
    }
    if (len > 0) {
        memcpy(copy, ptr, len);
    }
    do {
        size_t used = 0;

        outcome->result = ps_http_parser_feed(parser, copy + at, len - at, &used);
        if (used > len - at) {
            abort();
        }
        at += used;
        if (outcome->result == PS_HTTP_PAUSED) {
            ps_arena_reset(arena);
            ps_http_parser_next(parser, arena);
            outcome->result = PS_HTTP_OK;
        }
    } while (outcome->result == PS_HTTP_OK && at < len);
    if (outcome->result == PS_HTTP_OK && at != len) {
        abort();
    }
    free(copy);
    return outcome->result == PS_HTTP_OK;
}

/* Feeds `input` in two pieces cut at `cut` (0 or the length: one piece), or, when `step` is not 0,
 * in pieces of that many bytes, and then the end of input. Fill *outcome with outcome_init before.
 */
static inline void outcome_run(struct outcome *outcome, const struct ps_http_limits *limits,
                               struct ps_slice input, size_t cut, size_t step)
{
    static const struct ps_http_parser_ops ops = {
        .on_head = outcome_on_head, .on_body = outcome_on_body, .on_end = outcome_on_end};
    struct ps_http_parser *parser = ps_http_parser_new(limits, &ops, outcome);
    struct ps_arena arena;
    size_t at = 0;
    bool more = true;

    if (parser == NULL) {
        abort();
    }
    ps_arena_init(&arena, 1 << 20);
    ps_http_parser_next(parser, &arena);
    while (more && at < input.len) {
        size_t part = step > 0 ? step : at == 0 && cut > 0 ? cut : input.len;

        part = part < input.len - at ? part : input.len - at;
        more = outcome_feed(outcome, parser, &arena, input.ptr + at, part);
        at += part;
    }
    if (more) {
        outcome->result = ps_http_parser_eof(parser);
    }
    if (outcome->result == PS_HTTP_ERROR) {
        outcome->fault = *ps_http_parser_fault(parser);
    }
    ps_buf_printf(&outcome->text, "result=%d status=%d %s", outcome->result,
                  outcome->result == PS_HTTP_ERROR ? ps_fault_status(&outcome->fault) : 0,
                  outcome->fault.message);
    ps_buf_byte(&outcome->text, '\0');
    if (outcome->text.failed) {
        abort();
    }
    ps_http_parser_free(parser);
    ps_arena_deinit(&arena);
}

static inline void outcome_init(struct outcome *outcome)
{
    *outcome = (struct outcome){.heads = 0};
    ps_buf_init(&outcome->text, 1 << 24);
}

static inline void outcome_deinit(struct outcome *outcome)
{
    ps_buf_deinit(&outcome->text);
}

/* Whether feeding it in another way comes to the same; says how on stderr where not. */
static inline bool outcome_same(const struct outcome *wanted, const struct ps_http_limits *limits,
                                struct ps_slice input, size_t cut, size_t step)
{
    struct outcome other;
    bool same;

    outcome_init(&other);
    outcome_run(&other, limits, input, cut, step);
    same = ps_slice_eq(ps_buf_view(&wanted->text), ps_buf_view(&other.text));
    if (!same) {
        fprintf(stderr, "cut at %zu, step %zu:\n%s\n-- rather than --\n%s\n", cut, step,
                other.text.ptr, wanted->text.ptr);
    }
    outcome_deinit(&other);
    return same;
}

/* In one piece, byte by byte, and in two pieces cut at every place. */
static inline bool outcome_splits_same(const struct outcome *whole,
                                       const struct ps_http_limits *limits, struct ps_slice input)
{
    if (!outcome_same(whole, limits, input, 0, 1)) {
        return false;
    }
    for (size_t cut = 1; cut < input.len; cut++) {
        if (!outcome_same(whole, limits, input, cut, 0)) {
            return false;
        }
    }
    return true;
}

#endif
