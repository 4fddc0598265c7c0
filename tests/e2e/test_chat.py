# SPDX-License-Identifier: Apache-2.0
"""/v1/chat/completions: bytes pass as they came, both ways, but for the two edits that are allowed."""

import json
import re

import pytest

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider
from support.raw import events

JSON = [("Content-Type", "application/json")]

# All that a parse and print would lose: order, spaces, numbers, escapes, names nobody knows.
ODD_BODY = (
    b'{ "zzz":1, "messages" : [ {"role":"user","content":"a\\u00e9\\/\\ud83d\\ude00 \xc3\xa9\\u0000",'
    b'"cache_control":{"type":"ephemeral"}} ],\r\n\t"model":"m", "big":123456789012345678901234567890,'
    b'"exp":1E400,"neg":-0,"float":1.0,"tiny":1e-999,"unknown":{"a":[ ],"b":{ },"Model":"x","model":"inner"},'
    b'"lone":"\\ud800","Model":"X", "stop":null }'
)


def replaced(body, model=b"up-model"):
    return body.replace(b'"model":"m"', b'"model":"' + model + b'"', 1)


def without_stream_options(body):
    """The body less the one member the gateway may add."""
    found = re.findall(rb'"stream_options"\s*:\s*\{\s*"include_usage"\s*:\s*true\s*\}', body)
    assert len(found) == 1, body
    if b"," + found[0] in body:
        return body.replace(b"," + found[0], b"")
    assert found[0] + b"," in body, body
    return body.replace(found[0] + b",", b"")


def test_a_whole_answer_passes_byte_for_byte(both):
    gateway, fake = both
    answer_bytes = (
        b'{ "choices":[ {"finish_reason":"stop","index":0,"message":{"content":"\\u00e9\\/\xc3\xa9","role":"assistant"}} ],'
        b'\n "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"cost":0.000100},'
        b'"x_unknown":12345678901234567890123,"z":1.0,"a":-0 }\n'
    )
    fake.then(up.whole(answer_bytes))
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.body == answer_bytes
    assert answer.headers.get("content-type") == "application/json"


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_a_whole_answer_passes_in_any_framing(fake, gateway, framing):
    body = json.dumps(up.chat_answer("x" * 5000)).encode()

    def handler(exchange):
        exchange.head(200, framing=framing, length=len(body))
        for i in range(0, len(body), 700):
            exchange.write(body[i : i + 700])
        exchange.finish()

    fake.then(handler)
    assert gateway.chat().body == body


def test_a_request_passes_byte_for_byte_but_for_the_model(both):
    gateway, fake = both
    assert gateway.post("/v1/chat/completions", ODD_BODY, JSON).status == 200
    assert fake.last.body == replaced(ODD_BODY)


def test_a_request_passes_untouched_when_the_names_are_the_same(fake, start):
    """Nothing to splice: alias and upstream model agree."""
    gateway = start(config(fake, models=[{"name": "m", "targets": [{"provider": "up"}]}]))
    assert gateway.post("/v1/chat/completions", ODD_BODY, JSON).status == 200
    assert fake.last.body == ODD_BODY


@pytest.mark.parametrize("spelling", [b'"m"', b'"\\u006d"', b' \n"m"\t'])
def test_the_model_is_spliced_however_it_is_written(both, spelling):
    gateway, fake = both
    body = b'{"messages":[{"role":"user","content":"model"}],"model":' + spelling + b',"n":1}'
    assert gateway.post("/v1/chat/completions", body, JSON).status == 200
    assert fake.last.body == body.replace(spelling.strip(), b'"up-model"')


def test_an_escaped_key_is_the_same_key(both):
    gateway, fake = both
    body = b'{"messages":[{"role":"user","content":"a"}],"\\u006dodel":"m"}'
    assert gateway.post("/v1/chat/completions", body, JSON).status == 200
    assert fake.last.json()["model"] == "up-model"


