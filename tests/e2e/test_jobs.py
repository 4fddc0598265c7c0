# SPDX-License-Identifier: Apache-2.0
"""POST /generate in the background, and /jobs."""

import json

import pytest

from support import fake as up
from support.gateway import Gateway, config
from support.jobs import batch_of, bearer, lines, submit, wait_batch, wait_idle, wait_job, with_keys
from support.raw import events

ALICE = bearer("alice")
MEMBERS = {
    *("id", "status", "progress", "result", "error", "created_at", "started_at", "ended_at", "endpoint"),
    "attempts",
}


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        with Gateway(with_keys(fake)) as gateway:
            yield fake, gateway


@pytest.fixture
def pair(servers):
    fake, gateway = servers
    wait_idle(gateway)
    fake.forget()
    return fake, gateway


def held(fake):
    """Answers wait for the gate that this returns."""
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    return gate


def named_events(body):
    """[(name, data)] of an event stream."""
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(row.split(": ", 1) for row in block.split("\n") if row and not row.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_from_202_to_the_result(pair):
    fake, gateway = pair
    answer = submit(gateway, headers=ALICE, max_tokens=5)
    assert answer.status == 202 and set(answer.json()) == {"id", "status"}
    job_id = answer.json()["id"]
    assert answer.json()["status"] == "queued" and job_id.startswith("job_")
    assert answer.headers.get("location") == f"/jobs/{job_id}"
    job = wait_job(gateway, job_id, ALICE)
    assert set(job) == MEMBERS and job["status"] == "completed", job
    assert job["result"]["text"] == "Hello" and job["result"]["usage"]["total_tokens"] == 11
    assert job["error"] is None and job["endpoint"] == "/generate" and job["attempts"] == 1
    assert job["progress"] == {"total": 1, "completed": 1, "failed": 0}
    assert job["created_at"] <= job["started_at"] <= job["ended_at"]
    sent = fake.last.json()
    assert sent["messages"][-1]["content"] == "hi" and "background" not in sent and "stream" not in sent
    head = gateway.ask("HEAD", f"/jobs/{job_id}", ALICE)
    assert head.status == 200 and int(head.headers.get("content-length")) > 100


def test_plain_text_comes_out(pair):
    _, gateway = pair
    job_id = submit(gateway, headers=ALICE).json()["id"]
    wait_job(gateway, job_id, ALICE)
    answer = gateway.get(f"/jobs/{job_id}", [("Accept", "text/plain"), *ALICE])
    assert answer.text == "Hello" and answer.headers.get("content-type").startswith("text/plain")


@pytest.mark.parametrize(
    "prefer", ["respond-async", "Respond-Async; x=1", "wait=10, respond-async", 'handling=lenient;a="b" ,respond-async']
)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_bare_text_with_a_preference(pair, prefer, kind):
    fake, gateway = pair
    headers = [("Prefer", prefer), *ALICE] + ([("Content-Type", kind)] if kind else [])
    prompt = 'Why "is"\nthe sky blue? \\ ü'
    answer = gateway.post("/generate", prompt, [*headers, ("Accept", "text/plain")])
    assert answer.status == 202, answer
    assert answer.headers.get("preference-applied") == "respond-async"
    assert wait_job(gateway, answer.json()["id"], ALICE)["result"]["text"] == "Hello"
    assert fake.last.json()["messages"][-1]["content"] == prompt


def test_a_preference_is_none_for_streams(pair):
    _, gateway = pair
    prefer = [("Prefer", "respond-async"), *ALICE]
    answer = gateway.post("/generate", {"prompt": "hi", "stream": True}, prefer)
    assert answer.status == 200 and events(answer.body)[-1] == "[DONE]"
    assert gateway.post("/generate", {"prompt": "hi"}, prefer).status == 202
    assert gateway.post("/generate", {"prompt": "hi"}, [("Prefer", "wait=1"), *ALICE]).status == 200


@pytest.mark.parametrize(
    "change,status,param",
    [
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": None}, 400, "prompt"),
        ({"promt": "x"}, 400, "promt"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"background": "yes"}, 400, "background"),
        ({"stream": True}, 400, "background"),
        ({"model": "nobody/nothing"}, 404, "model"),
        ({"background": False, "webhook": "https://example.com/"}, 400, "webhook"),
        ({"webhook": 7}, 400, "webhook"),
        ({"webhook": {}}, 400, "webhook"),
        ({"webhook": {"url": 7}}, 400, "webhook"),
        ({"webhook": "ftp://example.com/"}, 400, "webhook"),
        ({"webhook": "http://127.0.0.1/"}, 400, "webhook"),
        ({"webhook": {"url": "http://user@example.com/"}}, 400, "webhook"),
    ],
)
def test_mistakes_are_told_at_once(pair, change, status, param):
    fake, gateway = pair
    before = gateway.get("/jobs", ALICE).json()["first_id"]
    answer = submit(gateway, change, ALICE)
    assert answer.status == status and answer.error["param"] == param, answer
    assert gateway.get("/jobs", ALICE).json()["first_id"] == before
    assert not fake.requests


