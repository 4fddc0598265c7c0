# SPDX-License-Identifier: Apache-2.0
"""The official cohere SDK with only base_url changed: against a provider of its own family, where
nothing may change, against ones that speak OpenAI's and Anthropic's API, and against the model inside
the gateway."""

import base64
import hashlib
import json
import struct

import cohere
import httpx
import pytest
from cohere import ClientV2
from cohere.core.api_error import ApiError

from support import anthropic_fake as claude
from support import cohere_fake as co
from support import fake as up
from support.gateway import UPSTREAM_KEY, Gateway, config
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left
from support.shared import asking, shared

HI = [{"role": "user", "content": "hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def cohere_config(fake, **over):
    """Alias `m` is `command` of a provider that speaks Cohere's API: the fake."""
    base_url = fake.base_url.removesuffix("/v1")
    providers = {"up": {"dialect": "cohere", "base_url": base_url, "api_key": UPSTREAM_KEY, "list_models": False}}
    models = [{"name": "m", "targets": [{"provider": "up", "model": "command"}]}]
    return config(**{"default_model": "m", "providers": providers, "models": models, **over})


def client_of(gateway, api_key="client-key"):
    return ClientV2(base_url=gateway.url, api_key=api_key, timeout=30, max_retries=0)


at_cohere = shared(cohere_config)
at_openai = shared(config)
at_anthropic = shared(claude.anthropic_config)
same = asking("at_cohere", client_of)
openai = asking("at_openai", client_of)
anthropic = asking("at_anthropic", client_of, claude.answer)


def kinds(events):
    return [event.type for event in events]


def text_of(events):
    return "".join(e.delta.message.content.text or "" for e in events if e.type == "content-delta")


# The same family


def test_chat(same):
    client, fake = same
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}]
    fake.then(co.whole({"content": content, "citations": [co.CITATION]}))
    documents = [{"id": "d", "data": {"title": "T"}}]
    answer = client.chat(model="m", messages=HI, documents=documents, safety_mode="STRICT", k=4, priority=3)
    assert [item.type for item in answer.message.content] == ["thinking", "text"]
    assert answer.finish_reason == "COMPLETE" and answer.id == "a1"
    assert answer.message.citations[0].sources[0].document["title"] == "T"
    assert (answer.usage.tokens.input_tokens, answer.usage.billed_units.output_tokens) == (9, 1)
    assert fake.last.path == "/v2/chat"
    assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert fake.last.json() == {
        "model": "command",
        "messages": HI,
        "documents": documents,
        "safety_mode": "STRICT",
        "k": 4,
        "priority": 3,
        "stream": False,
    }


def test_stream(same):
    client, fake = same
    cited = co.event("citation-start", {"citations": co.CITATION}, index=0)
    fake.then(up.script(co.START, co.text("", "content-start"), co.text("Hel"), co.text("lo"), cited, co.end(), "finish"))
    events = list(client.chat_stream(model="m", messages=HI))
    assert text_of(events) == "Hello"
    assert events[-1].delta.finish_reason == "COMPLETE" and events[-1].delta.usage.tokens.output_tokens == 4
    assert "citation-start" in kinds(events)
    assert fake.last.json() == {"model": "command", "messages": HI, "stream": True}


def test_bytes_pass_as_they_are(same):
    client, fake = same
    body = b'{"id":"a", "new":[1.50, 12345678901234567890],"finish_reason":"COMPLETE","message":{"role":"assistant"}}'
    fake.then(up.whole(body))
    url = client._client_wrapper.get_base_url()
    answer = httpx.post(f"{url}/v2/chat", content=b'{"messages":[{"role":"user","content":"hi"}], "x_new": 1.50}')
    assert answer.content == body
    assert fake.last.body == b'{"model":"command","messages":[{"role":"user","content":"hi"}], "x_new": 1.50}'
    stream = co.START + b": note\r\n\r\nevent: x\ndata: {\"type\":\"x\", \"n\":1.50}\n\n" + co.text("Hi") + co.end()
    fake.then(up.script(stream, "finish"))
    answer = httpx.post(f"{url}/v2/chat", content=b'{"messages":[{"role":"user","content":"hi"}],"stream":true}')
    assert answer.content == stream


