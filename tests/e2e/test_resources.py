# SPDX-License-Identifier: Apache-2.0
"""When descriptors run out: clear answers or closed connections, no spinning, and all is well afterwards."""

import os
import resource

import pytest

from support import fake as up
from support.raw import Cut


def leave_room(gateway, count):
    """The process may have only `count` more descriptors than now."""
    _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (gateway.descriptors() + count, hard))


def cpu_seconds(gateway):
    with open(f"/proc/{gateway.process.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask_health(connection):
    """True: answered; False: refused by closing."""
    try:
        connection.request("GET", "/health/live")
        return connection.read_response().status == 200
    except (Cut, BrokenPipeError, ConnectionResetError):
        return False


def test_without_descriptors_new_clients_are_closed_not_left_hanging(fake, gateway):
    assert gateway.chat().status == 200
    leave_room(gateway, 8)
    connections = [gateway.connect() for _ in range(40)]
    answered = [ask_health(connection) for connection in connections]
    assert answered.count(True) >= 1
    assert answered.count(False) >= 1
    # Those inside still work, and nobody spins in accept.
    inside = connections[answered.index(True)]
    before = cpu_seconds(gateway)
    for _ in range(50):
        assert ask_health(inside)
    assert cpu_seconds(gateway) - before < 2
    for connection in connections:
        connection.close()
    for _ in range(1000):
        try:
            if gateway.get("/health/live").status == 200:
                break
        except (Cut, ConnectionResetError):
            continue
    for _ in range(5):
        assert gateway.chat().status == 200


def test_an_accept_that_waits_for_descriptors_does_not_spin(fake, gateway):
    leave_room(gateway, 4)
    connections = [gateway.connect() for _ in range(20)]
    for connection in connections:
        ask_health(connection)
    before = cpu_seconds(gateway)
    pending = [gateway.connect() for _ in range(20)]
    for connection in pending:
        ask_health(connection)
    assert cpu_seconds(gateway) - before < 2
    for connection in connections + pending:
        connection.close()


@pytest.mark.parametrize("stream", [False, True])
def test_without_descriptors_for_an_upstream_there_is_an_error(fake, gateway, stream):
    with gateway.connect() as connection:
        assert ask_health(connection)
        leave_room(gateway, 0)
        gateway.open_chat(connection, stream=stream)
        answer = connection.read_response()
        assert answer.status in (502, 503), answer
        assert answer.error["message"]
        leave_room(gateway, 100)
        gateway.open_chat(connection, stream=stream)
        assert connection.read_response().status == 200


def test_many_streams_at_once(fake, gateway):
    """Many clients, each with a stream of its own that is open at the same time as all others."""
    gate = up.Gate()

    def handler(exchange):
        exchange.sse()
        exchange.write(up.ROLE + up.delta(exchange.request.json()["messages"][0]["content"]))
        exchange.wait(gate)
        exchange.write(up.FINISH + up.DONE)
        exchange.finish()

    fake.always(handler)
    connections = []
    for number in range(250):
        connection = gateway.connect()
        gateway.open_chat(connection, messages=[{"role": "user", "content": f"<{number}>"}])
        connections.append(connection)
    answers = [connection.read_head() for connection in connections]
    for number, (connection, answer) in enumerate(zip(connections, answers)):
        assert connection.read_events(answer, 2) == up.ROLE + up.delta(f"<{number}>")
    assert gateway.metric("penstock_requests_in_flight", door="chat") == 250
    assert gateway.get("/health/live").status == 200
    gate.open()
    for connection, answer in zip(connections, answers):
        connection.read_body(answer)
        assert answer.body.endswith(up.DONE)
        connection.close()
