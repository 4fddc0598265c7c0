# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. `fake` and `gateway` are new for each test; a file that has many
small tests of one gateway makes its own fixtures with scope="module"."""

import pytest

# Their failures tell what they compared, as those of the tests do.
pytest.register_assert_rewrite("support.shape", "support.shape_responses")

from support.fake import Fake
from support.gateway import Gateway, config


@pytest.fixture
def fake():
    with Fake() as fake:
        yield fake


@pytest.fixture
def start():
    """Starts gateways that are stopped, and checked for a clean end, after the test."""
    started = []

    def start(*arguments, **how):
        gateway = Gateway(*arguments, **how)
        started.append(gateway)
        return gateway

    yield start
    problems = []
    for gateway in reversed(started):
        try:
            gateway.stop()
        except AssertionError as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture(scope="module")
def shared_fake():
    with Fake() as fake:
        yield fake


@pytest.fixture(scope="module")
def shared_gateway(shared_fake):
    """The usual gateway, one for the file. Only for tests that leave its upstream in good health."""
    with Gateway(config(shared_fake)) as gateway:
        yield gateway


@pytest.fixture
def both(shared_gateway, shared_fake):
    """The shared gateway and its fake, which has forgotten what went before."""
    shared_fake.forget()
    return shared_gateway, shared_fake


@pytest.fixture
def gateway(fake, start):
    """The usual gateway in front of the fake."""
    return start(config(fake))
