"""Shutting a connection down below gevent and TLS, whatever else is done with it.

Not by the socket's own shutdown(): gevent's wakes its reader with an error that speaks of a
descriptor closed elsewhere, and that of a TLS socket forgets what its reader and writer need.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from gevent.monkey import get_original

_PlainSocket: type[socket.socket] = get_original("socket", "socket")

_DISCARD_BYTES = 64 * 1024


def shut_down(sock: Any) -> None:
    """Have whoever reads from a connection find its end, as if the client had gone."""
    with contextlib.suppress(OSError, ValueError), _below(sock) as plain:  # closed already
        plain.shutdown(socket.SHUT_RDWR)


def cut_off(sock: Any) -> None:
    """As shut_down(), and of what has come until then not one byte is read either.

    Where the receiving side alone is shut down, Linux hands out what had come before, and what
    comes later too. With both sides shut down it answers more data with a reset.
    """
    shut_down(sock)
    with contextlib.suppress(OSError, ValueError), _below(sock) as plain:
        while plain.recv(_DISCARD_BYTES, socket.MSG_DONTWAIT):
            pass


@contextlib.contextmanager
def _below(sock: Any) -> Iterator[socket.socket]:
    plain = _PlainSocket(fileno=sock.fileno())
    try:
        yield plain
    finally:
        plain.detach()
