/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The first byte says how the rest is cut, and in its lowest bit whether it is NDJSON. All raws
 * together are the input; cutting changes no event, and every event is what a plain second reading
 * of its raw finds.
 */

#include "penstock/base/mem.h"
#include "penstock/base/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct seen {
    struct ps_slice text;
    bool ndjson;
    bool finishing;
    bool first;
    size_t at; /* end of the last raw */
    uint64_t digest;
    size_t events;
    char *scratch; /* as long as the text */
};

static void digest_bytes(struct seen *seen, struct ps_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        seen->digest = (seen->digest ^ (unsigned char)bytes.ptr[i]) * UINT64_C(1099511628211);
    }
    seen->digest = (seen->digest ^ (256 + bytes.len)) * UINT64_C(1099511628211);
}

/* Reads the lines of a raw anew, byte by byte; an LF that comes first may end a line of the last
 * raw. */
static void check_fields(struct seen *seen, const struct ps_sse_event *event)
{
    struct ps_slice raw = event->raw;
    if (seen->first && ps_slice_starts(raw, PS_SLICE_LIT("\xef\xbb\xbf"))) {
        raw = ps_slice(raw.ptr + 3, raw.len - 3);
    }
    size_t len = 0;
    size_t lines = 0;
    struct ps_slice name = PS_SLICE_NONE;
    size_t start = 0;
    for (size_t i = 0; i <= raw.len; i++) {
        if (i < raw.len && raw.ptr[i] != '\n' && raw.ptr[i] != '\r') {
            continue;
        }
        struct ps_slice line = ps_slice(raw.ptr + start, i - start);
        start = i + 1;
        struct ps_slice value = line;
        while (value.len > 0 && value.ptr[0] != ':') {
            value = ps_slice(value.ptr + 1, value.len - 1);
        }
        struct ps_slice field = ps_slice(line.ptr, line.len - value.len);
        for (int j = 0; j < 2; j++) {
            if (value.len > 0 && value.ptr[0] == (j == 0 ? ':' : ' ')) {
                value = ps_slice(value.ptr + 1, value.len - 1);
            }
        }
        if (ps_slice_eq_cstr(field, "event")) {
            name = value;
        }
        if (ps_slice_eq_cstr(field, "data")) {
            if (lines++ > 0) {
                seen->scratch[len++] = '\n';
            }
            memcpy(seen->scratch + len, value.len > 0 ? value.ptr : "", value.len);
            len += value.len;
        }
    }
    CHECK(event->has_data == (lines > 0));
    CHECK(ps_slice_eq(event->name, name));
    CHECK(!event->has_data || ps_slice_eq(event->data, ps_slice(seen->scratch, len)));
}

static bool on_event(void *arg, const struct ps_sse_event *event)
{
    struct seen *seen = arg;
    CHECK(event->raw.len > 0 && event->raw.len <= seen->text.len - seen->at);
    CHECK(memcmp(event->raw.ptr, seen->text.ptr + seen->at, event->raw.len) == 0);
    seen->at += event->raw.len;
    if (!seen->ndjson) {
        check_fields(seen, event);
    }
    seen->first = false;
    if (seen->finishing && !event->has_data && ps_slice_eq_cstr(event->raw, "\n")) {
        return true;
    }
    seen->events++;
    digest_bytes(seen, event->name);
    digest_bytes(seen, event->has_data ? event->data : PS_SLICE_LIT("\1none"));
    return true;
}

static bool split(struct seen *seen, uint8_t cut)
{
    struct ps_sse sse;
    bool partial;
    ps_sse_init(&sse, seen->text.len, seen->ndjson, on_event, seen);
    size_t at = 0;
    for (uint32_t random = cut; at < seen->text.len; random = random * 1664525 + 1013904223) {
        size_t len = cut < 2 ? seen->text.len : cut <= 40 ? cut / 2 : (random >> 24) % 24;
        len = len < seen->text.len - at ? len : seen->text.len - at;
        char *piece = malloc(len > 0 ? len : 1);
        CHECK(piece != NULL);
        memcpy(piece, seen->text.ptr + at, len);
        CHECK(ps_sse_feed(&sse, piece, len) == PS_SSE_OK);
        free(piece);
        at += len;
    }
    seen->finishing = true;
    CHECK(ps_sse_finish(&sse, &partial) == PS_SSE_OK);
    CHECK(seen->at == seen->text.len);
    ps_sse_deinit(&sse);
    return partial;
}

/* Memory that runs short, and a maximum that is too small, end it and nothing else. */
static void split_in_need(struct seen *seen, uint8_t cut)
{
    struct ps_sse sse;
    bool partial;
    ps_sse_init(&sse, seen->text.len / 2, seen->ndjson, on_event, seen);
    ps_mem_fail_after(cut % 5);
    for (size_t at = 0; at < seen->text.len; at += 3) {
        ps_sse_feed(&sse, seen->text.ptr + at, seen->text.len - at < 3 ? seen->text.len - at : 3);
    }
    seen->finishing = true;
    ps_sse_finish(&sse, &partial);
    ps_mem_fail_after(-1);
    CHECK(sse.result != PS_SSE_OK || seen->at == seen->text.len);
    ps_sse_deinit(&sse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct seen whole = {.text = ps_slice((const char *)data + 1, size - 1),
                         .ndjson = (data[0] & 1) != 0,
                         .first = true,
                         .scratch = malloc(size)};
    CHECK(whole.scratch != NULL);
    struct seen cut = whole;
    struct seen need = whole;
    bool partial = split(&whole, 0);
    CHECK(split(&cut, data[0]) == partial);
    CHECK(whole.events == cut.events && whole.digest == cut.digest);
    split_in_need(&need, data[0]);
    free(whole.scratch);
    return 0;
}
