/* SPDX-License-Identifier: Apache-2.0 */
/* ctest-labels: threads */
#include "testing.h"

#include "penstock/base/clock.h"
#include "penstock/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/penstock-test-log-XXXXXX";

static int make_path(void **state)
{
    int fd;

    (void)state;
    memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
    fd = mkstemp(path);
    if (fd < 0) {
        return -1;
    }
    return close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    ps_log_stop();
    (void)unlink(path);
    return 0;
}

static void start(enum ps_log_level level, enum ps_log_format format)
{
    struct ps_log_options options = {.level = level, .format = format, .file = path};

    assert_int_equal(ps_log_start(&options), 0);
}

/* NUL-terminated; freed by the caller. */
static char *read_all(const char *name)
{
    FILE *file = fopen(name, "r");
    char *text = calloc(1, 1 << 22);
    size_t len;

    assert_non_null(file);
    assert_non_null(text);
    len = fread(text, 1, (1 << 22) - 1, file);
    text[len] = '\0';
    (void)fclose(file);
    return text;
}

/* Stops the log and compares it, line by line, less the time at each line's beginning. */
static void assert_logged(const char *expected, size_t time_len)
{
    char *text;
    char *line;

    ps_log_stop();
    text = read_all(path);
    line = text;
    while (*expected != '\0') {
        size_t len = strcspn(expected, "\n");

        assert_true(strlen(line) > time_len);
        line += time_len;
        assert_int_equal(strcspn(line, "\n"), len);
        assert_memory_equal(line, expected, len + 1);
        expected += len + 1;
        line += len + 1;
    }
    assert_string_equal(line, "");
    free(text);
}

#define JSON_TIME (sizeof("{\"time\":\"2026-11-23T18:00:00.000Z\"") - 1)
#define TEXT_TIME (sizeof("2026-11-23T18:00:00.000Z") - 1)

static void log_a_request(void)
{
    struct ps_log_line line;

    ps_log_begin(&line, PS_LOG_INFO, "request");
    ps_log_cstr(&line, "id", "req_1");
    ps_log_cstr(&line, "none", NULL);
    ps_log_str(&line, "agent", PS_SLICE_LIT("a \"b\"\n\x1b[0m"));
    ps_log_str(&line, "empty", PS_SLICE_NONE);
    ps_log_int(&line, "status", 200);
    ps_log_bool(&line, "stream", true);
    ps_log_ms(&line, "total", 1234567);
    ps_log_ms(&line, "skew", -45);
    ps_log_array_begin(&line, "attempts");
    ps_log_object_begin(&line);
    ps_log_cstr(&line, "target", "a/b");
    ps_log_int(&line, "status", 503);
    ps_log_object_end(&line);
    ps_log_object_begin(&line);
    ps_log_cstr(&line, "target", "c");
    ps_log_object_end(&line);
    ps_log_array_end(&line);
    ps_log_bool(&line, "last", false);
    ps_log_end(&line);
}

static void test_json_lines(void **state)
{
    (void)state;
    start(PS_LOG_INFO, PS_LOG_JSON);
    log_a_request();
    ps_log(PS_LOG_ERROR, "%s \xe2\x80\xa8 %d", "bad", 7);
    assert_logged(
        ",\"level\":\"info\",\"msg\":\"request\",\"id\":\"req_1\",\"agent\":\"a "
        "\\\"b\\\"\\n\\u001b[0m\","
        "\"empty\":\"\",\"status\":200,\"stream\":true,\"total\":1234.567,\"skew\":-0.045,"
        "\"attempts\":[{\"target\":\"a/b\",\"status\":503},{\"target\":\"c\"}],\"last\":false}\n"
        ",\"level\":\"error\",\"msg\":\"bad \\u2028 7\"}\n",
        JSON_TIME);
}

static void test_text_lines(void **state)
{
    (void)state;
    start(PS_LOG_DEBUG, PS_LOG_TEXT);
    log_a_request();
    ps_log(PS_LOG_DEBUG, "say \"hi\"\n");
    assert_logged(" info request id=req_1 agent=\"a \\\"b\\\"\\n\\u001b[0m\" empty=\"\" status=200 "
                  "stream=true "
                  "total=1234.567 skew=-0.045 attempts.0.target=a/b attempts.0.status=503 "
                  "attempts.1.target=c last=false\n"
                  " debug say \"hi\"\\n\n",
                  TEXT_TIME);
}

