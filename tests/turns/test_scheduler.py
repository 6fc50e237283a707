"""The rules of the turns: one at a time, everyone else first, none held while waiting.

The order and the number of turns are tested, never how long they took. With a slice of 0 each
checkpoint ends a turn, with a slice of FOREVER none does, and with a deadline of FOREVER only an
idle loop grants one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import gevent.event
import gevent.hub
import gevent.socket
import pytest
from gevent import getcurrent
from gevent.hub import get_hub
from greenlet import greenlet as raw_greenlet
from greenlets import (
    DEADLINE,
    FOREVER,
    Count,
    hub_scheduler,
    in_greenlet,
    join,
    running,
    spinning,
    wait_until,
)

from cooperative_upload.hub import current_hub
from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns.scheduler import Scheduler, current_scheduler

LIBUV = "libuv" in type(get_hub().loop).__module__

# libuv runs idle watchers before it polls, so it can't tell that others are about to be ready.
needs_priorities = pytest.mark.skipif(LIBUV, reason="libuv has no priorities")


@pytest.fixture
def turns() -> Iterator[Scheduler]:
    """A scheduler whose turns end at each checkpoint, and which is at rest at the end."""
    with hub_scheduler() as scheduler:
        yield scheduler
        assert_at_rest(scheduler)


@pytest.fixture
def long_turns() -> Iterator[Scheduler]:
    """A scheduler whose turns end only when their holder lets go of the loop."""
    with hub_scheduler(FOREVER) as scheduler:
        yield scheduler
        assert_at_rest(scheduler)


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


# Rule 1: one turn at a time, first come, first served.


def test_turns_go_round(turns: Scheduler) -> None:
    """Whoever had a turn goes to the end of the line."""
    record: list[str] = []
    join(*[gevent.spawn(take_turns, turns, name, 3, record) for name in "abc"])
    assert record == ["a", "b", "c"] * 3


def test_a_newcomer_waits_behind_those_in_line(turns: Scheduler) -> None:
    """Also when it comes during another's turn."""
    record: list[str] = []
    late = []

    def first() -> None:
        turns.checkpoint()
        record.append("a")
        late.append(gevent.spawn(take_turns, turns, "late", 2, record))
        gevent.sleep(0)
        take_turns(turns, "a", 2, record)

    greenlets = [gevent.spawn(first), gevent.spawn(take_turns, turns, "b", 3, record)]
    join(*greenlets)
    join(*late)
    assert record == ["a", "b", "late", "a", "b", "late", "a", "b"]


def test_a_turn_lasts_as_its_slice(long_turns: Scheduler) -> None:
    """While the slice lasts, a checkpoint returns at once and nobody else runs."""
    record: list[str] = []
    with spinning() as rounds:
        wait_until(lambda: rounds.value)

        def work(name: str) -> None:
            long_turns.checkpoint()
            before = rounds.value
            take_turns(long_turns, name, 100, record)
            assert rounds.value == before

        # Beside a greenlet that is always ready only the deadline would grant a turn.
        long_turns._deadline.close()
        long_turns._deadline = get_hub().loop.timer(0.001, 0.001)
        join(gevent.spawn(work, "a"), gevent.spawn(work, "b"))
    assert record == ["a"] * 100 + ["b"] * 100
    assert long_turns.statistics().turns == 2


def test_the_slice_is_measured_from_the_grant() -> None:
    """The time in line does not count; a turn whose slice is over goes on at the next grant."""
    with hub_scheduler(slice_seconds=0.02) as scheduler:
        record: list[str] = []

        def work(name: str) -> None:
            for _ in range(3):
                scheduler.checkpoint()
                turn = scheduler.statistics().turns
                scheduler.checkpoint()  # at once: the slice has just begun
                assert scheduler.statistics().turns == turn
                record.append(name)
                ends = scheduler._slice_ends
                while time.perf_counter() < ends:
                    pass

        join(*[gevent.spawn(work, name) for name in "ab"])
        assert record == list("ababab")
        assert scheduler.statistics().turns == 6
        assert scheduler.statistics().longest_slice >= 0.02


@pytest.mark.parametrize("count", [2, 10, 50])
def test_fair(turns: Scheduler, count: int) -> None:
    """At any moment no one is more than one turn ahead of another."""
    had = [0] * count

    def work(number: int) -> None:
        for _ in range(20):
            turns.checkpoint()
            had[number] += 1
            assert max(had) - min(had) <= 1

    join(*[gevent.spawn(work, number) for number in range(count)])
    assert had == [20] * count


