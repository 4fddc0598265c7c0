# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of a client: one gateway for the whole file, in front of a fake of each API."""

import pytest

from . import fake as up
from .gateway import Gateway


def shared(settings, serve=up.Fake):
    """A fixture, one for its file: (fake, gateway). `settings` makes the configuration for the fake."""

    @pytest.fixture(scope="module")
    def pair():
        with serve() as fake, Gateway(settings(fake)) as gateway:
            yield fake, gateway

    return pair


def fresh(pair, client_of, answer=up.answer):
    """A client and a fake that has forgotten what went before, and answers so."""
    fake, gateway = pair
    fake.forget()
    fake.always(answer)
    return client_of(gateway), fake


def asking(name, client_of, answer=up.answer):
    """A fixture, new for each test: fresh() of the shared fixture of that name."""

    @pytest.fixture
    def both(request):
        return fresh(request.getfixturevalue(name), client_of, answer)

    return both
