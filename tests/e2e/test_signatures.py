# SPDX-License-Identifier: Apache-2.0
"""What models sign, through two turns with a tool: the next request of a client gives its own model back
what it signed, and another family nothing of it. The SDKs keep what they were given in their own ways."""

import json

import anthropic
import pytest
from openai import OpenAI
from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config, provider

SIGNED = "Cp+/Zw=="
LOST = "skip_thought_signature_validator"
USER = {"role": "user", "content": "How is it in Rome?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
CALL = {"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": SIGNED}
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": SIGNED}


def gemini_says(*parts):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, "finishReason": "STOP"}]}


def gemini(stream, *parts):
    if not stream:
        return up.whole(gemini_says(*parts))
    pieces = [b"data: " + json.dumps(gemini_says(part)).encode() + b"\r\n\r\n" for part in parts]
    return up.script(*pieces, "finish")


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        base = f"http://{fake.host}:{fake.port}"
        providers = {
            "google": provider(fake, dialect="gemini", base_url=base),
            "claude": provider(fake, dialect="anthropic", base_url=base),
            "plain": provider(fake, base_url=f"{base}/v1"),
        }
        models = [
            {"name": "g", "targets": [{"provider": "google", "model": "gemini-3-pro"}]},
            {"name": "c", "targets": [{"provider": "claude", "model": "claude-x"}]},
            {"name": "o", "targets": [{"provider": "plain", "model": "gpt-x"}]},
        ]
        with Gateway(config(fake, providers=providers, models=models, default_model="g")) as gateway:
            yield fake, gateway


@pytest.fixture
def pair(servers):
    fake, gateway = servers
    fake.forget()
    return fake, gateway


@pytest.fixture
def chat(pair):
    with OpenAI(base_url=f"{pair[1].url}/v1", api_key="any", max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def messages(pair):
    with anthropic.Anthropic(base_url=pair[1].url, api_key="any", max_retries=0, timeout=30) as client:
        yield client


def chat_turn(client, model, history, stream, **more):
    fields = {"model": model, "messages": history, "tools": TOOLS, **more}
    if not stream:
        return client.chat.completions.create(**fields).choices[0].message.model_dump(exclude_none=True)
    calls, blocks, content = {}, [], ""
    for chunk in client.chat.completions.create(stream=True, **fields):
        for choice in chunk.choices:
            delta = choice.delta.model_dump(exclude_none=True)
            content += delta.get("content") or ""
            blocks += delta.get("thinking_blocks") or []
            for piece in delta.get("tool_calls") or []:
                index = piece.pop("index")
                if index in calls:
                    calls[index]["function"]["arguments"] += piece["function"]["arguments"]
                else:
                    calls[index] = piece
    said = {"role": "assistant", "content": content or None, "tool_calls": list(calls.values())}
    return {**said, "thinking_blocks": blocks} if blocks else said


def messages_turn(client, model, history, stream, **more):
    tools = [{"name": "weather", "input_schema": SCHEMA}]
    fields = {"model": model, "max_tokens": 4000, "messages": history, "tools": tools, **more}
    if stream:
        with client.messages.stream(**fields) as events:
            said = events.get_final_message()
    else:
        said = client.messages.create(**fields)
    return {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in said.content]}


CHAT_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
MESSAGES_RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]}
GEMINI_DONE = gemini(False, {"text": "Sunny."})
CLAUDE_DONE = up.whole(claude.message("Sunny."))


def model_parts(fake):
    return [turn["parts"] for turn in fake.last.json()["contents"] if turn["role"] == "model"]


@pytest.mark.parametrize("stream", [False, True])
def test_gemini_behind_chat(pair, chat, stream):
    fake, _ = pair
    fake.then(gemini(stream, {"text": "Let me see.", "thought": True}, CALL))
    said = chat_turn(chat, "g", [USER], stream)
    assert said["tool_calls"][0]["extra_content"]["google"]["thought_signature"] != SIGNED
    history = [USER, said, {**CHAT_RESULT, "tool_call_id": said["tool_calls"][0]["id"]}]
    fake.then(GEMINI_DONE)
    assert chat_turn(chat, "g", history, False)["content"] == "Sunny."
    assert model_parts(fake) == [[CALL]]
    # Another model goes on.
    fake.then(CLAUDE_DONE)
    chat_turn(chat, "c", history, False, extra_body={"thinking": {"type": "adaptive"}})
    asked = fake.last.json()
    assert asked["messages"][1]["content"] == [claude.tool_use({"city": "Rome"}, "c1")]
    assert "thinking" not in asked


