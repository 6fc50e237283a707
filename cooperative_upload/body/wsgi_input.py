"""The request body that a WSGI environ announces, as a CooperativeInput."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from werkzeug.wsgi import LimitedStream

from ..errors import MalformedBody
from ..settings import UploadSettings
from ..settings_in_force import settings_of_process, settings_of_request
from .request_body import CooperativeInput


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
        most_bytes=settings.max_body_bytes or None,
    )


def body_behind(stream: Any) -> CooperativeInput | None:
    """The CooperativeInput that this stream is, or reads from by way of werkzeug's limits."""
    while isinstance(stream, LimitedStream):
        stream = stream._stream
    return stream if isinstance(stream, CooperativeInput) else None


def settings_of_body(environ: dict[str, Any]) -> UploadSettings:
    """The settings for this request where its reader gives none.

    A request that was handed to another greenlet has its body's with it.
    """
    stream = environ["wsgi.input"]
    ours = stream.settings if isinstance(stream, CooperativeInput) else None
    return settings_of_request() or ours or settings_of_process()


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
            ours = chunk_error(error, self._received)
            if ours is None:
                raise
            raise ours from error
        self._received += len(data)
        return data


def chunk_error(error: Exception, received: int) -> Exception | None:
    """What gunicorn's chunk decoder has raised, told as ours; None if that is not what it is.

    MalformedBody for a body that breaks the coding, an OSError without text for one that ends
    before the end of a chunk, as gunicorn's own NoMoreData is one.

    received: bytes of the body until then.
    """
    errors: Any = sys.modules.get("gunicorn.http.errors")  # it need not be gunicorn that serves
    if errors is None:
        return None
    # The last two are ParseExceptions only in later versions; in 25.0 they are OSErrors.
    malformed = (errors.ParseException, errors.ChunkMissingTerminator, errors.InvalidChunkSize)
    if not isinstance(error, malformed):
        return None
    if isinstance(error, errors.ChunkMissingTerminator) and len(error.term) < len(b"\r\n"):
        return OSError()
    return MalformedBody(received, str(error))
