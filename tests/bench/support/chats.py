# SPDX-License-Identifier: Apache-2.0
"""Clients that chat: a number of them at once, each one request after the other, in one thread with
little work for each event, so that they leave the processors to the server."""

import dataclasses
import json
import re
import selectors
import socket
import time

USAGE = re.compile(rb'"completion_tokens":\s*(\d+)')
TEXT = re.compile(rb'"content":\s*"[^"]')  # of the first event that has any
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.I)
PATIENCE = 120.0


def request(path, body, port):
    text = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


@dataclasses.dataclass
class Told:
    seconds: float = 0.0
    tokens: int = 0
    answers: int = 0
    bad: int = 0
    first: list = dataclasses.field(default_factory=list)  # seconds to the first text, of streams


class Client:
    def __init__(self, load):
        self.load = load
        self.left = load.each
        self.sock = None

    def begin(self):
        """The next request, on the same connection where the server keeps it."""
        self.left -= 1
        self.bytes = self.load.requests.pop()
        self.send()

    def send(self):
        self.reused = self.sock is not None
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.load.port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.load.selector.register(self.sock, selectors.EVENT_READ, self)
        self.got = b""
        self.first = None
        self.start = time.perf_counter()
        self.sock.sendall(self.bytes)

    def drop(self):
        if self.sock is not None:
            self.load.selector.unregister(self.sock)
            self.sock.close()
            self.sock = None

    def read(self):
        """True when the answer has come to its end."""
        data = self.sock.recv(65536)
        self.got += data
        if self.load.stream and self.first is None and TEXT.search(self.got):
            self.first = time.perf_counter() - self.start
        if not data and not self.got and self.reused:
            # It closes connections that it called kept: from here on each request gets its own.
            self.load.closes = True
            self.drop()
            self.send()
            return False
        if not data:
            self.drop()
            return True
        if self.load.stream and self.got.endswith(b"0\r\n\r\n") and b"[DONE]" in self.got[-40:]:
            return True
        head, found, body = self.got.partition(b"\r\n\r\n")
        length = LENGTH.search(head) if found else None
        return length is not None and len(body) >= int(length[1])

    def take(self):
        told = self.load.told
        usage = USAGE.findall(self.got)
        whole = b"data: [DONE]" in self.got if self.load.stream else bool(usage)
        if whole and usage and self.got.startswith(b"HTTP/1.1 200"):
            told.answers += 1
            told.tokens += int(usage[-1])
            if self.first is not None:
                told.first.append(self.first)
        else:
            told.bad += 1
        if self.load.closes or b"\r\nconnection: close" in self.got[:1000].lower():
            self.drop()


class Load:
    """`clients` at once, each with its share of these requests, one after the other."""

    def __init__(self, port, path, bodies, clients):
        self.port = port
        self.stream = bool(bodies[0].get("stream"))
        self.requests = [request(path, body, port) for body in bodies]
        self.each = len(bodies) // clients
        self.closes = False
        self.selector = selectors.DefaultSelector()
        self.clients = [Client(self) for _ in range(clients)]
        self.told = Told()

    def run(self):
        began = time.perf_counter()
        for client in self.clients:
            client.begin()
        busy = len(self.clients)
        while busy:
            ready = self.selector.select(PATIENCE)
            if not ready:
                raise SystemExit(f"bench: no answer within {PATIENCE:.0f} s")
            for key, _ in ready:
                client = key.data
                if client.read():
                    client.take()
                    if client.left:
                        client.begin()
                    else:
                        client.drop()
                        busy -= 1
        self.told.seconds = time.perf_counter() - began
        self.selector.close()
        return self.told


class Stream:
    """One long answer, read by hand. Whole ones are only asked for."""

    def __init__(self, port, path, body):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(PATIENCE)
        self.sock.sendall(request(path, body, port))

    def wait_text(self):
        got = b""
        while not TEXT.search(got):
            data = self.sock.recv(65536)
            if not data:
                raise SystemExit("bench: a stream ended before its first text")
            got += data

    def drain(self):
        """Reads what is there, so that nobody has to wait for us."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(65536):
                pass
        except BlockingIOError:
            pass

    def close(self):
        self.sock.close()
