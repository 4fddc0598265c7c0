# SPDX-License-Identifier: Apache-2.0
"""The official openai SDK on a model of Cohere's API, a fake that answers as that does; and /v1/rerank,
for Cohere and for servers of OpenAI's own family."""

import json

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.cohere_fake import CITATION, START, end, event, text, whole
from support.gateway import UPSTREAM_KEY, Gateway, config
from support.probed import Probed

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def through():
    with up.Fake() as fake:
        base_url = fake.base_url.removesuffix("/v1")
        providers = {
            "up": {"dialect": "cohere", "base_url": base_url, "api_key": UPSTREAM_KEY, "list_models": False}
        }
        models = [{"name": "m", "targets": [{"provider": "up", "model": "command"}]}]
        with Gateway(config(default_model="m", providers=providers, models=models)) as gateway:
            with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
                yield client, fake, gateway


def test_chat(through):
    client, fake, _ = through
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello"}]
    fake.then(whole({"content": content, "citations": [CITATION]}))
    answer = client.chat.completions.create(
        model="m", messages=HI, temperature=0.5, max_tokens=9, stop=["x"], top_p=0.5
    )
    message = answer.choices[0].message
    assert message.content == "Hello"
    assert message.reasoning_content == "hm"
    assert message.annotations[0].url_citation.url == "http://there.example/"
    assert message.annotations[0].url_citation.end_index == 5
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 4)
    assert fake.last.path == "/v2/chat"
    assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert fake.last.json() == {
        "model": "command",
        "messages": HI,
        "max_tokens": 9,
        "temperature": 0.5,
        "p": 0.5,
        "stop_sequences": ["x"],
    }


