/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"
#include "penstock/dialect/dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Any events, in any order, as an answer of the Responses API: what goes out is a row of whole
 * server-sent events whose data is valid JSON with rising numbers, or one JSON object; the last
 * event holds the same output that the whole answer has.
 */

#define OUT_BYTES ((size_t)4 << 20)

struct source {
    const uint8_t *data;
    size_t size;
};

static uint8_t take(struct source *source)
{
    uint8_t byte = source->size > 0 ? source->data[0] : 0;

    source->data += source->size > 0;
    source->size -= source->size > 0;
    return byte;
}

static struct ps_slice take_text(struct source *source)
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
static bool run(struct source source, enum ps_writer_mode mode, struct ps_buf *out)
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
    writer = ps_writer_new(ps_dialect_of_family(PS_FAMILY_RESPONSES), &options, &arena);
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
    } else if (!ps_writer_fail(writer, &fault, out)) {
        abort();
    }
    ps_writer_free(writer);
    ps_arena_deinit(&arena);
    if (out->failed) {
        abort();
    }
    return fine;
}

static void check_json(struct ps_slice text)
{
    const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};

    if (text.len == 0 || text.ptr[0] != '{' ||
        ps_json_scan_text(text, NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        abort();
    }
}

/* From "output" to what follows it; ptr NULL: there is none. */
static struct ps_slice output_of(struct ps_slice text)
{
    const char *from = NULL;
    const char *to = NULL;

    for (size_t i = 0; i + 24 < text.len; i++) {
        if (memcmp(text.ptr + i, ",\"output\":[", 11) == 0) {
            from = text.ptr + i;
        }
        if (memcmp(text.ptr + i, ",\"parallel_tool_calls\":", 23) == 0) {
            to = text.ptr + i;
        }
    }
    return from != NULL && to > from ? ps_slice(from, (size_t)(to - from)) : PS_SLICE_NONE;
}

static struct ps_slice check_events(struct ps_slice text)
{
    struct ps_slice last = PS_SLICE_NONE;
    size_t number = 0;

    while (text.len > 0) {
        const char *line = memchr(text.ptr, '\n', text.len);
        struct ps_slice data;
        char expected[48];
        const char *end;

        if (line == NULL || memcmp(text.ptr, "event: ", 7) != 0 ||
            memcmp(line + 1, "data: ", 6) != 0) {
            abort();
        }
        data.ptr = line + 7;
        end = memchr(data.ptr, '\n', text.len - (size_t)(data.ptr - text.ptr));
        if (end == NULL || end[1] != '\n') {
            abort();
        }
        data.len = (size_t)(end - data.ptr);
        check_json(data);
        (void)snprintf(expected, sizeof(expected), "\"sequence_number\":%zu", number++);
        if (memmem(data.ptr, data.len < 128 ? data.len : 128, expected, strlen(expected)) == NULL) {
            abort();
        }
        last = data;
        text = ps_slice(end + 2, text.len - (size_t)(end + 2 - text.ptr));
    }
    return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct source source = {data, size};
    struct ps_buf stream;
    struct ps_buf whole;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    ps_buf_init(&stream, OUT_BYTES);
    ps_buf_init(&whole, OUT_BYTES);
    bool streamed = run(source, PS_WRITER_STREAM, &stream);
    struct ps_slice last = check_events(ps_buf_view(&stream));
    if (streamed != run(source, PS_WRITER_WHOLE, &whole)) {
        abort();
    }
    if (streamed) {
        check_json(ps_buf_view(&whole));
        if (!ps_slice_eq(output_of(last), output_of(ps_buf_view(&whole)))) {
            abort();
        }
    }
    ps_buf_deinit(&stream);
    ps_buf_deinit(&whole);
    return 0;
}
