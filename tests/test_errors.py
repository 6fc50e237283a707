"""Each error says who is at fault, and each layer that meets one does the right thing."""

from __future__ import annotations

import errno
import html
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.exceptions import (
    BadRequest,
    ClientDisconnected,
    HTTPException,
    RequestEntityTooLarge,
    RequestTimeout,
    ServiceUnavailable,
)
from werkzeug.formparser import FormDataParser
from werkzeug.test import create_environ
from werkzeug.wrappers import Response

from cooperative_upload.errors import (
    BodyAlreadyRead,
    BodyError,
    BodyTimeout,
    BodyTooLarge,
    BodyTooSlow,
    IncompleteBody,
    MalformedBody,
    PartHeadersTooLarge,
    PartialBody,
    RequestError,
    SettingsError,
    StorageError,
    TooManyUploads,
    UnsafePath,
    UploadError,
    WorkerEnding,
    is_for_want_of_room,
    progress,
)
from cooperative_upload.monitoring.board import ENDINGS

BODY_ERRORS: list[BodyError] = [
    IncompleteBody(2_000_066, 10_000_000),
    IncompleteBody(7, None, "the connection was lost (Broken pipe)"),
    MalformedBody(5, "bad chunk size"),
    BodyTimeout(1234, 5000, 0.5),
    BodyTooSlow(1234, None, 12.34, 500),
    BodyTooLarge(1 << 20, 5 << 30),
    BodyTooLarge(1 << 20, None),
    PartHeadersTooLarge(8192),
]
SERVER_ERRORS: list[RequestError] = [
    TooManyUploads("this client", 1000, 17),
    WorkerEnding(),
    StorageError(OSError(errno.ENOSPC, "No space left on device", "/spool/secret")),
    StorageError(OSError(errno.EIO, "Input/output error")),
]
REQUEST_ERRORS = [*BODY_ERRORS, *SERVER_ERRORS]


def name_of(value: object) -> str:
    return type(value).__name__ if isinstance(value, BaseException) else ""


every_request_error = pytest.mark.parametrize("error", REQUEST_ERRORS, ids=name_of)
every_body_error = pytest.mark.parametrize("error", BODY_ERRORS, ids=name_of)


# What they say.


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        *[(error, "client") for error in BODY_ERRORS],
        *[(error, "server") for error in SERVER_ERRORS],
        (SettingsError("x"), "operator"),
        (BodyAlreadyRead("receive()", 1, 2, None), "application"),
        (PartialBody("bytes 1-2/3"), "client"),
        (UnsafePath("x"), "client"),
    ],
    ids=name_of,
)
def test_all_have_one_base_and_a_fault(error: UploadError, fault: str) -> None:
    """One `except UploadError` catches them all."""
    assert isinstance(error, UploadError)
    assert error.fault == fault


@pytest.mark.parametrize(
    ("error", "status", "ending"),
    [
        (IncompleteBody(1, 2), 400, "incomplete"),
        (MalformedBody(1, "x"), 400, "malformed"),
        (BodyTimeout(1, 2, 60), 408, "timed_out"),
        (BodyTooSlow(1, 2, 3, 4), 408, "too_slow"),
        (BodyTooLarge(1, 2), 413, "too_large"),
        (PartHeadersTooLarge(1), 413, "too_large"),
        (TooManyUploads("this server", 1, 1), 503, "turned_away"),
        (WorkerEnding(), 503, "killed"),
        (StorageError(OSError(errno.EIO, "x")), 500, "not_stored"),
        (PartialBody("bytes 1-2/3"), 400, "unread"),
        (UnsafePath("x"), 400, "unread"),
    ],
    ids=name_of,
)
def test_status_and_ending(error: RequestError, status: int, ending: str) -> None:
    """The ending is one of those that are counted."""
    assert error.code == status
    assert error.get_response({"REQUEST_METHOD": "POST"}).status_code == status
    assert error.ending == ending
    assert ending in ENDINGS


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            IncompleteBody(2_000_066, 10_000_000),
            "The request body is incomplete: received 2,000,066 of 10,000,000 bytes before the "
            "client stopped sending.",
        ),
        (
            IncompleteBody(7, None, "the connection was lost (Broken pipe)"),
            "The request body is incomplete: received 7 bytes before the connection was lost "
            "(Broken pipe).",
        ),
        (
            MalformedBody(1234, "Invalid chunk size: b'x'."),
            "The request body is malformed after 1,234 bytes: Invalid chunk size: b'x'.",
        ),
        (
            BodyTimeout(1234, 5000, 60.0),
            "The request body stopped arriving: received 1,234 of 5,000 bytes, then nothing for "
            "60 seconds.",
        ),
        (
            BodyTimeout(1234, None, 0.25),
            "The request body stopped arriving: received 1,234 bytes, then nothing for 0.25 "
            "seconds.",
        ),
        (
            BodyTooSlow(1_234, 5_000, 1_012.7, 500_000.0),
            "The request body arrives too slowly: received 1,234 of 5,000 bytes, lately 1,013 "
            "bytes a second where at least 500,000 are expected.",
        ),
        (
            BodyTooLarge(1 << 20, 5 << 30),
            "The request body is too large: got 5,368,709,120 bytes, accepted are at most "
            "1,048,576.",
        ),
        (
            BodyTooLarge(1 << 20, None),
            "The request body is too large: got more than 1,048,576 bytes, accepted are at most "
            "1,048,576.",
        ),
        (
            TooManyUploads("this client", 1000, 17),
            "Too many uploads at once: this client may have 1,000. Try again in a while.",
        ),
        (
            WorkerEnding(),
            "The server is being restarted before the request was finished. Try again.",
        ),
        (
            StorageError(OSError(errno.ENOSPC, "No space left on device", "/spool/x")),
            "The server can't store the upload: there is no space left for it.",
        ),
    ],
    ids=name_of,
)
def test_texts(error: RequestError, text: str) -> None:
    """A sentence with the numbers, for the client and for whoever prints the error."""
    assert error.description == text
    assert text in str(error)
    page = error.get_response({"REQUEST_METHOD": "POST"}).get_data(as_text=True)
    assert text in html.unescape(page)


