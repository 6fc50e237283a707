"""The spool for applications that are not changed.

apply() replaces, in this process, what werkzeug uses where an application says nothing else: the
stream factory of the form parser, by one that makes Spools, and FileStorage.save, by one that
saves a Spool to a path without blocking the loop. Everything else goes to werkzeug's own code: a
request class with a stream factory of its own, a stream that is no Spool, a destination that is
a file object.
"""

from __future__ import annotations

import functools
import os
from typing import IO, Any

import werkzeug.formparser
import werkzeug.wrappers.request
from werkzeug.datastructures import FileStorage

from .settings import UploadSettings
from .spool import Spool

# The two modules have the name each for itself.
_MODULES: tuple[Any, ...] = (werkzeug.formparser, werkzeug.wrappers.request)


def apply(settings: UploadSettings) -> None:
    """Replace both, for this process. A second call changes the settings of the first."""

    def spool_factory(
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None,
        content_length: int | None = None,
    ) -> Spool:
        return Spool(settings)

    for module in _MODULES:
        module.default_stream_factory = spool_factory
    FileStorage.save = _save_cooperatively  # type: ignore[method-assign]


_werkzeug_save = FileStorage.save


@functools.wraps(_werkzeug_save)
def _save_cooperatively(
    self: FileStorage, dst: str | os.PathLike[str] | IO[bytes], buffer_size: int = 16384
) -> None:
    if isinstance(self.stream, Spool) and isinstance(dst, (str, os.PathLike)):
        self.stream.save_to(dst)
    else:
        _werkzeug_save(self, dst, buffer_size)
