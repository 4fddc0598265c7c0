# SPDX-License-Identifier: Apache-2.0
"""Clients that hand in work, a gateway that is killed while they do, and the accounts at the end.

Everything that is sent carries a mark in its prompt, and the upstream answers with it: so it can be
counted how often each was asked, and seen that each result is its own. What a client was told is in
the Ledger. What it was not told (the gateway died before) it asks again, with the same
Idempotency-Key; so at the end all of it is acknowledged, and nothing else may be there.
"""

import collections
import contextlib
import json
import os
import random
import shutil
import sqlite3
import threading
import time

from . import fake as up
from .gateway import REPORTS, Gateway, config
from .jobs import OVER, form, until
from .raw import Cut

IN_FLIGHT = 16
SLOW = 180.0  # patience for all the work that is left
STATUS = ["validating", "in_progress", "finalizing", "cancelling"]  # enum ps_batch_status, its first
CHAT = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


class Dead(Exception):
    """The gateway was killed under the request."""


class Upstream(up.Fake):
    """Echoes the mark of a prompt, everything before "|", and counts it. A mark with a B is answered at
    length: the result goes into a file."""

    def __init__(self):
        super().__init__()
        self.calls = collections.Counter()
        self.total = 0
        self.counted = threading.Condition()
        self.always(self.echo)

    def echo(self, exchange):
        mark = exchange.request.json()["messages"][-1]["content"].partition("|")[0]
        with self.counted:
            self.calls[mark] += 1
            self.total += 1
            self.counted.notify_all()
        exchange.whole(up.chat_answer(answer_to(mark)))

    def wait_calls(self, more, seconds):
        with self.counted:
            wanted = self.total + more
            self.counted.wait_for(lambda: self.total >= wanted, seconds)

    def stop(self):
        # Whoever is killed may have written half a head.
        self.problems[:] = [problem for problem in self.problems if "ends early" not in problem]
        super().stop()


def answer_to(mark):
    return f"echo {mark}" + ("y" * 70_000 if "B" in mark else "")


class Ledger:
    """What was answered with 2xx."""

    def __init__(self):
        self.lock = threading.Lock()
        self.files = {}  # id → contents
        self.deleted = set()
        self.batches = {}  # id → {custom_id: mark}
        self.jobs = {}  # id → mark
        self.cancelled = set()  # batches and jobs
        self.perhaps = set()  # a cancel that nobody answered


def ask(gateway, method, path, headers=(), body=None, good=(200,)):
    try:
        answer = gateway.ask(method, path, headers, body)
    except TimeoutError as problem:
        raise AssertionError(f"no answer to {method} {path}") from problem
    except (OSError, Cut) as problem:
        raise Dead from problem
    assert answer.status in good, (method, path, answer)
    return answer


