/* SPDX-License-Identifier: Apache-2.0 */
#include "chars.h"

#include "penstock/http/parser.h"

ptrdiff_t ps_http_unescape(struct ps_slice path, bool keep_slash, char *ret)
{
    ptrdiff_t out = 0;

    for (size_t i = 0; i < path.len; i++) {
        unsigned byte = (unsigned char)path.ptr[i];

        if (byte == '%') {
            if (path.len - i < 3 || !ps_char_is(path.ptr[i + 1], PS_CHAR_HEX) ||
                !ps_char_is(path.ptr[i + 2], PS_CHAR_HEX)) {
                return -1;
            }
            byte = ps_char_hex(path.ptr[i + 1]) << 4 | ps_char_hex(path.ptr[i + 2]);
            if (byte < 0x20 || byte == 0x7f || (!keep_slash && (byte == '/' || byte == '\\'))) {
                return -1;
            }
            i += 2;
        }
        ret[out++] = (char)byte;
    }
    return out;
}

/* Takes the text up to the next `mark` that stands in no quoted string, trimmed; false at the end.
 */
static bool next_part(struct ps_slice *rest, char mark, struct ps_slice *ret_part)
{
    bool quoted = false;
    size_t i = 0;

    if (rest->ptr == NULL) {
        return false;
    }
    while (i < rest->len && (quoted || rest->ptr[i] != mark)) {
        if (rest->ptr[i] == '"') {
            quoted = !quoted;
        } else if (quoted && rest->ptr[i] == '\\' && i + 1 < rest->len) {
            i++;
        }
        i++;
    }
    *ret_part = ps_slice_trim(ps_slice(rest->ptr, i));
    *rest = i < rest->len ? ps_slice(rest->ptr + i + 1, rest->len - i - 1) : PS_SLICE_NONE;
    return true;
}

bool ps_http_media_is(struct ps_slice content_type, const char *media)
{
    struct ps_slice type;

    return next_part(&content_type, ';', &type) && ps_slice_ieq(type, ps_slice_cstr(media));
}

/* RFC 9110 section 12.4.2: "0", "0.", "0.000" and no more digits than that. */
static bool is_zero_quality(struct ps_slice param)
{
    if (param.len < 3 || (param.ptr[0] | 0x20) != 'q' || param.ptr[1] != '=') {
        return false;
    }
    for (size_t i = 2; i < param.len; i++) {
        if (param.ptr[i] != '0' && param.ptr[i] != '.') {
            return false;
        }
    }
    return true;
}

bool ps_http_accepts(struct ps_slice accept, const char *media)
{
    struct ps_slice range;

    while (next_part(&accept, ',', &range)) {
        bool wanted = true;
        struct ps_slice param;

        if (!ps_http_media_is(range, media)) {
            continue;
        }
        while (next_part(&range, ';', &param)) {
            wanted = wanted && !is_zero_quality(param);
        }
        if (wanted) {
            return true;
        }
    }
    return false;
}
