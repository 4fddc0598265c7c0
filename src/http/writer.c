/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/http/writer.h"

#include "chars.h"

#include <stdio.h>

const struct ps_slice ps_http_continue = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
const struct ps_slice ps_http_last_chunk = {"0\r\n\r\n", 5};

#define STATUS_TABLE(X)                                                                            \
    X(100, "Continue")                                                                             \
    X(101, "Switching Protocols")                                                                  \
    X(103, "Early Hints")                                                                          \
    X(200, "OK")                                                                                   \
    X(201, "Created")                                                                              \
    X(202, "Accepted")                                                                             \
    X(203, "Non-Authoritative Information")                                                        \
    X(204, "No Content")                                                                           \
    X(205, "Reset Content")                                                                        \
    X(206, "Partial Content")                                                                      \
    X(207, "Multi-Status")                                                                         \
    X(300, "Multiple Choices")                                                                     \
    X(301, "Moved Permanently")                                                                    \
    X(302, "Found")                                                                                \
    X(303, "See Other")                                                                            \
    X(304, "Not Modified")                                                                         \
    X(307, "Temporary Redirect")                                                                   \
    X(308, "Permanent Redirect")                                                                   \
    X(400, "Bad Request")                                                                          \
    X(401, "Unauthorized")                                                                         \
    X(402, "Payment Required")                                                                     \
    X(403, "Forbidden")                                                                            \
    X(404, "Not Found")                                                                            \
    X(405, "Method Not Allowed")                                                                   \
    X(406, "Not Acceptable")                                                                       \
    X(407, "Proxy Authentication Required")                                                        \
    X(408, "Request Timeout")                                                                      \
    X(409, "Conflict")                                                                             \
    X(410, "Gone")                                                                                 \
    X(411, "Length Required")                                                                      \
    X(412, "Precondition Failed")                                                                  \
    X(413, "Content Too Large")                                                                    \
    X(414, "URI Too Long")                                                                         \
    X(415, "Unsupported Media Type")                                                               \
    X(416, "Range Not Satisfiable")                                                                \
    X(417, "Expectation Failed")                                                                   \
    X(421, "Misdirected Request")                                                                  \
    X(422, "Unprocessable Content")                                                                \
    X(423, "Locked")                                                                               \
    X(424, "Failed Dependency")                                                                    \
    X(425, "Too Early")                                                                            \
    X(426, "Upgrade Required")                                                                     \
    X(428, "Precondition Required")                                                                \
    X(429, "Too Many Requests")                                                                    \
    X(431, "Request Header Fields Too Large")                                                      \
    X(451, "Unavailable For Legal Reasons")                                                        \
    X(499, "Client Closed Request")                                                                \
    X(500, "Internal Server Error")                                                                \
    X(501, "Not Implemented")                                                                      \
    X(502, "Bad Gateway")                                                                          \
    X(503, "Service Unavailable")                                                                  \
    X(504, "Gateway Timeout")                                                                      \
    X(505, "HTTP Version Not Supported")                                                           \
    X(507, "Insufficient Storage")                                                                 \
    X(508, "Loop Detected")                                                                        \
    X(511, "Network Authentication Required")                                                      \
    X(529, "Overloaded")

static struct ps_slice status_line(int status)
{
    switch (status) {
#define X(number, reason)                                                                          \
    case number:                                                                                   \
        return PS_SLICE_LIT("HTTP/1.1 " #number " " reason "\r\n");
        STATUS_TABLE(X)
#undef X
    default:
        return PS_SLICE_NONE;
    }
}

const char *ps_http_reason(int status)
{
    switch (status) {
#define X(number, reason)                                                                          \
    case number:                                                                                   \
        return reason;
        STATUS_TABLE(X)
#undef X
    default:
        return "Unknown";
    }
}

struct civil {
    int64_t year;
    unsigned month; /* 1 to 12 */
    unsigned day;   /* 1 to 31 */
};

/* Gregorian date of a day counted from 1970-01-01, for days from the year 0 on. The years are
 * counted from March, so that a leap day is the last of its year; 400 of them are one era of
 * 146,097 days. */
static struct civil civil_of(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0: March */
    unsigned day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1);
    bool next_year = month >= 10;

    return (struct civil){
        .year = era * 400 + year_of_era + next_year,
        .month = (unsigned)(next_year ? month - 9 : month + 3),
        .day = day,
    };
}

#define DATE_BYTES 37 /* "date: Sun, 06 Nov 1994 08:49:37 GMT" CRLF */

