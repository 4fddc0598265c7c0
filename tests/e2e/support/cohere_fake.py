# SPDX-License-Identifier: Apache-2.0
"""What Cohere's API says: pieces and handlers for the fake."""

import json

from . import fake as up

USAGE = {"billed_units": {"input_tokens": 1, "output_tokens": 1}, "tokens": {"input_tokens": 9, "output_tokens": 4}}
CITATION = {
    "start": 0,
    "end": 5,
    "text": "Hello",
    "sources": [{"type": "document", "id": "d", "document": {"title": "T", "url": "http://there.example/"}}],
}


def whole(message, reason="COMPLETE"):
    return up.whole({"id": "a1", "finish_reason": reason, "message": {"role": "assistant", **message}, "usage": USAGE})


def event(kind, message=None, **more):
    data = {"type": kind, **more}
    if message is not None:
        data.setdefault("delta", {})["message"] = message
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


START = event("message-start", {"role": "assistant"}, id="a1")


def end(reason="COMPLETE", **more):
    return event("message-end", id="a1", delta={"finish_reason": reason, "usage": USAGE, **more})


def text(piece, kind="content-delta"):
    return event(kind, {"content": {"type": "text", "text": piece}}, index=0)
