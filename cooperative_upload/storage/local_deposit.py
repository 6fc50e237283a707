"""A deposit on a disk: a spool that becomes the object's file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from ..spool import Spool
from .contract import Description, Stored
from .local_errors import errors_of_disk
from .local_folder import Folder
from .local_publishing import Publication
from .local_records import Record, stored_at


class LocalDeposit:
    """A Deposit.

    path: of the object, behind all symbolic links.
    spool: on its file system.
    """

    def __init__(
        self,
        folder: Folder,
        key: str,
        path: str,
        spool: Spool,
        size: int | None,
        description: Description,
    ) -> None:
        self._folder = folder
        self._key = key
        self._path = path
        self._spool = spool
        self._size = size
        self._record = Record.of(description)
        self._stored: Stored | None = None
        self._failure: BaseException | None = None

    def write(self, block: bytes, /) -> int:
        """Add the next bytes."""
        with self._failing():
            return self._spool.write(block)

    def commit(
        self, *, overwrite: bool = False, digests: Mapping[str, bytes] | None = None
    ) -> Stored:
        """Have the object appear. A disk computes no digests: none is checked."""
        if self._stored is None:
            with self._failing():
                self._stored = self._publish(overwrite)
        return self._stored

    def close(self) -> None:
        """Drop what was not committed. Never waits."""
        self._spool.close()

    def __enter__(self) -> LocalDeposit:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _publish(self, overwrite: bool) -> Stored:
        size = self._spool.tell()
        if self._size is not None and size != self._size:
            raise ValueError(f"expected {self._size:,} bytes for {self._key!r}, got {size:,}")
        self._spool.seek(0)
        publication = Publication(
            self._folder, self._key, self._path, self._record, overwrite=overwrite
        )
        self._spool.hand_over(publication.of_unnamed)
        assert publication.status is not None
        return stored_at(self._key, publication.status, self._record)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """What goes wrong in the block goes wrong for good, and nothing is left."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        try:
            with errors_of_disk(self._key):
                yield
        except Exception as error:
            self._failure = error
            self.close()
            raise
