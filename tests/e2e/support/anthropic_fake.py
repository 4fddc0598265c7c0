# SPDX-License-Identifier: Apache-2.0
"""What an upstream says that speaks Anthropic's messages API: pieces and handlers for the fake."""

import json

from . import fake as up
from .gateway import config

USAGE = {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 2}
TOOL = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# What a client finds in no specification of today, and numbers that a double cannot hold.
NEWS = {"x_new": {"big": 12345678901234567890, "deep": [1.50, None]}}


def anthropic_config(fake, **over):
    """Alias `m` is `up-model` of a provider that speaks Anthropic's API: the fake."""
    providers = config(fake)["providers"]
    providers["up"]["dialect"] = "anthropic"
    return config(fake, providers=providers, **over)


def message(*blocks, stop="end_turn", usage=USAGE, model="up-model", **more):
    """A whole answer; blocks may be text."""
    content = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
        **more,
    }


def tool_use(arguments, block_id="toolu_1", name="weather"):
    return {"type": "tool_use", "id": block_id, "name": name, "input": arguments}


def event(kind, **fields):
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


PING = event("ping")
STOP = event("message_stop")
OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def start(usage=None, **more):
    said = message(usage=usage or {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1}, **more)
    return event("message_start", message={**said, "stop_reason": None})


def block(index, kind, *deltas, **fields):
    """A block of content, from its start to its stop."""
    pieces = [event("content_block_start", index=index, content_block={"type": kind, **fields})]
    pieces += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
    return b"".join(pieces) + event("content_block_stop", index=index)


def text(index, *texts):
    return block(index, "text", *({"type": "text_delta", "text": piece} for piece in texts), text="")


def thinking(index, words, signature="c2lnbmVk"):
    deltas = [{"type": "thinking_delta", "thinking": words}, {"type": "signature_delta", "signature": signature}]
    return block(index, "thinking", *deltas, thinking="", signature="")


def tool(index, *pieces, block_id="toolu_1", name="weather"):
    deltas = ({"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces))
    return block(index, "tool_use", *deltas, id=block_id, name=name, input={})


def end(reason="end_turn", output=2):
    delta = {"stop_reason": reason, "stop_sequence": None}
    return event("message_delta", delta=delta, usage={"output_tokens": output}) + STOP


def stream(*blocks, reason="end_turn", headers=()):
    return up.script(start(), PING, *blocks, end(reason), "finish", headers=headers)


def error(status, kind, words="it went wrong", headers=()):
    body = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_theirs"}
    return up.whole(body, status, headers=headers)


def answer(exchange):
    """What a well-behaved upstream says to this path."""
    request = exchange.request
    body = request.json()
    if request.path == "/v1/messages/count_tokens":
        exchange.whole({"input_tokens": 14})
    elif request.path != "/v1/messages":
        error(404, "not_found_error", "Not found")(exchange)
    elif body.get("stream"):
        stream(text(0, "Hel", "lo"))(exchange)
    else:
        exchange.whole(message("Hello", model=body["model"]))
