# SPDX-License-Identifier: Apache-2.0
"""Every ambiguity of framing is refused with 400 and the end of the connection (RFC 9112)."""

import json

import pytest

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
HIDDEN = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def head(
    *lines,
    first=b"POST /v1/chat/completions HTTP/1.1",
    host=b"Host: localhost",
    content=b"Content-Type: application/json",
):
    given = [line for line in (first, host, content) if line is not None]
    return b"\r\n".join([*given, *lines]) + b"\r\n\r\n"


def chunked(body=BODY):
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
# A body of five bytes whose declared lengths below differ by how they are read.
FIVE = b'{"a":'

REFUSED = {
    # two lengths
    "CL and TE": head(LENGTH, CHUNKED) + chunked(),
    "TE and CL": head(CHUNKED, LENGTH) + chunked(),
    "CL 0 and TE": head(b"Content-Length: 0", CHUNKED) + chunked(),
    "two CL that differ": head(LENGTH, b"Content-Length: 5") + BODY,
    "two CL alike": head(LENGTH, LENGTH) + BODY,
    "CL list": head(b"Content-Length: 5, 5") + FIVE,
    "CL list that differs": head(b"Content-Length: 5, 6") + FIVE,
    "CL plus": head(b"Content-Length: +5") + FIVE,
    "CL minus": head(b"Content-Length: -1"),
    "CL minus zero": head(b"Content-Length: -0"),
    "CL hex": head(b"Content-Length: 0x5") + FIVE,
    "CL space inside": head(b"Content-Length: 5 5") + FIVE,
    "CL underscore": head(b"Content-Length: 1_0") + FIVE,
    "CL empty": head(b"Content-Length: "),
    "CL dot": head(b"Content-Length: 5.0") + FIVE,
    "CL exponent": head(b"Content-Length: 1e1") + FIVE,
    "CL above 2^64": head(b"Content-Length: 18446744073709551621") + FIVE,
    "CL of many digits": head(b"Content-Length: " + b"9" * 40),
    "CL with a letter": head(b"Content-Length: 5a") + FIVE,
    "CL with NUL": head(b"Content-Length: 5\x00") + FIVE,
    # transfer codings
    "TE twice": head(CHUNKED, CHUNKED) + chunked(),
    "TE chunked, chunked": head(b"Transfer-Encoding: chunked, chunked") + chunked(),
    "TE xchunked": head(b"Transfer-Encoding: xchunked") + chunked(),
    "TE chunked last not": head(b"Transfer-Encoding: chunked, gzip") + chunked(),
    "TE chunked;q=1": head(b"Transfer-Encoding: chunked;q=1") + chunked(),
    "TE quoted": head(b'Transfer-Encoding: "chunked"') + chunked(),
    "TE with tab inside": head(b"Transfer-Encoding: chun\tked") + chunked(),
    "TE with vertical tab": head(b"Transfer-Encoding: \x0bchunked") + chunked(),
    "TE ,chunked": head(b"Transfer-Encoding: ,chunked") + chunked(),
    "TE identity": head(b"Transfer-Encoding: identity") + BODY,
    "TE empty": head(b"Transfer-Encoding: ") + BODY,
    "TE empty and CL": head(b"Transfer-Encoding:", LENGTH) + BODY,
    "TE on HTTP/1.0": head(CHUNKED, first=b"POST /v1/chat/completions HTTP/1.0") + chunked(),
    # header syntax
    "space before colon": head(b"Content-Length : %d" % len(BODY)) + BODY,
    "tab before colon": head(b"Transfer-Encoding\t: chunked") + chunked(),
    "obs-fold": head(b"X: a", b" b", LENGTH) + BODY,
    "obs-fold with tab": head(b"X: a", b"\tb", LENGTH) + BODY,
    "obs-fold hides TE": head(b"Transfer-Encoding:", b" chunked") + chunked(),
    "obs-fold hides CL": head(b"Content-Length:", b" %d" % len(BODY)) + BODY,
    "space before first header": b"POST /v1/chat/completions HTTP/1.1\r\n Host: localhost\r\n"
    + LENGTH
    + b"\r\n\r\n"
    + BODY,
    "empty name": head(b": x", LENGTH) + BODY,
    "no colon": head(b"Nonsense", LENGTH) + BODY,
    "NUL in name": head(b"X\x00: a", LENGTH) + BODY,
    "NUL in value": head(b"X: a\x00b", LENGTH) + BODY,
    "control byte in value": head(b"X: a\x01b", LENGTH) + BODY,
    "DEL in value": head(b"X: a\x7fb", LENGTH) + BODY,
    "CR in value": head(b"X: a\rb", LENGTH) + BODY,
    "CR hides TE": head(b"X: a\rTransfer-Encoding: chunked") + chunked(),
    "bare LF ends a line": head(b"X: a\nY: b", LENGTH) + BODY,
    "bare LF hides a header": head(b"X: a\n" + CHUNKED) + chunked(),
    "bare LF everywhere": (head(LENGTH).replace(b"\r\n", b"\n")) + BODY,
    "bare LF ends the request line": b"GET /health HTTP/1.1\nHost: localhost\r\n\r\n",
    "bare LF ends the head": b"GET /health HTTP/1.1\r\nHost: localhost\r\n\n",
    "bare CR ends a line": b"GET /health HTTP/1.1\rHost: localhost\r\r",
    "CR CR LF": b"GET /health HTTP/1.1\r\r\nHost: localhost\r\n\r\n",
    "non-token in name": head(b"X(y): a", LENGTH) + BODY,
    "high byte in name": head(b"X\xe9: a", LENGTH) + BODY,
    # request line
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/1": b"GET /health HTTP/1\r\nHost: localhost\r\n\r\n",
    "http/1.1": b"GET /health http/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/1.10": b"GET /health HTTP/1.10\r\nHost: localhost\r\n\r\n",
    "HTTP/ 1.1": b"GET /health HTTP/ 1.1\r\nHost: localhost\r\n\r\n",
    "ICE/1.0": b"GET /health ICE/1.0\r\nHost: localhost\r\n\r\n",
    "two spaces after method": b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two spaces before version": b"GET /health  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tab in request line": b"GET\t/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space behind version": b"GET /health HTTP/1.1 \r\nHost: localhost\r\n\r\n",
    "space before method": b" GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "fragment": b"GET /health#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "absolute URI of another host": b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "relative target": b"GET health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in target": b"GET /he\x00alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "high byte in target": b"GET /h\xe9alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "asterisk with GET": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n",
    # Host
    "no Host": head(LENGTH, host=None) + BODY,
    "two Hosts": head(b"Host: localhost", LENGTH) + BODY,
    "two Hosts that differ": head(b"Host: evil.example", LENGTH) + BODY,
    "empty Host": head(LENGTH, host=b"Host: ") + BODY,
    "userinfo in Host": head(LENGTH, host=b"Host: a@localhost") + BODY,
    "path in Host": head(LENGTH, host=b"Host: localhost/x") + BODY,
    "space in Host": head(LENGTH, host=b"Host: local host") + BODY,
    "backslash in Host": head(LENGTH, host=b"Host: a\\@localhost") + BODY,
    "comma in Host": head(LENGTH, host=b"Host: localhost, evil.example") + BODY,
    "bad port in Host": head(LENGTH, host=b"Host: localhost:80x") + BODY,
    # chunks
    "chunk size 0x": head(CHUNKED) + b"0x5\r\nabcde\r\n0\r\n\r\n",
    "chunk size plus": head(CHUNKED) + b"+5\r\nabcde\r\n0\r\n\r\n",
    "chunk size minus": head(CHUNKED) + b"-5\r\nabcde\r\n0\r\n\r\n",
    "chunk size empty": head(CHUNKED) + b"\r\nabcde\r\n0\r\n\r\n",
    "chunk size not hex": head(CHUNKED) + b"g\r\nabcde\r\n0\r\n\r\n",
    "chunk size underscore": head(CHUNKED) + b"1_0\r\nabcde\r\n0\r\n\r\n",
    "chunk size of 17 digits": head(CHUNKED) + b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
    "space before chunk size": head(CHUNKED) + b" 5\r\nabcde\r\n0\r\n\r\n",
    "space behind chunk size": head(CHUNKED) + b"5 \r\nabcde\r\n0\r\n\r\n",
    "chunk extension without a name": head(CHUNKED) + b"5;\r\nabcde\r\n0\r\n\r\n",
    "bare LF behind chunk size": head(CHUNKED) + b"5\nabcde\r\n0\r\n\r\n",
    "bare LF behind extension": head(CHUNKED) + b"5;a\nabcde\r\n0\r\n\r\n",
    "bare CR behind chunk size": head(CHUNKED) + b"5\rXabcde\r\n0\r\n\r\n",
    "bare LF behind chunk data": head(CHUNKED) + b"5\r\nabcde\n0\r\n\r\n",
    "nothing behind chunk data": head(CHUNKED) + b"5\r\nabcde0\r\n\r\n",
    "more data than the chunk": head(CHUNKED) + b"5\r\nabcdefgh\r\n0\r\n\r\n",
    "NUL in extension": head(CHUNKED) + b"5;a=\x00\r\nabcde\r\n0\r\n\r\n",
    "extensions above 4 KiB": head(CHUNKED) + b"5;a=" + b"b" * 5000 + b"\r\nabcde\r\n0\r\n\r\n",
    "many small extensions above 4 KiB": head(CHUNKED) + b"1;abcdefgh=abcdefgh\r\nx\r\n" * 300 + b"0\r\n\r\n",
    "CL in a trailer": head(CHUNKED) + b"%x\r\n%s\r\n0\r\nContent-Length: 5\r\n\r\n" % (len(BODY), BODY),
    "TE in a trailer": head(CHUNKED)
    + b"%x\r\n%s\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n" % (len(BODY), BODY),
    "trailer without colon": head(CHUNKED) + b"%x\r\n%s\r\n0\r\nNonsense\r\n\r\n" % (len(BODY), BODY),
    "bare LF in trailer": head(CHUNKED) + b"%x\r\n%s\r\n0\r\nX: a\nY: b\r\n\r\n" % (len(BODY), BODY),
    "obs-fold in trailer": head(CHUNKED) + b"%x\r\n%s\r\n0\r\nX: a\r\n b\r\n\r\n" % (len(BODY), BODY),
}

