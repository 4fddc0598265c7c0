# SPDX-License-Identifier: Apache-2.0
"""Input files that are wrong in ways that test_batches.py does not have: each ends its batch as `failed`,
with the line, before any line is run. And those that only look wrong."""

import json

import pytest

from support import fake as up
from support.gateway import Gateway, config, provider
from support.jobs import batch_of, line, lines, submit, until, upload, wait_batch

LIMIT = 65_536  # of a body, so of a line


@pytest.fixture(scope="module")
def servers():
    with up.Fake() as fake:
        with Gateway(config(fake, limits={"body_bytes": LIMIT, "file_bytes": 16 * 2**20})) as gateway:
            yield fake, gateway


@pytest.fixture
def pair(servers):
    fake, gateway = servers
    fake.forget()
    return fake, gateway


def failed(pair, contents, **more):
    """The faults that a batch of this ends with."""
    fake, gateway = pair
    batch = wait_batch(gateway, batch_of(gateway, contents, **more)["id"])
    assert batch["status"] == "failed", batch
    assert batch["output_file_id"] is None and batch["error_file_id"] is None and not fake.requests
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    for fault in batch["errors"]["data"]:
        assert set(fault) == {"code", "message", "param", "line"} and fault["message"] and fault["code"]
    return batch["errors"]["data"]


def without(name):
    fields = json.loads(line("b"))
    del fields[name]
    return json.dumps(fields)


def with_(**fields):
    return json.dumps({**json.loads(line("b")), **fields})


MODEL = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "bad,code,param",
    [
        (without("custom_id"), "invalid_request", "custom_id"),
        (without("method"), "invalid_request", "method"),
        (without("url"), "invalid_request", "url"),
        (without("body"), "invalid_request", "body"),
        (with_(custom_id=""), "invalid_request", "custom_id"),
        (with_(custom_id=7), "invalid_request", "custom_id"),
        (with_(custom_id=None), "invalid_request", "custom_id"),
        (with_(custom_id="x" * 513), "invalid_request", "custom_id"),
        (with_(custom_id="x" * 60_000), "invalid_request", "custom_id"),
        (with_(custom_id="a"), "duplicate_custom_id", "custom_id"),
        (line("b").replace('"b"', '"\\u0061"'), "duplicate_custom_id", "custom_id"),
        (with_(method="GET"), "invalid_request", "method"),
        (with_(method="post"), "invalid_request", "method"),
        (with_(url="/v1/embeddings"), "url_mismatch", "url"),
        (with_(url="/v1/chat/completions/"), "url_mismatch", "url"),
        (with_(url="https://api.openai.com/v1/chat/completions"), "url_mismatch", "url"),
        (with_(url=["/v1/chat/completions"]), "invalid_request", "url"),
        (with_(body="{}"), "invalid_request", "body"),
        (with_(body=[MODEL]), "invalid_request", "body"),
        (with_(body=None), "invalid_request", "body"),
        (with_(body={**MODEL, "model": 7}), "invalid_request", "body.model"),
        (with_(body={**MODEL, "model": ""}), "invalid_request", "body.model"),
        (with_(body={**MODEL, "model": None}), "invalid_request", "body.model"),
        (with_(body={**MODEL, "model": "nobody/nothing"}), "model_not_found", "body.model"),
        (with_(body={**MODEL, "stream": True}), "invalid_request", "body.stream"),
        (line("b") + line("c"), "invalid_json_line", None),
        (line("b") + ",", "invalid_json_line", None),
        (line("b")[:-1], "invalid_json_line", None),
        ("[" + line("b") + "]", "invalid_json_line", None),
        ("", "invalid_json_line", None),
        (" \t", "invalid_json_line", None),
        ("# a comment", "invalid_json_line", None),
        ("id,prompt", "invalid_json_line", None),
        (line("b").replace('"b"', "'b'"), "invalid_json_line", None),
        (line("b").replace('"b"', '"b", "custom_id": "c"'), "invalid_json_line", None),
        (line("b").replace('"b"', "NaN"), "invalid_json_line", None),
        ("[" * 5000, "invalid_json_line", None),
        (with_(body={**MODEL, "x": "y" * LIMIT}), "invalid_request", None),
    ],
)
def test_a_bad_line_in_the_middle(pair, bad, code, param):
    contents = "\n".join([line("a"), bad, line("z")]).encode()
    faults = failed(pair, contents)
    assert [(fault["line"], fault["code"], fault["param"]) for fault in faults] == [(2, code, param)], faults


