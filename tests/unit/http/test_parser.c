/* SPDX-License-Identifier: Apache-2.0 */

/* What the parser takes, and how it behaves towards its caller. Refusals: test_refusals.c. */

#include "http/outcome.h"
#include "testing.h"

#include "penstock/base/mem.h"
#include "penstock/http/parser.h"

static const struct ps_http_limits limits = {
    .line_bytes = 256, .header_bytes = 4096, .body_bytes = 4096};

struct accepted {
    const char *name;
    const char *input;
    const char *outcome; /* as tests/support/http/outcome.h writes it, without the result */
};

#define HOST  "Host: a\r\n"
#define PLAIN " body=0 chunked=0 length=0 keep=1 expect=0\n"

static const struct accepted accepted[] = {
    {"nothing", "", ""},
    {"empty lines only", "\r\n\r\n", ""},
    {"the least of HTTP/1.1", "GET / HTTP/1.1\r\n" HOST "\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"the least of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n",
     "GET GET / HTTP/1.0 path=/ query= host= body=0 chunked=0 length=0 keep=0 expect=0\n<>\n"},
    {"empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"two empty lines before each",
     "GET / HTTP/1.1\r\n" HOST "\r\n\r\n\r\nGET /b HTTP/1.1\r\n" HOST "\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"
     "GET GET /b HTTP/1.1 path=/b query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"query", "GET /a/b%20c?d=e?f&g HTTP/1.1\r\n" HOST "\r\n",
     "GET GET /a/b%20c?d=e?f&g HTTP/1.1 path=/a/b%20c query=d=e?f&g host=a" PLAIN "Host=[a]\n<>\n"},
    {"query empty", "GET /a? HTTP/1.1\r\n" HOST "\r\n",
     "GET GET /a? HTTP/1.1 path=/a query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"two slashes", "GET //b//c HTTP/1.1\r\n" HOST "\r\n",
     "GET GET //b//c HTTP/1.1 path=//b//c query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"URI", "GET http://A:80/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n",
     "GET GET http://A:80/b?c HTTP/1.1 path=/b query=c host=A:80" PLAIN "Host=[a:80]\n<>\n"},
    {"URI without a path", "GET HTTPS://a HTTP/1.1\r\n" HOST "\r\n",
     "GET GET HTTPS://a HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"URI with a query alone", "GET http://a?b/c HTTP/1.1\r\n" HOST "\r\n",
     "GET GET http://a?b/c HTTP/1.1 path=/ query=b/c host=a" PLAIN "Host=[a]\n<>\n"},
    {"URI of IPv6", "GET http://[::1]:8080/ HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
     "GET GET http://[::1]:8080/ HTTP/1.1 path=/ query= host=[::1]:8080" PLAIN
     "Host=[[::1]:8080]\n<>\n"},
    {"URI in HTTP/1.0", "GET http://a/b HTTP/1.0\r\n\r\n",
     "GET GET http://a/b HTTP/1.0 path=/b query= host=a body=0 chunked=0 length=0 keep=0 "
     "expect=0\n<>\n"},
    {"OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n",
     "OPTIONS OPTIONS * HTTP/1.1 path=* query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"HEAD", "HEAD /x HTTP/1.1\r\n" HOST "\r\n",
     "HEAD HEAD /x HTTP/1.1 path=/x query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"another method", "BREW /pot HTTP/1.1\r\n" HOST "\r\n",
     "OTHER BREW /pot HTTP/1.1 path=/pot query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"another method with a body", "QUERY /x HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab",
     "OTHER QUERY /x HTTP/1.1 path=/x query= host=a body=1 chunked=0 length=2 keep=1 expect=0\n"
     "Host=[a]\nContent-Length=[2]\n<ab>\n"},
    {"another method, chunked",
     "SOURCE /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
     "OTHER SOURCE /x HTTP/1.1 path=/x query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nTransfer-Encoding=[chunked]\n<x>\n"},
    {"methods are case-sensitive", "get / HTTP/1.1\r\n" HOST "\r\n",
     "OTHER get / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"CONNECT", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
     "OTHER CONNECT b:443 HTTP/1.1 path= query= host=b:443" PLAIN "Host=[b:443]\n<>\n"},
    {"values are trimmed",
     "GET / HTTP/1.1\r\nHost:a\r\nA:\r\nB: \t \r\nC: \t d\te f\t \r\nD::\r\n\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN
     "Host=[a]\nA=[]\nB=[]\nC=[d\te f]\nD=[:]\n<>\n"},
    {"values beyond ASCII", "GET / HTTP/1.1\r\n" HOST "A: \xc3\xa9\xff\r\n\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\nA=[\xc3\xa9\xff]\n<>\n"},
    {"length", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=0 length=5 keep=1 expect=0\n"
     "Host=[a]\nContent-Length=[5]\n<hello>\n"},
    {"length of CRLFs", "PUT /x HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\n\r\n\r\n",
     "PUT PUT /x HTTP/1.1 path=/x query= host=a body=1 chunked=0 length=4 keep=1 expect=0\n"
     "Host=[a]\nContent-Length=[4]\n<\r\n\r\n>\n"},
    {"length 0", "POST /x HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a" PLAIN "Host=[a]\nContent-Length=[0]\n<>\n"},
    {"length with zeros and spaces",
     "POST /x HTTP/1.1\r\n" HOST "content-length:  0003 \r\n\r\nabc",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=0 length=3 keep=1 expect=0\n"
     "Host=[a]\ncontent-length=[0003]\n<abc>\n"},
    {"no length, no body", "POST /x HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a" PLAIN "Host=[a]\n<>\n"
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"names that only look like framing",
     "POST /x HTTP/1.1\r\n" HOST "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a" PLAIN
     "Host=[a]\nContent_Length=[5]\nTransfer_Encoding=[chunked]\n<>\n"},
    {"GET with a body", "GET /x HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx",
     "GET GET /x HTTP/1.1 path=/x query= host=a body=1 chunked=0 length=1 keep=1 expect=0\n"
     "Host=[a]\nContent-Length=[1]\n<x>\n"},
    {"chunked",
     "POST /x HTTP/1.1\r\n" HOST
     "Transfer-Encoding: CHUNKED \r\n\r\n5\r\nhello\r\n00A\r\n, world\r\n!\r\n0\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nTransfer-Encoding=[CHUNKED]\n<hello, world\r\n!>\n"},
    {"chunked, empty", "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n000\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nTransfer-Encoding=[chunked]\n<>\n"},
    {"chunk size of 16 digits",
     "POST /x HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\n0000000000000002\r\nab\r\n0\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nTransfer-Encoding=[chunked]\n<ab>\n"},
    {"chunk extensions are dropped",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
     "2;a;b=c;d=\"e;\\\"f\\\\\";g=\"\"\r\nab\r\n1;x\r\nc\r\n0;z=\"\\\t \"\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nTransfer-Encoding=[chunked]\n<abc>\n"},
    {"trailers are dropped",
     "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC:\r\n"
     "Content-Lengthy: 5\r\nHos: t\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nGET / "
     "HTTP/1.1\r\n" HOST "\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nTransfer-Encoding=[chunked]\n<x>\n"
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"close", "GET / HTTP/1.1\r\n" HOST "Connection: x, Close\r\n\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a body=0 chunked=0 length=0 keep=0 expect=0\n"
     "Host=[a]\nConnection=[x, Close]\n<>\n"},
    {"close on the second line",
     "GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a body=0 chunked=0 length=0 keep=0 expect=0\n"
     "Host=[a]\nConnection=[keep-alive]\nConnection=[close]\n<>\n"},
    {"closed is not close", "GET / HTTP/1.1\r\n" HOST "Connection: closed, xclose\r\n\r\n",
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\nConnection=[closed, xclose]\n<>\n"},
    {"keep-alive in HTTP/1.0",
     "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
     "GET GET / HTTP/1.0 path=/ query= host=" PLAIN "Connection=[Keep-Alive]\n<>\n"
     "GET GET / HTTP/1.0 path=/ query= host= body=0 chunked=0 length=0 keep=0 expect=0\n<>\n"},
    {"length in HTTP/1.0",
     "POST / HTTP/1.0\r\nContent-Length: 2\r\nHost: [::ffff:1.2.3.4]\r\n\r\nab",
     "POST POST / HTTP/1.0 path=/ query= host=[::ffff:1.2.3.4] body=1 chunked=0 length=2 keep=0 "
     "expect=0\nContent-Length=[2]\nHost=[[::ffff:1.2.3.4]]\n<ab>\n"},
    {"Upgrade is ignored",
     "GET /a HTTP/1.1\r\n" HOST "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: "
     "h2c\r\nHTTP2-Settings: x\r\n\r\nGET /b HTTP/1.1\r\n" HOST "\r\n",
     "GET GET /a HTTP/1.1 path=/a query= host=a" PLAIN
     "Host=[a]\nConnection=[Upgrade, HTTP2-Settings]\nUpgrade=[h2c]\nHTTP2-Settings=[x]\n<>\n"
     "GET GET /b HTTP/1.1 path=/b query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"Upgrade with a body",
     "POST /a HTTP/1.1\r\n" HOST "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: "
     "chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
     "POST POST /a HTTP/1.1 path=/a query= host=a body=1 chunked=1 length=0 keep=1 expect=0\n"
     "Host=[a]\nConnection=[upgrade]\nUpgrade=[websocket]\nTransfer-Encoding=[chunked]\n<ab>\n"},
    {"CONNECT does not switch", "CONNECT a HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "OTHER CONNECT a HTTP/1.1 path= query= host=a" PLAIN "Host=[a]\n<>\n"
     "GET GET / HTTP/1.1 path=/ query= host=a" PLAIN "Host=[a]\n<>\n"},
    {"Expect", "POST /x HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
     "POST POST /x HTTP/1.1 path=/x query= host=a body=1 chunked=0 length=1 keep=1 expect=1\n"
     "Host=[a]\nExpect=[100-Continue]\nContent-Length=[1]\n<x>\n"},
    {"Expect without a body", "POST /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n",
     "POST POST /x HTTP/1.1 path=/x query= host=a" PLAIN "Host=[a]\nExpect=[100-continue]\n<>\n"},
    {"Expect in HTTP/1.0", "POST /x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
     "POST POST /x HTTP/1.0 path=/x query= host= body=1 chunked=0 length=1 keep=0 expect=0\n"
     "Expect=[100-continue]\nContent-Length=[1]\n<x>\n"},
};

static void accept_all_ways(const char *name, const char *input, const char *wanted)
{
    struct ps_slice bytes = ps_slice_cstr(input);
    struct outcome outcome;

    outcome_init(&outcome);
    outcome_run(&outcome, &limits, bytes, 0, 0);
    if (outcome.result != PS_HTTP_OK || strncmp(outcome.text.ptr, wanted, strlen(wanted)) != 0 ||
        strcmp(outcome.text.ptr + strlen(wanted), "result=0 status=0 ") != 0) {
        fail_msg("%s: expected\n%s\nfound:\n%s", name, wanted, outcome.text.ptr);
    }
    assert_true(outcome_splits_same(&outcome, &limits, bytes));
    outcome_deinit(&outcome);
}

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        accept_all_ways(accepted[i].name, accepted[i].input, accepted[i].outcome);
    }
}

