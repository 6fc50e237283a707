"""The board: sheets that processes claim, write, leave behind and take over."""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from boards import claiming, new_board, shared_board, upload
from forked import Forked
from live_server import wait_until
from unprivileged import NOBODY

from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import (
    CLIENT_BYTES,
    DURATION_BOUNDS,
    GAUGES,
    LAG_BOUNDS,
    METHOD_BYTES,
    NUMBERS,
    PATH_BYTES,
    RECORDS,
    Board,
    Histogram,
    Sheet,
    State,
    UploadRecord,
    copy_of,
    ending_name,
)
from cooperative_upload.monitoring.monitor import KEPT_SECONDS, Upload
from cooperative_upload.monitoring.overview import find_progress, overview
from cooperative_upload.monitoring.upload_id import KEY_BYTES
from cooperative_upload.settings import UploadSettings
from cooperative_upload.turns.loop_probe import LoopProbe

AN_ID = "0123456789abcdef"


@pytest.fixture(params=["memfd", "temporary file"])
def kind_of_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the locks are on; not every Python has os.memfd_create."""
    if request.param == "temporary file":
        monkeypatch.delattr(os, "memfd_create")


@pytest.fixture
def board() -> Iterator[Board]:
    """One that all processes share, those forked later too."""
    with shared_board() as board:
        yield board


def pids(board: Board) -> list[int]:
    return [sheet.pid for sheet in board.sheets()]


# Sheets and processes


def count_complete(sheet: Sheet) -> int:
    sheet.add("complete", 3)
    return sheet.number("complete")


@pytest.mark.usefixtures("kind_of_file")
def test_each_process_has_a_sheet_of_its_own() -> None:
    """And all can read it while it runs."""
    board = Board(3)
    with claiming(board, count_complete) as one, claiming(board, count_complete) as other:
        assert (one.result(), other.result()) == (3, 3)
        assert sorted(pids(board)) == sorted([one.pid, other.pid])
        assert [sheet.number("complete") for sheet in board.sheets()] == [3, 3]


@pytest.mark.usefixtures("kind_of_file")
@pytest.mark.parametrize("leave", [Forked.end, Forked.die])
def test_a_sheet_goes_on_with_its_numbers(leave: Callable[[Forked], None]) -> None:
    """The next process adds to what it finds."""
    board = Board(3)
    with claiming(board, count_complete) as first:
        first.result()
        (before,) = [sheet.began for sheet in board.sheets()]
        leave(first)
    assert pids(board) == [0]
    with claiming(board, count_complete) as second:
        assert second.result() == 6
        (sheet,) = board.sheets()
        assert (sheet.pid, sheet.number("complete")) == (second.pid, 6)
        assert sheet.began > before


def test_a_sheet_is_not_taken_from_who_runs() -> None:
    """However many look at it."""
    board = Board(2)
    with claiming(board, count_complete) as one:
        one.result()
        for _ in range(3):
            assert pids(board) == [one.pid]
        with claiming(board, count_complete) as other:
            assert other.result() == 3
            assert pids(board) == [one.pid, other.pid]


def test_who_looks_claims_nothing(board: Board) -> None:
    """The arbiter, or a program beside the workers, is no worker."""
    assert overview().workers == []
    with Forked(lambda: len(overview().workers)) as reader:
        assert reader.result() == 0
    monitor.count("complete")
    assert [worker.pid for worker in overview().workers] == [os.getpid()]


def test_who_looked_leaves_the_sheet_to_the_next() -> None:
    """A reader that buried a process holds no lock on its sheet."""
    board = Board(1)
    with claiming(board, count_complete) as first:
        first.result()
    assert pids(board) == [0]
    with claiming(board, count_complete) as second:
        assert second.result() == 6


def test_all_sheets_are_used() -> None:
    """Each by one process, in their order; one that tells others needs none of them."""
    board = Board(2)
    with claiming(board) as one:
        one.result()
        with claiming(board) as other, board.telling() as alone:
            other.result()
            assert alone
            assert pids(board) == [one.pid, other.pid]


def test_who_accounts_for_the_dead_keeps_its_own_sheet() -> None:
    """Behind theirs; and who comes later takes theirs alone."""
    board = Board(2)
    with claiming(board) as first:
        first.result()
        board.claim()
        first.die()
    assert pids(board) == [0, os.getpid()]
    with claiming(board) as second:
        second.result()
        with claiming(board) as third:
            third.result()
            assert pids(board) == [second.pid, os.getpid()]


def test_who_tells_others_leaves_the_sheets_alone() -> None:
    """Its own is not given away with the right to tell."""
    board = Board(2)
    with claiming(board) as first:
        first.result()
        board.claim()
        with board.telling() as alone, claiming(board) as late:
            assert alone
            late.result()
        with claiming(board) as later:
            later.result()
            assert pids(board) == [first.pid, os.getpid()]


def test_a_key_that_the_end_of_another_begins() -> None:
    """What looks like it, one byte before it, does not hide it; and is none itself."""
    sheet = Sheet()
    sheet.records_used = 3
    for position in range(3):
        sheet.records[position].number = 1 + position
        sheet.records[position].path = b"/%d" % position
    key, other = b"\x01" * KEY_BYTES, b"\x02" * (KEY_BYTES - 1) + b"\x01"
    sheet.keys[0].raw = key
    sheet.keys[1].raw = other
    sheet.keys[2].raw = key
    assert [record.path for record in sheet.uploads_with(key)] == [b"/0", b"/2"]
    assert [record.path for record in sheet.uploads_with(other)] == [b"/1"]


def test_more_processes_than_sheets() -> None:
    """The others count for themselves, and the next takes the place of one that has gone."""
    board = Board(1)

    def count_and_look(sheet: Sheet) -> list[list[int]]:
        sheet.add("complete", 5)
        return [[each.pid, each.number("complete")] for each in board.sheets()]

    with claiming(board, count_complete) as first:
        first.result()
        with claiming(board, count_and_look) as second:
            assert second.result() == [[first.pid, 3], [second.pid, 5]]
            assert pids(board) == [first.pid]
            first.die()
            with claiming(board, count_complete) as third:
                assert third.result() == 6
                assert pids(board) == [third.pid]


def test_what_a_dead_process_held_is_gone() -> None:
    """Its gauges are 0, and it is silent no more; what it counted stays."""
    board = Board(1)

    def count(sheet: Sheet) -> None:
        for name in NUMBERS:
            sheet.add(name, 10)
        sheet.alive = time.monotonic()

    with claiming(board, count) as process:
        process.result()
    (sheet,) = board.sheets()
    numbers = dict(zip(NUMBERS, sheet.numbers, strict=True))
    # Ten uploads ran, of which there are no records.
    assert numbers == {**dict.fromkeys(NUMBERS, 10), **dict.fromkeys(GAUGES, 0), "killed": 20}
    assert (sheet.pid, sheet.alive) == (0, 0.0)


# Uploads of a process that dies

RUNNING = 50
RECEIVED = 1000


def begin_uploads() -> None:
    for _ in range(RUNNING):
        upload(chosen_id=AN_ID).record.received = RECEIVED
    upload().ended("complete", 200)


def test_uploads_of_a_dead_process_are_killed(board: Board) -> None:
    """With the bytes that they had, and whoever asks by their id is told."""
    with Forked(begin_uploads) as process:
        process.result()
        now = overview()
        assert (now.numbers["uploads"], len(now.uploads)) == (RUNNING, RUNNING)
        assert now.numbers["killed"] == now.numbers["bytes"] == 0
    now = overview()
    assert (now.uploads, now.workers) == ([], [])
    assert now.numbers == {
        **dict.fromkeys(NUMBERS, 0),
        "complete": 1,
        "killed": RUNNING,
        "bytes": RUNNING * RECEIVED,
    }
    progress = find_progress(AN_ID)
    assert progress is not None
    assert (progress.state, progress.ending, progress.received) == ("error", "killed", RECEIVED)


def test_killed_uploads_are_counted_once(board: Board) -> None:
    """Also where several look and another claims the sheet at the same moment."""
    for dead in range(1, 11):
        with Forked(begin_uploads) as process:
            process.result()
        start = time.monotonic() + 0.02

        def look(start: float = start) -> None:
            wait_for(start)
            overview()

        def claim(start: float = start) -> None:
            wait_for(start)
            monitor.current_sheet()

        with Forked(look) as one, Forked(look) as two, Forked(claim) as claimant:
            for each in (one, two, claimant):
                each.result()
            assert overview().numbers["killed"] == RUNNING * dead


def wait_for(start: float) -> None:
    while time.monotonic() < start:
        pass


def test_killed_uploads_are_counted_once_by_threads(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one process, which all have its locks."""
    with Forked(begin_uploads) as process:
        process.result()
    bury = Sheet.bury

    def slowly(sheet: Sheet) -> None:
        pid = sheet.pid
        time.sleep(0.05)
        sheet.pid = pid  # as it was found
        bury(sheet)

    monkeypatch.setattr(Sheet, "bury", slowly)
    in_threads(3, board.sheets)
    assert overview().numbers["killed"] == RUNNING


