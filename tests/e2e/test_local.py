# SPDX-License-Identifier: Apache-2.0
"""Models inside the gateway: every door, sampling, errors. One gateway for all of these tests."""

import base64
import json
import math
import struct

import pytest

from support.gateway import Gateway
from support.local import (
    ENDLESS,
    SKY,
    SKY_ANSWER,
    local,
    needs_llama,
    nothing_left,
    text_of,
    until,
    user,
)
from support.raw import events

pytestmark = needs_llama

JSON = [("Content-Type", "application/json")]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
PLAIN = [("Content-Type", "text/plain")]
WANT_TEXT = [("Accept", "text/plain")]
STORY = user("Tell me a story about a fox.")


@pytest.fixture(scope="module")
def gateway():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


def chat(gateway, **fields):
    fields = {"model": "tiny", "messages": user(SKY), "temperature": 0, **fields}
    return gateway.post("/v1/chat/completions", fields)


def choice(answer):
    assert answer.status == 200, answer
    (one,) = answer.json()["choices"]
    return one


def content(answer):
    return choice(answer)["message"]["content"]


def refused(answer, code, param=None, status=400):
    assert answer.status == status, answer
    assert answer.error["code"] == code
    if param:
        assert answer.error["param"] == param, answer.error
    return answer.error["message"]


# Without any configuration


def test_without_configuration(start):
    """-l only keeps the test away from port 8080."""
    gateway = start(None, arguments=["-l", "127.0.0.1:0"])
    answer = gateway.post("/generate", '{"prompt":"What color is the sky?","temperature":0}', FORM)
    assert answer.status == 200
    assert answer.json()["text"] == SKY_ANSWER
    assert answer.headers.get("x-penstock-provider") == "embedded"
    answer = gateway.post("/generate", "Why is the sky blue?", FORM + WANT_TEXT)
    assert answer.status == 200 and answer.text.strip()
    assert [model["id"] for model in gateway.get("/v1/models").json()["data"]] == ["tiny"]
    assert choice(chat(gateway))["message"]["content"] == SKY_ANSWER
    assert gateway.post("/v1/chat/completions", {"messages": user("hi")}).json()["model"] == "tiny"
    nothing_left(gateway)


def test_ready_once_loaded(gateway):
    assert chat(gateway).status == 200
    assert gateway.get("/health/ready").status == 200
    (line,) = gateway.find_log(msg="model loaded")
    assert line["provider"] == "embedded" and line["slots"] == 4 and line["context_tokens"] == 1024
    assert line["weight_bytes"] > 0 and line["kv_bytes"] > 0


# POST /generate


def test_generate_json(gateway):
    body = gateway.post("/generate", {"prompt": SKY, "temperature": 0}).json()
    assert set(body) == {"id", "model", "provider", "text", "finish_reason", "usage", "timing"}
    assert body["text"] == SKY_ANSWER
    assert body["finish_reason"] == "stop"
    assert (body["provider"], body["model"]) == ("embedded", "tiny")
    usage = body["usage"]
    assert usage["prompt_tokens"] > 0 and usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    timing = body["timing"]
    assert timing["total_ms"] >= timing["first_token_ms"] >= timing["queue_ms"] >= 0


def test_generate_streamed(gateway):
    whole = gateway.post("/generate", {"prompt": SKY, "temperature": 0}).json()
    answer = gateway.post("/generate", {"prompt": SKY, "temperature": 0, "stream": True})
    assert answer.headers.get("content-type").split(";")[0] == "text/event-stream"
    *deltas, last, done = events(answer.body)
    assert done == "[DONE]"
    assert len(deltas) > 1
    assert "".join(item["text"] for item in deltas) == whole["text"]
    assert last["finish_reason"] == "stop"
    assert last["usage"] == whole["usage"]


@pytest.mark.parametrize("how", [FORM, PLAIN])
@pytest.mark.parametrize("accept", [[], WANT_TEXT])
def test_generate_from_a_bare_prompt(gateway, how, accept):
    answer = gateway.post("/generate", SKY, how + accept)
    assert answer.status == 200
    assert (answer.text if accept else answer.json()["text"]).strip()


