# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's text-generation-inference, its own API, behind our doors."""

import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config, provider
from support.probed import WithHealth
from support.raw import events
from support.tgi_fake import end, token


@pytest.fixture
def fake():
    with WithHealth("/health") as fake:
        yield fake


def tgi(fake, **more):
    """A configuration with the fake as TGI."""
    url = f"http://{fake.host}:{fake.port}"
    return config(fake, providers={"up": provider(fake, dialect="tgi", base_url=url, **more)})


@pytest.fixture(scope="module")
def server():
    with WithHealth("/health") as fake, Gateway(tgi(fake)) as gateway:
        yield gateway, fake


@pytest.fixture
def both(server):
    gateway, fake = server
    fake.forget()
    return gateway, fake


def test_whole(both):
    gateway, fake = both
    details = {"finish_reason": "length", "generated_tokens": 2, "prefill": [], "seed": None, "tokens": []}
    fake.then(up.whole({"generated_text": "Hi there", "details": details}))
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
        answer = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Why?"}], max_tokens=2, temperature=0
        )
    assert answer.choices[0].message.content == "Hi there"
    assert answer.choices[0].finish_reason == "length"
    assert fake.last.target == "/generate"
    assert fake.last.json() == {
        "inputs": "Why?",
        "parameters": {"max_new_tokens": 2, "do_sample": False, "details": True},
    }


def test_stream(both):
    gateway, fake = both
    fake.then(up.script(token("Hel"), token("lo"), end("Hello"), "finish"))
    found = events(gateway.chat(stream=True, stream_options={"include_usage": True}).body)
    assert found[-1] == "[DONE]"
    assert found[-2]["usage"]["prompt_tokens"] == 7
    said = [c["choices"][0] for c in found[:-1] if c["choices"]]
    assert "".join(c["delta"].get("content") or "" for c in said) == "Hello"
    assert said[-1]["finish_reason"] == "stop"
    assert fake.last.target == "/generate_stream"


def test_structured_output_is_a_grammar(both):
    gateway, fake = both
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    fake.then(up.whole({"generated_text": '{"a":1}'}))
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert gateway.chat(response_format=wanted).status == 200
    assert fake.last.json()["parameters"]["grammar"] == {"type": "json", "value": schema}


def test_errors(fake, start):
    gateway = start(tgi(fake))
    long = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9000"
    fake.then(up.whole({"error": long, "error_type": "validation"}, 422))
    reply = gateway.chat()
    assert reply.status == 400
    assert reply.json()["error"]["code"] == "context_length_exceeded"
    fake.then(up.script(token("a"), b'data:{"error":"gone","error_type":"generation"}\n\n', "finish"))
    found = gateway.cut_chat()
    assert "gone" in found[-1]["error"]["message"]


def test_a_stream_without_its_last_token_is_incomplete(fake, start):
    gateway = start(tgi(fake))
    fake.then(up.script(token("a"), "finish"))
    found = gateway.cut_chat()
    assert "error" in found[-1]
    assert "[DONE]" not in found


def test_its_health_is_asked(fake, start):
    start(tgi(fake))
    fake.asked.wait()
