/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "store/depot.h"
#include "testing.h"

#include "penstock/base/clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define NOW 1000000
#define DAY 86400000

static struct depot depot;

static int set_up(void **state)
{
    (void)state;
    depot_make(&depot);
    depot_open(&depot);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    depot_close(&depot);
    depot_remove(&depot);
    return 0;
}

static struct ps_store_claim take_one(int64_t now_ms, const char *expected)
{
    struct ps_store_command *take = depot_take(now_ms, 1);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, 1);
    assert_string_equal(take->out.claims[0].id.text, expected);
    /* Only what depot_settle looks at outlives the command. */
    struct ps_store_claim claim = take->out.claims[0];
    ps_store_command_free(take);
    return claim;
}

static void take_nothing(int64_t now_ms, int64_t next_ms)
{
    struct ps_store_command *take = depot_take(now_ms, 9);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, 0);
    assert_int_equal(take->out.next_ms, next_ms);
    ps_store_command_free(take);
}

static struct ps_store_command *get_job(const char *id)
{
    struct ps_store_command *get = depot_on(PS_STORE_JOB_GET, "t", id, 0);
    depot_ask(&depot, get, PS_STORE_OK);
    return get;
}

static void expect_status(const char *id, enum ps_job_status status)
{
    struct ps_store_command *get = get_job(id);
    assert_int_equal(get->out.jobs[0].status, status);
    ps_store_command_free(get);
}

static struct ps_store_command *defer(const struct ps_store_claim *claim, int64_t run_at_ms,
                                      bool counts)
{
    struct ps_store_command *command = depot_on(PS_STORE_DEFER, "", "", NOW);
    command->in.ref = (struct ps_store_ref){claim->id, claim->line, claim->fence};
    command->in.run_at_ms = run_at_ms;
    command->in.counts = counts;
    command->in.error = PS_SLICE_LIT("{\"code\":\"later\"}");
    return command;
}

static void a_job_runs_once_and_is_answered_once(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    struct ps_store_claim claim = take_one(NOW + 5, "job_1");
    assert_int_equal(claim.line, -1);
    assert_int_equal(claim.attempt, 1);
    take_nothing(NOW + 6, 0);
    struct ps_store_command *get = get_job("job_1");
    assert_int_equal(get->out.jobs[0].status, PS_JOB_RUNNING);
    assert_int_equal(get->out.jobs[0].started_ms, NOW + 5);
    assert_true(ps_slice_eq_cstr(get->out.jobs[0].request.bytes, "{\"prompt\":\"hi\"}"));
    ps_store_command_free(get);

    depot_run(&depot, depot_settle(&claim, PS_JOB_COMPLETED, NOW + 7), PS_STORE_OK);
    depot_run(&depot, depot_settle(&claim, PS_JOB_FAILED, NOW + 8), PS_STORE_STALE);
    get = get_job("job_1");
    const struct ps_store_job *job = &get->out.jobs[0];
    assert_int_equal(job->status, PS_JOB_COMPLETED);
    assert_int_equal(job->ended_ms, NOW + 7);
    assert_int_equal(job->attempts, 1);
    assert_int_equal(job->http_status, 200);
    assert_true(ps_slice_eq_cstr(job->request_id, "req_1"));
    assert_true(ps_slice_eq_cstr(job->result.bytes, "{\"ok\":true}"));
    ps_store_command_free(get);
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "u", "job_1", 0), PS_STORE_NOT_FOUND);
    depot_run(&depot, depot_on(PS_STORE_JOB_CANCEL, "u", "job_1", 0), PS_STORE_NOT_FOUND);
}

static void a_deferred_job_waits_for_its_time(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    struct ps_store_claim first = take_one(NOW, "job_1");
    depot_run(&depot, defer(&first, NOW + 500, false), PS_STORE_OK);
    depot_run(&depot, defer(&first, NOW, false), PS_STORE_STALE);
    take_nothing(NOW + 499, NOW + 500);
    struct ps_store_claim second = take_one(NOW + 500, "job_1");
    assert_int_equal(second.attempt, 1);
    assert_true(second.fence > first.fence);
    depot_run(&depot, defer(&second, NOW + 600, true), PS_STORE_OK);
    struct ps_store_command *get = get_job("job_1");
    assert_true(ps_slice_eq_cstr(get->out.jobs[0].error, "{\"code\":\"later\"}"));
    ps_store_command_free(get);
    struct ps_store_claim third = take_one(NOW + 600, "job_1");
    assert_int_equal(third.attempt, 2);
    depot_run(&depot, depot_settle(&first, PS_JOB_COMPLETED, NOW), PS_STORE_STALE);
    depot_run(&depot, depot_settle(&third, PS_JOB_COMPLETED, NOW), PS_STORE_OK);
}

