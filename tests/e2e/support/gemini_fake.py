# SPDX-License-Identifier: Apache-2.0
"""What Google's Gemini API says: pieces and handlers for the fake."""

import json

from . import fake as up
from .gateway import config, provider

USAGE = {
    "promptTokenCount": 9,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 2,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 14,
}


def answer(*parts, finish="STOP", **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-x-001", "responseId": "r1", **more}


def stream(*answers):
    """There is no terminal marker: the framing ends it."""
    return up.script(*(b"data: " + json.dumps(item).encode() + b"\r\n\r\n" for item in answers), "finish")


def refusal(status, word, message="No.", *details):
    error = {"code": status, "message": message, "status": word, "details": list(details)}
    return up.whole({"error": error}, status)


def gemini_config(fake, **over):
    """The usual configuration, but `m` is `gemini-x` of a provider that speaks Google's API."""
    up_there = provider(fake, dialect="gemini", base_url=f"http://{fake.host}:{fake.port}")
    made = {
        "default_model": "m",
        "providers": {"up": up_there},
        "models": [{"name": "m", "targets": [{"provider": "up", "model": "gemini-x"}]}],
    }
    return config(**{**made, **over})


def converse(exchange):
    """What Google's API says to this path."""
    path = exchange.request.path
    if ":streamGenerateContent" in path:
        pieces = (answer({"text": "Hel"}, finish=None), answer({"text": "lo"}, usageMetadata=USAGE))
        stream(*pieces)(exchange) if exchange.request.target.endswith("?alt=sse") else exchange.whole(list(pieces))
    elif path.endswith(":generateContent"):
        exchange.whole(answer({"text": "Hello"}, usageMetadata=USAGE))
    elif path.endswith(":countTokens"):
        exchange.whole({"totalTokens": 14})
    elif path.endswith(":batchEmbedContents"):
        count = len(exchange.request.json()["requests"])
        exchange.whole({"embeddings": [{"values": [0.25, -1.5, 3.0]}] * count})
    else:
        exchange.whole({"embedding": {"values": [0.25, -1.5, 3.0]}})
