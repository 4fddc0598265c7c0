# SPDX-License-Identifier: Apache-2.0
"""Webhooks of background jobs, from the request to a receiver that checks the signature."""

import base64
import hashlib
import hmac
import ssl
import time

import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config
from support.jobs import batch_of, lines, submit, until, upload, wait_batch, wait_job

SECRET = b"0123456789abcdef0123456789abcdef"
NAMED = "whsec_" + base64.b64encode(SECRET).decode()
OTHER = "whsec_" + base64.b64encode(b"another secret of the same length").decode()


def settings(fake, **jobs):
    jobs = {"webhook_secret": "${HOOK_SECRET}", "webhook_private": True, **jobs}
    return config(fake, jobs={key: value for key, value in jobs.items() if value is not None})


ENVIRONMENT = {"HOOK_SECRET": NAMED}


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake, up.Fake() as receiver:
        with Gateway(settings(fake), env=ENVIRONMENT) as gateway:
            yield fake, receiver, gateway


@pytest.fixture
def trio(servers):
    fake, receiver, gateway = servers
    fake.forget()
    receiver.forget()
    receiver.always(say(204))
    return fake, receiver, gateway


def say(status, headers=()):
    return lambda exchange: exchange.whole(b"", status, None, headers)


def url_of(receiver, rest="/hook?token=t"):
    return f"http://127.0.0.1:{receiver.port}{rest}"


def check(request, secret=SECRET):
    """What the receiver of a Standard Webhook does. The payload."""
    stamp = request.headers.get("webhook-timestamp")
    assert abs(int(stamp) - time.time()) < 300
    signed = f"{request.headers.get('webhook-id')}.{stamp}.".encode() + request.body
    made = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert request.headers.get("webhook-signature") == f"v1,{made}"
    assert request.headers.get("content-type") == "application/json"
    assert not any(name in request.headers for name in ("authorization", "x-api-key", "cookie"))
    payload = request.json()
    assert set(payload) == {"type", "timestamp", "data"}
    assert payload["data"]["id"] == request.headers.get("webhook-id")
    return payload


def held(exchange):
    exchange.wait_gone()


def test_completed(trio):
    _, receiver, gateway = trio
    answer = submit(gateway, webhook=url_of(receiver))
    assert answer.status == 202
    (request,) = receiver.wait_requests(1)
    assert (request.method, request.target) == ("POST", "/hook?token=t")
    payload = check(request)
    assert payload["type"] == "job.completed"
    assert payload["data"] == {"id": answer.json()["id"], "status": "completed"}
    assert wait_job(gateway, answer.json()["id"])["status"] == "completed"


def test_an_object_with_a_url(trio):
    _, receiver, gateway = trio
    answer = submit(gateway, webhook={"url": url_of(receiver, "")})
    assert answer.status == 202
    assert receiver.wait_requests(1)[0].target == "/"


def test_failed(trio):
    fake, receiver, gateway = trio
    fake.always(lambda exchange: exchange.whole({"error": {"message": "no"}}, 400))
    submit(gateway, webhook=url_of(receiver))
    payload = check(receiver.wait_requests(1)[0])
    assert payload["type"] == "job.failed"


def test_cancelled(trio):
    fake, receiver, gateway = trio
    fake.always(held)
    job = submit(gateway, webhook=url_of(receiver)).json()["id"]
    fake.wait_requests(1)
    assert gateway.ask("DELETE", f"/jobs/{job}").status == 200
    payload = check(receiver.wait_requests(1)[0])
    assert payload["type"] == "job.cancelled"


def test_tried_again_and_redirects_not_followed(trio):
    fake, receiver, gateway = trio
    with up.Fake() as elsewhere:
        receiver.then(say(302, [("Location", elsewhere.base_url)]))
        job = submit(gateway, webhook=url_of(receiver)).json()["id"]
        first, second = receiver.wait_requests(2)
        assert first.headers.get("webhook-id") == second.headers.get("webhook-id") == job
        assert check(first) == check(second)
        assert int(second.headers.get("webhook-timestamp")) >= int(first.headers.get("webhook-timestamp")) + 4
        assert not elsewhere.requests
    line = gateway.wait_log(msg="webhook failed", id=job)
    assert (line["status"], line["attempt"], line["host"]) == (302, 1, "127.0.0.1")
    assert b"token=t" not in gateway.raw_log


