# SPDX-License-Identifier: Apache-2.0
"""Other people's servers: Python programs of tests/e2e/servers/ in virtual environments of their own."""

import os
import signal
import socket
import subprocess
import tempfile

import pytest

E2E = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(os.path.dirname(os.path.dirname(E2E)), "build")


def python_of(venv):
    return os.path.join(BUILD, venv, "bin", "python")


def needs_venv(venv):
    """A mark: skipped unless `scripts/setup --servers` could make it."""
    made = os.path.exists(os.path.join(BUILD, venv, "requirements.installed"))
    return pytest.mark.skipif(not made, reason=f"there is no build/{venv}: scripts/setup --servers")


def free_ports(count):
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Server:
    """A program that says "ready" when it is, and ends when its stdin does. Its arguments are free ports;
    its home is a new folder, as some write there."""

    def __init__(self, venv, program, ports=1):
        self.ports = free_ports(ports)
        self.home = tempfile.TemporaryDirectory(prefix="penstock-server-")
        self.output = open(os.path.join(self.home.name, "output"), "wb+")
        self.process = subprocess.Popen(
            [python_of(venv), os.path.join(E2E, "servers", program), *map(str, self.ports)],
            cwd=self.home.name,
            env={**os.environ, "HOME": self.home.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.output,
            start_new_session=True,
            text=True,
        )

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports[0]}"

    def __enter__(self):
        for line in self.process.stdout:
            if line == "ready\n":
                return self
        self.output.seek(0)
        words = self.output.read()[-4000:].decode("utf-8", "replace")
        self.__exit__()
        raise AssertionError(f"the server did not start: {words}")

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()
        self.output.close()
        self.home.cleanup()
