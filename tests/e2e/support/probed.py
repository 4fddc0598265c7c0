# SPDX-License-Identifier: Apache-2.0
"""A fake whose health is probed: the probes are answered at once and are none of the test's requests."""


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
