/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

/* Strings of every length around the width that is looked at at once, with a quote or a backslash
 * escaped at every place. */

#define LONGEST 70

static void check(const char *inside, size_t len)
{
    char text[LONGEST + 16];
    struct ps_json_walk walk;
    struct ps_slice element;

    int size = snprintf(text, sizeof(text), "[\"%.*s\",\"x\"]", (int)len, inside);
    ps_json_walk_init(&walk, ps_slice(text, (size_t)size));
    assert_true(ps_json_walk_element(&walk, &element));
    assert_int_equal(element.len, len + 2);
    assert_true(ps_json_walk_element(&walk, &element));
    assert_true(ps_slice_eq(element, PS_SLICE_LIT("\"x\"")));
    assert_false(ps_json_walk_element(&walk, &element));
}

static void test_strings_end_where_they_end(void **state)
{
    char inside[LONGEST];

    (void)state;
    for (size_t len = 0; len < LONGEST; len++) {
        memset(inside, 'a', sizeof(inside));
        check(inside, len);
        for (size_t at = 0; at + 2 <= len; at++) {
            memset(inside, 'a', sizeof(inside));
            memcpy(inside + at, "\\\"", 2);
            check(inside, len);
            memcpy(inside + at, "\\\\", 2);
            check(inside, len);
        }
    }
}

static void test_runs_of_escapes(void **state)
{
    char inside[LONGEST];

    (void)state;
    for (size_t i = 0; i + 1 < LONGEST; i += 2) {
        memcpy(inside + i, i % 6 == 0 ? "\\\"" : "\\\\", 2);
        check(inside, i + 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings_end_where_they_end),
        cmocka_unit_test(test_runs_of_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
