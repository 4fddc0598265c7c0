# SPDX-License-Identifier: Apache-2.0
"""Bad input gets a clear error that names the field, the connection stays usable, memory stays bounded;
and what RFC 8259 allows passes byte for byte."""

import json

import pytest

JSON = [("Content-Type", "application/json")]
CHAT = "/v1/chat/completions"
GOOD = b'{"model":"m","messages":[{"role":"user","content":"a"}]}'


@pytest.fixture
def ask(both):
    """Posts a body that must be refused: the error. Then the same connection serves a good one; only a body
    too long to be read for that purpose may cost it."""
    gateway, fake = both

    def ask(body, path=CHAT, status=400):
        fake.forget()
        with gateway.connect() as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.send_until_refused(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = connection.read_response()
            assert answer.status == status, (body[:100], answer)
            assert fake.requests == []
            error = answer.error
            assert error["type"] == "invalid_request_error"
            if len(body) <= 1024 * 1024:
                connection.request("POST", CHAT, JSON, GOOD)
                assert connection.read_response().status == 200
        assert gateway.post(CHAT, GOOD, JSON).status == 200
        return error

    return ask


def inside(value):
    """A request with this raw JSON as an unknown member."""
    return GOOD[:-1] + b',"x":' + value + b"}"


INVALID = [
    b"",
    b" ",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"nul",
    b"tru",
    b"{]",
    b"[}",
    b"{}}",
    b"{} {}",
    b"\xef\xbb\xbf" + GOOD,
    GOOD[:-1],
    GOOD + b",",
    GOOD + b"x",
    GOOD + b"\x00",
    inside(b""),
    inside(b"'a'"),
    inside(b"NaN"),
    inside(b"Infinity"),
    inside(b"-"),
    inside(b"+1"),
    inside(b"01"),
    inside(b"-01"),
    inside(b"1."),
    inside(b".5"),
    inside(b"1e"),
    inside(b"1e+"),
    inside(b"0x10"),
    inside(b"1_000"),
    inside(b"[1,]"),
    inside(b"[,1]"),
    inside(b"[1 2]"),
    inside(b'{"a":1,}'),
    inside(b'{"a" 1}'),
    inside(b'{"a"}'),
    inside(b"{a:1}"),
    inside(b"{1:1}"),
    inside(b"True"),
    inside(b"undefined"),
    inside(b'"\n"'),
    inside(b'"\t"'),
    inside(b'"\x00"'),
    inside(b'"\x1f"'),
    inside(b'"\\x"'),
    inside(b'"\\u12"'),
    inside(b'"\\u12g4"'),
    inside(b'"\\"'),
    inside(b"/*c*/1"),
    inside(b"1//c\n"),
    inside(b"\x0b1"),
    inside(b"\x0c1"),
    inside(b"\xc2\xa01"),
    b'{"model":"m" "messages":[]}',
    b'{"model":"m",,"messages":[]}',
    b'{,"model":"m"}',
]

BAD_UTF_8 = [
    b"\x80",
    b"\xbf",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc3(",
    b"\xe2(\xa1",
    b"\xf0(\x8c\xbc",
]


@pytest.mark.parametrize("body", INVALID, ids=range(len(INVALID)))
def test_invalid_json(ask, body):
    error = ask(body)
    assert error["code"] == "invalid_json"


@pytest.mark.parametrize("bad", BAD_UTF_8, ids=[bad.hex() for bad in BAD_UTF_8])
def test_invalid_utf_8(ask, bad):
    for body in (
        inside(b'"' + bad + b'"'),
        GOOD.replace(b'"content":"a"', b'"content":"' + bad + b'"'),
        inside(b'{"' + bad + b'":1}'),
    ):
        assert ask(body)["code"] == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b"null", b"true", b'[{"model":"m"}]'])
def test_json_that_is_no_object(ask, body):
    ask(body)


