# SPDX-License-Identifier: Apache-2.0
"""OpenAI's Responses API: the official SDK against an upstream that only knows chat completions, one
that has this API itself, and the model inside the gateway."""

import json

import openai
import pytest
from openai import OpenAI
from support import fake as up
from support.gateway import Gateway, config, provider
from support.jobs import batch_of, bearer, upload, wait_batch, with_keys
from support.local import SKY, SKY_ANSWER, local, needs_llama, nothing_left

TOOL = {
    "type": "function",
    "name": "weather",
    "description": "tells it",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLS = [
    {"id": f"call_{i}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city":"c{i}"}}'}}
    for i in (1, 2)
]


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake, Gateway(config(fake)) as gateway:
        yield fake, gateway


@pytest.fixture
def through(servers):
    fake, gateway = servers
    fake.forget()
    with client_of(gateway) as client:
        yield client, fake


def client_of(gateway, key="client-key"):
    return OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=30)


def raw_events(sent):
    """(event name, data) of a raw stream."""
    found = []
    for block in sent.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in lines:
            found.append((lines.get("event"), json.loads(lines["data"])))
    return found


def test_response(through):
    client, fake = through
    answer = client.responses.create(
        model="m",
        input="hi",
        instructions="Be brief.",
        max_output_tokens=50,
        temperature=0.5,
        metadata={"a": "b"},
    )
    assert answer.id.startswith("resp_") and answer.object == "response"
    assert answer.status == "completed" and answer.error is None
    assert answer.output_text == "Hello"
    assert answer.output[0].id.startswith("msg_") and answer.output[0].role == "assistant"
    assert answer.model == "up-model" and answer.metadata == {"a": "b"} and answer.store is True
    assert answer.instructions == "Be brief." and answer.max_output_tokens == 50
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    asked = fake.last.json()
    assert fake.last.path == "/v1/chat/completions"
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    assert asked["temperature"] == 0.5 and asked["max_tokens"] == 50
    assert not {"store", "metadata", "input", "instructions"} & set(asked)


def test_stream(through):
    client, fake = through
    fake.then(up.stream("Hel", "lo", usage=True))
    events = list(client.responses.create(model="m", input="hi", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello"
    last = events[-1].response
    assert last.id == events[0].response.id and last.output_text == "Hello"
    assert events[0].response.status == "in_progress" and last.status == "completed"
    assert client.responses.retrieve(last.id).output_text == "Hello"


def test_stream_helper_puts_the_answer_together(through):
    client, fake = through
    fake.then(up.stream("Hel", "lo"))
    with client.responses.stream(model="m", input="hi") as stream:
        assert stream.get_final_response().output_text == "Hello"


def test_tools_there_and_back(through):
    client, fake = through
    message = {"role": "assistant", "content": None, "tool_calls": CALLS}
    fake.then(up.whole(up.chat_answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])))
    answer = client.responses.create(model="m", input="weather?", tools=[TOOL], tool_choice="required")
    assert [item.type for item in answer.output] == ["function_call", "function_call"]
    assert [(item.call_id, item.arguments) for item in answer.output] == [
        ("call_1", '{"city":"c1"}'),
        ("call_2", '{"city":"c2"}'),
    ]
    asked = fake.last.json()
    assert asked["tool_choice"] == "required"
    assert asked["tools"][0]["function"]["name"] == "weather"
    results = [{"type": "function_call_output", "call_id": f"call_{i}", "output": f"r{i}"} for i in (1, 2)]
    again = client.responses.create(model="m", input=results, tools=[TOOL], previous_response_id=answer.id)
    assert again.previous_response_id == answer.id and again.output_text == "Hello"
    messages = fake.last.json()["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_1", "call_2"]
    assert [(one["tool_call_id"], one["content"]) for one in messages[2:]] == [("call_1", "r1"), ("call_2", "r2")]


def test_streamed_tool_call(through):
    client, fake = through
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    rest = {"index": 0, "function": {"arguments": '{"city":"x"}'}}
    fake.then(
        up.script(
            up.delta(tool_calls=[first]),
            up.delta(tool_calls=[rest]),
            up.delta(finish="tool_calls"),
            up.DONE,
            "finish",
        )
    )
    events = list(client.responses.create(model="m", input="hi", tools=[TOOL], stream=True))
    assert [event.type for event in events][2:] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    call = events[-1].response.output[0]
    assert (call.call_id, call.name, call.arguments, call.status) == ("call_1", "weather", '{"city":"x"}', "completed")


