/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "store/depot.h"
#include "testing.h"

#include <string.h>

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

/* One line in flight, one done, one waiting; then cancelled. */
static void a_cancelled_batch_keeps_what_was_in_flight(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 3, NOW);
    assert_false(work_off(1, PS_JOB_COMPLETED));
    struct ps_store_command *take = depot_take(NOW, 1);
    depot_ask(&depot, take, PS_STORE_OK);
    struct ps_store_command *cancel = depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW + 2);
    depot_ask(&depot, cancel, PS_STORE_OK);
    assert_int_equal(cancel->out.batches[0].status, PS_BATCH_CANCELLING);
    assert_int_equal(cancel->out.batches[0].cancelling_ms, NOW + 2);
    assert_false(cancel->out.batches[0].ended);
    ps_store_command_free(cancel);

    struct ps_store_command *nothing = depot_take(NOW, 5);
    depot_ask(&depot, nothing, PS_STORE_OK);
    assert_int_equal(nothing->out.claim_count, 0);
    assert_int_equal(nothing->out.next_ms, 0);
    ps_store_command_free(nothing);
    struct ps_store_command *settle = depot_settle(&take->out.claims[0], PS_JOB_COMPLETED, NOW + 3);
    depot_ask(&depot, settle, PS_STORE_OK);
    assert_true(settle->out.finished);
    ps_store_command_free(settle);
    ps_store_command_free(take);

    struct ps_store_command *get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_CANCELLING);
    assert_true(get->out.batches[0].ended);
    assert_int_equal(get->out.batches[0].completed, 2);
    assert_int_equal(get->out.batches[0].failed, 1);
    assert_int_equal(get->out.batches[0].canceled, 1);
    ps_store_command_free(get);
    struct ps_store_command *outcomes = depot_on(PS_STORE_OUTCOMES, "", "batch_1", 0);
    outcomes->in.after_line = 2;
    depot_ask(&depot, outcomes, PS_STORE_OK);
    assert_int_equal(outcomes->out.outcome_count, 1);
    assert_int_equal(outcomes->out.outcomes[0].status, PS_JOB_CANCELLED);
    assert_true(ps_slice_eq_cstr(outcomes->out.outcomes[0].custom_id, "c-2"));
    ps_store_command_free(outcomes);

    depot_run(&depot, depot_on(PS_STORE_BATCH_FINISH, "", "batch_1", NOW + 4), PS_STORE_OK);
    get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_CANCELLED);
    assert_int_equal(get->out.batches[0].cancelled_ms, NOW + 4);
    assert_int_equal(get->out.batches[0].completed_ms, 0);
    ps_store_command_free(get);
    cancel = depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW);
    depot_ask(&depot, cancel, PS_STORE_CONFLICT);
    assert_int_equal(cancel->out.batches[0].status, PS_BATCH_CANCELLED);
    ps_store_command_free(cancel);
}

static size_t count_due(int64_t now_ms, const char *id, bool ended)
{
    struct ps_store_command *due = depot_on(PS_STORE_DUE, "", "", now_ms);
    size_t found = 0;
    depot_ask(&depot, due, PS_STORE_OK);
    for (size_t i = 0; i < due->out.batch_count; i++) {
        const struct ps_store_batch *batch = &due->out.batches[i];
        found += strcmp(batch->id.text, id) == 0 && batch->ended == ended ? 1 : 0;
    }
    ps_store_command_free(due);
    return found;
}

static void an_expired_batch_gives_its_lines_up(void **state)
{
    int64_t late = NOW + 86400000;
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 3, NOW);
    struct ps_store_command *take = depot_take(NOW, 1);
    depot_ask(&depot, take, PS_STORE_OK);
    assert_int_equal(count_due(late - 1, "batch_1", true), 0);
    /* Its lease, too, is over by then: DUE gives the line back, and the batch has ended. */
    assert_int_equal(count_due(late, "batch_1", true), 1);
    depot_run(&depot, depot_settle(&take->out.claims[0], PS_JOB_COMPLETED, late), PS_STORE_STALE);
    ps_store_command_free(take);
    struct ps_store_command *get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_FINALIZING);
    assert_int_equal(get->out.batches[0].failed, 3);
    assert_int_equal(get->out.batches[0].expired, 3);
    ps_store_command_free(get);
    depot_run(&depot, depot_on(PS_STORE_BATCH_FINISH, "", "batch_1", late + 1), PS_STORE_OK);
    get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_EXPIRED);
    assert_int_equal(get->out.batches[0].expired_ms, late + 1);
    ps_store_command_free(get);
}

