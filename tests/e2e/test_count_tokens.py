# SPDX-License-Identifier: Apache-2.0
"""Anthropic's SDK asks how long a prompt is, at providers that count in their own ways, and at one that cannot."""

import anthropic
import pytest
from support import fake as up
from support.gateway import Gateway, config, provider

USER = [{"role": "user", "content": "hi"}]
TOOLS = [{"name": "weather", "input_schema": {"type": "object"}}]
CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        base = f"http://{fake.host}:{fake.port}/v1"
        providers = {
            "vllm": provider(fake, dialect="vllm", base_url=base),
            "llama": provider(fake, dialect="llama-server", base_url=base),
            "native": provider(fake, base_url=base, native_responses="true"),
            "plain": provider(fake, base_url=base),
            "cohere": provider(fake, dialect="cohere", base_url=base),
        }
        models = [{"name": name, "targets": [{"provider": name, "model": "up"}]} for name in providers]
        with Gateway(config(fake, providers=providers, models=models, default_model="plain")) as gateway:
            yield fake, gateway


@pytest.fixture
def both(servers):
    fake, gateway = servers
    fake.forget()
    with anthropic.Anthropic(base_url=gateway.url, api_key="any", max_retries=0, timeout=30) as client:
        yield client, fake


def asked(fake, path):
    """Health is asked between."""
    return [request for request in fake.requests if request.path == path][-1]


@pytest.mark.parametrize(
    "name, path, said, has",
    [
        ("vllm", "/tokenize", {"count": 14, "max_model_len": 99, "tokens": list(range(14))}, "messages"),
        (
            "llama",
            "/v1/chat/completions/input_tokens",
            {"object": "response.input_tokens", "input_tokens": 14},
            "messages",
        ),
        ("native", "/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 14}, "input"),
    ],
)
def test_counts(both, name, path, said, has):
    client, fake = both
    fake.always(up.whole(said))
    found = client.messages.count_tokens(model=name, messages=USER, tools=TOOLS)
    assert found.input_tokens == 14
    body = asked(fake, path).json()
    assert body["model"] == "up"
    assert body[has] == USER
    flat = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]
    assert body["tools"] == (flat if has == "input" else CHAT_TOOLS)


def test_errors_come_through(both):
    client, fake = both
    fake.always(up.whole({"error": {"message": "no such model", "code": 404}}, 404))
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="vllm", messages=USER)
    fake.always(up.whole({"tokens": []}))
    with pytest.raises(anthropic.InternalServerError, match="no count of tokens"):
        client.messages.count_tokens(model="vllm", messages=USER)


@pytest.mark.parametrize("name", ["plain", "cohere"])
def test_nothing_is_guessed(both, name):
    client, fake = both
    with pytest.raises(anthropic.BadRequestError, match="cannot"):
        client.messages.count_tokens(model=name, messages=USER)
    assert not [request for request in fake.requests if request.method == "POST"]