def test_a_provider_header_does_not_go_with_it(pair):
    _, gateway = pair
    answer = submit(gateway, headers=[("x-penstock-provider", "up"), *ALICE])
    assert answer.status == 400 and answer.error["param"] == "x-penstock-provider"
    assert submit(gateway, model="up/up-model", headers=ALICE).status == 202


@pytest.mark.parametrize("size", [65_000, 65_536, 70_000, 3_000_000])
def test_long_prompts(pair, size):
    fake, gateway = pair
    prompt = "x" * size
    job_id = submit(gateway, prompt=prompt, headers=ALICE).json()["id"]
    assert wait_job(gateway, job_id, ALICE)["status"] == "completed"
    assert fake.last.json()["messages"][-1]["content"] == prompt
    text = gateway.post("/generate", prompt, [("Content-Type", "text/plain"), ("Prefer", "respond-async"), *ALICE])
    assert wait_job(gateway, text.json()["id"], ALICE)["status"] == "completed"
    assert fake.last.json()["messages"][-1]["content"] == prompt


def test_long_results(pair):
    fake, gateway = pair
    text = 'a "quoted" \\ ü line\n' * 50_000
    fake.always(up.whole(up.chat_answer(text)))
    job_id = submit(gateway, headers=ALICE).json()["id"]
    job = wait_job(gateway, job_id, ALICE)
    assert job["status"] == "completed" and job["result"]["text"] == text
    plain = gateway.get(f"/jobs/{job_id}", [("Accept", "text/plain"), *ALICE])
    assert plain.text == text
    stream = gateway.get(f"/jobs/{job_id}/events", ALICE)
    assert named_events(stream.body) == [("completed", job)]
    head = gateway.ask("HEAD", f"/jobs/{job_id}", ALICE)
    assert int(head.headers.get("content-length")) > len(text)


def test_a_failure_is_shown(pair):
    fake, gateway = pair
    fake.always(up.error(400, "no such thing", kind="invalid_request_error"))
    job = wait_job(gateway, submit(gateway, headers=ALICE).json()["id"], ALICE)
    assert job["status"] == "failed" and job["result"] is None
    assert "no such thing" in job["error"]["message"]
    assert job["progress"] == {"total": 1, "completed": 0, "failed": 1}
    text = gateway.get(f"/jobs/{job['id']}", [("Accept", "text/plain"), *ALICE])
    assert text.json()["status"] == "failed"


def test_cancel_while_it_runs(pair):
    fake, gateway = pair
    fake.always(up.silent)
    job_id = submit(gateway, headers=ALICE).json()["id"]
    fake.wait_requests(1)
    assert wait_job(gateway, job_id, ALICE, "running")["started_at"] is not None
    answer = gateway.ask("DELETE", f"/jobs/{job_id}", ALICE)
    assert answer.status == 200 and answer.json()["status"] == "cancelled"
    fake.last.gone.wait()  # the model's work ends, too
    job = gateway.get(f"/jobs/{job_id}", ALICE).json()
    assert job["status"] == "cancelled" and job["result"] is None and job["error"]["code"]
    again = gateway.ask("DELETE", f"/jobs/{job_id}", ALICE)
    assert again.status == 409 and "cancelled" in again.error["message"]
    assert again.headers.get("x-should-retry") == "false"


def test_cancel_too_late(pair):
    _, gateway = pair
    job_id = submit(gateway, headers=ALICE).json()["id"]
    wait_job(gateway, job_id, ALICE, "completed")
    answer = gateway.ask("DELETE", f"/jobs/{job_id}", ALICE)
    assert answer.status == 409 and answer.error["code"] == "conflict" and "completed" in answer.error["message"]


