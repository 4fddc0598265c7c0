# SPDX-License-Identifier: Apache-2.0
"""Whether answers and streams of /v1/responses are what OpenAI's description says, and say the same all the way
(see shape.py)."""

import json
import typing

from openai.types.responses import Response, ResponseStreamEvent

from .shape import check, stream_of

EVENTS = {
    typing.get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in typing.get_args(typing.get_args(ResponseStreamEvent)[0])
}
# What opens a part, what adds to it, what says all of it, what closes it; by the type of the part.
PARTS = {
    "output_text": ("content_part", "output_text", "text"),
    "refusal": ("content_part", "refusal", "refusal"),
    "reasoning_text": ("content_part", "reasoning_text", "text"),
    "summary_text": ("reasoning_summary_part", "reasoning_summary_text", "text"),
}
CALLS = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}
LAST = {"completed": "response.completed", "incomplete": "response.incomplete", "failed": "response.failed"}


def check_response(value):
    """A response object, and what its members say about each other."""
    value = check(value, Response)
    assert (value["error"] is not None) == (value["status"] == "failed")
    assert (value["incomplete_details"] is not None) == (value["status"] == "incomplete")
    ids = [item["id"] for item in value["output"]]
    assert len(set(ids)) == len(ids) and all(ids)
    if value["status"] != "in_progress":
        assert all(item.get("status") in (None, "completed", "incomplete") for item in value["output"])
    return value


def check_response_stream(body):
    """A streamed response: each event by itself, their order, and that the pieces are what the end says. The
    response that it ends with."""
    found = stream_of(body)
    for index, (name, event) in enumerate(found):
        assert name == event["type"], (name, event)
        assert name in EVENTS, f"{name} is no event that the description knows"
        check(event, EVENTS[name], f"event {index}, {name}")
        assert event["sequence_number"] == index
    events = [event for _, event in found]
    assert "response" in events[0] and "response" in events[-1]
    first, last = events[0]["response"], events[-1]["response"]
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    for event in (*events[:2], events[-1]):
        check_response(event["response"])
    assert [event["response"]["status"] for event in events[:2]] == ["in_progress"] * 2
    assert first["output"] == [] and events[-1]["type"] == LAST[last["status"]]
    same = ("id", "created_at", "model", "object", "tools", "metadata", "previous_response_id")
    assert [first.get(name) for name in same] == [last.get(name) for name in same]
    # what fails is not kept, whatever was meant to be
    assert last.get("store") == (first.get("store") and last["status"] != "failed")
    items = _Items()
    for event in events[2:-1]:
        items.add(event)
    assert items.open is None and items.done == last["output"]
    return last


def _short(tokens):
    """Tokens of a part as events tell them."""

    def short(token):
        return {"token": token["token"], "logprob": token["logprob"]}

    return [{**short(token), "top_logprobs": [short(top) for top in token["top_logprobs"]]} for token in tokens]


class _Items:
    """The items of a streamed response, one open at a time."""

    def __init__(self):
        self.done = []
        self.open = None
        self.parts = []
        self.text = None  # of the open part or call
        self.told = None  # the whole text of the open part, once it was told
        self.part = None
        self.cited = []
        self.tokens = []  # of the open part
        self.told_tokens = None

    def add(self, event):
        kind = event["type"].removeprefix("response.")
        assert event.get("output_index") == len(self.done)
        if kind == "output_item.added":
            assert self.open is None
            self.open, self.parts, self.part = event["item"], [], None
            self.text = "" if self.open["type"] in CALLS else None
            assert self.open["status"] == "in_progress"
            assert not self.open.get("content") and not self.open.get("summary")
            return
        assert self.open is not None
        if kind == "output_item.done":
            self.end_item(event["item"])
            return
        assert event["item_id"] == self.open["id"]
        if self.open["type"] in CALLS:
            self.add_to_call(kind, event)
        else:
            self.add_to_part(kind, event)

    def add_to_call(self, kind, event):
        name, key = CALLS[self.open["type"]]
        if kind == f"{name}.delta":
            self.text += event["delta"]
        else:
            assert kind == f"{name}.done" and event[key] == self.text, (kind, self.text)
            self.parts.append(event[key])

    def add_to_part(self, kind, event):
        if kind.endswith("_part.added"):
            assert self.part is None
            self.part, self.text, self.told, self.cited = event["part"], "", None, []
            self.tokens = []
        assert self.part is not None, kind
        words, says, key = PARTS[self.part["type"]]
        place = "summary_index" if words == "reasoning_summary_part" else "content_index"
        of_kind = [part for part in self.parts if (part["type"] == "summary_text") == (place == "summary_index")]
        assert event[place] == len(of_kind)
        if kind == f"{words}.added":
            assert self.part[key] == ""
        elif kind == f"{says}.delta":
            assert event["delta"] and self.told is None
            self.text += event["delta"]
            self.tokens += event.get("logprobs", [])
        elif kind == "output_text.annotation.added":
            assert event["annotation_index"] == len(self.cited)
            self.cited.append(event["annotation"])
        elif kind == f"{says}.done":
            assert self.told is None and event[key] == self.text
            self.told = event[key]
            self.told_tokens = event.get("logprobs", [])
            # those that a provider tells behind the text are in no delta
            assert self.told_tokens[: len(self.tokens)] == self.tokens
        else:
            assert kind == f"{words}.done" and event["part"][key] == self.text == self.told, kind
            assert event["part"].get("annotations", []) == self.cited
            assert _short(event["part"].get("logprobs", [])) == self.told_tokens
            self.parts.append(event["part"])
            self.part = None

    def end_item(self, item):
        assert self.part is None and item["id"] == self.open["id"] and item["type"] == self.open["type"]
        if item["type"] in CALLS:
            name, key = CALLS[item["type"]]
            assert self.parts == [item[key]] == [self.text]
            assert (item["call_id"], item["name"]) == (self.open["call_id"], self.open["name"])
        else:
            told = item.get("summary", []) + item.get("content", [])
            assert sorted(map(json.dumps, told)) == sorted(map(json.dumps, self.parts))
        self.done.append(item)
        self.open = None
