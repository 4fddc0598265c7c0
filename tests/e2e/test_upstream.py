# SPDX-License-Identifier: Apache-2.0
"""The outbound side: addresses, proxies, odd but legal answers, and answers that are neither."""

import json
import re
import socket

import pytest

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider
from support.raw import events

JSON = [("Content-Type", "application/json")]
CHAT = "/v1/chat/completions"
STREAM = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
WHOLE = json.dumps(up.chat_answer()).encode()


# Where it is


def test_over_ipv6(start):
    try:
        fake = up.Fake(host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    with fake:
        gateway = start(
            config(fake, providers={"up": provider(fake, base_url=f"http://[::1]:{fake.port}/v1")})
        )
        assert gateway.chat().status == 200
        assert fake.last.headers.get("host") == f"[::1]:{fake.port}"
        gateway.stop()


def test_by_name(fake, start):
    gateway = start(
        config(fake, providers={"up": provider(fake, base_url=f"http://localhost:{fake.port}/v1")})
    )
    assert gateway.chat().status == 200
    assert fake.last.headers.get("host") == f"localhost:{fake.port}"


@pytest.mark.parametrize(
    "base, path", [("/v1", "/v1"), ("/v1/", "/v1"), ("", ""), ("/", ""), ("/api/openai/v1", "/api/openai/v1")]
)
def test_the_path_of_the_base_url(fake, start, base, path):
    url = f"http://127.0.0.1:{fake.port}{base}"
    gateway = start(config(fake, providers={"up": provider(fake, base_url=url)}))
    assert gateway.chat().status == 200
    assert fake.last.target == f"{path}/chat/completions"
    assert gateway.post("/v1/moderations?a=b", {"model": "m", "input": "a"}).status == 200
    assert fake.last.target == f"{path}/moderations?a=b"


def test_through_a_proxy(fake, start):
    """A plain URL is asked of the proxy in absolute form; the upstream's name is the proxy's affair."""
    settings = provider(
        fake, base_url="http://upstream.invalid:8000/v1", proxy=f"http://127.0.0.1:{fake.port}"
    )
    gateway = start(config(fake, providers={"up": settings}))
    assert gateway.chat().status == 200
    assert fake.last.target == "http://upstream.invalid:8000/v1/chat/completions"
    assert fake.last.headers.get("host") == "upstream.invalid:8000"


def test_a_proxy_that_refuses(fake, start):
    settings = provider(fake, base_url="https://upstream.invalid/v1", proxy=f"http://127.0.0.1:{fake.port}")
    fake.always(up.whole(b"no", 403, content_type="text/plain"))
    gateway = start(config(fake, providers={"up": settings}))
    answer = gateway.chat()
    assert answer.status == 502
    assert answer.error["type"] == "upstream_error"
    assert fake.last.method == "CONNECT"
    assert fake.last.target == "upstream.invalid:443"
    assert UPSTREAM_KEY.encode() not in fake.last.raw_head


def test_the_credentials_of_a_proxy_are_secret(fake, start):
    settings = provider(
        fake, base_url="http://upstream.invalid/v1", proxy=f"http://user:pw-SECRET@127.0.0.1:{fake.port}"
    )
    gateway = start(config(fake, providers={"up": settings}))
    answer = gateway.chat()
    assert answer.status == 200
    assert fake.last.headers.get("proxy-authorization").startswith("Basic ")
    gateway.line_of(answer)
    assert b"SECRET" not in gateway.raw_log + gateway.get("/metrics").body + answer.raw_head


# What it says


def test_an_http_1_0_upstream(fake, gateway):
    fake.then(up.bare(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + WHOLE, "fin"))
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.body == WHOLE


def test_a_stream_with_a_length(fake, gateway):
    body = up.ROLE + up.delta("a") + up.FINISH + up.DONE
    fake.then(up.whole(body, content_type="text/event-stream"))
    assert gateway.chat(STREAM).body == body


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_line_ends_of_a_stream(fake, gateway, end):
    body = (up.ROLE + up.delta("a") + up.FINISH + up.DONE).replace(b"\n", end)
    fake.then(up.script(*[body[i : i + 1] for i in range(len(body))], "finish"))
    answer = gateway.chat({**STREAM, "stream_options": {"include_usage": True}})
    assert answer.status == 200
    assert answer.body == body


def test_a_stream_that_begins_with_a_byte_order_mark(fake, gateway):
    body = b"\xef\xbb\xbf" + up.ROLE + up.delta("a") + up.FINISH + up.DONE
    fake.then(up.script(body, "finish"))
    answer = gateway.chat(STREAM)
    assert answer.status == 200
    assert answer.body == body


def test_content_types_of_streams(fake, gateway):
    for content_type in (
        "text/event-stream; charset=utf-8",
        "Text/Event-Stream",
        "text/event-stream;charset=UTF-8",
    ):
        body = up.ROLE + up.delta("a") + up.FINISH + up.DONE
        fake.then(up.script(body, "finish", content_type=content_type))
        answer = gateway.chat(STREAM)
        assert answer.body == body
        assert answer.headers.get("content-type") == content_type


@pytest.mark.parametrize("status", [204, 205, 300, 304, 399, 600, 999])
def test_statuses_that_are_no_answer_are_a_502(fake, gateway, status):
    fake.then(up.bare(b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status))
    answer = gateway.chat()
    assert answer.status == 502, answer
    assert answer.error["type"] == "upstream_error"


def test_an_upgrade_is_a_502(fake, gateway):
    fake.then(
        up.bare(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "fin")
    )
    assert gateway.chat().status == 502


def test_endless_interim_answers_end(fake, start):
    gateway = start(config(fake, limits={"request_timeout": "1s", "first_token_timeout": "1s"}))

    def handler(exchange):
        exchange.framing = "raw"
        while True:
            exchange.write(b"HTTP/1.1 102 Processing\r\nX: " + b"a" * 1000 + b"\r\n\r\n")

    fake.then(handler)
    assert gateway.chat().status in (502, 504)
    assert gateway.get("/health/live").status == 200


@pytest.mark.parametrize("apart", [False, True], ids=["in one piece", "behind it"])
def test_bytes_behind_an_answer_spoil_the_connection_not_the_next_answer(fake, gateway, apart):
    gate, sent = up.Gate(), up.Gate()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(WHOLE)
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    def handler(exchange):
        exchange.raw(head + WHOLE + (b"" if apart else stray))
        if apart:
            exchange.wait(gate)
            exchange.raw(stray)
        sent.open()
        exchange.wait_gone()

    fake.then(handler)
    assert gateway.chat().body == WHOLE
    gate.open()
    # On this machine what is sent has arrived. (Bytes that come after the next request cannot be told from its
    # answer by anybody.)
    sent.wait()
    other = json.dumps(up.chat_answer("another")).encode()
    fake.always(up.whole(other))
    for _ in range(3):
        assert gateway.chat().body == other
    fake.requests[0].gone.wait()


def test_header_values_of_the_upstream_cannot_break_ours(fake, gateway):
    fake.then(
        up.bare(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-request-id: a\x01b\x7f\xc3\xa9\r\nopenai-version: 1\tx\r\n"
            b"x-ratelimit-limit-requests: 5\x0b6\r\nretry-after: \x1b[31m\r\nContent-Length: %d\r\n\r\n"
            % len(WHOLE)
            + WHOLE
        )
    )
    answer = gateway.chat()
    assert answer.status in (200, 502)
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", answer.raw_head), answer.raw_head
    gateway.line_of(answer)
    assert not gateway.noise


def test_hop_by_hop_headers_stay(fake, gateway):
    fake.then(
        up.whole(
            WHOLE,
            headers=[
                ("Connection", "keep-alive, x-ratelimit-limit-tokens"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Authenticate", "Basic"),
                ("Upgrade", "h2"),
                ("Alt-Svc", "h3=1"),
                ("Strict-Transport-Security", "max-age=1"),
                ("Access-Control-Allow-Origin", "*"),
                ("x-penstock-provider", "forged"),
                ("Transfer-Encoding-X", "1"),
            ],
        )
    )
    answer = gateway.chat()
    for name in (
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
        "alt-svc",
        "strict-transport-security",
        "access-control-allow-origin",
    ):
        assert name not in answer.headers, name
    assert answer.headers.all("x-penstock-provider") == ["up"]


def test_an_early_answer_to_a_long_request_passes(fake, gateway):
    """The upstream refuses at the head, and reads no more of the body than it must."""
    body = b'{"error":{"message":"too large for us","type":"invalid_request_error","param":null,"code":null}}'

    def refuse_early(sock):
        sock.settimeout(30)
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        sock.sendall(
            b"HTTP/1.1 413 No\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )
        sock.shutdown(socket.SHUT_WR)
        try:
            while sock.recv(65536):
                pass
        except OSError:
            pass
        return True

    fake.on_connect = refuse_early
    answer = gateway.chat(messages=[{"role": "user", "content": "x" * 8_000_000}])
    assert answer.status == 413
    assert answer.body == body


def test_a_large_error_body(fake, gateway):
    """Above what is kept it may be cut or replaced, but the status stands and the client gets an end."""
    fake.always(up.error(400, "y" * 300_000, "invalid_request_error"))
    answer = gateway.chat()
    assert answer.status == 400


def test_an_error_that_is_no_json(fake, gateway):
    fake.always(up.whole(b"<html>Bad Gateway</html>", 502, content_type="text/html"))
    answer = gateway.chat()
    assert answer.status == 502
    assert b"Bad Gateway" in answer.body or answer.error["type"] == "upstream_error"


def test_an_error_body_that_is_cut(fake, gateway):
    def handler(exchange):
        exchange.head(500, framing="length", length=1000)
        exchange.raw(b'{"error":')
        exchange.fin()

    fake.always(handler)
    answer = gateway.chat()
    assert answer.status in (500, 502)
    assert answer.error["message"]


def test_an_error_body_that_never_comes(fake, start):
    gateway = start(config(fake, limits={"request_timeout": "500ms", "first_token_timeout": "500ms"}))

    def handler(exchange):
        exchange.head(500, framing="length", length=1000)
        exchange.wait_gone()

    fake.always(handler)
    answer = gateway.chat()
    assert answer.status in (500, 502, 504)
    fake.last.gone.wait()


def test_an_error_to_generate_without_a_message(fake, gateway):
    for body in (
        b"",
        b"{}",
        b'{"error":null}',
        b'{"error":"text only"}',
        b'{"detail":"fastapi"}',
        b"[]",
        b"\xff",
        b'{"message":"top level"}',
        b'{"error":{"message":5}}',
    ):
        fake.then(up.whole(body, 422))
        answer = gateway.post("/generate", {"prompt": "a"})
        assert answer.status in (400, 422), body
        assert answer.error["message"]


def test_usage_that_is_nonsense_is_not_counted(fake, gateway):
    for usage in (
        {"prompt_tokens": -5},
        {"prompt_tokens": "9"},
        {"prompt_tokens": 1e300},
        {"prompt_tokens": 9223372036854775808},
        [],
        "x",
        None,
    ):
        fake.then(up.whole(up.chat_answer(usage=usage)))
        assert gateway.chat().status == 200
    assert gateway.metric("penstock_tokens_total") == 0


def test_a_stream_that_nobody_asked_for_is_not_lost(fake, gateway):
    """Asked for a whole answer, the upstream streams: the client gets either those bytes or an error."""
    body = up.ROLE + up.delta("a") + up.FINISH + up.DONE
    fake.then(up.script(body, "finish"))
    answer = gateway.chat()
    assert (answer.status == 200 and answer.body == body) or answer.status == 502


def test_very_many_small_events(fake, gateway):
    count = 20_000
    body = up.ROLE + up.delta("x") * count + up.FINISH + up.DONE
    fake.then(up.script(*[body[i : i + 50_000] for i in range(0, len(body), 50_000)], "finish"))
    answer = gateway.chat(STREAM)
    assert answer.body == body


def test_an_event_of_ten_megabytes(fake, gateway):
    body = up.ROLE + up.delta("x" * 10_000_000) + up.FINISH + up.DONE
    fake.then(up.script(body, "finish"))
    answer = gateway.chat(STREAM)
    assert answer.body == body


def test_reasoning_refusals_and_tools_commit(fake, gateway):
    for piece in (
        up.delta(reasoning_content="hm"),
        up.delta(reasoning="hm"),
        up.delta(refusal="no"),
        up.delta(
            tool_calls=[
                {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        ),
        up.FINISH,
    ):
        gate = up.Gate()
        rest = [up.FINISH] if piece != up.FINISH else []
        fake.then(up.script(up.ROLE, piece, gate, *rest, up.DONE, "finish"))
        with gateway.connect() as connection:
            gateway.open_chat(connection)
            answer = connection.read_head()
            assert connection.read_events(answer, 2) == up.ROLE + piece
            gate.open()
            connection.read_body(answer)


def test_what_is_held_is_not_lost(fake, gateway):
    """Role, pings and empty choices come first and are held; the client gets them all, in order."""
    held = [
        b": one\n\n",
        up.ROLE,
        b": two\n\n",
        up.event({"choices": [], "prompt_filter_results": []}),
        up.delta(""),
    ]
    rest = [up.delta("a"), up.FINISH, up.DONE]
    fake.then(up.script(*held, *rest, "finish"))
    assert gateway.chat(STREAM).body == b"".join(held + rest)


def test_generate_with_reasoning_and_tools_gives_the_text(fake, gateway):
    fake.then(
        up.script(up.ROLE, up.delta(reasoning_content="hm"), up.delta("yes"), up.FINISH, up.DONE, "finish")
    )
    answer = gateway.post("/generate", {"prompt": "a", "stream": True})
    assert [item for item in events(answer.body) if isinstance(item, dict) and "text" in item] == [
        {"text": "yes"}
    ]


# Clients that leave while more is in the pipe


@pytest.mark.parametrize("size", [100, 200_000], ids=["one request", "many"])
def test_a_client_that_leaves_with_requests_in_the_pipe(fake, gateway, size):
    fake.then(up.silent)
    connection = gateway.connect()
    connection.request(
        "POST",
        CHAT,
        JSON,
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode(),
    )
    fake.wait_requests(1)
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection.send(request * (size // len(request) + 1))
    connection.close()
    fake.last.gone.wait()
    assert len(fake.requests) == 1


def test_without_a_configuration(start):
    """The defaults and the providers whose keys are in the environment."""
    gateway = start(None, arguments=["-l", "127.0.0.1:0"], env={"OPENAI_API_KEY": "sk-SECRET"})
    assert gateway.get("/health/live").status == 200
    # A model of our own may still be loading.
    for _ in range(100_000):
        if gateway.get("/health/ready").status == 200:
            break
    assert gateway.get("/health/ready").status == 200
    assert gateway.chat(model="nope").status == 404
    assert gateway.get("/v1/models").status == 200
    assert b"SECRET" not in gateway.raw_log
