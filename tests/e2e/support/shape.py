# SPDX-License-Identifier: Apache-2.0
"""What answers of OpenAI's doors look like, whoever gave them: a description of our own, and a check of
values against it. A description is a type, a set of constants, a list of one description, a dict of members
(a name that ends with "?" may be missing), or alternatives; members that it does not name are allowed."""


class Either:
    def __init__(self, *choices):
        self.choices = choices


def check(value, shape, path="answer"):
    """Raises AssertionError that names the place."""
    if isinstance(shape, Either):
        problems = []
        for choice in shape.choices:
            try:
                return check(value, choice, path)
            except AssertionError as problem:
                problems.append(str(problem))
        raise AssertionError("; or ".join(problems))
    if shape is None:
        assert value is None, f"{path} is {value!r}, not null"
    elif isinstance(shape, set):
        assert isinstance(value, str) and value in shape, f"{path} is {value!r}, none of {sorted(shape)}"
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{path} is {value!r}, no list"
        for index, element in enumerate(value):
            check(element, shape[0], f"{path}[{index}]")
    elif isinstance(shape, dict):
        assert isinstance(value, dict), f"{path} is {value!r}, no object"
        for name, member in shape.items():
            optional = name.endswith("?")
            name = name.rstrip("?")
            assert optional or name in value, f"{path}.{name} is missing"
            if name in value:
                check(value[name], member, f"{path}.{name}")
    elif shape is float:
        assert type(value) in (int, float), f"{path} is {value!r}, no number"
    else:
        assert type(value) is shape, f"{path} is {value!r}, no {shape.__name__}"


def maybe(shape):
    return Either(None, shape)


FINISH = {"stop", "length", "tool_calls", "content_filter", "function_call"}
USAGE = {
    "prompt_tokens": int,
    "completion_tokens": int,
    "total_tokens": int,
    "prompt_tokens_details?": maybe({"cached_tokens?": int}),
    "completion_tokens_details?": maybe({"reasoning_tokens?": int}),
}
FUNCTION = {"name": str, "arguments": str}
TOP = {"token": str, "logprob": float, "bytes": maybe([int])}
LOGPROBS = maybe({"content": maybe([{**TOP, "top_logprobs": [TOP]}]), "refusal": maybe([TOP])})
ANNOTATION = {"type": {"url_citation"}, "url_citation": {"url": str, "title": str}}
MESSAGE = {
    "role": {"assistant"},
    "content": maybe(str),
    "refusal": maybe(str),
    "tool_calls?": [{"id": str, "type": {"function"}, "function": FUNCTION}],
    "annotations?": [ANNOTATION],
    "reasoning_content?": maybe(str),
}
CHAT = {
    "id": str,
    "object": {"chat.completion"},
    "created": int,
    "model": str,
    "choices": [{"index": int, "message": MESSAGE, "logprobs?": LOGPROBS, "finish_reason": FINISH}],
    "usage?": USAGE,
}
DELTA_CALL = {
    "index": int,
    "id?": str,
    "type?": {"function"},
    "function?": {"name?": str, "arguments?": str},
}
DELTA = {
    "role?": {"assistant"},
    "content?": maybe(str),
    "refusal?": maybe(str),
    "tool_calls?": [DELTA_CALL],
    "reasoning_content?": maybe(str),
}
CHUNK = {
    "id": str,
    "object": {"chat.completion.chunk"},
    "created": int,
    "model": str,
    "choices": [{"index": int, "delta": DELTA, "logprobs?": LOGPROBS, "finish_reason": maybe(FINISH)}],
    "usage?": maybe(USAGE),
}
ERROR = {"error": {"message": str, "type": str, "param": maybe(str), "code": maybe(str)}}
MODELS = {"object": {"list"}, "data": [{"id": str, "object": {"model"}, "created": int, "owned_by": str}]}


def check_stream(events, usage=None):
    """The chunks of one streamed chat: each by itself, and what holds of all of them. `usage`: whether
    it was asked for."""
    assert events and events[-1] == "[DONE]"
    chunks = events[:-1]
    for index, chunk in enumerate(chunks):
        check(chunk, CHUNK, f"chunk {index}")
    assert len({(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks}) == 1
    choices = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert choices[0]["delta"].get("role") == "assistant"
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    assert len(reasons) == 1 and choices[-1]["finish_reason"] == reasons[0]
    if usage is not None:
        assert [chunk for chunk in chunks if not chunk["choices"]] == (chunks[-1:] if usage else [])
        assert bool(chunks[-1].get("usage")) == usage
    begun = set()
    for choice in choices:
        for call in choice["delta"].get("tool_calls", []):
            if call["index"] not in begun:
                assert call["id"] and call["function"]["name"], "a call begins with its id and name"
                begun.add(call["index"])
    assert begun == set(range(len(begun)))
