"""Writer: calls that may block, made by threads of their own while the loop goes on."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import psutil
import pytest
from disk import busy_disk
from gevent.hub import get_hub
from greenlets import DEADLINE, hub_writer, in_greenlet, join, spinning, wait_until

from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns import writer
from cooperative_upload.turns.writer import DirectWriter, ThreadWriter, current_writer

SETTINGS = UploadSettings()


@pytest.fixture(autouse=True)
def own_writer() -> Iterator[None]:
    """A new writer for each test."""
    with hub_writer():
        yield


def fails() -> None:
    raise ZeroDivisionError("no such number")


# What both kinds do.


@pytest.fixture(params=["greenlet", "no hub"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], Any]:
    """Runs a function where threads write, or where it is done at once."""
    return in_greenlet if request.param == "greenlet" else lambda function: function()


def test_a_job_gives_its_result(run: Callable[[Callable[[], Any]], Any]) -> None:
    """As often as one asks; it is done then."""

    def test() -> None:
        job = current_writer(SETTINGS).start(divmod, 17, 5)
        assert job.result() == (3, 2)
        assert job.done
        assert job.result() == (3, 2)

    run(test)


def test_a_job_raises_its_error(
    run: Callable[[Callable[[], Any]], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the result is asked for, with the class and the text, and printed nowhere."""

    def test() -> None:
        job = current_writer(SETTINGS).start(fails)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="no such number"):
                job.result()

    run(test)
    assert capfd.readouterr().err == ""


def test_start_soon(run: Callable[[Callable[[], Any]], Any]) -> None:
    """The call is made, and nobody waits for it."""
    made = threading.Event()
    run(lambda: current_writer(SETTINGS).start_soon(made.set))
    wait_until(made.is_set)


# Which.


def test_without_a_hub_the_work_is_done_at_once() -> None:
    """In this thread; a plain thread gets no hub of it."""
    seen: list[Any] = []

    def plain() -> None:
        chosen = current_writer(SETTINGS)
        chosen.start_soon(lambda: seen.append(threading.get_ident()))
        job = chosen.start(threading.get_ident)
        assert job.done
        seen.extend([job.result(), type(chosen), gevent.hub._get_hub()])  # type: ignore[attr-defined]

    thread = threading.Thread(target=plain)
    thread.start()
    thread.join(DEADLINE)
    assert seen == [thread.ident, thread.ident, DirectWriter, None]


def test_in_the_hub_the_work_is_done_at_once() -> None:
    """A callback of the loop can't wait for a thread."""
    seen: list[type] = []
    get_hub().loop.run_callback(lambda: seen.append(type(current_writer(SETTINGS))))
    gevent.sleep(0)
    assert seen == [DirectWriter]


def test_one_for_each_hub() -> None:
    """The first caller's settings give the number of its threads."""
    first = in_greenlet(lambda: current_writer(UploadSettings(writer_threads=3)))
    assert isinstance(first, ThreadWriter)
    assert first._pool.maxsize == 3
    assert in_greenlet(lambda: current_writer(SETTINGS)) is first


def test_it_is_not_the_hubs_own_pool() -> None:
    """A slow disk must not stop the resolution of host names."""
    with busy_disk(SETTINGS):
        pool: Any = get_hub().threadpool
        assert pool.spawn(lambda: "resolved").get(timeout=DEADLINE) == "resolved"


def test_the_loop_goes_on_meanwhile() -> None:
    """While a call blocks, everyone else runs."""
    with busy_disk(SETTINGS) as released, spinning() as rounds:
        wait_until(lambda: rounds.value > 500)
        assert not released.is_set()


@pytest.mark.parametrize("threads", [1, 3])
def test_as_many_threads_as_set(threads: int) -> None:
    """So many calls run at once, and not one more."""
    settings = UploadSettings(writer_threads=threads)
    release = threading.Event()
    lock, running, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        release.wait(DEADLINE)
        with lock:
            running -= 1

    jobs = [gevent.spawn(lambda: current_writer(settings).start(work).result()) for _ in range(9)]
    wait_until(lambda: running == threads)
    with spinning() as rounds:
        wait_until(lambda: rounds.value > 200)
    assert running == threads
    release.set()
    join(*jobs)
    assert most == threads


def test_jobs_of_one_thread_keep_their_order() -> None:
    """What was handed over first is done first."""
    done: list[int] = []

    def hand_over() -> None:
        jobs = [current_writer(SETTINGS).start(done.append, number) for number in range(20)]
        for job in jobs:
            job.result()

    in_greenlet(hand_over)
    assert done == list(range(20))


