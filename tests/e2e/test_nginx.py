# SPDX-License-Identifier: Apache-2.0
"""The real nginx in front, with config/nginx.conf. Only what a test machine has otherwise is replaced:
ports, paths and the user."""

import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from support import fake as up
from support.gateway import config
from support.raw import PATIENCE, Connection, events

JSON = [("Content-Type", "application/json")]
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
TEMPLATE = os.path.join(os.path.dirname(__file__), "..", "..", "config", "nginx.conf")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def replace_once(text, pattern, value):
    text, count = re.subn(pattern, value, text)
    assert count == 1, f"{pattern} is not once in config/nginx.conf"
    return text


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


class Nginx:
    """The process. `upstream`: "127.0.0.1:PORT" or "unix:/path"."""

    def __init__(self, upstream):
        self.folder = tempfile.mkdtemp(prefix="penstock-nginx-")
        self.port = free_port()
        with open(TEMPLATE) as file:
            text = file.read()
        text = replace_once(text, r"(?m)^user .*;", f"user {getpass.getuser()};" if os.getuid() == 0 else "")
        text = replace_once(text, r"/run/nginx\.pid", "nginx.pid")
        text = replace_once(text, r"/var/log/nginx/error\.log", "stderr")
        text = replace_once(text, r"worker_processes auto;", "worker_processes 1;")
        text = replace_once(text, r"worker_rlimit_nofile \d+;", "")
        text = replace_once(text, r"worker_connections \d+;", "worker_connections 256;")
        text = replace_once(text, r"(?m)^ *server 127\.0\.0\.1:8080;", f"server {upstream};")
        text = replace_once(text, r"listen 80;", f"listen 127.0.0.1:{self.port};")
        text = replace_once(text, r"listen \[::\]:80;", "")
        temporary = "".join(
            f"{name}_temp_path {name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = replace_once(text, r"http \{\n", "http {\n" + temporary)
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(text)
        command = [NGINX, "-p", self.folder, "-c", path, "-e", "stderr", "-g", "daemon off;"]
        self.errors = open(os.path.join(self.folder, "errors"), "wb")
        self.process = subprocess.Popen(command, stderr=self.errors, stdout=subprocess.DEVNULL)
        self._wait()

    def _wait(self):
        import time

        end = time.monotonic() + PATIENCE
        while True:
            try:
                Connection(self.address).close()
                return
            except ConnectionRefusedError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"nginx does not start: {self.told()}") from None

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def told(self):
        with open(os.path.join(self.folder, "errors")) as file:
            return file.read()

    def connect(self, **how):
        return Connection(self.address, **how)

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)


pytestmark = pytest.mark.skipif(not NGINX, reason="no nginx here")


@pytest.fixture(scope="module", params=["tcp", "unix"])
def both(request):
    """(nginx, gateway, fake) over either kind of upstream; one set for all tests of that kind."""
    from support.gateway import Gateway

    with up.Fake() as fake, tempfile.TemporaryDirectory(prefix="penstock-sock-") as folder:
        address = "127.0.0.1:0" if request.param == "tcp" else f"unix:{folder}/penstock.sock"
        trusted = ["127.0.0.1"] if request.param == "tcp" else ["unix"]
        settings = config(fake, listen=[{"address": address}], trusted_proxies=trusted)
        with Gateway(settings) as gateway:
            upstream = f"127.0.0.1:{gateway.address[1]}" if request.param == "tcp" else address
            nginx = Nginx(upstream)
            try:
                yield nginx, gateway, fake
            finally:
                nginx.stop()


@pytest.fixture
def served(both):
    both[2].forget()
    return both


def test_a_whole_answer(served):
    nginx, _, fake = served
    with nginx.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Host", "api.example.com")], BODY)
        answer = connection.read_response()
        assert answer.status == 200
        assert answer.json()["choices"][0]["message"]["content"] == "Hello"
        assert answer.headers.get("x-request-id")
        assert answer.headers.get("x-penstock-provider") == "up"


def test_each_event_comes_without_delay(served):
    nginx, _, fake = served
    gates = [up.Gate() for _ in range(3)]
    steps = [up.ROLE]
    for number, gate in enumerate(gates):
        steps += [up.delta(f"t{number}"), gate]
    fake.then(up.script(*steps, up.FINISH, up.DONE, "finish"))
    with nginx.connect() as connection:
        connection.request(
            "POST",
            CHAT,
            JSON,
            json.dumps(
                {"model": "m", "stream": True, "messages": [{"role": "user", "content": "a"}]}
            ).encode(),
        )
        answer = connection.read_head()
        assert answer.headers.get("content-type").split(";")[0] == "text/event-stream"
        connection.read_events(answer, 2)
        for number, gate in enumerate(gates):
            gate.open()
            if number < 2:
                assert connection.read_events(answer, 1) == up.delta(f"t{number + 1}")
        connection.read_body(answer)
        assert answer.body.endswith(up.DONE)


def test_bare_text_comes_without_delay(served):
    nginx, _, fake = served
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("Blue "), gate, up.delta("sky"), up.FINISH, up.DONE, "finish"))
    with nginx.connect() as connection:
        connection.request(
            "POST", "/generate", [("Accept", "text/plain"), ("Content-Type", "text/plain")], b"Why?"
        )
        answer = connection.read_head()
        assert connection.read_piece(answer) == b"Blue "
        gate.open()
        connection.read_body(answer)
        assert answer.body == b"sky"