def test_generate_as_bare_text(gateway):
    answer = gateway.post("/generate", {"prompt": SKY, "temperature": 0}, WANT_TEXT)
    assert answer.headers.get("content-type").split(";")[0] == "text/plain"
    assert answer.text.rstrip("\n") == SKY_ANSWER


def test_generate_system_and_messages(gateway):
    plain = gateway.post("/generate", {"prompt": SKY, "temperature": 0}).json()["usage"]
    body = {"messages": user(SKY), "system": "Answer in one sentence.", "temperature": 0}
    answer = gateway.post("/generate", body).json()
    assert answer["text"] == SKY_ANSWER
    assert answer["usage"]["prompt_tokens"] > plain["prompt_tokens"]


# The /v1 doors


def test_chat(gateway):
    answer = chat(gateway)
    body = answer.json()
    assert body["object"] == "chat.completion" and body["model"] == "tiny" and body["id"]
    assert choice(answer)["message"] == {"role": "assistant", "content": SKY_ANSWER, "refusal": None}
    assert choice(answer)["finish_reason"] == "stop" and choice(answer)["index"] == 0
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert answer.headers.get("x-penstock-provider") == "embedded"
    assert answer.headers.get("x-penstock-attempts") == "1"


@pytest.mark.parametrize("wants", [False, True])
def test_chat_streamed(gateway, wants):
    usage = chat(gateway).json()["usage"]
    more = {"stream_options": {"include_usage": True}} if wants else {}
    answer = chat(gateway, stream=True, **more)
    *chunks, done = events(answer.body)
    assert done == "[DONE]"
    assert text_of(chunks) == SKY_ANSWER
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert len({chunk["id"] for chunk in chunks}) == 1
    if wants:
        last = chunks.pop()
        assert last["choices"] == [] and last["usage"] == usage
    assert all(chunk.get("usage") is None for chunk in chunks)
    finishes = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert finishes == [None] * (len(chunks) - 1) + ["stop"]


def test_chat_remembers_the_conversation(gateway):
    turns = [*user(SKY), {"role": "assistant", "content": SKY_ANSWER}, *user("What color is the grass?")]
    assert content(chat(gateway, messages=turns)) == "The grass is green."


def test_text_parts(gateway):
    parts = [{"type": "text", "text": "What color "}, {"type": "text", "text": "is the sky?"}]
    assert content(chat(gateway, messages=user(parts))) == SKY_ANSWER


def test_completions(gateway):
    body = {"model": "tiny", "prompt": "Once upon a", "max_tokens": 5, "temperature": 0}
    answer = gateway.post("/v1/completions", body)
    assert answer.json()["object"] == "text_completion"
    text = choice(answer)["text"]
    assert text.startswith(" time")
    assert choice(answer)["finish_reason"] == "length"
    assert answer.json()["usage"]["completion_tokens"] == 5
    streamed = events(gateway.post("/v1/completions", {**body, "stream": True}).body)
    assert streamed[-1] == "[DONE]"
    assert "".join(item["choices"][0]["text"] for item in streamed[:-1]) == text
    assert gateway.post("/v1/completions", {**body, "prompt": ["Once upon a"]}).json()["choices"] == [
        choice(answer)
    ]


def test_models(gateway):
    (model,) = gateway.get("/v1/models").json()["data"]
    assert model["id"] == "tiny" and model["object"] == "model"
    assert gateway.get("/v1/models/tiny").json()["id"] == "tiny"
    assert chat(gateway, model="nope").status == 404


def test_several_requests_on_one_connection(gateway):
    with gateway.connect() as connection:
        for stream in (False, True, False):
            body = {"model": "tiny", "messages": user(SKY), "temperature": 0, "stream": stream}
            connection.request("POST", "/v1/chat/completions", JSON, json.dumps(body).encode())
            answer = connection.read_response()
            assert (text_of(events(answer.body)) if stream else content(answer)) == SKY_ANSWER


