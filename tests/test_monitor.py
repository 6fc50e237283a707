"""Counters of how bodies ended; that each body is counted once is in test_exchange.py."""

from __future__ import annotations

import pytest

import cooperative_upload
from cooperative_upload import board, errors, monitor
from cooperative_upload.errors import RequestError


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
