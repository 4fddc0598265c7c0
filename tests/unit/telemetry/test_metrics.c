/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "testing.h"

#include "penstock/base/mem.h"
#include "penstock/telemetry/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TEXT ((size_t)64 << 20)

static struct ps_metrics *metrics;
static struct ps_metrics_shard *shard;

static int set_up(void **state)
{
    (void)state;
    metrics = ps_metrics_new();
    shard = metrics != NULL ? ps_metrics_shard_new(metrics) : NULL;
    return shard != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ps_metrics_free(metrics);
    return 0;
}

/* NUL-terminated; freed by the caller. */
static char *render(void)
{
    struct ps_buf buf;
    char *text;

    ps_buf_init(&buf, MAX_TEXT);
    ps_metrics_render(metrics, &buf);
    assert_false(buf.failed);
    text = ps_strndup(buf.ptr, buf.len);
    assert_non_null(text);
    ps_buf_deinit(&buf);
    return text;
}

static void assert_renders(const char *expected)
{
    char *text = render();

    assert_string_equal(text, expected);
    ps_free(text);
}

static void assert_line(const char *line)
{
    char *text = render();
    const char *at = strstr(text, line);

    if (at == NULL || (at != text && at[-1] != '\n') || at[strlen(line)] != '\n') {
        print_error("no line %s in\n%s", line, text);
        fail();
    }
    ps_free(text);
}

static struct ps_series *series_1(struct ps_metrics_shard *of, enum ps_metric metric, const char *a)
{
    return ps_metrics_series(of, metric, (struct ps_slice[]){ps_slice_cstr(a)});
}

static struct ps_series *series_2(struct ps_metrics_shard *of, enum ps_metric metric, const char *a,
                                  const char *b)
{
    return ps_metrics_series(of, metric, (struct ps_slice[]){ps_slice_cstr(a), ps_slice_cstr(b)});
}

static void test_nothing_counted_renders_nothing(void **state)
{
    (void)state;
    assert_renders("");
}

static void test_counter(void **state)
{
    (void)state;
    ps_series_add(series_2(shard, PS_METRIC_RETRIES, "b", "timeout"), 2);
    ps_series_add(series_2(shard, PS_METRIC_RETRIES, "a", "timeout"), 1);
    ps_series_add(series_2(shard, PS_METRIC_RETRIES, "b", "timeout"), UINT32_MAX);
    assert_renders("# HELP penstock_retries_total Attempts made after another had failed.\n"
                   "# TYPE penstock_retries_total counter\n"
                   "penstock_retries_total{provider=\"a\",reason=\"timeout\"} 1\n"
                   "penstock_retries_total{provider=\"b\",reason=\"timeout\"} 4294967297\n");
}

static void test_gauges(void **state)
{
    struct ps_series *queue = series_1(shard, PS_METRIC_UPSTREAM_QUEUE, "p");

    (void)state;
    ps_series_gauge_add(queue, 3);
    ps_series_gauge_add(queue, -5);
    assert_line("penstock_upstream_queue{provider=\"p\"} -2");
    ps_series_set(queue, 0.5);
    assert_line("penstock_upstream_queue{provider=\"p\"} 0.5");
    ps_series_set(queue, 1e18);
    assert_line("penstock_upstream_queue{provider=\"p\"} 1e+18");
    ps_series_set(queue, 0);
    ps_series_gauge_add(queue, 7);
    assert_line("penstock_upstream_queue{provider=\"p\"} 7");
    ps_series_set(ps_metrics_series(shard, PS_METRIC_BUFFER_MEMORY, NULL), 1048576);
    assert_line("penstock_buffer_memory_bytes 1048576");
}

static void test_histogram(void **state)
{
    struct ps_series *lag = series_1(shard, PS_METRIC_LOOP_LAG, "0");

    (void)state;
    ps_series_observe_us(lag, -5);
    ps_series_observe_us(lag, 10); /* a bound belongs to its bucket */
    ps_series_observe_us(lag, 11);
    ps_series_observe_us(lag, 1000000);
    ps_series_observe_us(lag, 2500000);
    assert_renders("# HELP penstock_event_loop_lag_seconds How long each turn kept the event loop from the next.\n"
                   "# TYPE penstock_event_loop_lag_seconds histogram\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.00001\"} 2\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.000025\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.00005\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.0001\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.00025\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.0005\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.001\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.0025\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.005\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.01\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.025\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.05\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.1\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.25\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"0.5\"} 3\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"1\"} 4\n"
                   "penstock_event_loop_lag_seconds_bucket{loop=\"0\",le=\"+Inf\"} 5\n"
                   "penstock_event_loop_lag_seconds_sum{loop=\"0\"} 3.500021\n"
                   "penstock_event_loop_lag_seconds_count{loop=\"0\"} 5\n");
}

