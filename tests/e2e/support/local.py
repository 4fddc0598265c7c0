# SPDX-License-Identifier: Apache-2.0
"""Models inside the gateway: configurations, long answers, and readers that hold a slot."""

import functools
import os
import time

import pytest

from .gateway import config, run_command
from .raw import PATIENCE, Connection, events

MODEL_FILE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "models", "tiny-story.gguf"
)

SKY = "What color is the sky?"
SKY_ANSWER = "The sky is blue."  # at temperature 0

# An answer that cannot end before the context or max_tokens does: 64 lists of 64 words.
ENDLESS = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "endless",
            "schema": {
                "type": "array",
                "minItems": 64,
                "items": {"type": "array", "minItems": 64, "items": {"type": "boolean"}},
            },
        },
    }
}
# The same with more bytes than a Unix socket and the gateway's buffer hold.
HUGE = {**ENDLESS, "logprobs": True, "top_logprobs": 20}


@functools.cache
def has_llama():
    """Whether the binary was built with llama.cpp. Without PENSTOCK_BIN the tests themselves complain."""
    return "PENSTOCK_BIN" not in os.environ or "llama.cpp" in run_command("version")[1]


needs_llama = pytest.mark.skipif(not has_llama(), reason="built without llama.cpp")


def user(text):
    return [{"role": "user", "content": text}]


def model_bytes():
    with open(MODEL_FILE, "rb") as file:
        return file.read()


def embedded(model_path="builtin", slots=4, context=1024, **more):
    """A provider that computes here."""
    return {"engine": "llama", "model_path": model_path, "context_tokens": context, "slots": slots, **more}


def local(slots=4, context=1024, queue=None, provider=None, **over):
    """Alias `tiny`, the default model, is the built-in one. A second listener is a Unix socket, whose
    buffers do not grow: who does not read from it is a slow reader for certain."""
    if queue is not None:
        over["workers"] = {"compute_queue": queue}
    return config(
        **{
            "listen": [{"address": "127.0.0.1:0"}, {"address": "unix:p.sock"}],
            "default_model": "tiny",
            "providers": {"embedded": embedded(slots=slots, context=context, **(provider or {}))},
            "models": [{"name": "tiny", "targets": [{"provider": "embedded"}]}],
            **over,
        }
    )


def until(condition, what):
    """Asks again until condition() is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"


def running(gateway):
    return gateway.metric("penstock_engine_requests_running")


def queued(gateway):
    return gateway.metric("penstock_engine_requests_queued")


def nothing_left(gateway):
    """Until no request is in any place; fails when one stays."""
    names = [
        "penstock_engine_requests_running",
        "penstock_engine_requests_queued",
        "penstock_requests_in_flight",
    ]

    def sums():
        samples = gateway.metrics()
        return [sum(v for (sample, _), v in samples.items() if sample == name) for name in names]

    until(lambda: sums() == [0, 0, 0], f"{names} to be 0")


class Holder:
    """A client that has a slot and does not read: its answer is larger than what lies between."""

    def __init__(self, gateway, slots=1, **fields):
        self.gateway = gateway
        self.connection = Connection(gateway.address_of(1))
        gateway.open_chat(self.connection, **{"model": "tiny", "max_tokens": 500, **HUGE, **fields})
        until(lambda: running(gateway) == slots, f"{slots} running")

    def read(self):
        """The whole answer, as events."""
        answer = self.connection.read_head()
        assert answer.status == 200, answer
        self.connection.read_body(answer)
        return events(answer.body)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def text_of(stream):
    """The text of a streamed chat's events."""
    return "".join(
        choice["delta"].get("content") or ""
        for item in stream
        if isinstance(item, dict)
        for choice in item["choices"]
    )
