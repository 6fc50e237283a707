"""The work of a command in a greenlet that Ctrl-C and its kin end, so that its blocks are left."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.monkey
from gevent import GreenletExit

T = TypeVar("T")

_CLEANING_SECONDS = 10.0  # as long as a person waits who has pressed Ctrl-C once
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(GreenletExit):
    """A signal asked for the end. number: the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(work: Callable[[], T]) -> T | Interrupted:
    """What `work` returns, or which signal ended it; raises what it raised.

    It runs on a loop, whose waiting is that of all of this process: sockets are patched from here
    on. A second signal ends the process at once.
    """
    gevent.monkey.patch_all()
    job = gevent.spawn(_caught, work)
    handlers = [gevent.signal_handler(number, _end, job, number) for number in _SIGNALS]
    try:
        job.join()
    finally:
        for handler in handlers:
            handler.cancel()
    # What a storage takes away when something is given up it does beside.
    gevent.wait(timeout=_CLEANING_SECONDS)
    result: T | Exception = job.get()
    if isinstance(result, Exception):
        raise result
    return result


def _caught(work: Callable[[], T]) -> T | Exception:
    """What `work` raised, too: what leaves a greenlet is printed with its traceback."""
    try:
        return work()
    except Exception as error:
        return error


def _end(job: Any, number: int) -> None:
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_DFL)
    job.kill(Interrupted(number), block=False)