def test_what_they_know() -> None:
    """For a view that answers in its own words."""
    incomplete = IncompleteBody(1, 2)
    assert (incomplete.received, incomplete.expected) == (1, 2)
    malformed = MalformedBody(1, "Reason.")
    assert (malformed.received, malformed.reason) == (1, "Reason.")
    late = BodyTimeout(1, 2, 3.0)
    assert (late.received, late.expected, late.seconds) == (1, 2, 3.0)
    slow = BodyTooSlow(1, 2, 3.5, 4.5)
    assert (slow.received, slow.expected, slow.rate, slow.minimum) == (1, 2, 3.5, 4.5)
    large = BodyTooLarge(1, 2)
    assert (large.limit, large.expected) == (1, 2)
    assert TooManyUploads("this server", 3, 1).limit == 3


def test_progress() -> None:
    """With both numbers where there are two."""
    assert progress(0, 1000) == "0 of 1,000 bytes"
    assert progress(1234567, None) == "1,234,567 bytes"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            BodyAlreadyRead("receive()", 1000, 2000, "request.get_data()"),
            "and 1,000 of 2,000 bytes went to request.get_data() already",
        ),
        (BodyAlreadyRead("receive()", 1000, None, None), "and 1,000 bytes went to whoever ran"),
        (BodyAlreadyRead("receive()", None, 2000, "x"), "and some of it went to x already"),
    ],
)
def test_a_body_that_was_read_is_for_the_log(error: BodyAlreadyRead, words: str) -> None:
    """No HTTPException, which frameworks answer without a word in the log."""
    assert words in str(error)
    assert not isinstance(error, (HTTPException, OSError, ValueError))


def test_settings_error_is_a_value_error() -> None:
    """Programs that build UploadSettings themselves expect one."""
    assert isinstance(SettingsError("x"), ValueError)


# HTTP.


@pytest.mark.parametrize(
    ("error", "seconds"), [(TooManyUploads("this server", 1, 17), "17"), (WorkerEnding(), "1")]
)
def test_retry_after(error: HTTPException, seconds: str) -> None:
    """A 503 says when to come back."""
    response = error.get_response({"REQUEST_METHOD": "POST"})
    assert response.headers["Retry-After"] == seconds


@pytest.mark.parametrize("error", BODY_ERRORS, ids=name_of)
def test_no_retry_after_for_a_fault_of_the_client(error: HTTPException) -> None:
    """It would only do the same again."""
    response = error.get_response({"REQUEST_METHOD": "POST"})
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IncompleteBody(1, 2), ClientDisconnected),
        (IncompleteBody(1, 2), BadRequest),
        (MalformedBody(1, "x"), BadRequest),
        (BodyTimeout(1, 2, 3), RequestTimeout),
        (BodyTooSlow(1, 2, 3, 4), RequestTimeout),
        (BodyTooLarge(1, 2), RequestEntityTooLarge),
        (TooManyUploads("x", 1, 1), ServiceUnavailable),
        (WorkerEnding(), ServiceUnavailable),
    ],
    ids=name_of,
)
def test_werkzeug_knows_it(error: HTTPException, kind: type[HTTPException]) -> None:
    """By the class that applications catch already."""
    assert isinstance(error, kind)