static void validation_may_begin_again(void **state)
{
    (void)state;
    struct ps_blob_name blob = depot_blob(&depot, "input");
    depot_run(&depot, depot_file_add("t", "file-1", blob.text), PS_STORE_OK);
    depot_run(&depot, depot_batch_add("t", "batch_1", "file-1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_batch_lines("batch_1", 0, 5), PS_STORE_OK);
    assert_int_equal(count_due(NOW, "batch_1", false), 1);
    depot_run(&depot, depot_on(PS_STORE_RECOVER, "", "", NOW), PS_STORE_OK);
    depot_run(&depot, depot_batch_lines("batch_1", 0, 2), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_BATCH_START, "", "batch_1", NOW), PS_STORE_OK);
    assert_int_equal(count_due(NOW, "batch_1", false), 0);
    assert_true(work_off(2, PS_JOB_COMPLETED));
    depot_run(&depot, depot_batch_lines("batch_1", 2, 1), PS_STORE_CONFLICT);
    depot_run(&depot, depot_on(PS_STORE_BATCH_START, "", "batch_1", NOW), PS_STORE_CONFLICT);
    depot_run(&depot, depot_on(PS_STORE_BATCH_START, "", "batch_2", NOW), PS_STORE_NOT_FOUND);
}

static void an_empty_batch_has_ended(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 0, NOW);
    assert_int_equal(count_due(NOW, "batch_1", true), 1);
}

static void a_batch_cancelled_in_validation_runs_no_line(void **state)
{
    (void)state;
    depot_run(&depot, depot_file_add("t", "file-1", ""), PS_STORE_OK);
    depot_run(&depot, depot_batch_add("t", "batch_1", "file-1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW), PS_STORE_OK);
    assert_int_equal(count_due(NOW, "batch_1", false), 1);
    depot_run(&depot, depot_batch_lines("batch_1", 0, 4), PS_STORE_OK);
    struct ps_store_command *start = depot_on(PS_STORE_BATCH_START, "", "batch_1", NOW + 1);
    depot_ask(&depot, start, PS_STORE_OK);
    assert_int_equal(start->out.batches[0].status, PS_BATCH_CANCELLING);
    assert_true(start->out.batches[0].ended);
    assert_int_equal(start->out.batches[0].started_ms, 0);
    assert_int_equal(start->out.batches[0].canceled, 4);
    ps_store_command_free(start);
    assert_int_equal(count_due(NOW, "batch_1", true), 1);
}

/* Nothing is left to be cancelled. */
static void a_batch_whose_lines_are_settled_cannot_be_cancelled(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    assert_true(work_off(1, PS_JOB_COMPLETED));
    struct ps_store_command *cancel = depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW);
    depot_ask(&depot, cancel, PS_STORE_OK);
    assert_int_equal(cancel->out.batches[0].status, PS_BATCH_FINALIZING);
    assert_int_equal(cancel->out.batches[0].cancelling_ms, 0);
    ps_store_command_free(cancel);
    finish("batch_1", depot_blob(&depot, "output"));
    struct ps_store_command *get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_COMPLETED);
    ps_store_command_free(get);
    depot_run(&depot, depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW), PS_STORE_CONFLICT);
}

static void expect_hook(const char *type, const char *payload)
{
    struct ps_store_command *hooks = depot_on(PS_STORE_HOOK_TAKE, "", "", NOW + 1);
    hooks->in.limit = 5;
    hooks->in.lease_ms = 100;
    depot_ask(&depot, hooks, PS_STORE_OK);
    assert_int_equal(hooks->out.hook_count, 1);
    assert_true(ps_slice_eq_cstr(hooks->out.hooks[0].type, type));
    assert_true(ps_slice_eq_cstr(hooks->out.hooks[0].payload, payload));
    ps_store_command_free(hooks);
}

