"""The handler and the middleware for Django, called without Django's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpResponse, UnreadablePostError

from cooperative_upload.django_ext import AnswerUploadErrors, SpooledFile, SpoolUploadHandler
from cooperative_upload.errors import BodyTooLarge, IncompleteBody, RequestError, TooManyUploads

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
