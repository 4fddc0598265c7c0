# SPDX-License-Identifier: Apache-2.0
"""TLS on both sides: ours to clients, and the upstream's to us."""

import os
import ssl
import tempfile

import pytest

from support import fake as up
from support.fake import certificate
from support.gateway import UPSTREAM_KEY, config, provider
from support.raw import Connection


@pytest.fixture(scope="module")
def pki():
    """Certificates: name → (certificate, key); `ca` has signed the others but `stranger`."""
    with tempfile.TemporaryDirectory(prefix="penstock-pki-") as folder:
        made = {
            "ca": certificate(folder, "ca", ["Test CA"]),
            "stranger": certificate(folder, "stranger", ["Other CA"]),
        }
        for name, hosts in {
            "one": ["localhost", "127.0.0.1", "one.test"],
            "two": ["two.test", "*.wild.test"],
            "wrong": ["wrong.test"],
        }.items():
            made[name] = certificate(folder, name, hosts, made["ca"])
        made["folder"] = folder
        yield made


def client(pki, **how):
    context = ssl.create_default_context(cafile=pki["ca"][0])
    context.check_hostname = how.pop("check", True)
    for name, value in how.items():
        setattr(context, name, value)
    return context


def listener(pki, *names):
    pairs = [{"certificate": pki[name][0], "key": pki[name][1]} for name in names]
    return [{"address": "127.0.0.1:0", "tls": pairs[0] if len(pairs) == 1 else pairs}]


def served(gateway, context, name="localhost"):
    """One request over TLS: (answer, name of the certificate, TLS version, ALPN)."""
    with Connection(gateway.address, tls=context, server_name=name) as connection:
        subject = dict(item[0] for item in connection.sock.getpeercert()["subject"])
        connection.request("GET", "/v1/models")
        return (
            connection.read_response(),
            subject["commonName"],
            connection.sock.version(),
            connection.sock.selected_alpn_protocol(),
        )


# To clients


