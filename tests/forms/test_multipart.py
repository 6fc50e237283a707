"""BlockMultipartDecoder gives werkzeug's events, errors and retained bytes, whatever it is fed.

But for one fault of werkzeug's, which is mended on both sides of the comparison.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mended_decoder import MendedDecoder
from werkzeug.sansio.multipart import Data, Epilogue, Event, MultipartDecoder, NeedData

from cooperative_upload.forms.multipart import BlockMultipartDecoder, is_supported

pytestmark = pytest.mark.skipif(
    not is_supported(), reason="the decoder is used with werkzeug up to 3.1.x alone"
)

BOUNDARY = b"--b-"
HEADERS = b'Content-Disposition: form-data; name="f"; filename="n"\r\n\r\n'
Decoder = Callable[..., MultipartDecoder]


def trace(decoder: Decoder, blocks: Iterable[bytes | None], limit: int | None) -> list[object]:
    """All that can be seen of a decoder that is fed these blocks: events, errors, buffer."""
    parser = decoder(BOUNDARY, limit, max_parts=3)
    seen: list[object] = []
    try:
        for block in blocks:
            parser.receive_data(block)
            event: Event = parser.next_event()
            while not isinstance(event, (NeedData, Epilogue)):
                seen.append(event)
                event = parser.next_event()
            seen += [type(event), bytes(parser.buffer), parser.state]
    except Exception as error:
        seen.append((type(error), str(error)))
    return seen


def assert_same(blocks: list[bytes | None], limit: int | None = None) -> list[object]:
    seen = trace(BlockMultipartDecoder, blocks, limit)
    assert seen == trace(MendedDecoder, blocks, limit)
    return seen


def body(*contents: bytes) -> bytes:
    parts = b"".join(b"--" + BOUNDARY + b"\r\n" + HEADERS + c + b"\r\n" for c in contents)
    return parts + b"--" + BOUNDARY + b"--\r\n"


# Bytes that look like the beginning, the middle and the end of delimiters.
crumbs = st.sampled_from(
    [
        *(b"\r", b"\n", b"-", b"--", b"b", BOUNDARY, b"\r\n--", b"--" + BOUNDARY),
        *(b"\r\n--" + BOUNDARY, b"\r\n--" + BOUNDARY + b"--", b"\r\n\r\n", HEADERS),
        *(b" ", b"x", b"yz" * 20),
    ]
)
contents = st.lists(crumbs, max_size=30).map(b"".join)


@st.composite
def fed_bodies(draw: st.DrawFn) -> list[bytes | None]:
    raw = draw(st.one_of(contents, st.lists(contents, max_size=3).map(lambda c: body(*c))))
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    edges = itertools.pairwise([0, *cuts, len(raw)])
    blocks: list[bytes | None] = [raw[start:end] for start, end in edges if start < end]
    return [*blocks, None] if draw(st.booleans()) else blocks


@settings(max_examples=1500, deadline=None)
@given(fed_bodies(), st.one_of(st.none(), st.integers(1, 200)))
@example([b"--" + BOUNDARY + b"\r\n" + HEADERS, b"x\r", b"\n--", BOUNDARY + b"--", None], None)
@example([b"--" + BOUNDARY + b"\r\n" + HEADERS + b"x", b"\r\n", b"\r\n", None], None)
def test_same_as_werkzeug(blocks: list[bytes | None], limit: int | None) -> None:
    assert_same(blocks, limit)


@pytest.mark.parametrize("content", [b"", b"text", b"\r", b"\n", b"text\r\n", b"\r\n--"])
def test_a_part_is_the_same_wherever_blocks_end(content: bytes) -> None:
    """werkzeug's decoder adds a carriage return where a block ends in the middle of "--"."""
    raw = body(content)
    for cuts in itertools.combinations(range(1, len(raw)), 2):
        parts = [raw[start:end] for start, end in itertools.pairwise([0, *cuts, len(raw)])]
        events = trace(BlockMultipartDecoder, [*parts, None], None)
        assert b"".join(e.data for e in events if isinstance(e, Data)) == content, parts


@pytest.mark.parametrize("content", [b"", b"\r\n", b"abc\r\n--", b"\n" * 40, b"q" * 50 + b"\r"])
def test_same_when_split_at_every_offset(content: bytes) -> None:
    raw = body(content, content)
    for first in range(1, len(raw)):
        for second in range(first + 1, min(first + 30, len(raw))):
            assert_same([raw[:first], raw[first:second], raw[second:], None])


def test_same_byte_by_byte() -> None:
    raw = body(b"\r\n--b\r--b-\n", b"--" + BOUNDARY)
    assert_same([*(raw[i : i + 1] for i in range(len(raw))), None])


def test_same_when_fed_twice_before_it_is_asked() -> None:
    """receive_data() may be called again while a block has not been looked at."""
    for decoder in (MultipartDecoder, BlockMultipartDecoder):
        parser = decoder(BOUNDARY)
        parser.receive_data(b"--" + BOUNDARY + b"\r\n" + HEADERS + b"start")
        while not isinstance(parser.next_event(), NeedData):
            pass
        parser.receive_data(b" one\r\n--b")
        parser.receive_data(b"-- two")
        assert parser.next_event().data == b" one\r\n--b-- two"  # type: ignore[attr-defined]


def test_a_block_inside_of_a_part_is_handed_on_uncopied() -> None:
    """The reason why this decoder exists."""
    parser = BlockMultipartDecoder(BOUNDARY)
    parser.receive_data(b"--" + BOUNDARY + b"\r\n" + HEADERS + b"start")
    while not isinstance(parser.next_event(), NeedData):
        pass
    block = b"x" * 65536
    parser.receive_data(block)
    event = parser.next_event()
    assert event.data is block  # type: ignore[attr-defined]
