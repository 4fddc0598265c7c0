# SPDX-License-Identifier: Apache-2.0
"""A stream tells the truth: the status line waits for the first content, and what breaks off is not
finished cleanly."""

import json

import pytest

from support import fake as up
from support.gateway import config, provider, targets
from support.raw import Cut, events

JSON = [("Content-Type", "application/json")]
STREAM = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
ERROR = {"error": {"message": "the engine fell over", "type": "server_error", "param": None, "code": "boom"}}


def is_gateway_error(answer, status, code):
    assert answer.status == status, answer
    assert answer.error["code"] == code
    return answer.error


# Before the commit: a status, never an empty success


@pytest.mark.parametrize(
    "before",
    [[], [up.ROLE], [b": ping\n\n", up.ROLE], [up.event({"choices": []})]],
    ids=["at once", "role", "ping", "empty"],
)
def test_200_then_an_error_event_is_a_real_error(fake, gateway, before):
    fake.then(up.script(*before, up.event(ERROR), up.DONE, "finish"))
    answer = gateway.chat(STREAM)
    assert answer.status >= 400
    assert "the engine fell over" in answer.error["message"]
    assert answer.headers.get("content-type").split(";")[0] == "application/json"


def test_the_status_inside_an_error_event_counts(fake, gateway):
    fake.then(
        up.script(
            up.event({"error": {"message": "slow down", "type": "rate_limit_error", "code": 429}}), "finish"
        )
    )
    answer = gateway.chat(STREAM)
    assert answer.status == 429
    assert "slow down" in answer.error["message"]


