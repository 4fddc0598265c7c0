/* SPDX-License-Identifier: Apache-2.0 */
#include "pace.h"
#include "testing.h"

#include <stdio.h>

#define SECOND INT64_C(1000000)
#define NOW    (100 * SECOND)

static struct ps_paces paces;

static struct ps_pace *ref(const char *name, int64_t now)
{
    return ps_pace_ref(&paces, ps_slice_cstr(name), now);
}

/* Starts as many as it bears; returns how many. */
static unsigned fill(struct ps_pace *pace, int64_t now)
{
    unsigned count = 0;
    while (ps_pace_open(pace, now)) {
        ps_pace_begin(pace);
        count++;
    }
    return count;
}

static void end(struct ps_pace *pace, enum ps_pace_end how, int64_t after, int64_t now)
{
    ps_pace_end(&paces, pace, how, after, now);
}

static void nothing_is_held_back_before_a_refusal(void **state)
{
    (void)state;
    ps_paces_init(&paces, 16);
    struct ps_pace *pace = ref("a", NOW);
    assert_ptr_equal(pace, ref("a", NOW));
    assert_ptr_not_equal(pace, ref("b", NOW));
    assert_int_equal(fill(pace, NOW), 16);
    assert_int_equal(fill(ref("b", NOW), NOW), 16);
    end(pace, PS_PACE_OTHER, 0, NOW);
    assert_int_equal(fill(pace, NOW), 1);
}

static void a_refusal_halves_once_a_second(void **state)
{
    (void)state;
    ps_paces_init(&paces, 16);
    struct ps_pace *pace = ref("a", NOW);
    assert_int_equal(fill(pace, NOW), 16);
    for (int i = 0; i < 16; i++) {
        end(pace, PS_PACE_REFUSED, 3 * SECOND, NOW + i);
    }
    assert_int_equal(fill(pace, NOW + 3 * SECOND), 0); /* the last one named a later time */
    int64_t later = NOW + 3 * SECOND + 15;
    assert_int_equal(fill(pace, later), 8);
    end(pace, PS_PACE_REFUSED, 0, later);
    assert_int_equal(fill(pace, later + SECOND), 0); /* refused twice in a row: two seconds */
    assert_int_equal(fill(pace, later + 2 * SECOND), 0);
    for (int i = 0; i < 7; i++) {
        end(pace, PS_PACE_OTHER, 0, later);
    }
    assert_int_equal(fill(pace, later + 2 * SECOND), 4);
}

static void it_never_falls_below_one(void **state)
{
    int64_t now = NOW;
    (void)state;
    ps_paces_init(&paces, 4);
    struct ps_pace *pace = ref("a", NOW);
    for (int i = 0; i < 40; i++) {
        assert_true(fill(pace, now) >= 1);
        while (pace->in_flight > 0) {
            end(pace, PS_PACE_REFUSED, 0, now);
        }
        assert_true(pace->not_before_us - now <= PS_PACE_PAUSE_MAX);
        now = pace->not_before_us;
    }
    assert_int_equal(fill(pace, now), 1);
}

static void success_opens_it_again(void **state)
{
    (void)state;
    ps_paces_init(&paces, 8);
    struct ps_pace *pace = ref("a", NOW);
    (void)fill(pace, NOW);
    while (pace->in_flight > 0) {
        end(pace, PS_PACE_REFUSED, 0, NOW);
    }
    int64_t now = pace->not_before_us;
    assert_int_equal(fill(pace, now), 4);
    for (unsigned want = 5; want <= 8; want++) {
        for (int round = 0; round < 2;
             round++) { /* the sum of 1/n over a round is a little short */
            unsigned running = pace->in_flight;
            for (unsigned i = 0; i < running; i++) {
                end(pace, PS_PACE_OK, 0, now);
            }
            (void)fill(pace, now);
        }
        assert_true(pace->in_flight >= want);
    }
    assert_true(pace->limit <= 8);
    assert_int_equal(pace->refusals, 0);
}

/* More models than places: those that hold nobody back make room, else all share one. */
static void many_models(void **state)
{
    char name[32];
    (void)state;
    ps_paces_init(&paces, 8);
    struct ps_pace *first = ref("first", NOW);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "m%d", i);
        struct ps_pace *pace = ref(name, NOW + i);
        assert_ptr_not_equal(pace, &paces.crowd);
        assert_ptr_not_equal(pace, first);
        ps_pace_unref(pace);
    }
    assert_ptr_equal(ref("first", NOW), first);
    for (int i = 0; i < PS_PACES - 1; i++) {
        (void)snprintf(name, sizeof(name), "held%d", i);
        assert_ptr_not_equal(ref(name, NOW), &paces.crowd);
    }
    assert_ptr_equal(ref("one more", NOW), &paces.crowd);
    assert_int_equal(fill(&paces.crowd, NOW), 8);
}

static void long_names(void **state)
{
    char name[400];
    (void)state;
    ps_paces_init(&paces, 8);
    for (size_t i = 0; i < sizeof(name); i++) {
        name[i] = 'x';
    }
    struct ps_pace *pace = ps_pace_ref(&paces, ps_slice(name, sizeof(name)), NOW);
    assert_ptr_equal(ps_pace_ref(&paces, ps_slice(name, sizeof(name)), NOW), pace);
    assert_ptr_not_equal(ps_pace_ref(&paces, PS_SLICE_NONE, NOW), pace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_held_back_before_a_refusal),
        cmocka_unit_test(a_refusal_halves_once_a_second),
        cmocka_unit_test(it_never_falls_below_one),
        cmocka_unit_test(success_opens_it_again),
        cmocka_unit_test(many_models),
        cmocka_unit_test(long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
