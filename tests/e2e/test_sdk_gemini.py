# SPDX-License-Identifier: Apache-2.0
"""The official google-genai SDK with only base_url changed: against a provider of its own family, where
nothing may change, against those that speak OpenAI's and Anthropic's APIs, and against the model inside
the gateway."""

import base64
import hashlib
import json

import httpx
import pytest
from google import genai
from google.genai import errors, types
from support import anthropic_fake as claude
from support import fake as up
from support import gemini_fake as google
from support.gateway import UPSTREAM_KEY, Gateway, config
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left
from support.shared import asking, fresh, shared

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER = types.FunctionDeclaration(
    name="weather",
    description="Of a city.",
    parameters=types.Schema(
        type="OBJECT",
        properties={"city": types.Schema(type="STRING"), "days": types.Schema(type="INTEGER", nullable=True)},
        required=["city"],
    ),
)
TOOLS = [types.Tool(function_declarations=[WEATHER])]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "null"]}}}


def client_of(gateway, key="client-key", **more):
    options = types.HttpOptions(base_url=gateway.url, timeout=30_000, **more)
    return genai.Client(api_key=key, http_options=options, vertexai=False)


own = shared(google.gemini_config)
other = shared(config)
third = shared(claude.anthropic_config)
same = asking("own", client_of, google.converse)
translated = asking("other", client_of)
across = asking("third", client_of, claude.answer)


def ask(client, contents="hi", model="m", **more):
    return client.models.generate_content(model=model, contents=contents, config=settings(**more))


def ask_streamed(client, contents="hi", model="m", **more):
    return client.models.generate_content_stream(model=model, contents=contents, config=settings(**more))


def settings(**more):
    more.setdefault("automatic_function_calling", types.AutomaticFunctionCallingConfig(disable=True))
    return types.GenerateContentConfig(**more)


# The same family


def test_message(same):
    client, fake = same
    answer = ask(client, system_instruction="Be brief.", temperature=0.5, top_k=40)
    assert answer.text == "Hello" and answer.model_version == "gemini-x-001"
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.thoughts_token_count, usage.total_token_count) == (9, 3, 14)
    assert fake.last.path == "/v1beta/models/gemini-x:generateContent"
    assert fake.last.headers.get("x-goog-api-key") == UPSTREAM_KEY
    sent = fake.last.json()
    assert sent["contents"] == [{"parts": [{"text": "hi"}], "role": "user"}]
    assert sent["generationConfig"] == {"temperature": 0.5, "topK": 40.0}


def test_bytes_pass_as_they_are(own):
    fake, gateway = own
    fake.forget()
    said = b'{ "candidates":[{"content":{"parts":[{"text":"x"}],"new":1e3},"finishReason":"STOP"}],"z" : 18446744073709551616}'
    asked = b'{"contents" :[{"parts":[{"text":"h\\u0069"}]}], "x_new": 18446744073709551616 ,"safetySettings":[]}'
    fake.then(up.whole(said))
    url = f"{gateway.url}/v1beta/models/m:generateContent?key=secret&alt=json"
    answer = httpx.post(url, content=asked, headers={"content-type": "application/json"})
    assert answer.content == said and fake.last.body == asked
    assert fake.last.target == "/v1beta/models/gemini-x:generateContent"


def test_stream(same):
    client, fake = same
    chunks = list(ask_streamed(client))
    assert [chunk.text for chunk in chunks] == ["Hel", "lo"]
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    assert chunks[-1].usage_metadata.total_token_count == 14
    assert fake.last.target == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"


def test_stream_as_an_array(own):
    fake, gateway = own
    fake.forget()
    gate = up.Gate()
    first = json.dumps(google.answer({"text": "Hel"}, finish=None)).encode()
    rest = json.dumps(google.answer({"text": "lo"})).encode()
    fake.then(up.script(b"[" + first, gate, b"\n,\r\n" + rest + b"]", "finish", content_type="application/json"))
    url = f"{gateway.url}/v1beta/models/m:streamGenerateContent"
    seen = b""
    with httpx.stream("POST", url, json={"contents": [{"parts": [{"text": "hi"}]}]}) as answer:
        for piece in answer.iter_bytes():
            seen += piece
            if seen == b"[" + first:
                gate.open()  # what has come is passed on before the rest is there
    assert gate.is_open and seen == b"[" + first + b"\n,\r\n" + rest + b"]"
    assert fake.last.target == "/v1beta/models/gemini-x:streamGenerateContent"


