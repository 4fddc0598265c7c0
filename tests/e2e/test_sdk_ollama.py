# SPDX-License-Identifier: Apache-2.0
"""The official ollama SDK with only its host changed: against a provider of its own family, where
nothing may change, against ones that speak OpenAI's and Anthropic's API, and against the model inside
the gateway."""

import base64
import hashlib
import json

import httpx
import pytest
from ollama import Client, ResponseError

from support import anthropic_fake as claude
from support import fake as up
from support import ollama_fake as own
from support.gateway import UPSTREAM_KEY, Gateway, config
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left
from support.shared import asking, shared

HI = [{"role": "user", "content": "hi"}]
PICTURE = b"\x89PNG\r\n\x1a\n and more"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def weather(city: str) -> str:
    """
    Tells the weather.

    Args:
      city: where
    """
    return f"{city}: 12 degrees"


def ollama_config(fake, **over):
    """Alias `m` is `q` of a provider that speaks Ollama's own API: the fake."""
    base_url = fake.base_url.removesuffix("/v1")
    providers = {"up": {"dialect": "ollama", "base_url": base_url, "api_key": UPSTREAM_KEY, "list_models": False}}
    models = [{"name": "m", "targets": [{"provider": "up", "model": "q"}]}]
    return config(**{"default_model": "m", "providers": providers, "models": models, **over})


def client_of(gateway, **headers):
    client = Client(host=gateway.url, timeout=30, headers=headers)
    client.url = gateway.url
    return client


at_ollama = shared(ollama_config)
at_openai = shared(config)
at_anthropic = shared(claude.anthropic_config)
same = asking("at_ollama", client_of)
openai = asking("at_openai", client_of)
anthropic = asking("at_anthropic", client_of, claude.answer)


def text_of(parts):
    return "".join(part.message.content or "" for part in parts)


# The same family


def test_chat(same):
    client, fake = same
    fake.then(up.whole(own.said("Hello", message={"thinking": "hm"}, **own.END)))
    answer = client.chat(model="m", messages=HI, think=True, options={"num_ctx": 8192}, keep_alive="5m")
    assert (answer.message.content, answer.message.thinking) == ("Hello", "hm")
    assert (answer.done_reason, answer.prompt_eval_count, answer.eval_count) == ("stop", 5, 2)
    assert fake.last.path == "/api/chat"
    assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert fake.last.json() == {
        "model": "q",
        "stream": False,
        "options": {"num_ctx": 8192},
        "keep_alive": "5m",
        "messages": HI,
        "tools": [],
        "think": True,
    }


def test_stream(same):
    client, fake = same
    fake.then(own.stream(own.said("Hel"), own.said("lo"), own.said(**own.END)))
    parts = list(client.chat(model="m", messages=HI, stream=True))
    assert text_of(parts) == "Hello"
    assert [part.done for part in parts] == [False, False, True]
    assert parts[-1].eval_count == 2


def test_generate_and_vectors(same):
    client, fake = same
    line = {"model": "q", "created_at": "2026-11-23T00:00:00Z"}
    fake.then(own.stream({**line, "response": "a", "done": False}, {**line, "response": "", **own.END}))
    parts = list(client.generate(model="m", prompt="once", suffix="end", raw=True, context=[1, 2], stream=True))
    assert "".join(part.response for part in parts) == "a" and parts[-1].done
    assert fake.last.path == "/api/generate"
    assert fake.last.json()["suffix"] == "end" and fake.last.json()["context"] == [1, 2]
    fake.then(up.whole({"model": "q", "embeddings": [[0.5, -1.0]], "prompt_eval_count": 4}))
    assert client.embed(model="m", input="a", truncate=False).embeddings == [[0.5, -1.0]]
    assert (fake.last.path, fake.last.json()["truncate"]) == ("/api/embed", False)
    fake.then(up.whole({"embedding": [0.5, -1.0]}))
    assert client.embeddings(model="m", prompt="a").embedding == [0.5, -1.0]
    assert fake.last.path == "/api/embeddings"