@pytest.mark.parametrize(
    "contents",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 300,
        b"\0" * 100_000,
        b"PK\x03\x04" + b"\xff" * 5000,
        line("a").encode("utf-16"),
        (line("a") + "\r" + line("b")).encode(),
        json.dumps([json.loads(line("a")), json.loads(line("b"))], indent=1).encode(),
        b"x" * (5 * 2**20),
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbf\xef\xbb\xbf" + line("a").encode(),
        line("a", text="caf\u00e9").encode().replace(b"\\u00e9", b"\xe9"),
    ],
)
def test_not_jsonl(pair, contents):
    fault = failed(pair, contents)[0]
    assert fault["code"] in ("invalid_json_line", "empty_batch", "invalid_request"), fault


@pytest.mark.parametrize("shift", range(4))
def test_a_fault_quotes_whole_characters(pair, shift):
    """What it quotes is cut, but not in the middle of a character."""
    name = "x" * shift + "\U0001f600" * 100
    twice = json.dumps({**json.loads(line("a")), "custom_id": name}, ensure_ascii=False)
    model = json.dumps({**json.loads(line("b")), "body": {**MODEL, "model": name}}, ensure_ascii=False)
    faults = failed(pair, f"{twice}\n{twice}\n{model}\n".encode())
    assert [fault["code"] for fault in faults] == ["duplicate_custom_id", "model_not_found"]
    for fault in faults:
        assert "\ufffd" not in fault["message"] and "\U0001f600" in fault["message"], fault


def test_only_so_many_faults_are_told(pair):
    faults = failed(pair, b"x\n" * 5000)
    assert [fault["line"] for fault in faults] == list(range(1, 101))


def test_the_most_lines(pair):
    """50,000 as there; one more is none."""
    tiny = '{{"custom_id":"{}","method":"POST","url":"/v1/chat/completions","body":{{"model":"{}"}}}}\n'
    most = "".join(tiny.format(i, "m") for i in range(50_000))
    faults = failed(pair, (most + tiny.format("last", "m")).encode())
    assert [fault["code"] for fault in faults] == ["too_many_tasks"] and faults[0]["line"] is None
    # the last of so many is looked at, too; it is no line too many
    faults = failed(pair, (most[: most[:-1].rindex("\n") + 1] + tiny.format("last", "nobody/nothing")).encode())
    assert [(fault["code"], fault["line"]) for fault in faults] == [("model_not_found", 50_000)]


def test_ids_that_only_look_alike(pair):
    """Each is its own, and comes back as it was."""
    _, gateway = pair
    ids = ["a", "A", "a ", " a", "a\tb", "a\0", "a\0b", "\0", "\u00e9", "e\u0301", '"', "\\", "\U0001f600", "0", "0.0", "null"]
    ids += ["\u00e4" * 512, "\u00e4" * 511, "\U0001f600" * 512, "\u2028", "\x7f", "../../etc/passwd", "'; DROP TABLE line;--"]
    contents = "".join(line(custom_id) + "\n" for custom_id in ids).encode()
    batch = wait_batch(gateway, batch_of(gateway, contents)["id"])
    assert batch["status"] == "completed" and batch["request_counts"]["completed"] == len(ids), batch
    rows = gateway.get(f"/v1/files/{batch['output_file_id']}/content").body
    assert rows.count(b"\n") == len(ids)
    assert sorted(json.loads(row)["custom_id"] for row in rows.splitlines() if row) == sorted(ids)


def test_lines_that_are_right_nevertheless(pair):
    fake, gateway = pair
    order = {"body": MODEL, "url": "/v1/chat/completions", "x": [1, {}], "method": "POST", "custom_id": "order"}
    spaced = json.dumps({**json.loads(line("spaced"))}, indent=1).replace("\n", "\r")
    escaped = line("escaped").replace("/v1", "\\/v\\u0031").replace("custom_id", "custom\\u005fid")
    default = json.dumps({**json.loads(line("default")), "body": {**MODEL, "stream": False}})
    for text in (json.dumps(order), spaced, escaped, default):
        batch = wait_batch(gateway, batch_of(gateway, text.encode())["id"])
        assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 1, (text, batch)
    assert len(fake.requests) == 4


