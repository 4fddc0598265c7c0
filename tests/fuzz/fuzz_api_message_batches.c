/* SPDX-License-Identifier: Apache-2.0 */
#include "message_batches.h"

#include "penstock/base/sha256.h"

#include <stdlib.h>
#include <string.h>

/* Bodies with a list of requests: fed whole and in small pieces, with the same items and the same
 * fault; every item is JSON on one line. */

struct outcome {
    int rc;
    uint64_t count;
    struct ps_sha256 hash;
    unsigned char sum[PS_SHA256_SIZE];
    struct ps_fault fault;
};

static int on_item(void *arg, uint64_t index, struct ps_slice item, struct ps_fault *fault)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, UINT64_MAX};
    struct outcome *out = arg;
    (void)fault;
    if (index != out->count || item.len == 0 || memchr(item.ptr, '\n', item.len) != NULL ||
        memchr(item.ptr, '\r', item.len) != NULL ||
        ps_json_scan_text(item, NULL, &limits, NULL, NULL) != PS_JSON_OK) {
        abort();
    }
    out->count++;
    ps_sha256_update(&out->hash, item.ptr, item.len);
    ps_sha256_update(&out->hash, "\n", 1);
    return 0;
}

static const struct ps_split_ops ops = {on_item};

static void run(struct ps_slice body, size_t step, struct outcome *out)
{
    struct ps_split split;
    memset(out, 0, sizeof(*out));
    ps_sha256_init(&out->hash);
    ps_split_init(&split, 1024, &ops, out);
    for (size_t at = 0; at < body.len && out->rc == 0; at += step) {
        size_t len = body.len - at < step ? body.len - at : step;
        out->rc = ps_split_feed(&split, body.ptr + at, len, &out->fault);
    }
    if (out->rc == 0) {
        out->rc = ps_split_finish(&split, &out->fault);
    }
    if (out->rc == 0 && out->count == 0) {
        abort();
    }
    ps_sha256_final(&out->hash, out->sum);
    ps_split_deinit(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ps_slice body = ps_slice((const char *)data, size);
    struct outcome whole;
    struct outcome pieces;
    run(body, size > 0 ? size : 1, &whole);
    run(body, 1 + size % 7, &pieces);
    if (whole.rc != pieces.rc) {
        abort();
    }
    /* A piece that is no JSON is not looked into: items before the mistake may not have come. */
    if (whole.rc == 0 &&
        (whole.count != pieces.count || memcmp(whole.sum, pieces.sum, sizeof(whole.sum)) != 0)) {
        abort();
    }
    return 0;
}
