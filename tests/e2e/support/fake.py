# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible upstream that does what a test tells it, right or wrong.

A test gives it handlers: functions of one Exchange, which has the request and writes whatever bytes
it likes to the socket. `then` lines up handlers for the next requests, `always` sets the one for all
others. Every request is kept as it came. Whoever has to wait in a handler waits for a Gate or for the
peer to leave, never for time.
"""

import json
import os
import socket
import ssl
import struct
import tempfile
import threading
import time

from .raw import PATIENCE, parse_headers

USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


class Stopped(Exception):
    """The fake is being shut down while a handler waits."""


class Gate:
    """Opened by a test, waited for by a handler, or the other way round."""

    def __init__(self):
        self._event = threading.Event()

    def open(self):
        self._event.set()

    @property
    def is_open(self):
        return self._event.is_set()

    def wait(self):
        assert self._event.wait(PATIENCE), "the gate was not opened in time"


class Request:
    def __init__(self, raw_head, connection, number):
        self.raw_head = raw_head
        first, *rest = raw_head[:-4].split(b"\r\n")
        self.method, self.target, self.version = first.decode("latin-1").split(" ")
        self.headers = parse_headers(rest)
        self.body = b""
        self.connection = connection  # which connection of the fake, from 1
        self.number = number  # which request on it, from 1
        self.gone = Gate()  # the peer ended the connection during this exchange
        self.how_gone = None
        self.finished = Gate()  # the handler returned
        self.sent = 0  # bytes the socket took

    @property
    def path(self):
        return self.target.partition("?")[0]

    def json(self):
        return json.loads(self.body)


class Exchange:
    def __init__(self, fake, sock, request):
        self.fake = fake
        self.sock = sock
        self.request = request
        self.closed = False
        self.framing = None

    # What goes out

    def raw(self, data):
        view = memoryview(data)
        while view:
            try:
                size = self.sock.send(view)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError) as error:
                self._gone("rst")
                raise Stopped from error
            except TimeoutError:
                if self.fake.stopping:
                    raise Stopped from None
                continue
            self.request.sent += size
            view = view[size:]

    def head(self, status=200, content_type="application/json", headers=(), framing="chunked", length=None):
        """framing: "chunked", "length" (give length), "close" or "none"."""
        lines = [f"HTTP/1.1 {status} Whatever"]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"{name}: {value}" for name, value in headers]
        if framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif framing == "length":
            lines.append(f"Content-Length: {length}")
        elif framing == "close":
            lines.append("Connection: close")
        self.framing = framing
        self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def sse(self, headers=(), framing="chunked", content_type="text/event-stream"):
        self.head(200, content_type, headers, framing)

    def write(self, data):
        if self.framing == "chunked":
            self.raw(b"%x\r\n%s\r\n" % (len(data), data))
        else:
            self.raw(data)

    def finish(self):
        if self.framing == "chunked":
            self.raw(b"0\r\n\r\n")
        elif self.framing == "close":
            self.fin()

    def whole(self, body, status=200, content_type="application/json", headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.head(status, content_type, headers, "length", len(body))
        self.raw(body)

    # How it ends

    def fin(self):
        self.closed = True
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.unwrap()
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(PATIENCE)
            while self.sock.recv(65536):
                pass  # else unread bytes would turn the FIN into a RST
        except OSError:
            pass
        self.sock.close()

    def rst(self):
        self.closed = True
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # What is waited for

    def wait(self, gate):
        end = time.monotonic() + PATIENCE
        while not gate._event.wait(0.1):
            if self.fake.stopping:
                raise Stopped
            assert time.monotonic() < end, "a gate was not opened in time"

    def wait_gone(self):
        """Until the peer ends the connection."""
        while True:
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                if self.fake.stopping:
                    raise Stopped from None
                continue
            except OSError:
                return self._gone("rst")
            if not data:
                return self._gone("fin")
            raise AssertionError(f"bytes behind the request: {data!r}")

    def _gone(self, how):
        self.closed = True
        self.request.how_gone = how
        self.request.gone.open()
        return how


class Fake:
    """See above. `path`: a Unix socket instead of TCP. `tls`: a server context."""

    def __init__(self, tls=None, host="127.0.0.1"):
        self.tls = tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family, backlog=1024)
        self.host, self.port = self.listener.getsockname()[:2]
        self.stopping = False
        self.connections = 0
        self.open_connections = 0
        self.requests = []  # all but questions for the list of models
        self.model_requests = []
        self.problems = []
        self.models = ["up-model", "org/other-model"]
        self.on_connect = None  # called with each new socket; true: it is dealt with
        self.list_models = True
        self._queue = []
        self._default = answer
        self._changed = threading.Condition()
        self._sockets = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/v1"

    def then(self, *handlers):
        self._queue += handlers

    def always(self, handler):
        self._default = handler

    def wait_for(self, condition, what=""):
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE):
                raise AssertionError(f"the fake waited in vain for {what or condition}")

    def wait_requests(self, count):
        """The requests, when at least so many have come."""
        self.wait_for(lambda: len(self.requests) >= count, f"{count} requests, {len(self.requests)} came")
        return self.requests

    @property
    def last(self):
        return self.requests[-1]

    def forget(self):
        with self._changed:
            self.requests.clear()
            self._queue.clear()
            self._default = answer

    def stop(self):
        self.stopping = True
        with self._changed:
            sockets = list(self._sockets)
        # Shutting down is what wakes a thread in accept; closing alone would not.
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        assert not self.problems, self.problems

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.stop()
        except AssertionError:
            if kind is None:
                raise

    def _note(self):
        with self._changed:
            self._changed.notify_all()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self.open_connections += 1
                number = self.connections
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock, number):
        self._sockets.add(sock)
        try:
            if self.on_connect and self.on_connect(sock):
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock.settimeout(PATIENCE)
                plain = sock
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._sockets.discard(plain)
                self._sockets.add(sock)
            sock.settimeout(0.2)
            self._converse(sock, number)
        except (Stopped, OSError):
            pass
        except Exception as problem:  # a broken test must fail, not hang
            self.problems.append(repr(problem))
        finally:
            self._sockets.discard(sock)
            sock.close()
            with self._changed:
                self.open_connections -= 1
                self._changed.notify_all()

    def _receive(self, sock):
        while True:
            try:
                return sock.recv(65536)
            except TimeoutError:
                if self.stopping:
                    return b""

    def _converse(self, sock, number):
        buffer = b""
        count = 0
        while True:
            while b"\r\n\r\n" not in buffer:
                data = self._receive(sock)
                if not data:
                    assert not buffer or self.stopping, f"a request that ends early: {buffer!r}"
                    return
                buffer += data
            end = buffer.index(b"\r\n\r\n") + 4
            count += 1
            request = Request(buffer[:end], number, count)
            request.body, buffer = self._read_body(sock, request, buffer[end:])
            if request.body is None:
                return
            assert not buffer, f"bytes behind the request: {buffer!r}"
            exchange = Exchange(self, sock, request)
            try:
                self._handler(request)(exchange)
            finally:
                request.finished.open()
                self._note()
            if exchange.closed:
                return

    def _read_body(self, sock, request, buffer):
        assert "transfer-encoding" not in request.headers, "Penstock knows the length of what it sends"
        length = int(request.headers.get("content-length", "0"))
        while len(buffer) < length:
            data = self._receive(sock)
            if not data:
                return None, b""
            buffer += data
        return buffer[:length], buffer[length:]

    def _handler(self, request):
        with self._changed:
            if request.method == "GET" and request.path == "/v1/models" and self.list_models:
                self.model_requests.append(request)
                handler = answer_models
            else:
                self.requests.append(request)
                handler = self._queue.pop(0) if self._queue else self._default
            self._changed.notify_all()
        return handler


# Pieces of answers


def chat_answer(text="Hello", model="up-model", finish="stop", usage=USAGE, **more):
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1790000000,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": usage,
        **more,
    }


def event(value):
    """One SSE event of a JSON value or of text."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return b"data: " + text.encode() + b"\n\n"


