# SPDX-License-Identifier: Apache-2.0
"""The command line, and what a wrong configuration is told."""

import os
import re

import pytest

from support.gateway import binary, run_command

GOOD = """\
listen:
  - address: "127.0.0.1:8080"
providers:
  up: { dialect: openai, base_url: "http://127.0.0.1:1/v1", api_key: "${UP_KEY}" }
models:
  - name: m
    targets: [ { provider: up, model: x } ]
default_model: m
"""
KEY = "sk-SECRET-0123456789"


@pytest.fixture
def check(tmp_path):
    """Checks this text; (exit status, stdout, stderr)."""

    def check(text, env=None, files=None, command=("check", "-c")):
        for name, content in (files or {}).items():
            (tmp_path / name).write_text(content)
        (tmp_path / "test.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return run_command(*command, "test.yaml", env={"UP_KEY": KEY, **(env or {})}, folder=tmp_path)

    return check


@pytest.fixture
def mistake(check):
    """The one line that a wrong configuration is told."""

    def mistake(text, **how):
        status, out, err = check(text, **how)
        assert status == 1, (out, err)
        assert out == ""
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        return lines[0]

    return mistake


def test_version(tmp_path):
    for arguments in (["version"], ["-V"], ["--version"]):
        status, out, err = run_command(*arguments, folder=tmp_path)
        assert status == 0 and err == ""
        assert re.match(r"penstock \d+\.\d+", out)
        for name in ("libcurl", "libuv", "OpenSSL", "llhttp", "libyaml"):
            assert name in out, name


def test_help(tmp_path):
    for arguments in (["--help"], ["-h"], ["help"]):
        status, out, err = run_command(*arguments, folder=tmp_path)
        assert status == 0 and err == ""
        for word in ("serve", "check", "version", "-c", "-l", "-m"):
            assert word in out


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["serve", "more"], ["-c"], ["check", "a", "b"]]
)
def test_a_wrong_command_line_is_told_so(tmp_path, arguments):
    status, out, err = run_command(*arguments, folder=tmp_path)
    assert status in (1, 2)
    assert out == ""
    assert err


def test_check_prints_what_is_in_force(check):
    for command in (("check", "-c"), ("-t", "-c")):
        status, out, err = check(GOOD, command=command)
        assert status == 0, err
        assert err == ""
        assert "http://127.0.0.1:1/v1" in out
        assert "127.0.0.1:8080" in out
        assert "header_timeout: 10s" in out
        assert KEY not in out
        assert "SECRET" not in out


def test_what_check_prints_is_a_configuration_again(check):
    status, out, _ = check(GOOD)
    assert status == 0
    status, again, err = check(out)
    assert status == 0, err
    strip = lambda text: re.sub(r"api_key.*", "", text)  # noqa: E731
    assert strip(again) == strip(out)


def test_check_shows_final_urls(check):
    text = GOOD.replace("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/")
    status, out, _ = check(text)
    assert status == 0
    assert "http://127.0.0.1:1/v1" in out
    assert "/v1//" not in out


def at(line):
    return f"test.yaml:{line}:"


def test_an_unknown_key_names_the_nearest(mistake):
    said = mistake(GOOD + "defualt_model: m\n")
    assert said.startswith(at(9))
    assert "defualt_model" in said and "default_model" in said


def test_an_unknown_key_inside(mistake):
    said = mistake(GOOD + "limits:\n  body_byte: 5\n")
    assert said.startswith(at(10))
    assert "limits.body_byte" in said and "body_bytes" in said


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("limits: { body_bytes: many }\n", 9, ["limits.body_bytes", "many"]),
        ("limits: { body_bytes: -1 }\n", 9, ["limits.body_bytes", "-1"]),
        ("limits: { body_bytes: 10XB }\n", 9, ["limits.body_bytes", "10XB"]),
        ("limits: { body_bytes: [1] }\n", 9, ["limits.body_bytes"]),
        ("limits: { header_timeout: 10 parsecs }\n", 9, ["limits.header_timeout", "parsecs"]),
        ("limits: 5\n", 9, ["limits"]),
        ("workers:\n  event_loops: 0\n", 10, ["workers.event_loops", "0"]),
        ("workers:\n  event_loops: 100000\n", 10, ["workers.event_loops", "100000"]),
        ("workers:\n  event_loops: two\n", 10, ["workers.event_loops", "two"]),
        ("log: { level: loud }\n", 9, ["log.level", "loud", "info"]),
        ("auth: sometimes\n", 9, ["auth", "none"]),
        ("auth:\n  keys:\n    - { name: a }\n", 11, ["auth.keys", "key_sha256"]),
        ("auth:\n  keys:\n    - { name: a, key_sha256: zz }\n", 11, ["key_sha256"]),
        ("auth:\n  keys:\n    - { name: a, key_file: no-such-file }\n", 11, ["key_file"]),
        ('cors: { origins: [ "not an origin" ] }\n', 9, ["cors.origins"]),
        ('trusted_proxies: [ "999.1.1.1" ]\n', 9, ["trusted_proxies", "999.1.1.1"]),
    ],
)
def test_mistakes_name_file_line_key_and_what_was_found(mistake, text, line, words):
    said = mistake(GOOD + text)
    assert said.startswith(at(line)), said
    for word in words:
        assert word in said, said
    assert "expected" in said or "unknown" in said, said