def test_one_at_a_time(turns: Scheduler) -> None:
    """Nobody else has the turn while one works, however often the others are switched to."""
    inside = Count()

    def work() -> None:
        for _ in range(50):
            turns.checkpoint()
            inside.value += 1
            assert inside.value == 1
            inside.value -= 1

    join(*[gevent.spawn(work) for _ in range(8)])


# Rule 2: everyone else first.


def test_callbacks_run_between_two_turns(turns: Scheduler) -> None:
    """What became ready during a turn runs before the next one."""
    record: list[str] = []

    def work(name: str) -> None:
        for _ in range(3):
            turns.checkpoint()
            record.append(name)
            get_hub().loop.run_callback(record.append, "other")

    join(gevent.spawn(work, "a"), gevent.spawn(work, "b"))
    assert record[:11] == ["a", "other", "b", "other"] * 2 + ["a", "other", "b"]


@needs_priorities
def test_a_ready_socket_is_served_between_two_turns(turns: Scheduler) -> None:
    """A request that arrived during a turn is answered before the next one, each time."""
    near, far = gevent.socket.socketpair()
    record: list[str] = []

    def serve() -> None:
        while far.recv(1):
            record.append("request")
            far.sendall(b"y")

    def work(name: str) -> None:
        for _ in range(10):
            turns.checkpoint()
            record.append(name)
            near.sendall(b"x")

    with near, far, running(serve):
        gevent.sleep(0)
        join(gevent.spawn(work, "a"), gevent.spawn(work, "b"))
        wait_until(lambda: len(record) == 40)
    assert record == ["a", "request", "b", "request"] * 10


@needs_priorities
def test_a_due_timer_runs_between_two_turns(turns: Scheduler) -> None:
    """Timers that fell due during a turn fire before the next one."""
    record: list[str] = []

    def work(name: str) -> None:
        for _ in range(5):
            turns.checkpoint()
            record.append(name)
            timer = get_hub().loop.timer(0.002)
            timers.append(timer)
            timer.start(record.append, "timer", update=True)
            threading.Event().wait(0.01)  # a turn of 10 ms, in which the loop stands still

    timers: list[Any] = []
    join(gevent.spawn(work, "a"), gevent.spawn(work, "b"))
    wait_until(lambda: len(record) == 20)
    for timer in timers:
        timer.close()
    assert record == ["a", "timer", "b", "timer"] * 5


@needs_priorities
def test_everyone_who_is_ready_runs_however_many(turns: Scheduler) -> None:
    """Three hundred requests at once are all answered before the next turn."""
    pairs = [gevent.socket.socketpair() for _ in range(300)]
    served = Count()

    def serve(sock: Any) -> None:
        while sock.recv(1):
            served.value += 1

    def work() -> None:
        for turn in range(4):
            turns.checkpoint()
            assert served.value == turn * len(pairs)
            for near, _ in pairs:
                near.sendall(b"x")

    servers = [gevent.spawn(serve, far) for _, far in pairs]
    gevent.sleep(0)
    join(gevent.spawn(work))
    gevent.killall(servers)
    for near, far in pairs:
        near.close()
        far.close()


def test_a_conversation_goes_on_beside_uploads() -> None:
    """Two who talk over sockets get a word in between any two turns."""
    near, far = gevent.socket.socketpair()
    words = Count()
    heard = []

    def talk(sock: Any) -> None:
        while data := sock.recv(1):
            words.value += 1
            sock.sendall(data)

    # The loop is never idle while they talk.
    with hub_scheduler(deadline_seconds=0.002) as scheduler:

        def upload() -> None:
            for _ in range(10):
                scheduler.checkpoint()
                heard.append(words.value)

        with near, far, running(lambda: talk(near), lambda: talk(far)):
            gevent.sleep(0)
            near.sendall(b"x")
            join(*[gevent.spawn(upload) for _ in range(3)])
    if LIBUV:  # hears in one round what was said in the one before
        heard = heard[::2]
    assert heard == sorted(set(heard))
    assert heard[0] > 0


@needs_priorities
def test_an_idle_loop_alone_grants_a_turn(turns: Scheduler) -> None:
    """While a greenlet is ready all the time, the loop is never idle."""
    with spinning() as rounds, running(turns.checkpoint):
        wait_until(lambda: rounds.value > 500)
        assert turns.statistics().turns == 0
        assert turns.statistics().queue_length == 1
    assert rounds.value > 500


@needs_priorities
def test_the_deadline_grants_where_the_loop_is_never_idle() -> None:
    """Uploads move on a loop that is never idle, and the others run in between."""
    with hub_scheduler(deadline_seconds=0.002) as scheduler, spinning() as rounds:
        seen = []

        def work() -> None:
            for _ in range(5):
                scheduler.checkpoint()
                seen.append(rounds.value)

        join(gevent.spawn(work), gevent.spawn(work))
        statistics = scheduler.statistics()
        assert statistics.turns == statistics.grants_by_deadline == 10
        assert seen == sorted(set(seen)), "a turn without a round of the others before it"
        assert_at_rest(scheduler)


