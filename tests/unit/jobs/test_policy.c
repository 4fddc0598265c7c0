/* SPDX-License-Identifier: Apache-2.0 */
#include "id_set.h"
#include "jobs_priv.h"
#include "testing.h"

#include "penstock/base/mem.h"

#include <stdio.h>

static void what_a_status_means(void **state)
{
    static const struct {
        int status;
        enum ps_jobs_verdict verdict;
    } rows[] = {
        {200, PS_JOBS_FINAL},  {201, PS_JOBS_FINAL},   {299, PS_JOBS_FINAL},
        {400, PS_JOBS_FINAL},  {401, PS_JOBS_FINAL},   {404, PS_JOBS_FINAL},
        {408, PS_JOBS_FAILED}, {409, PS_JOBS_FAILED},  {413, PS_JOBS_FINAL},
        {422, PS_JOBS_FINAL},  {428, PS_JOBS_FINAL},   {429, PS_JOBS_REFUSED},
        {500, PS_JOBS_FAILED}, {502, PS_JOBS_FAILED},  {503, PS_JOBS_REFUSED},
        {504, PS_JOBS_FAILED}, {529, PS_JOBS_REFUSED}, {599, PS_JOBS_FAILED},
        {302, PS_JOBS_FAILED}, {0, PS_JOBS_FAILED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ps_jobs_judge(rows[i].status) != rows[i].verdict) {
            fail_msg("status %d", rows[i].status);
        }
    }
}

static void full_jitter(void **state)
{
    static const struct {
        unsigned attempt;
        int64_t most;
    } rows[] = {{1, 2000}, {2, 4000}, {5, 32000}, {9, 512000}, {10, 600000}, {4000000, 600000}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t most = (uint64_t)rows[i].most;
        assert_int_equal(ps_jobs_backoff_ms(rows[i].attempt, 1000, 600000, most), most);
        assert_int_equal(ps_jobs_backoff_ms(rows[i].attempt, 1000, 600000, most + 1), 0);
        for (uint64_t random = 1; random != 0; random <<= 1) {
            int64_t wait = ps_jobs_backoff_ms(rows[i].attempt, 1000, 600000, random - 1);
            assert_in_range(wait, 0, rows[i].most);
        }
    }
    assert_int_equal(ps_jobs_backoff_ms(3, 0, 0, 77), 0);
}

static void ids_are_told_apart(void **state)
{
    struct ps_id_set set = {0};
    char text[32];
    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            int len = snprintf(text, sizeof(text), "id-%u", i);
            assert_int_equal(ps_id_set_add(&set, ps_slice(text, (size_t)len)), round == 0);
        }
    }
    assert_int_equal(set.count, 5000);
    assert_int_equal(ps_id_set_add(&set, PS_SLICE_NONE), 1);
    assert_int_equal(ps_id_set_add(&set, PS_SLICE_NONE), 0);
    ps_id_set_deinit(&set);
}

static void no_memory_for_ids(void **state)
{
    struct ps_id_set set = {0};
    (void)state;
    (void)ps_mem_fail_after(0);
    assert_int_equal(ps_id_set_add(&set, PS_SLICE_LIT("a")), -1);
    (void)ps_mem_fail_after(-1);
    assert_int_equal(ps_id_set_add(&set, PS_SLICE_LIT("a")), 1);
    ps_id_set_deinit(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_status_means),
        cmocka_unit_test(full_jitter),
        cmocka_unit_test(ids_are_told_apart),
        cmocka_unit_test(no_memory_for_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
