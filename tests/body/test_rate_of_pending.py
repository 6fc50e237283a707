"""The minimum rate holds while a receive is pending, which bytes that decide nothing keep so."""

from __future__ import annotations

import io
import time
from typing import Any

import gevent
import pytest
from greenlets import hub_scheduler, in_greenlet

from cooperative_upload.body.limits import MinimumRate
from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.errors import BodyTooSlow
from cooperative_upload.settings import UploadSettings

WINDOW = 0.2
SETTINGS = UploadSettings(small_body_bytes=0, min_rate_bytes=1000, min_rate_window_seconds=WINDOW)


class Pending:
    """A source that has some bytes, and then a receive that goes on and on."""

    read_ahead = 0
    most_pending = 0

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = list(blocks)

    def receive(self, size: int) -> bytes:
        while not self._blocks:
            gevent.sleep(0.01)  # a byte of what is no body
        return self._blocks.pop()

    receive_line = receive


@pytest.mark.parametrize("length", [5000, None])
@pytest.mark.parametrize("before", [0, 100, 1000])
def test_a_receive_that_never_ends(length: int | None, before: int) -> None:
    """A 408 when it is certain that the window is too slow: later, if much came before."""
    body = CooperativeInput(Pending(*[bytes(before)] * bool(before)), length, SETTINGS)
    began = time.monotonic()
    with hub_scheduler(), pytest.raises(BodyTooSlow) as caught:
        in_greenlet(body.read)
    assert time.monotonic() - began >= max(WINDOW, before / 1000) * 0.9
    assert caught.value.received == before
    assert caught.value.rate <= 1000
    assert body.error is caught.value


def test_a_time_out_of_the_application_is_its_own() -> None:
    """It is raised as it is."""

    def read() -> Any:
        with gevent.Timeout(WINDOW / 4):
            return body.read()

    body = CooperativeInput(Pending(), 5000, SETTINGS)
    with hub_scheduler(), pytest.raises(gevent.Timeout) as caught:
        in_greenlet(read)
    assert caught.value.seconds == WINDOW / 4


class Collecting(io.RawIOBase):
    """A server's stream, which returns when it has all that was asked for."""

    def __init__(self, bytes_a_second: float) -> None:
        self._rate = bytes_a_second

    def read(self, size: int = -1) -> bytes:
        gevent.sleep(size / self._rate)
        return bytes(size)


@pytest.mark.parametrize(("rate", "is_enough"), [(1500, True), (500, False)])
def test_what_a_server_collects_may_be_on_its_way(rate: float, is_enough: bool) -> None:
    """A read of such a stream may take longer than a window, at a rate that is fast enough."""
    body = CooperativeInput(Collecting(rate), 600, SETTINGS)
    with hub_scheduler():
        if is_enough:
            assert len(in_greenlet(body.read)) == 600
            return
        with pytest.raises(BodyTooSlow):
            in_greenlet(body.read)


@pytest.mark.parametrize(
    ("before", "pending", "left"),
    [(0, 0, 10), (500, 0, 10), (1500, 0, 15), (0, 2000, 20), (500, 600, 11)],
)
def test_seconds_left(before: int, pending: int, left: float) -> None:
    """In numbers: a window of 10 seconds with 100 bytes in each, of which 4 have gone."""
    rate = MinimumRate(100, 10)
    assert rate.add(before, 4) is None
    assert rate.seconds_left(pending) == left - 4
    assert rate.with_nothing_more(6) == before / 10
