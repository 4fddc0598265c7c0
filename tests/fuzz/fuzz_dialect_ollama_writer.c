/* SPDX-License-Identifier: Apache-2.0 */
#include "writer_rig.h"

/*
 * Any events, in any order, as an answer of Ollama's API: what goes out is a row of lines that are
 * valid JSON, of which the last alone says that it is done, or an error; or one such object. Both
 * end for the same reason.
 */

static const char *find(struct ps_slice text, const char *words)
{
    return memmem(text.ptr, text.len, words, strlen(words));
}

/* The last one. */
static struct ps_slice check_lines(struct ps_slice text, bool fine)
{
    struct ps_slice line = PS_SLICE_NONE;

    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        bool last;

        if (end == NULL) {
            abort();
        }
        line = ps_slice(text.ptr, (size_t)(end - text.ptr));
        text = ps_slice(end + 1, text.len - line.len - 1);
        last = text.len == 0;
        check_json(line);
        if ((find(line, ",\"done\":false") == NULL) != last ||
            (last && !fine && !ps_slice_starts(line, PS_SLICE_LIT("{\"error\":")))) {
            abort();
        }
    }
    return line;
}

static struct ps_slice reason_of(struct ps_slice text)
{
    const char *at = find(text, ",\"done\":true,\"done_reason\":\"");
    const char *end =
        at != NULL ? memmem(at, text.len - (size_t)(at - text.ptr), ",\"total_", 8) : NULL;

    if (end == NULL) {
        abort();
    }
    return ps_slice(at, (size_t)(end - at));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct source source = {data, size};
    struct ps_slice last;
    struct ps_buf stream;
    struct ps_buf whole;
    bool streamed;

    if (!ready && ps_dialect_global_init() != 0) {
        abort();
    }
    ready = true;
    ps_buf_init(&stream, OUT_BYTES);
    ps_buf_init(&whole, OUT_BYTES);
    streamed = writer_run(PS_FAMILY_OLLAMA, source, PS_WRITER_STREAM, &stream);
    last = check_lines(ps_buf_view(&stream), streamed);
    if (writer_run(PS_FAMILY_OLLAMA, source, PS_WRITER_WHOLE, &whole) && streamed) {
        (void)check_lines(ps_buf_view(&whole), true);
        if (!ps_slice_eq(reason_of(last), reason_of(ps_buf_view(&whole)))) {
            abort();
        }
    }
    ps_buf_deinit(&stream);
    ps_buf_deinit(&whole);
    return 0;
}
