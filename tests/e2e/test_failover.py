# SPDX-License-Identifier: Apache-2.0
"""Which target is asked, and who is asked next when one fails."""

import json

import pytest

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider, targets

STREAM = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def pair():
    with up.Fake() as first, up.Fake() as second:
        yield first, second


def unreachable(**more):
    return {
        "dialect": "openai",
        "base_url": "http://127.0.0.1:1/v1",
        "api_key": "k",
        "list_models": False,
        **more,
    }


def test_ordered_asks_the_first_as_long_as_it_is_well(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    for _ in range(10):
        answer = gateway.chat()
        assert answer.headers.get("x-penstock-provider") == "p0"
        assert answer.headers.get("x-penstock-model") == "model-0"
        assert answer.headers.get("x-penstock-attempts") == "1"
    assert len(first.requests) == 10 and second.requests == []
    assert first.last.json()["model"] == "model-0"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
def test_a_failing_target_is_passed_over_and_left_out(pair, start, status):
    first, second = pair
    gateway = start(targets(first, second))
    first.always(up.error(status))
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.headers.get("x-penstock-provider") == "p1"
    assert answer.headers.get("x-penstock-model") == "model-1"
    assert answer.headers.get("x-penstock-attempts") == "2"
    assert second.last.json()["model"] == "model-1"
    assert second.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}-1"
    # Left out: the next request does not even try it.
    answer = gateway.chat()
    assert answer.headers.get("x-penstock-attempts") == "1"
    assert answer.headers.get("x-penstock-provider") == "p1"
    assert len(first.requests) == 1


@pytest.mark.parametrize(
    "how",
    [up.reset, up.hang_up, up.whole(b"garbage"), up.bare(b"garbage\r\n\r\n", "fin")],
    ids=["rst", "fin", "garbage", "no http"],
)
def test_a_broken_target_is_passed_over(pair, start, how):
    first, second = pair
    gateway = start(targets(first, second))
    first.always(how)
    for body in ({}, STREAM):
        answer = gateway.chat(body)
        assert answer.status == 200
        assert answer.headers.get("x-penstock-provider") == "p1"


def test_a_target_that_refuses_connections_is_passed_over(fake, start):
    gateway = start(
        config(
            fake,
            providers={"gone": unreachable(), "up": provider(fake)},
            models=[
                {
                    "name": "m",
                    "targets": [{"provider": "gone", "model": "x"}, {"provider": "up", "model": "y"}],
                }
            ],
        )
    )
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.headers.get("x-penstock-provider") == "up"
    assert answer.headers.get("x-penstock-attempts") == "2"
    assert gateway.chat().headers.get("x-penstock-attempts") == "1"


def test_a_silent_target_is_passed_over(pair, start):
    first, second = pair
    settings = targets(first, second)
    settings["providers"]["p0"]["timeouts"] = {"request": "200ms", "first_token": "200ms"}
    gateway = start(settings)
    first.always(up.silent)
    answer = gateway.chat()
    assert answer.status == 200
    assert answer.headers.get("x-penstock-provider") == "p1"
    first.last.gone.wait()


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_the_callers_fault_is_nobody_elses(pair, start, status):
    first, second = pair
    gateway = start(targets(first, second))
    body = b'{"error":{"message":"yours","type":"invalid_request_error","param":"n","code":"c"}}'
    first.always(up.whole(body, status))
    for _ in range(3):
        answer = gateway.chat()
        assert answer.status == status
        assert answer.body == body
        assert answer.headers.get("x-penstock-attempts") == "1"
    assert len(first.requests) == 3 and second.requests == []


