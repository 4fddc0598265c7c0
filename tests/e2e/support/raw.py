# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 by hand: what is sent is exactly what the test wrote, what is read is kept byte for byte."""

import json
import socket
import ssl
import struct

# No answer takes this long; a test that gets here has failed.
PATIENCE = 30.0


class Cut(Exception):
    """The connection ended before the message did. `how`: "fin" or "rst"; `got`: the bytes so far."""

    def __init__(self, how, got=b""):
        super().__init__(f"connection ended early ({how}) after {got[-200:]!r}")
        self.how = how
        self.got = got


class Headers(list):
    """(name, value) pairs of str in the order they came."""

    def all(self, name):
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def __contains__(self, name):
        return bool(self.all(name))

    def names(self):
        return {key.lower() for key, _ in self}


def parse_headers(lines):
    headers = Headers()
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise AssertionError(f"header without colon: {line!r}")
        headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return headers


class Response:
    def __init__(self, head):
        first, *rest = head[:-4].split(b"\r\n")
        parts = first.split(b" ", 2)
        assert parts[0] in (b"HTTP/1.1", b"HTTP/1.0"), first
        self.raw_head = head
        self.status = int(parts[1])
        self.headers = parse_headers(rest)
        self.body = b""
        self.chunks = []  # the pieces of a chunked body as they were framed
        self.framing = "none"

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error object of an answer in OpenAI's shape."""
        assert self.headers.get("content-type", "").split(";")[0] == "application/json", (
            self.headers,
            self.body,
        )
        error = self.json()["error"]
        assert isinstance(error["message"], str) and error["message"]
        assert isinstance(error["type"], str) and error["type"]
        assert "param" in error and "code" in error
        return error

    @property
    def keeps_alive(self):
        return "close" not in self.headers.get("connection", "").lower()

    def __repr__(self):
        return f"<{self.status} {self.headers!r} {self.body[:500]!r}>"


class Connection:
    """One connection. `address`: (host, port) or the path of a Unix socket."""

    def __init__(self, address, tls=None, server_name=None, source=None, receive_buffer=None):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        if source:
            self.sock.bind(source)
        self.sock.connect(address)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_name or "localhost")
        self.buffer = b""
        self.host = "localhost" if isinstance(address, str) else f"{address[0]}:{address[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data)

    def send_until_refused(self, data):
        """As much as the peer takes; true when all went out."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def request(self, method, path, headers=(), body=None, version="1.1", host=True):
        """Sends a request; Host and Content-Length are added where not given."""
        names = {name.lower() for name, _ in headers}
        lines = [f"{method} {path} HTTP/{version}"]
        if host and "host" not in names:
            lines.append(f"Host: {self.host}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def receive(self):
        """Some more bytes into the buffer; Cut at the end of input."""
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            raise Cut("rst", self.buffer) from None
        except ssl.SSLEOFError:
            raise Cut("fin", self.buffer) from None
        if not data:
            raise Cut("fin", self.buffer)
        self.buffer += data

    def read_until(self, mark):
        while mark not in self.buffer:
            self.receive()
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    def read_exactly(self, size):
        while len(self.buffer) < size:
            self.receive()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_head(self):
        head = self.read_until(b"\r\n\r\n")
        assert b"\n" not in head.replace(b"\r\n", b""), head
        return Response(head)

    def read_chunk(self):
        """The next chunk's bytes; None for the last chunk (its trailer section is read too)."""
        line = self.read_until(b"\r\n")[:-2]
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while self.read_until(b"\r\n") != b"\r\n":
                pass
            return None
        data = self.read_exactly(size)
        assert self.read_exactly(2) == b"\r\n"
        return data

    def read_body(self, response, method="GET"):
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            return response
        if "chunked" in response.headers.get("transfer-encoding", ""):
            assert "content-length" not in response.headers
            response.framing = "chunked"
            while (chunk := self.read_chunk()) is not None:
                response.chunks.append(chunk)
                response.body += chunk
        elif "content-length" in response.headers:
            response.framing = "length"
            response.body = self.read_exactly(int(response.headers.get("content-length")))
        else:
            response.framing = "close"
            response.body = self.read_to_end()
        return response

    def read_response(self, method="GET"):
        """The next final response, whole; interim ones are passed over."""
        response = self.read_head()
        while 100 <= response.status < 200:
            response = self.read_head()
        return self.read_body(response, method)

    def read_piece(self, response):
        """Body bytes of a running answer as they come: a chunk, or what a close-delimited body has."""
        if "chunked" in response.headers.get("transfer-encoding", ""):
            return self.read_chunk()
        if not self.buffer:
            try:
                self.receive()
            except Cut as cut:
                if cut.how == "fin":
                    return None
                raise
        data, self.buffer = self.buffer, b""
        return data

    def read_events(self, response, count):
        """Pieces until `count` SSE events (ended by an empty line) have come; the bytes of them all."""
        data = b""
        while data.count(b"\n\n") < count:
            piece = self.read_piece(response)
            if piece is None:
                raise AssertionError(f"stream ended after {data!r}, {count} events wanted")
            data += piece
        response.body += data
        return data

    def read_cut(self, response):
        """Reads a body that is expected to break off: the bytes before, and how it ended."""
        data = b""
        try:
            while (piece := self.read_piece(response)) is not None:
                data += piece
        except Cut as cut:
            response.body += data
            return data, cut.how
        raise AssertionError(f"the body was finished cleanly: {data[-300:]!r}")

    def read_to_end(self):
        while True:
            try:
                self.receive()
            except Cut as cut:
                if cut.how == "rst":
                    raise
                data, self.buffer = self.buffer, b""
                return data

    def wait_end(self):
        """Waits until the peer ends the connection; "fin" or "rst". No byte may come before."""
        assert self.buffer == b"", self.buffer
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return "rst"
        except ssl.SSLEOFError:
            return "fin"
        assert data == b"", data
        return "fin"

    def is_open(self):
        """False when the peer has already ended the connection (bytes at hand do not count)."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) != b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except ConnectionResetError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)


def events(body):
    """The data of each SSE event in a body: parsed JSON, or the bare text when it is not JSON."""
    found = []
    for block in body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        data = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if not data:
            continue
        text = "\n".join(data)
        try:
            found.append(json.loads(text))
        except ValueError:
            found.append(text)
    return found