static struct ps_store_command *fail_batch(void)
{
    struct ps_store_command *fail = depot_on(PS_STORE_BATCH_FAIL, "", "batch_1", NOW + 1);
    fail->in.batch.errors = PS_SLICE_LIT("[{\"line\":1}]");
    fail->in.hook_type = PS_SLICE_LIT("batch.failed");
    fail->in.hook_payload = PS_SLICE_LIT("{}");
    return fail;
}

static void a_batch_cancelled_before_its_faults_were_told_says_so(void **state)
{
    (void)state;
    depot_run(&depot, depot_file_add("t", "file-1", ""), PS_STORE_OK);
    struct ps_store_command *add = depot_batch_add("t", "batch_1", "file-1", NOW);
    add->in.batch.webhook = PS_SLICE_LIT("https://example.org/hook");
    depot_run(&depot, add, PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW), PS_STORE_OK);
    depot_run(&depot, fail_batch(), PS_STORE_OK);
    struct ps_store_command *get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_CANCELLED);
    ps_store_command_free(get);
    expect_hook("batch.cancelled", "");
}

static void faults_in_the_file_fail_the_batch(void **state)
{
    (void)state;
    struct ps_blob_name blob = depot_blob(&depot, "input");
    struct ps_store_command *add = depot_batch_add("t", "batch_1", "", NOW);
    add->in.batch.input = blob; /* its own, no file's */
    add->in.batch.webhook = PS_SLICE_LIT("https://example.org/hook");
    depot_run(&depot, add, PS_STORE_OK);
    depot_run(&depot, depot_batch_lines("batch_1", 0, 2), PS_STORE_OK);
    depot_run(&depot, fail_batch(), PS_STORE_OK);
    struct ps_store_command *get = get_batch("batch_1");
    assert_int_equal(get->out.batches[0].status, PS_BATCH_FAILED);
    assert_int_equal(get->out.batches[0].failed_ms, NOW + 1);
    assert_true(ps_slice_eq_cstr(get->out.batches[0].errors, "[{\"line\":1}]"));
    assert_true(ps_slice_eq_cstr(get->out.batches[0].metadata, "{\"a\":\"b\"}"));
    assert_int_equal(get->out.batches[0].total, 0);
    ps_store_command_free(get);
    assert_false(depot_has_blob(&depot, &blob));
    expect_hook("batch.failed", "{}");
}

/* A file that is deleted while its batch runs: its bytes stay until the end. */
static void a_running_batch_keeps_its_input(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    depot_run(&depot, depot_on(PS_STORE_FILE_DELETE, "t", "file-of-batch_1", NOW), PS_STORE_OK);
    depot_run(&depot, depot_on(PS_STORE_FILE_GET, "t", "file-of-batch_1", NOW), PS_STORE_NOT_FOUND);
    struct ps_store_command *take = depot_take(NOW, 1);
    depot_ask(&depot, take, PS_STORE_OK);
    struct ps_blob_name input = take->out.claims[0].body.blob;
    assert_true(depot_has_blob(&depot, &input));
    depot_run(&depot, depot_settle(&take->out.claims[0], PS_JOB_COMPLETED, NOW), PS_STORE_OK);
    ps_store_command_free(take);
    depot_run(&depot, depot_on(PS_STORE_BATCH_FINISH, "", "batch_1", NOW), PS_STORE_OK);
    assert_false(depot_has_blob(&depot, &input));
}

static void deleting_a_batch_takes_its_files_along(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    depot_run(&depot, depot_on(PS_STORE_BATCH_DELETE, "t", "batch_1", NOW), PS_STORE_CONFLICT);
    assert_true(work_off(1, PS_JOB_COMPLETED));
    struct ps_blob_name output = depot_blob(&depot, "output");
    finish("batch_1", output);
    assert_true(depot_has_blob(&depot, &output));
    depot_run(&depot, depot_on(PS_STORE_BATCH_DELETE, "u", "batch_1", NOW), PS_STORE_NOT_FOUND);
    depot_run(&depot, depot_on(PS_STORE_BATCH_DELETE, "t", "batch_1", NOW), PS_STORE_OK);
    assert_false(depot_has_blob(&depot, &output));
    depot_run(&depot, depot_on(PS_STORE_FILE_GET, "t", "file-out", NOW), PS_STORE_NOT_FOUND);
    depot_run(&depot, depot_on(PS_STORE_BATCH_GET, "t", "batch_1", NOW), PS_STORE_NOT_FOUND);
}

