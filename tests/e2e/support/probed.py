# SPDX-License-Identifier: Apache-2.0
"""Fakes whose health is probed: the probes are answered at once and are none of the test's requests."""

from . import fake as up


class Probed:
    def __init__(self, fake):
        self.fake = fake
        self._queue = []
        fake.always(self._handle)

    def then(self, *handlers):
        self._queue += handlers

    @property
    def requests(self):
        return [request for request in self.fake.requests if request.method == "POST"]

    @property
    def last(self):
        return self.requests[-1]

    def _handle(self, exchange):
        if exchange.request.method == "GET":
            exchange.whole(b"well", content_type="text/plain")
        else:
            self._queue.pop(0)(exchange)


class WithHealth(up.Fake):
    """A fake whose health has a path of its own."""

    def __init__(self, path):
        super().__init__()
        self.asked = up.Gate()
        self._path = path

    def _handler(self, request):
        if request.target != self._path:
            return super()._handler(request)
        self.asked.open()
        return up.whole({})
