"""Each process has a sheet of the board, and what is on it outlives the process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from boards import claiming
from counting import AN_ID, RECEIVED, RUNNING, begin_uploads, in_threads, pids
from forked import Forked

from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import GAUGES, NUMBERS, Board, Sheet
from cooperative_upload.monitoring.overview import find_progress, overview
from cooperative_upload.monitoring.upload_id import KEY_BYTES

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