class Client:
    """One that hands in work, a piece at a time. A piece that met a kill is taken up where it was."""

    def __init__(self, ledger, name, seed):
        self.ledger = ledger
        self.name = name
        self.chance = random.Random(f"{seed} {name}")
        self.number = 0
        self.todo = None
        self.mine = []

    def begin(self, kind=None, size=None):
        self.number += 1
        kind = kind or self.chance.choice(["job", "job", "batch", "batch", "cancel", "delete"])
        mark = f"{self.name}.{self.number}"
        todo = {"kind": kind, "key": f"key-{mark}", "mark": mark + self.chance.choice(["", "", "", "B"])}
        if kind == "batch":
            count = size or self.chance.choice([1, 5, 20, 40])
            marks = {f"c{i}": f"{mark}.{i}{'B' if i % 16 == 3 else ''}" for i in range(count)}
            todo.update(marks=marks, contents=contents(marks, self.chance.choice([10, 10, 3000])), file=None)
        elif kind == "delete":
            todo.update(contents=os.urandom(self.chance.choice([100, 200_000])), file=None)
        elif kind == "cancel":
            if not self.mine:
                return self.begin("batch")
            todo["id"] = self.mine[-1]
        self.todo = todo

    def go_on(self, gateway):
        """To the end of what was begun; Dead: it stays begun."""
        if self.todo is None:
            self.begin()
        made = getattr(self, self.todo["kind"])(gateway, self.todo)
        self.todo = None
        return made

    def upload(self, gateway, todo):
        if todo["file"] is None:
            body, kind = form(("purpose", "batch"), ("file", todo["contents"], "in.jsonl"))
            todo["file"] = ask(gateway, "POST", "/v1/files", [("Content-Type", kind)], body).json()["id"]
            with self.ledger.lock:
                self.ledger.files[todo["file"]] = todo["contents"]

    def job(self, gateway, todo):
        padding = "x" * (80_000 if "B" in todo["mark"] else 3)
        body = {"prompt": f"{todo['mark']}|{padding}", "background": True}
        made = ask(gateway, "POST", "/generate", [("Idempotency-Key", todo["key"])], body, (202,)).json()["id"]
        with self.ledger.lock:
            self.ledger.jobs[made] = todo["mark"]
        self.mine.append(made)
        return made

    def batch(self, gateway, todo):
        self.upload(gateway, todo)
        body = {"input_file_id": todo["file"], **CHAT}
        made = ask(gateway, "POST", "/v1/batches", [("Idempotency-Key", todo["key"])], body).json()["id"]
        with self.ledger.lock:
            self.ledger.batches[made] = todo["marks"]
        self.mine.append(made)
        return made

    def delete(self, gateway, todo):
        self.upload(gateway, todo)
        ask(gateway, "DELETE", f"/v1/files/{todo['file']}", good=(200, 404))
        with self.ledger.lock:
            self.ledger.deleted.add(todo["file"])

    def cancel(self, gateway, todo):
        made = todo["id"]
        with self.ledger.lock:
            self.ledger.perhaps.add(made)
        if made.startswith("job_"):
            answer = ask(gateway, "DELETE", f"/jobs/{made}", good=(200, 409))
        else:
            answer = ask(gateway, "POST", f"/v1/batches/{made}/cancel", good=(200, 409))
        # A batch whose lines are settled is shown as it is, "finalizing", and becomes whole.
        if answer.status == 200 and answer.json()["status"].startswith("cancel"):
            with self.ledger.lock:
                self.ledger.cancelled.add(made)
        self.mine.remove(made)

    def work(self, gateway, pieces, problems):
        try:
            for _ in range(pieces):
                self.go_on(gateway)
        except Dead:
            pass
        except Exception as problem:
            problems.append(f"{self.name}: {problem!r}")


def contents(marks, padding):
    return "".join(
        json.dumps(
            {
                "custom_id": custom_id,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": "m", "messages": [{"role": "user", "content": f"{mark}|{'x' * padding}"}]},
            }
        )
        + "\n"
        for custom_id, mark in marks.items()
    ).encode()


# When it is killed. Each gets the gateway, and a client of its own for what it has to hand in.


def some_time(loop, gateway, client):
    threading.Event().wait(loop.chance.uniform(0, 0.4))


def some_calls(loop, gateway, client):
    loop.fake.wait_calls(loop.chance.randint(1, 60), 2)


def in_an_upload(loop, gateway, client):
    body, kind = form(("purpose", "batch"), ("file", os.urandom(400_000), "half.jsonl"))
    with gateway.connect() as connection:
        head = [("Content-Type", kind), ("Content-Length", len(body))]
        connection.request("POST", "/v1/files", head, body[: loop.chance.randrange(len(body))])
        gateway.process.kill()


def in_a_validation(loop, gateway, client):
    client.todo or client.begin("batch", size=400)
    client.go_on(gateway)
    threading.Event().wait(loop.chance.uniform(0, 0.02))


def at_its_files(loop, gateway, client):
    client.todo or client.begin("batch", size=loop.chance.choice([1, 20, 60]))
    made = client.go_on(gateway)
    if made is None or not made.startswith("batch_"):
        return

    def settled():
        batch = ask(gateway, "GET", f"/v1/batches/{made}").json()
        counts = batch["request_counts"]
        return counts["completed"] + counts["failed"] == counts["total"] > 0 or batch["status"] in OVER

    end = time.monotonic() + 3  # what was handed in before comes first
    while not settled() and time.monotonic() < end:
        pass


def in_its_start(loop, gateway, client):
    threading.Event().wait(loop.chance.uniform(0, 0.1))


MOMENTS = [some_time, some_time, some_calls, some_calls, in_an_upload, in_a_validation, at_its_files, in_its_start]


