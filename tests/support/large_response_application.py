"""An application whose responses are larger than the buffers between it and a client.

/large answers with SIZE bytes of PIECE's, of the kind that the query names, when it has read its
body. /begun calls start_response before it reads. /make makes the file that the query names: that
it ran is seen from outside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cooperative_upload import BodyError, CooperativeUploadMiddleware

PIECE = b"large" * 20_000
SIZE = 300 * len(PIECE)

Environ = dict[str, Any]


def as_list(environ: Environ) -> Iterable[bytes]:
    return [PIECE * (SIZE // len(PIECE))]


def as_generator(environ: Environ) -> Iterable[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


def as_file(environ: Environ) -> Iterable[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the response
    file.write(PIECE * (SIZE // len(PIECE)))
    file.seek(0)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
    return wrapped


KINDS = {"list": as_list, "generator": as_generator, "file": as_file}


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/begun":
        start_response("200 OK", [("Content-Length", "4")])
    while environ["wsgi.input"].read(65_536):
        pass
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [("Content-Length", str(SIZE))])
        return KINDS[query["kind"][0]](environ)
    if environ["PATH_INFO"] == "/make":
        Path(query["to"][0]).touch()
    if environ["PATH_INFO"] != "/begun":
        start_response("200 OK", [("Content-Length", "4")])
    return [b"pong"]


def wrapped() -> Callable[..., Iterable[bytes]]:
    return CooperativeUploadMiddleware(application)


def wrapped_out_of_reach() -> Callable[..., Iterable[bytes]]:
    """With something around the wrapper that gives it another start_response."""
    inner = wrapped()

    def outer(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return inner(environ, lambda *args: start_response(*args))

    return outer


def wrapped_in_an_error_page() -> Callable[..., Iterable[bytes]]:
    """With something around the wrapper that answers errors, as those that are too late are."""

    def raising(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return application(environ, start_response)
        except BodyError as error:
            raise RuntimeError from error

    inner = CooperativeUploadMiddleware(raising)

    def outer(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return inner(environ, start_response)
        except RuntimeError:
            start_response("500 Internal Server Error", [("Content-Length", "5")])
            return [b"error"]

    return outer
