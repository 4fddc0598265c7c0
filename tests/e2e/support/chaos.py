# SPDX-License-Identifier: Apache-2.0
"""Many clients that behave in every way, before an upstream that behaves in every way.

What the upstream does stands in the prompt, so that answers can be checked: whatever went wrong around
it, an answer that is whole carries the id of its own request, and one that is not never looks whole.
"""

import json
import random
import threading

from . import fake as up
from .raw import Connection, Cut, events

UPSTREAM = ["good"] * 6 + ["slow", "cut", "reset", "error", "late error", "garbage", "nothing", "silent", "big", "close", "half"]
CLIENT = ["reads"] * 8 + ["leaves early", "leaves late", "resets", "half closes"]


def upstream(exchange):
    request = exchange.request.json()
    how, _, mark = request["messages"][0]["content"].partition("|")
    if request.get("stream"):
        stream(exchange, how, mark)
    else:
        whole(exchange, how, mark)


def stream(exchange, how, mark):
    pieces = [up.ROLE, up.delta(mark), *(up.delta(f" {i}") for i in range(5)), up.FINISH, up.DONE]
    if how == "reset":
        exchange.rst()
    elif how == "error":
        exchange.whole({"error": {"message": "no", "type": "t", "param": None, "code": None}}, 500)
    elif how == "silent":
        exchange.wait_gone()
    elif how == "garbage":
        exchange.raw(b"garbage\r\n\r\n")
        exchange.fin()
    else:
        exchange.sse()
        if how == "late error":
            exchange.write(up.ROLE + up.event({"error": {"message": "no", "type": "t"}}))
        elif how == "cut":
            exchange.write(b"".join(pieces[:4]))
            exchange.fin()
            return
        elif how == "half":
            exchange.write(b"".join(pieces[:3]) + pieces[3][:20])
            exchange.rst()
            return
        elif how == "big":
            exchange.write(up.ROLE + up.delta(mark))
            for _ in range(20):
                exchange.write(up.delta("x" * 30_000))
            exchange.write(up.FINISH + up.DONE)
        elif how == "slow":
            for byte in b"".join(pieces):
                exchange.write(bytes([byte]))
        elif how != "nothing":
            for piece in pieces:
                exchange.write(piece)
        exchange.finish()
        if how == "close":
            exchange.fin()


def whole(exchange, how, mark):
    body = json.dumps(up.chat_answer(mark + "x" * (300_000 if how == "big" else 10))).encode()
    if how == "reset":
        exchange.rst()
    elif how in ("error", "late error"):
        exchange.whole(b'{"error":{"message":"no","type":"t","param":null,"code":null}}', 503)
    elif how == "silent":
        exchange.wait_gone()
    elif how in ("garbage", "nothing"):
        exchange.whole(b"<html>" if how == "garbage" else b"")
    elif how in ("cut", "half"):
        exchange.head(200, framing="length", length=len(body))
        exchange.raw(body[:100])
        exchange.fin() if how == "cut" else exchange.rst()
    elif how == "slow":
        exchange.head(200, framing="chunked")
        for byte in body:
            exchange.write(bytes([byte]))
        exchange.finish()
    else:
        exchange.whole(body)
        if how == "close":
            exchange.fin()


class Client:
    """One that makes `count` requests, each with its own mark; mistakes go to `problems`."""

    def __init__(self, address, seed, count, problems):
        self.address = address
        self.random = random.Random(seed)
        self.seed = seed
        self.count = count
        self.problems = problems
        self.done = 0
        self.connection = None

    def run(self):
        try:
            for number in range(self.count):
                self.one(f"<{self.seed}.{number}>")
                self.done += 1
        except Exception as problem:
            self.problems.append(f"client {self.seed} after {self.done}: {str(problem)[:600]}")
        finally:
            self.drop()

    def drop(self, reset=False):
        if self.connection:
            self.connection.reset() if reset else self.connection.close()
            self.connection = None

    def one(self, mark):
        how, manner = self.random.choice(UPSTREAM), self.random.choice(CLIENT)
        streamed = self.random.random() < 0.6
        if how == "silent":
            manner = self.random.choice(["leaves early", "resets", "half closes"])
        if self.connection is None:
            self.connection = Connection(self.address)
        request = {"model": "m", "stream": streamed, "messages": [{"role": "user", "content": f"{how}|{mark}"}]}
        body = json.dumps(request).encode()
        self.connection.request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], body)
        if manner == "leaves early":
            self.drop()
        elif manner == "resets":
            self.drop(reset=True)
        elif manner == "half closes":
            self.connection.half_close()
            self.drop()
        elif manner == "leaves late":
            try:
                self.connection.read_head()
            except Cut:
                pass
            self.drop()
        else:
            try:
                self.check(mark, how, streamed)
            except TimeoutError:
                raise AssertionError(f"no end of {how} (streamed: {streamed})") from None

    def check(self, mark, how, streamed):
        answer = self.connection.read_head()
        try:
            self.connection.read_body(answer)
            ended = True
        except Cut as cut:
            ended = False
            answer.body += cut.got
            self.drop()
        good = how in ("good", "slow", "big", "close")
        if good:
            assert answer.status == 200 and ended, (how, answer)
        if answer.status != 200:
            assert ended and answer.error["message"], (how, answer)
        elif streamed and ended:
            assert good and b"[DONE]" in answer.body, (how, answer)
            text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events(answer.body)[:-1])
            assert text.startswith(mark), (how, answer)
        elif streamed:
            assert b"[DONE]" not in answer.body, (how, answer)
        else:
            assert ended and good, (how, answer)
            assert answer.json()["choices"][0]["message"]["content"].startswith(mark), (how, answer)
        if self.connection and not answer.keeps_alive:
            self.drop()


def storm(address, clients, count, seed):
    """Runs them all; the problems they met."""
    problems = []
    threads = []
    for number in range(clients):
        client = Client(address, seed + number, count, problems)
        threads.append(threading.Thread(target=client.run, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(900)
        if thread.is_alive():
            problems.append("a client does not come to its end")
    return problems


def wait_quiet(gateway):
    """Until nothing runs any more in the gateway; what is left when it does not get there."""
    names = ["penstock_requests_in_flight", "penstock_upstream_queue"]
    left = {}
    for _ in range(3000):
        samples = gateway.metrics()
        left = {
            (name, labels): value
            for (name, labels), value in samples.items()
            if name in names and value != 0 and ("door", "metrics") not in labels
        }
        if not left:
            return samples
    raise AssertionError(f"still running: {left}")
