"""The bytes of one part, from their arrival until the store has them.

They lie in memory, by reference, while the worker's budget has room (storage_memory_bytes). Past
that an upload first waits for what it has under way itself, which gives its memory back at the
pace of the store; with nothing under way all of the part goes to an unnamed file, in batches as
those of a spool. Nobody waits for others, so a thousand clients that trickle can use the budget up
and lock nobody out. What is not within it is the block that is just written, less than 4 KiB of
small ones, and what a thread has in hand.

A buffer is filled by one greenlet, sealed, and then read as often as the store has to be told.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..errors import StorageError
from ..forms import Hashing
from ..settings import UploadSettings
from ..spool import Budget, DiskFile, file_of_worker
from ..turns import Job, current_scheduler

# Blocks below it are collected into one of this size: each kept object costs some 40 bytes.
_SMALL_BYTES = 4096

# Blocks that one write takes: IOV_MAX of Linux.
_MOST_BLOCKS = 1024

# What goes to the socket at once: a block of werkzeug's parser, a tenth of a slice.
_PIECE_BYTES = 64 * 1024


def _no_room() -> bool:
    return False


class PartBuffer:
    """An empty one.

    memory: the bytes that all parts of the worker may have in memory.
    digests: which are computed on the way, by threads: names as for receive().
    make_room: waits until the upload has given some memory back, and says whether it had any to
        wait for.
    """

    def __init__(
        self,
        memory: Budget,
        settings: UploadSettings,
        digests: Iterable[str] = (),
        make_room: Callable[[], bool] = _no_room,
    ) -> None:
        self._make_room = make_room
        self._memory = memory
        self._settings = settings
        self._hashing = Hashing(digests, settings)
        self._size = 0
        self._small = bytearray()
        self._blocks: list[bytes] = []  # all of it, or what is next written to the file
        self._blocks_bytes = 0
        self._held = 0  # bytes of the budget
        self._disk: DiskFile | None = None
        self._on_disk = 0
        self._in_flight: Job | None = None
        self._held_in_flight = 0
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes that were added."""
        return self._size

    @property
    def is_on_disk(self) -> bool:
        """Whether it lies in a file."""
        return self._disk is not None

    def append(self, block: bytes) -> None:
        """Add the next bytes. Keeps them by reference; waits for the disk if they go there.

        Raises StorageError where they can't be kept, and ValueError once it is closed.
        """
        self._check_open()
        self._size += len(block)
        if len(block) < _SMALL_BYTES:
            self._small += block
            if len(self._small) < _SMALL_BYTES:
                return
            block = b""
        self._add_small_ones()
        if block:
            self._add(block)

    def seal(self) -> Mapping[str, bytes]:
        """End it: all of it can be read from now on. Returns the digests. Again gives the same."""
        self._check_open()
        self._add_small_ones()
        if self._disk is not None:
            self._write_batch(self._disk)
            self._settle()
        return self._hashing.finished().values()

    def reader(self) -> PartReader:
        """All of it from the beginning, in turns with other uploads; it was sealed before."""
        return PartReader(self, self._settings)

    def close(self) -> None:
        """Free it, also while somebody reads it. Never waits; may be called again."""
        if self._closed:
            return
        self._closed = True
        self._blocks, self._in_flight, self._small = [], None, bytearray()
        self._memory.give_back(self._held + self._held_in_flight)
        if self._disk is not None:
            self._disk.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file.")

    def _add_small_ones(self) -> None:
        if self._small:
            block = bytes(self._small)
            self._small.clear()
            self._add(block)

    def _add(self, block: bytes) -> None:
        self._hashing.update(block)
        self._blocks.append(block)
        self._blocks_bytes += len(block)
        if self._disk is not None:
            if not self._holds(self._blocks_bytes) or self._is_full_batch:
                self._write_batch(self._disk)
            return
        while not self._holds(self._blocks_bytes):
            if not self._make_room():
                self._move_to_disk()
                return
            self._check_open()

    @property
    def _is_full_batch(self) -> bool:
        full = self._blocks_bytes >= self._settings.spool_batch_bytes
        return full or len(self._blocks) >= _MOST_BLOCKS

    def _holds(self, size: int) -> bool:
        """Whether the budget has so many bytes for it, those included that it had already."""
        missing = size - self._held
        if not self._memory.take(missing):
            return False
        self._held = size
        return True

    def _move_to_disk(self) -> None:
        with _told_as_storage_error():
            disk = file_of_worker(self._settings)
        if self._closed:  # by another greenlet, while the file was made
            disk.close()
        self._check_open()
        self._disk = disk
        blocks = self._blocks
        for first in range(0, len(blocks), _MOST_BLOCKS):
            self._settle()
            self._start_write(disk, blocks[first : first + _MOST_BLOCKS])
        self._hand_over()

    def _write_batch(self, disk: DiskFile) -> None:
        self._settle()
        self._start_write(disk, self._blocks)
        self._hand_over()

    def _start_write(self, disk: DiskFile, blocks: list[bytes]) -> None:
        self._in_flight = disk.start_write(blocks, self._on_disk)
        self._on_disk += sum(map(len, blocks))

    def _hand_over(self) -> None:
        """What was collected is the disk's; its part of the budget stays until that has it."""
        self._blocks, self._blocks_bytes = [], 0
        self._held, self._held_in_flight = 0, self._held
        # Else the hasher's batch would hold blocks that the budget soon counts no more.
        self._hashing.settle()

    def _settle(self) -> None:
        """Wait for the write in flight."""
        job, self._in_flight = self._in_flight, None
        if job is None:
            return
        with _told_as_storage_error():
            job.result()
        self._check_open()
        self._memory.give_back(self._held_in_flight)
        self._held_in_flight = 0

    def read_at(self, offset: int, place: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
        """For the reader: some bytes from `offset` on, and the place of those behind them.

        place: (block, bytes into it) of `offset`, where it lies in memory.
        """
        self._check_open()
        if self._disk is not None:
            return self._read_from_disk(self._disk, offset), place
        if offset >= self._size:
            return b"", place
        index, start = place
        block = self._blocks[index]
        if start == 0 and len(block) <= _PIECE_BYTES:
            return block, (index + 1, 0)
        stop = min(start + _PIECE_BYTES, len(block))
        return block[start:stop], ((index, stop) if stop < len(block) else (index + 1, 0))

    def _read_from_disk(self, disk: DiskFile, offset: int) -> bytes:
        most = min(_PIECE_BYTES, self._size - offset)
        if most <= 0:
            return b""
        with _told_as_storage_error():
            data = disk.read(most, offset)
            if not data:
                raise OSError(errno.EIO, f"the file ends at {offset:,} of {self._size:,} bytes")
        return data


class PartReader:
    """A sealed buffer as a file from its beginning to its end, for whoever sends it.

    It has what http.client, urllib3 and botocore ask of a body.
    """

    def __init__(self, buffer: PartBuffer, settings: UploadSettings) -> None:
        self._buffer = buffer
        self._scheduler = current_scheduler(settings)
        self._offset = 0
        self._place = (0, 0)

    def read(self, size: int = -1, /) -> bytes:
        """The next block, whatever size is asked for; b"" at the end. Takes a turn for it.

        Those who send it ask for 16 KiB at once, which is four times as many calls of the system
        as there are blocks, and send what they get.
        """
        if self._scheduler is not None:
            self._scheduler.checkpoint()
        data, self._place = self._buffer.read_at(self._offset, self._place)
        self._offset += len(data)
        return data

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """To the beginning, for another try, or to the end, to see how much it is."""
        if (offset, whence) == (0, os.SEEK_END):
            self._offset = self._buffer.size
        elif (offset, whence) == (0, os.SEEK_SET):
            self._offset, self._place = 0, (0, 0)
        else:
            raise ValueError("a part can be read from its beginning alone")
        return self._offset


@contextlib.contextmanager
def _told_as_storage_error() -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(error) from error
