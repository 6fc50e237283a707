"""Sources: where the bytes of one body come from.

A SocketSource for a body whose length is known and whose socket is at hand, a PieceSource for the
pieces of a server's chunk decoder, and a StreamSource for whatever else has a read(n). A source
waits for its client with gevent's means, which lets go of the loop and so ends the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .blocks import BLOCK_BYTES

# The most that one receive takes from a socket when the application wants everything at once: a
# few tenths of a millisecond of copying, so that a slice can still end in time.
MOST_AT_ONCE = 4 * BLOCK_BYTES


class Source(Protocol):
    """Where the bytes of one body come from.

    Both methods wait until there is at least one byte and return what there is, also more than
    was asked for; b"" is the end. Any OSError says that the rest will not come.

    read_ahead: bytes that may be asked for at once on behalf of smaller reads; 0 if asking for
        more than is needed could wait for bytes that the client does not send yet.
    most_pending: bytes that may have come while a receive still waits; 0 if the first ends it.
    """

    read_ahead: int
    most_pending: int

    def receive(self, size: int) -> bytes:
        """The next bytes, for a caller that can use `size` of them."""

    def receive_line(self, limit: int) -> bytes:
        """The next bytes, for a caller that looks for the end of a line."""


class SocketSource:
    """The body of a request with Content-Length, straight from its gevent socket.

    sock: a gevent socket, or what receives from one (tls_records.receiver()).
    head: the first bytes of the body, which the server read together with the headers.
    length: bytes of the whole body. Not one byte behind it is taken from the socket.
    """

    read_ahead = BLOCK_BYTES
    most_pending = 0

    def __init__(self, sock: Any, head: bytes, length: int) -> None:
        self._sock = sock
        self._head = head
        self._left = length - len(head)

    @property
    def left(self) -> int:
        """Bytes of the body that have not come from the socket."""
        return self._left

    def receive(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        if not self._left:
            return b""
        data: bytes = self._sock.recv(min(size, self._left, MOST_AT_ONCE))
        self._left -= len(data)
        return data

    def receive_line(self, limit: int) -> bytes:
        return self.receive(self.read_ahead)


class PieceSource:
    """The pieces of a body as a server's decoder yields them, of any size, empty ones too."""

    read_ahead = BLOCK_BYTES
    most_pending = 0

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def receive(self, size: int) -> bytes:
        return next(filter(None, self._pieces), b"")

    def receive_line(self, limit: int) -> bytes:
        return self.receive(limit)


class StreamSource:
    """The wsgi.input of any server, or any object with read(n).

    Never asks for more than is needed, since such a stream waits until it has all of it.

    most_at_once: bytes to ask for in one call, so that others can run between two calls.
    """

    read_ahead = 0

    def __init__(self, stream: Any, most_at_once: int = BLOCK_BYTES) -> None:
        self._read: Callable[[int], bytes] = stream.read
        self._readline: Callable[[int], bytes] = getattr(stream, "readline", self._read_some)
        self._most_at_once = self.most_pending = most_at_once

    def receive(self, size: int) -> bytes:
        return self._read(min(size, self._most_at_once))

    def receive_line(self, limit: int) -> bytes:
        return self._readline(min(limit, self._most_at_once))

    def _read_some(self, limit: int) -> bytes:
        return self._read(min(limit, 1024))  # the step in which gunicorn looks for line ends