static struct ps_store_command *renew(const struct ps_store_claim *claim, int64_t now_ms)
{
    struct ps_store_command *command = depot_on(PS_STORE_RENEW, "", "", now_ms);
    struct ps_store_ref *ref = ps_arena_calloc(&command->arena, sizeof(*ref));
    assert_non_null(ref);
    *ref = (struct ps_store_ref){claim->id, claim->line, claim->fence};
    command->in.lease_ms = 60000;
    command->in.refs = ref;
    command->in.ref_count = 1;
    return command;
}

static void a_claim_runs_out_unless_it_is_renewed(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    struct ps_store_claim first = take_one(NOW, "job_1");
    struct ps_store_command *command = renew(&first, NOW + 50000);
    depot_ask(&depot, command, PS_STORE_OK);
    assert_int_equal(command->out.stale_count, 0);
    ps_store_command_free(command);
    take_nothing(NOW + 109999, 0);
    struct ps_store_claim second = take_one(NOW + 110000, "job_1");
    assert_int_equal(second.lost, 1);
    assert_int_equal(second.attempt, 1);
    command = renew(&first, NOW + 110000);
    depot_ask(&depot, command, PS_STORE_OK);
    assert_int_equal(command->out.stale_count, 1);
    assert_int_equal(command->out.stale[0].fence, first.fence);
    ps_store_command_free(command);
}

/* What a stale answer brought along is removed; what the row names stays. */
static void the_blob_of_a_stale_answer_goes(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    struct ps_store_claim claim = take_one(NOW, "job_1");
    struct ps_blob_name kept = depot_blob(&depot, "answer");
    struct ps_blob_name late = depot_blob(&depot, "late answer");
    for (int i = 0; i < 2; i++) { /* told twice: the second time it is stale */
        struct ps_store_command *settle = depot_settle(&claim, PS_JOB_COMPLETED, NOW);
        settle->in.settlement.body = (struct ps_store_body){.blob = kept, .length = 6};
        depot_run(&depot, settle, i == 0 ? PS_STORE_OK : PS_STORE_STALE);
    }
    struct ps_store_command *settle = depot_settle(&claim, PS_JOB_COMPLETED, NOW);
    settle->in.settlement.body = (struct ps_store_body){.blob = late, .length = 11};
    depot_run(&depot, settle, PS_STORE_STALE);
    assert_true(depot_has_blob(&depot, &kept));
    assert_false(depot_has_blob(&depot, &late));
}

static void cancelled_jobs_do_not_run(void **state)
{
    (void)state;
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_job_add("t", "job_2", NOW + 1), PS_STORE_OK);
    struct ps_store_claim claim = take_one(NOW + 1, "job_1");
    depot_run(&depot, depot_on(PS_STORE_JOB_CANCEL, "t", "job_1", NOW + 2), PS_STORE_OK);
    struct ps_store_command *cancel = depot_on(PS_STORE_JOB_CANCEL, "t", "job_2", NOW + 2);
    depot_ask(&depot, cancel, PS_STORE_OK);
    assert_int_equal(cancel->out.jobs[0].status, PS_JOB_CANCELLED);
    assert_int_equal(cancel->out.jobs[0].ended_ms, NOW + 2);
    ps_store_command_free(cancel);
    take_nothing(NOW + 3, 0);
    depot_run(&depot, depot_settle(&claim, PS_JOB_COMPLETED, NOW + 3), PS_STORE_STALE);
    expect_status("job_1", PS_JOB_CANCELLED);
    depot_run(&depot, depot_on(PS_STORE_JOB_CANCEL, "t", "job_1", NOW), PS_STORE_CONFLICT);
}

