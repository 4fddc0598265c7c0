# SPDX-License-Identifier: Apache-2.0
"""The tables, as Markdown."""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from statistics import median


def first_line(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else "?"


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*:\s*(.*)", text)
    congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
    tcp = f", TCP {congestion.read_text().strip()}" if congestion.exists() else ""
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    return (
        f"{len(os.sched_getaffinity(0))} cores ({found[1] if found else platform.machine()}), "
        f"{memory / 2**20:.0f} GiB of memory, Linux {platform.release().split('-')[0]}{tcp}"
    )


def header(command, penstock):
    when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    nginx = first_line(["nginx", "-v"]).removeprefix("nginx version: ").replace("/", " ")
    wrk = re.sub(r"^wrk (debian/)?(\S+).*", r"wrk \2", first_line(["wrk", "-v"]))
    return "\n".join(
        [
            f"{when} · `{command}` · {machine()}",
            "",
            f"{first_line([penstock, 'version'])} · {nginx} · {wrk}",
        ]
    )


def spread(values):
    """The median, and how far the rounds were apart."""
    return f"**{median(values):.2f}** ({min(values):.2f}–{max(values):.2f})"


def costs(cases, results):
    """One line for each case: what a request or an event cost, and the ratio of each round."""
    lines = [
        "| load | connections | nginx µs | Penstock µs | ratio (lowest–highest round) "
        "| p50 latency, or events a second, nginx / Penstock |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for case in cases:
        nginx, ours = results[case]["nginx"], results[case]["penstock"]
        ratios = [b["us"] / a["us"] for a, b in zip(nginx, ours) if a["us"] > 0]
        if case.pieces:
            told = [f"{median(told['per_s'] for told in side):,.0f}" for side in (nginx, ours)]
        else:
            told = [f"{median(told['p50_us'] for told in side) / 1000:.2f}" for side in (nginx, ours)]
        speed = " / ".join(told) + ("/s" if case.pieces else " ms")
        lines.append(
            f"| {case.name} | {case.connections} | {median(told['us'] for told in nginx):.1f} "
            f"| {median(told['us'] for told in ours):.1f} | {spread(ratios)} | {speed} |"
        )
    return "\n".join(lines)


def failures(cases, results):
    """Lines about answers that were not right; there should be none."""
    lines = []
    for case in cases:
        for name, rounds in results[case].items():
            bad = sum(told["bad"] for told in rounds)
            if bad:
                lines.append(f"- {case.name}, {case.connections} connections, {name}: {bad} of "
                             f"{sum(told['count'] for told in rounds)} failed")  # fmt: skip
    return lines


def table(rows):
    lines = ["| measure | nginx | Penstock |", "| --- | ---: | ---: |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)