# Embeddings


def embed(gateway, texts, **more):
    answer = gateway.post("/v1/embeddings", {"model": "tiny", "input": texts, **more})
    assert answer.status == 200, answer
    body = answer.json()
    assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] > 0
    return [item["embedding"] for item in body["data"]]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def test_embeddings_have_a_sense(gateway):
    sky, sea, count = embed(gateway, [SKY, "What color is the sea?", "Count from one to four."])
    assert cosine(sky, sea) > cosine(sky, count)
    assert cosine(sky, sea) > cosine(sea, count)
    for vector in (sky, sea, count):
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-4)


def test_embeddings_as_float_and_as_base64(gateway):
    floats = embed(gateway, [SKY, "b"])
    assert floats == embed(gateway, [SKY, "b"], encoding_format="float")
    for vector, text in zip(floats, embed(gateway, [SKY, "b"], encoding_format="base64"), strict=True):
        data = base64.b64decode(text, validate=True)
        assert len(data) == 4 * len(vector)
        bits = struct.pack(f"<{len(vector)}f", *vector)
        assert bits == data


def test_embeddings_of_one_and_of_many(gateway):
    (alone,) = embed(gateway, SKY)
    among = embed(gateway, [f"Number {i}." for i in range(100)] + [SKY])
    assert len(among) == 101
    assert cosine(among[-1], alone) > 0.999


@pytest.mark.parametrize("value", ["", [], [""], ["a", ""], [1, 2], [[1, 2]], 5, None])
def test_embeddings_of_what_is_no_text(gateway, value):
    answer = gateway.post("/v1/embeddings", {"model": "tiny", "input": value})
    assert answer.status == 400
    assert answer.error["param"] == "input"


# Sampling


def test_the_same_seed_gives_the_same_answer(gateway):
    def tell(seed):
        return content(chat(gateway, messages=STORY, temperature=1.5, seed=seed, max_tokens=40))

    first = [tell(seed) for seed in range(5)]
    assert [tell(seed) for seed in range(5)] == first
    assert len(set(first)) > 1


def test_a_seed_gives_the_same_streamed(gateway):
    fields = {"messages": STORY, "temperature": 1.5, "seed": 9, "max_tokens": 40}
    assert text_of(events(chat(gateway, stream=True, **fields).body)) == content(chat(gateway, **fields))


def test_temperature_0_is_the_same_each_time(gateway):
    assert len({content(chat(gateway, messages=STORY)) for _ in range(4)}) == 1


@pytest.mark.parametrize("only", [{"top_k": 1}, {"top_p": 0}, {"min_p": 1}])
def test_only_the_likeliest_is_left(gateway, only):
    greedy = content(chat(gateway, messages=STORY, max_tokens=30))
    assert content(chat(gateway, messages=STORY, max_tokens=30, temperature=1.2, **only)) == greedy


@pytest.mark.parametrize("count", [1, 2, 7])
def test_max_tokens(gateway, count):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = chat(gateway, messages=STORY, **{name: count})
        assert choice(answer)["finish_reason"] == "length"
        assert answer.json()["usage"]["completion_tokens"] == count
    stream = events(chat(gateway, messages=STORY, max_tokens=count, stream=True).body)
    assert stream[-2]["choices"][0]["finish_reason"] == "length"
    generated = gateway.post("/generate", {"messages": STORY, "temperature": 0, "max_tokens": count}).json()
    assert generated["finish_reason"] == "length"
    assert generated["usage"]["completion_tokens"] == count


def story_tokens(gateway):
    """A greedy answer and where in it its tokens begin."""
    with_tokens = chat(gateway, messages=STORY, max_tokens=24, logprobs=True)
    text = content(with_tokens)
    ends, at = [], len(text)
    for entry in reversed(choice(with_tokens)["logprobs"]["content"]):
        at -= len(entry["token"])
        ends.insert(0, at)
    return text, [start for start in ends if start >= 0]


