/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Feeds a text to the scanner in pieces and writes down all that can be seen of it, so that two
 * ways of cutting can be compared. Each piece has a heap block of exactly its size:
 * AddressSanitizer sees a read beyond it.
 */

#ifndef PENSTOCK_TESTS_JSON_FEEDING_H
#define PENSTOCK_TESTS_JSON_FEEDING_H

#include "testing.h"

#include "penstock/base/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct feeding {
    const struct ps_json_path *names; /* for the log; may be NULL */
    const struct ps_json_paths *paths;
    struct ps_json_limits limits;
    struct ps_slice text;
    int stop_after; /* values; 0: never */
    /* What was seen. */
    enum ps_json_error error;
    uint64_t offset;
    int duplicate;
    bool complete;
    bool began;
    enum ps_json_type root;
    int values;
    size_t log_len;
    char log[2048]; /* one "path#element=raw " for each value; "~" before a raw with backslashes */
};

static inline bool log_value(void *arg, const struct ps_json_value *value)
{
    struct feeding *f = arg;
    assert_true(value->start < value->end);
    assert_true(value->end <= f->text.len);
    int written = snprintf(f->log + f->log_len, sizeof(f->log) - f->log_len, "%s#%u=%s%.*s ",
                           f->names[value->path].path, value->element, value->escaped ? "~" : "",
                           (int)(value->end - value->start), f->text.ptr + value->start);
    assert_true(written > 0 && (size_t)written < sizeof(f->log) - f->log_len);
    f->log_len += (size_t)written;
    f->values++;
    /* The type must fit the first byte, or the scanner reports one value as another. */
    static const char *const firsts[] = {"n", "f", "t", "-0123456789", "\"", "[", "{"};
    assert_non_null(strchr(firsts[value->type], f->text.ptr[value->start]));
    return f->stop_after == 0 || f->values < f->stop_after;
}

static inline void feed_piece(struct ps_json_scan *scan, const char *ptr, size_t len)
{
    char *piece = malloc(len > 0 ? len : 1);
    assert_non_null(piece);
    memcpy(piece, ptr, len);
    enum ps_json_error error = ps_json_scan_feed(scan, piece, len);
    assert_int_equal(error, scan->error);
    free(piece);
}

/* Cuts at `first` and `second`; with a step, behind every `step` bytes instead. */
static inline void feed_cut(struct feeding *f, size_t first, size_t second, size_t step)
{
    struct ps_json_scan scan;
    memset(&scan, 0xa5, sizeof(scan));
    f->values = 0;
    f->log_len = 0;
    f->log[0] = '\0';
    ps_json_scan_init(&scan, f->paths, &f->limits, f->names != NULL ? log_value : NULL, f);
    if (step == 0) {
        feed_piece(&scan, f->text.ptr, first);
        feed_piece(&scan, f->text.ptr + first, second - first);
        feed_piece(&scan, f->text.ptr + second, f->text.len - second);
    }
    for (size_t at = 0; step > 0 && at < f->text.len; at += step) {
        feed_piece(&scan, f->text.ptr + at, f->text.len - at < step ? f->text.len - at : step);
    }
    f->complete = ps_json_scan_complete(&scan);
    f->error = ps_json_scan_finish(&scan);
    assert_int_equal(f->error, scan.error);
    assert_int_equal(ps_json_scan_finish(&scan), f->error);
    f->offset = scan.offset;
    f->duplicate = scan.duplicate;
    f->began = scan.began;
    f->root = scan.root;
}

static inline void assert_same(const struct feeding *a, const struct feeding *b, size_t first,
                               size_t second)
{
    if (a->error != b->error || a->offset != b->offset || a->duplicate != b->duplicate ||
        a->complete != b->complete || a->began != b->began || a->root != b->root ||
        strcmp(a->log, b->log) != 0) {
        print_error("text: %.*s\nwhole: error %d at %d: %s\ncut at %d and %d: error %d at %d: %s\n",
                    (int)a->text.len, a->text.ptr, (int)a->error, (int)a->offset, a->log,
                    (int)first, (int)second, (int)b->error, (int)b->offset, b->log);
        fail_msg("cutting changed the result");
    }
}

/* Whole, then cut every way that is affordable; `f` holds the result of whole. */
static inline void feed_all_ways(struct feeding *f)
{
    size_t len = f->text.len;
    feed_cut(f, len, len, 0);
    struct feeding cut = *f;
    for (size_t step = 1; step <= 3; step++) {
        feed_cut(&cut, 0, 0, step);
        assert_same(f, &cut, step, step);
    }
    for (size_t i = 0; i <= len; i++) {
        for (size_t j = i; j <= (len <= 48 ? len : i); j++) {
            feed_cut(&cut, i, j, 0);
            assert_same(f, &cut, i, j);
        }
    }
}

#endif
