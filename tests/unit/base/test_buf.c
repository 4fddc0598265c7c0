/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/buf.h"
#include "penstock/base/mem.h"

#include <stdlib.h>
#include <string.h>

#define ASSERT_BUF(buf, text) assert_true(ps_slice_eq_cstr(ps_buf_view(buf), text))

static void test_append_grows_by_doubling(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 1000);
    assert_null(buf.ptr);
    ps_buf_append(&buf, NULL, 0);
    assert_null(buf.ptr);
    ps_buf_cstr(&buf, "a");
    assert_int_equal(buf.cap, 256);
    for (int i = 1; i < 257; i++) {
        ps_buf_byte(&buf, 'b');
    }
    assert_int_equal(buf.cap, 512);
    assert_int_equal(buf.len, 257);
    assert_false(buf.failed);
    ps_buf_deinit(&buf);
    assert_null(buf.ptr);
}

static void test_maximum_is_exact_and_error_sticks(void **state)
{
    (void)state;
    for (size_t max = 0; max < 600; max += 37) {
        struct ps_buf buf;

        ps_buf_init(&buf, max);
        for (size_t i = 0; i < max; i++) {
            ps_buf_byte(&buf, 'x');
        }
        assert_false(buf.failed);
        assert_int_equal(buf.len, max);
        ps_buf_byte(&buf, 'x');
        assert_true(buf.failed);
        assert_int_equal(buf.len, max);
        ps_buf_append(&buf, "", 0);
        assert_null(ps_buf_reserve(&buf, 0));
        ps_buf_reset(&buf);
        assert_false(buf.failed);
        assert_int_equal(buf.len, 0);
        ps_buf_append(&buf, "zz", max < 2 ? max : 2);
        assert_false(buf.failed);
        ps_buf_deinit(&buf);
    }
}

static void test_a_failed_append_adds_nothing(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4);
    ps_buf_cstr(&buf, "abc");
    ps_buf_cstr(&buf, "de");
    assert_true(buf.failed);
    ASSERT_BUF(&buf, "abc");
    ps_buf_byte(&buf, 'd'); /* would fit, but the text would have a hole */
    ASSERT_BUF(&buf, "abc");
    ps_buf_deinit(&buf);
}

static void test_no_memory(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, SIZE_MAX);
    (void)ps_mem_fail_after(0);
    ps_buf_cstr(&buf, "abc");
    (void)ps_mem_fail_after(-1);
    assert_true(buf.failed);
    assert_int_equal(buf.len, 0);
    ps_buf_reset(&buf);
    ps_buf_cstr(&buf, "abc");
    ASSERT_BUF(&buf, "abc");
    assert_null(ps_buf_reserve(&buf, SIZE_MAX - 1));
    assert_true(buf.failed);
    ASSERT_BUF(&buf, "abc");
    ps_buf_deinit(&buf);
}

static void test_numbers(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 1000);
    ps_buf_uint(&buf, 0);
    ps_buf_byte(&buf, ' ');
    ps_buf_uint(&buf, UINT64_MAX);
    ps_buf_byte(&buf, ' ');
    ps_buf_int(&buf, INT64_MIN);
    ps_buf_byte(&buf, ' ');
    ps_buf_int(&buf, INT64_MAX);
    ps_buf_byte(&buf, ' ');
    ps_buf_int(&buf, -7);
    ASSERT_BUF(&buf, "0 18446744073709551615 -9223372036854775808 9223372036854775807 -7");
    ps_buf_deinit(&buf);
}

static void test_printf_fits_every_length(void **state)
{
    (void)state;
    for (int len = 0; len < 700; len += 7) {
        struct ps_buf buf;

        ps_buf_init(&buf, (size_t)len + 1);
        ps_buf_byte(&buf, '>');
        ps_buf_printf(&buf, "%*s", len, "");
        assert_false(buf.failed);
        assert_int_equal(buf.len, len + 1);
        ps_buf_printf(&buf, "%s", "");
        assert_false(buf.failed);
        ps_buf_printf(&buf, "%d", 1);
        assert_true(buf.failed);
        assert_int_equal(buf.len, len + 1);
        ps_buf_deinit(&buf);
    }
}

static void test_reserve_and_commit(void **state)
{
    struct ps_buf buf;
    char *room;

    (void)state;
    ps_buf_init(&buf, 300);
    room = ps_buf_reserve(&buf, 300);
    assert_non_null(room);
    memset(room, 'r', 300);
    ps_buf_commit(&buf, 3);
    ASSERT_BUF(&buf, "rrr");
    assert_null(ps_buf_reserve(&buf, 298));
    ps_buf_commit(&buf, 298);
    ASSERT_BUF(&buf, "rrr");
    ps_buf_deinit(&buf);
}

