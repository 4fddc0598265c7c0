# SPDX-License-Identifier: Apache-2.0
"""Servers that tell their health are passed over while they are ill, before a client has to notice."""

import time

import pytest

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider
from support.raw import PATIENCE


class Server:
    """A fake whose /health says what the test wants."""

    def __init__(self, fake):
        self.fake = fake
        self.healthy = True
        self.asked = 0
        fake.always(self.handle)

    def handle(self, exchange):
        if exchange.request.target != "/health":
            return up.answer(exchange)
        self.asked += 1
        return exchange.whole({}, 200 if self.healthy else 503)

    def chats(self):
        return [r for r in self.fake.requests if r.target != "/health"]


@pytest.fixture
def pair():
    with up.Fake() as first, up.Fake() as second:
        yield Server(first), Server(second)


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def settings(first, second):
    return config(
        default_model="m",
        providers={
            "a": provider(first.fake, health_path="/health"),
            "b": provider(second.fake, health_path="/health"),
        },
        models=[{"name": "m", "targets": [{"provider": "a"}, {"provider": "b"}]}],
    )


def test_an_ill_server_is_passed_over_without_a_try_and_comes_back(pair, start):
    first, second = pair
    first.healthy = False
    gateway = start(settings(first, second))
    until(lambda: first.asked >= 1 and second.asked >= 1)
    until(lambda: gateway.chat().headers.get("x-penstock-provider") == "b")
    before = len(first.chats())
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.headers.get("x-penstock-provider") == "b"
    assert answer.headers.get("x-penstock-attempts") == "1"
    assert len(first.chats()) == before
    first.healthy = True
    until(lambda: gateway.chat().headers.get("x-penstock-provider") == "a")


def test_the_path_stands_at_the_root_of_the_host(pair, start):
    first, second = pair
    start(settings(first, second))
    until(lambda: first.asked >= 1)
    assert all(r.method == "GET" for r in first.fake.requests if r.target == "/health")


def test_the_question_carries_what_requests_carry(pair, start):
    first, second = pair
    made = settings(first, second)
    made["providers"]["a"]["headers"] = {"x-gate": "open"}
    start(made)
    until(lambda: first.asked >= 1)
    asked = [r for r in first.fake.requests if r.target == "/health"][0]
    assert asked.headers.get("x-gate") == "open"
    assert asked.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"


def test_a_wrong_path_says_nothing_of_health(fake, start):
    def handle(exchange):
        if exchange.request.target == "/nowhere":
            return exchange.whole({}, 404)
        return up.answer(exchange)

    fake.always(handle)
    gateway = start(config(fake, providers={"up": provider(fake, health_path="/nowhere")}))
    until(lambda: any(r.target == "/nowhere" for r in fake.requests))
    answer = gateway.chat()
    assert answer.status == 200 and answer.headers.get("x-penstock-attempts") == "1"
