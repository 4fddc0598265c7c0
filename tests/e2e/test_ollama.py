# SPDX-License-Identifier: Apache-2.0
"""The official openai SDK on a model behind Ollama's own API: a fake that answers as that does."""

import json

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config
from support.ollama_fake import END, said, stream
from support.probed import Probed

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def through():
    with up.Fake() as fake:
        providers = {"up": {"dialect": "ollama", "base_url": fake.base_url.removesuffix("/v1"), "list_models": False}}
        models = [{"name": "m", "targets": [{"provider": "up", "model": "q"}]}]
        with Gateway(config(default_model="m", providers=providers, models=models)) as gateway:
            with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
                yield client, Probed(fake), gateway


def test_chat(through):
    client, fake, _ = through
    fake.then(up.whole(said("Hello", message={"thinking": "hm"}, **END)))
    answer = client.chat.completions.create(
        model="m", messages=HI, temperature=0.5, max_tokens=9, extra_body={"keep_alive": "5m"}
    )
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].message.reasoning_content == "hm"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 2, 7)
    assert fake.last.path == "/api/chat"
    assert fake.last.json() == {
        "model": "q",
        "messages": HI,
        "options": {"num_predict": 9, "temperature": 0.5},
        "stream": False,
        "keep_alive": "5m",
    }


def test_stream(through):
    client, fake, _ = through
    fake.then(stream(said("", message={"thinking": "hm"}), said("Hel"), said("lo"), said(**END)))
    chunks = list(
        client.chat.completions.create(model="m", messages=HI, stream=True, stream_options={"include_usage": True})
    )
    assert fake.last.json()["stream"] is True
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 7


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(through, streamed):
    client, fake, _ = through
    called = said(message={"tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Graz"}}}]})
    fake.then(stream(called, said(**END)) if streamed else up.whole({**called, **END}))
    answer = client.chat.completions.create(model="m", messages=HI, tools=[TOOL], stream=streamed)
    if streamed:
        calls = [call for chunk in answer for choice in chunk.choices for call in choice.delta.tool_calls or []]
        arguments = "".join(call.function.arguments or "" for call in calls)
    else:
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = answer.choices[0].message.tool_calls
        arguments = calls[0].function.arguments
    assert calls[0].id.startswith("call_")
    assert calls[0].function.name == "weather"
    assert json.loads(arguments) == {"city": "Graz"}
    assert fake.last.json()["tools"] == [TOOL]

    call = {"id": calls[0].id, "type": "function", "function": {"name": "weather", "arguments": arguments}}
    fake.then(up.whole(said("Sunny", **END)))
    history = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": calls[0].id, "content": "sun"},
    ]
    client.chat.completions.create(model="m", messages=history, tools=[TOOL])
    sent = fake.last.json()["messages"]
    assert sent[1]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Graz"}}
    assert sent[2] == {"role": "tool", "content": "sun", "tool_name": "weather", "tool_call_id": calls[0].id}


def test_image_and_schema(through):
    client, fake, _ = through
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    fake.then(up.whole(said('{"a":1}', **END)))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    answer = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": [{"type": "text", "text": "what"}, image]}],
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content) == {"a": 1}
    assert fake.last.json()["format"] == schema
    assert fake.last.json()["messages"] == [{"role": "user", "content": "what", "images": ["aGk="]}]


def test_embeddings(through):
    client, fake, _ = through
    fake.then(up.whole({"model": "q", "embeddings": [[0.5, -1.0], [2.0, 0.25]], "prompt_eval_count": 4}))
    answer = client.embeddings.create(model="m", input=["a", "b"])
    assert [item.embedding for item in answer.data] == [[0.5, -1.0], [2.0, 0.25]]
    assert answer.usage.prompt_tokens == 4
    assert fake.last.path == "/api/embed"
    assert fake.last.json() == {"model": "q", "input": ["a", "b"]}


def test_what_it_cannot_do(through):
    client, fake, _ = through
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=HI, tools=[TOOL], tool_choice="required")
    assert caught.value.param == "tool_choice"
    assert fake.requests == []


def test_dropped_fields_are_named(through):
    _, fake, gateway = through
    fake.then(up.whole(said("Hello", **END)))
    answer = gateway.chat(messages=HI, logit_bias={"1": 1}, user="u")
    assert answer.status == 200
    assert answer.headers.get("x-penstock-dropped") == "logit_bias, user"


def test_errors(through):
    client, fake, _ = through
    fake.then(up.whole({"error": 'model "q" not found, try pulling it first'}, 404))
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="m", messages=HI)
    assert caught.value.code == "model_not_found"
    fake.then(up.whole({"error": '"q" does not support tools'}, 400))
    with pytest.raises(openai.BadRequestError, match="does not support tools"):
        client.chat.completions.create(model="m", messages=HI, tools=[TOOL])


def test_error_amid_a_stream(through):
    client, fake, _ = through
    fake.then(stream(said("Hel"), {"error": "the runner has ended"}))
    texts = []
    with pytest.raises(openai.APIError, match="the runner has ended"):
        for chunk in client.chat.completions.create(model="m", messages=HI, stream=True):
            texts.append(chunk.choices[0].delta.content or "")
    assert "".join(texts) == "Hel"


def test_stream_that_is_cut(through):
    client, fake, _ = through
    fake.then(stream(said("Hel")))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="m", messages=HI, stream=True))


def test_models_and_health():
    """Its list of models is asked for by its own path, and its health by its front page."""

    def handle(exchange):
        if exchange.request.path == "/api/tags":
            exchange.whole({"models": [{"name": "q:latest", "model": "q:latest", "size": 1}]})
        else:
            exchange.whole(b"Ollama is running", content_type="text/plain")

    with up.Fake() as fake:
        fake.always(handle)
        providers = {"up": {"dialect": "ollama", "base_url": fake.base_url.removesuffix("/v1")}}
        with Gateway(config(providers=providers)) as gateway:
            fake.wait_for(lambda: any(r.path == "/api/tags" for r in fake.requests), "the list")
            gateway.wait_for(lambda: b"q:latest" in gateway.get("/v1/models").body, "the model")
