# SPDX-License-Identifier: Apache-2.0
"""/v1/completions and /v1/embeddings."""

import json

import pytest

from support import fake as up
from support.raw import events

JSON = [("Content-Type", "application/json")]


def test_completion(both):
    gateway, fake = both
    body = b'{"prompt":"Once","max_tokens":5,"echo":true,"suffix":" end", "model":"m","unknown":1.0}'
    answer = gateway.post("/v1/completions", body, JSON)
    assert answer.status == 200
    assert answer.json()["choices"][0]["text"] == "Hello"
    assert fake.last.path == "/v1/completions"
    assert fake.last.body == body.replace(b'"m"', b'"up-model"')


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_every_form_of_prompt(both, prompt):
    gateway, fake = both
    assert gateway.post("/v1/completions", {"model": "m", "prompt": prompt}).status == 200
    assert fake.last.json()["prompt"] == prompt


def test_streamed_completion_with_withheld_usage(both):
    gateway, fake = both
    answer = gateway.post("/v1/completions", {"model": "m", "prompt": "a", "stream": True})
    assert answer.status == 200
    assert fake.last.json()["stream_options"] == {"include_usage": True}
    found = events(answer.body)
    assert [e["choices"][0]["text"] for e in found[:-1]] == ["Hel", "lo"]
    assert found[-1] == "[DONE]"


def test_streamed_completion_with_usage(both):
    gateway, _ = both
    answer = gateway.post(
        "/v1/completions",
        {"model": "m", "prompt": "a", "stream": True, "stream_options": {"include_usage": True}},
    )
    found = events(answer.body)
    assert found[-2]["usage"] == up.USAGE
    assert found[-1] == "[DONE]"


def test_streamed_completion_that_is_cut(fake, gateway):
    gate = up.Gate()
    piece = up.event({"choices": [{"index": 0, "text": "x", "finish_reason": None}]})
    fake.then(up.script(piece, gate, "fin"))
    with gateway.connect() as connection:
        gateway.open_chat(connection, path="/v1/completions", prompt="a")
        answer = connection.read_head()
        assert connection.read_events(answer, 1) == piece
        gate.open()
        rest, _ = connection.read_cut(answer)
    assert events(rest)[-1]["error"]["code"] == "stream_incomplete"
    assert b"[DONE]" not in rest


@pytest.mark.parametrize("value", ["a", ["a", "b"], [1, 2], [[1], [2]]])
def test_embeddings_of_every_form(both, value):
    gateway, fake = both
    answer = gateway.post("/v1/embeddings", {"model": "m", "input": value})
    assert answer.status == 200
    assert answer.json()["data"][0]["embedding"] == [0.25, -1.5, 3.0]
    assert fake.last.path == "/v1/embeddings"
    assert fake.last.json() == {"model": "up-model", "input": value}


def test_embeddings_pass_byte_for_byte(both):
    gateway, fake = both
    body = b'{ "input" : "a", "model":"m", "encoding_format":"base64","dimensions":3 , "x":1e0}'
    reply = b'{"data":[{"embedding":"AACAPgAAwL8AAEBA","index":0,"object":"embedding"}],"object":"list" ,"usage":{"prompt_tokens":1,"total_tokens":1}}'
    fake.then(up.whole(reply))
    answer = gateway.post("/v1/embeddings", body, JSON)
    assert answer.body == reply
    assert fake.last.body == body.replace(b'"m"', b'"up-model"')


def test_large_embedding_answers_pass(both):
    gateway, fake = both
    data = [{"object": "embedding", "index": i, "embedding": [i + 0.5] * 1536} for i in range(256)]
    reply = json.dumps(
        {"object": "list", "data": data, "usage": {"prompt_tokens": 256, "total_tokens": 256}}
    ).encode()
    assert len(reply) > 2 * 1024 * 1024
    fake.then(up.whole(reply))
    assert gateway.post("/v1/embeddings", {"model": "m", "input": ["a"] * 256}).body == reply


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_unknown_model(both, path):
    gateway, fake = both
    answer = gateway.post(path, {"model": "nope", "prompt": "a", "input": "a"})
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert fake.requests == []


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_upstream_errors_pass(fake, gateway, path, status):
    body = b'{"error":{"message":"theirs","type":"t","param":null,"code":"c"}}'
    fake.always(up.whole(body, status))
    answer = gateway.post(path, {"model": "m", "prompt": "a", "input": "a"})
    assert answer.status == status
    assert answer.body == body