def test_start_waits_while_the_threads_are_busy() -> None:
    """One call runs, one is queued; the third waits, and is not made if its greenlet is killed."""
    made: list[str] = []

    def hand_over(name: str) -> None:
        current_writer(SETTINGS).start(made.append, name)

    with busy_disk(SETTINGS) as released:
        in_greenlet(lambda: hand_over("queued"))
        third = gevent.spawn(hand_over, "killed")
        fourth = gevent.spawn(hand_over, "waited")
        gevent.sleep(0.01)
        assert not third.ready()
        assert not fourth.ready()
        third.kill()
        released.set()
        join(fourth)
        wait_until(lambda: "waited" in made)
        # Another that is behind all of them.
        in_greenlet(lambda: current_writer(SETTINGS).start(int).result())
        assert made == ["queued", "waited"]


def test_start_soon_never_waits() -> None:
    """Also where the threads are busy and others wait: that is how files are closed."""
    made: list[int] = []
    with busy_disk(SETTINGS) as released:

        def hand_over() -> None:
            for number in range(10):
                current_writer(SETTINGS).start_soon(made.append, number)

        in_greenlet(hand_over)
        assert made == []
        released.set()
        wait_until(lambda: len(made) == 10)
        assert sorted(made) == list(range(10))


def test_done_tells_whether_the_result_is_there() -> None:
    """False while the call is queued or runs."""
    with busy_disk(SETTINGS) as released:
        job = in_greenlet(lambda: current_writer(SETTINGS).start(int))
        assert not job.done
        released.set()
        wait_until(lambda: job.done)
        assert in_greenlet(job.result) == 0


def test_killed_while_it_waits_for_a_result() -> None:
    """The call is made all the same."""
    made = threading.Event()
    with busy_disk(SETTINGS) as released:
        waiting = gevent.spawn(lambda: current_writer(SETTINGS).start(made.set).result())
        gevent.sleep(0)
        waiting.kill()
        assert not made.is_set()
        released.set()
        wait_until(made.is_set)


def test_threads_end_with_the_thread_of_their_hub() -> None:
    """Those of a hub that is gone do not stay."""
    idents: list[int] = []

    def with_a_hub() -> None:
        def write() -> None:
            idents.append(current_writer(SETTINGS).start(threading.get_native_id).result())

        gevent.spawn(write).join()
        get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=with_a_hub)
    thread.start()
    thread.join(DEADLINE)
    assert len(idents) == 1
    wait_until(lambda: idents[0] not in {each.id for each in psutil.Process().threads()})


def test_threads_stay_while_their_hub_does() -> None:
    """One is not started for each write."""
    idents = set()
    for _ in range(3):
        idents.add(
            in_greenlet(lambda: current_writer(SETTINGS).start(threading.get_ident).result())
        )
        gc.collect()
        gevent.sleep(0.01)
    assert len(idents) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="no such priorities")
def test_writing_threads_yield_the_core_to_the_loop() -> None:
    """They are nicer than the process by the setting, and the loop's own thread is not."""
    settings = UploadSettings(writer_nice=7)

    def nice_of_the_writing_thread() -> int:
        job = current_writer(settings).start(os.getpriority, os.PRIO_PROCESS, 0)
        return int(job.result())

    own = os.getpriority(os.PRIO_PROCESS, 0)
    with hub_writer():
        for _ in range(2):  # once for each thread, not for each call
            assert in_greenlet(nice_of_the_writing_thread) == min(own + 7, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


@pytest.mark.parametrize(("platform", "times"), [("linux", 1), ("darwin", 0), ("freebsd14", 0)])
def test_priorities_are_set_where_they_are_those_of_threads(
    monkeypatch: pytest.MonkeyPatch, platform: str, times: int
) -> None:
    """Elsewhere the loop would be nicer too, and stay so."""
    asked: list[int] = []
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "nice", asked.append)
    settings = UploadSettings(writer_nice=7)
    with hub_writer():
        in_greenlet(lambda: current_writer(settings).start(bool).result())
    assert asked == [7] * times


# Calls that hang.


