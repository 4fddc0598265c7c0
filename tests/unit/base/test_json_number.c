/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/json_scan.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct integer {
    const char *text;
    bool ok;
    int64_t value;
};

static const struct integer integers[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"0.0", true, 0},
    {"-0.000", true, 0},
    {"0e5", true, 0},
    {"0e-5", true, 0},
    {"0e99999999999999999999999999", true, 0},
    {"0.000e-99999999999999999999", true, 0},
    {"1", true, 1},
    {"-1", true, -1},
    {"1.0", true, 1},
    {"1.000000000000000000000000000000000000000000", true, 1},
    {"1e0", true, 1},
    {"1e3", true, 1000},
    {"1E3", true, 1000},
    {"1e+3", true, 1000},
    {"1e03", true, 1000},
    {"10E-1", true, 1},
    {"-10E-1", true, -1},
    {"1500e-2", true, 15},
    {"1.5e1", true, 15},
    {"1.25e2", true, 125},
    {"12.50e1", true, 125},
    {"0.001e3", true, 1},
    {"0.00000000000000000001e20", true, 1},
    {"100000000000000000000000000e-26", true, 1},
    {"4096", true, 4096},
    {"9007199254740993", true, 9007199254740993},
    {"999999999999999999", true, 999999999999999999},
    {"1000000000000000000", true, 1000000000000000000},
    {"1e18", true, 1000000000000000000},
    {"9223372036854775807", true, INT64_MAX},
    {"9.223372036854775807e18", true, INT64_MAX},
    {"9223372036854775807.00", true, INT64_MAX},
    {"-9223372036854775807", true, -INT64_MAX},
    {"-9223372036854775808", true, INT64_MIN},
    {"-9223372036854775808e0", true, INT64_MIN},
    {"9223372036854775808", false, 0},
    {"-9223372036854775809", false, 0},
    {"9223372036854775810", false, 0},
    {"9999999999999999999", false, 0},
    {"18446744073709551615", false, 0},
    {"18446744073709551616", false, 0},
    {"18446744073709551617", false, 0},
    {"36893488147419103233", false, 0},
    {"1e19", false, 0},
    {"10e18", false, 0},
    {"1e400", false, 0},
    {"-1e400", false, 0},
    {"1e9223372036854775807", false, 0},
    {"1e9223372036854775808", false, 0},
    {"1e18446744073709551617", false, 0},
    {"1e-9223372036854775808", false, 0},
    {"1e-18446744073709551616", false, 0},
    {"0.5", false, 0},
    {"1.5", false, 0},
    {"1e-1", false, 0},
    {"15e-1", false, 0},
    {"1.25e1", false, 0},
    {"1000000000000000000000.1", false, 0},
    {"0.1e-5", false, 0},
    {"123456789012345678901234567890", false, 0},
    /* No numbers. */
    {"", false, 0},
    {"-", false, 0},
    {"+1", false, 0},
    {"01", false, 0},
    {"-01", false, 0},
    {"1.", false, 0},
    {".1", false, 0},
    {"1e", false, 0},
    {"1e+", false, 0},
    {"1e1.0", false, 0},
    {"1 ", false, 0},
    {" 1", false, 0},
    {"1,", false, 0},
    {"0x10", false, 0},
    {"\"1\"", false, 0},
    {"null", false, 0},
    {"1e3x", false, 0},
    {"--1", false, 0},
};

/* A heap copy without room behind it: a read too far is seen. */
static struct ps_slice copy(const char *text, size_t len)
{
    char *ptr = malloc(len > 0 ? len : 1);
    assert_non_null(ptr);
    memcpy(ptr, text, len);
    return ps_slice(ptr, len);
}

static void release(struct ps_slice slice)
{
    free((void *)(uintptr_t)slice.ptr);
}

static void test_int(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        struct ps_slice raw = copy(integers[i].text, strlen(integers[i].text));
        int64_t value = 4711;
        bool ok = ps_json_int(raw, &value);
        int64_t expected = integers[i].ok ? integers[i].value : 4711;
        if (ok != integers[i].ok || value != expected) {
            fail_msg("%s: %d, %lld", integers[i].text, (int)ok, (long long)value);
        }
        release(raw);
    }
}

struct real {
    const char *text;
    bool ok;
    double value;
};

static const struct real reals[] = {
    {"0", true, 0.0},
    {"1", true, 1.0},
    {"-1.5", true, -1.5},
    {"0.1", true, 0.1},
    {"0.7", true, 0.7},
    {"3.141592653589793", true, 3.141592653589793},
    {"123.456e-7", true, 123.456e-7},
    {"1e22", true, 1e22},
    {"1e23", true, 1e23},
    {"9007199254740993", true, 9007199254740992.0},
    {"9007199254740993.00000000000000000000000000001", true, 9007199254740994.0},
    {"1.7976931348623157e308", true, DBL_MAX},
    {"-1.7976931348623157E+308", true, -DBL_MAX},
    {"1.7976931348623158e308", true, DBL_MAX},
    {"2.2250738585072014e-308", true, DBL_MIN},
    {"4.9406564584124654e-324", true, 4.9406564584124654e-324},
    {"2.4703282292062327e-324", true, 0.0},
    {"2.4703282292062328e-324", true, 4.9406564584124654e-324},
    {"1e-400", true, 0.0},
    {"1e-99999999999999999999", true, 0.0},
    {"0e99999999999999999999", true, 0.0},
    {"1e309", false, 0},
    {"-1e309", false, 0},
    {"1.7976931348623159e308", false, 0},
    {"1e99999999999999999999", false, 0},
    {"123456789e9223372036854775800", false, 0},
    {"", false, 0},
    {"-", false, 0},
    {"nan", false, 0},
    {"inf", false, 0},
    {"Infinity", false, 0},
    {"0x1p3", false, 0},
    {"1.", false, 0},
    {".5", false, 0},
    {"01", false, 0},
    {"1e", false, 0},
    {" 1", false, 0},
    {"1 ", false, 0},
    {"1,5", false, 0},
};

