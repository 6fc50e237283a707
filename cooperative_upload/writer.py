"""Work that may block on the disk, done by threads of its own while the loop goes on.

Each hub has one Writer. Its threads are not those of the hub's own pool, which resolves host
names too: a slow disk must not stop that. There is one thread by default, since on few cores
each more of them only competes with the loop. Outside of a hub the work is done at once.

A greenlet that waits here has let go of the loop, so its turn is over; whoever works on a body
takes a turn again with Scheduler.checkpoint().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent.hub import Hub
from gevent.threadpool import ThreadPool

from .scheduler import current_hub
from .settings import UploadSettings

_ATTRIBUTE = "cooperative_upload_writer"

# Seconds after which an idle thread ends: longer than the pauses within an upload, and short
# enough that the threads of a hub that is gone do not stay.
_IDLE_SECONDS = 10


class Job(Protocol):
    """A call that has been handed over."""

    @property
    def done(self) -> bool:
        """Whether result() returns at once."""

    def result(self) -> Any:
        """What the call returned, after waiting for it; raises what it raised."""


class Writer(Protocol):
    """Who makes the calls that may block."""

    def start(self, function: Callable[..., Any], *args: Any) -> Job:
        """Hand a call over, and wait as long as all threads are busy and another call is queued.

        If the waiting greenlet is killed, the call is not made.
        """

    def start_soon(self, function: Callable[..., object], *args: Any) -> None:
        """Hand a call over without waiting, from any greenlet."""


class _ThreadJob:
    def __init__(self, result: Any) -> None:
        self._result = result

    @property
    def done(self) -> bool:
        return bool(self._result.ready())

    def result(self) -> Any:
        value, error = self._result.get()
        if error is not None:
            raise error
        return value


class ThreadWriter:
    """The writing threads of one hub."""

    def __init__(self, hub: Hub, threads: int) -> None:
        self._pool = ThreadPool(threads, hub, idle_task_timeout=_IDLE_SECONDS)

    def start(self, function: Callable[..., Any], *args: Any) -> Job:
        return _ThreadJob(self._pool.spawn(_outcome, function, args))

    def start_soon(self, function: Callable[..., object], *args: Any) -> None:
        gevent.spawn(self._pool.spawn, function, *args)


class _FinishedJob:
    done = True

    def __init__(self, outcome: tuple[Any, BaseException | None]) -> None:
        self._value, self._error = outcome

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class DirectWriter:
    """Makes the calls at once, where no loop waits for anything."""

    def start(self, function: Callable[..., Any], *args: Any) -> Job:
        return _FinishedJob(_outcome(function, args))

    def start_soon(self, function: Callable[..., object], *args: Any) -> None:
        function(*args)


_DIRECT = DirectWriter()


def current_writer(settings: UploadSettings) -> Writer:
    """The writer for the current greenlet: its hub's, or a direct one where no hub runs it.

    The first caller's settings give the number of threads.
    """
    hub = current_hub()
    if hub is None:
        return _DIRECT
    writer: Writer | None = hub.__dict__.get(_ATTRIBUTE)
    if writer is None:
        writer = hub.__dict__[_ATTRIBUTE] = ThreadWriter(hub, settings.writer_threads)
    return writer


def _outcome(
    function: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Any, BaseException | None]:
    # gevent's pool would print the traceback of a call that raises. A full disk is told to the
    # greenlet that writes, which knows whose upload it is.
    try:
        return function(*args), None
    except BaseException as error:
        return None, error