static void test_shards_are_summed_by_labels(void **state)
{
    struct ps_metrics_shard *other = ps_metrics_shard_new(metrics);

    (void)state;
    assert_non_null(other);
    ps_series_add(series_1(shard, PS_METRIC_CONNECTIONS_ACCEPTED, "a"), 1);
    ps_series_add(series_1(other, PS_METRIC_CONNECTIONS_ACCEPTED, "a"), 10);
    ps_series_add(series_1(other, PS_METRIC_CONNECTIONS_ACCEPTED, "ab"), 5);
    ps_series_gauge_add(series_1(shard, PS_METRIC_CONNECTIONS, "a"), 3);
    ps_series_gauge_add(series_1(other, PS_METRIC_CONNECTIONS, "a"), -1);
    ps_series_observe_us(series_1(shard, PS_METRIC_OVERHEAD, "d"), 60);
    ps_series_observe_us(series_1(other, PS_METRIC_OVERHEAD, "d"), 60);
    assert_line("penstock_connections_total{listener=\"a\"} 11");
    assert_line("penstock_connections_total{listener=\"ab\"} 5");
    assert_line("penstock_connections{listener=\"a\"} 2");
    assert_line("penstock_overhead_seconds_bucket{door=\"d\",le=\"0.000075\"} 2");
    assert_line("penstock_overhead_seconds_sum{door=\"d\"} 0.00012");
}

static void test_series_are_found_again(void **state)
{
    struct ps_series *ab = series_2(shard, PS_METRIC_RETRIES, "a", "b");
    char a[] = "a";

    (void)state;
    assert_ptr_equal(series_2(shard, PS_METRIC_RETRIES, a, "b"), ab);
    assert_ptr_not_equal(series_2(shard, PS_METRIC_RETRIES, "b", "a"), ab);
    assert_ptr_not_equal(series_2(shard, PS_METRIC_RETRIES, "ab", ""), ab);
    assert_ptr_not_equal(series_2(shard, PS_METRIC_RETRIES, "", "ab"), ab);
    assert_ptr_not_equal(series_2(shard, PS_METRIC_UPSTREAM_ERRORS, "a", "b"), ab);
    assert_ptr_equal(ps_metrics_series(shard, PS_METRIC_BUFFER_MEMORY, NULL),
                     ps_metrics_series(shard, PS_METRIC_BUFFER_MEMORY, NULL));
}

