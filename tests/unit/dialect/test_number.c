/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"
#include "testing.h"

#include "penstock/base/json_scan.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void says_as_little_as_it_takes(void **state)
{
    static const struct {
        float value;
        const char *text;
    } rows[] = {
        {0.0F, "0.0"},
        {-0.0F, "-0.0"},
        {1.0F, "1.0"},
        {-1.5F, "-1.5"},
        {0.1F, "0.1"},
        {1.0F / 3.0F, "0.33333334"},
        {123456.0F, "123456.0"},
        {16777216.0F, "16777216.0"},
        {-9999.0F, "-9999.0"},
        {1e-5F, "0.00001"},
        {1.5e-6F, "1.5e-6"},
        {-0.012345679F, "-0.012345679"},
        {5e11F, "500000000000.0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_buf out;

        ps_buf_init(&out, 64);
        ps_dialect_write_float(&out, rows[i].value);
        ps_buf_byte(&out, '\0');
        assert_string_equal(out.ptr, rows[i].text);
        ps_buf_deinit(&out);
    }
}

/* JSON, the same float when read back, and no shorter decimal is (but at powers of two, where the
 * gap below is half the gap above and one digit more is allowed). */
static void check(float value)
{
    struct ps_buf out;
    char best[40];
    double number = 0;
    int least = 1;
    int said = 0;
    int exponent;

    ps_buf_init(&out, 64);
    ps_dialect_write_float(&out, value);
    assert_true(ps_json_double(ps_buf_view(&out), &number));
    ps_buf_byte(&out, '\0');
    if (strtof(out.ptr, NULL) != value || signbit((float)number) != signbit(value)) {
        fail_msg("%.9g was written as %s", (double)value, out.ptr);
    }
    for (; least <= 9; least++) {
        (void)snprintf(best, sizeof(best), "%.*e", least - 1, (double)value);
        if (strtof(best, NULL) == value) {
            break;
        }
    }
    for (size_t i = 0; i < out.len - 1 && out.ptr[i] != 'e'; i++) {
        said += out.ptr[i] >= '0' && out.ptr[i] <= '9' && (said > 0 || out.ptr[i] != '0');
    }
    if (fabsf(value) < 1e5F && fabsf(value) > 1e-5F && floorf(value) != value &&
        said > least + (frexpf(value, &exponent) == 0.5F || frexpf(value, &exponent) == -0.5F)) {
        fail_msg("%s needs only %d digits: %s", out.ptr, least, best);
    }
    ps_buf_deinit(&out);
}

static void reads_back_as_the_same(void **state)
{
    uint32_t seed = 12345;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        float value;

        seed = seed * 1664525U + 1013904223U;
        memcpy(&value, &seed, sizeof(value));
        if (isfinite(value)) {
            check(value);
        }
        check((float)(seed >> 8) / 16777216.0F - 0.5F); /* what embeddings hold */
    }
    for (int e = -149; e < 128; e++) {
        float power = ldexpf(1.0F, e);

        check(power);
        check(nextafterf(power, 0.0F));
        check(-nextafterf(power, FLT_MAX));
    }
    for (int e = -45; e <= 38; e++) {
        float power = (float)pow(10, e);

        check(power);
        check(nextafterf(power, 0.0F));
        check(nextafterf(power, FLT_MAX));
    }
    check(FLT_MAX);
    check(-FLT_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_as_little_as_it_takes),
        cmocka_unit_test(reads_back_as_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
