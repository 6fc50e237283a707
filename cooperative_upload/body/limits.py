"""Whether a body keeps its limits: numbers alone, without I/O."""

from __future__ import annotations


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