static void test_time_is_now(void **state)
{
    char *text;
    char expected[32];
    time_t before = (time_t)(ps_clock_wall_ms() / 1000);
    struct tm tm;

    (void)state;
    start(PS_LOG_DEBUG, PS_LOG_TEXT);
    ps_log(PS_LOG_INFO, "now");
    ps_log_stop();
    text = read_all(path);
    for (time_t second = before;; second++) {
        assert_true(second <= (time_t)(ps_clock_wall_ms() / 1000));
        assert_non_null(gmtime_r(&second, &tm));
        assert_int_equal(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.", &tm), 20);
        if (memcmp(text, expected, 20) == 0) {
            break;
        }
    }
    assert_int_equal(text[23], 'Z');
    free(text);
}

static void test_levels(void **state)
{
    struct ps_log_line line;

    (void)state;
    start(PS_LOG_WARN, PS_LOG_TEXT);
    assert_false(ps_log_enabled(PS_LOG_INFO));
    assert_true(ps_log_enabled(PS_LOG_WARN));
    log_a_request();
    ps_log(PS_LOG_INFO, "unseen");
    ps_log(PS_LOG_WARN, "seen");
    ps_log_configure(PS_LOG_DEBUG, PS_LOG_JSON);
    ps_log_begin(&line, PS_LOG_DEBUG, "too");
    ps_log_configure(PS_LOG_ERROR,
                     PS_LOG_TEXT); /* a line that was begun is finished as it was begun */
    ps_log_int(&line, "n", 1);
    ps_log_end(&line);
    ps_log_stop();
    {
        char *text = read_all(path);

        assert_non_null(strstr(text, "Z warn seen\n{\"time\":\""));
        assert_non_null(strstr(text, "\"level\":\"debug\",\"msg\":\"too\",\"n\":1}\n"));
        assert_null(strstr(text, "unseen"));
        free(text);
    }
}

/* A line about `len` bytes in one of its values, whatever is cut: still one line, closed, and
 * marked. */
static void log_long(enum ps_log_format format, size_t len, char byte)
{
    struct ps_log_line line;
    char *value = malloc(len + 1);
    char *text;

    assert_non_null(value);
    memset(value, byte, len);
    value[len] = '\0';
    assert_int_equal(make_path(NULL), 0);
    start(PS_LOG_INFO, format);
    ps_log_begin(&line, PS_LOG_INFO, "long");
    ps_log_array_begin(&line, "outer");
    ps_log_object_begin(&line);
    ps_log_str(&line, "value", ps_slice(value, len));
    ps_log_str(&line, "again", ps_slice(value, len));
    ps_log_array_begin(&line, "inner");
    ps_log_object_begin(&line);
    ps_log_int(&line, "n", 1);
    ps_log_object_end(&line);
    ps_log_array_end(&line);
    ps_log_object_end(&line);
    ps_log_array_end(&line);
    ps_log_bool(&line, "end", true);
    ps_log_end(&line);
    ps_log_stop();
    text = read_all(path);
    assert_true(strlen(text) <= 16384);
    assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
    if (strstr(text, "cut") == NULL) {
        assert_non_null(strstr(text, format == PS_LOG_JSON
                                         ? "\"inner\":[{\"n\":1}]}],\"end\":true}\n"
                                         : "inner.0.n=1 end=true\n"));
        assert_true(len < 16384);
    } else if (format == PS_LOG_JSON) {
        assert_non_null(strstr(text, "}],\"cut\":true}\n"));
    } else {
        assert_non_null(strstr(text, " cut=true\n"));
    }
    free(text);
    free(value);
    (void)unlink(path);
}

static void test_long_lines_are_cut_and_stay_whole(void **state)
{
    static const size_t lengths[] = {100, 2000, 2600, 2700, 4000, 7900, 8100, 16000, 16384, 100000};

    (void)state;
    (void)unlink(path);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        log_long(PS_LOG_JSON, lengths[i], 'v');
        log_long(PS_LOG_JSON, lengths[i], '\x01');
        log_long(PS_LOG_TEXT, lengths[i], 'v');
        log_long(PS_LOG_TEXT, lengths[i], '\x01');
    }
}

