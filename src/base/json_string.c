/* SPDX-License-Identifier: Apache-2.0 */
#include "json_bytes.h"

#include "penstock/base/json_scan.h"

#include <string.h>

/* Four hexadecimal digits, or -1 where there are none. */
static int32_t read_hex(const char *at, const char *end)
{
    if (end - at < 4) {
        return -1;
    }
    int32_t code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = ps_json_hex(at[i]);
        if (digit < 0) {
            return -1;
        }
        code = code * 16 + digit;
    }
    return code;
}

static bool is_surrogate(int32_t code)
{
    return code >= 0xd800 && code <= 0xdfff;
}

/* `at` stands behind \u; returns where the text goes on. */
static const char *unescape_unicode(const char *at, const char *end, char **out)
{
    int32_t code = read_hex(at, end);
    if (code < 0) {
        return end;
    }
    at += 4;
    if (is_surrogate(code)) {
        int32_t low = end - at >= 2 && at[0] == '\\' && at[1] == 'u' ? read_hex(at + 2, end) : -1;
        if (code < 0xdc00 && is_surrogate(low) && low >= 0xdc00) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        } else {
            code = 0xfffd;
        }
    }
    *out += ps_json_utf8((uint32_t)code, *out);
    return at;
}

size_t ps_json_unescape(struct ps_slice raw, char *ret)
{
    if (raw.len < 2) {
        return 0;
    }
    const char *at = raw.ptr + 1;
    const char *end = raw.ptr + raw.len - 1;
    char *out = ret;
    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((slash != NULL ? slash : end) - at);
        memcpy(out, at, run);
        out += run;
        at += run;
        if (end - at < 2) {
            break; /* the end; a lone backslash is in no scanned string */
        }
        if (at[1] == 'u') {
            at = unescape_unicode(at + 2, end, &out);
        } else {
            *out++ = ps_json_escape(at[1]);
            at += 2;
        }
    }
    return (size_t)(out - ret);
}

/* Behind the escape at `at`, or NULL. */
static const char *skip_escape(const char *at, const char *end)
{
    if (end - at >= 2 && ps_json_escape(at[1]) != 0) {
        return at + 2;
    }
    if (end - at >= 6 && at[1] == 'u' && read_hex(at + 2, end) >= 0) {
        return at + 6;
    }
    return NULL;
}

const char *ps_json_string_close(const char *at, const char *end)
{
    while (at != NULL && (at = ps_json_find_special(at, end)) < end) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"') {
            return at;
        }
        if (byte == '\\') {
            at = skip_escape(at, end);
        } else {
            const char *next = ps_json_skip_utf8(at, end);
            at = next > at ? next : NULL; /* a control character is not skipped either */
        }
    }
    return NULL;
}