def test_a_target_comes_back_after_its_retry_after(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.then(up.error(429, headers=[("Retry-After", "1")]))
    assert gateway.chat().headers.get("x-penstock-provider") == "p1"
    # Only the first may say when: a request that comes after its time is given to it again.
    for _ in range(100_000):
        if gateway.chat().headers.get("x-penstock-provider") == "p0":
            break
    assert len(first.requests) == 2
    assert gateway.chat().headers.get("x-penstock-provider") == "p0"


def test_a_long_retry_after_is_kept_to(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.then(up.error(429, headers=[("Retry-After", "3600")]))
    for _ in range(20):
        assert gateway.chat().headers.get("x-penstock-provider") == "p1"
    assert len(first.requests) == 1


def test_the_last_error_passes_unchanged(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.always(up.error(500, "first"))
    body = b'{ "error":{"message":"second","type":"overloaded","param":null,"code":1.0} }'
    second.always(up.whole(body, 503, headers=[("Retry-After", "7")]))
    answer = gateway.chat()
    assert answer.status == 503
    assert answer.body == body
    assert answer.headers.get("retry-after") == "7"
    assert answer.headers.get("x-penstock-attempts") == "2"
    assert answer.headers.get("x-penstock-provider") == "p1"


def test_when_all_are_left_out_one_is_asked_all_the_same(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.then(up.error(500))
    second.then(up.error(500))
    assert gateway.chat().status == 500
    assert gateway.chat().status == 200


def test_with_one_target_its_error_passes_and_the_next_request_is_served(fake, gateway):
    fake.then(up.error(500, "once"))
    answer = gateway.chat()
    assert answer.status == 500
    assert answer.error["message"] == "once"
    assert gateway.chat().status == 200


def test_an_error_as_large_as_the_hold_passes_whole(fake, gateway):
    body = b'{"error":{"message":"' + b"a" * (65536 - 24) + b'"}}'
    assert len(body) == 65536
    head = b"HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 65536\r\n\r\n"
    fake.then(up.bare(head + body))
    answer = gateway.chat()
    assert answer.status == 400
    assert answer.body == body


def test_an_upstream_429_alone_passes_with_its_headers(fake, gateway):
    fake.always(
        up.error(
            429,
            "slow down",
            "rate_limit_error",
            "rate_limit_exceeded",
            headers=[("Retry-After", "3"), ("retry-after-ms", "2500")],
        )
    )
    answer = gateway.chat()
    assert answer.status == 429
    assert answer.headers.get("retry-after") == "3"
    assert answer.headers.get("retry-after-ms") == "2500"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_of_ours_is_not_blamed_on_the_client(fake, gateway, status):
    fake.always(
        up.error(
            status, f"Incorrect API key provided: {UPSTREAM_KEY}", "invalid_request_error", "invalid_api_key"
        )
    )
    for body in ({}, STREAM):
        answer = gateway.chat(body)
        assert answer.status == 502
        assert answer.error["code"] == "upstream_authentication_failed"
        assert answer.error["type"] == "upstream_error"
        assert UPSTREAM_KEY.encode() not in answer.raw_head + answer.body
    gateway.line_of(answer)
    assert UPSTREAM_KEY.encode() not in gateway.raw_log


def test_a_refused_key_fails_over(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.always(up.error(401))
    assert gateway.chat().headers.get("x-penstock-provider") == "p1"


def test_with_auth_client_the_clients_key_is_to_blame(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, api_key=None, auth="client")}))
    body = b'{"error":{"message":"Incorrect API key","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}'
    fake.always(up.whole(body, 401))
    answer = gateway.chat(headers=[("Authorization", "Bearer my-own")])
    assert answer.status == 401
    assert answer.body == body


def test_weighted_gives_by_weight(pair, start):
    first, second = pair
    gateway = start(targets(first, second, strategy="weighted", weights=[4, 1]))
    with gateway.connect() as connection:
        for _ in range(200):
            connection.request(
                "POST", "/v1/embeddings", [("Content-Type", "application/json")], b'{"model":"m","input":"a"}'
            )
            assert connection.read_response().status == 200
    # 160 to 40 on average; five standard deviations are 28.
    assert 132 <= len(first.requests) <= 188
    assert len(first.requests) + len(second.requests) == 200


def test_weighted_fails_over(pair, start):
    first, second = pair
    gateway = start(targets(first, second, strategy="weighted", weights=[100, 1]))
    first.always(up.error(500))
    for _ in range(20):
        assert gateway.chat().status == 200


def test_least_busy_gives_to_who_has_least_to_do(pair, start):
    first, second = pair
    gateway = start(targets(first, second, strategy="least_busy"))
    gate = up.Gate()
    for fake in pair:
        fake.always(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    connections = [gateway.connect() for _ in range(8)]
    answers = []
    for connection in connections:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        answers.append(answer)
    assert (len(first.requests), len(second.requests)) == (4, 4)
    gate.open()
    for connection, answer in zip(connections, answers):
        connection.read_body(answer)
        connection.close()


def replicas(*fakes, strategy="ordered", **more):
    made = provider(fakes[0], base_url=None, endpoints=[fake.base_url for fake in fakes], **more)
    return config(
        providers={"up": made},
        models=[{"name": "m", "strategy": strategy, "targets": [{"provider": "up", "model": "up-model"}]}],
    )


def test_replicas_fail_over(pair, start):
    first, second = pair
    gateway = start(replicas(first, second))
    first.always(up.error(503))
    second.always(up.error(503))
    assert gateway.chat().status == 503
    assert len(first.requests) == 1 and len(second.requests) == 1
    second.always(up.answer)
    # Both are left out for a moment; as soon as the second has been asked again it serves all.
    while gateway.chat().status != 200:
        assert len(first.requests) < 100
    asked = len(first.requests)
    for _ in range(10):
        assert gateway.chat().headers.get("x-penstock-provider") == "up"
    assert len(second.requests) >= 12 and len(first.requests) <= asked + 1


def test_replicas_share_the_work_under_least_busy(pair, start):
    first, second = pair
    gateway = start(replicas(first, second, strategy="least_busy"))
    gate = up.Gate()
    for fake in pair:
        fake.always(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    connections = [gateway.connect() for _ in range(4)]
    for connection in connections:
        gateway.open_chat(connection)
        connection.read_events(connection.read_head(), 2)
    assert (len(first.requests), len(second.requests)) == (2, 2)
    gate.open()
    for connection in connections:
        connection.close()


def keys_of(fake):
    return [request.headers.get("authorization").removeprefix("Bearer ") for request in fake.requests]


@pytest.mark.parametrize("status", [401, 429])
def test_another_key_is_tried_when_one_is_refused_or_used_up(fake, start, status):
    gateway = start(
        config(
            fake, providers={"up": provider(fake, api_key=None, api_keys=["key-one-1111", "key-two-2222"])}
        )
    )

    def by_key(exchange):
        if exchange.request.headers.get("authorization") == "Bearer key-one-1111":
            up.error(status, headers=[("Retry-After", "600")])(exchange)
        else:
            up.answer(exchange)

    fake.always(by_key)
    for _ in range(5):
        assert gateway.chat().status == 200
    used = keys_of(fake)
    assert used.count("key-one-1111") <= 1
    assert used.count("key-two-2222") == 5


def test_a_failing_endpoint_is_not_tried_with_its_other_key(start):
    """The host is down, not the key: a second key would only double the failures."""
    with up.Fake() as first, up.Fake() as second:
        settings = targets(first, second)
        del settings["providers"]["p0"]["api_key"]
        settings["providers"]["p0"]["api_keys"] = ["key-one-1111", "key-two-2222"]
        gateway = start(settings)
        first.always(up.error(503))
        assert gateway.chat().headers.get("x-penstock-provider") == "p1"
        assert len(first.requests) == 1
        gateway.stop()


def test_attempts_are_told_in_log_and_metrics(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.always(up.error(500))
    answer = gateway.chat()
    line = gateway.line_of(answer)
    assert line["attempts"] == 2
    attempts = line["tried"]
    assert len(attempts) == 2
    assert attempts[0]["status"] == 500
    assert attempts[1]["status"] == 200
    assert "p0" in json.dumps(attempts[0]) and "p1" in json.dumps(attempts[1])
    assert gateway.metric("penstock_retries_total") == 1
    assert gateway.metric("penstock_upstream_errors_total", provider="p0") == 1
    assert gateway.metric("penstock_requests_total", provider="p1", status="200", door="chat") == 1


def test_the_body_of_a_failed_over_request_is_whole(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    first.always(up.error(500))
    text = "é" * 300_000
    assert gateway.chat(messages=[{"role": "user", "content": text}]).status == 200
    for fake, name in ((first, "model-0"), (second, "model-1")):
        assert fake.last.json() == {"model": name, "messages": [{"role": "user", "content": text}]}


def test_no_failover_after_the_first_content(pair, start):
    first, second = pair
    gateway = start(targets(first, second))
    gate = up.Gate()
    first.always(up.script(up.ROLE, up.delta("a"), gate, "rst"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        assert answer.headers.get("x-penstock-provider") == "p0"
        connection.read_events(answer, 2)
        gate.open()
        connection.read_cut(answer)
    assert second.requests == []


# The upstream's queue


def test_connections_to_an_upstream_are_limited_and_others_wait(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, max_connections=2)}))
    gates = [up.Gate() for _ in range(4)]
    fake.then(*(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish") for gate in gates))
    connections = [gateway.connect() for _ in range(4)]
    for connection in connections:
        gateway.open_chat(connection)
    fake.wait_requests(2)
    assert gateway.get("/health/live").status == 200
    assert len(fake.requests) == 2 and fake.connections == 2
    for gate in gates:
        gate.open()
    for connection in connections:
        assert connection.read_response().status == 200
        connection.close()
    assert len(fake.requests) == 4 and fake.connections == 2


def test_a_full_queue_is_a_503(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, max_connections=1, max_queue=1)}))
    gate = up.Gate()
    fake.always(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    running, waiting = gateway.connect(), gateway.connect()
    gateway.open_chat(running)
    running.read_events(running.read_head(), 2)
    gateway.open_chat(waiting)
    while gateway.metric("penstock_upstream_queue") < 1:
        pass
    answer = gateway.chat()
    assert answer.status == 503
    assert answer.error["code"] == "upstream_queue_full"
    assert int(answer.headers.get("retry-after")) >= 1
    gate.open()
    assert waiting.read_response().status == 200
    running.close()
    waiting.close()


def test_a_full_queue_fails_over(pair, start):
    first, second = pair
    settings = targets(first, second)
    settings["providers"]["p0"].update(max_connections=1, max_queue=0)
    gateway = start(settings)
    gate = up.Gate()
    first.always(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    with gateway.connect() as running:
        gateway.open_chat(running)
        running.read_events(running.read_head(), 2)
        assert gateway.chat().headers.get("x-penstock-provider") == "p1"
        gate.open()


def test_a_client_that_leaves_the_queue_frees_its_place(fake, start):
    gateway = start(config(fake, providers={"up": provider(fake, max_connections=1, max_queue=1)}))
    gate = up.Gate()
    fake.always(up.script(up.ROLE, up.delta("a"), gate, up.FINISH, up.DONE, "finish"))
    with gateway.connect() as running:
        gateway.open_chat(running)
        running.read_events(running.read_head(), 2)
        waiting = gateway.connect()
        gateway.open_chat(waiting)
        while gateway.metric("penstock_upstream_queue") < 1:
            pass
        waiting.close()
        while gateway.metric("penstock_upstream_queue") > 0:
            pass
        gate.open()
    gateway.wait_log(end="client_gone")
    assert len(fake.requests) == 1
