"""Nothing that a body does is quadratic, and nothing is asked for twice."""

from __future__ import annotations

import time
from collections.abc import Callable

from body_contract import TEXT, TRAILING, bytewise
from body_sources import BLOCK, Decoder, OnlyRead

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.body.sources import PieceSource, StreamSource


def seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def assert_not_quadratic(work: Callable[[int], object], size: int) -> None:
    """Four times as much takes four times as long, and not sixteen times.

    Others use the cores too, so one pair of ten will do: what is quadratic has none.
    """
    pairs = ((seconds(lambda: work(size)), seconds(lambda: work(4 * size))) for _ in range(10))
    assert any(longer < 9 * shorter + 0.01 for shorter, longer in pairs)


def exhaust(read: Callable[[], bytes]) -> None:
    while read():
        pass


def in_one_block(size: int) -> CooperativeInput:
    return CooperativeInput(PieceSource(iter([b"ab\n" * size])))


def test_lines_of_a_block_take_linear_time() -> None:
    """A rest is not copied for each line."""
    assert_not_quadratic(lambda size: exhaust(in_one_block(size).readline), 20_000)


def test_small_reads_of_a_block_take_linear_time() -> None:
    """Nor for each read(3)."""

    def work(size: int) -> None:
        body = in_one_block(size)
        exhaust(lambda: body.read(3))

    assert_not_quadratic(work, 20_000)


def test_a_read_of_small_pieces_takes_linear_time() -> None:
    """What has come is not copied for each piece that comes."""
    assert_not_quadratic(
        lambda size: CooperativeInput(PieceSource(iter([b"x" * 10] * size))).read(), 20_000
    )


def test_a_line_of_small_pieces_takes_linear_time() -> None:
    """Nor searched again from its beginning."""
    assert_not_quadratic(
        lambda size: CooperativeInput(PieceSource(iter([b"x" * 10] * size))).readline(), 20_000
    )


def test_a_long_line_of_a_stream_takes_linear_time() -> None:
    """Also where it is looked for in steps."""
    assert_not_quadratic(
        lambda size: CooperativeInput(OnlyRead(bytes(size)), size).readline(), 4_000_000
    )


def test_lines_of_a_stream_are_not_asked_for_byte_by_byte() -> None:
    """The number of calls is that of the lines, or of the steps in which they are looked for."""
    stream = OnlyRead(b"x" * 999 + b"\n")
    assert len(CooperativeInput(stream, 1000).readline()) == 1000
    assert stream.calls == 1


def test_a_whole_block_is_not_copied() -> None:
    """What was received in one piece is handed on as it is."""
    block = bytes(BLOCK)
    assert CooperativeInput(PieceSource(iter([block]))).read(BLOCK) is block


def test_pieces_of_one_byte_are_read_in_time() -> None:
    """The decoder is asked once for each."""
    decoder = Decoder(bytewise(TEXT))
    assert CooperativeInput(PieceSource(iter(decoder))).read() == TEXT
    assert decoder.yielded == len(TEXT)


def test_a_stream_source_with_a_bound() -> None:
    """most_at_once: what is asked for in one call, so that others can run in between."""
    stream = OnlyRead(bytes(100))
    source = StreamSource(stream, most_at_once=10)
    assert len(CooperativeInput(source, 100).read()) == 100
    assert stream.calls == 10


def test_nothing_is_asked_for_behind_the_end() -> None:
    """A stream that waits for what it was asked for would wait for the next request."""
    stream = OnlyRead(TEXT + TRAILING)
    body = CooperativeInput(stream, len(TEXT))
    assert body.read() == TEXT
    assert stream.calls == 1
    assert body.read() == b""
    assert stream.calls == 1
