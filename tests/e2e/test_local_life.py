# SPDX-License-Identifier: Apache-2.0
"""Models inside the gateway: queue and slots, clients that leave or are slow, loading, reload, drain,
and failover between here and elsewhere."""

import fcntl
import json
import random
import re
import select
import sys
import termios
import threading

import pytest

from support import fake as up
from support.gateway import Gateway, provider, run_command
from support.local import (
    ENDLESS,
    SKY,
    SKY_ANSWER,
    Holder,
    embedded,
    local,
    model_bytes,
    needs_llama,
    nothing_left,
    queued,
    running,
    text_of,
    until,
    user,
)
from support.raw import Connection, Cut, events

pytestmark = needs_llama

JSON = [("Content-Type", "application/json")]
SMALL = {"model": "tiny", "messages": user(SKY), "temperature": 0}


def chat(gateway, **fields):
    return gateway.post("/v1/chat/completions", {**SMALL, **fields})


def content(answer):
    assert answer.status == 200, answer
    return answer.json()["choices"][0]["message"]["content"]


def send(gateway, connection, path="/v1/chat/completions", **fields):
    connection.request("POST", path, JSON, json.dumps({**SMALL, **fields}).encode())


def full(answer):
    assert answer.status == 503, answer
    assert int(answer.headers.get("retry-after")) >= 1
    error = answer.error
    assert "full" in error["message"]
    return error


# Slots and the queue


def test_a_full_queue_is_a_503_that_says_when(start):
    gateway = start(local(slots=1, queue=1))
    with Holder(gateway) as holder, gateway.connect() as waiting:
        send(gateway, waiting)
        until(lambda: queued(gateway) == 1, "one queued")
        code = full(chat(gateway))["code"]
        assert code
        assert full(chat(gateway, stream=True))["code"] == code
        assert full(gateway.post("/generate", {"prompt": "hi"}))["code"] == code
        full(gateway.post("/v1/embeddings", {"model": "tiny", "input": "hi"}))
        assert gateway.get("/health/live").status == 200
        holder.close()
        assert content(waiting.read_response()) == SKY_ANSWER
    nothing_left(gateway)
    assert content(chat(gateway)) == SKY_ANSWER


def test_the_queue_is_bounded_by_prompt_tokens_too(start):
    settings = local(slots=1)
    settings["workers"] = {"compute_queue": 50, "compute_queue_tokens": 200}
    gateway = start(settings)
    long = user(f"{SKY} " * 20)
    assert 100 < chat(gateway, messages=long, max_tokens=1).json()["usage"]["prompt_tokens"] <= 200
    with Holder(gateway), gateway.connect() as waiting:
        send(gateway, waiting, messages=long)
        until(lambda: queued(gateway) == 1, "one queued")
        full(chat(gateway, messages=long))
        waiting.close()
        until(lambda: queued(gateway) == 0, "the queue to be empty")
    nothing_left(gateway)


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/generate"])
def test_who_leaves_frees_the_slot(start, how, path):
    gateway = start(local(slots=1, queue=1))
    holder = Holder(gateway)
    getattr(holder.connection, how)()
    nothing_left(gateway)
    connection = gateway.connect()  # for a whole answer, of which nothing has been sent
    if path == "/generate":
        body = {"prompt": "Tell me a story.", "temperature": 2}
        connection.request("POST", path, JSON, json.dumps(body).encode())
    else:
        send(gateway, connection, **ENDLESS)
    getattr(connection, how)()
    nothing_left(gateway)
    assert content(chat(gateway)) == SKY_ANSWER
    holder.close()
    connection.close()


def test_who_leaves_the_queue_is_forgotten(start):
    gateway = start(local(slots=1, queue=3))
    with Holder(gateway) as holder:
        waiting = [gateway.connect() for _ in range(3)]
        for connection in waiting:
            send(gateway, connection)
        until(lambda: queued(gateway) == 3, "three queued")
        full(chat(gateway))
        waiting[0].close()
        waiting[1].reset()
        until(lambda: queued(gateway) == 1, "two to leave the queue")
        assert running(gateway) == 1
        holder.close()
        assert content(waiting[2].read_response()) == SKY_ANSWER
        waiting[2].close()
    nothing_left(gateway)


