# SPDX-License-Identifier: Apache-2.0
"""The official openai SDK against the model inside the gateway; only base_url is ours."""

import json
import math

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from support.gateway import Gateway
from support.local import (
    SKY,
    SKY_ANSWER,
    Holder,
    local,
    needs_llama,
    nothing_left,
    queued,
    until,
    user,
)

pytestmark = needs_llama


@pytest.fixture(scope="module")
def gateway():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


@pytest.fixture
def client(gateway):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        yield client


def ask(client, text=SKY, **more):
    fields = {"model": "tiny", "messages": user(text), "temperature": 0, **more}
    return client.chat.completions.create(**fields)


def test_chat(client):
    answer = ask(client)
    assert answer.choices[0].message.content == SKY_ANSWER
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "tiny"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_stream(client):
    chunks = list(ask(client, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == SKY_ANSWER
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in chunks)


def test_chat_stream_with_usage(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == ask(client).usage


def test_chat_stream_helper_assembles_the_answer(client):
    with client.chat.completions.stream(model="tiny", messages=user(SKY), temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == SKY_ANSWER
    assert final.choices[0].finish_reason == "stop"


def test_leaving_a_stream_early(gateway, client):
    with ask(client, "Tell me a story.", stream=True) as stream:
        next(iter(stream))
    nothing_left(gateway)


def test_seed_stop_and_length(client):
    first = ask(client, "Tell me a story.", seed=4, temperature=1, max_completion_tokens=10)
    again = ask(client, "Tell me a story.", seed=4, temperature=1, max_completion_tokens=10)
    assert first.choices[0].message.content == again.choices[0].message.content
    assert first.choices[0].finish_reason == "length"
    assert first.usage.completion_tokens == 10
    stopped = ask(client, stop=" is")
    assert stopped.choices[0].message.content == "The sky"
    assert stopped.choices[0].finish_reason == "stop"


def test_logprobs(client):
    answer = ask(client, logprobs=True, top_logprobs=3)
    entries = answer.choices[0].logprobs.content
    assert "".join(entry.token for entry in entries) == SKY_ANSWER
    assert all(len(entry.top_logprobs) == 3 and entry.logprob <= 0 for entry in entries)


def test_structured_output(client):
    schema = {
        "type": "object",
        "properties": {"color": {"type": "string", "enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
        "required": ["color", "sure"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "c", "strict": True, "schema": schema}}
    answer = ask(client, response_format=form)
    found = json.loads(answer.choices[0].message.content)
    assert found["color"] in ("red", "blue") and type(found["sure"]) is bool


def test_parse_with_a_pydantic_model(client):
    pydantic = pytest.importorskip("pydantic")

    class Answer(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=20)
        numbers: list[int] = pydantic.Field(min_length=1, max_length=2)
        maybe: bool | None

    answer = client.chat.completions.parse(
        model="tiny", messages=user(SKY), response_format=Answer, temperature=0
    )
    parsed = answer.choices[0].message.parsed
    assert len(parsed.name) <= 20 and 1 <= len(parsed.numbers) <= 2


def test_completions(client):
    answer = client.completions.create(model="tiny", prompt="Once upon a", max_tokens=6, temperature=0)
    assert answer.choices[0].text.startswith(" time")
    chunks = client.completions.create(
        model="tiny", prompt="Once upon a", max_tokens=6, temperature=0, stream=True
    )
    assert "".join(c.choices[0].text for c in chunks) == answer.choices[0].text


def test_embeddings(client):
    """The SDK asks for base64 by itself."""
    texts = [SKY, "What color is the sea?", "Count from one to four."]
    answer = client.embeddings.create(model="tiny", input=texts)
    sky, sea, count = (item.embedding for item in answer.data)
    near, far = (sum(a * b for a, b in zip(sky, other, strict=True)) for other in (sea, count))
    assert near > far and math.isclose(math.hypot(*sky), 1, abs_tol=1e-4)
    floats = client.embeddings.create(model="tiny", input=texts, encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(sky, rel=1e-6)
    assert answer.usage.prompt_tokens == floats.usage.prompt_tokens > 0


def test_models(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


# Errors


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_not_there_yet(client, stream):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, tools=tools, stream=stream)
    assert caught.value.code == "unsupported_operation"
    assert caught.value.param == "tools"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long(client, stream):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "word " * 3000, stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.type == "invalid_request_error"


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="nobody")
    assert caught.value.code == "model_not_found"


def test_a_bad_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, temperature=-3)
    assert caught.value.param == "temperature"


def test_a_full_queue(start):
    gateway = start(local(slots=1, queue=1))
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        with Holder(gateway), gateway.connect() as waiting:
            gateway.open_chat(waiting, model="tiny")
            until(lambda: queued(gateway) == 1, "one queued")
            with pytest.raises(openai.InternalServerError) as caught:
                ask(client)
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
        nothing_left(gateway)
        assert ask(client).choices[0].message.content == SKY_ANSWER


def test_many_at_once(gateway):
    import asyncio

    async def ask_all():
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:

            async def one(number):
                text = ""
                async for chunk in await client.chat.completions.create(
                    model="tiny", messages=user("Tell me a story."), seed=number, max_tokens=20, stream=True
                ):
                    text += chunk.choices[0].delta.content or ""
                return text

            return await asyncio.gather(*(one(number) for number in range(20)))

    answers = asyncio.run(ask_all())
    assert len(answers) == 20 and all(answers)
    nothing_left(gateway)
