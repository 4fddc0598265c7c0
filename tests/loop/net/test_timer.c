/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"
#include "penstock/net/loop.h"

#include <stdlib.h>

static struct ps_budget budget;
static struct ps_loop loop;

static int set_up(void **state)
{
    (void)state;
    atomic_store(&budget.limit, 1 << 20);
    return ps_loop_init(&loop, 0, &budget);
}

static int tear_down(void **state)
{
    (void)state;
    ps_loop_deinit(&loop);
    return 0;
}

struct alarm {
    struct ps_timer timer;
    int64_t earliest_us; /* by the clock, not by the loop's now */
    unsigned runs;
    struct alarm *cancels;
    struct alarm *frees;
    int64_t again_us; /* ≥ 0: sets itself again */
    unsigned again;
};

static unsigned order;

static void on_alarm(struct ps_timer *timer)
{
    struct alarm *alarm = PS_CONTAINER_OF(timer, struct alarm, timer);
    assert_false(ps_timer_is_set(timer));
    assert_true(ps_clock_us() >= alarm->earliest_us);
    alarm->runs++;
    order++;
    if (alarm->cancels != NULL) {
        ps_timer_cancel(&alarm->cancels->timer);
    }
    if (alarm->frees != NULL) {
        ps_timer_cancel(&alarm->frees->timer);
        free(alarm->frees);
        alarm->frees = NULL;
    }
    if (alarm->again > 0) {
        alarm->again--;
        assert_int_equal(ps_timer_set(timer, alarm->again_us), 0);
    }
}

static void alarm_init(struct alarm *alarm)
{
    *alarm = (struct alarm){0};
    ps_timer_init(&alarm->timer, &loop, on_alarm);
}

static void set(struct alarm *alarm, int64_t after_us)
{
    assert_int_equal(ps_timer_set(&alarm->timer, after_us), 0);
    alarm->earliest_us = loop.now_us + after_us;
}

static void run_all(void)
{
    while (loop.heap_len > 0) {
        (void)ps_loop_turn(&loop, true);
    }
}

static void never_early(void **state)
{
    static const int64_t afters[] = {0, 1, 999, 1000, 1001, 1999, 2000, 2500, 7001, 10000, 33333};
    enum {
        COUNT = sizeof(afters) / sizeof(afters[0])
    };
    struct alarm alarms[COUNT];
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            alarm_init(&alarms[i]);
            set(&alarms[i], afters[i]);
        }
        run_all();
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(alarms[i].runs, 1);
        }
    }
}

static void setting_after_a_sleep_counts_from_the_wake_up(void **state)
{
    struct alarm first;
    struct alarm second;
    (void)state;
    alarm_init(&first);
    alarm_init(&second);
    set(&first, 20000);
    run_all();
    int64_t before = ps_clock_us();
    set(&second, 5000);
    assert_true(loop.now_us >= before - 1000);
    run_all();
    assert_int_equal(second.runs, 1);
}

static void pushing_on_is_lazy_and_right(void **state)
{
    struct alarm idle;
    (void)state;
    alarm_init(&idle);
    set(&idle, 5000);
    int64_t key = idle.timer.key_us;
    for (unsigned i = 0; i < 1000; i++) {
        set(&idle, 10000 + i);
        assert_true(idle.timer.key_us == key);
    }
    run_all();
    assert_int_equal(idle.runs, 1);
}

static void pulling_in_works(void **state)
{
    struct alarm far;
    struct alarm other;
    (void)state;
    alarm_init(&far);
    alarm_init(&other);
    set(&far, 3600000000);
    set(&other, 1800000000);
    set(&far, 1000);
    while (far.runs == 0) {
        (void)ps_loop_turn(&loop, true);
    }
    assert_int_equal(other.runs, 0);
    ps_timer_cancel(&other.timer);
    assert_int_equal(loop.heap_len, 0);
}

static void cancelled_timers_do_not_run(void **state)
{
    struct alarm a, b, c;
    (void)state;
    alarm_init(&a);
    alarm_init(&b);
    alarm_init(&c);
    ps_timer_cancel(&a.timer); /* never set */
    set(&a, 1000);
    set(&b, 1000);
    set(&c, 2000);
    a.cancels = &b; /* due in the same pass */
    ps_timer_cancel(&c.timer);
    ps_timer_cancel(&c.timer);
    assert_false(ps_timer_is_set(&c.timer));
    run_all();
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 0);
    assert_int_equal(c.runs, 0);
}

