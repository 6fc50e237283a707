"""Sources of request bodies for tests: a server's chunk decoder, and the least of a stream."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from cooperative_upload.settings import UploadSettings

# Every body takes turns, also the small ones of these tests.
SETTINGS = UploadSettings(small_body_bytes=0)


class Decoder:
    """Yields pieces as a server's chunk decoder does, and ends as one does whose client left."""

    def __init__(self, pieces: Sequence[bytes], broken: bool = False) -> None:
        self._pieces = pieces
        self._broken = broken
        self.yielded = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.yielded += 1
            yield piece
        if self._broken:
            raise ConnectionAbortedError("No more data")


class OnlyRead:
    """The least that a wsgi.input can be: read(n), which waits for what it was asked for."""

    def __init__(self, data: bytes, block: int = 1 << 40) -> None:
        self._data = io.BytesIO(data)
        self._block = block
        self.calls = 0

    def read(self, size: int) -> bytes:
        assert size > 0, "a read that may ask for more than there is"
        self.calls += 1
        return self._data.read(min(size, self._block))


BLOCK = 64 * 1024