def test_embed_and_rerank(same):
    client, fake = same
    fake.then(up.whole({"id": "e", "embeddings": {"int8": [[1, -2]]}, "texts": ["t"], "meta": {}}))
    answer = client.embed(
        model="m", texts=["t"], input_type="search_query", embedding_types=["int8"], truncate="START"
    )
    assert answer.embeddings.int8 == [[1, -2]]
    assert fake.last.path == "/v2/embed" and fake.last.json()["truncate"] == "START"
    fake.then(up.whole({"id": "r", "results": [{"index": 1, "relevance_score": 0.5}], "meta": {}}))
    answer = client.rerank(model="m", query="q", documents=["a", "b"], top_n=1, max_tokens_per_doc=99)
    assert (answer.results[0].index, answer.results[0].relevance_score) == (1, 0.5)
    assert fake.last.json()["max_tokens_per_doc"] == 99


def test_an_error_of_the_provider(same):
    client, fake = same
    fake.then(up.whole({"message": "too many tokens", "id": "x"}, 422))
    with pytest.raises(cohere.UnprocessableEntityError) as caught:
        client.chat(model="m", messages=HI)
    assert caught.value.body == {"message": "too many tokens", "id": "x"}


# Another family


def test_translated_chat(openai):
    client, fake = openai
    answer = client.chat(
        model="m",
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        max_tokens=50,
        temperature=0.5,
        p=0.25,
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=0.25,
        stop_sequences=["END"],
        logprobs=False,
    )
    assert answer.message.role == "assistant" and answer.message.content[0].text == "Hello"
    assert answer.finish_reason == "COMPLETE" and answer.id
    assert (answer.usage.tokens.input_tokens, answer.usage.tokens.output_tokens) == (9, 2)
    sent = fake.last.json()
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *HI]
    assert sent["model"] == "up-model" and sent["stop"] == ["END"] and sent["top_p"] == 0.25
    assert (sent["temperature"], sent["seed"]) == (0.5, 7)
    assert (sent["frequency_penalty"], sent["presence_penalty"]) == (0.5, 0.25)


def test_translated_stream(openai):
    client, fake = openai
    events = list(client.chat_stream(model="m", messages=HI))
    assert kinds(events)[:2] == ["message-start", "content-start"]
    assert kinds(events)[-2:] == ["content-end", "message-end"]
    assert events[0].id == events[-1].id and events[0].delta.message.role == "assistant"
    assert events[1].delta.message.content.type == "text"
    assert text_of(events) == "Hello"
    end = events[-1].delta
    assert end.finish_reason == "COMPLETE" and end.usage.tokens.output_tokens == 2


def test_translated_tools(openai):
    client, fake = openai
    body = up.chat_answer(None, finish="tool_calls")
    body["choices"][0]["message"]["tool_calls"] = [
        {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": text}}
        for i, text in enumerate(['{"city": "Köln"}', ""])
    ]
    fake.then(up.whole(body))
    answer = client.chat(model="m", messages=HI, tools=[TOOL], tool_choice="REQUIRED", strict_tools=True)
    assert answer.finish_reason == "TOOL_CALL"
    calls = answer.message.tool_calls
    assert [(call.id, call.function.name) for call in calls] == [("call_0", "weather"), ("call_1", "weather")]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Köln"}, {}]
    sent = fake.last.json()
    assert sent["tools"][0]["function"] == {**TOOL["function"], "strict": True}
    assert sent["tool_choice"] == "required"
    # and the second turn, with what the SDK makes of the answer
    client.chat(
        model="m",
        tools=[TOOL],
        messages=[
            *HI,
            answer.message,
            {"role": "tool", "tool_call_id": "call_0", "content": "12 degrees"},
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "content": [{"type": "document", "document": {"data": {"degrees": 12, "wind": "no"}}}],
            },
        ],
    )
    _, said, first, second = fake.last.json()["messages"]
    assert [call["id"] for call in said["tool_calls"]] == ["call_0", "call_1"]
    assert (first["role"], first["tool_call_id"], first["content"]) == ("tool", "call_0", "12 degrees")
    assert json.loads(second["content"]) == {"degrees": 12, "wind": "no"}