def test_stop_strings_across_tokens_are_never_shown(gateway):
    text, starts = story_tokens(gateway)
    assert len(starts) > 10
    for border in starts[2:-2:3]:
        stop = text[border - 2 : border + 2]
        expected = text[: text.index(stop)]
        answer = chat(gateway, messages=STORY, max_tokens=24, stop=stop, logprobs=True)
        assert content(answer) == expected, stop
        assert choice(answer)["finish_reason"] == "stop"
        shown = "".join(entry["token"] for entry in choice(answer)["logprobs"]["content"])
        assert stop not in shown and len(shown) <= len(expected)
        streamed = chat(gateway, messages=STORY, max_tokens=24, stop=["never said", stop], stream=True)
        found = events(streamed.body)
        assert text_of(found) == expected, stop
        assert found[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_stop_string_that_begins_but_does_not_come_takes_nothing_away(gateway):
    text, starts = story_tokens(gateway)
    stops = [text[start - 1 : start + 2] + "\u2603" for start in starts[2:10:2]]
    assert content(chat(gateway, messages=STORY, max_tokens=24, stop=stops)) == text
    tail = text[-3:] + "\u2603"  # held back at the very end, and shown all the same
    assert content(chat(gateway, messages=STORY, max_tokens=24, stop=tail)) == text
    assert text_of(events(chat(gateway, messages=STORY, max_tokens=24, stop=tail, stream=True).body)) == text


def test_a_stop_string_at_once_gives_an_empty_answer(gateway):
    answer = chat(gateway, stop="The")
    assert content(answer) == "" and choice(answer)["finish_reason"] == "stop"
    streamed = events(chat(gateway, stop="The", stream=True).body)
    assert text_of(streamed) == "" and streamed[-1] == "[DONE]"
    assert streamed[-2]["choices"][0]["finish_reason"] == "stop"


def check_logprobs(entries, text, top):
    assert "".join(bytes(b for e in entries for b in e["bytes"]).decode()) == text
    for entry in entries:
        assert entry["logprob"] <= 0 and entry["token"].encode() == bytes(entry["bytes"])
        assert len(entry["top_logprobs"]) == top
        values = [other["logprob"] for other in entry["top_logprobs"]]
        assert values == sorted(values, reverse=True)
        if top:
            assert entry["top_logprobs"][0]["token"] == entry["token"]  # greedy
            assert entry["logprob"] == pytest.approx(values[0])


@pytest.mark.parametrize("top", [0, 3, 20])
def test_logprobs(gateway, top):
    answer = chat(gateway, logprobs=True, top_logprobs=top, max_tokens=4)
    entries = choice(answer)["logprobs"]["content"]
    check_logprobs(entries, content(answer), top)
    assert len(entries) == 4
    assert choice(chat(gateway))["logprobs"] is None


def test_logprobs_streamed(gateway):
    found = events(chat(gateway, logprobs=True, top_logprobs=2, max_tokens=4, stream=True).body)[:-1]
    logs = [chunk["choices"][0]["logprobs"] for chunk in found]
    check_logprobs([entry for log in logs if log for entry in log["content"]], text_of(found), 2)


def test_logprobs_of_completions(gateway):
    body = {"model": "tiny", "prompt": "Once upon", "max_tokens": 4, "temperature": 0, "logprobs": 2}
    one = choice(gateway.post("/v1/completions", body))
    logs = one["logprobs"]
    assert "".join(logs["tokens"]) == one["text"]
    assert len(logs["tokens"]) == len(logs["token_logprobs"]) == len(logs["top_logprobs"]) == 4
    assert logs["text_offset"] == [
        logs["text_offset"][0] + sum(map(len, logs["tokens"][:i])) for i in range(4)
    ]
    assert all(len(top) == 2 for top in logs["top_logprobs"])


def test_characters_are_never_broken(gateway):
    """At this temperature tokens come at random, parts of characters among them."""
    for seed in range(4):
        fields = {"temperature": 100, "top_k": 0, "top_p": 1, "seed": seed, "max_tokens": 60}
        answer = chat(gateway, stream=True, **fields)
        texts = [text_of([item]) for item in events(answer.body)]  # raises on bytes that are no UTF-8
        assert "".join(texts) == content(chat(gateway, **fields))


def test_what_users_write_is_no_control_token(gateway):
    def tokens(text):
        answer = chat(gateway, messages=user(text), max_tokens=1)
        return answer.json()["usage"]["prompt_tokens"]

    assert tokens("a<|im_end|>") > tokens("a") + 2
    assert tokens("é 𝄞 日本") > tokens("a")


# JSON


def test_json_object(gateway):
    complete = 0
    for seed in range(4):
        form = {"type": "json_object"}
        answer = chat(gateway, temperature=1, seed=seed, response_format=form, max_tokens=300)
        if choice(answer)["finish_reason"] == "stop":
            assert isinstance(json.loads(content(answer)), dict)
            complete += 1
        else:
            assert content(answer).startswith("{")
    assert complete > 0


def schema_chat(gateway, schema, **more):
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    return chat(gateway, response_format=form, **more)


def test_json_schema(gateway):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 12},
            "color": {"enum": ["red", "blue", 7, None]},
            "sizes": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
            "deep": {"$ref": "#/$defs/pair"},
            "either": {"anyOf": [{"type": "boolean"}, {"const": "maybe"}]},
            "left out": {"type": "null"},
        },
        "required": ["name", "color", "sizes", "deep", "either"],
        "additionalProperties": False,
        "$defs": {
            "pair": {
                "type": "object",
                "properties": {"x": {"type": "number"}, "y": {"type": "boolean"}},
                "required": ["x", "y"],
            }
        },
    }
    for seed in range(3):
        answer = schema_chat(gateway, schema, seed=seed, temperature=0.7)
        assert choice(answer)["finish_reason"] == "stop", answer
        got = json.loads(content(answer))
        assert list(got)[:5] == ["name", "color", "sizes", "deep", "either"]
        assert set(got) <= set(schema["properties"])
        assert isinstance(got["name"], str) and 1 <= len(got["name"]) <= 12
        assert got["color"] in ["red", "blue", 7, None]
        assert 2 <= len(got["sizes"]) <= 3 and all(type(item) is int for item in got["sizes"])
        assert set(got["deep"]) == {"x", "y"} and type(got["deep"]["y"]) is bool
        assert got["either"] in (True, False, "maybe")


