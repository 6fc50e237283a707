"""So many places at something, and the line of those who wait for one."""

from __future__ import annotations

from collections import deque

from gevent.event import Event


class Places:
    """The places of one hub's greenlets: first come, first served.

    A place that is given back goes to the head of the line at once. gevent's semaphores give it
    to whoever asks next, so that a connection with upload after upload would keep its place.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._line: deque[Event] = deque()

    def take(self, seconds: float | None = None) -> bool:
        """Whether there is a place, now or within that time; None: however long it takes."""
        if self._free:
            self._free -= 1
            return True
        if seconds == 0:
            return False
        granted = Event()
        self._line.append(granted)
        try:
            granted.wait(seconds)
        except BaseException:
            if granted.is_set():
                self.give_back()
            else:
                self._line.remove(granted)
            raise
        if not granted.is_set():
            self._line.remove(granted)
        return granted.is_set()

    def give_back(self) -> None:
        """To whoever waits longest."""
        if self._line:
            self._line.popleft().set()
        else:
            self._free += 1
