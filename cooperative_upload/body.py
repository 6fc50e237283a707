"""CooperativeInput: the wsgi.input that lets others run.

It keeps the scheduler's rules while a body is read: whoever reads has a turn, goes to the end of
the line when its slice is used up, and takes a turn again after it waited. And one of its own:
a body is complete or an error. Where less arrives than was announced, every read from then on
raises IncompleteBody; the end of the data (b"") is returned for the end of the body alone.

Where the bytes come from is a source: a SocketSource for a body whose length is known and whose
socket is at hand, a PieceSource for the pieces of a server's chunk decoder, and a StreamSource
for whatever else has a read(n). Outside of a gevent hub there are no turns to take, and reads go
straight to the source.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gevent.socket import wait_read, wait_write

from .blocks import BLOCK_BYTES, BlockReader
from .errors import BodyError, IncompleteBody
from .scheduler import current_scheduler
from .settings import UploadSettings

# The most that one receive takes from a socket when the application wants everything at once: a
# few tenths of a millisecond of copying, so that a slice can still end in time.
MOST_AT_ONCE = 4 * BLOCK_BYTES


class Source(Protocol):
    """Where the bytes of one body come from.

    Both methods return at least one byte, as soon as there is one, and b"" at the end; more than
    was asked for is welcome. None says that there is nothing yet: the caller gives up its turn,
    calls wait() and tries again. Any OSError says that the rest will not come.

    read_ahead: bytes that may be asked for at once on behalf of smaller reads; 0 if asking for
        more than is needed could wait for bytes that the client does not send yet.
    """

    read_ahead: int

    def receive(self, size: int) -> bytes | None:
        """The next bytes, for a caller that can use `size` of them."""

    def receive_line(self, limit: int) -> bytes | None:
        """The next bytes, for a caller that looks for the end of a line."""

    def wait(self) -> None:
        """Return when there may be something to receive."""


class SocketSource:
    """The body of a request with Content-Length, straight from its gevent socket.

    sock: a gevent socket, plain or TLS.
    head: the first bytes of the body, which the server read together with the headers.
    length: bytes of the whole body. Not one byte behind it is taken from the socket.
    """

    read_ahead = BLOCK_BYTES

    def __init__(self, sock: Any, head: bytes, length: int) -> None:
        self._sock = sock
        self._head = head
        self._left = length - len(head)
        self._wait_until_ready: Callable[..., None] = wait_read

    def receive(self, size: int) -> bytes | None:
        if self._head:
            head, self._head = self._head, b""
            return head
        if not self._left:
            return b""
        data = self._receive_now(min(size, self._left, MOST_AT_ONCE))
        if data:
            self._left -= len(data)
        return data

    def receive_line(self, limit: int) -> bytes | None:
        return self.receive(self.read_ahead)

    def wait(self) -> None:
        self._wait_until_ready(self._sock.fileno(), timeout=self._sock.gettimeout())

    def _receive_now(self, size: int) -> bytes | None:
        # Always receive first and wait afterwards: data that OpenSSL has decrypted already does
        # not make the descriptor readable.
        sock = self._sock
        timeout = sock.gettimeout()
        sock.settimeout(0.0)
        try:
            data: bytes = sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._wait_until_ready = wait_read
            return None
        except ssl.SSLWantWriteError:  # a TLS 1.2 renegotiation or a 1.3 key update
            self._wait_until_ready = wait_write
            return None
        finally:
            sock.settimeout(timeout)
        return data


class PieceSource:
    """The pieces of a body as a server's decoder yields them, of any size, empty ones too."""

    read_ahead = BLOCK_BYTES

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def receive(self, size: int) -> bytes | None:
        return next(filter(None, self._pieces), b"")

    def receive_line(self, limit: int) -> bytes | None:
        return self.receive(limit)

    def wait(self) -> None:
        """Never needed: the decoder waits for itself."""


