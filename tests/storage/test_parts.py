"""Parts: every byte has one, within what the store accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooperative_upload.storage.parts import (
    GIB,
    MIB,
    S3_LIMITS,
    TIB,
    PartLimits,
    Parts,
    TooLargeForParts,
    planned,
)

SMALL = PartLimits(smallest=3, largest=50, most=20, object_bytes=900)

any_parts = st.builds(Parts, st.integers(1, 40), st.sampled_from([0, 1, 2, 3, 7]))


@given(any_parts, st.integers(0, 5000))
def test_each_byte_lies_within_its_part(parts: Parts, offset: int) -> None:
    start, stop = parts.bounds(parts.number_at(offset))
    assert start <= offset < stop


@given(any_parts, st.integers(1, 30))
def test_each_part_begins_where_the_one_before_ends(parts: Parts, number: int) -> None:
    assert parts.bounds(1)[0] == 0
    assert parts.bounds(number)[1] == parts.bounds(number + 1)[0]


@given(any_parts, st.integers(0, 3000))
def test_the_last_part_ends_with_the_content(parts: Parts, size: int) -> None:
    last = parts.count(size)
    bounds = [parts.bounds(number, size) for number in range(1, last + 1)]
    assert sum(stop - start for start, stop in bounds) == size
    assert bounds[-1][1] == size
    assert all(start < stop for start, stop in bounds) or size == 0


@given(st.integers(0, SMALL.object_bytes), st.integers(0, 100), st.booleans())
def test_a_known_size_gets_equal_parts_within_the_limits(
    size: int, preferred: int, may_grow: bool
) -> None:
    parts = planned(size, SMALL, preferred=preferred, may_grow=may_grow)
    assert not parts.doubled_after
    assert SMALL.smallest <= parts.first <= SMALL.largest
    assert parts.count(size) <= SMALL.most
    assert parts.most_bytes(SMALL) >= size


@given(st.integers(0, 100))
def test_growing_parts_stay_within_the_limits(preferred: int) -> None:
    parts = planned(None, SMALL, preferred=preferred, may_grow=True)
    for number in range(1, SMALL.most + 1):
        start, stop = parts.bounds(number)
        assert SMALL.smallest <= stop - start <= SMALL.largest
    equal = planned(None, SMALL, preferred=preferred)
    assert parts.most_bytes(SMALL) >= equal.most_bytes(SMALL)


def test_s3() -> None:
    """Five terabytes, S3's largest object, and what nobody knows the size of."""
    assert planned(5 * 10**12, S3_LIMITS, preferred=8 * MIB) == Parts(477 * MIB)
    assert planned(S3_LIMITS.object_bytes, S3_LIMITS, preferred=8 * MIB) == Parts(5 * GIB)
    assert planned(100 * MIB, S3_LIMITS, preferred=8 * MIB) == Parts(8 * MIB)
    assert planned(10, S3_LIMITS, preferred=1) == Parts(5 * MIB)
    equal = planned(None, S3_LIMITS, preferred=8 * MIB)
    assert equal == Parts(8 * MIB)
    assert equal.most_bytes(S3_LIMITS) == 10_000 * 8 * MIB
    growing = planned(None, S3_LIMITS, preferred=8 * MIB, may_grow=True)
    assert growing == Parts(8 * MIB, doubled_after=1000)
    assert growing.bounds(1000) == (999 * 8 * MIB, 1000 * 8 * MIB)
    assert growing.bounds(1001) == (1000 * 8 * MIB, 1000 * 8 * MIB + 16 * MIB)
    assert growing.most_bytes(S3_LIMITS) > 7 * TIB


def test_what_no_division_can_hold_is_refused_with_both_numbers() -> None:
    with pytest.raises(TooLargeForParts, match="901 bytes are too many: at most 900 can"):
        planned(901, SMALL, preferred=10)
    few = PartLimits(smallest=1, largest=10, most=3, object_bytes=1000)
    with pytest.raises(TooLargeForParts, match="31 bytes are too many: at most 30 can"):
        planned(31, few, preferred=10)
