"""Request bodies that Hypothesis makes up, raw and chunked, sound and broken.

What a failing test prints is how its body is made, which fits on a screen, and not the body, which
may be a megabyte: all of this describes bytes, which are made when they are asked for.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

MOST_BYTES = 1 << 20
BLOCK = 64 * 1024

_NOISE = random.Random(0).randbytes(MOST_BYTES)
_RUNS = {
    "noise": _NOISE,
    "no line ends": _NOISE.replace(b"\n", b"x").replace(b"\r", b"y"),
    # Not longer, because each line is a read.
    "line feeds": b"\n" * 5000,
    "line ends and hyphens": b"\r\n--" * 5000,
}

# Where something is done differently: gunicorn's receives, blocks, what a socket gives at once,
# what stays in memory, what is written at once.
THRESHOLDS = [1024, 8192, BLOCK, 2 * BLOCK, 4 * BLOCK, 500 * 1024, 512 * 1024, MOST_BYTES]


@dataclass(frozen=True)
class Run:
    """Many bytes of one kind, the same ones each time; as many as there are of that kind."""

    kind: str
    size: int

    def encoded(self, _start: int) -> bytes:
        return _RUNS[self.kind][: self.size]


@dataclass(frozen=True)
class Literal:
    """These bytes."""

    data: bytes

    def encoded(self, _start: int) -> bytes:
        return self.data


@dataclass(frozen=True)
class Padding:
    """As much as is needed for what follows to begin `offset` bytes behind the end of a block."""

    block: int
    offset: int

    def encoded(self, start: int) -> bytes:
        return b"p" * ((self.offset - start) % self.block)


Piece = Run | Literal | Padding


def joined(pieces: Sequence[Piece]) -> bytes:
    """The bytes of the pieces, one behind the other."""
    data = bytearray()
    for piece in pieces:
        data += piece.encoded(len(data))
    return bytes(data)


kinds_of_runs = st.sampled_from(sorted(_RUNS))
small_runs = st.builds(Run, kinds_of_runs, st.integers(0, 300))
near_thresholds = st.builds(
    lambda size, more: min(size + more, MOST_BYTES),
    st.sampled_from(THRESHOLDS),
    st.integers(-3, 3),
)
large_runs = st.builds(Run, kinds_of_runs, st.one_of(near_thresholds, st.integers(0, 200_000)))


def literals(*choices: bytes) -> st.SearchStrategy[Piece]:
    return st.sampled_from(choices).map(Literal)


crumbs = literals(b"\n", b"a", b"\r\n", b"\r", b"\n\n", b"bc\n", b"x" * 20, b"0\r\n\r\n", b"\0")


@st.composite
def pieces(
    draw: st.DrawFn, *more: st.SearchStrategy[Piece], large: st.SearchStrategy[Piece] = large_runs
) -> list[Piece]:
    """What a body or a part is made of: most often a little, sometimes something large, too."""
    found = draw(st.lists(st.one_of(crumbs, small_runs, *more), max_size=8))
    if draw(st.integers(0, 5)) == 5:
        found.insert(draw(st.integers(0, len(found))), draw(large))
    return found


# A place in something whose length is not known yet: near its beginning, near its end, anywhere.
places = st.one_of(st.integers(0, 300), st.integers(-300, -1), st.integers(0, MOST_BYTES))


def resolved(place: int, length: int) -> int:
    return place % (length + 1)


@dataclass(frozen=True)
class Cuts:
    """How something is divided into packets."""

    places: list[int]
    step: int | None = None  # bytes of each of the first packets

    def pieces_of(self, data: bytes) -> list[bytes]:
        ends = {resolved(place, len(data)) for place in self.places}
        if self.step is not None:
            ends.update(range(self.step, min(len(data), 200 * self.step), self.step))
        bounds = sorted({0, *ends, len(data)})
        return [data[start:end] for start, end in itertools.pairwise(bounds)]


cuts = st.builds(
    Cuts,
    st.lists(places, max_size=6),
    st.one_of(st.none(), st.none(), st.none(), st.integers(1, 20)),
)


# Changes of bytes that were sound.


@dataclass(frozen=True)
class Edit:
    """One change of some bytes."""

    kind: str
    place: int
    size: int
    new: bytes

    def of(self, data: bytes) -> bytes:
        start = resolved(self.place, len(data))
        return _EDITS[self.kind](data, start, self)


def _with_bits_flipped(data: bytes, start: int, edit: Edit) -> bytes:
    flipped = bytes(byte ^ edit.size for byte in data[start : start + 1])
    return data[:start] + flipped + data[start + 1 :]


_EDITS: dict[str, Callable[[bytes, int, Edit], bytes]] = {
    "insert": lambda data, start, edit: data[:start] + edit.new + data[start:],
    "replace": lambda data, start, edit: data[:start] + edit.new + data[start + len(edit.new) :],
    "delete": lambda data, start, edit: data[:start] + data[start + edit.size :],
    "repeat": lambda data, start, edit: data[: start + edit.size] + data[start:],
    "flip": _with_bits_flipped,
    "truncate": lambda data, start, edit: data[:start],
}


def edits(*crumbs: bytes) -> st.SearchStrategy[list[Edit]]:
    """A few changes; what is inserted is made of the crumbs and of any bytes."""
    new = st.one_of(st.sampled_from([*crumbs, b"\r\n", b"\n", b"\r"]), st.binary(max_size=3))
    edit = st.builds(Edit, st.sampled_from(sorted(_EDITS)), places, st.integers(1, 100), new)
    return st.one_of(st.just([]), st.just([]), st.lists(edit, max_size=4))


def edited(data: bytes, changes: Sequence[Edit]) -> bytes:
    for change in changes:
        data = change.of(data)
    return data


# Chunked transfer coding (RFC 9112 section 7.1).


@dataclass(frozen=True)
class SizeLine:
    """How the size of a chunk is written."""

    capitals: bool = False
    zeros: int = 0
    extension: bytes = b""

    def of(self, size: int) -> bytes:
        digits = b"%X" % size if self.capitals else b"%x" % size
        return b"0" * self.zeros + digits + self.extension + b"\r\n"


@dataclass(frozen=True)
class Flaw:
    """A chunk, by its place, whose size or end is replaced."""

    chunk: int
    size: bytes | None
    end: bytes | None


@dataclass(frozen=True)
class Chunking:
    """A body in chunks."""

    body: list[Piece]
    chunks: Cuts
    size_lines: list[SizeLine]  # used in turn
    trailers: bytes
    flaws: list[Flaw]

    @property
    def wire(self) -> bytes:
        data = [piece for piece in self.chunks.pieces_of(joined(self.body)) if piece]
        lines = itertools.cycle(self.size_lines)
        chunks = [
            [line.of(len(piece)), piece, b"\r\n"] for line, piece in zip(lines, data, strict=False)
        ]
        for flaw in self.flaws:
            if chunks:
                chunk = chunks[flaw.chunk % len(chunks)]
                chunk[0] = chunk[0] if flaw.size is None else flaw.size
                chunk[2] = chunk[2] if flaw.end is None else flaw.end
        last = self.size_lines[-1].of(0)
        return b"".join(itertools.chain(*chunks)) + last + self.trailers + b"\r\n"


_SOUND_EXTENSIONS = [
    *(b";flag", b";a=b", b' ; a = "quoted; \\" text"', b";a;b;c=1", b"\t;\ttab", b';e=""'),
    b";" + b"n" * 300,
]
_SOUND_TRAILERS = [b"", b"Digest: abc\r\n", b"A: 1\r\nB: 2\r\n", b"X: " + b"v" * 5000 + b"\r\n"]
_FLAWED_SIZES = [
    *(None, b"", b"\r\n", b"x\r\n", b"-3\r\n", b"+3\r\n", b"0x3\r\n", b"3 \r\n", b" 3\r\n"),
    *(b"3\n", b"3\r", b"1_0\r\n", b"\xd9\xa3\r\n", b"f" * 17 + b"\r\n", b"0\r\n", b"ffff\r\n"),
    *(b"3;\r\n", b'3;a="\r\n', b"3;a=\r\n", b"3;a\rb\r\n", b"3;\x00\r\n", b"3;a=b c\r\n"),
    *(b"3" + b" " * 9000 + b"\r\n", b"0" * 9000 + b"3\r\n", b"3\r\n"),
]
_FLAWED_ENDS = [None, None, None, b"", b"\n", b"\r", b"\n\r", b"x\r\n", b"\r\nx"]
_FLAWED_TRAILERS = [
    *(b"A\r\n", b": x\r\n", b"A: 1\nB: 2\r\n", b" A: 1\r\n", b"A: 1\r\n B\r\n", b"\n"),
    *(b"Content-Length: 3\r\n", b"A: \x00\r\n", b"A\x80: 1\r\n", b"\r", b"A: \xff\xfe\r\n"),
]

size_lines = st.builds(
    SizeLine,
    st.booleans(),
    st.sampled_from([0, 0, 0, 1, 30]),
    st.one_of(st.just(b""), st.sampled_from(_SOUND_EXTENSIONS)),
)
flaws = st.builds(
    Flaw, st.integers(0, 20), st.sampled_from(_FLAWED_SIZES), st.sampled_from(_FLAWED_ENDS)
)
_lists_of_size_lines = st.lists(size_lines, min_size=1, max_size=4)
_sound_trailers = st.sampled_from(_SOUND_TRAILERS)
chunkings = st.builds(Chunking, pieces(), cuts, _lists_of_size_lines, _sound_trailers, st.just([]))
flawed_chunkings = st.builds(
    Chunking,
    pieces(),
    cuts,
    _lists_of_size_lines,
    st.one_of(_sound_trailers, st.sampled_from(_FLAWED_TRAILERS)),
    st.one_of(st.just([]), st.lists(flaws, max_size=2)),
)