static struct ps_store_command *hook_take(int64_t now_ms)
{
    struct ps_store_command *command = depot_on(PS_STORE_HOOK_TAKE, "", "", now_ms);
    command->in.limit = 10;
    command->in.lease_ms = 1000;
    return command;
}

static struct ps_store_command *hook_settle(const char *id, uint64_t fence, int64_t run_at_ms)
{
    struct ps_store_command *command = depot_on(PS_STORE_HOOK_SETTLE, "", "", NOW);
    command->in.ref.id = depot_id(id);
    command->in.ref.fence = fence;
    command->in.run_at_ms = run_at_ms;
    return command;
}

static struct ps_store_command *job_with_hook(const char *id)
{
    struct ps_store_command *add = depot_job_add("t", id, NOW);
    add->in.job.webhook = PS_SLICE_LIT("https://example.org/hook");
    return add;
}

static void a_webhook_is_delivered_until_it_is_settled(void **state)
{
    (void)state;
    depot_run(&depot, job_with_hook("job_1"), PS_STORE_OK);
    struct ps_store_claim claim = take_one(NOW, "job_1");
    struct ps_store_command *settle = depot_settle(&claim, PS_JOB_COMPLETED, NOW);
    settle->in.hook_type = PS_SLICE_LIT("job.completed");
    settle->in.hook_payload = PS_SLICE_LIT("{\"type\":\"job.completed\"}");
    depot_run(&depot, settle, PS_STORE_OK);

    struct ps_store_command *hooks = hook_take(NOW);
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 1);
    assert_int_equal(hooks->out.hooks[0].attempt, 1);
    assert_true(ps_slice_eq_cstr(hooks->out.hooks[0].url, "https://example.org/hook"));
    assert_true(ps_slice_eq_cstr(hooks->out.hooks[0].payload, "{\"type\":\"job.completed\"}"));
    uint64_t fence = hooks->out.hooks[0].fence;
    ps_store_command_free(hooks);
    hooks = hook_take(NOW + 999);
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 0);
    ps_store_command_free(hooks);

    depot_run(&depot, hook_settle("job_1", fence, NOW + 5000), PS_STORE_OK);
    hooks = hook_take(NOW + 4999);
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 0);
    assert_int_equal(hooks->out.next_ms, NOW + 5000);
    ps_store_command_free(hooks);
    hooks = hook_take(NOW + 5000);
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 1);
    assert_int_equal(hooks->out.hooks[0].attempt, 2);
    uint64_t second = hooks->out.hooks[0].fence;
    ps_store_command_free(hooks);
    depot_run(&depot, hook_settle("job_1", fence, 0), PS_STORE_STALE);
    depot_run(&depot, hook_settle("job_1", second, 0), PS_STORE_OK);
    depot_run(&depot, hook_settle("job_1", second, 0), PS_STORE_STALE);
    hooks = hook_take(NOW + 99999);
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 0);
    ps_store_command_free(hooks);
}

static void add_hook(const char *id, const char *url)
{
    struct ps_store_command *add = depot_job_add("t", id, NOW);
    add->in.job.webhook = depot_text(url);
    depot_run(&depot, add, PS_STORE_OK);
    struct ps_store_command *cancel = depot_on(PS_STORE_JOB_CANCEL, "t", id, NOW);
    cancel->in.hook_type = PS_SLICE_LIT("job.cancelled");
    cancel->in.hook_payload = PS_SLICE_LIT("{}");
    depot_run(&depot, cancel, PS_STORE_OK);
}

/* How many of each receiver's were taken. */
static bool take_hooks(uint32_t limit, int64_t now_ms, size_t *ret_a, size_t *ret_b)
{
    struct ps_store_command *hooks = hook_take(now_ms);
    hooks->in.limit = limit;
    hooks->in.per_host = 3;
    depot_ask(&depot, hooks, PS_STORE_OK);
    *ret_a = 0;
    *ret_b = 0;
    for (size_t i = 0; i < hooks->out.hook_count; i++) {
        bool a = hooks->out.hooks[i].id.text[4] == 'a';
        *(a ? ret_a : ret_b) += 1;
    }
    bool more = hooks->out.more;
    ps_store_command_free(hooks);
    return more;
}

