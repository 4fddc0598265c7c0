/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-timeout: 240 */
#include "jobs/world.h"
#include "jobs_priv.h"
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/mem.h"

#include <stdio.h>
#include <string.h>

/*
 * Of the loop's allocations while a job and a batch are run, one fails, each in its turn: whatever
 * was accepted ends all the same, once the lease of what was dropped has run out.
 */

static const struct world_script scripts[] = {
    {"good", {{200, NULL, NULL, false}}},
    {NULL, {{0, NULL, NULL, false}}},
};

#define LINE(id)                                                                                   \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/generate\",\"body\":{\"prompt\":"    \
    "\"x\"}}\n"

static bool over(struct world *w, const char *job, const char *batch)
{
    return world_see_job(w, job)->status >= PS_JOB_COMPLETED &&
           world_see_batch(w, batch)->status >= PS_BATCH_COMPLETED;
}

static bool is_quiet(const struct ps_jobs *jobs)
{
    return jobs->waiting_count + jobs->asking_count + jobs->telling_count == 0 &&
           ps_list_empty(&jobs->desks);
}

static void one_allocation_fails(void **state)
{
    struct world w;
    struct ps_jobs_times times = ps_jobs_usual_times;
    int64_t made = INT64_MAX;
    unsigned round = 0;
    (void)state;
    world_open(&w);
    world_start(&w);
    times.lease_ms = 100;
    times.renew_us = 30000;
    times.tick_us = 50000;
    times.retry_us = 2000;
    times.backoff_ms = 1;
    times.backoff_cap_ms = 2;
    times.count_us = 1000;
    times.poke_us = 1000;
    ps_jobs_tune(w.jobs, &times);
    for (int64_t nth = 0; nth < made && nth < 2000; nth += 1 + nth / 40) {
        char job[32];
        char batch[32];
        (void)snprintf(job, sizeof(job), "job_%u", round);
        (void)snprintf(batch, sizeof(batch), "batch_%u", round++);
        world_job(&w, job, "/v1/chat/completions",
                  "{\"model\":\"good/m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", 0);
        world_batch(&w, batch, "/generate", LINE("a") LINE("b"), 0);
        unsigned calls = world_calls("good");
        (void)ps_mem_fail_after(nth);
        int64_t deadline = ps_clock_us() + 20000000;
        bool counted = false;
        do {
            int64_t before = ps_clock_us();
            world_turn(&w);
            assert_true(before < deadline);
            /* Looking allocates, too: only when all has run, or something waits for its lease. */
            bool ran = world_calls("good") >= calls + 3 && is_quiet(w.jobs);
            if (!counted && (ran || before > deadline - 19800000)) {
                made = ps_mem_fail_after(-1);
                counted = true;
            }
        } while (!counted || !over(&w, job, batch));
        assert_int_equal(world_see_batch(&w, batch)->status, PS_BATCH_COMPLETED);
        assert_int_equal(world_see_batch(&w, batch)->total, 2);
    }
    assert_true(round > 20);
    world_close(&w);
}

static int set_up(void **state)
{
    (void)state;
    world_set_up(scripts);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_tear_down();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_allocation_fails)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
