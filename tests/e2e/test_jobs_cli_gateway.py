# SPDX-License-Identifier: Apache-2.0
"""`penstock jobs …` against the real gateway: with a model inside it, and with a fake upstream."""

import json
import subprocess

import pytest

from support import fake as up
from support.gateway import REPORTS, Gateway, binary, clean_environment, config
from support.jobs import KEYS, submit, with_keys
from support.local import needs_llama

PATIENCE = 120


def jobs(gateway, *arguments, code=0, stdin=b"", key=None):
    env = {"PENSTOCK_URL": gateway.url}
    if key:
        env["PENSTOCK_API_KEY"] = key
    done = subprocess.run(
        [binary(), "jobs", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=clean_environment(env),
        timeout=PATIENCE,
    )
    assert not REPORTS.search(done.stderr), done.stderr.decode()
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def lines(count, url="/v1/chat/completions", **body):
    body = {"messages": [{"role": "user", "content": "What color is the sky?"}], "max_tokens": 4, **body}
    made = ({"custom_id": f"r-{i}", "method": "POST", "url": url, "body": body} for i in range(count))
    return "".join(json.dumps(line) + "\n" for line in made).encode()


@pytest.fixture
def gateway(fake, start):
    return start(config(fake))


@needs_llama
def test_a_batch_on_the_built_in_model(start, tmp_path):
    gateway = start(None, arguments=["-l", "127.0.0.1:0"])
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(5, temperature=0))
    done = jobs(gateway, "submit", path, "--wait", "--output", tmp_path / "out.jsonl", "--metadata", "who=me")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {item["custom_id"] for item in found} == {f"r-{i}" for i in range(5)}
    assert all("sky" in item["response"]["body"]["choices"][0]["message"]["content"] for item in found)
    batch = done.stderr.decode().split("\n")[0]
    shown = jobs(gateway, "show", batch).stdout.decode()
    assert "5: 5 completed, 0 failed" in shown and "who=me" in shown
    assert batch in jobs(gateway, "list", "--status", "completed").stdout.decode()
    assert len(jobs(gateway, "results", batch).stdout.splitlines()) == 5


def test_lines_that_fail(gateway, fake):
    fake.always(lambda exchange: fail_one(exchange))

    def fail_one(exchange):
        if len(fake.requests) == 2:
            exchange.whole({"error": {"message": "no", "type": "invalid_request_error"}}, 400)
        else:
            up.answer(exchange)

    done = jobs(gateway, "submit", "-", "--wait", stdin=lines(4), code=3)
    batch = done.stderr.decode().split("\n")[0]
    assert len(done.stdout.splitlines()) == 3
    assert "1 of 4 lines did not succeed" in done.stderr.decode()
    (error,) = jobs(gateway, "results", batch, "--errors").stdout.splitlines()
    assert json.loads(error)["response"]["status_code"] == 400


def test_a_file_that_is_not_valid(gateway):
    done = jobs(gateway, "submit", "-", "--wait", stdin=lines(1) * 2 + b"{\n", code=3)
    said = done.stderr.decode()
    assert "has failed" in said and "line 2" in said and "line 3" in said
    assert done.stdout == b""


def test_cancel_and_wait(gateway, fake):
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    batch = jobs(gateway, "submit", "-", stdin=lines(40)).stdout.decode().strip()
    fake.wait_requests(1)
    assert "is in_progress" in jobs(gateway, "results", batch, code=1).stderr.decode()
    assert jobs(gateway, "cancel", batch).stdout.decode() == f"{batch} cancelling\n"
    gate.open()
    jobs(gateway, "show", batch, "--wait", code=3)
    assert "status 409" in jobs(gateway, "cancel", batch, code=1).stderr.decode()


def test_single_jobs(gateway, fake):
    job = submit(gateway).json()["id"]
    jobs(gateway, "show", job, "--wait")
    assert jobs(gateway, "results", job).stdout == b"Hello\n"
    assert job in jobs(gateway, "list").stdout.decode()
    fake.always(lambda exchange: exchange.wait_gone())
    job = submit(gateway).json()["id"]
    fake.wait_requests(2)
    assert jobs(gateway, "cancel", job).stdout.decode() == f"{job} cancelled\n"


