# SPDX-License-Identifier: Apache-2.0
"""NVIDIA Triton behind our doors: the fake answers as its documentation says."""

import json

import pytest
from openai import OpenAI

from support import fake as up
from support.fake import event
from support.gateway import Gateway, config, provider
from support.probed import WithHealth
from support.raw import events
from support.triton_fake import generated

MODEL = "/v2/models/up-model"


@pytest.fixture
def fake():
    with WithHealth("/v2/health/ready") as fake:
        yield fake


def triton(fake, **more):
    """A configuration with the fake as Triton."""
    url = f"http://{fake.host}:{fake.port}"
    return config(fake, providers={"up": provider(fake, dialect="triton", base_url=url, **more)})


@pytest.fixture(scope="module")
def server():
    with WithHealth("/v2/health/ready") as fake, Gateway(triton(fake)) as gateway:
        yield gateway, fake


@pytest.fixture
def both(server):
    gateway, fake = server
    fake.forget()
    return gateway, fake


@pytest.fixture
def client(both):
    gateway, _ = both
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
        yield client


def test_chat(both, client):
    _, fake = both
    fake.then(
        up.whole(generated("Hi there", num_input_tokens=4, num_output_tokens=2, finish_reason="length"))
    )
    answer = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Why?"}], max_tokens=2, temperature=0.5, stop=["x"]
    )
    assert answer.choices[0].message.content == "Hi there"
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 2)
    sent = fake.last
    assert sent.target == f"{MODEL}/generate"
    body = sent.json()
    assert body["text_input"] == "Why?"
    assert body["stream"] is False
    assert body["exclude_input_in_output"] is True
    assert json.loads(body["sampling_parameters"]) == {"max_tokens": 2, "temperature": 0.5, "stop": ["x"]}


def test_stream(both, client):
    _, fake = both
    fake.then(
        up.script(
            event(generated("Hel", num_input_tokens=4, num_output_tokens=1)),
            event(generated("lo", num_input_tokens=4, num_output_tokens=2)),
            "finish",
        )
    )
    chunks = list(
        client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Why?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == "Hello"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens == 3
    assert fake.last.target == f"{MODEL}/generate_stream"
    assert fake.last.json()["stream"] is True


def test_generate_and_anthropic_doors(both):
    gateway, fake = both
    fake.then(up.whole(generated("a")), up.whole(generated("b")))
    assert gateway.post("/generate", {"prompt": "x"}).json()["text"] == "a"
    reply = gateway.post(
        "/v1/messages", {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    )
    assert reply.json()["content"][0]["text"] == "b"


def test_embeddings(both, client):
    _, fake = both
    tensor = {"name": "embedding", "datatype": "FP32", "shape": [2, 2], "data": [1.0, 2.5, -3.0, 4.0]}
    fake.then(up.whole({"model_name": "up-model", "model_version": "1", "outputs": [tensor]}))
    answer = client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert [item.embedding for item in answer.data] == [[1.0, 2.5], [-3.0, 4.0]]
    assert fake.last.target == f"{MODEL}/infer"
    assert fake.last.json()["inputs"] == [
        {"name": "text_input", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    ]


def test_what_it_cannot_do_is_refused(both):
    gateway, fake = both
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    reply = gateway.chat(tools=[tool])
    assert reply.status == 400
    assert reply.json()["error"]["param"] == "tools"
    assert not fake.requests


def test_what_it_does_not_take_is_named(both):
    gateway, fake = both
    fake.then(up.whole(generated("a")))
    reply = gateway.chat(user="u")
    assert reply.status == 200
    assert reply.headers.get("x-penstock-dropped") == "user"


@pytest.mark.parametrize("stream", [False, True])
def test_tensors_only(fake, start, stream):
    """A model that knows nothing but infer; a client may stream it all the same."""
    gateway = start(
        triton(fake, shape="tensor", request={"prompt": "IN", "max_tokens": "N"}, response={"text": "OUT"})
    )
    tensor = {"name": "OUT", "datatype": "BYTES", "shape": [1], "data": ["so"]}
    fake.then(up.whole({"outputs": [tensor]}))
    reply = gateway.chat(max_tokens=3, stream=stream)
    assert reply.status == 200
    if stream:
        found = events(reply.body)
        assert found[-1] == "[DONE]"
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in found[:-1]) == "so"
    else:
        assert reply.json()["choices"][0]["message"]["content"] == "so"
    assert [tensor["name"] for tensor in fake.last.json()["inputs"]] == ["IN", "N"]


def test_errors(fake, start):
    gateway = start(triton(fake))
    fake.then(up.whole({"error": "Request for unknown model: 'x' is not found"}, 404))
    reply = gateway.chat()
    assert reply.status == 404
    assert "unknown model" in reply.json()["error"]["message"]
    fake.then(up.whole({"error": "tensor is too long"}, 400))
    assert gateway.chat().status == 400


def test_a_refused_stream_keeps_its_words(fake, start):
    gateway = start(triton(fake))
    fake.then(up.whole(b'data: {"error": "tensor is too long"}\n\n', 400, "text/event-stream"))
    reply = gateway.chat({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]})
    assert reply.status == 400
    assert "tensor is too long" in reply.json()["error"]["message"]


def test_an_error_inside_a_stream(fake, start):
    gateway = start(triton(fake))
    fake.then(up.script(event(generated("a")), event({"error": "it broke"}), "finish"))
    found = gateway.cut_chat()
    assert "it broke" in found[-1]["error"]["message"]
    assert "[DONE]" not in found
    fake.then(up.script("finish"))
    assert gateway.chat(stream=True).status >= 500


def test_its_health_is_asked(fake, start):
    start(triton(fake))
    fake.asked.wait()
