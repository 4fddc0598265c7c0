# SPDX-License-Identifier: Apache-2.0
"""Every answer, event and error of OpenAI's doors is what OpenAI's description says, whatever kind of provider
answers: one gateway with a provider of each kind, and the same things said by all that can say them. Here: chat,
completions, vectors, rankings, images, and errors."""

import pytest
from support import fake as up
from support import said, shape
from support.kinds import (
    OPENAI,
    ROWS,
    SAID,
    SAYS,
    TELLS_NOTHING,
    is_weather,
    model_of,
    ok,
    started,
)
from support.local import SKY, has_llama, needs_llama, user
from support.said import Said


@pytest.fixture(scope="module")
def servers():
    with started() as both:
        yield both


@pytest.fixture(scope="module")
def ailing():
    """The same for those that leave their providers in bad health."""
    with started() as both:
        yield both


# Chat


def expect(choices, wanted):
    """Not only the shape: it says what was said."""
    assert len(choices) == wanted.choices
    for choice in choices:
        message = choice["message"]
        assert (message["content"] or "") == (wanted.text or "")
        assert message.get("reasoning_content") == wanted.thought or wanted.text is None
        assert message["refusal"] == wanted.refusal
        assert choice["finish_reason"] == wanted.finish
        calls = message.get("tool_calls", [])
        assert len(calls) == wanted.calls and all(is_weather(call["function"]) for call in calls)
        assert len({call["id"] for call in calls}) == len(calls)
        cited = message.get("annotations", [])
        assert [one["url_citation"]["url"] for one in cited] == [said.URL] * wanted.cited
        assert len(message.get("images", [])) == wanted.picture
        tokens = (choice["logprobs"] or {}).get("content") or []
        assert "".join(token["token"] for token in tokens) == (wanted.text if wanted.logprobs else "")
        assert all(len(token["top_logprobs"]) == 2 for token in tokens)


@pytest.mark.parametrize("kind, what", ROWS)
def test_chat(servers, kind, what):
    fake, gateway = servers
    wanted, fields = SAID[what]
    fake.then(SAYS[kind](wanted, False))
    answer = shape.check(ok(gateway.chat(model=model_of(kind), **fields), False), shape.ChatCompletion)
    expect(answer["choices"], wanted)


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("kind, what", ROWS)
def test_streamed_chat(servers, kind, what, usage):
    fake, gateway = servers
    wanted, fields = SAID[what]
    fake.then(SAYS[kind](wanted, True))
    fields = {**fields, "stream_options": {"include_usage": usage}}
    body = ok(gateway.chat(model=model_of(kind), stream=True, **fields), True)
    choices, counts = shape.check_chat_stream(body, usage and kind not in TELLS_NOTHING)
    expect(choices, wanted)


# The model inside


INSIDE = {
    "text": {},
    "json": SAID["json"][1],
    "length": {"max_tokens": 2},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
}