def test_no_model_means_the_default_model_and_it_is_written_in(both):
    gateway, fake = both
    assert (
        gateway.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}).status == 200
    )
    assert fake.last.json() == {"messages": [{"role": "user", "content": "a"}], "model": "up-model"}


def test_provider_slash_model_splits_at_the_first_slash(both):
    gateway, fake = both
    answer = gateway.chat(model="up/org/name:free")
    assert answer.status == 200
    assert fake.last.json()["model"] == "org/name:free"
    assert answer.headers.get("x-penstock-model") == "org/name:free"


def test_a_model_name_that_needs_escapes_is_escaped(fake, start):
    name = 'a"b\\c\u00e9'
    gateway = start(config(fake, models=[{"name": "m", "targets": [{"provider": "up", "model": name}]}]))
    assert gateway.chat().status == 200
    assert fake.last.json()["model"] == name


def test_reply_headers(both):
    gateway, fake = both
    fake.then(
        up.whole(
            up.chat_answer(),
            headers=[
                ("x-request-id", "req_upstream_1"),
                ("x-ratelimit-remaining-requests", "77"),
                ("openai-processing-ms", "12"),
                ("Set-Cookie", "a=b"),
                ("Server", "them"),
                ("X-Whatever", "1"),
            ],
        )
    )
    answer = gateway.chat()
    assert answer.headers.get("x-penstock-provider") == "up"
    assert answer.headers.get("x-penstock-model") == "up-model"
    assert answer.headers.get("x-penstock-attempts") == "1"
    assert int(answer.headers.get("x-penstock-overhead-us")) >= 0
    assert answer.headers.get("x-penstock-upstream-id") == "req_upstream_1"
    assert answer.headers.get("x-request-id") not in (None, "", "req_upstream_1")
    assert answer.headers.get("x-ratelimit-remaining-requests") == "77"
    assert answer.headers.get("openai-processing-ms") == "12"
    for name in ("set-cookie", "server", "x-whatever"):
        assert name not in answer.headers or answer.headers.get(name) != "them"
    assert "set-cookie" not in answer.headers
    assert "x-whatever" not in answer.headers


def test_what_goes_upstream_of_the_head(both):
    gateway, fake = both
    headers = [
        ("Authorization", "Bearer client-SECRET"),
        ("x-api-key", "client-SECRET"),
        ("api-key", "client-SECRET"),
        ("Cookie", "client=SECRET"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("Forwarded", "for=1.2.3.4"),
        ("X-Stainless-Lang", "python"),
        ("Accept-Encoding", "gzip"),
        ("Connection", "keep-alive, X-Named"),
        ("X-Named", "1"),
        ("Proxy-Authorization", "Basic SECRET"),
        ("OpenAI-Beta", "assistants=v2"),
        ("OpenAI-Organization", "org-1"),
    ]
    assert gateway.chat(headers=headers).status == 200
    sent = fake.last
    assert b"SECRET" not in sent.raw_head.replace(UPSTREAM_KEY.encode(), b"")
    assert sent.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert sent.headers.get("host") == f"127.0.0.1:{fake.port}"
    assert sent.headers.get("content-type") == "application/json"
    assert sent.headers.get("openai-beta") == "assistants=v2"
    for name in (
        "x-api-key",
        "api-key",
        "cookie",
        "x-forwarded-for",
        "forwarded",
        "x-stainless-lang",
        "x-named",
        "proxy-authorization",
        "expect",
        "transfer-encoding",
    ):
        assert name not in sent.headers, name
    assert sent.headers.get("accept-encoding") in (None, "identity")
    assert sent.version == "HTTP/1.1"


def test_extra_headers_of_the_provider(fake, start):
    gateway = start(
        config(
            fake,
            providers={"up": provider(fake, headers={"X-Team": "red", "HTTP-Referer": "https://a.example"})},
        )
    )
    assert gateway.chat().status == 200
    assert fake.last.headers.get("x-team") == "red"
    assert fake.last.headers.get("http-referer") == "https://a.example"


def test_a_provider_without_a_key_gets_no_credentials(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, api_key=None)}))
    assert gateway.chat(headers=[("Authorization", "Bearer client-SECRET")]).status == 200
    assert "authorization" not in fake.last.headers


