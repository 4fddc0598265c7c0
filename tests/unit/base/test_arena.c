/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/arena.h"
#include "penstock/base/mem.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>

static void test_memory_is_aligned_and_apart(void **state)
{
    enum {
        COUNT = 300
    };
    struct ps_arena arena;
    unsigned char *ptrs[COUNT];

    (void)state;
    ps_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i * 13 % 2500;

        ptrs[i] = ps_arena_alloc(&arena, size);
        assert_non_null(ptrs[i]);
        assert_int_equal((uintptr_t)ptrs[i] % alignof(max_align_t), 0);
        memset(ptrs[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < i * 13 % 2500; at++) {
            assert_int_equal(ptrs[i][at], i & 0xff);
        }
    }
    ps_arena_deinit(&arena);
}

static void test_limit_holds(void **state)
{
    struct ps_arena arena;
    size_t got = 0;

    (void)state;
    ps_arena_init(&arena, 20000);
    while (ps_arena_alloc(&arena, 100) != NULL) {
        got += 100;
        assert_true(arena.used <= 20000);
        assert_true(got <= 20000);
    }
    assert_true(got >= 10000);
    assert_null(ps_arena_alloc(&arena, 100));
    assert_null(ps_arena_alloc(&arena, SIZE_MAX));
    assert_null(ps_arena_alloc(&arena, SIZE_MAX - 20));
    ps_arena_reset(&arena);
    assert_non_null(ps_arena_alloc(&arena, 100));
    assert_null(ps_arena_alloc(&arena, 20000));
    ps_arena_deinit(&arena);
    assert_int_equal(arena.used, 0);
}

static void test_small_limit(void **state)
{
    struct ps_arena arena;

    (void)state;
    ps_arena_init(&arena, 200); /* less than a first block */
    assert_non_null(ps_arena_alloc(&arena, 100));
    assert_null(ps_arena_alloc(&arena, 100));
    ps_arena_deinit(&arena);
}

static void test_text(void **state)
{
    struct ps_arena arena;
    struct ps_slice copy;
    char *zeros;

    (void)state;
    ps_arena_init(&arena, 100000);
    assert_string_equal(ps_arena_strdup(&arena, ps_slice("abcdef", 3)), "abc");
    assert_string_equal(ps_arena_strdup(&arena, PS_SLICE_NONE), "");
    copy = ps_arena_copy(&arena, ps_slice("a\0b", 3));
    assert_int_equal(copy.len, 3);
    assert_memory_equal(copy.ptr, "a\0b", 4);
    assert_string_equal(ps_arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    assert_int_equal(strlen(ps_arena_printf(&arena, "%5000s", "")), 5000);
    zeros = ps_arena_calloc(&arena, 64);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(zeros[i], 0);
    }
    ps_arena_deinit(&arena);
}

static char order[8];
static size_t order_len;

static void note(void *arg)
{
    order[order_len++] = *(const char *)arg;
}

static struct ps_arena *nested_arena;

static void defer_once_more(void *arg)
{
    note(arg);
    assert_int_equal(
        ps_arena_defer(nested_arena, note, ps_arena_strdup(nested_arena, PS_SLICE_LIT("n"))), 0);
}

static void test_cleanups_run_newest_first_and_once(void **state)
{
    struct ps_arena arena;
    char a = 'a';
    char b = 'b';
    char c = 'c';

    (void)state;
    ps_arena_init(&arena, 100000);
    nested_arena = &arena;
    assert_int_equal(ps_arena_defer(&arena, note, &a), 0);
    assert_int_equal(ps_arena_defer(&arena, defer_once_more, &b), 0);
    assert_int_equal(ps_arena_defer(&arena, note, &c), 0);
    ps_arena_reset(&arena);
    assert_int_equal(order_len, 4);
    assert_memory_equal(order, "cbna", 4);
    ps_arena_reset(&arena);
    ps_arena_deinit(&arena);
    assert_int_equal(order_len, 4);
}

struct mover {
    struct ps_arena *from;
    struct ps_arena to;
};

static void move(void *arg)
{
    struct mover *mover = arg;
    ps_arena_move(mover->from, &mover->to);
}

static void test_moves_inside_a_cleanup(void **state)
{
    struct ps_arena arena;
    struct mover mover = {.from = &arena};
    struct ps_slice text;
    char older = 'o';
    char newer = 'n';

    (void)state;
    order_len = 0;
    ps_arena_init(&arena, 100000);
    text = ps_arena_copy(&arena, PS_SLICE_LIT("still here"));
    assert_int_equal(ps_arena_defer(&arena, note, &older), 0);
    assert_int_equal(ps_arena_defer(&arena, move, &mover), 0);
    assert_int_equal(ps_arena_defer(&arena, note, &newer), 0);
    ps_arena_reset(&arena);
    assert_int_equal(order_len, 1);
    assert_memory_equal(order, "n", 1);
    assert_int_equal(arena.used, 0);
    assert_string_equal(text.ptr, "still here");
    assert_non_null(ps_arena_alloc(&arena, 90000)); /* the limit is as it was */
    ps_arena_deinit(&mover.to);
    assert_int_equal(order_len, 2);
    assert_memory_equal(order, "no", 2);
    ps_arena_deinit(&arena);
    assert_int_equal(order_len, 2);
}

static void test_no_memory(void **state)
{
    struct ps_arena arena;
    bool worked = false;

    (void)state;
    for (int64_t after = 0; !worked; after++) {
        ps_arena_init(&arena, 1 << 20);
        order_len = 0;
        (void)ps_mem_fail_after(after);
        worked = ps_arena_alloc(&arena, 100) != NULL && ps_arena_alloc(&arena, 9000) != NULL &&
                 ps_arena_copy(&arena, PS_SLICE_LIT("text")).ptr != NULL &&
                 ps_arena_printf(&arena, "%4000s", "") != NULL &&
                 ps_arena_defer(&arena, note, &(char){'d'}) == 0;
        (void)ps_mem_fail_after(-1);
        assert_int_equal(order_len, 0);
        ps_arena_deinit(&arena);
        assert_int_equal(order_len, worked ? 1 : 0);
        assert_true(after < 20);
    }
}

static void test_reset_keeps_the_first_block(void **state)
{
    struct ps_arena arena;

    (void)state;
    ps_arena_init(&arena, 1 << 20);
    assert_non_null(ps_arena_alloc(&arena, 30000)); /* larger than a first block, and before it */
    assert_non_null(ps_arena_alloc(&arena, 100));
    ps_arena_reset(&arena);
    assert_true(arena.used <= PS_ARENA_FIRST);
#ifndef __SANITIZE_ADDRESS__
#ifndef __clang__
    (void)ps_mem_fail_after(-1);
    assert_non_null(ps_arena_alloc(&arena, 100));
    assert_int_equal(ps_mem_fail_after(-1), 0);
#endif
#endif
    ps_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_aligned_and_apart),
        cmocka_unit_test(test_limit_holds),
        cmocka_unit_test(test_small_limit),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_cleanups_run_newest_first_and_once),
        cmocka_unit_test(test_moves_inside_a_cleanup),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_reset_keeps_the_first_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
