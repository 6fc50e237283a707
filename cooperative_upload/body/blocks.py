"""Reading bytes and lines out of blocks that come from somewhere else.

BlockReader is the reading half of a binary file. A subclass says where the next block comes from
(_receive), and may hand over more than was asked for: the rest is kept for the next read. No
method is quadratic in the size of a block, of a line or of the whole, and none copies a body
that was received in one piece.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

BLOCK_BYTES = 64 * 1024  # what werkzeug's form parser reads at once


class BlockReader:
    """read, readline, readlines, blocks and iteration over _receive()."""

    def __init__(self, read_ahead: int) -> None:
        """read_ahead: bytes to receive at once for reads that want less; 0 for never."""
        self._read_ahead = read_ahead
        self._block = b""
        self._offset = 0  # where the unread rest of the block begins

    def _receive(self, size: int) -> bytes:
        """The next bytes, about `size` of them and at least one; b"" at the end."""
        raise NotImplementedError

    def _receive_line(self, limit: int) -> bytes:
        """As _receive, for a caller that looks for the end of a line of at most `limit` bytes."""
        return self._receive(self._read_ahead)

    def _before_return(self) -> None:
        """Called before read() or readline() returns bytes. If it raises, they are kept."""

    def read(self, size: int | None = -1) -> bytes:
        """Exactly `size` bytes, fewer only at the end; all that remain if it is None or < 0."""
        return self._deliver(self._gather(sys.maxsize if size is None or size < 0 else size))

    def readline(self, size: int | None = -1) -> bytes:
        """The bytes up to and with the next line feed, at most `size` of them; b"" at the end."""
        return self._deliver(self._gather_line(sys.maxsize if size is None or size < 0 else size))

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The remaining lines; if hint > 0, no more after that many bytes were read."""
        enough = sys.maxsize if hint is None or hint <= 0 else hint
        lines = []
        while enough > 0 and (line := self.readline()):
            lines.append(line)
            enough -= len(line)
        return lines

    def blocks(self, most_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """All that remains, in pieces as they come, each of at most that many bytes.

        Nothing is waited for while there is something to hand out. So all that arrived of a body
        that breaks has been handed out when its error is raised, where read(n) would keep it back
        for the rest of its n bytes.
        """
        while piece := self._deliver(self._next_piece(most_bytes, ahead=0)):
            yield piece

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _deliver(self, data: bytes) -> bytes:
        if data:
            try:
                self._before_return()
            except BaseException:
                self._put_back(data)
                raise
        return data

    def _gather(self, wanted: int) -> bytes:
        """As read(wanted)."""
        # Only a small read reads ahead: the last bytes of a large one are asked for as they are,
        # or else every large read after it would be pieced together from two blocks.
        ahead = self._read_ahead if wanted < self._read_ahead else 0
        piece = self._next_piece(wanted, ahead)
        if not piece or len(piece) == wanted:
            return piece
        # BytesIO grows in place and hands its buffer over: joining a list of pieces would copy
        # a whole gigabyte in one go at the end.
        whole = io.BytesIO()
        missing = wanted
        try:
            while piece:
                whole.write(piece)
                missing -= len(piece)
                piece = self._next_piece(missing, ahead)
        except BaseException:  # the next read begins with what has come
            self._put_back(whole.getvalue())
            raise
        return whole.getvalue()

    def _gather_line(self, limit: int) -> bytes:
        """As readline(limit)."""
        piece = self._next_line_piece(limit)
        if not piece or piece.endswith(b"\n") or len(piece) == limit:
            return piece
        line = io.BytesIO()
        try:
            while piece:
                line.write(piece)
                limit -= len(piece)
                if piece.endswith(b"\n"):
                    break
                piece = self._next_line_piece(limit)
        except BaseException:
            self._put_back(line.getvalue())
            raise
        return line.getvalue()

    def _put_back(self, data: bytes) -> None:
        self._block, self._offset = data + self._block[self._offset :], 0

    def _next_piece(self, wanted: int, ahead: int) -> bytes:
        """Some bytes, at most `wanted`; up to `ahead` may be received for them."""
        if wanted == 0:
            return b""
        if self._offset == len(self._block):
            block = self._receive(max(wanted, ahead))
            if len(block) <= wanted:
                return block
            self._block, self._offset = block, 0
        return self._take(wanted)

    def _next_line_piece(self, limit: int) -> bytes:
        """Some bytes of the current line, at most `limit`, with its line feed if it is there."""
        if limit == 0:
            return b""
        if self._offset == len(self._block):
            self._block, self._offset = self._receive_line(limit), 0
        end = self._block.find(b"\n", self._offset) + 1
        return self._take(min(limit, end - self._offset) if end else limit)

    def _take(self, size: int) -> bytes:
        start = self._offset
        piece = self._block[start : start + size]
        self._offset = start + len(piece)
        if self._offset == len(self._block):
            self._block, self._offset = b"", 0
        return piece
