# SPDX-License-Identifier: Apache-2.0
"""What test_store_faults.py does a little of, and test_store_faults_long.py much."""

import concurrent.futures
import os
import random
import shutil
import subprocess

from . import faultfs, powercut

FAULTS = [
    ("write", "EIO", "once"),
    ("write", "ENOSPC", "always"),
    ("write", "ENOSPC", "short"),
    ("sync", "EIO", "once"),
    ("sync", "EIO", "always"),
    ("open", "EIO", "once"),
    ("rename", "EIO", "once"),
    ("unlink,truncate,mkdir", "EIO", "once"),
    ("all", "EIO", "always"),
    ("all", "EROFS", "always"),
]


def _fresh(folder, name):
    root = os.path.join(str(folder), name)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    return root


def _setup(folder, name="run", log=False):
    base = _fresh(folder, name)
    root = os.path.join(base, "disk")
    os.mkdir(root)
    return faultfs.Faults(base, root, log)


def _chosen(total, runs):
    """All from 1 to total, or `runs` of them, with the first and the last."""
    if runs is None or runs >= total:
        return range(1, total + 1)
    return sorted({1 + (total - 1) * i // (runs - 1) for i in range(runs)})


def _at_once(numbers, check):
    """A store that has failed waits a second before it tries again: several of them side by side."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(check, numbers))


def _count(folder, kinds, seed, steps, threads):
    """How many calls of these kinds the workload makes when none fails."""
    faults = _setup(folder)
    faults.set(f"{kinds} {2 ** 60} EIO once")
    said = faultfs.run(faults, seed, steps, threads, heal=True)
    assert b"refused" not in said, said.decode()
    assert said.count(b"\njob ") > 0 and said.count(b"\nsettled ") > 0, "a workload of nothing"
    return faults.counts()[0]


def sweep(folder, kinds, error, mode, steps, runs=None, threads=1, seed=7):
    """The n-th call fails, for every n, or `runs` of them from the first to the last."""
    total = _count(folder, kinds, seed, steps, threads)
    assert total > 0, f"no {kinds}"

    def check(n):
        faults = _setup(folder, f"run{n}")
        faults.set(f"{kinds} {n} {error} {mode}")
        said = faultfs.run(faults, seed, steps, threads, heal=mode == "once")
        failed = faults.counts()[1] > 0
        known = mode == "once" or kinds == "write"
        wrong = faultfs.verify(faults.root, said if known else _acknowledged(said))
        assert wrong is None, f"{kinds} {n} {error} {mode}: {wrong}\nsaid:\n{said.decode()}"
        shutil.rmtree(os.path.dirname(faults.root))
        return failed

    assert any(_at_once(_chosen(total, runs), check)), "nothing failed"


def _check_cut(faults, records, end, chance, what):
    target = os.path.join(os.path.dirname(faults.root), "cut")
    shutil.rmtree(target, ignore_errors=True)
    powercut.rebuild(records, faults.root, target, end, chance)
    said = powercut.said(records, end)
    wrong = faultfs.verify(target, _acknowledged(said))
    assert wrong is None, f"{what}: {wrong}\nsaid:\n{said.decode()}"


def _acknowledged(said):
    """Without what was refused. What a disk took before its sync failed for good, nobody can take back
    from it; and a power cut may bring back what was never synced."""
    lines = faultfs.whole_lines(said).splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"refused "))


def power_cuts(folder, seed, steps, cuts, threads=2, shuffles=1):
    """A run, then cuts all over its log: strictly what was synced, and some of the rest as well."""
    faults = _setup(folder, log=True)
    faultfs.run(faults, seed, steps, threads)
    records = powercut.read_log(faults.log)
    assert len(records) > 2 * cuts
    for i in range(cuts + 1):
        end = len(records) * i // cuts
        _check_cut(faults, records, end, None, f"seed {seed}, cut {end}, strict")
        for shuffle in range(shuffles):
            chance = random.Random(f"{seed} {end} {shuffle}")
            _check_cut(faults, records, end, chance, f"seed {seed}, cut {end}, {shuffle}")


def failed_syncs(folder, seed, steps, runs=None):
    """One sync fails, the program goes on, and then the power goes: what was acknowledged after the
    failure does not stand on pages that the failed sync has lost."""

    def check(n):
        faults = _setup(folder, f"run{n}", log=True)
        faults.set(f"sync {n} EIO once")
        faultfs.run(faults, seed, steps, heal=True)
        records = powercut.read_log(faults.log)
        failed = [i for i, record in enumerate(records)
                  if record.kind in (powercut.SYNC, powercut.SYNC_FOLDER) and not record.ok]
        ends = {len(records)}
        ends.update(failed[0] + (len(records) - failed[0]) * i // 4 for i in range(4) if failed)
        for end in sorted(ends):
            _check_cut(faults, records, end, None, f"sync {n} failed, cut {end}, strict")
            chance = random.Random(f"{seed} {n} {end}")
            _check_cut(faults, records, end, chance, f"sync {n} failed, cut {end}")
        shutil.rmtree(os.path.dirname(faults.root))

    _at_once(_chosen(_count(folder, "sync", seed, steps, 1), runs), check)


def kills(folder, rounds, seed=3):
    """kill -9 while it works, again and again in the same folder."""
    root = _fresh(folder, "killed")
    chance = random.Random(seed)
    said = b""
    for number in range(rounds):
        process = subprocess.Popen([faultfs.driver(), "run", root, str(seed + number), "10000", "3"],
                                   stdout=subprocess.PIPE)
        lines = chance.randint(1, 120)
        heard = b""
        for line in process.stdout:
            heard += line
            lines -= 1
            if lines == 0:
                process.kill()
        process.wait()
        assert process.returncode == -9
        said += faultfs.whole_lines(heard)
    wrong = faultfs.verify(root, said)
    assert wrong is None, f"{wrong}\nsaid:\n{said.decode()}"
