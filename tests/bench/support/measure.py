# SPDX-License-Identifier: Apache-2.0
"""Drives one server and measures what it cost. CPU time is in microseconds, memory in MiB."""

import http.client
import json
import os
import pathlib
import resource
import socket
import subprocess
import time

from .servers import KEY

HERE = pathlib.Path(__file__).resolve().parent.parent


def cpu_us(pid):
    """User and system time of all threads of a process, from the scheduler's own nanoseconds where
    the kernel tells them: utime and stime of /proc/PID/stat are rounded to 10 ms."""
    total = 0
    try:
        for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
        return total / 1000
    except FileNotFoundError:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def machine_busy_s():
    fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def our_cpu_s():
    """Of this script and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rss_mib(pid):
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def stats(fake):
    connection = http.client.HTTPConnection("127.0.0.1", fake.ports["plain"], timeout=30)
    connection.request("GET", "/stats")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def make_body(folder, model, size):
    """A chat history of `size` bytes, as clients write it: messages of 1000 bytes and less."""
    words = 'The penstock is open, and "water" flows to the turbine.\nWhat happens next? '
    messages = []
    body = {"model": model, "messages": messages, "temperature": 0.7, "max_tokens": 100}

    def left():
        return size - len(json.dumps(body))

    messages.append({"role": "user", "content": "Why is the sky blue?"})
    while left() > 100:
        role = ("assistant", "user")[len(messages) % 2]
        text = words * 16
        messages.append({"role": role, "content": text[: min(1000, left() - 80)]})
    messages[-1]["content"] += "." * left()
    path = folder / f"{model}-{size}.json"
    path.write_text(json.dumps(body))
    return path


def sample(fake, server):
    """CPU time and progress as near to each other in time as can be."""
    progress = stats(fake)
    return cpu_us(server.pid), progress


WARM = 0.25
MANY = 128  # connections; opening them, with TLS to the upstream, takes a while
REST = 0.15


def drive_wrk(fake, server, port, body, connections, seconds, path="/v1/chat/completions"):
    """CPU per request in the middle of a load: connections are open and the load still runs when
    both ends are sampled."""
    warm = WARM
    if connections > MANY:
        warm += 0.75
        seconds += 1
    command = [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s",
        "-s", str(HERE / "post.lua"), f"http://127.0.0.1:{port}{path}",
        "--", str(body), KEY,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as load:
        time.sleep(warm)
        before = sample(fake, server)
        time.sleep(seconds - warm - REST)
        after = sample(fake, server)
        text = load.communicate()[0].decode()
    told = json.loads(text.strip().splitlines()[-1])
    done = after[1]["requests"] - before[1]["requests"]
    told["us"] = (after[0] - before[0]) / max(done, 1)
    told["count"] = done
    told["bad"] = told["errors"] + told["refused"]
    return told


def drive_streams(binary, fake, server, port, case, door="/v1/chat/completions"):
    """CPU per event of streams that all run to their end, their opening included."""
    command = [
        binary, "--port", str(port), "--model", case.model, "--pieces", str(case.pieces),
        "--streams", str(case.streams), "--open", str(case.connections), "--key", KEY,
        "--door", door, "--pid", str(server.pid),
    ]  # fmt: skip
    before = sample(fake, server)
    told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)
    after = sample(fake, server)
    done = after[1]["pieces"] - before[1]["pieces"]
    told["us"] = (after[0] - before[0]) / max(done, 1)
    told["count"] = done
    told["bad"] = told["streams"] - told["complete"]
    told["per_s"] = done * 1e6 / max(told["took_us"], 1)
    return told


def start_ms(server):
    """From the start of the process to its first answer, by asking as often as it can be asked."""
    request = f"GET {server.live} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    began = time.perf_counter()
    server.start()
    end = began + 10
    while time.perf_counter() < end:
        with socket.socket() as sock:
            sock.settimeout(5)
            try:
                sock.connect(("127.0.0.1", server.ports["plain"]))
                sock.sendall(request)
                if sock.recv(12).startswith(b"HTTP/1.1 200"):
                    return (time.perf_counter() - began) * 1000
            except OSError:
                pass
        time.sleep(0.0002)
    raise SystemExit(f"bench: {server.name} did not answer:\n{server.log_tail()}")


def overhead_us(server, body, times=300):
    """What x-penstock-overhead-us says, request after request on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["plain"], timeout=30)
    told = []
    for _ in range(times):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        connection.request("POST", "/v1/chat/completions", body.read_bytes(), headers)
        answer = connection.getresponse()
        answer.read()
        told.append(int(answer.headers["x-penstock-overhead-us"]))
    connection.close()
    told.sort()
    return told[len(told) // 2], told[len(told) * 99 // 100]
