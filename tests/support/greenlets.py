"""Running the code of a test in greenlets, and seeing who else ran in the meantime."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gevent
from gevent.hub import get_hub

from cooperative_upload.turns import scheduler, writer
from cooperative_upload.turns.scheduler import Scheduler

T = TypeVar("T")

# Seconds after which a test that waits has failed. Nothing takes a hundredth of it.
DEADLINE = 20.0

FOREVER = 1000.0  # seconds: a slice or a deadline that does not end within a test


def in_greenlet(function: Callable[[], T]) -> T:
    """What `function` returns in a greenlet of the hub; raises what it raises."""

    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        # gevent would print the traceback of a greenlet that raises.
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    join(gevent.spawn(run))
    for error in errors:
        raise error
    return results[0]


def join(*greenlets: Any) -> None:
    """Wait until all have ended, and raise what one of them raised."""
    # The loop's clock stands where the loop ran last, which can be a minute of live tests ago.
    gevent.get_hub().loop.update_now()
    done = gevent.joinall(greenlets, timeout=DEADLINE, raise_error=True)
    assert len(done) == len(greenlets), "a greenlet hangs"


def wait_until(condition: Callable[[], Any]) -> None:
    """Let the loop run until the condition holds."""
    give_up = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < give_up, "the condition never came true"
        gevent.sleep(0.001)


class Count:
    """How often something happened."""

    def __init__(self) -> None:
        self.value = 0


@contextlib.contextmanager
def spinning() -> Iterator[Count]:
    """A greenlet that is ready all the time, and the number of its rounds."""
    rounds = Count()

    def spin() -> None:
        while True:
            gevent.sleep(0)
            rounds.value += 1

    with running(spin):
        yield rounds


@contextlib.contextmanager
def running(*functions: Callable[[], Any]) -> Iterator[list[Any]]:
    """Greenlets that run beside the block and are killed at its end."""
    greenlets = [gevent.spawn(function) for function in functions]
    try:
        yield greenlets
    finally:
        gevent.killall(greenlets, timeout=DEADLINE)


@contextlib.contextmanager
def hub_scheduler(
    slice_seconds: float = 0.0, deadline_seconds: float = FOREVER
) -> Iterator[Scheduler]:
    """A new scheduler for this hub; by default one in which each checkpoint ends a turn."""
    with _replaced(scheduler._ATTRIBUTE):
        new = Scheduler(get_hub(), slice_seconds, deadline_seconds)
        get_hub().__dict__[scheduler._ATTRIBUTE] = new
        try:
            yield new
            assert new.statistics().queue_length == 0
        finally:
            # A scheduler lives as long as its hub; this one does not, and libuv still has a
            # watcher that was freed before it was closed.
            new._idle.close()
            new._deadline.close()


@contextlib.contextmanager
def hub_writer() -> Iterator[None]:
    """No writer yet in this hub: the next user makes a new one. Its threads end soon after."""
    attributes = (writer._ATTRIBUTE, writer._ATTRIBUTE_OF_HASHER)
    with _replaced(attributes[0]), _replaced(attributes[1]):
        try:
            yield
        finally:
            gevent.sleep(0)  # what was handed over to be done soon is in the pool then
            for attribute in attributes:
                made: Any = get_hub().__dict__.get(attribute)
                if made is not None:
                    made._pool.join()
                    made._pool.kill()


@contextlib.contextmanager
def _replaced(attribute: str) -> Iterator[None]:
    names = get_hub().__dict__
    before = names.pop(attribute, None)
    try:
        yield
    finally:
        names.pop(attribute, None)
        if before is not None:
            names[attribute] = before
