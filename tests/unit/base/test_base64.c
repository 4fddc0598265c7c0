/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/base64.h"

/* RFC 4648 section 10, and bytes that use every bit. */
static const struct {
    const char *bytes;
    size_t len;
    const char *text;
} values[] = {
    {"", 0, ""},
    {"f", 1, "Zg=="},
    {"fo", 2, "Zm8="},
    {"foo", 3, "Zm9v"},
    {"foob", 4, "Zm9vYg=="},
    {"fooba", 5, "Zm9vYmE="},
    {"foobar", 6, "Zm9vYmFy"},
    {"\x00\xff\xfe", 3, "AP/+"},
    {"\xfb\xef\xbe", 3, "++++"},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[16];
        uint8_t bytes[16];
        size_t len = 99;
        size_t made = ps_base64_encode(values[i].bytes, values[i].len, text);
        assert_int_equal(made, PS_BASE64_LENGTH(values[i].len));
        assert_int_equal(made, strlen(values[i].text));
        assert_memory_equal(text, values[i].text, made);
        assert_true(ps_base64_decode(ps_slice_cstr(values[i].text), bytes, &len));
        assert_int_equal(len, values[i].len);
        assert_memory_equal(bytes, values[i].bytes, len);
    }
}

static void test_refused(void **state)
{
    static const char *const wrong[] = {
        "Z",      "Zg",   "Zg=",  "Zg===", "Zh==",     "Zm9=",     "====",    "=Zg=",     "Zg =",
        "Zm9v\n", "Zm-v", "Zm_v", "Z===",  "Zg==Zg==", "Zm9vZg=A", "Zm\x80v", "Zm9v====", "Zm=v",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint8_t bytes[16];
        size_t len = 99;
        if (ps_base64_decode(ps_slice_cstr(wrong[i]), bytes, &len)) {
            fail_msg("taken: %s", wrong[i]);
        }
        assert_int_equal(len, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
