/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include "penstock/base/json_scan.h"

#include <inttypes.h>

int ps_object_check(struct ps_slice text, struct ps_fault *ret_fault)
{
    static const struct ps_json_limits limits = {PS_MEMBERS_DEPTH, PS_MEMBERS_NODES};
    struct ps_json_scan scan;
    ps_json_scan_init(&scan, NULL, &limits, NULL, NULL);
    enum ps_json_error error = ps_json_scan_feed(&scan, text.ptr, text.len);
    if (error == PS_JSON_OK) {
        error = ps_json_scan_finish(&scan);
    }
    if (text.len == 0) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, NULL,
                            "The request body is empty; a JSON object was expected.");
    }
    if (scan.began && scan.root != PS_JSON_OBJECT) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, NULL,
                            "The request body must be a JSON object.");
    }
    if (error != PS_JSON_OK) {
        return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, NULL,
                            "The request body %s (at byte %" PRIu64 ").", ps_json_error_text(error),
                            scan.offset);
    }
    return 0;
}

/* ---- walking ---- */

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at)) {
        at++;
    }
    return at;
}

/* Behind the quote that ends the string which begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\' && at + 1 < end) {
            at++;
        }
    }
    return at < end ? at + 1 : end;
}

static const char *skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
            continue;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0) {
                return at;
            }
            depth--;
            at++;
        } else if (depth == 0) {
            while (at < end && *at != ',' && *at != '}' && *at != ']' && !is_space(*at)) {
                at++;
            }
        } else {
            at++;
            continue;
        }
        if (depth == 0) {
            return at;
        }
    }
    return end;
}

void ps_members_begin(struct ps_members *members, struct ps_slice object)
{
    members->end = object.ptr + object.len;
    members->at = skip_space(object.ptr, members->end);
    if (members->at < members->end && *members->at == '{') {
        members->at++;
    } else {
        members->at = members->end;
    }
}

bool ps_members_next(struct ps_members *members, struct ps_slice *ret_key,
                     struct ps_slice *ret_value)
{
    const char *end = members->end;
    const char *at = skip_space(members->at, end);
    if (at < end && *at == ',') {
        at = skip_space(at + 1, end);
    }
    if (at == end || *at != '"') {
        members->at = end;
        return false;
    }
    const char *key = at;
    at = skip_string(at, end);
    *ret_key = ps_slice(key, (size_t)(at - key));
    at = skip_space(at, end);
    at = skip_space(at < end ? at + 1 : end, end); /* the colon */
    const char *value = at;
    at = skip_value(at, end);
    *ret_value = ps_slice(value, (size_t)(at - value));
    members->at = at;
    return value < at;
}

bool ps_member_is(struct ps_slice raw, const char *name)
{
    char text[6 * 64 + 2];
    size_t len = strlen(name);
    if (raw.len == len + 2) {
        return memcmp(raw.ptr + 1, name, len) == 0;
    }
    /* every byte of a name is at most a \u escape; a shorter key was compared as it is */
    if (raw.len < len + 2 || raw.len > sizeof(text) || raw.len > 6 * len + 2) {
        return false;
    }
    return ps_slice_eq_cstr(ps_slice(text, ps_json_unescape(raw, text)), name);
}

struct ps_slice ps_object_member(struct ps_slice object, const char *name)
{
    struct ps_members members;
    struct ps_slice key;
    struct ps_slice value;
    struct ps_slice found = PS_SLICE_NONE;
    ps_members_begin(&members, object);
    while (ps_members_next(&members, &key, &value)) {
        if (ps_member_is(key, name)) {
            found = value;
        }
    }
    return found;
}

struct ps_slice ps_array_inside(struct ps_slice array)
{
    return array.len > 2 && array.ptr[0] == '[' ? ps_slice(array.ptr + 1, array.len - 2)
                                                : PS_SLICE_NONE;
}

bool ps_array_next(struct ps_slice *rest, struct ps_slice *ret)
{
    size_t at = 0;
    size_t depth = 0;
    bool quoted = false;
    while (at < rest->len && strchr(" \t\r\n,", rest->ptr[at]) != NULL) {
        at++;
    }
    size_t start = at;
    for (; at < rest->len; at++) {
        char byte = rest->ptr[at];
        if (quoted) {
            at += byte == '\\' ? 1 : 0;
            quoted = byte != '"';
        } else if (byte == '"') {
            quoted = true;
        } else if (byte == '{' || byte == '[') {
            depth++;
        } else if (byte == '}' || byte == ']') {
            depth--;
        } else if (byte == ',' && depth == 0) {
            break;
        }
    }
    at = at < rest->len ? at : rest->len;
    *ret = ps_slice(rest->ptr + start, at - start);
    *rest = ps_slice(rest->ptr + at, rest->len - at);
    return ret->len > 0;
}

int ps_object_take(struct ps_slice object, const struct ps_object_want *wants, size_t count,
                   struct ps_fault *ret_fault)
{
    struct ps_members members;
    struct ps_slice key;
    struct ps_slice value;
    uint64_t seen = 0;
    for (size_t i = 0; i < count; i++) {
        *wants[i].value = PS_SLICE_NONE;
    }
    ps_members_begin(&members, object);
    while (ps_members_next(&members, &key, &value)) {
        for (size_t i = 0; i < count; i++) {
            if (!ps_member_is(key, wants[i].name)) {
                continue;
            }
            if ((seen >> i & 1) != 0) {
                return ps_fault_set(ret_fault, PS_FAULT_BAD_JSON, wants[i].name,
                                    "The request body has the field %s more than once.",
                                    wants[i].name);
            }
            seen |= UINT64_C(1) << i;
            if (!ps_slice_eq_cstr(value, "null")) {
                *wants[i].value = value;
            }
        }
    }
    return 0;
}

struct ps_slice ps_object_text(struct ps_slice raw, struct ps_arena *arena)
{
    char *text = ps_arena_alloc(arena, raw.len + 1);
    if (text == NULL) {
        return PS_SLICE_NONE;
    }
    size_t len = ps_json_unescape(raw, text);
    text[len] = '\0';
    return ps_slice(text, len);
}

size_t ps_text_length(struct ps_slice text)
{
    size_t length = 0;
    for (size_t i = 0; i < text.len; i++) {
        length += ((unsigned char)text.ptr[i] & 0xc0) != 0x80 ? 1 : 0;
    }
    return length;
}
