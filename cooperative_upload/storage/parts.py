"""How content is divided into parts, within what a store accepts. Numbers alone.

Parts are numbered from 1 on, as in S3. All are of one size but the last, since some stores demand
that (Cloudflare R2). Where content comes of which nobody knows the size, and the store takes
unequal parts, they grow instead: a small upload is not sent in huge parts, and a huge one does not
come to the end of its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40


@dataclass(frozen=True)
class PartLimits:
    """What a store accepts.

    smallest: bytes of a part that is not the last.
    largest: bytes of a part.
    most: how many parts.
    object_bytes: bytes of all of them.
    """

    smallest: int
    largest: int
    most: int
    object_bytes: int


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
S3_LIMITS = PartLimits(
    smallest=5 * MIB, largest=5 * GIB, most=10_000, object_bytes=10_000 * 5 * GIB
)


class TooLargeForParts(ValueError):
    """Content that a store can't take in any division.

    size: its bytes.
    most: bytes that it could take.
    """

    def __init__(self, size: int, most: int) -> None:
        self.size = size
        self.most = most
        super().__init__(f"{size:,} bytes are too many: at most {most:,} can be stored")


@dataclass(frozen=True)
class Parts:
    """The boundaries of parts.

    first: bytes of the first part.
    doubled_after: parts after which the next ones are twice as large; 0: all are equal.
    """

    first: int
    doubled_after: int = 0

    def number_at(self, offset: int) -> int:
        """The part that holds the byte at `offset`."""
        if not self.doubled_after:
            return offset // self.first + 1
        # A run is so many parts of one size: run r begins at first * doubled_after * (2**r - 1).
        run = (offset // (self.first * self.doubled_after) + 1).bit_length() - 1
        start = self.first * self.doubled_after * ((1 << run) - 1)
        return run * self.doubled_after + (offset - start) // (self.first << run) + 1

    def bounds(self, number: int, size: int | None = None) -> tuple[int, int]:
        """(start, stop) of a part, which ends with the content if that has `size` bytes."""
        if not self.doubled_after:
            start, length = (number - 1) * self.first, self.first
        else:
            run, in_run = divmod(number - 1, self.doubled_after)
            length = self.first << run
            start = self.first * self.doubled_after * ((1 << run) - 1) + in_run * length
        stop = start + length
        return (start, stop) if size is None else (min(start, size), min(stop, size))

    def count(self, size: int) -> int:
        """How many parts `size` bytes are; one if there are none."""
        return self.number_at(max(size - 1, 0))

    def most_bytes(self, limits: PartLimits) -> int:
        """How much these parts can hold in a store that has these limits."""
        return min(self.bounds(limits.most)[1], limits.object_bytes)


def planned(
    size: int | None, limits: PartLimits, *, preferred: int, may_grow: bool = False
) -> Parts:
    """The parts for content of `size` bytes.

    size: None if nobody knows. The parts are then of the preferred size, and as many as the store
        takes of them are the most that can be stored, unless they may grow.
    preferred: bytes of a part where the limits leave the choice.
    may_grow: whether the store takes parts of unequal sizes.
    Raises TooLargeForParts.
    """
    preferred = min(max(preferred, limits.smallest), limits.largest)
    if size is None:
        return _growing(preferred, limits) if may_grow else Parts(preferred)
    if size > min(limits.object_bytes, limits.largest * limits.most):
        raise TooLargeForParts(size, min(limits.object_bytes, limits.largest * limits.most))
    least = -(-size // limits.most)
    if least <= preferred:
        return Parts(preferred)
    # Whole MiB where that fits: such boundaries are easier to read in a list of parts.
    return Parts(min(-(-least // MIB) * MIB, limits.largest))


def _growing(first: int, limits: PartLimits) -> Parts:
    """Parts that double as often as their largest stays within the limits."""
    sizes = 1
    while sizes < limits.most and first << sizes <= limits.largest:
        sizes += 1
    return Parts(first, doubled_after=-(-limits.most // sizes))
