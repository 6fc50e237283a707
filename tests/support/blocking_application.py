"""The application of the tests about the loop's lag: its views hold the loop in several ways."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from gevent.monkey import get_original

from cooperative_upload import overview


def compute(environ: dict[str, Any], seconds: float) -> bytes:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return b"computed"


def call_a_library_that_blocks(environ: dict[str, Any], seconds: float) -> bytes:
    get_original("time", "sleep")(seconds)  # as a driver in C does, which gevent can't patch
    return b"called"


def keep_the_interpreter(environ: dict[str, Any], seconds: float) -> bytes:
    """One call in C, in which no other thread of Python runs either."""
    numbers, took = 1_000_000, 0.0
    while took < seconds:
        numbers *= 2
        began = time.perf_counter()
        sum(range(numbers))
        took = time.perf_counter() - began
    return b"kept"


def work_on_an_upload(environ: dict[str, Any], seconds: float) -> bytes:
    environ["wsgi.input"].read(100_000)
    compute(environ, seconds)
    while environ["wsgi.input"].read(100_000):
        pass
    return b"worked"


def tell(environ: dict[str, Any], seconds: float) -> bytes:
    return json.dumps(dataclasses.asdict(overview())).encode()


def ping(environ: dict[str, Any], seconds: float) -> bytes:
    return b"%d" % os.getpid()


VIEWS: dict[str, Callable[[dict[str, Any], float], bytes]] = {
    "/ping": ping,
    "/pid": ping,
    "/overview": tell,
    "/compute": compute,
    "/call": call_a_library_that_blocks,
    "/keep": keep_the_interpreter,
    "/upload": work_on_an_upload,
}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    seconds = float(parse_qs(environ["QUERY_STRING"]).get("seconds", ["0"])[0])
    answer = VIEWS[environ["PATH_INFO"]](environ, seconds)
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
