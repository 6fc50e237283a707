"""DiskFile: an unnamed temporary file that the loop never waits for.

The rules:

* Whatever may block is done by the writer's threads: making the file, writing, reading what is
  not in the page cache, copying, linking, and closing (to free the pages of a large unlinked
  file takes the kernel about 100 ms for a gigabyte).
* There is one descriptor, and it is closed after its last use has ended, by whoever ends last.
  A write that is still queued when its greenlet is killed must not find another file under the
  same number.
* Once the file has a name it belongs to whoever knows the name: it is not written to any more,
  and what is read from it is checked for a change.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Any

from gevent.monkey import get_original

from .settings import UploadSettings
from .unnamed_file import append_copy, create_unnamed, give_name, whole_or_not_at_all, write_all
from .writer import Job, current_writer

# A native lock also where gevent has patched the threading modules: the threads use it too.
_allocate_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")

# preadv2(2) with RWF_NOWAIT: it would have had to wait, or the file system can't tell.
_MAY_BLOCK = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class DiskFile:
    """A file without a name in the spool's directory. Raises OSError where it can't be made."""

    def __init__(self, settings: UploadSettings) -> None:
        self._settings = settings
        self._descriptor = -1
        self._can_be_linked = False
        self._state_when_named: tuple[int, int] | None = None
        self._uses = 1
        self._lock = _allocate_lock()
        try:
            self._run(self._create)
        except BaseException:
            self.close()
            raise

    @property
    def descriptor(self) -> int:
        """The number of the descriptor, which stays this file's."""
        return self._descriptor

    @property
    def has_name(self) -> bool:
        """Whether save() has linked the file itself into place."""
        return self._state_when_named is not None

    def start_write(self, blocks: Sequence[bytes], offset: int) -> Job:
        """Begin to write all of the blocks, at most 1,024 of them (IOV_MAX), at `offset`."""
        return self._start(lambda: write_all(self._descriptor, blocks, offset))

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on, at least one unless the file ends there."""
        self._check_unchanged()
        data = _read_without_waiting(self._descriptor, size, offset)
        if data is not None:
            return data
        read: bytes = self._run(lambda: os.pread(self._descriptor, size, offset))
        return read

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`, or extend it with zeros."""
        self._run(lambda: os.ftruncate(self._descriptor, size))

    def save(self, path: str, start: int, *, fsync: bool) -> None:
        """Make what the file holds from `start` on the file `path`, whole or not at all.

        By a link where that is possible and allowed, else by a copy.
        """
        self._check_unchanged()
        self._run(lambda: self._save(path, start, fsync=fsync))

    def private_copy(self) -> DiskFile:
        """A file of the same content that has no name; this one is closed."""
        self._check_unchanged()
        twin = DiskFile(self._settings)
        try:
            self._run(lambda: append_copy(self._descriptor, 0, twin.descriptor))
        except BaseException:
            twin.close()
            raise
        self.close()
        return twin

    def close(self) -> None:
        """End the owner's use; to be called once. Never waits."""
        current_writer(self._settings).start_soon(self._end_use)

    def _run(self, function: Callable[[], Any]) -> Any:
        return self._start(function).result()

    def _start(self, function: Callable[[], Any]) -> Job:
        """Have a thread call `function` while the descriptor is certain to stay open."""
        with self._lock:
            self._uses += 1
        try:
            return current_writer(self._settings).start(self._use, function)
        except BaseException:  # killed before a thread was free: nobody will call it
            self._end_use()
            raise

    def _use(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        finally:
            self._end_use()

    def _end_use(self) -> None:
        with self._lock:
            self._uses -= 1
            last = self._uses == 0
        if last and self._descriptor != -1:
            os.close(self._descriptor)

    def _create(self) -> None:
        self._descriptor, self._can_be_linked = create_unnamed(self._settings.spool_path)

    def _save(self, path: str, start: int, *, fsync: bool) -> None:
        if start == 0 and self._try_to_link(path, fsync=fsync):
            return
        with whole_or_not_at_all(path, fsync=fsync) as target:
            append_copy(self._descriptor, start, target)

    def _try_to_link(self, path: str, *, fsync: bool) -> bool:
        # Once only: two destinations must not be one file.
        if self.has_name or not self._can_be_linked or not self._settings.save_links:
            return False
        try:
            give_name(self._descriptor, path, fsync=fsync)
        except OSError:
            return False  # another file system, most often; if it is worse, the copy tells
        self._state_when_named = self._state()
        return True

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def _check_unchanged(self) -> None:
        if self.has_name and self._state_when_named != self._state():
            raise OSError(
                errno.ESTALE,
                "this upload was saved and the saved file changed afterwards, so its stream can't "
                "be read any more; with the setting save_links off, files are copied when saved",
            )


def _read_without_waiting(descriptor: int, size: int, offset: int) -> bytes | None:
    """What can be read from memory; None where that can't be had, or can't be known."""
    if _NO_WAIT is None:
        return None
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor, [buffer], offset, _NO_WAIT)
    except OSError as error:
        if error.errno in _MAY_BLOCK:
            return None
        raise
    return bytes(memoryview(buffer)[:count])