def delta(text=None, finish=None, index=0, usage=False, **fields):
    """A chunk of a streamed chat, as an SSE event. usage=True: with "usage":null, as under include_usage."""
    content = dict(fields)
    if text is not None:
        content["content"] = text
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "up-model",
        "choices": [{"index": index, "delta": content, "finish_reason": finish}],
    }
    if usage:
        chunk["usage"] = None
    return event(chunk)


ROLE = delta("", role="assistant")
FINISH = delta(finish="stop")
DONE = b"data: [DONE]\n\n"
USAGE_CHUNK = event(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "up-model",
        "choices": [],
        "usage": USAGE,
    }
)


def tokens(count):
    return [delta(f"t{i} ") for i in range(count)]


# Handlers


def answer(exchange):
    """What a well-behaved upstream says to this path."""
    request = exchange.request
    body = request.json() if request.body and request.body[:1] == b"{" else {}
    if request.path.endswith("/chat/completions"):
        if body.get("stream"):
            wants = (body.get("stream_options") or {}).get("include_usage")
            stream("Hel", "lo", usage=bool(wants))(exchange)
        else:
            exchange.whole(chat_answer(model=body.get("model")))
    elif request.path.endswith("/completions"):
        answer_completion(exchange, body)
    elif request.path.endswith("/embeddings"):
        answer_embedding(exchange, body)
    else:
        exchange.whole({"path": request.path, "ok": True})


