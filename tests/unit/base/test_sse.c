/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/mem.h"
#include "penstock/base/sse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every stream is fed whole, byte by byte, and cut at every byte and every pair of bytes. */

#define TEXT(literal) literal, sizeof(literal) - 1

struct feeding {
    struct ps_slice text;
    bool ndjson;
    size_t max;
    int stop_after; /* events; 0: never */
    /* What was seen. */
    enum ps_sse_result result;
    bool partial;
    bool finishing;
    int events;
    size_t log_len;
    size_t raw_len;
    char log[4096]; /* for each event "[data]", "name[data]", or "-" when it has no data */
    char raw[4096]; /* all raws, one behind the other */
};

static void put(char *buf, size_t size, size_t *len, const char *ptr, size_t count)
{
    assert_true(count < size - *len);
    if (count > 0) {
        memcpy(buf + *len, ptr, count);
    }
    *len += count;
    buf[*len] = '\0';
}

static bool inside(struct ps_slice part, struct ps_slice whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

static bool log_event(void *arg, const struct ps_sse_event *event)
{
    struct feeding *f = arg;
    assert_true(event->raw.len > 0);
    assert_true(event->raw.len <= f->max);
    put(f->raw, sizeof(f->raw), &f->raw_len, event->raw.ptr, event->raw.len);
    f->events++;
    if (f->finishing && !event->has_data && ps_slice_eq_cstr(event->raw, "\n")) {
        /* The LF of a CRLF that was cut: the one event more that cutting can make. */
        return true;
    }
    if (event->name.len > 0) {
        assert_true(inside(event->name, event->raw));
        put(f->log, sizeof(f->log), &f->log_len, event->name.ptr, event->name.len);
    }
    if (event->has_data) {
        put(f->log, sizeof(f->log), &f->log_len, "[", 1);
        put(f->log, sizeof(f->log), &f->log_len, event->data.ptr, event->data.len);
        put(f->log, sizeof(f->log), &f->log_len, "]", 1);
    } else {
        put(f->log, sizeof(f->log), &f->log_len, "-", 1);
    }
    return f->stop_after == 0 || f->events < f->stop_after;
}

/* Each piece in memory of exactly its size, gone before the next one comes. */
static void feed_piece(struct ps_sse *sse, const char *ptr, size_t len)
{
    char *piece = malloc(len > 0 ? len : 1);
    assert_non_null(piece);
    memcpy(piece, ptr, len);
    enum ps_sse_result result = ps_sse_feed(sse, piece, len);
    assert_int_equal(result, sse->result);
    free(piece);
}

static void feed_cut(struct feeding *f, size_t first, size_t second, size_t step)
{
    struct ps_sse sse;
    f->events = 0;
    f->log_len = 0;
    f->raw_len = 0;
    f->log[0] = '\0';
    f->finishing = false;
    ps_sse_init(&sse, f->max, f->ndjson, log_event, f);
    if (step == 0) {
        feed_piece(&sse, f->text.ptr, first);
        feed_piece(&sse, f->text.ptr + first, second - first);
        feed_piece(&sse, f->text.ptr + second, f->text.len - second);
    }
    for (size_t at = 0; step > 0 && at < f->text.len; at += step) {
        feed_piece(&sse, f->text.ptr + at, f->text.len - at < step ? f->text.len - at : step);
    }
    f->finishing = true;
    f->result = ps_sse_finish(&sse, &f->partial);
    ps_sse_deinit(&sse);
    if (f->result == PS_SSE_OK) {
        assert_true(ps_slice_eq(ps_slice(f->raw, f->raw_len), f->text));
    }
}

static void assert_same(const struct feeding *a, const struct feeding *b, size_t first,
                        size_t second)
{
    if (a->result != b->result || a->partial != b->partial || strcmp(a->log, b->log) != 0) {
        fail_msg(
            "%.*s cut at %d and %d: result %d, partial %d, %s; whole: result %d, partial %d, %s",
            (int)a->text.len, a->text.ptr, (int)first, (int)second, (int)b->result, (int)b->partial,
            b->log, (int)a->result, (int)a->partial, a->log);
    }
}

static void feed_all_ways(struct feeding *f)
{
    size_t len = f->text.len;
    feed_cut(f, len, len, 0);
    struct feeding cut = *f;
    for (size_t step = 1; step <= 5; step++) {
        feed_cut(&cut, 0, 0, step);
        assert_same(f, &cut, step, step);
    }
    for (size_t i = 0; i <= len; i++) {
        for (size_t j = i; j <= (len <= 64 ? len : i); j++) {
            feed_cut(&cut, i, j, 0);
            assert_same(f, &cut, i, j);
        }
    }
}

struct stream {
    const char *text;
    size_t len;
    const char *log;
    bool partial;
};

static const struct stream streams[] = {
    {TEXT(""), "", false},
    /* One field, and how its value is cut out. */
    {TEXT("data: a\n\n"), "[a]", false},
    {TEXT("data:a\n\n"), "[a]", false},
    {TEXT("data:  a \n\n"), "[ a ]", false},
    {TEXT("data:\ta\n\n"), "[\ta]", false},
    {TEXT("data:\n\n"), "[]", false},
    {TEXT("data: \n\n"), "[]", false},
    {TEXT("data\n\n"), "[]", false},
    {TEXT("data::a\n\n"), "[:a]", false},
    {TEXT("data: a: b\n\n"), "[a: b]", false},
    {TEXT("data: {\"text\":\"hi\"}\n\ndata: [DONE]\n\n"), "[{\"text\":\"hi\"}][[DONE]]", false},
    /* What is no data field. */
    {TEXT(" data: a\n\n"), "-", false},
    {TEXT("Data: a\n\n"), "-", false},
    {TEXT("data : a\n\n"), "-", false},
    {TEXT("datas: a\n\n"), "-", false},
    {TEXT("dat: a\n\n"), "-", false},
    {TEXT(": comment\n\n"), "-", false},
    {TEXT(":\n\n"), "-", false},
    {TEXT(":data: a\n\n"), "-", false},
    {TEXT("id: 1\n\n"), "-", false},
    {TEXT("retry: 10\n\n"), "-", false},
    {TEXT("anything at all\n\n"), "-", false},
    {TEXT(": keep-alive\n\ndata: a\n\n"), "-[a]", false},
    /* Several data lines. */
    {TEXT("data: a\ndata: b\n\n"), "[a\nb]", false},
    {TEXT("data: a\ndata\ndata:b\n\n"), "[a\n\nb]", false},
    {TEXT("data\ndata\n\n"), "[\n]", false},
    {TEXT("data:\ndata:\ndata: c\n\n"), "[\n\nc]", false},
    {TEXT("data: a\n: between\nid: 7\ndata: b\n\ndata: c\n\n"), "[a\nb][c]", false},
    {TEXT("data: a\ndata: b\n\ndata: c\ndata: d\n\n"), "[a\nb][c\nd]", false},
    /* Names. */
    {TEXT("event: ping\n\n"), "ping-", false},
    {TEXT("event: x\ndata: a\n\n"), "x[a]", false},
    {TEXT("data: a\nevent:x\n\n"), "x[a]", false},
    {TEXT("event: x\nevent: y\ndata: a\n\n"), "y[a]", false},
    {TEXT("event: x\nevent\ndata: a\n\n"), "[a]", false},
    {TEXT("event: x\nevent:\ndata: a\n\n"), "[a]", false},
    {TEXT("event: x\ndata: a\n\ndata: b\n\n"), "x[a][b]", false},
    {TEXT("event:  x\ndata: a\n\n"), " x[a]", false},
    /* Ends of lines, pure and mixed. */
    {TEXT("data: a\r\n\r\n"), "[a]", false},
    {TEXT("data: a\r\r"), "[a]", false},
    {TEXT("data: a\r\n\n"), "[a]", false},
    {TEXT("data: a\n\r\n"), "[a]", false},
    {TEXT("data: a\n\r"), "[a]", false},
    {TEXT("data: a\r\r\n"), "[a]", false},
    {TEXT("data: a\rdata: b\ndata: c\r\n\rdata: d\r\n\r\n"), "[a\nb\nc][d]", false},
    {TEXT("event: x\r\ndata: a\r\n\r\nevent: y\r\ndata: b\r\n\r\n"), "x[a]y[b]", false},
    {TEXT("data: a\r\n\r\ndata: b\r\n\r\ndata: c\r\n\r\n"), "[a][b][c]", false},
    {TEXT("data: a\r\rdata: b\r\r"), "[a][b]", false},
    {TEXT("data:\r\r"), "[]", false},
    {TEXT("data:\r\n\r\n"), "[]", false},
    /* Empty lines too many. */
    {TEXT("\n"), "-", false},
    {TEXT("\r\n"), "-", false},
    {TEXT("\r"), "-", false},
    {TEXT("\n\n\n"), "---", false},
    {TEXT("\r\n\r\n"), "--", false},
    {TEXT("\r\r\n\n"), "---", false},
    {TEXT("\n\r"), "--", false},
    {TEXT("data: a\n\n\n\ndata: b\n\n"), "[a]--[b]", false},
    {TEXT("data: a\r\n\r\n\r\ndata: b\r\n\r\n"), "[a]-[b]", false},
    /* A byte order mark, at the start only. */
    {TEXT("\xef\xbb\xbf"
          "data: a\n\n"),
     "[a]", false},
    {TEXT("\xef\xbb\xbf\n"
          "data: a\n\n"),
     "-[a]", false},
    {TEXT("\xef\xbb\xbf\xef\xbb\xbf"
          "data: a\n\n"),
     "-", false},
    {TEXT("\n\xef\xbb\xbf"
          "data: a\n\n"),
     "--", false},
    {TEXT("\xef\xbb"
          "data: a\n\n"),
     "-", false},
    {TEXT("data: \xef\xbb\xbf"
          "a\n\n"),
     "[\xef\xbb\xbf"
     "a]",
     false},
    {TEXT("data: a\n\xef\xbb\xbf"
          "data: b\n\n"),
     "[a]", false},
    {TEXT("\xef\xbb\xbf"), "-", true},
    {TEXT("\xef"), "-", true},
    /* The stream ends inside an event. */
    {TEXT("data: a"), "[a]", true},
    {TEXT("data: a\n"), "[a]", true},
    {TEXT("data: a\r"), "[a]", true},
    {TEXT("data: a\r\n"), "[a]", true},
    {TEXT("data: a\n\ndata: b"), "[a][b]", true},
    {TEXT("data: a\ndata: b"), "[a\nb]", true},
    {TEXT("data: a\ndata"), "[a\n]", true},
    {TEXT("data: a\ndat"), "[a]", true},
    {TEXT("event: x\n"), "x-", true},
    {TEXT("event: x"), "x-", true},
    {TEXT(": c"), "-", true},
    {TEXT("da"), "-", true},
    {TEXT("data: a\n\n:"), "[a]-", true},
    {TEXT("data: a\r\n\r\nx"), "[a]-", true},
    /* Bytes that are no text. */
    {TEXT("data: \xff\xfe\x01\n\n"), "[\xff\xfe\x01]", false},
    {TEXT("data: one line of more than sixteen bytes, cut in every place there is, and then\n"
          "data: a second one\n\n: x\n\nevent: done\ndata: {}\n\n"),
     "[one line of more than sixteen bytes, cut in every place there is, and then\n"
     "a second one]-done[{}]",
     false},
};

static const struct stream ndjson[] = {
    {TEXT(""), "", false},
    {TEXT("{}\n"), "[{}]", false},
    {TEXT("{\"a\":1}\n[2]\n"), "[{\"a\":1}][[2]]", false},
    {TEXT("{}\r\n{}\r\n"), "[{}][{}]", false},
    {TEXT("{\"a\":\r1}\n"), "[{\"a\":\r1}]", false},
    {TEXT("\n"), "-", false},
    {TEXT("\r\n"), "-", false},
    {TEXT("{}\n\n{}\n"), "[{}]-[{}]", false},
    {TEXT("data: a\n\n"), "[data: a]-", false},
    {TEXT("\xef\xbb\xbf{}\n{}\n"), "[{}][{}]", false},
    {TEXT("{}"), "[{}]", true},
    {TEXT("{}\n{"), "[{}][{]", true},
};

static void check_stream(const struct stream *stream, bool lines)
{
    struct feeding f = {
        .text = ps_slice(stream->text, stream->len), .ndjson = lines, .max = 1 << 20};
    feed_all_ways(&f);
    if (f.result != PS_SSE_OK || f.partial != stream->partial || strcmp(f.log, stream->log) != 0) {
        fail_msg("%s: result %d, partial %d, %s", stream->text, (int)f.result, (int)f.partial,
                 f.log);
    }
}

static void test_streams(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        check_stream(&streams[i], false);
    }
}

