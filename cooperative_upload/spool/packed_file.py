"""PackedFile: one file on disk for the content of many spools, one behind the other.

A form can have a thousand files, and a process has about as many descriptors. Past the budget of
its request a spool gets its place in this file, behind the one before it. The last one can grow;
one that is followed by another can't, and moves to a file of its own if it is to.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..settings import UploadSettings
from ..turns import ClosedByLastUse, Job
from .disk_file import DiskFile
from .saving import Taking


class PackedFile:
    """file: whose content they are. It is closed when this and all of them are."""

    def __init__(self, file: DiskFile, settings: UploadSettings) -> None:
        self.file = file
        self._settings = settings
        self._uses = ClosedByLastUse(settings, file.close)
        self._last: PackedContent | None = None

    def add(self) -> PackedContent:
        """A place behind the last one, which can't grow from now on."""
        begins = 0 if self._last is None else self._last.begins + self._last.size
        self._uses.begin_use()
        self._last = PackedContent(self, begins)
        return self._last

    def is_last(self, content: PackedContent) -> bool:
        """Whether there is nothing behind it."""
        return self._last is content

    def closed_one(self) -> None:
        """One of them is not used any more."""
        self._uses.end_use()

    def close(self) -> None:
        """None is added any more. Never waits."""
        self._uses.close()


class PackedContent:
    """The content of one spool, with the methods of a DiskFile.

    begins: where in the packed file.
    """

    descriptor = None  # it has none of its own

    def __init__(self, packed: PackedFile, begins: int) -> None:
        self._packed = packed
        self._file = packed.file
        self._closed = False
        self.begins = begins
        self.size = 0

    def has_room_for(self, end: int) -> bool:
        """Whether it can reach so far: what is written beyond would be another's."""
        return end <= self.size or self._packed.is_last(self)

    def start_write(self, blocks: Sequence[bytes], offset: int) -> Job:
        """As DiskFile's. There has to be room for it."""
        self.size = max(self.size, offset + sum(map(len, blocks)))
        return self._file.start_write(blocks, self.begins + offset)

    def read(self, size: int, offset: int) -> bytes:
        """As DiskFile's; nothing of the content behind it."""
        return self._file.read(min(size, self.size - offset), self.begins + offset)

    def write_to(self, path: str, start: int, end: int) -> None:
        """As DiskFile's."""
        self._file.write_to(path, self.begins + start, self.begins + end)

    def save_to(self, path: str, start: int, end: int, *, fsync: bool) -> None:
        """As DiskFile's."""
        self._file.save_to(path, self.begins + start, self.begins + end, fsync=fsync)

    def hand_over(self, take: Taking, start: int, end: int) -> None:
        """As DiskFile's; the file is not this content's alone."""
        self._file.hand_over(
            lambda _, content: take(None, content), self.begins + start, self.begins + end
        )

    def copy_into(self, own: DiskFile) -> None:
        """Copy it to the beginning of an empty file."""
        self._file.copy_into(own, self.begins, self.begins + self.size)

    def close(self) -> None:
        """Give the place up. Never waits. May be called again."""
        if not self._closed:
            self._closed = True
            self._packed.closed_one()
