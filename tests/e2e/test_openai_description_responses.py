# SPDX-License-Identifier: Apache-2.0
"""What /v1/responses answers is what OpenAI's description says, whatever kind of provider answers."""

import pytest
from support import fake as up
from support import said, shape
from support.kinds import ASKED, CAN, OPENAI, ROWS, SAID, SAYS, in_responses, is_weather, model_of, ok, respond, started
from support.local import SKY, needs_llama
from support.shape_responses import check_response, check_response_stream


@pytest.fixture(scope="module")
def servers():
    with started() as both:
        yield both


@pytest.fixture(scope="module")
def ailing():
    """The same for those that leave their providers in bad health."""
    with started() as both:
        yield both


CANNOT = ("two", "picture")  # be told at that door
RESPONDS = [(kind, what) for kind, what in ROWS if what not in CANNOT and kind not in OPENAI[1:]]


def expect_response(answer, wanted):
    ended = {"length": ("incomplete", "max_output_tokens"), "content_filter": ("incomplete", "content_filter")}
    status, reason = ended.get(wanted.finish, ("completed", None))
    assert (answer["status"], (answer["incomplete_details"] or {}).get("reason")) == (status, reason)
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    assert "".join(part["text"] for part in parts if part["type"] == "output_text") == (wanted.text or "")
    assert "".join(part["refusal"] for part in parts if part["type"] == "refusal") == (wanted.refusal or "")
    calls = [item for item in answer["output"] if item["type"] == "function_call"]
    assert len(calls) == wanted.calls and all(map(is_weather, calls))
    thoughts = [item for item in answer["output"] if item["type"] == "reasoning"]
    told = [part["text"] for item in thoughts for part in item.get("content", []) + item["summary"]]
    assert "".join(told) == (wanted.thought or "") or wanted.text is None
    cited = [one for part in parts for one in part.get("annotations", [])]
    assert [one["url"] for one in cited] == [said.URL] * wanted.cited
    tokens = [token for part in parts for token in part.get("logprobs", [])]
    assert "".join(token["token"] for token in tokens) == (wanted.text if wanted.logprobs else "")
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)


def check_kept(gateway, answer):
    """What is kept is what was answered; and what went into it."""
    kept = gateway.get(f"/v1/responses/{answer['id']}")
    assert check_response(ok(kept, False)) == answer
    items = gateway.get(f"/v1/responses/{answer['id']}/input_items")
    found = shape.check(ok(items, False), shape.List[shape.ResponseItem])
    assert found["data"][-1]["role"] == "user"


@pytest.mark.parametrize("kind, what", RESPONDS)
def test_response(servers, kind, what):
    answer = check_response(ok(respond(servers, kind, what), False))
    expect_response(answer, SAID[what][0])
    check_kept(servers[1], answer)


@pytest.mark.parametrize("kind, what", RESPONDS)
def test_streamed_response(servers, kind, what):
    answer = check_response_stream(ok(respond(servers, kind, what, stream=True), True))
    expect_response(answer, SAID[what][0])
    check_kept(servers[1], answer)


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_tells_what_was_asked(servers, stream):
    answer = ok(respond(servers, "openai", "call", stream=stream, **ASKED), stream)
    answer = check_response_stream(answer) if stream else check_response(answer)
    assert all(answer[name] == ASKED[name] for name in ("instructions", "metadata", "tool_choice", "reasoning"))


PICTURE = f"data:image/png;base64,{said.PICTURE}"
SAID_BEFORE = {"type": "output_text", "annotations": [], "logprobs": []}
INPUT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    {"type": "message", "role": "assistant", "content": [{**SAID_BEFORE, "text": "Hello"}]},
    {"role": "assistant", "content": "Well."},
    {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
    {"role": "assistant", "content": [{"text": "Then.", "annotations": None, "type": "output_text", "logprobs": None}]},
    {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": None}]},
    {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE, "detail": "low"}]},
    {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "rain"},
    {"type": "function_call", "call_id": "d", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "sun"}]},
    {"role": "user", "content": "and?"},
]


def test_items_of_the_input(servers):
    """As clients write them, shortened: kept, they have all members that the description wants."""
    fake, gateway = servers
    answer = check_response(ok(respond(servers, "openai", "text", input=INPUT), False))
    items = gateway.get(f"/v1/responses/{answer['id']}/input_items?order=asc")
    found = shape.check(ok(items, False), shape.List[shape.ResponseItem])
    assert [item["type"] for item in found["data"]] == [item.get("type", "message") for item in INPUT]
    parts = [item["content"][0] for item in found["data"] if "content" in item]
    assert [part["detail"] for part in parts if part["type"] == "input_image"] == ["auto", "low"]
    assert [part for part in parts if part["type"] == "output_text"] == [
        {**SAID_BEFORE, "text": text} for text in ("Hello", "Well.", "So.", "Then.")
    ]
    page = gateway.get(f"/v1/responses/{answer['id']}/input_items?order=asc&limit=2&after={found['data'][1]['id']}")
    page = shape.check(ok(page, False), shape.List[shape.ResponseItem])
    assert page["data"] == found["data"][2:4] and page["has_more"]