def test_stream(through):
    client, fake, _ = through
    cited = event("citation-start", {"citations": CITATION}, index=0)
    fake.then(up.script(START, text("", "content-start"), text("Hel"), text("lo"), cited, end(), "finish"))
    chunks = list(
        client.chat.completions.create(model="m", messages=HI, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 13
    assert fake.last.json()["stream"] is True


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(through, streamed):
    client, fake, _ = through
    call = {"id": "w_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}
    if streamed:
        begun = {**call, "function": {"name": "weather", "arguments": ""}}
        pieces = [event("tool-call-delta", {"tool_calls": {"function": {"arguments": p}}}, index=0)
                  for p in ('{"city":', '"Graz"}')]  # fmt: skip
        fake.then(
            up.script(
                START,
                event("tool-plan-delta", {"tool_plan": "I will look."}),
                event("tool-call-start", {"tool_calls": begun}, index=0),
                *pieces,
                event("tool-call-end", index=0),
                end("TOOL_CALL"),
                "finish",
            )
        )
    else:
        fake.then(whole({"tool_plan": "I will look.", "tool_calls": [call]}, "TOOL_CALL"))
    answer = client.chat.completions.create(
        model="m", messages=HI, tools=[TOOL], tool_choice="required", stream=streamed
    )
    if streamed:
        calls = [item for chunk in answer for choice in chunk.choices for item in choice.delta.tool_calls or []]
        arguments = "".join(item.function.arguments or "" for item in calls)
    else:
        assert answer.choices[0].finish_reason == "tool_calls"
        assert answer.choices[0].message.reasoning_content == "I will look."
        calls = answer.choices[0].message.tool_calls
        arguments = calls[0].function.arguments
    assert calls[0].id == "w_1"
    assert calls[0].function.name == "weather"
    assert arguments == '{"city":"Graz"}'
    assert fake.last.json()["tools"] == [TOOL]
    assert fake.last.json()["tool_choice"] == "REQUIRED"

    fake.then(whole({"content": [{"type": "text", "text": "Sunny"}]}))
    result = {"role": "tool", "tool_call_id": "w_1", "content": "sun"}
    history = [*HI, {"role": "assistant", "content": None, "tool_calls": [call]}, result]
    client.chat.completions.create(model="m", messages=history, tools=[TOOL])
    assert fake.last.json()["messages"] == [*HI, {"role": "assistant", "tool_calls": [call]}, result]


def test_structured_output(through):
    client, fake, _ = through
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    fake.then(whole({"content": [{"type": "text", "text": '{"a":1}'}]}))
    answer = client.chat.completions.create(
        model="m",
        messages=HI,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content) == {"a": 1}
    assert fake.last.json()["response_format"] == {"type": "json_object", "json_schema": schema}


def test_embeddings(through):
    client, fake, _ = through
    made = {"id": "e", "embeddings": {"float": [[0.5, -1.0]]}, "meta": {"billed_units": {"input_tokens": 3}}}
    fake.then(up.whole(made))
    answer = client.embeddings.create(model="m", input="a", extra_body={"input_type": "search_query"})
    assert answer.data[0].embedding == [0.5, -1.0]
    assert answer.usage.prompt_tokens == 3
    assert fake.last.path == "/v2/embed"
    assert fake.last.json()["input_type"] == "search_query"


def test_rerank(through):
    _, fake, gateway = through
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    fake.then(up.whole({"id": "r", "results": results, "meta": {"billed_units": {"search_units": 1}}}))
    body = {"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "top_n": 2}
    answer = gateway.post("/v1/rerank", body)
    assert answer.status == 200
    assert answer.json()["results"] == results
    assert fake.last.path == "/v2/rerank"
    assert fake.last.json() == {"model": "command", "query": "q", "documents": ["a", "b"], "top_n": 2}


def test_rerank_returns_documents(through):
    """Cohere does not: they are the client's own."""
    _, fake, gateway = through
    fake.then(up.whole({"id": "r", "results": [{"index": i, "relevance_score": 0.5} for i in (1, 0)]}))
    documents = ["a", {"text": "b", "id": 7}]
    answer = gateway.post(
        "/v1/rerank", {"model": "m", "query": "q", "documents": documents, "return_documents": True}
    )
    assert [item["document"] for item in answer.json()["results"]] == [documents[1], {"text": "a"}]
    assert "x-penstock-dropped" not in answer.headers


def test_rerank_without_a_query(through):
    _, fake, gateway = through
    answer = gateway.post("/v1/rerank", {"model": "m", "documents": ["a"]})
    assert answer.status == 400
    assert answer.json()["error"]["param"] == "query"
    assert fake.requests == []


def test_rerank_within_the_family():
    """vLLM's answer and what it is asked pass as they are, but for the model's name."""
    said = b'{"id":"score-1", "model":"up-model","results":[{"index":0,"document":{"text":"a"},"relevance_score":1e-1}]}'
    with up.Fake() as server:
        fake = Probed(server)
        settings = config(server)
        settings["providers"]["up"]["dialect"] = "vllm"
        with Gateway(settings) as gateway:
            fake.then(up.whole(said))
            answer = gateway.post("/v1/rerank", b'{"query":"q" ,"documents":["a"],"model":"m","x":1.0}')
            assert answer.status == 200
            assert answer.body == said
            assert fake.last.path == "/v1/rerank"
            assert fake.last.body == b'{"query":"q" ,"documents":["a"],"model":"up-model","x":1.0}'


def test_errors(through):
    client, fake, _ = through
    fake.then(up.whole({"message": "too many tokens: 9000"}, 400))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=HI)
    assert caught.value.code == "context_length_exceeded"
    fake.then(up.whole({"message": "blocked"}, 498))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=HI)
    assert caught.value.code == "content_policy_violation"


def test_our_key_is_not_the_clients(through):
    client, fake, _ = through
    fake.always(up.whole({"message": "invalid api token"}, 401))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="m", messages=HI)
    assert caught.value.status_code == 502
    assert "token" not in caught.value.message


def test_error_at_the_end_of_a_stream(through):
    client, fake, _ = through
    fake.then(up.script(START, text("Hel"), end("ERROR", error="it broke"), "finish"))
    texts = []
    with pytest.raises(openai.APIError, match="it broke"):
        for chunk in client.chat.completions.create(model="m", messages=HI, stream=True):
            texts.append(chunk.choices[0].delta.content or "")
    assert "".join(texts) == "Hel"
