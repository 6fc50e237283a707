"""within(): an end to what a greenlet waits for, at next to no cost where it is not reached.

gevent's own time-outs make, start and end a timer each. A slow client is waited for once for each
packet, and then that is a quarter of what the packet costs. Here a wait that begins is written
down, and taken out when it ends. One timer for each loop goes off when the first of all is
overdue, ends what has lasted too long, and is set anew for the first of the rest.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from gevent import getcurrent
from gevent.hub import Hub

T = TypeVar("T")
A = TypeVar("A")

# Where a hub keeps its waits: they end with it, and each thread finds its own.
_ATTRIBUTE = "cooperative_upload_waits"

# Seconds between two looks at all that wait, for each of them: ten thousand are looked at in a
# millisecond, every half second at the most. One is ended as much later.
_REST_FOR_EACH = 50e-6

# libuv's timers know no shorter one.
_SHORTEST_TIMER = 0.001


class TimeIsUp(Exception):
    """What within() was to call has not returned in time."""


def within(hub: Hub, seconds: float, function: Callable[[A], T], argument: A) -> T:
    """function(argument), if that takes no longer; it must wait by gevent's means alone.

    hub: that of the current greenlet. Where it waits for nothing, it is not timed.
    seconds: at most 1e9, for the sake of timers.

    Raises TimeIsUp, once the function has been ended where it waited.
    """
    waits: _Waits = hub.__dict__.get(_ATTRIBUTE) or _new_waits(hub)
    wait = object()
    ends = time.monotonic() + seconds
    waits.running[wait] = ends, getcurrent()
    if ends < waits.goes_off:
        waits.set_timer(ends)
    try:
        return function(argument)
    except _Overdue as error:
        if error.wait is not wait:
            raise
        raise TimeIsUp from None
    finally:
        # The timer goes on: it will seldom go off for nothing, and there may be a wait by then.
        waits.running.pop(wait, None)


class _Overdue(BaseException):
    """Thrown into a greenlet that waits.

    No Exception, as gevent.Timeout is none: it is not for what stands between.
    """

    def __init__(self, wait: object) -> None:
        super().__init__()
        self.wait = wait


class _Waits:
    """What the greenlets of one hub wait for.

    running: when each ends, and who waits.
    goes_off: when the timer does; never, if it is not set.
    """

    def __init__(self, hub: Hub) -> None:
        self.running: dict[object, tuple[float, Any]] = {}
        self.goes_off = math.inf
        self._hub = hub
        self._timer: Any = None

    def set_timer(self, goes_off: float) -> None:
        self._stop_timer()
        self.goes_off = goes_off
        seconds = max(goes_off - time.monotonic(), _SHORTEST_TIMER)
        # It alone does not keep a loop running. And it ranks below sockets, as gevent's own
        # time-outs: what came in time is read first, also if the loop stood still meanwhile.
        self._timer = self._hub.loop.timer(seconds, ref=False, priority=-1)
        # Counted from now, and not from when the loop last looked at the clock.
        self._timer.start(self._go_off, update=True)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        self.goes_off = math.inf
        if timer is not None:
            timer.stop()
            timer.close()

    def _go_off(self) -> None:
        """Called by the loop, so in the hub."""
        self._stop_timer()
        now = time.monotonic()
        for wait in [wait for wait, (ends, _) in self.running.items() if ends <= now]:
            self._end(wait)
        if self.running:
            first = min(ends for ends, _ in self.running.values())
            self.set_timer(max(first, now + _REST_FOR_EACH * len(self.running)))

    def _end(self, wait: object) -> None:
        _, greenlet = self.running.pop(wait, (0, None))
        if greenlet is None:  # who was ended before it has brought it to its end
            return
        try:
            greenlet.throw(_Overdue(wait))
        except BaseException:
            # A raw greenlet that ends by an exception hands it to its parent, the hub, which is
            # here. It is reported as the hub reports those of its own callbacks.
            self._hub.handle_error(greenlet, *sys.exc_info())


def _new_waits(hub: Hub) -> _Waits:
    waits = hub.__dict__[_ATTRIBUTE] = _Waits(hub)
    return waits