static void one_receiver_keeps_nobody_waiting(void **state)
{
    static const char *const urls[] = {"https://a.example:1/x", "https://A.Example:1?y=/",
                                       "https://a.example:1"};
    size_t a;
    size_t b;
    (void)state;
    for (int i = 0; i < 9; i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), "job_a%d", i);
        add_hook(id, urls[i % 3]);
    }
    add_hook("job_b0", "https://b.example/");
    add_hook("job_b1", "http://b.example/");
    assert_true(take_hooks(32, NOW, &a, &b));
    assert_int_equal(a, 3);
    assert_int_equal(b, 2);
    assert_true(take_hooks(32, NOW, &a, &b));
    assert_int_equal(a + b, 0);
    depot_run(&depot, hook_settle("job_a0", 1, 0), PS_STORE_OK);
    depot_run(&depot, hook_settle("job_a1", 1, NOW + 7), PS_STORE_OK);
    assert_true(take_hooks(32, NOW, &a, &b));
    assert_int_equal(a, 2);
    /* Leases that ran out; and nobody is first twice. */
    size_t sum = 0;
    for (int i = 0; i < 4; i++) {
        (void)take_hooks(1, NOW + 1000 + i, &a, &b);
        sum += b;
    }
    assert_in_range(sum, 2, 3);
}

/* By DUE, and by TAKE that comes across one; either way its webhook knows. */
static void jobs_expire_in_the_queue(void **state)
{
    (void)state;
    depot_run(&depot, job_with_hook("job_1"), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_DUE, "", "", NOW + DAY), PS_STORE_OK);
    expect_status("job_1", PS_JOB_EXPIRED);
    depot_run(&depot, job_with_hook("job_2"), PS_STORE_OK);
    take_nothing(NOW + DAY, 0);
    expect_status("job_2", PS_JOB_EXPIRED);
    struct ps_store_command *hooks = hook_take(NOW + DAY);
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 2);
    assert_true(ps_slice_eq_cstr(hooks->out.hooks[0].type, "job.expired"));
    assert_int_equal(hooks->out.hooks[0].payload.len, 0);
    ps_store_command_free(hooks);
}

static void jobs_expire_in_slices(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%03d", i);
        depot_run(&depot, depot_job_add("t", id, NOW), PS_STORE_OK);
    }
    struct ps_store_command *due = depot_on(PS_STORE_DUE, "", "", NOW + DAY);
    depot_ask(&depot, due, PS_STORE_OK);
    assert_true(due->out.more);
    ps_store_command_free(due);
    due = depot_on(PS_STORE_DUE, "", "", NOW + DAY);
    depot_ask(&depot, due, PS_STORE_OK);
    assert_false(due->out.more);
    ps_store_command_free(due);
    struct ps_store_command *sweep = depot_on(PS_STORE_SWEEP, "", "", NOW + 2 * DAY);
    sweep->in.keep_ms = DAY;
    depot_ask(&depot, sweep, PS_STORE_OK);
    assert_true(sweep->out.more);
    ps_store_command_free(sweep);
    struct ps_store_command *count = depot_on(PS_STORE_COUNT, "", "", NOW);
    depot_ask(&depot, count, PS_STORE_OK);
    assert_int_equal(count->out.counts.jobs[PS_JOB_EXPIRED], 300 - 256);
    ps_store_command_free(count);
}

static struct ps_store_command *add_with_key(const char *tenant, const char *id, const char *key,
                                             unsigned char hash, int64_t now_ms)
{
    struct ps_store_command *add = depot_job_add(tenant, id, now_ms);
    add->in.idempotency.key = ps_store_command_copy(add, ps_slice_cstr(key));
    memset(add->in.idempotency.hash, hash, sizeof(add->in.idempotency.hash));
    return add;
}

