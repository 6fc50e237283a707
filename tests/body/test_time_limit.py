"""within(): what waits too long is ended, and what does not costs no timer."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.hub import get_hub
from greenlet import greenlet as raw_greenlet
from greenlets import DEADLINE, in_greenlet, join, wait_until
from greenlets import FOREVER as LONG

from cooperative_upload.body import time_limit
from cooperative_upload.body.time_limit import TimeIsUp, within

SHORT = 0.03


@pytest.fixture(autouse=True)
def waits() -> Iterator[Any]:
    """Those of this hub, new ones, of which none is left at the end."""
    names = get_hub().__dict__
    before = names.pop(time_limit._ATTRIBUTE, None)
    new = time_limit._new_waits(get_hub())
    yield new
    assert new.running == {}
    new._stop_timer()
    names[time_limit._ATTRIBUTE] = before


@pytest.fixture
def timers(waits: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each timer that was set goes off."""
    found: list[float] = []
    set_timer = waits.set_timer

    def noted(goes_off: float) -> None:
        found.append(goes_off)
        set_timer(goes_off)

    monkeypatch.setattr(waits, "set_timer", noted)
    return found


def outcome(function: Callable[[], Any]) -> Any:
    """What a function returns, or the type of what it raises."""
    try:
        return function()
    except BaseException as error:
        return type(error)


def waiting(seconds: float, event: Event) -> Any:
    """A greenlet that waits for the event, no longer than that."""
    return gevent.spawn(outcome, lambda: within(get_hub(), seconds, event.wait, DEADLINE))


def test_returns_what_it_returns() -> None:
    """And raises what it raises."""
    assert in_greenlet(lambda: within(get_hub(), LONG, len, "four")) == 4
    with pytest.raises(ZeroDivisionError):
        in_greenlet(lambda: within(get_hub(), LONG, lambda n: 1 // n, 0))


def test_who_waits_too_long_is_ended_alone() -> None:
    """At its time, beside others that have more of it."""
    began = time.monotonic()
    event = Event()
    short, long = waiting(SHORT, event), waiting(LONG, event)
    join(short)
    assert time.monotonic() - began >= SHORT
    assert short.value is TimeIsUp
    assert not long.ready()
    event.set()
    join(long)
    assert long.value is True


def test_a_wait_that_begins_anew_has_all_its_time() -> None:
    """Also behind a timer that was set for an earlier one."""

    def many() -> None:
        for _ in range(8):
            within(get_hub(), 0.4, gevent.sleep, 0.1)

    in_greenlet(many)


def test_one_timer_for_many_waits(timers: list[float]) -> None:
    """One that is set for the first of them, however many follow, and whoever waits."""

    def many() -> None:
        for _ in range(100):
            within(get_hub(), LONG, gevent.sleep, 0)

    join(*[gevent.spawn(many) for _ in range(10)])
    assert len(timers) == 1


def test_a_timer_is_set_anew_for_who_has_less_time(timers: list[float]) -> None:
    """And for those that are left, when it has gone off."""
    event = Event()
    long = waiting(LONG, event)
    wait_until(lambda: timers)
    short = waiting(SHORT, event)
    join(short)
    assert short.value is TimeIsUp
    wait_until(lambda: len(timers) > 2 and timers[-1] == timers[0])  # libuv's may be too early
    assert timers[1] < timers[0]
    event.set()
    join(long)


def test_many_are_looked_at_seldom(waits: Any, timers: list[float]) -> None:
    """What a look at all costs is a small share of the time, however their times are spread."""
    event = Event()
    greenlets = [waiting(SHORT + n * 1e-5, event) for n in range(400)]
    join(*greenlets)
    assert {each.value for each in greenlets} == {TimeIsUp}
    later = timers[1:]
    assert all(second - first > 1e-5 for first, second in itertools.pairwise(later))
    assert len(later) < 100


def test_who_was_killed_is_not_ended_later(waits: Any) -> None:
    """Nor who was ended by a gevent.Timeout of its own."""

    def killed() -> str:
        with contextlib.suppress(gevent.Timeout), gevent.Timeout(SHORT):
            within(get_hub(), 2 * SHORT, gevent.sleep, LONG)
        assert not waits.running
        gevent.sleep(3 * SHORT)
        return "went on"

    assert in_greenlet(killed) == "went on"
    other = waiting(LONG, Event())
    wait_until(lambda: waits.running)
    other.kill()
    assert not waits.running


def test_one_within_another() -> None:
    """Each is ended by its own time."""

    def nested(outer: float, inner: float) -> str:
        def inside(_: object) -> str:
            try:
                within(get_hub(), inner, gevent.sleep, LONG)
            except TimeIsUp:
                return "inner"
            return "none"

        try:
            return within(get_hub(), outer, inside, None)
        except TimeIsUp:
            return "outer"

    assert in_greenlet(lambda: nested(LONG, SHORT)) == "inner"
    assert in_greenlet(lambda: nested(SHORT, LONG)) == "outer"


def test_who_is_ended_by_another_that_is_ended(waits: Any) -> None:
    """In the same look at all, with what the other throws."""
    event = Event()
    seen: list[Any] = []

    def second() -> None:
        seen.append(outcome(lambda: within(get_hub(), SHORT, gevent.sleep, LONG)))

    def first() -> None:
        seen.append(outcome(lambda: within(get_hub(), SHORT / 2, gevent.sleep, LONG)))
        other.throw(ConnectionError)
        event.set()

    other = raw_greenlet(second, gevent.spawn(first))  # to which it hands over when it ends
    get_hub().loop.run_callback(other.switch)
    wait_until(lambda: len(waits.running) == 2)
    time.sleep(2 * SHORT)  # both are overdue when the loop goes round
    assert event.wait(DEADLINE)
    assert seen == [TimeIsUp, ConnectionError]


def test_a_raw_greenlet_that_ends_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and the others are ended too."""
    reported: list[Any] = []
    monkeypatch.setattr(get_hub(), "handle_error", lambda *args: reported.append(args[1]))
    raw = raw_greenlet(lambda: within(get_hub(), SHORT, gevent.sleep, LONG), get_hub())
    get_hub().loop.run_callback(raw.switch)
    other = waiting(SHORT, Event())
    gevent.sleep(0)
    time.sleep(2 * SHORT)
    join(other)
    assert reported == [TimeIsUp]
    assert other.value is TimeIsUp


def test_it_keeps_no_loop_running() -> None:
    """A loop ends when nobody waits for anything, though a timer is set."""
    in_greenlet(lambda: within(get_hub(), LONG, len, ""))
    assert get_hub().join(timeout=DEADLINE), "the loop still ran"
