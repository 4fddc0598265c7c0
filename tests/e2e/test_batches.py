# SPDX-License-Identifier: Apache-2.0
"""/v1/batches: the official SDK end to end, what a batch looks like in each state, and every bad input."""

import json
import time

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config
from support.jobs import KEYS, batch_of, bearer, line, lines, until, upload, wait_batch, wait_idle, with_keys
from support.raw import PATIENCE


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        with Gateway(with_keys(fake)) as gateway:
            yield fake, gateway


@pytest.fixture
def both_servers(servers):
    fake, gateway = servers
    wait_idle(gateway)
    fake.forget()
    return fake, gateway


@pytest.fixture
def client(both_servers):
    _, gateway = both_servers
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=KEYS["alice"], max_retries=0, timeout=60) as client:
        yield client


ALICE = bearer("alice")

MEMBERS = {
    *("id", "object", "endpoint", "model", "errors", "input_file_id", "completion_window", "status"),
    *("output_file_id", "error_file_id", "created_at", "in_progress_at", "expires_at", "finalizing_at"),
    *("completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at", "request_counts"),
    *("usage", "metadata"),
}


def rows(client, file_id):
    return {
        row["custom_id"]: row for row in map(json.loads, client.files.content(file_id).text.splitlines())
    }


def poll(client, batch_id):
    deadline = time.monotonic() + PATIENCE
    while (batch := client.batches.retrieve(batch_id)).status not in (
        "completed",
        "failed",
        "expired",
        "cancelled",
    ):
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
    return batch


def test_the_official_sdk(client):
    file = client.files.create(file=("in.jsonl", lines(5)), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"k": "v", "umlaut": "ü"},
    )
    assert made.id.startswith("batch_") and made.object == "batch" and made.input_file_id == file.id
    assert made.metadata == {"k": "v", "umlaut": "ü"}
    assert made.expires_at == made.created_at + 86400
    batch = poll(client, made.id)
    assert batch.status == "completed", batch
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (5, 5, 0)
    assert batch.error_file_id is None and batch.errors is None
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.usage.total_tokens == 5 * 11
    found = rows(client, batch.output_file_id)
    assert set(found) == {f"r-{i}" for i in range(5)}
    for row in found.values():
        assert row["error"] is None and row["response"]["status_code"] == 200
        assert row["response"]["body"]["choices"][0]["message"]["content"] == "Hello"
        assert row["response"]["request_id"]
    output = client.files.retrieve(batch.output_file_id)
    assert output.purpose == "batch_output"


def test_the_object(both_servers):
    _, gateway = both_servers
    made = batch_of(gateway, lines(1), ALICE)
    assert set(made) == MEMBERS
    assert made["status"] == "validating" and made["metadata"] is None and made["errors"] is None
    assert made["in_progress_at"] is None and made["output_file_id"] is None
    assert made["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert wait_batch(gateway, made["id"], ALICE)["status"] == "completed"
    with gateway.connect() as connection:
        connection.request("HEAD", f"/v1/batches/{made['id']}", ALICE)
        assert connection.read_response("HEAD").status == 200


def test_lines_that_fail(client, both_servers):
    fake, _ = both_servers
    fake.always(up.error(400, "no such thing", kind="invalid_request_error"))
    file = client.files.create(file=("in.jsonl", lines(3)), purpose="batch")
    batch = poll(
        client,
        client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        ).id,
    )
    assert batch.status == "completed" and batch.output_file_id is None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (0, 3)
    for row in rows(client, batch.error_file_id).values():
        assert row["response"]["status_code"] == 400 and row["error"] is None
        assert row["response"]["body"]["error"]["message"] == "no such thing"


@pytest.mark.parametrize("gap", [b"\r\n", b"\n"])
@pytest.mark.parametrize("head,tail", [(b"", b""), (b"\xef\xbb\xbf", b""), (b"", b"\n"), (b"", b"\n\n")])
def test_line_ends(both_servers, gap, head, tail):
    _, gateway = both_servers
    contents = head + line("a").encode() + gap + line("b").encode() + tail
    batch = wait_batch(gateway, batch_of(gateway, contents, ALICE)["id"], ALICE)
    assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 2, batch