def test_who_waits_too_long_is_told(start):
    """The slot is held for good; the request's own time ends in the queue."""
    gateway = start(local(slots=1, queue=3, limits={"request_timeout": "1s"}))
    with Holder(gateway):
        answer = chat(gateway)
        assert answer.status in (503, 504), answer
        assert answer.error["message"]
        until(lambda: queued(gateway) == 0, "the queue to be empty")
        assert running(gateway) == 1


def test_a_slow_reader_keeps_its_slot_and_holds_up_nobody(start):
    gateway = start(local(slots=2))
    with Holder(gateway) as holder:
        for _ in range(5):
            assert content(chat(gateway)) == SKY_ANSWER
        made = gateway.metric("penstock_engine_generated_tokens_total")
        found = holder.read()
        assert found[-1] == "[DONE]"
        assert found[-2]["choices"][0]["finish_reason"] == "length"
        assert re.match(r"\[\s*\[\s*(true|false)", text_of(found))
        # It was paused: most of its answer was made after it had begun to read.
        assert gateway.metric("penstock_engine_generated_tokens_total") > made
        nothing_left(gateway)
        line = gateway.wait_log(msg="request", client="unix")
        assert line["output_tokens"] == 500 and line["end"] == "done"


def test_a_paused_reader_that_leaves_frees_its_slot(start):
    gateway = start(local(slots=1, queue=1))
    holder = Holder(gateway)
    with gateway.connect() as waiting:
        send(gateway, waiting)
        until(lambda: queued(gateway) == 1, "one queued")
        holder.close()
        assert content(waiting.read_response()) == SKY_ANSWER
    line = gateway.wait_log(msg="request", end="client_gone")
    assert line["provider"] == "embedded"
    nothing_left(gateway)


class Client(threading.Thread):
    """Makes requests and leaves some of them, at any stage."""

    def __init__(self, gateway, seed, count, problems):
        super().__init__()
        self.gateway = gateway
        self.random = random.Random(seed)
        self.count = count
        self.problems = problems
        self.answers = 0

    def run(self):
        try:
            for _ in range(self.count):
                self.one()
        except Exception as problem:
            self.problems.append(repr(problem)[:500])

    def one(self):
        stream = self.random.random() < 0.7
        path = self.random.choice(["/v1/chat/completions", "/v1/completions", "/v1/embeddings"])
        manner = self.random.choice(["reads", "reads", "leaves", "resets", "half closes", "reads some"])
        body = {"model": "tiny", "stream": stream, "max_tokens": self.random.randrange(1, 60)}
        if path.endswith("chat/completions"):
            body["messages"] = user("Tell me a story. " * self.random.choice([1, 1, 20]))
        elif path.endswith("completions"):
            body["prompt"] = "Once upon a time"
        else:
            body = {"model": "tiny", "input": ["a", "b c d", "e" * 50]}
        unix = self.random.random() < 0.2
        with Connection(self.gateway.address_of(1 if unix else 0)) as connection:
            connection.request("POST", path, JSON, json.dumps(body).encode())
            if manner == "reads":
                answer = connection.read_response()
                assert answer.status == 200, answer
                assert answer.body
                self.answers += 1
            elif manner == "reads some":
                connection.read_head()
            elif manner == "resets":
                connection.reset()
            elif manner == "half closes":
                connection.half_close()
                try:
                    connection.read_response()
                except Cut:
                    pass


def test_a_thousand_requests_of_which_many_are_left(start):
    gateway = start(local(slots=8, queue=200))
    problems = []
    clients = [Client(gateway, seed, 10, problems) for seed in range(100)]
    for client in clients:
        client.start()
    asked = 0
    with gateway.connect() as connection:  # while they are all busy
        while any(client.is_alive() for client in clients):
            connection.request("GET", "/health/live")
            assert connection.read_response().status == 200
            asked += 1
    for client in clients:
        client.join()
    assert not problems, problems[:5]
    assert asked > 1 and sum(client.answers for client in clients) > 100
    nothing_left(gateway)
    assert content(chat(gateway)) == SKY_ANSWER
    assert gateway.metric("penstock_engine_requests_queued") == 0