static void a_repeated_request_makes_no_second_job(void **state)
{
    (void)state;
    depot_run(&depot, add_with_key("t", "job_1", "k", 1, NOW), PS_STORE_OK);
    struct ps_store_command *again = add_with_key("t", "job_2", "k", 1, NOW + 1);
    depot_ask(&depot, again, PS_STORE_REPEATED);
    assert_string_equal(again->out.jobs[0].id.text, "job_1");
    ps_store_command_free(again);
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_2", 0), PS_STORE_NOT_FOUND);
    depot_run(&depot, add_with_key("t", "job_3", "k", 2, NOW + 1), PS_STORE_REUSED);
    depot_run(&depot, add_with_key("u", "job_4", "k", 2, NOW + 1), PS_STORE_OK);
    depot_run(&depot, add_with_key("t", "job_5", "l", 1, NOW + 1), PS_STORE_OK);
    depot_run(&depot, add_with_key("t", "job_6", "k", 2, NOW + DAY), PS_STORE_OK);
    depot_run(&depot, add_with_key("t", "job_7", "k", 2, NOW + DAY), PS_STORE_REPEATED);
    /* A job of that id is there already. */
    depot_run(&depot, depot_job_add("t", "job_1", NOW), PS_STORE_CONFLICT);

    depot_run(&depot, depot_file_add("t", "file-1", ""), PS_STORE_OK);
    for (int i = 0; i < 2; i++) {
        struct ps_store_command *add =
            depot_batch_add("t", i == 0 ? "batch_1" : "batch_2", "file-1", NOW);
        add->in.idempotency.key = PS_SLICE_LIT("k"); /* of batches: no job's */
        depot_ask(&depot, add, i == 0 ? PS_STORE_OK : PS_STORE_REPEATED);
        assert_string_equal(add->out.batches[0].id.text, "batch_1");
        ps_store_command_free(add);
    }
}

static void add_job(const char *tenant, const char *id, int priority)
{
    struct ps_store_command *add = depot_job_add(tenant, id, NOW);
    add->in.job.priority = priority;
    depot_run(&depot, add, PS_STORE_OK);
}

static void expect_order(const char *const *ids, size_t count)
{
    struct ps_store_command *take = depot_take(NOW, (uint32_t)count);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, count);
    assert_int_equal(take->out.next_ms, NOW);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(take->out.claims[i].id.text, ids[i]);
    }
    ps_store_command_free(take);
}

static void work_is_shared_out(void **state)
{
    static const char *const first[] = {"job_a3", "batch_b", "job_a1"};
    static const char *const second[] = {"job_b1", "job_a2", "batch_b"};
    (void)state;
    depot_start_batch(&depot, "b", "batch_b", 3, NOW);
    add_job("a", "job_a1", 0);
    add_job("a", "job_a2", 0);
    add_job("a", "job_a3", 7); /* higher goes first, but only among its own */
    add_job("b", "job_b1", 0);
    expect_order(first, 3);
    expect_order(second, 3); /* goes on where it was */
}

static void batches_of_a_tenant_take_turns(void **state)
{
    static const char *const turns[] = {"batch_1", "batch_2", "batch_3", "batch_1", "batch_2"};
    static const char *const skipped[] = {"batch_3", "batch_1", "batch_3", "batch_1"};
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 9, NOW);
    depot_start_batch(&depot, "t", "batch_2", 9, NOW);
    depot_start_batch(&depot, "t", "batch_3", 9, NOW);
    expect_order(turns, 5);
    struct ps_store_command *take = depot_take(NOW, 4);
    struct ps_id skip = depot_id("batch_2");
    take->in.skip = &skip;
    take->in.skip_count = 1;
    depot_ask(&depot, take, PS_STORE_OK);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(take->out.claims[i].id.text, skipped[i]);
    }
    ps_store_command_free(take);
}

static void jobs_are_listed(void **state)
{
    (void)state;
    for (int i = 1; i <= 4; i++) {
        char id[] = "job_0";
        id[4] = (char)('0' + i);
        depot_run(&depot, depot_job_add("t", id, NOW), PS_STORE_OK);
    }
    depot_run(&depot, depot_on(PS_STORE_JOB_CANCEL, "t", "job_2", NOW), PS_STORE_OK);
    struct ps_store_command *list = depot_on(PS_STORE_JOB_LIST, "t", "", 0);
    list->in.list.limit = 3;
    depot_ask(&depot, list, PS_STORE_OK);
    assert_int_equal(list->out.job_count, 3);
    assert_true(list->out.more);
    assert_string_equal(list->out.jobs[0].id.text, "job_4");
    assert_int_equal(list->out.jobs[0].request.bytes.len, 0);
    ps_store_command_free(list);
    list = depot_on(PS_STORE_JOB_LIST, "t", "", 0);
    list->in.list.by_status = true;
    list->in.list.status = PS_JOB_QUEUED;
    list->in.list.ascending = true;
    list->in.list.after = depot_id("job_1");
    depot_ask(&depot, list, PS_STORE_OK);
    assert_int_equal(list->out.job_count, 2);
    assert_string_equal(list->out.jobs[0].id.text, "job_3");
    ps_store_command_free(list);
}

