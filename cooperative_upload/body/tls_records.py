"""TlsRecords: what has come over a TLS connection, taken together.

OpenSSL hands out one record a call, 16 KiB at most, however much is asked for and however much
has come. So a recv that is no more than one call returns a quarter of what the form parser asks
for, and all that goes with a receive (the account of where the upload is, the limits of time, the
turn) is spent on each record. This one takes record after record for as long as they are there.

It waits for its first byte alone, and never before it has tried to read: what OpenSSL has
deciphered already makes no socket readable. For more it does not wait, and asks OpenSSL itself,
past gevent's socket: that would look at each record whether there is something to wait for. The
one name of gevent that is used here and is not documented as public is SSLSocket._sslobj, which
has been there, under the name that it has in Python's own ssl, in every version.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from typing import Any

from gevent.monkey import get_original
from gevent.ssl import SSLSocket

from .blocks import BLOCK_BYTES

# The most that one recv takes: a byte costs two to three times what it costs from a plain socket,
# from which twice as much is taken.
MOST_AT_ONCE = 2 * BLOCK_BYTES

# One buffer for each thread, not for each upload: from the first byte in it until all is copied
# out the loop does not run. Native also where gevent has patched the threading modules, as each
# hub has its own thread.
_of_this_thread: Any = get_original("_thread", "_local")()


class TlsRecords:
    """The receiving half of a gevent socket with TLS."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._failure: OSError | None = None  # came behind bytes that were good

    def recv(self, size: int) -> bytes:
        """As the socket's own: it waits as long as that one does, and b"" is the end."""
        if self._failure is not None:
            raise self._failure
        buffer = _buffer()
        wanted = min(size, MOST_AT_ONCE)
        received: int = self._sock.recv_into(buffer, wanted)
        if 0 < received < wanted:
            received += self._take_at_hand(buffer[received:wanted])
        return bytes(buffer[:received])

    def _take_at_hand(self, buffer: memoryview) -> int:
        """Fill the buffer as far as that needs no waiting; returns the number of bytes."""
        read = self._sock._sslobj.read
        wanted, received = len(buffer), 0
        try:
            while received < wanted and (more := read(wanted - received, buffer[received:])):
                received += more
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError):
            pass  # the next recv meets it again
        except OSError as error:
            self._failure = error  # OpenSSL tells it once
        return received


def receiver(sock: Any) -> Any:
    """What to receive from: the gevent socket, or its records if it is one with TLS."""
    return TlsRecords(sock) if isinstance(sock, SSLSocket) else sock


@contextlib.contextmanager
def taken_together(sock: Any, most_at_once: int) -> Iterator[None]:
    """While the block runs, the recv of a socket with TLS takes records together.

    For a reader that is not ours. Other sockets are left alone.

    most_at_once: bytes that it takes at most, however much is asked for.
    """
    if not isinstance(sock, SSLSocket):
        yield
        return
    records = TlsRecords(sock)
    replaced: Any = sock
    replaced.recv = lambda size: records.recv(min(size, most_at_once))
    try:
        yield
    finally:
        del replaced.recv


def _buffer() -> memoryview:
    try:
        buffer: memoryview = _of_this_thread.buffer
    except AttributeError:
        buffer = _of_this_thread.buffer = memoryview(bytearray(MOST_AT_ONCE))
    return buffer
