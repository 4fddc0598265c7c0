# SPDX-License-Identifier: Apache-2.0
# ctest-labels: servers
# ctest-timeout: 300
"""A real OpenAI-compatible server behind the gateway: llama-cpp-python's, with the project's own model.

It runs in build/servers-venv (scripts/setup --servers); its answers are asked for directly and through the gateway,
and the openai SDK must not see a difference."""

import os
import socket
import subprocess
import time

import pytest
from openai import BadRequestError, OpenAI

from support.gateway import Gateway

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = os.path.join(ROOT, "build", "servers-venv", "bin", "python")
MODEL = os.path.join(ROOT, "models", "tiny-story.gguf")
SKY = [{"role": "user", "content": "What color is the sky?"}]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def server():
    port = free_port()
    command = [PYTHON, "-m", "llama_cpp.server", "--model", MODEL, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--n_ctx", "512", "--model_alias", "story", "--embedding", "false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < deadline, "the server did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def gateway(server):
    settings = {
        "listen": [{"address": "127.0.0.1:0"}],
        "default_model": "real/story",
        "providers": {"real": {"dialect": "openai", "base_url": server}},
    }
    with Gateway(settings) as gateway:
        yield gateway


@pytest.fixture(params=["directly", "through the gateway"])
def client(request, server, gateway):
    direct = request.param == "directly"
    client = OpenAI(base_url=server if direct else f"{gateway.url}/v1", api_key="any", max_retries=0)
    client.story = "story" if direct else "real/story"
    return client


def test_chat(client):
    answer = client.chat.completions.create(model=client.story, messages=SKY, temperature=0, max_tokens=20)
    assert answer.choices[0].message.content == "The sky is blue."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_streamed(client):
    chunks = list(
        client.chat.completions.create(
            model=client.story, messages=SKY, temperature=0, max_tokens=20, stream=True
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "The sky is blue."
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]


def test_completion(client):
    answer = client.completions.create(model=client.story, prompt="Once upon a time", max_tokens=8, temperature=0)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].text


def test_an_error_is_the_server_s_own(client):
    with pytest.raises(BadRequestError):
        client.chat.completions.create(model=client.story, messages=[{"role": "user", "content": "a " * 4000}])


def test_curl_streams_plain_text(gateway):
    answer = subprocess.run(
        ["curl", "-sSN", f"{gateway.url}/generate", "-H", "Accept: text/plain", "-d", SKY[0]["content"]],
        capture_output=True, timeout=60, check=True,
    )
    assert answer.stdout == b"The sky is blue."


def test_its_models_are_listed(gateway):
    gateway.wait_for(lambda: b"real/story" in gateway.get("/v1/models").body)


def test_a_client_that_leaves_lets_the_next_one_in(gateway):
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0)
    story = [{"role": "user", "content": "Tell me a story about an owl."}]
    stream = client.chat.completions.create(model="real/story", messages=story, stream=True)
    next(iter(stream))
    stream.close()
    answer = client.chat.completions.create(model="real/story", messages=SKY, temperature=0, max_tokens=20)
    assert answer.choices[0].message.content == "The sky is blue."
