# SPDX-License-Identifier: Apache-2.0
"""Every answer, event and error of OpenAI's chat door has OpenAI's shape, whatever kind of provider
answers."""

import pytest
from support import anthropic_fake as claude
from support import fake as up
from support import shape
from support.gateway import Gateway, config
from support.local import SKY, embedded, has_llama, user
from support.raw import events

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = '{"city":"Köln"}'


def openai_says(what, stream):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": CALL}}
    if what == "error":
        return up.error(429, "Slow down.", "rate_limit_error", "rate_limit_exceeded")
    if what == "text":
        return up.answer
    if stream:
        pieces = [up.delta(None, role="assistant", tool_calls=[{"index": 0, **call}])]
        return up.script(*pieces, up.delta(finish="tool_calls"), up.USAGE_CHUNK, up.DONE, "finish")
    body = up.chat_answer(None, finish="tool_calls")
    body["choices"][0]["message"]["tool_calls"] = [call]
    return up.whole(body)


def anthropic_says(what, stream):
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
    if what == "error":
        return claude.error(429, "rate_limit_error", "Slow down.")
    if what == "text":
        blocks = [claude.thinking(0, "Let me see."), claude.text(1, "Hel", "lo")]
        return claude.stream(*blocks) if stream else up.whole(claude.message(thought, "Hello"))
    if stream:
        calls = [claude.tool(i, CALL, block_id=f"toolu_{i}") for i in (1, 2)]
        return claude.stream(claude.text(0, "Well."), *calls, reason="tool_use")
    calls = [claude.tool_use({"city": "Köln"}, f"toolu_{i}") for i in (1, 2)]
    return up.whole(claude.message("Well.", *calls, stop="tool_use"))


SAYS = {"openai": openai_says, "anthropic": anthropic_says}


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        providers = {kind: {**config(fake)["providers"]["up"], "dialect": kind} for kind in SAYS}
        if has_llama():
            providers["embedded"] = embedded(context=256)
        models = [{"name": kind, "targets": [{"provider": kind, "model": "up-model"}]} for kind in SAYS]
        with Gateway(config(fake, providers=providers, models=models, default_model="openai")) as gateway:
            yield fake, gateway


def chat(gateway, model, **more):
    return gateway.chat(model=model, **more)


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("what", ["text", "tools"])
@pytest.mark.parametrize("kind", SAYS)
def test_streams(servers, kind, what, usage):
    fake, gateway = servers
    fake.forget()
    fake.always(SAYS[kind](what, True))
    more = {"tools": TOOLS} if what == "tools" else {}
    if usage:
        more["stream_options"] = {"include_usage": True}
    answer = chat(gateway, kind, stream=True, **more)
    assert answer.headers.get("content-type").startswith("text/event-stream")
    shape.check_stream(events(answer.body), usage)


@pytest.mark.parametrize("what", ["text", "tools"])
@pytest.mark.parametrize("kind", SAYS)
def test_answers(servers, kind, what):
    fake, gateway = servers
    fake.forget()
    fake.always(SAYS[kind](what, False))
    answer = chat(gateway, kind, **({"tools": TOOLS} if what == "tools" else {}))
    assert answer.status == 200
    shape.check(answer.json(), shape.CHAT)
    assert answer.json()["choices"][0]["finish_reason"] == ("tool_calls" if what == "tools" else "stop")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", SAYS)
def test_errors(start, kind, stream):
    with up.Fake() as fake:
        providers = {"up": {**config(fake)["providers"]["up"], "dialect": kind}}
        gateway = start(config(fake, providers=providers))
        fake.always(SAYS[kind]("error", stream))
        for fields in ({}, {"temperature": -1}, {"model": "nobody"}, {"messages": 5}):
            answer = gateway.chat(stream=stream, **fields)
            assert answer.status in (400, 404, 429)
            shape.check(answer.json(), shape.ERROR)


@pytest.mark.skipif(not has_llama(), reason="built without llama.cpp")
def test_the_model_inside(servers):
    _, gateway = servers
    fields = {"messages": user(SKY), "logprobs": True, "top_logprobs": 2}
    answer = chat(gateway, "embedded/tiny", **fields)
    shape.check(answer.json(), shape.CHAT)
    shape.check_stream(events(chat(gateway, "embedded/tiny", stream=True, **fields).body), False)
    shape.check(chat(gateway, "embedded/tiny", tools=TOOLS).json(), shape.ERROR)


def test_models(servers):
    _, gateway = servers
    shape.check(gateway.get("/v1/models").json(), shape.MODELS)


@pytest.mark.parametrize(
    "value, kind",
    [
        ({}, shape.ERROR),
        ({"error": {"message": "x", "type": "y", "param": None}}, shape.ERROR),
        ({"error": {"message": "x", "type": "y", "param": 1, "code": None}}, shape.ERROR),
        ({"object": "list", "data": [{"id": 1}]}, shape.MODELS),
        ({**up.chat_answer(), "created": 1.5}, shape.CHAT),
        (up.chat_answer(finish="end_turn"), shape.CHAT),
        (up.chat_answer(text=5), shape.CHAT),
    ],
)
def test_the_check_itself_finds_mistakes(value, kind):
    shape.check(up.chat_answer(), shape.CHAT)
    with pytest.raises(AssertionError):
        shape.check(value, kind)
