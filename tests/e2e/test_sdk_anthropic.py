# SPDX-License-Identifier: Apache-2.0
"""The official anthropic SDK with only base_url changed: against a provider of its own family, where
nothing may change, against one that speaks OpenAI's API, and against the model inside the gateway."""

import hashlib
import json

import anthropic
import pytest
from anthropic import Anthropic
from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left
from support.shared import shared

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
USER = [{"role": "user", "content": "hi"}]


own = shared(claude.anthropic_config)
other = shared(config)


def client_of(gateway, **more):
    settings = {"api_key": "client-key", "max_retries": 0, "timeout": 30, **more}
    return Anthropic(base_url=gateway.url, **settings)


@pytest.fixture
def same(own):
    fake, gateway = own
    fake.forget()
    fake.always(claude.answer)
    with client_of(gateway) as client:
        yield client, fake


@pytest.fixture
def translated(other):
    fake, gateway = other
    fake.forget()
    with client_of(gateway) as client:
        yield client, fake


def ask(client, **more):
    """Sampling is no argument of the SDK any more; the API still has it."""
    extra = {name: more.pop(name) for name in ("temperature", "top_k") if name in more}
    body = {**extra, **more.pop("extra_body", {})}
    fields = {"model": "m", "max_tokens": 50, "messages": USER, **more}
    return client.messages.create(**fields, extra_body=body)


# The same family


def test_message(same):
    client, fake = same
    answer = ask(client, system="Be brief.", temperature=0.5)
    assert answer.content[0].text == "Hello"
    assert answer.model == "up-model" and answer.stop_reason == "end_turn"
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (9, 4)
    assert answer._request_id
    assert fake.last.json() == {
        "model": "up-model",
        "max_tokens": 50,
        "messages": USER,
        "system": "Be brief.",
        "temperature": 0.5,
    }


def test_fields_nobody_knows_go_both_ways(same):
    client, fake = same
    fake.then(up.whole(claude.message("Hello", **claude.NEWS)))
    answer = ask(client, extra_body=claude.NEWS)
    assert answer.x_new == claude.NEWS["x_new"]
    assert fake.last.json()["x_new"] == claude.NEWS["x_new"]


def test_stream(same):
    client, fake = same
    with client.messages.stream(model="m", max_tokens=50, messages=USER) as stream:
        assert "".join(stream.text_stream) == "Hello"
        final = stream.get_final_message()
    assert final.stop_reason == "end_turn"
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 2)


def test_stream_of_tools_and_thinking(same):
    client, fake = same
    fake.then(claude.stream(claude.thinking(0, "Let me see."), claude.tool(1, '{"ci', 'ty":"Köln"}'), reason="tool_use"))
    with client.messages.stream(model="m", max_tokens=50, messages=USER, tools=[claude.TOOL]) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "tool_use"]
    assert final.content[0].signature == "c2lnbmVk"
    assert final.content[1].input == {"city": "Köln"}
    assert fake.last.json()["tools"] == [claude.TOOL]


def test_beta_headers_go_up(same):
    client, fake = same
    client.beta.messages.create(model="m", max_tokens=5, messages=USER, betas=["one-2026-01-01", "two-2026-01-01"])
    assert fake.last.headers.get("anthropic-beta") == "one-2026-01-01,two-2026-01-01"
    assert fake.last.headers.get("anthropic-version") == client.default_headers["anthropic-version"]
    assert fake.last.path == "/v1/messages"


def test_count_tokens(same):
    client, fake = same
    assert client.messages.count_tokens(model="m", messages=USER).input_tokens == 14
    assert fake.last.path == "/v1/messages/count_tokens"


def test_rate_limit(start):
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        headers = [("retry-after", "7"), ("anthropic-ratelimit-requests-remaining", "0")]
        fake.always(claude.error(429, "rate_limit_error", "Slow down.", headers))
        with client_of(gateway) as client, pytest.raises(anthropic.RateLimitError) as caught:
            ask(client)
        assert caught.value.response.headers["retry-after"] == "7"
        assert caught.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert caught.value.body["error"] == {"type": "rate_limit_error", "message": "Slow down."}