@pytest.mark.parametrize("kind", [kind for kind, can in CAN.items() if "logprobs" not in can])
def test_who_cannot_tell_of_tokens_is_not_asked(servers, kind):
    _, gateway = servers
    body = {"model": model_of(kind), "input": "hi", "include": ["message.output_text.logprobs"]}
    answer = gateway.post("/v1/responses", body)
    assert answer.status == 400
    assert shape.check_error(answer.body)["param"] == "include"


@pytest.mark.parametrize("stream", [True, False])
def test_custom_tools(servers, stream):
    fake, gateway = servers
    call = {"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "ls -l"}}
    if stream:
        pieces = [up.delta("", role="assistant"), up.delta(tool_calls=[{"index": 0, **call}])]
        fake.then(up.script(*pieces, up.delta(finish="tool_calls"), up.DONE, "finish"))
    else:
        message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
        fake.then(up.whole(up.chat_answer(choices=[choice])))
    body = {"model": "m", "input": "hi", "tools": [{"type": "custom", "name": "run"}], "stream": stream}
    answer = ok(gateway.post("/v1/responses", body), stream)
    answer = check_response_stream(answer) if stream else check_response(answer)
    (item,) = answer["output"]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "run", "ls -l")


def test_calls_that_come_mixed(servers):
    fake, gateway = servers

    def piece(index, **function):
        begun = {"id": f"call_{index}", "type": "function"} if "name" in function else {}
        return up.delta(tool_calls=[{"index": index, **begun, "function": function}])

    pieces = [piece(index, name="weather", arguments="") for index in (0, 1)]
    pieces += [piece(index, arguments=half) for half in ('{"city":', '"Köln"}') for index in (0, 1)]
    fake.then(up.script(up.delta("", role="assistant"), *pieces, up.delta(finish="tool_calls"), up.DONE, "finish"))
    answer = ok(gateway.post("/v1/responses", {"model": "m", "input": "hi", "stream": True}), True)
    answer = check_response_stream(answer)
    assert [(item["call_id"], item["arguments"]) for item in answer["output"]] == [
        (f"call_{index}", '{"city":"Köln"}') for index in (0, 1)
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_a_provider_with_that_api(servers, stream):
    """What another provider's answer became is sent as an answer of the API itself."""
    fake, gateway = servers
    sent = ok(respond(servers, "anthropic", "calls", stream=stream), stream)
    fake.then(up.script(sent, "finish") if stream else up.whole(sent))
    got = ok(gateway.post("/v1/responses", {"model": model_of("native"), "input": "hi", "stream": stream}), stream)
    assert got == sent
    expect_response(check_response_stream(got) if stream else check_response(got), SAID["calls"][0])


def test_a_response_is_deleted(servers):
    _, gateway = servers
    kept = check_response(ok(respond(servers, "openai", "text"), False))["id"]
    shape.check(ok(gateway.ask("DELETE", f"/v1/responses/{kept}"), False), shape.Deleted)
    shape.check_error(gateway.get(f"/v1/responses/{kept}").body)


@needs_llama
def test_response_inside(servers):
    _, gateway = servers
    asks = ({}, in_responses(SAID["json"][1]), {"max_output_tokens": 2}, in_responses(SAID["logprobs"][1]))
    for fields in asks:
        body = {"model": model_of("embedded"), "input": SKY, "temperature": 0, **fields}
        whole = check_response(ok(gateway.post("/v1/responses", body), False))
        streamed = check_response_stream(ok(gateway.post("/v1/responses", {**body, "stream": True}), True))
        texts = [[item["content"][0]["text"] for item in answer["output"]] for answer in (whole, streamed)]
        assert texts[0] == texts[1] and texts[0][0]
        tokens = [answer["output"][0]["content"][0]["logprobs"] for answer in (whole, streamed)]
        assert [token["token"] for token in tokens[0]] == [token["token"] for token in tokens[1]]
        assert "".join(token["token"] for token in tokens[0]) == (texts[0][0] if "include" in fields else "")


@pytest.mark.parametrize("kind", [kind for kind in SAYS if kind != "tensor"])
def test_a_response_that_breaks(ailing, kind):
    fake, gateway = ailing
    fake.then(said.cut(kind))
    body = {"model": model_of(kind), "stream": True, "input": "hi"}
    with gateway.connect() as connection:
        gateway.open_chat(connection, path="/v1/responses", messages=None, **body)
        body, _ = connection.read_cut(connection.read_head())
    answer = check_response_stream(body)
    assert answer["status"] == "failed" and answer["store"] is False
    assert gateway.get(f"/v1/responses/{answer['id']}").status == 404
