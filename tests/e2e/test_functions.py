# SPDX-License-Identifier: Apache-2.0
"""Clients that still speak of functions, not of tools, with the official SDK: at a provider of another family,
which knows only tools, and at one that is asked byte for byte."""

import json

import openai
import pytest
from openai import OpenAI
from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config, provider

USER = {"role": "user", "content": "How is it in Rome?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTIONS = [{"name": "weather", "description": "Tells the weather.", "parameters": SCHEMA}]


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        base = f"http://{fake.host}:{fake.port}"
        providers = {
            "claude": provider(fake, dialect="anthropic", base_url=base),
            "plain": provider(fake, base_url=f"{base}/v1"),
        }
        models = [
            {"name": "c", "targets": [{"provider": "claude", "model": "claude-x"}]},
            {"name": "o", "targets": [{"provider": "plain", "model": "gpt-x"}]},
        ]
        with Gateway(config(fake, providers=providers, models=models, default_model="c")) as gateway:
            yield fake, gateway


@pytest.fixture
def both(servers):
    fake, gateway = servers
    fake.forget()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        yield client, fake


def ask(client, **more):
    return client.chat.completions.create(**{"model": "c", "messages": [USER], "functions": FUNCTIONS, **more})


@pytest.mark.parametrize("stream", [False, True])
def test_two_turns(both, stream):
    client, fake = both
    if stream:
        fake.then(claude.stream(claude.tool(0, '{"city":', '"Rome"}'), reason="tool_use"))
        choices = [chunk.choices[0] for chunk in ask(client, stream=True) if chunk.choices]
        pieces = [choice.delta.function_call for choice in choices if choice.delta.function_call]
        call = {"name": pieces[0].name, "arguments": "".join(piece.arguments for piece in pieces)}
        assert not any(choice.delta.tool_calls for choice in choices)
        assert choices[-1].finish_reason == "function_call"
    else:
        use = [claude.tool_use({"city": "Rome"}), claude.tool_use({"city": "Oslo"}, "toolu_2")]
        fake.then(up.whole(claude.message(*use, stop="tool_use")))
        choice = ask(client, function_call={"name": "weather"}).choices[0]
        assert choice.message.tool_calls is None
        assert choice.finish_reason == "function_call"
        call = choice.message.function_call.model_dump()
        assert fake.last.json()["tool_choice"] == {
            "type": "tool",
            "name": "weather",
            "disable_parallel_tool_use": True,
        }
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Rome"})
    asked = fake.last.json()
    assert asked["tools"] == [{"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA}]

    fake.then(up.whole(claude.message("Sunny.")))
    said = {"role": "assistant", "content": None, "function_call": call}
    result = {"role": "function", "name": "weather", "content": "sunny"}
    assert ask(client, messages=[USER, said, result]).choices[0].message.content == "Sunny."
    use, given = (turn["content"][0] for turn in fake.last.json()["messages"][1:])
    assert (use["type"], use["name"], use["input"]) == ("tool_use", "weather", {"city": "Rome"})
    assert given == {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"}


@pytest.mark.parametrize(
    "more, param",
    [
        ({"tools": [{"type": "function", "function": FUNCTIONS[0]}]}, "functions"),
        ({"function_call": {"name": "other"}}, "function_call.name"),
        ({"messages": [{"role": "function", "name": "weather", "content": "x"}]}, "messages[0].name"),
        ({"functions": openai.NOT_GIVEN, "function_call": "auto"}, "function_call"),
    ],
)
def test_mixes_are_refused(both, more, param):
    client, fake = both
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **more)
    assert caught.value.param == param
    assert not fake.requests


def test_relayed(both):
    client, fake = both
    said = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}
    whole = {"choices": [{"index": 0, "message": said, "finish_reason": "function_call"}]}
    fake.then(up.whole(whole))
    assert ask(client, model="o", function_call="auto").choices[0].finish_reason == "function_call"
    asked = fake.last.json()
    assert (asked["functions"], asked["function_call"]) == (FUNCTIONS, "auto")
    assert "tools" not in asked
