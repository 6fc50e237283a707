"""The body of a request for who needs the whole of it: nobody may have read of it before.

A body that was read already looks like one that is empty, or that broke off. What was handed out
is known of a CooperativeInput, and of a file that knows its position, which is what is put in the
body's place by who reads it and wants others to read it again (WebOb, Bottle, middlewares). Of
any other server's stream it is known as far as the request object tells.
"""

from __future__ import annotations

from typing import Any

from werkzeug.http import parse_options_header
from werkzeug.wsgi import LimitedStream

from ..errors import BodyAlreadyRead
from ..settings import UploadSettings
from .request_body import CooperativeInput
from .wsgi_input import body_behind, cooperative_input

# Who took the body for itself, in the environ.
_TAKEN_BY = "cooperative_upload.taken_by"

_FORMS = frozenset({"multipart/form-data", "application/x-www-form-urlencoded"})

# What was read, in bytes if they are known, and by whom.
_Reading = tuple[int | None, str | None]


def take_body(
    request: object, environ: dict[str, Any], settings: UploadSettings, taker: str
) -> CooperativeInput:
    """The body of this request, of which nothing was handed out before.

    request: the framework's, for what it tells; or the environ.
    taker: who wants it, for BodyAlreadyRead, which is raised if something was.
    """
    stream = environ["wsgi.input"]
    body = cooperative_input(environ, settings)
    if body.content_length != 0:
        reading = _reading_of(request, environ, stream)
        if reading is not None:
            read, reader = reading
            raise BodyAlreadyRead(taker, read, body.content_length, reader)
    environ["wsgi.input"] = body  # so that it is known from now on
    environ[_TAKEN_BY] = taker
    return body


def _reading_of(request: object, environ: dict[str, Any], stream: Any) -> _Reading | None:
    """What was read of the stream before; None if nothing was, or if that can't be known."""
    told = _told_by_requests(request, environ)
    handed_out = _handed_out(stream)
    if handed_out is None:
        return told
    return (handed_out, told[1] if told else None) if handed_out else None


def _handed_out(stream: Any) -> int | None:
    body = body_behind(stream)
    if body is not None:
        return 0 if body.failed else body.handed_out  # every read says why it failed
    if isinstance(stream, LimitedStream):
        return stream.tell() or _handed_out(stream._stream)
    try:
        position = stream.tell()
    except (AttributeError, OSError, ValueError):  # most servers' streams have none
        return None
    return position if isinstance(position, int) else None


def _told_by_requests(request: object, environ: dict[str, Any]) -> _Reading | None:
    if "webob._parsed_post_vars" in environ:
        return None, "request.POST"
    for one in (request, environ.get("werkzeug.request")):
        told = _told_by_werkzeug(one, environ) or _told_by_django(one)
        if told is not None:
            return told
    return (None, f"an earlier {environ[_TAKEN_BY]}") if _TAKEN_BY in environ else None


def _told_by_werkzeug(request: object, environ: dict[str, Any]) -> _Reading | None:
    known: dict[str, Any] = getattr(request, "__dict__", {})
    if data := known.get("_cached_data"):
        return len(data), "request.get_data()"
    if "form" in known and parse_options_header(environ.get("CONTENT_TYPE"))[0] in _FORMS:
        return None, "the form parser (request.form, request.files)"
    stream = known.get("stream")
    if isinstance(stream, LimitedStream) and stream.tell():
        return stream.tell(), "request.stream"
    return None


def _told_by_django(request: object) -> _Reading | None:
    known: dict[str, Any] = getattr(request, "__dict__", {})
    if data := known.get("_body"):
        return len(data), "request.body"
    if not known.get("_read_started"):
        return None
    return None, "request.POST or request.FILES" if "_post" in known else "request.read()"
