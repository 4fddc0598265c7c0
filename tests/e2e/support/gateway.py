# SPDX-License-Identifier: Apache-2.0
"""Starts the real binary with a written configuration and watches what it says."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from .raw import PATIENCE, Connection, events

# The sanitizers slow the start down; nothing here measures time.
START_PATIENCE = 60.0

UPSTREAM_KEY = "sk-upstream-SECRET-4711"

REPORTS = re.compile(rb"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|SUMMARY: ")


def binary():
    path = os.environ.get("PENSTOCK_BIN")
    assert path, "PENSTOCK_BIN says which binary to test"
    return os.path.abspath(path)


def yaml(value, indent=0):
    """Block YAML of dicts, lists, strings, numbers and booleans; strings are always quoted."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_child(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_child(item, indent)}" for item in value)
    raise TypeError(value)


def _child(item, indent):
    if isinstance(item, (dict, list)):
        return "\n" + yaml(item, indent + 1) if item else f" {item}\n"
    if isinstance(item, bool):
        return f" {str(item).lower()}\n"
    if isinstance(item, (int, float)):
        return f" {item}\n"
    return f" {json.dumps(item)}\n"


def provider(fake, **more):
    """A provider that is this fake. Its list of models is not asked for unless the test wants it."""
    made = {
        "dialect": "openai",
        "base_url": fake.base_url,
        "api_key": UPSTREAM_KEY,
        "list_models": False,
    }
    made.update(more)
    return {key: item for key, item in made.items() if item is not None}


def config(fake=None, **over):
    """The usual configuration: alias `m`, the default model, is `up-model` of provider `up`, the fake.
    `over` replaces top-level keys; None takes one out."""
    made = {"listen": [{"address": "127.0.0.1:0"}]}
    if fake is not None:
        made["default_model"] = "m"
        made["providers"] = {"up": provider(fake)}
        made["models"] = [{"name": "m", "targets": [{"provider": "up", "model": "up-model"}]}]
    made.update(over)
    return {key: item for key, item in made.items() if item is not None}


def targets(*fakes, strategy="ordered", weights=None, **more):
    """A configuration where `m` has one target per fake: providers p0, p1, …"""
    providers = {f"p{i}": provider(fake, api_key=f"{UPSTREAM_KEY}-{i}") for i, fake in enumerate(fakes)}
    chosen = [{"provider": f"p{i}", "model": f"model-{i}"} for i in range(len(fakes))]
    for target, weight in zip(chosen, weights or []):
        target["weight"] = weight
    return config(
        default_model="m",
        providers=providers,
        models=[{"name": "m", "strategy": strategy, "targets": chosen}],
        **more,
    )


