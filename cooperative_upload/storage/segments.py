"""Which segments make an object of Swift's, and in which manifests they are named. No I/O.

A static large object is a manifest: a list of segments, each with its size and its MD5, or of
other manifests, which are objects like any other. The segments of one writing may lie anywhere and
overlap: they are what single requests brought, and some of them came twice. So a manifest names as
few of them as cover the object, and of one that overlaps with the one before the rest alone.

https://docs.openstack.org/swift/latest/overview_large_objects.html
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .parts import GIB, PartLimits

MOST_ENTRIES = 1_000
"""Of one manifest: max_manifest_segments in Swift's defaults."""

# max_file_size in Swift's defaults bounds a segment; their number is that of two levels of
# manifests. Of the whole no limit is documented.
SWIFT_LIMITS = PartLimits(
    smallest=1, largest=5 * GIB, most=MOST_ENTRIES**2, object_bytes=5 * GIB * MOST_ENTRIES**2
)

_DIGITS = 16  # up to 10 PB, so that names are listed in the order of the numbers

_NAME = re.compile(rf"(\d{{{_DIGITS}}})-(\d{{{_DIGITS}}})-[0-9a-f]+")


class NotCovered(ValueError):
    """Some bytes of an object are in no segment.

    at: the first of them.
    """

    def __init__(self, at: int, size: int) -> None:
        self.at = at
        super().__init__(f"of {size:,} bytes the one at {at:,} is not stored")


@dataclass(frozen=True)
class Segment:
    """Bytes `start` to before `stop` of an object, stored by themselves under `path`.

    path: container and name, as a manifest has it.
    etag: their MD5, in hexadecimal digits.
    """

    start: int
    stop: int
    path: str
    etag: str


@dataclass(frozen=True)
class Entry:
    """One line of a manifest.

    size: bytes of what it names.
    etag: its MD5, or what Swift computes for a manifest.
    taken: (first, behind the last) of those bytes that belong to the object; None for all.
    """

    path: str
    size: int
    etag: str
    taken: tuple[int, int] | None = None

    @property
    def length(self) -> int:
        """Bytes that it adds to the object."""
        return self.size if self.taken is None else self.taken[1] - self.taken[0]

    @property
    def range(self) -> str | None:
        """The same as Swift has it: both ends belong to it."""
        return None if self.taken is None else f"{self.taken[0]}-{self.taken[1] - 1}"


@dataclass(frozen=True)
class Manifest:
    """A large object, or a part of one.

    name: of a part, unique within the object; None for the object itself.
    """

    entries: tuple[Entry, ...]
    name: str | None = None

    @property
    def size(self) -> int:
        """Bytes of all entries."""
        return sum(entry.length for entry in self.entries)

    @property
    def etag(self) -> str:
        """What Swift says the ETag of it is: it refuses the manifest if it does not find that."""
        parts = (f"{e.etag}:{e.range};" if e.range else e.etag for e in self.entries)
        return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()

    def body(self) -> bytes:
        """What is sent."""
        lines = []
        for entry in self.entries:
            line: dict[str, object] = {
                "path": entry.path,
                "size_bytes": entry.size,
                "etag": entry.etag,
            }
            if entry.range is not None:
                line["range"] = entry.range
            lines.append(line)
        return json.dumps(lines, ensure_ascii=False).encode()


def segment_name(start: int, stop: int, unique: str) -> str:
    """Of a segment of these bytes; listed in the order of their numbers.

    unique: in hexadecimal digits. What a manifest names is never written to again, also not by
        somebody who sends the same bytes once more and comes late.
    """
    return f"{start:0{_DIGITS}}-{stop:0{_DIGITS}}-{unique}"


def bounds_of(name: str) -> tuple[int, int] | None:
    """The bytes of a segment with this name; None if it is that of something else."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))


def covering(segments: Iterable[Segment], size: int) -> list[Segment]:
    """As few of them as cover the first `size` bytes, in their order. Raises NotCovered."""
    waiting = sorted(segments, key=lambda one: one.start)
    chosen: list[Segment] = []
    at = seen = 0
    farthest: Segment | None = None
    while at < size:
        while seen < len(waiting) and waiting[seen].start <= at:
            if farthest is None or waiting[seen].stop > farthest.stop:
                farthest = waiting[seen]
            seen += 1
        if farthest is None or farthest.stop <= at:
            raise NotCovered(at, size)
        chosen.append(farthest)
        at = farthest.stop
    return chosen


def entries(covering: Sequence[Segment], size: int) -> list[Entry]:
    """What a manifest of `size` bytes says of segments that cover it."""
    made = []
    at = 0
    for segment in covering:
        stop = min(segment.stop, size)
        whole = Entry(segment.path, segment.stop - segment.start, segment.etag)
        taken = (at - segment.start, stop - segment.start)
        made.append(whole if taken == (0, whole.size) else replace(whole, taken=taken))
        at = stop
    return made


def manifests(
    entries: Sequence[Entry], path_of: str, most: int = MOST_ENTRIES
) -> tuple[list[Manifest], Manifest]:
    """The parts, in the order in which they have to be stored, and the object itself.

    path_of: what the paths of parts begin with.
    most: entries of one manifest.
    """
    parts: list[Manifest] = []
    level = 0
    while len(entries) > most:
        level += 1
        groups = [entries[at : at + most] for at in range(0, len(entries), most)]
        of_level = [
            Manifest(tuple(group), f"manifest-{level}-{number:06}")
            for number, group in enumerate(groups)
        ]
        parts += of_level
        entries = [Entry(f"{path_of}{m.name}", m.size, m.etag) for m in of_level]
    return parts, Manifest(tuple(entries))
