"""How far the upload with an id is: what is found of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from progress_of_uploads import ID, begin, found

from cooperative_upload.monitoring import board, monitor
from cooperative_upload.monitoring.board import RECORDS, Board, Sheet, UploadRecord
from cooperative_upload.monitoring.monitor import KEPT_SECONDS
from cooperative_upload.monitoring.overview import Progress, find_progress
from cooperative_upload.monitoring.upload_id import key_of


@pytest.mark.parametrize(
    ("ending", "status", "expected"),
    [
        ("complete", 200, "done"),
        ("complete", 303, "done"),
        ("drained", 200, "done"),  # nobody read it, and its client was told that all is well
        ("complete", 0, "error"),  # the application failed, and the server answered
        ("complete", 500, "error"),
        ("complete", 422, "error"),
        ("drained", 401, "error"),
        ("unread", 200, "error"),
        ("unread", 413, "error"),
        ("incomplete", 400, "error"),
        ("incomplete", 0, "error"),
        ("incomplete", 200, "error"),
        ("corrupt", 400, "error"),
        ("killed", 0, "error"),
        ("killed", 503, "error"),
        ("turned_away", 503, "error"),
        ("not_stored", 507, "error"),
    ],
)
def test_the_states_of_an_upload(ending: str, status: int, expected: str) -> None:
    """ "done" is what came whole and was accepted, and nothing else."""
    upload = begin()
    assert found() == Progress("uploading", 0, 100, 0.0, 0, None)
    upload.record.received, upload.record.rate = 60, 12.5
    assert found() == Progress("uploading", 60, 100, 12.5, 0, None)
    upload.ended(ending, status)
    assert found() == Progress(expected, 60, 100, 12.5, status, ending)


def test_every_ending_has_a_state() -> None:
    for ending in board.ENDINGS:
        upload = begin()
        upload.ended(ending, 200)
        assert found().state == ("done" if ending in ("complete", "drained") else "error")


def test_refused_before_it_has_ended() -> None:
    """The response is out, and what is left of the body is thrown away."""
    begin().record.status = 403
    assert (found().state, found().status, found().ending) == ("error", 403, None)


def test_an_unknown_size() -> None:
    begin(expected=None, received=7)
    assert (found().received, found().size) == (7, None)


def test_none_is_found() -> None:
    """By another id, or by none; not one without an id either."""
    begin()
    begin("")
    assert find_progress(ID + "x") is None
    assert find_progress(ID[:-1]) is None
    assert find_progress("") is None


def test_the_newest_counts() -> None:
    """A retry with the same id, while the server has not noticed the end of the first."""
    first = begin(received=50)
    begin(received=1)
    assert found().received == 1
    first.ended("incomplete")
    assert (found().state, found().received) == ("uploading", 1)


def test_the_newest_counts_wherever_it_is(new_board: Board) -> None:
    """Of several workers; clocks are the same for all processes."""
    begin(received=50)
    other = new_board._sheets[2]
    other.began = 1.0
    other.records_used = 1
    record = other.records[0]
    record.received, record.number, record.began = 1, 1, time.monotonic()
    other.keys[0].raw = key_of(ID)
    assert found().received == 1
    record.began -= 3600
    assert found().received == 50


def test_it_is_kept_for_a_while() -> None:
    upload = begin()
    record = upload.record
    upload.ended("complete", 200)
    assert found().state == "done"
    record.ended -= KEPT_SECONDS - 1
    assert found().state == "done"
    record.ended -= 2
    assert find_progress(ID) is None


def test_a_record_has_one_upload_at_a_time() -> None:
    """Who had it before is not found by it any more, whether or not the next has an id."""
    uploads = [begin(f"{ID}-{i}") for i in range(RECORDS)]
    assert find_progress(f"{ID}-0") is not None
    for upload in uploads[:2]:
        upload.ended("complete", 200)
    begin("")
    begin(ID)
    assert find_progress(f"{ID}-0") is None
    assert find_progress(f"{ID}-1") is None
    assert found().state == "uploading"
    begin("one-more-than-there-are-records")  # receives all the same, and is not told of
    assert find_progress("one-more-than-there-are-records") is None
    assert find_progress(f"{ID}-{RECORDS - 1}") is not None


def test_half_a_key_next_to_another_is_none(new_board: Board) -> None:
    """Keys lie side by side: what begins in one and goes on in the next is neither."""
    begin("first-of-the-two-ids")
    begin("second-of-the-two-ids")
    sheet = monitor.current_sheet()
    key = bytes(sheet.keys)[5 : 5 + len(key_of(ID))]
    assert list(sheet.uploads_with(key)) == []
    assert len(list(sheet.uploads_with(key_of("second-of-the-two-ids")))) == 1


def interrupted(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Something happens to a record just before it is copied."""

    def copy(record: UploadRecord) -> UploadRecord:
        change()
        return UploadRecord.from_buffer_copy(record)

    monkeypatch.setattr(board, "UploadRecord", SimpleNamespace(from_buffer_copy=copy))


def test_a_record_that_is_not_written_to_its_end() -> None:
    begin().record.number = 0
    assert find_progress(ID) is None


def one_free_record() -> None:
    """The next upload gets the record of one with ID, which has just ended."""
    upload = begin()
    for i in range(1, RECORDS):
        begin(f"{ID}-{i}")
    upload.ended("complete", 200)


@pytest.mark.parametrize("next_id", ["another-id-of-another", ID])
def test_a_record_that_is_given_away_while_it_is_copied(
    monkeypatch: pytest.MonkeyPatch, next_id: str
) -> None:
    """What one upload has is never told of another, nor of itself what the last one had."""
    one_free_record()
    interrupted(monkeypatch, lambda: begin(next_id, received=77))
    assert find_progress(ID) is None


def test_a_record_that_is_given_away_before_it_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But after its key was found."""
    one_free_record()
    look = Sheet._positions_to_look_at

    def positions(sheet: Sheet, key: bytes) -> list[int]:
        found = list(look(sheet, key))
        begin("another-id-of-another", received=77)
        return found

    monkeypatch.setattr(Sheet, "_positions_to_look_at", positions)
    assert find_progress(ID) is None


def test_an_end_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told is how far it was at the most, not an end with the bytes of before."""
    upload = begin()
    interrupted(monkeypatch, lambda: upload.ended("complete", 200))
    progress = found()
    assert (progress.state, progress.ending) == ("uploading", None)


def test_what_is_asked_often_costs_little(new_board: Board) -> None:
    """Less than a slice of an upload, with four workers that all have as many as are kept."""
    for sheet in new_board._sheets[1:]:
        sheet.began = 1.0
        sheet.records_used = RECORDS
        for position in range(RECORDS):
            sheet.records[position].number = 1
            sheet.keys[position].raw = key_of(secrets.token_hex(16))
    for _ in range(RECORDS - 1):
        begin(secrets.token_hex(16))
    begin()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        assert find_progress(ID) is not None
        took.append(time.perf_counter() - began)
    assert min(took) < 0.0005
