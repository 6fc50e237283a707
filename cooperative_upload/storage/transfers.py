"""What is on its way to a store: several parts of one upload at once, in line with all others.

A part is sent in a greenlet of its own while the next one is collected. At most so many of one
upload are under way, then its writer waits; and at most storage_connections of a worker are
sending, in the order in which they were ready. The first error of any of them is raised to the
writer. Outside of a hub each is sent at once by whoever starts it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import gevent

from ..hub import current_hub
from ..monitoring import State, spending
from ..settings import UploadSettings
from ..spool import Budget
from ..turns import Places

T = TypeVar("T")

_ATTRIBUTE = "cooperative_upload_sending_places"

_log = logging.getLogger("cooperative_upload")

_memory_of_process: Budget | None = None


def parts_memory(settings: UploadSettings) -> Budget:
    """The bytes that parts may have in the memory of this process.

    The first caller's settings say how many.
    """
    global _memory_of_process
    if _memory_of_process is None:
        _memory_of_process = Budget(settings.storage_memory_bytes)
    return _memory_of_process


class InFlight:
    """What one upload sends.

    most: how much of it at once.
    """

    def __init__(self, settings: UploadSettings, most: int) -> None:
        self._settings = settings
        self._most = most
        self._running: set[Any] = set()
        self._error: Exception | None = None

    def start(self, send: Callable[[], object], free: Callable[[], object]) -> None:
        """Have `send` called as soon as there is a place, and `free` however that ends.

        It waits while the most are under way. Raises the first error of any that was started,
        and does not start this one then.
        """
        if current_hub() is None:
            try:
                send()
            finally:
                free()
            return
        try:
            self._wait_for_less_than(self._most)
        except BaseException:
            free()
            raise
        greenlet: Any = gevent.Greenlet(self._send, send)
        self._running.add(greenlet)
        # By a link: what is killed before it began runs no block's end.
        greenlet.rawlink(lambda ended: self._ended(ended, free))
        greenlet.start()

    def settle(self) -> None:
        """Wait for all. Raises the first error."""
        self._wait_for_less_than(1)

    def wait_for_one(self) -> bool:
        """Wait until one more has ended; whether there was any. Raises the first error."""
        running = len(self._running)
        if running:
            self._wait_for_less_than(running)
        return running > 0

    def cancel(self) -> None:
        """End them all. Never waits."""
        for greenlet in list(self._running):
            greenlet.kill(block=False)

    def join(self) -> None:
        """Wait until all have ended, however that was."""
        while self._running:
            gevent.wait(list(self._running), count=1)

    def _wait_for_less_than(self, number: int) -> None:
        while self._error is None and len(self._running) >= number:
            with spending(State.WRITING, "waited_for_disk"):
                gevent.wait(list(self._running), count=1)
        if self._error is not None:
            raise self._error

    def _send(self, send: Callable[[], object]) -> None:
        places = _sending_places(self._settings)
        try:
            places.take()
            try:
                send()
            finally:
                places.give_back()
        except Exception as error:
            if self._error is None:
                self._error = error

    def _ended(self, greenlet: Any, free: Callable[[], object]) -> None:
        self._running.discard(greenlet)
        free()


class Aside(Generic[T]):
    """A call that goes on to its end, also when all who wait for it are killed."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._value: T | None = None
        self._error: Exception | None = None
        self._greenlet: Any = None
        if current_hub() is None:
            self._run(function)
        else:
            self._greenlet = gevent.spawn(self._run, function)

    def result(self) -> T:
        """What it returned, after waiting for it; raises what it raised."""
        if self._greenlet is not None:
            self._greenlet.join()
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self._value = function()
        except Exception as error:
            self._error = error


def clean_up(function: Callable[[], object], what: str) -> None:
    """Have it called without waiting; what goes wrong is logged, since nobody is there to care.

    what: for the log, what is left behind then.
    """

    def call() -> None:
        try:
            function()
        except Exception as error:
            _log.warning("%s is left for a later clean-up: %s", what, error)

    Aside(call)


def _sending_places(settings: UploadSettings) -> Places:
    """Those of this hub; the first caller's settings say how many."""
    hub = current_hub()
    assert hub is not None
    places: Places | None = hub.__dict__.get(_ATTRIBUTE)
    if places is None:
        places = hub.__dict__[_ATTRIBUTE] = Places(settings.storage_connections)
    return places