static void sweep(int64_t now_ms, int64_t keep_ms, bool more)
{
    struct ps_store_command *command = depot_on(PS_STORE_SWEEP, "", "", now_ms);
    command->in.keep_ms = keep_ms;
    depot_ask(&depot, command, PS_STORE_OK);
    assert_int_equal(command->out.more, more);
    ps_store_command_free(command);
}

static void expect_there(const char *id, bool there)
{
    depot_run(&depot, depot_on(PS_STORE_BATCH_GET, "t", id, 0),
              there ? PS_STORE_OK : PS_STORE_NOT_FOUND);
}

/* Since NOW + 9, when it was finished. Its file has no end: it stays without it. */
static void a_batch_that_ended_long_ago_goes(void **state)
{
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    depot_start_batch(&depot, "t", "batch_2", 1, NOW);
    assert_true(work_off(1, PS_JOB_COMPLETED));
    struct ps_blob_name output = depot_blob(&depot, "output");
    finish("batch_1", output);
    sweep(NOW + 108, 100, false);
    expect_there("batch_1", true);
    sweep(NOW + 999, 0, false); /* kept for ever */
    expect_there("batch_1", true);
    sweep(NOW + 109, 100, false);
    expect_there("batch_1", false);
    expect_there("batch_2", true);
    assert_true(depot_has_blob(&depot, &output));
    depot_run(&depot, depot_on(PS_STORE_FILE_GET, "t", "file-out", NOW), PS_STORE_OK);
}

static void a_batch_stays_while_its_files_live(void **state)
{
    (void)state;
    struct ps_store_command *add = depot_batch_add("t", "batch_1", "", NOW);
    add->in.batch.output_life_ms = 500;
    depot_run(&depot, add, PS_STORE_OK);
    depot_run(&depot, fail_batch(), PS_STORE_OK); /* at NOW + 1 */
    sweep(NOW + 500, 100, false);
    expect_there("batch_1", true);
    sweep(NOW + 501, 100, false);
    expect_there("batch_1", false);
}

static void old_batches_go_in_slices(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), "batch_%d", i);
        depot_run(&depot, depot_batch_add("t", id, "", NOW), PS_STORE_OK);
        depot_run(&depot, depot_on(PS_STORE_BATCH_FAIL, "", id, NOW), PS_STORE_OK);
    }
    sweep(NOW + 100, 100, true);
    sweep(NOW + 100, 100, false);
    struct ps_store_command *count = depot_on(PS_STORE_COUNT, "", "", NOW);
    depot_ask(&depot, count, PS_STORE_OK);
    assert_int_equal(count->out.counts.batches[PS_BATCH_FAILED], 0);
    ps_store_command_free(count);
}

static size_t count_files(const char *purpose)
{
    struct ps_store_command *list = depot_on(PS_STORE_FILE_LIST, "t", "", NOW);
    list->in.list.limit = 10;
    list->in.list.purpose = ps_slice_cstr(purpose);
    depot_ask(&depot, list, PS_STORE_OK);
    size_t count = list->out.file_count;
    ps_store_command_free(list);
    return count;
}

static void unlisted_files_are_in_no_list(void **state)
{
    (void)state;
    struct ps_store_command *add = depot_file_add("t", "file-1", "");
    add->in.file.purpose = PS_SLICE_LIT(PS_STORE_UNLISTED);
    depot_run(&depot, add, PS_STORE_OK);
    depot_run(&depot, depot_file_add("t", "file-2", ""), PS_STORE_OK);
    assert_int_equal(count_files(""), 1);
    assert_int_equal(count_files("batch"), 1);
    assert_int_equal(count_files(PS_STORE_UNLISTED), 0);
    depot_run(&depot, depot_on(PS_STORE_FILE_GET, "t", "file-1", 0), PS_STORE_OK);
}