def test_a_batch(trio):
    _, receiver, gateway = trio
    made = batch_of(gateway, lines(3), webhook=url_of(receiver))
    payload = check(receiver.wait_requests(1)[0])
    batch = wait_batch(gateway, made["id"])
    assert payload["type"] == "batch.completed"
    assert payload["data"] == {
        "id": batch["id"],
        "status": "completed",
        "request_counts": {"total": 3, "completed": 3, "failed": 0},
        "output_file_id": batch["output_file_id"],
        "error_file_id": None,
    }


def test_a_batch_that_fails(trio):
    _, receiver, gateway = trio
    made = batch_of(gateway, b"no json\n", webhook={"url": url_of(receiver)})
    payload = check(receiver.wait_requests(1)[0])
    assert (payload["type"], payload["data"]["id"]) == ("batch.failed", made["id"])


def test_a_batch_that_is_cancelled(trio):
    fake, receiver, gateway = trio
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        up.answer(exchange)

    fake.always(slow)
    made = batch_of(gateway, lines(3), webhook=url_of(receiver))
    fake.wait_requests(1)
    assert gateway.ask("POST", f"/v1/batches/{made['id']}/cancel").status == 200
    gate.open()
    payload = check(receiver.wait_requests(1)[0])
    assert payload["type"] == "batch.cancelled"


def test_a_batch_by_the_official_sdk(trio):
    _, receiver, gateway = trio
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        file = client.files.create(file=("in.jsonl", lines(1)), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            extra_body={"webhook": url_of(receiver)},
        )
    assert check(receiver.wait_requests(1)[0])["data"]["id"] == made.id


def test_gone_is_the_end(trio):
    _, receiver, gateway = trio
    receiver.then(say(410))
    job = submit(gateway, webhook=url_of(receiver)).json()["id"]
    gateway.wait_log(msg="webhook given up", id=job)
    assert len(receiver.requests) == 1


def test_a_slow_receiver_keeps_nobody_waiting():
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        exchange.whole(b"", 204)

    with up.Fake() as fake, up.Fake() as receiver, up.Fake() as other:
        receiver.always(slow)
        other.always(say(204))
        with Gateway(settings(fake), env=ENVIRONMENT) as gateway:
            jobs = {submit(gateway, webhook=url_of(receiver, f"/{i}")).json()["id"] for i in range(40)}
            for job in jobs:
                wait_job(gateway, job)
            receiver.wait_requests(8)
            for i in range(3):
                submit(gateway, webhook=url_of(other))
                other.wait_requests(i + 1)
            assert len(receiver.requests) == 8
            assert gateway.metric("penstock_webhooks_total", outcome="delivered") >= 2
            gate.open()
            receiver.wait_requests(40)
            assert {request.headers.get("webhook-id") for request in receiver.requests} == jobs
            receiver.always(say(410))
            submit(gateway, webhook=url_of(receiver))
            receiver.then(say(500))
            counts = {"delivered": 43, "failed": 1, "given_up": 1}
            submit(gateway, webhook=url_of(receiver))
            for outcome, count in counts.items():
                until(
                    lambda: gateway.metric("penstock_webhooks_total", outcome=outcome),
                    lambda seen: seen == count,
                    outcome,
                )


def test_what_is_pending_is_a_metric():
    gate = up.Gate()

    def slow(exchange):
        exchange.wait(gate)
        exchange.whole(b"", 204)

    with up.Fake() as fake, up.Fake() as receiver:
        receiver.always(slow)
        with Gateway(settings(fake), env=ENVIRONMENT) as gateway:
            submit(gateway, webhook=url_of(receiver))
            pending = lambda: gateway.metric("penstock_webhooks_pending")
            until(pending, lambda seen: seen == 1, "pending webhook")
            gate.open()
            until(pending, lambda seen: seen == 0, "end of it")


def test_a_reload_takes_new_certificates(tmp_path):
    """Of the system's bundle, which somebody has exchanged."""
    wrong, _ = up.certificate(tmp_path, "wrong", ["elsewhere.example"])
    right, key = up.certificate(tmp_path, "right", ["127.0.0.1"])
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(open(wrong, "rb").read())
    environment = {**ENVIRONMENT, "SSL_CERT_FILE": str(bundle)}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(right, key)
    with up.Fake() as fake, up.Fake(tls=tls) as receiver:
        receiver.always(say(204))
        with Gateway(settings(fake), env=environment) as gateway:
            url = f"https://127.0.0.1:{receiver.port}/"
            job = submit(gateway, webhook=url).json()["id"]
            assert "status" not in gateway.wait_log(msg="webhook failed", id=job)
            assert not receiver.requests
            bundle.write_bytes(open(right, "rb").read())
            gateway.reload()
            gateway.wait_log(msg="configuration reloaded")
            job = submit(gateway, webhook=url).json()["id"]
            receiver.wait_for(
                lambda: job in [request.headers.get("webhook-id") for request in receiver.requests]
            )
            bundle.write_bytes(b"")  # no bundle: what was there stays in use
            gateway.reload()
            job = submit(gateway, webhook=url).json()["id"]
            gateway.wait_for(lambda: b"certificates of before the reload stay in use" in gateway.raw_log, "warning")
            receiver.wait_for(
                lambda: job in [request.headers.get("webhook-id") for request in receiver.requests]
            )