def unread(connection):
    """Bytes that the other end of a Unix socket has not read yet."""
    count = bytearray(4)
    fcntl.ioctl(connection.sock, termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)


def answered(connection):
    return bool(select.select([connection.sock], [], [], 0)[0])


SIXTEEN = {**SMALL, "messages": user("schön \"und\" gut\n" * 128) * 6500}  # MiB, too long for any slot


def test_sixteen_mebibytes_of_chat_do_not_hold_the_loop(start):
    """Whoever asks after the gateway has read the last byte of it gets his answer first, at times."""
    gateway = start(local(limits={"body_bytes": "32MiB"}))
    body = json.dumps(SIXTEEN).encode()
    assert len(body) > 16 << 20
    overtaken = 0
    with gateway.connect() as other:
        for _ in range(50):
            with Connection(gateway.address_of(1)) as connection:
                connection.request("POST", "/v1/chat/completions", JSON, body)
                until(lambda: unread(connection) == 0, "the body to be read")
                other.request("GET", "/health/live")
                assert other.read_response().status == 200
                overtaken += not answered(connection)
                answer = connection.read_response()
                assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
            if overtaken:
                break
    assert overtaken
    nothing_left(gateway)


def test_clients_that_leave_while_their_prompt_is_read(start):
    gateway = start(local(limits={"body_bytes": "32MiB"}))
    body = json.dumps(SIXTEEN).encode()
    before = None
    for _ in range(6):
        connection = Connection(gateway.address_of(1))
        connection.request("POST", "/v1/chat/completions", JSON, body)
        until(lambda: unread(connection) == 0, "the body to be read")
        connection.close()
        nothing_left(gateway)
        before = before or gateway.descriptors()
    until(lambda: gateway.descriptors() <= before, "the descriptors to be closed")
    assert content(chat(gateway)) == SKY_ANSWER
    until(lambda: gateway.metric("penstock_buffer_memory_bytes") < 1 << 20, "the buffers to be given back")


def test_many_that_leave_leak_nothing(start):
    gateway = start(local(slots=2, queue=8))

    def leave_some(count):
        for number in range(count):
            connection = gateway.connect()
            send(gateway, connection, stream=bool(number % 2), messages=user("Tell me a story."))
            if number % 3 == 0:
                connection.receive()
            connection.reset()
        nothing_left(gateway)

    leave_some(20)
    before = gateway.descriptors()
    leave_some(100)
    assert gateway.descriptors() <= before + 2


# Loading


@pytest.mark.parametrize("how", ["wait", "reject"])
def test_asked_while_it_loads(start, how):
    """Loading may be over at the first request: then both do the same."""
    gateway = start(local(provider={"while_loading": how}))
    answers = [chat(gateway)]
    while how == "reject" and answers[-1].status != 200:
        assert answers[-1].status == 503, answers[-1]
        assert answers[-1].error["code"] and "retry-after" in answers[-1].headers
        answers.append(chat(gateway))
    assert content(answers[-1]) == SKY_ANSWER
    until(lambda: gateway.get("/health/ready").status == 200, "ready")


def two_models(second="copy.gguf"):
    return local(
        providers={"one": embedded(slots=2), "two": embedded(second, slots=2)},
        models=[
            {"name": "tiny", "targets": [{"provider": "one"}]},
            {"name": "other", "targets": [{"provider": "two"}]},
        ],
    )


