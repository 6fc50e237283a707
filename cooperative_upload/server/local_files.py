"""What is sent: a file of this machine, which must stay as it is meanwhile, or a pipe."""

from __future__ import annotations

import mimetypes
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from gevent.os import tp_read
from gevent.socket import wait_read

from .destinations import STDIN

BLOCK = 1024 * 1024  # bytes: what a storage keeps by reference, and few calls for a gigabyte

# A .tar.gz that is served as application/x-tar, which is how its name is guessed, is none.
_OF_ENCODING = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "compress": "application/x-compress",
    "br": "application/x-brotli",
}


class LocalFault(Exception):
    """What is to be sent can't be read, or is not what it was; its text is the sentence."""


class LocalChange(LocalFault):
    """It is not what it was when its sending began."""


@dataclass(frozen=True)
class Version:
    """By what a file is told from what it was before: bytes, and when it was written to (ns)."""

    size: int
    modified: int


class LocalFile:
    """An open file. `version` is None for a pipe, whose size nobody knows."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.name = name
        self._file = file
        self.version = self._version()

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def size(self) -> int | None:
        return self.version.size if self.version else None

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`. Raises LocalChange if it ends before."""
        left = sys.maxsize if stop is None else stop - start
        if start:
            self._file.seek(start)
        while left and (block := self._read(min(BLOCK, left))):
            left -= len(block)
            yield block
        if stop is not None and left:
            raise LocalChange(f"{self.name} became shorter while it was sent.")

    def check_unchanged(self) -> None:
        """Raise LocalChange if it was written to since it was opened: what was sent is neither."""
        if self._version() != self.version:
            raise LocalChange(f"{self.name} was changed while it was sent.")

    def _read(self, size: int) -> bytes:
        """Parts are sent while a slow disk, or whoever writes into the pipe, is waited for."""
        descriptor = self._file.fileno()
        with self._faults():
            if self.version is None:
                wait_read(descriptor)
                return os.read(descriptor, size)
            block: bytes = tp_read(descriptor, size)
            return block

    def _version(self) -> Version | None:
        with self._faults():
            found = os.fstat(self._file.fileno())
        if not stat.S_ISREG(found.st_mode):
            return None
        return Version(found.st_size, found.st_mtime_ns)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LocalFault(f"{self.name} can't be read: {error.strerror}.") from error


def open_local(name: str) -> LocalFile:
    """The file of that name, or the standard input for `-`. Raises LocalFault."""
    if name == STDIN:
        return LocalFile("the standard input", sys.stdin.buffer)
    try:
        return LocalFile(name, Path(name).open("rb", buffering=0))
    except IsADirectoryError:
        raise LocalFault(f"{name} is a directory: name the files in it.") from None
    except OSError as error:
        raise LocalFault(f"{name} can't be read: {error.strerror}.") from error


def content_type(name: str) -> str | None:
    """As the name says; None if it says nothing."""
    kind, encoding = mimetypes.guess_type(name)
    return _OF_ENCODING.get(encoding, kind) if encoding else kind
