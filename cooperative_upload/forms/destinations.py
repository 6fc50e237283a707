"""Where content that comes goes: a path, or whatever gives deposits, such as a storage's object().

A deposit is written from its beginning to its end and committed, or nothing is left of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..settings import UploadSettings
from ..spool import Spool, spool_beside


@dataclass(frozen=True)
class Kept:
    """Where content has been kept.

    where: the path of a file, or the key of a storage's object.
    etag: what the storage has for telling two versions apart; None for a file.
    """

    where: str
    etag: str | None = None


class OpenDeposit(Protocol):
    """What is being written. As a context manager it drops what was not committed."""

    def write(self, block: bytes, /) -> object:
        """Add the next bytes. Keeps a bytes object by reference. It may wait."""

    def commit(self, digests: Mapping[str, bytes]) -> Kept:
        """Keep all of it.

        digests: of the whole, by their names in RFC 9530, as far as they were computed.
        """

    def __enter__(self) -> OpenDeposit: ...
    def __exit__(self, *failure: object) -> None: ...


class Destination(Protocol):
    """A place for one content."""

    def deposit(self, *, size: int | None = None, content_type: str | None = None) -> OpenDeposit:
        """Begin. Raises what can be known to be wrong before a byte has come.

        size: bytes, where they are known. content_type: as the client says.
        """


Target = str | os.PathLike[str] | Destination


def destination_for(target: Target, settings: UploadSettings, *, fsync: bool) -> Destination:
    """A path as a destination, and a destination as it is.

    fsync: whether a path's content and name are to be on the medium; another destination knows
        itself.
    """
    if isinstance(target, (str, os.PathLike)):
        return _PathDestination(target, settings, fsync)
    return target


class _PathDestination:
    def __init__(
        self, target: str | os.PathLike[str], settings: UploadSettings, fsync: bool
    ) -> None:
        self._target = target
        self._settings = settings
        self._fsync = fsync

    def deposit(self, *, size: int | None = None, content_type: str | None = None) -> _PathDeposit:
        return _PathDeposit(self._target, spool_beside(self._target, self._settings), self._fsync)


class _PathDeposit:
    def __init__(self, target: str | os.PathLike[str], spool: Spool, fsync: bool) -> None:
        self._target = target
        self._spool = spool
        self._fsync = fsync
        self.write = spool.write

    def commit(self, digests: Mapping[str, bytes]) -> Kept:
        self._spool.seek(0)
        self._spool.move_to(self._target, fsync=self._fsync)
        return Kept(os.fspath(self._target))

    def __enter__(self) -> _PathDeposit:
        return self

    def __exit__(self, *failure: object) -> None:
        self._spool.close()
