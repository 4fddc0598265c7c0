/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"

#include "penstock/base/json_scan.h"

#include <string.h>

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

/* One past the quote that ends the string at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    const char *from = at + 1;

    while (from < end) {
        const char *quote = memchr(from, '"', (size_t)(end - from));
        const char *back = quote;

        if (quote == NULL) {
            return end;
        }
        while (back > from && back[-1] == '\\') {
            back--;
        }
        from = quote + 1;
        if ((quote - back) % 2 == 0) {
            return from;
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
