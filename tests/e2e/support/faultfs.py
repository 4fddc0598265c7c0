# SPDX-License-Identifier: Apache-2.0
"""Runs tests/loop/store/store_driver.c on the failing disk of tests/support/faultfs."""

import functools
import os
import re
import struct
import subprocess

PATIENCE = 120
REPORTS = re.compile(rb"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|SUMMARY: ")


def driver():
    path = os.environ.get("PENSTOCK_STORE_DRIVER")
    assert path, "PENSTOCK_STORE_DRIVER says which store_driver to run"
    return os.path.abspath(path)


@functools.cache
def preload(program):
    """The library goes behind the runtime of a sanitizer, which insists on being the first."""
    path = os.environ.get("PENSTOCK_FAULTFS")
    assert path, "PENSTOCK_FAULTFS says where faultfs.so is"
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    runtimes = re.findall(r"=> (\S*/lib[at]san\S*)", libraries)
    return ":".join([*runtimes, os.path.abspath(path)])


class Faults:
    """The control and the state of one run on the failing disk."""

    def __init__(self, folder, root, log=False):
        self.control = os.path.join(folder, "control")
        self.state = os.path.join(folder, "state")
        self.root = root
        self.log = os.path.join(folder, "log") if log else None
        self.set("")

    def set(self, line):
        """`<kinds> <n> <errno> once|always|short`, or nothing fails."""
        with open(self.control + ".new", "w") as file:
            file.write(line)
        os.rename(self.control + ".new", self.control)

    def counts(self):
        """Calls of the kinds that were named, and failures."""
        with open(self.state, "rb") as file:
            return struct.unpack("=QQ", file.read(16))

    def environment(self, program):
        made = {
            **os.environ,
            "LD_PRELOAD": preload(program),
            "FAULTFS_ROOT": self.root,
            "FAULTFS_CONTROL": self.control,
            "FAULTFS_STATE": self.state,
        }
        if self.log:
            made["FAULTFS_LOG"] = self.log
        return made


def run(faults, seed, steps, threads=1, heal=False):
    """The workload. What it said, as bytes; it never ends but by itself, whatever fails."""
    program = driver()
    command = [program, "run", faults.root, str(seed), str(steps), str(threads)]
    done = subprocess.run(command + (["heal"] if heal else []), env=faults.environment(program),
                          capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and not REPORTS.search(done.stderr), (
        f"{command}: {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def whole_lines(said):
    """Without a last line that was cut."""
    return said[:said.rfind(b"\n") + 1]


def verify(root, said):
    """On a disk that works. None, or what is wrong."""
    done = subprocess.run([driver(), "verify", root], input=whole_lines(said), capture_output=True,
                          timeout=PATIENCE)
    if done.returncode == 0 and not REPORTS.search(done.stderr):
        return None
    return f"{done.returncode}: {done.stderr.decode(errors='replace')}"