@pytest.mark.parametrize(
    "contents,code,number",
    [
        (b"", "empty_batch", None),
        (b"\n\n", "empty_batch", None),
        (line("a").encode() + b"\nnot json\n" + line("b").encode(), "invalid_json_line", 2),
        (line("a").encode() + b"\n[]\n", None, 2),
        (line("a").encode() + b"\n" + line("a").encode() + b"\n", "duplicate_custom_id", 2),
        (line("a", url="/v1/embeddings").encode() + b"\n", None, 1),
        (line("a", model="nobody/nothing").encode() + b"\n" + line("b").encode(), "model_not_found", 1),
        (b'{"custom_id":"a"}\n', None, 1),
        (line("a", stream=True).encode() + b"\n", None, 1),
        (b"\xff\xfe\n", "invalid_json_line", 1),
    ],
)
def test_faults_of_the_content(both_servers, contents, code, number):
    fake, gateway = both_servers
    made = batch_of(gateway, contents, ALICE)
    batch = wait_batch(gateway, made["id"], ALICE)
    assert batch["status"] == "failed", batch
    assert batch["errors"]["object"] == "list"
    first = batch["errors"]["data"][0]
    assert set(first) == {"code", "message", "param", "line"}
    assert first["line"] == number and (code is None or first["code"] == code), first
    assert batch["output_file_id"] is None and batch["error_file_id"] is None
    assert batch["failed_at"] is not None and batch["in_progress_at"] is None
    assert not fake.requests


def test_every_fault_has_its_line(both_servers):
    _, gateway = both_servers
    contents = "\n".join([line("a"), "x", line("b"), "y", line("a")]).encode()
    batch = wait_batch(gateway, batch_of(gateway, contents, ALICE)["id"], ALICE)
    assert [fault["line"] for fault in batch["errors"]["data"]] == [2, 4, 5]


GOOD = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.mark.parametrize(
    "change,param",
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": 7}, "input_file_id"),
        ({"input_file_id": "x"}, "input_file_id"),
        ({"input_file_id": "file-01arz3ndektsv4rrffq69g5fav"}, "input_file_id"),
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": "/v1/models"}, "endpoint"),
        ({"endpoint": "v1/chat/completions"}, "endpoint"),
        ({"completion_window": None}, "completion_window"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"completion_window": 24}, "completion_window"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata"),
        ({"metadata": {"k": None}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {str(i): "v" for i in range(17)}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "x", "seconds": 3600}}, "output_expires_after.anchor"),
        ({"output_expires_after": {"seconds": 3600}}, "output_expires_after.anchor"),
        ({"output_expires_after": 3600}, "output_expires_after"),
    ],
)
def test_faults_of_the_request(both_servers, change, param):
    _, gateway = both_servers
    file_id = upload(gateway, lines(1), headers=ALICE)
    answer = gateway.post("/v1/batches", {"input_file_id": file_id, **GOOD, **change}, ALICE)
    assert answer.status == 400 and answer.error["param"] == param, answer
    assert answer.error["type"] == "invalid_request_error"


def test_the_most_that_metadata_may_be(both_servers):
    _, gateway = both_servers
    metadata = {chr(0xE4) * 63 + chr(97 + i): chr(0x1F600) * 512 for i in range(16)}
    made = batch_of(gateway, lines(1), ALICE, metadata=metadata)
    assert made["metadata"] == metadata


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{", b'{"endpoint":"a","endpoint":"b"}', b'{"a":"\xff"}', b"null"],
)
def test_bodies_that_are_no_json(both_servers, body):
    _, gateway = both_servers
    answer = gateway.ask("POST", "/v1/batches", [("Content-Type", "application/json"), *ALICE], body)
    assert answer.status == 400 and answer.error["type"] == "invalid_request_error"


def test_a_body_that_is_too_long(both_servers):
    _, gateway = both_servers
    answer = gateway.ask("POST", "/v1/batches", ALICE, b'{"x":"' + b"x" * 2**20 + b'"}')
    assert answer.status == 413


def test_files_that_are_not_there_any_more_or_not_meant(both_servers):
    _, gateway = both_servers
    other = upload(gateway, lines(1), purpose="user_data", headers=ALICE)
    gone = upload(gateway, lines(1), headers=ALICE)
    foreign = upload(gateway, lines(1), headers=bearer("bob"))
    assert gateway.ask("DELETE", f"/v1/files/{gone}", ALICE).status == 200
    for file_id in (other, gone, foreign):
        answer = gateway.post("/v1/batches", {"input_file_id": file_id, **GOOD}, ALICE)
        assert answer.status == 400 and answer.error["param"] == "input_file_id", answer


