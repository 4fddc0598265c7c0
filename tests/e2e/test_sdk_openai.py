# SPDX-License-Identifier: Apache-2.0
"""The official openai SDK with only base_url changed. Every test runs twice, against the fake upstream
itself and against Penstock in front of it: the SDK must not be able to tell them apart."""

import io
import json

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


@pytest.fixture(scope="module")
def servers():
    """Penstock and the fake. The alias has the upstream's own name, so that both take the same requests."""
    with up.Fake() as fake:
        settings = config(
            fake, default_model="up-model", models=[{"name": "up-model", "targets": [{"provider": "up"}]}]
        )
        with Gateway(settings) as gateway:
            yield fake, gateway


@pytest.fixture(params=["direct", "penstock"])
def through(request, servers):
    """(client, fake, kind)"""
    fake, gateway = servers
    fake.forget()
    url = fake.base_url if request.param == "direct" else f"{gateway.url}/v1"
    with OpenAI(base_url=url, api_key="client-key", max_retries=0, timeout=30) as client:
        yield client, fake, request.param


@pytest.fixture(params=["direct", "penstock"])
def failing(request):
    """The same with servers of its own, for tests that leave the upstream's health in a bad way."""
    with up.Fake() as fake:
        settings = config(
            fake, default_model="up-model", models=[{"name": "up-model", "targets": [{"provider": "up"}]}]
        )
        with Gateway(settings) as gateway:
            url = fake.base_url if request.param == "direct" else f"{gateway.url}/v1"
            with OpenAI(base_url=url, api_key="client-key", max_retries=0, timeout=30) as client:
                yield client, fake


def ask(client, **more):
    return client.chat.completions.create(
        model="up-model", messages=[{"role": "user", "content": "hi"}], **more
    )


def test_chat(through):
    client, fake, _ = through
    answer = ask(client, temperature=0.5, max_completion_tokens=5)
    assert answer.id == "chatcmpl-1"
    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 11
    sent = fake.last.json()
    assert sent == {
        "messages": [{"role": "user", "content": "hi"}],
        "model": "up-model",
        "temperature": 0.5,
        "max_completion_tokens": 5,
    }


def test_unknown_fields_of_answers_survive(through):
    client, fake, _ = through
    fake.then(up.whole(up.chat_answer(service_tier="default", x_new={"big": 12345678901234567890})))
    answer = ask(client)
    assert answer.service_tier == "default"
    assert answer.x_new == {"big": 12345678901234567890}


def test_chat_stream(through):
    client, fake, _ = through
    chunks = list(ask(client, stream=True))
    assert [c.choices[0].delta.content for c in chunks] == ["", "Hel", "lo", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in chunks)


def test_chat_stream_with_usage(through):
    client, fake, _ = through
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 11


def test_chat_stream_helper_assembles_the_answer(through):
    client, fake, _ = through
    with client.chat.completions.stream(
        model="up-model", messages=[{"role": "user", "content": "hi"}]
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "Hello"


def test_tools(through):
    client, fake, _ = through
    arguments = '{"city": "Köln \\"am Rhein\\""}'
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        ],
    }
    body = up.chat_answer()
    body["choices"][0].update(message=message, finish_reason="tool_calls")
    fake.then(up.whole(body))
    answer = ask(client, tools=TOOLS, tool_choice="auto")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": 'Köln "am Rhein"'}
    assert fake.last.json()["tools"] == TOOLS


def test_streamed_tools(through):
    client, fake, _ = through
    first = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    ]
    parts = ['{"ci', 'ty":"', "Köln", '"}']
    pieces = [up.delta(None, role="assistant", tool_calls=first)]
    pieces += [up.delta(tool_calls=[{"index": 0, "function": {"arguments": part}}]) for part in parts]
    fake.then(up.script(*pieces, up.delta(finish="tool_calls"), up.DONE, "finish"))
    found = ""
    for chunk in ask(client, stream=True, tools=TOOLS):
        for call in chunk.choices[0].delta.tool_calls or []:
            found += call.function.arguments or ""
    assert json.loads(found) == {"city": "Köln"}