def clean_environment(extra=None):
    """Ours without what would change the product's behaviour."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and not name.lower().endswith("_proxy")
    }
    kept.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=1")
    kept.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:abort_on_error=1")
    kept.update(extra or {})
    return kept


class Gateway:
    """The process, from start to a checked end.

    `settings`: a dict for yaml(), text, or None for no -c at all. `files`: name → content (str or
    bytes), written beside the configuration. Stderr is read all the time unless read_log is false.
    """

    def __init__(self, settings, files=None, env=None, arguments=(), wait=True, read_log=True):
        self.folder = tempfile.mkdtemp(prefix="penstock-e2e-")
        self.file = os.path.join(self.folder, "penstock.yaml")
        for name, content in (files or {}).items():
            self.write(name, content)
        command = [binary(), "serve"]
        if settings is not None:
            self.configure(settings)
            command += ["-c", self.file]
        self.lines = []  # of stdout
        self.log = []  # parsed lines of stderr
        self.noise = []  # other lines of stderr
        self.raw_log = b""
        self.stopped = False
        self.terminated = False
        self._changed = threading.Condition()
        self._ended = {"stdout": False, "stderr": False}
        self.process = subprocess.Popen(
            command + list(arguments),
            cwd=self.folder,
            env=clean_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._threads = [self._reader("stdout", self._take_line)]
        if read_log:
            self._threads.append(self._reader("stderr", self._take_log))
        if wait:
            try:
                self.wait_listening(self._listener_count(settings))
            except BaseException:
                self.kill()
                raise

    @staticmethod
    def _listener_count(settings):
        return len(settings.get("listen", [1])) if isinstance(settings, dict) else 1

    def write(self, name, content):
        """A file beside the configuration; whoever reads it meanwhile sees the old or the new, whole."""
        path = os.path.join(self.folder, name)
        with open(path + ".new", "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.rename(path + ".new", path)
        return path

    def configure(self, settings):
        """Writes the configuration; a running process takes it up at reload()."""
        self.write("penstock.yaml", settings if isinstance(settings, str) else yaml(settings))

    def _reader(self, name, take):
        pipe = getattr(self.process, name)

        def read():
            for line in pipe:
                with self._changed:
                    take(line)
                    self._changed.notify_all()
            with self._changed:
                self._ended[name] = True
                self._changed.notify_all()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread

    def read_log_now(self):
        """Starts reading stderr, when read_log was false."""
        self._threads.append(self._reader("stderr", self._take_log))

    def _take_line(self, line):
        self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _take_log(self, line):
        self.raw_log += line
        try:
            record = json.loads(line)
            assert isinstance(record, dict)
            self.log.append(record)
        except (ValueError, AssertionError):
            self.noise.append(line.decode("utf-8", "replace").rstrip("\n"))

    # Waiting for what it says

    def wait_for(self, condition, what="", patience=PATIENCE):
        """Until condition() is true; it is asked again at each line of output, and fails when the process ends."""
        with self._changed:
            done = self._changed.wait_for(lambda: condition() or all(self._ended.values()), timeout=patience)
            if not done or not condition():
                state = self.process.poll()
                raise AssertionError(
                    f"no {what or 'such output'}; exit status {state}; stdout {self.lines}; "
                    f"log {self.log[-20:]}; other output {self.noise[-60:]}"
                )

    def wait_listening(self, count=1):
        self.wait_for(lambda: len(self.listening) >= count, "listening line", START_PATIENCE)

    @property
    def listening(self):
        """The URLs it said it listens on."""
        found = [re.match(r"listening on (\S+)", line) for line in self.lines]
        return [match.group(1) for match in found if match]

    def address_of(self, index=0):
        """(host, port), or the path of a Unix socket."""
        if self.listening[index].startswith("unix:"):
            return self.listening[index].removeprefix("unix:")
        match = re.match(r"https?://(\[.*\]|[^:]+):(\d+)", self.listening[index])
        return match.group(1).strip("[]"), int(match.group(2))

    @property
    def address(self):
        return self.address_of(0)

    @property
    def url(self):
        return self.listening[0].rstrip("/")

    def find_log(self, **wanted):
        """Log lines that have all these fields."""
        return [
            line for line in list(self.log) if all(line.get(key) == value for key, value in wanted.items())
        ]

    def wait_log(self, what="log line", **wanted):
        self.wait_for(lambda: self.find_log(**wanted), f"{what} {wanted}")
        return self.find_log(**wanted)[-1]

    def request_lines(self):
        return self.find_log(msg="request")

    def line_of(self, response):
        """The log line of a request, by its answer's id."""
        wanted = response.headers.get("x-request-id")
        assert wanted
        self.wait_for(lambda: self._lines_with(wanted), f"log line of request {wanted}")
        lines = self._lines_with(wanted)
        assert len(lines) == 1, lines
        return lines[0]

    def _lines_with(self, request_id):
        return [line for line in self.request_lines() if request_id in line.values()]

    # Asking it

    def connect(self, **how):
        return Connection(self.address, **how)

    def ask(self, method, path, headers=(), body=None, **how):
        """One request on a connection of its own; the whole answer."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            if not any(name.lower() == "content-type" for name, _ in headers):
                headers = [("Content-Type", "application/json"), *headers]
        elif isinstance(body, str):
            body = body.encode()
        with self.connect(**how) as connection:
            connection.request(method, path, headers, body)
            return connection.read_response(method)

    def get(self, path, headers=()):
        return self.ask("GET", path, headers)

    def post(self, path, body, headers=()):
        return self.ask("POST", path, headers, body)

    def chat(self, body=None, headers=(), **fields):
        """A small chat request."""
        request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        request.update(body or {})
        request.update(fields)
        return self.post("/v1/chat/completions", request, headers)

    def open_chat(self, connection, headers=(), path="/v1/chat/completions", **fields):
        """Sends a streamed chat request; the caller reads."""
        request = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        request.update(fields)
        connection.request(
            "POST", path, [("Content-Type", "application/json"), *headers], json.dumps(request).encode()
        )

    def cut_chat(self):
        """The events of a streamed chat that breaks off."""
        with self.connect() as connection:
            self.open_chat(connection)
            data, _ = connection.read_cut(connection.read_head())
        return events(data)

    def metrics(self):
        """Samples of /metrics: {(name, frozenset of labels): value}."""
        return parse_metrics(self.get("/metrics").text)

    def metric(self, name, **labels):
        """Sum of the samples of that name which have these labels."""
        wanted = set(labels.items())
        return sum(
            value for (sample, have), value in self.metrics().items() if sample == name and wanted <= have
        )

    # Telling it

    def signal(self, number):
        self.terminated = self.terminated or number in (signal.SIGTERM, signal.SIGINT)
        self.process.send_signal(number)

    def reload(self):
        self.signal(signal.SIGHUP)

    def terminate(self):
        self.signal(signal.SIGTERM)

    def memory(self):
        """Resident bytes now."""
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    # The end

    def wait_exit(self, patience=START_PATIENCE):
        self.process.wait(patience)
        for thread in self._threads:
            thread.join(PATIENCE)
        return self.process.returncode

    def stop(self, code=0):
        """SIGTERM, if it had none, and out: the exit status is as expected and no sanitizer complained. Once
        only."""
        if self.stopped:
            return
        self.stopped = True
        try:
            if self.process.poll() is None and not self.terminated:
                self.terminate()
            try:
                status = self.wait_exit()
            except subprocess.TimeoutExpired:
                raise AssertionError(f"it does not end after SIGTERM; log {self.log[-10:]}") from None
            report = "\n".join(self.noise[-200:])
            assert not REPORTS.search(self.raw_log), (
                f"a sanitizer complains (exit status {status}):\n{report}"
            )
            assert status == code, f"exit status {status}\n{report}\n{self.log[-10:]}"
        finally:
            self.kill()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
            return
        try:
            self.stop()
        except AssertionError as error:
            print(f"and at its end: {error}")  # the first failure is the one to show
        print(
            "log of the gateway:",
            *(json.dumps(line) for line in self.log[-20:]),
            *self.noise[-40:],
            sep="\n  ",
        )


def parse_metrics(text):
    samples = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
        assert match, f"not a sample: {line!r}"
        labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match.group(2) or "")
        key = (match.group(1), frozenset(labels))
        assert key not in samples, f"twice: {line!r}"
        samples[key] = float(match.group(3))
    return samples


def run_command(*arguments, env=None, folder=None, patience=START_PATIENCE):
    """Runs the binary to its end: (exit status, stdout, stderr)."""
    done = subprocess.run(
        [binary(), *arguments],
        cwd=folder,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=patience,
    )
    assert not REPORTS.search(done.stderr), done.stderr.decode("utf-8", "replace")
    return done.returncode, done.stdout.decode(), done.stderr.decode()
