"""How content becomes an object: whole, in one moment, and never over another unasked.

A file that has no name is linked to it; one of a writing, which has a name in the hidden folder,
is linked or renamed. Neither is written in place, whatever stands there. Where the object lies on
another file system than the folder (a mount below it), it is copied beside first.

A killed process leaves a name in the hidden folder, which leftovers() tells. Between linking an
object and taking the name in the hidden folder away both are there: commit() again or abort()
does the rest.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Generator

from ..spool import (
    Fill,
    Saving,
    copied,
    create_named,
    is_alike,
    link_unnamed,
    open_unnamed,
    take_over_access,
)
from .local_folder import Folder
from .local_records import Record, forget_record, save_record

# How often directories are made again that a delete() has taken away in the meantime.
_MOST_TRIES = 10


class Publication:
    """One object's.

    path: of the object, behind all symbolic links.
    status: of its file, once it is there.
    Run by a thread. Raises FileExistsError where there is one and it may not be replaced.
    """

    def __init__(
        self, folder: Folder, key: str, path: str, record: Record, *, overwrite: bool
    ) -> None:
        self._folder = folder
        self._key = key
        self._path = path
        self._record = record
        self._overwrite = overwrite
        self.status: os.stat_result | None = None

    def of_unnamed(self, own: int | None, content: Fill) -> Saving:
        """The content of a spool, as Spool.hand_over() has it made something of."""
        if own is None:
            yield from self._of_copy(content)
            return
        self._prepare(own)
        try:
            self._place(own, lambda path: link_unnamed(own, path))
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            yield from self._of_copy(content)

    def of_named(self, descriptor: int, path: str, size: int) -> Saving:
        """A file in the hidden folder, which has so many bytes."""
        if self._is_there(descriptor):  # who did this before was killed behind it
            self._prepare(descriptor)
            self.status = os.fstat(descriptor)
        else:
            self._prepare(descriptor)
            try:
                self._place(descriptor, lambda target: os.link(path, target))
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                yield from self._of_copy(lambda target: copied(descriptor, 0, size, target))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def _of_copy(self, content: Fill) -> Saving:
        """A new file beside the object, with the content."""
        with self._file_beside() as (descriptor, link):
            yield from content(descriptor)
            self._prepare(descriptor)
            self._place(descriptor, link)

    @contextlib.contextmanager
    def _file_beside(self) -> Generator[tuple[int, Callable[[str], object]], None, None]:
        self._folder.make_directories(self._path)
        directory = os.path.dirname(self._path)
        descriptor = open_unnamed(directory)
        if descriptor is not None:
            unnamed = descriptor
            try:
                yield unnamed, lambda path: link_unnamed(unnamed, path)
            finally:
                os.close(unnamed)
            return
        descriptor, temporary = create_named(directory)
        try:
            yield descriptor, lambda path: os.link(temporary, path)
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def _prepare(self, descriptor: int) -> None:
        """All that the object's file is to have when it appears."""
        self._give_access(descriptor)
        save_record(self._folder, self._key, descriptor, self._record)
        os.utime(descriptor)
        if self._folder.fsync:
            os.fsync(descriptor)

    def _give_access(self, descriptor: int) -> None:
        """The rights of the file that it replaces, else those of a new one in its directory."""
        if self._overwrite:
            with contextlib.suppress(FileNotFoundError):
                take_over_access(descriptor, os.stat(self._path), self._path)
                return
        model = open_unnamed(self._folder.directory_for(self._path))
        if model is None:
            return
        try:
            if not is_alike(descriptor, model):
                take_over_access(descriptor, os.fstat(model), model)
        finally:
            os.close(model)

    def _place(self, descriptor: int, link: Callable[[str], object]) -> None:
        """Have the file appear."""
        for tries_left in reversed(range(_MOST_TRIES)):
            self._folder.make_directories(self._path)
            try:
                self._link(link)
                break
            except FileNotFoundError:
                if not tries_left:
                    raise
            except BaseException:
                self._folder.remove_empty_directories(self._path)
                forget_record(self._folder, self._key, os.fstat(descriptor))
                raise
        self._folder.sync(os.path.dirname(self._path))
        self.status = os.fstat(descriptor)

    def _link(self, link: Callable[[str], object]) -> None:
        try:
            link(self._path)
            return
        except FileExistsError:
            if not self._overwrite:
                raise
        replaced = os.stat(self._path)
        self._folder.make_hidden()
        temporary = self._folder.hidden_path()
        try:
            link(temporary)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            temporary = os.path.join(
                os.path.dirname(self._path), f".upload-{os.path.basename(temporary)[:16]}"
            )
            link(temporary)
        try:
            os.replace(temporary, self._path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        forget_record(self._folder, self._key, replaced)

    def _is_there(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        return False