class StreamSource:
    """The wsgi.input of any server, or any object with read(n).

    Never asks for more than is needed, since such a stream waits until it has all of it.

    most_at_once: bytes to ask for in one call, so that others can run between two calls.
    """

    read_ahead = 0

    def __init__(self, stream: Any, most_at_once: int = BLOCK_BYTES) -> None:
        self._read: Callable[[int], bytes] = stream.read
        self._readline: Callable[[int], bytes] = getattr(stream, "readline", self._read_some)
        self._most_at_once = most_at_once

    def receive(self, size: int) -> bytes | None:
        return self._read(min(size, self._most_at_once))

    def receive_line(self, limit: int) -> bytes | None:
        return self._readline(min(limit, self._most_at_once))

    def wait(self) -> None:
        """Never needed: the stream waits for itself."""

    def _read_some(self, limit: int) -> bytes:
        return self._read(min(limit, 1024))  # the step in which gunicorn looks for line ends


class CooperativeInput(BlockReader):
    """A request body that is read in turns and is complete or an error.

    source: a Source, or any object with read(n), such as the wsgi.input of another server.
    content_length: bytes of the body; None where the framing does not announce them.
    settings: None for the defaults.

    read, readline, readlines and iteration are those of PEP 3333, and exact: read(n) returns
    fewer than n bytes only at the end of the body. All of them raise IncompleteBody (or another
    BodyError of the source) where the body is not what the client announced, and after a read
    that was broken off by a gevent.Timeout or a kill. There is no readinto: werkzeug would then
    take another path than over gunicorn's own body.
    """

    def __init__(
        self,
        source: Any,
        content_length: int | None = None,
        settings: UploadSettings | None = None,
    ) -> None:
        self._source: Source = source if hasattr(source, "receive") else StreamSource(source)
        super().__init__(self._source.read_ahead)
        self._content_length = content_length
        self._settings = settings or UploadSettings()
        self._takes_turns = (
            content_length is None or content_length > self._settings.small_body_bytes
        )
        self._received = 0
        self._ended = content_length == 0
        self._error: BodyError | None = None

    @property
    def received(self) -> int:
        """Bytes of the body that have come from the source so far."""
        return self._received

    @property
    def failed(self) -> bool:
        """Whether the body turned out broken, so that its connection can't be used again.

        gunicorn from 27 on asks its bodies for this name before it looks for the next request.
        """
        return self._error is not None

    def _receive(self, size: int) -> bytes:
        return self._next_block(self._source.receive, size)

    def _receive_line(self, limit: int) -> bytes:
        return self._next_block(self._source.receive_line, limit)

    def checkpoint(self) -> None:
        """Go on with a turn, as every read does. For a server, before it calls the application."""
        if self._takes_turns and (scheduler := current_scheduler(self._settings)):
            scheduler.checkpoint()

    def _before_kept_bytes(self) -> None:
        # An application that takes a block apart line by line works between these calls.
        self.checkpoint()

    def _next_block(self, receive: Callable[[int], bytes | None], size: int) -> bytes:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._ended:
            return b""
        if self._content_length is not None:
            size = min(size, self._content_length - self._received)
        try:
            block = self._receive_in_turn(receive, size)
            if not block and self._content_length is not None:
                raise IncompleteBody(self._received, self._content_length)
        except BodyError as error:
            self._error = error
            raise
        except OSError as error:
            self._error = IncompleteBody(self._received, self._content_length)
            raise self._error from error
        except BaseException:
            # A time-out, a kill, a fault of the source. What this read had received is lost with
            # it, and a decoder that was broken off reports the end when it is asked again.
            self._error = IncompleteBody(self._received, self._content_length)
            raise
        self._received += len(block)
        self._ended = not block or self._received == self._content_length
        return block

    def _receive_in_turn(self, receive: Callable[[int], bytes | None], size: int) -> bytes:
        scheduler = current_scheduler(self._settings) if self._takes_turns else None
        while True:
            if scheduler is not None:
                scheduler.checkpoint()
            block = receive(size)
            if block is not None:
                break
            self._source.wait()
        if scheduler is not None and not scheduler.has_turn:  # the source waited by itself
            scheduler.checkpoint()
        return block
