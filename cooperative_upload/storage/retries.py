"""Another try of a call to a store that failed for a while.

Exponential back-off with full jitter: before try n + 1 anything from nothing to 0.1 * 2**n seconds
passes, so that a thousand clients that were turned away together do not come back together (the
measurements: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). What is
worth another try, and how long the store wants to be left alone, each storage says.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import gevent

from ..hub import current_hub

T = TypeVar("T")

_FIRST_SECONDS = 0.1  # before the second try, at the most
_MOST_SECONDS = 10.0  # before any other

# Seconds that a store wants to be left alone (0.0 if it does not say) before the same call may go
# well; None if it will not.
Worth = Callable[[Exception], float | None]


def pause_before(tries: int, portion: float) -> float:
    """Seconds to wait after so many tries that failed.

    portion: of the longest such wait, 0 to 1, by chance.
    """
    longest = min(_FIRST_SECONDS * 2.0 ** min(tries - 1, 30), _MOST_SECONDS)
    return longest * portion


def with_retries(call: Callable[[], T], seconds: float, worth: Worth) -> T:
    """What `call` returns at last; raises what its last try raised.

    seconds: how long after the beginning another try may begin. A try that runs is not cut off:
        that is for the limits of time of whoever makes it.
    """
    ends = time.monotonic() + seconds
    tries = 0
    while True:
        try:
            return call()
        except Exception as error:
            tries += 1
            at_least = worth(error)
            if at_least is None:
                raise
            pause = max(at_least, pause_before(tries, random.random()))
            if time.monotonic() + pause > ends:
                raise
            # Out of the handler, whose traceback would keep the frames of the try until the next.
        _sleep(pause)


def _sleep(seconds: float) -> None:
    """Let others run; where no loop does, stand still."""
    if current_hub() is None:
        time.sleep(seconds)
    else:
        gevent.sleep(seconds)
