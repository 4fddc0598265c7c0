# SPDX-License-Identifier: Apache-2.0
"""The official openai SDK at a provider that speaks Gemini: what it asks, what the provider is asked, and
what it is told. The provider is a fake made after the API's description."""

import json

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import UPSTREAM_KEY, Gateway, config, provider
from support.gemini_fake import USAGE, answer, refusal, stream

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
USER = {"role": "user", "content": "hi"}
HI = {"role": "user", "parts": [{"text": "hi"}]}


def settings(fake, **more):
    gemini = provider(fake, dialect="gemini", base_url=f"http://{fake.host}:{fake.port}")
    return config(
        fake,
        providers={"up": gemini},
        models=[{"name": "m", "targets": [{"provider": "up", "model": "gemini-2.5-flash"}]}],
        **more,
    )


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        with Gateway(settings(fake)) as gateway:
            yield fake, gateway


@pytest.fixture
def both(servers):
    """(client, fake)"""
    fake, gateway = servers
    fake.forget()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="client-key", max_retries=0, timeout=30) as client:
        yield client, fake


@pytest.fixture
def failing(start, fake):
    """The same with servers of its own, whose upstream may end in bad health."""
    gateway = start(settings(fake))
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="client-key", max_retries=0, timeout=30) as client:
        yield client, fake


def ask(client, **more):
    return client.chat.completions.create(**{"model": "m", "messages": [USER], **more})


def test_chat(both):
    client, fake = both
    fake.then(up.whole(answer({"text": "Hel"}, {"text": "lo"}, usageMetadata=USAGE)))
    system = {"role": "system", "content": "be brief"}
    found = ask(client, messages=[system, USER], temperature=0.5, max_completion_tokens=5, stop=["x"], seed=7)
    assert found.choices[0].message.content == "Hello"
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.prompt_tokens == 9
    assert found.usage.completion_tokens == 5
    assert found.usage.total_tokens == 14
    assert found.usage.prompt_tokens_details.cached_tokens == 4
    assert found.usage.completion_tokens_details.reasoning_tokens == 3
    asked = fake.last
    assert asked.target == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert asked.headers.get("x-goog-api-key") == UPSTREAM_KEY
    assert "authorization" not in asked.headers
    assert asked.json() == {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [HI],
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 5, "stopSequences": ["x"], "seed": 7},
    }


def test_what_is_left_out_is_named(both):
    client, fake = both
    fake.then(up.whole(answer({"text": "a"})))
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=[USER], user="u", logit_bias={"1": 2}
    )
    assert raw.headers["x-penstock-dropped"] == "logit_bias, user"


def test_stream(both):
    client, fake = both
    early = {"promptTokenCount": 9, "totalTokenCount": 9}
    fake.then(
        stream(
            answer({"text": "Hel"}, finish=None, usageMetadata=early),
            answer({"text": "lo"}, usageMetadata=USAGE),
        )
    )
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 14
    assert fake.last.target == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"


def test_thoughts_are_shown_apart(both):
    client, fake = both
    fake.then(up.whole(answer({"text": "hm", "thought": True}, {"text": "Hi"})))
    found = ask(client, reasoning_effort="low")
    assert found.choices[0].message.content == "Hi"
    assert found.choices[0].message.reasoning_content == "hm"
    assert fake.last.json()["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 1024}}


def test_tools_there_and_back(both):
    client, fake = both
    call = {"functionCall": {"name": "weather", "args": {"city": "Köln"}}, "thoughtSignature": "c2ln"}
    fake.then(up.whole(answer(call)))
    found = ask(client, tools=TOOLS, tool_choice="required")
    assert found.choices[0].finish_reason == "tool_calls"
    message = found.choices[0].message
    assert message.tool_calls[0].function.name == "weather"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Köln"}
    name = message.tool_calls[0].id
    assert name
    sent = fake.last.json()
    declared = {"name": "weather", "parametersJsonSchema": PARAMETERS}
    assert sent["tools"] == [{"functionDeclarations": [declared]}]
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}

    fake.then(up.whole(answer({"text": "Rain."})))
    result = {"role": "tool", "tool_call_id": name, "content": "rain"}
    ask(client, tools=TOOLS, messages=[USER, message.to_dict(), result])
    assert fake.last.json()["contents"] == [
        HI,
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": name, "name": "weather", "args": {"city": "Köln"}},
                    "thoughtSignature": "c2ln",
                }
            ],
        },
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": name, "name": "weather", "response": {"output": "rain"}}}],
        },
    ]


def test_streamed_tools(both):
    client, fake = both
    calls = [{"functionCall": {"id": f"c{i}", "name": "weather", "args": {"n": i}}} for i in range(2)]
    fake.then(stream(answer(calls[0], finish=None), answer(calls[1])))
    found = {}
    finish = None
    for chunk in ask(client, tools=TOOLS, stream=True):
        finish = chunk.choices[0].finish_reason or finish
        for call in chunk.choices[0].delta.tool_calls or []:
            held = found.setdefault(call.index, {"id": call.id, "arguments": ""})
            held["arguments"] += call.function.arguments or ""
    assert finish == "tool_calls"
    assert [found[i]["id"] for i in range(2)] == ["c0", "c1"]
    assert [json.loads(found[i]["arguments"]) for i in range(2)] == [{"n": 0}, {"n": 1}]


def test_structured_output(both):
    client, fake = both
    fake.then(up.whole(answer({"text": '{"city":"Bonn"}'})))
    schema = {"name": "place", "strict": True, "schema": PARAMETERS}
    found = ask(client, response_format={"type": "json_schema", "json_schema": schema})
    assert json.loads(found.choices[0].message.content) == {"city": "Bonn"}
    assert fake.last.json()["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": PARAMETERS,
    }