class KillLoop:
    def __init__(self, folder, seed):
        self.folder = str(folder)
        self.data = os.path.join(self.folder, "data")
        self.chance = random.Random(seed)
        self.fake = Upstream()
        self.settings = config(self.fake, data_dir=self.data, workers={"job_concurrency": IN_FLIGHT})
        self.ledger = Ledger()
        self.clients = [Client(self.ledger, f"w{i}", seed) for i in range(3)]
        self.killers = {moment: Client(self.ledger, f"k-{moment.__name__}", seed) for moment in MOMENTS}
        self.problems = []
        self.kills = 0
        self.met = collections.Counter()  # what a kill found at work

    def round(self, moment, pieces):
        gateway = Gateway(self.settings, wait=moment is not in_its_start)
        threads = []
        if moment is not in_its_start:
            for client in self.clients:
                work = threading.Thread(target=client.work, args=(gateway, pieces, self.problems), daemon=True)
                work.start()
                threads.append(work)
        try:
            with contextlib.suppress(Dead):
                moment(self, gateway, self.killers[moment])
        finally:
            gateway.process.kill()
            for thread in threads:
                thread.join()
            gateway.stopped = True
            gateway.kill()
        assert gateway.process.returncode == -9, (gateway.process.returncode, gateway.noise[-40:])
        assert not REPORTS.search(gateway.raw_log), "\n".join(gateway.noise[-200:])
        assert not self.problems, self.problems
        self.fake.requests.clear()
        self.kills += 1
        self.look()

    def look(self):
        """At a copy of what the dead left: whole, and what it was doing."""
        copy = os.path.join(self.folder, "copy")
        shutil.rmtree(copy, ignore_errors=True)
        os.mkdir(copy)
        for name in ("jobs.db", "jobs.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(os.path.join(self.data, name), copy)
        if not os.path.exists(os.path.join(copy, "jobs.db")):
            return
        with contextlib.closing(sqlite3.connect(os.path.join(copy, "jobs.db"))) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                return
            for (status,) in db.execute("SELECT DISTINCT status FROM batch WHERE status < 4"):
                self.met[STATUS[status]] += 1
            if db.execute("SELECT 1 FROM batch WHERE ended = 1 AND status < 4 LIMIT 1").fetchone():
                self.met["files to be made"] += 1
            running = db.execute("SELECT count(*) FROM line WHERE state = 1").fetchone()[0]
            running += db.execute("SELECT count(*) FROM job WHERE status = 1").fetchone()[0]
            self.met["running"] += running > 0
        if os.path.isdir(os.path.join(self.data, "blobs", "tmp")):
            self.met["a file half written"] += bool(os.listdir(os.path.join(self.data, "blobs", "tmp")))

    # The accounts

    def settle(self):
        """A life without a kill: everything comes to its end, and is as the ledger has it."""
        with Gateway(self.settings) as gateway:
            for client in [*self.clients, *self.killers.values()]:
                if client.todo:
                    client.go_on(gateway)
            for path in ("/v1/batches", "/jobs"):
                self.wait_over(gateway, path)
            batches = {batch["id"]: batch for batch in everything(gateway, "/v1/batches")}
            assert set(batches) == set(self.ledger.batches)
            for batch_id, marks in self.ledger.batches.items():
                self.check_batch(gateway, batches[batch_id], marks)
            jobs = {job["id"]: job for job in everything(gateway, "/jobs")}
            assert set(jobs) == set(self.ledger.jobs)
            for job_id, mark in self.ledger.jobs.items():
                self.check_job(gateway, gateway.get(f"/jobs/{job_id}").json(), mark)
            for file_id, wanted in self.ledger.files.items():
                answer = gateway.get(f"/v1/files/{file_id}/content")
                if file_id in self.ledger.deleted:
                    assert answer.status == 404, (file_id, answer)
                else:
                    assert answer.status == 200 and answer.body == wanted, (file_id, answer)
        lines = sum(len(marks) for marks in self.ledger.batches.values())
        asked = lines + len(self.ledger.jobs)
        assert set(self.fake.calls) <= self.marks()
        assert self.fake.total <= asked + self.kills * IN_FLIGHT, (self.fake.total, asked, self.kills)
        return {
            "kills": self.kills,
            "batches": len(self.ledger.batches),
            "lines": lines,
            "jobs": len(self.ledger.jobs),
            "files": len(self.ledger.files),
            "cancelled": len(self.ledger.cancelled),
            "calls": self.fake.total,
            "repeated": sum(count - 1 for count in self.fake.calls.values()),
            "most": max(self.fake.calls.values()),
            "met": dict(self.met),
        }

    def marks(self):
        found = set(self.ledger.jobs.values())
        for marks in self.ledger.batches.values():
            found.update(marks.values())
        return found

    def wait_over(self, gateway, path):
        until(
            lambda: [item["status"] for item in everything(gateway, path) if item["status"] not in OVER],
            lambda left: not left,
            f"end of {path}",
            SLOW,
        )

    def check_end(self, item):
        allowed = {"completed"}
        if item["id"] in self.ledger.cancelled:
            allowed = {"cancelled"}
        elif item["id"] in self.ledger.perhaps:
            allowed = {"completed", "cancelled"}
        assert item["status"] in allowed, (item, allowed)

    def check_batch(self, gateway, batch, marks):
        self.check_end(batch)
        rows = []
        for file_id in (batch["output_file_id"], batch["error_file_id"]):
            if file_id is not None:
                answer = gateway.get(f"/v1/files/{file_id}/content")
                assert answer.status == 200, (batch, answer)
                rows += map(json.loads, answer.text.splitlines())
        assert sorted(row["custom_id"] for row in rows) == sorted(marks), batch
        for row in rows:
            mark = marks[row["custom_id"]]
            if row["error"] is None:
                self.check_answer(row["response"]["body"]["choices"][0]["message"]["content"], mark)
            else:
                assert batch["status"] == "cancelled" and row["error"]["code"] == "batch_cancelled", row
        counts = batch["request_counts"]
        good = sum(row["error"] is None for row in rows)
        assert counts == {"total": len(marks), "completed": good, "failed": len(marks) - good} or (
            batch["status"] == "cancelled" and counts["total"] in (0, len(marks))
        ), (batch, good)

    def check_job(self, gateway, job, mark):
        self.check_end(job)
        if job["status"] == "completed":
            self.check_answer(job["result"]["text"], mark)

    def check_answer(self, text, mark):
        assert text == answer_to(mark), (mark, text[:100])
        assert self.fake.calls[mark] >= 1, mark

    def check_disk(self):
        """After a clean end: the database is whole, each row's file is there and as long as it says."""
        assert os.listdir(os.path.join(self.data, "blobs", "tmp")) == []
        with contextlib.closing(sqlite3.connect(os.path.join(self.data, "jobs.db"))) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            named = {}
            for name, length in db.execute(
                "SELECT blob, bytes FROM file WHERE blob IS NOT NULL"
                " UNION ALL SELECT blob, offset + length FROM line_result WHERE blob IS NOT NULL"
                " UNION ALL SELECT blob, offset + length FROM job_request WHERE blob IS NOT NULL"
                " UNION ALL SELECT blob, offset + length FROM job_result WHERE blob IS NOT NULL"
            ):
                named[name] = max(named.get(name, 0), length)
            inputs = {name for (name,) in db.execute("SELECT input FROM batch WHERE input IS NOT NULL")}
        there = self.blobs()
        assert set(named) | inputs <= set(there), "a row without its file"
        for name, length in named.items():
            assert os.path.getsize(there[name]) == length, (name, length)
        # What no row names is swept when it is an hour old; here it is younger. It can only be what a kill
        # found between the file and its row, or the row and the file.
        orphans = set(there) - set(named) - inputs
        assert len(orphans) <= self.kills * (IN_FLIGHT + len(self.clients) + 3), len(orphans)
        return len(orphans)

    def blobs(self):
        root = os.path.join(self.data, "blobs")
        return {
            bucket + name: os.path.join(root, bucket, name)
            for bucket in os.listdir(root)
            if len(bucket) == 2
            for name in os.listdir(os.path.join(root, bucket))
        }


def everything(gateway, path):
    found = []
    after = ""
    while True:
        page = gateway.get(f"{path}?limit=100{after}").json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['last_id']}"


def run(folder, kills, seed, pieces):
    """So many kills, every kind of moment among them; the numbers."""
    loop = KillLoop(folder, seed)
    with loop.fake:
        moments = list(MOMENTS)
        loop.chance.shuffle(moments)
        for number in range(kills):
            loop.round(moments[number % len(moments)], pieces)
        numbers = loop.settle()
        numbers["orphans"] = loop.check_disk()
    return numbers
