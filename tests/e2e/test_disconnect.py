# SPDX-License-Identifier: Apache-2.0
# ctest-timeout: 600
"""A client that leaves frees its work; a slow one pauses its upstream."""

import json
import threading

import pytest

from support import fake as up
from support.gateway import config, provider
from support.raw import Cut

JSON = [("Content-Type", "application/json")]
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()

LEAVE = {"close": lambda c: c.close(), "reset": lambda c: c.reset(), "half close": lambda c: c.half_close()}


@pytest.mark.parametrize("how", LEAVE)
def test_leaving_before_the_answer_ends_the_upstream_call(fake, gateway, how):
    fake.then(up.silent)
    connection = gateway.connect()
    connection.request("POST", CHAT, JSON, BODY)
    fake.wait_requests(1)
    LEAVE[how](connection)
    fake.last.gone.wait()
    line = gateway.wait_log(msg="request", end="client_gone")
    assert line["door"] == "chat"
    connection.close()


@pytest.mark.parametrize("how", LEAVE)
def test_leaving_in_mid_stream_ends_the_upstream_call(fake, gateway, how):
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    connection = gateway.connect()
    gateway.open_chat(connection)
    connection.read_events(connection.read_head(), 2)
    LEAVE[how](connection)
    fake.last.gone.wait()
    gateway.wait_log(msg="request", end="client_gone")
    connection.close()


def test_leaving_a_whole_answer_ends_the_upstream_call(fake, gateway):
    fake.then(up.script(b'{"choices":[', "gone", content_type="application/json"))
    connection = gateway.connect()
    connection.request("POST", CHAT, JSON, BODY)
    fake.wait_requests(1)
    connection.close()
    fake.last.gone.wait()


@pytest.mark.parametrize("headers", [[], [("Accept", "text/plain")]])
def test_leaving_generate_ends_the_upstream_call(fake, gateway, headers):
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    connection = gateway.connect()
    connection.request("POST", "/generate", JSON + headers, b'{"prompt":"a","stream":true}')
    connection.read_piece(connection.read_head())
    connection.close()
    fake.last.gone.wait()


def test_leaving_in_the_middle_of_the_body_asks_nobody(fake, gateway):
    for leave in LEAVE.values():
        connection = gateway.connect()
        connection.request("POST", CHAT, JSON + [("Content-Length", "1000")])
        connection.send(BODY)
        leave(connection)
        connection.close()
    gateway.wait_for(lambda: len(gateway.find_log(msg="request")) >= 3)
    assert fake.requests == []


def test_a_half_close_between_requests_is_a_plain_end(fake, gateway):
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON, BODY)
        assert connection.read_response().status == 200
        connection.half_close()
        assert connection.wait_end() == "fin"


def test_leaving_frees_what_is_in_flight(fake, gateway):
    fake.always(up.silent)
    connections = [gateway.connect() for _ in range(10)]
    for connection in connections:
        connection.request("POST", CHAT, JSON, BODY)
    fake.wait_requests(10)
    assert gateway.metric("penstock_requests_in_flight", door="chat") == 10
    for connection in connections:
        connection.close()
    for request in fake.requests:
        request.gone.wait()
    gateway.wait_for(lambda: len(gateway.find_log(end="client_gone")) == 10)
    assert gateway.metric("penstock_requests_in_flight", door="chat") == 0
    fake.always(up.answer)
    assert gateway.chat().status == 200


def test_many_that_leave_leak_nothing(fake, gateway):
    """Descriptors are as many after it as before."""
    fake.always(up.script(up.ROLE, up.delta("a"), "gone"))

    def leave_one():
        connection = gateway.connect()
        gateway.open_chat(connection)
        connection.read_events(connection.read_head(), 2)
        connection.reset()

    for _ in range(5):
        leave_one()
    fake.wait_for(lambda: fake.open_connections == 0)
    gateway.wait_for(lambda: len(gateway.find_log(end="client_gone")) == 5)
    before = gateway.descriptors()
    for _ in range(100):
        leave_one()
    fake.wait_for(lambda: fake.open_connections == 0)
    gateway.wait_for(lambda: len(gateway.find_log(end="client_gone")) == 105)
    assert gateway.descriptors() <= before + 2


def test_answers_never_get_mixed_after_cancels(fake, gateway):
    """Left-over bytes of a cancelled answer must not be another's: each answer carries its own text."""

    def echo(exchange):
        text = exchange.request.json()["messages"][0]["content"]
        exchange.whole(up.chat_answer(text * 2000))

    fake.always(echo)
    for number in range(60):
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": f"<{number}>"}]}).encode()
        with gateway.connect() as connection:
            connection.request("POST", CHAT, JSON, body)
            if number % 2:
                if number % 4 == 1:
                    connection.receive()
                continue
            answer = connection.read_response()
            assert answer.json()["choices"][0]["message"]["content"] == f"<{number}>" * 2000


def endless(piece):
    """Streams this until the peer is gone or the fake stops."""

    def handler(exchange):
        exchange.sse()
        exchange.write(up.ROLE)
        while True:
            exchange.write(piece)

    return handler


def wait_stalled(fake, request):
    """Until the upstream's socket takes nothing any more: the send has blocked for a while."""
    import time

    last, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        if request.sent != last:
            last, since = request.sent, time.monotonic()
        time.sleep(0.02)
    return last


