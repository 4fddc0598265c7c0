/* SPDX-License-Identifier: Apache-2.0 */
#include "blob_priv.h"
#include "sql_priv.h"
#include "store/depot.h"
#include "testing.h"

#include <stdio.h>
#include <string.h>

/*
 * What statements cost must not grow with what waits. Twice: SQLite's plans may hold no walk over a
 * table but those named here, and taking work from a queue of 50,000 lines takes as many steps of
 * its machine as from one of 500.
 */

#define NOW 1000000

static const struct {
    enum ps_sql_name name;
    const char *why;
} walks[] = {
    {PS_SQL_COUNT_JOBS, "for the metrics, on the reading thread"},
    {PS_SQL_COUNT_BATCHES, "the same"},
    {PS_SQL_COUNT_FILES, "the same"},
    {PS_SQL_COUNT_HOOKS, "the same"},
    {PS_SQL_BATCH_TURN, "once, at the start"},
    {PS_SQL_OLDEST_JOB, "an index of what waits"},
    {PS_SQL_OLDEST_BATCH, "the same"},
    {PS_SQL_BATCH_DUE, "an index that holds nothing else, up to the limit"},
    {PS_SQL_PURGE_NEXT, "its first row"},
    {PS_SQL_HOOK_RETURN, "once, at the start"},
};

static struct ps_store_session *session;
static struct ps_store_setup setup;
static struct depot depot;
static const struct ps_store_engine *const engine = &ps_store_sqlite;

static bool may_walk(size_t name)
{
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
        if (walks[i].name == name) {
            return true;
        }
    }
    return false;
}

static void no_statement_walks_over_a_table(void **state)
{
    unsigned searches = 0;
    (void)state;
    for (size_t i = 0; i < PS_SQL_NAMES; i++) {
        char text[4096];
        sqlite3_stmt *stmt;
        (void)snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", ps_sql_texts[i]);
        if (sqlite3_prepare_v2(session->db, text, -1, &stmt, NULL) != SQLITE_OK) {
            fail_msg("%s: %s", sqlite3_errmsg(session->db), ps_sql_texts[i]);
        }
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(stmt, 3);
            bool row = strstr(step, "CONSTANT ROW") != NULL || strstr(step, "(subquery") != NULL;
            if (!may_walk(i) && !row &&
                (strncmp(step, "SCAN", 4) == 0 || strstr(step, "TEMP B-TREE") != NULL)) {
                fail_msg("%s: %s", step, ps_sql_texts[i]);
            }
            searches += strncmp(step, "SEARCH", 6) == 0 ? 1 : 0;
        }
        (void)sqlite3_finalize(stmt);
    }
    assert_true(searches > 60);
}

static void run(struct ps_store_command *command)
{
    assert_true(engine->execute(session, command));
    assert_int_equal(command->status, PS_STORE_OK);
    ps_store_command_free(command);
}

/* Steps of SQLite's machine since the last call. */
static int64_t steps(void)
{
    int64_t sum = 0;
    for (size_t i = 0; i < PS_SQL_NAMES; i++) {
        if (session->statements[i] != NULL) {
            sum += sqlite3_stmt_status(session->statements[i], SQLITE_STMTSTATUS_VM_STEP, 1);
        }
    }
    return sum;
}

/* Of 16 pieces taken, settled, put off and renewed. */
static int64_t cost_of_work(int64_t now)
{
    struct ps_store_command *take = depot_take(now, 16);

    (void)steps();
    assert_true(engine->execute(session, take));
    assert_int_equal(take->out.claim_count, 16);
    for (size_t i = 0; i < 16; i++) {
        const struct ps_store_claim *claim = &take->out.claims[i];
        if (i % 2 == 0) {
            run(depot_settle(claim, PS_JOB_COMPLETED, now));
        } else {
            struct ps_store_command *defer = depot_on(PS_STORE_DEFER, "", "", now);
            defer->in.ref = (struct ps_store_ref){claim->id, claim->line, claim->fence};
            defer->in.run_at_ms = now + 1000000;
            run(defer);
        }
    }
    ps_store_command_free(take);
    run(depot_on(PS_STORE_DUE, "", "", now));
    return steps();
}

static void add_batch(const char *id, uint64_t lines)
{
    run(depot_file_add("t", id, ""));
    run(depot_batch_add("t", id, id, NOW));
    for (uint64_t i = 0; i < lines; i += 500) {
        run(depot_batch_lines(id, i, 500));
    }
    run(depot_on(PS_STORE_BATCH_START, "", id, NOW));
}

