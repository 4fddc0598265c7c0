# SPDX-License-Identifier: Apache-2.0
"""Health answers come from the gateway itself, whatever the models do."""

import pytest

from support import fake as up
from support.gateway import config, provider, targets


@pytest.mark.parametrize("path", ["/health", "/healthz", "/health/live"])
def test_live_answers_200_without_a_model(both, path):
    gateway, fake = both
    answer = gateway.get(path)
    assert answer.status == 200
    assert answer.body
    assert fake.requests == []


def test_ready_answers_200_while_serving(both):
    gateway, fake = both
    assert gateway.get("/health/ready").status == 200
    assert fake.requests == []


def test_health_needs_no_key(fake, start):
    gateway = start(
        config(fake, auth={"keys": [{"name": "a", "key_file": "key"}]}), files={"key": "sesame\n"}
    )
    assert gateway.get("/health/live").status == 200
    assert gateway.get("/health/ready").status == 200


def test_live_answers_while_the_upstream_is_silent(fake, gateway):
    fake.always(up.silent)
    with gateway.connect() as waiting:
        gateway.open_chat(waiting)
        fake.wait_requests(1)
        assert gateway.get("/health/live").status == 200
        assert gateway.get("/health/ready").status == 200


def test_live_answers_when_no_upstream_can_be_reached(start):
    unreachable = {
        "dialect": "openai",
        "base_url": "http://127.0.0.1:1/v1",
        "api_key": "k",
        "list_models": False,
    }
    gateway = start(
        config(providers={"gone": unreachable}, models=[{"name": "m", "targets": [{"provider": "gone"}]}])
    )
    assert gateway.chat().status == 502
    assert gateway.get("/health/live").status == 200


def test_every_reply_has_an_id_of_its_own(both):
    gateway, _ = both
    ids = {gateway.get("/health/live").headers.get("x-request-id") for _ in range(3)}
    assert len(ids) == 3 and None not in ids and "" not in ids


def test_it_starts_while_an_upstream_does_not_answer_its_list_of_models(start):
    with up.Fake() as fake:
        fake.list_models = False
        fake.always(up.silent)
        gateway = start(config(fake, providers={"up": provider(fake, list_models=True)}))
        assert gateway.get("/health/ready").status == 200
        gateway.stop()


def test_two_event_loops_serve_alike(fake, start):
    gateway = start(targets(fake, workers={"event_loops": 2}))
    for _ in range(20):
        assert gateway.get("/health/live").status == 200
        assert gateway.chat().status == 200
