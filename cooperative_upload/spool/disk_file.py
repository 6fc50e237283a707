"""DiskFile: a file, as a rule an unnamed temporary one, that the loop never waits for.

The rules:

* Whatever may block is done by the writer's threads: making the file, writing, reading what is
  not in the page cache, copying, linking, and closing (to free the pages of a large unlinked
  file takes the kernel about 100 ms for a gigabyte).
* There is one descriptor, and it is closed after its last use has ended, by whoever ends last.
* Nobody else has an unnamed file. What is saved is a copy, or else this is closed with it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..settings import UploadSettings
from ..turns import ClosedByLastUse, Job, run_in_steps
from .file_content import copied, write_all
from .saving import Fill, Saving, Taking, written_in_place, written_whole
from .unnamed_file import create_unnamed

# preadv2(2) with RWF_NOWAIT: it would have had to wait, or the file system can't tell.
_MAY_BLOCK = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)


class DiskFile:
    """A file without a name in the spool's directory. Raises OSError where it can't be made.

    when_closed: called once its descriptor is closed, or could not be had.
    opens: for a file that has a name: gives a descriptor of it, called by a thread.
    """

    def __init__(
        self,
        settings: UploadSettings,
        when_closed: Callable[[], object] = int,
        opens: Callable[[], int] | None = None,
    ) -> None:
        self._settings = settings
        self._when_closed = when_closed
        self._opens = opens
        self._descriptor = -1
        self._can_be_linked = False
        self._uses = ClosedByLastUse(settings, self._close_descriptor)
        try:
            self._uses.run(self._create)
        except BaseException:
            self.close()
            raise

    @property
    def descriptor(self) -> int:
        """The number of the descriptor, which stays this file's."""
        return self._descriptor

    def has_room_for(self, end: int) -> bool:
        """Whether it can reach so far."""
        return True

    def start(self, function: Callable[[int], Any]) -> Job:
        """Have a thread call `function` with the descriptor."""
        return self._uses.start(lambda: function(self._descriptor))

    def start_write(self, blocks: Sequence[bytes], offset: int) -> Job:
        """Begin to write all of the blocks, at most 1,024 of them (IOV_MAX), at `offset`."""
        return self.start(lambda descriptor: write_all(descriptor, blocks, offset))

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on, at least one unless the file ends there."""
        with self._uses.counted():
            data = _read_without_waiting(self._descriptor, size, offset)
        if data is not None:
            return data
        read: bytes = self._uses.run(lambda: os.pread(self._descriptor, size, offset))
        return read

    def truncate(self, size: int) -> None:
        """Cut the file off at `size`, or extend it with zeros."""
        self._uses.run(lambda: os.ftruncate(self._descriptor, size))

    def write_to(self, path: str, start: int, end: int) -> None:
        """Write what lies between `start` and `end` to the file `path`, as open() opens it."""
        self._save(written_in_place(path, self._content(start, end)))

    def save_to(self, path: str, start: int, end: int, *, fsync: bool) -> None:
        """Make it the file `path`, whole or not at all."""
        self._save(written_whole(path, self._content(start, end), fsync=fsync))

    def hand_over(self, take: Taking, start: int, end: int) -> None:
        """Have `take` make something of what lies between. Nothing but close() may follow."""
        own = self._descriptor if start == 0 and self._can_be_linked else None
        self._save(take(own, self._content(start, end)))

    def copy_into(self, own: DiskFile, start: int, end: int) -> None:
        """Copy what lies between `start` and `end` to the beginning of an empty file."""

        def both_used() -> None:
            self._uses.end_use()
            own._uses.end_use()

        own._uses.begin_use()
        try:
            self._uses.begin_use()
        except ValueError:
            own._uses.end_use()
            raise
        steps = copied(self._descriptor, start, end, own._descriptor)
        run_in_steps(steps, self._settings, when_closed=both_used)

    def close(self) -> None:
        """End the owner's use. Never waits."""
        self._uses.close()

    def _content(self, start: int, end: int) -> Fill:
        def fill(target: int) -> Iterator[None]:
            return copied(self._descriptor, start, end, target)

        return fill

    def _save(self, steps: Saving) -> None:
        self._uses.begin_use()  # from the first step to the last, also if it outlives its greenlet
        run_in_steps(steps, self._settings, when_closed=self._uses.end_use)

    def _create(self) -> None:
        if self._opens is not None:
            self._descriptor = self._opens()
        else:
            self._descriptor, self._can_be_linked = create_unnamed(self._settings.spool_path)

    def _close_descriptor(self) -> None:
        if self._descriptor != -1:
            os.close(self._descriptor)
        self._when_closed()


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
    # preadv2(2), BUGS: Linux 5.9 and 5.10 may return 0 before the end. A thread finds it out.
    return bytes(memoryview(buffer)[:count]) or None
