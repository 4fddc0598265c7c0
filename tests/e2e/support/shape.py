# SPDX-License-Identifier: Apache-2.0
"""Whether what OpenAI's doors say is what OpenAI's description says, whoever gave the answer.

The description is taken from where it is installed for the tests anyway: the types of the official SDK, which are
generated from it. A value is held against them strictly, every member in its place: none missing, none of
another type, no word that is not among the known ones, none that the description does not know. What the SDK's types
no longer tell is in two tables here: members that must be there though they may be null (REQUIRED), and those that may
be null (NULLS). What we, or others before us, say besides on purpose is in ADDED, with the reason.
"""

import base64
import functools
import json
import struct
import typing

import pydantic
from openai.types import (
    Batch,
    Completion,
    CreateEmbeddingResponse,
    FileDeleted,
    FileObject,
    ImagesResponse,
    Model,
    batch,
    batch_error,
    completion_choice,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat import chat_completion as chat
from openai.types.chat import chat_completion_chunk as chunk
from openai.types.chat import chat_completion_message as message
from openai.types.chat import chat_completion_token_logprob as token
from openai.types.responses import FunctionTool, Response, ResponseItem, ResponseReasoningItem
from openai.types.shared import ErrorObject, Reasoning

T = typing.TypeVar("T")


class Error(pydantic.BaseModel):
    error: ErrorObject


class List(pydantic.BaseModel, typing.Generic[T]):
    """A page of things kept; the first and last id are null where there are none."""

    object: typing.Literal["list"]
    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Models(pydantic.BaseModel):
    object: typing.Literal["list"]
    data: list[Model]


class Deleted(pydantic.BaseModel):
    id: str
    object: typing.Literal["response"]
    deleted: bool


class Ranked(pydantic.BaseModel):
    """One result of /v1/rerank, which OpenAI does not have: as Jina's, Cohere's and vLLM's clients know it."""

    index: int
    relevance_score: float
    document: dict[str, typing.Any] | None = None


class Ranking(pydantic.BaseModel):
    id: str
    model: str
    results: list[Ranked]
    usage: dict[str, int] | None = None


REQUIRED = {
    chat.Choice: {"logprobs"},
    chat.ChoiceLogprobs: {"content", "refusal"},
    message.ChatCompletionMessage: {"content", "refusal"},
    chunk.Choice: {"finish_reason"},
    chunk.ChoiceLogprobs: {"content", "refusal"},
    token.ChatCompletionTokenLogprob: {"bytes"},
    token.TopLogprob: {"bytes"},
    completion_choice.CompletionChoice: {"logprobs"},
    Response: {"metadata", "temperature", "top_p", "error", "incomplete_details", "instructions"},
    FunctionTool: {"parameters", "strict"},
    ErrorObject: {"param", "code"},
}
NULLS = {
    **REQUIRED,
    chunk.Choice: {"finish_reason", "logprobs"},
    chunk.ChoiceDelta: {"content", "refusal"},
    # The text of the description says that all chunks but the last have null under include_usage.
    ChatCompletionChunk: {"usage"},
    Completion: {"usage"},
    Response: REQUIRED[Response]
    | {"background", "completed_at", "conversation", "max_output_tokens", "max_tool_calls", "moderation", "prompt"}
    | {"previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier"}
    | {"service_tier", "top_logprobs", "truncation"}
    # null in OpenAI's own answers: usage as long as nothing is counted
    | {"usage", "user"},
    ResponseReasoningItem: {"encrypted_content"},
    Reasoning: {"effort", "summary", "context", "generate_summary"},
    FunctionTool: REQUIRED[FunctionTool] | {"description"},
    List: {"first_id", "last_id"},
    # null in OpenAI's own answers, until there is something to tell
    FileObject: {"expires_at", "status_details"},
    batch.Batch: set(batch.Batch.model_fields),
    batch_error.BatchError: {"param", "line"},
}

# Where it stands, what it holds, and why it is there though the description does not have it. Where: the path from the
# outermost object, or the type of what it is in and its name.
ADDED = {
    # Thoughts: the name that DeepSeek, vLLM, SGLang and llama-server gave them, and that clients look for.
    ("chat.completion", "choices", "message", "reasoning_content"): str,
    ("chat.completion.chunk", "choices", "delta", "reasoning_content"): str,
    # Thoughts that a model signed, to be handed back as they are: the name that LiteLLM gave them.
    ("chat.completion", "choices", "message", "thinking_blocks"): list[dict[str, str]],
    ("chat.completion.chunk", "choices", "delta", "thinking_blocks"): list[dict[str, str]],
    # Pictures that a chat model made: the name that OpenRouter gave them.
    ("chat.completion", "choices", "message", "images"): list[dict[str, typing.Any]],
    ("chat.completion.chunk", "choices", "delta", "images"): list[dict[str, typing.Any]],
    # Where Gemini's clients of this API look for the signature of a call.
    ("chat.completion", "choices", "message", "tool_calls", "extra_content"): dict[str, dict[str, str]],
    ("chat.completion.chunk", "choices", "delta", "tool_calls", "extra_content"): dict[str, dict[str, str]],
    # OpenAI streams them so; the description has them in whole messages only.
    ("chat.completion.chunk", "choices", "delta", "annotations"): list[message.Annotation],
    # The description has it, the SDK's type not yet.
    ("response.function_call_arguments.done", "name"): str,
    # OpenAI's own answers have it.
    ("response", "store"): bool,
    ("custom_tool_call", "status"): typing.Literal["in_progress", "completed", "incomplete"],
}


# One value


def read(text):
    """JSON as strictly as a strict client reads it: no member twice, no NaN."""

    def members(pairs):
        made = dict(pairs)
        assert len(made) == len(pairs), f"a member stands twice in {[name for name, _ in pairs]}"
        return made

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, object_pairs_hook=members, parse_constant=refuse)


