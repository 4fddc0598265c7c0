# SPDX-License-Identifier: Apache-2.0
"""Who may ask: keys, origins, hosts; and that secrets stay secret."""

import hashlib
import json

import pytest

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider, run_command
from support.raw import Connection

ALICE = "alice-key-SECRET-0123456789"
CI = "ci-key-SECRET-9876543210"
JSON = [("Content-Type", "application/json")]


def with_keys(fake, **more):
    keys = [
        {"name": "alice", "key_sha256": hashlib.sha256(ALICE.encode()).hexdigest()},
        {"name": "ci", "key_file": "ci-key"},
    ]
    return config(fake, auth={"keys": keys}, **more)


@pytest.fixture
def locked(fake, start):
    return start(with_keys(fake), files={"ci-key": CI + "\n"})


# Keys


@pytest.mark.parametrize("key", [ALICE, CI], ids=["sha256", "file"])
@pytest.mark.parametrize(
    "header",
    ["Authorization: Bearer ", "authorization: bearer ", "x-api-key: ", "api-key: ", "X-API-Key:   ", "x-goog-api-key: "],
)
def test_a_key_opens_by_each_header(locked, key, header):
    name, prefix = header.split(":", 1)
    assert locked.chat(headers=[(name, prefix.lstrip() + key)]).status == 200
    assert locked.ask("GET", "/v1/models", [(name, prefix.lstrip() + key)]).status == 200


def test_the_clients_key_stays_here(fake, locked):
    assert locked.chat(headers=[("x-api-key", ALICE)]).status == 200
    assert b"SECRET-0123456789" not in fake.last.raw_head
    assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"


WRONG = [
    [],
    [("Authorization", "")],
    [("Authorization", "Bearer")],
    [("Authorization", "Bearer ")],
    [("Authorization", "Bearer wrong")],
    [("Authorization", f"Basic {ALICE}")],
    [("Authorization", ALICE)],
    [("Authorization", f"Bearer {ALICE}x")],
    [("Authorization", f"Bearer {ALICE[:-1]}")],
    [("Authorization", f"Bearer {ALICE.upper()}")],
    [("Authorization", f"Bearer {hashlib.sha256(ALICE.encode()).hexdigest()}")],
    [("x-api-key", "wrong")],
    [("x_api_key", ALICE)],
    [("api-key", "")],
    [("Authorization", "Bearer alice")],
]


def test_every_failure_looks_the_same(fake, locked):
    seen = set()
    for headers in WRONG:
        answer = locked.chat(headers=headers)
        assert answer.status == 401, headers
        error = answer.error
        assert error["code"] == "invalid_api_key"
        assert error["type"] == "invalid_request_error"
        names = tuple(sorted(answer.headers.names()))
        request_id = answer.headers.get("x-request-id").encode()
        seen.add((names, answer.body.replace(request_id, b"ID")))
    assert len(seen) == 1, seen
    assert fake.requests == []


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/generate"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/m"),
        ("POST", "/v1/moderations"),
    ],
)
def test_every_door_that_serves_models_is_locked(fake, locked, method, path):
    assert locked.ask(method, path, body=b"{}" if method == "POST" else None).status == 401
    assert fake.requests == []


def test_two_keys_in_one_header_name_are_no_key(locked):
    answer = locked.chat(headers=[("x-api-key", "wrong"), ("x-api-key", ALICE)])
    assert answer.status in (400, 401)


def test_the_connection_stays_usable_after_a_401(locked):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}]}).encode()
    with locked.connect() as connection:
        connection.request("POST", "/v1/chat/completions", JSON, body)
        assert connection.read_response().status == 401
        connection.request("POST", "/v1/chat/completions", JSON + [("x-api-key", ALICE)], body)
        assert connection.read_response().status == 200


def test_the_log_names_the_key_by_its_name(locked):
    answer = locked.chat(headers=[("x-api-key", CI)])
    assert "ci" in locked.line_of(answer).values()


