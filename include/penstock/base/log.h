/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_BASE_LOG_H
#define PENSTOCK_BASE_LOG_H

#include "penstock/base/buf.h"
#include "penstock/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Structured lines to stderr or a file, through a writer thread and a bounded queue: a pipe that
 * nobody reads never stops a caller, it costs lines, which are counted. Any thread. Before
 * ps_log_start and after ps_log_stop lines go to stderr directly. Control bytes, escape sequences,
 * U+2028/9 and broken UTF-8 are escaped in either format. Secrets and prompts must not be passed
 * in.
 */
enum ps_log_level {
    PS_LOG_DEBUG,
    PS_LOG_INFO,
    PS_LOG_WARN,
    PS_LOG_ERROR
};
enum ps_log_format {
    PS_LOG_JSON,
    PS_LOG_TEXT
};

struct ps_log_options {
    enum ps_log_level level;
    enum ps_log_format format;
    const char *file; /* NULL: stderr. Opened for appending; reopened by ps_log_reopen */
};

/* 0, or -errno when the file cannot be opened. */
int ps_log_start(const struct ps_log_options *options);
/* Level and format of a running log; the file stays. */
void ps_log_configure(enum ps_log_level level, enum ps_log_format format);
/* SIGUSR1: the writer thread reopens its file. */
void ps_log_reopen(void);
/* Writes what is queued (waits a second at the most) and ends the thread. */
void ps_log_stop(void);
/* Lines lost because the sink did not take them. */
uint64_t ps_log_dropped(void);
bool ps_log_enabled(enum ps_log_level level);

/* A line with only a message. */
void ps_log(enum ps_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A line with fields, in order, after time, level and message. The builder lives on the caller's
 * stack; ps_log_end hands the line over and frees what it holds: every begin has an end. Of a line
 * above 16 KiB the fields that do not fit are left out (a long value is shortened) and a last field
 * says "cut":true. JSON:
 * {"time":"2026-11-23T18:00:00.000Z","level":"info","msg":"request","key":value,…} text:
 * 2026-11-23T18:00:00.000Z info request key=value key="value with spaces"
 */
struct ps_log_line {
    struct ps_buf buf;
    enum ps_log_format format;
    bool off;          /* below the level: nothing is built */
    bool first;        /* no comma before the next field */
    bool cut;          /* full: whatever else comes is left out */
    int skipped;       /* arrays and objects that were left out and are still open */
    int item;          /* text: index of the object in `array` */
    const char *array; /* text: borrowed until array_end; NULL outside */
};

void ps_log_begin(struct ps_log_line *line, enum ps_log_level level, const char *message);
void ps_log_str(struct ps_log_line *line, const char *key, struct ps_slice value);
void ps_log_cstr(struct ps_log_line *line, const char *key, const char *value); /* NULL: left out */
void ps_log_int(struct ps_log_line *line, const char *key, int64_t value);
void ps_log_bool(struct ps_log_line *line, const char *key, bool value);
/* µs, shown as ms with three digits. */
void ps_log_ms(struct ps_log_line *line, const char *key, int64_t us);
/* A list of small objects: array_begin("attempts"), then per item object_begin/…/object_end,
 * array_end. In text format the items' fields appear as attempts.0.target=…. */
void ps_log_array_begin(struct ps_log_line *line, const char *key);
void ps_log_object_begin(struct ps_log_line *line);
void ps_log_object_end(struct ps_log_line *line);
void ps_log_array_end(struct ps_log_line *line);
void ps_log_end(struct ps_log_line *line);

#endif
