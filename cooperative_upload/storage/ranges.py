"""Ranges: which bytes of something are there. Numbers alone.

Half open, as slices are: (0, 5) are the first five bytes. Never changed, so that what was told of
one moment stays true of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranges:
    """A set of bytes by their numbers.

    pairs: (start, stop) of each run, in order, with a gap between any two; of() makes them so.
    """

    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Ranges:
        """Those of any pairs, in any order, also where they overlap or are empty."""
        runs: list[tuple[int, int]] = []
        for start, stop in sorted(pair for pair in pairs if pair[0] < pair[1]):
            if runs and start <= runs[-1][1]:
                runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
            else:
                runs.append((start, stop))
        return cls(tuple(runs))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.pairs)

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges.of((*self.pairs, *other.pairs))

    @property
    def total(self) -> int:
        """How many bytes they are."""
        return sum(stop - start for start, stop in self.pairs)

    @property
    def beginning(self) -> int:
        """Bytes that are there from the first one on without a gap: the offset to go on from."""
        if not self.pairs or self.pairs[0][0] > 0:
            return 0
        return self.pairs[0][1]

    def cover(self, start: int, stop: int) -> bool:
        """Whether all bytes from `start` to before `stop` are there."""
        if start >= stop:
            return True
        return any(first <= start and stop <= last for first, last in self.pairs)

    def missing(self, size: int) -> Ranges:
        """What lacks of the first `size` bytes."""
        gaps, at = [], 0
        for start, stop in self.pairs:
            gaps.append((at, min(start, size)))
            at = stop
        gaps.append((at, size))
        return Ranges.of(gaps)
