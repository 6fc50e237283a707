"""The handler and the middleware for Django, called without Django's settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, UnreadablePostError
from django.test import override_settings
from http_client import FORM_TYPE, Part, form
from wsgi import environ

from cooperative_upload import settings_in_force
from cooperative_upload.django_ext import AnswerUploadErrors, SpooledFile, SpoolUploadHandler
from cooperative_upload.errors import BodyTooLarge, IncompleteBody, RequestError, TooManyUploads
from cooperative_upload.settings import UploadSettings

DATA = bytes(range(256)) * 4000


@pytest.fixture(scope="module", autouse=True)
def configured() -> None:
    if not django_settings.configured:
        django_settings.configure()


def upload(data: bytes) -> tuple[SpoolUploadHandler, SpooledFile]:
    handler = SpoolUploadHandler()
    handler.new_file("file", "name.bin", "text/plain", None, "utf-8", {"x": b"y"})
    for start in range(0, len(data), handler.chunk_size):
        handler.receive_data_chunk(data[start : start + handler.chunk_size], start)
    return handler, handler.file_complete(len(data))


@pytest.mark.parametrize("size", [0, 1000, len(DATA)])
def test_a_file(size: int, tmp_path: Path) -> None:
    """It is what Django's own are: readable from its beginning, with what the form said of it."""
    _, file = upload(DATA[:size])
    with file:
        assert (file.name, file.size, file.content_type) == ("name.bin", size, "text/plain")
        assert (file.charset, file.content_type_extra) == ("utf-8", {"x": b"y"})
        assert file.read() == DATA[:size]
        assert b"".join(file.chunks(1000)) == DATA[:size]
        assert not hasattr(file, "temporary_file_path")
        file.save_to(tmp_path / "saved")  # all of it, wherever one stands
        assert (tmp_path / "saved").read_bytes() == DATA[:size]
    assert file.closed


def test_an_upload_that_is_interrupted() -> None:
    """The file is closed; without one there is nothing to close."""
    SpoolUploadHandler().upload_interrupted()
    handler, file = upload(DATA)
    handler.upload_interrupted()
    assert file.closed


# Django's own settings, and what its own code makes of them.

OWN_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
OURS = ["cooperative_upload.django_ext.SpoolUploadHandler"]


def file_of_form(data: bytes, handlers: list[str]) -> Any:
    """What a view finds in request.FILES."""
    asked = environ(form(Part("file", data, "name.bin")), CONTENT_TYPE=FORM_TYPE)
    with override_settings(FILE_UPLOAD_HANDLERS=handlers):
        return WSGIRequest(asked).FILES["file"]


def directory_of(file: Any) -> str | None:
    """Where its content is; None for in memory."""
    if isinstance(file, InMemoryUploadedFile):
        return None
    number = file.file.name if isinstance(file, SpooledFile) else file.fileno()
    return None if number is None else os.path.dirname(os.readlink(f"/proc/self/fd/{number}"))


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ours, in the environment or of a worker."""
    monkeypatch.setattr(settings_in_force, "_of_process", UploadSettings())


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("most", [0, 1000, 400_000, 2_621_440])
@pytest.mark.parametrize("size", [0, 100, 100_000, 450_000, 1_000_000, 3_000_000])
def test_where_django_keeps_a_file(size: int, most: int, tmp_path: Path) -> None:
    """In memory or in the directory that it is told, as with its own handlers.

    The one difference: a small file of a form that is larger than the limit stays in memory too.
    """
    settings = {"FILE_UPLOAD_MAX_MEMORY_SIZE": most, "FILE_UPLOAD_TEMP_DIR": tmp_path}
    data = DATA[:size].ljust(size)
    with override_settings(**settings):
        own, ours = (file_of_form(data, handlers) for handlers in (OWN_HANDLERS, OURS))
    with own, ours:
        expected = None if size <= min(most, 500 * 1024) else directory_of(own)
        assert directory_of(ours) == expected
        assert expected in (None, str(tmp_path))
        assert own.read() == ours.read() == data


def test_our_settings_go_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the operator's."""
    given = UploadSettings(spool_directory=str(tmp_path), spool_memory_bytes=10)
    monkeypatch.setattr(settings_in_force, "_of_process", given)
    with (
        override_settings(FILE_UPLOAD_TEMP_DIR="/not/there"),
        file_of_form(DATA[:11], OURS) as large,
        file_of_form(DATA[:10], OURS) as small,
    ):
        assert (directory_of(large), directory_of(small)) == (str(tmp_path), None)


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("mode", [None, 0o600, 0o640, 0o644, 0o666])
@pytest.mark.parametrize("size", [100, len(DATA)])
def test_the_mode_of_a_saved_file(size: int, mode: int | None, umask: int, tmp_path: Path) -> None:
    """By save_to() as by Django's storage, whatever the handler."""
    before = os.umask(umask)
    try:
        with override_settings(FILE_UPLOAD_PERMISSIONS=mode):
            for name, handlers in (("own", OWN_HANDLERS), ("ours", OURS)):
                with file_of_form(DATA[:size], handlers) as file:
                    FileSystemStorage(tmp_path).save(name, file)
            with file_of_form(DATA[:size], OURS) as file:
                file.save_to(tmp_path / "saved")
    finally:
        os.umask(before)
    names = ("own", "ours", "saved")
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in names}
    assert set(modes.values()) == {modes["own"]}, modes
    assert all((tmp_path / name).read_bytes() == DATA[:size] for name in names)


def answer_to(error: BaseException) -> HttpResponse | None:
    return AnswerUploadErrors(lambda request: None).process_exception(None, error)


def wrapped_by_django(error: RequestError) -> UnreadablePostError:
    made: Any = UnreadablePostError(str(error))
    made.__cause__ = error
    unreadable: UnreadablePostError = made
    return unreadable


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (IncompleteBody(5, 10), 400, b"received 5 of 10 bytes"),
        (BodyTooLarge(5, 10), 413, b"accepted are at most 5"),
        (TooManyUploads("this server", 3, 7), 503, b"may have 3"),
    ],
)
def test_answers(error: RequestError, status: int, text: bytes) -> None:
    """Of the error itself, and of one that Django wrapped."""
    for raised in (error, wrapped_by_django(error)):
        answer = answer_to(raised)
        assert answer is not None
        assert answer.status_code == status
        assert text in answer.content
        assert answer.get("Retry-After") == ("7" if status == 503 else None)


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), UnreadablePostError("x")])
def test_other_errors_are_left_alone(error: BaseException) -> None:
    assert answer_to(error) is None


def test_requests_go_through() -> None:
    assert AnswerUploadErrors(lambda request: request * 2)("ab") == "abab"