/* Rows of another tenant do not exist. */
static void tenants_do_not_meet(void **state)
{
    static const enum ps_store_verb verbs[] = {PS_STORE_BATCH_GET, PS_STORE_BATCH_CANCEL,
                                               PS_STORE_BATCH_DELETE};
    (void)state;
    depot_start_batch(&depot, "t", "batch_1", 1, NOW);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        depot_run(&depot, depot_on(verbs[i], "u", "batch_1", NOW), PS_STORE_NOT_FOUND);
    }
    depot_run(&depot, depot_on(PS_STORE_FILE_GET, "u", "file-of-batch_1", 0), PS_STORE_NOT_FOUND);
    depot_run(&depot, depot_on(PS_STORE_FILE_DELETE, "u", "file-of-batch_1", 0),
              PS_STORE_NOT_FOUND);
    depot_run(&depot, depot_batch_add("u", "batch_2", "file-of-batch_1", NOW), PS_STORE_NOT_FOUND);
}

static void expect_page(struct ps_store_command *list, const char *first, size_t count, bool more)
{
    depot_ask(&depot, list, PS_STORE_OK);
    assert_int_equal(list->out.batch_count, count);
    assert_int_equal(list->out.more, more);
    if (count > 0) {
        assert_string_equal(list->out.batches[0].id.text, first);
    }
    ps_store_command_free(list);
}

static struct ps_store_command *list_batches(uint32_t limit, const char *after, const char *before)
{
    struct ps_store_command *list = depot_on(PS_STORE_BATCH_LIST, "t", "", 0);
    list->in.list.limit = limit;
    list->in.list.after = depot_id(after);
    list->in.list.before = depot_id(before);
    return list;
}

static void batches_are_listed_newest_first(void **state)
{
    (void)state;
    depot_run(&depot, depot_file_add("t", "file-1", ""), PS_STORE_OK);
    for (int i = 1; i <= 5; i++) {
        char id[] = "batch_0";
        id[6] = (char)('0' + i);
        depot_run(&depot, depot_batch_add("t", id, "file-1", NOW), PS_STORE_OK);
    }
    struct ps_store_command *other = depot_batch_add("t", "msgbatch_1", "", NOW);
    other->in.batch.api = PS_BATCH_ANTHROPIC;
    depot_run(&depot, other, PS_STORE_OK);
    expect_page(list_batches(2, "", ""), "batch_5", 2, true);
    expect_page(list_batches(2, "batch_4", ""), "batch_3", 2, true);
    expect_page(list_batches(2, "batch_2", ""), "batch_1", 1, false);
    expect_page(list_batches(2, "batch_1", ""), "", 0, false);
    expect_page(list_batches(2, "", "batch_2"), "batch_4", 2, true);
    expect_page(list_batches(2, "", "batch_4"), "batch_5", 1, false);
    expect_page(list_batches(0, "", ""), "batch_5", 5, false);
    other = list_batches(0, "", "");
    other->in.list.api = PS_BATCH_ANTHROPIC;
    expect_page(other, "msgbatch_1", 1, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(a_batch_runs_to_its_end),
        TEST(a_cancelled_batch_keeps_what_was_in_flight),
        TEST(an_expired_batch_gives_its_lines_up),
        TEST(validation_may_begin_again),
        TEST(an_empty_batch_has_ended),
        TEST(a_batch_cancelled_in_validation_runs_no_line),
        TEST(a_batch_whose_lines_are_settled_cannot_be_cancelled),
        TEST(faults_in_the_file_fail_the_batch),
        TEST(a_batch_cancelled_before_its_faults_were_told_says_so),
        TEST(a_running_batch_keeps_its_input),
        TEST(deleting_a_batch_takes_its_files_along),
        TEST(a_batch_that_ended_long_ago_goes),
        TEST(a_batch_stays_while_its_files_live),
        TEST(old_batches_go_in_slices),
        TEST(unlisted_files_are_in_no_list),
        TEST(tenants_do_not_meet),
        TEST(batches_are_listed_newest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