def test_the_same_request_twice(pair):
    fake, gateway = pair
    key = [("Idempotency-Key", "job-key-1"), *ALICE]
    first = submit(gateway, headers=key)
    wait_job(gateway, first.json()["id"], ALICE, "completed")
    again = submit(gateway, headers=key)
    assert again.status == 202 and again.json() == first.json()
    assert again.headers.get("location") == first.headers.get("location")
    assert submit(gateway, headers=key, max_tokens=3).status == 409
    foreign = submit(gateway, headers=[("Idempotency-Key", "job-key-1"), *bearer("bob")])
    assert foreign.status == 202 and foreign.json()["id"] != first.json()["id"]
    long_key = [("Idempotency-Key", "job-key-2"), *ALICE]
    long_first = submit(gateway, prompt="y" * 200_000, headers=long_key)
    long_again = submit(gateway, prompt="y" * 200_000, headers=long_key)
    assert long_again.status == 202 and long_first.json() == long_again.json()
    assert submit(gateway, prompt="z" * 200_000, headers=long_key).status == 409
    wait_job(gateway, foreign.json()["id"], bearer("bob"))


def test_watching(pair):
    fake, gateway = pair
    gate = held(fake)
    job_id = submit(gateway, headers=ALICE).json()["id"]
    fake.wait_requests(1)
    with gateway.connect() as connection:
        connection.request("GET", f"/jobs/{job_id}/events", ALICE)
        answer = connection.read_head()
        assert answer.headers.get("content-type") == "text/event-stream"
        assert answer.headers.get("cache-control") == "no-cache"
        first = named_events(connection.read_events(answer, 1))[0]
        assert first[0] == "progress" and first[1]["id"] == job_id and first[1]["result"] is None
        gate.open()
        whole = b""
        while (piece := connection.read_piece(answer)) is not None:
            whole += piece
        name, data = named_events(whole)[-1]
        assert name == "completed" and data["status"] == "completed" and data["result"]["text"] == "Hello"
        assert data == gateway.get(f"/jobs/{job_id}", ALICE).json()
        # it ended cleanly: the connection goes on
        connection.request("GET", "/health")
        assert connection.read_response().status == 200


def test_progress_of_a_running_one(pair):
    fake, gateway = pair
    gate = held(fake)
    job_id = submit(gateway, headers=ALICE).json()["id"]
    fake.wait_requests(1)
    job = wait_job(gateway, job_id, ALICE, "running")
    assert job["progress"] == {"total": 1, "completed": 0, "failed": 0, "tokens": 0}
    assert job["result"] is None and job["error"] is None and job["ended_at"] is None
    gate.open()
    wait_job(gateway, job_id, ALICE, "completed")


def test_watching_a_cancelled_and_a_failed_one(pair):
    fake, gateway = pair
    gate = held(fake)
    job_id = submit(gateway, headers=ALICE).json()["id"]
    fake.wait_requests(1)
    with gateway.connect() as connection:
        connection.request("GET", f"/jobs/{job_id}/events", ALICE)
        answer = connection.read_head()
        connection.read_events(answer, 1)
        assert gateway.ask("DELETE", f"/jobs/{job_id}", ALICE).status == 200
        whole = b""
        while (piece := connection.read_piece(answer)) is not None:
            whole += piece
        assert named_events(whole)[-1][0] == "cancelled"
    gate.open()
    fake.forget()
    fake.always(up.error(400, "no"))
    failed = submit(gateway, headers=ALICE).json()["id"]
    name, data = named_events(gateway.get(f"/jobs/{failed}/events", ALICE).body)[-1]
    assert name == "failed" and data["error"]["message"]


def test_a_watcher_that_leaves(pair):
    fake, gateway = pair
    gate = held(fake)
    job_id = submit(gateway, headers=ALICE).json()["id"]
    for how in ("reset", "close"):
        with gateway.connect() as connection:
            connection.request("GET", f"/jobs/{job_id}/events", ALICE)
            answer = connection.read_head()
            connection.read_events(answer, 1)
            getattr(connection, how)()
    gate.open()
    assert wait_job(gateway, job_id, ALICE)["status"] == "completed"


def test_batches_can_be_seen_as_jobs(pair):
    fake, gateway = pair
    gate = held(fake)
    made = batch_of(gateway, lines(40), ALICE)
    fake.wait_requests(1)
    job = gateway.get(f"/jobs/{made['id']}", ALICE).json()
    assert set(job) == MEMBERS and job["status"] == "running" and job["result"] is None
    assert job["progress"]["total"] == 40
    with gateway.connect() as connection:
        connection.request("GET", f"/jobs/{made['id']}/events", ALICE)
        answer = connection.read_head()
        assert named_events(connection.read_events(answer, 1))[0][0] == "progress"
        gate.open()
        whole = b""
        while (piece := connection.read_piece(answer)) is not None:
            whole += piece
    name, data = named_events(whole)[-1]
    batch = wait_batch(gateway, made["id"], ALICE)
    assert name == "completed" and data["progress"] == {"total": 40, "completed": 40, "failed": 0}
    assert data["result"] == {"output_file_id": batch["output_file_id"], "error_file_id": None}
    assert gateway.ask("DELETE", f"/jobs/{made['id']}", ALICE).status == 409
    bad = batch_of(gateway, b"x", ALICE)
    wait_batch(gateway, bad["id"], ALICE)
    job = gateway.get(f"/jobs/{bad['id']}", ALICE).json()
    assert job["status"] == "failed" and job["error"]["errors"][0]["line"] == 1
    assert made["id"] not in gateway.get("/jobs?limit=100", ALICE).text