static void test_label_values_are_escaped_and_cut(void **state)
{
    char text[PS_METRICS_MAX_VALUE + 50];
    char expected[PS_METRICS_MAX_VALUE + 100];

    (void)state;
    ps_series_add(series_1(shard, PS_METRIC_CONNECTIONS_ACCEPTED, "a\"b\\c\nd\x1b\xff\xc3\xa9"), 1);
    assert_line("penstock_connections_total{listener=\"a\\\"b\\\\c\\nd??\xc3\xa9\"} 1");
    memset(text, 'l', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    ps_series_add(series_1(shard, PS_METRIC_CONNECTIONS_ACCEPTED, text), 1);
    text[PS_METRICS_MAX_VALUE] = '\0';
    ps_series_add(series_1(shard, PS_METRIC_CONNECTIONS_ACCEPTED, text), 1);
    assert_true(snprintf(expected, sizeof(expected),
                         "penstock_connections_total{listener=\"%s\"} 2", text) > 0);
    assert_line(expected);
}

static void test_too_many_series_become_other(void **state)
{
    struct ps_series *known = series_2(shard, PS_METRIC_RETRIES, "known", "r");
    struct ps_series *first = NULL;

    (void)state;
    for (int i = 0; i < 3 * PS_METRICS_MAX_SERIES; i++) {
        char text[32];
        struct ps_series *series;

        assert_true(snprintf(text, sizeof(text), "p%d", i) > 0);
        series = series_2(shard, PS_METRIC_RETRIES, text, "r");
        ps_series_add(series, 1);
        if (i + 1 >= PS_METRICS_MAX_SERIES) {
            first = first != NULL ? first : series;
            assert_ptr_equal(series, first);
        } else if (i > 0) {
            assert_ptr_not_equal(series, known);
        }
    }
    assert_ptr_equal(series_2(shard, PS_METRIC_RETRIES, "known", "r"), known);
    assert_line("penstock_retries_total{provider=\"other\",reason=\"other\"} 8193");
    /* every other metric still has its one */
    for (int metric = 0; metric < PS_METRIC_COUNT; metric++) {
        struct ps_slice values[PS_METRIC_MAX_LABELS] = {{"x", 1}, {"x", 1}, {"x", 1},
                                                        {"x", 1}, {"x", 1}, {"x", 1}};

        assert_non_null(ps_metrics_series(shard, (enum ps_metric)metric, values));
    }
    ps_series_add(series_1(shard, PS_METRIC_CONNECTIONS_REFUSED, "new"), 1);
    assert_line("penstock_connections_refused_total{reason=\"other\"} 1");
}

static void test_no_memory_counts_for_nobody(void **state)
{
    struct ps_series *series;
    struct ps_buf buf;

    (void)state;
    for (int after = 0; after < 2; after++) {
        (void)ps_mem_fail_after(after);
        series = series_1(shard, PS_METRIC_OVERHEAD, "d");
        (void)ps_mem_fail_after(-1);
        ps_series_add(series, 1);
        ps_series_gauge_add(series, 1);
        ps_series_set(series, 1);
        ps_series_observe_us(series, 1);
        assert_renders("");
    }
    series = series_1(shard, PS_METRIC_OVERHEAD, "d");
    ps_series_observe_us(series, 1);
    assert_line("penstock_overhead_seconds_count{door=\"d\"} 1");

    ps_buf_init(&buf, MAX_TEXT);
    (void)ps_mem_fail_after(0);
    ps_metrics_render(metrics, &buf);
    (void)ps_mem_fail_after(-1);
    assert_true(buf.failed);
    ps_buf_deinit(&buf);
    ps_buf_init(&buf, 500);
    ps_metrics_render(metrics, &buf);
    assert_true(buf.failed);
    ps_buf_deinit(&buf);

    for (int after = 0; after < 2; after++) {
        (void)ps_mem_fail_after(after);
        assert_null(ps_metrics_new());
        (void)ps_mem_fail_after(-1);
    }
    (void)ps_mem_fail_after(0);
    assert_null(ps_metrics_shard_new(metrics));
    (void)ps_mem_fail_after(0);
    assert_int_equal(ps_metrics_add_process(metrics), -1);
    (void)ps_mem_fail_after(-1);
}

static void show_targets(void *arg, struct ps_metrics_shard *of)
{
    const char *const *targets = arg;

    for (; *targets != NULL; targets++) {
        ps_series_set(series_2(of, PS_METRIC_TARGET_AVAILABLE, "p", *targets), 1);
    }
}

static void test_hooks(void **state)
{
    const char *targets[3] = {"one", "two", NULL};
    const char *more[2] = {"three", NULL};

    (void)state;
    assert_int_equal(ps_metrics_on_render(metrics, show_targets, targets), 0);
    assert_int_equal(ps_metrics_on_render(metrics, show_targets, more), 0);
    assert_line("penstock_target_available{provider=\"p\",endpoint=\"one\"} 1");
    assert_line("penstock_target_available{provider=\"p\",endpoint=\"two\"} 1");
    assert_line("penstock_target_available{provider=\"p\",endpoint=\"three\"} 1");
    targets[1] = NULL; /* gone after a reload */
    ps_metrics_off_render(metrics, show_targets, more);
    ps_metrics_off_render(metrics, show_targets, more);
    assert_renders("# HELP penstock_target_available Whether a target may be tried: 1 or 0.\n"
                   "# TYPE penstock_target_available gauge\n"
                   "penstock_target_available{provider=\"p\",endpoint=\"one\"} 1\n");
    targets[1] = "two";
    assert_line("penstock_target_available{provider=\"p\",endpoint=\"two\"} 1");
}

static double value_of(const char *name)
{
    char *text = render();
    const char *at = strstr(text, name);
    double value;

    while (at != NULL && (at == text || at[-1] != '\n')) {
        at = strstr(at + 1, name);
    }
    assert_non_null(at);
    value = strtod(at + strlen(name), NULL);
    ps_free(text);
    return value;
}

static void test_process(void **state)
{
    double fds;
    double cpu;
    double start;
    int fd;

    (void)state;
    assert_int_equal(ps_metrics_add_process(metrics), 0);
    assert_true(value_of("penstock_process_resident_memory_bytes ") > 500000);
    cpu = value_of("penstock_process_cpu_seconds_total ");
    while (value_of("penstock_process_cpu_seconds_total ") <= cpu) {
    }
    start = value_of("penstock_process_start_time_seconds ");
    assert_true(start > 1.7e9);
    assert_true(start <= (double)time(NULL) + 2);
    assert_true(value_of("penstock_log_lines_dropped_total ") >= 0);
    fds = value_of("penstock_process_open_fds ");
    assert_true(fds >= 3);
    fd = dup(0);
    assert_true(value_of("penstock_process_open_fds ") > fds);
    (void)close(fd);
}

static void test_quantiles(void **state)
{
    struct ps_metrics_shard *other = ps_metrics_shard_new(metrics);

    (void)state;
    assert_non_null(other);
    assert_int_equal(ps_metrics_quantile_us(metrics, PS_METRIC_OVERHEAD, 0.5), -1);
    assert_int_equal(ps_metrics_quantile_us(metrics, PS_METRIC_REQUESTS, 0.5), -1);
    for (int i = 0; i < 50; i++) {
        ps_series_observe_us(series_1(shard, PS_METRIC_OVERHEAD, "a"), 30);
        ps_series_observe_us(series_1(other, PS_METRIC_OVERHEAD, "b"), 700);
    }
    assert_int_equal(ps_metrics_quantile_us(metrics, PS_METRIC_OVERHEAD, 0.25), 37);
    assert_int_equal(ps_metrics_quantile_us(metrics, PS_METRIC_OVERHEAD, 0.5), 50);
    assert_int_equal(ps_metrics_quantile_us(metrics, PS_METRIC_OVERHEAD, 1), 750);
    for (int i = 0; i < 900; i++) {
        ps_series_observe_us(series_1(shard, PS_METRIC_OVERHEAD, "a"), 99000000);
    }
    assert_int_equal(ps_metrics_quantile_us(metrics, PS_METRIC_OVERHEAD, 0.99), 100000);
}

#define ROUNDS 20000

static void *count_in_own_shard(void *arg)
{
    struct ps_metrics_shard *own = arg;

    for (int i = 0; i < ROUNDS; i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "p%d", i % 300);
        ps_series_add(series_2(own, PS_METRIC_RETRIES, text, "r"), 1);
        ps_series_observe_us(series_1(own, PS_METRIC_OVERHEAD, text), i);
        ps_series_gauge_add(series_1(own, PS_METRIC_CONNECTIONS, "l"), 1);
    }
    return NULL;
}

