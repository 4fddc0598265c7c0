# SPDX-License-Identifier: Apache-2.0
"""Anthropic's API byte by byte: what passes between its clients and a provider that speaks it, and
OpenAI's clients at such a provider with their own SDK."""

import json

import openai
import pytest
from openai import OpenAI
from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config
from support.local import SKY, Holder, local, needs_llama, nothing_left

USER = [{"role": "user", "content": "hi"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": claude.TOOL["input_schema"],
        },
    }
]


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake, Gateway(claude.anthropic_config(fake)) as gateway:
        yield fake, gateway


@pytest.fixture
def pair(servers):
    fake, gateway = servers
    fake.forget()
    fake.always(claude.answer)
    return fake, gateway


@pytest.fixture
def client(pair):
    fake, gateway = pair
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        yield client


# Byte for byte


ODD = (
    b'{ "messages" : [ {"role":"user","content":"K\\u00f6ln \xc3\xb6"} ],\n "model":"m", "x_new":1e400,'
    b'\t"max_tokens":5, "stream":%s, "n":12345678901234567890 }'
)


@pytest.mark.parametrize("stream", [False, True])
def test_requests_and_answers_keep_their_bytes(pair, stream):
    fake, gateway = pair
    whole = json.dumps(claude.message("Hello", **claude.NEWS), indent=1).encode() + b"\n"
    pieces = [
        claude.start(),
        claude.PING,
        claude.event("a_new_event", **claude.NEWS),
        claude.block(0, "a_new_block", {"type": "a_new_delta"}, x=1),
        claude.text(1, "Hel", "lo"),
        claude.PING,
        claude.end(),
    ]
    fake.then(up.script(*pieces, "finish") if stream else up.whole(whole))
    body = ODD % (b"true" if stream else b"false")
    headers = [
        ("Content-Type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "one, two"),
        ("anthropic-new-thing", "x"),
        ("cookie", "secret"),
    ]
    answer = gateway.post("/v1/messages?beta=true", body, headers)
    assert answer.status == 200
    assert answer.body == (b"".join(pieces) if stream else whole)
    assert fake.last.body == body.replace(b'"m"', b'"up-model"')
    assert fake.last.target == "/v1/messages?beta=true"
    assert fake.last.headers.get("anthropic-beta") == "one, two"
    assert fake.last.headers.get("anthropic-new-thing") == "x"
    assert fake.last.headers.all("anthropic-version") == ["2023-06-01"]
    assert "cookie" not in fake.last.headers and "authorization" not in fake.last.headers
    line = gateway.line_of(answer)
    assert (line["input_tokens"], line["output_tokens"]) == (13, 2)


def test_a_version_is_added_where_there_is_none(pair):
    fake, gateway = pair
    answer = gateway.post("/v1/messages", {"model": "m", "max_tokens": 5, "messages": USER})
    assert answer.status == 200
    assert fake.last.headers.all("anthropic-version") == ["2023-06-01"]


def test_limits_come_down(pair):
    fake, gateway = pair
    headers = [
        ("anthropic-ratelimit-tokens-limit", "1000"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-23T10:00:00Z"),
        ("anthropic-organization-id", "org"),
        ("set-cookie", "a=b"),
        ("request-id", "req_theirs"),
    ]
    fake.then(up.whole(claude.message("Hello"), headers=headers))
    fields = {"model": "m", "max_tokens": 5, "messages": USER}
    answer = gateway.post("/v1/messages", fields)
    assert answer.headers.get("anthropic-ratelimit-tokens-limit") == "1000"
    assert answer.headers.get("anthropic-ratelimit-tokens-reset") == "2026-11-23T10:00:00Z"
    assert answer.headers.get("request-id") and "set-cookie" not in answer.headers
    fake.then(up.whole(claude.message("Hello"), headers=headers))
    assert gateway.chat().headers.get("x-ratelimit-limit-tokens") == "1000"


def test_an_error_before_the_answer_is_an_error(start):
    """A provider that says 200 and then reports an error."""
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        fake.always(up.script(claude.start(), claude.PING, claude.OVERLOADED, "finish"))
        answer = gateway.post("/v1/messages", {"model": "m", "max_tokens": 5, "messages": USER, "stream": True})
        assert answer.status in (503, 529)
        assert answer.json()["error"]["type"] == "overloaded_error"


def test_our_key_being_wrong_is_not_the_clients_fault(start):
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        fake.always(claude.error(401, "authentication_error", "invalid x-api-key"))
        answer = gateway.post("/v1/messages", {"model": "m", "max_tokens": 5, "messages": USER})
        assert answer.status == 502
        assert answer.json()["error"]["type"] == "api_error"
        assert "x-api-key" not in answer.json()["error"]["message"]


def test_usage_that_comes_early_begins_the_message(start):
    """As vLLM tells it with each chunk: message_start has the count of the prompt."""
    with up.Fake() as fake:
        gateway = start(config(fake))
        chunk = json.loads(up.ROLE[6:])
        chunk["usage"] = {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}
        last = [up.delta("Hello"), up.FINISH, up.USAGE_CHUNK, up.DONE, "finish"]
        fake.always(up.script(up.event(chunk), *last))
        answer = gateway.post("/v1/messages", {"model": "m", "max_tokens": 5, "messages": USER, "stream": True})
        first = answer.body.split(b"\n")[1].removeprefix(b"data: ")
        assert json.loads(first)["message"]["usage"]["input_tokens"] == 9


@needs_llama
@pytest.mark.parametrize("text", [SKY, SKY * 300, "<|im_start|>"])
def test_tokens_of_a_model_inside_are_counted(start, text):
    """What a message costs, template and all, also where the prompt would be refused, and
    while the only slot computes."""
    gateway = start(local(slots=1))
    body = {"model": "tiny", "system": "Be brief.", "messages": [{"role": "user", "content": text}]}
    count = gateway.post("/v1/messages/count_tokens", body)
    assert count.status == 200 and set(count.json()) == {"input_tokens"}
    answer = gateway.post("/v1/messages", {**body, "max_tokens": 1})
    if len(text) < 4000:
        assert answer.json()["usage"]["input_tokens"] == count.json()["input_tokens"]
    else:
        assert answer.status == 400 and count.json()["input_tokens"] > 1024
    with Holder(gateway):
        assert gateway.post("/v1/messages/count_tokens", body).json() == count.json()
    nothing_left(gateway)


@needs_llama
def test_what_a_model_inside_cannot_count_is_named(start):
    gateway = start(local())
    body = {"model": "tiny", "messages": USER, "tools": [claude.TOOL]}
    answer = gateway.post("/v1/messages/count_tokens", body)
    assert answer.status == 400 and "tools" in answer.json()["error"]["message"]


# OpenAI's clients


def ask(client, **more):
    return client.chat.completions.create(**{"model": "m", "messages": USER, **more})


def test_chat(pair, client):
    fake, _ = pair
    messages = [{"role": "system", "content": "Be brief."}, *USER]
    answer = ask(client, messages=messages, temperature=0.5, stop="END", max_completion_tokens=7)
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (13, 2, 15)
    assert answer.usage.prompt_tokens_details.cached_tokens == 4
    sent = fake.last.json()
    assert (sent["max_tokens"], sent["temperature"], sent["stop_sequences"]) == (7, 0.5, ["END"])
    assert "Be brief." in json.dumps(sent["system"])
    assert fake.last.headers.get("x-api-key") and fake.last.headers.get("anthropic-version")


def test_chat_stream(pair, client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 15
    assert all(c.usage is None for c in ask(client, stream=True))


def test_tools(pair, client):
    fake, _ = pair
    fake.then(up.whole(claude.message("Well.", claude.tool_use({"city": "Köln"}), stop="tool_use")))
    answer = ask(client, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    call = answer.choices[0].message.tool_calls[0]
    assert (call.id, call.function.name) == ("toolu_1", "weather")
    assert json.loads(call.function.arguments) == {"city": "Köln"}
    assert answer.choices[0].finish_reason == "tool_calls"
    sent = fake.last.json()
    assert sent["tools"] == [claude.TOOL]
    assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_streamed_tools(pair, client):
    fake, _ = pair
    calls = [claude.tool(i, '{"ci', 'ty":"Köln"}', block_id=f"toolu_{i}") for i in (1, 2)]
    fake.then(claude.stream(claude.text(0, "Well."), *calls, reason="tool_use"))
    with client.chat.completions.stream(model="m", messages=USER, tools=TOOLS) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    found = final.choices[0].message.tool_calls
    assert [call.id for call in found] == ["toolu_1", "toolu_2"]
    assert [json.loads(call.function.arguments) for call in found] == [{"city": "Köln"}] * 2
    assert final.choices[0].finish_reason == "tool_calls"


def test_results_of_tools_go_back(pair, client):
    fake, _ = pair
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}
    ask(
        client,
        tools=TOOLS,
        messages=[
            *USER,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
        ],
    )
    _, said, result = fake.last.json()["messages"]
    assert said["content"][0] == claude.tool_use({"city": "Köln"}, "call_1")
    assert result["role"] == "user" and result["content"][0]["tool_use_id"] == "call_1"
    assert "12 degrees" in json.dumps(result)


def test_structured_output(pair, client):
    fake, _ = pair
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
    fake.then(up.whole(claude.message('{"sure":true}')))
    form = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}
    answer = ask(client, response_format=form)
    assert json.loads(answer.choices[0].message.content) == {"sure": True}
    assert fake.last.json()["output_config"]["format"] == {"type": "json_schema", "schema": schema}


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(pair, client, stream):
    fake, _ = pair
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
    if stream:
        fake.then(claude.stream(claude.thinking(0, "Let me see."), claude.text(1, "Hello")))
        chunks = [c for c in ask(client, stream=True, reasoning_effort="low") if c.choices]
        deltas = [chunk.choices[0].delta for chunk in chunks]
        assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == "Let me see."
        assert "".join(d.content or "" for d in deltas) == "Hello"
    else:
        fake.then(up.whole(claude.message(thought, "Hello")))
        said = ask(client, reasoning_effort="low").choices[0].message
        assert (said.reasoning_content, said.content) == ("Let me see.", "Hello")
        assert said.thinking_blocks == [{**thought, "signature": "penstock.anthropic.s.c2lnbmVk"}]
    assert fake.last.json()["output_config"]["effort"] == "low"


@pytest.mark.parametrize("shown", [True, False])
def test_a_signature_alone_is_kept(pair, client, shown):
    """Thinking may be signed without being shown."""
    fake, _ = pair
    hidden = {"type": "thinking", "thinking": "", "signature": "c2lnbmVk"}
    fake.then(up.whole(claude.message(hidden, "Hello")) if shown else up.whole(claude.message(hidden)))
    said = ask(client).choices[0].message
    assert said.thinking_blocks == [{**hidden, "signature": "penstock.anthropic.s.c2lnbmVk"}]


@pytest.mark.parametrize(
    "status, kind, words, raised, code",
    [
        (400, "invalid_request_error", "prompt is too long: 9 > 8", openai.BadRequestError, "context_length_exceeded"),
        (404, "not_found_error", "model: claude-x", openai.NotFoundError, "model_not_found"),
        (429, "rate_limit_error", "Slow down.", openai.RateLimitError, "rate_limit_exceeded"),
        (400, "invalid_request_error", "Your credit balance is too low", openai.RateLimitError, "insufficient_quota"),
        (529, "overloaded_error", "Overloaded", openai.InternalServerError, "upstream_overloaded"),
        (401, "authentication_error", "no", openai.InternalServerError, "upstream_authentication_failed"),
    ],
)
def test_errors(start, status, kind, words, raised, code):
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        fake.always(claude.error(status, kind, words))
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(raised) as caught:
                ask(client)
        assert caught.value.code == code


def test_a_stream_that_breaks(start):
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        gate = up.Gate()
        fake.always(up.script(claude.start(), claude.text(0, "Hel"), gate, claude.OVERLOADED, "finish"))
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(openai.APIError):
                for chunk in ask(client, stream=True):
                    if chunk.choices[0].delta.content:
                        gate.open()
