# SPDX-License-Identifier: Apache-2.0
"""/metrics and the log: everything counted, every request one line, no secrets, no prompts."""

import json
import os
import re
import shutil
import subprocess

import pytest

from support import fake as up
from support.gateway import config, parse_metrics, targets

PROMPT = "my very private prompt 0815"
STREAM = {"model": "m", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}


# Metrics


def exercised(fake, gateway):
    """A gateway that has seen a bit of everything."""
    gateway.chat()
    gateway.chat(STREAM)
    gateway.post("/generate", {"prompt": "a"})
    gateway.chat(model="nope")
    gateway.get("/nope")
    fake.then(up.error(500))
    gateway.chat()
    fake.then(up.script(up.ROLE, up.delta("a"), "fin"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        connection.read_cut(connection.read_head())
    return gateway.get("/metrics")


def test_the_text_is_what_prometheus_reads(fake, gateway):
    answer = exercised(fake, gateway)
    assert answer.status == 200
    assert answer.headers.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body.endswith(b"\n")
    parse_metrics(answer.text)
    names = re.findall(r"^# TYPE (\S+) (\S+)$", answer.text, re.M)
    assert len(names) == len({name for name, _ in names})
    assert all(name.startswith(("penstock_", "process_")) for name, _ in names), names


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here")
def test_promtool_finds_nothing_wrong(fake, gateway):
    answer = exercised(fake, gateway)
    done = subprocess.run(["promtool", "check", "metrics"], input=answer.body, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout + done.stderr == b""


def test_everything_of_the_list_is_there(fake, gateway):
    found = {name for name, _ in parse_metrics(exercised(fake, gateway).text)}
    for name in (
        "requests_total",
        "requests_in_flight",
        "time_to_first_byte_seconds_bucket",
        "request_duration_seconds_bucket",
        "tokens_total",
        "upstream_errors_total",
        "incomplete_streams_total",
        "overhead_seconds_bucket",
        "event_loop_lag_seconds_bucket",
        "connections",
        "buffer_memory_bytes",
        "buffer_memory_limit_bytes",
        "build_info",
    ):
        assert f"penstock_{name}" in found, name


def test_requests_are_counted_by_door_model_provider_and_status(fake, gateway):
    for _ in range(3):
        gateway.chat()
    gateway.chat(model="nope")
    assert gateway.metric("penstock_requests_total", door="chat", provider="up", status="200") == 3
    assert gateway.metric("penstock_requests_total", door="chat", status="404") == 1


def test_tokens_are_counted_for_whole_and_streamed_answers(fake, gateway):
    gateway.chat()
    gateway.chat(STREAM)
    gateway.post("/generate", {"prompt": "a"})
    samples = {
        dict(labels)["kind"]: value
        for (name, labels), value in gateway.metrics().items()
        if name == "penstock_tokens_total"
    }
    assert samples["input"] == 27
    assert samples["output"] == 6


def test_in_flight_goes_up_and_down(fake, gateway):
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        assert gateway.metric("penstock_requests_in_flight", door="chat") == 1
        gate.open()
        connection.read_body(answer)
    assert gateway.metric("penstock_requests_in_flight", door="chat") == 0


def test_labels_are_bounded(fake, gateway):
    """Names that a client makes up make no series."""
    gateway.chat(model="nope-0")
    before = len(gateway.metrics())
    for number in range(1, 50):
        gateway.chat(model=f"nope-{number}")
        gateway.chat(model=f"up/made-up-{number}")
        gateway.get(f"/nope/{number}")
        gateway.post("/v1/moderations", {"model": "m", "x": number})
        gateway.ask("OPTIONS", f"/{number}")
    after = gateway.metrics()
    assert len(after) < before + 200
    text = json.dumps([sorted(labels) for _, labels in after])
    assert "nope-7" not in text and "made-up-7" not in text and "/nope" not in text


def test_histograms_are_cumulative(fake, gateway):
    for _ in range(5):
        gateway.chat()
    rows = [
        (float(dict(labels)["le"]), value)
        for (name, labels), value in gateway.metrics().items()
        if name == "penstock_request_duration_seconds_bucket" and dict(labels).get("provider") == "up"
    ]
    rows.sort()
    assert rows[-1] == (float("inf"), 5)
    assert all(first[1] <= second[1] for first, second in zip(rows, rows[1:]))


def test_metrics_ask_no_upstream(both):
    gateway, fake = both
    gateway.get("/metrics")
    assert fake.requests == []


# The log


def test_one_line_for_each_request_with_every_attempt(start):
    with up.Fake() as first, up.Fake() as second:
        gateway = start(targets(first, second))
        first.then(up.error(503))
        answer = gateway.chat()
        line = gateway.line_of(answer)
        assert line["msg"] == "request"
        assert line["level"] == "info"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["door"] == "chat"
        assert line["status"] == 200
        assert line["client"].startswith("127.0.0.1")
        assert line["provider"] == "p1"
        assert [attempt["status"] for attempt in line["tried"]] == [503, 200]
        assert all(attempt["ms"] >= 0 for attempt in line["tried"])
        assert line["total_ms"] >= 0
        gateway.stop()
        assert len(gateway.request_lines()) == 1


def test_refused_requests_have_a_line_too(fake, gateway):
    for answer in (
        gateway.chat(model="nope"),
        gateway.get("/nope"),
        gateway.get("/v1/chat/completions"),
        gateway.post("/v1/chat/completions", b"{", [("Content-Type", "application/json")]),
    ):
        line = gateway.line_of(answer)
        assert line["status"] == answer.status


def test_broken_http_has_a_line_too(fake, gateway):
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/9.9\r\n\r\n")
        answer = connection.read_response()
    assert gateway.line_of(answer)["status"] == answer.status


def test_no_prompts_and_no_answers_in_the_log(fake, start):
    gateway = start(config(fake, log={"level": "debug"}))
    fake.then(up.whole(up.chat_answer("an equally private answer 0816")))
    gateway.chat(messages=[{"role": "user", "content": PROMPT}])
    gateway.chat(STREAM)
    gateway.post("/generate", {"prompt": PROMPT})
    gateway.post("/generate", PROMPT, [("Content-Type", "text/plain")])
    gateway.post(
        "/v1/chat/completions",
        ('{"model":"m","messages":"' + PROMPT + '"').encode(),
        [("Content-Type", "application/json")],
    )
    fake.then(up.whole(b"not json: " + PROMPT.encode()))
    gateway.chat()
    gateway.get(f"/v1/models?prompt={PROMPT.replace(' ', '+')}")
    gateway.stop()
    assert len(gateway.request_lines()) >= 6
    assert b"private" not in gateway.raw_log


def test_control_bytes_are_escaped(fake, gateway):
    nasty = '\x1b[31m\r\n{"msg":"forged"}\x00\u2028\x9b'
    gateway.chat(model=nasty, headers=[("User-Agent", "a\tb")])
    fake.then(up.error(400, nasty))
    gateway.chat()
    gateway.get("/x%0a%1b[31m")
    gateway.stop()
    assert not gateway.noise, gateway.noise
    assert not gateway.find_log(msg="forged")
    for byte in (b"\x1b", b"\x00", "\u2028".encode(), b"\xc2\x9b", b"\r"):
        assert byte not in gateway.raw_log


def test_text_format(fake, start):
    gateway = start(config(fake, log={"format": "text"}))
    answer = gateway.chat()
    wanted = answer.headers.get("x-request-id")
    gateway.wait_for(lambda: any(wanted in line for line in gateway.noise))
    line = next(line for line in gateway.noise if wanted in line)
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z info request ", line)
    assert " status=200 " in line


def test_a_log_file_and_its_reopening(fake, start):
    import signal

    gateway = start(config(fake, log={"file": "penstock.log"}))
    path = os.path.join(gateway.folder, "penstock.log")

    def wait_line(file, wanted):
        for _ in range(1_000_000):
            if os.path.exists(file):
                with open(file) as opened:
                    if wanted in opened.read():
                        return
        raise AssertionError(f"{wanted} does not come to {file}")

    wait_line(path, gateway.chat().headers.get("x-request-id"))
    os.rename(path, path + ".1")
    gateway.signal(signal.SIGUSR1)
    for _ in range(1_000_000):
        gateway.chat()
        if os.path.exists(path):
            break
    wait_line(path, gateway.chat().headers.get("x-request-id"))


def test_a_log_pipe_that_nobody_reads_does_not_stop_it(fake, start):
    """Lines are lost when pipe and queue are full, and counted; nothing else happens."""
    gateway = start(config(fake), read_log=False)
    with gateway.connect() as connection:
        for number in range(50_000):
            connection.request("GET", "/nope/" + "x" * 4000)
            assert connection.read_response().status == 404
            if number % 500 == 499 and gateway.metric("penstock_log_lines_dropped_total") > 0:
                break
    assert gateway.metric("penstock_log_lines_dropped_total") > 0
    assert gateway.chat().status == 200
    gateway.read_log_now()
    gateway.wait_for(lambda: gateway.log)


def test_a_log_pipe_that_nobody_reads_does_not_stop_the_end(fake, start):
    gateway = start(config(fake), read_log=False)
    with gateway.connect() as connection:
        for _ in range(1000):
            connection.request("GET", "/nope", [])
            assert connection.read_response().status == 404
    gateway.terminate()
    assert gateway.process.wait(30) == 0
    gateway.read_log_now()


def test_a_log_pipe_that_is_closed_does_not_end_it(fake, start):
    gateway = start(config(fake), read_log=False)
    gateway.process.stderr.close()
    for _ in range(20):
        assert gateway.chat().status == 200
    assert gateway.get("/health").status == 200


# Tracing


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_traceparent_goes_on_and_into_the_log(fake, gateway):
    answer = gateway.chat(headers=[("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")])
    sent = fake.last.headers.get("traceparent")
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-0[01]", sent)
    assert gateway.line_of(answer)["trace_id"] == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
        "nonsense",
        "",
    ],
)
def test_an_invalid_traceparent_is_ignored(fake, gateway, value):
    answer = gateway.chat(headers=[("traceparent", value)])
    assert answer.status == 200
    sent = fake.last.headers.get("traceparent")
    assert sent is None or re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", sent) and sent != value
    assert gateway.line_of(answer).get("trace_id") != TRACE


# Ids


def test_a_sane_request_id_of_the_client_comes_back_and_into_the_log(fake, gateway):
    answer = gateway.chat(headers=[("x-request-id", "client-id-42")])
    assert answer.headers.get("x-request-id") == "client-id-42"
    line = gateway.line_of(answer)
    assert "client-id-42" in line.values()


@pytest.mark.parametrize("value", ["a b", "a" * 1000, "\x7f", 'a"b', "é", "a,b;c=<script>"])
def test_an_odd_request_id_is_replaced(fake, gateway, value):
    with gateway.connect() as connection:
        connection.request("GET", "/health", [("x-request-id", value)])
        answer = connection.read_response()
    if answer.status == 200:
        assert answer.headers.get("x-request-id") != value
        assert answer.headers.get("x-request-id")
    else:
        assert answer.status == 400


def test_errors_carry_an_id_too(fake, gateway):
    for answer in (
        gateway.get("/nope"),
        gateway.chat(model="nope"),
        gateway.ask("GET", "/v1/chat/completions"),
    ):
        assert answer.headers.get("x-request-id")
