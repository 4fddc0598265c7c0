# SPDX-License-Identifier: Apache-2.0
# ctest-labels: threads
"""SIGHUP reads the configuration anew; a broken one keeps the old."""

import hashlib
import json

import pytest

from support import fake as up
from support.gateway import config, provider


def with_models(fake, *names, **more):
    models = [{"name": name, "targets": [{"provider": "up", "model": f"{name}-upstream"}]} for name in names]
    return config(fake, default_model=None, models=models, **more)


def reload_ok(gateway, times=1):
    gateway.reload()
    gateway.wait_for(
        lambda: len(gateway.find_log(msg="configuration reloaded")) >= times, "reload in the log"
    )


def reload_failed(gateway, times=1):
    gateway.reload()
    found = lambda: [line for line in gateway.log if "configuration kept as it was" in line["msg"]]  # noqa: E731
    gateway.wait_for(lambda: len(found()) >= times, "refusal in the log")
    return found()[-1]


def test_a_new_model_appears_and_an_old_one_goes(fake, start):
    gateway = start(with_models(fake, "a", "b"))
    assert gateway.chat(model="a").status == 200
    gateway.configure(with_models(fake, "b", "c"))
    reload_ok(gateway)
    assert gateway.chat(model="a").status == 404
    assert gateway.chat(model="b").status == 200
    assert gateway.chat(model="c").status == 200
    assert fake.last.json()["model"] == "c-upstream"
    assert [model["id"] for model in gateway.get("/v1/models").json()["data"]] == ["b", "c"]


@pytest.mark.parametrize(
    "broken, line",
    [
        ("listen: [\n", None),
        ("nonsense: 1\n", 1),
        ("limits:\n  body_bytes: many\n", 2),
        ("providers:\n  up:\n    dialect: nope\n    base_url: http://127.0.0.1:1/v1\n", 3),
        ("models:\n  - name: x\n    targets: [ { provider: nobody } ]\n", 3),
    ],
)
def test_a_broken_configuration_keeps_the_old_and_says_where(fake, start, broken, line):
    gateway = start(with_models(fake, "a"))
    gateway.configure(broken)
    told = reload_failed(gateway)
    assert "penstock.yaml" in told["msg"]
    if line:
        assert f"penstock.yaml:{line}:" in told["msg"]
    assert gateway.chat(model="a").status == 200
    gateway.configure(with_models(fake, "a", "b"))
    reload_ok(gateway)
    assert gateway.chat(model="b").status == 200


def test_a_missing_file_keeps_the_old(fake, start):
    import os

    gateway = start(with_models(fake, "a"))
    os.unlink(gateway.file)
    reload_failed(gateway)
    assert gateway.chat(model="a").status == 200


def test_running_streams_keep_what_they_began_with(fake, start):
    gateway = start(with_models(fake, "a"))
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("x"), gate, up.FINISH, up.DONE, "finish"))
    with up.Fake() as other, gateway.connect() as connection:
        gateway.open_chat(connection, model="a")
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gateway.configure(with_models(other, "b"))
        reload_ok(gateway)
        assert gateway.chat(model="b").status == 200
        assert len(other.requests) == 1
        gate.open()
        connection.read_body(answer)
        assert answer.body.endswith(up.DONE)
        # The same connection serves the new configuration.
        gateway.open_chat(connection, model="a")
        assert connection.read_response().status == 404


def test_keys_are_read_again(fake, start):
    def keyed(*names):
        keys = [{"name": name, "key_sha256": hashlib.sha256(name.encode()).hexdigest()} for name in names]
        return with_models(fake, "a", auth={"keys": keys})

    gateway = start(keyed("one", "two"))
    assert gateway.chat(model="a", headers=[("x-api-key", "one")]).status == 200
    gateway.configure(keyed("two", "three"))
    reload_ok(gateway)
    assert gateway.chat(model="a", headers=[("x-api-key", "one")]).status == 401
    for name in ("two", "three"):
        assert gateway.chat(model="a", headers=[("x-api-key", name)]).status == 200


def test_an_upstream_key_is_changed(fake, start):
    gateway = start(with_models(fake, "a"), files={"key": "first-key-11112222\n"})
    settings = with_models(fake, "a", providers={"up": provider(fake, api_key=None, api_key_file="key")})
    gateway.configure(settings)
    reload_ok(gateway)
    assert gateway.chat(model="a").status == 200
    assert fake.last.headers.get("authorization") == "Bearer first-key-11112222"
    gateway.write("key", "second-key-33334444\n")
    reload_ok(gateway, 2)
    assert gateway.chat(model="a").status == 200
    assert fake.last.headers.get("authorization") == "Bearer second-key-33334444"


def test_connections_and_health_outlive_a_reload(fake, start):
    """An unchanged upstream keeps its connection, and a target that was left out stays so."""
    with up.Fake() as bad:

        def settings(*names):
            providers = {"bad": provider(bad), "up": provider(fake)}
            targets = [{"provider": "bad", "model": "x"}, {"provider": "up", "model": "y"}]
            return config(
                fake,
                default_model=None,
                providers=providers,
                models=[{"name": name, "targets": targets} for name in names],
            )

        gateway = start(settings("a"))
        bad.always(up.error(503, headers=[("Retry-After", "3600")]))
        assert gateway.chat(model="a").status == 200
        gateway.configure(settings("a", "b"))
        reload_ok(gateway)
        for _ in range(3):
            assert gateway.chat(model="b").status == 200
        assert len(bad.requests) == 1
        assert fake.connections == 1
        gateway.stop()


def test_many_reloads_while_requests_run(fake, start):
    gateway = start(with_models(fake, "a"))
    with gateway.connect() as connection:
        for number in range(30):
            gateway.configure(with_models(fake, "a", f"b{number}"))
            gateway.reload()
            gateway.open_chat(connection, model="a")
            assert connection.read_response().status == 200
    gateway.wait_for(lambda: gateway.find_log(msg="configuration reloaded"))


def test_the_log_level_is_changed(fake, start):
    gateway = start(with_models(fake, "a", log={"level": "error"}))
    gateway.chat(model="a")
    gateway.configure(with_models(fake, "a", log={"level": "info"}))
    gateway.reload()
    gateway.wait_for(lambda: gateway.find_log(msg="configuration reloaded"))
    answer = gateway.chat(model="a")
    gateway.line_of(answer)
    assert len(gateway.request_lines()) == 1


def test_what_needs_a_restart_is_said(fake, start):
    gateway = start(with_models(fake, "a"))
    gateway.configure(with_models(fake, "a", workers={"event_loops": 3}))
    reload_ok(gateway)
    told = json.dumps(gateway.log)
    assert "workers.event_loops" in told and "restart" in told
    assert gateway.chat(model="a").status == 200


def test_reloads_are_counted(fake, start):
    gateway = start(with_models(fake, "a"))
    reload_ok(gateway)
    gateway.configure("nonsense: 1\n")
    reload_failed(gateway)
    assert gateway.metric("penstock_config_reloads_total", result="ok") == 1
    assert gateway.metric("penstock_config_reloads_total", result="failed") == 1
