/* SPDX-License-Identifier: Apache-2.0 */
#include "neutral_build.h"

#include "penstock/base/json_scan.h"

#define URL_HEAD 256 /* "data:image/png;base64," and its like */

bool ps_base64_is(struct ps_slice text)
{
    size_t pad = 0;
    unsigned char good = 1;

    while (pad < 2 && text.len > 0 && text.ptr[text.len - 1] == '=') {
        text.len--;
        pad++;
    }
    for (size_t i = 0; i < text.len; i++) {
        static const unsigned char allowed[256] = {
            ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1,
            ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1,
            ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1, ['X'] = 1,
            ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1,
            ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1,
            ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['v'] = 1,
            ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1, ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1,
            ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1, ['+'] = 1, ['/'] = 1,
        };
        good &= allowed[(unsigned char)text.ptr[i]];
    }
    return text.len > 0 && good && text.len % 4 != 1 && (pad == 0 || (text.len + pad) % 4 == 0);
}

int ps_build_base64(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                    const char *name, struct ps_slice raw, struct ps_slice *ret)
{
    struct ps_slice text = PS_SLICE_NONE;

    if (ps_build_string(build, at, name, raw, &text) != 0) {
        return -1;
    }
    if (text.len == 0) {
        return ps_build_missing(build, at, name);
    }
    text = ps_raw_plain(text, build->arena);
    if (text.ptr == NULL) {
        return ps_build_no_memory(build);
    }
    if (!ps_base64_is(text)) {
        return ps_build_expected(build, at, name, "valid base64");
    }
    *ret = text;
    return 0;
}

bool ps_media_type_is(struct ps_slice text)
{
    static const char others[] = "!#$&-^_.+/";
    size_t slashes = 0;

    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];

        slashes += byte == '/';
        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
              (byte >= '0' && byte <= '9') || (byte != '\0' && strchr(others, byte) != NULL))) {
            return false;
        }
    }
    return slashes == 1 && text.len > 2;
}

/* `url` begins with "data:", plain. Parameters of the media type are not kept. */
static int take_data(struct ps_neutral_build *build, const struct ps_neutral_at *at,
                     const char *name, struct ps_slice url, struct ps_neutral_media *ret)
{
    struct ps_slice base64 = PS_SLICE_LIT(";base64");
    size_t window = url.len < URL_HEAD ? url.len : URL_HEAD;
    const char *comma = memchr(url.ptr, ',', window);
    struct ps_slice head = ps_slice(url.ptr + 5, 0);
    const char *semicolon;

    if (comma == NULL) {
        return ps_build_expected(build, at, name, "a data: URL with a comma after its media type");
    }
    head.len = (size_t)(comma - head.ptr);
    if (head.len < base64.len || !ps_slice_ieq(ps_slice(comma - base64.len, base64.len), base64)) {
        return ps_build_expected(build, at, name, "a data: URL in base64");
    }
    head.len -= base64.len;
    semicolon = memchr(head.ptr, ';', head.len);
    head.len = semicolon != NULL ? (size_t)(semicolon - head.ptr) : head.len;
    if (!ps_media_type_is(head)) {
        return ps_build_expected(build, at, name, "a data: URL with a media type");
    }
    ret->source = PS_MEDIA_BASE64;
    ret->media_type = head;
    ret->data = ps_slice(comma + 1, url.len - (size_t)(comma + 1 - url.ptr));
    return ps_base64_is(ret->data)
               ? 0
               : ps_build_expected(build, at, name, "a data: URL of valid base64");
}

int ps_build_url(struct ps_neutral_build *build, const struct ps_neutral_at *at, const char *name,
                 struct ps_slice raw, struct ps_neutral_media *ret)
{
    struct ps_slice url;

    if (!ps_raw_given(raw)) {
        return ps_build_missing(build, at, name);
    }
    if (!ps_raw_says(raw)) {
        return ps_build_expected(build, at, name, "a URL");
    }
    url = ps_raw_plain(raw, build->arena);
    if (url.ptr == NULL) {
        return ps_build_no_memory(build);
    }
    if (url.len >= 5 && ps_slice_ieq(ps_slice(url.ptr, 5), PS_SLICE_LIT("data:"))) {
        return take_data(build, at, name, url, ret);
    }
    ret->source = PS_MEDIA_URL;
    ret->url = raw;
    return 0;
}

int ps_build_media(struct ps_neutral_build *build, struct ps_neutral_part *part,
                   enum ps_part_kind kind, struct ps_neutral_media **ret)
{
    *ret = ps_build_array(build, 1, sizeof(**ret));
    part->kind = kind;
    part->media = *ret;
    build->neutral->has_media = true;
    return *ret != NULL ? 0 : -1;
}
