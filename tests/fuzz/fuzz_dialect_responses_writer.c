/* SPDX-License-Identifier: Apache-2.0 */
#include "writer_rig.h"

#include <stdio.h>

/*
 * Any events, in any order, as an answer of the Responses API: what goes out is a row of whole
 * server-sent events whose data is valid JSON with rising numbers, or one JSON object; the last
 * event holds the same output that the whole answer has.
 */

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

    while (next_event(&text, &last)) {
        char expected[48];

        (void)snprintf(expected, sizeof(expected), "\"sequence_number\":%zu", number++);
        if (memmem(last.ptr, last.len < 128 ? last.len : 128, expected, strlen(expected)) == NULL) {
            abort();
        }
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
    bool streamed = writer_run(PS_FAMILY_RESPONSES, source, PS_WRITER_STREAM, &stream);
    struct ps_slice last = check_events(ps_buf_view(&stream));
    if (streamed != writer_run(PS_FAMILY_RESPONSES, source, PS_WRITER_WHOLE, &whole)) {
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