@needs_llama
@pytest.mark.parametrize("what", INSIDE)
def test_chat_inside(servers, what):
    _, gateway = servers
    fields = {"model": model_of("embedded"), "messages": user(SKY), "temperature": 0, **INSIDE[what]}
    whole = shape.check(ok(gateway.chat(fields), False), shape.ChatCompletion)
    body = ok(gateway.chat(fields, stream=True, stream_options={"include_usage": True}), True)
    choices, counts = shape.check_chat_stream(body, True)
    assert [one["message"]["content"] for one in choices] == [one["message"]["content"] for one in whole["choices"]]
    assert counts["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert bool(choices[0]["logprobs"]) == bool(whole["choices"][0]["logprobs"]) == ("logprobs" in fields)


# Completions

COMPLETES = (*OPENAI, "ollama", "tgi", "triton", "tensor", "http", *(["embedded"] * has_llama()))


def completion(kind, stream):
    if kind in OPENAI:
        return up.answer
    if kind != "ollama":
        return SAYS[kind](Said(), stream)
    pieces = [{"model": "q", "created_at": "x", "response": text, "done": False} for text in ("Hel", "lo")]
    end = {"model": "q", "created_at": "x", **said.ollama.END}
    return said.ollama.stream(*pieces, {"response": "", **end}) if stream else up.whole({"response": "Hello", **end})


def ask_completion(servers, kind, **fields):
    fake, gateway = servers
    if kind != "embedded":
        fake.then(completion(kind, fields.get("stream", False)))
    body = {"model": model_of(kind), "prompt": "Once upon a", "max_tokens": 9, **fields}
    return gateway.post("/v1/completions", body)


@pytest.mark.parametrize("kind", COMPLETES)
def test_completion(servers, kind):
    answer = shape.check(ok(ask_completion(servers, kind), False), shape.Completion)
    assert answer["choices"][0]["text"] == "Hello" or kind == "embedded"


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize("kind", COMPLETES)
def test_streamed_completion(servers, kind, usage):
    answer = ask_completion(servers, kind, stream=True, stream_options={"include_usage": usage})
    choices, _ = shape.check_completion_stream(ok(answer, True), usage and kind not in TELLS_NOTHING)
    assert choices[0]["text"] == "Hello" or kind == "embedded"


@needs_llama
@pytest.mark.parametrize("stream", [True, False])
def test_completion_inside_with_scores(servers, stream):
    answer = ask_completion(servers, "embedded", logprobs=2, stream=stream)
    if stream:
        shape.check_completion_stream(ok(answer, True), False)
        assert b'"tokens":["' in answer.body
    else:
        (choice,) = shape.check(ok(answer, False), shape.Completion)["choices"]
        assert "".join(choice["logprobs"]["tokens"]) == choice["text"]


# Vectors and rankings

VECTORS = [[0.5, -1.0], [2.0, 0.25]]
FLAT = VECTORS[0] + VECTORS[1]
EMBEDS = {
    **dict.fromkeys(OPENAI, up.answer),
    "gemini": up.whole({"embeddings": [{"values": vector} for vector in VECTORS]}),
    "cohere": up.whole({"id": "e", "embeddings": {"float": VECTORS}, "meta": {"billed_units": {"input_tokens": 3}}}),
    "ollama": up.whole({"model": "q", "embeddings": VECTORS, "prompt_eval_count": 4}),
    "triton": up.whole({"outputs": [{"name": "embedding", "datatype": "FP32", "shape": [2, 2], "data": FLAT}]}),
    "http": up.whole({"vectors": VECTORS}),
    **({"embedded": None} if has_llama() else {}),
}


@pytest.mark.parametrize("form", ["float", "base64", None])
@pytest.mark.parametrize("kind", EMBEDS)
def test_embeddings(servers, kind, form):
    fake, gateway = servers
    if EMBEDS[kind]:
        fake.then(EMBEDS[kind])
    fields = {"encoding_format": form} if form else {}
    answer = gateway.post("/v1/embeddings", {"model": model_of(kind), "input": ["a", "b"], **fields})
    assert (b'"embedding":[' in answer.body.replace(b" ", b"")) == (form != "base64")
    found = [entry["embedding"] for entry in shape.check_embeddings(ok(answer, False))["data"]]
    assert found == VECTORS or kind in (*OPENAI, "embedded")
    assert len(found) == 2


@pytest.mark.parametrize("kind", ["cohere", "vllm"])
def test_ranking(servers, kind):
    fake, gateway = servers
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    more = {"model": "up-model"} if kind == "vllm" else {"meta": {"billed_units": {"search_units": 1}}}
    fake.then(up.whole({"id": "r", "results": results, **more}))
    body = {"model": model_of(kind), "query": "q", "documents": ["a", {"text": "b"}], "return_documents": True}
    answer = shape.check(ok(gateway.post("/v1/rerank", body), False), shape.Ranking)
    assert [one["index"] for one in answer["results"]] == [1, 0]


def test_images(servers):
    fake, gateway = servers
    fake.then(up.whole({"created": 1790000000, "data": [{"b64_json": said.PICTURE}]}))
    shape.check(
        ok(gateway.post("/v1/images/generations", {"model": model_of("openai"), "prompt": "a fox"}), False),
        shape.ImagesResponse,
    )


# Errors

KINDS = (*SAYS, "native")
DOORS = {
    "/v1/chat/completions": {"messages": user("hi")},
    "/v1/responses": {"input": "hi"},
    "/v1/completions": {"prompt": "hi"},
    "/v1/embeddings": {"input": "hi"},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_provider(ailing, kind, stream):
    fake, gateway = ailing
    for path in ("/v1/chat/completions", "/v1/responses"):
        fake.then(said.limit(kind))
        answer = gateway.post(path, {"model": model_of(kind), "stream": stream, **DOORS[path]})
        assert answer.status in (429, 503), answer
        shape.check_error(answer.body)


@pytest.mark.parametrize("kind", [kind for kind in SAYS if kind != "tensor"])
def test_a_chat_that_breaks(ailing, kind):
    fake, gateway = ailing
    fake.then(said.cut(kind))
    with gateway.connect() as connection:
        gateway.open_chat(connection, model=model_of(kind))
        body, _ = connection.read_cut(connection.read_head())
    choices, _ = shape.check_chat_stream(body, cut=True)
    assert choices[0]["message"]["content"] == "Hel"


WRONG = {
    "/v1/chat/completions": [{"messages": 5}, {"temperature": -1}, {"stream": "yes"}],
    "/v1/responses": [{"input": 5}, {"temperature": -1}, {"previous_response_id": "resp_none"}],
    "/v1/completions": [{"prompt": {}}, {"max_tokens": "many"}],
    "/v1/embeddings": [{"input": {}}],
    "/v1/rerank": [],
    "/v1/batches": [{}, {"input_file_id": "file-none", "endpoint": "/v1/chat/completions"}],
    "/v1/files": [{}],
}


@pytest.mark.parametrize("path", WRONG)
def test_our_own_errors(servers, path):
    _, gateway = servers
    bodies = [{"model": "m", **DOORS.get(path, {}), **wrong} for wrong in (*WRONG[path], {"model": "nobody"})]
    answers = [gateway.post(path, body) for body in (*bodies, b"{", b"\xff", b"[1]")]
    answers += [gateway.ask("BREW", path), gateway.get("/v1/files/none/none")]
    for answer in answers:
        assert answer.status in (400, 404, 405, 415), answer
        shape.check_error(answer.body)


@pytest.mark.parametrize("kind", [kind for kind in SAYS if kind not in OPENAI])
def test_what_a_provider_cannot_do(servers, kind):
    _, gateway = servers
    audio = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}]}]
    for fields in ({"messages": audio, "n": 9}, {"messages": audio, "logprobs": True, "n": 9}):
        answer = gateway.chat(model=model_of(kind), **fields)
        assert answer.status == 400, answer
        assert shape.check_error(answer.body)["param"]
