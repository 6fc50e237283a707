"""The content of an upload that consists of others, read as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..body import BlockReader
from ..storage import Content

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
