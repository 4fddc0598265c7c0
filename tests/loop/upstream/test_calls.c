/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "upstream/probe.h"

#include "penstock/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How answers are read, framed and ended: one scripted answer per row. */

struct answer {
    const char *name;
    const struct fake_step *steps;
    enum ps_call_end end;
    int status;
    const char *body;
    int64_t content_length;
};

#define OK_HEAD "HTTP/1.1 200 OK\r\n"

static const struct fake_step ok[] = {
    {FAKE_SEND, OK_HEAD "Content-Length: 2\r\nX-Marker:  m 1 \r\n\r\nok", 0}, {FAKE_END, NULL, 0}};
static const struct fake_step chunked[] = {
    {FAKE_SEND, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
     0},
    {FAKE_END, NULL, 0}};
static const struct fake_step trailers[] = {
    {FAKE_SEND,
     OK_HEAD "Transfer-Encoding: chunked\r\nX-Marker: head\r\n\r\n"
             "3\r\nabc\r\n0\r\nX-Marker: trailer\r\nHTTP/1.1 500 no: x\r\n\r\n",
     0},
    {FAKE_END, NULL, 0}};
static const struct fake_step until_close[] = {
    {FAKE_SEND, OK_HEAD "Connection: close\r\n\r\nall of it", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step http10[] = {{FAKE_SEND, "HTTP/1.0 200 OK\r\n\r\nold", 0},
                                          {FAKE_CLOSE, NULL, 0}};
static const struct fake_step empty[] = {{FAKE_SEND, OK_HEAD "Content-Length: 0\r\n\r\n", 0},
                                         {FAKE_END, NULL, 0}};
static const struct fake_step no_content[] = {{FAKE_SEND, "HTTP/1.1 204 No Content\r\n\r\n", 0},
                                              {FAKE_END, NULL, 0}};
static const struct fake_step interim[] = {
    {FAKE_SEND,
     "HTTP/1.1 100 Continue\r\nX-Marker: no\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 0},
    {FAKE_SEND, OK_HEAD "Content-Length: 2\r\n\r\nok", 0},
    {FAKE_END, NULL, 0}};
static const struct fake_step no_reason[] = {
    {FAKE_SEND, "HTTP/1.1 429\r\nContent-Length: 1\r\n\r\nx", 0}, {FAKE_END, NULL, 0}};
static const struct fake_step status_text_header[] = {
    {FAKE_SEND, OK_HEAD "HTTP/1.1 500 oops: x\r\nContent-Length: 2\r\n\r\nok", 0},
    {FAKE_END, NULL, 0}};
static const struct fake_step reset_after_answer[] = {
    {FAKE_SEND, OK_HEAD "Content-Length: 2\r\n\r\nok", 0}, {FAKE_RESET, NULL, 0}};
static const struct fake_step gzip_untouched[] = {
    {FAKE_SEND, OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", 0},
    {FAKE_END, NULL, 0}};
static const struct fake_step both_framings[] = {
    {FAKE_SEND,
     OK_HEAD "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 0},
    {FAKE_END, NULL, 0}};
static const struct fake_step redirect[] = {
    {FAKE_SEND,
     "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\ngo", 0},
    {FAKE_END, NULL, 0}};

static const struct fake_step cut_length[] = {
    {FAKE_SEND, OK_HEAD "Content-Length: 10\r\n\r\nabc", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step cut_chunk[] = {
    {FAKE_SEND, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nab", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step cut_chunks[] = {
    {FAKE_SEND, OK_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step cut_reset[] = {
    {FAKE_SEND, OK_HEAD "Content-Length: 10\r\n\r\nabc", 0}, {FAKE_RESET, NULL, 0}};
static const struct fake_step cut_head[] = {{FAKE_SEND, OK_HEAD "Content-Le", 0},
                                            {FAKE_CLOSE, NULL, 0}};
static const struct fake_step bad_chunk[] = {
    {FAKE_SEND, OK_HEAD "Transfer-Encoding: chunked\r\n\r\nzz\r\nab", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step silent_close[] = {{FAKE_CLOSE, NULL, 0}};
static const struct fake_step silent_reset[] = {{FAKE_RESET, NULL, 0}};
static const struct fake_step garbage[] = {
    {FAKE_SEND, "\x16\x03\x01 hello, is this SMTP?\r\n\r\n", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step http2[] = {{FAKE_SEND, "HTTP/2 200\r\n\r\nx", 0},
                                         {FAKE_CLOSE, NULL, 0}};
static const struct fake_step upgrade[] = {
    {FAKE_SEND, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nwild", 0}, {FAKE_CLOSE, NULL, 0}};
static const struct fake_step two_lengths[] = {
    {FAKE_SEND, OK_HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk", 0},
    {FAKE_END, NULL, 0}};
static const struct fake_step bad_length[] = {
    {FAKE_SEND, OK_HEAD "Content-Length: two\r\n\r\nok", 0}, {FAKE_END, NULL, 0}};
static const struct fake_step folded[] = {
    {FAKE_SEND, OK_HEAD "A: b\r\n c\r\nContent-Length: 2\r\n\r\nok", 0}, {FAKE_END, NULL, 0}};
static const struct fake_step no_colon[] = {
    {FAKE_SEND, OK_HEAD "hello\r\nContent-Length: 2\r\n\r\nok", 0}, {FAKE_END, NULL, 0}};

static const struct answer answers[] = {
    {"plain", ok, PS_CALL_DONE, 200, "ok", 2},
    {"chunked", chunked, PS_CALL_DONE, 200, "abcde", -1},
    {"trailers", trailers, PS_CALL_DONE, 200, "abc", -1},
    {"until close", until_close, PS_CALL_DONE, 200, "all of it", -1},
    {"HTTP/1.0", http10, PS_CALL_DONE, 200, "old", -1},
    {"empty", empty, PS_CALL_DONE, 200, "", 0},
    {"no content", no_content, PS_CALL_DONE, 204, "", -1},
    {"interim", interim, PS_CALL_DONE, 200, "ok", 2},
    {"no reason", no_reason, PS_CALL_DONE, 429, "x", 1},
    {"status line as header", status_text_header, PS_CALL_DONE, 200, "ok", 2},
    {"reset after the answer", reset_after_answer, PS_CALL_DONE, 200, "ok", 2},
    {"gzip", gzip_untouched, PS_CALL_DONE, 200, "nope", 4},
    {"length and chunked", both_framings, PS_CALL_DONE, 200, "ok", -1},
    {"redirect", redirect, PS_CALL_DONE, 302, "go", 2},
    {"cut length", cut_length, PS_CALL_CUT, 200, "abc", 10},
    {"cut chunk", cut_chunk, PS_CALL_CUT, 200, "ab", -1},
    {"cut between chunks", cut_chunks, PS_CALL_CUT, 200, "ab", -1},
    {"cut by reset", cut_reset, PS_CALL_CUT, 200, "abc", 10},
    {"cut in head", cut_head, PS_CALL_CUT, 0, "", 0},
    {"bad chunk", bad_chunk, PS_CALL_CUT, 200, "", -1},
    {"silent close", silent_close, PS_CALL_SEND, 0, "", 0},
    {"silent reset", silent_reset, PS_CALL_SEND, 0, "", 0},
    {"garbage", garbage, PS_CALL_PROTOCOL, 0, "", 0},
    {"HTTP/2", http2, PS_CALL_PROTOCOL, 0, "", 0},
    {"upgrade", upgrade, PS_CALL_PROTOCOL, 0, "", 0},
    {"two lengths", two_lengths, PS_CALL_PROTOCOL, 0, "", 0},
    {"bad length", bad_length, PS_CALL_PROTOCOL, 0, "", 0},
    {"folded header", folded, PS_CALL_PROTOCOL, 0, "", 0},
    {"no colon", no_colon, PS_CALL_PROTOCOL, 0, "", 0},
};

static const struct fake_step *script_one(void *arg, enum fake_moment moment, unsigned connection,
                                          unsigned request, const char *head)
{
    (void)connection;
    (void)request;
    (void)head;
    return moment == FAKE_REQUEST ? arg : NULL;
}

/* The script's steps can be handed over without their const: the server never writes them. */
static void *steps_arg(const struct fake_step *steps)
{
    union {
        const void *from;
        void *to;
    } cast = {.from = steps};
    return cast.to;
}

static void check_answer(const struct answer *answer, const struct probe *probe)
{
    if (probe->end != answer->end) {
        fail_msg("%s: ended %s (%s)", answer->name, ps_call_end_name(probe->end), probe->detail);
    }
    assert_int_equal(probe->ends, 1);
    assert_int_equal(probe->heads, answer->status != 0 ? 1 : 0);
    if (answer->status != 0) {
        assert_int_equal(probe->status, answer->status);
        assert_int_equal(probe->content_length, answer->content_length);
    }
    assert_string_equal(probe->body, answer->body);
}

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct fake_http *server = fake_http_start(script_one, steps_arg(answers[i].steps));
        struct bench bench;
        struct probe probe;

        bench_open(&bench, server, NULL);
        probe_run(&probe, &bench, NULL);
        check_answer(&answers[i], &probe);
        assert_int_equal(probe.sent, 1);
        assert_int_equal(fake_http_requests(server), 1);
        assert_true(probe.timing.started_us > 0);
        assert_true(probe.timing.sent_us >= probe.timing.started_us);
        assert_false(probe.timing.reused);
        bench_close(&bench);
        fake_http_stop(server);
    }
}

/* Every answer again, byte by byte. */
static void test_answers_in_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct fake_step steps[1024];
        size_t count = 0;
        const struct fake_step *from = answers[i].steps;

        for (; from->op == FAKE_SEND; from++) {
            for (size_t at = 0; from->text[at] != '\0'; at++) {
                steps[count++] = (struct fake_step){FAKE_SEND, from->text + at, 1};
            }
        }
        steps[count++] = *from;
        struct fake_http *server = fake_http_start(script_one, steps);
        struct bench bench;
        struct probe probe;
        bench_open(&bench, server, NULL);
        probe_run(&probe, &bench, NULL);
        /* A RST may overtake the bytes that were sent before it. */
        if (answers[i].steps != cut_reset && answers[i].steps != reset_after_answer) {
            check_answer(&answers[i], &probe);
        }
        bench_close(&bench);
        fake_http_stop(server);
    }
}

static void test_first_header_wins_and_marker(void **state)
{
    struct fake_http *server = fake_http_start(script_one, steps_arg(trailers));
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    probe_run(&probe, &bench, NULL);
    assert_string_equal(probe.marker, "head");
    bench_close(&bench);
    fake_http_stop(server);
}

/* 100 headers and 64 KiB are in; one more is not. */
static void check_head_limit(unsigned headers, size_t value_len, enum ps_call_end end)
{
    size_t size = 64 + headers * (value_len + 16);
    char *text = malloc(size);
    size_t len = (size_t)snprintf(text, size, OK_HEAD "Content-Length: 0\r\n");

    assert_non_null(text);
    for (unsigned i = 1; i < headers; i++) {
        len += (size_t)snprintf(text + len, size - len, "H%u: ", i);
        memset(text + len, 'v', value_len);
        len += value_len;
        len += (size_t)snprintf(text + len, size - len, "\r\n");
    }
    len += (size_t)snprintf(text + len, size - len, "\r\n");
    struct fake_step steps[] = {{FAKE_SEND, text, len}, {FAKE_END, NULL, 0}};
    struct fake_http *server = fake_http_start(script_one, steps);
    struct bench bench;
    struct probe probe;
    bench_open(&bench, server, NULL);
    probe_run(&probe, &bench, NULL);
    assert_string_equal(ps_call_end_name(probe.end), ps_call_end_name(end));
    if (end == PS_CALL_DONE) {
        assert_int_equal(probe.header_count, headers);
    }
    bench_close(&bench);
    fake_http_stop(server);
    free(text);
}

static void test_head_limits(void **state)
{
    (void)state;
    check_head_limit(100, 10, PS_CALL_DONE);
    check_head_limit(101, 10, PS_CALL_PROTOCOL);
    check_head_limit(50, 1290, PS_CALL_DONE);
    check_head_limit(50, 1400, PS_CALL_PROTOCOL);
    check_head_limit(2, 65000, PS_CALL_DONE);
    check_head_limit(2, 66000, PS_CALL_PROTOCOL);
    check_head_limit(2, 400000, PS_CALL_PROTOCOL);
}

static void test_request_bytes(void **state)
{
    struct fake_http *server = fake_http_start(script_one, steps_arg(ok));
    struct ps_upstream_options options;
    struct ps_call_request request;
    const struct ps_slice parts[] = {{"{\"a\":", 5}, {NULL, 0}, {"1}", 2}};
    const struct ps_call_header headers[] = {{{"X-Empty", 7}, {"", 0}}, {{"X-Two", 5}, {" b ", 3}}};
    struct bench bench;
    struct probe probe;
    char url[64];
    char head[4096];
    char expected[512];

    (void)state;
    bench_options(&options, url, sizeof(url), fake_http_port(server));
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/base/", fake_http_port(server));
    bench_open(&bench, server, &options);

    probe_request(&request);
    request.path = ps_slice_cstr("/v1/x?a=b%20c");
    request.headers = headers;
    request.header_count = 2;
    request.body = parts;
    request.body_count = 3;
    probe_run(&probe, &bench, &request);
    assert_int_equal(probe.end, PS_CALL_DONE);
    assert_string_equal(probe.marker, "m 1");
    fake_http_last_head(server, head, sizeof(head));
    /* Every byte: curl adds nothing of its own but the method and the version behind the last
     * header. */
    (void)snprintf(expected, sizeof(expected),
                   "POST /base/v1/x?a=b%%20c HTTP/1.1\r\nX-Empty: \r\nX-Two: b\r\n"
                   "host: 127.0.0.1:%d\r\ncontent-length: 7\r\n"
                   "user-agent: penstock/" PENSTOCK_VERSION " HTTP/1.1\r\n\r\n",
                   fake_http_port(server));
    assert_string_equal(head, expected);
    assert_int_equal(fake_http_body_hash(server), fake_hash(FAKE_HASH_START, "{\"a\":1}", 7));

    /* The same connection, other methods: nothing of the call before is left. */
    static const struct {
        const char *method;
        bool has_body;
        const char *line;
        const char *length;
    } rows[] = {
        {"GET", false, "GET /base/m HTTP/1.1\r\n", NULL},
        {"DELETE", false, "DELETE /base/m HTTP/1.1\r\n", NULL},
        {"PUT", true, "PUT /base/m HTTP/1.1\r\n", "content-length: 7\r\n"},
        {"POST", false, "POST /base/m HTTP/1.1\r\n", "content-length: 0\r\n"},
        {"GET", false, "GET /base/m HTTP/1.1\r\n", NULL},
        {"POST", true, "POST /base/m HTTP/1.1\r\n", "content-length: 7\r\n"},
        {"DELETE", true, "DELETE /base/m HTTP/1.1\r\n", "content-length: 7\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        request.method = rows[i].method;
        request.has_body = rows[i].has_body;
        request.body = rows[i].has_body ? parts : NULL;
        request.body_count = rows[i].has_body ? 3 : 0;
        request.path = ps_slice_cstr("/m");
        request.header_count = 0;
        probe_run(&probe, &bench, &request);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_true(probe.timing.reused);
        assert_string_equal(probe.body, "ok");
        fake_http_last_head(server, head, sizeof(head));
        assert_memory_equal(head, rows[i].line, strlen(rows[i].line));
        assert_null(strstr(head, "X-Two"));
        assert_null(strcasestr(head, "content-type"));
        if (rows[i].length != NULL) {
            assert_non_null(strstr(head, rows[i].length));
        } else {
            assert_null(strcasestr(head, "content-length"));
        }
    }
    assert_int_equal(fake_http_accepted(server), 1);
    bench_close(&bench);
    fake_http_stop(server);
}

/* A Host or User-Agent of the caller stands instead of ours. */
static void test_own_host_and_agent(void **state)
{
    static const struct ps_call_header headers[] = {{{"HOST", 4}, {"example.com", 11}},
                                                    {{"User-Agent", 10}, {"me/1", 4}}};
    struct fake_http *server = fake_http_start(script_one, steps_arg(ok));
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;
    char head[4096];

    (void)state;
    bench_open(&bench, server, NULL);
    probe_request(&request);
    request.method = "GET";
    request.has_body = false;
    request.headers = headers;
    request.header_count = 2;
    probe_run(&probe, &bench, &request);
    assert_int_equal(probe.end, PS_CALL_DONE);
    fake_http_last_head(server, head, sizeof(head));
    assert_string_equal(head, "GET /v1/x HTTP/1.1\r\nHOST: example.com\r\nUser-Agent: me/1\r\n"
                              "x-gateway: penstock/" PENSTOCK_VERSION " HTTP/1.1\r\n\r\n");
    bench_close(&bench);
    fake_http_stop(server);
}

/* Plain http goes through a proxy with the whole URL in the request line. */
static void test_proxy(void **state)
{
    struct fake_http *server = fake_http_start(script_one, steps_arg(ok));
    struct ps_upstream_options options;
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;
    char url[64];
    char proxy[64];
    char head[4096];

    (void)state;
    bench_options(&options, url, sizeof(url), 1);
    (void)snprintf(url, sizeof(url), "http://upstream.invalid/v1");
    (void)snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", fake_http_port(server));
    options.proxy = proxy;
    bench_open(&bench, server, &options);
    probe_request(&request);
    request.method = "GET";
    request.path = ps_slice_cstr("/models");
    request.has_body = false;
    request.header_count = 0;
    for (int i = 0; i < 2; i++) {
        probe_run(&probe, &bench, &request);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_int_equal(probe.timing.reused, i);
        fake_http_last_head(server, head, sizeof(head));
        static const char line[] = "GET http://upstream.invalid/v1/models HTTP/1.1\r\n"
                                   "host: upstream.invalid\r\n";
        assert_memory_equal(head, line, sizeof(line) - 1);
    }
    bench_close(&bench);
    fake_http_stop(server);
}

/* Nor does the environment name a proxy for us. */
static void test_no_proxy_from_environment(void **state)
{
    struct fake_http *server = fake_http_start(script_one, steps_arg(ok));
    struct bench bench;
    struct probe probe;

    (void)state;
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(setenv("ALL_PROXY", "http://127.0.0.1:1", 1), 0);
    bench_open(&bench, server, NULL);
    probe_run(&probe, &bench, NULL);
    assert_int_equal(probe.end, PS_CALL_DONE);
    bench_close(&bench);
    (void)unsetenv("http_proxy");
    (void)unsetenv("ALL_PROXY");
    fake_http_stop(server);
}

static const struct fake_step *script_head(void *arg, enum fake_moment moment, unsigned connection,
                                           unsigned request, const char *head)
{
    static const struct fake_step answer[] = {{FAKE_SEND, OK_HEAD "Content-Length: 999\r\n\r\n", 0},
                                              {FAKE_END, NULL, 0}};
    (void)arg;
    (void)connection;
    (void)request;
    if (moment != FAKE_REQUEST) {
        return NULL;
    }
    return strncmp(head, "HEAD ", 5) == 0 ? answer : ok;
}

static void test_head_method(void **state)
{
    struct fake_http *server = fake_http_start(script_head, NULL);
    struct ps_call_request request;
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    for (int i = 0; i < 3; i++) {
        probe_request(&request);
        request.method = "HEAD";
        request.has_body = false;
        probe_run(&probe, &bench, &request);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_int_equal(probe.body_len, 0);
        assert_int_equal(probe.content_length, 999);
        probe_run(&probe, &bench, NULL);
        assert_int_equal(probe.end, PS_CALL_DONE);
        assert_string_equal(probe.body, "ok");
    }
    assert_int_equal(fake_http_accepted(server), 1);
    bench_close(&bench);
    fake_http_stop(server);
}

static void test_bad_requests(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        struct ps_call_header header;
    } rows[] = {
        {"PO ST", "/x", {{"a", 1}, {"b", 1}}},
        {"", "/x", {{"a", 1}, {"b", 1}}},
        {"POST", "x", {{"a", 1}, {"b", 1}}},
        {"POST", "", {{"a", 1}, {"b", 1}}},
        {"POST", "/x y", {{"a", 1}, {"b", 1}}},
        {"POST", "/x\r\nHost: y", {{"a", 1}, {"b", 1}}},
        {"POST", "/x#y", {{"a", 1}, {"b", 1}}},
        {"POST", "/\xc3\xa9", {{"a", 1}, {"b", 1}}},
        {"POST", "/x", {{"a\r\n", 3}, {"b", 1}}},
        {"POST", "/x", {{"", 0}, {"b", 1}}},
        {"POST", "/x", {{"a:", 2}, {"b", 1}}},
        {"POST", "/x", {{"a", 1}, {"b\r\nc: d", 7}}},
        {"POST", "/x", {{"a", 1}, {"b\nc", 3}}},
        {"POST", "/x", {{"a", 1}, {"b\0c", 3}}},
        {"POST", "/x", {{"Content-Length", 14}, {"3", 1}}},
        {"POST", "/x", {{"transfer-encoding", 17}, {"chunked", 7}}},
        {"POST", "/x", {{"Connection", 10}, {"close", 5}}},
        {"POST", "/x", {{"Expect", 6}, {"100-continue", 12}}},
    };
    struct fake_http *server = fake_http_start(script_one, steps_arg(ok));
    struct bench bench;
    struct probe probe;

    (void)state;
    bench_open(&bench, server, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_call_request request;
        probe_request(&request);
        request.method = rows[i].method;
        request.path = ps_slice_cstr(rows[i].path);
        request.headers = &rows[i].header;
        request.header_count = 1;
        probe_run(&probe, &bench, &request);
        assert_int_equal(probe.end, PS_CALL_PROTOCOL);
    }
    assert_int_equal(fake_http_accepted(server), 0);
    bench_close(&bench);
    fake_http_stop(server);
}

static void test_bad_urls(void **state)
{
    static const char *const urls[] = {
        "",
        "nonsense",
        "ftp://h/",
        "http://",
        "http://user@h/",
        "file:///",
        "http://u:p@h/v1",
        "http://h/v1?a=b",
        "http://h/#f",
        "https://no-ca/",
        "http://h:99999/",
        "//h/v1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct ps_upstream_options options = {.base_url = urls[i], .max_connections = 1};
        char error[256] = "";
        if (ps_upstream_shared_new(&options, error, sizeof(error)) != NULL) {
            fail_msg("accepted: %s", urls[i]);
        }
        assert_true(error[0] != '\0');
    }
}

static int setup(void **state)
{
    (void)state;
    return ps_upstream_global_init();
}

static int teardown(void **state)
{
    (void)state;
    ps_upstream_global_deinit();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answers_in_bytes),
        cmocka_unit_test(test_first_header_wins_and_marker),
        cmocka_unit_test(test_head_limits),
        cmocka_unit_test(test_request_bytes),
        cmocka_unit_test(test_own_host_and_agent),
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_no_proxy_from_environment),
        cmocka_unit_test(test_head_method),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_bad_urls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
