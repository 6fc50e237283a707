"""A writing on a disk: a file in the hidden folder, with a journal beside it.

The functions of Writing may block, and are called by threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from typing import Any

from ..errors import NotStored
from ..settings import UploadSettings
from ..spool import Batches, DiskFile, worker_budgets, write_all
from ..turns import Job, current_scheduler
from .contract import Description, Token
from .local_errors import errors_of_disk
from .local_folder import Folder
from .local_journal import entry, ranges_in, token_in
from .local_room import reserve
from .ranges import Ranges

# What is written before it is made durable on the way, so that a long upload does not begin anew
# behind a crash: a second or less of a disk.
_DURABLE_EVERY = 64 * 1024 * 1024

_JOURNAL = ".journal"


class Writing:
    """token: as begin_writing() gave it."""

    def __init__(self, folder: Folder, token: Token) -> None:
        self.id = str(token["id"])
        self.key = str(token["key"])
        self._folder = folder
        self.path = os.path.join(folder.hidden, os.path.basename(self.id))
        self._journal = self.path + _JOURNAL

    def open(self) -> int:
        """A descriptor of its content. Raises NotStored if it has ended."""
        try:
            return os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotStored(self.key) from None

    def write(self, descriptor: int, blocks: list[bytes], offset: int) -> None:
        """Write at an offset, unless it has ended: the file may be an object by now."""
        if not os.path.exists(self.path):
            raise NotStored(self.key)
        write_all(descriptor, blocks, offset)

    def make_durable(self, descriptor: int, start: int, stop: int) -> None:
        """Have the bytes on the medium, and say so in the journal."""
        self._folder.sync_file(descriptor)
        if start == stop:
            return
        if not os.path.exists(self.path):
            raise NotStored(self.key)
        self._append([start, stop])

    def durable(self) -> Ranges:
        """By the journal. Raises NotStored if it has ended."""
        os.close(self.open())
        return ranges_in(self._read())

    def cut(self, descriptor: int, size: int) -> None:
        """Have it no longer than that. What was behind is not durable any more."""
        if os.fstat(descriptor).st_size > size:
            self._append(size)
            os.ftruncate(descriptor, size)

    def end(self) -> None:
        """Remove what is left of it."""
        for path in (self.path, self._journal):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def begin(self, size: int | None, token: Token) -> None:
        """Make its files, and reserve the room where the size is known."""
        self._folder.make_hidden()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            if size is not None:
                reserve(descriptor, size)
            self._append(dict(token))
            self._folder.sync(self._folder.hidden)
        except BaseException:
            self.end()
            raise
        finally:
            os.close(descriptor)

    def _append(self, value: Any) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._journal, flags, 0o666)
        try:
            # One write, so that it lies in one piece also where others add at the same time.
            data = entry(value)
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._folder.sync_file(descriptor)
        finally:
            os.close(descriptor)

    def _read(self) -> bytes:
        with contextlib.suppress(FileNotFoundError), open(self._journal, "rb") as journal:
            return journal.read()
        return b""


def new_token(key: str, description: Description) -> dict[str, Any]:
    """A token for a writing."""
    return {
        "id": secrets.token_hex(16),
        "key": key,
        "content_type": description.content_type,
        "metadata": dict(description.metadata),
    }


def unattended(folder: Folder, before: float) -> list[dict[str, Any]]:
    """Tokens of the writings whose files have all been left alone since that time."""
    latest: dict[str, float] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir(folder.hidden) as entries:
        for found in entries:
            with contextlib.suppress(FileNotFoundError):
                if found.is_file(follow_symlinks=False):
                    name = found.name.removesuffix(_JOURNAL)
                    latest[name] = max(latest.get(name, 0.0), found.stat().st_mtime)
    return [_token_of(folder, name) for name, at in sorted(latest.items()) if at <= before]


def _token_of(folder: Folder, name: str) -> dict[str, Any]:
    """That of the journal, else one that is good for abort()."""
    nothing: dict[str, Any] = {"id": name, "key": "", "content_type": None, "metadata": {}}
    return token_in(Writing(folder, nothing)._read()) or nothing


class LocalRangeWriter:
    """A RangeWriter: batches by reference, written by threads."""

    def __init__(self, writing: Writing, offset: int, settings: UploadSettings) -> None:
        self._writing = writing
        self._start = self._next = offset
        self._durable_to = offset
        self._failure: BaseException | None = None
        self._closed = False
        with errors_of_disk(writing.key):
            self._file = DiskFile(settings, opens=writing.open)
        self._settings = settings
        self._batches = Batches(settings, worker_budgets(settings).memory)

    def write(self, block: bytes, /) -> int:
        """Add the next bytes."""
        data = block if type(block) is bytes else bytes(memoryview(block))
        if data:
            self._do(lambda: self._add(data))
        return len(data)

    def finish(self) -> Ranges:
        """Make all that was written durable."""
        self._do(self._make_durable)
        return Ranges.of([(self._start, self._next)])

    def close(self) -> None:
        """Drop what is not durable yet. Never waits."""
        if not self._closed:
            self._closed = True
            self._batches.drop()
            self._file.close()

    def __enter__(self) -> LocalRangeWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _add(self, block: bytes) -> None:
        offset, self._next = self._next, self._next + len(block)
        self._batches.add(self, block, offset)
        if self._next - self._durable_to >= _DURABLE_EVERY:
            self._make_durable()

    def _make_durable(self) -> None:
        self._batches.flush(self)
        start, stop = self._durable_to, self._next
        self._file.start(lambda own: self._writing.make_durable(own, start, stop)).result()
        self._durable_to = stop

    def _start_write(self, blocks: list[bytes], offset: int) -> Job:
        return self._file.start(lambda own: self._writing.write(own, blocks, offset))

    def _wait_for(self, job: Job) -> None:
        job.result()

    def _checkpoint(self) -> None:
        if scheduler := current_scheduler(self._settings):
            scheduler.checkpoint()

    def _do(self, work: Callable[[], None]) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file.")
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        try:
            with errors_of_disk(self._writing.key):
                work()
        except Exception as error:
            self._failure = error
            raise