@pytest.mark.parametrize(
    "change, line, words",
    [
        (("dialect: openai", "dialect: opneai"), 4, ["providers.up.dialect", "opneai", "openai"]),
        (("dialect: openai, ", ""), 4, ["providers.up", "dialect"]),
        (("dialect: openai", "dialect: openai, engine: llama"), 4, ["providers.up"]),
        (('"http://127.0.0.1:1/v1"', '"ftp://x/v1"'), 4, ["base_url", "ftp"]),
        (('"http://127.0.0.1:1/v1"', '"http://user:pw@x/v1"'), 4, ["base_url"]),
        (('"http://127.0.0.1:1/v1"', '"127.0.0.1:1"'), 4, ["base_url"]),
        (("provider: up", "provider: upp"), 7, ["provider", "upp", "up"]),
        (("default_model: m", "default_model: nope"), 8, ["default_model", "nope"]),
        (("targets: [ { provider: up, model: x } ]", "targets: []"), 7, ["targets"]),
        (('"127.0.0.1:8080"', '"127.0.0.1:99999"'), 2, ["address", "99999"]),
        (('"127.0.0.1:8080"', '"nonsense"'), 2, ["address", "nonsense"]),
        (("${UP_KEY}", "${NO_SUCH_VARIABLE}"), 4, ["NO_SUCH_VARIABLE"]),
    ],
)
def test_mistakes_in_the_middle(mistake, change, line, words):
    assert change[0] in GOOD
    said = mistake(GOOD.replace(*change))
    assert said.startswith(at(line)), said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize(
    "change, line, words",
    [
        (("- name: m\n    targets", "- targets"), 6, ["models[0].name"]),
        (("  - address", "  - adress"), 2, ["listen[0].adress", '"address"']),
    ],
)
def test_mistakes_that_cause_others_come_first(check, change, line, words):
    status, _, err = check(GOOD.replace(*change))
    assert status == 1
    said = err.splitlines()[0]
    assert said.startswith(at(line)), said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize(
    "text, line, key",
    [
        (GOOD.replace('"${UP_KEY}" }', '"${UP_KEY}", ca_file: no-such.pem }'), 4, "providers.up.ca_file"),
        (GOOD.replace('api_key: "${UP_KEY}"', "api_key_file: no-such-key"), 4, "providers.up.api_key_file"),
        (
            GOOD.replace('8080"', '8080"\n    tls: { certificate: no-such.pem, key: test.yaml }'),
            3,
            "listen[0].tls",
        ),
        (
            GOOD.replace('8080"', '8080"\n    tls: { certificate: test.yaml, key: no-such.pem }'),
            3,
            "listen[0].tls",
        ),
    ],
    ids=["ca_file", "api_key_file", "certificate", "key"],
)
def test_a_missing_file_is_a_mistake_with_its_line(check, text, line, key):
    status, out, err = check(text)
    assert status == 1
    assert out == ""
    said = err.splitlines()[0]
    assert said.startswith(at(line)), said
    assert key in said


def test_every_mistake_is_told_each_in_a_line(check):
    status, _, err = check(GOOD + "nonsense: 1\nlimits: { body_bytes: x }\nlog: { level: loud }\n")
    assert status == 1
    lines = err.strip().splitlines()
    assert [line.split(" ")[0] for line in lines] == [at(9), at(10), at(11)]