@pytest.mark.parametrize("streams", [False, True])
def test_a_refused_prompt_is_filtered(both, streams):
    client, fake = both
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    fake.then(stream(blocked) if streams else up.whole(blocked))
    if streams:
        finish = [c.choices[0].finish_reason for c in ask(client, stream=True) if c.choices][-1]
    else:
        finish = ask(client).choices[0].finish_reason
    assert finish == "content_filter"


def test_embeddings(both):
    client, fake = both
    fake.then(up.whole({"embeddings": [{"values": [0.5, -0.25]}, {"values": [1, 0]}]}))
    found = client.embeddings.create(model="m", input=["a", "b"])
    assert [item.embedding for item in found.data] == [[0.5, -0.25], [1, 0]]
    assert fake.last.target == "/v1beta/models/gemini-2.5-flash:batchEmbedContents"

    fake.then(up.whole({"embedding": {"values": [3, 4]}}))
    found = client.embeddings.create(model="m", input="a", dimensions=2)
    assert found.data[0].embedding == pytest.approx([0.6, 0.8])
    assert fake.last.json()["outputDimensionality"] == 2


def test_bad_requests_stay_bad_requests(both):
    client, fake = both
    fake.then(refusal(400, "INVALID_ARGUMENT", "topP is odd."))
    with pytest.raises(openai.BadRequestError) as problem:
        ask(client)
    assert problem.value.body["message"] == "topP is odd."

    message = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    fake.then(refusal(400, "INVALID_ARGUMENT", message))
    with pytest.raises(openai.BadRequestError) as problem:
        ask(client)
    assert problem.value.code == "context_length_exceeded"


def test_what_it_cannot_express_is_named(both):
    client, fake = both
    with pytest.raises(openai.BadRequestError) as problem:
        ask(client, n=9)
    assert problem.value.param == "n"
    assert not fake.requests


@pytest.mark.parametrize("status, word", [(401, "UNAUTHENTICATED"), (400, "INVALID_ARGUMENT")])
def test_our_key_is_our_problem(failing, status, word):
    client, fake = failing
    fake.always(refusal(status, word, f"API key not valid: {UPSTREAM_KEY}"))
    with pytest.raises(openai.InternalServerError) as problem:
        ask(client)
    assert problem.value.status_code == 502
    assert UPSTREAM_KEY not in str(problem.value.body)


def test_rate_limits(failing):
    client, fake = failing
    fake.always(refusal(429, "RESOURCE_EXHAUSTED", "Slow down."))
    with pytest.raises(openai.RateLimitError) as problem:
        ask(client)
    assert problem.value.code == "rate_limit_exceeded"


def test_a_quota_of_the_day(failing):
    client, fake = failing
    detail = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}
    fake.always(refusal(429, "RESOURCE_EXHAUSTED", "Enough.", detail))
    with pytest.raises(openai.RateLimitError) as problem:
        ask(client)
    assert problem.value.code == "insufficient_quota"


def test_overload(failing):
    client, fake = failing
    fake.always(refusal(503, "UNAVAILABLE", "The model is overloaded."))
    with pytest.raises(openai.InternalServerError) as problem:
        ask(client)
    assert problem.value.status_code == 503


def test_a_stream_without_its_end_is_an_error(failing):
    client, fake = failing
    fake.always(stream(answer({"text": "Hel"}, finish=None)))
    text = ""
    with pytest.raises(openai.APIError) as problem:
        for chunk in ask(client, stream=True):
            text += chunk.choices[0].delta.content or ""
    assert text == "Hel"
    assert problem.value.code == "stream_incomplete"


def test_an_error_inside_a_stream(failing):
    client, fake = failing
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    fake.always(stream(answer({"text": "Hel"}, finish=None), error))
    with pytest.raises(openai.APIError) as problem:
        list(ask(client, stream=True))
    assert problem.value.code == "upstream_overloaded"


def test_models(start, fake):
    made = settings(fake)
    made["providers"]["up"]["list_models"] = True
    fake.always(up.whole({"models": [{"name": "models/gemini-x"}]}))
    gateway = start(made)
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
        fake.wait_requests(1)
        assert fake.requests[0].target == "/v1beta/models?pageSize=1000"
        for _ in range(2000):  # the list comes by itself
            names = [model.id for model in client.models.list()]
            if "up/gemini-x" in names:
                break
        assert names == ["m", "up/gemini-x"]


def test_the_door_of_anthropic(both, servers):
    """Another family's door, with words of its own for thoughts, and the count of tokens."""
    client, fake = both
    _, gateway = servers
    thought = {"text": "hm", "thought": True}
    call = {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}}
    fake.then(up.whole(answer(thought, call, usageMetadata=USAGE)))
    body = {
        "model": "m",
        "max_tokens": 4000,
        "messages": [USER],
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    found = gateway.post("/v1/messages", body).json()
    assert [block["type"] for block in found["content"]] == ["thinking", "tool_use"]
    assert found["content"][0]["thinking"] == "hm"
    assert found["content"][1]["input"] == {"a": 1}
    assert found["stop_reason"] == "tool_use"
    assert found["usage"]["output_tokens"] == 5
    assert fake.last.json()["generationConfig"] == {
        "maxOutputTokens": 4000,
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000},
    }

    fake.then(up.whole({"totalTokens": 31}))
    count = gateway.post("/v1/messages/count_tokens", {"model": "m", "messages": [USER]})
    assert count.json() == {"input_tokens": 31}
    assert fake.last.target == "/v1beta/models/gemini-2.5-flash:countTokens"
    assert fake.last.json() == {
        "generateContentRequest": {"model": "models/gemini-2.5-flash", "contents": [HI]}
    }
