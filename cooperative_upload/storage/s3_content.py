"""A range of an object as it is read: from where the connection broke, on another one."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any

from ..body import BLOCK_BYTES
from ..errors import StorageError
from ..settings import UploadSettings
from ..turns import current_scheduler
from .retries import with_retries
from .s3_calls import S3Calls
from .s3_errors import FAILURES, is_code, translated, worth_another_try

_RANGE = re.compile(r"bytes (\d+)-(\d+)/")


class S3Content:
    """See the contract. The first request is made here, so that what is not there is known.

    name: in the bucket.
    key: for errors.
    """

    def __init__(
        self,
        calls: S3Calls,
        name: str,
        key: str,
        start: int,
        stop: int | None,
        settings: UploadSettings,
    ) -> None:
        self._calls = calls
        self._name = name
        self._key = key
        self._next = start
        self._settings = settings
        self._scheduler = current_scheduler(settings)
        self._stream: Any = None
        self._etag: str | None = None
        self._rest = b""
        self._closed = False
        self.size = self._first_answer(start, stop)
        self._stop = start + self.size

    def __enter__(self) -> S3Content:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; fewer than `size` only at the end."""
        self._check_open()
        pieces, missing = [], self._stop - self._next + len(self._rest) if size < 0 else size
        while missing and (block := self._rest or self._next_block()):
            piece, self._rest = block[:missing], block[missing:]
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def blocks(self) -> Iterator[bytes]:
        """What is left, as it comes."""
        self._check_open()
        while block := self._rest or self._next_block():
            self._rest = b""
            yield block

    def close(self) -> None:
        """Free the connection."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file.")

    def _first_answer(self, start: int, stop: int | None) -> int:
        """How many bytes there are of the range."""
        if stop is not None and start >= stop:
            self._calls("head_object", key=self._key, Key=self._name)
            return 0
        ranged: dict[str, Any] = (
            {} if (start, stop) == (0, None) else {"Range": _range(start, stop)}
        )
        try:
            answer = self._calls("get_object", key=self._key, Key=self._name, **ranged)
        except StorageError as error:
            if is_code(_cause(error), "InvalidRange", "416"):
                return 0
            raise
        self._stream, self._etag = answer["Body"], answer.get("ETag")
        told = _RANGE.match(answer.get("ContentRange", ""))
        if ranged and told is None and start:  # a store without ranges: pass over the beginning
            raise StorageError(OSError(errno.EIO, "GetObject: the store gave no range"))
        return int(answer["ContentLength"])

    def _next_block(self) -> bytes:
        if self._next >= self._stop:
            self._let_go()
            return b""
        if self._scheduler is not None:
            self._scheduler.checkpoint()
        # The time is that without a byte, since each block begins it anew.
        try:
            block = with_retries(
                lambda: self._calls.waiting_for(self._received),
                self._settings.storage_retry_seconds,
                worth_another_try,
            )
        except FAILURES as error:
            raise translated(error, "GetObject", self._key) from error
        self._next += len(block)
        return block

    def _received(self) -> bytes:
        if self._stream is None:
            self._go_on()
        try:
            block: bytes = self._stream.read(min(BLOCK_BYTES, self._stop - self._next))
            if not block:
                raise OSError(
                    errno.EIO, f"the answer ended at {self._next:,} of {self._stop:,} bytes"
                )
        except Exception:
            self._let_go()
            raise
        return block

    def _go_on(self) -> None:
        """Ask for the rest, of the same version of the object."""
        same: dict[str, Any] = {"IfMatch": self._etag} if self._etag else {}
        answer = self._calls.client.get_object(
            Bucket=self._calls.bucket,
            Key=self._name,
            Range=_range(self._next, self._stop),
            **same,
        )
        self._stream = answer["Body"]


def _range(start: int, stop: int | None) -> str:
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def _cause(error: StorageError) -> Exception:
    cause = error.__cause__
    return cause if isinstance(cause, Exception) else error