def test_a_cut_is_seen_as_a_cut(served):
    nginx, _, fake = served
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, "fin"))
    with nginx.connect() as connection:
        connection.request(
            "POST",
            CHAT,
            JSON,
            json.dumps(
                {"model": "m", "stream": True, "messages": [{"role": "user", "content": "a"}]}
            ).encode(),
        )
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gate.open()
        rest, _ = connection.read_cut(answer)
    assert events(rest)[-1]["error"]["code"] == "stream_incomplete"


def test_errors_are_penstocks_own(served):
    nginx, _, fake = served
    with nginx.connect() as connection:
        connection.request("GET", "/nope")
        answer = connection.read_response()
        assert answer.status == 404
        assert answer.error["code"] == "not_found"
        connection.request("POST", CHAT, JSON, b"{")
        assert connection.read_response().error["code"] == "invalid_json"
    fake.then(up.error(500, "theirs"))
    with nginx.connect() as connection:
        connection.request("POST", CHAT, JSON, BODY)
        answer = connection.read_response()
        assert answer.status == 500
        assert answer.error["message"] == "theirs"
    assert len(fake.requests) == 1


def test_the_log_has_the_clients_address(served):
    nginx, gateway, _ = served
    with nginx.connect(source=("127.0.0.2", 0)) as connection:
        connection.request("POST", CHAT, JSON + [("X-Forwarded-For", "6.6.6.6")], BODY)
        answer = connection.read_response()
    # What the client says of itself does not count; what nginx saw does.
    assert gateway.line_of(answer)["client"] == "127.0.0.2"


def test_a_client_that_leaves_ends_the_upstream_call(served):
    nginx, _, fake = served
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    connection = nginx.connect()
    connection.request(
        "POST",
        CHAT,
        JSON,
        json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "a"}]}).encode(),
    )
    connection.read_events(connection.read_head(), 2)
    connection.close()
    fake.last.gone.wait()


def test_a_long_silence_before_the_answer_is_no_error(served):
    """Longer than nginx's own minute would take too long here: what counts is that the file says so."""
    with open(TEMPLATE) as file:
        wait = int(re.search(r"proxy_read_timeout (\d+)s;", file.read()).group(1))
    assert wait > 600


def test_connections_to_penstock_are_kept(served):
    nginx, gateway, _ = served
    counted = lambda: gateway.metric("penstock_connections_total")  # noqa: E731
    with nginx.connect() as connection:
        connection.request("GET", "/health")
        connection.read_response()
        before = counted()
        for _ in range(20):
            connection.request("POST", CHAT, JSON, BODY)
            assert connection.read_response().status == 200
        # The question itself takes one.
        assert counted() - before <= 2


def test_a_large_body_passes(served):
    nginx, _, fake = served
    text = "é" * 1_000_000
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    with nginx.connect() as connection:
        connection.request("POST", CHAT, JSON, body)
        assert connection.read_response().status == 200
    assert fake.last.json()["messages"][0]["content"] == text


def test_a_chunked_body_passes(served):
    nginx, _, fake = served
    with nginx.connect() as connection:
        connection.request(
            "POST",
            CHAT,
            JSON + [("Transfer-Encoding", "chunked")],
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        )
        assert connection.read_response().status == 200
    assert fake.last.json()["messages"] == [{"role": "user", "content": "a"}]


def test_metrics_are_for_this_machine(served):
    nginx, _, _ = served
    with nginx.connect() as connection:
        connection.request("GET", "/metrics")
        assert b"penstock_requests_total" in connection.read_response().body
    with nginx.connect(source=("127.0.0.2", 0)) as connection:
        connection.request("GET", "/metrics")
        assert connection.read_response().status == 403


def test_forwarded_addresses_of_strangers_are_not_believed(fake, start):
    """The same without trusted_proxies: neither the address nor the Host of others counts."""
    gateway = start(config(fake))
    answer = gateway.chat(headers=[("X-Forwarded-For", "6.6.6.6")])
    assert gateway.line_of(answer)["client"] == "127.0.0.1"
    assert gateway.chat(headers=[("Host", "api.example.com")]).status == 403


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "header, client",
    [
        ("6.6.6.6", "6.6.6.6"),
        ("1.1.1.1, 6.6.6.6", "6.6.6.6"),
        ("2001:db8::1", "2001:db8::1"),
        ("nonsense", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("6.6.6.6, ", "127.0.0.1"),
        ("6.6.6.6\t", "6.6.6.6"),
    ],
)
def test_forwarded_addresses_of_the_trusted_are_believed(fake, start, trusted, header, client):
    gateway = start(config(fake, trusted_proxies=[trusted]))
    answer = gateway.chat(headers=[("X-Forwarded-For", header)])
    assert gateway.line_of(answer)["client"] == client


def test_another_network_is_not_trusted(fake, start):
    gateway = start(config(fake, trusted_proxies=["10.0.0.0/8", "::1", "unix"]))
    answer = gateway.chat(headers=[("X-Forwarded-For", "6.6.6.6")])
    assert gateway.line_of(answer)["client"] == "127.0.0.1"
