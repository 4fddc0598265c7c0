# SPDX-License-Identifier: Apache-2.0
"""What is too long, too much or too slow is refused with a clear error; and the everyday rules of HTTP."""

import json

import pytest

from support import fake as up
from support.gateway import config
from support.raw import Cut

JSON = [("Content-Type", "application/json")]
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
CHAT = "/v1/chat/completions"


def still_works(connection):
    connection.request("POST", CHAT, JSON, BODY)
    assert connection.read_response().status == 200


# Sizes


def test_a_long_request_line_is_414(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.send_until_refused(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = connection.read_response()
        assert answer.status == 414
        assert answer.error["code"] == "uri_too_long"
        assert not answer.keeps_alive
        assert connection.wait_end() in ("fin", "rst")


def test_a_request_line_without_end_is_414_at_once(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.send_until_refused(b"GET /" + b"a" * 20000)
        assert connection.read_response().status == 414


def test_a_request_line_of_8000_bytes_is_taken(both):
    gateway, _ = both
    assert gateway.get("/health/live?" + "a" * 7900).status == 200


def test_headers_above_the_limit_are_431(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.send_until_refused(
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40000 + b"\r\n\r\n"
        )
        answer = connection.read_response()
        assert answer.status == 431
        assert answer.error["code"] == "headers_too_large"
        assert not answer.keeps_alive


def test_headers_of_30_kib_are_taken(both):
    gateway, _ = both
    assert gateway.get("/health", [("X", "a" * 30000)]).status == 200


def test_more_than_100_headers_are_431(both):
    gateway, _ = both
    assert gateway.get("/health", [(f"X-{i}", "a") for i in range(99)]).status == 200
    with gateway.connect() as connection:
        connection.request("GET", "/health", [(f"X-{i}", "a") for i in range(120)])
        assert connection.read_response().status == 431


def test_the_header_limit_is_configured(fake, start):
    gateway = start(config(fake, limits={"header_bytes": "4KiB"}))
    assert gateway.get("/health", [("X", "a" * 3000)]).status == 200
    assert gateway.get("/health", [("X", "a" * 5000)]).status == 431


def test_a_body_above_the_limit_is_413_by_its_length_alone(fake, start):
    gateway = start(config(fake, limits={"body_bytes": "64KiB"}))
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Content-Length", "65537")])
        answer = connection.read_response()
        assert answer.status == 413
        assert answer.error["code"] == "request_too_large"
        assert not answer.keeps_alive
    assert fake.requests == []


def test_a_chunked_body_above_the_limit_is_413(fake, start):
    gateway = start(config(fake, limits={"body_bytes": "64KiB"}))
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Transfer-Encoding", "chunked")])
        connection.send_until_refused(
            b"1000\r\n" + b" " * 4096 + b"\r\n" + b"10001\r\n" + b" " * 65537 + b"\r\n"
        )
        answer = connection.read_response()
        assert answer.status == 413
    assert fake.requests == []


def test_a_body_at_the_limit_is_taken(fake, start):
    gateway = start(config(fake, limits={"body_bytes": "64KiB"}))
    body = BODY + b" " * (65536 - len(BODY))
    assert gateway.post(CHAT, body, JSON).status == 200


def test_the_body_limit_holds_for_absurd_lengths(both):
    gateway, _ = both
    for length in ("9223372036854775807", "18446744073709551615"):
        with gateway.connect() as connection:
            connection.request("POST", CHAT, JSON + [("Content-Length", length)])
            assert connection.read_response().status in (400, 413)


# Times


def test_a_head_that_does_not_come_to_an_end_is_408(fake, start):
    gateway = start(config(fake, limits={"header_timeout": "300ms"}))
    with gateway.connect() as connection:
        connection.send(b"GET /health HTTP/1.1\r\nHost: local")
        answer = connection.read_response()
        assert answer.status == 408
        assert answer.error["code"] == "request_timeout"
        assert not answer.keeps_alive
        assert connection.wait_end() == "fin"


def test_a_head_that_trickles_is_408(fake, start):
    """Each byte buys no new time."""
    gateway = start(config(fake, limits={"header_timeout": "500ms"}))
    with gateway.connect() as connection:
        connection.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        connection.sock.settimeout(0.05)
        for _ in range(400):
            if not connection.send_until_refused(b"X: a\r\n"):
                break
            try:
                connection.receive()
            except TimeoutError:
                continue
            break
        connection.sock.settimeout(30)
        assert connection.read_response().status == 408


def test_a_body_that_stops_is_408(fake, start):
    gateway = start(config(fake, limits={"body_timeout": "300ms"}))
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Content-Length", "1000")])
        connection.send(BODY)
        answer = connection.read_response()
        assert answer.status == 408
        assert answer.error["code"] == "request_timeout"
        assert not answer.keeps_alive
    assert fake.requests == []


def test_a_connection_that_says_nothing_is_closed(fake, start):
    gateway = start(config(fake, limits={"header_timeout": "300ms", "idle_timeout": "300ms"}))
    with gateway.connect() as connection:
        assert connection.wait_end() == "fin"


def test_an_idle_connection_is_closed(fake, start):
    gateway = start(config(fake, limits={"idle_timeout": "300ms"}))
    with gateway.connect() as connection:
        connection.request("GET", "/health")
        assert connection.read_response().keeps_alive
        assert connection.wait_end() == "fin"


def test_idle_time_does_not_count_while_an_answer_is_due(fake, start):
    gateway = start(
        config(fake, limits={"idle_timeout": "200ms", "header_timeout": "200ms", "body_timeout": "200ms"})
    )
    gate = up.Gate()
    fake.then(
        up.script(gate, json.dumps(up.chat_answer()).encode(), "finish", content_type="application/json")
    )
    with gateway.connect() as slow, gateway.connect() as idle:
        slow.request("POST", CHAT, JSON, BODY)
        fake.wait_requests(1)
        idle.request("GET", "/health")
        idle.read_response()
        idle.wait_end()  # idle_timeout has passed meanwhile
        gate.open()
        assert slow.read_response().status == 200


# Connections


def test_connections_above_the_limit_are_told_so(fake, start):
    gateway = start(config(fake, limits={"connections": 4}))
    kept = []
    for _ in range(4):
        connection = gateway.connect()
        connection.request("GET", "/health")
        assert connection.read_response().status == 200
        kept.append(connection)
    with gateway.connect() as one_more:
        one_more.request("GET", "/health")
        answer = one_more.read_response()
        assert answer.status == 503
        assert answer.error["code"] == "server_is_overloaded"
        assert not answer.keeps_alive
        assert int(answer.headers.get("retry-after")) >= 1
    for connection in kept:
        still_works(connection)
        connection.close()


def test_a_place_is_free_again_when_a_client_leaves(fake, start):
    gateway = start(config(fake, limits={"connections": 1}))
    for _ in range(5):
        for _ in range(1000):
            answer = gateway.get("/health")
            if answer.status == 200:
                break
            assert answer.status == 503
        assert answer.status == 200


# Expect: 100-continue


def expecting(connection, path=CHAT, headers=(), length=None):
    connection.request(
        "POST",
        path,
        [
            *JSON,
            ("Expect", "100-continue"),
            ("Content-Length", str(length if length is not None else len(BODY))),
            *headers,
        ],
    )


def test_100_continue_is_sent_and_then_the_answer(both):
    gateway, _ = both
    with gateway.connect() as connection:
        expecting(connection)
        interim = connection.read_head()
        assert interim.status == 100
        connection.send(BODY)
        assert connection.read_response().status == 200
        still_works(connection)


def test_100_continue_waits_for_admission(fake, start):
    gateway = start(
        config(fake, auth={"keys": [{"name": "a", "key_file": "key"}]}, limits={"body_bytes": "64KiB"}),
        files={"key": "sesame"},
    )
    key = [("x-api-key", "sesame")]
    cases = [
        (401, {}),
        (404, {"path": "/nope", "headers": key}),
        (405, {"path": "/v1/models", "headers": key}),
        (413, {"headers": key, "length": 100_000}),
        (403, {"headers": [*key, ("Origin", "https://evil.example")]}),
        (415, {"headers": [*key, ("Content-Encoding", "gzip")]}),
    ]
    for status, how in cases:
        with gateway.connect() as connection:
            expecting(connection, **how)
            answer = connection.read_head()
            assert answer.status == status, (status, answer)
            connection.read_body(answer)
            assert not answer.keeps_alive


def test_another_expectation_is_417(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Expect", "a-miracle")], BODY)
        assert connection.read_response().status == 417


def test_http_1_0_gets_no_100(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Expect", "100-continue")], BODY, version="1.0")
        assert connection.read_head().status == 200


# Methods and paths


def test_head_is_get_without_the_body(both):
    gateway, _ = both
    for path in ("/health/live", "/v1/models", "/metrics"):
        with gateway.connect() as connection:
            connection.request("HEAD", path)
            answer = connection.read_response("HEAD")
            assert answer.status == 200
            assert int(answer.headers.get("content-length")) > 0
            assert answer.headers.get("content-type")
            still_works(connection)


def test_head_of_a_model_is_get_without_the_body(both):
    gateway, _ = both
    answer = gateway.ask("HEAD", "/v1/models/m")
    assert answer.status == 200
    assert gateway.ask("HEAD", "/v1/models/nope").status == 404


@pytest.mark.parametrize(
    "path, method",
    [(CHAT, "POST"), ("/generate", "POST"), ("/v1/models", "GET"), ("/health", "GET"), ("/metrics", "GET")],
)
def test_options_says_what_is_allowed(both, path, method):
    gateway, _ = both
    answer = gateway.ask("OPTIONS", path)
    assert answer.status in (200, 204)
    allowed = {name.strip() for name in answer.headers.get("allow").split(",")}
    assert {method, "OPTIONS"} <= allowed


def test_options_asterisk(both):
    gateway, _ = both
    answer = gateway.ask("OPTIONS", "*")
    assert answer.status in (200, 204)


@pytest.mark.parametrize(
    "method, path, allow",
    [
        ("GET", CHAT, "POST"),
        ("HEAD", CHAT, "POST"),
        ("PUT", CHAT, "POST"),
        ("DELETE", "/generate", "POST"),
        ("GET", "/generate", "POST"),
        ("POST", "/health/live", "GET"),
        ("PATCH", "/metrics", "GET"),
        ("POST", "/v1/models", "GET"),
    ],
)
def test_another_method_is_405_with_allow(both, method, path, allow):
    gateway, fake = both
    answer = gateway.ask(method, path)
    assert answer.status == 405
    assert allow in [name.strip() for name in answer.headers.get("allow").split(",")]
    if method != "HEAD":
        assert answer.error["code"] == "method_not_allowed"
    assert fake.requests == []


@pytest.mark.parametrize("method", ["BREW", "TRACE", "CONNECT", "PROPFIND", "get", "PRI"])
def test_a_method_nobody_knows_is_refused(both, method):
    gateway, fake = both
    with gateway.connect() as connection:
        connection.request(method, CHAT)
        assert connection.read_response().status in (400, 405, 501)
    assert fake.requests == []


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/v1",
        "/v1/",
        "/v2/chat/completions",
        "/generate/",
        "/health/",
        "/Generate",
        "/v1/chat/completions/",
        "/%67enerate",
        "/v1/chat/completions/x/../y",
    ],
)
def test_an_unknown_path_is_404_in_json(both, path):
    gateway, fake = both
    for method in ("GET", "POST"):
        with gateway.connect() as connection:
            connection.request(method, path, body=b"{}" if method == "POST" else None)
            answer = connection.read_response()
            if path == "/v1/chat/completions/":
                assert answer.status in (404, 405)
            else:
                assert answer.status == 404, (method, path, answer)
                assert answer.error["code"] == "not_found"
            still_works(connection)


# Content


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/generate"])
@pytest.mark.parametrize(
    "content_type",
    [
        "application/xml",
        "text/html",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "nonsense",
        "text/json; charset",
    ],
)
def test_another_content_type_is_415(both, path, content_type):
    gateway, fake = both
    answer = gateway.post(path, BODY, [("Content-Type", content_type)])
    assert answer.status == 415
    assert answer.error["code"] == "unsupported_media_type"
    assert fake.requests == []


def test_plain_text_is_for_generate_only(both):
    gateway, _ = both
    assert gateway.post(CHAT, BODY, [("Content-Type", "text/plain")]).status == 415
    assert gateway.post("/generate", "a", [("Content-Type", "text/plain")]).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        " application/json ",
    ],
)
def test_spellings_of_the_json_type(both, content_type):
    gateway, _ = both
    assert gateway.post(CHAT, BODY, [("Content-Type", content_type)]).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity", "identity, gzip", "x"])
def test_content_encodings_are_415(both, encoding):
    gateway, fake = both
    for path in (CHAT, "/generate", "/v1/moderations"):
        answer = gateway.post(path, BODY, JSON + [("Content-Encoding", encoding)])
        assert answer.status == 415, path
        assert answer.error["code"] == "unsupported_media_type"
    assert fake.requests == []


def test_two_content_encodings_are_415(both):
    gateway, fake = both
    answer = gateway.post(CHAT, BODY, JSON + [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")])
    assert answer.status in (400, 415)
    assert fake.requests == []


def test_identity_is_no_encoding(both):
    gateway, _ = both
    assert gateway.post(CHAT, BODY, JSON + [("Content-Encoding", "identity")]).status == 200


# Keep-alive and pipelining


def test_one_connection_for_many_requests(both):
    gateway, _ = both
    with gateway.connect() as connection:
        for _ in range(50):
            still_works(connection)
            connection.request("GET", "/health")
            assert connection.read_response().keeps_alive


def test_connection_close_is_honoured(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("GET", "/health", [("Connection", "close")])
        answer = connection.read_response()
        assert answer.status == 200
        assert not answer.keeps_alive
        assert connection.wait_end() == "fin"


def test_what_follows_connection_close_is_not_answered(both):
    gateway, fake = both
    with gateway.connect() as connection:
        head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        chat = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(BODY)
        )
        connection.send(head + chat + BODY)
        assert connection.read_response().status == 200
        assert connection.wait_end() in ("fin", "rst")
    assert fake.requests == []


def test_http_1_0_closes_unless_asked_to_stay(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("GET", "/health", version="1.0")
        assert connection.read_response().status == 200
        assert connection.wait_end() == "fin"
    with gateway.connect() as connection:
        for _ in range(3):
            connection.request("GET", "/health", [("Connection", "keep-alive")], version="1.0")
            answer = connection.read_response()
            assert answer.status == 200
            assert answer.headers.get("connection").lower() == "keep-alive"


def test_http_1_0_needs_no_host(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("GET", "/health", version="1.0", host=False)
        assert connection.read_response().status == 200


def test_pipelined_requests_are_answered_in_order(both):
    gateway, fake = both
    gate = up.Gate()
    fake.then(
        up.script(
            gate, json.dumps(up.chat_answer("slow")).encode(), "finish", content_type="application/json"
        )
    )
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON, BODY)
        connection.request("GET", "/health/live")
        connection.request("POST", CHAT, JSON, BODY)
        connection.request("GET", "/nope")
        fake.wait_requests(1)
        gate.open()
        assert connection.read_response().json()["choices"][0]["message"]["content"] == "slow"
        assert connection.read_response().status == 200
        assert connection.read_response().json()["choices"][0]["message"]["content"] == "Hello"
        assert connection.read_response().status == 404


def test_a_thousand_pipelined_requests(both):
    gateway, _ = both
    import threading

    with gateway.connect() as connection:
        request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        sender = threading.Thread(target=connection.send, args=(request * 1000,))
        sender.start()
        for _ in range(1000):
            assert connection.read_response().status == 200
        sender.join()


def test_a_request_split_at_every_byte(both):
    gateway, _ = both
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    )
    with gateway.connect() as connection:
        for at in range(1, len(request)):
            connection.send(request[:at])
            connection.send(request[at:])
            assert connection.read_response().status == 200, at


def test_a_request_byte_by_byte(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.send(b"\r\n")  # an empty line before a request is forgiven (RFC 9112 section 2.2)
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(BODY)
        )
        for byte in head + BODY:
            connection.send(bytes([byte]))
        assert connection.read_response().status == 200


def test_a_refused_request_with_a_long_body_is_answered_although_the_client_still_sends(both):
    """The answer must reach a client that reads only after it has sent all: no reset may overtake it."""
    gateway, _ = both
    body = b"x" * 8_000_000
    with gateway.connect() as connection:
        connection.request("POST", "/nope", JSON + [("Content-Length", str(len(body)))])
        connection.send_until_refused(body)
        try:
            assert connection.read_response().status == 404
        except Cut as cut:
            raise AssertionError(f"no answer, {cut.how}") from None


def test_buffer_memory_is_a_limit(fake, start):
    gateway = start(config(fake, limits={"buffer_memory": "1MiB", "body_bytes": "8MiB"}))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a" * 4_000_000}]}).encode()
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Content-Length", str(len(body)))])
        connection.send_until_refused(body)
        answer = connection.read_response()
    assert answer.status == 503
    assert answer.error["type"] == "server_error"
    assert gateway.chat().status == 200
    assert gateway.metric("penstock_buffer_memory_bytes") < 1024 * 1024