@pytest.mark.parametrize("stream", [False, True])
def test_gemini_behind_messages(pair, messages, stream):
    fake, _ = pair
    fake.then(gemini(stream, {"text": "Let me see.", "thought": True}, CALL))
    said = messages_turn(messages, "g", [USER], stream)
    assert [block["type"] for block in said["content"]] == ["thinking", "redacted_thinking", "tool_use"]
    history = [USER, said, MESSAGES_RESULT]
    fake.then(GEMINI_DONE)
    assert messages_turn(messages, "g", history, False)["content"][0]["text"] == "Sunny."
    assert model_parts(fake) == [[CALL]]
    # Claude goes on, asked byte for byte but for what it did not think.
    fake.then(CLAUDE_DONE)
    messages_turn(messages, "c", history, False)
    assert fake.last.json()["messages"] == [USER, {**said, "content": said["content"][2:]}, MESSAGES_RESULT]


def test_gemini_behind_responses(pair, chat):
    fake, _ = pair
    tools = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
    fields = {"model": "g", "tools": tools, "store": False}
    fake.then(gemini(False, {"text": "Let me see.", "thought": True}, CALL))
    said = chat.responses.create(input=[USER], **fields)
    items = [item.model_dump(exclude_none=True) for item in said.output]
    assert [item["type"] for item in items] == ["reasoning", "reasoning", "function_call"]
    fake.then(GEMINI_DONE)
    result = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
    assert chat.responses.create(input=[USER, *items, result], **fields).output_text == "Sunny."
    assert model_parts(fake) == [[CALL]]


@pytest.mark.parametrize("stream", [False, True])
def test_claude_behind_chat(pair, chat, stream):
    """Thinking that went on to a call must come back before it, or not be asked for again."""
    fake, _ = pair
    use = claude.tool_use({"city": "Rome"}, "c1")
    if stream:
        thought = claude.thinking(0, "Let me see.", SIGNED)
        fake.then(claude.stream(thought, claude.tool(1, '{"city":', '"Rome"}', block_id="c1"), reason="tool_use"))
    else:
        fake.then(up.whole(claude.message(THOUGHT, use, stop="tool_use")))
    said = chat_turn(chat, "c", [USER], stream, reasoning_effort="high")
    assert said["thinking_blocks"][-1]["signature"].endswith(SIGNED)
    fake.then(CLAUDE_DONE)
    thinks = {"extra_body": {"thinking": {"type": "adaptive"}}}
    chat_turn(chat, "c", [USER, said, CHAT_RESULT], False, **thinks)
    asked = fake.last.json()
    assert asked["messages"][1]["content"] == [THOUGHT, use]
    assert asked["thinking"]["type"] == "adaptive"
    # A client that keeps only what the API has: without thinking, since it is refused else.
    bare = {key: said[key] for key in ("role", "tool_calls")}
    fake.then(CLAUDE_DONE)
    chat_turn(chat, "c", [USER, bare, CHAT_RESULT], False, **thinks)
    asked = fake.last.json()
    assert asked["messages"][1]["content"] == [use]
    assert "thinking" not in asked
    # Gemini sees none of it.
    fake.then(GEMINI_DONE)
    chat_turn(chat, "g", [USER, said, CHAT_RESULT], False)
    assert [part.get("thoughtSignature") for part in model_parts(fake)[0]] == [LOST]


def test_claude_behind_messages_then_gemini(pair, messages):
    fake, _ = pair
    fake.then(up.whole(claude.message(THOUGHT, claude.tool_use({"city": "Rome"}, "c1"), stop="tool_use")))
    said = messages_turn(messages, "c", [USER], False)
    assert said["content"][0] == THOUGHT  # relayed
    fake.then(GEMINI_DONE)
    messages_turn(messages, "g", [USER, said, MESSAGES_RESULT], False)
    assert [part.get("thoughtSignature") for part in model_parts(fake)[0]] == [LOST]


def test_a_thought_of_an_openai_model_behind_messages(pair, messages):
    """Nobody has signed it: what the client gets says so."""
    fake, _ = pair
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    said = {"role": "assistant", "content": None, "reasoning_content": "Let me see.", "tool_calls": [call]}
    fake.then(up.whole({"choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}]}))
    said = messages_turn(messages, "o", [USER], False)
    assert said["content"][0] == {**THOUGHT, "signature": "penstock.none.s."}
    fake.then(GEMINI_DONE)
    messages_turn(messages, "g", [USER, said, MESSAGES_RESULT], False)
    assert [part.get("thoughtSignature") for part in model_parts(fake)[0]] == [LOST]
