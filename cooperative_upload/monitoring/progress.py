"""UploadProgress: a WSGI application that tells the users of an application how far uploads are.

A client chooses an id for its upload (upload_id.py) and asks here by it; that another worker
receives the upload makes no difference. The answer is what the upload progress modules of nginx
and lighttpd give, with some fields more, or a stream of server-sent events for whoever asks for
those.

The rules:

1. An id is all that one needs to ask, and nothing here says which ids there are: one that nobody
   uses is told the same as one whose upload has not begun, and no id is ever repeated or logged.
2. A stream of events costs a greenlet and a connection, so it is one for a bounded time, and there
   are so many of them; EventSource comes back by itself. Where a stream would hold up others it is
   one event long: where no hub runs the request, since it would occupy its thread or process, and
   over HTTP/2, of which gunicorn answers one request of a connection after the other, so that the
   upload itself would wait for its own progress.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
from werkzeug.wrappers import Request, Response

from ..errors import SettingsError
from ..hub import current_hub
from .overview import Progress, find_progress
from .upload_id import NAME, RULE, chosen_id

_JSON, _EVENTS = "application/json", "text/event-stream"
_METHODS = ("GET", "HEAD")

# No cache may keep what holds for half a second, and nginx is not to collect events.
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

# Milliseconds after which EventSource comes back: often enough for a progress bar where each
# stream is one event long.
_RETRY_MS = 1000

# The id of the last event, by which EventSource tells when it comes back that it has had it.
_LAST = "ended"

_BEFORE_IT_BEGINS = Progress("starting", received=0, size=None, rate=0.0, status=0, ending=None)

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*,\s]+")

_worker_ends = False


class UploadProgress:
    """`DispatcherMiddleware(app, {"/progress": UploadProgress()})`, or wherever one likes.

    GET, with the id in the header or the query parameter X-Progress-ID. Raises SettingsError for
    an argument that makes no sense.

    allow_origin: the one other origin (https://app.example.com) whose pages may ask; by default
        none may.
    interval_seconds: between two events of a stream. Twice a second looks like steady movement,
        and a hundred streams cost a loop about two hundredths of its time.
    wait_seconds: for which a stream waits for an upload to begin. It is longer than a page takes
        from asking to sending, and no id that nobody uses holds a place for longer.
    longest_seconds: of a stream. It ends before gunicorn's graceful_timeout of 30 seconds does,
        which a worker that is told to end waits for its connections; and the place of a client
        that vanished without a word is free again.
    most_streams: at once, of this application in one process. Each holds a connection: this is a
        tenth of what gunicorn has of them (worker_connections). Above it a stream is one event
        long, so that its client asks once a second.
    """

    def __init__(
        self,
        *,
        allow_origin: str | None = None,
        interval_seconds: float = 0.5,
        wait_seconds: float = 10.0,
        longest_seconds: float = 25.0,
        most_streams: int = 100,
    ) -> None:
        if allow_origin is not None and not _ORIGIN.fullmatch(allow_origin):
            raise SettingsError(
                "allow_origin: expected one origin, such as https://app.example.com, "
                f"got {allow_origin!r}"
            )
        self._headers = dict(_HEADERS)
        self._allow_origin = allow_origin
        if allow_origin is not None:
            self._headers["Access-Control-Allow-Origin"] = allow_origin
        # Less would be a loop that does little else.
        self._interval = _checked("interval_seconds", interval_seconds, at_least=0.05)
        self._wait = _checked("wait_seconds", wait_seconds, at_least=0)
        self._longest = _checked("longest_seconds", longest_seconds, at_least=0)
        self._most_streams = _checked("most_streams", most_streams, at_least=0)
        self._streams = 0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        response = self._answer(Request(environ))
        response.headers.update(self._headers)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS" and self._allow_origin is not None:
            return _preflight_answer()
        if request.method not in _METHODS:
            return Response("Ask with GET.\n", 405, {"Allow": ", ".join(_METHODS)})
        chosen = chosen_id(request.headers.get(NAME, ""), request.environ.get("QUERY_STRING", ""))
        if not chosen:
            return Response(
                f"Give the id of an upload in the header or the query parameter {NAME}: {RULE}.\n",
                400,
            )
        if request.accept_mimetypes.best_match([_JSON, _EVENTS]) != _EVENTS:
            return Response(_as_json(_progress_of(chosen)), mimetype=_JSON)
        if request.headers.get("Last-Event-ID") == _LAST:
            return Response(status=204)  # by which EventSource stops coming back
        return Response(self._events(chosen, _may_follow(request)), mimetype=_EVENTS)

    def _events(self, chosen: str, follow: bool) -> Iterator[bytes]:
        """Those of one stream: the first at once; only that one unless it may `follow`."""
        yield b"retry: %d\n\n" % _RETRY_MS
        if not follow or self._streams >= self._most_streams:
            yield _event(_progress_of(chosen))
            return
        self._streams += 1
        try:
            yield from self._following(chosen)
        finally:
            self._streams -= 1

    def _following(self, chosen: str) -> Iterator[bytes]:
        began = time.monotonic()
        told = None
        while True:
            progress = _progress_of(chosen)
            # In the place of an event that would say nothing new a comment: who has gone is
            # noticed when something is sent.
            yield b":\n\n" if progress == told else _event(progress)
            told = progress
            lasts = self._wait if progress is _BEFORE_IT_BEGINS else self._longest
            if _has_ended(progress) or _worker_ends or time.monotonic() - began >= lasts:
                return
            gevent.sleep(self._interval)


def end_streams() -> None:
    """Have all streams of this process end at their next event: the worker is to end."""
    global _worker_ends
    _worker_ends = True


def _checked(name: str, number: float, *, at_least: float) -> float:
    if not at_least <= number < math.inf:  # also refuses nan
        raise SettingsError(f"{name}: expected at least {at_least}, got {number!r}")
    return number


def _preflight_answer() -> Response:
    """What a browser asks for before it sends a page of another origin's header."""
    return Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(_METHODS),
            "Access-Control-Allow-Headers": NAME,
        },
    )


def _may_follow(request: Request) -> bool:
    is_http2 = request.environ.get("SERVER_PROTOCOL", "").startswith("HTTP/2")
    return current_hub() is not None and not is_http2


def _progress_of(chosen: str) -> Progress:
    return find_progress(chosen) or _BEFORE_IT_BEGINS


def _has_ended(progress: Progress) -> bool:
    return progress.state in ("done", "error")


def _as_json(progress: Progress) -> str:
    return json.dumps(
        {
            "state": progress.state,
            "received": progress.received,
            "size": progress.size,
            "status": progress.status,
            "rate": round(progress.rate),
            "ending": progress.ending,
        }
    )


def _event(progress: Progress) -> bytes:
    last = f"id: {_LAST}\n" if _has_ended(progress) else ""
    return f"{last}data: {_as_json(progress)}\n\n".encode()
