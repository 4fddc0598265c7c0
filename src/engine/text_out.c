/* SPDX-License-Identifier: Apache-2.0 */
#include "text_out.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define HELD_MAX    65536 /* a stop string and a token's piece: far below */

void ps_text_out_init(struct ps_text_out *out, const struct ps_slice *stops, size_t stop_count)
{
    *out = (struct ps_text_out){.stops = stops, .stop_count = stop_count, .stopped = -1};
    ps_buf_init(&out->held, HELD_MAX);
}

void ps_text_out_deinit(struct ps_text_out *out)
{
    ps_buf_deinit(&out->held);
}

/* Whether the bytes may be the beginning of a character whose rest is to come. */
static bool begins_character(const unsigned char *ptr, size_t left)
{
    size_t need = ptr[0] >= 0xc2 && ptr[0] <= 0xdf   ? 2
                  : (ptr[0] & 0xf0) == 0xe0          ? 3
                  : ptr[0] >= 0xf0 && ptr[0] <= 0xf4 ? 4
                                                     : 0;
    if (left >= need) {
        return false;
    }
    char padded[4] = {0};
    memcpy(padded, ptr, left);
    /* Any legal second byte does; those of the bytes after it are all alike. */
    for (size_t i = left; i < need; i++) {
        padded[i] = (char)0x80;
    }
    if (left == 1 && (ptr[0] == 0xe0 || ptr[0] == 0xf0)) {
        padded[1] = (char)(ptr[0] == 0xe0 ? 0xa0 : 0x90);
    }
    return ps_utf8_length(padded, need) == need;
}

/* Makes `held` whole characters, but for a beginning at its end; bytes that are none become U+FFFD.
 */
static void check_characters(struct ps_text_out *out)
{
    struct ps_buf *held = &out->held;
    while (out->checked < held->len && !held->failed) {
        size_t left = held->len - out->checked;
        size_t length = ps_utf8_length(held->ptr + out->checked, left);
        if (length > 0) {
            out->checked += length;
            continue;
        }
        if (begins_character((const unsigned char *)held->ptr + out->checked, left)) {
            return;
        }
        if (ps_buf_reserve(held, 2) == NULL) {
            return;
        }
        char *bad = held->ptr + out->checked;
        memmove(bad + 3, bad + 1, left - 1);
        memcpy(bad, REPLACEMENT, 3);
        ps_buf_commit(held, 2);
        out->checked += 3;
    }
}

/* Where a stop string begins in the checked text; SIZE_MAX: nowhere. The first to begin wins. */
static size_t find_stop(struct ps_text_out *out)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < out->stop_count && out->checked > 0; i++) {
        struct ps_slice stop = out->stops[i];
        const char *at = memmem(out->held.ptr, out->checked, stop.ptr, stop.len);
        if (at != NULL && (size_t)(at - out->held.ptr) < first) {
            first = (size_t)(at - out->held.ptr);
            out->stopped = (int)i;
        }
    }
    return first;
}

/* How many bytes at the end of the checked text are the beginning of a stop string. */
static size_t may_become_stop(const struct ps_text_out *out)
{
    size_t most = 0;
    for (size_t i = 0; i < out->stop_count; i++) {
        struct ps_slice stop = out->stops[i];
        size_t len = stop.len - 1 < out->checked ? stop.len - 1 : out->checked;
        while (len > most && memcmp(out->held.ptr + out->checked - len, stop.ptr, len) != 0) {
            len--;
        }
        most = len > most ? len : most;
    }
    return most;
}

static void release(struct ps_text_out *out, size_t len, struct ps_buf *ret)
{
    if (len > 0) {
        ps_buf_append(ret, out->held.ptr, len);
        ps_buf_drop(&out->held, len);
        out->checked -= len;
        out->released += len;
    }
}

int ps_text_out_push(struct ps_text_out *out, struct ps_slice piece, struct ps_buf *ret)
{
    if (out->stopped >= 0) {
        return 1;
    }
    ps_buf_slice(&out->held, piece);
    check_characters(out);
    out->taken = out->released + out->held.len;
    size_t stop = find_stop(out);
    if (stop != SIZE_MAX) {
        release(out, stop, ret);
        ps_buf_reset(&out->held);
        return ret->failed ? -1 : 1;
    }
    size_t keep = may_become_stop(out);
    /* A stop string may begin inside a character only if it is no UTF-8 itself; it is. */
    release(out, out->checked - keep, ret);
    return out->held.failed || ret->failed ? -1 : 0;
}

int ps_text_out_finish(struct ps_text_out *out, struct ps_buf *ret)
{
    if (out->stopped >= 0) {
        return 0;
    }
    size_t checked = out->checked;
    bool part = out->held.len > checked;
    release(out, checked, ret);
    if (part) {
        ps_buf_cstr(ret, REPLACEMENT);
        out->released += sizeof(REPLACEMENT) - 1;
        ps_buf_reset(&out->held);
    }
    return out->held.failed || ret->failed ? -1 : 0;
}
