# SPDX-License-Identifier: Apache-2.0
"""/v1/messages/batches: the official SDK end to end, what a batch looks like on its way, bad input."""

import json

import anthropic
import pytest
from anthropic import Anthropic
from support import anthropic_fake as claude
from support import fake as up
from support.gateway import Gateway, config
from support.jobs import KEYS, bearer, until, with_keys
from support.local import SKY, SKY_ANSWER, local, needs_llama

PATH = "/v1/messages/batches"
USER = [{"role": "user", "content": "hi"}]
NEVER = "msgbatch_" + "0" * 26


def settings(fake):
    """Two keys; `m` is a model of Anthropic's family, `translated` one of OpenAI's."""
    made = with_keys(fake)
    own = {**made["providers"]["up"], "dialect": "anthropic"}
    made["providers"] = {"up": own, "other": config(fake)["providers"]["up"]}
    made["models"].append({"name": "translated", "targets": [{"provider": "other", "model": "up-model"}]})
    return made


def answer(exchange):
    if exchange.request.path == "/v1/messages":
        claude.answer(exchange)
    else:
        up.answer(exchange)


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake, Gateway(settings(fake)) as gateway:
        yield fake, gateway


@pytest.fixture
def pair(servers):
    fake, gateway = servers
    fake.forget()
    fake.always(answer)
    return fake, gateway


@pytest.fixture
def client(pair):
    _, gateway = pair
    with Anthropic(base_url=gateway.url, api_key=KEYS["alice"], max_retries=0, timeout=60) as client:
        yield client


def item(custom_id="a", **params):
    return {"custom_id": custom_id, "params": {"model": "m", "max_tokens": 5, "messages": USER, **params}}


def post(gateway, body, headers=()):
    return gateway.post(PATH, body, [*bearer("alice"), *headers])


def wait_ended(client, batch_id):
    return until(
        lambda: client.messages.batches.retrieve(batch_id),
        lambda batch: batch.processing_status == "ended",
        "end of the batch",
    )


def results(client, batch_id):
    return {row.custom_id: row.result for row in client.messages.batches.results(batch_id)}


def test_from_one_end_to_the_other(pair, client):
    fake, gateway = pair
    batch = client.messages.batches.create(
        requests=[
            item("whole", system='new\nline and "quotes"', x_new=claude.NEWS),
            item("other", model="translated"),
            item("nobody", model="nobody"),
            item("bad", max_tokens=-1),
        ]
    )
    assert batch.id.startswith("msgbatch_") and batch.type == "message_batch"
    assert batch.request_counts.processing == 4 and batch.processing_status == "in_progress"
    assert batch.results_url is None and batch.ended_at is None
    assert (batch.expires_at - batch.created_at).total_seconds() == 24 * 3600
    batch = wait_ended(client, batch.id)
    counts = batch.request_counts
    assert (counts.processing, counts.succeeded, counts.errored) == (0, 2, 2)
    assert (counts.canceled, counts.expired) == (0, 0)
    assert batch.results_url == f"{gateway.url}{PATH}/{batch.id}/results"
    assert batch.ended_at and batch.archived_at is None and batch.cancel_initiated_at is None
    found = results(client, batch.id)
    assert found["whole"].message.content[0].text == "Hello"
    assert found["other"].message.content[0].text == "Hello"
    assert found["nobody"].error.error.type == "not_found_error"
    assert found["bad"].error.error.type == "invalid_request_error"
    sent = {json.dumps(request.json().get("system")): request.json() for request in fake.requests}
    whole = sent[json.dumps('new\nline and "quotes"')]
    assert whole == {**item(system='new\nline and "quotes"', x_new=claude.NEWS)["params"], "model": "up-model"}


def test_what_came_out_is_no_file_of_the_other_doors(pair, client):
    _, gateway = pair
    alice = bearer("alice")
    wait_ended(client, client.messages.batches.create(requests=[item()]).id)
    for query in "", "?purpose=batch_output", "?purpose=message_batch_output", "?order=asc":
        assert gateway.get(f"/v1/files{query}", alice).json()["data"] == []


