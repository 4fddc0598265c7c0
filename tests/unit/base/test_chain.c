/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "testing.h"

#include "penstock/base/chain.h"
#include "penstock/base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#define BYTES (PS_BLOCK_BYTES * 6)

struct fixture {
    struct ps_budget budget;
    struct ps_block_pool pool;
    char *bytes;
    char *out;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        return -1;
    }
    atomic_init(&f->budget.used, 0);
    atomic_init(&f->budget.limit, 8 * PS_BLOCK_SIZE);
    ps_block_pool_init(&f->pool, &f->budget, 2);
    f->bytes = malloc(BYTES);
    f->out = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++) {
        f->bytes[i] = (char)(i * 7 + i / 251);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(atomic_load(&f->budget.used), 0);
    assert_true(f->pool.free_count <= 2);
    ps_block_pool_deinit(&f->pool);
    free(f->bytes);
    free(f->out);
    free(f);
    return 0;
}

static size_t blocks_of(size_t len)
{
    return (len + PS_BLOCK_BYTES - 1) / PS_BLOCK_BYTES;
}

static void assert_holds(struct fixture *f, struct ps_chain *chain, size_t from, size_t len)
{
    assert_int_equal(chain->len, len);
    ps_chain_copy(chain, 0, len, f->out);
    assert_memory_equal(f->out, f->bytes + from, len);
}

static const size_t sizes[] = {1,
                               2,
                               1000,
                               PS_BLOCK_BYTES - 1,
                               PS_BLOCK_BYTES,
                               PS_BLOCK_BYTES + 1,
                               2 * PS_BLOCK_BYTES,
                               3 * PS_BLOCK_BYTES - 5};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void test_append_drop_in_any_sizes(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < SIZES; i++) {
        for (size_t j = 0; j < SIZES; j++) {
            struct ps_chain chain;
            size_t len = sizes[i] + sizes[j];

            ps_chain_init(&chain, &f->pool);
            assert_int_equal(ps_chain_append(&chain, f->bytes, sizes[i]), 0);
            assert_int_equal(ps_chain_append(&chain, f->bytes + sizes[i], sizes[j]), 0);
            assert_int_equal(atomic_load(&f->budget.used), blocks_of(len) * PS_BLOCK_SIZE);
            assert_holds(f, &chain, 0, len);
            ps_chain_drop(&chain, 0);
            ps_chain_drop(&chain, sizes[j]);
            assert_holds(f, &chain, sizes[j], sizes[i]);
            ps_chain_drop(&chain, sizes[i]);
            assert_int_equal(chain.len, 0);
            assert_null(chain.head);
            assert_int_equal(atomic_load(&f->budget.used), 0);
        }
    }
}

static void test_a_queue_that_runs_on(void **state)
{
    struct fixture *f = *state;
    struct ps_chain chain;
    size_t in = 0;
    size_t out = 0;

    ps_chain_init(&chain, &f->pool);
    while (out < BYTES) {
        size_t put = in < BYTES ? 700 + in % 900 : 0;
        size_t take = 500 + out % 1100;

        put = put < BYTES - in ? put : BYTES - in;
        assert_int_equal(ps_chain_append(&chain, f->bytes + in, put), 0);
        in += put;
        take = take < chain.len ? take : chain.len;
        assert_int_equal(chain.len, in - out);
        ps_chain_copy(&chain, 0, take, f->out);
        assert_memory_equal(f->out, f->bytes + out, take);
        ps_chain_drop(&chain, take);
        out += take;
    }
    ps_chain_clear(&chain);
}

static void test_copy_run_and_parts_agree(void **state)
{
    struct fixture *f = *state;
    struct ps_chain chain;
    size_t len = 3 * PS_BLOCK_BYTES;

    ps_chain_init(&chain, &f->pool);
    assert_int_equal(ps_chain_append(&chain, f->bytes, len + 100), 0);
    ps_chain_drop(&chain, 100);
    for (size_t offset = 0; offset < len; offset += 4093) {
        for (size_t want = 0; want <= len - offset; want += 5003) {
            struct ps_slice parts[8];
            size_t count = ps_chain_parts(&chain, offset, want, parts, 8);
            size_t at = 0;

            assert_int_equal(ps_chain_parts(&chain, offset, want, NULL, 0), count);
            assert_true(count <= 8);
            ps_chain_copy(&chain, offset, want, f->out);
            assert_memory_equal(f->out, f->bytes + 100 + offset, want);
            for (size_t i = 0; i < count; i++) {
                struct ps_slice run = ps_chain_run(&chain, offset + at, want - at);

                assert_true(run.ptr == parts[i].ptr);
                assert_int_equal(run.len, parts[i].len);
                assert_memory_equal(run.ptr, f->bytes + 100 + offset + at, run.len);
                at += run.len;
            }
            assert_int_equal(at, want);
        }
    }
    assert_int_equal(ps_chain_run(&chain, len, 5).len, 0);
    ps_chain_clear(&chain);
}

static void test_bytes_do_not_move(void **state)
{
    struct fixture *f = *state;
    struct ps_chain chain;
    struct ps_chain other;
    const size_t most = PS_BLOCK_BYTES * 5 / 2;
    struct ps_slice first;

    ps_chain_init(&chain, &f->pool);
    ps_chain_init(&other, &f->pool);
    assert_int_equal(ps_chain_append(&chain, f->bytes, 10), 0);
    first = ps_chain_run(&chain, 0, 10);
    assert_int_equal(ps_chain_append(&chain, f->bytes + 10, most), 0);
    assert_true(ps_chain_run(&chain, 0, 10).ptr == first.ptr);
    ps_chain_move(&chain, &other);
    assert_int_equal(chain.len, 0);
    assert_true(ps_chain_run(&other, 0, 10).ptr == first.ptr);
    assert_int_equal(ps_chain_append(&chain, f->bytes + most + 10, 500), 0);
    ps_chain_move(&chain, &other);
    ps_chain_move(&chain, &other);
    assert_holds(f, &other, 0, most + 510);
    assert_int_equal(ps_chain_append(&other, f->bytes + most + 510, 500), 0);
    assert_holds(f, &other, 0, most + 1010);
    ps_chain_clear(&other);
    ps_chain_clear(&chain);
}

