"""Greenlets that take turns, and what is left of a scheduler when they have ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from gevent.hub import get_hub

from cooperative_upload.turns.scheduler import Scheduler

LIBUV = "libuv" in type(get_hub().loop).__module__
# libuv runs idle watchers before it polls, so it can't tell that others are about to be ready.
needs_priorities = pytest.mark.skipif(LIBUV, reason="libuv has no priorities")


def assert_at_rest(scheduler: Scheduler) -> None:
    """Nobody waits, so nothing wakes the loop up."""
    assert scheduler.statistics().queue_length == 0
    assert not scheduler._idle.active
    assert not scheduler._deadline.active


@contextlib.contextmanager
def errors_to(errors: list[Any]) -> Iterator[None]:
    """Collect what the hub would print."""
    hub: Any = get_hub()
    hub.print_exception = lambda context, kind, value, trace: errors.append(value)
    try:
        yield
    finally:
        del hub.print_exception


def take_turns(scheduler: Scheduler, name: str, count: int, record: list[str]) -> None:
    for _ in range(count):
        scheduler.checkpoint()
        assert scheduler.has_turn
        record.append(name)