# These have a status of their own; they close as well.
OTHER_STATUS = {
    "TE gzip, chunked": (head(b"Transfer-Encoding: gzip, chunked") + chunked(), (400, 501)),
    "TE gzip": (head(b"Transfer-Encoding: gzip") + BODY, (400, 501)),
    "TE of two lines": (head(b"Transfer-Encoding: identity", CHUNKED) + chunked(), (400, 501)),
    "chunk size of 16 digits": (head(CHUNKED) + b"ffffffffffffffff\r\nabcde\r\n0\r\n\r\n", (400, 413)),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n", (400, 505)),
    "HTTP/3.0": (b"GET /health HTTP/3.0\r\nHost: localhost\r\n\r\n", (400, 505)),
    "trailers above the limit": (
        head(CHUNKED) + b"0\r\n" + b"X: aaaaaaaaaa\r\n" * 4000 + b"\r\n",
        (400, 431),
    ),
}


def refused_and_closed(gateway, request, statuses):
    with gateway.connect() as connection:
        connection.send_until_refused(request + HIDDEN)
        answer = connection.read_response()
        assert answer.status in statuses, answer
        assert answer.error["message"]
        assert not answer.keeps_alive
        # Nothing behind it is read as a request.
        assert connection.buffer == b"", connection.buffer
        assert connection.wait_end() in ("fin", "rst")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_400_and_closed(both, name):
    gateway, fake = both
    refused_and_closed(
        gateway, REFUSED[name], (400, 505) if name.startswith(("HTTP/", "ICE", "http/")) else (400,)
    )
    assert fake.requests == []