def test_path_tricks_do_not_open_doors(fake, locked):
    for path in (
        "/v1/models?/health/live",
        "/health/../v1/models",
        "/health/live/../../v1/models",
        "//v1/models",
        "/v1/models;x=/health",
        "/%76%31/models",
        "/v1%2fmodels",
        "/v1/./models",
        "/V1/models",
        "/health/live%00/v1/models",
    ):
        assert locked.get(path).status in (400, 401, 404), path
    with locked.connect() as connection:
        for host in ("x/health", "a\\@b", "localhost/health?", "localhost#"):
            with locked.connect() as connection:
                connection.request("GET", "/v1/models", [("Host", host)])
                assert connection.read_response().status in (400, 401, 403), host


# Origins


def test_a_foreign_origin_is_refused(both):
    gateway, fake = both
    for origin in ("https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1"):
        for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            answer = gateway.post(
                "/generate", b'{"prompt":"a"}', [("Origin", origin), ("Content-Type", content_type)]
            )
            assert answer.status == 403, origin
            assert answer.error["code"] == "origin_not_allowed"
            assert "access-control-allow-origin" not in answer.headers
    assert fake.requests == []


def test_an_origin_of_the_list_may_ask(fake, start):
    gateway = start(config(fake, cors={"origins": ["https://app.example"]}))
    answer = gateway.chat(headers=[("Origin", "https://app.example")])
    assert answer.status == 200
    assert answer.headers.get("access-control-allow-origin") == "https://app.example"
    assert "origin" in answer.headers.get("vary").lower()
    exposed = answer.headers.get("access-control-expose-headers").lower().split(", ")
    assert "x-request-id" in exposed and "location" in exposed
    for other in (
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:444",
        "https://APP.example2",
    ):
        assert gateway.chat(headers=[("Origin", other)]).status == 403
    # Errors are readable by the page too.
    answer = gateway.chat(headers=[("Origin", "https://app.example")], model="nope")
    assert answer.status == 404
    assert answer.headers.get("access-control-allow-origin") == "https://app.example"


def preflight(gateway, origin, method="POST", path="/v1/chat/completions"):
    return gateway.ask(
        "OPTIONS",
        path,
        [
            ("Origin", origin),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization,content-type,x-stainless-lang"),
        ],
    )


def test_a_preflight_needs_no_key_and_allows(fake, start):
    gateway = start(with_keys(fake, cors={"origins": ["https://app.example"]}), files={"ci-key": CI})
    answer = preflight(gateway, "https://app.example")
    assert answer.status in (200, 204)
    assert answer.body == b""
    assert answer.headers.get("access-control-allow-origin") == "https://app.example"
    assert "POST" in answer.headers.get("access-control-allow-methods")
    allowed = {name.strip().lower() for name in answer.headers.get("access-control-allow-headers").split(",")}
    assert {"authorization", "content-type", "x-stainless-lang"} <= allowed


def test_a_preflight_of_a_foreign_origin_is_refused(fake, start):
    gateway = start(with_keys(fake, cors={"origins": ["https://app.example"]}), files={"ci-key": CI})
    answer = preflight(gateway, "https://evil.example")
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def test_two_origins_are_refused(fake, start):
    gateway = start(config(fake, cors={"origins": ["https://app.example"]}))
    answer = gateway.chat(headers=[("Origin", "https://app.example"), ("Origin", "https://evil.example")])
    assert answer.status in (400, 403)


# Host


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9999", "[::1]", "[::1]:8080", "127.1.2.3"]
)
def test_local_hosts_are_welcome_on_loopback(both, host):
    gateway, _ = both
    assert gateway.get("/v1/models", [("Host", host)]).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "0.0.0.0",
    ],
)
def test_other_hosts_are_refused_on_loopback(both, host):
    """What a page that has its name point to 127.0.0.1 sends."""
    gateway, fake = both
    answer = gateway.chat(headers=[("Host", host)])
    assert answer.status == 403
    assert answer.error["code"] == "host_not_allowed"
    assert fake.requests == []


