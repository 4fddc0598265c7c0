# SPDX-License-Identifier: Apache-2.0
"""`penstock jobs …` against a fake of the gateway: what it sends, says and returns."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from support.gateway import REPORTS, binary, clean_environment
from support.jobs_fake import KEY, JobsFake, cut, hang_up, step

LINE = '{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":{"messages":[]}}'
LINES = "".join(LINE % name + "\n" for name in "ab").encode()
OUT = b'{"custom_id":"a"}\n{"custom_id":"b"}\n'
BATCH = "batch_" + "0" * 26
PATIENCE = 60


@pytest.fixture
def gateway():
    with JobsFake() as fake:
        fake.add_file("file-out", OUT)
        yield fake


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(LINES)
    return path


def environment(gateway, **more):
    env = {"PENSTOCK_URL": gateway.url} if gateway else {}
    return clean_environment({**env, **{k: str(v) for k, v in more.items()}})


def jobs(gateway, *arguments, code=0, stdin=b"", env=None):
    done = subprocess.run(
        [binary(), "jobs", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=environment(gateway, **(env or {})),
        timeout=PATIENCE,
    )
    assert not REPORTS.search(done.stderr), done.stderr.decode()
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


# Submitting


def test_submit_uploads_and_says_the_id(gateway, file):
    done = jobs(gateway, "submit", file, "--metadata", "who=me", "--metadata", "a=b=c")
    assert done.stdout.decode() == BATCH + "\n"
    assert done.stderr == b""
    assert list(gateway.files.values())[-1] == ("in.jsonl", "batch", LINES)
    (_, _, headers, body), = gateway.seen("POST", "/v1/batches")
    assert json.loads(body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"who": "me", "a": "b=c"},
    }
    assert len(headers["Idempotency-Key"]) > 20
    assert "Authorization" not in headers


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n  \r\n"])
def test_submit_from_stdin(gateway, start):
    content = start + LINES[:-1]  # no newline at its end either
    jobs(gateway, "submit", "-", stdin=content)
    assert list(gateway.files.values())[-1] == ("stdin.jsonl", "batch", content)
    assert json.loads(gateway.seen("POST", "/v1/batches")[0][3])["endpoint"] == "/v1/chat/completions"


def test_the_endpoint_can_be_said(gateway, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"anything")
    jobs(gateway, "submit", path, "--endpoint", "/generate", "--completion-window", "7d")
    body = json.loads(gateway.seen("POST", "/v1/batches")[0][3])
    assert (body["endpoint"], body["completion_window"]) == ("/generate", "7d")


def test_a_large_file(gateway, tmp_path):
    path = tmp_path / "large.jsonl"
    content = LINES * 100_000
    path.write_bytes(content)
    jobs(gateway, "submit", path)
    assert list(gateway.files.values())[-1][2] == content


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "there are no requests in it"),
        (b"\n \n\n", "there are no requests in it"),
        (b"{\n", "the first line is not valid JSON"),
        (b"[1]\n", 'it has no "url"'),
        (b'{"url":7}\n', 'it has no "url"'),
    ],
)
def test_what_is_no_file_of_requests(gateway, tmp_path, content, said):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert said in jobs(gateway, "submit", path, code=1).stderr.decode()
    assert not gateway.requests


def test_files_that_cannot_be_read(gateway, tmp_path):
    assert "No such file" in jobs(gateway, "submit", tmp_path / "none", code=1).stderr.decode()
    assert "folder" in jobs(gateway, "submit", tmp_path, code=1).stderr.decode()
    assert not gateway.requests


def test_a_refused_batch_leaves_no_file(gateway, file):
    gateway.trouble = [None, (400,)]
    assert "the gateway refused (status 400): not now" in jobs(gateway, "submit", file, code=1).stderr.decode()
    assert list(gateway.files) == ["file-out"]


def test_a_batch_is_asked_for_again_under_one_key(gateway, file):
    gateway.trouble = [None, hang_up, (503, ("Retry-After", "1"))]
    assert jobs(gateway, "submit", file).stdout.decode() == BATCH + "\n"
    asked = gateway.seen("POST", "/v1/batches")
    assert len(asked) == 3
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in asked}) == 1


# Waiting


def test_wait_writes_the_results(gateway, file):
    done = jobs(gateway, "submit", file, "--wait")
    assert done.stdout == OUT
    said = done.stderr.decode().splitlines()
    assert said[0] == BATCH
    assert any(line.startswith(f"{BATCH} 2/2") and line.endswith("completed") for line in said)
    assert not re.search(r"[\r\x1b]", done.stderr.decode())


def test_wait_with_failures(gateway, file, tmp_path):
    gateway.steps = [step("completed", 2, 1, 1, output_file_id="file-out", error_file_id="file-err")]
    gateway.add_file("file-err", b'{"custom_id":"b"}\n')
    target = tmp_path / "out.jsonl"
    done = jobs(gateway, "submit", file, "--wait", "--output", target, code=3)
    assert "1 of 2 lines did not succeed" in done.stderr.decode()
    assert done.stdout == b""
    assert target.read_bytes() == OUT
    assert sorted(os.listdir(tmp_path)) == ["in.jsonl", "out.jsonl"]
    assert jobs(gateway, "results", BATCH, "--errors").stdout == b'{"custom_id":"b"}\n'


def test_wait_for_a_batch_that_is_not_valid(gateway, file):
    errors = {"object": "list", "data": [{"code": "invalid_json_line", "message": "no\x1b[31m JSON", "line": 2}]}
    gateway.steps = [step("failed", errors=errors)]
    done = jobs(gateway, "submit", file, "--wait", code=3)
    assert "line 2: no\\u001b[31m JSON (invalid_json_line)" in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_wait_for_what_does_not_complete(gateway, status):
    gateway.add_batch("batch_x", [step(total=2), step(status, 2, 1, 1)])
    assert status in jobs(gateway, "show", "batch_x", "--wait", code=3).stdout.decode()


def test_wait_survives_trouble(gateway):
    gateway.add_batch("batch_x", [step(total=2), step("completed", 2, 2)])
    gateway.trouble = [None, hang_up, (503, ("Retry-After", "1")), (429,), (502,), None]
    done = jobs(gateway, "show", "batch_x", "--wait")
    assert "completed" in done.stdout.decode()
    assert len(gateway.requests) == 6


def test_wait_survives_a_restart(gateway):
    gateway.add_batch("batch_x", [step(total=2)])
    process = start(gateway, "show", "batch_x", "--wait")
    gateway.wait_for(lambda: len(gateway.requests) >= 2)
    gateway.stop()
    assert "away" in read_until(process.stderr, "away")
    with JobsFake(port=gateway.port) as again:
        again.add_batch("batch_x", [step(total=2, completed=1), step("completed", 2, 2)])
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert b"completed" in out


def test_wait_ends_where_it_cannot_help(gateway):
    gateway.add_batch("batch_x", [step(total=2)])
    gateway.trouble = [None, (404,)]
    assert "there is no batch_x" in jobs(gateway, "show", "batch_x", "--wait", code=1).stderr.decode()
    assert "no gateway answers" in jobs(None, "show", "batch_x", "--wait", "--url", "http://127.0.0.1:1", code=4).stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_the_batch_alone(gateway, number):
    gateway.add_batch("batch_x", [step(total=2)])
    process = start(gateway, "show", "batch_x", "--wait")
    gateway.wait_for(lambda: len(gateway.requests) >= 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "penstock jobs show batch_x --wait" in err.decode()
    assert {method for method, *_ in gateway.requests} == {"GET"}
    assert not REPORTS.search(err)


def start(gateway, *arguments):
    return subprocess.Popen(
        [binary(), "jobs", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(gateway),
    )


def read_until(stream, text):
    got = b""
    end = time.monotonic() + PATIENCE
    while text.encode() not in got:
        assert time.monotonic() < end and select.select([stream], [], [], PATIENCE)[0], got
        data = os.read(stream.fileno(), 65536)
        assert data, got
        got += data
    return got.decode()


# The bar


class Terminal:
    """The command on a terminal of its own; what it drew is in `text`."""

    def __init__(self, gateway, *arguments, columns=100, **env):
        main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {"TERM": "xterm", "LC_ALL": "C.UTF-8", **env}
        self.process = subprocess.Popen(
            [binary(), "jobs", *arguments],
            stdin=other,
            stdout=subprocess.PIPE,
            stderr=other,
            env=environment(gateway, **env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)
        self.main = main
        self.bytes = b""
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    @property
    def text(self):
        return self.bytes.decode(errors="ignore")

    def read_until(self, text):
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.text, PATIENCE), self.text

    def _read(self):
        while True:
            try:
                data = os.read(self.main, 65536)
            except OSError:  # the other side is closed
                return
            with self.changed:
                self.bytes += data
                self.changed.notify_all()

    def finish(self):
        out = self.process.stdout.read()
        self.reader.join(PATIENCE)
        os.close(self.main)
        self.process.stdout.close()
        self.code = self.process.wait(PATIENCE)
        assert not REPORTS.search(self.text.encode()), self.text
        return out

    def drawn(self):
        """Each state of the line, without colours."""
        plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", self.text)
        return [part.rstrip("\n") for part in plain.replace("\r\n", "\n").split("\r") if part]


STEPS = [
    step("validating"),
    step(total=200),
    step(total=200, completed=90),
    step(total=200, completed=190, failed=4),
    step("finalizing", 200, 196, 4),
    step("completed", 200, 196, 4),
]


@pytest.mark.parametrize("columns", [30, 45, 80, 100, 200])
def test_the_bar(gateway, columns):
    gateway.add_batch(BATCH, STEPS)
    terminal = Terminal(gateway, "show", BATCH, "--wait", columns=columns)
    out = terminal.finish().decode()
    assert terminal.code == 3
    lines = terminal.drawn()
    assert all(len(line.split("\n")[0]) < columns for line in lines), lines
    assert len(lines) > 5
    last = next(line for line in reversed(lines) if "200/200" in line).split("\n")[0]
    assert "4 failed" in last
    if columns >= 80:
        assert "completed" in last and "100%" in last and "/s" in last
        assert any("ETA" in line for line in lines)
        assert "█" in last
    # The line is finished before anything else is written.
    assert terminal.text.count("\x1b[K\r\n") == 1
    assert out.startswith(BATCH)


def test_the_bar_without_colours(gateway):
    gateway.add_batch(BATCH, STEPS)
    terminal = Terminal(gateway, "show", BATCH, "--wait", NO_COLOR=1)
    terminal.finish()
    assert "\x1b[K" in terminal.text
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.text)
    gateway.add_batch(BATCH, STEPS)
    terminal = Terminal(gateway, "show", BATCH, "--wait")
    terminal.finish()
    assert "\x1b[31m4 failed\x1b[0m" in terminal.text


def test_the_bar_in_ascii(gateway):
    gateway.add_batch(BATCH, STEPS)
    terminal = Terminal(gateway, "show", BATCH, "--wait", LC_ALL="C")
    terminal.finish()
    assert terminal.text.isascii()
    assert "#-" in terminal.text


@pytest.mark.parametrize("term", ["dumb", ""])
def test_plain_lines_where_nothing_can_be_drawn(gateway, term):
    gateway.add_batch(BATCH, STEPS)
    terminal = Terminal(gateway, "show", BATCH, "--wait", TERM=term)
    terminal.finish()
    lines = terminal.text.replace("\r\n", "\n")
    assert not re.search(r"[\r\x1b]", lines)
    shown = [line for line in lines.splitlines() if line.startswith(BATCH)]
    # Changes of the status, and hardly more: the numbers alone at most every few seconds.
    assert 4 <= len(shown) <= 6, shown


def test_ctrl_c_on_a_terminal(gateway):
    gateway.add_batch(BATCH, [step("validating"), step(total=200, completed=50)])
    terminal = Terminal(gateway, "show", BATCH, "--wait")
    terminal.read_until("50/200")
    os.write(terminal.main, b"\x03")
    terminal.finish()
    assert terminal.code == 130
    assert re.search(r"\r\n" + BATCH + " goes on in the gateway", terminal.text)


# List, show, cancel, results


def test_list(gateway):
    gateway.add_batch("batch_old", [step("completed", 3, 2, 1)], created=100)
    gateway.add_batch("batch_new", [step(total=5, completed=1)], created=300)
    gateway.add_job("job_mid", "running", created=200)
    lines = jobs(gateway, "list").stdout.decode().splitlines()
    assert lines[0].split() == ["ID", "STATUS", "DONE", "FAILED", "CREATED", "(UTC)", "ENDPOINT"]
    assert [line.split()[0] for line in lines[1:]] == ["batch_new", "job_mid", "batch_old"]
    assert lines[3].split() == ["batch_old", "completed", "3/3", "1", "1970-01-01", "00:01:40", "/v1/chat/completions"]
    assert [line.split()[0] for line in jobs(gateway, "list", "--limit", 2).stdout.decode().splitlines()[1:]] == ["batch_new", "job_mid"]
    found = [json.loads(line) for line in jobs(gateway, "list", "--json").stdout.splitlines()]
    assert [item["id"] for item in found] == ["batch_new", "job_mid", "batch_old"]
    assert [line.split()[0] for line in jobs(gateway, "list", "--status", "completed").stdout.decode().splitlines()[1:]] == ["batch_old"]
    gateway.requests.clear()
    assert "job_mid" in jobs(gateway, "list", "--status", "running").stdout.decode()
    assert not gateway.seen("GET", "/v1/batches")


def test_list_of_many(gateway):
    for i in range(350):
        gateway.add_batch(f"batch_{i:03}", [step("failed" if i % 50 == 0 else "completed", 1, 1)], created=1000 + i)
    assert len(jobs(gateway, "list", "--limit", 250).stdout.splitlines()) == 251
    found = jobs(gateway, "list", "--status", "failed").stdout.decode().splitlines()[1:]
    assert [line.split()[0] for line in found] == [f"batch_{i:03}" for i in range(300, -1, -50)]


def test_show(gateway):
    more = {"model": "m\x1b[2J", "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}}
    gateway.add_batch("batch_x", [step("in_progress", 5, 1, 1, **more)], metadata={"k": "v"})
    said = jobs(gateway, "show", "batch_x").stdout.decode()
    assert said.startswith("batch_x  in_progress\n")
    for line in ["requests   5: 1 completed, 1 failed", "tokens     3 in, 4 out", "created    2026-09-21 14:13:20 UTC", "metadata   k=v"]:
        assert f"  {line}\n" in said
    assert "\x1b" not in said
    shown = json.loads(jobs(gateway, "show", "batch_x", "--json").stdout)
    assert shown["request_counts"]["total"] == 5


def test_show_a_job(gateway):
    gateway.add_job("job_x", "running", progress={"total": 1, "completed": 0, "failed": 0, "tokens": 12})
    assert jobs(gateway, "show", "job_x").stdout.startswith(b"job_x  running\n")
    process = start(gateway, "show", "job_x", "--wait")
    assert "12 tokens" in read_until(process.stderr, "12 tokens")
    gateway.add_job("job_x", "completed", result={"text": "hi"})
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out.startswith(b"job_x  completed\n")


def test_cancel(gateway):
    gateway.add_batch("batch_x", [step(total=2)])
    gateway.add_job("job_x", "running")
    assert jobs(gateway, "cancel", "batch_x").stdout == b"batch_x cancelling\n"
    assert jobs(gateway, "cancel", "job_x").stdout == b"job_x cancelled\n"
    gateway.trouble = [(409,)]
    assert "status 409" in jobs(gateway, "cancel", "batch_x", code=1).stderr.decode()


def test_results_of_jobs(gateway, tmp_path):
    gateway.add_job("job_text", "completed", result={"text": "Bläh"})
    gateway.add_job("job_json", "completed", result={"data": [0.5, 1]})
    gateway.add_job("job_bad", "failed", error={"code": "x", "message": "no"})
    gateway.add_job("job_now", "running")
    assert jobs(gateway, "results", "job_text").stdout.decode() == "Bläh\n"
    assert json.loads(jobs(gateway, "results", "job_json").stdout) == {"data": [0.5, 1]}
    jobs(gateway, "results", "job_text", "--output", tmp_path / "x")
    assert (tmp_path / "x").read_text() == "Bläh\n"
    assert "has no result" in jobs(gateway, "results", "job_bad", code=3).stderr.decode()
    assert json.loads(jobs(gateway, "results", "job_bad", "--errors").stdout)["code"] == "x"
    assert "job_now is running" in jobs(gateway, "results", "job_now", code=1).stderr.decode()


def test_results_of_batches(gateway):
    gateway.add_batch("batch_now", [step(total=2)])
    gateway.add_batch("batch_none", [step("failed")])
    assert "batch_now is in_progress" in jobs(gateway, "results", "batch_now", code=1).stderr.decode()
    assert "has no results" in jobs(gateway, "results", "batch_none", code=3).stderr.decode()


@pytest.mark.parametrize("output", [False, True])
def test_a_download_goes_on_where_it_broke_off(gateway, tmp_path, output):
    content = os.urandom(300_000)
    gateway.add_file("file-out", content)
    gateway.add_batch("batch_x", [step("completed", 2, 2, output_file_id="file-out")])
    gateway.trouble = [None, cut(content, 100_000), (503,), cut(content, 50_000), None]
    target = tmp_path / "x"
    done = jobs(gateway, "results", "batch_x", *(["--output", target] if output else []))
    assert (target.read_bytes() if output else done.stdout) == content


def test_half_a_download_is_no_file(gateway, tmp_path):
    gateway.add_batch("batch_x", [step("completed", 2, 2, output_file_id="file-out")])
    gateway.trouble = [None, cut(OUT, 5), (404,)]
    jobs(gateway, "results", "batch_x", "--output", tmp_path / "x", code=1)
    assert os.listdir(tmp_path) == []


def test_output_that_cannot_be_written(gateway, tmp_path):
    gateway.add_batch("batch_x", [step("completed", 2, 2, output_file_id="file-out")])
    assert "No space left" in jobs(gateway, "results", "batch_x", "--output", "/dev/full", code=1).stderr.decode()
    assert "No such file" in jobs(gateway, "results", "batch_x", "--output", tmp_path / "none" / "x", code=1).stderr.decode()
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary(), "jobs", "results", "batch_x"], stdout=full, stderr=subprocess.PIPE, env=environment(gateway), timeout=PATIENCE)
    assert done.returncode == 1
    assert b"No space left" in done.stderr


# Where, and who


def test_a_unix_socket(tmp_path):
    with JobsFake(path=str(tmp_path / "s")) as fake:
        fake.add_job("job_x", "running")
        assert b"job_x" in jobs(fake, "list").stdout
        assert b"job_x" in jobs(None, "list", "--url", f"unix:{tmp_path}/s").stdout


def test_keys(tmp_path):
    with JobsFake(key=KEY) as fake:
        said = jobs(fake, "list", code=1).stderr.decode()
        assert "the gateway wants a key (PENSTOCK_API_KEY or --key-file): Incorrect API key" in said
        said = jobs(fake, "list", code=1, env={"PENSTOCK_API_KEY": "sk-wrong"}).stderr.decode()
        assert "does not take this key" in said and "sk-wrong" not in said
        jobs(fake, "list", env={"PENSTOCK_API_KEY": KEY})
        path = tmp_path / "key"
        path.write_text(KEY + "\n")
        jobs(fake, "list", "--key-file", path)
        path.write_text("")
        assert "no key" in jobs(fake, "list", "--key-file", path, code=1).stderr.decode()
        path.write_text("a\r\nX-Evil: 1")
        assert "control characters" in jobs(fake, "list", "--key-file", path, code=1).stderr.decode()
        said = jobs(fake, "list", "--key", KEY, code=2).stderr.decode()
        assert "PENSTOCK_API_KEY" in said and KEY not in said


def test_no_proxy_and_no_redirect(gateway):
    gateway.add_job("job_x", "running")
    with JobsFake() as other:
        env = {"http_proxy": other.url, "ALL_PROXY": other.url}
        assert b"job_x" in jobs(gateway, "list", env=env).stdout
        gateway.trouble = [lambda handler: handler.send(b"", 302, [("Location", other.url + "/v1/batches")])]
        jobs(gateway, "list", code=1, env={"PENSTOCK_API_KEY": KEY})
        assert not other.requests


def test_nobody_there(file):
    for arguments in (["list"], ["submit", file], ["cancel", "batch_x"], ["results", "job_x"]):
        done = jobs(None, *arguments, "--url", "http://127.0.0.1:1", code=4)
        assert "no gateway answers at http://127.0.0.1:1" in done.stderr.decode()
    assert "no gateway answers" in jobs(None, "list", "--url", "unix:/nowhere/s", code=4).stderr.decode()


NOT_OURS = {
    "html": lambda handler: handler.send(b"<h1>hello</h1>", content_type="text/html"),
    "html 404": lambda handler: handler.send(b"<h1>what?</h1>", 404, content_type="text/html"),
    "not json": lambda handler: handler.send(b"{", content_type="application/json"),
    "another shape": lambda handler: handler.send({"data": 7}),
    "an array": lambda handler: handler.send([]),
    "empty": lambda handler: handler.send(b""),
    "an error that is none": lambda handler: handler.send({"error": "no"}, 400),
}


@pytest.mark.parametrize("what", NOT_OURS)
@pytest.mark.parametrize("command", [["list"], ["show", "batch_x"], ["results", "batch_x"], ["cancel", "job_x"], ["show", "job_x", "--wait"]])
def test_answers_that_are_not_ours(gateway, what, command):
    gateway.trouble = [NOT_OURS[what]]
    assert "does not speak like Penstock" in jobs(gateway, *command, code=1).stderr.decode()


@pytest.mark.parametrize("what", NOT_OURS)
def test_uploads_to_somebody_else(gateway, file, what):
    gateway.trouble = [NOT_OURS[what]]
    assert "does not speak like Penstock" in jobs(gateway, "submit", file, code=1).stderr.decode()


def test_garbage(gateway):
    gateway.trouble = [lambda handler: (handler.wfile.write(b"SSH-2.0-x\r\n"), hang_up(handler))]
    jobs(gateway, "list", code=1)


# The command line


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "usage:"),
        (["frobnicate"], "no such command: frobnicate"),
        (["submit"], "there is missing: FILE"),
        (["show"], "there is missing: ID"),
        (["show", "x_1"], "is no id"),
        (["show", "batch_"], "is no id"),
        (["cancel", "batch_a/../../v1/files"], "is no id"),
        (["results", "job_a?x=1"], "is no id"),
        (["list", "what"], "what is this for: what"),
        (["show", "batch_a", "b"], "what is this for: b"),
        (["list", "--limit", "0"], "--limit"),
        (["list", "--limit", "x"], "--limit"),
        (["list", "--status", "ready"], "no such status"),
        (["list", "--wait"], "unrecognized option"),
        (["submit", "x", "--output", "y"], "needs --wait"),
        (["submit", "x", "--metadata", "k"], "KEY=VALUE"),
        (["list", "--url", "ftp://x"], "expected http://"),
        (["list", "--url", "unix:relative"], "expected unix:/path"),
        (["list", "--url", "http://user:pass@x"], "more than scheme"),
    ],
)
def test_usage(arguments, said):
    assert said in jobs(None, *arguments, code=2).stderr.decode()


@pytest.mark.parametrize("command", [[], ["submit"], ["list"], ["show"], ["cancel"], ["results"]])
def test_help(command):
    said = jobs(None, *command, "--help").stdout.decode()
    assert said.startswith("usage: penstock jobs")
    assert "PENSTOCK_URL" in said and "exit codes" in said
