"""Work that may block on the disk, done by threads of its own while the loop goes on.

Each hub has one Writer. Its threads are not those of the hub's own pool, which resolves host
names too: a slow disk must not stop that. There is one thread by default, and it has a lower
priority than the loop, since on few cores it competes with the loop and with everybody who waits
for an answer. Outside of a hub the work is done at once.

A call that takes longer than a second hangs: the disk is broken, or a network drive is away, or
somebody saves to a pipe that nobody reads. Another thread takes its place then, so that it holds
up its own upload and no other.

A greenlet that waits here has let go of the loop, so its turn is over; whoever works on a body
takes a turn again with Scheduler.checkpoint().
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent.hub import Hub
from gevent.monkey import get_original
from gevent.threadpool import ThreadPool

from ..hub import current_hub
from ..monitoring import State, spending
from ..settings import UploadSettings

_ATTRIBUTE = "cooperative_upload_writer"
_ATTRIBUTE_OF_HASHER = "cooperative_upload_hasher"
_ATTRIBUTE_OF_CALLER = "cooperative_upload_caller"

# Seconds after which a call hangs: far above what a batch takes on a disk that works.
_HANGS_AFTER = 1.0
_LOOK_EVERY = 0.25

# Native also where gevent has patched the threading modules: it ends with its thread.
_of_this_thread: Any = get_original("_thread", "_local")()


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


def _waiting_for_the_disk() -> spending:
    """Around what waits for a thread."""
    return spending(State.WRITING, "waited_for_disk")


class _ThreadJob:
    def __init__(self, result: Any) -> None:
        self._result = result

    @property
    def done(self) -> bool:
        return bool(self._result.ready())

    def result(self) -> Any:
        with _waiting_for_the_disk():
            value, error = self._result.get()
        if error is not None:
            raise error
        return value


class ThreadWriter:
    """The writing threads of one hub.

    threads: how many there are.
    spare_threads: how many more there may be, one for each call that hangs.
    nice: by how much their priority is lower.
    """

    def __init__(self, hub: Hub, threads: int, spare_threads: int, nice: int) -> None:
        self._threads = threads
        self._spare_threads = spare_threads
        self._nice = nice
        # Without idle_task_timeout: before gevent 26.9 a call that was handed over in the moment
        # in which a thread gave up waiting was never made.
        self._pool: Any = ThreadPool(threads, hub)
        self._begun: dict[object, float] = {}  # when each call that runs now began
        self._watcher: Any = None
        before = getattr(_of_this_thread, "guards", ())
        _of_this_thread.guards = (*before, _EndOfThread(self._pool))

    def start(self, function: Callable[..., Any], *args: Any) -> Job:
        self._watch()
        with _waiting_for_the_disk():
            return _ThreadJob(self._pool.spawn(self._outcome, function, args))

    def start_soon(self, function: Callable[..., object], *args: Any) -> None:
        self._watch()
        gevent.spawn(self._pool.spawn, self._call, function, args)

    def _outcome(self, *call: Any) -> tuple[Any, BaseException | None]:
        return _outcome(self._call, call)

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if not hasattr(_of_this_thread, "has_low_priority"):
            _of_this_thread.has_low_priority = True
            # On Linux the value is that of the calling thread alone (nice(2)); elsewhere it
            # would be that of the whole process.
            if sys.platform == "linux":
                os.nice(self._nice)
        call = object()
        self._begun[call] = time.monotonic()
        try:
            return function(*args)
        finally:
            del self._begun[call]

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = gevent.spawn(self._replace_hanging)

    def _replace_hanging(self) -> None:
        """While there are calls: one more thread for each that hangs."""
        while True:
            gevent.sleep(_LOOK_EVERY)
            long_ago = time.monotonic() - _HANGS_AFTER
            hanging = sum(began < long_ago for began in self._begun.copy().values())
            wanted = self._threads + min(hanging, self._spare_threads)
            if self._pool.maxsize != wanted:
                self._pool.maxsize = wanted
            if not self._pool:
                self._watcher = None
                return


class _EndOfThread:
    """Ends the threads of a pool together with the thread of its hub, which they outlive else."""

    def __init__(self, pool: ThreadPool) -> None:
        self._pool: Any = pool

    def __del__(self) -> None:
        for _ in range(self._pool.size):
            self._pool.task_queue.put(None)  # what kill() does, but safe in a dying thread


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

    The first caller's settings give the number of threads and their priority.
    """
    threads, spare_threads = settings.writer_threads, settings.writer_spare_threads
    return _of_hub(_ATTRIBUTE, threads, spare_threads, settings.writer_nice)


def current_hasher(settings: UploadSettings) -> Writer:
    """Who computes for the current greenlet what lets go of the interpreter: digests of blocks.

    One thread of its own, so that a client that asks for many digests delays no other's writes.
    """
    return _of_hub(_ATTRIBUTE_OF_HASHER, 1, 0, settings.writer_nice)


def current_caller(settings: UploadSettings) -> Writer:
    """Who calls, for the current greenlet, stores by sockets that gevent has not patched.

    A thread for each connection: no call waits for another.
    """
    return _of_hub(_ATTRIBUTE_OF_CALLER, settings.storage_connections, 0, 0)


def current_clerks(purpose: str, threads: int, settings: UploadSettings) -> Writer:
    """Who asks databases for the current greenlet, at the loop's own priority: clients wait.

    purpose: which of several groups of such threads.
    threads: how many this one has.
    """
    return _of_hub(f"{_ATTRIBUTE}_{purpose}", threads, settings.writer_spare_threads, 0)


def _of_hub(attribute: str, threads: int, spare_threads: int, nice: int) -> Writer:
    hub = current_hub()
    if hub is None:
        return _DIRECT
    writer: Writer | None = hub.__dict__.get(attribute)
    if writer is None:
        writer = hub.__dict__[attribute] = ThreadWriter(hub, threads, spare_threads, nice)
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
