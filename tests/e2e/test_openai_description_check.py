# SPDX-License-Identifier: Apache-2.0
"""The check of what OpenAI's doors say (support/shape.py) finds mistakes."""

import json

import pytest
from support import said, shape
from support.kinds import ASKED, TOOLS, model_of, respond, started
from support.said import Said
from support.shape_responses import check_response, check_response_stream


@pytest.fixture(scope="module")
def servers():
    with started() as both:
        yield both


# The check itself


def places(value, path=()):
    """Every place in a JSON value, outermost first."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from places(child, (*path, name))


def changed(value, path, change):
    """A copy with another value at that place."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], change)
    return copy


# No description reaches in there.
FREE = ("metadata", "parameters", "extra_content", "thinking_blocks", "images", "schema")


def is_described(path):
    return not any(name in FREE for name in path)


def good_chat(servers):
    fake, gateway = servers
    fake.then(said.openai(Said("Hello", thought="hm", calls=2, finish="tool_calls", cited=True, logprobs=True), False))
    return shape.read(gateway.chat(tools=TOOLS).body)


def good_response(servers):
    return shape.read(respond(servers, "anthropic", "calls", **ASKED).body)


@pytest.mark.parametrize("good, check", [(good_chat, None), (good_response, check_response)])
def test_a_mistake_anywhere_is_found(servers, good, check):
    value = good(servers)
    check = check or (lambda value: shape.check(value, shape.ChatCompletion))
    check(value)
    mistakes = 0
    for path in filter(is_described, places(value)):
        found = []
        changed(value, path, found.append)
        wrong = [lambda old: {**old, "zz": 1}] if isinstance(found[0], dict) else [lambda old: {"zz": 1}]
        wrong += [lambda old: 5] if not isinstance(found[0], (int, float)) else [lambda old: "5"]
        for change in wrong:
            mistakes += 1
            with pytest.raises(AssertionError):
                check(changed(value, path, change))
    assert mistakes > 60


def renumbered(events):
    for number, (name, event) in enumerate(events):
        data = json.dumps({**event, "sequence_number": number})
        yield f"event: {name}\ndata: {data}\n\n"


def test_every_event_of_a_response_is_missed(servers):
    fake, gateway = servers
    fake.then(said.anthropic(Said(thought="hm", calls=2, finish="tool_calls", cited=True), True))
    body = gateway.post("/v1/responses", {"model": model_of("anthropic"), "input": "hi", "stream": True}).body
    events = shape.stream_of(body)
    check_response_stream("".join(renumbered(events)).encode())
    for index in range(len(events)):
        twice = events[:index] + [events[index]] + events[index:]
        for wrong in (events[:index] + events[index + 1 :], twice):
            with pytest.raises(AssertionError):
                check_response_stream("".join(renumbered(wrong)).encode())


@pytest.mark.parametrize("lost", ["role", "finish_reason", "usage", "[DONE]", "id"])
def test_what_a_chat_lacks_is_missed(servers, lost):
    fake, gateway = servers
    fake.then(said.openai(Said(calls=1, finish="tool_calls"), True))
    body = gateway.chat(stream=True, stream_options={"include_usage": True}).body
    shape.check_chat_stream(body, True)
    blocks = body.split(b"\n\n")
    marks = {"role": b'"role"', "finish_reason": b'"tool_calls"}', "usage": b'"choices":[]', "id": b'"id":"call_'}
    kept = [block for block in blocks if marks.get(lost, lost.encode()) not in block]
    assert len(kept) == len(blocks) - 1
    with pytest.raises((AssertionError, KeyError)):
        shape.check_chat_stream(b"\n\n".join(kept), True)


@pytest.mark.parametrize(
    "text", [b'{"error":{"message":"x","type":"y","param":null}}', b"{}", b'{"error":{},"error":{}}', b"[]"]
)
def test_an_error_lacks_nothing(text):
    with pytest.raises(AssertionError):
        shape.check_error(text)
