"""The minimum rate of a body, as numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cooperative_upload.body.limits import MinimumRate

WINDOW = 8

# Whole numbers and eighths of a second, so that the sums below are exact.
PACKETS = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(0, 3 * WINDOW * 8).map(lambda n: n / 8)),
    max_size=60,
)


def rates_of_windows(packets: list[tuple[int, float]]) -> list[float | None]:
    """For each packet the rate of the window that it ended, as one would reckon by hand."""
    rates: list[float | None] = []
    window: list[tuple[int, float]] = []
    for packet in packets:
        window.append(packet)
        seconds = sum(each[1] for each in window)
        if seconds < WINDOW:
            rates.append(None)
        else:
            rates.append(sum(each[0] for each in window) / seconds)
            window = []
    return rates


@hypothesis_settings(deadline=None)
@given(PACKETS, st.sampled_from([0, 1, 10.5, 100, 1000]))
def test_minimum_rate(packets: list[tuple[int, float]], minimum: float) -> None:
    """A rate comes out at the end of a window that was too slow, and at no other time."""
    measured = MinimumRate(minimum, WINDOW)
    for packet, rate in zip(packets, rates_of_windows(packets), strict=True):
        expected = rate if rate is not None and rate < minimum else None
        assert measured.add(*packet) == expected


def test_a_client_at_the_minimum_is_fast_enough() -> None:
    """For as long as it likes; a byte less in a window is too slow, also behind fast ones."""
    rate = MinimumRate(100, 10)
    assert {rate.add(100, 1) for _ in range(1000)} == {None}
    assert rate.add(1_000_000, 10) is None
    assert [rate.add(999 // 9, 1) for _ in range(9)] == [None] * 9
    assert rate.add(0, 1) == 99.9
