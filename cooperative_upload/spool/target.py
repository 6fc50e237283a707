"""The place where a file is to be stored, looked at before its bytes come.

What is wrong with the path is the fault of who chose it: the application, or the client whose
name it took. It is the OSError that open(path, "wb") raises, and no StorageError, whose line in
the log wakes who looks after the disk. What the disk lacks is still one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace

from ..settings import UploadSettings
from ..turns import current_writer
from .temporary_file import Spool
from .unnamed_file import create_unnamed

# What the system says of a path, and not of the storage behind it.
_OF_THE_PATH = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ETXTBSY,
    }
)


def spool_beside(target: str | os.PathLike[str], settings: UploadSettings) -> Spool:
    """A spool on the target's own file system, so that its file is linked and not copied.

    Raises OSError for a target that can't be written.
    """
    looking = current_writer(settings).start(_directory_for, os.fsdecode(target))
    directory = looking.result()
    if directory is None:
        return Spool(settings)
    return _SpoolBeside(replace(settings, spool_directory=directory))


class _SpoolBeside(Spool):
    """One in a directory of the application's choice, which may be removed in the meantime."""

    @contextlib.contextmanager
    def _errors_of_storage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _OF_THE_PATH:
                raise
            with super()._errors_of_storage():
                raise


def _directory_for(target: str) -> str | None:
    """The directory for the target's spool; None for any other, where that can't be replaced.

    Raises the OSError of a target that can't be written. It may block.
    """
    if target.endswith(os.sep):  # which realpath() would take off
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    directory = os.path.dirname(os.path.realpath(target))
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        _check_directory(directory)
        return directory
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(mode):
        return None  # a device or a pipe
    if not os.access(target, os.W_OK):
        with _of_the_path_alone():
            os.close(os.open(target, os.O_WRONLY | os.O_CLOEXEC))  # says why not
    return directory if _may_make_files_in(directory) else None


def _check_directory(directory: str) -> None:
    os.stat(directory)
    if not _may_make_files_in(directory):
        with _of_the_path_alone():
            descriptor, _ = create_unnamed(directory)  # says why not
            os.close(descriptor)


@contextlib.contextmanager
def _of_the_path_alone() -> Iterator[None]:
    """What the system says of the storage it says again when that is used."""
    try:
        yield
    except OSError as error:
        if error.errno in _OF_THE_PATH:
            raise


def _may_make_files_in(directory: str) -> bool:
    return os.access(directory, os.W_OK | os.X_OK)