VALID = [
    b"-0",
    b"0e0",
    b"1E400",
    b"1e-400",
    b"123456789012345678901234567890",
    b"-9007199254740993",
    b"1.000000000000000000000000001",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\\/\\b\\f\\n\\r\\t\\"\\\\"',
    b'"\xf4\x8f\xbf\xbf"',
    b'"\x7f"',
    b'"\xe2\x80\xa8"',
    b"[ ]",
    b"{ }",
    b"[\t\n\r 1]",
    b'{"":""}',
    b'{"a":1,"a":2}',
    b'{"model":"inner","stream":"inner"}',
    b"[[[[]]]]",
]


@pytest.mark.parametrize("value", VALID, ids=range(len(VALID)))
def test_what_the_rfc_allows_passes_byte_for_byte(both, value):
    gateway, fake = both
    body = inside(value)
    answer = gateway.post(CHAT, body, JSON)
    assert answer.status == 200, answer
    assert fake.last.body == body.replace(b'"model":"m"', b'"model":"up-model"', 1)


def test_white_space_around_the_object(both):
    gateway, fake = both
    assert gateway.post(CHAT, b" \t\r\n" + GOOD + b"\r\n \t", JSON).status == 200


# Bombs


def test_depth_64_passes_and_65_does_not(both, ask):
    gateway, _ = both
    deep = lambda n: b"[" * n + b"]" * n  # noqa: E731
    assert gateway.post(CHAT, inside(deep(63)), JSON).status == 200
    ask(inside(deep(64)))


def test_a_depth_bomb(ask):
    for bomb in (b"[" * 100_000, b'{"a":' * 100_000, b'[{"":' * 50_000):
        ask(bomb)
        ask(inside(bomb))


def test_a_node_bomb(both, ask):
    gateway, _ = both
    before = gateway.memory()
    for _ in range(3):
        ask(inside(b"[" + b"0," * 1_100_000 + b"0]"))
    assert gateway.memory() - before < 200 * 1024 * 1024


def test_half_a_million_nodes_pass(both):
    gateway, _ = both
    assert gateway.post(CHAT, inside(b"[" + b"0," * 500_000 + b"0]"), JSON).status == 200


def test_a_bomb_is_refused_before_its_end_has_come(both):
    gateway, fake = both
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Content-Length", "30000000")])
        connection.send_until_refused(b"[" * 2_000_000)
        assert connection.read_response().status == 400
    assert fake.requests == []


# Fields


@pytest.mark.parametrize("field", ["model", "stream", "messages"])
def test_duplicate_keys_that_we_read(ask, field):
    value = {"model": b'"m"', "stream": b"false", "messages": b'[{"role":"user","content":"b"}]'}[field]
    for name in (field.encode(), b"\\u%04x" % ord(field[0]) + field[1:].encode()):
        twice = GOOD[:-1] + b',"stream":false' if field == "stream" else GOOD[:-1]
        error = ask(twice + b',"' + name + b'":' + value + b"}")
        assert error["param"] == field
        assert field in error["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/generate", "/v1/moderations"])
def test_duplicate_model_at_other_doors(ask, path):
    assert ask(b'{"model":"m","prompt":"a","input":"a","model":"m"}', path)["param"] == "model"


@pytest.mark.parametrize(
    "fields, param",
    [
        (b'"model":5', "model"),
        (b'"model":null', "model"),
        (b'"model":["m"]', "model"),
        (b'"model":{}', "model"),
        (b'"model":true', "model"),
        (b'"stream":"true"', "stream"),
        (b'"stream":1', "stream"),
        (b'"stream":[]', "stream"),
        (b'"stream":0', "stream"),
        (b'"stream":true,"stream_options":5', "stream_options"),
        (b'"stream":true,"stream_options":[]', "stream_options"),
        (b'"stream":true,"stream_options":{"include_usage":"yes"}', "stream_options.include_usage"),
    ],
)
def test_wrong_types_of_what_we_read(ask, fields, param):
    body = (
        b'{"messages":[{"role":"user","content":"a"}],'
        + fields
        + (b"" if b'"model"' in fields else b',"model":"m"')
        + b"}"
    )
    error = ask(body)
    assert error["param"] == param
    assert param.split(".")[0] in error["message"]