def test_requests_over_tls(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    assert gateway.listening[0].startswith("https://127.0.0.1:")
    answer, name, version, _ = served(gateway, client(pki))
    assert answer.status == 200
    assert name == "localhost"
    assert version in ("TLSv1.2", "TLSv1.3")


def test_streams_over_tls(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    gate = up.Gate()
    big = up.delta("x" * 100_000)
    fake.then(up.script(up.ROLE, up.delta("a"), gate, big, up.FINISH, up.DONE, "finish"))
    with Connection(gateway.address, tls=client(pki)) as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        assert connection.read_events(answer, 2) == up.ROLE + up.delta("a")
        gate.open()
        connection.read_body(answer)
        assert answer.body == up.ROLE + up.delta("a") + big + up.FINISH + up.DONE
        # The connection is kept.
        gateway.open_chat(connection)
        assert connection.read_response().status == 200


def test_a_large_body_over_tls(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    text = "y" * 3_000_000
    fake.then(up.whole(up.chat_answer(text)))
    with Connection(gateway.address, tls=client(pki)) as connection:
        gateway.open_chat(connection, stream=False, messages=[{"role": "user", "content": text}])
        answer = connection.read_response()
    assert answer.json()["choices"][0]["message"]["content"] == text
    assert fake.last.json()["messages"][0]["content"] == text


def test_alpn_is_http_1_1(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    for offered, chosen in ((["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)):
        context = client(pki)
        if offered:
            context.set_alpn_protocols(offered)
        assert served(gateway, context)[3] == chosen


def test_a_client_that_only_speaks_h2_is_refused_in_the_handshake(fake, start, pki):
    """RFC 7301: no_application_protocol; serving HTTP/1.1 to it would be a confusion of protocols."""
    gateway = start(config(fake, listen=listener(pki, "one")))
    context = client(pki)
    context.set_alpn_protocols(["h2"])
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        served(gateway, context)


def test_certificates_by_name(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one", "two")))
    for name, wanted in (
        ("localhost", "localhost"),
        ("one.test", "localhost"),
        ("two.test", "two.test"),
        ("TWO.test", "two.test"),
        ("a.wild.test", "two.test"),
    ):
        assert served(gateway, client(pki), name)[1] == wanted, name
    # A name nobody has gets the first.
    assert served(gateway, client(pki, check=False), "unknown.test")[1] == "localhost"


def test_old_versions_are_refused(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = client(pki, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        served(gateway, context)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert served(gateway, client(pki, minimum_version=version, maximum_version=version))[0].status == 200


def test_plain_http_on_a_tls_port_does_no_harm(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    with Connection(gateway.address) as connection:
        connection.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            connection.read_to_end()
        except Exception as error:
            assert "rst" in str(error)
    assert served(gateway, client(pki))[0].status == 200


def test_a_handshake_that_stalls_is_ended(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one"), limits={"header_timeout": "300ms"}))
    for first in (b"", b"\x16\x03\x01"):
        with Connection(gateway.address) as connection:
            connection.send(first)
            connection.wait_end()
    assert served(gateway, client(pki))[0].status == 200


def test_a_handshake_byte_by_byte(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    context = client(pki)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with Connection(gateway.address) as connection:

        def flush():
            for byte in outgoing.read():
                connection.send(bytes([byte]))

        def drive(step):
            while True:
                try:
                    result = step()
                    flush()
                    return result
                except ssl.SSLWantReadError:
                    flush()
                    connection.receive()
                    incoming.write(connection.buffer)
                    connection.buffer = b""

        drive(session.do_handshake)
        drive(lambda: session.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
        assert drive(lambda: session.read(1000)).startswith(b"HTTP/1.1 200")


def test_a_clean_end_says_close_notify(fake, start, pki):
    """Without it a truncated answer could not be told from a whole one."""
    gateway = start(config(fake, listen=listener(pki, "one")))
    with Connection(gateway.address, tls=client(pki, check=False), server_name="localhost") as connection:
        connection.sock.suppress_ragged_eofs = False
        connection.request("GET", "/health", [("Connection", "close")])
        connection.read_response()
        assert connection.sock.recv(10) == b""


def test_certificates_are_read_again_at_a_reload(fake, start, pki):
    def settings(name):
        return {"cert.pem": open(pki[name][0]).read(), "key.pem": open(pki[name][1]).read()}

    tls = [{"address": "127.0.0.1:0", "tls": {"certificate": "cert.pem", "key": "key.pem"}}]
    gateway = start(config(fake, listen=tls), files=settings("one"))
    assert served(gateway, client(pki))[1] == "localhost"
    for name, content in settings("two").items():
        gateway.write(name, content)
    gateway.reload()
    gateway.wait_for(lambda: gateway.find_log(msg="configuration reloaded"))
    assert served(gateway, client(pki), "two.test")[1] == "two.test"


def test_a_key_that_does_not_fit_is_told_at_the_start(fake, start, pki):
    tls = [{"address": "127.0.0.1:0", "tls": {"certificate": pki["one"][0], "key": pki["two"][1]}}]
    gateway = start(config(fake, listen=tls), wait=False)
    assert gateway.wait_exit() == 1
    gateway.stopped = True
    told = gateway.raw_log.decode()
    assert os.path.basename(pki["two"][1]) in told or os.path.basename(pki["one"][0]) in told


def test_a_client_that_leaves_over_tls(fake, start, pki):
    gateway = start(config(fake, listen=listener(pki, "one")))
    fake.then(up.script(up.ROLE, up.delta("a"), "gone"))
    connection = Connection(gateway.address, tls=client(pki))
    gateway.open_chat(connection)
    connection.read_events(connection.read_head(), 2)
    connection.close()
    fake.last.gone.wait()


# To upstreams


@pytest.fixture
def secure(pki):
    """Makes fakes that speak TLS with this certificate."""
    made = []

    def secure(name, **how):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pki[name])
        for key, value in how.items():
            setattr(context, key, value)
        made.append(up.Fake(tls=context))
        return made[-1]

    yield secure
    for fake in made:
        fake.stop()


def trusting(fake, pki, ca="ca", **more):
    return config(fake, providers={"up": provider(fake, ca_file=pki[ca][0] if ca else None, **more)})


def test_an_upstream_with_our_ca(secure, start, pki):
    fake = secure("one")
    gateway = start(trusting(fake, pki))
    assert gateway.chat().status == 200
    answer = gateway.chat(stream=True)
    assert answer.body.endswith(up.DONE)
    assert fake.connections == 1


def refused(gateway, fake):
    answer = gateway.chat()
    assert answer.status == 502
    assert answer.error["code"] == "upstream_tls_failed"
    assert fake.requests == []
    fake.problems.clear()  # the handshake that fails there is what is wanted


def test_an_upstream_of_a_stranger_is_a_502(secure, start, pki):
    fake = secure("one")
    gateway = start(trusting(fake, pki, ca="stranger"))
    refused(gateway, fake)
    gateway.stop()
    assert UPSTREAM_KEY.encode() not in gateway.raw_log


def test_a_private_upstream_without_ca_file_is_a_502(secure, start, pki):
    fake = secure("one")
    refused(start(trusting(fake, pki, ca=None)), fake)


def test_an_upstream_with_another_name_is_a_502(secure, start, pki):
    fake = secure("wrong")
    refused(start(trusting(fake, pki)), fake)


def test_an_old_upstream_is_a_502(secure, start, pki):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        fake = secure("one", minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    refused(start(trusting(fake, pki)), fake)


def test_a_tls_upstream_that_cuts_is_a_cut(secure, start, pki):
    fake = secure("one")
    gateway = start(trusting(fake, pki))
    gate = up.Gate()
    fake.then(up.script(up.ROLE, up.delta("a"), gate, "fin"))
    with gateway.connect() as connection:
        gateway.open_chat(connection)
        answer = connection.read_head()
        connection.read_events(answer, 2)
        gate.open()
        rest, _ = connection.read_cut(answer)
    assert b"stream_incomplete" in rest


@pytest.mark.parametrize(
    "content", [None, "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_ca_file_that_cannot_be_used_is_told_at_the_start(start, content):
    up_there = {
        "dialect": "openai",
        "base_url": "https://127.0.0.1:1/v1",
        "api_key": "k",
        "ca_file": "ca.pem",
        "list_models": False,
    }
    settings = config(providers={"up": up_there}, models=[{"name": "m", "targets": [{"provider": "up"}]}])
    gateway = start(settings, files={"ca.pem": content} if content else None, wait=False)
    assert gateway.wait_exit() == 1
    gateway.stopped = True
    assert "ca.pem" in gateway.raw_log.decode()


def test_an_upstream_of_another_name_fails_over(secure, fake, start, pki):
    bad = secure("wrong")
    providers = {"bad": provider(bad, ca_file=pki["ca"][0]), "up": provider(fake)}
    models = [{"name": "m", "targets": [{"provider": "bad", "model": "x"}, {"provider": "up", "model": "y"}]}]
    gateway = start(config(fake, providers=providers, models=models))
    assert gateway.chat().headers.get("x-penstock-provider") == "up"
    bad.problems.clear()


def test_a_silent_handshake_is_ended_by_the_connect_timeout(fake, start):
    fake.on_connect = lambda sock: (
        sock.recv(10_000)
        and up.Exchange(fake, sock, up.Request(b"GET / HTTP/1.1\r\n\r\n", 0, 0)).wait_gone() is not None
    )
    url = f"https://127.0.0.1:{fake.port}/v1"
    gateway = start(
        config(fake, providers={"up": provider(fake, base_url=url, timeouts={"connect": "300ms"})})
    )
    answer = gateway.chat()
    assert answer.status in (502, 504)
    assert answer.error["type"] == "upstream_error"