def test_translated_streamed_tools(openai):
    client, fake = openai
    pieces = [up.delta("Well.", role="assistant")]
    for index in (0, 1):
        head = {"index": index, "id": f"call_{index}", "type": "function"}
        pieces.append(up.delta(tool_calls=[{**head, "function": {"name": "weather", "arguments": ""}}]))
        for part in ('{"ci', 'ty":"Köln"}'):
            pieces.append(up.delta(tool_calls=[{"index": index, "function": {"arguments": part}}]))
    fake.then(up.script(*pieces, up.delta(finish="tool_calls"), up.USAGE_CHUNK, up.DONE, "finish"))
    events = list(client.chat_stream(model="m", messages=HI, tools=[TOOL]))
    calls = {}
    for event in events:
        if event.type == "tool-call-start":
            call = event.delta.message.tool_calls
            calls[event.index] = [call.id, call.function.name, call.function.arguments]
        elif event.type == "tool-call-delta":
            calls[event.index][2] += event.delta.message.tool_calls.function.arguments
    assert calls == {i: [f"call_{i}", "weather", '{"city":"Köln"}'] for i in (0, 1)}
    assert kinds(events).count("tool-call-end") == 2
    assert text_of(events) == "Well."
    assert events[-1].delta.finish_reason == "TOOL_CALL"


def test_structured_output(openai):
    client, fake = openai
    client.chat(model="m", messages=HI, response_format={"type": "json_object", "json_schema": SCHEMA})
    assert fake.last.json()["response_format"]["json_schema"]["schema"] == SCHEMA
    client.chat(model="m", messages=HI, response_format={"type": "json_object"})
    assert fake.last.json()["response_format"] == {"type": "json_object"}


def test_documents_are_read_by_others_too(openai):
    client, fake = openai
    answer = client.with_raw_response.chat(
        model="m",
        messages=[*HI, {"role": "assistant", "content": "?"}, {"role": "user", "content": "Which is tall?"}],
        documents=["The fir is tall.", {"id": "moss", "data": {"title": "Moss", "text": "Moss is low."}}],
        citation_options={"mode": "FAST"},
        safety_mode="CONTEXTUAL",
    )
    assert set(answer.headers["x-penstock-dropped"].split(", ")) == {"safety_mode", "citations"}
    first, _, last = fake.last.json()["messages"]
    assert first == HI[0]
    fir, moss, question = [part["text"] for part in last["content"]]
    assert fir == "doc:0\n\nThe fir is tall." and question == "Which is tall?"
    assert moss.startswith("moss\n\n") and json.loads(moss[6:]) == {"title": "Moss", "text": "Moss is low."}


def test_images(openai):
    client, fake = openai
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    client.chat(model="m", messages=[{"role": "user", "content": [{"type": "text", "text": "Look."}, image]}])
    assert fake.last.json()["messages"][0]["content"][1] == image


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(openai, stream):
    client, fake = openai
    told = [
        {"token": token, "logprob": value, "bytes": None, "top_logprobs": []} for token, value in (("H", -0.5), ("i", -2))
    ]
    if stream:
        chunks = [up.delta(item["token"]) for item in told]
        said = [json.loads(chunk.split(b"data: ", 1)[1]) for chunk in chunks]
        for chunk, item in zip(said, told):
            chunk["choices"][0]["logprobs"] = {"content": [item]}
        fake.then(up.script(up.ROLE, *(up.event(chunk) for chunk in said), up.delta(finish="stop"), up.DONE, "finish"))
        events = client.chat_stream(model="m", messages=HI, logprobs=True)
        found = [event.logprobs for event in events if event.type == "content-delta"]
    else:
        body = up.chat_answer("Hi")
        body["choices"][0]["logprobs"] = {"content": told}
        fake.then(up.whole(body))
        found = client.chat(model="m", messages=HI, logprobs=True).logprobs
    assert [(item.text, item.logprobs) for item in found] == [("H", [-0.5]), ("i", [-2])]
    assert fake.last.json()["logprobs"] is True