static void taking_work_costs_the_same_in_a_long_queue(void **state)
{
    (void)state;
    assert_int_equal(engine->begin(session), PS_STORE_OK);
    add_batch("batch_1", 500);
    (void)cost_of_work(NOW);
    int64_t few = cost_of_work(NOW);
    add_batch("batch_2", 50000);
    for (unsigned i = 0; i < 500; i++) { /* jobs that wait for their time, too */
        char id[16];
        (void)snprintf(id, sizeof(id), "job_%03u", i);
        struct ps_store_command *add = depot_job_add("t", id, NOW + 1000);
        add->in.job.priority = 9;
        run(add);
    }
    int64_t many = cost_of_work(NOW);
    assert_int_equal(engine->commit(session), PS_STORE_OK);
    assert_true(few > 1000);
    if (many > few * 3 / 2) {
        fail_msg("%ld steps with few lines, %ld with many", (long)few, (long)many);
    }
}

/* A batch of 50,000 lines that is cancelled and finished costs no command a walk over them. */
static void ending_a_long_batch_costs_little(void **state)
{
    (void)state;
    assert_int_equal(engine->begin(session), PS_STORE_OK);
    add_batch("batch_1", 50000);
    (void)steps();
    run(depot_on(PS_STORE_BATCH_CANCEL, "t", "batch_1", NOW));
    run(depot_on(PS_STORE_BATCH_FINISH, "", "batch_1", NOW));
    assert_true(steps() < 2000);
    assert_int_equal(engine->commit(session), PS_STORE_OK);
    unsigned slices = 0;
    while (engine->tend(session, true)) {
        assert_true(steps() < 50000);
        slices++;
    }
    assert_true(slices > 100);
    struct ps_query query;
    ps_query_begin(&query, session, PS_SQL_PURGE_LAST);
    ps_put_int(&query, 0);
    ps_put_int(&query, INT64_MAX);
    ps_put_int(&query, 1);
    assert_int_equal(ps_query_value(&query, 0), 0);
}

static int64_t pages(enum ps_sql_name name)
{
    struct ps_query query;
    ps_query_begin(&query, session, name);
    return ps_query_value(&query, -1);
}

#define OBJECTS 40

static void change_objects(enum ps_store_verb verb)
{
    assert_int_equal(engine->begin(session), PS_STORE_OK);
    for (int i = 0; i < OBJECTS; i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), "resp_%02d", i);
        struct ps_store_command *command = depot_on(verb, "t", id, NOW);
        char *value = ps_arena_calloc(&command->arena, 1 << 20);
        assert_non_null(value);
        command->in.object.tenant = PS_SLICE_LIT("t");
        command->in.object.kind = PS_SLICE_LIT("response");
        command->in.object.id = command->in.id;
        command->in.object.value = ps_slice(value, 1 << 20);
        run(command);
    }
    assert_int_equal(engine->commit(session), PS_STORE_OK);
}

/* Disk space that is not used any more is given back. */
static void a_file_that_is_mostly_empty_shrinks(void **state)
{
    (void)state;
    change_objects(PS_STORE_OBJECT_PUT);
    assert_true(pages(PS_SQL_ALL_PAGES) > OBJECTS * 256);
    change_objects(PS_STORE_OBJECT_DELETE);
    while (engine->tend(session, true)) {
    }
    assert_true(pages(PS_SQL_ALL_PAGES) < OBJECTS * 256 / 2);
}

static int set_up(void **state)
{
    static char rest[] = "jobs.db";
    static char blobs[sizeof(depot.folder) + 8];
    char problem[200];

    (void)state;
    depot_make(&depot);
    (void)snprintf(blobs, sizeof(blobs), "%s/blobs", depot.folder);
    setup = (struct ps_store_setup){.folder = depot.folder, .rest = rest};
    setup.blobs = ps_blobs_new(&(struct ps_blobs_options){.folder = blobs, .reserve_percent = 101});
    assert_non_null(setup.blobs);
    session = engine->open(&setup, true, problem, sizeof(problem));
    assert_non_null(session);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine->close(session);
    ps_blobs_free(setup.blobs);
    depot_remove(&depot);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(no_statement_walks_over_a_table),
        TEST(taking_work_costs_the_same_in_a_long_queue),
        TEST(a_file_that_is_mostly_empty_shrinks),
        TEST(ending_a_long_batch_costs_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