def test_uploads_move_beside_a_spinning_greenlet() -> None:
    """Whatever the loop can tell, neither starves the other."""
    with hub_scheduler(deadline_seconds=0.002) as scheduler, spinning() as rounds:
        before = rounds.value
        record: list[str] = []
        join(*[gevent.spawn(take_turns, scheduler, name, 5, record) for name in "ab"])
        assert record == list("ab") * 5
        assert rounds.value - before >= 10


@needs_priorities
def test_the_deadline_starts_anew_with_each_turn() -> None:
    """It is no clock that ticks on: what was left of it at the last turn does not count."""
    with hub_scheduler(deadline_seconds=0.05) as scheduler:
        loop: Any = get_hub().loop

        def work() -> None:
            for _ in range(3):
                scheduler.checkpoint()  # by the idle watcher: nobody else is ready
                threading.Event().wait(0.04)
                loop.update_now()

        join(gevent.spawn(work), gevent.spawn(work))
        assert scheduler.statistics().turns == 6
        assert scheduler.statistics().grants_by_deadline == 0


# Rule 3: no turn is held while waiting.


@pytest.mark.parametrize("how", ["sleep", "event", "socket", "thread"])
def test_who_waits_elsewhere_holds_nobody_up(long_turns: Scheduler, how: str) -> None:
    """Its turn is over when it lets go of the loop, and it has none when it comes back."""
    record: list[str] = []
    event = gevent.event.Event()
    native = threading.Event()
    near, far = gevent.socket.socketpair()
    waits: dict[str, Callable[[], object]] = {
        "sleep": lambda: gevent.sleep(0.02),
        "event": event.wait,
        "socket": lambda: far.recv(1),  # as a driver of a database does
        "thread": lambda: get_hub().threadpool.apply(native.wait),
    }

    def application() -> None:
        long_turns.checkpoint()
        record.append("asks")
        waits[how]()
        assert not long_turns.has_turn
        record.append("is answered")
        long_turns.checkpoint()
        assert long_turns.has_turn
        record.append("goes on")

    def uploads() -> None:
        for name in "bcd":
            long_turns.checkpoint()
            record.append(name)
            gevent.sleep(0)
        event.set()
        native.set()
        near.sendall(b"x")

    with near, far:
        join(gevent.spawn(application), gevent.spawn(uploads))
    if how == "sleep":
        record.remove("is answered")
        record.insert(-1, "is answered")
    assert record == ["asks", "b", "c", "d", "is answered", "goes on"]


def test_no_turn_before_the_first_checkpoint(turns: Scheduler) -> None:
    """A turn is taken, not given."""
    assert in_greenlet(lambda: turns.has_turn) is False


def test_a_turn_is_the_greenlets_own(long_turns: Scheduler) -> None:
    """A greenlet that the holder switches to itself has no part in the turn."""
    seen = []

    def child() -> None:
        seen.append(long_turns.has_turn)

    def parent() -> None:
        long_turns.checkpoint()
        raw_greenlet(child).switch()
        seen.append(long_turns.has_turn)

    in_greenlet(parent)
    assert seen == [False, True]


def test_who_returns_from_elsewhere_queues_at_the_end(long_turns: Scheduler) -> None:
    """Coming back is coming late."""
    record: list[str] = []

    def returns() -> None:
        take_turns(long_turns, "a", 1, record)
        gevent.sleep(0)
        take_turns(long_turns, "a again", 1, record)

    def one_turn(name: str) -> None:
        take_turns(long_turns, name, 1, record)

    join(gevent.spawn(returns), *[gevent.spawn(one_turn, name) for name in "bcd"])
    # b has its turn in the round in which a is woken, c and d were in line before a.
    assert record[0] == "a"
    assert record.index("a again") >= record.index("b")
    assert sorted(record) == ["a", "a again", "b", "c", "d"]


# Ends: kills, time-outs, exceptions.


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


@pytest.mark.skipif("GEVENT_LOOP" in os.environ, reason="runs all of this on the other loop")
def test_all_of_it_on_libuv() -> None:
    """The turns keep their rules on gevent's other loop, as far as it can keep them."""
    environment = {**os.environ, "GEVENT_LOOP": "libuv-cffi"}
    probe = "import gevent; assert 'libuv' in type(gevent.get_hub().loop).__module__"
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True)
    if found.returncode:
        pytest.skip("gevent was built without libuv")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