/* The ends of input that leave something unsaid. */
static void test_end_of_input(void **state)
{
    static const char request[] = "POST /x HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"
                                  "POST /x HTTP/1.1\r\n" HOST
                                  "Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nA: b\r\n\r\n";
    const char *first_body = strstr(request, "\r\n\r\n") + 4;
    const char *second = first_body + 3;
    const char *second_body = strstr(second, "\r\n\r\n") + 4;

    (void)state;
    for (const char *end = request; *end != '\0'; end++) {
        struct outcome outcome;
        bool between = end == request || end == second;
        bool in_head = end < first_body || (end > second && end < second_body);

        outcome_init(&outcome);
        outcome_run(&outcome, &limits, ps_slice(request, (size_t)(end - request)), 0, 0);
        assert_int_equal(outcome.result, between ? PS_HTTP_OK : PS_HTTP_ERROR);
        if (!between) {
            assert_int_equal(ps_fault_status(&outcome.fault), 400);
            assert_non_null(strstr(outcome.fault.message, in_head ? "head" : "body"));
        }
        assert_int_equal(outcome.ends, end >= second ? 1 : 0);
        outcome_deinit(&outcome);
    }
}

/* A parser with callbacks that note what they were told and say what they are told to say. */
struct caller {
    struct ps_http_parser *parser;
    struct ps_arena arena;
    size_t heads;
    size_t bytes;
    size_t ends;
    bool stop_at_head;
    size_t stop_at_bytes; /* 0: never */
    bool next_at_end;
    uint64_t limit; /* set in on_head; 0: left alone */
};