@pytest.mark.parametrize("name", OTHER_STATUS)
def test_refused_and_closed(both, name):
    gateway, fake = both
    request, statuses = OTHER_STATUS[name]
    refused_and_closed(gateway, request, statuses)
    assert fake.requests == []


@pytest.mark.parametrize(
    "name",
    [
        "CL and TE",
        "obs-fold hides TE",
        "bare LF hides a header",
        "two Hosts",
        "chunk size 0x",
        "NUL in value",
        "fragment",
    ],
)
def test_refused_wherever_the_bytes_are_split(both, name):
    gateway, fake = both
    request = REFUSED[name]
    for at in range(1, len(request), 3):
        with gateway.connect() as connection:
            connection.send(request[:at])
            connection.send_until_refused(request[at:])
            assert connection.read_response().status == 400, at
    assert fake.requests == []


ACCEPTED = {
    "chunked in any case": head(b"Transfer-Encoding: Chunked") + chunked(),
    "upper-case hex": head(CHUNKED) + b"%X\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "leading zeros of a chunk size": head(CHUNKED) + b"000%x\r\n%s\r\n000\r\n\r\n" % (len(BODY), BODY),
    "chunk extension": head(CHUNKED) + b'%x;name=value;other="quoted"\r\n%s\r\n0\r\n\r\n' % (len(BODY), BODY),
    "trailers": head(CHUNKED) + b"%x\r\n%s\r\n0\r\nX-Trailer: a\r\n\r\n" % (len(BODY), BODY),
    "leading zeros of a length": head(b"Content-Length: 000%d" % len(BODY)) + BODY,
    "tab around a value": head(b"X:\ta b\t", LENGTH) + BODY,
    "spaces around a length": head(b"Content-Length:  %d  " % len(BODY)) + BODY,
    "no space behind colon": head(b"Content-Length:%d" % len(BODY)) + BODY,
    "empty value": head(b"X-Empty:", LENGTH) + BODY,
    "bytes above 7f in a value": head(b"X: \xc3\xa9\xff", LENGTH) + BODY,
    "absolute URI of this host": head(LENGTH, first=b"POST http://localhost/v1/chat/completions HTTP/1.1")
    + BODY,
    "upgrade is ignored": head(b"Connection: Upgrade", b"Upgrade: websocket", LENGTH) + BODY,
    "h2c upgrade is ignored": head(
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        LENGTH,
    )
    + BODY,
}


