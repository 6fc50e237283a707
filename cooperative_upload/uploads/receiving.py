"""Receiving: the bytes of one request on their way into the storage and into the record.

What has come is made durable and committed on the way, after `upload_commit_bytes` or
`upload_commit_seconds`, by a greenlet of its own while more arrives; and at the end, whatever ends
it. So a killed worker costs its clients so much at the most, and a body that breaks costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..body import BlockReader, StreamSource
from ..settings import UploadSettings
from ..storage import Ranges, Storage, Token
from .waiting import start

# Bytes that tell a type: what libmagic and its like look at.
HEAD_BYTES = 4096


def blocks_of(body: Any) -> Iterator[bytes]:
    """The bytes of a body as they arrive; whatever came before it breaks is handed out before.

    body: a CooperativeInput, or another server's wsgi.input, which is asked for little at once
        since what it has when it breaks is lost.
    """
    if isinstance(body, BlockReader):
        yield from body.blocks()
        return
    source = StreamSource(body)
    while block := source.receive(_OF_OTHERS):
        yield block


# Bytes to ask another server's stream for.
_OF_OTHERS = 16 * 1024


def with_head(blocks: Iterator[bytes], look: Callable[[bytes], object]) -> Iterator[bytes]:
    """The blocks, after `look` has seen the first bytes of them, and if it raises nothing."""
    head: list[bytes] = []
    try:
        for block in blocks:
            head.append(block)
            if sum(map(len, head)) >= HEAD_BYTES:
                break
    except BaseException:
        if head:
            look(b"".join(head)[:HEAD_BYTES])
            yield from head
        raise
    if head:
        look(b"".join(head)[:HEAD_BYTES])
    yield from head
    yield from blocks


class Receiving:
    """Bytes from an offset on.

    commit: has the record say that these ranges are durable; raises if that is not to be.
    """

    def __init__(
        self,
        storage: Storage,
        token: Token,
        offset: int,
        commit: Callable[[Ranges], object],
        settings: UploadSettings,
    ) -> None:
        self._storage = storage
        self._token = token
        self._commit = commit
        self._settings = settings
        self.position = offset
        self._writer = storage.writer(token, offset)
        self._began = offset
        self._next_commit = time.monotonic() + settings.upload_commit_seconds
        self._durable = Ranges()
        self._under_way: Any = None
        self._failure: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether the storage, or the record, does not take what has come."""
        return self._failure is not None

    def write(self, block: bytes) -> None:
        """Add the next bytes."""
        self._check()
        try:
            self._writer.write(block)
        except BaseException as error:
            self._failure = error
            raise
        self.position += len(block)
        if self._is_due():
            self._commit_beside()

    def finish(self) -> Ranges:
        """Make durable what is not yet; returns all that is, for the last commit."""
        self._settle()
        self._check()
        self._finish(self._writer)
        return self._durable

    def close(self) -> None:
        """Drop what is not durable."""
        self._writer.close()

    def _is_due(self) -> bool:
        if self.position - self._began >= self._settings.upload_commit_bytes:
            return True
        return time.monotonic() > self._next_commit

    def _commit_beside(self) -> None:
        self._settle()
        self._check()
        writer, self._writer = self._writer, self._storage.writer(self._token, self.position)
        self._began = self.position
        self._next_commit = time.monotonic() + self._settings.upload_commit_seconds
        self._under_way = start(self._finish_and_commit, writer)

    def _finish_and_commit(self, writer: Any) -> None:
        try:
            self._finish(writer)
            self._commit(self._durable)
        except BaseException as error:
            self._failure = error

    def _finish(self, writer: Any) -> None:
        try:
            self._durable |= writer.finish()
        finally:
            writer.close()

    def _settle(self) -> None:
        """Wait for the commit that is under way."""
        if self._under_way is not None:
            self._under_way.join()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
