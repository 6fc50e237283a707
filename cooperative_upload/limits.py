"""Which limits a body has, and whether it keeps them: numbers alone, without I/O."""

from __future__ import annotations

from .settings import UploadSettings


def most_bytes(settings: UploadSettings, content_type: str) -> int | None:
    """The most bytes that a body of this Content-Type may have; None for any number."""
    limits = [settings.max_body_bytes, _limit_of_type(settings, content_type)]
    return min(filter(None, limits), default=None)


def _limit_of_type(settings: UploadSettings, content_type: str) -> int:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/x-www-form-urlencoded":
        return settings.max_urlencoded_bytes
    if media_type == "application/json" or media_type.endswith("+json"):
        return settings.max_json_bytes
    return 0


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
