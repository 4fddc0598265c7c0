# SPDX-License-Identifier: Apache-2.0
"""A batch by means of the official SDK, as its users write it, and what it costs in memory."""

import json
import threading
import time

from openai import OpenAI

from . import fake as up
from .gateway import Gateway, config

# What the sanitizer keeps of freed memory would hide what we keep.
LITTLE_QUARANTINE = {"ASAN_OPTIONS": "abort_on_error=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}
PADDING = "Tell me about the lighthouse. " * 140  # 4 KiB per line: ten thousand are more than GROWTH
GROWTH = 32 * 2**20


def whole_way(client, contents, endpoint, patience=600):
    """Upload, create, wait, download: the batch, and its rows of both files by custom_id."""
    file = client.files.create(file=("in.jsonl", contents), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
    end = time.monotonic() + patience
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < end, batch
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    rows = []
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id is not None:
            rows += map(json.loads, client.files.content(file_id).text.splitlines())
    found = {row["custom_id"]: row for row in rows}
    assert len(found) == len(rows) == batch.request_counts.total, "a line twice, or not at all"
    return batch, found


def echo(exchange):
    exchange.whole(up.chat_answer(exchange.request.json()["messages"][0]["content"].partition("|")[0]))


def line(number):
    messages = [{"role": "user", "content": f"number {number}|{PADDING}"}]
    body = {"model": "m", "messages": messages}
    return json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}) + "\n"


def many_lines(count):
    """So many lines: each has its own answer, each was asked once, and memory stays where it was after a
    few. The numbers, in bytes."""
    with up.Fake() as fake, Gateway(config(fake), env=LITTLE_QUARANTINE) as gateway:
        fake.always(echo)
        with OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=120) as client:
            whole_way(client, "".join(map(line, range(50))).encode(), "/v1/chat/completions")
            fake.requests.clear()
            before, peak, stop = gateway.memory(), [0], threading.Event()

            def watch():
                while not stop.wait(0.02):
                    peak[0] = max(peak[0], gateway.memory())

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                contents = "".join(map(line, range(count))).encode()
                batch, found = whole_way(client, contents, "/v1/chat/completions")
            finally:
                stop.set()
                watcher.join()
        assert batch.request_counts.completed == count and batch.error_file_id is None
        assert batch.usage.total_tokens == count * up.USAGE["total_tokens"]
        for number in range(count):
            row = found[f"r-{number}"]
            assert row["response"]["body"]["choices"][0]["message"]["content"] == f"number {number}", row
        assert len(fake.requests) == count
        assert peak[0] - before < GROWTH, (before, peak[0])
        return {"lines": count, "input": len(contents), "before": before, "peak": peak[0], "after": gateway.memory()}
