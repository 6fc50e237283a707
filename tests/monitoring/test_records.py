"""Records of single uploads: whose they are, what is read while they are written, their texts."""

from __future__ import annotations

import ctypes
import itertools
import time
from typing import Any

import pytest
from boards import upload
from counting import AN_ID
from forked import Forked

from cooperative_upload.monitoring import monitor
from cooperative_upload.monitoring.board import (
    CLIENT_BYTES,
    METHOD_BYTES,
    PATH_BYTES,
    RECORDS,
    Board,
    Histogram,
    Sheet,
    UploadRecord,
    copy_of,
)
from cooperative_upload.monitoring.monitor import KEPT_SECONDS, Upload
from cooperative_upload.monitoring.overview import find_progress, overview

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
    numbers = itertools.count()

    def other() -> Upload:
        return upload(chosen_id=f"{AN_ID}-{next(numbers)}")

    upload(chosen_id=AN_ID).ended("complete", 200)
    for _ in range(RECORDS - 1):
        other().ended("complete", 200)
        assert find_progress(AN_ID) is not None
    other().ended("complete", 200)
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
