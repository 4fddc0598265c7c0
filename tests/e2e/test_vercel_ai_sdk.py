# SPDX-License-Identifier: Apache-2.0
# ctest-labels: servers
# ctest-timeout: 600
"""The Vercel AI SDK with only its base URL changed: its provider for OpenAI-compatible servers and OpenAI's
own at /v1/chat/completions and at /v1/responses, Anthropic's at /v1/messages. Each test goes through all four,
before an upstream that speaks OpenAI's API; then before the model inside.

The packages are those of tests/e2e/vercel/package-lock.json, installed by `scripts/setup --servers`."""

import json
import os
import shutil
import subprocess

import pytest
from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = os.path.join(HERE, "vercel", "driver.cjs")
PACKAGES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "vercel-ai-sdk")
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="there is no node"),
    pytest.mark.skipif(
        not os.path.exists(os.path.join(PACKAGES, "lock.installed")),
        reason="the Vercel AI SDK is not installed: scripts/setup --servers",
    ),
]

DOORS = ["compatible", "openai", "responses", "anthropic"]
TRANSLATED = ["responses", "anthropic"]
COLOR = {
    "type": "object",
    "properties": {"color": {"type": "string", "enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    "required": ["color", "sure"],
    "additionalProperties": False,
}
FOUND = {"color": "blue", "sure": True}
# Its provider for Anthropic asks models it does not know by a tool; this is the API's own way.
OWN_FORMAT = {"anthropic": {"structuredOutputMode": "outputFormat"}}


class Client:
    def __init__(self, gateway, door, model="m"):
        self.gateway = gateway
        self.door = door
        self.model = model

    def begin(self, action, **order):
        """The process, which has its order."""
        settings = {"prompt": "hi", "maxOutputTokens": 50, **order.pop("settings", {})}
        order.setdefault("key", "client-key")
        order = {"door": self.door, "url": self.gateway.url, "model": self.model, "action": action, **order}
        process = subprocess.Popen(
            [NODE, DRIVER],
            env={**os.environ, "VERCEL_AI_SDK": PACKAGES},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        process.stdin.write(json.dumps({**order, "settings": settings}))
        process.stdin.close()
        return process

    @staticmethod
    def wait_text(process, text):
        """Until the SDK has shown this piece; empty ones do not count. The watchdog of the test is pytest's."""
        for line in process.stdout:
            if json.loads(line):
                assert json.loads(line) == text
                return
        raise AssertionError(f"no {text}: {process.stderr.read()}")

    @staticmethod
    def end(process):
        with process:
            try:
                out, complaints = process.stdout.read(), process.stderr.read()
            finally:
                process.kill()
        assert not complaints, complaints
        return json.loads(out.splitlines()[-1])

    def __call__(self, action, **order):
        return self.end(self.begin(action, **order))


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake, Gateway(config(fake)) as gateway:
        yield fake, gateway


@pytest.fixture(params=DOORS)
def through(request, servers):
    """(client, fake), by each door"""
    fake, gateway = servers
    fake.forget()
    return Client(gateway, request.param), fake


@pytest.fixture(params=DOORS)
def failing(request, fake, gateway):
    """The same with servers of its own, for tests that leave the upstream's health in a bad way."""
    return Client(gateway, request.param), fake


def calls(*cities):
    return [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "weather", "arguments": json.dumps({"city": city}, ensure_ascii=False)},
        }
        for number, city in enumerate(cities)
    ]


def asks_for_weather(*cities):
    body = up.chat_answer()
    message = {"role": "assistant", "content": None, "tool_calls": calls(*cities)}
    body["choices"][0].update(message=message, finish_reason="tool_calls")
    return up.whole(body)


def words_of(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


# An upstream of OpenAI's


def test_text(through):
    client, fake = through
    answer = client("text", settings={"system": "Be brief.", "temperature": 0.5})
    assert answer["text"] == "Hello" and answer["finish"] == "stop"
    assert answer["usage"] == {"input": 9, "output": 2, "total": 11}
    sent = fake.last.json()
    assert [(message["role"], words_of(message)) for message in sent["messages"]] == [
        ("system", "Be brief."),
        ("user", "hi"),
    ]
    assert sent["model"] == "up-model" and sent["temperature"] == 0.5
    assert sent.get("max_tokens") == 50 or sent.get("max_completion_tokens") == 50


def test_stream(through):
    client, fake = through
    answer = client("stream")
    assert [text for text in answer["texts"] if text] == ["Hel", "lo"]
    assert answer["finishes"] == ["stop"] and answer["usage"] == {"input": 9, "output": 2, "total": 11}
    assert answer["kinds"][-1] == "finish" and not answer["errors"]
    assert fake.last.json()["stream"] is True


def test_what_was_cut_off_says_so(through):
    client, fake = through
    fake.then(up.whole(up.chat_answer("Hel", finish="length")))
    assert client("text")["finish"] == "length"


def test_tools(through):
    """The SDK runs the tools and comes back with their results by itself."""
    client, fake = through
    fake.then(asks_for_weather("Köln", "Ulm"), up.whole(up.chat_answer("Clear in both.")))
    answer = client("text", weather=True)
    assert answer["text"] == "Clear in both."
    assert answer["steps"] == ["tool-calls", "stop"]
    assert answer["calls"] == [["weather", {"city": "Köln"}], ["weather", {"city": "Ulm"}]]
    assert answer["ran"] == [{"city": "Köln"}, {"city": "Ulm"}]
    first, second = (request.json() for request in fake.requests)
    (sent,) = first["tools"]
    assert sent["function"]["name"] == "weather"
    assert sent["function"]["parameters"]["properties"] == {"city": {"type": "string"}}
    asked = [message for message in second["messages"] if message["role"] == "assistant"]
    assert [call["id"] for call in asked[0]["tool_calls"]] == ["call_0", "call_1"]
    results = {m["tool_call_id"]: json.loads(words_of(m)) for m in second["messages"] if m["role"] == "tool"}
    assert results == {
        "call_0": {"sky": "clear", "city": "Köln"},
        "call_1": {"sky": "clear", "city": "Ulm"},
    }


def test_streamed_tools(through):
    client, fake = through
    (call,) = calls("Köln")
    whole = call["function"]["arguments"]
    begin = [{**call, "index": 0, "function": {"name": "weather", "arguments": ""}}]
    pieces = [up.delta(tool_calls=[{"index": 0, "function": {"arguments": piece}}]) for piece in whole]
    fake.then(
        up.script(up.delta(None, role="assistant", tool_calls=begin), *pieces, up.delta(finish="tool_calls"),
                  up.USAGE_CHUNK, up.DONE, "finish"),
        up.stream("Cle", "ar.", usage=True),
    )  # fmt: skip
    answer = client("stream", weather=True)
    assert answer["ran"] == [{"city": "Köln"}]
    assert answer["text"] == "Clear." and answer["finishes"] == ["tool-calls", "stop"]
    assert answer["usage"]["total"] == 22 and not answer["errors"]
    (result,) = [m for m in fake.last.json()["messages"] if m["role"] == "tool"]
    assert json.loads(words_of(result))["sky"] == "clear" and result["tool_call_id"] == "call_0"


def test_structured_output(through):
    client, fake = through
    fake.then(up.whole(up.chat_answer(json.dumps(FOUND))))
    answer = client("object", schema=COLOR, settings={"providerOptions": OWN_FORMAT})
    assert answer["object"] == FOUND
    form = fake.last.json()["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["properties"] == COLOR["properties"]


def test_structured_output_as_it_comes(through):
    client, fake = through
    fake.then(up.stream(*json.dumps(FOUND), usage=True))
    answer = client("stream_object", schema=COLOR, settings={"providerOptions": OWN_FORMAT})
    assert answer["object"] == FOUND and answer["seen"][-1] == FOUND and len(answer["seen"]) > 1


def test_structured_output_by_a_tool(servers):
    """What its provider for Anthropic does with models that it does not know."""
    fake, gateway = servers
    fake.forget()
    call = {"id": "call_0", "type": "function", "function": {"name": "json", "arguments": json.dumps(FOUND)}}
    body = up.chat_answer()
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body["choices"][0].update(message=message, finish_reason="tool_calls")
    fake.then(up.whole(body))
    options = {"anthropic": {"structuredOutputMode": "jsonTool"}}
    answer = Client(gateway, "anthropic")("object", schema=COLOR, settings={"providerOptions": options})
    assert answer["object"] == FOUND
    sent = fake.last.json()
    assert sent["tools"][0]["function"]["name"] == "json"
    assert sent["tool_choice"] in ("required", {"type": "function", "function": {"name": "json"}})
    assert "response_format" not in sent


def test_an_aborted_stream_ends_the_upstream_s(through):
    client, fake = through
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    answer = client("stream", abort_after=1)
    assert answer["text"] == "a" and answer["kinds"][-1] == "abort"
    fake.last.gone.wait()


def test_text_is_not_held_for_the_next(through):
    client, fake = through
    gate = up.Gate()
    rest = [up.delta("b"), up.FINISH, up.USAGE_CHUNK, up.DONE]
    fake.then(up.script(up.ROLE, up.delta("a"), gate, *rest, "finish"))
    process = client.begin("stream", tell=True)
    client.wait_text(process, "a")
    gate.open()  # only now does the upstream go on
    client.wait_text(process, "b")
    assert client.end(process)["text"] == "ab"


# Errors


@pytest.mark.parametrize("status, retryable", [(400, False), (429, True), (500, True)])
@pytest.mark.parametrize("action", ["text", "stream"])
def test_errors_of_the_upstream(failing, action, status, retryable):
    client, fake = failing
    fake.always(up.error(status, "what they say"))
    answer = client(action)
    error = answer["errors"][0] if action == "stream" else answer["error"]
    assert error["name"] == "AI_APICallError"
    # To another family the fault of a server behind us is 502.
    translated = 502 if status == 500 and client.door in TRANSLATED else status
    assert error["status"] == translated and error["retryable"] is retryable
    assert "what they say" in error["message"]


def test_it_tries_again_by_itself(failing):
    client, fake = failing
    fake.then(up.error(429, headers=[("retry-after-ms", "20")]))
    assert client("text", settings={"maxRetries": 2})["text"] == "Hello"
    assert len(fake.requests) == 2


def test_an_error_inside_a_stream(failing):
    """It must be seen to be one: no silent end that looks like a whole answer."""
    client, fake = failing
    gate = up.Gate()
    fallen = up.event({"error": {"message": "fell over", "type": "server_error", "code": None}})
    fake.then(up.script(up.ROLE, up.delta("a"), gate, fallen, "finish"))
    process = client.begin("stream", tell=True)
    client.wait_text(process, "a")
    gate.open()
    answer = client.end(process)
    # The connection is broken off behind the error event, and node's fetch may drop with it what it has not
    # handed over yet: the words are not sure to arrive, the error is.
    assert "stop" not in answer.get("finishes", [])
    assert answer.get("errors") or answer["error"]


def test_an_unknown_model(through):
    client, fake = through
    error = client("text", model="nobody")["error"]
    assert error["status"] == 404 and error["retryable"] is False and "nobody" in error["message"]
    assert not fake.requests


@pytest.mark.parametrize("door", DOORS)
def test_a_wrong_key(start, fake, door):
    gateway = start(config(fake, auth={"keys": [{"name": "a", "key_file": "key"}]}), files={"key": "sesame"})
    error = Client(gateway, door)("text", key="wrong")["error"]
    assert error["status"] == 401 and error["retryable"] is False
    assert Client(gateway, door)("text", key="sesame")["text"] == "Hello"
    assert "sesame" not in fake.last.headers.get("authorization", "")


# An upstream of Anthropic's


@pytest.mark.parametrize("door", DOORS)
def test_an_upstream_of_the_other_family(start, door):
    with up.Fake() as fake:
        fake.always(claude.answer)
        client = Client(start(claude.anthropic_config(fake)), door)
        answer = client("text", settings={"system": "Be brief."})
        assert answer["text"] == "Hello" and answer["finish"] == "stop"
        assert fake.last.json()["max_tokens"] == 50
        streamed = client("stream")
        assert streamed["text"] == "Hello" and streamed["finishes"] == ["stop"] and not streamed["errors"]
        fake.then(
            claude.stream(claude.text(0, "Let me see."), claude.tool(1, '{"ci', 'ty":"Köln"}'), reason="tool_use"),
            claude.stream(claude.text(0, "Clear.")),
        )
        tools = client("stream", weather=True)
        assert tools["ran"] == [{"city": "Köln"}] and tools["text"] == "Let me see.Clear."
        assert tools["finishes"] == ["tool-calls", "stop"]


# The model inside


@pytest.fixture(scope="module")
def inside():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


@pytest.fixture(params=DOORS)
def real(request, inside):
    return Client(inside, request.param, "tiny")


@needs_llama
def test_the_model_inside(real):
    settings = {"prompt": SKY, "temperature": 0}
    answer = real("text", settings=settings)
    assert answer["text"] == SKY_ANSWER and answer["finish"] == "stop"
    assert answer["usage"]["total"] == answer["usage"]["input"] + answer["usage"]["output"] > 0
    streamed = real("stream", settings=settings)
    assert streamed["text"] == SKY_ANSWER and len(streamed["texts"]) > 1
    assert streamed["usage"] == answer["usage"] and streamed["finishes"] == ["stop"]
    assert real("text", settings={**settings, "maxOutputTokens": 1})["finish"] == "length"


@needs_llama
def test_the_model_inside_keeps_to_a_schema(real):
    settings = {"prompt": SKY, "temperature": 0, "providerOptions": OWN_FORMAT}
    found = real("object", schema=COLOR, settings=settings)["object"]
    assert found["color"] in ("red", "blue") and type(found["sure"]) is bool


@needs_llama
def test_leaving_the_model_inside(real):
    answer = real("stream", abort_after=1, settings={"prompt": "Tell me a story.", "maxOutputTokens": 500})
    assert answer["kinds"][-1] == "abort"
    nothing_left(real.gateway)


@needs_llama
def test_a_prompt_too_long_for_the_model_inside(real):
    error = real("text", settings={"prompt": "word " * 3000})["error"]
    assert error["status"] == 400 and error["retryable"] is False