def test_count_tokens(same):
    client, fake = same
    assert client.models.count_tokens(model="m", contents="hi").total_tokens == 14
    assert fake.last.path == "/v1beta/models/gemini-x:countTokens"


def test_embeddings(same):
    client, fake = same
    config = types.EmbedContentConfig(output_dimensionality=3, task_type="RETRIEVAL_QUERY")
    answer = client.models.embed_content(model="m", contents=["a", "b"], config=config)
    assert [item.values for item in answer.embeddings] == [[0.25, -1.5, 3.0]] * 2
    assert fake.last.path == "/v1beta/models/gemini-x:batchEmbedContents"
    # each names the model once more, and must name the one that is asked
    assert [item["model"] for item in fake.last.json()["requests"]] == ["models/gemini-x"] * 2
    assert fake.last.json()["requests"][0]["taskType"] == "RETRIEVAL_QUERY"


def test_search_passes(same):
    client, fake = same
    ask(client, tools=[types.Tool(google_search=types.GoogleSearch())])
    assert fake.last.json()["tools"] == [{"googleSearch": {}}]


def test_an_upstreams_error(same):
    client, fake = same
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
    fake.then(google.refusal(400, "INVALID_ARGUMENT", "No such field.", info))
    with pytest.raises(errors.ClientError) as caught:
        ask(client)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert caught.value.message == "No such field."
    assert caught.value.details["error"]["details"] == [info]


@pytest.mark.parametrize("how", ["error", "cut"])
def test_a_stream_that_breaks(own, how):
    client, fake = fresh(own, client_of, google.converse)
    gate = up.Gate()
    wrong = up.event({"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}})
    begun = up.event(google.answer({"text": "Hel"}, finish=None))
    fake.then(up.script(begun, gate, *([wrong, "finish"] if how == "error" else ["fin"])))
    seen = ""
    with pytest.raises(errors.APIError) as caught:
        for chunk in ask_streamed(client):
            seen += chunk.text
            gate.open()
    assert seen == "Hel"
    assert caught.value.status == "UNAVAILABLE" and caught.value.code == (503 if how == "error" else 502)


# OpenAI's family


def test_translated_message(translated):
    client, fake = translated
    answer = ask(
        client,
        system_instruction="Be brief.",
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=50,
        stop_sequences=["END"],
        seed=7,
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        http_options=types.HttpOptions(timeout=30_000),
    )
    assert answer.text == "Hello" and answer.candidates[0].finish_reason == "STOP"
    assert answer.usage_metadata.prompt_token_count == 9
    assert answer.model_version == "up-model" and answer.response_id
    assert "safetySettings" in answer.sdk_http_response.headers["x-penstock-dropped"]
    sent = fake.last.json()
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert sent["model"] == "up-model" and sent["stop"] == ["END"] and sent["seed"] == 7
    assert sent["temperature"] == 0.5 and sent["top_p"] == 0.9
    assert 50 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))