static void test_append_is_all_or_nothing_at_the_budget(void **state)
{
    struct fixture *f = *state;
    struct ps_chain chain;
    struct ps_chain other;

    atomic_store(&f->budget.limit, 3 * PS_BLOCK_SIZE + 100);
    ps_chain_init(&chain, &f->pool);
    ps_chain_init(&other, &f->pool);
    assert_int_equal(ps_chain_append(&chain, f->bytes, 1000), 0);
    assert_int_equal(ps_chain_append(&other, f->bytes, PS_BLOCK_BYTES), 0);
    assert_int_equal(ps_chain_append(&chain, f->bytes + 1000, 2 * PS_BLOCK_BYTES), -1);
    assert_holds(f, &chain, 0, 1000);
    assert_int_equal(ps_chain_append(&chain, f->bytes + 1000, 2 * PS_BLOCK_BYTES - 1000), 0);
    assert_int_equal(ps_chain_append(&chain, f->bytes, 1), -1);
    assert_int_equal(atomic_load(&f->budget.used), 3 * PS_BLOCK_SIZE);
    ps_chain_clear(&other);
    assert_int_equal(ps_chain_append(&chain, f->bytes + 2 * PS_BLOCK_BYTES, 1), 0);
    assert_holds(f, &chain, 0, 2 * PS_BLOCK_BYTES + 1);
    atomic_store(&f->budget.limit, 0); /* a reload to less than is in use */
    assert_int_equal(ps_chain_append(&chain, f->bytes + 2 * PS_BLOCK_BYTES + 1, 100), 0);
    assert_int_equal(ps_chain_append(&other, f->bytes, 1), -1);
    ps_chain_clear(&chain);
}

static void test_append_is_all_or_nothing_without_memory(void **state)
{
    struct fixture *f = *state;

    for (int64_t after = 0; after < 5; after++) {
        struct ps_chain chain;
        int rc;

        ps_block_pool_deinit(&f->pool);
        ps_chain_init(&chain, &f->pool);
        assert_int_equal(ps_chain_append(&chain, f->bytes, 1000), 0);
        (void)ps_mem_fail_after(after);
        rc = ps_chain_append(&chain, f->bytes + 1000, 4 * PS_BLOCK_BYTES);
        (void)ps_mem_fail_after(-1);
        assert_int_equal(rc, after < 4 ? -1 : 0);
        assert_holds(f, &chain, 0, after < 4 ? 1000 : 1000 + 4 * PS_BLOCK_BYTES);
        assert_int_equal(atomic_load(&f->budget.used), (after < 4 ? 1 : 5) * PS_BLOCK_SIZE);
        ps_chain_clear(&chain);
    }
}

static void test_free_list_is_reused_and_bounded(void **state)
{
    struct fixture *f = *state;
    struct ps_chain chain;

    ps_chain_init(&chain, &f->pool);
    assert_int_equal(ps_chain_append(&chain, f->bytes, 5 * PS_BLOCK_BYTES), 0);
    ps_chain_clear(&chain);
    assert_int_equal(f->pool.free_count, 2);
    (void)ps_mem_fail_after(-1);
    assert_int_equal(ps_chain_append(&chain, f->bytes, 2 * PS_BLOCK_BYTES), 0);
    assert_int_equal(ps_mem_fail_after(-1), 0);
    assert_int_equal(f->pool.free_count, 0);
    ps_chain_clear(&chain);
}

#define ROUNDS 2000

static void *hammer(void *arg)
{
    struct ps_budget *budget = arg;
    struct ps_block_pool pool;
    struct ps_chain chain;
    char bytes[100] = {0};
    size_t most = 0;

    ps_block_pool_init(&pool, budget, 1);
    ps_chain_init(&chain, &pool);
    /* The others may hold all of it while this thread has its turn: then it waits for them. */
    for (int i = 0; i < ROUNDS || most == 0; i++) {
        size_t used;

        while (chain.len < PS_BLOCK_BYTES * 2 &&
               ps_chain_append(&chain, bytes, sizeof(bytes)) == 0) {
        }
        used = chain.len;
        if (used == 0) {
            (void)sched_yield();
        }
        most = used > most ? used : most;
        ps_chain_drop(&chain, used);
    }
    ps_chain_clear(&chain);
    ps_block_pool_deinit(&pool);
    return most > 0 ? arg : NULL;
}

static void test_threads_share_a_budget(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[3];

    atomic_store(&f->budget.limit, 5 * PS_BLOCK_SIZE);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &f->budget), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *worked;

        assert_int_equal(pthread_join(threads[i], &worked), 0);
        assert_non_null(worked);
    }
    assert_int_equal(atomic_load(&f->budget.used), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_drop_in_any_sizes),
        TEST(test_a_queue_that_runs_on),
        TEST(test_copy_run_and_parts_agree),
        TEST(test_bytes_do_not_move),
        TEST(test_append_is_all_or_nothing_at_the_budget),
        TEST(test_append_is_all_or_nothing_without_memory),
        TEST(test_free_list_is_reused_and_bounded),
        TEST(test_threads_share_a_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