static void check_reals(void)
{
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        struct ps_slice raw = copy(reals[i].text, strlen(reals[i].text));
        double value = 4711;
        bool ok = ps_json_double(raw, &value);
        double expected = reals[i].ok ? reals[i].value : 4711;
        if (ok != reals[i].ok || memcmp(&value, &expected, sizeof(value)) != 0) {
            fail_msg("%s: %d, %.17g", reals[i].text, (int)ok, value);
        }
        release(raw);
    }
}

static void test_double(void **state)
{
    (void)state;
    check_reals();
    double value = 1;
    assert_true(ps_json_double(PS_SLICE_LIT("-0.0"), &value));
    assert_true(value == 0 && signbit(value));
}

/* Where the decimal point is a comma, if the machine has such a locale. */
static void test_double_in_another_locale(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    const char *found = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && found == NULL; i++) {
        found = setlocale(LC_NUMERIC, names[i]);
    }
    if (found == NULL) {
        skip();
    }
    check_reals();
    setlocale(LC_NUMERIC, "C");
}

/* Numbers of many digits: the work is bounded, the rounding is right. */
static void test_long_numbers(void **state)
{
    (void)state;
    enum {
        LEN = 1 << 20
    };
    char *text = malloc(LEN + 32);
    assert_non_null(text);
    double value;
    int64_t number;
    /* 1 and a million zeros, taken back by the exponent. */
    memset(text, '0', LEN);
    text[0] = '1';
    int tail = snprintf(text + LEN, 32, "e-%d", LEN - 1);
    struct ps_slice raw = ps_slice(text, LEN + (size_t)tail);
    assert_true(ps_json_int(raw, &number));
    assert_int_equal(number, 1);
    assert_true(ps_json_double(raw, &value));
    assert_true(value == 1.0);
    assert_false(ps_json_int(ps_slice(text, LEN), &number));
    assert_false(ps_json_double(ps_slice(text, LEN), &value));
    /* 0.000…1 with an exponent that makes it 1. */
    text[0] = '0';
    text[1] = '.';
    text[LEN - 1] = '1';
    tail = snprintf(text + LEN, 32, "e%d", LEN - 2);
    raw = ps_slice(text, LEN + (size_t)tail);
    assert_true(ps_json_int(raw, &number));
    assert_int_equal(number, 1);
    assert_true(ps_json_double(raw, &value));
    assert_true(value == 1.0);
    /* Just above the middle of two doubles, seen only in the last of a million digits. */
    memset(text, '0', LEN);
    memcpy(text, "9007199254740993.", 17);
    assert_true(ps_json_double(ps_slice(text, LEN), &value));
    assert_true(value == 9007199254740992.0);
    text[LEN - 1] = '1';
    assert_true(ps_json_double(ps_slice(text, LEN), &value));
    assert_true(value == 9007199254740994.0);
    assert_false(ps_json_int(ps_slice(text, LEN), &number));
    /* All nines. */
    memset(text, '9', LEN);
    text[1] = '.';
    assert_true(ps_json_double(ps_slice(text, LEN), &value));
    assert_true(value == 10.0);
    /* An exponent of a million digits. */
    memset(text, '9', LEN);
    text[1] = 'e';
    assert_false(ps_json_double(ps_slice(text, LEN), &value));
    assert_false(ps_json_int(ps_slice(text, LEN), &number));
    text[2] = '-';
    assert_true(ps_json_double(ps_slice(text, LEN), &value));
    assert_true(value == 0.0);
    assert_false(ps_json_int(ps_slice(text, LEN), &number));
    free(text);
}

/* Any number of digits and any place of the point, against strtod on the text as it is. */
static void test_double_agrees_with_strtod(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252;
    for (int i = 0; i < 20000; i++) {
        char text[1300];
        size_t digits = 1;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t bits = random;
        if (i % 4 == 0) {
            digits = 1 + (bits >> 40) % 1200;
        } else {
            digits = 1 + (bits >> 40) % 22;
        }
        size_t point = (bits >> 8) % (digits + 1);
        size_t len = 0;
        text[len++] = (char)('1' + bits % 9);
        for (size_t at = 1; at < digits; at++) {
            if (at == point) {
                text[len++] = '.';
            }
            bits = bits * 6364136223846793005u + 1442695040888963407u;
            text[len++] = (char)('0' + (bits >> 60) % 10);
        }
        len += (size_t)snprintf(text + len, sizeof(text) - len, "e%d", (int)(random % 700) - 350);
        double expected = strtod(text, NULL);
        double value = 0;
        bool ok = ps_json_double(ps_slice(text, len), &value);
        if (ok != (isinf(expected) == 0) || (ok && value != expected)) {
            fail_msg("%s: %d, %.17g, expected %.17g", text, (int)ok, value, expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_double_in_another_locale),
        cmocka_unit_test(test_long_numbers),
        cmocka_unit_test(test_double_agrees_with_strtod),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
