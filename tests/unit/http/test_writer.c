/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/buf.h"
#include "penstock/http/writer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void expect(struct ps_buf *buf, const char *wanted)
{
    if (buf->failed || !ps_slice_eq_cstr(ps_buf_view(buf), wanted)) {
        fail_msg("expected\n%s\nfound\n%.*s", wanted, (int)buf->len, buf->ptr);
    }
    ps_buf_reset(buf);
}

static void test_whole_response(void **state)
{
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4096);
    ps_http_write_status(&buf, 200, INT64_C(784111777123)); /* the moment of RFC 9110's examples */
    ps_http_write_header_cstr(&buf, "content-type", "application/json");
    ps_http_write_header(&buf, PS_SLICE_LIT("x-empty"), PS_SLICE_NONE);
    ps_http_write_header_uint(&buf, "x-count", UINT64_MAX);
    ps_http_write_header_uint(&buf, "x-zero", 0);
    ps_http_write_end(&buf, PS_HTTP_LENGTH, 12, true, 1);
    expect(&buf, "HTTP/1.1 200 OK\r\n"
                 "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                 "content-type: application/json\r\n"
                 "x-empty: \r\n"
                 "x-count: 18446744073709551615\r\n"
                 "x-zero: 0\r\n"
                 "content-length: 12\r\n\r\n");
    ps_buf_deinit(&buf);
}

static void test_framings(void **state)
{
    static const struct {
        enum ps_http_framing framing;
        uint64_t length;
        bool keep_alive;
        int minor;
        const char *wanted;
    } cases[] = {
        {PS_HTTP_NO_BODY, 0, true, 1, "\r\n"},
        {PS_HTTP_NO_BODY, 7, true, 1, "content-length: 7\r\n\r\n"},
        {PS_HTTP_NO_BODY, 0, false, 1, "connection: close\r\n\r\n"},
        {PS_HTTP_LENGTH, 0, true, 1, "content-length: 0\r\n\r\n"},
        {PS_HTTP_LENGTH, 7, false, 1, "content-length: 7\r\nconnection: close\r\n\r\n"},
        {PS_HTTP_LENGTH, 7, true, 0, "content-length: 7\r\nconnection: keep-alive\r\n\r\n"},
        {PS_HTTP_LENGTH, 7, false, 0, "content-length: 7\r\nconnection: close\r\n\r\n"},
        {PS_HTTP_CHUNKED, 0, true, 1, "transfer-encoding: chunked\r\n\r\n"},
        {PS_HTTP_CHUNKED, 0, false, 1, "transfer-encoding: chunked\r\nconnection: close\r\n\r\n"},
        {PS_HTTP_UNTIL_CLOSE, 0, true, 0, "connection: close\r\n\r\n"},
        {PS_HTTP_UNTIL_CLOSE, 0, false, 1, "connection: close\r\n\r\n"},
    };
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ps_http_write_end(&buf, cases[i].framing, cases[i].length, cases[i].keep_alive,
                          cases[i].minor);
        expect(&buf, cases[i].wanted);
    }
    ps_buf_deinit(&buf);
}

static void test_unsafe_headers_are_left_out(void **state)
{
    const struct {
        struct ps_slice name;
        struct ps_slice value;
    } cases[] = {
        {PS_SLICE_LIT("x"), PS_SLICE_LIT("a\r\nset-cookie: b")},
        {PS_SLICE_LIT("x"), PS_SLICE_LIT("a\nb")},
        {PS_SLICE_LIT("x"), PS_SLICE_LIT("a\rb")},
        {PS_SLICE_LIT("x"), PS_SLICE_LIT("a\0b")},
        {PS_SLICE_LIT("x"), PS_SLICE_LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x1b")},
        {PS_SLICE_LIT("x"), PS_SLICE_LIT("\x7f")},
        {PS_SLICE_LIT(""), PS_SLICE_LIT("a")},
        {PS_SLICE_LIT("x y"), PS_SLICE_LIT("a")},
        {PS_SLICE_LIT("x:"), PS_SLICE_LIT("a")},
        {PS_SLICE_LIT("x\r\ny"), PS_SLICE_LIT("a")},
        {PS_SLICE_LIT("x\xc3\xa9"), PS_SLICE_LIT("a")},
        {PS_SLICE_LIT("Content-Length"), PS_SLICE_LIT("5")},
        {PS_SLICE_LIT("transfer-encoding"), PS_SLICE_LIT("chunked")},
        {PS_SLICE_LIT("Connection"), PS_SLICE_LIT("keep-alive")},
    };
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ps_http_write_header(&buf, cases[i].name, cases[i].value);
        assert_false(buf.failed);
        if (buf.len != 0) {
            fail_msg("case %zu was written: %.*s", i, (int)buf.len, buf.ptr);
        }
    }
    ps_http_write_header_cstr(&buf, "content-lengths", "tab\tand \xc3\xa9");
    expect(&buf, "content-lengths: tab\tand \xc3\xa9\r\n");
    ps_buf_deinit(&buf);
}

/* Every byte at every place of a value that is read eight bytes at a time. */
static void test_field_values(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 24; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                char text[24];
                bool good = byte == '\t' || (byte >= ' ' && byte != 0x7f);

                memset(text, at % 2 == 0 ? '\t' : (char)0xff, sizeof(text));
                text[at] = (char)byte;
                if (ps_http_is_field_value(ps_slice(text, len)) != good) {
                    fail_msg("byte 0x%02x at %zu of %zu", (unsigned)byte, at, len);
                }
            }
        }
    }
    assert_true(ps_http_is_field_value(PS_SLICE_NONE));
}