def test_translated_stream(translated):
    client, fake = translated
    chunks = list(ask_streamed(client))
    assert "".join(chunk.text or "" for chunk in chunks) == "Hello"
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    usage = chunks[-1].usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (9, 2)
    assert [chunk.candidates[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)


def test_translated_stream_as_an_array(other):
    fake, gateway = other
    fake.forget()
    fake.always(up.answer)
    url = f"{gateway.url}/v1beta/models/m:streamGenerateContent"
    answer = httpx.post(url, json={"contents": [{"parts": [{"text": "hi"}]}]})
    assert answer.headers["content-type"] == "application/json"
    texts = [item["candidates"][0]["content"]["parts"][0]["text"] for item in answer.json()]
    assert "".join(texts) == "Hello"


@pytest.mark.parametrize("version", ["v1beta", "v1alpha", "v1"])
@pytest.mark.parametrize("model", ["m", "models/m", "up/some/model:free"])
def test_names_of_models(other, version, model):
    fake, gateway = other
    fake.forget()
    fake.always(up.answer)
    assert ask(client_of(gateway, api_version=version), model=model).text == "Hello"
    assert fake.last.json()["model"] == ("up-model" if model.endswith("m") else "some/model:free")


def test_translated_tools_and_their_results(translated):
    client, fake = translated
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": text}}
        for i, text in enumerate(['{"city": "Köln"}', "{}"])
    ]
    body = up.chat_answer(None, finish="tool_calls")
    body["choices"][0]["message"]["tool_calls"] = calls
    fake.then(up.whole(body))
    any_of_them = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))
    chat = client.chats.create(model="m", config=settings(tools=TOOLS, tool_config=any_of_them))
    answer = chat.send_message("hi")
    assert [(call.id, call.name, call.args) for call in answer.function_calls] == [
        ("call_0", "weather", {"city": "Köln"}),
        ("call_1", "weather", {}),
    ]
    assert answer.candidates[0].finish_reason == "STOP"
    sent = fake.last.json()
    function = sent["tools"][0]["function"]
    assert function["name"] == "weather" and sent["tool_choice"] == "required"
    assert function["parameters"] == {**SCHEMA, "required": ["city"]}

    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response=response))
        for call, response in zip(answer.function_calls, [{"output": "12 degrees"}, {"error": "no city"}])
    ]
    assert chat.send_message(results).text == "Hello"
    user, assistant, first, second = fake.last.json()["messages"]
    assert user == {"role": "user", "content": "hi"}
    assert [json.loads(call["function"]["arguments"]) for call in assistant["tool_calls"]] == [{"city": "Köln"}, {}]
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", "call_0", "12 degrees")
    assert (second["tool_call_id"], "no city" in second["content"]) == ("call_1", True)


def test_functions_that_the_sdk_calls_itself(translated):
    client, fake = translated
    asked = []

    def weather(city: str) -> dict:
        """Of a city."""
        asked.append(city)
        return {"degrees": 12}

    body = up.chat_answer(None, finish="tool_calls")
    call = {"name": "weather", "arguments": '{"city": "Köln"}'}
    body["choices"][0]["message"]["tool_calls"] = [{"id": "call_0", "type": "function", "function": call}]
    fake.then(up.whole(body))
    on = types.AutomaticFunctionCallingConfig()
    assert ask(client, tools=[weather], automatic_function_calling=on).text == "Hello"
    assert asked == ["Köln"]
    assert json.loads(fake.last.json()["messages"][-1]["content"]) == {"degrees": 12} or (
        "12" in fake.last.json()["messages"][-1]["content"]
    )


def test_translated_streamed_tools(translated):
    client, fake = translated
    pieces = [up.delta("Well.", role="assistant")]
    for index in (0, 1):
        head = {"index": index, "id": f"call_{index}", "type": "function"}
        pieces.append(up.delta(tool_calls=[{**head, "function": {"name": "weather", "arguments": ""}}]))
    for part in ('{"ci', 'ty":"Köln"}'):  # of both at once
        for index in (0, 1):
            pieces.append(up.delta(tool_calls=[{"index": index, "function": {"arguments": part}}]))
    fake.then(up.script(*pieces, up.delta(finish="tool_calls"), up.USAGE_CHUNK, up.DONE, "finish"))
    chat = client.chats.create(model="m", config=settings(tools=TOOLS))
    chunks = list(chat.send_message_stream("hi"))
    calls = [call for chunk in chunks for call in chunk.function_calls or []]
    assert [(call.id, call.args) for call in calls] == [(f"call_{i}", {"city": "Köln"}) for i in (0, 1)]
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    # the pieces that the SDK has kept are one turn again
    results = [types.Part.from_function_response(name="weather", response={"result": "12"}) for _ in calls]
    chat.send_message(results)
    user, assistant, *rest = fake.last.json()["messages"]
    assert assistant["content"] == "Well." and len(assistant["tool_calls"]) == 2
    assert [item["tool_call_id"] for item in rest] == ["call_0", "call_1"]