def test_several_choices(through):
    client, fake, _ = through
    pieces = [
        up.delta("a", index=0),
        up.delta("b", index=1),
        up.delta(finish="stop", index=1),
        up.delta(finish="length", index=0),
        up.DONE,
    ]
    fake.then(up.script(*pieces, "finish"))
    chunks = list(ask(client, stream=True, n=2))
    assert [(c.choices[0].index, c.choices[0].delta.content, c.choices[0].finish_reason) for c in chunks] == [
        (0, "a", None),
        (1, "b", None),
        (1, None, "stop"),
        (0, None, "length"),
    ]


def test_completions(through):
    client, _, _ = through
    answer = client.completions.create(model="up-model", prompt="Once")
    assert answer.choices[0].text == "Hello"
    chunks = list(client.completions.create(model="up-model", prompt="Once", stream=True))
    assert "".join(c.choices[0].text for c in chunks) == "Hello"


def test_embeddings_as_base64_which_is_the_sdks_default(through):
    client, fake, _ = through
    answer = client.embeddings.create(model="up-model", input=["a", "b"])
    assert fake.last.json()["encoding_format"] == "base64"
    assert [item.embedding for item in answer.data] == [[0.25, -1.5, 3.0]] * 2
    assert answer.usage.prompt_tokens == 4


def test_embeddings_as_floats(through):
    client, _, _ = through
    answer = client.embeddings.create(model="up-model", input="a", encoding_format="float")
    assert answer.data[0].embedding == [0.25, -1.5, 3.0]


def test_models(through):
    client, _, _ = through
    names = [model.id for model in client.models.list()]
    assert "up-model" in names


def test_one_model():
    with up.Fake() as fake, Gateway(config(fake)) as gateway:
        client = OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0)
        assert client.models.retrieve("m").id == "m"
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("nope")
        assert caught.value.code == "model_not_found"


def test_moderations(through):
    client, fake, _ = through
    fake.then(
        up.whole(
            {
                "id": "modr-1",
                "model": "up-model",
                "results": [
                    {
                        "flagged": True,
                        "categories": {},
                        "category_scores": {},
                        "category_applied_input_types": {},
                    }
                ],
            }
        )
    )
    assert client.moderations.create(model="up-model", input="a").results[0].flagged is True


def test_speech_and_transcription(through):
    client, fake, _ = through
    fake.then(up.whole(b"\x00\xff" * 5000, content_type="audio/mpeg"))
    answer = client.audio.speech.create(model="up-model", voice="alloy", input="a")
    assert answer.read() == b"\x00\xff" * 5000
    fake.then(up.whole({"text": "hello"}))
    sound = io.BytesIO(b"RIFF" + bytes(range(256)) * 100)
    sound.name = "a.wav"
    assert client.audio.transcriptions.create(model="up-model", file=sound).text == "hello"
    assert bytes(range(256)) * 100 in fake.last.body
    assert b'name="model"' in fake.last.body


def test_raw_response_headers(through):
    client, fake, kind = through
    fake.then(
        up.whole(
            up.chat_answer(),
            headers=[("x-request-id", "req_upstream"), ("x-ratelimit-remaining-tokens", "99")],
        )
    )
    raw = client.chat.completions.with_raw_response.create(
        model="up-model", messages=[{"role": "user", "content": "hi"}]
    )
    assert raw.status_code == 200
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-ratelimit-remaining-tokens"] == "99"
    assert raw.request_id
    assert raw.parse().choices[0].message.content == "Hello"
    if kind == "penstock":
        assert raw.headers["x-penstock-upstream-id"] == "req_upstream"


