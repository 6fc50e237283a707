"""One live server for many tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from http_client import Part, content
from live_server import LiveServer, descriptors, wait_until


class SharedServer:
    """A server for many tests, each of which has to leave it as it was."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        (self._worker,) = server.workers()
        # Some descriptors are made at the first use: of the loop's thread signal, for one.
        with server.connect() as connection:
            connection.post_form("/form", Part("file", content(2 << 20), "f")).json()
        self._descriptors = wait_until(self._settled, "the first upload's spool to be freed")

    @contextmanager
    def left_as_it_was(self) -> Iterator[LiveServer]:
        log_before = len(self.server.log())
        yield self.server
        try:
            wait_until(self._is_idle, "descriptors and spools are freed")
        except AssertionError as error:
            error.args = (f"{error}; open are {descriptors(self._worker)}",)
            raise
        assert "Traceback" not in self.server.log()[log_before:]
        assert self.server.workers() == [self._worker]

    def _settled(self) -> int:
        """The number of descriptors once all that belongs to a request is closed, else 0."""
        open_now = descriptors(self._worker)
        passing = ("socket:", str(self.server.spool_directory))
        remaining = [path for path in open_now if path.startswith(passing)]
        return len(open_now) if len(remaining) == 1 else 0  # the listening socket

    def _is_idle(self) -> bool:
        spooled = self.server.spooled_names()
        return not spooled and len(descriptors(self._worker)) == self._descriptors
