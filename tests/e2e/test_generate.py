# SPDX-License-Identifier: Apache-2.0
"""POST /generate in every form."""

import json

import pytest

from support import fake as up
from support.raw import events

FORM = [("Content-Type", "application/x-www-form-urlencoded")]
PLAIN = [("Content-Type", "text/plain")]
WANT_TEXT = [("Accept", "text/plain")]


def prompt_of(request):
    """The one user message that went upstream."""
    messages = request.json()["messages"]
    assert [m["role"] for m in messages] == ["user"]
    return messages[0]["content"]


def test_json_in_json_out(both):
    gateway, fake = both
    answer = gateway.post("/generate", {"prompt": "Why?"})
    assert answer.status == 200
    assert answer.headers.get("content-type").split(";")[0] == "application/json"
    body = answer.json()
    assert set(body) == {"id", "model", "provider", "text", "finish_reason", "usage", "timing"}
    assert body["text"] == "Hello"
    assert body["model"] == "up-model"
    assert body["provider"] == "up"
    assert body["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert set(body["timing"]) == {"queue_ms", "first_token_ms", "total_ms"}
    assert body["timing"]["total_ms"] >= body["timing"]["first_token_ms"] >= 0
    assert isinstance(body["id"], str) and body["id"]
    sent = fake.last
    assert sent.path == "/v1/chat/completions"
    assert sent.json()["model"] == "up-model"
    assert prompt_of(sent) == "Why?"


def test_ids_differ(both):
    gateway, _ = both
    assert (
        gateway.post("/generate", {"prompt": "a"}).json()["id"]
        != gateway.post("/generate", {"prompt": "a"}).json()["id"]
    )


def test_reply_headers(both):
    gateway, _ = both
    answer = gateway.post("/generate", {"prompt": "Why?"})
    assert answer.headers.get("x-request-id")
    assert answer.headers.get("x-penstock-provider") == "up"
    assert answer.headers.get("x-penstock-model") == "up-model"
    assert answer.headers.get("x-penstock-attempts") == "1"
    assert int(answer.headers.get("x-penstock-overhead-us")) >= 0


def test_messages_and_system(both):
    gateway, fake = both
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert gateway.post("/generate", {"messages": messages, "system": "Be brief"}).status == 200
    assert fake.last.json()["messages"] == [{"role": "system", "content": "Be brief"}, *messages]


def test_parameters_go_upstream(both):
    gateway, fake = both
    fields = {"max_tokens": 7, "temperature": 0.25, "top_p": 0.5, "stop": ["x", "y"], "seed": 42}
    assert gateway.post("/generate", {"prompt": "a", **fields}).status == 200
    sent = fake.last.json()
    limit = sent.pop("max_tokens", None) or sent.pop("max_completion_tokens", None)
    assert limit == 7
    for name in ("temperature", "top_p", "stop", "seed"):
        assert sent[name] == fields[name]


def test_numbers_go_upstream_as_they_were_written(both):
    gateway, fake = both
    assert (
        gateway.post(
            "/generate",
            b'{"prompt":"a","temperature":1.50,"seed":9007199254740993}',
            [("Content-Type", "application/json")],
        ).status
        == 200
    )
    assert b"1.50" in fake.last.body
    assert b"9007199254740993" in fake.last.body


def test_model_by_alias_and_by_provider(both):
    gateway, fake = both
    assert gateway.post("/generate", {"prompt": "a", "model": "m"}).status == 200
    assert fake.last.json()["model"] == "up-model"
    assert gateway.post("/generate", {"prompt": "a", "model": "up/some/thing"}).status == 200
    assert fake.last.json()["model"] == "some/thing"


def test_streamed(both):
    gateway, fake = both
    fake.then(up.stream("Hel", "lo", usage=True))
    answer = gateway.post("/generate", {"prompt": "a", "stream": True})
    assert answer.status == 200
    assert answer.headers.get("content-type").split(";")[0] == "text/event-stream"
    assert answer.framing == "chunked"
    found = events(answer.body)
    assert found[:2] == [{"text": "Hel"}, {"text": "lo"}]
    assert found[-1] == "[DONE]"
    last = found[-2]
    assert len(found) == 4
    assert set(last) == {"finish_reason", "model", "provider", "usage", "timing"}
    assert last["finish_reason"] == "stop"
    assert last["model"] == "up-model"
    assert last["provider"] == "up"
    assert last["usage"] == {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    assert set(last["timing"]) == {"queue_ms", "first_token_ms", "total_ms"}
    assert fake.last.json()["stream"] is True
    assert fake.last.json()["stream_options"] == {"include_usage": True}


def test_streamed_deltas_come_as_they_are_made(both):
    gateway, fake = both
    first, second = up.Gate(), up.Gate()
    fake.then(
        up.script(up.ROLE, up.delta("one"), first, up.delta("two"), second, up.FINISH, up.DONE, "finish")
    )
    with gateway.connect() as connection:
        gateway.open_chat(connection, path="/generate", messages=[{"role": "user", "content": "a"}])
        answer = connection.read_head()
        assert events(connection.read_events(answer, 1)) == [{"text": "one"}]
        first.open()
        assert events(connection.read_events(answer, 1)) == [{"text": "two"}]
        second.open()
        connection.read_body(answer)
        assert events(answer.body)[-1] == "[DONE]"


def test_escapes_in_text_come_out_as_characters(both):
    gateway, fake = both
    text = 'quote " backslash \\ newline \n tab \t null-ish \u0001 é 𝄞 \u2028'
    fake.then(up.whole(up.chat_answer(text)))
    assert gateway.post("/generate", {"prompt": text}).json()["text"] == text
    assert prompt_of(fake.last) == text
    fake.then(up.stream(*text))
    answer = gateway.post("/generate", {"prompt": text, "stream": True})
    assert "".join(item["text"] for item in events(answer.body) if "text" in item) == text


def test_plain_text_in(both):
    gateway, fake = both
    answer = gateway.post("/generate", 'Why "so"?\nTwo lines & = é', PLAIN)
    assert answer.status == 200
    assert answer.json()["text"] == "Hello"
    assert prompt_of(fake.last) == 'Why "so"?\nTwo lines & = é'


def test_plain_text_that_looks_like_json_is_a_prompt(both):
    gateway, fake = both
    assert gateway.post("/generate", '{"prompt": "x"}', PLAIN).status == 200
    assert prompt_of(fake.last) == '{"prompt": "x"}'


def test_plain_text_with_charset(both):
    gateway, fake = both
    assert gateway.post("/generate", "Ä", [("Content-Type", "text/plain; charset=UTF-8")]).status == 200
    assert prompt_of(fake.last) == "Ä"


def test_curl_d_with_a_sentence(both):
    gateway, fake = both
    assert gateway.post("/generate", "Why is the sky blue? a=b&c=%20+", FORM).status == 200
    assert prompt_of(fake.last) == "Why is the sky blue? a=b&c=%20+"


def test_curl_d_with_json(both):
    gateway, fake = both
    assert gateway.post("/generate", '{"prompt":"Why?","max_tokens":3}', FORM).status == 200
    assert prompt_of(fake.last) == "Why?"


@pytest.mark.parametrize("body", ['{"prompt":', "[1,2]", '"text"', "{not json}", '{"prompt":"a"} and more'])
def test_curl_d_with_what_is_no_json_object_is_a_prompt(both, body):
    gateway, fake = both
    assert gateway.post("/generate", body, FORM).status == 200
    assert prompt_of(fake.last) == body


def test_curl_d_json_with_a_bad_field_is_an_error(both):
    gateway, fake = both
    answer = gateway.post("/generate", '{"prompt":5}', FORM)
    assert answer.status == 400
    assert answer.error["param"] == "prompt"
    assert fake.requests == []


def test_accept_text_is_bare_text_streamed(both):
    gateway, fake = both
    gate = up.Gate()
    fake.then(
        up.script(up.ROLE, up.delta("Blue "), gate, up.delta("because\n"), up.FINISH, up.DONE, "finish")
    )
    with gateway.connect() as connection:
        connection.request("POST", "/generate", FORM + WANT_TEXT, b"Why is the sky blue?")
        answer = connection.read_head()
        assert answer.status == 200
        assert answer.headers.get("content-type").split(";")[0] == "text/plain"
        assert connection.read_piece(answer) == b"Blue "
        gate.open()
        connection.read_body(answer)
        assert answer.body == b"because\n"
    assert fake.last.json()["stream"] is True
    assert prompt_of(fake.last) == "Why is the sky blue?"


def test_accept_text_with_json_in(both):
    gateway, fake = both
    answer = gateway.post("/generate", {"prompt": "a"}, WANT_TEXT)
    assert answer.status == 200
    assert answer.body == b"Hello"


def test_accept_anything_is_json(both):
    gateway, _ = both
    answer = gateway.post("/generate", {"prompt": "a"}, [("Accept", "*/*")])
    assert answer.json()["text"] == "Hello"


def test_http_1_0_client_gets_a_close_delimited_stream(both):
    gateway, _ = both
    with gateway.connect() as connection:
        connection.request("POST", "/generate", FORM + WANT_TEXT, b"Why?", version="1.0")
        answer = connection.read_response()
        assert answer.status == 200
        assert "transfer-encoding" not in answer.headers
        assert answer.body == b"Hello"


def test_length_is_the_finish_reason_when_the_upstream_says_so(both):
    gateway, fake = both
    fake.then(up.whole(up.chat_answer("cut", finish="length")))
    assert gateway.post("/generate", {"prompt": "a"}).json()["finish_reason"] == "length"


def test_an_upstream_that_counts_nothing_gives_null_or_no_counts(both):
    gateway, fake = both
    body = up.chat_answer("x")
    del body["usage"]
    fake.then(up.whole(body))
    usage = gateway.post("/generate", {"prompt": "a"}).json()["usage"]
    assert usage is None or all(value is None for value in usage.values())


@pytest.mark.parametrize(
    "body, param",
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, None),
        ({"messages": []}, "messages"),
        ({"messages": "a"}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "5"}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "a", "temperature": "hot"}, "temperature"),
        ({"prompt": "a", "temperature": -0.1}, "temperature"),
        ({"prompt": "a", "top_p": 2}, "top_p"),
        ({"prompt": "a", "stop": 5}, "stop"),
        ({"prompt": "a", "stop": [5]}, None),
        ({"prompt": "a", "seed": "x"}, "seed"),
        ({"prompt": "a", "stream": "true"}, "stream"),
        ({"prompt": "a", "stream": 1}, "stream"),
        ({"prompt": "a", "model": 5}, "model"),
        ({"prompt": "a", "system": 5}, "system"),
    ],
)
def test_bad_fields_are_named(both, body, param):
    gateway, fake = both
    answer = gateway.post("/generate", body)
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"
    if param:
        assert answer.error["param"] == param
    assert fake.requests == []


