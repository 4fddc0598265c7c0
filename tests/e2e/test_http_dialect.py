# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP deployments, as Ray Serve has them: the configuration says where prompt and text stand."""

import json
import subprocess

import pytest

from support import fake as up
from support.gateway import binary, clean_environment, config, provider, yaml
from support.raw import events


def plain(fake, **more):
    url = f"http://{fake.host}:{fake.port}"
    return config(fake, providers={"up": provider(fake, dialect="http", base_url=url, **more)})


def line(value):
    return json.dumps(value).encode() + b"\n"


def content(event):
    """What a chunk says."""
    if not isinstance(event, dict) or not event.get("choices"):
        return ""
    return event["choices"][0]["delta"].get("content") or ""


def said(reply):
    found = events(reply.body)
    assert found[-1] == "[DONE]", found
    return "".join(content(event) for event in found)


def test_template_and_pointers(fake, start):
    gateway = start(
        plain(
            fake,
            path="/app/{model}",
            body_template='{"task":"generate","args":{"keep":[1,2]}}',
            request={"prompt": "/args/text", "max_tokens": "/args/limit", "model": "/model"},
            response={"text": "/result/0/out", "finish": "/result/0/why"},
        )
    )
    fake.then(up.whole({"result": [{"out": "so", "why": "length"}]}))
    reply = gateway.chat(max_tokens=4, user="u")
    assert reply.json()["choices"][0]["message"]["content"] == "so"
    assert reply.json()["choices"][0]["finish_reason"] == "length"
    assert reply.headers.get("x-penstock-dropped") == "user"
    assert fake.last.target == "/app/up-model"
    assert fake.last.json() == {
        "task": "generate",
        "args": {"keep": [1, 2], "text": "hi", "limit": 4},
        "model": "up-model",
    }


def test_messages(fake, start):
    gateway = start(plain(fake, request={"messages": "/messages"}))
    fake.then(up.whole(b"just text", content_type="text/plain"))
    reply = gateway.post("/generate", {"prompt": "a", "system": "s"})
    assert reply.json()["text"] == "just text"
    assert fake.last.json() == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    }


@pytest.mark.parametrize(
    "mode, content_type, pieces",
    [
        ("ndjson", "application/x-ndjson", [line({"text": "Hel"}), line({"text": "lo"})]),
        ("sse", "text/event-stream", [b'data: {"text":"Hel"}\n\n', b'data: {"text":"lo"}\n\n']),
        ("raw", "text/plain", [b"Hel", b"lo"]),
        ("none", "application/json", [b'{"text":"Hello"}']),
    ],
)
def test_streams(fake, start, mode, content_type, pieces):
    gateway = start(plain(fake, stream_mode=mode, stream_path="/stream", request={"stream": "/stream"}))
    fake.then(up.script(*pieces, "finish", content_type=content_type))
    assert said(gateway.chat(stream=True)) == "Hello"
    assert fake.last.target == ("/" if mode == "none" else "/stream")
    assert fake.last.json()["stream"] is (mode != "none")


def test_pieces_come_as_they_are_said(fake, start):
    gateway = start(plain(fake, stream_mode="raw"))
    gate = up.Gate()
    euro = "€".encode()
    fake.then(up.script(euro[:2], euro[2:], gate, b"!", "finish", content_type="text/plain"))
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "a"}]}
    with gateway.connect() as connection:
        connection.request(
            "POST", "/v1/chat/completions", [("Content-Type", "application/json")], json.dumps(body).encode()
        )
        head = connection.read_head()
        first = b""
        while "€" not in "".join(content(event) for event in events(first)):
            first += connection.read_piece(head)
        assert not gate.is_open
        gate.open()
        while b"[DONE]" not in first:
            first += connection.read_piece(head)
    assert "".join(content(event) for event in events(first)) == "€!"


def test_embeddings(fake, start):
    gateway = start(plain(fake, request={"prompt": "/texts"}, response={"vector": "/vectors"}))
    fake.then(up.whole({"vectors": [[1, 2], [3, 4]]}))
    reply = gateway.post("/v1/embeddings", {"model": "m", "input": ["a", "b"]})
    assert [item["embedding"] for item in reply.json()["data"]] == [[1, 2], [3, 4]]
    assert fake.last.json() == {"texts": ["a", "b"]}


def test_errors(fake, start):
    gateway = start(plain(fake, response={"error": "/problem"}))
    fake.then(up.whole({"detail": "field required"}, 422))
    assert gateway.chat().status == 400
    fake.then(up.whole({"problem": "no model here"}))
    reply = gateway.chat()
    assert reply.status >= 500
    assert "no model here" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "dialect, settings, key",
    [
        ("http", {"stream_mode": "long"}, "stream_mode"),
        ("http", {"request": {"prompt": "text"}}, "request.prompt"),
        ("http", {"response": {"text": "/a/~2"}}, "response.text"),
        ("http", {"body_template": "[1]"}, "body_template"),
        ("http", {"path": "run"}, "path"),
        ("triton", {"shape": "onnx"}, "shape"),
        ("azure", {"api_version": "2024&x=1"}, "api_version"),
    ],
)
def test_settings_are_checked(tmp_path, dialect, settings, key):
    file = tmp_path / "penstock.yaml"
    entry = {"dialect": dialect, "base_url": "http://127.0.0.1:1", **settings}
    file.write_text(yaml({"listen": [{"address": "127.0.0.1:0"}], "providers": {"up": entry}}))
    command = [binary(), "check", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.returncode != 0
    assert "penstock.yaml:" in done.stderr and f"providers.up.{key}: expected" in done.stderr, done.stderr
