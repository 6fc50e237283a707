"""Request bodies: prepared once, sent many times, described without being held in memory.

A body is a row of segments; a segment is a block that is repeated up to a length. The block is
1 MiB of random bytes: a multipart parser searches for the boundary, and how fast it does that
depends on the content, so neither zeros nor text would be fair. Repeating one block costs the
client nothing and looks the same to a parser that sees 64 KiB at a time.

Kinds:
    form              multipart/form-data with one file
    form-small-parts  multipart/form-data with many files of 4 KiB
    raw               the bytes themselves, with Content-Length
    chunked           the bytes themselves, in chunks of 64 KiB
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import random
from dataclasses import dataclass
from functools import cached_property

KINDS = ("form", "form-small-parts", "raw", "chunked")
BLOCK = 1024 * 1024  # bytes; one send() rarely takes more
CHUNK = 64 * 1024  # bytes per chunk: what curl and most proxies send
SMALL_PART = 4 * 1024  # bytes per file of form-small-parts
MAX_PARTS = 900  # werkzeug, and frameworks after it, refuse more than 1,000 parts
BOUNDARY = "loadtest-5f0d9b7c2a4e4c1e8d36"


def random_block(seed: int, size: int = BLOCK) -> bytes:
    """The same random bytes for the same seed."""
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True)
class Segment:
    """`block`, repeated (and at the end cut) to `length` bytes."""

    block: bytes
    length: int


class Body:
    """The bytes of one request body, and what a server must say about them."""

    def __init__(
        self,
        content_type: str,
        segments: list[Segment],
        *,
        content: list[Segment],
        chunked: bool = False,
    ) -> None:
        self.content_type = content_type
        self.chunked = chunked
        self.file_size = sum(segment.length for segment in content)
        self._content = content
        self._segments = [segment for segment in segments if segment.length]
        self._views = [memoryview(segment.block) for segment in self._segments]
        self._ends = list(itertools.accumulate(segment.length for segment in self._segments))
        self.length = self._ends[-1] if self._ends else 0  # bytes on the wire

    def view(self, offset: int) -> memoryview:
        """Some bytes from `offset` on, without a copy: up to one block, empty at the end."""
        index = bisect.bisect_right(self._ends, offset)
        if index == len(self._ends):
            return memoryview(b"")
        view, end = self._views[index], self._ends[index]
        within = (offset - (end - self._segments[index].length)) % len(view)
        return view[within : within + end - offset]

    @cached_property
    def sha256(self) -> str:
        """Of the files' bytes, one after another. Slow: 1 s for about 1 GB."""
        digest = hashlib.sha256()
        for segment in self._content:
            whole, rest = divmod(segment.length, len(segment.block))
            for _ in range(whole):
                digest.update(segment.block)
            digest.update(segment.block[:rest])
        return digest.hexdigest()


def make_body(kind: str, size: int, *, block: bytes, field: str = "file") -> Body:
    """A body of `kind` that carries `size` bytes of file content."""
    makers = {"form": _form, "form-small-parts": _small_parts, "raw": _raw, "chunked": _chunked}
    return makers[kind](size, block, field)


def request_size(kind: str, size: int) -> int:
    """What one request of `kind` carries at most, of `size` bytes that one client sends in all."""
    return min(size, SMALL_PART * MAX_PARTS) if kind == "form-small-parts" else size


def _form(size: int, block: bytes, field: str) -> Body:
    content = [Segment(block, size)]
    head, tail = _part_head(field, "upload.bin"), _form_end()
    return Body(_form_type(), [_once(head), *content, _once(tail)], content=content)


def _small_parts(size: int, block: bytes, field: str) -> Body:
    part = block[:SMALL_PART]
    whole, rest = divmod(size, len(part))
    unit = _part_head(field, "small.bin") + part + b"\r\n"
    last = _part_head(field, "last.bin") + part[:rest]
    segments = [Segment(unit, whole * len(unit)), _once(last), _once(_form_end())]
    return Body(_form_type(), segments, content=[Segment(part, size)])


def _raw(size: int, block: bytes, field: str) -> Body:
    content = [Segment(block, size)]
    return Body("application/octet-stream", content, content=content)


def _chunked(size: int, block: bytes, field: str) -> Body:
    chunk = block[:CHUNK]
    whole, rest = divmod(size, len(chunk))
    segments = [
        Segment(_chunk(chunk), whole * len(_chunk(chunk))),
        _once(_chunk(chunk[:rest]) if rest else b""),
        _once(b"0\r\n\r\n"),
    ]
    content = [Segment(chunk, size)]
    return Body("application/octet-stream", segments, content=content, chunked=True)


def _once(data: bytes) -> Segment:
    return Segment(data, len(data))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _form_type() -> str:
    return f"multipart/form-data; boundary={BOUNDARY}"


def _part_head(field: str, filename: str) -> bytes:
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def _form_end() -> bytes:
    return f"\r\n--{BOUNDARY}--\r\n".encode()