def test_a_file_that_is_deleted_while_its_batch_runs(both_servers):
    fake, gateway = both_servers
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    made = batch_of(gateway, lines(30), ALICE)
    fake.wait_requests(1)
    assert gateway.ask("DELETE", f"/v1/files/{made['input_file_id']}", ALICE).status == 200
    gate.open()
    batch = wait_batch(gateway, made["id"], ALICE)
    assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 30


def test_paging(start, fake):
    gateway = start(config(fake))
    file_id = upload(gateway, lines(1))
    made = [batch_of(gateway, b"", input_file_id=file_id)["id"] for _ in range(23)]
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0) as client:
        assert [batch.id for batch in client.batches.list()] == made[::-1]
        assert [batch.id for batch in client.batches.list(limit=3)] == made[::-1]
    page = gateway.get("/v1/batches").json()
    assert len(page["data"]) == 20 and page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (made[-1], made[3])
    assert gateway.get(f"/v1/batches?after={made[0]}").json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    for query, param in [("limit=0", "limit"), ("limit=101", "limit"), ("after=x", "after")]:
        answer = gateway.get(f"/v1/batches?{query}")
        assert answer.status == 400 and answer.error["param"] == param


def test_cancel_while_it_runs(client, both_servers):
    fake, gateway = both_servers
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    made = batch_of(gateway, lines(50), ALICE)
    fake.wait_requests(1)
    assert wait_batch(gateway, made["id"], ALICE, "in_progress")["request_counts"]["total"] == 50
    seen = client.batches.cancel(made["id"])
    assert seen.status == "cancelling" and seen.cancelling_at is not None
    assert client.batches.cancel(made["id"]).status in ("cancelling", "cancelled")
    gate.open()
    batch = poll(client, made["id"])
    assert batch.status == "cancelled" and batch.cancelled_at is not None
    counts = batch.request_counts
    assert counts.completed + counts.failed == counts.total == 50
    left = rows(client, batch.error_file_id)
    assert all(row["response"] is None and row["error"]["code"] == "batch_cancelled" for row in left.values())
    assert len(left) == counts.failed > 0


def test_cancel_at_once_and_too_late(client, both_servers):
    _, gateway = both_servers
    made = batch_of(gateway, lines(3), ALICE)
    first = gateway.ask("POST", f"/v1/batches/{made['id']}/cancel", ALICE, b"")
    assert first.status in (200, 409)
    over = wait_batch(gateway, made["id"], ALICE)["status"]
    answer = gateway.ask("POST", f"/v1/batches/{made['id']}/cancel", ALICE)
    assert answer.status == 409 and answer.headers.get("x-should-retry") == "false"
    assert answer.error["message"] == f"Cannot cancel a batch with status '{over}'."
    assert answer.error["type"] == "invalid_request_error"
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(made["id"])
    failed = batch_of(gateway, b"x", ALICE)
    wait_batch(gateway, failed["id"], ALICE, "failed")
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(failed["id"])


def test_another_tenant_sees_nothing(both_servers):
    _, gateway = both_servers
    made = batch_of(gateway, lines(1), ALICE)
    assert gateway.get(f"/v1/batches/{made['id']}", bearer("bob")).status == 404
    assert gateway.ask("POST", f"/v1/batches/{made['id']}/cancel", bearer("bob")).status == 404
    assert made["id"] not in gateway.get("/v1/batches", bearer("bob")).text
    done = wait_batch(gateway, made["id"], ALICE)
    assert done["status"] == "completed"
    assert gateway.get(f"/v1/files/{done['output_file_id']}/content", bearer("bob")).status == 404


@pytest.mark.parametrize("name", ["x", "batch_", "batch_1", "file-01arz3ndektsv4rrffq69g5fav", "batch_%00"])
def test_ids_that_are_none(both_servers, name):
    _, gateway = both_servers
    assert gateway.get(f"/v1/batches/{name}", ALICE).status == 404
    assert gateway.ask("POST", f"/v1/batches/{name}/cancel", ALICE).status == 404


