"""Objects as targets: what receive(), save_to() and Part.save_to() store to, for any storage."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace

from ..errors import AlreadyStored, NotStored, StoredDiffers
from ..forms import Kept
from .contract import Deposit, Description, Storage


class ObjectAddress:
    """A Destination: the key of an object that a storage has or is to have."""

    def __init__(
        self, storage: Storage, key: str, *, overwrite: bool, description: Description
    ) -> None:
        self.key = key
        self._storage = storage
        self._overwrite = overwrite
        self._description = description

    def __repr__(self) -> str:
        return f"<{self.key!r} of {self._storage!r}>"

    def deposit(self, *, size: int | None = None, content_type: str | None = None) -> _Deposit:
        """Begin. Raises AlreadyStored now and not behind all bytes, where it can be known."""
        if not self._overwrite:
            self._refuse_another()
        description = self._description
        if description.content_type is None:
            description = replace(description, content_type=content_type)
        deposit = self._storage.deposit(self.key, size=size, description=description)
        return _Deposit(self._storage, self.key, deposit, self._overwrite)

    def _refuse_another(self) -> None:
        try:
            self._storage.stat(self.key)
        except NotStored:
            return
        raise AlreadyStored(self.key)


class _Deposit:
    """A deposit that knows how it is to be committed."""

    def __init__(self, storage: Storage, key: str, deposit: Deposit, overwrite: bool) -> None:
        self.write = deposit.write
        self._storage = storage
        self._key = key
        self._deposit = deposit
        self._overwrite = overwrite

    def commit(self, digests: Mapping[str, bytes]) -> Kept:
        stored = self._deposit.commit(overwrite=self._overwrite, digests=digests)
        for name, digest in stored.digests.items():
            if digests.get(name, digest) != digest:
                self._storage.delete(self._key)
                raise StoredDiffers(OSError(errno.EIO, f"{name} of {self._key!r} differs"))
        return Kept(stored.key, stored.etag)

    def __enter__(self) -> _Deposit:
        return self

    def __exit__(self, *failure: object) -> None:
        self._deposit.close()