static void test_tokens(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char text[2] = {'a', (char)byte};
        bool alnum = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                     (byte >= 'A' && byte <= 'Z');
        bool good = alnum || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);

        assert_int_equal(ps_http_is_token(ps_slice(text, 2)), good);
    }
    assert_false(ps_http_is_token(PS_SLICE_NONE));
}

static void test_status_lines(void **state)
{
    static const struct {
        int status;
        const char *wanted;
    } cases[] = {
        {100, "HTTP/1.1 100 Continue\r\ndate: "},
        {404, "HTTP/1.1 404 Not Found\r\ndate: "},
        {413, "HTTP/1.1 413 Content Too Large\r\ndate: "},
        {418, "HTTP/1.1 418 Unknown\r\ndate: "},
        {529, "HTTP/1.1 529 Overloaded\r\ndate: "},
        {999, "HTTP/1.1 999 Unknown\r\ndate: "},
        {0, "HTTP/1.1 500 Internal Server Error\r\ndate: "},
        {-1, "HTTP/1.1 500 Internal Server Error\r\ndate: "},
        {1000, "HTTP/1.1 500 Internal Server Error\r\ndate: "},
    };
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ps_http_write_status(&buf, cases[i].status, 0);
        assert_true(ps_slice_starts(ps_buf_view(&buf), ps_slice_cstr(cases[i].wanted)));
        ps_buf_reset(&buf);
    }
    /* what is written for a status is what is said about it */
    for (int status = 100; status < 1000; status++) {
        char wanted[80];

        (void)snprintf(wanted, sizeof(wanted), "HTTP/1.1 %d %s\r\n", status,
                       ps_http_reason(status));
        ps_http_write_status(&buf, status, 0);
        assert_true(ps_slice_starts(ps_buf_view(&buf), ps_slice_cstr(wanted)));
        ps_buf_reset(&buf);
    }
    ps_buf_deinit(&buf);
}

/* Against the C library's calendar, in steps that meet every month and both kinds of century. */
static void test_dates(void **state)
{
    static const char weekdays[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const int64_t last = INT64_C(253402300799);
    struct ps_buf buf;

    (void)state;
    ps_buf_init(&buf, 4096);
    for (int64_t second = 0; second <= last; second += INT64_C(86400) * 13 + 3671) {
        time_t time = (time_t)second;
        struct tm tm;
        char wanted[128];

        assert_non_null(gmtime_r(&time, &tm));
        (void)snprintf(wanted, sizeof(wanted),
                       "HTTP/1.1 200 OK\r\ndate: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n",
                       weekdays[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
                       tm.tm_hour, tm.tm_min, tm.tm_sec);
        ps_http_write_status(&buf, 200, second * 1000 + 999);
        expect(&buf, wanted);
    }
    /* a broken clock breaks no response */
    ps_http_write_status(&buf, 200, -1);
    expect(&buf, "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    ps_http_write_status(&buf, 200, INT64_MAX);
    expect(&buf, "HTTP/1.1 200 OK\r\ndate: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
    /* and the text of one second is not kept for another */
    ps_http_write_status(&buf, 200, 1999);
    expect(&buf, "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
    ps_http_write_status(&buf, 200, 2000);
    expect(&buf, "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:02 GMT\r\n");
    ps_buf_deinit(&buf);
}

static void test_chunks(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 64; shift++) {
        for (size_t less = 0; less <= 1; less++) {
            size_t len = ((size_t)1 << shift) - less;
            char found[20];
            char wanted[24];

            if (len == 0) {
                continue;
            }
            (void)snprintf(wanted, sizeof(wanted), "%zx\r\n", len);
            assert_int_equal(ps_http_chunk_head(found, len), strlen(wanted));
            assert_memory_equal(found, wanted, strlen(wanted));
        }
    }
    {
        char found[20] = "x";

        assert_int_equal(ps_http_chunk_head(found, 0), 0);
        assert_int_equal(found[0], 'x');
    }
    assert_true(ps_slice_eq_cstr(ps_http_last_chunk, "0\r\n\r\n"));
    assert_true(ps_slice_eq_cstr(ps_http_continue, "HTTP/1.1 100 Continue\r\n\r\n"));
}

/* A buffer that is too small fails as a whole; it never holds half a header. */
static void test_full_buffer(void **state)
{
    (void)state;
    for (size_t max = 0; max < 100; max++) {
        struct ps_buf buf;

        ps_buf_init(&buf, max);
        ps_http_write_header_cstr(&buf, "name", "value");
        assert_int_equal(buf.failed, max < strlen("name: value\r\n"));
        assert_int_equal(buf.len, buf.failed ? 0 : strlen("name: value\r\n"));
        ps_http_write_status(&buf, 200, 0);
        ps_http_write_end(&buf, PS_HTTP_LENGTH, 5, false, 1);
        assert_true(buf.failed || buf.len <= max);
        ps_buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_response),
        cmocka_unit_test(test_framings),
        cmocka_unit_test(test_unsafe_headers_are_left_out),
        cmocka_unit_test(test_field_values),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_status_lines),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_full_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
