/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"

#include "penstock/base/json_scan.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define KEY_RAW 256 /* an escaped key that is longer is none of ours */

static bool is_between(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == ',' ||
           byte == ':';
}

void ps_json_walk_init(struct ps_json_walk *walk, struct ps_slice raw)
{
    walk->at = raw.len >= 2 ? raw.ptr + 1 : NULL;
    walk->end = raw.len >= 2 ? raw.ptr + raw.len - 1 : NULL;
}

/* Whether the byte at `at` stands behind a backslash that is none itself, in the string that begins
 * at `text`. */
static bool is_escaped(const char *text, const char *at)
{
    const char *back = at;

    while (back > text && back[-1] == '\\') {
        back--;
    }
    return (at - back) % 2 != 0;
}

/*
 * One past the quote that ends the string at `at`. Chats are full of escaped quotes and are walked
 * several times, so sixteen bytes are looked at at once, and those quotes cost nothing of their own
 * but where backslashes stand in a row.
 */
static const char *skip_string(const char *at, const char *end)
{
    const char *text = ++at;

#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    unsigned carry = 0; /* the first byte is escaped */

    for (; end - at >= 16; at += 16) {
        __m128i chunk = _mm_loadu_si128((const __m128i *)(const void *)at);
        unsigned quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(chunk, quote));
        unsigned slashes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(chunk, slash));
        unsigned escaped = slashes << 1 | carry;

        if ((slashes & escaped) == 0) {
            quotes &= ~escaped;
            carry = slashes >> 15;
        } else {
            while (quotes != 0 && is_escaped(text, at + __builtin_ctz(quotes))) {
                quotes &= quotes - 1;
            }
            carry = is_escaped(text, at + 16);
        }
        if (quotes != 0) {
            return at + __builtin_ctz(quotes) + 1;
        }
    }
#endif
    for (; at < end; at++) {
        if (*at == '"' && !is_escaped(text, at)) {
            return at + 1;
        }
    }
    return end;
}

static const char *skip_nested(const char *at, const char *end)
{
    size_t depth = 0;

    while (at < end) {
        char byte = *at;

        if (byte == '"') {
            at = skip_string(at, end);
            continue;
        }
        at++;
        if (byte == '{' || byte == '[') {
            depth++;
        } else if ((byte == '}' || byte == ']') && --depth == 0) {
            return at;
        }
    }
    return end;
}

static const char *skip_value(const char *at, const char *end)
{
    if (*at == '"') {
        return skip_string(at, end);
    }
    if (*at == '{' || *at == '[') {
        return skip_nested(at, end);
    }
    while (at < end && !is_between(*at)) {
        at++;
    }
    return at;
}

bool ps_json_walk_element(struct ps_json_walk *walk, struct ps_slice *ret_value)
{
    const char *start;

    while (walk->at < walk->end && is_between(*walk->at)) {
        walk->at++;
    }
    if (walk->at >= walk->end) {
        return false;
    }
    start = walk->at;
    walk->at = skip_value(start, walk->end);
    *ret_value = ps_slice(start, (size_t)(walk->at - start));
    return true;
}

bool ps_json_walk_member(struct ps_json_walk *walk, struct ps_slice *ret_key,
                         struct ps_slice *ret_value)
{
    return ps_json_walk_element(walk, ret_key) && ps_json_walk_element(walk, ret_value);
}

bool ps_json_key_is(struct ps_slice key, struct ps_slice name)
{
    char text[KEY_RAW];

    if (key.len < 2) {
        return false;
    }
    if (memchr(key.ptr, '\\', key.len) == NULL) {
        return ps_slice_eq(ps_slice(key.ptr + 1, key.len - 2), name);
    }
    return key.len <= sizeof(text) &&
           ps_slice_eq(ps_slice(text, ps_json_unescape(key, text)), name);
}
