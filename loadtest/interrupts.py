"""Ctrl-C and its kin end the run as an exception, at a moment when nothing gets lost by it.

Starting a process and ending it are such that an exception in between would leave an orphan: they
run under `held()`, which puts the signal off. After the first signal the rest are ignored, so that
an impatient second Ctrl-C does not interrupt the cleaning up.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked for the end. Not an Exception: no handler for faults may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _State:
    depth = 0  # of held() contexts
    pending: int | None = None


def install() -> None:
    """From now on the signals raise Interrupted in the main thread."""
    for number in SIGNALS:
        signal.signal(number, _handle)


@contextmanager
def held() -> Iterator[None]:
    """Put a signal off until the context is left."""
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if not _State.depth and _State.pending is not None:
            number, _State.pending = _State.pending, None
            raise Interrupted(number)


def _handle(number: int, frame: object) -> None:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    if _State.depth:
        _State.pending = number
    else:
        raise Interrupted(number)