def test_json_schema_streamed(gateway):
    schema = {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3, "maxItems": 3}
    found = events(schema_chat(gateway, schema, stream=True).body)
    assert len(json.loads(text_of(found))) == 3


@pytest.mark.parametrize(
    "schema, word",
    [
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"type": "string", "pattern": "a+"}, "pattern"),
        ({"type": "number", "minimum": 0}, "minimum"),
        ({"type": "integer", "multipleOf": 2}, "multipleOf"),
        ({"type": "array", "items": {}, "uniqueItems": True}, "uniqueItems"),
        ({"allOf": [{"type": "string"}]}, "allOf"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "object", "properties": {"a": {"if": {}}}, "required": ["a"]}, "if"),
        ({"type": "string", "maxLength": 257}, "maxLength"),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 65}, "maxItems"),
        ({"$ref": "http://127.0.0.1/schema"}, "$ref"),
        ({"$ref": "#/$defs/nobody"}, "$ref"),
        ({"type": "thing"}, "type"),
    ],
)
def test_a_schema_outside_the_subset(gateway, schema, word):
    for stream in (False, True):
        answer = schema_chat(gateway, schema, stream=stream)
        assert answer.status == 400
        assert answer.error["param"].startswith("response_format")
        assert word in answer.error["message"]


# What cannot be done here


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
IMAGE = [
    {"type": "text", "text": "see"},
    {"type": "image_url", "image_url": {"url": "https://localhost/a.png"}},
]


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"tools": TOOLS}, "tools"),
        ({"functions": [{"name": "a"}]}, "functions"),
        ({"n": 2}, "n"),
        ({"messages": user(IMAGE)}, "messages[0].content[1]"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "a", "format": "wav"}}, "audio"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_supported(gateway, fields, param, stream):
    refused(chat(gateway, stream=stream, **fields), "unsupported_operation", param)


