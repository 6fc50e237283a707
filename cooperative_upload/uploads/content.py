"""The content of an upload, also of one that consists of others: it is read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ..body import BlockReader
from ..storage import Content, Storage
from .record import Upload

Opener = Callable[[], Content]


class ChainedContent(BlockReader):
    """Contents one after the other, each opened when the one before has ended.

    size: bytes of all together.
    """

    def __init__(self, openers: Sequence[Opener], size: int) -> None:
        super().__init__(read_ahead=0)
        self.size = size
        self._blocks = self._of_all(openers)
        self._open: Content | None = None

    def close(self) -> None:
        """Free what is open. May be called again."""
        self._blocks = iter(())
        if self._open is not None:
            self._open.close()

    def __enter__(self) -> ChainedContent:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _receive(self, size: int) -> bytes:
        return next(self._blocks, b"")

    def _of_all(self, openers: Sequence[Opener]) -> Iterator[bytes]:
        for opener in openers:
            with opener() as self._open:
                yield from self._open.blocks()


def opened(
    storage: Storage,
    find: Callable[[str], Upload],
    upload: Upload,
    start: int = 0,
    stop: int | None = None,
) -> Content:
    """Bytes `start` to before `stop` of an upload whose object, or whose parts', are in place.

    find: gives the parts by their ids.
    """
    if not upload.parts:
        return storage.open(upload.key, start, stop)
    parts = [find(part) for part in upload.parts]
    ranges = ranges_of_parts([part.size or 0 for part in parts], start, stop)
    openers = [
        partial(storage.open, parts[number].key, first, end) for number, first, end in ranges
    ]
    return ChainedContent(openers, sum(end - first for _, first, end in ranges))


def ranges_of_parts(
    sizes: Sequence[int], start: int, stop: int | None
) -> list[tuple[int, int, int]]:
    """(number of the part, start, stop in it) of the bytes from `start` to before `stop`."""
    end = sum(sizes) if stop is None else min(stop, sum(sizes))
    found, at = [], 0
    for number, size in enumerate(sizes):
        first, last = max(start - at, 0), min(end - at, size)
        if first < last:
            found.append((number, first, last))
        at += size
    return found