static void test_a_long_message_is_cut(void **state)
{
    char *text = malloc(100001);
    char *all;

    (void)state;
    assert_non_null(text);
    memset(text, 1, 100000);
    text[100000] = '\0';
    start(PS_LOG_INFO, PS_LOG_JSON);
    ps_log(PS_LOG_INFO, "%s", text);
    {
        struct ps_log_line line;

        ps_log_begin(&line, PS_LOG_INFO, text);
        ps_log_int(&line, "n", 1);
        ps_log_end(&line);
    }
    ps_log_stop();
    all = read_all(path);
    assert_non_null(strstr(all, "\\u0001\"}\n{"));
    assert_non_null(strstr(all, "\\u0001\",\"n\":1}\n"));
    free(all);
    free(text);
}

static void test_a_file_that_cannot_be_opened(void **state)
{
    struct ps_log_options options = {.file = "/nowhere/at/all.log"};

    (void)state;
    assert_int_equal(ps_log_start(&options), -ENOENT);
    ps_log_stop();
}

static bool holds(const char *name, const char *what)
{
    struct stat st;
    char *text;
    bool found;

    if (stat(name, &st) != 0) {
        return false;
    }
    text = read_all(name);
    found = strstr(text, what) != NULL;
    free(text);
    return found;
}

/* Waiting for a condition that another thread brings about; the test runner ends what never comes.
 */
static void wait_until_file_holds(const char *name, const char *what)
{
    while (!holds(name, what)) {
        (void)poll(NULL, 0, 1);
    }
}

static void test_reopen(void **state)
{
    char moved[sizeof(path) + 8];
    char *text;

    (void)state;
    start(PS_LOG_INFO, PS_LOG_TEXT);
    ps_log(PS_LOG_INFO, "before");
    wait_until_file_holds(path, "before"); /* the writer works without being stopped */
    assert_true(snprintf(moved, sizeof(moved), "%s.1", path) > 0);
    assert_int_equal(rename(path, moved), 0);
    ps_log_reopen();
    while (access(path, F_OK) != 0) {
        (void)poll(NULL, 0, 1);
    }
    ps_log(PS_LOG_INFO, "after");
    ps_log_stop();
    text = read_all(path);
    assert_non_null(strstr(text, "after"));
    assert_null(strstr(text, "before"));
    free(text);
    assert_int_equal(unlink(moved), 0);
}

#define THREADS 4
#define EACH    3000

static void *log_many(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        struct ps_log_line line;

        ps_log_begin(&line, PS_LOG_INFO, "m");
        ps_log_int(&line, "thread", *(const int *)arg);
        ps_log_int(&line, "n", i);
        ps_log_end(&line);
    }
    return NULL;
}

/* No line is lost, torn or out of the order its thread gave it. */
static void test_many_threads(void **state)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    int next[THREADS] = {0};
    uint64_t dropped = ps_log_dropped();
    char *text;
    char *line;

    (void)state;
    start(PS_LOG_INFO, PS_LOG_TEXT);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    ps_log_stop();
    assert_int_equal(ps_log_dropped(), dropped);
    text = read_all(path);
    line = text;
    for (int i = 0; i < THREADS * EACH; i++) {
        int thread;
        int n;
        int len = 0;

        assert_int_equal(sscanf(line + TEXT_TIME, " info m thread=%d n=%d%n", &thread, &n, &len),
                         2);
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(n, next[thread]++);
        assert_int_equal(line[TEXT_TIME + (size_t)len], '\n');
        line += TEXT_TIME + (size_t)len + 1;
    }
    assert_string_equal(line, "");
    free(text);
}

/* stderr becomes a pipe for the length of a test. */
struct pipe_stderr {
    int saved;
    int out;
};

static void to_pipe(struct pipe_stderr *p)
{
    int fds[2];

    assert_int_equal(pipe(fds), 0);
    p->saved = dup(STDERR_FILENO);
    p->out = fds[0];
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    (void)close(fds[1]);
}

static void restore(struct pipe_stderr *p)
{
    assert_true(dup2(p->saved, STDERR_FILENO) >= 0);
    (void)close(p->saved);
}

static char text_in_pipe[1 << 23]; /* what count_in has read */

static size_t count_in(int fd, const char *what)
{
    char *text = text_in_pipe;
    size_t len = 0;
    size_t count = 0;
    ssize_t got;

    while ((got = read(fd, text + len, sizeof(text_in_pipe) - 1 - len)) > 0) {
        len += (size_t)got;
    }
    text[len] = '\0';
    /* Not strstr: a sanitizer measures the whole text at each call. */
    for (const char *at = text;
         (at = memmem(at, len - (size_t)(at - text), what, strlen(what))) != NULL; at++) {
        count++;
    }
    return count;
}