static bool note_head(void *arg, const struct ps_http_head *head)
{
    struct caller *caller = arg;

    (void)head;
    caller->heads++;
    if (caller->limit > 0) {
        ps_http_parser_limit_body(caller->parser, caller->limit);
    }
    return !caller->stop_at_head;
}

static bool note_body(void *arg, const char *ptr, size_t len)
{
    struct caller *caller = arg;

    assert_non_null(ptr);
    assert_int_not_equal(len, 0);
    caller->bytes += len;
    return caller->stop_at_bytes == 0 || caller->bytes < caller->stop_at_bytes;
}

static void note_end(void *arg)
{
    struct caller *caller = arg;

    caller->ends++;
    if (caller->next_at_end) {
        ps_http_parser_next(caller->parser, &caller->arena);
    }
}

static const struct ps_http_parser_ops note_ops = {
    .on_head = note_head, .on_body = note_body, .on_end = note_end};

static void open_caller(struct caller *caller)
{
    *caller = (struct caller){.heads = 0};
    ps_arena_init(&caller->arena, 1 << 20);
    caller->parser = ps_http_parser_new(&limits, &note_ops, caller);
    assert_non_null(caller->parser);
    ps_http_parser_next(caller->parser, &caller->arena);
}

static void close_caller(struct caller *caller)
{
    ps_http_parser_free(caller->parser);
    ps_arena_deinit(&caller->arena);
}

