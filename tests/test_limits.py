"""The limits of a body, as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cooperative_upload.limits import MinimumRate, most_bytes
from cooperative_upload.settings import UploadSettings

LIMITS = UploadSettings(max_body_bytes=1000, max_urlencoded_bytes=100, max_json_bytes=10)
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content_type", "limit"),
    [
        (FORM, 100),
        (f"{FORM}; charset=utf-8", 100),
        (f"{FORM};charset=utf-8", 100),
        (f"  {FORM}\t; charset=utf-8", 100),
        ("Application/X-WWW-Form-URLencoded", 100),
        (f"{FORM};", 100),
        (f"{FORM}-not", 1000),
        (f"text/plain; was={FORM}", 1000),
        ("application/json", 10),
        ("APPLICATION/JSON; Charset=UTF-8", 10),
        ("application/problem+json", 10),
        ("application/vnd.api+JSON ; v=1", 10),
        ("application/json-seq", 1000),
        ("application/xml; like=+json", 1000),
        ("multipart/form-data; boundary=x", 1000),
        ("", 1000),
        (";", 1000),
        ("nonsense", 1000),
    ],
)
def test_the_limit_of_a_type(content_type: str, limit: int) -> None:
    """By the media type alone, however it is written (RFC 9110 section 8.3.1)."""
    assert most_bytes(LIMITS, content_type) == limit


@pytest.mark.parametrize(
    ("body", "urlencoded", "expected"),
    [(0, 0, None), (5, 0, 5), (0, 5, 5), (5, 7, 5), (7, 5, 5)],
)
def test_the_smaller_limit_counts(body: int, urlencoded: int, expected: int | None) -> None:
    """0 is no limit, and not one of no bytes."""
    settings = UploadSettings(max_body_bytes=body, max_urlencoded_bytes=urlencoded)
    assert most_bytes(settings, FORM) == expected
    assert most_bytes(settings, "text/plain") == (body or None)


def test_defaults() -> None:
    """Only what Python parses in one go is limited unless it is asked for."""
    assert most_bytes(UploadSettings(), "multipart/form-data") is None
    assert most_bytes(UploadSettings(), "application/json") is None
    assert most_bytes(UploadSettings(), FORM) == 2 << 20


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
