"""Each error says who is at fault, and each layer that meets one does the right thing."""

from __future__ import annotations

import errno

import pytest
from werkzeug.exceptions import BadRequest, HTTPException

from cooperative_upload.errors import (
    BodyError,
    IncompleteBody,
    MalformedBody,
    SettingsError,
    UploadError,
)

BODY_ERRORS = [IncompleteBody(2_000_066, 10_000_000), MalformedBody(5, "bad chunk size")]


@pytest.mark.parametrize("error", [*BODY_ERRORS, SettingsError("x")])
def test_all_have_one_base_and_a_fault(error: UploadError) -> None:
    """One `except UploadError` catches them all."""
    assert isinstance(error, UploadError)
    assert error.fault == ("operator" if isinstance(error, SettingsError) else "client")


def test_incomplete_shows_both_numbers() -> None:
    """How much came of how much."""
    error = IncompleteBody(2_000_066, 10_000_000)
    assert (error.received, error.expected) == (2_000_066, 10_000_000)
    assert "received 2,000,066 of 10,000,000 bytes" in str(error)


def test_incomplete_of_unknown_length() -> None:
    """Chunked coding announces no length, so none is shown."""
    error = IncompleteBody(7, None)
    assert error.expected is None
    assert "received 7 bytes" in str(error)
    assert "None" not in str(error)


def test_malformed_tells_the_reason_once() -> None:
    """In the words of the decoder, with one full stop."""
    error = MalformedBody(1234, "Invalid chunk size: b'x'.")
    assert (error.received, error.reason) == (1234, "Invalid chunk size: b'x'.")
    assert str(error).endswith("malformed after 1,234 bytes: Invalid chunk size: b'x'.")


@pytest.mark.parametrize("error", BODY_ERRORS)
def test_werkzeug_makes_a_400_of_it(error: BodyError) -> None:
    """It is an HTTPException, and its page says what happened."""
    assert isinstance(error, HTTPException)
    response = error.get_response({"REQUEST_METHOD": "POST"})
    assert response.status_code == 400
    assert "request body is" in response.get_data(as_text=True)
    assert isinstance(error, BadRequest)


@pytest.mark.parametrize("error", BODY_ERRORS)
def test_the_form_parser_does_not_swallow_it(error: BodyError) -> None:
    """With silent=True werkzeug goes on with an empty form after a ValueError."""
    assert not isinstance(error, ValueError)


@pytest.mark.parametrize("error", BODY_ERRORS)
def test_wsgi_code_and_gunicorn_see_a_lost_connection(error: BodyError) -> None:
    """gunicorn closes without a traceback on an OSError with ECONNRESET."""
    assert isinstance(error, OSError)
    assert error.errno == errno.ECONNRESET


def test_settings_error_is_a_value_error() -> None:
    """Programs that build UploadSettings themselves expect one."""
    assert isinstance(SettingsError("x"), ValueError)
