/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/log.h"

#include "log_priv.h"

#include "penstock/base/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define LINE_MAX_BYTES 16384
#define CLOSING        128 /* kept free for closing brackets, the cut mark and the LF */
#define USUAL_BYTES    1024

static atomic_int current_level = PS_LOG_INFO;
static atomic_int current_format = PS_LOG_TEXT;

void ps_log_configure(enum ps_log_level level, enum ps_log_format format)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&current_format, (int)format, memory_order_relaxed);
}

bool ps_log_enabled(enum ps_log_level level)
{
    return (int)level >= atomic_load_explicit(&current_level, memory_order_relaxed);
}

static const char *level_name(enum ps_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    return names[(unsigned)level <= PS_LOG_ERROR ? level : PS_LOG_ERROR];
}

#define TIME_BYTES 24 /* 2026-11-23T18:00:00.000Z */

/* The date is worked out once a second and thread: gmtime_r takes a lock of the whole process. */
static void append_time(struct ps_buf *buf)
{
    static _Thread_local int64_t last_second = -1;
    static _Thread_local char text[64];
    int64_t now = ps_clock_wall_ms();
    int64_t second = now / 1000;
    unsigned ms = (unsigned)(now % 1000);

    if (second != last_second) {
        time_t seconds = (time_t)second;
        struct tm tm;

        if (gmtime_r(&seconds, &tm) == NULL) {
            return;
        }
        (void)snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.000Z", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        last_second = second;
    }
    text[20] = (char)('0' + ms / 100);
    text[21] = (char)('0' + ms / 10 % 10);
    text[22] = (char)('0' + ms % 10);
    ps_buf_append(buf, text, TIME_BYTES);
}

/* A piece that did not fit (or found no memory) is taken back, and the line is full. */
static bool keep_or_cut(struct ps_log_line *line, size_t len, bool first)
{
    if (!line->buf.failed) {
        return true;
    }
    line->buf.failed = false;
    line->buf.len = len;
    line->first = first;
    line->cut = true;
    return false;
}

/* Text values without anything that a reader could take for the end of the value stand bare. */
static bool is_bare(struct ps_slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];

        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return value.len > 0;
}

static void append_value(struct ps_log_line *line, struct ps_slice value)
{
    if (line->format == PS_LOG_TEXT && is_bare(value)) {
        ps_buf_slice(&line->buf, value);
    } else {
        ps_buf_json(&line->buf, value);
    }
}

static void append_key(struct ps_log_line *line, const char *key)
{
    struct ps_buf *buf = &line->buf;

    if (line->format == PS_LOG_JSON) {
        size_t len = strlen(key);
        char *to = ps_buf_reserve(buf, len + 4);

        if (to != NULL) {
            *to = ',';
            to += line->first ? 0 : 1;
            *to++ = '"';
            memcpy(to, key, len);
            memcpy(to + len, "\":", 2);
            ps_buf_commit(buf, len + (line->first ? 3 : 4));
        }
    } else {
        ps_buf_byte(buf, ' ');
        if (line->array != NULL) {
            ps_buf_cstr(buf, line->array);
            ps_buf_byte(buf, '.');
            ps_buf_int(buf, line->item);
            ps_buf_byte(buf, '.');
        }
        ps_buf_cstr(buf, key);
        ps_buf_byte(buf, '=');
    }
    line->first = false;
}

/* Time, level and message. */
static void append_start(struct ps_log_line *line, enum ps_log_level level, struct ps_slice message)
{
    struct ps_buf *buf = &line->buf;

    if (line->format == PS_LOG_JSON) {
        ps_buf_cstr(buf, "{\"time\":\"");
        append_time(buf);
        ps_buf_cstr(buf, "\",\"level\":\"");
        ps_buf_cstr(buf, level_name(level));
        ps_buf_cstr(buf, "\",\"msg\":");
        ps_buf_json(buf, message);
    } else {
        append_time(buf);
        ps_buf_byte(buf, ' ');
        ps_buf_cstr(buf, level_name(level));
        ps_buf_byte(buf, ' ');
        ps_buf_printable(buf, message);
    }
}

void ps_log_begin(struct ps_log_line *line, enum ps_log_level level, const char *message)
{
    struct ps_slice text = ps_slice_cstr(message);

    *line = (struct ps_log_line){
        .format = (enum ps_log_format)atomic_load_explicit(&current_format, memory_order_relaxed),
        .off = !ps_log_enabled(level)};
    if (line->off) {
        return;
    }
    ps_buf_init(&line->buf, LINE_MAX_BYTES - CLOSING);
    if (ps_buf_reserve(&line->buf, USUAL_BYTES) == NULL) {
        ps_log_count_dropped(1);
        ps_buf_deinit(&line->buf);
        line->off = true;
        return;
    }
    /* Escaping makes at most six bytes of one. */
    if (text.len > (LINE_MAX_BYTES - CLOSING) / 6 - USUAL_BYTES / 6) {
        text.len = (LINE_MAX_BYTES - CLOSING) / 6 - USUAL_BYTES / 6;
    }
    append_start(line, level, text);
}