def messages(gateway, *models):
    params = {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    wanted = [{"custom_id": f"r-{i}", "params": {**params, "model": m}} for i, m in enumerate(models)]
    return gateway.post("/v1/messages/batches", {"requests": wanted}).json()["id"]


def test_batches_of_messages(gateway, fake):
    batch = messages(gateway, "m", "m", "nobody")
    done = jobs(gateway, "show", batch, "--wait", code=3)
    assert "3: 2 completed, 1 failed" in done.stdout.decode()
    assert f"penstock jobs results {batch}\n" in done.stderr.decode()
    results = [json.loads(line) for line in jobs(gateway, "results", batch).stdout.splitlines()]
    assert {row["custom_id"]: row["result"]["type"] for row in results} == {
        "r-0": "succeeded",
        "r-1": "succeeded",
        "r-2": "errored",
    }
    jobs(gateway, "results", batch, "--errors", code=3)
    job = submit(gateway).json()["id"]
    second = messages(gateway, "m")
    jobs(gateway, "show", second, "--wait")
    rows = [row.split() for row in jobs(gateway, "list").stdout.decode().splitlines()[1:]]
    assert {row[0] for row in rows} == {batch, second, job}
    (row,) = [row for row in rows if row[0] == batch]
    assert row[1:4] == ["completed", "3/3", "1"] and row[-1] == "/v1/messages"
    created = [row[4:6] for row in rows]
    assert created == sorted(created, reverse=True) and created[0][0] > "2000"
    assert len(jobs(gateway, "list", "--limit", 1).stdout.splitlines()) == 2
    assert batch not in jobs(gateway, "list", "--status", "running").stdout.decode()


def test_cancel_a_batch_of_messages(gateway, fake):
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    batch = messages(gateway, *["m"] * 40)
    fake.wait_requests(1)
    assert jobs(gateway, "cancel", batch).stdout.decode() == f"{batch} running\n"
    gate.open()
    assert "has been cancelled" in jobs(gateway, "show", batch, "--wait", code=3).stderr.decode()
    assert batch in jobs(gateway, "list", "--status", "cancelled").stdout.decode()


def test_a_kill_in_the_middle_of_a_wait(fake, start, tmp_path):
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    settings = config(fake, data_dir=str(tmp_path / "data"), listen=[{"address": f"unix:{tmp_path}/s"}])
    first = Gateway(settings)
    process = subprocess.Popen(
        [binary(), "jobs", "submit", "-", "--wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment({"PENSTOCK_URL": f"unix:{tmp_path}/s"}),
    )
    process.stdin.write(lines(3))
    process.stdin.close()
    fake.wait_requests(3)
    first.kill()
    gate.open()
    start(settings)
    out = process.stdout.read()
    err = process.stderr.read()
    assert process.wait(PATIENCE) == 0, err
    assert len(out.splitlines()) == 3
    assert not REPORTS.search(err)


def test_tenants(fake, start):
    gateway = start(with_keys(fake))
    batch = jobs(gateway, "submit", "-", stdin=lines(2), key=KEYS["alice"]).stdout.decode().strip()
    jobs(gateway, "show", batch, "--wait", key=KEYS["alice"])
    assert f"there is no {batch}" in jobs(gateway, "show", batch, key=KEYS["bob"], code=1).stderr.decode()
    assert batch not in jobs(gateway, "list", key=KEYS["bob"]).stdout.decode()
    assert "wants a key" in jobs(gateway, "list", code=1).stderr.decode()


def test_a_file_that_is_too_large(fake, start, tmp_path):
    gateway = start(config(fake, limits={"file_bytes": "64KiB"}))
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(20_000))
    assert "status 413" in jobs(gateway, "submit", path, code=1).stderr.decode()