def test_auth_client_sends_the_clients_own_key(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, api_key=None, auth="client")}))
    assert gateway.chat(headers=[("Authorization", "Bearer my-own")]).status == 200
    assert fake.last.headers.get("authorization") == "Bearer my-own"


def test_proxy_variables_of_the_environment_are_ignored(fake, start):
    environment = {
        name: "http://127.0.0.1:1" for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy")
    }
    gateway = start(config(fake), env=environment)
    assert gateway.chat().status == 200


def test_connections_to_the_upstream_are_reused(fake, gateway):
    for _ in range(10):
        assert gateway.chat().status == 200
        assert gateway.chat(stream=True).status == 200
    assert fake.connections == 1
    assert [request.number for request in fake.requests] == list(range(1, 21))


# Streams


def stream_request(**fields):
    return {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}], **fields}


def test_a_stream_passes_byte_for_byte(both):
    gateway, fake = both
    odd = (
        b": a comment\n\n"
        b'data:{"choices":[{"index":0,"delta":{"role":"assistant"}}]}\r\n\r\n'
        b'event: message\ndata: {"choices":[{"index":0,"delta":{"content":"\\u00e9\xc3\xa9"}}],"n":1E400,"x":[ ]}\n\n'
        b'id: 5\nretry: 1000\ndata: {"choices":\ndata: [{"index":0,"delta":{"content":"b"}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"obfuscation":"abc"}\n\n'
        b"data: [DONE]\n\n"
    )
    fake.then(up.script(odd, "finish"))
    answer = gateway.chat(stream_request(stream_options={"include_usage": True}))
    assert answer.status == 200
    assert answer.framing == "chunked"
    assert answer.body == odd
    assert answer.headers.get("content-type").split(";")[0] == "text/event-stream"
    assert "content-length" not in answer.headers
    assert answer.headers.get("cache-control") == "no-cache"
    assert answer.headers.get("x-accel-buffering") == "no"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_stream_passes_whatever_pieces_it_comes_in(both, size):
    gateway, fake = both
    whole = b"".join([up.ROLE, up.delta("é𝄞"), b": ping\r\n\r\n", up.delta("b"), up.FINISH, up.DONE])
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    fake.then(up.script(*pieces, "finish"))
    answer = gateway.chat(stream_request())
    assert answer.body == whole


def test_a_stream_split_at_every_byte(both):
    """Each position once, with a pause there that only the client's progress ends is not needed: two writes
    with TCP_NODELAY are two reads often enough, and every split must give the same bytes anyway."""
    gateway, fake = both
    whole = b"".join([up.ROLE, up.delta("é"), up.FINISH, up.DONE])
    with gateway.connect() as connection:
        for at in range(1, len(whole)):
            fake.then(up.script(whole[:at], whole[at:], "finish"))
            gateway.open_chat(connection)
            answer = connection.read_response()
            assert answer.body == whole, at


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_stream_in_either_framing(both, framing):
    gateway, fake = both
    fake.then(up.stream("a", "b", framing=framing))
    answer = gateway.chat(stream_request())
    assert [e["choices"][0]["delta"].get("content") for e in events(answer.body)[1:3]] == ["a", "b"]
    assert events(answer.body)[-1] == "[DONE]"