def test_a_clients_fault_in_an_error_event_is_a_400(fake, gateway):
    fault = {
        "error": {
            "message": "too long",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }
    fake.then(up.script(up.event(fault), "finish"))
    answer = gateway.chat(STREAM)
    assert answer.status == 400
    assert "too long" in answer.error["message"]


def test_an_event_named_error_is_an_error(fake, gateway):
    fake.then(up.script(b'event: error\ndata: {"message":"the engine fell over","code":500}\n\n', "finish"))
    assert gateway.chat(STREAM).status >= 500


def test_200_then_an_error_fails_over(start):
    with up.Fake() as bad, up.Fake() as good:
        gateway = start(targets(bad, good))
        bad.then(up.script(up.ROLE, up.event(ERROR), "finish"))
        answer = gateway.chat(STREAM)
        assert answer.status == 200
        assert answer.headers.get("x-penstock-provider") == "p1"
        assert answer.headers.get("x-penstock-attempts") == "2"
        assert answer.body == b"".join([up.ROLE, up.delta("Hel"), up.delta("lo"), up.FINISH, up.DONE])
        gateway.stop()


def test_an_empty_stream_fails_over(start):
    with up.Fake() as bad, up.Fake() as good:
        gateway = start(targets(bad, good))
        bad.then(up.script("finish"))
        answer = gateway.chat(STREAM)
        assert answer.status == 200
        assert answer.headers.get("x-penstock-provider") == "p1"
        gateway.stop()


@pytest.mark.parametrize(
    "steps",
    [
        ["finish"],
        [b": ping\n\n", "finish"],
        [up.ROLE, "finish"],
        [up.DONE, "finish"],
        [up.ROLE, up.DONE, "finish"],
        [up.ROLE, "fin"],
    ],
    ids=["nothing", "ping", "role", "done", "role and done", "role and cut"],
)
def test_200_then_nothing_is_a_502(fake, gateway, steps):
    fake.then(up.script(*steps))
    is_gateway_error(gateway.chat(STREAM), 502, "stream_incomplete")


def test_200_with_an_empty_body_of_known_length_is_a_502(fake, gateway):
    fake.then(up.whole(b"", content_type="text/event-stream"))
    assert gateway.chat(STREAM).status == 502


def test_200_with_an_empty_json_body_is_a_502(fake, gateway):
    fake.then(up.whole(b""))
    is_gateway_error(gateway.chat(), 502, "upstream_protocol_error")


@pytest.mark.parametrize(
    "body",
    [
        b"<html>gateway timeout</html>",
        b"{",
        b'{"choices":[',
        b'{"a":1}x',
        b"\xff\xfe",
        b'{"a":"\xed\xa0\x80"}',
        b"null",
        b"OK",
    ],
)
def test_garbage_instead_of_json_is_a_502(fake, gateway, body):
    fake.then(up.whole(body))
    is_gateway_error(gateway.chat(), 502, "upstream_protocol_error")


def test_html_instead_of_json_is_a_502(fake, gateway):
    fake.then(up.whole(b"<html>login</html>", content_type="text/html"))
    assert gateway.chat().status == 502


def test_a_whole_answer_that_holds_an_error_is_an_error(fake, gateway):
    fake.then(up.whole(ERROR))
    answer = gateway.chat()
    assert answer.status >= 500
    assert "the engine fell over" in answer.error["message"]


def test_a_null_error_is_none(fake, gateway):
    body = json.dumps({**up.chat_answer(), "error": None}).encode()
    fake.then(up.whole(body))
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.body == body


def test_a_whole_answer_cut_short_is_a_502(fake, gateway):
    def handler(exchange):
        exchange.head(200, framing="length", length=1000)
        exchange.raw(b'{"choices":[')
        exchange.fin()

    fake.then(handler)
    answer = gateway.chat()
    assert answer.status == 502


def test_a_whole_chunked_answer_cut_short_is_a_502(fake, gateway):
    body = json.dumps(up.chat_answer()).encode()
    fake.then(up.script(body, "fin", content_type="application/json"))
    assert gateway.chat().status == 502


def test_a_whole_answer_above_the_hold_is_cut_not_finished(fake, gateway):
    gate = up.Gate()
    body = json.dumps(up.chat_answer("x" * 3_000_000)).encode()
    fake.then(
        up.script(
            *[body[i : i + 65536] for i in range(0, 2_000_000, 65536)],
            gate,
            "fin",
            content_type="application/json",
        )
    )
    with gateway.connect() as connection:
        connection.request(
            "POST", "/v1/chat/completions", JSON, json.dumps({**STREAM, "stream": False}).encode()
        )
        answer = connection.read_head()
        assert answer.status == 200
        assert connection.read_piece(answer)
        gate.open()
        connection.read_cut(answer)


def test_a_reset_before_the_answer_is_a_502(fake, gateway):
    fake.then(up.reset)
    answer = gateway.chat(STREAM)
    assert answer.status == 502
    assert answer.error["type"] == "upstream_error"


def test_the_upstream_hangs_up_before_the_answer(fake, gateway):
    fake.then(up.hang_up)
    assert gateway.chat(STREAM).status == 502


@pytest.mark.parametrize(
    "bytes_",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x00\x01\x02\x03" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_no_http_at_all_is_a_502(fake, gateway, bytes_):
    fake.then(up.bare(bytes_, "fin"))
    answer = gateway.chat()
    assert answer.status == 502
    assert answer.error["type"] == "upstream_error"


def test_huge_headers_of_the_upstream_are_a_502(fake, gateway):
    fake.then(
        up.bare(
            b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 2_000_000 + b"\r\nContent-Length: 2\r\n\r\n{}", "fin"
        )
    )
    assert gateway.chat().status == 502


def test_interim_answers_and_trailers_are_passed_over(fake, gateway):
    body = json.dumps(up.chat_answer()).encode()
    fake.then(
        up.bare(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x;ext=1\r\n%s\r\n0\r\nX-Trailer: 1\r\nSet-Cookie: a\r\n\r\n" % (len(body), body)
        )
    )
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.body == body
    assert "x-trailer" not in answer.headers and "link" not in answer.headers


def test_bad_chunk_framing_in_a_stream_is_a_cut(fake, gateway):
    gate = up.Gate()

    def handler(exchange):
        exchange.sse()
        exchange.write(up.ROLE + up.delta("a"))
        exchange.wait(gate)
        exchange.raw(b"zz\r\nnonsense\r\n")
        exchange.fin()

    fake.then(handler)
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gate.open()
        rest, _ = connection.read_cut(answer)
    only_one_error(rest)


def test_silence_before_the_answer_is_a_504(fake, start):
    gateway = start(config(fake, limits={"request_timeout": "300ms", "first_token_timeout": "300ms"}))
    fake.always(up.silent)
    for body in ({}, STREAM):
        is_gateway_error(gateway.chat(body), 504, "upstream_timeout")
    fake.requests[0].gone.wait()
    fake.requests[1].gone.wait()


def test_headers_and_pings_without_content_are_silence(fake, start):
    gateway = start(config(fake, limits={"first_token_timeout": "300ms"}))
    fake.then(up.script(b": ping\n\n", up.ROLE, "gone"))
    is_gateway_error(gateway.chat(STREAM), 504, "upstream_timeout")


def test_timeouts_of_the_provider_come_first(fake, start):
    gateway = start(
        config(fake, providers={"up": provider(fake, timeouts={"request": "200ms", "first_token": "200ms"})})
    )
    fake.always(up.silent)
    assert gateway.chat().status == 504
    assert gateway.chat(STREAM).status == 504


# After it


def only_one_error(rest, code="stream_incomplete"):
    """What a broken stream ends with: one error event, and no mark of a good end."""
    assert b"[DONE]" not in rest
    found = events(rest)
    errors = [item for item in found if isinstance(item, dict) and "error" in item]
    assert len(errors) == 1, rest
    assert found[-1] is errors[0]
    error = errors[0]["error"]
    assert error["code"] == code
    assert error["message"] and error["type"]
    assert rest.endswith(b"\n\n")
    return error


@pytest.mark.parametrize("how", ["fin", "rst", "finish"])
def test_cut_after_40_of_60_chunks(fake, gateway, how):
    """FIN without the last chunk, RST, and a clean end of HTTP without [DONE] are all the same lie."""
    gate = up.Gate()
    pieces = up.tokens(40)
    fake.then(up.script(up.ROLE, *pieces, gate, how))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        assert answer.status == 200
        got = connection.read_events(answer, 41)
        assert got == up.ROLE + b"".join(pieces)
        gate.open()
        rest, _ = connection.read_cut(answer)
    only_one_error(rest)
    assert gateway.metric("penstock_incomplete_streams_total") == 1
    line = gateway.line_of(answer)
    assert "stream_incomplete" in line.values()


def test_cut_in_the_middle_of_an_event(fake, gateway):
    """The half event is completed by nobody: what the client sees must still parse up to the error event."""
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("one"), up.delta("two")[:30], gate, "fin"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        first = connection.read_events(answer, 2)
        gate.open()
        rest, _ = connection.read_cut(answer)
    found = events(first + rest)
    assert [item["choices"][0]["delta"]["content"] for item in found[:2]] == ["", "one"]
    assert found[-1]["error"]["code"] == "stream_incomplete"
    assert len(found) == 3, found


def test_done_without_finish_after_content_is_incomplete(fake, gateway):
    fake.then(up.script(up.ROLE, up.delta("a"), up.DONE, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        rest, _ = connection.read_cut(answer)
    only_one_error(rest)


def test_finish_without_done_is_incomplete(fake, gateway):
    fake.then(up.script(up.ROLE, up.delta("a"), up.FINISH, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        rest, _ = connection.read_cut(answer)
    only_one_error(rest)


def test_an_error_event_in_the_middle_is_the_one_error_event(fake, gateway):
    """The upstream's own word passes; no second one of ours stands behind it."""
    gate = up.Gate()
    theirs = up.event(ERROR)
    fake.then(up.script(up.ROLE, up.delta("a"), gate, theirs, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gate.open()
        rest, _ = connection.read_cut(answer)
    assert b"[DONE]" not in rest
    found = events(rest)
    assert len(found) == 1
    assert found[0]["error"]["message"] == "the engine fell over"


def test_silence_in_mid_stream_is_a_cut(fake, start):
    gateway = start(config(fake, limits={"stream_idle_timeout": "300ms"}))
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        rest, _ = connection.read_cut(answer)
    error = only_one_error(rest, code=events(rest)[-1]["error"]["code"])
    assert error["code"] in ("stream_incomplete", "upstream_timeout")
    fake.last.gone.wait()


def test_a_stream_has_a_time_in_all(fake, start):
    gateway = start(config(fake, limits={"stream_timeout": "500ms"}))
    stop = up.Gate()

    def handler(exchange):
        exchange.sse()
        exchange.write(up.ROLE)
        while not stop.is_open:
            exchange.write(up.delta("a"))
            stop._event.wait(0.02)

    fake.then(handler)
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        try:
            rest, _ = connection.read_cut(answer)
        finally:
            stop.open()
    assert b"[DONE]" not in rest
    assert "error" in events(rest)[-1]


def test_a_broken_json_event_in_the_middle_passes(fake, gateway):
    pieces = [
        up.ROLE,
        up.delta("a"),
        b"data: {broken json\n\n",
        b"data: \xc3\xa9 not json\n\n",
        up.delta("b"),
        up.FINISH,
        up.DONE,
    ]
    fake.then(up.script(*pieces, "finish"))
    answer = gateway.chat(STREAM)
    assert answer.status == 200
    assert answer.body == b"".join(pieces)


@pytest.mark.parametrize("mark", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\n\n"])
def test_a_done_without_its_empty_line_is_forgiven(fake, gateway, mark):
    fake.then(up.script(up.ROLE, up.delta("a"), up.FINISH, mark, "finish"))
    answer = gateway.chat(STREAM)
    assert answer.status == 200
    assert answer.body == up.ROLE + up.delta("a") + up.FINISH + mark


def test_bytes_behind_done_do_not_break_a_good_stream(fake, gateway):
    pieces = [up.ROLE, up.delta("a"), up.FINISH, up.DONE]
    fake.then(up.script(*pieces, b": bye\n\n", "finish"))
    answer = gateway.chat(STREAM)
    assert answer.body.startswith(b"".join(pieces))


def test_an_upstream_that_lingers_after_done_does_not_hold_the_client(fake, gateway):
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), up.FINISH, up.DONE, gate, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        got = connection.read_events(answer, 4)
        assert got.endswith(up.DONE)
        gate.open()
        connection.read_body(answer)


def test_an_event_above_the_limit_is_an_error(fake, start):
    gateway = start(config(fake, limits={"event_bytes": "64KiB"}))
    gate = up.Gate()
    fake.then(
        up.script(
            up.ROLE, up.delta("a"), gate, b"data: " + b"x" * 200_000 + b"\n\n", up.FINISH, up.DONE, "finish"
        )
    )
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gate.open()
        rest, _ = connection.read_cut(answer)
    assert b"[DONE]" not in rest
    assert "error" in events(rest)[-1]


def test_more_than_a_full_hold_of_comments_commits(fake, gateway):
    pad = b": " + b"x" * 1000 + b"\n\n"
    pieces = [pad] * 100 + [up.ROLE, up.delta("a"), up.FINISH, up.DONE]
    fake.then(up.script(*pieces, "finish"))
    answer = gateway.chat(STREAM)
    assert answer.status == 200
    assert answer.body == b"".join(pieces)


# /generate


def test_plain_text_that_is_cut_just_ends_without_its_last_chunk(fake, gateway):
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("Blue"), gate, "fin"))
    with gateway.connect() as connection:
        connection.request(
            "POST", "/generate", [("Accept", "text/plain"), ("Content-Type", "text/plain")], b"Why?"
        )
        answer = connection.read_head()
        assert connection.read_piece(answer) == b"Blue"
        gate.open()
        rest, _ = connection.read_cut(answer)
    assert rest == b""


def test_plain_text_to_http_1_0_that_is_cut_ends_with_a_reset(fake, gateway):
    """There the end of the connection is the only mark of a good end."""
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("Blue"), gate, "fin"))
    with gateway.connect() as connection:
        connection.request(
            "POST",
            "/generate",
            [("Accept", "text/plain"), ("Content-Type", "text/plain")],
            b"Why?",
            version="1.0",
        )
        answer = connection.read_head()
        assert connection.read_piece(answer) == b"Blue"
        gate.open()
        with pytest.raises(Cut) as cut:
            connection.read_to_end()
        assert cut.value.how == "rst"


def test_generate_stream_that_is_cut_has_one_error_event(fake, gateway):
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("Blue"), gate, "fin"))
    with gateway.connect() as connection:
        connection.request("POST", "/generate", JSON, b'{"prompt":"a","stream":true}')
        answer = connection.read_head()
        assert events(connection.read_events(answer, 1)) == [{"text": "Blue"}]
        gate.open()
        rest, _ = connection.read_cut(answer)
    only_one_error(rest)


def test_generate_whole_of_a_broken_answer_is_a_status(fake, gateway):
    fake.then(up.script(b'{"choices":', "finish", content_type="application/json"))
    answer = gateway.post("/generate", {"prompt": "a"})
    assert answer.status == 502
    assert answer.error["code"] == "upstream_protocol_error"


def test_generate_error_before_content_is_a_status(fake, gateway):
    for headers in ([], [("Accept", "text/plain")]):
        fake.then(up.script(up.ROLE, up.event(ERROR), "finish"))
        answer = gateway.post("/generate", {"prompt": "a", "stream": True}, headers)
        assert answer.status >= 500
        assert "the engine fell over" in answer.error["message"]


# Names and addresses


def test_a_name_that_does_not_resolve_is_a_502(start):
    other = {
        "dialect": "openai",
        "base_url": "http://no-such-host.invalid/v1",
        "api_key": "k",
        "list_models": False,
    }
    gateway = start(config(providers={"up": other}, models=[{"name": "m", "targets": [{"provider": "up"}]}]))
    is_gateway_error(gateway.chat(), 502, "upstream_connection_failed")


def test_a_refused_connection_is_a_502(start):
    other = {"dialect": "openai", "base_url": "http://127.0.0.1:1/v1", "api_key": "k", "list_models": False}
    gateway = start(config(providers={"up": other}, models=[{"name": "m", "targets": [{"provider": "up"}]}]))
    is_gateway_error(gateway.chat(), 502, "upstream_connection_failed")
    is_gateway_error(gateway.chat(STREAM), 502, "upstream_connection_failed")


def test_tls_to_a_plain_port_is_a_502(fake, start):
    url = f"https://127.0.0.1:{fake.port}/v1"
    fake.on_connect = lambda sock: (
        sock.recv(100) and sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n") is None
    )
    gateway = start(config(fake, providers={"up": provider(fake, base_url=url)}))
    is_gateway_error(gateway.chat(), 502, "upstream_tls_failed")


# A kept connection


def test_a_kept_connection_that_has_died_earns_one_new_attempt(fake, gateway):
    fake.then(up.answer, up.reset)
    assert gateway.chat().status == 200
    answer = gateway.chat()
    assert answer.status == 200
    assert fake.connections == 2
    assert len(fake.requests) == 3


def test_a_new_connection_that_dies_is_not_tried_again(fake, gateway):
    fake.then(up.reset)
    assert gateway.chat().status == 502
    assert len(fake.requests) == 1


def test_after_the_first_byte_nothing_is_sent_again(fake, gateway):
    fake.then(up.answer, up.bare(b"HTTP/1.1 2", "fin"))
    assert gateway.chat().status == 200
    assert gateway.chat().status == 502
    assert len(fake.requests) == 2


def test_a_connection_the_upstream_closes_while_idle_is_not_used_again(fake, gateway):
    def answer_and_close(exchange):
        up.answer(exchange)
        exchange.fin()

    for count in range(1, 6):
        fake.then(answer_and_close)
        assert gateway.chat().status == 200
        fake.wait_for(lambda: fake.open_connections == 0, "the end of the idle connection")
        assert fake.connections == count
        assert len(fake.requests) == count


def test_comments_keep_a_silent_stream_alive(fake, gateway):
    """Every 15 s; the one test here that takes its time."""
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        comment = connection.read_events(answer, 1)
        assert comment.startswith(b":")
        gate.open()
        connection.read_body(answer)
        assert answer.body.endswith(up.DONE)
