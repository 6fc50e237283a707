"""Limits on bodies that are parsed as a whole: urlencoded forms, and JSON.

They belong to the parsing, and not to a Content-Type: curl --data-binary, wget --post-file and
urllib call a raw body application/x-www-form-urlencoded unless they are told otherwise, and an
application that stores it holds up nobody.

A body that is too large is refused before a byte of it is read if its length is announced, and by
counting if not.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request

from ..body import body_behind
from ..errors import BodyTooLarge
from ..settings import UploadSettings


def limited_form(
    stream: Any, mimetype: str, content_length: int | None, settings: UploadSettings
) -> Any:
    """What werkzeug's FormDataParser may parse of a stream, by the arguments of its parse().

    Raises BodyTooLarge here, or where what is returned is read.
    """
    if mimetype != "application/x-www-form-urlencoded" or not settings.max_urlencoded_bytes:
        return stream
    return _limited(stream, content_length, settings.max_urlencoded_bytes)


def limit_json(request: Request, settings: UploadSettings) -> None:
    """Before werkzeug's get_json() parses the body. Raises BodyTooLarge, here or in its read."""
    most_bytes = settings.max_json_bytes
    if not most_bytes:
        return
    cached: bytes | None = getattr(request, "_cached_data", None)
    if cached is not None:
        if len(cached) > most_bytes:
            raise BodyTooLarge(most_bytes, len(cached))
        return
    limited = _limited(request.stream, request.content_length, most_bytes)
    if limited is not request.stream:
        request._cached_data = limited.read()  # where get_data() looks first


def _limited(stream: Any, content_length: int | None, most_bytes: int) -> Any:
    body = body_behind(stream)
    if body is not None:
        body.limit_to(most_bytes)
        return stream
    if not content_length:  # which werkzeug also says where the header is empty
        return _CountedStream(stream, most_bytes)
    if content_length > most_bytes:
        raise BodyTooLarge(most_bytes, content_length)
    return stream


class _CountedStream:
    """A stream of unknown length that is not ours: of a server without a hub, or in memory."""

    def __init__(self, stream: Any, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes

    def read(self) -> bytes:
        """All of it, as who parses in one go reads it. Raises BodyTooLarge."""
        data = bytearray()
        while missing := self._most_bytes + 1 - len(data):
            block = self._stream.read(missing)
            if not block:
                return bytes(data)
            data += block
        raise BodyTooLarge(self._most_bytes, None)
