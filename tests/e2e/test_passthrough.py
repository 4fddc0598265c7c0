# SPDX-License-Identifier: Apache-2.0
"""Other /v1/ paths go to a provider of the family as they are."""

import json
import random

import pytest

from support import fake as up
from support.gateway import UPSTREAM_KEY, config, provider

JSON = [("Content-Type", "application/json")]
BOUNDARY = "----penstock7MA4"


def multipart(*parts, boundary=BOUNDARY):
    body = b""
    for headers, content in parts:
        body += b"--" + boundary.encode() + b"\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"
    return body + b"--" + boundary.encode() + b"--\r\n"


FORM = [("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")]
FILE = (
    'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav',
    random.Random(7).randbytes(70_000),
)
MODEL = ('Content-Disposition: form-data; name="model"', b"m")


@pytest.mark.parametrize(
    "path",
    ["/v1/moderations", "/v1/rerank", "/v1/images/generations", "/v1/audio/speech", "/v1/some/new/thing"],
)
def test_json_paths_pass_with_the_model_spliced(both, path):
    gateway, fake = both
    body = b'{ "input":"a", "model":"m" , "x":1.0}'
    answer = gateway.post(path, body, JSON)
    assert answer.status == 200, answer
    assert answer.json() == {"path": path, "ok": True}
    assert fake.last.body == body.replace(b'"m"', b'"up-model"')
    assert fake.last.headers.get("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert answer.headers.get("x-penstock-provider") == "up"


def test_the_query_passes(both):
    gateway, fake = both
    assert gateway.post("/v1/moderations?a=1&b=%20x", {"model": "m", "input": "a"}).status == 200
    assert fake.last.target == "/v1/moderations?a=1&b=%20x"


def test_multipart_passes_with_the_model_spliced(both):
    gateway, fake = both
    body = multipart(FILE, MODEL, ('Content-Disposition: form-data; name="language"', b"de"))
    answer = gateway.post("/v1/audio/transcriptions", body, FORM)
    assert answer.status == 200
    assert fake.last.headers.get("content-type") == FORM[0][1]
    assert fake.last.body == multipart(
        FILE, (MODEL[0], b"up-model"), ('Content-Disposition: form-data; name="language"', b"de")
    )


def test_multipart_with_the_model_before_the_file(both):
    gateway, fake = both
    assert gateway.post("/v1/audio/transcriptions", multipart(MODEL, FILE), FORM).status == 200
    assert fake.last.body == multipart((MODEL[0], b"up-model"), FILE)


def test_multipart_with_an_unknown_model(both):
    gateway, fake = both
    answer = gateway.post("/v1/audio/transcriptions", multipart((MODEL[0], b"nope"), FILE), FORM)
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert fake.requests == []


def test_what_looks_like_a_model_inside_a_file_is_none(both):
    gateway, fake = both
    trap = (FILE[0], b'x\r\nContent-Disposition: form-data; name="model"\r\n\r\nnope\r\n--other')
    assert gateway.post("/v1/audio/transcriptions", multipart(trap, MODEL), FORM).status == 200
    assert fake.last.body == multipart(trap, (MODEL[0], b"up-model"))


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "x" * 200],
)
def test_multipart_without_a_boundary_is_an_error(both, content_type):
    gateway, fake = both
    answer = gateway.post(
        "/v1/audio/transcriptions", multipart(MODEL, FILE), [("Content-Type", content_type)]
    )
    assert answer.status in (400, 415)
    assert answer.error["message"]
    assert fake.requests == []


def test_x_penstock_provider_chooses_the_provider(start):
    with up.Fake() as one, up.Fake() as two:
        gateway = start(
            config(
                one, providers={"one": provider(one), "two": provider(two)}, models=None, default_model=None
            )
        )
        for name, chosen, other in (("one", one, two), ("two", two, one)):
            chosen.forget()
            other.forget()
            answer = gateway.post("/v1/moderations", {"input": "a"}, [("x-penstock-provider", name)])
            assert answer.status == 200
            assert answer.headers.get("x-penstock-provider") == name
            assert len(chosen.requests) == 1 and other.requests == []
        assert "x-penstock-provider" not in two.last.headers
        gateway.stop()


def test_an_unknown_provider_is_an_error(both):
    gateway, fake = both
    answer = gateway.post("/v1/moderations", {"input": "a"}, [("x-penstock-provider", "nope")])
    assert answer.status in (400, 404)
    assert answer.error["message"]
    assert fake.requests == []


