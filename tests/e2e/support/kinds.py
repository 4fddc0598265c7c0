# SPDX-License-Identifier: Apache-2.0
"""A gateway with a provider of each kind, and what each of them can be made to say (said.py)."""

import contextlib
import json

from . import fake as up
from . import said
from .gateway import Gateway, config, provider
from .local import embedded, has_llama
from .probed import Probed
from .said import Said

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

OPENAI = ("openai", "azure", "vllm", "sglang", "llama-server", "ray")
PLAIN = {"text", "length", "silent"}
TALKS = PLAIN | {"thought", "call", "calls", "json"}
CAN = {
    **dict.fromkeys(OPENAI, TALKS | {"filtered", "refused", "cited", "logprobs", "two", "picture"}),
    "anthropic": TALKS | {"filtered", "refused", "cited"},
    "gemini": TALKS | {"filtered", "refused", "cited", "logprobs", "two", "picture"},
    "cohere": TALKS | {"cited"},
    "ollama": TALKS | {"logprobs"},
    "tgi": PLAIN | {"json"},
    "triton": PLAIN,
    "tensor": {"text", "silent"},
    "http": PLAIN,
}
SAYS = {
    **dict.fromkeys(OPENAI, said.openai),
    "anthropic": said.anthropic,
    "gemini": said.google,
    "cohere": said.of_cohere,
    "ollama": said.of_ollama,
    "tgi": said.of_tgi,
    "triton": said.of_triton,
    "tensor": said.tensor,
    "http": said.plain,
}
TELLS_NOTHING = ("tensor", "http")  # of its counts
# What is said, and what is asked for it.
SAID = {
    "text": (Said(), {}),
    "silent": (Said(""), {}),
    "thought": (Said(thought="Let me see."), {}),
    "call": (Said(None, calls=1, finish="tool_calls"), {"tools": TOOLS}),
    "calls": (Said("Well.", calls=2, finish="tool_calls"), {"tools": TOOLS}),
    "json": (
        Said('{"city":"Köln"}'),
        {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}},
    ),
    "length": (Said("Hel", finish="length"), {"max_tokens": 1}),
    "filtered": (Said("Hel", finish="content_filter"), {}),
    "refused": (Said(None, refusal="I will not.", finish="content_filter"), {}),
    "cited": (Said(cited=True), {}),
    "logprobs": (Said(logprobs=True), {"logprobs": True, "top_logprobs": 2}),
    "two": (Said(choices=2), {"n": 2}),
    "picture": (Said(picture=True), {}),
}
ROWS = [(kind, what) for kind, can in CAN.items() for what in SAID if what in can]

# Everything that a client may say and finds again in the answer.
ASKED = {
    "instructions": "Be brief.",
    "temperature": 0.5,
    "top_p": 0.9,
    "max_output_tokens": 20,
    "max_tool_calls": 2,
    "parallel_tool_calls": False,
    "metadata": {"a": "b"},
    "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
    "tool_choice": {"type": "function", "name": "weather"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "text"}, "verbosity": "low"},
    "truncation": "disabled",
    "top_logprobs": 2,
    "service_tier": "auto",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "user": "u",
    "store": True,
}


def settings(fake):
    url = f"http://{fake.host}:{fake.port}"
    providers = {kind: provider(fake, dialect=kind) for kind in OPENAI}
    others = ("anthropic", "gemini", "cohere", "ollama", "tgi", "triton", "http")
    providers |= {kind: provider(fake, dialect=kind, base_url=url) for kind in ("azure", *others)}
    providers["native"] = provider(fake, native_responses=True)
    tensors = {"request": {"prompt": "IN"}, "response": {"text": "OUT"}}
    providers["tensor"] = provider(fake, dialect="triton", base_url=url, shape="tensor", **tensors)
    members = {"text": "/text", "finish": "/why", "vector": "/vectors", "error": "/message"}
    providers["http"] |= {"stream_mode": "ndjson", "response": members}
    if has_llama():
        providers["embedded"] = embedded(context=256)
    return config(fake, providers=providers, models=[{"name": "m", "targets": [{"provider": "openai"}]}])


@contextlib.contextmanager
def started():
    with up.Fake() as fake, Gateway(settings(fake)) as gateway:
        yield Probed(fake), gateway


def model_of(kind):
    return f"{kind}/{'tiny' if kind == 'embedded' else 'up-model'}"


def ok(answer, stream):
    assert answer.status == 200, answer
    kind = "text/event-stream" if stream else "application/json"
    assert answer.headers.get("content-type").split(";")[0] == kind
    return answer.body


def is_weather(function):
    return function["name"] == "weather" and json.loads(function["arguments"]) == said.ARGUMENTS


def in_responses(fields):
    """The same wish as the other door has it."""
    fields = dict(fields)
    if "tools" in fields:
        fields["tools"] = [{"type": "function", **tool["function"]} for tool in fields["tools"]]
    if "response_format" in fields:
        form = fields.pop("response_format")
        fields["text"] = {"format": {"type": "json_schema", **form["json_schema"]}}
    if "max_tokens" in fields:
        fields["max_output_tokens"] = fields.pop("max_tokens")
    if fields.pop("logprobs", False):
        fields["include"] = ["message.output_text.logprobs"]
    return fields


def respond(servers, kind, what, **more):
    fake, gateway = servers
    wanted, fields = SAID[what]
    fake.then(SAYS[kind](wanted, more.get("stream", False)))
    return gateway.post("/v1/responses", {"model": model_of(kind), "input": "hi", **in_responses(fields), **more})