def _type_of(value):
    """What an object says that it is."""
    said = [value.get(name) for name in ("object", "type")]
    return next((word for word in said if isinstance(word, str)), None)


def _without_added(value, path):
    if isinstance(value, list):
        return [_without_added(element, path) for element in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    own = _type_of(value)
    for name, member in value.items():
        kind = ADDED.get((*path, name)) or ADDED.get((own, name))
        if kind is None:
            kept[name] = _without_added(member, (*path, name))
        else:
            _validate(member, kind, ".".join((*path, name)))
    return kept


def _of_interest(problems):
    """Without those of the alternatives that the value does not claim to be."""
    strangers = [
        problem["loc"][:-1]
        for problem in problems
        if problem["type"] == "literal_error" and problem["loc"][-1] in ("type", "role", "object")
    ]
    left = [p for p in problems if not any(p["loc"][: len(other)] == other for other in strangers)]
    return left or problems


@functools.cache
def _of_kind(kind):
    return pydantic.TypeAdapter(kind)


def _validate(value, kind, where):
    try:
        return _of_kind(kind).validate_json(json.dumps(value), strict=True, extra="forbid")
    except pydantic.ValidationError as wrong:
        problems = [
            f"{'.'.join(map(str, p['loc']))}: {p['msg']}, it is {str(p['input'])[:100]}"
            for p in _of_interest(wrong.errors())[:8]
        ]
    raise AssertionError(f"{where}: " + "; ".join(problems))


def _check_nulls(model, where):
    if isinstance(model, list):
        for index, element in enumerate(model):
            _check_nulls(element, f"{where}.{index}")
    if not isinstance(model, pydantic.BaseModel):
        return
    kind = type(model)
    kind = kind.__pydantic_generic_metadata__["origin"] or kind
    missing = REQUIRED.get(kind, set()) - model.model_fields_set
    assert not missing, f"{where}: {sorted(missing)} must be there, if only as null"
    for name in model.model_fields_set:
        value = getattr(model, name)
        assert value is not None or name in NULLS.get(kind, set()), f"{where}.{name} must not be null"
        _check_nulls(value, f"{where}.{name}")


def check(value, kind, where=None):
    """`value`: the JSON text as it came (bytes), or what was read from it. Raises AssertionError that names the place;
    what was read is returned."""
    value = read(value) if isinstance(value, bytes) else value
    where = where or getattr(kind, "__name__", "answer")
    path = (_type_of(value),) if isinstance(value, dict) else ()
    _check_nulls(_validate(_without_added(value, path), kind, where), where)
    return value


def check_error(value):
    return check(value, Error)["error"]


def check_embeddings(value):
    """With vectors as base64 too, which the SDK decodes before it looks."""
    value = read(value) if isinstance(value, bytes) else value
    for entry in value["data"]:
        if isinstance(entry["embedding"], str):
            data = base64.b64decode(entry["embedding"], validate=True)
            entry["embedding"] = list(struct.unpack(f"<{len(data) // 4}f", data))
    check(value, CreateEmbeddingResponse)
    assert [entry["index"] for entry in value["data"]] == list(range(len(value["data"])))
    return value


# Streams


def stream_of(body):
    """(name of the event, its data) of each event, data read as JSON but for [DONE]. Comments are passed over."""
    assert body.endswith(b"\n\n"), body[-100:]
    found = []
    for block in body.decode()[:-2].split("\n\n"):
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines) and set(fields) <= {"event", "data"}, block
        data = fields["data"]
        found.append((fields.get("event"), data if data == "[DONE]" else read(data)))
    return found


