/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"

#include <stdlib.h>

/* First line: the content type; the rest: the body. Fed whole and byte by byte, with the same
 * outcome. */

struct outcome {
    int rc;
    struct ps_multipart_field fields[2];
    struct ps_fault fault;
};

static void run(struct ps_slice type, struct ps_slice body, size_t step, struct outcome *out)
{
    static struct ps_multipart multipart;

    memset(out, 0, sizeof(*out));
    out->fields[0].name = "model";
    out->fields[1].name = "stream";
    out->rc = ps_multipart_init(&multipart, type, out->fields, 2, &out->fault);
    for (size_t at = 0; out->rc == 0 && at < body.len; at += step) {
        size_t len = step < body.len - at ? step : body.len - at;

        out->rc = ps_multipart_feed(&multipart, body.ptr + at, len, &out->fault);
    }
    if (out->rc == 0) {
        out->rc = ps_multipart_finish(&multipart, &out->fault);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    struct outcome whole;
    struct outcome bytes;
    struct ps_slice type;
    struct ps_slice body;

    if (line == NULL) {
        return 0;
    }
    type = ps_slice((const char *)data, (size_t)(line - data));
    body = ps_slice((const char *)line + 1, size - type.len - 1);
    run(type, body, SIZE_MAX / 2, &whole);
    run(type, body, 1, &bytes);
    if (whole.rc != bytes.rc || strcmp(whole.fault.message, bytes.fault.message) != 0) {
        abort();
    }
    for (size_t i = 0; whole.rc == 0 && i < 2; i++) {
        if (whole.fields[i].given != bytes.fields[i].given ||
            whole.fields[i].span.start != bytes.fields[i].span.start ||
            whole.fields[i].span.end != bytes.fields[i].span.end ||
            whole.fields[i].span.start > whole.fields[i].span.end ||
            whole.fields[i].span.end > body.len) {
            abort();
        }
    }
    return 0;
}