def test_what_a_request_may_leave_out_its_answer_says(through):
    """Clients that are strict about types read the answer, too."""
    client, _ = through
    tools = [TOOL, {"type": "function", "name": "bare"}, {**TOOL, "name": "strict", "strict": True}]
    answer = client.responses.create(model="m", input="hi", tools=tools).to_dict()
    assert [(tool["strict"], tool["parameters"]) for tool in answer["tools"]] == [
        (None, TOOL["parameters"]), (None, None), (True, TOOL["parameters"])
    ]  # fmt: skip
    assert "user" not in answer  # there is no null for it
    assert client.responses.create(model="m", input="hi", user="u").to_dict()["user"] == "u"


def test_usage_that_is_not_told_is_not_made_up(through):
    client, fake = through
    fake.then(up.script(up.delta("Hello"), up.FINISH, up.DONE, "finish"))
    events = list(client.responses.create(model="m", input="hi", stream=True))
    assert events[-1].type == "response.completed" and events[-1].response.usage is None
    assert all("usage" not in event.response.to_dict() for event in (*events[:2], events[-1]))


def test_structured_output(through):
    client, fake = through
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    client.responses.create(
        model="m", input="hi", text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    )
    assert fake.last.json()["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }


def test_cut_by_length_is_incomplete(through):
    client, fake = through
    fake.then(up.whole(up.chat_answer("Hel", finish="length")))
    answer = client.responses.create(model="m", input="hi")
    assert answer.status == "incomplete" and answer.incomplete_details.reason == "max_output_tokens"


# What is kept


def test_conversation_goes_on(through):
    client, fake = through
    first = client.responses.create(model="m", input="one", instructions="only once")
    second = client.responses.create(model="m", input="two", previous_response_id=first.id)
    fake.then(up.stream("Hello"))
    third = list(client.responses.create(model="m", input="three", previous_response_id=second.id, stream=True))[-1]
    said = [(one["role"], one["content"]) for one in fake.last.json()["messages"]]
    assert said == [
        ("user", "one"),
        ("assistant", "Hello"),
        ("user", "two"),
        ("assistant", "Hello"),
        ("user", "three"),
    ]
    items = client.responses.input_items.list(third.response.id, order="asc", limit=3)
    assert [item.role for item in items.data] == ["user", "assistant", "user"]
    assert items.has_more
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant", "user"]


def test_items_of_the_input_are_whole(servers):
    """However short they were written: with id, type and status, and their content in parts."""
    fake, gateway = servers
    items = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a", "status": None},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
        {"type": "message", "id": "msg_own", "role": "user", "content": [{"type": "input_text", "text": "p"}]},
        {"id": "x" * 2000, "role": "user", "content": "long"},
        {"id": 'a"b', "role": "user", "content": "odd"},
    ]
    made = gateway.post("/v1/responses", {"model": "m", "input": items}).json()
    found = gateway.get(f"/v1/responses/{made['id']}/input_items?order=asc").json()["data"]
    ids = [f"item_{made['id'].removeprefix('resp_')}_{index}" for index in range(7)]
    assert [item.pop("id") for item in found] == [*ids[:4], "msg_own", *ids[5:]]
    assert [item.pop("status") for item in found] == ["completed"] * 7
    rest = gateway.get(f"/v1/responses/{made['id']}/input_items?order=asc&after={ids[5]}").json()
    assert [item["content"][0]["text"] for item in rest["data"]] == ["odd"] and rest["first_id"] == ids[6]
    gateway.post("/v1/responses", {"model": "m", "input": refers(ids[5])})
    assert fake.last.json()["messages"] == [{"role": "user", "content": "long"}]
    said = {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}
    assert found == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "q"}]},
        {"type": "message", "role": "assistant", "content": [said]},
        *items[2:4],
        *(
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            for text in ("p", "long", "odd")
        ),
    ]


def test_retrieve_and_delete(through):
    client, _ = through
    answer = client.responses.create(model="m", input="hi")
    assert client.responses.retrieve(answer.id).to_dict() == answer.to_dict()
    client.responses.delete(answer.id)
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(answer.id)


