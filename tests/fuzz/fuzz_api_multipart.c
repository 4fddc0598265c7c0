/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"

#include "penstock/base/sha256.h"

#include <stdlib.h>
#include <string.h>

/* First line: the content type; the rest: the body. Fed whole and in small pieces, with the same
 * parts, contents and fault. */

struct outcome {
    int rc;
    unsigned parts;
    unsigned ends;
    size_t bytes;
    struct ps_sha256 hash;
    unsigned char sum[PS_SHA256_SIZE];
    struct ps_fault fault;
};

static int on_part(void *arg, const struct ps_form_part *part, struct ps_fault *ret_fault)
{
    struct outcome *out = arg;
    (void)ret_fault;
    if (part->name.len == 0 || part->name.len > PS_FORM_NAME ||
        part->filename.len > PS_FORM_FILENAME || out->ends != out->parts) {
        abort();
    }
    out->parts++;
    ps_sha256_update(&out->hash, part->name.ptr, part->name.len);
    ps_sha256_update(&out->hash, "=", 1);
    ps_sha256_update(&out->hash, part->filename.ptr, part->filename.len);
    return 0;
}

static int on_data(void *arg, const char *ptr, size_t len, struct ps_fault *ret_fault)
{
    struct outcome *out = arg;
    (void)ret_fault;
    out->bytes += len;
    ps_sha256_update(&out->hash, ptr, len);
    return 0;
}

static int on_end(void *arg, struct ps_fault *ret_fault)
{
    struct outcome *out = arg;
    (void)ret_fault;
    out->ends++;
    ps_sha256_update(&out->hash, ";", 1);
    return 0;
}

static const struct ps_form_ops ops = {on_part, on_data, on_end};

static void run(struct ps_slice type, struct ps_slice body, size_t step, struct outcome *out)
{
    static struct ps_form form;
    memset(out, 0, sizeof(*out));
    ps_sha256_init(&out->hash);
    out->rc = ps_form_init(&form, type, &ops, out, &out->fault);
    for (size_t at = 0; out->rc == 0 && at < body.len; at += step) {
        size_t len = step < body.len - at ? step : body.len - at;
        out->rc = ps_form_feed(&form, body.ptr + at, len, &out->fault);
    }
    if (out->rc == 0) {
        out->rc = ps_form_finish(&form, &out->fault);
    }
    ps_sha256_final(&out->hash, out->sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 2, 7};
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    struct outcome whole;
    struct outcome pieces;
    if (line == NULL) {
        return 0;
    }
    struct ps_slice type = ps_slice((const char *)data, (size_t)(line - data));
    struct ps_slice body = ps_slice((const char *)line + 1, size - type.len - 1);
    run(type, body, SIZE_MAX / 2, &whole);
    if (whole.bytes > body.len || (whole.rc == 0 && whole.ends != whole.parts)) {
        abort();
    }
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        run(type, body, steps[i], &pieces);
        if (whole.rc != pieces.rc || strcmp(whole.fault.message, pieces.fault.message) != 0 ||
            whole.parts != pieces.parts ||
            (whole.rc == 0 && memcmp(whole.sum, pieces.sum, sizeof(whole.sum)) != 0)) {
            abort();
        }
    }
    return 0;
}