def test_list(start, fake):
    gateway = start(config(fake))
    assert gateway.get("/jobs").json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }
    made = [submit(gateway).json()["id"] for _ in range(5)]
    for job_id in made:
        wait_job(gateway, job_id)
    page = gateway.get("/jobs?limit=2").json()
    assert [job["id"] for job in page["data"]] == [made[4], made[3]] and page["has_more"] is True
    assert set(page["data"][0]) == MEMBERS - {"result"}
    rest = gateway.get(f"/jobs?after={page['last_id']}").json()
    assert [job["id"] for job in rest["data"]] == made[2::-1] and rest["has_more"] is False
    assert len(gateway.get("/jobs?status=completed").json()["data"]) == 5
    assert gateway.get("/jobs?status=queued").json()["data"] == []
    for query, param in [("status=done", "status"), ("limit=0", "limit"), ("limit=101", "limit"), ("after=x", "after")]:
        answer = gateway.get(f"/jobs?{query}")
        assert answer.status == 400 and answer.error["param"] == param
        assert answer.json()["request_id"].startswith("req_")


def test_another_tenant_sees_nothing(pair):
    _, gateway = pair
    job_id = submit(gateway, headers=ALICE).json()["id"]
    for method, path in [("GET", ""), ("GET", "/events"), ("DELETE", "")]:
        assert gateway.ask(method, f"/jobs/{job_id}{path}", bearer("bob")).status == 404
    assert job_id not in gateway.get("/jobs", bearer("bob")).text
    wait_job(gateway, job_id, ALICE, "completed")
    assert gateway.get(f"/jobs/{job_id}").status == 401


@pytest.mark.parametrize("name", ["x", "job_", "job_1", "batch_1", "file-01arz3ndektsv4rrffq69g5fav", "job_%30"])
def test_ids_that_are_none(pair, name):
    _, gateway = pair
    for method, path in [("GET", ""), ("GET", "/events"), ("DELETE", "")]:
        assert gateway.ask(method, f"/jobs/{name}{path}", ALICE).status == 404


def test_jobs_survive_a_kill(start, fake, tmp_path):
    settings = config(fake, data_dir=str(tmp_path / "data"))
    gate = held(fake)
    first = start(settings)
    made = [submit(first, prompt=f"p{i}").json()["id"] for i in range(5)]
    big = submit(first, prompt="x" * 100_000).json()["id"]
    fake.wait_requests(1)
    first.kill()
    first.stopped = True
    gate.open()
    second = start(settings)
    for job_id in [*made, big]:
        assert wait_job(second, job_id)["status"] == "completed"
    assert wait_job(second, big)["result"]["text"] == "Hello"


def test_a_drain_cuts_those_who_watch(start, fake):
    gateway = start(config(fake))
    gate = held(fake)
    job_id = submit(gateway).json()["id"]
    fake.wait_requests(1)
    with gateway.connect() as connection:
        connection.request("GET", f"/jobs/{job_id}/events")
        answer = connection.read_head()
        connection.read_events(answer, 1)
        gateway.terminate()
        data, how = connection.read_cut(answer)
        assert how == "fin" and b"completed" not in data
    gate.open()


def test_without_a_store_live_traffic_goes_on(start, fake):
    gateway = start(config(fake, data_dir="/dev/null/nowhere"))
    answer = submit(gateway)
    assert answer.status == 503 and answer.error["code"] in ("storage_unavailable", "disk_full"), answer
    assert "retry-after" in answer.headers
    for path in ("/jobs", "/jobs/job_01arz3ndektsv4rrffq69g5fav"):
        assert gateway.get(path).status == 503
    watching = gateway.get("/jobs/job_01arz3ndektsv4rrffq69g5fav/events")
    assert watching.status == 503
    assert gateway.post("/generate", {"prompt": "hi"}).json()["text"] == "Hello"
