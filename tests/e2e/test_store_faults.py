# SPDX-License-Identifier: Apache-2.0
# ctest-timeout: 120
"""The store on a disk that fails, fills up, or loses its power: what was acknowledged is there
afterwards, what was refused is not, and it never falls over. The same at every single call, with more
work: test_store_faults_long.py."""

import pytest

from support import store_faults


@pytest.mark.parametrize("kinds, error, mode", store_faults.FAULTS)
def test_one_call_fails(tmp_path, kinds, error, mode):
    store_faults.sweep(tmp_path, kinds, error, mode, steps=12, runs=4)


def test_several_threads(tmp_path):
    store_faults.sweep(tmp_path, "all", "EIO", "once", steps=8, threads=4, runs=4)


def test_power_cuts(tmp_path):
    store_faults.power_cuts(tmp_path, seed=1, steps=25, cuts=10)


def test_power_cuts_after_a_failed_sync(tmp_path):
    store_faults.failed_syncs(tmp_path, seed=2, steps=15, runs=5)


def test_killed(tmp_path):
    store_faults.kills(tmp_path, rounds=4)
