"""Spool: the temporary file that a file part of a form is written to.

Up to spool_memory_bytes it is a buffer in memory, past that a file on disk, for which the blocks
are collected by reference and written with one call per batch, while the next batch is collected.
At most one batch of a spool is in flight. What it can do is what tempfile.SpooledTemporaryFile can
do; like any file object, it is used by one greenlet at a time.

What it holds in memory is within the budgets of its request and of the worker; past them it goes
to disk earlier, in smaller batches, and shares a file with others of its request.

What can't be stored is a StorageError. spools_closed_at_the_end() ties spools to a request: they
are freed when it ends, also if it failed halfway, and not at the next garbage collection.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..body import BLOCK_BYTES, BlockReader
from ..errors import StorageError, is_for_want_of_room
from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from ..turns import Job, current_scheduler, run_in_steps
from .batches import Batches
from .disk_file import DiskFile
from .file_content import append
from .packed_file import PackedContent
from .request_spools import RequestSpools, spools_of_request, worker_budgets
from .saving import Fill, Saving, Taking, moved, written_in_place, written_whole

# What is read from the disk at once: a few tenths of a millisecond of copying at the most.
_WINDOW_BYTES = 4 * BLOCK_BYTES


_CLOSED = "I/O operation on closed file."

_LONGEST_NAME = 200  # characters of a file's name in the log

_log = logging.getLogger("cooperative_upload")


class Spool(BlockReader, io.BufferedIOBase):
    """A temporary file, open for reading and writing, that never blocks the loop.

    A write that failed (no space, a limit, a broken disk) is raised as a StorageError by the next
    write, seek, read or save, and by each one after it: what could not be written is never taken
    for written.

    A file that was closed raises a ValueError, also in whoever waited for it meanwhile. A request
    closes those that it made when it ends; keep() gives one that stays open.

    settings: None for those of the request or of the process.
    filename: by which it is called in the log.
    """

    mode = "rb+"

    def __init__(
        self, settings: UploadSettings | None = None, *, filename: str | None = None
    ) -> None:
        super().__init__(read_ahead=BLOCK_BYTES)
        self._settings = settings or settings_in_force()
        self._filename = filename
        self._memory: io.BytesIO | None = io.BytesIO()
        self._disk: DiskFile | PackedContent | None = None
        self._next = 0  # where the next block is read from or written to
        self._size = 0
        self._error: StorageError | None = None
        self._late_use_told = False
        self._request = spools_of_request.get()
        self._batches = self._new_batches()
        if self._request is not None:
            self._request.open.add(self)

    @property
    def name(self) -> int | None:
        """The number of its own descriptor, None while there is none, as SpooledTemporaryFile."""
        return None if self._disk is None else self._disk.descriptor

    @property
    def _file(self) -> Spool:
        """What SpooledTemporaryFile wraps; programs look there for what it lacked up to 3.10."""
        return self

    @property
    def _rolled(self) -> bool:
        """Whether it is on disk, by the name that SpooledTemporaryFile has for it."""
        return self._memory is None

    @property
    def _max_size(self) -> int:
        """Bytes up to which it stays in memory, likewise."""
        return self._settings.spool_memory_bytes

    @property
    def getvalue(self) -> Callable[[], bytes]:
        """The method of io.BytesIO, which werkzeug's files of small forms are; while in memory."""
        return self._in_memory().getvalue

    @property
    def getbuffer(self) -> Callable[[], memoryview]:
        """Likewise."""
        return self._in_memory().getbuffer

    def readable(self) -> bool:
        self._check_usable()
        return True

    writable = seekable = readable

    def fileno(self) -> int:
        """The descriptor, positioned as this file is. It stays this file's: do not close it."""
        self.rollover()
        self.flush()
        descriptor = self._own_file().descriptor
        os.lseek(descriptor, self.tell(), os.SEEK_SET)
        return descriptor

    def tell(self) -> int:
        self._check_usable()
        return self._next - (len(self._block) - self._offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position. What was written before has reached the file when this returns."""
        self.flush()
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"invalid whence: expected 0, 1 or 2, got {whence!r}")
        base = (0, self.tell(), self._size)[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._go_to(base + offset)
        return self._next

    def truncate(self, size: int | None = None, /) -> int:
        """Cut the file off at `size`, by default at the position, which does not move."""
        position = self.tell()
        wanted = position if size is None else size
        if wanted < 0:
            raise ValueError(f"negative truncate size {wanted}")
        self._go_to(position)
        if wanted > self._settings.spool_memory_bytes:
            self.rollover()
        memory = self._memory
        if memory is not None:
            memory.truncate(wanted)
            self._size = min(self._size, wanted)
            return wanted
        self.flush()
        disk = self._own_file()
        with self._errors_of_storage():
            disk.truncate(wanted)
        self._size = wanted
        return wanted

    def write(self, data: Any, /) -> int:
        """Write at the position. Keeps a bytes object by reference, and copies any other."""
        self._check_usable()
        if self._block:  # read ahead of the position
            self._go_to(self.tell())
        # memoryview refuses what has no bytes: bytes(5) would be five zeros.
        block = data if type(data) is bytes else bytes(memoryview(data))
        if not block:  # does not move the end, also from a position behind it
            return 0
        end = self._next + len(block)
        if self._memory is not None and not self._may_hold(end):
            self.rollover()
        memory = self._memory
        if memory is None:
            self._collect(block)
        else:
            memory.seek(self._next)
            memory.write(block)
            self._next, self._size = end, max(self._size, end)
        return len(block)

    def rollover(self) -> None:
        """Move the content from memory to a file on disk."""
        self._check_usable()
        memory = self._memory
        if memory is None:
            return
        with self._errors_of_storage():
            disk = self._new_file()
        self._adopt(disk)
        content, self._memory = memory.getvalue(), None
        if content:
            self._batches.begin_with(content)
        self._checkpoint()  # making the file was a wait

    def flush(self) -> None:
        """Wait until what was written has reached the file; raises what went wrong with it."""
        self._check_usable()
        self._batches.flush(self)

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read1(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, with one read of the file at most."""
        return self._next_piece(_WINDOW_BYTES if size < 0 else size, ahead=0)

    readinto1 = readinto

    def save(self, path: str | os.PathLike[str]) -> None:
        """write_to(), or save_to() where the setting save_whole says so: FileStorage.save."""
        if self._settings.save_whole:
            self.save_to(path)
        else:
            self.write_to(path)

    def write_to(self, path: str | os.PathLike[str]) -> None:
        """Write what lies between the position and the end to the file `path`; be at the end.

        As open(path, "wb") and writes to it do: what is there is emptied and written to. Raises
        OSError for a path that can't be written, and StorageError where there is no room.
        """
        self._save(
            lambda disk, start: disk.write_to(os.fsdecode(path), start, self._size),
            lambda rest: written_in_place(os.fsdecode(path), rest),
        )

    def save_to(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        """The same, whole or not at all: `path` stays what it was until all is there.

        The file is as open(path, "wb") would have made it; one that is replaced hands its owner,
        mode and access control list on. What can't be replaced is written to (see saving.py).

        fsync: return only when the content and the name are on the medium.
        """
        self._save(
            lambda disk, start: disk.save_to(os.fsdecode(path), start, self._size, fsync=fsync),
            lambda rest: written_whole(os.fsdecode(path), rest, fsync=fsync),
        )

    def move_to(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        """As save_to(), and closes this file, whose content need not be copied then.

        A spool on disk that is at its beginning becomes the file, where it is on the same file
        system and has the rights that a new file there would have. It stays open if this raises.
        """
        self.hand_over(
            lambda own, content: moved(own, os.fsdecode(path), content, fsync=fsync),
        )

    def hand_over(self, take: Taking) -> None:
        """Have a thread make something of what lies behind the position, and close this file.

        It stays open if this raises.
        """
        self._save(
            lambda disk, start: disk.hand_over(take, start, self._size),
            lambda rest: take(None, rest),
        )
        self.close()

    def _save(
        self,
        from_disk: Callable[[DiskFile | PackedContent, int], None],
        from_memory: Callable[[Fill], Saving],
    ) -> None:
        self.flush()
        start = self.tell()
        try:
            if self._disk is not None:
                from_disk(self._disk, start)
            elif self._memory is not None:
                rest = memoryview(self._memory.getvalue())[start:]
                run_in_steps(from_memory(_filled_with(rest)), self._settings)
        except OSError as error:
            if not is_for_want_of_room(error):
                raise  # the path is the application's choice
            with self._errors_of_storage():
                raise
        self._go_to(max(start, self._size))

    def keep(self) -> Spool:
        """The content as a file of the caller's own, which no request closes; this one is closed.

        For greenlets and threads that go on when the request has ended. Nothing is copied, and
        the position stays. The caller closes it. Raises what flush() raises.
        """
        self.flush()
        kept = Spool(self._settings, filename=self._filename)
        kept._leave_request()
        kept._size, kept._next = self._size, self.tell()
        if isinstance(self._disk, PackedContent):
            self._own_file()
        kept._memory, kept._disk = self._memory, self._disk
        kept._batches.holds(self._batches.give_up())
        self._memory = self._disk = None
        self.close()
        return kept

    def close(self) -> None:
        """Free the memory and the disk. Never waits; what was not yet written never is."""
        if self.closed:
            return
        if self._request is not None:
            self._request.open.discard(self)
        self._go_to(0)
        self._batches.drop()
        self._error = None
        super().close()
        disk, self._disk, self._memory = self._disk, None, None
        if disk is not None:
            disk.close()

    def _in_memory(self) -> io.BytesIO:
        self._check_usable()
        if self._memory is None:  # as for a name that SpooledTemporaryFile does not have
            raise AttributeError("this file is on disk, and has no such method there")
        return self._memory

    def _receive(self, size: int) -> bytes:
        self.flush()
        if self._next >= self._size:
            return b""
        memory = self._memory
        if memory is not None:
            memory.seek(self._next)
            data = memory.read(size)
        else:
            self._checkpoint()
            most = min(size, _WINDOW_BYTES, self._size - self._next)
            data = self._read_from_disk(most)
        self._next += len(data)
        return data

    def _read_from_disk(self, size: int) -> bytes:
        """What is there before the end, which is never taken for nothing."""
        with self._errors_of_storage():
            data = self._open_disk().read(size, self._next)
            if not data:
                end = f"the file ends at {self._next:,} of {self._size:,} bytes"
                raise OSError(errno.EIO, end)
        return data

    def _collect(self, block: bytes) -> None:
        offset, self._next = self._next, self._next + len(block)
        self._size = max(self._size, self._next)
        self._batches.add(self, block, offset)

    def _start_write(self, blocks: list[bytes], offset: int) -> Job:
        """Hand a batch to the disk."""
        disk = self._open_disk()
        if not disk.has_room_for(offset + sum(map(len, blocks))):
            disk = self._own_file()
        return disk.start_write(blocks, offset)

    def _wait_for(self, job: Job) -> None:
        try:
            with self._errors_of_storage():
                job.result()
        except StorageError as error:
            self._error = error
        self._check_usable()

    def _may_hold(self, size: int) -> bool:
        """Whether so much may be in memory as a whole."""
        return size <= self._settings.spool_memory_bytes and self._batches.holds(size)

    def _new_batches(self) -> Batches:
        request, settings = self._request, self._settings
        budget = worker_budgets(settings).memory if request is None else request.memory(settings)
        return Batches(settings, budget)

    def _new_file(self) -> DiskFile | PackedContent:
        if self._request is None:
            return DiskFile(self._settings)
        return self._request.file_on_disk(self._settings)

    def _own_file(self) -> DiskFile:
        """The file on disk for what it needs alone: a descriptor, or to grow."""
        disk = self._open_disk()
        if isinstance(disk, DiskFile):
            return disk
        with self._errors_of_storage():
            own = DiskFile(self._settings)
            try:
                disk.copy_into(own)
            except BaseException:
                own.close()
                raise
        self._adopt(own)
        disk.close()
        return own

    def _adopt(self, disk: DiskFile | PackedContent) -> None:
        """Have a file that was just made, unless it comes too late."""
        if self.closed:
            disk.close()
        self._check_usable()
        self._disk = disk

    def _open_disk(self) -> DiskFile | PackedContent:
        disk = self._disk
        if disk is None:
            raise ValueError(_CLOSED)
        return disk

    def _checkpoint(self) -> None:
        """Go on with a turn, unless the file was closed in the meantime."""
        scheduler = current_scheduler(self._settings)
        if scheduler is not None:
            scheduler.checkpoint()
            self._check_usable()

    def _check_usable(self) -> None:
        if self.closed:
            self._tell_of_late_use()
            raise ValueError(_CLOSED)
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _tell_of_late_use(self) -> None:
        """Once, of a file that somebody goes on with who is not the request that made it."""
        if self._late_use_told or self._request in (None, spools_of_request.get()):
            return
        self._late_use_told = True
        _log.warning(
            "The uploaded file %a was used after its request had closed it. Spool.keep() gives "
            "one that stays open.",
            (self._filename or "")[:_LONGEST_NAME],
        )

    def _leave_request(self) -> None:
        if self._request is not None:
            self._request.open.discard(self)
            self._request = None
            self._batches = self._new_batches()

    @contextlib.contextmanager
    def _errors_of_storage(self) -> Iterator[None]:
        """An OSError of the spool's own file is a fault of the server's storage."""
        try:
            yield
        except OSError as error:
            failure = StorageError(error)
            if self._request is not None:
                self._request.error = failure
            raise failure from error

    def _go_to(self, position: int) -> None:
        self._block, self._offset, self._next = b"", 0, position


@contextlib.contextmanager
def spools_closed_at_the_end() -> Iterator[RequestSpools]:
    """Close all spools that the current greenlet makes within the block.

    Those of greenlets that it spawns are theirs: such a greenlet may outlive the request.
    """
    spools = RequestSpools()
    try:
        with spools_of_request.holding(spools):
            yield spools
    finally:
        spools.end()


def _filled_with(data: memoryview) -> Fill:
    def fill(target: int) -> Iterable[None]:
        append(target, data)
        return ()

    return fill
