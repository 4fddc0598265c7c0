/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The first byte says how the rest is cut. However that is, the scan has the result of the whole
 * text; what it accepts is valid UTF-8 and cJSON reads it too; each value it reports is itself
 * accepted; numbers and strings convert within their bounds.
 */

#include "penstock/base/json_scan.h"

#include <cjson/cJSON.h>

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

static const struct ps_json_path watched[] = {
    {"", false},  {"model", true},    {"a", false},     {"a.b", true},
    {"*", false}, {"a.*", false},     {"a.*.b", false}, {"a.*.c.*", true},
    {"n", true},  {"\xc3\xa9", true}, {"*.*", false},
};
static const struct ps_json_limits limits = {12, 200};

struct seen {
    struct ps_slice text;
    uint64_t digest;
    size_t values;
};

static void check_conversions(struct ps_slice raw, enum ps_json_type type)
{
    if (type == PS_JSON_STRING) {
        char *text = malloc(raw.len);
        CHECK(text != NULL);
        CHECK(ps_json_unescape(raw, text) <= raw.len - 2);
        free(text);
    } else if (type == PS_JSON_NUMBER) {
        int64_t number;
        double real;
        bool is_int = ps_json_int(raw, &number);
        bool is_double = ps_json_double(raw, &real);
        CHECK(!is_int || is_double);
        CHECK(!is_int || (double)number == real);
    }
}

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct seen *seen = arg;
    CHECK(value->start < value->end && value->end <= seen->text.len);
    struct ps_slice raw =
        ps_slice(seen->text.ptr + value->start, (size_t)(value->end - value->start));
    const uint64_t parts[] = {
        (uint64_t)value->path, (uint64_t)value->type, value->element, value->start, value->end,
        value->escaped};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        seen->digest = (seen->digest ^ parts[i]) * UINT64_C(1099511628211);
    }
    seen->values++;
    if (value->type <= PS_JSON_STRING) {
        check_conversions(raw, value->type);
        CHECK(ps_json_scan_text(raw, NULL, &limits, NULL, NULL) == PS_JSON_OK);
    }
    return seen->values < 150;
}

static struct ps_json_scan scan_cut(const struct ps_json_paths *paths, struct seen *seen,
                                    uint8_t cut)
{
    struct ps_json_scan scan;
    memset(&scan, cut, sizeof(scan));
    ps_json_scan_init(&scan, paths, &limits, on_value, seen);
    size_t at = 0;
    for (uint32_t random = cut; at < seen->text.len; random = random * 1664525 + 1013904223) {
        /* 0: whole; 1 to 40: pieces of that size; above: of any. */
        size_t len = cut == 0 ? seen->text.len : cut <= 40 ? cut : (random >> 24) % 24;
        len = len < seen->text.len - at ? len : seen->text.len - at;
        char *piece = malloc(len > 0 ? len : 1);
        CHECK(piece != NULL);
        memcpy(piece, seen->text.ptr + at, len);
        ps_json_scan_feed(&scan, piece, len);
        free(piece);
        at += len;
    }
    ps_json_scan_finish(&scan);
    return scan;
}

/* cJSON refuses lone surrogates and reads no more than 63 bytes of a number. */
static bool is_for_cjson(struct ps_slice text)
{
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        digits =
            strchr("0123456789+-.eE", text.ptr[i]) != NULL && text.ptr[i] != '\0' ? digits + 1 : 0;
        bool surrogate = i + 1 < text.len && text.ptr[i] == '\\' && text.ptr[i + 1] == 'u' &&
                         i + 3 < text.len && (text.ptr[i + 2] | 0x20) == 'd' &&
                         text.ptr[i + 3] >= '8';
        if (digits > 60 || surrogate) {
            return false;
        }
    }
    return true;
}

static bool is_utf8(struct ps_slice text)
{
    const unsigned char *at = (const unsigned char *)text.ptr;
    const unsigned char *end = at + text.len;
    while (at < end) {
        size_t len = *at < 0x80 ? 1 : *at < 0xc0 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : 4;
        if (len == 0 || (size_t)(end - at) < len) {
            return false;
        }
        uint32_t code = len == 1 ? *at : *at & (0xffu >> (len + 1));
        for (size_t i = 1; i < len; i++) {
            if ((at[i] & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (at[i] & 0x3f);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return false;
        }
        at += len;
    }
    return true;
}

static void check_accepted(struct ps_slice text)
{
    CHECK(is_utf8(text));
    if (!is_for_cjson(text)) {
        return;
    }
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(text.ptr, text.len, &end, 0);
    CHECK(tree != NULL);
    for (; end < text.ptr + text.len; end++) {
        CHECK(strchr(" \t\r\n", *end) != NULL);
    }
    cJSON_Delete(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ps_json_paths *paths;
    if (paths == NULL) {
        paths = ps_json_paths_new(watched, sizeof(watched) / sizeof(watched[0]));
        CHECK(paths != NULL);
    }
    if (size == 0) {
        return 0;
    }
    struct seen whole = {.text = ps_slice((const char *)data + 1, size - 1)};
    struct seen cut = whole;
    struct ps_json_scan a = scan_cut(paths, &whole, 0);
    struct ps_json_scan b = scan_cut(paths, &cut, data[0]);
    CHECK(a.error == b.error && a.offset == b.offset && a.duplicate == b.duplicate);
    CHECK(a.began == b.began && a.root == b.root);
    CHECK(whole.values == cut.values && whole.digest == cut.digest);
    CHECK(a.offset <= whole.text.len);
    if (a.error == PS_JSON_OK) {
        CHECK(whole.values > 0);
        check_accepted(whole.text);
    }
    return 0;
}
