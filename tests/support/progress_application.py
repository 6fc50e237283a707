"""The application of the tests about progress: its uploads wait, fail and are refused.

UploadProgress is mounted several times, with bounds so short that a test can wait for them. The
page at /page is for the tests in a browser.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import gevent
from gevent import Greenlet
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from cooperative_upload import CooperativeUploadMiddleware, UploadProgress, overview

Environ = dict[str, Any]
Start = Callable[..., Any]

INTERVAL = 0.05  # seconds
WAIT, LONGEST = 0.4, 0.8  # seconds, of /brief

_progress = UploadProgress(interval_seconds=INTERVAL)


def swallow(environ: Environ) -> tuple[str, bytes]:
    size = 0
    while block := environ["wsgi.input"].read(65536):
        size += len(block)
    return "200 OK", b"%d" % size


def hold(environ: Environ) -> tuple[str, bytes]:
    """Read nothing until there is the file that the query names."""
    path = parse_qs(environ["QUERY_STRING"])["until"][0]
    while not os.path.exists(path):
        gevent.sleep(0.01)
    return swallow(environ)


def refuse(environ: Environ) -> tuple[str, bytes]:
    return "401 Unauthorized", b"log in first"


def have_it_already(environ: Environ) -> tuple[str, bytes]:
    return "200 OK", b"we have it"


def fail(environ: Environ) -> tuple[str, bytes]:
    swallow(environ)
    raise RuntimeError("behind the last byte")


def pid(environ: Environ) -> tuple[str, bytes]:
    return "200 OK", b"%d" % os.getpid()


def leftovers(environ: Environ) -> tuple[str, bytes]:
    """What streams of events would leave behind in this process."""
    gc.collect()
    greenlets = [each for each in gc.get_objects() if isinstance(each, Greenlet) and not each.dead]
    counts = {"streams": _progress._streams, "greenlets": len(greenlets)}
    return "200 OK", json.dumps(counts).encode()


def tell(environ: Environ) -> tuple[str, bytes]:
    return "200 OK", json.dumps(dataclasses.asdict(overview())).encode()


def page(environ: Environ) -> tuple[str, bytes]:
    return "200 OK", b"<!doctype html><link rel=icon href='data:,'><title>A page</title>"


VIEWS: dict[str, Callable[[Environ], tuple[str, bytes]]] = {
    "/ping": lambda environ: ("200 OK", b"pong"),
    "/pid": pid,
    "/swallow": swallow,
    "/hold": hold,
    "/refuse": refuse,
    "/have-it-already": have_it_already,
    "/fail": fail,
    "/leftovers": leftovers,
    "/overview": tell,
    "/page": page,
}


def views(environ: Environ, start_response: Start) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/fail-behind-the-start":
        start_response("200 OK", [])
        fail(environ)
    status, answer = VIEWS[environ["PATH_INFO"]](environ)
    kind = "text/html" if environ["PATH_INFO"] == "/page" else "text/plain"
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(answer)))])
    return [answer]


application = DispatcherMiddleware(
    views,
    {
        "/progress": _progress,
        "/brief": UploadProgress(
            interval_seconds=INTERVAL, wait_seconds=WAIT, longest_seconds=LONGEST
        ),
        "/shared": UploadProgress(allow_origin=os.environ.get("ALLOW_ORIGIN")),
    },
)


def wrapped() -> CooperativeUploadMiddleware:
    """For servers that are not ours."""
    return CooperativeUploadMiddleware(application)