def test_an_overloaded_upstream(start):
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        fake.always(claude.error(529, "overloaded_error", "Overloaded"))
        with client_of(gateway) as client, pytest.raises(anthropic.APIStatusError) as caught:
            ask(client)
        assert caught.value.status_code == 529
        assert caught.value.body["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("how", ["error event", "cut"])
def test_a_stream_that_breaks(start, how):
    with up.Fake() as fake:
        gateway = start(claude.anthropic_config(fake))
        begun = claude.start() + claude.text(0, "Hel")
        ending = [claude.OVERLOADED, "finish"] if how == "error event" else ["rst"]
        gate = up.Gate()
        fake.always(up.script(begun, gate, *ending))
        seen = ""
        with client_of(gateway) as client, pytest.raises(anthropic.APIError) as caught:
            with client.messages.stream(model="m", max_tokens=50, messages=USER) as stream:
                for piece in stream.text_stream:
                    seen += piece
                    gate.open()
        assert seen == "Hel"
        kind = caught.value.body["error"]["type"]
        assert kind == ("overloaded_error" if how == "error event" else "api_error")


# The other family


def test_translated_message(translated):
    client, fake = translated
    answer = ask(client, system="Be brief.", stop_sequences=["END"], temperature=0.5)
    assert answer.content[0].text == "Hello"
    assert answer.stop_reason == "end_turn" and answer.id.startswith("msg_")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 2)
    sent = fake.last.json()
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *USER]
    assert sent["model"] == "up-model" and sent["stop"] == ["END"] and sent["temperature"] == 0.5
    assert 50 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_translated_stream(translated):
    client, fake = translated
    with client.messages.stream(model="m", max_tokens=50, messages=USER) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert final.content[0].text == "Hello"
    assert (final.usage.input_tokens, final.usage.output_tokens) == (9, 2)


def test_translated_tools(translated):
    client, fake = translated
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": text}}
        for i, text in enumerate(['{"city": "Köln"}', "{}"])
    ]
    body = up.chat_answer(None, finish="tool_calls")
    body["choices"][0]["message"]["tool_calls"] = calls
    fake.then(up.whole(body))
    answer = ask(client, tools=[claude.TOOL], tool_choice={"type": "any", "disable_parallel_tool_use": True})
    assert answer.stop_reason == "tool_use"
    assert [(b.id, b.name, b.input) for b in answer.content] == [
        ("call_0", "weather", {"city": "Köln"}),
        ("call_1", "weather", {}),
    ]
    sent = fake.last.json()
    assert sent["tools"][0]["function"]["parameters"] == claude.TOOL["input_schema"]
    assert sent["tool_choice"] == "required" and sent["parallel_tool_calls"] is False


def test_translated_streamed_tools(translated):
    client, fake = translated
    pieces = [up.delta("Well.", role="assistant")]
    for index in (0, 1):
        head = {"index": index, "id": f"call_{index}", "type": "function"}
        pieces.append(up.delta(tool_calls=[{**head, "function": {"name": "weather", "arguments": ""}}]))
        for part in ('{"ci', 'ty":"Köln"}'):
            pieces.append(up.delta(tool_calls=[{"index": index, "function": {"arguments": part}}]))
    fake.then(up.script(*pieces, up.delta(finish="tool_calls"), up.USAGE_CHUNK, up.DONE, "finish"))
    with client.messages.stream(model="m", max_tokens=50, messages=USER, tools=[claude.TOOL]) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["text", "tool_use", "tool_use"]
    assert [block.input for block in final.content[1:]] == [{"city": "Köln"}] * 2
    assert final.stop_reason == "tool_use" and final.usage.output_tokens == 2


def test_translated_results_of_tools_and_images(translated):
    client, fake = translated
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    far = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    ask(
        client,
        tools=[claude.TOOL],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Look."}, image, far]},
            {"role": "assistant", "content": [claude.tool_use({"city": "Köln"})]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12 degrees"},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
    )
    first, call, result, last = fake.last.json()["messages"]
    assert first["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
    assert first["content"][2]["image_url"]["url"] == "https://example.com/a.png"
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"city": "Köln"}
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "toolu_1", "12 degrees")
    assert last["role"] == "user" and "And now?" in json.dumps(last["content"])


def test_what_cannot_be_translated_is_named(translated):
    client, fake = translated
    answer = client.messages.with_raw_response.create(
        model="m", max_tokens=5, messages=USER, extra_body={"inference_geo": "eu"}
    )
    assert "inference_geo" in answer.headers["x-penstock-dropped"]
    assert "inference_geo" not in fake.last.json()


