"""A pass-through in front of a store, which says when the first content went by.

It is in nobody's way where speed is measured: one upload of its own goes through it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

HEADERS = 16 * 1024  # bytes of requests before the first content: that an upload begins, is none
BLOCK = 256 * 1024


class Relay:
    """Passes connections on. first_content: when more had gone to the store than requests have."""

    def __init__(self, listener: socket.socket, host: str, port: int) -> None:
        self.endpoint = "http://{}:{}".format(*listener.getsockname()[:2])
        self.first_content: float | None = None
        self._listener = listener
        self._store = (host, port)
        self._sockets: list[socket.socket] = []

    def reset(self) -> None:
        """What went by so far does not count."""
        self.first_content = None

    def serve(self) -> None:
        """Until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(self._store)
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass, args=(source, target))
                    thread.daemon = True
                    thread.start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        to_store, passed = target.getpeername() == self._store, 0
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                passed += len(block)
                if to_store and passed > HEADERS and self.first_content is None:
                    self.first_content = time.perf_counter()
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@contextlib.contextmanager
def relay(endpoint: str) -> Iterator[Relay]:
    """A relay to the store at `endpoint`, on the loopback address."""
    parts = urlsplit(endpoint)
    assert parts.hostname
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Relay(listener, parts.hostname, parts.port or 80)
        thread = threading.Thread(target=made.serve, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake who accepts
            made.close()
            thread.join()
