"""A deposit in a store on another machine: one request to it, or parts of which several are sent.

Content that is no more than one part is sent when it is committed, as the object. Of more a
writing is begun when the first part is full; it is ended in the background if the deposit is
closed without a commit, also by a greenlet that is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..settings import UploadSettings
from .contract import Description, Stored, Token
from .part_buffer import PartBuffer
from .parts import PartLimits, Parts
from .piece_writer import Piece, PieceWriter
from .transfers import Aside, clean_up


class RemoteStore(Protocol):
    """What a storage does for its deposits. Every call may wait, and is tried again by itself.

    limits: what it accepts.
    part_digests: what it compares of each part: see PartBuffer.
    """

    limits: PartLimits
    part_digests: tuple[str, ...]

    def parts_of(self, size: int | None) -> Parts:
        """How it divides content."""

    def put(
        self,
        key: str,
        content: PartBuffer,
        description: Description,
        overwrite: bool,
        digests: Mapping[str, bytes],
    ) -> Stored:
        """Have the object appear, in one request. Raises AlreadyStored."""

    def begin(self, key: str, *, size: int | None, description: Description) -> Token:
        """As in the contract."""

    def send(self, token: Token, piece: Piece) -> object:
        """Make it durable. Pieces of a deposit are whole parts but for its last one."""

    def commit(
        self, token: Token, size: int, *, overwrite: bool, digests: Mapping[str, bytes] | None
    ) -> Stored:
        """As in the contract."""

    def abort(self, token: Token) -> None:
        """As in the contract."""


class RemoteDeposit:
    """See the contract. `key` was checked."""

    def __init__(
        self,
        store: RemoteStore,
        key: str,
        size: int | None,
        description: Description,
        settings: UploadSettings,
    ) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._description = description
        self._begun = _Begun(store, key, size, description)
        parts = store.parts_of(size)
        most = parts.most_bytes(store.limits)
        send, digests = self._begun.send, store.part_digests
        self._writer = PieceWriter(parts, 0, most, send, settings, digests)
        self._stored: Stored | None = None
        self._failure: BaseException | None = None
        self._closed = False

    def __enter__(self) -> RemoteDeposit:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()

    def write(self, block: bytes, /) -> int:
        """Add the next bytes."""
        return self._writer.write(block)

    def commit(
        self, *, overwrite: bool = False, digests: Mapping[str, bytes] | None = None
    ) -> Stored:
        """Have the object appear, whole."""
        if self._failure is not None:
            raise self._failure
        if self._stored is None:
            try:
                self._stored = self._commit(overwrite, digests or {})
            except BaseException as error:
                self._failure = error
                raise
            finally:
                self.close()
        return self._stored

    def close(self) -> None:
        """Drop what was not committed."""
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        if self._stored is None:
            self._begun.end(self._writer)

    def _commit(self, overwrite: bool, digests: Mapping[str, bytes]) -> Stored:
        size = self._writer.end
        if self._size is not None and size != self._size:
            raise ValueError(f"{size:,} bytes were written of {self._size:,}")
        if not self._writer.has_sent:
            content = self._writer.collected()
            return self._store.put(self._key, content, self._description, overwrite, digests)
        self._writer.finish()
        return self._store.commit(self._begun.token(), size, overwrite=overwrite, digests=digests)


class _Begun:
    """The writing of a deposit, which begins with its first part.

    Apart from the deposit, so that one which is forgotten is closed when it goes.
    """

    def __init__(
        self, store: RemoteStore, key: str, size: int | None, description: Description
    ) -> None:
        self._store = store
        self._key = key
        self._begin = lambda: store.begin(key, size=size, description=description)
        self._begun: Aside[Token] | None = None

    def token(self) -> Token:
        """It begins aside: whoever is killed meanwhile could not end what it does not know."""
        if self._begun is None:
            self._begun = Aside(self._begin)
        return self._begun.result()

    def send(self, piece: Piece) -> None:
        """Have the store take a part."""
        self._store.send(self.token(), piece)

    def end(self, writer: PieceWriter) -> None:
        """Leave nothing of it, behind what the writer has under way. Never waits."""
        begun = self._begun
        if begun is None:
            return

        def abort() -> None:
            writer.join()  # a part that arrives later would be left
            try:
                token = begun.result()
            except Exception:
                return  # there is none, as whoever waited for it was told
            self._store.abort(token)

        clean_up(abort, f"what was sent of {self._key!r}")