@pytest.mark.parametrize(
    "status, kind, code, ours, theirs",
    [
        (400, "invalid_request_error", "context_length_exceeded", 400, "invalid_request_error"),
        (429, "rate_limit_error", "rate_limit_exceeded", 429, "rate_limit_error"),
        (500, "server_error", None, 502, "api_error"),
        (401, "invalid_request_error", "invalid_api_key", 502, "api_error"),
        (404, "invalid_request_error", "model_not_found", 404, "not_found_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_translated_errors(start, status, kind, code, ours, theirs, stream):
    with up.Fake() as fake:
        gateway = start(config(fake))
        fake.always(up.error(status, "it went wrong", kind, code))
        with client_of(gateway) as client, pytest.raises(anthropic.APIStatusError) as caught:
            ask(client, stream=stream)
        assert caught.value.status_code == ours
        assert caught.value.body["type"] == "error"
        assert caught.value.body["error"]["type"] == theirs


def test_a_translated_stream_that_breaks(start):
    with up.Fake() as fake:
        gateway = start(config(fake))
        gate = up.Gate()
        fake.always(up.script(up.ROLE, up.delta("Hel"), gate, "rst"))
        with client_of(gateway) as client, pytest.raises(anthropic.APIError) as caught:
            for event in ask(client, stream=True):
                if event.type == "content_block_delta":
                    gate.open()
        assert caught.value.body["error"]["type"] == "api_error"


def test_leaving_a_translated_stream(translated):
    client, fake = translated
    fake.then(up.script(up.ROLE, up.delta("Hel"), "gone"))
    with ask(client, stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break
    fake.last.gone.wait()


def test_bad_requests(translated):
    client, fake = translated
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, max_tokens=-1)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in caught.value.body["error"]["message"]
    with pytest.raises(anthropic.NotFoundError):
        ask(client, model="nobody")
    with pytest.raises(anthropic.BadRequestError):
        client.messages.count_tokens(model="m", messages=USER)
    assert not fake.requests


# What does not depend on the provider


def test_models(translated):
    client, _ = translated
    models = client.models.list()
    assert [model.id for model in models] == ["m"]
    assert models.first_id == "m" and models.has_more is False
    assert client.models.retrieve("m").type == "model"


def test_both_ways_to_say_the_key(start):
    with up.Fake() as fake:
        fake.always(claude.answer)
        digest = hashlib.sha256(b"a-key-of-the-app").hexdigest()
        keys = [{"name": "app", "key_sha256": digest}]
        gateway = start(claude.anthropic_config(fake, auth={"keys": keys}))
        for how in ({"api_key": "a-key-of-the-app"}, {"api_key": None, "auth_token": "a-key-of-the-app"}):
            with client_of(gateway, **how) as client:
                assert ask(client).content[0].text == "Hello"
        for header in ("x-api-key", "authorization"):
            assert "a-key-of-the-app" not in fake.last.headers.get(header, "")
        with client_of(gateway) as client, pytest.raises(anthropic.AuthenticationError) as caught:
            ask(client)
        assert caught.value.body["error"]["type"] == "authentication_error"


# The model inside


@pytest.fixture(scope="module")
def inside():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


@needs_llama
def test_the_model_inside(inside):
    with client_of(inside) as client:
        fields = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": SKY}]}
        answer = ask(client, **fields)
        assert answer.content[0].text == SKY_ANSWER and answer.stop_reason == "end_turn"
        more = {"model": "tiny", "messages": fields["messages"], "extra_body": {"temperature": 0}}
        with client.messages.stream(max_tokens=50, **more) as stream:
            assert "".join(stream.text_stream) == SKY_ANSWER
            final = stream.get_final_message()
        assert final.usage == answer.usage and answer.usage.input_tokens > 0
        assert ask(client, **{**fields, "max_tokens": 1}).stop_reason == "max_tokens"
        with ask(client, **{**fields, "max_tokens": 500}, stream=True) as stream:
            next(iter(stream))
        with pytest.raises(anthropic.BadRequestError) as caught:
            ask(client, model="tiny", messages=[{"role": "user", "content": "word " * 3000}])
        assert caught.value.body["error"]["type"] == "invalid_request_error"