def test_streaming_response(through):
    client, _, _ = through
    with client.chat.completions.with_streaming_response.create(
        model="up-model", messages=[{"role": "user", "content": "hi"}], stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_leaving_a_stream_early(through):
    client, fake, _ = through
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    stream = ask(client, stream=True)
    next(iter(stream))
    stream.close()
    fake.last.gone.wait()


# Errors


@pytest.mark.parametrize(
    "status, kind",
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_upstream(failing, status, kind, stream):
    client, fake = failing
    fake.always(up.error(status, "what they say", "their_type", "their_code"))
    with pytest.raises(kind) as caught:
        ask(client, stream=stream)
    error = caught.value
    assert error.status_code == status
    assert error.code == "their_code"
    assert error.type == "their_type"
    assert error.body["message"] == "what they say"


def test_an_error_inside_a_stream(failing):
    client, fake = failing
    gate = up.Gate()
    fake.then(
        up.script(
            up.ROLE,
            up.delta("a"),
            gate,
            up.event({"error": {"message": "fell over", "type": "server_error", "code": None}}),
        )
    )
    with pytest.raises(openai.APIError) as caught:
        for chunk in ask(client, stream=True):
            if chunk.choices[0].delta.content == "a":
                gate.open()
    assert "fell over" in caught.value.message


def test_a_cut_stream_raises(failing):
    """Direct it is a broken connection; through Penstock an error event. Never a silent end."""
    client, fake = failing
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, "fin"))
    with pytest.raises((openai.APIError, Exception)) as caught:
        for chunk in ask(client, stream=True):
            if chunk.choices[0].delta.content == "a":
                gate.open()
    assert not isinstance(caught.value, AssertionError)


def test_retries_are_made_by_retry_after_ms(failing):
    client, fake = failing
    fake.then(
        up.error(429, headers=[("retry-after-ms", "20")]), up.error(503, headers=[("retry-after-ms", "20")])
    )
    answer = ask(client.with_options(max_retries=2))
    assert answer.choices[0].message.content == "Hello"
    assert len(fake.requests) == 3


def test_no_retry_when_the_upstream_says_so(failing):
    client, fake = failing
    fake.always(up.error(429, headers=[("x-should-retry", "false")]))
    with pytest.raises(openai.RateLimitError):
        ask(client.with_options(max_retries=5))
    assert len(fake.requests) == 1


# Penstock's own errors as the SDK sees them


def test_errors_of_penstock():
    settings = {"auth": {"keys": [{"name": "a", "key_file": "key"}]}, "limits": {"body_bytes": "64KiB"}}
    with up.Fake() as fake, Gateway(config(fake, **settings), files={"key": "sesame"}) as gateway:
        url = f"{gateway.url}/v1"
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(OpenAI(base_url=url, api_key="wrong", max_retries=0))
        assert caught.value.code == "invalid_api_key"
        client = OpenAI(base_url=url, api_key="sesame", max_retries=0)
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client)
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert caught.value.request_id
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="m", messages="hi")
        assert caught.value.param == "messages"
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * 100_000}])
        assert caught.value.status_code == 413
        with pytest.raises(openai.PermissionDeniedError):
            client.with_options(default_headers={"Origin": "https://evil.example"}).models.list()
        assert fake.requests == []
        assert (
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}]).id
            == "chatcmpl-1"
        )


def test_the_async_client_with_many_at_once():
    import asyncio

    with up.Fake() as fake, Gateway(config(fake)) as gateway:

        async def one(client, number):
            text = ""
            stream = await client.chat.completions.create(
                model="m", stream=True, messages=[{"role": "user", "content": str(number)}]
            )
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            return text

        async def all_of_them():
            async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0) as client:
                return await asyncio.gather(*(one(client, number) for number in range(50)))

        def echo(exchange):
            up.stream("<", exchange.request.json()["messages"][0]["content"], ">")(exchange)

        fake.always(echo)
        assert asyncio.run(all_of_them()) == [f"<{number}>" for number in range(50)]