def test_as_a_job(pair, client):
    fake, gateway = pair
    alice = bearer("alice")
    gate = up.Gate()

    def held(exchange):
        exchange.wait(gate)
        answer(exchange)

    fake.always(held)
    batch = client.messages.batches.create(requests=[item("a"), item("b", model="nobody")])
    fake.wait_requests(1)
    assert gateway.get(f"/jobs/{batch.id}", alice).json()["status"] == "running"
    gate.open()
    wait_ended(client, batch.id)
    job = gateway.get(f"/jobs/{batch.id}", alice).json()
    assert (job["id"], job["status"], job["endpoint"]) == (batch.id, "completed", "/v1/messages")
    assert job["progress"] == {"total": 2, "completed": 1, "failed": 1}
    path = job["result"]["results_url"]
    assert len(gateway.get(path, alice).body.splitlines()) == 2
    events = gateway.get(f"/jobs/{batch.id}/events", alice)
    assert b"event: completed" in events.body and batch.id.encode() in events.body
    assert gateway.ask("DELETE", f"/jobs/{batch.id}", alice).status == 409
    assert gateway.get(f"/jobs/{batch.id}", bearer("bob")).status == 404
    assert gateway.get(f"/jobs/{NEVER}", alice).status == 404


def test_cancelled_as_a_job(pair, client):
    fake, gateway = pair
    gate = up.Gate()

    def held(exchange):
        exchange.wait(gate)
        answer(exchange)

    fake.always(held)
    batch = client.messages.batches.create(requests=[item(f"r-{i}") for i in range(300)])
    fake.wait_requests(1)
    assert gateway.ask("DELETE", f"/jobs/{batch.id}", bearer("alice")).json()["status"] == "running"
    gate.open()
    assert wait_ended(client, batch.id).cancel_initiated_at
    assert gateway.get(f"/jobs/{batch.id}", bearer("alice")).json()["status"] == "cancelled"


def test_counts_stay_until_the_end(pair, client):
    fake, _ = pair
    gate = up.Gate()

    def slow(exchange):
        if exchange.request.json()["messages"][0]["content"] == "wait":
            exchange.wait(gate)
        answer(exchange)

    fake.always(slow)
    slow_one = item("slow", messages=[{"role": "user", "content": "wait"}])
    batch = client.messages.batches.create(requests=[item("fast"), slow_one])
    fake.wait_for(lambda: any(r.finished.is_open for r in fake.requests), "the first answer")
    batch = client.messages.batches.retrieve(batch.id)
    assert batch.request_counts.processing == 2 and batch.request_counts.succeeded == 0
    with pytest.raises(anthropic.BadRequestError):
        client.get(f"{PATH}/{batch.id}/results", cast_to=object)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.delete(batch.id)
    gate.open()
    assert wait_ended(client, batch.id).request_counts.succeeded == 2


def test_cancel_and_delete(pair, client):
    fake, _ = pair
    gate = up.Gate()

    def held(exchange):
        exchange.wait(gate)
        answer(exchange)

    fake.always(held)
    batch = client.messages.batches.create(requests=[item(f"r-{i}") for i in range(300)])
    fake.wait_requests(1)
    batch = client.messages.batches.cancel(batch.id)
    assert batch.processing_status in ("canceling", "ended") and batch.cancel_initiated_at
    gate.open()
    batch = wait_ended(client, batch.id)
    counts = batch.request_counts
    assert counts.canceled > 0 and counts.succeeded + counts.canceled + counts.errored == 300
    found = results(client, batch.id)
    assert len(found) == 300
    assert sum(result.type == "canceled" for result in found.values()) == counts.canceled
    with pytest.raises(anthropic.BadRequestError):
        client.messages.batches.cancel(batch.id)
    gone = client.messages.batches.delete(batch.id)
    assert (gone.id, gone.type) == (batch.id, "message_batch_deleted")
    for call in ("retrieve", "delete", "cancel"):
        with pytest.raises(anthropic.NotFoundError):
            getattr(client.messages.batches, call)(batch.id)


