"""A storage in memory that keeps the contract, for tests of what lies above storages."""

from __future__ import annotations

import datetime
import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Literal

from cooperative_upload.body import BlockReader
from cooperative_upload.errors import AlreadyStored, NotStored
from cooperative_upload.storage import Deposit, Description, Ranges, Stored, Token
from cooperative_upload.storage.contract import UNDESCRIBED
from cooperative_upload.storage.form_files import StorageObjects

_NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


class MemoryContent(BlockReader):
    """Bytes of an object."""

    def __init__(self, data: bytes) -> None:
        super().__init__(read_ahead=0)
        self.size = len(data)
        self._data = io.BytesIO(data)

    def _receive(self, size: int) -> bytes:
        return self._data.read(min(size, 64 * 1024))

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> MemoryContent:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class _Writing:
    def __init__(self, key: str) -> None:
        self.key = key
        self.data = bytearray()
        self.durable = Ranges()
        self.stored: Stored | None = None


class _Writer:
    def __init__(self, writing: _Writing, offset: int) -> None:
        self._writing = writing
        self._start = self._next = offset

    def write(self, block: bytes, /) -> None:
        data, end = self._writing.data, self._next + len(block)
        data.extend(bytes(max(0, end - len(data))))
        data[self._next : end] = block
        self._next = end

    def finish(self) -> Ranges:
        written = Ranges.of([(self._start, self._next)])
        self._writing.durable |= written
        return written

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class MemoryStorage(StorageObjects):
    """objects: what is there, by key.

    writings: what was begun and neither committed nor aborted, by number.
    fails: what the next calls of a verb raise, by its name.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.writings: dict[int, _Writing] = {}
        self.fails: dict[str, Exception] = {}
        self._committed: dict[int, Stored] = {}
        self._numbers = itertools.count()

    def deposit(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Deposit:
        raise NotImplementedError

    def begin(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Token:
        self._fail("begin")
        number = next(self._numbers)
        self.writings[number] = _Writing(key)
        return {"key": key, "number": number}

    def writer(self, token: Token, offset: int) -> _Writer:
        self._fail("writer")
        return _Writer(self._writing(token), offset)

    def durable(self, token: Token) -> Ranges:
        return self._writing(token).durable

    def commit(
        self,
        token: Token,
        size: int,
        *,
        overwrite: bool = False,
        digests: Mapping[str, bytes] | None = None,
    ) -> Stored:
        self._fail("commit")
        number, key = token["number"], token["key"]
        if number in self._committed and key in self.objects:
            return self._committed[number]
        writing = self._writing(token)
        if not writing.durable.cover(0, size):
            raise ValueError("not all bytes are durable")
        if key in self.objects and not overwrite:
            raise AlreadyStored(key)
        del self.writings[number]
        self.objects[key] = bytes(writing.data[:size])
        stored = self._committed[number] = Stored(key, size, _NOW)
        return stored

    def abort(self, token: Token) -> None:
        self._fail("abort")
        self.writings.pop(token["number"], None)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> MemoryContent:
        return MemoryContent(self._object(key)[start:stop])

    def stat(self, key: str) -> Stored:
        return Stored(key, len(self._object(key)), _NOW)

    def delete(self, key: str) -> None:
        self._fail("delete")
        self.objects.pop(key, None)

    def list(self, prefix: str = "") -> Iterator[Stored]:
        return (self.stat(key) for key in sorted(self.objects) if key.startswith(prefix))

    def sign(
        self,
        key: str,
        method: Literal["GET", "PUT"] = "GET",
        *,
        seconds: float = 3600.0,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        raise NotImplementedError

    def leftovers(self, older_than: datetime.timedelta) -> Iterator[Token]:
        for number, writing in list(self.writings.items()):
            yield {"key": writing.key, "number": number}

    def _fail(self, verb: str) -> None:
        if verb in self.fails:
            raise self.fails[verb]

    def _writing(self, token: Token) -> _Writing:
        try:
            return self.writings[token["number"]]
        except KeyError:
            raise NotStored(token["key"]) from None

    def _object(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise NotStored(key) from None
