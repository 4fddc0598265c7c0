# SPDX-License-Identifier: Apache-2.0
"""Every kind of client before every kind of upstream, at the same time: no answer is another's, none that is
broken looks whole, and afterwards nothing is left over. test_soak.py does the same for longer."""

import pytest

from support import chaos
from support.fake import Fake
from support.gateway import Gateway, config, provider


@pytest.mark.parametrize("loops", [1, 3])
@pytest.mark.parametrize("connections", [256, 2], ids=["many connections", "few connections"])
def test_nothing_is_mixed_up_and_nothing_is_left(loops, connections):
    with Fake() as fake:
        fake.always(chaos.upstream)
        settings = config(
            fake,
            workers={"event_loops": loops},
            providers={"up": provider(fake, max_connections=connections, timeouts={"request": "60s"})},
        )
        with Gateway(settings) as gateway:
            problems = chaos.storm(gateway.address, clients=8, count=40, seed=1000 * loops + connections)
            fake.problems.clear()  # requests that end early are part of it
            assert not problems, problems[:5]
            chaos.wait_quiet(gateway)