def check_chat_stream(body, usage=None, cut=False):
    """A streamed chat: each chunk by itself, and what holds of all of them. The choices put together, as the
    whole answer would have them, and the usage. `usage`: whether it was asked for; None: the provider may do as it
    likes. `cut`: it broke off, the last event is an error."""
    named, told = zip(*stream_of(body))
    assert not any(named)
    chunks = list(told[:-1])
    if cut:
        check_error(told[-1])
    else:
        assert told[-1] == "[DONE]"
    for index, one in enumerate(chunks):
        check(one, ChatCompletionChunk, f"chunk {index}")
    assert len({(one["id"], one["model"], one["created"]) for one in chunks}) <= 1
    empty = [index for index, one in enumerate(chunks) if not one["choices"]]
    counts = [one["usage"] for one in chunks if one.get("usage")]
    if usage is not None and not cut:
        assert empty == ([len(chunks) - 1] if usage else [])
        assert bool(chunks[-1].get("usage")) == usage and len(counts) == usage
    answers = {}
    for one in chunks:
        for choice in one["choices"]:
            answer = answers.setdefault(choice["index"], _Choice(choice["index"]))
            answer.add(choice)
    assert sorted(answers) == list(range(len(answers)))
    choices = [answers[index].whole(cut) for index in sorted(answers)]
    if not cut:
        whole = {**chunks[0], "object": "chat.completion", "choices": choices}
        whole.pop("usage", None)
        check(whole, ChatCompletion, "the answer put together")
    return choices, counts[-1] if counts else None


class _Choice:
    """A choice of a stream, put together."""

    def __init__(self, index):
        self.index = index
        self.said = {}
        self.calls = []
        self.tokens = []
        self.finish = None
        self.begun = False

    def add(self, choice):
        delta = choice["delta"]
        assert self.finish is None, "nothing comes behind the reason for the end"
        if not self.begun:
            assert delta.get("role") == "assistant", "the first chunk says whose words these are"
        self.begun = True
        self.finish = choice["finish_reason"]
        for name, value in delta.items():
            if name == "tool_calls":
                self.call(value)
            elif isinstance(value, list):
                self.said[name] = self.said.get(name, []) + value
            elif name != "role" and value is not None:
                self.said[name] = self.said.get(name, "") + value
        self.tokens += (choice.get("logprobs") or {}).get("content") or []

    def call(self, fragments):
        for fragment in fragments:
            function = fragment["function"]
            if fragment["index"] == len(self.calls):
                assert fragment["id"] and function["name"] and fragment["type"] == "function"
                self.calls.append({"id": fragment["id"], "type": "function", "function": {**function}})
                self.calls[-1]["function"].setdefault("arguments", "")
            else:
                assert fragment["index"] < len(self.calls), "calls begin in their order"
                self.calls[fragment["index"]]["function"]["arguments"] += function["arguments"]

    def whole(self, cut):
        assert cut or self.finish
        made = {"role": "assistant", "content": None, "refusal": None, **self.said}
        if self.calls:
            made["tool_calls"] = self.calls
            made["content"] = made["content"] or None
        logprobs = {"content": self.tokens, "refusal": None} if self.tokens else None
        return {"index": self.index, "message": made, "logprobs": logprobs, "finish_reason": self.finish}


def check_completion_stream(body, usage=None):
    """The same for a streamed completion. The chunks are Completions, but for the end's reason, which the
    description wants in all of them and OpenAI tells in the last one only."""
    named, told = zip(*stream_of(body))
    assert not any(named) and told[-1] == "[DONE]"
    texts, ends, counts = {}, {}, []
    for index, one in enumerate(told[:-1]):
        stood = json.loads(json.dumps(one))
        for choice in one["choices"]:
            assert choice["index"] not in ends
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
            if choice["finish_reason"] is not None:
                ends[choice["index"]] = choice["finish_reason"]
        for choice in stood["choices"]:
            assert "finish_reason" in choice
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        check(stood, Completion, f"chunk {index}")
        counts += [one["usage"]] if one.get("usage") else []
    if usage is not None:
        assert bool(told[-2].get("usage")) == usage and (not usage or told[-2]["choices"] == [])
    assert sorted(ends) == sorted(texts) == list(range(len(texts)))
    return [{"text": texts[i], "finish_reason": ends[i]} for i in sorted(texts)], counts[-1] if counts else None


__all__ = [
    "Batch",
    "ChatCompletion",
    "ChatCompletionMessage",
    "Completion",
    "FileDeleted",
    "FileObject",
    "ImagesResponse",
    "Model",
    "ResponseItem",
]
