# SPDX-License-Identifier: Apache-2.0
# ctest-labels: servers
# ctest-timeout: 300
"""Real Ray Serve behind the gateway: plain deployments by `dialect: http`, in every framing of a stream, and
one of OpenAI's shape by `dialect: ray`. The deployments (servers/ray_serve.py) repeat the prompt."""

import os
import subprocess
import time

import anthropic
import pytest
from openai import BadRequestError, OpenAI
from support.gateway import Gateway
from support.raw import PATIENCE
from support.servers import Server, needs_venv

pytestmark = needs_venv("ray-venv")

FRAMINGS = ["ndjson", "sse", "raw"]


def plain(server, path, text, **more):
    made = {
        "dialect": "http",
        "base_url": server.url,
        "path": path,
        "list_models": False,
        "request": {"prompt": "/prompt", "max_tokens": "/limit"},
        "response": {"text": text, "finish": "/reason"},
    }
    return {**made, **more}


@pytest.fixture(scope="module")
def server():
    with Server("ray-venv", "ray_serve.py") as server:
        yield server


@pytest.fixture(scope="module")
def hold(server):
    """A file that is there when a test wants held streams to go on."""
    return os.path.join(server.home.name, "hold")


@pytest.fixture(scope="module")
def gateway(server, hold):
    providers = {
        "say": plain(server, "/say", "/result/0/text"),
        "shaped": {"dialect": "ray", "base_url": f"{server.url}/v1"},
    }
    for framing in FRAMINGS:
        template = f'{{"framing":"{framing}"}}'
        held = f'{{"framing":"{framing}","hold":"{hold}"}}'
        more = {"stream_mode": framing}
        if framing == "raw":
            more["response"] = {"text": "/text"}
        providers[framing] = plain(server, "/stream", "/text", body_template=template, **more)
        providers[f"held-{framing}"] = plain(server, "/stream", "/text", body_template=held, **more)
    models = [{"name": name, "targets": [{"provider": name, "model": "any"}]} for name in providers if name != "shaped"]
    settings = {
        "listen": [{"address": "127.0.0.1:0"}],
        "default_model": "say",
        "providers": providers,
        "models": models,
    }
    with Gateway(settings) as gateway:
        yield gateway


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def ask(client, model, text="hello to you", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def until_there(path):
    end = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)


def test_a_whole_answer(client):
    answer = ask(client, "say")
    assert answer.choices[0].message.content == "hello to you"
    assert answer.choices[0].finish_reason == "stop"
    assert ask(client, "say", max_tokens=2).choices[0].message.content == "hello to"


def test_a_whole_answer_by_the_other_doors(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        messages = [{"role": "user", "content": "hello to you"}]
        answer = client.messages.create(model="say", max_tokens=50, messages=messages)
        assert answer.content[0].text == "hello to you" and answer.stop_reason == "end_turn"
    answer = subprocess.run(
        ["curl", "-sSN", f"{gateway.url}/generate", "-H", "Accept: text/plain", "-d", "hello to you"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert answer.stdout == b"hello to you"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_stream(client, framing):
    chunks = [chunk for chunk in ask(client, framing, stream=True) if chunk.choices]
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert "".join(texts) == "hello to you "
    if framing != "raw":
        assert texts == ["hello ", "to ", "you "]
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_piece_is_not_held_for_the_next(client, hold, framing):
    text = ""
    for chunk in ask(client, f"held-{framing}", stream=True):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if text == "hello " and not os.path.exists(hold):
            open(hold, "w").close()  # only now does the deployment go on
    os.unlink(hold)
    assert text == "hello to you "


def test_a_client_that_leaves_ends_the_deployment_s_work(client, hold):
    stream = ask(client, "held-ndjson", stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    until_there(hold)
    with open(hold) as file:
        assert file.read() == "left"
    os.unlink(hold)


def test_a_deployment_that_refuses(client):
    with pytest.raises(BadRequestError) as caught:
        ask(client, "say", "refuse this")
    assert "not that" in caught.value.message


def test_a_deployment_that_falls_over(gateway):
    answer = gateway.chat(model="say", messages=[{"role": "user", "content": "raise it"}])
    assert answer.status == 502, answer
    assert gateway.chat(model="say").status == 200


def test_a_deployment_of_openais_shape(gateway, client):
    answer = ask(client, "shaped/echo")
    assert answer.id == "chatcmpl-ray" and answer.choices[0].message.content == "hello to you"
    assert answer.usage.total_tokens == 6
    chunks = list(ask(client, "shaped/echo", stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "hello to you "
    assert chunks[-1].usage.total_tokens == 6
    gateway.wait_for(lambda: b"shaped/echo" in gateway.get("/v1/models").body)