def test_translated_embed(openai):
    client, fake = openai
    vectors = [[0.5, -1.25], [2.0, 0.0]]
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    fake.then(up.whole({"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 5, "total_tokens": 5}}))
    answer = client.embed(
        model="m",
        texts=["one", "two"],
        input_type="search_document",
        embedding_types=["float", "base64"],
        output_dimension=2,
    )
    assert answer.embeddings.float_ == vectors and answer.texts == ["one", "two"]
    assert [list(struct.unpack("<2f", base64.b64decode(text))) for text in answer.embeddings.base64] == vectors
    assert answer.meta.billed_units.input_tokens == 5 and answer.response_type == "embeddings_by_type"
    sent = fake.last.json()
    assert sent["input"] == ["one", "two"] and sent["dimensions"] == 2
    for more in ({"images": ["data:image/png;base64,AAAA"]}, {"texts": ["t"], "embedding_types": ["int8"]}):
        with pytest.raises(cohere.BadRequestError):
            client.embed(model="m", input_type="image", **more)


def test_translated_rerank(openai):
    client, fake = openai
    results = [{"index": 1, "relevance_score": 0.75}, {"index": 0, "relevance_score": 0.125}]
    fake.then(up.whole({"id": "r", "results": results, "usage": {"total_tokens": 9}}))
    answer = client.rerank(model="m", query="q", documents=["a", "b"], top_n=2)
    assert [(item.index, item.relevance_score) for item in answer.results] == [(1, 0.75), (0, 0.125)]
    sent = fake.last.json()
    assert (sent["query"], sent["documents"], sent["top_n"]) == ("q", ["a", "b"], 2)


@pytest.mark.parametrize(
    "status, ours",
    [(400, cohere.BadRequestError), (429, cohere.TooManyRequestsError), (404, cohere.NotFoundError), (500, ApiError)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_translated_errors(start, status, ours, stream):
    with up.Fake() as fake:
        client = client_of(start(config(fake)))
        fake.always(up.error(status, "it went wrong", headers=[("retry-after", "7")]))
        with pytest.raises(ours) as caught:
            list(client.chat_stream(model="m", messages=HI)) if stream else client.chat(model="m", messages=HI)
        assert caught.value.status_code == (502 if status == 500 else status)
        assert "it went wrong" in caught.value.body["message"] and caught.value.body["id"]


def test_a_translated_stream_that_breaks(start):
    with up.Fake() as fake:
        client = client_of(start(config(fake)))
        gate = up.Gate()
        fake.always(up.script(up.ROLE, up.delta("Hel"), gate, "rst"))
        seen = []
        with pytest.raises(httpx.RemoteProtocolError):
            for event in client.chat_stream(model="m", messages=HI):
                seen.append(event)
                if event.type == "content-delta":
                    gate.open()
        assert seen[-1].type == "message-end" and seen[-1].delta.finish_reason == "ERROR"
        assert seen[-1].delta.error


def test_leaving_a_translated_stream(openai):
    client, fake = openai
    fake.then(up.script(up.ROLE, up.delta("Hel"), "gone"))
    stream = client.chat_stream(model="m", messages=HI)
    for event in stream:
        if event.type == "content-delta":
            break
    stream.close()
    fake.last.gone.wait()


def test_bad_requests(openai):
    client, fake = openai
    with pytest.raises(cohere.BadRequestError) as caught:
        client.chat(model="m", messages=HI, max_tokens=-1)
    assert "max_tokens" in caught.value.body["message"]
    with pytest.raises(cohere.BadRequestError):
        client.chat(model="m", messages=HI, tool_choice="REQUIRED")
    with pytest.raises(cohere.NotFoundError):
        client.chat(model="nobody", messages=HI)
    assert not fake.requests


def test_models(openai):
    client, _ = openai
    assert [model.name for model in client.models.list().models] == ["m"]
    assert client.models.get("m").name == "m"


def test_keys(start):
    with up.Fake() as fake:
        digest = hashlib.sha256(b"a-key-of-the-app").hexdigest()
        gateway = start(cohere_config(fake, auth={"keys": [{"name": "app", "key_sha256": digest}]}))
        fake.always(co.whole({"content": [{"type": "text", "text": "Hello"}]}))
        answer = client_of(gateway, "a-key-of-the-app").chat(model="m", messages=HI)
        assert answer.message.content[0].text == "Hello"
        assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
        with pytest.raises(cohere.UnauthorizedError) as caught:
            client_of(gateway).chat(model="m", messages=HI)
        assert caught.value.body["message"] and caught.value.body["id"]


# A third


def test_thoughts_and_tools_of_anthropic(anthropic):
    client, fake = anthropic
    thought = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
    fake.then(up.whole(claude.message(thought, "Well.", claude.tool_use({"city": "Köln"}), stop="tool_use")))
    fields = {"model": "m", "max_tokens": 9000, "tools": [TOOL], "thinking": {"type": "enabled", "token_budget": 2000}}
    answer = client.chat(messages=HI, **fields)
    assert [item.type for item in answer.message.content] == ["thinking", "text"]
    assert answer.message.content[0].thinking == "Let me see."
    assert json.loads(answer.message.tool_calls[0].function.arguments) == {"city": "Köln"}
    assert fake.last.json()["tools"] == [claude.TOOL]
    result = {"role": "tool", "tool_call_id": answer.message.tool_calls[0].id, "content": "12 degrees"}
    client.chat(messages=[*HI, answer.message, result], **fields)
    _, said, last = fake.last.json()["messages"]
    assert said["content"] == [thought, {"type": "text", "text": "Well."}, claude.tool_use({"city": "Köln"})]
    assert last["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "12 degrees"}]


def test_a_stream_of_thoughts(anthropic):
    client, fake = anthropic
    fake.then(claude.stream(claude.thinking(0, "Let me see."), claude.text(1, "Hel", "lo")))
    events = list(client.chat_stream(model="m", messages=HI, max_tokens=50))
    thought = "".join(e.delta.message.content.thinking or "" for e in events if e.type == "content-delta")
    assert (thought, text_of(events)) == ("Let me see.", "Hello")
    assert [e.delta.message.content.type for e in events if e.type == "content-start"] == ["thinking", "text"]
    assert [e.index for e in events if e.type == "content-end"] == [0, 1]
    assert events[-1].delta.usage.tokens.input_tokens == 13


@pytest.mark.parametrize("stream", [False, True])
def test_citations_of_documents(anthropic, stream):
    client, fake = anthropic
    cited = {
        "type": "char_location",
        "cited_text": "The fir is tall.",
        "document_index": 0,
        "document_title": "fir",
        "start_char_index": 0,
        "end_char_index": 16,
    }
    if stream:
        deltas = [{"type": "text_delta", "text": "The fir."}, {"type": "citations_delta", "citation": cited}]
        fake.then(claude.stream(claude.text(0, "Well: "), claude.block(1, "text", *deltas, text="")))
    else:
        fake.then(up.whole(claude.message("Well: ", {"type": "text", "text": "The fir.", "citations": [cited]})))
    fields = {"model": "m", "messages": HI, "documents": [{"id": "fir", "data": {"text": "The fir is tall."}}]}
    if stream:
        events = list(client.chat_stream(**fields))
        found = [e.delta.message.citations for e in events if e.type == "citation-start"]
    else:
        found = client.chat(**fields).message.citations
    document, question = fake.last.json()["messages"][0]["content"]
    assert document["title"] == "fir" and document["citations"] == {"enabled": True}
    assert document["source"]["data"] == "The fir is tall." and question["text"] == "hi"
    (citation,) = found
    assert (citation.text, citation.start, citation.end, citation.content_index) == ("The fir.", 0, 8, 1)
    assert citation.sources[0].id == "fir"
    assert citation.sources[0].document["snippet"] == "The fir is tall."


# The model inside


@pytest.fixture(scope="module")
def inside():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


@needs_llama
def test_the_model_inside(inside):
    client = client_of(inside)
    fields = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": SKY}]}
    answer = client.chat(**fields)
    assert answer.message.content[0].text == SKY_ANSWER and answer.finish_reason == "COMPLETE"
    events = list(client.chat_stream(**fields))
    assert text_of(events) == SKY_ANSWER
    assert events[-1].delta.usage == answer.usage and answer.usage.tokens.input_tokens > 0
    assert client.chat(**fields, max_tokens=1).finish_reason == "MAX_TOKENS"
    assert client.chat(**fields, stop_sequences=["sky"]).message.content[0].text == "The "
    made = client.chat(**fields, response_format={"type": "json_object", "json_schema": SCHEMA}, max_tokens=50)
    assert isinstance(json.loads(made.message.content[0].text)["a"], int)
    told = client.chat(**fields, logprobs=True).logprobs
    assert "".join(item.text for item in told) == SKY_ANSWER and told[0].logprobs[0] <= 0
    stream = client.chat_stream(**fields, max_tokens=500)
    next(iter(stream))
    stream.close()
    vectors = client.embed(model="tiny", texts=["one", "two"], input_type="search_query").embeddings.float_
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 8
    with pytest.raises(cohere.BadRequestError):
        client.chat(model="tiny", messages=[{"role": "user", "content": "word " * 3000}])
