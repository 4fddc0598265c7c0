/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"
#include "testing.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int set_up(void **state)
{
    (void)state;
    setenv("PS_TEST_A", "value", 1);
    setenv("PS_TEST_EMPTY", "", 1);
    setenv("PS_TEST_NESTED", "${PS_TEST_A}", 1);
    setenv("PS_TEST_YAML", "{ a: [1] }\n\"", 1);
    unsetenv("PS_TEST_UNSET");
    return 0;
}

static void test_expansion(void **state)
{
    static const struct {
        const char *text;
        const char *value; /* NULL: refused */
        const char *unset;
    } rows[] = {
        {"plain", "plain", NULL},
        {"", "", NULL},
        {"${PS_TEST_A}", "value", NULL},
        {"a ${PS_TEST_A} b ${PS_TEST_A}", "a value b value", NULL},
        {"${PS_TEST_A}${PS_TEST_A}", "valuevalue", NULL},
        {"${PS_TEST_EMPTY}", "", NULL},
        {"${PS_TEST_EMPTY:-else}", "else", NULL},
        {"${PS_TEST_UNSET:-else}", "else", NULL},
        {"${PS_TEST_UNSET:-}", "", NULL},
        {"${PS_TEST_UNSET:-a:-b}", "a:-b", NULL},
        {"${PS_TEST_A:-else}", "value", NULL},
        {"${PS_TEST_NESTED}", "${PS_TEST_A}", NULL},
        {"${PS_TEST_YAML}", "{ a: [1] }\n\"", NULL},
        {"$PS_TEST_A $ $$ }", "$PS_TEST_A $ $$ }", NULL},
        {"$${PS_TEST_A}", "$value", NULL},
        {"${PS_TEST_UNSET}", NULL, "PS_TEST_UNSET"},
        {"${PS_TEST_A} ${PS_TEST_UNSET}", NULL, "PS_TEST_UNSET"},
        {"${", NULL, NULL},
        {"${}", NULL, NULL},
        {"${PS_TEST_A", NULL, NULL},
        {"${PS_TEST_A:}", NULL, NULL},
        {"${PS_TEST_A:+x}", NULL, NULL},
        {"${PS_TEST_A-x}", NULL, NULL},
        {"${1A}", NULL, NULL},
        {"${A B}", NULL, NULL},
        {"${ PS_TEST_A }", NULL, NULL},
        {"${PS_TEST_UNSET:-${PS_TEST_A}}", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ps_arena arena;
        struct ps_env_problem problem = {NULL, NULL, PS_SLICE_NONE};
        ps_arena_init(&arena, 1 << 20);
        struct ps_slice value = ps_env_expand(ps_slice_cstr(rows[i].text), &arena, &problem);
        bool ok;
        if (rows[i].value != NULL) {
            ok = value.ptr != NULL && strcmp(value.ptr, rows[i].value) == 0 &&
                 strlen(value.ptr) == value.len;
        } else if (rows[i].unset != NULL) {
            ok = value.ptr == NULL && ps_slice_eq_cstr(problem.unset, rows[i].unset);
        } else {
            ok = value.ptr == NULL && problem.expected != NULL && problem.found != NULL;
        }
        if (!ok) {
            fail_msg("%s: %s", rows[i].text, value.ptr != NULL ? value.ptr : problem.found);
        }
        ps_arena_deinit(&arena);
    }
}

/* A name at the end of the text is never read beyond it: the slice has no NUL. */
static void test_every_prefix(void **state)
{
    static const char whole[] = "x${PS_TEST_A}${PS_TEST_UNSET:-d}y";
    (void)state;
    for (size_t len = 0; len < sizeof whole; len++) {
        char *cut = malloc(len > 0 ? len : 1);
        struct ps_arena arena;
        struct ps_env_problem problem = {NULL, NULL, PS_SLICE_NONE};
        assert_non_null(cut);
        memcpy(cut, whole, len);
        ps_arena_init(&arena, 1 << 20);
        struct ps_slice value = ps_env_expand(ps_slice(cut, len), &arena, &problem);
        bool inside = (len > 2 && len < 13) || (len > 14 && len < 32);
        if (len != 2 && len != 14) { /* "$" alone is itself */
            assert_int_equal(value.ptr == NULL, inside);
        }
        ps_arena_deinit(&arena);
        free(cut);
    }
}

static void test_too_much(void **state)
{
    static char big[PS_CONFIG_EXPANDED_MAX + 1];
    struct ps_arena arena;
    struct ps_env_problem problem = {NULL, NULL, PS_SLICE_NONE};
    (void)state;
    memset(big, 'x', sizeof big - 1);
    setenv("PS_TEST_BIG", big, 1);
    ps_arena_init(&arena, 1 << 20);
    struct ps_slice value = ps_env_expand(PS_SLICE_LIT("${PS_TEST_BIG}"), &arena, &problem);
    assert_int_equal(value.len, sizeof big - 1);
    value = ps_env_expand(PS_SLICE_LIT("${PS_TEST_BIG}${PS_TEST_A}"), &arena, &problem);
    assert_null(value.ptr);
    assert_non_null(problem.expected);
    ps_arena_deinit(&arena);
    /* no room in the arena */
    ps_arena_init(&arena, 4096);
    value = ps_env_expand(PS_SLICE_LIT("${PS_TEST_BIG}"), &arena, &problem);
    assert_null(value.ptr);
    assert_null(problem.expected);
    ps_arena_deinit(&arena);
    unsetenv("PS_TEST_BIG");
}

static void test_names_without_defaults(void **state)
{
    struct ps_arena arena;
    (void)state;
    ps_arena_init(&arena, 1 << 16);
    assert_string_equal(ps_env_names(PS_SLICE_LIT("a${A}b${B:-secret}"), &arena), "${A} ${B}");
    assert_string_equal(ps_env_names(PS_SLICE_LIT("plain"), &arena), "");
    ps_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_expansion, set_up),
        cmocka_unit_test_setup(test_every_prefix, set_up),
        cmocka_unit_test_setup(test_too_much, set_up),
        cmocka_unit_test_setup(test_names_without_defaults, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
