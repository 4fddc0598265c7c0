# SPDX-License-Identifier: Apache-2.0
"""Work for a processor, in two kinds, each the same in every execution model.

Both are calibrated in CPU time, so that one call costs the same however busy the machine is."""

import hashlib
import time


def in_python(rounds):
    """Holds the interpreter lock, as all Python code does, but for moments between bytecodes."""
    value = 1
    for number in range(rounds):
        value = (value * 31 + number) & 0xFFFFFFFF
    return value


def in_c(rounds):
    """Gives the interpreter lock away while it computes, as NumPy, PyTorch and others do."""
    return hashlib.pbkdf2_hmac("sha256", b"penstock", b"salt", rounds)[0]


def rounds_for(work, milliseconds, first):
    best = 1e9
    for _ in range(5):
        began = time.thread_time()
        work(first)
        best = min(best, time.thread_time() - began)
    return int(first * milliseconds / 1000 / best)


def calibrate(milliseconds):
    return (
        rounds_for(in_python, milliseconds, 200_000),
        rounds_for(in_c, milliseconds, 20_000),
    )