static void test_drop(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 300);
    ps_buf_drop(&buf, 0);
    ps_buf_cstr(&buf, "abcdef");
    ps_buf_drop(&buf, 2);
    ASSERT_BUF(&buf, "cdef");
    ps_buf_drop(&buf, 0);
    ASSERT_BUF(&buf, "cdef");
    ps_buf_drop(&buf, 4);
    assert_int_equal(buf.len, 0);
    ps_buf_deinit(&buf);
}

static const struct {
    const char *text;
    size_t len; /* 0: strlen */
    const char *json;
} samples[] = {
    {"", 0, ""},
    {"plain text, that is longer than a word or two", 0,
     "plain text, that is longer than a word or two"},
    {"a\"b\\c/d", 0, "a\\\"b\\\\c/d"},
    {"\n\r\t\b\f", 0, "\\n\\r\\t\\b\\f"},
    {"\0\x01\x1f\x7f", 4, "\\u0000\\u0001\\u001f\\u007f"},
    {"\x1b[31mred", 0, "\\u001b[31mred"},
    {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 0, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    {"\xc2\x80\xc2\x9f\xc2\xa0", 0, "\\u0080\\u009f\xc2\xa0"},
    {"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 0,
     "\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa"},
    /* no UTF-8: stray tail, cut, overlong, surrogate, above U+10FFFF, Latin-1 */
    {"\x80", 0, "\xef\xbf\xbd"},
    {"\xe2\x82", 0, "\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xc3", 0, "\xef\xbf\xbd"},
    {"\xc0\xaf", 0, "\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xc1\xbf", 0, "\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xe0\x9f\xbf", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xf0\x8f\xbf\xbf", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xed\xa0\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xf4\x90\x80\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xff\xfe", 0, "\xef\xbf\xbd\xef\xbf\xbd"},
    {"caf\xe9!", 0, "caf\xef\xbf\xbd!"},
    {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", 0, "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
};

/* Each sample behind every number of plain bytes, so that every path into and out of the fast scan
 * is taken, in memory of its exact size, so that a read beyond the end is seen. */
static void test_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        size_t len = samples[i].len != 0 ? samples[i].len : strlen(samples[i].text);

        for (size_t before = 0; before < 20; before++) {
            struct ps_buf buf;
            struct ps_buf expected;
            char *text = malloc(before + len + before + 1);
            char *exact = malloc(before + len + before + 1);

            assert_non_null(text);
            assert_non_null(exact);
            memset(text, 'p', before + len + before);
            memcpy(text + before, samples[i].text, len);
            memcpy(exact + 1, text, before + len + before);
            ps_buf_init(&buf, 1000);
            ps_buf_json(&buf, ps_slice(exact + 1, before + len + before));
            ps_buf_init(&expected, 1000);
            ps_buf_byte(&expected, '"');
            ps_buf_append(&expected, text, before);
            ps_buf_cstr(&expected, samples[i].json);
            ps_buf_append(&expected, text, before);
            ps_buf_byte(&expected, '"');
            assert_true(ps_slice_eq(ps_buf_view(&buf), ps_buf_view(&expected)));
            ps_buf_deinit(&buf);
            ps_buf_deinit(&expected);
            free(text);
            free(exact);
        }
    }
}

static bool is_clean(unsigned byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* The scan of eight at once against the plain definition: every byte at every place. */
static void test_json_every_byte_everywhere(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 16; at++) {
            struct ps_buf buf;
            char text[16];

            memset(text, at % 2 != 0 ? ' ' : '~', sizeof(text));
            text[at] = (char)byte;
            ps_buf_init(&buf, 100);
            ps_buf_json(&buf, ps_slice(text, sizeof(text)));
            assert_int_equal(buf.len == 18, is_clean(byte));
            ps_buf_deinit(&buf);
        }
    }
}

static void test_printable_keeps_quotes(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 100);
    ps_buf_printable(&buf, ps_slice_cstr("say \"hi\" c:\\\n\x1b"));
    ASSERT_BUF(&buf, "say \"hi\" c:\\\\\\n\\u001b");
    ps_buf_deinit(&buf);
}

static void test_quotes_end_with_a_character(void **state)
{
    /* a, two bytes, three, four, z */
    static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const int quoted[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    (void)state;
    for (size_t most = 0; most < sizeof(quoted) / sizeof(quoted[0]); most++) {
        assert_int_equal(ps_utf8_quoted(ps_slice_cstr(text), most), quoted[most]);
    }
    assert_int_equal(ps_utf8_quoted(PS_SLICE_LIT("\x80\x80\x80\x80"), 2), 0);
    assert_int_equal(ps_utf8_quoted(PS_SLICE_NONE, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_grows_by_doubling),
        cmocka_unit_test(test_maximum_is_exact_and_error_sticks),
        cmocka_unit_test(test_a_failed_append_adds_nothing),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_printf_fits_every_length),
        cmocka_unit_test(test_reserve_and_commit),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_every_byte_everywhere),
        cmocka_unit_test(test_printable_keeps_quotes),
        cmocka_unit_test(test_quotes_end_with_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