static enum ps_http_result feed(struct caller *caller, const char *text, size_t *ret_used)
{
    size_t used = 0;
    enum ps_http_result result = ps_http_parser_feed(caller->parser, text, strlen(text), &used);

    if (ret_used != NULL) {
        *ret_used = used;
    }
    return result;
}

static const char with_length[] = "POST /x HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd";
static const char with_chunks[] =
    "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";

static void test_nothing_is_taken_before_next(void **state)
{
    struct caller caller;
    struct ps_http_parser *parser = ps_http_parser_new(&limits, &note_ops, &caller);
    size_t used = 1;

    (void)state;
    assert_non_null(parser);
    assert_int_equal(ps_http_parser_feed(parser, "GET", 3, &used), PS_HTTP_PAUSED);
    assert_int_equal(used, 0);
    ps_http_parser_free(parser);
    ps_http_parser_free(NULL);
}

static void test_a_request_ends_where_it_ends(void **state)
{
    struct caller caller;
    char two[512];
    size_t used = 0;

    (void)state;
    open_caller(&caller);
    (void)snprintf(two, sizeof(two), "\r\n%s%s", with_length, with_chunks);
    assert_int_equal(feed(&caller, two, &used), PS_HTTP_PAUSED);
    assert_int_equal(used, 2 + strlen(with_length));
    assert_int_equal(caller.ends, 1);
    /* until _next it takes nothing, and that is no error */
    assert_int_equal(feed(&caller, two + used, NULL), PS_HTTP_PAUSED);
    assert_int_equal(caller.heads, 1);
    assert_int_equal(ps_http_parser_eof(caller.parser), PS_HTTP_OK);
    ps_http_parser_next(caller.parser, &caller.arena);
    assert_int_equal(feed(&caller, two + used, &used), PS_HTTP_PAUSED);
    assert_int_equal(used, strlen(with_chunks));
    assert_int_equal(caller.ends, 2);
    assert_int_equal(caller.bytes, 8);
    close_caller(&caller);
}

