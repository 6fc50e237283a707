"""Whom the loop's onlooker blames; tests/live/test_loop_lag.py has what a server tells."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
import pytest
from gevent import get_hub
from gevent.monkey import get_original
from greenlets import DEADLINE, in_greenlet

from cooperative_upload.monitoring import monitor
from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns import loop_probe
from cooperative_upload.turns.loop_probe import LoopProbe

_sleep: Callable[[float], None] = get_original("time", "sleep")

# Milliseconds between two measurements, and of a loop that is held.
QUICKLY = UploadSettings(loop_probe_ms=5, loop_blocked_ms=20)


class Onlookers:
    """Counts their looks, each of which is behind one of their sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        monkeypatch.setattr(loop_probe, "_sleep", self._sleep_and_count)
        monkeypatch.setattr(loop_probe, "_STILL_HELD_AFTER", 0.02)

    def _sleep_and_count(self, seconds: float) -> None:
        self.looks += 1
        _sleep(seconds)

    def have_looked(self) -> None:
        """Wait outside of gevent until they have seen for a while that the loop is held."""
        enough, end = self.looks + 20, time.monotonic() + DEADLINE
        while self.looks < enough:
            assert time.monotonic() < end, "nobody looks on"
            _sleep(0.01)


def warnings_of(holder: Callable[[], object]) -> tuple[list[str], int]:
    """What is said while the loop is held and behind it, and how often that was counted."""
    said: list[str] = []
    probe = LoopProbe(get_hub(), QUICKLY, said.append)
    probe.start()
    gevent.sleep(0.01)  # the loop goes round
    before = blocks()
    holder()
    gevent.sleep(0.01)
    return said, blocks() - before


def blocks() -> int:
    return monitor.upload_statistics()["loop_blocked"]


def test_a_greenlet_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the main greenlet waits for it."""
    onlookers = Onlookers(monkeypatch)
    said, counted = warnings_of(lambda: in_greenlet(onlookers.have_looked))
    assert counted >= 1
    assert "has held the event loop" in said[0]
    assert ", in have_looked\n" in said[0]


def test_the_main_greenlet_outside_of_gevent_is_not_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A program that uses gevent now and then lets the loop stand still, and nobody waits."""
    onlookers = Onlookers(monkeypatch)
    assert warnings_of(onlookers.have_looked) == ([], 0)


def test_a_greenlet_is_blamed_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next who holds the loop is told as ever."""
    onlookers = Onlookers(monkeypatch)

    def outside_then_inside() -> None:
        onlookers.have_looked()
        gevent.sleep(0.01)
        in_greenlet(onlookers.have_looked)

    said, counted = warnings_of(outside_then_inside)
    assert counted >= 1
    assert "has held the event loop" in said[0]
