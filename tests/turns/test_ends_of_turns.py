"""Kills, time-outs and exceptions, in line and in a turn."""

from __future__ import annotations

from typing import Any

import gevent
import gevent.hub
import pytest
from gevent.hub import get_hub
from greenlet import greenlet as raw_greenlet
from greenlets import FOREVER, in_greenlet, join, spinning, wait_until
from turns_taken import assert_at_rest, errors_to, needs_priorities, take_turns

from cooperative_upload.turns.scheduler import Scheduler


def test_a_killed_waiter_is_skipped(turns: Scheduler) -> None:
    """The turn goes to the next in line, as if the dead had never been there."""
    record: list[str] = []
    greenlets = [gevent.spawn(take_turns, turns, name, 2, record) for name in "abcd"]
    gevent.sleep(0)
    assert turns.statistics().queue_length == 4
    greenlets[0].kill()
    greenlets[2].kill()
    assert turns.statistics().queue_length == 2
    join(*greenlets)
    assert record == ["b", "d", "b", "d"]


def test_a_waiter_killed_in_anothers_turn(turns: Scheduler) -> None:
    """A kill that is on its way when the turn comes near is still a kill."""
    record: list[str] = []

    def killer() -> None:
        turns.checkpoint()
        record.append("killer")
        victim.kill(block=False)
        take_turns(turns, "killer", 1, record)

    def one() -> None:
        take_turns(turns, "victim", 1, record)

    first, victim = gevent.spawn(killer), gevent.spawn(one)
    last = gevent.spawn(take_turns, turns, "last", 1, record)
    join(first, victim, last)
    assert record == ["killer", "last", "killer"]


def test_killing_the_only_waiter_lets_the_loop_rest(turns: Scheduler) -> None:
    """No watcher wakes the loop up for nobody."""
    waiter = gevent.spawn(turns.checkpoint)
    gevent.sleep(0)
    assert turns._idle.active
    waiter.kill()
    assert_at_rest(turns)
    assert turns.statistics().turns == 0
    assert turns.statistics().waits == 1
    # And it wakes up again for the next.
    in_greenlet(turns.checkpoint)
    assert turns.statistics().turns == 1


def test_killing_the_holder_lets_the_next_go_on(long_turns: Scheduler) -> None:
    """Wherever it has got to: in its turn, it can only be killed by itself or while it waits."""
    record: list[str] = []

    def holder() -> None:
        take_turns(long_turns, "holder", 1, record)
        record.append("waits")
        gevent.sleep(FOREVER)

    first = gevent.spawn(holder)
    second = gevent.spawn(take_turns, long_turns, "second", 1, record)
    wait_until(lambda: "second" in record)
    first.kill()
    join(first, second)
    assert record == ["holder", "waits", "second"]


@needs_priorities
def test_timeout_in_line(turns: Scheduler) -> None:
    """gevent.Timeout takes a greenlet out of the line, and it can queue again."""
    with spinning():  # nobody gets a turn

        def impatient() -> None:
            with gevent.Timeout(0.01):
                turns.checkpoint()

        with pytest.raises(gevent.Timeout):
            in_greenlet(impatient)
        assert_at_rest(turns)
    in_greenlet(turns.checkpoint)
    assert turns.statistics().waits == 2
    assert turns.statistics().turns == 1


@pytest.mark.parametrize("error", [ValueError("oops"), gevent.GreenletExit()])
def test_an_exception_in_a_turn(turns: Scheduler, error: BaseException) -> None:
    """The holder ends, the others go on."""
    record: list[str] = []

    def breaks() -> None:
        take_turns(turns, "breaks", 1, record)
        raise error

    def caught() -> None:
        with pytest.raises(type(error)):
            breaks()

    join(gevent.spawn(caught), gevent.spawn(take_turns, turns, "b", 2, record))
    assert record == ["breaks", "b", "b"]


def test_a_gevent_greenlet_dies_of_an_exception_in_its_turn(turns: Scheduler) -> None:
    """Not caught at all: gevent reports it, and the line moves on."""
    record: list[str] = []
    errors: list[Any] = []

    def breaks() -> None:
        take_turns(turns, "breaks", 1, record)
        raise ValueError("oops")

    with errors_to(errors):
        broken = gevent.spawn(breaks)
        join(gevent.spawn(take_turns, turns, "b", 2, record))
        broken.join()
    assert record == ["breaks", "b", "b"]
    assert isinstance(broken.exception, ValueError)
    assert [str(error) for error in errors] == ["oops"]


def test_a_raw_greenlet_dies_of_an_exception_in_its_turn(turns: Scheduler) -> None:
    """It is delivered to the hub, in the middle of a grant: reported, and the line moves on."""
    record: list[str] = []
    errors: list[Any] = []

    def breaks() -> None:
        take_turns(turns, "raw", 1, record)
        raise ValueError("oops")

    with errors_to(errors):
        get_hub().loop.run_callback(raw_greenlet(breaks, parent=get_hub()).switch)
        gevent.sleep(0)
        join(gevent.spawn(take_turns, turns, "b", 2, record))
    assert record == ["raw", "b", "b"]
    assert [str(error) for error in errors] == ["oops"]
    assert turns._holder is None


def test_a_raw_greenlet_ends_in_its_turn(turns: Scheduler) -> None:
    """A holder that returns has no turn any more, nor has who gets its place in memory."""
    record: list[str] = []
    get_hub().loop.run_callback(
        raw_greenlet(take_turns, parent=get_hub()).switch,
        turns,
        "raw",
        2,
        record,
    )
    gevent.sleep(0)
    join(gevent.spawn(take_turns, turns, "b", 2, record))
    assert record == ["raw", "b"] * 2
    assert turns._holder is None


@needs_priorities
def test_a_switch_by_somebody_else_is_no_turn(turns: Scheduler) -> None:
    """A stray wake-up leaves a waiting greenlet where it stands in the line."""
    record: list[str] = []
    with spinning() as rounds:  # nobody gets a turn yet
        greenlets = [gevent.spawn(take_turns, turns, name, 1, record) for name in "ab"]
        wait_until(lambda: turns.statistics().queue_length == 2)
        for _ in range(3):
            get_hub().loop.run_callback(greenlets[0].switch)
            before = rounds.value
            wait_until(lambda before=before: rounds.value > before + 5)  # type: ignore[misc]
        assert record == []
        assert turns.statistics().queue_length == 2
    join(*greenlets)
    assert record == ["a", "b"]
    assert turns.statistics().turns == turns.statistics().waits == 2