static struct ps_store_command *on_object(enum ps_store_verb verb, const char *tenant,
                                          const char *id, int64_t now_ms)
{
    struct ps_store_command *command = depot_on(verb, tenant, id, now_ms);
    command->in.object = (struct ps_store_object){
        .kind = PS_SLICE_LIT("response"),
        .tenant = command->in.tenant,
        .id = depot_id(id),
        .created_ms = NOW,
        .expires_ms = NOW + 100,
        .value = PS_SLICE_LIT("{\"a\":1}"),
    };
    return command;
}

static void objects_live_their_time(void **state)
{
    (void)state;
    depot_run(&depot, on_object(PS_STORE_OBJECT_PUT, "t", "resp_1", NOW), PS_STORE_OK);
    struct ps_store_command *put = on_object(PS_STORE_OBJECT_PUT, "t", "resp_1", NOW);
    put->in.object.value = PS_SLICE_LIT("{\"a\":2}");
    depot_run(&depot, put, PS_STORE_OK);
    struct ps_store_command *get = on_object(PS_STORE_OBJECT_GET, "t", "resp_1", NOW + 99);
    depot_ask(&depot, get, PS_STORE_OK);
    assert_true(ps_slice_eq_cstr(get->out.object.value, "{\"a\":2}"));
    assert_int_equal(get->out.object.expires_ms, NOW + 100);
    ps_store_command_free(get);
    depot_run(&depot, on_object(PS_STORE_OBJECT_GET, "u", "resp_1", NOW), PS_STORE_NOT_FOUND);
    depot_run(&depot, on_object(PS_STORE_OBJECT_GET, "t", "resp_1", NOW + 100), PS_STORE_NOT_FOUND);
    depot_run(&depot, on_object(PS_STORE_OBJECT_GET, "t", "resp_1", 0), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_SWEEP, "", "", NOW + 100), PS_STORE_OK);
    depot_run(&depot, on_object(PS_STORE_OBJECT_GET, "t", "resp_1", 0), PS_STORE_NOT_FOUND);
    depot_run(&depot, on_object(PS_STORE_OBJECT_PUT, "t", "resp_1", NOW), PS_STORE_OK);
    depot_run(&depot, on_object(PS_STORE_OBJECT_DELETE, "u", "resp_1", NOW), PS_STORE_NOT_FOUND);
    depot_run(&depot, on_object(PS_STORE_OBJECT_DELETE, "t", "resp_1", NOW), PS_STORE_OK);
    depot_run(&depot, on_object(PS_STORE_OBJECT_DELETE, "t", "resp_1", NOW), PS_STORE_NOT_FOUND);
}

static void old_things_are_swept(void **state)
{
    (void)state;
    struct ps_blob_name input = depot_blob(&depot, "file");
    struct ps_store_command *file = depot_file_add("t", "file-1", input.text);
    file->in.file.expires_ms = NOW + 10;
    depot_run(&depot, file, PS_STORE_OK);
    struct ps_blob_name request = depot_blob(&depot, "request");
    struct ps_store_command *add = depot_job_add("t", "job_1", NOW);
    add->in.job.request = (struct ps_store_body){.blob = request, .length = 7};
    depot_run(&depot, add, PS_STORE_OK);
    struct ps_store_claim claim = take_one(NOW, "job_1");
    depot_run(&depot, depot_settle(&claim, PS_JOB_COMPLETED, NOW), PS_STORE_OK);

    depot_run(&depot, depot_on(PS_STORE_SWEEP, "", "", NOW + 9), PS_STORE_OK);
    assert_true(depot_has_blob(&depot, &input));
    struct ps_store_command *sweep = depot_on(PS_STORE_SWEEP, "", "", NOW + 10);
    sweep->in.keep_ms = 11;
    depot_run(&depot, sweep, PS_STORE_OK);
    assert_false(depot_has_blob(&depot, &input));
    expect_status("job_1", PS_JOB_COMPLETED);
    sweep = depot_on(PS_STORE_SWEEP, "", "", NOW + 10);
    sweep->in.keep_ms = 10;
    depot_run(&depot, sweep, PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_JOB_GET, "t", "job_1", 0), PS_STORE_NOT_FOUND);
    assert_false(depot_has_blob(&depot, &request));
}