@pytest.mark.parametrize("name", [name for name in ACCEPTED if "URI" not in name])
def test_what_is_right_is_accepted(both, name):
    gateway, fake = both
    with gateway.connect() as connection:
        connection.send(ACCEPTED[name])
        answer = connection.read_response()
        assert answer.status == 200, answer
        if "Upgrade" not in name:
            connection.send(HIDDEN)
            assert connection.read_response().status == 200
    assert fake.last.json()["messages"] == [{"role": "user", "content": "a"}]
    assert b"X-Trailer" not in fake.last.raw_head + fake.last.body


def test_connect_makes_no_tunnel(both):
    """Refused like any other request, after which the connection goes on in HTTP."""
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("CONNECT", "localhost:80", [("Host", "localhost:80")])
        answer = connection.read_response()
        assert answer.status in (400, 404, 405, 501)
        assert answer.error["message"]
        if answer.keeps_alive:
            connection.send(HIDDEN)
            assert connection.read_response().status == 200


def test_an_absolute_uri_is_never_mixed_up(both):
    """RFC 9112 lets a server take it; the house refuses it. Either way Host decides nothing else."""
    gateway, fake = both
    with gateway.connect() as connection:
        connection.send(ACCEPTED["absolute URI of this host"])
        assert connection.read_response().status in (200, 400)


def test_header_values_cannot_reach_the_upstreams_head(both):
    gateway, fake = both
    for field in ("model", "user"):
        gateway.chat({field: "up/x\r\nX-Injected: 1" if field == "model" else "a\r\nX-Injected: 1"})
    for request in fake.requests:
        assert "x-injected" not in request.headers
    answer = gateway.chat(model="up/x\r\nX-Injected: 1")
    assert "x-injected" not in answer.headers
