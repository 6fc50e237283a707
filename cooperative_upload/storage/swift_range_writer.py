"""Bytes of a writing in Swift, from an offset on."""

from __future__ import annotations

from ..errors import NotStored
from ..settings import UploadSettings
from .parts import Parts
from .piece_writer import Piece, PieceWriter
from .ranges import Ranges
from .segments import SWIFT_LIMITS
from .swift_writings import SwiftWritings, Writing


class SwiftRangeWriter:
    """See the contract."""

    def __init__(
        self, writings: SwiftWritings, writing: Writing, offset: int, settings: UploadSettings
    ) -> None:
        self._writings = writings
        self._writing = writing
        self._offset = offset
        self._sent: list[str] = []
        parts = Parts(writing.part_bytes)
        most = parts.most_bytes(SWIFT_LIMITS)
        self._pieces = PieceWriter(parts, offset, most, self._send, settings, ["md5"])

    def __enter__(self) -> SwiftRangeWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def write(self, block: bytes, /) -> int:
        """Add the next bytes."""
        return self._pieces.write(block)

    def finish(self) -> Ranges:
        """Make all that was written durable.

        A writing that ended meanwhile has no use for it, and nobody else would take it away
        before it expires.
        """
        self._pieces.finish()
        if not self._writings.is_open(self._writing):
            self._writings.delete(self._sent)
            raise NotStored(self._writing.key)
        return Ranges.of([(self._offset, self._pieces.end)])

    def close(self) -> None:
        """Drop what is not durable yet."""
        self._pieces.close()

    def _send(self, piece: Piece) -> None:
        self._sent.append(self._writings.send(self._writing, piece))
