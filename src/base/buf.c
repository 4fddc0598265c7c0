/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/buf.h"

#include "penstock/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define FIRST_CAP 256

void ps_buf_init(struct ps_buf *buf, size_t max)
{
    *buf = (struct ps_buf){.max = max};
}

void ps_buf_deinit(struct ps_buf *buf)
{
    ps_free(buf->ptr);
    *buf = (struct ps_buf){.max = buf->max};
}

void ps_buf_reset(struct ps_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

/*
 * Makes room for `spare` bytes behind len. The caller has checked that the bytes it will keep stay
 * within max; the memory may be one byte larger, for the NUL that vsnprintf writes.
 */
static bool grow(struct ps_buf *buf, size_t spare)
{
    size_t need = buf->len + spare;
    size_t top = buf->max < SIZE_MAX ? buf->max + 1 : buf->max;
    size_t cap = buf->cap != 0 ? buf->cap : FIRST_CAP;
    char *ptr;

    while (cap < need) {
        if (cap > top / 2) {
            cap = top;
            break;
        }
        cap *= 2;
    }
    cap = cap < top ? cap : top;
    ptr = cap >= need ? ps_realloc(buf->ptr, cap) : NULL;
    if (ptr == NULL) {
        buf->failed = true;
        return false;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return true;
}

char *ps_buf_reserve_slow(struct ps_buf *buf, size_t len)
{
    if (buf->failed) {
        return NULL;
    }
    if (len > buf->max - buf->len) {
        buf->failed = true;
        return NULL;
    }
    /* A reserve of nothing on an empty buffer still returns an address. */
    if ((len > buf->cap - buf->len || buf->ptr == NULL) && !grow(buf, len)) {
        return NULL;
    }
    return buf->ptr + buf->len;
}

void ps_buf_commit(struct ps_buf *buf, size_t len)
{
    if (!buf->failed) {
        buf->len += len;
    }
}

static void append_digits(struct ps_buf *buf, uint64_t value, bool negative)
{
    char digits[21];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    if (negative) {
        digits[--at] = '-';
    }
    ps_buf_append(buf, digits + at, sizeof(digits) - at);
}

void ps_buf_uint(struct ps_buf *buf, uint64_t value)
{
    append_digits(buf, value, false);
}

void ps_buf_int(struct ps_buf *buf, int64_t value)
{
    uint64_t magnitude = (uint64_t)value;

    append_digits(buf, value < 0 ? 0 - magnitude : magnitude, value < 0);
}

/* Formats into the spare bytes; returns the length of the whole text, or -1. */
__attribute__((format(printf, 2, 0))) static int format_spare(struct ps_buf *buf,
                                                              const char *format, va_list args)
{
    size_t spare = buf->ptr != NULL ? buf->cap - buf->len : 0;

    return vsnprintf(spare > 0 ? buf->ptr + buf->len : NULL, spare, format, args);
}

void ps_buf_printf(struct ps_buf *buf, const char *format, ...)
{
    va_list args;
    int len;

    if (buf->failed) {
        return;
    }
    va_start(args, format);
    len = format_spare(buf, format, args);
    va_end(args);
    if (len < 0 || (size_t)len > buf->max - buf->len) {
        buf->failed = true;
        return;
    }
    if ((size_t)len >= buf->cap - buf->len) {
        if (!grow(buf, (size_t)len + 1)) {
            return;
        }
        va_start(args, format);
        len = format_spare(buf, format, args);
        va_end(args);
        if (len < 0 || (size_t)len >= buf->cap - buf->len) {
            buf->failed = true;
            return;
        }
    }
    buf->len += (size_t)len;
}

void ps_buf_drop(struct ps_buf *buf, size_t len)
{
    if (len >= buf->len) {
        buf->len = 0;
        return;
    }
    if (len > 0) {
        buf->len -= len;
        memmove(buf->ptr, buf->ptr + len, buf->len);
    }
}

#define ONES 0x0101010101010101ULL
#define HIGH 0x8080808080808080ULL

/* Whether eight bytes are all printable ASCII other than '"' and '\': nothing to look at one by
 * one. */
static bool eight_plain(const char *ptr)
{
    uint64_t word;
    uint64_t quote;
    uint64_t slash;
    uint64_t del;

    memcpy(&word, ptr, sizeof(word));
    quote = word ^ (ONES * '"');
    slash = word ^ (ONES * '\\');
    del = word ^ (ONES * 0x7f);
    /* A borrow can only raise a false alarm in a byte above a true one, never hide one. */
    return ((word | (word - ONES * 0x20) | (quote - ONES) | (slash - ONES) | (del - ONES)) &
            HIGH) == 0;
}

static bool is_tail(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t ps_utf8_length(const char *ptr, size_t left)
{
    const unsigned char *s = (const unsigned char *)ptr;

    if (left == 0) {
        return 0;
    }
    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        return left >= 2 && is_tail(s[1]) ? 2 : 0;
    }
    if ((s[0] & 0xf0) == 0xe0) {
        if (left < 3 || !is_tail(s[1]) || !is_tail(s[2])) {
            return 0;
        }
        /* neither overlong nor a surrogate */
        return (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ? 0 : 3;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        if (left < 4 || !is_tail(s[1]) || !is_tail(s[2]) || !is_tail(s[3])) {
            return 0;
        }
        /* neither overlong nor above U+10FFFF */
        return (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f) ? 0 : 4;
    }
    return 0;
}

int ps_utf8_quoted(struct ps_slice text, size_t most)
{
    size_t len = text.len < most ? text.len : most;

    while (len > 0 && len < text.len && is_tail((unsigned char)text.ptr[len])) {
        len--;
    }
    return (int)len;
}

static void escape_unit(struct ps_buf *buf, unsigned unit)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {
        '\\',          'u', hex[(unit >> 12) & 15], hex[(unit >> 8) & 15], hex[(unit >> 4) & 15],
        hex[unit & 15]};

    ps_buf_append(buf, text, sizeof(text));
}

static void escape_ascii(struct ps_buf *buf, unsigned char byte)
{
    static const char from[] = "\"\\\n\r\t\b\f";
    static const char to[] = "\"\\nrtbf";
    const char *hit = memchr(from, byte, sizeof(from) - 1);

    if (hit == NULL) {
        escape_unit(buf, byte);
        return;
    }
    ps_buf_byte(buf, '\\');
    ps_buf_byte(buf, to[hit - from]);
}

/*
 * Whether the character at `s` must not be copied as it is; *ret_len is its length. C1 control
 * characters and the two line separators are escaped as well: both do things to terminals and log
 * readers.
 */
static bool must_escape(const unsigned char *s, size_t left, bool quotes, size_t *ret_len)
{
    size_t len;

    if (s[0] < 0x80) {
        *ret_len = 1;
        return s[0] < 0x20 || s[0] == 0x7f || s[0] == '\\' || (quotes && s[0] == '"');
    }
    len = ps_utf8_length((const char *)s, left);
    *ret_len = len != 0 ? len : 1;
    return len == 0 || (len == 2 && s[0] == 0xc2 && s[1] < 0xa0) ||
           (len == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9));
}

static void escape_char(struct ps_buf *buf, const unsigned char *s, size_t len)
{
    if (len == 2) {
        escape_unit(buf, s[1]); /* C2 80..9F is U+0080..9F */
    } else if (len == 3) {
        escape_unit(buf, 0x2000U | (s[2] & 0x3fU));
    } else if (s[0] >= 0x80) {
        ps_buf_append(buf, "\xef\xbf\xbd", 3);
    } else {
        escape_ascii(buf, s[0]);
    }
}

static void append_escaped(struct ps_buf *buf, struct ps_slice text, bool quotes)
{
    size_t run = 0;
    size_t at = 0;

    while (at < text.len) {
        size_t len;

        if (text.len - at >= 8 && eight_plain(text.ptr + at)) {
            at += 8;
            continue;
        }
        if (must_escape((const unsigned char *)text.ptr + at, text.len - at, quotes, &len)) {
            ps_buf_append(buf, text.ptr + run, at - run);
            escape_char(buf, (const unsigned char *)text.ptr + at, len);
            run = at + len;
        }
        at += len;
    }
    ps_buf_append(buf, text.ptr != NULL ? text.ptr + run : NULL, at - run);
}

void ps_buf_json(struct ps_buf *buf, struct ps_slice text)
{
    ps_buf_byte(buf, '"');
    append_escaped(buf, text, true);
    ps_buf_byte(buf, '"');
}

void ps_buf_printable(struct ps_buf *buf, struct ps_slice text)
{
    append_escaped(buf, text, false);
}
