"""The request body that a WSGI environ announces, as a CooperativeInput."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .body import CooperativeInput
from .errors import MalformedBody
from .limits import most_bytes
from .settings import UploadSettings


def cooperative_input(environ: dict[str, Any], settings: UploadSettings) -> CooperativeInput:
    """The body of this request: the one that the server made already, or one around its input.

    PEP 3333 gives a body without CONTENT_LENGTH no bytes; with chunked transfer coding, which the
    servers named in the documentation decode themselves, it ends where its chunks end.
    """
    stream = environ["wsgi.input"]
    if isinstance(stream, CooperativeInput):
        return stream
    return CooperativeInput(
        _ServersInput(stream),
        _announced_length(environ),
        settings,
        # gunicorn's name for it; other servers keep it to themselves.
        sock=environ.get("gunicorn.socket"),
        most_bytes=most_bytes(settings, environ.get("CONTENT_TYPE", "")),
    )


def _announced_length(environ: dict[str, Any]) -> int | None:
    """Bytes of the body, 0 if there is none; None where its framing does not say."""
    text = environ.get("CONTENT_LENGTH") or ""
    if text.isascii() and text.isdigit():
        return int(text)
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    return None if chunked else 0


class _ServersInput:
    """A server's input, with what gunicorn raises for malformed chunks told as ours.

    Most of those are no OSErrors, and would be a 500.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._received = 0

    def read(self, size: int) -> bytes:
        return self._told_as_ours(self._stream.read, size)

    def readline(self, size: int) -> bytes:
        return self._told_as_ours(self._stream.readline, size)

    def _told_as_ours(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            data = read(size)
        except Exception as error:
            if isinstance(error, _malformed()):
                raise MalformedBody(self._received, str(error)) from error
            raise
        self._received += len(data)
        return data


def _malformed() -> tuple[type[Exception], ...]:
    """gunicorn's errors, if it is gunicorn that serves: it need not be installed."""
    errors: Any = sys.modules.get("gunicorn.http.errors")
    if errors is None:
        return ()
    return errors.ParseException, errors.ChunkMissingTerminator, errors.InvalidChunkSize