/* A value that is too long gets as many of its bytes as surely fit. */
static void shorten(struct ps_log_line *line, const char *key, struct ps_slice value)
{
    size_t len = line->buf.len;
    size_t sure = (line->buf.max - len) / 6;
    size_t overhead = strlen(key) + (line->array != NULL ? strlen(line->array) : 0) + 32;

    if (sure <= overhead) {
        return;
    }
    append_key(line, key);
    append_value(line,
                 ps_slice(value.ptr, sure - overhead < value.len ? sure - overhead : value.len));
    (void)keep_or_cut(line, len, line->first);
}

void ps_log_str(struct ps_log_line *line, const char *key, struct ps_slice value)
{
    size_t len = line->buf.len;
    bool first = line->first;

    if (line->off || line->cut) {
        return;
    }
    append_key(line, key);
    append_value(line, value);
    if (!keep_or_cut(line, len, first)) {
        shorten(line, key, value);
    }
}

void ps_log_cstr(struct ps_log_line *line, const char *key, const char *value)
{
    if (value != NULL) {
        ps_log_str(line, key, ps_slice_cstr(value));
    }
}

void ps_log_int(struct ps_log_line *line, const char *key, int64_t value)
{
    size_t len = line->buf.len;
    bool first = line->first;

    if (line->off || line->cut) {
        return;
    }
    append_key(line, key);
    ps_buf_int(&line->buf, value);
    (void)keep_or_cut(line, len, first);
}

void ps_log_bool(struct ps_log_line *line, const char *key, bool value)
{
    size_t len = line->buf.len;
    bool first = line->first;

    if (line->off || line->cut) {
        return;
    }
    append_key(line, key);
    ps_buf_cstr(&line->buf, value ? "true" : "false");
    (void)keep_or_cut(line, len, first);
}

void ps_log_ms(struct ps_log_line *line, const char *key, int64_t us)
{
    size_t len = line->buf.len;
    bool first = line->first;
    uint64_t magnitude = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    unsigned part = (unsigned)(magnitude % 1000);
    char digits[4] = {'.', (char)('0' + part / 100), (char)('0' + part / 10 % 10),
                      (char)('0' + part % 10)};

    if (line->off || line->cut) {
        return;
    }
    append_key(line, key);
    ps_buf_append(&line->buf, "-", us < 0 ? 1 : 0);
    ps_buf_uint(&line->buf, magnitude / 1000);
    ps_buf_append(&line->buf, digits, sizeof(digits));
    (void)keep_or_cut(line, len, first);
}

void ps_log_array_begin(struct ps_log_line *line, const char *key)
{
    size_t len = line->buf.len;
    bool first = line->first;

    if (line->off) {
        return;
    }
    if (line->cut) {
        line->skipped++;
        return;
    }
    if (line->format == PS_LOG_TEXT) {
        line->array = key;
        line->item = -1;
        return;
    }
    append_key(line, key);
    ps_buf_byte(&line->buf, '[');
    if (!keep_or_cut(line, len, first)) {
        line->skipped++;
        return;
    }
    line->first = true;
}

void ps_log_object_begin(struct ps_log_line *line)
{
    size_t len = line->buf.len;
    bool first = line->first;

    if (line->off) {
        return;
    }
    if (line->cut) {
        line->skipped++;
        return;
    }
    line->item++;
    if (line->format == PS_LOG_TEXT) {
        return;
    }
    ps_buf_append(&line->buf, ",", first ? 0 : 1);
    ps_buf_byte(&line->buf, '{');
    if (!keep_or_cut(line, len, first)) {
        line->skipped++;
        return;
    }
    line->first = true;
}

/* What was opened is closed even in a full line: the room for it was kept. */
static bool close_with(struct ps_log_line *line, char bracket)
{
    if (line->off) {
        return false;
    }
    if (line->skipped > 0) {
        line->skipped--;
        return false;
    }
    if (line->format == PS_LOG_JSON) {
        size_t max = line->buf.max;

        line->buf.max = LINE_MAX_BYTES - CLOSING / 2;
        ps_buf_byte(&line->buf, bracket);
        line->buf.max = max > line->buf.len ? max : line->buf.len;
    }
    line->first = false;
    return true;
}

void ps_log_object_end(struct ps_log_line *line)
{
    (void)close_with(line, '}');
}

void ps_log_array_end(struct ps_log_line *line)
{
    if (close_with(line, ']')) {
        line->array = NULL;
    }
}

bool ps_log_finish(struct ps_log_line *line)
{
    struct ps_buf *buf = &line->buf;

    if (line->off) {
        return false;
    }
    line->off = true;
    buf->max = LINE_MAX_BYTES;
    if (line->cut) {
        ps_buf_cstr(buf, line->format == PS_LOG_JSON ? ",\"cut\":true" : " cut=true");
    }
    ps_buf_cstr(buf, line->format == PS_LOG_JSON ? "}\n" : "\n");
    if (buf->failed) {
        ps_log_count_dropped(1);
    }
    return !buf->failed;
}

void ps_log_end(struct ps_log_line *line)
{
    if (ps_log_finish(line)) {
        ps_log_submit(line->buf.ptr, line->buf.len);
    }
    ps_buf_deinit(&line->buf);
}

void ps_log(enum ps_log_level level, const char *format, ...)
{
    struct ps_log_line line;
    char message[2048];
    va_list args;

    if (!ps_log_enabled(level)) {
        return;
    }
    va_start(args, format);
    if (vsnprintf(message, sizeof(message), format, args) < 0) {
        message[0] = '\0';
    }
    va_end(args);
    ps_log_begin(&line, level, message);
    ps_log_end(&line);
}