def test_a_line_as_long_as_it_may_be(pair):
    fake, gateway = pair
    room = LIMIT - len(line("a", text=""))
    batch = wait_batch(gateway, batch_of(gateway, line("a", text="x" * room).encode() + b"\n")["id"])
    assert batch["status"] == "completed" and batch["request_counts"]["completed"] == 1, batch
    assert fake.last.json()["messages"][0]["content"] == "x" * room
    fake.forget()
    fault = failed(pair, line("a", text="x" * (room + 1)).encode() + b"\n")[0]
    assert fault["line"] == 1 and fault["code"] == "invalid_request"


def test_a_file_that_is_deleted_at_once(pair):
    """Its batch has its own hold on it: whichever comes first, the batch ends, and as it should."""
    _, gateway = pair
    for count in (1, 3000):
        made = batch_of(gateway, lines(count))
        assert gateway.ask("DELETE", f"/v1/files/{made['input_file_id']}").status == 200
        batch = wait_batch(gateway, made["id"])
        assert batch["status"] == "completed" and batch["request_counts"]["completed"] == count, batch


def test_the_same_file_twice(pair):
    _, gateway = pair
    file_id = upload(gateway, lines(20))
    made = [batch_of(gateway, b"", input_file_id=file_id)["id"] for _ in range(3)]
    done = [wait_batch(gateway, batch_id) for batch_id in made]
    assert all(batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0} for batch in done)
    assert len({batch["output_file_id"] for batch in done}) == 3


def test_an_output_file_is_no_input(pair):
    _, gateway = pair
    batch = wait_batch(gateway, batch_of(gateway, lines(2))["id"])
    body = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    answer = gateway.post("/v1/batches", {**body, "input_file_id": batch["output_file_id"]})
    assert answer.status == 400 and answer.error["param"] == "input_file_id", answer
    again = gateway.ask("POST", f"/v1/batches/{batch['id']}/cancel")
    assert again.status == 409 and again.error["message"] == "Cannot cancel a batch with status 'completed'."


def test_a_provider_that_wants_the_clients_own_key(fake, start):
    """Nobody has that one when the work is done: it is refused before."""
    targets = [{"provider": "own", "model": "x"}, {"provider": "up", "model": "x"}]
    own = provider(fake, api_key=None, auth="client")
    gateway = start(
        config(fake, providers={"up": provider(fake), "own": own}, models=[{"name": "m", "targets": targets}])
    )
    key = [("Authorization", "Bearer sk-mine")]
    for answer in submit(gateway, headers=key), submit(gateway, {"model": "own/x"}, key):
        assert answer.status == 400, answer
        assert (answer.error["code"], answer.error["param"]) == ("unsupported_operation", "model")
        assert "client's own key" in answer.error["message"]
    assert submit(gateway, {"model": "up/x"}, key).status == 202
    fake.wait_requests(1)
    (fault,) = failed_with(gateway, line("a"))
    assert (fault["code"], fault["param"], fault["line"]) == ("invalid_request", "body.model", 1)
    request = {"custom_id": "a", "params": {"model": "m", "max_tokens": 5, **MODEL}}
    batch = gateway.post("/v1/messages/batches", {"requests": [request]}, key).json()["id"]
    path = f"/v1/messages/batches/{batch}"
    until(lambda: gateway.get(path).json(), lambda found: found["processing_status"] == "ended")
    (row,) = gateway.get(f"{path}/results").body.splitlines()
    assert "client's own key" in json.loads(row)["result"]["error"]["error"]["message"]
    assert gateway.post("/generate", {"prompt": "hi"}, key).status == 200
    assert len(fake.requests) == 2


def failed_with(gateway, contents):
    batch = wait_batch(gateway, batch_of(gateway, contents.encode())["id"])
    assert batch["status"] == "failed", batch
    return batch["errors"]["data"]