/* Renders go on while shards grow; at the end nothing is missing. */
static void test_render_beside_writers(void **state)
{
    pthread_t threads[3];
    double last = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct ps_metrics_shard *own = ps_metrics_shard_new(metrics);

        assert_non_null(own);
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_own_shard, own), 0);
    }
    ps_series_add(series_2(shard, PS_METRIC_RETRIES, "p0", "r"), 1);
    for (int i = 0; i < 20; i++) {
        double now = value_of("penstock_retries_total{provider=\"p0\",reason=\"r\"} ");

        assert_true(now >= last);
        last = now;
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_line("penstock_connections{listener=\"l\"} 60000");
    assert_line("penstock_retries_total{provider=\"p0\",reason=\"r\"} 202");
    assert_line("penstock_overhead_seconds_count{door=\"p299\"} 198");
}

/* Every metric with a value, some labels ugly: the reference parser takes all and its linter finds
 * nothing. */
static void test_promtool_agrees(void **state)
{
    struct ps_slice values[PS_METRIC_MAX_LABELS] = {{"a", 1},   {"b\"\\\n", 4}, {"\xff", 1},
                                                    {"200", 3}, {"", 0},        {"\xc3\xa9", 2}};
    char path[] = "/tmp/penstock-test-metrics-XXXXXX";
    char command[128];
    char *text;
    FILE *file;
    int fd;
    int status;

    (void)state;
    if (access("/usr/bin/promtool", X_OK) != 0) {
        skip();
    }
    for (int metric = 0; metric < PS_METRIC_COUNT; metric++) {
        struct ps_series *series = ps_metrics_series(shard, (enum ps_metric)metric, values);

        if (metric == PS_METRIC_REQUEST_DURATION || metric == PS_METRIC_TIME_TO_FIRST_BYTE ||
            metric == PS_METRIC_OVERHEAD || metric == PS_METRIC_LOOP_LAG) {
            ps_series_observe_us(series, 12345);
        } else {
            ps_series_set(series, 1.5);
        }
    }
    assert_int_equal(ps_metrics_add_process(metrics), 0);
    text = render();
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    ps_free(text);
    assert_true(
        snprintf(command, sizeof(command), "/usr/bin/promtool check metrics <%s 2>&1", path) > 0);
    file = popen(command, "r");
    assert_non_null(file);
    for (char line[512]; fgets(line, sizeof(line), file) != NULL;) {
        print_error("%s", line);
    }
    status = pclose(file);
    (void)unlink(path);
    assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_counted_renders_nothing),
        TEST(test_counter),
        TEST(test_gauges),
        TEST(test_histogram),
        TEST(test_shards_are_summed_by_labels),
        TEST(test_series_are_found_again),
        TEST(test_label_values_are_escaped_and_cut),
        TEST(test_too_many_series_become_other),
        TEST(test_no_memory_counts_for_nobody),
        TEST(test_hooks),
        TEST(test_process),
        TEST(test_quantiles),
        TEST(test_render_beside_writers),
        TEST(test_promtool_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
