# SPDX-License-Identifier: Apache-2.0
"""/v1/files: what goes in comes out, whoever asks it wrongly is told so, and nobody sees another's."""

import os
import threading

import openai
import pytest
from openai import OpenAI

from support import fake as up
from support.gateway import Gateway, config
from support.jobs import KEYS, bearer, form, post_form, until, upload, with_keys
from support.raw import Connection

LIMIT = 100_000


@pytest.fixture(scope="module")
def server():
    with up.Fake() as fake:
        with Gateway(with_keys(fake, limits={"file_bytes": LIMIT})) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def big():
    """With the default limit; what the sanitizer keeps of freed memory would hide what we keep."""
    options = "abort_on_error=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64"
    with up.Fake() as fake:
        with Gateway(config(fake), env={"ASAN_OPTIONS": options}) as gateway:
            yield gateway


@pytest.fixture
def client(server):
    with OpenAI(base_url=f"{server.url}/v1", api_key=KEYS["alice"], max_retries=0, timeout=60) as client:
        yield client


def as_alice(server, method, path, headers=(), body=None):
    return server.ask(method, path, [*bearer("alice"), *headers], body)


def test_the_official_sdk(client):
    made = client.files.create(file=("in.jsonl", b'{"a":1}\n'), purpose="batch")
    assert made.id.startswith("file-") and made.object == "file" and made.bytes == 8
    assert made.filename == "in.jsonl" and made.purpose == "batch" and made.status == "processed"
    assert made.expires_at - made.created_at == 30 * 86400
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == b'{"a":1}\n'
    assert client.files.wait_for_processing(made.id).id == made.id
    assert made.id in [file.id for file in client.files.list(purpose="batch")]
    gone = client.files.delete(made.id)
    assert gone.deleted and gone.id == made.id and gone.object == "file"
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        client.files.content(made.id)
    with pytest.raises(openai.NotFoundError):
        client.files.delete(made.id)


def test_expiry(client):
    made = client.files.create(
        file=b"x", purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at - made.created_at == 3600
    assert client.files.create(file=b"x", purpose="user_data").expires_at is None


@pytest.mark.parametrize("purpose", ["batch", "fine-tune", "assistants", "vision", "user_data", "evals"])
def test_purposes(client, purpose):
    assert client.files.create(file=b"x", purpose=purpose).purpose == purpose


def test_paging(start, fake):
    gateway = start(config(fake))
    ids = [upload(gateway, b"x", purpose="vision" if i % 2 else "batch") for i in range(25)]
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="k", max_retries=0) as client:
        assert [file.id for file in client.files.list(limit=7)] == ids[::-1]
        assert [file.id for file in client.files.list(limit=7, order="asc")] == ids
        assert [file.id for file in client.files.list(limit=3, purpose="vision")] == ids[1::2][::-1]
    page = gateway.get("/v1/files?limit=2&order=asc").json()
    assert page["object"] == "list" and page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (ids[0], ids[1])
    last = gateway.get(f"/v1/files?after={ids[-2]}&order=asc").json()
    assert [file["id"] for file in last["data"]] == [ids[-1]] and last["has_more"] is False
    none = gateway.get("/v1/files?purpose=evals").json()
    assert none["data"] == [] and none["first_id"] is None and none["last_id"] is None


@pytest.mark.parametrize(
    "query,param",
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=x", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("order=up", "order"),
        ("after=file-1", "after"),
        ("after=%zz", "after"),
    ],
)
def test_bad_queries(server, query, param):
    answer = as_alice(server, "GET", f"/v1/files?{query}")
    assert answer.status == 400 and answer.error["param"] == param


@pytest.mark.parametrize("size", [0, 1, 70_000, LIMIT])
def test_what_goes_in_comes_out(server, size):
    contents = os.urandom(size)
    file_id = upload(server, contents, headers=bearer("alice"))
    answer = as_alice(server, "GET", f"/v1/files/{file_id}/content")
    assert answer.status == 200 and answer.body == contents
    assert answer.framing == "length"
    assert answer.headers.get("content-type") == "application/octet-stream"
    assert answer.headers.get("content-disposition") == 'attachment; filename="in.jsonl"'
    head = as_alice(server, "HEAD", f"/v1/files/{file_id}/content")
    assert head.status == 200 and (size == 0 or head.headers.get("content-length") == str(size))


def test_parts_in_any_order_and_any_cut(server):
    contents = b"line\r\n--XboundaryY\r\n\r\n--Xboundary\r\n"
    parts = [
        ("file", contents, "a.jsonl"),
        ("purpose", "batch"),
        ("expires_after[seconds]", "7200"),
        ("expires_after[anchor]", "created_at"),
        ("unknown", "x" * 5000),
    ]
    for shift in range(len(parts)):
        body, kind = form(*parts[shift:], *parts[:shift])
        with server.connect() as connection:
            head = [("Content-Type", kind), ("Content-Length", len(body)), *bearer("alice")]
            connection.request("POST", "/v1/files", head)
            for at in range(0, len(body), 61):
                connection.send(body[at : at + 61])
            answer = connection.read_response()
        made = answer.json()
        assert answer.status == 200 and made["expires_at"] - made["created_at"] == 7200, answer
        assert as_alice(server, "GET", f"/v1/files/{made['id']}/content").body == contents