class HangingCalls:
    """Calls that last until they are let go, and how many of them have begun."""

    def __init__(self) -> None:
        self.begun = 0
        self._go = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self.begun += 1
        self._go.wait(2 * DEADLINE)

    def wait_until_begun(self) -> None:
        wait_until(lambda: self.begun > 0)

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def hanging() -> Iterator[HangingCalls]:
    """Let go in the end, whatever became of the test."""
    calls = HangingCalls()
    yield calls
    calls.let_go()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call hangs after a fiftieth of the usual time."""
    monkeypatch.setattr(writer, "_HANGS_AFTER", 0.02)
    monkeypatch.setattr(writer, "_LOOK_EVERY", 0.005)


def threads() -> set[int]:
    """Those of this process, as the system numbers them."""
    return {each.id for each in psutil.Process().threads()}


def waiting_for(settings: UploadSettings, function: Callable[[], Any]) -> Any:
    """A greenlet that hands a call over and waits for it."""
    return gevent.spawn(lambda: current_writer(settings).start(function).result())


def done_by(settings: UploadSettings, function: Callable[[], Any]) -> Any:
    """What a call returns that is handed over now."""
    return in_greenlet(lambda: current_writer(settings).start(function).result())


def test_a_call_that_hangs_holds_up_no_other(hanging: HangingCalls) -> None:
    """After a second another thread takes its place."""
    jobs = [waiting_for(SETTINGS, hanging)]
    hanging.wait_until_begun()
    assert done_by(SETTINGS, lambda: "done") == "done"
    assert not jobs[0].ready()
    hanging.let_go()
    join(*jobs)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("number", [2, 5])
def test_one_thread_for_each_that_hangs(hanging: HangingCalls, number: int) -> None:
    """Several of them, and files are closed all the same; afterwards all is as it was."""
    settings = UploadSettings(writer_spare_threads=number)
    done_by(settings, int)
    before = threads()
    jobs = [waiting_for(settings, hanging) for _ in range(number)]
    wait_until(lambda: hanging.begun == number)
    assert done_by(settings, lambda: "done") == "done"
    closed = threading.Event()
    in_greenlet(lambda: current_writer(settings).start_soon(closed.set))
    wait_until(closed.is_set)
    assert len(threads() - before) == number
    hanging.let_go()
    join(*jobs)
    wait_until(lambda: len(threads()) == len(before))
    assert done_by(settings, lambda: "done") == "done"


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("spare", [0, 1, 3])
def test_not_more_than_the_spare_threads(hanging: HangingCalls, spare: int) -> None:
    """When all of them hang too, the others wait."""
    settings = UploadSettings(writer_threads=2, writer_spare_threads=spare)
    before = threads()
    jobs = [waiting_for(settings, hanging) for _ in range(2 + spare + 4)]
    wait_until(lambda: hanging.begun == 2 + spare)
    gevent.sleep(0.1)  # several times that after which the next would get a thread
    assert hanging.begun == 2 + spare
    assert len(threads() - before) == 2 + spare
    hanging.let_go()
    join(*jobs)
    wait_until(lambda: len(threads() - before) == 2)


@pytest.mark.usefixtures("soon")
def test_threads_do_not_add_up() -> None:
    """Of many times that a call hangs no thread is left, and no greenlet that looks after it."""
    before = threads()
    own_writer = in_greenlet(lambda: current_writer(SETTINGS))
    for _ in range(10):
        hanging = HangingCalls()
        job = waiting_for(SETTINGS, hanging)
        hanging.wait_until_begun()
        assert done_by(SETTINGS, lambda: "done") == "done"
        assert len(greenlets_of(own_writer)) == 1
        hanging.let_go()
        join(job)
        wait_until(lambda: not greenlets_of(own_writer))
    wait_until(lambda: len(threads() - before) == 1)


def greenlets_of(owner: Any) -> list[Any]:
    """The living greenlets that run a method of an object."""
    return [
        each
        for each in gc.get_objects()
        # Not isinstance(), which asks Django's lazy settings for a class that they don't know yet.
        if issubclass(type(each), gevent.Greenlet)
        and not each.ready()
        and getattr(vars(each).get("_run"), "__self__", None) is owner
    ]


@pytest.mark.usefixtures("soon")
def test_a_thread_that_came_late_is_nice_too(hanging: HangingCalls) -> None:
    """A spare one competes with the loop as the first does."""
    settings = UploadSettings(writer_nice=3)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    job = waiting_for(settings, hanging)
    hanging.wait_until_begun()
    nice = done_by(settings, lambda: os.getpriority(os.PRIO_PROCESS, 0))
    assert nice == min(own + 3, 19)
    hanging.let_go()
    join(job)