def test_list_and_pages(pair):
    _, gateway = pair
    headers = bearer("bob")
    made = [gateway.post(PATH, {"requests": [item()]}, headers).json()["id"] for _ in range(5)][::-1]
    with Anthropic(base_url=gateway.url, api_key=KEYS["bob"], max_retries=0) as client:
        assert [batch.id for batch in client.messages.batches.list(limit=2)] == made
        page = client.messages.batches.list(limit=2, after_id=made[1])
        assert [batch.id for batch in page.data] == made[2:4] and page.has_more
        assert (page.first_id, page.last_id) == (made[2], made[3])
        page = client.messages.batches.list(limit=2, before_id=made[4])
        assert [batch.id for batch in page.data] == made[2:4] and page.has_more
        for batch_id in made:
            wait_ended(client, batch_id)
    for query in ("limit=0", "limit=1001", "after_id=x", f"after_id={NEVER}&before_id={NEVER}"):
        answer = gateway.get(f"{PATH}?{query}", headers)
        assert answer.status == 400 and answer.json()["type"] == "error"
    # another's are nobody's, and the other API does not show them
    assert gateway.get(f"{PATH}/{made[0]}", bearer("alice")).status == 404
    assert gateway.get(f"/v1/batches/{made[0]}", headers).status == 404
    assert not gateway.get("/v1/batches", headers).json()["data"]


@pytest.mark.parametrize(
    "body, said",
    [
        (b"{", "The body"),
        (b"[]", "requests"),
        (b"{}", "requests"),
        (b'{"a":"requests","b":[1]}', "requests"),
        (b'{"requests":{}}', "requests"),
        (b'{"requests":[]}', "requests"),
        (b'{"requests":[1]}', "requests.0"),
        (b'{"requests":[%s],"requests":[%s]}' % ((json.dumps(item()).encode(),) * 2), "requests"),
        ({"requests": [item(), item()]}, "requests.1.custom_id"),
        ({"requests": [item("a b")]}, "requests.0.custom_id"),
        ({"requests": [item("x" * 65)]}, "requests.0.custom_id"),
        ({"requests": [{"params": {}}]}, "requests.0.custom_id"),
        ({"requests": [{"custom_id": "a", "params": []}]}, "requests.0.params"),
        ({"requests": [item(), item("b", stream=True)]}, "requests.1.params.stream"),
        ({"requests": [item(max_tokens=0)]}, "requests.0.params.max_tokens"),
        ({"requests": [item(f"r-{i}") for i in range(50001)]}, "requests"),
    ],
)
def test_bad_bodies(pair, body, said):
    fake, gateway = pair
    answer = post(gateway, body)
    assert answer.status == 400, answer
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert said in answer.json()["error"]["message"]
    assert not fake.requests


def test_the_same_key_twice_is_one_batch(pair, client):
    _, gateway = pair
    key = [("Idempotency-Key", "once")]
    first = post(gateway, {"requests": [item()]}, key)
    again = post(gateway, {"requests": [item()]}, key)
    assert first.status == again.status == 200 and first.json()["id"] == again.json()["id"]
    wait_ended(client, first.json()["id"])
    assert post(gateway, {"requests": [item("b")]}, key).status == 409


def test_a_body_above_the_limit(start, fake):
    gateway = start(config(fake, limits={"file_bytes": 100000}))
    assert gateway.post(PATH, {"requests": [item(x="y" * 200000)]}).status == 413


def test_a_request_that_no_buffer_holds(start, fake):
    """What is held of a request is drawn on the gateway's buffers, and given back."""
    gateway = start(config(fake, limits={"buffer_memory": 1000000}))
    for _ in range(3):
        answer = gateway.post(PATH, {"requests": [item(x="y" * 900000)]})
        assert (answer.status, answer.json()["error"]["type"]) == (503, "overloaded_error")
    assert gateway.post(PATH, {"requests": [item(x="y" * 100000)]}).status == 200


def test_other_doors_behind_it_are_none(pair):
    _, gateway = pair
    for path in (f"{PATH}/{NEVER}", f"{PATH}/{NEVER}/results", f"{PATH}/batch_1", f"{PATH}/{NEVER}/other"):
        assert gateway.get(path, bearer("alice")).status == 404
    assert gateway.get(PATH).json()["error"]["type"] == "authentication_error"


@needs_llama
def test_the_model_inside(start):
    gateway = start(local())
    with Anthropic(base_url=gateway.url, api_key="any", max_retries=0) as client:
        wanted = item(model="tiny", temperature=0, max_tokens=50, messages=[{"role": "user", "content": SKY}])
        batch = client.messages.batches.create(requests=[wanted])
        wait_ended(client, batch.id)
        assert results(client, batch.id)["a"].message.content[0].text == SKY_ANSWER
