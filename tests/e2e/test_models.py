# SPDX-License-Identifier: Apache-2.0
"""GET /v1/models: our aliases and each provider's list, fetched in the background."""

from urllib.parse import quote

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider


def listing(fake, **more):
    return config(fake, providers={"up": provider(fake, list_models=True)}, **more)


def ids(gateway):
    answer = gateway.get("/v1/models")
    assert answer.status == 200
    body = answer.json()
    assert body["object"] == "list"
    for model in body["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert isinstance(model["owned_by"], str)
    return [model["id"] for model in body["data"]]


def wait_listed(gateway, fake, name):
    """The list comes by itself; each answer of ours may still be the one before it."""
    fake.wait_for(lambda: fake.model_requests, "the question for the models")
    for _ in range(2000):
        found = ids(gateway)
        if name in found:
            return found
    raise AssertionError(f"{name} is not listed: {found}")


def test_aliases_come_first_then_the_providers_lists(fake, start):
    gateway = start(listing(fake))
    found = wait_listed(gateway, fake, "up/up-model")
    assert found == ["m", "up/up-model", "up/org/other-model"]


def test_the_list_is_asked_with_our_key(fake, start):
    gateway = start(listing(fake))
    wait_listed(gateway, fake, "up/up-model")
    asked = fake.model_requests[0]
    assert asked.method == "GET"
    assert asked.target == "/v1/models"
    assert asked.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"


def test_the_list_is_kept_not_asked_for_again_each_time(fake, start):
    gateway = start(listing(fake))
    wait_listed(gateway, fake, "up/up-model")
    for _ in range(10):
        ids(gateway)
    assert len(fake.model_requests) == 1


def test_aliases_are_listed_without_any_provider_list(both):
    gateway, _ = both
    assert ids(gateway) == ["m"]


def test_aliases_are_listed_while_a_provider_is_silent(fake, start):
    fake.list_models = False
    fake.always(up.silent)
    gateway = start(listing(fake))
    fake.wait_requests(1)
    assert ids(gateway) == ["m"]


def test_a_provider_whose_list_fails_does_no_harm(fake, start):
    fake.list_models = False
    fake.then(up.error(500))
    gateway = start(listing(fake))
    fake.wait_requests(1)
    assert "m" in ids(gateway)
    assert gateway.chat().status == 200


def test_garbage_in_a_list_does_no_harm(fake, start):
    for body in (
        b"<html>",
        b'{"data":5}',
        b'{"object":"list"}',
        b"[]",
        b'{"object":"list","data":[5,{"id":5},{"x":1}]}',
    ):
        with up.Fake() as other:
            other.list_models = False
            other.then(up.whole(body))
            gateway = start(listing(other))
            other.wait_requests(1)
            assert "m" in ids(gateway)
            assert gateway.chat().status == 200
            gateway.stop()


def test_one_alias(both):
    gateway, _ = both
    answer = gateway.get("/v1/models/m")
    assert answer.status == 200
    assert answer.json()["id"] == "m"
    assert answer.json()["object"] == "model"


def test_one_model_with_slashes_raw_and_encoded(fake, start):
    gateway = start(listing(fake))
    wait_listed(gateway, fake, "up/org/other-model")
    for path in ("up/org/other-model", quote("up/org/other-model", safe=""), "up%2Forg/other-model"):
        answer = gateway.get(f"/v1/models/{path}")
        assert answer.status == 200, (path, answer)
        assert answer.json()["id"] == "up/org/other-model"


def test_a_model_that_is_not_listed_is_404(fake, start):
    gateway = start(listing(fake))
    wait_listed(gateway, fake, "up/up-model")
    for path in ("nope", "up/nope", "nope/up-model", "%00", "m%20"):
        answer = gateway.get(f"/v1/models/{path}")
        assert answer.status in (400, 404) if path == "%00" else answer.status == 404, (path, answer)
    answer = gateway.get("/v1/models/nope")
    assert answer.error["code"] == "model_not_found"
    for name in (("x" * length + "ä€😀" * 10) for length in range(90, 100)):
        assert "\ufffd" not in gateway.get(f"/v1/models/{quote(name)}").error["message"]


def test_an_alias_may_have_slashes_and_colons(fake, start):
    name = "team/a-b_c.d:free"
    gateway = start(
        config(
            fake, default_model=None, models=[{"name": name, "targets": [{"provider": "up", "model": "x"}]}]
        )
    )
    assert ids(gateway) == [name]
    for path in (name, quote(name, safe="")):
        assert gateway.get(f"/v1/models/{path}").json()["id"] == name
    assert gateway.chat(model=name).status == 200
    assert fake.last.json()["model"] == "x"


def test_odd_ids_of_a_provider_are_escaped(fake, start):
    fake.models = ['a"b\\c', "é\n", "plain"]
    gateway = start(listing(fake))
    found = wait_listed(gateway, fake, "up/plain")
    assert 'up/a"b\\c' in found


def test_post_is_405(both):
    gateway, _ = both
    answer = gateway.post("/v1/models", {})
    assert answer.status == 405
    assert "GET" in answer.headers.get("allow")