def in_threads(number: int, do: Callable[[], object]) -> list[Any]:
    """What each of so many threads got, that did it at once."""
    results: list[Any] = []
    barrier = threading.Barrier(number)

    def run() -> None:
        barrier.wait()
        results.append(do())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == number
    return results


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


# Records


def test_more_uploads_than_records(board: Board) -> None:
    """All are counted; those beyond are not told one by one."""
    uploads = [upload() for _ in range(RECORDS + 10)]
    now = overview()
    assert (now.numbers["uploads"], len(now.uploads)) == (RECORDS + 10, RECORDS)
    for each in uploads:
        each.record.received = 7
        each.ended("complete", 200)
    now = overview()
    assert (now.numbers["uploads"], now.uploads) == (0, [])
    assert (now.numbers["complete"], now.numbers["bytes"]) == (RECORDS + 10, 7 * (RECORDS + 10))
    assert len({ctypes.addressof(upload().record) for _ in range(RECORDS)}) == RECORDS


def test_uploads_without_a_record_are_killed_too(board: Board) -> None:
    def begin() -> None:
        monitor.running = [upload() for _ in range(RECORDS + 10)]  # type: ignore[attr-defined]

    with Forked(begin) as process:
        process.result()
    assert overview().numbers["killed"] == RECORDS + 10