def test_what_is_not_to_be_kept_is_not(through):
    client, _ = through
    answer = client.responses.create(model="m", input="hi", store=False)
    assert answer.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)


@pytest.mark.parametrize("previous", ["resp_01h00000000000000000000000", "resp_x", "nothing"])
def test_unknown_previous_response(through, previous):
    client, fake = through
    with pytest.raises(openai.NotFoundError) as failed:
        client.responses.create(model="m", input="hi", previous_response_id=previous)
    assert failed.value.code == "previous_response_not_found"
    assert failed.value.param == "previous_response_id"
    assert fake.requests == []


def test_another_tenants_responses_do_not_exist():
    with up.Fake() as fake, Gateway(with_keys(fake)) as gateway:
        body = {"model": "m", "input": "hi"}
        mine = gateway.post("/v1/responses", body, bearer("alice")).json()["id"]
        assert gateway.get(f"/v1/responses/{mine}", bearer("alice")).status == 200
        assert gateway.get(f"/v1/responses/{mine}", bearer("bob")).status == 404
        assert gateway.ask("DELETE", f"/v1/responses/{mine}", bearer("bob")).status == 404
        answer = gateway.post("/v1/responses", {**body, "previous_response_id": mine}, bearer("bob"))
        assert answer.status == 404
        named = {"model": "m", "input": refers(mine.replace("resp", "msg") + "_0")}
        assert gateway.post("/v1/responses", named, bearer("alice")).status == 200
        assert gateway.post("/v1/responses", named, bearer("bob")).status == 404


def test_a_kept_response_survives_the_kill_of_the_process(tmp_path):
    with up.Fake() as fake:
        settings = config(fake, data_dir=str(tmp_path))
        gateway = Gateway(settings)
        with client_of(gateway) as client:
            answer = client.responses.create(model="m", input="hi")
        gateway.kill()
        with Gateway(settings) as other, client_of(other) as client:
            assert client.responses.retrieve(answer.id).output_text == "Hello"


def test_a_broken_store_is_told(tmp_path):
    """What would not be kept is no answer; whoever wants nothing kept does not depend on the store."""
    (tmp_path / "file").write_text("no folder")
    with up.Fake() as fake, Gateway(config(fake, data_dir=str(tmp_path / "file"))) as gateway:
        body = {"model": "m", "input": "hi"}
        refused = gateway.post("/v1/responses", body)
        assert refused.status == 503 and refused.json()["error"]["code"] == "storage_unavailable"
        with gateway.connect() as connection:
            asked = json.dumps({**body, "stream": True}).encode()
            connection.request("POST", "/v1/responses", [("Content-Type", "application/json")], asked)
            events = raw_events(connection.read_cut(connection.read_head())[0])
        assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
        assert events[-1][0] == "response.failed" and "response.completed" not in dict(events)
        assert events[-1][1]["response"]["error"]["code"] == "server_error"
        count = len(fake.requests)
        known = {**body, "previous_response_id": "resp_01h00000000000000000000000"}
        assert gateway.post("/v1/responses", known).status == 503
        assert len(fake.requests) == count
        assert gateway.post("/v1/responses", {**body, "store": False}).status == 200
        assert gateway.get("/v1/responses/resp_01h00000000000000000000000").status == 503


# Items that the input names by their ids


def refers(*ids):
    return [{"type": "item_reference", "id": one} for one in ids]


