# SPDX-License-Identifier: Apache-2.0
"""What Ollama's own API says: pieces and handlers for the fake."""

import json

from . import fake as up

NDJSON = "application/x-ndjson"
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2, "total_duration": 12345}


def said(content="", **more):
    message = {"role": "assistant", "content": content, **more.pop("message", {})}
    return {"model": "q", "created_at": "2026-11-23T00:00:00Z", "message": message, "done": False, **more}


def lines(*objects):
    return [json.dumps(item).encode() + b"\n" for item in objects]


def stream(*objects):
    return up.script(*lines(*objects), "finish", content_type=NDJSON)
