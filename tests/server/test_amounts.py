"""Sizes and durations on the command line."""

from __future__ import annotations

import datetime

import pytest

from cooperative_upload.server.amounts import (
    parse_duration,
    parse_size,
    show_duration,
    show_rate,
    show_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("8MiB", 8 << 20), ("1.5 GB", 1_500_000_000), ("64k", 64_000), ("2TiB", 2 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "8XB", "MiB", "1e3", "0.5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size|is less than one byte"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7d", 604_800), ("12h", 43_200), ("0s", 0), ("1.5min", 90)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "d", "7y", "-7d", "99999999999d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration|longer than anything"):
        parse_duration(text)


def test_amounts_are_shown_as_people_write_them() -> None:
    assert [show_size(n) for n in (0, 1, 999, 1_234, 3_000_000_000)] == [
        "0 bytes", "1 byte", "999 bytes", "1.2 kB", "3.0 GB",
    ]  # fmt: skip
    assert show_rate(500_000_000, 2) == "250.0 MB/s"
    assert show_rate(5, 0)
    assert [show_duration(n) for n in (0.04, 9.9, 75.2, 4000)] == [
        "0.0 s", "9.9 s", "1:15", "1:06:40",
    ]  # fmt: skip