def test_a_field_nobody_knows_is_named(both):
    """A misspelt parameter would otherwise be lost in silence: /generate is our own and knows its fields."""
    gateway, fake = both
    answer = gateway.post("/generate", {"prompt": "a", "max_token": 5})
    assert answer.status == 400
    assert answer.error["code"] == "unknown_parameter"
    assert answer.error["param"] == "max_token"
    assert fake.requests == []


def test_an_empty_text_body_is_an_error(both):
    gateway, fake = both
    for headers in (PLAIN, FORM):
        answer = gateway.post("/generate", b"", headers)
        assert answer.status == 400
        assert answer.error["message"]
    assert fake.requests == []


def test_invalid_utf_8_in_a_text_body_is_an_error(both):
    gateway, fake = both
    assert gateway.post("/generate", b"a\xff\xfeb", PLAIN).status == 400
    assert fake.requests == []


def test_an_unknown_model_is_404(both):
    gateway, fake = both
    answer = gateway.post("/generate", {"prompt": "a", "model": "nope"})
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert answer.error["param"] == "model"
    assert "nope" in answer.error["message"]
    assert fake.requests == []


def test_an_upstream_error_is_told_in_our_words(fake, gateway):
    fake.always(up.error(400, "temperature is too hot", "invalid_request_error", "bad_temperature"))
    answer = gateway.post("/generate", {"prompt": "a"})
    assert answer.status == 400
    assert "temperature is too hot" in answer.error["message"]


