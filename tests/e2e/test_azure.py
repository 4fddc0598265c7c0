# SPDX-License-Identifier: Apache-2.0
"""Azure OpenAI behind OpenAI's door: other places and another header, the same bytes."""

import json

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config, provider

DEPLOYMENT = "/openai/deployments/up-model"
VERSION = "?api-version=2024-10-21"


def azure(fake, path="", **more):
    """A configuration with the fake as Azure."""
    url = f"http://{fake.host}:{fake.port}{path}"
    return config(fake, providers={"up": provider(fake, dialect="azure", base_url=url, **more)})


@pytest.fixture(scope="module")
def dated():
    with up.Fake() as fake, Gateway(azure(fake, api_version="2024-10-21")) as gateway:
        yield gateway, fake


@pytest.fixture
def both(dated):
    gateway, fake = dated
    fake.forget()
    return gateway, fake


def test_a_deployment_is_asked_byte_for_byte(both):
    gateway, fake = both
    body = b'{ "messages":[{"role":"user","content":"h\\u00e4"}],"model" : "m", "custom":[1, 2.50] }'
    answer = (
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop",'
        b'"content_filter_results":{"hate":{"filtered":false}}}] , "prompt_filter_results":[]}'
    )
    fake.then(up.whole(answer))
    reply = gateway.post("/v1/chat/completions", body, [("Content-Type", "application/json")])
    assert reply.status == 200
    assert reply.body == answer
    sent = fake.last
    assert sent.target == f"{DEPLOYMENT}/chat/completions{VERSION}"
    assert sent.body == body.replace(b'"m"', b'"up-model"')
    assert sent.headers.get("api-key")
    assert sent.headers.get("authorization") is None


def test_other_operations_have_their_places(both):
    gateway, fake = both
    assert gateway.post("/v1/embeddings", {"model": "m", "input": "a"}).status == 200
    assert fake.last.target == f"{DEPLOYMENT}/embeddings{VERSION}"


def test_a_stream_with_filter_chunks_passes(both):
    gateway, fake = both
    first = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}],"id":""}\n\n'
    late = b'data: {"choices":[{"index":0,"delta":{},"content_filter_results":{},"finish_reason":null}]}\n\n'
    chunks = [first, up.delta("Hel"), late, up.delta("lo"), up.FINISH, up.DONE]
    fake.then(up.script(*chunks, "finish"))
    reply = gateway.chat(stream=True)
    assert reply.status == 200
    assert reply.body == b"".join(chunks)


def test_sdk(both):
    gateway, fake = both
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0, timeout=30) as client:
        messages = [{"role": "user", "content": "hi"}]
        assert client.chat.completions.create(model="m", messages=messages).choices[0].message.content == "Hello"
        filtered = {
            "error": {
                "message": "The response was filtered",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        }
        fake.then(up.whole(filtered, 400))
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="m", messages=messages)
        assert caught.value.code == "content_filter"
        assert caught.value.body["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_other_doors_are_translated(both):
    gateway, fake = both
    reply = gateway.post("/generate", {"prompt": "Why?", "max_tokens": 5})
    assert reply.status == 200
    assert reply.json()["text"] == "Hello"
    assert fake.last.target == f"{DEPLOYMENT}/chat/completions{VERSION}"
    assert fake.last.json()["messages"] == [{"role": "user", "content": "Why?"}]


@pytest.mark.parametrize(
    "path, target",
    [
        ("", "/openai/v1/chat/completions"),
        ("/openai", "/openai/v1/chat/completions"),
        ("/openai/v1", "/openai/v1/chat/completions"),
    ],
)
def test_the_api_without_dates(fake, start, path, target):
    gateway = start(azure(fake, path))
    assert gateway.chat().status == 200
    assert fake.last.target == target
    assert json.loads(fake.last.body)["model"] == "up-model"


def test_a_missing_deployment_is_a_missing_model(fake, start):
    gateway = start(azure(fake, api_version="2024-10-21"))
    fake.then(up.whole({"error": {"code": "DeploymentNotFound", "message": "There is none."}}, 404))
    reply = gateway.post("/generate", {"prompt": "a"})
    assert reply.status == 404
    assert "There is none." in reply.json()["error"]["message"]


def test_a_cut_stream_says_so(fake, start):
    gateway = start(azure(fake, api_version="2024-10-21"))
    fake.then(up.script(up.delta("Hel"), "finish"))
    assert "error" in gateway.cut_chat()[-1]