def test_a_kill_loses_none(tmp_path):
    with up.Fake() as fake, up.Fake() as receiver:
        made = {**settings(fake), "data_dir": str(tmp_path / "data")}
        receiver.always(say(503))
        first = Gateway(made, env=ENVIRONMENT)
        jobs = {submit(first, webhook=url_of(receiver)).json()["id"] for _ in range(5)}
        receiver.wait_requests(5)
        first.kill()
        receiver.always(say(200))
        with Gateway(made, env=ENVIRONMENT):
            wanted = lambda: {r.headers.get("webhook-id") for r in receiver.requests[5:]}
            until(wanted, lambda seen: seen >= jobs, "webhooks", patience=120)


def test_a_reload_changes_the_secret():
    with up.Fake() as fake, up.Fake() as receiver:
        with Gateway(settings(fake, webhook_secret=NAMED)) as gateway:
            submit(gateway, webhook=url_of(receiver))
            check(receiver.wait_requests(1)[0])
            gateway.configure(settings(fake, webhook_secret=OTHER))
            gateway.reload()
            gateway.wait_log(msg="configuration reloaded")
            submit(gateway, webhook=url_of(receiver))
            check(receiver.wait_requests(2)[1], b"another secret of the same length")
            assert NAMED.encode() not in gateway.raw_log


BATCH = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}

REFUSED = [
    "ftp://example.com/",
    "http://",
    "http://user:pass@example.com/",
    "http://example.com/#x",
    "http://exa mple.com/",
    "http://example.com:99999/",
    "//example.com",
    7,
    {"url": 7},
    {},
    ["http://example.com/"],
    "http://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize("webhook", REFUSED, ids=lambda value: str(value)[:30])
def test_what_is_no_webhook(trio, webhook):
    fake, _, gateway = trio
    batch = {"input_file_id": upload(gateway, lines(1)), **BATCH, "webhook": webhook}
    for answer in submit(gateway, webhook=webhook), gateway.post("/v1/batches", batch):
        assert answer.status == 400, answer
        assert answer.json()["error"]["param"] == "webhook"
    assert not fake.requests


PRIVATE = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://10.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
]


def test_private_addresses_are_refused():
    with up.Fake() as fake, up.Fake() as receiver:
        with Gateway(settings(fake, webhook_private=None), env=ENVIRONMENT) as gateway:
            for template in PRIVATE:
                answer = submit(gateway, webhook=template.format(port=receiver.port))
                assert answer.status == 400, (template, answer)
                assert "not public" in answer.json()["error"]["message"]
            assert receiver.connections == 0 and not fake.requests


def test_a_name_may_not_lead_inside():
    """Accepted while that was allowed; refused when the connection is made."""
    with up.Fake() as fake, up.Fake() as receiver:
        with Gateway(settings(fake), env=ENVIRONMENT) as gateway:
            gate = up.Gate()

            def slow(exchange):
                exchange.wait(gate)
                up.answer(exchange)

            fake.always(slow)
            job = submit(gateway, webhook=f"http://localhost:{receiver.port}/").json()["id"]
            fake.wait_requests(1)
            gateway.configure(settings(fake, webhook_private=False))
            gateway.reload()
            gateway.wait_log(msg="configuration reloaded")
            gate.open()
            line = gateway.wait_log(msg="webhook failed", id=job)
            assert "not a public one" in line["error"]
            assert receiver.connections == 0


def test_without_a_secret():
    with up.Fake() as fake, up.Fake() as receiver:
        with Gateway(settings(fake, webhook_secret=None)) as gateway:
            answer = submit(gateway, webhook=url_of(receiver))
            assert answer.status == 400
            assert "jobs.webhook_secret" in answer.json()["error"]["message"]
            assert submit(gateway).status == 202