def test_bytes_pass_as_they_are(same):
    client, fake = same
    body = b'{"model":"q", "new":[1.50, 12345678901234567890],"message":{"content":"x"},"done":true}\n'
    fake.then(up.whole(body))
    answer = httpx.post(f"{client.url}/api/chat", content=b'{"stream":false, "x_new": 1.50,"messages":[{}]}')
    assert answer.content == body
    assert fake.last.body == b'{"model":"q","stream":false, "x_new": 1.50,"messages":[{}]}'
    stream = b'{"message":{"content":"a"},"n":1.50}\r\n\n{"response":"", "done":false}\n{"done":true}\n'
    fake.then(up.script(stream, "finish", content_type=own.NDJSON))
    answer = httpx.post(f"{client.url}/api/chat", content=b'{"messages":[{}]}')
    assert answer.content == stream
    assert answer.headers["content-type"] == own.NDJSON
    many = json.dumps({"embeddings": [[0.5] * 1000] * 4000}).encode()  # above what is kept of an answer
    fake.then(up.whole(many))
    assert httpx.post(f"{client.url}/api/embed", content=b'{"input":"x"}', timeout=60).content == many


def test_what_a_provider_of_the_family_knows_better(same):
    client, fake = same
    fake.then(up.whole({"capabilities": ["vision"], "model_info": {"a": 1}, "details": {"family": "f"}}))
    shown = client.show("m")
    assert shown.capabilities == ["vision"] and shown.details.family == "f"
    assert (fake.last.path, fake.last.json()) == ("/api/show", {"model": "q"})
    fake.then(up.whole({"capabilities": []}))
    assert httpx.post(f"{client.url}/api/show", content=b'{"name":"m:latest"}').json() == {"capabilities": []}
    assert fake.last.json() == {"name": "q"}
    fake.then(up.whole({"model": "q", "response": "", "done": True, "done_reason": "load"}))
    assert client.generate(model="m").done_reason == "load"
    assert fake.last.json()["model"] == "q"


def test_errors_of_the_provider(same):
    client, fake = same
    fake.then(up.whole({"error": '"q" does not support tools'}, 400))
    with pytest.raises(ResponseError, match="does not support tools") as caught:
        client.chat(model="m", messages=HI)
    assert caught.value.status_code == 400
    fake.then(own.stream({"error": "the runner has ended"}))
    with pytest.raises(ResponseError, match="the runner has ended") as caught:
        list(client.chat(model="m", messages=HI, stream=True))
    assert caught.value.status_code == 502  # nothing was said yet
    fake.then(own.stream(own.said("Hel"), {"error": "the runner has ended"}))
    parts = []
    with pytest.raises(ResponseError, match="the runner has ended"):
        for part in client.chat(model="m", messages=HI, stream=True):
            parts.append(part)
    assert text_of(parts) == "Hel"


# Another family


def test_translated_chat(openai):
    client, fake = openai
    answer = client.chat(
        model="m",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        options={
            "num_predict": 50,
            "temperature": 0.5,
            "top_p": 0.25,
            "seed": 7,
            "stop": ["END"],
            "presence_penalty": 0.25,
            "frequency_penalty": 0.5,
        },
        think="low",
    )
    assert (answer.message.role, answer.message.content) == ("assistant", "Hello")
    assert answer.done and answer.done_reason == "stop" and answer.created_at.endswith("Z")
    assert (answer.prompt_eval_count, answer.eval_count) == (9, 2)
    assert answer.total_duration >= answer.eval_duration > 0
    sent = fake.last.json()
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *HI]
    assert (sent["model"], sent["stop"], sent["top_p"]) == ("up-model", ["END"], 0.25)
    assert (sent["temperature"], sent["seed"], sent["reasoning_effort"]) == (0.5, 7, "low")
    assert (sent["presence_penalty"], sent["frequency_penalty"]) == (0.25, 0.5)
    assert sent.get("max_completion_tokens", sent.get("max_tokens")) == 50


