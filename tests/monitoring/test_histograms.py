"""Classes of histograms, and the names of what is counted."""

from __future__ import annotations

import pytest
from boards import upload

from cooperative_upload.monitoring.board import (
    DURATION_BOUNDS,
    LAG_BOUNDS,
    Board,
    Histogram,
    State,
    ending_name,
)


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