def test_the_same_request_twice(both_servers):
    _, gateway = both_servers
    file_id = upload(gateway, lines(1), headers=ALICE)
    body = {"input_file_id": file_id, **GOOD}
    once = [*ALICE, ("Idempotency-Key", "batch-key-1")]
    first = gateway.post("/v1/batches", body, once)
    again = gateway.post("/v1/batches", body, once)
    assert first.status == again.status == 200 and first.json()["id"] == again.json()["id"]
    other = gateway.post("/v1/batches", {**body, "metadata": {"a": "b"}}, once)
    assert other.status == 409 and other.error["code"] == "idempotency_key_reused"
    assert other.headers.get("x-should-retry") == "false"
    gateway.ask("DELETE", f"/v1/files/{file_id}", ALICE)
    assert gateway.post("/v1/batches", body, once).json()["id"] == first.json()["id"]
    foreign = [*bearer("bob"), ("Idempotency-Key", "batch-key-1")]
    assert gateway.post("/v1/batches", body, foreign).status == 400  # a key of its own, and no such file
    for key in ("", "x" * 256, "a b"):
        answer = gateway.post("/v1/batches", {**body, "input_file_id": file_id}, [*ALICE, ("Idempotency-Key", key)])
        assert answer.status == 400, key


def test_other_endpoints(client, both_servers):
    fake, gateway = both_servers
    embedding = json.dumps(
        {
            "custom_id": "e",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "m", "input": "x"},
        }
    ).encode()
    batch = wait_batch(gateway, batch_of(gateway, embedding, ALICE, endpoint="/v1/embeddings")["id"], ALICE)
    row = rows(client, batch["output_file_id"])["e"]
    assert row["response"]["body"]["data"][0]["embedding"]
    generate = json.dumps(
        {"custom_id": "g", "method": "POST", "url": "/generate", "body": {"prompt": "hi", "model": "m"}}
    ).encode()
    batch = wait_batch(gateway, batch_of(gateway, generate, ALICE, endpoint="/generate")["id"], ALICE)
    row = rows(client, batch["output_file_id"])["g"]
    assert row["response"]["body"]["text"] == "Hello" and row["response"]["body"]["usage"]["total_tokens"] == 11


def test_images_live_and_in_a_batch(client, both_servers):
    fake, gateway = both_servers
    picture = "A" * (3 * 2**20)

    def image(exchange):
        assert exchange.request.path == "/v1/images/generations"
        exchange.whole({"created": 1, "data": [{"b64_json": picture}]})

    fake.always(image)
    live = gateway.post("/v1/images/generations", {"model": "m", "prompt": "a cat"}, ALICE)
    assert live.json()["data"][0]["b64_json"] == picture
    assert gateway.line_of(live)["door"] == "images"
    wanted = "\n".join(
        json.dumps(
            {
                "custom_id": f"i-{i}",
                "method": "POST",
                "url": "/v1/images/generations",
                "body": {"model": "m", "prompt": "a cat"},
            }
        )
        for i in range(4)
    ).encode()
    made = batch_of(gateway, wanted, ALICE, endpoint="/v1/images/generations")
    batch = wait_batch(gateway, made["id"], ALICE)
    assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 4, batch
    found = rows(client, batch["output_file_id"])
    assert all(row["response"]["body"]["data"][0]["b64_json"] == picture for row in found.values())


def test_output_files_expire_when_asked(client, both_servers):
    _, gateway = both_servers
    made = batch_of(gateway, lines(1), ALICE, output_expires_after={"anchor": "created_at", "seconds": 7200})
    batch = wait_batch(gateway, made["id"], ALICE)
    output = client.files.retrieve(batch["output_file_id"])
    assert output.expires_at - output.created_at == 7200


def test_the_metric_of_what_runs(fake, start):
    """What the runner has claimed ahead waits all the same."""
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    gateway = start(config(fake, workers={"job_concurrency": 2}))
    batch = batch_of(gateway, lines(20))
    fake.wait_requests(2)
    state = lambda: tuple(gateway.metric("penstock_jobs", state=name) for name in ("running", "waiting"))
    until(state, lambda seen: seen == (2, 18), "2 that run and 18 that wait")
    gate.open()
    wait_batch(gateway, batch["id"])
    until(state, lambda seen: seen == (0, 0), "end of them")
