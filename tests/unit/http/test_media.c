/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/http/parser.h"

#include <stdlib.h>
#include <string.h>

/* Into memory of exactly the promised size, for the sanitizer. `wanted` NULL: refused. */
static void unescape(const char *path, bool keep_slash, const char *wanted)
{
    size_t len = strlen(path);
    char *ret = malloc(len > 0 ? len : 1);
    ptrdiff_t found;

    assert_non_null(ret);
    found = ps_http_unescape(ps_slice(path, len), keep_slash, ret);
    if (wanted == NULL
            ? found >= 0
            : found != (ptrdiff_t)strlen(wanted) || memcmp(ret, wanted, strlen(wanted)) != 0) {
        fail_msg("'%s': expected '%s', found %td bytes", path, wanted == NULL ? "-1" : wanted,
                 found);
    }
    free(ret);
}

static void test_unescape(void **state)
{
    static const struct {
        const char *path;
        const char *plain; /* keep_slash false */
        const char *slash; /* keep_slash true */
    } cases[] = {
        {"", "", ""},
        {"/v1/models", "/v1/models", "/v1/models"},
        {"a%20b+c", "a b+c", "a b+c"},
        {"%41%5a%5A%7e", "AZZ~", "AZZ~"},
        {"%c3%A9", "\xc3\xa9", "\xc3\xa9"},
        {"a%2Fb", NULL, "a/b"},
        {"a%2fb", NULL, "a/b"},
        {"a%5Cb", NULL, "a\\b"},
        {"a%5cb", NULL, "a\\b"},
        {"%2500", "%00", "%00"},
        {"%00", NULL, NULL},
        {"a%0a", NULL, NULL},
        {"a%1F", NULL, NULL},
        {"a%7F", NULL, NULL},
        {"%", NULL, NULL},
        {"%4", NULL, NULL},
        {"a%4", NULL, NULL},
        {"%4g", NULL, NULL},
        {"%g4", NULL, NULL},
        {"%%41", NULL, NULL},
        {"%u0041", NULL, NULL},
        {"% 41", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unescape(cases[i].path, false, cases[i].plain);
        unescape(cases[i].path, true, cases[i].slash);
    }
}

static void test_media_is(void **state)
{
    static const struct {
        const char *value;
        bool is;
    } cases[] = {
        {"application/json", true},
        {"Application/JSON", true},
        {"application/json; charset=utf-8", true},
        {"application/json ;charset=\"a;b\"", true},
        {" application/json", true},
        {"application/json;", true},
        {"application/jsonx", false},
        {"application/jso", false},
        {"application/json, text/plain", false},
        {"text/plain; a=application/json", false},
        {";application/json", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ps_http_media_is(ps_slice_cstr(cases[i].value), "application/json") != cases[i].is) {
            fail_msg("'%s': expected %d", cases[i].value, cases[i].is);
        }
    }
    assert_false(ps_http_media_is(PS_SLICE_NONE, "application/json"));
}

static void test_accepts(void **state)
{
    static const struct {
        const char *accept;
        bool accepts;
    } cases[] = {
        {"text/plain", true},
        {"TEXT/Plain", true},
        {"application/json, text/plain", true},
        {"application/json,text/plain;q=0.5", true},
        {"text/plain ; q=0.001 , */*", true},
        {"text/plain;format=flowed", true},
        {"text/plain;q=1.000", true},
        {"text/plain;q=0, text/plain", true},
        {"a/b;c=\",\", text/plain", true},
        {"", false},
        {",", false},
        {"*/*", false},
        {"text/*", false},
        {"text/plain;q=0", false},
        {"text/plain; Q=0.000", false},
        {"text/plain;format=flowed;q=0.0", false},
        {"text/plainer", false},
        {"application/json", false},
        {"a/b;c=\", text/plain\"", false},
        {"a/b;c=\"\\\", text/plain", false},
        {"a/b;c=\"\\", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ps_http_accepts(ps_slice_cstr(cases[i].accept), "text/plain") != cases[i].accepts) {
            fail_msg("'%s': expected %d", cases[i].accept, cases[i].accepts);
        }
    }
    assert_false(ps_http_accepts(PS_SLICE_NONE, "text/plain"));
}

static void test_method_names(void **state)
{
    (void)state;
    assert_string_equal(ps_http_method_name(PS_HTTP_GET), "GET");
    assert_string_equal(ps_http_method_name(PS_HTTP_OPTIONS), "OPTIONS");
    assert_string_equal(ps_http_method_name(PS_HTTP_OTHER), "OTHER");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unescape),
        cmocka_unit_test(test_media_is),
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_method_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