def test_items_named_by_their_ids(through):
    """As clients do that rely on what is kept, tools included: only the results come as they are."""
    client, fake = through
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS}
    fake.then(up.whole(up.chat_answer(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])))
    question = {"role": "user", "content": "weather?"}
    first = client.responses.create(model="m", input=[question], tools=[TOOL])
    results = [{"type": "function_call_output", "call_id": f"call_{i}", "output": f"r{i}"} for i in (1, 2)]
    history = [question, *refers(*(item.id for item in first.output)), *results]
    second = client.responses.create(model="m", input=history, tools=[TOOL])
    messages = fake.last.json()["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[1]["content"] == "Let me see."
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["call_1", "call_2"]
    assert [one["content"] for one in messages[2:]] == ["r1", "r2"]
    # What is kept has the items themselves, so it does not need the response that they are of.
    kept = list(client.responses.input_items.list(second.id, order="asc"))
    assert [item.type for item in kept[:4]] == ["message", "message", "function_call", "function_call"]
    assert [item.id for item in kept[1:4]] == [item.id for item in first.output]
    client.responses.delete(first.id)
    third = [*history, *refers(second.output[0].id), {"role": "user", "content": "and now?"}]
    fake.then(up.stream("Hello"))
    events = list(client.responses.create(model="m", input=third, tools=[TOOL], stream=True))
    assert events[-1].type == "response.completed"
    assert [one["role"] for one in fake.last.json()["messages"]] == [
        *("user", "assistant", "tool", "tool", "assistant", "user"),
    ]
    # an item of an input that had no id has one in the list of them
    again = client.responses.create(model="m", input=refers(kept[0].id))
    assert fake.last.json()["messages"] == [{"role": "user", "content": "weather?"}]
    assert kept[0].id.startswith("item_") and again.status == "completed"


def test_items_of_several_responses(through):
    client, fake = through
    ids = [client.responses.create(model="m", input=f"{i}").output[0].id for i in range(3)]
    client.responses.create(model="m", input=refers(*ids, ids[0]))
    assert [one["content"] for one in fake.last.json()["messages"]] == ["Hello"] * 4
    before = client.responses.create(model="m", input="before")
    client.responses.create(model="m", input=refers(ids[2]), previous_response_id=before.id)
    assert [one["content"] for one in fake.last.json()["messages"]] == ["before", "Hello", "Hello"]


def test_a_long_conversation_is_read_beside_the_loop(through):
    """More than a loop may be held for: a thread looks through it."""
    client, fake = through
    long = "x" * 400000
    first = client.responses.create(model="m", input=[{"role": "user", "content": long}])
    client.responses.create(model="m", input=[*refers(first.output[0].id), {"role": "user", "content": "and?"}])
    assert [one["content"] for one in fake.last.json()["messages"]] == ["Hello", "and?"]
    client.responses.create(model="m", input="and?", previous_response_id=first.id)
    assert [one["content"] for one in fake.last.json()["messages"]] == [long, "Hello", "and?"]


@pytest.mark.parametrize(
    "wrong", ["msg_01h00000000000000000000000_0", "msg_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41", "x"]
)
def test_unknown_items(through, wrong):
    client, fake = through
    known = client.responses.create(model="m", input="hi").output[0].id
    fake.forget()
    with pytest.raises(openai.NotFoundError) as failed:
        client.responses.create(model="m", input=refers(known, wrong))
    assert failed.value.param == "input[1].id" and wrong in failed.value.message
    assert failed.value.type == "invalid_request_error"
    beyond = known[: known.rindex("_")] + "_7"
    with pytest.raises(openai.NotFoundError) as failed:
        client.responses.create(model="m", input=refers(beyond, known))
    assert failed.value.param == "input[0].id"
    assert fake.requests == []


def test_items_of_answers_that_were_not_kept(through):
    client, fake = through
    answer = client.responses.create(model="m", input="hi", store=False)
    with pytest.raises(openai.NotFoundError) as failed:
        client.responses.create(model="m", input=refers(answer.output[0].id))
    assert failed.value.param == "input[0].id"


def test_no_more_responses_are_looked_through_than_64(through):
    client, fake = through
    ids = [client.responses.create(model="m", input="hi").output[0].id for _ in range(65)]
    assert client.responses.create(model="m", input=refers(*ids[:64])).output_text == "Hello"
    with pytest.raises(openai.BadRequestError) as failed:
        client.responses.create(model="m", input=refers(*ids))
    assert failed.value.param == "input"


def test_items_are_no_larger_than_a_request():
    """A few bytes that name an item many times make no large one."""
    with up.Fake() as fake, Gateway(config(fake, limits={"body_bytes": "64KiB"})) as gateway:
        fake.then(up.whole(up.chat_answer("x" * 30000)))
        answer = gateway.post("/v1/responses", {"model": "m", "input": "hi"}).json()
        twice = refers(*[answer["output"][0]["id"]] * 2)
        assert gateway.post("/v1/responses", {"model": "m", "input": twice}).status == 200
        refused = gateway.post("/v1/responses", {"model": "m", "input": [*twice, *twice]})
        assert refused.status == 413 and refused.json()["error"]["param"] == "input"


# Errors


@pytest.mark.parametrize(
    "fields, param",
    [
        ({"input": [{"type": "item_reference"}]}, "input[0].id"),
        ({"input": [{"role": "boss", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "r"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_bad_requests_name_the_field(servers, fields, param):
    fake, gateway = servers
    fake.forget()
    answer = gateway.post("/v1/responses", {"model": "m", "input": "hi", **fields})
    assert answer.status == 400, answer.body
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert fake.requests == []


def test_an_upstreams_error_keeps_its_meaning(through):
    client, fake = through
    fake.then(up.error(400, "too long", "invalid_request_error", "context_length_exceeded"))
    with pytest.raises(openai.BadRequestError) as failed:
        client.responses.create(model="m", input="hi")
    assert failed.value.code == "context_length_exceeded"


def test_a_broken_stream_ends_with_failed(servers):
    fake, gateway = servers
    fake.forget()
    fake.then(up.script(up.delta("Hel"), "finish"))
    with gateway.connect() as connection:
        body = json.dumps({"model": "m", "input": "hi", "stream": True}).encode()
        connection.request("POST", "/v1/responses", [("Content-Type", "application/json")], body)
        sent, _ = connection.read_cut(connection.read_head())
    name, data = raw_events(sent)[-1]
    assert name == data["type"] == "response.failed"
    assert data["response"]["status"] == "failed" and data["response"]["error"]["code"] == "server_error"
    assert gateway.get(f"/v1/responses/{data['response']['id']}").status == 404


# An upstream that has the API itself


def test_native_responses_pass_as_they_are():
    body = b'{"id":"resp_68","object":"response","status":"completed","output":[],"strange":1.0}'
    with up.Fake() as fake:
        settings = config(fake, providers={"up": provider(fake, native_responses=True)})
        with Gateway(settings) as gateway:
            fake.then(up.whole(body))
            answer = gateway.post(
                "/v1/responses", b'{"model":"m", "input":"hi","previous_response_id":"resp_67","odd":1e2}'
            )
            assert answer.status == 200 and answer.body == body
            assert fake.last.path == "/v1/responses"
            assert fake.last.body == (
                b'{"model":"up-model", "input":"hi","previous_response_id":"resp_67","odd":1e2}'
            )
            assert gateway.get("/v1/responses/resp_68").status == 404


def test_native_responses_go_on_from_what_is_kept_here():
    """One model of the gateway has the API itself, the other has not: the conversation moves."""
    with up.Fake() as fake:
        providers = {"up": provider(fake), "native": provider(fake, native_responses=True)}
        with Gateway(config(fake, providers=providers)) as gateway:
            first = gateway.post("/v1/responses", {"model": "m", "input": "one"}).json()
            fake.then(up.whole(b'{"id":"resp_68","object":"response","status":"completed","output":[]}'))
            body = {"model": "native/x", "input": "two", "previous_response_id": first["id"]}
            assert gateway.post("/v1/responses", body).status == 200
            asked = fake.last.json()
            assert asked["previous_response_id"] is None
            assert [item["role"] for item in asked["input"]] == ["user", "assistant", "user"]
            assert asked["input"][2]["content"] == "two"
            fake.then(up.whole(b'{"id":"resp_69","object":"response","status":"completed","output":[]}'))
            body = {"model": "native/x", "input": refers("msg_67", first["output"][0]["id"])}
            assert gateway.post("/v1/responses", body).status == 200
            assert fake.last.json()["input"] == [*refers("msg_67"), first["output"][0]]


# Batches


def response_line(custom_id, **body):
    body = {"model": "m", "input": "hi", **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/responses", "body": body}) + "\n"


def rows(gateway, file_id):
    text = gateway.get(f"/v1/files/{file_id}/content").body
    return {row["custom_id"]: row for row in map(json.loads, text.splitlines())}


def run_batch(gateway, *lines):
    made = batch_of(gateway, "".join(lines).encode(), endpoint="/v1/responses")
    return wait_batch(gateway, made["id"])


def test_a_batch_of_responses(servers):
    """By the official SDK; every answer as the door itself gives it, but for what is kept."""
    fake, gateway = servers
    fake.forget()
    with client_of(gateway) as client:
        lines = response_line("a") + response_line("b", store=True, tools=[TOOL], metadata={"x": "y"})
        made = client.batches.create(
            input_file_id=upload(gateway, lines.encode()), endpoint="/v1/responses", completion_window="24h"
        )
        batch = wait_batch(gateway, made.id)
        assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 2, batch
        assert batch["usage"]["total_tokens"] == 22
        found = rows(gateway, batch["output_file_id"])
        for row in found.values():
            body = row["response"]["body"]
            assert row["response"]["status_code"] == 200 and body["object"] == "response"
            assert body["output"][0]["content"][0]["text"] == "Hello" and body["store"] is False
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(body["id"])
        assert found["b"]["response"]["body"]["metadata"] == {"x": "y"}
    assert {request.path for request in fake.requests} == {"/v1/chat/completions"}


def test_lines_do_not_go_on_from_what_is_kept(servers):
    fake, gateway = servers
    fake.forget()
    kept = gateway.post("/v1/responses", {"model": "m", "input": "hi"}).json()
    batch = run_batch(
        gateway,
        response_line("good"),
        response_line("before", previous_response_id=kept["id"]),
        response_line("item", input=refers(kept["output"][0]["id"])),
        response_line("unknown", input=refers("msg_1")),
        response_line("wrong", input=[{"role": "boss", "content": "hi"}]),
    )
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 5, "completed": 1, "failed": 4}
    found = {
        name: (row["response"]["status_code"], row["response"]["body"]["error"]["param"])
        for name, row in rows(gateway, batch["error_file_id"]).items()
    }
    assert found == {
        "before": (400, "previous_response_id"),
        "item": (400, "input"),
        "unknown": (404, "input[0].id"),
        "wrong": (400, "input[0].role"),
    }


@pytest.mark.parametrize("field", ["stream", "background"])
def test_lines_that_no_batch_has(servers, field):
    _, gateway = servers
    batch = run_batch(gateway, response_line("a"), response_line("b", **{field: True}))
    assert batch["status"] == "failed"
    (error,) = batch["errors"]["data"]
    assert (error["param"], error["line"]) == (f"body.{field}", 2)


def test_a_batch_whose_answers_repeat_long_requests():
    with up.Fake() as fake, Gateway(config(fake, limits={"event_bytes": "64KiB"})) as gateway:
        batch = run_batch(gateway, response_line("a", instructions="x" * 700000))
        assert batch["request_counts"]["completed"] == 1, batch
        (row,) = rows(gateway, batch["output_file_id"]).values()
        assert len(row["response"]["body"]["instructions"]) == 700000


def test_a_batch_at_a_provider_that_has_the_api_itself():
    body = b'{"id":"resp_68","object":"response","status":"completed","output":[],"strange":1.0}'
    with up.Fake() as fake:
        with Gateway(config(fake, providers={"up": provider(fake, native_responses=True)})) as gateway:
            fake.always(up.whole(body))
            batch = run_batch(gateway, response_line("a", previous_response_id="resp_67", store=True, odd=1.5))
            assert batch["request_counts"]["completed"] == 1, batch
            (row,) = rows(gateway, batch["output_file_id"]).values()
            assert row["response"]["body"] == json.loads(body)
            asked = fake.last.json()
            assert fake.last.path == "/v1/responses"
            assert asked["previous_response_id"] == "resp_67" and asked["store"] is True and asked["odd"] == 1.5


# The model inside


@pytest.fixture(scope="module")
def inside():
    with Gateway(local()) as gateway:
        yield gateway
        nothing_left(gateway)


@needs_llama
def test_model_inside(inside):
    with client_of(inside) as client:
        answer = client.responses.create(model="tiny", input=SKY, temperature=0)
        assert answer.output_text == SKY_ANSWER
        assert client.responses.retrieve(answer.id).output_text == SKY_ANSWER
        events = list(client.responses.create(model="tiny", input=SKY, temperature=0, stream=True))
        assert events[-1].type == "response.completed"
        assert events[-1].response.output_text == SKY_ANSWER
        # so long that another thread reads it
        long = client.responses.create(
            model="tiny", input=SKY, temperature=0, metadata={"a": "b"}, extra_body={"odd": "x" * 200000}
        )
        assert long.output_text == SKY_ANSWER and long.metadata == {"a": "b"}
        assert client.responses.retrieve(long.id).to_dict() == long.to_dict()
        again = client.responses.create(
            model="tiny", input="and now?", previous_response_id=answer.id, max_output_tokens=4
        )
        assert again.usage.input_tokens > answer.usage.input_tokens
