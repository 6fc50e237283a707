"""What ends a connection that takes too long before there is a request to answer."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent import get_hub

from .cut import shut_down


class ConnectionDeadline:
    """Shuts a connection down after a while, unless it is cancelled before.

    Whoever reads from the connection sees its end then, as if the client had gone.
    """

    def __init__(self, sock: Any, seconds: float) -> None:
        """seconds: 0 for never."""
        self.expired = False
        self._sock = sock
        self._timer: Any = None
        if seconds:
            # Below the priority of sockets, as gevent's own time-outs: what came in time is read
            # first, also if the loop stood still meanwhile.
            self._timer = get_hub().loop.timer(seconds, priority=-1)
            # Counted from now, and not from when the loop last looked at the clock.
            self._timer.start(self._expire, update=True)

    def cancel(self) -> None:
        """Let the connection be. May be called again."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _expire(self) -> None:
        self.expired = True
        shut_down(self._sock)


@contextlib.contextmanager
def closed_after(sock: Any, seconds: float) -> Iterator[ConnectionDeadline]:
    """A deadline for what the block does with the connection."""
    deadline = ConnectionDeadline(sock, seconds)
    try:
        yield deadline
    finally:
        deadline.cancel()


def limit_handshakes(
    context: ssl.SSLContext, seconds: float, failed: Callable[[Any, str], object]
) -> None:
    """Have the TLS connections that this context wraps end their handshake in time.

    failed: called with the client's address and the reason where one fails, also where time is
        not the reason. The connection is closed then and its greenlet ended, without the
        traceback that gevent prints else.
    """
    base: Any = context.sslsocket_class

    class SocketWithDeadline(base):  # type: ignore[misc]
        def do_handshake(self, *args: Any, **kwargs: Any) -> None:
            address = _address_of_peer(self)  # which a closed connection has no more
            with closed_after(self, seconds) as deadline:
                try:
                    super().do_handshake(*args, **kwargs)
                    return
                except OSError as error:
                    late = f"not done after {seconds:g} seconds"
                    reason = late if deadline.expired else str(error)
            failed(address, reason)
            self.close()
            raise gevent.GreenletExit

    context.sslsocket_class = SocketWithDeadline


def _address_of_peer(sock: Any) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None
