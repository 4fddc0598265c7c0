# SPDX-License-Identifier: Apache-2.0
# ctest-labels: threads
"""SIGTERM and SIGINT: accept no more, finish what runs, end with 0. A second signal ends at once."""

import json
import signal
import socket

import pytest

from support import fake as up
from support.gateway import config

JSON = [("Content-Type", "application/json")]
CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()


def running_stream(gateway, fake):
    """A stream that has begun: (connection, answer, the gate that lets it end)."""
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, up.delta("b"), up.FINISH, up.DONE, "finish"))
    connection = gateway.connect()
    gateway.open_chat(connection)
    answer = connection.read_head()
    connection.read_events(answer, 2)
    return connection, answer, gate


def wait_refused(gateway):
    """Until nobody accepts there any more."""
    for _ in range(100_000):
        try:
            gateway.connect().close()
        except (ConnectionRefusedError, ConnectionResetError):
            return
    raise AssertionError("still accepting")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_it_ends_with_0(fake, gateway, number):
    assert gateway.get("/health").status == 200
    gateway.signal(number)
    gateway.stop()


def test_before_the_first_request_it_ends_with_0(fake, gateway):
    gateway.terminate()
    gateway.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_stream_is_finished(fake, gateway, number):
    connection, answer, gate = running_stream(gateway, fake)
    gateway.signal(number)
    wait_refused(gateway)
    gate.open()
    connection.read_body(answer)
    assert answer.body == up.ROLE + up.delta("a") + up.delta("b") + up.FINISH + up.DONE
    assert connection.wait_end() == "fin"
    assert gateway.wait_exit() == 0
    connection.close()


def test_a_running_whole_answer_is_finished(fake, gateway):
    gate = up.Gate()
    fake.then(
        up.script(gate, json.dumps(up.chat_answer()).encode(), "finish", content_type="application/json")
    )
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON, BODY)
        fake.wait_requests(1)
        gateway.terminate()
        wait_refused(gateway)
        gate.open()
        answer = connection.read_response()
        assert answer.status == 200
        assert not answer.keeps_alive
        assert connection.wait_end() == "fin"
    assert gateway.wait_exit() == 0


def test_a_request_whose_body_still_comes_is_finished(fake, gateway):
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Content-Length", str(len(BODY)))])
        connection.send(BODY[:10])
        gateway.terminate()
        wait_refused(gateway)
        connection.send(BODY[10:])
        assert connection.read_response().status == 200
    assert gateway.wait_exit() == 0


def test_idle_connections_are_closed(fake, gateway):
    connection, answer, gate = running_stream(gateway, fake)
    with gateway.connect() as idle:
        idle.request("GET", "/health")
        assert idle.read_response().keeps_alive
        gateway.terminate()
        assert idle.wait_end() == "fin"
    gate.open()
    connection.read_body(answer)
    connection.close()


def test_ready_says_503_while_draining_and_live_200(fake, gateway):
    """Asked on connections whose request has begun before the signal, since no new ones are accepted."""
    connection, answer, gate = running_stream(gateway, fake)
    with gateway.connect() as first, gateway.connect() as second:
        first.send(b"GET /health/ready HTTP/1.1\r\nHost: loc")
        second.send(b"GET /health/live HTTP/1.1\r\nHost: loc")
        # Both heads have been seen to begin when a later request on another connection has its answer.
        assert gateway.get("/health").status == 200
        gateway.terminate()
        wait_refused(gateway)
        first.send(b"alhost\r\n\r\n")
        second.send(b"alhost\r\n\r\n")
        assert first.read_response().status == 503
        assert second.read_response().status == 200
    gate.open()
    connection.read_body(answer)
    connection.close()
    assert gateway.wait_exit() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(fake, gateway, second):
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gateway.terminate()
        wait_refused(gateway)
        gateway.signal(second)
        connection.read_cut(answer)
    assert gateway.wait_exit() == 0
    fake.last.gone.wait()


def test_drain_timeout_ends_what_still_runs(fake, start):
    gateway = start(config(fake, limits={"drain_timeout": "300ms"}))
    connection, answer, _ = running_stream(gateway, fake)
    gateway.terminate()
    data, _ = connection.read_cut(answer)
    assert b"[DONE]" not in data
    connection.close()
    assert gateway.wait_exit() == 0
    gateway.wait_log(msg="request", end="shutdown")


def test_a_client_that_never_reads_does_not_hold_the_drain(fake, start):
    gateway = start(config(fake, limits={"drain_timeout": "500ms"}))
    body = json.dumps(up.chat_answer("x" * 20_000_000)).encode()
    fake.then(up.whole(body))
    with gateway.connect(receive_buffer=16384) as connection:
        connection.request("POST", CHAT, JSON, BODY)
        fake.wait_requests(1)
        gateway.terminate()
        assert gateway.wait_exit() == 0


def test_several_loops_drain_together(fake, start):
    gateway = start(config(fake, workers={"event_loops": 3}))
    streams = [running_stream(gateway, fake) for _ in range(6)]
    gateway.terminate()
    wait_refused(gateway)
    for connection, answer, gate in streams:
        gate.open()
        connection.read_body(answer)
        assert answer.body.endswith(up.DONE)
        connection.close()
    assert gateway.wait_exit() == 0


def test_it_can_start_again_on_the_same_port_at_once(fake, start):
    first = start(config(fake))
    port = first.address[1]
    with first.connect() as connection:
        connection.request("GET", "/health")
        connection.read_response()
        first.stop()
    second = start(config(fake, listen=[{"address": f"127.0.0.1:{port}"}]))
    assert second.address[1] == port
    assert second.get("/health").status == 200


def test_a_port_in_use_is_one_clear_line(fake, start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        gateway = start(config(fake, listen=[{"address": f"127.0.0.1:{port}"}]), wait=False)
        assert gateway.wait_exit() == 1
        told = gateway.raw_log.decode()
        assert str(port) in told
        assert len(told.strip().splitlines()) == 1, told
        gateway.stopped = True


def test_two_gateways_do_not_share_a_port_in_silence(fake, start):
    first = start(config(fake))
    second = start(config(fake, listen=[{"address": f"127.0.0.1:{first.address[1]}"}]), wait=False)
    assert second.wait_exit() == 1
    second.stopped = True
    assert first.get("/health").status == 200
