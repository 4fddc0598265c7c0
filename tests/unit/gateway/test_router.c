/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/gateway/router.h"

#include <string.h>

#define TARGETS 4
#define SECOND  INT64_C(1000000)
#define START   (INT64_C(1000) * SECOND)

/* A route of four targets, each with an endpoint and a key of its own. */
struct fixture {
    struct ps_endpoint_state endpoints[TARGETS];
    struct ps_key_state keys[TARGETS];
    struct ps_credential credentials[TARGETS];
    struct ps_target targets[TARGETS];
    struct ps_route route;
};

static void init(struct fixture *f, enum ps_config_strategy strategy)
{
    memset(f, 0, sizeof(*f));
    for (size_t i = 0; i < TARGETS; i++) {
        f->credentials[i].state = &f->keys[i];
        f->targets[i].endpoint = &f->endpoints[i];
        f->targets[i].credential = &f->credentials[i];
        f->targets[i].weight = 1;
        f->targets[i].group = (uint32_t)i;
    }
    f->route.strategy = strategy;
    f->route.targets = f->targets;
    f->route.target_count = TARGETS;
    f->route.group_count = TARGETS;
}

static int index_of(const struct fixture *f, const struct ps_target *target)
{
    return target != NULL ? (int)(target - f->targets) : -1;
}

static int first(const struct fixture *f, int64_t now, uint32_t random)
{
    struct ps_routing routing;
    ps_routing_init(&routing, &f->route);
    return index_of(f, ps_routing_next(&routing, now, random));
}

static void break_down(struct fixture *f, int target, enum ps_verdict verdict, int64_t now,
                       int64_t retry_after)
{
    ps_target_begin(&f->targets[target]);
    ps_target_end(&f->targets[target], verdict, now, retry_after);
}

static void ordered_takes_them_in_order_each_once(void **state)
{
    (void)state;
    struct fixture f;
    struct ps_routing routing;
    init(&f, PS_STRATEGY_ORDERED);
    ps_routing_init(&routing, &f.route);
    for (int i = 0; i < TARGETS; i++) {
        assert_int_equal(index_of(&f, ps_routing_next(&routing, START, 12345u * (unsigned)i)), i);
    }
    assert_null(ps_routing_next(&routing, START, 7));
}

static void a_failed_target_is_left_out_until_its_time(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_ORDERED);
    break_down(&f, 0, PS_VERDICT_ENDPOINT, START, 0);
    assert_int_equal(first(&f, START + SECOND / 2, 0), 1);
    assert_int_equal(first(&f, START + SECOND, 0), 0);
    /* one request tries it, others still pass by */
    assert_int_equal(first(&f, START + SECOND, 0), 1);
    ps_target_begin(&f.targets[0]);
    ps_target_end(&f.targets[0], PS_VERDICT_OK, START + SECOND, 0);
    assert_int_equal(first(&f, START + SECOND, 0), 0);
}

static void the_cool_down_grows_and_is_capped(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_ORDERED);
    int64_t last = 0;
    for (int i = 0; i < 12; i++) {
        break_down(&f, 0, PS_VERDICT_ENDPOINT, START, 0);
        int64_t wait = ps_target_wait(&f.targets[0], START);
        assert_true(wait >= last);
        assert_true(wait <= 60 * SECOND);
        last = wait;
    }
    assert_int_equal(last, 60 * SECOND);
}

static void retry_after_wins_over_the_cool_down(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_ORDERED);
    break_down(&f, 0, PS_VERDICT_CREDENTIAL, START, 30 * SECOND);
    assert_int_equal(ps_target_wait(&f.targets[0], START), 30 * SECOND);
    break_down(&f, 1, PS_VERDICT_ENDPOINT, START, INT64_C(100000) * SECOND);
    assert_int_equal(ps_target_wait(&f.targets[1], START), 600 * SECOND);
}

static void a_key_at_fault_leaves_the_endpoint_to_others(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_ORDERED);
    f.targets[1].endpoint = &f.endpoints[0]; /* the same endpoint with another key */
    break_down(&f, 0, PS_VERDICT_CREDENTIAL, START, 0);
    assert_int_equal(first(&f, START, 0), 1);
    break_down(&f, 0, PS_VERDICT_ENDPOINT, START, 0);
    assert_int_equal(first(&f, START, 0), 2);
}

