/* SPDX-License-Identifier: Apache-2.0 */

/* What the parser must refuse, each with its status and a sentence, however the bytes come. */

#include "http/outcome.h"
#include "testing.h"

#include "penstock/http/parser.h"

static const struct ps_http_limits limits = {
    .line_bytes = 256, .header_bytes = 1024, .body_bytes = 4096};

#define GET     "GET / HTTP/1.1\r\n"
#define POST    "POST /v1/x HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

struct refusal {
    const char *name;
    struct ps_slice input;
    int status;
    const char *sentence; /* part of it */
};

#define CASE(name, input, status, sentence)                                                        \
    {                                                                                              \
        name, {(input), sizeof(input) - 1}, status, sentence                                       \
    }

static const struct refusal framing[] = {
    /* how long is the body? */
    CASE("CL.TE", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         "both"),
    CASE("TE.CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400,
         "both"),
    CASE("CL 0 with TE", POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
         "both"),
    CASE("CL with unknown TE", POST "Content-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\nabc", 400,
         "both"),
    CASE("two lengths", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400,
         "more than one Content-Length"),
    CASE("one length twice", POST "Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc", 400,
         "more than one Content-Length"),
    CASE("lengths in a list", POST "Content-Length: 3, 3\r\n\r\nabc", 400, "decimal"),
    CASE("CL +5", POST "Content-Length: +5\r\n\r\nabcde", 400, "decimal"),
    CASE("CL -1", POST "Content-Length: -1\r\n\r\n", 400, "decimal"),
    CASE("CL -0", POST "Content-Length: -0\r\n\r\n", 400, "decimal"),
    CASE("CL 0x5", POST "Content-Length: 0x5\r\n\r\nabcde", 400, "decimal"),
    CASE("CL 5 5", POST "Content-Length: 5 5\r\n\r\nabcde", 400, "decimal"),
    CASE("CL 1_0", POST "Content-Length: 1_0\r\n\r\n", 400, "decimal"),
    CASE("CL 5.", POST "Content-Length: 5.\r\n\r\nabcde", 400, "decimal"),
    CASE("CL 1e1", POST "Content-Length: 1e1\r\n\r\n", 400, "decimal"),
    CASE("CL in other digits", POST "Content-Length: \xd9\xa3\r\n\r\nabc", 400, "decimal"),
    CASE("CL \"5\"", POST "Content-Length: \"5\"\r\n\r\nabcde", 400, "decimal"),
    CASE("CL empty", POST "Content-Length:\r\n\r\n", 400, "empty"),
    CASE("CL blank", POST "Content-Length:   \r\n\r\n", 400, "empty"),
    CASE("CL 2^64", POST "Content-Length: 18446744073709551616\r\n\r\n", 400, "too large"),
    CASE("CL 2^64 + 3", POST "Content-Length: 18446744073709551619\r\n\r\nabc", 400, "too large"),
    CASE("CL of 60 digits",
         POST
         "Content-Length: 100000000000000000000000000000000000000000000000000000000003\r\n\r\n",
         400, "too large"),
    CASE("CL with a tab", POST "Content-Length: 3\t\r\n\r\nabc", 400, "tab"),
    CASE("CL behind a tab", POST "Content-Length:\t3\r\n\r\nabc", 400, "tab"),
    CASE("CL 2^64 - 1", POST "Content-Length: 18446744073709551615\r\n\r\n", 413, "4096"),
    CASE("CL above the limit", POST "Content-Length: 4097\r\n\r\n", 413, "4097"),
    CASE("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "chunked"),
    CASE("gzip, then chunked",
         POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501,
         "chunked"),
    CASE("gzip with parameters",
         POST "Transfer-Encoding: x;level=1 ; b=\"c\", chunked\r\n\r\n0\r\n\r\n", 501, "chunked"),
    CASE("chunked twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "once"),
    CASE("chunked on two lines",
         POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         "once"),
    CASE("chunked not last", POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "end"),
    CASE("chunked, identity on two lines",
         POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400,
         "end"),
    CASE("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "end"),
    CASE("chunkedx", POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", 400, "end"),
    CASE("identity", POST "Transfer-Encoding: identity\r\n\r\n", 400, "end"),
    CASE(",chunked", POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
    CASE("chunked,", POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", 400, "malformed"),
    CASE("TE empty", POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, "malformed"),
    CASE("chunked;a=b", POST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400, "malformed"),
    CASE("chunked chunked", POST "Transfer-Encoding: chunked chunked\r\n\r\n0\r\n\r\n", 400,
         "malformed"),
    CASE("\"chunked\"", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, "malformed"),
    CASE("chunked with a tab", POST "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", 400, "tab"),
    CASE("chunked in latin-1", POST "Transfer-Encoding: chunked\xa0\r\n\r\n0\r\n\r\n", 400,
         "malformed"),
    CASE("chunked with vertical tab", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", 400,
         "0x0b"),
    CASE("TE in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
         "HTTP/1.0 has no Transfer-Encoding"),
    CASE("TE and keep-alive in HTTP/1.0",
         "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
         "HTTP/1.0 has no Transfer-Encoding"),
    /* chunks */
    CASE("chunk size 0x5", CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size empty", CHUNKED "\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size +5", CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size -1", CHUNKED "-1\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size g", CHUNKED "g\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size 5 and space", CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size after space", CHUNKED " 5\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size and tab", CHUNKED "5\t\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size of 17 digits", CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n", 400, "16"),
    CASE("chunk size above 2^64", CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "16"),
    CASE("chunk size 2^64 - 1", CHUNKED "ffffffffffffffff\r\nhello", 413, "4096"),
    CASE("chunk size and LF", CHUNKED "5\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("chunk size and CR", CHUNKED "5\rhello\r\n0\r\n\r\n", 400, "CRLF"),
    CASE("chunk too long", CHUNKED "5\r\nhello!\r\n0\r\n\r\n", 400, "where its size says"),
    CASE("chunk too short", CHUNKED "5\r\nhell\r\n0\r\n\r\n", 400, "where its size says"),
    CASE("chunk and LF", CHUNKED "5\r\nhello\n0\r\n\r\n", 400, "where its size says"),
    CASE("chunk and CR", CHUNKED "5\r\nhello\r0\r\n\r\n", 400, "where its size says"),
    CASE("chunk and nothing", CHUNKED "5\r\nhello0\r\n\r\n", 400, "where its size says"),
    CASE("extension without a name", CHUNKED "5;\r\nhello\r\n0\r\n\r\n", 400, "extension"),
    CASE("extension without a value", CHUNKED "5;a=\r\nhello\r\n0\r\n\r\n", 400, "extension"),
    CASE("extension after space", CHUNKED "5 ;a\r\nhello\r\n0\r\n\r\n", 400, "hexadecimal"),
    CASE("extension with space", CHUNKED "5; a\r\nhello\r\n0\r\n\r\n", 400, "extension"),
    CASE("extension with LF", CHUNKED "5;a\nhello\r\n0\r\n\r\n", 400, "extension"),
    CASE("extension with CR", CHUNKED "5;a\rhello\r\n0\r\n\r\n", 400, "CRLF"),
    CASE("extension with quoted LF", CHUNKED "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", 400, "extension"),
    CASE("extension with quoted CRLF", CHUNKED "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", 400,
         "extension"),
    CASE("extension with escaped CR", CHUNKED "5;a=\"\\\r\"\r\nhello\r\n0\r\n\r\n", 400,
         "extension"),
    CASE("extension behind a quoted one", CHUNKED "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n", 400,
         "extension"),
    CASE("last chunk and LF", CHUNKED "0\n\n", 400, "hexadecimal"),
    CASE("last chunk, LF", CHUNKED "0\r\n\n", 400, "trailer"),
    CASE("last chunk, CR", CHUNKED "0\r\n\rx", 400, "trailer"),
    CASE("too much at once", CHUNKED "1001\r\n", 413, "4096"),
    CASE("trailer CL", CHUNKED "0\r\nContent-Length: 3\r\n\r\n", 400, "must not stand"),
    CASE("trailer TE", CHUNKED "0\r\na: b\r\ntransfer-ENCODING: chunked\r\n\r\n", 400,
         "must not stand"),
    CASE("trailer Host", CHUNKED "0\r\nhost: b\r\n\r\n", 400, "must not stand"),
    CASE("trailer without a name", CHUNKED "0\r\n: b\r\n\r\n", 400, "trailer"),
    CASE("trailer without a colon", CHUNKED "0\r\nabc\r\n\r\n", 400, "trailer"),
    CASE("trailer with space before the colon", CHUNKED "0\r\na : b\r\n\r\n", 400, "trailer"),
    CASE("trailer folded", CHUNKED "0\r\na: b\r\n c\r\n\r\n", 400, "trailer"),
    CASE("trailer begins with space", CHUNKED "0\r\n a: b\r\n\r\n", 400, "trailer"),
    CASE("trailer with LF", CHUNKED "0\r\na: b\n\r\n", 400, "trailer"),
    CASE("trailer with CR", CHUNKED "0\r\na: b\rc\r\n\r\n", 400, "trailer"),
    CASE("trailer with NUL", CHUNKED "0\r\na: b\0c\r\n\r\n", 400, "trailer"),
};

static const struct refusal heads[] = {
    /* lines */
    CASE("bare LF, request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "line feed"),
    CASE("bare LF, header", GET "Host: a\nX: y\r\n\r\n", 400, "line feed"),
    CASE("bare LF, end", GET "Host: a\r\n\n", 400, "line feed"),
    CASE("bare LF, everywhere", "GET / HTTP/1.1\nHost: a\n\n", 400, "line feed"),
    CASE("bare CR, value", GET "Host: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n", 400,
         "carriage return"),
    CASE("bare CR, before CRLF", GET "Host: a\r\r\n\r\n", 400, "carriage return"),
    CASE("bare CR, name", GET "Host: a\r\nX\ry: z\r\n\r\n", 400, "carriage return"),
    CASE("bare CR, request line", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400, "carriage return"),
    CASE("NUL in a value", GET "Host: a\r\nX: a\0b\r\n\r\n", 400, "NUL"),
    CASE("NUL in a name", GET "Host: a\r\nX\0: a\r\n\r\n", 400, "NUL"),
    CASE("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "NUL"),
    CASE("escape in a value", GET "Host: a\r\nX: \x1b[31m\r\n\r\n", 400, "0x1b"),
    CASE("DEL in a value", GET "Host: a\r\nX: \x7f\r\n\r\n", 400, "0x7f"),
    CASE("folded header", GET "Host: a\r\nX: y\r\n z\r\n\r\n", 400, "folded"),
    CASE("folded with a tab", GET "Host: a\r\nX: y\r\n\tz\r\n\r\n", 400, "folded"),
    CASE("folded TE", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, "folded"),
    CASE("folded to nothing", GET "Host: a\r\n \r\n\r\n", 400, "folded"),
    CASE("space before the first header", GET " Host: a\r\n\r\n", 400, "white space"),
    CASE("space before the colon", GET "Host : a\r\n\r\n", 400, "before the colon"),
    CASE("tab before the colon", GET "Host\t: a\r\n\r\n", 400, "before the colon"),
    CASE("space before the colon of CL", POST "Content-Length : 3\r\n\r\nabc", 400,
         "before the colon"),
    CASE("space in a name", GET "Host: a\r\nX Y: z\r\n\r\n", 400, "white space"),
    CASE("empty name", GET "Host: a\r\n: x\r\n\r\n", 400, "no name"),
    CASE("no colon", GET "Host: a\r\nX\r\n\r\n", 400, "malformed"),
    CASE("name in brackets", GET "Host: a\r\n[X]: y\r\n\r\n", 400, "malformed"),
    CASE("name not ASCII", GET "Host: a\r\n\xc3\xa9: y\r\n\r\n", 400, "malformed"),
    CASE("quoted name", GET "Host: a\r\n\"Content-Length\": 3\r\n\r\n", 400, "malformed"),
    /* request line */
    CASE("HTTP/0.9", "GET /\r\n", 400, "HTTP/0.9"),
    CASE("HTTP/0.9 with headers", "GET /\r\nHost: a\r\n\r\n", 400, "HTTP/0.9"),
    CASE("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("HTTP/0.9 by name", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("HTTP/1", "GET / HTTP/1\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("HTTP/01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("ICE/1.0", "GET / ICE/1.0\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("RTSP/1.0", "OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n", 400, "version"),
    CASE("no version after a space", "GET / \r\nHost: a\r\n\r\n", 400, "version"),
    CASE("space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "spaces"),
    CASE("two spaces after the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "two spaces"),
    CASE("two spaces after the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "spaces"),
    CASE("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "spaces"),
    CASE("tab after the method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"),
    CASE("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, "HTTP/0.9"),
    CASE("method alone", "GET\r\nHost: a\r\n\r\n", 400, "request line"),
    CASE("method not a token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"),
    CASE("space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begin"),
    CASE("TLS", "\x16\x03\x01\x02\x00\x01", 400, "TLS"),
    CASE("binary", "\x80\x01", 400, "begin"),
    CASE("LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begin"),
    CASE("CR before the request", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "carriage return"),
    CASE("three empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "empty lines"),
    CASE("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2"),
    CASE("PRI in HTTP/1.1", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "HTTP/2"),
    CASE("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment"),
    CASE("fragment of an URI", "GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "fragment"),
    CASE("backslash", "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "0x5c"),
    CASE("UTF-8 in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "0xc3"),
    CASE("no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'"),
    CASE("query alone", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'"),
    CASE("* with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "OPTIONS"),
    CASE("*a", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'"),
    CASE("other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'"),
    CASE("scheme alone", "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "begins with '/'"),
    CASE("URI without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host"),
    CASE("URI of another host", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "another host"),
    CASE("URI of another port", "GET http://a:81/x HTTP/1.1\r\nHost: a:80\r\n\r\n", 400,
         "another host"),
    CASE("URI without Host", "GET http://a/x HTTP/1.1\r\n\r\n", 400, "no Host"),
    CASE("URI with a user", "GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host"),
    CASE("CONNECT to a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host"),
    /* Host */
    CASE("no Host", GET "X: y\r\n\r\n", 400, "no Host"),
    CASE("no headers", GET "\r\n", 400, "no Host"),
    CASE("two Hosts", GET "Host: a\r\nHost: b\r\n\r\n", 400, "more than one Host"),
    CASE("one Host twice", GET "Host: a\r\nhOST: a\r\n\r\n", 400, "more than one Host"),
    CASE("two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400,
         "more than one Host"),
    CASE("Host empty", GET "Host:\r\n\r\n", 400, "host"),
    CASE("Host with a user", GET "Host: u@a\r\n\r\n", 400, "host"),
    CASE("Host with a path", GET "Host: a/b\r\n\r\n", 400, "host"),
    CASE("Host with a query", GET "Host: a/health?\r\n\r\n", 400, "host"),
    CASE("Host with a question mark", GET "Host: a?b\r\n\r\n", 400, "host"),
    CASE("Host with a fragment", GET "Host: 127.0.0.1:8080/v1/models#\r\n\r\n", 400, "host"),
    CASE("Host with a backslash", GET "Host: a\\@b\r\n\r\n", 400, "host"),
    CASE("Host with a space", GET "Host: a b\r\n\r\n", 400, "host"),
    CASE("Host with a tab", GET "Host: a\tb\r\n\r\n", 400, "host"),
    CASE("Hosts in a list", GET "Host: a, b\r\n\r\n", 400, "host"),
    CASE("Host not ASCII", GET "Host: \xc3\xa9\r\n\r\n", 400, "host"),
    CASE("Host without a name", GET "Host: :80\r\n\r\n", 400, "host"),
    CASE("port empty", GET "Host: a:\r\n\r\n", 400, "host"),
    CASE("port of 6 digits", GET "Host: a:000080\r\n\r\n", 400, "host"),
    CASE("port 65536", GET "Host: a:65536\r\n\r\n", 400, "host"),
    CASE("port +80", GET "Host: a:+80\r\n\r\n", 400, "host"),
    CASE("two ports", GET "Host: a:80:80\r\n\r\n", 400, "host"),
    CASE("IPv6 without brackets", GET "Host: ::1\r\n\r\n", 400, "host"),
    CASE("IPv6 not closed", GET "Host: [::1\r\n\r\n", 400, "host"),
    CASE("IPv6 empty", GET "Host: []\r\n\r\n", 400, "host"),
    CASE("IPv6 with a zone", GET "Host: [fe80::1%eth0]\r\n\r\n", 400, "host"),
    CASE("IPv6 with a tail", GET "Host: [::1]a\r\n\r\n", 400, "host"),
    /* expectations */
    CASE("Expect other", POST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc", 417,
         "100-continue"),
    CASE("Expect two", POST "Expect: 100-continue, x\r\nContent-Length: 3\r\n\r\nabc", 417,
         "100-continue"),
    CASE("Expect empty", GET "Host: a\r\nExpect:\r\n\r\n", 417, "100-continue"),
    CASE("Expect both", POST "Expect: 100-continue\r\nExpect: x\r\n\r\n", 417, "100-continue"),
};

static void refuse(const struct refusal *refusal)
{
    struct outcome outcome;
    bool right;

    outcome_init(&outcome);
    outcome_run(&outcome, &limits, refusal->input, 0, 0);
    right = outcome.result == PS_HTTP_ERROR && outcome.ends == 0 &&
            ps_fault_status(&outcome.fault) == refusal->status &&
            strstr(outcome.fault.message, refusal->sentence) != NULL &&
            outcome_splits_same(&outcome, &limits, refusal->input);
    if (!right) {
        fail_msg("%s: expected %d '…%s…', found:\n%s", refusal->name, refusal->status,
                 refusal->sentence, outcome.text.ptr);
    }
    outcome_deinit(&outcome);
}

static void test_framing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++) {
        refuse(&framing[i]);
    }
}

static void test_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        refuse(&heads[i]);
    }
}

/* The same behind a good request on the same connection, which must not suffer. */
static void test_behind_a_good_one(void **state)
{
    static const char good[] = POST "Content-Length: 2\r\n\r\nok";

    (void)state;
    for (size_t i = 0; i < sizeof(framing) / sizeof(framing[0]); i++) {
        const struct refusal *refusal = &framing[i];
        struct outcome outcome;
        struct ps_buf input;

        ps_buf_init(&input, 1 << 16);
        ps_buf_cstr(&input, good);
        ps_buf_slice(&input, refusal->input);
        outcome_init(&outcome);
        outcome_run(&outcome, &limits, ps_buf_view(&input), 0, 0);
        assert_int_equal(outcome.ends, 1);
        assert_int_equal(outcome.result, PS_HTTP_ERROR);
        assert_int_equal(ps_fault_status(&outcome.fault), refusal->status);
        assert_true(outcome_same(&outcome, &limits, ps_buf_view(&input), 0, 1));
        outcome_deinit(&outcome);
        ps_buf_deinit(&input);
    }
}

/* `status` 0: taken. */
static void expect_status(const struct ps_buf *input, int status, const char *what)
{
    struct outcome outcome;
    int found;

    outcome_init(&outcome);
    outcome_run(&outcome, &limits, ps_buf_view(input), 0, 0);
    found = outcome.result == PS_HTTP_ERROR ? ps_fault_status(&outcome.fault) : 0;
    if (found != status || (status == 0 && outcome.ends != 1) ||
        !outcome_splits_same(&outcome, &limits, ps_buf_view(input))) {
        fail_msg("%s: expected %d, found:\n%s", what, status, outcome.text.ptr);
    }
    outcome_deinit(&outcome);
}

static void fill(struct ps_buf *buf, char byte, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ps_buf_byte(buf, byte);
    }
}

static void test_request_line_limit(void **state)
{
    const size_t fixed = strlen("GET / HTTP/1.1");

    (void)state;
    for (size_t len = limits.line_bytes - 1; len <= limits.line_bytes + 2; len++) {
        struct ps_buf input;

        ps_buf_init(&input, 1 << 16);
        ps_buf_cstr(&input, "GET /");
        fill(&input, 'a', len - fixed);
        ps_buf_cstr(&input, " HTTP/1.1\r\nHost: a\r\n\r\n");
        expect_status(&input, len > limits.line_bytes ? 414 : 0, "request line");
        ps_buf_deinit(&input);
    }
}

/* A line that never ends is refused as soon as it is too long. */
static void test_endless_lines(void **state)
{
    struct ps_buf input;

    (void)state;
    ps_buf_init(&input, 1 << 16);
    fill(&input, 'A', 2000);
    expect_status(&input, 414, "endless request line");
    ps_buf_reset(&input);
    ps_buf_cstr(&input, GET "X: ");
    fill(&input, 'a', 2000);
    expect_status(&input, 431, "endless header line");
    ps_buf_deinit(&input);
}

static void test_head_limit(void **state)
{
    static const char start[] = GET "Host: a\r\nX: ";

    (void)state;
    for (size_t len = limits.header_bytes - 1; len <= limits.header_bytes + 2; len++) {
        struct ps_buf input;

        ps_buf_init(&input, 1 << 16);
        ps_buf_cstr(&input, start);
        fill(&input, 'a', len - strlen(start) - 4);
        ps_buf_cstr(&input, "\r\n\r\n");
        assert_int_equal(input.len, len);
        expect_status(&input, len > limits.header_bytes ? 431 : 0, "head");
        ps_buf_deinit(&input);
    }
}

static void test_header_count_limit(void **state)
{
    (void)state;
    for (size_t count = PS_HTTP_MAX_HEADERS - 1; count <= PS_HTTP_MAX_HEADERS + 1; count++) {
        struct ps_buf input;

        ps_buf_init(&input, 1 << 16);
        ps_buf_cstr(&input, GET "Host: a\r\n");
        for (size_t i = 1; i < count; i++) {
            ps_buf_cstr(&input, "a:b\r\n");
        }
        ps_buf_cstr(&input, "\r\n");
        expect_status(&input, count > PS_HTTP_MAX_HEADERS ? 431 : 0, "header count");
        ps_buf_deinit(&input);
    }
}

/* 4 KiB of chunk extensions, in one chunk and over many. */
static void test_extension_limit(void **state)
{
    (void)state;
    for (size_t chunks = 1; chunks <= 4; chunks *= 4) {
        for (size_t more = 0; more <= 1; more++) {
            struct ps_buf input;
            struct outcome outcome;

            ps_buf_init(&input, 1 << 16);
            ps_buf_cstr(&input, CHUNKED);
            for (size_t i = 0; i < chunks; i++) {
                /* What counts is the bytes behind ';', the CR among them. */
                ps_buf_cstr(&input, "1;");
                fill(&input, 'a', 4096 / chunks - 1 + (i == 0 ? more : 0));
                ps_buf_cstr(&input, "\r\nx\r\n");
            }
            ps_buf_cstr(&input, "0\r\n\r\n");
            outcome_init(&outcome);
            outcome_run(&outcome, &limits, ps_buf_view(&input), 0, 0);
            assert_int_equal(outcome.ends, more == 0 ? 1 : 0);
            assert_int_equal(outcome.result, more == 0 ? PS_HTTP_OK : PS_HTTP_ERROR);
            if (more > 0) {
                assert_int_equal(ps_fault_status(&outcome.fault), 400);
                assert_non_null(strstr(outcome.fault.message, "4096"));
            }
            assert_true(outcome_same(&outcome, &limits, ps_buf_view(&input), 0, 1));
            assert_true(outcome_same(&outcome, &limits, ps_buf_view(&input), 0, 7));
            outcome_deinit(&outcome);
            ps_buf_deinit(&input);
        }
    }
}

static void test_trailer_limits(void **state)
{
    struct ps_buf input;

    (void)state;
    ps_buf_init(&input, 1 << 16);
    for (size_t count = 100; count <= 101; count++) {
        ps_buf_reset(&input);
        ps_buf_cstr(&input, CHUNKED "0\r\n");
        for (size_t i = 0; i < count; i++) {
            ps_buf_cstr(&input, "a:b\r\n");
        }
        ps_buf_cstr(&input, "\r\n");
        expect_status(&input, count > 100 ? 431 : 0, "trailer count");
    }
    for (size_t len = limits.header_bytes; len <= limits.header_bytes + 1; len++) {
        ps_buf_reset(&input);
        ps_buf_cstr(&input, CHUNKED "0\r\na:");
        fill(&input, 'b', len - strlen("a:\r\n\r"));
        ps_buf_cstr(&input, "\r\n\r\n");
        expect_status(&input, len > limits.header_bytes ? 431 : 0, "trailer bytes");
    }
    ps_buf_deinit(&input);
}

/* The limit holds for the chunks together. */
static void test_chunked_body_limit(void **state)
{
    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        struct ps_buf input;
        struct outcome outcome;

        ps_buf_init(&input, 1 << 16);
        ps_buf_printf(&input, CHUNKED "%zx\r\n", (size_t)limits.body_bytes - 1);
        fill(&input, 'x', limits.body_bytes - 1);
        ps_buf_printf(&input, "\r\n%zx\r\n", 1 + more);
        fill(&input, 'y', 1 + more);
        ps_buf_cstr(&input, "\r\n0\r\n\r\n");
        outcome_init(&outcome);
        outcome_run(&outcome, &limits, ps_buf_view(&input), 0, 0);
        assert_int_equal(outcome.ends, more == 0 ? 1 : 0);
        assert_int_equal(outcome.result, more == 0 ? PS_HTTP_OK : PS_HTTP_ERROR);
        if (more > 0) {
            assert_int_equal(ps_fault_status(&outcome.fault), 413);
            assert_non_null(strstr(outcome.fault.message, "4096"));
        }
        assert_true(outcome_same(&outcome, &limits, ps_buf_view(&input), 0, 1));
        outcome_deinit(&outcome);
        ps_buf_deinit(&input);
    }
}

static bool is_in(int byte, const char *set)
{
    return byte != 0 && strchr(set, byte) != NULL;
}

static bool is_alnum(int byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z');
}

static bool token_byte(int byte)
{
    return is_alnum(byte) || is_in(byte, "!#$%&'*+-.^_`|~");
}

static bool value_byte(int byte)
{
    return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static bool target_byte(int byte)
{
    return byte > ' ' && byte < 0x7f && !is_in(byte, "\"#<>\\");
}

static bool host_byte(int byte)
{
    return is_alnum(byte) || is_in(byte, "-._~");
}

static bool header_name_byte(int byte)
{
    return token_byte(byte) || byte == ':'; /* the rest is then the value */
}

static bool extension_byte(int byte)
{
    return token_byte(byte) || byte == ';' || byte == '=';
}

static bool quoted_byte(int byte)
{
    return byte == '\t' ||
           (byte >= ' ' && byte <= '~' && byte != '"'); /* '\\' makes an escape of the next */
}

static bool escaped_byte(int byte)
{
    return byte == '\t' || (byte >= ' ' && byte <= '~');
}

/* Every byte value at places where a byte may stand: our reading and llhttp's both have their say.
 */
static void test_every_byte(void **state)
{
    static const struct {
        const char *name;
        const char *before;
        const char *behind;
        bool (*taken)(int byte);
    } places[] = {
        {"method", "G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", token_byte},
        {"path", "GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", target_byte},
        {"query", "GET /?a", "b HTTP/1.1\r\nHost: a\r\n\r\n", target_byte},
        {"path of an URI", "GET http://a/a", "b HTTP/1.1\r\nHost: a\r\n\r\n", target_byte},
        {"target of another method", "BREW /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", target_byte},
        {"name", GET "Host: a\r\nX", "Y: z\r\n\r\n", header_name_byte},
        {"value", GET "Host: a\r\nX: y", "z\r\n\r\n", value_byte},
        {"value of Connection", GET "Host: a\r\nConnection: y", "z\r\n\r\n", value_byte},
        {"value of Upgrade", GET "Host: a\r\nUpgrade: y", "z\r\n\r\n", value_byte},
        {"host", GET "Host: a", "b\r\n\r\n", host_byte},
        {"extension", CHUNKED "1;a", "b\r\nx\r\n0\r\n\r\n", extension_byte},
        {"quoted extension", CHUNKED "1;a=\"", "b\"\r\nx\r\n0\r\n\r\n", quoted_byte},
        {"escape in an extension", CHUNKED "1;a=\"\\", "b\"\r\nx\r\n0\r\n\r\n", escaped_byte},
        {"trailer name", CHUNKED "0\r\nX", "Y: z\r\n\r\n", header_name_byte},
        {"trailer value", CHUNKED "0\r\nX: y", "z\r\n\r\n", value_byte},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (int byte = 0; byte < 256; byte++) {
            struct outcome outcome;
            struct ps_buf input;
            bool taken = places[i].taken(byte);

            ps_buf_init(&input, 4096);
            ps_buf_cstr(&input, places[i].before);
            ps_buf_byte(&input, (char)byte);
            ps_buf_cstr(&input, places[i].behind);
            outcome_init(&outcome);
            outcome_run(&outcome, &limits, ps_buf_view(&input), 0, 0);
            if (taken != (outcome.result == PS_HTTP_OK && outcome.ends == 1) ||
                strstr(outcome.fault.message, "more than one way") != NULL) {
                fail_msg("%s, byte 0x%02x: expected it %s, found:\n%s", places[i].name,
                         (unsigned)byte, taken ? "taken" : "refused", outcome.text.ptr);
            }
            assert_true(outcome_same(&outcome, &limits, ps_buf_view(&input), 0, 1));
            outcome_deinit(&outcome);
            ps_buf_deinit(&input);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_behind_a_good_one),
        cmocka_unit_test(test_request_line_limit),
        cmocka_unit_test(test_endless_lines),
        cmocka_unit_test(test_head_limit),
        cmocka_unit_test(test_header_count_limit),
        cmocka_unit_test(test_extension_limit),
        cmocka_unit_test(test_trailer_limits),
        cmocka_unit_test(test_chunked_body_limit),
        cmocka_unit_test(test_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
