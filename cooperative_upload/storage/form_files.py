"""Files of forms that go to a storage while they come.

form_files() of a storage gives a stream factory for werkzeug's form parser. With it
`request.files["file"]` has gone to the storage by the time the view has it; the view commits it
with `file.stream.commit()`, and what nobody commits is gone with the request.

What such a stream can do: commit() and close(); tell() and seek() to its beginning and end, by
which programs ask for a size; read() once it is committed, which is read from the storage. Before
that there is nothing to be read, and it says so.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import StorageError
from ..forms import Hashing, StreamFactory
from ..settings_in_force import settings_in_force
from ..spool import Spool, close_with_request
from .contract import UNDESCRIBED, Content, Description, Storage, Stored
from .objects import ObjectAddress


class FormFile(io.BufferedIOBase):
    """The stream of one file.

    key: of the object that it becomes.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        content_type: str | None,
        overwrite: bool,
        digests: Iterable[str],
    ) -> None:
        super().__init__()
        self.key = key
        self._storage = storage
        self._overwrite = overwrite
        self._hashing = Hashing(digests, settings_in_force())
        self._size = 0
        self._position = 0
        self._stored: Stored | None = None
        self._content: Content | None = None
        self._deposit = storage.deposit(key, description=Description(content_type))
        self._request = close_with_request(self)

    def write(self, data: Any, /) -> int:
        """Add the next bytes."""
        self._check_open()
        if self._stored is not None or self._position != self._size:
            raise io.UnsupportedOperation("a file of a form is written once, from its beginning")
        block = data if type(data) is bytes else bytes(memoryview(data))
        self._hashing.update(block)
        try:
            self._deposit.write(block)
        except StorageError as error:
            if self._request is not None:
                self._request.error = error
            raise
        self._size += len(block)
        self._position = self._size
        return len(block)

    def commit(self, *, overwrite: bool | None = None) -> Stored:
        """Have the object appear. Again gives the same.

        overwrite: None for what form_files() was told.
        Raises AlreadyStored where there is one and it may not be replaced.
        """
        if self._stored is None:
            self._check_open()
            self._stored = self._deposit.commit(
                overwrite=self._overwrite if overwrite is None else overwrite,
                digests=self.digests(),
            )
        return self._stored

    def digests(self) -> dict[str, bytes]:
        """Those that form_files() was asked for, of what has come, by their names in RFC 9530."""
        return self._hashing.finished().values()

    def readable(self) -> bool:
        return self._stored is not None

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._stored is None

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, within what is there."""
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if not 0 <= base + offset <= self._size:
            raise ValueError(f"no position {base + offset:,} in {self._size:,} bytes")
        self._position = base + offset
        self._close_content()
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """What the storage has, once it is committed."""
        self._check_open()
        if self._stored is None:
            raise io.UnsupportedOperation(
                "this file has gone to the storage, and can be read once it is committed"
            )
        if self._content is None:
            self._content = self._storage.open(self.key, self._position)
        data = self._content.read(-1 if size is None else size)
        self._position += len(data)
        return data

    read1 = read

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    readinto1 = readinto

    def close(self) -> None:
        """Drop what was not committed. Never waits."""
        if not self.closed:
            self._close_content()
            if hasattr(self, "_deposit"):  # not where the storage took none
                self._deposit.close()
        super().close()

    def _close_content(self) -> None:
        content, self._content = self._content, None
        if content is not None:
            content.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


def random_key(filename: str) -> str:
    """A key that nobody else has and nobody can guess; a client's name of a file is none."""
    return secrets.token_urlsafe(16)


class StorageObjects:
    """What storages do by what they can: derive from it, and have the methods of Storage."""

    def object(
        self: Storage,
        key: str,
        *,
        overwrite: bool = False,
        description: Description = UNDESCRIBED,
    ) -> ObjectAddress:
        """An object as a target for receive(), save_to() and Part.save_to(). Never waits."""
        return ObjectAddress(self, key, overwrite=overwrite, description=description)

    def form_files(
        self: Storage,
        key: Callable[[str], str | None] | None = None,
        *,
        overwrite: bool = False,
        digests: Iterable[str] = (),
    ) -> StreamFactory:
        """What has the files of forms go to the storage as they come.

        For the `stream_factory` of the Flask extension, of the middleware or of werkzeug's
        parse_form_data(); and for `Request._get_file_stream`.

        key: called with the client's name of the file, which is to be trusted in nothing; gives
            the key of its object, or None for a temporary file as ever. By default a random key.
        overwrite: as for a deposit.
        digests: what to compute on the way; those of the whole are given to the storage.
        """
        key_of = random_key if key is None else key
        names = list(digests)

        def make_stream(
            total_content_length: int | None = None,
            content_type: str | None = None,
            filename: str | None = None,
            content_length: int | None = None,
        ) -> Any:
            chosen = key_of(filename) if filename else None  # no file was chosen in the form
            if chosen is None:
                return Spool(settings_in_force(), filename=filename)
            return FormFile(self, chosen, content_type, overwrite, names)

        return make_stream