static void with_all_left_out_the_soonest_is_asked(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_ORDERED);
    for (int i = 0; i < TARGETS; i++) {
        break_down(&f, i, PS_VERDICT_ENDPOINT, START, (10 - i) * SECOND);
    }
    struct ps_routing routing;
    ps_routing_init(&routing, &f.route);
    assert_int_equal(index_of(&f, ps_routing_next(&routing, START, 0)), TARGETS - 1);
    assert_null(ps_routing_next(&routing, START, 0));
}

static void neutral_says_nothing(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_ORDERED);
    break_down(&f, 0, PS_VERDICT_ENDPOINT, START, 0);
    int64_t wait = ps_target_wait(&f.targets[0], START);
    break_down(&f, 0, PS_VERDICT_NEUTRAL, START, 0);
    assert_int_equal(ps_target_wait(&f.targets[0], START), wait);
    assert_int_equal(atomic_load(&f.endpoints[0].health.in_flight), 0);
}

static void least_busy_takes_the_least_for_its_weight(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, PS_STRATEGY_LEAST_BUSY);
    for (int i = 0; i < TARGETS; i++) {
        for (int k = 0; k < 4 - i; k++) {
            ps_target_begin(&f.targets[i]);
        }
    }
    for (uint32_t random = 0; random < 16; random++) {
        assert_int_equal(first(&f, START, random), 3);
    }
    f.targets[0].weight = 10; /* (4+1)/10 < (1+1)/1 */
    assert_int_equal(first(&f, START, 3), 0);
}

static void least_busy_breaks_ties_at_random(void **state)
{
    (void)state;
    struct fixture f;
    bool seen[TARGETS] = {false};
    init(&f, PS_STRATEGY_LEAST_BUSY);
    for (uint32_t random = 0; random < TARGETS; random++) {
        seen[first(&f, START, random)] = true;
    }
    for (int i = 0; i < TARGETS; i++) {
        assert_true(seen[i]);
    }
}

static void weighted_keeps_to_the_weights(void **state)
{
    (void)state;
    struct fixture f;
    int count[TARGETS] = {0};
    init(&f, PS_STRATEGY_WEIGHTED);
    f.targets[0].weight = 7;
    f.targets[1].weight = 2;
    f.targets[2].weight = 1;
    f.targets[3].weight = 0;
    for (uint32_t ticket = 0; ticket < 1000; ticket++) {
        count[first(&f, START, ticket)]++;
    }
    assert_int_equal(count[0], 700);
    assert_int_equal(count[1], 200);
    assert_int_equal(count[2], 100);
    assert_int_equal(count[3], 0);
    /* weight 0: only when nothing else is left */
    for (int i = 0; i < 3; i++) {
        break_down(&f, i, PS_VERDICT_ENDPOINT, START, 0);
    }
    assert_int_equal(first(&f, START, 5), 3);
}

static void replicas_of_a_group_share_its_weight(void **state)
{
    (void)state;
    struct fixture f;
    int count[TARGETS] = {0};
    init(&f, PS_STRATEGY_WEIGHTED);
    f.targets[1].group = 0; /* 0 and 1 are two endpoints of one target */
    f.targets[2].group = 1;
    f.targets[3].group = 1;
    f.route.group_count = 2;
    for (uint32_t ticket = 0; ticket < 1000; ticket++) {
        count[first(&f, START, ticket)]++;
    }
    assert_int_equal(count[0] + count[1], 500);
    assert_int_equal(count[2] + count[3], 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordered_takes_them_in_order_each_once),
        cmocka_unit_test(a_failed_target_is_left_out_until_its_time),
        cmocka_unit_test(the_cool_down_grows_and_is_capped),
        cmocka_unit_test(retry_after_wins_over_the_cool_down),
        cmocka_unit_test(a_key_at_fault_leaves_the_endpoint_to_others),
        cmocka_unit_test(with_all_left_out_the_soonest_is_asked),
        cmocka_unit_test(neutral_says_nothing),
        cmocka_unit_test(least_busy_takes_the_least_for_its_weight),
        cmocka_unit_test(least_busy_breaks_ties_at_random),
        cmocka_unit_test(weighted_keeps_to_the_weights),
        cmocka_unit_test(replicas_of_a_group_share_its_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