def test_a_chat_of_streams(translated):
    client, fake = translated
    chat = client.chats.create(model="m")
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("hi")) == "Hello"
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("more")) == "Hello"
    assert fake.last.json()["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "more"},
    ]


def test_translated_images(translated):
    client, fake = translated
    data = bytes(range(248, 256)) * 6 + PIXEL  # has both characters that alphabets write differently
    parts = [types.Part.from_bytes(data=data, mime_type="image/png")]
    parts += [types.Part.from_uri(file_uri="https://example.com/a.png", mime_type="image/png"), "Look."]
    ask(client, parts)
    content = fake.last.json()["messages"][0]["content"]
    head, text = content[0]["image_url"]["url"].split(",")
    assert head == "data:image/png;base64" and base64.b64decode(text, validate=True) == data
    assert content[1]["image_url"]["url"] == "https://example.com/a.png"
    assert content[2] == {"type": "text", "text": "Look."}


def test_translated_structured_output(translated):
    client, fake = translated
    fake.always(up.whole(up.chat_answer('{"city": "Köln", "days": null}')))
    answer = ask(client, response_mime_type="application/json", response_schema=WEATHER.parameters)
    assert answer.parsed == {"city": "Köln", "days": None}
    wanted = fake.last.json()["response_format"]
    assert wanted["type"] == "json_schema" and wanted["json_schema"]["schema"] == {**SCHEMA, "required": ["city"]}
    ask(client, response_mime_type="application/json", response_json_schema=SCHEMA)
    assert fake.last.json()["response_format"]["json_schema"]["schema"] == SCHEMA
    ask(client, response_mime_type="application/json")
    assert fake.last.json()["response_format"] == {"type": "json_object"}


def test_translated_embeddings(translated):
    client, fake = translated
    config = types.EmbedContentConfig(output_dimensionality=3)
    answer = client.models.embed_content(model="m", contents=["a", "b"], config=config)
    assert [item.values for item in answer.embeddings] == [[0.25, -1.5, 3.0]] * 2
    assert fake.last.json()["input"] == ["a", "b"] and fake.last.json()["dimensions"] == 3


