# SPDX-License-Identifier: Apache-2.0
"""Listening on a Unix socket."""

import json
import os
import signal
import socket
import stat
import tempfile

import pytest

from support import fake as up
from support.gateway import config
from support.raw import Connection, events

JSON = [("Content-Type", "application/json")]
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()


@pytest.fixture
def path():
    """Of a socket. Not in pytest's folders: a socket's path has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        yield os.path.join(folder, "p.sock")


def on(fake, path, **more):
    return config(fake, listen=[{"address": f"unix:{path}"}], **more)


def ask(path, method="POST", target="/v1/chat/completions", headers=JSON, body=BODY):
    with Connection(path) as connection:
        connection.request(method, target, headers, body)
        return connection.read_response()


def test_it_answers_and_says_where(fake, start, path):
    gateway = start(on(fake, path))
    assert gateway.listening == [f"unix:{path}"]
    assert ask(path).status == 200


def test_streams_and_disconnects(fake, start, path):
    start(on(fake, path))
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    connection = Connection(path)
    connection.request("POST", "/v1/chat/completions", JSON, BODY[:-1] + b',"stream":true}')
    assert len(events(connection.read_events(connection.read_head(), 2))) == 2
    connection.close()
    fake.last.gone.wait()


def test_any_host_is_welcome(fake, start, path):
    """Names do not lead to a socket file: there is nothing to rebind."""
    start(on(fake, path))
    assert ask(path, headers=JSON + [("Host", "api.example.com")]).status == 200


def test_a_foreign_origin_is_still_refused(fake, start, path):
    start(on(fake, path))
    assert ask(path, headers=JSON + [("Origin", "https://evil.example")]).status == 403


def test_keys_are_asked_for(fake, start, path):
    start(on(fake, path, auth={"keys": [{"name": "a", "key_file": "key"}]}), files={"key": "sesame"})
    assert ask(path).status == 401
    assert ask(path, headers=JSON + [("x-api-key", "sesame")]).status == 200


def test_others_may_not_connect(fake, start, path):
    start(on(fake, path))
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o007 == 0


def test_the_file_goes_with_the_process(fake, start, path):
    gateway = start(on(fake, path))
    gateway.stop()
    assert not os.path.exists(path)


def test_a_file_left_over_is_replaced(fake, start, path):
    gateway = start(on(fake, path))
    gateway.signal(signal.SIGKILL)
    gateway.process.wait()
    gateway.stopped = True
    gateway.kill()
    assert os.path.exists(path)
    start(on(fake, path))
    assert ask(path).status == 200


def test_a_socket_in_use_is_left_alone(fake, start, path):
    start(on(fake, path))
    second = start(on(fake, path), wait=False)
    assert second.wait_exit() == 1
    second.stopped = True
    assert path in second.raw_log.decode()
    assert ask(path).status == 200


def test_a_file_that_is_no_socket_is_left_alone(fake, start, path):
    with open(path, "w") as file:
        file.write("precious")
    gateway = start(on(fake, path), wait=False)
    assert gateway.wait_exit() == 1
    gateway.stopped = True
    with open(path) as file:
        assert file.read() == "precious"


def test_several_loops_share_the_socket(fake, start, path):
    gateway = start(on(fake, path, workers={"event_loops": 2}))
    for _ in range(20):
        assert ask(path).status == 200
    gateway.stop()


def test_socket_and_port_together(fake, start, path):
    gateway = start(config(fake, listen=[{"address": f"unix:{path}"}, {"address": "127.0.0.1:0"}]))
    assert ask(path).status == 200
    with Connection(gateway.address_of(1)) as connection:
        connection.request("GET", "/health")
        assert connection.read_response().status == 200


def test_the_log_names_the_peer(fake, start, path):
    gateway = start(on(fake, path))
    assert gateway.line_of(ask(path))["client"]


def test_x_forwarded_for_over_the_socket(fake, start, path):
    gateway = start(on(fake, path, trusted_proxies=["unix"]))
    assert gateway.line_of(ask(path, headers=JSON + [("X-Forwarded-For", "6.6.6.6")]))["client"] == "6.6.6.6"


def test_a_drain_refuses_new_connections(fake, start, path):
    gateway = start(on(fake, path))
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    with Connection(path) as connection:
        connection.request("POST", "/v1/chat/completions", JSON, BODY[:-1] + b',"stream":true}')
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gateway.terminate()
        gateway.wait_for(lambda: gateway.find_log(msg="draining"))
        for _ in range(10_000):
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            probe.settimeout(5)
            try:
                probe.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                break
            finally:
                probe.close()
        else:
            raise AssertionError("still accepting")
        gate.open()
        connection.read_body(answer)
    assert gateway.wait_exit() == 0