class Broken:
    """A body that can't be read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        raise self._error


@every_request_error
@pytest.mark.parametrize("content_type", ["multipart/form-data", "x-www-form-urlencoded"])
def test_the_form_parser_does_not_swallow_it(error: RequestError, content_type: str) -> None:
    """With silent=True werkzeug goes on with an empty form after a ValueError."""
    kind = content_type if "/" in content_type else f"application/{content_type}"
    body: Any = Broken(error)
    with pytest.raises(type(error)) as caught:
        FormDataParser(silent=True).parse(body, kind, None, {"boundary": "x"})
    assert caught.value is error


@pytest.fixture
def flask() -> Flask:
    """An application whose view reads a form."""
    app = Flask(__name__)

    @app.post("/")
    def view() -> str:
        return str(len(request.form))

    return app


def post(app: Flask, error: Exception) -> Response:
    """What the application answers to a form that can't be read."""
    environ = create_environ(method="POST", content_type="multipart/form-data; boundary=x")
    environ |= {"wsgi.input": Broken(error), "wsgi.input_terminated": True}  # as gunicorn has it
    return Response.from_app(app, environ)


@every_request_error
def test_flask_makes_a_response_of_it(flask: Flask, error: RequestError) -> None:
    """Nothing in the application has to know of it."""
    response = post(flask, error)
    assert response.status_code == error.code
    assert str(error.description) in html.unescape(response.get_data(as_text=True))


@pytest.mark.parametrize(
    ("error", "key"),
    [
        # Flask asks the class for the status, and that of StorageError has several.
        *[(error, error.code) for error in REQUEST_ERRORS if not isinstance(error, StorageError)],
        *[(error, type(error)) for error in REQUEST_ERRORS],
        *[(error, UploadError) for error in REQUEST_ERRORS],
        *[(error, HTTPException) for error in REQUEST_ERRORS],
    ],
    ids=lambda value: name_of(value) or getattr(value, "__name__", str(value)),
)
def test_flask_finds_its_errorhandler(flask: Flask, error: RequestError, key: Any) -> None:
    """By the status or by a class, as for werkzeug's own."""

    def handler(got: Exception) -> tuple[str, int]:
        assert got is error
        return "handled", 418

    flask.register_error_handler(key, handler)
    response = post(flask, error)
    assert (response.status_code, response.get_data()) == (418, b"handled")


# Below HTTP.


@every_body_error
def test_wsgi_code_and_gunicorn_see_a_lost_connection(error: BodyError) -> None:
    """gunicorn closes without a traceback on an OSError with ECONNRESET."""
    assert isinstance(error, OSError)
    assert error.errno == errno.ECONNRESET


@every_request_error
def test_none_is_a_value_error(error: RequestError) -> None:
    """Those that code around it swallows."""
    assert not isinstance(error, ValueError)


@pytest.mark.parametrize("error", [TooManyUploads("x", 1, 1), WorkerEnding()], ids=name_of)
def test_a_refusal_is_no_fault_of_the_system(error: RequestError) -> None:
    """Nothing was read or written."""
    assert not isinstance(error, OSError)


# Storage.


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (errno.ENOSPC, 507, "no space left"),
        (errno.EDQUOT, 507, "no space left"),
        (errno.EFBIG, 413, "larger than any file"),
        (errno.EMFILE, 503, "no descriptor or memory left"),
        (errno.ENFILE, 503, "no descriptor or memory left"),
        (errno.ENOMEM, 503, "no descriptor or memory left"),
        (errno.EACCES, 500, "does not work"),
        (errno.EROFS, 500, "does not work"),
        (errno.EIO, 500, "does not work"),
        (errno.ENOENT, 500, "does not work"),
    ],
)
def test_what_the_storage_lacks(number: int, status: int, words: str) -> None:
    """The system's number decides on the status; the client is told nothing of the path."""
    error = StorageError(OSError(number, "In the system's words", "/spool/secret"))
    assert isinstance(error, OSError)
    assert (error.code, error.errno, error.strerror) == (status, number, "In the system's words")
    assert error.filename == "/spool/secret"
    assert words in str(error.description)
    response = error.get_response({"REQUEST_METHOD": "POST"})
    assert response.status_code == status
    assert "secret" not in response.get_data(as_text=True)
    assert str(error) == (
        f"{error.description} [Errno {number}] In the system's words: '/spool/secret'"
    )
    assert is_for_want_of_room(OSError(number, "x")) == (status != 500)
    # Flask looks for the handler of a status by the class.
    assert type(error).code == status


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (OSError(errno.EIO, "Input/output error"), "[Errno 5] Input/output error"),
        (OSError(errno.EIO, "x", b"/spool/\xff"), "[Errno 5] x: b'/spool/\\xff'"),
        (OSError("no number"), "[Errno None] None"),
    ],
)
def test_a_storage_error_without_a_path(given: OSError, told: str) -> None:
    """Or with one in bytes, or without anything."""
    error = StorageError(given)
    assert error.code == 500
    assert str(error).endswith(told)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EMFILE])
def test_storage_errors_do_not_change_each_other(number: int) -> None:
    """The status is that of the error, and not of its class."""
    first = StorageError(OSError(errno.EIO, "x"))
    second = StorageError(OSError(number, "x"))
    assert first.code == 500 != second.code
