"""For Django: files of forms in Spools, and an answer to bodies that are not what they should be.

    FILE_UPLOAD_HANDLERS = ["cooperative_upload.django_ext.SpoolUploadHandler"]
    MIDDLEWARE = ["cooperative_upload.django_ext.AnswerUploadErrors", ...]

Django reads the body by itself, which is cooperative under our worker or in the wrapper around
get_wsgi_application(). Its own handler for large files writes them in the greenlet, though, and
it answers a body that breaks off with a 500.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

from django.conf import settings as django_settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpResponse

from .errors import RequestError
from .settings import UploadSettings
from .settings_in_force import settings_in_force
from .spool import Spool
from .turns import current_writer


class SpooledFile(UploadedFile):  # type: ignore[misc]  # Django has no type hints
    """A file of a form in a Spool. It has no name on disk, and so no temporary_file_path().

    Django's storages copy it in pieces of 64 KiB.
    """

    def save_to(self, path: str | os.PathLike[str]) -> None:
        """Make its content the file `path`, whole or not at all, without blocking the others.

        Its mode is FILE_UPLOAD_PERMISSIONS then, as after a save by Django's storage. Directories
        are not made, so FILE_UPLOAD_DIRECTORY_PERMISSIONS is nothing to it.
        """
        self.file.seek(0)
        self.file.save_to(path)
        _give_mode(path)

    def move_to(self, path: str | os.PathLike[str]) -> None:
        """The same and close it: it need not be copied where it can be given the name."""
        self.file.seek(0)
        self.file.move_to(path)
        _give_mode(path)


class SpoolUploadHandler(FileUploadHandler):  # type: ignore[misc]
    """Writes each file of a form to a Spool.

    Where it is written and how much of it stays in memory is said by spool_directory and
    spool_memory_bytes if they are set, else by Django's own settings: by FILE_UPLOAD_TEMP_DIR,
    and by FILE_UPLOAD_MAX_MEMORY_SIZE. As with Django's handlers, a form that is no larger stays
    in memory as a whole. In a larger one a file does up to that size, and up to the default of
    spool_memory_bytes at the most; Django's would be written to disk from the first byte on.
    """

    _form_fits_in_memory = False

    def handle_raw_input(
        self, input_data: Any, META: Any, content_length: int | None, *args: Any, **kwargs: Any
    ) -> None:
        """A form begins. Returns None: its body is parsed as usual."""
        most = django_settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        self._form_fits_in_memory = content_length is not None and content_length <= most

    @functools.cached_property
    def _settings(self) -> UploadSettings:
        """Those for the files of this form."""
        ours = settings_in_force()
        memory = ours.spool_memory_bytes
        if memory == UploadSettings.spool_memory_bytes:
            most = django_settings.FILE_UPLOAD_MAX_MEMORY_SIZE
            memory = most if self._form_fits_in_memory else min(memory, most)
        directory = ours.spool_directory or django_settings.FILE_UPLOAD_TEMP_DIR or ""
        return dataclasses.replace(
            ours, spool_memory_bytes=memory, spool_directory=os.fspath(directory)
        )

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """The next file of the form begins."""
        super().new_file(*args, **kwargs)
        self._spool = Spool(self._settings, filename=self.file_name)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Some of it. Returns None: no other handler needs it."""
        self._spool.write(raw_data)

    def file_complete(self, file_size: int) -> SpooledFile:
        """It has ended."""
        self._spool.seek(0)
        return SpooledFile(
            self._spool,
            self.file_name,
            self.content_type,
            file_size,
            self.charset,
            self.content_type_extra,
        )

    def upload_interrupted(self) -> None:
        """The form broke off, within this file or between two."""
        if hasattr(self, "_spool"):
            self._spool.close()


class AnswerUploadErrors:
    """A middleware that answers an upload's error with its status and text."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self._get_response(request)

    def process_exception(self, request: Any, exception: BaseException) -> HttpResponse | None:
        """Called by Django; None leaves the exception to others."""
        # Django wraps what a read of the body raises (UnreadablePostError).
        for error in (exception, exception.__cause__):
            if isinstance(error, RequestError):
                answer = HttpResponse(error.description, "text/plain", error.code)
                for name, value in error.get_headers():
                    if name == "Retry-After":
                        answer[name] = value
                return answer
        return None


def _give_mode(path: str | os.PathLike[str]) -> None:
    mode = django_settings.FILE_UPLOAD_PERMISSIONS
    if mode is not None:
        current_writer(settings_in_force()).start(os.chmod, path, mode).result()
