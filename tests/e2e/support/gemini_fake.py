# SPDX-License-Identifier: Apache-2.0
"""What Google's Gemini API says: pieces and handlers for the fake."""

import json

from . import fake as up

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
