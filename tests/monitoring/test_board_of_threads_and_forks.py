"""Threads and forked processes that count on one board."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from boards import new_board, shared_board, upload
from counting import AN_ID, RUNNING, begin_uploads, in_threads, pids
from forked import Forked
from live_server import wait_until
from unprivileged import NOBODY

from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import Board, Sheet, UploadRecord
from cooperative_upload.monitoring.monitor import KEPT_SECONDS
from cooperative_upload.monitoring.overview import overview
from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns.loop_probe import LoopProbe

# Threads


@pytest.fixture
def many_switches() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_switches")
def test_threads_lose_no_number(board: Board) -> None:
    """An application can have a hub in each of several threads."""

    def work() -> None:
        for _ in range(2000):
            upload().ended("complete", 200)

    in_threads(4, work)
    now = overview()
    assert (now.numbers["complete"], now.numbers["uploads"]) == (8000, 0)
    assert sum(now.arrival.counts) == 8000


def test_threads_share_no_record(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each upload has one of its own, new or used before."""
    upload().ended("complete")  # from now on it is looked whether one can be used again
    record = monitor._Process.record

    def slowly(process: Any, position: int | None) -> UploadRecord:
        time.sleep(0.01)
        return record(process, position)

    monkeypatch.setattr(monitor._Process, "record", slowly)
    for kept_seconds in (KEPT_SECONDS, 0.0):
        monkeypatch.setattr(monitor, "KEPT_SECONDS", kept_seconds)
        uploads = in_threads(4, upload)
        assert len({ctypes.addressof(each.record) for each in uploads}) == 4
        for each in uploads:
            each.ended("complete")


def test_threads_claim_one_sheet(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them counts first."""
    claim = Board.claim

    def slowly(board: Board) -> Sheet:
        time.sleep(0.05)
        return claim(board)

    monkeypatch.setattr(Board, "claim", slowly)
    sheets = in_threads(3, monitor.current_sheet)
    assert len({ctypes.addressof(sheet) for sheet in sheets}) == 1


# Forks of a process that counts


def test_a_forked_process_counts_for_itself(board: Board) -> None:
    """As one of those that share the board."""
    monitor.count("complete", 2)
    with Forked(lambda: monitor.count("complete", 5)) as child:
        child.result()
        assert monitor.current_sheet().number("complete") == 2
        assert sorted(pids(board)) == sorted([os.getpid(), child.pid])
        assert overview().numbers["complete"] == 7
        assert monitor.upload_statistics()["complete"] == 2


def test_a_forked_process_outlives_its_parent(board: Board) -> None:
    """And buries it, though it has inherited all that the parent knew as its own."""

    def count_and_fork() -> None:
        monitor.count("complete")
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            if os.fork():
                return
        while os.getppid() == parent:
            time.sleep(0.001)
        overview()
        os._exit(0)

    with Forked(count_and_fork) as parent:
        parent.result()
    wait_until(lambda: not board._sheets[0].pid, "the parent to be buried")


def test_a_process_that_is_forked_while_another_thread_looks(board: Board) -> None:
    """Looks itself, and counts: the thread is not there to end what it began."""
    with Forked(begin_uploads) as process:
        process.result()
    with board._burying, monitor._beginning:
        child = Forked(lambda: [overview().numbers["killed"], monitor.current_sheet().pid])
    with child:
        assert child.result() == [RUNNING, child.pid]


def test_a_forked_process_ends_no_upload_of_its_parent() -> None:
    """A view that forks, and whose child leaves by an exception, has its upload counted once."""
    with shared_board():
        running = upload(chosen_id=AN_ID)

        def leave() -> dict[str, int]:
            running.ended("unread")
            return overview().numbers

        with Forked(leave) as child:
            assert child.result()["unread"] == 0
        now = overview()
        assert (now.numbers["uploads"], len(now.uploads)) == (1, 1)
        running.ended("complete", 200)
        assert (overview().numbers["uploads"], overview().numbers["complete"]) == (0, 1)


def test_a_loop_that_goes_on_behind_a_fork(board: Board) -> None:
    """As where a view forks: its timer tells nothing of the parent any more."""
    probe = LoopProbe(gevent.get_hub(), UploadSettings(loop_blocked_ms=0), lambda text: None)
    probe.start()
    sheet = monitor.current_sheet()
    before = (sheet.alive, sheet.seconds, list(sheet.lag.counts))

    def go_on() -> int:
        probe._second_ends = 0.0
        probe._timer_came()
        return monitor.current_sheet().pid

    with Forked(go_on) as child:
        assert child.result() == child.pid
        assert (sheet.alive, sheet.seconds, list(sheet.lag.counts)) == before
    probe._timer.close()


def test_forked_processes_leave_the_sheets_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many an application forks, and however long they live; some of them are told."""
    monkeypatch.setattr(monitor, "_MORE_SHEETS", 2)

    def work_with_children() -> list[int]:
        """As a worker; all of them are forked before one of them ends."""
        monitor.count("complete")
        children = [Forked(lambda: monitor.count("complete")) for _ in range(6)]
        for child in children:
            child.result()
        return [child.pid for child in children]

    with shared_board(workers=1) as board, Forked(work_with_children) as worker:
        forked = worker.result()
        try:
            with Forked(lambda: monitor.count("complete")) as successor:
                successor.result()
                seen = pids(board)
                numbers = overview().numbers
                next_worker = successor.pid
        finally:
            for pid in forked:  # which would wait for each other's end
                os.kill(pid, signal.SIGKILL)
    assert (seen[1], len(seen)) == (next_worker, 4)
    assert set(seen[2:]) < set(forked)
    assert numbers["complete"] == 4


def as_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def without_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.usefixtures("kind_of_file")
@pytest.mark.parametrize("give_up", [as_nobody, without_files])
def test_a_process_with_fewer_rights(give_up: Callable[[], None]) -> None:
    """gunicorn changes the user of its workers; the memory and the locks are open already."""
    if give_up is as_nobody and os.getuid() != 0:
        pytest.skip("needs root, who may give up rights")

    def count() -> int:
        give_up()
        monitor.count("complete")
        return overview().numbers["complete"]

    with shared_board() as board, Forked(count) as child:
        assert child.result() == 1
        assert pids(board) == [child.pid]
        assert overview().numbers["complete"] == 1


def test_a_forked_process_of_one_that_shares_nothing() -> None:
    """Has numbers of its own, from 0 on."""
    with new_board():
        monitor.count("complete", 2)
        with Forked(lambda: [overview().numbers["complete"], len(overview().workers)]) as child:
            assert child.result() == [0, 0]
        with Forked(lambda: monitor.count("complete", 5)) as child:
            child.result()
            assert overview().numbers["complete"] == 2


def test_sharing_behind_the_first_number() -> None:
    """What is counted from then on is told; to share once more changes nothing."""
    with new_board():
        monitor.count("complete", 2)
        monitor.share_statistics()
        monitor.count("complete", 3)
        with Forked(lambda: monitor.count("complete", 5)) as child:
            child.result()
            monitor.share_statistics(100)
            assert overview().numbers["complete"] == 8
