"""The spools of one request, and what they may hold: of memory and of open files.

Past the memory that a request may have for its files they go to disk, and past the number of
files that it may have open they share one. A worker has budgets for all of its requests, so that
forms with a thousand parts take neither its memory nor the descriptors that new connections
need.
"""

from __future__ import annotations

import errno
import resource
from typing import Protocol

from ..context_scope import ContextScope
from ..errors import StorageError
from ..settings import UploadSettings
from .budgets import Budget
from .disk_file import DiskFile
from .packed_file import PackedContent, PackedFile


class Closable(Protocol):
    """A spool, as far as its request has to do with it."""

    def close(self) -> None:
        """Free what it holds. May be called again."""


class WorkerBudgets:
    """What all spools of this process may hold.

    memory: bytes.
    files: descriptors. A request gets one for its first file and one for a packed file from here.
    more_files: of these, those for the other files of requests.
    """

    def __init__(self, settings: UploadSettings) -> None:
        most_files = settings.spool_worker_files or _half_of_the_limit()
        self.memory = Budget(settings.spool_worker_memory_bytes)
        self.files = Budget(most_files)
        self.more_files = Budget(most_files // 2, part_of=self.files)


_of_process: WorkerBudgets | None = None

_NO_LIMIT = 1 << 20  # files, where the system names none


def worker_budgets(settings: UploadSettings) -> WorkerBudgets:
    """Those of this process; the first caller's settings say how large they are."""
    global _of_process
    if _of_process is None:
        _of_process = WorkerBudgets(settings)
    return _of_process


class RequestSpools:
    """The spools that one request made, and the last thing that went wrong with any of them."""

    def __init__(self) -> None:
        self.open: set[Closable] = set()
        self.error: StorageError | None = None
        self._memory: Budget | None = None
        self._more_files: Budget | None = None
        self._has_file = False
        self._packed: PackedFile | None = None
        self._ended = False

    def memory(self, settings: UploadSettings) -> Budget:
        """The bytes that its files may have in memory, all together."""
        if self._memory is None:
            most = settings.spool_request_memory_bytes
            self._memory = Budget(most, part_of=worker_budgets(settings).memory)
        return self._memory

    def file_on_disk(self, settings: UploadSettings) -> DiskFile | PackedContent:
        """For one more spool. It may wait, and raises OSError where there can be none."""
        of_worker = worker_budgets(settings)
        if not self._has_file:
            self._has_file = True
            return _counted_file(of_worker.files, settings)
        if self._packed is None and self._one_more(of_worker, settings):
            return DiskFile(settings, when_closed=self._give_one_back)
        if self._packed is None:
            self._pack(_counted_file(of_worker.files, settings), settings)
        assert self._packed is not None
        return self._packed.add()

    def end(self) -> None:
        """Close all that are open."""
        self._ended = True
        for spool in list(self.open):
            spool.close()
        if self._packed is not None:
            self._packed.close()

    def _one_more(self, of_worker: WorkerBudgets, settings: UploadSettings) -> bool:
        if self._more_files is None:
            self._more_files = Budget(settings.spool_request_files - 1, of_worker.more_files)
        return self._more_files.take(1)

    def _give_one_back(self) -> None:
        assert self._more_files is not None
        self._more_files.give_back(1)

    def _pack(self, file: DiskFile, settings: UploadSettings) -> None:
        """Have others share this file, unless another greenlet was first, or the request ended."""
        if self._packed is not None:
            file.close()
            return
        self._packed = PackedFile(file, settings)
        if self._ended:
            self._packed.close()


def file_of_worker(settings: UploadSettings) -> DiskFile:
    """One that no request made, and that does not take the place of a request's first one.

    It may wait, and raises OSError where there can be none.
    """
    return _counted_file(worker_budgets(settings).more_files, settings)


def _counted_file(budget: Budget, settings: UploadSettings) -> DiskFile:
    if not budget.take(1):
        raise OSError(errno.EMFILE, "as many temporary files are open as a worker may have")
    return DiskFile(settings, when_closed=lambda: budget.give_back(1))


def _half_of_the_limit() -> int:
    """Of the descriptors that this process may have: each upload has a connection, too."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (limit if limit != resource.RLIM_INFINITY else _NO_LIMIT) // 2


spools_of_request: ContextScope[RequestSpools] = ContextScope("spools")


def close_with_request(file: Closable) -> RequestSpools | None:
    """Have a file closed when the request ends that runs here; that request's, if there is one."""
    request = spools_of_request.get()
    if request is not None:
        request.open.add(file)
    return request
