/* SPDX-License-Identifier: Apache-2.0 */
#include "writer_rig.h"

#include <stdio.h>

/*
 * Any events, in any order, as an answer of Cohere's API: what goes out is a row of whole
 * server-sent events whose data is valid JSON, from message-start to message-end, or one JSON
 * object; both end for the same reason.
 */

static struct ps_slice reason_of(struct ps_slice text)
{
    static const char key[] = "\"finish_reason\":";
    const char *at = memmem(text.ptr, text.len, key, sizeof(key) - 1);
    const char *end = at != NULL
                          ? memchr(at + sizeof(key), '"',
                                   (size_t)(text.ptr + text.len - at - (ptrdiff_t)sizeof(key)))
                          : NULL;

    if (end == NULL) {
        abort();
    }
    return ps_slice(at, (size_t)(end - at));
}

static bool is_type(struct ps_slice event, const char *type)
{
    char begin[64];

    (void)snprintf(begin, sizeof(begin), "{\"type\":\"%s\"", type);
    return ps_slice_starts(event, ps_slice_cstr(begin));
}

static struct ps_slice check_events(struct ps_slice text)
{
    struct ps_slice last = PS_SLICE_NONE;
    size_t opened = 0;
    size_t closed = 0;
    size_t count = 0;

    for (; next_event(&text, &last); count++) {
        opened += is_type(last, "content-start") || is_type(last, "tool-call-start");
        closed += is_type(last, "content-end") || is_type(last, "tool-call-end");
        if (opened < closed || opened > closed + 1 ||
            (count == 0 && !is_type(last, "message-start") && !is_type(last, "message-end"))) {
            abort();
        }
    }
    if (!is_type(last, "message-end")) {
        abort();
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
    bool streamed = writer_run(PS_FAMILY_COHERE, source, PS_WRITER_STREAM, &stream);
    struct ps_slice last = check_events(ps_buf_view(&stream));
    if (writer_run(PS_FAMILY_COHERE, source, PS_WRITER_WHOLE, &whole) && streamed) {
        check_json(ps_buf_view(&whole));
        if (!ps_slice_eq(reason_of(last), reason_of(ps_buf_view(&whole)))) {
            abort();
        }
    }
    ps_buf_deinit(&stream);
    ps_buf_deinit(&whole);
    return 0;
}