def test_a_record_is_kept_as_long_as_there_are_others(board: Board) -> None:
    """Who asks for an upload that has ended finds it, until all others were used."""
    upload(chosen_id=AN_ID).ended("complete", 200)
    for _ in range(RECORDS - 1):
        upload().ended("complete", 200)
        assert find_progress(AN_ID) is not None
    upload().ended("complete", 200)
    assert find_progress(AN_ID) is None


def test_records_are_used_in_the_order_of_their_ends(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once they need not be kept any more, and not before."""
    uploads = [upload() for _ in range(4)]
    places = [ctypes.addressof(each.record) for each in uploads]
    for position in (2, 0, 3):
        uploads[position].ended("complete", 200)
    assert ctypes.addressof(upload().record) not in places
    monkeypatch.setattr(monitor, "KEPT_SECONDS", 0.0)
    again = [ctypes.addressof(upload().record) for _ in range(3)]
    assert again == [places[2], places[0], places[3]]
    assert ctypes.addressof(upload().record) not in places


def test_the_next_process_uses_the_oldest_records_first(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that the last one left."""

    def leave_some() -> None:
        uploads = [upload(path=f"/{position}") for position in range(3)]
        for position in (2, 0, 1):
            uploads[position].ended("complete", 200)

    with Forked(leave_some) as process:
        process.result()
    monkeypatch.setattr(monitor, "KEPT_SECONDS", 0.0)
    assert [upload().record.number for _ in range(4)] == [2, 2, 2, 1]
    records = monitor.current_sheet().records
    begun = sorted(range(4), key=lambda position: float(records[position].began))
    assert begun == [2, 0, 1, 3]


def test_an_end_is_told_for_a_while(board: Board) -> None:
    """KEPT_SECONDS, and not for ever."""
    running = upload(chosen_id=AN_ID)
    kept = running.record
    running.ended("complete", 200)
    progress = find_progress(AN_ID)
    assert progress is not None
    assert progress.state == "done"
    kept.ended -= KEPT_SECONDS - 1
    assert find_progress(AN_ID) == progress
    kept.ended -= 2
    assert find_progress(AN_ID) is None


def test_what_is_told_of_an_upload_behind_its_end_is_its_own(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may use its record, while an access log is written or a body is read on."""
    monkeypatch.setattr(monitor, "KEPT_SECONDS", 0.0)
    first = upload(path="/first")
    first.record.received = 5
    first.ended("complete", 200)
    second = upload(path="/second")
    first.record.received = 6
    assert (second.record.path, second.record.received) == (b"/second", 0)
    assert (first.record.path, first.record.status) == (b"/first", 200)


def test_a_record_that_was_being_taken_over_by_a_process_that_died(board: Board) -> None:
    """Is the first that is used again, and was no upload."""

    def die_in_the_middle() -> None:
        upload().ended("complete", 200)
        upload().record.number = 0
        monitor.count("uploads", -1)  # it is counted when all is written

    with Forked(die_in_the_middle) as process:
        process.result()
    now = overview()
    assert (now.uploads, now.numbers["killed"]) == ([], 0)
    upload(path="/next")
    assert monitor.current_sheet().records[1].path == b"/next"


# What is read while it is written


def test_a_record_that_changes_hands_is_not_read() -> None:
    record = UploadRecord()
    assert copy_of(record) is None
    record.number = 1
    copy = copy_of(record)
    assert copy is not None
    record.path = b"/later"
    assert copy.path == b""


def test_no_upload_is_made_of_two(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process begins and ends uploads in one record, and another reads it meanwhile."""
    monkeypatch.setattr(monitor, "RECORDS", 1)

    def upload_without_end() -> None:
        for number in itertools.count():
            text = str(1 + number % 9) * (10 if number % 2 else METHOD_BYTES)
            Upload(text, text, text, int(text)).ended("complete", 200)

    seen: set[str] = set()
    with Forked(upload_without_end):
        deadline = time.monotonic() + 20
        while len(seen) < 9:
            assert time.monotonic() < deadline
            for _ in range(100):
                for each in overview().uploads:
                    assert each.method == each.path == each.client == str(each.expected)
                    seen.add(each.method)


def test_an_address_that_is_known_later_is_read_whole(board: Board) -> None:
    """The number is away while it is written."""
    running = upload(client="10.0.0.1")
    numbers = []

    class Watched(UploadRecord):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "client":
                numbers.append(self.number)
            super().__setattr__(name, value)

    before = running.record.number
    running.record = Watched.from_buffer(running.record)
    running.client_is("192.168.100.200")
    assert numbers == [0]
    assert running.record.number == before
    assert [each.client for each in overview().uploads] == ["192.168.100.200"]


@pytest.mark.parametrize("structure", [UploadRecord, Histogram, Sheet])
def test_numbers_are_aligned(structure: type[ctypes.Structure]) -> None:
    """The processor writes them in one go, so that nobody reads half of one."""
    for name, *_ in structure._fields_:
        assert getattr(structure, name).offset % 8 == 0, name
    assert ctypes.sizeof(structure) % 8 == 0


# Texts


TEXTS = {
    "ASCII": ("/form", "/form"),
    "empty": ("", ""),
    "UTF-8": ("/Gr\u00fc\u00dfe/\U0001f600", "/Gr\u00fc\u00dfe/\U0001f600"),
    "bytes that are not UTF-8": ("/a\udcff\udcfeb", "/a\ufffd\ufffdb"),
    "a NUL": ("/a\0b", "/a"),
    "as long as can be": ("/" + "a" * (PATH_BYTES - 1), "/" + "a" * (PATH_BYTES - 1)),
    "too long": ("/" + "a" * 5000, "/" + "a" * (PATH_BYTES - 1)),
    "cut within a character": (
        "/" + "\u20ac" * 200,
        "/" + "\u20ac" * ((PATH_BYTES - 1) // 3) + "\ufffd",
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_paths(board: Board, text: str) -> None:
    """Whatever a client sends there; the upload itself has all of it, for the log."""
    path, told = TEXTS[text]
    running = upload(path=path)
    assert [each.path for each in overview().uploads] == [told]
    assert running.path == path
    running.ended("complete")


def test_a_short_text_behind_a_long_one(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of the record's last upload."""
    monkeypatch.setattr(monitor, "KEPT_SECONDS", 0.0)
    upload(path="/" + "a" * 5000, client="c" * 200, method="M" * 200).ended("complete")
    running = upload(path="/b", client="d", method="PUT")
    assert running.record.number == 2
    (told,) = overview().uploads
    assert (told.path, told.client, told.method) == ("/b", "d", "PUT")


def test_methods_and_clients_that_are_too_long(board: Board) -> None:
    """An address is at most 45 characters long; a method is what a client calls it."""
    upload(client="c" * 200, method="M" * 200)
    (told,) = overview().uploads
    assert (told.client, told.method) == ("c" * CLIENT_BYTES, "M" * METHOD_BYTES)


# Histograms


def classes(bounds: tuple[float, ...], *values: float) -> dict[int, int]:
    """How many values are in each class that has any."""
    histogram = Histogram()
    for value in values:
        histogram.observe(bounds, value)
    assert histogram.sum == sum(values)
    return {position: count for position, count in enumerate(histogram.counts) if count}


@pytest.mark.parametrize("bounds", [LAG_BOUNDS, DURATION_BOUNDS])
def test_classes_of_a_histogram(bounds: tuple[float, ...]) -> None:
    """Each goes up to its bound, which belongs to it; what is above all has one of its own."""
    for position, bound in enumerate(bounds):
        assert classes(bounds, bound) == {position: 1}
        assert classes(bounds, bound * 0.999) == {position: 1}
        assert classes(bounds, bound * 1.001) == {position + 1: 1}
    assert classes(bounds, 0.0) == {0: 1}
    assert classes(bounds, bounds[-1] * 1e6) == {len(bounds): 1}
    assert classes(bounds, *bounds) == dict.fromkeys(range(len(bounds)), 1)


@pytest.mark.parametrize("bounds", [LAG_BOUNDS, DURATION_BOUNDS])
def test_there_is_room_for_all_classes(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
    assert len(bounds) < len(Histogram().counts)


def test_names_of_endings(board: Board) -> None:
    """A record tells by which name its upload was counted."""
    for name in ("complete", "drained", "killed"):
        running = upload()
        running.ended(name)
        assert ending_name(running.record) == name


def test_states_are_numbers_of_their_own() -> None:
    values = [value for name, value in vars(State).items() if name.isupper()]
    assert values == list(range(5))
