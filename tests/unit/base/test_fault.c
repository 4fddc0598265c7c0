/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/fault.h"

#include <ctype.h>
#include <string.h>

static void test_every_kind_is_complete(void **state)
{
    (void)state;
    for (int kind = PS_FAULT_NONE + 1; kind < PS_FAULT_COUNT; kind++) {
        enum ps_fault_kind fault_kind = (enum ps_fault_kind)kind;
        struct ps_fault fault;
        const char *name = ps_fault_name(fault_kind);

        assert_int_equal(ps_fault_set(&fault, fault_kind, NULL, "%s", name), -1);
        assert_in_range(ps_fault_status(&fault), 400, 599);
        assert_non_null(ps_fault_type(fault_kind));
        assert_non_null(ps_fault_code(fault_kind));
        assert_true(strlen(name) > 2);
        for (const char *at = name; *at != '\0'; at++) {
            assert_true(islower((unsigned char)*at) || *at == '_');
        }
        for (int other = PS_FAULT_NONE; other < kind; other++) {
            assert_string_not_equal(name, ps_fault_name((enum ps_fault_kind)other));
        }
    }
}

static void test_some_kinds(void **state)
{
    struct ps_fault fault = {.kind = PS_FAULT_UPSTREAM_ERROR, .status = 529};

    (void)state;
    assert_string_equal(ps_fault_name(PS_FAULT_NONE), "none");
    assert_string_equal(ps_fault_name(PS_FAULT_UNSUPPORTED_OPERATION), "unsupported_operation");
    assert_string_equal(ps_fault_type(PS_FAULT_RATE_LIMITED), "rate_limit_error");
    assert_string_equal(ps_fault_code(PS_FAULT_MODEL_NOT_FOUND), "model_not_found");
    assert_true(ps_fault_retryable(PS_FAULT_UPSTREAM_TIMEOUT));
    assert_false(ps_fault_retryable(PS_FAULT_BAD_JSON));
    assert_int_equal(ps_fault_status(&fault), 529);
    fault.status = 0;
    assert_int_equal(ps_fault_status(&fault), 502);
    fault.kind = (enum ps_fault_kind)9999;
    assert_int_equal(ps_fault_status(&fault), 500);
    assert_string_equal(ps_fault_name(fault.kind), "internal");
}

static void test_set_clears_the_rest(void **state)
{
    struct ps_fault fault;

    (void)state;
    memset(&fault, 0x5a, sizeof(fault));
    assert_int_equal(
        ps_fault_set(&fault, PS_FAULT_BAD_FIELD, "messages[0]", "%d is not %s", 7, "eight"), -1);
    assert_int_equal(fault.kind, PS_FAULT_BAD_FIELD);
    assert_string_equal(fault.param, "messages[0]");
    assert_string_equal(fault.message, "7 is not eight");
    assert_int_equal(fault.status, 0);
    assert_int_equal(fault.retry_after_ms, 0);
    assert_false(fault.no_retry);
    /* a fault about a fault */
    assert_int_equal(
        ps_fault_set(&fault, PS_FAULT_INTERNAL, fault.param, "wrapped: %s", fault.message), -1);
    assert_string_equal(fault.message, "wrapped: 7 is not eight");
    assert_string_equal(fault.param, "messages[0]");
}

/* Characters of one to four bytes, moved over the end of the text one byte at a time. */
static void test_long_text_is_cut_at_a_character(void **state)
{
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t width = i + 1;

        for (size_t shift = 0; shift < 5; shift++) {
            struct ps_fault fault;
            char text[600];
            size_t len = shift;

            memset(text, '.', shift);
            while (len + width < sizeof(text)) {
                memcpy(text + len, characters[i], width);
                len += width;
            }
            text[len] = '\0';
            assert_int_equal(ps_fault_set(&fault, PS_FAULT_BAD_FIELD, text, "%s", text), -1);
            assert_int_equal(strlen(fault.message),
                             shift + (PS_FAULT_TEXT - 1 - shift) / width * width);
            assert_int_equal(strlen(fault.param),
                             shift + (PS_FAULT_PARAM - 1 - shift) / width * width);
            assert_memory_equal(fault.message, text, strlen(fault.message));
        }
    }
}

static void test_text_that_is_no_utf8_is_cut_too(void **state)
{
    struct ps_fault fault;
    char text[600];

    (void)state;
    memset(text, 0x80, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)ps_fault_set(&fault, PS_FAULT_BAD_FIELD, text, "%s", text);
    assert_true(strlen(fault.message) > PS_FAULT_TEXT - 6);
    assert_true(strlen(fault.message) < PS_FAULT_TEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_is_complete),
        cmocka_unit_test(test_some_kinds),
        cmocka_unit_test(test_set_clears_the_rest),
        cmocka_unit_test(test_long_text_is_cut_at_a_character),
        cmocka_unit_test(test_text_that_is_no_utf8_is_cut_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