static void a_timer_may_free_another(void **state)
{
    struct alarm a;
    struct alarm *b = malloc(sizeof(*b));
    (void)state;
    assert_non_null(b);
    alarm_init(&a);
    alarm_init(b);
    set(&a, 1000);
    set(b, 1000);
    a.frees = b;
    run_all();
    assert_int_equal(a.runs, 1);
}

static void a_timer_that_sets_itself_to_zero_lets_the_loop_turn(void **state)
{
    struct alarm a;
    (void)state;
    alarm_init(&a);
    a.again = 50;
    a.again_us = 0;
    set(&a, 0);
    unsigned turns = 0;
    while (loop.heap_len > 0) {
        unsigned before = a.runs;
        (void)ps_loop_turn(&loop, true);
        /* uv_run with ONCE runs timers before and after the sleep. */
        assert_true(a.runs - before <= 2);
        turns++;
    }
    assert_int_equal(a.runs, 51);
    assert_true(turns >= 25);
}

/* The heap against a plain array that knows what is set. */
static void the_heap_keeps_order(void **state)
{
    enum {
        COUNT = 300
    };
    static struct alarm alarms[COUNT];
    uint32_t random = 12345;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        alarm_init(&alarms[i]);
    }
    for (unsigned step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        struct alarm *alarm = &alarms[(random >> 8) % COUNT];
        if ((random >> 28) < 4) {
            ps_timer_cancel(&alarm->timer);
        } else {
            set(alarm, 1000000000 + (int64_t)(random % 1000000));
        }
        size_t count = 0;
        int64_t least = INT64_MAX;
        for (size_t i = 0; i < COUNT; i++) {
            const struct ps_timer *timer = &alarms[i].timer;
            if (timer->slot != SIZE_MAX) {
                count++;
                assert_ptr_equal(loop.heap[timer->slot], timer);
                assert_true(timer->key_us <= timer->due_us);
                least = timer->key_us < least ? timer->key_us : least;
            }
        }
        assert_int_equal(count, loop.heap_len);
        if (count > 0) {
            assert_true(loop.heap[0]->key_us == least);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        ps_timer_cancel(&alarms[i].timer);
    }
    assert_int_equal(loop.heap_len, 0);
}

static void a_far_future_does_not_overflow(void **state)
{
    struct alarm a;
    (void)state;
    alarm_init(&a);
    assert_int_equal(ps_timer_set(&a.timer, INT64_MAX), 0);
    assert_true(ps_timer_is_set(&a.timer));
    (void)ps_loop_turn(&loop, false);
    assert_int_equal(a.runs, 0);
    ps_timer_cancel(&a.timer);
}

static void short_memory_is_reported(void **state)
{
    struct alarm a;
    (void)state;
    alarm_init(&a);
    (void)ps_mem_fail_after(0);
    assert_int_equal(ps_timer_set(&a.timer, 1000), UV_ENOMEM);
    (void)ps_mem_fail_after(-1);
    assert_false(ps_timer_is_set(&a.timer));
    set(&a, 1000);
    run_all();
    assert_int_equal(a.runs, 1);
}

static void on_long(uv_timer_t *handle)
{
    uv_close((uv_handle_t *)handle, NULL);
}

/* Timers of ours fire while somebody else's handle sleeps longer. */
static void a_sleeping_loop_wakes_for_a_timer(void **state)
{
    static uv_timer_t other;
    struct alarm a;
    (void)state;
    alarm_init(&a);
    uv_timer_init(&loop.uv, &other);
    uv_timer_start(&other, on_long, 3600000, 0);
    set(&a, 3000);
    while (a.runs == 0) {
        assert_true(ps_loop_turn(&loop, true));
    }
    uv_close((uv_handle_t *)&other, NULL);
}

#define TIMER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMER_TEST(never_early),
        TIMER_TEST(setting_after_a_sleep_counts_from_the_wake_up),
        TIMER_TEST(pushing_on_is_lazy_and_right),
        TIMER_TEST(pulling_in_works),
        TIMER_TEST(cancelled_timers_do_not_run),
        TIMER_TEST(a_timer_may_free_another),
        TIMER_TEST(a_timer_that_sets_itself_to_zero_lets_the_loop_turn),
        TIMER_TEST(the_heap_keeps_order),
        TIMER_TEST(a_far_future_does_not_overflow),
        TIMER_TEST(short_memory_is_reported),
        TIMER_TEST(a_sleeping_loop_wakes_for_a_timer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
