/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_FUZZ_WRITER_RIG_H
#define PENSTOCK_TESTS_FUZZ_WRITER_RIG_H

#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdlib.h>
#include <string.h>

/* Any events, in any order, for a front's writer. */

#define OUT_BYTES ((size_t)4 << 20)

struct source {
    const uint8_t *data;
    size_t size;
};

static inline uint8_t take(struct source *source)
{
    uint8_t byte = source->size > 0 ? source->data[0] : 0;

    source->data += source->size > 0;
    source->size -= source->size > 0;
    return byte;
}

static inline struct ps_slice take_text(struct source *source)
{
    size_t len = take(source) % 32;
    struct ps_slice text;

    len = len < source->size ? len : source->size;
    text = ps_slice((const char *)source->data, len);
    source->data += len;
    source->size -= len;
    return text;
}

/* Runs all events through one writer. False: refused on the way. */
static inline bool writer_run(enum ps_family family, struct source source, enum ps_writer_mode mode,
                              struct ps_buf *out)
{
    static const enum ps_event_kind kinds[] = {
        PS_EVENT_START, PS_EVENT_TEXT,     PS_EVENT_REASONING, PS_EVENT_REFUSAL,
        PS_EVENT_USAGE, PS_EVENT_CITATION, PS_EVENT_FINISH,    PS_EVENT_TOOL_CALL};
    const struct ps_writer_options options = {
        .operation = PS_OP_CHAT,
        .mode = mode,
        .max_bytes = 65536,
        .id = PS_SLICE_LIT("gen_01h00000000000000000000000"),
        .model = PS_SLICE_LIT("m"),
        .created_s = 1,
    };
    const struct ps_answer_info info = {.total_us = 1};
    struct ps_arena arena;
    struct ps_fault fault;
    struct ps_writer *writer;
    bool fine = true;

    ps_arena_init(&arena, (size_t)1 << 20);
    writer = ps_writer_new(ps_dialect_of_family(family), &options, &arena);
    if (writer == NULL) {
        abort();
    }
    while (fine && source.size > 0) {
        uint8_t what = take(&source);
        struct ps_event_tool tool = {.custom = (what & 64) != 0};
        struct ps_event_thought thought = {.is_summary = (what & 32) != 0};
        struct ps_event_citation citation = {.start = -1, .end = 5};
        struct ps_event event = {.kind = kinds[what % 8], .usage = PS_USAGE_NONE};

        event.block = take(&source) % 3;
        event.text = take_text(&source);
        if (event.kind == PS_EVENT_TOOL_CALL && (what & 8) != 0) {
            tool.id = take_text(&source);
            tool.name = take_text(&source);
            event.tool = &tool;
        } else if (event.kind == PS_EVENT_REASONING && (what & 8) != 0) {
            *((what & 16) != 0 ? &thought.signature : &thought.redacted) = take_text(&source);
            event.thought = &thought;
        } else if (event.kind == PS_EVENT_CITATION) {
            citation.url = take_text(&source);
            citation.title = take_text(&source);
            event.citation = &citation;
        } else if (event.kind == PS_EVENT_USAGE) {
            event.usage.input = what;
            event.usage.output = (what & 8) != 0 ? 7 : -1;
        } else if (event.kind == PS_EVENT_FINISH) {
            event.finish = (enum ps_finish)(what >> 3 & 3);
        }
        fine = ps_writer_event(writer, &event, out, &fault) == 0;
    }
    if (fine) {
        ps_writer_end(writer, &info, out);
    } else if (!ps_writer_fail(writer, &fault, out) && mode == PS_WRITER_STREAM) {
        ps_dialect_write_fault_event(ps_dialect_of_family(family), &fault, PS_SLICE_NONE, out);
    }
    ps_writer_free(writer);
    ps_arena_deinit(&arena);
    if (out->failed) {
        abort();
    }
    return fine;
}

static inline void check_json(struct ps_slice text)
{
    const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};

    if (text.len == 0 || text.ptr[0] != '{' ||
        ps_json_scan_text(text, NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        abort();
    }
}

/* The next of a row of server-sent events, "event: …" and one line of data; its data in *ret. */
static inline bool next_event(struct ps_slice *text, struct ps_slice *ret)
{
    const char *line = text->len > 0 ? memchr(text->ptr, '\n', text->len) : NULL;
    const char *end;

    if (text->len == 0) {
        return false;
    }
    if (line == NULL || memcmp(text->ptr, "event: ", 7) != 0 ||
        memcmp(line + 1, "data: ", 6) != 0) {
        abort();
    }
    ret->ptr = line + 7;
    end = memchr(ret->ptr, '\n', text->len - (size_t)(ret->ptr - text->ptr));
    if (end == NULL || end[1] != '\n') {
        abort();
    }
    ret->len = (size_t)(end - ret->ptr);
    check_json(*ret);
    *text = ps_slice(end + 2, text->len - (size_t)(end + 2 - text->ptr));
    return true;
}

#endif
