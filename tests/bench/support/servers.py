# SPDX-License-Identifier: Apache-2.0
"""Starts the fake upstream, nginx and Penstock in one folder, and ends them."""

import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

KEY = "sk-bench-0123456789abcdef0123456789abcdef"
START_PATIENCE = 10.0


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def answers(port, path):
    """Whether GET path is answered with 200."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        status = connection.getresponse().status
        connection.close()
        return status == 200
    except OSError:
        return False


class Server:
    """A process and where it is reached. `pid` is the process whose work is measured."""

    def __init__(self, name, folder, command, ports, live="/health/live"):
        self.name = name
        self.ports = ports
        self.live = live
        self.command = command
        self.folder = folder
        self.process = None
        self.pid = None

    def start(self):
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pid = self.process.pid

    def wait(self):
        """Until it answers; tells the end of its log when it does not."""
        port = self.ports["plain"]
        end = time.monotonic() + START_PATIENCE
        while not answers(port, self.live):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench: {self.name} did not start:\n{self.log_tail()}")
            time.sleep(0.01)
        return self

    def log_tail(self):
        return (self.folder / f"{self.name}.log").read_text(errors="replace")[-2000:]

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nginx(Server):
    def wait(self):
        super().wait()
        # The master only watches; the worker, its one child, does the work.
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(children.read_text().split()[0])
        return self


def make_certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def upstream(folder, binary):
    make_certificate(folder)
    ports = {"plain": free_port(), "tls": free_port()}
    command = [binary, str(ports["plain"]), "--tls", str(ports["tls"]), "cert.pem", "key.pem"]
    return Server("upstream", folder, command, ports, live="/stats")


NGINX = """
{user}
daemon off;
pid nginx.pid;
error_log nginx.log warn;
worker_processes 1;
worker_rlimit_nofile {files};
events {{ worker_connections 30000; }}
http {{
    access_log access.log combined;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 32m;
    keepalive_requests 1000000000;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_read_timeout 600s;
    proxy_ssl_trusted_certificate cert.pem;
    proxy_ssl_verify on;
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    upstream plain {{ server 127.0.0.1:{plain}; keepalive 1024; keepalive_requests 1000000000; }}
    upstream tls {{ server 127.0.0.1:{tls}; keepalive 1024; keepalive_requests 1000000000; }}
{servers}
}}
"""

NGINX_SERVER = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        client_body_buffer_size {body_buffer};
        location = /health/live {{ return 200 "ok"; }}
        location / {{ proxy_buffering {buffering}; proxy_pass {target}; }}
    }}
"""


# Whole answers go to ports where nginx buffers them, streams to those where it does not. Request
# bodies stay in nginx's memory, as they do in Penstock; but for "plain-files", where nginx writes
# those above 16 KiB to files, which is its default.
PORTS = ("plain", "plain-stream", "plain-files", "tls", "tls-stream")


def nginx(folder, fake, files):
    ports = {name: free_port() for name in PORTS}
    servers = "".join(
        NGINX_SERVER.format(
            port=port,
            body_buffer="16k" if name.endswith("-files") else "1m",
            buffering="off" if name.endswith("-stream") else "on",
            target="https://tls" if name.startswith("tls") else "http://plain",
        )
        for name, port in ports.items()
    )
    # A worker of root's nginx would be nobody, who may not write into our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    text = NGINX.format(user=user, files=files, servers=servers, **fake.ports)
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-p", f"{folder}/", "-c", f"{folder}/nginx.conf", "-e", "nginx.log"]
    return Nginx("nginx", folder, command, ports)


def penstock(folder, fake, binary, models):
    """One event loop, a checked key, metrics and a JSON log in a file. Models named tls-… go to
    the upstream's TLS port."""
    port = free_port()

    def provider(url, **more):
        made = {"dialect": "openai", "base_url": url, "api_key": "sk-upstream", "list_models": False,
                "max_connections": 16000, "max_queue": 16000}  # fmt: skip
        made.update(more)
        return made

    def alias(model):
        tls = model.startswith("tls-")
        target = {"provider": "tls" if tls else "plain", "model": model.removeprefix("tls-")}
        return {"name": model, "targets": [target]}

    settings = {
        "listen": [{"address": f"127.0.0.1:{port}"}],
        "workers": {"event_loops": 1},
        "auth": {"keys": [{"name": "bench", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest()}]},
        "providers": {
            "plain": provider(f"http://127.0.0.1:{fake.ports['plain']}/v1"),
            "tls": provider(f"https://localhost:{fake.ports['tls']}/v1", ca_file="cert.pem"),
        },
        "models": [alias(model) for model in models],
        "data_dir": "data",
        "log": {"level": "info", "format": "json"},
    }
    # JSON is YAML, and its strings are quoted.
    (folder / "penstock.yaml").write_text(json.dumps(settings, indent=1) + "\n")
    command = [os.path.abspath(binary), "serve", "-c", "penstock.yaml"]
    return Server("penstock", folder, command, dict.fromkeys(PORTS, port))
