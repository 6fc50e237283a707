"""Ranges against sets of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.storage.ranges import Ranges

_bounds = st.integers(0, 30)
_pairs = st.lists(st.tuples(_bounds, _bounds), max_size=8)


def _numbers(ranges: Ranges) -> set[int]:
    return {number for start, stop in ranges for number in range(start, stop)}


def _meant(pairs: list[tuple[int, int]]) -> set[int]:
    return {number for start, stop in pairs for number in range(start, stop)}


@given(_pairs)
def test_they_are_the_bytes_that_were_given(pairs: list[tuple[int, int]]) -> None:
    ranges = Ranges.of(pairs)
    assert _numbers(ranges) == _meant(pairs)
    assert ranges.total == len(_meant(pairs))
    for (_, stop), (start, _) in zip(ranges.pairs, ranges.pairs[1:], strict=False):
        assert stop < start


@given(_pairs, _pairs)
def test_two_are_joined(some: list[tuple[int, int]], more: list[tuple[int, int]]) -> None:
    assert _numbers(Ranges.of(some) | Ranges.of(more)) == _meant(some) | _meant(more)


@given(_pairs, _bounds)
def test_what_is_missing_is_the_rest(pairs: list[tuple[int, int]], size: int) -> None:
    assert _numbers(Ranges.of(pairs).missing(size)) == set(range(size)) - _meant(pairs)


@given(_pairs, _bounds, _bounds)
def test_what_they_cover(pairs: list[tuple[int, int]], start: int, stop: int) -> None:
    covered = set(range(start, stop)) <= _meant(pairs)
    assert Ranges.of(pairs).cover(start, stop) == covered


@given(_pairs)
def test_the_beginning_is_what_is_there_without_a_gap(pairs: list[tuple[int, int]]) -> None:
    beginning = Ranges.of(pairs).beginning
    assert set(range(beginning)) <= _meant(pairs)
    assert beginning not in _meant(pairs)