def test_translated_stream(openai):
    client, fake = openai
    parts = list(client.chat(model="m:latest", messages=HI, stream=True))
    assert text_of(parts) == "Hello"
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].prompt_eval_count, parts[-1].eval_count) == ("stop", 9, 2)
    answer = httpx.post(f"{client.url}/api/chat", json={"messages": HI})  # streamed unless told otherwise
    assert answer.headers["content-type"] == own.NDJSON
    assert all(json.loads(line)["model"] == "up-model" for line in answer.text.splitlines())


def test_translated_generate(openai):
    client, fake = openai
    answer = client.generate(model="m", system="Be brief.", prompt="What is it?", images=[PICTURE])
    assert answer.response == "Hello" and answer.done_reason == "stop"
    system, user = fake.last.json()["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"][0] == {"type": "text", "text": "What is it?"}
    url = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    assert user["content"][1]["image_url"]["url"] == url
    parts = list(client.generate(model="m", prompt="hi", stream=True))
    assert "".join(part.response for part in parts) == "Hello" and parts[-1].done
    for field in ({"raw": True}, {"suffix": "end"}, {"template": "{{ .Prompt }}"}, {"context": [1, 2]}):
        with pytest.raises(ResponseError, match=next(iter(field))) as caught:
            client.generate(model="m", prompt="hi", **field)
        assert caught.value.status_code == 400


def test_what_is_dropped_is_named(openai):
    client, _ = openai
    body = {"messages": HI, "keep_alive": 0, "options": {"num_ctx": 9, "num_gpu": 1}, "stream": False}
    answer = httpx.post(f"{client.url}/api/chat", json=body)
    assert answer.json()["message"]["content"] == "Hello"
    dropped = answer.headers["x-penstock-dropped"].split(", ")
    assert set(dropped) == {"keep_alive", "options.num_ctx", "options.num_gpu"}


def test_translated_tools(openai):
    client, fake = openai
    body = up.chat_answer(None, finish="tool_calls")
    body["choices"][0]["message"]["tool_calls"] = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": text}}
        for i, text in enumerate(['{"city": "Köln"}', ""])
    ]
    fake.then(up.whole(body))
    answer = client.chat(model="m", messages=HI, tools=[weather])
    assert answer.done_reason == "stop"
    calls = answer.message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert [call.function.arguments for call in calls] == [{"city": "Köln"}, {}]
    (tool,) = fake.last.json()["tools"]
    assert tool["function"]["name"] == "weather"
    assert tool["function"]["parameters"]["properties"]["city"]["type"] == "string"
    # and the second turn, with what the SDK makes of the answer: it keeps no ids
    results = [{"role": "tool", "tool_name": "weather", "content": text} for text in ("12 degrees", "nowhere")]
    client.chat(model="m", tools=[weather], messages=[*HI, answer.message, *results])
    _, said, first, second = fake.last.json()["messages"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert len(set(ids)) == 2
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"city": "Köln"}
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", ids[0], "12 degrees")
    assert (second["tool_call_id"], second["content"]) == (ids[1], "nowhere")
    with pytest.raises(ResponseError, match="answers no tool call"):
        client.chat(model="m", messages=[*HI, answer.message, *results, results[0]])


def test_translated_streamed_tools(openai):
    client, fake = openai
    pieces = [up.delta("Well.", role="assistant")]
    for index in (0, 1):
        head = {"index": index, "id": f"call_{index}", "type": "function"}
        pieces.append(up.delta(tool_calls=[{**head, "function": {"name": "weather", "arguments": ""}}]))
    for part in ('{"ci', 'ty":"Köln"}'):
        for index in (0, 1):
            pieces.append(up.delta(tool_calls=[{"index": index, "function": {"arguments": part}}]))
    fake.then(up.script(*pieces, up.delta(finish="tool_calls"), up.USAGE_CHUNK, up.DONE, "finish"))
    parts = list(client.chat(model="m", messages=HI, tools=[weather], stream=True))
    assert text_of(parts) == "Well."
    (calling,) = [part for part in parts if part.message.tool_calls]
    assert [call.function.arguments for call in calling.message.tool_calls] == [{"city": "Köln"}] * 2
    assert not calling.done and parts[-1].done


