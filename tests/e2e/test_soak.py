# SPDX-License-Identifier: Apache-2.0
# ctest-labels: long
# ctest-timeout: 1500
"""test_chaos.py for minutes, and over and over: memory and descriptors come back to where they were."""

import pytest

from support import chaos
from support.fake import Fake
from support.gateway import Gateway, config


@pytest.mark.timeout(1200)
def test_rounds_of_chaos_leave_nothing_behind():
    with Fake() as fake:
        fake.always(chaos.upstream)
        with Gateway(config(fake)) as gateway:
            marks = []
            for number in range(12):
                problems = chaos.storm(gateway.address, clients=8, count=150, seed=10_000 + number * 100)
                assert not problems, problems[:5]
                samples = chaos.wait_quiet(gateway)
                fake.wait_for(lambda: fake.open_connections <= 64)
                marks.append((gateway.memory(), gateway.descriptors(), samples[("penstock_buffer_memory_bytes", frozenset())]))
            fake.problems.clear()
            early, late = marks[3], marks[-1]
            assert late[1] <= early[1] + 64, marks
            assert late[2] < 1024 * 1024, marks
            # The sanitizer's quarantine grows to 256 MiB of freed memory by itself.
            assert late[0] < early[0] + 300 * 1024 * 1024, marks
