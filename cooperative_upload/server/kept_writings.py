"""The writings that were begun and not committed, kept from one run of the command to the next.

One small file for each pair of a local file and a destination, below the user's state directory.
It is there before the first byte is sent, so that a command that is killed leaves nothing in a
store of which nobody knows, and is locked for as long as a command is at work with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage import Token
from .local_files import LocalFault, Version

_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """A writing, and which version of the file it is of."""

    version: Version
    token: Token


class KeptWriting:
    """The place for one writing; used by one command at a time."""

    def __init__(self, path: Path, descriptor: int, about: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self._about = about

    def read(self) -> Kept | None:
        """What an earlier command left; None if there is nothing that can be read."""
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said: dict[str, Any] = json.loads(content)
            if said["format"] == _FORMAT:
                return Kept(Version(said["size"], said["modified"]), said["token"])
        return None

    def keep(self, kept: Kept) -> None:
        """Have it there after a loss of power, too."""
        said = {
            "format": _FORMAT,
            "about": self._about,
            "size": kept.version.size,
            "modified": kept.version.modified,
            "token": dict(kept.token),
        }
        self.forget()
        os.pwrite(self._descriptor, json.dumps(said).encode(), 0)
        os.fsync(self._descriptor)

    def forget(self) -> None:
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Let go of it; of one that holds nothing nothing is left."""
        if not os.fstat(self._descriptor).st_size:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextlib.contextmanager
def kept_writing(folder: Path, file: str, url: str) -> Iterator[KeptWriting]:
    """The place for the writing of that file to that URL.

    Raises LocalFault if another command is at work with it, or the folder can't be written to.
    """
    about = f"{Path(file).resolve()} to {url}"
    path = folder / f"{hashlib.sha256(about.encode('utf-8', 'surrogateescape')).hexdigest()}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _lock(path)
    except BlockingIOError:
        raise LocalFault(f"Another command is sending {file} to {url}.") from None
    except OSError as error:
        raise LocalFault(
            f"How far an upload is can't be kept in {folder}: {error.strerror}."
        ) from error
    kept = KeptWriting(path, descriptor, about)
    try:
        yield kept
    finally:
        kept.close()


def _lock(path: Path) -> int:
    """A descriptor of the file at `path`, locked. Raises BlockingIOError if somebody has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have taken it away in between.
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
