# SPDX-License-Identifier: Apache-2.0
"""Models, files and batches are what OpenAI's description says, and so are the answers in a batch's file."""

import json

import pytest
from support import anthropic_fake as claude
from support import fake as up
from support import shape
from support.gateway import Gateway
from support.kinds import model_of, ok, settings, started
from support.local import until, user


@pytest.fixture(scope="module")
def servers():
    with started() as both:
        yield both


@pytest.fixture
def fresh():
    with started() as both:
        yield both


# What is kept: models, files, batches


def test_models(servers):
    _, gateway = servers
    listed = shape.check(ok(gateway.get("/v1/models"), False), shape.Models)
    assert listed["data"]
    for model in listed["data"]:
        assert shape.check(ok(gateway.get(f"/v1/models/{model['id']}"), False), shape.Model) == model
    shape.check_error(gateway.get("/v1/models/nobody").body)


LISTS = ("openai", "vllm", "anthropic", "gemini", "cohere", "ollama")


def test_models_of_providers():
    """Each tells them in its own shape: here is a list that has all of these."""
    one = {"id": "a", "object": "model", "created": 1790000000, "owned_by": "them", "type": "model"}
    one |= {"display_name": "A", "created_at": "2026-01-01T00:00:00Z", "unknown": None}
    names = [{"name": "models/a", "model": "a", "endpoints": ["chat"]}]
    body = {"object": "list", "data": [one], "models": names, "has_more": False, "first_id": "a", "last_id": "a"}
    with up.Fake() as fake:
        fake.list_models = False
        fake.always(up.whole(body))
        made = settings(fake)
        made["providers"] = {kind: {**made["providers"][kind], "list_models": True} for kind in LISTS}
        with Gateway(made) as gateway:

            def listed():
                return shape.check(ok(gateway.get("/v1/models"), False), shape.Models)["data"]

            until(lambda: {model["id"].split("/")[0] for model in listed()} >= set(LISTS), "the lists")
            for model in listed():
                assert shape.check(gateway.get(f"/v1/models/{model['id']}").body, shape.Model) == model


def form(content, purpose="batch", name="in.jsonl"):
    mark = "a-mark-that-is-nowhere"
    fields = [f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n']
    fields.append(f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n')
    body = "".join(fields) + f"Content-Type: text/plain\r\n\r\n{content}\r\n--{mark}--\r\n"
    return body.encode(), [("Content-Type", f"multipart/form-data; boundary={mark}")]


def upload(gateway, content, **more):
    return shape.check(ok(gateway.post("/v1/files", *form(content, **more)), False), shape.FileObject)


def line(number, kind="openai", **fields):
    body = {"model": model_of(kind), "messages": user("hi"), **fields}
    return json.dumps({"custom_id": f"l{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


def make_batch(gateway, *lines, **fields):
    made = {"input_file_id": upload(gateway, "\n".join(lines) + "\n")["id"], "completion_window": "24h"}
    made |= {"endpoint": "/v1/chat/completions", **fields}
    return shape.check(ok(gateway.post("/v1/batches", made), False), shape.Batch)


def await_batch(gateway, batch, *states):
    def now():
        batch.update(shape.check(ok(gateway.get(f"/v1/batches/{batch['id']}"), False), shape.Batch))
        return batch["status"] in states

    until(now, f"a batch that is {states}")
    return batch


@pytest.mark.parametrize("purpose", ["batch", "assistants", "vision", "user_data", "fine-tune"])
def test_files(servers, purpose):
    _, gateway = servers
    made = upload(gateway, "{}\n", purpose=purpose)
    assert made["purpose"] == purpose
    assert shape.check(ok(gateway.get(f"/v1/files/{made['id']}"), False), shape.FileObject) == made
    listed = shape.check(ok(gateway.get("/v1/files?limit=1"), False), shape.List[shape.FileObject])
    assert listed["data"] == [made]
    gone = gateway.ask("DELETE", f"/v1/files/{made['id']}")
    shape.check(ok(gone, False), shape.FileDeleted)
    shape.check_error(gateway.get(f"/v1/files/{made['id']}").body)


def test_batches(fresh):
    """Through all of its states; the answers in its file are what the door would have said."""
    fake, gateway = fresh

    def answer(exchange):
        (claude.answer if exchange.request.path == "/v1/messages" else up.answer)(exchange)

    fake.then(answer, answer)
    lines = [line(1), line(2, "anthropic"), line(3, "anthropic", n=2)]
    batch = await_batch(gateway, make_batch(gateway, *lines, metadata={"a": "b"}), "completed")
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    files = (batch["output_file_id"], batch["error_file_id"])
    output, errors = (
        [shape.read(text) for text in gateway.get(f"/v1/files/{name}/content").text.splitlines()] for name in files
    )
    assert {entry["custom_id"] for entry in output} == {"l1", "l2"}
    for entry in output:
        assert set(entry) == {"id", "custom_id", "response", "error"} and entry["error"] is None
        assert set(entry["response"]) == {"status_code", "request_id", "body"}
        shape.check(entry["response"]["body"], shape.ChatCompletion)
    (entry,) = errors
    assert entry["custom_id"] == "l3"
    shape.check_error(entry["response"]["body"])
    for name in files:
        shape.check(ok(gateway.get(f"/v1/files/{name}"), False), shape.FileObject)
    listed = shape.check(ok(gateway.get("/v1/batches"), False), shape.List[shape.Batch])
    assert listed["data"] == [batch]


def test_a_batch_that_fails_or_is_cancelled(fresh):
    fake, gateway = fresh
    batch = await_batch(gateway, make_batch(gateway, line(1), line(1), "{"), "failed")
    assert len(batch["errors"]["data"]) > 0
    gate = up.Gate()

    def held(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.then(held)
    batch = await_batch(gateway, make_batch(gateway, line(1)), "in_progress")
    answer = gateway.post(f"/v1/batches/{batch['id']}/cancel", {})
    batch = shape.check(ok(answer, False), shape.Batch)
    assert batch["status"] in ("cancelling", "cancelled")
    gate.open()
    await_batch(gateway, batch, "cancelled")
    answer = gateway.post(f"/v1/batches/{batch['id']}/cancel", {})
    assert answer.status == 409
    shape.check_error(answer.body)