def test_two_models_side_by_side(start):
    gateway = start(two_models(), files={"copy.gguf": model_bytes()})
    results = {}

    def ask(name):
        results[name] = [chat(gateway, model=name, messages=user("Tell me a story.")) for _ in range(5)]

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("tiny", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = {content(answer) for answers in results.values() for answer in answers}
    assert len(texts) == 1  # the same weights, each alone with its requests
    assert {a.headers.get("x-penstock-provider") for a in results["tiny"]} == {"one"}
    assert {a.headers.get("x-penstock-provider") for a in results["other"]} == {"two"}
    assert {a.json()["model"] for a in results["other"]} == {"other"}
    counts = [
        gateway.metric("penstock_engine_generated_tokens_total", provider=name) for name in ("one", "two")
    ]
    assert counts[0] == counts[1] > 0
    assert {model["id"] for model in gateway.get("/v1/models").json()["data"]} == {"tiny", "other"}


def test_m_serves_a_file_under_its_name(start, tmp_path):
    file = tmp_path / "My story-1.gguf"
    file.write_bytes(model_bytes())
    gateway = start(None, arguments=["-l", "127.0.0.1:0", "-m", str(file)])
    (model,) = gateway.get("/v1/models").json()["data"]
    assert model["id"] == "My-story-1"
    assert content(chat(gateway, model="My-story-1")) == SKY_ANSWER
    assert gateway.post("/generate", {"prompt": SKY, "temperature": 0}).json()["text"] == SKY_ANSWER
    assert chat(gateway).status == 404


def damaged(how):
    good = model_bytes()
    if how == "no GGUF":
        return b"This is not a model.\n" * 100
    if how == "empty":
        return b""
    if how == "header only":
        return good[:24]
    if how == "half":
        return good[: len(good) // 2]
    if how == "last byte missing":
        return good[:-1]
    if how == "unknown version":
        return good[:4] + b"\x63\0\0\0" + good[8:]
    if how == "unknown architecture":
        return good.replace(b"llama", b"lemur")
    if how == "wild lengths":
        return good[:8] + b"\xff" * 16 + good[24:]
    if how == "other bytes in the header":
        return good[:24] + bytes(random.Random(1).randbytes(2000)) + good[2024:]
    raise ValueError(how)


BROKEN = [
    "no GGUF",
    "empty",
    "header only",
    "half",
    "last byte missing",
    "unknown version",
    "unknown architecture",
    "wild lengths",
    "other bytes in the header",
]

WRITTEN = """listen:
  - address: "127.0.0.1:0"
providers:
  mine:
    slots: 2
    engine: llama
    context_tokens: 256
    model_path: {path}
models:
  - name: m
    targets: [ {{ provider: mine }} ]
"""
LINE = 1 + WRITTEN.split("\n").index("    model_path: {path}")


def fails_to_start(tmp_path, text):
    """(the one line it says, its stdout)"""
    file = tmp_path / "penstock.yaml"
    file.write_text(text)
    status, out, told = run_command("serve", "-c", str(file), folder=tmp_path)
    assert status == 1, (status, out, told)
    lines = [line for line in told.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, told
    return lines[0]


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_model_ends_the_start_with_one_line(tmp_path, how):
    (tmp_path / "broken.gguf").write_bytes(damaged(how))
    line = fails_to_start(tmp_path, WRITTEN.format(path="broken.gguf"))
    assert re.match(r".*penstock\.yaml:\d+: providers\.mine\.model_path: .+", line), line


def test_a_missing_model_ends_the_start_with_one_line(tmp_path):
    line = fails_to_start(tmp_path, WRITTEN.format(path="nobody.gguf"))
    assert re.match(r".*penstock\.yaml:\d+: providers\.mine\.model_path: .+", line), line


def test_a_folder_is_no_model(tmp_path):
    (tmp_path / "folder.gguf").mkdir()
    line = fails_to_start(tmp_path, WRITTEN.format(path="folder.gguf"))
    assert re.match(r".*penstock\.yaml:\d+: providers\.mine\.model_path: .+", line), line


@pytest.mark.parametrize("how", ["missing", "no GGUF", "unknown architecture"])
def test_the_line_is_that_of_the_key(tmp_path, how):
    if how != "missing":
        (tmp_path / "broken.gguf").write_bytes(damaged(how))
    line = fails_to_start(tmp_path, WRITTEN.format(path="broken.gguf"))
    assert line.startswith(f"{tmp_path}/penstock.yaml:{LINE}: providers.mine.model_path: "), line


def test_a_model_that_is_larger_than_the_cap(tmp_path):
    line = fails_to_start(tmp_path, WRITTEN.format(path="builtin") + "limits:\n  model_memory: 1MiB\n")
    assert re.match(r".*penstock\.yaml:\d+: \S*(mine|model_memory)\S*: .+", line), line
    assert "model_memory" in line


@pytest.mark.parametrize(
    "old, new", [("slots: 2", "slots: 0"), ("slots: 2", "slots: 1000"), ("engine: llama", "engine: nobody")]
)
def test_a_wrong_key_of_a_model(tmp_path, old, new):
    line = fails_to_start(tmp_path, WRITTEN.format(path="builtin").replace(old, new))
    number = 1 + WRITTEN.split("\n").index(f"    {old}")
    assert f"penstock.yaml:{number}: providers.mine.{old.split(':')[0]}: " in line, line


def test_m_with_a_missing_or_broken_file(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(damaged("half"))
    for name in ("nobody.gguf", "broken.gguf"):
        status, _, told = run_command("serve", "-l", "127.0.0.1:0", "-m", name, folder=tmp_path)
        assert status == 1, (status, told)
        lines = [line for line in told.splitlines() if not line.startswith("{")]
        assert len(lines) == 1 and ("-m" in lines[0] or "model_path" in lines[0]), told


def test_a_template_that_is_not_known(tmp_path):
    text = WRITTEN.format(path="builtin").replace("slots: 2", 'slots: 2\n    chat_template: "{{ nonsense }}"')
    line = fails_to_start(tmp_path, text)
    assert "providers.mine.chat_template: " in line, line


def test_a_named_template(start):
    gateway = start(local(provider={"chat_template": "chatml"}))
    assert content(chat(gateway)) == SKY_ANSWER


# Reload


def reload_ok(gateway, times=1):
    gateway.reload()
    gateway.wait_for(lambda: len(gateway.find_log(msg="configuration reloaded")) >= times, "reload")


@pytest.mark.parametrize("how", ["missing", "no GGUF", "half", "wild lengths"])
def test_a_reload_with_a_broken_model_keeps_the_old(start, how):
    gateway = start(local())
    assert content(chat(gateway)) == SKY_ANSWER
    if how != "missing":
        gateway.write("broken.gguf", damaged(how))
    gateway.configure(two_models(second="broken.gguf"))
    gateway.reload()
    kept = lambda: [line for line in gateway.log if "configuration kept as it was" in line["msg"]]  # noqa: E731
    gateway.wait_for(kept, "refusal in the log", 10)
    assert re.search(r"penstock\.yaml:\d+: providers\.two\.model_path: .+", kept()[0]["msg"])
    assert content(chat(gateway)) == SKY_ANSWER
    assert chat(gateway, model="other").status == 404
    assert gateway.get("/health/ready").status == 200
    gateway.write("good.gguf", model_bytes())
    gateway.configure(two_models(second="good.gguf"))
    reload_ok(gateway)
    assert content(chat(gateway, model="other")) == SKY_ANSWER


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("how", ["unknown architecture", "too large"])
def test_a_reload_with_a_model_that_fails_to_load_takes_nothing_down(start, how, when):
    """What shows only while it loads: the log says why, the others answer, and who asks for it is told.
    At once: while the models of the start still load, whose failure would end the process."""
    cap = {"limits": {"model_memory": "16MiB"}}  # enough for one
    gateway = start(local(**cap))
    if when == "later":
        assert content(chat(gateway)) == SKY_ANSWER
    gateway.write("second.gguf", damaged(how) if how != "too large" else model_bytes())
    settings = local(**cap)
    settings["providers"]["two"] = embedded("second.gguf")
    settings["models"].append({"name": "other", "targets": [{"provider": "two"}]})
    gateway.configure(settings)
    gateway.reload()
    told = lambda: [  # noqa: E731
        line for line in gateway.log if line["level"] in ("warn", "error") and "two" in json.dumps(line)
    ]
    gateway.wait_for(told, "the reason in the log", 10)
    reason = "lemur" if how == "unknown architecture" else "model_memory"
    assert reason in json.dumps(told()), told()
    assert content(chat(gateway)) == SKY_ANSWER
    answer = chat(gateway, model="other")
    assert answer.status in (404, 500, 502, 503), answer
    assert answer.error["message"]
    assert gateway.get("/health/live").status == 200
    ready = gateway.get("/health/ready")
    assert (ready.status, ready.json()) == (200, {"status": "degraded"})
    assert gateway.metric("penstock_target_available", provider="two") == 0
    assert gateway.metric("penstock_target_available", provider="embedded") == 1
    gateway.configure(local(**cap))
    reload_ok(gateway, 2)
    assert gateway.get("/health/ready").json() == {"status": "ready"}
    assert gateway.process.poll() is None


def test_with_no_model_left_it_is_not_ready(start):
    gateway = start(local(), files={"m.gguf": damaged("unknown architecture")})
    assert content(chat(gateway)) == SKY_ANSWER
    gateway.configure(local(provider={"model_path": "m.gguf"}))
    reload_ok(gateway)
    until(lambda: gateway.get("/health/ready").json() == {"status": "failed"}, "the failure")
    assert gateway.get("/health/ready").status == 503
    assert gateway.get("/health/live").status == 200
    assert chat(gateway).status == 500
    gateway.configure(local())
    reload_ok(gateway, 2)
    until(lambda: gateway.get("/health/ready").status == 200, "ready again")
    assert content(chat(gateway)) == SKY_ANSWER


@pytest.mark.parametrize("cap", ["1MiB", "8GiB"])
def test_the_cap_on_memory_is_in_force_or_needs_a_restart(start, cap):
    """It is read at the start; a reload that changes it must not pass over that in silence."""
    gateway = start(local(limits={"model_memory": "16MiB"}), files={"copy.gguf": model_bytes()})
    assert content(chat(gateway)) == SKY_ANSWER
    gateway.configure(local(limits={"model_memory": cap}))
    gateway.reload()
    gateway.wait_for(
        lambda: any("model_memory" in line["msg"] for line in gateway.log)
        or gateway.find_log(msg="configuration reloaded"),
        "the reload",
    )
    assert any("model_memory" in line["msg"] for line in gateway.log), gateway.log


def test_models_come_and_go_with_a_reload(start):
    gateway = start(local(), files={"copy.gguf": model_bytes()})
    assert content(chat(gateway)) == SKY_ANSWER
    for turn in range(3):
        gateway.configure(two_models())
        reload_ok(gateway, 2 * turn + 1)
        assert content(chat(gateway, model="other")) == SKY_ANSWER
        gateway.configure(local())
        reload_ok(gateway, 2 * turn + 2)
        assert chat(gateway, model="other").status == 404
        assert content(chat(gateway)) == SKY_ANSWER
    nothing_left(gateway)


def test_a_running_answer_outlives_its_model_in_the_configuration(start):
    gateway = start(local(), files={"copy.gguf": model_bytes()})
    gateway.configure(two_models())
    reload_ok(gateway)
    with Holder(gateway, model="other") as holder:
        gateway.configure(local())
        reload_ok(gateway, 2)
        assert chat(gateway, model="other").status == 404
        found = holder.read()
        assert found[-1] == "[DONE]"
        assert found[-2]["choices"][0]["finish_reason"] == "length"
    assert content(chat(gateway)) == SKY_ANSWER


def test_a_file_that_was_replaced_is_loaded_anew(start):
    settings = local(provider={"model_path": "m.gguf"})
    gateway = start(settings, files={"m.gguf": model_bytes()})
    assert content(chat(gateway)) == SKY_ANSWER
    gateway.wait_log(msg="model loaded")
    gateway.write("m.gguf", model_bytes())
    reload_ok(gateway)
    assert content(chat(gateway)) == SKY_ANSWER
    gateway.wait_for(lambda: len(gateway.find_log(msg="model loaded")) == 2, "the second load")
    reload_ok(gateway, 2)
    assert content(chat(gateway)) == SKY_ANSWER
    assert len(gateway.find_log(msg="model loaded")) == 2


# Drain


def test_a_drain_finishes_what_runs_and_what_waits(start):
    gateway = start(local(slots=1, queue=2))
    with Holder(gateway) as holder, gateway.connect() as waiting:
        send(gateway, waiting)
        until(lambda: queued(gateway) == 1, "one queued")
        gateway.terminate()
        gateway.wait_log(msg="draining")
        found = holder.read()
        assert found[-1] == "[DONE]"
        assert found[-2]["choices"][0]["finish_reason"] == "length"
        assert content(waiting.read_response()) == SKY_ANSWER
    assert gateway.wait_exit() == 0


def test_a_second_signal_ends_at_once(start):
    gateway = start(local(slots=1, queue=2))
    with Holder(gateway), gateway.connect() as waiting:
        send(gateway, waiting)
        until(lambda: queued(gateway) == 1, "one queued")
        gateway.terminate()
        gateway.wait_log(msg="draining")
        gateway.terminate()
        gateway.wait_exit()
    gateway.stop(gateway.process.returncode)


def test_an_end_while_it_loads(tmp_path):
    for _ in range(5):
        with Gateway(local()) as gateway:
            gateway.terminate()


# Here and elsewhere


def both_ways(fake, first="embedded", slots=1, **more):
    targets = [{"provider": "embedded"}, {"provider": "up", "model": "up-model"}]
    if first != "embedded":
        targets.reverse()
    settings = local(
        slots=slots,
        models=[
            {"name": "tiny", "strategy": "ordered", "targets": targets},
            {"name": "here", "targets": [{"provider": "embedded"}]},
        ],
        **more,
    )
    settings["providers"]["up"] = provider(fake)
    return settings


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_the_model_here_answers_for_a_failing_upstream(fake, start, status, stream):
    gateway = start(both_ways(fake, first="up"))
    fake.always(up.error(status))
    answer = chat(gateway, stream=stream)
    assert answer.status == 200
    assert answer.headers.get("x-penstock-provider") == "embedded"
    assert answer.headers.get("x-penstock-attempts") == "2"
    assert (text_of(events(answer.body)) if stream else content(answer)) == SKY_ANSWER
    tried = gateway.line_of(answer)["tried"]
    assert [attempt["provider"] for attempt in tried] == ["up", "embedded"]


def test_the_upstream_comes_first_while_it_is_well(fake, start):
    gateway = start(both_ways(fake, first="up"))
    assert content(chat(gateway)) == "Hello"
    assert fake.last.json()["model"] == "up-model"
    assert content(chat(gateway, model="here")) == SKY_ANSWER


@pytest.mark.parametrize("stream", [False, True])
def test_the_upstream_answers_when_the_queue_here_is_full(fake, start, stream):
    gateway = start(both_ways(fake, queue=1))
    assert content(chat(gateway)) == SKY_ANSWER
    with Holder(gateway, model="here"), gateway.connect() as waiting:
        send(gateway, waiting, model="here")
        until(lambda: queued(gateway) == 1, "one queued")
        answer = chat(gateway, stream=stream)
        assert answer.status == 200
        assert answer.headers.get("x-penstock-provider") == "up"
        assert answer.headers.get("x-penstock-attempts") == "2"
        assert (text_of(events(answer.body)) if stream else content(answer)) == "Hello"
        assert len(fake.requests) == 1
    nothing_left(gateway)
    # A full queue is no illness: the model here is asked again.
    assert chat(gateway).headers.get("x-penstock-provider") == "embedded"


def test_what_is_wrong_with_the_request_is_not_tried_elsewhere(fake, start):
    gateway = start(both_ways(fake))
    answer = chat(gateway, max_tokens=-5)
    assert answer.status == 400
    assert fake.requests == []
    assert chat(gateway).headers.get("x-penstock-provider") == "embedded"