def test_other_hosts_are_welcome_on_an_open_listener(fake, start):
    gateway = start(with_keys(fake, listen=[{"address": "0.0.0.0:0"}]), files={"ci-key": CI})
    with Connection(("127.0.0.1", gateway.address[1])) as connection:
        connection.request("GET", "/v1/models", [("Host", "api.example.com"), ("x-api-key", ALICE)])
        assert connection.read_response().status == 200


# Nobody's open relay


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0", "*:0"])
def test_an_open_listener_without_keys_does_not_start(fake, start, address):
    gateway = start(config(fake, listen=[{"address": address}]), wait=False)
    status = gateway.wait_exit()
    assert status == 1
    told = "\n".join(gateway.noise) + json.dumps(gateway.log)
    assert "penstock.yaml:" in told
    gateway.stopped = True


def test_the_message_names_the_way_out(fake, start):
    gateway = start(config(fake, listen=[{"address": "0.0.0.0:0"}]), wait=False)
    assert gateway.wait_exit() == 1
    told = "\n".join(gateway.noise) + json.dumps(gateway.log)
    assert "auth" in told and "none" in told
    assert gateway.listening == []
    gateway.stopped = True


def test_an_open_listener_with_auth_none_starts(fake, start):
    gateway = start(config(fake, listen=[{"address": "0.0.0.0:0"}], auth="none"))
    with Connection(("127.0.0.1", gateway.address[1])) as connection:
        connection.request("GET", "/v1/models")
        assert connection.read_response().status == 200


def test_one_open_listener_among_loopback_ones_is_enough_to_refuse(fake, start):
    gateway = start(config(fake, listen=[{"address": "127.0.0.1:0"}, {"address": "0.0.0.0:0"}]), wait=False)
    assert gateway.wait_exit() == 1
    gateway.stopped = True


def test_the_command_line_cannot_open_it_either(fake, start):
    gateway = start(config(fake), arguments=["-l", "0.0.0.0:0"], wait=False)
    assert gateway.wait_exit() == 1
    gateway.stopped = True


# Secrets


def test_secrets_are_nowhere(fake, start, tmp_path):
    settings = with_keys(
        fake,
        log={"level": "debug"},
        providers={"up": provider(fake, api_key="${UP_SECRET}", headers={"X-Extra": "header-SECRET-1"})},
    )
    gateway = start(settings, files={"ci-key": CI}, env={"UP_SECRET": UPSTREAM_KEY})
    seen = b""
    fake.then(up.answer, up.error(401, UPSTREAM_KEY), up.error(500), up.reset, up.whole(b"garbage"))
    for body in ({}, {}, {}, {}, {}, {"stream": True}, {"model": "nope"}):
        answer = gateway.chat(body, [("Authorization", f"Bearer {ALICE}")])
        seen += answer.raw_head + answer.body
    answer = gateway.chat(headers=[("Authorization", "Bearer wrong-SECRET-key")])
    seen += answer.raw_head + answer.body
    seen += gateway.get("/metrics").body
    gateway.line_of(answer)
    status, out, err = run_command("check", "-c", gateway.file, env={"UP_SECRET": UPSTREAM_KEY})
    assert status == 0, err
    seen += out.encode() + err.encode()
    gateway.stop()
    seen += gateway.raw_log
    assert fake.requests[0].headers.get("x-extra") == "header-SECRET-1"
    assert fake.requests[0].headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert b"SECRET" not in seen.replace(b"UP_SECRET", b""), seen[max(0, seen.index(b"SECRET") - 200) :][:400]


def test_body_fields_choose_no_host_and_no_key(both):
    gateway, fake = both
    for field in ("base_url", "api_base", "api_key"):
        answer = gateway.chat({field: "http://127.0.0.1:1/SECRET"})
        if answer.status == 200:
            assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
        else:
            assert answer.status == 400
            assert answer.error["param"] == field
