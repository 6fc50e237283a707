"""Closing a connection whose client still sends, so that the client gets the response.

To close a socket with unread data makes the kernel answer with a reset, and a client that meets
it while it sends loses the response that it has not read yet. So the sending side alone is closed
first, which the client sees as the end of the response, and what it still sends is thrown away
until it closes too (RFC 9112 section 9.6). Bounded in time, in idleness, in connections and in
bytes a second; and who works on a body comes first.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from typing import Any

import gevent

from ..monitoring import count
from ..settings import UploadSettings
from ..turns import current_scheduler

_DISCARD_BYTES = 64 * 1024

# Seconds: for less no timer is worth it. What is not waited for now is waited for later.
_SHORTEST_PAUSE = 0.002


class Allowance:
    """Bytes a second, for all who share it.

    rate: 0 for any.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._spent_until = 0.0

    def spend(self, number: int, now: float) -> float:
        """Account for so many bytes; returns the seconds to wait before the next are due."""
        if not self._rate:
            return 0.0
        self._spent_until = max(self._spent_until, now) + number / self._rate
        return self._spent_until - now


class Lingering:
    """The connections of one worker that linger."""

    def __init__(self, settings: UploadSettings) -> None:
        self._settings = settings
        self._connections: dict[Any, None] = {}  # in the order of their beginning
        self._allowance = Allowance(settings.lingering_rate_bytes)

    def close(self, sock: Any, to_come: int | None = None, seconds: float | None = None) -> None:
        """Return when the client has closed, or when its time is up. Raises no OSError.

        sock: a gevent socket, plain or TLS, that the whole response was written to. To close it
            is left to the caller.
        to_come: bytes after which the client has sent everything; None if nobody knows.
        seconds: how long at most; None for what the settings say.
        """
        at_most = self._settings.lingering_seconds if seconds is None else seconds
        if len(self._connections) >= self._settings.lingering_connections:
            self._cut(next(iter(self._connections)))
        self._connections[sock] = None
        count("lingered")
        count("lingering")
        try:
            self._linger(sock, to_come, time.monotonic() + at_most)
        except TimeoutError:
            count("lingering_cut")
        except OSError:
            pass  # the client has gone
        finally:
            count("lingering", -1)
            self._connections.pop(sock, None)

    def _cut(self, sock: Any) -> None:
        """End one that has had its time; its greenlet wakes up by the shutdown."""
        del self._connections[sock]
        count("lingering_cut")
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RD)

    def _linger(self, sock: Any, to_come: int | None, end: float) -> None:
        # The bytes of a TLS connection are more than those of the body in it.
        left_to_come = math.inf if to_come is None or _is_tls(sock) else to_come
        scheduler = current_scheduler(self._settings)
        assert scheduler is not None
        _close_sending_side(sock)
        while left_to_come > 0 and sock in self._connections:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(min(left, self._settings.lingering_idle_seconds))
            discarded = len(sock.recv(_DISCARD_BYTES))
            if not discarded:
                return
            left_to_come -= discarded
            count("lingered_bytes", discarded)
            count("bytes", discarded)
            now = time.monotonic()
            pause = min(self._allowance.spend(discarded, now), end - now)
            if pause > _SHORTEST_PAUSE:
                gevent.sleep(pause)
            scheduler.stand_last()


def _close_sending_side(sock: Any) -> None:
    # RFC 8446 section 6.1: close_notify comes first. Not waited for: the client's own comes
    # behind all that it still sends.
    if _is_tls(sock):
        sock.settimeout(0)
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
    # From here on a TLS socket gives the bytes as they come: nobody deciphers what is thrown away.
    sock.shutdown(socket.SHUT_WR)


def _is_tls(sock: Any) -> bool:
    return hasattr(sock, "unwrap")