static void test_next_inside_on_end(void **state)
{
    struct caller caller;
    size_t used = 0;

    (void)state;
    open_caller(&caller);
    caller.next_at_end = true;
    assert_int_equal(feed(&caller, with_length, &used), PS_HTTP_PAUSED);
    assert_int_equal(used, strlen(with_length));
    assert_int_equal(feed(&caller, with_chunks, &used), PS_HTTP_PAUSED);
    assert_int_equal(used, strlen(with_chunks));
    assert_int_equal(caller.ends, 2);
    close_caller(&caller);
}

static void test_stopping(void **state)
{
    static const char *const requests[] = {with_length, with_chunks};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (size_t stop = 0; stop <= 4; stop++) {
            struct caller caller;

            open_caller(&caller);
            caller.stop_at_head = stop == 0;
            caller.stop_at_bytes = stop;
            assert_int_equal(feed(&caller, requests[i], NULL), PS_HTTP_STOPPED);
            assert_int_equal(caller.heads, 1);
            assert_int_equal(caller.ends, 0);
            assert_true(caller.bytes >= stop);
            assert_int_equal(feed(&caller, with_length, NULL), PS_HTTP_STOPPED);
            assert_int_equal(ps_http_parser_eof(caller.parser), PS_HTTP_STOPPED);
            assert_int_equal(caller.heads, 1);
            close_caller(&caller);
        }
    }
}

static void test_dead_stays_dead(void **state)
{
    struct caller caller;
    size_t used = 1;

    (void)state;
    open_caller(&caller);
    assert_int_equal(feed(&caller, "GET / HTTP/3.0\r\n", NULL), PS_HTTP_ERROR);
    assert_int_equal(feed(&caller, with_length, &used), PS_HTTP_ERROR);
    assert_int_equal(used, 0);
    assert_int_equal(ps_http_parser_eof(caller.parser), PS_HTTP_ERROR);
    assert_int_equal(ps_http_parser_fault(caller.parser)->kind, PS_FAULT_BAD_HTTP);
    assert_non_null(strstr(ps_http_parser_fault(caller.parser)->message, "version"));
    assert_int_equal(caller.heads, 0);
    close_caller(&caller);
}

static void test_began(void **state)
{
    struct caller caller;

    (void)state;
    open_caller(&caller);
    assert_false(ps_http_parser_began(caller.parser));
    assert_int_equal(feed(&caller, "\r\n\r", NULL), PS_HTTP_OK);
    assert_false(ps_http_parser_began(caller.parser));
    assert_int_equal(feed(&caller, "\nG", NULL), PS_HTTP_OK);
    assert_true(ps_http_parser_began(caller.parser));
    assert_int_equal(feed(&caller, "ET / HTTP/1.1\r\nHost: a\r\n\r\n", NULL), PS_HTTP_PAUSED);
    assert_true(ps_http_parser_began(caller.parser));
    ps_http_parser_next(caller.parser, &caller.arena);
    assert_false(ps_http_parser_began(caller.parser));
    close_caller(&caller);
}

