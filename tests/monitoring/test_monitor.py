"""Counters of how bodies ended; that each body is counted once is in those of exchange/."""

from __future__ import annotations

import pytest

import cooperative_upload
from cooperative_upload import errors
from cooperative_upload.errors import RequestError
from cooperative_upload.monitoring import board, monitor


def test_all_names_are_there_from_the_beginning() -> None:
    """Whoever draws them has a 0, and not a hole."""
    assert list(monitor.upload_statistics()) == list(board.NUMBERS)
    assert all(type(number) is int for number in monitor.upload_statistics().values())


def test_no_name_means_two_things() -> None:
    """Endings and events are told in one dictionary."""
    assert not board.ENDINGS.keys() & board.EVENTS.keys()


@pytest.mark.parametrize("name", [*board.ENDINGS, *board.EVENTS])
def test_counting(name: str) -> None:
    """By one, or by any number, also down; the others stay."""
    before = monitor.upload_statistics()
    monitor.count(name)
    monitor.count(name, 10)
    monitor.count(name, -3)
    after = monitor.upload_statistics()
    assert after.pop(name) == before.pop(name) + 8
    assert after == before
    monitor.count(name, -8)


def test_a_snapshot_stays() -> None:
    """What was asked for once does not change, nor do the counters by changing it."""
    snapshot = monitor.upload_statistics()
    monitor.count("complete")
    assert monitor.upload_statistics()["complete"] == snapshot["complete"] + 1
    snapshot["complete"] = 1 << 40
    assert monitor.upload_statistics()["complete"] < 1 << 40
    monitor.count("complete", -1)


@pytest.mark.parametrize("first", [0, 1], ids=["outer first", "inner first"])
def test_uploads_that_end_in_any_order(first: int) -> None:
    """A greenlet may run a request within another, and close the outer one's response first."""
    before = monitor.running_uploads()
    uploads = [monitor.Upload("POST", "/", "192.0.2.7", None) for _ in range(2)]
    blocks = [upload.running() for upload in uploads]
    for block in blocks:
        block.__enter__()
    assert monitor.running_uploads() == [*before, uploads[1]]
    for ended, running in ((first, [uploads[1 - first]]), (1 - first, [])):
        blocks[ended].__exit__(None, None, None)
        uploads[ended].ended("unread")
        assert monitor.running_uploads() == [*before, *running]


def test_each_error_has_its_ending() -> None:
    """And each ending but two is that of one: a name that is refused leaves its body unread."""
    endings = {
        each.ending
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, RequestError) and hasattr(each, "ending")
    }
    assert endings == board.ENDINGS.keys() - {"complete", "drained"}


def test_it_is_public() -> None:
    """For an application's own view of the numbers."""
    assert cooperative_upload.upload_statistics is monitor.upload_statistics