static void format_date(char *ret, int64_t seconds)
{
    static const char weekdays[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const int64_t last = INT64_C(253402300799); /* of the year 9999, the last with four digits */
    struct civil date;
    int64_t days;
    unsigned left;
    char text[DATE_BYTES + 32];

    seconds = seconds < 0 ? 0 : seconds > last ? last : seconds;
    days = seconds / 86400;
    left = (unsigned)(seconds % 86400);
    date = civil_of(days);
    (void)snprintf(text, sizeof(text), "date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n",
                   weekdays[days % 7], date.day, months[date.month - 1], (unsigned)date.year,
                   left / 3600, left / 60 % 60, left % 60);
    memcpy(ret, text, DATE_BYTES);
}

static void write_date(struct ps_buf *buf, int64_t wall_ms)
{
    static _Thread_local int64_t cached_second = -1;
    static _Thread_local char cached[DATE_BYTES];
    int64_t second = wall_ms > 0 ? wall_ms / 1000 : 0;

    if (second != cached_second) {
        format_date(cached, second);
        cached_second = second;
    }
    ps_buf_append(buf, cached, sizeof(cached));
}

void ps_http_write_status(struct ps_buf *buf, int status, int64_t wall_ms)
{
    struct ps_slice line;

    if (status < 100 || status > 999) {
        status = 500;
    }
    line = status_line(status);
    if (line.len > 0) {
        ps_buf_slice(buf, line);
    } else {
        ps_buf_printf(buf, "HTTP/1.1 %d %s\r\n", status, ps_http_reason(status));
    }
    write_date(buf, wall_ms);
}

/* Names that only ps_http_write_end may write: another opinion on the framing is how responses are
 * split. */
static bool is_framing(struct ps_slice name)
{
    switch (name.len) {
    case 10:
        return ps_slice_ieq(name, PS_SLICE_LIT("connection"));
    case 14:
        return ps_slice_ieq(name, PS_SLICE_LIT("content-length"));
    case 17:
        return ps_slice_ieq(name, PS_SLICE_LIT("transfer-encoding"));
    default:
        return false;
    }
}

static void put_header(struct ps_buf *buf, struct ps_slice name, struct ps_slice value)
{
    size_t len = name.len + value.len + 4;
    char *at;

    if (value.len > SIZE_MAX / 2 || (at = ps_buf_reserve(buf, len)) == NULL) {
        buf->failed = true;
        return;
    }
    memcpy(at, name.ptr, name.len);
    at[name.len] = ':';
    at[name.len + 1] = ' ';
    if (value.len > 0) {
        memcpy(at + name.len + 2, value.ptr, value.len);
    }
    at[len - 2] = '\r';
    at[len - 1] = '\n';
    ps_buf_commit(buf, len);
}

void ps_http_write_header(struct ps_buf *buf, struct ps_slice name, struct ps_slice value)
{
    if (ps_http_is_token(name) && ps_http_is_field_value(value) && !is_framing(name)) {
        put_header(buf, name, value);
    }
}

void ps_http_write_header_cstr(struct ps_buf *buf, const char *name, const char *value)
{
    ps_http_write_header(buf, ps_slice_cstr(name), ps_slice_cstr(value));
}

static struct ps_slice format_uint(char ret[20], uint64_t value)
{
    size_t at = 20;

    do {
        ret[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return ps_slice(ret + at, 20 - at);
}

void ps_http_write_header_uint(struct ps_buf *buf, const char *name, uint64_t value)
{
    char digits[20];

    ps_http_write_header(buf, ps_slice_cstr(name), format_uint(digits, value));
}

void ps_http_write_end(struct ps_buf *buf, enum ps_http_framing framing, uint64_t length,
                       bool keep_alive, int minor)
{
    char digits[20];

    switch (framing) {
    case PS_HTTP_NO_BODY:
        if (length > 0) {
            put_header(buf, PS_SLICE_LIT("content-length"), format_uint(digits, length));
        }
        break;
    case PS_HTTP_LENGTH:
        put_header(buf, PS_SLICE_LIT("content-length"), format_uint(digits, length));
        break;
    case PS_HTTP_CHUNKED:
        ps_buf_slice(buf, PS_SLICE_LIT("transfer-encoding: chunked\r\n"));
        break;
    case PS_HTTP_UNTIL_CLOSE:
        keep_alive = false;
        break;
    }
    if (!keep_alive) {
        ps_buf_slice(buf, PS_SLICE_LIT("connection: close\r\n"));
    } else if (minor == 0) {
        ps_buf_slice(buf, PS_SLICE_LIT("connection: keep-alive\r\n"));
    }
    ps_buf_slice(buf, PS_SLICE_LIT("\r\n"));
}

size_t ps_http_chunk_head(char *ret, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t count = 0;
    size_t shift = sizeof(len) * 8;

    if (len == 0) {
        return 0;
    }
    while (shift > 0) {
        shift -= 4;
        if (count > 0 || (len >> shift) != 0) {
            ret[count++] = digits[(len >> shift) & 15];
        }
    }
    ret[count++] = '\r';
    ret[count++] = '\n';
    return count;
}