@pytest.mark.parametrize(
    "status, kind, code, ours, word",
    [
        (400, "invalid_request_error", "context_length_exceeded", 400, "INVALID_ARGUMENT"),
        (500, "server_error", None, 502, "UNAVAILABLE"),
        (429, "rate_limit_error", "rate_limit_exceeded", 429, "RESOURCE_EXHAUSTED"),
        (401, "invalid_request_error", "invalid_api_key", 502, "UNAVAILABLE"),
        (404, "invalid_request_error", "model_not_found", 404, "NOT_FOUND"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_translated_errors(start, status, kind, code, ours, word, stream):
    with up.Fake() as fake:
        gateway = start(config(fake))
        fake.always(up.error(status, "it went wrong", kind, code, headers=[("retry-after", "7")]))
        client = client_of(gateway)
        with pytest.raises(errors.APIError) as caught:
            list(ask_streamed(client)) if stream else ask(client)
        assert (caught.value.code, caught.value.status) == (ours, word)
        if status == 429:
            kinds = {item["@type"].rsplit(".", 1)[-1]: item for item in caught.value.details["error"]["details"]}
            assert kinds["RetryInfo"]["retryDelay"] == "7s"


def test_a_translated_stream_that_breaks(translated):
    client, fake = translated
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("Hel"), gate, "rst"))
    with pytest.raises(errors.APIError) as caught:
        for chunk in ask_streamed(client):
            assert chunk.text == "Hel"
            gate.open()
    assert (caught.value.code, caught.value.status) == (502, "UNAVAILABLE")


def test_leaving_a_translated_stream(translated):
    client, fake = translated
    fake.then(up.script(up.ROLE, up.delta("Hel"), "gone"))
    chunks = ask_streamed(client)
    assert next(chunks).text == "Hel"
    chunks.close()
    client.close()
    fake.last.gone.wait()


def test_bad_requests(translated):
    client, fake = translated
    with pytest.raises(errors.ClientError) as caught:
        ask(client, temperature=-1)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert "generationConfig.temperature" in caught.value.message
    with pytest.raises(errors.ClientError) as caught:
        ask(client, tools=[types.Tool(google_search=types.GoogleSearch())])
    assert "tools[0].googleSearch" in caught.value.message
    with pytest.raises(errors.ClientError) as caught:
        ask(client, model="nobody")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    assert not fake.requests


# Anthropic's family


def test_across(across):
    client, fake = across
    answer = ask(client, system_instruction="Be brief.", max_output_tokens=50)
    assert answer.text == "Hello"
    assert answer.usage_metadata.cached_content_token_count == 4
    assert fake.last.json()["messages"][0]["role"] == "user"
    assert client.models.count_tokens(model="m", contents="hi").total_tokens == 14


def test_thoughts_come_back_signed(across):
    client, fake = across
    pieces = [claude.thinking(0, "Let me see."), claude.tool(1, '{"ci', 'ty":"Köln"}')]
    fake.then(claude.stream(*pieces, reason="tool_use"))
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)
    chat = client.chats.create(model="m", config=settings(tools=TOOLS, thinking_config=thinking))
    chunks = list(chat.send_message_stream("hi"))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    assert "".join(part.text for part in parts if part.thought) == "Let me see."
    call = next(part.function_call for part in parts if part.function_call)
    assert call.args == {"city": "Köln"}
    result = types.FunctionResponse(id=call.id, name=call.name, response={"output": "12 degrees"})
    chat.send_message(types.Part(function_response=result))
    assistant = fake.last.json()["messages"][1]
    assert assistant["content"][0] == {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
    assert assistant["content"][1]["input"] == {"city": "Köln"}
    assert fake.last.json()["messages"][2]["content"][0]["type"] == "tool_result"


# What does not depend on the provider


def test_models(translated):
    client, _ = translated
    models = list(client.models.list())
    assert [model.name for model in models] == ["models/m"]
    assert "generateContent" in models[0].supported_actions
    assert client.models.get(model="m").name == "models/m"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="nobody")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_keys(start):
    with up.Fake() as fake:
        fake.always(up.answer)
        keys = [{"name": "app", "key_sha256": hashlib.sha256(b"a-key-of-the-app").hexdigest()}]
        gateway = start(config(fake, auth={"keys": keys}))
        assert ask(client_of(gateway, "a-key-of-the-app")).text == "Hello"
        with pytest.raises(errors.ClientError) as caught:
            ask(client_of(gateway, "another"))
        assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


# The model inside


@needs_llama
def test_the_model_inside():
    with Gateway(local()) as gateway:
        client = client_of(gateway)
        answer = ask(client, SKY, model="tiny", temperature=0)
        assert answer.text == SKY_ANSWER and answer.candidates[0].finish_reason == "STOP"
        chunks = list(ask_streamed(client, SKY, model="tiny", temperature=0))
        assert "".join(chunk.text or "" for chunk in chunks) == SKY_ANSWER
        assert chunks[-1].usage_metadata == answer.usage_metadata
        count = client.models.count_tokens(model="tiny", contents=SKY)
        assert count.total_tokens == answer.usage_metadata.prompt_token_count
        short = ask(client, SKY, model="tiny", temperature=0, max_output_tokens=1)
        assert short.candidates[0].finish_reason == "MAX_TOKENS"
        likely = ask(client, SKY, model="tiny", temperature=0, response_logprobs=True, logprobs=2)
        result = likely.candidates[0].logprobs_result
        assert "".join(item.token for item in result.chosen_candidates).strip() == SKY_ANSWER
        assert all(len(item.candidates) == 2 for item in result.top_candidates)
        vectors = client.models.embed_content(model="tiny", contents=["a", "b"]).embeddings
        assert len(vectors) == 2 and vectors[0].values != vectors[1].values
        with pytest.raises(errors.ClientError):
            ask(client, SKY, model="tiny", candidate_count=2)
        stream = ask_streamed(client, SKY, model="tiny", max_output_tokens=500)
        next(stream)
        stream.close()
        with pytest.raises(errors.ClientError) as caught:
            ask(client, "word " * 3000, model="tiny")
        assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
        client.close()
        nothing_left(gateway)
