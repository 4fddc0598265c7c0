# SPDX-License-Identifier: Apache-2.0
# ctest-labels: threads
"""Every kind of client before every kind of upstream, at the same time: no answer is another's, none that is
broken looks whole, and afterwards nothing is left over. test_soak.py does the same for longer."""

import threading

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


@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.parametrize("loops", [1, 3])
def test_an_end_in_the_middle_of_it_all_is_a_clean_end(loops, signals):
    """Drained by one signal, cut off by two: either way the exit status is 0 and nothing leaks."""
    with Fake() as fake:
        fake.always(chaos.upstream)
        gateway = Gateway(config(fake, workers={"event_loops": loops}, limits={"drain_timeout": "5s"}))
        try:
            clients = threading.Thread(target=chaos.storm, args=(gateway.address, 8, 1000, 77 + loops), daemon=True)
            clients.start()
            fake.wait_requests(200)
            for _ in range(signals):
                gateway.terminate()
            assert gateway.wait_exit() == 0
            clients.join()
        finally:
            gateway.stop()
        fake.problems.clear()


def test_reloads_in_the_middle_of_it_all():
    with Fake() as fake:
        fake.always(chaos.upstream)
        settings = [config(fake), config(fake, providers={"up": provider(fake, max_connections=3)})]
        with Gateway(settings[0]) as gateway:
            problems = []
            clients = threading.Thread(target=lambda: problems.extend(chaos.storm(gateway.address, 8, 60, 4711)))
            clients.start()
            for number in range(40):
                fake.wait_requests(number * 5)
                gateway.configure(settings[number % 2])
                gateway.reload()
            clients.join()
            fake.problems.clear()
            assert not problems, problems[:5]
            chaos.wait_quiet(gateway)