def test_each_event_comes_without_delay(both):
    gateway, fake = both
    gates = [up.Gate() for _ in range(5)]
    steps = [up.ROLE]
    for number, gate in enumerate(gates):
        steps += [up.delta(f"t{number}"), gate]
    fake.then(up.script(*steps, up.FINISH, up.DONE, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        assert connection.read_events(answer, 2) == up.ROLE + up.delta("t0")
        for number, gate in enumerate(gates):
            gate.open()
            if number < 4:
                assert connection.read_events(answer, 1) == up.delta(f"t{number + 1}")
        connection.read_body(answer)


def test_an_event_is_not_held_for_its_lost_half(both):
    """The first event is passed on although half of the second has come with it."""
    gateway, fake = both
    gate = up.Gate()
    second = up.delta("two")
    fake.then(
        up.script(up.ROLE, up.delta("one") + second[:20], gate, second[20:], up.FINISH, up.DONE, "finish")
    )
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gate.open()
        connection.read_body(answer)


def test_n_choices_and_tool_calls_pass(both):
    gateway, fake = both
    call = [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}]
    pieces = [
        up.delta("", role="assistant"),
        up.delta("", role="assistant", index=1),
        up.delta("x", index=1),
        up.delta(tool_calls=call),
        up.delta(finish="tool_calls"),
        up.delta(finish="stop", index=1),
        up.DONE,
    ]
    fake.then(up.script(*pieces, "finish"))
    answer = gateway.chat(stream_request(n=2))
    assert answer.body == b"".join(pieces)


def test_a_client_that_asked_for_a_stream_and_is_given_json_gets_the_json(both):
    gateway, fake = both
    body = json.dumps(up.chat_answer("whole")).encode()
    fake.then(up.whole(body))
    answer = gateway.chat(stream_request())
    assert answer.status == 200
    assert answer.headers.get("content-type").split(";")[0] == "application/json"
    assert answer.body == body


def test_http_1_0_client_gets_the_stream_until_close(both):
    gateway, fake = both
    body = json.dumps(stream_request()).encode()
    with gateway.connect() as connection:
        connection.request("POST", "/v1/chat/completions", JSON, body, version="1.0")
        answer = connection.read_response()
        assert "transfer-encoding" not in answer.headers
        assert answer.body == b"".join([up.ROLE, up.delta("Hel"), up.delta("lo"), up.FINISH, up.DONE])


# Accounting


def test_usage_is_asked_for_and_withheld_from_who_did_not_ask(both):
    gateway, fake = both
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'
    fake.then(up.stream("a", usage=True))
    answer = gateway.post("/v1/chat/completions", body, JSON)
    assert without_stream_options(fake.last.body) == replaced(body)
    assert answer.body == b"".join([up.ROLE, up.delta("a"), up.FINISH, up.DONE])
    line = gateway.line_of(answer)
    assert 9 in line.values() and 2 in line.values(), line


def test_usage_passes_to_who_asked(both):
    gateway, fake = both
    body = b'{"model":"m","stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}],"stream":true}'
    answer = gateway.post("/v1/chat/completions", body, JSON)
    assert fake.last.body == replaced(body)
    assert answer.body == b"".join(
        [up.ROLE, up.delta("Hel"), up.delta("lo"), up.FINISH, up.USAGE_CHUNK, up.DONE]
    )


@pytest.mark.parametrize(
    "options",
    [
        b"{}",
        b"null",
        b'{"include_usage":false}',
        b'{"include_obfuscation":false}',
        b'{ "x":1,"include_usage" : null }',
    ],
)
def test_stream_options_of_the_client_are_kept_when_usage_is_added(both, options):
    gateway, fake = both
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":'
        + options
        + b',"z":1}'
    )
    answer = gateway.post("/v1/chat/completions", body, JSON)
    assert answer.status == 200
    sent = fake.last.json()
    expected = {**(json.loads(options) or {}), "include_usage": True}
    assert sent["stream_options"] == expected
    assert fake.last.body.startswith(body[: body.index(b'"stream_options"')].replace(b'"m"', b'"up-model"'))
    assert fake.last.body.endswith(b',"z":1}')
    assert up.USAGE_CHUNK not in answer.body
    assert answer.body.endswith(up.FINISH + up.DONE)


def test_whole_answers_need_no_stream_options(both):
    gateway, fake = both
    gateway.chat()
    assert b"stream_options" not in fake.last.body