def answer_completion(exchange, body):
    def chunk(text, finish):
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1790000000,
            "model": "up-model",
            "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}],
        }

    if not body.get("stream"):
        exchange.whole({**chunk("Hello", "stop"), "usage": USAGE})
        return
    exchange.sse()
    exchange.write(event(chunk("Hel", None)))
    exchange.write(event(chunk("lo", "stop")))
    if (body.get("stream_options") or {}).get("include_usage"):
        exchange.write(event({**chunk("", None), "choices": [], "usage": USAGE}))
    exchange.write(DONE)
    exchange.finish()


def answer_embedding(exchange, body):
    vector = [0.25, -1.5, 3.0]
    value = vector
    if body.get("encoding_format") == "base64":
        import base64

        value = base64.b64encode(struct.pack("<3f", *vector)).decode()
    inputs = body.get("input")
    count = len(inputs) if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int) else 1
    data = [{"object": "embedding", "index": i, "embedding": value} for i in range(count)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    exchange.whole({"object": "list", "data": data, "model": body.get("model"), "usage": usage})


def answer_models(exchange):
    data = [
        {"id": name, "object": "model", "created": 1790000000, "owned_by": "them"}
        for name in exchange.fake.models
    ]
    exchange.whole({"object": "list", "data": data})


def whole(body, status=200, content_type="application/json", headers=()):
    def handler(exchange):
        exchange.whole(body, status, content_type, headers)

    return handler


def error(status, message="it went wrong", kind="server_error", code=None, headers=(), body=None):
    if body is None:
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return whole(body, status, headers=headers)


def stream(*texts, usage=False, headers=(), framing="chunked"):
    """A whole, good stream of these pieces of text."""

    def handler(exchange):
        exchange.sse(headers, framing)
        exchange.write(ROLE)
        for text in texts:
            exchange.write(delta(text))
        exchange.write(FINISH)
        if usage:
            exchange.write(USAGE_CHUNK)
        exchange.write(DONE)
        exchange.finish()

    return handler


def script(*steps, content_type="text/event-stream", headers=(), framing="chunked"):
    """A 200 with this body. Steps: bytes to write, Gates to wait for, "finish", "fin", "rst", "gone"."""

    def handler(exchange):
        exchange.head(200, content_type, headers, framing)
        run(exchange, steps)

    return handler


def bare(*steps):
    """The same with raw bytes, from the status line on."""

    def handler(exchange):
        exchange.framing = "raw"
        run(exchange, steps)

    return handler


def run(exchange, steps):
    for step in steps:
        if isinstance(step, bytes):
            exchange.write(step)
        elif isinstance(step, Gate):
            exchange.wait(step)
        elif step == "gone":
            exchange.wait_gone()
        else:
            getattr(exchange, step)()


def silent(exchange):
    """Never answers; ends when the peer leaves."""
    exchange.wait_gone()


def hang_up(exchange):
    exchange.fin()


def reset(exchange):
    exchange.rst()


def certificate(folder, name, hosts, issuer=None):
    """Makes a key and a certificate for `hosts`, self-signed or by `issuer`, with the openssl command.
    Returns (certificate path, key path)."""
    import subprocess

    key, pem = os.path.join(folder, f"{name}.key"), os.path.join(folder, f"{name}.pem")
    alt = ",".join(("IP:" if host.replace(".", "").isdigit() else "DNS:") + host for host in hosts)
    is_ca = issuer is None
    with tempfile.NamedTemporaryFile("w", suffix=".cnf", dir=folder, delete=False) as config:
        config.write(
            "[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ext\n"
            f"[dn]\nCN={hosts[0]}\n[ext]\nsubjectAltName={alt}\n"
            f"basicConstraints=critical,CA:{'TRUE' if is_ca else 'FALSE'}\n"
        )
    common = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    common += ["-nodes", "-days", "2", "-keyout", key, "-out", pem, "-config", config.name]
    if issuer:
        common += ["-CA", issuer[0], "-CAkey", issuer[1]]
    subprocess.run(common, check=True, capture_output=True)
    return pem, key
