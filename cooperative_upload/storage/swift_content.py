"""Bytes of an object in Swift, read to their end also where the connection breaks in between."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from ..errors import NotStored, StorageError, StorageUnavailable
from ..settings import UploadSettings
from .retries import with_retries
from .swift_client import Answer, Download, SwiftClient

_BLOCK_BYTES = 64 * 1024


class SwiftContent:
    """See the contract. The first answer is waited for here.

    path: of the object.
    """

    def __init__(
        self,
        client: SwiftClient,
        key: str,
        path: str,
        start: int,
        stop: int | None,
        settings: UploadSettings,
    ) -> None:
        self._client = client
        self._key = key
        self._path = path
        self._settings = settings
        self._closed = False
        answer, self._download = self._asked(start, stop, {})
        self._etag = answer.headers.get("etag", "")
        self._next = start
        self._stop = start + int(answer.headers["content-length"])
        if answer.status == 416:  # it begins behind the end, or is empty
            self._stop = start
        if stop is not None:  # no range of HTTP is empty
            self._stop = min(self._stop, max(start, stop))
        self.size = self._stop - start

    def __enter__(self) -> SwiftContent:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        if size < 0:
            return b"".join(self.blocks())
        blocks = []
        while size > 0 and (block := self._block(size)):
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def blocks(self) -> Iterator[bytes]:
        """What is left, as it comes."""
        while block := self._block(_BLOCK_BYTES):
            yield block

    def close(self) -> None:
        """Free the connection."""
        self._closed = True
        self._drop()

    def _block(self, size: int) -> bytes:
        if self._closed:
            raise ValueError("I/O operation on closed file.")
        most = min(size, self._stop - self._next)
        if most <= 0:
            return b""
        try:
            block = with_retries(
                lambda: self._received(most), self._settings.storage_retry_seconds, _worth
            )
        except StorageError:
            raise
        except OSError as error:
            raise StorageUnavailable(error) from error
        self._next += len(block)
        return block

    def _received(self, most: int) -> bytes:
        if self._download is None:
            # The same object, or none: a mixture of two would be wrong.
            _, self._download = self._asked(self._next, self._stop, {"If-Match": self._etag})
        try:
            block = self._download.read(most) if self._download else b""
            if not block:
                raise OSError(errno.EIO, f"it ends at {self._next:,} of {self._stop:,} bytes")
        except OSError:
            self._drop()
            raise
        return block

    def _asked(
        self, start: int, stop: int | None, headers: dict[str, str]
    ) -> tuple[Answer, Download | None]:
        if start or stop is not None:
            last = "" if stop is None else max(stop - 1, start)
            headers = {**headers, "Range": f"bytes={start}-{last}"}
        answer, download = self._client.download(self._path, headers)
        if answer.status in (200, 206):
            return answer, download
        download.close()
        if answer.status == 416:
            return answer, None
        if answer.status == 404:
            raise NotStored(self._key)
        raise StorageError(OSError(errno.ESTALE, f"{self._path} was replaced while it was read"))

    def _drop(self) -> None:
        download, self._download = self._download, None
        if download is not None:
            download.close()


def _worth(error: Exception) -> float | None:
    return 0.0 if isinstance(error, OSError) and not isinstance(error, StorageError) else None
