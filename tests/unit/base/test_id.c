/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/id.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t decode(const char *text, size_t len)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++) {
        const char *hit = strchr(alphabet, text[i]);

        assert_non_null(hit);
        value = value << 5 | (uint64_t)(hit - alphabet);
    }
    return value;
}

static void test_shape_and_time(void **state)
{
    static const char *const prefixes[] = {"", "req_", "job_", "file-", "twelve_bytes"};

    (void)state;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t len = strlen(prefixes[i]);
        uint64_t before = (uint64_t)ps_clock_wall_ms();
        struct ps_id id;
        uint64_t ms;

        memset(&id, 'x', sizeof(id));
        ps_id_make(&id, prefixes[i]);
        assert_int_equal(strnlen(id.text, sizeof(id.text)), len + 26);
        assert_memory_equal(id.text, prefixes[i], len);
        ms = decode(id.text + len, 10);
        assert_true(ms >= before && ms <= (uint64_t)ps_clock_wall_ms());
        (void)decode(id.text + len + 10, 8);
        (void)decode(id.text + len + 18, 8);
        assert_true(ps_id_is_sane(ps_slice_cstr(id.text)));
    }
}

static void test_reads_its_own(void **state)
{
    struct ps_id id;
    struct ps_id read;
    char text[PS_ID_MAX + 2];

    (void)state;
    ps_id_make(&id, "batch_");
    assert_true(ps_id_read(&read, "batch_", ps_slice_cstr(id.text)));
    assert_string_equal(read.text, id.text);
    assert_false(ps_id_read(&read, "job_", ps_slice_cstr(id.text)));
    assert_false(ps_id_read(&read, "batch_", PS_SLICE_NONE));
    assert_false(ps_id_read(&read, "batch_", PS_SLICE_LIT("batch_")));
    for (size_t i = 0; id.text[i] != '\0'; i++) {
        memcpy(text, id.text, sizeof(id.text));
        assert_false(ps_id_read(&read, "batch_", ps_slice(text, i)));
        text[i] = i % 2 == 0 ? '\0' : 'U';
        assert_false(ps_id_read(&read, "batch_", ps_slice(text, strlen(id.text))));
    }
    (void)snprintf(text, sizeof(text), "%s0", id.text);
    assert_false(ps_id_read(&read, "batch_", ps_slice_cstr(text)));
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ps_id));
}

#define COUNT 20000

static void *make_many(void *arg)
{
    struct ps_id *ids = arg;

    for (int i = 0; i < COUNT; i++) {
        memset(&ids[i], 0, sizeof(ids[i]));
        ps_id_make(&ids[i], "req_");
    }
    return NULL;
}

static void test_unique_over_threads(void **state)
{
    struct ps_id *ids = calloc((size_t)2 * COUNT, sizeof(*ids));
    pthread_t other;

    (void)state;
    assert_non_null(ids);
    assert_int_equal(pthread_create(&other, NULL, make_many, ids + COUNT), 0);
    (void)make_many(ids);
    assert_int_equal(pthread_join(other, NULL), 0);
    qsort(ids, (size_t)2 * COUNT, sizeof(*ids), compare);
    for (int i = 1; i < 2 * COUNT; i++) {
        assert_true(compare(&ids[i - 1], &ids[i]) != 0);
    }
    free(ids);
}

/* Every random byte takes many values: nothing is constant, shifted out or handed out twice. */
static void test_random_bytes_cover(void **state)
{
    static const unsigned lengths[] = {1, 10, 16, 127, 128, 129, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        unsigned len = lengths[i];
        unsigned char *bytes = calloc(len, 1);
        unsigned char *all = calloc(len, 1);
        unsigned char *common = malloc(len);

        assert_non_null(bytes);
        assert_non_null(all);
        assert_non_null(common);
        memset(common, 0xff, len);
        for (int round = 0; round < 200; round++) {
            ps_random_bytes(bytes, len);
            for (unsigned at = 0; at < len; at++) {
                all[at] |= bytes[at];
                common[at] &= bytes[at];
            }
        }
        for (unsigned at = 0; at < len; at++) {
            assert_int_equal(all[at], 0xff);
            assert_int_equal(common[at], 0);
        }
        free(bytes);
        free(all);
        free(common);
    }
}

static void test_sane(void **state)
{
    char text[130];

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_false(ps_id_is_sane(PS_SLICE_NONE));
    assert_true(ps_id_is_sane(ps_slice(text, 1)));
    assert_true(ps_id_is_sane(ps_slice(text, 128)));
    assert_false(ps_id_is_sane(ps_slice(text, 129)));
    for (unsigned byte = 0; byte < 256; byte++) {
        static const char allowed[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";

        text[5] = (char)byte;
        assert_int_equal(ps_id_is_sane(ps_slice(text, 10)),
                         memchr(allowed, (int)byte, sizeof(allowed) - 1) != NULL);
    }
}

static void test_clocks_advance(void **state)
{
    int64_t us = ps_clock_us();
    int64_t cpu = ps_clock_thread_cpu_us();

    (void)state;
    while (ps_clock_us() < us + 2000 || ps_clock_thread_cpu_us() <= cpu) {
    }
    assert_true(ps_clock_wall_ms() > 1700000000000);
    assert_true(ps_clock_thread_cpu_us() >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape_and_time),
        cmocka_unit_test(test_reads_its_own),     cmocka_unit_test(test_unique_over_threads),
        cmocka_unit_test(test_random_bytes_cover), cmocka_unit_test(test_sane),
        cmocka_unit_test(test_clocks_advance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
