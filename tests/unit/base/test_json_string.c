/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The insides of strings, and whether JSON allows them; the scanner must think the same. */
static const struct {
    const char *insides;
    bool valid;
} strings[] = {
    {"", true},
    {"a", true},
    {"sixteen bytes and then some more", true},
    {"\\n\\r\\t\\b\\f\\/\\\\\\\"", true},
    {"\\u0041\\ud83d\\ude00", true},
    {"\\ud800", true},
    {"caf\xc3\xa9, \xe4\xbd\xa0\xe5\xa5\xbd, \xf0\x9f\x98\x80", true},
    {"\xef\xbf\xbf\xf4\x8f\xbf\xbf", true},
    {"\x7f", true},
    {"\n", false},
    {"plain text before it \x1f", false},
    {"\\x", false},
    {"\\u12g4", false},
    {"\\u123", false},
    {"\x80", false},
    {"\xc0\xaf", false},
    {"\xe0\x80\xaf", false},
    {"\xed\xa0\x80", false},
    {"\xf4\x90\x80\x80", false},
    {"\xc3", false},
    {"\xf0\x9f\x98", false},
};

/* In memory of exactly its size. */
static const char *close_of(const char *text, size_t len, size_t *ret_at)
{
    char *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    const char *close = ps_json_string_close(copy, copy + len);
    *ret_at = close != NULL ? (size_t)(close - copy) : SIZE_MAX;
    free(copy);
    return close;
}

static void finds_the_closing_quote(void **state)
{
    static const struct ps_json_limits limits = {4, 100};
    char text[128];
    size_t at;
    (void)state;

    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        size_t len = strlen(strings[i].insides);
        int size = snprintf(text, sizeof(text), "{\"a\":\"%s\",\"b\":\"c\"}", strings[i].insides);
        struct ps_slice whole = ps_slice(text, (size_t)size);
        bool scans = ps_json_scan_text(whole, NULL, &limits, NULL, NULL) == PS_JSON_OK;
        assert_int_equal(scans, strings[i].valid);
        (void)close_of(text + 6, (size_t)size - 6, &at);
        assert_int_equal(at, strings[i].valid ? len : SIZE_MAX);
    }
}

static void never_finds_what_is_not_there(void **state)
{
    static const char text[] = "a\\u00e9b\\\"\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80 and so on\"";
    size_t whole = sizeof(text) - 2;
    size_t at;
    (void)state;

    for (size_t len = 0; len <= whole; len++) {
        assert_null(close_of(text, len, &at));
    }
    assert_non_null(close_of(text, whole + 1, &at));
    assert_int_equal(at, whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_closing_quote),
        cmocka_unit_test(never_finds_what_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
