# SPDX-License-Identifier: Apache-2.0
"""A gateway that has only the doors of long jobs, keeps everything in memory and fails when told to.

`steps` says what a batch shows each time it is asked for; the last one stays. `trouble` lines up what
happens to the next requests instead of an answer: a status with headers, or a function of the handler.
"""

import email.parser
import email.policy
import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

KEY = "sk-jobs-SECRET-0815"


def step(status="in_progress", total=0, completed=0, failed=0, **more):
    return {
        "status": status,
        "request_counts": {"total": total, "completed": completed, "failed": failed},
        **more,
    }


class JobsFake:
    def __init__(self, path=None, port=0, key=None):
        self.key = key
        self.requests = []  # (method, path, headers, body)
        self.files = {}  # id → (name, purpose, bytes)
        self.batches = {}
        self.jobs = {}
        self.steps = [step("validating"), step(total=2), step("completed", 2, 2, output_file_id="file-out")]
        self.trouble = []
        self.changed = threading.Condition()
        self.path = path
        fake = self

        class Handler(_Handler):
            gateway = fake

        if path:
            self.server = _UnixServer(path, Handler)
            self.url = f"unix:{path}"
        else:
            self.server = _Server(("127.0.0.1", port), Handler)
            self.port = self.server.server_address[1]
            self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.server.hang_up()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def add_file(self, id, content, name="x.jsonl", purpose="batch_output"):
        self.files[id] = (name, purpose, content)

    def add_batch(self, id, steps, created=1790000000, endpoint="/v1/chat/completions", **more):
        self.batches[id] = {"created_at": created, "endpoint": endpoint, "steps": list(steps), **more}

    def add_job(self, id, status, created=1790000000, **more):
        over = status in ("completed", "failed", "cancelled", "expired")
        self.jobs[id] = {
            "id": id,
            "status": status,
            "progress": {"total": 1, "completed": int(status == "completed"), "failed": int(over and status != "completed")},
            "result": None,
            "error": None,
            "created_at": created,
            "endpoint": "/generate",
            **more,
        }

    def batch(self, id, advance=True):
        kept = self.batches[id]
        shown = kept["steps"][0]
        if advance and len(kept["steps"]) > 1:
            kept["steps"].pop(0)
        return {
            "id": id,
            "object": "batch",
            "endpoint": kept["endpoint"],
            "errors": None,
            "input_file_id": kept.get("input_file_id"),
            "completion_window": "24h",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": kept["created_at"],
            "metadata": kept.get("metadata"),
            **shown,
        }

    def seen(self, method, path):
        return [request for request in self.requests if request[0] == method and request[1].split("?")[0] == path]

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, 30), "the fake waited in vain"


class _Hanging:
    """Remembers its connections, so that a stop ends them."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *args):
        self.sockets = set()
        super().__init__(*args)

    def process_request(self, request, address):
        self.sockets.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, address):
        pass

    def hang_up(self):
        for sock in list(self.sockets):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class _Server(_Hanging, socketserver.ThreadingMixIn, socketserver.TCPServer):
    pass


class _UnixServer(_Hanging, socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway = None

    def log_message(self, *_):
        pass

    def address_string(self):
        return "peer"

    def send(self, value, status=200, headers=(), content_type="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, message, headers=()):
        self.send({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, status, headers)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline(), 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self):
        gateway = self.gateway
        body = self.body()
        with gateway.changed:
            gateway.requests.append((self.command, self.path, dict(self.headers), body))
            trouble = gateway.trouble.pop(0) if gateway.trouble else None
            gateway.changed.notify_all()
        if callable(trouble):
            trouble(self)
        elif trouble:
            self.refuse(trouble[0], "not now", trouble[1:])
        elif gateway.key and self.headers.get("Authorization") != f"Bearer {gateway.key}":
            self.refuse(401, "Incorrect API key provided.")
        else:
            self.door(self.path.split("?")[0], body)

    do_GET = do_POST = do_DELETE = answer

    def door(self, path, body):
        gateway = self.gateway
        parts = path.strip("/").split("/")
        if path == "/v1/files" and self.command == "POST":
            return self.take_file(body)
        if parts[:2] == ["v1", "files"] and len(parts) >= 3 and parts[2] in gateway.files:
            if self.command == "DELETE":
                del gateway.files[parts[2]]
                return self.send({"id": parts[2], "object": "file", "deleted": True})
            return self.send(gateway.files[parts[2]][2], content_type="application/octet-stream")
        if path == "/v1/batches":
            return self.make_batch(json.loads(body)) if self.command == "POST" else self.list(gateway.batches, gateway.batch)
        if parts[:2] == ["v1", "batches"] and parts[2] in gateway.batches:
            if parts[3:] == ["cancel"]:
                gateway.batches[parts[2]]["steps"] = [step("cancelling", 2, 1), step("cancelled", 2, 1, 1)]
            return self.send(gateway.batch(parts[2], advance=parts[3:] != ["cancel"]))
        if path == "/v1/messages/batches":
            return self.list({}, None)
        if path == "/jobs":
            return self.list(gateway.jobs, lambda id, **_: gateway.jobs[id])
        if parts[0] == "jobs" and parts[1] in gateway.jobs:
            if self.command == "DELETE":
                gateway.jobs[parts[1]]["status"] = "cancelled"
            return self.send(gateway.jobs[parts[1]])
        return self.refuse(404, "No such thing.")

    def take_file(self, body):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
        id = f"file-{len(self.gateway.files)}"
        content = parts["file"].get_payload(decode=True)
        self.gateway.add_file(id, content, parts["file"].get_filename(), parts["purpose"].get_content().strip())
        self.send({"id": id, "object": "file", "bytes": len(content)})

    def make_batch(self, wanted):
        id = f"batch_{len(self.gateway.batches):026}"
        self.gateway.add_batch(id, self.gateway.steps, **{k: v for k, v in wanted.items() if k != "completion_window"})
        self.send(self.gateway.batch(id))

    def list(self, kept, show):
        query = dict(pair.split("=") for pair in self.path.partition("?")[2].split("&") if pair)
        ids = sorted(kept, key=lambda id: kept[id]["created_at"], reverse=True)
        if "after" in query:
            ids = ids[ids.index(query["after"]) + 1 :]
        limit = int(query.get("limit", "20"))
        self.send({"object": "list", "data": [show(id, advance=False) for id in ids[:limit]], "has_more": len(ids) > limit})


def hang_up(handler):
    """No answer at all."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def cut(content, after):
    """Says it sends all of `content` and stops after so many bytes."""

    def run(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        hang_up(handler)

    return run
