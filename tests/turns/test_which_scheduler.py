"""One scheduler for each hub, and what it tells."""

from __future__ import annotations

import threading
from typing import Any

import gevent
import gevent.hub
from gevent import getcurrent
from gevent.hub import get_hub
from greenlet import greenlet as raw_greenlet
from greenlets import DEADLINE, hub_scheduler, in_greenlet, join
from turns_taken import take_turns

from cooperative_upload.hub import current_hub
from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns.scheduler import Scheduler, current_scheduler

# What it tells.


def test_statistics_are_exact() -> None:
    """Each number, after a known course of events."""
    with hub_scheduler() as scheduler:
        nothing = scheduler.statistics()
        assert (nothing.turns, nothing.waits, nothing.grants_by_deadline) == (0, 0, 0)
        assert (nothing.queue_length, nothing.longest_queue, nothing.longest_slice) == (0, 0, 0.0)
        record: list[str] = []
        greenlets = [gevent.spawn(take_turns, scheduler, name, 2, record) for name in "abcd"]
        gevent.sleep(0)
        now = scheduler.statistics()
        assert (now.turns, now.waits, now.queue_length, now.longest_queue) == (0, 4, 4, 4)
        greenlets[3].kill()
        join(*greenlets)
        end = scheduler.statistics()
        assert (end.turns, end.waits, end.queue_length, end.longest_queue) == (6, 7, 0, 4)
        assert end.grants_by_deadline == 0
        assert 0 < end.longest_slice < DEADLINE
        assert now.waits == 4, "a snapshot does not change"


def test_the_longest_slice_shows_who_works_long() -> None:
    """Also beyond its slice: it is measured until the holder lets go of the loop."""
    with hub_scheduler() as scheduler:

        def works() -> None:
            scheduler.checkpoint()
            threading.Event().wait(0.03)

        in_greenlet(works)
        longest = scheduler.statistics().longest_slice
        assert longest >= 0.03
        in_greenlet(scheduler.checkpoint)
        assert scheduler.statistics().longest_slice == longest


# Which scheduler.


def test_one_for_each_hub() -> None:
    """The same in every greenlet of a hub, made by the first who asks, with its settings."""
    with hub_scheduler():
        pass  # takes the hub's own away and gives it back
    first = in_greenlet(lambda: current_scheduler(UploadSettings()))
    second = in_greenlet(lambda: current_scheduler(UploadSettings(slice_ms=9)))
    assert first is not None
    assert first is second


def test_none_without_a_hub() -> None:
    """A thread without gevent has no turns, and asking does not make it a hub."""
    seen: list[object] = []

    def plain() -> None:
        seen.append(current_scheduler(UploadSettings()))
        seen.append(current_hub())
        seen.append(gevent.hub._get_hub())  # type: ignore[attr-defined]

    thread = threading.Thread(target=plain)
    thread.start()
    thread.join(DEADLINE)
    assert seen == [None, None, None]


def test_none_in_the_hub_itself() -> None:
    """A callback of the loop can't wait, so it gets no turns; nor does a thread's main greenlet,
    which is not run by the hub."""
    seen: list[object] = []

    def callback() -> None:
        assert getcurrent() is get_hub()
        seen.append(current_scheduler(UploadSettings()))

    get_hub().loop.run_callback(callback)
    gevent.sleep(0)
    assert seen == [None]
    assert current_scheduler(UploadSettings()) is None


def test_none_in_a_pool_thread() -> None:
    """The pool's threads run beside the hub, not under it."""
    pool: Any = get_hub().threadpool
    assert pool.apply(current_scheduler, (UploadSettings(),)) is None


def test_found_from_a_nested_greenlet() -> None:
    """A raw greenlet inside of a gevent greenlet is run by the same hub."""

    def nested() -> object:
        return raw_greenlet(lambda: current_hub()).switch()

    assert in_greenlet(nested) is get_hub()


def test_hubs_in_threads_do_not_mix() -> None:
    """Each hub has its own line, in its own thread."""
    schedulers: list[Scheduler | None] = []
    records: list[list[str]] = []
    barrier = threading.Barrier(3)

    def thread() -> None:
        record: list[str] = []

        def work(name: str) -> None:
            scheduler = current_scheduler(UploadSettings(slice_ms=0.01))
            assert scheduler is not None
            scheduler._slice = 0.0
            for _ in range(30):
                scheduler.checkpoint()
                record.append(name)
            schedulers.append(scheduler)

        barrier.wait(DEADLINE)
        gevent.joinall([gevent.spawn(work, name) for name in "ab"], raise_error=True)
        records.append(record)
        gevent.get_hub().destroy(destroy_loop=True)

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(DEADLINE)
    assert records == [["a", "b"] * 30] * 3
    assert len(set(schedulers)) == 3