@pytest.mark.parametrize(
    "text, line",
    [
        (GOOD + "default_model: m\n", 9),
        (GOOD + "log: &a { level: info }\n", 9),
        (GOOD + "log: *a\n", 9),
        (GOOD + "log: !x { level: info }\n", 9),
        (GOOD + "log: { level: info\n", None),
        (GOOD + "\tlog: x\n", None),
        (GOOD + "---\nlog: x\n", None),
        ("- a\n", 1),
        ("text\n", 1),
        (b"\xff\xfe\x00", None),
        (GOOD.encode() + b"log: \x00\n", None),
    ],
    ids=[
        "twice",
        "anchor",
        "alias",
        "tag",
        "open brace",
        "tab",
        "two documents",
        "list",
        "text",
        "utf-16",
        "nul",
    ],
)
def test_yaml_that_is_refused(check, text, line):
    status, out, err = check(text)
    assert status == 1
    assert out == ""
    assert err.startswith("test.yaml:")
    if line:
        assert any(said.startswith(at(line)) for said in err.splitlines()), err


def test_an_empty_file_is_the_defaults(check):
    status, out, err = check("")
    assert status == 0, err
    assert "127.0.0.1:8080" in out


def test_a_missing_file(tmp_path):
    for command in (["check", "-c", "no-such.yaml"], ["serve", "-c", "no-such.yaml"]):
        status, out, err = run_command(*command, folder=tmp_path)
        assert status == 1
        assert "no-such.yaml" in err
        assert len(err.strip().splitlines()) == 1


def test_check_without_a_file_shows_the_defaults(tmp_path):
    status, out, err = run_command("check", env={"OPENAI_API_KEY": KEY}, folder=tmp_path)
    assert status == 0, err
    assert "127.0.0.1:8080" in out
    assert "api.openai.com" in out
    assert "SECRET" not in out


def test_variables_and_their_defaults(check):
    text = GOOD.replace("127.0.0.1:1/v1", "${HOST_OF_UP:-127.0.0.1:5}/v1")
    status, out, err = check(text)
    assert status == 0, err
    assert "http://127.0.0.1:5/v1" in out
    status, out, err = check(text, env={"HOST_OF_UP": "10.0.0.1:6"})
    assert "http://10.0.0.1:6/v1" in out


def test_a_variable_is_never_parsed_again(check):
    """What stands in the environment is a value, not YAML and not a variable."""
    for value in ("a: b", "[x]", "${UP_KEY}", '"', "x\ny: z"):
        status, out, err = check(
            GOOD.replace("provider: up, model: x", 'provider: up, model: "${NAME_OF_IT}"'),
            env={"NAME_OF_IT": value},
        )
        if status == 0:
            assert KEY not in out
        else:
            assert len(err.strip().splitlines()) == 1
    status, out, _ = check(
        GOOD.replace("provider: up, model: x", 'provider: up, model: "${NAME_OF_IT}"'),
        env={"NAME_OF_IT": "a b: [c]"},
    )
    assert status == 0
    assert "a b: [c]" in out


def test_paths_are_relative_to_the_file(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "key").write_text("sesame-sesame\n")
    (tmp_path / "etc" / "test.yaml").write_text(GOOD + "auth:\n  keys:\n    - { name: a, key_file: key }\n")
    status, _, err = run_command("check", "-c", "etc/test.yaml", env={"UP_KEY": KEY}, folder=tmp_path)
    assert status == 0, err


def test_control_bytes_of_a_file_do_not_reach_the_terminal(check):
    status, _, err = check(GOOD + 'log: { level: "\\e[31mred\\a" }\n')
    assert status == 1
    assert "\x1b" not in err and "\x07" not in err


def test_listen_on_the_command_line(fake, start):
    from support.gateway import config

    gateway = start(config(fake, listen=[{"address": "127.0.0.1:1"}]), arguments=["-l", "127.0.0.1:0"])
    assert gateway.get("/health").status == 200


def test_serve_is_the_default_command(fake, tmp_path):
    import subprocess

    from support.gateway import clean_environment, config, yaml

    (tmp_path / "p.yaml").write_text(yaml(config(fake)))
    process = subprocess.Popen(
        [binary(), "-c", "p.yaml"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout.readline().startswith(b"listening on http://127.0.0.1:")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()


def test_several_listeners_and_ipv6(fake, start):
    from support.gateway import config
    from support.raw import Connection

    gateway = start(config(fake, listen=[{"address": "127.0.0.1:0"}, {"address": "[::1]:0"}]))
    for index in (0, 1):
        with Connection(gateway.address_of(index)) as connection:
            connection.request("GET", "/health", [("Host", "localhost")])
            assert connection.read_response().status == 200
    assert gateway.address_of(1)[0] == "::1"


def test_nothing_is_written_where_it_starts(fake, start):
    from support.gateway import config

    gateway = start(config(fake))
    gateway.chat()
    assert os.listdir(gateway.folder) == ["penstock.yaml"]
