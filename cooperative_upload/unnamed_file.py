"""Files that have no name until they are whole.

A file is made without a name in a directory and gets one only when all its bytes are in it. So
a reader of the directory sees a file whole or not at all, and a process that is killed leaves
nothing behind. Every function here may block on the disk: none is called on the loop.

Where the file system has O_TMPFILE (Linux: ext4, XFS, Btrfs, tmpfs, overlay) such a file can be
linked into place without a copy. Elsewhere it is made with a random name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence

COPY_BYTES = 1024 * 1024  # what is copied at once: enough to make the calls' cost vanish

# open(2) with O_TMPFILE where the file system, or the kernel, does not know it.
_NO_UNNAMED_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR})

_DESCRIPTORS = "/proc/self/fd"

# The mode that open() gives a new file; the kernel takes the process's umask off it. An unnamed
# file can't be opened by others whatever its mode is.
_MODE = 0o666


def create_unnamed(directory: str) -> tuple[int, bool]:
    """A new file without a name: its descriptor, and whether give_name() can link it."""
    descriptor = _open_tmpfile(directory)
    if descriptor is not None:
        return descriptor, True
    path = _random_path(directory)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return descriptor, False


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


def append(descriptor: int, data: bytes) -> None:
    """Write all of `data` at the descriptor's position, which may be a pipe's."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def append_copy(source: int, offset: int, target: int) -> None:
    """Append what the file `source` holds from `offset` on to `target`."""
    while data := os.pread(source, COPY_BYTES, offset):
        offset += len(data)
        append(target, data)


def give_name(descriptor: int, path: str, *, fsync: bool) -> None:
    """Link the whole file `descriptor`, made by O_TMPFILE, to `path` in one step.

    What open(path, "wb") does to names and modes is done here too: a symbolic link is followed,
    a new file has its mode from the umask, an existing one keeps its mode and, where this
    process may give it away, its owner. Raises OSError where that can't be done by a link: the
    path is on another file system, names something that is no regular file, or lies in a
    directory whose new files get another group than this file has.
    """
    target = _followed(path)
    if os.path.exists(target):
        if not _is_replaceable(target):
            raise OSError(errno.EXDEV, "can't be replaced by a link", path)
    elif not _has_group_for(descriptor, os.path.dirname(target)):
        raise OSError(errno.EXDEV, "a link would have another group than a new file", path)
    _put_in_place(descriptor, target, fsync=fsync)


@contextlib.contextmanager
def whole_or_not_at_all(path: str, *, fsync: bool) -> Iterator[int]:
    """A descriptor to write the new content of `path` to; it is put in place at the end.

    If the block raises, `path` stays as it was. A path that can't be replaced is opened and
    written to as it stands, or open() says what is wrong with it.
    """
    target = _followed(path)
    if os.path.exists(target) and not _is_replaceable(target):
        with open(target, "wb", buffering=0) as in_place:
            yield in_place.fileno()
            if fsync and os.path.isfile(target):  # a device or a pipe can't be synced
                os.fsync(in_place.fileno())
        return
    directory = os.path.dirname(target)
    descriptor = _open_tmpfile(directory)
    if descriptor is None:
        with _replacing(target, fsync=fsync) as descriptor:
            yield descriptor
        return
    try:
        yield descriptor
        _put_in_place(descriptor, target, fsync=fsync)
    finally:
        os.close(descriptor)


def _put_in_place(descriptor: int, target: str, *, fsync: bool) -> None:
    """Link an unnamed file to `target`, in the place of what is there."""
    _take_over_mode(descriptor, target)
    if fsync:
        os.fsync(descriptor)
    try:
        _link(descriptor, target)
    except FileExistsError:
        temporary = _random_path(os.path.dirname(target))
        _link(descriptor, temporary)
        _replace(temporary, target)
    if fsync:
        _fsync_directory(os.path.dirname(target))


@contextlib.contextmanager
def _replacing(target: str, *, fsync: bool) -> Iterator[int]:
    """As whole_or_not_at_all, where the file system has no unnamed files."""
    temporary = _random_path(os.path.dirname(target))
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    try:
        yield descriptor
        _take_over_mode(descriptor, target)
        if fsync:
            os.fsync(descriptor)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    _replace(temporary, target)
    if fsync:
        _fsync_directory(os.path.dirname(target))


def _open_tmpfile(directory: str) -> int | None:
    flag = getattr(os, "O_TMPFILE", None)  # Linux alone
    if flag is None or not os.path.isdir(_DESCRIPTORS):  # without /proc none gets a name again
        return None
    try:
        return os.open(directory, flag | os.O_RDWR | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return None
        raise


def _followed(path: str) -> str:
    """The absolute path, behind all symbolic links, of what open(path, "wb") would open."""
    if path.endswith(os.sep):  # which realpath() would take off
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return os.path.realpath(path)


def _has_group_for(descriptor: int, directory: str) -> bool:
    """Whether the file has the group that a new file in `directory` gets."""
    status = os.stat(directory)
    inherits = status.st_mode & stat.S_ISGID
    group = status.st_gid if inherits else os.getegid()
    return os.fstat(descriptor).st_gid == group


def _is_replaceable(target: str) -> bool:
    """Whether a rename onto `target` does what opening it for writing would have done.

    It does not for a device or a pipe, in a directory where this process may not make files, and
    for a file that it may not write to.
    """
    directory = os.path.dirname(target)
    return (
        os.path.isfile(target)
        and os.access(target, os.W_OK)
        and os.access(directory, os.W_OK | os.X_OK)
    )


def _link(descriptor: int, path: str) -> None:
    # linkat(2) with AT_SYMLINK_FOLLOW. Python passes that flag only if a directory descriptor is
    # given; as the source is absolute, the kernel does not look at which one.
    os.link(f"{_DESCRIPTORS}/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


def _replace(temporary: str, target: str) -> None:
    try:
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _take_over_mode(descriptor: int, target: str) -> None:
    try:
        existing = os.stat(target)
    except FileNotFoundError:
        return
    os.fchmod(descriptor, stat.S_IMODE(existing.st_mode))
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (existing.st_uid, existing.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, existing.st_uid, existing.st_gid)


def _random_path(directory: str) -> str:
    return os.path.join(directory, f".upload-{secrets.token_hex(8)}")


def _fsync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
