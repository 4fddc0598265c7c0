# SPDX-License-Identifier: Apache-2.0
# ctest-timeout: 300
"""kill -9 while work comes in and is worked off: nothing that was acknowledged is lost or done twice.

test_jobs_kill_long.py does it 200 times.
"""

from support import jobs_kill


def test_killed_again_and_again(tmp_path):
    numbers = jobs_kill.run(tmp_path, kills=2 * len(jobs_kill.MOMENTS), seed=1, pieces=4)
    print(numbers)
    assert numbers["met"]["running"] > 0 and numbers["lines"] > 0 and numbers["jobs"] > 0, numbers
