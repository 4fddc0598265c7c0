/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "store/depot.h"
#include "testing.h"

#define NOW 1000000

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

/* Takes `count` pieces and settles them all alike. */
static bool work_off(size_t count, enum ps_job_status status)
{
    bool finished = false;
    struct ps_store_command *take = depot_take(NOW, (uint32_t)count);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(take->out.claim_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_false(finished);
        struct ps_store_command *settle = depot_settle(&take->out.claims[i], status, NOW + 1);
        depot_ask(&depot, settle, PS_STORE_OK);
        finished = settle->out.finished;
        ps_store_command_free(settle);
    }
    ps_store_command_free(take);
    return finished;
}

static struct ps_store_command *get_batch(const char *id)
{
    struct ps_store_command *get = depot_on(PS_STORE_BATCH_GET, "t", id, 0);
    depot_ask(&depot, get, PS_STORE_OK);
    assert_int_equal(get->out.batch_count, 1);
    return get;
}

static void finish(const char *id, struct ps_blob_name output)
{
    struct ps_store_command *command = depot_on(PS_STORE_BATCH_FINISH, "", id, NOW + 9);
    struct ps_store_file *file = ps_arena_calloc(&command->arena, sizeof(*file));
    file->id = depot_id("file-out");
    file->purpose = PS_SLICE_LIT("batch_output");
    file->blob = output;
    command->in.files = file;
    command->in.file_count = 1;
    command->in.batch.output_file = file->id;
    depot_run(&depot, command, PS_STORE_OK);
}

static void a_batch_runs_to_its_end(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 3, NOW);
    assert_false(work_off(2, PS_JOB_COMPLETED));
    assert_true(work_off(1, PS_JOB_FAILED));

    struct ps_store_command *get = get_batch("batch_1");
    const struct ps_store_batch *batch = &get->out.batches[0];
    assert_int_equal(batch->status, PS_BATCH_FINALIZING);
    assert_true(batch->ended);
    assert_int_equal(batch->total, 3);
    assert_int_equal(batch->completed, 2);
    assert_int_equal(batch->failed, 1);
    assert_int_equal(batch->input_tokens, 9);
    assert_true(ps_slice_eq_cstr(batch->metadata, "{\"a\":\"b\"}"));
    assert_int_equal(batch->finalizing_ms, NOW + 1);
    struct ps_blob_name input = batch->input;
    ps_store_command_free(get);

    struct ps_store_command *outcomes = depot_on(PS_STORE_OUTCOMES, "", "batch_1", 0);
    outcomes->in.limit = 2;
    depot_ask(&depot, outcomes, PS_STORE_OK);
    assert_int_equal(outcomes->out.outcome_count, 2);
    assert_true(outcomes->out.more);
    assert_int_equal(outcomes->out.outcomes[1].line, 1);
    assert_true(ps_slice_eq_cstr(outcomes->out.outcomes[1].custom_id, "c-1"));
    assert_true(ps_slice_eq_cstr(outcomes->out.outcomes[1].body.bytes, "{\"ok\":true}"));
    ps_store_command_free(outcomes);

    finish("batch_1", depot_blob(&depot, "output"));
    get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_COMPLETED);
    assert_int_equal(get->out.batches[0].completed_ms, NOW + 9);
    assert_string_equal(get->out.batches[0].output_file.text, "file-out");
    ps_store_command_free(get);
    /* The input belongs to its file as before. */
    assert_true(depot_has_blob(&depot, &input));
    depot_run(&depot, depot_on(PS_STORE_FILE_GET, "t", "file-out", 0), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_BATCH_FINISH, "", "batch_1", NOW), PS_STORE_CONFLICT);
    depot_run(&depot, depot_on(PS_STORE_OUTCOMES, "", "batch_1", 0), PS_STORE_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_runs_to_its_end, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