def test_one_byte_more_is_too_many(server):
    for headers in ([], [("Transfer-Encoding", "chunked")]):
        body, kind = form(("purpose", "batch"), ("file", b"x" * (LIMIT + 1), "f"))
        if headers:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        answer = as_alice(server, "POST", "/v1/files", [("Content-Type", kind), *headers], body)
        assert answer.status == 413 and answer.error["code"] == "file_too_large", answer
        assert answer.error["param"] == "file"
    announced = [("Content-Type", kind), ("Content-Length", 10 * 2**20), ("Expect", "100-continue")]
    with server.connect() as connection:
        connection.request("POST", "/v1/files", [*announced, *bearer("alice")])
        assert connection.read_response().status == 413


OK = ("file", "{}", "f.jsonl")
CREATED = ("expires_after[anchor]", "created_at")


@pytest.mark.parametrize(
    "parts,param",
    [
        ([OK], "purpose"),
        ([("purpose", "batch")], "file"),
        ([OK, ("purpose", "")], "purpose"),
        ([OK, ("purpose", "Batch")], "purpose"),
        ([OK, ("purpose", "batch_output")], "purpose"),
        ([OK, ("purpose", "x" * 300)], "purpose"),
        ([OK, ("purpose", "batch"), ("purpose", "batch")], "purpose"),
        ([OK, OK, ("purpose", "batch")], "file"),
        ([OK, ("purpose", "batch"), CREATED], "expires_after[seconds]"),
        ([OK, ("purpose", "batch"), ("expires_after[seconds]", "3600")], "expires_after[anchor]"),
        (
            [OK, ("purpose", "batch"), ("expires_after[anchor]", "now"), ("expires_after[seconds]", "3600")],
            "expires_after[anchor]",
        ),
        *(
            ([OK, ("purpose", "batch"), CREATED, ("expires_after[seconds]", seconds)], "expires_after[seconds]")
            for seconds in ("3599", "2592001", "", "x", "-3600", "1e99")
        ),
        ([], "purpose"),
    ],
)
def test_bad_forms(server, parts, param):
    answer = post_form(server, *parts, headers=bearer("alice"))
    assert answer.status == 400 and answer.error["param"] == param, answer
    assert answer.error["type"] == "invalid_request_error"
    assert answer.keeps_alive


@pytest.mark.parametrize(
    "kind,body",
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--"),
        ("multipart/mixed; boundary=x", b"--x--"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"garbage"),
        (None, b"garbage"),
    ],
)
def test_no_form(server, kind, body):
    headers = [("Content-Type", kind)] if kind else []
    answer = as_alice(server, "POST", "/v1/files", headers, body)
    assert answer.status == 400 and answer.error["type"] == "invalid_request_error", answer


@pytest.mark.parametrize(
    "name,kept,header",
    [
        ("a b.jsonl", "a b.jsonl", "attachment; filename*=UTF-8''a%20b.jsonl"),
        ("../../etc/passwd", "passwd", 'attachment; filename="passwd"'),
        ("C:\\\\x\\\\y.txt", "y.txt", 'attachment; filename="y.txt"'),
        ("", "upload", 'attachment; filename="upload"'),
        ("ü.txt", "ü.txt", "attachment; filename*=UTF-8''%C3%BC.txt"),
        ("x\x01\x7f.txt", "x__.txt", 'attachment; filename="x__.txt"'),
    ],
)
def test_names(server, name, kept, header):
    answer = post_form(server, ("purpose", "batch"), ("file", "x", name), headers=bearer("alice"))
    assert answer.json()["filename"] == kept
    content = as_alice(server, "GET", f"/v1/files/{answer.json()['id']}/content")
    assert content.headers.get("content-disposition") == header


@pytest.mark.parametrize(
    "asked,status,part",
    [
        ("bytes=0-3", 206, slice(0, 4)),
        ("bytes=5-", 206, slice(5, None)),
        ("bytes=-3", 206, slice(-3, None)),
        ("bytes=-100", 206, slice(0, None)),
        ("bytes=2-100", 206, slice(2, None)),
        ("bytes=9-9", 206, slice(9, None)),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=3-2", 200, slice(0, None)),
        ("bytes=0-1,3-4", 200, slice(0, None)),
        ("lines=0-1", 200, slice(0, None)),
        ("bytes=x", 200, slice(0, None)),
    ],
)
def test_ranges(server, asked, status, part):
    file_id = upload(server, b"0123456789", headers=bearer("alice"))
    answer = as_alice(server, "GET", f"/v1/files/{file_id}/content", [("Range", asked)])
    assert answer.status == status, answer
    if part is not None:
        assert answer.body == b"0123456789"[part]
    if status == 206:
        assert answer.headers.get("content-range").endswith("/10")