/* A door may allow more or less than the listener; the next request has the common limit again. */
static void test_limit_of_one_request(void **state)
{
    static const struct {
        const char *request;
        uint64_t limit;
        enum ps_http_result result;
    } cases[] = {
        {with_length, 4, PS_HTTP_PAUSED},
        {with_length, 3, PS_HTTP_ERROR},
        {with_chunks, 4, PS_HTTP_PAUSED},
        {with_chunks, 3, PS_HTTP_ERROR},
        {with_chunks, 1, PS_HTTP_ERROR},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n", 0, PS_HTTP_ERROR},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n", 5000, PS_HTTP_OK},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1388\r\n", 5000,
         PS_HTTP_OK},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1388\r\n", 0,
         PS_HTTP_ERROR},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", UINT64_MAX,
         PS_HTTP_OK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct caller caller;

        open_caller(&caller);
        caller.limit = cases[i].limit;
        assert_int_equal(feed(&caller, cases[i].request, NULL), cases[i].result);
        assert_int_equal(caller.heads, 1);
        if (cases[i].result == PS_HTTP_ERROR) {
            const struct ps_fault *fault = ps_http_parser_fault(caller.parser);

            assert_int_equal(ps_fault_status(fault), 413);
            assert_int_equal(fault->kind, PS_FAULT_BODY_TOO_LARGE);
        }
        ps_http_parser_next(caller.parser, &caller.arena);
        caller.limit = 0;
        assert_int_equal(feed(&caller, with_length, NULL), PS_HTTP_PAUSED);
        close_caller(&caller);
    }
}

/* Lowered while chunks come: what was taken stays, the next chunk is too much. */
static void test_limit_lowered_in_the_body(void **state)
{
    struct caller caller;

    (void)state;
    open_caller(&caller);
    assert_int_equal(
        feed(&caller, "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
             NULL),
        PS_HTTP_OK);
    ps_http_parser_limit_body(caller.parser, 2);
    assert_int_equal(feed(&caller, "1\r\n", NULL), PS_HTTP_ERROR);
    assert_int_equal(ps_fault_status(ps_http_parser_fault(caller.parser)), 413);
    assert_int_equal(caller.bytes, 4);
    close_caller(&caller);
}

static void test_pipeline_of_a_thousand(void **state)
{
    struct caller caller;
    struct ps_buf input;
    size_t at = 0;

    (void)state;
    open_caller(&caller);
    ps_buf_init(&input, 1 << 20);
    for (size_t i = 0; i < 500; i++) {
        ps_buf_cstr(&input, with_length);
        ps_buf_cstr(&input, with_chunks);
    }
    assert_false(input.failed);
    for (size_t i = 1; i <= 1000; i++) {
        size_t used = 0;

        assert_int_equal(ps_http_parser_feed(caller.parser, input.ptr + at, input.len - at, &used),
                         PS_HTTP_PAUSED);
        at += used;
        assert_int_equal(caller.ends, i);
        ps_arena_reset(&caller.arena);
        ps_http_parser_next(caller.parser, &caller.arena);
    }
    assert_int_equal(at, input.len);
    assert_int_equal(caller.bytes, 4000);
    ps_buf_deinit(&input);
    close_caller(&caller);
}

/* Whatever piece of memory is missing, the answer is 503 and nothing is leaked or half told. */
static void feed_short_of_memory(struct caller *caller, size_t step, bool *ret_whole)
{
    size_t at = 0;
    enum ps_http_result result = PS_HTTP_OK;

    while (result == PS_HTTP_OK && at < strlen(with_length)) {
        size_t left = strlen(with_length) - at;
        size_t used = 0;

        result =
            ps_http_parser_feed(caller->parser, with_length + at, left < step ? left : step, &used);
        at += used;
    }
    *ret_whole = result == PS_HTTP_PAUSED;
    if (!*ret_whole) {
        assert_int_equal(result, PS_HTTP_ERROR);
        assert_int_equal(ps_http_parser_fault(caller->parser)->kind, PS_FAULT_NO_MEMORY);
        assert_int_equal(ps_fault_status(ps_http_parser_fault(caller->parser)), 503);
        assert_int_equal(caller->heads, 0);
    }
}

static void test_memory_runs_short(void **state)
{
    static const size_t steps[] = {1, 10, 1000};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bool whole = false;
        int64_t failures = 0;

        while (!whole) {
            struct caller caller;

            open_caller(&caller);
            (void)ps_mem_fail_after(failures);
            feed_short_of_memory(&caller, steps[i], &whole);
            (void)ps_mem_fail_after(-1);
            failures += !whole;
            close_caller(&caller);
        }
        assert_true(failures > 0);
    }
}

