# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's client for TGI with only its URL changed: against a TGI, where nothing may change, against
providers that speak OpenAI's and Anthropic's API, and against the model inside the gateway."""

import hashlib
import json

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import (
    GenerationError,
    HfHubHTTPError,
    IncompleteGenerationError,
    OverloadedError,
    UnknownError,
    ValidationError,
)

from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config, provider
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left
from support.probed import WithHealth
from support.shared import shared
from support.tgi_fake import end, token

KEY = "sk-alice-0123456789"
PATHS = ["", "/", "/generate"]
DETAILS = {
    "finish_reason": "length",
    "generated_tokens": 2,
    "prefill": [],
    "seed": 42,
    "tokens": [{"id": 9, "text": "Hi", "logprob": -0.25, "special": False}],
}


def tgi_config(fake):
    url = f"http://{fake.host}:{fake.port}"
    return config(fake, providers={"up": provider(fake, dialect="tgi", base_url=url)})


own = shared(tgi_config, lambda: WithHealth("/health"))
other = shared(config)


def client_of(gateway, path="", token="client-key"):
    return InferenceClient(model=gateway.url + path, token=token, timeout=30)


def stream(gateway, path="", **more):
    """All pieces of a stream; a client that is thrown away takes its streams with it."""
    client = client_of(gateway, path)
    return list(client.text_generation("Why?", stream=True, **more))


# The same family


@pytest.mark.parametrize("path", PATHS)
def test_its_own_passes_as_it_is(own, path):
    fake, gateway = own
    fake.forget()
    answer = {"generated_text": "Hi there", "details": DETAILS, "new": 1}
    array = path != "/generate"
    fake.then(up.whole([answer] if array else answer))
    # what no other provider has passes, too
    more = {"details": True, "truncate": 7, "top_n_tokens": 2, "watermark": True}
    said = client_of(gateway, path).text_generation("Why?", **more)
    assert said.generated_text == "Hi there"
    assert (said.details.tokens[0].id, said.details.seed) == (9, 42)
    assert fake.last.target == ("/" if array else "/generate")
    sent = fake.last.json()
    assert sent["inputs"] == "Why?"
    assert sent["parameters"] == more


@pytest.mark.parametrize("path", PATHS)
def test_its_own_streams_as_it_is(own, path):
    fake, gateway = own
    fake.forget()
    fake.then(up.script(token("Hel"), b":\n\n", token("lo"), end("Hello"), "finish"))
    said = stream(gateway, path, details=True)
    assert [piece.token.text for piece in said] == ["Hel", "lo", "</s>"]
    assert said[0].token.id == 5
    assert said[-1].generated_text == "Hello"
    assert said[-1].details.finish_reason == "eos_token"
    assert fake.last.target == "/generate_stream"


def test_its_own_bytes_are_the_same(own):
    fake, gateway = own
    fake.forget()
    body = b'{"inputs": "a",  "parameters": {"seed": 12345678901234567890}, "\\u0078": 1.10}'
    answer = b'{ "generated_text":"b", "details": null }\n'
    fake.then(up.whole(answer))
    reply = gateway.post("/generate", body)
    assert (reply.status, reply.body, fake.last.body) == (200, answer, body)
    pieces = [token("a"), token("b"), end("ab")]
    fake.then(up.script(*pieces, "finish"))
    reply = gateway.post("/generate_stream", body)
    assert reply.body == b"".join(pieces)


def test_its_own_errors(own):
    fake, gateway = own
    fake.forget()
    fake.then(up.whole({"error": "Input validation error: too long", "error_type": "validation"}, 422))
    with pytest.raises(ValidationError, match="too long"):
        client_of(gateway).text_generation("Why?")
    fake.then(up.whole({"error": "busy", "error_type": "overloaded"}, 429))
    with pytest.raises(OverloadedError):
        client_of(gateway).text_generation("Why?")
    fake.then(up.script(token("a"), b'data:{"error":"gone","error_type":"generation"}\n\n', "finish"))
    with pytest.raises(GenerationError, match="gone"):
        stream(gateway)
    fake.then(up.script(token("a"), "finish"))
    with pytest.raises(IncompleteGenerationError):
        stream(gateway)


# Translated


@pytest.mark.parametrize("path", PATHS)
def test_whole(other, path):
    fake, gateway = other
    fake.forget()
    client = client_of(gateway, path)
    assert client.text_generation("Why?") == "Hello"
    said = client.text_generation(
        "Why?",
        details=True,
        return_full_text=True,
        max_new_tokens=9,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=["x"],
        frequency_penalty=0.1,
        watermark=False,
    )
    assert said.generated_text == "Why?Hello"
    assert (said.details.finish_reason, said.details.seed) == ("eos_token", 3)
    assert said.details.generated_tokens == up.USAGE["completion_tokens"]
    sent = fake.last.json()
    assert sent["messages"] == [{"role": "user", "content": "Why?"}]
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"], sent["seed"]) == (9, 0.5, 0.9, 3)
    assert (sent["stop"], sent["frequency_penalty"]) == (["x"], 0.1)


@pytest.mark.parametrize("path", PATHS)
def test_stream(other, path):
    fake, gateway = other
    fake.forget()
    fake.then(up.stream("Hel", "lo", usage=True))
    said = stream(gateway, path, details=True)
    assert [piece.token.text for piece in said] == ["Hel", "lo", ""]
    assert [piece.token.special for piece in said] == [False, False, True]
    assert [piece.index for piece in said] == [1, 2, 3]
    assert said[-1].generated_text == "Hello"
    assert said[-1].details.input_length == up.USAGE["prompt_tokens"]
    fake.then(up.stream("Hel", "lo"))
    assert "".join(stream(gateway, path)) == "Hello"


def test_generate_stream_streams_unasked(other):
    fake, gateway = other
    fake.forget()
    fake.then(up.stream("Hi"))
    reply = gateway.post("/generate_stream", {"inputs": "Why?"})
    assert reply.headers.get("content-type").startswith("text/event-stream")
    found = [json.loads(line[5:]) for line in reply.body.split(b"\n\n") if line]
    assert found[-1]["generated_text"] == "Hi" and found[-1]["details"] is None
    assert fake.last.json()["stream"] is True


def test_what_others_cannot_do_is_refused(other):
    fake, gateway = other
    fake.forget()
    client = client_of(gateway)
    wanted = {"truncate": 5, "best_of": 2, "adapter_id": "a", "top_n_tokens": 2, "watermark": True}
    for name, value in wanted.items():
        with pytest.raises(ValidationError, match="parameters." + name):
            client.text_generation("Why?", **{name: value})
    with pytest.raises(ValidationError, match="parameters.grammar.type"):
        client.text_generation("Why?", grammar={"type": "regex", "value": "a+"})
    assert fake.requests == []
    reply = gateway.post("/generate", {"inputs": "a", "parameters": {"typical_p": 0.5, "top_k": 3}})
    assert reply.status == 200
    assert reply.headers.get("x-penstock-dropped") == "top_k, parameters.typical_p"


def test_structured_output(other):
    fake, gateway = other
    fake.forget()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    fake.then(up.whole(up.chat_answer('{"a":1}')))
    said = client_of(gateway).text_generation("Why?", grammar={"type": "json", "value": schema})
    assert json.loads(said) == {"a": 1}
    assert fake.last.json()["response_format"]["json_schema"]["schema"] == schema


def test_errors(other, start):
    fake, gateway = other
    fake.forget()
    reply = gateway.post("/generate", {"inputs": "a", "model": "nope"})
    assert reply.status == 404
    assert reply.json().keys() == {"error", "error_type"}
    fake.then(up.error(429, "slow down"))
    with pytest.raises(OverloadedError, match="slow down"):
        client_of(gateway).text_generation("Why?")
    fake.then(up.script(up.delta("a"), "finish"))
    with pytest.raises(IncompleteGenerationError):
        stream(gateway)
    keys = [{"name": "alice", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest()}]
    guarded = start(config(fake, auth={"keys": keys}))
    with pytest.raises(UnknownError):
        client_of(guarded).text_generation("Why?")
    assert client_of(guarded, token=KEY).text_generation("Why?") == "Hello"
    with pytest.raises(HfHubHTTPError):
        client_of(guarded, "/nowhere", KEY).text_generation("Why?")


def test_a_client_that_leaves_frees_its_work(other):
    fake, gateway = other
    fake.forget()
    gone = up.Gate()

    def handler(exchange):
        exchange.sse()
        exchange.write(up.delta("a"))
        exchange.wait_gone()
        gone.open()

    fake.then(handler)
    client = client_of(gateway)
    pieces = client.text_generation("Why?", stream=True)
    assert next(pieces) == "a"
    pieces.close()
    del pieces, client
    gone.wait()


def test_other_shapes_have_no_part_of_it(other):
    _, gateway = other
    for more in ({"prompt": "b"}, {"background": True}):
        reply = gateway.post("/generate", {"inputs": "a", **more})
        assert reply.status == 400
        assert "inputs" in json.dumps(reply.json())
    assert gateway.post("/generate", {"parameters": {}}).error["param"] == "parameters"


def test_anthropic(start):
    with up.Fake() as fake:
        fake.always(claude.answer)
        gateway = start(claude.anthropic_config(fake))
        client = client_of(gateway)
        whole = client.text_generation("Why?", details=True, max_new_tokens=50)
        assert whole.generated_text
        said = list(client.text_generation("Why?", stream=True, details=True, max_new_tokens=50))
        assert said[-1].generated_text == "".join(piece.token.text for piece in said)
        assert fake.last.json()["messages"][0]["role"] == "user"


@needs_llama
def test_the_model_inside():
    with Gateway(local()) as gateway:
        client = client_of(gateway)
        assert client.text_generation(SKY, do_sample=False, max_new_tokens=40) == SKY_ANSWER
        greedy = {"do_sample": False, "max_new_tokens": 40}
        said = list(client.text_generation(SKY, stream=True, details=True, **greedy))
        assert "".join(piece.token.text for piece in said) == SKY_ANSWER
        assert said[-1].generated_text == SKY_ANSWER
        assert said[-1].details.generated_tokens > 0
        full = {"return_full_text": True, "details": True, "seed": 7}
        said = client.text_generation(SKY, **greedy, **full)
        assert (said.generated_text, said.details.seed) == (SKY + SKY_ANSWER, 7)
        short = client.text_generation(SKY, do_sample=False, max_new_tokens=2, details=True)
        assert short.details.finish_reason == "length"
        nothing_left(gateway)
