"""The rules of the turns: one at a time, everyone else first, none held while waiting.

The order and the number of turns are tested, never how long they took. With a slice of 0 each
checkpoint ends a turn, with a slice of FOREVER none does, and with a deadline of FOREVER only an
idle loop grants one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.hub
import gevent.socket
import pytest
from gevent.hub import get_hub
from greenlet import greenlet as raw_greenlet
from greenlets import Count, hub_scheduler, in_greenlet, join, running, spinning, wait_until
from turns_taken import LIBUV, assert_at_rest, needs_priorities, take_turns

from cooperative_upload.turns.scheduler import Scheduler

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
