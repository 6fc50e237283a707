"""Names in a bucket: pieces tell their bytes by them, and the fewest that cover are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.errors import UnsafePath
from cooperative_upload.storage.ranges import Ranges
from cooperative_upload.storage.s3_keys import (
    HIDDEN,
    StagedPiece,
    checked_key,
    covering,
    staged_name,
    staged_pieces,
    staged_prefix,
)

SIZE = 60

pieces = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))
    .map(sorted)
    .map(lambda pair: StagedPiece("name", 1, *pair)),
    max_size=12,
)


@given(pieces, st.integers(0, SIZE), st.integers(0, SIZE))
def test_a_part_is_covered_if_and_only_if_its_bytes_are_there(
    staged: list[StagedPiece], one: int, other: int
) -> None:
    start, stop = sorted((one, other))
    chosen = covering(staged, start, stop)
    there = Ranges.of((piece.start, piece.stop) for piece in staged)
    assert (chosen is not None) == there.cover(start, stop)
    at = start
    for piece in chosen or ():
        assert piece.start <= at < piece.stop
        at = piece.stop
    assert chosen is None or at >= stop or start == stop


def test_the_fewest_are_taken() -> None:
    staged = [StagedPiece("", 1, *pair) for pair in [(0, 5), (0, 30), (5, 40), (28, 60), (40, 60)]]
    chosen = covering(staged, 0, 60)
    assert chosen is not None
    assert [(piece.start, piece.stop) for piece in chosen] == [(0, 30), (28, 60)]


@given(st.integers(1, 10_000), st.integers(0, 10**14), st.integers(0, 10**14))
def test_a_name_tells_the_bytes(number: int, start: int, stop: int) -> None:
    name = staged_name("prefix/", "upload", number, start, stop)
    assert staged_pieces([name, "prefix/other"]) == [StagedPiece(name, number, start, stop)]
    assert name.startswith(staged_prefix("prefix/", "upload", number))
    assert name.startswith(f"prefix/{HIDDEN}")
    assert not name.startswith(staged_prefix("prefix/", "upload", number + 1))
    assert not name.startswith(staged_prefix("prefix/", "another"))


@pytest.mark.parametrize(
    "key",
    ["", "a//b", "/a", "a/", "..", "a\nb", "a\\b", "\x7f", f"{HIDDEN}x", "k" * 1018],
)
def test_unsafe_keys(key: str) -> None:
    with pytest.raises(UnsafePath):
        checked_key(key, "prefix/")


@pytest.mark.parametrize("key", ["a", "a b/ü", "...", "k" * 1017, "x/.cooperative-upload/y"])
def test_safe_keys(key: str) -> None:
    assert checked_key(key, "prefix/") == f"prefix/{key}"
