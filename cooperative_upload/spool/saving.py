"""The ways in which content becomes the file at a path.

written_in_place    as open(path, "wb") does it: what is there is emptied and written to, whoever
                    else has it open, locked or linked; others see it grow
written_whole       the path shows the old content, or nothing, until all of the new one is there
moved               the same by giving a file without a name the name itself, without a copy

Each is a generator to be run in a thread: it yields where the thread may do something else first,
and closing it undoes what is not done. `fill` is how the content gets there: called with a
descriptor, it appends all to it, in steps too.

A killed process leaves nothing behind, but for two cases of written_whole: on a file system
without unnamed files (NFS, FUSE, FAT) a file `.upload-*` beside the target, of whatever had been
written; and, where it replaces a file, such a file in the moment between its two calls.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Generator, Iterable

from .file_access import is_alike, take_over_access
from .unnamed_file import create_named, link_unnamed, open_unnamed, random_path

Fill = Callable[[int], Iterable[None]]
Saving = Generator[None, None, None]

Taking = Callable[[int | None, Fill], Saving]
"""What makes something of all content of a file that is given up.

Called with the file's descriptor where it has no name, can be linked and has this content alone,
else with None; and with what appends the content to another file.
"""

# What says that a file can't be put in the place of another, or can't be given its rights, where
# writing to it may still be possible: a mount point (EBUSY), a mount that knows no modes (EPERM).
_REFUSED = frozenset(
    {
        errno.EACCES,
        errno.EBUSY,
        errno.EINVAL,
        errno.EMLINK,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EROFS,
        errno.EXDEV,
    }
)


def written_in_place(path: str, fill: Fill, *, fsync: bool = False) -> Saving:
    """Write the content to the file that open(path, "wb") opens, whatever that is."""
    with open(path, "wb", buffering=0) as target:
        yield from fill(target.fileno())
        if fsync and os.path.isfile(path):  # a device or a pipe can't be synced
            os.fsync(target.fileno())


def written_whole(path: str, fill: Fill, *, fsync: bool) -> Saving:
    """Write the content to a new file, and put it in place when it is all there.

    A symbolic link is followed. A new file is as open() makes it; one that replaces another has
    its owner, mode and access control list (see take_over_access). What can't be replaced (a
    device, a pipe, a mount point, a file in a directory where this process may make none) is
    written in place, or open() says what is wrong with it.

    fsync: end only when the content and the name are on the medium.
    """
    target = _followed(path)
    for create in (_unnamed, _named) if _is_replaceable(target) else ():
        try:
            new = create(os.path.dirname(target))
        except OSError:
            if os.path.exists(target):
                raise
            break  # open() says it with the path
        if new is None:
            continue
        with new:
            yield from fill(new.descriptor)
            if _put_in_place(new, target, fsync=fsync):
                return
    yield from written_in_place(path, fill, fsync=fsync)


def moved(descriptor: int | None, path: str, fill: Fill, *, fsync: bool) -> Saving:
    """Give a file without a name the name `path`; where that can't be, as written_whole.

    It can't be where the path is on another file system, names something that can't be replaced,
    or lies in a directory whose new files have other rights than this file. To close the
    descriptor is left to the caller.
    """
    target = _followed(path)
    if (
        descriptor is not None
        and _is_replaceable(target)
        and _is_as_new_in(os.path.dirname(target), descriptor)
    ):
        with contextlib.suppress(OSError):  # if it is worse, the copy tells
            if _put_in_place(_UnnamedFile(descriptor), target, fsync=fsync):
                return
    yield from written_whole(path, fill, fsync=fsync)


class _UnnamedFile:
    """A file that has not come to its name. The block closes it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> _UnnamedFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def rename(self, target: str) -> None:
        """Give it the name `target`, also where another file has it."""
        try:
            link_unnamed(self.descriptor, target)
        except FileExistsError:
            temporary = random_path(os.path.dirname(target))
            link_unnamed(self.descriptor, temporary)
            with _removed_in_the_end(temporary):
                os.replace(temporary, target)
        else:
            _tell_watchers(target)


class _NamedFile(_UnnamedFile):
    """The same where the file system has no files without a name."""

    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor)
        self._path = path

    def __exit__(self, *_: object) -> None:
        with _removed_in_the_end(self._path):
            super().__exit__()

    def rename(self, target: str) -> None:
        os.replace(self._path, target)


def _unnamed(directory: str) -> _UnnamedFile | None:
    descriptor = open_unnamed(directory)
    return None if descriptor is None else _UnnamedFile(descriptor)


def _named(directory: str) -> _UnnamedFile:
    return _NamedFile(*create_named(directory))


def _put_in_place(new: _UnnamedFile, target: str, *, fsync: bool) -> bool:
    """Whether the file has come to its name; False where that is refused."""
    try:
        with contextlib.suppress(FileNotFoundError):
            take_over_access(new.descriptor, os.stat(target), target)
        if fsync:
            os.fsync(new.descriptor)
        new.rename(target)
    except OSError as error:
        if error.errno in _REFUSED:
            return False
        raise
    if fsync:
        fsync_directory(os.path.dirname(target))
    return True


def _followed(path: str) -> str:
    """The absolute path, behind all symbolic links, of what open(path, "wb") would open."""
    if path.endswith(os.sep):  # which realpath() would take off
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return os.path.realpath(path)


def _is_replaceable(target: str) -> bool:
    """Whether a new file under this name does what opening it for writing would have done.

    It does not for a device or a pipe, in a directory where this process may not make files, and
    for a file that it may not write to.
    """
    if not os.path.lexists(target):
        return True
    return (
        os.path.isfile(target)
        and _may(target, os.W_OK)
        and _may(os.path.dirname(target), os.W_OK | os.X_OK)
    )


def _may(path: str, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def _is_as_new_in(directory: str, descriptor: int) -> bool:
    """Whether a file is as a new one in that directory would be, but for its content."""
    try:
        new = _unnamed(directory)
    except OSError:
        return False
    if new is None:
        return False
    with new:
        return is_alike(descriptor, new.descriptor)


def _tell_watchers(path: str) -> None:
    """Have those who watch a directory for files that were written see this one, too.

    A link alone makes the event that a file was created (inotify(7): IN_CREATE), at which others
    do not look since such a file is empty as a rule.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


@contextlib.contextmanager
def _removed_in_the_end(path: str) -> Generator[None, None, None]:
    """Unlink `path` when the block ends, unless it has been renamed."""
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def fsync_directory(directory: str) -> None:
    """Return when the names in a directory are on the medium."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
