"""Content divided into pieces at the boundaries of parts, each sent while the next is collected.

What begins in the middle of a part, or ends there, makes a piece that is less than a part; how
the storage keeps that is its own affair.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import FileTooLarge
from ..settings import UploadSettings
from .part_buffer import PartBuffer
from .parts import Parts
from .transfers import InFlight, parts_memory

# Pieces of one upload under way at once: boto3's upload_fileobj has ten, and one client for each.
# Four kept a store on loopback busy, and more would let one upload fill the worker's memory.
_MOST_IN_FLIGHT = 4


@dataclass(frozen=True)
class Piece:
    """Bytes that lie within one part.

    number: the part's.
    start: the offset of the first.
    """

    number: int
    start: int
    content: PartBuffer

    @property
    def stop(self) -> int:
        """The offset behind the last."""
        return self.start + self.content.size


class PieceWriter:
    """Writes from `offset` on.

    parts: where the boundaries are.
    most: the offset behind which there are no parts.
    send: has the storage take a piece; called in a greenlet of its own, when there is a place.
    digests: of each piece, see PartBuffer.
    """

    def __init__(
        self,
        parts: Parts,
        offset: int,
        most: int,
        send: Callable[[Piece], object],
        settings: UploadSettings,
        digests: Iterable[str] = (),
    ) -> None:
        self._parts = parts
        self._next = offset
        self._most = most
        self._send = send
        self._settings = settings
        self._digests = tuple(digests)
        self._piece: Piece | None = None
        self._piece_ends = 0
        self._in_flight = InFlight(settings, _MOST_IN_FLIGHT)
        self._failure: BaseException | None = None
        self._closed = False
        self.has_sent = False

    @property
    def end(self) -> int:
        """The offset behind all that was written."""
        return self._next

    def write(self, block: bytes, /) -> int:
        """Add the next bytes. Waits while enough is under way; raises the first error of any."""
        self._check_usable()
        try:
            self._write(block)
        except BaseException as error:
            self._failure = self._failure or error
            raise
        return len(block)

    def finish(self) -> None:
        """Send what is left, and wait until the storage has all."""
        self._check_usable()
        try:
            self._start_sending()
            self._in_flight.settle()
        except BaseException as error:
            self._failure = self._failure or error
            raise

    def collected(self) -> PartBuffer:
        """All that was written, where nothing of it was sent. It stays this writer's to close."""
        self._check_usable()
        return self._current_piece().content

    def close(self) -> None:
        """Drop what is not sent, and end what is being sent. Never waits; may be called again."""
        if self._closed:
            return
        self._closed = True
        self._in_flight.cancel()
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.content.close()

    def join(self) -> None:
        """Wait until nothing is being sent any more, after close()."""
        self._in_flight.join()

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ValueError("I/O operation on closed file.")

    def _write(self, block: bytes) -> None:
        if self._next + len(block) > self._most:
            raise FileTooLarge(OSError(errno.EFBIG, os.strerror(errno.EFBIG)))
        while block:
            piece = self._current_piece()
            room = self._piece_ends - self._next
            taken = block if len(block) <= room else block[:room]
            piece.content.append(taken)
            self._next += len(taken)
            if self._next == self._piece_ends:
                self._start_sending()
            block = block[len(taken) :]

    def _current_piece(self) -> Piece:
        if self._piece is None:
            number = self._parts.number_at(self._next)
            memory = parts_memory(self._settings)
            room = self._in_flight.wait_for_one
            content = PartBuffer(memory, self._settings, self._digests, room)
            self._piece = Piece(number, self._next, content)
            self._piece_ends = self._parts.bounds(number)[1]
        return self._piece

    def _start_sending(self) -> None:
        piece, self._piece = self._piece, None
        if piece is None:
            return
        self.has_sent = True
        self._in_flight.start(lambda: self._send(piece), piece.content.close)