/* 30,000 lines of half a kilobyte are more than pipe and queue hold: callers go on, and what is
 * lost is counted, to the line. */
static void test_a_pipe_that_nobody_reads(void **state)
{
    enum {
        LINES = 30000
    };
    struct ps_log_options options = {.level = PS_LOG_INFO, .format = PS_LOG_JSON};
    struct pipe_stderr p;
    char value[512];
    uint64_t before = ps_log_dropped();
    int64_t stop_began;
    size_t written;

    (void)state;
    memset(value, 'v', sizeof(value));
    to_pipe(&p);
    assert_int_equal(ps_log_start(&options), 0);
    for (int i = 0; i < LINES; i++) {
        struct ps_log_line line;

        ps_log_begin(&line, PS_LOG_INFO, "x");
        ps_log_str(&line, "needle", ps_slice(value, sizeof(value)));
        ps_log_end(&line);
    }
    assert_true(ps_log_dropped() > before);
    stop_began = ps_clock_us();
    ps_log_stop(); /* with the pipe full: gives up after a second */
    assert_true(ps_clock_us() - stop_began >= 900000);
    ps_log(PS_LOG_ERROR, "needle direct"); /* nor does a line after the end block */
    restore(&p);
    written = count_in(p.out, "needle");
    (void)close(p.out);
    assert_true(written > 0);
    assert_int_equal(written + (ps_log_dropped() - before), LINES + 1);
}

static void *drain_later(void *arg)
{
    size_t *count = arg;

    *count = count_in((int)*count, "needle");
    return NULL;
}

/* The reader comes late: what was queued arrives, and a line says how many are missing. */
static void test_a_pipe_that_is_read_late(void **state)
{
    struct ps_log_options options = {.level = PS_LOG_INFO, .format = PS_LOG_TEXT};
    struct pipe_stderr p;
    char value[512];
    uint64_t before = ps_log_dropped();
    size_t lines = 0;
    size_t written;
    pthread_t reader;

    (void)state;
    memset(value, 'v', sizeof(value));
    to_pipe(&p);
    assert_int_equal(ps_log_start(&options), 0);
    while (ps_log_dropped() < before + 10) {
        struct ps_log_line line;

        ps_log_begin(&line, PS_LOG_INFO, "needle");
        ps_log_str(&line, "value", ps_slice(value, sizeof(value)));
        ps_log_end(&line);
        lines++;
    }
    written = (size_t)p.out;
    assert_int_equal(pthread_create(&reader, NULL, drain_later, &written), 0);
    ps_log_stop();
    restore(&p);
    assert_int_equal(pthread_join(reader, NULL), 0);
    (void)close(p.out);
    assert_int_equal(written + (ps_log_dropped() - before), lines);
    assert_non_null(strstr(text_in_pipe, " warn log lines dropped count=10\n"));
}

static void test_a_pipe_whose_reader_is_gone(void **state)
{
    struct ps_log_options options = {.level = PS_LOG_INFO, .format = PS_LOG_TEXT};
    struct pipe_stderr p;
    uint64_t before = ps_log_dropped();

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    to_pipe(&p);
    (void)close(p.out);
    assert_int_equal(ps_log_start(&options), 0);
    ps_log(PS_LOG_INFO, "one");
    ps_log(PS_LOG_INFO, "two");
    ps_log_stop();
    restore(&p);
    assert_int_equal(ps_log_dropped(), before + 2);
}

static void test_lines_without_a_writer_go_to_stderr(void **state)
{
    struct pipe_stderr p;

    (void)state;
    ps_log_configure(PS_LOG_INFO, PS_LOG_TEXT);
    to_pipe(&p);
    ps_log(PS_LOG_INFO, "needle");
    ps_log(PS_LOG_DEBUG, "needle");
    restore(&p);
    assert_int_equal(count_in(p.out, "info needle\n"), 1);
    (void)close(p.out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_path, remove_path)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_json_lines),
        TEST(test_text_lines),
        TEST(test_time_is_now),
        TEST(test_levels),
        TEST(test_long_lines_are_cut_and_stay_whole),
        TEST(test_a_long_message_is_cut),
        TEST(test_a_file_that_cannot_be_opened),
        TEST(test_reopen),
        TEST(test_many_threads),
        TEST(test_a_pipe_that_nobody_reads),
        TEST(test_a_pipe_that_is_read_late),
        TEST(test_a_pipe_whose_reader_is_gone),
        TEST(test_lines_without_a_writer_go_to_stderr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