static void test_ndjson(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ndjson) / sizeof(ndjson[0]); i++) {
        check_stream(&ndjson[i], true);
    }
}

/* A NUL byte ends nothing. */
static void test_nul_bytes(void **state)
{
    (void)state;
    struct feeding f = {.text = PS_SLICE_LIT("data: a\0b\n\0\n\n"), .max = 100};
    feed_all_ways(&f);
    assert_int_equal(f.log_len, 5);
    assert_memory_equal(f.log, "[a\0b]", 5);
}

/* ---- borders of raw ---- */

struct raws {
    char log[256];
    size_t len;
};

static bool log_raw(void *arg, const struct ps_sse_event *event)
{
    struct raws *raws = arg;
    put(raws->log, sizeof(raws->log), &raws->len, event->raw.ptr, event->raw.len);
    put(raws->log, sizeof(raws->log), &raws->len, "|", 1);
    return true;
}

static void test_raw_borders(void **state)
{
    (void)state;
    static const struct {
        const char *pieces[4];
        const char *raws;
    } cases[] = {
        {{"data: a\n\ndata: b\n\n"}, "data: a\n\n|data: b\n\n|"},
        {{"data: a\n\n\ndata: b\n\n"}, "data: a\n\n|\n|data: b\n\n|"},
        {{"data: a\r\n\r\ndata: b\r\n\r\n"}, "data: a\r\n\r\n|data: b\r\n\r\n|"},
        /* Cut between CR and LF: the event ends with the CR, the LF leads the next one. */
        {{"data: a\r\n\r", "\ndata: b\r\n\r\n"}, "data: a\r\n\r|\ndata: b\r\n\r\n|"},
        {{"data: a\r\n\r", "\n", "data: b\r\n\r\n"}, "data: a\r\n\r|\ndata: b\r\n\r\n|"},
        {{"data: a\r\n\r", "data: b\r\n\r\n"}, "data: a\r\n\r|data: b\r\n\r\n|"},
        {{"data: a\r", "\n\r\ndata: b\n\n"}, "data: a\r\n\r\n|data: b\n\n|"},
        {{"data: a\r\n\r", "\n"}, "data: a\r\n\r|\n|"},
        {{"\r", "\n\r", "\n\n"}, "\r|\n\r|\n\n|"},
        {{"\xef\xbb\xbf", "data: a\n\nx"},
         "\xef\xbb\xbf"
         "data: a\n\n|x|"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct raws raws = {.len = 0};
        struct ps_sse sse;
        bool partial;
        ps_sse_init(&sse, 100, false, log_raw, &raws);
        for (size_t j = 0; j < 4 && cases[i].pieces[j] != NULL; j++) {
            feed_piece(&sse, cases[i].pieces[j], strlen(cases[i].pieces[j]));
        }
        assert_int_equal(ps_sse_finish(&sse, &partial), PS_SSE_OK);
        assert_string_equal(raws.log, cases[i].raws);
        ps_sse_deinit(&sse);
    }
}

/* An event is reported as soon as its last byte is there, not with the next one. */
static void test_reports_at_once(void **state)
{
    (void)state;
    static const char *const ends[] = {"data: a\n\n", "data: a\r\n\r", "data: a\r\r",
                                       "\xef\xbb\xbf\n"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct feeding f = {.text = ps_slice_cstr(ends[i]), .max = 100};
        struct ps_sse sse;
        ps_sse_init(&sse, f.max, false, log_event, &f);
        for (size_t at = 0; at < f.text.len; at++) {
            assert_int_equal(f.events, 0);
            feed_piece(&sse, f.text.ptr + at, 1);
        }
        assert_int_equal(f.events, 1);
        ps_sse_deinit(&sse);
    }
}

/* ---- memory ---- */

struct view {
    struct ps_slice chunk;
    int events;
};

static bool expect_inside(void *arg, const struct ps_sse_event *event)
{
    struct view *view = arg;
    assert_true(inside(event->raw, view->chunk));
    assert_true(inside(event->data, view->chunk));
    assert_true(inside(event->name, view->chunk));
    view->events++;
    return true;
}

static void test_whole_events_are_not_copied(void **state)
{
    (void)state;
    struct view view = {
        .chunk =
            PS_SLICE_LIT("event: x\ndata: a\n\nevent: y\r\ndata: b\r\n\r\nevent: z\rdata: c\r\r")};
    struct ps_sse sse;
    ps_mem_fail_after(-1);
    ps_sse_init(&sse, 100, false, expect_inside, &view);
    assert_int_equal(ps_sse_feed(&sse, view.chunk.ptr, view.chunk.len), PS_SSE_OK);
    assert_int_equal(view.events, 3);
    ps_sse_deinit(&sse);
    assert_int_equal(ps_mem_fail_after(-1), 0);
}

static void test_events_behind_a_cut_one_are_not_copied(void **state)
{
    (void)state;
    struct feeding f = {.max = 100};
    struct ps_sse sse;
    ps_sse_init(&sse, f.max, false, log_event, &f);
    feed_piece(&sse, "data: a", 7);
    ps_mem_fail_after(-1);
    feed_piece(&sse, "\n\ndata: b\n\ndata: c\n\n", 20);
    assert_int_equal(ps_mem_fail_after(-1), 0);
    assert_string_equal(f.log, "[a][b][c]");
    ps_sse_deinit(&sse);
}

static void test_maximum(void **state)
{
    (void)state;
    static const char *const texts[] = {"data: abc\n\n", "data: a\ndata: b\n\n", ":23456789\n\n",
                                        "data: abc"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t len = strlen(texts[i]);
        for (size_t max = 0; max <= len + 1; max++) {
            struct feeding f = {.text = ps_slice_cstr(texts[i]), .max = max};
            feed_all_ways(&f);
            assert_int_equal(f.result, max >= len ? PS_SSE_OK : PS_SSE_TOO_LARGE);
        }
    }
    /* One event too large: those before it are reported, none after it. */
    struct feeding f = {.text = PS_SLICE_LIT("data: a\n\ndata: 123456\n\ndata: b\n\n"), .max = 12};
    feed_all_ways(&f);
    assert_int_equal(f.result, PS_SSE_TOO_LARGE);
    assert_string_equal(f.log, "[a]");
    assert_false(f.partial);
}

static void test_stop(void **state)
{
    (void)state;
    struct feeding f = {
        .text = PS_SLICE_LIT("data: a\n\ndata: b\n\ndata: c\n\nd"), .max = 100, .stop_after = 2};
    feed_all_ways(&f);
    assert_int_equal(f.result, PS_SSE_STOPPED);
    assert_string_equal(f.log, "[a][b]");
    /* Stopped at the end. */
    f.text = PS_SLICE_LIT("data: a\n\ndata: b");
    feed_all_ways(&f);
    assert_int_equal(f.result, PS_SSE_STOPPED);
    assert_string_equal(f.log, "[a][b]");
}

static void test_memory_short(void **state)
{
    (void)state;
    static const char text[] =
        "data: a\ndata: b\n\nevent: x\ndata: c\n\ndata: d\ndata: e\ndata: f\n\n";
    int failures = 0;
    for (int nth = 0; nth < 8; nth++) {
        for (size_t step = 1; step <= 40; step += 3) {
            struct feeding f = {.max = 1000};
            struct ps_sse sse;
            enum ps_sse_result result = PS_SSE_OK;
            ps_sse_init(&sse, f.max, false, log_event, &f);
            ps_mem_fail_after(nth);
            for (size_t at = 0; at < sizeof(text) - 1; at += step) {
                size_t len = sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step;
                result = ps_sse_feed(&sse, text + at, len);
            }
            ps_mem_fail_after(-1);
            if (result == PS_SSE_OK) {
                assert_string_equal(f.log, "[a\nb]x[c][d\ne\nf]");
            } else {
                bool partial;
                assert_int_equal(result, PS_SSE_NO_MEMORY);
                assert_int_equal(ps_sse_finish(&sse, &partial), PS_SSE_NO_MEMORY);
                failures++;
            }
            ps_sse_deinit(&sse);
        }
    }
    assert_true(failures > 20);
}

static bool keep_length(void *arg, const struct ps_sse_event *event)
{
    size_t *len = arg;
    *len += event->data.len;
    return true;
}

/* One big event must not cost the stream its memory for good. */
static void test_memory_is_given_back(void **state)
{
    (void)state;
    enum {
        SIZE = 300000
    };
    char *line = malloc(SIZE);
    assert_non_null(line);
    memset(line, 'x', SIZE);
    memcpy(line, "data: ", 6);
    line[SIZE / 2] = '\n';
    memcpy(line + SIZE / 2 + 1, "data: ", 6);
    size_t len = 0;
    struct ps_sse sse;
    ps_sse_init(&sse, 1 << 20, false, keep_length, &len);
    assert_int_equal(ps_sse_feed(&sse, line, SIZE), PS_SSE_OK);
    assert_true(sse.held.cap >= SIZE);
    assert_int_equal(ps_sse_feed(&sse, "\n\ndata: a\n\n", 11), PS_SSE_OK);
    assert_int_equal(len, SIZE - 12 + 1);
    assert_true(sse.held.cap <= 65536 && sse.data.cap <= 65536);
    ps_sse_deinit(&sse);
    free(line);
}

/*
 * Each of these would take minutes, and the test its time limit, if a byte were looked at again for
 * each line or each feed.
 */
static void test_work_is_linear(void **state)
{
    (void)state;
    enum {
        SIZE = 4 << 20
    };
    char *text = malloc(SIZE);
    assert_non_null(text);
    size_t len = 0;
    struct ps_sse sse;
    /* Short lines that end with CR, no LF at all in one feed. */
    for (size_t i = 0; i < SIZE; i++) {
        text[i] = i % 2 == 0 ? ':' : '\r';
    }
    ps_sse_init(&sse, SIZE, false, keep_length, &len);
    assert_int_equal(ps_sse_feed(&sse, text, SIZE - 1), PS_SSE_OK);
    ps_sse_deinit(&sse);
    /* Short lines that end with LF, no CR. */
    for (size_t i = 1; i < SIZE; i += 2) {
        text[i] = '\n';
    }
    ps_sse_init(&sse, SIZE, false, keep_length, &len);
    assert_int_equal(ps_sse_feed(&sse, text, SIZE - 1), PS_SSE_OK);
    ps_sse_deinit(&sse);
    /* One long line, byte by byte. */
    memset(text, 'x', SIZE);
    memcpy(text, "data:", 5);
    memcpy(text + SIZE - 2, "\n\n", 2);
    ps_sse_init(&sse, SIZE, false, keep_length, &len);
    for (size_t i = 0; i < SIZE; i++) {
        ps_sse_feed(&sse, text + i, 1);
    }
    assert_int_equal(len, SIZE - 7);
    ps_sse_deinit(&sse);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_ndjson),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_raw_borders),
        cmocka_unit_test(test_reports_at_once),
        cmocka_unit_test(test_whole_events_are_not_copied),
        cmocka_unit_test(test_events_behind_a_cut_one_are_not_copied),
        cmocka_unit_test(test_maximum),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_memory_short),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_work_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
