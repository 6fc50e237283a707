"""Whether a body keeps its limits: numbers alone, without I/O."""

from __future__ import annotations

import math


class MinimumRate:
    """Whether a client sends fast enough, taken over windows of the time that it had.

    minimum: bytes a second; 0 for any.
    window: seconds.
    """

    def __init__(self, minimum: float, window: float) -> None:
        self._minimum = minimum
        self._window = window
        self._bytes = 0
        self._seconds = 0.0

    def seconds_left(self, pending: int) -> float:
        """How long a receive may take before it is certain that the window is too slow.

        pending: bytes that may have come while it still waits.
        """
        if not self._minimum:
            return math.inf
        return max(self._window, (self._bytes + pending) / self._minimum) - self._seconds

    def with_nothing_more(self, seconds: float) -> float:
        """The rate of this window if so many more seconds bring nothing."""
        return self._bytes / (self._seconds + seconds)

    def add(self, received: int, seconds: float) -> float | None:
        """Account for what came in that time of waiting for it.

        Returns the rate of a window that has just ended too slow, else None.
        """
        self._bytes += received
        self._seconds += seconds
        if self._seconds < self._window:
            return None
        rate = self._bytes / self._seconds
        self._bytes, self._seconds = 0, 0.0
        return rate if rate < self._minimum else None