def test_curl_itself(both):
    import subprocess

    gateway, _ = both
    command = [
        "curl",
        "-sN",
        f"{gateway.url}/generate",
        "-H",
        "Accept: text/plain",
        "-d",
        "Why is the sky blue?",
    ]
    assert subprocess.run(command, capture_output=True, timeout=30).stdout == b"Hello"
    command = ["curl", "-sN", f"{gateway.url}/generate", "-d", "Why is the sky blue?"]
    assert json.loads(subprocess.run(command, capture_output=True, timeout=30).stdout)["text"] == "Hello"


def test_sglang_shape(both):
    """As SGLang's documents have it: a text, its parameters, and a stream that repeats what was said."""
    gateway, fake = both
    params = {"max_new_tokens": 7, "temperature": 0.5, "stop": ["x"], "top_k": -1, "ignore_eos": False}
    answer = gateway.post("/generate", {"text": "Why?", "sampling_params": params})
    assert answer.status == 200
    said = answer.json()
    assert said["text"] == "Hello"
    assert said["meta_info"]["finish_reason"] == {"type": "stop"}
    assert said["meta_info"]["completion_tokens"] == up.USAGE["completion_tokens"]
    assert said["meta_info"]["id"] == said["id"]
    assert prompt_of(fake.last) == "Why?"
    sent = fake.last.json()
    assert (sent.get("max_tokens") or sent.get("max_completion_tokens")) == 7
    assert sent["temperature"] == 0.5
    assert gateway.post("/generate", {"text": "Why?"}).json()["text"] == "Hello"
    assert gateway.post("/generate", {"text": ["Why?"]}).error["param"] == "text"

    fake.then(up.stream("Hel", "lo", usage=True))
    found = events(gateway.post("/generate", {"text": "Why?", "stream": True}).body)
    assert found.pop() == "[DONE]"
    text = ""
    for piece in found:
        text += piece["text"][len(text) :]
        assert piece["text"] == text
    assert text == "Hello"
    assert [piece["meta_info"]["finish_reason"] for piece in found] == [None, None, {"type": "stop"}]
    assert found[-1]["meta_info"]["prompt_tokens"] == up.USAGE["prompt_tokens"]