/* In the background, after SWEEP. What is young stays: see tests/unit/store/test_model.c. */
static void orphans_are_swept(void **state)
{
    (void)state;
    struct ps_blob_name named = depot_blob(&depot, "named");
    struct ps_blob_name orphan = depot_blob(&depot, "orphan");
    depot_run(&depot, depot_file_add("t", "file-1", named.text), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_SWEEP, "", "", ps_clock_wall_ms() + 3700000), PS_STORE_OK);
    for (int i = 0; i < 3000 && depot_has_blob(&depot, &orphan); i++) {
        (void)poll(NULL, 0, 10);
    }
    assert_false(depot_has_blob(&depot, &orphan));
    assert_true(depot_has_blob(&depot, &named));
}

static void counts_are_of_everything(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 5, NOW);
    depot_run(&depot, depot_job_add("u", "job_1", NOW - 7), PS_STORE_OK);
    struct ps_store_command *count = depot_on(PS_STORE_COUNT, "", "", NOW);
    depot_ask(&depot, count, PS_STORE_OK);
    assert_int_equal(count->out.counts.oldest_ready_ms, NOW - 7);
    ps_store_command_free(count);
    struct ps_store_command *take = depot_take(NOW, 3);
    depot_ask(&depot, take, PS_STORE_OK);
    ps_store_command_free(take);
    count = depot_on(PS_STORE_COUNT, "", "", NOW);
    depot_ask(&depot, count, PS_STORE_OK);
    assert_int_equal(count->out.counts.jobs[PS_JOB_RUNNING], 1);
    assert_int_equal(count->out.counts.lines_waiting, 3);
    assert_int_equal(count->out.counts.lines_running, 2);
    assert_int_equal(count->out.counts.batches[PS_BATCH_IN_PROGRESS], 1);
    assert_int_equal(count->out.counts.files, 1);
    assert_int_equal(count->out.counts.file_bytes, 100);
    ps_store_command_free(count);
}

/* Another run: what the last one had claimed is free at once. */
static void a_new_run_takes_over(void **state)
{
    (void)state;
    assert_false(ps_store_exists(depot.store));
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    depot_run(&depot, depot_job_add("u", "job_1", NOW), PS_STORE_OK);
    struct ps_store_command *take = depot_take(NOW, 2);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, 2);
    depot_close(&depot);
    depot_open(&depot);
    assert_true(ps_store_exists(depot.store));
    take_nothing(NOW + 1, 0);
    depot_run(&depot, depot_on(PS_STORE_RECOVER, "", "", NOW + 1), PS_STORE_OK);
    depot_run(&depot, depot_settle(&take->out.claims[0], PS_JOB_COMPLETED, NOW), PS_STORE_STALE);
    ps_store_command_free(take);
    take = depot_take(NOW + 1, 5);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, 2);
    assert_int_equal(take->out.claims[0].lost, 1);
    assert_int_equal(take->out.claims[0].fence, 2);
    ps_store_command_free(take);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_job_runs_once_and_is_answered_once),
        TEST(a_deferred_job_waits_for_its_time),
        TEST(a_claim_runs_out_unless_it_is_renewed),
        TEST(the_blob_of_a_stale_answer_goes),
        TEST(cancelled_jobs_do_not_run),
        TEST(a_webhook_is_delivered_until_it_is_settled),
        TEST(one_receiver_keeps_nobody_waiting),
        TEST(jobs_expire_in_the_queue),
        TEST(jobs_expire_in_slices),
        TEST(a_repeated_request_makes_no_second_job),
        TEST(work_is_shared_out),
        TEST(batches_of_a_tenant_take_turns),
        TEST(jobs_are_listed),
        TEST(objects_live_their_time),
        TEST(old_things_are_swept),
        TEST(orphans_are_swept),
        TEST(counts_are_of_everything),
        TEST(a_new_run_takes_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
