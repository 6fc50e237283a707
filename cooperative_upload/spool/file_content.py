"""Bytes into files and from one file into another, all of them.

The calls that a file system makes shorter than they were asked for (a signal, a full disk, a
limit, a pipe that takes little) are made again for the rest. Every function here may block on the
disk: none is called on the loop.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Sequence

# What is copied before others may have the thread: about 20 ms in the page cache.
STEP_BYTES = 16 * 1024 * 1024

# What is copied at once where the kernel can't do it by itself: it stays in the processor's cache.
# Measured: 600 MB/s, where blocks of 1 MiB, each new, make 180.
_BUFFER_BYTES = 256 * 1024


def write_all(descriptor: int, blocks: Sequence[bytes], offset: int) -> None:
    """Write all of the blocks at `offset`, in as many calls as the system makes of it."""
    missing = sum(map(len, blocks))
    written = os.pwritev(descriptor, blocks, offset)
    if written == missing:
        return
    rest = memoryview(b"".join(blocks))  # a short write: a signal, a full disk, a limit
    while written < missing:
        count = os.pwrite(descriptor, rest[written:], offset + written)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += count


def append(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the descriptor's position, which may be a pipe's."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def copied(source: int, start: int, end: int, target: int) -> Generator[None, None, None]:
    """Append what the file `source` holds from `start` to `end` on to `target`.

    In steps: what is iterated over yields where the thread may do something else first.
    """
    copy = _copy_in_the_kernel
    while start < end:
        count = copy(source, start, min(STEP_BYTES, end - start), target)
        start += count
        if count == 0:
            if copy is _copy_by_reading:
                raise OSError(errno.EIO, f"the file ends at {start:,} of {end:,} bytes")
            copy = _copy_by_reading
        elif start < end:
            yield


def _copy_in_the_kernel(source: int, start: int, most: int, target: int) -> int:
    """Bytes that copy_file_range(2) has copied; 0 where it can't.

    It shares the blocks where the file system can (Btrfs, XFS), and copies without the way through
    this process where it can't. Whatever it refuses (a pipe, another kind of file system) a plain
    copy can do, or it says what is wrong.
    """
    try:
        return os.copy_file_range(source, target, most, start)
    except (OSError, AttributeError):  # Linux alone has it
        return 0


def _copy_by_reading(source: int, start: int, most: int, target: int) -> int:
    """Bytes that were read and written; 0 at the end of the source."""
    buffer = memoryview(bytearray(min(_BUFFER_BYTES, most)))
    done = 0
    while done < most:
        count = os.preadv(source, [buffer[: most - done]], start + done)
        if count == 0:
            break
        append(target, buffer[:count])
        done += count
    return done