def test_structured_output(openai):
    client, fake = openai
    client.chat(model="m", messages=HI, format=SCHEMA)
    assert fake.last.json()["response_format"]["json_schema"]["schema"] == SCHEMA
    client.generate(model="m", prompt="hi", format="json")
    assert fake.last.json()["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(openai, stream):
    client, fake = openai
    other = {"token": "o", "logprob": -1.0, "bytes": None}
    told = [
        {"token": token, "logprob": value, "bytes": None, "top_logprobs": top}
        for token, value, top in (("H", -0.5, []), ("i", -2.0, [other]))
    ]
    if stream:
        said = [json.loads(up.delta(item["token"]).split(b"data: ", 1)[1]) for item in told]
        for chunk, item in zip(said, told):
            chunk["choices"][0]["logprobs"] = {"content": [item]}
        fake.then(up.script(up.ROLE, *(up.event(chunk) for chunk in said), up.delta(finish="stop"), up.DONE, "finish"))
        parts = client.chat(model="m", messages=HI, logprobs=True, top_logprobs=1, stream=True)
        found = [item for part in parts for item in part.logprobs or []]
    else:
        body = up.chat_answer("Hi")
        body["choices"][0]["logprobs"] = {"content": told}
        fake.then(up.whole(body))
        found = client.chat(model="m", messages=HI, logprobs=True, top_logprobs=1).logprobs
    assert [(item.token, item.logprob) for item in found] == [("H", -0.5), ("i", -2)]
    assert found[1].top_logprobs[0].token == "o"
    assert (fake.last.json()["logprobs"], fake.last.json()["top_logprobs"]) == (True, 1)


def test_translated_vectors(openai):
    client, fake = openai
    vectors = [[0.5, -1.25], [2.0, 0.0]]
    data = [{"object": "embedding", "index": i, "embedding": vectors[i]} for i in (1, 0)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    fake.then(up.whole({"object": "list", "data": data, "model": "e", "usage": usage}))
    answer = client.embed(model="m", input=["one", "two"], dimensions=2)
    assert answer.embeddings == vectors
    assert answer.prompt_eval_count == 5 and answer.total_duration > 0
    assert (fake.last.json()["input"], fake.last.json()["dimensions"]) == (["one", "two"], 2)
    fake.then(up.whole({"object": "list", "data": data[1:], "model": "e"}))
    assert client.embeddings(model="m", prompt="one").embedding == vectors[0]
    assert fake.last.json()["input"] in ("one", ["one"])


@pytest.mark.parametrize("status", [400, 429, 404, 500])
@pytest.mark.parametrize("stream", [False, True])
def test_translated_errors(start, status, stream):
    with up.Fake() as fake:
        client = client_of(start(config(fake)))
        fake.always(up.error(status, "it went wrong", headers=[("retry-after", "7")]))
        with pytest.raises(ResponseError, match="it went wrong") as caught:
            list(client.chat(model="m", messages=HI, stream=True)) if stream else client.chat(model="m", messages=HI)
        assert caught.value.status_code == (502 if status == 500 else status)


def test_a_translated_stream_that_breaks(start):
    with up.Fake() as fake:
        client = client_of(start(config(fake)))
        gate = up.Gate()
        fake.always(up.script(up.ROLE, up.delta("Hel"), gate, "rst"))
        seen = []
        with pytest.raises(ResponseError):
            for part in client.chat(model="m", messages=HI, stream=True):
                seen.append(part)
                gate.open()
        assert text_of(seen) == "Hel" and not seen[-1].done


def test_leaving_a_translated_stream(openai):
    client, fake = openai
    fake.then(up.script(up.ROLE, up.delta("Hel"), "gone"))
    stream = client.chat(model="m", messages=HI, stream=True)
    assert next(stream).message.content == "Hel"
    stream.close()
    fake.last.gone.wait()


def test_bad_requests(openai):
    client, fake = openai
    for body, name in (
        ({"messages": HI, "options": {"temperature": "hot"}}, "options.temperature"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x", "images": ["!"]}]}, "messages[0].images[0]"),
        ({"messages": HI, "format": 1}, "format"),
        ({"messages": HI, "think": "hard"}, "think"),
        ({"messages": HI, "stream": 1}, "stream"),
    ):
        answer = httpx.post(f"{client.url}/api/chat", json=body)
        assert answer.status_code == 400 and name in answer.json()["error"]
        assert list(answer.json()) == ["error"]
    with pytest.raises(ResponseError, match="nobody") as caught:
        client.chat(model="nobody", messages=HI)
    assert caught.value.status_code == 404
    assert httpx.post(f"{client.url}/api/chat", content=b"{").status_code == 400
    assert not fake.requests


def test_what_is_not_here(openai):
    client, _ = openai
    for call in (
        lambda: client.pull("q"),
        lambda: client.push("q"),
        lambda: client.create("q", from_="p"),
        lambda: client.copy("q", "p"),
        lambda: client.delete("q"),
    ):
        with pytest.raises(ResponseError, match="models are those of its configuration") as caught:
            call()
        assert caught.value.status_code == 400
    assert httpx.head(f"{client.url}/api/blobs/sha256:00").status_code == 400
    assert httpx.post(f"{client.url}/api/blobs/sha256:00", content=b"x" * 100000).json()["error"]
    answer = httpx.get(f"{client.url}/api/nothing")
    assert answer.status_code == 404 and answer.json()["error"]


def test_what_clients_look_at(openai):
    client, fake = openai
    (model,) = client.list().models
    assert model.model == "m" and len(model.digest) == 64 and model.size == 0
    shown = client.show("m")
    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]
    assert shown.modelinfo["general.architecture"] == "openai"
    assert client.show("m:latest").modelinfo == {**shown.modelinfo, "general.basename": "m:latest"}
    with pytest.raises(ResponseError) as caught:
        client.show("nobody")
    assert caught.value.status_code == 404
    assert client.ps().models == []
    assert int(httpx.get(f"{client.url}/api/version").json()["version"].split(".")[1]) >= 12
    assert httpx.get(client.url).text == "Ollama is running"
    assert httpx.head(client.url).status_code == 200
    assert not fake.requests


def test_a_model_to_be_loaded(openai):
    client, fake = openai
    answer = client.generate(model="m")
    assert (answer.response, answer.done, answer.done_reason) == ("", True, "load")
    assert client.generate(model="m", keep_alive=0).done_reason == "unload"
    (answer,) = client.chat(model="m", stream=True)
    assert answer.done and answer.message.content == ""
    with pytest.raises(ResponseError):
        client.generate(model="nobody")
    assert not fake.requests


def test_keys(start):
    with up.Fake() as fake:
        digest = hashlib.sha256(b"a-key-of-the-app").hexdigest()
        gateway = start(ollama_config(fake, auth={"keys": [{"name": "app", "key_sha256": digest}]}))
        fake.always(up.whole(own.said("Hello", **own.END)))
        client = client_of(gateway, authorization="Bearer a-key-of-the-app")
        assert client.chat(model="m", messages=HI).message.content == "Hello"
        assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
        for call in (lambda: client_of(gateway).chat(model="m", messages=HI), client_of(gateway).list):
            with pytest.raises(ResponseError, match="key is needed") as caught:
                call()
            assert caught.value.status_code == 401
        assert httpx.get(gateway.url).status_code == 200


# A third


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_and_tools_of_anthropic(anthropic, stream):
    client, fake = anthropic
    if stream:
        blocks = (claude.thinking(0, "Let me see."), claude.text(1, "Well."), claude.tool(2, '{"city":', '"Köln"}'))
        fake.then(claude.stream(*blocks, reason="tool_use"))
        parts = list(client.chat(model="m", messages=HI, tools=[weather], think=True, stream=True))
    else:
        thought = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
        fake.then(up.whole(claude.message(thought, "Well.", claude.tool_use({"city": "Köln"}), stop="tool_use")))
        parts = [client.chat(model="m", messages=HI, tools=[weather], think=True)]
    assert text_of(parts) == "Well."
    assert "".join(part.message.thinking or "" for part in parts) == "Let me see."
    (call,) = [call for part in parts for call in part.message.tool_calls or []]
    assert call.function.arguments == {"city": "Köln"}
    assert (parts[-1].prompt_eval_count, parts[-1].eval_count) == (13, 2)
    assert fake.last.json()["tools"][0]["name"] == "weather"
    assert fake.last.json()["thinking"]["type"] in ("adaptive", "enabled")
    history = [*HI, {"role": "assistant", "content": "Well.", "thinking": "Let me see.", "tool_calls": [call]}]
    client.chat(model="m", messages=[*history, {"role": "tool", "tool_name": "weather", "content": "12 degrees"}])
    _, said, last = fake.last.json()["messages"]
    assert said["content"][-1]["input"] == {"city": "Köln"}
    (result,) = last["content"]
    assert (result["tool_use_id"], result["content"]) == (said["content"][-1]["id"], "12 degrees")


def test_images_for_anthropic(anthropic):
    client, fake = anthropic
    client.chat(model="m", messages=[{"role": "user", "content": "Look.", "images": [PICTURE]}])
    image = fake.last.json()["messages"][0]["content"][1]
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
    assert image == {"type": "image", "source": source}


def test_a_refusal_of_anthropic(anthropic):
    client, fake = anthropic
    fake.then(up.whole(claude.message("I will not.", stop="refusal")))
    answer = client.chat(model="m", messages=HI)
    assert (answer.message.content, answer.done_reason) == ("I will not.", "content_filter")


# The model inside


@pytest.fixture(scope="module")
def inside():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


@needs_llama
def test_the_model_inside(inside):
    client = client_of(inside)
    fields = {"model": "tiny", "messages": [{"role": "user", "content": SKY}]}
    exact = {"temperature": 0}
    answer = client.chat(**fields, options=exact)
    assert answer.message.content == SKY_ANSWER and answer.done_reason == "stop"
    parts = list(client.chat(**fields, options=exact, stream=True))
    assert text_of(parts) == SKY_ANSWER
    assert parts[-1].eval_count == answer.eval_count > 0
    assert client.generate(model="tiny:latest", prompt=SKY, options=exact).response == SKY_ANSWER
    assert client.chat(**fields, options={**exact, "num_predict": 1}).done_reason == "length"
    assert client.chat(**fields, options={**exact, "num_predict": -1, "stop": ["sky"]}).message.content == "The "
    made = client.chat(**fields, format=SCHEMA, options={**exact, "num_predict": 50})
    assert isinstance(json.loads(made.message.content)["a"], int)
    told = client.chat(**fields, options=exact, logprobs=True).logprobs
    assert "".join(item.token for item in told) == SKY_ANSWER and told[0].logprob <= 0
    stream = client.chat(**fields, options={"num_predict": 500}, stream=True)
    next(stream)
    stream.close()
    vectors = client.embed(model="tiny", input=["one", "two"]).embeddings
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 8
    assert client.show("tiny").modelinfo["llama.context_length"] > 0
    assert [model.model for model in client.ps().models] == ["tiny"]
    with pytest.raises(ResponseError) as caught:
        client.chat(model="tiny", messages=[{"role": "user", "content": "word " * 3000}])
    assert caught.value.status_code == 400


@needs_llama
def test_what_the_model_inside_does_not_know_is_named(inside):
    body = {"model": "tiny", "messages": HI, "stream": False, "keep_alive": "5m", "options": {"num_ctx": 9}}
    body["options"]["num_predict"] = 2
    answer = httpx.post(f"{inside.url}/api/chat", json=body)
    assert set(answer.headers["x-penstock-dropped"].split(", ")) == {"keep_alive", "options.num_ctx"}
