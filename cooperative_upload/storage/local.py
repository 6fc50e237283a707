"""LocalStorage: objects as files of a folder, one for each, by the names of their keys.

* A deposit is a file without a name on the object's own file system, or in memory while it is
  small; a commit links it.
* A writing is a file in the hidden folder `.uploads`, with a journal of what is durable beside it;
  a commit links it to its name and takes the other one away.
* Folders of keys are made when they are needed, and go with their last object.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, TypeVar

from ..errors import NotStored, SettingsError
from ..settings import UploadSettings
from ..settings_in_force import settings_in_force
from ..spool import Spool
from ..turns import current_writer, run_in_steps
from .contract import UNDESCRIBED, Description, Stored, Token
from .form_files import StorageObjects
from .local_content import LocalContent, open_object
from .local_deposit import LocalDeposit
from .local_errors import errors_of_disk
from .local_folder import Folder
from .local_listing import listed
from .local_publishing import Publication
from .local_records import Record, forget_record, load_record, stored_at
from .local_room import check_room
from .local_writing import LocalRangeWriter, Writing, new_token, unattended
from .ranges import Ranges

T = TypeVar("T")


class LocalStorage(StorageObjects):
    """A Storage in a folder.

    root: an absolute path of a directory that is there.
    settings: None for those of the process.
    Raises SettingsError for another root.
    """

    def __init__(
        self, root: str | os.PathLike[str], settings: UploadSettings | None = None
    ) -> None:
        path = os.fspath(root)
        if not os.path.isabs(path):
            raise SettingsError(
                f"the folder of a storage: expected an absolute path, got {path!r}"
            )
        if not os.path.isdir(path):
            raise SettingsError(f"the folder of a storage: there is no directory {path!r}")
        self._settings = settings or settings_in_force()
        self._folder = Folder(os.path.realpath(path), fsync=self._settings.storage_fsync)

    def __repr__(self) -> str:
        return f"LocalStorage({self._folder.root!r})"

    def deposit(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> LocalDeposit:
        """For content that one request brings. Raises StorageFull where there is no room now."""
        self._folder.check(key)

        def look() -> tuple[str, str]:
            path = self._folder.path(key)
            directory = self._folder.directory_for(path)
            if size is not None:
                check_room(directory, size)
            return path, directory

        path, directory = self._run(key, look)
        spool = Spool(replace(self._settings, spool_directory=directory), filename=key)
        return LocalDeposit(self._folder, key, path, spool, size, description)

    def begin(
        self, key: str, *, size: int | None = None, description: Description = UNDESCRIBED
    ) -> Token:
        """Begin a writing, with the room for it reserved where its size is known."""
        self._folder.check(key)
        token = new_token(key, description)

        def begin() -> None:
            self._folder.path(key)  # raises UnsafePath for one that leads out by a link
            Writing(self._folder, token).begin(size, token)

        self._run(key, begin)
        return token

    def writer(self, token: Token, offset: int) -> LocalRangeWriter:
        """For the bytes from `offset` on. Raises NotStored."""
        return LocalRangeWriter(Writing(self._folder, token), offset, self._settings)

    def durable(self, token: Token) -> Ranges:
        """Which bytes are there whatever happens. Raises NotStored."""
        writing = Writing(self._folder, token)
        return self._run(writing.key, writing.durable)

    def commit(
        self,
        token: Token,
        size: int,
        *,
        overwrite: bool = False,
        digests: Mapping[str, bytes] | None = None,
    ) -> Stored:
        """Have the object of a writing appear. A disk computes no digests: none is checked."""
        writing = Writing(self._folder, token)
        try:
            descriptor = self._run(writing.key, writing.open)
        except NotStored:
            return self._run(writing.key, lambda: self._committed(writing))
        try:
            return self._publish(writing, token, descriptor, size, overwrite)
        finally:
            current_writer(self._settings).start_soon(os.close, descriptor)

    def abort(self, token: Token) -> None:
        """End a writing."""
        writing = Writing(self._folder, token)
        self._run(writing.key, writing.end)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> LocalContent:
        """Bytes `start` to before `stop` of an object. Raises NotStored."""
        self._folder.check(key)
        return LocalContent(self._folder, key, start, stop, self._settings)

    def stat(self, key: str) -> Stored:
        """What is known of an object. Raises NotStored."""
        self._folder.check(key)
        return self._run(key, lambda: self._stat(key)[0])

    def path(self, key: str) -> str:
        """The file of an object, to be read by others and changed by nobody.

        Whether it is there, stat() says.
        """
        self._folder.check(key)
        return self._run(key, lambda: self._folder.path(key))

    def delete(self, key: str) -> None:
        """Take an object away, and the folders that are empty without it."""
        self._folder.check(key)
        self._run(key, lambda: self._delete(key))

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Objects whose keys begin so. Directories behind symbolic links are left out."""
        return listed(self._folder, prefix, lambda look: self._run(prefix, look))

    def sign(
        self,
        key: str,
        method: Literal["GET", "PUT"] = "GET",
        *,
        seconds: float = 3600.0,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A disk has no URLs: raises NotImplementedError."""
        raise NotImplementedError("files of a folder have no URLs of their own")

    def leftovers(self, older_than: datetime.timedelta) -> Iterator[Token]:
        """Writings that nobody has gone on with for so long."""
        before = time.time() - older_than.total_seconds()
        yield from self._run("", lambda: unattended(self._folder, before))

    def _run(self, key: str, function: Callable[[], T]) -> T:
        """What a thread's call returns, with its errors as those of a storage."""
        with errors_of_disk(key):
            result: T = current_writer(self._settings).start(function).result()
        return result

    def _publish(
        self, writing: Writing, token: Token, descriptor: int, size: int, overwrite: bool
    ) -> Stored:
        key = writing.key
        description = Description(token["content_type"], token["metadata"])
        record = Record.of(description, writing.id)

        def prepare() -> Publication:
            if not writing.durable().cover(0, size):
                raise ValueError(f"not all of the {size:,} bytes of {key!r} are durable")
            writing.cut(descriptor, size)
            path = self._folder.path(key)
            return Publication(self._folder, key, path, record, overwrite=overwrite)

        publication = self._run(key, prepare)
        with errors_of_disk(key):
            steps = publication.of_named(descriptor, writing.path, size)
            run_in_steps(steps, self._settings)
        self._run(key, writing.end)
        assert publication.status is not None
        return stored_at(key, publication.status, record)

    def _committed(self, writing: Writing) -> Stored:
        """What a commit returned before. Raises NotStored if the object is not its own."""
        stored, record = self._stat(writing.key)
        if record.writing != writing.id:
            raise NotStored(writing.key)
        writing.end()
        return stored

    def _stat(self, key: str) -> tuple[Stored, Record]:
        descriptor = open_object(self._folder, key)
        try:
            record = load_record(self._folder, key, descriptor)
            return stored_at(key, os.fstat(descriptor), record), record
        finally:
            os.close(descriptor)

    def _delete(self, key: str) -> None:
        path = self._folder.name(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            status = os.lstat(path)
            if os.path.isdir(path) and not os.path.islink(path):
                return
            os.unlink(path)
            forget_record(self._folder, key, status)
            self._folder.sync(os.path.dirname(path))
            self._folder.remove_empty_directories(path)
