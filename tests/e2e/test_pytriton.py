# SPDX-License-Identifier: Apache-2.0
# ctest-labels: servers
# ctest-timeout: 300
"""A real Triton behind the gateway, from the wheel of its Python wrapper: generate, generate_stream and
infer, with models (servers/triton_models.py) that repeat the prompt."""

import subprocess

import anthropic
import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from support.gateway import Gateway
from support.servers import Server, needs_venv, python_of

# Its backend for Python is a program that is linked to the shared library of the interpreter.
LIBPYTHON = "import ctypes, sys; ctypes.CDLL('libpython%d.%d.so.1.0' % sys.version_info[:2])"


def has_libpython():
    try:
        command = [python_of("triton-venv"), "-c", LIBPYTHON]
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


pytestmark = [
    needs_venv("triton-venv"),
    pytest.mark.skipif(not has_libpython(), reason="there is no shared libpython of build/triton-venv's version"),
]


@pytest.fixture(scope="module")
def gateway():
    with Server("triton-venv", "triton_models.py", ports=3) as server:
        triton = {"dialect": "triton", "base_url": server.url, "list_models": False}
        settings = {
            "listen": [{"address": "127.0.0.1:0"}],
            "default_model": "triton/say",
            "providers": {"triton": triton, "tensors": {**triton, "shape": "tensor-batch"}},
        }
        with Gateway(settings) as gateway:
            yield gateway


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def ask(client, model, text="hello to you", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


# What goes there is the prompt as text; the models repeat it, whatever a chat looks like in it.


def test_generate(client):
    answer = ask(client, "triton/say", temperature=0.5, max_tokens=50, stop=["x"])
    assert "hello to you" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    text = 'über "quotes" \\ and\nlines, 語'
    answer = client.completions.create(model="triton/say", prompt=text)
    assert answer.choices[0].text == text


def test_generate_stream(client):
    chunks = list(client.completions.create(model="triton/words", prompt="hello to you", stream=True))
    texts = [chunk.choices[0].text for chunk in chunks if chunk.choices and chunk.choices[0].text]
    assert texts == ["hello ", "to ", "you "]
    assert chunks[-1].choices[0].finish_reason == "stop"
    chunks = [chunk for chunk in ask(client, "triton/words", stream=True) if chunk.choices]
    assert "hello to you " in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_other_doors(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        messages = [{"role": "user", "content": "hello to you"}]
        answer = client.messages.create(model="triton/say", max_tokens=50, messages=messages)
        assert "hello to you" in answer.content[0].text and answer.stop_reason == "end_turn"
    answer = subprocess.run(
        ["curl", "-sSN", f"{gateway.url}/generate", "-H", "Accept: text/plain", "-d", "hello to you"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert b"hello to you" in answer.stdout


def test_infer_of_a_model_that_knows_only_tensors(client):
    answer = client.completions.create(model="tensors/say", prompt="hello to you")
    assert answer.choices[0].text == "hello to you"


def test_embeddings(client):
    answer = client.embeddings.create(model="tensors/embed", input=["hello", "you", "ü"], encoding_format="float")
    assert [item.embedding for item in answer.data] == [[5, 52, -1.5], [3, 60.5, -1.5], [2, 97.5, -1.5]]
    one = client.embeddings.create(model="tensors/embed", input="hello")  # as base64
    assert one.data[0].embedding == [5, 52, -1.5]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_there(client, stream):
    with pytest.raises(NotFoundError) as caught:
        ask(client, "triton/nobody", stream=stream)
    assert "nobody" in caught.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_falls_over(client, stream):
    """Triton says 400 to that, with a traceback; in a stream as an event."""
    with pytest.raises(BadRequestError) as caught:
        ask(client, "triton/broken", stream=stream)
    assert "Failed to process the request(s) for model 'broken" in caught.value.message
    assert ask(client, "triton/say").choices