def test_a_slow_client_pauses_its_upstream_with_bounded_memory(fake, start):
    gateway = start(config(fake))
    fake.then(endless(up.delta("x" * 10_000)))
    assert gateway.get("/health").status == 200
    before = gateway.memory()
    with gateway.connect(receive_buffer=65536) as connection:
        gateway.open_chat(connection)
        fake.wait_requests(1)
        sent = wait_stalled(fake, fake.last)
        # Socket buffers of both sides and ours; far from endless.
        assert sent < 32 * 1024 * 1024
        assert gateway.memory() - before < 32 * 1024 * 1024
        # Reading goes on from where it stopped.
        answer = connection.read_head()
        data = connection.read_events(answer, 2000)
        assert data.startswith(up.ROLE + up.delta("x" * 10_000))
        assert fake.last.sent > sent
    fake.last.gone.wait()


def test_all_of_a_long_stream_reaches_a_slow_reader(fake, gateway):
    pieces = [up.delta(f"{i} " + "x" * 5000) for i in range(2000)]
    fake.then(up.script(up.ROLE, *pieces, up.FINISH, up.DONE, "finish"))
    with gateway.connect(receive_buffer=16384) as connection:
        gateway.open_chat(connection)
        fake.wait_requests(1)
        wait_stalled(fake, fake.last)
        answer = connection.read_response()
        assert answer.body == up.ROLE + b"".join(pieces) + up.FINISH + up.DONE


@pytest.mark.parametrize("how", ["at once", "in chunks"])
def test_long_streams_of_many_clients_are_whole(fake, gateway, how):
    """Each answer is longer than what is queued for a client, so that pausing and going on happens at any point
    of it, on kept connections too."""
    pieces = [up.ROLE, *([up.delta("x" * 30_000)] * 20), up.FINISH, up.DONE]
    whole = b"".join(pieces)
    if how == "at once":
        fake.always(up.whole(whole, content_type="text/event-stream"))
    else:
        fake.always(up.script(*pieces, "finish"))
    problems = []

    def client():
        try:
            with gateway.connect() as connection:
                for _ in range(40):
                    gateway.open_chat(connection)
                    assert connection.read_response().body == whole
        except Exception as problem:
            problems.append(repr(problem)[:300])

    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_large_whole_answer_is_relayed_with_backpressure(fake, gateway):
    def handler(exchange):
        body = json.dumps(up.chat_answer("x" * 30_000_000)).encode()
        exchange.whole(body)

    fake.then(handler)
    assert gateway.get("/health").status == 200
    before = gateway.memory()
    with gateway.connect(receive_buffer=65536) as connection:
        connection.request("POST", CHAT, JSON, BODY)
        fake.wait_requests(1)
        assert wait_stalled(fake, fake.last) < 25_000_000
        assert gateway.memory() - before < 32 * 1024 * 1024
        answer = connection.read_response()
        assert len(answer.json()["choices"][0]["message"]["content"]) == 30_000_000


def test_a_client_that_reads_nothing_is_dropped_in_the_end(fake, start):
    gateway = start(config(fake, limits={"write_timeout": "500ms"}))
    fake.then(endless(up.delta("x" * 10_000)))
    with gateway.connect(receive_buffer=65536) as connection:
        gateway.open_chat(connection)
        fake.wait_requests(1)
        fake.last.gone.wait()
        line = gateway.wait_log(msg="request", end="client_slow")
        assert line["status"] == 200


def test_a_slow_client_does_not_slow_the_others(fake, gateway):
    fake.then(endless(up.delta("x" * 10_000)))
    with gateway.connect(receive_buffer=65536) as slow:
        gateway.open_chat(slow)
        fake.wait_requests(1)
        for _ in range(20):
            assert gateway.chat(stream=True).status == 200


def test_many_slow_clients_share_a_budget(fake, start):
    """Forty clients that read nothing, upstreams that never stop: memory stays flat."""
    gateway = start(
        config(fake, limits={"buffer_memory": "16MiB"}, providers={"up": provider(fake, max_connections=64)})
    )
    fake.always(endless(up.delta("x" * 10_000)))
    connections = [gateway.connect(receive_buffer=65536) for _ in range(40)]
    for connection in connections:
        gateway.open_chat(connection)
    fake.wait_requests(40)
    for request in fake.requests:
        wait_stalled(fake, request)
        break
    assert gateway.metric("penstock_buffer_memory_bytes") <= 16 * 1024 * 1024
    assert gateway.get("/health/live").status == 200
    for connection in connections:
        connection.close()
    for request in fake.requests:
        request.gone.wait()


def test_a_client_that_uploads_slowly_and_leaves(fake, gateway):
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Transfer-Encoding", "chunked")])
        connection.send(b"5\r\n" + BODY[:5] + b"\r\n")
        connection.reset()
    gateway.wait_log(msg="request")
    assert gateway.chat().status == 200


def test_a_reset_while_an_error_is_sent(fake, gateway):
    fake.always(up.error(500, "x" * 60_000))
    for _ in range(20):
        connection = gateway.connect()
        connection.request("POST", CHAT, JSON, BODY)
        connection.reset()
    gateway.wait_for(lambda: len(gateway.find_log(msg="request")) == 20)
    try:
        assert gateway.chat().status == 500
    except Cut as cut:
        raise AssertionError(cut) from None
