/* SPDX-License-Identifier: Apache-2.0 */
#include "queue.h"
#include "testing.h"

#include <string.h>

static struct ps_queued item(const char *tenant, unsigned priority)
{
    return (struct ps_queued){.tenant = ps_slice_cstr(tenant), .tokens = 10, .priority = priority};
}

static void expect(struct ps_queue *queue, const char *tenants)
{
    for (const char *at = tenants; *at != '\0'; at++) {
        struct ps_queued *queued = ps_queue_pop(queue);
        assert_non_null(queued);
        assert_int_equal(queued->tenant.ptr[0], *at);
    }
}

static void in_order_for_one(void **state)
{
    struct ps_queue queue;
    struct ps_queued items[4];
    (void)state;
    ps_queue_init(&queue);
    for (int i = 0; i < 4; i++) {
        items[i] = item("a", 0);
        ps_queue_push(&queue, &items[i]);
    }
    assert_int_equal(queue.count, 4);
    assert_int_equal(queue.tokens, 40);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(ps_queue_pop(&queue), &items[i]);
    }
    assert_null(ps_queue_pop(&queue));
    assert_int_equal(queue.tokens, 0);
}

static void in_turns_for_many(void **state)
{
    static const char order[] = "aaaabbc";
    struct ps_queue queue;
    struct ps_queued items[16];
    char names[16][2];
    (void)state;
    ps_queue_init(&queue);
    for (size_t i = 0; order[i] != '\0'; i++) {
        names[i][0] = order[i];
        names[i][1] = '\0';
        items[i] = item(names[i], 0);
        ps_queue_push(&queue, &items[i]);
    }
    expect(&queue, "abcabaa");
    assert_null(ps_queue_pop(&queue));
}

static void a_newcomer_waits_one_round(void **state)
{
    struct ps_queue queue;
    struct ps_queued items[6];
    (void)state;
    ps_queue_init(&queue);
    for (int i = 0; i < 4; i++) {
        items[i] = item("a", 0);
        ps_queue_push(&queue, &items[i]);
    }
    expect(&queue, "a");
    items[4] = item("b", 0);
    ps_queue_push(&queue, &items[4]);
    expect(&queue, "ab");
    items[5] = item("b", 0);
    ps_queue_push(&queue, &items[5]);
    expect(&queue, "aba");
}

static void batches_last(void **state)
{
    struct ps_queue queue;
    struct ps_queued items[4];
    (void)state;
    ps_queue_init(&queue);
    items[0] = item("b", 1);
    items[1] = item("c", 1);
    items[2] = item("a", 0);
    items[3] = item("a", 0);
    for (int i = 0; i < 4; i++) {
        ps_queue_push(&queue, &items[i]);
    }
    expect(&queue, "aabc");
}

static int is_it(struct ps_queued *queued, void *arg)
{
    return queued == arg;
}

static void any_one_can_leave(void **state)
{
    (void)state;
    for (int gone = 0; gone < 6; gone++) {
        struct ps_queue queue;
        struct ps_queued items[6];
        size_t left = 0;
        ps_queue_init(&queue);
        for (int i = 0; i < 6; i++) {
            items[i] = item(i % 2 == 0 ? "a" : "b", 0);
            ps_queue_push(&queue, &items[i]);
        }
        assert_ptr_equal(ps_queue_find(&queue, is_it, &items[gone]), &items[gone]);
        ps_queue_remove(&queue, &items[gone]);
        assert_null(ps_queue_find(&queue, is_it, &items[gone]));
        bool seen[6] = {false};
        struct ps_queued *queued;
        while ((queued = ps_queue_pop(&queue)) != NULL) {
            seen[queued - items] = true;
            left++;
        }
        assert_int_equal(left, 5);
        assert_false(seen[gone]);
        assert_int_equal(queue.count, 0);
        assert_int_equal(queue.tokens, 0);
    }
}

static void deadlines(void **state)
{
    struct ps_queue queue;
    struct ps_queued items[5];
    const int64_t at[] = {0, 300, 100, 200, 100};
    int64_t next;
    (void)state;
    ps_queue_init(&queue);
    for (int i = 0; i < 5; i++) {
        items[i] = item(i < 3 ? "a" : "b", i == 4 ? 1 : 0);
        items[i].deadline_us = at[i];
        ps_queue_push(&queue, &items[i]);
    }
    assert_null(ps_queue_expired(&queue, 99, &next));
    assert_int_equal(next, 100);
    for (int i = 0; i < 2; i++) {
        struct ps_queued *queued = ps_queue_expired(&queue, 100, &next);
        assert_non_null(queued);
        assert_int_equal(queued->deadline_us, 100);
        ps_queue_remove(&queue, queued);
    }
    assert_null(ps_queue_expired(&queue, 100, &next));
    assert_int_equal(next, 200);
    expect(&queue, "aba");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_for_one),           cmocka_unit_test(in_turns_for_many),
        cmocka_unit_test(a_newcomer_waits_one_round), cmocka_unit_test(batches_last),
        cmocka_unit_test(any_one_can_leave),          cmocka_unit_test(deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
