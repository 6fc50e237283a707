"""Problem details (RFC 9457): what every error of every protocol says, for people and programs.

`detail` has both numbers in it, that which was found and that which was expected, and so have the
members beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ..uploads import InconsistentLength, LargerThanDeclared, UploadRefusal, WrongOffset

MEDIA_TYPE = "application/problem+json"

_IANA = "https://iana.org/assignments/http-problem-types#"

# The types that the IETF's draft of resumable uploads registers.
MISMATCHING_OFFSET = f"{_IANA}mismatching-upload-offset"
INCONSISTENT_LENGTH = f"{_IANA}inconsistent-upload-length"
COMPLETED_UPLOAD = f"{_IANA}completed-upload"

# Of an error's own headers those that its details do not replace.
_KEPT_HEADERS = frozenset({"Retry-After", "WWW-Authenticate", "Allow"})

# tus' own; werkzeug would call it unknown.
_PHRASES = {460: "Checksum Mismatch"}

# The types of what the verbs refuse.
_KINDS: dict[type[HTTPException], str] = {
    WrongOffset: MISMATCHING_OFFSET,
    InconsistentLength: INCONSISTENT_LENGTH,
    LargerThanDeclared: INCONSISTENT_LENGTH,
}

# What the errors of this package know beside their text, by the names of their attributes.
_NUMBERS = ("received", "expected", "limit", "seconds", "rate", "minimum")


class Problem(HTTPException):
    """A request that ends with these details as its answer.

    status: the HTTP status, also one that werkzeug has no class for.
    title: what kind of problem it is, the same each time.
    detail: what is wrong with this request.
    kind: the problem type's URI; None for none but the status.
    headers: what the response has beside.
    members: numbers and texts for programs.
    cause: the error that is told so; None for a problem of its own.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        kind: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.code = status
        self.title = title
        self.detail = detail
        self.kind = kind
        self.headers = list(headers)
        self.members = members or {}
        self.cause: HTTPException | None = None


def problem_of(error: HTTPException) -> Problem:
    """The details of any error that has a status, with the numbers that it knows."""
    if isinstance(error, Problem):
        return error
    headers = [each for each in error.get_headers() if each[0] in _KEPT_HEADERS]
    if isinstance(error, WrongOffset):
        headers.append(("Upload-Offset", str(error.expected)))
    members = error.members() if isinstance(error, UploadRefusal) else _numbers_of(error)
    problem = Problem(
        error.code or 500,
        error.name,
        error.description or "",
        kind=_KINDS.get(type(error)),
        headers=headers,
        members=members,
    )
    problem.cause = error
    return problem


def _numbers_of(error: HTTPException) -> dict[str, int | float]:
    return {
        name: value
        for name in _NUMBERS
        if isinstance(value := getattr(error, name, None), (int, float))
    }


def problem_response(problem: Problem) -> Response:
    """The response that says so."""
    details = {
        **({} if problem.kind is None else {"type": problem.kind}),
        "title": problem.title,
        "status": problem.code,
        **({"detail": problem.detail} if problem.detail else {}),
        **problem.members,
    }
    body = json.dumps(details, ensure_ascii=False).encode()
    status = problem.code or 500
    phrase = f"{status} {_PHRASES[status]}" if status in _PHRASES else status
    response = Response(body, phrase, content_type=MEDIA_TYPE)
    response.headers.extend(problem.headers)
    response.headers["Cache-Control"] = "no-store"
    return response