def test_another_tenant_sees_nothing(server):
    mine = upload(server, b"secret", headers=bearer("alice"))
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/content"), ("HEAD", "/content")]:
        answer = server.ask(method, f"/v1/files/{mine}{path}", bearer("bob"))
        assert answer.status == 404, (method, path, answer)
    assert mine not in server.get("/v1/files", bearer("bob")).text
    assert as_alice(server, "GET", f"/v1/files/{mine}/content").body == b"secret"
    assert server.get(f"/v1/files/{mine}").status == 401


@pytest.mark.parametrize("name", ["x", "file-", "file-1", "job_01arz3ndektsv4rrffq69g5fav", "%2e%2e", "file-%00"])
def test_ids_that_are_none(server, name):
    assert as_alice(server, "GET", f"/v1/files/{name}").status == 404
    assert as_alice(server, "GET", f"/v1/files/{name}/content").status == 404


def test_methods(server):
    answer = as_alice(server, "PUT", "/v1/files", body=b"x")
    assert answer.status == 405 and answer.headers.get("allow") == "GET, HEAD, POST, OPTIONS"
    answer = as_alice(server, "POST", "/v1/files/file-1/content", body=b"x")
    assert answer.status == 405 and answer.headers.get("allow") == "GET, HEAD, OPTIONS"
    # what is no door of ours is not relayed either
    assert as_alice(server, "GET", "/v1/files/x/y").status == 404


def test_big_files_do_not_grow_the_process(big):
    size = 64 * 2**20
    piece = os.urandom(2**20)
    upload(big, b"warm")
    before = big.memory()
    peak = [before]
    stop = threading.Event()

    def watch():
        while not stop.wait(0.01):
            peak[0] = max(peak[0], big.memory())

    thread = threading.Thread(target=watch)
    thread.start()
    head = form(("purpose", "batch"))[0][:-16]  # without its closing boundary
    head += b'--XboundaryX\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    tail = b"\r\n--XboundaryX--\r\n"
    with big.connect() as connection:
        connection.request(
            "POST",
            "/v1/files",
            [
                ("Content-Type", "multipart/form-data; boundary=XboundaryX"),
                ("Content-Length", len(head) + size + len(tail)),
            ],
        )
        connection.send(head)
        for _ in range(size // len(piece)):
            connection.send(piece)
        connection.send(tail)
        answer = connection.read_response()
    assert answer.status == 200 and answer.json()["bytes"] == size, answer
    with big.connect() as connection:
        connection.request("GET", f"/v1/files/{answer.json()['id']}/content")
        got = connection.read_head()
        assert got.headers.get("content-length") == str(size)
        for _ in range(size // len(piece)):
            assert connection.read_exactly(len(piece)) == piece
    stop.set()
    thread.join()
    assert peak[0] - before < 48 * 2**20, (before, peak[0])


def test_a_slow_reader_holds_the_download_back(big):
    file_id = upload(big, b"x" * (32 * 2**20))
    before = big.memory()
    with big.connect(receive_buffer=4096) as connection:
        connection.request("GET", f"/v1/files/{file_id}/content")
        answer = connection.read_head()
        connection.read_exactly(100_000)
        with big.connect() as other:  # the loop answers meanwhile
            other.request("GET", "/health")
            assert other.read_response().status == 200
        assert big.memory() - before < 24 * 2**20
        connection.buffer = b""
        left = int(answer.headers.get("content-length")) - 100_000
        assert left > 0


def test_a_client_that_leaves_leaves_nothing(start, fake):
    gateway = start(config(fake))
    upload(gateway, b"first")  # the store is open

    def blobs():
        return sum(len(files) for _, _, files in os.walk(os.path.join(gateway.folder, "penstock-data")))

    before = blobs()
    for cut in (50, 250, 2**20):
        body, kind = form(("purpose", "batch"), ("file", b"x" * (4 * 2**20), "f"))
        with Connection(gateway.address) as connection:
            connection.request(
                "POST", "/v1/files", [("Content-Type", kind), ("Content-Length", len(body))], body[:cut]
            )
            connection.reset()
    until(blobs, lambda count: count == before, "clean folder")
    assert len(gateway.get("/v1/files").json()["data"]) == 1


def test_files_survive_a_restart(start, fake, tmp_path):
    settings = config(fake, data_dir=str(tmp_path / "data"))
    first = start(settings)
    file_id = upload(first, b"kept")
    first.stop()
    assert start(settings).get(f"/v1/files/{file_id}/content").body == b"kept"


def test_a_store_that_cannot_be_opened_fails_only_its_doors(start, fake):
    gateway = start(config(fake, data_dir="/dev/null/nowhere"))
    answer = post_form(gateway, ("purpose", "batch"), ("file", "x", "f"))
    assert answer.status == 503 and answer.error["code"] in ("storage_unavailable", "disk_full"), answer
    assert gateway.get("/v1/files").status == 503
    assert gateway.chat().status == 200
