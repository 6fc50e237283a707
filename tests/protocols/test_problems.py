"""Every error is problem details, with both numbers in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.exceptions import HTTPException, NotFound

from cooperative_upload import (
    BodyTimeout,
    BodyTooLarge,
    IncompleteBody,
    StorageError,
    TooManyUploads,
)
from cooperative_upload.protocols.problems import (
    MISMATCHING_OFFSET,
    Problem,
    problem_of,
    problem_response,
)


def details(error: HTTPException) -> dict[str, Any]:
    response = problem_response(problem_of(error))
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    found: dict[str, Any] = json.loads(response.get_data())
    assert found["status"] == response.status_code
    return found


def test_the_example_of_the_draft() -> None:
    found = details(
        Problem(
            409,
            "offset from request does not match offset of resource",
            kind=MISMATCHING_OFFSET,
            members={"expected-offset": 12_500_000, "provided-offset": 25_000_000},
        )
    )
    assert found == {
        "type": "https://iana.org/assignments/http-problem-types#mismatching-upload-offset",
        "title": "offset from request does not match offset of resource",
        "status": 409,
        "expected-offset": 12_500_000,
        "provided-offset": 25_000_000,
    }


@pytest.mark.parametrize(
    ("error", "status", "numbers"),
    [
        (BodyTooLarge(10, 20), 413, {"limit": 10, "expected": 20}),
        (IncompleteBody(3, 10), 400, {"received": 3, "expected": 10}),
        (BodyTimeout(3, None, 60.0), 408, {"received": 3, "seconds": 60.0}),
        (TooManyUploads("this client", 4, 7), 503, {"limit": 4}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_the_package(error: HTTPException, status: int, numbers: dict[str, int]) -> None:
    found = details(error)
    assert found["status"] == status
    assert numbers.items() <= found.items()
    assert found["detail"] == error.description


def test_when_to_come_again() -> None:
    response = problem_response(problem_of(TooManyUploads("this server", 4, 7)))
    assert response.headers["Retry-After"] == "7"


def test_what_the_log_may_know_is_not_told() -> None:
    """The path of a storage."""
    found = details(StorageError(OSError(13, "Permission denied", "/srv/secret")))
    assert found["status"] == 500
    assert "secret" not in str(found)


def test_other_errors() -> None:
    assert details(NotFound())["title"] == "Not Found"
    assert (
        problem_response(Problem(460, "The checksum is another")).status == "460 Checksum Mismatch"
    )