static void test_arena_is_full(void **state)
{
    static const size_t steps[] = {1, 10, 1000};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bool whole = false;
        size_t failures = 0;

        for (size_t limit = 0; !whole; limit += 64) {
            struct caller caller;

            assert_true(limit < 1 << 16);
            open_caller(&caller);
            ps_arena_deinit(&caller.arena);
            ps_arena_init(&caller.arena, limit);
            feed_short_of_memory(&caller, steps[i], &whole);
            failures += !whole;
            close_caller(&caller);
        }
        assert_true(failures > 0);
    }
}

static void test_new_without_memory(void **state)
{
    (void)state;
    (void)ps_mem_fail_after(0);
    assert_null(ps_http_parser_new(&limits, &note_ops, NULL));
    (void)ps_mem_fail_after(-1);
}

/* A head that comes in pieces must not cost memory in proportion to the pieces. */
static void test_memory_of_a_split_head(void **state)
{
    struct caller caller;
    struct ps_buf input;
    size_t used = 0;

    (void)state;
    open_caller(&caller);
    ps_buf_init(&input, 1 << 16);
    ps_buf_cstr(&input, "GET / HTTP/1.1\r\n" HOST "X: ");
    while (input.len < limits.header_bytes - 4) {
        ps_buf_byte(&input, 'a');
    }
    ps_buf_cstr(&input, "\r\n\r\n");
    for (size_t i = 0; i + 1 < input.len; i++) {
        assert_int_equal(ps_http_parser_feed(caller.parser, input.ptr + i, 1, &used), PS_HTTP_OK);
    }
    assert_int_equal(ps_http_parser_feed(caller.parser, "\n", 1, &used), PS_HTTP_PAUSED);
    assert_true(caller.arena.used < 4 * limits.header_bytes);
    ps_buf_deinit(&input);
    close_caller(&caller);
}

static bool look_up(void *arg, const struct ps_http_head *head)
{
    size_t count = 0;

    (void)arg;
    assert_true(ps_slice_eq_cstr(ps_http_value(head, "x-a", &count), "1"));
    assert_int_equal(count, 2);
    assert_true(ps_slice_eq_cstr(ps_http_value(head, "X-B", NULL), ""));
    assert_non_null(ps_http_find(head, "x-b"));
    assert_null(ps_http_find(head, "x-"));
    assert_null(ps_http_find(head, "x-aa"));
    assert_int_equal(ps_http_value(head, "x-c", &count).len, 0);
    assert_int_equal(count, 0);
    assert_true(ps_http_find(head, "HOST") == &head->headers[0]);
    return true;
}

static void test_look_up(void **state)
{
    static const struct ps_http_parser_ops ops = {
        .on_head = look_up, .on_body = note_body, .on_end = note_end};
    static const char request[] = "GET / HTTP/1.1\r\n" HOST "X-A: 1\r\nx-b:\r\nx-a: 2\r\n\r\n";
    struct caller caller = {.ends = 0};
    size_t used = 0;

    (void)state;
    ps_arena_init(&caller.arena, 1 << 16);
    caller.parser = ps_http_parser_new(&limits, &ops, &caller);
    assert_non_null(caller.parser);
    ps_http_parser_next(caller.parser, &caller.arena);
    assert_int_equal(feed(&caller, request, &used), PS_HTTP_PAUSED);
    assert_int_equal(caller.ends, 1);
    close_caller(&caller);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_end_of_input),
        cmocka_unit_test(test_nothing_is_taken_before_next),
        cmocka_unit_test(test_a_request_ends_where_it_ends),
        cmocka_unit_test(test_next_inside_on_end),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_dead_stays_dead),
        cmocka_unit_test(test_began),
        cmocka_unit_test(test_limit_of_one_request),
        cmocka_unit_test(test_limit_lowered_in_the_body),
        cmocka_unit_test(test_pipeline_of_a_thousand),
        cmocka_unit_test(test_memory_runs_short),
        cmocka_unit_test(test_arena_is_full),
        cmocka_unit_test(test_new_without_memory),
        cmocka_unit_test(test_memory_of_a_split_head),
        cmocka_unit_test(test_look_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
