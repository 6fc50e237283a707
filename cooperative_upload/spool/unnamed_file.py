"""Files without a name: of a process that is killed nothing is left behind.

Where the file system has O_TMPFILE (Linux: ext4, XFS, Btrfs, tmpfs, and overlay from 6.3 on) such
a file can be linked to a name. Elsewhere it is made with a random one, which it loses at once.
Every function here may block on the disk: none is called on the loop.
"""

from __future__ import annotations

import errno
import os
import secrets

# open(2) with O_TMPFILE where the file system, or the kernel, does not know it.
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR})

_DESCRIPTORS = "/proc/self/fd"

# The mode that open() gives a new file; the kernel takes the process's umask off it, or what the
# directory's default access control list says. An unnamed file can't be opened by others whatever
# its mode is.
_MODE = 0o666


def create_unnamed(directory: str) -> tuple[int, bool]:
    """A new file without a name: its descriptor, and whether link_unnamed() can link it."""
    descriptor = open_unnamed(directory)
    if descriptor is not None:
        return descriptor, True
    path = random_path(directory)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return descriptor, False


def open_unnamed(directory: str) -> int | None:
    """A new file that can be linked, as a new one in this directory else; None if it has none."""
    flag = getattr(os, "O_TMPFILE", None)  # Linux alone
    if flag is None or not os.path.isdir(_DESCRIPTORS):  # without /proc none gets a name again
        return None
    try:
        return os.open(directory, flag | os.O_RDWR | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return None
        raise


def create_named(directory: str) -> tuple[int, str]:
    """A new file under a random name, as a new one in this directory: its descriptor and path."""
    path = random_path(directory)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), path


def link_unnamed(descriptor: int, path: str) -> None:
    """Give an unnamed file the name `path`. Raises FileExistsError if there is one."""
    # linkat(2) with AT_SYMLINK_FOLLOW. Python passes that flag only if a directory descriptor is
    # given; as the source is absolute, the kernel does not look at which one.
    os.link(f"{_DESCRIPTORS}/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def random_path(directory: str) -> str:
    """A path that nobody else has."""
    return os.path.join(directory, f".upload-{secrets.token_hex(8)}")
