"""The content of an object on a disk, read without holding the loop."""

from __future__ import annotations

import errno
import os
import stat

from ..body import BLOCK_BYTES, BlockReader
from ..errors import NotStored, StorageError
from ..settings import UploadSettings
from ..spool import DiskFile
from ..turns import current_scheduler
from .local_errors import errors_of_disk
from .local_folder import Folder

# What is read from the disk at once: a few tenths of a millisecond of copying at the most.
_WINDOW_BYTES = 4 * BLOCK_BYTES


class LocalContent(BlockReader):
    """Bytes `start` to before `stop` of an object. Raises NotStored."""

    def __init__(
        self, folder: Folder, key: str, start: int, stop: int | None, settings: UploadSettings
    ) -> None:
        super().__init__(read_ahead=BLOCK_BYTES)
        self._settings = settings
        self._key = key
        self._closed = False
        with errors_of_disk(key):
            self._file = DiskFile(settings, opens=lambda: open_object(folder, key))
        try:
            size = os.fstat(self._file.descriptor).st_size
        except BaseException:
            self.close()
            raise
        self._next = min(start, size)
        self._stop = max(self._next, size if stop is None else min(stop, size))
        self.size = self._stop - self._next

    def close(self) -> None:
        """Free the descriptor. Never waits."""
        self._closed = True
        self._block, self._offset = b"", 0
        self._file.close()

    def __enter__(self) -> LocalContent:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _receive(self, size: int) -> bytes:
        if self._closed:
            raise ValueError("I/O operation on closed file.")
        most = min(size, _WINDOW_BYTES, self._stop - self._next)
        if not most:
            return b""
        if scheduler := current_scheduler(self._settings):
            scheduler.checkpoint()
        with errors_of_disk(self._key):
            data = self._file.read(most, self._next)
        if not data:
            end = f"the file ends at {self._next:,} of {self._stop:,} bytes"
            raise StorageError(OSError(errno.EIO, end))
        self._next += len(data)
        return data


def open_object(folder: Folder, key: str) -> int:
    """A descriptor of the object's file. It may block. Raises NotStored."""
    try:
        # O_NONBLOCK: a pipe that somebody put there is none, and not waited for.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(folder.path(key), flags)
    except (FileNotFoundError, NotADirectoryError):
        raise NotStored(key) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotStored(key)
    return descriptor
