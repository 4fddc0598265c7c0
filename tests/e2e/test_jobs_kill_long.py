# SPDX-License-Identifier: Apache-2.0
# ctest-labels: long
# ctest-timeout: 3600
"""test_jobs_kill.py for as long as it takes to meet everything at work."""

import pytest

from support import jobs_kill

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("seed, pieces", [(20, 5), (21, 2), (22, 8)])
def test_killed_two_hundred_times(tmp_path, seed, pieces):
    numbers = jobs_kill.run(tmp_path, kills=200, seed=seed, pieces=pieces)
    print(numbers)
    for what in ("running", "validating", "in_progress", "files to be made", "a file half written"):
        assert numbers["met"].get(what, 0) > 0, (what, numbers)
