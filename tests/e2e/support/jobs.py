# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of files, batches and jobs."""

import hashlib
import json
import time

from .gateway import config
from .raw import PATIENCE

KEYS = {"alice": "key-of-alice", "bob": "key-of-bob"}


def with_keys(fake, **over):
    """The usual configuration with two keys, each a tenant of its own."""
    keys = [
        {"name": name, "tenant": name, "key_sha256": hashlib.sha256(key.encode()).hexdigest()}
        for name, key in KEYS.items()
    ]
    return config(fake, auth={"keys": keys}, **over)


def bearer(name):
    return [("Authorization", f"Bearer {KEYS[name]}")]


def until(look, done, what="", patience=PATIENCE):
    """look() until done(what it gave); fails when that takes too long."""
    deadline = time.monotonic() + patience
    while True:
        seen = look()
        if done(seen):
            return seen
        assert time.monotonic() < deadline, f"no {what or 'end'}: {seen}"
        time.sleep(0.02)


def form(*parts, boundary="XboundaryX"):
    """A multipart body of (name, contents) or (name, contents, filename), and its content type."""
    body = b""
    for name, contents, *rest in parts:
        filename = f'; filename="{rest[0]}"' if rest else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n'.encode()
        if rest:
            body += b"Content-Type: application/octet-stream\r\n"
        body += b"\r\n" + (contents if isinstance(contents, bytes) else contents.encode()) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def post_form(gateway, *parts, headers=()):
    body, kind = form(*parts)
    return gateway.ask("POST", "/v1/files", [("Content-Type", kind), *headers], body)


def upload(gateway, contents, purpose="batch", headers=(), filename="in.jsonl"):
    """Uploads a file; its id."""
    answer = post_form(gateway, ("purpose", purpose), ("file", contents, filename), headers=headers)
    assert answer.status == 200, answer
    return answer.json()["id"]


def line(custom_id, text="hi", url="/v1/chat/completions", **more):
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def lines(count, **more):
    return "".join(line(f"r-{i}", **more) + "\n" for i in range(count)).encode()


def batch_of(gateway, contents, headers=(), **more):
    """Uploads and creates; the batch."""
    fields = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    fields.setdefault("input_file_id", None)
    fields["input_file_id"] = fields["input_file_id"] or upload(gateway, contents, headers=headers)
    answer = gateway.post("/v1/batches", fields, headers)
    assert answer.status == 200, answer
    return answer.json()


OVER = {"completed", "failed", "expired", "cancelled"}


def wait_batch(gateway, batch_id, headers=(), status=OVER):
    wanted = {status} if isinstance(status, str) else status
    return until(
        lambda: gateway.get(f"/v1/batches/{batch_id}", headers).json(),
        lambda batch: batch.get("status") in wanted,
        f"batch in {wanted}",
    )


def wait_job(gateway, job_id, headers=(), status=OVER):
    wanted = {status} if isinstance(status, str) else status
    return until(
        lambda: gateway.get(f"/jobs/{job_id}", headers).json(),
        lambda job: job.get("status") in wanted,
        f"job in {wanted}",
    )


def submit(gateway, body=None, headers=(), **fields):
    """POST /generate in the background; the answer."""
    return gateway.post("/generate", {"prompt": "hi", "background": True, **(body or {}), **fields}, headers)


def wait_idle(gateway):
    """Until nothing is left of what earlier tests began."""
    for name in KEYS:
        headers = bearer(name)
        for status in ("queued", "running"):
            until(
                lambda: gateway.get(f"/jobs?status={status}", headers).json()["data"],
                lambda jobs: not jobs,
                "end of earlier jobs",
            )
        until(
            lambda: gateway.get("/v1/batches?limit=100", headers).json()["data"],
            lambda batches: all(batch["status"] in OVER for batch in batches),
            "end of earlier batches",
        )