def test_tools_that_may_not_be_called_do_no_harm(gateway):
    assert content(chat(gateway, tools=TOOLS, tool_choice="none")) == SKY_ANSWER
    assert content(chat(gateway, tools=[])) == SKY_ANSWER


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"seed": "x"}, "seed"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": "a" * 257}, "stop"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
    ],
)
def test_a_bad_field(gateway, fields, param):
    answer = chat(gateway, **fields)
    assert answer.status == 400, answer
    assert (answer.error["param"] or "").startswith(param), answer.error


def test_fields_that_mean_nothing_here_are_named(gateway):
    answer = chat(gateway, user="u", store=True, metadata={"a": "b"}, reasoning_effort="low")
    assert content(answer) == SKY_ANSWER
    named = {name.strip() for name in answer.headers.get("x-penstock-dropped").split(",")}
    assert named == {"user", "store", "metadata", "reasoning_effort"}
    assert "x-penstock-dropped" not in chat(gateway).headers
    streamed = chat(gateway, user="u", stream=True)
    assert streamed.headers.get("x-penstock-dropped") == "user"


LONG_TEXT = "word " * 3000


@pytest.mark.parametrize(
    "path, body",
    [
        ("/v1/chat/completions", {"messages": user(LONG_TEXT)}),
        ("/v1/chat/completions", {"messages": user(LONG_TEXT), "stream": True}),
        ("/v1/completions", {"prompt": LONG_TEXT}),
        ("/v1/embeddings", {"input": ["short", LONG_TEXT]}),
        ("/generate", {"prompt": LONG_TEXT}),
        ("/generate", {"prompt": LONG_TEXT * 10, "stream": True}),
    ],
)
def test_a_prompt_that_is_too_long(gateway, path, body):
    refused(gateway.post(path, {"model": "tiny", **body}), "context_length_exceeded")


def test_an_answer_ends_where_the_context_does(start):
    gateway = start(local(context=128))
    answer = chat(gateway, **ENDLESS)
    assert choice(answer)["finish_reason"] == "length"
    assert 126 <= answer.json()["usage"]["total_tokens"] <= 128
    stream = events(chat(gateway, stream=True, **ENDLESS).body)
    assert stream[-2]["choices"][0]["finish_reason"] == "length" and stream[-1] == "[DONE]"
    refused(chat(gateway, max_tokens=1000), "context_length_exceeded", "max_tokens")


# What is counted


def test_the_log_line_has_the_tokens(gateway):
    answer = chat(gateway)
    line = gateway.line_of(answer)
    usage = answer.json()["usage"]
    assert line["input_tokens"] == usage["prompt_tokens"]
    assert line["output_tokens"] == usage["completion_tokens"]
    assert (line["provider"], line["model"], line["status"]) == ("embedded", "tiny", 200)
    line = gateway.line_of(chat(gateway, stream=True))
    assert line["output_tokens"] == usage["completion_tokens"] and line["stream"] is True
    line = gateway.line_of(chat(gateway, tools=TOOLS))
    assert line["status"] == 400


def test_metrics_count_the_tokens(gateway):
    def counts():
        names = ["prompt_tokens", "generated_tokens"]
        return [gateway.metric(f"penstock_engine_{name}_total", provider="embedded") for name in names]

    nothing_left(gateway)
    before = counts()
    usage = chat(gateway).json()["usage"]
    until(lambda: counts()[1] - before[1] >= usage["completion_tokens"], "tokens counted")
    assert counts()[0] - before[0] == usage["prompt_tokens"]
    assert counts()[1] - before[1] <= usage["completion_tokens"] + 1  # the token that ends it