def test_a_host_as_provider_is_no_way_out(both):
    gateway, fake = both
    for name in ("http://127.0.0.1:1", "127.0.0.1", "../up", "up/../up"):
        answer = gateway.post("/v1/moderations", {"input": "a"}, [("x-penstock-provider", name)])
        assert answer.status in (400, 404), (name, answer)
    assert fake.requests == []


def test_binary_answers_pass(both):
    gateway, fake = both
    sound = random.Random(3).randbytes(300_000)
    fake.then(up.whole(sound, content_type="audio/mpeg"))
    answer = gateway.post("/v1/audio/speech", {"model": "m", "input": "a", "voice": "alloy"})
    assert answer.status == 200
    assert answer.headers.get("content-type") == "audio/mpeg"
    assert answer.body == sound


def test_a_binary_answer_that_is_cut_is_not_finished(both):
    gateway, fake = both
    gate = up.Gate()
    fake.then(up.script(b"\x00" * 200_000, gate, "fin", content_type="audio/mpeg"))
    with gateway.connect() as connection:
        connection.request(
            "POST", "/v1/audio/speech", JSON, json.dumps({"model": "m", "input": "a"}).encode()
        )
        answer = connection.read_head()
        assert answer.status == 200
        assert connection.read_piece(answer)
        gate.open()
        connection.read_cut(answer)


def test_text_answers_pass(both):
    gateway, fake = both
    fake.then(up.whole("1\n00:00 --> é".encode(), content_type="text/plain; charset=utf-8"))
    answer = gateway.post("/v1/audio/transcriptions", multipart(MODEL, FILE), FORM)
    assert answer.headers.get("content-type") == "text/plain; charset=utf-8"
    assert answer.body == "1\n00:00 --> é".encode()


def test_get_and_delete_pass_by_provider(both):
    gateway, fake = both
    by_up = [("x-penstock-provider", "up")]
    assert gateway.get("/v1/videos?limit=2", by_up).status == 200
    assert fake.last.method == "GET" and fake.last.target == "/v1/videos?limit=2"
    assert gateway.ask("DELETE", "/v1/videos/v-1", by_up).status == 200
    assert fake.last.method == "DELETE" and fake.last.target == "/v1/videos/v-1"


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/files/", "/v1/files/file-1/x", "/v1/files//content", "/v1/batches/batch_1/x", "/v1/uploads"),
        *("/v1/messages/x", "/v1/responses/resp_1"),
    ],
)
def test_what_others_have_stored_in_the_account_does_not_pass(both, path):
    """All clients share the provider's key: relaying these would show each the others' data."""
    gateway, fake = both
    assert gateway.get(path, [("x-penstock-provider", "up")]).status == 404
    assert fake.requests == []


def test_other_streams_pass(both):
    """Events of a kind we do not know end when the upstream ends them."""
    gateway, fake = both
    body = b'event: image_generation.partial_image\ndata: {"b64_json":"aaaa"}\n\nevent: image_generation.completed\ndata: {"b64_json":"bbbb"}\n\n'
    fake.then(up.script(body, "finish"))
    answer = gateway.post("/v1/images/generations", {"model": "m", "prompt": "a", "stream": True})
    assert answer.status == 200
    assert answer.body == body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/a/%2E%2E/b",
        "/v1/..%2fadmin",
        "/v1//moderations",
        "/v1/./moderations",
    ],
)
def test_a_path_cannot_climb_out_of_the_base_url(both, path):
    gateway, fake = both
    answer = gateway.post(path, {"model": "m", "input": "a"})
    assert answer.status in (400, 404), (path, answer)
    assert fake.requests == []


def test_errors_pass_unchanged(fake, gateway):
    body = b'{"error":{"message":"theirs","type":"t","param":null,"code":null}}'
    fake.always(up.whole(body, 404))
    answer = gateway.post("/v1/moderations", {"model": "m", "input": "a"})
    assert answer.status == 404
    assert answer.body == body


def test_without_model_and_provider_the_default_model_answers(both):
    gateway, fake = both
    assert gateway.post("/v1/moderations", {"input": "a"}).status == 200
    assert len(fake.requests) == 1


def test_a_redirect_of_the_upstream_is_not_followed(fake, gateway):
    fake.always(up.whole(b"", 302, headers=[("Location", f"http://127.0.0.1:{fake.port}/v1/elsewhere")]))
    answer = gateway.chat()
    assert answer.status == 502
    assert len(fake.requests) == 1
    assert "location" not in answer.headers
