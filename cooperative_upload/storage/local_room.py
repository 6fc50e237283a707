"""Room on a disk, asked for before the bytes come. It may block."""

from __future__ import annotations

import ctypes
import errno
import os

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE: the file is no longer for it

_NOT_HERE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})

# fallocate(2) itself, for os.posix_fallocate() makes up for a file system without it by writing
# one byte into each 4 KiB, for hours where the file is large.
_fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)


def reserve(descriptor: int, size: int) -> None:
    """Have a file system keep room for a file of that size, or look whether it has it now."""
    if _fallocate is not None and size:
        sizes = ctypes.c_longlong(0), ctypes.c_longlong(size)
        if _fallocate(ctypes.c_int(descriptor), ctypes.c_int(_KEEP_SIZE), *sizes) == 0:
            return
        code = ctypes.get_errno()
        if code not in _NOT_HERE:
            raise OSError(code, os.strerror(code))
    check_room(descriptor, size)


def check_room(where: int | str, size: int) -> None:
    """Raise OSError (ENOSPC) if the file system has not so much left."""
    system = os.statvfs(where)
    if size > system.f_bavail * system.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