@pytest.mark.parametrize("messages", [b"null", b"5", b'"a"', b"{}", b"[]"])
def test_messages_must_be_a_list(ask, messages):
    assert ask(b'{"model":"m","messages":' + messages + b"}")["param"] == "messages"


def test_messages_must_be_there(ask):
    error = ask(b'{"model":"m"}')
    assert error["param"] == "messages"
    assert error["code"] == "missing_required_parameter"


def test_a_null_stream_is_none(both):
    gateway, fake = both
    answer = gateway.post(CHAT, GOOD[:-1] + b',"stream":null}', JSON)
    assert answer.status == 200
    assert answer.headers.get("content-type").split(";")[0] == "application/json"


def test_an_empty_prompt(ask):
    assert ask(b'{"prompt":""}', "/generate")["param"] == "prompt"
    assert ask(b"{}", "/generate")["param"] == "prompt"


@pytest.mark.parametrize("value", [b"1e999", b"-5", b"0", b"9223372036854775808", b"1.5", b'"7"', b"1e-1"])
def test_absurd_numbers_in_generate(ask, value):
    assert ask(b'{"prompt":"a","max_tokens":' + value + b"}", "/generate")["param"] == "max_tokens"


def test_unknown_model(ask):
    error = ask(b'{"model":"nope","messages":[{"role":"user","content":"a"}]}', status=404)
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"


def test_a_model_name_full_of_mischief_is_quoted_safely(both):
    gateway, _ = both
    for name in (
        '"}],"x":"',
        "\r\n\r\ndata: x",
        "\x1b[31m",
        "a" * 100_000,
        "<script>",
        "\u2028",
        "../../etc/passwd",
        "%s%n",
        "\ud800",
    ):
        body = b'{"messages":[{"role":"user","content":"a"}],"model":' + json.dumps(name).encode() + b"}"
        answer = gateway.post(CHAT, body, JSON)
        assert answer.status in (400, 404)
        assert answer.error["message"]
        assert len(answer.body) < 4096


@pytest.mark.parametrize("field", ["base_url", "api_base", "api_key"])
@pytest.mark.parametrize("path", [CHAT, "/generate", "/v1/embeddings"])
def test_fields_that_would_choose_host_or_key_are_not_honoured(both, field, path):
    gateway, fake = both
    fields = {"/generate": {"prompt": "a"}, "/v1/embeddings": {"input": "a"}}.get(
        path, {"messages": [{"role": "user", "content": "a"}]}
    )
    answer = gateway.post(path, {"model": "m", **fields, field: "http://127.0.0.1:1/v1"})
    if answer.status == 200:
        assert len(fake.requests) == 1
        assert b"127.0.0.1:1/" not in fake.last.raw_head
    else:
        assert answer.status == 400
        assert answer.error["param"] == field


def test_case_matters(both):
    """`Model` is another member than `model`."""
    gateway, fake = both
    assert gateway.post(CHAT, GOOD[:-1] + b',"Model":"nope","MODEL":5,"Stream":"x"}', JSON).status == 200
    assert (
        gateway.post(CHAT, b'{"Model":"nope","messages":[{"role":"user","content":"a"}]}', JSON).status == 200
    )
    assert fake.last.json()["model"] == "up-model"


def test_errors_do_not_repeat_the_prompt(ask):
    secret = b"my very private prompt"
    error = ask(b'{"model":"m","messages":[{"role":"user","content":"' + secret + b'"}],}')
    assert secret.decode() not in json.dumps(error)


def test_a_long_string_of_quotes_and_backslashes(both):
    gateway, fake = both
    text = '"\\' * 200_000
    assert gateway.chat(messages=[{"role": "user", "content": text}]).status == 200
    assert fake.last.json()["messages"][0]["content"] == text


@pytest.mark.parametrize("at", range(1, len(GOOD)))
def test_a_body_split_at_every_byte(both, at):
    gateway, fake = both
    with gateway.connect() as connection:
        connection.request("POST", CHAT, JSON + [("Transfer-Encoding", "chunked")])
        for piece in (GOOD[:at], GOOD[at:]):
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")
        assert connection.read_response().status == 200
    assert fake.last.body == GOOD.replace(b'"m"', b'"up-model"')