def test_passive_accounting_leaves_the_body_alone(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, accounting="passive")}))
    body = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'
    fake.then(up.stream("a", usage=True))
    answer = gateway.post("/v1/chat/completions", body, JSON)
    assert fake.last.body == replaced(body)
    assert answer.body == b"".join([up.ROLE, up.delta("a"), up.FINISH, up.USAGE_CHUNK, up.DONE])


def test_usage_on_a_chunk_with_content_is_not_withheld(both):
    """Some upstreams put usage on the last content chunk: that one belongs to the client."""
    gateway, fake = both
    last = up.event(
        {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}], "usage": up.USAGE}
    )
    fake.then(up.script(up.ROLE, up.delta("a"), last, up.DONE, "finish"))
    assert gateway.chat(stream_request()).body == up.ROLE + up.delta("a") + last + up.DONE


# Errors of the upstream


@pytest.mark.parametrize("status", [400, 404, 409, 422, 429, 500, 503])
def test_an_upstream_error_passes_unchanged(fake, gateway, status):
    body = b'{ "error" : {"message":"theirs","type":"t","param":"p","code":"c","extra":1.0} }'
    fake.always(
        up.whole(body, status, headers=[("x-request-id", "req_up"), ("x-ratelimit-limit-requests", "5")])
    )
    answer = gateway.chat()
    assert answer.status == status
    assert answer.body == body
    assert answer.headers.get("x-penstock-upstream-id") == "req_up"
    assert answer.headers.get("x-ratelimit-limit-requests") == "5"


def test_an_upstream_error_to_a_streamed_request_is_a_status(fake, gateway):
    body = b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}'
    fake.always(up.whole(body, 400))
    answer = gateway.chat(stream_request())
    assert answer.status == 400
    assert answer.body == body
    assert answer.headers.get("content-type").split(";")[0] == "application/json"


def test_an_unknown_model_is_404_in_openai_shape(both):
    gateway, fake = both
    for name in ("nope", "nope/x", "M", "", "m ", "up/"):
        answer = gateway.chat(model=name)
        if name == "":
            assert answer.status in (200, 400, 404)
            continue
        assert answer.status == 404, (name, answer)
        assert answer.error["code"] == "model_not_found"
        assert answer.error["param"] == "model"
        assert answer.error["type"] == "invalid_request_error"
    for length in range(70, 80):
        assert "\ufffd" not in gateway.chat(model="x" * length + "ä€😀" * 10).error["message"]
    assert [
        request.json()["model"] for request in fake.requests if request.json()["model"] != "up-model"
    ] == []


def test_the_json_may_come_under_the_form_type(both):
    gateway, fake = both
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
    assert (
        gateway.post(
            "/v1/chat/completions", body, [("Content-Type", "application/x-www-form-urlencoded")]
        ).status
        == 200
    )
    assert fake.last.headers.get("content-type") == "application/json"


def test_a_large_request_and_a_large_answer(both):
    gateway, fake = both
    text = "é" * 700_000
    fake.then(up.whole(up.chat_answer(text)))
    answer = gateway.chat(messages=[{"role": "user", "content": text}])
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == text
    assert fake.last.json()["messages"][0]["content"] == text


def test_a_chunked_request_body(both):
    gateway, fake = both
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a" * 300}]}).encode()
    chunked = b"".join(
        b"%x\r\n%s\r\n" % (len(body[i : i + 50]), body[i : i + 50]) for i in range(0, len(body), 50)
    )
    with gateway.connect() as connection:
        connection.request(
            "POST",
            "/v1/chat/completions",
            JSON + [("Transfer-Encoding", "chunked")],
            chunked + b"0\r\nX-Trailer: 1\r\n\r\n",
        )
        assert connection.read_response().status == 200
    assert fake.last.json()["messages"][0]["content"] == "a" * 300
    assert int(fake.last.headers.get("content-length")) == len(fake.last.body)
    assert b"X-Trailer" not in fake.last.raw_head
