# SPDX-License-Identifier: Apache-2.0
# ctest-labels: long
# ctest-timeout: 3600
"""test_store_faults.py at every single call, or nearly."""

import pytest

from support import store_faults

pytestmark = pytest.mark.timeout(1800)

@pytest.mark.parametrize("kinds, error, mode", store_faults.FAULTS)
def test_each_call_fails(tmp_path, kinds, error, mode):
    # A disk that stays broken is waited for at every step: not from each call on.
    runs = 200 if mode == "always" else None
    store_faults.sweep(tmp_path, kinds, error, mode, steps=30, runs=runs)


def test_several_threads(tmp_path):
    store_faults.sweep(tmp_path, "all", "EIO", "once", steps=20, threads=4, runs=200)


@pytest.mark.parametrize("seed", range(4))
def test_power_cuts(tmp_path, seed):
    store_faults.power_cuts(tmp_path, seed=seed, steps=60, cuts=50, shuffles=4)


def test_power_cuts_after_a_failed_sync(tmp_path):
    store_faults.failed_syncs(tmp_path, seed=2, steps=30)


def test_killed(tmp_path):
    store_faults.kills(tmp_path, rounds=200)
